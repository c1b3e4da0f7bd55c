"""Playlists and segments over HTTP, with a maker without PyAV."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S, wait_until
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
from tests.server.test_server import Reply, connect, get, read_reply, request
from vidnb.errors import MediaError
from vidnb.server.segment_stream import SegmentStream
from vidnb.server.server import Served, serve

HEAD = b"\0\0\0\x18ftyp"


@pytest.fixture
def film(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Film]:
    with faked(monkeypatch, tmp_path / "segments") as made:
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


def path_of(served: Served, name: str) -> str:
    return f"/{served.url.split('/')[3]}/{name}"


def ask(served: Served, name: str, *fields: str, method: str = "GET", host: str = "") -> Reply:
    return get(served, *fields, path=path_of(served, name), method=method, host=host)


def expected(number: int, variant: str = "copy.copy") -> bytes:
    return segment(number, variant, HEAD)


@pytest.mark.parametrize("folder", ["", "copy.copy/", "h264.aac/", "copy.opus/", "none.aac/"])
def test_the_parts_of_a_variant(film: Film, served: Served, folder: str) -> None:
    variant = folder.rstrip("/") or film.variant
    found = ask(served, f"{folder}index.m3u8")
    assert found.status == 200
    assert found.fields["content-type"] == "application/vnd.apple.mpegurl"
    assert found.body.decode().replace(f"{variant}/", "") == playlist().text()
    for name, data in (("init.mp4", init(variant)), ("7.m4s", expected(7, variant))):
        found = ask(served, f"{folder}{name}")
        assert (found.status, found.body) == (200, data)
        assert found.fields["content-type"] == "video/mp4"
        assert found.fields["cache-control"] == "private, no-cache"
        assert found.fields["accept-ranges"] == "bytes"


def test_playlist_url_is_beside_the_file(film: Film, served: Served) -> None:
    assert served.playlist_url == f"{served.url.rpartition('/')[0]}/index.m3u8"
    assert get(served, path=path_of(served, "index.m3u8?t=1")).status == 200


@pytest.mark.parametrize("name", ["index.m3u8", "copy.copy/init.mp4", "copy.copy/3.m4s"])
def test_head_ranges_and_validators_are_those_of_a_file(
    film: Film, served: Served, name: str
) -> None:
    whole = ask(served, name)
    head = ask(served, name, method="HEAD")
    assert head.body == b""
    assert {**head.fields, "date": ""} == {**whole.fields, "date": ""}
    part = ask(served, name, "Range: bytes=4-11")
    assert (part.status, part.body) == (206, whole.body[4:12])
    assert part.fields["content-range"] == f"bytes 4-11/{len(whole.body)}"
    assert ask(served, name, "Range: bytes=100000-").status == 416
    assert ask(served, name, f"If-None-Match: {whole.fields['etag']}").status == 304
    assert ask(served, name, 'If-None-Match: "other"').body == whole.body
    assert film.opened == 1


def test_a_page_of_another_origin_may_read_segments(film: Film, served: Served) -> None:
    for name, status in (("copy.copy/3.m4s", 200), ("copy.copy/99.m4s", 404)):
        found = ask(served, name, "Origin: https://notebook.example")
        assert found.status == status
        assert found.fields["access-control-allow-origin"] == "https://notebook.example"
    preflight = ask(served, "copy.copy/3.m4s", "Origin: https://a.example", method="OPTIONS")
    assert preflight.status == 204
    assert ask(served, "copy.copy/3.m4s", method="POST").status == 405


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"copy.copy/{COUNT}.m4s", id="beyond-the-last"),
        "copy.copy/01.m4s",
        "copy.copy/-1.m4s",
        "copy.copy/1.mp4",
        "copy.copy/",
        "copy.copy",
        "copy.copy//1.m4s",
        "copy.copy/1.m4s/",
        "a/copy.copy/1.m4s",
        "none.none/1.m4s",
        "h265.aac/1.m4s",
        "copy.mp3/1.m4s",
        "copy/1.m4s",
        "copy.copy.copy/1.m4s",
        "%63opy.copy/1.m4s",
        "copy.copy/100000000.m4s",
        "../copy.copy/1.m4s",
    ],
)
def test_everything_else_is_404(film: Film, served: Served, name: str) -> None:
    assert ask(served, name).status == 404
    assert film.numbers == []


def test_only_the_files_own_token_and_host_open_segments(film: Film, served: Served) -> None:
    page_token = served.page_url.split("/")[3]
    assert get(served, path=f"/{page_token}/index.m3u8").status == 404
    assert get(served, path="/index.m3u8").status == 404
    assert ask(served, "index.m3u8", host="evil.example").status == 404
    assert sessions() == 0


@pytest.mark.parametrize("name", ["init.mp4", "3.m4s", "index.m3u8"])
def test_the_files_own_name_wins(film: Film, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HEAD + bytes(10_000))
    with serve(path) as served:
        assert ask(served, name).body == path.read_bytes()
        assert ask(served, "~").body == path.read_bytes()
        assert ask(served, f"copy.copy/{name}").body != path.read_bytes()


def test_what_cannot_be_made_is_a_422_with_a_sentence(
    film: Film, served: Served, clip: Path
) -> None:
    film.errors[3] = MediaError(f"{clip} is damaged — download it again.")
    found = ask(served, "copy.copy/3.m4s", "Origin: https://a.example")
    assert found.status == 422
    assert found.body.decode() == "clip.mkv is damaged — download it again.\n"
    assert found.fields["content-type"] == "text/plain; charset=utf-8"
    assert found.fields["cache-control"] == "no-store"
    assert found.fields["access-control-allow-origin"] == "https://a.example"
    assert ask(served, "copy.copy/3.m4s", method="HEAD").status == 422
    assert served.answered == {422: 2}
    assert ask(served, "copy.copy/4.m4s").status == 200
    film.problem = "There is no decoder."
    assert ask(served, "index.m3u8").body == b"There is no decoder.\n"
    clip.unlink()
    assert ask(served, "copy.copy/5.m4s").status == 422


def test_a_connection_carries_many_parts(film: Film, served: Served) -> None:
    names = ["copy.copy/init.mp4", "copy.copy/3.m4s", "copy.copy/99.m4s", "copy.copy/4.m4s"]
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(b"".join(request(served, path=path_of(served, name)) for name in names))
        assert [read_reply(file).status for _ in names] == [200, 200, 404, 200]


def test_a_segment_that_is_being_made_blocks_nothing_else(film: Film, served: Served) -> None:
    film.hold(3)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, served, "copy.copy/3.m4s")
        wait_until(lambda: film.numbers == [3])
        assert get(served).status == 200
        assert ask(served, "copy.aac/9.m4s").body == expected(9, "copy.aac")
        film.let()
        assert waiting.result(DEADLINE_S).body == expected(3)


def test_a_client_that_leaves_withdraws_its_request(film: Film, served: Served) -> None:
    film.hold(3)
    with connect(served.port) as one, connect(served.port) as other:
        one.sendall(request(served, path=path_of(served, "copy.copy/3.m4s")))
        wait_until(lambda: film.numbers == [3])
        other.sendall(request(served, path=path_of(served, "copy.copy/20.m4s")))
        wait_until(lambda: on_loop(waited_for) == {3, 20})
    wait_until(lambda: not on_loop(waited_for))
    film.let()
    assert ask(served, "copy.copy/30.m4s").status == 200
    assert 20 not in film.numbers


def test_closing_while_a_segment_is_made_ends_the_connection(film: Film, served: Served) -> None:
    film.hold(3)
    with connect(served.port) as made:
        made.sendall(request(served, path=path_of(served, "copy.copy/3.m4s")))
        wait_until(lambda: film.numbers == [3])
        served.close()
        assert made.recv(1000) == b""
    assert on_loop(sessions) == 0
    film.let()
    wait_until(lambda: film.closed == 1)
    assert ask(served, "copy.copy/3.m4s").status == 404


class Growing:
    """A stream that can only block, of a source with one variant."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.is_closed = False

    def stream(self, variant: str) -> SegmentStream | None:
        return self if variant == "h264.none" else None

    def read(self, name: str) -> bytes | None:
        self.threads.add(threading.current_thread().name)
        return b"#EXTM3U\n" if name == "index.m3u8" else None

    def close(self) -> None:
        self.is_closed = True


def test_a_stream_that_can_only_block_is_read_in_a_thread(film: Film, served: Served) -> None:
    growing = Growing()
    served._resource.streams = growing
    assert ask(served, "h264.none/index.m3u8").body == b"#EXTM3U\n"
    assert ask(served, "h264.none/0.m4s").status == 404
    assert ask(served, "index.m3u8").status == 404
    assert "vidnb-server" not in growing.threads
    served.close()
    assert growing.is_closed
