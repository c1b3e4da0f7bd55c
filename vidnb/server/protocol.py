"""One connection: aiohttp's own, which refuses in our words and answers small requests at once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from vidnb.server.response_writer import Late

__all__ = ["Connection"]

HALF_CLOSED_S: Final = 0.1
"""How long a connection whose reader sends no more may be idle."""

AtOnce = Callable[[RawRequestMessage, asyncio.Transport], bool]
"""Answers a request without waiting for anything; False where it cannot, and nothing is done."""

_CAN_ANSWER_AT_ONCE: Final = all(
    hasattr(web.RequestHandler, name)
    for name in ("_waiter", "_messages", "_buffer_paused", "_next_keepalive_close_time")
) and hasattr(HttpRequestParser, "message_consumed")


class Connection(web.RequestHandler):
    """One connection: refuses what is no request, and answers a reader that half-closed it."""

    def __init__(self, server: web.Server, at_once: AtOnce, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._at_once = at_once
        # A reader of large answers, whom nothing can be answered at once, is not judged twice.
        self.expects_small = True
        self._active_s = 0.0
        self._answering = False

    def note(self, *, answering: bool) -> None:
        """Note that an answer begins or has ended."""
        self._answering = answering
        self._active_s = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Answer a small request here and now; what else comes is for aiohttp to schedule.

        A task, two futures and three turns of the loop cost more than such an answer itself. This
        stands on attributes that aiohttp does not document: where one is missing, all goes the
        long way.
        """
        waiter = self._waiter if _CAN_ANSWER_AT_ONCE else None
        if waiter is None or waiter.done() or self._messages:
            super().data_received(data)
            return
        self._waiter = None  # nobody is to be woken up yet
        super().data_received(data)
        self._waiter = waiter
        if len(self._messages) == 1 and self._answer_at_once(*self._messages[0]):
            self._messages.clear()
            cast("HttpRequestParser", self._parser).message_consumed()
            self._active_s = time.monotonic()
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        elif self._messages:
            waiter.set_result(None)

    def _answer_at_once(self, message: object, payload: object) -> bool:
        transport = self.transport
        return (
            self.expects_small
            and isinstance(message, RawRequestMessage)
            and payload is EMPTY_PAYLOAD
            and message.version == (1, 1)
            and not (message.should_close or message.upgrade or self._buffer_paused)
            and transport is not None
            and not (transport.is_closing() or transport.get_write_buffer_size())
            and self._at_once(message, transport)
        )

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - it holds the addresses
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 - it would quote them
        message: str | None = None,  # noqa: ARG002 - so would this
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read as a request, without repeating any of it."""
        return Late(status)

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's own type; aiohttp narrows it
        """Keep the sending half open: a reader may ask, close its half, and wait (RFC 9112 9.6)."""
        self._active_s = time.monotonic()
        self._close_when_idle()
        return True

    def _close_when_idle(self) -> None:
        if self.transport is None:
            return
        if self._answering or time.monotonic() < self._active_s + HALF_CLOSED_S:
            asyncio.get_running_loop().call_later(HALF_CLOSED_S, self._close_when_idle)
        else:
            self.transport.close()
