"""Calls between threads: daemon workers, and interruptible calls into an event loop.

An interrupted call returns only after the work it started has cleaned up: the next run of the same
cell must find the journal flushed and the connection closed.
"""

import asyncio
import concurrent.futures
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, ParamSpec, TypeVar

from vidnb.errors import VidnbError

__all__ = [
    "CLEANUP_S",
    "Call",
    "DaemonThreads",
    "NoThreadError",
    "blocking",
    "no_thread_error",
    "start_thread",
]

logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

CLEANUP_S: Final = 5.0
"""How long an interrupted call waits for its work to clean up: flush a journal, close a socket."""


class NoThreadError(VidnbError, RuntimeError):
    """A thread is needed that is not there and cannot be started."""


def no_thread_error(name: str, reason: str) -> NoThreadError:
    """Return the error for the thread `name`; `reason` is a clause."""
    return NoThreadError(
        f"The thread {name} {reason}, so nothing was done; at the end of a program, do the work"
        " before the functions that run at its exit."
    )


def start_thread(target: Callable[..., object], name: str, *args: object) -> threading.Thread:
    """Start a daemon thread; `NoThreadError` where the interpreter or a limit refuses it."""
    thread = threading.Thread(target=target, name=name, args=args, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # also in exit callbacks, since Python 3.12
        raise no_thread_error(name, f"could not be started ({error})") from error
    return thread


class DaemonThreads(concurrent.futures.Executor):
    """At most `max_threads` daemon worker threads, which do not delay the interpreter's exit.

    The standard executor joins its threads at exit, so a read from a dead network disk would block
    the exit; and it starts none once the main thread has ended, though other threads still work.
    """

    def __init__(self, name: str, max_threads: int = 16) -> None:
        self._name = name
        self._max_threads = max_threads
        self._guard = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._count = 0
        self._idle = 0

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> concurrent.futures.Future[_T]:
        """Run `fn` on a worker; its result or exception goes to the future.

        `NoThreadError` where there is no worker and none can be started any more.
        """
        future: concurrent.futures.Future[_T] = concurrent.futures.Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._guard:
            if self._idle:
                self._idle -= 1
            elif self._count < self._max_threads:
                name = f"{self._name}-worker-{self._count + 1}"
                try:
                    start_thread(self._work, name)
                    self._count += 1
                except NoThreadError:
                    if not self._count:
                        raise
        self._jobs.put(job)
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # an idle thread keeps neither results nor files alive
            with self._guard:
                self._idle += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the signature is the base's
        """End every worker after the work it has, without waiting for it."""
        with self._guard:
            for _ in range(self._count):
                self._jobs.put(None)


class Call(Generic[_T]):
    """One coroutine that runs on a loop in another thread.

    `ended` is set when its task has ended; from then on `result()` returns its result or raises its
    exception, `asyncio.CancelledError` if it was cancelled.
    """

    result: Callable[[], _T]

    def __init__(self, coro: Coroutine[Any, Any, _T]) -> None:
        self.ended = threading.Event()
        self._coro = coro
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[_T] | None = None
        self._when_ended: Callable[[], object] | None = None

    def begin(
        self, loop: asyncio.AbstractEventLoop, when_ended: Callable[[], object] | None = None
    ) -> None:
        """Start the work on `loop`; `when_ended` is called there afterwards.

        `RuntimeError` if the loop is closed.
        """
        self._when_ended = when_ended
        self._loop = loop  # first: an interrupt on the next line must be able to cancel
        try:
            # An empty context: the variables of one cell must not live on in a task.
            loop.call_soon_threadsafe(self._begin, loop, context=contextvars.Context())
        except RuntimeError:
            self._loop = None
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._coro)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[_T]) -> None:
        if not task.cancelled():
            task.exception()  # counts as retrieved: an interrupted caller never asks
        self.result = task.result
        self.ended.set()
        if self._when_ended is not None:
            self._when_ended()

    def cancel(self) -> bool:
        """Cancel the work; False if it never began, so that there is no end to wait for."""
        if self._loop is None:
            self._coro.close()
            return False
        with suppress(RuntimeError):  # the loop has closed, and cancelled its tasks before
            self._loop.call_soon_threadsafe(self._cancel)
        return True

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # the caller was interrupted in the middle of begin()
            self._coro.close()
            self.ended.set()

    def wait(
        self, timeout_s: float | None, tick: Callable[[], object] | None, tick_s: float
    ) -> None:
        """Block until the work ended, ticking meanwhile; `TimeoutError` after `timeout_s`."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        wait_s = tick_s
        while True:
            if deadline_s is not None:
                wait_s = min(tick_s, max(0.0, deadline_s - time.monotonic()))
            if self.ended.wait(wait_s):
                return
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise TimeoutError(f"the work did not end within {timeout_s:g} s")
            if tick is not None:
                try:
                    tick()
                except Exception:  # a broken display must not break the work it shows
                    logger.exception("The progress display failed and is not updated any more.")
                    tick = None


def blocking(
    coro: Coroutine[Any, Any, _T],
    loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    timeout_s: float | None = None,
    tick: Callable[[], object] | None = None,
    tick_s: float = 0.2,
) -> _T:
    """Run `coro` on the loop that `loop()` returns, which runs in another thread, and block.

    `tick` is called in this thread every `tick_s` seconds until it raises an exception, which is
    logged. An exception that ends the waiting early (`KeyboardInterrupt`, `TimeoutError` after
    `timeout_s`) cancels the work, waits at most 5 s for its cleanup, and is raised.
    """
    call = Call(coro)
    try:
        call.begin(loop())
        call.wait(timeout_s, tick, tick_s)
    except BaseException:
        if call.cancel():
            call.ended.wait(CLEANUP_S)
        raise
    return call.result()
