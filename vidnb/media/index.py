"""The media index of a fragmented MP4 or a WebM: what MediaSource needs to play it in segments.

A browser's MediaSource accepts the initialization segment of a file once, and then its media
segments in any order. `read_index` finds the codecs and the offsets of the segments without I/O: it
yields the byte ranges it needs. A file that it does not fully understand has no index.
"""

import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final

from vidnb.http.ranges import ByteRange
from vidnb.media import index_mp4, index_webm

__all__ = ["MAX_HEAD_BYTES", "MediaIndex", "read_index", "sort_entries"]

MAX_HEAD_BYTES: Final = 4 * 1024 * 1024
"""The limit (B) of one read, and of the initialization segment."""

_MAX_ENTRIES: Final = 20_000  # a day in steps of four seconds; of more, every second or third
_EBML: Final = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True, slots=True)
class MediaIndex:
    """What a page needs to play a file in segments.

    `mime` is the type with the codecs, for `MediaSource.isTypeSupported`; `init_bytes` the length
    of the initialization segment (B), after which the media segments follow in order; `duration_s`
    the duration in seconds, None if unknown. `index` has the time (s) and the offset (B) of
    segments that start with a keyframe, both increasing; empty if the file has no index.
    """

    mime: str
    init_bytes: int
    duration_s: float | None
    index: tuple[tuple[float, int], ...]


def read_index(size_bytes: int) -> Generator[ByteRange, bytes, MediaIndex | None]:
    """Read the index of a file of `size_bytes`; returns None if it cannot be played in segments.

    Yields at most about 200 byte ranges, each of 1 to `MAX_HEAD_BYTES` within the file; send their
    bytes. Takes time proportional to these, and never raises for any content.
    """
    if size_bytes < 8:
        return None
    start = yield ByteRange(0, 8)
    if start[:4] == _EBML:
        reader = index_webm.read(size_bytes)
    elif start[4:] == b"ftyp":
        reader = index_mp4.read(size_bytes)
    else:
        return None
    try:
        wanted = next(reader)
        while wanted.size_bytes <= MAX_HEAD_BYTES and wanted.stop <= size_bytes:
            wanted = reader.send((yield wanted) if wanted else b"")
    except StopIteration as end:
        if end.value is None:
            return None
        mime, init_bytes, duration_s, entries = end.value
        if init_bytes > MAX_HEAD_BYTES:
            return None
        if not (duration_s and 0 < duration_s < inf):
            duration_s = None
        ordered = sort_entries(entries, ByteRange(init_bytes, size_bytes))
        return MediaIndex(mime, init_bytes, duration_s, ordered)
    except (struct.error, IndexError, OverflowError, ValueError, ZeroDivisionError):
        pass  # truncated or malformed
    return None


def sort_entries(
    entries: Sequence[tuple[float, int]], within: ByteRange
) -> tuple[tuple[float, int], ...]:
    """Return at most `_MAX_ENTRIES` entries by increasing offset; none if they are inconsistent."""
    by_offset = sorted({offset: time_s for time_s, offset in reversed(entries)}.items())
    step = -(-len(by_offset) // _MAX_ENTRIES) or 1
    found = tuple((time_s, offset) for offset, time_s in by_offset)[::step]
    if any(offset not in within for _, offset in found):
        return ()
    if any(after[0] <= before[0] for before, after in pairwise(found)):
        return ()
    return found
