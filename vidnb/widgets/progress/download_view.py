"""`download_view`: one download as the progress displays read it."""

from collections.abc import Callable

from vidnb.download.planner.progress import Progress
from vidnb.download.status import DownloadHandle, Phase
from vidnb.widgets.progress import rendering
from vidnb.widgets.progress.display import BarState, ProgressView

__all__ = ["download_view"]


def download_view(handle: DownloadHandle, *, cancel: Callable[[], object]) -> ProgressView:
    """Return the view of one download; `cancel` is called from any thread, by Cancel."""
    return _DownloadView(handle, cancel)


class _DownloadView:
    noun = "download"

    def __init__(self, handle: DownloadHandle, cancel: Callable[[], object]) -> None:
        self._handle = handle
        self._cancel = cancel
        self._retries = 0
        self._earlier_bytes: int | None = None

    @property
    def name(self) -> str:
        return rendering.displayed_name(self._handle.status)

    @property
    def seen_bytes(self) -> int:
        return self._handle.status.done_bytes

    @property
    def is_final(self) -> bool:
        return self._handle.status.phase.is_final

    @property
    def is_paused(self) -> bool:
        return self._handle.status.is_paused

    @property
    def can_pause(self) -> bool:
        return self._handle.status.phase is not Phase.CHECKING

    def pause(self) -> None:
        self._handle.pause()

    def resume(self) -> None:
        self._handle.resume()

    def cancel(self) -> None:
        self._cancel()

    def head_html(self, step: int) -> str:
        return rendering.head_html(self._handle, step)

    def details_html(self) -> str:
        return rendering.line_html(rendering.describe(self._handle, is_live=True))

    def card_html(self, note: str = "") -> str:
        parts = rendering.describe(self._handle, is_live=False)
        return rendering.card_html(self._handle, [*parts, *([note] if note else [])])

    def line(self) -> str:
        return "; ".join(rendering.describe(self._handle, is_live=True))

    def final_text(self) -> str:
        return rendering.final_text(self._handle)

    def new_lines(self) -> list[str]:
        status = self._handle.status
        if status.retries == self._retries:
            return []
        self._retries = status.retries
        return [status.retry_note]

    def bar(self) -> BarState | None:
        status, phase = self._handle.status, rendering.displayed_phase(self._handle.status)
        if self._earlier_bytes is None:
            if not status.done_bytes:
                return None
            self._earlier_bytes = status.done_bytes  # they do not count as speed
        postfix = "" if phase in {Phase.DOWNLOADING, Phase.DONE} else phase.value
        return BarState(status.done_bytes, status.total_bytes, self._earlier_bytes, postfix=postfix)

    def progress(self) -> Progress:
        return self._handle.progress()
