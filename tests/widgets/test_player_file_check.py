"""A file that is a part of itself: told as a sentence before the browser finds out."""

from pathlib import Path

import pytest

import vidnb
from vidnb.widgets.player import file_check


def flaw(path: Path) -> str:
    player = vidnb.play(path)
    player.close()
    return player.flaw


def test_a_whole_file_has_no_flaw(tmp_path: Path) -> None:
    assert flaw(vidnb.sample()) == ""
    page = tmp_path / "page.mp4"
    page.write_bytes(b"<html>not a film</html>")
    assert flaw(page) == "", "what is no MP4 at all is the browser's to judge"


def test_a_file_that_ends_early_says_what_is_missing(tmp_path: Path) -> None:
    data = vidnb.sample().read_bytes()
    short = tmp_path / "short film.mp4"
    short.write_bytes(data[:-1000])
    assert flaw(short) == (
        "short film.mp4 ends early (mdat runs 1000 bytes past the end), so it plays up to there: "
        "fetch or write the file again, then run the cell again."
    )
    moov = data.index(b"moov") - 4
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(data[:moov])
    assert "moov is missing), so it does not play" in flaw(headless)
    mdat = data.index(b"mdat") - 4
    headless.write_bytes(data[:moov] + data[mdat:])
    assert "moov is missing), so it does not play" in flaw(headless)
    headless.write_bytes(data[:moov] + data[mdat:-1000])  # its index was to come at the end
    assert "mdat runs 1000 bytes past the end), so it does not play" in flaw(headless)


def test_what_cannot_be_read_or_has_no_end_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gone.mp4"
    path.write_bytes(vidnb.sample().read_bytes())
    with vidnb.serve(path) as served:
        path.unlink()
        assert file_check.file_problem(served) == ""
        path.write_bytes(b"")
        assert file_check.file_problem(served) == "", "it has changed since it was registered"
    monkeypatch.setattr(file_check, "_MOST_STEPS", 1)
    assert flaw(vidnb.sample()) == ""
