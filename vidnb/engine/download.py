"""A download from its order to a published file.

The steps: is the file here already; take the part file; drive the transfer; check size, digest and
content; publish; record. Equal orders in one process are one download; different orders for one
file take turns, so the second finds what the first has published.
"""

import asyncio
import logging
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field

from aiofiles.base import wrap

from vidnb.core import container
from vidnb.core.address import redact
from vidnb.core.alphabet import Complete, GiveUp
from vidnb.core.headers import parse_media_type
from vidnb.core.naming import file_name
from vidnb.core.progress import format_bytes
from vidnb.core.spans import Span
from vidnb.core.summary import was_fetched, was_known, was_unchanged
from vidnb.core.transfer import Transfer
from vidnb.engine.digests import Digests
from vidnb.engine.drive import HEAD_BYTES, Drive, Page
from vidnb.engine.order import DownloadResult, Order
from vidnb.engine.sentences import (
    called,
    gave_up,
    kept,
    reused_page,
    reused_too_large,
    storage_error,
)
from vidnb.engine.shelf import Shelf
from vidnb.engine.watch import Phase, Watch
from vidnb.engine.writer import Writer
from vidnb.errors import ChecksumMismatch, NotAVideo, TransferError, TransportError
from vidnb.io.files import Journal, PartFile, Record
from vidnb.io.http import HttpClient
from vidnb.io.loop import transfers

