"""What Python asks of a player besides where it stands: rate, sound, frames, the whole screen."""

from abc import abstractmethod
from collections.abc import Mapping
from operator import index
from typing import Any, Final, Self

from vidnb.widgets.player.views import Report, Views, seconds

__all__ = ["ControlsMixin", "merge_commands"]

_LEAST_RATE: Final = 0.0625
_MOST_RATE: Final = 16.0
"""Chromium refuses a rate outside of these; Firefox plays without sound long before."""


def merge_commands(wish: Mapping[str, Any], command: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commands that a view which comes later must obey: `wish`, then `command`.

    Steps add up, and a place to go to ends those before it.
    """
    before = dict(wish)
    if "t_s" in command:
        before.pop("step", None)
    if "step" in command:
        before["playing"] = False
        return {**before, **command, "step": before.get("step", 0) + command["step"]}
    return {**before, **command}


class ControlsMixin:
    """The half of `Player` that sets how it plays, and tells what the browser made of it."""

    _vidnb_views: Views
    start_muted: bool
    start_loop: bool

    @abstractmethod
    def _vidnb_ask(self, **command: bool | float) -> Self: ...

    def step(self, frames: int = 1) -> Self:
        """Pause, and go `frames` pictures on, or back where it is negative.

        A browser tells no frame rate: how long a picture lasts (s) is learnt from those it has
        shown, and taken for 1/30 s before. `ValueError` where `frames` is no whole number.
        """
        try:
            count = index(frames)  # NumPy's whole numbers too
        except TypeError:
            raise ValueError(f"step takes a whole number of frames, not {frames!r}") from None
        return self._vidnb_ask(step=count)

    def set(
        self,
        *,
        playback_rate: float | None = None,
        volume: float | None = None,
        muted: bool | None = None,
        loop: bool | None = None,
    ) -> Self:
        """Set one or several of these, as their properties do, and go on with the chain.

        `player.seek(3).set(playback_rate=0.5, muted=True).play()`. `ValueError` where a rate is
        not within 0.0625 to 16 or a volume not within 0 to 1.
        """
        command: dict[str, bool | float] = {}
        if playback_rate is not None:
            command["rate"] = _within("playback_rate", playback_rate, _LEAST_RATE, _MOST_RATE)
        if volume is not None:
            command["volume"] = _within("volume", volume, 0.0, 1.0)
        if muted is not None:
            command["muted"] = bool(muted)
        if loop is not None:
            command["loop"] = bool(loop)
        return self._vidnb_ask(**command)

    def fullscreen(self, on: bool = True) -> Self:
        """Fill the screen, or leave it.

        Browsers allow that only right after a click or a key in the page, as that which ran the
        cell; if yours does not, the player says so.
        """
        return self._vidnb_ask(fullscreen=bool(on))

    @property
    def playback_rate(self) -> float:
        """How fast it plays, 1.0 being as recorded; assign one from 0.0625 to 16."""
        return self._vidnb_report().playback_rate

    @playback_rate.setter
    def playback_rate(self, rate: float) -> None:
        self.set(playback_rate=rate)

    @property
    def volume(self) -> float:
        """How loud it is, from 0.0 to 1.0, also while it is muted; assign another."""
        return self._vidnb_report().volume

    @volume.setter
    def volume(self, volume: float) -> None:
        self.set(volume=volume)

    @property
    def muted(self) -> bool:
        """Whether it plays without sound, as the browser last said; assign to change it."""
        muted = self._vidnb_report().muted
        return self.start_muted if muted is None else muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self.set(muted=muted)

    @property
    def loop(self) -> bool:
        """Whether it begins anew at its end, as the browser last said; assign to change it."""
        loop = self._vidnb_report().loop
        return self.start_loop if loop is None else loop

    @loop.setter
    def loop(self, loop: bool) -> None:
        self.set(loop=loop)

    def _vidnb_report(self) -> Report:
        return self._vidnb_views.report or Report()


def _within(what: str, value: float, least: float, most: float) -> float:
    number = seconds(value)
    if number is None or not least <= number <= most:
        raise ValueError(f"{what} is a number from {least:g} to {most:g}, not {value!r}")
    return number
