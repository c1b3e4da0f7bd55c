"""`vidnb.show`: what it accepts, what the player is told, and what is left on the disk."""

import asyncio
import concurrent.futures
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import vidnb
from tests.clips import numbered_frames, shown_number
from tests.deadline import DEADLINE_S, wait_until
from tests.widgets.comm import deliver
from vidnb.download import cache
from vidnb.media.export import ExportProgress
from vidnb.widgets.player.widget import Player

Frame = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder of shown videos in a cache of the test's own."""
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache" / "streams")
    return tmp_path / "cache" / "shown"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        Player, "send", lambda _self, content, _buffers=None: messages.append(content)
    )
    return messages


@pytest.fixture
def show() -> Iterator[Callable[..., Any]]:
    """Call `vidnb.show`; what it returns is closed at the end, and its threads have ended."""
    shown: list[Any] = []

    def call(*arguments: Any, **options: Any) -> Any:
        shown.append(vidnb.show(*arguments, **options))
        return shown[-1]

    yield call
    for one in shown:
        one.close()
    wait_until(lambda: not any(one.name == "vidnb-show" for one in threading.enumerate()))


class Gate:
    """A generator of numbered frames that waits before frame `at` until `open` is set."""

    def __init__(self, count: int = 75, at: int = 40) -> None:
        self.open = threading.Event()
        self.pulled = 0
        self.closed = threading.Event()
        self.thread = ""
        self._count, self._at = count, at

    def __iter__(self) -> Iterator[Frame]:
        self.thread = threading.current_thread().name
        try:
            for index, frame in enumerate(numbered_frames(self._count)):
                if index == self._at:
                    assert self.open.wait(DEADLINE_S)
                self.pulled += 1
                yield frame
        finally:
            self.closed.set()


def numbers(path: Path) -> list[int | None]:
    with vidnb.frames(path) as frames:
        return [shown_number(frame.image) for frame in frames]


def playlist(player: Player) -> str:
    stream = player._vidnb_encoded._resource.streams.stream("h264.none")
    assert stream is not None
    return (stream.read("index.m3u8") or b"").decode()


def test_an_array_becomes_a_complete_file_in_the_cache(show: Any, root: Path) -> None:
    player = show(numbered_frames(40))
    result = player.encoding.result(DEADLINE_S)
    assert isinstance(result, vidnb.ShowResult)
    assert (result.frames, result.width, result.height) == (40, 160, 128)
    assert result.duration_s == pytest.approx(40 / 30)
    assert result.size_bytes == result.path.stat().st_size
    assert result.path.parent.parent == root
    assert numbers(result.path) == list(range(40))
    assert player.encoding.done
    assert player.encoding.frames == player.encoding.total_frames == 40
    assert player.download is None
    assert player.start_loop
    assert isinstance(player, vidnb.Player)


def test_the_first_segments_play_before_the_generator_ends(
    show: Any, sent: list[dict[str, Any]]
) -> None:
    gate = Gate()
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 40)
    assert not player.encoding.done
    assert player.encoding.total_frames is None
    (delivery,) = player.deliveries
    assert delivery["variant"] == "h264.none"
    assert delivery["type"].startswith('video/mp4; codecs="avc1.64')
    assert "EVENT" in playlist(player)
    assert "1.m4s" in playlist(player)
    stream = player._vidnb_encoded._resource.streams.stream("")
    first = stream.read("0.m4s")
    gate.open.set()
    result = player.encoding.result(DEADLINE_S)
    assert numbers(result.path) == list(range(75))
    assert "#EXT-X-ENDLIST" in playlist(player)
    assert stream.read("0.m4s") == first, "views that play the segments go on with them"
    assert [one["kind"] for one in player.deliveries] == ["direct", "transcode"]
    assert player._vidnb_encoded.path == result.path


def test_a_generator_runs_on_a_thread_of_its_own_and_is_not_read_ahead(show: Any) -> None:
    gate = Gate(count=60, at=45)
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 45)
    assert gate.pulled == 45
    assert gate.thread == "vidnb-show"
    gate.open.set()
    player.encoding.result(DEADLINE_S)
    assert gate.closed.is_set()


