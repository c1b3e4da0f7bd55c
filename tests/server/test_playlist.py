"""Playlists of real files, read by ffmpeg, ffprobe and PyAV as other players read them."""

import asyncio
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.media import clips
from tests.origin import Film, Origin
from tests.server.fake_segments import on_loop, segment_threads, sessions
from tests.server.test_segment_http import ask
from tests.server.test_server import descriptors
from vidnb.download import cache
from vidnb.io import loop
from vidnb.server import segment_cache, segment_service
from vidnb.server.server import Served, serve
from vidnb.server.source_streams import SourceStream

LONG = {
    # name: variant by default
    "h264.mkv": "copy.copy",
    "h264.ts": "copy.copy",
    "mpeg4.avi": "h264.aac",
}


@pytest.fixture(autouse=True)
def own_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service and caches of the test's own, whose threads end with the test."""
    monkeypatch.setattr(segment_cache, "segment_root", lambda: tmp_path / "segments")
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(segment_service, "_service", segment_service.SegmentService())
    yield
    wait_until(lambda: not segment_threads())


def clip(name: str, seconds: float = 9) -> Path:
    options = f"{clips._TONE} {clips.CLIPS[name]}"
    prefix = "long" if seconds == 9 else f"{seconds}-s"
    return clips.made(f"{prefix}-{name}", options, seconds=seconds)


