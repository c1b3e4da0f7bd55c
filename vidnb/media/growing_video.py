"""A video that is still being encoded: its finished segments, in one file on the disk.

The file is a fragmented MP4 (ISO/IEC 14496-12 section 8.8) that grows at its end. A segment never
changes, so any number of players may read what there is, also after the last one was added.
"""

import threading
from fractions import Fraction
from pathlib import Path

from vidnb.media.playlist import INIT, PLAYLIST, Playlist, part_number

__all__ = ["GrowingVideo"]


class GrowingVideo:
    """The segments of one video, added by one thread and read by any; only offsets are in memory.

    It is a `SegmentStream` of the server. After `close` nothing can be read any more. Raises the
    disk's `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("w+b", buffering=0)
        self._stops: list[int] = []  # of the initialization segment, then of each segment (B)
        self._starts: list[Fraction] = []
        self._end = Fraction(0)
        self._is_complete = False

    def __len__(self) -> int:
        return len(self._starts)

    def add_init(self, data: bytes) -> None:
        """Write the initialization segment, before any other."""
        with self._lock:
            self._append(data)

    def add_segment(self, data: bytes, start_s: Fraction, end_s: Fraction) -> None:
        """Append a segment with the frames from `start_s` to `end_s` (s)."""
        with self._lock:
            self._append(data)
            self._starts.append(start_s)
            self._end = end_s

    def _append(self, data: bytes) -> None:
        self._file.seek(self._stops[-1] if self._stops else 0)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._stops.append(self._file.tell())

    def complete(self) -> None:
        """Declare that no segment follows."""
        self._is_complete = True

    def read(self, name: str) -> bytes | None:
        """Return the playlist of the segments so far, or another part; None if there is none."""
        number = part_number(name)
        if number is None:
            return None
        if number == PLAYLIST:
            return self._playlist().text().encode("ascii")
        place = number - INIT
        with self._lock:
            if place >= len(self._stops) or self._file.closed:
                return None
            start = self._stops[place - 1] if place else 0
            self._file.seek(start)
            return self._file.read(self._stops[place] - start)

    def _playlist(self) -> Playlist:
        with self._lock:
            starts = tuple(self._starts)
            return Playlist(Fraction(0), starts, self._end, is_complete=self._is_complete)

    def close(self) -> None:
        """Close the file; the segments stay on the disk."""
        with self._lock:
            self._file.close()
