"""What the range server serves: a source, and the one version of it that an answer is made of.

An answer's size, validator and bytes must be those of the same file, so each is taken from one
open descriptor. A file that is replaced by a rename goes on with its old bytes for the answers
that run; the next request sees the new one.
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

LOOK_EVERY_S: Final = 1.0
"""How long an unchanged open file may answer for its path before the path is walked again.

A change of the file itself, its removal and its replacement show on the descriptor at once; only
a whole folder swapped for another does not.
"""

KEEP_OPEN_S: Final = 5.0
"""How long a file stays open after its last answer; a player's next request comes sooner."""

_PROBE_BYTES: Final = 256 * 1024  # the kernel reads ahead, and forgets, in longer runs
_AHEAD_BYTES: Final = 4 * 1024 * 1024


class ChangedError(Exception):
    """The file is no longer the one that the answer's header fields named."""


class OpenVersion(Protocol):
    """One version of a source: what an answer's header fields and bytes are taken from."""

    @property
    def size_bytes(self) -> int:
        """The size (B)."""

    @property
    def validator(self) -> ETag:
        """A strong entity tag (RFC 9110 section 8.8.3): another one for other bytes."""

    @property
    def modified_s(self) -> float:
        """When it was last modified (POSIX seconds)."""

    def intact(self) -> bool:
        """Whether the bytes are still those that the validator stands for."""

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`; fewer only where the version is no longer intact."""

    def close(self) -> None:
        """Say that this answer needs the version no more."""


class Source(Protocol):
    """Something to serve: a finished file, or one that still grows."""

    @property
    def name(self) -> str:
        """The file name that the URL ends in."""

    @property
    def media_type(self) -> str:
        """The media type of all its versions."""

    async def version(self) -> OpenVersion:
        """Return the version that is there now; whoever asks closes it.

        `OSError`: it is gone. `ChangedError`: what was waited for will not come.
        """

    def close(self) -> None:
        """Let go of everything; versions in use stay until they are closed."""


class _Seen(NamedTuple):
    """What tells one state of a path from another."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    links: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Seen":
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_nlink,
        )

    def same_bytes(self, other: "_Seen") -> bool:
        """Whether nothing but names and permissions changed between the two."""
        return self[:4] == other[:4]


class OpenFile:
    """One version of a file, held by an open descriptor; used on the server's loop alone."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self.seen = seen = _Seen.of(status)
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
        """Open a regular file; `OSError` or `ValueError` where there is none."""
        return cls(*open_regular(path))

    @property
    def size_bytes(self) -> int:
        """The size (B) when it was opened."""
        return self.seen.size_bytes

    @property
    def validator(self) -> ETag:
        """A strong tag of size, modification time (ns) and inode (RFC 9110 section 8.8.1)."""
        return self._validator

    def known_as(self, validator: ETag) -> None:
        """Go by the tag that these bytes had before they were a finished file."""
        self._validator = validator

    def fileno(self) -> int:
        """Return the descriptor, for `loop.sendfile`."""
        return self._descriptor

    def look(self) -> _Seen:
        """Return the state of the open file itself, wherever its name leads by now."""
        return _Seen.of(os.fstat(self._descriptor))

    def unchanged(self) -> bool:
        """Whether nothing at all happened to the file, not even to its names."""
        return self.look() == self.seen

    def intact(self) -> bool:
        """Whether the bytes are still those that the validator stands for."""
        now = os.fstat(self._descriptor)  # the same question as `same_bytes`, asked for each answer
        return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == self.seen[:4]

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range`, from memory at once, else from the disk in a worker."""
        found = bytearray(byte_range.size_bytes)
        if self._from_memory(found, byte_range.start) == byte_range.size_bytes:
            return found
        return await asyncio.to_thread(
            os.pread, self._descriptor, byte_range.size_bytes, byte_range.start
        )

    def read_at_once(self, into: memoryview, offset: int) -> bool:
        """Fill `into` from memory; False where that would need the disk, or there is no more."""
        return self._from_memory(into, offset) == len(into)

    async def warm(self, byte_range: ByteRange) -> None:
        """Have the bytes of `byte_range` in the page cache, so that sending them waits for no disk."""
        one = bytearray(1)
        for offset in (
            *range(byte_range.start, byte_range.stop, _PROBE_BYTES),
            byte_range.stop - 1,
        ):
            if not self._from_memory(one, offset):
                await asyncio.to_thread(self._fetch, byte_range)
                return

    def _from_memory(self, into: bytearray | memoryview, offset: int) -> int:
        """Read what lies in the page cache at `offset`; 0 where the disk would be asked."""
        if not self._can_probe:
            return 0
        try:
            return os.preadv(self._descriptor, [into], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # the file system cannot tell (NFS, tmpfs, FUSE); ask a worker each time
            self._can_probe = False
            return 0

    def _fetch(self, byte_range: ByteRange) -> None:
        # The disk goes on with what comes next while this span is on its way to the reader.
        if hasattr(os, "posix_fadvise"):
            ahead = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(self._descriptor, byte_range.stop, _AHEAD_BYTES, ahead)
        os.pread(self._descriptor, byte_range.size_bytes, byte_range.start)

    def close(self) -> None:
        """Say that one answer needs the file no more."""
        self.users -= 1
        self.last_used_s = time.monotonic()
        if not (self.users or self.current):
            self.shut()

    def retire(self) -> None:
        """Close the file after its last answer."""
        self.current = False
        if not self.users:
            self.shut()

    def shut(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.shut()  # opened by a worker for an answer that was cancelled meanwhile


class FileSource:
    """A regular file, looked for anew at each request under the path it had at registration.

    Symbolic links are resolved once, here: `path` is where they led, and a link that is put there
    later leads nobody anywhere. `ServeError` where the path is missing, unreadable, a folder, a
    pipe, a socket or a device. `version` and `close` belong to the server's loop.
    """

    def __init__(self, path: StrPath) -> None:
        given = os.fspath(path)
        try:
            self.path = os.path.realpath(given, strict=True)
            first = OpenFile.at(self.path)
        except (OSError, ValueError) as error:
            raise ServeError(f"{given!r} cannot be served: {os_error_reason(error)}.") from error
        first.shut()  # a thousand served files hold no descriptor until somebody asks
        self.name = PurePath(given).name
        self.media_type = media_type_of(self.name)
        self.size_bytes = first.size_bytes
        self._current: OpenFile | None = None
        self._looked_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def version(self) -> OpenFile:
        """Return the file as it is now, open; `OSError` where it is gone."""
        current = self._known()
        if current is None or not current.unchanged():
            current = await self._find()
        return self._use(current)

    def version_at_once(self) -> OpenFile | None:
        """Return the file as it was last seen, if its path was asked lately, else None.

        Whoever answers with it asks it first whether it is `unchanged`.
        """
        current = self._known()
        return None if current is None else self._use(current)

    def _known(self) -> OpenFile | None:
        """Return the open file that its path led to lately."""
        return self._current if time.monotonic() < self._looked_s + LOOK_EVERY_S else None

    def _use(self, current: OpenFile) -> OpenFile:
        current.users += 1
        if self._timer is None:
            self._rest()
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
            raise FileNotFoundError(f"{self.name} is served no more")
        if current is not None and current.seen.same_bytes(found.seen):
            found.shut()
            current.seen = found.seen  # with its names and permissions of now
        else:
            self._replace(found)
            current = found
        self._looked_s = started_s
        return current

    def _open(self) -> OpenFile:
        # Whoever puts a link in the file's place later may mean any file of this user's.
        if os.path.realpath(self.path, strict=True) != self.path:
            raise FileNotFoundError(f"{self.name} is a link by now")
        return OpenFile.at(self.path)

    def _replace(self, found: OpenFile | None) -> None:
        current, self._current = self._current, found
        if current is not None:
            current.retire()

    def _rest(self) -> None:
        """Close the file once nobody has asked for it in a while."""
        self._timer = None
        current = self._current
        if current is None:
            return
        idle_s = time.monotonic() - current.last_used_s
        if current.users or idle_s < KEEP_OPEN_S:
            self._timer = asyncio.get_running_loop().call_later(KEEP_OPEN_S, self._rest)
        else:
            self._replace(None)

    def close(self) -> None:
        """Let go of the file; answers that run keep their version until they close it."""
        self._closed = True
        self._replace(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
