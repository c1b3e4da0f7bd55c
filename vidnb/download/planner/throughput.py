"""How fast bytes arrive: of one connection (`ConnectionThroughput`) and of all together (`ThroughputMeter`).

Both take the time as an argument and survive a clock that jumps: what they say then is wrong for
a moment, and nothing but a decision about speed hangs on it.
"""

from collections import deque
from math import exp

__all__ = ["ConnectionThroughput", "ThroughputMeter"]

_MEMORY_S = 2.0
"""An older second counts less than half: long enough for bursts, short enough to see a crawl."""

_TOO_SHORT_S = 0.02
"""What arrived in less time than this says more about buffers than about a connection."""

_MARK_S = 0.005
"""Arrivals closer together than this share one mark."""

_MARKS = 512


class ConnectionThroughput:
    """The pace of one connection, from the moment it was asked; later bytes count for more."""

    __slots__ = ("_bytes", "_first_s", "_seen_s", "_weight_s")

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._bytes = 0.0
        self._weight_s = 0.0
        self._seen_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Start the clock, unless it runs."""
        if self._seen_s is None:
            self._seen_s = now_s

    def add(self, now_s: float, size_bytes: int) -> None:
        """Count `size_bytes` that arrived just now."""
        self.begin(now_s)
        self._bytes, self._weight_s = self._faded(now_s)
        self._bytes += size_bytes
        self._seen_s = now_s
        if self._first_s is None:
            self._first_s = now_s

    @property
    def has_begun(self) -> bool:
        """Whether a byte has come."""
        return self._first_s is not None

    def age_s(self, now_s: float) -> float:
        """Return for how long it has brought bytes (s)."""
        return 0.0 if self._first_s is None else now_s - self._first_s

    def bytes_per_s(self, now_s: float) -> float | None:
        """Return the pace (B/s), above 0; None before there is enough to tell."""
        size_bytes, weight_s = self._faded(now_s)
        if not self.has_begun or weight_s < _TOO_SHORT_S:
            return None
        return max(size_bytes / weight_s, 1.0)

    def _faded(self, now_s: float) -> tuple[float, float]:
        passed_s = 0.0 if self._seen_s is None else max(0.0, now_s - self._seen_s)
        rest = exp(-passed_s / _MEMORY_S)
        return self._bytes * rest, self._weight_s * rest + _MEMORY_S * (1 - rest)


class ThroughputMeter:
    """All bytes that arrive, and in how many pieces, as far back as some seconds."""

    __slots__ = ("_forgotten", "_marks", "pieces", "total_bytes")

    def __init__(self) -> None:
        self.total_bytes = 0
        self.pieces = 0
        self._forgotten = 0, 0
        self._marks: deque[tuple[float, int, int]] = deque()

    def add(self, now_s: float, size_bytes: int) -> None:
        """Count `size_bytes` that arrived just now."""
        self.total_bytes += size_bytes
        self.pieces += 1
        at_s = now_s
        if self._marks and 0 <= now_s - self._marks[-1][0] < _MARK_S:
            at_s = self._marks.pop()[0]
        self._marks.append((at_s, self.total_bytes, self.pieces))
        if len(self._marks) > _MARKS:
            self._forgotten = self._marks.popleft()[1:]

    def since(self, since_s: float) -> tuple[int, int]:
        """Return how many bytes arrived at or after `since_s`, and in how many pieces."""
        had_bytes, had_pieces = self._forgotten
        for at_s, total_bytes, pieces in reversed(self._marks):
            if at_s < since_s:
                had_bytes, had_pieces = total_bytes, pieces
                break
        return self.total_bytes - had_bytes, self.pieces - had_pieces
