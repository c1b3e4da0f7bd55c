"""Frame numbers in a player: those of `vidnb.frames`, by the same table."""

import struct
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

from vidnb.errors import MediaError, ServeError, VidnbError
from vidnb.server.server import Served
from vidnb.widgets.player.arguments import check_integer
from vidnb.widgets.player.commands import CommandMixin
from vidnb.widgets.player.deliveries import PlaybackReader
from vidnb.widgets.player.thumbnails import Thumbnails
from vidnb.widgets.player.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vidnb.media.container import MediaFile
    from vidnb.media.frame_table import FrameTable
    from vidnb.media.frames import Frame, Frames
    from vidnb.server.source_file import SourceFile

__all__ = ["FrameMixin", "PlayerFrames", "encode_times"]

_INDEXED_TYPES: Final = frozenset({"video/mp4", "video/quicktime"})
"""While such a file is downloaded, its index is read first, as the browser does."""
_MAX_READ_BYTES: Final = 2 * 2**30
"""A longer file without an index (B) is not read only because it is shown."""
_ROUNDING_S: Final = 1e-5
"""Browsers cut times to microseconds, which would otherwise belong to the frame before."""


class PlayerFrames:
    """The frames of the file behind a player, opened when they are first needed; thread-safe."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._lock = threading.Lock()
        self._frames: Frames | None = None
        self._file: SourceFile | None = None  # while it is downloaded
        self._error: VidnbError | None = None
        self._is_closed = False
        self._is_loading = False

    @property
    def is_local(self) -> bool:
        """Whether the file is complete on this machine."""
        return self._served.path is not None

    @property
    def known(self) -> "FrameTable | None":
        """The frame table if it was made already."""
        frames = self._frames
        return None if frames is None else frames.table

    def get(self) -> "Frames":
        """Return the frames; blocks until the table is made.

        Raises `MissingExtra` without the extra `media`, `MediaError` for a file without frames, and
        while they are still encoded.
        """
        from vidnb.media.frames import frames

        state = self._served.growing
        if state:
            raise MediaError(
                f"{self._served.name} has no frame numbers yet ({state}); wait for"
                " player.encoding.result()."
            )
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._frames is None:
                try:
                    self._frames = frames(cast("BinaryIO", self._opened()))
                except VidnbError as error:
                    self._error = error
                    raise
                if self._is_closed:
                    self.close()
            return self._frames

    def _opened(self) -> "Path | SourceFile":
        if self._served.path is not None:
            return self._served.path
        self._file = self._file or self._served.open_bytes()
        return self._file

    def open_again(self) -> "MediaFile | SourceFile":
        """Return the file of the frame table for another decoder, without waiting for downloads.

        The caller closes a `SourceFile`. `ServeError` where it is another file now.
        """
        if self._file is None:
            return self.get().file
        again = self._served.open_bytes(waits=False)
        if again.tag != self._file.tag:
            again.close()
            raise ServeError(f"{self._served.name} changed while it was downloaded; play it again.")
        return again

    def load(self, when_loaded: "Callable[[FrameTable], object]") -> None:
        """Make the table on a thread of its own, and call `when_loaded` with it.

        Only where that costs little: of a file without an index all packets are read, so neither
        for one that is still downloaded nor for a long one. A call from Python makes any table.
        """
        served = self._served
        is_read_at_once = self.is_local and served.size_bytes <= _MAX_READ_BYTES
        is_cheap = is_read_at_once or served.media_type in _INDEXED_TYPES
        if self._is_loading or self._frames is not None or not is_cheap or served.growing:
            return
        self._is_loading = True

        def run() -> None:
            try:
                table = self.get().table
                if not self._is_closed:
                    when_loaded(table)
            except (VidnbError, OSError, ValueError, RuntimeError):
                return  # a page without frame numbers; a call from Python raises the reason

        threading.Thread(target=run, name="vidnb-frame-table", daemon=True).start()

    def close(self) -> None:
        """Close the file."""
        self._is_closed = True
        for opened in (self._frames, self._file):
            if opened is not None:
                opened.close()


class FrameMixin(CommandMixin):
    """The part of `Player` that counts frames as `vidnb.frames` does."""

    _vidnb_views: Views
    _vidnb_frames: PlayerFrames | None
    _vidnb_playback: PlaybackReader | None
    _vidnb_thumbnails: Thumbnails | None

    @property
    def frame_index(self) -> int | None:
        """The number of the frame that is shown, from 0; None before a page has shown one.

        It is looked up in the container's timestamps by the time that the browser reports for the
        frame (`requestVideoFrameCallback`), so it is right for variable frame rates, too, and also
        while a cell runs. Raises what `vidnb.frames` raises for the file.
        """
        report = self._vidnb_views.report
        if report is None or self._vidnb_frames is None:
            return None
        shown_s = report.frame_time_at(time.monotonic()) + self._vidnb_shift_s + _ROUNDING_S
        return self._vidnb_frames.get().table.index_at(shown_s)

    def seek_frame(self, index: int) -> Self:
        """Show frame `index`, counted from 0, or from the end where it is negative.

        `IndexError` where there is no such frame; otherwise as `vidnb.frames`.
        """
        number = check_integer("index", index)
        if self._vidnb_frames is None:
            raise ValueError("this player has no file, so it has no frames")
        table = self._vidnb_frames.get().table
        if not -len(table) <= number < len(table):
            raise IndexError(f"frame {number} is out of range: there are {len(table)} frames.")
        t_s = float(table.seek_time_s(number % len(table))) - self._vidnb_shift_s
        return self._vidnb_send_command(t_s=max(0.0, t_s))

    def frame(self) -> "Frame":
        """Return the frame that is shown, decoded from the file: `numpy.asarray(player.frame())`.

        `ValueError` before a page has shown one; otherwise as `vidnb.frames`.
        """
        index = self.frame_index
        if index is None or self._vidnb_frames is None:
            raise ValueError(
                "no page has shown a frame yet; display the player, or use vidnb.frames(…)[n]."
            )
        return self._vidnb_frames.get()[index]

    def _vidnb_open_frames(self, served: Served | None, owned: ExitStack) -> None:
        """Prepare the frames and the thumbnails of the served file."""
        self._vidnb_frames = self._vidnb_thumbnails = None
        if served is None:
            return
        self._vidnb_frames = frames = PlayerFrames(served)
        self._vidnb_thumbnails = Thumbnails(
            frames,
            lambda view, jpeg, content: self._vidnb_send_to(view, "thumbnail", jpeg, **content),
        )
        owned.callback(frames.close)
        owned.callback(self._vidnb_thumbnails.close)

    @property
    def _vidnb_start_s(self) -> float:
        """The time of the file at which segments begin (s)."""
        playback = None if self._vidnb_playback is None else self._vidnb_playback.known
        return 0.0 if playback is None else playback.start_s

    @property
    def _vidnb_shift_s(self) -> float:
        """The time of the file at the player's time 0 (s): the start where it plays segments."""
        delivery = self._vidnb_views.state.delivery
        if delivery is None and self._vidnb_playback is not None and self._vidnb_playback.known:
            # Before a page has loaded the video, most likely the best one.
            delivery = next((d.kind for d in self._vidnb_playback.known.deliveries), None)
        return 0.0 if delivery in {None, "direct"} else self._vidnb_start_s

    def _vidnb_send_frame_times(self, view: str) -> None:
        """Send the times of the frames to a new view, if they are known."""
        if self._vidnb_frames is None:
            return
        known = self._vidnb_frames.known
        if known is not None:
            self._vidnb_send_table(view, known)
        elif self._vidnb_frames.is_local:
            self._vidnb_load_frame_times()

    def _vidnb_load_frame_times(self) -> None:
        """Send the times of the frames to all views as soon as they are known.

        Of a file that is downloaded this waits until the browser has read its index, which is
        stored then.
        """
        if self._vidnb_frames is not None:
            self._vidnb_frames.load(lambda table: self._vidnb_send_table("", table))

    def _vidnb_send_table(self, view: str, table: "FrameTable") -> None:
        content, buffers = encode_times(table, self._vidnb_start_s)
        self._vidnb_send_to(view, "frame_times", buffers, **content)


def encode_times(
    table: "FrameTable", start_s: float = 0.0
) -> tuple[dict[str, Any], list[bytes] | None]:
    """Return the times of all frames for a page, as a message and its buffers.

    `start_s` is the time at which segments of the file begin: a page that plays them subtracts it.
    For a constant rate these are the first time, the interval and the tick; otherwise a buffer of
    little-endian 64-bit floats (s).
    """
    count, first = len(table), table.pts[0]
    interval = (table.pts[-1] - first) / max(1, count - 1)
    content = {"count": count, "first": first, "interval": interval, "start_s": start_s}
    content["tick_s"] = float(table.time_base)
    if all(int(first + n * interval + 0.5) == pts for n, pts in enumerate(table.pts)):
        return content, None
    times = (float(pts * table.time_base) for pts in table.pts)
    return content, [struct.pack(f"<{count}d", *times)]
