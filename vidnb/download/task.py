"""`DownloadTask`: one download, from its request to the published file.

Steps: look for the finished file, open the part file, run the transfer, validate, record, publish.
A call in a thread costs as much as writing some hundred kilobytes, which matters for thousands of
small downloads; so there is one such call before the transfer and one after it.
"""

import asyncio
import logging
import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from vidnb.download.destination import Destination
from vidnb.download.digests import Digests
from vidnb.download.driver import HeadRefusedError, TransferDriver
from vidnb.download.error_messages import (
    describe_kept,
    existing_not_a_video_error,
    existing_too_large_error,
    head_error,
    storage_error,
    transfer_error,
)
from vidnb.download.part_file import DiskSpace, PartFile, UnwritablePart
from vidnb.download.planner.events import Complete, GiveUp
from vidnb.download.planner.journal import Journal, Record, hash_url
from vidnb.download.planner.naming import file_name
from vidnb.download.planner.progress import (
    fetched_summary,
    known_summary,
    unchanged_summary,
    unverified_summary,
)
from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.download.planner.transfer import Transfer
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.slots import slots
from vidnb.download.status import DownloadHandle, Phase
from vidnb.download.validation import HEAD_BYTES, is_refused, validate
from vidnb.download.writer import Writer
from vidnb.errors import MissingExtra, TransferError, URLNotAllowed
from vidnb.http.headers import parse_media_type
from vidnb.http.urls import origin, redact
from vidnb.io.client import HttpClient
from vidnb.io.netrc_file import read_netrc
from vidnb.io.regular_file import printable
from vidnb.io.threads import run_in_thread
from vidnb.media.sniff import sniff

