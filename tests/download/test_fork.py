"""A process that forks while it downloads: both sides download, and neither disturbs the other."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.origin import Exchange, Film, Origin, noise

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

ROOT = Path(__file__).parents[2]
DATA = noise(12_000_000)  # longer than what is parsed by aiohttp

SCRIPT = """
import hashlib, os, sys, time, warnings
import vidnb

url, child_url, folder = sys.argv[1:]
job = vidnb.start_download(url, folder + "/parent.mp4", progress=False, connections=1)
while not job.progress.done_bytes:
    time.sleep(0.01)
with warnings.catch_warnings():
    # Python 3.12 and later warn of a fork beside other threads, which is what is tested here.
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
if not child:
    for name in ("child.mp4", "again.mp4"):
        print(vidnb.download(child_url, f"{folder}/{name}", progress=False).sha256)
    sys.exit(7)  # with everything that an interpreter's end collects
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(job.result().sha256)
"""


def test_a_child_downloads_while_its_parent_does(tmp_path: Path) -> None:
    """The child's end closes no file and no connection of the parent's."""

    def hold_until_the_child_is_done(exchange: Exchange) -> None:
        exchange.head(200, exchange.response().headers)
        exchange.send(DATA[: len(DATA) // 2])
        deadline_s = time.monotonic() + 60
        while not (tmp_path / "again.mp4").exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        exchange.send(DATA[len(DATA) // 2 :])

    with (
        Origin(Film(DATA), otherwise=hold_until_the_child_is_done) as slow,
        Origin(Film(DATA)) as fast,
    ):
        arguments = [slow.url, fast.url, str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert len(slow.requests) == 1  # nothing was asked for again
    assert (done.stderr, done.returncode) == ("", 0)
    assert len(set(done.stdout.split())) == 1
    for name in ("parent.mp4", "child.mp4", "again.mp4"):
        assert (tmp_path / name).read_bytes() == DATA
