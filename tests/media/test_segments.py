"""Segments on demand: every frame once, at its own time, whatever is asked for in which order."""

import io
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vidnb
from tests.assets import CACHE, made_by_ffmpeg
from tests.clips import CLIPS, COPIES, clip, shown_number
from tests.media import clips
from vidnb.errors import MediaError
from vidnb.media import segments, table_reader
from vidnb.media.codec_names import boxes
from vidnb.media.packet_reader import frame_time, packet_time
from vidnb.media.segments import SegmentMaker

COPIED = [
    "h264.mp4",
    "h264.mkv",
    "h264.ts",
    "h264.flv",
    "h264.mov",
    "h264-fragmented.mp4",
    "hevc.mp4",
    "vp9.webm",
]


def whole(maker: SegmentMaker) -> bytes:
    """Return the init segment and all segments, as a player appends them."""
    return maker.init() + b"".join(maker.segment(n) for n in range(len(maker.playlist)))


def decoded(data: bytes) -> Iterator[tuple[float, np.ndarray]]:
    with av.open(io.BytesIO(data), "r") as container:
        for frame in container.decode(video=0):
            yield float(frame_time(frame)), frame.to_ndarray(format="rgb24")


def heard(data: bytes) -> list[av.AudioFrame]:
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(audio=0))


def facts(path: Path) -> list[tuple[float, int | None]]:
    with vidnb.frames(path, size=80) as frames:
        return [(frame.time_s, shown_number(frame.image)) for frame in frames]


def assert_same_frames(data: bytes, path: Path) -> None:
    expected, found = facts(path), list(decoded(data))
    assert len(found) == len(expected)
    assert [shown_number(image) for _, image in found] == [number for _, number in expected]
    assert [time_s for time_s, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-4)


@pytest.mark.parametrize("name", [*CLIPS, *COPIES])
def test_transcode_has_every_frame_at_its_time(name: str) -> None:
    with SegmentMaker(clip(name), "h264.none") as maker:
        assert_same_frames(whole(maker), clip(name))


@pytest.mark.parametrize("name", [one for one in (*CLIPS, *COPIES) if one != "h264.avi"])
def test_transcode_without_a_frame_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "has_table", lambda *_: False)
    with SegmentMaker(clip(name), "h264.none") as maker:
        assert_same_frames(whole(maker), clip(name))


@pytest.mark.parametrize("name", COPIED)
def test_remux_has_every_frame_at_its_time(name: str) -> None:
    with SegmentMaker(clips.clip(name), "copy.copy") as maker:
        assert_same_frames(whole(maker), clips.clip(name))


@pytest.mark.parametrize("name", ["h264.mkv", "vp9.webm"])
def test_remux_by_the_index_of_the_container(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "has_table", lambda *_: False)
    with SegmentMaker(clips.clip(name), "copy.copy") as maker:
        assert len(maker.playlist) > 1
        assert_same_frames(whole(maker), clips.clip(name))


@pytest.mark.parametrize("name", ["h264-variable.mkv", "h264-variable.mp4", "h264-60.mp4"])
def test_a_copied_frame_lasts_until_the_next_one_is_shown(name: str) -> None:
    with SegmentMaker(clip(name), "copy.none") as maker:
        data = whole(maker)
    assert_same_frames(data, clip(name))
    with av.open(io.BytesIO(data), "r") as container:
        shown = sorted(
            (packet.pts or 0, packet.duration or 0)
            for packet in container.demux(video=0)
            if packet.size
        )
    assert len(shown) == 60
    for (start, length), (after, _) in pairwise(shown):
        assert start + length == after


