"""Regular files only: open and read one, and find the one that a new file may replace.

A path from a user may be a pipe, a device or a folder. Opening one of those must neither block nor
have an effect, and none of them may be replaced; so the kind is checked before, and after opening.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from vidnb.errors import StorageError

__all__ = [
    "IrregularFileError",
    "StrPath",
    "expand_user",
    "irregular_kind",
    "is_encodable",
    "open_regular",
    "os_error_reason",
    "printable",
    "read_all",
    "resolve_target",
]

StrPath: TypeAlias = str | os.PathLike[str]

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_READ_REMEDIES: Final[Mapping[str, str]] = {
    "a folder": "name a file in it",
    "a named pipe": "save its bytes to a file first",
    "a device": "save its bytes to a file first",
}
_WRITE_REMEDIES: Final[Mapping[str, str]] = {
    "a folder": "add a trailing slash to save into it",
    "": "choose another name",
}
"""By kind; the empty one is for all others."""
_REASONS: Final = {
    errno.ENOENT: "there is no such file; check the name, or download it first",
    errno.ENOTDIR: "a folder in its path is a file; check the name",
    errno.EACCES: "you have no permission to read it; change its mode, or copy it",
    errno.EPERM: "you have no permission to read it; change its mode, or copy it",
    errno.ELOOP: "its symbolic links form a cycle; name the file itself",
    errno.ENAMETOOLONG: "its name is longer than the file system allows; check the name",
}


def expand_user(path: StrPath) -> str:
    """Return a path with a leading `~` or `~user` replaced by the home folder."""
    return os.path.expanduser(os.fspath(path))  # noqa: PTH111 - a trailing slash has a meaning


def is_encodable(path: str) -> bool:
    """Return whether a path can be written in the file system's encoding."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def printable(path: StrPath) -> str:
    """Return a path for messages: a character that cannot be shown, or encoded, becomes U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in os.fspath(path))


def irregular_kind(mode: int) -> str | None:
    """Return what a file with this `st_mode` is, as "a device"; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


class IrregularFileError(OSError):
    """The path is no regular file: `reason` and `remedy` are clauses, `remedy` may be empty."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


def open_regular(path: StrPath) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, without ever blocking on anything else.

    Returns the descriptor and its status. `IrregularFileError` for a folder, pipe, socket or
    device, else `OSError` as the system says, or `ValueError` for a null character in the name.
    """
    _refuse_irregular(Path(path).stat())  # opening a device may already do something to it
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)  # the path may name another file by now
        _refuse_irregular(status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _refuse_irregular(status: os.stat_result, remedies: Mapping[str, str] = _READ_REMEDIES) -> None:
    kind = irregular_kind(status.st_mode)
    if kind is not None:
        what = f"it is {kind}" if kind == "a folder" else f"it is {kind}, not a regular file"
        raise IrregularFileError(what, remedies.get(kind, remedies.get("", "")))


def resolve_target(path: Path) -> Path:
    """Return the regular file that writing to `path` creates or replaces, links followed.

    A file must be renamed within its own file system, so the target of a link is what is replaced,
    and unfinished bytes belong beside it. Nothing is created or opened. `IrregularFileError` for a
    folder, pipe, socket or device, for a link into a folder that is missing (it may be a disk that
    is not mounted) and for a link to a file without a name; else `OSError` as the system says.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path  # the folders above it are the caller's to create
    if not stat.S_ISLNK(status.st_mode):
        _refuse_irregular(status, _WRITE_REMEDIES)
        return path
    file = Path(os.path.realpath(path))
    try:
        status = path.stat()
    except FileNotFoundError:
        if file.parent.is_dir():
            return file
        raise IrregularFileError(
            f"it is a symbolic link into the missing folder {printable(file.parent)}",
            "create that folder, or remove the link",
        ) from None
    _refuse_irregular(status, _WRITE_REMEDIES)
    with contextlib.suppress(OSError):
        if os.path.samestat(file.stat(), status):
            return file
    # A link of /proc to a file that was removed, or is outside of this process's file systems.
    raise IrregularFileError("it is a link to a file that has no name", "choose another name")


def os_error_reason(error: OSError | ValueError) -> str:
    """Return why a file could not be read, and what to do, as the end of a sentence."""
    if isinstance(error, IrregularFileError):
        return str(error)
    if isinstance(error, OSError):
        known = _REASONS.get(error.errno or 0)
        return known or f"the system says {(error.strerror or str(error)).lower()!r}"
    return "its name holds a character that no file name can; check the name"


def read_all(path: StrPath) -> bytes:
    """Return all bytes of a regular file.

    `StorageError` where it is missing, unreadable or no regular file; a named pipe is refused
    at once rather than waited for.
    """
    try:
        descriptor, _ = open_regular(path)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{os.fspath(path)!r} could not be read: {os_error_reason(error)}."
        ) from error
