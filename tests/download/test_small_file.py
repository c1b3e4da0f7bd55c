"""Small files of a batch: the same results and sentences as `vidnb.download`, in one request."""

import os
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S, IDLE_S
from tests.origin import (
    Film,
    Handler,
    Origin,
    chunk,
    cut,
    honest,
    noise,
    raw,
    redirect,
    stall,
    status,
)
from vidnb.download.batch import download_many
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.planner.rows import Row
from vidnb.download.row_overflow import RowOverflow

FILM = noise(30_000)
ONCE = RetryPolicy(attempts=1)
HEAD = "HTTP/1.1 200 OK\nContent-Length: 30000\n"


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        pytest.param(status(404), {}, id="404"),
        pytest.param(status(503, {"Retry-After": "7"}), {}, id="503"),
        pytest.param(status(401, {"WWW-Authenticate": "Bearer"}), {}, id="401"),
        pytest.param(status(403), {"auth": ("me", "secret")}, id="403-with-a-login"),
        pytest.param(status(200), {}, id="empty"),
        pytest.param(status(200, {}, b"<html><title>Sign in</title>"), {}, id="page"),
        pytest.param(status(200, {}, b"#EXTM3U\n#EXT-X-VERSION:3\n"), {}, id="playlist"),
        pytest.param(honest, {"max_bytes": 100}, id="too-large"),
        pytest.param(honest, {"checksum": "sha256:" + "0" * 64}, id="checksum"),
        pytest.param(honest, {"checksum": "md5:" + "0" * 32}, id="other-checksum"),
        pytest.param(cut(after=0), {}, id="cut-before-the-body"),
        pytest.param(stall(after=0), {"idle_timeout_s": IDLE_S}, id="silent-body"),
        pytest.param(raw("HTTP/1.1 200 OK\nContent-Length: a"), {}, id="bad-length"),
        pytest.param(raw("nonsense"), {}, id="no-http"),
        pytest.param(redirect("ftp://example.org/a.mp4"), {}, id="redirect-elsewhere"),
        pytest.param(
            raw(f"{HEAD}Content-Encoding: gzip", FILM), {"check_video": False}, id="coded"
        ),
    ],
)
def test_errors_are_those_of_a_single_download(
    tmp_path: Path, handler: Handler, options: dict[str, Any]
) -> None:
    table: list[dict[str, Any]] = []
    with Origin(Film(FILM), otherwise=handler) as origin:
        with pytest.raises(vidnb.TransferError) as caught:
            vidnb.download(
                origin.url, tmp_path / "one" / "a.mp4", retry=ONCE, progress=False, **options
            )
        checksum = options.pop("checksum", None)
        table.append({"url": origin.url, "sum": checksum})
        batch = download_many(
            table, tmp_path / "many", name="a.mp4{url!s:.0}", checksum="sum", attempts=1, **options
        )
        assert batch.result(DEADLINE_S).failed == 1
    (row,) = batch.failed()
    assert row["error_type"] == type(caught.value).__name__
    assert row["error"] == str(caught.value)
    assert not [path for path in (tmp_path / "many").rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize(
    "handlers",
    [
        pytest.param([], id="a-length"),
        pytest.param([redirect("/other.mp4")], id="after-a-redirect"),
        pytest.param([redirect("/b.mp4", 307), redirect("/c.mp4", 308)], id="after-two"),
    ],
)
def test_a_small_file_takes_one_request(tmp_path: Path, handlers: list[Handler]) -> None:
    with Origin(Film(FILM), list(handlers)) as origin:
        batch = download_many([origin.url], tmp_path)
        assert batch.result(DEADLINE_S).done == 1
        assert len(origin.requests) == 1 + len(handlers)
        assert not any("range" in request.headers for request in origin.requests)
    (row,) = batch.table()
    assert Path(row["path"]).read_bytes() == FILM


@pytest.mark.parametrize("fields", ["Transfer-Encoding: chunked", "Connection: close"])
def test_a_file_of_unknown_length_is_downloaded_as_a_long_one(tmp_path: Path, fields: str) -> None:
    body = chunk(FILM) + b"0\r\n\r\n" if "chunked" in fields else FILM
    with Origin(Film(FILM), otherwise=raw(f"HTTP/1.1 200 OK\n{fields}", body)) as origin:
        batch = download_many([origin.url], tmp_path)
        assert batch.result(DEADLINE_S).done == 1
    (row,) = batch.table()
    assert Path(row["path"]).read_bytes() == FILM


def test_long_files_are_told_from_the_first_of_their_host(tmp_path: Path) -> None:
    film = Film(noise(5_000_000))
    with Origin(film) as origin:
        table = [{"url": f"{origin.url}?{n}", "name": f"{n}.mp4"} for n in range(3)]
        batch = download_many(table, tmp_path, name="name", per_host=1)
        assert batch.result(DEADLINE_S).done == 3
        assert len(origin.requests) == 4


def test_a_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    with Origin(Film(FILM)) as origin:
        download_many([origin.url], tmp_path).result(DEADLINE_S)
    (tmp_path / "mine").touch()
    (path,) = tmp_path.glob("*.mp4")
    assert path.stat().st_mode == (tmp_path / "mine").stat().st_mode


def test_folders_in_names_are_made(tmp_path: Path) -> None:
    with Origin(Film(FILM)) as origin:
        table = [{"url": f"{origin.url}?{n}", "name": f"a/{n % 2}/{n}.mp4"} for n in range(4)]
        batch = download_many(table, tmp_path, name="name")
        assert batch.result(DEADLINE_S).done == 4
    assert len(list((tmp_path / "a" / "1").glob("*.mp4"))) == 2


@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_disk_that_fails_has_its_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real: Any = getattr(os, call)

    def fail(first: Any, *rest: Any) -> Any:
        if "mp4" in str(rest) or (call == "write" and len(rest[0]) == len(FILM)):
            raise OSError(28, "No space left on device")
        return real(first, *rest)

    monkeypatch.setattr(os, call, fail)
    with Origin(Film(FILM)) as origin:
        batch = download_many([origin.url], tmp_path, attempts=1)
        assert batch.result(DEADLINE_S).failed == 1
        (row,) = batch.failed()
        assert "the disk is full" in row["error"]
        assert not list((tmp_path / ".vidnb").glob("small-*"))
        monkeypatch.undo()
        assert batch.retry().result(DEADLINE_S).done == 1


def test_rows_in_the_overflow_keep_their_order() -> None:
    overflow = RowOverflow()
    rows = [Row(number, f"https://{'ab'[number % 2]}/x", f"{number}") for number in range(300)]
    for row in rows:
        overflow.put(row.url[8], row)
    assert len(overflow) == 300
    taken = []
    while "a" in overflow:
        taken += overflow.take("a")
    assert taken == rows[::2]
    assert overflow.hosts == ("b",)
    while "b" in overflow:
        taken += overflow.take("b")
    assert taken[150:] == rows[1::2]
    assert len(overflow) == 0
    overflow.put("a", rows[0])
    assert overflow.take("a") == rows[:1]
    overflow.close()
