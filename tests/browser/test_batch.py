"""The display of a batch of downloads in JupyterLab: while it runs, cancelled, and saved."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.cells import OpenNotebook
from tests.browser.lab import Chromium, Lab
from tests.browser.test_compare import switch_theme
from tests.origin import Exchange, Film, Origin, noise, plain

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parent / "shots"
ROWS = 24
DOWNLOAD = """
    import vidnb
    urls = [f"{base}/{{number}}.mp4" for number in range({rows})]
    batch = vidnb.download_many(urls, {folder!r}, per_host=16, idle_timeout_s=1000, attempts=1)
    batch.result()
    report(state=batch.progress.state, failed=batch.progress.failed)
"""


def respond(exchange: Exchange) -> None:
    """Send a clip; every fifth file is missing, and the last four never arrive."""
    number = int(exchange.request.target.rpartition("/")[2].partition(".")[0])
    if number >= ROWS - 4:
        exchange.wait_for_close()
    elif number % 5 == 3:
        exchange.head(404, [("Content-Length", "0")])
    else:
        plain(exchange)


def test_a_batch_is_shown_while_the_cell_waits_and_saved_as_plain_html(
    lab: Lab, chromium: Chromium, tmp_path: Path
) -> None:
    SHOTS.mkdir(exist_ok=True)
    folder = str(tmp_path / "clips")
    with Origin(Film(noise(30_000)), otherwise=respond) as origin:
        cells = [
            DOWNLOAD.format(base=origin.base, folder=folder, rows=ROWS),
            DOWNLOAD.format(base=origin.base, folder=folder, rows=8),
        ]
        book = OpenNotebook(lab, chromium, "batch", cells, "127.0.0.1")
        page = book.page
        bar = page.get_by_role("progressbar", name="clips")
        expect(bar).to_have_attribute("aria-valuenow", "83")
        output = page.locator(".jp-OutputArea-output", has=bar)
        expect(output).to_contain_text(re.compile(r"16 done.*4 failed.*4 rows left"))
        expect(output).to_contain_text("4 rows: URL answered 404")
        expect(output).to_contain_text("slowest: 20.mp4")
        page.screenshot(path=SHOTS / "batch-light.png")
        light = output.evaluate("one => getComputedStyle(one.querySelector('span')).color")
        switch_theme(page, "JupyterLab Dark")
        page.wait_for_function(
            "([one, light]) => getComputedStyle(one.querySelector('span')).color !== light",
            arg=[output.element_handle(), light],
        )
        page.screenshot(path=SHOTS / "batch-dark.png")
        # The cell waits for the batch, so the click is handled while it blocks the kernel.
        page.get_by_role("button", name="Cancel").click()
        assert book.report() == {"state": "cancelled", "failed": 4}
        assert book.report() == {"state": "done", "failed": 1}
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        texts = page.locator("[role=status]").filter(has=page.get_by_role("progressbar"))
        expect(texts).to_have_count(2)
        expect(texts.nth(0)).to_contain_text("cancelled")
        expect(texts.nth(1)).to_contain_text(re.compile("7 already here.*1 failed"))
        page.screenshot(path=SHOTS / "batch-final-dark.png")
        switch_theme(page, "JupyterLab Light")
        page.screenshot(path=SHOTS / "batch-final-light.png")
        page.keyboard.press("Control+s")
        file = lab.root / "batch.ipynb"
        while "already here" not in file.read_text("utf-8"):
            page.wait_for_timeout(100)
    saved = json.loads(file.read_text("utf-8"))["cells"][2]["outputs"][0]["data"]
    assert set(saved) == {"text/html", "text/plain"}
    assert book.errors == []
