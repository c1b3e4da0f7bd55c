"""The picture a player shows, brought to Python: asked for, waited for, checked.

The browser draws the frame and sends it as PNG: by HTTP into the player's mailbox, else as a
binary message of the kernel's channel.
"""

import asyncio
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, Final

from vidnb.errors import PlayerTimeout, VidnbError
from vidnb.widgets.player.channel import MessageChannel
from vidnb.widgets.player.event_waiter import WaitMixin, checked_timeout

__all__ = ["MOST_PICTURE_BYTES", "MOST_PIXELS", "SnapshotMixin", "Snapshots"]

MOST_PIXELS: Final = 3840 * 2160
"""The browser scales a larger frame down to this many pixels."""

MOST_PICTURE_BYTES: Final = 40_000_000
"""The most in one PNG: four bytes a pixel, with room for its own structure."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


class Snapshots:
    """The pictures that are on their way, by number; thread-safe."""

    def __init__(self) -> None:
        self._coming: dict[str, Future[bytes]] = {}

    def begin(self, number: str) -> "Future[bytes]":
        """Await the picture of this number."""
        future: Future[bytes] = Future()
        self._coming[number] = future
        return future

    def end(self, number: str) -> None:
        """Await it no more."""
        self._coming.pop(number, None)

    def see(self, number: str, data: bytes) -> None:
        """Take a picture; the first of its number counts. `ValueError`: it is no PNG."""
        future = self._coming.get(number)
        if future is None or future.done():
            return
        _check(data)
        with suppress(InvalidStateError):  # another view was faster
            future.set_result(data)

    def take(self, content: Mapping[str, object], buffers: object) -> None:
        """Take a message of the kernel's channel: the picture beside it, or why there is none."""
        number, reason = content.get("number"), content.get("reason")
        if not isinstance(number, str):
            return
        if isinstance(reason, str):
            self.fail(number, reason)
        elif isinstance(buffers, list | tuple) and buffers:
            with suppress(ValueError):
                self.see(number, bytes(buffers[0]))

    def fail(self, number: str, reason: str) -> None:
        """Note that the browser cannot make it."""
        future = self._coming.get(number)
        if future is not None and not future.done():
            with suppress(InvalidStateError):
                future.set_exception(LookupError(reason))


class SnapshotMixin(WaitMixin):
    """The half of `Player` that brings its picture to Python."""

    _vidnb_channel: MessageChannel
    _vidnb_pictures: Snapshots

    def snapshot(self, timeout_s: float | None = 10.0) -> Any:
        """Return the frame that is shown: a picture of Pillow's, or PNG bytes without Pillow.

        It has the video's own size in pixels, scaled down to at most 3840 x 2160. Works while the
        cell runs, as long as the video comes over HTTP. `PlayerTimeout` after `timeout_s` seconds,
        or at once where the player cannot be heard inside a cell; `VidnbError` where the browser
        has no frame, or does not give it away.
        """
        timeout_s = checked_timeout("snapshot", timeout_s)
        self._vidnb_refuse_deaf("snapshot()", "snapshot_async()")
        with self._vidnb_picture(timeout_s) as future:
            return _as_image(future.result(timeout_s))

    async def snapshot_async(self, timeout_s: float | None = 10.0) -> Any:
        """Do what `snapshot` does without blocking the kernel: `await` it in a cell."""
        timeout_s = checked_timeout("snapshot_async", timeout_s)
        self._vidnb_refuse_deaf_coroutine("snapshot_async()")
        with self._vidnb_picture(timeout_s) as future:
            async with asyncio.timeout(timeout_s):
                png = await asyncio.wrap_future(future)
        return _as_image(png)

    @contextmanager
    def _vidnb_picture(self, timeout_s: float | None) -> "Iterator[Future[bytes]]":
        number = self._vidnb_channel.expect_picture(MOST_PICTURE_BYTES)
        try:
            future = self._vidnb_pictures.begin(number)
            self._vidnb_send_to(
                self._vidnb_views.leader, "picture", number=number, most_pixels=MOST_PIXELS
            )
            yield future
        except TimeoutError as late:
            raise PlayerTimeout(self._vidnb_why("send its picture", timeout_s)) from late
        except LookupError as reason:
            raise VidnbError(f"{self.name} has no picture to give: {reason}.") from reason
        finally:
            self._vidnb_channel.refuse_picture(number)
            self._vidnb_pictures.end(number)

    def _vidnb_send_to(
        self, view: str, kind: str, buffers: list[bytes] | None = None, **content: object
    ) -> None:
        """Send a message to one view, or to all where `view` is empty."""
        raise NotImplementedError


def _as_image(png: bytes) -> Any:
    try:
        from PIL import Image
    except ImportError:
        return png
    image = Image.open(BytesIO(png), formats=["PNG"])
    image.load()
    return image


def _check(data: bytes) -> None:
    """Refuse what is no PNG of a size that was asked for (PNG, third edition, section 11.2.1)."""
    if len(data) > MOST_PICTURE_BYTES or data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise ValueError("no PNG")
    wide, high = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    if not 0 < wide * high <= MOST_PIXELS:
        raise ValueError("a PNG of another size")
