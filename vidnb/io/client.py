"""The HTTP client of vidnb, on aiohttp.

Redirects are followed here, one at a time, because `vidnb.http.urls` decides which origin may see
the caller's headers. Exceptions of aiohttp, ssl and sockets become a `ConnectionFault` here.

The idle timeout is vidnb's own: `sock_read` of aiohttp 3.14.5 stops while its reader is paused. A
body without length and chunks ends with its connection, complete or not: `HttpResponse.is_framed`
says so.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from vidnb.http.codings import parse_framing
from vidnb.http.credentials import choose_credentials
from vidnb.http.headers import fold_headers
from vidnb.http.proxies import Proxy
from vidnb.http.response_lines import ABOUT_FRAMING, MAX_HEAD_BYTES, MAX_HEAD_LINES
from vidnb.http.urls import (
    check_url,
    is_public_address,
    next_redirect,
    origin,
    without_credentials,
)
from vidnb.io.body import ResponseBody, incomplete
from vidnb.io.certificates import CertificateFileError, certificate_variables, default_context
from vidnb.io.client_errors import (
    FAULTS,
    ConnectionFault,
    NotPublicError,
    loss,
    malformed,
    mapped,
    silence,
    unreadable_certificates,
)
from vidnb.io.proxy import (
    login_required,
    proxy_fault,
    request_faults,
    select_proxy,
    socks_connector,
)
from vidnb.io.request_settings import RequestSettings
from vidnb.io.response_filter import FilteringConnector
from vidnb.io.threads import run_in_thread

__all__ = ["ConnectionFault", "HttpClient", "HttpResponse"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "vidnb (+aiohttp)"


class HttpResponse:
    """One response: its head is here, its body is read piece by piece.

    `url` is the address after redirects, `headers` are folded with lower-case names, and
    `is_framed` is False where only the close of the connection marks the end of the body.
    `login` says where the credentials of its request came from, None without any. A body of a
    stated length of at most `max_whole_bytes` may be read by `read_whole` instead.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        idle_timeout_s: float,
        login: str | None = None,
        max_whole_bytes: int = 0,
    ) -> None:
        self._response = response
        self._is_whole = False
        self._idle_timeout_s = idle_timeout_s
        self.login = login
        self.url = str(response.url)
        self.status = response.status
        self.headers = fold_headers(response.headers.items())
        framing = parse_framing(self.headers)
        self.is_framed = framing.marks_end
        self._early_body: ResponseBody | None = None
        if not 0 < (framing.length_bytes or 0) <= max_whole_bytes:
            self._early_body = ResponseBody(response)  # now: an error would drop what arrived

    @property
    def _body(self) -> ResponseBody:
        if self._early_body is None:
            self._early_body = ResponseBody(self._response)
        return self._early_body

    async def read_whole(self, length_bytes: int) -> bytes:
        """Return the whole body, of `length_bytes`, or nothing of it; raises `ConnectionFault`.

        aiohttp parses it, which costs less than a protocol of our own if there is little to copy.
        """
        content, pieces, left_bytes = self._response.content, [], length_bytes
        try:
            while left_bytes > 0:
                async with asyncio.timeout(self._idle_timeout_s):
                    data = await content.readany()
                if not data:  # aiohttp raises before, for a length that it has read
                    raise ConnectionFault(loss(incomplete()))
                pieces.append(data)
                left_bytes -= len(data)
        except TimeoutError as error:
            raise ConnectionFault(silence(self._idle_timeout_s)) from error
        except FAULTS as error:
            raise ConnectionFault(loss(error)) from error
        self._is_whole = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self) -> bytes | memoryview:
        """Return the next bytes of the body, empty at its end; raises `ConnectionFault`."""
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await self._body.read()
        except TimeoutError as error:
            raise ConnectionFault(silence(self._idle_timeout_s)) from error
        except FAULTS as error:
            raise ConnectionFault(loss(error)) from error

    def hold(self) -> None:
        """Pause receiving until the next `read`."""
        self._body.hold()

    def close(self) -> None:
        """Release the connection; it is reused only if the body was received whole."""
        if self._is_whole:
            self._response.release()
            return
        self._body.close()
        if self._body.is_reusable:
            self._response.release()
        else:
            self._response.close()


