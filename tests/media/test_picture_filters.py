"""The filters that make any frame what a browser shows, and the tone mapping among them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.assets import CACHE, made_by_ffmpeg
from tests.clips import HEIGHT, WIDTH, clip, shown_number
from tests.media.clips import made
from vidnb.media.picture_filters import PictureFilters
from vidnb.media.tone_mapping import cube_file, tone_map

TIME_BASE = Fraction(1, 90000)
SQUARE = Fraction(1)


def decoded(path: Path, count: int = 12) -> list[Any]:
    with av.open(str(path)) as container:
        frames = []
        for frame in container.decode(video=0):
            frames.append(frame)
            if len(frames) == count:
                break
        return frames


def filters(frames: list[Any], **options: Any) -> PictureFilters:
    facts = {"pixel_aspect_ratio": SQUARE, "time_base": frames[0].time_base, **options}
    return PictureFilters(frames[0], **facts)


def times(frames: list[Any]) -> list[Fraction]:
    return [one.pts * one.time_base for one in frames]


def number(frame: Any) -> int | None:
    return shown_number(frame.to_ndarray(format="rgb24"))


def grey(width: int, height: int, pixels: str = "yuv420p") -> Any:
    image = av.VideoFrame.from_ndarray(np.full((height, width, 3), 128, np.uint8), "rgb24")
    frame = image.reformat(format=pixels)
    frame.pts, frame.time_base = 0, TIME_BASE
    return frame


def test_a_frame_that_needs_nothing_is_passed_on_as_it_is() -> None:
    frames = decoded(clip("h264.mp4"))
    made_filters = filters(frames)
    assert (made_filters.changes, made_filters.is_temporal) == ((), False)
    assert made_filters.size == (WIDTH, HEIGHT)
    assert list(map(id, made_filters.run(frames))) == list(map(id, frames))
    assert made_filters.first() is frames[0]


@pytest.mark.parametrize(
    "name", ["h264.mp4", "hevc-10-bit.mkv", "prores.mov", "mjpeg.avi", "mpeg2.mpg", "wmv.asf"]
)
def test_any_codec_becomes_eight_bits_of_limited_range_with_its_times(name: str) -> None:
    frames = decoded(clip(name))
    results = list(filters(frames).run(frames))
    assert times(results) == times(frames)
    assert {(one.format.name, one.width, one.height) for one in results} == {
        ("yuv420p", WIDTH, HEIGHT)
    }
    assert 2 not in {int(one.color_range) for one in results}
    assert list(map(number, results)) == list(map(number, frames))


def interlaced() -> Path:
    options = "-vf tinterlace=interleave_top -flags +ilme+ildct -c:v mpeg2video -q:v 2 -an"
    return made("interlaced.mkv", options)


def test_interlaced_frames_are_deinterlaced_with_their_times() -> None:
    frames = decoded(interlaced())
    made_filters = filters(frames)
    assert made_filters.changes == ("deinterlaced",)
    assert made_filters.is_temporal
    results = list(made_filters.run(frames))
    assert times(results) == times(frames)
    assert {one.time_base for one in results} == {frames[0].time_base}
    assert not any(one.interlaced_frame for one in results)


MATRICES: dict[str, tuple[tuple[int, int, int, int], str, Any]] = {
    # a, b, c, d of the display matrix; what it does; the same to an array
    "90": ((0, 1, -1, 0), "rotated", lambda image: np.rot90(image, -1)),
    "180": ((-1, 0, 0, -1), "rotated", lambda image: image[::-1, ::-1]),
    "270": ((0, -1, 1, 0), "rotated", np.rot90),
    "hflip": ((-1, 0, 0, 1), "mirrored", lambda image: image[:, ::-1]),
    "vflip": ((1, 0, 0, -1), "mirrored", lambda image: image[::-1]),
    "transpose": ((0, 1, 1, 0), "mirrored", lambda image: image.T),
    "transverse": ((0, -1, -1, 0), "mirrored", lambda image: image[::-1, ::-1].T),
}


def turned(path: Path, matrix: tuple[int, int, int, int]) -> list[Any]:
    """Return the frames of a file with a display matrix."""
    a, b, c, d = (value << 16 for value in matrix)
    with av.open(str(path), "w") as write:
        stream = write.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for frame in decoded(clip("h264.mp4"), 3):
            frame.pict_type = 0
            write.mux(stream.encode(frame))
        write.mux(stream.encode(None))
    return decoded(path)


@pytest.mark.parametrize("name", MATRICES)
def test_turned_frames_become_upright(name: str, tmp_path: Path) -> None:
    matrix, change, turn = MATRICES[name]
    frames = turned(tmp_path / "turned.mov", matrix)
    made_filters = filters(frames)
    expected = turn(frames[0].to_ndarray(format="gray"))
    assert made_filters.changes == (change,)
    assert made_filters.size == expected.shape[::-1]
    upright = next(made_filters.run(frames)).to_ndarray(format="gray")
    assert np.abs(upright.astype(int) - expected).mean() < 1


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((151, 101), {}, (152, 100)),  # even
        ((151, 101), {"is_even": False}, (151, 101)),
        ((1, 1), {}, (2, 2)),
        ((160, 128), {"pixel_aspect_ratio": Fraction(4, 3)}, (214, 128)),
        ((160, 128), {"pixel_aspect_ratio": Fraction(1, 2)}, (80, 128)),
        ((160, 128), {"pixel_aspect_ratio": Fraction(99999)}, (160, 128)),  # an error of the file
        ((160, 128), {"pixel_aspect_ratio": Fraction(1, 99999)}, (160, 128)),
        ((320, 200), {"max_size": (160, 90)}, (144, 90)),
        ((200, 320), {"max_size": (160, 90)}, (90, 144)),  # a high picture in a wide limit
        ((100, 50), {"max_size": (160, 90)}, (100, 50)),  # never enlarged
        ((160, 128), {"width": 320}, (320, 256)),
        ((160, 128), {"width": 99}, (100, 80)),
    ],
)
def test_the_size_of_the_result(
    size: tuple[int, int], options: dict[str, Any], expected: tuple[int, int]
) -> None:
    frame = grey(*size)
    made_filters = filters([frame], **options)
    (result,) = made_filters.run([frame])
    assert made_filters.size == (result.width, result.height) == expected
    first = made_filters.first()
    assert (first.width, first.height, first.format.name) == (*expected, "yuv420p")
    assert abs(int(result.to_ndarray(format="gray").mean()) - 128) < 4


def test_what_is_done_is_said_in_words() -> None:
    reduced = filters([grey(640, 400)], max_size=(320, 200))
    assert reduced.changes == reduced.losses == ("reduced to 320 x 200",)
    assert filters([grey(151, 101)]).changes == ()
    wide = filters([grey(160, 128)], pixel_aspect_ratio=Fraction(2))
    assert (wide.changes, wide.losses) == (("made of square pixels",), ())


def test_frames_that_change_their_size_or_format_are_scaled_to_the_first() -> None:
    frames = [grey(160, 128), grey(320, 64), grey(160, 128, "yuv444p"), grey(80, 300, "rgb24")]
    for index, frame in enumerate(frames):
        frame.pts = 100 * index
    for max_size in (None, (80, 64)):  # without a filter, and with one
        results = list(filters([*frames], max_size=max_size).run(frames))
        size = max_size or (160, 128)
        assert {(one.width, one.height, one.format.name) for one in results} == {(*size, "yuv420p")}
        assert [one.pts for one in results] == [0, 100, 200, 300]


@pytest.mark.parametrize("pixels", ["yuvj420p", "yuv420p"])
def test_the_range_of_a_computer_becomes_that_of_a_television(pixels: str) -> None:
    frame = grey(160, 128, "yuvj420p").reformat(format=pixels, dst_color_range=2)
    frame.color_range = 2
    (result,) = filters([frame]).run([frame])
    assert result.format.name == "yuv420p"
    assert abs(int(np.asarray(result.planes[0])[0]) - (16 + 128 * 219 // 255)) <= 1


def test_the_filters_run_again_for_other_frames() -> None:
    frames = decoded(clip("hevc-10-bit.mkv"))
    made_filters = filters(frames)
    assert times(list(made_filters.run(frames[6:9]))) == times(frames[6:9])
    assert times(list(made_filters.run(frames[:3]))) == times(frames[:3])


# Tone mapping


def light_of(transfer: int, signal: float) -> float:
    """Return the light (cd/m²) of a grey, by the formulas of BT.2100 written another way."""
    if transfer == 16:
        power = signal ** (32 / 2523)
        ratio = max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return float(10000 * ratio ** (16384 / 2610))
    scene = (
        signal**2 / 3
        if signal <= 0.5
        else (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    return float(1000 * scene**1.2)


@pytest.mark.parametrize("transfer", [16, 18])
def test_greys_keep_their_order_and_dark_ones_their_light(transfer: int) -> None:
    signals = np.linspace(0, 1, 200)
    mapped = tone_map(np.repeat(signals[:, None], 3, axis=1), transfer)
    assert np.ptp(mapped, axis=1).max() < 2e-3  # still grey
    values = mapped.mean(axis=1)
    assert (np.diff(values) > -1e-9).all()
    assert values[0] < 1e-3
    assert values[-1] > 0.99
    light = np.array([light_of(transfer, one) for one in signals])
    is_dark = light < 25
    assert np.allclose(203 * values[is_dark] ** 2.4, light[is_dark], atol=0.2)
    # The white of SDR keeps room for highlights, and is no grey.
    assert 0.75 < np.interp(203, light, values) < 0.95


@pytest.mark.parametrize("transfer", [16, 18])
def test_hues_are_kept(transfer: int) -> None:
    colors = np.array([[0.5, 0.3, 0.3], [0.3, 0.5, 0.3], [0.3, 0.3, 0.5], [0.7, 0.7, 0.2]])
    mapped = tone_map(colors, transfer)
    assert (mapped.argmax(axis=1)[:3] == [0, 1, 2]).all()
    assert (mapped >= 0).all()
    assert (mapped <= 1).all()
    assert mapped[3, :2].min() > mapped[3, 2] + 0.2


def test_the_file_of_the_table_begins_with_red() -> None:
    head, *lines = cube_file(16).splitlines()
    assert head == "LUT_3D_SIZE 33"
    assert len(lines) == 33**3
    rows = np.array([line.split() for line in lines], dtype=float)
    assert (rows[32].argmax(), rows[32 * 33].argmax(), rows[32 * 33 * 33].argmax()) == (0, 1, 2)
    assert rows.min() >= 0


HDR = {"pq": ("smpte2084", 16), "hlg": ("arib-std-b67", 18)}


def hdr(name: str) -> Path:
    """Return ten bits of colours with highlights: a test picture in another transfer function."""
    transfer, code = HDR[name]
    linear = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
    linear += "zscale=t=linear:npl=400,format=gbrpf32le,zscale=p=bt2020,"
    linear += f"zscale=t={transfer}:m=bt2020nc:r=limited:npl=400,format=yuv420p10le"
    x265 = f"log-level=none:colorprim=9:transfer={code}:colormatrix=9:range=limited"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x192:r=25:d=0.2,format=yuv420p"]
    encoder = ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "10", "-x265-params", x265]
    return made_by_ffmpeg(
        CACHE / "hdr-1" / f"{name}.mp4", lambda: [*source, "-vf", linear, *encoder]
    )


@pytest.mark.parametrize("name", HDR)
def test_hdr_is_mapped_to_the_colours_of_sdr(name: str) -> None:
    frames = decoded(hdr(name))
    made_filters = filters(frames)
    assert (made_filters.changes, made_filters.is_temporal) == (("tone-mapped",), False)
    assert made_filters.losses == made_filters.changes
    results = list(made_filters.run(frames))
    assert times(results) == times(frames)
    result = results[0]
    facts = (result.color_primaries, result.color_trc, result.colorspace, result.color_range)
    assert tuple(map(int, facts)) == (1, 1, 1, 1)
    assert result.format.name == "yuv420p"
    # The filters, a table and 8 bits, against the formulas for each pixel.
    source = (
        frames[0]
        .reformat(format="rgb48le", src_colorspace="bt2020", dst_colorspace="bt2020")
        .to_ndarray()
    )
    expected = tone_map(source / 65535, HDR[name][1])
    shown = result.to_ndarray(format="rgb24") / 255
    assert np.median(np.abs(shown - expected)) < 0.01
    assert np.abs(shown - expected).mean() < 0.04  # the edges of 4:2:0 are in it
    assert 0.2 < shown.mean() < 0.8  # neither black nor washed out
    assert shown.std() > 0.2


@pytest.mark.parametrize("name", HDR)
def test_tone_mapping_is_close_to_that_of_zimg_and_hable(name: str, tmp_path: Path) -> None:
    chain = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    chain += "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
    options = ["-i", str(hdr(name)), "-vf", chain, "-c:v", "ffv1"]
    reference = decoded(made_by_ffmpeg(tmp_path / "reference.mkv", lambda: options), 1)[0]
    frames = decoded(hdr(name), 1)
    (result,) = filters(frames).run(frames)
    ours, theirs = (
        one.reformat(format="rgb24", src_colorspace="itu709").to_ndarray().astype(int)
        for one in (result, reference)
    )
    assert np.abs(ours - theirs).mean() < 50  # its white is darker
    correlation = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    assert correlation > 0.95


def test_hdr_becomes_a_palette_of_rgb_too() -> None:
    frames = decoded(hdr("pq"), 1)
    (result,) = filters(frames, pixels="rgb32", is_even=False).run(frames)
    (video,) = filters(frames).run(frames)
    difference = result.to_ndarray(format="rgb24").astype(int) - video.to_ndarray(format="rgb24")
    assert np.abs(difference).mean() < 6
