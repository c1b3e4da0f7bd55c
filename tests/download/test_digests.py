"""The digest beside the writing: right whatever the order, from memory where the order allows."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import noise
from vidnb.download.digests import Digests, Hasher
from vidnb.download.part_file import PartFile
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.io import buffer_pool

DATA = noise(20_000_000)
PIECE = 1_000_003
SHA256 = hashlib.sha256(DATA).hexdigest()


class Reads(PartFile):
    """A part file that notes what is read back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "film")
        self.reads: list[ByteRange] = []

    def read(self, byte_range: ByteRange) -> Iterator[bytes]:
        self.reads.append(byte_range)
        yield from super().read(byte_range)


class Careful(Digests):
    """Digests that look whether what they are given is still theirs."""

    def update_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            assert isinstance(piece, memoryview)
            assert isinstance(piece.obj, buffer_pool._Block)
            assert piece.obj.users > 0, "a block that may be used again already"
        super().update_all(pieces)


class World:
    """A part file, its digests, and what was stored so far."""

    def __init__(self, folder: Path) -> None:
        self.part = Reads(folder)
        self.digests = Careful(frozenset({"sha256"}))
        self.rooms = 0
        self.hasher = Hasher(self.part, self.digests, self.room)
        self.stored = ByteRangeSet()

    def room(self) -> None:
        self.rooms += 1

    def store(self, start: int, data: bytes = DATA) -> None:
        content = data[start : start + PIECE]
        block = buffer_pool.acquire()
        piece = block[: len(content)]
        piece[:] = content
        self.part.write(start, [piece])
        self.stored = self.stored.add(ByteRange(start, start + len(piece)))
        self.hasher.take(start, [piece])
        self.hasher.stored(self.stored)

    async def settle(self) -> None:
        while self.hasher._is_busy:
            await asyncio.sleep(0.001)


@pytest.fixture
def play(
    tmp_path: Path,
) -> Iterator[Callable[[Callable[[World], Coroutine[None, None, None]]], World]]:
    worlds: list[World] = []

    def run(scene: Callable[[World], Coroutine[None, None, None]]) -> World:
        world = World(tmp_path)
        worlds.append(world)

        async def main() -> None:
            await scene(world)
            await world.hasher.close()

        asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
        return world

    yield run
    for world in worlds:
        world.part.close(keep=False)


Play = Callable[[Callable[[World], Coroutine[None, None, None]]], World]


def test_in_order_nothing_is_read_back(play: Play) -> None:
    """However much faster than the digest it is stored."""

    async def scene(world: World) -> None:
        for start in range(0, len(DATA), PIECE):
            world.store(start)
            if start % 3 == 0:
                await asyncio.sleep(0)
        assert world.hasher.queued_bytes > 0

    world = play(scene)
    assert world.part.reads == []
    assert world.hasher.queued_bytes == 0
    assert world.digests.hexdigest("sha256") == SHA256
    assert world.rooms > 0


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.004])
def test_what_was_there_is_read_while_the_rest_comes(pause_s: float, play: Play) -> None:
    """A resumed file: the first half is read back once, and the rest follows."""

    async def scene(world: World) -> None:
        half = 10 * PIECE
        world.part.write(0, [DATA[:half]])
        world.stored = ByteRangeSet([ByteRange(0, half)])
        world.hasher.stored(world.stored)
        for start in range(half, len(DATA), PIECE):
            world.store(start)
            await asyncio.sleep(pause_s)
        await world.settle()

    world = play(scene)
    assert world.digests.hashed_bytes == len(DATA)
    assert world.digests.hexdigest("sha256") == SHA256
    reads = world.part.reads
    assert all(one.stop == two.start for one, two in pairwise(reads))


@pytest.mark.parametrize("seed", range(5))
def test_any_order(seed: int, play: Play) -> None:
    """Pieces of several connections: each byte is hashed once, in its place."""

    async def scene(world: World) -> None:
        random = Random(seed)
        starts = list(range(0, len(DATA), PIECE))
        random.shuffle(starts)
        for start in starts:
            world.store(start)
            if random.random() < 0.5:
                await asyncio.sleep(0.003 * random.random())
        await world.settle()

    world = play(scene)
    assert world.digests.hashed_bytes == len(DATA)
    assert world.digests.hexdigest("sha256") == SHA256


@pytest.mark.parametrize("pause_s", [0, 0.004])
def test_a_restart_begins_at_the_first_byte(pause_s: float, play: Play) -> None:
    """Also in the middle of a step, and nothing of the older version is in the digest."""

    async def scene(world: World) -> None:
        for start in range(0, 10 * PIECE, PIECE):
            world.store(start, b"\0" * len(DATA))
        await asyncio.sleep(pause_s)
        world.hasher.restart()
        world.stored = ByteRangeSet()
        for start in range(0, len(DATA), PIECE):
            world.store(start)
        await world.settle()

    world = play(scene)
    assert world.digests.hashed_bytes == len(DATA)
    assert world.digests.hexdigest("sha256") == SHA256


def test_a_part_that_cannot_be_read_is_left_to_the_check(play: Play) -> None:
    """The digest stops where it is; the check reads on from there, and raises what it meets."""

    async def scene(world: World) -> None:
        world.part.write(0, [DATA[:PIECE]])
        world.hasher.stored(ByteRangeSet([ByteRange(0, 2 * PIECE)]))
        await world.settle()
        world.hasher.take(world.digests.hashed_bytes, [b"from nowhere"])
        world.hasher.stored(ByteRangeSet([ByteRange(0, 3 * PIECE)]))

    world = play(scene)
    assert world.digests.hashed_bytes == PIECE
    with pytest.raises(OSError, match="ends early"):
        world.digests.catch_up(world.part, 2 * PIECE)
    world.part.write(PIECE, [DATA[PIECE:]])
    world.digests.catch_up(world.part, len(DATA))
    assert world.digests.hexdigest("sha256") == SHA256
