"""Connection slots: acquired, waited for and released, across event loops and forks."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from vidnb.download.planner.limits import ConnectionLimits
from vidnb.download.slots import ConnectionSlots, slots


def run(coro: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coro, DEADLINE_S))


async def wait_for_waiters(shared: ConnectionSlots, host: str, number: int) -> None:
    """Let other tasks run until `number` of them wait for a slot."""
    while shared.available(host) != -number:
        await asyncio.sleep(0)


async def two_waiters(shared: ConnectionSlots) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
    """Acquire the only slot and let two more tasks wait for it in order."""
    await shared.acquire("a")
    first = asyncio.create_task(shared.acquire("a"))
    await wait_for_waiters(shared, "a", 1)
    second = asyncio.create_task(shared.acquire("a"))
    await wait_for_waiters(shared, "a", 2)
    return first, second


def test_the_longest_waiting_request_is_served_first() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        await shared.acquire("a")
        served: list[int] = []

        async def wait(number: int) -> None:
            await shared.acquire("a")
            served.append(number)

        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(wait(number)))
            await wait_for_waiters(shared, "a", number + 1)
        assert not shared.try_acquire("a")
        for number in range(3):
            assert served == list(range(number))
            shared.release("a")
            await waiting[number]
        assert shared.available("a") == 0
        shared.release("a")
        assert shared.available("a") == 1

    run(main())


def test_waiting_for_one_host_does_not_block_another() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1, max_total=2))
        await shared.acquire("a")
        waiting = asyncio.create_task(shared.acquire("a"))
        await wait_for_waiters(shared, "a", 1)
        await asyncio.wait_for(shared.acquire("b"), DEADLINE_S)
        shared.release("a")
        await waiting

    run(main())


def test_a_cancelled_waiter_is_skipped() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        first, second = await two_waiters(shared)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert shared.available("a") == -1
        shared.release("a")
        await second

    run(main())


def test_a_waiter_served_and_cancelled_in_one_step_has_no_slot() -> None:
    """Both in one iteration of the loop; the next waiter gets the slot."""

    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        first, second = await two_waiters(shared)
        shared.release("a")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert shared.available("a") == 0

    run(main())


def test_a_waiter_on_another_loop_is_woken() -> None:
    shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
    assert shared.try_acquire("a")
    served = threading.Event()

    def elsewhere() -> None:
        asyncio.run(shared.acquire("a"))
        served.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    async def main() -> None:
        await wait_for_waiters(shared, "a", 1)

    run(main())
    assert not served.is_set()
    shared.release("a")
    thread.join(DEADLINE_S)
    assert served.is_set()


def test_a_waiter_on_a_closed_loop_is_skipped() -> None:
    """A loop closed before its tasks have ended, as some embedders do."""
    shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
    assert shared.try_acquire("a")
    lost = asyncio.new_event_loop()
    task = lost.create_task(shared.acquire("a"))
    lost.run_until_complete(wait_for_waiters(shared, "a", 1))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # intended here
    lost.close()
    shared.release("a")
    assert shared.available("a") == 1


def test_a_reclaimed_slot_is_reused_before_any_waiter() -> None:
    """A download that changes its connection does not queue again."""

    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        share = shared.share("a")
        assert share.try_acquire(1)
        assert share.has_slot(1)
        waiting = asyncio.create_task(shared.acquire("a"))
        await wait_for_waiters(shared, "a", 1)
        assert not share.try_acquire(2)
        share.reclaim(1)
        assert share.available == 0  # one reclaimed slot, and one waiter for it
        assert share.try_acquire(2)
        assert (share.has_slot(1), share.has_slot(2)) == (False, True)
        share.release_unused()
        assert not waiting.done()
        share.reclaim(7)  # it has no slot
        share.release_unused()
        share.reclaim(2)
        share.release_unused()
        await waiting

    run(main())


def test_closing_a_share_releases_all_slots() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=3))
        share = shared.share("a")
        assert [share.try_acquire(number) for number in range(4)] == [True, True, True, False]
        share.reclaim(0)
        share.close()
        assert shared.available("a") == 3

    run(main())


def test_the_connection_limit_of_a_host_is_remembered() -> None:
    shared = ConnectionSlots()
    share = shared.share("a")
    assert share.host_limit is None
    share.record_refusal(2)
    assert shared.share("a").host_limit == 2
    assert shared.share("b").host_limit is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_starts_with_all_slots() -> None:
    """Also if another thread of the parent holds the lock."""
    before = slots.available("fork")
    assert slots.try_acquire("fork")
    with slots._lock:
        child = os.fork()
        if not child:
            os._exit(0 if slots.available("fork") == before else 1)
    slots.release("fork")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
