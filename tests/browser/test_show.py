"""Frames that are shown while they are encoded: the first picture, frame numbers, errors, sizes."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.cells import OpenNotebook
from tests.browser.lab import Chromium, Lab

ROOT = Path(__file__).parents[2]

SHOW = """
    import sys, threading
    sys.path.insert(0, {root!r})
    import numpy as np
    import vidnb
    from tests.clips import numbered_frames, shown_number
    go = threading.Event()
    def frames(count=75, at=40):
        for index, frame in enumerate(numbered_frames(count)):
            if index == at:
                go.wait()
            yield frame
    player = vidnb.show(frames(), width=400, route={route!r}, loop=False)
    player
"""
# Cells that await, so that messages arrive by every route.
BEFORE_THE_END = """
    import asyncio
    async def show(t_s=None, index=None):
        moved = player.seek(t_s) if index is None else player.seek_frame(index)
        await moved.wait_for_async("seeked", timeout_s=DEADLINE_S)
        return shown_number(np.asarray(await player.snapshot_async(timeout_s=DEADLINE_S)))
    await player.wait_for_async("loadeddata", timeout_s=DEADLINE_S)
    report(picture=await show(20.5 / 30), done=player.encoding.done, frames=player.encoding.frames,
           route=player.route, delivery=player.delivery)
    while not os.path.exists("continue-" + player.route):
        await asyncio.sleep(0.05)
"""
AFTER_THE_END = """
    go.set()
    result = await player.encoding
    rows = []
    for index in (74, 0, 7, 8, 29, 30, 31, 41, 60, 73, 20):
        picture = await show(index=index)
        rows.append((index, picture, player.frame_index, shown_number(player.frame().image)))
    await player.seek(0).play().wait_for_async("ended", timeout_s=DEADLINE_S)
    report(rows=rows, duration=player.duration, error=player.error)
"""


@pytest.mark.parametrize("route", ["direct", pytest.param("kernel", marks=pytest.mark.slow)])
def test_a_picture_is_shown_before_the_generator_ends_and_frame_numbers_are_right(
    lab: Lab, chromium: Chromium, route: str
) -> None:
    cells = [SHOW.format(root=str(ROOT), route=route), BEFORE_THE_END, AFTER_THE_END]
    book = OpenNotebook(lab, chromium, f"show-{route}", cells, "127.0.0.1")
    found = book.report()
    assert (found["picture"], found["done"], found["frames"]) == (20, False, 40)
    assert found["delivery"] == "transcode"
    expect(book.page.get_by_text("encoding 40 frames")).to_be_visible()
    (lab.root / f"continue-{route}").touch()
    found = book.report()
    assert found["error"] is None
    assert found["duration"] == pytest.approx(2.5, abs=0.01)
    for index, *shown in found["rows"]:
        assert shown == [index, index, index]
    expect(book.page.locator(".vidnb-frame")).to_contain_text("frame 74")
    expect(book.page.locator(".vidnb-download")).to_be_hidden()
    assert book.errors == []


FAIL = """
    import sys
    sys.path.insert(0, {root!r})
    import vidnb
    from tests.clips import numbered_frames
    def frames():
        yield from numbered_frames({at})
        raise KeyError("the renderer failed")
    player = vidnb.show(frames(), width=400)
    player
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 40])
def test_the_player_shows_why_the_frames_end_early(lab: Lab, chromium: Chromium, at: int) -> None:
    book = OpenNotebook(
        lab, chromium, f"show-fails-{at}", [FAIL.format(root=str(ROOT), at=at)], "127.0.0.1"
    )
    expect(book.page.get_by_text(f"The encoding failed after {at} frames")).to_be_visible()
    expect(book.page.get_by_text("KeyError: 'the renderer failed'")).to_be_visible()
    if at:
        book.page.wait_for_function("document.querySelector('video').readyState >= 2")
        assert book.page.evaluate("document.querySelector('video').duration") == pytest.approx(
            at / 30, abs=0.01
        )


MANY = """
    import sys
    sys.path.insert(0, {root!r})
    import numpy as np
    import vidnb
    from tests.clips import numbered_frames, shown_number
    both = vidnb.show({{"up": numbered_frames(60), "down": iter(numbered_frames(60)[::-1])}})
    both
"""
SEEK_BOTH = """
    for player in both.players:
        player.encoding.result(DEADLINE_S)
        player.wait_for("loadeddata", timeout_s=DEADLINE_S)
    both.seek(22.5 / 30)
    for player in both.players:
        player.wait_for("seeked", timeout_s=DEADLINE_S)
    time.sleep(0.5)
    pictures = [shown_number(np.asarray(player.snapshot(DEADLINE_S))) for player in both.players]
    report(pictures=pictures, labels=both.labels)
"""


@pytest.mark.slow
def test_a_dict_is_shown_under_one_clock_and_the_saved_notebook_is_small(
    lab: Lab, chromium: Chromium
) -> None:
    cells = [MANY.format(root=str(ROOT)), SEEK_BOTH]
    book = OpenNotebook(lab, chromium, "show-dict", cells, "127.0.0.1")
    found = book.report()
    assert found == {"pictures": [22, 37], "labels": ["up", "down"]}
    book.page.keyboard.press("Control+s")
    book.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    path = lab.root / "show-dict.ipynb"
    assert any(cell["outputs"] for cell in json.loads(path.read_text())["cells"])
    assert path.stat().st_size < 60_000
