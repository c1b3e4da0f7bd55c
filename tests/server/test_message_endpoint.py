"""Messages from a page: which are accepted, and which status the sender gets."""

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deadline import DEADLINE_S, wait_until
from vidnb.server import message_endpoint, protocol
from vidnb.server.message_endpoint import (
    MESSAGE_BYTES,
    MessageEndpoint,
)
from vidnb.server.server import running_server, serve

ORIGIN = "http://localhost:8888"


class Endpoint:
    """A registered endpoint, and the messages that it handled."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.made = MessageEndpoint(self._handle)
        self.made.expect("state")
        server = running_server()
        self.registry = server.registry
        self.registry.add(self.made)
        self.port = server.port

    def _handle(self, name: str, data: bytes) -> None:
        json.loads(data)
        self.messages.append((name, data))

    def send(
        self,
        method: str,
        name: str,
        body: bytes = b"",
        *fields: str,
        host: str = "",
        path: str = "",
        length: str | None = None,
    ) -> str:
        """Return the whole response to one request."""
        lines = [
            f"{method} /{path or self.made.path}{name} HTTP/1.1",
            f"Host: {host or f'127.0.0.1:{self.port}'}",
            "Connection: close",
            *fields,
        ]
        if length is None and body:
            length = str(len(body))
        if length:
            lines.append(f"Content-Length: {length}")
        data = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        with closing(
            socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        ) as sock:
            sock.sendall(data)
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.registry.remove(made.made)
    made.registry.remove(made.made)


def post(endpoint: Endpoint) -> str:
    """Return the first lines of a message."""
    return f"POST /{endpoint.made.path}state HTTP/1.1\r\nHost: localhost\r\n"


def status(response: str) -> int:
    return int(response.split()[1])


def test_a_message_is_handled_and_the_origin_may_read_the_status(
    endpoint: Endpoint,
) -> None:
    response = endpoint.send("POST", "state", b'{"v": 1}', f"Origin: {ORIGIN}")
    assert status(response) == 204
    assert f"\r\nAccess-Control-Allow-Origin: {ORIGIN}\r\n" in response
    assert "Allow-Credentials" not in response
    assert "Set-Cookie" not in response
    assert "\r\nVary: Origin\r\n" in response
    assert "Access-Control" not in endpoint.send("POST", "state", b"{}")
    assert endpoint.messages == [("state", b'{"v": 1}'), ("state", b"{}")]


def test_many_messages_go_over_one_connection(endpoint: Endpoint) -> None:
    one = f"{post(endpoint)}Content-Length: 2\r\n\r\n{{}}"
    with closing(
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=DEADLINE_S)
    ) as sock:
        for n in range(1, 4):
            sock.sendall(one.encode())
            while not sock.recv(65536).endswith(b"\r\n\r\n"):
                pass
            assert len(endpoint.messages) == n


def test_the_server_itself_responds_to_a_ping(endpoint: Endpoint) -> None:
    response = endpoint.send("GET", "ping", b"", f"Origin: {ORIGIN}")
    assert status(response) == 200
    assert response.endswith("\r\n\r\nvidnb\n")
    assert f"Access-Control-Allow-Origin: {ORIGIN}" in response
    assert "Cache-Control: no-store" in response
    assert endpoint.send("HEAD", "ping").endswith("\r\n\r\n")


def test_a_preflight_is_granted(endpoint: Endpoint) -> None:
    response = endpoint.send("OPTIONS", "state", b"", f"Origin: {ORIGIN}")
    assert status(response) == 204
    assert "Access-Control-Allow-Methods: GET, HEAD, POST" in response
    assert "Access-Control-Allow-Headers: Content-Type" in response


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [("GET", "state", 405), ("PUT", "state", 405), ("POST", "ping", 405), ("DELETE", "ping", 405),
     ("POST", "picture", 404), ("POST", "", 404), ("GET", "", 404), ("POST", "state/more", 404)],
)  # fmt: skip
def test_other_methods_and_names_are_refused(
    endpoint: Endpoint, method: str, name: str, expected: int
) -> None:
    response = endpoint.send(method, name, b"{}")
    assert status(response) == expected
    assert ("\r\nAllow: " in response) == (expected == 405)
    assert endpoint.messages == []


def test_an_unknown_url_is_a_404_without_more(endpoint: Endpoint) -> None:
    for path in ("~/", "~/x/", "~//", endpoint.made.path.replace("/", "x", 1)):
        response = endpoint.send("POST", "state", b"{}", f"Origin: {ORIGIN}", path=path)
        assert status(response) in {404, 405}
        assert "Access-Control" not in response
    endpoint.registry.remove(endpoint.made)
    assert status(endpoint.send("POST", "state", b"{}")) == 404
    assert status(endpoint.send("GET", "ping")) == 404
    assert endpoint.messages == []


def test_a_foreign_host_is_refused(endpoint: Endpoint) -> None:
    assert status(endpoint.send("GET", "ping", host="evil.example")) == 404
    assert status(endpoint.send("POST", "state", b"{}", host="evil.example")) == 404
    assert endpoint.messages == []
    proxied = [f"{name}: /p" for name in ("X-Forwarded-Context", "X-ProxyContextPath")]
    response = endpoint.send(
        "GET", "ping", b"", *proxied, "X-Forwarded-Prefix: /p", host="hub.example"
    )
    assert status(response) == 200


def test_one_endpoint_may_have_a_further_host_name(endpoint: Endpoint) -> None:
    endpoint.made.hosts = endpoint.made.hosts.with_names(["hub.example"])
    assert status(endpoint.send("GET", "ping", host="hub.example:8000")) == 200
    assert status(endpoint.send("POST", "state", b"{}", host="hub.example")) == 204
    assert status(endpoint.send("GET", "ping", host="evil.example")) == 404
    other = Endpoint()
    assert status(other.send("GET", "ping", host="hub.example")) == 404
    other.registry.remove(other.made)


def test_the_size_of_a_message_is_limited(endpoint: Endpoint) -> None:
    fits = b'"' + b"x" * (MESSAGE_BYTES - 2) + b'"'
    assert status(endpoint.send("POST", "state", fits)) == 204
    assert status(endpoint.send("POST", "state", b"", length=str(MESSAGE_BYTES + 1))) == 413
    chunk = f"{MESSAGE_BYTES + 1:x}\r\n".encode() + fits + b"x\r\n0\r\n\r\n"
    response = endpoint.send("POST", "state", chunk, "Transfer-Encoding: chunked", length="")
    assert status(response) == 413
    assert len(endpoint.messages) == 1


def test_a_larger_message_is_accepted_while_it_is_expected(endpoint: Endpoint) -> None:
    large = b'"' + b"x" * MESSAGE_BYTES + b'"'
    endpoint.made.expect("picture-1", 2 * MESSAGE_BYTES)
    assert status(endpoint.send("POST", "picture-1", large)) == 204
    endpoint.made.refuse("picture-1")
    assert status(endpoint.send("POST", "picture-1", large)) == 404
    assert endpoint.messages == [("picture-1", large)]


def test_a_message_that_makes_no_sense_is_a_400(endpoint: Endpoint) -> None:
    assert status(endpoint.send("POST", "state", b"{")) == 400
    malformed = endpoint.send("POST", "state", b"zz\r\n", "Transfer-Encoding: chunked", length="")
    assert status(malformed) == 400
    assert endpoint.messages == []


def test_a_message_that_never_ends_is_a_408(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "RECEIVE_S", 0.05)
    assert status(endpoint.send("POST", "state", b"{", length="2")) == 408
    assert endpoint.messages == []


def test_the_url_holds_a_secret() -> None:
    first, second = MessageEndpoint(print), MessageEndpoint(print)
    assert first.path != second.path
    assert re.fullmatch(r"~/[\w-]{32}/", first.path)


# --- handlers


def test_a_handler_that_blocks_delays_its_own_messages_only(tmp_path: Path) -> None:
    """The server's loop goes on, and so do other endpoints; the order of the messages is kept."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x" * 300_000)
    begun, go_on = threading.Event(), threading.Event()
    handled: list[bytes] = []

    def handle(_: str, data: bytes) -> None:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        handled.append(data)

    slow, other = Endpoint(), Endpoint()
    slow.made._handle = handle
    statuses: list[int] = []
    senders = []
    with serve(clip) as served:
        try:
            for number in range(message_endpoint.MAX_PENDING + 4):
                waiting = slow.made._room._value
                sender = threading.Thread(
                    target=lambda n=number: statuses.append(
                        status(slow.send("POST", "state", b"%d" % n))
                    )
                )
                sender.start()
                senders.append(sender)
                if waiting:  # until it is read; those beyond the limit are not
                    wait_until(has_room(slow, waiting - 1))
            assert begun.wait(DEADLINE_S)
            wait_until(lambda: len(slow.made._queue) == message_endpoint.MAX_PENDING - 1)
            for start in range(0, 200_000, 1000):
                asked = urllib.request.Request(
                    served.url, headers={"Range": f"bytes={start}-{start + 99}"}
                )
                with urllib.request.urlopen(asked, timeout=DEADLINE_S) as response:
                    assert response.status == 206
                    assert len(response.read()) == 100
            assert status(other.send("POST", "state", b"1")) == 204
            assert handled == []
            assert statuses == []
            assert len(slow.made._queue) == message_endpoint.MAX_PENDING - 1
        finally:
            go_on.set()
        for sender in senders:
            sender.join(30)
    assert statuses == [204] * len(senders)
    # Read in order up to the limit; the others were waiting on connections of their own.
    limit = message_endpoint.MAX_PENDING
    assert handled[:limit] == [b"%d" % number for number in range(limit)]
    assert sorted(handled, key=int) == [b"%d" % number for number in range(len(senders))]
    for each in slow, other:
        each.registry.remove(each.made)


