"""`download_many` against real loopback origins: results, table, ledger, retries, cancel, pause."""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from blockbuster import BlockBuster

import vidnb
from tests.deadline import DEADLINE_S, IDLE_S, wait_until
from tests.origin import (
    Exchange,
    Film,
    Handler,
    Origin,
    cut,
    drip,
    honest,
    noise,
    stall,
    status,
)
from vidnb.download.batch import DownloadBatch
from vidnb.download.planner.retry import RetryPolicy
from vidnb.widgets.batch import download_many

FILM = noise(50_000)
QUICK = RetryPolicy(base_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(Film(FILM)) as running:
        yield running


def urls(origin: Origin, count: int) -> list[str]:
    base = origin.url.rpartition("/")[0]
    return [f"{base}/{number}.mp4" for number in range(count)]


def test_all_rows(origin: Origin, tmp_path: Path) -> None:
    batch = download_many(urls(origin, 20), tmp_path)
    summary = batch.result(DEADLINE_S)
    assert (summary.done, summary.failed, summary.skipped) == (20, 0, 0)
    assert summary.size_bytes == 20 * len(FILM)
    table = batch.table()
    assert [row["number"] for row in table] == list(range(20))
    assert {row["state"] for row in table} == {"done"}
    assert all(Path(row["path"]).read_bytes() == FILM for row in table)
    assert len(origin.requests) == 20
    again = download_many(urls(origin, 21), tmp_path)
    summary = again.result(DEADLINE_S)
    assert (summary.done, summary.failed, summary.skipped) == (1, 0, 20)
    assert len(origin.requests) == 21


def select(handlers: Mapping[str, Handler]) -> Handler:
    """Return a handler that selects another by the file name in the URL."""

    def handle(exchange: Exchange) -> None:
        name = exchange.request.target.rpartition("/")[2]
        handlers.get(name, honest)(exchange)

    return handle


def states(batch: DownloadBatch) -> list[str]:
    return [row["state"] for row in batch.table()]


def test_each_bad_row_has_its_sentence_and_the_rest_is_complete(tmp_path: Path) -> None:
    handlers = {
        "missing.mp4": status(404),
        "page.mp4": status(200, {}, b"<!DOCTYPE html><title>Sign in</title>"),
        "silent.mp4": stall(after=0),
    }
    with Origin(Film(FILM), otherwise=select(handlers)) as origin:
        base = origin.url.rpartition("/")[0]
        table = [
            {"url": f"{base}/good.mp4"},
            {"url": f"{base}/missing.mp4"},
            {"url": f"{base}/page.mp4"},
            {"url": f"{base}/wrong.mp4", "sum": "sha256:" + 64 * "0"},
            {"url": f"{base}/silent.mp4"},
            {"url": "ftp://example.org/film.mp4"},
            {"url": ""},
            {"url": None},
            {"url": f"{base}/good.mp4"},
            {"url": f"{base}/folder/good.mp4"},
            {"url": f"{base}/{'n' * 300}.mp4"},
        ]
        batch = download_many(
            table, tmp_path, checksum="sum", attempts=2, retry=QUICK, idle_timeout_s=IDLE_S
        )
        summary = batch.result(DEADLINE_S)
    rows = batch.table()
    assert states(batch) == [
        *["done", "failed", "failed", "failed", "failed", "failed", "failed", "failed"],
        *["duplicate", "done", "done"],
    ]
    assert [row["error_type"] for row in rows[1:5]] == [
        *["StatusError", "NotAVideo", "ChecksumMismatch", "TransferTimeout"]
    ]
    assert all(row["error"].endswith(".") for row in batch.failed())
    assert "404" in rows[1]["error"]
    assert "Sign in" in rows[2]["error"]
    assert rows[4]["attempts"] == 2
    assert rows[8]["path"] == rows[0]["path"]
    assert len({row["path"] for row in rows if row["state"] == "done"}) == 3
    assert (summary.done, summary.failed, summary.skipped) == (3, 7, 1)
    assert sum(count for _, count in summary.failures) == 7


def test_retry_touches_only_the_failed(tmp_path: Path) -> None:
    failing = {f"{n}.mp4": status(404 if n < 6 else 410) for n in range(4, 8)}
    with Origin(Film(FILM), otherwise=select(failing)) as origin:
        batch = download_many(urls(origin, 10), tmp_path)
        batch.result(DEADLINE_S)
        assert [row["number"] for row in batch.failed()] == [4, 5, 6, 7]
        failing.clear()
        origin.requests.clear()
        some = batch.retry(only=lambda row: "410" in row["error"])
        assert some.result(DEADLINE_S).done == 2
        assert batch.retry(only="NotAVideo").result(DEADLINE_S).done == 0
        rest = batch.retry(only=["StatusError"])
        summary = rest.result(DEADLINE_S)
        assert (summary.done, summary.skipped) == (2, 2)
        names = sorted(request.target.rpartition("/")[2] for request in origin.requests)
    assert names == [f"{n}.mp4" for n in range(4, 8)]


def test_retry_of_a_running_batch_is_refused(tmp_path: Path) -> None:
    with Origin(Film(FILM), otherwise=stall(after=10)) as origin:
        batch = download_many(urls(origin, 1), tmp_path)
        with pytest.raises(RuntimeError, match="still runs"):
            batch.retry()
        batch.cancel()
        batch.result(DEADLINE_S)


def test_a_changed_table_repeats_nothing(origin: Origin, tmp_path: Path) -> None:
    all_urls = urls(origin, 12)
    download_many(all_urls[:8], tmp_path).result(DEADLINE_S)
    origin.requests.clear()
    batch = download_many(all_urls[4:], tmp_path)
    summary = batch.result(DEADLINE_S)
    assert (summary.done, summary.skipped) == (4, 4)
    assert len(origin.requests) == 4
    assert [row["number"] for row in batch.table()] == list(range(8))


@pytest.mark.parametrize("change", ["remove", "truncate"])
def test_a_file_that_changed_is_downloaded_again(
    origin: Origin, tmp_path: Path, change: str
) -> None:
    batch = download_many(urls(origin, 3), tmp_path)
    batch.result(DEADLINE_S)
    path = Path(batch.table()[1]["path"])
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(b"")
    assert download_many(urls(origin, 3), tmp_path).result(DEADLINE_S).done == 1
    assert path.read_bytes() == FILM


def test_a_file_of_a_single_download_is_taken_without_a_request(
    origin: Origin, tmp_path: Path
) -> None:
    (url,) = urls(origin, 1)
    vidnb.download(url, tmp_path / "0.mp4", progress=False)
    origin.requests.clear()
    assert download_many([url], tmp_path).result(DEADLINE_S).skipped == 1
    assert origin.requests == []


def test_overwrite_downloads_again(origin: Origin, tmp_path: Path) -> None:
    download_many(urls(origin, 2), tmp_path).result(DEADLINE_S)
    again = download_many(urls(origin, 2), tmp_path, if_exists="overwrite")
    assert again.result(DEADLINE_S).done == 2


def test_a_failed_attempt_is_retried_and_resumed(tmp_path: Path) -> None:
    with Origin(Film(FILM), [cut(after=10_000)] * 3) as origin:
        batch = download_many(urls(origin, 1), tmp_path, attempts=2, retry=QUICK)
        assert batch.result(DEADLINE_S).done == 1
        (row,) = batch.table()
        assert row["attempts"] == 4  # each made progress
        assert Path(row["path"]).read_bytes() == FILM
        assert "range" in origin.requests[-1].headers


def test_the_limit_of_a_host_holds(tmp_path: Path) -> None:
    lock, now, most = threading.Lock(), Counter[str](), Counter[str]()

    def count(exchange: Exchange) -> None:
        host = exchange.request.headers["host"]
        with lock:
            now[host] += 1
            most[host] = max(most[host], now[host])
        time.sleep(0.005)
        try:
            honest(exchange)
        finally:
            with lock:
                now[host] -= 1

    with Origin(Film(FILM), otherwise=count) as one, Origin(Film(FILM), otherwise=count) as two:
        table = [url for pair in zip(urls(one, 20), urls(two, 20), strict=True) for url in pair]
        batch = download_many(table, tmp_path, per_host=3)
        assert batch.result(DEADLINE_S).done == 40
    assert max(most.values()) <= 3


def test_a_busy_host_is_slowed_down_and_shown(tmp_path: Path) -> None:
    busy = status(429, {"Retry-After": "1"})
    with Origin(Film(FILM), [busy] * 2) as origin:
        batch = download_many(urls(origin, 6), tmp_path, retry=QUICK)
        wait_until(lambda: batch.progress.slowed_hosts)
        assert batch.progress.slowed_hosts[0][0] == f"127.0.0.1:{origin.port}"
        assert batch.result(DEADLINE_S).done == 6


def test_rows_are_yielded_as_they_end(tmp_path: Path) -> None:
    release = threading.Event()

    def slow(exchange: Exchange) -> None:
        release.wait(DEADLINE_S)
        honest(exchange)

    with Origin(Film(FILM), otherwise=select({"0.mp4": slow})) as origin:
        batch = download_many(urls(origin, 5), tmp_path)
        numbers = []
        for result in batch:
            numbers.append(result.number)
            if len(numbers) == 4:
                wait_until(lambda: [name for name, _ in batch.progress.slowest] == ["0.mp4"])
                assert "running" in repr(batch)
                release.set()
    assert numbers[-1] == 0
    assert sorted(numbers) == list(range(5))


def test_a_batch_is_awaited_and_iterated_in_a_running_loop(origin: Origin, tmp_path: Path) -> None:
    async def main() -> tuple[int, list[int]]:
        batch = download_many(urls(origin, 5), tmp_path)
        numbers = [result.number async for result in batch]
        return (await batch).done, numbers

    done, numbers = asyncio.run(main())
    assert (done, sorted(numbers)) == (5, list(range(5)))


def test_result_in_a_running_loop(
    origin: Origin, tmp_path: Path, no_blocking_call_on_an_event_loop: BlockBuster
) -> None:
    async def cell() -> int:
        batch = download_many(urls(origin, 3), tmp_path)
        acquire = no_blocking_call_on_an_event_loop.functions["threading.Lock.acquire"]
        acquire.deactivate()  # the cell blocks its own loop
        try:
            return batch.result(DEADLINE_S).done
        finally:
            acquire.activate()

    assert asyncio.run(cell()) == 3


def test_cancelling_keeps_what_is_complete(tmp_path: Path) -> None:
    hanging = {f"{n}.mp4": stall(after=10_000) for n in range(5, 10)}
    with Origin(Film(FILM), otherwise=select(hanging)) as origin:
        batch = download_many(urls(origin, 10), tmp_path, concurrency=3)
        wait_until(lambda: batch.progress.done == 5)
        batch.cancel()
        summary = batch.result(DEADLINE_S)
        assert (summary.done, summary.cancelled) == (5, 5)
        assert batch.progress.state == "cancelled"
        assert states(batch) == ["done"] * 5 + ["cancelled"] * 5
        hanging.clear()
        again = download_many(urls(origin, 10), tmp_path)
        assert (again.result(DEADLINE_S).done, again.progress.skipped) == (5, 5)


def test_an_interrupt_stops_the_batch_and_the_same_call_continues(
    tmp_path: Path,
) -> None:
    hanging = {"4.mp4": stall(after=10_000)}
    with Origin(Film(FILM), otherwise=select(hanging)) as origin:
        batch = download_many(urls(origin, 5), tmp_path)
        wait_until(lambda: batch.progress.done == 4)
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt) as caught:
            batch.result(DEADLINE_S)
        assert "4 rows are complete" in caught.value.__notes__[0]
        assert batch.done
        hanging.clear()
        assert download_many(urls(origin, 5), tmp_path).result(DEADLINE_S).done == 1


