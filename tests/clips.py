"""Short clips whose frames show their own number, made by ffmpeg once and cached.

Each frame is a grid of black and white boxes that encodes its number twice, the second time
inverted, so that a mixture of two frames or a damaged one is recognised.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.assets import CACHE

COLUMNS, ROWS = 5, 4
BITS = COLUMNS * ROWS // 2
BOX = 32
WIDTH, HEIGHT = COLUMNS * BOX, ROWS * BOX

_X264 = "-c:v libx264 -preset veryfast -bf 3 -g 12 -pix_fmt yuv420p"
_VARIABLE = "-vf setpts='(N+mod(N*7\\,5)/6+gt(N\\,30)*9)/(25*TB)' -vsync passthrough"
_LOW = "-c:v libx264 -preset ultrafast -g 1000 -pix_fmt yuv420p"

CLIPS: dict[str, tuple[int, str, str]] = {
    # name: frames, frame rate, ffmpeg's options
    "h264.mp4": (60, "25", _X264),
    "h264-faststart.mp4": (60, "25", f"{_X264} -movflags +faststart"),
    "h264-29.97.mp4": (60, "30000/1001", _X264),
    "h264-12.5.mp4": (40, "25/2", _X264),
    "h264-60.mp4": (60, "60", _X264),
    "h264-variable.mp4": (60, "25", f"{_X264} {_VARIABLE}"),
    "h264-variable.mkv": (60, "25", f"{_X264} {_VARIABLE}"),
    "h264-open-gop.mp4": (60, "25", f"{_X264} -x264-params open-gop=1:scenecut=0"),
    "h264-open-gop.ts": (60, "25", f"{_X264} -x264-params open-gop=1:scenecut=0"),
    "h264-fragmented.mp4": (60, "25", f"{_X264} -movflags frag_keyframe+empty_moov"),
    "h264-default-base.mp4": (60, "25", f"{_X264} -movflags frag_keyframe+default_base_moof"),
    "h264.mkv": (60, "25", _X264),
    "h264.ts": (60, "25", _X264),
    "h264.avi": (60, "25", _X264),
    "h264.h264": (60, "25", _X264),
    "h264-field-coded.ts": (60, "25", f"{_X264} -flags +ilme+ildct -x264-params tff=1"),
    "hevc.mp4": (60, "25", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12"),
    "hevc-10-bit.mkv": (
        30,
        "25",
        "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none:keyint=12",
    ),
    "vp8.webm": (60, "25", "-c:v libvpx -deadline realtime -cpu-used 8 -g 12 -b:v 500k"),
    "vp9.webm": (60, "25", "-c:v libvpx-vp9 -row-mt 1 -cpu-used 6 -g 12 -b:v 300k"),
    "vp9.mp4": (60, "25", "-c:v libvpx-vp9 -row-mt 1 -cpu-used 6 -g 12 -b:v 300k"),
    "av1.mp4": (30, "25", "-c:v libsvtav1 -preset 12 -g 12"),
    "av1.mkv": (30, "25", "-c:v libsvtav1 -preset 12 -g 12"),
    "mpeg4.avi": (60, "25", "-c:v mpeg4 -bf 2 -g 12 -q:v 3"),
    "mpeg4.mp4": (60, "25", "-c:v mpeg4 -bf 2 -g 12 -q:v 3"),
    "mpeg2.mpg": (60, "25", "-c:v mpeg2video -bf 2 -g 12 -q:v 3 -f mpeg"),
    "mjpeg.avi": (30, "25", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "prores.mov": (30, "25", "-c:v prores_ks"),
    "wmv.asf": (60, "25", "-c:v wmv2 -g 12 -b:v 500k"),
    "one-frame.mp4": (1, "25", _X264),
    "one-group.mp4": (60, "25", _LOW),
}

COPIES: dict[str, tuple[str, str, str]] = {
    # name: source, options for the source, options for the copy
    "h264-edit-list.mp4": ("h264.mp4", "-ss 0.7", ""),  # begins within a group of pictures
    "h264-rotated.mov": ("h264.mp4", "", "-metadata:s:v:0 rotate=90"),
}


def numbered_frames(count: int) -> NDArray[np.uint8]:
    """Return grey frames of the shape (count, HEIGHT, WIDTH) that show their numbers."""
    numbers = np.arange(count)[:, None]
    bits = (numbers >> np.arange(BITS)) & 1
    cells = np.concatenate([bits, 1 - bits], axis=1).reshape(count, ROWS, COLUMNS)
    grey = np.where(cells, 235, 16).astype(np.uint8)
    return grey.repeat(BOX, axis=1).repeat(BOX, axis=2)


def shown_number(image: NDArray[np.uint8] | NDArray[np.uint16]) -> int | None:
    """Return the number that a frame shows; None if it shows none, or a mixture of two."""
    grey = image.astype(np.float64)
    if grey.ndim == 3:
        grey = grey[..., :3].mean(axis=2)
    grey *= 255 / np.iinfo(image.dtype).max
    height, width = grey.shape
    rows = [round((row + 0.5) * height / ROWS) for row in range(ROWS)]
    columns = [round((column + 0.5) * width / COLUMNS) for column in range(COLUMNS)]
    reach = max(1, min(height // ROWS, width // COLUMNS) // 6)
    values = np.array(
        [grey[y - reach : y + reach, x - reach : x + reach].mean() for y in rows for x in columns]
    )
    if np.any((values > 90) & (values < 165)):
        return None
    bits = (values > 127).astype(int)
    if np.any(bits[:BITS] == bits[BITS:]):
        return None
    return int((bits[:BITS] << np.arange(BITS)).sum())


def clip(name: str) -> Path:
    """Return one of `CLIPS` or `COPIES`; skips without ffmpeg or without the encoder."""
    if name in COPIES:
        source, before, after = COPIES[name]
        return _made(name, [*before.split(), "-i", str(clip(source)), "-c", "copy", *after.split()])
    count, rate, options = CLIPS[name]
    color = [] if "-pix_fmt" in options or "prores" in options else ["-pix_fmt", "yuv420p"]
    words = [word.strip("'").replace("\\,", "\\,") for word in options.split()]
    return _encoded(name, count, rate, [*color, *words])


def long_clip(count: int, rate: str) -> Path:
    """Return a lossless clip of up to 1024 frames, from which others are made."""
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p"]
    return _encoded(f"{count}-at-{rate}.mkv", count, rate, options)


def _encoded(name: str, count: int, rate: str, options: list[str]) -> Path:
    """Return a clip of frames that show their numbers, encoded with ffmpeg's options."""
    path = _folder() / name
    if path.is_file():
        return path
    size = f"{WIDTH}x{HEIGHT}"
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", rate, "-i", "-"]
    return _made(name, [*raw, *options], numbered_frames(count).tobytes())


def _folder() -> Path:
    return CACHE / "clips-1"


def _made(name: str, arguments: list[str], data: bytes = b"") -> Path:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    path = _folder() / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{name}")
        command = [program, "-v", "error", "-nostdin", "-y", *arguments, str(part)]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        if b"Unknown encoder" in done.stderr:
            pytest.skip(f"ffmpeg cannot make {name}: {done.stderr.decode(errors='replace')[:200]}")
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        part.replace(path)
    return path
