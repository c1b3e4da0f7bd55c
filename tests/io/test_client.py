"""The one HTTP client: what it sends, where it stops, and what each exception becomes."""

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.deadline import DEADLINE_S, IDLE_S
from tests.origin import (
    Exchange,
    Film,
    Handler,
    Origin,
    chunk,
    cut,
    honest,
    noise,
    raw,
    redirect,
    reset,
    stall,
    status,
)
from vidnb.download.planner.retry import FailureKind
from vidnb.errors import URLNotAllowed
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.cookie_store import CookieStore
from vidnb.io.request_settings import RequestSettings

DATA = noise(100_000)
FILM = Film(DATA)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(FILM) as running:
        yield running


async def ask(client: HttpClient, url: str, **options: Any) -> HttpResponse:
    return await client.get(
        url,
        RequestSettings(headers=tuple(options.get("caller", {}).items()), cookies=CookieStore(url)),
        request_headers=options.get("request", {}),
        idle_timeout_s=options.get("idle_timeout_s", 5.0),
        max_whole_bytes=options.get("max_whole_bytes", 0),
    )


def with_client(work: Callable[[HttpClient], Awaitable[Any]], *, public_only: bool = False) -> Any:
    async def main() -> Any:
        async with HttpClient(public_only=public_only) as client:
            return await work(client)

    return asyncio.run(main())


async def all_of(answer: HttpResponse) -> bytes:
    pieces = []
    while piece := await answer.read():
        pieces.append(piece)
    return b"".join(pieces)


def fault(url: str, **options: Any) -> ConnectionFault:
    async def work(client: HttpClient) -> HttpResponse:
        return await ask(client, url, **options)

    with pytest.raises(ConnectionFault) as caught:
        with_client(work)
    return caught.value


# What is sent.


