"""Which ways to play a real file there are, and how little of it is read for that."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import vidnb
from tests.assets import CACHE, made_by_ffmpeg
from tests.clips import clip
from tests.deadline import DEADLINE_S
from tests.media import clips
from tests.media.test_picture_filters import MATRICES, interlaced, turned
from tests.origin import Film, Origin
from vidnb.errors import MissingExtra
from vidnb.media.container import MediaFile
from vidnb.media.playback import read_playback
from vidnb.media.segments import SegmentMaker

ROOT = Path(__file__).parent.parent.parent
ENCODED = ["h264.aac", "h264.opus"]


def variants(source: Any) -> list[str]:
    return [one.variant or "direct" for one in read_playback(source).deliveries]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h264.mp4", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("h264-tail.mp4", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("h264-fragmented.mp4", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("h264.mov", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("h264.mkv", ["copy.copy", "copy.opus", *ENCODED]),
        ("h264.ts", ["copy.copy", "copy.opus", *ENCODED]),
        ("h264.flv", ["copy.copy", "copy.opus", *ENCODED]),
        ("hevc.mp4", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("vp9.webm", ["direct", "copy.copy", "copy.aac", *ENCODED]),
        ("vp8.webm", ["direct", *ENCODED]),
        ("mpeg4.avi", ENCODED),
        ("mjpeg.avi", ENCODED),
    ],
)
def test_files_with_sound(name: str, expected: list[str]) -> None:
    assert variants(clips.clip(name)) == expected
    assert read_playback(clips.clip(name)).problem == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h264-variable.mkv", ["copy.none", "h264.none"]),
        ("h264-open-gop.mp4", ["direct", "h264.none"]),
        ("h264-open-gop.ts", ["h264.none"]),
        ("h264-field-coded.ts", ["h264.none"]),
        ("h264-edit-list.mp4", ["h264.none"]),
        ("h264-rotated.mov", ["direct", "copy.none", "h264.none"]),
        ("h264.avi", ["h264.none"]),  # its timestamps are in decoding order
        ("h264.h264", ["h264.none"]),  # it has none
        ("hevc-10-bit.mkv", ["copy.none", "h264.none"]),
        ("av1.mkv", ["copy.none", "h264.none"]),
        ("av1.mp4", ["direct", "copy.none", "h264.none"]),
        ("mpeg2.mpg", ["h264.none"]),
        ("prores.mov", ["h264.none"]),
        ("wmv.asf", ["h264.none"]),
        ("one-frame.mp4", ["direct", "copy.none", "h264.none"]),
    ],
)
def test_files_without_sound(name: str, expected: list[str]) -> None:
    assert variants(clip(name)) == expected


def test_avi_without_b_frames_is_copied() -> None:
    path = clips.made("no-b.avi", "-c:v libx264 -preset veryfast -bf 0 -g 25 -an")
    assert variants(path) == ["copy.none", "h264.none"]


def test_what_is_proposed_agrees_with_the_probe() -> None:
    names = [*clips.CLIPS]
    for name in names:
        kinds = [one.kind for one in read_playback(clips.clip(name)).deliveries]
        needed = vidnb.probe(clips.clip(name)).playable_as
        assert needed in kinds
        assert needed == kinds[0] or "hevc" in name


@pytest.mark.parametrize("name", MATRICES)
def test_a_rotation_is_copied_and_a_mirrored_picture_is_encoded(name: str, tmp_path: Path) -> None:
    """Chromium 156 and Firefox 140 apply a rotation, in segments too; Firefox mirrors nothing."""
    matrix, change, _ = MATRICES[name]
    path = tmp_path / "turned.mov"
    turned(path, matrix)
    expected = ["direct", "copy.none"] if change == "rotated" else []
    assert variants(path) == [*expected, "h264.none"]


def test_interlaced_frames_are_encoded_in_any_container() -> None:
    assert variants(interlaced()) == ["h264.none"]
    options = "-vf tinterlace=interleave_top,setfield=tff -flags +ilme+ildct -c:v libx264 -an"
    path = clips.made("interlaced.mp4", options)
    assert variants(path) == ["h264.none"]
    assert read_playback(path).deliveries[0].reason == "its frames are interlaced"


@pytest.mark.parametrize(
    ("cores", "size", "pixel", "picture"),
    [
        (2, "1920x1080", "1/1", "; the picture is reduced to 1280 x 720"),
        (8, "1920x1080", "1/1", ""),
        (8, "1440x1080", "4/3", ""),
        (2, "1440x1080", "4/3", "; the picture is reduced to 1280 x 720"),
        (2, "720x576", "64/45", ""),
    ],
)
def test_a_picture_that_is_reduced_is_encoded_in_that_size_and_it_says_so(
    cores: int, size: str, pixel: str, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segments have the size that the reason tells, in square pixels."""
    options = f"-vf scale={size.replace('x', ':')},setsar={pixel} -r 50 -c:v mpeg4 -q:v 9 -an"
    path = clips.made(f"{size}-{pixel.replace('/', '-')}.avi", options, seconds=0.2)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    encoded = read_playback(path).deliveries[-1]
    assert encoded.reason == f"no browser plays MPEG-4 Part 2{picture}"
    with SegmentMaker(path, encoded.variant) as maker:
        data = maker.init() + maker.segment(0)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        width, height = (int(side) for side in size.split("x"))
        expected = (1280, 720) if picture else (round(width * Fraction(pixel)), height)
        assert (stream.width, stream.height) == expected
        assert stream.sample_aspect_ratio in {None, 1}


