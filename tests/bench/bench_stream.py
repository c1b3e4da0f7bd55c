"""Compare ways to play a film while it is downloaded from an origin of 3 MB/s, in Chromium.

    python tests/bench/bench_stream.py [--rounds 5] [--rate 3e6] [--rtt-ms 0] [--json FILE]

requirements: chromium and rclone on PATH (apt install chromium rclone); pip install vidnb[test].
rclone may be missing: then its row is marked.

Each setup gets the same page with one `<video>`, and the same film (22.7 MB, 30 s, index at the
end), from an origin in this process with one rate limit for all connections. Two times are
measured: from the request for the film, with nothing cached, to the first frame (`readyState` 2),
and from a seek to 90 % directly afterwards to its end. `sent` is the number of bytes that the
origin had sent by then, divided by the size of the film. Each round begins with the next setup;
figures are medians.
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
TIMEOUT_S = 60
PAGE = """<!doctype html><video id="film" muted preload="auto" src="{url}"></video>"""
HAS_FRAME = "document.getElementById('film').readyState >= 2"
SEEK = "film => { film.currentTime = 0.9 * film.duration; }"
SEEK_ENDED = "!document.getElementById('film').seeking"
INDEX = b'<html><body><a href="film.mp4">film.mp4</a></body></html>'

Setup = Callable[["Origin", Path], AbstractContextManager[str]]
"""Makes a URL for the page of an origin's film, with an empty folder of its own."""


def serve_files(exchange: "Exchange") -> None:
    """Respond as a file server: a folder with one film, HEAD and ranges."""
    from tests.origin import honest

    if exchange.request.target == "/":
        headers = [("Content-Length", str(len(INDEX))), ("Content-Type", "text/html")]
        exchange.head(200, headers)
        if exchange.request.method == "GET":
            exchange.send(INDEX)
    elif exchange.request.method == "HEAD":
        response = exchange.response()
        exchange.head(response.status, response.headers)
    else:
        honest(exchange)


@contextmanager
def vidnb_stream(origin: "Origin", folder: Path) -> Iterator[str]:
    """Serve the film while vidnb downloads it."""
    import vidnb
    from vidnb.download import cache

    cache.cache_root = lambda: folder
    with vidnb.serve(origin.url) as served:
        yield served.url


@contextmanager
def download_then_play(origin: "Origin", folder: Path) -> Iterator[str]:
    """Download the film, then serve the file."""
    import vidnb

    result = vidnb.download(origin.url, folder / "film.mp4", progress=False)
    with vidnb.serve(result.path) as served:
        yield served.url


def browser_alone(origin: "Origin", folder: Path) -> AbstractContextManager[str]:
    """Let the browser read the origin, which leaves no file."""
    del folder
    return nullcontext(origin.url)


@contextmanager
def rclone_cache(origin: "Origin", folder: Path) -> Iterator[str]:
    """Let rclone cache the film; its start-up is not measured."""
    from tests.network import free_port

    port = free_port()
    command = ["rclone", "serve", "http", ":http:", "--http-url", origin.base, "--read-only"]
    command += ["--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "full"]
    command += ["--cache-dir", str(folder), "--config", os.devnull]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            address, deadline_s = f"http://127.0.0.1:{port}/", time.monotonic() + TIMEOUT_S
            while time.monotonic() < deadline_s:
                with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                    break
                time.sleep(0.05)
            yield f"{address}film.mp4"
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


SETUPS: dict[str, Setup] = {
    "vidnb": vidnb_stream,
    "download, then play": download_then_play,
    "the browser alone": browser_alone,
    "rclone serve http, full cache": rclone_cache,
}


def run(setup: Setup, page: "Page", origin: "Origin") -> dict[str, float]:
    """Show the film with one setup and seek in it; return times (s) and the share of bytes sent."""
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.monotonic()
        with setup(origin, Path(folder)) as url:
            if setup is rclone_cache:
                start_s = time.monotonic()
            page.set_content(PAGE.format(url=url), wait_until="commit")
            page.wait_for_function(HAS_FRAME, timeout=TIMEOUT_S * 1000)
            first_frame_s = time.monotonic() - start_s
            start_s = time.monotonic()
            page.locator("#film").evaluate(SEEK)
            page.wait_for_function(SEEK_ENDED, timeout=TIMEOUT_S * 1000)
            seek_s = time.monotonic() - start_s
            sent = origin.sent_bytes / len(origin.film.data)
            page.set_content("<p>end</p>")
    return {"first frame s": first_frame_s, "frame at 90 % s": seek_s, "sent": sent}


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
    parser.add_argument("--rate", type=float, default=3e6, help="of all connections together (B/s)")
    parser.add_argument("--rtt-ms", type=float, default=0.0, help="round trip to the origin")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    data, names = film().read_bytes(), list(SETUPS)
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
                page = browser.new_page()
                with Origin(
                    Film(data),
                    rate=arguments.rate,
                    latency_s=arguments.rtt_ms / 1000,
                    otherwise=serve_files,
                ) as origin:
                    runs[name].append(run(SETUPS[name], page, origin))
                page.close()
        about = (
            f"Chromium {browser.version}, {os.cpu_count()} cores, Linux {platform.release()},"
            f" Python {platform.python_version()}; {arguments.rounds} rounds,"
            f" {arguments.rate / 1e6:g} MB/s, {arguments.rtt_ms:g} ms"
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
