"""Copy a download in order: what is passed on when, and what is an error at the end."""

import concurrent.futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidnb.download.in_order import copy_in_order
from vidnb.download.request import DownloadResult
from vidnb.errors import SourceChanged, StorageError
from vidnb.http.ranges import ByteRange, ByteRangeSet

DATA = bytes(range(100))


class Running:
    """A download whose state a test sets in `tick`, one step for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = "https://h/a.mp4"
        self.future: concurrent.futures.Future[DownloadResult] = concurrent.futures.Future()
        self.feed = SimpleNamespace(generation=0, stored=ByteRangeSet(), path=None)
        self.handle = SimpleNamespace(status=SimpleNamespace(feed=self.feed))
        self.written = b""

    def store(self, *ranges: tuple[int, int]) -> None:
        self.path.write_bytes(DATA)
        self.feed.path = self.path
        self.feed.stored = ByteRangeSet(ByteRange(*each) for each in ranges)

    def end(self, size_bytes: int = len(DATA)) -> None:
        self.future.set_result(DownloadResult(self.path, self.url, size_bytes, "", 0.0))

    def finish(self) -> None:
        self.store((0, len(DATA)))
        self.end()

    def copy(self, *steps: Any) -> DownloadResult:
        """Run one step before each look at the state."""
        left = list(steps)

        def write(data: bytes) -> None:
            self.written += data

        def tick() -> None:
            if left:
                left.pop(0)()

        stream: Any = self
        return copy_in_order(stream, write, tick=tick)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path / "a.mp4")


def test_only_bytes_behind_no_gap_are_passed_on(running: Running) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(len(running.written))

    result = running.copy(
        lambda: running.store((50, 100)),
        look,
        lambda: running.store((0, 30), (50, 100)),
        look,
        look,
        running.finish,
    )
    assert seen == [0, 30, 30]
    assert running.written == DATA
    assert result.size_bytes == 100


def test_another_version_before_the_first_byte_is_no_change(running: Running) -> None:
    def change() -> None:
        running.feed.generation = 3

    running.copy(
        lambda: running.store((50, 100)),
        change,
        running.finish,
    )
    assert running.written == DATA


def test_another_version_after_the_first_byte_is_an_error(running: Running) -> None:
    def change() -> None:
        running.feed.generation = 1

    with pytest.raises(SourceChanged, match=r"became another file after 30 B of it were passed on"):
        running.copy(lambda: running.store((0, 30)), lambda: None, change)
    assert running.written == DATA[:30]


def test_a_file_that_is_cut_before_it_was_passed_on_is_an_error(running: Running) -> None:
    def cut() -> None:
        running.finish()
        running.path.write_bytes(DATA[:40])

    with pytest.raises(StorageError, match=r"was removed after 40 B of it were passed on"):
        running.copy(cut)


def test_a_file_that_is_gone_before_it_was_opened_is_an_error(running: Running) -> None:
    def remove() -> None:
        running.finish()
        running.path.unlink()

    with pytest.raises(StorageError, match=r"after 0 B"):
        running.copy(remove)


def test_a_failure_is_raised_after_what_was_stored(running: Running) -> None:
    def fail() -> None:
        running.store((0, 30))
        running.future.set_exception(StorageError("no space"))

    with pytest.raises(StorageError, match=r"no space"):
        running.copy(fail)
    assert running.written == DATA[:30]
