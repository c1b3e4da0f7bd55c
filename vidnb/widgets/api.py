"""`download`, its async twin, and the background one: the same order, waited for in three ways.

None of them runs on the kernel's own event loop: a download lives on vidnb's thread, so a blocked
cell stalls no transfer and a transfer no cell. Only a caller's own `session` binds the work to the
caller's loop.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import aiohttp

from vidnb.download.planner.progress import Progress
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download as carry_out
from vidnb.download.request import DownloadRequest, DownloadResult, IfExists
from vidnb.download.status import DownloadHandle
from vidnb.io.loop import reenter, transfers
from vidnb.io.regular_file import StrPath
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.progress.display import choose

__all__ = ["download", "download_async", "start_download"]

_UPDATE_EVERY_S = 0.2  # 5 a second: iopub carries about a thousand messages a second, for all

ProgressArgument = bool | Callable[[Progress], object] | None


def download(
    url: str,
    path: StrPath | None = None,
    *,
    checksum: str | None = None,
    max_bytes: int | None = None,
    connections: int | None = None,
    if_exists: IfExists = "refresh",
    retry: RetryPolicy | None = None,
    headers: Mapping[str, str] | None = None,
    session: aiohttp.ClientSession | None = None,
    public_only: bool = False,
    check_video: bool = True,
    idle_timeout_s: float = 30.0,
    progress: ProgressArgument = None,
) -> DownloadResult:
    """Download a file, whole and checked, and wait for it; in a cell or in a script.

    Run again, it joins the running download, resumes a broken one (HTTP ranges under a strong
    validator, RFC 9110 sections 13.1.5 and 14), or answers at once from the file that is there.

    `path`: None for the current folder and a safe name; an existing folder or a trailing slash for
    that folder and a safe name; otherwise the file itself. Unfinished bytes and records lie in
    `.vidnb` beside it.
    `checksum`: `"sha256:…"`, any hashlib name. `max_bytes`: the largest file (B) to accept.
    `connections`: how many requests at once at most; None leaves it to vidnb.
    `if_exists`: `"refresh"` fetches again only if the source changed, `"overwrite"` always,
    `"error"` never. `retry`: a `RetryPolicy`. `headers`: sent to the URL's own origin only; those
    by which vidnb chooses bytes and coding (Range, Accept-Encoding, …) are not the caller's to set.
    `session`: the caller's `aiohttp.ClientSession`; the call then runs on its loop.
    `public_only`: refuse private, loopback, link-local and metadata addresses.
    `check_video`: refuse a web page in place of a video. `idle_timeout_s`: how long (s) nothing
    may arrive. `progress`: None shows a bar in a cell or on a terminal, False nothing; a function
    is called with `Progress` at most five times a second.

    Returns a `DownloadResult`. Raises the tree under `TransferError`; `ValueError` for arguments
    that make no sense. An interrupt stops within a second and keeps what can be resumed.
    """
    request = DownloadRequest.of(
        url,
        path,
        checksum=checksum,
        max_bytes=max_bytes,
        connections=connections,
        if_exists=if_exists,
        retry=retry,
        headers=headers,
        session=session,
        public_only=public_only,
        check_video=check_video,
        idle_timeout_s=idle_timeout_s,
    )
    handle = DownloadHandle()
    if session is not None:
        return reenter(_shown(request, handle, progress), session._loop)  # noqa: SLF001 - its loop
    stop = _Stop()
    display = choose(progress, handle, cancel=stop)
    try:
        display.show()
        return transfers.run(
            _cancellable(request, handle, stop), tick=display.update, tick_s=_UPDATE_EVERY_S
        )
    except KeyboardInterrupt as interrupt:
        _explain(interrupt, handle)
    finally:
        display.finish()


async def download_async(
    url: str,
    path: StrPath | None = None,
    *,
    checksum: str | None = None,
    max_bytes: int | None = None,
    connections: int | None = None,
    if_exists: IfExists = "refresh",
    retry: RetryPolicy | None = None,
    headers: Mapping[str, str] | None = None,
    session: aiohttp.ClientSession | None = None,
    public_only: bool = False,
    check_video: bool = True,
    idle_timeout_s: float = 30.0,
    progress: ProgressArgument = None,
) -> DownloadResult:
    """Download a file, whole and checked; `await` it in a cell or under `asyncio.run`.

    Arguments (sizes in B, times in s), result and errors are those of `download`; the requests
    follow RFC 9110. The caller's loop stays free: the work is done on vidnb's own thread, or, with
    `session=…`, on the caller's. Cancelling the awaiting task stops the download, which keeps what
    can be resumed; `asyncio.CancelledError` is never wrapped.
    """
    request = DownloadRequest.of(
        url,
        path,
        checksum=checksum,
        max_bytes=max_bytes,
        connections=connections,
        if_exists=if_exists,
        retry=retry,
        headers=headers,
        session=session,
        public_only=public_only,
        check_video=check_video,
        idle_timeout_s=idle_timeout_s,
    )
    return await _shown(request, DownloadHandle(), progress)


def start_download(
    url: str,
    path: StrPath | None = None,
    *,
    checksum: str | None = None,
    max_bytes: int | None = None,
    connections: int | None = None,
    if_exists: IfExists = "refresh",
    retry: RetryPolicy | None = None,
    headers: Mapping[str, str] | None = None,
    session: aiohttp.ClientSession | None = None,
    public_only: bool = False,
    check_video: bool = True,
    idle_timeout_s: float = 30.0,
    progress: ProgressArgument = None,
) -> DownloadJob:
    """Start a download in the background and return at once.

    Arguments (sizes in B, times in s) are those of `download`, whose requests follow RFC 9110. The
    `DownloadJob` shows itself as the last line of a cell; with `progress` a function, that is
    called as well. Raises only for arguments that make no sense (`ValueError`, `URLNotAllowed`);
    everything later is raised by `job.result()` and `await job`.
    """
    request = DownloadRequest.of(
        url,
        path,
        checksum=checksum,
        max_bytes=max_bytes,
        connections=connections,
        if_exists=if_exists,
        retry=retry,
        headers=headers,
        session=session,
        public_only=public_only,
        check_video=check_video,
        idle_timeout_s=idle_timeout_s,
    )
    return DownloadJob(request, progress if callable(progress) else None)


class _Stop:
    """The Cancel button of one download: any thread may press it, even before there is work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_pressed = False
        self._cancel: Callable[[], object] | None = None

    def __call__(self) -> None:
        """Press it."""
        with self._lock:
            self._is_pressed, cancel = True, self._cancel
        if cancel is not None:
            cancel()

    def connect(self, cancel: Callable[[], object]) -> None:
        """Give it something to cancel; done at once where it was pressed before."""
        with self._lock:
            self._cancel, is_pressed = cancel, self._is_pressed
        if is_pressed:
            cancel()