__all__ = ["download"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """One download under way and how many wait for it."""

    task: asyncio.Task[DownloadResult]
    watch: Watch
    waiters: int = 0
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
        # The caller's session lives on the caller's loop, so nothing here is shared with it.
        async with HttpClient(session=order.session) as client:
            return await _Download(order, watch, client).run()
    world = _world()
    while (running := world.running.get(order)) is not None and running.is_cancelled:
        await asyncio.wait([running.task])  # it still cleans up; then this one goes on from there
    if running is None:
        task = asyncio.create_task(_take_turn(order, watch), name="vidnb download")
        running = world.running[order] = _Running(task, watch)
        task.add_done_callback(lambda _: world.running.pop(order, None))
    watch.follow(running.watch)
    running.waiters += 1
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


async def _take_turn(order: Order, watch: Watch) -> DownloadResult:
    # Orders that let the origin choose the name differ by URL, and the publish is exclusive.
    turn = asyncio.Lock()
    if order.target is not None:
        turn = _world().turns.setdefault(str(order.target), turn)
    async with turn:
        return await _Download(order, watch, _client(public_only=order.public_only)).run()


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


class _Download:
    """One download, step by step."""

    def __init__(self, order: Order, watch: Watch, client: HttpClient) -> None:
        self._order = order
        self._watch = watch
        self._client = client
        self._shelf = Shelf(order)
        self._started_s = time.monotonic()
        self._reused_because = ""
        algorithms = {"sha256"} | ({order.checksum.algorithm} if order.checksum else set())
        self._digests = Digests(frozenset(algorithms))

    async def run(self) -> DownloadResult:
        """Return the result; every failure is one of the tree."""
        order, watch = self._order, self._watch
        watch.view.name = order.target.name if order.target else file_name(None, order.url, None)
        watch.start()
        try:
            result = await self._run()
        except asyncio.CancelledError:
            watch.end(
                Phase.CANCELLED, f"stopped; {kept(watch.view.kept_bytes, self._shelf.folder)}"
            )
            raise
        except Exception as error:
            watch.end(Phase.FAILED, str(error))
            raise
        watch.view.name = result.path.name
        watch.view.done_bytes = watch.view.total_bytes = result.size_bytes
        watch.end(Phase.DONE, self._explained(result))
        return result

    async def _run(self) -> DownloadResult:
        order, shelf, watch = self._order, self._shelf, self._watch
        try:
            record = await wrap(shelf.look)()
            if record is not None and order.checksum is not None:
                if await wrap(shelf.has_digest)(record):
                    return await self._reuse(record, was_known(order.checksum.algorithm))
                record = None
            part, journal = await self._open_part()
            try:
                return await self._fetch(part, journal, record)
            except FileNotFoundError:
                if not await wrap(part.path.exists)():  # its folder was removed, and it as well
                    watch.view.kept_bytes = 0
                raise
            finally:
                await asyncio.shield(wrap(part.close)(keep=watch.view.kept_bytes > 0))
        except TransferError as error:
            # The edges know the hop that failed; whoever catches this knows the order.
            error.url, error.kept_bytes = order.url, watch.view.kept_bytes
            raise
        except OSError as error:
            path = order.target or order.folder
            raise storage_error(
                error, order.url, path, shelf.folder, watch.view.kept_bytes
            ) from error

    async def _open_part(self) -> tuple[PartFile, Journal | None]:
        """Open the part file; whoever is cancelled meanwhile still closes it, and loses nothing."""
        opening = asyncio.ensure_future(wrap(self._shelf.open_part)())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(OSError):
                part, _ = await opening
                await wrap(part.close)(keep=True)
            raise

    async def _fetch(
        self, part: PartFile, journal: Journal | None, record: Record | None
    ) -> DownloadResult:
        order, shelf, watch = self._order, self._shelf, self._watch
        transfer = Transfer(
            policy=order.retry,
            version=journal.version if journal else None,
            stored=journal.stored if journal else None,
            finished=record.version if record is not None else None,
            max_bytes=order.max_bytes,
            max_connections=order.connections or 1,
        )
        resumed_bytes = transfer.stored.size_bytes
        watch.begin(resumed_bytes)
        drive = Drive(
            transfer,
            self._client,
            watch,
            url=order.url,
            headers=dict(order.headers),
            idle_timeout_s=order.idle_timeout_s,
            check_video=order.check_video,
            is_kept=not part.is_private,
            free_bytes=shelf.free_bytes,
        )
        writer = Writer(part, order.url, self._digests, transfer.stored, drive.stored)
        try:
            end = await drive.run(writer)
        except Page as page:
            raise self._not_a_video(page.title) from None
        if isinstance(end, GiveUp):
            raise gave_up(end, order.url, shelf.folder, watch.view.kept_bytes)
        if end.is_unchanged and record is not None:
            if not await wrap(shelf.stands)(record):  # somebody took it away meanwhile
                return await self._fetch(part, journal, None)
            return await self._reuse(record, was_unchanged(record.version.last_modified_s))
        watch.view.phase = Phase.CHECKING
        record = await self._check(part, end, drive)
        path = await wrap(shelf.publish)(part, record, drive.disposition)
        return DownloadResult(
            path=path,
            url=drive.final_url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            resumed_from_bytes=0 if transfer.generation else resumed_bytes,
            connections=transfer.peak_connections,
            attempts=transfer.failures + 1,
            etag=None if end.version.etag is None else str(end.version.etag),
            media_type=record.media_type,
        )

    async def _reuse(self, record: Record, because: str) -> DownloadResult:
        """Answer with the file that is there, if this order would have taken it from the origin."""
        order = self._order
        path = order.target or order.folder / record.name
        if order.max_bytes is not None and record.size_bytes > order.max_bytes:
            raise reused_too_large(order.url, path, record.size_bytes, order.max_bytes)
        if order.check_video:
            sniffed = container.sniff(await wrap(self._shelf.read_head)(record, HEAD_BYTES))
            if sniffed.verdict == "page":
                raise reused_page(order.url, path, sniffed.title)
        self._reused_because = because
        etag = record.version.etag
        return DownloadResult(
            path=path,
            url=record.final_url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            reused=True,
            etag=None if etag is None else str(etag),
            media_type=record.media_type,
        )

    def _explained(self, result: DownloadResult) -> str:
        return self._reused_because or was_fetched(
            result.size_bytes,
            result.elapsed_s,
            resumed_from_bytes=result.resumed_from_bytes,
            connections=result.connections,
            attempts=result.attempts,
        )

    async def _check(self, part: PartFile, end: Complete, drive: Drive) -> Record:
        """Check the whole file; return its record, the name still open."""
        order, checksum = self._order, self._order.checksum
        total_bytes = end.version.total_bytes or 0
        await wrap(part.trim)(total_bytes)
        await wrap(self._digests.catch_up)(part, total_bytes)
        if checksum is not None:
            actual = self._digests.hexdigest(checksum.algorithm)
            if actual != checksum.digest:
                self._watch.view.kept_bytes = 0
                raise ChecksumMismatch(
                    f"{redact(order.url)} has the {checksum.algorithm} digest {actual}, not the"
                    f" expected {checksum.digest}; nothing was saved or kept; check the address"
                    " and the checksum.",
                    expected=checksum.digest,
                    actual=actual,
                    url=order.url,
                )
        if order.check_video:
            await self._check_content(part, total_bytes, is_size_verified=end.is_size_verified)
        if not end.is_size_verified:
            logger.warning(
                "%s told no length: the %s it sent are taken to be all (size verified: False).",
                redact(order.url),
                format_bytes(total_bytes),
            )
        return Record(
            url=order.url,
            final_url=drive.final_url,
            name="",
            version=end.version,
            size_bytes=total_bytes,
            modified_ns=0,
            sha256=self._digests.hexdigest("sha256"),
            media_type=parse_media_type(drive.media_type or ""),
        )

    async def _check_content(
        self, part: PartFile, total_bytes: int, *, is_size_verified: bool
    ) -> None:
        head = await wrap(_read)(part, Span(0, min(total_bytes, HEAD_BYTES)))
        sniffed = container.sniff(head)
        if sniffed.verdict == "page":
            raise self._not_a_video(sniffed.title)
        layout = await wrap(_scan)(part, total_bytes)
        if not (layout.is_mp4 and layout.truncated):
            return
        if not is_size_verified:
            self._watch.view.kept_bytes = 0
            raise TransportError(
                f"{redact(self._order.url)} could not be downloaded: the connection closed before"
                f" the file was whole ({layout.what_is_missing});"
                " nothing was kept; run the same download again.",
                url=self._order.url,
            )
        logger.warning(
            "%s is truncated at its origin: %s; it will not play to its end.",
            redact(self._order.url),
            layout.what_is_missing,
        )

    def _not_a_video(self, title: str | None) -> NotAVideo:
        self._watch.view.kept_bytes = 0
        return NotAVideo(
            f"{redact(self._order.url)} sent a page{called(title)}, not a video; nothing was saved;"
            " open the address in a browser, or pass check_video=False to save it all the same.",
            title=title,
            url=self._order.url,
        )


def _read(part: PartFile, span: Span) -> bytes:
    return b"".join(part.read(span))


def _scan(part: PartFile, total_bytes: int) -> container.Layout:
    """Walk the boxes of an MP4: some dozen bytes each, however long the film."""
    scan = container.BoxScan(total_bytes)
    while (span := scan.wants()) is not None:
        scan.feed(_read(part, span))
    return scan.layout()
