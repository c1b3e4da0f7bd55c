"""What a sweep takes away, and everything it must leave."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.blocked import RECORD, WITHOUT_LOCKS, locked_by_another_process, take_locks_away
from tests.deadline import DEADLINE_S
from vidnb.download import part_file, stale_files
from vidnb.download.part_file import PartFile, RecordStore
from vidnb.io import locks

KEY = "film.mp4-0123456789abcdef"
PRIVATE = f"{KEY}.fedcba9876543210.part"
HALF_WRITTEN = f"{KEY}.record.fedcba9876543210.new"
DAY_S = 86_400


@pytest.fixture(autouse=True)
def nothing_was_swept() -> Iterator[None]:
    stale_files._next_at_s.clear()
    yield
    stale_files._next_at_s.clear()


def put(folder: Path, *names: str, age_s: float = 0) -> None:
    for name in names:
        (folder / name).write_bytes(b"left")
        os.utime(folder / name, (time.time() - age_s,) * 2)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_left_behind_goes_and_the_rest_stays(tmp_path: Path) -> None:
    kept = {
        f"{KEY}.part",
        f"{KEY}.journal",
        f"{KEY}.record",
        f"{KEY}.fedcba9876543210.part.mp4",
        f"{KEY}.FEDCBA9876543210.part",
        f"{KEY}.fedcba987654321.part",
        f"{KEY}.fedcba98765432100.part",
        "film.fedcba9876543210.part",
        "-0123456789abcdef.part",
        f"my film {PRIVATE}",
        f"{KEY}.journal.fedcba9876543210.new",
        "notes.new",
    }
    put(tmp_path, PRIVATE, HALF_WRITTEN, *kept, age_s=10 * DAY_S)
    stale_files.sweep(tmp_path)
    assert names_in(tmp_path) == kept


def test_the_names_are_those_that_parts_and_records_get(tmp_path: Path) -> None:
    with locked_by_another_process(tmp_path / f"{KEY}.part"):
        private = PartFile(tmp_path, KEY)
    assert private.is_private
    private.write(0, [b"x"])
    stale_files.sweep(tmp_path)
    assert private.path.read_bytes() == b"x"
    private._file.close()  # as the kernel does for a process that was killed
    stale_files._next_at_s.clear()
    stale_files.sweep(tmp_path)
    assert names_in(tmp_path) == {f"{KEY}.part"}


def test_a_record_that_is_being_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaces = Path.replace
    seen: list[str] = []

    def swept_meanwhile(path: Path, target: Path) -> Path:
        stale_files.sweep(tmp_path)
        seen.append(path.name)
        return replaces(path, target)

    monkeypatch.setattr(Path, "replace", swept_meanwhile)
    RecordStore(tmp_path).save(KEY, RECORD)
    assert stale_files._LEFT.fullmatch(seen[0])
    assert RecordStore(tmp_path).load(KEY) == RECORD


def test_a_part_that_somebody_writes_is_left(tmp_path: Path) -> None:
    """However old it is: its writer may have been paused for a week."""
    put(tmp_path, PRIVATE, age_s=7 * DAY_S)
    with locked_by_another_process(tmp_path / PRIVATE):
        os.utime(tmp_path / PRIVATE, (0, 0))
        stale_files.sweep(tmp_path)
        assert names_in(tmp_path) == {PRIVATE}
    stale_files._next_at_s.clear()
    stale_files.sweep(tmp_path)
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("why", WITHOUT_LOCKS)
def test_where_locks_do_not_work_age_decides(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_locks_away(why, monkeypatch)
    put(tmp_path, PRIVATE, age_s=DAY_S + 60)
    put(tmp_path, HALF_WRITTEN, age_s=DAY_S - 60)
    future = PRIVATE.replace("fe", "ab")
    put(tmp_path, future, age_s=-7 * DAY_S)  # the clock was set back
    stale_files.sweep(tmp_path)
    assert names_in(tmp_path) == {HALF_WRITTEN, future}


@pytest.mark.parametrize("meanwhile", ["held", "swept"])
def test_a_file_swept_between_open_and_lock_is_made_anew(
    meanwhile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = locks.lock
    tries: list[int] = []

    def late(descriptor: int) -> bool | None:
        tries.append(descriptor)
        if len(tries) > 1:
            return lock(descriptor)
        if meanwhile == "swept":
            (made,) = tmp_path.glob("*.new")
            made.unlink()
            return lock(descriptor)
        return False

    monkeypatch.setattr(part_file, "lock", late)
    RecordStore(tmp_path).save(KEY, RECORD)
    assert len(tries) == 2
    assert RecordStore(tmp_path).load(KEY) == RECORD


def test_two_who_make_files_and_one_who_sweeps_lose_nothing(tmp_path: Path) -> None:
    """The narrow places between open, lock and unlink, by trying often."""
    over = threading.Event()

    def sweeps() -> None:
        while not over.is_set():
            stale_files._next_at_s.clear()
            stale_files.sweep(tmp_path)

    sweeping = threading.Thread(target=sweeps)
    sweeping.start()
    try:
        for number in range(300):
            RecordStore(tmp_path).save(KEY, replace(RECORD, size_bytes=number))
            found = RecordStore(tmp_path).load(KEY)
            assert found is not None
            assert found.size_bytes == number
    finally:
        over.set()
        sweeping.join(DEADLINE_S)


@pytest.mark.parametrize("there", ["no-folder", "folder", "link", "unremovable"])
def test_no_fault_of_a_sweep_is_an_error(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hold"
    if there != "no-folder":
        folder.mkdir()
    if there == "folder":
        (folder / PRIVATE).mkdir()
    elif there == "link":
        (tmp_path / "film.mp4").write_bytes(b"good")
        (folder / PRIVATE).symlink_to(tmp_path / "film.mp4")
    elif there == "unremovable":
        put(folder, PRIVATE, HALF_WRITTEN)

        def refuse(_path: Path) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "unlink", refuse)
    before = names_in(folder) if folder.exists() else set()
    stale_files.sweep(folder)
    assert (names_in(folder) if folder.exists() else set()) == before
    assert there != "link" or (tmp_path / "film.mp4").read_bytes() == b"good"


def test_a_folder_that_took_long_is_left_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times as long as the sweep took, and no other folder waits for it."""
    now_s = 1000.0
    scans: list[Path] = []
    scandir = os.scandir

    def slow(folder: Path) -> object:
        nonlocal now_s
        now_s += 0.5
        scans.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    other = tmp_path / "other"
    other.mkdir()
    stale_files.sweep(tmp_path)
    now_s += 49.0
    stale_files.sweep(tmp_path)
    stale_files.sweep(other)
    assert scans == [tmp_path, other]
    now_s += 1.0
    stale_files.sweep(tmp_path)
    assert scans == [tmp_path, other, tmp_path]


def test_the_folders_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_files, "_MAX_FOLDERS", 3)
    for number in range(10):
        stale_files.sweep(tmp_path / str(number))
        assert len(stale_files._next_at_s) <= 3
