"""The frame table: which frame has which number, when it is shown, and where decoding starts.

The table is made from the packets of a video stream in decoding order and numbers the frames in the
order in which they are shown. It is the one source of frame numbers: `vidnb.frames`, the player,
contact sheets and clips use it. Times are the container's presentation timestamps, never
`number / rate`: with a variable rate, or after an edit list, the two differ.
"""

import hashlib
import math
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final

__all__ = ["FrameTable", "PacketEntry"]

FORMAT: Final = 1
"""The version of `FrameTable.dump`; a table of another version is made again."""

_HEAD: Final = struct.Struct("<8Q")  # version, time base, lengths of the arrays
_DIGEST_BYTES: Final = 32
_EARLIER_KEYS: Final = 2


@dataclass(frozen=True, slots=True)
class PacketEntry:
    """One packet of a video stream, in decoding order.

    `pts`, `dts` and `duration` are in ticks of the stream's time base, None (0) where the container
    has none; `position` is the byte offset in the file, -1 if unknown. `is_discarded`: an edit list
    excludes its frame from the presentation, although other frames may need it (ISO/IEC 14496-12
    section 8.6.6).
    """

    pts: int | None
    dts: int | None
    position: int
    is_key: bool
    is_discarded: bool = False
    duration: int = 0


class FrameTable:
    """Frames in presentation order, and the packets that they are decoded from.

    Frame `n` is shown from `pts[n]` (ticks of `time_base`, increasing; equal only in a damaged file
    that repeats a timestamp) and is decoded from packet `packets[n]`, counted in decoding order.
    `keys` are the packets at which decoding can start.
    """

    __slots__ = (
        "_by_position",
        "_frames",
        "_key_ticks",
        "_positions",
        "keys",
        "packets",
        "pts",
        "time_base",
    )

    def __init__(
        self,
        time_base: Fraction,
        *,
        pts: Sequence[int],
        packets: Sequence[int],
        keys: Sequence[int],
        key_ticks: Sequence[int],
        positions: Sequence[int],
    ) -> None:
        self.time_base = time_base
        self.pts = array("q", pts)
        self.packets = array("q", packets)
        self.keys = array("q", keys)
        self._key_ticks = array("q", key_ticks)
        self._positions = array("q", positions)
        self._frames = array("q", [-1]) * len(positions)
        for index, number in enumerate(packets):
            self._frames[number] = index
        by_position = {position: number for number, position in enumerate(positions)}
        # Packets may share a position (frames in one block, an unknown position).
        is_unique = len(by_position) == len(positions) and -1 not in by_position
        self._by_position = by_position if is_unique else None

    @classmethod
    def of_packets(
        cls,
        entries: Sequence[PacketEntry],
        time_base: Fraction,
        *,
        decoded: Sequence[int] | None = None,
    ) -> "FrameTable":
        """Make the table of a stream from its packets in decoding order.

        `decoded` are the packets whose frames a decoder returned, in its order. It decides which
        frames there are where timestamps alone do not: AVI has no presentation timestamps, and a
        packet may hold one field of a frame. Without it every packet that is not discarded is a
        frame. `ValueError` if timestamps are missing.
        """
        if decoded is None:
            shown = [number for number, entry in enumerate(entries) if not entry.is_discarded]
            order = sorted(shown, key=lambda number: _known(entries[number].pts))
            pts = [_known(entries[number].pts) for number in order]
        else:
            order = list(decoded)
            pts = _decoded_pts(entries, order)
        keys = [number for number, entry in enumerate(entries) if entry.is_key or not number]
        first = min(pts, default=0)
        return cls(
            time_base,
            pts=pts,
            packets=order,
            keys=keys,
            key_ticks=[_seek_ticks(entries[number], first) for number in keys],
            positions=[entry.position for entry in entries],
        )

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def packet_count(self) -> int:
        """The number of packets, including those without a frame of their own."""
        return len(self._positions)

    def index_at(self, time_s: float | Fraction) -> int:
        """Return the frame shown at a time (s): the last one that is shown at or before it.

        The first frame before the first time, the last one after the last. A float that was
        computed from a timestamp finds the frame of that timestamp.
        """
        return max(0, bisect_right(self.pts, math.floor(self._ticks(time_s))) - 1)

    def frames_between(self, start_s: float | Fraction, end_s: float | Fraction) -> range:
        """Return the frames shown from `start_s` until before `end_s` (s).

        The first one may have begun before `start_s`. The range is empty if the interval ends
        before the first frame; the last frame counts as shown for ever.
        """
        stop = bisect_left(self.pts, math.ceil(self._ticks(end_s)))
        return range(min(self.index_at(start_s), stop), stop)

    def seek_time_s(self, index: int) -> Fraction:
        """Return the time (s) to seek to in a player: the middle of a frame, since browsers round.

        For the last frame, whose end is not known, a millisecond after its start.
        """
        start_s = self.pts[index] * self.time_base
        if index + 1 < len(self.pts):
            return (start_s + self.pts[index + 1] * self.time_base) / 2
        return start_s + Fraction(1, 1000)

    def _ticks(self, time_s: float | Fraction) -> Fraction:
        """Return a time (s) in ticks: a whole number for a float computed from a timestamp."""
        ticks = Fraction(time_s) / self.time_base
        nearest = round(ticks)
        # The error of such a float is far below a thousandth of a tick, even after days.
        return Fraction(nearest) if abs(ticks - nearest) < Fraction(1, 1000) else ticks

    def key_packet(self, index: int) -> int:
        """Return the packet at which decoding must start to obtain frame `index`.

        It is the last key packet that is both decoded and shown no later than the frame. A frame
        that is decoded after a key packet but shown before it needs the group before it (an open
        group of pictures).
        """
        at = bisect_right(self.keys, self.packets[index]) - 1
        while at > 0 and self.first_index(self.keys[at]) > index:
            at -= 1
        return self.keys[at]

    def previous_key(self, key_packet: int) -> int:
        """Return the key packet before another one, or the first one."""
        return self.keys[max(0, bisect_left(self.keys, key_packet) - 1)]

    def first_index(self, key_packet: int) -> int:
        """Return the first frame that is decoded correctly after starting at a key packet."""
        return 0 if key_packet == 0 else max(0, self._frames[key_packet])

    def seek_ticks(self, key_packet: int) -> tuple[int, ...]:
        """Return the timestamps (ticks) to try for a seek to a key packet, the best one first.

        A demuxer looks for the last key packet at or before a timestamp. Some compare decoding
        timestamps and may find a later packet, which the timestamps of earlier keys do not.
        """
        at = bisect_left(self.keys, key_packet)
        return tuple(dict.fromkeys(self._key_ticks[max(0, at - _EARLIER_KEYS) : at + 1][::-1]))

    def packet_at(self, position: int | None, pts: int | None) -> int | None:
        """Return the number of a packet by its offset in the file (B) or its timestamp (ticks)."""
        if self._by_position is not None:
            return self._by_position.get(-1 if position is None else position)
        if pts is None:
            return None
        index = bisect_left(self.pts, pts)
        is_known = index < len(self.pts) and self.pts[index] == pts
        return self.packets[index] if is_known else None

    def keyframes(self) -> tuple[int, ...]:
        """Return the frames that are decoded from a key packet, increasing."""
        return tuple(sorted(self._frames[n] for n in self.keys if self._frames[n] >= 0))

    def frame_of(self, packet: int) -> int | None:
        """Return the frame that is decoded from a packet, None if it has none."""
        index = self._frames[packet]
        return None if index < 0 else index

    def position(self, packet: int) -> int:
        """Return the byte offset of a packet in the file, -1 if unknown."""
        return self._positions[packet]

    @property
    def is_constant_rate(self) -> bool:
        """Whether all frames but the last are shown equally long, to the rounding of a tick."""
        gaps = [after - before for before, after in pairwise(self.pts)]
        return not gaps or max(gaps) - min(gaps) <= 1

    def longest_key_interval_s(self) -> float:
        """Return the longest time (s) from a key frame to the next one, or to the last frame."""
        shown = [self.pts[index] for index in self.keyframes()]
        ends = [*shown[1:], self.pts[-1]] if shown else []
        gaps = [end - start for start, end in zip(shown, ends, strict=True)]
        return float(max(gaps, default=0) * self.time_base)

    def dump(self) -> bytes:
        """Encode the table with its version and a digest, so that a torn file is detected."""
        arrays = (self.pts, self.packets, self.keys, self._key_ticks, self._positions)
        head = _HEAD.pack(
            FORMAT, self.time_base.numerator, self.time_base.denominator, *map(len, arrays)
        )
        body = head + b"".join(_little_endian(one).tobytes() for one in arrays)
        return hashlib.sha256(body).digest() + body

    @classmethod
    def load(cls, data: bytes) -> "FrameTable | None":
        """Decode a table; None if it is damaged or of another version."""
        digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if len(body) < _HEAD.size or hashlib.sha256(body).digest() != digest:
            return None
        version, numerator, denominator, *lengths = _HEAD.unpack_from(body)
        if version != FORMAT:
            return None
        values = array("q", body[_HEAD.size :])
        values = _little_endian(values)
        stops = list(accumulate(lengths, initial=0))
        parts = [values[start:stop] for start, stop in pairwise(stops)]
        names = ("pts", "packets", "keys", "key_ticks", "positions")
        return cls(Fraction(numerator, denominator), **dict(zip(names, parts, strict=True)))


