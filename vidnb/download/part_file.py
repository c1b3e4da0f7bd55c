"""Part files, their journals, and the verified atomic publish.

Unfinished bytes are in `DEST_DIR/.vidnb/KEY.part`; `KEY.journal` records which spans of which
version they are, `KEY.record` which version a published file is (`planner.journal` defines both). A
journal is written after the bytes it describes, alternately into the two slots of its file.
(Replacing the file by a new one is as safe and takes a hundred times as long.)

A kill of the process loses nothing that the kernel has, so there is no fsync for each write. A
crash of the machine may lose it: journals and records name the boot they were written in. After
another boot a journal is not used, and a record only once the file's SHA-256 was compared.

The part file is locked while it is written (an OS lock that ends with its process). A process that
finds it locked, or has no locks, writes a private part without a journal; the last one to publish
wins, each with a complete file. Private parts and unfinished small files are locked as well: those
that a kill left behind are not, and `stale_files` removes them.

Files in `.vidnb` are for their owner only (mode 0600, the folder 0700). A published file gets the
mode and, where permitted, the owner of the file that it replaces; a new one those of any new file.
"""

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidnb.download.planner.journal import SLOT_BYTES, Journal, Record, newest_journal
from vidnb.http.ranges import ByteRange
from vidnb.io.locks import can_lock, lock
from vidnb.io.preallocate import preallocate, release_preallocated

__all__ = [
    "DiskSpace",
    "PartFile",
    "RecordStore",
    "UnwritablePart",
    "boot_id",
    "hash_file",
    "open_fresh",
    "open_or_create",
    "remove_abandoned",
]

_HASH_PIECE_BYTES = 2**20
_BLOCK_BYTES = 512  # of st_blocks, on every file system
_BOOT_SLACK_S = 30
_MAX_TRIES = 100
_ABANDONED_AFTER_S = 86_400
_PERMISSIONS = 0o777  # as a write does, a new content drops set-user-ID and set-group-ID


@functools.cache
def boot_id() -> str:
    """Return an identifier of the running boot, the same for every process of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        # Without an identifier from the kernel: the time of the boot, coarse enough to be stable.
        return f"at {round((time.time() - time.monotonic()) / _BOOT_SLACK_S)}"


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The free space of a disk, and the space that a part file has taken already (B)."""

    free_bytes: int
    taken_bytes: int


