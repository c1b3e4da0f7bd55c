"""SIGKILL at random moments of a batch: every row once; no published file is fetched again."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import Exchange, Film, Origin, noise

SMALL, LARGE = Film(noise(3_000)), Film(noise(5_000_000))
KILLS = 10
RUN = """
import sys
from vidnb.download.batch import download_many
summary = download_many(sys.argv[1], sys.argv[2], per_host=8).result()
assert not summary.failed, summary
"""


def answer(exchange: Exchange) -> None:
    time.sleep(0.004)  # so that a kill hits the middle of the batch
    film = LARGE if "large" in exchange.request.target else SMALL
    exchange.respond(exchange.response(film=film), film=film)


def name_of(target: str) -> str:
    return target.rpartition("/")[2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_that_is_killed_continues(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    folder, table = tmp_path / "films", tmp_path / "table.txt"
    folder.mkdir()
    names = [f"small{n}.mp4" for n in range(800)]
    for number in range(12):
        names.insert(random.randrange(len(names)), f"large{number}.mp4")
    with Origin(SMALL, otherwise=answer) as origin:
        base = origin.url.rpartition("/")[0]
        table.write_text("\n".join(f"{base}/{name}" for name in names))
        for _ in range(KILLS):
            published = {path.name for path in folder.glob("*.mp4")}
            before = len(origin.requests)
            child = subprocess.Popen([sys.executable, "-c", RUN, str(table), str(folder)])
            enough = before + random.randrange(1, 120)
            end_s = time.monotonic() + DEADLINE_S
            while len(origin.requests) < enough and child.poll() is None:
                assert time.monotonic() < end_s
                time.sleep(0.001)
            time.sleep(random.random() * 0.02)
            child.kill()
            child.wait()
            requested = {name_of(request.target) for request in origin.requests[before:]}
            assert not requested & published
        published = {path.name for path in folder.glob("*.mp4")}
        assert published
        before = len(origin.requests)
        subprocess.run(
            [sys.executable, "-c", RUN, str(table), str(folder)], check=True, timeout=DEADLINE_S
        )
        requested_last = Counter(name_of(r.target) for r in origin.requests[before:])
        assert not set(requested_last) & published
        before = len(origin.requests)
        subprocess.run(
            [sys.executable, "-c", RUN, str(table), str(folder)], check=True, timeout=DEADLINE_S
        )
        assert len(origin.requests) == before
    assert {path.name for path in folder.glob("*.mp4")} == set(names)
    for name in names:
        film = LARGE if "large" in name else SMALL
        assert (folder / name).read_bytes() == film.data
    assert not list((folder / ".vidnb").glob("small-*"))
