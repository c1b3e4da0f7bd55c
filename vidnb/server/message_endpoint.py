"""Message endpoints: a page posts the events of its player to the server, also while a cell runs.

Each endpoint has an unguessable URL. It accepts messages of the expected names and sizes, and a
`ping`; nothing else can be read from it.
"""

import asyncio
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.protocol import HttpConnection

__all__ = ["MESSAGE_BYTES", "PING_BODY", "PREFIX", "MessageEndpoint"]

logger = logging.getLogger(__name__)

PREFIX: Final = "/~/"
"""The prefix of the paths of all endpoints and of no file: no token contains a tilde."""

PING_BODY: Final = b"vidnb\n"
"""The response to `ping`, which distinguishes the server from a page of a proxy."""

MESSAGE_BYTES: Final = 64 * 1024
"""The largest ordinary message (B); a hundred reports of a player are 20 kB."""

MAX_PENDING: Final = 16
"""The limit of an endpoint's messages that were read and not yet handled."""

_PREFLIGHT: Final = (
    ("Allow", "GET, HEAD, POST, OPTIONS"),
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
)


class MessageEndpoint:
    """One URL for messages, as long as it is registered.

    `handle(name, data)` is called with one message after the other, in order, in a worker thread: a
    slow handler delays this endpoint only. Its `ValueError` means that the message is invalid.
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

    def end(self) -> set[asyncio.Task[Any]]:
        """Do nothing: a message that was accepted is handled."""
        return set()

    async def respond(self, name: str, connection: HttpConnection, cors: str, on: Executor) -> None:
        """Respond to a request for `name`; `cors` are field lines for its origin.

        204 where a message was handled, 404 for a name that is not expected, 405 for another
        method, 408, 413 and 400 (RFC 9110 section 15.5) for a message that is too slow, too large
        or invalid, 500 where its handler failed.
        """
        response = connection.response
        method, max_bytes = response.request.method, self._max_bytes.get(name)
        if max_bytes is None and name != "ping":
            response.send_status(404, cors)
        elif method == "OPTIONS":
            response.send(204, _PREFLIGHT, cors)
        elif name == "ping" and method in {"GET", "HEAD"}:
            fields = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))
            response.send(200, fields, cors, PING_BODY)
        elif max_bytes is None or method != "POST":
            allowed = "GET, HEAD, OPTIONS" if max_bytes is None else "POST, OPTIONS"
            response.send_status(405, f"Allow: {allowed}\r\n{cors}")
        elif (status := await self._deliver(name, connection, max_bytes, on)) == 204:
            response.send(204, (("Cache-Control", "no-store"),), cors)
        else:
            response.send_status(status, cors)

    async def _deliver(
        self, name: str, connection: HttpConnection, max_bytes: int, on: Executor
    ) -> int:
        """Read a message, have it handled on `on` and return the status of the response.

        Beyond `MAX_PENDING` a message is read only after another was handled. One that was read is
        handled, also if its sender disconnects meanwhile.
        """
        await self._room.acquire()
        handled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        handled.add_done_callback(lambda _: self._room.release())
        try:
            data = await connection.read_body(max_bytes)
        except BaseException:
            handled.cancel()
            raise
        if isinstance(data, int):
            handled.cancel()
            return data
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
