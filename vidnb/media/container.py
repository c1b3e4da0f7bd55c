"""Open a video file with PyAV: paths, URLs, results of vidnb and file objects alike.

PyAV (the extra `media`) decodes; this module turns a source into something it reads, and its
errors into `MediaError`. A URL is read through `vidnb.open`, so only what is needed is fetched.
"""

import io
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Final,
    NamedTuple,
    Protocol,
    Self,
    TypeAlias,
    cast,
)

from vidnb.download.file_object import open_url
from vidnb.download.options import check_type
from vidnb.download.request import DownloadResult, local_path
from vidnb.download.stream import is_url
from vidnb.errors import MediaError, MissingExtra, ServeError, TransferError
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.io.random_access import RandomAccessFile
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason
from vidnb.media.problems import not_a_video
from vidnb.media.sniff import SNIFF_BYTES, BoxScanner, Layout, sniff

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

__all__ = [
    "MediaFile",
    "MediaSource",
    "close_container",
    "demux",
    "discard_others",
    "picture_streams",
    "played_streams",
    "require_av",
    "require_pillow",
    "scan_boxes",
    "start_time_s",
]


class OpensBytes(Protocol):
    """A `Served`: a local file, or one that is still downloaded and read through `open_bytes`."""

    @property
    def path(self) -> Path | None:
        """The local file, None while it is being downloaded."""

    def open_bytes(self) -> io.RawIOBase:
        """Return a seekable binary file object over the same bytes."""


MediaSource: TypeAlias = StrPath | DownloadResult | OpensBytes | BinaryIO
"""A path, an http(s) URL, a `DownloadResult`, a `Served` or a seekable binary file object."""

_BUFFER_BYTES: Final = 2**18
"""The size of one read by FFmpeg (B): a call into Python costs as much as reading 30 KiB."""
_URL_BUFFER_BYTES: Final = 2**15
"""The same where every byte is fetched or waited for: FFmpeg reads ahead by a whole buffer."""
_READ_AHEAD_BYTES: Final = 2**20
"""The largest read-ahead of a URL (B): the next frame is often another group of pictures."""
_OPTIONS: Final = {"protocol_whitelist": "none"}
"""FFmpeg opens nothing by itself: a playlist or `ffconcat` script would name other files."""


def require_av() -> ModuleType:
    """Return PyAV; `MissingExtra` if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra(
            "Frames, clips and facts of a file need PyAV, which is not installed; run:"
            " pip install 'vidnb[media]'.",
            extra="media",
        ) from error
    return av


def require_pillow() -> ModuleType:
    """Return Pillow's `Image` module; `MissingExtra` if it is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(
            "Pictures need Pillow, which is not installed; run: pip install 'vidnb[media]'.",
            extra="media",
        ) from error
    return Image


