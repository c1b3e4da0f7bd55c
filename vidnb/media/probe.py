"""`vidnb.probe`: the facts of any media file, read with PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vidnb.errors import MediaError
from vidnb.media.container import MediaFile, MediaSource, demux, require_av, scan_boxes
from vidnb.media.delivery import playable_as
from vidnb.media.frame_table import FrameTable, PacketEntry
from vidnb.media.media_info import (
    COLOR_MATRICES,
    COLOR_PRIMARIES,
    COLOR_RANGES,
    COLOR_TRANSFERS,
    AudioStream,
    Chapter,
    DamagedPlace,
    MediaInfo,
    SubtitleStream,
    VideoStream,
    creation_time,
    hdr_kind,
)
from vidnb.media.problems import (
    box_problems,
    count_problems,
    damage_problems,
    damaged_places,
    gap_problems,
    holes,
    key_frame_problems,
    missing_bytes_problem,
    stream_problems,
    timestamp_problems,
)
from vidnb.media.sniff import declared_size_bytes
from vidnb.media.table_reader import open_stream, quick_table, read_entries, read_table

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

__all__ = ["codec_name", "container_name", "probe", "read_info"]

_MAX_COUNTED_BYTES: Final = 256 * 2**20
"""Frames of a local file without an index are counted up to this size (B), about a second."""
_MAX_TRIED_PACKETS: Final = 250
"""Packets that are decoded to find the first frame: a recording may start between key frames."""
_CONTIGUOUS: Final = frozenset({"matroska,webm", "flv"})
"""FFmpeg's names of containers in which the packets of all streams follow each other."""
_MP4: Final = frozenset({"mp4", "quicktime"})

_T = TypeVar("_T")


def probe(source: MediaSource, *, deep: bool = False) -> MediaInfo:
    """Return the facts of a media file: container, streams, chapters, tags and problems.

    Parameters
        source: a path, an http(s) URL (only what is needed is fetched), a `DownloadResult`, a
            `Served` or a seekable binary file object.
        deep: decode all video and audio, and list the damaged places by time (s) and byte; this
            reads the whole file.

    Frames are counted by the frame table. An MP4 costs its index. Other containers, and fragmented
    MP4, need one pass over the file, so the count and what else the table says is None for a URL
    and for files above 256 MiB, unless `deep` is set; so it is where only decoding tells which
    frames there are (AVI with B-frames, separate fields). Raises `MediaError` for a file in which
    FFmpeg finds neither video nor audio, `MissingExtra` without the extra `media`, and what
    `vidnb.open` raises for a URL.
    """
    require_av()
    with MediaFile(source) as file:
        return _Prober(file, is_deep=deep).info()


def read_info(file: MediaFile) -> MediaInfo:
    """Return the facts of an opened file without its frame table and damage."""
    return _Prober(file, is_deep=False, has_tables=False).info()


