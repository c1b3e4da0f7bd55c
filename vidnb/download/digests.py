"""Digests of a file that is still arriving, computed beside the writing of it.

What comes in order is hashed from memory; what came out of order, or was there before, is read back
once everything before it is here. All of it happens in threads, one step at a time, while the next
bytes are received and written.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aiofiles.base import wrap

from vidnb.download.part_file import PartFile
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.io import buffer_pool

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Digests", "Hasher"]

_LEAST_BYTES = 2**19
"""Fewer are not worth a step; they wait for more, or for the check of the whole file."""
_STEP_BYTES = 8 * 2**20
"""So much is read back at once: a step cannot be stopped half way."""
_NOWHERE = -1


class Digests:
    """Running digests over the start of a file, as far as it has come in order."""

    def __init__(self, algorithms: frozenset[str]) -> None:
        self._algorithms = algorithms
        self.reset()

    def reset(self) -> None:
        """Begin again at byte 0."""
        self.hashed_bytes = 0
        self._next: list[bytes | memoryview] = []
        self._hashes: dict[str, _Hash] = {
            name: hashlib.new(name, usedforsecurity=False) for name in self._algorithms
        }

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes in order."""
        for digest in self._hashes.values():
            digest.update(data)
        self.hashed_bytes += len(data)

    def update_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces in order."""
        for piece in pieces:
            self.update(piece)

    def leave(self, pieces: list[bytes | memoryview]) -> None:
        """Put aside the next pieces in order, too few for a step of their own."""
        self._next = pieces

    def catch_up(self, part: PartFile, stop: int) -> None:
        """Take what was put aside, then read from the part file what is missing up to `stop`."""
        self.update_all(self._next)
        self._next = []
        for piece in part.read(ByteRange(self.hashed_bytes, max(stop, self.hashed_bytes))):
            self.update(piece)

    def hexdigest(self, algorithm: str) -> str:
        """Return the digest so far in lower-case hexadecimal digits."""
        return self._hashes[algorithm].hexdigest()


class Hasher:
    """Feed `digests` from what is stored; `on_room()` is called when pieces were let go.

    `queued_bytes` wait in memory. Used on the event loop only.
    """

    def __init__(self, part: PartFile, digests: Digests, on_room: Callable[[], None]) -> None:
        self._part = part
        self._digests = digests
        self._on_room = on_room
        self._queue: list[bytes | memoryview] = []
        self._queued_stop = digests.hashed_bytes
        self._stored = ByteRangeSet()
        self._generation = 0
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self.queued_bytes = 0

    def stored(self, all_of_it: ByteRangeSet) -> None:
        """Hear what is in the part file, of this generation."""
        self._stored = all_of_it
        if not self._is_busy and self._has_work:
            self._task = asyncio.create_task(self._run(), name="vidnb hasher")

    def take(self, start: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Take pieces that were stored from `start` on, if they are the next ones in order."""
        size_bytes = sum(map(len, pieces))
        if start != self._queued_stop:
            for piece in pieces:
                buffer_pool.release(piece)
            return
        self._queue.extend(pieces)
        self._queued_stop += size_bytes
        self.queued_bytes += size_bytes

    def restart(self) -> None:
        """Begin again at byte 0 with what is stored from now on."""
        self._generation += 1
        self._drop_queue(0)
        self._stored = ByteRangeSet()
        if not self._is_busy:
            self._digests.reset()

    async def close(self) -> None:
        """Leave what waits in memory to the digests, and what would have to be read back."""
        self._is_closing = True
        if self._task is not None:
            await self._task
        if self._queue:
            self._digests.leave(self._queue)

    def _drop_queue(self, queued_stop: int) -> None:
        self._queue.clear()
        self._queued_stop = queued_stop
        self.queued_bytes = 0

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _has_work(self) -> bool:
        if self._queue:
            return self.queued_bytes >= _LEAST_BYTES
        return self._readable_stop() > self._digests.hashed_bytes

    async def _run(self) -> None:
        while self._has_work:
            generation = self._generation
            pieces, self._queue = self._queue, []
            if pieces:
                await wrap(self._digests.update_all)(pieces)
            else:
                self._queued_stop = stop = self._readable_stop()
                try:
                    await wrap(self._digests.catch_up)(self._part, stop)
                except OSError:
                    # Of an older generation, or whoever checks the whole file meets it again.
                    self._drop_queue(_NOWHERE)
            if generation == self._generation:
                self.queued_bytes -= sum(map(len, pieces))
            else:
                self._digests.reset()
            for piece in pieces:
                buffer_pool.release(piece)
            self._on_room()

    def _readable_stop(self) -> int:
        """Return up to where the next step may read back."""
        hashed_bytes = self._digests.hashed_bytes
        if self._is_closing or self._queued_stop == _NOWHERE:
            return hashed_bytes
        return min(self._stored.run_from(hashed_bytes).stop, hashed_bytes + _STEP_BYTES)
