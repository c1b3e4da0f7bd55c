"""Part files, journals and records: what a kill, a crash or another process leaves behind."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.blocked import (
    RECORD,
    STRONG,
    URL,
    WITHOUT_LOCKS,
    locked_by_another_process,
    take_locks_away,
)
from vidnb.download import part_file
from vidnb.download.part_file import PartFile, RecordStore, boot_id, hash_file
from vidnb.download.planner.journal import SLOT_BYTES, Journal, Record
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators
from vidnb.io import locks

BARE = Validators()


def stored(*byte_ranges: tuple[int, int]) -> ByteRangeSet:
    return ByteRangeSet(ByteRange(start, stop) for start, stop in byte_ranges)


def journal(*byte_ranges: tuple[int, int], version: Validators = STRONG, url: str = URL) -> Journal:
    return Journal(url, version, stored(*byte_ranges))


@contextmanager
def part(folder: Path, *, keep: bool = True) -> Iterator[PartFile]:
    opened = PartFile(folder / ".vidnb", "key")
    try:
        yield opened
    finally:
        opened.close(keep=keep)


def test_the_boot_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert boot_id() == boot_id() != ""
    boot_id_now = boot_id.__wrapped__  # what is asked once per process

    def unknown(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unknown)
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    monkeypatch.setattr("time.monotonic", lambda: 50.0)
    name = boot_id_now()
    assert name == f"at {round((1_700_000_000 - 50) / 30)}"
    monkeypatch.setattr("time.time", lambda: 1_700_000_100.0)
    monkeypatch.setattr("time.monotonic", lambda: 150.0)
    assert boot_id_now() == name
    monkeypatch.setattr("time.monotonic", lambda: 20.0)
    assert boot_id_now() != name


# Part files.


def test_a_new_part_holds_nothing(tmp_path: Path) -> None:
    with part(tmp_path / "new" / "folder") as fresh:
        assert not fresh.is_private
        assert fresh.load() is None
        assert fresh.path.name == "key.part"


def test_bytes_and_marks_outlive_a_kill(tmp_path: Path) -> None:
    """Nothing is closed in order here."""
    with part(tmp_path) as killed:
        killed.write(0, [b"01", b"", b"234"])
        killed.write(7, [b"789"])
        killed.mark(journal((0, 5), (7, 10)))
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in killed.path.parent.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
    again = PartFile(copy, "key")
    assert again.load() == journal((0, 5), (7, 10))
    assert b"".join(again.read(ByteRange(0, 5))) == b"01234"
    assert b"".join(again.read(ByteRange(7, 10))) == b"789"
    again.close(keep=False)


def test_the_disk_may_take_less_than_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with part(tmp_path) as slow:
        write = slow._file.write

        class Halting:
            def write(self, data: memoryview) -> int:
                return write(data[:3])

            def __getattr__(self, name: str) -> object:
                return getattr(whole, name)

        whole = slow._file
        monkeypatch.setattr(slow, "_file", Halting())
        slow.write(2, [b"abcdefgh", b"ij"])
        monkeypatch.undo()
        assert slow.path.read_bytes() == b"\0\0abcdefghij"


@pytest.mark.parametrize("marks", [1, 2, 3, 4])
def test_a_mark_torn_at_any_byte_leaves_the_one_before(marks: int, tmp_path: Path) -> None:
    """The two slots take turns: while one is written, the other one stands."""
    with part(tmp_path) as written:
        written.write(0, [bytes(1000)])
        path = written._journal_path
        before = b""
        for number in range(1, marks + 1):
            before = path.read_bytes() if path.exists() else b""
            written.mark(journal((0, 10 * number)))
        after = path.read_bytes()
        slot = marks % 2 * SLOT_BYTES
        fresh = journal((0, 10 * marks)).dump(marks, boot_id())
        assert after[slot : slot + len(fresh)] == fresh
        older = journal((0, 10 * (marks - 1))) if marks > 1 else None
        for cut in range(len(fresh) + 1):
            torn = bytearray(max(len(before), slot + cut))
            torn[: len(before)] = before
            torn[slot : slot + cut] = fresh[:cut]
            path.write_bytes(torn)
            # The last bytes of two marks may be the same ones.
            is_whole = torn[slot:].partition(b"\n")[0] == fresh[:-1]
            assert written.load() == (journal((0, 10 * marks)) if is_whole else older)


def test_marks_go_on_where_the_earlier_run_stopped(tmp_path: Path) -> None:
    """The first mark of the next run never lands on the newest of the last."""
    for number in range(1, 6):
        with part(tmp_path) as run:
            if number > 1:
                assert run.load() == journal((0, number - 1))
            run.write(number - 1, [b"x"])
            run.mark(journal((0, number)))
            newest = {Journal.load(slot, boot_id()) for slot in slots(run._journal_path)}
            assert (number, journal((0, number))) in newest
            if number > 1:
                assert (number - 1, journal((0, number - 1))) in newest


def slots(path: Path) -> tuple[bytes, bytes]:
    data = path.read_bytes()
    return data[:SLOT_BYTES], data[SLOT_BYTES:]


def test_a_short_mark_over_a_long_one_is_read(tmp_path: Path) -> None:
    with part(tmp_path) as run:
        run.write(0, [bytes(5000)])
        run.mark(journal(*[(n, n + 1) for n in range(0, 2000, 2)]))
        run.mark(journal((0, 3000)))
        run.mark(journal((0, 4000)))
        assert run.load() == journal((0, 4000))


def test_a_mark_too_long_for_its_slot_is_not_written(tmp_path: Path) -> None:
    with part(tmp_path) as run:
        run.write(0, [bytes(100_000)])
        run.mark(journal((0, 10)))
        run.mark(journal(*[(n, n + 1) for n in range(0, 100_000, 2)]))
        assert run.load() == journal((0, 10))


def test_a_part_shorter_than_its_journal_is_nothing(tmp_path: Path) -> None:
    with part(tmp_path) as run:
        run.write(0, [bytes(10)])
        run.mark(journal((0, 10)))
        run.trim(9)
        assert run.load() is None
        run.write(9, [b"x"])
        assert run.load() == journal((0, 10))


def test_reset_forgets_the_journal_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two steps, the bytes are still there and nothing speaks of them."""
    with part(tmp_path) as run:
        run.write(0, [b"old"])
        run.mark(journal((0, 3)))
        order: list[str] = []
        unlink = Path.unlink

        def noted(path: Path, *, missing_ok: bool) -> None:
            order.append(path.name)
            assert run.path.read_bytes() == b"old"
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", noted)
        run.reset()
        monkeypatch.undo()
        assert order == ["key.journal"]
        assert run.load() is None
        assert run.path.read_bytes() == b""
        run.write(0, [b"new"])
        run.mark(journal((0, 3), url="https://example.org/other"))
        assert run.load() == journal((0, 3), url="https://example.org/other")