async def _cancellable(
    request: DownloadRequest, handle: DownloadHandle, stop: _Stop
) -> DownloadResult:
    """Run an order so that any thread may cancel it."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is not None:
        stop.connect(lambda: loop.call_soon_threadsafe(task.cancel))
    return await carry_out(request, handle)


async def _shown(
    request: DownloadRequest, handle: DownloadHandle, progress: ProgressArgument
) -> DownloadResult:
    """Run an order for a coroutine of the caller's, with its progress."""
    stop = _Stop()
    display = choose(progress, handle, cancel=stop)

    async def update() -> None:
        while True:
            await asyncio.sleep(_UPDATE_EVERY_S)
            display.update()

    updating = asyncio.create_task(update(), name="vidnb progress")
    try:
        display.show()
        working = _cancellable(request, handle, stop)
        return await (working if request.session is not None else transfers.arun(working))
    except KeyboardInterrupt as interrupt:
        _explain(interrupt, handle)
    finally:
        updating.cancel()
        display.finish()


def _explain(interrupt: KeyboardInterrupt, handle: DownloadHandle) -> NoReturn:
    """Raise the interrupt itself, with one sentence that says what is kept."""
    sentence = f"The download of {handle.status.name} was interrupted: {handle.status.note}."
    interrupt.add_note(sentence)
    # IPython's hook: the sentence instead of vidnb's frames.
    rendering: Any = interrupt
    rendering._render_traceback_ = lambda: [f"KeyboardInterrupt: {sentence}"]
    raise interrupt
