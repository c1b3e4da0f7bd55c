"""`RowRunner`: downloads one row of a batch and reports the outcome; also in a worker process.

It makes one attempt: the queue of the batch decides on another one, so that a row which waits for
its next attempt uses no connection. Every error becomes an outcome.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vidnb.download.destination import FOLDER, Destination, own_folder
from vidnb.download.error_messages import deadline_error
from vidnb.download.options import DownloadOptions
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.rows import Row, RowResult, RowState
from vidnb.download.registry import download, shared_client
from vidnb.download.request import DownloadRequest
from vidnb.download.small_file import SmallBody, SmallFile, SmallFilePublisher, fetch_small
from vidnb.download.status import DownloadHandle
from vidnb.errors import StatusError, TransferError, URLNotAllowed, VidnbError
from vidnb.http.credentials import Netrc
from vidnb.http.urls import origin
from vidnb.io.netrc_file import read_netrc
from vidnb.io.threads import run_in_thread

__all__ = ["PreparedRow", "RowOutcome", "RowRunner", "host_of"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True, eq=False)
class PreparedRow:
    """A row and its checked request; `result`: it has failed, or its file is there already.

    `is_new`: nothing is there of its file. `is_recorded`: the ledger has its result. `spent_s`: the
    time of its attempts so far (s).
    """

    row: Row
    host: str
    request: DownloadRequest | None = None
    result: RowResult | None = None
    is_new: bool = False
    is_recorded: bool = False
    spent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The result of one attempt; `failure` is None for a success.

    `kept_bytes`: how many bytes the next attempt need not fetch.
    """

    result: RowResult
    failure: Failure | None = None
    kept_bytes: int = 0