def test_a_large_message_that_had_to_wait_is_read_afterwards(endpoint: Endpoint) -> None:
    begun, go_on = threading.Event(), threading.Event()
    handle = endpoint.made._handle

    def slow(name: str, data: bytes) -> None:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        handle(name, data)

    endpoint.made._handle = slow
    large = b'"' + b"x" * 1_000_000 + b'"'
    endpoint.made.expect("large", 2_000_000)
    statuses: list[int] = []

    def post(name: str, body: bytes) -> None:
        statuses.append(status(endpoint.send("POST", name, body)))

    small = [
        threading.Thread(target=post, args=("state", b"1"))
        for _ in range(message_endpoint.MAX_PENDING)
    ]
    for sender in small:
        sender.start()
    assert begun.wait(DEADLINE_S)
    wait_until(has_room(endpoint, 0))
    waiting = threading.Thread(target=post, args=("large", large))
    waiting.start()
    app = running_server().app
    assert app is not None
    wait_until(lambda: any(not each.transport.is_reading() for each in tuple(app.connections)))
    go_on.set()
    for sender in (*small, waiting):
        sender.join(DEADLINE_S)
    assert statuses == [204] * (len(small) + 1)
    assert endpoint.messages[-1] == ("large", large)


def test_a_message_is_handled_though_its_sender_left(endpoint: Endpoint) -> None:
    begun, go_on = threading.Event(), threading.Event()
    handle = endpoint.made._handle

    def slow(name: str, data: bytes) -> None:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        handle(name, data)

    endpoint.made._handle = slow
    request = f"{post(endpoint)}Content-Length: 1\r\n\r\n"
    for number in range(3):
        with closing(
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=DEADLINE_S)
        ) as sock:
            sock.sendall(request.encode() + b"%d" % number)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert begun.wait(DEADLINE_S)
            wait_until(is_queued(endpoint, number))
    go_on.set()
    wait_until(lambda: len(endpoint.messages) == 3)
    assert endpoint.messages == [("state", b"%d" % number) for number in range(3)]
    wait_until(lambda: endpoint.made._room._value == message_endpoint.MAX_PENDING)


