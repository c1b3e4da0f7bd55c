"""The page of a served folder in Chromium: posters, keys, players."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

import vidnb
from tests.browser.lab import Chromium
from vidnb.server.folder import ServedFolder, serve_folder

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parent / "shots"
NAMES = [
    "no decoder.avi",
    "Opening.mp4", "Talk 1 - a title that is long enough to need a second line.mp4", "Talk 2.mp4",
    "Talk 10.mp4", "day 2/Talk 1.mp4", "day 2/Talk 2.mp4",
    "day 10/Closing & thanks <all>.mp4",
]  # fmt: skip
MANY = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "Conference"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(vidnb.sample(), root / name)
    (root / "no decoder.avi").write_bytes(b"RIFF" + bytes(5000))
    return root


@pytest.fixture
def served(folder: Path) -> Iterator[ServedFolder]:
    with serve_folder(folder) as served:
        yield served


def open_page(chromium: Chromium, url: str, **options: Any) -> tuple[Page, list[str]]:
    """Open a page; return it and its console messages, errors and foreign requests."""
    problems: list[str] = []
    page = chromium.new_page(**options)
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    host = urlsplit(url).netloc
    page.on(
        "request",
        lambda request: (
            None if urlsplit(request.url).netloc in {host, ""} else problems.append(request.url)
        ),
    )
    page.goto(url)
    return page, problems


def wait_for_posters(page: Page) -> None:
    page.wait_for_function(
        "() => [...document.querySelectorAll('.card')].every(card => 'loaded' in card.dataset)"
    )


@pytest.mark.parametrize(
    ("theme", "width"), [("light", 1200), ("dark", 1200), ("light", 390), ("dark", 390)]
)
def test_posters_appear_without_console_messages(
    served: ServedFolder, chromium: Chromium, theme: str, width: int
) -> None:
    SHOTS.mkdir(exist_ok=True)
    page, problems = open_page(
        chromium,
        served.page_url,
        color_scheme=theme,
        viewport={"width": width, "height": 2600 if width < 500 else 1100},
    )
    wait_for_posters(page)
    page.screenshot(path=SHOTS / f"folder-{theme}-{width}.png")
    assert page.title() == "Conference"
    assert page.locator("h2").all_inner_texts() == ["day 2", "day 10"]
    assert page.locator(".name").all_inner_texts() == [Path(name).name for name in NAMES]
    assert page.locator("canvas").count() == len(NAMES) - 1
    assert page.locator(".duration").all_inner_texts() == ["0:10"] * (len(NAMES) - 1)
    colours = page.locator("canvas").first.evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert colours > 20, "the poster has one colour only"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []


def test_a_card_opens_a_player_that_seeks_and_links_back(
    served: ServedFolder, chromium: Chromium
) -> None:
    page, problems = open_page(chromium, served.page_url, viewport={"width": 1200, "height": 900})
    page.get_by_text("Talk 10.mp4").click()
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    assert page.title() == "Talk 10.mp4"
    page.keyboard.press("8")
    page.wait_for_function("() => !document.querySelector('video').seeking")
    assert page.locator("video").evaluate("v => v.currentTime") == pytest.approx(8, abs=0.1)
    page.get_by_text("All videos").click()
    page.locator(".card").first.wait_for()
    assert problems == []


def test_posters_are_made_near_the_viewport_and_release_their_connections(
    folder: Path, chromium: Chromium
) -> None:
    for number in range(MANY):
        shutil.copy(vidnb.sample(), folder / f"more {number}.mp4")
    requested: set[str] = set()
    with serve_folder(folder) as served:
        page = chromium.new_page(viewport={"width": 700, "height": 400})
        page.on("request", lambda request: requested.add(urlsplit(request.url).path))
        page.goto(served.page_url)
        page.wait_for_function(
            "() => [...document.querySelectorAll('.card')].slice(0, 2)"
            ".every(card => 'loaded' in card.dataset)"
        )
        page.wait_for_load_state("networkidle")
        assert page.locator("canvas").count() < 12
        assert page.locator("video").count() == 0
        assert len(requested) < 14
        page.locator(".card").last.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => 'loaded' in [...document.querySelectorAll('.card')].at(-1).dataset"
        )
        assert page.locator("canvas").count() < 30, "cards that were scrolled past got posters"


def test_keys_move_between_the_cards_and_filter_them(
    served: ServedFolder, chromium: Chromium
) -> None:
    page, problems = open_page(chromium, served.page_url, viewport={"width": 1200, "height": 900})

    def focused() -> str:
        return str(page.evaluate("document.activeElement.querySelector('.name')?.textContent"))

    page.keyboard.press("ArrowDown")
    assert focused() == NAMES[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused() == NAMES[2]
    page.keyboard.press("ArrowLeft")
    assert focused() == NAMES[1]
    page.keyboard.press("ArrowDown")
    assert focused() in {"Talk 2.mp4", "Talk 10.mp4"}
    page.keyboard.press("/")
    page.keyboard.type("talk 2")
    assert page.locator(".card:visible .name").all_inner_texts() == ["Talk 2.mp4", "Talk 2.mp4"]
    assert page.locator("h2:visible").all_inner_texts() == ["day 2"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 1")
    assert page.title() == "Talk 2.mp4"
    assert problems == []


def test_a_reload_shows_a_new_file_and_an_empty_folder_shows_a_note(
    tmp_path: Path, chromium: Chromium
) -> None:
    with serve_folder(tmp_path) as served:
        page, problems = open_page(chromium, served.page_url)
        assert "no video in this folder yet" in page.locator(".note").inner_text()
        shutil.copy(vidnb.sample(), tmp_path / "new.mp4")
        page.reload()
        wait_for_posters(page)
        assert page.locator("canvas").count() == 1
        first = page.locator(".card").get_attribute("href")
        page.reload()
        assert page.locator(".card").get_attribute("href") == first
        assert problems == []
