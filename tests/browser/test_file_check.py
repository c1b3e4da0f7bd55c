"""Messages for files that Chromium cannot play."""

import pytest

import vidnb
from tests.browser.lab import Chromium, Lab, write_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def files(lab: Lab) -> None:
    root = lab.root
    data = vidnb.sample().read_bytes()
    # Labelled as HEVC, so that no decoder can read it.
    (root / "hevc.mp4").write_bytes(data.replace(b"avc1", b"hvc1").replace(b"avcC", b"hvcC"))
    (root / "short.mp4").write_bytes(data[: len(data) * 6 // 10])
    (root / "noise.mp4").write_bytes(bytes(range(256)) * 100)
    for name in ("hevc", "short", "noise"):
        cell = f"import vidnb\nplayer = vidnb.play({name + '.mp4'!r}, muted=True)\nplayer"
        write_notebook(root / f"{name}.ipynb", cell)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hevc", "No frame of hevc.mp4 can be decoded"),
        ("short", "short.mp4 ends early (mdat runs "),
        ("noise", "noise.mp4 is not a video that FFmpeg can read"),
    ],
)
def test_a_file_that_cannot_be_played_shows_a_message(
    lab: Lab, chromium: Chromium, name: str, message: str
) -> None:
    page = chromium.new_page(viewport={"width": 1100, "height": 820})
    page.goto(lab.url(f"{name}.ipynb"))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell .cm-content").click()
    page.keyboard.press("Control+Enter")
    page.locator(":is(.vidnb-message, .vidnb-error):not(:empty)").wait_for()
    shown = page.locator(":is(.vidnb-message, .vidnb-error):not(:empty)").inner_text()
    assert shown.removeprefix(f"{lab.root}/").startswith(message)
    if name == "short":
        # It opens with its full duration; the browser fails when it reaches the missing part.
        video = page.locator("video")
        video.evaluate("video => { video.currentTime = 5; video.play(); }")
        page.locator(".vidnb-error").wait_for()
        assert page.locator(".vidnb-error").inner_text().startswith(message)
