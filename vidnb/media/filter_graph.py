"""Graphs of FFmpeg's filters: link them, and run frames through them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from vidnb.media.container import require_av

if TYPE_CHECKING:
    from av.filter import Graph
    from av.filter.context import FilterContext

__all__ = ["add_filters", "and_none", "run_filters"]


def add_filters(
    graph: "Graph", last: "FilterContext", filters: Iterable[tuple[str, str]]
) -> "FilterContext":
    """Add filters, as FFmpeg's names and arguments, behind one of a graph; return the last one."""
    for name, arguments in filters:
        added = graph.add(name, arguments or None)
        last.link_to(added)
        last = added
    return last


def run_filters(
    entry: "FilterContext", end: "FilterContext", frames: Iterable[Any]
) -> "Iterator[Any]":
    """Push frames into a graph and yield what comes out."""
    av = require_av()
    for frame in and_none(frames):
        entry.push(frame)
        while True:
            try:
                yield end.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break


def and_none(frames: Iterable[Any]) -> Iterator[Any]:
    """Yield frames and then None, which flushes a filter or an encoder."""
    yield from frames
    yield None