def test_a_request_says_as_little_as_it_can(origin: Origin) -> None:
    async def work(client: HttpClient) -> tuple[int, str, dict[str, str], bytes]:
        answer = await ask(client, origin.url)
        body = await all_of(answer)
        answer.close()
        return answer.status, answer.url, answer.headers, body

    code, url, headers, body = with_client(work)
    assert (code, url, body) == (200, origin.url, DATA)
    assert headers["content-length"] == str(len(DATA))
    assert origin.requests[0].headers == {
        "host": f"127.0.0.1:{origin.port}",
        "user-agent": "vidnb (+aiohttp)",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


def test_vidnbs_headers_are_sent_once_however_the_caller_spells_them(origin: Origin) -> None:
    async def work(client: HttpClient) -> None:
        caller = {"RANGE": "bytes=9-", "accept-encoding": "gzip", "accept": "video/mp4", "x": "1"}
        answer = await ask(client, origin.url, caller=caller, request={"Range": "bytes=5-"})
        answer.close()

    with_client(work)
    sent = origin.requests[0].headers
    assert (sent["range"], sent["accept-encoding"]) == ("bytes=5-", "identity")
    assert (sent["accept"], sent["x"]) == ("video/mp4", "1")


def test_no_cookie_comes_back(origin: Origin) -> None:
    origin.otherwise = status(200, {"Set-Cookie": "id=1"}, b"x")

    async def work(client: HttpClient) -> None:
        for _ in range(2):
            answer = await ask(client, origin.url)
            await all_of(answer)
            answer.close()

    with_client(work)
    assert "cookie" not in origin.requests[1].headers


def test_the_own_session_is_made_again_after_close(origin: Origin) -> None:
    async def work(client: HttpClient) -> None:
        for _ in range(2):
            answer = await ask(client, origin.url)
            assert await all_of(answer) == DATA
            answer.close()
            await client.close()
            await client.close()

    with_client(work)
    assert len(origin.requests) == 2


# What is read.


@pytest.mark.parametrize(
    ("head", "body", "is_framed"),
    [
        pytest.param("Content-Length: 3", b"abc", True, id="length"),
        pytest.param("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", True, id="chunked"),
        pytest.param("Connection: close", b"abc", False, id="neither"),
    ],
)
def test_whether_the_end_is_framed(head: str, body: bytes, is_framed: bool, origin: Origin) -> None:
    origin.otherwise = raw(f"HTTP/1.1 200 OK\n{head}", body)

    async def work(client: HttpClient) -> tuple[bytes, bool]:
        answer = await ask(client, origin.url)
        return await all_of(answer), answer.is_framed

    assert with_client(work) == (b"abc", is_framed)


def test_a_connection_read_to_its_end_is_used_again(origin: Origin) -> None:
    async def work(client: HttpClient) -> None:
        for _ in range(3):
            answer = await ask(client, origin.url)
            await all_of(answer)
            answer.close()

    with_client(work)
    assert len(origin._threads) == 2  # the one that accepts, and one connection


def test_a_connection_given_up_is_closed(origin: Origin) -> None:
    async def work(client: HttpClient) -> None:
        for _ in range(3):
            answer = await ask(client, origin.url)
            answer.close()

    origin.otherwise = stall(10)
    with_client(work)
    assert len(origin._threads) == 4


def test_a_body_is_held_back(origin: Origin) -> None:
    """No more is received until the next read, for a long body and for a short one."""
    data = noise(9 * 2**20)
    for body in (data, data[:100]):
        origin.film = Film(body)

        async def work(client: HttpClient) -> bytes:
            answer = await ask(client, origin.url)
            answer.hold()
            first = bytes(await answer.read())
            answer.hold()
            return first + await all_of(answer)

        assert with_client(work) == body


def test_what_came_before_a_reset_is_read_first(origin: Origin) -> None:
    is_sent, is_received = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=50_000)
        exchange.flush()
        is_sent.set()
        assert is_received.wait(DEADLINE_S)
        exchange.reset()

    origin.otherwise = handle

    async def work(client: HttpClient) -> tuple[int, ConnectionFault]:
        answer = await ask(client, origin.url)
        await asyncio.to_thread(is_sent.wait, DEADLINE_S)
        await asyncio.sleep(0.05)  # the loop takes the bytes from the socket, which a reset empties
        is_received.set()
        await asyncio.sleep(0.1)  # the connection is reset by now
        size = 0
        try:
            while data := await answer.read():
                size += len(data)
        except ConnectionFault as fault:
            return size, fault
        finally:
            answer.close()
        pytest.fail("the body ended without an error")

    size, error = with_client(work)
    assert size == 50_000
    assert error.failure.kind is FailureKind.LOST
    assert error.failure.reason == "the connection closed before the file was complete"


@contextmanager
def malformed_later(origin: Origin) -> Iterator[threading.Event]:
    """Send a chunk, then, once the event is set, a malformed chunk size, and stay connected."""
    is_due = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.head(200, [("Transfer-Encoding", "chunked")])
        exchange.send(chunk(b"abc"))
        is_due.wait(DEADLINE_S)
        exchange.send(b"zz\r\nmore")
        exchange.wait_for_close()

    origin.otherwise = handle
    yield is_due
    is_due.set()


@pytest.mark.parametrize("is_read_first", [True, False])
def test_a_malformed_chunk_size_ends_the_body_at_once(is_read_first: bool, origin: Origin) -> None:
    """Also if it arrived before the first read; the data before it is returned first."""

    async def work(client: HttpClient) -> ConnectionFault:
        answer = await ask(client, origin.url, idle_timeout_s=3600.0)
        async with asyncio.timeout(20):
            if is_read_first:
                assert await answer.read() == b"abc"
                asyncio.get_running_loop().call_later(0.01, is_due.set)
            else:
                connection = answer._response.connection
                assert connection is not None
                is_due.set()
                while connection.transport is not None:
                    await asyncio.sleep(0.001)
                assert await answer.read() == b"abc"
            with pytest.raises(ConnectionFault, match="closed before the file") as caught:
                await answer.read()
        answer.close()
        return caught.value

    with malformed_later(origin) as is_due:
        assert with_client(work).failure.kind is FailureKind.LOST


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (cut(after=1000), FailureKind.LOST),
        (reset(after=0), FailureKind.LOST),
        (stall(after=1000), FailureKind.TIMEOUT),
    ],
)
def test_a_whole_body_arrives_or_fails(handler: Handler, kind: FailureKind, origin: Origin) -> None:
    async def work(client: HttpClient) -> list[bytes]:
        bodies = []
        for _ in range(3):
            answer = await ask(client, origin.url, max_whole_bytes=10**7, idle_timeout_s=IDLE_S)
            try:
                bodies.append(await answer.read_whole(int(answer.headers["content-length"])))
            finally:
                answer.close()
        return bodies

    bodies = with_client(work)
    assert bodies == [origin.film.data] * 3
    origin.otherwise = handler
    with pytest.raises(ConnectionFault) as caught:
        with_client(work)
    assert caught.value.failure.kind is kind


