"""Make the frame table of a video stream: from its index, its packets, or by decoding it.

The cheapest way that is right wins: an MP4 costs its index, other containers one pass over their
packets. The first frames are decoded to check the result. Where timestamps do not give the frames
that a decoder returns (AVI with B-frames, one field in a packet), the whole stream is decoded.
"""

import hashlib
import logging
import os
import threading
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from platformdirs import user_cache_path

from vidnb.errors import MediaError
from vidnb.media.container import (
    MediaFile,
    demux,
    discard_others,
    picture_streams,
    require_av,
    start_time_s,
)
from vidnb.media.frame_table import FrameTable, PacketEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

__all__ = [
    "has_table",
    "key_times",
    "open_stream",
    "packet_of",
    "pixel_aspect_ratio",
    "quick_table",
    "read_entries",
    "read_table",
    "seek_packets",
    "skip_packets",
    "tag_packet",
]

_CHECKED_FRAMES: Final = 16
"""So many frames are decoded to check a table; the reordering of all codecs is shorter."""
_MIN_CACHED_PACKETS: Final = 500
"""A shorter table is made again as fast as it is read."""
_MAX_CACHED_TABLES: Final = 1000
_MAX_READ_BYTES: Final = 2**30
"""A larger file is not read as a whole for its frame table, before it plays (B)."""
_WHOLE_INDEX: Final = {"mp4", "quicktime"}
"""Containers whose index lists every frame."""
_MAX_GAP_S: Final = 20
"""Key frames farther apart (s) mean that a container has no index of them."""
_REORDERED: Final = {"h264", "hevc"}
"""Codecs whose frames a decoder gives no times in AVI, which has no presentation timestamps."""
_MAX_PACKETS: Final = 2**26
"""More than twelve days of 60 frames a second: a hostile file that never ends."""


def open_stream(
    container: "InputContainer", number: int, name: str, *, is_strict: bool = True
) -> "VideoStream":
    """Return the video stream `number` of a container, counted from 0, without attached pictures.

    Frames are decoded with as many threads as the codec allows, and every frame carries the number
    of its packet (`packet_of`). With `is_strict` a damaged frame is an error; without it FFmpeg
    makes one up from its neighbours.
    """
    av = require_av()
    streams = picture_streams(container)
    if not 0 <= number < len(streams):
        count = len(streams)
        raise MediaError(
            f"{name} has no video stream {number}: it has {count or 'none'}"
            f"{'; streams are counted from 0' if count else ''}."
        )
    stream = streams[number]
    discard_others(container, stream)
    if stream.codec_context is None:
        raise MediaError(
            f"{name} has a codec for which this FFmpeg has no decoder; convert it with another"
            " program."
        )
    if is_strict:
        stream.codec_context.options = {"err_detect": "explode"}
    stream.codec_context.flags |= av.codec.context.Flags.copy_opaque
    stream.thread_type = "AUTO"
    return stream


def pixel_aspect_ratio(stream: "VideoStream") -> Fraction:
    """Return width by height of a pixel, 1 if the file does not say."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(ratio) if ratio else Fraction(1)


def seek_packets(
    container: "InputContainer", stream: "VideoStream", table: FrameTable, key: int
) -> "Iterator[Packet[VideoStream]] | None":
    """Seek, and return the packets from key packet `key` on, in decoding order.

    None where no seek finds it, as in an elementary stream, which has no timestamps; then
    `skip_packets` does, from the start of the file.
    """
    for ticks in table.seek_ticks(key):
        try:
            container.seek(ticks, stream=stream, backward=True)
        except require_av().error.FFmpegError:
            return None
        packets = skip_packets(demux(container, stream), table, key)
        if packets is not None:
            return packets
    return None


def skip_packets(
    packets: "Iterator[Packet[VideoStream]]", table: FrameTable, number: int
) -> "Iterator[Packet[VideoStream]] | None":
    """Return the packets from this number on; None if it was passed or is not there."""
    for packet in packets:
        found = table.packet_at(packet.pos, packet.pts) if packet.size else None
        if found is not None and found >= number:
            return chain([packet], packets) if found == number else None
    return None


def tag_packet(packet: "Packet[VideoStream]", number: int) -> None:
    """Give a packet its number, for `packet_of`.

    PyAV 18 keeps `opaque` by the address of the object, so two packets must not share one, as they
    would share a small integer.
    """
    packet.opaque = [number]


def packet_of(frame: "VideoFrame") -> int:
    """Return the number of the packet that a frame was decoded from."""
    return cast("list[int]", frame.opaque)[0]


def has_table(file: MediaFile, video: "VideoStream") -> bool:
    """Return whether the frame table of a file is made before it plays: it is needed, or cheap."""
    codec = video.codec_context.codec.canonical_name
    is_needed = file.kind == "avi" and codec in _REORDERED
    is_local = file.identity is not None and file.size_bytes <= _MAX_READ_BYTES
    return is_needed or is_local or file.kind in _WHOLE_INDEX


def key_times(file: MediaFile, number: int) -> list[Fraction]:
    """Return the times (s) of the key frames that the index of a container lists.

    None where it has no index: some are listed all the same, those that were met.
    """
    with file.open() as container:
        stream = picture_streams(container)[number]
        # The demuxer of Matroska reads its index at the first seek.
        with suppress(MediaError), file.errors():
            container.seek(0, stream=stream)
        time_base = cast(Fraction, stream.time_base)
        entries = stream.index_entries
        times = sorted({one.timestamp * time_base for one in entries if one.is_keyframe})
        end_s = Fraction(container.duration or 0, 1_000_000) + start_time_s(stream)
        gaps = (after - before for before, after in pairwise((*times, end_s)))
        return times if max(gaps, default=0) <= _MAX_GAP_S else []


def read_table(file: MediaFile, number: int) -> FrameTable:
    """Return the frame table of video stream `number`; `MediaError` if it has no readable frame.

    The table of a local file is kept in the user's cache until the file changes (device, inode,
    size, modification time).
    """
    path = _cache_path(file, number)
    if path is not None:
        with suppress(OSError):
            table = FrameTable.load(path.read_bytes())
            if table is not None:
                os.utime(path)  # the least recently used are removed
                return table
    table = _make_table(file, number)
    if path is not None and table.packet_count >= _MIN_CACHED_PACKETS:
        _save(path, table)
    return table


def table_cache() -> Path:
    """Return the folder of cached frame tables."""
    return user_cache_path("vidnb", appauthor=False) / "frame-tables"


def _cache_path(file: MediaFile, number: int) -> Path | None:
    if file.identity is None:
        return None
    text = ":".join(map(str, (*file.identity, number)))
    return table_cache() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.table"


def _save(path: Path, table: FrameTable) -> None:
    """Write a table under its name when it is complete; without it only the next run is slower."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(table.dump())
        part.replace(path)
        files = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns)
        for one in files[:-_MAX_CACHED_TABLES]:
            one.unlink()
    except OSError as error:
        logger.debug("The frame table of a file was not cached: %s", error.strerror)
        with suppress(OSError):
            part.unlink()


