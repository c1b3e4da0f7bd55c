"""The planner of a transfer, sans-IO: observations in, commands out.

It owns every decision between a URL and a whole file: one connection or several, where the next
one begins, what an answer's bytes are worth, when to start over, when to stop, who is served
first. It knows no socket, no file and no clock, so a test can play any origin against it.

House rules
1. A byte is kept only under a version (`Version`) that the answer itself has named.
2. What is stored is joined to what comes only if both versions are, for certain, the same one.
3. `Keep` gives a byte away once; `stored` grows only by what the driver reports as `Stored`.
4. Several connections only where the origin has proved that it answers ranges truly; one more to
   find that out only where it offered them.
5. Each failure without progress costs one attempt; each change of version costs one restart.
   Both are finite (`Patience`), so every transfer ends.

What is known of the source stands in `Source`, which connections there are is `Crew`'s business,
what an answer's head says is `opening`'s and what it means here `verdict`'s; this is who acts.
"""

from collections.abc import Iterator
from dataclasses import replace

from vidnb.core import opening, verdict
from vidnb.core.alphabet import (
    Command,
    Complete,
    Ended,
    GiveUp,
    Keep,
    Lost,
    Observation,
    Opened,
    Received,
    Restart,
    Stored,
    Ticked,
    TimerFired,
    Wait,
    Why,
)
from vidnb.core.board import ENDLESS, MIN_SEGMENT_BYTES, Fetching
from vidnb.core.crew import UNLIMITED, Crew
from vidnb.core.patience import Patience
from vidnb.core.retry import Failure, FailureKind, RetryPolicy
from vidnb.core.source import Source
from vidnb.core.spans import SpanSet
from vidnb.core.standing import Standing
from vidnb.core.version import Version

__all__ = ["MIN_SEGMENT_BYTES", "READ_AHEAD_BYTES", "UNLIMITED", "Transfer"]

READ_AHEAD_BYTES = 2**20
"""A fetch this close before a waiting reader is left to arrive; farther, another one opens."""


_REFUSALS = {FailureKind.STATUS, FailureKind.CONNECT}
"""What tells that a host does not want another connection."""

_MISHAPS = {FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.SHORT}
"""What happens to any connection."""


