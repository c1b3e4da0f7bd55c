"""Progress of a transfer: bytes done, rate, remaining time; their formats; one-line summaries.

`ProgressMeter` turns (time, bytes) into frozen `Progress` values. It keeps a few seconds of samples
at a bounded density, so its memory does not depend on how often it is updated.
"""

from collections import deque
from dataclasses import dataclass

from vidnb.http.dates import format_http_date

UPDATE_INTERVAL_S = 0.2
"""The interval of progress updates: iopub carries about a thousand messages a second in all."""
_WINDOW_S = 5.0  # long enough to smooth a bursty network, short enough to notice a stall
_SAMPLE_INTERVAL_S = 0.25  # at most about twenty samples
_MIN_INTERVAL_S = 0.001  # the first chunk may arrive when the meter has just been created
_MAX_ETA_S = 100 * 3600.0  # slower than this is a stall, which has no estimate
_MIN_SHOWN_S = 0.1
_MINUTE_S = 60
_KILO = 1000
_ROUNDS_TO_KILO = _KILO - 0.05  # above, one decimal would show 1000.0


@dataclass(frozen=True, slots=True)
class Progress:
    """`done_bytes` of `total_bytes` (None: unknown) are stored.

    `rate_bytes_per_s` is the average of the last seconds (B/s). `eta_s` is the estimated remaining
    time (s); None while the total is unknown or nothing arrives.
    """

    done_bytes: int
    total_bytes: int | None
    rate_bytes_per_s: float
    eta_s: float | None

    @property
    def fraction(self) -> float | None:
        """The fraction that is done, 0 to 1; None while the total is unknown."""
        if self.total_bytes is None:
            return None
        if self.done_bytes >= self.total_bytes:
            return 1.0
        return self.done_bytes / self.total_bytes


class ProgressMeter:
    """Measures one transfer that began at `started_s` with `done_bytes` of an earlier run.

    `started_s` and every later `now_s` are seconds of one monotonic clock. Bytes of the earlier run
    do not count for the rate.
    """

    __slots__ = ("_done_bytes", "_now_s", "_samples", "_total_bytes")

    def __init__(
        self, started_s: float, done_bytes: int = 0, total_bytes: int | None = None
    ) -> None:
        self._now_s = started_s
        self._done_bytes = done_bytes
        self._total_bytes = total_bytes
        self._samples = deque([(started_s, done_bytes)])

    def update(self, now_s: float, done_bytes: int, total_bytes: int | None = None) -> Progress:
        """Return the progress at `now_s` with `done_bytes` stored.

        A `total_bytes` of None keeps the known one. Fewer bytes than before mean a restart, which
        resets rate and total. A clock that steps back counts as stopped.
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
            done_bytes, self._total_bytes, rate_bytes_per_s, self._eta_s(rate_bytes_per_s)
        )

    def _rate_bytes_per_s(self) -> float:
        samples = self._samples
        # The last sample before the window stays: the rate spans at least the window.
        while len(samples) > 1 and samples[1][0] <= self._now_s - _WINDOW_S:
            samples.popleft()
        since_s, from_bytes = samples[0]
        if self._now_s - samples[-1][0] >= _SAMPLE_INTERVAL_S:
            samples.append((self._now_s, self._done_bytes))
        return (self._done_bytes - from_bytes) / max(self._now_s - since_s, _MIN_INTERVAL_S)

    def _eta_s(self, rate_bytes_per_s: float) -> float | None:
        if self._total_bytes is None:
            return None
        missing_bytes = self._total_bytes - self._done_bytes
        if missing_bytes <= 0:
            return 0.0
        if missing_bytes > rate_bytes_per_s * _MAX_ETA_S:
            return None
        return missing_bytes / rate_bytes_per_s


def format_bytes(n: int) -> str:
    """Return `n` bytes in decimal (SI) units, as `999 B`, `3.2 MB` or `1.0 GB`."""
    if n < _KILO:
        return f"{n} B"
    size = float(n)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= _KILO
        if size < _ROUNDS_TO_KILO:
            return f"{size:.1f} {unit}"
    return f"{size / _KILO:.1f} EB"


def format_rate(bytes_per_s: float) -> str:
    """Return a rate in B/s as `3.2 MB/s`."""
    return f"{format_bytes(round(bytes_per_s))}/s"


def format_duration_s(seconds: float) -> str:
    """Return a duration in s as `0:42`, `12:05` or `1:02:03`."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def fetched_summary(
    size_bytes: int, elapsed_s: float, *, resumed_from_bytes: int, connections: int, attempts: int
) -> str:
    """Summarize a transfer: size, duration, and what deviates from the default.

    `connections` is the most that were open at once, `attempts` one more than the failures.
    """
    if elapsed_s < _MINUTE_S - _MIN_SHOWN_S / 2:  # above, one decimal would show 60.0
        duration = f"{max(elapsed_s, _MIN_SHOWN_S):.1f} s"
    else:
        duration = format_duration_s(elapsed_s)
    facts = [f"{format_bytes(size_bytes)} in {duration}"]
    if resumed_from_bytes:
        facts.append(f"resumed from {format_bytes(resumed_from_bytes)}")
    if connections > 1:
        facts.append(f"{connections} connections")
    if attempts > 1:
        facts.append(f"{attempts - 1} {'retry' if attempts == 2 else 'retries'}")
    return "; ".join(facts)


def unchanged_summary(last_modified_s: int | None) -> str:
    """Summarize a revalidated file; `last_modified_s` (Unix time, s) is shown as its UTC date."""
    text = "already downloaded; the source has not changed"
    if last_modified_s is None:
        return text
    try:
        date = format_http_date(last_modified_s)  # Thu, 12 Nov 2026 00:00:00 GMT
    except OverflowError:  # an invalid date in a record file
        return text
    _, day, month, year, *_ = date.split()
    return f"{text} since {day.lstrip('0')} {month} {year}"


def known_summary(algorithm: str) -> str:
    """Summarize a file with the expected digest, for which no request was sent."""
    return f"already downloaded; the {algorithm} digest matches"


def unverified_summary(reason: str) -> str:
    """Summarize a file that could not be compared with its source; `reason` is a clause."""
    return f"already downloaded; its source could not be compared: {reason}"
