"""Event loops on threads of their own.

The kernel's own loop stays free: downloads and the server run here, so a blocked cell stalls no
player, and a busy player stalls no cell. `transfers` and `server` are the two loops of the process.
"""

import asyncio
import atexit
import concurrent.futures
import contextvars
import inspect
import logging
import os
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from vidnb.io.calls import (
    CLEANUP_S,
    Call,
    DaemonThreads,
    blocking,
    no_thread_error,
    start_thread,
)
from vidnb.io.nested_loop import reenter, reentry_module

__all__ = ["LoopThread", "detach", "reenter", "reentry_module", "server", "transfers"]

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

EXIT_S: Final = 2.0
"""How long (s) the interpreter's exit waits for one thread's tasks and callbacks."""


def detach(descriptors: Iterable[int]) -> None:
    """In a forked child: detach these descriptors of the parent from their sockets.

    A socket that stayed open here would keep the parent's connection open. Each descriptor becomes
    /dev/null rather than being closed, since the objects that own the numbers close them later.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(null, descriptor, inheritable=False)
    os.close(null)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose default executor is a `DaemonThreads`.

    `set_default_executor` accepts only the standard executor, which refuses work from the moment
    the main thread ends, while a program's other threads may still download.
    """

    def __init__(self, selector: selectors.BaseSelector, threads: DaemonThreads) -> None:
        super().__init__(selector)
        self._threads = threads

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[Unpack[_Ts]], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """Run `func` in a thread, by default of this loop's own."""
        return super().run_in_executor(executor or self._threads, func, *args)

    def close(self) -> None:
        """Close the loop and end its idle threads."""
        super().close()
        self._threads.shutdown()


@dataclass(frozen=True, slots=True)
class _Running:
    """A loop and its thread. What is added to `kept` lives as long as the thread runs."""

    loop: asyncio.AbstractEventLoop
    selector: selectors.BaseSelector
    thread: threading.Thread
    kept: set[object]

    def disown(self) -> None:
        """In a forked child: leave the parent's loop as it is, until the process ends.

        The epoll set is shared with the parent, so nothing may be unregistered from it. The tasks
        are the parent's: collected here, they would run their `finally` blocks a second time, on
        the parent's files. `kept` is a local variable of a thread that `fork` did not copy and
        that therefore never returns, so what it holds is never collected.
        """
        detach([key.fd for key in self.selector.get_map().values()])
        self.kept.update(asyncio.all_tasks(self.loop))


