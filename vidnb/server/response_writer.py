"""Send the responses of one connection: write heads and stream bodies.

The connection ends where a body cannot have its Content-Length, or may not go on. No client, disk
or file system blocks the event loop.
"""

import asyncio
import os
import time
from http import HTTPStatus
from typing import Final

from vidnb.http.headers import format_http_date
from vidnb.http.range_response import RangeResponse
from vidnb.http.ranges import ByteRange
from vidnb.http.request_head import RequestHead
from vidnb.server.sources import ChangedError, OpenFile, OpenVersion

__all__ = ["NO_REQUEST", "ResponseWriter", "fill", "new_memory", "write_head"]

PIECE_BYTES: Final = 2 * 1024 * 1024
"""The limit of one call of sendfile (B), which takes 0.26 ms.

With 1 MiB a whole file costs 1.5 times the CPU time; with 4 MiB it costs 0.9 times, but one call
takes 0.7 ms, in which no other client is served.
"""

TAIL_BYTES: Final = 64 * 1024
"""The end of each body (B), read and checked before it is sent; a smaller body is all tail."""

HEAD_BYTES: Final = 8 * 1024
"""The limit of a small response's head (B); of the request, it repeats the Origin only."""

NO_REQUEST: Final = RequestHead("", None, "", 1, {}, 0)
"""In the place of what could not be parsed as a request."""

_Fields = tuple[tuple[str, str], ...]
_SECURITY_FIELDS: Final = (
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: cross-origin\r\n"
)
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{_SECURITY_FIELDS}"
    for status in HTTPStatus
}


