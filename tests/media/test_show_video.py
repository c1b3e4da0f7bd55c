"""What `vidnb.show` encodes: colours, timestamps, closed groups, the same bytes each time."""

import io
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import vidnb
from tests.clips import numbered_frames, shown_number
from vidnb.media.export import OutputFile
from vidnb.media.frame_input import FrameInput
from vidnb.media.frame_shapes import Timing
from vidnb.media.growing_video import GrowingVideo
from vidnb.media.show_video import ShowEncoder


class Encoded(NamedTuple):
    file: Path
    segments: Path
    parts: list[bytes]
    playlist: str
    type: str


def encode(folder: Path, frames: Any, fps: float | Fraction = 30) -> Encoded:
    folder.mkdir(exist_ok=True)
    path = folder / "made.mp4"
    with closing(GrowingVideo(folder / "segments.mp4")) as video, OutputFile(path) as output:
        encoder = ShowEncoder(Timing.of(fps), video, output)
        for pixels in FrameInput(frames):
            encoder.add(pixels)
        encoder.flush()
        video.complete()
        assert encoder.finish() == (path, path.stat().st_size)
        names = ["init.mp4", *(f"{number}.m4s" for number in range(len(video)))]
        parts = [video.read(name) or b"" for name in names]
        text = (video.read("index.m3u8") or b"").decode()
        return Encoded(path, video.path, parts, text, encoder.type)


def opened(data: bytes) -> Any:
    return av.open(io.BytesIO(data))


def decoded_numbers(path: Path) -> list[int | None]:
    with vidnb.frames(path) as frames:
        return [shown_number(frame.image) for frame in frames]


@pytest.mark.parametrize("fps", [30, 25, 30000 / 1001, 12.5, 0.5, 1000])
def test_frame_n_is_shown_from_n_by_fps_in_the_file_and_in_the_segments(
    tmp_path: Path, fps: float
) -> None:
    made = encode(tmp_path, numbered_frames(40), fps)
    rate = Timing.of(fps).fps
    for path in (made.file, made.segments):
        with vidnb.frames(path) as frames:
            table = frames.table
            assert [pts * table.time_base for pts in table.pts] == [n / rate for n in range(40)]
        assert decoded_numbers(path) == list(range(40))
    assert vidnb.probe(made.file).duration_s == pytest.approx(40 / rate, abs=1e-5)
    assert not vidnb.probe(made.file).video[0].is_variable_rate


def test_the_index_of_the_complete_file_comes_first(tmp_path: Path) -> None:
    data = encode(tmp_path, numbered_frames(5)).file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_each_segment_decodes_by_itself(tmp_path: Path) -> None:
    """Closed groups, no B-frames: the init segment and any other one are enough."""
    made = encode(tmp_path, numbered_frames(75))
    init, *segments = made.parts
    assert b"".join(made.parts) == made.segments.read_bytes()
    found = []
    for segment in segments:
        with opened(init + segment) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            assert [packet.is_keyframe for packet in packets] == [
                True,
                *[False] * (len(packets) - 1),
            ]
            assert all(packet.pts == packet.dts for packet in packets)
        with opened(init + segment) as container:
            frames: list[Any]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        found.append([shown_number(frame) for frame in frames])
    assert found == [[*range(8)], [*range(8, 30)], [*range(30, 60)], [*range(60, 75)]]
    durations = [line[8:-1] for line in made.playlist.splitlines() if line.startswith("#EXTINF")]
    assert durations == ["0.266667", "0.733333", "1.000000", "0.500000"]


def test_the_file_and_the_segments_hold_the_same_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = encode(tmp_path, rng.integers(0, 256, (12, 32, 48, 3), np.uint8), 4)
    with vidnb.frames(made.file) as file, vidnb.frames(made.segments) as segments:
        assert len(file) == len(segments) == 12
        for one, other in zip(file, segments, strict=True):
            np.testing.assert_array_equal(one.image, other.image)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (20, 48, 64, 3), np.uint8)
    one, other = encode(tmp_path / "1", frames), encode(tmp_path / "2", list(frames))
    assert one.file.read_bytes() == other.file.read_bytes()
    assert one.parts == other.parts


COLORS = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128),
    (200, 30, 90), (12, 190, 240), (1, 1, 1), (254, 254, 254), (250, 200, 20), (90, 60, 30),
]  # fmt: skip


@pytest.mark.parametrize("size", [(64, 64), (720, 1280)])
def test_colors_are_those_of_the_frames(tmp_path: Path, size: tuple[int, int]) -> None:
    """Read back by the tags of the file, at sizes that players guess differently without tags."""
    frames = [np.full((*size, 3), color, np.uint8) for color in COLORS]
    made = encode(tmp_path, frames, 4)
    stream = vidnb.probe(made.file).video[0]
    assert (stream.color_matrix, stream.color_primaries, stream.color_transfer) == ("bt709",) * 3
    assert stream.color_range == "limited"
    with vidnb.frames(made.file) as found:
        for frame, color in zip(found, COLORS, strict=True):
            error = np.abs(frame.image.astype(int) - color).max()
            assert error <= 3, f"{color} became {frame.image[0, 0]}"