def test_a_whole_body_that_is_shorter_than_expected(origin: Origin) -> None:
    async def work(client: HttpClient) -> bytes:
        answer = await ask(client, origin.url, max_whole_bytes=10**7)
        return await answer.read_whole(len(DATA) + 1)

    with pytest.raises(ConnectionFault, match="before the file was complete"):
        with_client(work)


def test_a_response_that_may_be_read_whole_is_closed_or_read_in_pieces(origin: Origin) -> None:
    async def work(client: HttpClient) -> int:
        (await ask(client, origin.url, max_whole_bytes=10**7)).close()
        answer, size = await ask(client, origin.url, max_whole_bytes=10**7), 0
        while data := await answer.read():
            size += len(data)
        answer.close()
        return size

    assert with_client(work) == len(DATA)


def test_silence_in_the_body(origin: Origin) -> None:
    origin.otherwise = stall(10)

    async def work(client: HttpClient) -> tuple[bytes, ConnectionFault]:
        answer = await ask(client, origin.url, idle_timeout_s=IDLE_S)
        data = bytes(await answer.read())
        with pytest.raises(ConnectionFault) as caught:
            await answer.read()
        answer.close()
        return data, caught.value

    data, error = with_client(work)
    assert data == DATA[:10]
    assert error.failure.kind is FailureKind.TIMEOUT
    assert str(error) == error.failure.reason == f"nothing arrived for {IDLE_S:g} s"


@pytest.mark.parametrize("ending", ["whole", "cut", "silent"])
def test_a_long_body_is_read_as_a_short_one_is(ending: str) -> None:
    film = Film(noise(9 * 2**20))
    script = {"whole": honest, "cut": reset(9 * 2**20 - 1), "silent": stall(9 * 2**20 - 1)}

    async def work(client: HttpClient) -> tuple[bytes, FailureKind | None]:
        answer = await ask(client, sender.url, idle_timeout_s=IDLE_S)
        pieces: list[bytes | memoryview] = []
        kind = None
        try:
            while piece := await answer.read():
                pieces.append(piece)
        except ConnectionFault as error:
            kind = error.failure.kind
        answer.close()
        return b"".join(pieces), kind

    with Origin(film, [script[ending]]) as sender:
        data, kind = with_client(work)
    expected = {"whole": None, "cut": FailureKind.LOST, "silent": FailureKind.TIMEOUT}
    assert kind is expected[ending]
    assert data == film.data[: len(data)]
    assert len(data) == len(film.data) - (ending != "whole")


# Redirects.


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(code: int, origin: Origin) -> None:
    origin.script = [redirect("/there", code)]

    async def work(client: HttpClient) -> str:
        answer = await ask(client, origin.url, caller={"X": "1"}, request={"Range": "bytes=5-"})
        answer.close()
        return answer.url

    assert with_client(work) == f"{origin.base}/there"
    assert [(a.headers["x"], a.headers["range"]) for a in origin.requests] == [
        ("1", "bytes=5-")
    ] * 2


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(status(302), id="redirect-without-location"),
        pytest.param(status(300, {"Location": "/there"}), id="no-redirect-with-location"),
        pytest.param(status(304, {"Location": "/there"}), id="not-modified"),
    ],
)
def test_what_is_no_redirect_is_an_answer(
    handler: Callable[[Exchange], None], origin: Origin
) -> None:
    origin.otherwise = handler

    async def work(client: HttpClient) -> int:
        answer = await ask(client, origin.url)
        answer.close()
        return answer.status

    assert with_client(work) in {300, 302, 304}
    assert len(origin.requests) == 1


