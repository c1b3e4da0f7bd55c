"""What clips and conversions promise alike: a complete file or none, progress, and an end."""

import concurrent.futures
import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import vidnb
from tests.clips import clip
from tests.deadline import DEADLINE_S
from vidnb import cli
from vidnb.media.export import ExportProgress, Work

Export: TypeAlias = Callable[..., Any]


def cut(source: object, path: Path, **options: Any) -> Any:
    return vidnb.clip(source, 0.2, 1.8, path, mode="exact", **options)  # type: ignore[arg-type]


EXPORTS = [pytest.param(cut, id="clip"), pytest.param(vidnb.convert, id="convert")]


@pytest.fixture(params=EXPORTS)
def export(request: pytest.FixtureRequest) -> Export:
    return request.param  # type: ignore[no-any-return]


def test_an_existing_file_is_replaced_when_the_new_one_is_complete(
    export: Export, tmp_path: Path
) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"old")
    seen = []
    export(clip("h264.mp4"), path, progress=lambda _: seen.append(path.read_bytes()))
    assert set(seen[:-1]) <= {b"old"}
    assert path.read_bytes()[4:8] == b"ftyp"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_kept(export: Export, tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"old")
    path = tmp_path / "link.mp4"
    path.symlink_to("real.mp4")
    assert export(clip("h264.mp4"), path).path == path
    assert path.is_symlink()
    assert (tmp_path / "real.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_unfinished_file_of_a_link_lies_beside_its_target(
    export: Export, tmp_path: Path
) -> None:
    """It may be on another disk, to which no file can be renamed."""
    target = tmp_path / "disk" / "real.mp4"
    target.parent.mkdir()
    path = tmp_path / "link.mp4"
    path.symlink_to(target)
    seen: list[list[str]] = []
    export(
        clip("h264.mp4"),
        path,
        progress=lambda _: seen.append(sorted(one.name for one in tmp_path.iterdir())),
    )
    assert all(names == ["disk", "link.mp4"] for names in seen)
    assert target.read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link into nothing"])
