"""A saved notebook without a kernel shows a card in place of the player."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.lab import Chromium, Lab, write_notebook
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parent / "shots"
CELL = """import vidnb
from PIL import Image
Image.effect_mandelbrot((640, 360), (-2.2, -1.1, 1, 1.1), 60).save("poster.png")
player = vidnb.play(vidnb.sample(), muted=True, poster="poster.png", markers=[(4.5, "goal")])
player"""


COMPARED = "vidnb.compare(vidnb.sample(), vidnb.sample(), labels=['before', 'after'])"


@pytest.fixture(scope="module")
def saved(lab: Lab, chromium: Chromium) -> tuple[Lab, Path]:
    """A notebook with a player and a comparison, run and saved, and its kernel shut down."""
    pytest.importorskip("PIL", reason="Pillow makes the poster")
    path = lab.root / "card.ipynb"
    write_notebook(path, CELL, COMPARED)
    page = chromium.new_page()
    page.goto(lab.url(path.name))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    for index in range(2):
        page.locator(".jp-CodeCell .cm-content").nth(index).click()
        page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')]"
        ".filter(video => video.readyState).length === 3"
    )
    cards = page.locator(".vidnb-card")
    assert cards.count() == 2
    assert page.locator(".vidnb-card:visible").count() == 0, "the live widgets hide the cards"
    # The durations appear once the browser has reported them.
    cards.first.get_by_text("0:10").wait_for(state="attached")
    cards.last.get_by_text("0:10").nth(1).wait_for(state="attached")
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    page.close()
    lab.end_kernels()
    return lab, path


def check_card(page: Page) -> None:
    cards = page.locator(".vidnb-card:visible")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.vidnb-card')]"
        ".filter(card => card.offsetParent !== null).length === 2"
    )
    compared = cards.last.inner_text()
    assert "Comparison of 2 videos" in compared
    assert "before sample.mp4 · 0:10" in compared
    assert "after sample.mp4 · 0:10" in compared
    assert "Run this cell again to watch them." in compared
    text = cards.first.inner_text()
    assert "sample.mp4" in text
    assert "video · 0:10 · 241.2 kB" in text
    assert "Run this cell again to watch it." in text
    page.wait_for_function("() => document.querySelector('.vidnb-card img').naturalWidth > 0")


@pytest.mark.parametrize("trusted", [True, False])
def test_a_notebook_reopened_without_a_kernel_shows_the_card(
    saved: tuple[Lab, Path], chromium: Chromium, trusted: bool
) -> None:
    SHOTS.mkdir(exist_ok=True)
    lab, path = saved
    assert path.stat().st_size < 60_000
    if not trusted:
        book = json.loads(path.read_text("utf-8"))
        book["cells"][0]["source"] += "\n# changed by another program"
        path = path.with_name("untrusted.ipynb")
        path.write_text(json.dumps(book), "utf-8")
    page = chromium.new_page(viewport={"width": 1000, "height": 560})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # JupyterLab starts a new kernel, which has no player.
    page.goto(lab.url(path.name))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.wait_for_function("() => !document.body.textContent.includes('Loading widget')")
    check_card(page)
    assert page.get_by_text("Error displaying widget").locator("visible=true").count() == 0
    page.locator(".vidnb-card:visible").first.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / f"card-{'trusted' if trusted else 'untrusted'}.png")
    assert errors == []


def test_nbconvert_shows_the_card(
    saved: tuple[Lab, Path], chromium: Chromium, tmp_path: Path
) -> None:
    _, path = saved
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(tmp_path / path.name)]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
    page = chromium.new_page(viewport={"width": 1000, "height": 560})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("http*://**/*", lambda route: route.abort())  # no request leaves this machine
    page.goto((tmp_path / path.with_suffix(".html").name).as_uri())
    check_card(page)
    page.screenshot(path=SHOTS / "card-nbconvert.png")
    assert [error for error in errors if "vidnb" in error] == []
