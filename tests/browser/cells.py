"""Notebooks written for one test, run in a browser, whose cells report values to the test."""

import ast
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import pytest
from playwright.sync_api import Error, Page, Request, ViewportSize

from tests.browser.lab import write_notebook
from tests.deadline import DEADLINE_S


class NotebookHost(Protocol):
    """A notebook server: it runs the notebooks of a folder and shows them in a page."""

    root: Path

    def url(self, notebook: str, host: str, workspace: str) -> str:
        """Return the URL that opens a notebook."""

    def run_all(self, page: Page) -> None:
        """Run all cells of the open notebook."""


class Pages(Protocol):
    """A browser, or a wrapper that opens its pages."""

    def new_page(self, *, viewport: ViewportSize) -> Page:
        """Open an empty page."""


class NotebookFile:
    """A notebook written for one test; its cells call `report(**values)` to send values to it."""

    def __init__(self, root: Path, name: str, cells: list[str], kernel: str = "python3") -> None:
        self.name = re.sub("[^0-9a-z]", "-", name)  # valid as the name of a JupyterLab workspace
        self.file = f"{self.name}.ipynb"
        self._report = root / f"{self.name}.json"
        # Each report is written atomically, after the earlier one was read.
        report = f"""
            import json, os, time
            DEADLINE_S = {DEADLINE_S}
            def report(**values):
                while os.path.exists({str(self._report)!r}):
                    time.sleep(0.05)
                with open({str(self._report) + ".new"!r}, "w") as file:
                    json.dump(values, file)
                os.replace({str(self._report) + ".new"!r}, {str(self._report)!r})
        """
        sources = [dedent(cell).strip() for cell in (report, *cells)]
        write_notebook(root / self.file, *sources, kernel=kernel)

    def report(self, pause: Callable[[], object], shown: Callable[[], str]) -> dict[str, Any]:
        """Wait for the next report of the cells, calling `pause`; fail with the page's text."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not self._report.exists():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"the cells reported nothing; the page shows:\n{shown()}")
            pause()
        found: dict[str, Any] = json.loads(self._report.read_text("utf-8"))
        self._report.unlink()
        return found


class OpenNotebook:
    """A notebook open in a page; all its cells were started."""

    def __init__(
        self,
        lab: NotebookHost,
        browser: Pages,
        name: str,
        cells: list[str],
        host: str,
        kernel: str = "python3",
    ) -> None:
        self._server = lab
        self._book = NotebookFile(lab.root, name, cells, kernel)
        self.errors: list[str] = []
        self.media: list[str] = []
        self.page = page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)
        page.goto(lab.url(self._book.file, host, self._book.name))
        lab.run_all(page)

    def _on_error(self, error: Error) -> None:
        # Errors in the scripts of Notebook 7 itself are ignored.
        if "/static/notebook/" not in (error.stack or ""):
            self.errors.append(str(error))

    def run_all(self) -> None:
        """Run all cells again, once the kernel is idle."""
        self._server.run_all(self.page)

    def _on_request(self, request: Request) -> None:
        if request.resource_type == "media":
            self.media.append(request.url)

    def report(self) -> dict[str, Any]:
        """Wait for the next report of the cells while the page keeps running."""
        page = self.page
        return self._book.report(
            lambda: page.wait_for_timeout(50), lambda: page.locator("body").inner_text()
        )


def run_cell(page: Page, index: int) -> None:
    """Run one cell of the notebook that is open in JupyterLab, and wait until it has finished."""
    page.locator(".jp-CodeCell .cm-content").nth(index).click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "index => /\\[\\d+\\]/.test("
        "document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')[index].textContent)",
        arg=index,
    )


def cell_output(page: Page, index: int = 2) -> Any:
    """Run a cell that prints a literal, and return the literal."""
    run_cell(page, index)
    text = page.locator(".jp-CodeCell").nth(index).locator(".jp-OutputArea-output").inner_text()
    return ast.literal_eval(text)


SHOW = """
    import vidnb
    player = vidnb.play({path!r}, muted=True, width=640, route={route!r})
    shown_s = time.time()
    player
