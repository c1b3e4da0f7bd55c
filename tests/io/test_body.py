"""Bodies of responses: complete, in order, with bounded memory; premature ends are errors."""

import asyncio
import gc
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from tests.deadline import DEADLINE_S, IDLE_S
from tests.network import localhost_tls
from vidnb.download.planner.retry import FailureKind
from vidnb.io.body import ResponseBody
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.cookie_store import CookieStore
from vidnb.io.request_settings import RequestSettings

MIB = 2**20
LONG = 8 * MIB  # received without aiohttp's parser from here on
SIZE = LONG + 3_000_017
DATA = bytes(range(256)) * (SIZE // 256 + 1)
DATA = DATA[:SIZE]


@asynccontextmanager
async def origin(
    body: bytes,
    *,
    announced: int | None = None,
    head: str = "",
    tls: ssl.SSLContext | None = None,
    then: Callable[[asyncio.StreamWriter], None] | None = None,
) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve every request one body; `then` ends the connection in its own way."""
    ports: list[int] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                ports.append(writer.get_extra_info("peername")[1])
                length = len(body) if announced is None else announced
                framing = head or f"Content-Length: {length}\r\n"
                writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n".encode() + body)
                await writer.drain()
                if then is not None:
                    then(writer)
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://localhost:{port}/film.mp4", ports
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def get(client: HttpClient, url: str, idle_timeout_s: float = 10.0) -> HttpResponse:
    return await client.get(
        url,
        RequestSettings(cookies=CookieStore(url)),
        request_headers={},
        idle_timeout_s=idle_timeout_s,
    )


async def drain(answer: HttpResponse, got: bytearray | None = None) -> bytes:
    got = bytearray() if got is None else got
    while data := await answer.read():
        got += data
    return bytes(got)


def run(coro: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coro, DEADLINE_S))


def test_a_long_body_arrives_whole() -> None:
    """Every byte in order, in pieces of at most a block; the end can be read repeatedly."""

    async def main() -> None:
        async with origin(DATA) as (url, _), HttpClient() as client:
            answer = await get(client, url)
            sizes = []
            got = bytearray()
            while data := await answer.read():
                sizes.append(len(data))
                got += data
            assert got == DATA
            assert await answer.read() == b""
            answer.close()
            assert max(sizes) <= MIB

    run(main())


def test_a_short_body_keeps_its_connection() -> None:
    """Two requests share one connection."""

    async def main() -> None:
        async with origin(b"short" * 100) as (url, ports), HttpClient() as client:
            for _ in range(2):
                answer = await get(client, url)
                assert await drain(answer) == b"short" * 100
                answer.close()
            assert len(ports) == 2
            assert len(set(ports)) == 1

    run(main())


def test_chunks_and_no_length_are_parsed_by_aiohttp() -> None:
    """Only a Content-Length tells how many bytes are left."""

    async def main() -> None:
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, DATA)
        async with (
            origin(chunked, head="Transfer-Encoding: chunked\r\n") as (url, _),
            HttpClient() as client,
        ):
            assert await drain(await get(client, url)) == DATA

        def close(writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with (
            origin(DATA, head="Connection: close\r\n", then=close) as (url, _),
            HttpClient() as client,
        ):
            answer = await get(client, url)
            assert not answer.is_framed
            assert await drain(answer) == DATA

    run(main())


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_premature_end_is_an_error_behind_the_data(is_reset: bool) -> None:
    """What arrived before the end is returned first; the error follows it."""

    def end(writer: asyncio.StreamWriter) -> None:
        if is_reset:
            writer.transport.abort()
        else:
            writer.close()

    async def main() -> None:
        sent = DATA[: SIZE // 2]
        async with origin(sent, announced=SIZE, then=end) as (url, _), HttpClient() as client:
            answer = await get(client, url)
            got = bytearray()
            with pytest.raises(ConnectionFault) as caught:
                await drain(answer, got)
            assert caught.value.failure.kind is FailureKind.LOST
            assert sent.startswith(bytes(got))
            if not is_reset:
                assert len(got) == len(sent)
            answer.close()

    run(main())


def test_silence_is_a_timeout() -> None:
    """The idle timeout covers bodies received without aiohttp's parser too."""

    async def main() -> None:
        async with origin(DATA[:1000], announced=SIZE) as (url, _), HttpClient() as client:
            answer = await get(client, url, idle_timeout_s=IDLE_S)
            assert await answer.read() == DATA[:1000]
            with pytest.raises(ConnectionFault) as caught:
                await answer.read()
            assert caught.value.failure.kind is FailureKind.TIMEOUT
            answer.close()

    run(main())


def test_bytes_behind_the_body_are_dropped() -> None:
    """What follows the announced length is dropped with the connection."""

    async def main() -> None:
        async with origin(DATA + b"junk", announced=SIZE) as (url, _), HttpClient() as client:
            assert await drain(await get(client, url)) == DATA

    run(main())


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The context of an origin on localhost and that of who trusts it."""
    return localhost_tls()


@pytest.mark.parametrize("size", [1000, LONG - 1, SIZE])
def test_under_tls(size: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The same bytes through TLS, with a caller's own session."""

    async def main() -> None:
        connector = aiohttp.TCPConnector(ssl=tls[1])
        async with (
            origin(DATA[:size], tls=tls[0]) as (url, ports),
            aiohttp.ClientSession(connector=connector) as session,
            HttpClient(session=session) as client,
        ):
            for _ in range(2):
                answer = await get(client, url)
                assert await drain(answer) == DATA[:size]
                answer.close()
            assert len(set(ports)) == (1 if size < LONG else 2)

    run(main())


@pytest.mark.parametrize("size_bytes", [LONG - 1, 2 * LONG])
def test_an_abandoned_connection_under_tls_is_closed_at_once(
    size_bytes: int,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without waiting for a close_notify: asyncio would wait half a minute for the answer."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted, tls[0].wrap_socket(accepted, server_side=True) as wrapped:
            wrapped.settimeout(DEADLINE_S)
            wrapped.recv(2**16)
            try:
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size_bytes)
                wrapped.sendall(bytes(2**16))
                with socket.socket(fileno=os.dup(wrapped.fileno())) as below:
                    below.settimeout(DEADLINE_S)
                    while below.recv(2**16):  # a close_notify is not answered
                        pass
            except TimeoutError:
                return
            except OSError:
                pass
        ended.set()

    async def main() -> None:
        connector = aiohttp.TCPConnector(ssl=tls[1])
        async with aiohttp.ClientSession(connector=connector) as session:
            client = HttpClient(session=session)
            answer = await get(client, f"https://localhost:{listener.getsockname()[1]}/film.mp4")
            missing_bytes = 2**16
            while missing_bytes:
                missing_bytes -= len(await answer.read())
            answer.close()
            assert await asyncio.to_thread(ended.wait, 10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        run(main())
        thread.join(DEADLINE_S)
    gc.collect()
    assert not caplog.records


class FakeTransport(asyncio.Transport):
    """Records what is called; `set_protocol` as a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class Parser(BaseProtocol):
    """Stands for aiohttp's protocol: everything it receives is body."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(asyncio.get_running_loop())
        self.connection_made(transport)
        self.content = aiohttp.StreamReader(self, 2**20, loop=asyncio.get_running_loop())
        self.lost: list[BaseException | None] = []

    def data_received(self, data: bytes) -> None:
        if data:
            self.content.feed_data(data)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


class Response:
    """What `ResponseBody` uses of a response, and its transport."""

    def __init__(self, length_bytes: int | None, headers: dict[str, str] | None = None) -> None:
        self.transport = FakeTransport()
        self.parser = Parser(self.transport)
        self.content = self.parser.content
        self.content_length = length_bytes
        self.headers = headers or {}
        self.connection: Any = SimpleNamespace(transport=self.transport, protocol=self.parser)

    def body(self) -> ResponseBody:
        return ResponseBody(cast(aiohttp.ClientResponse, self))


def feed(body: ResponseBody, data: bytes) -> None:
    while data:
        room = body.get_buffer(-1)
        assert 0 < len(room) <= MIB
        count = min(len(room), len(data))
        room[:count] = data[:count]
        body.buffer_updated(count)
        data = data[count:]


@pytest.mark.parametrize("length_bytes", [32 * MIB, None])
def test_a_slow_reader_pauses_the_connection(length_bytes: int | None) -> None:
    """At 1 MiB unread reading is paused, once; it is resumed when half of that was read."""

    async def main() -> None:
        response = Response(length_bytes)
        response.content.feed_data(b"head")
        body, calls = response.body(), response.transport.calls
        feed(body, bytes(MIB - 4))
        assert calls == ["pause"]
        feed(body, bytes(10))
        assert calls == ["pause"]
        assert bytes(await body.read()) == b"head"
        left_bytes = MIB + 6
        while left_bytes >= MIB // 2:
            assert calls == ["pause"]
            left_bytes -= len(await body.read())
        assert calls == ["pause", "resume"]

    run(main())


def test_hold_pauses_the_connection_until_the_next_read() -> None:
    """At the end there is nothing to pause."""

    async def main() -> None:
        response = Response(LONG)
        response.content.feed_data(b"head")
        body, calls = response.body(), response.transport.calls
        body.hold()
        body.hold()
        assert calls == ["pause"]
        assert bytes(await body.read()) == b"head"
        assert calls == ["pause", "resume"]
        body.hold()
        reading = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        assert calls == ["pause", "resume"] * 2
        feed(body, bytes(LONG - 4))
        left_bytes = LONG - 4 - len(await reading)
        while data := await body.read():
            left_bytes -= len(data)
        assert left_bytes == 0
        body.hold()
        assert calls[-1] == "resume"

    run(main())


def test_small_pieces_share_a_block() -> None:
    """A slow origin costs no megabyte a packet; pieces that were returned keep their bytes."""

    async def main() -> None:
        body = Response(LONG).body()
        feed(body, b"one")
        first = await body.read()
        feed(body, b"two")
        second = await body.read()
        assert (bytes(first), bytes(second)) == (b"one", b"two")
        assert isinstance(first, memoryview)
        assert isinstance(second, memoryview)
        assert first.obj is second.obj

    run(main())


@pytest.mark.parametrize("are_kept", [False, True])
def test_a_block_is_reused_once_nobody_refers_to_it(
    are_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece that was returned keeps its bytes as long as it is referred to."""
    monkeypatch.setattr("vidnb.io.body._blocks", deque(maxlen=16))

    async def main() -> None:
        body = Response(64 * MIB).body()
        blocks: dict[int, object] = {}
        kept: list[bytes | memoryview] = []
        for number in range(40):
            feed(body, bytes([number]) * MIB)
            piece = await body.read()
            assert isinstance(piece, memoryview)
            assert (len(piece), piece[0], piece[-1]) == (MIB, number, number)
            blocks[id(piece.obj)] = piece.obj
            if are_kept or number == 1:
                kept.append(piece)
        if are_kept:
            assert [piece[7] for piece in kept] == list(range(40))
            assert len(blocks) == 40
        else:
            assert bytes(kept[0]) == b"\1" * MIB
            assert len(blocks) < 30

    run(main())


def test_pieces_that_arrive_together_are_read_together() -> None:
    """The reader wakes up once for packets that arrive within a moment."""

    async def main() -> None:
        body = Response(LONG).body()
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        for piece in (b"one", b"two", b"three"):
            feed(body, piece)
            await asyncio.sleep(0)
        assert bytes(await reading) == b"onetwothree"

    run(main())


def test_the_last_byte_closes_a_connection_that_cannot_be_reused() -> None:
    """aiohttp's protocol is told of the end; bytes behind the body are dropped."""

    async def main() -> None:
        response = Response(LONG)
        response.content.feed_data(bytes(LONG - 3))
        body = response.body()
        feed(body, b"end")
        assert response.transport.calls == ["close"]
        feed(body, b"x")
        body.eof_received()
        body.pause_writing()
        body.resume_writing()
        body.connection_lost(None)
        assert response.parser.lost == [None]
        assert len(await body.read()) == LONG - 3
        assert bytes(await body.read()) == b"end"
        assert bytes(await body.read()) == b""
        assert not body.is_reusable
        body.close()
        assert "abort" not in response.transport.calls

    run(main())


def test_a_parsed_body_returns_its_connection() -> None:
    """aiohttp's protocol is installed again once the body is complete."""

    async def main() -> None:
        response = Response(None)
        body = response.body()
        assert response.transport.protocol == body
        feed(body, b"data")
        response.content.feed_eof()
        feed_nothing(body)
        installed: asyncio.BaseProtocol | None = response.transport.protocol
        assert installed is response.parser
        assert await body.read() == b"data"
        assert await body.read() == b""
        assert body.is_reusable
        body.close()
        assert response.transport.calls == []

    run(main())


def feed_nothing(body: ResponseBody) -> None:
    body.get_buffer(-1)
    body.buffer_updated(0)


@pytest.mark.parametrize("length_bytes", [LONG, 100])
def test_a_waiting_reader_learns_of_the_end(length_bytes: int) -> None:
    """The error of the connection is raised, to every read behind the data."""

    async def main() -> None:
        response = Response(length_bytes)
        body = response.body()
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        body.connection_lost(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            await reading
        with pytest.raises(OSError, match="gone"):
            await body.read()
        assert len(response.parser.lost) == 1
        body.close()
        assert response.transport.calls == []

    run(main())


def test_a_body_may_end_with_its_connection() -> None:
    """Without length and chunks the parser takes the close for the end."""

    async def main() -> None:
        response = Response(None)
        body = response.body()
        feed(body, b"data")
        response.content.feed_eof()
        body.connection_lost(None)
        assert await body.read() == b"data"
        assert await body.read() == b""

    run(main())


def test_an_error_of_the_parser_is_raised_behind_the_data() -> None:
    """Such as a malformed chunk that the pure Python parser found."""

    async def main() -> None:
        response = Response(None)
        body = response.body()
        feed(body, b"data")
        response.content.set_exception(aiohttp.ClientPayloadError("malformed"))
        body.connection_lost(None)
        assert await body.read() == b"data"
        with pytest.raises(aiohttp.ClientPayloadError, match="malformed"):
            await body.read()

    run(main())


def test_a_closed_body_wakes_nobody() -> None:
    """The pending wake-up is cancelled, and the connection is aborted."""

    async def main() -> None:
        response = Response(LONG)
        body = response.body()
        feed(body, b"data")
        body.close()
        assert response.transport.calls == ["abort"]
        await asyncio.sleep(0.01)
        assert not body._arrival.is_set()

    run(main())


@pytest.mark.parametrize("part", ["connection", "protocol", "transport"])
def test_a_connection_that_is_gone_before_the_body(part: str) -> None:
    """A response whose connection closed between head and body is incomplete."""

    async def main() -> None:
        response = Response(LONG)
        if part == "connection":
            response.connection = None
        else:
            setattr(response.connection, part, None)
        body = response.body()
        body.hold()
        with pytest.raises(aiohttp.ClientPayloadError, match="before the body was complete"):
            await body.read()
        body.close()

    run(main())


@pytest.mark.parametrize("name", ["Transfer-Encoding", "Content-Encoding"])
def test_an_encoded_body_is_parsed(name: str) -> None:
    """Its bytes are not those that the length counts."""

    async def main() -> None:
        response = Response(LONG, {name: "gzip"})
        body = response.body()
        feed(body, b"data")
        assert await body.read() == b"data"
        assert response.content.total_bytes == 4

    run(main())
