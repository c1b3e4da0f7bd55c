"""The rows of a batch that wait and run: a fair queue by host with limits, retries and deadlines.

Hosts that have a row and a free slot take turns, so a slow host delays only its own rows. A *slot*
is the permission for one connection to a host; a *lane* is one or more rows of a host that use one
slot one after another. A host that answers 429 or 503, or sends Retry-After, gets half of its slots
and a pause; successes give them back one at a time (additive increase, multiplicative decrease, RFC
5681 section 3.1). The clock (s, monotonic) and the jitter are arguments.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from vidnb.download.planner.retry import Failure, RetryPolicy

__all__ = ["BatchQueue", "Lane", "SlowedHost", "StartedRow", "is_overload"]

_T = TypeVar("_T")

_OVERLOADED = frozenset({429, 503})
"""Too Many Requests (RFC 6585 section 4) and Service Unavailable (RFC 9110 section 15.6.4)."""


def is_overload(failure: Failure) -> bool:
    """Whether a failure says that its host gets too many requests."""
    return failure.status in _OVERLOADED or failure.retry_after_s is not None


@dataclass(slots=True, eq=False)
class _Entry(Generic[_T]):
    """A row in the queue; `failures` are those since it last made progress."""

    row: _T
    attempts: int = 0
    failures: int = 0
    kept_bytes: int = 0
    deadline_s: float | None = None


@dataclass(slots=True, eq=False)
class _Host(Generic[_T]):
    """The rows and slots of one host; `held` counts its rows until they are finished.

    `slowed_lane` is the newest lane that had begun when the host was last slowed down: what an
    older one reports is about the time before.
    """

    name: str
    limit: int
    waiting: deque[_Entry[_T]] = field(default_factory=deque)
    held: int = 0
    running: int = 0
    successes: int = 0
    slowdowns: int = 0
    slowed_lane: int = 0
    paused_until_s: float = 0.0
    is_ready: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StartedRow(Generic[_T]):
    """A row that runs: its attempt number (from 1), when it started, and its deadline (s)."""

    row: _T
    host: str
    attempt: int
    started_s: float
    deadline_s: float | None
    lane: "Lane[_T]" = field(repr=False)
    entry: _Entry[_T] = field(repr=False)


@dataclass(slots=True, eq=False)
class Lane(Generic[_T]):
    """Rows of one host that use one slot, one after another; `number` grows from 1."""

    number: int
    host: str
    rows: list[StartedRow[_T]] = field(default_factory=list)
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class SlowedHost:
    """A host that is slowed down: its present slots, and the rest of its pause (s)."""

    host: str
    limit: int
    pause_s: float


class BatchQueue(Generic[_T]):
    """The queue of one batch; `ValueError` for limits below 1.

    At most `concurrency` slots are in use, `per_host` of them for one host. `capacity` bounds the
    rows that are held (waiting, running, or between two attempts), and a quarter of it those of one
    host, so that the rows of a slow host do not keep those of others from being read. `deadline_s`
    bounds the time (s) from a row's first start to its end. `policy` decides on retries.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        per_host: int,
        policy: RetryPolicy,
        capacity: int = 4096,
        deadline_s: float | None = None,
    ) -> None:
        if concurrency < 1 or per_host < 1 or capacity < 1:
            raise ValueError("concurrency, per_host and capacity must be at least 1")
        self._concurrency = concurrency
        self._per_host = per_host
        self._policy = policy
        self._capacity = capacity
        self._share = max(1, capacity // 4)
        self._deadline_s = deadline_s
        self._hosts: dict[str, _Host[_T]] = {}
        self._ready: deque[_Host[_T]] = deque()
        self._timers: list[tuple[float, int, _Host[_T], _Entry[_T] | None]] = []
        self._timer_count = 0
        self._lanes = 0
        self._busy = 0
        self._held = 0
        self._is_closed = False
        self._running: dict[StartedRow[_T], None] = {}

    def __len__(self) -> int:
        """Return how many rows are held."""
        return self._held

    @property
    def free(self) -> int:
        """How many more rows of all hosts there is room for."""
        return 0 if self._is_closed else self._capacity - self._held

    @property
    def is_low(self) -> bool:
        """Whether fewer rows are held than one host may have."""
        return self._held < self._share

    @property
    def is_starved(self) -> bool:
        """Whether a slot is free and no host has a row for it."""
        return self._busy < self._concurrency and not self._ready

    @property
    def running(self) -> Iterator[StartedRow[_T]]:
        """The rows that run, those that started first first."""
        return iter(self._running)

    def room(self, host: str) -> int:
        """Return how many rows of this host `add` accepts now."""
        known = self._hosts.get(host)
        return min(self._share - (0 if known is None else known.held), self.free)

    def slowed(self, now_s: float) -> tuple[SlowedHost, ...]:
        """Return the hosts that have fewer slots than `per_host`, or that pause."""
        return tuple(
            SlowedHost(host.name, host.limit, max(0.0, host.paused_until_s - now_s))
            for host in self._hosts.values()
            if host.limit < self._per_host or host.paused_until_s > now_s
        )

    def add(self, row: _T, host: str) -> None:
        """Append a row; `ValueError` where there is no room."""
        if self.room(host) < 1:
            raise ValueError(f"the queue has no room for another row of {host}")
        known = self._hosts.get(host)
        if known is None:
            known = self._hosts[host] = _Host(host, self._per_host)
        known.waiting.append(_Entry(row))
        known.held += 1
        self._held += 1
        self._offer(known)

    def next(self, now_s: float, max_rows: int = 1) -> Lane[_T] | None:
        """Start the next lane, of at most `max_rows` rows; None if none can start now."""
        self._run_timers(now_s)
        if self._busy >= self._concurrency or not self._ready:
            return None
        host = self._ready.popleft()
        host.is_ready = False
        self._lanes += 1
        self._busy += 1
        host.running += 1
        lane: Lane[_T] = Lane(self._lanes, host.name)
        while host.waiting and len(lane.rows) < max_rows:
            entry = host.waiting.popleft()
            entry.attempts += 1
            if entry.deadline_s is None and self._deadline_s is not None:
                entry.deadline_s = now_s + self._deadline_s
            started = StartedRow(
                entry.row, host.name, entry.attempts, now_s, entry.deadline_s, lane, entry
            )
            lane.rows.append(started)
            self._running[started] = None
        lane.unfinished = len(lane.rows)
        self._offer(host)
        return lane

    def wake_s(self) -> float | None:
        """Return when `next` may start a row although nothing finished meanwhile; None: never."""
        return self._timers[0][0] if self._timers else None

    def finish(
        self,
        started: StartedRow[_T],
        failure: Failure | None,
        now_s: float,
        jitter: float,
        *,
        kept_bytes: int = 0,
    ) -> bool:
        """Report the end of an attempt; return whether the row will be tried again.

        `failure` is None for a success. `kept_bytes` are those that the next attempt need not
        fetch: more than before are progress, and the failures before do not count then. `jitter`
        is a number in [0, 1).
        """
        host, entry = self._hosts[started.host], started.entry
        if failure is None:
            self._raise_limit(host, started.lane.number)
            delay_s = None
        else:
            if is_overload(failure):
                self._slow_down(host, started.lane.number, failure, now_s, jitter)
            entry.failures = 1 if kept_bytes > entry.kept_bytes else entry.failures + 1
            entry.kept_bytes = kept_bytes
            delay_s = self._policy.delay_s(failure, entry.failures, jitter)
        if delay_s is not None and entry.deadline_s is not None:
            start_s = max(now_s + delay_s, host.paused_until_s)
            delay_s = delay_s if start_s < entry.deadline_s else None
        if delay_s is None or self._is_closed:
            delay_s = None
            host.held -= 1
            self._held -= 1
        else:
            self._set_timer(now_s + delay_s, host, entry)
        self._release(started, host)
        return delay_s is not None

    def put_back(self, started: StartedRow[_T]) -> None:
        """Return a row that was not tried, before `drain`; it is the next of its host."""
        host, entry = self._hosts[started.host], started.entry
        entry.attempts -= 1
        host.waiting.appendleft(entry)
        self._release(started, host)

    def drain(self) -> list[tuple[_T, int]]:
        """Remove the rows that do not run, for good; return each with its number of attempts.

        Nothing is added or tried again from now on.
        """
        self._is_closed = True
        entries = [entry for host in self._hosts.values() for entry in host.waiting]
        entries += [entry for _, _, _, entry in self._timers if entry is not None]
        self._timers.clear()
        self._ready.clear()
        for host in tuple(self._hosts.values()):
            host.waiting.clear()
            host.is_ready = False
            host.held = sum(started.host == host.name for started in self._running)
            self._forget(host)
        self._held = len(self._running)
        return [(entry.row, entry.attempts) for entry in entries]

    def _release(self, started: StartedRow[_T], host: _Host[_T]) -> None:
        del self._running[started]
        lane = started.lane
        lane.unfinished -= 1
        if not lane.unfinished:
            self._busy -= 1
            host.running -= 1
        self._offer(host)
        self._forget(host)

    def _forget(self, host: _Host[_T]) -> None:
        """Drop a host without rows, unless it is slowed down: bounds the memory of many hosts."""
        if not (host.held or host.paused_until_s or host.limit < self._per_host):
            del self._hosts[host.name]

    def _offer(self, host: _Host[_T]) -> None:
        """Let a host take its turn if it can start a row."""
        can_start = host.waiting and host.running < host.limit and not host.paused_until_s
        if can_start and not host.is_ready:
            host.is_ready = True
            self._ready.append(host)
        elif host.is_ready and not can_start:
            host.is_ready = False
            self._ready.remove(host)

    def _set_timer(self, at_s: float, host: _Host[_T], entry: _Entry[_T] | None) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (at_s, self._timer_count, host, entry))

    def _run_timers(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            _, _, host, entry = heapq.heappop(self._timers)
            if entry is not None:
                host.waiting.appendleft(entry)  # its turn has been; the last rows end sooner
            elif host.paused_until_s <= now_s:  # not prolonged since
                host.paused_until_s = 0.0
                self._forget(host)
            self._offer(host)

    def _slow_down(
        self, host: _Host[_T], lane: int, failure: Failure, now_s: float, jitter: float
    ) -> None:
        """Halve the slots of a host and let it pause; lanes that ran meanwhile count once."""
        if lane > host.slowed_lane:
            host.limit = max(1, host.limit // 2)
            host.slowdowns += 1
            host.slowed_lane = self._lanes
        host.successes = 0
        policy = replace(self._policy, attempts=host.slowdowns + 1)
        overload = Failure(
            failure.kind, failure.reason, status=429, retry_after_s=failure.retry_after_s
        )
        delay_s = policy.delay_s(overload, host.slowdowns, jitter)
        pause_s = policy.max_retry_after_s if delay_s is None else delay_s
        if pause_s and now_s + pause_s > host.paused_until_s:
            host.paused_until_s = now_s + pause_s
            self._set_timer(host.paused_until_s, host, None)

    def _raise_limit(self, host: _Host[_T], lane: int) -> None:
        """Give a slot back to a host after as many successes as it has slots."""
        if lane <= host.slowed_lane:
            return
        host.successes += 1
        if host.successes >= host.limit:
            host.successes = 0
            host.limit = min(host.limit + 1, self._per_host)
            if host.limit == self._per_host:
                host.slowdowns = 0