def test_the_sound_decides_apart_from_the_video() -> None:
    for sound in ("ac3", "pcm_s16le", "libvorbis"):
        path = clips.made(
            f"h264-{sound}.mkv",
            "-f lavfi -i sine=r=48000 -shortest -map 0:v -map 1:a -c:v copy -c:a " + sound,
        )
        assert variants(path) == ["copy.aac", "copy.opus", *ENCODED]


def test_the_default_sound_is_the_one_that_plays() -> None:
    options = "-f lavfi -i sine=r=48000 -shortest -map 0:v -map 1:a -map 1:a -c:v copy"
    options += " -c:a:0 ac3 -c:a:1 aac -disposition:a:0 0 -disposition:a:1 default"
    assert variants(clips.made("two-sounds.mkv", options))[0] == "copy.copy"


def test_sound_with_a_cover_is_sound() -> None:
    cover = made_by_ffmpeg(
        CACHE / "playback-1" / "cover.png", lambda: ["-f", "lavfi", "-i", "color=red:d=0.04:r=25"]
    )
    path = made_by_ffmpeg(
        CACHE / "playback-1" / "cover.m4a",
        lambda: [
            *["-f", "lavfi", "-i", "sine=d=1", "-i", str(cover), "-map", "0", "-map", "1"],
            *["-c:v", "copy", "-c:a", "aac", "-disposition:v", "attached_pic"],
        ],
    )
    found = read_playback(path)
    assert [one.variant for one in found.deliveries] == ["", "none.copy", "none.aac", "none.opus"]
    assert found.deliveries[0].type == 'audio/mp4; codecs="mp4a.40.2"'


@pytest.mark.parametrize(
    ("name", "start_s"),
    [("h264.mp4", 0), ("h264-edit-list.mp4", 0), ("h264.ts", 1.48), ("mpeg2.mpg", 0.54)],
)
def test_the_start_on_the_clock_of_the_container(name: str, start_s: float) -> None:
    assert read_playback(clip(name)).start_s == pytest.approx(start_s, abs=1e-6)


def test_an_opened_file_stays_open() -> None:
    with MediaFile(clip("h264.mkv")) as file:
        assert read_playback(file) == read_playback(file)


def test_converting_can_be_forbidden_and_forced() -> None:
    path = clips.clip("h264.mp4")
    never, always = (read_playback(path, convert=one).deliveries for one in ("never", "always"))
    assert [one.variant for one in never] == [""]
    assert [one.variant for one in always] == ENCODED
    json.dumps([asdict(one) for one in always])


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtra("no PyAV", extra="media")

    monkeypatch.setattr("vidnb.media.playback.require_av", missing)
    found = read_playback(clip("h264.mkv"))
    assert [(one.kind, one.type) for one in found.deliveries] == [("direct", "")]
    assert "run: pip install 'vidnb[media]'." in found.problem


# Remote files


