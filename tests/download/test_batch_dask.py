"""`download_many` on a Dask cluster of this machine; skipped without the extra `dask`."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.download.test_batch import FILM, select, urls
from tests.origin import Exchange, Film, Origin, honest, status
from vidnb.download.batch import download_many

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

pytestmark = [
    pytest.mark.slow,
    # Its own sockets and loops, when workers end.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("pure", [False, True])
def test_the_result_is_that_of_one_loop(client: Any, tmp_path: Path, pure: bool) -> None:
    bad = {"3.mp4": status(500)}
    with Origin(Film(FILM), otherwise=select(bad)) as origin:
        here = download_many(urls(origin, 20), tmp_path / "here", attempts=2)
        here.result(DEADLINE_S)
        origin.requests.clear()
        executor = client.get_executor(pure=pure)
        there = download_many(urls(origin, 20), tmp_path / "there", attempts=2, executor=executor)
        summary = there.result(DEADLINE_S)
        assert (summary.done, summary.failed) == (19, 1)
        assert len(origin.requests) == 21
        bad.clear()
        again = download_many(urls(origin, 20), tmp_path / "there", executor=executor)
        assert again.result(DEADLINE_S).done == 1
    columns = ("number", "url", "state", "size_bytes", "sha256", "error", "attempts")
    assert [[row[column] for column in columns] for row in there.table()] == [
        [row[column] for column in columns] for row in here.table()
    ]


def test_a_killed_worker_does_not_end_the_batch(client: Any, tmp_path: Path) -> None:
    killed = threading.Event()

    def hold(exchange: Exchange) -> None:
        killed.wait(DEADLINE_S)
        honest(exchange)

    with Origin(Film(FILM), otherwise=select({"5.mp4": hold})) as origin:
        pids = client.run(os.getpid)
        batch = download_many(
            urls(origin, 40), tmp_path, executor=client.get_executor(), per_host=8
        )
        wait_until(lambda: any("5.mp4" in request.target for request in origin.requests))
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        killed.set()
        assert batch.result(DEADLINE_S).done == 40
