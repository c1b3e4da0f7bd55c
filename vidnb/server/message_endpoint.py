"""The way back: a page posts what happens in its player to the server that the video comes from.

A kernel reads its messages between two cells; this server reads them always. Each mailbox has an
unguessable address of its own. Who knows it may put letters of the expected names and sizes into
it and learn that it is there (`ping`); nothing comes out of it.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from aiohttp import web

from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.response_writer import Exchange, date_field, write_head

__all__ = [
    "LETTER_BYTES",
    "PONG",
    "PREFIX",
    "MessageEndpoint",
    "hosts_of",
    "message_endpoints",
    "receive",
]

PREFIX: Final = "/~/"
"""What the path of every mailbox begins with, and that of no file: no token holds a tilde."""

PONG: Final = b"vidnb\n"
"""What `ping` answers, so that a page of a proxy's own is not taken for the server."""

LETTER_BYTES: Final = 64 * 1024
"""The most in one ordinary letter; a hundred reports of a player are 20 kB."""

RECEIVE_S: Final = 30.0
"""How long a letter may take to come in."""

_PREFLIGHT: Final = (
    ("Allow", "GET, HEAD, POST, OPTIONS"),
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
)


class MessageEndpoint:
    """One address for letters, until it is closed.

    `deliver(name, data)` is called with each letter on the server's own loop, so it must not wait;
    a `ValueError` of it tells the sender that the letter makes no sense.
    """

    def __init__(self, deliver: Callable[[str, bytes], None]) -> None:
        self.deliver = deliver
        self.token = secrets.token_urlsafe(24)
        self.hosts = AllowedHosts()
        self._most_bytes: dict[str, int] = {}

    @property
    def path(self) -> str:
        """The path of its address, without its first slash; the letter's name follows."""
        return f"{PREFIX[1:]}{self.token}/"

    def expect(self, name: str, most_bytes: int = LETTER_BYTES) -> None:
        """Take letters of this name, of at most so many bytes."""
        self._most_bytes[name] = most_bytes

    def refuse(self, name: str) -> None:
        """Take letters of this name no more."""
        self._most_bytes.pop(name, None)

    def most_bytes(self, name: str) -> int | None:
        """Return how large a letter of this name may be, None where none is expected."""
        return self._most_bytes.get(name)


class MessageEndpoints:
    """The mailboxes of this process; opened and closed from any thread."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._boxes: dict[bytes, MessageEndpoint] = {}

    def add(self, box: MessageEndpoint) -> None:
        """Open it."""
        self._boxes[self._digest(box.token.encode())] = box

    def remove(self, box: MessageEndpoint) -> None:
        """Close it; a second time is no harm."""
        self._boxes.pop(self._digest(box.token.encode()), None)

    def find(self, token: bytes) -> MessageEndpoint | None:
        """Return the mailbox of a token, in a time that tells nothing about the others.

        The dictionary compares keyed digests, which a guesser cannot steer.
        """
        box = self._boxes.get(self._digest(token))
        return box if box is not None and compare_digest(box.token.encode(), token) else None

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=16).digest()


# Kept over importlib.reload and %autoreload, which would otherwise lose the living players.
message_endpoints: MessageEndpoints = globals().get("message_endpoints") or MessageEndpoints()
"""All of this process: an address is a secret, so they need no server of their own."""


def hosts_of(path: str) -> AllowedHosts:
    """Return under which names the mailbox of a path, which begins with `PREFIX`, may be asked."""
    box = _addressed(path)[0]
    return AllowedHosts() if box is None else box.hosts


def _addressed(path: str) -> tuple[MessageEndpoint | None, str]:
    token, _, name = path.removeprefix(PREFIX).partition("/")
    return message_endpoints.find(token.encode("utf-8", "surrogateescape")), name


async def receive(exchange: Exchange, path: str, cors: str) -> web.StreamResponse:
    """Answer a request whose `path` begins with `PREFIX`; `cors` are header lines for its origin.

    204 where a letter was delivered, 404 for an address or a name that is not known, 405 for
    another method, 408, 413 and 400 (RFC 9110 section 15.5) for a letter that is too slow, too
    large or makes no sense.
    """
    box, name = _addressed(path)
    method = exchange.request.method
    most_bytes = None if box is None else box.most_bytes(name)
    if box is None or (most_bytes is None and name != "ping"):
        exchange.keep_alive = method in {"GET", "HEAD", "OPTIONS"} and exchange.keep_alive
        return await exchange.say(404, cors if box is not None else "")
    if method == "OPTIONS":
        rest = cors + exchange.connection
        return await exchange.send(write_head(204, (date_field(), *_PREFLIGHT), rest))
    if name == "ping" and method in {"GET", "HEAD"}:
        return await _pong(exchange, cors)
    if most_bytes is None or method != "POST":
        exchange.keep_alive = False  # whatever body may follow is not read
        allow = "GET, HEAD, OPTIONS" if most_bytes is None else "POST, OPTIONS"
        return await exchange.say(405, f"Allow: {allow}\r\n{cors}")
    letter = await _read(exchange.request, most_bytes)
    if isinstance(letter, int):
        exchange.keep_alive = False  # the rest of its body is not read
        return await exchange.say(letter, cors)
    try:
        box.deliver(name, letter)
    except ValueError:
        return await exchange.say(400, cors)
    rest = f"Cache-Control: no-store\r\n{cors}{exchange.connection}"
    return await exchange.send(write_head(204, (date_field(),), rest))


async def _pong(exchange: Exchange, cors: str) -> web.StreamResponse:
    fields = (
        date_field(),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(PONG))),
        ("Cache-Control", "no-store"),
    )
    return await exchange.send(write_head(200, fields, cors + exchange.connection), PONG)


async def _read(request: web.BaseRequest, most_bytes: int) -> bytes | int:
    """Return the body, or the status of why not."""
    if (request.content_length or 0) > most_bytes:
        return 413
    data = bytearray()
    try:
        async with asyncio.timeout(RECEIVE_S):
            while not request.content.at_eof():
                data += await request.content.readany()
                if len(data) > most_bytes:
                    return 413
    except TimeoutError:
        return 408
    return bytes(data)
