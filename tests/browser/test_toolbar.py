"""The toolbar of the player in JupyterLab: markers, keys, frame steps, rate, themes."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.cells import cell_output, run_cell
from tests.browser.lab import Chromium, Lab, record_errors, write_notebook

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parent / "shots"
CELLS = (
    (
        "import vidnb\n"
        "counts = []\n"
        "player = vidnb.play(vidnb.sample(), start_s=3, muted=True, width=720,\n"
        "                    markers=[(1.0, 'first'), (4.5, 'goal'), (8.2, 'nearly the end')])\n"
        "stop = player.on('marker', lambda player: counts.append(len(player.markers)))\n"
        "player"
    ),
    "player.seek(2).step(2).set(playback_rate=0.5, volume=0.25);",
    "print([player.markers_table(), counts, player.playback_rate, player.volume])",
    "player.markers = [(5, 'only one')]",
)


@pytest.fixture(scope="module")
def console_errors() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(lab: Lab, chromium: Chromium, console_errors: list[str]) -> Iterator[Page]:
    """The notebook after its first cell has run and the player is shown."""
    SHOTS.mkdir(exist_ok=True)
    write_notebook(lab.root / "toolbar.ipynb", *CELLS)
    page = chromium.new_page(viewport={"width": 1100, "height": 820})
    record_errors(page, console_errors)
    page.goto(lab.url("toolbar.ipynb"))
    page.locator(".jp-NotebookPanel").wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    run_cell(page, 0)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    page.locator(".vidnb-marker").nth(2).wait_for()
    # The media time of the shown frame, reported by requestVideoFrameCallback.
    page.evaluate(
        """() => {
            const video = document.querySelector('video');
            const onFrame = (_, {mediaTime}) => {
                window.shown = mediaTime;
                video.requestVideoFrameCallback(onFrame);
            };
            video.requestVideoFrameCallback(onFrame);
        }"""
    )
    yield page
    page.close()


def video(page: Page, what: str) -> Any:
    return page.locator("video").evaluate(f"video => video.{what}")


def until(page: Page, condition: str, argument: object = None) -> None:
    page.wait_for_function(
        f"a => {{ const video = document.querySelector('video'); return {condition}; }}",
        arg=argument,
    )


def wait_for_time(page: Page, t_s: float) -> None:
    until(page, "!video.seeking && Math.abs(video.currentTime - a) < 0.001", t_s)


def wait_for_frame(page: Page, index: int) -> None:
    until(page, "Math.round(window.shown * 30) === a", index)


def active_cell(page: Page) -> tuple[int, int]:
    """Return the index of the active cell and the number of cells."""
    active = "[...document.querySelectorAll('.jp-Cell')].findIndex("
    active += "cell => cell.classList.contains('jp-mod-active'))"
    found = page.evaluate(f"[{active}, document.querySelectorAll('.jp-Cell').length]")
    return int(found[0]), int(found[1])


def test_a_click_on_a_marker_seeks(page: Page) -> None:
    pin = page.get_by_role("button", name="Marker goal")
    pin.hover()
    assert page.locator(".vidnb-tooltip").inner_text() == "goal · 0:00:04.500"
    page.screenshot(path=SHOTS / "toolbar-light.png")
    pin.click()
    wait_for_time(page, 4.5)
    assert page.locator(".vidnb-current-time").inner_text() == "0:00:04.500"


def test_a_click_on_the_timeline_seeks(page: Page) -> None:
    bar = page.locator(".vidnb-slider")
    box = bar.bounding_box()
    assert box is not None
    bar.click(position={"x": box["width"] * 0.6, "y": box["height"] / 2})
    until(page, "!video.seeking && Math.abs(video.currentTime - 6) < 0.03")


def test_keys_control_the_player_and_not_the_notebook(page: Page) -> None:
    page.locator(".vidnb-slider").focus()
    before = active_cell(page)
    for key, t_s in [("3", 3), ("ArrowRight", 8), ("j", 0), ("l", 10), ("ArrowLeft", 5)]:
        page.keyboard.press(key)
        wait_for_time(page, t_s)
    page.keyboard.press("ArrowDown")
    assert video(page, "volume") == 0.95
    page.keyboard.press("Shift+M")
    assert video(page, "muted") is False
    page.keyboard.press("Shift+M")
    assert video(page, "muted") is True
    page.keyboard.press("k")
    until(page, "!video.paused && video.currentTime > 5.2")
    page.keyboard.press(" ")
    until(page, "video.paused")
    # Keys by which JupyterLab adds, moves, deletes and hides cells.
    for key in ("a", "b", "d", "d", "x", "o", "y", "Enter", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert active_cell(page) == before
    # The video element handles keys as well: each must act once.
    page.locator("video").focus()
    page.keyboard.press("5")
    wait_for_time(page, 5)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert video(page, "currentTime") == 10
    assert active_cell(page) == before


def test_f_enters_and_leaves_full_screen(page: Page) -> None:
    page.locator(".vidnb-slider").focus()
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement?.matches('.vidnb-player')")
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement === null")


def test_steps_move_by_one_frame(page: Page) -> None:
    page.locator(".vidnb-slider").focus()
    # The times of the frames come from Python, so no frame duration has to be measured.
    forward = page.get_by_label("One frame forward")
    expect(forward).to_have_attribute("title", "One frame forward (.)")
    page.keyboard.press("2")
    wait_for_frame(page, 60)
    for index in (61, 62, 63):
        page.keyboard.press(".")
        wait_for_frame(page, index)
    page.keyboard.press(",")
    wait_for_frame(page, 62)
    page.get_by_label("One frame back").click()
    wait_for_frame(page, 61)
    page.get_by_label("One frame forward").click()
    wait_for_frame(page, 62)


def test_a_marker_set_by_a_key_reaches_python(page: Page) -> None:
    page.locator(".vidnb-slider").focus()
    page.keyboard.press("2")
    wait_for_time(page, 2)
    page.keyboard.press("m")
    page.get_by_role("button", name="Marker 0:00:02.000").wait_for()
    rows, counts, *_ = cell_output(page)
    assert [row["t_s"] for row in rows] == [1.0, 2.0, 4.5, 8.2]
    assert counts == [4]
    page.get_by_role("button", name="Marker nearly").focus()
    page.keyboard.press("Delete")
    page.get_by_role("button", name="Marker nearly").wait_for(state="detached")
    rows, counts, *_ = cell_output(page)
    assert [row["t_s"] for row in rows] == [1.0, 2.0, 4.5]


def test_python_steps_and_sets_the_rate(page: Page) -> None:
    run_cell(page, 1)
    wait_for_frame(page, 62)
    until(page, "video.playbackRate === 0.5 && video.volume === 0.25")
    assert page.get_by_label("Playback rate").input_value() == "0.5"
    assert cell_output(page)[2:] == [0.5, 0.25]
    page.get_by_label("Playback rate").select_option("2")
    until(page, "video.playbackRate === 2")
    assert cell_output(page)[2] == 2


def test_python_replaces_the_markers(page: Page) -> None:
    run_cell(page, 3)
    page.get_by_role("button", name="Marker only one").wait_for()
    assert page.locator(".vidnb-marker").count() == 1


def test_the_frame_is_saved_as_png(page: Page) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the image")
    with page.expect_download() as download:
        page.get_by_label("Save this frame as PNG").click()
    assert download.value.suggested_filename.startswith("sample 0h00m0")
    png = image.open(BytesIO(Path(download.value.path()).read_bytes()))
    assert png.format == "PNG"
    assert png.size == (video(page, "videoWidth"), video(page, "videoHeight"))
    low, high = png.convert("L").getextrema()
    assert high - low > 100, "the image is empty"


def test_every_control_is_focusable_and_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('.vidnb-player :is(button, select, [tabindex])')]
            .filter(one => !one.getAttribute('aria-label') || one.tabIndex < 0)
            .map(one => one.outerHTML)"""
    )
    assert nameless == []
    page.locator(".vidnb-slider").focus()
    labels = []
    for _ in range(6):
        page.keyboard.press("Tab")
        labels.append(page.evaluate("document.activeElement.ariaLabel"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"the focus on {labels[-1]} is invisible"
    assert labels[:2] == ["Marker only one · 0:00:05.000", "One frame back"]


def test_the_toolbar_follows_the_theme_and_fits_a_narrow_cell(page: Page) -> None:
    player = page.locator(".vidnb-player")
    light = player.evaluate("one => getComputedStyle(one).color")
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_function(
        "light => getComputedStyle(document.querySelector('.vidnb-player')).color !== light",
        arg=light,
    )
    assert player.evaluate("one => getComputedStyle(one).colorScheme") == "dark"
    player.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "toolbar-dark.png")
    page.set_viewport_size({"width": 680, "height": 820})
    page.wait_for_function("() => document.querySelector('.vidnb-player').clientWidth < 400")
    assert player.evaluate("one => one.scrollWidth <= one.clientWidth"), "it does not fit"
    assert not page.locator(".vidnb-duration").is_visible()
    page.screenshot(path=SHOTS / "toolbar-narrow.png")
    page.emulate_media(forced_colors="active")
    player.screenshot(path=SHOTS / "toolbar-contrast.png")
    page.emulate_media(forced_colors="none")


def test_the_console_has_no_error(page: Page, console_errors: list[str]) -> None:
    assert console_errors == []
