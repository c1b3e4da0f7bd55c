"""Byte intervals: the one interval type of vidnb.

Segments of a transfer, the resume map, a sparse cache and HTTP ranges all speak `ByteRange`
(half-open, as Python slices are) and `ByteRangeSet`. HTTP's own ranges are closed (`0-499`);
they are turned into spans at the border, in `headers`, and nowhere else.
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
    """The bytes `start`, `start + 1`, …, `stop - 1` of a file; `ValueError` where that is none.

    Offsets are in bytes from the start of the file. An empty span (`start == stop`) is allowed
    and falsy, so that the intersection of two spans is always a span.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"no span of bytes runs from {self.start} to {self.stop}")

    @property
    def size_bytes(self) -> int:
        """How many bytes the span holds."""
        return self.stop - self.start

    def __bool__(self) -> bool:
        return self.start < self.stop

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset < self.stop

    def intersection(self, other: "ByteRange") -> "ByteRange":
        """Return the bytes in both; empty (at the later start) where there are none."""
        start = max(self.start, other.start)
        return ByteRange(start, max(start, min(self.stop, other.stop)))

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"


class ByteRangeSet:
    """An immutable set of bytes, kept as sorted spans that neither overlap nor touch.

    `add` costs O(log n + moved) for n spans; a transfer holds a handful, a sparse cache hundreds.
    """

    __slots__ = ("_spans",)

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
        self._spans: tuple[ByteRange, ...] = tuple(merged)

    @classmethod
    def _of(cls, byte_ranges: tuple[ByteRange, ...]) -> "ByteRangeSet":
        made = cls.__new__(cls)
        made._spans = byte_ranges  # noqa: SLF001 - its own class
        return made

    @property
    def byte_ranges(self) -> tuple[ByteRange, ...]:
        """The spans themselves, in order."""
        return self._spans

    @property
    def size_bytes(self) -> int:
        """How many bytes the set holds."""
        return sum(byte_range.size_bytes for byte_range in self._spans)

    @property
    def stop(self) -> int:
        """The end of the last span; 0 where there is none."""
        return self._spans[-1].stop if self._spans else 0

    def add(self, byte_range: ByteRange) -> "ByteRangeSet":
        """Return the set with the bytes of `byte_range` in it."""
        if not byte_range:
            return self
        left = bisect_left(self._spans, byte_range.start, key=_stop)
        right = bisect_right(self._spans, byte_range.stop, key=_start)
        if left < right:
            byte_range = ByteRange(
                min(byte_range.start, self._spans[left].start),
                max(byte_range.stop, self._spans[right - 1].stop),
            )
        return self._of((*self._spans[:left], byte_range, *self._spans[right:]))

    def remove(self, byte_range: ByteRange) -> "ByteRangeSet":
        """Return the set without the bytes of `byte_range`."""
        if not byte_range:
            return self
        left = bisect_right(self._spans, byte_range.start, key=_stop)
        right = bisect_left(self._spans, byte_range.stop, key=_start)
        kept: list[ByteRange] = []
        for touched in self._spans[left:right]:
            if touched.start < byte_range.start:
                kept.append(ByteRange(touched.start, byte_range.start))
            if byte_range.stop < touched.stop:
                kept.append(ByteRange(byte_range.stop, touched.stop))
        return self._of((*self._spans[:left], *kept, *self._spans[right:]))

    def gaps(self, within: ByteRange) -> tuple[ByteRange, ...]:
        """Return what is missing of `within`, in order."""
        missing: list[ByteRange] = []
        offset = within.start
        first = bisect_right(self._spans, within.start, key=_stop)
        for byte_range in self._spans[first:]:
            if byte_range.start >= within.stop:
                break
            if offset < byte_range.start:
                missing.append(ByteRange(offset, byte_range.start))
            offset = byte_range.stop
        if offset < within.stop:
            missing.append(ByteRange(offset, within.stop))
        return tuple(missing)

    def covers(self, byte_range: ByteRange) -> bool:
        """Tell whether every byte of `byte_range` is in the set; an empty span always is."""
        return not byte_range or self.run_from(byte_range.start).stop >= byte_range.stop

    def run_from(self, offset: int) -> ByteRange:
        """Return the unbroken run of present bytes that begins at `offset`; maybe empty."""
        index = bisect_right(self._spans, offset, key=_stop)
        if index < len(self._spans) and self._spans[index].start <= offset:
            return ByteRange(offset, self._spans[index].stop)
        return ByteRange(offset, offset)

    def first_gap_from(self, offset: int, stop: int) -> ByteRange | None:
        """Return the first missing run at or after `offset` and before `stop`, or None."""
        start = self.run_from(offset).stop
        if start >= stop:
            return None
        index = bisect_left(self._spans, start, key=_start)
        if index < len(self._spans):
            stop = min(stop, self._spans[index].start)
        return ByteRange(start, stop)

    def __iter__(self) -> Iterator[ByteRange]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __contains__(self, offset: int) -> bool:
        return bool(self.run_from(offset))

    def __eq__(self, other: object) -> bool:
        return self._spans == other._spans if isinstance(other, ByteRangeSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spans)

    def __repr__(self) -> str:
        return f"ByteRangeSet({', '.join(map(str, self._spans))})"
