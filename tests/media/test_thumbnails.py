"""Thumbnails: the right key frame of every kind of file, upright, decoded alone."""

import io
import random
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import vidnb
from tests.assets import film
from tests.clips import CLIPS, COPIES, clip, shown_number
from tests.origin import Film, Origin
from vidnb.download import cache
from vidnb.download.feed import ReadFeed
from vidnb.http.ranges import ByteRange
from vidnb.media.thumbnails import Thumbnailer
from vidnb.server.source_file import NotStoredError


def picture(jpeg: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    assert image.width <= 160
    assert image.height <= 120
    return np.asarray(image)


@pytest.mark.parametrize("name", [*CLIPS, *COPIES])
def test_each_key_frame_of_each_format_in_any_order(name: str) -> None:
    frames = vidnb.frames(clip(name))
    keys = list(frames.table.keyframes())
    random.Random(1).shuffle(keys)
    with Thumbnailer(clip(name), frames.table) as thumbnails:
        found = {key: shown_number(picture(thumbnails.jpeg(key))) for key in keys}
    assert found == {key: shown_number(frames[key].image) for key in keys}
    assert set(found.values()) != {None} or "rotated" in name
    frames.close()


def test_a_rotated_frame_is_upright() -> None:
    frames = vidnb.frames(clip("h264-rotated.mov"), size=90)
    with Thumbnailer(clip("h264-rotated.mov"), frames.table) as thumbnails:
        found = picture(thumbnails.jpeg(0))
    assert found.shape == (120, 96, 3)
    expected = np.asarray(Image.fromarray(frames[0].image).resize((96, 120)))
    assert np.abs(found.astype(int) - expected).mean() < 12


def test_a_frame_of_a_large_video_is_a_few_kilobytes() -> None:
    with vidnb.frames(film()) as frames, Thumbnailer(film(), frames.table) as thumbnails:
        jpeg = thumbnails.jpeg(frames.table.keyframes()[1])
    assert picture(jpeg).shape == (90, 160, 3)
    assert len(jpeg) < 10_000


def test_a_damaged_key_frame_is_an_error_and_the_next_one_is_not(tmp_path: Path) -> None:
    frames = vidnb.frames(clip("h264.mp4"))
    table, path = frames.table, tmp_path / "damaged.mp4"
    data = bytearray(clip("h264.mp4").read_bytes())
    start, stop = (table.position(table.packets[12] + after) for after in (0, 1))
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    with Thumbnailer(path, table) as thumbnails:
        with pytest.raises(vidnb.MediaError, match="Key frame 12 of"):
            thumbnails.jpeg(12)
        assert shown_number(picture(thumbnails.jpeg(24))) == 24
        assert shown_number(picture(thumbnails.jpeg(0))) == 0


def test_what_is_not_downloaded_is_not_requested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    waits: list[object] = []
    wait = ReadFeed.wait

    async def record(self: ReadFeed, reader: int, byte_range: ByteRange, generation: int) -> None:
        waits.append(byte_range)
        await wait(self, reader, byte_range, generation)

    monkeypatch.setattr(ReadFeed, "wait", record)
    with (
        Origin(Film(film().read_bytes()), rate=1e6) as origin,
        vidnb.serve(origin.url) as served,
        vidnb.frames(served) as frames,
        served.open_bytes(waits=False) as file,
        Thumbnailer(cast(BinaryIO, file), frames.table) as thumbnails,
    ):
        assert waits, "the frame table waits for its index"
        waits.clear()
        first = thumbnails.jpeg(0)
        for key in frames.table.keyframes()[-2:]:
            with pytest.raises(NotStoredError, match="not downloaded yet"):
                thumbnails.jpeg(key)
        assert thumbnails.jpeg(0) == first, "it can be used again after that"
        assert waits == []
