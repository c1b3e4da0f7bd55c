"""File sources: one version per answer, found anew per request, never a wrong byte or a leak."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vidnb.errors import ServeError
from vidnb.http.ranges import ByteRange
from vidnb.io.regular_file import open_regular
from vidnb.server import sources
from vidnb.server.sources import FileSource, OpenFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "clip.mp4"
    made.write_bytes(b"0123456789")
    return made


def descriptors(path: Path) -> int:
    """Count the descriptors of files that are, or were, in the folder of `path`."""
    gc.collect()
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found += str(link.readlink()).startswith(f"{path.parent}/")
    return found


@asynccontextmanager
async def version(source: FileSource) -> AsyncIterator[OpenFile]:
    found = await source.version()
    try:
        yield found
    finally:
        found.close()


def on_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_a_source_has_the_files_own_name_type_and_size(path: Path) -> None:
    source = FileSource(path)
    assert (source.name, source.media_type, source.size_bytes) == ("clip.mp4", "video/mp4", 10)


def test_a_relative_path_and_a_string_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert FileSource("clip.mp4").name == "clip.mp4"
    assert FileSource("./clip.mp4").name == "clip.mp4"


def test_a_registered_source_holds_no_descriptor(path: Path) -> None:
    before = descriptors(path)
    kept = [FileSource(path) for _ in range(50)]
    assert descriptors(path) == before
    assert len(kept) == 50


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "there is no such file; check the name, or download it first"),
        (Path.mkdir, "it is a folder; name a file in it"),
        (pipe, "it is a named pipe, not a regular file; save its bytes to a file first"),
        (unix_socket, "it is a socket, not a regular file"),
        (lambda at: at.symlink_to("/dev/null"), "it is a device, not a regular file; save its"),
        (lambda at: at.symlink_to(at), "its symbolic links form a cycle; name the file itself"),
        (lambda at: at.symlink_to("gone.mp4"), "there is no such file; check the name"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_sentence(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(ServeError) as caught:
        FileSource(path)
    assert str(caught.value).startswith(f"{str(path)!r} cannot be served: {reason}")
    assert str(caught.value).endswith(".")


def test_an_impossible_name_is_refused() -> None:
    with pytest.raises(ServeError, match="a character that no file name can"):
        FileSource("a\0b")


def test_an_unreadable_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ServeError, match="you have no permission to read it"):
        FileSource(path)


def test_a_version_reads_and_describes_one_file(path: Path) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as found:
            status = path.stat()
            assert await found.read(ByteRange(2, 5)) == b"234"
            assert await found.read(ByteRange(0, 10)) == b"0123456789"
            assert await found.read(ByteRange(5, 20)) == b"56789"
            assert found.size_bytes == 10
            assert found.modified_s == status.st_mtime
            assert not found.validator.weak
            assert found.validator.opaque == f"a-{status.st_mtime_ns:x}-{status.st_ino:x}"
            assert found.intact()

    on_loop(main)


def test_requests_share_one_descriptor(path: Path) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as first:
            before = descriptors(path)
            async with version(source) as second, version(source) as third:
                assert first is second is third
                assert descriptors(path) == before
        source.close()
        assert descriptors(path) == before - 1

    on_loop(main)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"ABCDEFGHIJ")
    other.replace(path)


def replace_a_file_that_has_another_name(path: Path) -> None:
    path.with_name("backup").hardlink_to(path)
    replace(path)


def rewrite(path: Path) -> None:
    path.write_bytes(b"ABCDEFGHIJ")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 5_000_000))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 4)


@pytest.mark.parametrize(
    ("change", "old_is_intact"),
    [
        (replace, True),
        (replace_a_file_that_has_another_name, True),
        (rewrite, True),
        (grow, True),
        (os.utime, True),
        (shrink, False),
    ],
)
def test_the_next_request_sees_every_change_at_once(
    path: Path, change: Callable[[Path], None], *, old_is_intact: bool
) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as old:
            tag = old.validator
            change(path)
            async with version(source) as new:
                content = path.read_bytes()
                assert new is not old
                assert new.validator != tag
                assert new.size_bytes == len(content)
                assert await new.read(ByteRange(0, new.size_bytes)) == content
            assert old.intact() is old_is_intact
            if old_is_intact and change is not rewrite:
                assert await old.read(ByteRange(0, 10)) == b"0123456789"
        source.close()

    before = descriptors(path)
    on_loop(main)
    assert descriptors(path) == before


@pytest.mark.parametrize(
    "change", [lambda at: at.chmod(0o640), lambda at: at.with_name("b").hardlink_to(at)]
)
def test_names_and_permissions_make_no_new_version(
    path: Path, change: Callable[[Path], None]
) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as old:
            change(path)
            before = descriptors(path)
            async with version(source) as new:
                assert new is old
                assert descriptors(path) == before
            assert old.unchanged()
        source.close()

    on_loop(main)


def test_a_swapped_folder_is_seen_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "RESOLVE_EVERY_S", 0.05)
    for name in "old", "new":
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip.mp4").write_bytes(name.encode())
    served = tmp_path / "served"
    (tmp_path / "old").rename(served)

    source = FileSource(served / "clip.mp4")

    async def main() -> None:
        async with version(source) as found:
            assert await found.read(ByteRange(0, 3)) == b"old"
        served.rename(tmp_path / "away")
        (tmp_path / "new").rename(served)
        await asyncio.sleep(0.06)
        async with version(source) as found:
            assert await found.read(ByteRange(0, 3)) == b"new"
        source.close()

    on_loop(main)


@pytest.mark.parametrize("part", ["file", "folder"])
def test_a_link_that_is_put_there_later_leads_nowhere(tmp_path: Path, part: str) -> None:
    path = tmp_path / "films" / "film.mp4"
    other = tmp_path / "private" / "film.mp4"
    for each in path, other:
        each.parent.mkdir()
        each.write_bytes(each.parent.name.encode())
    source = FileSource(path)
    moved, onto = (path, other) if part == "file" else (path.parent, other.parent)
    moved.rename(tmp_path / "away")
    moved.symlink_to(onto)

    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await source.version()
        moved.unlink()
        (tmp_path / "away").rename(moved)
        async with version(source) as found:
            assert await found.read(ByteRange(0, 10)) == b"films"
        source.close()

    on_loop(main)


def test_links_are_resolved_once(path: Path) -> None:
    link = path.with_name("latest.mp4")
    link.symlink_to(path)
    other = path.with_name("other.mp4")
    other.write_bytes(b"other")
    source = FileSource(link)
    assert source.name == "latest.mp4"
    link.unlink()
    link.symlink_to(other)

    async def main() -> None:
        async with version(source) as found:
            assert await found.read(ByteRange(0, 10)) == b"0123456789"

    on_loop(main)


@pytest.mark.parametrize("put", [lambda _: None, Path.mkdir, pipe])
def test_a_file_that_is_gone_is_gone_at_once_and_may_come_back(
    path: Path, put: Callable[[Path], None]
) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as old:
            path.unlink()
            put(path)
            with pytest.raises(OSError, match=r".+"):
                await source.version()
            assert await old.read(ByteRange(0, 3)) == b"012"
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(b"back")
        async with version(source) as new:
            assert await new.read(ByteRange(0, 4)) == b"back"
        source.close()

    before = descriptors(path)
    on_loop(main)
    assert descriptors(path) == before


def test_an_idle_file_is_closed_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KEEP_OPEN_S", 0.1)

    source = FileSource(path)

    async def main() -> None:
        before = descriptors(path)
        async with version(source):
            await asyncio.sleep(0.25)
            assert descriptors(path) == before + 1
        async with asyncio.timeout(60):
            while descriptors(path) > before:
                await asyncio.sleep(0.05)
        async with version(source) as found:
            assert await found.read(ByteRange(0, 1)) == b"0"

    on_loop(main)


def test_a_file_that_went_away_while_idle_needs_no_closing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KEEP_OPEN_S", 0.05)

    source = FileSource(path)

    async def main() -> None:
        async with version(source):
            pass
        path.unlink()
        with pytest.raises(FileNotFoundError):
            await source.version()
        await asyncio.sleep(0.1)
        assert source._timer is None

    on_loop(main)


def test_a_closed_source_serves_no_more_but_keeps_what_is_in_use(path: Path) -> None:
    source = FileSource(path)

    async def main() -> None:
        async with version(source) as old:
            source.close()
            source.close()
            assert await old.read(ByteRange(0, 2)) == b"01"
            with pytest.raises(FileNotFoundError, match="not served any more"):
                await source.version()

    before = descriptors(path)
    on_loop(main)
    assert descriptors(path) == before


def test_a_request_cancelled_while_the_file_is_opened_leaks_nothing(path: Path) -> None:
    source = FileSource(path)

    async def main() -> None:
        before = descriptors(path)
        cancelled = 0
        for turns in range(4):
            task = asyncio.create_task(source.version())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                (await task).close()  # the worker was quicker
            except asyncio.CancelledError:
                cancelled += 1
        assert cancelled
        for _ in range(100):  # the worker may still be opening it
            await asyncio.sleep(0.02)
            if descriptors(path) == before:
                break
        assert descriptors(path) == before

    on_loop(main)


# --- cold disks: nothing waits on the loop


def reads_in_workers(monkeypatch: pytest.MonkeyPatch) -> list[Callable[..., object]]:
    asked: list[Callable[..., object]] = []
    real = asyncio.to_thread

    async def to_thread(fn: Callable[..., object], *args: object) -> object:
        asked.append(fn)
        return await real(fn, *args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    return asked


def test_cached_bytes_need_no_worker(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = OpenFile(*open_regular(path))
    if not found.read_cached(bytearray(1), 0):
        pytest.skip("this file system cannot tell what is cached")
    asked = reads_in_workers(monkeypatch)

    async def main() -> None:
        assert await found.read(ByteRange(1, 4)) == b"123"
        await found.warm(ByteRange(0, 10))

    on_loop(main)
    assert asked == []
    found.shut()


@pytest.mark.parametrize(
    ("answer", "still_asks"),
    [(BlockingIOError(11, "again"), True), (OSError(95, "not supported"), False)],
)
def test_what_is_not_cached_is_read_by_a_worker(
    path: Path, monkeypatch: pytest.MonkeyPatch, answer: OSError, *, still_asks: bool
) -> None:
    found = OpenFile(*open_regular(path))
    found._can_probe = True

    def preadv(*_: object) -> int:
        raise answer

    monkeypatch.setattr(os, "preadv", preadv)
    asked = reads_in_workers(monkeypatch)

    async def main() -> None:
        assert await found.read(ByteRange(1, 4)) == b"123"
        await found.warm(ByteRange(0, 10))

    on_loop(main)
    assert asked == [os.pread, found._fetch]
    assert found._can_probe is still_asks
    found.shut()


def test_half_cached_bytes_come_whole_from_a_worker(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = OpenFile(*open_regular(path))
    monkeypatch.setattr(found, "read_cached", lambda into, _: len(into) - 1)
    asked = reads_in_workers(monkeypatch)

    async def main() -> None:
        assert await found.read(ByteRange(1, 4)) == b"123"

    on_loop(main)
    assert asked == [os.pread]
    found.shut()


def test_a_long_span_is_probed_in_many_places_and_at_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = OpenFile(*open_regular(path))
    probed: list[int] = []

    def from_memory(_: bytearray, offset: int) -> int:
        probed.append(offset)
        return 1

    monkeypatch.setattr(found, "read_cached", from_memory)
    asyncio.run(found.warm(ByteRange(1000, 1000 + 600 * 1024)))
    assert probed == [1000, 1000 + 256 * 1024, 1000 + 512 * 1024, 999 + 600 * 1024]
    found.shut()


def test_without_the_systems_help_every_read_is_a_workers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    found = OpenFile(*open_regular(path))
    asked = reads_in_workers(monkeypatch)

    async def main() -> None:
        await found.warm(ByteRange(0, 10))
        assert await found.read(ByteRange(0, 2)) == b"01"

    on_loop(main)
    assert asked == [found._fetch, os.pread]
    found.shut()
