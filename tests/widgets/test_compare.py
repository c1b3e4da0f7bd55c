"""The comparison without a browser: `send` is overridden, and a fake view plays the page."""

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S, wait_until
from vidnb.errors import ServeError
from vidnb.server.sample import sample
from vidnb.widgets.card import comparison_card
from vidnb.widgets.compare import comparison as compare_module
from vidnb.widgets.compare.comparison import Comparison, common_time, compare, default_columns
from vidnb.widgets.player.widget import Player, play

TESTS = Path(__file__).parent / "js"
NODE = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


class FakeView:
    """What compare.js does with messages, and its players' views with theirs."""

    def __init__(self, comparison: Comparison, lengths_s: tuple[float, ...] = (10.0, 10.0)) -> None:
        self.comparison, self.lengths_s = comparison, lengths_s
        self.seq = 0
        self.state: dict[str, Any] = {"current_time": 0.0, "paused": True, "playback_rate": 1.0}
        self.obey(comparison.wish)

    def say(self, kind: str, **content: object) -> None:
        self.comparison._handle_custom_msg({"v": 1, "view": "one", "kind": kind, **content}, [])

    def report(self, event: str = "play", **state: object) -> None:
        self.state |= state
        comparison = self.comparison
        for player, offset_s, length_s in zip(
            comparison.players, comparison.offsets_s, self.lengths_s, strict=True
        ):
            own_s = min(max(0.0, self.state["current_time"] + offset_s), length_s)
            moment = {**self.state, "current_time": own_s, "duration": length_s}
            player._handle_custom_msg(
                {"v": 1, "view": "one", "kind": "state", "event": event, "seq": 0, **moment}, []
            )
        self.say("state", event=event, seq=self.seq, **self.state)

    def obey(self, wish: dict[str, Any]) -> None:
        if wish.get("seq", 0) <= self.seq:
            return
        self.seq = wish["seq"]
        names = {"t_s": "current_time", "rate": "playback_rate"}
        self.state |= {names[key]: wish[key] for key in names if key in wish}
        if "playing" in wish:
            self.state["paused"] = not wish["playing"]
        self.report("wish")


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

        monkeypatch.setattr(compare_module, f"_{name}", record)
    return outputs


@pytest.fixture
def pair(sent: list[dict[str, Any]]) -> Iterator[Comparison]:
    made = compare(sample(), sample(), labels=["left", "right"], offsets_s=[0, 2.5])
    yield made
    made.close()


# What is compared


def test_each_source_gets_a_player_and_all_but_the_first_are_muted() -> None:
    comparison = compare(sample(), sample(), sample())
    assert [player.name for player in comparison.players] == ["sample.mp4"] * 3
    assert [player.muted for player in comparison.players] == [False, True, True]
    assert comparison.labels == ["sample.mp4"] * 3
    assert comparison.offsets_s == [0.0] * 3
    assert comparison.models == [f"IPY_MODEL_{p.model_id}" for p in comparison.players]
    comparison.close()
    assert [player.comm for player in comparison.players] == [None] * 3


