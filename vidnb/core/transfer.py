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
what an answer's head means `opening`'s; here is what the transfer makes of all three.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vidnb.core import opening
from vidnb.core.alphabet import (
    Command,
    Complete,
    Ended,
    GiveUp,
    Keep,
    Lost,
    Observation,
    Opened,
    ReaderWaits,
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
from vidnb.core.spans import Span, SpanSet
from vidnb.core.version import Version

__all__ = ["MIN_SEGMENT_BYTES", "READ_AHEAD_BYTES", "UNLIMITED", "Transfer"]

READ_AHEAD_BYTES = 2**20
"""A fetch this close before a waiting reader is left to arrive; farther, another one opens."""


_REFUSALS = {FailureKind.STATUS, FailureKind.CONNECT}
"""What tells that a host does not want another connection."""

_MISHAPS = {FailureKind.LOST, FailureKind.TIMEOUT, FailureKind.SHORT}
"""What happens to any connection."""

_EMPTY = Failure(FailureKind.SHORT, "the origin sent no bytes")


class Transfer:
    """Plan one transfer: call `start` once, then `handle` for every observation.

    `version` and `stored` are what an earlier run left (both or neither; only a strong version is
    resumed). `finished` is the version of a finished file that stands under the final name.
    `max_bytes` bounds the file. `max_connections` bounds the requests under way: N opens up to N
    as soon as the origin has proved that it can, None as many as are found to pay.
    `host_takes` is the number of connections that this host is known not to refuse, if it is.
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
    ) -> None:
        is_resumed = version is not None and version.is_strong and bool(stored)
        self._source = Source() if is_resumed else Source(finished=finished)
        if is_resumed and stored is not None:
            self._source = Source(version, stored)
        self._crew = Crew(
            self._source,
            max_connections=max_connections,
            most=host_takes,
            min_segment_bytes=min_segment_bytes,
            read_ahead_bytes=read_ahead_bytes,
        )
        self._board = self._crew.board
        self._patience = Patience(policy, self.stored.size_bytes)
        self._max_bytes = max_bytes
        self.is_done = False

    @property
    def version(self) -> Version | None:
        """The version that is being fetched, None before an answer named one."""
        return self._source.version

    @property
    def stored(self) -> SpanSet:
        """What is in the part file."""
        return self._source.stored

    @property
    def generation(self) -> int:
        """The number of the attempt to build the file from nothing, from 0."""
        return self._source.generation

    @property
    def answers_ranges(self) -> bool | None:
        """Whether the origin answers ranges truly, None while that is unknown."""
        return self._source.answers_ranges

    @property
    def total_bytes(self) -> int | None:
        """The length of the file (B) as far as the origin has told it."""
        return self._source.total_bytes

    @property
    def is_resumable(self) -> bool:
        """Whether another process could go on from `stored`."""
        return self._source.has_strong_version and bool(self.stored)

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return self._patience.failures

    @property
    def restarts(self) -> int:
        """How often the file at the origin turned out to be another one."""
        return self._patience.restarts

    @property
    def peak_connections(self) -> int:
        """The most connections there were at once."""
        return self._crew.peak

    @property
    def refused_connections(self) -> int | None:
        """How many connections worked when the host refused one more; None if it never did.

        Refused is: answered with a status, answered without the range that was asked for, or not
        let in at all. A connection that broke was not refused.
        """
        return self._crew.refused

    def start(self) -> tuple[Command, ...]:
        """Begin; return the first commands."""
        if self.version is not None and self._is_too_large(self.total_bytes):
            return self._give_up(Why.TOO_LARGE, self._too_large(self.total_bytes))
        return self._dispatch()

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
            case ReaderWaits():
                self._crew.readers[seen.reader] = seen.offset
            case _:  # ReaderLeft, the last of them
                self._crew.readers.pop(seen.reader, None)
        return self._dispatch()

    # Bytes.

    def _on_received(self, seen: Received) -> tuple[Command, ...]:
        fetch = self._board.fetches.get(seen.fetch_id)
        if fetch is None or not fetch.is_open:
            return ()
        begin, arrived = fetch.position, fetch.position + seen.size_bytes
        if self.total_bytes is None and self._is_too_large(arrived):
            return self._give_up(Why.TOO_LARGE, self._too_large(None))
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
        changes = tuple(self._crew.adjust())
        return (*commands, *changes, *self._dispatch())

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
        match said:
            case opening.Whole(version):
                return self._on_whole(fetch, version, seen.headers)
            case opening.Part(version, span):
                return self._on_part(fetch, version, span)
            case opening.Unsatisfiable(total_bytes):
                return self._on_unsatisfiable(fetch, total_bytes, seen.headers)
            case opening.Untrue(failure):
                return self._on_untrue(fetch, failure, jitter)
            case opening.Unchanged():
                return self._on_unchanged(fetch)
        if said.failure.kind is FailureKind.MISBEHAVED and not self._others_are_open(fetch):
            return self._give_up(Why.MISBEHAVED, said.failure)
        return (self._crew.drop(fetch), *self._after_failure(said.failure, fetch, jitter))

    def _on_unchanged(self, fetch: Fetching) -> tuple[Command, ...]:
        if self.version is not None:  # every byte was here, and it is still the source's version
            return (self._crew.drop(fetch), *self._complete_if_whole())
        self.is_done = True
        finished = self._source.finished or Version()
        return (*self._crew.drop_all(), Complete(finished, is_unchanged=True))

    def _on_whole(
        self, fetch: Fetching, version: Version, headers: Mapping[str, str]
    ) -> tuple[Command, ...]:
        refusal = self._refuse_size(version.total_bytes)
        if refusal:
            return refusal
        is_same = self._is_same(version)
        if is_same and fetch.has_if_range and self._source.sends_if_range:
            # Some origins answer 200 to every If-Range; the ETag of the 206 will tell as well.
            self._source.sends_if_range = False
            return (self._crew.drop(fetch), *self._dispatch())
        if is_same and self._others_are_open(fetch):
            return self._refused(fetch)
        if fetch.is_ranged and (is_same or not fetch.has_if_range):
            self._ask_no_ranges()
        self._source.offers_ranges = headers.get("accept-ranges", "").strip().lower() != "none"
        return self._adopt(fetch, version, Span(0, version.total_bytes or ENDLESS))

    def _on_part(self, fetch: Fetching, version: Version, span: Span) -> tuple[Command, ...]:
        refusal = self._refuse_size(version.total_bytes)
        if refusal:
            return refusal
        if self.version is not None and not self._is_same(version) and span.start > 0:
            return self._start_over()
        self._source.answers_ranges = True
        return self._adopt(fetch, version, span)

    def _adopt(self, fetch: Fetching, version: Version, span: Span) -> tuple[Command, ...]:
        """Take an answer's bytes as the file's, which may mean that the file begins anew."""
        commands: list[Command] = []
        if self.version is None:
            self._source.version = version
        elif self._is_same(version):
            if self.version.total_bytes is None:
                self._source.version = replace(self.version, total_bytes=version.total_bytes)
        else:
            ended = self._count_restart()
            if ended:
                return ended
            commands += self._crew.drop_all(but=fetch)
            commands += self._forget()
            self._source.version = version
        fetch.position, fetch.body_stop = span.start, min(span.stop, self.total_bytes or ENDLESS)
        return (*commands, *(self._complete_if_whole() or self._dispatch()))

    def _on_unsatisfiable(
        self, fetch: Fetching, total_bytes: int | None, headers: Mapping[str, str]
    ) -> tuple[Command, ...]:
        version, kept = self.version, self._board.kept
        if version is None and total_bytes == 0:
            return self._give_up(Why.EMPTY, _EMPTY)
        if self._others_are_open(fetch):
            return self._refused(fetch)
        if version is not None and version.total_bytes is None and fetch.has_if_range:
            # With If-Range a 416 speaks of our version (RFC 9110 section 13.1.5): if it ends
            # where our bytes end, they were all there is.
            is_ours = "etag" not in headers or version.is_same_as(
                Version.of_answer(headers, total_bytes, 0.0)
            )
            if is_ours and kept == SpanSet([Span(0, total_bytes or 0)]):
                self._source.version = replace(version, total_bytes=total_bytes)
                return (self._crew.drop(fetch), *self._complete_if_whole())
        self._ask_no_ranges()
        return self._start_over()

    def _on_untrue(self, fetch: Fetching, failure: Failure, jitter: float) -> tuple[Command, ...]:
        if fetch.is_ranged and self._others_are_open(fetch):
            return self._refused(fetch)
        dropped = self._crew.drop(fetch)
        if not fetch.is_ranged:
            return (dropped, *self._after_failure(failure, fetch, jitter))
        # Nothing of this body is used; ranges of this origin are not asked for again.
        self._ask_no_ranges()
        return (dropped, *self._crew.drop_all(), *self._dispatch())

    def _refused(self, fetch: Fetching) -> tuple[Command, ...]:
        """Drop an added connection whose answer was none of use, and go on with the others."""
        dropped = self._crew.drop(fetch)
        self._crew.degrade(is_refusal=True, is_for_good=True)
        return (dropped, *self._dispatch())

    def _is_same(self, version: Version) -> bool:
        """Tell whether an answer's version is ours; one that ends before our bytes do is not."""
        ends_early = version.total_bytes is not None and version.total_bytes < self._kept_stop
        return self.version is not None and self.version.is_same_as(version) and not ends_early

    @property
    def _kept_stop(self) -> int:
        return max((span.stop for span in self._board.kept), default=0)

    def _others_are_open(self, fetch: Fetching) -> bool:
        """Tell whether another connection brings this file, so that this one is not needed."""
        return any(f.is_open for f in self._board.fetches.values() if f is not fetch)

    def _dispatch(self) -> tuple[Command, ...]:
        return () if self.is_done else tuple(self._crew.dispatch())

    def _ask_no_ranges(self) -> None:
        self._source.answers_ranges = False
        self._board.runs_through = True

    def _start_over(self) -> tuple[Command, ...]:
        """Drop everything and ask for the whole file again."""
        ended = self._count_restart()
        if ended:
            return ended
        return (*self._crew.drop_all(), *self._forget(), *self._dispatch())

    def _count_restart(self) -> tuple[Command, ...]:
        self._crew.stay_single()  # an origin that disagrees with itself gets one stream
        failure = self._patience.restart()
        return () if failure is None else self._give_up(Why.CHANGED, failure)

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
        if version is not None and is_endless and fetch.position >= self._kept_stop:
            if fetch.position == 0:
                return self._give_up(Why.EMPTY, _EMPTY)
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
            return self._give_up(said, failure)
        commands: list[Command] = []
        if self.version is not None and not self.version.is_strong:
            # Without a strong validator nobody knows whether the rest would fit.
            commands += self._forget()
        self._crew.is_held = True
        return (*commands, Wait(said, failure))

    def _give_up(self, why: Why, failure: Failure) -> tuple[Command, ...]:
        self.is_done = True
        return (*self._crew.drop_all(), GiveUp(why, failure, self._patience.attempts))

    # Sizes.

    def _refuse_size(self, total_bytes: int | None) -> tuple[Command, ...]:
        if total_bytes == 0:
            return self._give_up(Why.EMPTY, _EMPTY)
        if self._is_too_large(total_bytes):
            return self._give_up(Why.TOO_LARGE, self._too_large(total_bytes))
        return ()

    def _is_too_large(self, size_bytes: int | None) -> bool:
        return (
            self._max_bytes is not None and size_bytes is not None and size_bytes > self._max_bytes
        )

    def _too_large(self, total_bytes: int | None) -> Failure:
        size = "more" if total_bytes is None else f"{total_bytes} bytes"
        return Failure(
            FailureKind.REFUSED, f"the file has {size}, and max_bytes allows {self._max_bytes}"
        )
