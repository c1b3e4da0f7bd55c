"""How many connections a transfer is worth, found out while it runs.

The number doubles while that pays: measure the pace, open as many again, wait until they bring
bytes, measure once more. If all together are hardly faster than before, the limit is one they
share, and the added ones go. Everything is measured in windows of a tenth of a second or two
times to first byte, since a download that could take two seconds must not spend one on asking.

Some origins send in bursts (nginx's `limit_rate`: a second's worth at once, then a second of
nothing). So the pace "before" is that of the later half of a window where the earlier half was
much faster: silence means that the connections starve, and that another one is worth a try.
"""

from vidnb.core.pace import Meter

__all__ = ["FAST_BYTES_PER_S", "MAX_CONNECTIONS", "Ramp"]

MAX_CONNECTIONS = 16
"""What aria2 allows at most as well: beyond it servers take a client for an attack."""

FAST_BYTES_PER_S = 250e6
"""Two gigabits a second: from here on this machine is the limit, not each connection's origin."""

PAYS = 1.2
"""Added connections pay if all together are this much faster; less is noise."""

_WINDOW_S = 0.1
_LONGEST_WINDOW_S = 2.0
_FIRST_BYTES_S = 1.0
"""An added connection that is silent for so long (or four windows) is no longer waited for."""

_DOUBTS = 3
"""It takes so many windows to be sure that it does not pay: slow start looks like it at first."""

_SOON_S = 0.5
"""A rest that arrives within this time is not worth another connection."""

_RETRY_S = 15.0
_LONGEST_RETRY_S = 240.0
_GAP_S = 1.0
"""Nobody looked for so long: the clock jumped or the transfer was paused. Nothing was measured."""


class Ramp:
    """The number of connections `allowed` now, from 1; tell it what arrives and let it `look`."""

    def __init__(self) -> None:
        self.allowed = 1
        self.first_byte_s: float | None = None
        self._meter = Meter()
        self._begun_s: float | None = None
        self._looked_s: float | None = None
        self._retry_s: float | None = None
        self._pause_s = _RETRY_S
        # Where an increase is being judged: what was before, and since when it brings bytes.
        self._before: tuple[int, float] | None = None
        self._opened_s = self._counted_s = 0.0
        self._joined: tuple[float, int] | None = None

    @property
    def window_s(self) -> float:
        """How long one measurement takes (s)."""
        return min(max(_WINDOW_S, 2 * (self.first_byte_s or 0.0)), _LONGEST_WINDOW_S)

    def received(
        self, now_s: float, size_bytes: int, *, is_first: bool, waited_s: float | None
    ) -> None:
        """Count bytes; `is_first`: of their connection, `waited_s` after it was asked (s)."""
        if is_first:
            if waited_s is not None and waited_s >= 0:
                self.first_byte_s = min(self.first_byte_s or waited_s, waited_s)
            if self._before is not None and self._joined is None:
                self._joined = now_s, self._meter.total_bytes
        self._meter.add(now_s, size_bytes)

    def is_due(self, now_s: float) -> bool:
        """Tell whether enough time has passed to look again."""
        return self._looked_s is None or not 0 <= now_s - self._looked_s < _WINDOW_S / 10

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
        if self._before is not None:
            self._judge(now_s, *self._before, awaited=awaited)
        if self._before is None:
            if awaited == holding:  # nobody brings anything yet: there is nothing to measure
                self._begun_s = now_s
            self._consider(now_s, holding, rest_bytes, may_open=may_open)

    def hold(self, working: int, now_s: float) -> None:
        """Stay at what works for a while: an added connection broke before it brought a byte."""
        self.allowed = max(1, min(self.allowed, working))
        self._settle(now_s)
        self._retry_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_RETRY_S)

    def _settle(self, now_s: float) -> None:
        """Measure anew from here."""
        self._before = None
        self._begun_s = now_s

    def _judge(self, now_s: float, former: int, before: float, *, awaited: int) -> None:
        """Keep what was added, or go back, or wait for more to go by."""
        waited_s = now_s - self._opened_s
        if awaited and waited_s < max(_FIRST_BYTES_S, 4 * self.window_s):
            self._counted_s = now_s
            return
        if self._joined is None:
            self._joined = now_s, self._meter.total_bytes
        since_s, had_bytes = self._joined
        if now_s - self._counted_s < self.window_s:
            return
        pace = (self._meter.total_bytes - had_bytes) / (now_s - since_s)
        if pace <= PAYS * before:
            pace = self._meter.bytes_since(now_s - self.window_s) / self.window_s
        if pace > PAYS * before:
            self._settle(now_s - self.window_s)
            self._pause_s = _RETRY_S
        elif now_s - self._counted_s >= _DOUBTS * self.window_s:
            self.hold(former, now_s)

    def _consider(self, now_s: float, holding: int, rest_bytes: int, *, may_open: bool) -> None:
        """Try twice as many, if that could pay."""
        if self._begun_s is None or now_s - self._begun_s < self.window_s or not may_open:
            return
        if self._retry_s is not None and now_s < self._retry_s:
            return
        pace = self._pace(now_s)
        if pace >= FAST_BYTES_PER_S or rest_bytes <= _SOON_S * pace:
            return
        self._before = holding, pace
        self._opened_s = self._counted_s = now_s
        self._joined = None
        self.allowed = min(2 * holding, MAX_CONNECTIONS)

    def _pace(self, now_s: float) -> float:
        """Return the pace of the last window, that of its later half where the earlier one lies."""
        window_s = self.window_s
        whole = self._meter.bytes_since(now_s - window_s) / window_s
        later = self._meter.bytes_since(now_s - window_s / 2) / (window_s / 2)
        return max(whole, later) if 2 * later >= whole else later
