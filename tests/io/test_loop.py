"""Loops on threads: results, interrupts, cleanup, forks, exits, and the caller's own loop."""

import asyncio
import contextvars
import gc
import importlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tests.deadline import DEADLINE_S
from vidnb.errors import VidnbError
from vidnb.io import calls, nested_loop
from vidnb.io import loop as loop_module
from vidnb.io.calls import Call, DaemonThreads, NoThreadError
from vidnb.io.loop import LoopThread, reenter, reentry_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread("vidnb-test")
    yield made
    made.close()


class Work:
    """A coroutine that waits until it is cancelled, and then takes its time to clean up."""

    def __init__(self, cleanup_s: float = 0.05) -> None:
        self.began = threading.Event()
        self.cleaned = False
        self._cleanup_s = cleanup_s

    async def wait(self) -> None:
        try:
            self.began.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(self._cleanup_s)
            self.cleaned = True

    async def interrupt_main(self) -> None:
        main = threading.main_thread().ident or 0
        loop = asyncio.get_running_loop()
        loop.call_soon(signal.pthread_kill, main, signal.SIGINT)
        await self.wait()


async def answer(value: object = 42) -> object:
    await asyncio.sleep(0)
    return value


async def fail() -> NoReturn:
    raise LookupError("no such thing")


