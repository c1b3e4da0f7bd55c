"""The state of a player as properties, from the browser's last report."""

import time

from vidnb.download.planner.progress import format_duration_s
from vidnb.widgets.player.views import Views

__all__ = ["StateMixin"]


class StateMixin:
    """The part of `Player` that returns what the browser reported."""

    name: str
    start_s: float
    _vidnb_views: Views

    @property
    def current_time(self) -> float:
        """The position (s); before the first report, where the player will start."""
        report = self._vidnb_views.report
        return self.start_s if report is None else report.position_at(time.monotonic())

    @property
    def duration(self) -> float | None:
        """The duration (s), or None before the browser has read it."""
        return self._vidnb_views.state.duration

    @property
    def paused(self) -> bool:
        """Whether the player is paused; true before any view is shown."""
        return self._vidnb_views.state.paused

    @property
    def ended(self) -> bool:
        """Whether the video has ended."""
        return self._vidnb_views.state.ended

    @property
    def seeking(self) -> bool:
        """Whether a seek is in progress."""
        return self._vidnb_views.state.seeking

    @property
    def buffered(self) -> tuple[tuple[float, float], ...]:
        """The time ranges (s) that the browser has buffered."""
        return self._vidnb_views.state.buffered

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the picture (px), or None before the browser has read them."""
        return self._vidnb_views.state.size

    @property
    def error(self) -> str | None:
        """The sentence that the player shows where the browser cannot play the video, else None."""
        return self._vidnb_views.state.error

    @property
    def route(self) -> str | None:
        """The route in use: `direct`, `proxy`, `template`, …; None before one has worked."""
        return self._vidnb_views.state.route

    @property
    def delivery(self) -> str | None:
        """How the video is delivered; None before a browser has loaded it.

        "direct" is the file itself, "remux" its packets in segments that the browser reads,
        "transcode" its frames encoded again as H.264, or its sound as AAC or Opus.
        """
        return self._vidnb_views.state.delivery

    @property
    def routes_tried(self) -> dict[str, str]:
        """The routes that did not work, each with the reason."""
        return dict(self._vidnb_views.state.routes_tried)

    def __repr__(self) -> str:
        length = "unknown length" if self.duration is None else format_duration_s(self.duration)
        state = "paused" if self.paused else "playing"
        return f"Player({self.name!r}, {state} at {self.current_time:.3f} s of {length})"
