"""A folder's page over real sockets: what it lists, what it opens, and what it never does."""

import os
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.server.test_server import assert_closed, connect, descriptors, read_reply
from vidnb.download.planner.progress import format_bytes
from vidnb.errors import ServeError
from vidnb.server import folder as module
from vidnb.server.folder import ServedFolder, serve_folder
from vidnb.server.server import serve

NAMES = ["a 2.mp4", "a 10.mkv", "b.WEBM", "day 2/c.mov", "day 2/inner/d.mp4", "day 10/e.mp4"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    for number, name in enumerate(NAMES):
        put(root, name, b"x" * (number + 1))
    for name in "notes.txt", "page.html", ".hidden.mp4", ".vidnb/part.mp4", "list.m3u8", "s.m4s":
        put(root, name)
    put(tmp_path, "secret.mp4", b"secret")
    return root


@pytest.fixture
def served(root: Path) -> Iterator[ServedFolder]:
    with serve_folder(root) as made:
        yield made


def put(root: Path, name: str, content: bytes = b"x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def get(url: str, host: str = "localhost") -> tuple[int, dict[str, str], bytes]:
    split = urlsplit(url)
    assert split.port is not None
    with connect(split.port) as made, made.makefile("rb") as file:
        made.sendall(f"GET {split.path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return read_reply(file)


def listed(served: ServedFolder) -> dict[str, tuple[str, str]]:
    """Return the names on the page with their file's and their page's addresses, in order."""
    _, _, body = get(served.page_url)
    cards = re.findall(
        r'href="([^"]+)" data-source="([^"]+)".*?class="name">([^<]+)<', body.decode()
    )
    return {
        unescape(name): (urljoin(served.page_url, source), urljoin(served.page_url, page))
        for page, source, name in cards
    }


def test_videos_are_listed_in_natural_order_and_nothing_else(served: ServedFolder) -> None:
    assert list(listed(served)) == [name.rpartition("/")[2] for name in NAMES]
    status, fields, body = get(served.page_url)
    assert (status, fields["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<title>films</title>" in body.decode()
    assert re.findall("<h2>(.*?)</h2>", body.decode()) == ["day 2", "day 2/inner", "day 10"]
    assert "6 videos · 21 B" in body.decode()


def test_the_page_is_as_closed_as_a_players(served: ServedFolder) -> None:
    split = urlsplit(served.page_url)
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(f"GET {split.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert_closed(read_reply(file))
    assert re.fullmatch(r"/[A-Za-z0-9_-]{32}/", split.path)
    for path in split.path[:-1], f"{split.path}a%202.mp4", f"{split.path}../secret.mp4", "/":
        assert get(urljoin(served.page_url, path))[0] == 404
    assert get(served.page_url, host="evil.example")[0] == 404


def test_an_allowed_name_opens_the_list_and_all_that_it_lists(root: Path) -> None:
    with serve_folder(root, allowed_hosts=["hub.example"]) as served:
        urls = [served.page_url, *listed(served)["c.mov"]]
        assert {get(url, host="hub.example:80")[0] for url in urls} == {200}
        assert {get(url, host="evil.example")[0] for url in urls} == {404}


def test_a_folder_may_be_served_on_another_host(root: Path) -> None:
    with serve_folder(root, host="127.0.0.2") as served, serve(root / "b.WEBM") as other:
        assert served.page_url.startswith(f"http://127.0.0.2:{served.port}/")
        assert served.port != other.port
        with urllib.request.urlopen(served.page_url, timeout=DEADLINE_S) as answer:
            assert b"c.mov" in answer.read()


def test_every_video_has_a_page_that_leads_back(served: ServedFolder) -> None:
    tokens = set()
    for name, (source, page) in listed(served).items():
        assert get(source)[0] == 200
        html = get(page)[2].decode()
        assert f"<title>{name}</title>" in html
        (back,) = re.findall('class="back" href="([^"]+)"', html)
        assert urljoin(page, back) == served.page_url
        tokens |= {urlsplit(source).path.split("/")[1], urlsplit(page).path.split("/")[1]}
    assert len(tokens) == 2 * len(NAMES)


def test_addresses_last_as_long_as_their_file(root: Path, served: ServedFolder) -> None:
    before = listed(served)
    put(root, "a 3.mp4", b"new")
    (root / "b.WEBM").unlink()
    after = listed(served)
    assert list(after)[:3] == ["a 2.mp4", "a 3.mp4", "a 10.mkv"]
    assert "b.WEBM" not in after
    assert all(after[name] == before[name] for name in after if name != "a 3.mp4")
    assert get(after["a 3.mp4"][0])[2] == b"new"
    put(root, "b.WEBM", b"another")
    assert get(before["b.WEBM"][0])[0] == get(before["b.WEBM"][1])[0] == 404
    assert listed(served)["b.WEBM"] != before["b.WEBM"]


def test_the_list_shows_the_present_sizes(root: Path, served: ServedFolder) -> None:
    page_url = listed(served)["b.WEBM"][1]
    (root / "b.WEBM").write_bytes(b"x" * 5_000_000)
    assert f'class="size">{format_bytes(5_000_000)}<' in get(served.page_url)[2].decode()
    assert format_bytes(5_000_000) in get(page_url)[2].decode()


def test_links_lead_to_files_inside_alone(root: Path, served: ServedFolder) -> None:
    (root / "inside.mp4").symlink_to(root / "a 2.mp4")
    (root / "outside.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "nowhere.mp4").symlink_to(root / "nothing")
    (root / "itself.mp4").symlink_to(root / "itself.mp4")
    (root / "round").symlink_to(root)
    (root / "up").symlink_to(root.parent)
    assert sorted(set(listed(served)) - {name.rpartition("/")[2] for name in NAMES}) == [
        "inside.mp4"
    ]


def test_a_file_that_becomes_a_link_is_served_no_more(root: Path, served: ServedFolder) -> None:
    source, _ = listed(served)["a 2.mp4"]
    (root / "a 2.mp4").unlink()
    (root / "a 2.mp4").symlink_to(root.parent / "secret.mp4")
    assert get(source)[0] == 404
    assert "a 2.mp4" not in listed(served)
    assert get(source)[0] == 404


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_left_out(
    root: Path, served: ServedFolder, make: Callable[[Path], None]
) -> None:
    make(root / "odd.mp4")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "socket.mp4"))
        assert not {"odd.mp4", "socket.mp4"} & set(listed(served))


def test_a_stream_is_told_from_a_program(root: Path, served: ServedFolder) -> None:
    put(root, "program.ts", b"Get on with it, says the program. " * 20)
    put(root, "short.ts", b"G")
    put(root, "stream.TS", (b"G" + bytes(187)) * 3)
    assert set(listed(served)) - {name.rpartition("/")[2] for name in NAMES} == {"stream.TS"}


def test_a_folder_is_looked_through_within_bounds(
    root: Path, served: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "Not everything in this folder is listed"
    assert note not in get(served.page_url)[2].decode()
    for name, value, count in ("MAX_VIDEOS", 2, 2), ("MAX_DEPTH", 0, 3), ("MAX_DEPTH", 1, 5):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert len(listed(served)) == count
            assert note in get(served.page_url)[2].decode()
    with monkeypatch.context() as patch:
        patch.setattr(module, "MAX_SEEN", 3)
        assert len(listed(served)) <= 3
        assert note in get(served.page_url)[2].decode()


def test_names_that_are_no_text_are_served_too(root: Path, served: ServedFolder) -> None:
    put(root, os.fsdecode(b"\xff &<b>.mp4"), b"odd")
    name, (source, page) = next(
        (name, urls) for name, urls in listed(served).items() if "<b>" in name
    )
    assert get(source)[2] == b"odd"
    assert get(page)[0] == 200
    assert name.isprintable()


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with serve_folder(empty) as served:
        assert "no video in this folder yet" in get(served.page_url)[2].decode()


def test_a_folder_that_is_gone_is_404_until_it_is_back(root: Path, served: ServedFolder) -> None:
    root.rename(root.with_name("away"))
    assert get(served.page_url)[0] == 404
    root.with_name("away").rename(root)
    assert get(served.page_url)[0] == 200


def test_closing_frees_every_address_and_no_others(root: Path) -> None:
    before = descriptors()
    with serve(root / "b.WEBM") as other, serve_folder(root) as served:
        urls = [served.page_url, *(url for pair in listed(served).values() for url in pair)]
        assert all(get(url)[0] == 200 for url in urls)
        served.close()
        served.close()
        assert {get(url)[0] for url in urls} == {404}
        assert get(other.url)[0] == 200
    wait_until(lambda: descriptors() <= before + 2)  # the server's own, if it started here


def test_many_readers_of_the_page_see_one_set_of_addresses(served: ServedFolder) -> None:
    found: list[dict[str, tuple[str, str]]] = []
    readers = [threading.Thread(target=lambda: found.append(listed(served))) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(found) == 8
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("name", ["nothing", "a\x00b"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServeError, match=r"cannot be served: .*\.$"):
        serve_folder(tmp_path / name)


def test_a_file_is_no_folder(root: Path) -> None:
    with pytest.raises(ServeError, match="cannot be served"):
        serve_folder(root / "notes.txt")


def test_a_folder_inside_that_fails_is_left_out(
    root: Path, served: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("day 2"):
            raise PermissionError(13, "no")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(listed(served)) == ["a 2.mp4", "a 10.mkv", "b.WEBM", "e.mp4"]
    assert "Not everything" in get(served.page_url)[2].decode()


def test_the_folder_the_clients_see_is_not_named_in_full(served: ServedFolder, root: Path) -> None:
    assert str(root.parent) not in get(served.page_url)[2].decode()
