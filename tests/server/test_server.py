"""The range server over real sockets: raw bytes in, raw bytes out."""

import asyncio
import gc
import hashlib
import http.client
import io
import json
import logging
import os
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.clips import clip as numbered
from tests.deadline import DEADLINE_S, wait_until
from vidnb.download.planner.progress import format_bytes
from vidnb.errors import ServeError
from vidnb.http.headers import ETag
from vidnb.http.ranges import ByteRange
from vidnb.io import loop
from vidnb.server import app, protocol, response_writer, server
from vidnb.server.pages import page
from vidnb.server.registry import FileResource
from vidnb.server.server import Served, serve
from vidnb.server.sources import OpenFile

MIB = 1024 * 1024
PROXY = (
    "X-Forwarded-Context: /user/a/proxy/1",
    "X-Forwarded-Prefix: /user/a/proxy/1",
    "X-ProxyContextPath: /user/a/proxy/1",
)


class Reply(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "my clip #1.mp4"
    path.write_bytes(os.urandom(255_849))
    return path


@pytest.fixture
def served(clip: Path) -> Iterator[Served]:
    with serve(clip) as made:
        yield made


@pytest.fixture
def film(tmp_path: Path) -> Iterator[Served]:
    """Serve 24 MiB: more than all the socket buffers between two ends hold."""
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(MIB) * 24)
    with serve(path) as made:
        yield made


