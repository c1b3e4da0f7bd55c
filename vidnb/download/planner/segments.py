"""Maps the requests in flight onto the file: which segment each one will deliver.

A request delivers bytes from its position until it meets bytes received before, the start of
another request, or the end of its body. Assigning the tail of its segment to another request
does not change the first one; it stops where the other one starts. If that one fails before it
delivers a byte, the tail belongs to the first again.
"""

from dataclasses import dataclass, field

from vidnb.download.planner.throughput import ConnectionThroughput
from vidnb.http.ranges import ByteRange, ByteRangeSet

__all__ = ["MIN_SEGMENT_BYTES", "MIN_TAIL_BYTES", "UNBOUNDED", "ActiveRequest", "SegmentMap"]

UNBOUNDED = 2**63
"""Larger than any offset: the body of unknown length."""

MIN_SEGMENT_BYTES = 4 * 2**20
"""While no throughput is known, the smallest segment that justifies another connection (B)."""

MIN_TAIL_BYTES = 64 * 2**10
"""The smallest segment that justifies a request at any throughput (B)."""

_MIN_TAIL_S = 0.05
_MIN_TAIL_FIRST_BYTES = 4
"""A tail that its connection delivers within this time, or within so many times to first byte, is
not split: a new connection spends one of them waiting and the next ones in TCP slow start."""

_MATURE_S = 0.5
_MATURE_FIRST_BYTES = 6
"""After this time, or so many times to first byte, a connection has reached its throughput."""


@dataclass(slots=True)
class ActiveRequest:
    """A request in flight for the bytes from `start`; the next byte to arrive is `position`.

    `body_stop` is the end of its body: as requested, then as its response head says. `has_started`:
    a response head arrived; `has_contributed`: it delivered a new byte. `sent_s` is the time of the
    request (Unix time, s), None until the planner knows the time. `silent_ticks`: for how many
    ticks it was read and delivered nothing, since the chunk `last_chunk` of the transfer arrived.
    """

    request_id: int
    start: int
    position: int
    is_ranged: bool
    has_if_range: bool
    is_conditional: bool
    body_stop: int = UNBOUNDED
    has_started: bool = False
    has_contributed: bool = False
    sent_s: float | None = None
    silent_ticks: int = 0
    last_chunk: int = 0
    throughput: ConnectionThroughput = field(default_factory=ConnectionThroughput)