def test_reading_past_the_end_is_an_error(tmp_path: Path) -> None:
    with part(tmp_path) as run:
        run.write(0, [bytes(2 * 2**20)])
        assert [len(piece) for piece in run.read(ByteRange(1, 2 * 2**20))] == [2**20, 2**20 - 1]
        assert list(run.read(ByteRange(5, 5))) == []
        with pytest.raises(OSError, match="ends early") as caught:
            list(run.read(ByteRange(0, 2 * 2**20 + 1)))
        assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("keep", "has_bytes", "left"),
    [
        pytest.param(True, True, {"key.part", "key.journal"}, id="kept"),
        pytest.param(False, True, None, id="dropped"),
        pytest.param(True, False, None, id="empty"),
    ],
)
def test_close(keep: bool, has_bytes: bool, left: set[str] | None, tmp_path: Path) -> None:
    run = PartFile(tmp_path / ".vidnb", "key")
    if has_bytes:
        run.write(0, [b"x"])
        run.mark(journal((0, 1)))
    run.close(keep=keep)
    run.close(keep=keep)
    names = None
    if (tmp_path / ".vidnb").exists():
        names = {path.name for path in (tmp_path / ".vidnb").iterdir()}
    assert names == left


def test_close_keeps_bytes_that_were_never_marked(tmp_path: Path) -> None:
    """They are no use without a journal, and cost nothing: the next run empties the file."""
    run = PartFile(tmp_path, "key")
    run.write(0, [b"x"])
    run.close(keep=True)
    assert [path.name for path in tmp_path.iterdir()] == ["key.part"]


def test_close_leaves_a_folder_that_others_use(tmp_path: Path) -> None:
    with part(tmp_path), part_of_another(tmp_path):
        pass
    assert not (tmp_path / ".vidnb").exists()


