"""Frame numbers: Python, the page and the picture agree on every frame of a clip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.cells import NotebookFile, OpenNotebook
from tests.browser.firefox import Firefox, find_firefox
from tests.browser.lab import Chromium, Lab, require_program
from tests.clips import clip

ROOT = Path(__file__).parents[2]

SHOW = """
    import sys
    sys.path.insert(0, {root!r})
    import numpy as np
    import vidnb
    from tests.clips import shown_number
    player = vidnb.play({path!r}, muted=True, width=400)
    player
"""
# For each frame: its number in the picture of the browser, in Python's report, and in the file.
COMPARE = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    count = len(vidnb.frames({path!r}))
    rows = []
    for index in range(count):
        player.seek_frame(index).wait_for("seeked", timeout_s=DEADLINE_S)
        picture = shown_number(np.asarray(player.snapshot(DEADLINE_S)))
        rows.append((picture, player.frame_index, shown_number(player.frame().image)))
    report(count=count, rows=rows)
"""
STEPS = """
    player.seek_frame(5).wait_for("seeked", timeout_s=DEADLINE_S)
    steps = []
    for frames in (1, 1, 3, -2, -1, 1):
        player.step(frames).wait_for("seeked", timeout_s=DEADLINE_S)
        picture = shown_number(np.asarray(player.snapshot(DEADLINE_S)))
        steps.append((picture, player.frame_index))
    report(steps=steps)
"""
STEPPED = [6, 7, 10, 8, 7, 8]
PLAY = """
    import time
    player.set(playback_rate=0.5).seek_frame(2).wait_for("seeked", timeout_s=DEADLINE_S)
    player.play().wait_for("playing", timeout_s=DEADLINE_S)
    time.sleep(0.7)
    player.pause().wait_for("pause", timeout_s=DEADLINE_S)
    time.sleep(0.5)  # a frame that appears after the pause is reported
    picture = shown_number(np.asarray(player.snapshot(DEADLINE_S)))
    report(paused=(picture, player.frame_index))
"""
CLIPS = (
    "h264-variable.mp4",
    "h264.mp4",
    "h264-29.97.mp4",
    "h264-60.mp4",
    "h264-12.5.mp4",
    "h264-edit-list.mp4",
    "vp9.webm",
)
# Firefox 153 plays the frames before an edit list that begins within a group of pictures, so all
# its frames are later there. Other edit lists (that of h264.mp4, for its B-frames) it applies.
FIREFOX_CLIPS = tuple(name for name in CLIPS if name != "h264-edit-list.mp4")
FIRST = {"h264-edit-list.mp4": 18}


def cells(name: str) -> list[str]:
    path = str(clip(name))
    return [
        SHOW.format(root=str(ROOT), path=path),
        COMPARE.format(path=path),
        STEPS,
        PLAY,
    ]


def check(name: str, reports: Iterator[dict[str, Any]]) -> None:
    first = FIRST.get(name, 0)
    found = next(reports)
    expected = [[n + first, n, n + first] for n in range(found["count"])]
    assert found["rows"] == expected
    assert next(reports)["steps"] == [[n + first, n] for n in STEPPED]
    picture, index = next(reports)["paused"]
    assert picture == index + first
    assert index > 2, "it did not play"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if at else []) for at, name in enumerate(CLIPS)],
)
def test_python_and_chromium_agree_on_every_frame(lab: Lab, chromium: Chromium, name: str) -> None:
    book = OpenNotebook(lab, chromium, f"frame-numbers-{name}", cells(name), "127.0.0.1")
    check(name, iter(book.report, None))
    text = book.page.locator(".vidnb-frame").inner_text()
    assert text.strip(" ·").startswith("frame ")
    assert book.errors == []


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    missing = "Firefox is not installed (Debian: apt-get install firefox-esr)"
    with Firefox(require_program(find_firefox(), missing), tmp_path) as firefox:
        yield firefox


@pytest.mark.slow
@pytest.mark.parametrize("name", FIREFOX_CLIPS)
def test_python_and_firefox_agree_on_every_frame(lab: Lab, firefox: Firefox, name: str) -> None:
    book = NotebookFile(lab.root, f"frame-numbers-firefox-{name}", cells(name))
    firefox.open(lab.url(book.file, workspace=book.name))
    firefox.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    firefox.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    reports = iter(lambda: book.report(lambda: firefox.evaluate("0"), firefox.text), None)
    check(name, reports)
    assert firefox.errors == []
