"""The connection limits of the process, shared by its downloads on any thread and event loop.

`planner.limits` decides; this adds the lock, and wakes a waiter on one event loop when a slot is
released on another. A *slot* is the permission for one connection. There is one `slots` per
process, since a host counts connections by address and not by event loop.
"""

import asyncio
import os
import threading
from collections.abc import Hashable
from contextlib import suppress

from vidnb.download.planner.limits import ConnectionLimits

__all__ = ["ConnectionSlots", "SlotShare", "slots"]


class _Waiter:
    """One waiting request; `has_slot` is protected by the lock, `woken` belongs to its loop."""

    def __init__(self, host: Hashable) -> None:
        self.host = host
        self.has_slot = False
        self._loop = asyncio.get_running_loop()
        self.woken: asyncio.Future[None] = self._loop.create_future()

    def wake(self) -> bool:
        """Wake it; False if its loop is closed."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        return True

    def _wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class ConnectionSlots:
    """A `ConnectionLimits` that any thread and any event loop may use."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self._lock = threading.Lock()
        self._limits = limits or ConnectionLimits()

    def share(self, host: Hashable) -> "SlotShare":
        """Return the still empty share of one download in the slots of `host`."""
        return SlotShare(self, host)

    def try_acquire(self, host: Hashable) -> bool:
        """Acquire a slot if one is free. A free slot is given to waiters first, at its release."""
        with self._lock:
            return self._limits.acquire(host)

    async def acquire(self, host: Hashable) -> None:
        """Acquire a slot in the order of the calls; a cancelled call acquires none."""
        with self._lock:
            if self._limits.acquire(host):
                return
            waiter = _Waiter(host)
            self._limits.enqueue(waiter, host)
        try:
            await waiter.woken
        except BaseException:
            with self._lock:
                if waiter.has_slot:
                    self._limits.release(host)
                    self._assign()
                else:
                    self._limits.dequeue(waiter)
            raise

    def release(self, host: Hashable) -> None:
        """Release a slot; the longest waiting request that may use it is woken."""
        with self._lock:
            self._limits.release(host)
            self._assign()

    def available(self, host: Hashable) -> int:
        """Return the free slots of `host`; a negative number counts waiters without one."""
        with self._lock:
            return self._limits.available(host)

    def record_refusal(self, host: Hashable, working: int) -> None:
        """Record that `host` refused one more connection while `working` were open."""
        with self._lock:
            self._limits.record_host_limit(host, working)

    def host_limit(self, host: Hashable) -> int | None:
        """Return the most connections that `host` accepted at once, None if it refused none."""
        with self._lock:
            return self._limits.host_limit(host)

    def reset_after_fork(self) -> None:
        """Forget the parent's connections and waiters; called in a forked child."""
        self._lock = threading.Lock()  # a thread of the parent may hold the old one
        self._limits = ConnectionLimits()

    def _assign(self) -> None:
        while isinstance(waiter := self._limits.next_waiter(), _Waiter):
            self._limits.dequeue(waiter)
            if waiter.wake():
                waiter.has_slot = self._limits.acquire(waiter.host)


class SlotShare:
    """The slots of one download, by the id of the request that uses each; for one event loop.

    A slot whose request has ended is reclaimed for the next request that starts in the same step,
    so that a download which changes connections does not queue behind others.
    """

    def __init__(self, slots: ConnectionSlots, host: Hashable) -> None:
        self._slots = slots
        self._host = host
        self._used: set[int] = set()
        self._reclaimed = 0

    @property
    def host_limit(self) -> int | None:
        """The most connections that the host accepted at once, None if it refused none."""
        return self._slots.host_limit(self._host)

    def record_refusal(self, working: int) -> None:
        """Record for later downloads that the host accepted no more than `working`."""
        self._slots.record_refusal(self._host, working)

    @property
    def available(self) -> int:
        """How many more requests may start, including on reclaimed slots."""
        return self._slots.available(self._host) + self._reclaimed

    def reclaim(self, request_id: int) -> None:
        """Keep the slot, if any, of a request that has ended until `release_unused`."""
        if request_id in self._used:
            self._used.remove(request_id)
            self._reclaimed += 1

    def has_slot(self, request_id: int) -> bool:
        """Whether a request has a slot."""
        return request_id in self._used

    def try_acquire(self, request_id: int) -> bool:
        """Acquire a reclaimed or a free slot for a request without waiting."""
        if self._reclaimed:
            self._reclaimed -= 1
        elif not self._slots.try_acquire(self._host):
            return False
        self._used.add(request_id)
        return True

    async def acquire(self, request_id: int) -> None:
        """Wait for a slot for a request."""
        await self._slots.acquire(self._host)
        self._used.add(request_id)

    def release_unused(self) -> None:
        """Release the reclaimed slots that no new request uses."""
        while self._reclaimed:
            self._reclaimed -= 1
            self._slots.release(self._host)

    def close(self) -> None:
        """Release all slots."""
        for request_id in tuple(self._used):
            self.reclaim(request_id)
        self.release_unused()


slots = ConnectionSlots()
with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=slots.reset_after_fork)