def test_remux_without_an_index_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "has_table", lambda *_: False)
    monkeypatch.setattr(table_reader, "_MAX_GAP_S", 1)
    with pytest.raises(MediaError, match="no index of its key frames"):
        SegmentMaker(clips.clip("h264.ts"), "copy.copy")


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("h264.mkv", "copy.copy"),
        ("h264.mkv", "h264.aac"),
        ("h264.ts", "h264.opus"),
        ("mjpeg.avi", "h264.aac"),
        ("vp9.webm", "copy.aac"),
    ],
)
def test_segments_are_the_same_in_any_order(
    name: str, variant: str, has_table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "has_table", lambda *_: has_table)
    path = clips.made(f"long-{name}", f"{clips._TONE} {clips.CLIPS[name]}", seconds=9)
    with SegmentMaker(path, variant) as one, SegmentMaker(path, variant) as other:
        assert one.init() == other.init()
        numbers = list(range(len(one.playlist)))
        assert len(numbers) >= 4
        in_order = [one.segment(number) for number in numbers]
        for number in random.Random(name).choices(numbers, k=12):
            assert other.segment(number) == in_order[number]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("h264.mkv", "copy.copy"),
        ("h264.ts", "copy.copy"),
        ("h264.mkv", "copy.aac"),
        ("mjpeg.avi", "h264.aac"),
        ("mpeg4.avi", "h264.aac"),
        ("h264.ts", "h264.aac"),
        ("vp8.webm", "h264.opus"),
    ],
)
def test_sound_has_no_gap_at_a_cut(name: str, variant: str) -> None:
    path = clips.made(f"long-{name}", f"{clips._TONE} {clips.CLIPS[name]}", seconds=9)
    with SegmentMaker(path, variant) as maker:
        data = whole(maker)
        assert len(maker.playlist) >= 4
        frames = heard(data)
        rate = frames[0].sample_rate
        starts = [frame_time(frame) for frame in frames]
        sizes = [Fraction(frame.samples, rate) for frame in frames]
        for (before, size), (after, _) in pairwise(zip(starts, sizes, strict=True)):
            assert abs(after - before - size) <= Fraction(1, 1000)  # Matroska's rounding
        length_s = float(starts[-1] + sizes[-1] - starts[0])
        samples = sum(frame.samples for frame in heard(path.read_bytes()))
        assert length_s == pytest.approx(samples / 48_000, abs=0.05)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        # A tone without clicks: its second difference is small everywhere but at both ends.
        inner = sound[rate // 4 : -rate // 4].astype(float)
        tone = np.abs(np.diff(inner, 2)).max()
        assert tone <= 1.6 * np.sqrt(2) * np.std(np.diff(inner, 2))


def test_every_segment_starts_with_a_key_frame_at_its_time() -> None:
    path = clips.made("long-h264.mkv", f"{clips._TONE} {clips.CLIPS['h264.mkv']}", seconds=9)
    for variant in ("copy.copy", "h264.aac"):
        with SegmentMaker(path, variant) as maker:
            init = maker.init()
            for number, start_s in enumerate(maker.playlist.starts):
                data = maker.segment(number)
                assert [kind for kind, _ in boxes(data)] == [b"moof", b"mdat"]
                with av.open(io.BytesIO(init + data), "r") as container:
                    first = next(container.demux(video=0))
                    assert first.is_keyframe
                    assert packet_time(first) == pytest.approx(start_s, abs=1e-6)


def test_last_segment_has_the_sound_after_the_last_frame() -> None:
    path = clips.made(
        "long-sound.mkv",
        "-f lavfi -t 11 -i sine=r=48000 -map 0:v -map 1:a -c:v libx264 -c:a aac",
        seconds=3,
    )
    with SegmentMaker(path, "copy.copy") as maker:
        assert sum(maker.playlist.durations) == pytest.approx(Fraction(11), abs=0.1)
        assert heard(whole(maker))[-1].time == pytest.approx(11, abs=0.1)


@pytest.mark.parametrize("variant", ["none.aac", "none.copy", "none.opus"])
def test_sound_alone(variant: str) -> None:
    path = clips.made("sound.m4a", "-f lavfi -t 5 -i sine -map 1:a -c:a aac", seconds=5)
    with SegmentMaker(path, variant) as maker:
        assert len(maker.playlist) >= 2
        assert heard(whole(maker))[-1].time == pytest.approx(5, abs=0.1)


def test_times_before_zero_are_moved_and_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    read = segments._read_timeline

    def earlier(*arguments: Any, **options: Any) -> segments._Timeline:
        return read(*arguments, **options)._replace(earliest_s=Fraction(-1))

    path = clips.clip("h264.mkv")
    with SegmentMaker(path, "copy.copy") as maker:
        before = list(decoded(whole(maker)))
    monkeypatch.setattr(segments, "_read_timeline", earlier)
    for variant in ("h264.aac", "copy.copy"):
        with SegmentMaker(path, variant) as maker:
            assert maker.playlist.start_s == maker.start_s + 1
            after = list(decoded(whole(maker)))
        assert [time_s - 1 for time_s, _ in after] == pytest.approx([one for one, _ in before])


FLASH_AND_CLICK = (
    "-t 12 -f lavfi -i color=c=black:s=160x120:r=25,"
    "drawbox=c=white:t=fill:enable=lt(mod(t\\,1)\\,0.04)"
    " -t 12 -f lavfi -i aevalsrc=if(lt(mod(t\\,1)\\,0.01)\\,sin(2000*PI*t)\\,0):s=48000"
)


def offsets_s(flashes: list[float], data: bytes) -> list[float]:
    """Return by how much each click is later than its flash (s)."""
    frames = [frame for frame in heard(data) if frame.pts is not None]
    levels = [
        np.abs(frame.to_ndarray().astype(float)).reshape(-1, frame.samples) for frame in frames
    ]
    least = 0.3 * max(level.max() for level in levels)
    clicks: list[float] = []
    for frame, level in zip(frames, levels, strict=True):
        loud = np.flatnonzero(level.max(axis=0) > least)
        time_s = float(frame_time(frame)) + (loud[0] / frame.sample_rate if len(loud) else 0)
        if len(loud) and (not clicks or time_s > clicks[-1] + 0.5):
            clicks.append(time_s)
    return [click - min(flashes, key=lambda flash: abs(flash - click)) for click in clicks]


@pytest.mark.parametrize(
    ("name", "codecs", "variant"),
    [
        ("sync.mkv", "-c:v libx264 -g 25 -bf 2 -c:a aac", "copy.copy"),
        ("sync.mkv", "-c:v libx264 -g 25 -bf 2 -c:a aac", "copy.opus"),
        ("sync.ts", "-c:v libx264 -g 25 -bf 2 -c:a aac", "copy.copy"),
        ("sync-ac3.mkv", "-c:v libx264 -g 25 -c:a ac3", "copy.aac"),
        ("sync.avi", "-c:v mpeg4 -c:a mp3", "h264.aac"),
        ("sync.mpg", "-c:v mpeg2video -c:a mp2 -f vob", "h264.aac"),
        ("sync.webm", "-c:v libvpx -deadline realtime -cpu-used 16 -c:a libvorbis", "h264.aac"),
        ("sync.wmv", "-c:v wmv2 -c:a wmav2", "h264.aac"),
    ],
)
def test_sound_is_in_step_with_the_pictures(name: str, codecs: str, variant: str) -> None:
    options = [*FLASH_AND_CLICK.split(), "-pix_fmt", "yuv420p", *codecs.split()]
    path = made_by_ffmpeg(CACHE / "sync-1" / name, lambda: options)
    with SegmentMaker(path, variant) as maker:
        init = maker.init()
        data = init + b"".join(maker.segment(n) for n in range(len(maker.playlist)))
    with vidnb.frames(path) as frames:
        flashes = [frame.time_s for frame in frames if frame.image.mean() > 128]
    expected = offsets_s(flashes, path.read_bytes())
    found = offsets_s([time_s for time_s, image in decoded(data) if image.mean() > 128], data)
    assert len(found) >= 11
    assert max(map(abs, found)) < 0.04
    assert np.median(found) == pytest.approx(np.median(expected), abs=0.005)
