"""Run All of the quickstart notebook in JupyterLab and Chromium."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response

from tests.browser.lab import Chromium, Lab, record_errors, run_all
from tests.deadline import DEADLINE_S
from tests.network import SlowProxy

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "quickstart.ipynb"
SHOTS = Path(__file__).parent / "shots"
SAMPLE_S = 10.0


@pytest.fixture
def notebook(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The quickstart with unchanged cells, for a kernel that downloads through a slow proxy."""
    book = json.loads(NOTEBOOK.read_text("utf-8"))
    book["metadata"]["kernelspec"]["name"] = "slow-proxy"
    path = lab.root / NOTEBOOK.name
    path.write_text(json.dumps(book, indent=1), "utf-8")
    # 60 kB/s: the clip takes about four seconds, so the progress bar shows several values.
    with SlowProxy(60_000) as proxy:
        startup = tmp_path / "profile_default" / "startup" / "slow.py"
        startup.parent.mkdir(parents=True)
        startup.write_text(
            "import functools, vidnb\n"
            f"vidnb.download = functools.partial(vidnb.download, proxy={proxy.url!r})\n"
        )
        lab.add_kernel("slow-proxy", {"IPYTHONDIR": str(tmp_path)})
        yield path


class PageLog:
    """Errors and media responses of a page."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.media: list[tuple[int, str]] = []
        record_errors(page, self.errors)
        page.on("response", self._on_response)

    def _on_response(self, response: Response) -> None:
        if response.url.endswith(".mp4"):
            self.media.append((response.status, response.headers.get("content-range", "")))


def test_quickstart(lab: Lab, notebook: Path, chromium: Chromium) -> None:
    """Every cell runs, the progress bar moves, the player seeks, the saved notebook is small."""
    SHOTS.mkdir(exist_ok=True)
    size_before_bytes = notebook.stat().st_size
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    log = PageLog(page)
    page.goto(lab.url(notebook.name))
    run_all(page)
    percents = progress_percents(page)
    assert len(percents) >= 3, f"the progress bar did not move while the cell ran: {percents}"
    assert percents == sorted(percents)
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll(
                '.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
            return prompts.length > 0 && prompts.every(p => /^\\[\\d+\\]:$/.test(p));
        }"""
    )

    video = page.locator("video")
    video.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    duration_s = video.evaluate("v => v.duration")
    assert duration_s == pytest.approx(SAMPLE_S, abs=0.1)
    # The position of the notebook's `player.seek(8.0)`.
    page.wait_for_function("() => !document.querySelector('video').seeking")
    assert video.evaluate("v => v.currentTime") == pytest.approx(8.0, abs=0.25)
    # A seek in the page shows another frame.
    first = screenshot_at(page, 0.0)
    target_s = 0.8 * duration_s
    other = screenshot_at(page, target_s)
    assert video.evaluate("v => v.currentTime") == pytest.approx(target_s, abs=0.25)
    assert difference(first, other) > 1.0, "the seek shows the same frame"
    assert log.media
    assert {status for status, _ in log.media} == {206}
    page.screenshot(path=SHOTS / "quickstart.png", full_page=False)

    page.keyboard.press("Control+s")
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    saved = json.loads(notebook.read_text())
    grown_bytes = notebook.stat().st_size - size_before_bytes
    assert 0 < grown_bytes < 60_000, f"the saved notebook grew by {grown_bytes} bytes"
    counts = [cell["execution_count"] for cell in saved["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "a cell did not run, or not in order"
    assert not [
        output
        for cell in saved["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]
    text = json.dumps(saved["cells"])
    assert "sample.mp4" in text
    assert "100" in text
    assert log.errors == []


def progress_percents(page: Page) -> list[int]:
    """Return the percentages that the progress bar showed while its cell was running."""
    percents: list[int] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        state = page.evaluate(
            """() => {
                const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
                const cell = cells.find(c => c.textContent.includes('vidnb.download('));
                if (!cell) return null;
                const bar = cell.querySelector('.jp-OutputArea [role=progressbar]');
                return {
                    prompt: cell.querySelector('.jp-InputPrompt').textContent,
                    percent: bar ? bar.getAttribute('aria-valuenow') : null,
                    text: cell.querySelector('.jp-OutputArea')?.textContent ?? '',
                };
            }"""
        )
        if state and state["prompt"] == "[*]:":
            found = state["percent"] or percent_in(state["text"])
            if found is not None and 0 < round(float(found)) < 100:
                percent = round(float(found))
                if not percents or percents[-1] != percent:
                    percents.append(percent)
                    if len(percents) == 5:
                        page.screenshot(path=SHOTS / "progress.png")
        elif state and state["prompt"] not in {"[*]:", "[ ]:"}:
            break
        time.sleep(0.1)
    return percents


def percent_in(text: str) -> str | None:
    head, sign, _ = text.partition("%")
    digits = head.replace("\u202f", "").rstrip()[-3:]
    return "".join(c for c in digits if c.isdigit()) or None if sign else None


def screenshot_at(page: Page, t_s: float) -> bytes:
    """Seek in the page and return a screenshot of the video as PNG."""
    video = page.locator("video")
    video.evaluate(
        """(v, t) => new Promise(done => {
            v.pause();
            v.addEventListener('seeked', () => requestAnimationFrame(
                () => requestAnimationFrame(done)), {once: true});
            v.currentTime = t;
        })""",
        t_s,
    )
    page.wait_for_timeout(200)
    return video.screenshot()


def difference(first: bytes, other: bytes) -> float:
    """Return the mean difference of the pixels of two images, 0 to 255."""
    image = pytest.importorskip("PIL.Image", reason="Pillow compares the screenshots")
    chops = pytest.importorskip("PIL.ImageChops")
    stat = pytest.importorskip("PIL.ImageStat")
    one, two = (image.open(io.BytesIO(data)).convert("L") for data in (first, other))
    assert one.size == two.size
    mean: float = stat.Stat(chops.difference(one, two)).mean[0]
    return mean
