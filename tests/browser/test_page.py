"""The page of `serve` in a real browser: it shows the file, seeks, and says nothing amiss."""

import struct
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import vidnb

SIZE_BYTES = 255_849
SHOTS = Path(__file__).parent / "shots"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of exactly 255,849 bytes: the sample with a `free` box at its end."""
    data = vidnb.sample().read_bytes()
    room = SIZE_BYTES - len(data)
    path = tmp_path / "a film & more #1.mp4"
    path.write_bytes(data + struct.pack(">I4s", room, b"free") + bytes(room - 8))
    return path


def test_whole_and_partial_answers(clip: Path) -> None:
    """A plain GET answers every byte, `bytes=200-1000` answers 801 with 206."""
    with vidnb.serve(clip) as served:
        with urllib.request.urlopen(served.url) as answer:
            assert (answer.status, len(answer.read())) == (200, SIZE_BYTES)
        request = urllib.request.Request(served.url, headers={"Range": "bytes=200-1000"})
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, answer.read()) == (206, clip.read_bytes()[200:1001])
            assert answer.headers["Content-Range"] == f"bytes 200-1000/{SIZE_BYTES}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_seeks_on_the_page(clip: Path, chromium: Browser, theme: str) -> None:
    """Chromium plays the file from its page under the strict CSP and seeks in it."""
    SHOTS.mkdir(exist_ok=True)
    scheme: dict[str, str] = {"color_scheme": theme}
    page = chromium.new_page(viewport={"width": 900, "height": 640}, **scheme)  # type: ignore[arg-type]
    said: list[str] = []
    statuses: set[int] = set()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "response",
        lambda response: statuses.add(response.status) if ".mp4" in response.url else None,
    )
    with vidnb.serve(clip) as served:
        page.goto(served.page_url)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        assert clip.name in page.title()
        video = page.locator("video")
        assert video.evaluate("v => v.duration") == pytest.approx(10, abs=0.1)
        video.evaluate(
            "v => new Promise(done => {v.addEventListener('seeked', done, {once: true});"
            " v.currentTime = 8})"
        )
        assert video.evaluate("v => v.currentTime") == pytest.approx(8, abs=0.25)
        page.screenshot(path=SHOTS / f"page-{theme}.png")
    assert statuses == {206}
    assert said == []
    page.close()
