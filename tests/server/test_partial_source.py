"""Readers of a file that still arrives: each byte right, each reader ended, nothing sent twice."""

import asyncio
import hashlib
import http.client
import io
import os
import random
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.assets import film
from tests.deadline import DEADLINE_S
from tests.origin import Exchange, Film, Origin, cut, honest, noise, plain, reset, status
from vidnb.download import cache
from vidnb.download.file_object import open_source
from vidnb.download.status import DownloadHandle
from vidnb.errors import (
    ServeError,
    SourceChanged,
    StatusError,
    StorageError,
    TransferError,
    TransferTimeout,
    URLNotAllowed,
)
from vidnb.io.loop import transfers
from vidnb.server.partial_source import PartialSource
from vidnb.server.sample import sample
from vidnb.server.server import Served, serve

SIZE = 6_000_000
DATA = noise(SIZE)
FILM = Film(DATA)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def slow() -> Iterator[Origin]:
    """An origin that takes three seconds for its film."""
    with Origin(FILM, rate=2e6) as running:
        yield running


def ask(served: Served, byte_range: str | None = None, **headers: str) -> tuple[int, bytes, str]:
    """Return status, body and ETag of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    try:
        path = served.url.partition(str(served.port))[2]
        fields = headers | ({"Range": f"bytes={byte_range}"} if byte_range else {})
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["ETag"]
    finally:
        connection.close()


def whole(path: Path) -> bytes:
    (found,) = [p for p in path.rglob("film*") if ".vidnb" not in p.parts]
    return found.read_bytes()


def watch_of(served: Served) -> DownloadHandle:
    source = served._resource.source
    assert isinstance(source, PartialSource)
    return source._handle


def wait_for_the_end(origin: Origin, served: Served) -> None:
    """The last byte may be read before the file has its name."""
    origin.wait_for(lambda: watch_of(served).status.phase.is_final)


def test_a_reader_is_served_before_the_rest(slow: Origin, own_cache: Path) -> None:
    """The end first, then the start, then all of it: each byte is sent once or hardly more."""
    with serve(slow.url) as served:
        assert served.size_bytes == SIZE
        assert slow.sent_bytes < SIZE / 2
        got, body, tag = ask(served, "5900000-5999999")
        assert (got, body) == (206, DATA[5_900_000:])
        assert slow.sent_bytes < SIZE / 2
        assert ask(served, "0-9999")[1] == DATA[:10_000]
        assert ask(served)[:2] == (200, DATA)
        wait_for_the_end(slow, served)
        assert ask(served, "7-", **{"If-Range": tag}) == (206, DATA[7:], tag)
        assert slow.sent_bytes <= 1.05 * SIZE
    assert whole(own_cache) == DATA


def test_several_readers_at_several_places(slow: Origin) -> None:
    with serve(slow.url) as served, ThreadPoolExecutor(4) as pool:
        starts = [0, 1_500_000, 3_000_000, 5_500_000]
        found = pool.map(lambda start: ask(served, f"{start}-{start + 99_999}")[1], starts)
        assert list(found) == [DATA[start : start + 100_000] for start in starts]
        assert slow.sent_bytes < 0.7 * SIZE


def test_a_slow_reader_slows_nobody(slow: Origin) -> None:
    """It takes its answer's head and reads no more, as a paused player does."""
    with serve(slow.url) as served:
        path = served.url.partition(str(served.port))[2]
        with socket.create_connection(("127.0.0.1", served.port)) as paused:
            paused.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert paused.recv(12) == b"HTTP/1.1 200"
            assert ask(served, "4000000-")[1] == DATA[4_000_000:]
            assert ask(served)[1] == DATA


def test_who_leaves_needs_nothing_any_more(slow: Origin) -> None:
    """A reader that hung up is forgotten, also by the planner."""
    with serve(slow.url) as served:
        path = served.url.partition(str(served.port))[2]
        feed = watch_of(served).status.feed
        with socket.create_connection(("127.0.0.1", served.port)) as leaving:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=5000000-\r\n\r\n"
            leaving.sendall(head.encode())
            slow.wait_for(lambda: bool(feed._waiting))
            assert feed._transfer is not None
            readers = feed._transfer._scheduler.readers.offsets
            assert readers
        slow.wait_for(lambda: not feed._waiting and not readers)
        assert ask(served, "0-99")[1] == DATA[:100]


