"""`download_many`: a batch of downloads, with its display in a cell or on a terminal."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec
from weakref import WeakKeyDictionary

from vidnb.download import batch as batches
from vidnb.download.batch import DownloadBatch
from vidnb.widgets.progress.batch_display import batch_view
from vidnb.widgets.progress.display import choose_display, current_cell, is_in_kernel

__all__ = ["download_many"]

_P = ParamSpec("_P")


class _Displays:
    """Shows a batch, and those that retry its rows, as `progress` of `download_many` says."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._cells: WeakKeyDictionary[DownloadBatch, object] = WeakKeyDictionary()

    def start(self, batch: DownloadBatch) -> None:
        """Show a batch that has just started."""
        if self._progress is None or self._progress is True:
            self._cells[batch] = current_cell()
        self._add(batch, self._progress)

    def show(self, batch: DownloadBatch) -> None:
        """Show a batch that is the last line of a cell, unless this cell shows it already."""
        if not is_in_kernel():
            raise NotImplementedError  # IPython then shows the `repr`
        if self._cells.get(batch) != current_cell():
            self._cells[batch] = current_cell()
            self._add(batch, None)

    def _add(self, batch: DownloadBatch, progress: Any) -> None:
        batch.add_display(choose_display(progress, batch_view(batch, batch.folder)))


def _displayed(start: Callable[_P, DownloadBatch]) -> Callable[_P, DownloadBatch]:
    @wraps(start)
    def download_many(*args: _P.args, **kwargs: _P.kwargs) -> DownloadBatch:
        displays = _Displays(kwargs.get("progress"))
        batch = start(*args, **kwargs)
        batch.show_with(displays)
        return batch

    download_many.__module__ = __name__
    return download_many


download_many = _displayed(batches.download_many)
