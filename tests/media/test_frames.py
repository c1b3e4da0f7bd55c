"""`vidnb.frames` against clips whose frames show their own numbers."""

import io
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import vidnb
from tests.assets import film
from tests.clips import CLIPS, COPIES, clip, shown_number
from tests.deadline import DEADLINE_S
from tests.origin import Film, Origin
from vidnb.download import cache
from vidnb.media import table_reader
from vidnb.media.container import MediaFile
from vidnb.media.decoder import FrameDecoder
from vidnb.media.frame_table import FrameTable
from vidnb.media.frames import FrameFormat
from vidnb.media.table_reader import read_table

EDITED = "h264-edit-list.mp4"
FIRST = {EDITED: 18}  # its first frame, of 0.72 s in the original


def shown(name: str, frame: vidnb.Frame) -> int | None:
    number = shown_number(frame.image)
    return None if number is None else number - FIRST.get(name, 0)


@pytest.mark.parametrize("name", [*CLIPS, *COPIES])
def test_every_index_gives_the_frame_of_that_number(name: str) -> None:
    with vidnb.frames(clip(name), upright=False, size=80) as frames:
        count = CLIPS[name][0] if name in CLIPS else 60 - FIRST.get(name, 0)
        assert len(frames) == count
        numbers = list(range(count))
        assert [shown(name, frame) for frame in frames] == numbers
        shuffled = random.Random(name).sample(numbers, count)
        assert [shown(name, frames[index]) for index in shuffled] == shuffled
        assert [shown(name, frame) for frame in frames[::-1]] == numbers[::-1]
        assert [shown(name, frame) for frame in frames[3:-2:7]] == numbers[3:-2:7]
        assert [shown(name, frames.at(time_s)) for time_s in frames.times_s] == numbers
        middles = (frames.times_s[:-1] + frames.times_s[1:]) / 2
        assert [frames.index_at(time_s) for time_s in middles] == numbers[:-1]
        images = np.concatenate(list(frames.batches(7)))
        assert [shown_number(image) for image in images] == [
            number + FIRST.get(name, 0) for number in numbers
        ]


@pytest.mark.parametrize("name", ["h264-open-gop.mp4", "h264.avi", "h264-open-gop.ts", EDITED])
def test_a_cache_of_one_frame_gives_the_same_frames(name: str) -> None:
    with vidnb.frames(clip(name), size=80, cache_bytes=1) as frames:
        for index in random.Random(1).sample(range(len(frames)), 20):
            assert shown(name, frames[index]) == index


@pytest.mark.parametrize("name", ["h264-open-gop.mp4", "mpeg4.avi"])
def test_two_threads_read_one_sequence(name: str) -> None:
    with vidnb.frames(clip(name), size=80) as frames, ThreadPoolExecutor(2) as pool:
        orders = [random.Random(seed).sample(range(len(frames)), len(frames)) for seed in (1, 2)]
        read = pool.map(lambda order: [shown(name, frames[index]) for index in order], orders)
        assert list(read) == orders


@pytest.mark.parametrize(
    "name", ["h264-variable.mp4", "h264-variable.mkv", "h264-29.97.mp4", "vp9.webm", EDITED]
)
def test_times_are_those_of_the_container(name: str) -> None:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries"]
    command += ["frame=best_effort_timestamp_time", "-of", "csv=p=0", str(clip(name))]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = [float(line.split(",")[0]) for line in output.split() if line]
    assert vidnb.frames(clip(name)).times_s == pytest.approx(expected, abs=1e-5)


def test_sequential_reading_decodes_each_frame_once_and_never_seeks() -> None:
    with MediaFile(clip("h264.mp4")) as file:
        table = read_table(file, 0)
        with FrameDecoder(file, 0, table) as decoder:
            for index in range(len(table)):
                decoder.read(index)
            assert (decoder.seeks, decoder.decoded_frames) == (0, len(table))


def test_sorted_reading_decodes_each_group_at_most_once() -> None:
    with MediaFile(clip("h264.mp4")) as file:
        table = read_table(file, 0)
        with FrameDecoder(file, 0, table) as decoder:
            for index in (0, 5, 6, 29, 30, 30, 59):
                decoder.read(index)
            assert decoder.decoded_frames <= len(table)
            assert decoder.seeks <= 2  # the groups of 12 to 23 and 36 to 47 are skipped


