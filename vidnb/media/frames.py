"""`vidnb.frames`: the frames of a video as a sequence, by number and by time."""

import io
import operator
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, cast, get_args, overload

from vidnb.download.options import check_count, check_type
from vidnb.errors import MissingExtra
from vidnb.media.container import MediaFile, MediaSource, require_av, require_pillow
from vidnb.media.decoder import CACHE_BYTES, FrameDecoder
from vidnb.media.table_reader import read_table

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray
    from PIL.Image import Image

    from vidnb.media.frame_table import FrameTable

    Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

__all__ = ["FIRST_HD_HEIGHT", "Frame", "FrameFormat", "Frames", "frames", "to_pixels"]

FrameFormat: TypeAlias = Literal["rgb24", "gray", "rgba", "native"]

FIRST_HD_HEIGHT: Final = 720
"""From this height (pixels) on players take the matrix of an untagged file for BT.709."""
_SHOWN_WIDTH: Final = 800
"""The largest width (pixels) of the picture that a frame shows in a cell, which is saved there."""
_SHOWN_QUALITY: Final = 85


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame: its number in the file, the time from which it is shown (s), and its pixels.

    `image` has the shape (height, width, channels), for `gray` (height, width). As the last line of
    a cell the frame shows itself in the browser; `numpy.asarray(frame)` is its image. A picture of
    it needs Pillow: without that `to_pil` and `save` raise `MissingExtra`.
    """

    index: int
    time_s: float
    image: "Pixels"

    def __array__(
        self, dtype: "np.dtype[Any] | None" = None, copy: bool | None = None
    ) -> "NDArray[Any]":
        import numpy as np

        if copy is None:
            return np.asarray(self.image, dtype=dtype)
        return np.array(self.image, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Frame {self.index} at {self.time_s:.3f} s, {width} x {height}>"

    def to_pil(self) -> "Image":
        """Return a Pillow image with 8 bits a channel; `MissingExtra` without Pillow."""
        image = require_pillow()
        pixels = self.image if self.image.dtype.itemsize == 1 else (self.image >> 8).astype("uint8")
        return cast("Image", image.fromarray(pixels))

    def save(self, path: str | PathLike[str]) -> None:
        """Save the frame as a picture; the suffix names the format (.png, .jpg, .webp)."""
        picture = self.to_pil()
        if picture.mode == "RGBA" and fspath(path).lower().endswith((".jpg", ".jpeg")):
            picture = picture.convert("RGB")
        picture.save(path)

    def _repr_jpeg_(self) -> bytes:
        """Show the frame in a cell, at most 800 pixels wide (IPython's hook)."""
        picture = self.to_pil().convert("RGB" if self.image.ndim == 3 else "L")
        if picture.width > _SHOWN_WIDTH:
            height = max(1, round(picture.height * _SHOWN_WIDTH / picture.width))
            picture = picture.resize((_SHOWN_WIDTH, height))
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=_SHOWN_QUALITY)
        return data.getvalue()


