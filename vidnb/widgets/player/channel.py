"""The player's ear on the server: letters that a page posts, checked and handed on.

A letter `state` is JSON, `{"v": 1, "view": …, "letters": [message, …]}`, with the same messages as
the kernel's own channel carries, in the order in which they were sent.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

from vidnb.server.message_endpoint import MessageEndpoint
from vidnb.server.server import running_server

__all__ = ["MessageChannel"]

PROTOCOL_VERSION: Final = 1
_STATE: Final = "state"
_PICTURE: Final = "picture-"


class MessageChannel:
    """One mailbox of one player; closed with `made`.

    `hear(message)` is called with each message and `see(number, data)` with each picture that was
    asked for, in a worker thread. `ServeError` where the server cannot start.
    """

    def __init__(
        self,
        made: ExitStack,
        hear: Callable[[dict[str, Any]], None],
        see: Callable[[str, bytes], None],
    ) -> None:
        self._hear, self._see = hear, see
        self.box = MessageEndpoint(self._deliver)
        self.box.expect(_STATE)
        server = running_server()
        self.url = f"http://127.0.0.1:{server.port}/{self.box.path}"
        server.registry.add(self.box)
        made.callback(server.registry.remove, self.box)

    def expect_picture(self, most_bytes: int) -> str:
        """Take one picture of at most so many bytes; return its number."""
        number = uuid4().hex
        self.box.expect(f"{_PICTURE}{number}", most_bytes)
        return number

    def refuse_picture(self, number: str) -> None:
        """Take it no more."""
        self.box.refuse(f"{_PICTURE}{number}")

    def _deliver(self, name: str, data: bytes) -> None:
        if name != _STATE:
            self._see(name.removeprefix(_PICTURE), data)
            return
        try:
            letter = json.loads(data)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(letter, dict) or not isinstance(letter.get("letters"), list):
            raise ValueError("no letters")  # noqa: TRY004 - what the mailbox answers with a 400
        head = {"v": letter.get("v"), "view": letter.get("view")}
        for message in letter["letters"]:
            if isinstance(message, dict):
                self._hear({**message, **head})
