"""How many connections a transfer is worth, found out while it runs.

The number doubles while that pays: measure the pace, open as many again, wait until they bring
bytes, measure once more. If all together are hardly faster than before, the limit is one they
share, and the added ones go. A measurement takes a tenth of a second or two times to first byte,
half of that where it is clear: a download that could take two seconds must not spend one on
asking. To be sure that it does not pay takes longer: slow start looks like it at first.

Some origins send in bursts (nginx's `limit_rate`: a second's worth at once, then a second of
nothing). So the pace "before" is that of the later half of a measurement if the earlier one was
much faster: silence means that the connections starve, and that more of them are worth a try.
"""

from dataclasses import dataclass

from vidnb.download.planner.throughput import ThroughputMeter

__all__ = ["FAST_BYTES_PER_S", "FAST_EACH_BYTES_PER_S", "MAX_CONNECTIONS", "ConcurrencyController"]

MAX_CONNECTIONS = 16
"""What aria2 allows at most as well: beyond it servers take a client for an attack."""

FAST_BYTES_PER_S = 250e6
"""Two gigabits a second: from here on this machine is the limit, not the pace of a connection."""

FAST_EACH_BYTES_PER_S = 100e6
"""Connections this fast each are held back by nobody: what they share is the limit."""

_PAYS = 1.2
_PAYS_CLEARLY = 1.5
"""So much faster must all be together; the higher one counts after half a window already."""

_WINDOW_S = 0.1
_LONGEST_WINDOW_S = 2.0
_LOOKS = 10
"""So often per shortest window it looks, however often bytes arrive."""

_DOUBTS = 3
"""So many windows without a gain, and it does not pay."""

_LONG_AGO = 4
"""What lies farther back than so many windows says nothing about now."""

_PIECES = 8
"""Fewer pieces than these make no pace: one more or less is too much of it."""

_FIRST_BYTES_S = 1.0
"""An added connection that is silent for so long (or four windows) is no longer waited for."""

_SOON_S = 0.5
"""A rest that arrives within this time is not worth another connection."""

_LARGE_BYTES = 8 * 2**20
"""A rest below this is looked at for longer first: slow start may still bring it in no time."""

_RETRY_S = 15.0
_LONGEST_RETRY_S = 240.0
"""When more are tried again after it did not pay; twice as long each time."""

_STARVES = 0.1
_HOPES = 4
"""If only so much of the pace is left, what was found no longer holds: more are tried at once, but
not more often than this, since a bad line stalls too."""

_GAP_S = 1.0
"""Nobody looked for so long: the clock jumped or the transfer was paused. Nothing was measured."""


@dataclass(slots=True)
class _Trial:
    """More connections than `former`, which had the pace `before` (B/s), and are judged now.

    Their bytes count from `begun`: the time the first of them brought any, and what had come until
    then (bytes, pieces). `heard_s` is when the last of them had.
    """

    former: int
    before: float
    opened_s: float
    heard_s: float
    begun: tuple[float, int, int] | None = None