class HttpClient:
    """Requests for files: identity encoding, no automatic redirects, no cookies of its own.

    `session` is the caller's `aiohttp.ClientSession`; it is used for the origin of the first
    request only, since its default headers must not reach another one. `public_only` refuses
    private addresses when the socket is created, so after every redirect and DNS lookup.
    """

    def __init__(
        self, *, session: aiohttp.ClientSession | None = None, public_only: bool = False
    ) -> None:
        self._theirs = session
        self._public_only = public_only
        self._own: dict[Proxy | None, aiohttp.ClientSession] = {}  # one for each SOCKS proxy
        self._context: ssl.SSLContext | None = None  # without environment variables

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
        """Close vidnb's own connections; the caller's session stays open."""
        while self._own:
            await self._own.popitem()[1].close()

    async def get(
        self,
        url: str,
        settings: RequestSettings,
        *,
        request_headers: Mapping[str, str],
        idle_timeout_s: float,
        max_whole_bytes: int = 0,
    ) -> HttpResponse:
        """Request `url`, follow its redirects, and return the first response that is not one.

        The headers of `settings` are dropped if a redirect leads to another origin; the login of
        each request is `choose_credentials`'s. `request_headers` (Range and the like) are sent with
        every request. Nothing may arrive for at most `idle_timeout_s`. Raises `ConnectionFault`,
        `URLNotAllowed` for a URL that vidnb does not fetch, and `MissingExtra` for a SOCKS proxy
        without its package. `max_whole_bytes`: see `HttpResponse`.
        """
        first = current = check_url(url)
        carried = dict(settings.headers)

        def theirs_for(url: str) -> aiohttp.ClientSession | None:
            return self._theirs if origin(url) == origin(first) else None

        def cookies_for(url: str) -> str:
            theirs = theirs_for(url)
            if theirs is not None:  # it sends its own
                return str(theirs.cookie_jar.filter_cookies(URL(url, encoded=True)))
            return settings.cookies.header(url)

        seen: list[tuple[str, str]] = []
        while True:
            theirs = theirs_for(current)
            headers = _merged(carried, request_headers)
            login = choose_credentials(current, first, carried, settings.auth, settings.netrc)
            if login is not None:
                headers["Authorization"] = login.authorization
            cookie = settings.cookies.header(current, headers.get("Cookie", ""))
            if cookie and theirs is None:
                headers["Cookie"] = cookie
            seen.append((current, cookies_for(current)))
            response = await self._request(theirs, current, settings, headers, idle_timeout_s)
            settings.cookies.receive(response.headers.getall("Set-Cookie", ()), current)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                source = login.source if login else None
                return HttpResponse(response, idle_timeout_s, source, max_whole_bytes)
            response.close()
            current, carried = next_redirect(current, location, carried, seen, cookies_for)

    def _session_for(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        """Return vidnb's own session; a SOCKS proxy has one of its own."""
        key = proxy if proxy is not None and proxy.is_socks else None
        if key not in self._own:
            self._own[key] = aiohttp.ClientSession(
                connector=self._connector(key),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": _USER_AGENT},
            )
        return self._own[key]

    def _connector(self, proxy: Proxy | None) -> aiohttp.BaseConnector:
        if proxy is not None:
            return socks_connector(proxy)
        return FilteringConnector(
            limit=0,  # the planner limits connections
            socket_factory=_public_socket if self._public_only else None,
        )

    async def _route(
        self,
        proxy: Proxy | None,
        url: str,
        settings: RequestSettings,
        headers: CIMultiDict[str],
    ) -> dict[str, Any]:
        """Return proxy and certificates of a request of vidnb's own session."""
        is_tls = url.startswith("https:")
        route: dict[str, Any] = {}
        if is_tls or (proxy is not None and proxy.scheme == "https"):
            route["ssl"] = settings.ssl_context or await self._default_context()
        if proxy is None or proxy.is_socks:
            return route
        route["proxy"] = URL(str(proxy))
        if proxy.authorization is not None:
            login = {"Proxy-Authorization": proxy.authorization}
            if is_tls:
                route["proxy_headers"] = login
            else:  # there is no tunnel: the proxy reads the request itself
                headers.update(login)
        return route

    async def _default_context(self) -> ssl.SSLContext:
        """Return the context for the default certificates; aiohttp pools connections by it."""
        variables = certificate_variables(os.environ)
        if not variables and self._context is not None:
            return self._context
        try:
            context = await run_in_thread(default_context, variables)
        except CertificateFileError as error:
            raise ConnectionFault(unreadable_certificates(error)) from error
        if not variables:
            self._context = context
        return context

    async def _request(
        self,
        theirs: aiohttp.ClientSession | None,
        url: str,
        settings: RequestSettings,
        headers: CIMultiDict[str],
        idle_timeout_s: float,
    ) -> aiohttp.ClientResponse:
        """Send one request; proxy and certificates of the caller's session are its own."""
        proxy, route = None, {}
        if theirs is None:
            # Behind a proxy the address that it connects to is not known.
            proxy = None if self._public_only else select_proxy(url, settings.proxy)
            route = await self._route(proxy, url, settings, headers)
        session = theirs or self._session_for(proxy)
        sending: Awaitable[aiohttp.ClientResponse] = session.get(
            URL(without_credentials(url), encoded=True),  # a signature covers it to the letter
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,  # the planner judges the status
            # No limit on the total: a slow but steady download may take any time.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=idle_timeout_s),
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEAD_LINES,
            **route,
        )
        try:
            async with asyncio.timeout(idle_timeout_s):
                response = await sending
        except request_faults() as error:
            if proxy is not None:
                raise proxy_fault(error, url, idle_timeout_s, proxy) from error
            raise mapped(error, url, idle_timeout_s, "session") from error
        if response.status == 407 and proxy is not None and proxy.answers_for(url):
            response.close()
            raise ConnectionFault(login_required(proxy, response.headers))
        if any(name != name.strip() for name in response.headers):  # of the caller's session
            response.close()
            raise ConnectionFault(malformed(ABOUT_FRAMING))
        return response


def _merged(
    caller_headers: Mapping[str, str], request_headers: Mapping[str, str]
) -> CIMultiDict[str]:
    """Return all headers of a request; vidnb's own replace the caller's of the same name."""
    merged = CIMultiDict({"Accept": "*/*"})
    merged.update(caller_headers)
    merged.update(request_headers)
    merged["Accept-Encoding"] = "identity"
    return merged


def _public_socket(
    address: tuple[int, int, int, str, tuple[object, ...]],
) -> socket.socket:
    """Create the socket for an address; `NotPublicError` unless the address is public."""
    family, kind, protocol, _, sockaddr = address
    if not is_public_address(str(sockaddr[0])):
        raise NotPublicError
    return socket.socket(family, kind, protocol)
