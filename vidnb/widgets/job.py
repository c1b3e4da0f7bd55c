"""`DownloadJob`: a download in the background."""

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from vidnb.download.planner.progress import UPDATE_INTERVAL_S, Progress
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.http.urls import redact
from vidnb.io.loop import transfers
from vidnb.io.standard_streams import write_error_line
from vidnb.widgets.progress.display import CellBar, Display, choose_display, is_in_kernel
from vidnb.widgets.progress.download_view import download_view
from vidnb.widgets.progress.rendering import final_text

if TYPE_CHECKING:
    import concurrent.futures

__all__ = ["DownloadJob"]


class DownloadJob:
    """One download in the background: made by `vidnb.start_download`, safe from any thread.

    As the last line of a cell it shows a live bar and leaves its final state in the notebook.
    `await job` and `job.result()` wait for the `DownloadResult` (sizes in B, times in s; errors as
    of `vidnb.download`). Interrupting the wait leaves the job running.
    """

    def __init__(self, request: DownloadRequest) -> None:
        self._handle = DownloadHandle()
        self._displays: list[Display] = []
        if callable(request.progress):
            self._displays.append(
                choose_display(request.progress, download_view(self._handle, cancel=self.cancel))
            )
        self._is_cancelled = False
        self._session_loop: asyncio.AbstractEventLoop | None = None
        self._future: concurrent.futures.Future[DownloadResult]
        if request.session is None:
            self._future = transfers.submit(self._run(request))
            return
        self._session_loop = _running_loop()
        if self._session_loop is None:
            raise RuntimeError(
                "start_download(session=…) needs the running loop that the session belongs to;"
                " call it in a coroutine or a cell, or leave session out."
            )
        self._future = asyncio.run_coroutine_threadsafe(self._run(request), self._session_loop)

    async def _run(self, request: DownloadRequest) -> DownloadResult:
        updating = asyncio.create_task(self._update(), name="vidnb progress")
        try:
            return await download(request, self._handle)
        except asyncio.CancelledError:
            if not self._is_cancelled and (transfers.is_closed or self._session_loop is not None):
                self._report_exit(request)
            raise
        finally:
            updating.cancel()
            for display in self._displays:
                await asyncio.to_thread(display.finish)

    async def _update(self) -> None:
        while True:
            await asyncio.sleep(UPDATE_INTERVAL_S)
            for display in list(self._displays):
                await asyncio.to_thread(display.update)

    def _report_exit(self, request: DownloadRequest) -> None:
        """Say that the program ended before its download; a script would end silently."""
        if is_in_kernel():
            return
        status = self._handle.status
        write_error_line(
            f"vidnb: the program ended before its download of {redact(request.url)}:"
            f" {status.note or 'stopped'}. Wait for it with job.result() or await job."
        )

    def result(self, timeout: float | None = None) -> DownloadResult:
        """Wait at most `timeout` (s) for the result and return it.

        Raises `TimeoutError` after `timeout` (the job continues),
        `concurrent.futures.CancelledError` after `cancel`, and otherwise what `vidnb.download`
        raises.
        """
        if (
            self._session_loop is not None
            and not self.done
            and _running_loop() is self._session_loop
        ):
            raise RuntimeError(
                "job.result() would block the loop that runs the job, since the session belongs to"
                " it; write: await job."
            )
        return self._future.result(timeout)

    @property
    def done(self) -> bool:
        """Whether the job has ended, in any way."""
        return self._future.done()

    @property
    def progress(self) -> Progress:
        """The current bytes, the throughput of the last seconds (B/s) and the time left (s)."""
        return self._handle.progress()

    def cancel(self) -> None:
        """Stop the download and keep what can be resumed; without effect after the end."""
        self._is_cancelled = True
        self._future.cancel()

    def pause(self) -> None:
        """Stop reading from the origin until `resume`."""
        self._handle.pause()

    def resume(self) -> None:
        """Continue after `pause`."""
        self._handle.resume()

    def __await__(self) -> Generator[Any, None, DownloadResult]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        return f"<DownloadJob {final_text(self._handle)}>"

    def add_display(self, display: Display) -> None:
        """Show the job on `display` until it ends; used by the player."""
        display.show()
        self._displays.append(display)
        if self.done or self._handle.status.phase.is_final:
            display.finish()  # `_run` may have finished its displays already

    @property
    def handle_and_future(
        self,
    ) -> "tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]":
        """The handle and the future of the download; used by the player."""
        return self._handle, self._future

    def _ipython_display_(self) -> None:
        """Show the live bar in the cell (IPython's hook)."""
        self.add_display(CellBar(download_view(self._handle, cancel=self.cancel)))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
