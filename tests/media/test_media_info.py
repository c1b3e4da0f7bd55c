"""The facts of a media file as text, HTML and JSON (no decoder needed)."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from vidnb.media.media_info import (
    AudioStream,
    Chapter,
    DamagedPlace,
    MediaInfo,
    SubtitleStream,
    VideoStream,
    creation_time,
    hdr_kind,
    one_line,
)

VIDEO = VideoStream(
    index=0,
    codec="h264",
    profile="High",
    pixel_format="yuv420p",
    bit_depth=8,
    width=1920,
    height=1080,
    display_width=1920,
    display_height=1080,
    sample_aspect_ratio=Fraction(1),
    rotation=0,
    average_frame_rate=Fraction(30000, 1001),
    real_frame_rate=Fraction(30000, 1001),
    is_variable_rate=False,
    frame_count=720,
    longest_key_interval_s=2.0,
    color_primaries=None,
    color_transfer=None,
    color_matrix=None,
    color_range=None,
    hdr=None,
    bits_per_s=5_900_000,
    language="und",
    title=None,
    has_decoder=True,
)
AUDIO = AudioStream(
    index=1,
    codec="aac",
    profile="LC",
    sample_rate_hz=44100,
    channels=2,
    layout="stereo",
    bits_per_s=193_000,
    language="eng",
    title="Commentary",
    has_decoder=True,
)
SUBTITLES = SubtitleStream(2, "mov_text", "deu", None, has_decoder=False)
INFO = MediaInfo(
    name="/films/a film.mp4",
    container="mp4",
    size_bytes=22_700_000,
    duration_s=30.0,
    bits_per_s=6_100_000,
    video=(VIDEO,),
    audio=(AUDIO,),
    subtitles=(SUBTITLES,),
    chapters=(Chapter(0.0, 10.0, "Opening"), Chapter(10.0, 30.0, None)),
    tags={"title": "A film", "major_brand": "isom"},
    creation_time=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    playable_as="direct",
    problems=("The first problem.", "The second problem."),
    damage=(),
)
TEXT = """/films/a film.mp4
  File          MP4 · 0:30 · 22.7 MB · 6.1 Mbit/s
  Video #0      H.264 High · 1920 x 1080 · 29.97 fps (constant) · 720 frames · yuv420p · 5.9 Mbit/s
  Audio #1      AAC LC · 44.1 kHz · stereo · 193 kbit/s · eng · “Commentary”
  Subtitles #2  MP4 text · deu · no decoder
  Chapters      0:00 Opening
                0:10
  Created       2024-05-06 07:08:09+00:00
  Tags          title: A film
  Browser       plays as it is
  Damage        no damaged places
  Problems      The first problem.
                The second problem."""


def test_the_text_of_a_terminal() -> None:
    assert str(INFO) == repr(INFO) == TEXT


def test_facts_that_are_not_known_are_left_out() -> None:
    video = replace(
        VIDEO,
        profile=None,
        average_frame_rate=None,
        is_variable_rate=None,
        frame_count=None,
        pixel_format=None,
        bits_per_s=None,
        language=None,
    )
    audio = replace(
        AUDIO, profile=None, sample_rate_hz=0, channels=0, bits_per_s=None, language="", title=None
    )
    info = replace(
        INFO,
        duration_s=None,
        bits_per_s=None,
        video=(video,),
        audio=(audio,),
        subtitles=(),
        chapters=(),
        tags={},
        creation_time=None,
        problems=(),
        damage=None,
    )
    assert str(info) == (
        "/films/a film.mp4\n"
        "  File      MP4 · 22.7 MB\n"
        "  Video #0  H.264 · 1920 x 1080\n"
        "  Audio #1  AAC\n"
        "  Browser   plays as it is"
    )
    assert info.summary == "22.7 MB · 1920 x 1080 · H.264 · AAC stereo"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"rotation": 90, "display_width": 1080, "display_height": 1920},
            "1920 x 1080, turned by 90°, shown as 1080 x 1920",
        ),
        (
            {"sample_aspect_ratio": Fraction(4, 3), "display_width": 2560},
            "1920 x 1080, shown as 2560 x 1080",
        ),
        ({"rotation": 180}, "1920 x 1080, turned by 180°"),
        ({"is_variable_rate": True}, "29.97 fps (variable)"),
        ({"is_variable_rate": None}, "29.97 fps"),
        ({"frame_count": 1}, "1 frame"),
        ({"frame_count": 1_234_567}, "1,234,567 frames"),
        ({"hdr": "HDR10"}, "HDR10"),
        ({"color_matrix": "bt709"}, "?/?/bt709"),
        ({"color_primaries": "bt2020", "color_transfer": "smpte2084"}, "bt2020/smpte2084/?"),
        ({"color_range": "full"}, "full range"),
        ({"bits_per_s": 999_499}, "999 kbit/s"),
        ({"bits_per_s": 999_500}, "1.0 Mbit/s"),
        ({"has_decoder": False}, "no decoder"),
        ({"codec": "a_new_codec", "profile": None}, "a_new_codec"),
    ],
)
def test_the_facts_of_a_video_stream(changes: dict[str, object], expected: str) -> None:
    stream = replace(VIDEO, **changes)  # type: ignore[arg-type]  # of several types
    assert expected in list(stream.facts())
    assert expected in str(replace(INFO, video=(stream,)))


def test_channels_without_a_layout_are_counted() -> None:
    assert "7 channels" in list(replace(AUDIO, channels=7, layout=None).facts())
    assert "1 channel" in list(replace(AUDIO, channels=1, layout=None).facts())


def test_the_summary_is_one_line() -> None:
    assert INFO.summary == "0:30 · 22.7 MB · 1920 x 1080 · 29.97 fps · H.264 High · AAC stereo"
    assert replace(INFO, video=(), audio=(replace(AUDIO, layout=None),)).summary == (
        "0:30 · 22.7 MB · AAC"
    )
    assert "· H.264 High · HLG ·" in replace(INFO, video=(replace(VIDEO, hdr="HLG"),)).summary


def test_a_hostile_name_or_tag_is_neither_markup_nor_an_escape_sequence() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J\n& more"
    info = replace(
        INFO,
        name=hostile,
        tags={hostile: hostile, "k": "x" * 5000},
        chapters=(Chapter(0, 1, hostile),),
        audio=(replace(AUDIO, title=hostile, language=hostile),),
        problems=(hostile,),
    )
    page = info._repr_html_()
    assert "<script" not in page
    assert "\x1b" not in page + str(info)
    assert page.count("&lt;script&gt;") == 7
    assert "&amp; more" in page
    assert max(map(len, str(info).splitlines())) < 700
    assert json.loads(json.dumps(info.to_dict()))["tags"][hostile] == hostile


def test_many_chapters_and_tags_are_shortened() -> None:
    chapters = tuple(Chapter(n, n + 1, f"chapter {n}") for n in range(41))
    text = str(replace(INFO, chapters=chapters))
    assert "chapter 39" in text
    assert "chapter 40" not in text
    assert "… and 1 more" in text


def test_one_line_keeps_readable_text() -> None:
    assert one_line("  a\tb\u2028c\x00 Ünïcode 日本 ") == "a b c Ünïcode 日本"
    assert one_line("x" * 301) == "x" * 299 + "…"
    assert one_line("x" * 300) == "x" * 300


def test_the_table_has_row_headers_and_no_fixed_colours_for_text() -> None:
    page = INFO._repr_html_()
    assert page.count('<th scope="row"') == 10
    assert "<caption" in page
    assert "/films/a film.mp4" in page
    for line in ("The first problem.", "H.264 High", "0:00 Opening", "title: A film"):
        assert line in page
    assert "color: rgb" not in page.replace("border-left: 3px solid rgb", "")
    assert page.count("background: none") == 10 * 3  # row, head and cell


def test_json_has_fractions_as_text_and_times_by_iso_8601() -> None:
    place = DamagedPlace(0, 1.5, None, 1000, None, 3)
    values = json.loads(json.dumps(replace(INFO, damage=(place,)).to_dict(), allow_nan=False))
    assert values["video"][0]["average_frame_rate"] == "30000/1001"
    assert values["video"][0]["sample_aspect_ratio"] == "1/1"
    assert values["creation_time"] == "2024-05-06T07:08:09+00:00"
    assert values["chapters"][1] == {"start_s": 10.0, "end_s": 30.0, "title": None}
    assert values["damage"] == [
        {"stream": 0, "start_s": 1.5, "end_s": None, "start_byte": 1000, "end_byte": None}
        | {"packets": 3}
    ]
    assert values["tags"] == {"title": "A film", "major_brand": "isom"}
    assert values["playable_as"] == "direct"
    assert values["problems"] == ["The first problem.", "The second problem."]
    assert set(values) == set(MediaInfo.__dataclass_fields__)


def test_the_facts_pickle_compare_and_hash() -> None:
    assert pickle.loads(pickle.dumps(INFO)) == INFO  # noqa: S301 - pickled in this line
    assert hash(INFO) == hash(replace(INFO, tags={}))
    assert replace(INFO, tags={}) != INFO
    with pytest.raises(AttributeError):
        INFO.name = "x"  # type: ignore[misc]  # the point


@pytest.mark.parametrize(
    ("transfer", "side_data", "expected"),
    [
        (None, set(), None),
        ("bt709", {"CONTENT_LIGHT_LEVEL"}, None),
        ("smpte2084", set(), "PQ"),
        ("smpte2084", {"MASTERING_DISPLAY_METADATA"}, "HDR10"),
        ("smpte2084", {"CONTENT_LIGHT_LEVEL", "SEI_UNREGISTERED"}, "HDR10"),
        ("smpte2084", {"DYNAMIC_HDR_PLUS", "CONTENT_LIGHT_LEVEL"}, "HDR10+"),
        ("smpte2084", {"DOVI_METADATA", "DYNAMIC_HDR_PLUS"}, "Dolby Vision"),
        ("arib-std-b67", {"DOVI_RPU_BUFFER"}, "Dolby Vision"),
        ("arib-std-b67", set(), "HLG"),
    ],
)
def test_the_kind_of_hdr(transfer: str | None, side_data: set[str], expected: str | None) -> None:
    assert hdr_kind(transfer, frozenset(side_data)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"creation_time": "not a date"}, None),
        ({"creation_time": ""}, None),
        (
            {"creation_time": "2024-05-06T07:08:09.000000Z"},
            datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        ),
        ({"CREATION_TIME": "2024-05-06 07:08:09"}, datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        (
            {
                "creation_time": "2024-05-06T05:08:09Z",
                "com.apple.quicktime.creationdate": "2024-05-06T07:08:09+0200",
            },
            datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2))),
        ),
        (
            {"com.apple.quicktime.creationdate": "soon", "DATE_ENCODED": "2024-05-06"},
            datetime(2024, 5, 6, tzinfo=UTC),
        ),
    ],
)
def test_the_creation_time(tags: dict[str, str], expected: datetime | None) -> None:
    found = creation_time(tags)
    assert found == expected
    assert found is None or found.utcoffset() == (expected or found).utcoffset()
