"""Downloads from the request to the published file: paths, refresh, sharing, pause, cancel."""

import asyncio
import concurrent.futures
import dataclasses
import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from blockbuster import BlockingError

import vidnb
from tests.deadline import DEADLINE_S, IDLE_S
from tests.origin import (
    Exchange,
    Film,
    Origin,
    cut,
    fetch,
    honest,
    noise,
    redirect,
    reset,
    spawn,
    stall,
    status,
    stored_journal,
    visible_names,
)
from vidnb.download import destination, part_file, writer
from vidnb.download.part_file import PartFile, RecordStore
from vidnb.download.planner.progress import Progress
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle, Phase
from vidnb.errors import NotAVideo, StorageError, TooLarge, TransferError, TransportError
from vidnb.io.loop import transfers

DATA = noise(300_000)
FILM = Film(DATA)
OTHER = Film(noise(300_000, seed=2), etag='"v2"')
SLOW = Film(noise(3_000_000, seed=3))
QUICK = RetryPolicy(attempts=4, base_delay_s=0.005, max_delay_s=0.02)
OLD_S = 1_700_000_000.0


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(FILM) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[Origin]:
    """An origin that needs three seconds for its file."""
    with Origin(SLOW, rate=1e6) as running:
        yield running


def request_for(origin: Origin, path: Path | str | None, **options: Any) -> DownloadRequest:
    """Make a request with one connection by default: a busy machine would try more."""
    return DownloadRequest.of(origin.url, path, **{"retry": QUICK, "connections": 1, **options})


def leftovers(folder: Path) -> list[str]:
    """Return the names in `.vidnb` without the records."""
    return [p.name for p in (folder / ".vidnb").iterdir() if p.suffix != ".record"]


# The result.


def test_the_result_has_all_facts_of_the_file(origin: Origin, tmp_path: Path) -> None:
    result = fetch(request_for(origin, tmp_path / "a.mp4"))
    assert dataclasses.replace(result, elapsed_s=0) == DownloadResult(
        path=tmp_path / "a.mp4",
        url=origin.url,
        size_bytes=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        elapsed_s=0,
        resumed_from_bytes=0,
        connections=1,
        attempts=1,
        reused=False,
        etag='"v1"',
        media_type="video/mp4",
    )
    assert result.elapsed_s > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.path = Path()  # type: ignore[misc]  # it must fail


def test_a_result_without_validators_or_type(tmp_path: Path) -> None:
    with Origin(Film(DATA, etag=None, media_type="not a type")) as origin:
        result = fetch(request_for(origin, tmp_path / "a.mp4"))
    assert (result.etag, result.media_type) == (None, None)


