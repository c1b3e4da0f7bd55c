"""Long bodies straight from the socket: whole, in order, bounded, and rude ends told as such."""

import asyncio
import gc
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.deadline import DEADLINE_S, IDLE_S
from tests.network import localhost_tls
from vidnb.download.planner.retry import FailureKind
from vidnb.io.body import SHORTEST_BYTES, Body, TakenOver, take_over
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.receiver import Receiver

SIZE = SHORTEST_BYTES + 3_000_017
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
    """Answer every request with one body; `then` ends the connection its own way."""
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
        url, caller_headers={}, request_headers={}, idle_timeout_s=idle_timeout_s
    )


async def drain(answer: HttpResponse, got: bytearray | None = None) -> bytes:
    got = bytearray() if got is None else got
    while data := await answer.read():
        got += data
    return bytes(got)


def run(coro: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coro, DEADLINE_S))


def test_a_long_body_arrives_whole() -> None:
    """Every byte in order, in large pieces, and the session closes without waiting for anybody."""

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
            assert max(sizes) <= 2**21

    run(main())


def test_a_short_body_keeps_its_connection() -> None:
    """Below the limit aiohttp reads, and two requests share one connection."""

    async def main() -> None:
        async with origin(b"short" * 100) as (url, ports), HttpClient() as client:
            for _ in range(2):
                answer = await get(client, url)
                assert await drain(answer) == b"short" * 100
                answer.close()
            assert len(ports) == 2
            assert len(set(ports)) == 1

    run(main())


def test_chunks_and_no_length_are_left_to_aiohttp() -> None:
    """Only a Content-Length says how many bytes are left."""

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
def test_an_early_end_gives_what_came_and_then_says_so(is_reset: bool) -> None:
    """What had arrived before a close is given out first; the fault comes after it."""

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
    """The idle timeout stands over these reads too."""

    async def main() -> None:
        async with origin(DATA[:1000], announced=SIZE) as (url, _), HttpClient() as client:
            answer = await get(client, url, idle_timeout_s=IDLE_S)
            assert await answer.read() == DATA[:1000]
            with pytest.raises(ConnectionFault) as caught:
                await answer.read()
            assert caught.value.failure.kind is FailureKind.TIMEOUT
            answer.close()

    run(main())


def test_bytes_behind_the_body_are_nobodys() -> None:
    """What follows the announced length is dropped with the connection."""

    async def main() -> None:
        async with origin(DATA + b"junk", announced=SIZE) as (url, _), HttpClient() as client:
            assert await drain(await get(client, url)) == DATA

    run(main())


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The context of an origin on localhost and that of who trusts it."""
    return localhost_tls()


@pytest.mark.parametrize("by", [Receiver, TakenOver])
def test_under_tls(
    by: type[Body],
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same bytes through TLS, with a caller's own session; in a thread where that can be."""
    if by is TakenOver:
        monkeypatch.setattr("vidnb.io.body.take_socket", lambda _: None)

    async def main() -> None:
        connector = aiohttp.TCPConnector(ssl=tls[1])
        async with (
            origin(DATA, tls=tls[0]) as (url, _),
            aiohttp.ClientSession(connector=connector) as session,
            HttpClient(session=session) as client,
        ):
            answer = await get(client, url)
            assert await drain(answer) == DATA
            assert isinstance(answer._body, by)
            answer.close()

    run(main())


