"""Check that Python's state of a player stays current over ten minutes of awaiting cells.

    PYTHONPATH=. python tests/bench/state_over_minutes.py [MINUTES]

An ipykernel that loses a message reports no error. So this compares, after each of many awaiting
cells, `player.current_time` with the position that the page recorded.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.assets import film
from tests.browser.cells import OpenNotebook, copy_file
from tests.browser.lab import CHROMIUM_ARGUMENTS, Lab, find_chromium

SHOW = """
    import asyncio, ipykernel, vidnb
    samples = []
    player = vidnb.play("film.mp4", autoplay=True, muted=True, loop=True, width=480)
    player
"""
AWAIT = """
    await asyncio.sleep(20)
    samples.append((time.time(), player.current_time, player.paused))
"""
# Commands must still arrive after that.
CONTROL = """
    player.pause().wait_for("pause", timeout_s=30)
    player.seek(12).wait_for("seeked", timeout_s=30)
    report(samples=samples, at=player.current_time, ipykernel=ipykernel.__version__)
"""
RECORD = """() => {
    window.record = [];
    setInterval(() => {
        const video = document.querySelector('video');
        if (video && !video.paused) window.record.push([Date.now() / 1000, video.currentTime]);
    }, 50);
}"""
LENGTH_S = 30.0


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        copy_file(film(), root / "film.mp4")
        with Lab(root) as lab, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS
            )
            cells = [SHOW, *[AWAIT] * round(3 * minutes), CONTROL]
            notebook = OpenNotebook(lab, browser, "minutes", cells, "127.0.0.1")
            notebook.page.evaluate(RECORD)
            notebook.page.wait_for_timeout(60_000 * minutes)
            found = notebook.report()
            record = notebook.page.evaluate("() => window.record")
            errors = notebook.errors
            browser.close()
    errors_s = []
    for read_s, position_s, _ in found["samples"]:
        recorded_s, actual_s = max(pair for pair in record if pair[0] <= read_s)
        error_s = abs(position_s - actual_s - (read_s - recorded_s)) % LENGTH_S
        errors_s.append(min(error_s, LENGTH_S - error_s))
    paused = sum(paused for *_, paused in found["samples"])
    print(
        f"ipykernel {found['ipykernel']}: {len(errors_s)} awaiting cells in {minutes:g} minutes; "
        f"current_time off by {1000 * max(errors_s):.0f} ms at most, "
        f"{1000 * sorted(errors_s)[len(errors_s) // 2]:.0f} ms median; "
        f"reported as paused: {paused}; at the end a seek to 12 s arrived at {found['at']:.3f} s; "
        f"page errors: {errors}"
    )


if __name__ == "__main__":
    main()