class _Prober:
    """One probe of one file: what was found, and the sentences about it."""

    def __init__(self, file: MediaFile, *, is_deep: bool, has_tables: bool = True) -> None:
        self._file = file
        self._is_deep = is_deep
        self._has_tables = has_tables
        self._problems: list[str] = []
        self._tables: list[FrameTable] = []
        self._counts: list[tuple[int, int, int]] = []  # stream, declared packets, read packets

    def info(self) -> MediaInfo:
        av = require_av()
        with self._file.open() as container:
            attached = av.stream.Disposition.attached_pic
            streams = [one for one in container.streams.video if not one.disposition & attached]
            video = tuple(self._video(one, number) for number, one in enumerate(streams))
            audio = tuple(map(_audio, container.streams.audio))
            subtitles = tuple(map(_subtitles, container.streams.subtitles))
            if not video and not audio:
                raise MediaError(
                    f"{self._file.name} has neither video nor audio that FFmpeg can read"
                    f"{'; it holds subtitles' if subtitles else ''}; check the file."
                )
            name = container_name(self._file, container)
            tags = {**container.metadata, **({} if not video else _own_tags(streams[0]))}
            duration_s, bits_per_s = self._duration_s(container), container.bit_rate or None
            chapters = tuple(_chapters(container))
        self._problems += stream_problems(name, video, audio, subtitles)
        truncation = list(self._truncation())
        self._problems += truncation
        if not truncation:
            self._problems += chain.from_iterable(count_problems(*one) for one in self._counts)
        damage = self._damage() if self._is_deep else None
        return MediaInfo(
            name=self._file.name,
            container=name,
            size_bytes=self._file.size_bytes,
            duration_s=duration_s,
            bits_per_s=bits_per_s,
            video=video,
            audio=audio,
            subtitles=subtitles,
            chapters=chapters,
            tags=tags,
            creation_time=creation_time(tags),
            playable_as=playable_as(name, video, audio),
            problems=tuple(self._problems),
            damage=damage,
        )

    def _video(self, stream: Any, number: int) -> VideoStream:
        context = stream.codec_context
        rotation, side_data, width, height = self._first_frame(number)
        width, height = width or _of(context, "width", 0), height or _of(context, "height", 0)
        ratio = Fraction(_of(stream, "sample_aspect_ratio", None) or 1)
        ratio = ratio if ratio > 0 else Fraction(1)
        shown = (max(1, round(width * ratio)), height) if width else (0, 0)
        transfer = COLOR_TRANSFERS.get(_of(context, "color_trc", 2))
        pixel_format = _of(context, "format", None)
        table = self._table(stream, number)
        return VideoStream(
            index=stream.index,
            codec=codec_name(stream),
            profile=_of(context, "profile", None),
            pixel_format=_of(pixel_format, "name", None),
            bit_depth=max((one.bits for one in _of(pixel_format, "components", ())), default=None),
            width=width,
            height=height,
            display_width=shown[1] if rotation % 180 else shown[0],
            display_height=shown[0] if rotation % 180 else shown[1],
            sample_aspect_ratio=ratio,
            rotation=rotation,
            average_frame_rate=_rate(stream, "average_rate"),
            real_frame_rate=_rate(stream, "base_rate"),
            is_variable_rate=None if table is None else not table.is_constant_rate,
            frame_count=None if table is None else len(table),
            longest_key_interval_s=None if table is None else table.longest_key_interval_s(),
            color_primaries=COLOR_PRIMARIES.get(_of(context, "color_primaries", 2)),
            color_transfer=transfer,
            color_matrix=COLOR_MATRICES.get(_of(context, "colorspace", 2)),
            color_range=COLOR_RANGES.get(_of(context, "color_range", 0)),
            hdr=hdr_kind(transfer, side_data),
            bits_per_s=_of(context, "bit_rate", None) or None,
            language=stream.metadata.get("language"),
            title=stream.metadata.get("title"),
            has_decoder=context is not None,
        )

    def _first_frame(self, number: int) -> tuple[int, frozenset[str], int, int]:
        """Return clockwise rotation, names of the side data, width and height of the first frame.

        PyAV shows the display matrix of a stream only with a decoded frame. Without one: zeros.
        """
        av = require_av()
        try:
            with self._file.open() as container, self._file.errors():
                stream = open_stream(container, number, self._file.name)
                stream.thread_type = "SLICE"  # frame threads read ahead
                for packet in islice(demux(container, stream), _MAX_TRIED_PACKETS):
                    try:
                        frames = packet.decode()
                    except av.error.FFmpegError:
                        continue  # a damaged packet
                    for frame in frames:
                        turned = round(-frame.rotation / 90) * 90 % 360
                        return turned, _side_data(frame), frame.width, frame.height
        except MediaError:
            pass  # `_table` reports it, or `stream_problems` if there is no decoder
        return 0, frozenset(), 0, 0

    def _table(self, stream: "Stream", number: int) -> FrameTable | None:
        """Return the frame table of a stream if it is allowed to cost what it does."""
        if not self._has_tables or not (self._is_deep or self._is_cheap()):
            return None
        table, index = None, stream.index
        # By the index of MP4 and AVI; other containers list some key packets at most. An empty
        # packet repeats a frame (AVI), and FFmpeg does not return it.
        declared = sum(entry.size > 0 for entry in stream.index_entries)
        try:
            entries = read_entries(self._file, number)
            self._counts.append((index, declared, len(entries)))
            self._problems += timestamp_problems(index, entries)
            table = quick_table(self._file, number, entries)
            if table is None and self._is_deep:
                table = read_table(self._file, number)
        except MediaError as error:
            if "no decoder" not in str(error):  # `stream_problems` says that
                self._problems.append(f"Stream #{index}: {error}")
        if table is not None:
            self._tables.append(table)
            self._problems += key_frame_problems(index, table)
            self._problems += gap_problems(index, table)
        return table

    def _is_cheap(self) -> bool:
        """Whether the packets can be listed quickly: by an index, or in a small local file."""
        if (
            self._file.kind in _MP4
            and not scan_boxes(self._file, stops_at_fragments=True).layout.fragmented
        ):
            return True
        return not self._file.is_remote and self._file.size_bytes <= _MAX_COUNTED_BYTES

    def _duration_s(self, container: "InputContainer") -> float | None:
        """Return the duration that the container states, else that of the longest frame table."""
        av = require_av()
        if container.duration is not None and container.duration > 0:
            return float(Fraction(container.duration, av.time_base))
        lengths = [
            float((table.pts[-1] - table.pts[0]) * table.time_base) for table in self._tables
        ]
        return max(lengths, default=0) or None

    def _truncation(self) -> Iterator[str]:
        """Yield what the container says about its own size."""
        size_bytes = self._file.size_bytes
        if self._file.kind in _MP4:
            layout, _, stop = scan_boxes(self._file, stops_at_fragments=self._file.is_remote)
            if layout.truncated:
                yield missing_bytes_problem(layout.missing_bytes, layout.missing_part, self._counts)
            yield from box_problems(
                layout, size_bytes if self._file.is_remote else stop, size_bytes
            )
            return
        declared = declared_size_bytes(self._file.head) or 0
        if declared > size_bytes:
            part = f"its header declares {declared} bytes"
            yield missing_bytes_problem(declared - size_bytes, part, self._counts)

    def _damage(self) -> tuple[DamagedPlace, ...]:
        """Decode all video and audio; return the damaged places."""
        av = require_av()
        with self._file.open() as container:
            checks: dict[int, _Check] = {}
            streams: list[Any] = list(container.streams)
            for stream in streams:
                if stream.type in {"video", "audio"} and stream.codec_context is not None:
                    # An error of a frame thread would be reported with a later packet.
                    stream.thread_type = "SLICE"
                    if stream.type == "video":  # as in `vidnb.frames`: not concealed
                        stream.codec_context.options = {"err_detect": "explode"}
                    stream.codec_context.flags |= av.codec.context.Flags.copy_opaque
                    checks[stream.index] = _Check(stream)
                else:
                    stream.discard = av.stream.Discard.all
            with self._file.errors():
                # Without any, PyAV would return the packets of all streams.
                checked = [streams[index] for index in checks]
                for packet in demux(container, *checked) if checked else ():
                    checks[packet.stream.index].decode(packet)
            is_contiguous = container.format.name in _CONTIGUOUS
        if is_contiguous:
            packets = {start: size for check in checks.values() for start, size in check.packets}
            for start, _ in holes(packets.items()):
                for check in checks.values():
                    check.add_hole(start)
        places = tuple(chain.from_iterable(check.places() for check in checks.values()))
        self._problems += damage_problems(places)
        return places


