"""What a player knows of itself: the browser's last report, as properties."""

import time
from typing import TYPE_CHECKING

from vidnb.download.planner.progress import format_duration_s

if TYPE_CHECKING:
    from vidnb.widgets.player.views import Views

__all__ = ["StateMixin"]


class StateMixin:
    """The half of `Player` that tells what the browser reported."""

    name: str
    start_s: float
    _vidnb_views: "Views"

    @property
    def current_time(self) -> float:
        """The position (s); where nothing was reported yet, where it will begin."""
        report = self._vidnb_views.report
        return self.start_s if report is None else report.now_at(time.monotonic())

    @property
    def duration(self) -> float | None:
        """The length (s), or None before the browser has read it."""
        report = self._vidnb_views.report
        return None if report is None else report.duration

    @property
    def paused(self) -> bool:
        """Whether it stands still; true before any view is shown."""
        report = self._vidnb_views.report
        return report is None or report.paused

    @property
    def ended(self) -> bool:
        """Whether it stands at its end."""
        report = self._vidnb_views.report
        return report is not None and report.ended

    @property
    def seeking(self) -> bool:
        """Whether the picture of the position asked for is still on its way."""
        report = self._vidnb_views.report
        return report is not None and report.seeking

    @property
    def buffered(self) -> tuple[tuple[float, float], ...]:
        """The spans of time (s) whose bytes the browser holds."""
        report = self._vidnb_views.report
        return () if report is None else report.buffered

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the picture (px), or None before the browser has read them."""
        report = self._vidnb_views.report
        return None if report is None else report.size

    @property
    def error(self) -> str | None:
        """The sentence the player shows where the browser cannot play on, else None."""
        report = self._vidnb_views.report
        return None if report is None else report.error

    @property
    def route(self) -> str | None:
        """The road the browser took: `direct`, `proxy`, `template`, …; None before it took one."""
        report = self._vidnb_views.report
        return None if report is None else report.route

    @property
    def routes_tried(self) -> dict[str, str]:
        """The roads the browser did not take, and why not."""
        report = self._vidnb_views.report
        return {} if report is None else dict(report.routes_tried)

    def __repr__(self) -> str:
        length = "unknown length" if self.duration is None else format_duration_s(self.duration)
        state = "paused" if self.paused else "playing"
        return f"Player({self.name!r}, {state} at {self.current_time:.3f} s of {length})"
