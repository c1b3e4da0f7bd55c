"""The user's cache folder: one folder for each URL, the least recently used evicted beyond a limit.

A folder in use is locked (shared) by every process that uses it; the lock ends with the process.
It is removed only under an exclusive lock. Another process may do so at any moment before it is
locked here, so every step expects that a folder has vanished. Where files cannot be locked, only
its age tells that a folder is not in use.
Where the cache cannot be used (a read-only or missing home), a temporary one takes its place, which
is removed when the process exits.
Every function may block on the disk and raises the disk's `OSError`.
"""

import atexit
import contextlib
import errno
import functools
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from vidnb.io.locks import lock
from vidnb.io.regular_file import printable

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "CacheEntry",
    "CachedFolder",
    "cache_limit_bytes",
    "cache_root",
    "evict",
    "open_folder",
    "select_evictions",
]

DEFAULT_LIMIT_BYTES = 10 * 2**30
"""The size limit (B) unless the environment variable `VIDNB_CACHE_BYTES` sets another."""

_LOCK = ".vidnb-in-use"
_RETRY_S = 0.01
_MAX_TRIES = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cache entry: its name, its size (B) and the time of its last use (Unix time, s)."""

    name: str
    size_bytes: int
    used_s: float
    is_open: bool = False


def select_evictions(entries: Iterable[CacheEntry], max_bytes: int) -> tuple[str, ...]:
    """Return the names to remove, oldest first, so that at most `max_bytes` remain.

    Open entries are never removed but count, so the cache may stay larger than `max_bytes`.
    """
    by_age = sorted(entries, key=lambda entry: (entry.used_s, entry.name))
    excess_bytes = sum(entry.size_bytes for entry in by_age) - max_bytes
    evicted = []
    for entry in by_age:
        if excess_bytes <= 0:
            break
        if not entry.is_open:
            evicted.append(entry.name)
            excess_bytes -= entry.size_bytes
    return tuple(evicted)


def cache_root() -> Path:
    """Return the folder of all cached files."""
    return user_cache_path("vidnb", appauthor=False) / "streams"


def cache_limit_bytes(
    variable: str = "VIDNB_CACHE_BYTES", default: int = DEFAULT_LIMIT_BYTES
) -> int:
    """Return the limit (B) that an environment variable sets, or the default.

    `ValueError` if the variable is not a number of bytes.
    """
    said = os.environ.get(variable, "")
    if not said:
        return default
    if not (said.isascii() and said.isdigit()):
        raise ValueError(
            f"{variable} is {said!r}, which is not a number of bytes: write it in digits,"
            f" as {default}, or unset it."
        )
    return int(said)


def open_folder(address: str, kind: str = "", limit_bytes: int | None = None) -> "CachedFolder":
    """Return the folder of `address` in the cache, after evicting what exceeds the limit.

    `kind` names the folder of all entries of one kind, beside that of the downloads ("" for these),
    which have a limit of their own (B; None: that of `cache_limit_bytes`). In the temporary cache
    if the user's own cannot be used, which is logged once.
    """
    limit_bytes = cache_limit_bytes() if limit_bytes is None else limit_bytes
    try:
        root = cache_root().with_name(kind) if kind else cache_root()
        return _open_folder(root, address, limit_bytes)
    except OSError as error:
        root = _temporary_root()
        folder = _open_folder(root, address, limit_bytes)
        _log_temporary(root, error.strerror or type(error).__name__)
        return folder


def _open_folder(root: Path, address: str, limit_bytes: int) -> "CachedFolder":
    if not root.is_absolute():  # there is no home, so "~" could not be expanded
        raise FileNotFoundError(errno.ENOENT, "there is no home folder")
    folder = CachedFolder(address, root)
    try:
        evict(limit_bytes, root)
    except BaseException:
        folder.close()
        raise
    return folder


@functools.cache
def _temporary_root() -> Path:
    """Make the temporary cache of this process (mode 0700), which is removed at exit."""
    root, owner = Path(tempfile.mkdtemp(prefix="vidnb-cache-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not at the exit of a forked child
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root


@functools.cache
def _log_temporary(root: Path, reason: str) -> None:
    """Log, once for each reason, that a temporary cache is used."""
    logger.warning(
        "The cache at %s cannot be used (%s); until this process exits, what is fetched is kept in"
        " %s.",
        printable(cache_root()),
        reason,
        printable(root),
    )


class CachedFolder:
    """The folder of one URL in the cache, locked against eviction until `close`."""

    def __init__(self, address: str, root: Path | None = None) -> None:
        """Create and lock the folder, of its owner only. `address` holds no credentials."""
        name = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.folder = (root or cache_root()) / name
        self._lock: BinaryIO | None = None
        tries = 0
        while self._lock is None:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _locked(self.folder)
            except (FileNotFoundError, FileExistsError):
                # Evicted in this moment, as below: `mkdir` found the folder, then nothing. But a
                # file or a broken link in its place, or a file system in which no folder can be
                # made (/proc), says the same for ever.
                tries += 1
                if tries == _MAX_TRIES or self.folder.is_file():
                    raise
            if self._lock is None:
                time.sleep(_RETRY_S)
        os.utime(self.folder)

    def discard(self) -> None:
        """Remove the folder, in which nothing is of use any more, and release the lock."""
        with contextlib.suppress(OSError):
            _remove(self.folder)
        self.close()

    def close(self) -> None:
        """Release the lock, so that the folder can be evicted."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def evict(limit_bytes: int, root: Path | None = None) -> None:
    """Remove the least recently used folders that are not in use, until the rest fits the limit."""
    root = root or cache_root()
    kept: list[CacheEntry] = []
    with contextlib.suppress(FileNotFoundError):
        for folder in root.iterdir():
            if folder.is_dir():
                with contextlib.suppress(FileNotFoundError):
                    kept.append(_described(folder))
    for name in select_evictions(kept, limit_bytes):
        with contextlib.suppress(FileNotFoundError), _exclusive(root / name) as is_unused:
            if is_unused:
                _remove(root / name)


def _locked(folder: Path) -> BinaryIO | None:
    """Lock the folder for use; None if another process is about to remove it, or has removed it."""
    file = (folder / _LOCK).open("ab")
    if _lock_file(file, is_shared=True):
        return file
    file.close()
    return None


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[bool]:
    """Lock the folder exclusively; False if it is in use, or was removed."""
    with (folder / _LOCK).open("ab") as file:
        yield _lock_file(file, is_shared=False)


def _lock_file(file: BinaryIO, *, is_shared: bool) -> bool:
    """Return whether no other lock excludes this one and the file was not removed before it."""
    is_locked = lock(file.fileno(), is_shared=is_shared)
    return is_locked is not False and os.fstat(file.fileno()).st_nlink > 0


def _remove(folder: Path) -> None:
    """Remove a folder, its lock file last: once that is gone, the folder may be in use again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        (folder / _LOCK).unlink()
        folder.rmdir()


def _described(folder: Path) -> CacheEntry:
    size_bytes, used_s = _size_bytes(folder), folder.stat().st_mtime
    with _exclusive(folder) as is_unused:
        return CacheEntry(folder.name, size_bytes, used_s, is_open=not is_unused)


def _size_bytes(folder: Path) -> int:
    return sum(_files_bytes(folder))


def _files_bytes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):  # which passes over what vanishes
        for name in names:
            with contextlib.suppress(OSError):
                status = Path(parent, name).lstat()
                # What a sparse part file really takes, where the system tells.
                yield getattr(status, "st_blocks", status.st_size // 512) * 512
