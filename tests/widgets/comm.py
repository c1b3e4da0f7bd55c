"""Deliver messages to a widget as its comm does."""

from collections.abc import Sequence

from vidnb.widgets.player.commands import CommandMixin


def deliver(widget: CommandMixin, content: object, buffers: Sequence[object] = ()) -> None:
    """Have the widget handle a message of a view."""
    widget._vidnb_on_comm_message(widget, content, list(buffers))
