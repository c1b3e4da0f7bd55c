"""Messages from a page: it posts what happens in its player to the server of the video.

A kernel reads its messages between two cells; this server reads them at any time. Each endpoint has
an unguessable URL of its own. Who knows it may post messages of the expected names and sizes, and
learn that the server is there (`ping`); nothing can be read from it.
"""

import asyncio
import logging
import secrets
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.response_writer import ResponseWriter, date_field, write_head

__all__ = ["MESSAGE_BYTES", "PING_BODY", "PREFIX", "MessageEndpoint", "receive"]

logger = logging.getLogger(__name__)

PREFIX: Final = "/~/"
"""What the path of every endpoint begins with, and that of no file: no token holds a tilde."""

PING_BODY: Final = b"vidnb\n"
"""The response to `ping`, so that a page of a proxy's own is not taken for the server."""

MESSAGE_BYTES: Final = 64 * 1024
"""The largest ordinary message (B); a hundred reports of a player are 20 kB."""

MAX_PENDING: Final = 16
"""So many messages of one endpoint are held until they are handled; others are not read yet."""

_PREFLIGHT: Final = (
    ("Allow", "GET, HEAD, POST, OPTIONS"),
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
)

ReadBody = Callable[[int], Awaitable[bytes | int]]
"""Returns a body of at most so many bytes, or the status that tells why not."""


class MessageEndpoint:
    """One URL for messages, as long as it is registered.

    `handle(name, data)` is called with one message after the other, in the order in which they
    came, in a worker thread: a slow one delays the messages of this endpoint and nothing else. A
    `ValueError` of it tells the sender that the message makes no sense.
    """

    def __init__(self, handle: Callable[[str, bytes], None]) -> None:
        self.hosts = AllowedHosts()
        self._handle = handle
        self._token = secrets.token_urlsafe(24)
        self._max_bytes: dict[str, int] = {}
        self._room = asyncio.Semaphore(MAX_PENDING)
        self._lock = threading.Lock()  # of the two below
        self._queue: deque[tuple[str, bytes, asyncio.Future[int]]] = deque()
        self._is_running = False

    @property
    def path(self) -> str:
        """The path of its URL, without its first slash; the message's name follows."""
        return f"{PREFIX[1:]}{self._token}/"

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its token, which holds a slash, so that it opens nothing but an endpoint."""
        return (f"{PREFIX[1:]}{self._token}",)

    def expect(self, name: str, max_bytes: int = MESSAGE_BYTES) -> None:
        """Accept messages of this name, of at most so many bytes."""
        self._max_bytes[name] = max_bytes

    def refuse(self, name: str) -> None:
        """Accept messages of this name no more."""
        self._max_bytes.pop(name, None)

    def max_bytes(self, name: str) -> int | None:
        """Return how large a message of this name may be (B), None where none is expected."""
        return self._max_bytes.get(name)

    def end(self) -> set[asyncio.Task[Any]]:
        """Do nothing: a message that was accepted is handled."""
        return set()

    async def deliver(self, name: str, read_body: ReadBody, max_bytes: int, on: Executor) -> int:
        """Read a message, have it handled on `on` and return the status of the response.

        Beyond `MAX_PENDING` a message is not read before there is room. One that was read is
        handled, also if its sender leaves meanwhile.
        """
        await self._room.acquire()
        try:
            data = await read_body(max_bytes)
        except BaseException:
            self._room.release()
            raise
        if isinstance(data, int):
            self._room.release()
            return data
        handled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        handled.add_done_callback(lambda _: self._room.release())
        with self._lock:
            self._queue.append((name, data, handled))
            is_idle = not self._is_running
            self._is_running = True
        if is_idle:
            on.submit(self._run)
        return await asyncio.shield(handled)

    def _run(self) -> None:
        """Handle messages until there are none; in a thread."""
        while True:
            with self._lock:
                if not self._queue:
                    self._is_running = False
                    return
                name, data, handled = self._queue.popleft()
            try:
                self._handle(name, data)
                status = 204
            except ValueError:
                status = 400
            except Exception:
                logger.exception("A message of a page could not be handled; the next one will be.")
                status = 500
            with suppress(RuntimeError):  # the process ends, and the server with it
                handled.get_loop().call_soon_threadsafe(_settle, handled, status)


def _settle(future: "asyncio.Future[int]", status: int) -> None:
    if not future.done():
        future.set_result(status)


async def receive(
    endpoint: MessageEndpoint,
    name: str,
    response: ResponseWriter,
    read_body: ReadBody,
    *,
    cors: str,
    on: Executor,
) -> None:
    """Respond to a request for `name` of an endpoint; `cors` are field lines for its origin.

    204 where a message was handled, 404 for a name that is not expected, 405 for another method,
    408, 413 and 400 (RFC 9110 section 15.5) for a message that is too slow, too large or makes no
    sense, 500 where its handler failed.
    """
    method = response.request.method
    max_bytes = endpoint.max_bytes(name)
    if max_bytes is None and name != "ping":
        response.send_status(404, cors)
    elif method == "OPTIONS":
        fields = (date_field(), *_PREFLIGHT)
        response.send(write_head(204, fields, cors + response.connection_field))
    elif name == "ping" and method in {"GET", "HEAD"}:
        _send_ping(response, cors)
    elif max_bytes is None or method != "POST":
        allowed = "GET, HEAD, OPTIONS" if max_bytes is None else "POST, OPTIONS"
        response.send_status(405, f"Allow: {allowed}\r\n{cors}")
    else:
        status = await endpoint.deliver(name, read_body, max_bytes, on)
        if status != 204:
            response.send_status(status, cors)
            return
        more = f"Cache-Control: no-store\r\n{cors}{response.connection_field}"
        response.send(write_head(204, (date_field(),), more))


def _send_ping(response: ResponseWriter, cors: str) -> None:
    fields = (
        date_field(),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(PING_BODY))),
        ("Cache-Control", "no-store"),
    )
    response.send(write_head(200, fields, cors + response.connection_field), PING_BODY)
