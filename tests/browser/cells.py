"""Notebooks made for one test: cells, run in a real page, whose last one leaves what it found."""

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
    """What runs the notebooks of a folder and shows them in a page."""

    root: Path

    def url(self, notebook: str, host: str, workspace: str) -> str:
        """Return the address that opens one."""

    def run_all(self, page: Page) -> None:
        """Run the cells of the one that is open."""


class Pages(Protocol):
    """A browser, or what opens its pages."""

    def new_page(self, *, viewport: ViewportSize) -> Page:
        """Open an empty page."""


class Book:
    """A notebook that is written for one test; `tell` in its cells leaves what it is given."""

    def __init__(self, root: Path, name: str, cells: list[str], kernel: str = "python3") -> None:
        self.name = re.sub("[^0-9a-z]", "-", name)  # what JupyterLab takes as a workspace's name
        self.file = f"{self.name}.ipynb"
        self._found = root / f"{self.name}.json"
        # Whole or not at all, and not before what was told earlier is taken.
        tell = f"""
            import json, os, time
            DEADLINE_S = {DEADLINE_S}
            def tell(**found):
                while os.path.exists({str(self._found)!r}):
                    time.sleep(0.05)
                with open({str(self._found) + ".new"!r}, "w") as file:
                    json.dump(found, file)
                os.replace({str(self._found) + ".new"!r}, {str(self._found)!r})
        """
        sources = [dedent(cell).strip() for cell in (tell, *cells)]
        write_notebook(root / self.file, *sources, kernel=kernel)

    def found(self, pause: Callable[[], object], shown: Callable[[], str]) -> dict[str, Any]:
        """Wait for what the cells tell, by pauses; fail with what the page shows."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not self._found.exists():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"the cells told nothing; the page shows:\n{shown()}")
            pause()
        found: dict[str, Any] = json.loads(self._found.read_text("utf-8"))
        self._found.unlink()
        return found


class Open:
    """A notebook that is open in a page, with all its cells run."""

    def __init__(
        self,
        lab: NotebookHost,
        browser: Pages,
        name: str,
        cells: list[str],
        host: str,
        kernel: str = "python3",
    ) -> None:
        self._lab = lab
        self._book = Book(lab.root, name, cells, kernel)
        self.errors: list[str] = []
        self.media: list[str] = []
        self.page = page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)
        page.goto(lab.url(self._book.file, host, self._book.name))
        lab.run_all(page)

    def _on_error(self, error: Error) -> None:
        # What the host's own scripts do wrong is not ours.
        if "/static/notebook/" not in (error.stack or ""):
            self.errors.append(str(error))

    def run_all(self) -> None:
        """Run all cells again, as soon as there is a kernel that waits for them."""
        self._lab.run_all(self.page)

    def _on_request(self, request: Request) -> None:
        if request.resource_type == "media":
            self.media.append(request.url)

    def found(self) -> dict[str, Any]:
        """Wait for what the cells tell; what the page does meanwhile, is done."""
        page = self.page
        return self._book.found(
            lambda: page.wait_for_timeout(50), lambda: page.locator("body").inner_text()
        )


def run_cell(page: Page, index: int) -> None:
    """Run one cell of the notebook that is open in JupyterLab, and wait for its end."""
    page.locator(".jp-CodeCell .cm-content").nth(index).click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "index => /\\[\\d+\\]/.test("
        "document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')[index].textContent)",
        arg=index,
    )


def ask(page: Page, index: int = 2) -> Any:
    """Run the cell that prints what Python knows, and read it."""
    run_cell(page, index)
    text = page.locator(".jp-CodeCell").nth(index).locator(".jp-OutputArea-output").inner_text()
    return ast.literal_eval(text)


SHOW = """
    import vidnb
    player = vidnb.play({path!r}, muted=True, width=640, route={route!r})
    shown_s = time.time()
    player
"""

# In a cell of its own that awaits, so that every road is heard.
STEER = """
    await player.wait_for_async("route", timeout_s=DEADLINE_S)
    arrived_s = time.time() - shown_s
    await player.seek(12).wait_for_async("seeked", timeout_s=DEADLINE_S)
    still = player.current_time
    await player.play().wait_for_async("playing", timeout_s=DEADLINE_S)
    await player.wait_for_async("timeupdate", timeout_s=DEADLINE_S)
    await player.pause().wait_for_async("pause", timeout_s=DEADLINE_S)
    picture = await player.snapshot_async(timeout_s=DEADLINE_S)
    import ipykernel
    tell(still=still, route=player.route, tried=player.routes_tried, duration=player.duration,
         stopped=player.current_time, picture=picture.size, arrived_s=arrived_s,
         ipykernel=ipykernel.__version__,
         colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000)))
"""


def steer(
    lab: NotebookHost,
    browser: Pages,
    name: str,
    path: str,
    host: str,
    route: str = "auto",
    steering: str = STEER,
    kernel: str = "python3",
) -> tuple[dict[str, Any], Open]:
    """Play and seek in a page of `host`; return what Python was told."""
    cells = [SHOW.format(path=path, route=route), steering]
    notebook = Open(lab, browser, name, cells, host, kernel)
    return heard(notebook), notebook


def heard(notebook: Open, which: int = 0) -> dict[str, Any]:
    """Wait for what Python was told of one of the players shown; check and return it."""
    found = notebook.found()
    video = notebook.page.locator("video").nth(which)
    assert "failed" not in found, found
    assert found["duration"] == pytest.approx(30, abs=0.2)
    assert found["still"] == pytest.approx(12, abs=0.3)
    assert 12 <= found["stopped"] == pytest.approx(video.evaluate("v => v.currentTime"), abs=0.3)
    assert found["picture"] == [1920, 1080]
    assert found["colours"] > 50, "the snapshot shows nothing"
    print(f"{found['tried']}, then {found['route']} after {1000 * found['arrived_s']:.0f} ms")
    assert notebook.page.locator(".vidnb-route").nth(which).inner_text() == found["route"]
    assert notebook.errors == []
    return found


def copy_of(film: Path, to: Path) -> Path:
    """Put a file where a test wants it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(film.read_bytes())
    return to


def stretched(film: Path, to: Path, size_bytes: int) -> Path:
    """Make an MP4 of about this size (B) out of a film whose `moov` stands at its end.

    A box without meaning, which costs no disk, stands before its media, which so lie at the end:
    a reader has to ask for ranges from there. The offsets in it are of 32 bits.
    """
    data = film.read_bytes()
    boxes = dict(_boxes(data, 0, len(data)))
    media, moov = boxes[b"mdat"], boxes[b"moov"]
    gap = size_bytes - len(data)
    index = bytearray(data[moov.start : moov.stop])
    _shift(index, 8, len(index), gap)
    with to.open("wb") as file:
        file.write(data[: media.start])
        file.write(struct.pack(">I4sQ", 1, b"free", gap))
        file.seek(media.start + gap)
        file.write(data[media.start : media.stop])
        file.write(index)
    return to


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
            places = f">{count}I"
            offsets = struct.unpack_from(places, index, where.start + 16)
            struct.pack_into(places, index, where.start + 16, *(one + by for one in offsets))
