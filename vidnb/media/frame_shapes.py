"""What `vidnb.show` accepts as frames: shapes, types and ranges of values, frame rate, segments.

Axes are height, width, channels, and for several frames their number first. A sentence names a
frame by its number, from 0, and says how to convert what is not accepted.
"""

from fractions import Fraction
from numbers import Rational, Real
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "FIRST_SEGMENT_S",
    "Timing",
    "Values",
    "check_alike",
    "check_frame",
    "check_range",
    "check_stack",
    "check_values",
    "even",
    "shape_text",
    "starts_segment",
]

Values: TypeAlias = Literal["uint8", "bool", "float"]
Shape: TypeAlias = tuple[int, ...]

FIRST_SEGMENT_S: Final = Fraction(1, 4)
"""The duration (s) of the first segment; a short one, so that a picture is shown early."""
HALF_STEP: Final = 0.5 / 255
"""How far outside 0 to 1 a float may be: it is still rounded to 0 or 255."""

_CHANNELS: Final = (1, 3, 4)
_COLORS: Final = (3, 4)
_MAX_SIDE: Final = 16384
"""The largest width and height (pixels) of libx264."""
_MAX_MACROBLOCKS: Final = 139_264
"""The largest picture of H.264, level 6.2 (ITU-T H.264, table A-1)."""
_MAX_FPS: Final = 1000
_MAX_DENOMINATOR: Final = 1001
_MIN_TIMESCALE: Final = 10_000


