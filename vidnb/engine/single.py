"""One download, from its order to a published file.

The steps: is the file here already; take the part file; drive the transfer; check size, digest and
content; record and publish. A step in a thread costs as much as writing some hundred kilobytes, and
downloads may come by the thousand: so there is one before the transfer and one after it.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from vidnb.core import container
from vidnb.core.address import origin
from vidnb.core.alphabet import Complete, GiveUp
from vidnb.core.headers import parse_media_type
from vidnb.core.journal import Journal, Record
from vidnb.core.naming import file_name
from vidnb.core.summary import was_fetched, was_known, was_unchanged
from vidnb.core.transfer import Transfer
from vidnb.engine.checks import HEAD_BYTES, check
from vidnb.engine.digests import Digests
from vidnb.engine.drive import Drive, Page
from vidnb.engine.order import DownloadResult, Order
from vidnb.engine.sentences import (
    gave_up,
    kept,
    reused_page,
    reused_too_large,
    sent_a_page,
    storage_error,
)
from vidnb.engine.shelf import Shelf
from vidnb.engine.slots import slots
from vidnb.engine.watch import Phase, Watch
from vidnb.engine.writer import Writer
from vidnb.errors import TransferError
from vidnb.io.files import PartFile, Room
from vidnb.io.hop import hop
from vidnb.io.http import HttpClient

__all__ = ["Single"]

_STEP_BYTES = 64 * 2**20
"""So much is read back for the digest before a cancelled download can end."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is there before anything is asked.

    A part file and what it holds, the finished file, and the room on the disk.
    """

    part: PartFile
    journal: Journal | None
    record: Record | None
    room: Room


class Single:
    """One download, step by step."""

    def __init__(self, order: Order, watch: Watch, client: HttpClient) -> None:
        self._order = order
        self._watch = watch
        self._client = client
        self._shelf = Shelf(order)
        self._started_s = time.monotonic()
        self._reused_because = ""
        self._part: PartFile | None = None
        algorithms = {"sha256"} | ({order.checksum.algorithm} if order.checksum else set())
        self._digests = Digests(frozenset(algorithms))

    async def run(self) -> DownloadResult:
        """Return the result; every failure is one of the tree."""
        order, watch = self._order, self._watch
        watch.view.name = order.target.name if order.target else file_name(None, order.url, None)
        watch.start()
        try:
            result = await self._run()
        except asyncio.CancelledError as cancelled:
            watch.view.feed.fail(cancelled)
            watch.end(
                Phase.CANCELLED, f"stopped; {kept(watch.view.kept_bytes, self._shelf.folder)}"
            )
            raise
        except Exception as error:
            watch.end(Phase.FAILED, str(error))
            watch.view.feed.fail(error)
            raise
        watch.view.feed.publish(result.path, result.size_bytes)
        watch.view.name = result.path.name
        watch.view.done_bytes = watch.view.total_bytes = result.size_bytes
        watch.end(Phase.DONE, self._explained(result))
        return result

    async def _run(self) -> DownloadResult:
        order, shelf, watch = self._order, self._shelf, self._watch
        try:
            found = await self._find()
            if isinstance(found, DownloadResult):
                return found
            part = found.part
            try:
                return await self._fetch(found)
            except FileNotFoundError:
                if not await hop(part.path.exists):  # its folder was removed, and it as well
                    watch.view.kept_bytes = 0
                raise
            finally:
                if not part.is_closed:
                    await hop(part.close, keep=watch.view.kept_bytes > 0)
        except TransferError as error:
            # The edges know the hop that failed; whoever catches this knows the order.
            error.url, error.kept_bytes = order.url, watch.view.kept_bytes
            raise
        except OSError as error:
            path = order.target or order.folder
            raise storage_error(
                error, order.url, path, shelf.folder, watch.view.kept_bytes
            ) from error

    async def _find(self) -> _Found | DownloadResult:
        """Look; whoever is cancelled meanwhile still closes what was opened, and loses nothing."""
        try:
            return await hop(self._look)
        except asyncio.CancelledError:
            if self._part is not None:
                with suppress(OSError):
                    await hop(self._part.close, keep=True)
            raise

    def _look(self) -> _Found | DownloadResult:
        """Return the result if the finished file has the digest the caller asked for."""
        shelf, checksum = self._shelf, self._order.checksum
        record = shelf.look()
        if record is not None and checksum is not None:
            if shelf.has_digest(record):
                return self._reuse(record, was_known(checksum.algorithm))
            record = None
        self._part, journal = shelf.open_part()
        return _Found(self._part, journal, record, shelf.room(self._part))

    async def _fetch(self, found: _Found) -> DownloadResult:
        part, journal, record = found.part, found.journal, found.record
        order, shelf, watch = self._order, self._shelf, self._watch
        share = slots.share(origin(order.url))
        transfer = Transfer(
            policy=order.retry,
            version=journal.version if journal else None,
            stored=journal.stored if journal else None,
            finished=record.version if record is not None else None,
            max_bytes=order.max_bytes,
            max_connections=order.connections,
            host_takes=share.host_takes,
            fills=watch.view.feed.fills,
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
            room_before=found.room,
            room=partial(shelf.room, part),
            share=share,
        )
        writer = Writer(part, order.url, self._digests, transfer.stored, drive.stored)
        try:
            end = await drive.run(writer)
        except Page as page:
            if page.is_stored:
                watch.view.kept_bytes = 0
            kept_bytes = watch.view.kept_bytes
            raise sent_a_page(order.url, page.title, shelf.folder, kept_bytes) from None
        if isinstance(end, GiveUp):
            raise gave_up(end, order.url, shelf.folder, watch.view.kept_bytes)
        if end.is_unchanged and record is not None:
            if not await hop(shelf.stands, record):  # somebody took it away meanwhile
                return await self._fetch(replace(found, record=None))
            return await hop(self._reuse, record, was_unchanged(record.version.last_modified_s))
        watch.view.phase = Phase.CHECKING
        total_bytes = end.version.total_bytes or 0
        while (hashed_bytes := self._digests.hashed_bytes) + _STEP_BYTES < total_bytes:
            await hop(self._digests.catch_up, part, hashed_bytes + _STEP_BYTES)
        return await hop(self._finish, part, end, drive, resumed_bytes)

    def _finish(
        self, part: PartFile, end: Complete, drive: Drive, resumed_bytes: int
    ) -> DownloadResult:
        """Check, record and publish."""
        order, transfer = self._order, drive.transfer
        try:
            check(order, part, self._digests, end)
        except TransferError:
            self._watch.view.kept_bytes = 0
            raise
        record = Record(
            url=order.url,
            final_url=drive.final_url,
            name="",
            version=end.version,
            size_bytes=end.version.total_bytes or 0,
            modified_ns=0,
            sha256=self._digests.hexdigest("sha256"),
            media_type=parse_media_type(drive.media_type or ""),
        )
        # What was sent again, after a change or for want of ranges, was no help.
        is_resumed = not transfer.generation and transfer.answers_ranges is not False
        return DownloadResult(
            path=self._shelf.publish(part, record, drive.disposition),
            url=drive.final_url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            resumed_from_bytes=resumed_bytes if is_resumed else 0,
            connections=transfer.peak_connections,
            attempts=transfer.failures + 1,
            etag=None if end.version.etag is None else str(end.version.etag),
            media_type=record.media_type,
        )

    def _reuse(self, record: Record, because: str) -> DownloadResult:
        """Answer with the file that is there, if this order would have taken it from the origin."""
        order = self._order
        path = order.target or order.folder / record.name
        if order.max_bytes is not None and record.size_bytes > order.max_bytes:
            raise reused_too_large(order.url, path, record.size_bytes, order.max_bytes)
        if order.check_video:
            sniffed = container.sniff(self._shelf.read_head(record, HEAD_BYTES))
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
