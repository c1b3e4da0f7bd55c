"""Notebooks made for one test: cells, run in a real page, whose last one leaves what it found."""

import json
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

from playwright.sync_api import Browser, Page, Request

from tests.browser.lab import Lab

PATIENCE_S = 90


class Open:
    """A notebook that is open in a page, with all its cells run."""

    def __init__(self, lab: Lab, browser: Browser, name: str, cells: list[str], host: str) -> None:
        name = re.sub("[^0-9a-z]", "-", name)  # what JupyterLab takes as a workspace's name
        self._found = lab.root / f"{name}.json"
        # `tell` leaves what it is given for the test, whole or not at all.
        tell = f"""
            import json, os, time
            def tell(**found):
                with open({str(self._found) + ".new"!r}, "w") as file:
                    json.dump(found, file)
                os.replace({str(self._found) + ".new"!r}, {str(self._found)!r})
        """
        sources = [dedent(cell).strip() for cell in (tell, *cells)]
        path = lab.root / f"{name}.ipynb"
        path.write_text(json.dumps(_notebook(sources)), "utf-8")
        self.errors: list[str] = []
        self.media: list[str] = []
        # A workspace of its own: another would open the notebooks of earlier tests again.
        url = lab.url(path.name, host).replace("/lab/tree/", f"/lab/workspaces/{name}/tree/")
        self.page = self._opened(url, browser)

    def _opened(self, url: str, browser: Browser) -> Page:
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._on_request)
        page.goto(url)
        page.locator(".jp-NotebookPanel").wait_for(timeout=60_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        return page

    def _on_request(self, request: Request) -> None:
        if request.resource_type == "media":
            self.media.append(request.url)

    def found(self) -> dict[str, Any]:
        """Wait for what the cells tell."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._found.exists():
            if time.monotonic() > deadline_s:
                shown = self.page.locator(".jp-Notebook").first.inner_text()
                raise AssertionError(f"the cells told nothing; the page shows:\n{shown}")
            self.page.wait_for_timeout(50)  # and what the page does meanwhile, is done
        found: dict[str, Any] = json.loads(self._found.read_text("utf-8"))
        self._found.unlink()
        return found


def _notebook(sources: list[str]) -> dict[str, Any]:
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


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
