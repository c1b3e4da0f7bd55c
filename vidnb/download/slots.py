"""The connections of this process, shared by all its downloads: who may open one, who waits.

`core.quota` decides; this is its lock, and how a waiter on one event loop hears of what was given
back on another. There is one `slots` of the process, since a host counts connections by address and
not by loop.
"""

import asyncio
import os
import threading
from collections.abc import Hashable
from contextlib import suppress

from vidnb.download.planner.limits import ConnectionLimits

__all__ = ["ConnectionSlots", "SlotShare", "slots"]


class _Waiter:
    """One place in the line; `is_served` under the lock, `woken` on its loop."""

    def __init__(self, host: Hashable) -> None:
        self.host = host
        self.is_served = False
        self._loop = asyncio.get_running_loop()
        self.woken: asyncio.Future[None] = self._loop.create_future()

    def wake(self) -> bool:
        """Let it go on; False if its loop is gone, and it with it."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        return True

    def _wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class ConnectionSlots:
    """A `ConnectionLimits` that any thread and any event loop may use. A *slot* is one connection."""

    def __init__(self, quota: ConnectionLimits | None = None) -> None:
        self._lock = threading.Lock()
        self._quota = quota or ConnectionLimits()

    def share(self, host: Hashable) -> "SlotShare":
        """Return what one download holds of the slots to `host`: nothing yet."""
        return SlotShare(self, host)

    def try_take(self, host: Hashable) -> bool:
        """Take a slot if there is one. Nobody is passed by: who waits is served at once."""
        with self._lock:
            return self._quota.acquire(host)

    async def take(self, host: Hashable) -> None:
        """Take a slot, first come, first served; whoever is cancelled meanwhile holds none."""
        with self._lock:
            if self._quota.acquire(host):
                return
            waiter = _Waiter(host)
            self._quota.enqueue(waiter, host)
        try:
            await waiter.woken
        except BaseException:
            with self._lock:
                if waiter.is_served:
                    self._quota.release(host)
                    self._serve()
                else:
                    self._quota.dequeue(waiter)
            raise

    def give_back(self, host: Hashable) -> None:
        """Give a slot back, to whoever waits longest for one."""
        with self._lock:
            self._quota.release(host)
            self._serve()

    def spare(self, host: Hashable) -> int:
        """Return how many more there are for `host`; below 0, so many wait in vain."""
        with self._lock:
            return self._quota.available(host)

    def refused(self, host: Hashable, working: int) -> None:
        """Remember that `host` refused one more connection when `working` of them worked."""
        with self._lock:
            self._quota.record_host_limit(host, working)

    def refused_parallel(self, host: Hashable) -> int | None:
        """Return the most connections at once that worked where one more was refused, or None."""
        with self._lock:
            return self._quota.host_limit(host)

    def forget(self) -> None:
        """In a forked child: the connections, and those who wait for one, are the parent's."""
        self._lock = threading.Lock()  # the old one may be held by a thread that is not here
        self._quota = ConnectionLimits()

    def _serve(self) -> None:
        while isinstance(waiter := self._quota.next_waiter(), _Waiter):
            self._quota.dequeue(waiter)
            if waiter.wake():
                waiter.is_served = self._quota.acquire(waiter.host)


class SlotShare:
    """The slots of one download, by the number of the request that holds each; on one loop.

    A request that ends within an answer to the planner's may hand its slot to the next one of the
    same answer, so that a download never loses its place while it changes connections.
    """

    def __init__(self, slots: ConnectionSlots, host: Hashable) -> None:
        self._slots = slots
        self._host = host
        self._held: set[int] = set()
        self._loose = 0

    @property
    def host_takes(self) -> int | None:
        """How many connections at once the host is known to take, None if it refused none."""
        return self._slots.refused_parallel(self._host)

    def refused(self, working: int) -> None:
        """Remember for the next download that the host took no more than these."""
        self._slots.refused(self._host, working)

    @property
    def spare(self) -> int:
        """How many more requests may be made, those that just ended given back."""
        return self._slots.spare(self._host) + self._loose

    def loosen(self, request_id: int) -> None:
        """Take the slot, if any, of a request that has ended, for the next one or `settle`."""
        if request_id in self._held:
            self._held.remove(request_id)
            self._loose += 1

    def holds(self, request_id: int) -> bool:
        """Tell whether a request has a slot."""
        return request_id in self._held

    def hand_over(self, request_id: int) -> bool:
        """Give a request a slot without waiting, if there is one."""
        if self._loose:
            self._loose -= 1
        elif not self._slots.try_take(self._host):
            return False
        self._held.add(request_id)
        return True

    async def wait_for(self, request_id: int) -> None:
        """Give a request a slot as soon as there is one."""
        await self._slots.take(self._host)
        self._held.add(request_id)

    def settle(self) -> None:
        """Give back what was loosened and not handed over."""
        while self._loose:
            self._loose -= 1
            self._slots.give_back(self._host)

    def close(self) -> None:
        """Give back everything."""
        for request_id in tuple(self._held):
            self.loosen(request_id)
        self.settle()


slots = ConnectionSlots()
with suppress(AttributeError):  # where there is no fork (Windows), there is nothing to forget
    os.register_at_fork(after_in_child=slots.forget)
