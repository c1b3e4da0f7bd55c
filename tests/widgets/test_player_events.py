"""Callbacks of a player run in order, on one thread, independent of each other."""

import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from tests.widgets.comm import deliver
from vidnb.server.sample import sample
from vidnb.widgets.player import events
from vidnb.widgets.player.widget import Player, play


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    monkeypatch.setattr(Player, "send", lambda *_: None)
    made = play(sample())
    yield made
    made.close()


def report(player: Player, event: str, view: str = "a", **state: object) -> None:
    content = {"v": 1, "view": view, "kind": "state", "event": event, **state}
    deliver(player, content)


def all_called(player: Player) -> None:
    """Wait until every callback for the events so far was called."""
    done = threading.Event()
    remove = player.on("marker", lambda _: done.set())
    player._vidnb_emit("marker")
    assert done.wait(DEADLINE_S)
    remove()


def test_callbacks_get_the_player_in_the_order_of_events(player: Player) -> None:
    called: list[tuple[str, float]] = []
    player.on("play", lambda one: called.append(("play", one.current_time)))
    player.on("seeked", lambda one: called.append(("seeked", one.current_time)))
    report(player, "play", current_time=1.0, paused=False)
    all_called(player)
    report(player, "seeked", current_time=2.0, paused=False)
    report(player, "pause", current_time=3.0)
    all_called(player)
    assert called[0] == ("play", 1.0)
    assert [event for event, _ in called] == ["play", "seeked"]


def test_callbacks_run_on_one_thread_of_their_own(player: Player) -> None:
    threads: set[str] = set()
    player.on("pause", lambda _: threads.add(threading.current_thread().name))
    report(player, "pause")
    all_called(player)
    report(player, "pause")
    all_called(player)
    assert threads == {"vidnb events"}


def test_a_removed_callback_is_not_called(player: Player) -> None:
    called: list[int] = []

    def add(_: Player) -> None:
        called.append(1)

    first, second = player.on("pause", add), player.on("pause", add)
    first()
    first()
    report(player, "pause")
    all_called(player)
    assert called == [1]
    second()
    report(player, "pause")
    all_called(player)
    assert called == [1]


def test_a_closed_player_has_no_callbacks(player: Player) -> None:
    class Callback:
        def __call__(self, _: Player) -> None:
            raise AssertionError("the player is closed")

    callback = Callback()
    player.on("pause", callback)
    is_alive = weakref.ref(callback)
    player.close()
    del callback
    assert is_alive() is None
    report(player, "pause")


def test_an_error_in_a_callback_is_logged(player: Player, caplog: pytest.LogCaptureFixture) -> None:
    called: list[Player] = []
    player.on("ended", lambda _: 1 / 0)
    player.on("ended", called.append)
    with caplog.at_level(logging.ERROR, "vidnb"):
        report(player, "ended")
        all_called(player)
    assert called == [player]
    assert "player.on('ended', …) failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_slow_callback_gets_only_the_newest_position(player: Player) -> None:
    began, go, times = threading.Event(), threading.Event(), []

    def slow(one: Player) -> None:
        began.set()
        assert go.wait(DEADLINE_S)
        times.append(one.current_time)

    player.on("timeupdate", slow)
    report(player, "timeupdate", current_time=0.0)
    assert began.wait(DEADLINE_S)
    for n in range(1, 9):
        report(player, "timeupdate", current_time=n)
    go.set()
    all_called(player)
    assert times == [8.0, 8.0]


def test_events_of_a_view_that_does_not_lead_are_ignored(player: Player) -> None:
    called: list[Player] = []
    report(player, "play", paused=False)
    player.on("pause", called.append)
    report(player, "pause", view="b")
    all_called(player)
    assert called == []


@pytest.mark.parametrize(
    ("event", "fn", "sentence"),
    [
        ("seekd", print, "no event 'seekd'; there are .*seeked"),
        ("seeked", 3, "needs a function to call, not 3"),
    ],
)
def test_invalid_arguments_are_value_errors(
    player: Player, event: str, fn: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        player.on(event, fn)


def test_a_forked_child_starts_its_own_callback_thread(player: Player) -> None:
    before = events._thread
    try:
        before._is_running = True  # as it may be in the parent at the fork
        events._reset_after_fork()
        all_called(player)
    finally:
        events._thread = before
        before._is_running = False
