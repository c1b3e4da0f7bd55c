"""Throughput: of one connection (`ConnectionThroughput`) and in total (`ThroughputMeter`).

Both take the time as an argument. A clock that jumps makes an estimate wrong for a moment, which
affects nothing but decisions about speed.
"""

from collections import deque
from math import exp

__all__ = ["ConnectionThroughput", "ThroughputMeter"]

_TIME_CONSTANT_S = 2.0
"""Of the exponential weights: long enough for bursts, short enough to detect a slow connection."""

_MIN_WEIGHT_S = 0.02
"""Less observed time than this measures buffers rather than the connection."""

_SAMPLE_INTERVAL_S = 0.005
"""Arrivals closer together than this share one sample."""

_MAX_SAMPLES = 512


class ConnectionThroughput:
    """The exponentially weighted average throughput of one connection, from its request on."""

    __slots__ = ("_bytes", "_first_byte_s", "_updated_s", "_weight_s")

    def __init__(self) -> None:
        self._first_byte_s: float | None = None
        self._bytes = 0.0
        self._weight_s = 0.0
        self._updated_s: float | None = None

    def start(self, now_s: float) -> None:
        """Start measuring at `now_s`, unless started before."""
        if self._updated_s is None:
            self._updated_s = now_s

    def add(self, now_s: float, size_bytes: int) -> None:
        """Count `size_bytes` that arrived just now."""
        self.start(now_s)
        self._bytes, self._weight_s = self._decayed(now_s)
        self._bytes += size_bytes
        self._updated_s = now_s
        if self._first_byte_s is None:
            self._first_byte_s = now_s

    @property
    def has_data(self) -> bool:
        """Whether a byte has arrived."""
        return self._first_byte_s is not None

    def age_s(self, now_s: float) -> float:
        """Return the time since the first byte (s)."""
        return 0.0 if self._first_byte_s is None else now_s - self._first_byte_s

    def bytes_per_s(self, now_s: float) -> float | None:
        """Return the throughput (B/s, at least 1); None before there is enough data."""
        size_bytes, weight_s = self._decayed(now_s)
        if not self.has_data or weight_s < _MIN_WEIGHT_S:
            return None
        return max(size_bytes / weight_s, 1.0)

    def _decayed(self, now_s: float) -> tuple[float, float]:
        """Return the weighted bytes (B) and the weighted time (s) at `now_s`."""
        elapsed_s = 0.0 if self._updated_s is None else max(0.0, now_s - self._updated_s)
        factor = exp(-elapsed_s / _TIME_CONSTANT_S)
        return self._bytes * factor, self._weight_s * factor + _TIME_CONSTANT_S * (1 - factor)


class ThroughputMeter:
    """Counts the bytes and chunks of all connections; keeps a bounded history of samples."""

    __slots__ = ("_dropped", "_samples", "chunks", "total_bytes")

    def __init__(self) -> None:
        self.total_bytes = 0
        self.chunks = 0
        self._dropped = 0, 0
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now_s: float, size_bytes: int) -> None:
        """Count a chunk of `size_bytes` that arrived just now."""
        self.total_bytes += size_bytes
        self.chunks += 1
        sample_s = now_s
        if self._samples and 0 <= now_s - self._samples[-1][0] < _SAMPLE_INTERVAL_S:
            sample_s = self._samples.pop()[0]
        self._samples.append((sample_s, self.total_bytes, self.chunks))
        if len(self._samples) > _MAX_SAMPLES:
            self._dropped = self._samples.popleft()[1:]

    def received_since(self, since_s: float) -> tuple[int, int]:
        """Return how many bytes, in how many chunks, arrived at or after `since_s`."""
        bytes_before, chunks_before = self._dropped
        for sample_s, total_bytes, chunks in reversed(self._samples):
            if sample_s < since_s:
                bytes_before, chunks_before = total_bytes, chunks
                break
        return self.total_bytes - bytes_before, self.chunks - chunks_before
