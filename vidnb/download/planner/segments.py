"""Who fetches what: the requests under way, laid over the bytes that are kept already.

A fetch runs from its start until it meets kept bytes, the start of another fetch, or the end of
its body. Nobody tells a fetch that its tail was given away: it finds somebody else there. If that
other one fails before it brought a byte, the tail is the first one's again.
"""

from dataclasses import dataclass, field

from vidnb.download.planner.throughput import ConnectionThroughput
from vidnb.http.ranges import ByteRange, ByteRangeSet

__all__ = ["MIN_SEGMENT_BYTES", "MIN_TAIL_BYTES", "UNBOUNDED", "ActiveRequest", "SegmentMap"]

UNBOUNDED = 2**63
"""No offset of a real file: stands for "as far as the body goes"."""

MIN_SEGMENT_BYTES = 4 * 2**20
"""Before any pace is known, a segment shorter than this is not worth another connection."""

MIN_TAIL_BYTES = 64 * 2**10
"""However slowly they come, fewer bytes than this are not worth a request."""

_MIN_TAIL_S = 0.05
_MIN_TAIL_WAITS = 4
"""Nor is what its connection brings itself within this time, or within so many times to first
byte: a new connection spends one of them waiting and the next ones in slow start."""

_GROWN_UP_S = 0.5
_GROWN_UP_WAITS = 6
"""After this time, or so many times to first byte, a connection has found its own pace."""


@dataclass(slots=True)
class ActiveRequest:
    """One request under way: asked from byte `start`, the next one to arrive is `position`.

    `body_stop` is where its answer said it ends, before that where it was asked to; `has_kept`
    whether it brought a byte of use; `asked_s` when it was asked (Unix time, s), None until the
    planner has heard of the time.
    """

    fetch_id: int
    start: int
    position: int
    is_ranged: bool
    has_if_range: bool
    is_conditional: bool
    body_stop: int = UNBOUNDED
    is_open: bool = False
    has_kept: bool = False
    asked_s: float | None = None
    pace: ConnectionThroughput = field(default_factory=ConnectionThroughput)


@dataclass(slots=True)
class SegmentMap:
    """The kept bytes and the requests under way.

    `runs_through`: the origin answers no ranges, so its one stream runs over kept bytes as well.
    """

    kept: ByteRangeSet = field(default_factory=ByteRangeSet)
    fetches: dict[int, ActiveRequest] = field(default_factory=dict)
    runs_through: bool = False

    def limit_of(self, fetch: ActiveRequest) -> int:
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

    def take(self, fetch: ActiveRequest, size_bytes: int) -> tuple[ByteRange, ...]:
        """Move a fetch on by what arrived; return the spans of it that are new, now kept."""
        begin = fetch.position
        fetch.position = max(begin, min(begin + size_bytes, self.limit_of(fetch)))
        fresh = self.kept.gaps(ByteRange(begin, fetch.position))
        for byte_range in fresh:
            self.kept = self.kept.add(byte_range)
            fetch.has_kept = True
        return fresh

    def first_free(self, total_bytes: int) -> int | None:
        """Return the first missing byte that no fetch is about to bring."""
        gap = self.free_in(ByteRange(0, total_bytes))
        return None if gap is None else gap.start

    def free_in(self, within: ByteRange) -> ByteRange | None:
        """Return the first run of missing bytes there that no fetch is about to bring."""
        claimed = self.kept
        for fetch in self.fetches.values():
            claimed = claimed.add(
                ByteRange(fetch.position, max(fetch.position, self.limit_of(fetch)))
            )
        return claimed.first_gap_from(within.start, within.stop)

    def best_split(
        self,
        total_bytes: int,
        *,
        now_s: float,
        first_byte_s: float = 0.0,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
    ) -> int | None:
        """Return the middle of the rest that would take longest, if its half is worth a request.

        It is if a request, of which the first byte takes `first_byte_s`, brings it much sooner.
        """
        # A young connection still finds its pace, and is taken to go as fast as the grown-up ones.
        paces = {key: fetch.pace.bytes_per_s(now_s) for key, fetch in self.fetches.items()}
        grown = {
            key: pace
            for key, pace in paces.items()
            if pace is not None
            and self.fetches[key].pace.age_s(now_s)
            >= max(_GROWN_UP_S, _GROWN_UP_WAITS * first_byte_s)
        }
        known = list(grown.values()) or [pace for pace in paces.values() if pace is not None]
        usual = sum(known) / len(known) if known else None
        best_s, middle = 0.0, None
        for key, fetch in self.fetches.items():
            stop = min(self.limit_of(fetch), total_bytes)
            # Bytes before the asked one are passed over: they are somebody else's to give away.
            begin = max(fetch.position, fetch.start)
            left_bytes = stop - begin
            pace = grown.get(key, usual)
            half = left_bytes // 2
            if pace is None:
                eta_s, is_worth = float(left_bytes), left_bytes >= 2 * min_segment_bytes
            else:
                eta_s = left_bytes / pace
                if paces[key] is None and fetch.asked_s is not None:
                    eta_s += max(0.0, now_s - fetch.asked_s)  # it may never bring any
                is_worth = half >= min(MIN_TAIL_BYTES, min_segment_bytes) and half / pace >= max(
                    _MIN_TAIL_S, _MIN_TAIL_WAITS * first_byte_s
                )
            if is_worth and eta_s > best_s:
                best_s, middle = eta_s, begin + half
        return middle

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

    def is_near(self, fetch: ActiveRequest, offset: int, read_ahead_bytes: int) -> bool:
        """Tell whether a fetch will soon bring the byte at `offset`."""
        if fetch.position <= offset == fetch.start:
            return True  # whatever its answer began with, asking for that byte again helps nobody
        reach = min(self.limit_of(fetch), fetch.position + read_ahead_bytes)
        return fetch.position <= offset < reach

    def helper_to_spare(self, wanted: list[int], read_ahead_bytes: int) -> ActiveRequest | None:
        """Return the fetch that is missed least among those no waiting reader needs.

        One that is not answered yet has nothing to lose; then the one with the longest way to go.
        """
        spare = [
            fetch
            for fetch in self.fetches.values()
            if not any(self.is_near(fetch, offset, read_ahead_bytes) for offset in wanted)
        ]
        return max(
            spare,
            key=lambda fetch: (not fetch.is_open, self.limit_of(fetch) - fetch.position),
            default=None,
        )
