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

from vidnb.download.destination import Destination
from vidnb.download.digests import Digests
from vidnb.download.driver import PageReceivedError, TransferDriver
from vidnb.download.error_messages import (
    gave_up,
    kept,
    reused_page,
    reused_too_large,
    sent_a_page,
    storage_error,
)
from vidnb.download.part_file import DiskSpace, PartFile
from vidnb.download.planner.events import Complete, GiveUp
from vidnb.download.planner.journal import Journal, Record
from vidnb.download.planner.naming import file_name
from vidnb.download.planner.summary import fetched_summary, known_summary, unchanged_summary
from vidnb.download.planner.transfer import Transfer
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.slots import slots
from vidnb.download.status import DownloadHandle, Phase
from vidnb.download.validation import HEAD_BYTES, check
from vidnb.download.writer import Writer
from vidnb.errors import TransferError
from vidnb.http.headers import parse_media_type
from vidnb.http.urls import origin
from vidnb.io.client import HttpClient
from vidnb.io.threads import run_in_thread
from vidnb.media import sniff

__all__ = ["DownloadTask"]

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
    room: DiskSpace


class DownloadTask:
    """One download, step by step."""

    def __init__(
        self, request: DownloadRequest, handle: DownloadHandle, client: HttpClient
    ) -> None:
        self._request = request
        self._handle = handle
        self._client = client
        self._destination = Destination(request)
        self._started_s = time.monotonic()
        self._reused_because = ""
        self._part: PartFile | None = None
        algorithms = {"sha256"} | ({request.checksum.algorithm} if request.checksum else set())
        self._digests = Digests(frozenset(algorithms))

    async def run(self) -> DownloadResult:
        """Return the result; every failure is one of the tree."""
        request, handle = self._request, self._handle
        handle.status.name = (
            request.target.name if request.target else file_name(None, request.url, None)
        )
        handle.start()
        try:
            result = await self._run()
        except asyncio.CancelledError as cancelled:
            handle.status.feed.fail(cancelled)
            handle.end(
                Phase.CANCELLED,
                f"stopped; {kept(handle.status.resumable_bytes, self._destination.folder)}",
            )
            raise
        except Exception as error:
            handle.end(Phase.FAILED, str(error))
            handle.status.feed.fail(error)
            raise
        handle.status.feed.publish(result.path, result.size_bytes)
        handle.status.name = result.path.name
        handle.status.done_bytes = handle.status.total_bytes = result.size_bytes
        handle.end(Phase.DONE, self._explained(result))
        return result

    async def _run(self) -> DownloadResult:
        request, destination, handle = self._request, self._destination, self._handle
        try:
            found = await self._find()
            if isinstance(found, DownloadResult):
                return found
            part = found.part
            try:
                return await self._fetch(found)
            except FileNotFoundError:
                if not await run_in_thread(
                    part.path.exists
                ):  # its folder was removed, and it as well
                    handle.status.resumable_bytes = 0
                raise
            finally:
                if not part.is_closed:
                    await run_in_thread(part.close, keep=handle.status.resumable_bytes > 0)
        except TransferError as error:
            # The edges know the hop that failed; whoever catches this knows the order.
            error.url, error.resumable_bytes = request.url, handle.status.resumable_bytes
            raise
        except OSError as error:
            path = request.target or request.folder
            raise storage_error(
                error, request.url, path, destination.folder, handle.status.resumable_bytes
            ) from error

    async def _find(self) -> _Found | DownloadResult:
        """Look; whoever is cancelled meanwhile still closes what was opened, and loses nothing."""
        try:
            return await run_in_thread(self._look)
        except asyncio.CancelledError:
            if self._part is not None:
                with suppress(OSError):
                    await run_in_thread(self._part.close, keep=True)
            raise

    def _look(self) -> _Found | DownloadResult:
        """Return the result if the finished file has the digest the caller asked for."""
        destination, checksum = self._destination, self._request.checksum
        record = destination.look()
        if record is not None and checksum is not None:
            if destination.has_digest(record):
                return self._reuse(record, known_summary(checksum.algorithm))
            record = None
        self._part, journal = destination.open_part()
        return _Found(self._part, journal, record, destination.room(self._part))

    async def _fetch(self, found: _Found) -> DownloadResult:
        part, journal, record = found.part, found.journal, found.record
        request, destination, handle = self._request, self._destination, self._handle
        share = slots.share(origin(request.url))
        transfer = Transfer(
            policy=request.retry,
            validators=journal.validators if journal else None,
            stored=journal.stored if journal else None,
            published_validators=record.validators if record is not None else None,
            max_bytes=request.max_bytes,
            max_connections=request.connections,
            host_limit=share.host_takes,
            is_whole_wanted=handle.status.feed.fills,
        )
        resumed_bytes = transfer.source.stored.size_bytes
        handle.begin(resumed_bytes)
        drive = TransferDriver(
            transfer,
            self._client,
            handle,
            url=request.url,
            headers=dict(request.headers),
            idle_timeout_s=request.idle_timeout_s,
            check_video=request.check_video,
            room_before=found.room,
            room=partial(destination.room, part),
            share=share,
        )
        writer = Writer(part, request.url, self._digests, transfer.source.stored, drive.stored)
        try:
            end = await drive.run(writer)
        except PageReceivedError as page:
            if page.is_stored:
                handle.status.resumable_bytes = 0
            resumable_bytes = handle.status.resumable_bytes
            raise sent_a_page(
                request.url, page.title, destination.folder, resumable_bytes
            ) from None
        if isinstance(end, GiveUp):
            raise gave_up(end, request.url, destination.folder, handle.status.resumable_bytes)
        if end.is_unchanged and record is not None:
            if not await run_in_thread(
                destination.stands, record
            ):  # somebody took it away meanwhile
                return await self._fetch(replace(found, record=None))
            return await run_in_thread(
                self._reuse, record, unchanged_summary(record.validators.last_modified_s)
            )
        handle.status.phase = Phase.CHECKING
        total_bytes = end.validators.total_bytes or 0
        while (hashed_bytes := self._digests.hashed_bytes) + _STEP_BYTES < total_bytes:
            await run_in_thread(self._digests.catch_up, part, hashed_bytes + _STEP_BYTES)
        return await run_in_thread(self._finish, part, end, drive, resumed_bytes)

    def _finish(
        self, part: PartFile, end: Complete, drive: TransferDriver, resumed_bytes: int
    ) -> DownloadResult:
        """Check, record and publish."""
        request, transfer = self._request, drive.transfer
        try:
            check(request, part, self._digests, end)
        except TransferError:
            self._handle.status.resumable_bytes = 0
            raise
        record = Record(
            url=request.url,
            final_url=drive.final_url,
            name="",
            validators=end.validators,
            size_bytes=end.validators.total_bytes or 0,
            modified_ns=0,
            sha256=self._digests.hexdigest("sha256"),
            media_type=parse_media_type(drive.media_type or ""),
        )
        # What was sent again, after a change or for want of ranges, was no help.
        is_resumed = not transfer.source.generation and transfer.source.supports_ranges is not False
        return DownloadResult(
            path=self._destination.publish(part, record, drive.disposition),
            url=drive.final_url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            resumed_from_bytes=resumed_bytes if is_resumed else 0,
            connections=transfer.peak_connections,
            attempts=transfer.failures + 1,
            etag=None if end.validators.etag is None else str(end.validators.etag),
            media_type=record.media_type,
        )

    def _reuse(self, record: Record, because: str) -> DownloadResult:
        """Answer with the file that is there, if this order would have taken it from the origin."""
        request = self._request
        path = request.target or request.folder / record.name
        if request.max_bytes is not None and record.size_bytes > request.max_bytes:
            raise reused_too_large(request.url, path, record.size_bytes, request.max_bytes)
        if request.check_video:
            sniffed = sniff.sniff(self._destination.read_head(record, HEAD_BYTES))
            if sniffed.verdict == "page":
                raise reused_page(request.url, path, sniffed.title)
        self._reused_because = because
        etag = record.validators.etag
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
        return self._reused_because or fetched_summary(
            result.size_bytes,
            result.elapsed_s,
            resumed_from_bytes=result.resumed_from_bytes,
            connections=result.connections,
            attempts=result.attempts,
        )
