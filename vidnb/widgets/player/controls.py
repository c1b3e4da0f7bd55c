"""Commands of a player beyond play, pause and seek: rate, volume, mute, loop, fullscreen."""

from typing import Self

from vidnb.widgets.player.arguments import check_number
from vidnb.widgets.player.commands import CommandMixin, check_rate
from vidnb.widgets.player.views import Views

__all__ = ["ControlsMixin"]


class ControlsMixin(CommandMixin):
    """The part of `Player` that sets how the video plays, and returns what the browser reported."""

    _vidnb_views: Views
    start_muted: bool
    start_loop: bool

    def set(
        self,
        *,
        playback_rate: float | None = None,
        volume: float | None = None,
        muted: bool | None = None,
        loop: bool | None = None,
    ) -> Self:
        """Set one or several of these, as their properties do, and return the player.

        `player.seek(3).set(playback_rate=0.5, muted=True).play()`. `ValueError` where a rate is
        not within 0.0625 to 16 or a volume not within 0 to 1.
        """
        command: dict[str, bool | float] = {}
        if playback_rate is not None:
            command["rate"] = check_rate(playback_rate)
        if volume is not None:
            command["volume"] = check_number("volume", volume, minimum=0, maximum=1)
        if muted is not None:
            command["muted"] = bool(muted)
        if loop is not None:
            command["loop"] = bool(loop)
        return self._vidnb_send_command(**command)

    def fullscreen(self, on: bool = True) -> Self:
        """Enter or leave fullscreen.

        Browsers allow it only right after a click or a key in the page, as that which ran the
        cell; where yours does not, the player shows a message.
        """
        return self._vidnb_send_command(fullscreen=bool(on))

    @property
    def playback_rate(self) -> float:
        """The playback rate, 1.0 being as recorded; assign one from 0.0625 to 16."""
        return self._vidnb_views.state.playback_rate

    @playback_rate.setter
    def playback_rate(self, rate: float) -> None:
        self.set(playback_rate=rate)

    @property
    def volume(self) -> float:
        """The volume from 0.0 to 1.0, also while the player is muted; assign another."""
        return self._vidnb_views.state.volume

    @volume.setter
    def volume(self, volume: float) -> None:
        self.set(volume=volume)

    @property
    def muted(self) -> bool:
        """Whether the player is muted, as the browser last reported; assign to change it."""
        muted = self._vidnb_views.state.muted
        return self.start_muted if muted is None else muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self.set(muted=muted)

    @property
    def loop(self) -> bool:
        """Whether the video loops, as the browser last reported; assign to change it."""
        loop = self._vidnb_views.state.loop
        return self.start_loop if loop is None else loop

    @loop.setter
    def loop(self, loop: bool) -> None:
        self.set(loop=loop)
