"""The cache folder: one place for each address, evicted by age, never under a user's feet."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.origin import Film, Origin, noise, spawn
from vidnb.download import cache
from vidnb.download.cache import (
    DEFAULT_LIMIT_BYTES,
    CachedFolder,
    CacheEntry,
    cache_limit_bytes,
    evict,
    select_evictions,
)
from vidnb.errors import StorageError
from vidnb.io import locks

MIB = 2**20


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "user_cache_path", lambda *_, **__: tmp_path)
    return tmp_path / "streams"


def fill(address: str, used_s: float, size_bytes: int = MIB) -> Path:
    """Cache a file and let its place go."""
    place = CachedFolder(address)
    (place.folder / "film.mp4").write_bytes(bytes(size_bytes))
    place.close()
    os.utime(place.folder, (used_s, used_s))
    return place.folder


def test_one_place_for_each_address(root: Path) -> None:
    first, again, other = (
        CachedFolder("https://a/1"),
        CachedFolder("https://a/1"),
        CachedFolder("https://a/2"),
    )
    assert first.folder == again.folder != other.folder
    assert {path.parent for path in (first.folder, other.folder)} == {root}
    for place in (first, again, other):
        place.close()
        place.close()


def test_the_oldest_leaves_first() -> None:
    old, mid, new = fill("old", 100), fill("mid", 200), fill("new", 300)
    evict(2 * MIB + MIB // 2)
    assert [folder.exists() for folder in (old, mid, new)] == [False, True, True]
    evict(0)
    assert not mid.exists()
    assert not new.exists()


def test_to_use_it_makes_it_young() -> None:
    old, new = fill("old", 100), fill("new", 200)
    CachedFolder("old").close()
    evict(MIB + MIB // 2)
    assert (old.exists(), new.exists()) == (True, False)


def test_what_is_in_use_stays() -> None:
    place = CachedFolder("used")
    (place.folder / "film.mp4").write_bytes(bytes(MIB))
    evict(0)
    assert place.folder.exists()
    place.close()
    evict(0)
    assert not place.folder.exists()


def test_what_another_process_uses_stays(root: Path) -> None:
    """Until it is gone, however it went."""
    folder = fill("shared", 100)
    code = (
        "import sys; from pathlib import Path; from vidnb.download import cache\n"
        f"cache.user_cache_path = lambda *_, **__: Path({str(root.parent)!r})\n"
        "place = cache.CachedFolder('shared'); print('here', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        evict(0)
        assert folder.exists()
        child.kill()
        child.wait(DEADLINE_S)
    evict(0)
    assert not folder.exists()


def test_processes_that_evict_each_others_folders(root: Path) -> None:
    """No folder vanishes while it is in use, and none that vanishes before is an error."""
    code = (
        "import sys; from pathlib import Path; from vidnb.download import cache\n"
        f"cache.user_cache_path = lambda *_, **__: Path({str(root.parent)!r})\n"
        "for number in range(300):\n"
        "    place = cache.CachedFolder(f'https://a/{number % 3}')\n"
        "    file = place.folder / '.vidnb' / f'{sys.argv[1]}-{number}.part'\n"
        "    file.parent.mkdir(exist_ok=True)\n"
        "    file.write_bytes(bytes(10_000))\n"
        "    cache.evict(0)\n"
        "    assert file.stat().st_size == 10_000\n"
        "    place.close()\n"
        "    cache.evict(0)\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    ends = [(child.communicate(timeout=120)[1], child.returncode) for child in children]
    assert ends == [("", 0)] * 3


def test_a_folder_that_is_created_anew_before_its_lock_is_acquired_stays(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock acquired is that of the removed folder, and says nothing about the new one."""
    folder, real, used = fill("raced", 100), locks.lock, list[CachedFolder]()
    calls = 0

    def racing(descriptor: int, *, is_shared: bool = False) -> bool | None:
        nonlocal calls
        calls += not is_shared
        if calls == 2 and not is_shared:  # the first one only looks whether the folder is in use
            shutil.rmtree(folder)
            used.append(CachedFolder("raced"))
            (folder / "film.mp4").write_bytes(b"new")
        return real(descriptor, is_shared=is_shared)

    monkeypatch.setattr(cache, "lock", racing)
    evict(0)
    assert (folder / "film.mp4").read_bytes() == b"new"
    used[0].close()
    evict(0)
    assert not folder.exists()


