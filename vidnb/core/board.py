"""Who fetches what: the requests under way, laid over the bytes that are kept already.

A fetch runs from its start until it meets kept bytes, the start of another fetch, or the end of
its body. Nobody tells a fetch that its tail was given away: it finds somebody else there. If that
other one fails before it brought a byte, the tail is the first one's again.
"""

from dataclasses import dataclass, field

from vidnb.core.spans import Span, SpanSet

__all__ = ["ENDLESS", "Board", "Fetching"]

ENDLESS = 2**63
"""No offset of a real file: stands for "as far as the body goes"."""


@dataclass(slots=True)
class Fetching:
    """One request under way: asked from byte `start`, the next one to arrive is `position`.

    `body_stop` is where its answer said it ends; `has_kept` whether it brought a byte of use.
    """

    fetch_id: int
    start: int
    position: int
    is_ranged: bool
    has_if_range: bool
    is_conditional: bool
    body_stop: int = ENDLESS
    is_open: bool = False
    has_kept: bool = False


@dataclass(slots=True)
class Board:
    """The kept bytes and the requests under way.

    `runs_through`: the origin answers no ranges, so its one stream runs over kept bytes as well.
    """

    kept: SpanSet = field(default_factory=SpanSet)
    fetches: dict[int, Fetching] = field(default_factory=dict)
    runs_through: bool = False

    def limit_of(self, fetch: Fetching) -> int:
        """Return the offset up to which this fetch is of use."""
        limit = fetch.body_stop
        if self.runs_through:
            return limit
        # An answer may begin before the asked byte; that much of it is passed over.
        first = max(fetch.position, fetch.start)
        for other in self.fetches.values():
            if other is not fetch and first <= other.start < limit:
                limit = other.start
        if first in self.kept or first >= limit:
            return min(first, limit)
        gap = self.kept.first_gap_from(first, limit)
        return limit if gap is None else gap.stop

    def take(self, fetch: Fetching, size_bytes: int) -> tuple[Span, ...]:
        """Move a fetch on by what arrived; return the spans of it that are new, now kept."""
        begin = fetch.position
        fetch.position = max(begin, min(begin + size_bytes, self.limit_of(fetch)))
        fresh = self.kept.gaps(Span(begin, fetch.position))
        for span in fresh:
            self.kept = self.kept.add(span)
            fetch.has_kept = True
        return fresh

    def first_free(self, total_bytes: int) -> int | None:
        """Return the first missing byte that no fetch is about to bring."""
        claimed = self.kept
        for fetch in self.fetches.values():
            stop = min(self.limit_of(fetch), total_bytes)
            claimed = claimed.add(Span(fetch.position, max(fetch.position, stop)))
        gap = claimed.first_gap_from(0, total_bytes)
        return None if gap is None else gap.start

    def best_split(self, total_bytes: int, min_segment_bytes: int) -> int | None:
        """Return the middle of the longest rest, if both halves are worth a connection."""
        rests = [
            Span(fetch.position, max(fetch.position, min(self.limit_of(fetch), total_bytes)))
            for fetch in self.fetches.values()
        ]
        longest = max(rests, key=lambda rest: rest.size_bytes, default=Span(0, 0))
        if longest.size_bytes < 2 * min_segment_bytes:
            return None
        return longest.start + longest.size_bytes // 2

    def stop_for(self, start: int, total_bytes: int | None) -> int | None:
        """Return where a range from `start` should end; None leaves the last slice open-ended."""
        if total_bytes is None:
            return None
        limit = min(
            (other.start for other in self.fetches.values() if other.start > start),
            default=total_bytes,
        )
        gap = self.kept.first_gap_from(start, limit)
        return gap.stop if gap is not None and gap.stop < total_bytes else None

    def is_near(self, fetch: Fetching, offset: int, read_ahead_bytes: int) -> bool:
        """Tell whether a fetch will soon bring the byte at `offset`."""
        reach = min(self.limit_of(fetch), fetch.position + read_ahead_bytes)
        return fetch.position <= offset < reach

    def helper_to_spare(self, wanted: list[int], read_ahead_bytes: int) -> Fetching | None:
        """Return the fetch with the longest way to go among those no waiting reader needs."""
        spare = [
            fetch
            for fetch in self.fetches.values()
            if not any(self.is_near(fetch, offset, read_ahead_bytes) for offset in wanted)
        ]
        return max(spare, key=lambda fetch: self.limit_of(fetch) - fetch.position, default=None)
