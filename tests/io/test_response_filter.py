"""Response heads on their way to aiohttp: filtered on each connection, and named when malformed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from tests.deadline import DEADLINE_S
from tests.network import localhost_tls
from vidnb.download.planner.retry import FailureKind
from vidnb.http.response_lines import ABOUT_FRAMING
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.cookie_store import CookieStore
from vidnb.io.request_settings import RequestSettings
from vidnb.io.response_filter import FilteringConnector, _HeadFilter

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"
BODY = b"\r\nhello"


@asynccontextmanager
async def origin(
    *responses: bytes, piece_bytes: int = 2**20, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[int]]]:
    """Send these responses in turn on each connection, then close it; also yields their ports."""
    ports: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.append(writer.get_extra_info("peername")[1])
        try:
            for response in responses:
                await reader.readuntil(b"\r\n\r\n")
                for at in range(0, len(response), piece_bytes):
                    writer.write(response[at : at + piece_bytes])
                    await writer.drain()
                    await asyncio.sleep(0)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://localhost:{port}/film.mp4?token=s3cret", ports
    finally:
        server.close()


async def ask(client: HttpClient, url: str, tls: ssl.SSLContext | None = None) -> HttpResponse:
    settings = RequestSettings(cookies=CookieStore(url), ssl_context=tls)
    return await client.get(url, settings, request_headers={}, idle_timeout_s=DEADLINE_S)


async def body(response: HttpResponse) -> bytes:
    pieces = []
    while piece := await response.read():
        pieces.append(bytes(piece))
    response.close()
    return b"".join(pieces)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work()

    return asyncio.run(main())


def received(sent: bytes, **options: Any) -> tuple[dict[str, str], bytes, bool]:
    async def work() -> tuple[dict[str, str], bytes, bool]:
        async with origin(sent, **options) as (url, _), HttpClient() as client:
            response = await ask(client, url)
            return dict(response.headers), await body(response), response.is_framed

    result: tuple[dict[str, str], bytes, bool] = run(work)
    return result


def fault(sent: bytes, session: type[aiohttp.ClientSession] | None = None) -> ConnectionFault:
    async def work() -> ConnectionFault:
        async with origin(sent) as (url, _):
            theirs = session() if session is not None else None
            async with HttpClient(session=theirs) as client:
                with pytest.raises(ConnectionFault) as caught:
                    await ask(client, url)
            if theirs is not None:
                await theirs.close()
            return caught.value

    found: ConnectionFault = run(work)
    assert "s3cret" not in str(found.failure)
    return found


SIGNED = b"X-Policy: " + b"s3cret" * (2**15 // 6) + b"\r\n"


@pytest.mark.parametrize("piece_bytes", [1, 7, 2**20])
def test_a_head_arrives_in_pieces(piece_bytes: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\n"
    sent = b"\r\n" + interim + OK + b'ETag : "v1"\r\n' + LENGTH + BODY
    headers, data, is_framed = received(sent, piece_bytes=piece_bytes)
    assert (headers, data) == ({"etag": '"v1"', "content-length": "5"}, b"hello")
    assert is_framed


@pytest.mark.parametrize(
    ("head", "count"),
    [
        pytest.param(OK + SIGNED, 2, id="32-kib-line"),
        pytest.param(OK + SIGNED * 4, 2, id="128-kib-head"),
        pytest.param(OK + b"".join(b"X-%d: y\r\n" % n for n in range(400)), 401, id="400-lines"),
        pytest.param(b"HTTP/1.1 200 " + b"s" * 20_000 + b"\r\n", 1, id="long-reason"),
        pytest.param(OK + b"X-" + b"n" * 20_000 + b": y\r\n", 2, id="long-name"),
    ],
)
def test_a_large_head_is_accepted(head: bytes, count: int) -> None:
    headers, data, _ = received(head + LENGTH + BODY)
    assert (len(headers), data) == (count, b"hello")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (OK + SIGNED * 9 + LENGTH + BODY, "has a head of more than 256 KiB"),
        (OK + SIGNED * 9, "has a head of more than 256 KiB"),
        (OK + b"a: s3cret\r\n" * 1001 + LENGTH + BODY, "has more than 1000 header lines"),
        (OK + b"Content-Length : 5\r\n" + BODY, ABOUT_FRAMING),
        (OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ABOUT_FRAMING),
        (OK + b"X: s3cret\0\r\n" + LENGTH + BODY, "has a null character"),
        (b"ICY 200 OK\r\nicy-name:s3cret\r\n\r\n", "is a radio stream (ICY), not HTTP"),
        (b"s3cret", "is not HTTP"),
        (b"HTTP/1.1 s3cret\r\n\r\n", "has a malformed status line"),
        (b"HTTP/1.1 100 Continue\r\n\r\ns3cret", "is not HTTP"),
    ],
    ids=["large", "endless", "lines", "length", "coding", "null", "icy", "none", "line", "interim"],
)
def test_a_malformed_head_is_named_without_its_bytes(sent: bytes, reason: str) -> None:
    failure = fault(sent).failure
    assert failure.kind is FailureKind.PROTOCOL_ERROR
    assert failure.reason.startswith(f"the origin's response {reason}")


@pytest.mark.parametrize("sent", [OK + b"X: s3cret", b"", b"HTTP/1.1 103 Early\r\n\r\n", b"HT"])
def test_a_head_that_ends_early_is_a_lost_connection(sent: bytes) -> None:
    failure = fault(sent).failure
    assert failure.kind is FailureKind.LOST
    assert failure.reason == "the connection broke (the origin closed it without a response)"


def test_each_response_of_a_connection_is_filtered() -> None:
    async def work() -> list[tuple[dict[str, str], bytes]]:
        first = OK + b"A : 1\r\n" + LENGTH + BODY
        second = OK + b"B : 2\r\n" + LENGTH + BODY
        async with origin(first, second) as (url, ports), HttpClient() as client:
            found = []
            for _ in range(2):
                response = await ask(client, url)
                found.append((dict(response.headers), await body(response)))
            assert len(ports) == 1
            return found

    assert run(work) == [
        ({"a": "1", "content-length": "5"}, b"hello"),
        ({"b": "2", "content-length": "5"}, b"hello"),
    ]


def test_a_connection_that_ended_while_idle_is_replaced() -> None:
    async def work() -> None:
        async with origin(OK + LENGTH + BODY) as (url, ports), HttpClient() as client:
            for _ in range(3):
                assert await body(await ask(client, url)) == b"hello"
            assert len(ports) == 3

    run(work)


def test_heads_under_tls_are_filtered() -> None:
    server, client_tls = localhost_tls()

    async def work() -> tuple[dict[str, str], bytes]:
        sent = OK + b"A : 1\r\n" + SIGNED + LENGTH + BODY
        async with origin(sent, tls=server) as (url, _), HttpClient() as client:
            response = await ask(client, url, client_tls)
            return dict(response.headers), await body(response)

    headers, data = run(work)
    assert (headers["a"], data) == ("1", b"hello")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (OK + b"Content-Length : 5\r\n" + BODY, ABOUT_FRAMING),
        (OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ABOUT_FRAMING),
        (OK + b"X: " + b"s3cret" * 2**16 + b"\r\n" + LENGTH + BODY, "has a malformed head"),
        (OK + b"X: s3cret\0\r\n" + LENGTH + BODY, "has a malformed head"),
    ],
    ids=["length", "coding", "long", "null"],
)
def test_in_a_session_of_the_caller_such_heads_are_refused_too(sent: bytes, reason: str) -> None:
    """aiohttp parses them alone; it reads a length before a space without naming the field."""
    failure = fault(sent, aiohttp.ClientSession).failure
    assert failure.kind is FailureKind.PROTOCOL_ERROR
    assert failure.reason == f"the origin's response {reason}"


def test_a_session_of_the_caller_accepts_large_heads_for_its_download() -> None:
    async def work() -> int:
        async with (
            origin(OK + SIGNED + b"a: b\r\n" * 300 + LENGTH + BODY) as (url, _),
            aiohttp.ClientSession() as theirs,
        ):
            response = await ask(HttpClient(session=theirs), url)
            assert await body(response) == b"hello"
            return len(response.headers["x-policy"])

    assert run(work) == len(SIGNED) - len(b"X-Policy: \r\n")


class Transport(asyncio.Transport):
    """A transport that only keeps its protocol."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Parser:
    """Stands for aiohttp's protocol; counts what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.calls.append(name)


@pytest.mark.parametrize("transport", [Transport(), None])
def test_the_filter_passes_on_all_else(
    transport: Transport | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is lost already has no transport, and fails at its first use."""
    connection = SimpleNamespace(protocol=Parser(), transport=transport)

    async def connect(*_: object) -> object:
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)

    async def work() -> None:
        connector: Any = FilteringConnector()
        assert await connector.connect(None, [], None) is connection
        await connector.close()

    run(work)
    if transport is not None:
        protocol: Any = transport.protocol
        for name in ("pause_writing", "resume_writing", "eof_received"):
            getattr(protocol, name)()
        protocol.connection_lost(None)
        assert connection.protocol.calls == [
            "pause_writing",
            "resume_writing",
            "eof_received",
            "connection_lost",
        ]


def test_a_malformed_head_aborts_the_connection() -> None:
    """A regular close under TLS would wait for an origin that goes on sending."""
    transport, parser = Transport(), Parser()
    protocol: Any = _HeadFilter(cast(Any, parser), transport)
    protocol.data_received(b"junk")
    assert parser.calls == ["set_exception"]
    assert transport.is_aborted
