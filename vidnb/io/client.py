"""The only HTTP client of vidnb: aiohttp behind one small seam.

Redirects are followed here, one hop at a time, because who may see the caller's headers is
`core.address`'s decision and not a library's. Whatever aiohttp, ssl or the socket raise becomes a
`ConnectionFault` with a `Failure` in it, once, at this edge.

Two of aiohttp's habits are worked around. After a malformed chunk size its C parser closes the
connection and tells nobody (3.14.5): whoever reads the body would wait for ever, `sock_read` or
not, so the end of the connection is told to the body here. A body without length and chunks ends
with the connection, whole or not: `HttpResponse.is_framed` says so.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from vidnb.http.headers import fold_headers
from vidnb.http.urls import check_url, is_public_address, next_redirect, origin
from vidnb.io.body import Body, take_over
from vidnb.io.client_errors import FAULTS, ConnectionFault, NotPublicError, loss, mapped, silence

__all__ = ["ConnectionFault", "HttpClient", "HttpResponse"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BUFFER_BYTES = 2**19  # at 64 KiB aiohttp stops and restarts the socket after every read
_USER_AGENT = "vidnb (+aiohttp)"

# Elsewhere a proxy may be named outside of the environment, whose every entry `getproxies` reads.
_HAS_NO_SETTINGS = sys.platform not in {"darwin", "win32"}
_PROXY_NAMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class HttpResponse:
    """One answer: its head is here, its body is read piece by piece.

    `url` is the address after redirects, `headers` are folded with lower-case names, and
    `is_framed` is False where only the close of the connection tells the end of the body.
    """

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout_s: float) -> None:
        self._response = response
        self._idle_timeout_s = idle_timeout_s
        self.url = str(response.url)
        self.status = response.status
        self.headers = fold_headers(response.headers.items())
        self._body: Body | None = None
        self._is_begun = False
        self._closed: asyncio.Future[None] | None = None
        self.is_framed = "content-length" in self.headers or "chunked" in self.headers.get(
            "transfer-encoding", ""
        )

    async def read(self) -> bytes | memoryview:
        """Return the next bytes of the body, none at its end; raises `ConnectionFault`."""
        if not self._is_begun:
            self._is_begun = True
            self._body = take_over(self._response)
            if self._body is None:
                self._watch_the_close()
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                if self._body is not None:
                    return await self._body.read()
                return await self._response.content.readany()
        except TimeoutError as error:
            raise ConnectionFault(silence(self._idle_timeout_s)) from error
        except FAULTS as error:
            rest = self._rest()
            if rest:
                return rest  # the next call raises: the stream keeps its exception
            raise ConnectionFault(loss(error)) from error

    def hold(self) -> None:
        """Leave what still comes of a long body to the connection, until the next `read`."""
        if self._body is not None:
            self._body.hold()

    def _rest(self) -> bytes:
        """Return what had arrived before the connection broke.

        aiohttp raises before it hands out what it has buffered (3.14.5), and an origin that sends a
        little and hangs up every time would never get anywhere.
        """
        content = self._response.content
        return content._read_nowait(-1) if content._buffer else b""  # noqa: SLF001 - no other way

    def _watch_the_close(self) -> None:
        """Have the body hear of the end of its connection."""
        connection = self._response.connection
        if connection is None or connection.protocol is None:  # the body is over
            return
        self._closed = connection.protocol.closed
        if self._closed is None:  # closed already
            self._tell_the_body()
        else:
            self._closed.remove_done_callback(_hear)  # one is enough, however often it serves
            self._closed.add_done_callback(_hear)
            self._closed.add_done_callback(self._on_closed)

    def _on_closed(self, _: asyncio.Future[None]) -> None:
        self._tell_the_body()

    def _tell_the_body(self) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body is not whole"))

    def close(self) -> None:
        """Give the connection up; one whose short body was read to its end serves again."""
        if self._closed is not None:  # it may serve a thousand more
            self._closed.remove_done_callback(self._on_closed)
        if self._body is not None:
            self._body.close()
        if self._response.content.is_eof():
            self._response.release()
            return
        connection = self._response.connection
        if connection is not None and isinstance(connection.transport, asyncio.Transport):
            # Under TLS asyncio would say farewell, and wait half a minute for an answer to it.
            connection.transport.abort()
        self._response.close()


class HttpClient:
    """Requests for files: identity coding, no cookies, no automatic anything.

    `session` is the caller's `aiohttp.ClientSession`; it serves the origin of the first request
    only, since its default headers must not reach another one. `public_only` refuses private
    addresses when the socket is made, so after every redirect and every DNS answer.
    """

    def __init__(
        self, *, session: aiohttp.ClientSession | None = None, public_only: bool = False
    ) -> None:
        self._theirs = session
        self._public_only = public_only
        self._own: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close vidnb's own connections; the caller's session stays as it is."""
        if self._own is not None:
            await self._own.close()
            self._own = None

    async def get(
        self,
        url: str,
        *,
        caller_headers: Mapping[str, str],
        request_headers: Mapping[str, str],
        idle_timeout_s: float,
    ) -> HttpResponse:
        """Ask for `url`, follow its redirects, and return the first answer that is none.

        `caller_headers` are dropped where a redirect leads to another origin; `request_headers`
        (Range and the like) go to every hop. Raises `ConnectionFault`, and `URLNotAllowed` for an
        address that vidnb does not fetch from.
        """
        current = check_url(url)
        first_origin = origin(current)
        carried: dict[str, str] = dict(caller_headers)
        seen = [current]
        while True:
            session = self._session_for(is_first_origin=origin(current) == first_origin)
            response = await self._request(
                session, current, _merged(carried, request_headers), idle_timeout_s
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return HttpResponse(response, idle_timeout_s)
            response.close()
            current, carried = next_redirect(current, location, carried, seen)
            seen.append(current)

    def _session_for(self, *, is_first_origin: bool) -> aiohttp.ClientSession:
        if self._theirs is not None and is_first_origin:
            return self._theirs
        if self._own is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # how many connections are open is the planner's decision
                socket_factory=_public_socket if self._public_only else None,
            )
            self._own = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
                headers={"User-Agent": _USER_AGENT},
            )
        return self._own

    async def _request(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        idle_timeout_s: float,
    ) -> aiohttp.ClientResponse:
        sending: Awaitable[aiohttp.ClientResponse] = session.get(
            URL(url, encoded=True),  # a signature covers the address to the letter
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,  # a status is the planner's to judge, whatever the session says
            # The total must be open-ended: a slow but steady film takes as long as it takes.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=idle_timeout_s),
            # The caller's session knows its own proxy.
            proxy=None if self._public_only or session is self._theirs else _proxy_for(url),
        )
        try:
            async with asyncio.timeout(idle_timeout_s):
                return await sending
        except (*FAULTS, ValueError) as error:
            whose = "session" if session is self._theirs else "environment"
            raise mapped(error, url, idle_timeout_s, whose) from error


def _hear(closed: asyncio.Future[None]) -> None:
    """Take note of how a connection ended; asyncio would log what nobody asks for."""
    with contextlib.suppress(asyncio.CancelledError):
        closed.exception()


def _merged(
    caller_headers: Mapping[str, str], request_headers: Mapping[str, str]
) -> CIMultiDict[str]:
    """Return all headers of a request: vidnb's own are sent once, however the caller spelt them."""
    merged = CIMultiDict({"Accept": "*/*"})
    merged.update(caller_headers)
    merged.update(request_headers)
    merged["Accept-Encoding"] = "identity"
    return merged


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for this address, as urllib reads it."""
    if _HAS_NO_SETTINGS and not any(name in os.environ for name in _PROXY_NAMES):
        return None
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _public_socket(
    address: tuple[int, int, int, str, tuple[object, ...]],
) -> socket.socket:
    """Make the socket for an address, or refuse: the last look before a connection."""
    family, kind, protocol, _, sockaddr = address
    if not is_public_address(str(sockaddr[0])):
        raise NotPublicError
    return socket.socket(family, kind, protocol)
