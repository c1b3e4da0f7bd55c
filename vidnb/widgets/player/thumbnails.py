"""Thumbnails for the timeline: a page asks for the one at a time, and gets a small JPEG.

A page asks by the message `thumbnail` with `t_s`, and is sent `thumbnail` with the time range
(`from_s`, `until_s`, None for the last one) in which the picture is right: it shows the key frame
at `from_s`. The picture is the buffer of the message. A message without one says whether asking
again is of use (`is_off`): not for a file without frames, or without the extra `media`.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from vidnb.errors import MediaError, VidnbError
from vidnb.io.calls import NoThreadError, start_thread
from vidnb.server.source_file import NotStoredError, SourceFile
from vidnb.widgets.player.arguments import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vidnb.media.container import MediaFile
    from vidnb.media.frame_table import FrameTable
    from vidnb.media.thumbnails import Thumbnailer
    from vidnb.widgets.player.frame_numbers import PlayerFrames

    _Send = Callable[[str, "list[bytes] | None", dict[str, object]], object]

__all__ = ["MAX_KEPT", "Thumbnails"]

MAX_KEPT: Final = 200
"""The number of pictures that are kept, of about 4 kB each."""
_MAX_VIEWS: Final = 16
_IDLE_S: Final = 10.0
"""The decoder is freed when no thumbnail was asked for so long (s)."""


class Thumbnails:
    """The thumbnails of one player, made on a thread that runs while they are asked for.

    `send(view, buffers, content)` sends an answer. Of several questions of one view that wait, only
    the newest is answered. They use a decoder of their own, and start no download.
    """

    def __init__(self, frames: "PlayerFrames", send: "_Send") -> None:
        self._frames = frames
        self._send = send
        self._changed = threading.Condition()  # of the next three
        self._wanted: OrderedDict[str, float] = OrderedDict()
        self._is_running = False
        self._is_closed = False
        # Of the thread alone:
        self._keys: tuple[int, ...] = ()
        self._kept: OrderedDict[int, bytes | None] = OrderedDict()  # None cannot be decoded
        self._thumbnailer: Thumbnailer | None = None
        self._file: SourceFile | None = None

    def handle_message(self, view: str, content: "Mapping[str, object]") -> None:
        """Answer a question of a view soon; never blocks."""
        t_s = seconds(content.get("t_s"))
        if t_s is None:
            return
        with self._changed:
            self._wanted[view] = t_s
            self._wanted.move_to_end(view)
            if len(self._wanted) > _MAX_VIEWS:
                self._wanted.popitem(last=False)
            self._changed.notify()
            if self._is_running or self._is_closed:
                return
            self._is_running = True
        with suppress(NoThreadError):  # the process ends
            start_thread(self._run, "vidnb-thumbnails")

    def close(self) -> None:
        """Answer no more; the thread frees the decoder."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._is_closed, _IDLE_S)
                if self._is_closed or not self._wanted:
                    self._close_decoder()
                    self._is_running = False
                    return
                view, t_s = self._wanted.popitem(last=False)
            self._answer(view, t_s)

    def _answer(self, view: str, t_s: float) -> None:
        jpeg: bytes | None = None
        content: dict[str, object] = {"is_off": False}
        try:
            content, jpeg = self._find(t_s)
        except NotStoredError:
            self._close_decoder()  # FFmpeg does not read on after a failed read
        except (VidnbError, OSError, ValueError, RuntimeError):
            self._close_decoder()
            content = {"is_off": True}
        self._send(view, None if jpeg is None else [jpeg], content)

    def _find(self, t_s: float) -> tuple[dict[str, object], bytes | None]:
        """Return the answer for a time (s): the message and its picture."""
        table = self._frames.known
        if table is None:
            raise MediaError("The frame table is not known.")
        keys = self._keys = self._keys or table.keyframes()
        if not keys:
            raise MediaError("No key frame is shown.")
        place = max(0, bisect_right(keys, table.index_at(t_s)) - 1)
        jpeg = self._picture(table, keys[place])
        starts_s = [float(table.pts[key] * table.time_base) for key in keys[place : place + 2]]
        from_s = starts_s[0] if place else 0.0  # before the first key frame there is no other
        until_s = starts_s[1] if len(starts_s) > 1 else None
        return {"from_s": from_s, "until_s": until_s, "is_off": False}, jpeg

    def _picture(self, table: "FrameTable", key: int) -> bytes | None:
        """Return the picture of a key frame, None if it cannot be decoded."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._thumbnailer is None:
            self._thumbnailer = self._open(table)
        try:
            jpeg = self._thumbnailer.jpeg(key)
        except MediaError:
            self._close_decoder()
            jpeg = None
        self._kept[key] = jpeg
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return jpeg

    def _open(self, table: "FrameTable") -> "Thumbnailer":
        from vidnb.media.thumbnails import Thumbnailer

        source = self._frames.open_again()
        self._file = source if isinstance(source, SourceFile) else None
        return Thumbnailer(cast("BinaryIO | MediaFile", source), table)

    def _close_decoder(self) -> None:
        if self._thumbnailer is not None:
            self._thumbnailer.close()
        if self._file is not None:
            self._file.close()
        self._thumbnailer = self._file = None
