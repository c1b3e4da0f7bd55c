"""Batches of downloads for minutes, from an origin with random faults: nothing may grow.

    PYTHONPATH=. python tests/bench/soak_many.py [--minutes 20]

The origin runs in a process of its own. Of every hundred requests about ten are cut off in the
middle and five get no response; each batch has 300 rows. Once a minute it prints the memory (MiB),
the open descriptors and the threads of this process; the last third of the lines is compared with
the third before.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import vidnb
from tests.origin import Exchange, Film, Origin

ROWS = 300
SIZE_BYTES = 30_000


def serve_faults() -> None:
    """Serve until standard input ends; the first line of output is the URL."""
    chance = random.Random(5)
    origin = Origin(Film(b"\0\0\0\x18ftypisom" + chance.randbytes(SIZE_BYTES)))

    def handle(exchange: Exchange) -> None:
        kind = chance.random()
        if kind < 0.1:
            exchange.respond(exchange.response(), after=chance.randrange(1, SIZE_BYTES // 2))
            exchange.reset()
        elif kind < 0.15:
            exchange.reset()
        else:
            exchange.respond(exchange.response())
        origin.requests.clear()  # only tests look at them

    origin.otherwise = handle
    with origin:
        print(origin.url, flush=True)
        sys.stdin.read()


def usage() -> tuple[float, int, int]:
    """Return resident memory (MiB), descriptors and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory_mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return memory_mib, len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def main() -> None:
    """Print a line a minute, and the medians of the last two thirds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--origin", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.origin:
        serve_faults()
        return
    command = [sys.executable, __file__, "--origin"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert peer.stdout is not None
        url = peer.stdout.readline().strip()
        started_s = time.monotonic()
        lines: list[tuple[float, int, int]] = []
        batches = failed = 0
        while (elapsed_s := time.monotonic() - started_s) < 60 * arguments.minutes:
            urls = [f"{url}?row={row}" for row in range(ROWS)]
            batch = vidnb.download_many(urls, folder, progress=False, check_video=False, per_host=8)
            failed += batch.result().failed
            batches += 1
            shutil.rmtree(folder)
            if elapsed_s >= 60 * len(lines):
                lines.append(usage())
                memory_mib, descriptors, threads = lines[-1]
                print(
                    f"{elapsed_s / 60:5.1f} min: {batches} batches, {failed} rows failed,"
                    f" {memory_mib:.1f} MiB, {descriptors} descriptors, {threads} threads",
                    flush=True,
                )
        third = max(1, len(lines) // 3)
        for name, part in (("middle", lines[-2 * third : -third]), ("end", lines[-third:])):
            print(name, [statistics.median(values) for values in zip(*part, strict=True)])


if __name__ == "__main__":
    main()
