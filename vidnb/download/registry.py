"""The running downloads of the process: equal requests share one, different ones for a file queue.

The second of two different requests for one file therefore finds what the first one published.
"""

import asyncio
import weakref
from dataclasses import dataclass, field

from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.download.task import DownloadTask
from vidnb.io.client import HttpClient
from vidnb.io.loop import transfers

__all__ = ["download", "shared_client"]


@dataclass(slots=True)
class _Running:
    """A running download, its number of waiting callers, and of those that need the whole file."""

    task: asyncio.Task[DownloadResult]
    handle: DownloadHandle
    waiters: int = 0
    full_waiters: int = 0
    is_cancelled: bool = False


@dataclass(slots=True)
class _LoopState:
    """The downloads, file locks and HTTP clients of one event loop."""

    running: dict[DownloadRequest, _Running] = field(default_factory=dict)
    file_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=weakref.WeakValueDictionary
    )
    clients: dict[bool, HttpClient] = field(default_factory=dict)


# A forked child has its own loop and so its own state: it neither uses nor closes the connections
# and the downloads of its parent.
_states: dict[asyncio.AbstractEventLoop, _LoopState] = {}


def _state() -> _LoopState:
    return _states.setdefault(asyncio.get_running_loop(), _LoopState())


async def download(request: DownloadRequest, handle: DownloadHandle) -> DownloadResult:
    """Run a download, or join the running one of an equal request; called on the download's loop.

    Raises the tree under `vidnb.TransferError`. Cancelling the last waiting caller cancels the
    download, which keeps what can be resumed.
    """
    if request.session is not None:
        handle.status.feed.set_fetch_all(is_on=request.fills)
        # The caller's session lives on the caller's loop, so nothing here is shared with it.
        async with HttpClient(session=request.session) as client:
            return await DownloadTask(request, handle, client).run()
    state = _state()
    while (running := state.running.get(request)) is not None and running.is_cancelled:
        await asyncio.wait([running.task])  # it is cleaning up; this one resumes its part file
    if running is None:
        task = asyncio.create_task(_run_exclusively(request, handle), name="vidnb download")
        running = state.running[request] = _Running(task, handle)
        task.add_done_callback(lambda _: state.running.pop(request, None))
        # A task that is cancelled before its first step does not report its end to the feed.
        task.add_done_callback(lambda _: handle.status.feed.fail(asyncio.CancelledError()))
    handle.follow(running.handle)
    running.waiters += 1
    running.full_waiters += request.fills
    running.handle.status.feed.set_fetch_all(is_on=running.full_waiters > 0)
    try:
        return await asyncio.shield(running.task)
    except asyncio.CancelledError:
        if running.waiters == 1 and not running.task.done():
            running.is_cancelled = True
            running.task.cancel()
            await asyncio.wait([running.task])
        raise
    finally:
        running.waiters -= 1
        running.full_waiters -= request.fills
        running.handle.status.feed.set_fetch_all(is_on=running.full_waiters > 0)


async def _run_exclusively(request: DownloadRequest, handle: DownloadHandle) -> DownloadResult:
    # Requests without a file name of their own need no lock: their part files differ by URL, and
    # publishing never replaces another file.
    lock = asyncio.Lock()
    if request.target is not None:
        lock = _state().file_locks.setdefault(str(request.target), lock)
    async with lock:
        return await DownloadTask(
            request, handle, shared_client(public_only=request.public_only)
        ).run()


def shared_client(*, public_only: bool) -> HttpClient:
    """Return the loop's HTTP client, so that downloads share their connections."""
    clients = _state().clients
    if public_only not in clients:
        client = clients[public_only] = HttpClient(public_only=public_only)

        async def close() -> None:
            clients.pop(public_only, None)
            await client.close()

        transfers.at_exit(close)
    return clients[public_only]