def test_the_segments_are_tagged_as_well(tmp_path: Path) -> None:
    made = encode(tmp_path, numbered_frames(3))
    stream = vidnb.probe(made.segments).video[0]
    assert (stream.color_matrix, stream.color_range) == ("bt709", "limited")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "bool"])
def test_grey_is_exact_in_every_type(tmp_path: Path, dtype: str) -> None:
    grey = np.repeat(np.repeat(np.linspace(0, 255, 8).astype(np.uint8), 16)[None], 64, axis=0)
    values: NDArray[Any] = grey if dtype == "uint8" else (grey / 255).astype(dtype)
    right = np.where(grey > 0, 255, 0) if dtype == "bool" else grey
    made = encode(tmp_path, [values] * 3)
    with vidnb.frames(made.file) as frames:
        for frame in frames:
            assert np.abs(frame.image - right[..., None].astype(int)).max() <= 3
            spread = frame.image.max(axis=2).astype(int) - frame.image.min(axis=2)
            assert spread.max() <= 1, "grey has no hue"


@pytest.mark.parametrize(
    ("shape", "size"),
    [((47, 63), (64, 48)), ((48, 63), (64, 48)), ((47, 64), (64, 48)), ((1, 1), (2, 2))],
)
def test_an_odd_side_gets_a_copy_of_its_last_pixels(
    tmp_path: Path, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    frame[:, -8:] = 255
    made = encode(tmp_path, [frame] * 2)
    with vidnb.frames(made.file) as frames:
        image = frames[1].image
    assert image.shape == (size[1], size[0], 3)
    assert image[:, -6:].min() >= 250


def test_transparency_is_encoded_on_white(tmp_path: Path) -> None:
    frame = np.zeros((64, 64, 4), np.uint8)
    frame[:, 32:, 3] = 255
    made = encode(tmp_path, [frame] * 2)
    with vidnb.frames(made.file) as frames:
        image = frames[0].image
    assert image[:, :28].min() >= 252
    assert image[:, 36:].max() <= 3


def test_a_buffer_that_is_filled_again_is_read_before(tmp_path: Path) -> None:
    """A generator may yield the same array each time, with other values."""

    def frames() -> Iterable[NDArray[np.uint8]]:
        buffer = np.zeros_like(numbered_frames(1)[0])
        for frame in numbered_frames(40):
            buffer[:] = frame
            yield buffer
            buffer[:] = 99

    assert decoded_numbers(encode(tmp_path, frames()).file) == list(range(40))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 30, 31])
def test_any_number_of_frames_is_kept(tmp_path: Path, count: int) -> None:
    made = encode(tmp_path, numbered_frames(count))
    assert decoded_numbers(made.file) == decoded_numbers(made.segments) == list(range(count))
    assert vidnb.probe(made.file).duration_s == pytest.approx(count / 30, abs=1e-5)


def test_the_codec_is_named_as_in_the_file(tmp_path: Path) -> None:
    made = encode(tmp_path, numbered_frames(2))
    at = made.parts[0].index(b"avcC")
    codec = f"avc1.{made.parts[0][at + 5 : at + 8].hex().upper()}"
    assert made.type == f'video/mp4; codecs="{codec}"'


def test_an_encoder_that_does_not_open_names_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidnb.media import show_video

    monkeypatch.setitem(show_video._OPTIONS, "profile", "baseline-that-is-none")
    with pytest.raises(vidnb.MediaError, match="160 x 128"):
        encode(tmp_path, numbered_frames(2))
    assert [path.name for path in tmp_path.iterdir()] == ["segments.mp4"]


def test_ffmpeg_plays_the_playlist(tmp_path: Path) -> None:
    made = encode(tmp_path, numbered_frames(75), Fraction(30000, 1001))
    names = ["init.mp4", *(f"{number}.m4s" for number in range(len(made.parts) - 1))]
    for name, part in zip(names, made.parts, strict=True):
        (tmp_path / name).write_bytes(part)
    (tmp_path / "index.m3u8").write_text(made.playlist)
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffmpeg is not installed")
    command = [program, "-v", "error", "-select_streams", "v", "-show_entries"]
    command += ["frame=pts_time", "-of", "csv=p=0", "-allowed_extensions", "ALL"]
    done = subprocess.run(
        [*command, str(tmp_path / "index.m3u8")], capture_output=True, text=True, check=True
    )
    times = [float(line.strip(",")) for line in done.stdout.split()]
    assert times == pytest.approx([n * 1001 / 30000 for n in range(75)], abs=2e-5)