def _known(pts: int | None) -> int:
    if pts is None:
        raise ValueError("a packet has no presentation timestamp")
    return pts


def _seek_ticks(entry: PacketEntry, default: int) -> int:
    """Return the timestamp for a seek to a key packet.

    FFmpeg's demuxer of MP4 finds a key packet only for its presentation timestamp or a later one.
    """
    return next((ticks for ticks in (entry.pts, entry.dts) if ticks is not None), default)


def _decoded_pts(entries: Sequence[PacketEntry], order: Sequence[int]) -> list[int]:
    """Return the timestamps of frames in the order of the decoder.

    Where the packets' own timestamps do not increase in that order, or are missing, the frames have
    the sorted decoding timestamps: these say when a frame is due, whatever the order. A bare
    elementary stream has neither; its frames follow each other by the durations of its packets.
    """
    pts = [entries[number].pts for number in order]
    known = [one for one in pts if one is not None]
    if len(known) == len(pts) and all(a <= b for a, b in pairwise(known)):
        return known
    dts = sorted(dts for number in order if (dts := entries[number].dts) is not None)
    if len(dts) == len(order):
        return dts
    durations = [entries[number].duration for number in order]
    if all(durations):
        return list(accumulate(durations[:-1], initial=0))
    raise ValueError("neither presentation nor decoding timestamps are complete")


def _little_endian(values: "array[int]") -> "array[int]":
    """Return the values in the byte order of the encoded table."""
    if sys.byteorder == "little":
        return values
    swapped = array("q", values)  # pragma: no cover - a big-endian machine
    swapped.byteswap()  # pragma: no cover
    return swapped  # pragma: no cover