def _make_table(file: MediaFile, number: int) -> FrameTable:
    entries = read_entries(file, number)
    table = quick_table(file, number, entries)
    if table is not None:
        return table
    with file.open() as container:
        stream = open_stream(container, number, file.name, is_strict=False)
        with file.errors():
            decoded = list(_decoded_packets(container, stream))
        time_base = cast(Fraction, stream.time_base)
    try:
        return FrameTable.of_packets(entries, time_base, decoded=decoded)
    except ValueError as error:
        raise MediaError(f"The frames of {file.name} have no times: {error}.") from error


def quick_table(file: MediaFile, number: int, entries: list[PacketEntry]) -> FrameTable | None:
    """Return the frame table of a stream by its packets, None if all must be decoded for it.

    `MediaError` if the stream has no readable frame.
    """
    # A recording or a copy that begins with an open group of pictures has errors up to its next
    # closed group, though all its frames are whole.
    for is_strict in (True, False):
        with file.open() as container:
            stream = open_stream(container, number, file.name, is_strict=is_strict)
            time_base = stream.time_base
            with file.errors():
                head = list(islice(_decoded_packets(container, stream), _CHECKED_FRAMES))
        if head:
            break
    if time_base is None or not head:
        raise MediaError(f"No frame of {file.name} can be decoded; check the file.")
    if any(entry.pts is None for entry in entries):
        return None
    table = FrameTable.of_packets(entries, time_base)
    return table if list(table.packets[: len(head)]) == head else None


def read_entries(file: MediaFile, number: int) -> list[PacketEntry]:
    """Return the packets of a stream in decoding order, without decoding."""
    is_mp4 = file.kind in {"mp4", "quicktime"}
    with file.open(skips_media_data=is_mp4) as container:
        if is_mp4 and "mp4" in container.format.name:
            entries = _entries(file, number, container)
            # FFmpeg's parsers judged zeros; its index has the flags of the file.
            index = open_stream(container, number, file.name).index_entries
            keys = {entry.pos for entry in index if entry.is_keyframe}
            return [replace(entry, is_key=entry.position in keys) for entry in entries]
    with file.open() as container:
        return _entries(file, number, container)


def _entries(file: MediaFile, number: int, container: "InputContainer") -> list[PacketEntry]:
    entries: list[PacketEntry] = []
    stream = open_stream(container, number, file.name)
    with file.errors():
        for packet in islice(demux(container, stream), _MAX_PACKETS):
            if packet.size:
                position = -1 if packet.pos is None else packet.pos
                is_key, is_discard = bool(packet.is_keyframe), bool(packet.is_discard)
                entries.append(
                    PacketEntry(
                        packet.pts, packet.dts, position, is_key, is_discard, packet.duration or 0
                    )
                )
    return entries


def _decoded_packets(container: "InputContainer", stream: "VideoStream") -> "Iterator[int]":
    """Yield the packet number of each decoded frame, in the order of the decoder."""
    av = require_av()
    number = 0
    for packet in demux(container, stream):
        if packet.size:
            tag_packet(packet, number)
            number += 1
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # a damaged packet has no frame
        for frame in frames:
            yield packet_of(frame)
