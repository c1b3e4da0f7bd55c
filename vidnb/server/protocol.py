"""The HTTP/1.1 protocol of one connection: parse requests, respond to one after the other.

The parser is httptools (llhttp, as in uvicorn and Node); `request_head` adds what it leaves open. A
head is given to the parser as it arrives and never beyond its end; later requests stay buffered.
"""

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Any, Final, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from vidnb.http.request_head import MAX_HEAD_BYTES, RequestHead, oversized
from vidnb.server.response_writer import NO_REQUEST, ResponseWriter
from vidnb.server.sources import ChangedError

__all__ = ["HttpConnection"]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 256
"""More are dropped. A stalled one needs two descriptors, and the usual limit is 1,024."""

KEEP_ALIVE_S: Final = 60.0
"""How long a connection may be without a complete request head (s)."""

LINGER_S: Final = 1.0
"""How long a client's data is read after the last response (RFC 9112 section 9.6)."""

RECEIVE_S: Final = 30.0
"""How long the body of a request may take."""

IGNORED_BODY_BYTES: Final = 64 * 1024
"""The largest body that is skipped (B); after a larger one the connection is closed."""

REQUESTS_PER_TURN: Final = 16
"""The limit of pipelined requests that get their response before other connections' requests."""

_RANGE: Final = re.compile(rb"\r\nRange: (bytes=[0-9]{1,18}-[0-9]{0,18})\r\n")
_FAILED: Final = "A response failed; the connection was closed."


class Application(Protocol):
    """What handles the requests; `memory` is where its connections receive."""

    connections: "set[HttpConnection]"
    memory: memoryview

    def handle_request(self, connection: "HttpConnection") -> Coroutine[Any, Any, None] | None: ...


