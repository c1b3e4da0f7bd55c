"""A connection under TLS as a socket that does not block: every byte, every kind of end."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from tests.deadline import DEADLINE_S
from tests.network import localhost_tls
from vidnb.io.tls import TlsSocket, take_tls

DATA = bytes(range(256)) * 1000


@dataclass
class Origin:
    """The other end: its socket, its state, and what the state wants to send."""

    socket: socket.socket
    state: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    def send(self, data: bytes) -> None:
        self.state.write(data)
        self.socket.sendall(self.outgoing.read())

    def receive(self) -> bytes:
        """Return what the client says in plain text."""
        self.incoming.write(self.socket.recv(2**16))
        return self.state.read(2**16)


@dataclass
class Client:
    tls: TlsSocket
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return localhost_tls()


@pytest.fixture
def ends(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[tuple[Origin, Client]]:
    """Both ends of one connection, after the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.settimeout(DEADLINE_S)
    ours.settimeout(0)
    bios = [ssl.MemoryBIO() for _ in range(4)]
    server = contexts[0].wrap_bio(bios[0], bios[1], server_side=True)
    client = contexts[1].wrap_bio(bios[2], bios[3], server_hostname="localhost")
    for _ in range(4):
        for state in (client, server):
            with suppress(ssl.SSLWantReadError):
                state.do_handshake()
            bios[0].write(bios[3].read())
            bios[2].write(bios[1].read())
    with ours, theirs:
        yield (
            Origin(theirs, server, bios[0], bios[1]),
            Client(TlsSocket(ours, client, bios[2], bios[3]), bios[2], bios[3]),
        )


def receive(tls: TlsSocket, size: int) -> bytes:
    """Receive until there are so many bytes, in pieces of no round size."""
    got = b""
    room = memoryview(bytearray(40_001))
    while len(got) < size:
        try:
            filled = tls.recv_into(room)
        except BlockingIOError:
            continue
        assert filled
        got += room[:filled]
    return got


def test_every_byte_in_order(ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    assert client.tls.fileno() > 0
    origin.send(DATA)
    assert receive(client.tls, len(DATA)) == DATA
    with pytest.raises(BlockingIOError):
        client.tls.recv_into(memoryview(bytearray(10)))


def test_what_asyncio_had_received_comes_first(ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    origin.state.write(b"before")
    client.incoming.write(origin.outgoing.read())
    origin.send(b" and after")
    assert receive(client.tls, 16) == b"before and after"


@pytest.mark.parametrize("farewell", [True, False])
def test_the_end_is_no_byte(farewell: bool, ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    origin.send(b"last")
    if farewell:
        with pytest.raises(ssl.SSLWantReadError):
            origin.state.unwrap()
        origin.socket.sendall(origin.outgoing.read())
    origin.socket.close()
    assert receive(client.tls, 4) == b"last"
    room = memoryview(bytearray(10))
    assert client.tls.recv_into(room) == 0
    assert client.tls.recv_into(room) == 0


def test_what_came_before_a_forgery_counts(ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    origin.state.write(b"true")
    record = bytearray()
    true = origin.outgoing.read()
    origin.state.write(b"forged")
    record += origin.outgoing.read()
    record[-1] ^= 1
    client.incoming.write(true + record)
    room = memoryview(bytearray(10))
    assert client.tls.recv_into(room) == 4
    assert bytes(room[:4]) == b"true"
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            client.tls.recv_into(room)


def test_the_protocol_answers(ends: tuple[Origin, Client]) -> None:
    """New keys are asked for by the origin and are to be answered (RFC 8446 section 4.6.3)."""
    origin, client = ends
    client.outgoing.write(b"as if it were an answer")
    with pytest.raises(BlockingIOError):
        client.tls.recv_into(memoryview(bytearray(10)))
    assert origin.socket.recv(100) == b"as if it were an answer"


def test_a_close_says_farewell(ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    client.tls.close()
    assert origin.receive() == b""
    assert origin.socket.recv(10) == b""


def test_a_close_endures_that_nobody_is_there(ends: tuple[Origin, Client]) -> None:
    origin, client = ends
    client.outgoing.write(b"unsent")
    client.tls.shutdown(socket.SHUT_RDWR)
    assert origin.socket.recv(10) == b""
    client.tls.close()


@pytest.mark.parametrize("lacking", ["protocol", "state", "incoming", "outgoing", "selector"])
def test_a_transport_of_another_build_is_left_alone(
    lacking: str, ends: tuple[Origin, Client]
) -> None:
    class Below(asyncio.Transport):
        __module__ = "uvloop" if lacking == "selector" else "asyncio.selector_events"

    class Above(asyncio.Transport):
        _ssl_protocol = (
            None
            if lacking == "protocol"
            else SimpleNamespace(
                _sslobj=None if lacking == "state" else ends[0].state,
                _incoming=None if lacking == "incoming" else ssl.MemoryBIO(),
                _outgoing=None if lacking == "outgoing" else ssl.MemoryBIO(),
                _transport=Below(),
            )
        )

        def abort(self) -> None:
            raise AssertionError

    assert take_tls(Above()) is None