def python(script: str) -> str:
    """Run a script with every warning an error; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# --- run


def test_run_returns_the_result_and_raises_the_exception(thread: LoopThread) -> None:
    assert thread.run(answer()) == 42
    with pytest.raises(LookupError, match="no such thing"):
        thread.run(fail())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_work_that_wants_to_exit_ends_itself_alone(
    thread: LoopThread, kind: type[BaseException]
) -> None:
    async def leave() -> NoReturn:
        raise kind

    other = thread.submit(asyncio.sleep(0.05, "still here"))
    with pytest.raises(kind):
        thread.run(leave())
    assert other.result(DEADLINE_S) == "still here"
    assert thread.run(answer()) == 42


def test_the_work_runs_on_one_daemon_thread_of_the_given_name(thread: LoopThread) -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    first, second = thread.run(where()), thread.run(where())
    assert first is second
    assert (first.name, first.daemon) == ("vidnb-test", True)


def test_its_executor_is_its_own_unless_another_is_given(thread: LoopThread) -> None:
    async def work() -> tuple[str, str]:
        loop, name = asyncio.get_running_loop(), lambda: threading.current_thread().name
        other = DaemonThreads("vidnb-other")
        own, others = await asyncio.to_thread(name), await loop.run_in_executor(other, name)
        other.shutdown()
        return own, others

    assert thread.run(work()) == ("vidnb-test-worker-1", "vidnb-other-worker-1")


def test_many_threads_share_the_one_loop(thread: LoopThread) -> None:
    async def where() -> int:
        return threading.get_ident()

    found: list[int] = []
    callers = [threading.Thread(target=lambda: found.append(thread.run(where()))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_an_interrupt_cancels_and_waits_for_the_cleanup(thread: LoopThread) -> None:
    work = Work()
    with pytest.raises(KeyboardInterrupt):
        thread.run(work.interrupt_main())
    assert work.cleaned
    assert thread.run(answer()) == 42


def test_a_cleanup_that_hangs_does_not_hold_the_interrupt(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CLEANUP_S", 0.1)
    work = Work(cleanup_s=10 * DEADLINE_S)
    with pytest.raises(KeyboardInterrupt):
        thread.run(work.interrupt_main())
    assert not work.cleaned


def test_a_timeout_cancels_and_waits_for_the_cleanup(thread: LoopThread) -> None:
    work = Work()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        thread.run(work.wait(), timeout_s=0.05)
    assert work.cleaned


def test_work_that_ends_in_time_does_not_time_out(thread: LoopThread) -> None:
    assert thread.run(answer(), timeout_s=DEADLINE_S) == 42


def test_the_timeout_of_the_work_itself_is_raised_as_it_is(thread: LoopThread) -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError) as caught:
        thread.run(impatient(), timeout_s=DEADLINE_S)
    assert str(caught.value) == ""


def test_ticks_come_in_the_callers_thread(thread: LoopThread) -> None:
    ticks: list[int] = []

    async def until_three() -> None:
        while len(ticks) < 3:
            await asyncio.sleep(0.01)

    thread.run(until_three(), tick=lambda: ticks.append(threading.get_ident()), tick_s=0.05)
    assert set(ticks) == {threading.get_ident()}


def test_a_failing_tick_is_logged_once_and_harms_nothing(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[int] = []

    def tick() -> NoReturn:
        ticks.append(1)
        raise ZeroDivisionError

    thread.run(asyncio.sleep(0.2), tick=tick, tick_s=0.02)
    assert len(ticks) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "progress display" in caplog.text


def test_an_interrupt_in_a_tick_cancels_like_any_other(thread: LoopThread) -> None:
    def tick() -> NoReturn:
        raise KeyboardInterrupt

    work = Work()
    with pytest.raises(KeyboardInterrupt):
        thread.run(work.wait(), tick=tick, tick_s=0.02)
    assert work.cleaned


def test_work_cancelled_from_elsewhere_raises_asyncios_error(thread: LoopThread) -> None:
    async def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        thread.run(give_up())


def test_a_blocking_call_from_the_own_thread_is_refused_at_once(thread: LoopThread) -> None:
    async def inside() -> None:
        assert thread.is_current
        thread.run(answer())

    assert not thread.is_current
    with pytest.raises(RuntimeError, match=r"vidnb-test's own thread .* await the coroutine"):
        thread.run(inside())


def test_the_callers_context_does_not_leak_in(thread: LoopThread) -> None:
    cell = contextvars.ContextVar("cell", default="none")

    async def look() -> str:
        return cell.get()

    token = cell.set("cell 3")
    try:
        assert thread.run(look()) == "none"
        assert thread.submit(look()).result(DEADLINE_S) == "none"
    finally:
        cell.reset(token)


# --- Call: an interrupt may come at any line


def test_cancelling_before_the_beginning_closes_the_coroutine() -> None:
    assert Call(answer()).cancel() is False


def test_cancelling_in_the_middle_of_the_beginning_leaves_nobody_waiting(
    thread: LoopThread,
) -> None:
    call = Call(answer())
    call._loop = thread.loop
    assert call.cancel() is True
    assert call.ended.wait(DEADLINE_S)


def test_cancelling_after_the_loop_closed_is_no_error(thread: LoopThread) -> None:
    work = Work()
    call = Call(work.wait())
    call.begin(thread.loop)
    assert work.began.wait(DEADLINE_S)
    thread.close()
    assert work.cleaned
    assert call.cancel() is True
    assert call.ended.is_set()


def test_a_closed_loop_refuses_work_and_closes_the_coroutine() -> None:
    closed = asyncio.new_event_loop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        calls.blocking(answer(), lambda: closed)


# --- submit


def test_submit_answers_a_future(thread: LoopThread) -> None:
    assert thread.submit(answer()).result(DEADLINE_S) == 42


def test_submitted_work_lives_though_nobody_holds_its_future(thread: LoopThread) -> None:
    """Asyncio holds tasks weakly; here nothing but the task itself leads to what it waits for."""
    ended = threading.Event()

    async def wait_for_nothing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    thread.submit(wait_for_nothing())
    thread.run(asyncio.sleep(0.01))
    gc.collect()
    assert not ended.is_set()
    thread.close()
    assert ended.is_set()


def test_cancelling_the_future_cancels_the_work(thread: LoopThread) -> None:
    work = Work()
    future = thread.submit(work.wait())
    assert work.began.wait(DEADLINE_S)
    assert future.cancel()
    with pytest.raises(FutureCancelledError):
        future.result(DEADLINE_S)
    thread.run(asyncio.sleep(0.1))
    assert work.cleaned


# --- arun


def test_arun_awaits_from_another_loop(thread: LoopThread) -> None:
    async def main() -> tuple[object, int]:
        async def where() -> int:
            return threading.get_ident()

        return await thread.arun(answer()), await thread.arun(where())

    value, ident = asyncio.run(main())
    assert value == 42
    assert ident != threading.get_ident()


def test_arun_raises_what_the_work_raised(thread: LoopThread) -> None:
    with pytest.raises(LookupError):
        asyncio.run(thread.arun(fail()))


def test_arun_on_the_own_loop_just_awaits(thread: LoopThread) -> None:
    assert thread.run(thread.arun(answer())) == 42


def test_cancelling_arun_cancels_and_awaits_the_cleanup(thread: LoopThread) -> None:
    work = Work()

    async def main() -> None:
        task = asyncio.create_task(thread.arun(work.wait()))
        await asyncio.to_thread(work.began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.cleaned

    asyncio.run(main())


def test_arun_does_not_wait_for_ever_for_a_cleanup(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "CLEANUP_S", 0.05)
    work = Work(cleanup_s=10 * DEADLINE_S)

    async def main() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(thread.arun(work.wait()), 0.1)

    asyncio.run(main())
    assert not work.cleaned


def test_closing_arun_while_suspended_cancels_the_work(thread: LoopThread) -> None:
    work = Work()

    async def main() -> None:
        outer = thread.arun(work.wait())
        outer.send(None)
        await asyncio.to_thread(work.began.wait, 5)
        outer.close()

    asyncio.run(main())
    # The caller's loop is closed by now; the end of the work finds nobody to tell, silently.
    thread.run(asyncio.sleep(0.2))
    assert work.cleaned


# --- the end


def test_close_cancels_tasks_then_calls_back_on_the_loop(
    thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []
    work = Work()

    async def late() -> None:
        await asyncio.sleep(0)
        order.append(f"awaited {threading.current_thread().name}")

    def first() -> None:
        order.append(f"called {threading.current_thread().name} {work.cleaned}")

    def broken() -> NoReturn:
        raise ZeroDivisionError

    thread.at_exit(first)
    thread.at_exit(broken)
    thread.at_exit(late)
    thread.submit(work.wait())
    assert work.began.wait(DEADLINE_S)
    loop = thread.loop
    thread.close()
    assert order == ["called vidnb-test True", "awaited vidnb-test"]
    assert loop.is_closed()
    assert "An exit callback failed." in caplog.text


def test_after_the_end_work_is_refused_with_a_sentence(thread: LoopThread) -> None:
    before = thread.is_closed
    thread.close()
    thread.close()
    assert (before, thread.is_closed) == (False, True)
    with pytest.raises(RuntimeError, match="has ended with the interpreter"):
        thread.run(answer())
    with pytest.raises(RuntimeError, match="has ended with the interpreter"):
        thread.submit(answer())


def test_tasks_that_do_not_end_are_left_behind(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "EXIT_S", 0.1)
    gate = threading.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.3)

    future = thread.submit(stubborn())
    thread.run(asyncio.sleep(0.01))
    loop = thread.loop
    thread.close()
    assert not future.done()
    gate.set()
    deadline_s = time.monotonic() + 30
    while not loop.is_closed():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    loop_module._keep_silent(loop, {"message": "Task was destroyed but it is pending!"})


def test_tasks_that_do_not_end_do_not_hold_the_end() -> None:
    printed = python(
        """
        import asyncio
        from vidnb.io.loop import transfers
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        transfers.submit(stubborn())
        transfers.run(asyncio.sleep(0.05))
        """
    )
    assert printed == ""


def test_a_clean_exit_prints_nothing_whatever_still_ran() -> None:
    printed = python(
        """
        import asyncio, gc, time
        from vidnb.io.loop import transfers, server
        async def read():
            reader, writer = await asyncio.open_connection(*address)
            try:
                await reader.read()
            finally:
                writer.close()
        class Silent(asyncio.Protocol):
            def connection_made(self, transport):
                server.at_exit(transport.abort)
        async def listen():
            loop = asyncio.get_running_loop()
            listening = await loop.create_server(Silent, "127.0.0.1", 0)
            server.at_exit(listening.close)
            return listening.sockets[0].getsockname()
        address = server.run(listen())
        transfers.submit(read())
        transfers.submit(asyncio.to_thread(time.sleep, 3600))
        time.sleep(0.2)
        gc.collect()
        """
    )
    assert printed == ""


def test_a_blocked_loop_does_not_hang_the_exit() -> None:
    printed = python(
        """
        import time
        from vidnb.io.loop import transfers
        async def block():
            time.sleep(3600)
        transfers.submit(block())
        time.sleep(0.1)
        """
    )
    assert printed == ""


def test_a_reload_keeps_the_two_threads() -> None:
    printed = python(
        """
        import asyncio, importlib, threading
        from vidnb.io import loop
        before = loop.transfers, loop.server
        loop.server.run(asyncio.sleep(0))
        importlib.reload(loop)
        loop.server.run(asyncio.sleep(0))
        assert (loop.transfers, loop.server) == before
        assert sum(t.name == "vidnb-server" for t in threading.enumerate()) == 1
        """
    )
    assert printed == ""


# --- forks


def test_a_forked_child_starts_afresh_and_leaves_the_parent_alone() -> None:
    printed = python(
        """
        import asyncio, gc, os, sys, threading, warnings
        from vidnb.io.loop import transfers
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and fork
        async def here():
            return os.getpid()
        async def hold():
            try:
                await asyncio.Event().wait()  # in the child nothing else would hold this task
            finally:
                print("cleaned in", "parent" if os.getpid() == parent else "child", flush=True)
        parent = os.getpid()
        transfers.submit(hold())
        transfers.at_exit(lambda: print("exit in", "parent" if os.getpid() == parent else "child"))
        assert transfers.run(here()) == parent
        child = os.fork()
        if not child:
            gc.collect()
            assert transfers.run(here()) == os.getpid()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert transfers.run(here()) == parent
        """
    )
    assert printed == "cleaned in parent\nexit in parent\n"


def test_a_fork_while_the_lock_is_held_does_not_deadlock_the_child() -> None:
    printed = python(
        """
        import asyncio, os, warnings
        from vidnb.io.loop import transfers
        warnings.simplefilter("ignore", DeprecationWarning)
        with transfers._lock:
            child = os.fork()
            if not child:
                transfers.run(asyncio.sleep(0))
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        """
    )
    assert printed == ""


def test_letting_go_ends_a_connection_and_keeps_its_number_taken() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop_module.detach([ours.fileno()])
        theirs.settimeout(DEADLINE_S)
        assert theirs.recv(1) == b""
        assert os.fstat(ours.fileno()).st_rdev == Path(os.devnull).stat().st_rdev


def test_forgetting_drops_the_sockets_the_callbacks_and_the_thread(thread: LoopThread) -> None:
    """What a child does after a fork, done here to a thread that then idles for ever."""
    ours, theirs = socket.socketpair()
    thread._forget()
    assert thread._running is None
    old = thread.loop
    ours.settimeout(0)
    old.call_soon_threadsafe(old.add_reader, ours.fileno(), print)
    thread.run(answer())
    thread.at_exit(lambda: pytest.fail("the parent's callback ran in the child"))
    thread._forget()
    with ours, theirs:
        theirs.settimeout(DEADLINE_S)
        assert theirs.recv(1) == b""
    assert thread.loop is not old


# --- workers


def test_workers_are_reused_daemons_and_bounded() -> None:
    workers = DaemonThreads("vidnb-test", max_threads=2)
    gate = threading.Event()
    names: list[tuple[str, bool]] = []

    def work() -> None:
        me = threading.current_thread()
        names.append((me.name, me.daemon))
        gate.wait(DEADLINE_S)

    futures = [workers.submit(work) for _ in range(4)]
    gate.set()
    for future in futures:
        future.result(DEADLINE_S)
    assert {name for name, _ in names} <= {"vidnb-test-worker-1", "vidnb-test-worker-2"}
    assert all(daemon for _, daemon in names)
    assert workers.submit(lambda: 1).result(DEADLINE_S) == 1
    workers.shutdown()


def test_one_idle_worker_takes_job_after_job() -> None:
    workers = DaemonThreads("vidnb-test")
    names = set()
    for _ in range(5):
        names.add(workers.submit(lambda: threading.current_thread().name).result(DEADLINE_S))
        time.sleep(0.1)  # it is idle by then
    assert names == {"vidnb-test-worker-1"}
    workers.shutdown()


def test_a_workers_exception_is_the_futures() -> None:
    workers = DaemonThreads("vidnb-test")
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(DEADLINE_S)
    workers.shutdown()


def test_a_job_cancelled_in_the_queue_never_runs() -> None:
    workers = DaemonThreads("vidnb-test", max_threads=1)
    gate = threading.Event()
    ran: list[int] = []
    first = workers.submit(gate.wait, 5)
    second = workers.submit(ran.append, 1)
    assert second.cancel()
    gate.set()
    first.result(DEADLINE_S)
    assert workers.submit(lambda: 2).result(DEADLINE_S) == 2
    assert ran == []
    workers.shutdown()


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse new threads, as Python 3.12 does at its end, and a limit of the system at any time."""

    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_without_a_first_worker_the_work_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = DaemonThreads("vidnb-test")
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with pytest.raises(NoThreadError) as caught:
            workers.submit(int)
    assert str(caught.value) == (
        "The thread vidnb-test-worker-1 could not be started (can't create new thread at"
        " interpreter shutdown), so nothing was done; at the end of a program, do the work before"
        " the functions that run at its exit."
    )
    assert isinstance(caught.value, VidnbError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301
    assert workers.submit(lambda: 3).result(DEADLINE_S) == 3
    workers.shutdown()


def test_without_a_further_worker_the_first_one_does_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = DaemonThreads("vidnb-test")
    gate = threading.Event()
    first = workers.submit(gate.wait, DEADLINE_S)
    refuse_threads(monkeypatch)
    second = workers.submit(lambda: 2)
    gate.set()
    assert (first.result(DEADLINE_S), second.result(DEADLINE_S)) == (True, 2)
    workers.shutdown()


def test_without_a_thread_for_the_loop_the_work_is_refused_and_may_be_tried_again(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with pytest.raises(NoThreadError, match=r"The thread vidnb-test could not be started"):
            thread.run(answer())
    assert thread.run(answer()) == 42


# --- re-entry

REENTRY = [
    # nest-asyncio2, nest-asyncio, ipykernel: the module
    (None, None, None, None),
    (None, None, "7.4.0", None),
    ("1.7.3", None, None, "nest_asyncio2"),
    ("1.7.3", "1.6.0", "6.30.0", "nest_asyncio2"),
    ("1.7.4", "1.6.0", "7.4.0", "nest_asyncio2"),
    ("1.8", None, "7.4.0", "nest_asyncio2"),
    ("2.0.0rc1", None, "7.4.0", "nest_asyncio2"),
    ("1.10.0", None, "7.4.0", "nest_asyncio2"),
    ("1.7.2", None, "7.4.0", None),
    ("1.7", None, None, None),
    ("1.7.2", "1.6.0", "7.4.0", None),
    ("1.7.2", "1.6.0", "6.30.1", "nest_asyncio"),
    (None, "1.6.0", None, "nest_asyncio"),
    (None, "1.5.9", "6.31.0", "nest_asyncio"),
    (None, "1.6.0", "7.0.0", None),
    (None, "1.6.0", "7.0.0a1", None),
    (None, "1.6.0", "10.0", None),
]


@pytest.mark.parametrize(("nest2", "nest", "ipykernel", "module"), REENTRY)
def test_which_module_reenters(
    nest2: str | None, nest: str | None, ipykernel: str | None, module: str | None
) -> None:
    assert reentry_module(nest2, nest, ipykernel) == module


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(nested_loop, "_version", lambda name: versions.get(name.replace("-", "_")))


def test_versions_come_from_what_is_installed() -> None:
    assert nested_loop._version("pytest") == pytest.__version__
    assert nested_loop._version("no-such-distribution-of-ours") is None


def test_a_loop_that_stands_still_is_run() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert reenter(answer(), loop) == 42
        with pytest.raises(LookupError):
            reenter(fail(), loop)
    finally:
        loop.close()


def test_an_interrupt_on_a_loop_that_stood_still_waits_for_the_cleanup() -> None:
    loop = asyncio.new_event_loop()
    work = Work()
    try:
        with pytest.raises(KeyboardInterrupt):
            reenter(work.interrupt_main(), loop)
        assert work.cleaned
    finally:
        loop.close()


def test_a_loop_in_another_thread_is_used_from_here(thread: LoopThread) -> None:
    work = Work()
    assert reenter(answer(), thread.loop) == 42
    with pytest.raises(KeyboardInterrupt):
        reenter(work.interrupt_main(), thread.loop)
    assert work.cleaned


def test_a_closed_loop_is_refused_with_a_sentence() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="make the session in the cell that uses it"):
        reenter(answer(), loop)


def test_a_session_of_another_loop_is_refused_while_one_runs_here() -> None:
    other = asyncio.new_event_loop()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            reenter(answer(), other)

    try:
        asyncio.run(main())
    finally:
        other.close()


@pytest.mark.parametrize("kernel", [None, "7.4.0"])
def test_without_a_safe_module_the_sentence_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, kernel: str | None
) -> None:
    installed(monkeypatch, **({"ipykernel": kernel, "nest_asyncio": "1.6.0"} if kernel else {}))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"`await vidnb\.download_async\(\.\.\.\)`"):
            reenter(answer(), asyncio.get_running_loop())

    asyncio.run(main())


