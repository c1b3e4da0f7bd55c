"""`compare()`: several videos in sync, side by side in a cell.

Each video is a `Player` of its own, and this widget shows them all in one grid. The page keeps them
in sync (`sync_plan.js`): Python sends the commands for all of them, and receives their reports. The
protocol is that of `vidnb.widgets.player.widget`.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import traitlets as t

from vidnb.download.planner.progress import format_duration_s
from vidnb.download.request import DownloadResult
from vidnb.io.regular_file import StrPath
from vidnb.server.bundle import SCRIPTS, bundle
from vidnb.server.server import Served
from vidnb.widgets.card import CardMixin, comparison_card
from vidnb.widgets.player.arguments import check_integer, check_number, seconds
from vidnb.widgets.player.commands import CommandMixin, check_rate
from vidnb.widgets.player.deliveries import check_convert
from vidnb.widgets.player.widget import Player, play

__all__ = ["Comparison", "compare"]


class Comparison(CommandMixin, CardMixin):
    """Several videos in sync; made by `compare`.

    The methods may be called from any cell and any thread and return the comparison, so that they
    chain. All times are common ones (s): at common time 0 each video is at its offset. A command to
    one of the `players` (play, pause, seek, step, playback_rate) applies to all; sound is set for
    each alone, as in `comparison.players[1].muted = False`. A video that the browser cannot play
    becomes a sentence in that player's `error`; only invalid arguments raise (`ValueError`).
    """

    _esm: ClassVar[str] = bundle(SCRIPTS / "compare.js")
    _css: ClassVar[str] = "\n".join(
        (SCRIPTS / name).read_text(encoding="utf-8") for name in ("player.css", "compare.css")
    )

    models: t.List[str] = t.List(help="The players, as references to their models.").tag(sync=True)
    labels: t.List[str] = t.List(help="The label under each video.").tag(sync=True)
    offsets_s: t.List[float] = t.List(help="Own times at common time 0 (s).").tag(sync=True)
    columns = t.Int(1, help="How many are side by side in a wide cell.").tag(sync=True)

    def __init__(
        self,
        players: Sequence[Player],
        *,
        labels: Sequence[str],
        offsets_s: Sequence[float],
        columns: int,
        owned: ExitStack | None = None,
    ) -> None:
        self._vidnb_players = tuple(players)
        self._vidnb_time_s: float | None = None
        super().__init__(
            owned=owned,
            models=[f"IPY_MODEL_{player.model_id}" for player in players],
            labels=list(labels),
            offsets_s=list(offsets_s),
            columns=columns,
        )
        # A browser may read a duration after the comparison's own last report.
        for player in players:
            self._vidnb_owned.callback(player.on("durationchange", self._vidnb_refresh_card))

    @property
    def players(self) -> tuple[Player, ...]:
        """The player of each video, in their order."""
        return self._vidnb_players

    @property
    def current_time(self) -> float:
        """The common time (s), from the players' own reports; 0.0 before any of them."""
        videos = zip(self._vidnb_players, self.offsets_s, strict=True)
        return common_time(
            [(p.current_time, p.duration, offset_s) for p, offset_s in videos],
            self._vidnb_time_s or 0.0,
        )

    @property
    def duration(self) -> float | None:
        """The common time at which the last one ends (s), or None before all are known."""
        ends_s = [
            player.duration - offset_s
            for player, offset_s in zip(self._vidnb_players, self.offsets_s, strict=True)
            if player.duration is not None
        ]
        return max(0.0, *ends_s) if len(ends_s) == len(self._vidnb_players) else None

    @property
    def paused(self) -> bool:
        """Whether all are paused; waiting for data is no pause."""
        return all(player.paused for player in self._vidnb_players)

    @property
    def playback_rate(self) -> float:
        """The playback rate of all, 1.0 being as recorded; assign one from 0.0625 to 16."""
        shown = [player for player in self._vidnb_players if player.duration is not None]
        return shown[0].playback_rate if shown else 1.0

    @playback_rate.setter
    def playback_rate(self, rate: float) -> None:
        self._vidnb_send_command(rate=check_rate(rate))

    def __repr__(self) -> str:
        length = "unknown length" if self.duration is None else format_duration_s(self.duration)
        state = "paused" if self.paused else "playing"
        names = ", ".join(self.labels)
        return f"Comparison({names}: {state} at {self.current_time:.3f} s of {length})"

    def _vidnb_card(self) -> dict[str, str]:
        names = [player.name for player in self._vidnb_players]
        videos = list(zip(self.labels, names, self._vidnb_lengths_s(), strict=True))
        return comparison_card(videos, card_id=self.card_id)

    def _vidnb_lengths_s(self) -> tuple[float | None, ...]:
        return tuple(player.duration for player in self._vidnb_players)

    def _vidnb_handle_comm_message(self, content: dict[str, Any], _buffers: object) -> None:
        match content.get("kind"):
            case "ready" if self._vidnb_time_s is not None:
                state = {"t_s": self.current_time, "rate": self.playback_rate}
                self._vidnb_send_to(content["view"], "restore", None, **state)
            case "state":
                with self._vidnb_lock:
                    self._vidnb_acknowledge(content.get("seq"))
                    self._vidnb_time_s = seconds(content.get("current_time")) or 0.0
                self._vidnb_refresh_card()

    def _vidnb_refresh_card(self, _player: Player | None = None) -> None:
        self._vidnb_queue_card()
        self._vidnb_outbox.flush()