def test_a_view_decodes_nothing_and_keeps_the_numbers_of_the_file() -> None:
    frames = vidnb.frames(clip("h264.mp4"))
    view = frames[10:50:10]
    assert (len(view), view[1].index, view[-1].index) == (4, 20, 40)
    assert view[1:].at(frames.times_s[35]).index == 30
    assert frames[::-1].index_at(frames.times_s[59]) == 0
    assert view.keyframes == ()
    assert frames.keyframes == (0, 12, 24, 36, 48)
    assert len(frames[70:]) == 0
    for index in (60, -61):
        with pytest.raises(IndexError, match="60 frames"):
            frames[index]
    with pytest.raises(IndexError):
        frames[70:].at(1.0)


def test_at_takes_the_last_frame_that_is_shown_at_a_time() -> None:
    frames = vidnb.frames(clip("h264-variable.mp4"))
    times_s = frames.times_s
    assert frames.at(-1.0).index == 0
    assert frames.at(1e9).index == len(frames) - 1
    assert frames.at(float(np.nextafter(times_s[31], 0.0)) - 1e-6).index == 30
    assert frames.at(times_s[31]).index == 31


@pytest.mark.parametrize(
    ("pixel_format", "shape", "dtype"),
    [
        ("rgb24", (128, 160, 3), np.uint8),
        ("rgba", (128, 160, 4), np.uint8),
        ("gray", (128, 160), np.uint8),
        ("native", (128, 160, 3), np.uint16),
    ],
)
def test_formats(pixel_format: FrameFormat, shape: object, dtype: type) -> None:
    frame = vidnb.frames(clip("hevc-10-bit.mkv"), format=pixel_format)[9]
    assert frame.image.shape == shape
    assert frame.image.dtype.type is dtype
    assert shown_number(frame.image) == 9
    assert np.asarray(frame) is frame.image
    assert np.array(frame, dtype=np.float32).dtype == np.float32


def test_native_keeps_ten_bits() -> None:
    image = vidnb.frames(clip("hevc-10-bit.mkv"), format="native")[0].image
    assert np.any(image & 0xFF), "the low byte is empty: the frame has only 8 bits"


def test_the_rotation_of_the_file_is_applied() -> None:
    turned = vidnb.frames(clip("h264-rotated.mov"))[5].image
    stored = vidnb.frames(clip("h264-rotated.mov"), upright=False)[5].image
    assert turned.shape == (160, 128, 3)
    command = ["ffmpeg", "-v", "error", "-i", str(clip("h264-rotated.mov")), "-frames:v", "6"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(6, 160, 128, 3)[5]
    assert np.abs(turned.astype(int) - expected).mean() < 4
    assert not np.array_equal(np.rot90(stored, 0), turned)


@pytest.mark.parametrize(
    ("size", "shape"), [(80, (64, 80)), ((None, 32), (32, 40)), ((50, 20), (20, 50)), (1, (1, 1))]
)
def test_size_scales(size: int | tuple[int | None, int | None], shape: tuple[int, int]) -> None:
    assert vidnb.frames(clip("h264.mp4"), size=size)[0].image.shape[:2] == shape


def test_a_frame_is_a_picture(tmp_path: Path) -> None:
    frame = vidnb.frames(clip("h264.mp4"))[7]
    picture = frame.to_pil()
    assert (picture.size, picture.mode) == ((160, 128), "RGB")
    assert frame._repr_jpeg_().startswith(b"\xff\xd8\xff")
    for name in ("frame.png", "frame.jpg", "frame.webp"):
        frame.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    assert repr(frame) == "<Frame 7 at 0.280 s, 160 x 128>"


def test_a_picture_in_a_cell_is_at_most_800_pixels_wide() -> None:
    from PIL import Image

    frame = vidnb.frames(clip("h264.mp4"), size=2000, format="rgba")[0]
    assert Image.open(io.BytesIO(frame._repr_jpeg_())).width == 800


def test_a_file_object_a_result_and_a_path_are_sources() -> None:
    path = clip("h264.mp4")
    with path.open("rb") as file:
        assert shown_number(vidnb.frames(file)[20].image) == 20
        assert not file.closed
    result = vidnb.DownloadResult(path, "", path.stat().st_size, "", 0.0)
    assert shown_number(vidnb.frames(result)[20].image) == 20
    assert shown_number(vidnb.frames(str(path))[20].image) == 20
    assert shown_number(vidnb.frames(io.BytesIO(path.read_bytes()))[20].image) == 20


def test_a_url_costs_its_index_and_what_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path)
    with Origin(Film(film().read_bytes()), rate=3e6) as origin:
        with vidnb.frames(origin.url) as frames:
            assert len(frames) == 720
            assert frames[0].image.shape == (1080, 1920, 3)
            assert origin.sent_bytes <= 1.5e6
            assert frames[648].time_s == 27.0
            assert origin.sent_bytes <= 8e6
        with vidnb.frames(film()) as local, vidnb.frames(origin.url) as again:
            assert np.array_equal(local[648].image, again[648].image)


