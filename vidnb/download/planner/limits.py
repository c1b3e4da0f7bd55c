"""How many connections the process may hold, per host and in all, and what hosts refused.

Bookkeeping only: no lock, no clock, no waiting. Who holds a connection took it here; who wants
one and gets none is written down as a waiter, and served first come, first served. A *host* is
any hashable name of an origin; a caller says what it takes for one (scheme, name and port).
"""

from collections import Counter
from collections.abc import Hashable

__all__ = ["IN_ALL", "PER_HOST", "ConnectionLimits"]

PER_HOST = 16
"""Connections to one host: as many as one transfer may open."""

IN_ALL = 64
"""Connections of the process: far below any limit of open files."""


class ConnectionLimits:
    """The connections of a process; `ValueError` for limits below 1."""

    def __init__(self, *, per_host: int = PER_HOST, in_all: int = IN_ALL) -> None:
        if per_host < 1 or in_all < 1:
            raise ValueError(f"both limits must be at least 1, not {per_host!r} and {in_all!r}")
        self._per_host = per_host
        self._in_all = in_all
        self._held: Counter[Hashable] = Counter()
        self._held_in_all = 0
        self._waiters: dict[Hashable, Hashable] = {}  # waiter: its host, in the order they came
        self._waiting: Counter[Hashable] = Counter()  # of those; asked for with every piece
        self._refused: dict[Hashable, int] = {}

    def held(self, host: Hashable) -> int:
        """Return how many connections to `host` are taken."""
        return self._held[host]

    def take(self, host: Hashable) -> bool:
        """Take a connection to `host`, if both limits allow it; waiters are not asked."""
        if self._free(host) < 1:
            return False
        self._held[host] += 1
        self._held_in_all += 1
        return True

    def give_back(self, host: Hashable) -> None:
        """Give a connection back; `ValueError` if none to `host` is taken."""
        if not self._held[host]:
            raise ValueError(f"no connection to {host!r} is taken")
        self._held[host] -= 1
        self._held_in_all -= 1
        if not self._held[host]:
            del self._held[host]  # a process meets many hosts

    def wait(self, waiter: Hashable, host: Hashable) -> None:
        """Line up for a connection to `host`; who waits already keeps the place."""
        if waiter not in self._waiters:
            self._waiters[waiter] = host
            self._waiting[host] += 1

    def leave(self, waiter: Hashable) -> None:
        """Leave the line, served or not; who does not wait may leave too."""
        if waiter in self._waiters:
            host = self._waiters.pop(waiter)
            self._waiting[host] -= 1
            if not self._waiting[host]:
                del self._waiting[host]

    def next_waiter(self) -> Hashable | None:
        """Return who came first of those that `take` would serve now, None if nobody is."""
        for waiter, host in self._waiters.items():
            if self._free(host) > 0:
                return waiter
        return None

    def waiting(self, host: Hashable) -> int:
        """Return how many wait for a connection to `host`."""
        return self._waiting[host]

    def spare(self, host: Hashable) -> int:
        """Return how many more connections to `host` may be taken when the waiters are served.

        A negative number says how many wait in vain: who holds several should give one back.
        Waiters for another host count where both limits concern them, so not if theirs is full.
        """
        rivals = sum(
            waiting
            for theirs, waiting in self._waiting.items()
            if theirs == host or self._held[theirs] < self._per_host
        )
        return min(
            self._per_host - self._held[host] - self.waiting(host),
            self._in_all - self._held_in_all - rivals,
        )

    def refused(self, host: Hashable, working: int) -> None:
        """Remember that `host` refused one more connection when `working` of them worked."""
        self._refused[host] = max(1, min(working, self._refused.get(host, working)))

    def refused_parallel(self, host: Hashable) -> int | None:
        """Return the most connections at once that worked where one more was refused, or None."""
        return self._refused.get(host)

    def _free(self, host: Hashable) -> int:
        return min(self._per_host - self._held[host], self._in_all - self._held_in_all)
