"""The deliveries of a player's video: the file itself, or segments that are remuxed or transcoded.

The browser takes the first delivery that it plays. They are known once the head of the file was
read: of a local file before the player is made, of one that is downloaded on a thread.
"""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vidnb.errors import VidnbError
from vidnb.io.calls import NoThreadError, start_thread
from vidnb.server.server import Served

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidnb.media.delivery import Playback
    from vidnb.media.playback import Convert

__all__ = ["PlaybackReader", "check_convert", "read_deliveries"]

_CONVERT: "Final[tuple[Convert, ...]]" = ("auto", "never", "always")


def check_convert(convert: object) -> "Convert":
    """Return the argument `convert`; `ValueError` if it is none of its values."""
    for known in _CONVERT:
        if convert == known:
            return known
    raise ValueError(f'convert is "auto", "never" or "always", not {convert!r}')


def read_deliveries(served: Served, convert: "Convert") -> "Playback":
    """Return how the file can be played; blocks while its head is read, or downloaded."""
    from vidnb.media.playback import read_playback

    return read_playback(served, convert=convert)


class PlaybackReader:
    """Reads the playback of a served file: at once, or on the thread `vidnb-playback`; thread-safe.

    `known` is the last one that was read, None before.
    """

    def __init__(self, served: Served, convert: "Convert") -> None:
        self._served = served
        self._convert = convert
        self._lock = threading.Lock()  # of the next four
        self._wanted = 0  # how often it was requested
        self._is_running = False
        self._is_closed = False
        self.known: Playback | None = None

    def read(self) -> None:
        """Read it now; blocks."""
        self.known = read_deliveries(self._served, self._convert)

    def start(self, publish: "Callable[[Playback], object]") -> None:
        """Read it on a thread, once more where the file changed meanwhile.

        `publish` is called with it on that thread, and must not block. Of frames that are still
        encoded nothing is read: their player knows how they are delivered.
        """
        if self._served.growing:
            return
        with self._lock:
            self._wanted += 1
            self.known = None
            if self._is_running or self._is_closed:
                return
            self._is_running = True
        with suppress(NoThreadError):  # the process ends
            start_thread(self._run, "vidnb-playback", publish)

    def _run(self, publish: "Callable[[Playback], object]") -> None:
        is_running = True
        while is_running:
            wanted = self._wanted
            playback = self._read()
            with self._lock:
                is_running = self._wanted != wanted and not self._is_closed
                self._is_running = is_running
                if not is_running and not self._is_closed:
                    self.known = playback
                    publish(playback)

    def _read(self) -> "Playback":
        """Read it; where that fails the browser gets the file itself."""
        from vidnb.media.delivery import Delivery, Playback

        try:
            return read_deliveries(self._served, self._convert)
        except (VidnbError, OSError, ValueError, RuntimeError) as error:
            return Playback((Delivery("direct", "", "", ""),), problem=str(error), start_s=0.0)

    def close(self) -> None:
        """Publish nothing from now on."""
        with self._lock:
            self._is_closed = True
