"""The channel between a player and its views: messages that a page posts, and those sent to it.

A page posts JSON to the message endpoint as `state`: `{"v": 1, "view": …, "messages": [message,
…]}`, with the same messages as the comm carries, in the order in which they were made. Python sends
over the comm alone.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, TypeGuard
from uuid import uuid4

from vidnb.server.message_endpoint import MessageEndpoint
from vidnb.server.server import running_server

__all__ = ["PROTOCOL_VERSION", "MessageChannel", "Outbox", "is_message"]

PROTOCOL_VERSION: Final = 1
_STATE: Final = "state"
_SNAPSHOT: Final = "snapshot-"


def is_message(content: object) -> TypeGuard[dict[str, Any]]:
    """Return whether this is a message of a view in the protocol version that is known here."""
    return (
        isinstance(content, dict)
        and content.get("v") == PROTOCOL_VERSION
        and isinstance(content.get("view"), str)
    )


class Outbox:
    """Comm messages and trait changes of one widget, in order and by one thread at a time.

    Sending may block. So the owner adds while it holds its state lock, which fixes the order, and
    flushes after it has released it: no reader and no message handler waits for a send.
    """

    def __init__(self) -> None:
        self._queue: deque[Callable[[], object]] = deque()
        self._sending = threading.Lock()

    def add(self, send: Callable[[], object]) -> None:
        """Queue a call that sends; never blocks."""
        self._queue.append(send)

    def flush(self) -> None:
        """Send what is queued, unless another thread is sending: then that thread does it."""
        # Checked again after the release, for what was added while the lock was held.
        while self._queue and self._sending.acquire(blocking=False):
            try:
                while self._queue:
                    self._queue.popleft()()
            finally:
                self._sending.release()


class MessageChannel:
    """The message endpoint of one player; unregistered when `owned` is closed.

    `on_message(message)` is called with each message and `on_snapshot(number, png)` with each
    snapshot that was requested, on a worker thread. `ServeError` where the server cannot start.
    """

    def __init__(
        self,
        owned: ExitStack,
        on_message: Callable[[dict[str, Any]], None],
        on_snapshot: Callable[[str, bytes], None],
    ) -> None:
        self._on_message, self._on_snapshot = on_message, on_snapshot
        self.endpoint = MessageEndpoint(self._deliver)
        self.endpoint.expect(_STATE)
        server = running_server()
        self.url = f"http://127.0.0.1:{server.port}/{self.endpoint.path}"
        server.registry.add(self.endpoint)
        owned.callback(server.registry.remove, self.endpoint)

    def expect_snapshot(self, max_bytes: int) -> str:
        """Accept one snapshot of at most `max_bytes`; return its number."""
        number = uuid4().hex
        self.endpoint.expect(f"{_SNAPSHOT}{number}", max_bytes)
        return number

    def refuse_snapshot(self, number: str) -> None:
        """Accept the snapshot of this number no longer."""
        self.endpoint.refuse(f"{_SNAPSHOT}{number}")

    def _deliver(self, name: str, data: bytes) -> None:
        if name != _STATE:
            self._on_snapshot(name.removeprefix(_SNAPSHOT), data)
            return
        try:
            body = json.loads(data)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise ValueError("no list of messages")  # noqa: TRY004 - the endpoint responds with 400
        head = {"v": body.get("v"), "view": body.get("view")}
        for message in body["messages"]:
            if isinstance(message, dict):
                self._on_message({**message, **head})
