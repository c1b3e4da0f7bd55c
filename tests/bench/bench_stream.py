"""A film that is watched while it comes from an origin of 3 MB/s, side by side, in a real Chromium.

    python tests/bench/bench_stream.py [--rounds 5] [--rate 3e6] [--far-ms 0] [--json FILE]

requirements: chromium and rclone on PATH (apt install chromium rclone); pip install vidnb[test].
rclone may be missing: then its row says so.

Each contestant gets the same bare page with one `<video>`, and the same film (22.7 MB, 30 s, its
index at the end), from an origin in this process whose rate is that of the line, over all
connections. The clock runs from the moment somebody asks for the film, with nothing of it here:
until the first frame is there (`loadeddata`), and, from a seek to 90 % right afterwards, until the
frame there is (`seeked`). `sent` is what the origin had sent by then, in films. Turns are taken
round after round, each begun by the next contestant; the figures are medians.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.origin import Exchange, Origin

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
PAGE = """<!doctype html><video id="film" muted preload="auto" src="{url}"></video>"""
SHOWN = "document.getElementById('film').readyState >= 2"
SEEK = "film => { film.currentTime = 0.9 * film.duration; }"
SOUGHT = "!document.getElementById('film').seeking"
INDEX = b'<html><body><a href="film.mp4">film.mp4</a></body></html>'

Contestant = Callable[["Origin", Path], AbstractContextManager[str]]
"""Makes a URL for the page of an origin's film, with an empty folder of its own."""


def web(exchange: "Exchange") -> None:
    """Answer as a plain file server does: a folder with one film, HEAD and ranges."""
    from tests.origin import honest

    if exchange.request.target == "/":
        headers = [("Content-Length", str(len(INDEX))), ("Content-Type", "text/html")]
        exchange.head(200, headers)
        if exchange.request.method == "GET":
            exchange.send(INDEX)
    elif exchange.request.method == "HEAD":
        said = exchange.response()
        exchange.head(said.status, said.headers)
    else:
        honest(exchange)


@contextmanager
def by_vidnb(origin: "Origin", folder: Path) -> Iterator[str]:
    """Serve it while it downloads."""
    import vidnb
    from vidnb.download import cache

    cache.cache_root = lambda: folder
    with vidnb.serve(origin.url) as served:
        yield served.url


@contextmanager
def downloaded_first(origin: "Origin", folder: Path) -> Iterator[str]:
    """Download it, then serve the file."""
    import vidnb

    result = vidnb.download(origin.url, folder / "film.mp4", progress=False)
    with vidnb.serve(result.path) as served:
        yield served.url


def by_the_browser(origin: "Origin", folder: Path) -> AbstractContextManager[str]:
    """Let the browser read the origin itself, which leaves no file."""
    del folder
    return nullcontext(origin.url)


@contextmanager
def by_rclone(origin: "Origin", folder: Path) -> Iterator[str]:
    """Let rclone mirror it; the clock is kind to it and begins when it listens."""
    from tests.network import free_port

    port = free_port()
    command = ["rclone", "serve", "http", ":http:", "--http-url", origin.base, "--read-only"]
    command += ["--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "full"]
    command += ["--cache-dir", str(folder), "--config", os.devnull]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            address, deadline_s = f"http://127.0.0.1:{port}/", time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline_s:
                with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                    break
                time.sleep(0.05)
            yield f"{address}film.mp4"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


CONTESTANTS: dict[str, Contestant] = {
    "vidnb": by_vidnb,
    "download, then play": downloaded_first,
    "the browser by itself": by_the_browser,
    "rclone serve http, full cache": by_rclone,
}


def run(contestant: Contestant, page: "Page", origin: "Origin") -> dict[str, float]:
    """Let one contestant show the film and seek in it; times in s, and films sent."""
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        with contestant(origin, Path(folder)) as url:
            if contestant is by_rclone:
                began_s = time.monotonic()
            page.set_content(PAGE.format(url=url), wait_until="commit")
            page.wait_for_function(SHOWN, timeout=PATIENCE_S * 1000)
            shown_s = time.monotonic() - began_s
            began_s = time.monotonic()
            page.locator("#film").evaluate(SEEK)
            page.wait_for_function(SOUGHT, timeout=PATIENCE_S * 1000)
            sought_s = time.monotonic() - began_s
            sent = origin.sent_bytes / len(origin.film.data)
            page.set_content("<p>over</p>")
    return {"first frame s": shown_s, "frame at 90 % s": sought_s, "sent": sent}


def main() -> None:
    """Run the rounds and print the table."""
    sys.path.insert(0, str(ROOT))
    from playwright.sync_api import sync_playwright

    from tests.assets import film
    from tests.browser.lab import CHROMIUM_ARGUMENTS, find_chromium
    from tests.origin import Film, Origin

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e6, help="of the line (B/s)")
    parser.add_argument("--far-ms", type=float, default=0.0, help="round trip to the origin")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    data, names = film().read_bytes(), list(CONTESTANTS)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    if shutil.which("rclone") is None:
        names.remove("rclone serve http, full cache")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS
        )
        for number in range(arguments.rounds):
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                latency_s = arguments.far_ms / 1000
                page = browser.new_page()
                with Origin(
                    Film(data), rate=arguments.rate, latency_s=latency_s, otherwise=web
                ) as origin:
                    runs[name].append(run(CONTESTANTS[name], page, origin))
                page.close()
        about = (
            f"Chromium {browser.version}, {os.cpu_count()} cores, Linux {platform.release()},"
            f" Python {platform.python_version()}; {arguments.rounds} rounds,"
            f" {arguments.rate / 1e6:g} MB/s, {arguments.far_ms:g} ms"
        )
        browser.close()
    columns = ["first frame s", "frame at 90 % s", "sent"]
    print(f"| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name, figures in runs.items():
        medians = [
            statistics.median(one[column] for one in figures) for column in columns if figures
        ]
        print(f"| {name} | {' | '.join(f'{m:.2f}' for m in medians) or 'not installed'} |")
    print(about)
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
