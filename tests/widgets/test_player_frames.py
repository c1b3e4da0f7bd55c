"""Frame numbers of a player without a browser: what is sent, and what a report means."""

import struct
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import vidnb
from tests.assets import film
from tests.clips import clip, shown_number
from tests.deadline import DEADLINE_S, wait_until
from tests.origin import Film, Origin
from tests.widgets.comm import deliver
from vidnb.download import cache
from vidnb.media.frame_table import FrameTable, PacketEntry
from vidnb.widgets.player import frame_numbers
from vidnb.widgets.player.frame_numbers import encode_times
from vidnb.widgets.player.widget import Player

VARIABLE = "h264-variable.mp4"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], Any]]:
    messages: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(
        Player,
        "send",
        lambda _self, content, buffers=None: messages.append((content, buffers)),
    )
    return messages


@pytest.fixture
def player(sent: list[tuple[dict[str, Any], Any]]) -> Iterator[Player]:
    made = vidnb.play(clip(VARIABLE))
    yield made
    made.close()


def report(player: Player, **state: object) -> None:
    content = {"v": 1, "view": "view-1", "kind": "state", "event": "pause", "paused": True, **state}
    deliver(player, content)


def test_the_frame_is_found_by_the_time_that_the_browser_reports(player: Player) -> None:
    times_s = vidnb.frames(clip(VARIABLE)).times_s
    for index in (0, 7, 31, 59):
        report(player, current_time=0.0, shown_s=float(times_s[index]))
        assert player.frame_index == index
        report(player, current_time=float(times_s[index]) + 0.001, shown_s=None)
        assert player.frame_index == index, "after a seek the position counts"
        report(player, current_time=0.0, shown_s=max(0.0, float(times_s[index]) - 2e-6))
        assert player.frame_index == index, "browsers cut times to microseconds"
    assert shown_number(player.frame().image) == 59
    assert player.frame().index == 59


def test_without_a_page_no_frame_is_shown(player: Player) -> None:
    assert player.frame_index is None


def test_seek_frame_goes_to_the_middle_of_the_frame(
    player: Player, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    times_s = vidnb.frames(clip(VARIABLE)).times_s
    assert player.seek_frame(30) is player
    player.seek_frame(-1)
    sought = [content["t_s"] for content, _ in sent if content["kind"] == "command"]
    assert sought == pytest.approx([(times_s[30] + times_s[31]) / 2, times_s[59] + 0.001])
    for index in (60, -61):
        with pytest.raises(IndexError, match="60 frames"):
            player.seek_frame(index)
    with pytest.raises(ValueError, match="whole number"):
        player.seek_frame(1.5)  # type: ignore[arg-type]  # the point


def test_a_view_gets_the_times_of_the_frames(
    player: Player, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    def received() -> list[tuple[dict[str, Any], Any]]:
        return [one for one in sent if one[0]["kind"] == "frame_times"]

    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    wait_until(lambda: len(received()) == 1)
    deliver(player, {"v": 1, "view": "view-2", "kind": "ready"})
    wait_until(lambda: len(received()) == 2)
    (_, buffers), (content, _) = received()
    assert content["view"] == "view-2"
    times_s = struct.unpack("<60d", buffers[0])
    assert times_s == pytest.approx(vidnb.frames(clip(VARIABLE)).times_s)


def test_a_long_file_without_an_index_is_not_read_by_itself(
    sent: list[tuple[dict[str, Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_numbers, "_MAX_READ_BYTES", 1000)
    player = vidnb.play(clip("h264.mkv"))
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    assert not any(one.name == "vidnb-frame-table" for one in threading.enumerate())
    player.seek_frame(7)
    deliver(player, {"v": 1, "view": "view-2", "kind": "ready"})
    assert [content["kind"] for content, _ in sent][-1] == "frame_times"
    player.close()


def test_a_closed_player_sends_no_times(
    sent: list[tuple[dict[str, Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_closed = threading.Event()
    get = frame_numbers.PlayerFrames.get

    def get_late(frames: frame_numbers.PlayerFrames) -> Any:
        assert is_closed.wait(DEADLINE_S)
        return get(frames)

    monkeypatch.setattr(frame_numbers.PlayerFrames, "get", get_late)
    player = vidnb.play(clip("h264.mp4"))
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    player.close()
    is_closed.set()
    wait_until(lambda: not any(one.name == "vidnb-frame-table" for one in threading.enumerate()))
    assert [one for one in sent if one[0]["kind"] == "frame_times"] == []


def test_a_player_of_something_else_has_no_frames(
    sent: list[tuple[dict[str, Any], Any]], tmp_path: Any
) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is not a video, but long enough to be read")
    player = vidnb.play(path)
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    wait_until(lambda: not any(one.name == "vidnb-frame-table" for one in threading.enumerate()))
    assert [one for one in sent if one[0]["kind"] == "frame_times"] == []
    with pytest.raises(vidnb.MediaError, match="not a video"):
        player.seek_frame(0)
    with pytest.raises(ValueError, match="no page has shown a frame yet"):
        player.frame()
    player.close()


def test_a_film_that_is_still_downloaded_has_frame_numbers(
    sent: list[tuple[dict[str, Any], Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    with Origin(Film(film().read_bytes()), rate=3e6) as origin:
        player = vidnb.play(origin.url)
        deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
        assert not any(one.name == "vidnb-frame-table" for one in threading.enumerate())
        report(player, event="loadedmetadata", current_time=0.0, duration=30.0)
        wait_until(lambda: any(content["kind"] == "frame_times" for content, _ in sent))
        player.seek_frame(700)
        assert sent[-1][0]["t_s"] == pytest.approx(700.5 / 24, abs=0.001)
        assert origin.sent_bytes < 12e6, "the whole file was read for its table"
        player.close()


def table(pts: list[int]) -> FrameTable:
    entries = [PacketEntry(ticks, None, -1, is_key=False) for ticks in pts]
    return FrameTable.of_packets(entries, Fraction(1, 1000))


@pytest.mark.parametrize(
    ("pts", "is_constant"),
    [
        ([0], True),
        ([5, 45, 85], True),
        ([0, 33, 67, 100, 133, 167, 200], True),
        ([0, 33, 68, 100], False),
        ([0, 40, 40, 80], False),
    ],
)
def test_times_are_sent_as_numbers_only_where_these_give_each_timestamp(
    pts: list[int], is_constant: bool
) -> None:
    content, buffers = encode_times(table(pts))
    assert (buffers is None) is is_constant
    if buffers is None:
        assert [
            int(content["first"] + n * content["interval"] + 0.5) for n in range(content["count"])
        ] == pts
    else:
        found = np.frombuffer(buffers[0], "<f8")
        assert found == pytest.approx([ticks / 1000 for ticks in pts])
