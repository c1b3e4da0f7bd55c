"""Who gets in and what they get: tokens, hosts, methods, then `core.answer`'s judgement.

aiohttp reads the requests; `Exchange` sends the answers.
"""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final, Protocol, cast
from urllib.parse import quote, unquote_to_bytes, urlsplit

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from vidnb.core.answer import Answer, answer
from vidnb.core.headers import fold_headers
from vidnb.core.hosts import HostNames
from vidnb.core.routes import ANY_NAME
from vidnb.engine import mailbox, page
from vidnb.engine.connection import Connection
from vidnb.engine.exchange import (
    CLOSED,
    TAIL_BYTES,
    Desk,
    Exchange,
    date_field,
    write_head,
)
from vidnb.engine.sources import ChangedError, FileSource, Source, Version

__all__ = ["PROXY_PARTIAL_BYTES", "Entry", "Place", "Registry", "WebServer"]

logger = logging.getLogger(__name__)

PROXY_PARTIAL_BYTES: Final = 4_000_000
"""The most in a 206 through jupyter-server-proxy, which collects an answer before sending it on."""

KEEP_ALIVE_S: Final = 60.0
"""How long a connection may be without a whole request, and a request's head may take."""

MAX_CONNECTIONS: Final = 512
"""More are cut off at once: half the usual limit of descriptors is left to the notebook."""

_ORIGIN: Final = re.compile(r"[\x21-\x7e]{1,512}")
_PROXY_FIELDS: Final = ("x-forwarded-context", "x-forwarded-prefix", "x-proxycontextpath")

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


_LOOPBACK: Final = HostNames()


class Place(Protocol):
    """What a token opens: a page, and for an `Entry` its file too."""

    page_token: str
    hosts: HostNames

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that open it."""

    async def page(self) -> page.Page:
        """Return the page of `page_token`. `OSError`: what it shows is gone."""

    def end(self) -> set[asyncio.Task[Any]]:
        """Let go of everything; return the tasks that end now. On the server's loop."""


@dataclass(eq=False, slots=True)
class Entry:
    """One served file: its source, its two unguessable tokens, and the answers that run."""

    source: Source
    size_bytes: int
    max_partial_bytes: int | None
    hosts: HostNames = field(default_factory=HostNames)
    back: str = ""  # where its page leads back to, relative to the page; empty for nowhere
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    answered: Counter[int] = field(default_factory=Counter)
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    quoted_name: str = field(init=False)

    def __post_init__(self) -> None:
        self.quoted_name = quote(self.source.name.encode("utf-8", "surrogateescape"), safe="")

    @property
    def path(self) -> str:
        """The path of the file's URL, without its first slash."""
        return f"{self.token}/{self.quoted_name}"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The file's token and its page's."""
        return self.token, self.page_token

    async def page(self) -> page.Page:
        """Return the player page."""
        return page.player(self.source.name, f"../{self.path}", self.size_bytes, self.back)

    def note(self, method: str, status: int) -> None:
        """Count an answer that is given."""
        self.answered[status] += 1
        logger.debug("%s %r: %d", method, self.source.name, status)

    def end(self) -> set[asyncio.Task[Any]]:
        """Cut off the answers that run, let go of the file, and return the tasks that end now.

        On the server's loop. The tasks are cancelled, never their connections: aborted in the
        middle of a sendfile, asyncio would keep the dead descriptor in its selector, and the next
        connection with that number would hang.
        """
        self.source.close()
        for task in self.running:
            task.cancel()
        return set(self.running)


class Registry:
    """What is served, by token; added and removed from any thread."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._places: dict[bytes, tuple[bytes, Place]] = {}

    def add(self, place: Place) -> None:
        """Serve `place`, and its page, from now on."""
        for token in place.tokens:
            self._places[self._digest(token.encode())] = token.encode(), place

    def remove(self, place: Place) -> None:
        """Free all its tokens at once; a second time is no harm."""
        for token in place.tokens:
            self._places.pop(self._digest(token.encode()), None)

    def find(self, token: bytes) -> Place | None:
        """Return what a token opens, in a time that tells nothing about the tokens there are.

        The dictionary compares keyed digests, which a guesser cannot steer.
        """
        known, place = self._places.get(self._digest(token), (b"", None))
        return place if compare_digest(known, token) else None

    def places(self) -> set[Place]:
        """Return all that is served."""
        return {place for _, place in tuple(self._places.values())}

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=16).digest()


