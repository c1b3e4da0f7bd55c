"""`BatchDriver`: runs a batch on the transfers loop: reads rows, starts them, stores the results.

The queue (`planner.batch_queue`) decides which row starts when. Rows are read ahead in a thread, a
few hundred at a time. Results are written to the ledger together, in the order in which rows end.
"""

import asyncio
import concurrent.futures
import hashlib
import logging
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vidnb.download.batch_worker import RowOrder, WorkerTask, run_task, worker_name
from vidnb.download.destination import FOLDER, own_folder
from vidnb.download.ledger import Ledger, write_status
from vidnb.download.options import DownloadOptions
from vidnb.download.planner.batch_progress import BatchProgress, BatchState, FailureGroups
from vidnb.download.planner.batch_queue import BatchQueue, Lane, StartedRow
from vidnb.download.planner.progress import ProgressMeter
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.rows import Row, RowResult
from vidnb.download.result_store import ResultStore
from vidnb.download.row_overflow import RowOverflow
from vidnb.download.row_runner import PreparedRow, RowOutcome, RowRunner
from vidnb.download.small_file import SmallFile
from vidnb.download.stale_files import sweep
from vidnb.download.status import DownloadHandle
from vidnb.errors import StorageError
from vidnb.http.urls import redact
from vidnb.io.calls import CLEANUP_S
from vidnb.io.regular_file import printable
from vidnb.io.threads import run_in_thread, to_thread

__all__ = ["BatchDriver", "BatchSettings", "Dedupe"]

Dedupe: TypeAlias = Literal["report", "link"] | None

_READ_ROWS = 256
_READ_S = 0.05
"""A step of the reader takes at most so many rows and about this time (s)."""

_MAX_OVERFLOW_ROWS = 50_000
_REFILL_ROWS = 64  # of one host
_MAX_PENDING = 2000
"""Beyond so many results that wait for the ledger, no row is started."""

_GATHER_S = 0.02
"""Results that come within this time (s) are written together."""

_SNAPSHOT_S = 0.2
_TASKS = 4
"""How many tasks of an executor share the slots: more keep more workers busy at once."""

_LANE_S = 1.0
_MAX_LANE_ROWS = 64
_FIRST_ROW_S = 0.5
"""The time of a row (s), by which lanes get their number of rows, before it is known."""

logger = logging.getLogger(__name__)

_MOST_SLOW = 5


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """The checked arguments of a batch; see `download_many`."""

    folder: Path
    options: DownloadOptions
    policy: RetryPolicy
    concurrency: int = 16
    per_host: int = 4
    deadline_s: float | None = None
    status: Path | None = None
    dedupe: Dedupe = "report"
    executor: concurrent.futures.Executor | None = None


@dataclass(slots=True)
class _Same:
    """Rows with the same URL: the result of the first, and those that wait for it."""

    index: int | None = None
    waiting: list[PreparedRow] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    done: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    duplicates: int = 0