def test_an_origin_without_ranges_is_read_in_its_order(own_cache: Path) -> None:
    """Readers of its end are held until it comes."""
    with Origin(FILM, otherwise=plain, rate=6e6) as origin, serve(origin.url) as served:
        assert ask(served, "5900000-")[1] == DATA[5_900_000:]
        assert origin.requests[0].sent_bytes == SIZE
        assert all(asked.sent_bytes < 200_000 for asked in origin.requests[1:])
        wait_for_the_end(origin, served)
    assert whole(own_cache) == DATA


def test_an_origin_that_breaks_off_is_asked_again(own_cache: Path) -> None:
    """Held, retried, gone on with: the reader notices a pause."""
    script = [reset(700_000), status(503), cut(900_000), reset(1_000_000), reset(50_000)]
    with Origin(FILM, script, rate=20e6) as origin, serve(origin.url) as served:
        assert ask(served)[:2] == (200, DATA)
        wait_for_the_end(origin, served)
        assert origin.sent_bytes <= 1.1 * SIZE
    assert whole(own_cache) == DATA


def test_a_source_that_changes_is_never_spliced() -> None:
    """The answer that runs ends with its connection; the next one is of the new file."""
    other = Film(noise(SIZE, seed=2), etag='"v2"')
    with Origin(FILM, rate=2e6) as origin, serve(origin.url) as served:
        first = ask(served, "0-99")
        assert first[1] == DATA[:100]

        def change(exchange: Exchange) -> None:
            origin.film = other
            origin.rate = None
            honest(exchange)

        origin.script = [change]
        got: list[object] = []

        def read() -> None:
            try:
                got.append(ask(served, "3000000-"))
            except (http.client.HTTPException, ConnectionError) as error:
                got.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(DEADLINE_S)
        (result,) = got
        if isinstance(result, tuple):  # asked for after the change was known
            assert result[1] == other.data[3_000_000:]
        new = ask(served)
        assert new[:2] == (200, other.data)
        assert new[2] != first[2]