def test_ipykernel_counts_only_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, ipykernel="7.4.0", nest_asyncio="1.6.0")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    patched: list[tuple[str, object]] = []
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name: SimpleNamespace(apply=lambda loop: patched.append((name, loop))),
    )
    loop = asyncio.new_event_loop()
    nested_loop._check(loop, loop)
    loop.close()
    assert patched == [("nest_asyncio", loop)]


def test_a_foreign_kind_of_loop_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, nest_asyncio2="1.7.4")

    def apply(_: object) -> NoReturn:
        raise ValueError("Can't patch loop of type uvloop.Loop")

    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(apply=apply))
    loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match=r"cannot re-enter a .*EventLoop; write `await"):
        nested_loop._check(loop, loop)
    loop.close()


@pytest.mark.parametrize("module", ["nest_asyncio2", "nest_asyncio"])
def test_the_running_loop_is_really_reentered(module: str) -> None:
    """In a process of its own: the modules patch asyncio for good."""
    pytest.importorskip(module)
    printed = python(
        f"""
        import asyncio, os, signal
        from vidnb.io import nested_loop
        versions = {{"nest-asyncio2": "1.7.4"}} if {module!r} == "nest_asyncio2" else \\
            {{"nest-asyncio": "1.6.0"}}
        nested_loop._version = versions.get
        cleaned = []
        async def work():
            await asyncio.sleep(0.01)
            return 42
        async def interrupted():
            try:
                asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                cleaned.append(True)
        async def main():
            loop = asyncio.get_running_loop()
            assert nested_loop.reenter(work(), loop) == 42
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                nested_loop.reenter(interrupted(), loop)
            except KeyboardInterrupt:
                cleaned.append("interrupted")
            assert cleaned == [True, "interrupted"], cleaned
            assert nested_loop.reenter(work(), loop) == 42
        asyncio.run(main())
        """
    )
    assert printed == ""


