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
    player = vidnb.play({path!r}, muted=True, width=400, route={route!r})
    player
"""
# For each frame: its number in the picture of the browser, in Python's report, and in the file.
COMPARE = """
    await player.wait_for_async("route", timeout_s=DEADLINE_S)
    count = len(vidnb.frames({path!r}))
    rows = []
    for index in range(count):
        await player.seek_frame(index).wait_for_async("seeked", timeout_s=DEADLINE_S)
        picture = shown_number(np.asarray(await player.snapshot_async(DEADLINE_S)))
        rows.append((picture, player.frame_index, shown_number(player.frame().image)))
    report(count=count, rows=rows, delivery=player.delivery, route=player.route)
"""
STEPS = """
    await player.seek_frame(5).wait_for_async("seeked", timeout_s=DEADLINE_S)
    steps = []
    for frames in (1, 1, 3, -2, -1, 1):
        await player.step(frames).wait_for_async("seeked", timeout_s=DEADLINE_S)
        picture = shown_number(np.asarray(await player.snapshot_async(DEADLINE_S)))
        steps.append((picture, player.frame_index))
    report(steps=steps)
"""
STEPPED = [6, 7, 10, 8, 7, 8]
PLAY = """
    import time
    await player.set(playback_rate=0.5).seek_frame(2).wait_for_async("seeked", timeout_s=DEADLINE_S)
    await player.play().wait_for_async("playing", timeout_s=DEADLINE_S)
    time.sleep(0.7)
    await player.pause().wait_for_async("pause", timeout_s=DEADLINE_S)
    time.sleep(0.5)  # a frame that appears after the pause is reported
    picture = shown_number(np.asarray(await player.snapshot_async(DEADLINE_S)))
    report(paused=(picture, player.frame_index))
"""
CLIPS = (
    "h264-variable.mp4",
    "h264.mp4",
    "h264-29.97.mp4",
    "h264-60.mp4",
    "h264-12.5.mp4",
    "vp9.webm",
)
# Played in segments: the times of a transport stream begin at 1.48 s, those of the player at 0.
FED = {
    "h264.ts": "remux",
    "h264.mkv": "remux",
    "h264-variable.mkv": "remux",
    "h264-open-gop.ts": "transcode",
    "hevc.mp4": "transcode",
    "mpeg2.mpg": "transcode",
    # It begins within a group of pictures: Firefox 153 would show the hidden frames, too.
    "h264-edit-list.mp4": "transcode",
}
FIRST = {"h264-edit-list.mp4": 18}


def cells(name: str, route: str = "auto") -> list[str]:
    path = str(clip(name))
    return [
        SHOW.format(root=str(ROOT), path=path, route=route),
        COMPARE.format(path=path),
        STEPS,
        PLAY,
    ]


def check(name: str, reports: Iterator[dict[str, Any]]) -> None:
    first = FIRST.get(name, 0)
    found = next(reports)
    expected = [[n + first, n, n + first] for n in range(found["count"])]
    assert found["rows"] == expected
    assert found["delivery"] == FED.get(name, "remux" if found["route"] == "kernel" else "direct")
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


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("h264.ts", "auto"),
        *(
            pytest.param(name, route, marks=pytest.mark.slow)
            for name in FED
            for route in ("auto", "proxy", "kernel")
            if (name, route) != ("h264.ts", "auto")
        ),
        pytest.param("h264.mp4", "kernel", marks=pytest.mark.slow),
    ],
)
def test_python_and_chromium_agree_on_every_frame_in_segments(
    lab: Lab, chromium: Chromium, name: str, route: str
) -> None:
    title = f"frames-{name}-{route}"
    book = OpenNotebook(lab, chromium, title, cells(name, route), "127.0.0.1")
    check(name, iter(book.report, None))
    label = book.page.locator(".vidnb-delivery")
    assert label.inner_text() == ("transcoded" if FED.get(name) == "transcode" else "remuxed")
    assert book.errors == []


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    missing = "Firefox is not installed (Debian: apt-get install firefox-esr)"
    with Firefox(require_program(find_firefox(), missing), tmp_path) as firefox:
        yield firefox


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "route"),
    [
        *((name, "auto") for name in (*CLIPS, *FED) if name != "hevc.mp4"),
        ("h264.mkv", "kernel"),
        ("h264.mp4", "kernel"),
    ],
)
def test_python_and_firefox_agree_on_every_frame(
    lab: Lab, firefox: Firefox, name: str, route: str
) -> None:
    book = NotebookFile(lab.root, f"frame-numbers-firefox-{name}-{route}", cells(name, route))
    firefox.open(lab.url(book.file, workspace=book.name))
    firefox.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    firefox.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    reports = iter(lambda: book.report(lambda: firefox.evaluate("0"), firefox.text), None)
    check(name, reports)
    assert firefox.errors == []
