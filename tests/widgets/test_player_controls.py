"""Controls and markers of a player without a browser: `send` is overridden."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.widgets.comm import deliver
from vidnb.widgets.player.channel import Outbox
from vidnb.widgets.player.commands import merge_commands
from vidnb.widgets.player.markers import Marker, Markers
from vidnb.widgets.player.widget import Player


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        Player, "send", lambda _self, content, _buffers=None: messages.append(content)
    )
    return messages


@pytest.fixture
def player(sent: list[dict[str, Any]]) -> Iterator[Player]:
    made = vidnb.play(vidnb.sample(), muted=True, markers=[(4.5, "goal"), (1, "kick-off")])
    yield made
    made.close()


def post(player: Player, kind: str, **content: object) -> None:
    deliver(player, {"v": 1, "view": "view-1", "kind": kind, **content})


# Controls


def test_controls_chain_and_are_sent_as_commands(
    player: Player, sent: list[dict[str, Any]]
) -> None:
    chain = player.step(3).set(playback_rate=0.5, volume=1, muted=False, loop=True).fullscreen()
    assert chain.step() is player
    player.playback_rate = 2
    player.volume = 0.25
    player.muted = True
    player.loop = False
    player.fullscreen(on=False)
    assert [{k: v for k, v in one.items() if k not in {"v", "kind", "seq"}} for one in sent] == [
        {"step": 3},
        {"rate": 0.5, "volume": 1.0, "muted": False, "loop": True},
        {"fullscreen": True},
        {"step": 1},
        {"rate": 2.0},
        {"volume": 0.25},
        {"muted": True},
        {"loop": False},
        {"fullscreen": False},
    ]
    assert [one["seq"] for one in sent] == list(range(1, 10))


@pytest.mark.parametrize(
    ("option", "bad"),
    [
        ("playback_rate", 0), ("playback_rate", -1), ("playback_rate", 17),
        ("playback_rate", "fast"), ("volume", 1.01), ("volume", -0.1), ("volume", float("nan")),
        ("volume", True),
    ],
)  # fmt: skip
def test_an_invalid_value_is_not_sent(
    player: Player, sent: list[dict[str, Any]], option: str, bad: Any
) -> None:
    with pytest.raises(ValueError, match=f"{option} must be a finite number from"):
        player.set(**{option: bad})
    with pytest.raises(ValueError, match=r"frames must be a whole number, not 1\.5"):
        player.step(1.5)  # type: ignore[arg-type]  # the point
    assert sent == []


@pytest.mark.parametrize(
    ("pending", "command", "merged"),
    [
        ({}, {"step": 2}, {"step": 2, "playing": False}),
        ({"step": 2, "playing": False}, {"step": -3}, {"step": -1, "playing": False}),
        ({"step": 2, "playing": False}, {"t_s": 5.0}, {"t_s": 5.0, "playing": False}),
        ({"t_s": 5.0}, {"step": 1}, {"t_s": 5.0, "step": 1, "playing": False}),
        ({"step": 1, "playing": False}, {"playing": True}, {"step": 1, "playing": True}),
        ({"rate": 2.0}, {"rate": 0.5, "loop": True}, {"rate": 0.5, "loop": True}),
    ],
)
def test_pending_commands_are_merged(
    pending: dict[str, Any], command: dict[str, Any], merged: dict[str, Any]
) -> None:
    before = dict(pending)
    assert merge_commands(pending, command) == merged
    assert pending == before


def test_properties_are_what_the_browser_reported(player: Player) -> None:
    assert (player.playback_rate, player.volume, player.muted, player.loop) == (1, 1, True, False)
    state = {"playback_rate": 1.5, "volume": 0.0, "muted": False, "loop": True}
    post(player, "state", event="ratechange", **state)
    assert (player.playback_rate, player.volume, player.muted, player.loop) == (1.5, 0, False, True)
    invalid = {"playback_rate": "2", "volume": 7, "muted": 1, "loop": None}
    post(player, "state", event="ratechange", **invalid)
    assert (player.playback_rate, player.volume, player.muted, player.loop) == (1, 1, True, False)


# Markers


def test_markers_are_sorted_by_time(player: Player) -> None:
    assert list(player.markers) == [(1.0, "kick-off"), (4.5, "goal")]
    assert player.markers[0] == Marker(1.0, "kick-off")
    assert player.markers[-1].label == "goal"
    assert player.markers[:1] == [(1.0, "kick-off")]
    assert len(player.markers) == 2
    assert (4.5, "goal") in player.markers
    assert repr(player.markers) == "[(1.0, 'kick-off'), (4.5, 'goal')]"
    assert player.markers_table() == [
        {"t_s": 1.0, "label": "kick-off"},
        {"t_s": 4.5, "label": "goal"},
    ]
    assert [(mark["t_s"], mark["label"]) for mark in player.marker_list] == list(player.markers)
    assert len({mark["id"] for mark in player.marker_list}) == 2


def test_every_change_is_shown(player: Player) -> None:
    def shown() -> list[tuple[float, str]]:
        return [(mark["t_s"], mark["label"]) for mark in player.marker_list]

    assert player.markers.add(3) == (3.0, "")
    assert shown() == [(1.0, "kick-off"), (3.0, ""), (4.5, "goal")]
    before = player.marker_list[1]["id"]
    player.markers[1] = (2.0, "corner")
    assert shown() == [(1.0, "kick-off"), (2.0, "corner"), (4.5, "goal")]
    assert player.marker_list[1]["id"] == before, "it is the same marker"
    player.markers.remove((1.0, "kick-off"))
    del player.markers[0]
    assert shown() == [(4.5, "goal")]
    player.markers = [(9, "b"), (8, "a")]
    assert shown() == [(8.0, "a"), (9.0, "b")]
    del player.markers[:1]
    assert player.markers == [(9.0, "b")]
    player.markers.clear()
    assert shown() == []
    assert player.markers == Markers(Outbox(), lambda markers: None)


@pytest.mark.parametrize(
    "bad", [(-1, "a"), ("1", "a"), (1,), (1, None), 5, (float("inf"), ""), (1, "a", 2), (True, "a")]
)
def test_an_invalid_marker_changes_nothing(player: Player, bad: Any) -> None:
    changes: list[Any] = [
        lambda: setattr(player, "markers", [(1, "x"), bad]),
        lambda: player.markers.__setitem__(0, bad),
        lambda: vidnb.play(vidnb.sample(), markers=[bad]),
    ]
    for change in changes:
        with pytest.raises(
            ValueError, match=r"a marker is \(t_s, label\)|the t_s of a marker must"
        ):
            change()
    with pytest.raises(ValueError, match="there is no marker"):
        player.markers.remove((7.0, "nowhere"))
    assert player.markers == [(1.0, "kick-off"), (4.5, "goal")]


def test_a_marker_set_in_the_page_is_added(player: Player) -> None:
    called = threading.Event()
    player.on("marker", lambda one: called.set() if len(one.markers) == 3 else None)
    post(player, "marker", action="add", id="view-1-1", t_s=2.5, label="")
    assert called.wait(DEADLINE_S)
    assert player.markers[1] == (2.5, "")
    assert player.marker_list[1] == {"id": "view-1-1", "t_s": 2.5, "label": ""}
    post(player, "marker", action="add", id="view-1-1", t_s=2.5, label="")
    assert len(player.markers) == 3, "a repeated message adds no marker"
    post(player, "marker", action="remove", id="view-1-1")
    assert len(player.markers) == 2


@pytest.mark.parametrize(
    "content",
    [
        {"action": "add", "t_s": 1.0, "label": ""},
        {"action": "add", "id": 7, "t_s": 1.0, "label": ""},
        {"action": "add", "id": "a", "t_s": -1, "label": ""},
        {"action": "add", "id": "a", "t_s": "1", "label": ""},
        {"action": "add", "id": "a", "t_s": 1.0, "label": 5},
        {"action": "add", "id": "a", "t_s": 1.0, "label": "x" * 1001},
        {"action": "paint", "id": "a", "t_s": 1.0, "label": ""},
        {"action": "remove", "id": "unknown"},
        {"id": "a", "t_s": 1.0, "label": ""},
    ],
)
def test_a_message_that_sets_no_marker_changes_nothing(
    player: Player, monkeypatch: pytest.MonkeyPatch, content: dict[str, object]
) -> None:
    emitted: list[str] = []
    monkeypatch.setattr(player, "_vidnb_emit", emitted.append)
    post(player, "marker", **content)
    assert len(player.markers) == 2
    assert emitted == []


def test_markers_may_be_added_by_many_threads(player: Player) -> None:
    player.markers.clear()
    threads = [threading.Thread(target=player.markers.add, args=(n, str(n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [marker.t_s for marker in player.markers] == list(range(20))
    assert len(player.marker_list) == 20
