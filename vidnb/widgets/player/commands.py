"""Commands from Python to the views of a widget: sent at once, and kept for views shown later."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Self

import anywidget
import traitlets as t

from vidnb.widgets.player.arguments import check_integer, check_number
from vidnb.widgets.player.channel import PROTOCOL_VERSION, Outbox, is_message

__all__ = ["CommandMixin", "check_rate", "merge_commands"]

_MIN_RATE: Final = 0.0625
_MAX_RATE: Final = 16.0
"""Chromium refuses a rate outside of these; Firefox plays without sound long before."""


def check_rate(rate: object) -> float:
    """Return a playback rate, 1.0 being as recorded; `ValueError` outside of 0.0625 to 16."""
    return check_number("playback_rate", rate, minimum=_MIN_RATE, maximum=_MAX_RATE)


def merge_commands(pending: Mapping[str, Any], command: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commands that a later view has to apply: `pending`, then `command`.

    Steps add up, and a seek replaces the steps before it.
    """
    before = dict(pending)
    if "t_s" in command:
        before.pop("step", None)
    if "step" in command:
        before["playing"] = False
        return {**before, **command, "step": before.get("step", 0) + command["step"]}
    return {**before, **command}


class CommandMixin(anywidget.AnyWidget):
    """What `Player` and `Comparison` share: commands, their acknowledgement, and messages.

    `_vidnb_lock` guards the state and is never held while a message is sent. Every message and
    every trait that changes after the construction goes through `_vidnb_outbox`, since traits are
    not thread-safe and commands and reports come on any thread. `owned` is closed with the widget.
    """

    pending_command = t.Dict(help="Commands that no view has applied yet.").tag(sync=True)

    def __init__(self, *, owned: ExitStack | None = None, **config: Any) -> None:
        self._vidnb_owned = ExitStack() if owned is None else owned
        self._vidnb_lock = threading.RLock()
        self._vidnb_outbox = Outbox()
        self._vidnb_seq = 0
        self._vidnb_pending: dict[str, Any] = {}
        super().__init__(**config)
        self.on_msg(self._vidnb_on_comm_message)

    def play(self) -> Self:
        """Play; a browser that requires a click before it plays with sound shows a message."""
        return self._vidnb_send_command(playing=True)

    def pause(self) -> Self:
        """Pause; several videos pause at the same moment."""
        return self._vidnb_send_command(playing=False)

    def seek(self, t_s: float) -> Self:
        """Seek to `t_s` seconds from the start; past the end is the end.

        `ValueError` where `t_s` is negative or no number. Works while a cell runs, also before
        the widget is displayed.
        """
        return self._vidnb_send_command(t_s=check_number("t_s", t_s, minimum=0))

    def step(self, frames: int = 1) -> Self:
        """Pause, and step `frames` forward, or back where it is negative.

        Of several videos the leading one's frames count. A browser does not report a frame rate:
        the duration of a frame is measured from those shown, 1/30 s before that. `ValueError`
        where `frames` is no whole number.
        """
        return self._vidnb_send_command(step=check_integer("frames", frames))

    def close(self) -> None:
        """Remove the widget from every page, and stop serving what it alone has served."""
        super().close()
        self._vidnb_owned.close()

    def _vidnb_send_command(self, **command: bool | float) -> Self:
        with self._vidnb_lock:
            self._vidnb_seq += 1
            self._vidnb_begin_command()
            self._vidnb_pending = merge_commands(self._vidnb_pending, command)
            head = {"v": PROTOCOL_VERSION, "seq": self._vidnb_seq}
            self._vidnb_set_trait("pending_command", {**self._vidnb_pending, **head})
            self._vidnb_outbox.add(partial(self.send, {"kind": "command", **command, **head}))
        self._vidnb_outbox.flush()
        return self

    def _vidnb_begin_command(self) -> None:
        """Prepare for a command; the lock is held."""

    def _vidnb_acknowledge(self, seq: object) -> bool:
        """Return whether a view has applied the last command; then none is pending.

        The caller holds the lock, and flushes the outbox when it has released it.
        """
        is_last = seq == self._vidnb_seq
        if is_last and self._vidnb_pending:
            self._vidnb_pending = {}
            self._vidnb_set_trait("pending_command", {})
        return is_last

    def _vidnb_set_trait(self, name: str, value: object) -> None:
        """Queue a change of a trait, which is then sent to the browser."""
        self._vidnb_outbox.add(partial(self.set_trait, name, value))

    def _vidnb_send_to(
        self, view: str, kind: str, buffers: list[bytes] | None = None, **content: object
    ) -> None:
        """Send a message to one view, or to all where `view` is empty."""
        message = {"v": PROTOCOL_VERSION, "kind": kind, "view": view, **content}
        self._vidnb_outbox.add(partial(self.send, message, buffers))
        self._vidnb_outbox.flush()

    def _vidnb_on_comm_message(self, _widget: object, content: object, buffers: object) -> None:
        """Handle a message of the comm, on the kernel's thread or a subshell's."""
        if is_message(content):
            self._vidnb_handle_comm_message(content, buffers)

    def _vidnb_handle_comm_message(self, content: dict[str, Any], buffers: object) -> None:
        raise NotImplementedError
