"""The planner of a transfer, sans-IO: observations in, commands out.

It owns every decision between a URL and a whole file: one connection or several, where the next
one begins, what an answer's bytes are worth, when to start over, when to stop, who is served
first. It knows no socket, no file and no clock, so a test can play any origin against it.

House rules
1. A byte is kept only under a version (`Validators`) that the answer itself has named.
2. What is stored is joined to what comes only if both versions are, for certain, the same one.
3. `WriteRange` gives a byte away once; `stored` grows only by what the driver reports as `RangeStored`.
4. Several connections only where the origin has proved that it answers ranges truly; one more to
   find that out only where it offered them.
5. Each failure without progress costs one attempt; each change of version costs one restart.
   Both are finite (`RetryBudget`), so every transfer ends.

What is known of the source stands in `SourceState`, which connections there are is `ConnectionScheduler`'s business,
what an answer's head says is `opening`'s and what it means here `verdict`'s; this is who acts.
"""

from collections.abc import Iterator
from dataclasses import replace

from vidnb.download.planner import response_decision, response_head
from vidnb.download.planner.events import (
    BodyReceived,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    GiveUp,
    GiveUpReason,
    RangeStored,
    ResponseEnded,
    ResponseStarted,
    Restart,
    RetryTimerFired,
    ScheduleRetry,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.retry_budget import RetryBudget
from vidnb.download.planner.scheduler import UNLIMITED, ConnectionScheduler
from vidnb.download.planner.segments import MIN_SEGMENT_BYTES, UNBOUNDED, ActiveRequest
from vidnb.download.planner.source_state import SourceState
from vidnb.download.planner.transfer_status import TransferStatus
from vidnb.http.ranges import ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["MIN_SEGMENT_BYTES", "READ_AHEAD_BYTES", "UNLIMITED", "Transfer"]

READ_AHEAD_BYTES = 2**20
"""A fetch this close before a waiting reader is left to arrive; farther, another one opens."""


_REFUSALS = {FailureKind.STATUS, FailureKind.CONNECT}
"""What tells that a host does not want another connection."""

_MISHAPS = {FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.SHORT}
"""What happens to any connection."""


class Transfer(TransferStatus):
    """Plan one transfer: call `start` once, then `handle` for every observation.

    `version` and `stored` are what an earlier run left (both or neither; only a strong version is
    resumed). `finished` is the version of a finished file that stands under the final name.
    `max_bytes` bounds the file. `max_connections` bounds the requests under way: N opens up to N
    as soon as the origin has proved that it can, None as many as are found to pay.
    `host_takes` is the number of connections that this host is known not to refuse, if it is.
    `fills` False: nothing is fetched but what readers need, now and soon, until the whole file is
    `Wanted`; such a transfer may rest for ever.
    """

    def __init__(
        self,
        *,
        policy: RetryPolicy,
        version: Validators | None = None,
        stored: ByteRangeSet | None = None,
        finished: Validators | None = None,
        max_bytes: int | None = None,
        max_connections: int | None = None,
        host_takes: int | None = None,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        fills: bool = True,
    ) -> None:
        is_resumed = version is not None and version.is_strong and bool(stored)
        source = SourceState(finished=finished)
        if is_resumed and stored is not None:
            source = SourceState(version, stored)
        scheduler = ConnectionScheduler(
            source,
            max_connections=max_connections,
            most=host_takes,
            min_segment_bytes=min_segment_bytes,
            read_ahead_bytes=read_ahead_bytes,
            fills=fills,
        )
        super().__init__(source, scheduler, RetryBudget(policy, source.stored.size_bytes))
        self._segments = scheduler.segments
        self._max_bytes = max_bytes

    def start(self) -> tuple[Command, ...]:
        """Begin; return the first commands."""
        refusal = response_decision.size_refusal(self.total_bytes, self._max_bytes)
        return self._dispatch() if refusal is None else self._give_up(refusal)

    def handle(
        self,
        seen: Event,
        *,
        now_s: float,
        jitter: float = 0.5,
        spare_connections: int = UNLIMITED,
    ) -> tuple[Command, ...]:
        """Take one observation; return what to do, in order.

        `now_s` is Unix time (s); if it jumps, a decision about speed may be a poor one, no other.
        `jitter` is a random number in [0, 1). `spare_connections` says how many more connections
        the process may open to this host now, the ones of fetches that just ended given back;
        below 0, so many others wait for one, and on a tick a transfer with several gives one up.
        The first connection is always asked for; it is the driver's to let it wait.
        After `is_done` nothing follows, and only what is stored is still noted; reports of a
        cancelled fetch are ignored.
        """
        if isinstance(seen, RangeStored):
            return self._on_stored(seen)
        if self.is_done:
            return ()
        self._scheduler.hear(now_s, spare_connections)
        match seen:
            case BodyReceived():
                return self._on_received(seen)
            case ResponseStarted():
                return self._on_opened(seen, now_s, jitter)
            case ResponseEnded():
                return self._on_ended(seen, jitter)
            case ConnectionFailed():
                return self._on_lost(seen, jitter)
            case Ticked():
                return (*self._scheduler.give_way(), *self._scheduler.adjust(), *self._dispatch())
            case RetryTimerFired():
                self._scheduler.is_held = False
            case _:
                self._scheduler.heed(seen)
        return self._dispatch()

    # Bytes.

    def _on_received(self, seen: BodyReceived) -> tuple[Command, ...]:
        fetch = self._segments.fetches.get(seen.fetch_id)
        if fetch is None or not fetch.is_open:
            return ()
        begin, arrived = fetch.position, fetch.position + seen.size_bytes
        limit_bytes = self._max_bytes if self.total_bytes is None else None
        if limit_bytes is not None and arrived > limit_bytes:
            return self._give_up(response_decision.too_large(None, limit_bytes))
        commands: list[Command] = [
            WriteRange(byte_range, byte_range.start - begin, self.generation)
            for byte_range in self._scheduler.received(fetch, seen.size_bytes)
        ]
        self._retry_budget.progress(self._segments.kept.size_bytes)
        limit = self._segments.limit_of(fetch)
        if arrived > limit or fetch.position == limit < fetch.body_stop:
            # Past this point the bytes are another fetch's, are here, or were never announced.
            commands.append(self._scheduler.drop(fetch))
            commands.extend(self._dispatch())
        if self._scheduler.is_due:  # not for every piece: to plan costs more than to take one
            commands.extend(self._scheduler.adjust())
            commands.extend(self._dispatch())
        return tuple(commands)

    def _on_stored(self, seen: RangeStored) -> tuple[Command, ...]:
        if seen.generation != self.generation:
            return ()
        self._source.stored = self.stored.add(seen.byte_range)
        # Late writes of a transfer that was given up still count as kept.
        return () if self.is_done else self._complete_if_whole()

    def _complete_if_whole(self) -> tuple[Command, ...]:
        if self.version is None or not self._source.is_whole:
            return ()
        self.is_done = True
        return (
            *self._scheduler.drop_all(),
            Complete(self.version, is_size_verified=self._source.is_size_verified),
        )

    # Answers.

    def _on_opened(self, seen: ResponseStarted, now_s: float, jitter: float) -> tuple[Command, ...]:
        fetch = self._segments.fetches.get(seen.fetch_id)
        if fetch is None or fetch.is_open:
            return ()
        fetch.is_open = True
        said = response_head.parse_response_head(
            seen.status,
            seen.headers,
            asked_start=fetch.start,
            is_ranged=fetch.is_ranged,
            is_conditional=fetch.is_conditional,
            now_s=now_s,
        )
        meant = response_decision.decide(
            said,
            seen.headers,
            fetch,
            self._source,
            self._segments.kept,
            others_are_open=any(
                f.is_open for f in self._segments.fetches.values() if f is not fetch
            ),
            max_bytes=self._max_bytes,
        )
        match meant:
            case response_decision.AcceptBody():
                return self._adopt(fetch, meant)
            case response_decision.ConnectionRefused():
                dropped = self._scheduler.drop(fetch)
                self._scheduler.degrade(is_refusal=True, is_for_good=True)
                return (dropped, *self._dispatch())
            case response_decision.RepeatRequest(without_ranges):
                return self._ask_again(fetch, without_ranges=without_ranges)
            case response_decision.StartOver(without_ranges):
                return self._start_over(without_ranges=without_ranges)
            case response_decision.AlreadyComplete(version):
                self._source.version = version
                return (self._scheduler.drop(fetch), *self._complete_if_whole())
            case response_decision.SourceUnchanged():
                self.is_done = True
                finished = self._source.finished or Validators()
                return (*self._scheduler.drop_all(), Complete(finished, is_unchanged=True))
            case response_decision.RequestFailed(failure):
                return (self._scheduler.drop(fetch), *self._after_failure(failure, fetch, jitter))
        return self._give_up(meant)

    def _adopt(
        self, fetch: ActiveRequest, meant: response_decision.AcceptBody
    ) -> tuple[Command, ...]:
        """Take an answer's bytes as the file's, which may mean that the file begins anew."""
        source, version, byte_range = self._source, meant.version, meant.byte_range
        commands: list[Command] = []
        if meant.answers_ranges is not None:
            self._note_ranges(are_answered=meant.answers_ranges)
        if meant.answers_ranges is False:
            commands += self._scheduler.drop_all(
                but=fetch
            )  # this one runs through: no other is needed
        if meant.offers_ranges is not None:
            source.offers_ranges = meant.offers_ranges
        if source.version is None:
            source.version = version
        elif source.is_same(version, self._segments.kept.stop):
            if source.version.total_bytes is None:
                source.version = replace(source.version, total_bytes=version.total_bytes)
        else:
            ended = self._count_restart()
            if ended:
                return ended
            commands += self._scheduler.drop_all(but=fetch)
            commands += self._forget()
            source.version = version
            fetch.start = byte_range.start  # what it was asked for was a part of another file
        fetch.position, fetch.body_stop = (
            byte_range.start,
            min(byte_range.stop, self.total_bytes or UNBOUNDED),
        )
        return (*commands, *(self._complete_if_whole() or self._dispatch()))

    def _ask_again(self, fetch: ActiveRequest, *, without_ranges: bool) -> tuple[Command, ...]:
        dropped = self._scheduler.drop(fetch)
        if not without_ranges:
            self._source.sends_if_range = False
            return (dropped, *self._dispatch())
        # Nothing of this body is used; ranges of this origin are not asked for again.
        self._note_ranges(are_answered=False)
        return (dropped, *self._scheduler.drop_all(), *self._dispatch())

    def _note_ranges(self, *, are_answered: bool) -> None:
        self._source.answers_ranges = are_answered
        self._segments.runs_through = self._segments.runs_through or not are_answered

    def _start_over(self, *, without_ranges: bool) -> tuple[Command, ...]:
        """Drop everything and ask for the whole file again."""
        if without_ranges:
            self._note_ranges(are_answered=False)
        ended = self._count_restart()
        if ended:
            return ended
        return (*self._scheduler.drop_all(), *self._forget(), *self._dispatch())

    def _count_restart(self) -> tuple[Command, ...]:
        self._scheduler.stay_single()  # an origin that disagrees with itself gets one stream
        failure = self._retry_budget.restart()
        return (
            ()
            if failure is None
            else self._give_up(response_decision.RejectSource(GiveUpReason.CHANGED, failure))
        )

    def _forget(self) -> Iterator[Command]:
        self._source.forget()
        self._segments.kept = ByteRangeSet()
        yield Restart(self.generation)

    # Ends.

    def _on_ended(self, seen: ResponseEnded, jitter: float) -> tuple[Command, ...]:
        fetch = self._segments.fetches.pop(seen.fetch_id, None)
        if fetch is None:
            return ()
        version = self.version
        is_endless = fetch.is_open and fetch.body_stop == UNBOUNDED
        if version is not None and is_endless and fetch.position >= self._segments.kept.stop:
            if fetch.position == 0:
                return self._give_up(
                    response_decision.RejectSource(GiveUpReason.EMPTY, response_decision.EMPTY)
                )
            self._source.version = replace(version, total_bytes=fetch.position)
            self._source.is_size_verified = seen.framed
            return self._complete_if_whole() or self._dispatch()
        if fetch.position >= fetch.body_stop:
            return self._dispatch()
        short = Failure(FailureKind.SHORT, "the connection closed before the file was whole")
        return self._after_failure(short, fetch, jitter)

    def _on_lost(self, seen: ConnectionFailed, jitter: float) -> tuple[Command, ...]:
        fetch = self._segments.fetches.pop(seen.fetch_id, None)
        if fetch is None:
            return ()
        if fetch.is_open and fetch.position >= fetch.body_stop:
            return self._dispatch()  # every byte had come; only the goodbye was rude
        return self._after_failure(seen.failure, fetch, jitter)

    def _after_failure(
        self, failure: Failure, fetch: ActiveRequest, jitter: float
    ) -> tuple[Command, ...]:
        self._retry_budget.failures += 1
        if self._segments.fetches:
            # The others go on. One that brought nothing is not asked for again, or, where nobody
            # refused it and more are tried only now and then, not for a while.
            if not fetch.has_kept:
                self._scheduler.degrade(
                    is_refusal=failure.kind in _REFUSALS, is_for_good=failure.kind not in _MISHAPS
                )
            return self._dispatch()
        said = self._retry_budget.fail(failure, jitter)
        if isinstance(said, GiveUpReason):
            return self._give_up(response_decision.RejectSource(said, failure))
        commands: list[Command] = []
        if self.version is not None and not self.version.is_strong:
            # Without a strong validator nobody knows whether the rest would fit.
            commands += self._forget()
        self._scheduler.is_held = True
        return (*commands, ScheduleRetry(said, failure))

    def _give_up(self, refusal: response_decision.RejectSource) -> tuple[Command, ...]:
        self.is_done = True
        end = GiveUp(refusal.why, refusal.failure, self._retry_budget.attempts)
        return (*self._scheduler.drop_all(), end)

    def _dispatch(self) -> tuple[Command, ...]:
        return () if self.is_done else tuple(self._scheduler.dispatch())