class Transfer(Standing):
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
        version: Version | None = None,
        stored: SpanSet | None = None,
        finished: Version | None = None,
        max_bytes: int | None = None,
        max_connections: int | None = None,
        host_takes: int | None = None,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        fills: bool = True,
    ) -> None:
        is_resumed = version is not None and version.is_strong and bool(stored)
        source = Source(finished=finished)
        if is_resumed and stored is not None:
            source = Source(version, stored)
        crew = Crew(
            source,
            max_connections=max_connections,
            most=host_takes,
            min_segment_bytes=min_segment_bytes,
            read_ahead_bytes=read_ahead_bytes,
            fills=fills,
        )
        super().__init__(source, crew, Patience(policy, source.stored.size_bytes))
        self._board = crew.board
        self._max_bytes = max_bytes

    def start(self) -> tuple[Command, ...]:
        """Begin; return the first commands."""
        refusal = verdict.size_refusal(self.total_bytes, self._max_bytes)
        return self._dispatch() if refusal is None else self._give_up(refusal)

    def handle(
        self,
        seen: Observation,
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
        if isinstance(seen, Stored):
            return self._on_stored(seen)
        if self.is_done:
            return ()
        self._crew.hear(now_s, spare_connections)
        match seen:
            case Received():
                return self._on_received(seen)
            case Opened():
                return self._on_opened(seen, now_s, jitter)
            case Ended():
                return self._on_ended(seen, jitter)
            case Lost():
                return self._on_lost(seen, jitter)
            case Ticked():
                return (*self._crew.give_way(), *self._crew.adjust(), *self._dispatch())
            case TimerFired():
                self._crew.is_held = False
            case _:
                self._crew.heed(seen)
        return self._dispatch()

    # Bytes.

    def _on_received(self, seen: Received) -> tuple[Command, ...]:
        fetch = self._board.fetches.get(seen.fetch_id)
        if fetch is None or not fetch.is_open:
            return ()
        begin, arrived = fetch.position, fetch.position + seen.size_bytes
        limit_bytes = self._max_bytes if self.total_bytes is None else None
        if limit_bytes is not None and arrived > limit_bytes:
            return self._give_up(verdict.too_large(None, limit_bytes))
        commands: list[Command] = [
            Keep(span, span.start - begin, self.generation)
            for span in self._crew.received(fetch, seen.size_bytes)
        ]
        self._patience.progress(self._board.kept.size_bytes)
        limit = self._board.limit_of(fetch)
        if arrived > limit or fetch.position == limit < fetch.body_stop:
            # Past this point the bytes are another fetch's, are here, or were never announced.
            commands.append(self._crew.drop(fetch))
            commands.extend(self._dispatch())
        if self._crew.is_due:  # not for every piece: to plan costs more than to take one
            commands.extend(self._crew.adjust())
            commands.extend(self._dispatch())
        return tuple(commands)

    def _on_stored(self, seen: Stored) -> tuple[Command, ...]:
        if seen.generation != self.generation:
            return ()
        self._source.stored = self.stored.add(seen.span)
        # Late writes of a transfer that was given up still count as kept.
        return () if self.is_done else self._complete_if_whole()

    def _complete_if_whole(self) -> tuple[Command, ...]:
        if self.version is None or not self._source.is_whole:
            return ()
        self.is_done = True
        return (
            *self._crew.drop_all(),
            Complete(self.version, is_size_verified=self._source.is_size_verified),
        )

    # Answers.

    def _on_opened(self, seen: Opened, now_s: float, jitter: float) -> tuple[Command, ...]:
        fetch = self._board.fetches.get(seen.fetch_id)
        if fetch is None or fetch.is_open:
            return ()
        fetch.is_open = True
        said = opening.read(
            seen.status,
            seen.headers,
            asked_start=fetch.start,
            is_ranged=fetch.is_ranged,
            is_conditional=fetch.is_conditional,
            now_s=now_s,
        )
        meant = verdict.judge(
            said,
            seen.headers,
            fetch,
            self._source,
            self._board.kept,
            others_are_open=any(f.is_open for f in self._board.fetches.values() if f is not fetch),
            max_bytes=self._max_bytes,
        )
        match meant:
            case verdict.Adopt():
                return self._adopt(fetch, meant)
            case verdict.Refused():
                dropped = self._crew.drop(fetch)
                self._crew.degrade(is_refusal=True, is_for_good=True)
                return (dropped, *self._dispatch())
            case verdict.AskAgain(without_ranges):
                return self._ask_again(fetch, without_ranges=without_ranges)
            case verdict.StartOver(without_ranges):
                return self._start_over(without_ranges=without_ranges)
            case verdict.AllThere(version):
                self._source.version = version
                return (self._crew.drop(fetch), *self._complete_if_whole())
            case verdict.Unchanged():
                self.is_done = True
                finished = self._source.finished or Version()
                return (*self._crew.drop_all(), Complete(finished, is_unchanged=True))
            case verdict.Fail(failure):
                return (self._crew.drop(fetch), *self._after_failure(failure, fetch, jitter))
        return self._give_up(meant)

    def _adopt(self, fetch: Fetching, meant: verdict.Adopt) -> tuple[Command, ...]:
        """Take an answer's bytes as the file's, which may mean that the file begins anew."""
        source, version, span = self._source, meant.version, meant.span
        commands: list[Command] = []
        if meant.answers_ranges is not None:
            self._note_ranges(are_answered=meant.answers_ranges)
        if meant.answers_ranges is False:
            commands += self._crew.drop_all(but=fetch)  # this one runs through: no other is needed
        if meant.offers_ranges is not None:
            source.offers_ranges = meant.offers_ranges
        if source.version is None:
            source.version = version
        elif source.is_same(version, self._board.kept.stop):
            if source.version.total_bytes is None:
                source.version = replace(source.version, total_bytes=version.total_bytes)
        else:
            ended = self._count_restart()
            if ended:
                return ended
            commands += self._crew.drop_all(but=fetch)
            commands += self._forget()
            source.version = version
            fetch.start = span.start  # what it was asked for was a part of another file
        fetch.position, fetch.body_stop = span.start, min(span.stop, self.total_bytes or ENDLESS)
        return (*commands, *(self._complete_if_whole() or self._dispatch()))

    def _ask_again(self, fetch: Fetching, *, without_ranges: bool) -> tuple[Command, ...]:
        dropped = self._crew.drop(fetch)
        if not without_ranges:
            self._source.sends_if_range = False
            return (dropped, *self._dispatch())
        # Nothing of this body is used; ranges of this origin are not asked for again.
        self._note_ranges(are_answered=False)
        return (dropped, *self._crew.drop_all(), *self._dispatch())

    def _note_ranges(self, *, are_answered: bool) -> None:
        self._source.answers_ranges = are_answered
        self._board.runs_through = self._board.runs_through or not are_answered

    def _start_over(self, *, without_ranges: bool) -> tuple[Command, ...]:
        """Drop everything and ask for the whole file again."""
        if without_ranges:
            self._note_ranges(are_answered=False)
        ended = self._count_restart()
        if ended:
            return ended
        return (*self._crew.drop_all(), *self._forget(), *self._dispatch())

    def _count_restart(self) -> tuple[Command, ...]:
        self._crew.stay_single()  # an origin that disagrees with itself gets one stream
        failure = self._patience.restart()
        return () if failure is None else self._give_up(verdict.Refuse(Why.CHANGED, failure))

    def _forget(self) -> Iterator[Command]:
        self._source.forget()
        self._board.kept = SpanSet()
        yield Restart(self.generation)

    # Ends.

    def _on_ended(self, seen: Ended, jitter: float) -> tuple[Command, ...]:
        fetch = self._board.fetches.pop(seen.fetch_id, None)
        if fetch is None:
            return ()
        version = self.version
        is_endless = fetch.is_open and fetch.body_stop == ENDLESS
        if version is not None and is_endless and fetch.position >= self._board.kept.stop:
            if fetch.position == 0:
                return self._give_up(verdict.Refuse(Why.EMPTY, verdict.EMPTY))
            self._source.version = replace(version, total_bytes=fetch.position)
            self._source.is_size_verified = seen.framed
            return self._complete_if_whole() or self._dispatch()
        if fetch.position >= fetch.body_stop:
            return self._dispatch()
        short = Failure(FailureKind.SHORT, "the connection closed before the file was whole")
        return self._after_failure(short, fetch, jitter)

    def _on_lost(self, seen: Lost, jitter: float) -> tuple[Command, ...]:
        fetch = self._board.fetches.pop(seen.fetch_id, None)
        if fetch is None:
            return ()
        if fetch.is_open and fetch.position >= fetch.body_stop:
            return self._dispatch()  # every byte had come; only the goodbye was rude
        return self._after_failure(seen.failure, fetch, jitter)

    def _after_failure(
        self, failure: Failure, fetch: Fetching, jitter: float
    ) -> tuple[Command, ...]:
        self._patience.failures += 1
        if self._board.fetches:
            # The others go on. One that brought nothing is not asked for again, or, where nobody
            # refused it and more are tried only now and then, not for a while.
            if not fetch.has_kept:
                self._crew.degrade(
                    is_refusal=failure.kind in _REFUSALS, is_for_good=failure.kind not in _MISHAPS
                )
            return self._dispatch()
        said = self._patience.fail(failure, jitter)
        if isinstance(said, Why):
            return self._give_up(verdict.Refuse(said, failure))
        commands: list[Command] = []
        if self.version is not None and not self.version.is_strong:
            # Without a strong validator nobody knows whether the rest would fit.
            commands += self._forget()
        self._crew.is_held = True
        return (*commands, Wait(said, failure))

    def _give_up(self, refusal: verdict.Refuse) -> tuple[Command, ...]:
        self.is_done = True
        end = GiveUp(refusal.why, refusal.failure, self._patience.attempts)
        return (*self._crew.drop_all(), end)

    def _dispatch(self) -> tuple[Command, ...]:
        return () if self.is_done else tuple(self._crew.dispatch())
