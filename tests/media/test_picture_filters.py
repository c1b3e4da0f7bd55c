"""The filters that make any frame what a browser shows, and the tone mapping among them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clips import HEIGHT, WIDTH, clip, shown_number
from tests.media.clips import made
from vidnb.media.picture_filters import PictureFilters

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


def picture(pixels: NDArray[Any], name: str = "rgb24", **facts: int) -> Any:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), name)
    frame.pts, frame.time_base = 0, TIME_BASE
    for fact, value in facts.items():
        setattr(frame, fact, value)
    return frame


def grey(width: int, height: int, name: str = "yuv420p", **facts: int) -> Any:
    return picture(np.full((height, width, 3), 128, np.uint8)).reformat(format=name)


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
    assert [one.pts * one.time_base for one in results] == [f.pts * f.time_base for f in frames]
    assert {(one.format.name, one.width, one.height) for one in results} == {
        ("yuv420p", WIDTH, HEIGHT)
    }
    assert 2 not in {int(one.color_range) for one in results}
    assert [shown_number(one.to_ndarray(format="rgb24")) for one in results] == [
        shown_number(one.to_ndarray(format="rgb24")) for one in frames
    ]


def interlaced() -> Path:
    options = "-vf tinterlace=interleave_top -flags +ilme+ildct -c:v mpeg2video -q:v 2 -an"
    return made("interlaced.mkv", options)


def test_interlaced_frames_are_deinterlaced_with_their_times() -> None:
    frames = decoded(interlaced())
    made_filters = filters(frames)
    assert made_filters.changes == ("deinterlaced",)
    assert made_filters.is_temporal
    results = list(made_filters.run(frames))
    assert [one.pts * one.time_base for one in results] == [f.pts * f.time_base for f in frames]
    assert {one.time_base for one in results} == {frames[0].time_base}
    assert not any(one.interlaced_frame for one in results)
    assert not made_filters.first().interlaced_frame or made_filters.first() is not frames[0]


MATRICES = {
    # a, b, c, d of the display matrix; what it does; the same to an array
    "90": ((0, 1, -1, 0), "rotated", lambda image: np.rot90(image, -1)),
    "180": ((-1, 0, 0, -1), "rotated", lambda image: image[::-1, ::-1]),
    "270": ((0, -1, 1, 0), "rotated", lambda image: np.rot90(image)),
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