class MediaFile:
    """An opened source, from which any number of PyAV containers may read at the same time.

    `name` names it in messages; `identity` are the device, inode, size (B) and modification time
    (ns) of a local file, None for anything else; `is_remote` says whether its bytes are fetched;
    `head` are its first bytes, and `kind` is the format by them (see `media.sniff`). Raises
    `MediaError` for a source that cannot be read or is a page or playlist, `ValueError` for an
    object that is none, and what `vidnb.open` raises for a URL.
    """

    def __init__(self, source: object) -> None:
        self._lock = threading.Lock()
        self._owned: BinaryIO | None = None
        self.identity: tuple[int, int, int, int] | None = None
        if isinstance(source, DownloadResult):
            source = source.path
        elif callable(getattr(source, "open_bytes", None)):  # a Served
            served: Any = source
            source = served.path
            if source is None:  # it is still downloaded
                source = self._owned = served.open_bytes()
        self.is_remote = is_url(source) or self._owned is not None
        if is_url(source):
            self.name = redact(source)
            self._file: BinaryIO = cast(
                BinaryIO, open_url(source, max_read_ahead_bytes=_READ_AHEAD_BYTES)
            )
            self._owned = self._file
            self._buffer_bytes = _URL_BUFFER_BYTES
        elif isinstance(source, str | os.PathLike):
            path = Path(local_path(source)).absolute()
            self.name = str(path)
            self._file = self._owned = self._open(path)
            self._buffer_bytes = _BUFFER_BYTES
        elif callable(getattr(source, "read", None)) and callable(getattr(source, "seek", None)):
            self.name = str(getattr(source, "name", None) or f"the {type(source).__name__}")
            self._file = cast(BinaryIO, source)
            self._buffer_bytes = _URL_BUFFER_BYTES if self.is_remote else _BUFFER_BYTES
        else:
            raise ValueError(
                "source must be a path, a URL, a DownloadResult, a Served or a binary file object,"
                f" not {type(source).__name__}."
            )
        with self._lock:
            self.size_bytes = self._file.seek(0, os.SEEK_END)
        if not self.size_bytes:
            self.close()
            raise MediaError(f"{self.name} is empty; download or record it again.")
        try:
            self.head = self.read(ByteRange(0, min(SNIFF_BYTES, self.size_bytes)))
            check_type("source", self.head, bytes, "a file that is opened in binary mode")
            self.kind = _video_kind(self.name, self.head)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> BinaryIO:
        try:
            descriptor, status = open_regular(path)
        except (OSError, ValueError) as error:
            raise MediaError(f"{path} cannot be opened: {os_error_reason(error)}.") from error
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return cast(BinaryIO, io.FileIO(descriptor, "rb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, unless it is a file object of the caller's."""
        if self._owned is not None:
            self._owned.close()

    def read(self, byte_range: ByteRange) -> bytes:
        """Return bytes of the file, fewer at its end; safe from any thread."""
        if isinstance(self._file, io.FileIO):
            return os.pread(self._file.fileno(), byte_range.size_bytes, byte_range.start)
        with self._lock:
            self._file.seek(byte_range.start)
            return self._file.read(byte_range.size_bytes)

    @contextmanager
    def open(self, *, skips_media_data: bool = False) -> "Iterator[InputContainer]":
        """Yield a PyAV container of the file; see `open_container`."""
        container = self.open_container(skips_media_data=skips_media_data)
        try:
            yield container
        finally:
            close_container(container)

    def open_container(self, *, skips_media_data: bool = False) -> "InputContainer":
        """Open the file with PyAV.

        With `skips_media_data` the payload of MP4's `mdat` boxes reads as zeros: the packets then
        have their timestamps and positions, and only the index of the file is read.
        """
        av = require_av()
        reader = _Reader(self, scan_boxes(self).media_data if skips_media_data else ())
        with self.errors():
            try:
                return cast(
                    "InputContainer",
                    av.open(
                        reader,
                        buffer_size=self._buffer_bytes,
                        metadata_errors="replace",
                        container_options=_OPTIONS,
                    ),
                )
            except av.error.InvalidDataError as error:
                layout = scan_boxes(self, stops_at_fragments=True).layout
                if layout.truncated:
                    raise MediaError(
                        f"{self.name} is truncated: {layout.missing_part}; download it again."
                    ) from error
                raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of PyAV into `MediaError`."""
        av = require_av()
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error.__context__, TransferError | ServeError):
                raise error.__context__ from None
            raise MediaError(f"{self.name} {_reason(av, error)}.") from error


def close_container(container: "InputContainer") -> None:
    """Close a container, after emptying its decoders.

    PyAV 18 frees a decoder with the interpreter's lock held. A decoder that frees the `opaque` of a
    packet in a thread of its own (dav1d) needs that lock, and the two would wait for each other for
    ever; a decoder is emptied without the lock.
    """
    for stream in container.streams:
        if stream.codec_context is not None:
            stream.codec_context.flush_buffers()
    container.close()


def demux(container: "InputContainer", *streams: Any) -> "Iterator[Packet[Any]]":
    """Yield the packets of some streams of a container, then an empty one for each (to flush it).

    PyAV 18 ends with `IndexError` where FFmpeg found more streams while reading (FLV, MPEG-TS, in
    damaged files); by then all packets of these streams have come.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def discard_others(container: "InputContainer", stream: "Stream") -> None:
    """Let the demuxer skip the packets of all streams but one."""
    for other in container.streams:
        if other is not stream:
            other.discard = require_av().stream.Discard.all


def picture_streams(container: "InputContainer") -> "list[VideoStream]":
    """Return the video streams of a container without attached pictures."""
    attached = require_av().stream.Disposition.attached_pic
    return [one for one in container.streams.video if not one.disposition & attached]


def played_streams(
    container: "InputContainer",
) -> "tuple[VideoStream | None, AudioStream | None]":
    """Return the streams that are played: the first video, and the default or first sound."""
    default = require_av().stream.Disposition.default
    audio = sorted(container.streams.audio, key=lambda one: not one.disposition & default)
    return next(iter(picture_streams(container)), None), next(iter(audio), None)


def start_time_s(*streams: "Stream | None") -> Fraction:
    """Return the earliest presentation time of some streams (s), at least 0."""
    starts = [
        one.start_time * (one.time_base or Fraction(0))
        for one in streams
        if one is not None and one.start_time is not None
    ]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def _reason(av: Any, error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return (
            "is not a video that FFmpeg can read, or its index is damaged; check the file, or"
            " download it again"
        )
    if isinstance(error, av.error.EOFError):
        return "ends before its first frame; download it again"
    if isinstance(error, av.error.DecoderNotFoundError):
        return "has a codec for which this FFmpeg has no decoder; convert it with another program"
    return f"cannot be read by FFmpeg ({type(error).__name__}); check the file"


def _video_kind(name: str, head: bytes) -> str:
    found = sniff(head)
    refusal = not_a_video(name, found)
    if refusal is not None:
        raise MediaError(refusal)
    return found.kind


class Boxes(NamedTuple):
    """The boxes of an MP4: their structure, the payloads of `mdat`, and the byte where they end."""

    layout: Layout
    media_data: tuple[ByteRange, ...]
    stop: int


def scan_boxes(file: MediaFile, *, stops_at_fragments: bool = False) -> Boxes:
    """Return the boxes of an MP4 (ISO/IEC 14496-12 section 8.1.1).

    With `stops_at_fragments` the scan ends at the first fragment, of which a long recording has
    thousands.
    """
    scan, found = BoxScanner(file.size_bytes), []
    while (byte_range := scan.next_range()) is not None:
        data = file.read(byte_range)
        if len(data) != byte_range.size_bytes:
            break
        scan.feed(data)
        if data[4:8] == b"mdat":
            start = byte_range.start + (16 if data[:4] == b"\0\0\0\1" else 8)
            end = min(scan.offset, file.size_bytes)
            if start < end:
                found.append(ByteRange(start, end))
        if stops_at_fragments and scan.layout().fragmented:
            break
    return Boxes(scan.layout(), tuple(found), scan.offset)


class _Reader(RandomAccessFile):
    """The file for one PyAV container, with a position of its own; `zeros` read as zeros."""

    def __init__(self, file: MediaFile, zeros: tuple[ByteRange, ...]) -> None:
        super().__init__()
        self._file = file
        self._zeros = zeros
        self._starts = [one.start for one in zeros]
        self.size_bytes = file.size_bytes
        self.name = ""  # FFmpeg would guess the format by it, and read a URL ahead by megabytes

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        start, stop = byte_range.start, byte_range.stop
        at = bisect_right(self._starts, start)
        if at and start in self._zeros[at - 1]:
            data = bytes(min(stop, self._zeros[at - 1].stop) - start)
        else:
            limit = self._starts[at] if at < len(self._starts) else stop
            data = self._file.read(ByteRange(start, min(stop, limit)))
        view[: len(data)] = data
        return len(data)
