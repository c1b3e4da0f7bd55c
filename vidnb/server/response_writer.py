"""The sending of one answer: heads written here, bodies streamed, lengths kept.

Three promises need every byte in one hand: what an answer's Content-Length says is what is sent,
or the connection ends; a file that changes meanwhile ends it too; no reader, disk or file system
holds the loop. aiohttp's own responses keep none of them for files.
"""

import asyncio
import os
import time
from http import HTTPStatus
from typing import IO, Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from vidnb.http.headers import fold_headers, format_http_date
from vidnb.http.range_response import RangeResponse
from vidnb.http.ranges import ByteRange
from vidnb.server.sources import ChangedError, OpenFile, OpenVersion

__all__ = ["CLOSED", "Desk", "Exchange", "Late", "date_field", "write_head"]

PIECE_BYTES: Final = 2 * 1024 * 1024
"""The most that one call of sendfile moves.

Measured: 0.26 ms of the loop's time each. With 1 MiB a whole file costs half as much again in CPU
time, with 4 MiB a tenth less, but then a call takes 0.7 ms, for which every other reader waits.
"""

TAIL_BYTES: Final = 64 * 1024
"""The end of each answer, read and checked before it is sent; a smaller answer is all tail."""

HEAD_BYTES: Final = 8 * 1024
"""Room for an answer's head; of what a request says, only its Origin comes back in it."""

_Fields = tuple[tuple[str, str], ...]
_GUARDS: Final = (
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: cross-origin\r\n"
)

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}


def date_field() -> tuple[str, str]:
    """Return the Date field of now (RFC 9110 section 6.6.1)."""
    return "Date", format_http_date(int(time.time()))


def write_head(status: int, fields: _Fields, rest: str) -> bytes:
    """Return an answer's head; `rest` holds further field lines, each with its line end."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    return f"{_STATUS_LINES[status]}{lines}{_GUARDS}{rest}\r\n".encode("latin-1")


def _plain(status: int) -> tuple[_Fields, bytes]:
    """Return the fields and the text of an answer that says its status and nothing else."""
    text = f"{HTTPStatus(status).phrase}.\n".encode()
    return (
        date_field(),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(text))),
        ("Cache-Control", "no-store"),
    ), text


class _Done(web.StreamResponse):
    """Tells aiohttp what it needs about an answer that was sent: whether the connection lives."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - the signature is the base's
        """Do nothing: the head is sent."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the body is sent."""


