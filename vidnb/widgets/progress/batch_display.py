"""`batch_view`: a batch of downloads as the progress displays read it."""

from pathlib import PurePath
from typing import Protocol

from vidnb.download.planner.batch_progress import BatchProgress
from vidnb.widgets.progress import batch_rendering
from vidnb.widgets.progress.display import BarState, ProgressView

__all__ = ["Batch", "batch_view"]


class Batch(Protocol):
    """What the view reads of a `DownloadBatch`, and what a click does to it."""

    @property
    def progress(self) -> BatchProgress:
        """The counts now."""

    def pause(self) -> None:
        """Start no further requests."""

    def resume(self) -> None:
        """Continue after `pause`."""

    def cancel(self) -> None:
        """Stop; what is complete stays."""


def batch_view(batch: Batch, folder: PurePath) -> ProgressView:
    """Return the view of a batch that downloads into `folder`, after which it is named."""
    return _BatchView(batch, folder.name or str(folder))


class _BatchView:
    noun = "batch"

    def __init__(self, batch: Batch, name: str) -> None:
        self.name = name
        self._batch = batch
        self._earlier_rows: int | None = None
        self._written: set[str] = set()

    @property
    def seen_bytes(self) -> int:
        progress = self._batch.progress
        return progress.size_bytes + progress.ended  # one of them moves the bar

    @property
    def is_final(self) -> bool:
        return batch_rendering.is_final(self._batch.progress)

    @property
    def is_paused(self) -> bool:
        return self._batch.progress.state == "paused"

    @property
    def can_pause(self) -> bool:
        return not self.is_final

    def pause(self) -> None:
        self._batch.pause()

    def resume(self) -> None:
        self._batch.resume()

    def cancel(self) -> None:
        self._batch.cancel()

    def head_html(self, step: int) -> str:
        return batch_rendering.head_html(self.name, self._batch.progress, step)

    def details_html(self) -> str:
        return batch_rendering.details_html(self._batch.progress, is_live=True)

    def card_html(self, note: str = "") -> str:
        return batch_rendering.batch_html(self.name, self._batch.progress, note)

    def line(self) -> str:
        return "; ".join(batch_rendering.counts(self._batch.progress, is_live=True))

    def final_text(self) -> str:
        return batch_rendering.final_text(self.name, self._batch.progress)

    def new_lines(self) -> list[str]:
        """Return the sentences of failures that are the first of their kind."""
        found = [sentence for sentence, _ in self._batch.progress.failures]
        new = [sentence for sentence in found if sentence not in self._written]
        self._written.update(new)
        return new

    def bar(self) -> BarState | None:
        progress = self._batch.progress
        if self._earlier_rows is None:
            if not progress.ended:
                return None
            self._earlier_rows = progress.skipped  # they do not count as speed
        return BarState(
            progress.ended,
            progress.total,
            self._earlier_rows,
            unit=" rows",
            postfix=", ".join(batch_rendering.short_facts(progress)),
        )

    def progress(self) -> BatchProgress:
        return self._batch.progress
