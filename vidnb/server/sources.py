"""The sources that the range server serves, and their versions: open files.

The size, the validator and the bytes of a response come from one open descriptor. Where a file is
replaced by a rename, running responses keep sending the old bytes; the next one has the new. Where
it grows (a recording), they end at the size they began with; the next one has the new size.
"""

import asyncio
import hashlib
import os
import time
from pathlib import PurePath
from typing import Final, Protocol

from vidnb.errors import ServeError
from vidnb.http.headers import ETag
from vidnb.http.media_types import media_type_of
from vidnb.http.range_response import FileState, can_continue
from vidnb.http.ranges import ByteRange
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason

__all__ = [
    "ChangedError",
    "FileSource",
    "OpenFile",
    "OpenVersion",
    "Source",
    "StoredBytes",
]

RESOLVE_EVERY_S: Final = 1.0
"""How long an open file is used before its path is resolved again (s).

The descriptor shows at once that the file was changed, removed or replaced, but not that a folder
above it was replaced.
"""

KEEP_OPEN_S: Final = 5.0
"""How long a file stays open after its last response (s)."""

_PROBE_BYTES: Final = 256 * 1024  # the kernel reads ahead, and forgets, in longer runs
_AHEAD_BYTES: Final = 4 * 1024 * 1024


def _state(status: os.stat_result) -> FileState:
    return FileState(
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
        status.st_dev,
        status.st_ctime_ns,
        status.st_nlink,
    )


class ChangedError(Exception):
    """The file no longer has the bytes that the response's header fields promised."""


class OpenVersion(Protocol):
    """One version of a source: what a response's header fields and bytes are taken from.

    It has `size_bytes` (B), when it was last modified (`modified_s`, POSIX seconds), and a strong
    entity tag (RFC 9110 section 8.8.3), which is different for different bytes.
    """

    size_bytes: int
    modified_s: float
    validator: ETag

    def intact(self) -> bool:
        """Whether a response that began with this version may go on."""

    def stored(self, byte_range: ByteRange) -> ByteRange:
        """Return the first part of `byte_range` that is stored; empty if its first byte is not."""

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`; fewer only where the version is no longer intact."""

    def close(self) -> None:
        """Release the version for this response."""


class Source(Protocol):
    """Something to serve: a complete file, or one that is being downloaded.

    `name` is the file name that the URL ends in.
    """

    name: str

    @property
    def media_type(self) -> str:
        """The media type of all its versions."""

    async def version(self) -> OpenVersion:
        """Return the present version; the caller closes it.

        `OSError` where there is none any more, `ChangedError` where the download has failed.
        """

    def close(self) -> None:
        """Release everything; versions in use stay open until they are closed."""


class OpenFile:
    """One version of a file, with an open descriptor; only for the server's loop.

    The `validator` is made of size, modification time (ns) and inode (RFC 9110 section 8.8.1).
    """

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self.seen = _state(status)
        self.size_bytes, self.modified_ns, self.inode, *_ = self.seen
        self.modified_s = status.st_mtime
        self.validator = ETag(f"{self.size_bytes:x}-{self.modified_ns:x}-{self.inode:x}")
        self.users = 0
        self.current = True
        self.last_used_s = time.monotonic()
        self.descriptor = descriptor
        self._can_probe = hasattr(os, "RWF_NOWAIT")

    def unchanged(self) -> bool:
        """Whether nothing at all was changed about the open file, not even its names."""
        return _state(os.fstat(self.descriptor)) == self.seen

    def intact(self) -> bool:
        """Whether a response that began with this version may go on."""
        return can_continue(self.seen, _state(os.fstat(self.descriptor)))

    def stored(self, byte_range: ByteRange) -> ByteRange:
        """Return `byte_range`: all of the file is stored."""
        return byte_range

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`, from the page cache, else from the disk in a thread."""
        found = bytearray(byte_range.size_bytes)
        if self.read_cached(found, byte_range.start) == byte_range.size_bytes:
            return found
        return await asyncio.to_thread(
            os.pread, self.descriptor, byte_range.size_bytes, byte_range.start
        )

    async def warm(self, byte_range: ByteRange) -> None:
        """Read `byte_range` into the page cache, so that sending it waits for no disk."""
        one = bytearray(1)
        offsets = (*range(byte_range.start, byte_range.stop, _PROBE_BYTES), byte_range.stop - 1)
        if not all(self.read_cached(one, offset) for offset in offsets):
            await asyncio.to_thread(self._fetch, byte_range)

    def read_cached(self, into: bytearray | memoryview, offset: int) -> int:
        """Read what is in the page cache at `offset`; return how much (B), 0 without any."""
        if not self._can_probe:
            return 0
        try:
            return os.preadv(self.descriptor, [into], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # not supported by the file system (NFS, tmpfs, FUSE); use a thread
            self._can_probe = False
            return 0

    def _fetch(self, byte_range: ByteRange) -> None:
        # The disk reads what follows while this span is sent.
        if hasattr(os, "posix_fadvise"):
            ahead = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(self.descriptor, byte_range.stop, _AHEAD_BYTES, ahead)
        os.pread(self.descriptor, byte_range.size_bytes, byte_range.start)

    def close(self) -> None:
        """Release the version for one response."""
        self.users -= 1
        self.last_used_s = time.monotonic()
        if not (self.users or self.current):
            self.shut()

    def retire(self) -> None:
        """Close the file after its last response."""
        self.current = False
        if not self.users:
            self.shut()

    def shut(self) -> None:
        """Close the descriptor."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.shut()  # opened in a thread for a response that was cancelled meanwhile


