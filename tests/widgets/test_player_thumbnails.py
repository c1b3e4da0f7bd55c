"""Thumbnails of a player without a browser: which picture answers a question, and what it costs."""

import builtins
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vidnb
from tests.assets import film
from tests.clips import clip, shown_number
from tests.deadline import wait_until
from tests.origin import Film, Origin
from tests.widgets.comm import deliver
from vidnb.download import cache
from vidnb.media import thumbnails as media_thumbnails
from vidnb.server.source_file import SourceFile
from vidnb.widgets.player import thumbnails
from vidnb.widgets.player.widget import Player

_Sent = list[tuple[dict[str, Any], Any]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> _Sent:
    messages: _Sent = []
    monkeypatch.setattr(
        Player, "send", lambda _self, content, buffers=None: messages.append((content, buffers))
    )
    return messages


def shown(path: Path, sent: _Sent) -> Player:
    """Return a player whose view has received the times of its frames."""
    player = vidnb.play(path)
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    wait_until(lambda: any(content["kind"] == "frame_times" for content, _ in sent))
    return player


@pytest.fixture
def player(sent: _Sent) -> Iterator[Player]:
    made = shown(clip("h264.mp4"), sent)
    yield made
    made.close()


def ask(player: Player, t_s: object, view: str = "view-1") -> None:
    deliver(player, {"v": 1, "view": view, "kind": "thumbnail", "t_s": t_s})


def answers(sent: _Sent) -> _Sent:
    return [one for one in sent if one[0]["kind"] == "thumbnail"]


def answer(player: Player, sent: _Sent, t_s: float) -> tuple[dict[str, Any], int | None]:
    """Ask, and return the answer and the number that the picture shows."""
    before = len(answers(sent))
    ask(player, t_s)
    wait_until(lambda: len(answers(sent)) > before)
    content, buffers = answers(sent)[before]
    return content, None if buffers is None else number_in(buffers)


def number_in(buffers: list[bytes]) -> int | None:
    return shown_number(np.asarray(Image.open(io.BytesIO(buffers[0]))))


@pytest.mark.parametrize(
    ("t_s", "number", "from_s", "until_s"),
    [
        (0, 0, 0.0, 0.48),
        (0.47, 0, 0.0, 0.48),
        (0.48, 12, 0.48, 0.96),  # exactly at the key frame
        (1.5, 36, 1.44, 1.92),
        (2.4, 48, 1.92, None),
        (1e6, 48, 1.92, None),  # after the end
    ],
)
def test_the_picture_is_the_key_frame_at_or_before_the_time(
    player: Player, sent: _Sent, t_s: float, number: int, from_s: float, until_s: float | None
) -> None:
    content, found = answer(player, sent, t_s)
    assert found == number
    assert content["view"] == "view-1"
    assert content["from_s"] == pytest.approx(from_s)
    assert content["until_s"] == (None if until_s is None else pytest.approx(until_s))
    assert content["is_off"] is False


@pytest.mark.parametrize(
    ("name", "t_s", "number"),
    [
        ("h264-variable.mp4", 1.0, 12),
        ("h264-edit-list.mp4", 0.0, 24),  # its first frames have no key frame that is shown
        ("one-group.mp4", 2.0, 0),
        ("vp9.webm", 2.3, 48),
    ],
)
def test_other_files(sent: _Sent, name: str, t_s: float, number: int) -> None:
    player = shown(clip(name), sent)
    content, found = answer(player, sent, t_s)
    table = vidnb.frames(clip(name)).table
    if number == 12:  # of a variable rate: whichever key frame the table names
        number = max(key for key in table.keyframes() if key <= table.index_at(t_s))
    assert found == number
    assert content["from_s"] <= t_s
    player.close()


def test_a_picture_is_made_once(
    player: Player, sent: _Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    jpeg = media_thumbnails.Thumbnailer.jpeg

    def counted(self: media_thumbnails.Thumbnailer, index: int) -> bytes:
        made.append(index)
        return jpeg(self, index)

    monkeypatch.setattr(media_thumbnails.Thumbnailer, "jpeg", counted)
    for t_s in (0.1, 0.5, 0.2, 0.6, 0.1):
        answer(player, sent, t_s)
    assert made == [0, 12]
    monkeypatch.setattr(thumbnails, "MAX_KEPT", 2)
    for t_s in (1.0, 0.5, 0.1):  # the least recently used is forgotten: 12, when 24 is made
        answer(player, sent, t_s)
    assert made == [0, 12, 24, 12, 0]


def test_of_several_questions_of_a_view_the_newest_is_answered(
    player: Player, sent: _Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    jpeg = media_thumbnails.Thumbnailer.jpeg

    def slow(self: media_thumbnails.Thumbnailer, index: int) -> bytes:
        may_go_on.wait()
        return jpeg(self, index)

    monkeypatch.setattr(media_thumbnails.Thumbnailer, "jpeg", slow)
    ask(player, 0.1)
    wait_until(lambda: not player._vidnb_thumbnails._wanted)  # type: ignore[union-attr]
    for t_s in (0.6, 1.1, 2.1):
        ask(player, t_s)
    ask(player, 1.5, view="view-2")
    may_go_on.set()
    wait_until(lambda: len(answers(sent)) == 3)
    found = [(content["view"], number_in(buffers)) for content, buffers in answers(sent)]
    assert found == [("view-1", 0), ("view-1", 48), ("view-2", 36)]


@pytest.mark.parametrize("t_s", [None, "1", -1, float("nan"), float("inf"), True, [1]])
def test_an_invalid_question_is_ignored(player: Player, sent: _Sent, t_s: object) -> None:
    ask(player, t_s)
    answer(player, sent, 0)
    assert len(answers(sent)) == 1


def test_the_decoder_of_frames_is_not_used(player: Player, sent: _Sent) -> None:
    state = {"event": "pause", "paused": True, "current_time": 1.0}
    deliver(player, {"v": 1, "view": "view-1", "kind": "state", **state})
    assert player.frame().index == 25
    decoder = player._vidnb_frames.get()._reader._decoder  # type: ignore[union-attr]
    before = (decoder.seeks, decoder.decoded_frames)
    answer(player, sent, 2.3)
    answer(player, sent, 0.1)
    assert (decoder.seeks, decoder.decoded_frames) == before


def thumbnail_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "vidnb-thumbnails"]


def test_the_thread_runs_only_while_thumbnails_are_asked_for(
    sent: _Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_IDLE_S", 0.05)
    player = shown(clip("h264.mp4"), sent)
    assert thumbnail_threads() == []
    for t_s in (0.1, 2.0):  # and once more after it has ended
        answer(player, sent, t_s)
        wait_until(lambda: thumbnail_threads() == [])
        assert player._vidnb_thumbnails._thumbnailer is None  # type: ignore[union-attr]
    player.close()


def test_a_closed_player_frees_the_decoder_and_answers_no_more(sent: _Sent) -> None:
    player = shown(clip("h264.mp4"), sent)
    answer(player, sent, 0.1)
    player.close()
    wait_until(lambda: thumbnail_threads() == [])
    ask(player, 1.0)
    assert thumbnail_threads() == []
    assert len(answers(sent)) == 1


def test_a_player_that_is_not_pointed_at_imports_no_thumbnails() -> None:
    code = (
        "import sys, threading, vidnb\n"
        "player = vidnb.play(vidnb.sample())\n"
        "assert 'PIL' not in sys.modules\n"
        "assert 'vidnb.media.thumbnails' not in sys.modules\n"
        "assert not [t for t in threading.enumerate() if 'thumbnail' in t.name]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["av", "PIL"])
def test_without_the_extra_they_are_off(
    player: Player, sent: _Sent, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    import_module = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return import_module(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    ask(player, 0.5)
    wait_until(lambda: len(answers(sent)) == 1)
    content, buffers = answers(sent)[0]
    assert (content["is_off"], buffers) == (True, None)


def test_a_file_without_frames_has_none(sent: _Sent, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is not a video, but long enough to be read")
    player = vidnb.play(path)
    assert answer(player, sent, 0.5)[0]["is_off"] is True
    player.close()


@pytest.mark.parametrize("other", [None, "h264-12.5.mp4"])
def test_a_file_that_was_removed_or_replaced_shows_the_frames_of_its_table(
    sent: _Sent, tmp_path: Path, other: str | None
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(clip("h264.mp4").read_bytes())
    player = shown(path, sent)
    path.unlink()
    if other is not None:
        path.write_bytes(clip(other).read_bytes())
    assert answer(player, sent, 1.5)[1] == 36
    player.close()


def test_a_damaged_key_frame_has_no_picture_and_is_not_asked_for_again(
    sent: _Sent, tmp_path: Path
) -> None:
    table = vidnb.frames(clip("h264.mp4")).table
    data = bytearray(clip("h264.mp4").read_bytes())
    start, stop = (table.position(table.packets[24] + after) for after in (0, 1))
    data[start:stop] = bytes(stop - start)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    player = shown(path, sent)
    content, number = answer(player, sent, 1.0)
    assert number is None
    assert content["is_off"] is False
    assert content["from_s"] == pytest.approx(0.96), "the page keeps that there is none"
    assert answer(player, sent, 1.5)[1] == 36
    player.close()


def load_metadata(player: Player, sent: _Sent) -> None:
    """Report that the browser has read the index, and wait for the times of the frames."""
    deliver(player, {"v": 1, "view": "view-1", "kind": "ready"})
    deliver(player, {"v": 1, "view": "view-1", "kind": "state", "event": "loadedmetadata"})
    wait_until(lambda: any(content["kind"] == "frame_times" for content, _ in sent))


def test_a_hover_downloads_nothing(
    sent: _Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    data = film().read_bytes()
    with Origin(Film(data), rate=1e6) as origin:
        player = vidnb.play(origin.url)
        load_metadata(player, sent)
        content, number = answer(player, sent, 29.0)
        assert content["is_off"] is False, "asking again is of use"
        assert "from_s" not in content
        assert number is None
        assert answers(sent)[0][1] is None
        content, _ = answer(player, sent, 0.1)
        assert content["from_s"] == 0.0
        assert answers(sent)[1][1] is not None, "what is stored is shown"
        player.close()


def test_a_file_that_changes_at_its_source_has_none(
    sent: _Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(SourceFile, "tag", property(lambda file: str(id(file))))
    with Origin(Film(clip("h264-faststart.mp4").read_bytes())) as origin:
        player = vidnb.play(origin.url)
        load_metadata(player, sent)
        assert answer(player, sent, 0.1)[0]["is_off"] is True
        player.close()
