"""A binary file object over a source of the range server, also one that is being downloaded."""

from typing import Final

from vidnb.errors import ServeError
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import server
from vidnb.io.random_access import RandomAccessFile
from vidnb.server.sources import ChangedError, Source

__all__ = ["TIMEOUT_S", "NotStoredError", "SourceFile"]

TIMEOUT_S: Final = 60.0
"""How long a read waits for its bytes."""


class NotStoredError(ServeError):
    """Bytes of a file that is being downloaded are not stored yet."""


class SourceFile(RandomAccessFile):
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
            self._version = server.run(source.version(), timeout_s=TIMEOUT_S)
        except (OSError, ChangedError) as error:
            raise ServeError(f"{self.name} cannot be read: it is gone, or it changed.") from error
        self.size_bytes = self._version.size_bytes

    @property
    def tag(self) -> str:
        """The entity tag of the version, without quotes: another one for other bytes."""
        return self._version.validator.opaque

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        """Read bytes of the version."""
        if not self._waits:
            byte_range = self._version.stored(byte_range)
            if not byte_range:
                raise NotStoredError(f"Byte {self._position} of {self.name} is not downloaded yet.")
        data = self._read(byte_range)
        if len(data) != byte_range.size_bytes or not self._version.intact():
            raise ServeError(f"{self.name} changed while it was read; open it again.")
        view[: len(data)] = data
        return len(data)

    def _read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return bytes of the version; fewer if it is not intact any more."""
        return server.run(self._version.read(byte_range), timeout_s=TIMEOUT_S)

    def close(self) -> None:
        """Release the version."""
        if not self.closed:
            super().close()
            server.loop.call_soon_threadsafe(self._version.close)
