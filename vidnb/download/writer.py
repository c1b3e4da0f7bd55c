"""Write received pieces to the part file, mark them in the journal, then report them as stored.

A step in a thread costs about as much as writing 256 KiB, so pieces are collected. One step
writes a batch, marks the journal and hashes what is next in order. Hashing in the same thread took
a sixth less processor time than hashing in a thread beside it, and no more elapsed time, on two
cores (1 GiB over loopback). Memory is bounded: `room` suspends the readers, and with them the
connections, while too much waits for the disk.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vidnb.download.digests import Digests
from vidnb.download.part_file import PartFile
from vidnb.download.planner.journal import Journal
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators
from vidnb.io.threads import run_in_thread, to_thread

__all__ = ["Writer"]

BATCH_BYTES = 2**20
"""A step is made for this many bytes, ..."""
MAX_DELAY_S = 0.005
"""... or for fewer after this time (s): a kill loses what arrived in that time, no more."""
MAX_WAITING_BYTES = 8 * 2**20
"""Beyond this the readers are suspended until the disk has caught up."""
SHORT_STEP_BYTES = 2**18
"""A batch below this runs in the shared thread of short steps; a longer one would delay them."""
_CATCH_UP_BYTES = 8 * 2**20
"""So much is read back for the digests in one step, which cannot be interrupted."""


@dataclass(slots=True)
class _Run:
    """Consecutive pieces."""

    start: int
    stop: int
    pieces: list[bytes | memoryview]


class Writer:
    """Write the bytes of one download; `on_stored(span, generation)` is called on the event loop.

    `resumable_bytes` is what a next run would find: of this generation, or, until its first bytes
    are written, of an earlier one. `reserves` preallocates disk space for the whole file. `run` is
    the task that does the work; it ends with the disk's `OSError`, or after `close`. A new
    generation (`restart`) drops what waits and empties the file before anything else is written.
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
        self._digests = digests
        self._catching_up: asyncio.Task[None] | None = None
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
        """Queue the bytes of `byte_range`, which belong to `version`."""
        self._version = version
        self._waiting.append((byte_range, data))
        self._waiting_bytes += len(data)
        self._wake.set()
        if self._waiting_bytes >= BATCH_BYTES:
            self._has_batch.set()
        self._look_for_room()

    def flush(self) -> None:
        """Write what waits without waiting for more: a response has ended."""
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
        """Drop what waits; the file is emptied before anything else is written."""
        self._generation = generation
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
        try:
            while True:
                self._begin_to_catch_up()
                await self._wake.wait()
                if not self._is_closing:
                    await self._gather()
                batch, generation = self._next_batch()
                if batch:
                    await self._write(batch, generation)
                    for run in batch:
                        self._on_stored(ByteRange(run.start, run.stop), generation)
                elif self._is_closing:
                    return
        finally:
            self._is_closing = True
            self._look_for_room()
            if self._catching_up is not None:
                await self._catching_up
            if self._generation != self._file_generation:  # nothing of it was written
                self._digests.reset()

    async def _write(self, batch: list[_Run], generation: int) -> None:
        if generation != self._file_generation and self._catching_up is not None:
            await self._catching_up  # it reads the bytes that are removed next
            self._catching_up = None
        digests = self._digests if self._catching_up is None else None
        store = partial(self._store, batch, generation, self._version, digests)
        await (run_in_thread if self._busy_bytes < SHORT_STEP_BYTES else to_thread)(store)
        self._busy_bytes = 0
        self._look_for_room()

    def _begin_to_catch_up(self) -> None:
        """Hash, in a thread beside the writing, stored bytes that are next in order."""
        if self._catching_up is None and self._catch_up_stop() > self._digests.hashed_bytes:
            self._catching_up = asyncio.create_task(self._catch_up(), name="vidnb digests")

    def _catch_up_stop(self) -> int:
        hashed_bytes = self._digests.hashed_bytes
        if self._is_closing or self._generation != self._file_generation:
            return hashed_bytes
        return min(self._on_disk.run_from(hashed_bytes).stop, hashed_bytes + _CATCH_UP_BYTES)

    async def _catch_up(self) -> None:
        try:
            while (stop := self._catch_up_stop()) > self._digests.hashed_bytes:
                await to_thread(self._digests.catch_up, self._part, stop)
        except OSError:
            return  # `_catching_up` stays set; the check of the whole file meets the error again
        self._catching_up = None

    def _look_for_room(self) -> None:
        """Let the readers continue, or suspend them."""
        if self._waiting_bytes + self._busy_bytes < MAX_WAITING_BYTES or self._is_closing:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(MAX_DELAY_S):
                await self._has_batch.wait()
        except TimeoutError:
            pass  # late enough: whatever is there is written

    def _next_batch(self) -> tuple[list[_Run], int]:
        """Return everything queued as few runs of consecutive bytes, and its generation."""
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

    def _store(
        self, batch: list[_Run], generation: int, version: Validators, digests: Digests | None
    ) -> None:
        """Write, mark and hash one batch; runs in a thread, one at a time."""
        if generation != self._file_generation:
            self.resumable_bytes = 0
            self._part.reset()
            self._digests.reset()
            self._on_disk = ByteRangeSet()
            self._file_generation = generation
        if version.total_bytes is not None and self.reserves:
            self._part.preallocate(version.total_bytes)
        for run in batch:
            self._part.write(run.start, run.pieces)
            self._on_disk = self._on_disk.add(ByteRange(run.start, run.stop))
        if version.is_strong and self._part.mark(Journal(self._url, version, self._on_disk)):
            self.resumable_bytes = self._on_disk.size_bytes
        if digests is not None:
            for run in batch:
                digests.update(run.start, run.pieces)