def test_only_one_frame_is_read_while_the_encoder_is_busy(
    show: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backpressure: the next frame is not made before the last one is encoded."""
    from vidnb.media.show_video import ShowEncoder

    gate, may_encode = Gate(count=20, at=99), threading.Event()
    add = ShowEncoder.add

    def add_late(encoder: ShowEncoder, pixels: Frame) -> None:
        assert may_encode.wait(DEADLINE_S)
        add(encoder, pixels)

    monkeypatch.setattr(ShowEncoder, "add", add_late)
    player = show(iter(gate))
    wait_until(lambda: gate.pulled == 1)
    assert player.encoding.frames == 0
    may_encode.set()
    assert player.encoding.result(DEADLINE_S).frames == 20


def test_segments_are_served_beside_the_url_before_there_is_a_file(show: Any) -> None:
    gate = Gate()
    player = show(iter(gate), route="direct")
    wait_until(lambda: player.encoding.frames == 40)
    url = player.urls[0]["url"]
    folder = url.rpartition("/")[0]
    assert get(url)[0] == 404
    for base in (folder, f"{folder}/h264.none"):
        status, text = get(f"{base}/index.m3u8")
        assert status == 200
        assert text.endswith(b"0.m4s\n#EXTINF:0.733333,\n1.m4s\n")
        assert get(f"{base}/2.m4s")[0] == 404
    parts = [get(f"{folder}/{name}") for name in ("init.mp4", "0.m4s", "1.m4s")]
    assert [status for status, _ in parts] == [200, 200, 200]
    gate.open.set()
    result = player.encoding.result(DEADLINE_S)
    assert get(url) == (200, result.path.read_bytes())
    assert get(f"{folder}/index.m3u8")[1].endswith(b"#EXT-X-ENDLIST\n")
    assert get(f"{folder}/1.m4s") == parts[2]
    player.close()
    assert {get(f"{folder}/index.m3u8")[0], get(url)[0]} == {404}


def get(url: str) -> tuple[int, bytes]:
    """Return the status and the body of a response."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def test_segments_are_offered_by_the_kernel_channel(show: Any) -> None:
    player = show(numbered_frames(9), route="kernel")
    assert [url["route"] for url in player.urls] == ["kernel"]
    assert "files" not in {url["route"] for url in show(numbered_frames(9)).urls}


def test_ffmpeg_plays_a_playlist_that_grows(show: Any) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    gate = Gate()
    player = show(iter(gate), route="direct")
    wait_until(lambda: player.encoding.frames == 40)
    playlist_url = player.urls[0]["url"].rpartition("/")[0] + "/index.m3u8"
    command = [program, "-v", "error", "-nostdin", "-live_start_index", "0", "-i", playlist_url]
    command += ["-pix_fmt", "gray", "-f", "rawvideo", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        first = reading.stdout.read(128 * 160)
        gate.open.set()
        data = first + reading.stdout.read()
    frames = np.frombuffer(data, np.uint8).reshape(-1, 128, 160)
    assert [shown_number(frame) for frame in frames] == list(range(75))


def test_frame_numbers_work_when_the_file_is_complete(
    show: Any, sent: list[dict[str, Any]]
) -> None:
    gate = Gate()
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 40)
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    state = {"v": 1, "view": "view-1", "kind": "state", "event": "loadedmetadata"}
    deliver(player, {**state, "current_time": 0.0, "shown_s": 0.0, "duration": 1.0})
    with pytest.raises(vidnb.MediaError, match=r"no frame numbers yet \(encoding 40 frames\)"):
        player.seek_frame(3)
    gate.open.set()
    player.encoding.result(DEADLINE_S)
    player.seek_frame(50)
    assert sent[-1]["t_s"] == pytest.approx(50.5 / 30)
    deliver(player, {**state, "event": "seeked", "current_time": 50.5 / 30, "shown_s": 50 / 30})
    assert player.frame_index == 50
    assert shown_number(player.frame().image) == 50
    wait_until(lambda: any(content["kind"] == "frame_times" for content in sent))
    (times,) = [content for content in sent if content["kind"] == "frame_times"][:1]
    assert times["count"] == 75


def test_path_keeps_the_complete_file(show: Any, tmp_path: Path, root: Path) -> None:
    path = tmp_path / "kept.mp4"
    path.write_bytes(b"old")
    gate = Gate()
    player = show(iter(gate), path=path, fps=25)
    wait_until(lambda: player.encoding.frames == 40)
    assert path.read_bytes() == b"old"
    gate.open.set()
    result = player.encoding.result(DEADLINE_S)
    assert result.path == path
    assert numbers(path) == list(range(75))
    assert player.name == "kept.mp4"
    assert player._vidnb_encoded.path == path
    player.close()
    wait_until(lambda: list(root.iterdir()) == [])
    assert [one.name for one in tmp_path.iterdir() if one.name != "cache"] == ["kept.mp4"]


def test_a_home_folder_is_expanded_and_a_link_kept(
    show: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    result = show(numbered_frames(3), path="~/link.mp4").encoding.result(DEADLINE_S)
    assert (tmp_path / "link.mp4").is_symlink()
    assert numbers(tmp_path / "real.mp4") == numbers(result.path) == [0, 1, 2]


def test_an_unusable_path_is_refused_at_once(tmp_path: Path, root: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "file" / "a.mp4", tmp_path / "folder.mp4", tmp_path / "pipe.mp4"):
        with pytest.raises(vidnb.StorageError, match="nothing was kept"):
            vidnb.show(numbered_frames(3), path=path)
    with pytest.raises(ValueError, match=r"a\.gif must end with \.mp4"):
        vidnb.show(numbered_frames(3), path=tmp_path / "a.gif")
    assert not root.exists() or list(root.iterdir()) == []


class BrokenError(Exception):
    """An error of the user's own code."""


def broken(at: int) -> Iterator[Frame]:
    yield from numbered_frames(at)
    raise BrokenError("the renderer failed")


@pytest.mark.parametrize("at", [1, 8, 40])
def test_what_came_before_an_error_of_the_generator_plays(
    show: Any, sent: list[dict[str, Any]], at: int, tmp_path: Path
) -> None:
    player = show(broken(at), path=tmp_path / "kept.mp4")
    with pytest.raises(BrokenError, match="the renderer failed"):
        player.encoding.result(DEADLINE_S)
    assert player.encoding.frames == at
    assert "failed after" in repr(player.encoding)
    assert "#EXT-X-ENDLIST" in playlist(player)
    sentence = player.file_problem
    assert f"failed after {at} frame" in sentence
    assert "BrokenError: the renderer failed" in sentence
    assert [content["problem"] for content in sent if content["kind"] == "download_state"][-1] == (
        sentence
    )
    player.seek_frame(at - 1)
    assert numbers(player._vidnb_encoded.path) == list(range(at))
    assert not (tmp_path / "kept.mp4").exists(), "an incomplete file gets no name"


@pytest.mark.parametrize(
    ("frames", "kind", "sentence"),
    [
        (lambda: broken(0), BrokenError, "the renderer failed"),
        (lambda: iter([]), ValueError, "no frames"),
        (lambda: iter([np.zeros((3, 40, 60))]), ValueError, "transpose"),
        (lambda: iter([7]), ValueError, "frame 0 is of the type int"),
    ],
)
def test_without_any_frame_the_player_shows_why(
    show: Any, frames: Callable[[], Any], kind: type[Exception], sentence: str
) -> None:
    player = show(frames())
    with pytest.raises(kind, match=sentence):
        player.encoding.result(DEADLINE_S)
    assert "there is no video" in player.file_problem
    assert player.deliveries == []
    assert player.playback_problem == player.file_problem
    with pytest.raises(vidnb.MediaError, match="failed after 0 frames"):
        player.seek_frame(0)


def test_a_frame_of_another_size_is_named(show: Any) -> None:
    player = show(iter([*numbered_frames(9), np.zeros((64, 64, 3), np.uint8)]))
    with pytest.raises(ValueError, match=r"frame 9 .*\(64, 64, 3\), but frame 0 has \(128, 160\)"):
        player.encoding.result(DEADLINE_S)
    assert numbers(player._vidnb_encoded.path) == list(range(9))


def endless(closed: threading.Event) -> Iterator[Frame]:
    try:
        while True:
            yield from numbered_frames(8)
    finally:
        closed.set()


def test_an_endless_generator_can_be_cancelled(show: Any, root: Path) -> None:
    closed = threading.Event()
    player = show(endless(closed))
    wait_until(lambda: player.encoding.frames > 10)
    player.encoding.cancel()
    player.encoding.cancel()
    assert player.encoding.done
    with pytest.raises(concurrent.futures.CancelledError):
        player.encoding.result(DEADLINE_S)
    assert player.encoding.wait_for_thread(DEADLINE_S)
    assert closed.is_set()
    wait_until(lambda: "cancelled after" in player.file_problem)
    assert len(numbers(player._vidnb_encoded.path)) == player.encoding.frames
    player.close()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("is_kept", [True, False])
def test_closing_the_player_cancels(show: Any, root: Path, tmp_path: Path, is_kept: bool) -> None:
    closed = threading.Event()
    path = tmp_path / "kept.mp4" if is_kept else None
    player = show(endless(closed), path=path)
    wait_until(lambda: player.encoding.frames > 10)
    player.close()
    assert player.encoding.done
    assert closed.wait(DEADLINE_S)
    wait_until(lambda: list(root.iterdir()) == [])
    assert [one.name for one in tmp_path.iterdir()] == ["cache"]


def test_a_generator_that_waits_does_not_delay_cancelling(show: Any) -> None:
    gate = Gate()
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 40)
    player.encoding.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        player.encoding.result(0)
    assert not gate.closed.is_set()
    player.close()
    gate.open.set()
    assert gate.closed.wait(DEADLINE_S)
    assert gate.pulled == 41


def test_the_result_can_be_waited_for_in_a_coroutine(show: Any) -> None:
    player = show(numbered_frames(5))

    async def wait() -> vidnb.ShowResult:
        result: vidnb.ShowResult = await player.encoding
        return result

    assert asyncio.run(wait()).frames == 5


def test_waiting_ends_after_the_timeout_and_leaves_the_encoding(show: Any) -> None:
    gate = Gate()
    player = show(iter(gate))
    with pytest.raises(TimeoutError):
        player.encoding.result(0.01)
    assert not player.encoding.done
    gate.open.set()
    assert player.encoding.result(DEADLINE_S).frames == 75


def test_an_interrupt_of_the_cell_leaves_the_encoding(show: Any) -> None:
    gate = Gate()
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 40)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        player.encoding.result(DEADLINE_S)
    timer.join()
    gate.open.set()
    assert player.encoding.result(DEADLINE_S).frames == 75


