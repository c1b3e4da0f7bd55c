"""The downloads of this process: equal ones are one, and those for one file take turns.

So the second of two different orders for one file finds what the first has published. What is done
for each of them is in `engine.single`.
"""

import asyncio
import weakref
from dataclasses import dataclass, field

from vidnb.engine.order import DownloadResult, Order
from vidnb.engine.single import Single
from vidnb.engine.watch import Watch
from vidnb.io.http import HttpClient
from vidnb.io.loop import transfers

__all__ = ["download"]


@dataclass(slots=True)
class _Running:
    """One download under way, how many wait for it, and how many of them for all of the file."""

    task: asyncio.Task[DownloadResult]
    watch: Watch
    waiters: int = 0
    fillers: int = 0
    is_cancelled: bool = False


@dataclass(slots=True)
class _World:
    """What the downloads of one event loop share."""

    running: dict[Order, _Running] = field(default_factory=dict)
    turns: weakref.WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=weakref.WeakValueDictionary
    )
    clients: dict[bool, HttpClient] = field(default_factory=dict)


# A forked child has a loop of its own, and so a world of its own: the parent's connections and
# downloads are not its to use, or to close.
_worlds: dict[asyncio.AbstractEventLoop, _World] = {}


def _world() -> _World:
    return _worlds.setdefault(asyncio.get_running_loop(), _World())


async def download(order: Order, watch: Watch) -> DownloadResult:
    """Carry an order out, or join the same one that is running; called on the download's loop.

    Raises the tree under `vidnb.TransferError`. The last waiter to be cancelled cancels the
    download itself, which then keeps what it has.
    """
    if order.session is not None:
        watch.view.feed.fill(is_on=order.fills)
        # The caller's session lives on the caller's loop, so nothing here is shared with it.
        async with HttpClient(session=order.session) as client:
            return await Single(order, watch, client).run()
    world = _world()
    while (running := world.running.get(order)) is not None and running.is_cancelled:
        await asyncio.wait([running.task])  # it still cleans up; then this one goes on from there
    if running is None:
        task = asyncio.create_task(_take_turn(order, watch), name="vidnb download")
        running = world.running[order] = _Running(task, watch)
        task.add_done_callback(lambda _: world.running.pop(order, None))
        # Cancelled before it began, it has told nobody.
        task.add_done_callback(lambda _: watch.view.feed.fail(asyncio.CancelledError()))
    watch.follow(running.watch)
    running.waiters += 1
    running.fillers += order.fills
    running.watch.view.feed.fill(is_on=running.fillers > 0)
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
        running.fillers -= order.fills
        running.watch.view.feed.fill(is_on=running.fillers > 0)


async def _take_turn(order: Order, watch: Watch) -> DownloadResult:
    # Orders that let the origin choose the name differ by URL, and the publish is exclusive.
    turn = asyncio.Lock()
    if order.target is not None:
        turn = _world().turns.setdefault(str(order.target), turn)
    async with turn:
        return await Single(order, watch, _client(public_only=order.public_only)).run()


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
