"""Byte intervals: the one interval type of vidnb.

Segments of a transfer, the resume map, a sparse cache and HTTP ranges all speak `Span`
(half-open, as Python slices are) and `SpanSet`. HTTP's own ranges are closed (`0-499`);
they are turned into spans at the border, in `headers`, and nowhere else.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

__all__ = ["Span", "SpanSet"]

_start = attrgetter("start")
_stop = attrgetter("stop")


@dataclass(frozen=True, slots=True, order=True)
class Span:
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

    def intersection(self, other: "Span") -> "Span":
        """Return the bytes in both; empty (at the later start) where there are none."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"


class SpanSet:
    """An immutable set of bytes, kept as sorted spans that neither overlap nor touch.

    `add` costs O(log n + moved) for n spans; a transfer holds a handful, a sparse cache hundreds.
    """

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        merged: list[Span] = []
        for span in sorted(spans):
            if not span:
                continue
            if merged and span.start <= merged[-1].stop:
                if span.stop > merged[-1].stop:
                    merged[-1] = Span(merged[-1].start, span.stop)
            else:
                merged.append(span)
        self._spans: tuple[Span, ...] = tuple(merged)

    @classmethod
    def _of(cls, spans: tuple[Span, ...]) -> "SpanSet":
        made = cls.__new__(cls)
        made._spans = spans  # noqa: SLF001 - its own class
        return made

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans themselves, in order."""
        return self._spans

    @property
    def size_bytes(self) -> int:
        """How many bytes the set holds."""
        return sum(span.size_bytes for span in self._spans)

    @property
    def stop(self) -> int:
        """The end of the last span; 0 where there is none."""
        return self._spans[-1].stop if self._spans else 0

    def add(self, span: Span) -> "SpanSet":
        """Return the set with the bytes of `span` in it."""
        if not span:
            return self
        left = bisect_left(self._spans, span.start, key=_stop)
        right = bisect_right(self._spans, span.stop, key=_start)
        if left < right:
            span = Span(
                min(span.start, self._spans[left].start),
                max(span.stop, self._spans[right - 1].stop),
            )
        return self._of((*self._spans[:left], span, *self._spans[right:]))

    def remove(self, span: Span) -> "SpanSet":
        """Return the set without the bytes of `span`."""
        if not span:
            return self
        left = bisect_right(self._spans, span.start, key=_stop)
        right = bisect_left(self._spans, span.stop, key=_start)
        kept: list[Span] = []
        for touched in self._spans[left:right]:
            if touched.start < span.start:
                kept.append(Span(touched.start, span.start))
            if span.stop < touched.stop:
                kept.append(Span(span.stop, touched.stop))
        return self._of((*self._spans[:left], *kept, *self._spans[right:]))

    def gaps(self, within: Span) -> tuple[Span, ...]:
        """Return what is missing of `within`, in order."""
        missing: list[Span] = []
        offset = within.start
        first = bisect_right(self._spans, within.start, key=_stop)
        for span in self._spans[first:]:
            if span.start >= within.stop:
                break
            if offset < span.start:
                missing.append(Span(offset, span.start))
            offset = span.stop
        if offset < within.stop:
            missing.append(Span(offset, within.stop))
        return tuple(missing)

    def covers(self, span: Span) -> bool:
        """Tell whether every byte of `span` is in the set; an empty span always is."""
        return not span or self.run_from(span.start).stop >= span.stop

    def run_from(self, offset: int) -> Span:
        """Return the unbroken run of present bytes that begins at `offset`; maybe empty."""
        index = bisect_right(self._spans, offset, key=_stop)
        if index < len(self._spans) and self._spans[index].start <= offset:
            return Span(offset, self._spans[index].stop)
        return Span(offset, offset)

    def first_gap_from(self, offset: int, stop: int) -> Span | None:
        """Return the first missing run at or after `offset` and before `stop`, or None."""
        start = self.run_from(offset).stop
        if start >= stop:
            return None
        index = bisect_left(self._spans, start, key=_start)
        if index < len(self._spans):
            stop = min(stop, self._spans[index].start)
        return Span(start, stop)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __contains__(self, offset: int) -> bool:
        return bool(self.run_from(offset))

    def __eq__(self, other: object) -> bool:
        return self._spans == other._spans if isinstance(other, SpanSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spans)

    def __repr__(self) -> str:
        return f"SpanSet({', '.join(map(str, self._spans))})"
