"""What `vidnb.show` reads of arrays, pictures, tensors and iterators: RGB, one frame at a time."""

import gc
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import vidnb
from tests.clips import clip
from vidnb.media.frame_input import FrameInput

GREY = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(3, 4, 6)
COLOR = np.arange(3 * 4 * 6 * 3, dtype=np.uint8).reshape(3, 4, 6, 3)


def pixels(frames: object) -> list[NDArray[np.uint8]]:
    found = list(FrameInput(frames))
    for picture in found:
        assert picture.dtype == np.uint8
        assert picture.shape[2:] == (3,)
        assert picture.flags.c_contiguous
    return found


def grey(values: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(values[..., None], 3, axis=-1)


class Tensor:
    """As much of a tensor of another library as `vidnb.show` may use."""

    def __init__(self, values: NDArray[Any], error: Exception | None = None) -> None:
        self._values, self._error = values, error
        self.shape = values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> "Tensor":
        return Tensor(self._values[index], self._error)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self._error is not None:
            raise self._error
        return self._values


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param(GREY, grey(GREY), id="T-H-W"),
        pytest.param(GREY[..., None], grey(GREY), id="T-H-W-1"),
        pytest.param(COLOR, COLOR, id="T-H-W-3"),
        pytest.param(GREY[:1], grey(GREY[:1]), id="one frame"),
        pytest.param(GREY[0], grey(GREY[:1]), id="H-W"),
        pytest.param(list(COLOR), COLOR, id="list"),
        pytest.param(tuple(GREY), grey(GREY), id="tuple"),
        pytest.param([COLOR[0]], COLOR[:1], id="list of one"),
        pytest.param(GREY > 30, grey((GREY > 30) * 255), id="bool"),
        pytest.param(GREY[:, ::-1, ::2], None, id="strides-refused"),
        pytest.param(np.asfortranarray(COLOR), COLOR, id="Fortran order"),
        pytest.param(COLOR[:, ::-1, ::2], COLOR[:, ::-1, ::2], id="strides"),
        pytest.param(Tensor(COLOR), COLOR, id="tensor T-H-W-3"),
        pytest.param(
            Tensor(np.tile(GREY, (2, 1, 1))), grey(np.tile(GREY, (2, 1, 1))), id="T-tensor"
        ),
        pytest.param([Tensor(frame) for frame in COLOR], COLOR, id="tensors"),
        pytest.param([Image.fromarray(frame) for frame in COLOR], COLOR, id="Pillow"),
        pytest.param(Image.fromarray(COLOR[0]), COLOR[:1], id="one Pillow picture"),
        pytest.param(vidnb.Frame(7, 0.1, COLOR[0]), COLOR[:1], id="one vidnb.Frame"),
        pytest.param([vidnb.Frame(7, 0.1, COLOR[0])], COLOR[:1], id="vidnb.Frame"),
        pytest.param([GREY[0], grey(GREY[1])], grey(GREY[:2]), id="mixed"),
    ],
)
def test_frames_become_rgb(frames: object, expected: NDArray[Any] | None) -> None:
    if expected is None:  # three columns are left, which may be channels
        with pytest.raises(ValueError, match="one picture"):
            FrameInput(frames)
        return
    found = pixels(frames)
    assert len(found) == len(expected)
    for picture, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(picture, right)
    assert FrameInput(frames).total == len(expected)


def test_an_array_of_arrays_is_a_sequence() -> None:
    frames = np.empty(3, dtype=object)
    for index, frame in enumerate(COLOR):
        frames[index] = frame
    np.testing.assert_array_equal(np.stack(pixels(frames)), COLOR)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_are_scaled_and_rounded(dtype: str) -> None:
    values = np.arange(256, dtype=np.float64).reshape(1, 16, 16) / 255
    np.testing.assert_array_equal(
        pixels(values.astype(dtype))[0][..., 0].ravel(), np.arange(256, dtype=np.uint8)
    )
    outside = np.array([[[-0.0019, 1.0019]]], dtype)
    assert pixels(outside)[0][0, :, 0].tolist() == [0, 255]