def test_the_toolbar_shows_how_many_frames_are_encoded(
    show: Any, sent: list[dict[str, Any]]
) -> None:
    gate = Gate()
    player = show(iter(gate))
    wait_until(lambda: player.encoding.frames == 40)
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    (state,) = [one for one in sent if one["kind"] == "download_state" and one["view"]]
    assert (state["state"], state["text"]) == ("encoding", "encoding 40 frames")
    gate.open.set()
    player.encoding.result(DEADLINE_S)
    deliver(player, {"v": 1, "view": "view-2", "kind": "ready"})
    state = [one for one in sent if one["kind"] == "download_state" and one["view"]][-1]
    assert (state["state"], state["text"]) == ("saved", "")
    assert state["note"] == "encoded 75 frames"
    assert json.dumps(state)


def test_the_number_of_all_frames_is_shown_where_it_is_known(show: Any) -> None:
    gate = Gate()

    class Sized:
        def __len__(self) -> int:
            return 75

        def __iter__(self) -> Iterator[Frame]:
            return iter(gate)

    player = show(Sized())
    wait_until(lambda: player.encoding.frames == 40)
    assert repr(player.encoding) == "<Encoding: encoding 40 of 75 frames>"
    gate.open.set()
    player.encoding.result(DEADLINE_S)


