"""Steps in a thread: short ones in a row, none left half way.

Waking a thread costs as much as a short step itself, and downloads come by the thousand. So short
steps queue for one thread, which takes them one after another without going to sleep; only a step
that holds the others up brings a second thread, and so on.

Cancelling a coroutine cancels its waiting, not the thread that works for it: the file could be
closed, or removed, while that thread still writes. So whoever is cancelled waits for the end first.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["run_in_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PATIENCE_S = 0.005
"""After this long another thread helps."""


async def run_in_thread(fn: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `fn` in a thread and return what it does; cancelled, raise only once it has ended."""
    loop = asyncio.get_running_loop()
    row = _rows.get(loop)
    if row is None:
        row = _rows[loop] = _Row()
    step: asyncio.Future[_T] = loop.create_future()
    row.append(step, partial(fn, *args, **kwargs))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        step.exception()
        raise


class _Row:
    """The steps of one event loop that wait for a thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()
        self._workers = 0
        self._is_watched = False

    def append(self, step: asyncio.Future[Any], fn: Callable[[], Any]) -> None:
        """Have `fn` run, soon; on the loop."""
        with self._lock:
            self._waiting.append((step, fn))
            is_idle = not self._workers
            self._workers += is_idle
        loop = step.get_loop()
        if is_idle:
            loop.run_in_executor(None, self._work, loop)
        elif not self._is_watched:
            self._is_watched = True
            loop.call_later(_PATIENCE_S, self._look, loop, step)

    def _look(self, loop: asyncio.AbstractEventLoop, first: asyncio.Future[Any]) -> None:
        """Bring another thread if that step still waits."""
        with self._lock:
            is_held_up = any(step is first for step, _ in self._waiting)
            self._workers += is_held_up
            following = self._waiting[-1][0] if self._waiting else None
        self._is_watched = following is not None
        if is_held_up:
            loop.run_in_executor(None, self._work, loop)
        if following is not None:
            loop.call_later(_PATIENCE_S, self._look, loop, following)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take steps until there are none; in a thread."""
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
            except BaseException as raised:  # noqa: BLE001 - it is for the waiter to judge
                error = raised
            loop.call_soon_threadsafe(_settle, step, result, error)
            del step, fn, result, error


def _settle(step: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        step.set_result(result)
    else:
        step.set_exception(error)


_rows: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Row] = weakref.WeakKeyDictionary()