def test_a_failure_closes_the_connection_and_says_no_status() -> None:
    """Browsers take a 503 for the end of all; a closed connection they try again."""
    with (
        Origin(FILM, [cut(1_000_000)], otherwise=status(410)) as origin,
        serve(origin.url) as served,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        ask(served, "3000000-")


def test_what_fails_before_its_size_is_known_is_told_at_once() -> None:
    with Origin(FILM, otherwise=status(404)) as origin, pytest.raises(StatusError) as caught:
        serve(origin.url)
    assert caught.value.status == 404
    with pytest.raises(URLNotAllowed):
        serve("http://")


def test_closing_stops_and_the_next_goes_on(slow: Origin, own_cache: Path) -> None:
    """What has come is in the cache: the second time only the rest is asked for."""
    with serve(slow.url) as served:
        ask(served, "0-2999999")
        handle = watch_of(served)
    slow.wait_for(lambda: handle.status.phase.is_final and slow.is_idle)
    sent_bytes = slow.sent_bytes
    assert sent_bytes < 0.9 * SIZE
    slow.rate = None
    with serve(slow.url) as served:
        assert ask(served)[1] == DATA
        wait_for_the_end(slow, served)
    assert slow.sent_bytes <= 1.05 * SIZE
    asked = len(slow.requests)
    with serve(slow.url) as served:  # whole and unchanged: one conditional request
        assert ask(served, "10-19")[1] == DATA[10:20]
    assert len(slow.requests) == asked + 1
    assert slow.requests[-1].sent_bytes == 0
    assert whole(own_cache) == DATA


def test_what_cannot_be_served_is_not_fetched_either(slow: Origin) -> None:
    """No address of this machine: the download that had begun is stopped."""
    with pytest.raises(ServeError, match=r"192\.0\.2\.1"):
        serve(slow.url, host="192.0.2.1")
    slow.wait_for(lambda: slow.is_idle)
    assert slow.sent_bytes < SIZE


def test_a_cache_that_cannot_be_used_is_released(
    slow: Origin, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_CACHE_BYTES", "much")
    with pytest.raises(ValueError, match="VIDNB_CACHE_BYTES"):
        serve(slow.url)
    monkeypatch.delenv("VIDNB_CACHE_BYTES")
    evict = cache.evict

    def fail(limit_bytes: int, root: Path) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(cache, "evict", fail)
    with pytest.raises(StorageError, match="nor a temporary one can be used"):
        serve(slow.url)
    (folder,) = own_cache.iterdir()
    (folder / "film.mp4").write_bytes(bytes(10_000))
    evict(0)  # nobody holds it
    assert not folder.exists()
    assert slow.requests == []


def test_credentials_make_no_other_place(slow: Origin, own_cache: Path) -> None:
    slow.rate = None
    with serve(slow.url) as served:
        ask(served)
    with serve(slow.url.replace("//", "//me:secret@")) as served:
        ask(served)
    assert len(list(own_cache.iterdir())) == 1


@pytest.mark.parametrize("seed", range(3))
def test_random_readers_of_a_faulty_origin(seed: int) -> None:
    """They seek, read and leave; whatever comes is right, and each one ends."""
    rng = random.Random(seed)
    faults = [reset, cut]
    script = [rng.choice(faults)(rng.randrange(1, 600_000)) for _ in range(12)]
    with Origin(FILM, script, rate=15e6) as origin, serve(origin.url) as served:

        def play(number: int) -> None:
            mine = random.Random(f"{seed}/{number}")
            for _ in range(6):
                start = mine.randrange(SIZE)
                stop = min(SIZE, start + mine.randrange(1, 300_000))
                assert ask(served, f"{start}-{stop - 1}")[1] == DATA[start:stop]

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(play, range(6)))
        assert ask(served)[1] == DATA


# A file object.


def test_open_reads_as_a_file_does(slow: Origin) -> None:
    slow.rate = 8e6
    with open_source(slow.url) as file:
        assert file.read(10) == DATA[:10]
        assert file.seek(-20, os.SEEK_END) == SIZE - 20
        assert (file.tell(), file.read(), file.read()) == (SIZE - 20, DATA[-20:], b"")
        file.seek(1_000_000)
        assert file.seek(50_000, os.SEEK_CUR) == 1_050_000
        assert file.read(300_000) == DATA[1_050_000:1_350_000]
        file.seek(SIZE + 10)
        assert file.read(5) == b""
        file.seek(0)
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(DATA).digest()
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 7)
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.tell()
    assert slow.sent_bytes <= 1.05 * SIZE


def test_open_reads_a_file_and_refuses_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(DATA)
    with open_source(tmp_path / "a.mp4") as file:
        file.seek(100)
        assert file.read(5) == DATA[100:105]
    with pytest.raises(ServeError, match="cannot be opened: it is a folder"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="seconds above 0"):
        open_source(tmp_path / "a.mp4", timeout_s=0)


