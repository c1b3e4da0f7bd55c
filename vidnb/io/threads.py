"""Run short blocking calls in threads.

Waking a thread costs as much as a short call itself, and there may be thousands of downloads. So
calls queue for one thread, which runs them one after another without going to sleep; only a call
that delays the others starts a second thread, and so on.

Cancelling a coroutine does not stop the thread that works for it: the file could be closed, or
removed, while that thread still writes. So a cancelled call waits for its thread before it raises.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, Unpack

from vidnb.io.calls import DaemonThreads

__all__ = ["run_in_thread", "to_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_DELAY_S = 0.005
"""A call that has waited this long gets another thread."""


async def run_in_thread(fn: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `fn` in a thread and return its result.

    Cancelled, however often, it raises `asyncio.CancelledError` once `fn` has ended.
    """
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop)
    if queue is None:
        queue = _queues[loop] = _Queue()
    step: asyncio.Future[_T] = loop.create_future()
    queue.append(step, partial(fn, *args, **kwargs))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        while not step.done():
            with suppress(asyncio.CancelledError):  # the thread still works, so wait all the same
                await asyncio.wait([step])
        step.exception()  # counts as retrieved
        raise


async def to_thread(fn: Callable[[Unpack[_Ts]], _T], *args: *_Ts) -> _T:
    """Run `fn`, which takes long, in a thread beside the others; its cancellation does not wait."""
    return await _start(asyncio.get_running_loop(), fn, *args)


class _Queue:
    """The calls of one event loop that wait for a thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()
        self._workers = 0
        self._is_watched = False

    def append(self, step: asyncio.Future[Any], fn: Callable[[], Any]) -> None:
        """Queue `fn`; its result or exception goes to `step`. Called on the loop."""
        with self._lock:
            self._waiting.append((step, fn))
            is_idle = not self._workers
            self._workers += is_idle
        loop = step.get_loop()
        if is_idle:
            _start(loop, self._work, loop)
        elif not self._is_watched:
            self._is_watched = True
            loop.call_later(_DELAY_S, self._check, loop, step)

    def _check(self, loop: asyncio.AbstractEventLoop, first: asyncio.Future[Any]) -> None:
        """Start another thread if that call still waits."""
        with self._lock:
            is_delayed = any(step is first for step, _ in self._waiting)
            self._workers += is_delayed
            following = self._waiting[-1][0] if self._waiting else None
        self._is_watched = following is not None
        if is_delayed:
            _start(loop, self._work, loop)
        if following is not None:
            loop.call_later(_DELAY_S, self._check, loop, following)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run calls until the queue is empty; in a thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._workers -= 1
                    return
                step, fn = self._waiting.popleft()
            error: BaseException | None = None
            result = None
            try:
                result = fn()
            except BaseException as raised:  # noqa: BLE001 - it belongs to the caller
                error = raised
            loop.call_soon_threadsafe(_settle, step, result, error)
            del step, fn, result, error


def _start(
    loop: asyncio.AbstractEventLoop, fn: Callable[[Unpack[_Ts]], _T], *args: *_Ts
) -> asyncio.Future[_T]:
    """Run `fn` in a thread of the loop's executor.

    The standard executor of a caller's loop refuses work once the main thread has ended; while the
    program's other threads still run, a thread is started for this call alone.
    """
    try:
        return loop.run_in_executor(None, fn, *args)
    except RuntimeError:
        thread = DaemonThreads("vidnb-late", max_threads=1)
        try:
            return loop.run_in_executor(thread, fn, *args)
        finally:
            thread.shutdown()


def _settle(step: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        step.set_result(result)
    else:
        step.set_exception(error)


_queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue]
_queues = weakref.WeakKeyDictionary()
