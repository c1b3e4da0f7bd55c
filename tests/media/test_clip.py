"""`vidnb.clip` against clips whose frames show their own numbers."""

import io
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vidnb
from tests.assets import CACHE, film
from tests.clips import HEIGHT, WIDTH, clip, shown_number
from tests.origin import Film, Origin
from vidnb.download import cache
from vidnb.media.clip import ClipMode

JOINED = [
    "h264.mp4",
    "h264-variable.mp4",
    "h264.mkv",
    "h264.ts",
    "h264.avi",
    "vp8.webm",
    "vp9.webm",
]
WHOLE = ["hevc.mp4", "hevc-10-bit.mkv", "av1.mp4", "mpeg4.avi", "mpeg2.mpg", "wmv.asf"]
OTHERS = [
    "h264-29.97.mp4",
    "h264-open-gop.mp4",
    "h264-open-gop.ts",
    "h264-fragmented.mp4",
    "h264-rotated.mov",
    "h264-edit-list.mp4",
    "h264-field-coded.ts",
    "prores.mov",
    "one-group.mp4",
]


def numbers(path: Path) -> list[int | None]:
    with vidnb.frames(path) as frames:
        return [shown_number(frame.image) for frame in frames]


def cut(name: str, first: int, stop: int, folder: Path, mode: ClipMode) -> tuple[Any, list[int]]:
    """Cut frames `first` to `stop`; check the result and return it with the frames that it has."""
    source = clip(name)
    suffix = source.suffix if source.suffix in {".mp4", ".mov", ".webm", ".ts"} else ".mkv"
    with vidnb.frames(source) as frames:
        times_s = frames.times_s
        wanted = [shown_number(frame.image) for frame in frames]
        end_s = times_s[stop] if stop < len(frames) else 1e9
        result = vidnb.clip(
            source, times_s[first], end_s, folder / f"clip{suffix}", mode=mode, progress=False
        )
        start = frames.index_at(result.start_s)
    kept = list(range(start, start + result.frames))
    assert result.size_bytes == result.path.stat().st_size
    assert result.start_s == pytest.approx(times_s[start])
    if "open-gop" in name and mode == "copy":
        # The frames shown before its key frame are missing. Later ones mark some of them as
        # unused, which an H.264 decoder reports as an error, though it shows the right pictures.
        with vidnb.frames(result.path, damaged="show") as copy:
            found = [shown_number(frame.image) for frame in copy]
        assert found == wanted[start : start + result.frames]
        return result, kept
    assert numbers(result.path) == wanted[start : start + result.frames]
    with vidnb.frames(result.path) as copy:
        expected_s = times_s[kept] - times_s[start]
        assert np.allclose(copy.times_s - copy.times_s[0], expected_s, atol=0.0011)  # .mkv: 1 ms
        assert copy.times_s[0] == pytest.approx(0, abs=0.2)  # of MPEG-TS: the decoding delay
    return result, kept


@pytest.mark.parametrize("name", [*JOINED, *WHOLE, *OTHERS])
def test_an_exact_clip_has_exactly_the_frames_of_the_interval(name: str, tmp_path: Path) -> None:
    result, kept = cut(name, 8, 23, tmp_path, "exact")
    assert kept == list(range(8, 23))
    if name in JOINED:
        assert 0 < result.reencoded_frames < 15
    elif name in WHOLE:
        assert result.reencoded_frames == 15


@pytest.mark.parametrize("name", [*JOINED, *OTHERS, "hevc.mp4", "av1.mp4", "mpeg4.avi"])
def test_a_copied_clip_says_where_it_begins_and_ends(name: str, tmp_path: Path) -> None:
    result, kept = cut(name, 15, 20, tmp_path, "copy")
    assert set(kept) >= set(range(15, 20))
    assert result.reencoded_frames == 0
    with vidnb.frames(clip(name)) as frames:
        assert kept[0] == max(key for key in (0, *frames.keyframes) if key <= 15)
    assert len(kept) <= 20 - kept[0] + 5  # the end of a group of reordered frames


@pytest.mark.parametrize("name", ["h264.mp4", "h264-variable.mkv", "vp9.mp4"])
def test_any_interval_is_exact(name: str, tmp_path: Path) -> None:
    chosen = random.Random(7)
    for _ in range(5):
        first = chosen.randrange(59)
        stop = chosen.randint(first + 1, 60)
        assert cut(name, first, stop, tmp_path, "exact")[1] == list(range(first, stop))


