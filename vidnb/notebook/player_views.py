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
    error: str | None = None
    route: str | None = None
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
            error=_text(content.get("error")),
            route=_text(content.get("route")),
            heard_s=heard_s,
        )


class Views:
    """The views of one player, each by its name; not thread-safe, its owner holds a lock.

    `report` is what counts for the player; None before any view has reported.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self._reports: dict[str, Report] = {}
        self._leader = ""

    def __len__(self) -> int:
        return len(self._reports)

    def heard(self, view: str, content: Mapping[str, object], now_s: float) -> bool:
        """Take the state that `view` sent; return whether it now speaks for the player.

        Of several views the one that plays speaks for the player, the last one started first;
        one that is merely opened beside it does not.
        """
        report = Report.parse(content, now_s)
        leader = self._reports.get(self._leader)
        self._reports[view] = report
        if (
            view == self._leader
            or leader is None
            or leader.paused
            or content.get("event") == "play"
            or now_s - leader.heard_s > SILENT_S
        ):
            self._leader = view
            self.report = report
        return view == self._leader

    def gone(self, view: str) -> None:
        """Forget `view`; if it was the last one, the player stands still where that one was."""
        last = self._reports.pop(view, None)
        if last is not None and view == self._leader:
            self._leader = next(reversed(self._reports), "")
            still = replace(last, paused=True, seeking=False)
            self.report = self._reports.get(self._leader, still)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
