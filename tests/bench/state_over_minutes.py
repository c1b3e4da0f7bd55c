"""Whether what Python knows of a player stays true over ten minutes of cells that await.

    PYTHONPATH=. python tests/bench/state_over_minutes.py [MINUTES]

An ipykernel that loses a message goes on without a word; so this compares, after each of many cells
that await, `player.current_time` with what the page itself has recorded.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.assets import film
from tests.browser.cells import Open, copy_of
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
# What Python asks for must arrive after all that, too.
STEER = """
    player.pause().wait_for("pause", timeout_s=30)
    player.seek(12).wait_for("seeked", timeout_s=30)
    tell(samples=samples, at=player.current_time, ipykernel=ipykernel.__version__)
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
        copy_of(film(), root / "film.mp4")
        with Lab(root) as lab, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS
            )
            cells = [SHOW, *[AWAIT] * round(3 * minutes), STEER]
            notebook = Open(lab, browser, "minutes", cells, "127.0.0.1")
            notebook.page.evaluate(RECORD)
            notebook.page.wait_for_timeout(60_000 * minutes)
            found = notebook.found()
            record = notebook.page.evaluate("() => window.record")
            errors = notebook.errors
            browser.close()
    offs_s = []
    for at_s, told_s, _ in found["samples"]:
        noted_s, true_s = max(pair for pair in record if pair[0] <= at_s)
        off_s = abs(told_s - true_s - (at_s - noted_s)) % LENGTH_S
        offs_s.append(min(off_s, LENGTH_S - off_s))
    paused = sum(paused for *_, paused in found["samples"])
    print(
        f"ipykernel {found['ipykernel']}: {len(offs_s)} cells that awaited in {minutes:g} minutes; "
        f"current_time off by {1000 * max(offs_s):.0f} ms at most, "
        f"{1000 * sorted(offs_s)[len(offs_s) // 2]:.0f} ms in the middle; "
        f"told as paused: {paused}; at the end a seek to 12 s arrived at {found['at']:.3f} s; "
        f"errors of the page: {errors}"
    )


if __name__ == "__main__":
    main()