class HttpConnection(asyncio.BufferedProtocol):
    """The protocol of one connection, on the server's loop.

    For each read of a plain `Protocol` asyncio allocates 256 KiB, which costs more than parsing.
    """

    transport: asyncio.Transport
    response: ResponseWriter

    def __init__(self, app: Application) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(self)
        self._received = b""  # without a response yet; the parser has the first `_parsed` bytes
        self._parsed = 0
        self._before = self._after = b""  # the last head without the value of its Range field
        self._target = b""
        self._fields: list[tuple[str, str]] = []
        self._is_head_complete = False
        self._keep_alive = False
        self._skipped_bytes = 0  # the rest of a body that is not read
        self._body = bytearray()
        self._body_room = -1  # how much more of the body is accepted (B)
        self._body_left: int | None = 0
        self._body_end: asyncio.Future[int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_scheduled = False
        self._has_ended = False  # the client sends no more
        self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, or drop it where there are too many."""
        self.transport = cast("asyncio.Transport", transport)
        self.response = ResponseWriter(self.transport)
        self._deadline_s = self._loop.time() + KEEP_ALIVE_S
        self._timer = self._loop.call_at(self._deadline_s, self._check_deadline)
        self._app.connections.add(self)
        if len(self._app.connections) > MAX_CONNECTIONS:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Cancel the response: one that waits for its source would not notice."""
        self._app.connections.discard(self)
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return the memory for the next read."""
        return self._app.memory

    def buffer_updated(self, nbytes: int) -> None:
        """Respond to complete requests, unless a response is still being sent."""
        if self._is_closing:
            return
        data = bytes(self._app.memory[:nbytes])
        self._received = self._received + data if self._received else data
        if self._body_end is not None:
            self._receive_body()
        elif self._task is None and not (self.response.is_paused or self._is_scheduled):
            self._handle_requests()
        elif len(self._received) > MAX_HEAD_BYTES:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Keep the sending half open while a response is sent (RFC 9112 section 9.6).

        Not while it is made: a browser that gives up a request closes the connection like this.
        """
        self._has_ended = True
        is_body_complete = self._body_end is None or self._body_end.done()
        if self._is_closing or self.response.is_being_made or not is_body_complete:
            return False
        return self._task is not None or self.response.is_paused or self._is_scheduled

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than the responses come."""
        self.response.is_paused = True

    def resume_writing(self) -> None:
        """Continue the response, then with the next request."""
        self.response.resume()
        # Later: a transport that is closed in this call would call `connection_lost` twice.
        self._is_scheduled = True
        self._loop.call_soon(self._continue)

    def on_url(self, url: bytes) -> None:
        """Collect a piece of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field."""
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._is_head_complete = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body if `read_body` waits for it."""
        if self._body_end is not None:
            self._body_room -= len(body)
            if self._body_room >= 0:
                self._body += body
            else:
                self._end_body(413)

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        self._body_left = 0
        self._end_body(0)

    def _handle_requests(self) -> None:
        """Respond to the complete requests."""
        self._is_scheduled = False
        for _ in range(REQUESTS_PER_TURN):
            if not self._received or not (self._repeats_head() or self._read_head()):
                break
            self._respond()
            if self._task is not None or self.response.is_paused:
                return
        else:
            self._is_scheduled = True
            self._loop.call_soon(self._continue)
            return
        if self._is_closing:
            return
        if self._has_ended:
            self.transport.close()
        else:
            self.transport.resume_reading()

    def _continue(self) -> None:
        """Respond to the requests received meanwhile, unless a response is still being sent."""
        if self._task is None and not (self._is_closing or self.response.is_paused):
            self._handle_requests()

    def _read_head(self) -> bool:
        """Parse one request head; False where it is incomplete or malformed."""
        if self._skipped_bytes and not self._skip_body():
            return False
        received, parsed = self._received, self._parsed
        if not parsed:
            if received[0] in b"\r\n":  # empty lines before a request (RFC 9112 section 2.2)
                received = self._received = received.lstrip(b"\r\n")
            self._target, self._is_head_complete = b"", False
            self._fields.clear()
        end = received.find(b"\r\n\r\n", max(0, parsed - 3)) + 4
        is_whole = end >= 4
        if not is_whole:
            end = len(received)
            if status := oversized(received):
                return self._refuse(status)
        status = self._parse(received[parsed:end])
        if status or self._is_head_complete != is_whole:  # one too short is that of HTTP/0.9
            return self._refuse(400)
        if not is_whole:
            self._parsed = end
            return False
        self._received, self._parsed = received[end:], 0
        head = RequestHead.read(
            received[:end], self._parser.get_method(), self._target, self._fields
        )
        if isinstance(head, int):
            return self._refuse(head)
        self._body_left = size_bytes = head.body_bytes
        can_skip_body = size_bytes == 0 or (
            size_bytes is not None
            and size_bytes <= IGNORED_BODY_BYTES
            and not head.expects_continue
        )
        self.response.request = head
        self.response.keep_alive = self._keep_alive and can_skip_body
        self._before = b""
        found = _RANGE.search(received, 0, end)
        if found and head.fields["range"] == found[1].decode() and not (parsed or size_bytes):
            self._before, self._after = received[: found.start(1)], received[found.end(1) : end]
        return True

    def _repeats_head(self) -> bool:
        """Use the last head again if only its Range is another, as in the requests of a player.

        All bytes but those digits are compared, so the parser would return the same.
        """
        received = self._received
        if self._parsed or not self._before or (found := _RANGE.search(received)) is None:
            return False
        begin, end = found.span(1)
        if received[:begin] != self._before or not received.startswith(self._after, end):
            return False
        self.response.request.fields["range"] = found[1].decode()
        self._received = received[end + len(self._after) :]
        return True

    def _parse(self, data: bytes) -> int:
        """Give data to the parser; return 400 if it is malformed, else 0."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:  # which a server may ignore (RFC 9110 section 7.8)
            self._keep_alive = False
        except HttpParserError:
            return 400
        return 0

    def _refuse(self, status: int) -> bool:
        self.response.request, self.response.keep_alive = NO_REQUEST, False
        self.response.send_status(status)
        self._close()
        return False

    def _respond(self) -> None:
        try:
            rest = self._app.handle_request(self)
        except Exception:
            logger.exception(_FAILED)
            self.transport.abort()
            return
        if rest is None:
            self._finish()
        else:
            self._task = self._loop.create_task(rest)
            self._task.add_done_callback(self._when_done)

    def _when_done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ChangedError):
            logger.debug("A file changed while it was sent; the connection was closed.")
        elif error is not None and not isinstance(error, ConnectionError):
            logger.error(_FAILED, exc_info=error)
        if error is not None or task.cancelled():
            self.transport.abort()
        elif not self.transport.is_closing():
            self._finish()
            self._continue()

    def _finish(self) -> None:
        """Wait for the next request, or close where none may follow."""
        if self.response.keep_alive:
            self._skipped_bytes = self._body_left or 0
            self._deadline_s = self._loop.time() + KEEP_ALIVE_S
        else:
            self._close()

    def _check_deadline(self) -> None:
        """Close a connection that has been without a complete request for too long."""
        now_s = self._loop.time()
        if self._task is not None or self.response.is_paused:
            self._deadline_s = now_s + KEEP_ALIVE_S
        if self._deadline_s <= now_s:
            self.transport.close()
        else:
            self._timer = self._loop.call_at(self._deadline_s, self._check_deadline)

    def _close(self) -> None:
        """Close once the client has read the response (RFC 9112 section 9.6).

        Closing a socket with unread data resets the connection, and the response may be lost.
        """
        self._is_closing = True
        self._received = b""
        if self._has_ended:
            self.transport.close()
            return
        self.transport.resume_reading()
        try:
            self.transport.write_eof()
        except OSError:  # the client has reset the connection
            self.transport.abort()
        else:
            self._loop.call_later(LINGER_S, self.transport.close)

    async def read_body(self, limit_bytes: int) -> bytes | int:
        """Return the body of the request, or the status of its refusal: 400, 408 or 413."""
        if (self._body_left or 0) > limit_bytes:
            return 413
        if self._body_left == 0:
            return b""
        self._body = bytearray()
        self._body_room = limit_bytes
        self._body_end = self._loop.create_future()
        if self.response.request.expects_continue and not self._received:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._received:
            self._receive_body()
        self.transport.resume_reading()
        try:
            async with asyncio.timeout(RECEIVE_S):
                status = await self._body_end
        except TimeoutError:
            status = 408
        finally:
            self._body_end = None
        if status:
            return status
        # A body of a known size was read to its end, so the next request begins behind it.
        is_sized = self.response.request.body_bytes is not None
        self.response.keep_alive = self._keep_alive and is_sized
        return bytes(self._body)

    def _receive_body(self) -> None:
        data, left_bytes = self._received, self._body_left
        part = data if left_bytes is None else data[:left_bytes]
        self._received = data[len(part) :]
        if left_bytes is not None:
            self._body_left = left_bytes - len(part)
        if part and (status := self._parse(part)):
            self._end_body(status)

    def _end_body(self, status: int) -> None:
        if self._body_end is not None and not self._body_end.done():
            self._body_end.set_result(status)

    def _skip_body(self) -> bool:
        """Parse and drop a body that is not read; False until all of it has been received."""
        part = self._received[: self._skipped_bytes]
        self._received = self._received[len(part) :]
        self._skipped_bytes -= len(part)
        return not self._parse(part) and not self._skipped_bytes and bool(self._received)