__all__ = ["DownloadTask"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is on disk before the first request: part file, finished file and free space."""

    part: PartFile
    journal: Journal | None
    record: Record | None
    space: DiskSpace


class DownloadTask:
    """One download; `run` may be called once."""

    def __init__(
        self, request: DownloadRequest, handle: DownloadHandle, client: HttpClient
    ) -> None:
        self._request = request
        self._handle = handle
        self._client = client
        self._settings = request.settings()
        self._destination = Destination(request)
        self._started_s = time.monotonic()
        self._reuse_summary = ""
        self._url_hash = hash_url(request.url, secrets.token_hex(8))
        self._part: PartFile | None = None
        algorithms = {"sha256"} | ({request.checksum.algorithm} if request.checksum else set())
        self._digests = Digests(frozenset(algorithms))

    async def run(self) -> DownloadResult:
        """Run the download; raises the tree under `vidnb.TransferError`."""
        request, handle = self._request, self._handle
        handle.status.name = printable(
            request.target.name if request.target else file_name(None, request.url, None)
        )
        handle.attach_loop()
        try:
            result = await self._run()
        except asyncio.CancelledError as cancelled:
            handle.status.feed.fail(cancelled)
            kept = describe_kept(handle.status.resumable_bytes, self._destination.folder)
            handle.end(Phase.CANCELLED, f"stopped; {kept}")
            raise
        except Exception as error:
            # The text of an error that is not of vidnb's tree may be anything, also a secret.
            known = isinstance(error, TransferError)
            handle.end(Phase.FAILED, str(error) if known else type(error).__name__)
            handle.status.feed.fail(error)
            raise
        handle.status.feed.publish(result.path, result.size_bytes)
        handle.status.name = printable(result.path.name)
        handle.status.done_bytes = handle.status.total_bytes = result.size_bytes
        handle.end(Phase.DONE, self._summary(result))
        return result

    async def _run(self) -> DownloadResult:
        request, destination, handle = self._request, self._destination, self._handle
        try:
            found = await self._prepare()
            if isinstance(found, DownloadResult):
                return found
            part = found.part
            try:
                return await self._fetch(found)
            except FileNotFoundError:
                if not await run_in_thread(part.path.exists):  # removed with its folder
                    handle.status.resumable_bytes = 0
                raise
            finally:
                if not part.is_closed:
                    await run_in_thread(part.close, keep=handle.status.resumable_bytes > 0)
        except TransferError as error:
            # It was raised for one request; the caller knows the URL of the download.
            error.url, error.resumable_bytes = request.url, handle.status.resumable_bytes
            raise
        except OSError as error:
            path = request.target or request.folder
            raise storage_error(
                error, request.url, path, destination.folder, handle.status.resumable_bytes
            ) from error

    async def _prepare(self) -> _Found | DownloadResult:
        """Run `_find` in a thread; if it is cancelled, close the part file and keep it."""
        try:
            return await run_in_thread(self._find)
        except asyncio.CancelledError:
            if self._part is not None:
                with suppress(OSError):
                    await run_in_thread(self._part.close, keep=True)
            raise

    def _find(self) -> _Found | DownloadResult:
        """Return the result if the finished file has the expected digest, else what is on disk."""
        destination, checksum = self._destination, self._request.checksum
        if self._request.session is None:  # which has its own
            self._settings = replace(self._settings, netrc=read_netrc(os.environ))
        record = destination.find_finished()
        if record is not None and checksum is not None:
            if destination.has_digest(record):
                return self._reuse(record, known_summary(checksum.algorithm))
            record = None
        try:
            self._part, journal = destination.open_part()
        except OSError as error:  # such as a read-only disk
            if record is None:
                raise
            # The finished file may still be current; if not, the first write reports the error.
            part = UnwritablePart(destination.folder, error)
            return _Found(part, None, record, DiskSpace(sys.maxsize, 0))
        return _Found(self._part, journal, record, destination.disk_space(self._part))

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
            host_limit=share.host_limit,
            is_whole_wanted=handle.status.feed.fills,
        )
        resumed_bytes = transfer.source.stored.size_bytes
        handle.start_meter(resumed_bytes)
        driver = TransferDriver(
            transfer,
            self._client,
            handle,
            url=request.url,
            settings=self._settings,
            idle_timeout_s=request.idle_timeout_s,
            check_video=request.check_video,
            room_before=found.space,
            room=partial(destination.disk_space, part),
            share=share,
        )
        writer = Writer(part, self._url_hash, self._digests, transfer.source.stored, driver.stored)
        try:
            end = await self._run_transfer(driver, writer)
        except HeadRefusedError as refused:
            if refused.is_stored:
                handle.status.resumable_bytes = 0
            kept_bytes, folder = handle.status.resumable_bytes, destination.folder
            raise head_error(
                request.url, refused.sniffed, refused.claim, folder, kept_bytes
            ) from None
        if isinstance(end, GiveUp):
            resumable_bytes = handle.status.resumable_bytes
            raise transfer_error(
                end, request.url, destination.folder, resumable_bytes, driver.login_remedy
            )
        if end.is_unchanged and record is not None:
            if not await run_in_thread(destination.is_unchanged, record):  # removed meanwhile
                return await self._fetch(replace(found, record=None))
            return await run_in_thread(self._reuse_published, record, end, driver.final_url)
        handle.status.phase = Phase.CHECKING
        total_bytes = end.validators.total_bytes or 0
        await self._digests.catch_up_in_threads(part, total_bytes)
        return await run_in_thread(self._finish, part, end, driver, resumed_bytes)

    async def _run_transfer(self, driver: TransferDriver, writer: Writer) -> Complete | GiveUp:
        """Run the transfer; a published file is reused although a request was refused here.

        Networks that require a login redirect every request, often from https to http.
        """
        try:
            return await driver.run(writer)
        except (URLNotAllowed, MissingExtra) as error:
            published = driver.transfer.source.reusable_validators
            if published is None or self._request.public_only:
                raise
            reason = "its redirect leads where vidnb does not fetch"
            if isinstance(error, MissingExtra):
                reason = f"its proxy needs the extra {error.extra}, which is not installed"
            failure = Failure(FailureKind.REFUSED, reason)
            return Complete(published, is_unchanged=True, failure=failure)

    def _finish(
        self, part: PartFile, end: Complete, driver: TransferDriver, resumed_bytes: int
    ) -> DownloadResult:
        """Validate, record and publish."""
        request, transfer = self._request, driver.transfer
        try:
            validate(request, part, self._digests, end)
        except TransferError:
            self._handle.status.resumable_bytes = 0
            raise
        record = Record(
            url_hash=self._url_hash,
            name="",
            validators=end.validators,
            size_bytes=end.validators.total_bytes or 0,
            modified_ns=0,
            sha256=self._digests.hexdigest("sha256"),
            media_type=parse_media_type(driver.media_type or ""),
        )
        # After a change, or without ranges, the stored bytes were sent again.
        is_resumed = not transfer.source.generation and transfer.source.supports_ranges is not False
        return DownloadResult(
            path=self._destination.publish(part, record, driver.disposition, driver.final_url),
            url=driver.final_url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            resumed_from_bytes=resumed_bytes if is_resumed else 0,
            connections=transfer.peak_connections,
            attempts=transfer.failures + 1,
            etag=None if end.validators.etag is None else str(end.validators.etag),
            media_type=record.media_type,
        )

    def _reuse_published(self, record: Record, end: Complete, final_url: str) -> DownloadResult:
        """Return the published file, which is current, or could not be compared with its source."""
        if end.failure is None:
            summary = unchanged_summary(record.validators.last_modified_s)
            return self._reuse(record, summary, final_url)
        result = self._reuse(record, unverified_summary(end.failure.reason))
        logger.warning(
            "%s could not be compared with %s, and is used as it is: %s.",
            printable(result.path),
            redact(self._request.url),
            end.failure.reason,
        )
        return result

    def _reuse(self, record: Record, summary: str, url: str = "") -> DownloadResult:
        """Return the existing file as the result, if it passes the checks of this request.

        `url` is its address after redirects, if there was a response.
        """
        request = self._request
        path = request.target or request.folder / record.name
        if request.max_bytes is not None and record.size_bytes > request.max_bytes:
            raise existing_too_large_error(request.url, path, record.size_bytes, request.max_bytes)
        if request.check_video:
            sniffed = sniff(self._destination.read_head(record, HEAD_BYTES))
            if is_refused(sniffed, None, check_video=True):
                raise existing_not_a_video_error(request.url, path, sniffed)
        self._reuse_summary = summary
        etag = record.validators.etag
        return DownloadResult(
            path=path,
            url=url or request.url,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            elapsed_s=time.monotonic() - self._started_s,
            reused=True,
            etag=None if etag is None else str(etag),
            media_type=record.media_type,
        )

    def _summary(self, result: DownloadResult) -> str:
        return self._reuse_summary or fetched_summary(
            result.size_bytes,
            result.elapsed_s,
            resumed_from_bytes=result.resumed_from_bytes,
            connections=result.connections,
            attempts=result.attempts,
        )
