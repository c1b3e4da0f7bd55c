"""A blocking call on the caller's own event loop, even while that loop runs in this thread.

Only a caller's `aiohttp.ClientSession` needs this; everything else runs on vidnb's own threads.
nest-asyncio 1.6.0 makes ipykernel >= 7 lose queued cells silently (Run All runs only the first),
so the call is refused unless a safe package is installed. Only its public `apply` is used.
"""

import asyncio
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from vidnb.io.calls import CLEANUP_S, blocking

__all__ = ["reenter", "reentry_module"]

_T = TypeVar("_T")


def reentry_module(
    nest_asyncio2: str | None, nest_asyncio: str | None, ipykernel: str | None
) -> Literal["nest_asyncio2", "nest_asyncio"] | None:
    """Return the module that safely re-enters a running loop, None if there is none.

    The arguments are versions: of the two modules as installed, of ipykernel as loaded.
    """
    if nest_asyncio2 is not None and _release(nest_asyncio2) >= (1, 7, 3):
        return "nest_asyncio2"
    if nest_asyncio is not None and (ipykernel is None or _release(ipykernel) < (7,)):
        return "nest_asyncio"
    return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def reenter(coro: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> _T:
    """Run `coro` on the caller's own `loop`, block until it ends and return its result.

    The loop may be stopped, run in another thread, or run in this one, as a notebook's does; only
    then it is re-entered, by the module that `reentry_module` names. An interrupt cancels the work
    and waits at most 5 s for its cleanup. `RuntimeError` if the loop cannot be used from here; the
    message says what to write instead.
    """
    here = _running_here()
    try:
        _check(loop, here)
    except BaseException:
        coro.close()
        raise
    if here is loop or not loop.is_running():
        return _drive(coro, loop)
    return blocking(coro, lambda: loop)


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _check(loop: asyncio.AbstractEventLoop, here: asyncio.AbstractEventLoop | None) -> None:
    if loop.is_closed():
        raise RuntimeError(
            "the session's event loop is closed; make the session in the cell that uses it"
        )
    if here is loop:
        _make_reentrant(loop)
    elif here is not None and not loop.is_running():
        raise RuntimeError(
            "the session belongs to another event loop than the one that runs here; make it "
            "here, or leave it out"
        )


def _make_reentrant(loop: asyncio.AbstractEventLoop) -> None:
    name = reentry_module(
        _version("nest-asyncio2"),
        _version("nest-asyncio"),
        _version("ipykernel") if "ipykernel" in sys.modules else None,
    )
    instead = "write `await vidnb.download_async(...)` instead"
    if name is None:
        raise RuntimeError(
            "a blocking call cannot use a session of the event loop that runs here, because no "
            f"installed package re-enters it safely; {instead}, or install nest-asyncio2 >= 1.7.3"
        )
    try:
        importlib.import_module(name).apply(loop)
    except ValueError as error:  # a loop that is not asyncio's, such as uvloop's
        raise RuntimeError(
            f"a blocking call cannot re-enter a {type(loop).__qualname__}; {instead}"
        ) from error


def _drive(coro: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> _T:
    task = loop.create_task(coro)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.wait([task], timeout=CLEANUP_S))
        raise