class RowRunner:
    """Downloads rows into `folder` with the options of the batch.

    `deadline_s` is the time (s) that a row has, None without a limit; `worker` names where it runs.
    `record` writes down which small files are about to be published, in a thread.
    """

    def __init__(
        self,
        folder: Path,
        options: DownloadOptions,
        *,
        deadline_s: float | None,
        worker: str,
        record: Callable[[Sequence[SmallFile]], object],
    ) -> None:
        self._folder = folder
        self._options = options
        self._deadline_s = deadline_s
        self._worker = worker
        self._publisher = SmallFilePublisher(record)
        self._netrc = Netrc()
        self._has_netrc = False
        self._parts: dict[Path, frozenset[str]] = {}
        self._hosts_of_large: set[str] = set()

    def prepare(self, row: Row) -> PreparedRow:
        """Check a row and look for its file; blocks on the disk.

        A row that cannot be requested has failed. A complete file that an earlier download recorded
        and that is unchanged since is taken as it is: its origin is not asked.
        """
        if row.error or row.name is None:
            return PreparedRow(row, "", result=self.failed(row, ValueError(row.error)))
        started_s = time.monotonic()
        try:
            request = self._request(row, row.name)
            host, target = host_of(request.url), request.target
            if target is not None and not os.path.lexists(target):
                is_new = not self._has_part(request)
                return PreparedRow(row, host, request, is_new=is_new)
            return PreparedRow(row, host, request, self._find(row, request, started_s))
        except (VidnbError, ValueError, OSError) as error:
            return PreparedRow(row, "", result=self.failed(row, error))

    def _request(self, row: Row, name: str) -> DownloadRequest:
        """Return the request of a row; raises as `DownloadRequest.of`."""
        target = self._folder / name
        options = DownloadOptions(**self._options)
        if row.checksum is not None:
            options["checksum"] = row.checksum
        if row.headers:
            options["headers"] = {**(options.get("headers") or {}), **dict(row.headers)}
        # The attempts are counted by the queue of the batch.
        options["retry"] = replace(options.get("retry") or RetryPolicy(), attempts=1)
        request = DownloadRequest.of(row.url, target, **options)
        return replace(request, folder=target.parent, target=target)

    def _has_part(self, request: DownloadRequest) -> bool:
        """Whether an earlier run stored a part of the file; the folder is read once."""
        folder = own_folder(request.folder)
        parts = self._parts.get(folder)
        if parts is None:
            parts = frozenset()
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                parts = frozenset(e.name for e in entries if e.name.endswith(".part"))
            self._parts[folder] = parts
        return bool(parts) and f"{Destination(request).key}.part" in parts

    def _find(self, row: Row, request: DownloadRequest, started_s: float) -> RowResult | None:
        """Return the result of a row whose file an earlier download published."""
        target = request.target
        if target is None or request.if_exists != "refresh" or not target.is_file():
            return None
        destination = Destination(request)
        record = destination.find_finished()
        if record is None or not record.url_hash:
            return None
        if request.checksum is not None and not destination.has_digest(record):
            return None
        if request.max_bytes is not None and record.size_bytes > request.max_bytes:
            return None
        etag = record.validators.etag
        return replace(
            self._result(row),
            state="done",
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            media_type=record.media_type or "",
            elapsed_s=time.monotonic() - started_s,
            modified_ns=record.modified_ns,
            etag="" if etag is None else str(etag),
        )

    async def run(
        self,
        prepared: PreparedRow,
        handle: DownloadHandle,
        *,
        attempt: int,
        left_s: float | None = None,
    ) -> RowOutcome:
        """Make one attempt; `attempt` counts from 1, `left_s` is the time (s) until the deadline.

        Raises nothing but `asyncio.CancelledError`.
        """
        started_s, row, request = time.monotonic(), prepared.row, prepared.request
        if request is None:
            return RowOutcome(prepared.result or self._result(row))
        deadline = asyncio.timeout(left_s)
        try:
            async with deadline:
                return RowOutcome(await self._attempt(prepared, request, handle, attempt))
        except TimeoutError as error:
            if deadline.expired() and not isinstance(error, VidnbError):
                folder, kept_bytes = request.folder / FOLDER, handle.status.resumable_bytes
                error = deadline_error(request.url, self._deadline_s or 0, folder, kept_bytes)
            failure: Exception = error
        except Exception as error:  # noqa: BLE001 - one row never ends the batch
            failure = error
        elapsed_s = time.monotonic() - started_s
        failed = replace(self.failed(row, failure), attempts=attempt, elapsed_s=elapsed_s)
        return RowOutcome(failed, _failure_of(failure), handle.status.resumable_bytes)

    async def _attempt(
        self, prepared: PreparedRow, request: DownloadRequest, handle: DownloadHandle, attempt: int
    ) -> RowResult:
        """Download the file; raises as `vidnb.download`."""
        started_s, row = time.monotonic(), prepared.row
        done = self._result(row, state="done", attempts=attempt, checksum=row.checksum or "")
        if prepared.is_new and attempt == 1 and prepared.host not in self._hosts_of_large:
            body = await self._fetch_small(request)
            if body is not None:
                handle.status.done_bytes = len(body.data)
                prepared.is_recorded = True
                return await self._publisher.publish(request, body, done)
            self._hosts_of_large.add(prepared.host)
        result = await download(request, handle)
        if result.reused:
            handle.status.initial_bytes = result.size_bytes
        status = await run_in_thread(os.stat, result.path)
        return replace(
            done,
            size_bytes=result.size_bytes,
            sha256=result.sha256,
            media_type=result.media_type or "",
            elapsed_s=time.monotonic() - started_s,
            modified_ns=status.st_mtime_ns,
            etag=result.etag or "",
        )

    async def _fetch_small(self, request: DownloadRequest) -> SmallBody | None:
        if not self._has_netrc:
            self._netrc = await run_in_thread(read_netrc, os.environ)
            self._has_netrc = True
        client = shared_client(public_only=request.public_only)
        return await fetch_small(request, client, self._netrc)

    async def close(self) -> None:
        """Publish what waits."""
        await self._publisher.close()

    def failed(self, row: Row, error: Exception) -> RowResult:
        """Return the result of a row that failed with `error`."""
        known = isinstance(error, VidnbError | ValueError | OSError)
        # The text of another error may be anything, also a secret.
        sentence = str(error) if known else type(error).__name__
        return replace(self._result(row), error_type=type(error).__name__, error=sentence)

    def _result(
        self, row: Row, *, state: RowState = "failed", attempts: int = 0, checksum: str = ""
    ) -> RowResult:
        return RowResult(
            row.number,
            row.url,
            state,
            "" if row.name is None else os.path.join(self._folder, row.name),  # noqa: PTH118
            attempts=attempts,
            host=host_of(row.url),
            worker=self._worker,
            checksum=checksum,
        )


def host_of(url: str) -> str:
    """Return host and port of a URL for limits and display, "" for one that is not allowed."""
    try:
        scheme, host, port = origin(url)
    except URLNotAllowed:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == _DEFAULT_PORTS[scheme] else f"{shown}:{port}"


def _failure_of(error: Exception) -> Failure:
    """Return what the queue needs to know of an error."""
    if isinstance(error, StatusError):
        return Failure(
            FailureKind.STATUS, str(error), error.status, retry_after_s=error.retry_after_s
        )
    is_transient = isinstance(error, TransferError) and error.is_transient
    return Failure(FailureKind.LOST if is_transient else FailureKind.REFUSED, str(error))
