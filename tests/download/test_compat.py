"""Tests of the original two-function API, which logs errors and never raises them."""

import asyncio
import inspect
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.origin import (
    Film,
    Handler,
    Origin,
    cut,
    honest,
    noise,
    redirect,
    reset,
    status,
    visible_names,
)
from vidnb.download import part_file
from vidnb.download.planner.retry import RetryPolicy
from vidnb.errors import StorageError

DATA = noise(200_000)
FILM = Film(DATA)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(FILM) as running:
        yield running


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidnb.compat._RETRY", RetryPolicy(attempts=3, base_delay_s=0.01))


def save(url: str, path: Path | str) -> Path | None:
    return asyncio.run(vidnb.save_video_from_url(url, path))


def error_kinds(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the kinds of the logged errors, the text before the colon."""
    assert all(r.name == "vidnb.compat" for r in caplog.records if r.levelno >= logging.ERROR)
    return [r.getMessage().partition(":")[0] for r in caplog.records if r.levelno >= logging.ERROR]


# save_video_from_url


def test_the_signatures_are_the_original_ones() -> None:
    assert list(inspect.signature(vidnb.save_video_from_url).parameters) == ["url", "save_path"]
    assert inspect.iscoroutinefunction(vidnb.save_video_from_url)
    assert list(inspect.signature(vidnb.get_video_data).parameters) == ["file_name"]


@pytest.mark.parametrize("kind", [str, Path])
def test_save_creates_folders_and_returns_the_path(
    kind: type[Any], origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "new" / "folders" / "film.mp4"
    assert save(origin.url, kind(target)) == target
    assert isinstance(save(origin.url, kind(target)), Path)
    assert target.read_bytes() == DATA
    assert visible_names(target.parent) == {"film.mp4"}
    assert not caplog.records


def test_save_returns_a_relative_path_unchanged(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(origin.url, "a/film.mp4") == Path("a/film.mp4")
    assert (tmp_path / "a" / "film.mp4").read_bytes() == DATA


def test_save_saves_any_content(tmp_path: Path) -> None:
    """The original function saves a page, too."""
    page = b"<!doctype html><title>Sign in</title>"
    with Origin(Film(page, media_type="text/html")) as origin:
        assert save(origin.url, tmp_path / "page") == tmp_path / "page"
    assert (tmp_path / "page").read_bytes() == page


def test_save_retries(origin: Origin, tmp_path: Path) -> None:
    origin.script = [reset(100_000), status(503), honest]
    assert save(origin.url, tmp_path / "film.mp4") is not None
    assert (tmp_path / "film.mp4").read_bytes() == DATA


def test_saving_twice_downloads_once(origin: Origin, tmp_path: Path) -> None:
    for _ in range(2):
        assert save(origin.url, tmp_path / "film.mp4") is not None
    assert origin.sent_bytes == len(DATA)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(status(404), id="404"),
        pytest.param(status(403), id="403"),
        pytest.param(status(500), id="500"),
        pytest.param(status(200), id="empty"),
        pytest.param(cut(1000), id="always-truncated"),
        pytest.param(lambda exchange: exchange.reset(), id="reset"),
        pytest.param(redirect("ftp://example.org/film.mp4"), id="redirect-to-ftp"),
        pytest.param(redirect("file:///etc/passwd"), id="redirect-to-file"),
        pytest.param(redirect("/film.mp4"), id="redirect-loop"),
        pytest.param(status(200, {"Content-Encoding": "gzip"}, b"packed"), id="compressed"),
    ],
)
@pytest.mark.parametrize("was_there", [False, True], ids=["new", "replacing"])
def test_save_network_error(
    handler: Handler, was_there: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged, and an earlier file is unchanged."""
    target = tmp_path / "film.mp4"
    if was_there:
        target.write_bytes(b"an earlier film")
    # Without a validator, so that a retry cannot resume and make progress each time.
    film = Film(DATA, etag=None)
    with Origin(film, otherwise=handler) as origin:
        assert save(origin.url, target) is None
    assert error_kinds(caplog) == ["network fault"]
    assert visible_names(tmp_path) == ({"film.mp4"} if was_there else set())
    assert not was_there or target.read_bytes() == b"an earlier film"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("ftp://example.org/film.mp4", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("http:///film.mp4", id="no-host"),
        pytest.param("film.mp4", id="no-scheme"),
        pytest.param("", id="empty"),
        pytest.param("http://example.org:99999/", id="port"),
        pytest.param("http://nobody.invalid/film.mp4", id="unknown-host"),
    ],
)
def test_save_with_a_url_that_cannot_be_fetched(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert save(url, tmp_path / "film.mp4") is None
    assert error_kinds(caplog) == ["network fault"]
    assert visible_names(tmp_path) == set()


def test_save_with_a_refused_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert save(f"http://127.0.0.1:{port}/film.mp4", tmp_path / "film.mp4") is None
    assert error_kinds(caplog) == ["network fault"]
    assert "Connection refused" in caplog.text


@pytest.mark.parametrize("path", ["folder", "folder/", "file/film.mp4", "nul\0.mp4", ""])
def test_save_file_error(
    path: str, origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"here")
    assert save(origin.url, path and f"{tmp_path}/{path}") is None
    assert error_kinds(caplog) == ["file fault"]
    assert visible_names(tmp_path) == {"folder", "file"}
    assert (tmp_path / "file").read_bytes() == b"here"
    assert not origin.requests


def test_save_with_a_full_disk(
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part_file.PartFile, "write", full)
    assert save(origin.url, tmp_path / "film.mp4") is None
    assert error_kinds(caplog) == ["file fault"]
    assert "the disk is full" in caplog.text


class FailingPath:
    """A path object whose conversion fails."""

    def __init__(self, error: BaseException | None = None, value: object = None) -> None:
        self.error, self.value = error, value

    def __fspath__(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


BAD_ARGUMENTS = [
    pytest.param(None, id="None"),
    pytest.param(0, id="int"),
    pytest.param(3.5, id="float"),
    pytest.param(b"film.mp4", id="bytes"),
    pytest.param(["film.mp4"], id="list"),
    pytest.param(object(), id="object"),
    pytest.param(str, id="class"),
    pytest.param(Path, id="path-class"),
    pytest.param(FailingPath(RuntimeError("s3cret")), id="failing"),
    pytest.param(FailingPath(OSError(5, "s3cret")), id="failing-disk"),
    pytest.param(FailingPath(RecursionError("s3cret")), id="recursion"),
    pytest.param(FailingPath(value=7), id="no-text"),
    pytest.param(FailingPath(value=b"film.mp4"), id="bytes-inside"),
    pytest.param("a\ud800.mp4", id="surrogate"),
    pytest.param("\0", id="nul"),
    pytest.param("x" * 5000, id="long"),
    pytest.param("~nobody-of-this-name\0/x", id="home"),
]


@pytest.mark.parametrize("argument", BAD_ARGUMENTS)
@pytest.mark.parametrize("function", ["save", "save-url", "data"])
def test_no_argument_is_an_error_of_its_own(
    argument: Any,
    function: str,
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    match function:
        case "save":
            assert save(origin.url, argument) is None
        case "save-url":
            assert save(argument, "film.mp4") is None
        case "data":
            assert vidnb.get_video_data(argument) is None
    assert len(error_kinds(caplog)) == 1
    assert "s3cret" not in caplog.text
    assert not origin.requests
    assert visible_names(tmp_path) == set()


@pytest.mark.parametrize("argument", BAD_ARGUMENTS)
def test_a_bad_path_of_a_download_is_one_sentence(argument: Any, tmp_path: Path) -> None:
    if argument is None:
        return  # the current folder
    with pytest.raises((ValueError, StorageError)) as caught:
        vidnb.download("http://127.0.0.1:9/", argument, retry=RetryPolicy(attempts=1))
    assert type(caught.value) in {ValueError, StorageError}
    assert "s3cret" not in str(caught.value)


def test_save_in_a_removed_working_folder(
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert save(origin.url, "film.mp4") is None
    assert vidnb.get_video_data("film.mp4") is None
    assert error_kinds(caplog) == ["file fault", "file fault"]
    assert "The working folder cannot be used" in caplog.text
    assert save(origin.url, tmp_path / "film.mp4") == tmp_path / "film.mp4"


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"\xff", "映画".encode()])
def test_save_and_read_a_name_that_is_no_utf8(name: bytes, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    assert save(origin.url, path) == path
    assert vidnb.get_video_data(path) == DATA


def test_an_unexpected_error_is_logged_by_its_type(
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("http://user:s3cret@h/")

    monkeypatch.setattr("vidnb.compat.download", fail)
    monkeypatch.setattr("vidnb.compat.read_all", fail)
    caplog.set_level(logging.INFO)
    assert save(origin.url, tmp_path / "film.mp4") is None
    assert vidnb.get_video_data(tmp_path / "film.mp4") is None
    assert error_kinds(caplog) == ["unexpected fault", "unexpected fault"]
    assert caplog.text.count("RuntimeError") == 2
    assert "s3cret" not in caplog.text


def test_a_cancelled_save_logs_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(url: str) -> None:
        task = asyncio.create_task(vidnb.save_video_from_url(url, tmp_path / "film.mp4"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Origin(FILM, rate=1e5) as origin:
        asyncio.run(main(origin.url))
    assert error_kinds(caplog) == []


def test_save_many_concurrently(origin: Origin, tmp_path: Path) -> None:
    """In one running event loop, as in a notebook."""

    async def main() -> list[Path | None]:
        return await asyncio.gather(
            *(vidnb.save_video_from_url(origin.url, tmp_path / f"{n}.mp4") for n in range(10))
        )

    assert asyncio.run(main()) == [tmp_path / f"{n}.mp4" for n in range(10)]
    assert all((tmp_path / f"{n}.mp4").read_bytes() == DATA for n in range(10))


def test_save_installs_no_log_handler(origin: Origin, tmp_path: Path) -> None:
    save(origin.url, tmp_path / "film.mp4")
    assert logging.getLogger("vidnb").handlers == []
    assert logging.getLogger("vidnb.compat").handlers == []


# get_video_data


@pytest.mark.parametrize("kind", [str, Path])
def test_data_has_the_bytes_of_the_file(kind: type[Any], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(DATA)
    assert vidnb.get_video_data(kind(tmp_path / "film.mp4")) == DATA


def test_data_of_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert vidnb.get_video_data(tmp_path / "empty") == b""


def test_data_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(DATA)
    (tmp_path / "link").symlink_to(tmp_path / "film.mp4")
    assert vidnb.get_video_data(tmp_path / "link") == DATA


@pytest.mark.parametrize(
    "name", ["missing", "folder", "pipe", "socket", "dangling", "/dev/zero", "film.mp4/x", "a\0b"]
)
def test_data_of_a_path_that_is_not_a_regular_file(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them blocks, like opening a pipe without a writer would."""
    monkeypatch.chdir(tmp_path)
    Path("film.mp4").write_bytes(DATA)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("dangling").symlink_to("nowhere")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    results: list[bytes | None] = []
    reader = threading.Thread(
        target=lambda: results.append(vidnb.get_video_data(name)), daemon=True
    )
    reader.start()
    reader.join(DEADLINE_S)
    listener.close()
    assert results == [None]
    assert error_kinds(caplog) == ["file fault"]


def test_data_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read every file, so the error is simulated."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "film.mp4").write_bytes(DATA)
    monkeypatch.setattr(os, "open", refuse)
    data = vidnb.get_video_data(tmp_path / "film.mp4")
    monkeypatch.undo()
    assert data is None
    assert error_kinds(caplog) == ["file fault"]
    assert "no permission" in caplog.text
