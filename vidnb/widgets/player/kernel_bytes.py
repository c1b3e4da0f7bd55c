"""Bytes for a page by the kernel's own channel: the road that is left where no other is open.

The page asks for one span after the other and gets each as a binary message. The channel is read
between two cells only, and carries everything else of the notebook too: so spans are small. A file
that a browser can be fed in pieces has an outline; any other one is fetched as a whole.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from vidnb.http.ranges import ByteRange
from vidnb.io import loop
from vidnb.media.index import read_index
from vidnb.server.sources import OpenVersion, Source

__all__ = ["MAX_RANGE_BYTES", "send_byte_range", "send_index"]

MAX_RANGE_BYTES: Final = 4 * 1024 * 1024
"""The most in one message."""

_PATIENCE_S: Final = 10.0


def send_byte_range(
    sources: Mapping[str, Source], content: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the answer to a page that asks for bytes `start` to `stop` of what it calls `of`.

    With the bytes come the whole size (B) and a tag: another tag, another file. Where there are no
    bytes, there is a `reason`. Blocks while it reads; never on the server's own thread.
    """
    said = {"number": content.get("number")}
    source = sources.get(str(content.get("of")))
    start, stop = content.get("start"), content.get("stop")
    if source is None or not isinstance(start, int) or not isinstance(stop, int):
        return {**said, "reason": "there is nothing of this name"}, []
    if not 0 <= start <= stop or stop - start > MAX_RANGE_BYTES:
        return {**said, "reason": "that span is none"}, []
    return _answer(said, source, lambda version: _read(version, start, stop))


def send_index(
    sources: Mapping[str, Source], content: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the answer to a page that asks how it can play piecewise what it calls `of`.

    It is an `outline`, None where the file has to come as a whole; the rest as for a span.
    """
    said = {"number": content.get("number")}
    source = sources.get(str(content.get("of")))
    if source is None:
        return {**said, "reason": "there is nothing of this name"}, []
    answer, _ = _answer(said, source, _outline)
    return answer, []


def _answer(
    said: dict[str, Any],
    source: Source,
    look: Callable[[OpenVersion], Awaitable[tuple[dict[str, Any], bytes]]],
) -> tuple[dict[str, Any], list[bytes]]:
    """Return what `look` finds in the version that is there now, or the reason why not."""
    try:
        found, data = loop.server.run(_look(source, look), timeout_s=_PATIENCE_S)
    except (OSError, ValueError, RuntimeError) as error:  # TimeoutError is an OSError
        reason = getattr(error, "strerror", None) or str(error) or "it took too long"
        return {**said, "reason": f"it cannot be read ({reason})"}, []
    return {**said, **found, "media_type": source.media_type}, [data]


async def _look(
    source: Source, look: Callable[[OpenVersion], Awaitable[tuple[dict[str, Any], bytes]]]
) -> tuple[dict[str, Any], bytes]:
    version = await source.version()
    try:
        found, data = await look(version)
        if not version.intact():
            raise ValueError("it changed while it was read")
        known = {"size_bytes": version.size_bytes, "tag": version.validator.opaque}
        return {**found, **known}, data
    finally:
        version.close()


async def _read(version: OpenVersion, start: int, stop: int) -> tuple[dict[str, Any], bytes]:
    byte_range = ByteRange(min(start, version.size_bytes), min(stop, version.size_bytes))
    return {"start": start}, await _bytes(version, byte_range)


async def _outline(version: OpenVersion) -> tuple[dict[str, Any], bytes]:
    reading = read_index(version.size_bytes)
    try:
        byte_range = next(reading)
        while True:
            byte_range = reading.send(await _bytes(version, byte_range))
    except StopIteration as end:
        return {"outline": None if end.value is None else asdict(end.value)}, b""


async def _bytes(version: OpenVersion, byte_range: ByteRange) -> bytes:
    data = bytes(await version.read(byte_range)) if byte_range else b""
    if len(data) != byte_range.size_bytes:
        raise ValueError("it changed while it was read")
    return data
