"""`compare()`: several videos under one clock, side by side in a cell.

Each video is a `Player` of its own, and this widget shows them all in one grid. Which of them is
when, the page decides (compare_clock.js): Python says what all should do, as the player's commands
do, and hears what all are doing. The protocol is the one described at the top of player.py.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from operator import index
from typing import Any, ClassVar, Final, Self
from uuid import uuid4

import anywidget
import traitlets as t
from IPython.display import display, update_display

from vidnb.download.planner.progress import format_duration_s
from vidnb.download.request import DownloadResult
from vidnb.io.regular_file import StrPath
from vidnb.server.bundle import SCRIPTS, bundle
from vidnb.server.server import Served
from vidnb.widgets.card import comparison_card
from vidnb.widgets.player.channel import PROTOCOL_VERSION
from vidnb.widgets.player.controls import merge_commands
from vidnb.widgets.player.views import seconds
from vidnb.widgets.player.widget import Player, play

__all__ = ["Comparison", "compare"]

# IPython's own are not annotated.
_display: Final[Callable[..., object]] = display
_update_display: Final[Callable[..., object]] = update_display

_LEAST_RATE: Final = 0.0625
_MOST_RATE: Final = 16.0


class Comparison(anywidget.AnyWidget):
    """Several videos that keep one clock; made by `compare`.

    The methods may be called from any cell and any thread and answer the comparison, so that they
    chain. All times are common ones (s): at common time 0 each video is at its offset. What a
    player in `players` is told alone (play, pause, seek, step, playback_rate), all do; sound is a
    matter of each, as in `comparison.players[1].muted = False`. What the browser cannot play
    becomes a sentence in that player's `error`; only nonsense arguments raise (`ValueError`).
    """

    _esm: ClassVar[str] = bundle(SCRIPTS / "compare.js")
    _css: ClassVar[str] = "\n".join(
        (SCRIPTS / name).read_text(encoding="utf-8") for name in ("player.css", "compare.css")
    )

    models: t.List[str] = t.List(help="The players' models, as widgets name each other.").tag(
        sync=True
    )
    labels: t.List[str] = t.List(help="What stands under each video.").tag(sync=True)
    offsets_s: t.List[float] = t.List(help="Each one's own time at common time 0 (s).").tag(
        sync=True
    )
    columns = t.Int(1, help="How many stand side by side where the cell is wide enough.").tag(
        sync=True
    )
    card_id = t.Unicode(help="The saved card that a living view hides.").tag(sync=True)
    wish = t.Dict(help="Commands no view has obeyed yet.").tag(sync=True)

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
        self._vidnb_owned = ExitStack() if owned is None else owned
        self._vidnb_lock = threading.RLock()
        self._vidnb_seq = 0
        self._vidnb_time_s: float | None = None
        self._vidnb_lengths: tuple[float | None, ...] = ()
        self._vidnb_displayed = False
        super().__init__(
            models=[f"IPY_MODEL_{player.model_id}" for player in players],
            labels=list(labels),
            offsets_s=list(offsets_s),
            columns=columns,
            card_id=f"vidnb-card-{uuid4().hex[:12]}",
        )
        self.on_msg(self._vidnb_on_message)
        # Each tells its length when its browser has read it, the comparison's own word may be over.
        for player in players:
            heard = player.on("durationchange", lambda _player: self._vidnb_show_lengths())
            self._vidnb_owned.callback(heard)

    # What a person asks for

    def play(self) -> Self:
        """Play all; where the browser wants a click before it plays with sound, it says so."""
        return self._vidnb_ask(playing=True)

    def pause(self) -> Self:
        """Pause all, at the same moment."""
        return self._vidnb_ask(playing=False)

    def seek(self, t_s: float) -> Self:
        """Bring all to the common time `t_s` (s); past the end is the end.

        `ValueError` where `t_s` is negative or no number.
        """
        target_s = seconds(t_s)
        if target_s is None:
            raise ValueError(f"seek takes seconds, finite and not negative, not {t_s!r}")
        return self._vidnb_ask(t_s=target_s)

    def step(self, frames: int = 1) -> Self:
        """Pause, and go `frames` pictures of the leading video on, or back where it is negative.

        `ValueError` where `frames` is no whole number.
        """
        try:
            count = index(frames)
        except TypeError:
            raise ValueError(f"step takes a whole number of frames, not {frames!r}") from None
        return self._vidnb_ask(step=count)

    def close(self) -> None:
        """Take the comparison off every page, and close the players that it has made itself."""
        super().close()
        self._vidnb_owned.close()

    # What the browser reported

    @property
    def players(self) -> tuple[Player, ...]:
        """The player of each video, in their order."""
        return self._vidnb_players

    @property
    def current_time(self) -> float:
        """The common time (s), as the players' own reports tell it; 0.0 before any came."""
        moments = zip(self._vidnb_players, self.offsets_s, strict=True)
        return common_time(
            [(p.current_time, p.duration, offset_s) for p, offset_s in moments],
            self._vidnb_time_s or 0.0,
        )

    @property
    def duration(self) -> float | None:
        """The common time at which the last one ends (s), or None before all lengths are known."""
        ends_s = [
            player.duration - offset_s
            for player, offset_s in zip(self._vidnb_players, self.offsets_s, strict=True)
            if player.duration is not None
        ]
        return max(0.0, *ends_s) if len(ends_s) == len(self._vidnb_players) else None

    @property
    def paused(self) -> bool:
        """Whether all stand still since they were told to; a wait for data is no pause."""
        return all(player.paused for player in self._vidnb_players)

    @property
    def playback_rate(self) -> float:
        """How fast all play, 1.0 being as recorded; assign one from 0.0625 to 16."""
        shown = [player for player in self._vidnb_players if player.duration is not None]
        return shown[0].playback_rate if shown else 1.0

    @playback_rate.setter
    def playback_rate(self, rate: float) -> None:
        number = seconds(rate)
        if number is None or not _LEAST_RATE <= number <= _MOST_RATE:
            raise ValueError(
                f"playback_rate is a number from {_LEAST_RATE} to {_MOST_RATE:g}, not {rate!r}"
            )
        self._vidnb_ask(rate=number)

    def __repr__(self) -> str:
        length = "unknown length" if self.duration is None else format_duration_s(self.duration)
        state = "paused" if self.paused else "playing"
        names = ", ".join(self.labels)
        return f"Comparison({names}: {state} at {self.current_time:.3f} s of {length})"

    # How it shows itself

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget and, for whoever has no kernel, the card."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._vidnb_card()}, metadata

    def _ipython_display_(self, **_options: Any) -> None:
        """Show the card and the widget as two outputs, for the reason that `Player` has."""
        self._vidnb_displayed = True
        _display(self._vidnb_card(), raw=True, display_id=self.card_id)
        if self.comm is None:  # closed
            return
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        data |= {"text/html": "<!-- the card above stands for this comparison -->"}
        data.pop("text/plain", None)
        _display(data, raw=True, metadata=metadata)

    def _vidnb_card(self) -> dict[str, str]:
        rows = [
            (label, player.name, player.duration)
            for label, player in zip(self.labels, self._vidnb_players, strict=True)
        ]
        return comparison_card(rows, mark=self.card_id)

    # How it talks with its views

    def _vidnb_ask(self, **command: bool | float) -> Self:
        with self._vidnb_lock:  # held while sending, so that two threads' commands keep their order
            self._vidnb_seq += 1
            head = {"v": PROTOCOL_VERSION, "seq": self._vidnb_seq}
            self.wish = {**merge_commands(self.wish, command), **head}
            self.send({"kind": "wish", **command, **head})
        return self

    def _vidnb_on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if not isinstance(content, dict) or content.get("v") != PROTOCOL_VERSION:
            return
        view = content.get("view")
        if not isinstance(view, str):
            return
        match content.get("kind"):
            case "ready" if self._vidnb_time_s is not None:
                resume = {"t_s": self.current_time, "rate": self.playback_rate}
                self.send({"v": PROTOCOL_VERSION, "kind": "resume", "view": view, **resume})
            case "state":
                self._vidnb_on_state(content)

    def _vidnb_on_state(self, content: dict[str, Any]) -> None:
        with self._vidnb_lock:
            if content.get("seq") == self._vidnb_seq and self.wish:
                self.wish = {}
            self._vidnb_time_s = seconds(content.get("current_time")) or 0.0
        self._vidnb_show_lengths()

    def _vidnb_show_lengths(self) -> None:
        """Have the saved card tell the lengths, once all are known."""
        with self._vidnb_lock:
            lengths = tuple(player.duration for player in self._vidnb_players)
            tell = self._vidnb_displayed and None not in lengths and lengths != self._vidnb_lengths
            if tell:
                self._vidnb_lengths = lengths
        if tell:
            _update_display(self._vidnb_card(), raw=True, display_id=self.card_id)