@pytest.mark.parametrize("progress", [None, True, False])
def test_progress_can_be_left_out_of_the_toolbar(
    show: Any, sent: list[dict[str, Any]], progress: bool | None
) -> None:
    gate = Gate()
    show(iter(gate), progress=progress)
    expected = "" if progress is False else "encoding 40 frames"

    def notes() -> list[tuple[str, str]]:
        return [(one["note"], one["text"]) for one in sent if one["kind"] == "download_state"]

    # Also while the generator waits: the last number is shown, not one from 0.2 s before.
    wait_until(lambda: ("encoding 40 frames", expected) in notes())
    gate.open.set()


def test_a_function_gets_the_progress(show: Any) -> None:
    seen: list[ExportProgress] = []
    show(numbered_frames(20), progress=seen.append).encoding.result(DEADLINE_S)
    assert (seen[-1].done_frames, seen[-1].total_frames) == (20, 20)
    assert seen == sorted(seen, key=lambda one: one.done_frames)


def test_a_progress_function_that_fails_does_not_stop_the_encoding(
    show: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ExportProgress) -> None:
        raise BrokenError

    with caplog.at_level(logging.ERROR):
        assert show(numbered_frames(20), progress=fail).encoding.result(DEADLINE_S).frames == 20
    assert [record.message for record in caplog.records] == [
        "The progress function failed and is not called any more."
    ]


