"""Open and read regular files only.

A path from a user may be a pipe, a device or a folder. Opening one of those must neither block nor
have an effect, so the kind is checked before and after.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final, TypeAlias

from vidnb.errors import StorageError

__all__ = [
    "IrregularFileError",
    "StrPath",
    "expand_user",
    "open_regular",
    "os_error_reason",
    "read_all",
]

StrPath: TypeAlias = str | os.PathLike[str]

_KINDS: Final = {
    stat.S_IFDIR: "it is a folder; name a file in it",
    stat.S_IFIFO: "it is a named pipe, not a regular file; save its bytes to a file first",
    stat.S_IFSOCK: "it is a socket, not a regular file",
    stat.S_IFCHR: "it is a device, not a regular file; save its bytes to a file first",
    stat.S_IFBLK: "it is a device, not a regular file; save its bytes to a file first",
}
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


class IrregularFileError(OSError):
    """The path is no regular file; the text of the error is the reason."""


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


def _refuse_irregular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = stat.S_IFMT(status.st_mode)
        raise IrregularFileError(_KINDS.get(kind, "it is not a regular file"))


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
