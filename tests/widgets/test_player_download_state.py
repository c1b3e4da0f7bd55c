"""A player of a URL, without a browser: its download and the state of it that views get."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import Film, Origin, noise, status
from vidnb.download import cache
from vidnb.errors import StatusError
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.widgets.player.download_state import stored_fractions
from vidnb.widgets.player.widget import Player, play

DATA = noise(3_000_000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")


@pytest.fixture
def slow() -> Iterator[Origin]:
    with Origin(Film(DATA), rate=3e6) as running:
        yield running


@pytest.fixture
def sent_states(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The download states that players send to their views."""
    sent: list[dict[str, Any]] = []

    def send(player: Player, content: dict[str, Any], buffers: object = None) -> None:
        if content["kind"] == "download_state":
            sent.append(content)

    monkeypatch.setattr(Player, "send", send)
    return sent


def test_the_views_get_the_stored_ranges(
    slow: Origin, sent_states: list[dict[str, Any]], tmp_path: Path
) -> None:
    player = play(slow.url, save_to=f"{tmp_path}/here/")
    try:
        assert player.download is not None
        assert not player.download.done
        result = player.download.result(DEADLINE_S)
        slow.wait_for(lambda: bool(sent_states) and sent_states[-1]["state"] == "saved")
        assert result.path == tmp_path / "here" / "film.mp4"
        assert result.path.read_bytes() == DATA
        downloading = [content for content in sent_states if content["state"] == "downloading"]
        assert len(downloading) >= 2
        stored = [sum(stop - start for start, stop in content["ranges"]) for content in downloading]
        assert stored == sorted(stored)
        assert sent_states[-1]["ranges"] == [[0.0, 1.0]]
        assert all(content["v"] == 1 and content["view"] == "" for content in sent_states)
        sent_states.clear()
        player._vidnb_handle_ready("late")  # a view shown after the end
        assert [(c["view"], c["state"]) for c in sent_states] == [("late", "saved")]
    finally:
        player.close()


def test_closing_the_player_stops_the_download_and_keeps_its_bytes(
    slow: Origin, sent_states: list[dict[str, Any]], tmp_path: Path
) -> None:
    player = play(slow.url, save_to=tmp_path / "a.mp4")
    slow.wait_for(lambda: slow.sent_bytes > 500_000)
    player.close()
    assert player.download is not None
    with pytest.raises(CancelledError):
        player.download.result(DEADLINE_S)
    assert "failed" not in {content["state"] for content in sent_states}, "the player is closed"
    assert not (tmp_path / "a.mp4").exists()
    slow.rate = None
    again = play(slow.url, save_to=tmp_path / "a.mp4")
    try:
        assert again.download is not None
        assert again.download.result(DEADLINE_S).resumed_from_bytes > 400_000
    finally:
        again.close()


def test_the_views_get_a_new_generation_when_the_source_changes(
    slow: Origin, sent_states: list[dict[str, Any]], tmp_path: Path
) -> None:
    other = noise(2_000_000, seed=2)
    player = play(slow.url, save_to=tmp_path / "a.mp4")
    try:
        slow.wait_for(lambda: bool(sent_states) and bool(sent_states[-1]["ranges"]))
        slow.film, slow.rate = Film(other, etag='"v2"'), None
        slow.close_connections()
        assert player.download is not None
        assert player.download.result(DEADLINE_S).path.read_bytes() == other
        slow.wait_for(lambda: sent_states[-1]["state"] == "saved")
        assert {content["generation"] for content in sent_states} == {0, 1}
        assert sent_states[-1]["generation"] == 1
    finally:
        player.close()


def test_a_cached_file_is_played_without_a_download(
    slow: Origin, sent_states: list[dict[str, Any]], tmp_path: Path
) -> None:
    slow.rate = None
    for reused in (False, True):
        player = play(slow.url)
        assert player.download is not None
        assert player.download.result(DEADLINE_S).reused is reused
        slow.wait_for(lambda: bool(sent_states) and sent_states[-1]["state"] == "saved")
        player.close()
    assert slow.sent_bytes == len(DATA)


def test_a_failure_before_the_size_is_known_is_raised(tmp_path: Path) -> None:
    with Origin(Film(DATA), otherwise=status(404)) as origin, pytest.raises(StatusError):
        play(origin.url, save_to=tmp_path / "a.mp4")


def test_only_a_url_is_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save_to is for a URL"):
        play(tmp_path / "a.mp4", save_to=tmp_path)


def test_a_player_of_a_file_has_no_download() -> None:
    assert Player(name="a.mp4").download is None


def test_stored_ranges_are_fractions_of_the_file() -> None:
    assert stored_fractions(ByteRangeSet([ByteRange(0, 25), ByteRange(50, 100)]), 100) == [
        [0.0, 0.25],
        [0.5, 1.0],
    ]
    assert stored_fractions(ByteRangeSet(), 100) == []
    many = ByteRangeSet([ByteRange(10 * n, 10 * n + 1 + n % 3) for n in range(200)])
    fractions = stored_fractions(many, 2000)
    assert len(fractions) == 64
    assert fractions == sorted(fractions)
    assert all(round(2000 * (stop - start)) == 3 for start, stop in fractions)