class _Check:
    """The packets of one stream that is decoded as a whole, and those that are damaged."""

    def __init__(self, stream: Any) -> None:
        # PyAV reads freed memory for a stream of a closed container, so these are copied.
        self._index: int = stream.index
        self._time_base: Fraction = stream.time_base or Fraction(1)
        self._entries: list[PacketEntry] = []
        self._bad: set[int] = set()
        self.packets: list[tuple[int, int]] = []  # offset and size (B), where they are known

    def decode(self, packet: Any) -> None:
        av = require_av()
        if packet.size:
            # PyAV keeps `opaque` by the address of the object: small integers share theirs.
            packet.opaque = [len(self._entries)]
            position = -1 if packet.pos is None else packet.pos
            is_key = bool(packet.is_keyframe)
            self._entries.append(PacketEntry(packet.pts, packet.dts, position, is_key))
            if position >= 0:
                self.packets.append((position, packet.size))
            if packet.is_corrupt:
                self._bad.add(len(self._entries) - 1)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # no I/O: a decoder reports damage with several of them
            self._bad.add(max(0, len(self._entries) - 1))
            return
        self._bad |= {frame.opaque[0] for frame in frames if frame.is_corrupt and frame.opaque}

    def add_hole(self, start: int) -> None:
        """Mark the last packet before byte `start`, from which on bytes were passed over."""
        number = sum(0 <= entry.position < start for entry in self._entries) - 1
        self._bad.add(max(0, number))

    def places(self) -> Iterator[DamagedPlace]:
        return damaged_places(self._index, self._entries, self._bad, self._time_base)