def test_a_dict_is_compared_under_one_clock(show: Any, tmp_path: Path) -> None:
    videos = {
        "noisy": numbered_frames(20),
        7: iter(numbered_frames(25)),
        "grey/ü": numbered_frames(9),
    }
    comparison = show(videos, path=tmp_path / "videos")
    assert comparison.labels == ["noisy", "7", "grey/ü"]
    results = [player.encoding.result(DEADLINE_S) for player in comparison.players]
    assert [result.frames for result in results] == [20, 25, 9]
    assert [result.path.name for result in results] == ["noisy.mp4", "7.mp4", "grey_ü.mp4"]
    assert {result.path.parent for result in results} == {tmp_path / "videos"}
    assert [player.name for player in comparison.players] == comparison.labels
    assert isinstance(comparison, vidnb.Comparison)


def test_closing_a_comparison_closes_its_players(show: Any, root: Path) -> None:
    closed = [threading.Event(), threading.Event()]
    comparison = show({"a": endless(closed[0]), "b": endless(closed[1])})
    wait_until(lambda: all(player.encoding.frames for player in comparison.players))
    comparison.close()
    for event in closed:
        assert event.wait(DEADLINE_S)
    wait_until(lambda: list(root.iterdir()) == [])


def test_titles_replace_the_names(show: Any) -> None:
    assert show({"a": numbered_frames(3), "b": numbered_frames(3)}, titles=["A", "B"]).labels == [
        "A",
        "B",
    ]
    assert show(numbered_frames(3), titles="my frames").name == "my frames"
    assert show(numbered_frames(3), titles=["my frames"]).name == "my frames"
    assert show(numbered_frames(3)).name == "frames.mp4"
    for titles in (["A"], "A", ["A", "B", "C"]):
        with pytest.raises(ValueError, match="one text for each of the 2 videos"):
            vidnb.show({"a": numbered_frames(3), "b": numbered_frames(3)}, titles=titles)


def test_one_bad_video_of_a_dict_starts_none(root: Path, tmp_path: Path) -> None:
    closed = threading.Event()
    with pytest.raises(ValueError, match="the frames are uint16"):
        vidnb.show({"a": endless(closed), "b": np.zeros((3, 4, 6), np.uint16)})
    with pytest.raises(ValueError, match=r"two of the videos would be saved as a_b\.mp4"):
        vidnb.show({"a/b": numbered_frames(3), "a:b": numbered_frames(3)}, path=tmp_path)
    for frames in ({}, {"a": {"b": numbered_frames(3)}}):
        with pytest.raises(ValueError, match="dict"):
            vidnb.show(frames)
    wait_until(lambda: not root.exists() or list(root.iterdir()) == [])


