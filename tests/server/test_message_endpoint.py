"""Letters from a page: who may put which into a mailbox, and what the sender is told."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.deadline import DEADLINE_S
from vidnb.server import message_endpoint
from vidnb.server.message_endpoint import LETTER_BYTES, MessageEndpoint, message_endpoints
from vidnb.server.server import start_server

ORIGIN = "http://localhost:8888"


class Box:
    """An open mailbox, and what came into it."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, bytes]] = []
        self.box = MessageEndpoint(self._deliver)
        self.box.expect("state")
        message_endpoints.add(self.box)
        self.port = start_server()

    def _deliver(self, name: str, data: bytes) -> None:
        json.loads(data)
        self.letters.append((name, data))

    def say(
        self,
        method: str,
        name: str,
        body: bytes = b"",
        *fields: str,
        host: str = "",
        path: str = "",
        length: str | None = None,
    ) -> str:
        """Return the whole answer to one request."""
        lines = [
            f"{method} /{path or self.box.path}{name} HTTP/1.1",
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
def box() -> Iterator[Box]:
    made = Box()
    yield made
    message_endpoints.remove(made.box)
    message_endpoints.remove(made.box)


def status(answer: str) -> int:
    return int(answer.split()[1])


def test_a_letter_is_delivered_and_the_asking_origin_may_read_that(box: Box) -> None:
    answer = box.say("POST", "state", b'{"v": 1}', f"Origin: {ORIGIN}")
    assert status(answer) == 204
    assert f"\r\nAccess-Control-Allow-Origin: {ORIGIN}\r\n" in answer
    assert "Allow-Credentials" not in answer
    assert "Set-Cookie" not in answer
    assert "\r\nVary: Origin\r\n" in answer
    assert "Access-Control" not in box.say("POST", "state", b"{}")
    assert box.letters == [("state", b'{"v": 1}'), ("state", b"{}")]


def test_many_letters_go_over_one_connection(box: Box) -> None:
    one = f"POST /{box.box.path}state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    with closing(socket.create_connection(("127.0.0.1", box.port), timeout=DEADLINE_S)) as sock:
        for n in range(1, 4):
            sock.sendall(one.encode())
            while not sock.recv(65536).endswith(b"\r\n\r\n"):
                pass
            assert len(box.letters) == n


def test_a_ping_is_answered_by_the_server_itself(box: Box) -> None:
    answer = box.say("GET", "ping", b"", f"Origin: {ORIGIN}")
    assert status(answer) == 200
    assert answer.endswith("\r\n\r\nvidnb\n")
    assert f"Access-Control-Allow-Origin: {ORIGIN}" in answer
    assert "Cache-Control: no-store" in answer
    assert box.say("HEAD", "ping").endswith("\r\n\r\n")


def test_a_browser_may_ask_first(box: Box) -> None:
    answer = box.say("OPTIONS", "state", b"", f"Origin: {ORIGIN}")
    assert status(answer) == 204
    assert "Access-Control-Allow-Methods: GET, HEAD, POST" in answer
    assert "Access-Control-Allow-Headers: Content-Type" in answer


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [("GET", "state", 405), ("PUT", "state", 405), ("POST", "ping", 405), ("DELETE", "ping", 405),
     ("POST", "picture", 404), ("POST", "", 404), ("GET", "", 404), ("POST", "state/more", 404)],
)  # fmt: skip
def test_other_methods_and_names_are_refused(
    box: Box, method: str, name: str, expected: int
) -> None:
    answer = box.say(method, name, b"{}")
    assert status(answer) == expected
    assert ("\r\nAllow: " in answer) == (expected == 405)
    assert box.letters == []


def test_an_unknown_address_is_a_404_without_more(box: Box) -> None:
    for path in ("~/", "~/x/", "~//", box.box.path.replace("/", "x", 1)):
        answer = box.say("POST", "state", b"{}", f"Origin: {ORIGIN}", path=path)
        assert status(answer) in {404, 405}
        assert "Access-Control" not in answer
    message_endpoints.remove(box.box)
    assert status(box.say("POST", "state", b"{}")) == 404
    assert status(box.say("GET", "ping")) == 404
    assert box.letters == []


def test_a_foreign_host_is_refused(box: Box) -> None:
    assert status(box.say("GET", "ping", host="evil.example")) == 404
    assert status(box.say("POST", "state", b"{}", host="evil.example")) == 405
    assert box.letters == []
    proxied = [f"{name}: /p" for name in ("X-Forwarded-Context", "X-ProxyContextPath")]
    answer = box.say("GET", "ping", b"", *proxied, "X-Forwarded-Prefix: /p", host="hub.example")
    assert status(answer) == 200


def test_one_mailbox_may_answer_to_a_further_name(box: Box) -> None:
    box.box.hosts = box.box.hosts.with_names(["hub.example"])
    assert status(box.say("GET", "ping", host="hub.example:8000")) == 200
    assert status(box.say("POST", "state", b"{}", host="hub.example")) == 204
    assert status(box.say("GET", "ping", host="evil.example")) == 404
    other = Box()
    assert status(other.say("GET", "ping", host="hub.example")) == 404
    message_endpoints.remove(other.box)


def test_a_letter_is_bounded(box: Box) -> None:
    fits = b'"' + b"x" * (LETTER_BYTES - 2) + b'"'
    assert status(box.say("POST", "state", fits)) == 204
    assert status(box.say("POST", "state", b"", length=str(LETTER_BYTES + 1))) == 413
    chunk = f"{LETTER_BYTES + 1:x}\r\n".encode() + fits + b"x\r\n0\r\n\r\n"
    answer = box.say("POST", "state", chunk, "Transfer-Encoding: chunked", length="")
    assert status(answer) == 413
    assert len(box.letters) == 1


def test_a_larger_letter_is_taken_while_it_is_expected(box: Box) -> None:
    large = b'"' + b"x" * LETTER_BYTES + b'"'
    box.box.expect("picture-1", 2 * LETTER_BYTES)
    assert status(box.say("POST", "picture-1", large)) == 204
    box.box.refuse("picture-1")
    assert status(box.say("POST", "picture-1", large)) == 404
    assert box.letters == [("picture-1", large)]


def test_a_letter_that_makes_no_sense_is_a_400(box: Box) -> None:
    assert status(box.say("POST", "state", b"{")) == 400
    malformed = box.say("POST", "state", b"zz\r\n", "Transfer-Encoding: chunked", length="")
    assert status(malformed) == 400
    assert box.letters == []


def test_a_letter_that_never_ends_is_a_408(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_endpoint, "RECEIVE_S", 0.05)
    assert status(box.say("POST", "state", b"{", length="2")) == 408
    assert box.letters == []


def test_the_address_holds_a_secret() -> None:
    first, second = MessageEndpoint(print), MessageEndpoint(print)
    assert first.path != second.path
    assert re.fullmatch(r"~/[\w-]{32}/", first.path)
