"""A binary file object over a source of the range server, also one that is being downloaded."""

import io
import os
from typing import TYPE_CHECKING, Final

from vidnb.errors import ServeError
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import server
from vidnb.server.sources import ChangedError, Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["NotStoredError", "SourceFile"]

_TIMEOUT_S: Final = 60.0


class NotStoredError(ServeError):
    """Bytes of a file that is being downloaded are not stored yet."""


class SourceFile(io.RawIOBase):
    """One version of a source, seekable and read-only.

    A read of bytes that are still being downloaded requests them and waits, at most 60 s; without
    `waits` it requests nothing and raises `NotStoredError`. It blocks and must not be used on the
    server's own thread. Raises `ServeError` where the file is gone or became another one,
    `TimeoutError` after the wait.
    """

    def __init__(self, source: Source, *, waits: bool = True) -> None:
        super().__init__()
        self.name = source.name
        self._waits = waits
        try:
            self._version = server.run(source.version(), timeout_s=_TIMEOUT_S)
        except (OSError, ChangedError) as error:
            raise ServeError(f"{self.name} cannot be read: it is gone, or it changed.") from error
        self._position = 0

    @property
    def tag(self) -> str:
        """The entity tag of the version, without quotes: another one for other bytes."""
        return self._version.validator.opaque

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: always."""
        return True

    def tell(self) -> int:
        """Return the position (B)."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end; return the position."""
        size_bytes = self._version.size_bytes
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size_bytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read bytes of the version; 0 at its end."""
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self._version.size_bytes)
        if stop <= self._position:
            return 0
        byte_range = ByteRange(self._position, stop)
        if not self._waits:
            byte_range = self._version.stored(byte_range)
            if not byte_range:
                raise NotStoredError(f"Byte {self._position} of {self.name} is not downloaded yet.")
        data = server.run(self._version.read(byte_range), timeout_s=_TIMEOUT_S)
        if len(data) != byte_range.size_bytes or not self._version.intact():
            raise ServeError(f"{self.name} changed while it was read; open it again.")
        view[: len(data)] = data
        self._position = byte_range.stop
        return len(data)

    def close(self) -> None:
        """Release the version."""
        if not self.closed:
            super().close()
            server.loop.call_soon_threadsafe(self._version.close)
