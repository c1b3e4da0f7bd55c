"""`download_many(executor=…)`: the result is that of one loop; limits, lost workers, cancelling."""

import os
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.download.test_batch import FILM, QUICK, select, states, urls
from tests.origin import Exchange, Film, Origin, honest, stall, status
from vidnb.download import batch_worker
from vidnb.download.batch import download_many
from vidnb.download.batch_worker import RowOrder, WorkerTask, run_task
from vidnb.download.planner.rows import Row


class Inline(Executor):
    """Runs each task in a thread of its own, after its arguments and before its result cross."""

    def __init__(self, run: Callable[[WorkerTask], Any] = run_task) -> None:
        self._run = run
        self.tasks: list[WorkerTask] = []

    def submit(self, function: Any, /, *args: Any, **_: Any) -> "Future[Any]":
        (task,) = args
        self.tasks.append(task)
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(self._run(task))
            except BaseException as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future


@contextmanager
def pool(kind: str) -> Iterator[Executor]:
    if kind == "threads":
        with ThreadPoolExecutor(3) as threads:
            yield threads
    else:
        with ProcessPoolExecutor(2, mp_context=get_context(kind)) as processes:
            yield processes


@pytest.mark.parametrize("kind", ["threads", "spawn", "forkserver"])
def test_the_result_is_that_of_one_loop(tmp_path: Path, kind: str) -> None:
    bad = {"3.mp4": status(404)}
    with Origin(Film(FILM), otherwise=select(bad)) as origin, pool(kind) as executor:
        here = download_many(urls(origin, 12), tmp_path / "here")
        here.result(DEADLINE_S)
        origin.requests.clear()
        there = download_many(urls(origin, 12), tmp_path / "there", executor=executor)
        summary = there.result(DEADLINE_S)
        assert (summary.done, summary.failed) == (11, 1)
        assert len(origin.requests) == 12
        again = download_many(urls(origin, 12), tmp_path / "there", executor=executor)
        assert again.result(DEADLINE_S).skipped == 11
    columns = ("number", "url", "state", "size_bytes", "sha256", "media_type", "error", "attempts")
    assert [[row[column] for column in columns] for row in there.table()] == [
        [row[column] for column in columns] for row in here.table()
    ]
    workers = {row["worker"] for row in there.table()}
    assert (here.table()[0]["worker"] in workers) == (kind == "threads")


def test_the_limit_of_a_host_holds_over_all_workers(tmp_path: Path) -> None:
    lock, now, most = threading.Lock(), Counter[str](), Counter[str]()

    def count(exchange: Exchange) -> None:
        with lock:
            now["host"] += 1
            most["host"] = max(most["host"], now["host"])
        time.sleep(0.01)
        with lock:  # before the client can know
            now["host"] -= 1
        honest(exchange)

    with Origin(Film(FILM), otherwise=count) as origin, pool("spawn") as executor:
        batch = download_many(urls(origin, 60), tmp_path, executor=executor, per_host=3)
        assert batch.result(DEADLINE_S).done == 60
    assert most["host"] <= 3


def test_a_killed_worker_does_not_end_the_batch(tmp_path: Path) -> None:
    killed = threading.Event()

    def hold(exchange: Exchange) -> None:
        killed.wait(DEADLINE_S)
        honest(exchange)

    with (
        Origin(Film(FILM), otherwise=select({"5.mp4": hold})) as origin,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor,
    ):
        (pid,) = [executor.submit(os.getpid).result(DEADLINE_S)]
        batch = download_many(urls(origin, 40), tmp_path, executor=executor, per_host=8)
        wait_until(lambda: any("5.mp4" in request.target for request in origin.requests))
        os.kill(pid, signal.SIGKILL)
        killed.set()
        assert batch.result(DEADLINE_S).done == 40
        assert all(path.read_bytes() == FILM for path in tmp_path.glob("*.mp4"))


def test_a_lost_task_is_tried_again_with_another_attempt_number(tmp_path: Path) -> None:
    def lose_first(task: WorkerTask) -> Any:
        if len(executor.tasks) == 1:
            raise OSError("the worker is gone")
        return run_task(task)

    executor = Inline(lose_first)
    with Origin(Film(FILM)) as origin:
        batch = download_many(urls(origin, 1), tmp_path, executor=executor, retry=QUICK)
        assert batch.result(DEADLINE_S).done == 1
    attempts = [order.attempt for task in executor.tasks for lane in task.lanes for order in lane]
    assert attempts == [1, 2]


def test_tasks_that_are_always_lost_have_their_sentence(tmp_path: Path) -> None:
    def lose(task: WorkerTask) -> Any:
        raise ValueError("secret")

    with Origin(Film(FILM)) as origin:
        batch = download_many(
            urls(origin, 2), tmp_path, executor=Inline(lose), attempts=2, retry=QUICK
        )
        assert batch.result(DEADLINE_S).failed == 2
    row = batch.failed()[0]
    assert "its worker failed (ValueError)" in row["error"]
    assert "secret" not in row["error"]
    assert row["attempts"] == 2


def test_an_executor_that_is_shut_down_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as executor:
        pass
    with Origin(Film(FILM)) as origin:
        batch = download_many(urls(origin, 3), tmp_path, executor=executor)
        assert batch.result(DEADLINE_S).done == 3
    assert "this process downloads the rest" in caplog.text


def test_a_worker_without_a_disk_in_common_is_recognised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def elsewhere(task: WorkerTask) -> Any:
        outcomes = run_task(task)
        for path in tmp_path.glob("*.mp4"):
            path.unlink()
        return outcomes

    with Origin(Film(FILM)) as origin:
        batch = download_many(urls(origin, 3), tmp_path, executor=Inline(elsewhere))
        assert batch.result(DEADLINE_S).done == 3
    assert caplog.text.count("has no disk in common") == 1


def test_cancelling_stops_the_workers(tmp_path: Path) -> None:
    with (
        Origin(Film(FILM), otherwise=stall(after=1000)) as origin,
        pool("spawn") as executor,
    ):
        batch = download_many(urls(origin, 6), tmp_path, executor=executor)
        wait_until(lambda: len(origin.requests) >= 2)
        batch.cancel()
        assert batch.result(DEADLINE_S).cancelled == 6
    assert states(batch) == ["cancelled"] * 6
    assert not list((tmp_path / ".vidnb").glob("*.cancel"))


def test_a_lane_ends_at_an_overloaded_host_and_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin(Film(FILM), [honest, status(429)]) as origin:
        lane = tuple(
            RowOrder(Row(number, url, f"{number}.mp4"), 1)
            for number, url in enumerate(urls(origin, 4))
        )
        task = WorkerTask(tmp_path, {}, None, (lane,), str(tmp_path / "cancel"))
        ((first, second, *rest),) = run_task(task)
        assert first is not None
        assert second is not None
        assert (first.failure, rest) == (None, [None, None])
        assert second.failure is not None
        monkeypatch.setattr(batch_worker, "_LANE_S", 0.0)
        ((first, *rest),) = run_task(task)
        assert first is not None
        assert first.result.attempts == 0  # its record was found
        assert rest == [None] * 3


@pytest.mark.parametrize("executor", [3, "dask"])
def test_what_is_no_executor_is_refused(tmp_path: Path, executor: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a concurrent\.futures\.Executor"):
        download_many([], tmp_path, executor=executor)


def test_options_that_cannot_cross_are_refused(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ValueError, match="ssl_context=… cannot be sent to the workers"):
        download_many([], tmp_path, executor=Inline(), ssl_context=context)