def _audio(stream: Any) -> AudioStream:
    context = stream.codec_context
    channels = _of(context, "channels", 0)
    layout = _of(_of(context, "layout", None), "name", "")  # "2 channels" if it is not known
    return AudioStream(
        index=stream.index,
        codec=codec_name(stream),
        profile=_of(context, "profile", None),
        sample_rate_hz=_of(context, "sample_rate", 0),
        channels=channels,
        layout=None if not channels or layout.endswith("channels") else layout,
        bits_per_s=_of(context, "bit_rate", None) or None,
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        has_decoder=context is not None,
    )


def _subtitles(stream: Any) -> SubtitleStream:
    return SubtitleStream(
        index=stream.index,
        codec=codec_name(stream),
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        has_decoder=stream.codec_context is not None,
    )


def _chapters(container: "InputContainer") -> Iterator[Chapter]:
    for chapter in container.chapters():
        scale = chapter["time_base"] or Fraction(1)
        times = (float(chapter["start"] * scale), float(chapter["end"] * scale))
        yield Chapter(*times, chapter["metadata"].get("title"))


def container_name(file: MediaFile, container: "InputContainer") -> str:
    """Return the format by the first bytes where FFmpeg has one name for several, else FFmpeg's."""
    name = container.format.name
    if "," not in name:
        return name
    return file.kind if file.kind in {*_MP4, "webm", "matroska", "heif"} else name.split(",")[0]


def _own_tags(stream: "Stream") -> dict[str, str]:
    """Return the creation time of a stream, which some recorders write there only."""
    return {name: value for name, value in stream.metadata.items() if name == "creation_time"}


def codec_name(stream: Any) -> str:
    """Return FFmpeg's name of the codec, not of the decoder (`av1`, not `libdav1d`)."""
    context = stream.codec_context
    return "unknown" if context is None else str(context.codec.canonical_name)


def _side_data(frame: Any) -> frozenset[str]:
    try:
        return frozenset(one.type.name for one in frame.side_data)
    except ValueError:  # a type that this PyAV does not know
        return frozenset()


def _rate(stream: Any, name: str) -> Fraction | None:
    rate = _of(stream, name, None)
    return Fraction(rate) if rate and rate > 0 else None


def _of(owner: Any, name: str, default: _T) -> Any | _T:
    """Return an attribute of a PyAV object; the default where there is no decoder or no value."""
    value = None if owner is None else getattr(owner, name, None)
    return default if value is None else value
