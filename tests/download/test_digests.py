"""The digest of an arriving file: right in whatever order its bytes arrive, each hashed once."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import noise
from vidnb.download import digests as digests_module
from vidnb.download.digests import Digest, Digests
from vidnb.download.part_file import PartFile
from vidnb.download.writer import MAX_WAITING_BYTES, Writer
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
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, offset: int, pieces: Sequence[bytes | memoryview]) -> None:
        assert self.may_write.wait(DEADLINE_S)
        super().write(offset, pieces)

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

    @property
    def hashed_bytes(self) -> int:
        return min(one.hashed_bytes for one in self.digests)

    async def until_hashed(self, stop: int) -> None:
        while self.hashed_bytes < stop:
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
    assert download.hashed_bytes == PIECE
    with pytest.raises(OSError, match="ends early"):
        download.digests.catch_up(download.part, len(DATA))
    download.part.write(PIECE, [DATA[PIECE:]])
    download.digests.catch_up(download.part, len(DATA))
    assert download.digests.hexdigest("sha256") == SHA256


def test_what_is_next_to_an_unreadable_part_is_not_hashed(play: Play) -> None:
    """Bytes that arrive later are stored, and wait for no digest; the check reads them."""

    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet([ByteRange(0, PIECE)]))
        while not download.part.reads:
            await asyncio.sleep(0.001)
        for start in range(PIECE, len(DATA), PIECE):
            await download.add(start)

    download = play(scene)
    assert download.hashed_bytes == 0
    assert download.stored_bytes == len(DATA) - PIECE
    download.part.write(0, [DATA[:PIECE]])
    download.digests.catch_up(download.part, len(DATA))
    assert download.digests.hexdigest("sha256") == SHA256


def test_a_digest_that_failed_begins_again_after_a_restart(play: Play) -> None:
    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet([ByteRange(0, PIECE)]))
        while not download.part.reads:
            await asyncio.sleep(0.001)
        download.writer.restart(1)
        for start in range(0, len(DATA), PIECE):
            await download.add(start)
        await download.until_hashed(len(DATA))

    download = play(scene)
    assert download.digests.hexdigest("sha256") == SHA256


def test_hashing_does_not_wait_for_the_disk(play: Play) -> None:
    """A batch is hashed in another thread while it is written."""

    async def scene(download: Download) -> None:
        download.part.may_write.clear()
        download.begin(ByteRangeSet())
        await download.add(0)
        await download.until_hashed(PIECE)
        assert download.stored_bytes == 0
        download.part.may_write.set()

    download = play(scene)
    assert download.stored_bytes == PIECE
    assert download.part.reads == []


@pytest.fixture
def slow_hash(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let no byte be hashed before the event is set."""
    may_hash = threading.Event()
    update = Digest.update

    def wait(self: Digest, start: int, pieces: Iterable[bytes | memoryview]) -> None:
        assert may_hash.wait(DEADLINE_S)
        update(self, start, pieces)

    monkeypatch.setattr(Digest, "update", wait)
    yield may_hash
    may_hash.set()


def test_writing_does_not_wait_for_the_digest(play: Play, slow_hash: threading.Event) -> None:
    """Up to a limit of memory, at which the readers are suspended until the digest goes on."""

    async def scene(download: Download) -> None:
        download.begin(ByteRangeSet())
        start = 0
        while download.writer.has_room:
            piece = DATA[start : start + PIECE]
            download.writer.add(ByteRange(start, start + len(piece)), piece, VERSION)
            start += PIECE
            while download.stored_bytes < start:
                await asyncio.sleep(0.001)
        assert MAX_WAITING_BYTES <= start < MAX_WAITING_BYTES + PIECE
        assert download.hashed_bytes == 0
        slow_hash.set()
        while start < len(DATA):
            await download.writer.room()
            await download.add(start)
            start += PIECE

    download = play(scene)
    assert download.part.reads == []
    assert download.digests.hexdigest("sha256") == SHA256


def test_a_batch_that_arrives_during_a_read_back_is_hashed_from_memory(
    play: Play, slow_hash: threading.Event
) -> None:
    """The last bytes of a resumed file are not read back if they are still in memory."""

    async def scene(download: Download) -> None:
        download.part.write(0, [DATA[:PIECE]])
        download.begin(ByteRangeSet([ByteRange(0, PIECE)]))
        while not download.part.reads:
            await asyncio.sleep(0.001)
        await download.add(PIECE)
        while not download.stored_bytes:
            await asyncio.sleep(0.001)
        slow_hash.set()
        await download.until_hashed(2 * PIECE)

    assert play(scene).part.reads == [ByteRange(0, PIECE)]


@pytest.mark.parametrize("is_resumed", [False, True])
def test_two_digests_are_computed_at_the_same_time(
    is_resumed: bool, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checksum that is not SHA-256: each step meets one of the other digest."""
    both = threading.Barrier(2, timeout=DEADLINE_S)
    update = Digest.update

    def meet(self: Digest, start: int, pieces: Iterable[bytes | memoryview]) -> None:
        both.wait()
        update(self, start, pieces)

    async def scene(download: Download) -> None:
        monkeypatch.setattr(Digest, "update", meet)
        download.digests = Digests(frozenset({"sha256", "md5"}))
        if is_resumed:
            download.part.write(0, [DATA[:PIECE]])
            download.begin(ByteRangeSet([ByteRange(0, PIECE)]))
        else:
            download.begin(ByteRangeSet())
            await download.add(0)
        await download.until_hashed(PIECE)

    digests = play(scene).digests
    assert digests.hexdigest("sha256") == hashlib.sha256(DATA[:PIECE]).hexdigest()
    assert (
        digests.hexdigest("md5")
        == hashlib.new("md5", DATA[:PIECE], usedforsecurity=False).hexdigest()
    )


def test_what_is_left_is_hashed_in_steps_in_a_thread_for_each_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests_module, "_LAST_CATCH_UP_BYTES", PIECE)
    part = RecordedPart(tmp_path)
    part.write(0, [DATA])
    digests = Digests(frozenset({"sha256", "sha1"}))
    digests.catch_up(part, 0)
    assert not part.reads  # nothing is missing: the part file is not even opened
    asyncio.run(digests.catch_up_in_threads(part, len(DATA)))
    assert max(one.size_bytes for one in part.reads) == PIECE
    assert all(0 < len(DATA) - one.hashed_bytes <= PIECE for one in digests)
    digests.catch_up(part, len(DATA))
    assert digests.hexdigest("sha256") == SHA256
    part.close(keep=False)