def write_head(status: int, fields: _Fields, more: str) -> bytes:
    """Return a response's head; `more` holds further field lines, each with its line end."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    return f"{_STATUS_LINES[status]}{lines}{more}\r\n".encode("latin-1")


def new_memory() -> memoryview:
    """Return memory for one read from a socket, and for one small response at a time."""
    return memoryview(bytearray(HEAD_BYTES + TAIL_BYTES))


def fill(
    memory: memoryview, head: bytes, body: tuple[bytes | ByteRange, ...], file: OpenFile
) -> bytes | memoryview | None:
    """Return a whole response, in `memory`, if its body is in the page cache.

    None where it is not, where the file has changed, and where the body is not one range of at most
    `TAIL_BYTES`.
    """
    # The file is checked once, after reading: each system call may cost the interpreter's lock, and
    # with it 5 ms, while another thread computes.
    if not body:
        return head if file.unchanged() else None
    byte_range, begin = body[0], len(head)
    if len(body) > 1 or not isinstance(byte_range, ByteRange) or begin > HEAD_BYTES:
        return None
    size_bytes = byte_range.stop - byte_range.start
    if size_bytes > TAIL_BYTES:
        return None
    filled = memory[: begin + size_bytes]
    read_bytes = file.read_cached(filled[begin:], byte_range.start)
    if read_bytes < size_bytes or not file.unchanged():
        return None
    filled[:begin] = head
    return filled


class ResponseWriter:
    """The sending side of one connection: one response after the other.

    `request` is the one that is responded to, `keep_alive` whether another may follow it,
    `is_being_made` whether what it gets is still to be made, at a cost.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.request = NO_REQUEST
        self.keep_alive = True
        self.is_being_made = False
        self.is_paused = False
        self._pending = bytearray()
        self._resumed = asyncio.Event()
        transport.set_write_buffer_limits(high=0)  # paused whenever the transport holds anything

    def resume(self) -> None:
        """Continue the response: the socket has taken everything."""
        self.is_paused = False
        self._resumed.set()

    @property
    def connection_field(self) -> str:
        """The Connection field line; empty where what happens is the version's default."""
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "" if self.request.minor_version else "Connection: keep-alive\r\n"

    def send_status(self, status: int, more: str = "") -> None:
        """Send a response whose body is the name of its status; `more` holds field lines."""
        text = f"{HTTPStatus(status).phrase}.\n".encode()
        fields = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))
        self.send(status, fields, more, text)

    def send(
        self, status: int, fields: _Fields = (), more: str = "", body: bytes | None = None
    ) -> None:
        """Send a small response, without its body in response to HEAD; None for no body at all."""
        if body is not None:
            fields = (("Content-Length", str(len(body))), *fields)
        date = ("Date", format_http_date(int(time.time())))  # RFC 9110 section 6.6.1
        head = write_head(status, (date, *fields), more + self.connection_field)
        self.transport.write(head if self.request.method == "HEAD" else head + (body or b""))

    async def send_response(self, response: RangeResponse, more: str, version: OpenVersion) -> None:
        """Send a response, the end of its body only if the file still has the promised bytes.

        `ChangedError` if not: the connection cannot be used any more. `ConnectionError` if the
        client has closed it.
        """
        self._pending = bytearray(write_head(response.status, response.headers, more))
        for part in response.body:
            if isinstance(part, bytes):
                self._pending += part
                continue
            tail = ByteRange(max(part.start, part.stop - TAIL_BYTES), part.stop)
            if tail.start > part.start or len(self._pending) > TAIL_BYTES:
                await self._flush()
            await self._send_pieces(ByteRange(part.start, tail.start), version)
            self._add(await _read(version, tail))
        if response.body and not version.intact():
            raise ChangedError
        self.transport.write(self._pending)
        self._pending = bytearray()

    def _add(self, data: bytes | bytearray) -> None:
        if self._pending or isinstance(data, bytes):
            self._pending += data
        else:
            self._pending = data  # made for this response, so that nothing is copied

    async def _flush(self) -> None:
        """Send what is pending and wait until the socket has taken all of it."""
        self._check_open()
        data, self._pending = self._pending, bytearray()
        self.transport.write(data)
        if self.is_paused:
            self._resumed.clear()
            await self._resumed.wait()

    def _check_open(self) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the client has closed the connection")

    async def _send_pieces(self, byte_range: ByteRange, version: OpenVersion) -> None:
        if isinstance(version, OpenFile) and hasattr(os, "sendfile"):
            byte_range = await self._send_file(byte_range, version)
        while byte_range:
            piece = _first(byte_range, TAIL_BYTES)
            self._add(await _read(version, piece))
            if not version.intact():
                raise ChangedError
            await self._flush()
            byte_range = ByteRange(piece.stop, byte_range.stop)

    async def _send_file(self, byte_range: ByteRange, file: OpenFile) -> ByteRange:
        """Send from the page cache to the socket; return what could not be sent that way."""
        while byte_range:
            piece = _first(byte_range, PIECE_BYTES)
            await file.warm(piece)
            if not file.intact():
                raise ChangedError
            self._check_open()
            try:
                sent_bytes = self._sendfile(file, piece)
            except ConnectionError:
                raise
            except OSError:  # the file system has no such call
                break
            if sent_bytes == 0:
                raise ChangedError
            byte_range = ByteRange(byte_range.start + max(0, sent_bytes), byte_range.stop)
            if sent_bytes < piece.size_bytes:
                await self._writable()
            else:
                await asyncio.sleep(0)  # every other connection's turn
        return byte_range

    def _sendfile(self, file: OpenFile, piece: ByteRange) -> int:
        """Return how much the socket took without waiting (B); -1 where it is full."""
        out = self.transport.get_extra_info("socket").fileno()
        try:
            return os.sendfile(out, file.descriptor, piece.start, piece.stop - piece.start)
        except BlockingIOError:
            return -1

    async def _writable(self) -> None:
        """Wait until the socket takes more, on a duplicate of its descriptor.

        An event loop watches a transport's own descriptor for the transport alone.
        """
        loop, writable = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            loop.add_writer(descriptor, writable.set)
            await writable.wait()
        finally:
            loop.remove_writer(descriptor)
            os.close(descriptor)


def _first(byte_range: ByteRange, count: int) -> ByteRange:
    return ByteRange(byte_range.start, min(byte_range.start + count, byte_range.stop))


async def _read(version: OpenVersion, byte_range: ByteRange) -> bytes | bytearray:
    data = await version.read(byte_range)
    if len(data) != byte_range.size_bytes:
        raise ChangedError
    return data
