"""The timeline in JupyterLab: thumbnails under the pointer, and one part that plays."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import vidnb
from tests.browser.cells import OpenNotebook
from tests.browser.lab import Chromium, Lab
from tests.clips import clip, shown_number

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHOTS = Path(__file__).parent / "shots"

SHOW = """
    import sys
    sys.path.insert(0, {root!r})
    import numpy as np
    import time
    import vidnb
    from tests.clips import shown_number
    player = vidnb.play({path!r}, muted=True, width={width}, {options})
    player
"""
BUSY = """
    report(ready=True)
    while not player.markers:  # until the test has set one by a key
        time.sleep(0.05)
    report(done=True)
"""


def open_player(lab: Lab, chromium: Chromium, name: str, clip_name: str, **more: Any) -> Any:
    """Open a notebook with a player of a clip; `cells` follow, `options` are those of `play`."""
    cells = [
        SHOW.format(
            root=str(ROOT),
            path=str(clip(clip_name)),
            width=more.get("width", 480),
            options=more.get("options", ""),
        ),
        *more.get("cells", []),
    ]
    return OpenNotebook(lab, chromium, name, cells, "127.0.0.1")


def hover(page: Page, part: float) -> None:
    slider = page.locator(".vidnb-slider")
    box = slider.bounding_box()
    assert box is not None
    slider.hover(position={"x": part * box["width"], "y": box["height"] / 2})


def picture(page: Page) -> int | None:
    """Wait for the thumbnail that belongs to the time in the tooltip; return its number."""
    page.wait_for_function(
        """() => {
            const picture = document.querySelector(".vidnb-thumbnail");
            return !picture.hidden && picture.style.opacity === "1" && picture.complete;
        }"""
    )
    url = page.locator(".vidnb-thumbnail").get_attribute("src")
    assert url is not None
    data = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    return shown_number(np.asarray(Image.open(io.BytesIO(data))))


def assert_tooltip_is_inside(page: Page) -> None:
    tooltip, player = (
        page.locator(name).bounding_box() for name in (".vidnb-tooltip", ".vidnb-player")
    )
    assert tooltip is not None
    assert player is not None
    assert tooltip["x"] >= player["x"] - 1
    assert tooltip["x"] + tooltip["width"] <= player["x"] + player["width"] + 1
    assert tooltip["y"] >= player["y"] - 1


@pytest.fixture(scope="module")
def page(lab: Lab, chromium: Chromium) -> Iterator[Page]:
    SHOTS.mkdir(exist_ok=True)
    options = "markers=[(1.2, 'goal')]"
    opened = open_player(lab, chromium, "thumbnails", "h264-variable.mp4", options=options)
    opened.page.locator(".vidnb-frame").get_by_text("frame").wait_for()
    yield opened.page
    assert opened.errors == []
    opened.page.close()


def test_the_thumbnail_is_the_key_frame_before_the_pointer(page: Page) -> None:
    with vidnb.frames(clip("h264-variable.mp4")) as frames:
        keys, duration = frames.keyframes, page.locator("video").evaluate("one => one.duration")
        height = page.locator(".vidnb-player").evaluate("one => one.offsetHeight")
        for part in (0.02, 0.5, 0.31, 0.98, 0.5):
            hover(page, part)
            shown = page.locator(".vidnb-tooltip-text").inner_text()
            h, m, s = (float(word) for word in shown.split(":"))
            t_s = 3600 * h + 60 * m + s
            assert t_s == pytest.approx(part * duration, abs=0.02)
            assert picture(page) == max(key for key in keys if key <= frames.index_at(t_s))
            assert_tooltip_is_inside(page)
        assert page.locator(".vidnb-player").evaluate("one => one.offsetHeight") == height
    page.screenshot(path=SHOTS / "thumbnail-light.png")
    page.mouse.move(5, 5)
    assert not page.locator(".vidnb-tooltip").is_visible()


def test_a_marker_shows_its_name_below_the_picture(page: Page) -> None:
    page.get_by_role("button", name="Marker goal").hover()
    assert picture(page) is not None
    assert page.locator(".vidnb-tooltip").inner_text() == "goal · 0:00:01.200"
    page.mouse.move(5, 5)


def test_it_follows_the_theme_and_fits_a_narrow_cell(page: Page) -> None:
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.vidnb-player')).colorScheme === 'dark'"
    )
    hover(page, 0.5)
    picture(page)
    page.screenshot(path=SHOTS / "thumbnail-dark.png")
    page.locator(".vidnb-player").evaluate("one => { one.style.maxWidth = '180px'; }")
    for part in (0.01, 0.99):
        hover(page, part)
        picture(page)
        assert_tooltip_is_inside(page)
        text = page.locator(".vidnb-tooltip-text")
        assert text.evaluate("one => one.scrollWidth <= one.clientWidth"), "the time is cut"
    page.screenshot(path=SHOTS / "thumbnail-narrow.png")
    # The setting is that of the server, which other tests use, too.
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_role("menuitem", name="JupyterLab Light", exact=True).click()
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")


def test_thumbnails_come_while_a_cell_runs(lab: Lab, chromium: Chromium) -> None:
    opened = open_player(lab, chromium, "thumbnails-busy", "h264.mp4", cells=[BUSY])
    assert opened.report() == {"ready": True}
    page = opened.page
    page.locator(".vidnb-frame").get_by_text("frame").wait_for()
    hover(page, 0.62)  # 1.49 s
    assert picture(page) == 36
    page.locator(".vidnb-slider").focus()
    page.keyboard.press("m")
    assert opened.report() == {"done": True}
    page.close()


PART = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    rows = []
    for start in ("from its start", "again", "after a seek to its end"):
        if start == "after a seek to its end":
            player.seek(player.end_s).wait_for("seeked", timeout_s=DEADLINE_S)
        player.play().wait_for("ended", timeout_s=DEADLINE_S)
        picture = shown_number(np.asarray(player.snapshot(DEADLINE_S)))
        rows.append((picture, player.frame_index, player.paused, player.ended))
    player.seek({outside_s}).wait_for("seeked", timeout_s=DEADLINE_S)
    report(rows=rows, sought=shown_number(np.asarray(player.snapshot(DEADLINE_S))))
"""
# The frames that the browser reports, with the time at which it has shown each.
RECORD = """() => {
    const video = document.querySelector("video");
    window.frames_s = [];
    const onFrame = (_, {mediaTime}) => {
        window.frames_s.push(mediaTime);
        video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
}"""