class BatchDriver:
    """One batch; every method but `progress` is called on the transfers loop.

    `results` has a result for each row that ended, `failed_rows` the rows that failed.
    """

    def __init__(
        self, rows: Iterator[Row], total: int | None, settings: BatchSettings, results: ResultStore
    ) -> None:
        self._rows = rows
        self._total = total
        self._settings = settings
        self._results = results
        self.failed_rows: dict[int, Row] = {}
        self.counts = _Counts()
        self.failures = FailureGroups()
        self.size_bytes = 0
        self._started_s = time.monotonic()
        self._ended_s: float | None = None
        self._queue: BatchQueue[PreparedRow] = BatchQueue(
            concurrency=settings.concurrency,
            per_host=settings.per_host,
            policy=settings.policy,
            deadline_s=settings.deadline_s,
        )
        self._runner = RowRunner(
            settings.folder,
            settings.options,
            deadline_s=settings.deadline_s,
            worker=worker_name(),
            record=self._record_small,
        )
        self._ledger: Ledger | None = None
        self._executor = settings.executor
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Task[None] | None = None
        self._row_s = _FIRST_ROW_S
        self._checked_workers: set[str] = set()
        self._cancel_path = os.path.join(  # noqa: PTH118 - `own_folder` would block
            settings.folder, FOLDER, f"batch-{secrets.token_hex(8)}.cancel"
        )
        self._overflow = RowOverflow()
        self._rejected: list[tuple[str, Row]] = []
        self._same: dict[bytes, _Same] = {}
        self._by_digest: dict[str, str] = {}
        self._running: dict[StartedRow[PreparedRow], tuple[asyncio.Task[None], DownloadHandle]] = {}
        self._pending: list[tuple[PreparedRow, RowResult | int]] = []
        self._is_writing = False
        self._is_exhausted = False
        self._is_read = False
        self._is_paused = False
        self._is_cancelled = False
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wants_rows = asyncio.Event()
        self._has_pending = asyncio.Event()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._meter = ProgressMeter(self._started_s)
        self.progress = BatchProgress(total)

    # The life of a batch.

    async def run(self) -> None:
        """Run to the end; raises what ended the batch early, such as the disk's `StorageError`."""
        try:
            ledger = await run_in_thread(self._open_ledger)
        except OSError as error:
            raise _unusable(self._settings.folder, error) from error
        helpers: list[asyncio.Task[None]] = []
        try:
            for work in (self._read(ledger), self._write(ledger), self._observe()):
                helper = asyncio.create_task(work, name="vidnb batch")
                helper.add_done_callback(self._fail_with)
                helpers.append(helper)
            try:
                await self._end
            finally:
                await self._stop(helpers)
                await self._store_pending(ledger)
        finally:
            await run_in_thread(self._close, ledger)
            self._ended_s = time.monotonic()
            self._snapshot()
        if self._settings.status is not None:
            await to_thread(write_status, self._settings.status, self._results.in_order())
        if self._error is not None:
            raise self._error

    def _open_ledger(self) -> Ledger:
        self._settings.folder.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(self._settings.folder)
        try:
            ledger.load()
        except BaseException:
            ledger.close()
            raise
        sweep(own_folder(self._settings.folder))
        self._ledger = ledger
        return ledger

    def _record_small(self, files: Sequence[SmallFile]) -> None:
        if self._ledger is not None:
            self._ledger.append([file.result for file in files])

    def _close(self, ledger: Ledger) -> None:
        ledger.close()
        self._overflow.close()
        if not self._tasks:
            with suppress(OSError):
                os.unlink(self._cancel_path)  # noqa: PTH108 - text, as the workers get it
        close = getattr(self._rows, "close", None)  # of a generator: it closes its file
        if close is not None:
            close()

    async def _stop(self, helpers: list[asyncio.Task[None]]) -> None:
        tasks = [task for task, _ in self._running.values()]
        if self._timer is not None:
            self._timer.cancel()
        for task in (*tasks, *helpers):
            task.cancel()
        await asyncio.gather(*tasks, *helpers, return_exceptions=True)
        await self._runner.close()
        if self._stopping is not None:
            await asyncio.wait([self._stopping])
        if self._executor is not None and tasks:  # an exception ended the batch
            await run_in_thread(_touch, self._cancel_path)

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    def pause(self) -> None:
        """Start no row, and read nothing of those that run, until `resume`."""
        self._is_paused = True
        for _, handle in self._running.values():
            handle.pause()
        self._snapshot()

    def resume(self) -> None:
        """Continue after `pause`."""
        self._is_paused = False
        for _, handle in self._running.values():
            handle.resume()
        self._snapshot()
        self._start_rows()

    def cancel(self) -> None:
        """End the batch; the rows that run keep what can be resumed."""
        if self._is_cancelled:
            return
        self._is_cancelled = self._is_read = True
        for prepared, attempts in self._queue.drain():
            self._record_cancelled(prepared, attempts)
        for same in self._same.values():
            for prepared in same.waiting:
                self._record_cancelled(prepared, 0)
            same.waiting.clear()
        if self._executor is None:
            for task, _ in self._running.values():
                task.cancel()
        else:
            loop = asyncio.get_running_loop()
            stopping = loop.create_task(self._stop_workers(), name="vidnb batch")
            self._stopping = stopping
        self._look_for_end()

    async def _stop_workers(self) -> None:
        """Let the workers see that the batch is cancelled; wait for them, but not for ever."""
        await run_in_thread(_touch, self._cancel_path)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEANUP_S)
        for task in tuple(self._tasks):
            task.cancel()

    def _look_for_end(self) -> None:
        is_idle = not (len(self._queue) or self._running or self._pending or self._is_writing)
        if self._is_read and is_idle and not self._end.done():
            self._end.set_result(None)

    # Rows.

    async def _read(self, ledger: Ledger) -> None:
        """Read rows while the queue has room for them."""
        while not (self._is_exhausted and not len(self._overflow) and not self._rejected):
            hosts = self._hosts_to_refill()
            count = self._rows_to_read()
            if not (hosts or count or self._rejected):
                self._wants_rows.clear()
                await self._wants_rows.wait()
                continue
            for prepared in await to_thread(self._take, ledger, hosts, count):
                if self._is_cancelled:
                    return
                self._admit(prepared)
            self._start_rows()
        self._is_read = True
        self._look_for_end()

    def _hosts_to_refill(self) -> list[str]:
        return [h for h in self._overflow.hosts if self._queue.room(h) >= _REFILL_ROWS]

    def _rows_to_read(self) -> int:
        """Return how many rows of the table to read now."""
        is_needed = self._queue.is_starved or self._queue.is_low
        if self._is_exhausted or not is_needed or len(self._overflow) >= _MAX_OVERFLOW_ROWS:
            return 0
        return min(_READ_ROWS, self._queue.free)

    def _take(self, ledger: Ledger, hosts: list[str], count: int) -> list[PreparedRow]:
        """Return prepared rows from the overflow of `hosts` and from the table; in a thread."""
        for host, row in self._rejected:
            self._overflow.put(host, row)
        self._rejected.clear()
        taken = [self._prepare(ledger, row) for host in hosts for row in self._overflow.take(host)]
        end_s = time.monotonic() + _READ_S
        for _ in range(count):
            try:
                row = next(self._rows)
            except StopIteration:
                self._is_exhausted = True
                break
            except Exception as error:  # noqa: BLE001 - the rows before it are still downloaded
                self._is_exhausted, self._error = True, error
                break
            taken.append(self._prepare(ledger, row))
            if time.monotonic() >= end_s:
                break
        return taken

    def _prepare(self, ledger: Ledger, row: Row) -> PreparedRow:
        if self._settings.options.get("if_exists") != "overwrite":
            found = ledger.find_done(row)
            if found is not None:
                return PreparedRow(row, found.host, result=found, is_recorded=True)
        return self._runner.prepare(row)

    def _admit(self, prepared: PreparedRow) -> None:
        """Queue a row, or record it: its result is there, or it is the same as another one."""
        key = self._same_key(prepared)
        same = None if key is None else self._same.get(key)
        if prepared.result is None and same is not None:
            self._follow(prepared, same)
            return
        if prepared.result is None and not self._queue.room(prepared.host):
            self._rejected.append((prepared.host, prepared.row))
            return
        if key is not None and same is None:
            self._same[key] = _Same()
        if prepared.result is not None:
            self._record(prepared, prepared.result)
        else:
            self._queue.add(prepared, prepared.host)

    def _same_key(self, prepared: PreparedRow) -> bytes | None:
        """Return a digest of what makes two rows the same download; None if they are not."""
        row = prepared.row
        if self._settings.dedupe is None or row.error:
            return None
        text = repr((row.url, row.checksum, row.headers)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).digest()

    def _follow(self, prepared: PreparedRow, same: _Same) -> None:
        if same.index is None:
            same.waiting.append(prepared)
        else:
            self._record(prepared, same.index)

    def _start_rows(self) -> None:
        """Start whatever can start now."""
        loop, now_s = asyncio.get_running_loop(), time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_paused or self._end.done() or len(self._pending) > _MAX_PENDING:
            return
        if self._executor is None:
            while (lane := self._queue.next(now_s)) is not None:
                for started in lane.rows:
                    handle = DownloadHandle()
                    task = loop.create_task(self._run_row(started, handle), name="vidnb row")
                    self._running[started] = task, handle
        else:
            self._hand_out(self._executor, now_s)
        wake_s = self._queue.wake_s()
        if wake_s is not None:
            self._timer = loop.call_later(max(0.0, wake_s - now_s), self._start_rows)
        self._wants_rows.set()
        self._look_for_end()

    async def _run_row(self, started: StartedRow[PreparedRow], handle: DownloadHandle) -> None:
        prepared = started.row
        left_s, outcome = _left_s(started, time.monotonic()), None
        try:
            outcome = await self._runner.run(
                prepared, handle, attempt=started.attempt, left_s=left_s
            )
        finally:
            del self._running[started]
            self._end_attempt(started, outcome, handle)

    def _end_attempt(
        self, started: StartedRow[PreparedRow], outcome: RowOutcome | None, handle: DownloadHandle
    ) -> None:
        prepared, now_s = started.row, time.monotonic()
        self.size_bytes += _received_bytes(handle)
        prepared.spent_s += now_s - started.started_s
        failure = _CANCELLED if outcome is None else outcome.failure
        kept_bytes = 0 if outcome is None else outcome.kept_bytes
        jitter = random.random()  # noqa: S311 - spreads retries, no secret depends on it
        is_retried = self._queue.finish(started, failure, now_s, jitter, kept_bytes=kept_bytes)
        if outcome is None:
            self._record_cancelled(prepared, started.attempt)
        elif not is_retried:
            self._record(prepared, replace(outcome.result, elapsed_s=prepared.spent_s))
        self._start_rows()

    # Rows in workers.

    def _hand_out(self, executor: concurrent.futures.Executor, now_s: float) -> None:
        """Give the rows that can start to the executor, a few lanes a task."""
        most_lanes = max(1, self._settings.concurrency // _TASKS)
        most_rows = max(1, min(_MAX_LANE_ROWS, int(_LANE_S / self._row_s)))
        lanes: list[Lane[PreparedRow]] = []
        while (lane := self._queue.next(now_s, most_rows)) is not None:
            lanes.append(lane)
            if len(lanes) == most_lanes:
                self._submit(executor, lanes)
                lanes = []
        if lanes:
            self._submit(executor, lanes)

    def _submit(
        self, executor: concurrent.futures.Executor, lanes: list[Lane[PreparedRow]]
    ) -> None:
        work = asyncio.get_running_loop().create_task(
            self._run_lanes(executor, lanes), name="vidnb task"
        )
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)
        work.add_done_callback(self._fail_with)
        for lane in lanes:
            for started in lane.rows:
                self._running[started] = work, DownloadHandle()

    async def _run_lanes(
        self, executor: concurrent.futures.Executor, lanes: list[Lane[PreparedRow]]
    ) -> None:
        begun_s = time.monotonic()
        task = WorkerTask(
            self._settings.folder,
            self._settings.options,
            self._settings.deadline_s,
            tuple(
                tuple(
                    RowOrder(one.row.row, one.attempt, _left_s(one, begun_s)) for one in lane.rows
                )
                for lane in lanes
            ),
            self._cancel_path,
        )
        outcomes: list[list[RowOutcome | None]] = [[None] * len(lane.rows) for lane in lanes]
        try:
            future = await self._submitted(executor, task)
            if future is not None:
                outcomes = await asyncio.wrap_future(future)
        except concurrent.futures.BrokenExecutor as error:
            self._leave_executor(error)
        except asyncio.CancelledError:
            pass  # the rows count as not tried
        except Exception as error:  # noqa: BLE001 - what the executor raises for a lost task
            outcomes = [[self._lost(one, error) for one in lane.rows] for lane in lanes]
        await self._check_files([one for lane in outcomes for one in lane if one is not None])
        took_s = max(time.monotonic() - begun_s, 1e-3)
        tried = max((sum(one is not None for one in lane) for lane in outcomes), default=0)
        if tried:
            self._row_s += (took_s / tried - self._row_s) / 2
        for lane, ends in zip(lanes, outcomes, strict=True):
            # The last first: each is put back before those that came after it.
            for started, outcome in reversed(list(zip(lane.rows, ends, strict=True))):
                handle = self._running.pop(started)[1]
                if outcome is None and not self._is_cancelled:
                    self._queue.put_back(started)
                    continue
                if outcome is not None and outcome.result.state == "done":
                    handle.status.done_bytes = outcome.result.size_bytes
                self._end_attempt(started, outcome, handle)
        self._start_rows()

    async def _submitted(
        self, executor: concurrent.futures.Executor, task: WorkerTask
    ) -> "concurrent.futures.Future[list[list[RowOutcome | None]]] | None":
        """Give a task to the executor; None if it takes none any more."""
        try:
            return await to_thread(executor.submit, run_task, task)
        except RuntimeError as error:  # it is shut down, or broken
            self._leave_executor(error)
            return None

    def _leave_executor(self, error: RuntimeError) -> None:
        """Download the rest in this process."""
        if self._executor is not None:
            logger.warning(
                "The executor of the batch has stopped (%s); this process downloads the rest.",
                type(error).__name__,
            )
            self._executor = None

    def _lost(self, started: StartedRow[PreparedRow], error: Exception) -> RowOutcome:
        """Return the outcome of a row whose task failed as a whole."""
        reason = f"its worker failed ({type(error).__name__})"
        result = self._runner.failed(started.row.row, error)
        sentence = f"{redact(started.row.row.url)} was not downloaded: {reason}; run it again."
        return RowOutcome(
            replace(result, error=sentence, attempts=started.attempt),
            Failure(FailureKind.LOST, reason),
        )

    async def _check_files(self, outcomes: list[RowOutcome]) -> None:
        """Log, once for each worker, that its files are not on a disk of this process."""
        for outcome in outcomes:
            result = outcome.result
            known = result.worker in self._checked_workers or result.state != "done"
            if known:
                continue
            self._checked_workers.add(result.worker)
            if not await run_in_thread(os.path.exists, result.path):
                logger.warning(
                    "The worker %s has no disk in common with this process: its files are in %s on"
                    " that machine; the column `worker` of the table says which.",
                    result.worker,
                    printable(self._settings.folder),
                )

    # Results.

    def _record_cancelled(self, prepared: PreparedRow, attempts: int) -> None:
        result = self._runner.failed(prepared.row, ValueError("The batch was cancelled."))
        self._record(
            prepared,
            replace(
                result,
                state="cancelled",
                error_type="",
                attempts=attempts,
                elapsed_s=prepared.spent_s,
            ),
        )

    def _record(self, prepared: PreparedRow, result: RowResult | int) -> None:
        """Let a result be stored; a number is the index of that of a row with the same URL."""
        self._pending.append((prepared, result))
        self._has_pending.set()

    async def _write(self, ledger: Ledger) -> None:
        while True:
            await self._has_pending.wait()
            await asyncio.sleep(_GATHER_S)
            self._has_pending.clear()
            await self._store_pending(ledger)
            self._start_rows()
            self._look_for_end()

    async def _store_pending(self, ledger: Ledger) -> None:
        while self._pending:
            pending, self._pending = self._pending, []
            self._is_writing = True
            try:
                stored = await run_in_thread(self._store, ledger, pending)
            finally:
                self._is_writing = False
            first = len(self._results) - len(stored)
            for number, (prepared, result) in enumerate(stored):
                self._count(prepared, result)
                self._release_same(prepared, first + number)

    def _store(
        self, ledger: Ledger, pending: list[tuple[PreparedRow, RowResult | int]]
    ) -> list[tuple[PreparedRow, RowResult]]:
        """Make the files of duplicates, write the ledger, then show the results; in a thread."""
        stored = [
            (prepared, self._linked(prepared, self._with_file(prepared, result)))
            for prepared, result in pending
        ]
        ledger.append(
            [
                result
                for prepared, result in stored
                if not prepared.is_recorded and result.state != "cancelled" and result.path
            ]
        )
        self._results.extend([result for _, result in stored])
        return stored

    def _with_file(self, prepared: PreparedRow, result: RowResult | int) -> RowResult:
        """Return the result of a row; of a duplicate, once its own file is there."""
        if isinstance(result, int):
            result = _duplicate_of(self._results[result], prepared)
        row, source = prepared.row, result.path
        if result.state != "duplicate" or prepared.is_recorded or row.name is None:
            return result
        target = self._settings.folder / row.name
        if str(target) == source:
            return result
        try:
            _make_same(Path(source), target, is_link=self._settings.dedupe == "link")
            modified_ns = target.stat().st_mtime_ns
        except OSError as error:
            failed = _unusable(target, error)
            return replace(self._runner.failed(row, failed), attempts=0)
        return replace(result, path=str(target), modified_ns=modified_ns)

    def _linked(self, prepared: PreparedRow, result: RowResult) -> RowResult:
        """With `dedupe="link"`, replace a file by a hard link to an earlier one with its bytes."""
        if self._settings.dedupe != "link" or result.state != "done":
            return result
        first = self._by_digest.setdefault(result.sha256, result.path)
        if first == result.path:
            return result
        try:
            if not os.path.samefile(first, result.path):  # noqa: PTH121 - text, as in results
                _link(Path(first), Path(result.path))
            modified_ns = Path(result.path).stat().st_mtime_ns
        except OSError:  # another disk, or no hard links there
            return result
        prepared.is_recorded = False
        return replace(result, state="duplicate", modified_ns=modified_ns)

    def _count(self, prepared: PreparedRow, result: RowResult) -> None:
        counts = self.counts
        match result.state:
            case "done" if prepared.request is None or prepared.result is not None:
                counts.skipped += 1
            case "done":
                counts.done += 1
            case "duplicate" if result.attempts and prepared.result is None:
                counts.done += 1  # it was downloaded, and has the bytes of another file
                counts.duplicates += 1
            case "duplicate":
                counts.skipped += 1
                counts.duplicates += not prepared.is_recorded
            case "failed":
                counts.failed += 1
                self.failed_rows[prepared.row.number] = prepared.row
                self.failures.add(result.error, result.path)
            case _:
                counts.cancelled += 1

    def _release_same(self, prepared: PreparedRow, index: int) -> None:
        """Record the rows that waited for this one, which has the same URL."""
        key = self._same_key(prepared)
        same = None if key is None else self._same.get(key)
        if same is None or same.index is not None:
            return
        same.index = index
        for other in same.waiting:
            self._record(other, index)
        same.waiting.clear()

    # What is shown.

    async def _observe(self) -> None:
        while True:
            self._snapshot()
            await asyncio.sleep(_SNAPSHOT_S)

    def _snapshot(self) -> None:
        now_s = time.monotonic()
        state: BatchState = "running"
        if self._ended_s is not None:
            state = "cancelled" if self._is_cancelled else "done"
        elif self._is_paused:
            state = "paused"
        size_bytes = self.size_bytes + sum(
            _received_bytes(handle) for _, handle in self._running.values()
        )
        total = self._total
        if total is None and self._is_read and not self._is_cancelled:
            total = len(self._results) + len(self._queue) + len(self._pending)
        self.progress = BatchProgress(
            total=total,
            done=self.counts.done,
            failed=self.counts.failed,
            skipped=self.counts.skipped,
            size_bytes=size_bytes,
            bytes_per_s=self._meter.update(now_s, size_bytes).rate_bytes_per_s,
            slowed_hosts=tuple((host.host, host.pause_s) for host in self._queue.slowed(now_s)),
            slowest=tuple(
                (started.row.row.name or "", now_s - started.started_s)
                for _, started in zip(range(_MOST_SLOW), self._queue.running, strict=False)
            ),
            failures=self.failures.most_frequent(),
            state=state,
            elapsed_s=(self._ended_s or now_s) - self._started_s,
        )