class PartFile:
    """One unfinished file, open for writing and locked; every method may block on the disk.

    `is_private` means that another process works on the same file, so this part is never resumed.
    Offsets and sizes in bytes; every method raises the disk's `OSError`.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        shared = folder / f"{key}.part"
        held = _open_locked(shared)
        self.is_private = held is None
        if held is None:
            shared, held = open_fresh(folder, key, "part")
        self.path = shared
        self._file = held
        self._journal_path = folder / f"{key}.journal"
        self._journal: BinaryIO | None = None
        self._marks = 0
        self._whole_bytes: int | None = None
        self._reserved_bytes = 0

    @property
    def is_closed(self) -> bool:
        """Whether the work has ended: published, or closed."""
        return self._file.closed

    def load(self) -> Journal | None:
        """Return the journal of an earlier run if the part file has all bytes that it describes."""
        if self.is_private:
            return None
        try:
            data = self._journal_path.read_bytes()
        except OSError:
            return None
        marked = newest_journal(data, boot_id())
        if marked is None:
            return None
        self._marks, journal = marked
        size_bytes = os.fstat(self._file.fileno()).st_size
        return (
            journal if all(byte_range.stop <= size_bytes for byte_range in journal.stored) else None
        )

    def preallocate(self, size_bytes: int) -> None:
        """Preallocate disk blocks for this size; the size of the file does not change.

        `OSError` if the disk has no room for them.
        """
        if size_bytes != self._reserved_bytes:
            preallocate(self._file.fileno(), size_bytes)
            self._reserved_bytes = size_bytes

    def taken_bytes(self) -> int:
        """Return the disk space of the part (B), preallocated blocks included."""
        status = os.fstat(self._file.fileno())
        return getattr(status, "st_blocks", 0) * _BLOCK_BYTES  # Windows does not tell

    def write(self, offset: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Write the pieces one after another from `offset` on."""
        self._file.seek(offset)
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]

    def mark(self, journal: Journal) -> bool:
        """Write the journal; call it after the bytes that it describes were written.

        Return whether it was written. A journal too long for its slot (some thousand spans) is not:
        a next run then uses the one before.
        """
        self._marks += 1
        data = journal.dump(self._marks, boot_id())
        if self.is_private or len(data) > SLOT_BYTES:
            return False
        if self._journal is None:
            self._journal = open_or_create(self._journal_path)
        self._journal.seek(self._marks % 2 * SLOT_BYTES)
        self._journal.write(data)
        return True

    def _forget(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if not self.is_private:
            self._journal_path.unlink(missing_ok=True)

    def reset(self) -> None:
        """Remove the journal, then every byte."""
        self._forget()
        self._file.truncate(0)
        self._reserved_bytes = 0

    def trim(self, size_bytes: int) -> None:
        """Cut off what an older version left behind the end; a shorter file raises `OSError`."""
        self._whole_bytes = min(size_bytes, os.fstat(self._file.fileno()).st_size)
        self._file.truncate(self._whole_bytes)
        self._check_whole(size_bytes)

    def _check_whole(self, size_bytes: int) -> None:
        if os.fstat(self._file.fileno()).st_size != size_bytes:  # another program truncated it
            raise OSError(errno.EIO, "the part file ends early", str(self.path))

    def read(self, byte_range: ByteRange) -> Iterator[bytes]:
        """Yield the bytes of `byte_range`, 1 MB at a time; `OSError` where the file ends early."""
        left = byte_range.size_bytes
        with self.path.open("rb", buffering=0) as file:  # with a position of its own
            file.seek(byte_range.start)
            while left:
                piece = file.read(min(left, _HASH_PIECE_BYTES))
                if not piece:
                    raise OSError(errno.EIO, "the part file ends early", str(self.path))
                left -= len(piece)
                yield piece

    def modified_ns(self) -> int:
        """Return the time of the last write (Unix time, ns), which a publish does not change."""
        return os.fstat(self._file.fileno()).st_mtime_ns

    def publish(self, target: Path, *, may_replace: bool) -> os.stat_result:
        """Move the complete file to its final name; `FileExistsError` if it may not replace one.

        It gets the mode and the owner of the file that it replaces. `OSError` if its size changed
        since `trim`.
        """
        if self._whole_bytes is not None:
            self._check_whole(self._whole_bytes)
        if os.name == "posix":
            self._copy_permissions(target)
        if may_replace:
            self.path.replace(target)
        else:
            _move_to_new(self.path, target)
        status = os.fstat(self._file.fileno())
        self._file.close()
        self._forget()
        return status

    def _copy_permissions(self, target: Path) -> None:
        """Give the part the mode and owner of `target`, or those of a new file."""
        descriptor = self._file.fileno()
        try:
            old = target.stat()
        except FileNotFoundError:
            mode = _new_file_mode(self._folder, self._key)
        else:
            mode = stat.S_IMODE(old.st_mode) & _PERMISSIONS
            for owner in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
                with contextlib.suppress(OSError):  # a group of one's own may be set without rights
                    os.fchown(descriptor, *owner)
                    break
        with contextlib.suppress(OSError):  # a file system without modes
            os.fchmod(descriptor, mode)

    def close(self, *, keep: bool) -> None:
        """Close the part; it is removed if it is empty, private, or `keep` is False."""
        if self._file.closed:
            return
        if keep and not self.is_private and os.fstat(self._file.fileno()).st_size:
            if self._reserved_bytes:
                release_preallocated(self._file.fileno())
            if self._journal is not None:
                self._journal.close()
        else:
            self._forget()
            self.path.unlink(missing_ok=True)
        self._file.close()
        with contextlib.suppress(OSError):  # an empty folder is of no use
            self._folder.rmdir()


class UnwritablePart(PartFile):
    """Stands in for a part file that cannot be created; using it raises the reason, an `OSError`.

    A finished file on a read-only disk can be compared with its source all the same.
    """

    def __init__(self, path: Path, reason: OSError) -> None:
        self.is_private = True
        self.path = path
        self._reason = reason

    @property
    def is_closed(self) -> bool:
        """Whether the work has ended: it never begins."""
        return True

    def taken_bytes(self) -> int:
        """Raise the reason; so do all methods that the download of a body calls first."""
        raise self._reason

    def preallocate(self, size_bytes: int) -> None:  # noqa: ARG002 - of the base class
        """Raise the reason."""
        raise self._reason

    def write(
        self,
        offset: int,  # noqa: ARG002 - of the base class
        pieces: Sequence[bytes | memoryview],  # noqa: ARG002 - likewise
    ) -> None:
        """Raise the reason."""
        raise self._reason

    def reset(self) -> None:
        """Raise the reason."""
        raise self._reason


class RecordStore:
    """The records of the published files of one folder, by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> Record | None:
        """Return the record under `key`, None if it cannot be read."""
        try:
            data = (self.folder / f"{key}.record").read_bytes()
        except OSError:
            return None
        return Record.load(data, boot_id())

    def save(self, key: str, record: Record) -> None:
        """Write the record under `key`."""
        _replace_with(self.folder / f"{key}.record", record.dump(boot_id()))

    def free_bytes(self) -> int:
        """Return the free space (B) of the disk under the folder."""
        return shutil.disk_usage(self.folder if self.folder.exists() else self.folder.parent).free

    def room(self, part: PartFile) -> DiskSpace:
        """Return the space that `part` has and can get."""
        free_bytes = self.free_bytes()  # first: what is reserved meanwhile counts twice, not never
        return DiskSpace(free_bytes, part.taken_bytes())


def hash_file(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file; raises the disk's `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def open_or_create(path: Path) -> BinaryIO:
    """Open a file for writing; create it if it does not exist.

    So is its folder, repeatedly if need be: other downloads remove it when it is empty. It
    is created only after a failure, since of many small downloads all but the first find it.
    """
    tries = 0
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except FileNotFoundError:
            if tries == _MAX_TRIES:
                raise
            tries += 1
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            return os.fdopen(descriptor, "r+b", buffering=0)


def _new_file_mode(folder: Path, key: str) -> int:
    """Return the mode of any new file here.

    A file is made to see it, because reading the umask would change it for other threads, and a
    folder may have a default access control list. A sweep removes it after a kill.
    """
    path = folder / f"{key}.record.{secrets.token_hex(8)}.new"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode) & _PERMISSIONS
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def open_fresh(folder: Path, key: str, kind: str) -> tuple[Path, BinaryIO]:
    """Create a new file, locked if locks work, so that no sweep removes it."""
    while True:
        path = folder / f"{key}.{secrets.token_hex(8)}.{kind}"
        file = open_or_create(path)
        is_held = lock(file.fileno())
        if is_held is None:
            return path, file
        # Between open and lock a sweep may have removed it as stale.
        with contextlib.suppress(FileNotFoundError):
            if is_held and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return path, file
        file.close()


def remove_abandoned(path: Path, now_s: float) -> None:
    """Remove a file that no process has locked, or, without locks, that is a day old.

    `now_s` is Unix time (s). Raises the disk's `OSError`.
    """
    with path.open("r+b", buffering=0) as file:
        is_held = lock(file.fileno())
        if is_held:  # by this process, until it is removed
            path.unlink()
        if is_held is not None:
            return
        age_s = now_s - os.fstat(file.fileno()).st_mtime
    if age_s > _ABANDONED_AFTER_S:
        path.unlink()


def _open_locked(path: Path) -> BinaryIO | None:
    """Open and lock a part file; None if it is locked already or locks do not work."""
    while can_lock():
        is_new = not path.exists()
        try:
            file = open_or_create(path)
        except PermissionError:
            if is_new:
                raise
            return None  # another user's, whom this one leaves it to
        is_held = lock(file.fileno())
        if not is_held:
            file.close()
            if is_held is None and is_new:  # without locks no run will use it
                path.unlink(missing_ok=True)
            return None
        status = os.fstat(file.fileno())
        # Between open and lock another process may have published this file.
        with contextlib.suppress(FileNotFoundError):
            if not os.path.samestat(path.stat(), status):
                pass
            elif status.st_nlink == 1:
                return file
            else:  # a process was killed between the two steps of `_move_to_new`
                path.unlink()
        file.close()
    return None


def _move_to_new(source: Path, target: Path) -> None:
    """Move a file to a name that must be new, as far as the file system can ensure it."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here: check, then move; a race loses the older file
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.replace(target)
    else:
        source.unlink()


def _replace_with(path: Path, data: bytes) -> None:
    """Replace a small file atomically."""
    fresh, file = open_fresh(path.parent, path.name, "new")
    try:
        with file:  # locked until it has its name
            file.write(data)
            fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
