"""Who gets in and what they get: tokens, hosts, methods, then `core.answer`'s judgement.

aiohttp reads the requests; `Exchange` sends the answers.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes, urlsplit

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from vidnb.http.allowed_hosts import is_disallowed_host, partial_limit_bytes
from vidnb.http.headers import fold_headers
from vidnb.http.range_response import RangeResponse, build_response
from vidnb.server import message_endpoint
from vidnb.server.protocol import Connection
from vidnb.server.registry import FileResource, Registry, Resource
from vidnb.server.response_writer import (
    CLOSED,
    TAIL_BYTES,
    Desk,
    Exchange,
    date_field,
    write_head,
)
from vidnb.server.routes import ANY_FILE_NAME
from vidnb.server.sources import ChangedError, FileSource, OpenVersion

__all__ = ["WebServer"]

logger = logging.getLogger(__name__)

KEEP_ALIVE_S: Final = 60.0
"""How long a connection may be without a whole request, and a request's head may take."""

MAX_CONNECTIONS: Final = 512
"""More are cut off at once: half the usual limit of descriptors is left to the notebook."""

_ORIGIN: Final = re.compile(r"[\x21-\x7e]{1,512}")

_CACHE_CONTROL: Final = "Cache-Control: private, no-cache\r\n"
_EXPOSED: Final = (
    "Access-Control-Expose-Headers: "
    "Accept-Ranges, Content-Length, Content-Range, Content-Type, Date, ETag, Last-Modified\r\n"
)
_PREFLIGHT: Final = (
    ("Allow", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Methods", "GET, HEAD"),
    (
        "Access-Control-Allow-Headers",
        "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since",
    ),
    ("Access-Control-Max-Age", "600"),
)


def _cors(fields: Mapping[str, str]) -> str:
    """Let the asking origin, and no other, read the answer; never with credentials."""
    origin = fields.get("origin")
    if origin is None or not _ORIGIN.fullmatch(origin):
        return "Vary: Origin\r\n"
    return f"Vary: Origin\r\nAccess-Control-Allow-Origin: {origin}\r\n{_EXPOSED}"


def _target(raw: str) -> tuple[str | None, str]:
    """Return the authority, where the target names one (RFC 9112 section 3.2.2), and the path."""
    if raw.startswith("/"):
        return None, raw.partition("?")[0]
    try:
        split = urlsplit(raw)
    except ValueError:
        return None, ""
    return split.netloc, split.path


class WebServer(web.Server):
    """aiohttp's server with vidnb's answers; made on the loop that it runs on."""

    def __init__(self, registry: Registry) -> None:
        # A lost connection cancels its answer: one that waits for its source would not notice.
        super().__init__(self._answer, handler_cancellation=True)
        self.transports: dict[web.RequestHandler, asyncio.Transport] = {}
        self._registry = registry
        self._desk = Desk()

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            self.answer_at_once,
            loop=asyncio.get_running_loop(),
            access_log=cast("logging.Logger", None),  # aiohttp's way to say none
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=1.0,
            logger=logger,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection in, or cut it off where there are too many."""
        super().connection_made(handler, transport)
        self.transports[handler] = transport
        if len(self.transports) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        self.transports.pop(handler, None)
        super().connection_lost(handler, exc)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        transport = request.transport
        if transport is None:
            return CLOSED
        connection.note(answering=True)
        try:
            return await self._judge(Exchange(request, transport))
        except asyncio.CancelledError:
            transport.abort()
            raise
        except ConnectionError:
            pass  # the reader is gone, as readers of video are all the time
        except ChangedError:
            logger.debug("A file changed while it was sent; the connection was closed.")
        except Exception:
            logger.exception("An answer failed; the connection was closed.")
        finally:
            connection.note(answering=False)
        transport.abort()
        return CLOSED

    def answer_at_once(self, message: RawRequestMessage, transport: asyncio.Transport) -> bool:
        """Answer a small request for a file whose bytes lie in memory, without a task.

        False, and nothing is done, for everything else.
        """
        fields = fold_headers(message.headers.items())
        found = self._admit(message.method, message.path, message.version, message.headers, fields)
        if not isinstance(found, tuple) or found[1] or message.method == "OPTIONS":
            return False
        entry = cast("FileResource", found[0])
        if not isinstance(entry.source, FileSource):
            return False
        version = entry.source.version_at_once()
        if version is None:
            return False
        try:
            made = _made(entry, message.method, fields, version)
            head = write_head(made.status, made.headers, _CACHE_CONTROL + _cors(fields))
            filled = self._desk.fill(head, made.body, version)
        finally:
            version.close()
        if filled is None:
            return False
        entry.note(message.method, made.status)
        self._desk.send(filled, transport)
        return True

    async def _judge(self, exchange: Exchange) -> web.StreamResponse:
        request, fields = exchange.request, exchange.fields
        found = self._admit(
            request.method, request.raw_path, request.version, request.headers, fields
        )
        if isinstance(found, str):
            return await message_endpoint.receive(exchange, found, _cors(fields))
        if isinstance(found, int):
            if found != 404:  # the request is not understood, or has a body that is not read
                exchange.keep_alive = False
            return await exchange.say(found, "Allow: GET, HEAD, OPTIONS\r\n" * (found == 405))
        place, is_page = found
        rest = _cors(fields) + exchange.connection
        if request.method == "OPTIONS":
            return await exchange.send(write_head(204, (date_field(), *_PREFLIGHT), rest))
        if is_page:
            return await _send_page(place, exchange, rest)
        entry = cast("FileResource", place)
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        entry.running.add(task)
        try:
            return await _send_file(entry, exchange, rest)
        finally:
            entry.running.discard(task)

    def _admit(
        self,
        method: str,
        target: str,
        version: tuple[int, int],
        headers: CIMultiDictProxy[str],
        fields: Mapping[str, str],
    ) -> int | str | tuple[Resource, bool]:
        """Return what is asked for and whether its page is meant.

        Or the path of a mailbox, or the status of a refusal.
        """
        hosts = headers.getall("Host", ())
        if len(hosts) > 1 or (not hosts and version >= (1, 1)):  # RFC 9112 section 3.2
            return 400
        authority, path = _target(target)
        host = authority or (hosts[0] if hosts else None)
        if path.startswith(message_endpoint.PREFIX) and not is_disallowed_host(
            host, fields, message_endpoint.hosts_of(path)
        ):
            return path
        if method not in {"GET", "HEAD", "OPTIONS"}:
            return 405
        place, is_page = self._find(path)
        if place is None or is_disallowed_host(host, fields, place.hosts):
            return 404
        return place, is_page

    def _find(self, path: str) -> tuple[Resource | None, bool]:
        """Return what a path opens, and whether it names its page."""
        before, _, relative = path.partition("/")
        token, slash, name = relative.partition("/")
        place = self._registry.find(token.encode("utf-8", "surrogateescape"))
        if place is None or before or not slash:
            return None, False
        if compare_digest(token, place.page_token):
            return (None if name else place), True
        # Not `isinstance`: after a reload of this module, older entries are of another class.
        entry = cast("FileResource", place)
        if name == entry.quoted_name:  # as our own URL has it
            return entry, False
        own_name = entry.source.name.encode("utf-8", "surrogateescape")
        is_its_name = name == ANY_FILE_NAME or unquote_to_bytes(name) == own_name
        return (entry if is_its_name else None), False


def _made(
    entry: FileResource, method: str, fields: Mapping[str, str], version: OpenVersion
) -> RangeResponse:
    return build_response(
        method,
        fields,
        version.size_bytes,
        version.validator,
        version.modified_s,
        now_s=time.time(),
        media_type=entry.source.media_type,
        # Only several ranges need one that nobody can have written into the file.
        boundary=secrets.token_hex(16) if "," in fields.get("range", "") else "-",
        max_partial_bytes=partial_limit_bytes(fields, entry.max_partial_bytes),
    )


async def _send_file(entry: FileResource, exchange: Exchange, rest: str) -> web.StreamResponse:
    try:
        version = await entry.source.version()
    except (OSError, ValueError):  # it was there when it was registered
        return await exchange.say(404)
    try:
        made = _made(entry, exchange.request.method, exchange.fields, version)
        entry.note(exchange.request.method, made.status)
        connection = cast("Connection", exchange.request.protocol)
        connection.expects_small = (
            sum(byte_range.size_bytes for byte_range in made.byte_ranges) <= TAIL_BYTES
        )
        return await exchange.send_answer(made, _CACHE_CONTROL + rest, version)
    finally:
        version.close()


async def _send_page(place: Resource, exchange: Exchange, rest: str) -> web.StreamResponse:
    try:
        html, policy = await place.page()
    except (OSError, ValueError):  # a folder that was there when it was registered
        return await exchange.say(404)
    fields = (
        date_field(),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(html))),
        ("Content-Security-Policy", policy),
        ("Cache-Control", "no-store"),
    )
    return await exchange.send(write_head(200, fields, rest), html)
