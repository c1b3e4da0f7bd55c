"""Sessions, threads and the cache of segments, with a maker without PyAV."""

import asyncio
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.origin import Exchange, Origin, noise
from tests.origin import Film as Source
from tests.server.fake_segments import (
    COUNT,
    Film,
    faked,
    init,
    on_loop,
    playlist,
    segment,
    segment_threads,
    sessions,
    waited_for,
)
from tests.server.test_server import descriptors
from vidnb.errors import MediaError, ServeError, VidnbError
from vidnb.http.ranges import ByteRange
from vidnb.io import loop
from vidnb.server import segment_cache, segment_service, segment_session
from vidnb.server.segment_cache import SegmentCache
from vidnb.server.segment_session import SessionKey
from vidnb.server.server import Served, serve
from vidnb.server.source_streams import SourceStream

HEAD = b"\0\0\0\x18ftyp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "segments"


@pytest.fixture
def film(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[Film]:
    with faked(monkeypatch, root) as made:
        yield made
    wait_until(lambda: not segment_threads())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    path.write_bytes(HEAD + bytes(10_000))
    return path


@pytest.fixture
def served(film: Film, clip: Path) -> Iterator[Served]:
    with serve(clip) as made:
        yield made


def stream(served: Served, variant: str = "copy.copy") -> SourceStream:
    found = served._resource.stream(variant)
    assert isinstance(found, SourceStream)
    return found


def expected(number: int, variant: str = "copy.copy") -> bytes:
    return segment(number, variant, HEAD)


def settled(film: Film) -> Callable[[], bool]:
    """Return a condition: the read-ahead has ended."""

    def is_settled() -> bool:
        queue = segment_service.segment_service()._queue
        return not on_loop(lambda: any(s.running is not None for s in queue._sessions.values()))

    return is_settled


# --- what a stream returns


def test_a_stream_has_a_playlist_an_init_segment_and_segments(film: Film, served: Served) -> None:
    one = stream(served)
    assert one.read("index.m3u8") == playlist().text().encode()
    assert one.read("init.mp4") == init()
    assert one.read("3.m4s") == expected(3)
    assert one.read(f"{COUNT - 1}.m4s") == expected(COUNT - 1)


@pytest.mark.parametrize(
    "name", [f"{COUNT}.m4s", "99999999.m4s", "-1.m4s", "01.m4s", "a.m4s", "", "init.mp4.part"]
)
def test_there_are_no_other_parts(film: Film, served: Served, name: str) -> None:
    assert stream(served).read(name) is None
    assert film.numbers == []


def test_a_part_is_made_once_and_comes_from_disk_afterwards(film: Film, served: Served) -> None:
    first, again = (stream(served).read("3.m4s") for _ in range(2))
    assert first == again == expected(3)
    assert film.numbers.count(3) == 1


def test_two_clients_share_the_making_and_the_session(
    film: Film, served: Served, clip: Path
) -> None:
    film.hold(5)
    with serve(clip) as other, ThreadPoolExecutor(4) as pool:
        streams = [stream(served), stream(other), stream(served), stream(other)]
        found = [pool.submit(one.read, "5.m4s") for one in streams]
        wait_until(lambda: film.numbers == [5])
        film.let()
        assert {one.result(DEADLINE_S) for one in found} == {expected(5)}
        assert film.numbers.count(5) == film.opened == sessions() == 1
        served.close()  # the other one goes on
        assert stream(other).read("30.m4s") == expected(30)
        assert film.opened == 1


def test_variants_are_sessions_of_their_own(film: Film, served: Served) -> None:
    names = ("copy.copy", "copy.aac", "h264.opus")
    assert [stream(served, name).read("1.m4s") for name in names] == [
        expected(1, name) for name in names
    ]
    assert film.opened == 3


@pytest.mark.parametrize(
    ("variant", "ahead"), [("copy.copy", 2), ("copy.aac", 2), ("h264.aac", 15)]
)
def test_segments_are_read_ahead(film: Film, served: Served, variant: str, ahead: int) -> None:
    assert stream(served, variant).read("4.m4s") == expected(4, variant)
    wait_until(lambda: len(film.made) == ahead + 1)
    wait_until(settled(film))
    assert film.numbers == list(range(4, ahead + 5))
    # Again, now from the disk: the window moves on.
    stream(served, variant).read("6.m4s")
    wait_until(lambda: len(film.made) == ahead + 3)
    assert film.numbers == list(range(4, ahead + 7))


def test_read_ahead_makes_nothing_that_is_on_disk_already(
    film: Film, served: Served, clip: Path
) -> None:
    stream(served).read("4.m4s")
    wait_until(lambda: len(film.made) == 3)
    wait_until(settled(film))
    served.close()
    wait_until(lambda: film.closed == 1)
    with serve(clip) as again:
        assert stream(again).read("4.m4s") == expected(4)
        wait_until(settled(film))
        assert film.numbers == [4, 5, 6]
        assert film.opened == 1


def test_a_request_that_is_withdrawn_is_not_made(film: Film, served: Served) -> None:
    film.hold(0)

    async def ask() -> None:
        one = stream(served)
        tasks = []
        for number in (0, 20, 20, 30):
            tasks.append(asyncio.ensure_future(one.fetch(f"{number}.m4s")))
            deadline_s = loop.server.loop.time() + DEADLINE_S
            while film.numbers != [0] or number not in waited_for():
                assert loop.server.loop.time() < deadline_s
                await asyncio.sleep(0.001)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert waited_for() == {0, 20, 30}  # another one waits for it
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        film.let()
        assert await tasks[3] == expected(30)
        assert await tasks[0] == expected(0)

    loop.server.run(ask())
    wait_until(settled(film))
    assert 20 not in film.numbers


# --- errors


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(MediaError("{path} is damaged."), "clip.mkv is damaged.", id="media"),
        pytest.param(ServeError("{path} is gone."), "clip.mkv is gone.", id="served"),
        pytest.param(MediaError("It is damaged."), "It is damaged.", id="without-name"),
        pytest.param(RuntimeError("{path}!"), "clip.mkv could not be made", id="unexpected"),
        pytest.param(OSError(5, "I/O error", "{path}"), "clip.mkv could not be made", id="system"),
    ],
)
def test_an_error_is_a_sentence_without_the_folder(
    film: Film,
    served: Served,
    clip: Path,
    error: Exception,
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "vidnb")
    said = [str(one).format(path=clip) if isinstance(one, str) else one for one in error.args]
    film.errors[3] = type(error)(*said)
    with pytest.raises(VidnbError) as raised:
        stream(served).read("3.m4s")
    assert sentence in str(raised.value)
    assert str(clip.parent) not in str(raised.value)


