import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S
from vidnb.server.sample import sample


def top_level_boxes(data: bytes) -> list[tuple[str, int]]:
    """Walk the boxes of ISO/IEC 14496-12 section 4.2: name and size (B) of each."""
    boxes = []
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        assert 8 <= size <= len(data) - offset, "a box must end inside the file"
        boxes.append((data[offset + 4 : offset + 8].decode("ascii"), size))
        offset += size
    return boxes


def test_the_clip_is_a_real_file_under_300_kb() -> None:
    clip = sample()
    assert isinstance(clip, Path)
    assert clip.is_file()
    assert clip.name == "sample.mp4"
    assert 150_000 < clip.stat().st_size < 300_000


def test_asked_twice_it_is_the_same_path() -> None:
    assert sample() == sample()


def test_the_docstring_tells_the_true_size() -> None:
    told = re.search(r"([\d,]+) bytes", sample.__doc__ or "")
    assert told is not None
    assert int(told[1].replace(",", "")) == sample().stat().st_size


def test_the_index_stands_before_the_data_and_every_box_is_whole() -> None:
    boxes = top_level_boxes(sample().read_bytes())
    names = [name for name, _ in boxes]
    assert names[0] == "ftyp"
    assert names.index("moov") < names.index("mdat")
    assert sum(size for _, size in boxes) == sample().stat().st_size


def test_the_header_says_ten_seconds() -> None:
    """`mvhd` version 0 (ISO/IEC 14496-12 section 8.2.2): time scale, then duration."""
    data = sample().read_bytes()
    at = data.index(b"mvhd") + 4
    assert data[at] == 0
    scale = int.from_bytes(data[at + 12 : at + 16], "big")
    duration = int.from_bytes(data[at + 16 : at + 20], "big")
    assert duration / scale == pytest.approx(10.0, abs=0.001)


def test_the_recipe_lies_beside_the_clip() -> None:
    recipe = sample().with_name("make_sample.sh").read_text("utf-8")
    assert "+faststart" in recipe


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_the_codecs_are_those_every_browser_decodes() -> None:
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(sample())],
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    ).stdout
    video, audio = json.loads(told)["streams"]
    assert (video["codec_name"], video["profile"], video["pix_fmt"]) == ("h264", "Main", "yuv420p")
    assert (video["width"], video["height"], video["r_frame_rate"]) == (640, 360, "30/1")
    assert video["nb_frames"] == "300"
    assert audio["codec_name"] == "aac"
