"""The planner of a transfer, sans-IO: observations in, commands out.

It owns every decision between a URL and a whole file: one connection or several, where the next
one begins, what an answer's bytes are worth, when to start over, when to stop, who is served
first. It knows no socket, no file and no clock, so a test can play any origin against it.

House rules
1. A byte is kept only under a version (`Version`) that the answer itself has named.
2. What is stored is joined to what comes only if both versions are, for certain, the same one.
3. `Keep` gives a byte away once; `stored` grows only by what the driver reports as `Stored`.
4. Several connections only where the origin has proved that it answers ranges truly.
5. Each failure without progress costs one attempt; each change of version costs one restart.
   Both are finite, so every transfer ends.

Which bytes each connection brings is `board`'s business, what an answer's head means `opening`'s;
here is what the transfer makes of both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vidnb.core import opening
from vidnb.core.alphabet import (
    Cancel,
    Command,
    Complete,
    Ended,
    Fetch,
    GiveUp,
    Keep,
    Lost,
    Observation,
    Opened,
    ReaderWaits,
    Received,
    Restart,
    Stored,
    TimerFired,
    Wait,
    Why,
)
from vidnb.core.board import ENDLESS, Board, Fetching
from vidnb.core.headers import format_range
from vidnb.core.retry import Failure, FailureKind, RetryPolicy
from vidnb.core.spans import Span, SpanSet
from vidnb.core.version import Version

__all__ = ["MIN_SEGMENT_BYTES", "READ_AHEAD_BYTES", "Transfer"]

MIN_SEGMENT_BYTES = 4 * 2**20
"""A segment shorter than this costs more in round trips than another connection gains."""

READ_AHEAD_BYTES = 2**20
"""A fetch this close before a waiting reader is left to arrive; farther, another one opens."""


_EMPTY = Failure(FailureKind.SHORT, "the origin sent no bytes")


class Transfer:
    """Plan one transfer: call `start` once, then `handle` for every observation.

    `version` and `stored` are what an earlier run left (both or neither; only a strong version is
    resumed). `finished` is the version of a finished file that stands under the final name.
    `max_bytes` bounds the file, `max_connections` the requests under way.
    """

    def __init__(
        self,
        *,
        policy: RetryPolicy,
        version: Version | None = None,
        stored: SpanSet | None = None,
        finished: Version | None = None,
        max_bytes: int | None = None,
        max_connections: int = 1,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
    ) -> None:
        is_resumed = version is not None and version.is_strong and bool(stored)
        self.version = version if is_resumed else None
        self.stored = stored if is_resumed and stored is not None else SpanSet()
        self.generation = 0
        self.failures = 0
        self.restarts = 0
        self.peak_connections = 0
        self.is_done = False
        self.answers_ranges: bool | None = None
        self._board = Board(self.stored)
        self._finished = None if is_resumed else finished
        self._policy = policy
        self._max_bytes = max_bytes
        self._max_connections = max_connections
        self._min_segment_bytes = min_segment_bytes
        self._read_ahead_bytes = read_ahead_bytes
        self._next_id = 0
        self._readers: dict[int, int] = {}
        self._sends_if_range = True
        self._is_size_verified = True
        self._failures_in_a_row = 0
        self._has_misbehaved = False
        self._high_water_bytes = self.stored.size_bytes
        self._is_waiting = False

    @property
    def total_bytes(self) -> int | None:
        """The length of the file (B) as far as the origin has told it."""
        return self.version.total_bytes if self.version is not None else None

    @property
    def is_resumable(self) -> bool:
        """Whether another process could go on from `stored`."""
        return self._has_strong_version and bool(self.stored)

    def start(self) -> tuple[Command, ...]:
        """Begin; return the first commands."""
        if self.version is not None and self._is_too_large(self.total_bytes):
            return self._give_up(Why.TOO_LARGE, self._too_large(self.total_bytes))
        return tuple(self._dispatch())

    def handle(
        self, seen: Observation, *, now_s: float, jitter: float = 0.5
    ) -> tuple[Command, ...]:
        """Take one observation; return what to do, in order.

        `now_s` is Unix time (s), `jitter` a random number in [0, 1). After `is_done` nothing
        follows, and only what is stored is still noted; reports of a cancelled fetch are ignored.
        """
        if isinstance(seen, Stored):
            return self._on_stored(seen)
        if self.is_done:
            return ()
        match seen:
            case Received():
                return self._on_received(seen)
            case Opened():
                return self._on_opened(seen, now_s, jitter)
            case Ended():
                return self._on_ended(seen, jitter)
            case Lost():
                return self._on_lost(seen, jitter)
            case TimerFired():
                self._is_waiting = False
            case ReaderWaits():
                self._readers[seen.reader] = seen.offset
            case _:  # ReaderLeft, the last of them
                self._readers.pop(seen.reader, None)
        return tuple(self._dispatch())

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
            for span in self._board.take(fetch, seen.size_bytes)
        ]
        if self._board.kept.size_bytes > self._high_water_bytes:
            self._high_water_bytes = self._board.kept.size_bytes
            self._failures_in_a_row = 0
            self._has_misbehaved = False
        limit = self._board.limit_of(fetch)
        if arrived > limit or fetch.position == limit < fetch.body_stop:
            # Past this point the bytes are another fetch's, are here, or were never announced.
            commands.append(self._drop(fetch))
            commands.extend(self._dispatch())
        return tuple(commands)

    def _on_stored(self, seen: Stored) -> tuple[Command, ...]:
        if seen.generation != self.generation:
            return ()
        self.stored = self.stored.add(seen.span)
        # Late writes of a transfer that was given up still count as kept.
        return () if self.is_done else self._complete_if_whole()

    def _complete_if_whole(self) -> tuple[Command, ...]:
        total = self.total_bytes
        if self.version is None or total is None or not self.stored.covers(Span(0, total)):
            return ()
        self.is_done = True
        return (
            *self._drop_all(),
            Complete(self.version, is_size_verified=self._is_size_verified),
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
                return self._on_whole(fetch, version)
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
        return (self._drop(fetch), *self._after_failure(said.failure, fetch, jitter))

    def _on_unchanged(self, fetch: Fetching) -> tuple[Command, ...]:
        if self.version is not None:  # every byte was here, and it is still the source's version
            return (self._drop(fetch), *self._complete_if_whole())
        self.is_done = True
        return (*self._drop_all(), Complete(self._finished or Version(), is_unchanged=True))

    def _on_whole(self, fetch: Fetching, version: Version) -> tuple[Command, ...]:
        refusal = self._refuse_size(version.total_bytes)
        if refusal:
            return refusal
        is_same = self._is_same(version)
        if is_same and fetch.has_if_range and self._sends_if_range:
            # Some origins answer 200 to every If-Range; the ETag of the 206 will tell as well.
            self._sends_if_range = False
            return (self._drop(fetch), *self._dispatch())
        if is_same and self._others_are_open(fetch):
            return (self._drop(fetch), *self._degrade())
        if fetch.is_ranged and (is_same or not fetch.has_if_range):
            self._ask_no_ranges()
        return self._adopt(fetch, version, Span(0, version.total_bytes or ENDLESS))

    def _on_part(self, fetch: Fetching, version: Version, span: Span) -> tuple[Command, ...]:
        refusal = self._refuse_size(version.total_bytes)
        if refusal:
            return refusal
        if self.version is not None and not self._is_same(version) and span.start > 0:
            return self._start_over()
        self.answers_ranges = True
        return self._adopt(fetch, version, span)

    def _adopt(self, fetch: Fetching, version: Version, span: Span) -> tuple[Command, ...]:
        """Take an answer's bytes as the file's, which may mean that the file begins anew."""
        commands: list[Command] = []
        if self.version is None:
            self.version = version
        elif self._is_same(version):
            if self.version.total_bytes is None:
                self.version = replace(self.version, total_bytes=version.total_bytes)
        else:
            ended = self._count_restart()
            if ended:
                return ended
            commands += self._drop_all(but=fetch)
            commands += self._forget()
            self.version = version
        fetch.position, fetch.body_stop = span.start, min(span.stop, self.total_bytes or ENDLESS)
        return (*commands, *(self._complete_if_whole() or self._dispatch()))

    def _on_unsatisfiable(
        self, fetch: Fetching, total_bytes: int | None, headers: Mapping[str, str]
    ) -> tuple[Command, ...]:
        version, kept = self.version, self._board.kept
        if version is None and total_bytes == 0:
            return self._give_up(Why.EMPTY, _EMPTY)
        if self._others_are_open(fetch):
            return (self._drop(fetch), *self._degrade())
        if version is not None and version.total_bytes is None and fetch.has_if_range:
            # With If-Range a 416 speaks of our version (RFC 9110 section 13.1.5): if it ends
            # where our bytes end, they were all there is.
            is_ours = "etag" not in headers or version.is_same_as(
                Version.of_answer(headers, total_bytes, 0.0)
            )
            if is_ours and kept == SpanSet([Span(0, total_bytes or 0)]):
                self.version = replace(version, total_bytes=total_bytes)
                return (self._drop(fetch), *self._complete_if_whole())
        self._ask_no_ranges()
        return self._start_over()

    def _on_untrue(self, fetch: Fetching, failure: Failure, jitter: float) -> tuple[Command, ...]:
        dropped = self._drop(fetch)
        if not fetch.is_ranged:
            return (dropped, *self._after_failure(failure, fetch, jitter))
        if self._others_are_open(fetch):
            return (dropped, *self._degrade())
        # Nothing of this body is used; ranges of this origin are not asked for again.
        self._ask_no_ranges()
        return (dropped, *self._drop_all(), *self._dispatch())

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

    def _ask_no_ranges(self) -> None:
        self.answers_ranges = False
        self._board.runs_through = True

    def _start_over(self) -> tuple[Command, ...]:
        """Drop everything and ask for the whole file again."""
        ended = self._count_restart()
        if ended:
            return ended
        return (*self._drop_all(), *self._forget(), *self._dispatch())

    def _count_restart(self) -> tuple[Command, ...]:
        self.restarts += 1
        self._high_water_bytes = 0  # what the new version brings is progress from its first byte
        self._max_connections = 1  # an origin that disagrees with itself gets one stream
        if self.restarts <= self._policy.attempts:
            return ()
        return self._give_up(
            Why.CHANGED,
            Failure(FailureKind.CHANGED, f"the file at the origin changed {self.restarts} times"),
        )

    def _forget(self) -> Iterator[Command]:
        self.generation += 1
        self.version = None
        self.stored = self._board.kept = SpanSet()
        self._is_size_verified = True
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
            self.version = replace(version, total_bytes=fetch.position)
            self._is_size_verified = seen.framed
            return self._complete_if_whole() or tuple(self._dispatch())
        if fetch.position >= fetch.body_stop:
            return tuple(self._dispatch())
        short = Failure(FailureKind.SHORT, "the connection closed before the file was whole")
        return self._after_failure(short, fetch, jitter)

    def _on_lost(self, seen: Lost, jitter: float) -> tuple[Command, ...]:
        fetch = self._board.fetches.pop(seen.fetch_id, None)
        if fetch is None:
            return ()
        if fetch.is_open and fetch.position >= fetch.body_stop:
            return tuple(self._dispatch())  # every byte had come; only the goodbye was rude
        return self._after_failure(seen.failure, fetch, jitter)

    def _after_failure(
        self, failure: Failure, fetch: Fetching, jitter: float
    ) -> tuple[Command, ...]:
        self.failures += 1
        if self._board.fetches:
            # The others go on. One that brought nothing is not asked for again.
            return tuple(self._dispatch()) if fetch.has_kept else self._degrade()
        self._failures_in_a_row += 1
        if failure.kind is FailureKind.MISBEHAVED:
            # Once may be a proxy's bad moment; twice is how this origin answers.
            if self._has_misbehaved:
                return self._give_up(Why.MISBEHAVED, failure)
            self._has_misbehaved = True
        delay_s = self._policy.delay_s(failure, self._failures_in_a_row, jitter)
        if delay_s is None:
            return self._give_up(Why.FAILED, failure)
        commands: list[Command] = []
        if self.version is not None and not self.version.is_strong:
            # Without a strong validator nobody knows whether the rest would fit.
            commands += self._forget()
        self._is_waiting = True
        return (*commands, Wait(delay_s, failure))

    def _degrade(self) -> tuple[Command, ...]:
        """Go on with the connections that work."""
        self._max_connections = max(1, len(self._board.fetches))
        return tuple(self._dispatch())

    def _give_up(self, why: Why, failure: Failure) -> tuple[Command, ...]:
        self.is_done = True
        return (*self._drop_all(), GiveUp(why, failure, max(self._failures_in_a_row, 1)))

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

    # Who fetches what.

    def _dispatch(self) -> Iterator[Command]:
        """Open what should be open now: readers first, then gaps, then tails of the longest."""
        if self._is_waiting or self.is_done:
            return
        yield from self._serve_readers()
        while len(self._board.fetches) < self._connection_limit():
            start = self._next_start()
            if start is None:
                return
            yield self._open(start)

    def _connection_limit(self) -> int:
        is_proved = self.answers_ranges and self._has_strong_version and self.total_bytes
        return self._max_connections if is_proved else 1

    @property
    def _has_strong_version(self) -> bool:
        return self.version is not None and self.version.is_strong

    def _next_start(self) -> int | None:
        """Return where another fetch should begin, None if none should."""
        total = self.total_bytes
        joins = self.answers_ranges is not False and self._has_strong_version
        if total is None:
            return self._board.kept.run_from(0).stop if joins else 0
        if self._board.kept.covers(Span(0, total)):
            # All on disk and not complete: an earlier run stopped just short of its end. One
            # conditional request tells whether the source is still that version.
            return 0 if self.stored.covers(Span(0, total)) else None
        if not joins:
            return 0
        start = self._board.first_free(total)
        if start is None:
            return self._board.best_split(total, self._min_segment_bytes)
        return start

    def _open(self, start: int) -> Fetch:
        self._next_id += 1
        headers: list[tuple[str, str]] = []
        version, total = self.version, self.total_bytes
        is_whole = total is not None and self.stored.covers(Span(0, total))
        known = version if is_whole else self._finished if version is None else None
        if known is not None:
            headers += known.if_changed()
        is_conditional = bool(headers)
        is_ranged = (
            self.answers_ranges is not False
            and not is_whole
            and (start > 0 or self._max_connections > 1)
        )
        if_range = version.if_range() if version is not None and self._sends_if_range else None
        if is_ranged:
            headers.append(("Range", format_range(start, self._board.stop_for(start, total))))
            if if_range is not None:
                headers.append(("If-Range", if_range))
        fetch = Fetching(
            self._next_id,
            start,
            start,
            is_ranged=is_ranged,
            has_if_range=is_ranged and if_range is not None,
            is_conditional=is_conditional,
        )
        self._board.fetches[fetch.fetch_id] = fetch
        self.peak_connections = max(self.peak_connections, len(self._board.fetches))
        return Fetch(fetch.fetch_id, start, tuple(headers))

    def _serve_readers(self) -> Iterator[Command]:
        """Open a fetch at each waiting reader's byte that nobody is about to bring."""
        total = self.total_bytes
        if not self.answers_ranges or not self._has_strong_version or total is None:
            return  # one stream from the start is all there is: readers are held
        wanted = list(self._readers.values())
        for offset in wanted:
            if offset >= total or offset in self._board.kept:
                continue
            fetches = self._board.fetches.values()
            if any(self._board.is_near(f, offset, self._read_ahead_bytes) for f in fetches):
                continue
            if len(fetches) >= self._max_connections:
                spare = self._board.helper_to_spare(wanted, self._read_ahead_bytes)
                if spare is None:
                    continue
                yield self._drop(spare)
            yield self._open(offset)

    def _drop(self, fetch: Fetching) -> Cancel:
        del self._board.fetches[fetch.fetch_id]
        return Cancel(fetch.fetch_id)

    def _drop_all(self, but: Fetching | None = None) -> tuple[Command, ...]:
        return tuple(self._drop(f) for f in list(self._board.fetches.values()) if f is not but)
