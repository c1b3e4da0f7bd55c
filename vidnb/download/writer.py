"""Write received pieces to the part file, mark them in the journal, then report them as stored.

A step in a thread costs about as much as writing 256 KiB, so pieces are collected. One step
writes a batch and marks the journal. A long batch is hashed in another thread at the same time:
hashing takes twice as long as writing, and both in one thread were the bottleneck of a fast
connection. A short batch is hashed in the same step. Memory is bounded: `room` suspends the
readers, and with them the connections, while too much waits for the disk or for a digest.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vidnb.download.digests import Digest, DigestQueue, Digests, Run
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
"""Beyond this the readers are suspended until the disk and the digests have caught up."""
SHORT_STEP_BYTES = 2**18
"""A batch below this runs in the shared thread of short steps; a longer one would delay them."""
_PARALLEL_BYTES = 2**19
"""A batch below this is hashed in the step that writes it: another thread costs more."""


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
        url_hash: str,
        digests: Digests,
        stored: ByteRangeSet,
        on_stored: Callable[[ByteRange, int], None],
    ) -> None:
        self._part = part
        self._url_hash = url_hash
        self._digests = [DigestQueue(one, part, stored, self._look_for_room) for one in digests]
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
        for queue in self._digests:
            queue.discard()
        self._look_for_room()

    def close(self) -> None:
        """Write what waits, then let `run` end."""
        self._is_closing = True
        self._wake.set()
        self._has_batch.set()

    async def run(self) -> None:
        """Move batches to the disk until `close`; raises the disk's `OSError`."""
        try:
            self._continue_digests(0)
            while True:
                await self._wake.wait()
                if not self._is_closing:
                    await self._gather()
                batch, generation = self._next_batch()
                if batch:
                    await self._write(batch, generation)
                    self._continue_digests(generation)
                    for run in batch:
                        self._on_stored(ByteRange(run.start, run.stop), generation)
                elif self._is_closing:
                    return
        finally:
            self._is_closing = True
            self._look_for_room()
            for queue in self._digests:
                await queue.close()
            if self._generation != self._file_generation:  # nothing of it was written
                await self._reset_digests()

    async def _write(self, batch: list[Run], generation: int) -> None:
        if generation != self._file_generation:
            await self._reset_digests()  # they may be reading the bytes that are removed next
        digests: list[Digest] = []
        for queue in self._digests:
            digest = queue.idle_digest() if self._busy_bytes < _PARALLEL_BYTES else None
            if digest is None:
                queue.add(batch)
            else:
                digests.append(digest)
        store = partial(self._store, batch, generation, self._version, digests)
        await (run_in_thread if self._busy_bytes < SHORT_STEP_BYTES else to_thread)(store)
        self._busy_bytes = 0
        self._look_for_room()

    async def _reset_digests(self) -> None:
        for queue in self._digests:
            await queue.reset()

    def _continue_digests(self, generation: int) -> None:
        """Let the digests read back what is stored, unless a restart has made it obsolete."""
        if generation == self._generation:
            for queue in self._digests:
                queue.record_stored(self._on_disk)

    def _look_for_room(self) -> None:
        """Let the readers continue, or suspend them."""
        hashing_bytes = max((queue.waiting_bytes for queue in self._digests), default=0)
        waiting_bytes = self._waiting_bytes + max(self._busy_bytes, hashing_bytes)
        if waiting_bytes < MAX_WAITING_BYTES or self._is_closing:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(MAX_DELAY_S):
                await self._has_batch.wait()
        except TimeoutError:
            pass  # late enough: whatever is there is written

    def _next_batch(self) -> tuple[list[Run], int]:
        """Return everything queued as few runs of consecutive bytes, and its generation."""
        runs: list[Run] = []
        for byte_range, data in sorted(self._waiting, key=lambda waiting: waiting[0]):
            if runs and runs[-1].stop == byte_range.start:
                runs[-1].stop = byte_range.stop
                runs[-1].pieces.append(data)
            else:
                runs.append(Run(byte_range.start, byte_range.stop, [data]))
        self._busy_bytes, self._waiting_bytes = self._waiting_bytes, 0
        self._waiting.clear()
        self._has_batch.clear()
        if not self._is_closing:
            self._wake.clear()
        return runs, self._generation

    def _store(
        self, batch: list[Run], generation: int, version: Validators, digests: list[Digest]
    ) -> None:
        """Write and mark one batch, and hash it by `digests`; in a thread, one at a time."""
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
        if version.is_strong and self._part.mark(Journal(self._url_hash, version, self._on_disk)):
            self.resumable_bytes = self._on_disk.size_bytes
        for digest in digests:
            for run in batch:
                digest.update(run.start, run.pieces)