def test_a_small_file_is_written_when_its_body_ends(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bytes are written when the body ends, not when a timer fires."""
    monkeypatch.setattr(writer, "MAX_DELAY_S", 10 * DEADLINE_S)
    fetch(request_for(origin, tmp_path / "a.mp4"))


def test_the_connection_is_used_again(origin: Origin, tmp_path: Path) -> None:
    before = len(origin._threads)
    for number in range(4):
        fetch(request_for(origin, tmp_path / f"{number}.mp4"))
    assert len(origin._threads) == before + 1


def test_a_blocking_call_on_the_loop_fails() -> None:
    """The fixture that fails blocking calls works."""

    async def blocks() -> None:
        time.sleep(0)

    with pytest.raises(BlockingError):
        transfers.run(blocks())


# Paths and names.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(None, "film.mp4", id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("a\0b", None, id="null-character"),
        pytest.param("here", "here/film.mp4", id="existing-folder"),
        pytest.param("here/", "here/film.mp4", id="existing-folder-slash"),
        pytest.param("new/", "new/film.mp4", id="new-folder-slash"),
        pytest.param("new/and/deep/", "new/and/deep/film.mp4", id="new-folders-slash"),
        pytest.param("x.mp4", "x.mp4", id="file"),
        pytest.param("new/x", "new/x", id="file-in-a-new-folder"),
        pytest.param(Path("new") / "x.mp4", "new/x.mp4", id="pathlib"),
    ],
)
def test_the_path_decides_the_folder_and_the_name(
    path: str | None,
    expected: str | None,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    if expected is None:
        with pytest.raises(ValueError, match="is not a valid path"):
            request_for(origin, path)
        return
    assert fetch(request_for(origin, path)).path == tmp_path / expected
    assert (tmp_path / expected).read_bytes() == DATA


def test_a_change_of_the_working_folder_does_not_move_the_file(
    slow: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    slow.rate = 10e6
    running = transfers.submit(download(request_for(slow, "x.mp4"), DownloadHandle()))
    slow.wait_for(lambda: slow.sent_bytes > 10_000)
    monkeypatch.chdir(tmp_path / "b")
    second = transfers.submit(download(request_for(slow, "x.mp4"), DownloadHandle()))
    assert running.result(DEADLINE_S).path == tmp_path / "a" / "x.mp4"
    assert second.result(DEADLINE_S).path == tmp_path / "b" / "x.mp4"
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.glob("*/*.mp4")) == [
        Path("a/x.mp4"),
        Path("b/x.mp4"),
    ]


def test_a_symbolic_link_is_kept(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "film.mp4").symlink_to(tmp_path / "disk" / "real.mp4")
    assert fetch(request_for(origin, tmp_path / "film.mp4")).path == tmp_path / "film.mp4"
    assert (tmp_path / "film.mp4").is_symlink()
    assert (tmp_path / "disk" / "real.mp4").read_bytes() == DATA
    assert fetch(request_for(origin, tmp_path / "film.mp4")).reused


def test_an_unnamed_download_never_replaces_an_unknown_file(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"mine")
    (tmp_path / "film (1).mp4").write_bytes(b"mine too")
    assert fetch(request_for(origin, tmp_path)).path.name == "film (2).mp4"
    again = fetch(request_for(origin, tmp_path))
    assert (again.path.name, again.reused) == ("film (2).mp4", True)
    origin.film = OTHER
    assert fetch(request_for(origin, tmp_path)).path.read_bytes() == OTHER.data
    assert visible_names(tmp_path) == {"film.mp4", "film (1).mp4", "film (2).mp4"}
    assert (tmp_path / "film.mp4").read_bytes() == b"mine"


def test_two_addresses_with_one_name_become_two_files(origin: Origin, tmp_path: Path) -> None:
    for host in ("a", "b"):
        fetch(DownloadRequest.of(f"{origin.base}/{host}/film.mp4", tmp_path, retry=QUICK))
    assert visible_names(tmp_path) == {"film.mp4", "film (1).mp4"}


def test_an_unnamed_download_never_replaces_a_modified_file(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path))
    (tmp_path / "film.mp4").write_bytes(b"cut down by its owner")
    result = fetch(request_for(origin, tmp_path))
    assert (result.path.name, result.reused) == ("film (1).mp4", False)
    assert (tmp_path / "film.mp4").read_bytes() == b"cut down by its owner"


def test_a_removed_file_is_downloaded_under_the_same_name(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path)).path.unlink()
    result = fetch(request_for(origin, tmp_path))
    assert (result.path.name, result.reused) == ("film.mp4", False)


def test_the_number_of_files_of_one_name_is_limited(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "MAX_SAME_NAMES", 2)
    for name in ("film.mp4", "film (1).mp4"):
        (tmp_path / name).touch()
    with pytest.raises(StorageError, match="pass a file name"):
        fetch(request_for(origin, tmp_path))


# Refresh and reuse.


def test_an_unchanged_source_costs_one_conditional_request(origin: Origin, tmp_path: Path) -> None:
    first = fetch(request_for(origin, tmp_path / "a.mp4"))
    again = fetch(request_for(origin, tmp_path / "a.mp4"))
    assert dataclasses.replace(again, elapsed_s=0) == dataclasses.replace(
        first, elapsed_s=0, reused=True
    )
    assert [request.sent_bytes for request in origin.requests] == [len(DATA), 0]
    assert origin.requests[1].headers["if-none-match"] == '"v1"'
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("film", "asks"),
    [
        pytest.param(Film(DATA, etag='W/"v1"'), True, id="weak-etag"),
        pytest.param(Film(DATA, etag=None, modified_s=OLD_S), True, id="old-date"),
        pytest.param(Film(DATA, etag=None), False, id="nothing"),
    ],
)
def test_any_validator_makes_the_next_request_conditional(
    film: Film, asks: bool, tmp_path: Path
) -> None:
    with Origin(film) as origin:
        fetch(request_for(origin, tmp_path / "a.mp4"))
        assert fetch(request_for(origin, tmp_path / "a.mp4")).reused is asks


def test_a_changed_source_is_fetched_again(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path / "a.mp4"))
    origin.film = OTHER
    result = fetch(request_for(origin, tmp_path / "a.mp4"))
    assert (result.reused, result.etag) == (False, '"v2"')
    assert result.path.read_bytes() == OTHER.data


def test_a_failed_refresh_keeps_the_old_file(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path / "a.mp4"))
    origin.film, origin.otherwise = OTHER, cut(100_000)
    with pytest.raises(TransportError):
        fetch(request_for(origin, tmp_path / "a.mp4", retry=RetryPolicy(attempts=1)))
    assert (tmp_path / "a.mp4").read_bytes() == DATA
    origin.film, origin.otherwise = FILM, honest
    assert fetch(request_for(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA


def test_a_part_file_that_cannot_be_read_is_unlocked(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails while the journal is read."""

    def fails(_part: PartFile) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "load", fails)
        with pytest.raises(StorageError, match="Input/output error"):
            fetch(request_for(origin, tmp_path / "a.mp4"))
    assert not origin.requests
    assert fetch(request_for(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA
    assert leftovers(tmp_path) == []


PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>" + b" " * 5000


@pytest.mark.parametrize("knows_digest", [False, True], ids=["asks", "by-its-digest"])
def test_a_page_that_was_saved_unchecked_is_refused_later(
    knows_digest: bool, tmp_path: Path
) -> None:
    """The saved file is unchanged."""
    path = tmp_path / "a.mp4"
    digest = f"sha256:{hashlib.sha256(PAGE).hexdigest()}" if knows_digest else None
    with Origin(Film(PAGE)) as origin:
        fetch(request_for(origin, path, check_video=False))
        with pytest.raises(NotAVideo, match="the file is unchanged") as caught:
            fetch(request_for(origin, path, checksum=digest))
        assert (caught.value.title, caught.value.url) == ("Sign in", origin.url)
        assert (caught.value.resumable_bytes, origin.sent_bytes) == (0, len(PAGE))
        assert str(path) in str(caught.value)
        assert path.read_bytes() == PAGE
        assert fetch(request_for(origin, path, check_video=False)).reused
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("knows_digest", [False, True], ids=["asks", "by-its-digest"])
def test_a_finished_file_above_max_bytes_is_not_reused(
    knows_digest: bool, origin: Origin, tmp_path: Path
) -> None:
    path = fetch(request_for(origin, tmp_path / "a.mp4")).path
    options = {"checksum": SHA256} if knows_digest else {}
    with pytest.raises(TooLarge, match="the file is unchanged; raise max_bytes") as caught:
        fetch(request_for(origin, path, max_bytes=len(DATA) - 1, **options))
    assert caught.value.url == origin.url
    assert path.read_bytes() == DATA
    assert fetch(request_for(origin, path, max_bytes=len(DATA), **options)).reused
    origin.film = Film(DATA[:1000], etag='"v2"')  # a smaller version is fetched
    assert (
        fetch(request_for(origin, path, max_bytes=len(DATA) - 1)).path.read_bytes() == DATA[:1000]
    )


@pytest.mark.parametrize("change", ["write", "remove"])
def test_a_file_removed_during_revalidation_is_fetched_again(
    change: str, origin: Origin, tmp_path: Path
) -> None:
    path = fetch(request_for(origin, tmp_path / "a.mp4")).path

    def meanwhile(exchange: Exchange) -> None:
        path.write_bytes(b"?") if change == "write" else path.unlink()
        honest(exchange)

    origin.script = [meanwhile]
    result = fetch(request_for(origin, path))
    assert not result.reused
    assert path.read_bytes() == DATA
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("change", ["write", "remove"])
def test_a_modified_file_is_fetched_again(change: str, origin: Origin, tmp_path: Path) -> None:
    path = fetch(request_for(origin, tmp_path / "a.mp4")).path
    path.write_bytes(b"?") if change == "write" else path.unlink()
    assert not fetch(request_for(origin, path)).reused
    assert path.read_bytes() == DATA


def test_another_address_for_the_same_file_replaces_it(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path / "a.mp4"))
    with Origin(Film(OTHER.data)) as other:  # with the same ETag
        result = fetch(request_for(other, tmp_path / "a.mp4"))
        assert "if-none-match" not in other.requests[0].headers
    assert result.path.read_bytes() == OTHER.data


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "damaged"])
def test_after_a_reboot_the_digest_is_checked(
    is_whole: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may leave zeros in a file with the right length and date."""
    path = fetch(request_for(origin, tmp_path / "a.mp4")).path
    if not is_whole:
        before = path.stat()
        path.write_bytes(bytes(len(DATA)))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr(part_file, "boot_id", lambda: "another boot")
    assert fetch(request_for(origin, path)).reused is is_whole
    assert path.read_bytes() == DATA


SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
MD5 = f"md5:{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}"


@pytest.mark.parametrize("checksum", [SHA256, MD5], ids=["sha256", "md5"])
@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_a_file_with_the_right_digest_needs_no_request(
    checksum: str, came_from: str, origin: Origin, tmp_path: Path
) -> None:
    if came_from == "vidnb":
        fetch(request_for(origin, tmp_path / "a.mp4"))
    else:
        (tmp_path / "a.mp4").write_bytes(DATA)
    request = len(origin.requests)
    result = fetch(request_for(origin, tmp_path / "a.mp4", checksum=checksum))
    assert (result.reused, result.sha256) == (True, SHA256[7:])
    assert len(origin.requests) == request


@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_a_file_with_another_digest_is_fetched_again(
    came_from: str, origin: Origin, tmp_path: Path
) -> None:
    """Without a conditional request: the existing file is not the expected one."""
    if came_from == "vidnb":
        origin.film = Film(OTHER.data)
        fetch(request_for(origin, tmp_path / "a.mp4"))
        origin.film = FILM
    else:
        (tmp_path / "a.mp4").write_bytes(OTHER.data)
    result = fetch(request_for(origin, tmp_path / "a.mp4", checksum=SHA256))
    assert not result.reused
    assert result.path.read_bytes() == DATA


def test_if_exists_overwrite_always_fetches(origin: Origin, tmp_path: Path) -> None:
    for path in (tmp_path / "a.mp4", tmp_path):
        for _ in range(2):
            assert not fetch(request_for(origin, path, if_exists="overwrite")).reused
    assert visible_names(tmp_path) == {"a.mp4", "film.mp4"}
    assert [request.sent_bytes for request in origin.requests] == [len(DATA)] * 4


@pytest.mark.parametrize("by_name", [True, False], ids=["file", "folder"])
@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_if_exists_error_keeps_an_existing_file(
    by_name: bool, came_from: str, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4" if by_name else tmp_path
    if came_from == "vidnb":
        fetch(request_for(origin, path, if_exists="error"))
    else:
        (tmp_path / "film.mp4").write_bytes(DATA)
    request = len(origin.requests)
    with pytest.raises(StorageError, match="exists and if_exists='error'") as caught:
        fetch(request_for(origin, path, if_exists="error"))
    assert caught.value.url == origin.url
    if by_name or came_from == "vidnb":
        assert len(origin.requests) == request
    assert visible_names(tmp_path) == {"film.mp4"}
    # The name came with the body, so the bytes are stored; another `if_exists` can use them.
    assert caught.value.resumable_bytes == (0 if by_name or came_from == "vidnb" else len(DATA))
    origin.requests.clear()
    assert fetch(request_for(origin, path)).path.read_bytes() == DATA
    if caught.value.resumable_bytes:
        assert origin.sent_bytes == 0


def test_if_exists_error_keeps_a_modified_file(origin: Origin, tmp_path: Path) -> None:
    fetch(request_for(origin, tmp_path, if_exists="error")).path.write_bytes(b"mine")
    with pytest.raises(StorageError, match="exists and if_exists"):
        fetch(request_for(origin, tmp_path, if_exists="error"))
    assert (tmp_path / "film.mp4").read_bytes() == b"mine"


def test_if_exists_error_keeps_a_file_created_meanwhile(origin: Origin, tmp_path: Path) -> None:
    def meanwhile(exchange: Exchange) -> None:
        (tmp_path / "a.mp4").write_bytes(b"somebody's")
        exchange.respond(exchange.response())

    origin.script = [meanwhile]
    with pytest.raises(StorageError, match="exists and if_exists"):
        fetch(request_for(origin, tmp_path / "a.mp4", if_exists="error"))
    assert (tmp_path / "a.mp4").read_bytes() == b"somebody's"


def test_a_download_succeeds_although_its_record_cannot_be_written(
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The disk is full after the last byte; the file is complete."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordStore, "save", full)
    assert fetch(request_for(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA
    assert "was not saved: No space left on device" in caplog.text


def died(part: PartFile, *, keep: bool) -> None:
    """Leave the disk as a killed process does."""
    part._file.close()
    if part._journal is not None:
        part._journal.close()


@pytest.mark.parametrize("has_changed", [True, False])
def test_a_kill_between_link_and_unlink_keeps_the_published_file(
    has_changed: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part file is then the published file; truncating it would destroy both."""

    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if not missing_ok:
            raise RuntimeError("killed")
        unlink(path, missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(part_file.PartFile, "close", died)
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(RuntimeError, match="killed"):
            fetch(request_for(origin, tmp_path))
    assert (tmp_path / "film.mp4").stat().st_nlink == 2
    if has_changed:
        origin.film = OTHER
    with (tmp_path / "film.mp4").open("rb") as published:
        result = fetch(request_for(origin, tmp_path))
        assert published.read() == DATA  # it may be replaced, but never written to
    assert result.path == tmp_path / "film.mp4"
    assert result.path.read_bytes() == origin.film.data
    assert result.path.stat().st_nlink == 1
    assert result.reused is not has_changed


def test_a_complete_part_file_needs_one_conditional_request(origin: Origin, tmp_path: Path) -> None:
    """Killed between the last journal entry and publishing."""
    part = tmp_path / ".vidnb"
    with Origin(
        dataclasses.replace(FILM, headers=(("Content-Disposition", "attachment; filename=n.mp4"),))
    ) as front:

        def keep(exchange: Exchange) -> None:
            exchange.respond(exchange.response(), after=len(DATA) - 1)
            front.wait_for(lambda: bool(list(part.glob("*.journal"))))
            exchange.close_connection()

        front.script = [keep]
        with pytest.raises(TransportError):
            fetch(request_for(front, tmp_path, retry=RetryPolicy(attempts=1)))
        journal = stored_journal(tmp_path)
        assert journal is not None
        assert journal.stored.size_bytes == len(DATA) - 1
        result = fetch(request_for(front, tmp_path))
        assert front.ranges == [None, f"bytes={len(DATA) - 1}-"]
        assert front.sent_bytes == len(DATA)
        assert result.path.name == "n.mp4"


@pytest.mark.parametrize("ignores", [True, False], ids=["200", "304"])
def test_a_complete_part_file_is_published_after_one_request(
    ignores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last journal entry and publishing."""
    headers = (("Content-Disposition", "attachment; filename=n.mp4"),)
    with Origin(dataclasses.replace(FILM, headers=headers)) as front:
        with monkeypatch.context() as patch:

            def killed(*_: object, **__: object) -> None:
                raise RuntimeError("killed")

            patch.setattr(part_file.PartFile, "publish", killed)
            with pytest.raises(RuntimeError, match="killed"):
                fetch(request_for(front, tmp_path))
        if ignores:
            front.otherwise = lambda exchange: exchange.respond(
                exchange.response(ignoring=exchange.request.headers), after=0
            )
        front.requests.clear()
        result = fetch(request_for(front, tmp_path))
        assert front.requests[0].headers["if-none-match"] == '"v1"'
        assert front.sent_bytes == 0
        assert result.path.read_bytes() == DATA
        assert result.path.name == ("n.mp4" if ignores else "film.mp4")


@pytest.mark.parametrize("step", ["before", "after"])
@pytest.mark.parametrize("by_name", [True, False], ids=["file", "folder"])
def test_after_a_kill_next_to_publishing_nothing_is_fetched_again(
    step: str, by_name: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before publishing the part file is complete; after it the record names the file."""
    path = tmp_path / "film.mp4" if by_name else tmp_path
    publish = PartFile.publish

    def killed(part: PartFile, *where: Any, **how: Any) -> None:
        if step == "after":
            monkeypatch.setattr(PartFile, "_forget", lambda _part: None)
            publish(part, *where, **how)
        died(part, keep=True)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "publish", killed)
        patch.setattr(PartFile, "close", died)
        with pytest.raises(RuntimeError, match="killed"):
            fetch(request_for(origin, path))
    monkeypatch.undo()
    result = fetch(request_for(origin, path))
    assert result.reused is (step == "after")
    assert result.path == tmp_path / "film.mp4"
    assert result.path.read_bytes() == DATA
    assert [request.sent_bytes for request in origin.requests] == [len(DATA), 0]
    assert leftovers(tmp_path) == []
    assert fetch(request_for(origin, path)).reused


def test_a_modification_time_set_by_the_file_server_is_recorded(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server may set the time when the last write arrives."""
    monkeypatch.setattr(PartFile, "modified_ns", lambda _part: 1)
    fetch(request_for(origin, tmp_path / "a.mp4"))
    assert fetch(request_for(origin, tmp_path / "a.mp4")).reused


# Several downloads at once.


def test_equal_requests_share_one_download(slow: Origin, tmp_path: Path) -> None:
    slow.rate = 20e6
    handles = [DownloadHandle() for _ in range(3)]
    same = [
        transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handle))
        for handle in handles
    ]
    results = [future.result(DEADLINE_S) for future in same]
    assert results[0] is results[1] is results[2]
    assert len(slow.requests) == 1
    assert handles[0].status is handles[2].status
    assert handles[2].status.phase is Phase.DONE


def test_a_shared_download_continues_when_one_caller_is_cancelled(
    slow: Origin, tmp_path: Path
) -> None:
    slow.rate = 10e6
    first, second = (
        transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), DownloadHandle()))
        for _ in range(2)
    )
    slow.wait_for(lambda: slow.sent_bytes > 10_000)
    first.cancel()
    assert second.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert len(slow.requests) == 1


def test_a_caller_that_joins_a_paused_download_sees_it_paused(slow: Origin, tmp_path: Path) -> None:
    handles = DownloadHandle(), DownloadHandle()
    handles[0].pause()
    first = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handles[0]))
    slow.wait_for(lambda: len(slow.requests) == 1)
    second = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handles[1]))
    slow.wait_for(lambda: handles[1].status is handles[0].status)
    slow.rate = None
    handles[1].resume()
    assert first.result(DEADLINE_S) is second.result(DEADLINE_S)


def test_a_download_started_during_cancellation_resumes(slow: Origin, tmp_path: Path) -> None:
    """A cell that is re-run after an interrupt waits for the cleanup, then resumes."""
    for _ in range(5):
        handle = DownloadHandle()
        first = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handle))
        slow.wait_for(partial(has_stored, handle))
        first.cancel()
        slow.rate = 10e6
    slow.rate = None
    result = transfers.run(
        download(request_for(slow, tmp_path / "a.mp4"), DownloadHandle()), timeout_s=DEADLINE_S
    )
    assert result.resumed_from_bytes > 0
    assert result.path.read_bytes() == SLOW.data
    assert leftovers(tmp_path) == []


def test_different_requests_for_one_file_run_one_after_another(
    slow: Origin, tmp_path: Path
) -> None:
    slow.rate = 20e6
    handles = DownloadHandle(), DownloadHandle()
    first = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handles[0]))
    slow.wait_for(lambda: len(slow.requests) == 1)
    second = transfers.submit(
        download(request_for(slow, tmp_path / "a.mp4", max_bytes=10**9), handles[1])
    )
    assert not first.result(DEADLINE_S).reused
    assert second.result(DEADLINE_S).reused
    assert slow.sent_bytes == len(SLOW.data)


def test_one_file_under_two_paths_is_never_mixed_up(slow: Origin, tmp_path: Path) -> None:
    """Only the lock of the part file shows that both are one file."""
    slow.rate = 20e6
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    running = [
        transfers.submit(download(request_for(slow, tmp_path / name / "a.mp4"), DownloadHandle()))
        for name in ("real", "link")
    ]
    for future in running:
        assert future.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert leftovers(tmp_path / "real") == []


def test_bytes_in_a_private_part_file_are_not_reported_as_kept(
    slow: Origin, tmp_path: Path
) -> None:
    """Another process has locked the part file, so this one is never resumed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    is_delayed = transfers.submit(
        download(request_for(slow, tmp_path / "real" / "a.mp4"), DownloadHandle())
    )
    slow.wait_for(lambda: len(slow.requests) == 1)
    slow.script = [cut(500_000)]
    other = request_for(
        slow, tmp_path / "link" / "a.mp4", connections=1, retry=RetryPolicy(attempts=1)
    )
    with pytest.raises(TransportError, match="nothing was kept") as caught:
        fetch(other)
    assert caught.value.resumable_bytes == 0
    slow.rate = None
    assert is_delayed.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert leftovers(tmp_path / "real") == []


def test_many_failing_downloads_share_one_new_folder(origin: Origin, tmp_path: Path) -> None:
    """Each creates the folder, and removes it if it is empty; half of the downloads fail."""
    orders = [
        DownloadRequest.of(f"{origin.base}/{n}", tmp_path / "new" / f"{n}.mp4", retry=QUICK)
        for n in range(60)
    ]
    answers = {f"/{n}": honest if n % 2 else status(404) for n in range(60)}
    origin.otherwise = lambda exchange: answers[exchange.request.target](exchange)
    running = [transfers.submit(download(request, DownloadHandle())) for request in orders]
    errors = [future.exception(20) for future in running]
    assert {type(error) for error in errors[::2]} == {vidnb.StatusError}
    assert errors[1::2] == [None] * 30


# Pause and cancel.


def wait_until_still(origin: Origin, handle: DownloadHandle) -> None:
    """Wait until a paused download receives nothing more."""
    origin.wait_for(lambda: handle.status.phase is Phase.PAUSED)
    seen = -1
    while seen != handle.status.done_bytes:
        seen = handle.status.done_bytes
        time.sleep(0.4)


@pytest.mark.parametrize("connections", [1, 3])
def test_pause_and_resume(connections: int, tmp_path: Path) -> None:
    film = Film(noise(30_000_000))
    with Origin(film, rate=20e6) as origin:
        handle = DownloadHandle()
        request = request_for(origin, tmp_path / "a.mp4", connections=connections)
        running = transfers.submit(download(request, handle))
        origin.wait_for(lambda: handle.status.done_bytes > 0)
        handle.pause()
        wait_until_still(origin, handle)
        done = handle.status.done_bytes
        assert 0 < done < len(film.data)
        assert handle.status.resumable_bytes == done
        origin.rate = None
        handle.resume()
        origin.wait_for(lambda: handle.status.phase is not Phase.PAUSED)
        assert running.result(DEADLINE_S).path.read_bytes() == film.data
        assert handle.status.phase is Phase.DONE


def test_pause_outlasts_the_idle_timeout_and_a_lost_connection(tmp_path: Path) -> None:
    with Origin(SLOW, [reset(1_000_000)], rate=10e6) as origin:
        handle = DownloadHandle()
        request = request_for(origin, tmp_path / "a.mp4", idle_timeout_s=IDLE_S)
        running = transfers.submit(download(request, handle))
        origin.wait_for(lambda: origin.sent_bytes > 100_000)
        handle.pause()
        wait_until_still(origin, handle)
        time.sleep(1.5 * IDLE_S)
        handle.resume()
        assert running.result(DEADLINE_S).path.read_bytes() == SLOW.data


def test_pause_before_the_start(origin: Origin, tmp_path: Path) -> None:
    handle = DownloadHandle()
    handle.pause()
    running = transfers.submit(download(request_for(origin, tmp_path / "a.mp4"), handle))
    origin.wait_for(lambda: handle.status.phase is Phase.PAUSED)
    assert handle.status.done_bytes == 0
    handle.resume()
    assert running.result(DEADLINE_S).path.read_bytes() == DATA


def test_cancel_while_paused(slow: Origin, tmp_path: Path) -> None:
    handle = DownloadHandle()
    running = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handle))
    slow.wait_for(lambda: slow.sent_bytes > 100_000)
    handle.pause()
    slow.wait_for(lambda: handle.status.phase is Phase.PAUSED)
    running.cancel()
    slow.wait_for(lambda: handle.status.phase is Phase.CANCELLED)
    assert "are kept in" in handle.status.note


def test_cancel_keeps_every_byte_that_arrived(slow: Origin, tmp_path: Path) -> None:
    """Bytes that were not yet written are written, and counted in the note."""
    handle = DownloadHandle()
    running = transfers.submit(download(request_for(slow, tmp_path / "a.mp4"), handle))
    slow.wait_for(lambda: slow.sent_bytes > 200_000)
    running.cancel()
    slow.wait_for(lambda: handle.status.phase is Phase.CANCELLED)
    journal = stored_journal(tmp_path)
    assert journal is not None
    assert journal.stored.size_bytes == handle.status.resumable_bytes > 100_000
    slow.rate = None
    result = fetch(request_for(slow, tmp_path / "a.mp4"))
    assert result.resumed_from_bytes == handle.status.resumable_bytes
    assert slow.ranges[-1] == f"bytes={handle.status.resumable_bytes}-"


def test_cancel_at_any_moment_leaves_nothing_open(tmp_path: Path) -> None:
    """No file, connection or lock remains open and no stored byte is lost."""
    random = Random(7)
    resumable_bytes = 0
    with Origin(SLOW, rate=5e6) as origin:
        for _ in range(60):
            running = transfers.submit(
                download(request_for(origin, tmp_path / "a.mp4"), DownloadHandle())
            )
            time.sleep(random.random() ** 2 * 0.02)
            running.cancel()
            origin.wait_for(partial(ended, running))
            journal = stored_journal(tmp_path)
            now_bytes = 0 if journal is None else journal.stored.size_bytes
            assert now_bytes >= resumable_bytes
            resumable_bytes = now_bytes
        assert resumable_bytes > 0
        origin.rate = None
        assert fetch(request_for(origin, tmp_path / "a.mp4")).path.read_bytes() == SLOW.data
    assert leftovers(tmp_path) == []


def has_stored(handle: DownloadHandle) -> bool:
    return handle.status.resumable_bytes > 0


def ended(running: concurrent.futures.Future[DownloadResult]) -> bool:
    """Whether a cancelled download has cleaned up, or never began.

    Its future is done at once, so the loop is asked, after what was on its way there has arrived.
    """

    async def is_running() -> bool:
        for _ in range(3):
            await asyncio.sleep(0)
        return any(task.get_name() == "vidnb download" for task in asyncio.all_tasks())

    return running.done() and not transfers.run(is_running())


def test_cancelling_the_awaiting_task_stops_the_download(slow: Origin, tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(
            vidnb.download_async(slow.url, tmp_path / "a.mp4", progress=False)
        )
        await asyncio.to_thread(slow.wait_for, lambda: slow.sent_bytes > 200_000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    journal = stored_journal(tmp_path)
    assert journal is not None
    assert journal.stored.size_bytes > 0


# Processes.

GET = """
import sys, vidnb
result = vidnb.download(sys.argv[1], sys.argv[2], progress=False)
print(result.sha256, result.resumed_from_bytes)
"""


def test_an_interrupt_stops_and_keeps_the_part(slow: Origin, tmp_path: Path) -> None:
    child = spawn(GET, slow.url, tmp_path / "a.mp4")
    slow.wait_for(lambda: slow.sent_bytes > 600_000)
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert "The download of a.mp4 was interrupted: stopped;" in errors
    assert output == ""
    journal = stored_journal(tmp_path)
    assert journal is not None
    assert journal.stored.size_bytes > 300_000
    slow.rate = None
    child = spawn(GET, slow.url, tmp_path / "a.mp4")
    output, errors = child.communicate(timeout=DEADLINE_S)
    assert output.split() == [
        hashlib.sha256(SLOW.data).hexdigest(),
        str(journal.stored.size_bytes),
    ], errors


def test_two_processes_on_one_target(tmp_path: Path) -> None:
    """One uses a private part file; the last one publishes a whole file."""
    with Origin(SLOW, rate=6e6) as origin:
        children = [spawn(GET, origin.url, tmp_path / "a.mp4") for _ in range(2)]
        for child in children:
            output, errors = child.communicate(timeout=DEADLINE_S)
            assert output.split()[0] == hashlib.sha256(SLOW.data).hexdigest(), errors
        assert len(origin.requests) >= 2
    assert visible_names(tmp_path) == {"a.mp4"}
    assert leftovers(tmp_path) == []


def test_part_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    """The private part file is removed; the other one is resumed."""
    with Origin(SLOW, rate=3e5) as origin:
        children = []
        for number in range(1, 3):
            children.append(spawn(GET, origin.url, tmp_path / "a.mp4"))
            origin.wait_for(partial(has_parts, tmp_path, number))
        origin.wait_for(lambda: bool(list(tmp_path.glob(".vidnb/*.journal"))))
        for child in children:
            child.kill()
            child.communicate(timeout=DEADLINE_S)
        assert len(leftovers(tmp_path)) == 3
        origin.rate = None
        result = fetch(request_for(origin, tmp_path / "a.mp4"))
    assert result.path.read_bytes() == SLOW.data
    assert result.resumed_from_bytes > 0
    assert leftovers(tmp_path) == []


def has_parts(folder: Path, number: int) -> bool:
    return len(list(folder.glob(".vidnb/*.part"))) == number


FORK = """
import os, sys, warnings, vidnb
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads may deadlock
url, folder = sys.argv[1:]
vidnb.download(url, f"{folder}/before.mp4", progress=False)
job = vidnb.start_download(url, f"{folder}/job.mp4")
child = os.fork()
if not child:
    result = vidnb.download(url, f"{folder}/child.mp4", progress=False)
    again = vidnb.download(url, f"{folder}/job.mp4", progress=False)
    os._exit(0 if result.size_bytes == again.size_bytes else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), job.result(10).size_bytes)
"""


def test_a_forked_child_uses_no_connection_of_its_parent(slow: Origin, tmp_path: Path) -> None:
    slow.rate = 10e6
    child = spawn(FORK, slow.url, tmp_path)
    output, errors = child.communicate(timeout=DEADLINE_S)
    assert output.split() == ["0", str(len(SLOW.data))], errors
    for name in ("before", "job", "child"):
        assert (tmp_path / f"{name}.mp4").read_bytes() == SLOW.data


MEMORY = """
import resource, sys, vidnb
from vidnb.download import registry
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
vidnb.download(sys.argv[1], sys.argv[2] + "/small.mp4", max_bytes=300_000_000, progress=False)
before = peak()
vidnb.download(sys.argv[1] + "?big", sys.argv[2] + "/big.mp4", progress=False)
print((peak() - before) / 1024)
"""


def test_memory_stays_below_100_mib(tmp_path: Path) -> None:
    """200 MB, hashed and written, from an origin in another process."""
    big, small = noise(2**20) * 200, noise(10_000)

    def either(exchange: Exchange) -> None:
        exchange.origin.film = Film(big if "big" in exchange.request.target else small)
        exchange.respond(exchange.response())

    with Origin(FILM, otherwise=either) as origin:
        child = spawn(MEMORY, origin.url, tmp_path)
        output, errors = child.communicate(timeout=DEADLINE_S)
    assert float(output) < 100, errors
    assert (tmp_path / "big.mp4").stat().st_size == len(big)


# A session of the caller.


def test_a_session_of_the_caller_is_used_and_stays_open(origin: Origin, tmp_path: Path) -> None:
    """Its headers are not sent to another origin."""

    async def main() -> DownloadResult:
        async with aiohttp.ClientSession(headers={"X-Key": "s3cret"}) as session:
            result = await vidnb.download_async(
                front.url, tmp_path / "a.mp4", session=session, progress=False
            )
            assert not session.closed
            return result

    with Origin(FILM, [redirect("/again"), redirect(origin.url)]) as front:
        assert asyncio.run(main()).path.read_bytes() == DATA
        assert [request.headers.get("x-key") for request in front.requests] == ["s3cret"] * 2
        assert "x-key" not in origin.requests[0].headers


def test_a_session_with_auto_decompress_stores_no_decoded_bytes(tmp_path: Path) -> None:
    import gzip

    packed = status(200, {"Content-Encoding": "gzip"}, gzip.compress(DATA))

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await vidnb.download_async(
                packing.url, tmp_path / "a.mp4", session=session, progress=False
            )

    with Origin(FILM, otherwise=packed) as packing, pytest.raises(vidnb.RemoteProtocolError):
        asyncio.run(main())


def test_a_blocking_call_with_a_session_of_another_loop(origin: Origin, tmp_path: Path) -> None:
    """The loop runs in another thread, as in a server that uses vidnb."""
    with other_loop() as loop:

        async def make() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        session = asyncio.run_coroutine_threadsafe(make(), loop).result(DEADLINE_S)
        result = vidnb.download(origin.url, tmp_path / "a.mp4", session=session, progress=False)
        assert result.path.read_bytes() == DATA
        asyncio.run_coroutine_threadsafe(session.close(), loop).result(DEADLINE_S)


@contextmanager
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


# Arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"if_exists": "maybe"}, "must be 'refresh'", id="if-exists"),
        pytest.param(
            {"max_bytes": 0}, "max_bytes=0 must be an integer of at least 1", id="max-bytes"
        ),
        pytest.param(
            {"connections": 0}, "connections=0 must be an integer of at least 1", id="connections"
        ),
        pytest.param(
            {"idle_timeout_s": 0}, "must be a number of seconds above 0", id="idle-timeout"
        ),
        pytest.param({"idle_timeout_s": float("nan")}, "seconds above 0", id="idle-timeout-nan"),
        pytest.param({"checksum": "abc"}, "names no algorithm", id="checksum-no-name"),
        pytest.param({"checksum": "rot13:abc"}, "names no algorithm", id="checksum-unknown"),
        pytest.param({"checksum": "md5:abc"}, "32 hexadecimal digits", id="checksum-short"),
        pytest.param({"checksum": f"md5:{'z' * 32}"}, "32 hexadecimal", id="checksum-no-hex"),
        pytest.param({"checksum": "shake_128:ab"}, "is not a shake_128", id="checksum-no-length"),
        pytest.param(
            {"session": object(), "public_only": True}, "only one of the two", id="session-public"
        ),
        pytest.param({"headers": {"range": "bytes=5-"}}, "is managed by vidnb", id="header-range"),
        pytest.param({"headers": {"X": "a\r\nHost: b"}}, "control character", id="header-break"),
    ],
)
def test_a_bad_argument_is_a_value_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DownloadRequest.of("http://example.org/a.mp4", "a.mp4", **options)


def test_equal_arguments_make_equal_requests() -> None:
    def make(**options: Any) -> DownloadRequest:
        return DownloadRequest.of("http://example.org/a.mp4", "a.mp4", **options)

    assert make() == make(retry=RetryPolicy(), headers={}) != make(headers={"X": "1"})
    assert hash(make()) == hash(make())


def test_a_session_with_a_range_header_is_refused(origin: Origin, tmp_path: Path) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(headers={"Range": "bytes=5-"}) as session:
            with pytest.raises(ValueError, match=r"session\.headers=.*'Range'.*remove it"):
                await vidnb.download_async(origin.url, tmp_path / "a.mp4", session=session)

    asyncio.run(main())
    assert not origin.requests


# The public functions.


def test_a_failing_progress_function_does_not_fail_the_download(
    slow: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Progress] = []

    def broken(progress: Progress) -> None:
        calls.append(progress)
        raise RuntimeError("no front end")

    slow.rate = 4e6
    result = vidnb.download(slow.url, tmp_path / "a.mp4", progress=broken)
    assert result.path.read_bytes() == SLOW.data
    assert len(calls) == 1
    assert [r.levelno for r in caplog.records if r.exc_info] == [logging.ERROR]


@pytest.mark.parametrize("how", ["blocking", "await", "job"])
def test_progress_is_reported_up_to_the_last_byte(how: str, slow: Origin, tmp_path: Path) -> None:
    calls: list[Progress] = []
    slow.rate = 4e6
    path = tmp_path / "a.mp4"
    if how == "blocking":
        vidnb.download(slow.url, path, progress=calls.append)
    elif how == "await":
        asyncio.run(vidnb.download_async(slow.url, path, progress=calls.append))
    else:
        vidnb.start_download(slow.url, path, progress=calls.append).result(DEADLINE_S)
    assert 2 <= len(calls) <= 8
    assert calls[-1].done_bytes == calls[-1].total_bytes == len(SLOW.data)
    assert [p.done_bytes for p in calls] == sorted(p.done_bytes for p in calls)


def test_a_job(slow: Origin, tmp_path: Path) -> None:
    job = vidnb.start_download(slow.url, tmp_path / "a.mp4")
    slow.wait_for(lambda: job.progress.done_bytes > 0)
    assert [job.done] == [False]
    assert job.progress.total_bytes == len(SLOW.data)
    assert "a.mp4" in repr(job)
    with pytest.raises(TimeoutError):
        job.result(0.01)
    job.pause()
    slow.wait_for(lambda: "paused" in repr(job))
    slow.rate = None
    job.resume()
    result = job.result(DEADLINE_S)
    assert result.path.read_bytes() == SLOW.data
    assert [job.done] == [True]
    assert job.progress.fraction == 1.0
    assert "3.0 MB in" in repr(job)
    assert asyncio.run(awaited(job)) is result
    job.cancel()
    assert job.result() is result


async def awaited(job: vidnb.DownloadJob) -> DownloadResult:
    return await job


def test_a_job_that_is_cancelled(slow: Origin, tmp_path: Path) -> None:
    job = vidnb.start_download(slow.url, tmp_path / "a.mp4")
    slow.wait_for(lambda: job.progress.done_bytes > 0)
    job.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        job.result(DEADLINE_S)
    slow.wait_for(lambda: "cancelled" in repr(job))
    assert "are kept in" in repr(job)


def test_a_job_that_fails(origin: Origin, tmp_path: Path) -> None:
    origin.otherwise = status(404)
    job = vidnb.start_download(origin.url, tmp_path / "a.mp4")
    with pytest.raises(vidnb.StatusError, match="404 Not Found"):
        job.result(DEADLINE_S)
    with pytest.raises(vidnb.StatusError):
        asyncio.run(awaited(job))
    assert "404" in repr(job)
    assert visible_names(tmp_path) == set()


def test_an_interrupted_wait_for_a_job_leaves_it_running(slow: Origin, tmp_path: Path) -> None:
    job = vidnb.start_download(slow.url, tmp_path / "a.mp4")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(job), 0.1)

    asyncio.run(main())
    assert not job.done
    slow.rate = None
    assert job.result(DEADLINE_S).path.read_bytes() == SLOW.data


