"""Short files in one step each: fetched into memory, validated, and published many at a time.

`DownloadTask` locks a part file, keeps a journal and saves a record, so that a long download can be
resumed; for a file of some kilobytes that takes longer than the file itself. Here one thread step
validates, writes, records in the ledger of the batch and publishes all files that have arrived.
Response heads are judged by the planner (`planner.response_decision`), content by `validation`.

The order within a step is that of `Destination`: the ledger names a file before it has its name, so
after a kill in between a file is missing, and never unknown.
"""

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vidnb.download.destination import FOLDER, own_folder
from vidnb.download.error_messages import storage_error, transfer_error
from vidnb.download.planner.events import Complete, GiveUp
from vidnb.download.planner.response_decision import (
    AcceptBody,
    RejectSource,
    RequestFailed,
    decide,
)
from vidnb.download.planner.response_head import parse_response_head
from vidnb.download.planner.retry import Failure, GiveUpReason
from vidnb.download.planner.rows import RowResult
from vidnb.download.planner.segments import ActiveRequest
from vidnb.download.planner.source_state import SourceState
from vidnb.download.request import DownloadRequest
from vidnb.download.slots import slots
from vidnb.download.validation import validate_content
from vidnb.errors import TransferError
from vidnb.http.credentials import Netrc, refusal_remedy
from vidnb.http.headers import parse_media_type
from vidnb.http.ranges import ByteRangeSet
from vidnb.http.urls import origin
from vidnb.http.validators import Validators
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.locks import lock
from vidnb.io.threads import run_in_thread

__all__ = ["MAX_SMALL_BYTES", "SmallBody", "SmallFile", "SmallFilePublisher", "fetch_small"]

MAX_SMALL_BYTES = 4 * 2**20
"""A longer file is downloaded by `DownloadTask`, which can resume it."""


@dataclass(frozen=True, slots=True)
class SmallBody:
    """The whole body of a response that the planner accepted."""

    data: bytes
    validators: Validators
    media_type: str | None


async def fetch_small(
    request: DownloadRequest, client: HttpClient, netrc: Netrc
) -> SmallBody | None:
    """Fetch a file of a known, small length; None if this response does not have one.

    Raises what `vidnb.download` does for a response without usable bytes.
    """
    host = origin(request.url)
    await slots.acquire(host)
    try:
        response = await client.get(
            request.url,
            request.settings(netrc),
            request_headers={},
            idle_timeout_s=request.idle_timeout_s,
            max_whole_bytes=MAX_SMALL_BYTES,
        )
        try:
            return await _read(request, response)
        finally:
            response.close()
    except ConnectionFault as fault:
        raise _given_up(request, GiveUpReason.FAILED, fault.failure) from fault
    finally:
        slots.release(host)


async def _read(request: DownloadRequest, response: HttpResponse) -> SmallBody | None:
    headers = response.headers
    head = parse_response_head(
        response.status,
        headers,
        requested_start=0,
        is_ranged=False,
        is_conditional=False,
        now_s=time.time(),
    )
    decision = decide(
        head,
        headers,
        ActiveRequest(0, 0, 0, is_ranged=False, has_if_range=False, is_conditional=False),
        SourceState(),
        ByteRangeSet(),
        has_other_responses=False,
        max_bytes=request.max_bytes,
    )
    match decision:
        case RejectSource(reason, failure):
            raise _given_up(request, reason, failure)
        case RequestFailed(failure):
            challenge = headers.get("www-authenticate", "")
            remedy = refusal_remedy(response.status, response.login, challenge)
            raise _given_up(request, GiveUpReason.FAILED, failure, remedy)
        case AcceptBody(validators, _, _, _, None):
            length_bytes = validators.total_bytes
            if length_bytes is not None and length_bytes <= MAX_SMALL_BYTES:
                data = await response.read_whole(length_bytes)
                return SmallBody(
                    data, validators, parse_media_type(headers.get("content-type", ""))
                )
    return None


def _given_up(
    request: DownloadRequest, reason: GiveUpReason, failure: Failure, remedy: str = ""
) -> TransferError:
    end = GiveUp(reason, failure, attempts=1)
    return transfer_error(end, request.url, request.folder / FOLDER, 0, remedy)


@dataclass(slots=True, eq=False)
class SmallFile:
    """A file to publish; `result` is that of its row, `file` the written one, locked."""

    request: DownloadRequest
    body: SmallBody
    result: RowResult
    published: asyncio.Future[RowResult]
    file: int = -1
    path: str = ""
    error: Exception | None = None