@dataclass(slots=True)
class SegmentMap:
    """The bytes received (stored, or on their way to the disk) and the requests in flight.

    `is_single_stream`: the origin does not support ranges, so its one response also delivers bytes
    that were received before.
    """

    received: ByteRangeSet = field(default_factory=ByteRangeSet)
    requests: dict[int, ActiveRequest] = field(default_factory=dict)
    is_single_stream: bool = False

    def stop_of(self, request: ActiveRequest) -> int:
        """Return the offset up to which this request delivers bytes that are needed."""
        stop = request.body_stop
        if self.is_single_stream:
            return stop
        # A response may begin before the requested byte; these bytes are skipped.
        first = max(request.position, request.start)
        for other in self.requests.values():
            if other is not request and first <= other.start < stop:
                stop = other.start
        if first in self.received or first >= stop:
            return min(first, stop)
        gap = self.received.first_gap_from(first, stop)
        return stop if gap is None else gap.stop

    def advance(self, request: ActiveRequest, size_bytes: int) -> tuple[ByteRange, ...]:
        """Move a request on by `size_bytes`; return the ranges of them that are new."""
        begin = request.position
        request.position = max(begin, min(begin + size_bytes, self.stop_of(request)))
        new = self.received.gaps(ByteRange(begin, request.position))
        for byte_range in new:
            self.received = self.received.add(byte_range)
            request.has_contributed = True
        return new

    def first_unassigned(self, total_bytes: int) -> int | None:
        """Return the first missing byte that no request will deliver."""
        gap = self.unassigned_in(ByteRange(0, total_bytes))
        return None if gap is None else gap.start

    def unassigned_in(self, within: ByteRange) -> ByteRange | None:
        """Return the first range of missing bytes in `within` that no request will deliver."""
        assigned = self.received
        for request in self.requests.values():
            stop = max(request.position, self.stop_of(request))
            assigned = assigned.add(ByteRange(request.position, stop))
        return assigned.first_gap_from(within.start, within.stop)

    def split_point(
        self,
        total_bytes: int,
        *,
        now_s: float,
        first_byte_s: float = 0.0,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
    ) -> int | None:
        """Return the middle of the segment that will finish last, or None.

        None if another request, whose first byte takes `first_byte_s`, would not deliver the second
        half much earlier.
        """
        # A new connection still accelerates: assume the average throughput of the mature ones.
        rates = {key: one.throughput.bytes_per_s(now_s) for key, one in self.requests.items()}
        mature_s = max(_MATURE_S, _MATURE_FIRST_BYTES * first_byte_s)
        mature = {
            key: rate
            for key, rate in rates.items()
            if rate is not None and self.requests[key].throughput.age_s(now_s) >= mature_s
        }
        known = list(mature.values()) or [rate for rate in rates.values() if rate is not None]
        average = sum(known) / len(known) if known else None
        max_eta_s, middle = 0.0, None
        for key, request in self.requests.items():
            # Bytes before the requested one are skipped; they are another request's to split.
            begin = max(request.position, request.start)
            remaining_bytes = min(self.stop_of(request), total_bytes) - begin
            rate = mature.get(key, average)
            half_bytes = remaining_bytes // 2
            if rate is None:
                eta_s = float(remaining_bytes)
                is_worthwhile = remaining_bytes >= 2 * min_segment_bytes
            else:
                eta_s = remaining_bytes / rate
                if rates[key] is None and request.sent_s is not None:
                    eta_s += max(0.0, now_s - request.sent_s)  # it may never deliver any
                min_tail_s = max(_MIN_TAIL_S, _MIN_TAIL_FIRST_BYTES * first_byte_s)
                is_worthwhile = (
                    half_bytes >= min(MIN_TAIL_BYTES, min_segment_bytes)
                    and half_bytes / rate >= min_tail_s
                )
            if is_worthwhile and eta_s > max_eta_s:
                max_eta_s, middle = eta_s, begin + half_bytes
        return middle

    def range_stop(self, start: int, total_bytes: int | None) -> int | None:
        """Return where a range from `start` should end; None for an open-ended range."""
        if total_bytes is None:
            return None
        next_start = min(
            (other.start for other in self.requests.values() if other.start > start),
            default=total_bytes,
        )
        gap = self.received.first_gap_from(start, next_start)
        return gap.stop if gap is not None and gap.stop < total_bytes else None

    def overtaken_by(self, request: ActiveRequest, stop: int) -> list[ActiveRequest]:
        """Return the requests without a byte at whose start `request` arrives before `stop`.

        Its body goes on there, so it delivers their bytes sooner than they do.
        """
        if self.is_single_stream or len(self.requests) < 2:
            return []
        begin, last = max(request.position, request.start), min(stop, request.body_stop - 1)
        return [
            other
            for other in self.requests.values()
            if begin < other.start <= last and not other.throughput.has_data
        ]

    def will_deliver(self, request: ActiveRequest, offset: int, read_ahead_bytes: int) -> bool:
        """Return whether a request will deliver the byte at `offset` within `read_ahead_bytes`."""
        if request.position <= offset == request.start:
            return True  # wherever its response began, a second request for this byte is no faster
        stop = min(self.stop_of(request), request.position + read_ahead_bytes)
        return request.position <= offset < stop

    def unneeded_requests(
        self, waiting_offsets: list[int], read_ahead_bytes: int
    ) -> list[ActiveRequest]:
        """Return the requests that will not deliver any of these offsets soon."""
        return [
            one
            for one in self.requests.values()
            if not any(self.will_deliver(one, at, read_ahead_bytes) for at in waiting_offsets)
        ]

    def least_useful_request(
        self, waiting_offsets: list[int], read_ahead_bytes: int
    ) -> ActiveRequest | None:
        """Return the request to cancel first among the unneeded ones, or None.

        One without a response has nothing to lose; then the one with the most remaining bytes.
        """
        return max(
            self.unneeded_requests(waiting_offsets, read_ahead_bytes),
            key=lambda one: (not one.has_started, self.stop_of(one) - one.position),
            default=None,
        )