def test_options_of_play_are_passed_on(show: Any) -> None:
    player = show(
        numbered_frames(40),
        loop=False,
        start_s=0.5,
        autoplay=True,
        muted=True,
        width=320,
        markers=[(0.3, "here")],
        subtitles="WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n",
        poster="data:image/png;base64,iVBORw0KGgo=",
        route="direct",
    )
    assert (player.start_s, player.autoplay, player.start_muted) == (0.5, True, True)
    assert (player.width, player.start_loop) == (320, False)
    assert [marker["label"] for marker in player.marker_list] == ["here"]
    assert len(player.tracks) == len(player.poster) == 1
    assert [url["route"] for url in player.urls] == ["direct"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"save_to": "a.mp4"}, "'save_to' is not an option of show; pass path="),
        ({"end_s": 3}, "'end_s' is not an option of show; pass the frames"),
        ({"convert": "auto"}, "'convert' is not an option of show; frames are always"),
        ({"rate": 30}, "'rate' is not an option of show; there are: start_s, autoplay"),
        ({"labels": ["a"]}, "'labels' is not an option"),
    ],
)
def test_another_option_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        vidnb.show(numbered_frames(3), **options)


@pytest.mark.parametrize(
    "options",
    [{"fps": 0}, {"fps": "fast"}, {"progress": 3}, {"start_s": -1}, {"width": 0}, {"route": "?"}],
)
def test_a_bad_argument_starts_nothing(options: dict[str, Any], root: Path) -> None:
    closed = threading.Event()
    with pytest.raises(ValueError, match=f"{next(iter(options))}"):
        vidnb.show(endless(closed), **options)
    assert not any(one.name == "vidnb-show" for one in threading.enumerate())
    assert not root.exists() or list(root.iterdir()) == []


def test_the_least_recently_used_videos_are_removed(
    show: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = show(numbered_frames(40))
    path = first.encoding.result(DEADLINE_S).path
    first.close()
    assert path.is_file(), "it can be found by the result until the space is needed"
    second = show(numbered_frames(40))
    second.encoding.result(DEADLINE_S)
    monkeypatch.setenv("VIDNB_SHOWN_CACHE_BYTES", "1")
    third = show(numbered_frames(40))
    kept = third.encoding.result(DEADLINE_S).path
    assert not path.exists()
    assert second._vidnb_encoded.path.is_file(), "it is shown"
    assert kept.is_file()


def test_only_the_complete_file_is_left_in_the_cache(show: Any, root: Path) -> None:
    player = show(numbered_frames(40))
    path = player.encoding.result(DEADLINE_S).path
    assert {one.name for one in path.parent.iterdir()} == {"frames.mp4", ".vidnb-in-use"}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    player.close()
    assert [one.name for one in root.iterdir()] == [path.parent.name]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_is_named(show: Any, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    from vidnb.media.growing_video import GrowingVideo

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(GrowingVideo, "add_segment", fail)
    player = show(numbered_frames(75))
    with pytest.raises(vidnb.StorageError, match="could not be written"):
        player.encoding.result(DEADLINE_S)


def test_the_notebook_holds_nothing_of_the_frames(show: Any) -> None:
    rng = np.random.default_rng(0)
    player = show(rng.integers(0, 256, (30, 128, 160, 3), np.uint8))
    player.encoding.result(DEADLINE_S)
    assert len(json.dumps(player.get_state(), default=str)) < 120_000 + len(player._esm)
    state = {k: v for k, v in player.get_state().items() if k not in {"_esm", "_css"}}
    assert len(json.dumps(state, default=str)) < 8000


def test_nothing_is_left_when_a_script_ends(tmp_path: Path) -> None:
    script = """
import sys, numpy as np, vidnb
def frames():
    while True:
        yield np.zeros((64, 64), np.uint8)
player = vidnb.show(frames(), path=sys.argv[1])
while player.encoding.frames < 20:
    pass
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", script, str(tmp_path / "kept.mp4")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [one.name for one in tmp_path.iterdir()] == ["home"]


def test_pyav_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(vidnb.MissingExtra, match=r"pip install 'vidnb\[media\]'"):
        vidnb.show(numbered_frames(3))


def test_a_rate_is_exact(show: Any) -> None:
    result = show(numbered_frames(30), fps=Fraction(30000, 1001)).encoding.result(DEADLINE_S)
    assert result.duration_s == pytest.approx(1.001)