def test_transparency_is_shown_on_white() -> None:
    frame = np.zeros((1, 3, 4), np.uint8)
    frame[0] = [[10, 20, 30, 255], [10, 20, 30, 0], [10, 20, 30, 128]]
    assert pixels([frame])[0][0].tolist() == [[10, 20, 30], [255, 255, 255], [132, 137, 142]]
    scaled = (frame / 255).astype(np.float32)
    np.testing.assert_array_equal(pixels([scaled])[0], pixels([frame])[0])
    frame[..., 3] = 255
    np.testing.assert_array_equal(pixels([frame])[0], frame[..., :3])


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA", "RGBa", "RGBX"]


@pytest.mark.parametrize("mode", [*MODES, "La"])
def test_every_mode_of_pillow_with_8_bits_is_shown(mode: str) -> None:
    source = {"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")
    base = Image.new(source, (6, 4), "white")
    picture = Image.new(mode, (6, 4)) if mode == "LAB" else base.convert(mode)
    (found,) = pixels([picture])
    assert found.shape == (4, 6, 3)
    if mode != "LAB":
        assert found.min() >= 254


def test_transparent_colors_of_pillow_are_shown_on_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.putpixel((1, 0), 1)
    picture.info["transparency"] = 0
    assert pixels([picture])[0][0].tolist() == [[255, 255, 255], [200, 0, 0]]
    transparent = Image.new("LA", (1, 1), (0, 0))
    assert pixels([transparent])[0][0].tolist() == [[255, 255, 255]]


@pytest.mark.parametrize(
    ("mode", "dtype"), [("I;16", "uint16"), ("I;16B", "uint16"), ("I", "int32")]
)
def test_deep_modes_of_pillow_are_refused(mode: str, dtype: str) -> None:
    with pytest.raises(ValueError, match=f"frame 0 is {dtype}"):
        FrameInput([Image.new(mode, (6, 4))])


def test_the_mode_f_of_pillow_holds_0_to_1() -> None:
    assert pixels([Image.new("F", (6, 4), 1.0)])[0].min() == 255
    with pytest.raises(ValueError, match=r"frame 0 \(float32\) has values from 7 to 7"):
        FrameInput([Image.new("F", (6, 4), 7.0)])


def test_a_mode_that_pillow_cannot_convert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("CMYK", (6, 4))

    def convert(*_: object) -> None:
        raise ValueError("conversion not supported")

    monkeypatch.setattr(picture, "convert", convert)
    with pytest.raises(ValueError, match="frame 0 is a picture of the mode CMYK"):
        FrameInput([picture])


def test_all_pictures_of_an_animation_are_read(tmp_path: Path) -> None:
    first, *others = (Image.new("RGB", (6, 4), (40 * n, 0, 0)) for n in range(4))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, optimize=False)
    with Image.open(tmp_path / "a.gif") as animation:
        found = pixels(animation)
        assert FrameInput(animation).total == 4
    assert [int(picture[0, 0, 0]) for picture in found] == [0, 40, 80, 120]


def test_the_frames_of_a_video_are_read() -> None:
    with vidnb.frames(clip("h264.mp4")) as frames:
        source = FrameInput(frames[:5])
        assert source.total == 5
        for picture, frame in zip(source, frames[:5], strict=True):
            np.testing.assert_array_equal(picture, frame.image)


def test_an_array_is_not_copied_as_a_whole() -> None:
    """A frame of an RGB array shares its memory; a dataset is read by index, when needed."""
    assert all(np.shares_memory(picture, COLOR) for picture in FrameInput(COLOR))
    read: list[int] = []

    class Dataset:
        shape = (5, 4, 6, 3)

        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return COLOR[0]

    iterator = iter(FrameInput(Dataset()))
    next(iterator)
    next(iterator)
    assert read == [0, 1]


def test_one_frame_of_a_generator_is_kept_at_a_time() -> None:
    alive: list[weakref.ref[NDArray[np.float32]]] = []

    def frames() -> Iterator[NDArray[np.float32]]:
        for _ in range(4):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1
            frame = np.zeros((4, 6, 3), np.float32)
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    source = FrameInput(frames())
    assert source.total is None
    assert sum(1 for _ in source) == 4