def test_the_table_of_a_long_file_is_cached_until_the_file_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "tables"
    monkeypatch.setattr(table_reader, "table_cache", lambda: folder)
    monkeypatch.setattr(table_reader, "_MIN_CACHED_PACKETS", 10)
    monkeypatch.setattr(table_reader, "_MAX_CACHED_TABLES", 2)
    path = tmp_path / "clip.mkv"
    path.write_bytes(clip("h264.mkv").read_bytes())
    assert len(vidnb.frames(path)) == 60
    (cached,) = folder.iterdir()
    made: list[int] = []
    make_table = table_reader._make_table

    def make(file: MediaFile, number: int) -> FrameTable:
        made.append(number)
        return make_table(file, number)

    monkeypatch.setattr(table_reader, "_make_table", make)
    assert shown_number(vidnb.frames(path)[33].image) == 33
    assert made == []
    cached.write_bytes(cached.read_bytes()[:-1])  # torn
    assert shown_number(vidnb.frames(path)[33].image) == 33
    assert made == [0]
    path.write_bytes(clip("vp9.webm").read_bytes())
    os.utime(path, ns=(1, 1))
    assert shown_number(vidnb.frames(path)[33].image) == 33
    assert made == [0, 0]
    assert len(list(folder.iterdir())) == 2
    os.utime(path, ns=(2, 2))
    vidnb.frames(path)
    assert len(list(folder.iterdir())) == 2, "the oldest table was not removed"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(table_reader, "table_cache", lambda: tmp_path / "file" / "tables")
    monkeypatch.setattr(table_reader, "_MIN_CACHED_PACKETS", 10)
    assert len(vidnb.frames(clip("h264.mkv"))) == 60


def test_frames_close_what_they_opened() -> None:
    descriptors = set(Path("/proc/self/fd").iterdir()) if sys.platform == "linux" else set()
    for _ in range(5):
        frames = vidnb.frames(clip("h264.mp4"))
        frames[30]
        del frames
    with vidnb.frames(clip("h264.mp4")) as frames:
        frames[30]
    after = set(Path("/proc/self/fd").iterdir()) if sys.platform == "linux" else set()
    assert len(after) <= len(descriptors)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"format": "bgr"}, "format='bgr' must be one of rgb24, gray, rgba, native"),
        ({"size": 0}, "size"),
        ({"size": (10, -1)}, "size"),
        ({"stream": "video"}, "stream"),
        ({"damaged": "maybe"}, "damaged"),
    ],
)
def test_bad_arguments_are_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        vidnb.frames(clip("h264.mp4"), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="source must be a path, a URL"):
        vidnb.frames(17)  # type: ignore[arg-type]


def test_a_stream_that_does_not_exist_is_named() -> None:
    with pytest.raises(vidnb.MediaError, match="no video stream 1: it has 1"):
        vidnb.frames(clip("h264.mp4"), stream=1)


def test_torch_is_named_where_it_is_missing() -> None:
    pytest.importorskip("numpy")
    if "torch" in sys.modules:
        pytest.skip("torch is installed")
    with pytest.raises(vidnb.MissingExtra, match="pip install torch"):
        vidnb.frames(clip("one-frame.mp4")).to_torch()


def test_closing_a_decoder_with_threads_of_its_own_does_not_block() -> None:
    """dav1d frees packets in its threads, which need the interpreter's lock."""
    code = (
        "import sys, vidnb\n"
        "for _ in range(40):\n"
        "    with vidnb.frames(sys.argv[1]) as frames:\n"
        "        frames[20], frames[3]\n"
    )
    command = [sys.executable, "-c", code, str(clip("av1.mp4"))]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
