"""From received pieces to stored bytes: megabytes per thread hop, hashed beside it.

Each hop into a thread costs about what writing 256 KiB costs, so pieces gather until a batch is
worth one. In one hop the batch is written and marked in the journal; only then is it reported as
stored, and handed to the `Hasher`. Memory is bounded: `room` holds the readers, and with them the
sockets, while too much waits for the disk or the digest.
"""

import asyncio
from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vidnb.download.digests import Digests, Hasher
from vidnb.download.part_file import PartFile
from vidnb.download.planner.journal import Journal
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators
from vidnb.io import buffer_pool
from vidnb.io.threads import run_in_thread

__all__ = ["Writer"]

BATCH_BYTES = 2**20
"""A hop is made for this much, …"""
LATEST_S = 0.005
"""… or for whatever is there after this long: a kill costs what came in that time, no more."""
MOST_WAITING_BYTES = 8 * 2**20
"""Beyond this the sockets are left alone until the disk has caught up."""
LITTLE_BYTES = 2**18
"""Less than this is a short step, taken in the row of them; more would hold the others up."""


@dataclass(slots=True)
class _Run:
    """Pieces that continue each other."""

    start: int
    stop: int
    pieces: list[bytes | memoryview]


class Writer:
    """Write one download's bytes; `on_stored(span, generation)` is called on the event loop.

    `resumable_bytes` is what a next run would find: of this generation, or, until its first bytes are
    written, what an earlier one left. `reserves` has the disk keep room for the whole file.
    `run` is the task that does the work; it ends with the `OSError` the disk raised, or after
    `close`. A new generation (`restart`) drops what waits and empties the file before it goes on.
    """

    def __init__(
        self,
        part: PartFile,
        url: str,
        digests: Digests,
        stored: ByteRangeSet,
        on_stored: Callable[[ByteRange, int], None],
    ) -> None:
        self._part = part
        self._url = url
        self._hasher = Hasher(part, digests, self._look_for_room)
        self.resumable_bytes = stored.size_bytes
        self._on_disk = stored
        self._on_stored = on_stored
        self._waiting: list[tuple[ByteRange, bytes | memoryview]] = []
        self._waiting_bytes = 0
        self._busy_bytes = 0
        self._generation = 0
        self._file_generation = 0
        self._version = Validators()
        self._wake = asyncio.Event()
        self._has_batch = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closing = False
        self.reserves = True

    def add(self, byte_range: ByteRange, data: bytes | memoryview, version: Validators) -> None:
        """Take the bytes of `byte_range`, which belong to `version`."""
        self._version = version
        buffer_pool.retain(data)
        self._waiting.append((byte_range, data))
        self._waiting_bytes += len(data)
        self._wake.set()
        if self._waiting_bytes >= BATCH_BYTES:
            self._has_batch.set()
        self._look_for_room()

    def flush(self) -> None:
        """Write what waits without waiting for more: a stream has ended."""
        self._has_batch.set()

    @property
    def path(self) -> Path:
        """Where the bytes are."""
        return self._part.path

    @property
    def has_room(self) -> bool:
        """Whether the readers may go on."""
        return self._has_room.is_set()

    async def room(self) -> None:
        """Return once there is room for more."""
        await self._has_room.wait()

    def restart(self, generation: int) -> None:
        """Forget what waits; the file is emptied before anything else is written."""
        self._generation = generation
        self._hasher.restart()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._look_for_room()

    def close(self) -> None:
        """Write what waits, then let `run` end."""
        self._is_closing = True
        self._wake.set()
        self._has_batch.set()

    async def run(self) -> None:
        """Move batches to the disk until `close`; raises the disk's `OSError`."""
        self._hasher.stored(self._on_disk)
        try:
            while True:
                await self._wake.wait()
                if not self._is_closing:
                    await self._gather()
                batch, generation = self._take()
                if batch:
                    store = partial(self._store, batch, generation, self._version)
                    await (run_in_thread if self._busy_bytes < LITTLE_BYTES else to_thread)(store)
                    self._busy_bytes = 0
                    self._hash(batch, generation)
                    self._look_for_room()
                    for run in batch:
                        self._on_stored(ByteRange(run.start, run.stop), generation)
                elif self._is_closing:
                    return
        finally:
            await self._hasher.close()
            self._is_closing = True
            self._look_for_room()

    def _look_for_room(self) -> None:
        """Let the readers go on, or hold them."""
        held_bytes = self._waiting_bytes + self._busy_bytes + self._hasher.queued_bytes
        if held_bytes < MOST_WAITING_BYTES or self._is_closing:
            self._has_room.set()
        else:
            self._has_room.clear()

    def _hash(self, batch: list[_Run], generation: int) -> None:
        if generation != self._generation:
            return
        for run in batch:
            self._hasher.take(run.start, run.pieces)
        self._hasher.stored(self._on_disk)

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(LATEST_S):
                await self._has_batch.wait()
        except TimeoutError:
            pass  # late enough: whatever is there is written

    def _take(self) -> tuple[list[_Run], int]:
        """Empty the queue into as few runs as possible."""
        runs: list[_Run] = []
        for byte_range, data in sorted(self._waiting, key=lambda waiting: waiting[0]):
            if runs and runs[-1].stop == byte_range.start:
                runs[-1].stop = byte_range.stop
                runs[-1].pieces.append(data)
            else:
                runs.append(_Run(byte_range.start, byte_range.stop, [data]))
        self._busy_bytes, self._waiting_bytes = self._waiting_bytes, 0
        self._waiting.clear()
        self._has_batch.clear()
        if not self._is_closing:
            self._wake.clear()
        return runs, self._generation

    def _store(self, batch: list[_Run], generation: int, version: Validators) -> None:
        """Write and mark one batch; runs in a thread, one at a time."""
        if generation != self._file_generation:
            self.resumable_bytes = 0
            self._part.reset()
            self._on_disk = ByteRangeSet()
            self._file_generation = generation
        if version.total_bytes is not None and self.reserves:
            self._part.preallocate(version.total_bytes)
        for run in batch:
            self._part.write(run.start, run.pieces)
            self._on_disk = self._on_disk.add(ByteRange(run.start, run.stop))
        if version.is_strong and self._part.mark(Journal(self._url, version, self._on_disk)):
            self.resumable_bytes = self._on_disk.size_bytes
