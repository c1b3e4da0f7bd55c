"""Destinations: what is refused before the first request, and where and how a file is stored."""

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.origin import (
    Film,
    Origin,
    cut,
    fetch,
    noise,
    on,
    redirect,
    spawn,
    status,
    visible_names,
)
from tests.servers import open_folder
from vidnb.download import stale_files
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.errors import NotAVideo, StorageError, TransportError
from vidnb.io.regular_file import IrregularFileError, irregular_kind, resolve_target

DATA = noise(100_000)
HALF = 50_000
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(Film(DATA)) as running:
        yield running


def get(origin: Origin, path: Path | str, **options: Any) -> DownloadResult:
    return fetch(DownloadRequest.of(origin.url, path, retry=ONCE, **options))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# What a path is.


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (stat.S_IFREG, None),
        (stat.S_IFDIR, "a folder"),
        (stat.S_IFIFO, "a named pipe"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a device"),
        (stat.S_IFBLK, "a device"),
        (stat.S_IFLNK, "of an unknown kind"),
        (0, "of an unknown kind"),
    ],
)
def test_the_kind_of_a_file(kind: int, name: str | None) -> None:
    assert irregular_kind(kind | 0o644) == name


def make_socket(path: Path) -> None:
    # The name of a socket has at most 108 bytes, so it is made by a short one.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def make_null(path: Path) -> None:
    """Make a device as /dev/null is."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def make_block_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200))
    except PermissionError:
        pytest.skip("only root makes devices")


def link_to(make: Callable[[Path], None], links: int = 1) -> Callable[[Path], None]:
    def linked(path: Path) -> None:
        make(path.with_name("real"))
        for number in range(1, links):
            path.with_name(f"link{number}").symlink_to(
                "real" if number == 1 else f"link{number - 1}"
            )
        path.symlink_to("real" if links == 1 else f"link{links - 1}")

    return linked


_opened: list[int] = []


@pytest.fixture(autouse=True)
def close_descriptors() -> Iterator[None]:
    yield
    while _opened:
        os.close(_opened.pop())


def make_unnamed(path: Path) -> None:
    """Make a link to an open file that was removed, as /dev/stdout may be."""
    removed = path.with_name("removed")
    _opened.append(os.open(removed, os.O_RDWR | os.O_CREAT))
    removed.unlink()
    path.symlink_to(f"/proc/self/fd/{_opened[-1]}")


def make_standard_output(path: Path) -> None:
    """Make a link to a pipe, as /dev/stdout is behind `| less`."""
    _opened.extend(os.pipe())
    path.symlink_to(f"/proc/self/fd/{_opened[-1]}")


IRREGULAR = [
    pytest.param(os.mkfifo, "it is a named pipe, not a regular file", id="pipe"),
    pytest.param(make_socket, "it is a socket, not a regular file", id="socket"),
    pytest.param(make_null, "it is a device, not a regular file", id="device"),
    pytest.param(make_block_device, "it is a device, not a regular file", id="block-device"),
    pytest.param(link_to(os.mkfifo), "it is a named pipe, not", id="link-to-a-pipe"),
    pytest.param(link_to(make_null, 3), "it is a device, not", id="links-to-a-device"),
    pytest.param(make_standard_output, "it is a named pipe, not", id="standard-output"),
    pytest.param(make_unnamed, "it is a link to a file that has no name", id="removed-file"),
    pytest.param(
        lambda path: path.symlink_to(path), "its symbolic links form a cycle", id="cycle"
    ),
    pytest.param(
        lambda path: path.symlink_to(path.parent / "not-mounted" / "film.mp4"),
        "it is a symbolic link into the missing folder",
        id="link-into-a-missing-folder",
    ),
]  # fmt: skip


@pytest.mark.parametrize("if_exists", ["refresh", "overwrite", "error"])
@pytest.mark.parametrize(("make", "reason"), IRREGULAR)
def test_destination_that_is_no_regular_file_is_refused_before_any_request(
    make: Callable[[Path], None],
    reason: str,
    if_exists: str,
    origin: Origin,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "film.mp4"
    make(path)
    before = {one.name: one.lstat().st_ino for one in folder.iterdir()}
    with pytest.raises(StorageError) as caught:
        get(origin, path, if_exists=if_exists)
    assert str(caught.value).startswith(f"{path} cannot be written: {reason}")
    assert "nothing was kept; " in str(caught.value)
    assert not origin.requests
    assert {one.name: one.lstat().st_ino for one in folder.iterdir()} == before


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken-link"])
def test_destination_named_by_the_origin_never_replaces_what_is_no_file(
    kind: str, origin: Origin, tmp_path: Path
) -> None:
    """Its name is known after the first response only, so another one is chosen."""
    path = tmp_path / "film.mp4"
    makers: dict[str, Callable[[Path], None]] = {
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "broken-link": lambda path: path.symlink_to(tmp_path / "gone" / "film.mp4"),
    }
    makers[kind](path)
    before = path.lstat()
    result = get(origin, f"{tmp_path}/", if_exists="overwrite")
    assert result.path == tmp_path / "film (1).mp4"
    assert result.path.read_bytes() == DATA
    assert path.lstat().st_ino == before.st_ino


def test_destination_that_becomes_a_pipe_during_the_download_is_kept(
    origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"

    def meanwhile(exchange: Any) -> None:
        os.mkfifo(path)
        exchange.respond(exchange.response())

    origin.script = [meanwhile]
    with pytest.raises(StorageError, match="it is a named pipe") as caught:
        get(origin, path)
    assert caught.value.resumable_bytes == len(DATA)
    assert stat.S_ISFIFO(path.lstat().st_mode)
    path.unlink()
    assert get(origin, path).path.read_bytes() == DATA
    assert origin.sent_bytes == len(DATA)


# Links, and other file systems.


@pytest.fixture
def two_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders between which no file can be renamed or linked, as on two file systems."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()

    def on_one_disk(function: Callable[..., None]) -> Callable[..., None]:
        def checked(source: Any, target: Any, **options: Any) -> None:
            if Path(source).is_relative_to(one) != Path(target).is_relative_to(one):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
            function(source, target, **options)

        return checked

    for name in ("rename", "replace", "link"):
        monkeypatch.setattr(os, name, on_one_disk(getattr(os, name)))
    return one, other


@pytest.mark.parametrize("exists", [True, False], ids=["file", "dangling"])
@pytest.mark.parametrize("is_relative", [True, False], ids=["relative", "absolute"])
def test_destination_linked_to_another_disk_is_stored_beside_its_target(
    exists: bool, is_relative: bool, origin: Origin, two_disks: tuple[Path, Path]
) -> None:
    one, other = two_disks
    link, file = one / "film.mp4", other / "big.mp4"
    link.symlink_to("../other/big.mp4" if is_relative else file)
    if exists:
        file.write_bytes(b"old")
    origin.script = [cut(HALF)]
    with pytest.raises(TransportError, match=f"are kept in {other / '.vidnb'}"):
        get(origin, link)
    assert visible_names(one) == {"film.mp4"}
    assert not (one / ".vidnb").exists()
    assert not exists or file.read_bytes() == b"old"
    result = get(origin, link)
    assert result.path == link
    assert link.is_symlink()
    assert file.read_bytes() == DATA
    assert origin.sent_bytes == len(DATA)
    assert get(origin, link).reused


def test_destination_with_two_links_is_one_file(origin: Origin, tmp_path: Path) -> None:
    """The record is that of the file, so the second name needs no download."""
    for name in ("a", "b"):
        (tmp_path / name).symlink_to("film.mp4")
    assert not get(origin, tmp_path / "a").reused
    assert get(origin, tmp_path / "b").reused


def test_destination_moved_to_another_disk_and_linked_is_replaced_there(
    origin: Origin, two_disks: tuple[Path, Path]
) -> None:
    one, other = two_disks
    path = get(origin, f"{one}/").path
    shutil.move(path, other / "film.mp4", copy_function=shutil.copy2)
    path.symlink_to(other / "film.mp4")
    assert get(origin, f"{one}/").reused
    origin.film = Film(DATA[::-1], etag='"v2"')
    assert get(origin, f"{one}/").path == path
    assert path.is_symlink()
    assert (other / "film.mp4").read_bytes() == DATA[::-1]
    assert visible_names(one) == visible_names(other) == {"film.mp4"}


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EXDEV, "it is a link to another disk; "),
        (errno.EBUSY, "a mount point, as a single file that a container mounts; "),
    ],
)
def test_destination_that_cannot_be_replaced_keeps_the_complete_part_file(
    number: int,
    sentence: str,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"mounted")
    replace = os.replace

    def refuse(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number), str(target))

    with monkeypatch.context() as patch:
        patch.setattr(
            os, "replace", lambda s, t: (refuse if str(t) == str(path) else replace)(s, t)
        )
        with pytest.raises(StorageError) as caught:
            get(origin, path)
    assert sentence.removesuffix("; ") in str(caught.value)
    assert caught.value.resumable_bytes == len(DATA)
    assert path.read_bytes() == b"mounted"
    assert get(origin, path).path.read_bytes() == DATA
    assert origin.sent_bytes == len(DATA)


@pytest.mark.parametrize("depth", ["here", "above"])
def test_destination_below_a_broken_link_is_refused_before_any_request(
    depth: str, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "disk").symlink_to(tmp_path / "not-mounted")
    folder = tmp_path / "disk" / ("" if depth == "here" else "films")
    with pytest.raises(StorageError, match="cannot be written: a folder on its path"):
        get(origin, folder / "film.mp4")
    assert not origin.requests
    assert visible_names(tmp_path) == {"disk"}


# Modes and owners.


@pytest.fixture
def umask() -> Iterator[Callable[[int], object]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("if_exists", ["refresh", "error"])
@pytest.mark.parametrize("was_cut", [False, True], ids=["at-once", "resumed"])
def test_destination_that_is_new_has_the_mode_of_any_new_file(
    mask: int,
    if_exists: str,
    was_cut: bool,
    umask: Callable[[int], object],
    origin: Origin,
    tmp_path: Path,
) -> None:
    umask(mask)
    path = tmp_path / "film.mp4"
    if was_cut:
        origin.script = [cut(HALF)]
        with pytest.raises(TransportError):
            get(origin, path, if_exists=if_exists)
    get(origin, path, if_exists=if_exists)
    assert mode_of(path) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o444, 0o755])
@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_destination_that_is_replaced_keeps_its_mode(
    mode: int, is_link: bool, origin: Origin, tmp_path: Path
) -> None:
    path = file = tmp_path / "film.mp4"
    if is_link:
        file = tmp_path / "real"
        path.symlink_to("real")
    file.write_bytes(b"old")
    file.chmod(mode)
    get(origin, path)
    assert file.read_bytes() == DATA
    assert mode_of(file) == mode
    origin.film = Film(DATA[::-1], etag='"v2"')
    assert not get(origin, path).reused
    assert mode_of(file) == mode


def test_destination_that_is_replaced_loses_set_user_id(origin: Origin, tmp_path: Path) -> None:
    """As a write to the file would do."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    path.chmod(0o6755)
    get(origin, path)
    assert mode_of(path) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_destination_that_is_replaced_keeps_its_owner(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    get(origin, path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize("is_permitted", [True, False])
def test_destination_of_another_user_keeps_its_group_where_only_that_is_permitted(
    is_permitted: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    given: list[tuple[int, int]] = []

    def refuse(descriptor: int, user: int, group: int) -> None:
        given.append((user, group))
        if not is_permitted:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    get(origin, path)
    asked = [(os.geteuid(), path.stat().st_gid), (-1, path.stat().st_gid)]
    assert given == (asked[:1] if is_permitted else asked)
    assert path.read_bytes() == DATA


def test_destination_on_a_file_system_without_modes_is_written(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    assert get(origin, tmp_path / "film.mp4").path.read_bytes() == DATA


# Secrets.


def stored_files(folder: Path) -> dict[str, Path]:
    return {path.suffix: path for path in (folder / ".vidnb").iterdir()}


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_secrets_are_in_no_file_and_no_name_that_is_stored(folder: bool, tmp_path: Path) -> None:
    """User information, query, and the signature of a redirect's target, of part and record."""
    path = f"{tmp_path}/" if folder else tmp_path / "film.mp4"
    with Origin(Film(DATA), [cut(HALF)]) as store, Origin(Film(DATA)) as origin:
        origin.otherwise = redirect(f"{store.url}?X-Amz-Signature=s1gnature")
        url = f"http://alice:s3cret@127.0.0.1:{origin.port}/film.mp4?token=t0ken"
        with pytest.raises(TransportError) as caught:
            fetch(DownloadRequest.of(url, path, retry=ONCE))
        journal = stored_files(tmp_path)
        assert {".part", ".journal"} <= set(journal)
        kept = [journal[".journal"].read_bytes()]
        result = fetch(DownloadRequest.of(url, path, retry=ONCE))
        assert store.ranges == [None, f"bytes={HALF}-"]
        record = stored_files(tmp_path)
        assert set(record) == {".record"}
        kept.append(record[".record"].read_bytes())
        assert result.url.endswith("s1gnature")
        texts = [repr(result), repr(DownloadRequest.of(url, path, headers={"Cookie": "s3cret"}))]
        texts += [str(caught.value), *map(str, (*journal.values(), *record.values()))]
    for secret in ("alice", "s3cret", "t0ken", "s1gnature"):
        assert not any(secret in text for text in texts)
        assert not any(secret.encode() in data for data in kept)


@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_secrets_files_are_for_their_owner_only(
    mask: int, umask: Callable[[int], object], origin: Origin, tmp_path: Path
) -> None:
    umask(mask)
    origin.script = [cut(HALF)]
    with pytest.raises(TransportError):
        get(origin, tmp_path / "film.mp4")
    assert mode_of(tmp_path / ".vidnb") == 0o700
    assert {name: mode_of(path) for name, path in stored_files(tmp_path).items()} == {
        ".part": 0o600,
        ".journal": 0o600,
    }
    get(origin, tmp_path / "film.mp4")
    assert {name: mode_of(path) for name, path in stored_files(tmp_path).items()} == {
        ".record": 0o600
    }


def test_secrets_of_an_earlier_version_are_no_longer_readable_by_others(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_files, "_next_at_s", {})
    (tmp_path / ".vidnb").mkdir()
    (tmp_path / ".vidnb").chmod(0o755)
    get(origin, tmp_path / "film.mp4")
    assert mode_of(tmp_path / ".vidnb") == 0o700


@pytest.mark.parametrize(
    "title", ["No such key: t0ken", "GET /film.mp4?token=t0ken", "alice is late"]
)
def test_secrets_in_the_title_of_a_page_are_not_in_the_error(title: str, tmp_path: Path) -> None:
    page = f"<!doctype html><title>{title}</title>".encode() + b" " * 5000
    with Origin(Film(page)) as origin:
        url = f"http://alice:s3cret@127.0.0.1:{origin.port}/film.mp4?token=t0ken"
        with pytest.raises(NotAVideo) as caught:
            fetch(DownloadRequest.of(url, tmp_path / "film.mp4", retry=ONCE))
    assert "sent a page, not a video" in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "alice" not in str(caught.value)
    assert caught.value.title == title


# Several users.


AS_NOBODY = """
import os, sys, tempfile
import vidnb
# Everything is imported before: another user may not be able to read this Python.
with tempfile.TemporaryDirectory() as folder:
    vidnb.download(sys.argv[1] + "?first", folder + "/film.mp4", progress=False)
os.setgroups([]); os.setgid(65534); os.setuid(65534); os.umask(0)
try:
    result = vidnb.download(*sys.argv[1:3], progress=False)
    print(result.reused, result.resumed_from_bytes)
except vidnb.VidnbError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which every user may write."""
    with open_folder() as folder:
        folder.chmod(0o777)
        yield folder


def as_nobody(url: str, path: Path) -> str:
    with spawn(AS_NOBODY, url, path) as child:
        out, error = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, error
    return out.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_users_of_a_shared_folder_have_their_own_unfinished_downloads(
    origin: Origin, shared: Path
) -> None:
    origin.script = [cut(HALF)]
    with pytest.raises(TransportError):
        get(origin, shared / "film.mp4")
    assert as_nobody(origin.url, shared / "film.mp4") == "False 0"
    assert as_nobody(origin.url, shared / "film.mp4") == "True 0"
    assert (shared / "film.mp4").stat().st_uid == 65534
    assert {path.name for path in shared.iterdir()} == {".vidnb", ".vidnb-65534", "film.mp4"}
    assert get(origin, shared / "film.mp4").resumed_from_bytes == HALF
    assert (shared / "film.mp4").read_bytes() == DATA


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_users_that_may_only_read_a_folder_reuse_its_file(origin: Origin, shared: Path) -> None:
    """Offline, too: the record is the user's own, the folder is read-only."""
    assert as_nobody(origin.url, shared / "film.mp4") == "False 0"
    for path in (shared / ".vidnb", shared):
        path.chmod(0o555)
        os.chown(path, 65534, 65534)
    assert as_nobody(origin.url, shared / "film.mp4") == "True 0"
    origin.otherwise = on("if-none-match", status(503))
    assert as_nobody(origin.url, shared / "film.mp4") == "True 0"
    assert as_nobody(origin.url, shared / "other.mp4").startswith("StorageError")


# Working folders and names.


@pytest.mark.parametrize("path", [None, "film.mp4", "films/", "./a/../film.mp4"])
def test_destination_in_a_removed_working_folder_is_one_sentence(
    path: str | None, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match="The working folder cannot be used"):
        vidnb.download(origin.url, path, progress=False)
    assert not origin.requests
    assert get(origin, tmp_path / "film.mp4").path.read_bytes() == DATA


NAMES = [
    os.fsdecode(b"caf\xe9.mp4"),
    os.fsdecode(b"\xff\xfe.mp4"),
    "two\nlines.mp4",
    "\u202emp4.exe",
    "映画.mp4",
    "🎬.mp4",
    " .mp4",
    "-",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_destination_with_an_unusual_name_is_written_resumed_and_reused(
    name: str, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / name
    origin.script = [cut(HALF)]
    with pytest.raises(TransportError):
        get(origin, path)
    assert get(origin, path).resumed_from_bytes == HALF
    assert get(origin, path).reused
    assert path.read_bytes() == DATA
    assert name in visible_names(tmp_path)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_destination_with_an_unusual_name_is_one_printable_line_in_an_error(
    name: str, origin: Origin, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(StorageError) as caught:
        get(origin, tmp_path / name)
    assert str(caught.value).isprintable()
    with pytest.raises(StorageError) as caught:
        get(origin, tmp_path / name / "film.mp4")
    assert str(caught.value).isprintable()


ASCII_NAMES = """
import sys
from vidnb.download.planner.retry import RetryPolicy
import vidnb
result = vidnb.download(sys.argv[1], sys.argv[2], progress=False)
print(ascii(result.path.name), vidnb.download(sys.argv[1], sys.argv[2], progress=False).reused)
"""


def test_destination_named_by_the_origin_where_names_are_ascii(
    origin: Origin, tmp_path: Path
) -> None:
    environment = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    url = f"{origin.base}/caf%C3%A9.mp4"
    with spawn(ASCII_NAMES, url, f"{tmp_path}/", environment=environment) as child:
        out, error = child.communicate(timeout=DEADLINE_S)
    assert (out, child.returncode) == ("'caf_.mp4' True\n", 0), error


# Resolving a link.


def test_a_link_is_resolved_without_opening_anything(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for number, target in enumerate([file, tmp_path / "0", tmp_path / "new"]):
        (tmp_path / str(number)).symlink_to(target)
    assert resolve_target(file) == file
    assert resolve_target(tmp_path / "0") == resolve_target(tmp_path / "1") == file
    assert resolve_target(tmp_path / "2") == tmp_path / "new"
    assert resolve_target(tmp_path / "no" / "where") == tmp_path / "no" / "where"
    assert resolve_target(file / "below") == file / "below"
    with pytest.raises(IrregularFileError) as caught:
        resolve_target(tmp_path)
    assert caught.value.reason == "it is a folder"
    assert caught.value.remedy == "add a trailing slash to save into it"