def _left_s(started: StartedRow[PreparedRow], now_s: float) -> float | None:
    """Return the time (s) until the deadline of a row, None without one."""
    return None if started.deadline_s is None else max(0.0, started.deadline_s - now_s)


def _touch(path: str) -> None:
    with suppress(OSError):  # no disk: then the workers end their tasks
        Path(path).touch()


_CANCELLED = Failure(FailureKind.REFUSED, "the batch was cancelled")


def _received_bytes(handle: DownloadHandle) -> int:
    """Return how many bytes (B) a download has received in this run."""
    return max(0, handle.status.done_bytes - handle.status.initial_bytes)


def _duplicate_of(first: RowResult, prepared: PreparedRow) -> RowResult:
    """Return the result of a row with the URL of `first`, whose file it is given later."""
    row = prepared.row
    state: Any = "duplicate" if first.state in {"done", "duplicate"} else first.state
    return replace(first, number=row.number, url=row.url, state=state, attempts=0, elapsed_s=0.0)


def _make_same(source: Path, target: Path, *, is_link: bool) -> None:
    """Make `target` a hard link to `source` or a copy of it, atomically."""
    if is_link:
        with suppress(OSError):  # another disk, or no hard links there
            return _link(source, target)
    _publish(target, lambda fresh: shutil.copy2(source, fresh))
    return None


def _link(source: Path, target: Path) -> None:
    _publish(target, lambda fresh: os.link(source, fresh))


def _publish(target: Path, make: Callable[[Path], object]) -> None:
    """Let `make` create a file under a temporary name, and give it the name of `target`."""
    folder = own_folder(target.parent)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f"copy-{secrets.token_hex(8)}.{secrets.token_hex(8)}.part"
    try:
        make(fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(
        f"{path} cannot be used: {error.strerror or type(error).__name__}; nothing was downloaded;"
        " choose another folder."
    )