def test_a_redirect_to_another_origin_leaves_the_callers_session(origin: Origin) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(headers={"X-Theirs": "s3cret"}) as theirs:
            async with HttpClient(session=theirs) as client:
                answer = await ask(client, front.url, caller={"X": "1"})
                assert await all_of(answer) == DATA
                answer.close()
            assert not theirs.closed

    with Origin(FILM, [redirect(origin.url)]) as front:
        asyncio.run(main())
        assert front.requests[0].headers["x-theirs"] == "s3cret"
        assert front.requests[0].headers["x"] == "1"
    assert not {"x", "x-theirs"} & origin.requests[0].headers.keys()


def test_a_session_that_raises_for_statuses_is_told_not_to(origin: Origin) -> None:
    origin.otherwise = status(404)

    async def main() -> int:
        async with aiohttp.ClientSession(raise_for_status=True) as theirs:
            answer = await ask(HttpClient(session=theirs), origin.url)
            answer.close()
            return answer.status

    assert asyncio.run(main()) == 404


# What fails before there is an answer.


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = fault(f"http://127.0.0.1:{port}/")
    assert error.failure.kind is FailureKind.CONNECT
    assert error.failure.reason == f"no connection to 127.0.0.1:{port} (Connection refused)"


def test_silence_before_the_head(origin: Origin) -> None:
    origin.otherwise = lambda exchange: exchange.wait_for_close()
    assert fault(origin.url, idle_timeout_s=0.1).failure.kind is FailureKind.TIMEOUT


def test_a_connection_that_breaks_before_the_head(origin: Origin) -> None:
    origin.otherwise = lambda exchange: exchange.reset()
    assert fault(origin.url).failure.kind is FailureKind.LOST


def test_a_head_that_is_none(origin: Origin) -> None:
    origin.otherwise = raw("HTTQ/1 what?")
    error = fault(f"{origin.url}?token=s3cret")
    assert error.failure.kind is FailureKind.PROTOCOL_ERROR
    assert "s3cret" not in error.failure.reason
    assert "\n" not in error.failure.reason


def test_a_name_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = fault("http://nobody.example/")
    assert error.failure.kind is FailureKind.CONNECT
    assert error.failure.reason == "the name nobody.example could not be resolved"