@pytest.mark.parametrize("by", ["thread", "protocol", "aiohttp"])
def test_what_is_given_up_under_tls_is_over_at_once(
    by: str,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No farewell: asyncio would wait half a minute for an answer to it."""
    size_bytes = SHORTEST_BYTES - 1 if by == "aiohttp" else 2 * SHORTEST_BYTES
    if by == "protocol":
        monkeypatch.setattr("vidnb.io.body.take_socket", lambda _: None)
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
                    while below.recv(2**16):  # a farewell is no end, and is not answered here
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
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def pause_reading(self) -> None:
        self.said.append("pause")

    def resume_reading(self) -> None:
        self.said.append("resume")

    def close(self) -> None:
        self.said.append("close")


class Before(asyncio.Protocol):
    """The protocol that had the connection."""

    lost: object = "not yet"

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


def feed(body: TakenOver, data: bytes) -> None:
    while data:
        room = body.get_buffer(-1)
        assert 0 < len(room) <= 2**21
        count = min(len(room), len(data))
        room[:count] = data[:count]
        body.buffer_updated(count)
        data = data[count:]


def test_a_slow_reader_holds_the_socket() -> None:
    """At 4 MiB unread the transport pauses, once; it goes on when half of that is read."""

    async def main() -> None:
        transport, before = FakeTransport(), Before()
        body = TakenOver(transport, before, b"head", 2**25)
        feed(body, bytes(4 * 2**20))
        assert transport.said == ["pause"]
        feed(body, bytes(10))
        assert transport.said == ["pause"]
        assert bytes(await body.read()) == b"head"
        left_bytes = 4 * 2**20 + 10
        while left_bytes >= 2 * 2**20:
            assert transport.said == ["pause"]
            left_bytes -= len(await body.read())
        assert transport.said == ["pause", "resume"]

    run(main())


def test_what_is_held_leaves_the_socket_alone() -> None:
    """Until it is read again; at its end there is nothing to hold."""

    async def main() -> None:
        transport = FakeTransport()
        body = TakenOver(transport, Before(), b"head", 10)
        body.hold()
        body.hold()
        assert transport.said == ["pause"]
        assert bytes(await body.read()) == b"head"
        assert transport.said == ["pause", "resume"]
        body.hold()
        reading = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        assert transport.said == ["pause", "resume"] * 2
        feed(body, bytes(10))
        assert bytes(await reading) == bytes(10)
        body.hold()
        assert transport.said == [*["pause", "resume"] * 2, "close"]

    run(main())


def test_small_pieces_share_a_buffer() -> None:
    """A slow origin costs no megabyte per packet; pieces stay what they were."""

    async def main() -> None:
        body = TakenOver(FakeTransport(), Before(), b"", 1000)
        feed(body, b"one")
        first = await body.read()
        feed(body, b"two")
        second = await body.read()
        assert (bytes(first), bytes(second)) == (b"one", b"two")
        assert isinstance(first, memoryview)
        assert isinstance(second, memoryview)
        assert first.obj is second.obj

    run(main())


def test_the_end_closes_and_is_told() -> None:
    """The last byte closes the connection; its end reaches the protocol before."""

    async def main() -> None:
        transport, before = FakeTransport(), Before()
        body = TakenOver(transport, before, b"", 3)
        assert len(body.get_buffer(-1)) == 3
        feed(body, b"end")
        assert transport.said == ["close"]
        body.eof_received()
        body.pause_writing()
        body.resume_writing()
        body.connection_lost(None)
        assert before.lost is None
        assert bytes(await body.read()) == b"end"
        assert bytes(await body.read()) == b""
        room = body.get_buffer(-1)  # a transport may still ask; what it puts there is nobody's
        room[:1] = b"x"
        body.buffer_updated(1)
        assert bytes(await body.read()) == b""

    run(main())


def test_a_reader_that_waits_is_woken() -> None:
    """By bytes, and by the end."""

    async def main() -> None:
        body = TakenOver(FakeTransport(), Before(), b"", 100)
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        feed(body, b"bytes")
        assert bytes(await reading) == b"bytes"
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        body.connection_lost(OSError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await reading

    run(main())


def test_a_broken_or_closing_connection_is_left_alone() -> None:
    """There is nothing to take over where the connection is gone."""

    async def main() -> None:
        async with origin(DATA[:1000], announced=SIZE) as (url, _), HttpClient() as client:
            answer = await get(client, url)
            connection = answer._response.connection
            assert connection is not None
            assert isinstance(connection.transport, asyncio.Transport)
            connection.transport.abort()
            assert take_over(answer._response) is None
            await asyncio.sleep(0.05)
            assert take_over(answer._response) is None
            answer.close()

    run(main())
