"""Decide which frames of a clip are copied and which are encoded again.

A copied section is a run of packets in decoding order. It starts at a key packet, and it ends where
the frames decoded so far are shown before all later ones: with B-frames that is not behind every
packet. An exact clip may need frames before its first key frame and behind its last such end; these
are encoded again, and the rest is copied.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vidnb.media.frame_table import FrameTable

__all__ = ["Section", "decode_timestamps", "parse_time", "plan_copy", "plan_exact"]

_TIME: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive frames of a clip, in the order in which they are shown.

    `packets` are the packets to copy, in decoding order; None: the frames are encoded again.
    """

    frames: range
    packets: range | None = None


def plan_copy(table: FrameTable, wanted: range) -> Section:
    """Return the smallest section that can be copied and contains the wanted frames.

    `ValueError` if there is none: the timestamps of a damaged file contradict its decoding order.
    """
    key = table.key_packet(wanted.start)
    ends = [end for end in _ends(table, key, wanted.stop) if end[1] >= wanted.stop]
    if not ends:
        raise ValueError("its timestamps contradict the order of its packets")
    packet_stop, stop = ends[-1]
    return Section(range(table.first_index(key), stop), range(key, packet_stop))


def plan_exact(
    table: FrameTable, wanted: range, joins: Sequence[int] | None
) -> tuple[Section, ...]:
    """Return sections that contain exactly the wanted frames.

    `joins` are the key packets at which a copied section may follow encoded frames, increasing;
    None if encoded and copied frames cannot be joined at all. Copying begins at the first of them,
    or at the first wanted frame if that is a key frame. Where nothing can be copied the result is
    one section to encode.
    """
    start = table.key_packet(wanted.start)
    if table.first_index(start) != wanted.start:
        later = (k for k in joins or () if table.first_index(k) > wanted.start)
        start = next(later, -1)
    everything = (Section(wanted),)
    if start < 0:
        return everything
    ends = [end for end in _ends(table, start, wanted.stop) if end[1] <= wanted.stop]
    if not ends:
        return everything
    packet_stop, stop = ends[-1]
    first, packets = table.first_index(start), range(start, packet_stop)
    if any(table.frame_of(number) is None for number in packets):
        return everything  # fields and hidden frames: their timestamps are not in the table
    sections = (
        Section(range(wanted.start, first)),
        Section(range(first, stop), packets),
        Section(range(stop, wanted.stop)),
    )
    found = tuple(section for section in sections if section.frames)
    return everything if joins is None and len(found) > 1 else found


def _ends(table: FrameTable, key: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of sections from a key packet: after which packet, before which frame.

    The last one is the first that contains all frames before `stop`. Frames that are shown before
    the key frame but decoded after it (an open group of pictures) are not counted.
    """
    first = table.first_index(key)
    count, last = 0, first - 1
    for number in range(key, table.packet_count):
        index = table.frame_of(number)
        if index is not None and index >= first:
            count, last = count + 1, max(last, index)
        following = number + 1
        # A packet without a frame of its own is the second field of the one before it.
        is_whole = following == table.packet_count or table.frame_of(following) is not None
        if count and is_whole and count == last - first + 1:
            yield following, last + 1
            if last + 1 >= stop:
                return


def decode_timestamps(pts: Sequence[int]) -> list[int]:
    """Return decoding timestamps for packets with these presentation timestamps.

    Both are in decoding order, in ticks. Decoding timestamps increase and are never later than the
    presentation timestamp, which every container requires.
    """
    due = sorted(pts)
    delay = max((one - shown for one, shown in zip(due, pts, strict=True)), default=0)
    return [one - delay for one in due]


def parse_time(text: str) -> float:
    """Return the seconds of `62.5`, `1:02.5` or `0:01:02.5`; `ValueError` for anything else."""
    matched = _TIME.fullmatch(text.strip())
    if matched is None:
        raise ValueError(f"{text!r} is not a time; write seconds (62.5) or minutes (1:02.5).")
    hours, minutes, seconds = matched.groups()
    value = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)
    if math.isinf(value):  # a number of more than 300 digits
        raise ValueError(f"{text[:20]!r}… is not a time; it has too many digits.")
    return value