def test_a_paused_batch_starts_no_request(tmp_path: Path) -> None:
    arrived, release = threading.Semaphore(0), threading.Event()

    def hold(exchange: Exchange) -> None:
        arrived.release()
        release.wait(DEADLINE_S)
        honest(exchange)

    with Origin(Film(FILM), otherwise=hold) as origin:
        batch = download_many(urls(origin, 6), tmp_path, per_host=2)
        assert arrived.acquire(timeout=DEADLINE_S)
        assert arrived.acquire(timeout=DEADLINE_S)
        batch.pause()
        wait_until(lambda: batch.progress.state == "paused")
        release.set()
        assert not arrived.acquire(timeout=0.3)
        batch.resume()
        assert batch.result(DEADLINE_S).done == 6


def test_a_row_has_a_deadline(tmp_path: Path) -> None:
    with Origin(Film(FILM), otherwise=select({"0.mp4": drip(1000, pause_s=0.2)})) as origin:
        batch = download_many(urls(origin, 2), tmp_path, deadline_s=1.0)
        summary = batch.result(DEADLINE_S)
    assert (summary.done, summary.failed) == (1, 1)
    (row,) = batch.failed()
    assert row["error_type"] == "TransferTimeout"
    assert "within the 1 s of deadline_s" in row["error"]