def test_open_of_an_archive_costs_its_index(slow: Origin) -> None:
    """The directory of a zip lies at its end; a far member is read without what is before it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("large.bin", DATA)
        archive.writestr("small.txt", "hello")
    slow.film = replace(FILM, data=packed.getvalue())
    with open_source(slow.url) as file, zipfile.ZipFile(file) as archive:
        assert archive.read("small.txt") == b"hello"
        assert slow.sent_bytes < SIZE / 2


def test_open_reads_a_header_for_the_price_of_a_header(own_cache: Path) -> None:
    """The head and the index at the tail of a film; closed, it leaves what it read, and no task."""
    data = film().read_bytes()
    with Origin(Film(data)) as origin:
        for _ in range(2):  # the second time it is there, and one small request says that it may be
            with open_source(origin.url) as file:
                assert file.read(1024) == data[:1024]
                file.seek(data.rindex(b"moov") - 4)
                assert file.read() == data[data.rindex(b"moov") - 4 :]
            origin.wait_for(lambda: origin.is_idle or not running())
            assert origin.sent_bytes < 1_500_000
        taken = sum(p.lstat().st_blocks * 512 for p in own_cache.rglob("*"))
        assert taken < 3_000_000  # nor does the disk keep room for what nobody reads
        with serve(origin.url) as served:
            assert ask(served)[1] == data
        assert origin.sent_bytes <= 1.1 * len(data)


def running() -> list[str]:
    """Return the names of the downloads' tasks."""

    async def names() -> list[str]:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return [t.get_name() for t in tasks if t.get_name().startswith("vidnb")]

    return transfers.run(names(), timeout_s=DEADLINE_S)


def test_open_reads_all_as_fast_as_it_is_fetched() -> None:
    """What is read in one go is read ahead of, and nothing twice."""
    took_s: list[float] = []
    for read in (whole_served, whole_opened):
        with Origin(FILM, rate=6e6) as origin:
            began_s = time.monotonic()
            assert read(origin.url) == DATA
            took_s.append(time.monotonic() - began_s)
            assert origin.sent_bytes <= 1.05 * SIZE
    assert took_s[1] <= 2 * took_s[0] + 1


def whole_served(url: str) -> bytes:
    with serve(url) as served:
        return ask(served)[1]


def whole_opened(url: str) -> bytes:
    with open_source(url) as file:
        return file.read()


def test_open_brings_all_of_what_somebody_plays(slow: Origin, own_cache: Path) -> None:
    """One download for both; once it is not served any more, it is for the reader alone again."""
    slow.rate = 6e6
    with open_source(slow.url) as file:
        assert file.read(10) == DATA[:10]
        with serve(slow.url) as served:
            asked = watch_of(served).status.feed
            slow.wait_for(lambda: asked.stored.size_bytes > 2_000_000)
        slow.wait_for(lambda: not asked.fills)
        stored_bytes = asked.stored.size_bytes
        file.seek(-10, os.SEEK_END)
        assert file.read() == DATA[-10:]
        assert asked.stored.size_bytes < stored_bytes + 2_000_000
        with serve(slow.url) as served:
            assert ask(served)[1] == DATA
            wait_for_the_end(slow, served)
        file.seek(5)
        assert file.read(5) == DATA[5:10]
    assert slow.sent_bytes <= 1.3 * SIZE
    assert whole(own_cache) == DATA


@pytest.mark.parametrize(
    "source", [Film(DATA, etag='W/"v1"'), Film(DATA, etag=None)], ids=["weak", "none"]
)
def test_open_of_what_has_no_version_reads_it_in_its_order(source: Film) -> None:
    """Parts of it could never be joined, so it is one stream, as far as readers need it."""
    with Origin(source, rate=20e6) as origin, open_source(origin.url) as file:
        assert file.read(1000) == DATA[:1000]
        file.seek(4_000_000)
        assert file.read(1000) == DATA[4_000_000:4_001_000]
        file.seek(0)
        assert file.read() == DATA
        assert origin.sent_bytes <= 1.1 * SIZE


def test_open_of_an_origin_without_ranges_reads_it_in_its_order() -> None:
    with Origin(FILM, otherwise=plain) as origin, open_source(origin.url) as file:
        file.seek(3_000_000)
        assert file.read(1000) == DATA[3_000_000:3_001_000]
        file.seek(0)
        assert file.read() == DATA
        assert len(origin.requests) == 1


def test_open_of_an_origin_that_breaks_off_asks_again() -> None:
    script = [reset(100_000), status(503), cut(90_000), reset(1), honest, reset(50_000)]
    with Origin(FILM, script, rate=20e6) as origin, open_source(origin.url) as file:
        file.seek(1_000_000)
        assert file.read(2_000_000) == DATA[1_000_000:3_000_000]
        file.seek(0)
        assert file.read() == DATA
        assert origin.sent_bytes <= 1.1 * SIZE


