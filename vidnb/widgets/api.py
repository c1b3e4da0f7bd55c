"""`download`, `download_async` and `start_download`: one download, waited for in three ways.

A download runs on vidnb's own thread and not on the kernel's event loop, so neither blocks the
other. Only a `session` of the caller's binds it to the caller's loop.
"""

import asyncio
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn, Unpack

import aiohttp

from vidnb.download.error_messages import add_sentence
from vidnb.download.options import DownloadOptions, with_download_options
from vidnb.download.planner.progress import UPDATE_INTERVAL_S
from vidnb.download.registry import download as run_download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.io.loop import reenter, transfers
from vidnb.io.regular_file import StrPath
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.progress.display import choose_display
from vidnb.widgets.progress.download_view import download_view

__all__ = ["download", "download_async", "start_download"]


@with_download_options
def download(
    url: str, path: StrPath | None = None, **options: Unpack[DownloadOptions]
) -> DownloadResult:
    """Download a file, complete and verified, and wait for it; in a cell or in a script.

    A repeated call joins the running download, resumes an interrupted one (HTTP ranges under a
    strong validator, RFC 9110 sections 13.1.5 and 14), or returns the file that is on disk. Partial
    data and records are kept in `.vidnb` beside the file.

    Returns a `DownloadResult`. Raises the tree under `TransferError`, and `ValueError` or
    `TypeError` for bad arguments. An interrupt stops within a second and keeps what can be resumed.
    """
    request, handle = DownloadRequest.of(url, path, **options), DownloadHandle()
    if request.session is not None:
        return reenter(_run_with_progress(request, handle), _loop_of(request.session))
    cancel = _Cancel()
    display = choose_display(request.progress, download_view(handle, cancel=cancel))
    try:
        display.show()
        return transfers.run(
            _run_cancellable(request, handle, cancel), tick=display.update, tick_s=UPDATE_INTERVAL_S
        )
    except KeyboardInterrupt as interrupt:
        _raise_with_note(interrupt, handle)
    finally:
        display.finish()


@with_download_options
async def download_async(
    url: str, path: StrPath | None = None, **options: Unpack[DownloadOptions]
) -> DownloadResult:
    """Download a file, complete and verified; `await` it in a cell or under `asyncio.run`.

    Result, errors and requests (RFC 9110) are those of `download`. The caller's loop stays free:
    the work is done on vidnb's own thread, or on the caller's loop with `session=…`. Cancelling the
    awaiting task stops the download, which keeps what can be resumed; `asyncio.CancelledError` is
    never wrapped.
    """
    return await _run_with_progress(DownloadRequest.of(url, path, **options), DownloadHandle())


@with_download_options
def start_download(
    url: str, path: StrPath | None = None, **options: Unpack[DownloadOptions]
) -> DownloadJob:
    """Start a download in the background and return its `DownloadJob` at once.

    The requests are those of `download` (RFC 9110). The job shows a bar as the last line of a cell;
    a `progress` function is called as well. Only bad arguments raise here (`ValueError`,
    `TypeError`, `URLNotAllowed`); `job.result()` and `await job` raise everything later.
    """
    return DownloadJob(DownloadRequest.of(url, path, **options))


class _Cancel:
    """The action of a Cancel button; it may be called from any thread, also before the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_requested = False
        self._cancel: Callable[[], object] | None = None

    def __call__(self) -> None:
        with self._lock:
            self._is_requested, cancel = True, self._cancel
        if cancel is not None:
            cancel()

    def connect(self, cancel: Callable[[], object]) -> None:
        """Set the function that cancels; called at once if that was requested before."""
        with self._lock:
            self._cancel, is_requested = cancel, self._is_requested
        if is_requested:
            cancel()


async def _run_cancellable(
    request: DownloadRequest, handle: DownloadHandle, cancel: _Cancel
) -> DownloadResult:
    """Run a download that any thread may cancel."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is not None:
        cancel.connect(lambda: loop.call_soon_threadsafe(task.cancel))
    return await run_download(request, handle)


async def _run_with_progress(request: DownloadRequest, handle: DownloadHandle) -> DownloadResult:
    """Run a download from a coroutine of the caller's, with its progress display."""
    cancel = _Cancel()
    display = choose_display(request.progress, download_view(handle, cancel=cancel))

    async def update() -> None:
        while True:
            await asyncio.sleep(UPDATE_INTERVAL_S)
            display.update()

    updating = asyncio.create_task(update(), name="vidnb progress")
    try:
        display.show()
        work = _run_cancellable(request, handle, cancel)
        return await (work if request.session is not None else transfers.arun(work))
    except KeyboardInterrupt as interrupt:
        _raise_with_note(interrupt, handle)
    finally:
        updating.cancel()
        display.finish()


def _loop_of(session: aiohttp.ClientSession) -> asyncio.AbstractEventLoop:
    """Return the event loop that a session belongs to; aiohttp deprecates the only way to ask."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return session.loop


def _raise_with_note(interrupt: KeyboardInterrupt, handle: DownloadHandle) -> NoReturn:
    """Raise the interrupt with one sentence that says what was kept."""
    status = handle.status
    add_sentence(interrupt, f"The download of {status.name} was interrupted: {status.note}.")
    raise interrupt
