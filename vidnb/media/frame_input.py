"""The frames that `vidnb.show` is given, one at a time, as RGB pictures of 8 bits a channel.

Nothing is copied as a whole: an array, a tensor, a dataset of h5py is read frame by frame, an
iterator is advanced when the next frame is needed.
"""

from collections.abc import AsyncIterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from vidnb.errors import MissingExtra
from vidnb.media.frame_shapes import (
    check_alike,
    check_frame,
    check_range,
    check_stack,
    check_values,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

__all__ = ["FrameInput", "require_numpy"]

_WHITE: Final = 255
_END: Final = object()
_PILLOW_RGBA: Final = frozenset({"LA", "PA", "La", "RGBa"})
_PILLOW_ARRAYS: Final = frozenset({"L", "RGB", "RGBA", "I", "F"})
"""Modes whose array has the values of the picture; also those that begin with I;16."""


def require_numpy() -> Any:
    """Return numpy; `MissingExtra` if it is not installed."""
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtra(
            "Frames need numpy, which is not installed; run: pip install 'vidnb[media]'.",
            extra="media",
        ) from error
    return np


class FrameInput:
    """The frames of one video; `total` is their number, None if only their end tells.

    Each is RGB, uint8, of shape (height, width, 3): grey is repeated, transparency is shown on
    white. What is known without an iterator is checked at once, the other frames when they are
    read. `ValueError` says what is wrong, and in which frame.
    """

    def __init__(self, frames: Any) -> None:
        self._np = require_numpy()
        self._frames = frames
        self.total: int | None = None
        self._iterator: Iterator[Any] | None = None
        if isinstance(frames, str | bytes | PathLike | Mapping | AsyncIterable):
            raise ValueError(_refusal(frames))  # noqa: TRY004 - every bad argument is a ValueError
        if _is_picture(frames):
            self._use_picture(frames)
        elif (shape := _shape(frames)) is not None and not self._is_array_of_frames(frames):
            self._use_array(shape)
        else:
            self._use_iterable()

    def _use_picture(self, frames: Any) -> None:
        """Use one picture, or the pictures of an animation, which Pillow reads one by one."""
        self.total = getattr(frames, "n_frames", 1)
        self._frames = (frames,) if self.total == 1 else _Animation(frames, self.total)

    def _is_array_of_frames(self, frames: Any) -> bool:
        """Whether this is a numpy array of objects, each of which is a frame."""
        return isinstance(frames, self._np.ndarray) and frames.dtype == object and frames.ndim == 1

    def _use_array(self, shape: tuple[int, ...]) -> None:
        frames, is_numpy = self._frames, isinstance(self._frames, self._np.ndarray)
        self.total = check_stack(shape, is_numpy=is_numpy)
        if self.total is None:
            self._frames, self.total = (frames,), 1
        check_frame(shape[-2:] if len(shape) < 4 else shape[1:], 0)
        if is_numpy:
            check_values(frames.dtype.kind, frames.dtype.itemsize, frames.dtype.name, None)
        self._frames = _Rows(self._frames, self.total)

    def _use_iterable(self) -> None:
        frames = self._frames
        if not hasattr(frames, "__iter__") and not hasattr(frames, "__getitem__"):
            raise ValueError(_refusal(frames))
        if hasattr(frames, "__len__"):
            self.total = len(frames)
            if not self.total:
                raise ValueError("there are no frames: the sequence is empty")
        if isinstance(frames, list | tuple):
            self._picture(frames[0], 0)

    def __iter__(self) -> "Iterator[Picture]":
        first: tuple[int, ...] | None = None
        self._iterator = iter(self._frames)
        index = 0
        # Not a `for` over `enumerate`, which keeps a frame while the next one is made.
        while (frame := next(self._iterator, _END)) is not _END:
            shape, picture = self._picture(frame, index)
            first = shape if first is None else first
            check_alike(first, shape, index)
            del frame
            index += 1
            yield picture
        if first is None:
            raise ValueError("there are no frames: the iterator ended before the first one")

    def close(self) -> None:
        """Close a generator, so that its `finally` blocks run; on the thread that has read it."""
        close = getattr(self._iterator, "close", None)
        if callable(close):
            close()

    def _picture(self, frame: Any, index: int) -> "tuple[tuple[int, ...], Picture]":
        """Return the shape of a frame and its pixels as RGB."""
        np = self._np
        array = self._array(frame, index)
        channels = check_frame(array.shape, index)
        dtype = array.dtype
        match check_values(dtype.kind, dtype.itemsize, dtype.name, index):
            case "bool":
                array = array.astype(np.uint8) * _WHITE
            case "float":
                with np.errstate(invalid="ignore"):  # NaN is reported by a sentence
                    low, high = float(array.min()), float(array.max())
                check_range(low, high, dtype.name, index)
                scaled = array.astype(np.float32) * np.float32(_WHITE) + np.float32(0.5)
                array = scaled.clip(0, _WHITE).astype(np.uint8)
        pixels = array.reshape(*array.shape[:2], channels)
        if channels == 1:
            pixels = np.broadcast_to(pixels, (*array.shape[:2], 3))
        elif channels == 4:
            pixels = _on_white(np, pixels)
        return array.shape, cast("Picture", np.ascontiguousarray(pixels))

    def _array(self, frame: Any, index: int) -> Any:
        if _is_pillow(frame):
            frame = _pillow_array(frame, index)
        elif not hasattr(frame, "__array__") and not hasattr(frame, "__array_interface__"):
            raise ValueError(
                f"frame {index} is of the type {type(frame).__name__}, which is no array, tensor or"
                " picture: convert it by numpy.asarray(frame)"
            )
        try:
            return self._np.asarray(frame)
        except Exception as error:
            raise ValueError(
                f"frame {index} ({type(frame).__name__}) cannot be converted to an array"
                f" ({type(error).__name__}: {_one_line(error)}): pass tensors as"
                " tensor.detach().cpu()"
            ) from error


class _Rows:
    """The frames of an array along its first axis; each is read when it is needed."""

    def __init__(self, frames: Any, total: int) -> None:
        self._frames = frames
        self._total = total

    def __iter__(self) -> Iterator[Any]:
        return (self._frames[index] for index in range(self._total))


class _Animation:
    """The pictures of an animated picture of Pillow's, as of a GIF."""

    def __init__(self, picture: Any, total: int) -> None:
        self._picture = picture
        self._total = total

    def __iter__(self) -> Iterator[Any]:
        for index in range(self._total):
            self._picture.seek(index)
            yield self._picture


def _on_white(np: Any, pixels: Any) -> Any:
    """Return RGBA pixels on a white background, rounded to the nearest value."""
    alpha = pixels[..., 3:].astype(np.uint16)
    if alpha.min() == _WHITE:
        return pixels[..., :3]
    sums = pixels[..., :3] * alpha + _WHITE * (_WHITE - alpha) + _WHITE // 2
    return (sums // _WHITE).astype(np.uint8)


def _shape(frames: Any) -> tuple[int, ...] | None:
    """Return the shape of an array or a tensor, None for anything else."""
    shape = getattr(frames, "shape", None)
    try:
        return tuple(int(length) for length in shape)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        return None


def _is_pillow(frame: Any) -> bool:
    """Whether this is a picture of Pillow's, which is not imported for that."""
    return hasattr(frame, "getbands") and hasattr(frame, "tobytes") and hasattr(frame, "convert")


def _is_picture(frames: Any) -> bool:
    """Whether this is one picture: of Pillow's, or an object like `vidnb.Frame`."""
    if _is_pillow(frames):
        return True
    return (
        hasattr(frames, "__array__")
        and not hasattr(frames, "shape")
        and not hasattr(frames, "__iter__")
    )


def _pillow_array(picture: Any, index: int) -> Any:
    """Return a picture in a mode whose array has 1, 3 or 4 channels."""
    mode = picture.mode
    has_transparency = mode in _PILLOW_RGBA or "transparency" in picture.info
    if mode.startswith("I;") or (mode in _PILLOW_ARRAYS and not has_transparency):
        return picture
    try:
        if mode == "La":  # which Pillow converts only to this
            picture = picture.convert("LA")
        return picture.convert("RGBA" if has_transparency else "RGB")
    except ValueError as error:
        raise ValueError(
            f"frame {index} is a picture of the mode {mode}, which Pillow does not convert to RGB:"
            " convert it by PIL.ImageCms"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def _refusal(frames: Any) -> str:
    """Return why an object is no source of frames, and what to do."""
    if isinstance(frames, Mapping):
        return "a dict of videos cannot hold another dict: pass one dict of names and frames"
    if isinstance(frames, AsyncIterable):
        return (
            "show reads frames on a thread of its own, which cannot run an asynchronous iterator:"
            " collect its frames, or pass a generator that gets them from a queue"
        )
    if isinstance(frames, str | bytes | PathLike):
        return "show needs frames, not the name of a file: vidnb.play plays a file"
    return f"show needs an array, a picture, or an iterable of these, not {type(frames).__name__}"
