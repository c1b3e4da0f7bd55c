"""What is wrong with a media file: tables of decisions."""

from dataclasses import replace
from fractions import Fraction

import pytest

from tests.media.test_media_info import AUDIO, SUBTITLES, VIDEO
from vidnb.media import problems
from vidnb.media.frame_table import FrameTable, PacketEntry
from vidnb.media.media_info import DamagedPlace
from vidnb.media.sniff import Layout, SniffResult, sniff

LAYOUT = Layout(
    moov_first=True,
    fragmented=False,
    truncated=False,
    truncated_box=None,
    missing_bytes=0,
    is_mp4=True,
)
TICK = Fraction(1, 25)


def table(*pts: int, keys: tuple[int, ...] = (0,)) -> FrameTable:
    entries = [PacketEntry(one, one, 100 * n, n in keys) for n, one in enumerate(pts)]
    return FrameTable.of_packets(entries, TICK)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#EXTM3U\n#EXTINF:3,\na.ts\n", "is a playlist (M3U), which only names other files"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "is a playlist (HLS), which only names other files"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a file, which only names other files",
        ),
        (b"<?xml version='1.0'?><MPD xmlns='x'>", "is a playlist (DASH)"),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello", "holds subtitles, not a video"),
        (b"1\n00:00:00,000 --> 00:00:02,000\nHello\n", "holds subtitles, not a video"),
        (b"<html><title>Not found</title>", "is a web page (“Not found”), not a video"),
        (b"<html><body>Hello", "is a web page, not a video"),
        (b'{"message": "no such film"}', "is json text (“no such film”), not a video"),
        (b"ffconcat version 1.0\nfile a.mp4\n", "is text (“ffconcat version 1.0”), not a video"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n", "is text (“v=0”), not a video"),
    ],
)
def test_text_in_place_of_a_video_is_refused(head: bytes, expected: str) -> None:
    text = problems.not_a_video("film.mp4", sniff(head))
    assert text is not None
    assert text.startswith(f"film.mp4 {expected}")
    assert text.count(". ") == 0
    assert text.endswith(".")


@pytest.mark.parametrize("kind", ["mp4", "matroska", "unknown", "yuv4mpeg", "heif"])
def test_other_bytes_are_left_to_ffmpeg(kind: str) -> None:
    assert problems.not_a_video("film.mp4", SniffResult(kind, "unknown")) is None


def test_what_the_list_of_streams_says() -> None:
    def found(container: str, *kinds: object) -> list[str]:
        return list(problems.stream_problems(container, *kinds))  # type: ignore[arg-type]

    assert found("mp4", [VIDEO], [AUDIO], []) == []
    assert found("mp4", [], [AUDIO], []) == [
        "It has no video stream: it can be heard, but it has no frames."
    ]
    for container in ("png_pipe", "jpeg_pipe", "heif", "image2"):
        assert found(container, [VIDEO], [], []) == [
            "It is a picture, not a video; open it with Pillow."
        ]
    lost = replace(VIDEO, codec="vvc", has_decoder=False)
    sentences = found("mp4", [VIDEO, lost], [], [SUBTITLES])
    assert [text.split(" for ")[0] for text in sentences] == [
        "Stream #0 has a codec (vvc)",
        "Stream #2 has a codec (mov_text)",
    ]


def test_a_truncated_file() -> None:
    assert problems.missing_bytes_problem(0, "mdat is missing", []) == (
        "The file is truncated: mdat is missing; download it again."
    )
    counts = [(0, 100, 58), (1, 0, 12), (2, 5, 5)]
    assert problems.missing_bytes_problem(37190, "it ends early", counts) == (
        "The file is truncated: 37.2 kB are missing: it ends early; 58 of 100 packets of stream #0"
        " are left; download it again."
    )


def test_what_the_boxes_say() -> None:
    def found(stop: int = 1000, **changes: object) -> list[str]:
        layout = replace(LAYOUT, **changes)  # type: ignore[arg-type]  # of several types
        return list(problems.box_problems(layout, stop, 1000))

    assert found() == found(moov_first=None) == []
    assert len(found(moov_first=False)) == 1
    assert "faststart" in found(moov_first=False)[0]
    assert found(moov_first=False, fragmented=True) == []
    assert found(moov_first=False, truncated=True) == []
    assert found(600) == []  # other data after a complete video
    assert found(600, fragmented=True) == [
        (
            "From byte 600 on the file has no boxes of an MP4, so that the rest (400 B) cannot"
            " be read; download it again."
        )
    ]