def test_after_an_error_the_maker_is_opened_anew(film: Film, served: Served) -> None:
    film.errors[3] = MediaError("It is damaged.")
    one = stream(served)
    for _ in range(2):
        with pytest.raises(MediaError):
            one.read("3.m4s")
    assert film.closed == 2
    del film.errors[3]
    assert one.read("3.m4s") == expected(3)


def test_an_error_of_the_opening_reaches_all_who_wait(film: Film, served: Served) -> None:
    def fail(_: object) -> None:
        raise MediaError("There is no decoder.")

    film.on_open = fail
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(stream(served).read, "3.m4s") for _ in range(3)]
        for one in found:
            with pytest.raises(MediaError, match="no decoder"):
                one.result(DEADLINE_S)


def test_read_ahead_stops_at_an_error(film: Film, served: Served) -> None:
    film.errors[6] = MediaError("It is damaged.")
    stream(served, "h264.aac").read("4.m4s")
    wait_until(lambda: film.numbers == [4, 5, 6])
    wait_until(settled(film))
    assert film.numbers == [4, 5, 6]


def test_an_invalid_limit_is_said(
    film: Film, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", "2 GB")
    with pytest.raises(VidnbError, match="VIDNB_SEGMENT_CACHE_BYTES is '2 GB'"):
        stream(served).read("3.m4s")


# --- versions


def test_a_changed_file_has_a_session_of_its_own(film: Film, served: Served, clip: Path) -> None:
    one = stream(served)
    one.read("3.m4s")
    clip.write_bytes(b"\0\0\0\x20ftyp" + bytes(20_000))
    assert one.read("3.m4s") == segment(3, "copy.copy", b"\0\0\0\x20ftyp")
    wait_until(lambda: (film.opened, film.closed) == (2, 1))
    assert sessions() == 1
    other = clip.with_name("other")
    other.write_bytes(b"\0\0\0\x1cftyp" + bytes(20_000))
    other.replace(clip)
    served._resource.source._resolved_s = 0.0  # type: ignore[attr-defined] # a second later
    assert one.read("3.m4s") == segment(3, "copy.copy", b"\0\0\0\x1cftyp")
    wait_until(lambda: (film.opened, film.closed) == (3, 2))


def test_a_segment_of_two_versions_is_not_kept(film: Film, served: Served, clip: Path) -> None:
    film.hold(3)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(stream(served).read, "3.m4s")
        wait_until(lambda: film.numbers == [3])
        with clip.open("r+b") as file:
            file.write(b"\0\0\0\x20ftyp")
        os.utime(clip, ns=(1, 1))
        film.let()
        with pytest.raises(ServeError, match="changed while it was read"):
            found.result(DEADLINE_S)
    assert stream(served).read("3.m4s") == segment(3, "copy.copy", b"\0\0\0\x20ftyp")


def test_a_removed_file_is_an_error(film: Film, served: Served, clip: Path) -> None:
    clip.unlink()
    with pytest.raises(ServeError, match=r"clip\.mkv is gone"):
        stream(served).read("3.m4s")


# --- the default variant


def test_the_default_is_the_first_delivery_that_is_not_direct(film: Film, served: Served) -> None:
    film.variant = "h264.aac"
    assert stream(served, "").read("1.m4s") == expected(1, "h264.aac")
    assert stream(served, "h264.aac").read("1.m4s") == expected(1, "h264.aac")
    assert (film.playbacks, film.opened) == (1, 1)


def test_without_a_delivery_the_problem_is_the_error(
    film: Film, served: Served, clip: Path
) -> None:
    film.problem = f"{clip} has no pictures."
    for _ in range(2):
        with pytest.raises(MediaError, match=r"^clip\.mkv has no pictures\.$"):
            stream(served, "").read("1.m4s")
    film.problem = ""  # it is asked again
    assert stream(served, "").read("1.m4s") == expected(1)


@pytest.mark.parametrize("name", ["clip.mkv", "init.mp4", "7.m4s", "index.m3u8"])
def test_the_playlist_of_the_default_variant_names_parts_by_folder(
    film: Film, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(HEAD + bytes(10_000))
    with serve(path) as served:
        for _ in range(2):  # made, and from the cache
            lines = (stream(served, "").read("index.m3u8") or b"").decode().splitlines()
            assert '#EXT-X-MAP:URI="copy.copy/init.mp4"' in lines
            uris = [line for line in lines if not line.startswith("#")]
            assert uris == [f"copy.copy/{number}.m4s" for number in range(COUNT)]
        assert stream(served, "copy.copy").read("index.m3u8") == playlist().text().encode()


# --- closing


def test_an_idle_session_closes_its_maker_and_thread(
    film: Film, served: Served, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_service, "IDLE_S", 0.05)
    one = stream(served)
    for _ in range(2):
        one.read("10.m4s")
        wait_until(lambda: sessions() == 0 and not segment_threads())
        shutil.rmtree(root)
    assert film.closed == film.opened == 2


def test_a_session_that_waits_is_not_idle(
    film: Film, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_service, "IDLE_S", 0.02)
    film.hold(3)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(stream(served).read, "3.m4s")
        wait_until(lambda: film.numbers == [3])
        with pytest.raises(TimeoutError):
            found.result(0.3)
        film.let()
        assert found.result(DEADLINE_S) == expected(3)


def test_closing_ends_what_waits_and_the_thread(film: Film, served: Served) -> None:
    film.hold(3)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(stream(served).read, "3.m4s")]
        wait_until(lambda: film.numbers == [3])
        found.append(pool.submit(stream(served).read, "30.m4s"))
        wait_until(lambda: on_loop(waited_for) == {3, 30})
        served.close()
        for one in found:
            with pytest.raises(ServeError, match="not served any more"):
                one.result(DEADLINE_S)
        film.let()
    wait_until(lambda: film.closed == 1)
    wait_until(lambda: not segment_threads())
    with pytest.raises(ServeError):
        served._resource.opened["copy.copy"].read("3.m4s")  # type: ignore[union-attr]
    assert sessions() == 0


def test_random_seeks_leave_nothing_behind(film: Film, served: Served) -> None:
    before = descriptors()
    seeks = random.Random(1)

    async def seek() -> None:
        one = stream(served, "h264.aac")
        for _ in range(200):
            number = seeks.randrange(COUNT)
            tasks = [asyncio.ensure_future(one.fetch(f"{number + n}.m4s")) for n in range(3)]
            await asyncio.sleep(seeks.choice((0, 0, 0.001)))
            for task in tasks:
                if seeks.random() < 0.7:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    loop.server.run(seek(), timeout_s=DEADLINE_S)
    assert len(segment_threads()) == 1
    assert film.opened == 1
    assert len(film.made) == len(set(film.made))  # nothing twice
    served.close()
    wait_until(lambda: film.closed == 1)
    wait_until(lambda: not segment_threads())
    wait_until(lambda: descriptors() <= before)


def test_a_session_that_waits_for_bytes_leaves_its_place_to_others(
    film: Film, served: Served, tmp_path: Path
) -> None:
    queue = segment_service.segment_service()._queue
    other = tmp_path / "other.mkv"
    other.write_bytes(HEAD + bytes(30_000))
    queue._max_transcodes = 1
    film.hold(3)
    with serve(other) as second, ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(stream(served, "h264.aac").read, "3.m4s")
        wait_until(lambda: film.numbers == [3])
        (session,) = segment_service.segment_service().sessions.values()
        blocked = pool.submit(stream(second, "h264.aac").read, "8.m4s")
        wait_until(lambda: on_loop(lambda: len(queue._sessions) == 2))
        assert film.numbers == [3]
        with session._waiting(lambda: None):
            assert blocked.result(DEADLINE_S) == expected(8, "h264.aac")
        film.let()
        assert waiting.result(DEADLINE_S) == expected(3, "h264.aac")


# --- the cache


def test_cached_parts_outlive_the_server(
    film: Film, served: Served, clip: Path, root: Path
) -> None:
    stream(served).read("3.m4s")
    wait_until(settled(film))
    served.close()
    (folder,) = root.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(folder.glob("*.part"))
    with serve(clip) as again:
        assert stream(again).read("3.m4s") == expected(3)
    assert film.numbers.count(3) == 1


@pytest.mark.parametrize("name", ["index.m3u8", "init.mp4", "3.m4s"])
@pytest.mark.parametrize("torn", ["empty", "half", "zeros", "short", "folder", "pipe"])
def test_a_damaged_cache_file_is_made_again(
    film: Film, served: Served, root: Path, name: str, torn: str
) -> None:
    whole = stream(served).read(name) or b""
    path = next(root.rglob(name))
    match torn:
        case "folder":
            path.unlink()
            path.mkdir()
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case _:
            sizes = {"empty": 0, "half": len(whole) // 2, "short": len(whole) - 1}
            path.write_bytes(bytes(len(whole)) if torn == "zeros" else whole[: sizes[torn]])
    assert stream(served).read(name) == whole
    assert stream(served).read(name) == whole


def test_a_part_that_is_evicted_is_made_again(film: Film, served: Served, root: Path) -> None:
    stream(served).read("3.m4s")
    wait_until(settled(film))
    for path in root.rglob("*.m4s"):
        path.unlink()
    assert stream(served).read("3.m4s") == expected(3)
    assert film.numbers.count(3) == 2


def read_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.parent.mkdir(exist_ok=True)
    root.write_bytes(b"")  # a file in the place of the folder, since tests may run as root


def full(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)


def homeless(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_cache, "segment_root", lambda: Path("~/nowhere"))


def unwanted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", "0")


@pytest.mark.parametrize("unusable", [read_only, full, homeless, unwanted])
def test_without_a_disk_parts_are_kept_in_memory(
    film: Film,
    served: Served,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    unusable: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    unusable(root, monkeypatch)
    one = stream(served)
    for _ in range(2):
        assert one.read("3.m4s") == expected(3)
        assert one.read("init.mp4") == init()
        assert one.read("index.m3u8") == playlist().text().encode()
    wait_until(settled(film))
    assert film.numbers == [3, 4, 5]
    assert not [path for path in root.rglob("*") if path.is_file()]
    assert not Path("~").exists()


def test_a_full_disk_is_logged_once(
    film: Film,
    served: Served,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    full(root, monkeypatch)
    stream(served).read("3.m4s")
    stream(served).read("30.m4s")
    messages = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(messages) == 1
    assert "No space left on device" in messages[0]
    assert not list(root.rglob("*.part"))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", "0")
    monkeypatch.setattr(segment_cache, "_MEMORY_BYTES", 1000)
    cache = SegmentCache()
    for number in range(10):
        cache.save("key", f"{number}.m4s", bytes(300))
        cache.save("key", f"{number}.m4s", bytes(300))
        cache.find("key", "0.m4s")
    kept = [number for number in range(10) if cache.find("key", f"{number}.m4s")]
    assert kept == [0, 8, 9]
    cache.save("key", "large.m4s", bytes(2000))
    assert cache.find("key", "large.m4s") == bytes(2000)


def test_the_least_recently_used_are_evicted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_cache, "segment_root", lambda: root)
    data = segment(0, of=bytes(1000))
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", str(4 * len(data)))
    cache = SegmentCache()
    for number in range(3):
        cache.save(f"key{number}", "0.m4s", data)
        os.utime(root / f"key{number}" / "0.m4s", (1000 + number, 1000 + number))
    assert cache.find("key0", "0.m4s")  # used now, so that key1 is the oldest
    for number in range(3, 5):
        cache.save(f"key{number}", "0.m4s", data)
    found = [bool(cache.find(f"key{number}", "0.m4s")) for number in range(5)]
    assert found == [True, False, True, True, True]
    assert not (root / "key1").exists()


def test_what_another_process_left_half_written_is_evicted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_cache, "segment_root", lambda: root)
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", "2000")
    part = root / "key" / "0.m4s.1.1.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1900))
    os.utime(part, (1, 1))
    SegmentCache().save("key", "1.m4s", segment(1, of=bytes(500)))
    assert not part.exists()


def test_the_folder_depends_on_file_variant_and_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [SessionKey("a", "copy.copy"), SessionKey("b", "copy.copy"), SessionKey("a", "copy.aac")]
    folders = [key.folder for key in keys]
    monkeypatch.setattr(segment_session, "FORMAT", segment_session.FORMAT + 1)
    folders.append(keys[0].folder)
    monkeypatch.setattr("vidnb.server.segment_session._encoder", lambda: "99")
    folders.append(keys[0].folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    folders.append(keys[0].folder)
    assert len(set(folders)) == 6
    assert keys[0].folder == folders[-1]


# --- processes

PRELUDE = """
import os, sys, threading, warnings
from pathlib import Path
import pytest
from tests.server.fake_segments import faked
from vidnb.server.server import serve
warnings.simplefilter("ignore", DeprecationWarning)  # of threads and fork
clip, root = Path(sys.argv[1]), Path(sys.argv[2])
monkeypatch = pytest.MonkeyPatch()
context = faked(monkeypatch, root)
film = context.__enter__()
served = serve(clip)
stream = served._resource.stream("h264.aac")
"""


def python(clip: Path, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script, clip, clip.parent / "segments"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_forked_child_has_sessions_of_its_own(clip: Path) -> None:
    printed = python(
        clip,
        """
assert stream.read("3.m4s")
child = os.fork()
if not child:
    with serve(clip) as own:
        assert own._resource.stream("h264.aac").read("30.m4s")
        names = [one.name for one in threading.enumerate()]
        assert names.count("vidnb-segments") == 1, names
    print(film.opened, flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert stream.read("35.m4s")
print(film.opened)
""",
    )
    assert printed.split() == ["2", "1"]


def test_the_exit_waits_for_the_maker_to_close(clip: Path) -> None:
    printed = python(
        clip,
        """
import atexit
assert stream.read("3.m4s")
from vidnb.io import loop
atexit.unregister(loop.server.close)
atexit.register(lambda: print(film.opened, film.closed))
atexit.register(loop.server.close)
""",
    )
    assert printed.split() == ["1", "1"]


def test_the_exit_does_not_wait_long_for_a_maker_that_hangs(clip: Path) -> None:
    printed = python(
        clip,
        """
film.hold(3)
threading.Thread(target=stream.read, args=("3.m4s",), daemon=True).start()
while not film.made: pass
print("end")
""",
    )
    assert printed.split()[0] == "end"


# --- bytes that are still downloaded


class Bytes:
    """A handler of an origin that sends all but one part, and that one when it is told to."""

    def __init__(self, part: range) -> None:
        self.resume = threading.Event()
        self._part = part

    def __call__(self, exchange: Exchange) -> None:
        response = exchange.response()
        exchange.head(response.status, (*response.headers, *exchange.film.headers))
        for body in response.body:
            assert not isinstance(body, bytes)
            for at in range(body.start, body.stop, 2**14):
                stop = min(body.stop, at + 2**14)
                if at < self._part.stop and stop > self._part.start:
                    self.resume.wait(DEADLINE_S)
                exchange.send(exchange.film.data[at:stop])


@pytest.fixture
def download() -> Iterator[tuple[Bytes, Served, bytes]]:
    """A file of 4 MB whose second quarter is withheld."""
    data = HEAD + noise(4_000_000)
    handler = Bytes(range(1_000_000, 2_000_000))
    with Origin(Source(data), otherwise=handler) as origin, serve(f"{origin.base}/a.mkv") as served:
        yield handler, served, data
        handler.resume.set()


@pytest.mark.parametrize("variant", ["copy.copy", "h264.aac"])
@pytest.mark.parametrize("is_read_ahead", [True, False])
def test_a_seek_beyond_what_is_downloaded_does_not_wait_for_what_comes_before(
    film: Film, download: tuple[Bytes, Served, bytes], variant: str, is_read_ahead: bool
) -> None:
    handler, served, data = download
    film.reads = {1: ByteRange(1_200_000, 1_200_100), 30: ByteRange(3_000_000, 3_000_100)}
    one = stream(served, variant)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(one.read, "0.m4s" if is_read_ahead else "1.m4s")
        wait_until(lambda: 1 in film.numbers)
        wait_until(lambda: on_loop(lambda: bool(segment_service.segment_service()._waits)))
        assert one.read("30.m4s") == expected(30, variant)
        assert film.bytes_read == {30: data[3_000_000:3_000_100]}
        handler.resume.set()  # the one that was interrupted is made now
        assert waiting.result(DEADLINE_S) == expected(0 if is_read_ahead else 1, variant)
    if not is_read_ahead:
        assert film.bytes_read[1] == data[1_200_000:1_200_100]


def test_closing_ends_the_wait_for_bytes(film: Film, download: tuple[Bytes, Served, bytes]) -> None:
    _, served, _ = download
    film.reads = {1: ByteRange(1_200_000, 1_200_100)}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stream(served).read, "1.m4s")
        wait_until(lambda: on_loop(lambda: bool(segment_service.segment_service()._waits)))
        served.close()
        with pytest.raises(ServeError, match="not served any more"):
            waiting.result(DEADLINE_S)
    wait_until(lambda: not segment_threads())
    assert on_loop(lambda: segment_service.segment_service()._waits) == {}
