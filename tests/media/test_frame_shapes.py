"""Which arrays are frames, and when each frame is shown: decisions without numpy."""

from fractions import Fraction
from math import inf, nan

import pytest

from vidnb.media.frame_shapes import (
    HALF_STEP,
    Timing,
    check_alike,
    check_frame,
    check_range,
    check_stack,
    check_values,
    even,
    starts_segment,
)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((7, 48, 64), 7),
        ((1, 48, 64), 1),
        ((3, 48, 64), 3),
        ((7, 48, 64, 1), 7),
        ((7, 48, 64, 3), 7),
        ((7, 48, 64, 4), 7),
        ((3, 3, 48, 3), 3),
        ((48, 64), None),
    ],
)
def test_an_array_holds_so_many_frames(shape: tuple[int, ...], count: int | None) -> None:
    assert check_stack(shape, is_numpy=True) == count


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((48, 64, 3), r"\(48, 64, 3\) is one picture, or 48 grey frames .* pass \[picture\]"),
        ((48, 64, 4), r"one picture, or 48 grey frames"),
        ((48, 64, 1), r"frames\[\.\.\., None\]"),
        ((7, 3, 48, 64), r"64 channels.*channels seem to come first.*transpose\(0, 2, 3, 1\)"),
        ((7, 1, 48, 64), r"\.permute\(0, 2, 3, 1\)"),
        ((7, 48, 64, 2), r"2 channels, not 1, 3 or 4$"),
        ((7, 2, 48, 64, 3), r"\(7, 2, 48, 64, 3\) holds no frames"),
        ((64,), r"\(64\) holds no frames"),
        ((), r"\(\) holds no frames"),
        ((0, 48, 64), r"there are no frames: the shape is \(0, 48, 64\)"),
        ((0, 48, 64, 3), r"there are no frames"),
    ],
)
def test_an_array_that_is_ambiguous_or_holds_no_frames_is_refused(
    shape: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_stack(shape, is_numpy=True)


@pytest.mark.parametrize("channels", [3, 4])
def test_the_first_axis_of_a_tensor_is_not_guessed(channels: int) -> None:
    with pytest.raises(ValueError, match=rf"\({channels}, 48, 64\).*permute\(1, 2, 0\)"):
        check_stack((channels, 48, 64), is_numpy=False)
    assert check_stack((5, 48, 64), is_numpy=False) == 5
    assert check_stack((1, 48, 64), is_numpy=False) == 1, "either reading is the same frame"


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((48, 64), 1), ((48, 64, 1), 1), ((48, 64, 3), 3), ((48, 64, 4), 4), ((1, 1), 1)],
)
def test_a_frame_has_so_many_channels(shape: tuple[int, ...], channels: int) -> None:
    assert check_frame(shape, 0) == channels


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 48, 64), r"frame 17 has the shape \(3, 48, 64\).*first.*transpose\(1, 2, 0\)"),
        ((1, 48, 64), r"permute\(1, 2, 0\)"),
        ((48, 64, 2), r"so 2 channels, not 1, 3 or 4$"),
        ((5, 48, 64, 3), r"frame 17 .*which is a batch"),
        ((64,), r"must be \(height, width\)"),
        ((), r"has the shape \(\)"),
        ((1, 1, 1, 1, 1), r"must be \(height, width\)"),
        ((0, 64, 3), r"no pixels"),
        ((48, 0), r"no pixels"),
        ((16385, 16), r"more than H\.264 can hold"),
        ((16, 16385, 3), r"more than H\.264 can hold"),
        ((16384, 16384, 3), r"frame\[::2, ::2\]"),
    ],
)
def test_another_shape_is_refused_by_a_sentence(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_frame(shape, 17)


def test_the_largest_picture_of_h264_is_accepted() -> None:
    assert check_frame((4352, 8192, 3), 0) == 3
    with pytest.raises(ValueError, match="more than H"):
        check_frame((4353, 8192, 3), 0)


def test_frames_of_another_size_are_refused() -> None:
    check_alike((48, 64, 3), (48, 64), 4)
    for other in ((48, 65, 3), (47, 64), (64, 48, 3)):
        text = str(other).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=rf"frame 4 .*{text}.*frame 0 has \(48, 64, 3\)"):
            check_alike((48, 64, 3), other, 4)