def run(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [path, "-v", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def decoded(source: str | Path, kind: str = "v") -> list[tuple[float, str]]:
    """Return the time (s) and the checksum of what ffmpeg decodes, in order."""
    text = run(
        *("ffmpeg", "-copyts", "-t", "60", "-i", str(source), "-map", f"0:{kind}"),
        *("-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-f", "framemd5", "-"),
    )
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    return [(int(row[2]) / 90000, row[5].strip()) for row in rows]


def parts(served: Served, variant: str) -> list[str]:
    """Return the names of all parts of a variant."""
    lines = ask(served, f"{variant}/index.m3u8").body.decode().splitlines()
    names = [line for line in lines if not line.startswith("#")]
    return [f"{variant}/{name}" for name in ("index.m3u8", "init.mp4", *names)]


@pytest.mark.parametrize("name", LONG)
def test_ffmpeg_decodes_all_frames_of_the_source_at_their_times(name: str) -> None:
    expected = decoded(clip(name))
    assert len(expected) == 225
    with serve(clip(name)) as served:
        found = decoded(served.playlist_url)
        assert f"{LONG[name]}/init.mp4" in ask(served, "index.m3u8").body.decode()
    assert [time_s for time_s, _ in found] == pytest.approx([one for one, _ in expected], abs=2e-5)
    if LONG[name] == "copy.copy":
        assert [picture for _, picture in found] == [picture for _, picture in expected]


@pytest.mark.slow  # mpv plays in real time
@pytest.mark.parametrize("name", LONG)
def test_mpv_plays_to_the_end(name: str, tmp_path: Path) -> None:
    mpv = shutil.which("mpv")
    if mpv is None:
        pytest.skip("mpv is not installed")
    log = tmp_path / "mpv.log"
    options = ["--no-config", "--vo=null", "--ao=null", "--no-terminal", f"--log-file={log}"]
    with serve(clip(name)) as served:
        # Without a seek: FFmpeg 5.1 finds nothing after one in fMP4 segments, in its own neither.
        subprocess.run([mpv, *options, served.playlist_url], check=True, timeout=DEADLINE_S)
    assert "(End of file)" in log.read_text()  # not an error


@pytest.mark.parametrize("name", LONG)
def test_ffprobe_finds_the_duration(name: str) -> None:
    arguments = ("-show_entries", "format=duration", "-of", "csv=p=0", "-i")
    expected_s = float(run("ffprobe", *arguments, str(clip(name))))
    with serve(clip(name)) as served:
        found_s = float(run("ffprobe", *arguments, served.playlist_url))
    assert found_s == pytest.approx(expected_s, abs=0.05)


@pytest.mark.parametrize(
    ("name", "variant"),
    [("h264.mkv", "copy.copy"), ("h264.ts", "copy.copy"), ("mpeg4.avi", "h264.aac")],
)
def test_segments_in_random_order_equal_those_in_order(
    name: str, variant: str, tmp_path: Path
) -> None:
    with serve(clip(name)) as served:
        names = parts(served, variant)
        assert len(names) == 7
        in_order = {one: ask(served, one).body for one in names}
    wait_until(lambda: not segment_threads())
    shutil.rmtree(tmp_path / "segments")
    order = random.Random(name).choices(names, k=20)
    with serve(clip(name)) as served, ThreadPoolExecutor(4) as pool:
        for one, found in zip(order, pool.map(lambda part: ask(served, part), order), strict=True):
            assert (found.status, found.body) == (200, in_order[one])
    assert all(in_order.values())


@pytest.mark.parametrize("name", ["h264-tail.mp4", "h264.mov"])
@pytest.mark.parametrize("variant", ["", "copy.copy/", "h264.aac/"])
def test_a_file_that_is_truncated_meanwhile_is_a_422(
    name: str, variant: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    shutil.copy(clips.clip(name), path)
    with serve(path) as served:
        assert ask(served, f"{variant}0.m4s").status == 200
        os.truncate(path, path.stat().st_size // 2)
        found = ask(served, f"{variant}1.m4s")
    assert found.status == 422
    assert found.body.decode().startswith(f"{name} is truncated")
    assert str(tmp_path) not in found.body.decode()


@pytest.mark.parametrize("content", [b"no video", b"", bytes(5000), b"\x1aE\xdf\xa3" * 99])
def test_a_file_that_is_no_video_is_a_422(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(content)
    with serve(path) as served:
        for name in ("index.m3u8", "copy.copy/index.m3u8", "h264.aac/0.m4s"):
            found = ask(served, name)
            assert found.status == 422
            assert "clip.mkv" in found.body.decode()
            assert str(tmp_path) not in found.body.decode()


def test_without_pyav_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with serve(clip("h264.mkv")) as served:
        for name in ("index.m3u8", "copy.copy/0.m4s"):
            found = ask(served, name)
            assert found.status == 422
            assert b"pip install 'vidnb[media]'" in found.body


@pytest.mark.parametrize("variant", ["copy.copy", "h264.aac"])
def test_the_first_segments_of_a_download_come_before_its_end(variant: str) -> None:
    options = f"{clips._TONE} {clips._NOISE} -c:v libx264 -preset ultrafast -qp 10 -g 25 -c:a aac"
    path = clips.made("large.mkv", options, seconds=20)
    data, times = path.read_bytes(), [time_s for time_s, _ in decoded(path)]
    film = Film(data, media_type="video/x-matroska")
    with Origin(film, rate=len(data) / 10) as origin, serve(f"{origin.base}/film.mkv") as served:
        names = ("init.mp4", "0.m4s", "9.m4s")  # the last one is a seek to the end
        init, first, last = (ask(served, f"{variant}/{name}").body for name in names)
        assert origin.sent_bytes < len(data) * 0.8
    for found, expected in ((first, times[:40]), (last, times[-40:])):
        with av.open(io.BytesIO(init + found), "r") as container:
            found_times = [frame.time for frame in container.decode(video=0)]
        assert {round(one, 3) for one in expected} <= {round(one, 3) for one in found_times}


def test_an_idle_maker_leaves_no_thread_and_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment_service, "IDLE_S", 0.1)
    with serve(clip("mpeg4.avi")) as served:
        ask(served, served.name)
        before = descriptors()
        assert ask(served, "h264.aac/2.m4s").status == 200
        wait_until(lambda: not on_loop(sessions) and not segment_threads())
        wait_until(lambda: descriptors() <= before)


@pytest.mark.parametrize("variant", ["copy.copy", "h264.aac"])
def test_random_seeks_leave_nothing_behind(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_SEGMENT_CACHE_BYTES", "0")
    monkeypatch.setattr(segment_cache, "_MEMORY_BYTES", 0)  # one part: all are made again
    monkeypatch.setattr(segment_service, "READ_AHEAD_TRANSCODE", 1)
    seeks = random.Random(1)
    with serve(clip("h264.mkv")) as served:
        ask(served, served.name)
        before = descriptors()
        stream = served._resource.stream(variant)
        assert isinstance(stream, SourceStream)

        async def seek() -> None:
            for _ in range(200):
                request = asyncio.ensure_future(stream.fetch(f"{seeks.randrange(5)}.m4s"))
                if seeks.random() < 0.8:
                    await asyncio.sleep(seeks.choice((0, 0.001, 0.01)))
                    request.cancel()
                await asyncio.gather(request, return_exceptions=True)

        loop.server.run(seek(), timeout_s=DEADLINE_S)
        assert len(segment_threads()) == 1
    wait_until(lambda: not segment_threads())
    wait_until(lambda: descriptors() <= before)
