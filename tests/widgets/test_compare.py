"""The comparison without a browser: `send` is overridden, and a fake view stands for the page."""

import gc
import math
import re
import time
import weakref
from collections.abc import Iterator
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import Any

import pytest

from tests.widgets.comm import deliver
from vidnb.errors import ServeError
from vidnb.server.sample import sample
from vidnb.widgets import card
from vidnb.widgets.card import comparison_card
from vidnb.widgets.compare import comparison as compare_module
from vidnb.widgets.compare.comparison import Comparison, common_time, compare, default_columns
from vidnb.widgets.player.widget import Player, play


class FakeView:
    """The responses of the view, and of its players' views, to messages."""

    def __init__(self, comparison: Comparison, lengths_s: tuple[float, ...] = (10.0, 10.0)) -> None:
        self.comparison, self.lengths_s = comparison, lengths_s
        self.seq = 0
        self.state: dict[str, Any] = {"current_time": 0.0, "paused": True, "playback_rate": 1.0}
        self.apply(comparison.pending_command)

    def post(self, kind: str, **content: object) -> None:
        deliver(self.comparison, {"v": 1, "view": "one", "kind": kind, **content}, [])

    def report(self, event: str = "play", **state: object) -> None:
        self.state |= state
        comparison = self.comparison
        for player, offset_s, length_s in zip(
            comparison.players, comparison.offsets_s, self.lengths_s, strict=True
        ):
            own_s = min(max(0.0, self.state["current_time"] + offset_s), length_s)
            moment = {**self.state, "current_time": own_s, "duration": length_s}
            deliver(
                player, {"v": 1, "view": "one", "kind": "state", "event": event, "seq": 0, **moment}
            )
        self.post("state", event=event, seq=self.seq, **self.state)

    def apply(self, command: dict[str, Any]) -> None:
        if command.get("seq", 0) <= self.seq:
            return
        self.seq = command["seq"]
        names = {"t_s": "current_time", "rate": "playback_rate"}
        self.state |= {names[key]: command[key] for key in names if key in command}
        if "playing" in command:
            self.state["paused"] = not command["playing"]
        self.report("command")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every message that Python sends to the comparison's page."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        Comparison, "send", lambda _self, content, _buffers=None: messages.append(content)
    )
    return messages


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every output that is displayed or updated: what, and the bundle."""
    outputs: list[tuple[str, dict[str, Any]]] = []
    for name in ("display", "update_display"):

        def record(data: dict[str, Any], name: str = name, **_options: Any) -> None:
            outputs.append((name, dict(data)))

        monkeypatch.setattr(card, f"_{name}", record)
    return outputs


@pytest.fixture
def pair(sent: list[dict[str, Any]]) -> Iterator[Comparison]:
    made = compare(sample(), sample(), labels=["left", "right"], offsets_s=[0, 2.5])
    yield made
    made.close()


# Sources


def test_each_source_gets_a_player_and_all_but_the_first_are_muted() -> None:
    comparison = compare(sample(), sample(), sample())
    assert [player.name for player in comparison.players] == ["sample.mp4"] * 3
    assert [player.muted for player in comparison.players] == [False, True, True]
    assert comparison.labels == ["sample.mp4"] * 3
    assert comparison.offsets_s == [0.0] * 3
    assert comparison.models == [f"IPY_MODEL_{p.model_id}" for p in comparison.players]
    comparison.close()
    assert [player.comm for player in comparison.players] == [None] * 3


def test_a_player_given_to_compare_is_not_closed_with_it() -> None:
    with_subtitles = play(sample(), subtitles="1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    comparison = compare(sample(), with_subtitles)
    assert comparison.players[1] is with_subtitles
    comparison.close()
    assert with_subtitles.comm is not None
    with_subtitles.close()


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (9, 3), (10, 4), (30, 4)]
)
def test_the_default_number_of_columns(count: int, columns: int) -> None:
    assert default_columns(count) == columns


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ["one"]}, "labels needs one entry for each of the 2 videos, not 1"),
        ({"labels": "ab"}, "labels needs one entry for each of the 2 videos, not 'ab'"),
        ({"offsets_s": [0, 1, 2]}, "offsets_s needs one entry for each of the 2 videos, not 3"),
        ({"offsets_s": 2}, "offsets_s needs one entry for each of the 2 videos, not 2"),
        ({"offsets_s": [0, math.inf]}, "offsets_s[1] must be a finite number, not inf"),
        ({"offsets_s": [0, math.nan]}, "offsets_s[1] must be a finite number, not nan"),
        ({"offsets_s": [0, "1"]}, "offsets_s[1] must be a finite number, not '1'"),
        ({"offsets_s": [0, None]}, "offsets_s[1] must be a finite number, not None"),
        ({"offsets_s": [True, 0]}, "offsets_s[0] must be a finite number, not True"),
        ({"columns": 0}, "columns must be a whole number of at least 1, not 0"),
        ({"columns": True}, "columns must be a whole number of at least 1, not True"),
        ({"columns": "2"}, "columns must be a whole number of at least 1, not '2'"),
    ],
)
def test_an_invalid_option_is_a_value_error(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        compare(sample(), sample(), **options)


@Real.register
class Float32:
    """A number as NumPy's scalars: not a float, but registered as `numbers.Real`."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