@pytest.mark.parametrize(
    ("name", "last", "outside"),
    [("h264.mp4", 31, 55), ("h264-60.mp4", 32, 33), ("h264-variable.mp4", 30, 7)],
)
def test_a_part_ends_on_its_last_frame(
    lab: Lab, chromium: Chromium, name: str, last: int, outside: int
) -> None:
    with vidnb.frames(clip(name)) as frames:
        start_s, end_s = float(frames.times_s[20]), float(frames.times_s[last + 1])
        outside_s = float(frames.table.seek_time_s(outside))
    options = f"start_s={start_s!r}, end_s={end_s!r}"
    cells = [PART.format(outside_s=outside_s)]
    opened = open_player(lab, chromium, f"part-{name}", name, options=options, cells=cells)
    found = opened.report()
    assert found["rows"] == [[last, last, True, True]] * 3
    assert found["sought"] == outside, "outside can be looked at"
    assert opened.errors == []
    if name == "h264.mp4":
        opened.page.screenshot(path=SHOTS / "part.png")
    opened.page.close()


LOOP = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    turns = []
    stop = player.on("seeked", lambda player: turns.append(player.current_time))
    player.play()
    ends_s = time.monotonic() + DEADLINE_S
    while len(turns) < 3 and time.monotonic() < ends_s:
        time.sleep(0.05)
    report(turns=len(turns), paused=player.paused, ended=player.ended, loop=player.loop)
"""


def test_a_part_plays_in_a_loop(lab: Lab, chromium: Chromium) -> None:
    options = "start_s=0.8, end_s=1.28, loop=True"
    record = "report(shown=True); player.wait_for('route', timeout_s=DEADLINE_S); time.sleep(1)"
    cells = [record, LOOP]
    opened = open_player(lab, chromium, "part-loop", "h264.mp4", options=options, cells=cells)
    assert opened.report() == {"shown": True}
    opened.page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    opened.page.evaluate(RECORD)
    found = opened.report()
    assert found == {"turns": 3, "paused": False, "ended": False, "loop": True}
    numbers = [round(25 * t_s) for t_s in opened.page.evaluate("window.frames_s")]
    assert set(numbers) <= set(range(20, 33)), numbers  # one too many on a slow machine at most
    assert {20, 30} <= set(numbers)
    assert numbers.count(20) + numbers.count(21) >= 2
    opened.page.close()
