"""What the views of one player report, and which of them counts.

A player may be displayed in several places, and a view may disappear without a message (a page that
crashed). Messages come from a browser, so each field of them is checked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from vidnb.widgets.player.arguments import seconds

__all__ = ["Report", "Views"]

LEADER_TIMEOUT_S: Final = 2.0
"""A playing view reports four times a second; after this time (s) without one it is gone."""

MAX_EXTRAPOLATION_S: Final = 1.0
"""How far a report may be extrapolated (s): the next is due in 0.25 s, and may be delayed."""

_MAX_NUMBERED_VIEWS: Final = 1000
_MAX_SKIPPED: Final = 100
_MAX_RANGES: Final = 64
_CLOCK_DRIFT: Final = 1e-4
"""How fast two clocks may drift apart (s per s); quartz stays below a tenth of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The last report of one view; times in seconds, `sent_s` on this process's monotonic clock.

    `shown_s` is the media time of the frame that is shown (`requestVideoFrameCallback`), None where
    the browser has not reported it since the last seek.
    """

    current_time: float = 0.0
    shown_s: float | None = None
    duration: float | None = None
    paused: bool = True
    ended: bool = False
    seeking: bool = False
    moving: bool = False
    error: str | None = None
    route: str | None = None
    delivery: str | None = None
    buffered: tuple[tuple[float, float], ...] = ()
    playback_rate: float = 1.0
    volume: float = 1.0
    muted: bool | None = None
    loop: bool | None = None
    size: tuple[int, int] | None = None
    routes_tried: tuple[tuple[str, str], ...] = ()
    sent_s: float = 0.0

    @classmethod
    def parse(cls, content: Mapping[str, object], sent_s: float) -> Self:
        """Parse a message; a field that is missing or of a wrong type keeps its default."""
        volume = seconds(content.get("volume"))
        return cls(
            current_time=seconds(content.get("current_time")) or 0.0,
            shown_s=seconds(content.get("shown_s")),
            duration=seconds(content.get("duration")),
            paused=content.get("paused") is not False,
            ended=content.get("ended") is True,
            seeking=content.get("seeking") is True,
            moving=content.get("moving") is True,
            error=_text(content.get("error")),
            route=_text(content.get("route")),
            delivery=_text(content.get("delivery")),
            buffered=_time_ranges(content.get("buffered")),
            playback_rate=seconds(content.get("playback_rate")) or 1.0,
            volume=1.0 if volume is None else min(volume, 1.0),
            muted=_flag(content.get("muted")),
            loop=_flag(content.get("loop")),
            size=_size(content.get("size")),
            routes_tried=_routes_tried(content.get("routes_tried")),
            sent_s=sent_s,
        )

    def position_at(self, now_s: float) -> float:
        """Return the position (s) at `now_s`; that of a moving video is extrapolated."""
        return self._extrapolate(self.current_time, now_s)

    def frame_time_at(self, now_s: float) -> float:
        """Return a time (s) within the frame that is shown at `now_s`."""
        start_s = self.current_time if self.shown_s is None else self.shown_s
        return self._extrapolate(start_s, now_s)

    def _extrapolate(self, time_s: float, now_s: float) -> float:
        if not self.moving:
            return time_s
        elapsed_s = min(max(0.0, now_s - self.sent_s), MAX_EXTRAPOLATION_S)
        position_s = time_s + elapsed_s * self.playback_rate
        return min(position_s, math.inf if self.duration is None else self.duration)


class Views:
    """The views of one player by their ids; not thread-safe, its owner holds a lock.

    `report` is the leader's last one; None before any view has reported.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self._reports: dict[str, Report] = {}
        self._leader = ""
        self._numbers: dict[str, int] = {}
        self._skipped: dict[str, set[int]] = {}
        self._clocks: dict[str, tuple[float, float]] = {}

    @property
    def state(self) -> Report:
        """The state of the player; the defaults of `Report` before any view has reported."""
        return self.report or Report()

    @property
    def leader(self) -> str:
        """The view whose reports count; empty before any has reported."""
        return self._leader

    def __len__(self) -> int:
        return len(self._reports)

    def is_new(self, view: str, number: object) -> bool:
        """Record the number of a message; return false where a later one of `view` came before.

        Messages come by HTTP and by the comm, so an older one may arrive later. A message without
        a number is always new.
        """
        if not isinstance(number, int) or isinstance(number, bool):
            return True
        # Re-inserted, so that the first ones are those of views without recent messages.
        last = self._numbers.pop(view, 0)
        self._numbers[view] = max(last, number)
        skipped = self._skipped.setdefault(view, set())
        skipped.update(range(max(last + 1, number - _MAX_SKIPPED), number))
        while len(skipped) > _MAX_SKIPPED:
            skipped.remove(min(skipped))
        if len(self._numbers) > _MAX_NUMBERED_VIEWS:
            oldest = next(iter(self._numbers))
            del self._numbers[oldest], self._skipped[oldest]
        return number > last

    def is_late(self, view: str, number: object) -> bool:
        """Return whether a message that is not new comes for the first time.

        ipykernel 7 may swap two messages of the comm by its subshells. The state of the earlier one
        is outdated; the event that it reports has happened all the same.
        """
        skipped = self._skipped.get(view, set())
        if not isinstance(number, int) or number not in skipped:
            return False
        skipped.remove(number)
        return True

    def update(self, view: str, content: Mapping[str, object], now_s: float) -> bool:
        """Apply a report of `view`; return whether that view is now the leader.

        Of several views the one that plays leads, the last one started first; one that is merely
        opened does not. The views of one page settle that among themselves: only the leading one
        reports, and sets `leads` when it becomes the leader.
        """
        report = Report.parse(content, self._sent_at(view, content.get("sent_s"), now_s))
        leader = self._reports.get(self._leader)
        self._reports[view] = report
        if (
            view == self._leader
            or leader is None
            or leader.paused
            or content.get("event") == "play"
            or content.get("is_leader") is True
            or now_s - leader.sent_s > LEADER_TIMEOUT_S
        ):
            self._leader = view
            self.report = report
        return view == self._leader

    def _sent_at(self, view: str, sent_s: object, now_s: float) -> float:
        """Return when a report was sent, on this process's clock.

        The view stamps it by its own clock. The offset of the two clocks is taken from the fastest
        message; any other has been delayed, for instance by a busy kernel.
        """
        stamp_s = seconds(sent_s)
        if stamp_s is None:
            return now_s
        offset_s, then_s = self._clocks.get(view, (math.inf, now_s))
        offset_s = min(now_s - stamp_s, offset_s + _CLOCK_DRIFT * (now_s - then_s))
        self._clocks[view] = offset_s, now_s
        return stamp_s + offset_s

    def remove(self, view: str) -> None:
        """Remove `view`; after the last one the player is paused at that view's position."""
        last = self._reports.pop(view, None)
        self._clocks.pop(view, None)
        if last is not None and view == self._leader:
            self._leader = next(reversed(self._reports), "")
            still = replace(last, paused=True, seeking=False, moving=False)
            self.report = self._reports.get(self._leader, still)


def _time_ranges(value: object) -> tuple[tuple[float, float], ...]:
    """Return the valid time ranges (s) of a list."""
    found = []
    for pair in value[:_MAX_RANGES] if isinstance(value, list) else ():
        if isinstance(pair, list) and len(pair) == 2:
            start, stop = seconds(pair[0]), seconds(pair[1])
            if start is not None and stop is not None and start <= stop:
                found.append((start, stop))
    return tuple(found)


def _routes_tried(value: object) -> tuple[tuple[str, str], ...]:
    pairs = value[:_MAX_RANGES] if isinstance(value, list) else ()
    return tuple(
        (str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2
    )


def _size(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    width, height = seconds(value[0]), seconds(value[1])
    return (int(width), int(height)) if width and height else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
