"""Write to standard output and standard error, which may be closed, full, gone or ASCII-only.

Each of these would be a traceback, at the latest at the interpreter's exit, which flushes both.
"""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

__all__ = ["is_terminal", "write_error_line", "write_output"]


def write_error_line(text: str) -> None:
    """Write a line to standard error; without effect where that is impossible."""
    stream: TextIO | None = sys.stderr  # None where the descriptor was closed at the start
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):  # full, gone; closed by the program
        _discard(stream)


def write_output(data: str | bytes) -> None:
    """Write to standard output and flush it; `OSError` where that is impossible.

    Text that the stream's encoding lacks is written in the file system's encoding, in which a path
    is what other programs expect.
    """
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, "It is closed")
    try:
        if isinstance(data, str):
            try:
                stream.write(data)
            except UnicodeEncodeError:
                data = os.fsencode(data)
        stream.flush()
        if isinstance(data, bytes):
            stream.buffer.write(data)
            stream.buffer.flush()
    except OSError:
        _discard(stream)
        raise
    except ValueError as error:  # closed by the program
        raise OSError(errno.EBADF, "It is closed") from error


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; False where it is closed or None."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):
        return False


def _discard(stream: TextIO) -> None:
    """Let what a stream still holds, and all that follows, go nowhere when it is flushed."""
    with suppress(OSError, ValueError):  # it has no descriptor, or an invalid one
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
