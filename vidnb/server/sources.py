"""What the range server serves: a source, and the one version of it that a response is made of.

A response's size, validator and bytes must be those of the same file, so each is taken from one
open descriptor. Where a file is replaced by a rename, running responses keep sending the old bytes
and the next request sees the new file.
"""

import asyncio
import os
import time
from pathlib import PurePath
from typing import Final, NamedTuple, Protocol

from vidnb.errors import ServeError
from vidnb.http.headers import ETag
from vidnb.http.media_types import media_type_of
from vidnb.http.ranges import ByteRange
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason

__all__ = ["ChangedError", "FileSource", "OpenFile", "OpenVersion", "Source"]

RESOLVE_EVERY_S: Final = 1.0
"""How long an unchanged open file is taken for what is at its path, before that is resolved again.

A change of the file, its removal and its replacement are seen on the descriptor at once; only the
replacement of a whole folder is not.
"""

KEEP_OPEN_S: Final = 5.0
"""How long a file stays open after its last response; a player's next request comes sooner."""

_PROBE_BYTES: Final = 256 * 1024  # the kernel reads ahead, and forgets, in longer runs
_AHEAD_BYTES: Final = 4 * 1024 * 1024


class ChangedError(Exception):
    """The file is no longer the one that the response's header fields described."""


class OpenVersion(Protocol):
    """One version of a source: what a response's header fields and bytes are taken from."""

    @property
    def size_bytes(self) -> int:
        """The size (B)."""

    @property
    def validator(self) -> ETag:
        """A strong entity tag (RFC 9110 section 8.8.3): different for different bytes."""

    @property
    def modified_s(self) -> float:
        """When it was last modified (POSIX seconds)."""

    def intact(self) -> bool:
        """Whether the bytes are still those that the validator stands for."""

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`; fewer only where the version is no longer intact."""

    def close(self) -> None:
        """Release the version for this response."""


class Source(Protocol):
    """Something to serve: a complete file, or one that is being downloaded."""

    @property
    def name(self) -> str:
        """The file name that the URL ends in."""

    @property
    def media_type(self) -> str:
        """The media type of all its versions."""

    async def version(self) -> OpenVersion:
        """Return the present version; the caller closes it.

        `OSError`: there is none any more. `ChangedError`: the download that it waits for failed.
        """

    def close(self) -> None:
        """Release everything; versions in use stay open until they are closed."""


class _FileState(NamedTuple):
    """What distinguishes one state of a path from another."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    links: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_FileState":
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_nlink,
        )

    def same_bytes(self, other: "_FileState") -> bool:
        """Whether nothing but names and permissions changed between the two."""
        return self[:4] == other[:4]


class OpenFile:
    """One version of a file, held by an open descriptor; only for the server's loop."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self.seen = seen = _FileState.of(status)
        self.modified_s = status.st_mtime
        tag = f"{seen.size_bytes:x}-{seen.modified_ns:x}-{seen.inode:x}"
        self._validator = ETag(tag, weak=False)
        self.users = 0
        self.current = True
        self.last_used_s = time.monotonic()
        self._descriptor = descriptor
        self._can_probe = hasattr(os, "RWF_NOWAIT")

    @classmethod
    def at(cls, path: StrPath) -> "OpenFile":
        """Open a regular file; `OSError` or `ValueError` where that fails."""
        return cls(*open_regular(path))

    @property
    def size_bytes(self) -> int:
        """The size (B) when it was opened."""
        return self.seen.size_bytes

    @property
    def validator(self) -> ETag:
        """A strong tag of size, modification time (ns) and inode (RFC 9110 section 8.8.1)."""
        return self._validator

    def use_validator(self, validator: ETag) -> None:
        """Use the tag that these bytes had while they were downloaded."""
        self._validator = validator

    def fileno(self) -> int:
        """Return the descriptor, for `os.sendfile`."""
        return self._descriptor

    def state(self) -> _FileState:
        """Return the state of the open file itself, whatever is at its path by now."""
        return _FileState.of(os.fstat(self._descriptor))

    def unchanged(self) -> bool:
        """Whether nothing at all was changed about the file, not even its names."""
        now = os.fstat(self._descriptor)  # `state`, faster, since it is asked for each response
        return self.seen == (
            now.st_dev,
            now.st_ino,
            now.st_size,
            now.st_mtime_ns,
            now.st_ctime_ns,
            now.st_nlink,
        )

    def intact(self) -> bool:
        """Whether the bytes are still those that the validator stands for."""
        now = os.fstat(self._descriptor)  # as `same_bytes`, without the rest
        return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == self.seen[:4]

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`, from the page cache, else from the disk in a thread."""
        found = bytearray(byte_range.size_bytes)
        if self._from_memory(found, byte_range.start) == byte_range.size_bytes:
            return found
        return await asyncio.to_thread(
            os.pread, self._descriptor, byte_range.size_bytes, byte_range.start
        )

    def read_at_once(self, into: memoryview, offset: int) -> bool:
        """Fill `into` from the page cache; False where that needs the disk, or the file ends."""
        return self._from_memory(into, offset) == len(into)

    async def warm(self, byte_range: ByteRange) -> None:
        """Read the bytes of `byte_range` into the page cache, so sending waits for no disk."""
        one = bytearray(1)
        for offset in (
            *range(byte_range.start, byte_range.stop, _PROBE_BYTES),
            byte_range.stop - 1,
        ):
            if not self._from_memory(one, offset):
                await asyncio.to_thread(self._fetch, byte_range)
                return

    def _from_memory(self, into: bytearray | memoryview, offset: int) -> int:
        """Read what is in the page cache at `offset`; 0 where that needs the disk."""
        if not self._can_probe:
            return 0
        try:
            return os.preadv(self._descriptor, [into], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # not supported by the file system (NFS, tmpfs, FUSE); use a thread
            self._can_probe = False
            return 0

    def _fetch(self, byte_range: ByteRange) -> None:
        # The disk reads what follows while this span is sent.
        if hasattr(os, "posix_fadvise"):
            ahead = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(self._descriptor, byte_range.stop, _AHEAD_BYTES, ahead)
        os.pread(self._descriptor, byte_range.size_bytes, byte_range.start)

    def close(self) -> None:
        """Release the file for one response."""
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
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.shut()  # opened in a thread for a response that was cancelled meanwhile


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
            first = OpenFile.at(self.path)
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
        """Return the present file, open; `OSError` where there is none any more."""
        current = self._recent()
        if current is None or not current.unchanged():
            current = await self._find()
        return self._use(current)

    def version_at_once(self) -> OpenFile | None:
        """Return the file that was last found, if that was lately, else None.

        The caller checks that it is `unchanged` before it responds with it.
        """
        current = self._recent()
        return None if current is None else self._use(current)

    def _recent(self) -> OpenFile | None:
        """Return the open file that was lately found at the path."""
        return self._current if time.monotonic() < self._resolved_s + RESOLVE_EVERY_S else None

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
        if current is not None and current.seen.same_bytes(found.seen):
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
        return OpenFile.at(self.path)

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
