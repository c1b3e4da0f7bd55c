"""Connection limits of the process, per host and in total, with a first-come first-served queue.

Bookkeeping only: no lock, no clock, no waiting. A *host* is any hashable key of an origin (callers
use scheme, name and port). The observed limits of hosts that refused a connection are stored too.
"""

from collections import Counter
from collections.abc import Hashable

__all__ = ["MAX_PER_HOST", "MAX_TOTAL", "ConnectionLimits"]

MAX_PER_HOST = 16
"""Connections to one host: as many as one transfer may open."""

MAX_TOTAL = 64
"""Connections of the process: far below any limit of open files."""


class ConnectionLimits:
    """Counts the connections of a process; `ValueError` for limits below 1."""

    def __init__(self, *, max_per_host: int = MAX_PER_HOST, max_total: int = MAX_TOTAL) -> None:
        if max_per_host < 1 or max_total < 1:
            raise ValueError(
                f"both limits must be at least 1, not {max_per_host!r} and {max_total!r}"
            )
        self._max_per_host = max_per_host
        self._max_total = max_total
        self._in_use: Counter[Hashable] = Counter()
        self._total_in_use = 0
        self._queue: dict[Hashable, Hashable] = {}  # waiter: host, in order of arrival
        self._queued: Counter[Hashable] = Counter()  # per host; read for every chunk received
        self._host_limits: dict[Hashable, int] = {}

    def acquire(self, host: Hashable) -> bool:
        """Acquire a connection to `host` if both limits allow it; ignores the queue."""
        if self._free(host) < 1:
            return False
        self._in_use[host] += 1
        self._total_in_use += 1
        return True

    def release(self, host: Hashable) -> None:
        """Release a connection to `host`; `ValueError` if none is acquired."""
        if not self._in_use[host]:
            raise ValueError(f"no connection to {host!r} is acquired")
        self._in_use[host] -= 1
        self._total_in_use -= 1
        if not self._in_use[host]:
            del self._in_use[host]  # bounds the memory of a process that uses many hosts

    def enqueue(self, waiter: Hashable, host: Hashable) -> None:
        """Queue `waiter` for a connection to `host`; one that is queued keeps its position."""
        if waiter not in self._queue:
            self._queue[waiter] = host
            self._queued[host] += 1

    def dequeue(self, waiter: Hashable) -> None:
        """Remove `waiter` from the queue if it is there."""
        if waiter in self._queue:
            host = self._queue.pop(waiter)
            self._queued[host] -= 1
            if not self._queued[host]:
                del self._queued[host]

    def next_waiter(self) -> Hashable | None:
        """Return the first waiter for which `acquire` would succeed now, or None."""
        for waiter, host in self._queue.items():
            if self._free(host) > 0:
                return waiter
        return None

    def queued(self, host: Hashable) -> int:
        """Return the number of waiters for `host`."""
        return self._queued[host]

    def available(self, host: Hashable) -> int:
        """Return how many connections to `host` remain once all waiters are served.

        A negative number is the shortage: a transfer with several connections should release one.
        Waiters for another host count against the total limit unless their own host is full.
        """
        competing = sum(
            queued
            for other, queued in self._queued.items()
            if other == host or self._in_use[other] < self._max_per_host
        )
        return min(
            self._max_per_host - self._in_use[host] - self.queued(host),
            self._max_total - self._total_in_use - competing,
        )

    def record_host_limit(self, host: Hashable, working: int) -> None:
        """Note that `host` refused one more connection while `working` of them worked."""
        self._host_limits[host] = max(1, min(working, self._host_limits.get(host, working)))

    def host_limit(self, host: Hashable) -> int | None:
        """Return the lowest observed limit of `host`, or None if it refused no connection."""
        return self._host_limits.get(host)

    def _free(self, host: Hashable) -> int:
        return min(self._max_per_host - self._in_use[host], self._max_total - self._total_in_use)