def test_open_tells_what_goes_wrong() -> None:
    def silent(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=1000)
        exchange.wait_for_close()

    with (
        Origin(FILM, [silent], otherwise=Exchange.wait_for_close) as origin,
        open_source(origin.url, timeout_s=2) as file,
        pytest.raises(TransferTimeout, match=r"did not send byte 0 within 2 s"),
    ):
        file.read(100_000)
    with (
        Origin(FILM, [Exchange.wait_for_close]) as origin,
        pytest.raises(TransferTimeout, match="did not send its size"),
    ):
        open_source(origin.url, timeout_s=0.6)
    with (
        Origin(FILM, [cut(100_000)], otherwise=status(410)) as origin,
        open_source(origin.url) as file,
        pytest.raises(TransferError),
    ):
        file.read()
    with Origin(FILM, otherwise=status(403)) as origin, pytest.raises(StatusError):
        open_source(origin.url)


def test_open_never_joins_two_files() -> None:
    other = Film(noise(SIZE, seed=2), etag='"v2"')

    def change(exchange: Exchange) -> None:
        exchange.origin.film = other
        honest(exchange)

    with (
        Origin(FILM, [reset(1_000_000), change]) as origin,
        open_source(origin.url) as file,
        pytest.raises(SourceChanged, match="became another file while it was read"),
    ):
        file.read()


# Programs nobody here wrote.


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def clip() -> Iterator[Origin]:
    """An origin that takes four seconds for the sample clip, whose index stands where it does."""
    with Origin(Film(sample().read_bytes()), rate=60_000) as running:
        yield running


def test_ffprobe_reads_it_while_it_grows(clip: Origin) -> None:
    program = needs("ffprobe")
    with serve(clip.url) as served:
        command = [program, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
        told = subprocess.run(
            [*command, served.url], capture_output=True, timeout=DEADLINE_S, check=True
        )
        assert not watch_of(served).status.phase.is_final
    assert float(told.stdout) == pytest.approx(10, abs=0.1)


def test_ffmpeg_seeks_in_it_while_it_grows(clip: Origin, tmp_path: Path) -> None:
    """The frame at eight seconds is the same as in the finished file."""
    program = needs("ffmpeg")
    frames = []
    with serve(clip.url) as served:
        for number, source in enumerate([served.url, str(sample())]):
            frame = tmp_path / f"{number}.png"
            command = [
                program,
                "-v",
                "error",
                "-ss",
                "8",
                "-i",
                source,
                "-frames:v",
                "1",
                str(frame),
            ]
            subprocess.run(command, timeout=DEADLINE_S, check=True)
            frames.append(frame.read_bytes())
    assert frames[0] == frames[1]
    assert clip.sent_bytes <= 1.1 * len(clip.film.data)


def test_pyav_reads_it_while_it_grows(clip: Origin) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with open_source(clip.url) as file, av.open(file) as container:
        stream = container.streams.video[0]
        container.seek(8_000_000)
        frame = next(container.decode(stream))
        assert frame.width > 0
        assert 7 < float(frame.pts * stream.time_base) <= 8


def test_a_killed_process_goes_on_where_it_was(slow: Origin, tmp_path: Path) -> None:
    """The present spans survive it, in the middle as at the start."""
    code = f"""
        import sys
        from pathlib import Path
        from vidnb.download import cache
        cache.cache_root = lambda: Path({str(tmp_path / "cache")!r})
        from vidnb.download.file_object import open_source
        file = open_source({slow.url!r})
        file.seek(4_000_000)
        file.read(1_000_000)
        print("read", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"read\n"
        child.kill()
        child.wait(DEADLINE_S)
    sent_bytes = slow.sent_bytes
    slow.rate = None
    with serve(slow.url) as served:
        assert ask(served)[1] == DATA
        wait_for_the_end(slow, served)
    assert slow.sent_bytes - sent_bytes <= SIZE - 1_000_000
    assert slow.sent_bytes <= 1.2 * SIZE