@contextmanager
def no_tls() -> Iterator[int]:
    """A port that answers whatever comes in plain text."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(DEADLINE_S)


def test_plain_text_where_tls_was_asked_for() -> None:
    with no_tls() as port:
        error = fault(f"https://127.0.0.1:{port}/")
    assert error.failure.kind is FailureKind.REFUSED
    assert error.failure.reason == f"127.0.0.1:{port} does not speak TLS"
    assert error.failure.remedy == "check the port, or write the address with http://"


def test_a_header_that_would_become_two(origin: Origin) -> None:
    async def work(client: HttpClient) -> HttpResponse:
        return await ask(client, f"{origin.url}?t=s3cret", caller={"X": "a\r\nHost: b"})

    with pytest.raises(URLNotAllowed, match="check the headers") as caught:
        with_client(work)
    assert "s3cret" not in str(caught.value)
    assert not origin.requests


KEY = ConnectionKey(
    "film.example", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)
INFO = RequestInfo(URL("http://x/?s3cret"), "GET", CIMultiDictProxy(CIMultiDict()), URL("http://x"))


@pytest.mark.parametrize(
    ("raised", "kind", "reason"),
    [
        pytest.param(
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "old")),
            FailureKind.REFUSED,
            "the certificate of film.example is not valid",
            id="certificate",
        ),
        pytest.param(
            aiohttp.ClientConnectorError(KEY, OSError(errno.ENETUNREACH, "x")),
            FailureKind.CONNECT,
            f"no connection to film.example:443 ({os.strerror(errno.ENETUNREACH)})",
            id="network",
        ),
        pytest.param(
            aiohttp.ClientConnectorError(KEY, OSError("s3cret")),
            FailureKind.CONNECT,
            "no connection to film.example:443 (OSError)",
            id="no-number",
        ),
        pytest.param(
            aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "s3cret")),
            FailureKind.CONNECT,
            "no connection to film.example:443 (TLS failed)",
            id="tls",
        ),
        pytest.param(
            aiohttp.ClientHttpProxyError(INFO, (), status=407, message="x"),
            FailureKind.CONNECT,
            "the session's proxy answered 407",
            id="proxy",
        ),
        pytest.param(
            aiohttp.ClientResponseError(INFO, (), status=400, message="Bad: s3cret"),
            FailureKind.PROTOCOL_ERROR,
            "the origin's response has a malformed head",
            id="malformed",
        ),
        pytest.param(
            aiohttp.ServerTimeoutError("slow"),
            FailureKind.TIMEOUT,
            "nothing arrived for 5 s",
            id="timeout",
        ),
        pytest.param(
            aiohttp.ServerDisconnectedError("s3cret"),
            FailureKind.LOST,
            "the connection broke (the origin closed it without a response)",
            id="disconnected",
        ),
        pytest.param(
            aiohttp.ClientConnectionError("s3cret"),
            FailureKind.LOST,
            "the connection broke (ClientConnectionError)",
            id="connection",
        ),
        pytest.param(
            aiohttp.ClientPayloadError("Response payload is not completed: s3cret"),
            FailureKind.LOST,
            "the connection closed before the file was complete",
            id="payload",
        ),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "s3cret"),
            FailureKind.LOST,
            "the connection broke (Connection reset by peer)",
            id="reset",
        ),
        pytest.param(EOFError(), FailureKind.LOST, "the connection broke (EOFError)", id="no-text"),
    ],
)
def test_what_an_exception_becomes(raised: Exception, kind: FailureKind, reason: str) -> None:
    error = theirs_raises(raised, ConnectionFault)
    assert isinstance(error, ConnectionFault)
    assert (error.failure.kind, error.failure.reason) == (kind, reason)
    assert error.__cause__ is raised


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        pytest.param(
            aiohttp.InvalidURL("http://x/?s3cret"),
            "is malformed; check how it is written.",
            id="url",
        ),
        pytest.param(
            ValueError("Only http proxies are supported: s3cret"),
            "a header or the URL of the proxy is malformed; check the headers and the proxy.",
            id="proxy",
        ),
    ],
)
def test_what_is_refused(raised: Exception, says: str) -> None:
    error = theirs_raises(raised, URLNotAllowed)
    assert says in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("raised", [RuntimeError("Session is closed"), asyncio.CancelledError()])
def test_what_is_no_fault_of_a_connection_is_left_alone(raised: BaseException) -> None:
    assert theirs_raises(raised, type(raised)) is raised


def theirs_raises(raised: BaseException, kind: type[BaseException]) -> BaseException:
    """Ask through a session that raises this; return what comes out."""

    class Session:
        def __init__(self) -> None:
            self.cookie_jar = aiohttp.DummyCookieJar()

        async def get(self, url: URL, **options: Any) -> None:
            raise raised

    async def main() -> BaseException:
        client = HttpClient(session=cast(aiohttp.ClientSession, Session()))
        with pytest.raises(kind) as caught:
            await ask(client, "http://film.example/?token=s3cret")
        await client.close()
        return caught.value

    return asyncio.run(main())


# Proxies.


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{}", "127.0.0.1:{}"])
def test_the_environments_proxy_is_used(
    spelling: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin plays the proxy: it is asked for the whole address."""
    monkeypatch.setenv("http_proxy", spelling.format(origin.port))

    async def work(client: HttpClient) -> bytes:
        answer = await ask(client, "http://film.example/a%2Fb?x=%7e")
        body = await all_of(answer)
        answer.close()
        return body

    assert with_client(work) == DATA
    assert origin.requests[0].target == "http://film.example/a%2Fb?x=%7e"


