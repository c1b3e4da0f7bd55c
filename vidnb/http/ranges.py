"""Byte ranges, half-open like Python slices: the one interval type of vidnb.

HTTP's ranges are closed (`0-499`); only `headers` converts between the two.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

__all__ = ["ByteRange", "ByteRangeSet"]

_start = attrgetter("start")
_stop = attrgetter("stop")


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """The bytes `start`, `start + 1`, …, `stop - 1` of a file.

    Offsets are in bytes from the start of the file; `ValueError` unless `0 <= start <= stop`. An
    empty range is allowed and falsy, so that the intersection of two ranges is always a range.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"no byte range goes from {self.start} to {self.stop}")

    @property
    def size_bytes(self) -> int:
        """The number of bytes in the range."""
        return self.stop - self.start

    def __bool__(self) -> bool:
        return self.start < self.stop

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset < self.stop

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"


class ByteRangeSet:
    """An immutable set of bytes, stored as sorted ranges that neither overlap nor touch.

    `add` and `remove` take O(n) for n ranges: a few in a transfer, hundreds in a sparse cache.
    """

    __slots__ = ("_ranges",)

    def __init__(self, byte_ranges: Iterable[ByteRange] = ()) -> None:
        merged: list[ByteRange] = []
        for byte_range in sorted(byte_ranges):
            if not byte_range:
                continue
            if merged and byte_range.start <= merged[-1].stop:
                if byte_range.stop > merged[-1].stop:
                    merged[-1] = ByteRange(merged[-1].start, byte_range.stop)
            else:
                merged.append(byte_range)
        self._ranges: tuple[ByteRange, ...] = tuple(merged)

    @classmethod
    def _from_sorted(cls, byte_ranges: tuple[ByteRange, ...]) -> "ByteRangeSet":
        new = cls.__new__(cls)
        new._ranges = byte_ranges  # noqa: SLF001 - its own class
        return new

    @property
    def byte_ranges(self) -> tuple[ByteRange, ...]:
        """The ranges, in order."""
        return self._ranges

    @property
    def size_bytes(self) -> int:
        """The number of bytes in the set."""
        return sum(byte_range.size_bytes for byte_range in self._ranges)

    @property
    def stop(self) -> int:
        """The end of the last range; 0 in an empty set."""
        return self._ranges[-1].stop if self._ranges else 0

    def add(self, byte_range: ByteRange) -> "ByteRangeSet":
        """Return the set with the bytes of `byte_range` added."""
        if not byte_range:
            return self
        left = bisect_left(self._ranges, byte_range.start, key=_stop)
        right = bisect_right(self._ranges, byte_range.stop, key=_start)
        if left < right:
            byte_range = ByteRange(
                min(byte_range.start, self._ranges[left].start),
                max(byte_range.stop, self._ranges[right - 1].stop),
            )
        return self._from_sorted((*self._ranges[:left], byte_range, *self._ranges[right:]))

    def remove(self, byte_range: ByteRange) -> "ByteRangeSet":
        """Return the set without the bytes of `byte_range`."""
        if not byte_range:
            return self
        left = bisect_right(self._ranges, byte_range.start, key=_stop)
        right = bisect_left(self._ranges, byte_range.stop, key=_start)
        remaining: list[ByteRange] = []
        for overlapping in self._ranges[left:right]:
            if overlapping.start < byte_range.start:
                remaining.append(ByteRange(overlapping.start, byte_range.start))
            if byte_range.stop < overlapping.stop:
                remaining.append(ByteRange(byte_range.stop, overlapping.stop))
        return self._from_sorted((*self._ranges[:left], *remaining, *self._ranges[right:]))

    def gaps(self, within: ByteRange) -> tuple[ByteRange, ...]:
        """Return the ranges of `within` that are not in the set, in order."""
        missing: list[ByteRange] = []
        offset = within.start
        first = bisect_right(self._ranges, within.start, key=_stop)
        for byte_range in self._ranges[first:]:
            if byte_range.start >= within.stop:
                break
            if offset < byte_range.start:
                missing.append(ByteRange(offset, byte_range.start))
            offset = byte_range.stop
        if offset < within.stop:
            missing.append(ByteRange(offset, within.stop))
        return tuple(missing)

    def covers(self, byte_range: ByteRange) -> bool:
        """Return whether every byte of `byte_range` is in the set; an empty range always is."""
        return not byte_range or self.run_from(byte_range.start).stop >= byte_range.stop

    def run_from(self, offset: int) -> ByteRange:
        """Return the contiguous bytes in the set that begin at `offset`; may be empty."""
        index = bisect_right(self._ranges, offset, key=_stop)
        if index < len(self._ranges) and self._ranges[index].start <= offset:
            return ByteRange(offset, self._ranges[index].stop)
        return ByteRange(offset, offset)

    def first_gap_from(self, offset: int, stop: int) -> ByteRange | None:
        """Return the first range at or after `offset` and before `stop` not in the set, or None."""
        start = self.run_from(offset).stop
        if start >= stop:
            return None
        index = bisect_left(self._ranges, start, key=_start)
        if index < len(self._ranges):
            stop = min(stop, self._ranges[index].start)
        return ByteRange(start, stop)

    def __iter__(self) -> Iterator[ByteRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, offset: int) -> bool:
        return bool(self.run_from(offset))

    def __eq__(self, other: object) -> bool:
        return self._ranges == other._ranges if isinstance(other, ByteRangeSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"ByteRangeSet({', '.join(map(str, self._ranges))})"