@pytest.mark.parametrize("dedupe", ["report", "link", None])
def test_the_same_url_for_several_names(
    origin: Origin, tmp_path: Path, dedupe: Literal["report", "link"] | None
) -> None:
    (url,) = urls(origin, 1)
    table = [{"url": url, "name": f"{name}.mp4"} for name in "abc"]
    batch = download_many(table, tmp_path, name="name", dedupe=dedupe)
    batch.result(DEADLINE_S)
    paths = [Path(row["path"]) for row in batch.table()]
    assert [path.name for path in paths] == ["a.mp4", "b.mp4", "c.mp4"]
    assert all(path.read_bytes() == FILM for path in paths)
    assert len(origin.requests) == (3 if dedupe is None else 1)
    assert len({path.stat().st_ino for path in paths}) == (1 if dedupe == "link" else 3)
    assert states(batch) == ["done"] + ["done" if dedupe is None else "duplicate"] * 2
    origin.requests.clear()
    again = download_many(table, tmp_path, name="name", dedupe=dedupe)
    assert again.result(DEADLINE_S).skipped == 3
    assert origin.requests == []


def test_the_same_url_fails_once_for_all_its_rows(tmp_path: Path) -> None:
    with Origin(Film(FILM), otherwise=status(404)) as origin:
        (url,) = urls(origin, 1)
        table = [{"url": url, "name": f"{name}.mp4"} for name in "abc"]
        batch = download_many(table, tmp_path, name="name")
        assert batch.result(DEADLINE_S).failed == 3
        assert len(origin.requests) == 1


