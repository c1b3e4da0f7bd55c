"""Schedules the requests of one transfer: how many, where each starts, which one is cancelled.

The first request delivers the file. Others are opened where the origin has proved that it supports
ranges, or to find that out; at the byte of a waiting reader before anywhere else. Their number is
the caller's, or else found by the `ConcurrencyController`. `SegmentMap` knows which bytes are
received and assigned.
"""

from collections.abc import Iterator, ValuesView

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
from vidnb.download.planner.reader_demand import ReaderDemand
from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest, SegmentMap
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRange

__all__ = ["UNLIMITED", "ConnectionScheduler"]

_MAX_EVICTIONS = 2
"""After so many openings in a row that cost a working connection, no more are added."""

_EVICTION_S = 1.0
"""A connection that breaks so soon after another one was opened, was probably ended for it."""

_LATE_TICKS = 4
_STALLED_TICKS = 40
_FIRST_BYTES = 4
"""A connection is late after so many ticks (0.2 s) without a byte, and stalled after so many (2 s);
both at the earliest after so many times the longest time to a first byte."""

UNLIMITED = 2**31
"""A number of connections that no process reaches."""


class ConnectionScheduler:
    """Opens and cancels the requests of one transfer; all sizes are in bytes.

    With `is_whole_wanted` False only what `readers` need is requested. `max_connections` None:
    adaptive, from one. `host_limit` is the known limit of the host, `observed_host_limit` the
    number of connections that worked when it refused one more.
    """

    def __init__(
        self,
        source: SourceState,
        *,
        max_connections: int | None,
        host_limit: int | None,
        min_segment_bytes: int,
        read_ahead_bytes: int,
        is_whole_wanted: bool = True,
    ) -> None:
        self.segments = SegmentMap(source.stored)
        self.readers = ReaderDemand(read_ahead_bytes)
        self.is_whole_wanted = is_whole_wanted
        self.is_awaiting_retry = False
        self.peak_connections = 0
        self.observed_host_limit: int | None = None
        limit = MAX_CONNECTIONS if max_connections is None else max_connections
        self.limit = limit if host_limit is None else min(limit, host_limit)
        self._source = source
        self._controller = ConcurrencyController() if max_connections is None else None
        self._min_segment_bytes = min_segment_bytes
        self._read_ahead_bytes = read_ahead_bytes
        self._last_id = 0
        self._last_id_before_probe = 0
        self._evictions = 0
        self._has_evicted = False
        self._newest_delivers = False
        self._first_byte_ticks = 0
        self._chunks = 0
        self._clock_s: float | None = None
        self._available = UNLIMITED

    def update_clock(self, now_s: float, available: int) -> None:
        """Set the time (Unix, s) and how many more connections the process may open now."""
        self._clock_s = now_s
        self._available = available
        for request in self._requests:
            if request.sent_s is None:  # it was sent before the first event
                request.sent_s = now_s
                request.throughput.start(now_s)

    def handle_request(self, request: ReaderRequest) -> None:
        """Apply a change of what readers or the caller want."""
        match request:
            case DemandChanged():
                self.is_whole_wanted = request.is_whole
            case ReaderAdvanced():
                self.readers.advance(request.reader, request.offset)
            case ReaderWaits(reader, offset):
                is_missing = offset not in self.segments.received
                self.readers.wait(reader, offset, self._now_s, is_missing=is_missing)
            case ReaderLeft():  # pragma: no branch - the last of them
                self.readers.remove(request.reader)

    def should_read(self, request_id: int) -> bool:
        """Return whether to read more of a response now; flow control stops an unread one.

        False where no reader needs it and the whole file is not wanted. Also False while a reader
        has waited recently that another response serves and this one does not: the reader gets the
        whole bandwidth, and nothing that was sent is discarded.
        """
        request = self.segments.requests.get(request_id)
        if request is None:
            return True
        if not (self._needs_all or self._is_needed(request)):
            return False
        if not self._has_recent_wait or self._serves_reader(request):
            return True
        return not any(
            other.has_started and self._serves_reader(other)
            for other in self._requests
            if other is not request
        )

    def record_received(self, request: ActiveRequest, size_bytes: int) -> tuple[ByteRange, ...]:
        """Count bytes that arrived; return the ranges of them that are new."""
        now_s = self._now_s
        if self._controller is not None:
            if not request.throughput.has_data:
                # The first request may include name resolution: no estimate for later ones.
                sent_s = None if request.request_id == 1 else request.sent_s
                waited_s = None if sent_s is None else now_s - sent_s
                self._controller.record_first_byte(now_s, waited_s)
            self._controller.record_bytes(now_s, size_bytes)
        if not request.throughput.has_data:
            self._first_byte_ticks = max(self._first_byte_ticks, request.silent_ticks)
        self._chunks += 1
        self._newest_delivers |= request.request_id == self._last_id
        request.silent_ticks, request.last_chunk = 0, self._chunks
        request.throughput.add(now_s, size_bytes)
        return self.segments.advance(request, size_bytes)

    def dispatch(self) -> Iterator[Command]:
        """Open requests: for waiting readers first, then gaps, then the tails of the slowest."""
        if self.is_awaiting_retry:
            return
        yield from self._serve_waiting_readers()
        if not self._needs_all:
            yield from self._read_ahead()
            return
        while len(self._requests) < self._current_limit and self._has_slot:
            start = self._next_start()
            if start is None:
                return
            yield self._open(start)

    def release_connection(self) -> tuple[Command, ...]:
        """Cancel one of several requests if other transfers wait for a connection."""
        if self._available >= 0 or len(self._requests) < 2:
            return ()
        request = self._least_useful_request()
        return () if request is None else (self.cancel(request),)

    def take_over(self, request: ActiveRequest, stop: int) -> Iterator[Command]:
        """Cancel the late requests at whose start `request` arrives before `stop`."""
        for other in self.segments.overtaken_by(request, stop):
            if self._is_silent(other, _LATE_TICKS):
                is_stalled = self._is_silent(other, _STALLED_TICKS)
                yield self.cancel(other)
                if is_stalled:
                    self.limit_to_working(is_refusal=False, is_permanent=False)

    def give_up_stalled(self) -> tuple[Command, ...]:
        """Count a tick; cancel connections that only hang once the others have done their work."""
        for request in self._requests:
            request.silent_ticks += self.should_read(request.request_id)
        # Without a chunk from another one meanwhile, the network may be what stands still.
        if not all(
            self._chunks > one.last_chunk and self._is_silent(one, _STALLED_TICKS)
            for one in self._requests
        ):
            return ()
        cancelled = self.cancel_all()
        if cancelled:
            self.limit_to_working(is_refusal=False, is_permanent=False)
        return cancelled

    def _is_silent(self, request: ActiveRequest, ticks: int) -> bool:
        """Return whether nothing arrived for more than `ticks`, and for unusually long."""
        return request.silent_ticks > max(ticks, _FIRST_BYTES * self._first_byte_ticks)

    def record_loss(self, request: ActiveRequest) -> None:
        """Note that a working connection broke while others are in flight.

        Some servers end the older connections of a client when it opens another one. Once that
        happened after two openings in a row, the working ones are the limit.
        """
        newest = max(self._requests, key=lambda one: one.request_id)
        is_new = not newest.throughput.has_data or (
            newest.sent_s is not None and self._now_s - newest.sent_s <= _EVICTION_S
        )
        if newest.request_id < request.request_id or not is_new:
            return
        self._evictions += not self._has_evicted
        self._has_evicted = True
        if self._evictions >= _MAX_EVICTIONS:
            self.limit_to_working(is_refusal=False, is_permanent=True)

    @property
    def is_adjustment_due(self) -> bool:
        """Whether it is time to call `adjust`."""
        controller = self._controller
        return controller is not None and self.is_whole_wanted and controller.is_due(self._now_s)

    def adjust(self) -> Iterator[Command]:
        """Let the concurrency controller evaluate, if one is due, and cancel what it gives up."""
        controller, requests = self._controller, self._requests
        if controller is None or not requests or not self.is_adjustment_due:
            return
        total, before = self._source.total_bytes, controller.allowed
        is_allowed = len(requests) < self._max_requests and self._available > 0
        is_blocked = self._has_recent_wait or self.is_awaiting_retry
        controller.evaluate(
            self._now_s,
            active=len(requests),
            pending=sum(not request.throughput.has_data for request in requests),
            remaining_bytes=0 if total is None else total - self.segments.received.size_bytes,
            can_open=is_allowed and not is_blocked and self._next_start() is not None,
        )
        if controller.allowed > before:
            self._last_id_before_probe = self._last_id
        elif controller.allowed < before:
            yield from self._cancel_excess(controller.allowed)

    def limit_to_working(self, *, is_refusal: bool, is_permanent: bool) -> None:
        """Continue with the working connections; `is_refusal`: the host refused another one."""
        working = max(1, len(self._requests))
        if is_refusal:
            self.observed_host_limit = working
        if self._controller is None or is_permanent:
            self.limit = working
        else:
            self._controller.hold_at(working, self._now_s)

    def cancel(self, request: ActiveRequest) -> CancelRequest:
        """Cancel a request."""
        del self.segments.requests[request.request_id]
        self._available += 1
        return CancelRequest(request.request_id)

    def cancel_all(self, *, except_for: ActiveRequest | None = None) -> tuple[Command, ...]:
        """Cancel all requests, except one."""
        return tuple(self.cancel(one) for one in list(self._requests) if one is not except_for)

    @property
    def _requests(self) -> ValuesView[ActiveRequest]:
        return self.segments.requests.values()

    @property
    def _now_s(self) -> float:
        return self._clock_s or 0.0

    @property
    def _has_recent_wait(self) -> bool:
        return self.readers.has_recent_wait(self._now_s)

    @property
    def _needs_all(self) -> bool:
        """Whether more than what readers need is requested: also while the length is unknown."""
        source = self._source
        return self.is_whole_wanted or (source.validators is not None and not source.total_bytes)

    @property
    def _has_slot(self) -> bool:
        """Whether the process allows one more; the driver queues the first one of a transfer."""
        return self._available > 0 or not self._requests

    @property
    def _max_requests(self) -> int:
        return self._source.max_requests(self.limit, is_adaptive=self._controller is not None)

    @property
    def _current_limit(self) -> int:
        if self._controller is None:
            return self._max_requests
        limit = min(self._controller.allowed, self._max_requests)
        if self._has_recent_wait:
            return min(limit, 1 + sum(self._serves_reader(request) for request in self._requests))
        return limit

    def _serves_reader(self, request: ActiveRequest) -> bool:
        """Return whether a request delivers, or has just delivered, what a waiting reader needs."""
        begin = min(request.start, request.position)  # its response may begin before its request
        first = max(begin, request.position - self._read_ahead_bytes)
        stop = request.position + self._read_ahead_bytes
        return any(first <= offset < stop for offset in self.readers.waiting_offsets)

    def _least_useful_request(self) -> ActiveRequest | None:
        waiting = self.readers.waiting_offsets
        return self.segments.least_useful_request(waiting, self._read_ahead_bytes)

    def _cancel_excess(self, allowed: int) -> Iterator[Command]:
        """Cancel what the failed probe added, most remaining bytes first; never a reader's."""
        waiting, near = self.readers.waiting_offsets, self._read_ahead_bytes
        unneeded = self.segments.unneeded_requests(waiting, near)
        added = [one for one in unneeded if one.request_id > self._last_id_before_probe]
        added.sort(key=lambda request: self.segments.stop_of(request) - request.position)
        while added and len(self._requests) > allowed:
            yield self.cancel(added.pop())

    def _next_start(self) -> int | None:
        """Return where another request should start, None if none should."""
        source, received = self._source, self.segments.received
        total = source.total_bytes
        if total is None:
            return received.run_from(0).stop if source.can_resume else 0
        if received.covers(ByteRange(0, total)):
            # All bytes of an earlier run are stored, but it was not completed: one conditional
            # request shows whether the source is unchanged.
            return 0 if source.is_complete else None
        if not source.can_resume:
            return 0
        start = self.segments.first_unassigned(total)
        if start is not None:
            return start
        return self.segments.split_point(
            total,
            now_s=self._now_s,
            first_byte_s=0.0 if self._controller is None else self._controller.first_byte_s,
            min_segment_bytes=self._min_segment_bytes,
        )

    def _is_needed(self, request: ActiveRequest) -> bool:
        """Return whether readers need more of a response; a short rest is in transit anyway."""
        stop = self.segments.stop_of(request)
        if stop - request.position <= self.readers.min_read_ahead_bytes:
            return True
        if not self._source.can_split:
            stop = UNBOUNDED  # later bytes are only to be had after the earlier ones
        return self.readers.overlaps(request.position, stop)

    def _read_ahead(self) -> Iterator[Command]:
        """Request the readers' windows one by one; cancel what no reader needs any more."""
        source, requests = self._source, self._requests
        if source.can_split:
            for request in [one for one in requests if not self._is_needed(one)]:
                yield self.cancel(request)
        # The first request shows the length; one for a complete file, whether it is current.
        if not requests and (not self._last_id or source.validators is None or source.is_complete):
            start = self._next_start() or 0
            yield self._open(start, start + self.readers.min_read_ahead_bytes)
        for window in self.readers.windows():
            if requests and not (source.can_split and self._has_slot):
                return
            stop = min(window.stop, source.total_bytes or window.stop)
            if window.start >= stop:
                continue
            gap = self.segments.unassigned_in(ByteRange(window.start, stop))
            if gap is None or len(requests) >= self._max_requests:
                continue
            # A gap at the end of a window waits until it is half as large as the window.
            if gap.stop < window.stop or 2 * gap.size_bytes >= window.size_bytes:
                yield self._open(gap.start, gap.stop) if source.can_resume else self._open(0)

    def _open(self, start: int, stop: int | None = None) -> StartRequest:
        """Open a request from `start` to `stop` at most, the next request or received bytes."""
        if self._newest_delivers and not self._has_evicted:
            self._evictions = 0  # the last one that was opened cost nothing
        self._newest_delivers = self._has_evicted = False
        self._last_id += 1
        self._available -= 1
        source = self._source
        if stop is not None and source.total_bytes is not None:
            stop = min(stop, source.total_bytes)  # some origins refuse a range past the end
        # Every origin answers a plain first request best, but only a served range allows several:
        # an adaptive transfer starts plain and asks for a range later.
        wants_range = (
            start > 0
            or stop is not None
            or (self.limit > 1 and (self._controller is None or source.has_strong_validators))
        )
        stops = (stop, self.segments.range_stop(start, source.total_bytes))
        range_stop = min((one for one in stops if one is not None), default=None)
        planned = source.plan_request(start, range_stop, wants_range=wants_range)
        request = ActiveRequest(
            self._last_id,
            start,
            start,
            is_ranged=planned.is_ranged,
            has_if_range=planned.has_if_range,
            is_conditional=planned.is_conditional,
            sent_s=self._clock_s,
            last_chunk=self._chunks,
        )
        if planned.is_ranged and stop is not None and range_stop is not None:
            request.body_stop = range_stop
        if self._clock_s is not None:
            request.throughput.start(self._clock_s)
        self.segments.requests[request.request_id] = request
        self.peak_connections = max(self.peak_connections, len(self._requests))
        return StartRequest(request.request_id, start, planned.headers)

    def _serve_waiting_readers(self) -> Iterator[Command]:
        """Open a request at each waiting reader's byte that none in flight will deliver soon."""
        source = self._source
        if source.total_bytes is None or not (source.can_split or self._max_requests > 1):
            return  # a single stream from the start: readers wait for it
        for offset in self.readers.waiting_offsets:
            if offset >= source.total_bytes or offset in self.segments.received:
                continue
            near = self._read_ahead_bytes
            if any(self.segments.will_deliver(one, offset, near) for one in self._requests):
                continue
            if len(self._requests) >= self._max_requests or not self._has_slot:
                # Cancel nothing for a range before the origin has proved that it supports them.
                request = self._least_useful_request()
                if request is None or not source.can_split:
                    continue
                yield self.cancel(request)
            yield self._open(
                offset, None if self.is_whole_wanted else self.readers.window_stop(offset)
            )
