"""Snapshots: the frame that the browser shows, sent to Python as PNG, by HTTP or over the comm."""

import asyncio
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, Final

from vidnb.errors import VidnbError
from vidnb.widgets.player.arguments import check_timeout_s
from vidnb.widgets.player.channel import MessageChannel
from vidnb.widgets.player.commands import CommandMixin
from vidnb.widgets.player.event_waiter import WaitMixin

__all__ = ["MAX_PIXELS", "MAX_PNG_BYTES", "SnapshotMixin", "Snapshots"]

MAX_PIXELS: Final = 3840 * 2160
"""The browser scales a larger frame down to this number of pixels."""

MAX_PNG_BYTES: Final = 40_000_000
"""The largest PNG (B): four bytes a pixel, and the format's own structure."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


class Snapshots:
    """The snapshots that are expected, by number; thread-safe."""

    def __init__(self) -> None:
        self._expected: dict[str, Future[bytes]] = {}

    def expect(self, number: str) -> "Future[bytes]":
        """Expect the snapshot of this number."""
        future: Future[bytes] = Future()
        self._expected[number] = future
        return future

    def discard(self, number: str) -> None:
        """Expect it no longer."""
        self._expected.pop(number, None)

    def receive(self, number: str, png: bytes) -> None:
        """Receive a snapshot; the first of its number counts. `ValueError` if it is no PNG."""
        future = self._expected.get(number)
        if future is None or future.done():
            return
        _check_png(png)
        with suppress(InvalidStateError):  # another view was faster
            future.set_result(png)

    def handle_message(self, content: Mapping[str, object], buffers: object) -> None:
        """Handle a message: a PNG in its buffer, or the reason why there is none."""
        number, reason = content.get("number"), content.get("reason")
        if not isinstance(number, str):
            return
        if isinstance(reason, str):
            future = self._expected.get(number)
            if future is not None:
                with suppress(InvalidStateError):
                    future.set_exception(LookupError(reason))
        elif isinstance(buffers, list | tuple) and buffers:
            with suppress(ValueError):
                self.receive(number, bytes(buffers[0]))


class SnapshotMixin(WaitMixin, CommandMixin):
    """The part of `Player` that takes snapshots."""

    _vidnb_channel: MessageChannel
    _vidnb_snapshots: Snapshots

    def snapshot(self, timeout_s: float | None = 10.0) -> Any:
        """Return the frame that is shown: a Pillow image, or PNG bytes without Pillow.

        It has the video's own size in pixels, scaled down to at most 3840 x 2160. Works while the
        cell runs, where the video comes over HTTP. `PlayerTimeout` after `timeout_s` seconds, or
        at once where the player's messages cannot be received while a cell runs; `Unreachable`
        where the page reports that no route works; `VidnbError` where the browser shows no frame
        or does not allow reading it.
        """
        timeout_s = check_timeout_s(timeout_s)
        self._vidnb_check_can_block("snapshot()", "snapshot_async()")
        with self._vidnb_request_snapshot(timeout_s) as future:
            return _as_image(future.result(timeout_s))

    async def snapshot_async(self, timeout_s: float | None = 10.0) -> Any:
        """Do what `snapshot` does without blocking the kernel: `await` it in a cell."""
        timeout_s = check_timeout_s(timeout_s)
        self._vidnb_check_can_await("snapshot_async()")
        with self._vidnb_request_snapshot(timeout_s) as future:
            async with asyncio.timeout(timeout_s):
                png = await asyncio.wrap_future(future)
        return _as_image(png)

    @contextmanager
    def _vidnb_request_snapshot(self, timeout_s: float | None) -> "Iterator[Future[bytes]]":
        number = self._vidnb_channel.expect_snapshot(MAX_PNG_BYTES)
        try:
            future = self._vidnb_snapshots.expect(number)
            self._vidnb_send_to(
                self._vidnb_views.leader, "snapshot", number=number, max_pixels=MAX_PIXELS
            )
            yield future
        except TimeoutError as late:
            raise self._vidnb_wait_error("send a snapshot", timeout_s) from late
        except LookupError as reason:
            raise VidnbError(f"{self.name} has no snapshot to send: {reason}.") from reason
        finally:
            self._vidnb_channel.refuse_snapshot(number)
            self._vidnb_snapshots.discard(number)


def _as_image(png: bytes) -> Any:
    try:
        from PIL import Image
    except ImportError:
        return png
    image = Image.open(BytesIO(png), formats=["PNG"])
    image.load()
    return image


def _check_png(data: bytes) -> None:
    """Raise `ValueError` unless this is a PNG of an allowed size (PNG 3, section 11.2.1)."""
    if len(data) > MAX_PNG_BYTES or data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise ValueError("no PNG")
    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError("a PNG of another size")