class Late(_Done):
    """The answer to what is no request, sent when aiohttp asks for it."""

    def __init__(self, status: int) -> None:
        super().__init__(keep_alive=False)
        fields, text = _plain(status)
        self._bytes = write_head(status, fields, "Connection: close\r\n") + text

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it."""
        if request.transport is not None:
            request.transport.write(self._bytes)
        return None


_KEEP: Final = _Done(keep_alive=True)
CLOSED: Final = _Done(keep_alive=False)


class Desk:
    """Room for one small answer at a time, sent at once or not at all; one for each server."""

    def __init__(self) -> None:
        self._room = bytearray(HEAD_BYTES + TAIL_BYTES)

    def fill(
        self, head: bytes, body: tuple[bytes | ByteRange, ...], file: OpenFile
    ) -> bytes | memoryview | None:
        """Return the whole answer if its body lies in memory and the file is unchanged.

        None where it does not, or is no single span that is all tail. Send it before the next.
        """
        # Asked once, after the reading: each question to the system may cost the interpreter's
        # lock, and with it 5 ms, while another thread computes.
        if not body:
            return head if file.unchanged() else None
        byte_range, begin = body[0], len(head)
        if (
            len(body) > 1
            or not isinstance(byte_range, ByteRange)
            or byte_range.size_bytes > TAIL_BYTES
        ):
            return None
        end = begin + byte_range.size_bytes
        if end > len(self._room):
            return None
        view = memoryview(self._room)
        if not (file.read_at_once(view[begin:end], byte_range.start) and file.unchanged()):
            return None
        view[:begin] = head
        return view[:end]

    def send(self, filled: bytes | memoryview, transport: asyncio.Transport) -> None:
        """Send an answer, and leave the room to asyncio where the socket did not take it all."""
        transport.write(filled)
        if transport.get_write_buffer_size():
            self._room = bytearray(len(self._room))


class Exchange:
    """One request, and the sending of its answer."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self.request = request
        self.transport = transport
        self.fields = fold_headers(request.headers.items())
        self.keep_alive = bool(request.keep_alive)
        self._pending = bytearray()

    @property
    def connection(self) -> str:
        """The Connection field, where what happens is not the version's default."""
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self.request.version < (1, 1) else ""

    async def say(self, status: int, rest: str = "") -> web.StreamResponse:
        """Send the answer that says a status and nothing else."""
        fields, text = _plain(status)
        head = write_head(status, fields, rest + self.connection)
        return await self.send(head, text)

    async def send(self, head: bytes, body: bytes = b"") -> web.StreamResponse:
        """Send a whole answer, without its body where HEAD asked for it."""
        self._pending += head
        if self.request.method != "HEAD":
            self._pending += body
        await self._flush()
        return _KEEP if self.keep_alive else CLOSED

    async def send_answer(
        self, made: RangeResponse, rest: str, version: OpenVersion
    ) -> web.StreamResponse:
        """Send a judged answer, the end of it only if the file is still the same."""
        self._pending += write_head(made.status, made.headers, rest)
        for part in made.body:
            if isinstance(part, bytes):
                self._pending += part
                continue
            tail = ByteRange(max(part.start, part.stop - TAIL_BYTES), part.stop)
            if tail.start > part.start or len(self._pending) > TAIL_BYTES:
                await self._flush()
            await self._send_pieces(ByteRange(part.start, tail.start), version)
            self._add(await _read(version, tail))
        if made.body and not version.intact():
            raise ChangedError
        return await self.send(b"")

    def _add(self, data: bytes | bytearray) -> None:
        if self._pending or isinstance(data, bytes):
            self._pending += data
        else:
            self._pending = data  # the version made it for us, so nothing is copied

    async def _flush(self) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the reader is gone")
        data, self._pending = self._pending, bytearray()
        self.transport.write(data)
        await self.request.writer.drain()

    async def _send_pieces(self, byte_range: ByteRange, version: OpenVersion) -> None:
        if isinstance(version, OpenFile):
            byte_range = await self._send_directly(byte_range, version)
        while byte_range:
            piece = ByteRange(byte_range.start, min(byte_range.start + TAIL_BYTES, byte_range.stop))
            self._add(await _read(version, piece))
            if not version.intact():
                raise ChangedError
            await self._flush()
            byte_range = ByteRange(piece.stop, byte_range.stop)

    async def _send_directly(self, byte_range: ByteRange, file: OpenFile) -> ByteRange:
        """Send from the page cache to the socket; return what could not be sent that way."""
        loop, end = asyncio.get_running_loop(), byte_range.stop
        while byte_range:
            piece = ByteRange(
                byte_range.start, min(byte_range.start + PIECE_BYTES, byte_range.stop)
            )
            await file.warm(piece)
            if not file.intact():
                raise ChangedError
            if self.transport.is_closing():
                raise ConnectionResetError("the reader is gone")
            try:
                sent = self._send_now(piece, file)
                if sent is None:
                    sent = await loop.sendfile(
                        self.transport,
                        cast("IO[bytes]", file),  # of which asyncio uses fileno() alone
                        piece.start,
                        piece.size_bytes,
                        fallback=False,
                    )
                elif piece.stop < end:
                    await asyncio.sleep(0)  # every other reader's turn
            except asyncio.SendfileNotAvailableError:  # or the reader is gone, as a write will tell
                break
            if not sent:
                raise ChangedError
            byte_range = ByteRange(byte_range.start + sent, byte_range.stop)
        return byte_range

    def _send_now(self, piece: ByteRange, file: OpenFile) -> int | None:
        """Move what the socket takes without waiting; None where that is nothing, or not known.

        asyncio's own sendfile takes a turn of the loop, and four calls of epoll, for each piece,
        also where the socket takes it whole, as a reader on this machine has it.
        """
        if self.transport.get_write_buffer_size():  # these bytes come first
            return None
        socket = self.transport.get_extra_info("socket")
        try:
            return os.sendfile(socket.fileno(), file.fileno(), piece.start, piece.size_bytes)
        except (AttributeError, OSError):  # no such call, a full socket, or what asyncio will tell
            return None


async def _read(version: OpenVersion, byte_range: ByteRange) -> bytes | bytearray:
    data = await version.read(byte_range)
    if len(data) != byte_range.size_bytes:
        raise ChangedError
    return data
