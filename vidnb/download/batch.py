"""`download_many`: download the files of a table, and `DownloadBatch`, which follows it.

A batch runs on vidnb's own thread. Its folder has a ledger, so that the same call does only what is
missing or failed.
"""

import asyncio
import concurrent.futures
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

from vidnb.download.batch_driver import BatchDriver, BatchSettings, Dedupe
from vidnb.download.error_messages import add_sentence
from vidnb.download.ledger import check_status_path
from vidnb.download.options import (
    DownloadOptions,
    check_count,
    check_seconds,
    fill_defaults,
    with_download_options,
)
from vidnb.download.planner.batch_progress import BatchObserver, BatchProgress
from vidnb.download.planner.progress import UPDATE_INTERVAL_S
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.planner.rows import Row, RowResult
from vidnb.download.request import DownloadRequest, local_path
from vidnb.download.result_store import ResultStore
from vidnb.download.table import read_rows, row_count
from vidnb.io.calls import CLEANUP_S
from vidnb.io.loop import transfers
from vidnb.io.regular_file import StrPath, printable

__all__ = ["BatchSummary", "DownloadBatch", "download_many"]


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The outcome of a batch.

    Numbers of rows: `done` were downloaded, `skipped` were complete before or have the URL of
    another row, `failed`, and `cancelled`. `size_bytes` (B) were received in `elapsed_s` (s).
    `failures`: the sentences of the failed rows without what differs from row to row, each with its
    number of rows.
    """

    folder: Path
    done: int
    skipped: int
    failed: int
    cancelled: int
    size_bytes: int
    elapsed_s: float
    failures: tuple[tuple[str, int], ...] = ()


class BatchDisplays(Protocol):
    """Shows batches; see `DownloadBatch.show_with`."""

    def start(self, batch: "DownloadBatch") -> None:
        """Show a batch that has just started."""

    def show(self, batch: "DownloadBatch") -> None:
        """Show a batch that is the last line of a cell."""


class DownloadBatch:
    """A running batch, made by `vidnb.download_many`; safe from any thread.

    `batch.result()` and `await batch` wait for the `BatchSummary` (sizes in B, times in s);
    iterating yields a `RowResult` for each row as it ends, also with `async for`. A row that failed
    raises no error: `batch.failed()` has its sentence.
    """

    def __init__(self, rows: Iterator[Row], total: int | None, settings: BatchSettings) -> None:
        self._settings = settings
        self._results = ResultStore()
        self._lock = threading.Lock()
        self._observers: list[BatchObserver] = []
        self._displays: BatchDisplays | None = None
        self._is_ended = False
        self._driver: BatchDriver | None = None
        self._before: list[Callable[[BatchDriver], None]] = []
        self._rows, self._total = rows, total
        self._future = transfers.submit(self._run())
        # It was cancelled before its first step: nobody waits for results that never come.
        self._future.add_done_callback(lambda _: self._results.end())

    async def _run(self) -> BatchSummary:
        driver = BatchDriver(self._rows, self._total, self._settings, self._results)
        with self._lock:
            self._driver, early = driver, self._before
        for call in early:
            call(driver)
        updating = asyncio.create_task(self._update(), name="vidnb progress")
        try:
            await driver.run()
        finally:
            updating.cancel()
            await asyncio.wait([updating])
            self._results.end()
            self._is_ended = True
            for observer in list(self._observers):
                await asyncio.to_thread(observer.finish)
        return self._summary(driver)

    async def _update(self) -> None:
        while True:
            await asyncio.sleep(UPDATE_INTERVAL_S)
            for observer in list(self._observers):
                await asyncio.to_thread(observer.update)

    def _summary(self, driver: BatchDriver) -> BatchSummary:
        progress, counts = driver.progress, driver.counts
        return BatchSummary(
            folder=self._settings.folder,
            done=counts.done,
            skipped=counts.skipped,
            failed=counts.failed,
            cancelled=counts.cancelled,
            size_bytes=progress.size_bytes,
            elapsed_s=progress.elapsed_s,
            failures=progress.failures,
        )

    def _call(self, call: Callable[[BatchDriver], None]) -> None:
        """Call a method of the driver on its loop; once it is there, if it is not yet."""
        with self._lock:
            driver = self._driver
            if driver is None:
                self._before.append(call)
        if driver is not None and not self._future.done():
            with suppress(RuntimeError):  # the loop has closed
                transfers.loop.call_soon_threadsafe(call, driver)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self._settings.folder

    @property
    def done(self) -> bool:
        """Whether the batch has ended, in any way."""
        return self._future.done()

    @property
    def progress(self) -> BatchProgress:
        """The counts, at most 0.2 s old; exact once the batch has ended."""
        driver = self._driver
        return BatchProgress(self._total) if driver is None else driver.progress

    def result(self, timeout: float | None = None) -> BatchSummary:
        """Wait at most `timeout` (s) for the end and return a summary; failed rows do not raise.

        Raises `TimeoutError` after `timeout` (the batch continues), and what ended the batch early:
        a table that cannot be read (`ValueError`), a disk that fails (`StorageError`). An interrupt
        stops the batch; the same call continues it.
        """
        try:
            return self._future.result(timeout)
        except KeyboardInterrupt as interrupt:
            self._stop_for(interrupt)

    def _stop_for(self, interrupt: KeyboardInterrupt) -> NoReturn:
        """Stop the batch and raise the interrupt with one sentence that says what was kept."""
        self.cancel()
        with suppress(Exception, concurrent.futures.CancelledError):
            self._future.result(CLEANUP_S)
        progress = self.progress
        sentence = (
            f"The batch was interrupted: {progress.done + progress.skipped} rows are complete in"
            f" {printable(self.folder)}; run it again to continue."
        )
        add_sentence(interrupt, sentence)
        raise interrupt

    def __await__(self) -> Generator[Any, None, BatchSummary]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __iter__(self) -> Iterator[RowResult]:
        index = 0
        while self._results.wait(index):
            yield self._results[index]
            index += 1
        self._future.result()  # raises what ended the batch early

    async def __aiter__(self) -> AsyncIterator[RowResult]:
        loop, changed, index = asyncio.get_running_loop(), asyncio.Event(), 0
        stop = self._results.listen(lambda: loop.call_soon_threadsafe(changed.set))
        try:
            while (state := self._results.state(index)) is not False:
                if state is None:
                    await changed.wait()
                    changed.clear()
                    continue
                yield await asyncio.to_thread(self._results.__getitem__, index)
                index += 1
        finally:
            stop()
        await self

    def table(self) -> list[dict[str, Any]]:
        """Return a dict for each row that has ended, in the order of the table."""
        return [result.as_row() for result in self._results.in_order()]

    def failed(self) -> list[dict[str, Any]]:
        """Return the rows of `table()` that failed."""
        return [row for row in self.table() if row["state"] == "failed"]

    def duplicates(self) -> list[list[str]]:
        """Return the paths of files with the same bytes (SHA-256), a list for each such content."""
        paths: dict[str, dict[str, None]] = {}
        for result in self._results.in_order():
            if result.sha256:
                paths.setdefault(result.sha256, {})[result.path] = None
        return [list(same) for same in paths.values() if len(same) > 1]

    def retry(
        self, only: str | Iterable[str] | Callable[[dict[str, Any]], object] | None = None
    ) -> "DownloadBatch":
        """Start a batch of the rows that failed, and return it.

        `only`: the name of an error's class (`"StatusError"`) or several, or a function that gets a
        row of `failed()` and returns whether to try it again. `RuntimeError` while the batch runs.
        """
        driver = self._driver
        if driver is None or not self._future.done():
            raise RuntimeError(
                "The batch still runs, and its failed rows are tried again by itself; wait for it"
                " with batch.result() first, or cancel it."
            )
        rows = [driver.failed_rows[row["number"]] for row in self.failed() if _is_chosen(row, only)]
        batch = DownloadBatch(iter(rows), len(rows), self._settings)
        if self._displays is not None:
            batch.show_with(self._displays)
        return batch

    def cancel(self) -> None:
        """Stop; what is complete stays, and the same call continues. No effect after the end."""
        self._call(lambda driver: driver.cancel())

    def pause(self) -> None:
        """Start no request, and read nothing of those that run, until `resume`."""
        self._call(lambda driver: driver.pause())

    def resume(self) -> None:
        """Continue after `pause`."""
        self._call(lambda driver: driver.resume())

    def add_display(self, observer: BatchObserver) -> None:
        """Let `observer` follow the batch until it ends."""
        observer.show()
        self._observers.append(observer)
        if self._is_ended or self._future.done():
            observer.finish()  # `_run` may have finished its observers already

    def show_with(self, displays: BatchDisplays) -> None:
        """Let `displays` show this batch now and in later cells, and the batches of `retry`."""
        self._displays = displays
        displays.start(self)

    def _ipython_display_(self) -> None:
        """Show the batch in the cell (IPython's hook)."""
        if self._displays is None:
            raise NotImplementedError  # IPython then shows the `repr`
        self._displays.show(self)

    def __repr__(self) -> str:
        progress = self.progress
        total = "" if progress.total is None else f" of {progress.total}"
        return (
            f"<DownloadBatch {progress.state}: {progress.ended}{total} rows ended,"
            f" {progress.failed} failed>"
        )


def _is_chosen(
    row: dict[str, Any], only: str | Iterable[str] | Callable[[dict[str, Any]], object] | None
) -> bool:
    if only is None:
        return True
    if callable(only):
        return bool(only(row))
    return row["error_type"] in ({only} if isinstance(only, str) else set(only))


@with_download_options
def download_many(
    table: Any,
    folder: StrPath,
    *,
    url: str = "url",
    name: str | None = None,
    checksum: str | None = None,
    headers: Any = None,
    executor: concurrent.futures.Executor | None = None,
    concurrency: int = 16,
    per_host: int = 4,
    attempts: int = 3,
    deadline_s: float | None = None,
    status: StrPath | None = None,
    progress: bool | Callable[[BatchProgress], object] | None = None,
    dedupe: Dedupe = "report",
    **options: Any,
) -> DownloadBatch:
    """Start to download the files of a table into `folder`, and return the `DownloadBatch`.

    Run again, with the same table or a changed one, it does only what is missing or failed. One bad
    row never ends the batch: each has its outcome in `batch.table()`. The requests and the checks
    of a row are those of `vidnb.download`.

    `table`: URLs, dicts, a data frame, or the path of a .csv, .txt, .jsonl or .parquet file; it is
    read while the batch runs. `url`, `name`, `checksum`, `headers`: the columns; `name` may be a
    format string (`"{id:05d}.mp4"`), and `headers` a mapping for all rows. `executor`: any of
    `concurrent.futures`, or Dask's `client.get_executor()`, whose workers download; None: this
    process. `concurrency`: the most rows at once, in all workers, `per_host` of them from one host,
    which gets fewer while it answers 429 or 503. `attempts`: for a row without progress.
    `deadline_s`: the most time (s) from a row's first request to its end. `status`: a .csv, .jsonl
    or .parquet file that gets the table at the end. `progress`: None or True: the rows in a cell or
    on a terminal; True elsewhere: a line for each kind of failure. False: nothing. A function:
    called with a `BatchProgress` at most five times a second. `dedupe`: the same URL is downloaded
    once, and copied ("report") or hard-linked ("link") for other names; "link" also links files of
    other URLs with the same bytes (`batch.duplicates()` reports them); None: each row by itself.

    Raises `ValueError` and `TypeError` for bad arguments.
    """
    folder_path = Path(local_path(folder)).absolute()
    if isinstance(headers, Mapping):
        options["headers"], headers = headers, None
    settings = BatchSettings(
        folder=folder_path,
        options=_checked(cast(DownloadOptions, options), folder_path),
        policy=replace(
            options.get("retry") or RetryPolicy(), attempts=check_count("attempts", attempts)
        ),
        concurrency=check_count("concurrency", concurrency),
        per_host=check_count("per_host", per_host),
        deadline_s=None if deadline_s is None else check_seconds("deadline_s", deadline_s),
        status=None if status is None else Path(local_path(status)).absolute(),
        dedupe=dedupe,
        executor=_checked_executor(executor, options),
    )
    if dedupe not in ("report", "link", None):
        raise ValueError(f"dedupe={dedupe!r} must be 'report', 'link' or None.")
    if settings.status is not None:
        check_status_path(settings.status)
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        # It is shown by `vidnb.widgets.batch`.
        raise ValueError(
            f"progress must be True, False, None or a function, not {type(progress).__name__}."
        )
    rows = read_rows(table, url=url, name=name, checksum=checksum, headers=headers)
    return DownloadBatch(rows, row_count(table, url=url), settings)


def _checked_executor(
    executor: concurrent.futures.Executor | None, options: Mapping[str, Any]
) -> concurrent.futures.Executor | None:
    """Return the executor; raises `ValueError` for options that its workers cannot get."""
    if executor is None or isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        return executor
    if not isinstance(executor, concurrent.futures.Executor):
        raise ValueError(  # noqa: TRY004 - every bad argument of a download is a ValueError
            "executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor() or"
            f" Dask's client.get_executor(), not {type(executor).__name__}."
        )
    for name, value in options.items():
        try:
            pickle.dumps(value)
        except Exception as error:
            raise ValueError(
                f"{name}=… cannot be sent to the workers of executor=… ({type(error).__name__});"
                " leave one of the two out."
            ) from error
    return executor


def _checked(options: DownloadOptions, folder: Path) -> DownloadOptions:
    """Return the options of every row; raises as `DownloadRequest.of`."""
    fill_defaults(options)
    if options.get("session") is not None:
        raise ValueError(
            "session=… is not for download_many, which uses its own connections; leave it out."
        )
    checked = DownloadOptions(**options)
    checked.setdefault("connections", 1)  # `per_host` counts them
    DownloadRequest.of("http://localhost/", folder / "file", **checked)
    return checked
