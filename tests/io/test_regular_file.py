"""Reading a whole file: every kind of path, and one sentence for each that is no file."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S
from vidnb.errors import StorageError
from vidnb.io import regular_file
from vidnb.io.regular_file import is_encodable, open_regular, printable, read_all

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_circle(path: Path) -> None:
    path.symlink_to(path)


def make_nothing(path: Path) -> None:
    pass


def make_file_as_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"")


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (make_nothing, "there is no such file; check the name, or download it first"),
    (Path.mkdir, "it is a folder; name a file in it"),
    (make_pipe, "it is a named pipe, not a regular file; save its bytes to a file first"),
    (make_socket, "it is a socket, not a regular file"),
    (make_circle, "its symbolic links form a cycle; name the file itself"),
    (make_file_as_folder, "a folder in its path is a file; check the name"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in" / "clip.mp4"


@pytest.mark.parametrize("size_bytes", [0, 1, 255_849, 3_000_000])
def test_all_bytes_come_back(path: Path, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    path.write_bytes(content)
    assert read_all(path) == content
    assert read_all(str(path)) == content


def test_a_link_to_a_file_is_read(path: Path) -> None:
    path.write_bytes(b"video")
    link = path.with_name("latest.mp4")
    link.symlink_to(path)
    assert read_all(link) == b"video"


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_what_is_no_readable_file_is_refused_with_a_sentence(
    path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(path)
    with pytest.raises(StorageError) as caught:
        read_all(path)
    assert str(caught.value) == f"{str(path)!r} could not be read: {reason}."
    assert isinstance(caught.value.__cause__, OSError)


def test_a_device_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(StorageError, match="it is a device, not a regular file"):
        read_all(os.devnull)


@needs_permissions
def test_an_unreadable_file_is_refused(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)
    with pytest.raises(StorageError, match="you have no permission to read it; change its mode"):
        read_all(path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "you have no permission to read it"),
        (OSError(5, "Input/output error"), "the system says 'input/output error'"),
        (OSError("odd"), "the system says 'odd'"),
    ],
)
def test_the_systems_own_refusals_have_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    path.write_bytes(b"video")

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=reason):
        read_all(path)


@pytest.mark.parametrize("name", ["clip\0.mp4", "x" * 5000])
def test_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="check the name"):
        read_all(str(tmp_path / name))


def test_a_kind_nobody_has_heard_of_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    monkeypatch.setattr(regular_file, "_KINDS", {})
    with pytest.raises(StorageError, match="it is of an unknown kind, not a regular file"):
        read_all(path)


def test_a_pipe_put_in_the_files_place_neither_blocks_nor_leaks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name may lead elsewhere between the look and the opening."""
    path.write_bytes(b"video")
    real = os.open
    opened: list[int] = []

    def swap(name: str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        opened.append(real(name, flags))
        return opened[-1]

    monkeypatch.setattr(os, "open", swap)
    refused = threading.Event()

    def attempt() -> None:
        with pytest.raises(regular_file.IrregularFileError):
            open_regular(path)
        refused.set()

    threading.Thread(target=attempt, daemon=True).start()
    assert refused.wait(DEADLINE_S)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@pytest.mark.parametrize(
    ("name", "shown", "can_be_written"),
    [
        ("film (1).mp4", "film (1).mp4", True),
        ("映画.mp4", "映画.mp4", True),
        (os.fsdecode(b"\xe9.mp4"), "\ufffd.mp4", True),
        ("two\nlines\x1b[31m\u202e", "two\ufffdlines\ufffd[31m\ufffd", True),
        ("\ud800", "\ufffd", False),
    ],
)
def test_a_path_in_a_message_is_printable(name: str, shown: str, can_be_written: bool) -> None:
    assert printable(name) == shown
    assert printable(Path(name)) == shown
    assert is_encodable(name) is can_be_written