class Frames(Sequence[Frame]):
    """The frames of a video stream, decoded when they are read; made by `vidnb.frames`.

    `frames[120]`, `frames[-1]`, `frames.at(12.5)`; `frames[::30]` is a view that decodes nothing
    yet. Numbers and times (s) are those of the file, in a view, too: `frames[::30][1].index == 30`.
    Reading in increasing order never seeks; the frames of the latest group of pictures are kept.
    Several threads may read one `Frames`. Reading a damaged frame raises `MediaError`, `IndexError`
    one that does not exist.
    """

    def __init__(self, reader: "_FrameReader", indices: range) -> None:
        self._reader = reader
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, item: int) -> Frame: ...
    @overload
    def __getitem__(self, item: slice) -> "Frames": ...
    def __getitem__(self, item: int | slice) -> "Frame | Frames":
        """Return a frame, or a view of a slice; `IndexError` out of range."""
        if isinstance(item, slice):
            return Frames(self._reader, self._indices[item])
        number = operator.index(item)
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} is out of range: there are {len(self)} frames.")
        return self._reader.read(self._indices[number])

    def __iter__(self) -> Iterator[Frame]:
        return map(self._reader.read, self._indices)

    def __repr__(self) -> str:
        table, name = self._reader.table, self._reader.file.name
        return f"<Frames of {name}: {len(self)} of {len(table)}>"

    @property
    def table(self) -> "FrameTable":
        """The frame table of the file: numbers, times and key frames."""
        return self._reader.table

    @property
    def file(self) -> MediaFile:
        """The opened file, from which other decoders may read at the same time."""
        return self._reader.file

    def at(self, time_s: float) -> Frame:
        """Return the frame of this view that is shown at a time (s); the nearest one outside."""
        return self[self.index_at(time_s)]

    def index_at(self, time_s: float) -> int:
        """Return the position in this view of the frame that is shown at a time (s)."""
        if not len(self):
            raise IndexError("there are no frames in this view.")
        shown = self._reader.table.index_at(Fraction(time_s))
        indices = self._indices
        if indices.step < 0:
            return len(self) - 1 - self[::-1].index_at(time_s)
        return min(max(0, (shown - indices.start) // indices.step), len(self) - 1)

    @property
    def times_s(self) -> "NDArray[np.float64]":
        """The times (s) from which the frames are shown, as the container states them."""
        import numpy as np

        table = self._reader.table
        scale = table.time_base
        return np.array([float(table.pts[i] * scale) for i in self._indices], dtype=np.float64)

    @property
    def keyframes(self) -> tuple[int, ...]:
        """The positions in this view of frames at which decoding can start."""
        keys = set(self._reader.table.keyframes())
        return tuple(place for place, index in enumerate(self._indices) if index in keys)

    def batches(self, count: int) -> "Iterator[Pixels]":
        """Yield arrays of `count` consecutive images, shape (count, height, width, channels).

        The last one may be shorter.
        """
        import numpy as np

        check_count("count", count)
        for start in range(0, len(self), count):
            yield cast("Pixels", np.stack([frame.image for frame in self[start : start + count]]))

    def to_torch(self) -> Any:
        """Return all frames as one tensor (frames, channels, height, width).

        `MissingExtra` without torch, which vidnb does not install.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingExtra(
                "to_torch() needs PyTorch, which is not installed; run: pip install torch.",
                extra="torch",
            ) from error
        import numpy as np

        pixels = np.stack([frame.image for frame in self])
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def close(self) -> None:
        """Close the file and the decoder; views of it end, too."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _FrameReader:
    """The file, table and decoder behind one `Frames` and its views."""

    def __init__(
        self,
        source: object,
        stream: int,
        size: tuple[int | None, int | None],
        pixel_format: FrameFormat,
        *,
        upright: bool,
        is_strict: bool,
        cache_bytes: int,
    ) -> None:
        require_av()
        self._size = size
        self._format = pixel_format
        self._upright = upright
        self._lock = threading.Lock()
        self._local = threading.local()
        self.file = MediaFile(source)
        try:
            self.table: FrameTable = read_table(self.file, stream)
            self._decoder = FrameDecoder(
                self.file, stream, self.table, cache_bytes=cache_bytes, is_strict=is_strict
            )
            self._ratio = self._decoder.pixel_aspect_ratio()
        except BaseException:
            self.file.close()
            raise
        weakref.finalize(self, _close, self._decoder, self.file)

    def read(self, index: int) -> Frame:
        with self._lock:
            decoded = self._decoder.read(index)
        time_s = float(self.table.pts[index] * self.table.time_base)
        return Frame(index, time_s, self._pixels(decoded))

    def close(self) -> None:
        with self._lock:
            _close(self._decoder, self.file)

    def _pixels(self, frame: "VideoFrame") -> "Pixels":
        ratio = self._ratio if self._upright else None
        return to_pixels(frame, self._reformatter(), ratio, size=self._size, to_format=self._format)

    def _reformatter(self) -> Any:
        """Return the scaler of this thread."""
        if not hasattr(self._local, "reformatter"):
            self._local.reformatter = require_av().video.reformatter.VideoReformatter()
        return self._local.reformatter


def _close(decoder: FrameDecoder, file: MediaFile) -> None:
    decoder.close()
    file.close()


def to_pixels(
    frame: "VideoFrame",
    reformatter: Any,
    ratio: Fraction | None,
    *,
    size: tuple[int | None, int | None],
    to_format: FrameFormat = "rgb24",
) -> "Pixels":
    """Scale, convert and turn a decoded frame; `reformatter` is PyAV's scaler of this thread.

    `ratio` is the aspect ratio of a pixel, None to leave shape and rotation as they are stored.
    """
    import numpy as np

    turns = 0 if ratio is None else round(frame.rotation / 90) % 4
    width, height = frame.width, frame.height
    if ratio is not None and ratio != 1:
        width = max(1, round(width * ratio))
    wanted = _scaled((height, width) if turns % 2 else (width, height), size)
    width, height = wanted[::-1] if turns % 2 else wanted
    converted = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format=_pixel_format(frame, to_format),
        src_colorspace=_colorspace(frame),
        interpolation="BILINEAR" if (width, height) == (frame.width, frame.height) else "AREA",
    )
    pixels = converted.to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else cast("Pixels", pixels)


def _scaled(shape: tuple[int, int], size: tuple[int | None, int | None]) -> tuple[int, int]:
    """Return width and height for a picture of `shape`; one that is None keeps the aspect ratio."""
    width, height = size
    if width is None and height is None:
        return shape
    if width is None:
        return max(1, round(shape[0] * (height or 1) / shape[1])), height or 1
    if height is None:
        return width, max(1, round(shape[1] * width / shape[0]))
    return width, height


def _pixel_format(frame: "VideoFrame", wanted: FrameFormat) -> str:
    """Return FFmpeg's name of the format; `native` has as many bits as the file, in 8 or 16."""
    if wanted != "native":
        return wanted
    components = frame.format.components
    is_deep = any(component.bits > 8 for component in components)
    is_gray = len(components) == 1 and not frame.format.is_rgb and not frame.format.has_palette
    if is_gray:
        return "gray16le" if is_deep else "gray"
    return "rgb48le" if is_deep else "rgb24"


def _colorspace(frame: "VideoFrame") -> str | None:
    """Return the matrix of an untagged file by its size, as browsers and FFmpeg's players do."""
    unspecified = 2  # ITU-T H.273, table 4
    if frame.colorspace != unspecified:
        return None
    return "ITU709" if frame.height >= FIRST_HD_HEIGHT else "ITU601"


def frames(
    source: MediaSource,
    *,
    stream: int = 0,
    size: int | tuple[int | None, int | None] | None = None,
    format: FrameFormat = "rgb24",  # noqa: A002 - the field's word, and the public name
    upright: bool = True,
    damaged: Literal["error", "show"] = "error",
    cache_bytes: int = CACHE_BYTES,
) -> Frames:
    """Return the frames of a video as a sequence: `frames[120]`, `frames.at(12.5)`, `frames[::30]`.

    Parameters
        source: a path, an http(s) URL (only what is needed is fetched), a `DownloadResult`, a
            `Served` or a seekable binary file object.
        stream: which video stream, from 0.
        size: the width in pixels, or (width, height); None keeps the aspect ratio, scaled by
            FFmpeg.
        format: `"rgb24"` and `"rgba"` have 8 bits a channel, `"gray"` one channel; `"native"` is
            RGB or grey with the file's bit depth, uint16 for more than 8 bits.
        upright: apply the rotation and the pixel aspect ratio of the file, as players do.
        damaged: `"error"` raises `MediaError` for a frame that is damaged or depends on a damaged
            one; `"show"` returns what FFmpeg makes of it.
        cache_bytes: the most memory for decoded frames (B).

    Frame numbers count the frames in the order in which they are shown; times are the container's
    presentation timestamps. Raises `MediaError` for a file that is not a readable video,
    `MissingExtra` without the extra `media`, and what `vidnb.open` raises for a URL.
    """
    if format not in get_args(FrameFormat):
        raise ValueError(f"format={format!r} must be one of {', '.join(get_args(FrameFormat))}.")
    check_type("stream", stream, int, "the number of a video stream, from 0")
    width, height = size if isinstance(size, tuple) else (size, None)
    for name, value in (("size", width), ("size", height)):
        if value is not None:
            check_count(name, value)
    if damaged not in ("error", "show"):
        raise ValueError(f"damaged={damaged!r} must be 'error' or 'show'.")
    reader = _FrameReader(
        source,
        stream,
        (width, height),
        format,
        upright=upright,
        is_strict=damaged == "error",
        cache_bytes=cache_bytes,
    )
    return Frames(reader, range(len(reader.table)))
