"""Steps in a thread: in a row where they are short, beside each other where one is not."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.deadline import DEADLINE_S, wait_until
from vidnb.io.threads import run_in_thread, to_thread


def run(coro: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coro, DEADLINE_S))


def test_what_it_returns_and_raises() -> None:
    """As a call would, whatever kind of exception."""

    async def main() -> None:
        assert await run_in_thread(divmod, 7, 2) == (3, 1)
        assert await run_in_thread(int, "11", base=2) == 3
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(divmod, 1, 0)
        assert await run_in_thread(threading.get_ident) != threading.get_ident()

    run(main())


def test_short_steps_share_a_thread() -> None:
    """Many at once are done one after another; nobody wakes a second thread for them."""

    async def main() -> None:
        threads = await asyncio.gather(*(run_in_thread(threading.get_ident) for _ in range(200)))
        assert len(threads) == 200
        assert len(set(threads)) <= 3  # a busy machine may hold one of them up

    run(main())


def test_a_long_step_holds_nobody_up() -> None:
    """What waits behind it gets a thread of its own, several such too."""

    async def main() -> None:
        go = threading.Event()
        long = [asyncio.ensure_future(run_in_thread(go.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        assert await asyncio.gather(*(run_in_thread(abs, -number) for number in range(50))) == list(
            range(50)
        )
        assert not any(step.done() for step in long)
        go.set()
        assert await asyncio.gather(*long) == [True] * 3

    run(main())


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_call_waits_for_its_thread(fails: bool, times: int) -> None:
    """However often it is cancelled: the thread uses the file until then."""

    async def main() -> None:
        begun, go, ended = threading.Event(), threading.Event(), threading.Event()

        def step() -> None:
            begun.set()
            go.wait(DEADLINE_S)
            time.sleep(0.01)
            ended.set()
            if fails:
                raise ValueError("nobody's")

        task = asyncio.ensure_future(run_in_thread(step))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    run(main())


def test_cancelled_before_it_begins_it_is_done_all_the_same() -> None:
    """A step that waits in the row is not taken out of it: closing a file must not be skipped."""

    async def main() -> None:
        go = threading.Event()
        first = asyncio.ensure_future(run_in_thread(go.wait, 20))
        done: list[int] = []
        second = asyncio.ensure_future(run_in_thread(done.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert done == [1]
        go.set()
        await first

    run(main())


def test_two_loops_do_not_wait_for_each_other() -> None:
    """Each loop has a row of its own, one after another and side by side."""
    for _ in range(3):
        run(once())


async def once() -> None:
    assert await run_in_thread(abs, -1) == 1


@pytest.mark.parametrize("call", [run_in_thread, to_thread])
def test_a_loop_whose_executor_refuses_work_gets_a_thread_for_it(
    call: Callable[..., Coroutine[Any, Any, Any]],
) -> None:
    """A caller's loop after the end of the main thread, when the standard executor is shut down."""

    async def main() -> None:
        executor = ThreadPoolExecutor()
        asyncio.get_running_loop().set_default_executor(executor)
        executor.shutdown()
        for _ in range(2):
            name = await call(lambda: threading.current_thread().name)
            assert name == "vidnb-late-worker-1"
            with pytest.raises(ZeroDivisionError):
                await call(divmod, 1, 0)

    run(main())
    wait_until(lambda: not any(t.name.startswith("vidnb-late") for t in threading.enumerate()))
