"""`vidnb.convert` against clips whose frames show their own numbers."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import vidnb
from tests.clips import HEIGHT, WIDTH, clip, shown_number
from tests.media.test_clip import beep, made, white_and_loud_s

PICTURES = {".gif", ".webp"}


def shown(path: Path) -> tuple[list[int | None], list[float]]:
    """Return the number of each frame, and its time (s), as a browser or Pillow shows it."""
    if path.suffix not in PICTURES:
        with vidnb.frames(path) as frames:
            return [shown_number(frame.image) for frame in frames], list(frames.times_s)
    found, times_s, time_s = [], [], 0.0
    with Image.open(path) as picture:
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            found.append(shown_number(np.asarray(picture.convert("RGB"))))
            times_s.append(time_s)
            time_s += picture.info["duration"] / 1000
    return found, times_s


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
@pytest.mark.parametrize("name", ["h264.mp4", "h264-variable.mkv", "h264-rotated.mov"])
def test_every_frame_is_kept_with_its_time(name: str, suffix: str, tmp_path: Path) -> None:
    source = clip(name)
    result = vidnb.convert(source, tmp_path / f"made{suffix}", progress=False)
    with vidnb.frames(source) as frames:
        expected, expected_s = [shown_number(one.image) for one in frames], frames.times_s
        height, width = frames[0].image.shape[:2]
    found, times_s = shown(result.path)
    assert found == expected
    assert np.allclose(times_s, expected_s - expected_s[0], atol=0.0101)  # .gif: 10 ms
    assert (result.width, result.height) == (width, height)
    assert (result.frames, result.skipped_frames) == (len(expected), 0)
    assert result.size_bytes == result.path.stat().st_size
    assert result.duration_s == pytest.approx(expected_s[-1] - expected_s[0] + 0.04, abs=0.05)


@pytest.mark.parametrize(
    "name", ["hevc-10-bit.mkv", "av1.mp4", "mpeg4.avi", "prores.mov", "h264.ts"]
)
def test_any_codec_becomes_what_every_browser_plays(name: str, tmp_path: Path) -> None:
    result = vidnb.convert(clip(name), tmp_path / "made.mp4")
    with vidnb.frames(clip(name)) as frames:
        assert shown(result.path)[0] == [shown_number(one.image) for one in frames]
    with av.open(str(result.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert container.streams.video[0].start_time == 0
    data = result.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # fast start


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("keyframe_s", [0.5, 1.0])
def test_key_frames_are_never_further_apart(keyframe_s: float, suffix: str, tmp_path: Path) -> None:
    for name in ("h264-variable.mp4", "one-group.mp4"):
        path = vidnb.convert(clip(name), tmp_path / f"m{suffix}", keyframe_s=keyframe_s).path
        with vidnb.frames(path) as frames:
            keys_s = frames.times_s[list(frames.keyframes)]
            longest_frame_s = np.diff(frames.times_s).max()
        assert keys_s[0] == 0
        assert np.diff(keys_s).max() < keyframe_s + longest_frame_s


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_fps_resamples_a_variable_rate(suffix: str, tmp_path: Path) -> None:
    result = vidnb.convert(clip("h264-variable.mp4"), tmp_path / f"m{suffix}", fps=10)
    found, times_s = shown(result.path)
    assert np.allclose(np.diff(times_s), 0.1, atol=0.002)
    with vidnb.frames(clip("h264-variable.mp4")) as frames:
        near = [[frames.index_at(max(0, t + d)) for d in (-0.06, 0.06)] for t in times_s]
    assert all(low <= (n or 0) <= high for n, (low, high) in zip(found, near, strict=True))


def test_a_fast_video_becomes_a_picture_of_50_frames_a_second(tmp_path: Path) -> None:
    result = vidnb.convert(clip("h264-60.mp4"), tmp_path / "m.gif")
    assert result.frames == pytest.approx(50, abs=1)  # of 60 in a second
    assert vidnb.convert(clip("h264-60.mp4"), tmp_path / "m.mp4").frames == 60


@pytest.mark.parametrize(
    ("width", "suffix", "size"),
    [
        (80, ".mp4", (80, 64)),
        (81, ".gif", (81, 65)),
        (99, ".webm", (100, 80)),
        (320, ".webp", (320, 256)),
    ],
)
def test_width_scales(width: int, suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    result = vidnb.convert(clip("one-frame.mp4"), tmp_path / f"m{suffix}", width=width)
    assert (result.width, result.height) == size
    assert shown(result.path)[0] == [0]


def test_pixels_become_square_and_sizes_even(tmp_path: Path) -> None:
    wide = made("wide.mkv", ["-i", str(clip("one-frame.mp4")), "-vf", "setsar=4/3", "-c:v", "ffv1"])
    odd = made(
        "odd.mkv", ["-i", str(clip("one-frame.mp4")), "-vf", "scale=151:101", "-c:v", "ffv1"]
    )
    result = vidnb.convert(wide, tmp_path / "m.mp4")
    assert (result.width, result.height) == (round(WIDTH * 4 / 3 / 2) * 2, HEIGHT)
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio in {None, 1}
    result = vidnb.convert(odd, tmp_path / "m.mp4")
    assert (result.width % 2, result.height % 2) == (0, 0)
    assert abs(result.width - 151) + abs(result.height - 101) == 2


@pytest.mark.parametrize("flip", ["hflip", "vflip", "transpose=0", "transpose=3"])
def test_a_mirrored_video_is_made_upright(flip: str, tmp_path: Path) -> None:
    matrices = {"hflip": (-1, 0, 0, 1), "vflip": (1, 0, 0, -1)}
    a, b, c, d = matrices.get(flip, (0, 1, 1, 0) if flip == "transpose=0" else (0, -1, -1, 0))
    source = tmp_path / "mirrored.mov"
    one = 1 << 16
    with av.open(str(clip("one-frame.mp4"))) as read, av.open(str(source), "w") as write:
        stream = write.add_stream("libx264", rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.set_display_matrix((a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30))
        for frame in read.decode(video=0):
            frame.pict_type = 0
            write.mux(stream.encode(frame))
        write.mux(stream.encode(None))
    result = vidnb.convert(source, tmp_path / "m.mp4")
    with vidnb.frames(clip("one-frame.mp4")) as frames:
        upright = frames[0].image
    expected = {
        "hflip": upright[:, ::-1],
        "vflip": upright[::-1],
        "transpose=0": upright.transpose(1, 0, 2),
        "transpose=3": upright[::-1, ::-1].transpose(1, 0, 2),
    }[flip]
    with vidnb.frames(result.path) as frames:
        assert np.abs(frames[0].image.astype(int) - expected).mean() < 6


def test_an_interlaced_video_becomes_progressive(tmp_path: Path) -> None:
    options = "-vf tinterlace=interleave_top -flags +ilme+ildct -c:v mpeg2video -q:v 2"
    source = made("interlaced.mkv", ["-i", str(clip("h264-60.mp4")), *options.split()])
    result = vidnb.convert(source, tmp_path / "m.mp4")
    assert result.frames == len(vidnb.frames(source))
    with av.open(str(result.path)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("name", "sound"), [("beep.ts", "aac"), ("beep.mov", "pcm_s16le")])
def test_sound_is_encoded_in_step(name: str, sound: str, suffix: str, tmp_path: Path) -> None:
    result = vidnb.convert(beep(name, sound), tmp_path / f"m{suffix}")
    white_s, loud_s = white_and_loud_s(result.path)
    assert loud_s - white_s == pytest.approx(0, abs=0.008)  # .webm: the delay of Opus
    with av.open(str(result.path)) as container:
        expected = {".mp4": "aac", ".webm": "opus"}
        assert container.streams.audio[0].codec_context.name.endswith(expected[suffix])


def test_sound_that_begins_later_is_preceded_by_silence(tmp_path: Path) -> None:
    late = ["-i", str(beep("beep.mov", "pcm_s16le")), "-itsoffset", "0.5", "-i"]
    copied = ["-map", "0:v", "-map", "1:a", "-c", "copy"]
    source = made("late.mov", [*late, str(beep("beep.mov", "pcm_s16le")), *copied])
    white_s, loud_s = white_and_loud_s(vidnb.convert(source, tmp_path / "m.mp4").path)
    assert loud_s - white_s == pytest.approx(0.5, abs=0.002)


def test_colors_are_kept(tmp_path: Path) -> None:
    color = "-f lavfi -i color=0xc03060:s=64x64:d=0.2 -vf format=gbrp,scale=out_color_matrix=bt709"
    facts = (
        "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -c:v libx264 -pix_fmt yuv420p"
    )
    source = made("color.mp4", [*color.split(), *facts.split()])
    for suffix in (".mp4", ".webm", ".gif", ".webp"):
        path = vidnb.convert(source, tmp_path / f"m{suffix}", width=80).path
        if suffix in PICTURES:
            with Image.open(path) as picture:
                pixel = np.asarray(picture.convert("RGB"))[30, 30]
        else:
            with vidnb.frames(path) as frames:
                pixel = frames[0].image[30, 30]
        assert np.abs(pixel.astype(int) - (0xC0, 0x30, 0x60)).max() <= 6, suffix
    with av.open(str(tmp_path / "m.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)


def test_damaged_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.avi"
    data = bytearray(clip("mjpeg.avi").read_bytes())
    with av.open(str(clip("mjpeg.avi"))) as container:
        packets = [one for one in container.demux(video=0) if one.size]
    start = data.index(bytes(packets[20])[:64], packets[20].pos)
    data[start : start + packets[20].size] = bytes(packets[20].size)
    damaged.write_bytes(data)
    result = vidnb.convert(damaged, tmp_path / "m.mp4")
    numbers = [number for number in range(30) if number != 20]
    assert (result.skipped_frames, result.frames) == (1, 29)
    assert shown(result.path)[0] == numbers


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": "m.avi"}, r"m\.avi must end with one of \.mp4, \.webm, \.gif, \.webp"),
        ({"path": "m"}, "the suffix chooses the format"),
        ({"width": 0}, "width=0 must be an integer of at least 1"),
        ({"width": 1.5}, "width=1.5"),
        ({"fps": 0}, "fps=0 must be a number of frames"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"fps": "25"}, "fps='25'"),
        ({"keyframe_s": 0}, "keyframe_s=0 must be a number of seconds above 0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / options.pop("path", "m.mp4")
    with pytest.raises(ValueError, match=sentence):
        vidnb.convert(clip("one-frame.mp4"), path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 12.5, np.float64(5)])
def test_any_real_number_is_a_rate(fps: Any, tmp_path: Path) -> None:
    result = vidnb.convert(clip("h264.mp4"), tmp_path / "m.mp4", fps=fps)
    assert result.frames == pytest.approx(2.4 * float(fps), abs=1)


def test_an_encoder_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def codec(name: str, mode: str = "r") -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr("av.codec.Codec", codec)
    with pytest.raises(vidnb.MediaError, match="has no encoder libx264"):
        vidnb.convert(clip("one-frame.mp4"), tmp_path / "m.mp4")