def long_clip(name: str, options: str) -> Path:
    """Return a clip of a minute and some megabytes."""
    return clips.made(name, f"{clips._TONE} {clips._NOISE} {options}", seconds=60)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("long-tail.mp4", clips._H264),
        ("long.mkv", clips._H264),
    ],
)
def test_little_of_a_remote_file_is_read(name: str, options: str) -> None:
    data = long_clip(name, options).read_bytes()
    assert len(data) > 2**21
    with Origin(Film(data)) as origin:
        found = read_playback(origin.url)
        assert found == read_playback(long_clip(name, options))
        assert origin.sent_bytes < len(data) / 4
        assert origin.sent_bytes < 2**20


# Files that are damaged, or no video


def sentence(source: Any) -> str:
    found = read_playback(source)
    assert found.deliveries
    return found.problem


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"<html><title>Not found</title>", "is a web page (“Not found”), not a video"),
        (b"#EXTM3U\n#EXTINF:3,\na.ts\n", "is a playlist (M3U)"),
        (bytes(3000), "is not a video that FFmpeg can read"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(12), "is truncated"),
    ],
)
def test_what_is_no_video_has_a_sentence(data: bytes, expected: str) -> None:
    text = sentence(io.BytesIO(data))
    assert expected in text
    assert text.endswith(".")
    assert "\n" not in text


def test_a_missing_file_has_a_sentence_and_another_object_is_an_error(tmp_path: Path) -> None:
    assert "cannot be opened" in sentence(tmp_path / "missing.mkv")
    with pytest.raises(ValueError, match="source must be a path"):
        read_playback(3)  # type: ignore[arg-type]  # the error of a caller


def patched(name: str, box: bytes, offset: int, value: int) -> bytes:
    """Return a clip with 32 bits of a box changed."""
    data = bytearray(clip(name).read_bytes())
    struct.pack_into(">I", data, data.index(box) + 4 + offset, value)
    return bytes(data)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "1e9 samples": lambda: patched("h264.mp4", b"stsz", 8, 10**9),
    "1e9 runs of times": lambda: patched("h264.mp4", b"stts", 4, 10**9),
    "a run of 1e9": lambda: patched("h264.mp4", b"stts", 8, 10**9),
    "1e9 chunks": lambda: patched("h264.mp4", b"stco", 4, 10**9),
    "0 x 0": lambda: patched("h264.mp4", b"avc1", 24, 0),
    "65535 x 65535": lambda: patched("h264.mp4", b"avc1", 24, 2**32 - 1),
    "no clock": lambda: patched("h264.mp4", b"mdhd", 12, 0),
    "a fast clock": lambda: patched("h264.mp4", b"mdhd", 12, 2**32 - 1),
    "16384 x 16384 in VP9": lambda: patched("vp9.mp4", b"vp09", 24, 16384 << 16 | 16384),
    "16384 x 16384 in MPEG-4": lambda: patched("mpeg4.mp4", b"mp4v", 24, 16384 << 16 | 16384),
    "nested boxes": lambda: b"".join(
        struct.pack(">I4s", 8 * (9000 - one), b"moov" if one % 2 else b"trak")
        for one in range(9000)
    ),
}


def test_hostile_files_are_read_within_bounds(tmp_path: Path) -> None:
    for name, data in HOSTILE.items():
        (tmp_path / name).write_bytes(data())
    program = (
        "import pathlib, resource, sys; from vidnb.media.playback import read_playback\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    found = read_playback(path)\n"
        "    print(len(found.deliveries), found.problem, sep=' ')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        cwd=ROOT,
        timeout=max(60, DEADLINE_S),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(HOSTILE)
    for line in lines:
        count, _, problem = line.partition(" ")
        assert int(count) > 0
        assert not problem or problem.endswith(".")


def test_a_picture_that_is_too_large_is_not_encoded() -> None:
    source = ["-f", "lavfi", "-i", "color=gray:s=9000x9000:d=0.04:r=25"]
    path = made_by_ffmpeg(
        CACHE / "playback-1" / "large.mkv",
        lambda: [*source, "-c:v", "libx264", "-preset", "ultrafast"],
    )
    found = read_playback(path)
    assert [one.variant for one in found.deliveries] == ["copy.none"]
    assert "have 9000 x 9000 pixels, too many to convert" in found.problem
