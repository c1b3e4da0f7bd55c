"""Blocks reserved behind the end of a file: never data, never lost, never in the way."""

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from vidnb.download import part_file
from vidnb.download.part_file import PartFile, RecordStore
from vidnb.download.planner.journal import Journal
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators
from vidnb.io import preallocate as module
from vidnb.io.preallocate import MIN_BYTES, preallocate, release_preallocated

SIZE = MIN_BYTES


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "file").open("w+b", buffering=0) as opened:
        opened.write(b"film")
        yield opened


def taken_bytes(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_blocks * 512


def size_bytes(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


@pytest.fixture
def reserves(tmp_path: Path) -> None:
    """Skip where the file system knows no such thing."""
    with (tmp_path / "try").open("w+b") as opened:
        preallocate(opened.fileno(), SIZE)
        if taken_bytes(opened) < SIZE:
            pytest.skip("this file system reserves nothing")


@pytest.mark.usefixtures("reserves")
def test_what_is_reserved_is_no_data(file: BinaryIO) -> None:
    preallocate(file.fileno(), SIZE)
    assert taken_bytes(file) >= SIZE
    assert size_bytes(file) == 4
    file.seek(0)
    assert file.read() == b"film"


@pytest.mark.usefixtures("reserves")
def test_what_is_given_back_is_free(file: BinaryIO) -> None:
    preallocate(file.fileno(), SIZE)
    release_preallocated(file.fileno())
    assert taken_bytes(file) < SIZE
    assert size_bytes(file) == 4


def test_a_small_file_is_left_alone(file: BinaryIO) -> None:
    before = taken_bytes(file)
    preallocate(file.fileno(), SIZE - 1)
    assert taken_bytes(file) == before


@pytest.mark.usefixtures("reserves")
def test_more_than_any_file_may_have_is_told(file: BinaryIO) -> None:
    with pytest.raises(OSError, match="too large") as caught:
        preallocate(file.fileno(), 2**62)
    assert caught.value.errno == errno.EFBIG
    assert (size_bytes(file), taken_bytes(file) < SIZE) == (4, True)


@pytest.mark.parametrize(
    ("number", "is_told"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EOPNOTSUPP, False),
        (errno.ENOSYS, False),
        (errno.EINTR, False),
        (errno.EINVAL, False),
    ],
)
def test_only_a_full_disk_is_told(
    number: int, is_told: bool, file: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a full disk had reserved before it said so is given back."""
    real = module._fallocate()
    assert real is not None

    def half(descriptor: int, mode: int, offset: int, length: int) -> int:
        real(descriptor, mode, offset, length // 2)
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(module, "_fallocate", lambda: half)
    if not is_told:
        preallocate(file.fileno(), 2 * SIZE)
        return
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        preallocate(file.fileno(), 2 * SIZE)
    assert caught.value.errno == number
    assert taken_bytes(file) < SIZE


def no_library(*_: object, **__: object) -> object:
    raise OSError("no C library by that name")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("sys.platform", "darwin"),
        ("sys.maxsize", 2**31 - 1),
        ("ctypes.CDLL", no_library),
        ("ctypes.CDLL", lambda *_, **__: SimpleNamespace()),
    ],
    ids=["another-system", "32-bit", "no-library", "no-function"],
)
def test_where_there_is_no_such_call_nothing_is_reserved(
    where: str, what: object, file: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = taken_bytes(file)
    with monkeypatch.context() as patch:
        patch.setattr(where, what)
        found = module._fallocate.__wrapped__()
    assert found is None
    monkeypatch.setattr(module, "_fallocate", lambda: found)
    preallocate(file.fileno(), SIZE)
    assert taken_bytes(file) == before


# The part file.

JOURNAL = Journal(
    "https://example.org/film.mp4", Validators(total_bytes=SIZE), ByteRangeSet([ByteRange(0, 4)])
)


@pytest.fixture
def part(tmp_path: Path, reserves: None) -> Iterator[PartFile]:
    opened = PartFile(tmp_path / ".vidnb", "key")
    opened.write(0, [b"film"])
    opened.mark(JOURNAL)
    opened.preallocate(SIZE)
    yield opened
    opened.close(keep=False)


def test_a_journal_believes_nothing_else_of_a_part_with_reserved_blocks(part: PartFile) -> None:
    assert part.taken_bytes() >= SIZE
    assert part.path.stat().st_size == 4
    assert part.load() == JOURNAL


def test_room_counts_what_is_reserved(part: PartFile) -> None:
    room = RecordStore(part.path.parent).room(part)
    assert room.taken_bytes == part.taken_bytes()
    assert room.free_bytes > 0


def test_it_is_asked_for_once(part: PartFile, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(part_file, "preallocate", lambda _, size_bytes: asked.append(size_bytes))
    part.preallocate(SIZE)
    assert asked == []
    part.preallocate(SIZE + 1)
    assert asked == [SIZE + 1]
    part.reset()
    part.preallocate(SIZE + 1)
    assert asked == [SIZE + 1, SIZE + 1]


@pytest.mark.parametrize("step", ["reset", "trim", "close"])
def test_each_end_of_a_part_gives_it_back(step: str, part: PartFile) -> None:
    if step == "reset":
        part.reset()
    elif step == "trim":
        part.trim(4)
    else:
        part.close(keep=True)
    assert part.path.stat().st_blocks * 512 < SIZE
    assert part.path.stat().st_size == (0 if step == "reset" else 4)