def request(
    served: Served, *fields: str, method: str = "GET", path: str = "", host: str = ""
) -> bytes:
    """Write a request as it goes over the wire."""
    lines = [
        f"{method} {path or urlsplit(served.url).path} HTTP/1.1",
        f"Host: {host or f'127.0.0.1:{served.port}'}",
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect(port: int, **options: Any) -> socket.socket:
    made = socket.socket()
    for name, value in options.items():
        made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    made.settimeout(DEADLINE_S)
    made.connect(("127.0.0.1", port))
    return made


def read_reply(file: Any, method: str = "GET") -> Reply:
    """Read one response as RFC 9112 frames it, and not a byte more."""
    status_line = file.readline()
    match = re.fullmatch(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z ]+\r\n", status_line)
    assert match is not None, status_line
    status = int(match[1])
    fields: dict[str, str] = {}
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.decode("latin-1").partition(":")
        assert line.endswith(b"\r\n")
        assert name.lower() not in fields
        fields[name.lower()] = value.strip()
    length = 0 if method == "HEAD" or status in {204, 304} else int(fields["content-length"])
    body = file.read(length)
    assert len(body) == length
    return Reply(status, fields, body)


def exchange_bytes(port: int, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with connect(port) as made:
        made.sendall(sent)
        return b"".join(iter(lambda: made.recv(65536), b""))


def get(served: Served, *fields: str, **options: Any) -> Reply:
    method = options.get("method", "GET")
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(request(served, *fields, **options))
        return read_reply(file, method)


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def connections(served: Served) -> int:
    return len(transports(served))


def transports(served: Served) -> list[asyncio.Transport]:
    assert served._server.app is not None
    return [one.transport for one in served._server.app.connections]


# --- the object


def test_served_describes_what_it_serves(served: Served, clip: Path) -> None:
    match = re.fullmatch(
        r"http://127\.0\.0\.1:([0-9]+)/([A-Za-z0-9_-]{32})/my%20clip%20%231\.mp4", served.url
    )
    assert match is not None
    assert int(match[1]) == served.port
    page_match = re.fullmatch(
        rf"http://127\.0\.0\.1:{match[1]}/([A-Za-z0-9_-]{{32}})/", served.page_url
    )
    assert page_match is not None
    assert page_match[1] != match[2]
    assert (served.name, served.size_bytes, served.media_type) == (clip.name, 255_849, "video/mp4")
    assert str(served) == served.url
    assert repr(served) == f"<Served 'my clip #1.mp4' at {served.url}>"
    with pytest.raises(AttributeError):
        served.url = "elsewhere"  # type: ignore[misc]  # it is frozen, which mypy sees too


def test_in_a_notebook_it_is_a_small_link(tmp_path: Path) -> None:
    path = tmp_path / "<i>&.mp4"
    path.write_bytes(b"12345")
    with serve(path) as served:
        html = served._repr_html_()
        assert html == (
            f'<a href="{served.page_url}" target="_blank" rel="noopener noreferrer">'
            "&lt;i&gt;&amp;.mp4</a> (5 B)"
        )
        assert len(html) < 500


def test_the_same_file_twice_has_two_urls_on_one_port(clip: Path) -> None:
    with serve(clip) as one, serve(clip) as two:
        assert one.url != two.url
        assert one.page_url != two.page_url
        assert one.port == two.port
        assert get(one).body == get(two).body == clip.read_bytes()


@pytest.mark.parametrize("cap", [0, -1])
def test_an_invalid_limit_is_refused(clip: Path, cap: int) -> None:
    with pytest.raises(ValueError, match="max_partial_bytes must be at least 1 B"):
        serve(clip, max_partial_bytes=cap)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "there is no such file"),
        (Path.mkdir, "it is a folder"),
        (os.mkfifo, "it is a named pipe"),
    ],
)
def test_what_cannot_be_served_starts_nothing(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(ServeError, match=reason):
        serve(tmp_path / "x")


def test_a_thousand_files_cost_no_descriptor(clip: Path) -> None:
    first = serve(clip)
    before = descriptors()
    with ExitStack() as stack:
        many = [stack.enter_context(serve(clip)) for _ in range(1000)]
        assert descriptors() <= before
        assert len({each.url for each in many}) == 1000
        assert get(many[500]).status == 200
    first.close()


# --- whole files and ranges


def test_a_plain_get_returns_every_byte(served: Served, clip: Path) -> None:
    reply = get(served)
    assert reply.status == 200
    assert len(reply.body) == 255_849
    assert reply.body == clip.read_bytes()
    assert reply.fields["content-type"] == "video/mp4"
    assert reply.fields["accept-ranges"] == "bytes"
    assert reply.fields["cache-control"] == "private, no-cache"


def test_a_range_is_a_206_with_just_these_bytes(served: Served, clip: Path) -> None:
    reply = get(served, "Range: bytes=200-1000")
    assert reply.status == 206
    assert len(reply.body) == 801
    assert reply.body == clip.read_bytes()[200:1001]
    assert reply.fields["content-range"] == "bytes 200-1000/255849"


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, 131_072, 3 * MIB + 1])
def test_files_of_every_size_arrive_whole(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "clip.webm"
    path.write_bytes(os.urandom(size_bytes))
    with serve(path) as served:
        assert get(served).body == path.read_bytes()
        if size_bytes > 1:
            assert get(served, "Range: bytes=1-").body == path.read_bytes()[1:]
            assert get(served, "Range: bytes=-1").body == path.read_bytes()[-1:]


def test_several_ranges_come_as_parts(film: Served, tmp_path: Path) -> None:
    content = (tmp_path / "film.mp4").read_bytes()
    wanted = [(0, 9), (5 * MIB, 5 * MIB + 200_000), (8 * MIB, 8 * MIB + 70_000), (9 * MIB, 9 * MIB)]
    ranges = ",".join(f"{first}-{last}" for first, last in wanted)
    reply = get(film, f"Range: bytes={ranges}")
    assert reply.status == 206
    kind, _, boundary = reply.fields["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = reply.body.split(f"\r\n--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
        content[first : last + 1] for first, last in wanted
    ]
    assert parts[-1] == b"--\r\n"


def test_a_head_has_the_lengths_of_the_get_and_no_body(served: Served) -> None:
    whole, head = get(served), get(served, "Range: bytes=0-9", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-length"] == "255849"
    for name in "etag", "last-modified", "content-type", "accept-ranges":
        assert head.fields[name] == whole.fields[name]


def test_a_validator_makes_304_and_206(served: Served) -> None:
    tag = get(served).fields["etag"]
    assert tag.startswith('"')
    assert get(served, f"If-None-Match: {tag}").status == 304
    assert get(served, f"If-Range: {tag}", "Range: bytes=0-4").status == 206
    assert get(served, 'If-Range: "other"', "Range: bytes=0-4").status == 200
    assert get(served, 'If-Match: "other"').status == 412
    assert dict(served.answered) == {200: 2, 304: 1, 206: 1, 412: 1}


def test_the_limit_cuts_a_single_range_and_no_whole_file(clip: Path) -> None:
    with serve(clip, max_partial_bytes=1000) as served:
        reply = get(served, "Range: bytes=5-")
        assert reply.fields["content-range"] == "bytes 5-1004/255849"
        assert len(reply.body) == 1000
        assert len(get(served).body) == 255_849


def test_through_the_jupyter_proxy_a_range_is_four_megabytes_at_most(film: Served) -> None:
    assert len(get(film, "Range: bytes=0-", *PROXY, host="hub.example").body) == 4_000_000
    assert len(get(film, "Range: bytes=0-").body) == 24 * MIB


def test_a_smaller_limit_holds_through_the_proxy_too(clip: Path) -> None:
    with serve(clip, max_partial_bytes=1000) as served:
        assert len(get(served, "Range: bytes=0-", *PROXY).body) == 1000


# --- framing


def test_pipelined_requests_stay_framed_after_every_status(served: Served, clip: Path) -> None:
    content = clip.read_bytes()
    tag = get(served).fields["etag"]
    script: list[tuple[int, str, tuple[str, ...], bytes]] = [
        (200, "GET", (), content),
        (200, "HEAD", (), b""),
        (416, "GET", ("Range: bytes=999999-",), b""),
        (304, "GET", (f"If-None-Match: {tag}",), b""),
        (206, "GET", ("Range: bytes=200-1000",), content[200:1001]),
        (412, "GET", ('If-Match: "x"',), b""),
        (206, "GET", ("Range: bytes=100000-",), content[100_000:]),
        (204, "OPTIONS", ("Origin: https://hub.example",), b""),
        (304, "HEAD", (f"If-None-Match: {tag}",), b""),
        (206, "GET", ("Range: bytes=-5",), content[-5:]),
        (200, "GET", ("Range: seconds=1-2",), content),
    ]
    for _ in range(3):
        with connect(served.port) as made, made.makefile("rb") as file:
            requests = [request(served, *fields, method=method) for _, method, fields, _ in script]
            missing = request(served, path="/nothing/here")
            made.sendall(b"".join([*requests, missing, request(served, "Connection: close")]))
            for status, method, _, body in script:
                reply = read_reply(file, method)
                assert (reply.status, reply.body) == (status, body)
            assert read_reply(file).status == 404
            assert read_reply(file).body == content
            assert file.read() == b""


def test_requests_that_arrive_byte_by_byte_get_a_response(served: Served) -> None:
    with (
        connect(
            served.port,
        ) as made,
        made.makefile("rb") as file,
    ):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(served, "Range: bytes=0-0"):
            made.sendall(bytes([byte]))
        assert read_reply(file).status == 206


def test_http_1_0_closes_unless_wanted_to_stay(served: Served, clip: Path) -> None:
    path = urlsplit(served.url).path
    got = exchange_bytes(served.port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert body == clip.read_bytes()
    stay = f"HEAD {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(stay * 2)
        assert read_reply(file, "HEAD").fields["connection"] == "keep-alive"
        assert read_reply(file, "HEAD").status == 200


def test_a_client_may_close_its_half_and_still_get_all(film: Served, tmp_path: Path) -> None:
    with connect(film.port) as made, made.makefile("rb") as file:
        made.sendall(request(film) + request(film, "Range: bytes=0-9"))
        made.shutdown(socket.SHUT_WR)
        time.sleep(0.4)  # longer than an idle half-closed connection lives
        assert read_reply(file).body == (tmp_path / "film.mp4").read_bytes()
        assert len(read_reply(file).body) == 10
        assert file.read() == b""


def test_an_absolute_target_is_understood(served: Served) -> None:
    assert get(served, path=served.url).status == 200
    assert get(served, path=served.url.replace("127.0.0.1", "evil.example")).status == 404
    assert get(served, path="http://[::1").status in {400, 404}


def test_a_tilde_stands_for_any_name(served: Served, clip: Path) -> None:
    """For proxies that would spoil the name; the token is the secret, not the name."""
    path = urlsplit(served.url).path.rpartition("/")[0]
    assert get(served, path=f"{path}/~").body == clip.read_bytes()
    assert get(served, path=f"{path}/~~").status == 404
    assert get(served, path="/~").status == 404


def test_a_query_changes_nothing(served: Served) -> None:
    assert get(served, path=urlsplit(served.url).path + "?t=12").status == 200


def test_names_that_are_no_ascii_are_quoted_and_served(tmp_path: Path) -> None:
    for name in "été ☕.mp4", "a%2Fb.mp4", "..%00.mp4", os.fsdecode(b"\xff\xfe.mp4"):
        path = tmp_path / name
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
        with serve(path) as served:
            assert served.url.isascii()
            assert get(served).body == path.read_bytes()
            assert get(served, path=urlsplit(served.page_url).path).status == 200


# --- small responses, sent as soon as the request is read


def test_a_small_response_from_memory_takes_no_trequest(
    served: Served, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = clip.read_bytes()
    get(served, "Range: bytes=0-9")  # now the file is open and known

    def long_way(*_: object) -> Any:
        raise AssertionError("this response took a task")

    monkeypatch.setattr(app, "_send_in_task", long_way)
    with connect(served.port) as made, made.makefile("rb") as file:
        for first, last in [(0, 0), (5, 65_000), (200_000, 265_000)]:
            made.sendall(request(served, f"Range: bytes={first}-{last}"))
            reply = read_reply(file)
            assert (reply.status, reply.body) == (206, content[first : last + 1])
        made.sendall(request(served, "Range: bytes=999999-"))
        assert read_reply(file).status == 416
        made.sendall(request(served, method="HEAD"))
        assert read_reply(file, "HEAD").status == 200


def test_a_response_with_and_without_a_task_is_the_same(served: Served, clip: Path) -> None:
    """The first request finds the file, the second one gets its response at once."""
    first, second = get(served, "Range: bytes=3-9"), get(served, "Range: bytes=3-9")
    for reply in first, second:
        del reply.fields["date"]
    assert first == second
    assert second.body == clip.read_bytes()[3:10]


def test_a_response_in_the_write_buffer_is_not_overwritten(served: Served, clip: Path) -> None:
    """The memory that small responses are made in is not reused while asyncio still holds it."""
    content = clip.read_bytes()
    get(served, "Range: bytes=0-9")
    with connect(served.port, SO_RCVBUF=4096) as slow, slow.makefile("rb") as file:
        for turn in range(100):  # 6 MB: more than the two buffers hold
            slow.sendall(request(served, f"Range: bytes={turn}-{turn + 60_000}"))
        wait_until(lambda: any(one.get_write_buffer_size() > 0 for one in transports(served)))
        for turn in range(5):
            start = 100_000 + turn
            reply = get(served, f"Range: bytes={start}-{start + 60_000}")
            assert reply.body == content[start : start + 60_001]
        for turn in range(100):
            assert read_reply(file).body == content[turn : turn + 60_001]


def test_small_responses_keep_a_connection_alive(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 3.0)
    with connect(served.port) as made, made.makefile("rb") as file:
        for _ in range(4):
            made.sendall(request(served, "Range: bytes=0-9"))
            assert read_reply(file).status == 206
            time.sleep(1)
        made.sendall(request(served, "Range: bytes=0-9"))
        assert read_reply(file).status == 206
        assert file.read() == b""  # and it ends without further requests


def test_a_changed_file_is_always_found_again(served: Served, clip: Path) -> None:
    with connect(served.port) as made, made.makefile("rb") as file:
        tags = set()
        for turn in range(5):
            content = bytes([turn]) * (100 + turn)
            clip.write_bytes(content)
            os.utime(clip, ns=(turn, turn))
            made.sendall(request(served, "Range: bytes=0-"))
            reply = read_reply(file)
            assert reply.body == content
            tags.add(reply.fields["etag"])
        assert len(tags) == 5


# --- access control


def without_date(raw: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]+", b"", raw)


def test_everything_else_is_the_same_404(served: Served, clip: Path) -> None:
    closed = serve(clip)
    closed.close()
    token = urlsplit(served.url).path.split("/")[1]
    page_token = urlsplit(served.page_url).path.split("/")[1]
    name = urlsplit(served.url).path.split("/")[2]
    paths = [
        "/",
        "/favicon.ico",
        f"/{'A' * 32}/{name}",
        f"/{token}",
        f"/{token}/",
        f"/{token}/other.mp4",
        f"/{token}/{name}/",
        f"/{token}x/{name}",
        f"/{token[:-1]}/{name}",
        f"//{token}/{name}",
        f"/{token}/../{token}/{name}",
        f"/{token.swapcase()}/{name}",
        f"/{page_token}",
        f"/{page_token}/{name}",
        f"/{name}",
        "/%00",
        "/%C3%A9",
        urlsplit(closed.url).path,
        urlsplit(closed.page_url).path,
    ]
    raw = {
        without_date(exchange_bytes(served.port, request(served, "Connection: close", path=path)))
        for path in paths
    }
    assert len(raw) == 1
    (only,) = raw
    assert only.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert only.endswith(b"\r\n\r\nNot Found.\n")
    foreign = request(served, "Connection: close", host="evil.example")
    assert without_date(exchange_bytes(served.port, foreign)) == only
    assert dict(served.answered) == {}


HOSTS = [
    ("127.0.0.1", 200),
    ("127.0.0.1:1", 200),
    ("localhost", 200),
    ("LocalHost:8888", 200),
    ("[::1]", 200),
    ("[::1]:65535", 200),
    ("evil.example", 404),
    ("localhost.evil.example", 404),
    ("127.0.0.1.evil.example", 404),
    ("127x0x0x1", 404),
    ("127.0.0.2", 404),
    ("127.1", 404),
    ("[::2]", 404),
    ("::1", 404),
    ("localhost:", 404),
    ("localhost:123456", 404),
    ("localhost, evil.example", 404),
    ("evil.example@localhost", 404),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_only_loopback_names_are_accepted(served: Served, host: str, status: int) -> None:
    assert get(served, host=host).status == status


def test_an_allowed_name_opens_its_own_file_alone(served: Served, clip: Path) -> None:
    with serve(clip, allowed_hosts=["Hub.example", "192.0.2.7"]) as allowed:
        assert allowed.port == served.port
        for host, status in [("hub.example", 200), ("HUB.example:8443", 200), *HOSTS]:
            assert get(allowed, host=host).status == status
        assert get(allowed, host="192.0.2.7:80").status == 200
        assert get(allowed, host="192.0.2.8").status == 404
        assert get(allowed, host="hub.example", path=urlsplit(allowed.page_url).path).status == 200
        assert get(served, host="hub.example").status == 404


@pytest.mark.parametrize("present", range(8))
def test_a_foreign_host_passes_only_beside_all_the_proxys_fields(
    served: Served, present: int
) -> None:
    fields = [field for bit, field in enumerate(PROXY) if present & 1 << bit]
    reply = get(served, *fields, host="hub.example")
    assert reply.status == (200 if present == 7 else 404)


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "BREW"]
)
def test_other_methods_are_405_whatever_the_path(served: Served, method: str) -> None:
    known = exchange_bytes(served.port, request(served, method=method))
    unknown = exchange_bytes(served.port, request(served, method=method, path="/x/y"))
    if known.startswith(b"HTTP/1.1 400 "):  # the parser's own refusal
        assert method in {"CONNECT", "get", "BREW"}
        return
    assert known.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in known
    assert without_date(known) == without_date(unknown)


def test_a_body_that_comes_with_a_request_is_no_request(served: Served) -> None:
    inside = request(served, path="/smuggled")
    sent = request(served, f"Content-Length: {len(inside)}", method="POST") + inside
    got = exchange_bytes(served.port, sent)
    assert got.count(b"HTTP/1.1 ") == 1
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(request(served, f"Content-Length: {len(inside)}") + inside + request(served))
        assert [read_reply(file).status, read_reply(file).status] == [200, 200]


def head(line: bytes = b"GET /secret HTTP/1.1", *fields: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: localhost", *fields]) + b"\r\n\r\n"


MALFORMED = [
    b"garbage\r\n\r\n",
    b"GET /secret HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /secret HTTP/1.1\r\nHost: localhost\r\nhOST: localhost\r\n\r\n",
    b"GET /secret HTTP/1.1\r\n\r\n",
    b"GET /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    head(b"GET /secret HTTP/1.1", b"Content-Length: 1", b"Content-Length: 2"),
    head(b"GET /secret HTTP/1.1", b"Content-Length: +1"),
    head(b"GET /secret HTTP/1.1", b"Content-Length: 1, 1"),
    head(b"GET /secret HTTP/1.1", b"Content-Length: 99999999999999999999999"),
    head(b"GET /secret HTTP/1.1", b"Transfer-Encoding: gzip"),
    head(b"GET /secret HTTP/1.1", b"Transfer-Encoding: chunked, chunked"),
    head(b"GET /secret HTTP/1.0", b"Transfer-Encoding: chunked"),
    head(b"GET /secret HTTP/1.1", b"X: a\x00b"),
    head(b"GET /secret HTTP/1.1", b"X: a\x01b"),
    head(b"GET /secret HTTP/1.1", b"X: a\rb"),
    head(b"GET /secret HTTP/1.1", b"X: a\nY: b"),
    head(b"GET /secret HTTP/1.1", b"X(secret): a"),
    head(b"GET /secret HTTP/1.1", b": a"),
    b"GET /secret HTTP/1.1\nHost: localhost\n\n",
    b"GET /sec\x01ret HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /sec\xe9ret HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /secret HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
    b"GET /secret HTTP/1.1\r\n Host: localhost\r\n\r\n",
    b"GET /secret HTTP/1.1\r\nHost : localhost\r\n\r\n",
    head(b"GET  /secret HTTP/1.1"),
    head(b"GET\t/secret HTTP/1.1"),
    head(b"GET /secret  HTTP/1.1"),
    head(b"GET /secret HTTP/1.1 "),
    head(b"GET /sec ret HTTP/1.1"),
    head(b"GET /secret HTTP/9.9"),
    head(b"GET /secret HTTP/1.2"),
    head(b"GET /secret http/1.1"),
    head(b"GET /secret"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
]
TOO_LARGE = [
    (431, head(b"GET /secret HTTP/1.1", b"Cookie: secret=" + b"y" * 65_536)),
    (431, head(b"GET /secret HTTP/1.1", *[b"X: y"] * 500)),
    (431, b"GET /secret HTTP/1.1\r\nCookie: " + b"y" * 70_000),
    (414, head(b"GET /" + b"s" * 20_000 + b" HTTP/1.1")),
    (414, b"GET /" + b"s" * 20_000),
]


def send_in_steps(port: int, sent: bytes, step: int = 1) -> bytes:
    """Send bytes in small pieces, while the server reads them, and return what comes back."""
    with connect(port) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            try:
                made.sendall(sent[start : start + step])
            except ConnectionError:  # refused before the end
                break
        return rest_of(made)


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_no_request_is_400_and_repeats_nothing(
    served: Served, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    got = exchange_bytes(served.port, sent)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert got.endswith(b"\r\n\r\nBad Request.\n")
    assert b"\r\nConnection: close\r\n" in got
    assert b"secret" not in got
    assert without_date(send_in_steps(served.port, sent)) == without_date(got)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert get(served).status == 200


@pytest.mark.parametrize(("status", "sent"), TOO_LARGE)
def test_a_head_that_is_too_large_is_refused_and_not_repeated(
    served: Served, status: int, sent: bytes
) -> None:
    got = exchange_bytes(served.port, sent)
    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in got
    assert b"secret" not in got
    assert without_date(send_in_steps(served.port, sent, step=97)) == without_date(got)


@pytest.mark.parametrize("step", [97, 70_000])
def test_the_cookies_of_a_shared_localhost_break_nothing(served: Served, step: int) -> None:
    """Every program on localhost sets cookies that the browser sends to all of them."""
    cookies = f"Cookie: {'a=b; ' * 4_000}"  # 20 kB
    sent = request(served, "Range: bytes=0-9", cookies, "Connection: close")
    got = send_in_steps(served.port, sent, step)
    assert got.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    largest = request(served, f"Cookie: {'c' * 64_000}", "Connection: close", method="HEAD")
    assert send_in_steps(served.port, largest, step).startswith(b"HTTP/1.1 200 OK\r\n")


def test_empty_lines_before_a_request_are_ignored(served: Served) -> None:
    """RFC 9112 section 2.2."""
    sent = b"\r\n" * 5_000 + request(served, "Range: bytes=0-9", "Connection: close")
    for step in 1, 10_001, 100_000:
        assert b" 206 " in send_in_steps(served.port, sent, step)[:20]


def test_an_upgrade_is_ignored_and_the_connection_closed(served: Served) -> None:
    fields = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAA"
    got = exchange_bytes(
        served.port, request(served, "Range: bytes=0-9", *fields) + b"PRI * HTTP/2.0"
    )
    assert got.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert b"\r\nConnection: close\r\n" in got
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("Content-Length: 1000000", b"x" * 1_000_000),
        ("Transfer-Encoding: chunked", b"5\r\nabcde\r\n0\r\n\r\n"),
        ("Content-Length: 5\r\nExpect: 100-continue", b""),
    ],
)
def test_behind_a_body_that_is_not_skipped_the_connection_closes(
    served: Served, field: str, body: bytes
) -> None:
    got = exchange_bytes(
        served.port, request(served, "Range: bytes=0-9", field) + body + request(served)
    )
    assert got.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert b"\r\nConnection: close\r\n" in got
    assert got.count(b"HTTP/1.1 ") == 1


def test_a_body_is_skipped_byte_by_byte_too(served: Served) -> None:
    inside = request(served, path="/smuggled")
    sent = request(served, f"Content-Length: {len(inside)}", "Range: bytes=0-9") + inside
    got = send_in_steps(served.port, sent + request(served, "Connection: close", method="HEAD"))
    assert re.findall(rb"HTTP/1\.1 ([0-9]{3})", got) == [b"206", b"200"]


@pytest.mark.parametrize("step", [1, 61, 10**6])
def test_requests_that_differ_in_their_range_only_get_their_own_ranges(
    served: Served, clip: Path, step: int
) -> None:
    data = clip.read_bytes()
    ranges = ["0-9", "10-19", "100-", "100-199", "5-2", "99999999-", "7-7", "7-7"]
    others = [
        request(served, "Range: bytes=1-4", "Range: bytes=6-7"),
        request(served, "Range: bytes=1-4", "X: y"),
        request(served, "Range: bytes=-3"),
    ]
    sent = [request(served, f"Range: bytes={each}", "Accept: */*") for each in ranges]
    sent += [*others, sent[0], request(served, "Range: bytes=0-9", path="/none"), sent[1]]
    sent.append(request(served, "Range: bytes=3-5", "Connection: close"))
    raw = send_in_steps(served.port, b"".join(sent), step)
    file = io.BytesIO(raw)
    replies = [read_reply(file) for _ in sent]
    assert not file.read()
    assert [reply.status for reply in replies[:8]] == [206, 206, 206, 206, 200, 416, 206, 206]
    bodies = [data[:10], data[10:20], data[100:], data[100:200], data, b"", data[7:8], data[7:8]]
    assert [reply.body for reply in replies[:8]] == bodies
    assert (replies[8].status, replies[8].body) == (200, data)  # two fields join: malformed
    assert [reply.body for reply in replies[9:12]] == [data[1:5], data[-3:], data[:10]]
    assert replies[12].status == 404
    assert [reply.body for reply in replies[13:]] == [data[10:20], data[3:6]]


def test_a_repeated_request_for_a_closed_file_is_a_404(clip: Path) -> None:
    with serve(clip) as served, connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(request(served, "Range: bytes=0-9"))
        assert read_reply(file).status == 206
        served.close()
        made.sendall(request(served, "Range: bytes=5-9"))
        assert read_reply(file).status == 404


def test_a_client_that_pipelines_without_reading_is_bounded(served: Served) -> None:
    """What is not responded to yet waits in the client's own buffers."""
    one = request(served, "Range: bytes=0-60000")
    with connect(served.port, SO_RCVBUF=16_384, SO_SNDBUF=16_384) as made:
        made.settimeout(0)
        sent = 0
        for _ in range(200):
            try:
                sent += made.send(one * 500)
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 8 * MIB
        (paused,) = [each for each in transports(served) if not each.is_reading()]
        assert paused.get_write_buffer_size() < MIB
        assert get(served).status == 200


def test_many_pipelined_requests_before_a_half_close_all_get_a_response(served: Served) -> None:
    with connect(served.port) as made, made.makefile("rb") as file:
        made.sendall(request(served, "Range: bytes=0-9") * 500)
        made.shutdown(socket.SHUT_WR)
        assert [read_reply(file).status for _ in range(500)] == [206] * 500
        assert file.read() == b""


def test_a_half_closed_connection_that_reads_slowly_gets_all_and_is_closed_once(
    served: Served,
) -> None:
    with connect(served.port, SO_RCVBUF=16384) as made:
        made.sendall(request(served, "Range: bytes=0-65535") * 60)
        made.shutdown(socket.SHUT_WR)
        wait_until(lambda: any(one.get_write_buffer_size() for one in transports(served)))
        received = b"".join(iter(lambda: made.recv(8192), b""))
    assert received.count(b"HTTP/1.1 206 ") == 60
    wait_until(lambda: not connections(served))


def test_every_response_has_the_security_fields(served: Served) -> None:
    page_path = urlsplit(served.page_url).path
    for reply in (
        get(served),
        get(served, "Range: bytes=0-0"),
        get(served, path=page_path),
        get(served, path="/"),
        get(served, method="OPTIONS"),
    ):
        assert reply.fields["x-content-type-options"] == "nosniff"
        assert reply.fields["referrer-policy"] == "no-referrer"
        assert reply.fields["cross-origin-resource-policy"] == "cross-origin"
        assert "server" not in reply.fields
        assert "access-control-allow-credentials" not in reply.fields


@pytest.mark.parametrize("origin", ["https://hub.example", "http://localhost:8888", "null"])
def test_only_the_requesting_origin_may_read(served: Served, origin: str) -> None:
    for fields in (), ("Range: bytes=0-9",):
        reply = get(served, f"Origin: {origin}", *fields)
        assert reply.fields["access-control-allow-origin"] == origin
        assert reply.fields["vary"] == "Origin"
        assert "Content-Range" in reply.fields["access-control-expose-headers"]
    assert "access-control-allow-origin" not in get(served, f"Origin: {origin}", path="/").fields


def test_without_an_origin_there_is_no_grant_but_a_vary(served: Served) -> None:
    for fields in (), ("Origin: a b",), (f"Origin: {'x' * 600}",):
        reply = get(served, *fields)
        assert reply.status == 200
        assert "access-control-allow-origin" not in reply.fields
        assert reply.fields["vary"] == "Origin"


def test_a_preflight_for_a_range_is_granted_without_a_body(served: Served) -> None:
    reply = get(
        served,
        "Origin: https://hub.example",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: range",
        method="OPTIONS",
    )
    assert reply.status == 204
    assert reply.fields["access-control-allow-origin"] == "https://hub.example"
    assert reply.fields["access-control-allow-methods"] == "GET, HEAD"
    assert "Range" in reply.fields["access-control-allow-headers"].split(", ")
    assert "content-length" not in reply.fields
    assert get(served, method="OPTIONS", path="/").status == 404
    assert get(served, method="OPTIONS", path="*").status == 404


# --- the page


def test_the_page_shows_the_file_and_fetches_nothing_else(served: Served) -> None:
    reply = get(served, path=urlsplit(served.page_url).path)
    assert reply.status == 200
    assert reply.fields["content-type"] == "text/html; charset=utf-8"
    html = reply.body.decode()
    assert "<title>my clip #1.mp4</title>" in html
    (source,) = re.findall(r'<video controls autofocus [^>]*data-source="([^"]+)"', html)
    assert source == ".." + urlsplit(served.url).path
    assert_closed(reply)
    assert get(served, path=urlsplit(served.page_url).path, method="HEAD").body == b""


def test_the_page_has_the_deliveries_and_the_problem_of_the_file(tmp_path: Path) -> None:
    """Those of the version that is served now, without the folder that it is in."""
    for name, kinds, problem in (
        ("h264.mkv", ["remux", "transcode"], ""),
        ("h264.mp4", ["direct", "remux", "transcode"], ""),
        ("no film.mp4", ["direct"], "no film.mp4 is text"),
    ):
        path = tmp_path / name
        path.write_bytes(numbered(name).read_bytes() if not problem else b"not a film " * 100)
        with serve(path) as served:
            reply = get(served, path=urlsplit(served.page_url).path)
        html = reply.body.decode()
        (found,) = re.findall(r'data-deliveries="([^"]*)"', html)
        assert [one["kind"] for one in json.loads(unescape(found))] == kinds
        (sentence,) = re.findall(r'data-problem="([^"]*)"', html)
        assert sentence.startswith(problem)
        assert bool(sentence) == bool(problem)
        assert str(tmp_path) not in html


def assert_closed(reply: Reply) -> None:
    """A page has its own script and style only, and loads nothing from elsewhere."""
    html = reply.body.decode()
    for scheme in "http:", "https:", '="//', "@import":
        assert scheme not in html
    policy = reply.fields["content-security-policy"]
    assert policy.startswith("default-src 'none'; media-src 'self' blob:; connect-src 'self'; ")
    assert "unsafe" not in policy
    for tag in "style", "script":
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert " on" not in "".join(re.findall(r"<[a-z][^>]*>", html))  # no handler in a tag
    assert reply.fields["cache-control"] == "no-store"


def test_a_hostile_file_name_stays_text() -> None:
    name = '"><script>alert(1)</script>${x}.mp4'
    item = page.FolderItem(name, "../t/x.mp4", "../p/", 5)
    for made in (
        page.player(name, "../t/x.mp4", 5, back='"><script>', deliveries=[], problem=name),
        page.index(name, [(name, [item])], left_out=name),
    ):
        html = made.html.decode()
        assert html.count("<script") == html.count("</script") == 1
        assert "&quot;&gt;&lt;script&gt;" in html


# --- many clients, bad clients, changing files


def stalled(served: Served, *fields: str) -> socket.socket:
    """Request everything, read the head and no more."""
    made = connect(served.port, SO_RCVBUF=16_384)
    made.sendall(request(served, *fields))
    assert made.recv(12) == b"HTTP/1.1 200"
    return made


def test_twenty_stalled_clients_block_no_other(film: Served, served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(stalled(film))
        for _ in range(20):
            assert get(served, "Range: bytes=0-65535").status == 206
        assert len(get(film).body) == 24 * MIB


def test_a_stalled_client_continues_where_it_was(film: Served, tmp_path: Path) -> None:
    with connect(film.port, SO_RCVBUF=16_384) as made, made.makefile("rb") as file:
        made.sendall(request(film))
        time.sleep(0.5)
        assert read_reply(file).body == (tmp_path / "film.mp4").read_bytes()


def test_a_hundred_aborted_clients_leave_no_descriptor(film: Served) -> None:
    get(film, "Range: bytes=0-0")
    before = descriptors()
    for turn in range(100):
        made = stalled(film)
        if turn % 2:  # a reset instead of an orderly end
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        made.close()
    wait_until(lambda: descriptors() <= before)
    wait_until(lambda: not film._resource.running)
    wait_until(lambda: not connections(film))


def test_clients_that_leave_are_not_logged(film: Served, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        stalled(film).close()
        connect(film.port).close()
    assert get(film).status == 200
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_eight_clients_at_once_get_the_right_bytes(film: Served, tmp_path: Path) -> None:
    content = (tmp_path / "film.mp4").read_bytes()
    wrong: list[int] = []

    def read(start: int) -> None:
        reply = get(film, f"Range: bytes={start}-")
        if reply.body != content[start:]:
            wrong.append(start)

    readers = [threading.Thread(target=read, args=(number * MIB,)) for number in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []


def rest_of(made: socket.socket) -> bytes:
    received = b""
    try:
        while data := made.recv(1 << 20):
            received += data
    except ConnectionResetError:
        pass
    return received


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    film: Served, tmp_path: Path
) -> None:
    with connect(film.port, SO_RCVBUF=16_384) as made:
        made.sendall(request(film) + request(film))
        time.sleep(0.2)
        os.truncate(tmp_path / "film.mp4", 12 * MIB)
        received = rest_of(made)
    assert received.count(b"HTTP/1.1 ") == 1
    assert len(received) < 13 * MIB


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more" * MIB)


def change_in_place(path: Path) -> None:
    """Change bytes that were sent already, as a muxer does with its header at the end."""
    with path.open("r+b") as file:
        file.write(b"new")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [append, change_in_place, os.utime, lambda path: path.chmod(0o600), Path.unlink],
    ids=["append", "rewrite", "touch", "chmod", "unlink"],
)
def test_a_file_that_keeps_its_promised_bytes_is_sent_to_the_promised_length(
    film: Served, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """A response in progress goes on; the next one describes the file as it is then."""
    path = tmp_path / "film.mp4"
    content = path.read_bytes()
    with connect(film.port, SO_RCVBUF=16_384) as made, made.makefile("rb") as file:
        made.sendall(request(film))
        time.sleep(0.2)  # the socket buffers are full, and most of the file is not sent
        change(path)
        old = read_reply(file)
        # sendfile copies nothing, so a rewrite shows in bytes that lie in the socket's buffer.
        assert (old.status, old.body[3:]) == (200, content[3:])
        if change is not Path.unlink:
            made.sendall(request(film))
            new = read_reply(file)
            assert (new.status, new.body) == (200, path.read_bytes())
            is_same = path.stat().st_mtime_ns == int(old.fields["etag"].split("-")[1], 16)
            assert (new.fields["etag"] == old.fields["etag"]) is is_same


def test_a_recording_in_progress_is_served_at_its_size_of_each_request(
    film: Served, tmp_path: Path
) -> None:
    """The file grows during each response, also by more than the socket buffers hold."""
    path = tmp_path / "film.mp4"
    is_over = threading.Event()

    def record() -> None:
        with path.open("ab", buffering=0) as file:
            while not is_over.wait(0.001):
                file.write(os.urandom(4096))

    def has_grown(than_bytes: int) -> bool:
        return path.stat().st_size > than_bytes

    recording = threading.Thread(target=record)
    recording.start()
    wait_until(partial(has_grown, 24 * MIB))
    replies = []
    try:
        for fields in [(), ("Range: bytes=0-",), ("Range: bytes=-100000",), ("Range: bytes=0-9",)]:
            replies.append(get(film, *fields))
            wait_until(partial(has_grown, path.stat().st_size))
    finally:
        is_over.set()
        recording.join()
    content = path.read_bytes()
    whole, ranged, end, start = replies
    assert whole.body == content[: len(whole.body)]
    assert ranged.body == content[: len(ranged.body)]
    assert 24 * MIB < len(whole.body) < len(ranged.body) < len(content)
    total = int(end.fields["content-range"].rpartition("/")[2])
    assert end.body == content[total - 100_000 : total]
    assert start.body == content[:10]
    assert len({reply.fields["etag"] for reply in replies}) == 4


@pytest.mark.parametrize("size_bytes", [0, 24 * MIB - 1])
def test_a_file_that_is_one_byte_shorter_than_promised_ends_the_connection(
    film: Served, tmp_path: Path, size_bytes: int
) -> None:
    """Also where the missing byte is not among those of the response."""
    with connect(film.port, SO_RCVBUF=16_384) as made:
        made.sendall(request(film, f"Range: bytes=0-{24 * MIB - 2}"))
        time.sleep(0.2)
        os.truncate(tmp_path / "film.mp4", size_bytes)
        assert len(rest_of(made)) < 24 * MIB - 2


def test_a_file_replaced_by_a_rename_goes_on_with_its_old_bytes(
    film: Served, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    content = path.read_bytes()
    with connect(film.port, SO_RCVBUF=16_384) as made, made.makefile("rb") as file:
        made.sendall(request(film))
        time.sleep(0.2)
        other = tmp_path / "other"
        other.write_bytes(b"the new film")
        other.replace(path)
        new = get(film)
        assert (new.status, new.body) == (200, b"the new film")
        old = read_reply(file)
        assert old.body == content
        assert old.fields["etag"] != new.fields["etag"]


def test_a_removed_file_is_a_404_until_it_exists_again(served: Served, clip: Path) -> None:
    assert get(served).status == 200
    content = clip.read_bytes()
    clip.unlink()
    assert get(served).body == b"Not Found.\n"
    clip.write_bytes(content)
    assert get(served).body == content


# --- sources that are no files, or fail


class Scripted:
    """A source, and its one version, whose reads are scripted."""

    name = "scripted.mp4"
    media_type = "video/mp4"
    validator = ETag("1", weak=False)
    modified_s = 0.0

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size_bytes = len(content)
        self.open = 0
        self.whole = True
        self.failure: Exception | None = None
        self.give = self.size_bytes

    async def version(self) -> "Scripted":
        self.open += 1
        return self

    def stored(self, byte_range: ByteRange) -> ByteRange:
        return byte_range

    async def read(self, byte_range: ByteRange) -> bytes:
        await asyncio.sleep(0)
        if self.failure is not None and byte_range.start > 0:
            raise self.failure
        return self.content[byte_range.start : min(byte_range.stop, self.give)]

    def intact(self) -> bool:
        return self.whole

    def close(self) -> None:
        self.open -= 1


@pytest.fixture
def scripted(served: Served) -> Iterator[tuple[Scripted, Served]]:
    source = Scripted(os.urandom(3 * MIB))
    entry = FileResource(source)
    server.running_server().registry.add(entry)
    yield (
        source,
        Served(
            url=f"http://127.0.0.1:{served.port}/{entry.path}",
            page_url=f"http://127.0.0.1:{served.port}/{entry.page_token}/",
            name=source.name,
            size_bytes=source.size_bytes,
            media_type=source.media_type,
            port=served.port,
            _resource=entry,
            _server=served._server,
        ),
    )
    server.running_server().registry.remove(entry)


def test_a_source_without_a_descriptor_is_read_and_sent(
    scripted: tuple[Scripted, Served],
) -> None:
    source, at = scripted
    assert get(at).body == source.content
    assert get(at, "Range: bytes=5-").body == source.content[5:]
    wait_until(lambda: source.open == 0)


def test_short_reads_end_the_connection(scripted: tuple[Scripted, Served]) -> None:
    source, at = scripted
    for give in 0, 10, 65_536, MIB, source.size_bytes - 1:
        source.give = give
        received = exchange_bytes(at.port, request(at) + request(at))
        assert received.count(b"HTTP/1.1 ") <= 1
        assert len(received) <= give + 1000
    wait_until(lambda: source.open == 0)


def test_a_version_that_is_no_longer_intact_ends_the_connection(
    scripted: tuple[Scripted, Served],
) -> None:
    source, at = scripted
    source.whole = False
    assert exchange_bytes(at.port, request(at, "Range: bytes=0-9")) == b""
    assert len(exchange_bytes(at.port, request(at))) < 1000
    assert get(at, method="HEAD").status == 200


def test_a_client_that_leaves_ends_a_response_that_waits_for_its_source(
    scripted: tuple[Scripted, Served],
) -> None:
    source, at = scripted

    async def wait_for_ever(_: ByteRange) -> bytes:
        await asyncio.Event().wait()
        return b""

    source.read = wait_for_ever  # type: ignore[method-assign,assignment]  # scripted further
    with connect(at.port) as made:
        made.sendall(request(at, "Range: bytes=0-9"))
        wait_until(lambda: source.open == 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: source.open == 0)


def test_a_disk_that_fails_ends_the_connection_and_is_logged(
    scripted: tuple[Scripted, Served], caplog: pytest.LogCaptureFixture
) -> None:
    source, at = scripted
    source.failure = OSError(5, "Input/output error")
    assert len(exchange_bytes(at.port, request(at))) < MIB
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == [
        "A response failed; the connection was closed."
    ]
    assert at.url not in caplog.text


def test_without_sendfile_the_bytes_are_read(
    film: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sendfile")
    assert get(film).body == (tmp_path / "film.mp4").read_bytes()


def test_a_sendfile_that_finds_no_more_ends_the_connection(
    film: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    assert len(exchange_bytes(film.port, request(film))) < 1000


def test_a_sendfile_that_finds_no_more_after_waiting_ends_the_connection(
    film: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[BlockingIOError | int] = [BlockingIOError(), BlockingIOError(), 0]

    def sendfile(*_: object) -> int:
        result = results.pop(0)
        if isinstance(result, BlockingIOError):
            raise result
        return result

    monkeypatch.setattr(os, "sendfile", sendfile)
    assert len(exchange_bytes(film.port, request(film))) < 1000
    assert results == []


def test_a_file_system_without_sendfile_is_read(
    film: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sendfile(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", sendfile)
    assert get(film).body == (tmp_path / "film.mp4").read_bytes()


def test_a_disk_is_waited_for_off_the_loop(
    film: Served, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file read from a slow disk does not delay the seeks in others."""
    monkeypatch.setattr(OpenFile, "read_cached", lambda *_: 0)
    reading, go_on = threading.Event(), threading.Event()
    real = OpenFile._fetch

    def fetch(self: OpenFile, byte_range: ByteRange) -> None:
        reading.set()
        assert go_on.wait(DEADLINE_S)
        real(self, byte_range)

    monkeypatch.setattr(OpenFile, "_fetch", fetch)
    reader = threading.Thread(target=get, args=(film,))
    reader.start()
    try:
        assert reading.wait(DEADLINE_S)
        for _ in range(20):
            assert get(served, method="HEAD").status == 200
        assert reader.is_alive()
    finally:
        go_on.set()
        reader.join()


# --- limits


def test_a_connection_without_a_whole_request_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 0.3)
    for sent in b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local":
        with connect(served.port) as made:
            made.sendall(sent)
            began_s = time.monotonic()
            assert made.recv(100) == b""
            assert time.monotonic() - began_s > 0.2


def is_cut_off(made: socket.socket, sent: bytes) -> bool:
    try:
        made.sendall(sent)
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("after_a_response", [False, True])
def test_a_head_that_drips_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch, after_a_response: bool
) -> None:
    """A byte now and then keeps no connection open: the deadline is for the whole head."""
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 0.4)
    with connect(served.port) as made, made.makefile("rb") as file:
        if after_a_response:
            made.sendall(request(served, "Range: bytes=0-9"))
            assert read_reply(file).status == 206
        made.sendall(b"GET /x HTTP/1.1\r\n")
        wait_until(lambda: is_cut_off(made, b"X"))


def test_a_paused_player_is_not_idle(
    film: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 0.1)
    with connect(film.port, SO_RCVBUF=16_384) as made, made.makefile("rb") as file:
        made.sendall(request(film))
        time.sleep(0.8)
        assert read_reply(file).body == (tmp_path / "film.mp4").read_bytes()


def test_connections_beyond_the_limit_are_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: not connections(served))
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        kept = [stack.enter_context(connect(served.port)) for _ in range(3)]
        for made in kept:
            made.sendall(request(served, method="HEAD"))
            assert made.recv(12) == b"HTTP/1.1 200"
        with connect(served.port) as beyond, closing(beyond):
            assert rest_of(beyond) == b""
    wait_until(lambda: get_quietly(served) == 200)


def get_quietly(served: Served) -> int:
    try:
        return get(served, method="HEAD").status
    except (AssertionError, ConnectionError):
        return 0


# --- closing


def test_closing_frees_the_url_at_once_and_cancels_responses(film: Served, served: Served) -> None:
    get(served)
    before = descriptors()
    with stalled(film) as reader, connect(film.port) as kept, kept.makefile("rb") as file:
        kept.sendall(request(film, "Range: bytes=0-9"))
        assert read_reply(file).status == 206
        film.close()
        film.close()
        assert len(rest_of(reader)) < 24 * MIB
        kept.sendall(request(film, "Range: bytes=0-9"))
        assert read_reply(file).status == 404
        assert get(film, path=urlsplit(film.page_url).path).status == 404
    assert get(served).status == 200
    wait_until(lambda: descriptors() <= before)


def test_a_forked_child_releases_every_socket_of_the_server(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    detach: list[int] = []
    monkeypatch.setattr(loop, "detach", detach.extend)
    with connect(served.port):
        wait_until(lambda: connections(served) == 1)
        child = server._Process(servers={"127.0.0.1": served._server})
        child.forget()
    assert child.servers == {}
    assert len(detach) == len(set(detach)) == 2  # the listener and the connection
    assert served._server._listener.fileno() in detach
    server._Process().forget()


def test_a_block_closes_at_its_end(clip: Path) -> None:
    with serve(clip) as served:
        assert get(served).status == 200
    assert get(served).status == 404
    with pytest.raises(ZeroDivisionError), serve(clip) as served:
        _ = 1 // 0
    assert get(served).status == 404


def test_closing_works_on_the_servers_own_loop(served: Served) -> None:
    async def close() -> None:
        served.close()

    loop.server.run(close())
    assert get(served).status == 404


def test_the_client_of_the_standard_library_works(served: Served, clip: Path) -> None:
    with closing(
        http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    ) as client:
        for first in 0, 1000, 200_000:
            client.request("GET", urlsplit(served.url).path, headers={"Range": f"bytes={first}-"})
            reply = client.getresponse()
            assert reply.status == 206
            assert reply.read() == clip.read_bytes()[first:]


def test_debug_logging_names_the_file_and_not_its_url(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="vidnb"):
        get(served, "Range: bytes=0-9")
    assert "GET 'my clip #1.mp4': 206" in caplog.messages
    assert urlsplit(served.url).path.split("/")[1] not in caplog.text


def test_a_whole_file_goes_out_in_bounded_pieces(
    film: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fast client never blocks the loop: each call of sendfile sends a bounded piece."""
    pieces: list[int] = []
    real = os.sendfile

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        pieces.append(count)
        return real(out, file, offset, count)

    monkeypatch.setattr(os, "sendfile", sendfile)
    assert len(get(film).body) == 24 * MIB
    assert max(pieces) == response_writer.PIECE_BYTES == 2 * MIB


# --- what a page says about its file


def test_the_page_shows_the_present_size(served: Served, clip: Path) -> None:
    path = urlsplit(served.page_url).path
    assert format_bytes(255_849) in get(served, path=path).body.decode()
    clip.write_bytes(b"x" * 5_000_000)
    html = get(served, path=path).body.decode()
    assert format_bytes(5_000_000) in html
    assert format_bytes(255_849) not in html
    clip.unlink()
    assert get(served, path=path).status == 404
