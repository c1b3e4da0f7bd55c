"""`vidnb.probe` against clips made by ffmpeg, and against ffprobe."""

import io
import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.assets import film
from tests.media.clips import CLIPS, FRAMES, clip, made
from tests.origin import Film, Origin
from vidnb import cli
from vidnb.download import cache
from vidnb.media import probe as probe_module


def ffprobe(path: Path) -> dict[str, Any]:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    options = ["-v", "error", "-show_streams", "-show_format", "-count_frames", "-of", "json"]
    ran = subprocess.run(["ffprobe", *options, str(path)], capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize("name", CLIPS)
def test_the_facts_are_those_of_ffprobe(name: str) -> None:
    path = clip(name)
    info, expected = vidnb.probe(path), ffprobe(path)
    video, audio = expected["streams"]
    (stream,), (sound,) = info.video, info.audio
    assert stream.codec == video["codec_name"]
    assert stream.profile == (None if name == "vp8.webm" else video.get("profile"))
    assert stream.pixel_format == video["pix_fmt"]
    assert (stream.width, stream.height) == (video["width"], video["height"]) == (160, 128)
    assert (stream.display_width, stream.display_height, stream.rotation) == (160, 128, 0)
    assert stream.average_frame_rate == Fraction(video["avg_frame_rate"]) or "avi" in name
    assert stream.frame_count == int(video["nb_read_frames"]) == FRAMES
    assert stream.is_variable_rate is False
    assert stream.bit_depth == 8
    assert stream.longest_key_interval_s == pytest.approx(0.04 if "mjpeg" in name else 1, abs=0.05)
    assert stream.bits_per_s == (int(video["bit_rate"]) if "bit_rate" in video else None)
    assert stream.color_range == {"tv": "limited", "pc": "full", None: None}.get(
        video.get("color_range")
    )
    assert sound.codec == audio["codec_name"]
    assert sound.sample_rate_hz == int(audio["sample_rate"])
    assert (sound.channels, sound.layout) == (1, None if name == "mjpeg.avi" else "mono")
    assert info.size_bytes == path.stat().st_size
    assert info.duration_s == pytest.approx(float(expected["format"]["duration"]), abs=0.05)
    assert info.bits_per_s == pytest.approx(int(expected["format"]["bit_rate"]), rel=0.05)
    assert info.damage is None
    assert (info.name, info.subtitles, info.chapters) == (str(path), (), ())
    is_tail = name in {"h264-tail.mp4", "h264.mov", "hevc.mp4"}
    assert [text for text in info.problems if "faststart" not in text] == []
    assert len(info.problems) == is_tail


@pytest.mark.parametrize(
    ("name", "container", "playable_as"),
    [
        ("h264.mp4", "mp4", "direct"),
        ("h264-fragmented.mp4", "mp4", "direct"),
        ("h264.mov", "quicktime", "direct"),
        ("vp9.webm", "webm", "direct"),
        ("vp8.webm", "webm", "direct"),
        ("h264.mkv", "matroska", "remux"),
        ("h264.ts", "mpegts", "remux"),
        ("h264.flv", "flv", "remux"),
        ("hevc.mp4", "mp4", "transcode"),
        ("mpeg4.avi", "avi", "transcode"),
        ("mjpeg.avi", "avi", "transcode"),
    ],
)
def test_what_a_browser_needs_for_a_file(name: str, container: str, playable_as: str) -> None:
    info = vidnb.probe(clip(name))
    assert (info.container, info.playable_as) == (container, playable_as)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "vp9.webm", "mpeg4.avi"])
def test_a_deep_probe_of_a_good_file_finds_no_damage(name: str) -> None:
    info = vidnb.probe(clip(name), deep=True)
    assert (info.damage, info.problems) == ((), ())
    assert info.video[0].frame_count == FRAMES


def test_a_variable_rate() -> None:
    path = made(
        "variable.mkv", "-vf select='not(eq(mod(n\\,3)\\,1))' -vsync vfr -c:v libx264", seconds=2
    )
    (stream,) = vidnb.probe(path).video
    assert stream.is_variable_rate is True
    assert stream.frame_count == 33


