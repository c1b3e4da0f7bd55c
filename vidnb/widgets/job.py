"""A download in the background, held by a variable."""

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from vidnb.download.planner.progress import Progress
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.io.loop import transfers
from vidnb.widgets.progress.display import CellBar, Display, choose
from vidnb.widgets.progress.rendering import final_text

if TYPE_CHECKING:
    import concurrent.futures

__all__ = ["DownloadJob"]

_UPDATE_EVERY_S = 0.2


class DownloadJob:
    """One download in the background: made by `vidnb.start_download`, safe from any thread.

    As the last line of a cell it shows itself, live, and leaves its final state in the notebook.
    `await job` and `job.result()` wait for the `DownloadResult` (sizes in B, times in s; see
    `vidnb.download` for errors and sources). An interrupt of the waiting leaves the job running.
    """

    def __init__(
        self, request: DownloadRequest, callback: Callable[[Progress], object] | None = None
    ) -> None:
        self._handle = DownloadHandle()
        self._displays: list[Display] = []
        if callback is not None:
            self._displays.append(choose(callback, self._handle, cancel=self.cancel))
        self._loop_of_caller: asyncio.AbstractEventLoop | None = None
        work = self._work(request)
        self._future: concurrent.futures.Future[DownloadResult]
        if request.session is None:
            self._future = transfers.submit(work)
        else:
            try:
                self._loop_of_caller = asyncio.get_running_loop()
            except RuntimeError:
                work.close()
                raise RuntimeError(
                    "start_download(session=…) needs the running loop that the session belongs to;"
                    " call it in a coroutine or a cell, or leave session out."
                ) from None
            self._future = asyncio.run_coroutine_threadsafe(work, self._loop_of_caller)

    async def _work(self, request: DownloadRequest) -> DownloadResult:
        updating = asyncio.create_task(self._update(), name="vidnb progress")
        try:
            return await download(request, self._handle)
        finally:
            updating.cancel()
            for display in self._displays:
                await asyncio.to_thread(display.finish)

    async def _update(self) -> None:
        while True:
            await asyncio.sleep(_UPDATE_EVERY_S)
            for display in list(self._displays):
                await asyncio.to_thread(display.update)

    def result(self, timeout: float | None = None) -> DownloadResult:
        """Wait at most `timeout` (s) for the result and return it.

        Raises `TimeoutError` when it is not there in time (the job goes on),
        `concurrent.futures.CancelledError` after `cancel`, and otherwise what `vidnb.download`
        raises.
        """
        if self._loop_of_caller is not None and not self.done:
            running = asyncio._get_running_loop()  # noqa: SLF001 - the one that does not raise
            if running is self._loop_of_caller:
                raise RuntimeError(
                    "job.result() would wait for its own loop, since the session lives here;"
                    " write: await job."
                )
        return self._future.result(timeout)

    @property
    def done(self) -> bool:
        """Whether the job has ended, however it ended."""
        return self._future.done()

    @property
    def progress(self) -> Progress:
        """The reading of this moment: bytes, B/s over the last seconds, seconds left."""
        return self._handle.progress()

    def cancel(self) -> None:
        """Stop the download; what can be resumed is kept. After the end it does nothing."""
        self._future.cancel()

    def pause(self) -> None:
        """Stop reading from the origin until `resume`."""
        self._handle.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._handle.resume()

    def __await__(self) -> Generator[Any, None, DownloadResult]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        return f"<DownloadJob {final_text(self._handle)}>"

    def show_on(self, display: Display) -> None:
        """Show the job on `display` until its end; for other parts of vidnb."""
        display.show()
        self._displays.append(display)
        if self.done or self._handle.status.phase.is_final:
            display.finish()  # the job may have looked at its displays for the last time

    @property
    def parts(self) -> "tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]":
        """What it is made of; for other parts of vidnb."""
        return self._handle, self._future

    def _ipython_display_(self) -> None:
        """Show the job in the cell, live (IPython's hook)."""
        self.show_on(CellBar(self._handle, cancel=self.cancel))