"""

# A separate cell that awaits, so that messages arrive by every route.
CONTROL = """
    await player.wait_for_async("route", timeout_s=DEADLINE_S)
    route_s = time.time() - shown_s
    await player.seek(12).wait_for_async("seeked", timeout_s=DEADLINE_S)
    sought = player.current_time
    await player.play().wait_for_async("playing", timeout_s=DEADLINE_S)
    await player.wait_for_async("timeupdate", timeout_s=DEADLINE_S)
    await player.pause().wait_for_async("pause", timeout_s=DEADLINE_S)
    snapshot = await player.snapshot_async(timeout_s=DEADLINE_S)
    import ipykernel
    report(sought=sought, route=player.route, tried=player.routes_tried, duration=player.duration,
         stopped=player.current_time, snapshot=snapshot.size, route_s=route_s,
         ipykernel=ipykernel.__version__,
         colours=len(snapshot.convert("RGB").resize((32, 18)).getcolors(1000)))
"""


def play_and_seek(
    lab: NotebookHost,
    browser: Pages,
    name: str,
    path: str,
    host: str,
    route: str = "auto",
    control: str = CONTROL,
    kernel: str = "python3",
) -> tuple[dict[str, Any], OpenNotebook]:
    """Run a player and the `control` cell in a page of `host`; return the checked report."""
    cells = [SHOW.format(path=path, route=route), control]
    notebook = OpenNotebook(lab, browser, name, cells, host, kernel)
    return check_report(notebook), notebook


def check_report(notebook: OpenNotebook, which: int = 0) -> dict[str, Any]:
    """Wait for a report, compare it with the video at index `which`, and return it."""
    found = notebook.report()
    video = notebook.page.locator("video").nth(which)
    assert "failed" not in found, found
    assert found["duration"] == pytest.approx(30, abs=0.2)
    assert found["sought"] == pytest.approx(12, abs=0.3)
    assert 12 <= found["stopped"] == pytest.approx(video.evaluate("v => v.currentTime"), abs=0.3)
    assert found["snapshot"] == [1920, 1080]
    assert found["colours"] > 50, "the snapshot shows nothing"
    print(f"{found['tried']}, then {found['route']} after {1000 * found['route_s']:.0f} ms")
    assert notebook.page.locator(".vidnb-route").nth(which).inner_text() == found["route"]
    assert notebook.errors == []
    return found


def copy_file(source: Path, target: Path) -> Path:
    """Copy a file; return the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def enlarge(film: Path, target: Path, size_bytes: int) -> Path:
    """Write an MP4 of `size_bytes` from a film whose `moov` is at its end; return it.

    A sparse `free` box before the media data moves them to the end of the file, so that a reader
    has to request ranges there. The chunk offsets (`stco`) have 32 bits.
    """
    data = film.read_bytes()
    boxes = dict(_boxes(data, 0, len(data)))
    media, moov = boxes[b"mdat"], boxes[b"moov"]
    gap = size_bytes - len(data)
    index = bytearray(data[moov.start : moov.stop])
    _shift(index, 8, len(index), gap)
    with target.open("wb") as file:
        file.write(data[: media.start])
        file.write(struct.pack(">I4sQ", 1, b"free", gap))
        file.seek(media.start + gap)
        file.write(data[media.start : media.stop])
        file.write(index)
    return target


def _boxes(data: bytes, at: int, stop: int) -> Iterator[tuple[bytes, range]]:
    while at + 8 <= stop:
        size_bytes, kind = struct.unpack_from(">I4s", data, at)
        yield kind, range(at, at + size_bytes)
        at += size_bytes


def _shift(index: bytearray, at: int, stop: int, by: int) -> None:
    for kind, where in _boxes(bytes(index), at, stop):
        if kind in {b"trak", b"mdia", b"minf", b"stbl"}:
            _shift(index, where.start + 8, where.stop, by)
        elif kind == b"stco":
            (count,) = struct.unpack_from(">I", index, where.start + 12)
            layout = f">{count}I"
            offsets = struct.unpack_from(layout, index, where.start + 16)
            struct.pack_into(layout, index, where.start + 16, *(offset + by for offset in offsets))
