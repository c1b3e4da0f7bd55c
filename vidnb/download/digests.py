"""Digests of a file that is still arriving.

Bytes that arrive in order are hashed from memory. Bytes that arrived out of order, or were stored
by an earlier run, are read back from the part file once everything before them is stored.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidnb.download.part_file import PartFile
from vidnb.http.ranges import ByteRange

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Digests"]


class Digests:
    """Running digests of the first `hashed_bytes` bytes of a file.

    One thread at a time may use it; every method may block on the processor or the disk.
    """

    def __init__(self, algorithms: frozenset[str]) -> None:
        self._algorithms = algorithms
        self.reset()

    def reset(self) -> None:
        """Begin again at byte 0."""
        self.hashed_bytes = 0
        self._hashes: dict[str, _Hash] = {
            name: hashlib.new(name, usedforsecurity=False) for name in self._algorithms
        }

    def update(self, start: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Hash consecutive pieces that begin at byte `start`, if they are the next in order."""
        if start != self.hashed_bytes:
            return
        for piece in pieces:
            for digest in self._hashes.values():
                digest.update(piece)
            self.hashed_bytes += len(piece)

    def catch_up(self, part: PartFile, stop: int) -> None:
        """Read back and hash what is missing up to byte `stop`; raises the disk's `OSError`."""
        for piece in part.read(ByteRange(self.hashed_bytes, max(stop, self.hashed_bytes))):
            self.update(self.hashed_bytes, [piece])

    def hexdigest(self, algorithm: str) -> str:
        """Return the digest so far in lower-case hexadecimal digits."""
        return self._hashes[algorithm].hexdigest()