def test_a_proxy_is_left_out_where_the_environment_says_so(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    async def work(client: HttpClient) -> None:
        (await ask(client, origin.url)).close()

    with_client(work)
    assert len(origin.requests) == 1


def refused_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_dead_is_named_and_not_the_host(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = refused_port()
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:s3cret@127.0.0.1:{port}")
    failure = fault(f"{scheme}://film.example/a.mp4").failure
    why = os.strerror(errno.ECONNREFUSED)
    assert failure.kind is FailureKind.CONNECT
    shown = f"the proxy http://127.0.0.1:{port} of the environment's {scheme}_proxy"
    assert failure.reason == f"{shown} cannot be reached ({why})"
    assert failure.remedy == f"check the environment's {scheme}_proxy"


def test_the_proxy_of_the_download_goes_before_the_environments(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = "http://film.example/a.mp4"

    async def work(client: HttpClient, proxy: str) -> bytes:
        settings = RequestSettings(cookies=CookieStore(url), proxy=proxy)
        answer = await client.get(url, settings, request_headers={}, idle_timeout_s=5.0)
        body = await all_of(answer)
        answer.close()
        return body

    assert with_client(lambda client: work(client, origin.base)) == DATA
    assert origin.requests[0].target == url
    port = refused_port()
    shown = f"the proxy http://127.0.0.1:{port} of proxy=… cannot be reached"
    with pytest.raises(ConnectionFault, match=shown):
        with_client(lambda client: work(client, f"http://127.0.0.1:{port}"))


def test_a_proxy_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", unknown)
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    reason = fault("http://film.example/a.mp4").failure.reason
    shown = "the proxy http://proxy.invalid:3128 of the environment's http_proxy"
    assert reason == f"the name of {shown} could not be resolved"


def test_the_proxy_of_a_callers_session_is_called_so() -> None:
    async def main() -> str:
        proxy = f"http://127.0.0.1:{refused_port()}"
        async with aiohttp.ClientSession(proxy=proxy) as theirs:
            with pytest.raises(ConnectionFault) as caught:
                await ask(HttpClient(session=theirs), "http://film.example/a.mp4")
            return caught.value.failure.reason

    assert asyncio.run(main()).startswith("the session's proxy 127.0.0.1:")


def test_a_callers_session_knows_its_own_proxy(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def main() -> None:
        async with aiohttp.ClientSession() as theirs:
            (await ask(HttpClient(session=theirs), origin.url)).close()

    asyncio.run(main())
    assert len(origin.requests) == 1


def test_public_only_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy nobody could tell which address it connects to."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def work(client: HttpClient) -> HttpResponse:
        return await ask(client, "http://10.0.0.1/")

    with pytest.raises(URLNotAllowed, match=r"10\.0\.0\.1 is not on the public internet"):
        with_client(work, public_only=True)


# Public addresses only.


def test_public_only_lets_public_addresses_through(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def public(ip: str) -> bool:
        asked.append(ip)
        return True

    monkeypatch.setattr("vidnb.io.client.is_public_address", public)

    async def work(client: HttpClient) -> bytes:
        answer = await ask(client, origin.url)
        body = await all_of(answer)
        answer.close()
        return body

    assert with_client(work, public_only=True) == DATA
    assert asked == ["127.0.0.1"]


def test_public_only_tries_the_next_answer_of_the_resolver(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private answer is passed over; a public one after it is as good as ever."""

    def getaddrinfo(_host: str, port: int, *_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in ("127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("vidnb.io.client.is_public_address", lambda ip: ip == "127.0.0.1")

    async def work(client: HttpClient) -> None:
        (await ask(client, f"http://film.example:{origin.port}/")).close()

    with_client(work, public_only=True)
    assert len(origin.requests) == 1
