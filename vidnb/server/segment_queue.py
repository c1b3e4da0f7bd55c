"""Which segment is made next, of which session: decisions without threads, clock and I/O.

A session makes one segment at a time. Those that are waited for come first, then those that follow
the one that was requested last (read-ahead).
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["MAX_GAP", "Job", "SegmentQueue"]

MAX_GAP: Final = 5
"""Requests that lie so few segments apart belong to one run, which is made in ascending order.

An encoder goes on over such a gap faster than it starts anew.
"""

_S = TypeVar("_S", bound=Hashable)


class Job(NamedTuple, Generic[_S]):
    """A segment to make: its session and its number."""

    session: _S
    number: int


@dataclass(slots=True)
class _State:
    """One session.

    `waiters` has how many wait for a number, the latest request last; `latest` is the segment from
    which it reads ahead, None for no read-ahead; `turn` is when its last job began.
    """

    is_transcode: bool
    read_ahead: int
    count: int | None = None
    waiters: dict[int, int] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    latest: int | None = None
    turn: int = 0
    running: int | None = None
    is_blocked: bool = False
    is_closed: bool = False

    def next_request(self) -> int | None:
        """Return the number to make of those that are waited for.

        The run of numbers with the latest request comes first, as a seek leaves the others behind;
        in it the lowest number. Numbers below 0, without which nothing plays, precede all.
        """
        if not self.waiters:
            return None
        numbers = sorted(self.waiters)
        if numbers[0] < 0:
            return numbers[0]
        found = next(reversed(self.waiters))
        for number in reversed(numbers):
            if 0 < found - number <= MAX_GAP:
                found = number
        return found

    def next_ahead(self) -> int | None:
        """Return the number to make although nobody waits for it."""
        if self.latest is None:
            return None
        stop = self.latest + 1 + self.read_ahead
        if self.count is not None:
            stop = min(stop, self.count)
        numbers = range(self.latest + 1, stop)
        return next((number for number in numbers if number not in self.made), None)


class SegmentQueue(Generic[_S]):
    """The requests and jobs of all sessions of a process.

    At most `max_transcodes` jobs encode pictures at the same time, and at most one more runs in
    all: copying packets is cheap. Segments have numbers from 0; numbers below 0 are for what is
    made beside them (playlist, init segment).
    """

    def __init__(self, max_transcodes: int) -> None:
        self._max_transcodes = max_transcodes
        self._sessions: dict[_S, _State] = {}
        self._turn = 0

    def open(self, session: _S, *, is_transcode: bool, read_ahead: int) -> None:
        """Add a session, which reads so many segments ahead."""
        self._sessions[session] = _State(is_transcode, read_ahead)

    def close(self, session: _S) -> None:
        """Forget the requests of a session; its job counts until `finish`."""
        state = self._sessions[session]
        state.is_closed = True
        state.waiters.clear()
        state.latest = None
        if state.running is None:
            del self._sessions[session]

    def set_count(self, session: _S, count: int) -> None:
        """Note that there are at most so many segments: nothing is read ahead beyond them."""
        state = self._sessions[session]
        state.count = count if state.count is None else min(count, state.count)

    def request(self, session: _S, number: int) -> None:
        """Note that somebody waits for a segment."""
        state = self._sessions[session]
        state.waiters[number] = state.waiters.pop(number, 0) + 1
        state.latest = number if number >= 0 else state.latest

    def withdraw(self, session: _S, number: int) -> bool:
        """Note that somebody waits no more; return whether it was the last one.

        Without effect after `finish` and `close`.
        """
        state = self._sessions.get(session)
        if state is None or number not in state.waiters:
            return False
        state.waiters[number] -= 1
        if state.waiters[number]:
            return False
        del state.waiters[number]
        if state.latest == number:
            state.latest = None
        return True

    def add_made(self, session: _S, number: int) -> None:
        """Note that a segment was requested that was made before: read ahead from there."""
        state = self._sessions[session]
        state.made.add(number)
        state.latest = number

    def start(self) -> Job[_S] | None:
        """Return the next job, which then runs until `finish`; None if none may start now.

        Sessions take turns.
        """
        ready = sorted(self._ready(), key=lambda one: one[1].turn)
        for choose in (_State.next_request, _State.next_ahead):
            for session, state in ready:
                number = choose(state)
                if number is not None:
                    self._turn += 1
                    state.running, state.turn = number, self._turn
                    return Job(session, number)
        return None

    def _ready(self) -> list[tuple[_S, _State]]:
        states = self._sessions.values()
        running = [one for one in states if one.running is not None and not one.is_blocked]
        if len(running) > self._max_transcodes:
            return []
        is_full = sum(one.is_transcode for one in running) >= self._max_transcodes
        return [
            (session, one)
            for session, one in self._sessions.items()
            if one.running is None and not (one.is_transcode and is_full)
        ]

    def finish(self, session: _S, *, is_made: bool) -> None:
        """End the job of a session; all who wait for its segment have it.

        Where it could not be made, nothing is read ahead until the next request.
        """
        state = self._sessions[session]
        number, state.running, state.is_blocked = state.running, None, False
        if state.is_closed:
            del self._sessions[session]
        elif number is not None:
            state.waiters.pop(number, None)
            if is_made:
                state.made.add(number)
            else:
                state.latest = None

    def put_back(self, session: _S) -> None:
        """End the job of a session without a result; who waits for its segment still does."""
        state = self._sessions[session]
        state.running, state.is_blocked = None, False
        if state.is_closed:
            del self._sessions[session]

    def overtaken(self) -> list[_S]:
        """Return the sessions whose job waits for bytes while another segment is to be made first.

        The bytes of that one may be there: after a seek beyond what is downloaded, or where it was
        read ahead up to there.
        """
        return [
            session
            for session, one in self._sessions.items()
            if one.is_blocked and one.next_request() not in {None, one.running}
        ]

    def set_blocked(self, session: _S, *, is_blocked: bool) -> None:
        """Note that the job of a session waits for bytes of its file, and leaves its place."""
        state = self._sessions.get(session)
        if state is not None and state.running is not None:
            state.is_blocked = is_blocked

    def is_busy(self, session: _S) -> bool:
        """Whether a job of the session runs, or a segment of it is waited for."""
        state = self._sessions[session]
        return state.running is not None or bool(state.waiters)
