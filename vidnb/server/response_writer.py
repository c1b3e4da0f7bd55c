"""Send the responses of one connection: write heads, stream bodies, keep to the lengths.

What a response's Content-Length says is what is sent, or the connection ends; a file that changes
meanwhile ends it too; and no client, disk or file system blocks the event loop.
"""

import asyncio
import os
import time
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from vidnb.http.headers import format_http_date
from vidnb.http.range_response import RangeResponse
from vidnb.http.ranges import ByteRange
from vidnb.http.request_head import RequestHead
from vidnb.server.sources import ChangedError, OpenFile, OpenVersion

__all__ = ["ResponseWriter", "SendBuffer", "date_field", "write_head"]

PIECE_BYTES: Final = 2 * 1024 * 1024
"""The most that one call of sendfile sends (B).

Measured: 0.26 ms of the loop's time each. With 1 MiB a whole file costs half as much again in CPU
time, with 4 MiB a tenth less, but then a call takes 0.7 ms, for which every other client waits.
"""

TAIL_BYTES: Final = 64 * 1024
"""The end of each body (B), read and checked before it is sent; a smaller body is all tail."""

HEAD_BYTES: Final = 8 * 1024
"""Room for a response's head (B); of what a request says, only its Origin is repeated in it."""

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


def date_field() -> tuple[str, str]:
    """Return the Date field of now (RFC 9110 section 6.6.1)."""
    return "Date", format_http_date(int(time.time()))


def write_head(status: int, fields: _Fields, more: str) -> bytes:
    """Return a response's head; `more` holds further field lines, each with its line end."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    return f"{_STATUS_LINES[status]}{lines}{more}\r\n".encode("latin-1")


@lru_cache(maxsize=32)
def _text(status: int) -> tuple[_Fields, bytes]:
    text = f"{HTTPStatus(status).phrase}.\n".encode()
    return (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(text))),
        ("Cache-Control", "no-store"),
    ), text


class SendBuffer:
    """Memory for one small response at a time, sent in one write or not at all; one a server."""

    def __init__(self) -> None:
        self._allocate()

    def _allocate(self) -> None:
        self._memory = memoryview(bytearray(HEAD_BYTES + TAIL_BYTES))

    def fill(
        self, head: bytes, body: tuple[bytes | ByteRange, ...], file: OpenFile
    ) -> bytes | memoryview | None:
        """Return the whole response if its body is in the page cache and the file is unchanged.

        None where it is not, or where the body is not one range of at most `TAIL_BYTES`. What is
        returned is valid until the next call.
        """
        # The file is checked once, after reading: each system call may cost the interpreter's
        # lock, and with it 5 ms, while another thread computes.
        if not body:
            return head if file.unchanged() else None
        byte_range, begin = body[0], len(head)
        if len(body) > 1 or not isinstance(byte_range, ByteRange) or begin > HEAD_BYTES:
            return None
        end = begin + byte_range.stop - byte_range.start
        if end > begin + TAIL_BYTES:
            return None
        memory = self._memory
        if not (file.read_at_once(memory[begin:end], byte_range.start) and file.unchanged()):
            return None
        memory[:begin] = head
        return memory[:end]

    def send(self, filled: bytes | memoryview, transport: asyncio.Transport) -> None:
        """Send a response; memory that the socket did not take at once is left to asyncio."""
        transport.write(filled)
        if transport.get_write_buffer_size():
            self._allocate()


class ResponseWriter:
    """The sending side of one connection: one response after the other.

    `request` is the one that is responded to, `keep_alive` whether another may follow it.
    """

    request: RequestHead

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.keep_alive = True
        self.is_paused = False
        self._pending = bytearray()
        self._resumed: asyncio.Future[None] | None = None
        transport.set_write_buffer_limits(high=0)  # paused whenever the transport holds anything

    def pause(self) -> None:
        """Note that the socket takes no more at present."""
        self.is_paused = True

    def resume(self) -> None:
        """Note that the socket has taken everything."""
        self.is_paused = False
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    def begin(self, request: RequestHead, *, keep_alive: bool) -> None:
        """Begin the response to `request`."""
        self.request = request
        self.keep_alive = keep_alive

    @property
    def connection_field(self) -> str:
        """The Connection field line; empty where what happens is the version's default."""
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "" if self.request.minor_version else "Connection: keep-alive\r\n"

    def send_status(self, status: int, more: str = "") -> None:
        """Send a response whose body is the name of its status; `more` holds field lines."""
        fields, text = _text(status)
        self.send(write_head(status, (date_field(), *fields), more + self.connection_field), text)

    def refuse(self, status: int) -> None:
        """Send a status in response to what is no request, without repeating any of it."""
        self.keep_alive = False
        fields, text = _text(status)
        head = write_head(status, (date_field(), *fields), "Connection: close\r\n")
        self.transport.write(head + text)

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Send a small response, without its body in response to HEAD."""
        self.transport.write(head if self.request.method == "HEAD" else head + body)

    async def send_response(self, response: RangeResponse, more: str, version: OpenVersion) -> None:
        """Send a response, the end of its body only if the file is still the same.

        `ChangedError`: it is not, and the connection cannot be used any more. `ConnectionError`:
        the client is gone.
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
        """Hand over what is pending and wait until the socket has taken all of it."""
        self._check_open()
        data, self._pending = self._pending, bytearray()
        self.transport.write(data)
        if self.is_paused:
            self._resumed = asyncio.get_running_loop().create_future()
            await self._resumed

    def _check_open(self) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the client is gone")

    async def _send_pieces(self, byte_range: ByteRange, version: OpenVersion) -> None:
        if isinstance(version, OpenFile) and hasattr(os, "sendfile"):
            byte_range = await self._send_file(byte_range, version)
        while byte_range:
            piece = ByteRange(byte_range.start, min(byte_range.start + TAIL_BYTES, byte_range.stop))
            self._add(await _read(version, piece))
            if not version.intact():
                raise ChangedError
            await self._flush()
            byte_range = ByteRange(piece.stop, byte_range.stop)

    async def _send_file(self, byte_range: ByteRange, file: OpenFile) -> ByteRange:
        """Send from the page cache to the socket; return what could not be sent that way."""
        while byte_range:
            piece = ByteRange(
                byte_range.start, min(byte_range.start + PIECE_BYTES, byte_range.stop)
            )
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
            return os.sendfile(out, file.fileno(), piece.start, piece.stop - piece.start)
        except BlockingIOError:
            return -1

    async def _writable(self) -> None:
        """Wait until the socket takes more.

        An event loop watches a transport's own descriptor for the transport alone, so it is given
        a duplicate of it.
        """
        loop = asyncio.get_running_loop()
        writable: asyncio.Future[None] = loop.create_future()
        descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            loop.add_writer(descriptor, _settle, writable)
            try:
                await writable
            finally:
                loop.remove_writer(descriptor)
        finally:
            os.close(descriptor)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _read(version: OpenVersion, byte_range: ByteRange) -> bytes | bytearray:
    data = await version.read(byte_range)
    if len(data) != byte_range.size_bytes:
        raise ChangedError
    return data