class ConcurrencyController:
    """The number of connections `allowed` now, from 1; tell it what arrives and let it `look`.

    `first_byte_s` is the shortest time from a request to its first byte so far (s).
    """

    def __init__(self) -> None:
        self.allowed = 1
        self.first_byte_s = 0.0
        self._meter = ThroughputMeter()
        self._trial: _Trial | None = None
        self._begun_s, self._begun_pieces = 0.0, 0
        self._looked_s: float | None = None
        self._held_until_s: float | None = None
        self._held_pace = 0.0
        self._pause_s = _RETRY_S
        self._hopes = _HOPES

    @property
    def window_s(self) -> float:
        """How long a measurement takes (s)."""
        return min(max(_WINDOW_S, 2 * self.first_byte_s), _LONGEST_WINDOW_S)

    def received(self, now_s: float, size_bytes: int) -> None:
        """Count bytes that arrived just now."""
        self._meter.add(now_s, size_bytes)

    def joined(self, now_s: float, waited_s: float | None) -> None:
        """Hear that a connection is about to bring its first byte, `waited_s` after it was asked.

        None where that says nothing about the next one.
        """
        if waited_s is not None and waited_s > 0:
            self.first_byte_s = min(self.first_byte_s or waited_s, waited_s)
        if self._trial is not None and self._trial.begun is None:
            self._trial.begun = now_s, self._meter.total_bytes, self._meter.pieces

    def is_due(self, now_s: float) -> bool:
        """Tell whether enough time has passed to look again."""
        return self._looked_s is None or not 0 <= now_s - self._looked_s < _WINDOW_S / _LOOKS

    def look(
        self, now_s: float, *, holding: int, awaited: int, rest_bytes: int, may_open: bool
    ) -> None:
        """Judge the present number of connections; afterwards `allowed` is what it should be.

        `holding` connections are under way, `awaited` of them have not brought a byte. `may_open`:
        another one is possible, by the host, the process and the shape of the rest.
        """
        looked_s, self._looked_s = self._looked_s, now_s
        if looked_s is None or not 0 <= now_s - looked_s <= _GAP_S:
            self._settle(now_s)
        if self._trial is not None:
            self._judge(now_s, self._trial, awaited=awaited)
        if self._trial is None:
            if awaited == holding:  # nobody brings anything yet: there is nothing to measure
                self._settle(now_s)
            elif may_open:
                self._consider(now_s, holding, rest_bytes)

    def hold(self, working: int, now_s: float) -> None:
        """Stay at `working` connections for a while: more did not pay, or broke at once."""
        self.allowed = max(1, min(self.allowed, working))
        self._held_pace = 0.0 if self._trial is None else self._trial.before
        self._held_until_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_RETRY_S)
        self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        """Measure anew from here."""
        self._trial = None
        self._begun_s, self._begun_pieces = now_s, self._meter.pieces

    def _judge(self, now_s: float, trial: _Trial, *, awaited: int) -> None:
        """Keep what was added, or go back, or let more time go by."""
        window_s = self.window_s
        if awaited and now_s - trial.opened_s < max(_FIRST_BYTES_S, 4 * window_s):
            trial.heard_s = now_s
            return
        measured_s = now_s - trial.heard_s
        if measured_s < window_s / 2:
            return
        needs = (_PAYS if measured_s >= window_s else _PAYS_CLEARLY) * trial.before
        if trial.begun is not None and self._is_met(now_s, needs, measured_s, trial.begun):
            self._trial = None
            self._begun_s, _, self._begun_pieces = trial.begun
            self._pause_s, self._hopes, self._held_until_s = _RETRY_S, _HOPES, None
        elif measured_s >= _DOUBTS * window_s:
            self.hold(trial.former, now_s)

    def _is_met(
        self, now_s: float, needs: float, measured_s: float, begun: tuple[float, int, int]
    ) -> bool:
        """Tell whether the pace (B/s) is above `needs`, since it `begun` or of late."""
        meter, late_s = self._meter, min(measured_s, self.window_s)
        measured = [
            (now_s - begun[0], meter.total_bytes - begun[1], meter.pieces - begun[2]),
            (late_s, *meter.since(now_s - late_s)),
        ]
        return any(
            pieces >= _PIECES and size_bytes > needs * span_s
            for span_s, size_bytes, pieces in measured
        )

    def _consider(self, now_s: float, holding: int, rest_bytes: int) -> None:
        """Try twice as many, if that could pay."""
        window_s, measured_s = self.window_s, now_s - self._begun_s
        has_pieces = self._meter.pieces - self._begun_pieces >= _PIECES
        is_clear = has_pieces and rest_bytes >= _LARGE_BYTES
        if measured_s < window_s * (0.5 if is_clear else _LONG_AGO):
            return
        span_s = min(measured_s, _LONG_AGO * window_s)
        whole = self._meter.since(now_s - span_s)[0] / span_s
        later = self._meter.since(now_s - span_s / 2)[0] / (span_s / 2)
        pace = max(whole, later) if 2 * later >= whole else later
        if self._held_until_s is not None and now_s < self._held_until_s:
            if not self._hopes or pace >= _STARVES * self._held_pace:
                return
            self._hopes -= 1
        fast = min(FAST_BYTES_PER_S, holding * FAST_EACH_BYTES_PER_S)
        if pace >= fast or rest_bytes <= _SOON_S * pace:
            return
        self._trial = _Trial(holding, pace, opened_s=now_s, heard_s=now_s)
        self.allowed = min(2 * holding, MAX_CONNECTIONS)
