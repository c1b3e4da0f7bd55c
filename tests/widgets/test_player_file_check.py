"""A truncated file is reported as a sentence before the browser reaches its end."""

from pathlib import Path

import pytest

import vidnb
from vidnb.widgets.player import files


def problem(path: Path) -> str:
    player = vidnb.play(path)
    player.close()
    return player.file_problem


def test_a_complete_file_has_no_problem(tmp_path: Path) -> None:
    assert problem(vidnb.sample()) == ""
    page = tmp_path / "page.mp4"
    page.write_bytes(b"<html>not a film</html>")
    assert problem(page) == "", "it is no MP4: the browser reports it"


def test_a_file_that_ends_early_says_what_is_missing(tmp_path: Path) -> None:
    data = vidnb.sample().read_bytes()
    short = tmp_path / "short film.mp4"
    short.write_bytes(data[:-1000])
    assert problem(short) == (
        "short film.mp4 ends early (mdat runs 1000 bytes past the end), so it plays up to there: "
        "download or write the file again, then run the cell again."
    )
    moov = data.index(b"moov") - 4
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(data[:moov])
    assert "moov is missing), so it does not play" in problem(headless)
    mdat = data.index(b"mdat") - 4
    headless.write_bytes(data[:moov] + data[mdat:])
    assert "moov is missing), so it does not play" in problem(headless)
    headless.write_bytes(data[:moov] + data[mdat:-1000])  # its index was at the end
    assert "mdat runs 1000 bytes past the end), so it does not play" in problem(headless)


def test_an_unreadable_file_has_no_problem_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gone.mp4"
    path.write_bytes(vidnb.sample().read_bytes())
    with vidnb.serve(path) as served:
        path.unlink()
        assert files.file_problem(served) == ""
        path.write_bytes(b"")
        assert files.file_problem(served) == "", "it has changed since it was registered"
    monkeypatch.setattr(files, "_MAX_BOXES", 1)
    assert problem(vidnb.sample()) == ""
