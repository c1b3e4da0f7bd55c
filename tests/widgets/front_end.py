"""A front end without a browser: a fake comm, a terminal, the visible text of HTML."""

import html
import io
import re
from typing import Any

import pytest


def visible_text(markup: str) -> str:
    """Return the visible text of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


class FakeComm:
    """Records the messages to the front end; raises if `is_dead`."""

    sent: list[dict[str, Any]]
    is_dead = False
    is_closed = False

    def __init__(self, *, comm_id: str = "", **_options: object) -> None:
        self.comm_id = comm_id or f"comm-{id(self)}"
        # ipykernel 7.4 stores this when the cell updates a widget.
        self._reply_subshell_id = None

    def on_msg(self, callback: object) -> None: ...

    def send(self, data: dict[str, Any], buffers: object = None) -> None:
        self._reply_subshell_id = None
        if FakeComm.is_dead:
            raise RuntimeError("the page is gone")
        FakeComm.sent.append(data)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.send({})


class Terminal(io.StringIO):
    is_terminal = True

    def isatty(self) -> bool:
        return self.is_terminal


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "vidnb.progress"]
