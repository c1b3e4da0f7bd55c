"""What the views of one player report, and which of them speaks for it.

A player may be shown in several places, and a place may vanish without a word (a page that
crashed). Messages come from a browser, so nothing in them is taken for granted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Final, Self

__all__ = ["Report", "Views", "seconds"]

SILENT_S: Final = 2.0
"""A playing view reports each quarter of a second; one silent for this long is gone (s)."""


_MOST_REMEMBERED: Final = 1000
_MOST_SPANS: Final = 64

MOST_AHEAD_S: Final = 1.0
"""How far a report may be carried on (s): the next is due in a quarter, and may have to wait."""

_DRIFT: Final = 1e-4
"""How fast two clocks may part (s per s); quartz stays below a tenth of it."""


def seconds(value: object) -> float | None:
    """Return a number of seconds, or None where `value` is negative, not finite or no number."""
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy's numbers are Real too
        return None
    number = float(value)
    return number if math.isfinite(number) and number >= 0 else None


@dataclass(frozen=True, slots=True)
class Report:
    """What one view last said of itself; times in seconds, `heard_s` on a monotonic clock."""

    current_time: float = 0.0
    duration: float | None = None
    paused: bool = True
    ended: bool = False
    seeking: bool = False
    moving: bool = False
    error: str | None = None
    route: str | None = None
    buffered: tuple[tuple[float, float], ...] = ()
    playback_rate: float = 1.0
    volume: float = 1.0
    muted: bool | None = None
    loop: bool | None = None
    size: tuple[int, int] | None = None
    routes_tried: tuple[tuple[str, str], ...] = ()
    heard_s: float = 0.0

    @classmethod
    def parse(cls, content: Mapping[str, object], heard_s: float) -> Self:
        """Read a message; a field that is missing or of a wrong kind keeps its default."""
        return cls(
            current_time=seconds(content.get("current_time")) or 0.0,
            duration=seconds(content.get("duration")),
            paused=content.get("paused") is not False,
            ended=content.get("ended") is True,
            seeking=content.get("seeking") is True,
            moving=content.get("moving") is True,
            error=_text(content.get("error")),
            route=_text(content.get("route")),
            buffered=_spans(content.get("buffered")),
            playback_rate=seconds(content.get("playback_rate")) or 1.0,
            volume=1.0 if (loud := seconds(content.get("volume"))) is None else min(loud, 1.0),
            muted=_flag(content.get("muted")),
            loop=_flag(content.get("loop")),
            size=_size(content.get("size")),
            routes_tried=_tried(content.get("routes_tried")),
            heard_s=heard_s,
        )

    def now_at(self, now_s: float) -> float:
        """Return the position (s) at `now_s`: between two reports a moving video moves on."""
        if not self.moving:
            return self.current_time
        on_s = min(max(0.0, now_s - self.heard_s), MOST_AHEAD_S) * self.playback_rate
        return min(self.current_time + on_s, math.inf if self.duration is None else self.duration)


class Views:
    """The views of one player, each by its name; not thread-safe, its owner holds a lock.

    `report` is what counts for the player; None before any view has reported.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self._reports: dict[str, Report] = {}
        self._leader = ""
        self._numbers: dict[str, int] = {}
        self._clocks: dict[str, tuple[float, float]] = {}

    @property
    def leader(self) -> str:
        """The view that speaks for the player; empty before any has reported."""
        return self._leader

    def __len__(self) -> int:
        return len(self._reports)

    def is_news(self, view: str, number: object) -> bool:
        """Take note of a message's number; false where a newer one of `view` was heard before.

        Two roads lead here, and what was sent earlier may arrive later. A message without a number
        is always news.
        """
        if not isinstance(number, int) or isinstance(number, bool):
            return True
        # Re-inserted, so that the first ones are those of views that fell silent long ago.
        last = self._numbers.pop(view, 0)
        self._numbers[view] = max(last, number)
        if len(self._numbers) > _MOST_REMEMBERED:
            del self._numbers[next(iter(self._numbers))]
        return number > last

    def heard(self, view: str, content: Mapping[str, object], now_s: float) -> bool:
        """Take the state that `view` sent; return whether it now speaks for the player.

        Of several views the one that plays speaks for the player, the last one started first;
        one that is merely opened beside it does not. Views of one page settle that among
        themselves (player_company.js): only the leading one reports, and says when it `leads`.
        """
        report = Report.parse(content, self._sent_at(view, content.get("sent_s"), now_s))
        leader = self._reports.get(self._leader)
        self._reports[view] = report
        if (
            view == self._leader
            or leader is None
            or leader.paused
            or content.get("event") == "play"
            or content.get("leads") is True
            or now_s - leader.heard_s > SILENT_S
        ):
            self._leader = view
            self.report = report
        return view == self._leader

    def _sent_at(self, view: str, sent_s: object, now_s: float) -> float:
        """Return when a report was made, on our clock.

        The view tells it on a clock of its own. The fastest message shows best how far that is from
        ours; whatever takes longer has waited on its way, for a busy kernel above all.
        """
        told_s = seconds(sent_s)
        if told_s is None:
            return now_s
        apart_s, then_s = self._clocks.get(view, (math.inf, now_s))
        apart_s = min(now_s - told_s, apart_s + _DRIFT * (now_s - then_s))
        self._clocks[view] = apart_s, now_s
        return told_s + apart_s

    def gone(self, view: str) -> None:
        """Forget `view`; if it was the last one, the player stands still where that one was."""
        last = self._reports.pop(view, None)
        self._clocks.pop(view, None)
        if last is not None and view == self._leader:
            self._leader = next(reversed(self._reports), "")
            still = replace(last, paused=True, seeking=False, moving=False)
            self.report = self._reports.get(self._leader, still)


def _spans(value: object) -> tuple[tuple[float, float], ...]:
    """Return the spans of time that have come (s); what is none is left out."""
    found = []
    for pair in value[:_MOST_SPANS] if isinstance(value, list) else ():
        if isinstance(pair, list) and len(pair) == 2:
            start, stop = seconds(pair[0]), seconds(pair[1])
            if start is not None and stop is not None and start <= stop:
                found.append((start, stop))
    return tuple(found)


def _tried(value: object) -> tuple[tuple[str, str], ...]:
    """Return the roads that were not taken, each with the reason."""
    pairs = value[:_MOST_SPANS] if isinstance(value, list) else ()
    return tuple(
        (str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2
    )


def _size(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    wide, high = seconds(value[0]), seconds(value[1])
    return (int(wide), int(high)) if wide and high else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