def test_what_is_no_file_is_never_replaced(export: Export, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        other = tmp_path / ("pipe" if kind == "link to a pipe" else "missing/made.mp4")
        if kind == "link to a pipe":
            os.mkfifo(other)
        path.symlink_to(other)
    before = sorted((one.name, one.lstat().st_ino) for one in tmp_path.iterdir())
    with pytest.raises(vidnb.StorageError, match=r"could not be written: it is .*nothing was kept"):
        export(clip("h264.mp4"), path)
    assert sorted((one.name, one.lstat().st_ino) for one in tmp_path.iterdir()) == before


def test_a_folder_is_no_name_for_a_conversion(tmp_path: Path) -> None:
    (tmp_path / "made.mp4").mkdir()
    with pytest.raises(vidnb.StorageError, match="it is a folder"):
        vidnb.convert(clip("h264.mp4"), tmp_path / "made.mp4")


def test_the_source_is_never_replaced(export: Export, tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(clip("h264.mp4").read_bytes())
    (tmp_path / "hard link.mp4").hardlink_to(source)
    for path in (source, tmp_path / "hard link.mp4"):
        with pytest.raises(ValueError, match="is the source itself; choose another path"):
            export(source, path)
    assert source.read_bytes() == clip("h264.mp4").read_bytes()


@pytest.mark.parametrize("data", [b"", b"no video" * 100, None])
def test_what_is_no_video_leaves_nothing(
    data: bytes | None, export: Export, tmp_path: Path
) -> None:
    source = tmp_path / "source.mp4"
    if data is not None:
        source.write_bytes(data)
    with pytest.raises(vidnb.MediaError, match=r"source\.mp4") as caught:
        export(source, tmp_path / "made.mp4")
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "made.mp4").exists()
    assert not (tmp_path / ".vidnb").exists()


def test_progress_counts_up_to_all_frames(export: Export, tmp_path: Path) -> None:
    seen: list[ExportProgress] = []
    export(clip("h264.mp4"), tmp_path / "made.mp4", progress=seen.append)
    assert seen[-1].done_frames == seen[-1].total_frames > 0
    done = [one.done_frames for one in seen]
    assert done == sorted(done)


class Blocked(io.BytesIO):
    """A source whose reads wait, once the temporary file of the export in `folder` exists."""

    def __init__(self, folder: Path) -> None:
        super().__init__(clip("h264.mp4").read_bytes())
        self.goes_on = threading.Event()
        self._folder = folder

    def is_writing(self) -> bool:
        return any(self._folder.glob(".vidnb/*.part"))

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_writing():
            assert self.goes_on.wait(DEADLINE_S)
        return super().read(size)


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    """Yield a source that goes on when the export is told to stop."""
    with Blocked(tmp_path) as source:
        stop = Work.stop

        def stop_and_go_on(work: Work) -> None:
            stop(work)
            source.goes_on.set()

        monkeypatch.setattr(Work, "stop", stop_and_go_on)
        yield source
        source.goes_on.set()


def test_an_event_cancels_from_any_thread(export: Export, blocked: Blocked, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"old")
    cancel = threading.Event()

    def press(_: ExportProgress) -> None:
        if blocked.is_writing():
            cancel.set()
            blocked.goes_on.set()

    with pytest.raises(concurrent.futures.CancelledError):
        export(blocked, path, cancel=cancel, progress=press)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_event_that_is_set_already_starts_nothing(export: Export, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(concurrent.futures.CancelledError):
        export(clip("h264.mp4"), tmp_path / "made.mp4", cancel=cancel)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_what_interrupts_the_caller_leaves_nothing(
    raised: type[BaseException], export: Export, blocked: Blocked, tmp_path: Path
) -> None:
    def interrupt(_: ExportProgress) -> None:
        if blocked.is_writing():
            if raised is KeyboardInterrupt and os.name == "posix":
                signal.raise_signal(signal.SIGINT)
            raise raised

    with pytest.raises(raised) as caught:
        export(blocked, tmp_path / "made.mp4", progress=interrupt)
    notes = getattr(caught.value, "__notes__", [""])
    assert ("was interrupted: nothing was kept" in notes[0]) is (raised is KeyboardInterrupt)
    assert not list(tmp_path.iterdir())


def test_two_at_once_for_one_name_are_both_complete(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(export, clip("h264.mp4"), path, progress=False) for _ in range(2)]
        sizes = [job.result(DEADLINE_S).size_bytes for job in jobs]
    assert path.stat().st_size in sizes
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX")
@pytest.mark.parametrize("limit", [0, 3000])
def test_a_disk_that_takes_no_more_is_one_sentence(
    limit: int, export: Export, tmp_path: Path
) -> None:
    call = (
        "vidnb.clip(sys.argv[1], 0, 2, sys.argv[2])"
        if export is cut
        else "vidnb.convert(*sys.argv[1:])"
    )
    code = (
        "import resource, sys, vidnb\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"try: {call}\n"
        "except vidnb.StorageError as error: print(error)\n"
    )
    path = tmp_path / "made.mp4"
    command = [sys.executable, "-c", code, str(clip("h264.mp4")), str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    expected = "could not be written: the file became larger than this system allows"
    assert expected in ran.stdout, ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(export: Export, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(vidnb.StorageError, match="a folder in its path is a file"):
        export(clip("h264.mp4"), tmp_path / "file" / "made.mp4")


def test_without_pyav_the_command_is_named(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(vidnb.MissingExtra, match=r"pip install 'vidnb\[media\]'"):
        export(clip("h264.mp4"), tmp_path / "made.mp4")


def test_no_thread_stays(export: Export, tmp_path: Path) -> None:
    export(clip("h264.mp4"), tmp_path / "made.mp4")
    with contextlib.suppress(StopIteration):
        thread = next(one for one in threading.enumerate() if one.name.startswith("vidnb-export"))
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_the_command_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, path = str(clip("h264.mp4")), tmp_path / "c.mp4"
    assert cli.main(["clip", "--exact", "--quiet", source, "0.6", "0:01", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{path}\n"
    assert captured.err.startswith("10 frames from 0.600 to 1.000 s, ")
    assert cli.main(["clip", source, "1:0x", "2", str(path)]) == 1
    assert "is not a time" in capsys.readouterr().err


def test_the_command_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, path = str(clip("h264.mp4")), tmp_path / "c.gif"
    options = ["--width", "80", "--fps", "5", "--quiet"]
    assert cli.main(["convert", *options, source, str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes().startswith(b"GIF89a")
    assert cli.main(["convert", source, str(tmp_path / "c.xyz")]) == 1
    assert "the suffix chooses the format" in capsys.readouterr().err
