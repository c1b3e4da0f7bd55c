"""`vidnb.sheet`: which frames it shows, where, and how it is saved."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vidnb
from tests.clips import clip, shown_number
from tests.media.clips import clip as clip_with_sound
from tests.media.clips import made
from vidnb import cli
from vidnb.media import sheet as sheet_module
from vidnb.media.sheet import default_name, time_code


def cells(shown: vidnb.Sheet, columns: int, ratio: float = 128 / 160) -> list[int | None]:
    """Return the numbers that the pictures of a sheet show, by the layout of the sheet."""
    layout = sheet_module._Layout.of(len(shown.indices), (1000, round(1000 * ratio)), columns, 1200)
    assert layout.columns == columns
    pixels = np.asarray(shown.image)
    width, height = layout.picture
    corners = [layout.corner(place) for place in range(len(shown.indices))]
    return [shown_number(pixels[y : y + height, x : x + width]) for x, y in corners]


@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264-variable.mkv", "h264-open-gop.ts", "vp9.webm", "h264-edit-list.mp4"]
)
def test_the_frames_are_exact_and_evenly_spread(name: str) -> None:
    shown = vidnb.sheet(clip(name), n=8, columns=4)
    first = 0
    with vidnb.frames(clip(name)) as frames:
        first = shown_number(frames[0].image) or 0
        end_s = frames.times_s[-1] + np.median(np.diff(frames.times_s))
        step_s = (end_s - frames.times_s[0]) / 8
        expected = [frames.index_at(frames.times_s[0] + (n + 0.5) * step_s) for n in range(8)]
        expected = list(dict.fromkeys(expected))  # one frame is shown for long
        assert shown.times_s == tuple(frames.times_s[i] for i in expected)
    assert list(shown.indices) == expected
    assert cells(shown, 4) == [first + index for index in expected]


@pytest.mark.parametrize("n", [60, 61, 1000])
def test_more_pictures_than_frames_show_each_frame_once(n: int) -> None:
    shown = vidnb.sheet(clip("h264.mp4"), n=n)
    assert shown.indices == tuple(range(60))


@pytest.mark.parametrize("n", [1, 2, 59])
def test_a_few_pictures(n: int) -> None:
    indices = vidnb.sheet(clip("h264.mp4"), n).indices
    assert len(indices) == len(set(indices)) == n
    assert vidnb.sheet(clip("one-frame.mp4"), n).indices == (0,)


def test_one_frame_every_so_many_seconds() -> None:
    assert vidnb.sheet(clip("h264.mp4"), every_s=0.4).indices == (0, 10, 20, 30, 40, 50)
    assert vidnb.sheet(clip("h264.mp4"), every_s=99.0).indices == (0,)


def test_the_frames_at_given_times_in_their_order() -> None:
    shown = vidnb.sheet(clip("h264.mp4"), at_s=[2.0, 0.5, 0.5, 0.51], columns=4)
    assert shown.indices == (50, 12, 12, 12)
    assert cells(shown, 4) == [50, 12, 12, 12]


def test_key_frames_on_request() -> None:
    assert vidnb.sheet(clip("h264.mp4"), 4).indices == (7, 22, 37, 52)
    assert vidnb.sheet(clip("h264.mp4"), 4, keyframes=True).indices == (0, 12, 36, 48)
    assert vidnb.sheet(clip("h264.mp4"), 40, keyframes=True).indices == (0, 12, 24, 36, 48)


def test_a_rotated_video_and_its_aspect_ratio() -> None:
    shown = vidnb.sheet(clip("h264-rotated.mov"), 4, columns=4)
    assert shown.image.height == sheet_module._Layout.of(4, (128, 160), 4, 1200).height
    wide = made("wide.mp4", "-aspect 4:1 -c:v libx264", seconds=0.4)
    assert vidnb.sheet(wide, 2, columns=1).image.height < 800


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiny.mp4", "-vf scale=2:2 -c:v libx264 -pix_fmt yuv420p"),
        ("portrait.mp4", "-vf scale=72:160 -c:v libx264 -pix_fmt yuv420p"),
        ("flat.mkv", "-vf scale=640:2 -c:v ffv1"),
        ("tall.mkv", "-vf scale=2:640 -c:v ffv1"),
    ],
)
def test_any_shape_fits(name: str, options: str) -> None:
    path = made(name, options, seconds=0.4)
    for width in (160, 1200):
        image = vidnb.sheet(path, 6, width=width).image
        assert image.width == width
        assert image.height < 6 * (2 * width + 100)


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(dark: bool) -> None:
    image = vidnb.sheet(clip("h264.mp4"), 4, dark=dark).image
    pixels = np.asarray(image.convert("L")).astype(int)
    ground = pixels[0, 0]
    assert (ground < 60) if dark else (ground > 200)
    top = pixels[: sheet_module._Layout.of(4, (160, 128), None, 1200).top]
    assert abs(top - ground).max() > 150  # the text is readable


@pytest.mark.parametrize("count", [1, 3, 24, 100])
@pytest.mark.parametrize("shape", [(16, 9), (9, 16), (1, 1), (400, 1), (1, 400)])
@pytest.mark.parametrize("width", [160, 1200, 16384])
def test_the_layout_has_no_overlap(count: int, shape: tuple[int, int], width: int) -> None:
    layout = sheet_module._Layout.of(count, shape, None, width)
    corners = [layout.corner(place) for place in range(count)]
    assert len(set(corners)) == count
    for left, top in corners:
        assert layout.gap <= left <= width - layout.picture[0]
        assert layout.top <= top <= layout.height - layout.picture[1] - layout.font_size
    assert layout.picture[1] <= 2 * layout.picture[0]


def test_a_sheet_that_is_too_high_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels high; ask for more columns"):
        sheet_module._Layout.of(1000, (9, 16), 1, 1200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0 must be an integer of at least 1"),
        ({"n": 2.5}, "n=2.5"),
        ({"every_s": 0}, "every_s=0"),
        ({"every_s": float("nan")}, "every_s=nan"),
        ({"every_s": 0.001}, "at most 1000 frames"),
        ({"every_s": 1, "at_s": [1]}, "exclude each other"),
        ({"at_s": []}, "at_s is empty"),
        ({"at_s": [1, 99]}, "at_s: 99 s is outside the video"),
        ({"at_s": [-0.1]}, "outside the video"),
        ({"at_s": [float("nan")]}, "outside the video"),
        ({"columns": 0}, "columns=0"),
        ({"width": 159}, "width=159 must be 160 to 16384 pixels"),
        ({"width": 16385}, "width=16385"),
    ],
)
def test_a_bad_argument_is_one_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vidnb.sheet(clip("h264.mp4"), **options)  # type: ignore[arg-type]  # the point


def test_it_shows_itself_and_is_saved_by_its_suffix(tmp_path: Path) -> None:
    shown = vidnb.sheet(clip("h264.mp4"), 4)
    assert repr(shown) == f"<Sheet of 4 frames, 1200 x {shown.image.height}>"
    assert Image.open(io.BytesIO(shown._repr_jpeg_())).size == shown.image.size
    for name, kind in (("a.jpg", "JPEG"), ("b.PNG", "PNG"), ("c.webp", "WEBP")):
        path = shown.save(tmp_path / name)
        assert path == tmp_path / name
        with Image.open(path) as image:
            assert (image.format, image.size) == (kind, shown.image.size)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    vidnb.sheet(clip("h264.mp4"), 1).save("~/sheet.png")
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize("name", ["sheet", "sheet.txt", "sheet.jpg.", ""])
def test_an_unknown_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.jpg"):
        vidnb.sheet(clip("one-frame.mp4")).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    shown = vidnb.sheet(clip("one-frame.mp4"))
    for path in (tmp_path / "folder.png", tmp_path / "nothing" / "sheet.png"):
        with pytest.raises(vidnb.VidnbError, match="could not be saved as"):
            shown.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_damaged_frame_is_left_empty(tmp_path: Path) -> None:
    data = clip_with_sound("h264.mp4").read_bytes()
    middle = len(data) // 2
    (tmp_path / "film.mp4").write_bytes(data[:middle] + bytes(len(data) - middle))
    shown = vidnb.sheet(tmp_path / "film.mp4", 8, columns=4)
    numbers = cells(shown, 4)
    assert numbers[0] == shown.indices[0]
    assert numbers[-1] is None
    grey = np.asarray(shown.image)[-60, -30]
    assert abs(grey.astype(int) - 0xEC).max() <= 2


def test_a_file_without_a_readable_frame_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(vidnb.MediaError, match="has no video stream 0: it has none"):
        vidnb.sheet(made("tone.m4a", "-f lavfi -i sine=d=1 -map 1 -c:a aac", seconds=1))
    with pytest.raises(vidnb.MediaError, match="no video stream 1: it has 1"):
        vidnb.sheet(clip("h264.mp4"), stream=1)


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00.000"),
        (12.5, "0:12.500"),
        (59.9996, "1:00.000"),
        (3599.9996, "1:00:00.000"),
        (3723.25, "1:02:03.250"),
        (360000, "100:00:00.000"),
        (-1.5, "-0:01.500"),
        (-0.0001, "0:00.000"),
    ],
)
def test_time_codes(time_s: float, text: str) -> None:
    assert time_code(time_s) == text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("films/a film.mkv", "a film-sheet.jpg"),
        ("film", "film-sheet.jpg"),
        (".hidden", ".hidden-sheet.jpg"),
        ("https://example.org/films/a%20film.mp4?token=1", "a film-sheet.jpg"),
        ("https://example.org/", "video-sheet.jpg"),
        ("https://example.org/..%2f..%2fetc%2fpasswd", "passwd-sheet.jpg"),
    ],
)
def test_the_default_name(source: str, name: str) -> None:
    assert default_name(source) == name


def test_a_long_or_foreign_name_fits(tmp_path: Path) -> None:
    data = clip("one-frame.mp4").read_bytes()
    for name in ("x" * 200 + ".mp4", "\x1b[31m日本\n語.mp4"):
        (tmp_path / name).write_bytes(data)
        assert vidnb.sheet(tmp_path / name, width=300).image.width == 300


def test_the_command_line_prints_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(clip("h264.mp4"))
    assert cli.main(["sheet", path, "-n", "4", "--dark", "--width", "400"]) == 0
    assert capsys.readouterr().out == "h264-sheet.jpg\n"
    assert cli.main(["sheet", path, "-o", "other.png", "--every-s", "1", "--columns", "1"]) == 0
    with Image.open("other.png") as image:
        assert image.size[0] == 1200
    assert cli.main(["sheet", path, "-n", "0"]) == 1
    assert capsys.readouterr().err.startswith("vidnb: n=0")