@pytest.mark.parametrize("dedupe", ["report", "link"])
def test_files_with_the_same_bytes(
    origin: Origin, tmp_path: Path, dedupe: Literal["report", "link"]
) -> None:
    batch = download_many(urls(origin, 3), tmp_path, dedupe=dedupe)
    assert batch.result(DEADLINE_S).done == 3
    assert batch.duplicates() == [[str(tmp_path / f"{number}.mp4") for number in range(3)]]
    inodes = {path.stat().st_ino for path in tmp_path.glob("*.mp4")}
    assert len(inodes) == (1 if dedupe == "link" else 3)
    origin.requests.clear()
    again = download_many(urls(origin, 3), tmp_path, dedupe=dedupe)
    assert again.result(DEADLINE_S).skipped == 3
    assert origin.requests == []


def test_files_with_different_bytes_are_no_duplicates(tmp_path: Path) -> None:
    def one_of_two(exchange: Exchange) -> None:
        film = Film(noise(1000, seed=1 + ("1.mp4" in exchange.request.target)))
        exchange.respond(exchange.response(film=film), film=film)

    with Origin(Film(FILM), otherwise=one_of_two) as origin:
        batch = download_many(urls(origin, 2), tmp_path, dedupe="link")
        assert batch.result(DEADLINE_S).done == 2
    assert batch.duplicates() == []