def test_offsets_may_be_any_real_numbers() -> None:
    offsets_s: Any = (Fraction(-1, 2), Float32(-2.5), -1)
    comparison = compare(*[sample()] * 3, offsets_s=offsets_s)
    assert comparison.offsets_s == [-0.5, -2.5, -1.0]
    assert all(type(offset_s) is float for offset_s in comparison.offsets_s)
    comparison.close()


def test_without_a_source_it_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="at least one video"):
        compare()


def test_a_closed_comparison_is_not_kept_by_its_players() -> None:
    player = play(sample())
    comparison = compare(player)
    comparison.close()
    is_alive = weakref.ref(comparison)
    del comparison
    gc.collect()
    assert is_alive() is None
    player.close()


def test_a_player_twice_is_a_value_error() -> None:
    player = play(sample())
    with pytest.raises(ValueError, match="each player once"):
        compare(player, player)
    player.close()


def test_after_a_missing_source_all_players_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Player] = []

    def playing(*args: Any, **options: Any) -> Player:
        made.append(play(*args, **options))
        return made[-1]

    monkeypatch.setattr(compare_module, "play", playing)
    with pytest.raises(ServeError):
        compare(sample(), tmp_path / "missing.mp4")
    assert [player.comm for player in made] == [None]


# Commands and state


def test_commands_chain_and_reach_the_page_in_order(
    pair: Comparison, sent: list[dict[str, Any]]
) -> None:
    assert pair.seek(3).play().step(-2).pause() is pair
    pair.playback_rate = 0.5
    assert [{k: v for k, v in m.items() if k not in {"v", "kind"}} for m in sent] == [
        {"t_s": 3.0, "seq": 1},
        {"playing": True, "seq": 2},
        {"step": -2, "seq": 3},
        {"playing": False, "seq": 4},
        {"rate": 0.5, "seq": 5},
    ]
    assert pair.pending_command == {
        "t_s": 3.0,
        "playing": False,
        "step": -2,
        "rate": 0.5,
        "v": 1,
        "seq": 5,
    }


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (lambda c: c.seek(-1), "t_s must be a finite number of at least 0, not -1"),
        (lambda c: c.seek("1"), "t_s must be a finite number of at least 0, not '1'"),
        (lambda c: c.step(0.5), "frames must be a whole number, not 0.5"),
        (
            lambda c: setattr(c, "playback_rate", 17),
            "playback_rate must be a finite number from 0.0625 to 16",
        ),
        (
            lambda c: setattr(c, "playback_rate", 0),
            "playback_rate must be a finite number from 0.0625 to 16",
        ),
    ],
)
def test_an_invalid_command_is_not_sent(
    pair: Comparison, sent: list[dict[str, Any]], command: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        command(pair)
    assert sent == []


def test_before_any_report_the_state_is_the_default(pair: Comparison) -> None:
    assert (pair.current_time, pair.duration, pair.paused, pair.playback_rate) == (0, None, True, 1)
    assert repr(pair) == "Comparison(left, right: paused at 0.000 s of unknown length)"


def test_a_view_shown_later_applies_the_commands_and_reports(pair: Comparison) -> None:
    pair.seek(4).play()
    pair.playback_rate = 2
    FakeView(pair)
    assert (pair.current_time, pair.duration, pair.paused, pair.playback_rate) == (4, 10, False, 2)
    assert [player.current_time for player in pair.players] == [4, 6.5]
    assert pair.pending_command == {}
    assert repr(pair) == "Comparison(left, right: playing at 4.000 s of 0:10)"


def test_the_common_time_continues_after_the_end_of_a_shorter_video(pair: Comparison) -> None:
    view = FakeView(pair, (3.0, 10.0))
    view.report(current_time=6.0)
    assert [player.current_time for player in pair.players] == [3, 8.5]
    assert pair.current_time == 6
    assert pair.duration == 7.5


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], 7.0),
        ([(2.0, 10.0, 0.5)], 1.5),
        ([(10.0, 10.0, 0.0), (8.0, 20.0, -4.0)], 12.0),
        ([(0.0, 10.0, 0.0), (0.0, 20.0, -4.0)], 7.0),
        ([(2.0, None, 0.0)], 7.0),
    ],
)
def test_the_common_time(moments: Any, expected: float) -> None:
    assert common_time(moments, 7.0) == expected


