"""Made segments in the user's cache folder, shared by processes; in memory where it is unusable.

A file has its final name when it is complete. The least recently used are removed beyond a limit;
the modification time, set at each use, says when that was.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from vidnb.download.cache import CacheEntry, cache_limit_bytes, select_evictions
from vidnb.io.regular_file import open_regular, printable
from vidnb.media.playlist import INIT_NAME, PLAYLIST_NAME

__all__ = ["SegmentCache", "segment_root"]

logger = logging.getLogger(__name__)

LIMIT_VARIABLE: Final = "VIDNB_SEGMENT_CACHE_BYTES"
LIMIT_BYTES: Final = 2 * 2**30
"""The limit (B) unless the environment variable sets another; 0 keeps nothing on disk."""

_MEMORY_BYTES: Final = 64 * 2**20
"""The limit (B) of what is kept in memory; read-ahead of 15 segments fits up to 17 Mbit/s."""
_SWEEP_BYTES: Final = 64 * 2**20
"""How much is written (B) until the size of the folder is determined again."""
_PLAYLIST_END: Final = b"#EXT-X-ENDLIST\n"


def segment_root() -> Path:
    """Return the folder of the cached segments."""
    return user_cache_path("vidnb", appauthor=False) / "segments"


class SegmentCache:
    """The made parts of all streams, by the stream's key and the part's name. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._memory_bytes = 0
        self._unswept_bytes = _SWEEP_BYTES  # the first file of a process begins with a sweep
        self._is_warned = False

    def find(self, key: str, name: str) -> bytes | None:
        """Return a part that was made before; None if there is none, or it is damaged."""
        with self._lock:
            data = self._memory.get((key, name))
            if data is not None:
                self._memory.move_to_end((key, name))
                return data
        path = segment_root() / key / name
        try:
            with open(open_regular(path)[0], "rb") as file:  # noqa: PTH123 - a descriptor
                data = file.read()
        except (OSError, ValueError):
            return None
        if not _is_complete(name, data):
            return None
        with suppress(OSError):  # a read-only cache is used as it is
            os.utime(path)
        return data

    def save(self, key: str, name: str, data: bytes) -> None:
        """Keep a part; `ValueError` if the environment variable of the limit is no number."""
        limit_bytes = cache_limit_bytes(LIMIT_VARIABLE, LIMIT_BYTES)
        if len(data) <= limit_bytes:
            try:
                self._write(segment_root(), key, name, data)
                self._sweep(len(data), limit_bytes)
            except OSError as error:
                self._warn(error)
            else:
                return
        with self._lock:
            self._memory_bytes += len(data) - len(self._memory.pop((key, name), b""))
            self._memory[key, name] = data
            while self._memory_bytes > _MEMORY_BYTES and len(self._memory) > 1:
                self._memory_bytes -= len(self._memory.popitem(last=False)[1])

    def _write(self, root: Path, key: str, name: str, data: bytes) -> None:
        if not root.is_absolute():
            raise FileNotFoundError("there is no home folder")
        folder = root / key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f"{name}.{os.getpid()}.{threading.get_ident()}.part"
        try:
            part.write_bytes(data)
            part.replace(folder / name)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    def _sweep(self, written_bytes: int, limit_bytes: int) -> None:
        """Remove the least recently used files, now and then, until the rest fits the limit."""
        with self._lock:
            self._unswept_bytes += written_bytes
            if self._unswept_bytes < min(_SWEEP_BYTES, limit_bytes // 8):
                return
            self._unswept_bytes = 0
        root = segment_root()
        with suppress(OSError):
            for name in select_evictions(list(_entries(root)), limit_bytes):
                with suppress(OSError):  # another process removes it too
                    (root / name).unlink()
                with suppress(OSError):  # not empty yet
                    (root / name).parent.rmdir()

    def _warn(self, error: OSError) -> None:
        if not self._is_warned:
            self._is_warned = True
            logger.warning(
                "Segments cannot be kept in %s (%s); until this process exits, the latest are kept"
                " in memory.",
                printable(segment_root()),
                error.strerror or type(error).__name__,
            )


def _entries(root: Path) -> Iterator[CacheEntry]:
    for folder in root.iterdir():
        with suppress(OSError):  # removed meanwhile
            for file in folder.iterdir():
                status = file.lstat()
                yield CacheEntry(f"{folder.name}/{file.name}", status.st_size, status.st_mtime)


def _is_complete(name: str, data: bytes) -> bool:
    """Whether a part is whole: nothing is synced, so that a power failure may leave half of one.

    A playlist ends with its last tag (RFC 8216 section 4.3.3.4); the boxes of a segment (ISO/IEC
    14496-12 section 4.2) end with the file.
    """
    if name == PLAYLIST_NAME:
        return data.endswith(_PLAYLIST_END)
    kinds, offset = set(), 0
    while offset < len(data):
        box_bytes = int.from_bytes(data[offset : offset + 4])
        if box_bytes == 1:
            box_bytes = int.from_bytes(data[offset + 8 : offset + 16])
        if box_bytes < 8:
            return False
        kinds.add(data[offset + 4 : offset + 8])
        offset += box_bytes
    return offset == len(data) and (b"moov" if name == INIT_NAME else b"mdat") in kinds
