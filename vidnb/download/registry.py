"""The downloads of this process: equal ones are one, and those for one file take turns.

So the second of two different orders for one file finds what the first has published. What is done
for each of them is in `engine.single`.
"""

import asyncio
import weakref
from dataclasses import dataclass, field

from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.download.task import DownloadTask
from vidnb.io.client import HttpClient
from vidnb.io.loop import transfers

__all__ = ["download"]


@dataclass(slots=True)
class _Running:
    """One download under way, how many wait for it, and how many of them for all of the file."""

    task: asyncio.Task[DownloadResult]
    handle: DownloadHandle
    waiters: int = 0
    fillers: int = 0
    is_cancelled: bool = False


@dataclass(slots=True)
class _World:
    """What the downloads of one event loop share."""

    running: dict[DownloadRequest, _Running] = field(default_factory=dict)
    turns: weakref.WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=weakref.WeakValueDictionary
    )
    clients: dict[bool, HttpClient] = field(default_factory=dict)


# A forked child has a loop of its own, and so a world of its own: the parent's connections and
# downloads are not its to use, or to close.
_worlds: dict[asyncio.AbstractEventLoop, _World] = {}


def _world() -> _World:
    return _worlds.setdefault(asyncio.get_running_loop(), _World())


async def download(request: DownloadRequest, handle: DownloadHandle) -> DownloadResult:
    """Carry an order out, or join the same one that is running; called on the download's loop.

    Raises the tree under `vidnb.TransferError`. The last waiter to be cancelled cancels the
    download itself, which then keeps what it has.
    """
    if request.session is not None:
        handle.status.feed.fill(is_on=request.fills)
        # The caller's session lives on the caller's loop, so nothing here is shared with it.
        async with HttpClient(session=request.session) as client:
            return await DownloadTask(request, handle, client).run()
    world = _world()
    while (running := world.running.get(request)) is not None and running.is_cancelled:
        await asyncio.wait([running.task])  # it still cleans up; then this one goes on from there
    if running is None:
        task = asyncio.create_task(_take_turn(request, handle), name="vidnb download")
        running = world.running[request] = _Running(task, handle)
        task.add_done_callback(lambda _: world.running.pop(request, None))
        # Cancelled before it began, it has told nobody.
        task.add_done_callback(lambda _: handle.status.feed.fail(asyncio.CancelledError()))
    handle.follow(running.handle)
    running.waiters += 1
    running.fillers += request.fills
    running.handle.status.feed.fill(is_on=running.fillers > 0)
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
        running.fillers -= request.fills
        running.handle.status.feed.fill(is_on=running.fillers > 0)


async def _take_turn(request: DownloadRequest, handle: DownloadHandle) -> DownloadResult:
    # Orders that let the origin choose the name differ by URL, and the publish is exclusive.
    turn = asyncio.Lock()
    if request.target is not None:
        turn = _world().turns.setdefault(str(request.target), turn)
    async with turn:
        return await DownloadTask(request, handle, _client(public_only=request.public_only)).run()


def _client(*, public_only: bool) -> HttpClient:
    """Return the process's client, so that downloads share their connections."""
    clients = _world().clients
    if public_only not in clients:
        client = clients[public_only] = HttpClient(public_only=public_only)

        async def close() -> None:
            clients.pop(public_only, None)
            await client.close()

        transfers.at_exit(close)
    return clients[public_only]
