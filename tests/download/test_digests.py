"""The digest of an arriving file: right in whatever order its bytes arrive, each hashed once."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import noise
from vidnb.download.digests import Digests
from vidnb.download.part_file import PartFile
from vidnb.download.writer import Writer
from vidnb.http.headers import parse_etag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

DATA = noise(20_000_000)
PIECE = 1_000_003
SHA256 = hashlib.sha256(DATA).hexdigest()
VERSION = Validators(etag=parse_etag('"v1"'), total_bytes=len(DATA))


class RecordedPart(PartFile):
    """A part file that records what is read back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "film")
        self.reads: list[ByteRange] = []

    def read(self, byte_range: ByteRange) -> Iterator[bytes]:
        self.reads.append(byte_range)
        yield from super().read(byte_range)


class Download:
    """A writer, its part file and digests."""

    def __init__(self, folder: Path) -> None:
        self.part = RecordedPart(folder)
        self.digests = Digests(frozenset({"sha256"}))
        self.stored_bytes = 0

    def begin(self, stored: ByteRangeSet) -> None:
        self.writer = Writer(self.part, "http://a/film.mp4", self.digests, stored, self.on_stored)
        self.running = asyncio.create_task(self.writer.run())

    def on_stored(self, byte_range: ByteRange, generation: int) -> None:
        self.stored_bytes += byte_range.size_bytes

    async def add(self, start: int, data: bytes = DATA) -> None:
        piece = data[start : start + PIECE]
        self.writer.add(ByteRange(start, start + len(piece)), piece, VERSION)
        await self.writer.room()

    async def until_hashed(self, stop: int) -> None:
        while self.digests.hashed_bytes < stop:
            assert not self.running.done()
            await asyncio.sleep(0.001)


Scene = Callable[[Download], Coroutine[None, None, None]]
Play = Callable[[Scene], Download]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    downloads: list[Download] = []

    def run(scene: Scene) -> Download:
        download = Download(tmp_path)
        downloads.append(download)

        async def main() -> None:
            await scene(download)
            download.writer.close()
            await download.running

        asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
        return download

    yield run
    for download in downloads:
        download.part.close(keep=False)


def test_in_order_nothing_is_read_back(play: Play) -> None:
    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet())
        for start in range(0, len(DATA), PIECE):
            await download.add(start)

    download = play(scene)
    assert download.part.reads == []
    assert download.stored_bytes == len(DATA)
    assert download.digests.hexdigest("sha256") == SHA256


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.004])
def test_a_resumed_file_is_read_back_while_the_rest_arrives(pause_s: float, play: Play) -> None:
    """Each byte at most once, in order."""

    async def scene(download: Download) -> None:
        half = 10 * PIECE
        download.part.write(0, [DATA[:half]])
        download.begin(ByteRangeSet([ByteRange(0, half)]))
        for start in range(half, len(DATA), PIECE):
            await download.add(start)
            await asyncio.sleep(pause_s)
        await download.until_hashed(len(DATA))

    download = play(scene)
    assert download.digests.hexdigest("sha256") == SHA256
    assert all(one.stop <= two.start for one, two in pairwise(download.part.reads))


@pytest.mark.parametrize("seed", range(5))
def test_bytes_may_arrive_in_any_order(seed: int, play: Play) -> None:
    """Pieces of several connections."""

    async def scene(download: Download) -> None:
        random = Random(seed)
        starts = list(range(0, len(DATA), PIECE))
        random.shuffle(starts)
        download.begin(ByteRangeSet())
        for start in starts:
            await download.add(start)
            if random.random() < 0.5:
                await asyncio.sleep(0.003 * random.random())
        await download.until_hashed(len(DATA))

    assert play(scene).digests.hexdigest("sha256") == SHA256


@pytest.mark.parametrize("pause_s", [0, 0.004])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_restart_begins_at_the_first_byte(pause_s: float, is_reversed: bool, play: Play) -> None:
    """Also in the middle of a step; the digest holds no byte of the older version."""

    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet())
        starts = range(0, 10 * PIECE, PIECE)
        for start in reversed(starts) if is_reversed else starts:
            await download.add(start, b"\0" * len(DATA))
        await asyncio.sleep(pause_s)
        download.writer.restart(1)
        for start in range(0, len(DATA), PIECE):
            await download.add(start)
        await download.until_hashed(len(DATA))

    assert play(scene).digests.hexdigest("sha256") == SHA256


def test_a_restart_without_bytes_leaves_an_empty_digest(play: Play) -> None:
    """The new version may be empty."""

    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet())
        await download.add(0)
        await download.until_hashed(PIECE)
        download.writer.restart(1)

    assert play(scene).digests.hexdigest("sha256") == hashlib.sha256().hexdigest()


def test_a_part_that_cannot_be_read_is_left_to_the_check(play: Play) -> None:
    """The digest stops there; the check of the whole file reads on, and raises what it meets."""

    async def scene(download: Download) -> None:
        download.part.write(0, [DATA[:PIECE]])
        download.begin(ByteRangeSet([ByteRange(0, 2 * PIECE)]))
        await download.until_hashed(PIECE)

    download = play(scene)
    assert download.digests.hashed_bytes == PIECE
    with pytest.raises(OSError, match="ends early"):
        download.digests.catch_up(download.part, len(DATA))
    download.part.write(PIECE, [DATA[PIECE:]])
    download.digests.catch_up(download.part, len(DATA))
    assert download.digests.hexdigest("sha256") == SHA256


def test_what_is_next_to_an_unreadable_part_is_not_hashed(play: Play) -> None:
    """Bytes that arrive later are stored; their digest is left to the check as well."""

    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet([ByteRange(0, PIECE)]))
        while download.writer._catching_up is None or not download.writer._catching_up.done():
            await asyncio.sleep(0.001)
        for start in range(PIECE, len(DATA), PIECE):
            await download.add(start)

    download = play(scene)
    assert download.digests.hashed_bytes == 0
    download.part.write(0, [DATA[:PIECE]])
    download.digests.catch_up(download.part, len(DATA))
    assert download.digests.hexdigest("sha256") == SHA256
