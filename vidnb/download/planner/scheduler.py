"""The connections of one transfer: how many, where each begins, which one is given up.

The first brings the file. Others are opened where the origin has proved that it answers ranges
truly, or to find that out; at a waiting reader's byte before anywhere else; and as many as a
caller named, or, where nobody did, as many as the `ConcurrencyController` finds worth it. The bytes they lie over
are `SegmentMap`'s.
"""

from collections.abc import Iterator

from vidnb.download.planner.concurrency import MAX_CONNECTIONS, ConcurrencyController
from vidnb.download.planner.events import (
    CancelRequest,
    Command,
    DemandChanged,
    ReaderAdvanced,
    ReaderLeft,
    ReaderRequest,
    ReaderWaits,
    StartRequest,
)
from vidnb.download.planner.planned_request import plan_request
from vidnb.download.planner.reader_demand import ReaderDemand
from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest, SegmentMap
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRange

__all__ = ["UNLIMITED", "ConnectionScheduler"]

UNLIMITED = 2**31
"""So many connections that nobody counts them."""


class ConnectionScheduler:
    """Open and drop the connections of `source`, for its `readers` first.

    Unless it `fills`, it is for them alone: then each request is for as much as they need.

    `most` is the number at which it may never be more, `is_automatic` that it starts from one.
    While it `is_held` nothing is opened. `refused` is the number of connections that worked when
    the host refused one more.
    """

    def __init__(
        self,
        source: SourceState,
        *,
        max_connections: int | None,
        most: int | None,
        min_segment_bytes: int,
        read_ahead_bytes: int,
        fills: bool = True,
    ) -> None:
        self.segments = SegmentMap(source.stored)
        self.readers = ReaderDemand(read_ahead_bytes)
        self.fills = fills
        self.is_held = False
        self.peak = 0
        self.refused: int | None = None
        self._source = source
        named = MAX_CONNECTIONS if max_connections is None else max_connections
        self._limit = named if most is None else min(named, most)
        self._controller = ConcurrencyController() if max_connections is None else None
        self._min_segment_bytes = min_segment_bytes
        self._read_ahead_bytes = read_ahead_bytes
        self._next_id = 0
        self._added_after = 0
        self._now_s: float | None = None
        self._spare = UNLIMITED

    @property
    def limit(self) -> int:
        """How many connections at once there may ever be."""
        return self._limit

    def hear(self, now_s: float, spare: int) -> None:
        """Take the time (Unix, s) and how many more connections the process may open now."""
        self._now_s = now_s
        self._spare = spare
        for fetch in self.segments.fetches.values():
            if fetch.asked_s is None:  # it was asked before anybody told the time
                fetch.asked_s = now_s
                fetch.pace.begin(now_s)

    def heed(self, wish: ReaderRequest) -> None:
        """Take what somebody wants, or no longer wants."""
        match wish:
            case DemandChanged():
                self.fills = wish.is_whole
            case ReaderAdvanced():
                self.readers.goes_on(wish.reader, wish.offset)
            case ReaderWaits():
                is_missing = wish.offset not in self.segments.kept
                self.readers.waits(wish.reader, wish.offset, self._time_s, is_missing=is_missing)
            case ReaderLeft():  # pragma: no branch - the last of them
                self.readers.leave(wish.reader)

    def may_read(self, fetch_id: int) -> bool:
        """Tell whether to take more of a fetch now; what is left unread its origin soon holds back.

        Not what nobody needs, unless all is wanted. Not while a reader has waited lately that
        another one serves, and this one none: so a reader gets the whole line, and nothing that was
        sent already is thrown away.
        """
        fetch = self.segments.fetches.get(fetch_id)
        if fetch is None:
            return True
        if not (self._brings_all or self._is_needed(fetch)):
            return False
        if not self._is_calm:
            return True
        wanted = self.readers.wanted
        if any(self._serves(fetch, offset) for offset in wanted):
            return True
        others = (other for other in self.segments.fetches.values() if other is not fetch)
        return not any(
            other.is_open and self._serves(other, offset) for other in others for offset in wanted
        )

    def received(self, fetch: ActiveRequest, size_bytes: int) -> tuple[ByteRange, ...]:
        """Take bytes that arrived; return the spans of them that are new."""
        now_s = self._time_s
        if self._controller is not None:
            if not fetch.pace.has_begun:
                # The very first one may have had to look up a name: no measure for the next.
                asked_s = None if fetch.fetch_id == 1 else fetch.asked_s
                self._controller.joined(now_s, None if asked_s is None else now_s - asked_s)
            self._controller.received(now_s, size_bytes)
        fetch.pace.add(now_s, size_bytes)
        return self.segments.take(fetch, size_bytes)

    def dispatch(self) -> Iterator[Command]:
        """Open what should be open now: readers first, then gaps, then tails of the slowest."""
        if self.is_held:
            return
        yield from self._serve_readers()
        if not self._brings_all:
            yield from self._read_ahead()
            return
        while len(self.segments.fetches) < self._limit_now and self._has_room:
            start = self._next_start()
            if start is None:
                return
            yield self._open(start)

    def give_way(self) -> tuple[Command, ...]:
        """Give up one connection if others of the process wait for one and this is not the last."""
        if self._spare >= 0 or len(self.segments.fetches) < 2:
            return ()
        spare = self.segments.helper_to_spare(self.readers.wanted, self._read_ahead_bytes)
        return () if spare is None else (self.drop(spare),)

    @property
    def is_due(self) -> bool:
        """Whether it is time to `adjust`."""
        return self._controller is not None and self.fills and self._controller.is_due(self._time_s)

    def adjust(self) -> Iterator[Command]:
        """Let the ramp look, where there is one and it is time, and follow it."""
        controller, now_s, fetches = self._controller, self._time_s, self.segments.fetches
        if controller is None or not fetches or not self.is_due:
            return
        total, before = self._source.total_bytes, controller.allowed
        controller.look(
            now_s,
            holding=len(fetches),
            awaited=sum(not fetch.pace.has_begun for fetch in fetches.values()),
            rest_bytes=0 if total is None else total - self.segments.kept.size_bytes,
            may_open=self._may_add,
        )
        if controller.allowed > before:
            self._added_after = self._next_id
        elif controller.allowed < before:
            yield from self._let_go(controller.allowed)

    def degrade(self, *, is_refusal: bool, is_for_good: bool) -> None:
        """Go on with the connections that work; `is_refusal`: the host said no to one more."""
        working = max(1, len(self.segments.fetches))
        if is_refusal:
            self.refused = working
        if self._controller is None or is_for_good:
            self._limit = working
        else:
            self._controller.hold(working, self._time_s)

    def stay_single(self) -> None:
        """Allow one connection from now on."""
        self._limit = 1

    def drop(self, fetch: ActiveRequest) -> CancelRequest:
        """Give a fetch up."""
        del self.segments.fetches[fetch.fetch_id]
        self._spare += 1
        return CancelRequest(fetch.fetch_id)

    def drop_all(self, but: ActiveRequest | None = None) -> tuple[Command, ...]:
        """Give all of them up, except one."""
        return tuple(self.drop(f) for f in list(self.segments.fetches.values()) if f is not but)

    @property
    def _time_s(self) -> float:
        return self._now_s or 0.0

    @property
    def _is_calm(self) -> bool:
        return self.readers.wait_lately(self._time_s)

    @property
    def _brings_all(self) -> bool:
        """Whether more than what readers need is fetched: it is wanted, or its end is not known."""
        return self.fills or (self._source.version is not None and not self._source.total_bytes)

    @property
    def _is_proved(self) -> bool:
        """Whether any part of the file may be asked for by itself."""
        return bool(self._source.answers_ranges) and self._source.has_strong_version

    @property
    def _has_room(self) -> bool:
        """Whether the process allows one more; the first one of a transfer waits outside."""
        return self._spare > 0 or not self.segments.fetches

    @property
    def _ceiling(self) -> int:
        """How many connections there may be at most, by what the origin has shown so far."""
        source = self._source
        if not source.has_strong_version or not source.total_bytes:
            return 1
        if source.answers_ranges:
            return self._limit
        is_open_to_proof = self._controller is not None and source.answers_ranges is None
        return min(2, self._limit) if is_open_to_proof and source.offers_ranges else 1

    @property
    def _limit_now(self) -> int:
        if self._controller is None:
            return self._ceiling
        limit = min(self._controller.allowed, self._ceiling)
        if self._is_calm:
            serving = sum(
                any(self._serves(fetch, offset) for offset in self.readers.wanted)
                for fetch in self.segments.fetches.values()
            )
            return min(limit, serving + 1)
        return limit

    @property
    def _may_add(self) -> bool:
        """Whether another connection could be opened and would find something to do."""
        is_possible = len(self.segments.fetches) < self._ceiling and self._spare > 0
        is_free = not (self._is_calm or self.is_held)
        return is_possible and is_free and self._next_start() is not None

    def _serves(self, fetch: ActiveRequest, offset: int) -> bool:
        """Tell whether a fetch brings what a reader at `offset` needs, or has just brought it."""
        near = self._read_ahead_bytes
        return fetch.start <= offset and fetch.position - near <= offset < fetch.position + near

    def _let_go(self, allowed: int) -> Iterator[Command]:
        """Drop what was added in vain, the longest rest first, and never a waiting reader's."""
        added = [
            fetch
            for fetch in self.segments.fetches.values()
            if fetch.fetch_id > self._added_after
            and not any(
                self.segments.is_near(fetch, offset, self._read_ahead_bytes)
                for offset in self.readers.wanted
            )
        ]
        added.sort(key=lambda fetch: self.segments.limit_of(fetch) - fetch.position)
        while added and len(self.segments.fetches) > allowed:
            yield self.drop(added.pop())

    def _next_start(self) -> int | None:
        """Return where another fetch should begin, None if none should."""
        source, kept = self._source, self.segments.kept
        total = source.total_bytes
        joins = source.answers_ranges is not False and source.has_strong_version
        if total is None:
            return kept.run_from(0).stop if joins else 0
        if kept.covers(ByteRange(0, total)):
            # All on disk and not complete: an earlier run stopped just short of its end. One
            # conditional request tells whether the source is still that version.
            return 0 if source.is_whole else None
        if not joins:
            return 0
        start = self.segments.first_free(total)
        if start is None:
            return self.segments.best_split(
                total,
                now_s=self._time_s,
                first_byte_s=0.0 if self._controller is None else self._controller.first_byte_s,
                min_segment_bytes=self._min_segment_bytes,
            )
        return start

    def _is_needed(self, fetch: ActiveRequest) -> bool:
        """Tell whether readers need more of a fetch. A small rest was sent, or nearly, as well."""
        limit = self.segments.limit_of(fetch)
        if limit - fetch.position <= self.readers.least_ahead_bytes:
            return True
        if not self._is_proved:
            limit = UNBOUNDED  # what cannot be asked for by itself comes after what comes before it
        return self.readers.need(fetch.position, limit)

    def _read_ahead(self) -> Iterator[Command]:
        """Open what readers need soon, by itself; drop what no reader needs any more."""
        source, fetches = self._source, self.segments.fetches
        if self._is_proved:
            for fetch in [one for one in fetches.values() if not self._is_needed(one)]:
                yield self.drop(fetch)
        can_join = source.answers_ranges is not False and source.has_strong_version
        # The first request tells what there is; one for a whole file, whether it still is so.
        if not fetches and (not self._next_id or source.version is None or source.is_whole):
            start = self._next_start() or 0
            yield self._open(start, start + self.readers.least_ahead_bytes)
        for window in self.readers.windows():
            if fetches and not (self._is_proved and self._has_room):
                return
            stop = min(window.stop, source.total_bytes or window.stop)
            gap = (
                self.segments.free_in(ByteRange(window.start, stop))
                if window.start < stop
                else None
            )
            is_worth = gap is not None and (
                gap.stop < window.stop or 2 * gap.size_bytes >= window.size_bytes
            )
            if gap is not None and is_worth and len(fetches) < self._ceiling:
                yield self._open(gap.start, gap.stop) if can_join else self._open(0)

    def _open(self, start: int, stop: int | None = None) -> StartRequest:
        """Ask from `start` on, and no farther than `stop`, the next fetch or what is kept."""
        self._next_id += 1
        self._spare -= 1
        source = self._source
        # A plain first request is what every origin answers best, but only a range that is
        # answered truly opens the way for several: automatic starts plain and asks later.
        wants_range = (
            start > 0
            or stop is not None
            or (self._limit > 1 and (self._controller is None or source.has_strong_version))
        )
        stops = (stop, self.segments.stop_for(start, source.total_bytes))
        until = min((one for one in stops if one is not None), default=None)
        asking = plan_request(source, start, until, wants_range=wants_range)
        fetch = ActiveRequest(
            self._next_id,
            start,
            start,
            is_ranged=asking.is_ranged,
            has_if_range=asking.has_if_range,
            is_conditional=asking.is_conditional,
            asked_s=self._now_s,
        )
        if asking.is_ranged and stop is not None and until is not None:
            fetch.body_stop = until
        if self._now_s is not None:
            fetch.pace.begin(self._now_s)
        self.segments.fetches[fetch.fetch_id] = fetch
        self.peak = max(self.peak, len(self.segments.fetches))
        return StartRequest(fetch.fetch_id, start, asking.headers)

    def _serve_readers(self) -> Iterator[Command]:
        """Open a fetch at each waiting reader's byte that nobody is about to bring."""
        total = self._source.total_bytes
        is_proved = self._is_proved
        if total is None or not (is_proved or self._ceiling > 1):
            return  # one stream from the start is all there is: readers are held
        wanted = self.readers.wanted
        for offset in wanted:
            if offset >= total or offset in self.segments.kept:
                continue
            fetches = self.segments.fetches.values()
            if any(self.segments.is_near(f, offset, self._read_ahead_bytes) for f in fetches):
                continue
            if len(fetches) >= self._ceiling or not self._has_room:
                # What is there is not given away for a range that nobody has proved yet.
                spare = self.segments.helper_to_spare(wanted, self._read_ahead_bytes)
                if spare is None or not is_proved:
                    continue
                yield self.drop(spare)
            yield self._open(offset, None if self.fills else self.readers.stop_of(offset))