# --- a real kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    manager_module = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    manager = manager_module.KernelManager(kernel_name="python3")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    manager.start_kernel(cwd=str(ROOT), env=environment)
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=DEADLINE_S)
    yield SimpleNamespace(manager=manager, client=client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cells(kernel: Any, cells: list[str], meanwhile: Callable[[], None] | None = None) -> str:
    """Queue all cells at once, as Run All does, and return what they printed and raised."""
    asked = [kernel.client.execute(cell, stop_on_error=False) for cell in cells]
    if meanwhile is not None:
        meanwhile()
    printed, idle = "", 0
    while idle < len(asked):
        message = kernel.client.get_iopub_msg(timeout=DEADLINE_S)
        if message["parent_header"].get("msg_id") not in asked:
            continue
        content = message["content"]
        printed += content.get("text", "") + content.get("ename", "")
        idle += content.get("execution_state") == "idle"
    return printed


def test_queued_cells_all_run_behind_a_blocking_call(kernel: Any) -> None:
    cells = [
        """
        import asyncio
        from vidnb.io import loop
        async def work(value):
            await asyncio.sleep(0.3)
            return value
        print("a", loop.transfers.run(work(1)))
        """,
        "print('b', loop.reenter(work(2), asyncio.get_running_loop()))",
        "print('c', await loop.transfers.arun(work(3)))",
        "print('d')",
    ]
    printed = run_cells(kernel, [textwrap.dedent(cell) for cell in cells])
    assert printed == "a 1\nb 2\nc 3\nd\n"


def test_the_kernels_interrupt_reaches_a_blocking_call(kernel: Any) -> None:
    cell = """
    import asyncio, time
    from vidnb.io import loop
    async def work():
        try:
            await asyncio.sleep(3600)
        finally:
            print("cleaned")
    loop.transfers.run(work())
    """

    def interrupt() -> None:
        time.sleep(1)
        kernel.manager.interrupt_kernel()

    assert run_cells(kernel, [textwrap.dedent(cell)], interrupt) == "cleaned\nKeyboardInterrupt"
    assert run_cells(kernel, ["print('alive')"]) == "alive\n"
