"""A saved notebook without its kernel: where the player stood, the card reads."""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.lab import Lab, write_notebook

SHOTS = Path(__file__).parent / "shots"
CELL = """import vidnb
from PIL import Image
Image.effect_mandelbrot((640, 360), (-2.2, -1.1, 1, 1.1), 60).save("poster.png")
player = vidnb.play(vidnb.sample(), muted=True, poster="poster.png", markers=[(4.5, "goal")])
player"""


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[tuple[Lab, Path]]:
    """A notebook with a player in it, run and saved in JupyterLab, and its kernel shut down."""
    pytest.importorskip("PIL", reason="Pillow makes the poster")
    root = tmp_path_factory.mktemp("lab")
    path = root / "card.ipynb"
    write_notebook(path, CELL)
    with Lab(root) as lab:
        page = chromium.new_page()
        page.goto(lab.url(path.name))
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.locator(".jp-CodeCell .cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_function("() => document.querySelector('video')?.readyState >= 1")
        assert page.locator(".vidnb-card").count() == 1
        assert not page.locator(".vidnb-card").is_visible(), "the living player hides it"
        page.locator(".vidnb-card").get_by_text("0:10").wait_for(state="attached")
        page.keyboard.press("Control+s")
        page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
        page.close()
        shut_down(lab)
        yield lab, path


def shut_down(lab: Lab) -> None:
    address = f"http://127.0.0.1:{lab.port}/api/sessions"
    head = {"Authorization": f"token {lab.token}"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=head)) as answer:
        sessions = json.load(answer)
    assert len(sessions) == 1
    url = f"{address}/{sessions[0]['id']}"
    urllib.request.urlopen(urllib.request.Request(url, headers=head, method="DELETE")).close()


def check_card(page: Page) -> None:
    card = page.locator(".vidnb-card:visible")
    card.wait_for(timeout=60_000)
    assert card.count() == 1
    text = card.inner_text()
    assert "sample.mp4" in text
    assert "video · 0:10 · 241.2 kB" in text
    assert "Run this cell again to watch it." in text
    page.wait_for_function("() => document.querySelector('.vidnb-card img').naturalWidth > 0")


@pytest.mark.parametrize("trusted", [True, False])
def test_a_notebook_reopened_without_a_kernel_shows_the_card(
    saved: tuple[Lab, Path], chromium: Browser, trusted: bool
) -> None:
    SHOTS.mkdir(exist_ok=True)
    lab, path = saved
    assert path.stat().st_size < 60_000
    if not trusted:
        book = json.loads(path.read_text("utf-8"))
        book["cells"][0]["source"] += "\n# another hand"
        path = path.with_name("untrusted.ipynb")
        path.write_text(json.dumps(book), "utf-8")
    page = chromium.new_page(viewport={"width": 1000, "height": 560})
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    # JupyterLab starts a new kernel, which knows nothing of the player.
    page.goto(lab.url(path.name))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_text("Loading widget").wait_for(state="detached")
    check_card(page)
    assert not page.get_by_text("Error displaying widget").is_visible()
    page.locator(".vidnb-card:visible").scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / f"card-{'trusted' if trusted else 'untrusted'}.png")
    assert broken == []
    page.close()


def test_nbconvert_shows_the_card(
    saved: tuple[Lab, Path], chromium: Browser, tmp_path: Path
) -> None:
    _, path = saved
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(tmp_path / path.name)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    page = chromium.new_page(viewport={"width": 1000, "height": 560})
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.route("http*://**/*", lambda route: route.abort())  # nothing outside of this machine
    page.goto((tmp_path / path.with_suffix(".html").name).as_uri())
    check_card(page)
    page.screenshot(path=SHOTS / "card-nbconvert.png")
    assert [error for error in broken if "vidnb" in error] == []
    page.close()
