"""Bytes of a served file for a page, over the comm: the route where HTTP does not work.

The page requests byte ranges and gets each as a binary message; they are small, since the
notebook's other messages share the connection. A file with an index can be played in segments.
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
"""The largest range of one message (B)."""

_TIMEOUT_S: Final = 10.0
_CHANGED: Final = "it changed while it was read"

_Response = tuple[dict[str, Any], list[bytes]]
_Read = Callable[[OpenVersion], Awaitable[tuple[dict[str, Any], bytes]]]


def send_byte_range(sources: Mapping[str, Source], content: Mapping[str, Any]) -> _Response:
    """Return the response to a request for the bytes `start` to `stop` of a `resource`.

    It has the size of the file (B) and a tag, which changes with the file; without bytes it has a
    `reason`. Blocks while it reads: never call it on the server's own thread.
    """
    source = sources.get(str(content.get("resource")))
    start, stop = content.get("start"), content.get("stop")
    if source is None or not isinstance(start, int) or not isinstance(stop, int):
        return _failed(content, "there is no such resource")
    if not 0 <= start <= stop or stop - start > MAX_RANGE_BYTES:
        return _failed(content, "the byte range is invalid")
    return _respond(content, source, lambda version: _read_range(version, start, stop))


def send_index(sources: Mapping[str, Source], content: Mapping[str, Any]) -> _Response:
    """Return the response to a request for the `index` of a `resource`.

    The index is None for a file that has to be loaded as a whole; size, tag and reason as above.
    """
    source = sources.get(str(content.get("resource")))
    if source is None:
        return _failed(content, "there is no such resource")
    response, _ = _respond(content, source, _read_index)
    return response, []


def _failed(content: Mapping[str, Any], reason: str) -> _Response:
    return {"number": content.get("number"), "reason": reason}, []


def _respond(content: Mapping[str, Any], source: Source, read: _Read) -> _Response:
    try:
        found, data = loop.server.run(_read_version(source, read), timeout_s=_TIMEOUT_S)
    except (OSError, ValueError, RuntimeError) as error:  # TimeoutError is an OSError
        reason = getattr(error, "strerror", None) or str(error) or "it took too long"
        return _failed(content, f"it cannot be read ({reason})")
    return {"number": content.get("number"), **found, "media_type": source.media_type}, [data]


async def _read_version(source: Source, read: _Read) -> tuple[dict[str, Any], bytes]:
    """Read from the file as it is now; `ValueError` where it changes meanwhile."""
    version = await source.version()
    try:
        found, data = await read(version)
        if not version.intact():
            raise ValueError(_CHANGED)
        known = {"size_bytes": version.size_bytes, "tag": version.validator.opaque}
        return {**found, **known}, data
    finally:
        version.close()


async def _read_range(version: OpenVersion, start: int, stop: int) -> tuple[dict[str, Any], bytes]:
    byte_range = ByteRange(min(start, version.size_bytes), min(stop, version.size_bytes))
    return {"start": start}, await _read_bytes(version, byte_range)


async def _read_index(version: OpenVersion) -> tuple[dict[str, Any], bytes]:
    reading = read_index(version.size_bytes)
    try:
        byte_range = next(reading)
        while True:
            byte_range = reading.send(await _read_bytes(version, byte_range))
    except StopIteration as end:
        return {"index": None if end.value is None else asdict(end.value)}, b""


async def _read_bytes(version: OpenVersion, byte_range: ByteRange) -> bytes:
    data = bytes(await version.read(byte_range)) if byte_range else b""
    if len(data) != byte_range.size_bytes:
        raise ValueError(_CHANGED)
    return data