def test_a_rational_rate_and_a_pixel_aspect_ratio() -> None:
    path = made(
        "ntsc.mp4", "-r 30000/1001 -aspect 16:9 -c:v libx264 -movflags +faststart", seconds=1
    )
    (stream,) = vidnb.probe(path).video
    assert stream.average_frame_rate == Fraction(30000, 1001)
    assert stream.sample_aspect_ratio == Fraction(64, 45)
    assert (stream.width, stream.height) == (160, 128)
    assert (stream.display_width, stream.display_height) == (228, 128)
    assert stream.is_variable_rate is False


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_rotation_is_clockwise(angle: int, tmp_path: Path) -> None:
    data = bytearray(clip("h264.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix (ISO/IEC 14496-12 section 8.3.2)
    turned = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[angle]
    a, b, c, d = (value << 16 for value in turned)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    (stream,) = vidnb.probe(tmp_path / "turned.mp4").video
    assert stream.rotation == angle
    shown = (stream.display_width, stream.display_height)
    assert shown == ((160, 128) if angle == 180 else (128, 160))
    assert vidnb.frames(tmp_path / "turned.mp4")[0].image.shape[1::-1] == shown


@pytest.mark.parametrize(
    ("transfer", "hdr"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG"), ("bt709", None)]
)
def test_colours_and_hdr(transfer: str, hdr: str | None) -> None:
    options = (
        f"-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params log-level=none"
        f" -color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc -color_range tv"
    )
    (stream,) = vidnb.probe(made(f"{transfer}.mp4", options, seconds=0.4)).video
    assert (stream.color_primaries, stream.color_transfer) == ("bt2020", transfer)
    assert (stream.color_matrix, stream.color_range) == ("bt2020nc", "limited")
    assert (stream.bit_depth, stream.hdr) == (10, hdr)


def test_static_hdr_metadata() -> None:
    params = (
        "log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
        "L(10000000,1):max-cll=1000,400"
    )
    options = (
        f"-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params {params}"
        " -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc"
    )
    assert vidnb.probe(made("hdr10.mkv", options, seconds=0.4)).video[0].hdr == "HDR10"


def test_chapters_tags_languages_subtitles_and_the_creation_time(tmp_path: Path) -> None:
    (tmp_path / "facts.txt").write_text(
        ";FFMETADATA1\ntitle=A film & more\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\n"
        "title=Opening\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=4000\ntitle=End\n"
    )
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n")
    for name, codec in (("tagged.mkv", "subrip"), ("tagged.mp4", "mov_text")):
        path = tmp_path / name
        words = (
            f"-i {clip('h264.mp4')} -i {tmp_path / 'facts.txt'} -i {tmp_path / 'words.srt'} -map 0"
            f" -map 2 -map_metadata 1 -c copy -c:s {codec} -metadata:s:a:0 language=deu"
            f" -metadata:s:s:0 language=fra -metadata creation_time=2024-05-06T07:08:09Z {path}"
        )
        subprocess.run(["ffmpeg", "-v", "error", *words.split()], check=True)
        info = vidnb.probe(path)
        assert [(c.start_s, c.end_s, c.title) for c in info.chapters] == [
            (0.0, 1.5, "Opening"),
            (1.5, 4.0, "End"),
        ]
        assert info.tags["title"] == "A film & more"
        assert info.audio[0].language == "deu"
        assert [(s.codec, s.language) for s in info.subtitles][:1] == [(codec, "fra")]
        assert info.creation_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
        assert "A film &amp; more" in info._repr_html_()


def test_several_streams_and_a_cover(tmp_path: Path) -> None:
    words = (
        f"-i {clip('h264.mp4')} -i {clip('vp9.webm')} -i {made('cover.png', '-frames:v 1')} -map 0"
        f" -map 1 -map 2 -c copy -disposition:v:2 attached_pic {tmp_path / 'x.mp4'}"
    )
    subprocess.run(["ffmpeg", "-v", "error", *words.split()], check=True)
    info = vidnb.probe(tmp_path / "x.mp4")
    assert [stream.codec for stream in info.video] == ["h264", "vp9"]
    assert [stream.frame_count for stream in info.video] == [FRAMES, FRAMES]
    assert [stream.codec for stream in info.audio] == ["aac", "opus"]
    assert [stream.index for stream in info.video] == [0, 2]


def test_key_frames_that_are_far_apart_are_a_problem() -> None:
    path = made(
        "long-group.mp4", "-c:v libx264 -preset ultrafast -g 999 -sc_threshold 0", seconds=11
    )
    info = vidnb.probe(path)
    assert info.video[0].longest_key_interval_s == pytest.approx(10.96)
    assert any("up to 11.0 s apart" in text for text in info.problems)


def test_a_stream_without_a_decoder(tmp_path: Path) -> None:
    data = clip("h264.mp4").read_bytes().replace(b"avc1", b"xyz1")
    (tmp_path / "film.mp4").write_bytes(data)
    for deep in (False, True):
        info = vidnb.probe(tmp_path / "film.mp4", deep=deep)
        assert (info.video[0].has_decoder, info.video[0].frame_count) == (False, None)
        assert info.playable_as == "transcode"
        assert [text for text in info.problems if "decoder" in text] == [
            (
                "Stream #0 has a codec (unknown) for which this FFmpeg has no decoder; convert it"
                " with another program."
            )
        ]


def test_avi_with_b_frames_is_counted_by_a_deep_probe_only() -> None:
    path = made("b-frames.avi", "-c:v libx264 -g 25 -bf 2", seconds=1)
    assert vidnb.probe(path).video[0].frame_count is None
    assert vidnb.probe(path, deep=True).video[0].frame_count == 25


@pytest.mark.parametrize("name", ["h264.mkv", "h264-fragmented.mp4", "mpeg4.avi"])
def test_a_large_file_without_an_index_is_not_read_as_a_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "_MAX_COUNTED_BYTES", 1000)
    info = vidnb.probe(clip(name))
    assert (info.video[0].frame_count, info.video[0].is_variable_rate) == (None, None)
    assert (info.video[0].width, info.problems) == (160, ())
    assert vidnb.probe(clip("h264.mp4")).video[0].frame_count == FRAMES
    assert vidnb.probe(clip(name), deep=True).video[0].frame_count == FRAMES


@pytest.mark.parametrize(
    ("name", "limit_bytes"),
    [("h264.mp4", None), ("h264-fragmented.mp4", None), ("vp9.webm", None), ("film", 1_500_000)],
)
def test_a_url_costs_its_index(
    name: str, limit_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The film has its index at the end and 22.7 MB; small files are read ahead as a whole."""
    monkeypatch.setattr(cache, "user_cache_path", lambda *_, **__: tmp_path)
    path = film() if name == "film" else clip(name)
    with Origin(Film(path.read_bytes()), rate=3e6) as origin:
        info = vidnb.probe(origin.url)
        assert limit_bytes is None or origin.sent_bytes <= limit_bytes
    local = vidnb.probe(path)
    assert info.name == origin.url
    has_index = name in {"h264.mp4", "film"}
    assert info.video[0].frame_count == (local.video[0].frame_count if has_index else None)
    changes: dict[str, Any] = {
        "frame_count": None,
        "is_variable_rate": None,
        "longest_key_interval_s": None,
    }
    assert replace(info.video[0], **changes) == replace(local.video[0], **changes)
    assert (info.audio, info.duration_s) == (local.audio, local.duration_s)
    assert info.problems == local.problems


def test_a_binary_file_object_stays_open() -> None:
    file = io.BytesIO(clip("h264.mp4").read_bytes())
    assert vidnb.probe(file).video[0].frame_count == FRAMES
    assert not file.closed
    with pytest.raises(ValueError, match="source must be a file that is opened in binary mode"):
        vidnb.probe(io.StringIO("#EXTM3U"))  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("source", [5, None, b"film.mp4"])
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(ValueError, match="source must be"):
        vidnb.probe(source)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(vidnb.MediaError, match=r"nothing\.mp4 cannot be opened: there is no such"):
        vidnb.probe(tmp_path / "nothing.mp4")
    with pytest.raises(vidnb.MediaError, match="it is a folder"):
        vidnb.probe(tmp_path)


def test_the_command_line_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(clip("h264.mp4"))
    assert cli.main(["probe", path]) == 0
    assert re.search(r"Video #0 +H\.264 High · 160 x 128 · 25 fps", capsys.readouterr().out)
    assert cli.main(["probe", path, "--json", "--deep"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["video"][0]["average_frame_rate"] == "25/1"
    assert values["damage"] == []
    assert cli.main(["probe", path + "x"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_without_pyav_the_command_is_named() -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "import vidnb\n"
        "for call in (vidnb.probe, vidnb.sheet):\n"
        "    try:\n"
        "        call('film.mp4')\n"
        "    except vidnb.MissingExtra as error:\n"
        "        print(error.extra, error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.count("pip install 'vidnb[media]'") == 2
    assert ran.stdout.startswith("media ")


def test_side_data_of_an_unknown_type_is_left_out() -> None:
    class Frame:
        @property
        def side_data(self) -> object:
            raise ValueError("99 is not a valid Type")

    assert probe_module._side_data(Frame()) == frozenset()
