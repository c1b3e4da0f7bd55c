"""`ReadFeed`: lets readers wait for byte ranges of a file while it is downloaded.

A feed belongs to one download and lives on its event loop. A reader that needs missing bytes is
reported to the planner (`ReaderWaits`) and waits until they are on disk, the source turns out to be
another file, or the download ends.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from vidnb.download.planner.events import (
    DemandChanged,
    Event,
    ReaderAdvanced,
    ReaderLeft,
    ReaderWaits,
)
from vidnb.download.planner.transfer import Transfer
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.io.threads import run_in_thread

__all__ = ["FeedEndedError", "FeedFile", "ReadFeed"]


class FeedEndedError(Exception):
    """The awaited bytes will not arrive: the download ended, or its source changed."""


@dataclass(frozen=True, slots=True)
class FeedFile:
    """The file as readers see it now: its size (B) and its generation, the attempt to build it.

    `descriptor` is owned by the caller; -1 where the file stands under its final name, `path`.
    """

    size_bytes: int
    generation: int
    path: Path
    descriptor: int = -1


@dataclass(slots=True)
class _Waiting:
    """A reader that waits for `byte_range`; the planner knows that it needs byte `reported`."""

    byte_range: ByteRange
    generation: int
    reported: int
    done: asyncio.Future[None]


class ReadFeed:
    """The reading side of one download.

    `stored`, `generation` and `error` are replaced whole, so any thread may read them; all else
    belongs to the download's loop. `fills`: the whole file is fetched, not only what readers need.
    """

    def __init__(self) -> None:
        self.stored = ByteRangeSet()
        self.generation = 0
        self.error: BaseException | None = None
        self.media_type: str | None = None
        self.fills = True
        self._transfer: Transfer | None = None
        self._send: Callable[[Event], None] | None = None
        self._part: Path | None = None
        self._path: Path | None = None
        self._base_generation = 0  # generations of the transfers before this one
        self._size_bytes: int | None = None
        self._open_waiters: list[asyncio.Future[None]] = []
        self._waiting: dict[int, _Waiting] = {}
        self._readers = count(1)

    # Called by the download.

    def attach(self, transfer: Transfer, send: Callable[[Event], None], part: Path) -> None:
        """Show what `transfer` stores in the file `part`; `send` receives the readers' events.

        A second transfer of one download (its finished file was removed) is a new generation.
        """
        if self._transfer is not None:
            self._base_generation = self.generation + 1
        self._transfer, self._send, self._part = transfer, send, part
        self.update()
        for reader, waiting in tuple(self._waiting.items()):
            send(ReaderWaits(reader, waiting.reported))

    def set_fetch_all(self, *, is_on: bool) -> None:
        """Have the whole file fetched, or from now on only what readers need."""
        if is_on != self.fills:
            self.fills = is_on
            if self._send is not None:
                self._send(DemandChanged(is_on))

    def update(self) -> None:
        """Read the transfer's state and wake the readers whose bytes are stored."""
        transfer = self._transfer
        if transfer is None or self._send is None:
            return
        self._size_bytes = transfer.source.total_bytes
        generation = self._base_generation + transfer.source.generation
        if generation != self.generation:
            self.stored = ByteRangeSet()  # first: another thread never sees old ranges as new
            self.generation = generation
        self.stored = transfer.source.stored
        if self._open_waiters and self._size_bytes is not None:
            self._wake_open_waiters()
        if self._waiting:
            self._wake_waiting()

    def detach(self) -> None:
        """Send no more events: the part file is about to be published or closed."""
        self._send, self._part = None, None

    def publish(self, path: Path, size_bytes: int) -> None:
        """Show the complete file under its final name."""
        self.detach()
        self._path, self._size_bytes = path, size_bytes
        self.stored = ByteRangeSet((ByteRange(0, size_bytes),)) if size_bytes else ByteRangeSet()
        self._wake_all()

    def fail(self, error: BaseException) -> None:
        """End all waiting with `FeedEndedError`; without effect once the feed has ended."""
        if self._path is not None or self.error is not None:
            return
        self.detach()
        self.error = error
        self._wake_all()

    def _wake_all(self) -> None:
        self._wake_open_waiters()
        self._wake_waiting()

    def _wake_open_waiters(self) -> None:
        waiters, self._open_waiters = self._open_waiters, []
        for done in waiters:
            if not done.done():
                done.set_result(None)

    def _wake_waiting(self) -> None:
        for reader, waiting in tuple(self._waiting.items()):
            is_over = self.error is not None or waiting.generation != self.generation
            if is_over or self.stored.covers(waiting.byte_range):
                self._waiting.pop(reader, None)
                if not waiting.done.done():
                    waiting.done.set_result(None)
            elif waiting.reported in self.stored and self._send is not None:
                # The reported gap is filled; report the next one of the range.
                waiting.reported = self.stored.gaps(waiting.byte_range)[0].start
                self._send(ReaderWaits(reader, waiting.reported))

    @property
    def path(self) -> Path | None:
        """The part file, then the complete file; None before and between; from any thread."""
        return self._path or self._part

    # Called for readers.

    def new_reader(self) -> int:
        """Return a number that identifies a reader; from any thread."""
        return next(self._readers)

    async def size_bytes(self) -> int:
        """Wait for the size (B) and return it; `FeedEndedError` if the download ends without."""
        while self._size_bytes is None:
            await self._wait_for_change()
        return self._size_bytes

    async def file(self) -> FeedFile:
        """Wait for the size and return the file as it is now.

        `FeedEndedError` if the download ended without a file.
        """
        while True:
            part, size_bytes, generation = self._part, self._size_bytes, self.generation
            if size_bytes is not None and self._path is not None:
                return FeedFile(size_bytes, generation, self._path)
            if size_bytes is not None and part is not None:
                # Opened anew: a duplicate of the writer's descriptor would share its lock.
                with suppress(FileNotFoundError):  # published or removed just now
                    descriptor = await run_in_thread(os.open, part, os.O_RDONLY | os.O_CLOEXEC)
                    return FeedFile(size_bytes, generation, part, descriptor)
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for a size, a file or the end of the download."""
        if self.error is not None:
            raise FeedEndedError from self.error
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open_waiters.append(done)
        await done

    async def wait(self, reader: int, byte_range: ByteRange, generation: int) -> None:
        """Wait until all of `byte_range` is on disk; `FeedEndedError` if it will not arrive."""
        while True:
            if self.error is not None or generation != self.generation:
                raise FeedEndedError from self.error
            gaps = self.stored.gaps(byte_range)
            if not gaps:
                return
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[reader] = _Waiting(byte_range, generation, gaps[0].start, done)
            if self._send is not None:
                self._send(ReaderWaits(reader, gaps[0].start))
            try:
                await done
            finally:
                self._waiting.pop(reader, None)

    def advance_reader(self, reader: int, offset: int) -> None:
        """Report that a reader has read all before `offset` and needs that byte next."""
        if self._send is not None:
            self._send(ReaderAdvanced(reader, offset))

    def remove_reader(self, reader: int) -> None:
        """Report that a reader needs nothing more."""
        if self._send is not None:
            self._send(ReaderLeft(reader))