def test_rows_of_other_hosts_are_read_past_those_of_a_slow_one(tmp_path: Path) -> None:
    release = threading.Event()

    def hold(exchange: Exchange) -> None:
        release.wait(DEADLINE_S)
        honest(exchange)

    film = Film(b"\x00\xff" * 50)
    with Origin(film, otherwise=hold) as slow, Origin(film) as fast:
        table = [*urls(slow, 1500), *[f"{url}?f" for url in urls(fast, 3)]]
        batch = download_many(table, tmp_path, name="{url}", per_host=2)
        try:
            wait_until(lambda: batch.progress.done == 3)
        finally:
            batch.cancel()
            release.set()
            batch.result(DEADLINE_S)


def test_two_batches_in_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with Origin(Film(FILM), otherwise=stall(after=10)) as origin:
        first = download_many(urls(origin, 1), tmp_path)
        wait_until(lambda: origin.requests)
        with pytest.raises(vidnb.StorageError, match="Another batch"):
            download_many(urls(origin, 1), tmp_path).result(DEADLINE_S)
        first.cancel()
        first.result(DEADLINE_S)


def test_a_table_that_breaks_in_the_middle_ends_with_its_error(
    origin: Origin, tmp_path: Path
) -> None:
    def rows() -> Iterator[str]:
        yield from urls(origin, 3)
        raise RuntimeError("the data base is gone")

    batch = download_many(rows(), tmp_path)
    with pytest.raises(RuntimeError, match="the data base is gone"):
        batch.result(DEADLINE_S)
    assert states(batch) == ["done"] * 3
    with pytest.raises(RuntimeError, match="the data base is gone"):
        list(batch)


def test_an_unusable_folder_has_its_sentence(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(vidnb.StorageError, match="choose another folder"):
        download_many(urls(origin, 1), tmp_path / "file" / "x").result(DEADLINE_S)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_status_file(origin: Origin, tmp_path: Path, suffix: str) -> None:
    status_file = tmp_path / f"status.{suffix}"
    download_many(urls(origin, 3), tmp_path / "films", status=status_file).result(DEADLINE_S)
    assert status_file.read_text().count("0.mp4") == 2


def test_progress_is_reported_to_a_function_and_to_a_display(
    origin: Origin, tmp_path: Path
) -> None:
    seen: list[int] = []
    calls: list[str] = []

    class Display:
        def show(self) -> None:
            calls.append("show")

        def update(self) -> None:
            calls.append("update")

        def finish(self) -> None:
            calls.append("finish")

    batch = download_many(
        urls(origin, 3), tmp_path, progress=lambda progress: seen.append(progress.done)
    )
    batch.add_display(Display())
    batch.result(DEADLINE_S)
    assert seen[-1] == 3
    assert (calls[0], calls[-1]) == ("show", "finish")
    batch.add_display(Display())
    assert calls[-2:] == ["show", "finish"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"attempts": 0}, ValueError),
        ({"per_host": -1}, ValueError),
        ({"concurrency": 1.5}, ValueError),
        ({"deadline_s": 0}, ValueError),
        ({"dedupe": "hash"}, ValueError),
        ({"timeout": 3}, TypeError),
        ({"proxy": "gopher://x"}, ValueError),
        ({"status": "table.xls"}, ValueError),
        ({"progress": 3}, ValueError),
    ],
)
def test_bad_arguments_raise_at_once(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        download_many(["http://localhost/a"], tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()
