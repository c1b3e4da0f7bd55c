"""A long body read straight from its socket into large blocks.

aiohttp copies a body twice and hands it out 256 KiB at a time (3.14.5): half of the processor time
of a download on a fast network. Once the head of a long answer is read, nothing of HTTP is left but
a known number of bytes, so they are received here instead: by a thread of its own (`io.receiver`),
or, on a loop whose sockets no thread can wait for, by a `BufferedProtocol` that takes the
connection over. The connection ends with the body.
"""

import asyncio
from typing import Protocol

import aiohttp

from vidnb.io import buffer_pool
from vidnb.io.receiver import Receiver, take_socket

__all__ = ["SHORTEST_BYTES", "Body", "TakenOver", "take_over"]

SHORTEST_BYTES = 8 * 2**20
"""A body shorter than this is left to aiohttp, which keeps its connection for the next request."""

_MOST_UNREAD_BYTES = 4 * 2**20


class Body(Protocol):
    """A body on its way; `read` gives it out in order, and nothing at its end.

    `ConnectionError` where it ended early. A view of one of `io.blocks` is held once for the
    reader, who says `blocks.let_go` when done with it.
    """

    async def read(self) -> bytes | memoryview:
        """Return the next bytes."""

    def hold(self) -> None:
        """Take nothing more from the connection until the next `read`."""

    def close(self) -> None:
        """Give the connection up."""


def take_over(response: aiohttp.ClientResponse) -> Body | None:
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
    left_bytes = length_bytes - len(head)
    connected = take_socket(transport)
    if connected is not None:
        response.close()  # closes the transport's descriptor; the connection goes on in ours
        return Receiver(connected, head, left_bytes)
    body = TakenOver(transport, connection.protocol, head, left_bytes)
    transport.set_protocol(body)
    transport.resume_reading()
    return body


class TakenOver(asyncio.BufferedProtocol):
    """The `left` bytes of a body that are still to come over a transport.

    `before` is the protocol that had the connection: it hears of its end, as everybody expects.
    """

    def __init__(
        self, transport: asyncio.Transport, before: asyncio.BaseProtocol, head: bytes, left: int
    ) -> None:
        self._transport = transport
        self._before = before
        self._unread: list[bytes | memoryview] = [head] if head else []
        self._unread_bytes = len(head)
        self._left_bytes = left
        self._block = buffer_pool.acquire()
        self._filled_bytes = 0
        self._is_paused = False
        self._lost: BaseException | None = None
        self._arrival = asyncio.Event()

    async def read(self) -> bytes | memoryview:
        """Return what has arrived, empty at the end; `ConnectionError` where it ended early."""
        while not self._unread:
            self._resume()
            if not self._left_bytes:
                return b""
            if self._lost is not None:
                raise ConnectionResetError(str(self._lost)) from self._lost
            self._arrival.clear()
            await self._arrival.wait()
        data = self._unread.pop(0)
        self._unread_bytes -= len(data)
        if self._unread_bytes < _MOST_UNREAD_BYTES // 2:
            self._resume()
        return data

    def hold(self) -> None:
        """Take nothing more from the connection until the next `read`."""
        if self._left_bytes and self._lost is None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Give the connection up; without a farewell where the body is not over."""
        if self._left_bytes:
            self._transport.abort()
        else:
            self._transport.close()

    # What the transport calls.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Offer the free rest of the block, never more than the body still has."""
        if len(self._block) - self._filled_bytes < buffer_pool.LEAST_ROOM_BYTES:
            buffer_pool.release(self._block)
            self._block = buffer_pool.acquire()
            self._filled_bytes = 0
        room_bytes = min(len(self._block) - self._filled_bytes, max(self._left_bytes, 1))
        return self._block[self._filled_bytes : self._filled_bytes + room_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Note what the transport has put into the block."""
        start, self._filled_bytes = self._filled_bytes, self._filled_bytes + nbytes
        taken_bytes = min(nbytes, self._left_bytes)  # a byte behind the body is nobody's
        self._left_bytes -= taken_bytes
        if taken_bytes:
            buffer_pool.retain(self._block)
            self._unread.append(self._block[start : start + taken_bytes])
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
