"""Which segment is made next, of which session: decisions without threads, clock and I/O.

A session makes one segment at a time. Those that are waited for come first, then those that follow
the segment that was delivered last (read-ahead).
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
class _Request:
    """A number that is waited for: how many wait, and when the last of them began to."""

    order: int
    waiters: int = 0


@dataclass(slots=True)
class _State:
    """One session.

    `delivered` is the segment from which it reads ahead, None for no read-ahead, and `order` when
    it was requested; `turn` is when the last job began.
    """

    is_transcode: bool
    read_ahead: int
    count: int | None = None
    requests: dict[int, _Request] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    delivered: int | None = None
    order: int = 0
    turn: int = 0
    running: int | None = None
    is_blocked: bool = False
    is_closed: bool = False

    def next_request(self) -> int | None:
        """Return the number to make of those that are waited for.

        The run of numbers with the latest request comes first, as a seek leaves the others behind;
        in it the lowest number. Numbers below 0, without which nothing plays, precede all.
        """
        if not self.requests:
            return None
        numbers = sorted(self.requests)
        if numbers[0] < 0:
            return numbers[0]
        found = max(numbers, key=lambda number: self.requests[number].order)
        for number in reversed(numbers):
            if number < found and found - number <= MAX_GAP:
                found = number
        return found

    def next_ahead(self) -> int | None:
        """Return the number to make although nobody waits for it."""
        if self.delivered is None:
            return None
        first = self.delivered + 1
        stop = first + self.read_ahead
        if self.count is not None:
            stop = min(stop, self.count)
        return next((number for number in range(first, stop) if number not in self.made), None)

    def deliver(self, number: int, order: int) -> None:
        """Read ahead from `number` on, unless a later request was delivered before."""
        if number >= 0 and order >= self.order:
            self.delivered, self.order = number, order


class SegmentQueue(Generic[_S]):
    """The requests and jobs of all sessions of a process.

    At most `max_transcodes` jobs encode pictures at the same time, and at most one more runs in
    all: copying packets is cheap. Segments have numbers from 0; numbers below 0 are for what is
    made beside them (playlist, init segment).
    """

    def __init__(self, max_transcodes: int) -> None:
        self._max_transcodes = max_transcodes
        self._sessions: dict[_S, _State] = {}
        self._clock = 0

    def open(self, session: _S, *, is_transcode: bool, read_ahead: int) -> None:
        """Add a session, which reads so many segments ahead."""
        self._sessions[session] = _State(is_transcode, read_ahead)

    def close(self, session: _S) -> None:
        """Forget the requests of a session; its job counts until `finish`."""
        state = self._sessions[session]
        state.is_closed = True
        state.requests.clear()
        state.delivered = None
        if state.running is None:
            del self._sessions[session]

    def set_count(self, session: _S, count: int) -> None:
        """Set the number of segments, beyond which nothing is read ahead."""
        self._sessions[session].count = count

    def request(self, session: _S, number: int) -> None:
        """Note that somebody waits for a segment."""
        request = self._sessions[session].requests.setdefault(number, _Request(0))
        request.order = self._tick()
        request.waiters += 1

    def withdraw(self, session: _S, number: int) -> bool:
        """Note that somebody waits no more; return whether it was the last one.

        Without effect after `finish` and `close`.
        """
        state = self._sessions.get(session)
        request = state.requests.get(number) if state else None
        if state is None or request is None:
            return False
        request.waiters -= 1
        if request.waiters:
            return False
        del state.requests[number]
        return True

    def watch(self, session: _S, number: int) -> None:
        """Note that a segment was delivered that was made before: read ahead from there."""
        state = self._sessions[session]
        state.made.add(number)
        state.deliver(number, self._tick())

    def start(self) -> Job[_S] | None:
        """Return the next job, which then runs until `finish`; None if none may start now.

        Sessions take turns.
        """
        ready = [
            (session, state)
            for session, state in self._sessions.items()
            if state.running is None and self._has_room(state)
        ]
        ready.sort(key=lambda one: one[1].turn)
        for choose in (_State.next_request, _State.next_ahead):
            for session, state in ready:
                number = choose(state)
                if number is not None:
                    state.running = number
                    state.turn = self._tick()
                    return Job(session, number)
        return None

    def finish(self, session: _S, *, is_made: bool) -> None:
        """End the job of a session; all who wait for its segment have it.

        Where it could not be made, nothing is read ahead until the next request.
        """
        state = self._sessions[session]
        number, state.running, state.is_blocked = state.running, None, False
        if state.is_closed:
            del self._sessions[session]
        elif number is not None:
            request = state.requests.pop(number, None)
            if not is_made:
                state.delivered = None
                return
            state.made.add(number)
            if request is not None:
                state.deliver(number, request.order)

    def set_blocked(self, session: _S, *, is_blocked: bool) -> None:
        """Note that the job of a session waits for bytes of its file, and leaves its place."""
        state = self._sessions.get(session)
        if state is not None and state.running is not None:
            state.is_blocked = is_blocked

    def is_busy(self, session: _S) -> bool:
        """Whether a job of the session runs, or a segment of it is waited for."""
        state = self._sessions[session]
        return state.running is not None or bool(state.requests)

    def _has_room(self, state: _State) -> bool:
        running = [
            one.is_transcode
            for one in self._sessions.values()
            if one.running is not None and not one.is_blocked
        ]
        if state.is_transcode and sum(running) >= self._max_transcodes:
            return False
        return len(running) <= self._max_transcodes

    def _tick(self) -> int:
        self._clock += 1
        return self._clock
