"""`RandomAccessFile`: the position of a read-only binary file whose bytes a subclass reads."""

import io
import os
from abc import abstractmethod
from typing import TYPE_CHECKING

from vidnb.http.ranges import ByteRange

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RandomAccessFile"]


class RandomAccessFile(io.RawIOBase):
    """A seekable, read-only binary file of `size_bytes` (B), which a subclass sets.

    A subclass reads in `_read_into`. `ValueError` after `close`, and for a position before the
    start.
    """

    size_bytes = 0
    _position = 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: always; nothing is read before the next read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end; return the position (B)."""
        self._check_open()
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes}
        if whence not in origin:
            raise ValueError(f"whence={whence!r} must be 0, 1 or 2.")
        if origin[whence] + offset < 0:
            raise ValueError(f"byte {origin[whence] + offset} lies before the start of the file.")
        self._position = origin[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the position (B) of the next read."""
        self._check_open()
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read at most as many bytes as fit into `buffer`; 0 at the end of the file."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self.size_bytes)
        if stop <= self._position:
            return 0
        byte_range = ByteRange(self._position, stop)
        read_bytes = self._read_into(view[: byte_range.size_bytes], byte_range)
        self._position += read_bytes
        return read_bytes

    @abstractmethod
    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        """Read the first bytes of `byte_range` into `view`; return how many (B)."""

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed.")
