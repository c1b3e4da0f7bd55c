"""What is wrong with a media file: decisions without I/O."""

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from vidnb.download.planner.progress import format_bytes
from vidnb.media.frame_table import FrameTable, PacketEntry
from vidnb.media.media_info import (
    AudioStream,
    DamagedPlace,
    SubtitleStream,
    VideoStream,
)
from vidnb.media.sniff import Layout, SniffResult

__all__ = [
    "box_problems",
    "count_problems",
    "damage_problems",
    "damaged_places",
    "gap_problems",
    "holes",
    "key_frame_problems",
    "missing_bytes_problem",
    "not_a_video",
    "stream_problems",
    "timestamp_problems",
]

_MAX_KEY_INTERVAL_S: Final = 10.0
_MAX_SHOWN_PLACES: Final = 5
_MAX_HEADER_BYTES: Final = 200
"""More than the headers of a block and of a cluster, or of a tag, between two packets."""
_MIN_GAP_S: Final = 0.5
_MIN_GAP_FRAMES: Final = 10
_MAX_GAPS: Final = 0.01  # of all frames
_PICTURES: Final = frozenset({"apng", "heif", "image2", "svg"})
_PLAYLISTS: Final = frozenset({"hls", "dash", "m3u"})


def not_a_video(name: str, found: SniffResult) -> str | None:
    """Return why a file is refused by its first bytes, None if FFmpeg may open it.

    A playlist makes FFmpeg open the files and addresses that it names.
    """
    if found.verdict == "reference":
        what = f"a playlist ({found.kind.upper()})" if found.kind in _PLAYLISTS else "a file"
        return f"{name} is {what}, which only names other files; download the video, and open that."
    if found.kind in {"webvtt", "srt", "ttml"}:
        return f"{name} holds subtitles, not a video; pass it to play(subtitles=…)."
    if found.verdict == "page":
        what = "a web page" if found.kind == "html" else f"{found.kind.removesuffix('text')} text"
        title = f" (“{found.title}”)" if found.title else ""
        return (
            f"{name} is {what.strip()}{title}, not a video; check the name, or download it again."
        )
    return None


def stream_problems(
    container: str,
    video: Sequence[VideoStream],
    audio: Sequence[AudioStream],
    subtitles: Sequence[SubtitleStream],
) -> Iterator[str]:
    """Yield what the list of streams says: no video, a picture, a missing decoder."""
    if not video:
        yield "It has no video stream: it can be heard, but it has no frames."
    elif container in _PICTURES or container.endswith("_pipe"):
        yield "It is a picture, not a video; open it with Pillow."
    streams: list[VideoStream | AudioStream | SubtitleStream] = [*video, *audio, *subtitles]
    for stream in streams:
        if not stream.has_decoder:
            yield (
                f"Stream #{stream.index} has a codec ({stream.codec}) for which this FFmpeg has no"
                " decoder; convert it with another program."
            )


def missing_bytes_problem(
    missing_bytes: int, part: str, counts: Sequence[tuple[int, int, int]]
) -> str:
    """Return the sentence for a truncated file.

    `missing_bytes` (B) is 0 if unknown, `part` a clause that says what is missing; `counts` are
    streams with the number of packets that the container declares and of those that can be read.
    """
    amount = f"{format_bytes(missing_bytes)} are missing: " if missing_bytes else ""
    rest = "".join(
        f"; {read} of {declared} packets of stream #{index} are left"
        for index, declared, read in counts
        if read < declared
    )
    return f"The file is truncated: {amount}{part}{rest}; download it again."


def box_problems(layout: Layout, stop: int, size_bytes: int) -> Iterator[str]:
    """Yield what the boxes of an MP4 say; they end at byte `stop` of `size_bytes`."""
    if layout.fragmented and stop < size_bytes:
        yield (
            f"From byte {stop} on the file has no boxes of an MP4, so that the rest"
            f" ({format_bytes(size_bytes - stop)}) cannot be read; download it again."
        )
    if layout.moov_first is False and not layout.fragmented and not layout.truncated:
        yield (
            "The index is at the end of the file, so a browser must request it before the first"
            " frame; `ffmpeg -i IN -c copy -movflags +faststart OUT` moves it to the front."
        )


def key_frame_problems(index: int, table: FrameTable) -> Iterator[str]:
    """Yield a sentence if seeking in the stream `index` must decode for a long time."""
    interval_s = table.longest_key_interval_s()
    if interval_s >= _MAX_KEY_INTERVAL_S:
        yield (
            f"The key frames of stream #{index} are up to {interval_s:.1f} s apart, so that a seek"
            " decodes as much; vidnb.convert makes one each second."
        )


