"""`vidnb.download_many` and its displays: in cells, on retries, after the end, elsewhere."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vidnb
from tests.origin import Exchange, Film, Origin, noise, plain
from tests.widgets.front_end import visible_text
from vidnb.download.batch import download_many as start_batch
from vidnb.download.planner.batch_progress import BatchProgress
from vidnb.widgets import batch as batch_widgets

pytestmark = pytest.mark.usefixtures("messages", "registry")


def respond(exchange: Exchange) -> None:
    """Send a file; 404 for those whose name contains "gone"."""
    if "gone" in exchange.request.target:
        exchange.head(404, [("Content-Length", "0")])
    else:
        plain(exchange)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(Film(noise(5_000)), otherwise=respond) as running:
        yield running


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return the running cell, as its execution count."""
    running = SimpleNamespace(count=1)
    monkeypatch.setattr(batch_widgets, "current_cell", lambda: running.count)
    return running


def urls(origin: Origin, *names: str) -> list[str]:
    return [f"{origin.base}/{name}.mp4" for name in names]


def last_text(outputs: list[dict[str, Any]]) -> str:
    return visible_text(outputs[-1]["text/html"])


def test_it_is_the_call_of_the_batch_module() -> None:
    assert inspect.signature(vidnb.download_many) == inspect.signature(start_batch)
    assert vidnb.download_many.__doc__ == start_batch.__doc__


def test_a_batch_is_shown_at_its_start_and_complete_before_its_result(
    origin: Origin,
    tmp_path: Path,
    in_kernel: object,
    cell: SimpleNamespace,
    outputs: list[dict[str, Any]],
) -> None:
    batch = vidnb.download_many(urls(origin, "a", "b", "gone"), tmp_path / "clips")
    assert len(outputs) >= 1
    assert "application/vnd.jupyter.widget-view+json" in outputs[0]
    batch.result()
    assert len(outputs) == 2
    assert outputs[1]["update"]
    assert last_text(outputs).startswith("clips 1 failed 2 done · 1 failed · 10.0 kB in 0:0")
    batch._ipython_display_()  # the last line of the same cell
    assert len(outputs) == 2
    cell.count += 1
    batch._ipython_display_()
    batch._ipython_display_()
    assert len(outputs) == 4
    assert last_text(outputs).startswith("clips 1 failed")


def test_a_retry_is_shown_as_well(
    origin: Origin, tmp_path: Path, in_kernel: object, outputs: list[dict[str, Any]]
) -> None:
    batch = vidnb.download_many(urls(origin, "a", "gone"), tmp_path / "clips")
    batch.result()
    retried = batch.retry()
    retried.result()
    assert len(outputs) == 4
    assert "0 done · 1 failed" in last_text(outputs)


def test_a_hidden_batch_is_shown_where_it_is_asked_for(
    origin: Origin,
    tmp_path: Path,
    in_kernel: object,
    cell: SimpleNamespace,
    outputs: list[dict[str, Any]],
) -> None:
    batch = vidnb.download_many(urls(origin, "a"), tmp_path, progress=False)
    batch.result()
    assert outputs == []
    batch._ipython_display_()
    assert len(outputs) == 2


def test_elsewhere_ipython_shows_the_repr(origin: Origin, tmp_path: Path) -> None:
    batch = vidnb.download_many(urls(origin, "a"), tmp_path)
    batch.result()
    with pytest.raises(NotImplementedError):
        batch._ipython_display_()
    assert repr(batch).startswith("<DownloadBatch done")


def test_a_function_gets_the_progress_also_of_a_retry(origin: Origin, tmp_path: Path) -> None:
    calls: list[BatchProgress] = []
    batch = vidnb.download_many(urls(origin, "a", "gone"), tmp_path, progress=calls.append)
    batch.result()
    assert (calls[-1].done, calls[-1].failed, calls[-1].state) == (1, 1, "done")
    batch.retry().result()
    assert (calls[-1].done, calls[-1].failed) == (0, 1)


def test_a_function_that_raises_never_ends_the_batch(origin: Origin, tmp_path: Path) -> None:
    def fail(progress: BatchProgress) -> None:
        raise ZeroDivisionError

    assert vidnb.download_many(urls(origin, "a"), tmp_path, progress=fail).result().done == 1