class StoredBytes:
    """Bytes in memory as a version to respond with; they never change."""

    def __init__(self, data: bytes) -> None:
        self.size_bytes = len(data)
        self.modified_s = time.time()
        self.validator = ETag(hashlib.blake2b(data, digest_size=16).hexdigest())
        self._data = data

    def intact(self) -> bool:
        """Whether a response may go on: always."""
        return True

    def stored(self, byte_range: ByteRange) -> ByteRange:
        """Return `byte_range`: all of it is there."""
        return byte_range

    async def read(self, byte_range: ByteRange) -> bytes:
        """Return the bytes of `byte_range`."""
        return self._data[byte_range.start : byte_range.stop]

    def close(self) -> None:
        """Do nothing."""


class FileSource:
    """A regular file, found again at each request under the path it had at registration.

    Symbolic links are resolved once, here, to `path`; a link that is put there later is not
    followed. `ServeError` where the path is missing, unreadable, a folder, a
    pipe, a socket or a device. `version` and `close` belong to the server's loop.
    """

    def __init__(self, path: StrPath) -> None:
        given = os.fspath(path)
        try:
            self.path = os.path.realpath(given, strict=True)
            first = OpenFile(*open_regular(self.path))
        except (OSError, ValueError) as error:
            raise ServeError(f"{given!r} cannot be served: {os_error_reason(error)}.") from error
        first.shut()  # a thousand served files need no descriptor before the first request
        self.name = PurePath(given).name
        self.media_type = media_type_of(self.name)
        self.size_bytes = first.size_bytes
        self._current: OpenFile | None = None
        self._resolved_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def version(self) -> OpenFile:
        """Return the present file; `OSError` where there is none any more."""
        current = self.version_at_once()
        if current is not None:
            if current.unchanged():
                return current
            current.close()
        return self._use(await self._find())

    def version_at_once(self) -> OpenFile | None:
        """Return the file that was last found, if that was lately, else None.

        The caller checks that it is `unchanged` before it responds with it.
        """
        if self._current is None or time.monotonic() >= self._resolved_s + RESOLVE_EVERY_S:
            return None
        return self._use(self._current)

    def _use(self, current: OpenFile) -> OpenFile:
        current.users += 1
        if self._timer is None:
            self._close_when_idle()
        return current

    async def _find(self) -> OpenFile:
        started_s = time.monotonic()
        try:
            found = await asyncio.to_thread(self._open)
        except (OSError, ValueError):
            self._replace(None)
            raise
        current = self._current
        if self._closed:
            raise FileNotFoundError(f"{self.name} is not served any more")
        if current is not None and current.seen.has_same_content(found.seen):
            found.shut()
            current.seen = found.seen  # with its names and permissions of now
        else:
            self._replace(found)
            current = found
        self._resolved_s = started_s
        return current

    def _open(self) -> OpenFile:
        # A link that replaces the file later could point to any file of this user's.
        if os.path.realpath(self.path, strict=True) != self.path:
            raise FileNotFoundError(f"{self.name} has become a symbolic link")
        return OpenFile(*open_regular(self.path))

    def _replace(self, found: OpenFile | None) -> None:
        current, self._current = self._current, found
        if current is not None:
            current.retire()

    def _close_when_idle(self) -> None:
        """Close the file once it has not been requested for a while."""
        self._timer = None
        current = self._current
        if current is None:
            return
        idle_s = time.monotonic() - current.last_used_s
        if current.users or idle_s < KEEP_OPEN_S:
            self._timer = asyncio.get_running_loop().call_later(KEEP_OPEN_S, self._close_when_idle)
        else:
            self._replace(None)

    def close(self) -> None:
        """Close the file; running responses keep their version until they close it."""
        self._closed = True
        self._replace(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