def gap_problems(index: int, table: FrameTable) -> Iterator[str]:
    """Yield the gaps in a stream whose frames otherwise follow each other regularly.

    FFmpeg passes over damaged bytes without an error where a container lets it (Matroska).
    """
    times = [float(pts * table.time_base) for pts in table.pts]
    lengths = sorted(after - before for before, after in pairwise(times))
    if not lengths:
        return
    least_s = max(_MIN_GAP_S, _MIN_GAP_FRAMES * lengths[len(lengths) // 2])
    gaps = [(a, b) for a, b in pairwise(times) if b - a > least_s]
    if len(gaps) <= max(1, len(times) * _MAX_GAPS):  # with more the rate is variable
        for start_s, end_s in gaps[:_MAX_SHOWN_PLACES]:
            yield f"Stream #{index} has no frame between {start_s:.3f} s and {end_s:.3f} s."


def count_problems(index: int, declared: int, read: int) -> Iterator[str]:
    """Yield a sentence if fewer packets of stream `index` were read than the container declares."""
    if read < declared:
        yield (
            f"Only {read} of {declared} packets of stream #{index} can be read: the file or its"
            " index is damaged, and later frame numbers and times may be wrong; download it again."
        )


def timestamp_problems(index: int, entries: Sequence[PacketEntry]) -> Iterator[str]:
    """Yield what is wrong with the timestamps of the packets of stream `index`."""
    missing = sum(entry.pts is None and entry.dts is None for entry in entries)
    if missing:
        yield f"Of stream #{index}, {missing} of {len(entries)} packets have no timestamp."
    dts = [entry.dts for entry in entries if entry.dts is not None]
    backwards = sum(after < before for before, after in pairwise(dts))
    if backwards:
        yield (
            f"The decoding timestamps of stream #{index} go backwards at {backwards} of its"
            " packets."
        )
    shown = [entry.pts for entry in entries if entry.pts is not None and not entry.is_discarded]
    repeated = len(shown) - len(set(shown))
    if repeated:
        yield (
            f"Of stream #{index}, {repeated} of {len(entries)} packets repeat a presentation"
            " timestamp."
        )


def damaged_places(
    index: int, entries: Sequence[PacketEntry], bad: Collection[int], time_base: Fraction
) -> Iterator[DamagedPlace]:
    """Yield the damaged places of stream `index`, from its packets that could not be decoded.

    `bad` are numbers of `entries`. Packets after a bad one depend on it, up to the next key packet
    that is good.
    """
    start: int | None = None
    for number, entry in enumerate(entries):
        if start is None:
            start = number if number in bad else None
        elif entry.is_key and number not in bad:
            yield _place(index, entries, start, number, time_base)
            start = None
    if start is not None:
        yield _place(index, entries, start, len(entries), time_base)


def holes(places: Collection[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file (first byte, stop) between packets, at these offsets and sizes (B).

    Only for containers whose packets follow each other: FFmpeg passes over damaged bytes there. The
    packet before such a part is damaged, too.
    """
    end = None
    for start, size_bytes in sorted(places):
        if end is not None and start - end > _MAX_HEADER_BYTES:
            yield end, start
        end = max(end or 0, start + size_bytes)


def _place(
    index: int, entries: Sequence[PacketEntry], start: int, stop: int, time_base: Fraction
) -> DamagedPlace:
    ends = [_time_and_byte(entries[n], time_base) for n in (start, stop) if n < len(entries)]
    (start_s, start_byte), (end_s, end_byte) = [*ends, (None, None)][:2]
    return DamagedPlace(index, start_s, end_s, start_byte, end_byte, stop - start)


def _time_and_byte(entry: PacketEntry, time_base: Fraction) -> tuple[float | None, int | None]:
    ticks = entry.dts if entry.pts is None else entry.pts
    time_s = None if ticks is None else float(ticks * time_base)
    return time_s, None if entry.position < 0 else entry.position


def damage_problems(places: Sequence[DamagedPlace]) -> Iterator[str]:
    """Yield a sentence for each damaged place, and one for those that are too many to list."""
    for place in places[:_MAX_SHOWN_PLACES]:
        start = "" if place.start_s is None else f" from {place.start_s:.3f} s"
        end = " to the end" if place.end_s is None else f" to {place.end_s:.3f} s"
        at = "" if place.start_byte is None else f", from byte {place.start_byte} on"
        yield (
            f"Stream #{place.stream} is damaged{start}{end}{at} ({place.packets}"
            f" packet{'s' * (place.packets != 1)}); download"
            " the file again."
        )
    more = len(places) - _MAX_SHOWN_PLACES
    if more > 0:
        yield f"More damaged places: {more}; see `.damage`."