def _is_foreign(host: str | None, fields: Mapping[str, str], ours: HostNames) -> bool:
    """Tell whether a request came under a name that is not ours, as DNS rebinding would have it.

    jupyter-server-proxy forwards the browser's Host unchanged, and its own fields beside it. The
    token is the lock; this is the chain on the door.
    """
    if host is None or ours.hold(host):
        return False
    return not all(name in fields for name in _PROXY_FIELDS)


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
        entry = cast("Entry", found[0])
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
            return await mailbox.receive(exchange, found, _cors(fields))
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
        entry = cast("Entry", place)
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
    ) -> int | str | tuple[Place, bool]:
        """Return what is asked for and whether its page is meant.

        Or the path of a mailbox, or the status of a refusal.
        """
        hosts = headers.getall("Host", ())
        if len(hosts) > 1 or (not hosts and version >= (1, 1)):  # RFC 9112 section 3.2
            return 400
        authority, path = _target(target)
        host = authority or (hosts[0] if hosts else None)
        if path.startswith(mailbox.PREFIX) and not _is_foreign(host, fields, _LOOPBACK):
            return path
        if method not in {"GET", "HEAD", "OPTIONS"}:
            return 405
        place, is_page = self._find(path)
        if place is None or _is_foreign(host, fields, place.hosts):
            return 404
        return place, is_page

    def _find(self, path: str) -> tuple[Place | None, bool]:
        """Return what a path opens, and whether it names its page."""
        before, _, relative = path.partition("/")
        token, slash, name = relative.partition("/")
        place = self._registry.find(token.encode("utf-8", "surrogateescape"))
        if place is None or before or not slash:
            return None, False
        if compare_digest(token, place.page_token):
            return (None if name else place), True
        # Not `isinstance`: after a reload of this module, older entries are of another class.
        entry = cast("Entry", place)
        if name == entry.quoted_name:  # as our own URL has it
            return entry, False
        own_name = entry.source.name.encode("utf-8", "surrogateescape")
        is_its_name = name == ANY_NAME or unquote_to_bytes(name) == own_name
        return (entry if is_its_name else None), False


def _made(entry: Entry, method: str, fields: Mapping[str, str], version: Version) -> Answer:
    cap = entry.max_partial_bytes
    if all(name in fields for name in _PROXY_FIELDS):
        cap = min(cap or PROXY_PARTIAL_BYTES, PROXY_PARTIAL_BYTES)
    return answer(
        method,
        fields,
        version.size_bytes,
        version.validator,
        version.modified_s,
        now_s=time.time(),
        media_type=entry.source.media_type,
        # Only several ranges need one that nobody can have written into the file.
        boundary=secrets.token_hex(16) if "," in fields.get("range", "") else "-",
        max_partial_bytes=cap,
    )


async def _send_file(entry: Entry, exchange: Exchange, rest: str) -> web.StreamResponse:
    try:
        version = await entry.source.version()
    except (OSError, ValueError):  # it was there when it was registered
        return await exchange.say(404)
    try:
        made = _made(entry, exchange.request.method, exchange.fields, version)
        entry.note(exchange.request.method, made.status)
        connection = cast("Connection", exchange.request.protocol)
        connection.expects_small = sum(span.size_bytes for span in made.spans) <= TAIL_BYTES
        return await exchange.send_answer(made, _CACHE_CONTROL + rest, version)
    finally:
        version.close()


async def _send_page(place: Place, exchange: Exchange, rest: str) -> web.StreamResponse:
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
