"""Response heads are checked and normalised before aiohttp parses them.

aiohttp 3.14.5 refuses a head for any malformed line, puts the line into its error, and reads a
length behind `Content-Length :` without reporting the field. `FilteringConnector` puts a protocol
of our own between the transport and aiohttp's for the head of each response; the decisions are
those of `vidnb.http.response_lines`.
"""

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from vidnb.http.response_lines import MalformedHeadError, head_length, normalise_head

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["FilteringConnector", "MalformedResponseError"]


class MalformedResponseError(aiohttp.ClientError):
    """The head of a response is malformed; the text is the reason, without the origin's bytes."""


class FilteringConnector(aiohttp.TCPConnector):
    """A connector whose responses have well-formed heads, or raise `MalformedResponseError`."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> "Connection":
        """Return a connection whose next response is filtered."""
        connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None and connection.transport is not None:
            _HeadFilter(connection.protocol, connection.transport)
        return connection


class _HeadFilter(asyncio.Protocol):
    """Receive from `transport` until the head of the final response is there, then step aside."""

    def __init__(self, parser: "ResponseHandler", transport: asyncio.Transport) -> None:
        self._parser = parser
        self._transport = transport
        self._data = bytearray()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Pass on each complete head, and after the final one everything else."""
        searched_bytes = len(self._data)
        self._data += data
        try:
            while (length_bytes := head_length(self._data, searched_bytes)) is not None:
                status, head = normalise_head(bytes(self._data[:length_bytes]))
                del self._data[:length_bytes]
                searched_bytes = 0
                if status >= 200 or status == 101:
                    self._transport.set_protocol(self._parser)
                    self._parser.data_received(head + bytes(self._data))
                    return
                self._parser.data_received(head)
        except MalformedHeadError as error:
            self._parser.set_exception(MalformedResponseError(str(error)))
            self._transport.abort()

    def eof_received(self) -> None:
        """Let aiohttp know; the transport then closes itself."""
        self._parser.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let aiohttp report the end."""
        self._parser.connection_lost(exc)

    def pause_writing(self) -> None:
        """Let aiohttp pause the request."""
        self._parser.pause_writing()

    def resume_writing(self) -> None:
        """Let aiohttp resume the request."""
        self._parser.resume_writing()