def common_time(moments: Sequence[tuple[float, float | None, float]], otherwise_s: float) -> float:
    """Return the common time (s) that players at these moments tell: own time, length, offset (s).

    One that stands at its start or its end may stand there for a while and tells nothing; where
    all do, the time is `otherwise_s`.
    """
    for own_s, length_s, offset_s in moments:
        if length_s is not None and 0 < own_s < length_s - 0.01 and own_s >= offset_s:
            return own_s - offset_s
    return otherwise_s


def compare(
    *sources: StrPath | Served | DownloadResult | Player,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    offsets_s: Sequence[float] | None = None,
) -> Comparison:
    """Return a comparison of `sources`, which all play, pause, seek and step together.

    A source is what `play` takes, or a `Player`, for subtitles or another road. `labels` stand
    under the videos, their file names by default. `columns` is how many stand side by side where
    the cell is wide enough. `offsets_s` is the own time of each at common time 0 (s): 2.5 for one
    whose first 2.5 s are left out, -1 for one that begins a second later. All but the first are
    muted at the start.

    `ValueError` where there is no source, or not as many labels or offsets as sources; `ServeError`
    where a file cannot be served. The browser corrects drift to less than a frame of 1/30 s, and
    holds all while one of them waits for data.
    """
    count = len(sources)
    if not count:
        raise ValueError("compare takes at least one video, as in vidnb.compare(first, second)")
    _check_count("labels", labels, count)
    _check_count("offsets_s", offsets_s, count)
    shifts_s = [0.0] * count if offsets_s is None else [_shift(value) for value in offsets_s]
    if columns is None:
        columns = default_columns(count)
    elif isinstance(columns, bool) or columns < 1:
        raise ValueError(f"columns is the number of videos side by side, at least 1, not {columns}")
    if len({id(source) for source in sources if isinstance(source, Player)}) < sum(
        isinstance(source, Player) for source in sources
    ):
        raise ValueError("compare takes each player once: pass the file itself to show it twice")
    made = ExitStack()
    try:
        players = []
        for place, source in enumerate(sources):
            if isinstance(source, Player):
                players.append(source)
                continue
            player = play(source, muted=place > 0)
            made.callback(player.close)
            players.append(player)
        return Comparison(
            players,
            labels=[p.name for p in players] if labels is None else [str(x) for x in labels],
            offsets_s=shifts_s,
            columns=columns,
            owned=made,
        )
    except BaseException:
        made.close()
        raise


def default_columns(count: int) -> int:
    """Return how many of `count` videos stand side by side: a grid as square as reads well."""
    if count <= 3:
        return max(1, count)
    return 2 if count == 4 else 3 if count <= 9 else 4


def _check_count(what: str, values: Sequence[object] | None, count: int) -> None:
    if values is None:
        return
    if isinstance(values, str) or len(values) != count:
        given = "one text" if isinstance(values, str) else str(len(values))
        raise ValueError(f"{what} has one entry for each of the {count} videos, not {given}")


def _shift(value: float) -> float:
    number = seconds(abs(value)) if isinstance(value, (int, float)) else seconds(value)
    if number is None:
        raise ValueError(f"offsets_s are finite numbers of seconds, not {value!r}")
    return float(value)