def common_time(videos: Sequence[tuple[float, float | None, float]], default_s: float) -> float:
    """Return the common time (s) of videos, each given by its own time, duration and offset (s).

    One that is at its start or end may stay there and does not count; without another one the
    common time is `default_s`.
    """
    for own_s, length_s, offset_s in videos:
        if length_s is not None and 0 < own_s < length_s - 0.01 and own_s >= offset_s:
            return own_s - offset_s
    return default_s


def compare(
    *sources: StrPath | Served | DownloadResult | Player,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    offsets_s: Sequence[float] | None = None,
    convert: str = "auto",
) -> Comparison:
    """Return a comparison of `sources`, which all play, pause, seek and step together.

    A source is what `play` accepts, or a `Player`, for subtitles or another route. `labels` are the
    file names by default. `columns` is how many are side by side where the cell is wide enough.
    `offsets_s` is the own time of each at common time 0 (s): 2.5 for one whose first 2.5 s are left
    out, -1 for one that starts a second later. All but the first are muted at the start. `convert`
    is that of `play`.

    `ValueError` where there is no source, or not as many labels or offsets as sources; `ServeError`
    where a file cannot be served. The browser keeps drift below one frame of 1/30 s, and pauses all
    while one of them waits for data.
    """
    check_convert(convert)
    count = len(sources)
    if not count:
        raise ValueError("compare needs at least one video, as in vidnb.compare(first, second)")
    names = None if labels is None else _check_entries("labels", labels, count)
    offsets = [0.0] * count if offsets_s is None else _check_entries("offsets_s", offsets_s, count)
    checked_offsets_s = [check_number(f"offsets_s[{n}]", value) for n, value in enumerate(offsets)]
    columns = default_columns(count) if columns is None else columns
    columns = check_integer("columns", columns, minimum=1)
    given = [id(source) for source in sources if isinstance(source, Player)]
    if len(set(given)) < len(given):
        raise ValueError("compare accepts each player once: pass the file itself to show it twice")
    owned = ExitStack()
    try:
        players = []
        for place, source in enumerate(sources):
            if isinstance(source, Player):
                players.append(source)
                continue
            player = play(source, muted=place > 0, convert=convert)
            owned.callback(player.close)
            players.append(player)
        return Comparison(
            players,
            labels=[str(name) for name in names or [player.name for player in players]],
            offsets_s=checked_offsets_s,
            columns=columns,
            owned=owned,
        )
    except BaseException:
        owned.close()
        raise


def default_columns(count: int) -> int:
    """Return how many of `count` videos are side by side: an almost square, readable grid."""
    if count <= 3:
        return max(1, count)
    return 2 if count == 4 else 3 if count <= 9 else 4


def _check_entries(what: str, values: Any, count: int) -> list[Any]:
    """Return a sequence with one entry for each video as a list; `ValueError` for another."""
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    entries = list(values) if is_list else []
    if not is_list or len(entries) != count:
        given = len(entries) if is_list else repr(values)
        raise ValueError(f"{what} needs one entry for each of the {count} videos, not {given}")
    return entries
