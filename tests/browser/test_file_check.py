"""Messages for files that Chromium cannot play."""

import pytest

import vidnb
from tests.browser.lab import Chromium, Lab, write_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def files(lab: Lab) -> None:
    root = lab.root
    data = vidnb.sample().read_bytes()
    # Labelled as HEVC, for which this Chromium has no decoder.
    (root / "hevc.mp4").write_bytes(data.replace(b"avc1", b"hvc1").replace(b"avcC", b"hvcC"))
    (root / "short.mp4").write_bytes(data[: len(data) * 6 // 10])
    (root / "noise.mp4").write_bytes(bytes(range(256)) * 100)
    for name in ("hevc", "short", "noise"):
        cell = f"import vidnb\nplayer = vidnb.play({name + '.mp4'!r}, muted=True)\nplayer"
        write_notebook(root / f"{name}.ipynb", cell)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hevc", "This browser plays only the sound of hevc.mp4: it has no decoder for the pic"),
        ("short", "short.mp4 ends early (mdat runs "),
        (
            "noise",
            "This browser has no decoder for noise.mp4 (many have none for HEVC), or the file is",
        ),
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
    assert (
        page.locator(":is(.vidnb-message, .vidnb-error):not(:empty)")
        .inner_text()
        .startswith(message)
    )
    if name == "short":
        # It opens with its full duration; the browser fails when it reaches the missing part.
        video = page.locator("video")
        video.evaluate("video => { video.currentTime = 5; video.play(); }")
        page.locator(".vidnb-error").wait_for()
        assert page.locator(".vidnb-error").inner_text().startswith(message)
