"""Bytes of a served file for a page, over the comm: the route where HTTP does not work.

The page requests byte ranges, or the segments of a video, and gets each as a binary message; ranges
are small, since the notebook's other messages share the connection.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Final

from vidnb.errors import VidnbError
from vidnb.http.ranges import ByteRange
from vidnb.io import loop
from vidnb.io.calls import DaemonThreads
from vidnb.server.registry import FileResource
from vidnb.server.sources import OpenVersion, Source

__all__ = ["MAX_RANGE_BYTES", "SegmentSender", "send_byte_range"]

MAX_RANGE_BYTES: Final = 4 * 1024 * 1024
"""The largest range of one message (B)."""

_TIMEOUT_S: Final = 10.0
_CHANGED: Final = "it changed while it was read"

_Response = tuple[dict[str, Any], list[bytes]]
_Read = Callable[[OpenVersion], Awaitable[tuple[dict[str, Any], bytes]]]


def send_byte_range(resources: Mapping[str, FileResource], content: Mapping[str, Any]) -> _Response:
    """Return the response to a request for the bytes `start` to `stop` of a `resource`.

    It has the size of the file (B) and a tag, which changes with the file; without bytes it has a
    `reason`. Blocks while it reads: never call it on the server's own thread.
    """
    resource = resources.get(str(content.get("resource")))
    start, stop = content.get("start"), content.get("stop")
    if resource is None or not isinstance(start, int) or not isinstance(stop, int):
        return _failed(content, "there is no such resource")
    if not 0 <= start <= stop or stop - start > MAX_RANGE_BYTES:
        return _failed(content, "the byte range is invalid")
    return _respond(content, resource.source, lambda version: _read_range(version, start, stop))


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


async def _read_bytes(version: OpenVersion, byte_range: ByteRange) -> bytes:
    data = bytes(await version.read(byte_range)) if byte_range else b""
    if len(data) != byte_range.size_bytes:
        raise ValueError(_CHANGED)
    return data


class SegmentSender:
    """Responds to the requests of a player's views for playlists and segments.

    `send(view, kind, buffers, **content)` sends a message. A segment may take seconds to make, so
    nothing here blocks: the server's loop waits for it, and a thread sends it. A view waits for one
    at a time: its next request withdraws the one before.
    """

    def __init__(self, resources: Mapping[str, FileResource], send: Callable[..., object]) -> None:
        self._resources = resources
        self._send = send
        self._threads = DaemonThreads("vidnb-kernel-segments", max_threads=4)
        self._lock = threading.Lock()
        self._reading: dict[str, Future[bytes | None]] = {}  # by view

    def handle_message(self, view: str, content: Mapping[str, Any]) -> None:
        """Respond to a request soon; never blocks."""
        resource = self._resources.get(str(content.get("resource")))
        if resource is None:
            response, _ = _failed(content, "there is no such resource")
            self._send(view, "bytes", [], **response)
            return
        part = resource.read_part(str(content.get("variant")), str(content.get("name")))
        reading = asyncio.run_coroutine_threadsafe(part, loop.server.loop)
        with self._lock:
            before = self._reading.pop(view, None)
            self._reading[view] = reading
        if before is not None:
            before.cancel()
        reading.add_done_callback(
            lambda _: self._threads.submit(self._respond, view, content, reading)
        )

    def _respond(
        self, view: str, content: Mapping[str, Any], reading: "Future[bytes | None]"
    ) -> None:
        with self._lock:
            if self._reading.get(view) is reading:
                del self._reading[view]
        number = content.get("number")
        try:
            data = reading.result()
        except CancelledError:
            return
        except VidnbError as error:  # a sentence about the file
            self._send(view, "bytes", [], number=number, problem=str(error))
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._send(view, "bytes", [], number=number, reason=f"it cannot be read ({reason})")
        else:
            if data is None:
                self._send(view, "bytes", [], number=number, reason="there is no such segment")
            else:
                self._send(view, "bytes", [data], number=number)

    def close(self) -> None:
        """Withdraw all requests."""
        with self._lock:
            reading = [*self._reading.values()]
        for each in reading:
            each.cancel()
        self._threads.shutdown()
