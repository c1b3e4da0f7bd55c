"""The part of a batch that runs in a worker of an executor: a thread, a process, another machine.

The batch hands out lanes of rows, about a second's work each, and gets outcomes back; only it
writes the ledger. A worker saves a record for each file instead, so that a task which runs twice,
or whose outcome is lost with its worker, fetches nothing again.
"""

import asyncio
import os
import platform
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidnb.download.destination import Destination, own_folder
from vidnb.download.options import DownloadOptions
from vidnb.download.part_file import RecordStore
from vidnb.download.planner.batch_queue import is_overload
from vidnb.download.planner.journal import Record, hash_url
from vidnb.download.planner.rows import Row
from vidnb.download.row_runner import RowOutcome, RowRunner
from vidnb.download.small_file import SmallFile
from vidnb.download.status import DownloadHandle
from vidnb.io.loop import transfers
from vidnb.io.threads import run_in_thread

__all__ = ["RowOrder", "WorkerTask", "run_task", "worker_name"]

_LANE_S = 2.0
"""After this time (s) a lane returns the rest of its rows."""

_WATCH_S = 0.5


@dataclass(frozen=True, slots=True)
class RowOrder:
    """A row to download: its attempt number (from 1) and the time (s) until its deadline.

    The number is an argument of the task, so that an executor which remembers the results of equal
    calls (Dask with `pure=True`) does not return a failure again.
    """

    row: Row
    attempt: int
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """Lanes to download into `folder`; once the file `cancel_path` exists, the worker stops."""

    folder: Path
    options: DownloadOptions
    deadline_s: float | None
    lanes: tuple[tuple[RowOrder, ...], ...]
    cancel_path: str


def run_task(task: WorkerTask) -> list[list[RowOutcome | None]]:
    """Download the rows of a task; return an outcome for each, None for one that was not tried."""
    return transfers.run(_run(task))


def worker_name() -> str:
    """Return the machine and the process."""
    return f"{platform.node()}:{os.getpid()}"


async def _run(task: WorkerTask) -> list[list[RowOutcome | None]]:
    runner = RowRunner(
        task.folder,
        task.options,
        deadline_s=task.deadline_s,
        worker=worker_name(),
        record=_save_records,
    )
    outcomes: list[list[RowOutcome | None]] = [[None] * len(lane) for lane in task.lanes]
    lanes = [
        asyncio.create_task(_run_lane(runner, lane, into), name="vidnb lane")
        for lane, into in zip(task.lanes, outcomes, strict=True)
    ]
    watching = asyncio.create_task(_watch(task.cancel_path, lanes), name="vidnb lane")
    try:
        await asyncio.gather(*lanes, return_exceptions=True)
    finally:
        for lane in (*lanes, watching):
            lane.cancel()
        await asyncio.gather(*lanes, watching, return_exceptions=True)
        await runner.close()
    return outcomes


async def _run_lane(
    runner: RowRunner, lane: Sequence[RowOrder], outcomes: list[RowOutcome | None]
) -> None:
    end_s = time.monotonic() + _LANE_S
    for number, order in enumerate(lane):
        prepared = await run_in_thread(runner.prepare, order.row)
        if prepared.result is not None:
            outcome = RowOutcome(prepared.result)
        else:
            outcome = await runner.run(
                prepared, DownloadHandle(), attempt=order.attempt, left_s=order.left_s
            )
        outcomes[number] = outcome
        if time.monotonic() >= end_s or (outcome.failure and is_overload(outcome.failure)):
            return  # the batch decides when the next request is sent


async def _watch(cancel_path: str, lanes: Sequence[asyncio.Task[None]]) -> None:
    while not await run_in_thread(os.path.exists, cancel_path):  # noqa: ASYNC110 - a file
        await asyncio.sleep(_WATCH_S)
    for lane in lanes:
        lane.cancel()


def _save_records(files: Sequence[SmallFile]) -> None:
    for file in files:
        request, result = file.request, file.result
        if request.target is None:
            continue
        record = Record(
            url_hash=hash_url(request.url, secrets.token_hex(8)),
            name=request.target.name,
            validators=file.body.validators,
            size_bytes=result.size_bytes,
            modified_ns=result.modified_ns,
            sha256=result.sha256,
            media_type=file.body.media_type,
        )
        RecordStore(own_folder(request.folder)).save(Destination(request).key, record)