class SmallFilePublisher:
    """Publishes files in one thread; all that wait are published in its next step.

    `record` writes down, in that thread, which files are about to be published.
    """

    def __init__(self, record: Callable[[Sequence[SmallFile]], object]) -> None:
        self._record = record
        self._jobs: list[SmallFile] = []
        self._work: asyncio.Task[None] | None = None
        self._folders: dict[Path, str] = {}

    async def publish(
        self, request: DownloadRequest, body: SmallBody, result: RowResult
    ) -> RowResult:
        """Validate, record and publish a file; return `result` with what is known of the file.

        Raises as `vidnb.download`. A file that is being published is published, cancelled or not.
        """
        published: asyncio.Future[RowResult] = asyncio.get_running_loop().create_future()
        self._jobs.append(SmallFile(request, body, result, published))
        if self._work is None:
            self._work = asyncio.create_task(self._publish_all(), name="vidnb small files")
        return await published

    async def close(self) -> None:
        """Publish what waits."""
        if self._work is not None:
            await asyncio.wait([self._work])

    async def _publish_all(self) -> None:
        try:
            while self._jobs:
                jobs, self._jobs = self._jobs, []
                await run_in_thread(self._step, jobs)
                for job in jobs:
                    if job.published.done():
                        continue
                    if job.error is None:
                        job.published.set_result(job.result)
                    else:
                        job.published.set_exception(job.error)
        finally:
            self._work = None

    def _step(self, jobs: Sequence[SmallFile]) -> None:
        """Write, record, publish; a file that fails does not keep the others from it."""
        for job in jobs:
            self._attempt(job, self._write)
        try:
            self._record([job for job in jobs if job.error is None])
        except Exception as error:  # noqa: BLE001 - raised for each file
            for job in jobs:
                job.error = job.error or error
        for job in jobs:
            if job.error is None:
                self._attempt(job, _move)
            if job.file >= 0:
                if job.error is not None:
                    with suppress(OSError):
                        os.unlink(job.path)  # noqa: PTH108 - a thousand times a second
                os.close(job.file)

    def _attempt(self, job: SmallFile, work: Callable[[SmallFile], None]) -> None:
        request = job.request
        try:
            work(job)
        except TransferError as error:
            job.error = error
        except OSError as error:
            path, folder = request.target or request.folder, own_folder(request.folder)
            job.error = storage_error(error, request.url, path, folder, 0)
        except Exception as error:  # noqa: BLE001 - the caller of `publish` gets it
            job.error = error

    def _write(self, job: SmallFile) -> None:
        """Validate the bytes and write them under a temporary name."""
        request, body = job.request, job.body
        data, size_bytes = body.data, len(body.data)
        sha256 = hashlib.sha256(data).hexdigest()

        def hexdigest(algorithm: str) -> str:
            if algorithm == "sha256":
                return sha256
            return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()

        validate_content(
            request,
            lambda byte_range: data[byte_range.start : byte_range.stop],
            hexdigest,
            Complete(body.validators),
        )
        job.file, job.path = self._create(request.folder)
        left = memoryview(data)
        while left:
            left = left[os.write(job.file, left) :]
        etag = body.validators.etag
        job.result = replace(
            job.result,
            state="done",
            size_bytes=size_bytes,
            sha256=sha256,
            media_type=body.media_type or "",
            modified_ns=os.fstat(job.file).st_mtime_ns,
            etag="" if etag is None else str(etag),
        )

    def _create(self, folder: Path) -> tuple[int, str]:
        """Create a file that a sweep removes after a kill, and not before: it is locked."""
        start = self._folders.get(folder)
        if start is None:
            folder.mkdir(parents=True, exist_ok=True)
            own = own_folder(folder)
            own.mkdir(mode=0o700, exist_ok=True)
            start = self._folders[folder] = f"{own}{os.sep}small-{secrets.token_hex(8)}."
        while True:
            path = f"{start}{secrets.token_hex(8)}.part"
            try:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:  # another download has removed the folder, which was empty
                if not folder.is_dir():
                    raise
                del self._folders[folder]
                return self._create(folder)
            if lock(file) is not False:
                return file, path
            os.close(file)  # a sweep has locked it, to remove it


def _move(job: SmallFile) -> None:
    target = job.request.target
    if target is None:
        raise IsADirectoryError
    if job.request.if_exists == "error":
        os.link(job.path, target)
        os.unlink(job.path)  # noqa: PTH108 - as above
    else:
        os.replace(job.path, target)  # noqa: PTH105 - as above