def test_a_folder_that_vanishes_before_it_is_looked_at(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step meets it; what is left is judged all the same."""
    gone, left = fill("gone", 100), fill("left", 200)
    real = cache._size_bytes

    def racing(folder: Path) -> int:
        if folder == gone:
            shutil.rmtree(folder)
        return real(folder)

    monkeypatch.setattr(cache, "_size_bytes", racing)
    evict(0)
    assert not left.exists()
    monkeypatch.setattr(cache, "_size_bytes", real)

    def vanishing(kept: Iterable[CacheEntry], cache_limit_bytes: int) -> tuple[str, ...]:
        names = select_evictions(kept, cache_limit_bytes)
        shutil.rmtree(root, ignore_errors=True)
        return names

    fill("third", 300)
    monkeypatch.setattr(cache, "select_evictions", vanishing)
    evict(0)
    evict(0)
    assert not root.exists()


def test_the_cache_vanishes_before_it_is_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    evict(0)
    assert not root.exists()


def test_a_folder_that_vanishes_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Path.mkdir` reports that it exists, and then it is gone."""
    real, calls = Path.mkdir, 0

    def racing(path: Path, *args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise FileExistsError
        real(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", racing)
    place = CachedFolder("raced")
    assert place.folder.is_dir()
    place.close()


def test_a_name_that_a_file_has_is_an_error(root: Path) -> None:
    """A file in place of the folder does not go away by waiting."""
    place = CachedFolder("a")
    place.close()
    shutil.rmtree(place.folder)
    place.folder.write_text("not a folder")
    with pytest.raises(FileExistsError):
        CachedFolder("a")
    shutil.rmtree(root)
    root.write_text("not a folder")
    with pytest.raises(NotADirectoryError):
        CachedFolder("a")


def test_sparse_files_count_for_what_they_take() -> None:
    place = CachedFolder("sparse")
    with (place.folder / "film.mp4").open("wb") as file:
        file.truncate(2**40)
    place.close()
    evict(MIB)
    assert place.folder.exists()


def test_what_comes_into_use_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the choice of what leaves and its removal."""
    fill("a", 100)
    users: list[CachedFolder] = []

    def choose(kept: Iterable[CacheEntry], cache_limit_bytes: int) -> tuple[str, ...]:
        leaving = select_evictions(kept, cache_limit_bytes)
        users.append(CachedFolder("a"))
        return leaving

    monkeypatch.setattr(cache, "select_evictions", choose)
    evict(0)
    assert (users[0].folder / "film.mp4").exists()
    users[0].close()


def test_a_cache_that_is_not_there_yet(root: Path) -> None:
    evict(0)
    assert not root.exists()


def test_strange_things_in_it_are_left_alone(root: Path) -> None:
    root.mkdir()
    (root / "note.txt").write_text("not ours")
    (root / "folder").mkdir()  # without a lock: of a version that had none, or torn
    evict(0)
    assert (root / "note.txt").exists()
    assert (root / "folder").exists()  # it takes nothing, so nothing is won
    (root / "folder" / "film.mp4").write_bytes(bytes(MIB))
    evict(0)
    assert not (root / "folder").exists()


def test_a_place_evicted_in_that_moment_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening of the lock and the locking, and before the opening."""
    real, calls = cache._locked, 0

    def racing(folder: Path) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            folder.rmdir()
        return real(folder)

    monkeypatch.setattr(cache, "_locked", racing)
    place = CachedFolder("raced")
    assert calls == 2
    assert place.folder.is_dir()
    place.close()


def test_a_lock_that_was_removed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever evicts holds it, and removes it with the folder."""
    real = locks.lock
    removed: list[Path] = []

    def racing(descriptor: int, *, is_shared: bool = False) -> bool | None:
        if not removed:
            removed.append(next(cache.cache_root().rglob(".vidnb-in-use")))
            removed[0].unlink()
        return real(descriptor, is_shared=is_shared)

    monkeypatch.setattr(cache, "lock", racing)
    place = CachedFolder("raced")
    assert removed
    evict(0)
    assert place.folder.is_dir()
    place.close()


def test_who_evicts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True])
    monkeypatch.setattr(cache, "lock", lambda *_, **__: next(answers))
    CachedFolder("awaited").close()
    assert next(answers, None) is None


def test_without_locks_it_is_evicted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "lock", lambda *_, **__: None)
    folder = fill("a", 100)
    evict(0)
    assert not folder.exists()


def test_a_file_that_vanishes_meanwhile_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill("a", 100)
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name == "film.mp4":
            raise FileNotFoundError
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    evict(MIB // 2)
    assert folder.exists()


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert cache.cache_root().parts[-2:] == ("vidnb", "streams")


@pytest.mark.parametrize(
    ("said", "limit_bytes"),
    [(None, DEFAULT_LIMIT_BYTES), ("", DEFAULT_LIMIT_BYTES), ("0", 0), ("1000", 1000)],
)
def test_the_limit(said: str | None, limit_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDNB_CACHE_BYTES", raising=False)
    if said is not None:
        monkeypatch.setenv("VIDNB_CACHE_BYTES", said)
    assert cache_limit_bytes() == limit_bytes == (limit_bytes if said else 10 * 2**30)


@pytest.mark.parametrize("said", ["10 GB", "-1", "1e9", "٣"])
def test_a_limit_that_is_none(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_CACHE_BYTES", said)
    with pytest.raises(ValueError, match="which is not a number of bytes"):
        cache_limit_bytes()


# Where the user's cache cannot be used.


@pytest.fixture
def no_temporary_cache() -> Iterator[None]:
    """Begin as a new process does."""
    yield
    cache._temporary_root.cache_clear()
    cache._log_temporary.cache_clear()


def make_file(root: Path) -> None:
    root.parent.mkdir(exist_ok=True)
    root.write_bytes(b"")


def make_file_above(root: Path) -> None:
    root.parent.rmdir()
    root.parent.write_bytes(b"")


def make_broken_link(root: Path) -> None:
    root.symlink_to(root.parent / "not-mounted")


@pytest.mark.parametrize("make", [make_file, make_file_above, make_broken_link])
@pytest.mark.usefixtures("no_temporary_cache")
def test_a_cache_that_cannot_be_made_is_replaced_by_a_temporary_one(
    make: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "home").mkdir()
    root = tmp_path / "home" / "streams"
    monkeypatch.setattr(cache, "cache_root", lambda: root)
    monkeypatch.setattr(cache, "_RETRY_S", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make(root)
    first, other = cache.open_folder("https://a/1"), cache.open_folder("https://a/2")
    again = cache.open_folder("https://a/1")
    try:
        assert first.folder == again.folder
        assert first.folder.parent == other.folder.parent
        assert first.folder.parent.parent == tmp_path
        assert stat.S_IMODE(first.folder.parent.stat().st_mode) == 0o700
    finally:
        for place in (first, other, again):
            place.close()
    (warning,) = caplog.records
    assert f"The cache at {root} cannot be used" in warning.getMessage()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.usefixtures("no_temporary_cache")
def test_a_cache_on_a_read_only_disk_is_replaced_by_a_temporary_one(
    number: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its folder exists."""
    fill("a", 1.0)
    opens = Path.open
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def refuse(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "rb" and path.is_relative_to(root):
            raise OSError(number, os.strerror(number), str(path))
        return opens(path, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    place = cache.open_folder("a")
    assert place.folder.is_relative_to(tmp_path / "temporary")
    place.close()


@pytest.mark.usefixtures("no_temporary_cache")
def test_a_user_without_a_home_has_a_temporary_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` stays as it is then, and would be a folder in the working folder."""
    monkeypatch.setattr(cache, "user_cache_path", lambda *_, **__: Path("~/.cache/vidnb"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = cache.open_folder("a")
    place.close()
    assert place.folder.is_absolute()
    assert not (tmp_path / "~").exists()


@pytest.mark.usefixtures("no_temporary_cache")
def test_a_temporary_cache_that_cannot_be_made_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(root)
    monkeypatch.setattr(tempfile, "tempdir", str(root / "missing"))
    with pytest.raises(StorageError, match="nor a temporary one can be used"):
        vidnb.open("http://127.0.0.1:9/film.mp4")


READ_ONLY_HOME = """
import os, sys, tempfile, pathlib
import vidnb
with vidnb.open(sys.argv[1]) as file:
    assert len(file.read()) == 1000
with vidnb.serve(sys.argv[1]) as served:
    pass
(folder,) = pathlib.Path(tempfile.gettempdir()).glob("vidnb-cache-*")
if os.fork() == 0:
    sys.exit()  # a child of the process removes nothing
os.wait()
assert folder.is_dir()
print(oct(folder.stat().st_mode & 0o777))
"""


@pytest.mark.parametrize("home", ["file", "read-only"])
def test_open_and_serve_with_an_unusable_home_clean_up_at_exit(home: str, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "file").write_bytes(b"")
    home_path = (
        tmp_path / "file" if home == "file" else Path("/proc/vidnb")
    )  # no folder is made there
    environment = {"HOME": str(home_path), "XDG_CACHE_HOME": "", "TMPDIR": str(temporary)}
    with Origin(Film(noise(1000))) as origin:
        with spawn(READ_ONLY_HOME, origin.url, environment=environment) as child:
            out, error = child.communicate(timeout=DEADLINE_S)
        assert (out, child.returncode) == ("0o700\n", 0), error
        assert error.count("cannot be used") == 1
    assert list(temporary.iterdir()) == []


def test_a_cached_folder_is_for_its_owner_only(root: Path) -> None:
    place = CachedFolder("a")
    place.close()
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