@pytest.mark.parametrize(
    ("film", "knows_digest", "line"),
    [
        pytest.param(
            Film(DATA, modified_s=OLD_S),
            False,
            "already downloaded; the source has not changed since 14 Nov 2023",
            id="with-its-date",
        ),
        pytest.param(
            FILM, False, "already downloaded; the source has not changed", id="without-a-date"
        ),
        pytest.param(FILM, True, "already downloaded; the sha256 digest matches", id="by-digest"),
    ],
)
def test_a_reused_file_has_its_reason_in_the_note(
    film: Film, knows_digest: bool, line: str, tmp_path: Path
) -> None:
    with Origin(film) as origin:
        fetch(request_for(origin, tmp_path / "a.mp4"))
        handle = DownloadHandle()
        fetch(
            request_for(origin, tmp_path / "a.mp4", checksum=SHA256 if knows_digest else None),
            handle,
        )
    assert handle.status.note == line


@pytest.mark.parametrize("connections", [1, 2])
def test_a_resumed_download_has_its_start_in_the_note(connections: int, tmp_path: Path) -> None:
    with Origin(SLOW, [cut(1_000_000)]) as origin:
        with suppress(TransferError):
            fetch(request_for(origin, tmp_path / "a.mp4", retry=RetryPolicy(attempts=1)))
        handle = DownloadHandle()
        origin.script = [stall(0)] if connections == 1 else []
        result = fetch(
            request_for(origin, tmp_path / "a.mp4", connections=connections, idle_timeout_s=IDLE_S),
            handle,
        )
        assert result.resumed_from_bytes == 1_000_000
        assert "resumed from 1.0 MB" in handle.status.note
        assert ("1 retry" in handle.status.note) is (connections == 1)


def test_the_status_goes_through_the_phases(slow: Origin, tmp_path: Path) -> None:
    """From connecting to done, with the reason and the time of each wait."""
    seen: list[tuple[Phase, str]] = []
    handle = DownloadHandle()

    def look() -> Callable[[], None]:
        def tick() -> None:
            now = (handle.status.phase, handle.status.note)
            if not seen or seen[-1] != now:
                seen.append(now)

        return tick

    look()()
    slow.rate, slow.script = 6e6, [status(503, {"Retry-After": "1"})]
    transfers.run(
        download(request_for(slow, tmp_path / "a.mp4"), handle),
        tick=look(),
        tick_s=0.005,
        timeout_s=DEADLINE_S,
    )
    look()()
    phases = [phase for phase, _ in seen]
    assert phases[0] is Phase.CONNECTING
    assert phases[-1] is Phase.DONE
    assert (Phase.WAITING, "the origin answered 503; trying again in 1.0 s") in seen
    assert Phase.DOWNLOADING in phases