def test_a_generator_is_closed_by_the_reader() -> None:
    ended: list[bool] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        try:
            while True:
                yield GREY[0]
        finally:
            ended.append(True)

    source = FrameInput(frames())
    source.close()
    iterator = iter(source)
    next(iterator)
    assert ended == []
    source.close()
    assert ended == [True]


def test_what_the_iterator_raises_is_not_changed() -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        yield GREY[0]
        raise KeyError("mine")

    iterator = iter(FrameInput(frames()))
    next(iterator)
    with pytest.raises(KeyError, match="mine"):
        next(iterator)


async def asynchronous() -> AsyncIterator[NDArray[np.uint8]]:
    yield GREY[0]


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ("film.mp4", r"vidnb\.play plays a file"),
        (b"film.mp4", r"vidnb\.play"),
        (Path("film.mp4"), r"vidnb\.play"),
        ({"a": GREY}, r"cannot hold another dict"),
        (asynchronous(), r"asynchronous iterator"),
        (7, r"not int"),
        (None, r"not NoneType"),
        (object(), r"not object"),
        ([], r"no frames: the sequence is empty"),
        ((), r"no frames"),
        (np.zeros((0, 4, 6)), r"no frames"),
        (np.zeros(7), r"\(7\) holds no frames"),
        (np.zeros((2, 4, 6, 3), np.uint16), r"the frames are uint16"),
        (np.zeros((2, 4, 6, 3), np.int64), r"the frames are int64"),
        (np.zeros((4, 6), np.complex64), r"complex64"),
        (np.zeros((2, 0, 6), np.uint8), r"no pixels"),
        (COLOR[0], r"one picture, or 4 grey frames"),
        (Tensor(np.zeros((3, 40, 60), np.uint8)), r"channels first"),
        (Tensor(np.zeros((2, 3, 40, 60), np.uint8)), r"transpose\(0, 2, 3, 1\)"),
        ([np.zeros((3, 40, 60), np.uint8)], r"frame 0 .*transpose\(1, 2, 0\)"),
        ([np.full((4, 6), np.nan)], r"frame 0 \(float64\) holds NaN"),
        ([[1, 2], [3, 4]], r"frame 0 is of the type list"),
        ([None], r"frame 0 is of the type NoneType"),
        (["a.png"], r"frame 0 is of the type str"),
        (
            [Tensor(GREY[0], TypeError("can't convert cuda:0 device type tensor to numpy."))],
            r"frame 0 \(Tensor\) cannot be .*TypeError: can't convert cuda:0 .*detach\(\)\.cpu\(\)",
        ),
        (
            [Tensor(GREY[0], RuntimeError("Can't call numpy() on\nTensor that requires grad."))],
            r"RuntimeError: Can't call numpy\(\) on Tensor that requires grad\):",
        ),
    ],
)
def test_what_is_known_at_once_is_refused_at_once(frames: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FrameInput(frames)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([GREY[0], GREY[1, :3]], r"frame 1 has the shape \(3, 6\), but frame 0 has \(4, 6\)"),
        ([COLOR[0], COLOR[1], GREY[2].T], r"frame 2 has the shape \(6, 4\), but .*\(4, 6, 3\)"),
        (iter([GREY[0], COLOR]), r"frame 1 .*a batch"),
        (iter([]), r"no frames: the iterator ended"),
        (iter([GREY[0], GREY[1].astype(np.int32)]), r"frame 1 is int32"),
        (np.stack([GREY[0] / 255, GREY[1] / 255, GREY[2]]), r"frame 2 \(float64\) has values"),
        (Tensor(np.zeros((5, 4, 6), np.uint16)), r"frame 0 is uint16"),
    ],
)
def test_a_later_frame_is_named_by_its_number(frames: object, sentence: str) -> None:
    source = FrameInput(frames)
    with pytest.raises(ValueError, match=sentence):
        list(source)


def test_numpy_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(vidnb.MissingExtra, match=r"pip install 'vidnb\[media\]'"):
        FrameInput([])