@pytest.mark.parametrize(
    ("kind", "item_bytes", "values"),
    [("u", 1, "uint8"), ("b", 1, "bool"), ("f", 2, "float"), ("f", 4, "float"), ("f", 8, "float")],
)
def test_these_types_are_accepted(kind: str, item_bytes: int, values: str) -> None:
    assert check_values(kind, item_bytes, "any", 0) == values


@pytest.mark.parametrize(
    ("kind", "item_bytes", "dtype", "sentence"),
    [
        ("u", 2, "uint16", r"frame 3 is uint16, .*\(numpy\.asarray\(frame\) // 257\)"),
        ("u", 4, "uint32", r"frame 3 is uint32.*astype\('uint8'\)"),
        ("i", 1, "int8", r"frame 3 is int8"),
        ("i", 8, "int64", r"frame 3 is int64"),
        ("f", 16, "float128", r"float128, not uint8, bool or float of 16, 32 or 64 bits"),
        ("c", 16, "complex128", r"complex128"),
        ("O", 8, "object", r"object"),
        ("M", 8, "datetime64", r"datetime64"),
    ],
)
def test_other_types_are_refused(kind: str, item_bytes: int, dtype: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_values(kind, item_bytes, dtype, 3)


def test_all_frames_of_an_array_are_named_together() -> None:
    with pytest.raises(ValueError, match=r"^the frames are uint16, .*\(frames // 257\)"):
        check_values("u", 2, "uint16", None)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-HALF_STEP, 1 + HALF_STEP), (0.3, 0.3), (-0.0, 1 + 1e-7)]
)
def test_values_within_rounding_are_accepted(low: float, high: float) -> None:
    check_range(low, high, "float32", 0)


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (nan, nan, r"frame 9 \(float32\) holds NaN"),
        (0.0, nan, r"NaN"),
        (nan, 1.0, r"NaN"),
        (0.0, 255.0, r"from 0 to 255, .*divide by 255"),
        (0.0, 1.002, r"from 0 to 1\.002"),
        (-0.002, 1.0, r"from -0\.002 to 1, .*scale it"),
        (-1.0, 1.0, r"from -1 to 1, .*numpy\.ptp"),
        (0.0, inf, r"from 0 to inf"),
        (-inf, 0.5, r"from -inf to 0\.5"),
        (0.0, 65535.0, r"from 0 to 65535, .*scale it"),
    ],
)
def test_other_values_are_refused(low: float, high: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_range(low, high, "float32", 9)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (30, Fraction(30)),
        (29.97, Fraction(2997, 100)),
        (30000 / 1001, Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (12.5, Fraction(25, 2)),
        (0.1, Fraction(1, 10)),
        (1000, Fraction(1000)),
    ],
)
def test_frames_are_shown_from_n_by_fps_exactly(fps: float, rate: Fraction) -> None:
    timing = Timing.of(fps)
    assert timing.fps == rate
    for frame in (0, 1, 7, 100_000):
        assert timing.at(frame) == Fraction(frame * timing.ticks, timing.timescale) == frame / rate
    assert 10_000 <= timing.timescale < 2**31
    assert timing.ticks < 2**31


@pytest.mark.parametrize("fps", [0, -1, nan, inf, 1000.1, 1e-9, True, "30", None, 1j])
def test_no_other_rate_is_accepted(fps: object) -> None:
    with pytest.raises(ValueError, match="fps="):
        Timing.of(fps)


def test_odd_sides_are_made_even() -> None:
    assert even(3, 5) == (4, 6)
    assert even(4, 6) == (4, 6)
    assert even(1, 1) == (2, 2)


@pytest.mark.parametrize(
    ("fps", "starts"),
    [
        (30, [0, 8, 30, 60, 90]),
        (Fraction(30000, 1001), [0, 7, 30, 60, 90]),
        (12.5, [0, 3, 13, 25, 38, 50, 63, 75, 88, 100]),
        (4, [0, 1, 4, 8, 12]),
        (1, [0, 1, 2, 3, 4]),
        (0.5, [0, 1, 2, 3]),
    ],
)
def test_segments_start_early_once_and_then_each_second(
    fps: float | Fraction, starts: list[int]
) -> None:
    rate = Timing.of(fps).fps
    found = [frame for frame in range(starts[-1] + 1) if starts_segment(frame, rate)]
    assert found == starts
