"""Digests of a file that is still arriving, each computed in a thread of its own.

Bytes that arrive in order are hashed from memory while they are written. Bytes that arrived out of
order, or were stored by an earlier run, are read back from the part file once everything before
them is stored.
"""

import asyncio
import hashlib
from asyncio import to_thread
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from vidnb.download.part_file import PartFile
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.io.threads import run_in_thread

__all__ = ["Digest", "DigestQueue", "Digests", "Run"]

_CATCH_UP_BYTES = 8 * 2**20
"""So much is read back in one step, which cannot be interrupted, while the rest arrives ..."""
_LAST_CATCH_UP_BYTES = 64 * 2**20
"""... and after that; a cancelled download ends after a step."""


@dataclass(slots=True)
class Run:
    """Consecutive pieces: the bytes of a file from `start` to `stop`."""

    start: int
    stop: int
    pieces: list[bytes | memoryview]


class Digest:
    """The running digest of the first `hashed_bytes` bytes of a file.

    One thread at a time may use it; every method may block on the processor or the disk.
    """

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self.reset()

    def reset(self) -> None:
        """Begin again at byte 0."""
        self.hashed_bytes = 0
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False)

    def update(self, start: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Hash consecutive pieces that begin at byte `start`, if they are the next in order."""
        if start != self.hashed_bytes:
            return
        for piece in pieces:
            self._hash.update(piece)
            self.hashed_bytes += len(piece)

    def catch_up(self, part: PartFile, stop: int) -> None:
        """Read back and hash what is missing up to byte `stop`; raises the disk's `OSError`."""
        if stop > self.hashed_bytes:  # or else the part file is not opened
            for piece in part.read(ByteRange(self.hashed_bytes, stop)):
                self.update(self.hashed_bytes, [piece])

    def hexdigest(self) -> str:
        """Return the digest so far in lower-case hexadecimal digits."""
        return self._hash.hexdigest()


class Digests:
    """The running digests of one file, by algorithm."""

    def __init__(self, algorithms: frozenset[str]) -> None:
        self._digests = {name: Digest(name) for name in algorithms}

    def __iter__(self) -> Iterator[Digest]:
        """Iterate over the digests."""
        return iter(self._digests.values())

    def catch_up(self, part: PartFile, stop: int) -> None:
        """Read back and hash what is missing up to byte `stop`; raises the disk's `OSError`."""
        for digest in self:
            digest.catch_up(part, stop)

    async def catch_up_in_threads(self, part: PartFile, stop: int) -> None:
        """Do the same in threads, one for each digest, except for the last step of each."""
        async with asyncio.TaskGroup() as group:
            for digest in self:
                group.create_task(_catch_up_in_steps(digest, part, stop))

    def hexdigest(self, algorithm: str) -> str:
        """Return the digest so far in lower-case hexadecimal digits."""
        return self._digests[algorithm].hexdigest()


async def _catch_up_in_steps(digest: Digest, part: PartFile, stop: int) -> None:
    while (step_stop := digest.hashed_bytes + _LAST_CATCH_UP_BYTES) < stop:
        await run_in_thread(digest.catch_up, part, step_stop)


class DigestQueue:
    """Bring one digest forward in order, in a thread beside the writer; used on its event loop.

    `stored` are the bytes of an earlier run. `on_progress` is called after each step. A part file
    that cannot be read ends the work: the check of the whole file meets the error again.
    """

    def __init__(
        self,
        digest: Digest,
        part: PartFile,
        stored: ByteRangeSet,
        on_progress: Callable[[], None],
    ) -> None:
        self._digest = digest
        self._part = part
        self._stored = stored
        self._on_progress = on_progress
        self._latest: Sequence[Run] = ()
        self._queued: list[bytes | memoryview] = []
        self._queued_bytes = self._busy_bytes = 0
        self._step_stop = 0
        self._task: asyncio.Task[None] | None = None
        self._has_failed = self._is_closing = False

    @property
    def waiting_bytes(self) -> int:
        """How many bytes in memory wait for the digest."""
        return self._queued_bytes + self._busy_bytes

    def idle_digest(self) -> Digest | None:
        """Return the digest if nothing waits for it: then a short step may update it itself."""
        return self._digest if self._task is None and not self._has_failed else None

    def add(self, batch: Sequence[Run]) -> None:
        """Queue what is next in order of the bytes that are written now."""
        self._latest = () if self._has_failed else batch
        self._start()

    def record_stored(self, stored: ByteRangeSet) -> None:
        """Note which bytes can be read back, and begin to."""
        self._stored = stored
        self._start()

    def discard(self) -> None:
        """Drop what waits: it belongs to an older version. `reset` must follow."""
        self._latest, self._stored = (), ByteRangeSet()
        self._queued, self._queued_bytes = [], 0

    async def reset(self) -> None:
        """Begin again at byte 0, once no step is running."""
        self.discard()
        await self._finish()
        self._digest.reset()
        self._has_failed = False

    async def close(self) -> None:
        """Hash what is in memory, and end."""
        self._is_closing = True
        await self._finish()
        self._latest = ()

    async def _finish(self) -> None:
        if self._task is not None:
            await self._task

    def _start(self) -> None:
        self._queue_latest()
        if self._task is None and not self._has_failed and (step := self._next_step()) is not None:
            self._task = asyncio.create_task(self._run(step), name="vidnb digest")

    def _queue_latest(self) -> None:
        """Queue what is next in order, also of a batch that was not when it was added."""
        for run in self._latest:
            stop = self._digest.hashed_bytes if self._task is None else self._step_stop
            if run.start == stop + self._queued_bytes:
                self._queued += run.pieces
                self._queued_bytes += run.stop - run.start

    def _next_step(self) -> Callable[[], None] | None:
        """Return what to do next in a thread: from memory, or else from the part file."""
        start = self._digest.hashed_bytes
        if self._queued:
            step = partial(self._digest.update, start, self._queued)
            self._busy_bytes, self._step_stop = self._queued_bytes, start + self._queued_bytes
            self._queued, self._queued_bytes = [], 0
            return step
        self._step_stop = min(self._stored.run_from(start).stop, start + _CATCH_UP_BYTES)
        if self._is_closing or self._step_stop <= start:
            return None
        return partial(self._digest.catch_up, self._part, self._step_stop)

    async def _run(self, step: Callable[[], None] | None) -> None:
        try:
            while step is not None:
                await to_thread(step)
                self._busy_bytes = 0
                self._queue_latest()
                step = self._next_step()
                self._on_progress()
        except OSError:
            self._has_failed = True
            self.discard()
        self._task = None
        self._on_progress()