def test_key_frames_that_are_far_apart() -> None:
    assert list(problems.key_frame_problems(0, table(*range(250), keys=(0, 100)))) == []
    (text,) = problems.key_frame_problems(3, table(*range(251)))
    assert text.startswith("The key frames of stream #3 are up to 10.0 s apart")
    (text,) = problems.key_frame_problems(0, table(*range(600), keys=(0, 25)))
    assert "up to 23.0 s apart" in text


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        ([], []),
        ([5], []),
        (range(50), []),
        ([*range(50), *range(80, 100)], [(1.96, 3.2)]),
        ([*range(50), *range(61, 100)], []),  # 0.48 s: a pause, or a dropped frame
        ([*range(100), *range(200, 300), *range(400, 500)], [(3.96, 8.0), (11.96, 16.0)]),
        (range(0, 5000, 25), []),  # one frame a second
        ([n * (20 if n % 3 else 1) for n in range(60)], []),  # a variable rate
        ([n + 60 * (n // 10) for n in range(100)], []),  # bursts
    ],
)
def test_a_gap_between_regular_frames(pts: list[int], expected: list[tuple[float, float]]) -> None:
    shown = sorted(pts)
    found = list(problems.gap_problems(0, table(*shown))) if shown else []
    assert found == [
        f"Stream #0 has no frame between {start:.3f} s and {end:.3f} s." for start, end in expected
    ]


def test_a_count_that_the_container_declares() -> None:
    assert list(problems.count_problems(0, 0, 5)) == []
    assert list(problems.count_problems(0, 5, 5)) == []
    (text,) = problems.count_problems(2, 100, 98)
    assert text.startswith("Only 98 of 100 packets of stream #2 can be read")


def test_the_timestamps_of_packets() -> None:
    def found(*stamps: tuple[int | None, int | None, bool]) -> list[str]:
        entries = [
            PacketEntry(pts, dts, 0, n == 0, gone) for n, (pts, dts, gone) in enumerate(stamps)
        ]
        return list(problems.timestamp_problems(0, entries))

    assert found((0, 0, False), (2, 1, False), (1, 2, False)) == []  # B-frames
    assert found((None, 0, False), (None, 1, False)) == []  # AVI
    assert found((0, 0, True), (0, 1, False)) == []  # an edit list
    assert found((0, 0, False), (None, None, False), (2, 2, False)) == [
        "Of stream #0, 1 of 3 packets have no timestamp."
    ]
    assert found((0, 0, False), (2, 2, False), (1, 1, False), (3, 3, False)) == [
        "The decoding timestamps of stream #0 go backwards at 1 of its packets."
    ]
    assert found((0, 0, False), (0, 1, False), (0, 2, False)) == [
        "Of stream #0, 2 of 3 packets repeat a presentation timestamp."
    ]


def test_damage_lasts_up_to_the_next_good_key_packet() -> None:
    entries = [PacketEntry(n, n, 1000 * n, n % 5 == 0) for n in range(20)]

    def found(*bad: int) -> list[DamagedPlace]:
        return list(problems.damaged_places(1, entries, set(bad), TICK))

    assert found() == []
    assert found(7) == [DamagedPlace(1, 0.28, 0.4, 7000, 10_000, 3)]
    assert found(7, 8) == found(7)
    assert found(5, 10) == [DamagedPlace(1, 0.2, 0.6, 5000, 15_000, 10)]
    assert found(1, 12) == [
        DamagedPlace(1, 0.04, 0.2, 1000, 5000, 4),
        DamagedPlace(1, 0.48, 0.6, 12_000, 15_000, 3),
    ]
    assert found(19) == [DamagedPlace(1, 0.76, None, 19_000, None, 1)]


def test_holes_between_packets() -> None:
    assert list(problems.holes([])) == []
    assert list(problems.holes([(100, 50), (150, 900), (1060, 10)])) == []
    assert list(problems.holes([(100, 50), (350, 10)])) == []
    assert list(problems.holes([(351, 10), (100, 50)])) == [(150, 351)]
    assert list(problems.holes([(0, 5000), (10, 10), (5100, 10), (9000, 1)])) == [(5110, 9000)]


def test_damage_without_times_and_positions() -> None:
    entries = [PacketEntry(None, dts, -1, is_key=True) for dts in (None, 3)]
    assert list(problems.damaged_places(0, entries, {0}, TICK)) == [
        DamagedPlace(0, None, 0.12, None, None, 1)
    ]


def test_the_sentences_about_damage() -> None:
    first = DamagedPlace(0, 1.5, 2.0, 3000, 4000, 7)
    assert list(problems.damage_problems([first])) == [
        (
            "Stream #0 is damaged from 1.500 s to 2.000 s, from byte 3000 on (7 packets); download"
            " the file again."
        )
    ]
    assert list(problems.damage_problems([DamagedPlace(1, None, None, None, None, 1)])) == [
        "Stream #1 is damaged to the end (1 packet); download the file again."
    ]
    assert len(list(problems.damage_problems([first] * 5))) == 5
    assert list(problems.damage_problems([first] * 7))[5:] == [
        "More damaged places: 2; see `.damage`."
    ]
