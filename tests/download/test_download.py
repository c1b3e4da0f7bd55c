"""The download from an order to a published file, with everything a person may do meanwhile."""

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
    held,
    honest,
    noise,
    redirect,
    reset,
    spawn,
    stall,
    status,
    strangers,
)
from vidnb.download import destination, part_file
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
    """An origin that takes three seconds for its film."""
    with Origin(SLOW, rate=1e6) as running:
        yield running


def order(origin: Origin, path: Path | str | None, **options: Any) -> DownloadRequest:
    """One connection unless the test says otherwise: on a busy machine more would be tried out."""
    return DownloadRequest.of(origin.url, path, **{"retry": QUICK, "connections": 1, **options})


def left_over(folder: Path) -> list[str]:
    """What lies in `.vidnb` beside records."""
    return [p.name for p in (folder / ".vidnb").iterdir() if p.suffix != ".record"]


# The result.


def test_the_result_describes_the_file(origin: Origin, tmp_path: Path) -> None:
    result = fetch(order(origin, tmp_path / "a.mp4"))
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
        result.path = Path()  # type: ignore[misc]  # that is the point


def test_a_result_without_validators_or_type(tmp_path: Path) -> None:
    with Origin(Film(DATA, etag=None, media_type="not a type")) as origin:
        result = fetch(order(origin, tmp_path / "a.mp4"))
    assert (result.etag, result.media_type) == (None, None)