@contextmanager
def part_of_another(folder: Path) -> Iterator[None]:
    other = PartFile(folder / ".vidnb", "other")
    yield
    other.close(keep=False)
    assert (folder / ".vidnb").exists()


# Two at once.


def test_a_part_held_by_another_process_is_left_alone(tmp_path: Path) -> None:
    with part(tmp_path) as first:
        first.write(0, [b"theirs"])
        first.mark(journal((0, 6)))
    shared = tmp_path / ".vidnb" / "key.part"
    with locked_by_another_process(shared):
        with part(tmp_path) as second:
            assert second.is_private
            assert second.path != shared
            assert second.load() is None
            second.reset()
            second.write(0, [b"mine"])
            second.mark(journal((0, 4)))
            assert b"".join(second.read(ByteRange(0, 4))) == b"mine"
        assert not second.path.exists()
        with part(tmp_path) as third:
            third.write(0, [b"mine"])
            third.publish(tmp_path / "film.mp4", may_replace=True)
    assert (tmp_path / "film.mp4").read_bytes() == b"mine"
    assert shared.read_bytes() == b"theirs"
    with part(tmp_path) as after:
        assert not after.is_private
        assert after.load() == journal((0, 6))


@pytest.mark.parametrize("exists", [True, False], ids=["part", "folder"])
def test_a_part_of_another_user_is_left_alone(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may have begun the download. A folder that allows no new file is an error."""
    shared = tmp_path / "k.part"
    if exists:
        shared.write_bytes(b"theirs")
    opens = os.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> int:
        if path == shared:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opens(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    if not exists:
        with pytest.raises(PermissionError):
            PartFile(tmp_path, "k")
        return
    private = PartFile(tmp_path, "k")
    assert private.is_private
    private.close(keep=True)
    assert shared.read_bytes() == b"theirs"


def test_a_part_held_in_this_process_is_left_alone(tmp_path: Path) -> None:
    with part(tmp_path), part(tmp_path) as second:
        assert second.is_private


def test_a_part_published_between_open_and_lock_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is got on a file that has its final name by then."""
    target = tmp_path / "film.mp4"
    holder = PartFile(tmp_path / ".vidnb", "key")
    holder.write(0, [b"whole"])
    lock = locks.lock
    tries = 0

    def meanwhile(descriptor: int) -> bool | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            holder.publish(target, may_replace=True)
        return lock(descriptor)

    monkeypatch.setattr(part_file, "lock", meanwhile)
    with part(tmp_path) as waiting:
        assert not waiting.is_private
        waiting.reset()
        waiting.write(0, [b"another"])
    assert tries == 2
    assert target.read_bytes() == b"whole"


def test_a_part_replaced_between_open_and_lock_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published, and already begun anew by a third one: that one is not ours either."""
    folder = tmp_path / ".vidnb"
    holder = PartFile(folder, "key")
    lock = locks.lock
    third: list[PartFile] = []

    def meanwhile(descriptor: int) -> bool | None:
        if not third:
            third.append(holder)  # no more than once
            holder.publish(tmp_path / "film.mp4", may_replace=True)
            third[0] = PartFile(folder, "key")
        return lock(descriptor)

    monkeypatch.setattr(part_file, "lock", meanwhile)
    with part(tmp_path) as late:
        assert late.is_private
        assert not third[0].is_private
    third[0].close(keep=False)


def test_a_part_that_has_its_final_name_as_well_is_not_written_to(tmp_path: Path) -> None:
    """Somebody was killed between giving the file its name and taking the old one away."""
    with part(tmp_path) as killed:
        killed.write(0, [b"whole"])
        killed.mark(journal((0, 5)))
        os.link(killed.path, tmp_path / "film.mp4")
    with part(tmp_path) as after:
        assert not after.is_private
        assert after.load() is None
        after.reset()
        after.write(0, [b"x"])
    assert (tmp_path / "film.mp4").read_bytes() == b"whole"


@pytest.mark.parametrize("why", WITHOUT_LOCKS)
def test_without_locks_every_part_is_private(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_locks_away(why, monkeypatch)
    with part(tmp_path) as one, part(tmp_path) as two:
        assert one.is_private
        assert two.is_private
        assert one.path != two.path
        for number, run in enumerate((one, two)):
            run.write(0, [b"%d" % number])
        one.publish(tmp_path / "film.mp4", may_replace=True)
        two.publish(tmp_path / "film.mp4", may_replace=True)
    assert (tmp_path / "film.mp4").read_bytes() == b"1"


def test_the_folder_may_vanish_before_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else leaves it empty and removes it, just now."""
    makes = Path.mkdir
    tries = 0

    def mkdir(path: Path, **options: bool) -> None:
        nonlocal tries
        tries += 1
        makes(path, parents=True, exist_ok=True)
        if tries < 3:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with part(tmp_path) as run:
        assert run.path.exists()
    assert tries == 3


def test_a_folder_that_is_there_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each needless call costs thousands of small downloads time."""

    def mkdir(path: Path, **options: bool) -> None:
        raise AssertionError

    (tmp_path / ".vidnb").mkdir()
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with part(tmp_path) as run:
        assert run.path.exists()


def test_a_folder_that_never_stays_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def mkdir(path: Path, **options: bool) -> None:
        nonlocal tries
        tries += 1

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(FileNotFoundError):
        PartFile(tmp_path / "gone", "key")
    assert tries == 100


# Publishing.


@pytest.mark.parametrize("may_replace", [True, False])
def test_publish_a_new_file(may_replace: bool, tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    with part(tmp_path, keep=True) as run:
        run.write(0, [b"whole"])
        run.mark(journal((0, 5)))
        before = run.path.stat()
        modified_ns = run.modified_ns()
        status = run.publish(target, may_replace=may_replace)
        assert modified_ns == status.st_mtime_ns
        assert (status.st_size, status.st_mtime_ns) == (5, target.stat().st_mtime_ns)
        assert target.stat().st_ino == before.st_ino
        assert target.stat().st_nlink == 1
    assert target.read_bytes() == b"whole"
    assert list((tmp_path / ".vidnb").iterdir()) == []


def test_publish_over_a_file(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"old")
    with part(tmp_path) as run:
        run.write(0, [b"whole"])
        with pytest.raises(FileExistsError):
            run.publish(target, may_replace=False)
        assert target.read_bytes() == b"old"
        run.publish(target, may_replace=True)
    assert target.read_bytes() == b"whole"


@pytest.mark.parametrize("there", ["nothing", "file", "dangling-link"])
def test_publish_without_hard_links(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the file is moved, in one step: a copy could be cut short under its final name."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "film.mp4"
    if there == "file":
        target.write_bytes(b"old")
    elif there == "dangling-link":
        target.symlink_to(tmp_path / "nowhere")
    with part(tmp_path) as run:
        run.write(0, [b"whole"])
        number = run.path.stat().st_ino
        if there == "nothing":
            run.publish(target, may_replace=False)
            assert target.stat().st_ino == number
            assert target.read_bytes() == b"whole"
        else:
            with pytest.raises(FileExistsError):
                run.publish(target, may_replace=False)
            assert run.path.read_bytes() == b"whole"
            assert there == "dangling-link" or target.read_bytes() == b"old"


def test_publish_into_a_folder_that_is_gone_loses_nothing(tmp_path: Path) -> None:
    with part(tmp_path) as run:
        run.write(0, [b"whole"])
        run.mark(journal((0, 5)))
        for may_replace in (True, False):
            with pytest.raises(FileNotFoundError):
                run.publish(tmp_path / "gone" / "film.mp4", may_replace=may_replace)
        assert run.load() == journal((0, 5))


# Records.


def test_a_record_is_kept_under_its_key(tmp_path: Path) -> None:
    hold = RecordStore(tmp_path / "new")
    assert hold.load("a") is None
    hold.save("a", RECORD)
    assert hold.load("a") == RECORD
    assert hold.load("b") is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.record"]


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_record_is_never_half_there(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    hold = RecordStore(tmp_path)
    hold.save("a", RECORD)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        monkeypatch.setattr(Record, "dump", lambda *_: None)  # no bytes: the write fails
        kind: type[Exception] = TypeError
    else:
        monkeypatch.setattr(Path, "replace", full)
        kind = OSError
    with pytest.raises(kind):
        hold.save("a", replace(RECORD, name="b"))
    monkeypatch.undo()
    assert hold.load("a") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["a.record"]


def test_free_bytes_are_the_disks(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    free = RecordStore(tmp_path).free_bytes()
    assert abs(free - status.f_bavail * status.f_frsize) < 10**9


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "blake2b"])
def test_hash_file(algorithm: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    expected = hashlib.new(algorithm, b"abc" * 10**6).hexdigest()
    assert hash_file(tmp_path / "a", algorithm) == expected
