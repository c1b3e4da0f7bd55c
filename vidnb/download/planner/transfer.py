"""The planner of a transfer, sans I/O: events in, commands out.

It makes every decision between a URL and a complete file: how many requests, where each starts,
which bytes of a response are used, when to retry, restart or give up. It performs no I/O and takes
time and randomness as arguments, so a test can simulate any origin.

Invariants
1. A byte is stored only under validators that its own response named.
2. Stored bytes are joined to new ones only if both are certainly of the same version.
3. Each byte has one `WriteRange`; `source.stored` grows only by reported `RangeStored` events.
4. Several requests run only where the origin has proved that it supports ranges; one more, to find
   that out, only where it may support them.
5. Each failure without progress costs one attempt, each change of the source one restart. Both are
   bounded by `RetryBudget`, so every transfer ends.
6. A published file is given up only for a source that is certainly another version: a failed
   revalidation ends at once with the published file.

`SourceState` holds what is known of the source, `ConnectionScheduler` the requests in flight;
`response_head` and `response_decision` interpret a response head; `Transfer` applies the result.
"""

from dataclasses import replace

from vidnb.download.planner.events import (
    BodyReceived,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    RangeStored,
    ResponseEnded,
    ResponseStarted,
    RetryTimerFired,
    ScheduleRetry,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.response_decision import (
    EMPTY,
    AcceptBody,
    AlreadyComplete,
    ConnectionRefused,
    RejectSource,
    RepeatRequest,
    RequestFailed,
    SourceUnchanged,
    StartOver,
    check_size,
    decide,
    too_large,
)
from vidnb.download.planner.response_head import (
    FullResponse,
    PartialResponse,
    parse_response_head,
)
from vidnb.download.planner.retry import Failure, FailureKind, GiveUpReason
from vidnb.download.planner.scheduler import UNLIMITED
from vidnb.download.planner.segments import MIN_SEGMENT_BYTES, UNBOUNDED, ActiveRequest
from vidnb.download.planner.transfer_state import READ_AHEAD_BYTES, TransferState
from vidnb.http.validators import Validators

__all__ = ["MIN_SEGMENT_BYTES", "READ_AHEAD_BYTES", "UNLIMITED", "Transfer"]

_REFUSALS = {FailureKind.STATUS, FailureKind.CONNECT}
"""Failures that show that a host refuses another connection."""

_ACCIDENTS = {FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.TRUNCATED}
"""Failures that any connection may have."""


class Transfer(TransferState):
    """Plans one transfer: call `start` once, then `handle` for every event until `is_done`."""

    def start(self) -> tuple[Command, ...]:
        """Return the first commands."""
        rejected = check_size(self.source.total_bytes, self._max_bytes)
        return self._dispatch() if rejected is None else self._give_up(rejected)

    def handle(
        self,
        event: Event,
        *,
        now_s: float,
        jitter: float = 0.5,
        available_connections: int = UNLIMITED,
    ) -> tuple[Command, ...]:
        """Handle one event; return the commands to execute, in order.

        `now_s` is Unix time (s); a clock that jumps affects only decisions about speed. `jitter` is
        a random number in [0, 1). `available_connections`: how many more the process may open to
        this host, those of requests that just ended included; a negative number is the shortage,
        and on a tick a transfer with several requests cancels one. The first request is always
        planned; the driver may queue it. Once `is_done`, only `RangeStored` has an effect. Events
        of cancelled requests are ignored.
        """
        if isinstance(event, RangeStored):
            return self._on_stored(event)
        if self.is_done:
            return ()
        scheduler = self._scheduler
        scheduler.update_clock(now_s, available_connections)
        match event:
            case BodyReceived():
                return self._on_body_received(event)
            case ResponseStarted():
                return self._on_response_started(event, now_s, jitter)
            case ResponseEnded():
                return self._on_response_ended(event, jitter)
            case ConnectionFailed():
                return self._on_connection_failed(event, jitter)
            case Ticked():
                return (
                    *scheduler.release_connection(),
                    *scheduler.give_up_stalled(),
                    *scheduler.adjust(),
                    *self._dispatch(),
                )
            case RetryTimerFired():
                scheduler.is_awaiting_retry = False
            case _:
                scheduler.handle_request(event)
        return self._dispatch()

    # Bytes.

    def _on_body_received(self, event: BodyReceived) -> tuple[Command, ...]:
        request = self._segments.requests.get(event.request_id)
        if request is None or not request.has_started:
            return ()
        source, begin = self.source, request.position
        end = begin + event.size_bytes
        max_bytes = self._max_bytes if source.total_bytes is None else None
        if max_bytes is not None and end > max_bytes:
            return self._give_up(too_large(None, max_bytes))
        commands: list[Command] = list(self._scheduler.take_over(request, end))
        commands += [
            WriteRange(byte_range, byte_range.start - begin, source.generation)
            for byte_range in self._scheduler.record_received(request, event.size_bytes)
        ]
        self._retry_budget.record_progress(self._segments.received.size_bytes)
        stop = self._segments.stop_of(request)
        if end > stop or request.position == stop < request.body_stop:
            # The next bytes are another request's, were received before, or are unannounced.
            commands.append(self._scheduler.cancel(request))
            commands.extend(self._dispatch())
        if self._scheduler.is_adjustment_due:  # not for every chunk: planning costs more CPU time
            commands.extend(self._scheduler.adjust())
            commands.extend(self._dispatch())
        return tuple(commands)

    def _on_stored(self, event: RangeStored) -> tuple[Command, ...]:
        if event.generation != self.source.generation:
            return ()
        self.source.stored = self.source.stored.add(event.byte_range)
        return () if self.is_done else self._complete_if_stored()

    # Response heads.

    def _on_response_started(
        self, event: ResponseStarted, now_s: float, jitter: float
    ) -> tuple[Command, ...]:
        requests, scheduler, source = self._segments.requests, self._scheduler, self.source
        request = requests.get(event.request_id)
        if request is None or request.has_started:
            return ()
        has_other_responses = any(one.has_started for one in requests.values())
        request.has_started = True
        head = parse_response_head(
            event.status,
            event.headers,
            requested_start=request.start,
            requested_stop=request.body_stop if request.body_stop < UNBOUNDED else None,
            is_ranged=request.is_ranged,
            is_conditional=request.is_conditional,
            now_s=now_s,
        )
        if isinstance(head, FullResponse | PartialResponse):
            source.compare_with_published(head.validators)
        decision = decide(
            head,
            event.headers,
            request,
            source,
            self._segments.received,
            has_other_responses=has_other_responses,
            max_bytes=self._max_bytes,
        )
        match decision:
            case AcceptBody():
                return self._accept(request, decision)
            case ConnectionRefused():
                cancelled = scheduler.cancel(request)
                scheduler.limit_to_working(is_refusal=True, is_permanent=True)
                return (cancelled, *self._dispatch())
            case RepeatRequest(without_ranges):
                return self._repeat(request, without_ranges=without_ranges)
            case StartOver(without_ranges):
                return self._start_over(without_ranges=without_ranges)
            case AlreadyComplete(validators):
                source.validators = validators
                return (scheduler.cancel(request), *self._complete_if_stored())
            case SourceUnchanged():
                validators = source.published_validators or Validators()
                return self._finish(Complete(validators, is_unchanged=True))
            case RequestFailed(failure):
                return (scheduler.cancel(request), *self._after_failure(failure, request, jitter))
        return self._give_up(decision)

    def _accept(self, request: ActiveRequest, decision: AcceptBody) -> tuple[Command, ...]:
        """Accept a response body; that of a new version restarts the file."""
        source, validators, byte_range = self.source, decision.validators, decision.byte_range
        commands: list[Command] = []
        if decision.supports_ranges is not None:
            self._set_range_support(is_supported=decision.supports_ranges)
        if decision.supports_ranges is False:  # this response delivers the whole file
            commands += self._scheduler.cancel_all(except_for=request)
        if decision.may_support_ranges is not None:
            source.may_support_ranges = decision.may_support_ranges
        if source.validators is None:
            source.validators = validators
        elif source.matches(validators, self._segments.received.stop):
            if source.validators.total_bytes is None:
                source.validators = replace(source.validators, total_bytes=validators.total_bytes)
        else:
            given_up = self._count_restart()
            if given_up:
                return given_up
            commands += self._scheduler.cancel_all(except_for=request)
            commands.append(self._reset())
            source.validators = validators
            request.start = byte_range.start  # the requested one is an offset of the old file
        source.claim = source.claim or decision.claim
        request.position = byte_range.start
        request.body_stop = min(byte_range.stop, source.total_bytes or UNBOUNDED)
        return (*commands, *(self._complete_if_stored() or self._dispatch()))

    def _repeat(self, request: ActiveRequest, *, without_ranges: bool) -> tuple[Command, ...]:
        cancelled = self._scheduler.cancel(request)
        if not without_ranges:
            self.source.uses_if_range = False
            return (cancelled, *self._dispatch())
        self._set_range_support(is_supported=False)
        return (cancelled, *self._scheduler.cancel_all(), *self._dispatch())

    def _start_over(self, *, without_ranges: bool) -> tuple[Command, ...]:
        """Discard everything and request the whole file again."""
        if without_ranges:
            self._set_range_support(is_supported=False)
        return self._count_restart() or (
            *self._scheduler.cancel_all(),
            self._reset(),
            *self._dispatch(),
        )

    # Ends.

    def _on_response_ended(self, event: ResponseEnded, jitter: float) -> tuple[Command, ...]:
        request = self._segments.requests.pop(event.request_id, None)
        if request is None:
            return ()
        source, size_bytes = self.source, request.position
        has_unknown_length = request.has_started and request.body_stop == UNBOUNDED
        is_longest = size_bytes >= self._segments.received.stop
        if source.validators is not None and has_unknown_length and is_longest:
            if size_bytes == 0:
                return self._give_up(EMPTY)
            source.validators = replace(source.validators, total_bytes=size_bytes)
            source.is_size_verified = event.is_framed
            return self._complete_if_stored() or self._dispatch()
        if size_bytes >= request.body_stop:
            return self._dispatch()
        reason = "the connection closed before the file was complete"
        return self._after_failure(Failure(FailureKind.TRUNCATED, reason), request, jitter)

    def _on_connection_failed(self, event: ConnectionFailed, jitter: float) -> tuple[Command, ...]:
        request = self._segments.requests.pop(event.request_id, None)
        if request is None:
            return ()
        if request.has_started and request.position >= request.body_stop:
            return self._dispatch()  # the body is complete; the connection closed uncleanly
        return self._after_failure(event.failure, request, jitter)

    def _after_failure(
        self, failure: Failure, request: ActiveRequest, jitter: float
    ) -> tuple[Command, ...]:
        self._retry_budget.failures += 1
        if self._segments.requests:
            # The other requests continue. One that delivered nothing is not repeated; an adaptive
            # transfer may try again later if it failed by accident.
            if not request.has_contributed:
                self._scheduler.limit_to_working(
                    is_refusal=failure.kind in _REFUSALS,
                    is_permanent=failure.kind not in _ACCIDENTS,
                )
            else:
                self._scheduler.record_loss(request)
            return self._dispatch()
        if self.source.is_revalidating:
            return self._give_up(RejectSource(GiveUpReason.FAILED, failure))
        delay_s = self._retry_budget.record_failure(failure, jitter)
        if isinstance(delay_s, GiveUpReason):
            return self._give_up(RejectSource(delay_s, failure))
        commands: list[Command] = []
        if self.source.validators is not None and not self.source.has_strong_validators:
            commands.append(self._reset())  # without a strong validator nothing can be resumed
        self._scheduler.is_awaiting_retry = True
        return (*commands, ScheduleRetry(delay_s, failure))