def test_a_small_file_is_there_at_once(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bytes go to the disk when the stream ends, not when a timer says so."""
    monkeypatch.setattr("vidnb.download.writer.LATEST_S", 10 * DEADLINE_S)
    fetch(order(origin, tmp_path / "a.mp4"))


def test_the_connection_is_used_again(origin: Origin, tmp_path: Path) -> None:
    before = len(origin._threads)
    for number in range(4):
        fetch(order(origin, tmp_path / f"{number}.mp4"))
    assert len(origin._threads) == before + 1


def test_a_blocking_call_on_the_loop_fails() -> None:
    """The net under all other tests holds."""

    async def blocks() -> None:
        time.sleep(0)

    with pytest.raises(BlockingError):
        transfers.run(blocks())


# Where it goes.


@pytest.mark.parametrize(
    ("path", "becomes"),
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
def test_where_it_goes(
    path: str | None,
    becomes: str | None,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    if becomes is None:
        with pytest.raises(ValueError, match="is no path"):
            order(origin, path)
        return
    assert fetch(order(origin, path)).path == tmp_path / becomes
    assert (tmp_path / becomes).read_bytes() == DATA


def test_a_change_of_the_working_folder_moves_nothing(
    slow: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    slow.rate = 10e6
    running = transfers.submit(download(order(slow, "x.mp4"), DownloadHandle()))
    slow.wait_for(lambda: slow.sent_bytes > 10_000)
    monkeypatch.chdir(tmp_path / "b")
    second = transfers.submit(download(order(slow, "x.mp4"), DownloadHandle()))
    assert running.result(DEADLINE_S).path == tmp_path / "a" / "x.mp4"
    assert second.result(DEADLINE_S).path == tmp_path / "b" / "x.mp4"
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.glob("*/*.mp4")) == [
        Path("a/x.mp4"),
        Path("b/x.mp4"),
    ]


def test_a_link_stays_a_link(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "film.mp4").symlink_to(tmp_path / "disk" / "real.mp4")
    assert fetch(order(origin, tmp_path / "film.mp4")).path == tmp_path / "film.mp4"
    assert (tmp_path / "film.mp4").is_symlink()
    assert (tmp_path / "disk" / "real.mp4").read_bytes() == DATA
    assert fetch(order(origin, tmp_path / "film.mp4")).reused


def test_a_name_nobody_chose_never_replaces_a_strangers_file(
    origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"mine")
    (tmp_path / "film (1).mp4").write_bytes(b"mine too")
    assert fetch(order(origin, tmp_path)).path.name == "film (2).mp4"
    again = fetch(order(origin, tmp_path))
    assert (again.path.name, again.reused) == ("film (2).mp4", True)
    origin.film = OTHER
    assert fetch(order(origin, tmp_path)).path.read_bytes() == OTHER.data
    assert strangers(tmp_path) == {"film.mp4", "film (1).mp4", "film (2).mp4"}
    assert (tmp_path / "film.mp4").read_bytes() == b"mine"


def test_two_addresses_with_one_name_become_two_files(origin: Origin, tmp_path: Path) -> None:
    for host in ("a", "b"):
        fetch(DownloadRequest.of(f"{origin.base}/{host}/film.mp4", tmp_path, retry=QUICK))
    assert strangers(tmp_path) == {"film.mp4", "film (1).mp4"}


def test_a_name_nobody_chose_never_replaces_what_its_owner_changed(
    origin: Origin, tmp_path: Path
) -> None:
    fetch(order(origin, tmp_path))
    (tmp_path / "film.mp4").write_bytes(b"cut down by its owner")
    result = fetch(order(origin, tmp_path))
    assert (result.path.name, result.reused) == ("film (1).mp4", False)
    assert (tmp_path / "film.mp4").read_bytes() == b"cut down by its owner"


def test_a_file_that_was_removed_comes_back_under_its_name(origin: Origin, tmp_path: Path) -> None:
    fetch(order(origin, tmp_path)).path.unlink()
    result = fetch(order(origin, tmp_path))
    assert (result.path.name, result.reused) == ("film.mp4", False)


def test_a_thousand_files_of_one_name_are_enough(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "_MOST_NUMBERS", 2)
    for name in ("film.mp4", "film (1).mp4"):
        (tmp_path / name).touch()
    with pytest.raises(StorageError, match="name the file yourself"):
        fetch(order(origin, tmp_path))


# Again.


def test_an_unchanged_source_is_not_fetched_again(origin: Origin, tmp_path: Path) -> None:
    """One conditional request, and no body."""
    first = fetch(order(origin, tmp_path / "a.mp4"))
    again = fetch(order(origin, tmp_path / "a.mp4"))
    assert dataclasses.replace(again, elapsed_s=0) == dataclasses.replace(
        first, elapsed_s=0, reused=True
    )
    assert [asked.sent_bytes for asked in origin.requests] == [len(DATA), 0]
    assert origin.requests[1].headers["if-none-match"] == '"v1"'
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("film", "asks"),
    [
        pytest.param(Film(DATA, etag='W/"v1"'), True, id="weak-etag"),
        pytest.param(Film(DATA, etag=None, modified_s=OLD_S), True, id="old-date"),
        pytest.param(Film(DATA, etag=None), False, id="nothing"),
    ],
)
def test_what_tells_that_a_source_is_unchanged(film: Film, asks: bool, tmp_path: Path) -> None:
    with Origin(film) as origin:
        fetch(order(origin, tmp_path / "a.mp4"))
        assert fetch(order(origin, tmp_path / "a.mp4")).reused is asks


def test_a_changed_source_is_fetched_again(origin: Origin, tmp_path: Path) -> None:
    fetch(order(origin, tmp_path / "a.mp4"))
    origin.film = OTHER
    result = fetch(order(origin, tmp_path / "a.mp4"))
    assert (result.reused, result.etag) == (False, '"v2"')
    assert result.path.read_bytes() == OTHER.data


def test_a_changed_source_that_cannot_be_fetched_costs_nothing(
    origin: Origin, tmp_path: Path
) -> None:
    fetch(order(origin, tmp_path / "a.mp4"))
    origin.film, origin.otherwise = OTHER, cut(100_000)
    with pytest.raises(TransportError):
        fetch(order(origin, tmp_path / "a.mp4", retry=RetryPolicy(attempts=1)))
    assert (tmp_path / "a.mp4").read_bytes() == DATA
    origin.film, origin.otherwise = FILM, honest
    assert fetch(order(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA


def test_a_part_that_cannot_be_read_is_let_go(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails while the journal is read: an error, and no lock is left behind."""

    def fails(_part: PartFile) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "load", fails)
        with pytest.raises(StorageError, match="Input/output error"):
            fetch(order(origin, tmp_path / "a.mp4"))
    assert not origin.requests
    assert fetch(order(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA
    assert left_over(tmp_path) == []


PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>" + b" " * 5000


@pytest.mark.parametrize("knows_digest", [False, True], ids=["asks", "by-its-digest"])
def test_a_page_saved_without_a_look_is_no_video_later(knows_digest: bool, tmp_path: Path) -> None:
    """The file an earlier run saved as it was stays where it is."""
    path = tmp_path / "a.mp4"
    digest = f"sha256:{hashlib.sha256(PAGE).hexdigest()}" if knows_digest else None
    with Origin(Film(PAGE)) as origin:
        fetch(order(origin, path, check_video=False))
        with pytest.raises(NotAVideo, match="the file stays as it is") as caught:
            fetch(order(origin, path, checksum=digest))
        assert (caught.value.title, caught.value.url) == ("Sign in", origin.url)
        assert (caught.value.resumable_bytes, origin.sent_bytes) == (0, len(PAGE))
        assert str(path) in str(caught.value)
        assert path.read_bytes() == PAGE
        assert fetch(order(origin, path, check_video=False)).reused
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("knows_digest", [False, True], ids=["asks", "by-its-digest"])
def test_a_file_larger_than_the_limit_is_not_used_again(
    knows_digest: bool, origin: Origin, tmp_path: Path
) -> None:
    path = fetch(order(origin, tmp_path / "a.mp4")).path
    options = {"checksum": SHA256} if knows_digest else {}
    with pytest.raises(TooLarge, match="the file stays as it is; raise max_bytes") as caught:
        fetch(order(origin, path, max_bytes=len(DATA) - 1, **options))
    assert caught.value.url == origin.url
    assert path.read_bytes() == DATA
    assert fetch(order(origin, path, max_bytes=len(DATA), **options)).reused
    origin.film = Film(DATA[:1000], etag='"v2"')  # and one that has become smaller is fetched
    assert fetch(order(origin, path, max_bytes=len(DATA) - 1)).path.read_bytes() == DATA[:1000]


@pytest.mark.parametrize("change", ["write", "remove"])
def test_a_file_taken_away_while_its_source_is_asked_is_fetched_again(
    change: str, origin: Origin, tmp_path: Path
) -> None:
    path = fetch(order(origin, tmp_path / "a.mp4")).path

    def meanwhile(exchange: Exchange) -> None:
        path.write_bytes(b"?") if change == "write" else path.unlink()
        honest(exchange)

    origin.script = [meanwhile]
    result = fetch(order(origin, path))
    assert not result.reused
    assert path.read_bytes() == DATA
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("change", ["write", "remove"])
def test_a_file_that_is_not_as_it_was_is_fetched_again(
    change: str, origin: Origin, tmp_path: Path
) -> None:
    path = fetch(order(origin, tmp_path / "a.mp4")).path
    path.write_bytes(b"?") if change == "write" else path.unlink()
    assert not fetch(order(origin, path)).reused
    assert path.read_bytes() == DATA


def test_another_address_for_the_same_file_replaces_it(origin: Origin, tmp_path: Path) -> None:
    fetch(order(origin, tmp_path / "a.mp4"))
    with Origin(Film(OTHER.data)) as other:  # with the very same ETag
        result = fetch(order(other, tmp_path / "a.mp4"))
        assert "if-none-match" not in other.requests[0].headers
    assert result.path.read_bytes() == OTHER.data


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "damaged"])
def test_after_another_boot_the_bytes_are_looked_at(
    is_whole: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may leave zeros in a file whose length and date are right."""
    path = fetch(order(origin, tmp_path / "a.mp4")).path
    if not is_whole:
        before = path.stat()
        path.write_bytes(bytes(len(DATA)))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr(part_file, "boot_id", lambda: "another boot")
    assert fetch(order(origin, path)).reused is is_whole
    assert path.read_bytes() == DATA


SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
MD5 = f"md5:{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}"


@pytest.mark.parametrize("checksum", [SHA256, MD5], ids=["sha256", "md5"])
@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_a_file_with_the_right_digest_needs_no_request(
    checksum: str, came_from: str, origin: Origin, tmp_path: Path
) -> None:
    if came_from == "vidnb":
        fetch(order(origin, tmp_path / "a.mp4"))
    else:
        (tmp_path / "a.mp4").write_bytes(DATA)
    asked = len(origin.requests)
    result = fetch(order(origin, tmp_path / "a.mp4", checksum=checksum))
    assert (result.reused, result.sha256) == (True, SHA256[7:])
    assert len(origin.requests) == asked


@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_a_file_with_another_digest_is_fetched_again(
    came_from: str, origin: Origin, tmp_path: Path
) -> None:
    """Not asked whether it changed: what stands there is not what is wanted."""
    if came_from == "vidnb":
        origin.film = Film(OTHER.data)
        fetch(order(origin, tmp_path / "a.mp4"))
        origin.film = FILM
    else:
        (tmp_path / "a.mp4").write_bytes(OTHER.data)
    result = fetch(order(origin, tmp_path / "a.mp4", checksum=SHA256))
    assert not result.reused
    assert result.path.read_bytes() == DATA


def test_overwrite_always_fetches(origin: Origin, tmp_path: Path) -> None:
    for path in (tmp_path / "a.mp4", tmp_path):
        for _ in range(2):
            assert not fetch(order(origin, path, if_exists="overwrite")).reused
    assert strangers(tmp_path) == {"a.mp4", "film.mp4"}
    assert [asked.sent_bytes for asked in origin.requests] == [len(DATA)] * 4


@pytest.mark.parametrize("by_name", [True, False], ids=["file", "folder"])
@pytest.mark.parametrize("came_from", ["vidnb", "elsewhere"])
def test_error_leaves_what_is_there(
    by_name: bool, came_from: str, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4" if by_name else tmp_path
    if came_from == "vidnb":
        fetch(order(origin, path, if_exists="error"))
    else:
        (tmp_path / "film.mp4").write_bytes(DATA)
    asked = len(origin.requests)
    with pytest.raises(StorageError, match="exists already and if_exists='error'") as caught:
        fetch(order(origin, path, if_exists="error"))
    assert caught.value.url == origin.url
    if by_name or came_from == "vidnb":
        assert len(origin.requests) == asked
    assert strangers(tmp_path) == {"film.mp4"}
    # Where the name came with the answer, the bytes came too: they wait for another `if_exists`.
    assert caught.value.resumable_bytes == (0 if by_name or came_from == "vidnb" else len(DATA))
    origin.requests.clear()
    assert fetch(order(origin, path)).path.read_bytes() == DATA
    if caught.value.resumable_bytes:
        assert origin.sent_bytes == 0


def test_error_leaves_what_its_owner_changed(origin: Origin, tmp_path: Path) -> None:
    fetch(order(origin, tmp_path, if_exists="error")).path.write_bytes(b"mine")
    with pytest.raises(StorageError, match="exists already"):
        fetch(order(origin, tmp_path, if_exists="error"))
    assert (tmp_path / "film.mp4").read_bytes() == b"mine"


def test_error_leaves_what_appeared_meanwhile(origin: Origin, tmp_path: Path) -> None:
    def meanwhile(exchange: Exchange) -> None:
        (tmp_path / "a.mp4").write_bytes(b"somebody's")
        exchange.say(exchange.judged())

    origin.script = [meanwhile]
    with pytest.raises(StorageError, match="exists already"):
        fetch(order(origin, tmp_path / "a.mp4", if_exists="error"))
    assert (tmp_path / "a.mp4").read_bytes() == b"somebody's"


def test_a_record_that_cannot_be_written_fails_no_download(
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The disk filled up with the very last byte, and the file is whole."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordStore, "save", full)
    assert fetch(order(origin, tmp_path / "a.mp4")).path.read_bytes() == DATA
    assert "is not remembered: No space left on device" in caplog.text


def died(part: PartFile, *, keep: bool) -> None:
    """Leave everything on the disk as it is, as the kernel does with a killed process."""
    part._file.close()
    if part._journal is not None:
        part._journal.close()


@pytest.mark.parametrize("has_changed", [True, False])
def test_a_kill_between_link_and_unlink_harms_nobody(
    has_changed: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part file is the published file then: emptied for another version, both would be gone."""

    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if not missing_ok:
            raise RuntimeError("killed")
        unlink(path, missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(part_file.PartFile, "close", died)
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(RuntimeError, match="killed"):
            fetch(order(origin, tmp_path))
    assert (tmp_path / "film.mp4").stat().st_nlink == 2
    if has_changed:
        origin.film = OTHER
    with (tmp_path / "film.mp4").open("rb") as published:
        result = fetch(order(origin, tmp_path))
        assert published.read() == DATA  # replaced perhaps, but never written to
    assert result.path == tmp_path / "film.mp4"
    assert result.path.read_bytes() == origin.film.data
    assert result.path.stat().st_nlink == 1
    assert result.reused is not has_changed


def test_the_last_step_alone_is_left(origin: Origin, tmp_path: Path) -> None:
    """Killed between the last mark and the publish: one conditional request, no body."""
    part = tmp_path / ".vidnb"
    with Origin(
        dataclasses.replace(FILM, headers=(("Content-Disposition", "attachment; filename=n.mp4"),))
    ) as front:

        def keep(exchange: Exchange) -> None:
            exchange.say(exchange.judged(), after=len(DATA) - 1)
            front.wait_for(lambda: bool(list(part.glob("*.journal"))))
            exchange.hang_up()

        front.script = [keep]
        with pytest.raises(TransportError):
            fetch(order(front, tmp_path, retry=RetryPolicy(attempts=1)))
        journal = held(tmp_path)
        assert journal is not None
        assert journal.stored.size_bytes == len(DATA) - 1
        result = fetch(order(front, tmp_path))
        assert front.ranges == [None, f"bytes={len(DATA) - 1}-"]
        assert front.sent_bytes == len(DATA)
        assert result.path.name == "n.mp4"


@pytest.mark.parametrize("ignores", [True, False], ids=["200", "304"])
def test_a_part_that_is_whole_is_published_after_one_question(
    ignores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last mark and the publish."""
    headers = (("Content-Disposition", "attachment; filename=n.mp4"),)
    with Origin(dataclasses.replace(FILM, headers=headers)) as front:
        with monkeypatch.context() as patch:

            def killed(*_: object, **__: object) -> None:
                raise RuntimeError("killed")

            patch.setattr(part_file.PartFile, "publish", killed)
            with pytest.raises(RuntimeError, match="killed"):
                fetch(order(front, tmp_path))
        if ignores:
            front.otherwise = lambda exchange: exchange.say(
                exchange.judged(ignoring=exchange.asked.headers), after=0
            )
        front.requests.clear()
        result = fetch(order(front, tmp_path))
        assert front.requests[0].headers["if-none-match"] == '"v1"'
        assert front.sent_bytes == 0
        assert result.path.read_bytes() == DATA
        assert result.path.name == ("n.mp4" if ignores else "film.mp4")


@pytest.mark.parametrize("step", ["before", "after"])
@pytest.mark.parametrize("by_name", [True, False], ids=["file", "folder"])
def test_killed_beside_the_publish_nothing_is_fetched_again(
    step: str, by_name: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just before it the part is whole, just after it the record knows the file."""
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
            fetch(order(origin, path))
    monkeypatch.undo()
    result = fetch(order(origin, path))
    assert result.reused is (step == "after")
    assert result.path == tmp_path / "film.mp4"
    assert result.path.read_bytes() == DATA
    assert [asked.sent_bytes for asked in origin.requests] == [len(DATA), 0]
    assert left_over(tmp_path) == []
    assert fetch(order(origin, path)).reused


def test_a_time_that_the_disk_tells_late_is_remembered(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file server the last write may be dated when it arrives there."""
    monkeypatch.setattr(PartFile, "modified_ns", lambda _part: 1)
    fetch(order(origin, tmp_path / "a.mp4"))
    assert fetch(order(origin, tmp_path / "a.mp4")).reused


# Together.


def test_one_order_twice_is_one_download(slow: Origin, tmp_path: Path) -> None:
    slow.rate = 20e6
    watches = [DownloadHandle() for _ in range(3)]
    same = [
        transfers.submit(download(order(slow, tmp_path / "a.mp4"), handle)) for handle in watches
    ]
    results = [future.result(DEADLINE_S) for future in same]
    assert results[0] is results[1] is results[2]
    assert len(slow.requests) == 1
    assert watches[0].status is watches[2].status
    assert watches[2].status.phase is Phase.DONE


def test_a_joined_download_outlives_one_who_leaves(slow: Origin, tmp_path: Path) -> None:
    slow.rate = 10e6
    first, second = (
        transfers.submit(download(order(slow, tmp_path / "a.mp4"), DownloadHandle()))
        for _ in range(2)
    )
    slow.wait_for(lambda: slow.sent_bytes > 10_000)
    first.cancel()
    assert second.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert len(slow.requests) == 1


def test_who_joins_a_paused_download_sees_it_paused(slow: Origin, tmp_path: Path) -> None:
    watches = DownloadHandle(), DownloadHandle()
    watches[0].pause()
    first = transfers.submit(download(order(slow, tmp_path / "a.mp4"), watches[0]))
    slow.wait_for(lambda: len(slow.requests) == 1)
    second = transfers.submit(download(order(slow, tmp_path / "a.mp4"), watches[1]))
    slow.wait_for(lambda: watches[1].status is watches[0].status)
    slow.rate = None
    watches[1].resume()
    assert first.result(DEADLINE_S) is second.result(DEADLINE_S)


def test_who_comes_while_it_is_cancelled_goes_on_from_there(slow: Origin, tmp_path: Path) -> None:
    """Run again at once after an interrupt: the cell waits for the cleanup, then resumes."""
    for _ in range(5):
        handle = DownloadHandle()
        first = transfers.submit(download(order(slow, tmp_path / "a.mp4"), handle))
        slow.wait_for(partial(has_kept, handle))
        first.cancel()
        slow.rate = 10e6
    slow.rate = None
    result = transfers.run(
        download(order(slow, tmp_path / "a.mp4"), DownloadHandle()), timeout_s=DEADLINE_S
    )
    assert result.resumed_from_bytes > 0
    assert result.path.read_bytes() == SLOW.data
    assert left_over(tmp_path) == []


def test_different_orders_for_one_file_take_turns(slow: Origin, tmp_path: Path) -> None:
    slow.rate = 20e6
    watches = DownloadHandle(), DownloadHandle()
    first = transfers.submit(download(order(slow, tmp_path / "a.mp4"), watches[0]))
    slow.wait_for(lambda: len(slow.requests) == 1)
    second = transfers.submit(
        download(order(slow, tmp_path / "a.mp4", max_bytes=10**9), watches[1])
    )
    assert not first.result(DEADLINE_S).reused
    assert second.result(DEADLINE_S).reused
    assert slow.sent_bytes == len(SLOW.data)


def test_one_file_under_two_spellings_is_never_mixed_up(slow: Origin, tmp_path: Path) -> None:
    """Nobody sees that the two are one, but the lock of the part file does."""
    slow.rate = 20e6
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    running = [
        transfers.submit(download(order(slow, tmp_path / name / "a.mp4"), DownloadHandle()))
        for name in ("real", "link")
    ]
    for future in running:
        assert future.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert left_over(tmp_path / "real") == []


def test_what_a_private_part_held_is_not_called_kept(slow: Origin, tmp_path: Path) -> None:
    """Somebody else holds the part file, so nobody will ever resume this one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    held_up = transfers.submit(download(order(slow, tmp_path / "real" / "a.mp4"), DownloadHandle()))
    slow.wait_for(lambda: len(slow.requests) == 1)
    slow.script = [cut(500_000)]
    other = order(slow, tmp_path / "link" / "a.mp4", connections=1, retry=RetryPolicy(attempts=1))
    with pytest.raises(TransportError, match="nothing was kept") as caught:
        fetch(other)
    assert caught.value.resumable_bytes == 0
    slow.rate = None
    assert held_up.result(DEADLINE_S).path.read_bytes() == SLOW.data
    assert left_over(tmp_path / "real") == []


def test_many_files_at_once_into_one_new_folder(origin: Origin, tmp_path: Path) -> None:
    """Each makes the folder and removes it when it is left empty: half of them fail here."""
    orders = [
        DownloadRequest.of(f"{origin.base}/{n}", tmp_path / "new" / f"{n}.mp4", retry=QUICK)
        for n in range(60)
    ]
    answers = {f"/{n}": honest if n % 2 else status(404) for n in range(60)}
    origin.otherwise = lambda exchange: answers[exchange.asked.target](exchange)
    running = [transfers.submit(download(asked, DownloadHandle())) for asked in orders]
    errors = [future.exception(20) for future in running]
    assert {type(error) for error in errors[::2]} == {vidnb.StatusError}
    assert errors[1::2] == [None] * 30


# Pause and cancel.


def still(origin: Origin, handle: DownloadHandle) -> None:
    """Wait until a paused download stands still."""
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
        asked = order(origin, tmp_path / "a.mp4", connections=connections)
        running = transfers.submit(download(asked, handle))
        origin.wait_for(lambda: handle.status.done_bytes > 0)
        handle.pause()
        still(origin, handle)
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
        asked = order(origin, tmp_path / "a.mp4", idle_timeout_s=IDLE_S)
        running = transfers.submit(download(asked, handle))
        origin.wait_for(lambda: origin.sent_bytes > 100_000)
        handle.pause()
        still(origin, handle)
        time.sleep(1.5 * IDLE_S)
        handle.resume()
        assert running.result(DEADLINE_S).path.read_bytes() == SLOW.data


def test_pause_before_it_begins(origin: Origin, tmp_path: Path) -> None:
    handle = DownloadHandle()
    handle.pause()
    running = transfers.submit(download(order(origin, tmp_path / "a.mp4"), handle))
    origin.wait_for(lambda: handle.status.phase is Phase.PAUSED)
    assert handle.status.done_bytes == 0
    handle.resume()
    assert running.result(DEADLINE_S).path.read_bytes() == DATA


def test_cancel_while_paused(slow: Origin, tmp_path: Path) -> None:
    handle = DownloadHandle()
    running = transfers.submit(download(order(slow, tmp_path / "a.mp4"), handle))
    slow.wait_for(lambda: slow.sent_bytes > 100_000)
    handle.pause()
    slow.wait_for(lambda: handle.status.phase is Phase.PAUSED)
    running.cancel()
    slow.wait_for(lambda: handle.status.phase is Phase.CANCELLED)
    assert "are kept in" in handle.status.note


def test_cancel_keeps_every_byte_that_arrived(slow: Origin, tmp_path: Path) -> None:
    """Also what had not reached the disk yet, and the note says the truth about it."""
    handle = DownloadHandle()
    running = transfers.submit(download(order(slow, tmp_path / "a.mp4"), handle))
    slow.wait_for(lambda: slow.sent_bytes > 200_000)
    running.cancel()
    slow.wait_for(lambda: handle.status.phase is Phase.CANCELLED)
    journal = held(tmp_path)
    assert journal is not None
    assert journal.stored.size_bytes == handle.status.resumable_bytes > 100_000
    slow.rate = None
    result = fetch(order(slow, tmp_path / "a.mp4"))
    assert result.resumed_from_bytes == handle.status.resumable_bytes
    assert slow.ranges[-1] == f"bytes={handle.status.resumable_bytes}-"


def test_cancel_at_any_moment_leaves_nothing_open(tmp_path: Path) -> None:
    """No file, connection or lock is left, and no stored byte is lost, however early it comes."""
    random = Random(7)
    resumable_bytes = 0
    with Origin(SLOW, rate=5e6) as origin:
        for _ in range(60):
            running = transfers.submit(
                download(order(origin, tmp_path / "a.mp4"), DownloadHandle())
            )
            time.sleep(random.random() ** 2 * 0.02)
            running.cancel()
            origin.wait_for(partial(ended, running))
            journal = held(tmp_path)
            now_bytes = 0 if journal is None else journal.stored.size_bytes
            assert now_bytes >= resumable_bytes
            resumable_bytes = now_bytes
        assert resumable_bytes > 0
        origin.rate = None
        assert fetch(order(origin, tmp_path / "a.mp4")).path.read_bytes() == SLOW.data
    assert left_over(tmp_path) == []


def has_kept(handle: DownloadHandle) -> bool:
    return handle.status.resumable_bytes > 0


def ended(running: concurrent.futures.Future[DownloadResult]) -> bool:
    """Whether a cancelled download has cleaned up, or never began.

    Its future is done at once, so the loop is asked, after what was on its way there has arrived.
    """

    async def is_under_way() -> bool:
        for _ in range(3):
            await asyncio.sleep(0)
        return any(task.get_name() == "vidnb download" for task in asyncio.all_tasks())

    return running.done() and not transfers.run(is_under_way())


def test_cancel_of_an_awaited_download(slow: Origin, tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(
            vidnb.download_async(slow.url, tmp_path / "a.mp4", progress=False)
        )
        await asyncio.to_thread(slow.wait_for, lambda: slow.sent_bytes > 200_000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    journal = held(tmp_path)
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
    journal = held(tmp_path)
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
    """One of them works on a part of its own; whoever is last publishes a whole file."""
    with Origin(SLOW, rate=6e6) as origin:
        children = [spawn(GET, origin.url, tmp_path / "a.mp4") for _ in range(2)]
        for child in children:
            output, errors = child.communicate(timeout=DEADLINE_S)
            assert output.split()[0] == hashlib.sha256(SLOW.data).hexdigest(), errors
        assert len(origin.requests) >= 2
    assert strangers(tmp_path) == {"a.mp4"}
    assert left_over(tmp_path) == []


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    """The part of its own that the second of two wrote; what the first left is resumed."""
    with Origin(SLOW, rate=3e5) as origin:
        children = []
        for number in range(1, 3):
            children.append(spawn(GET, origin.url, tmp_path / "a.mp4"))
            origin.wait_for(partial(has_parts, tmp_path, number))
        origin.wait_for(lambda: bool(list(tmp_path.glob(".vidnb/*.journal"))))
        for child in children:
            child.kill()
            child.communicate(timeout=DEADLINE_S)
        assert len(left_over(tmp_path)) == 3
        origin.rate = None
        result = fetch(order(origin, tmp_path / "a.mp4"))
    assert result.path.read_bytes() == SLOW.data
    assert result.resumed_from_bytes > 0
    assert left_over(tmp_path) == []


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


def test_a_forked_child_uses_nothing_of_its_parents(slow: Origin, tmp_path: Path) -> None:
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
    """200 MB, hashed and written; the origin is another process."""
    big, small = noise(2**20) * 200, noise(10_000)

    def either(exchange: Exchange) -> None:
        exchange.origin.film = Film(big if "big" in exchange.asked.target else small)
        exchange.say(exchange.judged())

    with Origin(FILM, otherwise=either) as origin:
        child = spawn(MEMORY, origin.url, tmp_path)
        output, errors = child.communicate(timeout=DEADLINE_S)
    assert float(output) < 100, errors
    assert (tmp_path / "big.mp4").stat().st_size == len(big)


# The caller's own session.


def test_a_session_of_the_callers(origin: Origin, tmp_path: Path) -> None:
    """It is used, it stays open, and its headers do not reach another origin."""

    async def main() -> DownloadResult:
        async with aiohttp.ClientSession(headers={"X-Key": "s3cret"}) as session:
            result = await vidnb.download_async(
                front.url, tmp_path / "a.mp4", session=session, progress=False
            )
            assert not session.closed
            return result

    with Origin(FILM, [redirect("/again"), redirect(origin.url)]) as front:
        assert asyncio.run(main()).path.read_bytes() == DATA
        assert [asked.headers.get("x-key") for asked in front.requests] == ["s3cret"] * 2
        assert "x-key" not in origin.requests[0].headers


def test_a_session_that_unpacks_by_itself_stores_nothing_unpacked(tmp_path: Path) -> None:
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
    """The loop runs in another thread, as it does for a server that uses vidnb."""
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
    ("options", "says"),
    [
        pytest.param({"if_exists": "maybe"}, "is none of 'refresh'", id="if-exists"),
        pytest.param({"max_bytes": 0}, "max_bytes=0 must be at least 1", id="max-bytes"),
        pytest.param({"connections": 0}, "connections=0 must be at least 1", id="connections"),
        pytest.param({"idle_timeout_s": 0}, "must be more than 0 s", id="idle-timeout"),
        pytest.param({"idle_timeout_s": float("nan")}, "more than 0 s", id="idle-timeout-nan"),
        pytest.param({"checksum": "abc"}, "names no algorithm", id="checksum-no-name"),
        pytest.param({"checksum": "rot13:abc"}, "names no algorithm", id="checksum-unknown"),
        pytest.param({"checksum": "md5:abc"}, "32 hexadecimal digits", id="checksum-short"),
        pytest.param({"checksum": f"md5:{'z' * 32}"}, "32 hexadecimal", id="checksum-no-hex"),
        pytest.param({"checksum": "shake_128:ab"}, "is no shake_128", id="checksum-no-length"),
        pytest.param({"session": object(), "public_only": True}, "give one", id="session-public"),
        pytest.param({"headers": {"range": "bytes=5-"}}, "is managed by vidnb", id="header-range"),
        pytest.param({"headers": {"X": "a\r\nHost: b"}}, "control character", id="header-break"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DownloadRequest.of("http://example.org/a.mp4", "a.mp4", **options)


def test_the_same_arguments_make_the_same_order() -> None:
    def make(**options: Any) -> DownloadRequest:
        return DownloadRequest.of("http://example.org/a.mp4", "a.mp4", **options)

    assert make() == make(retry=RetryPolicy(), headers={}) != make(headers={"X": "1"})
    assert hash(make()) == hash(make())


def test_a_session_that_asks_for_a_part_by_default_is_refused(
    origin: Origin, tmp_path: Path
) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(headers={"Range": "bytes=5-"}) as session:
            with pytest.raises(ValueError, match=r"session\.headers=.*'Range'.*remove it"):
                await vidnb.download_async(origin.url, tmp_path / "a.mp4", session=session)

    asyncio.run(main())
    assert not origin.requests


# The helpers a person calls.


def test_a_failing_progress_function_fails_no_download(
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
def test_progress_is_told_and_ends_whole(how: str, slow: Origin, tmp_path: Path) -> None:
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
    assert strangers(tmp_path) == set()


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
def test_a_download_that_was_none_says_so(
    film: Film, knows_digest: bool, line: str, tmp_path: Path
) -> None:
    with Origin(film) as origin:
        fetch(order(origin, tmp_path / "a.mp4"))
        handle = DownloadHandle()
        fetch(order(origin, tmp_path / "a.mp4", checksum=SHA256 if knows_digest else None), handle)
    assert handle.status.note == line


@pytest.mark.parametrize("connections", [1, 2])
def test_a_resumed_download_says_so(connections: int, tmp_path: Path) -> None:
    with Origin(SLOW, [cut(1_000_000)]) as origin:
        with suppress(TransferError):
            fetch(order(origin, tmp_path / "a.mp4", retry=RetryPolicy(attempts=1)))
        handle = DownloadHandle()
        origin.script = [stall(0)] if connections == 1 else []
        result = fetch(
            order(origin, tmp_path / "a.mp4", connections=connections, idle_timeout_s=IDLE_S),
            handle,
        )
        assert result.resumed_from_bytes == 1_000_000
        assert "resumed from 1.0 MB" in handle.status.note
        assert ("1 retry" in handle.status.note) is (connections == 1)


def test_what_the_view_shows_on_the_way(slow: Origin, tmp_path: Path) -> None:
    """From connecting to done; while it waits, why and how long."""
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
        download(order(slow, tmp_path / "a.mp4"), handle),
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
