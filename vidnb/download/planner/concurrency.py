"""Adaptive concurrency control: finds the number of parallel connections that raises throughput.

The number of connections doubles while that pays: measure the throughput, open as many again
(a probe), wait for their first bytes, measure again. If the total rose by less than a threshold,
the bottleneck is shared, and the controller backs off to the previous number. A measurement window
is a tenth of a second or twice the time to first byte, and a quarter of that when the result is
clear: with four doublings to sixteen connections, half a window each costs a download of two
seconds a tenth of its time. A negative result takes several windows, because TCP slow start looks
like one at first.

Some origins send in bursts (nginx's `limit_rate`: one second's worth at once, then nothing for a
second). The baseline is therefore the throughput of the later half of a measurement if the earlier
half was much faster: silence means that the connections are rate-limited and more of them may help.
"""

from dataclasses import dataclass

from vidnb.download.planner.throughput import ThroughputMeter

__all__ = [
    "FAST_CONNECTION_BYTES_PER_S",
    "FAST_TOTAL_BYTES_PER_S",
    "MAX_CONNECTIONS",
    "ConcurrencyController",
]

MAX_CONNECTIONS = 16
"""aria2's maximum too; servers may treat more connections as an attack."""

FAST_TOTAL_BYTES_PER_S = 250e6
"""2 Gbit/s: above this the local machine is the bottleneck, not the connections."""

FAST_CONNECTION_BYTES_PER_S = 100e6
"""Connections this fast are not rate-limited one by one; their bottleneck is shared."""

_MIN_GAIN = 1.2
_MIN_CLEAR_GAIN = 1.5
"""Required ratio of total throughput to the baseline after a whole window and before."""

_CLEAR_WINDOWS = 0.25
"""A clear result takes this part of a window: half a time to first byte, about a round trip."""

_MIN_WINDOW_S = 0.1
_MAX_WINDOW_S = 2.0
_EVALUATIONS_PER_WINDOW = 10
"""Evaluations per shortest window, however often bytes arrive."""

_MAX_WINDOWS_WITHOUT_GAIN = 3
_HISTORY_WINDOWS = 4
"""Older bytes do not count for the baseline."""

_MIN_CHUNKS = 8
"""With fewer chunks, a single one changes the measured throughput too much."""

_MIN_BASELINE_CHUNKS = 5
"""Fewer for a baseline: a connection in slow start delivers about one chunk in a round trip."""

_FIRST_BYTE_TIMEOUT_S = 1.0
"""A probe waits this long (or four windows) for the first byte of each added connection."""

_MIN_REMAINING_S = 0.5
"""No probe if the remaining bytes arrive within this time."""

_LARGE_BYTES = 8 * 2**20
"""With fewer bytes remaining, the baseline takes longer: slow start may soon deliver them."""

_BACK_OFF_S = 15.0
_MAX_BACK_OFF_S = 240.0
"""Time until the next probe after one without a gain; doubles each time."""

_COLLAPSE_RATIO = 0.1
_MAX_EARLY_PROBES = 4
"""If the throughput falls to this share of its value at the back-off, a probe runs at once, but
not more often than this: an unreliable network stalls too."""

_MAX_EVALUATION_GAP_S = 1.0
"""After a longer gap the clock jumped or the transfer was paused: measure again."""


@dataclass(slots=True)
class _Probe:
    """A trial of more connections than `previous`, which had `baseline_bytes_per_s` together.

    `counted_from` is when the first added connection delivered a byte, and what had arrived until
    then: (s, bytes, chunks). `complete_s` is when the last of them had.
    """

    previous: int
    baseline_bytes_per_s: float
    opened_s: float
    complete_s: float
    counted_from: tuple[float, int, int] | None = None


