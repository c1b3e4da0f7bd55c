"""What readers see of a download while it runs: its bytes as they arrive, in any order.

A `Feed` belongs to one download and lives on its event loop. A reader asks for a span; what is
missing of it the planner is told (`ReaderWaits`), and the reader is held until it is on disk, the
source turns out to be another file, or the download ends.
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

__all__ = ["Feed", "FeedEndedError", "FeedFile"]


class FeedEndedError(Exception):
    """What was waited for will not come: the download ended, or its source changed."""


@dataclass(frozen=True, slots=True)
class FeedFile:
    """The file as readers see it now: its size (B) and the number of the attempt to build it.

    `descriptor` is the caller's own; -1 where the file stands under its final name, `path`.
    """

    size_bytes: int
    generation: int
    path: Path
    descriptor: int = -1


@dataclass(slots=True)
class _Waiting:
    byte_range: ByteRange
    generation: int
    told: int
    done: asyncio.Future[None]


class Feed:
    """The reading side of one download.

    `stored`, `generation` and `error` are replaced whole, so any thread may look at them; all else
    belongs to the download's loop. `fills` says that all of the file is wanted, whoever reads.
    """

    def __init__(self) -> None:
        self.stored = ByteRangeSet()
        self.generation = 0
        self.error: BaseException | None = None
        self.media_type: str | None = None
        self.fills = True
        self._transfer: Transfer | None = None
        self._tell: Callable[[Event], None] | None = None
        self._part: Path | None = None
        self._path: Path | None = None
        self._former = 0  # attempts of transfers before this one
        self._size_bytes: int | None = None
        self._opening: list[asyncio.Future[None]] = []
        self._waiting: dict[int, _Waiting] = {}
        self._readers = count(1)

    # What the download does.

    def begin(self, transfer: Transfer, tell: Callable[[Event], None], part: Path) -> None:
        """Show what `transfer` stores in the file `part`; `tell` takes what readers do.

        A second transfer of the same download (its finished file vanished) is another attempt.
        """
        if self._transfer is not None:
            self._former = self.generation + 1
        self._transfer, self._tell, self._part = transfer, tell, part
        self.look()
        for reader, waiting in tuple(self._waiting.items()):
            tell(ReaderWaits(reader, waiting.told))

    def fill(self, *, is_on: bool) -> None:
        """Have all of the file fetched, or from now on only what readers need."""
        if is_on != self.fills:
            self.fills = is_on
            if self._tell is not None:
                self._tell(DemandChanged(is_on))

    def look(self) -> None:
        """Look at what the planner has been told last, and let those go on who waited for it."""
        transfer = self._transfer
        if transfer is None or self._tell is None:
            return
        self._size_bytes = transfer.source.total_bytes
        generation = self._former + transfer.source.generation
        if generation != self.generation:
            self.stored = ByteRangeSet()  # first, for whoever looks from another thread meanwhile
            self.generation = generation
        self.stored = transfer.source.stored
        if self._opening and self._size_bytes is not None:
            self._wake_opening()
        if self._waiting:
            self._wake_waiting()

    def suspend(self) -> None:
        """Take no more: the file is about to be published or closed."""
        self._tell, self._part = None, None

    def publish(self, path: Path, size_bytes: int) -> None:
        """Say that the whole file stands under its final name."""
        self.suspend()
        self._path, self._size_bytes = path, size_bytes
        self.stored = ByteRangeSet((ByteRange(0, size_bytes),)) if size_bytes else ByteRangeSet()
        self._end()

    def fail(self, error: BaseException) -> None:
        """Say that no more will come; once it has ended, nothing."""
        if self._path is not None or self.error is not None:
            return
        self.suspend()
        self.error = error
        self._end()

    def _end(self) -> None:
        self._wake_opening()
        self._wake_waiting()

    def _wake_opening(self) -> None:
        opening, self._opening = self._opening, []
        for done in opening:
            if not done.done():
                done.set_result(None)

    def _wake_waiting(self) -> None:
        for reader, waiting in tuple(self._waiting.items()):
            is_over = self.error is not None or waiting.generation != self.generation
            if is_over or self.stored.covers(waiting.byte_range):
                self._waiting.pop(reader, None)
                if not waiting.done.done():
                    waiting.done.set_result(None)
            elif waiting.told in self.stored and self._tell is not None:
                # What was asked for is here, and behind it the next gap of the span.
                waiting.told = self.stored.gaps(waiting.byte_range)[0].start
                self._tell(ReaderWaits(reader, waiting.told))

    # What readers do.

    def new_reader(self) -> int:
        """Return a number for a reader; any thread may ask."""
        return next(self._readers)

    async def size_bytes(self) -> int:
        """Return the size (B) as soon as it is known; `FeedEndedError` where it never will be."""
        while self._size_bytes is None:
            await self._news()
        return self._size_bytes

    async def shown(self) -> FeedFile:
        """Return the file as it is now, as soon as its size is known.

        `FeedEndedError` where the download has ended without a file.
        """
        while True:
            part, size_bytes, generation = self._part, self._size_bytes, self.generation
            if size_bytes is not None and self._path is not None:
                return FeedFile(size_bytes, generation, self._path)
            if size_bytes is not None and part is not None:
                # Not a duplicate of the writer's descriptor, which would share its lock.
                with suppress(FileNotFoundError):  # published or removed in this moment
                    return FeedFile(
                        size_bytes, generation, part, await run_in_thread(_opened, part)
                    )
            await self._news()

    async def _news(self) -> None:
        """Wait for a size, a file or an end."""
        if self.error is not None:
            raise FeedEndedError from self.error
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opening.append(done)
        await done

    async def wait(self, reader: int, byte_range: ByteRange, generation: int) -> None:
        """Return once all of `byte_range` is on disk; `FeedEndedError` where it will not come."""
        while True:
            if self.error is not None or generation != self.generation:
                raise FeedEndedError from self.error
            gaps = self.stored.gaps(byte_range)
            if not gaps:
                return
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[reader] = _Waiting(byte_range, generation, gaps[0].start, done)
            if self._tell is not None:
                self._tell(ReaderWaits(reader, gaps[0].start))
            try:
                await done
            finally:
                self._waiting.pop(reader, None)

    def go_on(self, reader: int, offset: int) -> None:
        """Say that a reader needs the byte at `offset` next, and that all before it was here."""
        if self._tell is not None:
            self._tell(ReaderAdvanced(reader, offset))

    def leave(self, reader: int) -> None:
        """Say that a reader needs nothing any more."""
        if self._tell is not None:
            self._tell(ReaderLeft(reader))


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
