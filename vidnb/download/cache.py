"""The user's cache folder: one folder for each address, the least recently used out beyond a limit.

A folder in use is locked (shared) by every process that uses it; the lock dies with its holder.
Where files cannot be locked, only its age tells that a folder is not in use.
Every function may block on the disk and raises `OSError` as the disk does.
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from vidnb.download.planner.eviction import CacheEntry, select_evictions
from vidnb.io.locks import lock

__all__ = ["DEFAULT_LIMIT_BYTES", "CachedFolder", "cache_limit_bytes", "cache_root", "evict"]

DEFAULT_LIMIT_BYTES = 10 * 2**30
"""What the cache may take if the environment's `VIDNB_CACHE_BYTES` does not say so (B)."""

_LOCK = ".vidnb-in-use"
_MOMENT_S = 0.01


def cache_root() -> Path:
    """Return the folder of all cached files."""
    return user_cache_path("vidnb", appauthor=False) / "streams"


def cache_limit_bytes() -> int:
    """Return the limit (B); `ValueError` where the environment's is no number of bytes."""
    said = os.environ.get("VIDNB_CACHE_BYTES", "")
    if not said:
        return DEFAULT_LIMIT_BYTES
    if not (said.isascii() and said.isdigit()):
        raise ValueError(
            f"VIDNB_CACHE_BYTES is {said!r}, which is no number of bytes: write it in digits,"
            f" as {DEFAULT_LIMIT_BYTES}, or unset it."
        )
    return int(said)


class CachedFolder:
    """The folder of one address in the cache, kept from being evicted until `close`."""

    def __init__(self, address: str) -> None:
        """Make the folder and lock it. `address` holds no credentials."""
        name = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.folder = cache_root() / name
        self._lock: BinaryIO | None = None
        while self._lock is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # evicted in this moment
                self._lock = _locked(self.folder)
            if self._lock is None:
                time.sleep(_MOMENT_S)
        os.utime(self.folder)

    def close(self) -> None:
        """Let it be evicted in its turn."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def evict(limit_bytes: int) -> None:
    """Remove what was not used for longest and is not in use, until the rest fits the limit."""
    root = cache_root()
    if not root.is_dir():
        return
    kept = [
        CacheEntry(
            folder.name, _size_bytes(folder), folder.stat().st_mtime, is_open=_is_open(folder)
        )
        for folder in root.iterdir()
        if folder.is_dir()
    ]
    for name in select_evictions(kept, limit_bytes):
        with _sole_use(root / name) as is_mine:
            if is_mine:
                shutil.rmtree(root / name, ignore_errors=True)


def _locked(folder: Path) -> BinaryIO | None:
    """Lock the folder for use; None where somebody is about to remove it, or has."""
    file = (folder / _LOCK).open("ab")
    is_mine = lock(file.fileno(), is_shared=True)
    if is_mine is False or not os.fstat(file.fileno()).st_nlink:
        file.close()
        return None
    return file


@contextlib.contextmanager
def _sole_use(folder: Path) -> Iterator[bool]:
    """Lock the folder against everybody; False where somebody uses it."""
    try:
        file = (folder / _LOCK).open("rb")
    except FileNotFoundError:
        yield True
        return
    with file:
        yield lock(file.fileno()) is not False


def _is_open(folder: Path) -> bool:
    with _sole_use(folder) as is_mine:
        return not is_mine


def _size_bytes(folder: Path) -> int:
    return sum(_files_bytes(folder))


def _files_bytes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            # What a sparse part really takes, where the system tells.
            yield getattr(status, "st_blocks", status.st_size // 512) * 512