class ConcurrencyController:
    """The number of connections `allowed` now, at least 1.

    Report arrivals with `record_bytes` and `record_first_byte`; call `evaluate` when `is_due`.
    `first_byte_s` is the shortest time from a request to its first byte so far (s).
    """

    def __init__(self) -> None:
        self.allowed = 1
        self.first_byte_s = 0.0
        self._meter = ThroughputMeter()
        self._probe: _Probe | None = None
        self._measured_from_s, self._chunks_before = 0.0, 0
        self._evaluated_s: float | None = None
        self._held_until_s: float | None = None
        self._held_bytes_per_s = 0.0
        self._back_off_s = _BACK_OFF_S
        self._early_probes_left = _MAX_EARLY_PROBES

    @property
    def window_s(self) -> float:
        """The length of a measurement window (s)."""
        return min(max(_MIN_WINDOW_S, 2 * self.first_byte_s), _MAX_WINDOW_S)

    def record_bytes(self, now_s: float, size_bytes: int) -> None:
        """Count bytes that arrived just now."""
        self._meter.add(now_s, size_bytes)

    def record_first_byte(self, now_s: float, waited_s: float | None) -> None:
        """Note that a connection delivers its first byte, `waited_s` after its request was sent.

        `waited_s` is None where it is no estimate for later connections.
        """
        if waited_s is not None and waited_s > 0:
            self.first_byte_s = min(self.first_byte_s or waited_s, waited_s)
        if self._probe is not None and self._probe.counted_from is None:
            self._probe.counted_from = now_s, self._meter.total_bytes, self._meter.chunks

    def is_due(self, now_s: float) -> bool:
        """Return whether enough time has passed for another evaluation."""
        interval_s = _MIN_WINDOW_S / _EVALUATIONS_PER_WINDOW
        return self._evaluated_s is None or not 0 <= now_s - self._evaluated_s < interval_s

    def evaluate(
        self, now_s: float, *, active: int, pending: int, remaining_bytes: int, can_open: bool
    ) -> None:
        """Update `allowed` from what was measured.

        `active` connections are open; `pending` of them have not delivered a byte. `can_open`:
        the host, the process and the remaining ranges allow another connection.
        """
        evaluated_s, self._evaluated_s = self._evaluated_s, now_s
        if evaluated_s is None or not 0 <= now_s - evaluated_s <= _MAX_EVALUATION_GAP_S:
            self._restart_measurement(now_s)
        if self._probe is not None:
            self._evaluate_probe(now_s, self._probe, pending=pending)
        if self._probe is None:
            if pending == active:  # no connection delivers yet: there is nothing to measure
                self._restart_measurement(now_s)
            elif can_open:
                self._consider_probe(now_s, active, remaining_bytes)

    def hold_at(self, working: int, now_s: float) -> None:
        """Back off to `working` connections: more had no gain, or failed at once."""
        self.allowed = max(1, min(self.allowed, working))
        probe = self._probe
        self._held_bytes_per_s = 0.0 if probe is None else probe.baseline_bytes_per_s
        self._held_until_s = now_s + self._back_off_s
        self._back_off_s = min(2 * self._back_off_s, _MAX_BACK_OFF_S)
        self._restart_measurement(now_s)

    def _restart_measurement(self, now_s: float) -> None:
        self._probe = None
        self._measured_from_s, self._chunks_before = now_s, self._meter.chunks

    def _evaluate_probe(self, now_s: float, probe: _Probe, *, pending: int) -> None:
        """Keep the added connections, back off, or wait for more data."""
        window_s = self.window_s
        if pending and now_s - probe.opened_s < max(_FIRST_BYTE_TIMEOUT_S, 4 * window_s):
            probe.complete_s = now_s
            return
        measured_s = now_s - probe.complete_s
        if measured_s < _CLEAR_WINDOWS * window_s:
            return
        gain = _MIN_GAIN if measured_s >= window_s else _MIN_CLEAR_GAIN
        required_bytes_per_s = gain * probe.baseline_bytes_per_s
        start = probe.counted_from
        if start is not None and self._exceeds(required_bytes_per_s, now_s, measured_s, start):
            self._probe = None
            self._measured_from_s, _, self._chunks_before = start
            self._back_off_s, self._held_until_s = _BACK_OFF_S, None
            self._early_probes_left = _MAX_EARLY_PROBES
        elif measured_s >= _MAX_WINDOWS_WITHOUT_GAIN * window_s:
            self.hold_at(probe.previous, now_s)

    def _exceeds(
        self, bytes_per_s: float, now_s: float, measured_s: float, start: tuple[float, int, int]
    ) -> bool:
        """Return whether the throughput since `start`, or of the last window, is higher."""
        meter, recent_s = self._meter, min(measured_s, self.window_s)
        samples = [
            (now_s - start[0], meter.total_bytes - start[1], meter.chunks - start[2]),
            (recent_s, *meter.received_since(now_s - recent_s)),
        ]
        return any(
            chunks >= _MIN_CHUNKS and size_bytes > bytes_per_s * duration_s
            for duration_s, size_bytes, chunks in samples
        )

    def _consider_probe(self, now_s: float, active: int, remaining_bytes: int) -> None:
        """Double the number of connections if that could pay."""
        window_s, measured_s = self.window_s, now_s - self._measured_from_s
        has_chunks = self._meter.chunks - self._chunks_before >= _MIN_BASELINE_CHUNKS
        is_clear = has_chunks and remaining_bytes >= _LARGE_BYTES
        if measured_s < window_s * (_CLEAR_WINDOWS if is_clear else _HISTORY_WINDOWS):
            return
        span_s = min(measured_s, _HISTORY_WINDOWS * window_s)
        overall = self._meter.received_since(now_s - span_s)[0] / span_s
        later = self._meter.received_since(now_s - span_s / 2)[0] / (span_s / 2)
        bytes_per_s = max(overall, later) if 2 * later >= overall else later
        if self._held_until_s is not None and now_s < self._held_until_s:
            has_collapsed = bytes_per_s < _COLLAPSE_RATIO * self._held_bytes_per_s
            if not (self._early_probes_left and has_collapsed):
                return
            self._early_probes_left -= 1
        fast = min(FAST_TOTAL_BYTES_PER_S, active * FAST_CONNECTION_BYTES_PER_S)
        if bytes_per_s >= fast or remaining_bytes <= _MIN_REMAINING_S * bytes_per_s:
            return
        self._probe = _Probe(active, bytes_per_s, opened_s=now_s, complete_s=now_s)
        self.allowed = min(2 * active, MAX_CONNECTIONS)