def test_a_reloaded_page_restores_the_position(
    pair: Comparison, sent: list[dict[str, Any]]
) -> None:
    view = FakeView(pair)
    view.post("ready")
    assert sent == []  # nothing was reported yet
    view.report(current_time=5.0, playback_rate=0.5)
    view.post("ready")
    assert sent == [{"v": 1, "kind": "restore", "view": "one", "t_s": 5.0, "rate": 0.5}]


@pytest.mark.parametrize(
    "message",
    [
        "ready",
        {"kind": "state", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 2, "kind": "state", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 1, "kind": "state", "seq": 0, "current_time": 5, "view": 7},
        {"v": 1, "kind": "unknown", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 1, "kind": "state", "current_time": "late", "playback_rate": -1, "view": "one"},
    ],
)
def test_unknown_messages_are_ignored(pair: Comparison, message: Any) -> None:
    deliver(pair, message)
    assert (pair.current_time, pair.playback_rate, pair.paused) == (0, 1, True)


# The display


def test_the_card_has_all_names_and_is_updated_with_the_durations(
    pair: Comparison, shown: list[tuple[str, dict[str, Any]]]
) -> None:
    pair._ipython_display_()
    FakeView(pair).report()
    (what, card), (_, widget), (update, later) = shown
    assert (what, update) == ("display", "update_display")
    assert "left" in card["text/html"]
    assert "right" in card["text/html"]
    assert "0:10" not in card["text/html"]
    assert later["text/html"].count("sample.mp4 · 0:10") == 2
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert "text/plain" not in widget


def test_the_card_is_updated_by_reports_of_the_players_alone(
    pair: Comparison, shown: list[tuple[str, dict[str, Any]]]
) -> None:
    """The browser may read a duration after the last report of the comparison."""
    pair._ipython_display_()
    shown.clear()
    for player in pair.players:
        message = {"v": 1, "view": "one", "kind": "state", "seq": 0, "duration": 10.0}
        deliver(player, {**message, "event": "durationchange"})
    deadline_s = time.monotonic() + 30
    while not shown and time.monotonic() < deadline_s:  # on the callback thread
        time.sleep(0.002)
    [(update, later)] = shown
    assert update == "update_display"
    assert later["text/html"].count("sample.mp4 · 0:10") == 2


def test_a_closed_comparison_displays_the_card_alone(
    sent: list[dict[str, Any]], shown: list[tuple[str, dict[str, Any]]]
) -> None:
    comparison = compare(sample())
    comparison.close()
    comparison._ipython_display_()
    assert len(shown) == 1
    assert "Comparison of 1 video<" in shown[0][1]["text/html"]


def test_inside_a_box_the_bundle_holds_widget_and_card(pair: Comparison) -> None:
    data, _ = pair._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert (
        data["text/plain"]
        == "Comparison of 2 videos (left, right): run this cell again to watch it"
    )


def test_a_card_escapes_labels_and_names() -> None:
    card = comparison_card([("<b>", 'a"<i>.mp4', 3.0), ("same.mp4", "same.mp4", None)], card_id="m")
    assert "<b>" not in card["text/html"]
    assert "<i>" not in card["text/html"]
    assert card["text/html"].count("same.mp4") == 1
    assert ":has(.m) + .jp-OutputArea-child" in card["text/html"], "JupyterLab's own line is hidden"
