"""The connections of the process: taken, waited for and given back, across loops and forks."""

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


async def in_line(shared: ConnectionSlots, host: str, number: int) -> None:
    """Let others run until so many wait for a slot."""
    while shared.spare(host) != -number:
        await asyncio.sleep(0)


async def two_in_line(shared: ConnectionSlots) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
    """Take the only slot and let two more wait for it, one behind the other."""
    await shared.take("a")
    first = asyncio.create_task(shared.take("a"))
    await in_line(shared, "a", 1)
    second = asyncio.create_task(shared.take("a"))
    await in_line(shared, "a", 2)
    return first, second


def test_who_waits_longest_is_served_first() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        await shared.take("a")
        served: list[int] = []

        async def wait(number: int) -> None:
            await shared.take("a")
            served.append(number)

        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(wait(number)))
            await in_line(shared, "a", number + 1)
        assert not shared.try_take("a")
        for number in range(3):
            assert served == list(range(number))
            shared.give_back("a")
            await waiting[number]
        assert shared.spare("a") == 0
        shared.give_back("a")
        assert shared.spare("a") == 1

    run(main())


def test_another_host_is_not_held_up() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1, max_total=2))
        await shared.take("a")
        waiting = asyncio.create_task(shared.take("a"))
        await in_line(shared, "a", 1)
        await asyncio.wait_for(shared.take("b"), DEADLINE_S)
        shared.give_back("a")
        await waiting

    run(main())


def test_who_gives_up_waiting_is_passed_by() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        first, second = await two_in_line(shared)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert shared.spare("a") == -1
        shared.give_back("a")
        await second

    run(main())


def test_who_is_served_and_cancelled_at_once_holds_none() -> None:
    """Both in one turn of the loop: the slot goes on to the next."""

    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        first, second = await two_in_line(shared)
        shared.give_back("a")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert shared.spare("a") == 0

    run(main())


def test_a_waiter_on_another_loop_is_woken() -> None:
    shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
    assert shared.try_take("a")
    served = threading.Event()

    def elsewhere() -> None:
        asyncio.run(shared.take("a"))
        served.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    async def main() -> None:
        await in_line(shared, "a", 1)

    run(main())
    assert not served.is_set()
    shared.give_back("a")
    thread.join(DEADLINE_S)
    assert served.is_set()


def test_a_waiter_whose_loop_is_gone_is_passed_by() -> None:
    """A loop closed without its tasks' ends, as some embedders do."""
    shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
    assert shared.try_take("a")
    lost = asyncio.new_event_loop()
    task = lost.create_task(shared.take("a"))
    lost.run_until_complete(in_line(shared, "a", 1))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # as it is meant here
    lost.close()
    shared.give_back("a")
    assert shared.spare("a") == 1


def test_a_share_swaps_a_slot_under_the_eyes_of_those_who_wait() -> None:
    """A download that changes its connection does not lose its place."""

    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=1))
        share = shared.share("a")
        assert share.hand_over(1)
        assert share.holds(1)
        waiting = asyncio.create_task(shared.take("a"))
        await in_line(shared, "a", 1)
        assert not share.hand_over(2)
        share.loosen(1)
        assert share.spare == 0  # this one, and somebody who waits for it
        assert share.hand_over(2)
        assert (share.holds(1), share.holds(2)) == (False, True)
        share.settle()
        assert not waiting.done()
        share.loosen(7)  # it never had one
        share.settle()
        share.loosen(2)
        share.settle()
        await waiting

    run(main())


def test_a_share_gives_everything_back() -> None:
    async def main() -> None:
        shared = ConnectionSlots(ConnectionLimits(max_per_host=3))
        share = shared.share("a")
        assert [share.hand_over(number) for number in range(4)] == [True, True, True, False]
        share.loosen(0)
        share.close()
        assert shared.spare("a") == 3

    run(main())


def test_what_a_host_refused_is_remembered() -> None:
    shared = ConnectionSlots()
    share = shared.share("a")
    assert share.host_takes is None
    share.refused(2)
    assert shared.share("a").host_takes == 2
    assert shared.share("b").host_takes is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_begins_with_all_of_them() -> None:
    """Also where another thread of the parent held the lock at that moment."""
    before = slots.spare("fork")
    assert slots.try_take("fork")
    with slots._lock:
        child = os.fork()
        if not child:
            os._exit(0 if slots.spare("fork") == before else 1)
    slots.give_back("fork")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
