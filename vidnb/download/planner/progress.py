"""How far a transfer is, how fast, and how long it still takes.

`ProgressMeter` turns (now, bytes) into frozen `Progress` values. It keeps a few seconds of samples at a
bounded density, so its memory does not depend on how often it is asked. The three `format_`
functions are the one place where bytes and seconds become words.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["Progress", "ProgressMeter", "format_bytes", "format_duration_s", "format_rate"]

_WINDOW_S = 5.0  # long enough to smooth a bursty network, short enough to notice a stall
_SAMPLE_EVERY_S = 0.25  # so at most about twenty samples are held
_SHORTEST_S = 0.001  # the first chunk may come in the tick the meter was made in
_LONGEST_FORECAST_S = 100 * 3600.0  # a transfer this slow has stalled; it has no end to name
_KILO = 1000
_ROUNDS_TO_KILO = _KILO - 0.05  # from here on one decimal would read 1000.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One reading: `done_bytes` of `total_bytes` (None: not known) are stored.

    `rate_bytes_per_s` is what arrived lately, in B/s. `eta_s` is the time still needed (s); None
    while the total is unknown or nothing arrives.
    """

    done_bytes: int
    total_bytes: int | None
    rate_bytes_per_s: float
    eta_s: float | None

    @property
    def fraction(self) -> float | None:
        """The part that is done, 0 to 1; None while the total is unknown."""
        if self.total_bytes is None:
            return None
        if self.done_bytes >= self.total_bytes:
            return 1.0
        return self.done_bytes / self.total_bytes


class ProgressMeter:
    """Measures one transfer that began at `started_s` with `done_bytes` already there.

    `started_s` and every later `now_s` are seconds of one monotonic clock of the caller's choice.
    Bytes of an earlier run never count as speed: they are in the first `done_bytes`.
    """

    __slots__ = ("_done_bytes", "_now_s", "_samples", "_total_bytes")

    def __init__(
        self, started_s: float, done_bytes: int = 0, total_bytes: int | None = None
    ) -> None:
        self._now_s = started_s
        self._done_bytes = done_bytes
        self._total_bytes = total_bytes
        self._samples = deque([(started_s, done_bytes)])

    def at(self, now_s: float, done_bytes: int, total_bytes: int | None = None) -> Progress:
        """Return the reading at `now_s` with `done_bytes` stored.

        A `total_bytes` of None leaves the known one in force. Fewer bytes than before mean that
        the transfer began anew: speed and total are then forgotten. A clock that steps back is
        taken to stand still.
        """
        now_s = max(now_s, self._now_s)
        if done_bytes < self._done_bytes:
            self._samples = deque([(now_s, done_bytes)])
            self._total_bytes = None
        if total_bytes is not None:
            self._total_bytes = total_bytes
        self._now_s, self._done_bytes = now_s, done_bytes
        rate_bytes_per_s = self._rate_bytes_per_s()
        return Progress(
            done_bytes, self._total_bytes, rate_bytes_per_s, self._left_s(rate_bytes_per_s)
        )

    def _rate_bytes_per_s(self) -> float:
        samples = self._samples
        # The sample just before the window stays: rate is measured over at least the window.
        while len(samples) > 1 and samples[1][0] <= self._now_s - _WINDOW_S:
            samples.popleft()
        since_s, from_bytes = samples[0]
        if self._now_s - samples[-1][0] >= _SAMPLE_EVERY_S:
            samples.append((self._now_s, self._done_bytes))
        return (self._done_bytes - from_bytes) / max(self._now_s - since_s, _SHORTEST_S)

    def _left_s(self, rate_bytes_per_s: float) -> float | None:
        if self._total_bytes is None:
            return None
        missing_bytes = self._total_bytes - self._done_bytes
        if missing_bytes <= 0:
            return 0.0
        if missing_bytes > rate_bytes_per_s * _LONGEST_FORECAST_S:
            return None
        return missing_bytes / rate_bytes_per_s


def format_bytes(n: int) -> str:
    """Return `n` bytes in decimal units, as `999 B`, `3.2 MB`, `1.0 GB` (SI: 1 kB is 1000 B)."""
    if n < _KILO:
        return f"{n} B"
    size = float(n)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= _KILO
        if size < _ROUNDS_TO_KILO:
            return f"{size:.1f} {unit}"
    return f"{size / _KILO:.1f} EB"


def format_rate(bytes_per_s: float) -> str:
    """Return a speed given in B/s, as `3.2 MB/s`."""
    return f"{format_bytes(round(bytes_per_s))}/s"


def format_duration_s(seconds: float) -> str:
    """Return a duration given in s as a clock reads: `0:42`, `12:05`, `1:02:03`."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