def test_a_handler_that_fails_is_logged_and_a_500(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("no such player")

    endpoint.made._handle = fail
    assert status(endpoint.send("POST", "state", b"1")) == 500
    assert "A message of a page could not be handled" in caplog.text
    assert endpoint.made.path not in caplog.text


def test_a_client_that_expects_100_continue_gets_it(endpoint: Endpoint) -> None:
    head = f"{post(endpoint)}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with (
        closing(socket.create_connection(("127.0.0.1", endpoint.port), timeout=DEADLINE_S)) as sock,
        sock.makefile("rb") as file,
    ):
        sock.sendall(head.encode())
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        sock.sendall(b"{}")
        assert file.readline() == b"HTTP/1.1 204 No Content\r\n"
    assert endpoint.messages == [("state", b"{}")]
    too_large = endpoint.send(
        "POST", "state", b"", "Expect: 100-continue", length=str(MESSAGE_BYTES + 1)
    )
    assert status(too_large) == 413


def test_a_message_may_come_byte_by_byte_and_in_chunks(endpoint: Endpoint) -> None:
    head = post(endpoint)
    for sent in (
        f"{head}Content-Length: 2\r\n\r\n{{}}",
        f"{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n",
    ):
        with closing(
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=DEADLINE_S)
        ) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent.encode():
                sock.sendall(bytes([byte]))
            assert sock.recv(1000).startswith(b"HTTP/1.1 204 ")
    assert endpoint.messages == [("state", b"{}")] * 2


def test_a_token_of_an_endpoint_opens_no_file_and_the_other_way_round(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    token = endpoint.made.path.split("/")[1]
    assert status(endpoint.send("GET", "ping", path=f"{token}/")) == 404
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    with serve(clip) as served:
        path = urlsplit(served.url).path
        assert status(endpoint.send("GET", "", path=f"~{path}")) == 404


def has_room(endpoint: Endpoint, count: int) -> Callable[[], bool]:
    return lambda: endpoint.made._room._value == count


def is_queued(endpoint: Endpoint, count: int) -> Callable[[], bool]:
    return lambda: len(endpoint.made._queue) == count
