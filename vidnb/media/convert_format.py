"""The formats of `vidnb.convert`, and the checked arguments of a conversion."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

__all__ = ["FORMATS", "ConvertRequest", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """How a suffix is encoded: FFmpeg's muxer and encoders, with their options."""

    muxer: str
    encoder: str
    pixels: str
    options: dict[str, str]
    muxer_options: dict[str, str]
    audio: str | None = None
    is_picture: bool = False


FORMATS: Final = {
    ".mp4": Format(
        "mp4",
        "libx264",
        "yuv420p",
        {"crf": "20", "preset": "medium", "forced-idr": "1", "profile": "high"},
        {"movflags": "+faststart"},  # the index first: a player starts after one request
        audio="aac",
    ),
    ".webm": Format(
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "31", "b": "0", "row-mt": "1", "cpu-used": "4"},
        {"cues_to_front": "1"},  # likewise
        audio="libopus",
    ),
    ".gif": Format("gif", "gif", "pal8", {}, {"loop": "0"}, is_picture=True),
    ".webp": Format(
        "webp", "libwebp_anim", "yuv420p", {"quality": "80"}, {"loop": "0"}, is_picture=True
    ),
}


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """The checked arguments of a conversion; `keyframe_s` in seconds, `width` in pixels."""

    source: object
    path: Path
    suffix: str
    width: int | None
    fps: Fraction | None
    keyframe_s: Fraction

    @property
    def format(self) -> Format:
        """How the suffix is encoded."""
        return FORMATS[self.suffix]