class Timing(NamedTuple):
    """When frames are shown: frame n from `n * ticks / timescale` (s), which is n / fps exactly."""

    fps: Fraction
    timescale: int
    ticks: int

    @classmethod
    def of(cls, fps: object) -> "Timing":
        """Return the timing of a constant rate (frames/s); `ValueError` if that is no rate.

        A float is taken for the nearest fraction with a denominator up to 1001: 29.97 as 2997/100
        and 30000 / 1001 as 30000/1001.
        """
        if isinstance(fps, bool) or not isinstance(fps, Real) or not 0 < float(fps) <= _MAX_FPS:
            raise ValueError(f"fps={fps!r} must be a number of frames a second, at most {_MAX_FPS}")
        exact = Fraction(fps) if isinstance(fps, Rational) else Fraction(float(fps))
        rate = exact.limit_denominator(_MAX_DENOMINATOR)
        if not rate:
            raise ValueError(f"fps={fps!r} must be at least one frame in {_MAX_DENOMINATOR} s")
        scale = -(-_MIN_TIMESCALE // rate.numerator)
        return cls(rate, rate.numerator * scale, rate.denominator * scale)

    def at(self, frame: int) -> Fraction:
        """Return from when a frame is shown (s)."""
        return frame / self.fps


def shape_text(shape: Shape) -> str:
    """Return a shape as text, without the comma of a tuple: (480, 640, 3)."""
    return f"({', '.join(map(str, shape))})"


def check_stack(shape: Shape, *, is_numpy: bool) -> int | None:
    """Return how many frames an array holds; None if it is one grey picture (height, width).

    `ValueError` for a shape that is none of these, or may be read in two ways: three axes with the
    last one 1, 3 or 4 are one picture or many narrow ones; channels come last, and in three axes
    with the first one 3 or 4 a tensor of another library than numpy has them first.
    """
    text = shape_text(shape)
    if len(shape) == 4:
        if shape[3] not in _CHANNELS:
            raise ValueError(
                f"frames of shape {text} have {shape[3]} channels, not 1, 3 or 4{_first(shape)}"
            )
    elif len(shape) == 3:
        if shape[2] in _CHANNELS:
            raise ValueError(
                f"the shape {text} is one picture, or {shape[0]} grey frames of {shape[1]} x"
                f" {shape[2]}: pass [picture] for the first, frames[..., None] for the second"
            )
        if not is_numpy and shape[0] in _COLORS:
            raise ValueError(
                f"the shape {text} is {shape[0]} grey frames, or one picture with its channels"
                " first: pass frames[..., None] for the first, [picture.permute(1, 2, 0)] for the"
                " second"
            )
    elif len(shape) == 2:
        return None
    else:
        raise ValueError(
            f"an array of shape {text} holds no frames: it must be (frames, height, width), or"
            " (frames, height, width, channels)"
        )
    if not shape[0]:
        raise ValueError(f"there are no frames: the shape is {text}")
    return shape[0]


def check_frame(shape: Shape, index: int) -> int:
    """Return the number of channels of a frame: 1, 3 or 4; `ValueError` for another shape."""
    text = shape_text(shape)
    if len(shape) == 4:
        raise ValueError(
            f"frame {index} has the shape {text}, which is a batch: pass its frames one by one, as"
            " in (frame for batch in batches for frame in batch)"
        )
    if len(shape) not in {2, 3}:
        raise ValueError(
            f"frame {index} has the shape {text}: it must be (height, width), or (height, width,"
            " channels)"
        )
    channels = shape[2] if len(shape) == 3 else 1
    if channels not in _CHANNELS:
        raise ValueError(
            f"frame {index} has the shape {text}, so {channels} channels, not 1, 3 or 4"
            f"{_first(shape)}"
        )
    _check_size(shape, index)
    return channels


def _first(shape: Shape) -> str:
    """Return what to do if the channels seem to come before height and width."""
    at = len(shape) - 3
    if shape[at] not in _CHANNELS:
        return ""
    order = (1, 2, 0) if at == 0 else (0, 2, 3, 1)
    return (
        f"; its channels seem to come first: transpose it by .transpose{order}, or a tensor by"
        f" .permute{order}"
    )


def _check_size(shape: Shape, index: int) -> None:
    height, width = shape[:2]
    if not (height and width):
        raise ValueError(f"frame {index} has the shape {shape_text(shape)}, so it has no pixels")
    blocks = -(-height // 16) * -(-width // 16)
    if max(height, width) > _MAX_SIDE or blocks > _MAX_MACROBLOCKS:
        raise ValueError(
            f"frame {index} has the shape {shape_text(shape)}, which is more than H.264 can hold"
            f" (8192 x 4352): scale it down, as in frame[::2, ::2]"
        )


def check_alike(first: Shape, shape: Shape, index: int) -> None:
    """Raise `ValueError` if a frame has another height or width than the first one."""
    if first[:2] != shape[:2]:
        raise ValueError(
            f"frame {index} has the shape {shape_text(shape)}, but frame 0 has"
            f" {shape_text(first)}: all frames of a video have one size"
        )


def check_values(kind: str, item_bytes: int, dtype: str, index: int | None) -> Values:
    """Return how the values of a type are read; `ValueError` for a type that is not accepted.

    `kind` and `item_bytes` are numpy's of the type that is called `dtype`. `index` is the number of
    the frame, None for all of them.
    """
    where = "the frames are" if index is None else f"frame {index} is"
    what = "frames" if index is None else "numpy.asarray(frame)"
    if kind == "b":
        return "bool"
    if kind == "f" and item_bytes <= 8:
        return "float"
    if kind == "u" and item_bytes == 1:
        return "uint8"
    if kind == "u" and item_bytes == 2:
        raise ValueError(
            f"{where} uint16, whose largest value is not known: convert to uint8 by"
            f" ({what} // 257).astype('uint8') where it is 65535, by ({what} >> 2).astype('uint8')"
            " where it is 1023"
        )
    if kind in "iu":
        raise ValueError(
            f"{where} {dtype}, not uint8, bool or float: where the values are 0 to 255, convert by"
            f" {what}.astype('uint8')"
        )
    raise ValueError(
        f"{where} {dtype}, not uint8, bool or float of 16, 32 or 64 bits: convert to one of these"
    )


def check_range(low: float, high: float, dtype: str, index: int) -> None:
    """Raise `ValueError` if the values of a frame of floats are not from 0 to 1, or are NaN.

    A value within half a step of 8 bits outside is accepted; it comes from rounding.
    """
    if low >= -HALF_STEP and high <= 1 + HALF_STEP:
        return
    if low != low or high != high:  # noqa: PLR0124 - NaN
        raise ValueError(
            f"frame {index} ({dtype}) holds NaN: replace it, as by numpy.nan_to_num(frame), before"
            " it is shown"
        )
    remedy = "scale it to 0 to 1, as by (frame - frame.min()) / numpy.ptp(frame)"
    if low >= 0 and high <= 255:
        remedy = "divide by 255 if the values are 0 to 255"
    raise ValueError(
        f"frame {index} ({dtype}) has values from {low:.6g} to {high:.6g}, and floats must be 0 to"
        f" 1: {remedy}"
    )


def even(height: int, width: int) -> tuple[int, int]:
    """Return the size with an even height and width, which 4:2:0 needs."""
    return height + height % 2, width + width % 2


def starts_segment(frame: int, fps: Fraction) -> bool:
    """Whether a segment starts at a frame: at 0 s, about a quarter of a second, and each second."""
    if frame in {0, max(1, round(fps * FIRST_SEGMENT_S))}:
        return True
    return frame // fps > (frame - 1) // fps
