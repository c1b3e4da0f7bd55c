"""The body of a response, received by a protocol of our own.

Once the head of a response is here, `ResponseBody` replaces aiohttp's protocol on the transport
(`asyncio.Transport.set_protocol`). A long body with a Content-Length is received straight into
blocks of 1 MiB: aiohttp 3.14.5 copies every byte twice, which costs a fifth of the processor time
of a download. Any other body is still parsed by aiohttp, which gets its connection back for the
next request when the body ends.

Three faults of reading `aiohttp.StreamReader` directly (3.14.5) do not occur this way. It raises
before it hands out the bytes that arrived ahead of an error; its C parser closes the connection
after a malformed chunk size without waking the reader; and reading cannot be paused at will.
"""

import asyncio
from collections import deque

import aiohttp

__all__ = ["ResponseBody", "incomplete"]

_DIRECT_FROM_BYTES = 8 * 2**20
"""A shorter body leaves its connection to the next request, which saves more than copying costs."""
_BLOCK_BYTES = 2**20
_MIN_ROOM_BYTES = 2**16
"""A block with less room is full: many small reads cost more than the memory."""
_PARSED_BYTES = 2**17
_MAX_UNREAD_BYTES = 2**20
"""Beyond this reading is paused until half of it was read."""
_WAKE_BYTES = 2**19
_WAKE_S = 0.002
"""The reader wakes up for this many bytes, or for fewer after this time (s)."""

_blocks: deque[bytearray] = deque(maxlen=16)
"""The latest blocks, used or not, of all bodies. Only atomic methods are called: no lock is needed,
which a fork could leave locked."""


class ResponseBody(asyncio.BufferedProtocol):
    """The body of `response`, whose head was read; used on its event loop only.

    `read` returns the bytes in order. At most 2 MiB are received ahead of it.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._unread: deque[bytes | memoryview] = deque()
        self._unread_bytes = 0
        self._block = memoryview(b"")
        self._start = self._stop = 0  # of the bytes in the block that are not in `_unread`
        self._left_bytes: int | None = None  # None where aiohttp parses the body
        self._is_paused = False
        self._is_complete = False
        self._error: BaseException | None = None
        self._arrival = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._take_parsed()
        if self._is_complete or self._error is not None:
            return
        connection = response.connection
        if connection is None or connection.protocol is None or connection.transport is None:
            self._error = incomplete()
            return
        self._parser: asyncio.Protocol = connection.protocol
        self._transport = connection.transport
        length_bytes = response.content_length
        if (
            length_bytes is not None
            and length_bytes >= _DIRECT_FROM_BYTES
            and not response.headers.keys() & {"Transfer-Encoding", "Content-Encoding"}
        ):
            self._left_bytes = length_bytes - self._unread_bytes
        self._transport.set_protocol(self)

    @property
    def is_reusable(self) -> bool:
        """Whether the body was received whole and its connection can serve another request."""
        return self._is_complete and self._left_bytes is None

    async def read(self) -> bytes | memoryview:
        """Return the next bytes, empty at the end.

        Whatever arrived before the connection failed is returned first; then `OSError` or
        `aiohttp.ClientError` is raised.
        """
        while not (data := self._take()):
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            self._resume()
            self._arrival.clear()
            await self._arrival.wait()
        if self._unread_bytes < _MAX_UNREAD_BYTES // 2:
            self._resume()
        return data

    def hold(self) -> None:
        """Pause reading from the connection until the next `read`."""
        if not (self._is_paused or self._is_complete or self._error is not None):
            self._is_paused = True
            self._transport.pause_reading()

    def close(self) -> None:
        """Stop receiving; a connection whose body is incomplete is aborted.

        Under TLS a regular close would wait up to 30 s for the other side's close_notify.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_complete and self._error is None:
            self._transport.abort()

    def _take(self) -> bytes | memoryview:
        if not self._unread:
            self._flush()
        data = self._unread.popleft() if self._unread else b""
        self._unread_bytes -= len(data)
        return data

    def _flush(self) -> None:
        """Make what the block received readable."""
        if self._stop > self._start:
            self._unread.append(self._block[self._start : self._stop])
            self._start = self._stop

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        self._timer = None
        self._arrival.set()

    # Called by the transport.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes go."""
        if self._left_bytes is None:
            self._block = self._block or memoryview(bytearray(_PARSED_BYTES))
        elif len(self._block) - self._stop < _MIN_ROOM_BYTES:
            self._flush()
            self._block = memoryview(b"")  # or its block would be in use
            self._block = _unused_block()
            self._start = self._stop = 0
        return self._block[self._stop :]

    def buffer_updated(self, nbytes: int) -> None:
        """Account for the bytes that the transport wrote into the buffer."""
        if self._left_bytes is None:
            self._parser.data_received(bytes(self._block[:nbytes]))
            self._take_parsed()
            if self._is_complete:  # aiohttp has returned the connection to its pool
                self._transport.set_protocol(self._parser)
        else:
            size_bytes = min(nbytes, self._left_bytes)  # bytes behind the body are dropped
            self._stop += size_bytes
            self._unread_bytes += size_bytes
            self._left_bytes -= size_bytes
            if not self._left_bytes:
                self._is_complete = True
                self._transport.close()
        if self._is_complete or self._error is not None or self._unread_bytes >= _WAKE_BYTES:
            self._arrival.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WAKE_S, self._wake)
        if self._unread_bytes >= _MAX_UNREAD_BYTES:
            self.hold()

    def _take_parsed(self) -> None:
        """Take what aiohttp parsed."""
        self._error = self._content.exception()
        while self._error is None and (data := self._content.read_nowait()):
            self._unread.append(data)
            self._unread_bytes += len(data)
        self._is_complete = self._error is None and self._content.is_eof()

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the reader, and let aiohttp clean up."""
        self._parser.connection_lost(exc)
        if not self._is_complete and self._error is None:
            if self._left_bytes is None:  # a body may end with its connection
                self._take_parsed()
            if not self._is_complete and self._error is None:
                self._error = exc or incomplete()
        self._arrival.set()

    def pause_writing(self) -> None:
        """Do nothing: the request was sent."""

    def resume_writing(self) -> None:
        """Do nothing: the request was sent."""


def _unused_block() -> memoryview:
    """Return a view of the oldest block if it has no other view, else of a new block.

    A new megabyte costs 256 page faults and is zeroed first: a fifth of the time of the loop.
    """
    block = _blocks.popleft() if _blocks else bytearray(_BLOCK_BYTES)
    try:
        block.append(0)  # fails while there are views, since a view fixes the size
        block.pop()
    except BufferError:
        _blocks.append(block)
        block = bytearray(_BLOCK_BYTES)
    view = memoryview(block)
    _blocks.append(block)
    return view


def incomplete() -> aiohttp.ClientPayloadError:
    """Return the error for a body that ended before its length."""
    return aiohttp.ClientPayloadError("the connection closed before the body was complete")
