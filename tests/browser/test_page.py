"""The page of `vidnb.serve` in Chromium: it plays the file, seeks, and reports errors."""

import struct
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import vidnb
from tests.browser.lab import Chromium, record_errors
from tests.clips import clip as numbered
from tests.clips import shown_number

SIZE_BYTES = 255_849
SHOTS = Path(__file__).parent / "shots"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of exactly 255,849 bytes: the sample with a `free` box at its end."""
    data = vidnb.sample().read_bytes()
    padding_bytes = SIZE_BYTES - len(data)
    path = tmp_path / "a film & more #1.mp4"
    path.write_bytes(data + struct.pack(">I4s", padding_bytes, b"free") + bytes(padding_bytes - 8))
    return path


def test_whole_and_partial_responses(clip: Path) -> None:
    """A GET returns every byte with 200, `bytes=200-1000` returns 801 bytes with 206."""
    with vidnb.serve(clip) as served:
        with urllib.request.urlopen(served.url) as response:
            assert (response.status, len(response.read())) == (200, SIZE_BYTES)
        request = urllib.request.Request(served.url, headers={"Range": "bytes=200-1000"})
        with urllib.request.urlopen(request) as response:
            assert (response.status, response.read()) == (206, clip.read_bytes()[200:1001])
            assert response.headers["Content-Range"] == f"bytes 200-1000/{SIZE_BYTES}"


KEYS = [
    ("l", 5.0, 10.0),  # clamped to the end
    ("j", 5.0, 0.0),
    ("ArrowRight", 2.0, 7.0),
    ("ArrowLeft", 7.0, 2.0),
    ("0", 5.0, 0.0),
    ("9", 5.0, 9.0),
    ("Home", 5.0, 0.0),
    ("End", 5.0, 10.0),
    (".", 5.01, 5.06),
    (",", 5.01, 4.98),
]


@pytest.mark.slow
@pytest.mark.parametrize("focus", ["video", "body"])
def test_each_key_acts_once(clip: Path, chromium: Chromium, focus: str) -> None:
    page = chromium.new_page(viewport={"width": 900, "height": 640})
    with vidnb.serve(clip) as served:
        page.goto(served.page_url)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        video = page.locator("video")
        video.evaluate("v => v.focus()" if focus == "video" else "v => v.blur()")
        for key, at_s, then_s in KEYS:
            video.evaluate(
                "(v, t) => new Promise(done => {v.addEventListener('seeked', done, {once: true});"
                " v.currentTime = t})",
                at_s,
            )
            page.keyboard.press(key)
            page.wait_for_function("() => !document.querySelector('video').seeking")
            assert video.evaluate("v => v.currentTime") == pytest.approx(then_s, abs=0.03), key
        page.keyboard.press("0")
        for key in " ", "k", "K":
            page.keyboard.press(key)
            page.wait_for_function("() => !document.querySelector('video').paused")
            page.keyboard.press(key)
            page.wait_for_function("() => document.querySelector('video').paused")
        page.keyboard.press("Shift+M")
        assert video.evaluate("v => v.muted")
        page.keyboard.press("ArrowDown")
        assert video.evaluate("v => [v.muted, v.volume]") == [True, pytest.approx(0.95)]
        page.keyboard.press("ArrowUp")
        assert video.evaluate("v => v.volume") == 1
        page.keyboard.press("f")
        page.wait_for_function("() => document.fullscreenElement?.localName === 'video'")
        page.keyboard.press("f")
        page.wait_for_function("() => document.fullscreenElement === null")
        before_s = video.evaluate("v => v.currentTime")
        page.keyboard.press("Control+l")
        page.keyboard.press("x")
        assert video.evaluate("v => v.currentTime") == before_s


@pytest.mark.slow
def test_a_file_that_cannot_be_played_shows_a_message(tmp_path: Path, chromium: Chromium) -> None:
    path = tmp_path / "no film.mp4"
    path.write_bytes(b"not a film" * 1000)
    page = chromium.new_page()
    with vidnb.serve(path) as served:
        page.goto(served.page_url)
        page.get_by_text("no film.mp4 is text").wait_for()
        assert str(tmp_path) not in page.content()


NUMBER = """v => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [v.videoWidth, v.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(v, 0, 0);
    return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("h264.mkv", "remuxed"),
        *(
            pytest.param(name, label, marks=pytest.mark.slow)
            for name, label in (
                ("h264.ts", "remuxed"),
                ("mpeg2.mpg", "transcoded"),
                ("h264.mp4", ""),
            )
        ),
    ],
)
def test_the_page_plays_what_the_browser_does_not_and_seeks_to_the_frame(
    chromium: Chromium, name: str, label: str
) -> None:
    """The times of a transport stream begin at 1.48 s, those of the page at 0."""
    page = chromium.new_page(viewport={"width": 600, "height": 640})
    errors: list[str] = []
    record_errors(page, errors)
    with vidnb.serve(numbered(name)) as served:
        page.goto(served.page_url)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        video = page.locator("video")
        assert video.evaluate("v => v.duration") == pytest.approx(60 / 25, abs=1 / 25)
        for frame in (48, 0, 17, 59):
            video.evaluate(
                "(v, t) => new Promise(done => {v.addEventListener('seeked', done, {once: true});"
                " v.currentTime = t})",
                (frame + 0.5) / 25,
            )
            pixels = np.array(video.evaluate(NUMBER), np.uint8).reshape(128, 160, 4)
            assert shown_number(pixels) == frame
        assert page.locator("#delivery").inner_text() == label
    assert errors == []


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_page_plays_and_seeks_under_its_csp(clip: Path, chromium: Chromium, theme: str) -> None:
    """Chromium plays and seeks, with range requests only and without console messages."""
    SHOTS.mkdir(exist_ok=True)
    page = chromium.new_page(viewport={"width": 900, "height": 640}, color_scheme=theme)
    console_messages: list[str] = []
    statuses: set[int] = set()
    page.on("console", lambda message: console_messages.append(message.text))
    page.on("pageerror", lambda error: console_messages.append(str(error)))
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
        assert page.locator("#duration").inner_text() == "0:10"
        page.screenshot(path=SHOTS / f"page-{theme}.png")
        page.get_by_text("Keyboard").click()
        for width in 900, 390:
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=SHOTS / f"page-{theme}-{width}-keys.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert statuses == {206}
    assert console_messages == []