def test_a_player_that_was_made_before_outlives_the_comparison() -> None:
    with_subtitles = play(sample(), subtitles="1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    comparison = compare(sample(), with_subtitles)
    assert comparison.players[1] is with_subtitles
    comparison.close()
    assert with_subtitles.comm is not None
    with_subtitles.close()


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (9, 3), (10, 4), (30, 4)]
)
def test_the_grid_is_as_square_as_reads_well(count: int, columns: int) -> None:
    assert default_columns(count) == columns


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ["one"]}, "labels has one entry for each of the 2 videos, not 1"),
        ({"labels": "ab"}, "labels has one entry for each of the 2 videos, not one text"),
        ({"offsets_s": [0, 1, 2]}, "offsets_s has one entry for each of the 2 videos, not 3"),
        ({"offsets_s": [0, math.inf]}, "offsets_s are finite numbers of seconds, not inf"),
        ({"offsets_s": [0, "1"]}, "offsets_s are finite numbers of seconds, not '1'"),
        ({"offsets_s": [0, None]}, "offsets_s are finite numbers of seconds, not None"),
        ({"columns": 0}, "columns is the number of videos side by side, at least 1, not 0"),
        ({"columns": True}, "columns is the number of videos side by side, at least 1, not True"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        compare(sample(), sample(), **options)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one video"):
        compare()


def test_a_player_stands_in_a_comparison_once() -> None:
    player = play(sample())
    with pytest.raises(ValueError, match="each player once"):
        compare(player, player)
    player.close()


def test_a_source_that_is_refused_leaves_nothing_served(
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


# What it is told, and tells


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
    assert pair.wish == {"t_s": 3.0, "playing": False, "step": -2, "rate": 0.5, "v": 1, "seq": 5}


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda c: c.seek(-1), "seek takes seconds, finite and not negative, not -1"),
        (lambda c: c.seek("1"), "seek takes seconds, finite and not negative, not '1'"),
        (lambda c: c.step(0.5), "step takes a whole number of frames, not 0.5"),
        (lambda c: setattr(c, "playback_rate", 17), "playback_rate is a number from 0.0625 to 16"),
        (lambda c: setattr(c, "playback_rate", 0), "playback_rate is a number from 0.0625 to 16"),
    ],
)
def test_nonsense_commands_are_refused(
    pair: Comparison, sent: list[dict[str, Any]], ask: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        ask(pair)
    assert sent == []


def test_before_a_view_is_shown_nothing_is_claimed(pair: Comparison) -> None:
    assert (pair.current_time, pair.duration, pair.paused, pair.playback_rate) == (0, None, True, 1)
    assert repr(pair) == "Comparison(left, right: paused at 0.000 s of unknown length)"


def test_a_view_that_comes_later_obeys_and_the_truth_comes_back(pair: Comparison) -> None:
    pair.seek(4).play()
    pair.playback_rate = 2
    FakeView(pair)
    assert (pair.current_time, pair.duration, pair.paused, pair.playback_rate) == (4, 10, False, 2)
    assert [player.current_time for player in pair.players] == [4, 6.5]
    assert pair.wish == {}
    assert repr(pair) == "Comparison(left, right: playing at 4.000 s of 0:10)"


def test_the_time_goes_on_where_a_shorter_one_stands(pair: Comparison) -> None:
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


def test_a_page_loaded_anew_goes_on_at_the_position(
    pair: Comparison, sent: list[dict[str, Any]]
) -> None:
    view = FakeView(pair)
    view.say("ready")
    assert sent == []  # nothing was reported yet
    view.report(current_time=5.0, playback_rate=0.5)
    view.say("ready")
    assert sent == [{"v": 1, "kind": "resume", "view": "one", "t_s": 5.0, "rate": 0.5}]


@pytest.mark.parametrize(
    "message",
    [
        "ready",
        {"kind": "state", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 2, "kind": "state", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 1, "kind": "state", "seq": 0, "current_time": 5, "view": 7},
        {"v": 1, "kind": "song", "seq": 0, "current_time": 5, "view": "one"},
        {"v": 1, "kind": "state", "current_time": "late", "playback_rate": -1, "view": "one"},
    ],
)
def test_what_is_not_understood_is_ignored(pair: Comparison, message: Any) -> None:
    pair._handle_custom_msg(message, [])
    assert (pair.current_time, pair.playback_rate, pair.paused) == (0, 1, True)


# How it shows itself


def test_the_card_names_all_and_learns_their_lengths(
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


def test_the_card_learns_the_lengths_from_the_players_alone(
    pair: Comparison, shown: list[tuple[str, dict[str, Any]]]
) -> None:
    """The browser may read them after the comparison itself has said all that it has to say."""
    pair._ipython_display_()
    shown.clear()
    for player in pair.players:
        message = {"v": 1, "view": "one", "kind": "state", "seq": 0, "duration": 10.0}
        player._handle_custom_msg({**message, "event": "durationchange"}, [])
    wait_until(lambda: shown)  # told on a thread of its own
    [(update, later)] = shown
    assert update == "update_display"
    assert later["text/html"].count("sample.mp4 · 0:10") == 2


def test_a_closed_comparison_shows_the_card_alone(
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


def test_a_card_holds_no_markup_of_others() -> None:
    card = comparison_card([("<b>", 'a"<i>.mp4', 3.0), ("same.mp4", "same.mp4", None)], mark="m")
    assert "<b>" not in card["text/html"]
    assert "<i>" not in card["text/html"]
    assert card["text/html"].count("same.mp4") == 1
    assert ":has(.m) + .jp-OutputArea-child" in card["text/html"], "JupyterLab's own line is hidden"


# The browser's half


def test_the_script_is_one_widget_although_it_builds_upon_another() -> None:
    assert re.findall("^export default .*", Comparison._esm, re.MULTILINE) == [
        "export default { render: renderComparison };"
    ]
    assert "class View {" in Comparison._esm
    assert "export default { render };" in Player._esm


@NODE
def test_the_one_clock() -> None:
    """compare_clock.test.mjs, by node's own test runner."""
    run_node(TESTS / "compare_clock.test.mjs", {})


@NODE
def test_the_page(tmp_path: Path) -> None:
    """compare.test.mjs: the whole script on a page of straw."""
    script = tmp_path / "compare.js"
    script.write_text(Comparison._esm, "utf-8")
    run_node(TESTS / "compare.test.mjs", {"VIDNB_COMPARE_SCRIPT": str(script)})


def run_node(test: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["node", "--test", str(test)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
