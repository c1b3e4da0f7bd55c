"""A long body read straight from the socket into large buffers.

aiohttp copies a body twice and hands it out 256 KiB at a time (3.14.5): half of the processor time
of a download on a fast network. Once the head of a long answer is read, nothing of HTTP is left but
a known number of bytes, so `Body` takes the connection's protocol over and receives them itself,
through asyncio's `BufferedProtocol`, under TLS as well. The connection ends with the body.
"""

import asyncio
from typing import Self

import aiohttp

__all__ = ["SHORTEST_BYTES", "Body"]

SHORTEST_BYTES = 8 * 2**20
"""A body shorter than this is left to aiohttp, which keeps its connection for the next request."""

_BUFFER_BYTES = 2**21
_LEAST_ROOM_BYTES = 2**17
"""A buffer with less room than this is full: small reads cost more than the memory."""
_MOST_UNREAD_BYTES = 4 * 2**20


class Body(asyncio.BufferedProtocol):
    """The `left_bytes` of a body that are still to come; `read` gives them out in order.

    `before` is the protocol that had the connection: it hears of its end, as everybody expects.
    """

    def __init__(
        self, transport: asyncio.Transport, before: asyncio.BaseProtocol, head: bytes, left: int
    ) -> None:
        self._transport = transport
        self._before = before
        self._unread: list[memoryview] = [memoryview(head)] if head else []
        self._unread_bytes = len(head)
        self._left_bytes = left
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._filled_bytes = 0
        self._is_paused = False
        self._lost: BaseException | None = None
        self._arrival = asyncio.Event()

    @classmethod
    def take_over(cls, response: aiohttp.ClientResponse) -> Self | None:
        """Take the connection of an answer whose head was read; None where aiohttp should go on.

        It should where the body is short, not framed by its Content-Length, coded, or over already.
        """
        length_bytes = response.content_length
        connection = response.connection
        if (
            length_bytes is None
            or length_bytes < SHORTEST_BYTES
            or "Transfer-Encoding" in response.headers
            or connection is None
            or connection.protocol is None
            or response.content.exception() is not None
        ):
            return None
        transport = connection.transport
        if not isinstance(transport, asyncio.Transport) or transport.is_closing():
            return None
        transport.pause_reading()
        head = response.content.read_nowait()
        body = cls(transport, connection.protocol, head, length_bytes - len(head))
        transport.set_protocol(body)
        transport.resume_reading()
        return body

    async def read(self) -> memoryview:
        """Return what has arrived, empty at the end; `ConnectionError` where it ended early."""
        while not self._unread:
            if not self._left_bytes:
                return memoryview(b"")
            if self._lost is not None:
                raise ConnectionResetError(str(self._lost)) from self._lost
            self._arrival.clear()
            await self._arrival.wait()
        data = self._unread.pop(0)
        self._unread_bytes -= len(data)
        if self._is_paused and self._unread_bytes < _MOST_UNREAD_BYTES // 2:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    # What the transport calls.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Offer the free rest of the buffer, never more than the body still has."""
        if len(self._buffer) - self._filled_bytes < _LEAST_ROOM_BYTES:
            self._buffer = memoryview(bytearray(_BUFFER_BYTES))
            self._filled_bytes = 0
        room_bytes = min(len(self._buffer) - self._filled_bytes, max(self._left_bytes, 1))
        return self._buffer[self._filled_bytes : self._filled_bytes + room_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Note what the transport has put into the buffer."""
        start, self._filled_bytes = self._filled_bytes, self._filled_bytes + nbytes
        taken_bytes = min(nbytes, self._left_bytes)  # a byte behind the body is nobody's
        self._left_bytes -= taken_bytes
        if taken_bytes:
            self._unread.append(self._buffer[start : start + taken_bytes])
            self._unread_bytes += taken_bytes
        if not self._left_bytes:
            self._transport.close()
        elif self._unread_bytes >= _MOST_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._arrival.set()

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the reader, and tell the protocol that had the connection before."""
        self._lost = exc or ConnectionResetError("the connection was closed")
        self._arrival.set()
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Nothing is written any more."""

    def resume_writing(self) -> None:
        """Nothing is written any more."""