@pytest.mark.parametrize("name", ["prores.mov", "mjpeg.avi"])
def test_a_codec_of_key_frames_only_is_never_encoded(name: str, tmp_path: Path) -> None:
    result, kept = cut(name, 7, 19, tmp_path, "exact")
    assert (result.reencoded_frames, kept) == (0, list(range(7, 19)))


def test_a_clip_that_begins_at_a_key_frame_encodes_its_end_only(tmp_path: Path) -> None:
    result, _ = cut("h264.mp4", 12, 34, tmp_path, "exact")
    assert 0 <= result.reencoded_frames <= 3
    result, _ = cut("h264.mp4", 12, 60, tmp_path, "exact")
    assert result.reencoded_frames == 0


@pytest.mark.parametrize("name", JOINED)
def test_a_joined_clip_can_be_read_from_any_key_frame(name: str, tmp_path: Path) -> None:
    result, _ = cut(name, 5, 58, tmp_path, "exact")
    with vidnb.frames(result.path, cache_bytes=1) as frames:
        order = random.Random(3).sample(range(53), 12)
        assert [shown_number(frames[index].image) for index in order] == [n + 5 for n in order]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "vp9.webm", "h264-open-gop.mp4"])
@pytest.mark.parametrize("mode", ["copy", "exact"])
def test_another_ffmpeg_decodes_the_same_frames(name: str, mode: ClipMode, tmp_path: Path) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    result, kept = cut(name, 15, 34, tmp_path, mode)
    options = ["-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    command = [program, "-v", "error", "-i", str(result.path), *options]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    pictures = np.frombuffer(pixels, np.uint8).reshape(-1, HEIGHT, WIDTH)
    assert [shown_number(picture) for picture in pictures] == kept


def test_a_frame_that_begins_before_the_interval_is_shown_in_it(tmp_path: Path) -> None:
    result = vidnb.clip(clip("h264.mp4"), 0.41, 0.81, tmp_path / "c.mp4", mode="exact")
    assert (result.start_s, result.end_s, result.frames) == (0.4, 0.84, 11)
    assert numbers(result.path) == list(range(10, 21))


def test_an_end_after_the_last_frame_is_the_end_of_the_video(tmp_path: Path) -> None:
    result = vidnb.clip(clip("h264.mp4"), 2.2, float("inf"), tmp_path / "c.mp4", mode="exact")
    assert (result.end_s, result.frames) == (2.4, 5)
    with av.open(str(result.path)) as made:
        assert made.duration == 200_000  # the last frame is shown as long as in the source


def made(name: str, arguments: list[str]) -> Path:
    """Return a file with sound, made by ffmpeg once."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    path = CACHE / "clip-sources-1" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{name}")
        subprocess.run([program, "-v", "error", "-y", *arguments, str(part)], check=True)
        part.replace(path)
    return path


def beep(name: str, sound: str) -> Path:
    """Return 4 s of video that turns white at the time at which a tone begins: after 2 s."""
    video = "color=black:s=160x120:r=25:d=4,drawbox=c=white:t=fill:enable='gte(t,1.99)'"
    tone = "aevalsrc=gte(t\\,2)*sin(6283*t)*0.8:s=48000:d=4"
    codec = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 20"
    inputs = ["-f", "lavfi", "-i", video, "-f", "lavfi", "-i", tone]
    return made(name, [*inputs, *codec.split(), "-c:a", sound])


def white_and_loud_s(path: Path) -> tuple[float, float]:
    """Return when the picture turns white and when the tone begins."""
    with av.open(str(path)) as container:
        white_s = next(
            frame.time
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 128
        )
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        for decoded in container.decode(audio=0):
            for frame in resampler.resample(decoded):
                loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
                if len(loud):
                    return white_s, float(frame.time or 0) + loud[0] / 48000
    raise AssertionError("there is no tone")


@pytest.mark.parametrize("mode", ["copy", "exact"])
@pytest.mark.parametrize(
    ("name", "sound"),
    [("beep.mp4", "aac"), ("beep.mkv", "flac"), ("beep.ts", "aac"), ("beep.mov", "pcm_s16le")],
)
def test_sound_stays_in_step(name: str, sound: str, mode: ClipMode, tmp_path: Path) -> None:
    source = beep(name, sound)
    start_s = vidnb.frames(source).times_s[31]
    result = vidnb.clip(source, start_s, start_s + 2.2, tmp_path / name, mode=mode)
    white_s, loud_s = white_and_loud_s(result.path)
    assert loud_s - white_s == pytest.approx(0, abs=0.002)
    with av.open(str(result.path)) as container:
        assert abs((container.duration or 0) / 1e6 - (result.end_s - result.start_s)) < 0.1


def rich(folder: Path) -> Path:
    """Return a Matroska file with chapters, tags, subtitles, colour facts and an aspect ratio."""
    (folder / "s.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nbefore\n\n"
        "2\n00:00:01,800 --> 00:00:02,200\nwithin\n\n"
        "3\n00:00:03,500 --> 00:00:03,800\nafter\n"
    )
    (folder / "m.txt").write_text(
        ";FFMETADATA1\ntitle=A film\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=one\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=two\n"
    )
    path = folder / "rich.mkv"
    files = [beep("beep.mkv", "flac"), folder / "s.srt", folder / "m.txt"]
    inputs = [word for file in files for word in ("-i", str(file))]
    options = (
        "-map 0 -map 1 -map_metadata 2 -map_chapters 2 -c copy -c:v libx264 -preset ultrafast -g 20"
        " -aspect 16:9 -color_primaries bt709 -color_trc bt709 -colorspace bt709"
        " -metadata:s:a:0 language=deu"
    )
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    subprocess.run([program, "-v", "error", *inputs, *options.split(), str(path)], check=True)
    return path


@pytest.mark.parametrize("mode", ["copy", "exact"])
def test_facts_chapters_tags_and_subtitles_are_kept(mode: ClipMode, tmp_path: Path) -> None:
    result = vidnb.clip(rich(tmp_path), 1.2, 3.0, tmp_path / "clip.mkv", mode=mode)
    start_s = result.start_s
    with av.open(str(result.path)) as container:
        video, sound, words = (container.streams[index] for index in range(3))
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert container.streams.video[0].sample_aspect_ratio == pytest.approx(4 / 3)
        assert (video.type, sound.type, words.type) == ("video", "audio", "subtitle")
        assert container.metadata["title"] == "A film"
        assert sound.metadata["language"] == "deu"
        chapters = [
            (one["metadata"]["title"], float(one["start"] * (one["time_base"] or 1)))
            for one in container.chapters()
        ]
        assert chapters == [("one", 0), ("two", pytest.approx(2 - start_s, abs=0.001))]
        found = [
            (bytes(packet), float((packet.pts or 0) * packet.time_base))
            for packet in container.demux(words)
            if packet.size
        ]
    assert [text for text, _ in found] == [b"before", b"within"]
    assert found[0][1] == pytest.approx(0, abs=0.001)  # it is shown already
    assert found[1][1] == pytest.approx(1.8 - start_s, abs=0.002)
    assert result.left_out == ()


def test_what_a_container_cannot_hold_is_named(tmp_path: Path) -> None:
    result = vidnb.clip(rich(tmp_path), 1.2, 3.0, tmp_path / "clip.mp4")
    assert result.left_out == ("stream 2 (subtitle, srt)",)
    assert "left out: stream 2" in result.describe()


@pytest.mark.parametrize("mode", ["copy", "exact"])
@pytest.mark.parametrize("name", ["h264-rotated.mov", "rotated-open.mov"])
def test_rotation_is_kept(name: str, mode: ClipMode, tmp_path: Path) -> None:
    source = clip("h264-rotated.mov")
    if name == "rotated-open.mov":  # nothing can be joined: all frames are encoded again
        turned = ["-c", "copy", "-metadata:s:v:0", "rotate=270"]
        source = made(name, ["-i", str(clip("one-group.mp4")), *turned])
    result = vidnb.clip(source, 0.4, 1.0, tmp_path / "clip.mov", mode=mode)
    with av.open(str(source)) as before, av.open(str(result.path)) as after:
        turned_by = next(before.decode(video=0)).rotation
        assert next(after.decode(video=0)).rotation == turned_by != 0


def test_a_clip_has_a_name_of_its_own_beside_its_source(tmp_path: Path) -> None:
    source = tmp_path / "a film.mp4"
    shutil.copy(clip("h264.mp4"), source)
    first = vidnb.clip(source, 0.6, 1.0)
    again = vidnb.clip(source, 0.6, 1.0)
    exact = vidnb.clip(source, 0.6, 1.0, mode="exact")
    assert first.path == tmp_path / "a film (00-00-00.480 to 00-00-01.000).mp4"
    assert again.path == tmp_path / "a film (00-00-00.480 to 00-00-01.000) (1).mp4"
    assert exact.path == tmp_path / "a film (00-00-00.600 to 00-00-01.000).mp4"
    (tmp_path / "clips").mkdir()
    assert vidnb.clip(source, 0.6, 1.0, tmp_path / "clips").path.parent == tmp_path / "clips"
    assert not list(tmp_path.glob(".vidnb"))


def test_a_clip_of_a_url_fetches_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with Origin(Film(film().read_bytes()), rate=8e6) as origin:
        result = vidnb.clip(origin.url, 27, 27.5, mode="copy")
        assert origin.sent_bytes < 15e6  # of 22.7 MB
    assert result.path.parent == tmp_path / "work"
    assert result.start_s <= 27
    assert result.end_s >= 27.5
    with vidnb.frames(result.path, size=64) as copy, vidnb.frames(film(), size=64) as frames:
        start = frames.index_at(result.start_s)
        assert np.array_equal(copy[0].image, frames[start].image)
        assert np.array_equal(copy[-1].image, frames[start + result.frames - 1].image)


def test_a_file_object_and_a_result_are_sources(tmp_path: Path) -> None:
    path = clip("h264.mp4")
    with path.open("rb") as file:
        result = vidnb.clip(file, 0.6, 1, tmp_path, mode="exact")
        assert not file.closed
    assert result.path.name == "h264 (00-00-00.600 to 00-00-01.000).mp4"
    download = vidnb.DownloadResult(path, "", path.stat().st_size, "", 0.0)
    assert vidnb.clip(download, 0.6, 1, tmp_path, mode="exact").path.name.startswith("h264 (")
    unnamed = io.BytesIO(clip("vp9.webm").read_bytes())
    result = vidnb.clip(unnamed, 0.6, 1, tmp_path, mode="exact")
    assert result.path.name == "video (00-00-00.600 to 00-00-01.000).mkv"
    assert numbers(result.path) == list(range(15, 25))


@pytest.mark.parametrize(
    ("start_s", "end_s", "sentence"),
    [
        (1, 1, "start_s=1 must lie before end_s=1"),
        (2, 1, "must lie before"),
        (-1, 1, "start_s=-1 must be a number of seconds, 0 or more"),
        (float("nan"), 1, "start_s=nan must be"),
        ("1:00", 70, "start_s='1:00' must be a number"),
        (0, None, "end_s=None must be a number"),
        (2.4, 3, "has no frame from 2.4 to 3 s: its video is shown from 0 to 2.4 s"),
        (100, 200, "has no frame"),
    ],
)
def test_times_that_make_no_clip(start_s: Any, end_s: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        vidnb.clip(clip("h264.mp4"), start_s, end_s, tmp_path / "c.mp4")
    assert not list(tmp_path.iterdir())


def test_an_interval_before_the_first_frame_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no frame from 0 to 1 s"):
        vidnb.clip(beep("beep.ts", "aac"), 0, 1, tmp_path / "c.ts")


def test_what_a_container_cannot_hold_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(vidnb.MediaError, match=r"has h264 video, which a webm file cannot hold"):
        vidnb.clip(clip("h264.mp4"), 0, 1, tmp_path / "c.webm")
    with pytest.raises(ValueError, match=r"must end with one of \.mp4"):
        vidnb.clip(clip("h264.mp4"), 0, 1, tmp_path / "c.xyz")
    with pytest.raises(ValueError, match="mode='fast' must be one of copy, exact"):
        vidnb.clip(clip("h264.mp4"), 0, 1, mode="fast")  # type: ignore[arg-type]  # the point
    edited = clip("h264-edit-list.mp4")
    with pytest.raises(vidnb.MediaError, match="by an edit list"):
        vidnb.clip(edited, 0, 0.2, tmp_path / "c.mkv")
    assert numbers(vidnb.clip(edited, 0, 0.2, tmp_path / "c.mkv", mode="exact").path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.mkv"]