class LoopThread:
    """One daemon thread with one event loop, started at first use and ended at exit.

    `name` is the thread's. After `os.fork` the child starts a thread of its own at first use.
    Every method may be called from any thread; `NoThreadError`, a `RuntimeError`, once the
    interpreter has run the exit callbacks. Until then the threads of a program work as before.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        self._at_exit: list[Callable[[], Awaitable[object] | None]] = []
        self._submitted: set[concurrent.futures.Future[Any]] = set()
        atexit.register(self.close)
        # Where there is no fork (Windows), there is nothing to register.
        getattr(os, "register_at_fork", dict)(after_in_child=self._forget)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; started if it was not yet."""
        with self._lock:
            if self._running is None:
                if self._closed:
                    raise no_thread_error(self._name, "has ended with the interpreter")
                self._running = self._start()
            return self._running.loop

    @property
    def is_closed(self) -> bool:
        """Whether the interpreter's exit has begun to end the thread."""
        return self._closed

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this loop's own."""
        running = self._running
        return running is not None and threading.current_thread() is running.thread

    def run(
        self,
        coro: Coroutine[Any, Any, _T],
        *,
        timeout_s: float | None = None,
        tick: Callable[[], object] | None = None,
        tick_s: float = 0.2,
    ) -> _T:
        """Run `coro` on the loop, block until it ends and return its result.

        `tick` is called in the calling thread every `tick_s` seconds until it raises an exception,
        which is logged. An exception that ends the waiting early (`KeyboardInterrupt` above all,
        `TimeoutError` after `timeout_s`) cancels the work, waits at most 5 s for its cleanup, and
        is raised. `asyncio.CancelledError` if the work was cancelled from elsewhere,
        `RuntimeError` from the loop's own thread, which would wait for itself.
        """
        return blocking(coro, self._loop_elsewhere, timeout_s=timeout_s, tick=tick, tick_s=tick_s)

    def submit(self, coro: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Start `coro` on the loop and return its future; cancelling that cancels the work."""
        try:
            loop = self.loop
        except BaseException:
            coro.close()
            raise
        future = contextvars.Context().run(asyncio.run_coroutine_threadsafe, coro, loop)
        self._submitted.add(future)  # asyncio refers to tasks weakly
        future.add_done_callback(self._submitted.discard)
        return future

    async def arun(self, coro: Coroutine[Any, Any, _T]) -> _T:
        """Run `coro` on the loop and await it from another one.

        Cancelling the awaiting task cancels the work and waits at most 5 s for its cleanup.
        """
        if self.is_current:
            return await coro
        here = asyncio.get_running_loop()
        ended = asyncio.Event()

        def when_ended() -> None:
            with suppress(RuntimeError):  # the caller's loop closed without waiting
                here.call_soon_threadsafe(ended.set)

        call = Call(coro)
        try:
            call.begin(self.loop, when_ended)
            await ended.wait()
        except asyncio.CancelledError:
            call.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), CLEANUP_S)
            raise
        except BaseException:  # GeneratorExit: nothing can be awaited now
            call.cancel()
            raise
        return call.result()

    def at_exit(self, fn: Callable[[], Awaitable[object] | None]) -> None:
        """Call `fn` on the loop before it closes, and await its result if it is awaitable.

        The tasks were cancelled before. A forked child drops the parent's callbacks.
        """
        self._at_exit.append(fn)

    def close(self) -> None:
        """End the thread: cancel its tasks, run the exit callbacks, close the loop.

        Called at the interpreter's exit. Takes at most 2 s, whatever the tasks do.
        """
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        atexit.unregister(self.close)
        if running is not None:
            contextvars.Context().run(
                asyncio.run_coroutine_threadsafe, self._shut_down(running.loop), running.loop
            )
            running.thread.join(EXIT_S)

    def _loop_elsewhere(self) -> asyncio.AbstractEventLoop:
        if self.is_current:
            raise RuntimeError(
                f"a blocking call from {self._name}'s own thread would wait for itself forever; "
                "await the coroutine instead"
            )
        return self.loop

    def _start(self) -> _Running:
        selector = selectors.DefaultSelector()
        loop = _Loop(selector, DaemonThreads(self._name))
        kept: set[object] = set()
        try:
            thread = start_thread(_run_loop, self._name, loop, kept)
        except BaseException:
            loop.close()
            raise
        return _Running(loop, selector, thread, kept)

    async def _shut_down(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(0.75 * EXIT_S):
                await _cancel_tasks()
                for fn in self._at_exit:
                    await _call_back(fn)
                await _cancel_tasks()  # those that the callbacks started
                await loop.shutdown_asyncgens()
        except TimeoutError:
            # asyncio would print a message for each task that did not end.
            loop.set_exception_handler(_keep_silent)
        finally:
            loop.stop()

    def _forget(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._at_exit.clear()
        self._submitted = set()
        running, self._running = self._running, None
        if running is not None:
            running.disown()


def _run_loop(loop: asyncio.AbstractEventLoop, kept: set[object]) -> None:  # noqa: ARG001 - for `disown`
    running = True
    while running:
        try:
            loop.run_forever()
            running = False
        except (KeyboardInterrupt, SystemExit):  # raised in a task, whose future has it;
            continue  # asyncio raises it here too, which must not end the other tasks
    loop.close()


def _keep_silent(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Print nothing about a task that is destroyed with the process."""


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # transports report their close in the next iteration


async def _call_back(fn: Callable[[], Awaitable[object] | None]) -> None:
    try:
        result = fn()
        if inspect.isawaitable(result):
            await result
    except Exception:
        logger.exception("An exit callback failed.")


# Kept over importlib.reload and %autoreload: a second pair would mean a second server.
transfers: LoopThread = globals().get("transfers") or LoopThread("vidnb-transfers")
"""The loop of all downloads."""

server: LoopThread = globals().get("server") or LoopThread("vidnb-server")
"""The loop of the range server."""
