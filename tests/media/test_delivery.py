"""How a browser gets a file: tables of decisions."""

from dataclasses import replace

import pytest

from tests.media.test_media_info import AUDIO, VIDEO
from vidnb.media.delivery import (
    MAX_PIXELS,
    Delivery,
    PlaybackFacts,
    deliveries,
    fit_size,
    output_limit,
    playable_as,
    playback_problem,
)
from vidnb.media.media_info import Playability

AVC, AAC = "avc1.64001F", "mp4a.40.2"
TYPES = {
    "h264": AVC,
    "hevc": "hvc1.1.6.L30.90",
    "vp9": "vp09.00.10.08",
    "av1": "av01.0.00M.08",
    "aac": AAC,
    "mp3": "mp4a.6B",
    "opus": "opus",
    "flac": "flac",
}
MADE = "avc1.64002A"


def facts(container: str, video: str, audio: str, **more: object) -> PlaybackFacts:
    """Return facts of two codecs; the pixel format stands behind that of the video."""
    codec, _, pixels = video.partition(" ")
    found = PlaybackFacts(
        container,
        video=codec or None,
        audio=audio or None,
        video_type=TYPES.get(codec, ""),
        audio_type=TYPES.get(audio, ""),
        pixel_format=(pixels or "yuv420p") if codec else None,
    )
    return replace(found, **more)  # type: ignore[arg-type]  # of several types


def variants(found: PlaybackFacts) -> list[str]:
    return [one.variant or "direct" for one in deliveries(found)]


@pytest.mark.parametrize(
    ("container", "video", "audio", "expected"),
    [
        ("mp4", "h264 yuv420p", "aac", "direct"),
        ("mp4", "h264 yuvj420p", "", "direct"),
        ("mp4", "h264 yuv420p", "mp3", "direct"),
        ("mp4", "h264 yuv420p", "opus", "direct"),
        ("mp4", "h264 yuv420p", "flac", "direct"),
        ("mp4", "vp9 yuv444p10le", "aac", "direct"),
        ("mp4", "av1 yuv420p10le", "opus", "direct"),
        ("quicktime", "h264 yuv420p", "aac", "direct"),
        ("webm", "vp8 yuv420p", "vorbis", "direct"),
        ("webm", "vp8 yuva420p", "", "direct"),
        ("webm", "vp9 yuv420p", "opus", "direct"),
        ("webm", "av1 yuv420p", "opus", "direct"),
        ("mp4", "", "aac", "direct"),
        ("mp3", "", "mp3", "direct"),
        ("ogg", "", "vorbis", "direct"),
        ("flac", "", "flac", "direct"),
        ("aac", "", "aac", "direct"),
        ("wav", "", "pcm_s16le", "direct"),
        # The browser decodes it, but not from this container.
        ("matroska", "h264 yuv420p", "aac", "remux"),
        ("mpegts", "h264 yuv420p", "aac", "remux"),
        ("flv", "h264 yuv420p", "mp3", "remux"),
        ("avi", "h264 yuv420p", "", "remux"),
        ("webm", "h264 yuv420p", "opus", "remux"),
        ("mp4", "vp8 yuv420p", "", "transcode"),
        ("mp4", "h264 yuv420p", "vorbis", "remux"),
        ("webm", "vp9 yuv420p", "aac", "remux"),
        ("matroska", "vp8 yuv420p", "vorbis", "transcode"),
        ("ogg", "vp8 yuv420p", "vorbis", "transcode"),
        ("mp4", "h264 yuv420p", "ac3", "remux"),
        ("matroska", "h264 yuv420p", "dts", "remux"),
        ("quicktime", "h264 yuv420p", "pcm_s16le", "remux"),
        ("matroska", "", "aac", "remux"),
        ("matroska", "vp9 yuv420p10le", "opus", "remux"),
        # It does not decode it.
        ("mp4", "h264 yuv422p", "aac", "transcode"),
        ("mp4", "h264 yuv420p10le", "aac", "transcode"),
        ("mp4", "h264 yuv444p", "aac", "transcode"),
        ("mp4", "av1 yuv444p", "aac", "transcode"),
        ("mp4", "hevc yuv420p", "aac", "transcode"),
        ("mp4", "mpeg4 yuv420p", "aac", "transcode"),
        ("quicktime", "prores yuv422p10le", "pcm_s16le", "transcode"),
        ("avi", "mjpeg yuvj420p", "pcm_s16le", "transcode"),
        ("mpegts", "mpeg2video yuv420p", "mp2", "transcode"),
        ("ogg", "theora yuv420p", "vorbis", "transcode"),
        ("png_pipe", "png rgb24", "", "transcode"),
        ("wav", "", "pcm_s16be", "transcode"),
        ("mp4", "unknown ", "aac", "transcode"),
    ],
)
def test_what_every_browser_needs(
    container: str, video: str, audio: str, expected: Playability
) -> None:
    codec, _, pixel_format = video.partition(" ")
    streams = [replace(VIDEO, codec=codec, pixel_format=pixel_format or None)] if video else []
    sounds = [replace(AUDIO, codec=audio)] if audio else []
    assert playable_as(container, streams, sounds) == expected


def test_only_the_first_streams_are_played() -> None:
    videos, audios = [VIDEO, replace(VIDEO, codec="hevc")], [AUDIO, replace(AUDIO, codec="ac3")]
    assert playable_as("mp4", videos, audios) == "direct"
    assert playable_as("mp4", videos[::-1], audios) == "transcode"


ENCODED = ["h264.aac", "h264.opus"]


@pytest.mark.parametrize(
    ("container", "video", "audio", "expected"),
    [
        ("mp4", "h264", "aac", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("mp4", "h264", "mp3", ["direct", "copy.copy", "copy.aac", "copy.opus", *ENCODED]),
        ("mp4", "h264", "", ["direct", "copy.none", "h264.none"]),
        ("mp4", "hevc", "aac", ["direct", "copy.copy", "copy.opus", *ENCODED]),
        ("mp4", "hevc yuv420p10le", "", ["direct", "copy.none", "h264.none"]),
        ("mp4", "h264", "ac3", ["copy.aac", "copy.opus", *ENCODED]),
        ("quicktime", "h264", "pcm_s16le", ["copy.aac", "copy.opus", *ENCODED]),
        ("matroska", "h264", "dts", ["copy.aac", "copy.opus", *ENCODED]),
        ("matroska", "h264", "aac", ["copy.copy", "copy.opus", *ENCODED]),
        ("matroska", "hevc", "opus", ["copy.copy", "copy.aac", *ENCODED]),
        ("matroska", "vp9", "vorbis", ["copy.aac", "copy.opus", *ENCODED]),
        ("mpegts", "h264", "mp2", ["copy.aac", "copy.opus", *ENCODED]),
        ("webm", "vp9", "opus", ["direct", "copy.copy", "copy.aac", *ENCODED]),
        ("webm", "vp8", "vorbis", ["direct", *ENCODED]),
        ("matroska", "vp8", "vorbis", ENCODED),
        ("avi", "mpeg4", "mp3", ENCODED),
        ("mpeg", "mpeg2video", "ac3", ENCODED),
        ("avi", "mjpeg yuvj420p", "", ["h264.none"]),
        ("quicktime", "prores yuv422p10le", "pcm_s24le", ENCODED),
        ("matroska", "vc1", "ac3", ENCODED),
        ("asf", "wmv2", "wmav2", ENCODED),
        ("mp4", "h264 yuv420p10le", "aac", ENCODED),
        ("mp4", "h264 yuv422p", "aac", ENCODED),
        ("mp4", "h264 yuv444p", "aac", ENCODED),
        ("mp4", "hevc yuv422p10le", "aac", ENCODED),
        ("mp4", "", "aac", ["direct", "none.copy", "none.aac", "none.opus"]),
        ("mp3", "", "mp3", ["direct", "none.copy", "none.aac", "none.opus"]),
        ("wav", "", "pcm_s16le", ["direct", "none.aac", "none.opus"]),
        ("ac3", "", "ac3", ["none.aac", "none.opus"]),
        ("mp4", "", "", []),
    ],
)
def test_the_ways_to_play_a_file(
    container: str, video: str, audio: str, expected: list[str]
) -> None:
    found = facts(container, video, audio)
    assert variants(found) == expected
    for one in deliveries(found):
        assert (one.reason == "") == (one.kind == "direct")
        assert one.kind == _kind(one.variant)


def _kind(variant: str) -> str:
    return "remux" if "copy" in variant else "transcode" if variant else "direct"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_interlaced": True}, "its frames are interlaced"),
        ({"is_rotated": True, "is_mirrored": True}, "mirrored, which not every browser shows"),
        ({"is_rotated": True, "keeps_rotation": False}, "rotated, which the browser does not see"),
        ({"hides_frames": True}, "it starts with hidden frames"),
    ],
)
@pytest.mark.parametrize(("container", "video"), [("mp4", "h264"), ("webm", "vp9")])
def test_frames_that_would_be_shown_wrong_are_encoded(
    container: str, video: str, changes: dict[str, bool], reason: str
) -> None:
    found = facts(container, video, "opus", **changes)
    assert variants(found) == ENCODED
    assert all(reason in one.reason for one in deliveries(found))


def test_packets_that_cannot_be_cut_are_encoded_but_play_directly() -> None:
    for change, reason in (
        ({"has_open_groups": True}, "its key frames do not start anew"),
        ({"has_times": False}, "its frames have no correct timestamps"),
        ({"has_index": False}, "it has no index of its key frames"),
        ({"video_type": ""}, "its H.264 cannot be copied into another container"),
    ):
        found = facts("mp4", "h264", "aac", **change)
        assert variants(found) == ["direct", *ENCODED]
        assert reason in deliveries(found)[-1].reason


def test_a_rotation_is_kept_by_mp4_and_its_segments_only() -> None:
    assert variants(facts("mp4", "h264", "", is_rotated=True))[:2] == ["direct", "copy.none"]
    turned = facts("webm", "vp9", "", is_rotated=True)
    assert variants(turned) == ["copy.none", "h264.none"]
    assert deliveries(turned)[0].reason == "browsers do not rotate WebM"


def test_a_missing_decoder_leaves_what_needs_none() -> None:
    no_video = {"has_video_decoder": False}
    assert variants(facts("matroska", "av1", "aac", **no_video)) == ["copy.copy", "copy.opus"]
    assert variants(facts("matroska", "unknown", "aac", **no_video)) == []
    no_audio = {"has_audio_decoder": False}
    assert variants(facts("mp4", "h264", "unknown", **no_audio)) == ["copy.none", "h264.none"]
    assert variants(facts("mp4", "h264", "aac", **no_audio)) == [
        "direct",
        "copy.copy",
        "h264.none",
    ]
    assert variants(facts("ac3", "", "unknown", **no_audio)) == []
    silent = deliveries(facts("mp4", "h264", "unknown", **no_audio))[0]
    assert silent.reason == "its sound (unknown) cannot be decoded"


def test_sound_that_mp4_cannot_hold_is_encoded() -> None:
    found = facts("matroska", "h264", "aac", audio_type="")
    assert variants(found) == ["copy.aac", "copy.opus", *ENCODED]


def test_pictures_that_are_too_large_are_not_encoded() -> None:
    large = {"size": (8193, 4352)}
    assert variants(facts("mp4", "h264", "aac", **large)) == ["direct", "copy.copy", "copy.opus"]
    assert MAX_PIXELS == 8192 * 4352
    assert variants(facts("avi", "mjpeg", "", size=(8192, 4352))) == ["h264.none"]


def test_converting_can_be_forbidden_and_forced() -> None:
    for found in (facts("mp4", "h264", "aac"), facts("avi", "mpeg4", "mp3")):
        assert deliveries(found, "never") == (Delivery("direct", "", "", ""),)
        always = deliveries(found, "always")
        assert [one.variant for one in always] == ENCODED


@pytest.mark.parametrize(
    ("container", "video", "audio", "more", "expected"),
    [
        ("mp4", "h264", "aac", {}, f'video/mp4; codecs="{AVC},{AAC}"'),
        ("quicktime", "h264", "", {}, f'video/mp4; codecs="{AVC}"'),
        ("mp4", "hevc", "", {"sample_entry": "hev1"}, 'video/mp4; codecs="hev1.1.6.L30.90"'),
        ("mp4", "h264", "", {"video_type": ""}, "video/mp4"),
        ("mp4", "", "aac", {}, f'audio/mp4; codecs="{AAC}"'),
        ("webm", "vp9", "opus", {}, 'video/webm; codecs="vp09.00.10.08,opus"'),
        ("webm", "vp8", "vorbis", {}, 'video/webm; codecs="vp8,vorbis"'),
        ("webm", "", "opus", {}, 'audio/webm; codecs="opus"'),
        ("ogg", "", "vorbis", {}, 'audio/ogg; codecs="vorbis"'),
        ("mp3", "", "mp3", {}, "audio/mpeg"),
        ("wav", "", "pcm_s16le", {}, "audio/wav"),
        ("flac", "", "flac", {}, "audio/flac"),
        ("aac", "", "aac", {}, "audio/aac"),
    ],
)
def test_the_type_of_the_file_as_it_is(
    container: str, video: str, audio: str, more: dict[str, object], expected: str
) -> None:
    direct = deliveries(facts(container, video, audio, **more))[0]
    assert (direct.kind, direct.type) == ("direct", expected)


def test_the_types_of_segments() -> None:
    def types(video: str, audio: str, **more: object) -> list[str]:
        return [one.type for one in deliveries(facts("matroska", video, audio, **more))]

    assert types("h264", "flac") == [
        f'video/mp4; codecs="{AVC},flac"',
        f'video/mp4; codecs="{AVC},{AAC}"',
        f'video/mp4; codecs="{AVC},opus"',
        f'video/mp4; codecs="{MADE},{AAC}"',
        f'video/mp4; codecs="{MADE},opus"',
    ]
    assert types("mpeg4", "") == [f'video/mp4; codecs="{MADE}"']
    assert types("hevc", "", sample_entry="hev1")[0] == 'video/mp4; codecs="hvc1.1.6.L30.90"'
    assert types("", "mp3") == [
        'audio/mp4; codecs="mp4a.6B"',
        f'audio/mp4; codecs="{AAC}"',
        'audio/mp4; codecs="opus"',
    ]


@pytest.mark.parametrize(
    ("container", "video", "audio", "reasons"),
    [
        ("matroska", "h264", "aac", ["do not play Matroska", "its AAC sound as it is"]),
        ("webm", "h264", "opus", ["browsers do not play H.264 in WebM"]),
        ("mp4", "h264", "ac3", ["browsers do not play AC-3 sound"]),
        ("mp4", "h264", "aac", ["", "the browser does not play the file as it is"]),
        ("avi", "mpeg4", "mp3", ["no browser plays MPEG-4 Part 2"]),
        ("matroska", "vp8", "vorbis", ["browsers play VP8 in WebM only"]),
        ("mp4", "h264 yuv422p", "", ["no browser plays H.264 with the pixels yuv422p"]),
        ("ac3", "", "ac3", ["browsers do not play AC-3 sound"]),
    ],
)
def test_the_reasons(container: str, video: str, audio: str, reasons: list[str]) -> None:
    found = deliveries(facts(container, video, audio))
    for one, reason in zip(found, reasons, strict=False):
        assert reason in one.reason
    hevc = deliveries(facts("mp4", "hevc", "aac"))
    assert hevc[-1].reason == "few browsers decode HEVC"
    losses = ("tone-mapped", "reduced to 1280 x 720")
    copied, encoded = deliveries(facts("matroska", "hevc", "", losses=losses))
    assert "reduced" not in copied.reason
    picture = "the picture is tone-mapped and reduced to 1280 x 720"
    assert encoded.reason == f"few browsers decode HEVC; {picture}"
    assert (
        deliveries(facts("mp4", "h264", ""))[-1].reason == "the browser does not decode its H.264"
    )


def test_the_problem_of_a_file() -> None:
    assert playback_problem("a.mp4", facts("mp4", "h264", "aac")) == ""
    assert playback_problem("a.mp3", facts("mp3", "", "mp3", size=(9**9, 9))) == ""
    large = playback_problem("a.mp4", facts("mp4", "h264", "", size=(16384, 16384)))
    assert large.startswith("The frames of a.mp4 have 16384 x 16384 pixels, too many")
    video = playback_problem("a.mkv", facts("matroska", "vvc", "aac", has_video_decoder=False))
    assert video.startswith("The video of a.mkv has a codec (VVC) for which this FFmpeg has no")
    sound = playback_problem("a.mkv", facts("matroska", "h264", "dts", has_audio_decoder=False))
    assert sound.startswith("The sound of a.mkv has a codec (DTS)")


@pytest.mark.parametrize(
    ("size", "fps", "cores", "expected"),
    [
        ((1920, 1080), 24, 2, (1920, 1080)),
        ((1920, 1080), 30, 2, (1920, 1080)),
        ((1920, 1080), 48, 2, (1920, 1080)),
        ((1920, 1080), 60, 2, (1280, 720)),
        ((1920, 1080), 60, 4, (1920, 1080)),
        ((1920, 1080), 30, 1, (1280, 720)),
        ((1920, 1080), 24, 0, (1280 * 3 // 2, 720 * 3 // 2)),
        ((3840, 2160), 30, 2, (1280, 720)),
        ((3840, 2160), 24, 8, (1920, 1080)),
        ((1280, 720), 60, 2, (1280, 720)),
        ((1080, 1920), 30, 2, (1080, 1920)),
        ((2160, 3840), 30, 2, (720, 1280)),
        ((640, 480), 240, 2, (640, 480)),
        ((1440, 1080), 25, 2, (1440, 1080)),
        ((4096, 1716), 24, 8, (1920, 804)),
        ((1920, 1080), 90000, 2, (1920, 1080)),  # an error of the file: taken for 30
        ((1920, 1080), 0, 2, (1920, 1080)),
        ((1920, 1080), float("nan"), 2, (1920, 1080)),
        ((0, 0), 25, 2, (2, 2)),
        ((3, 5), 25, 2, (4, 4)),
    ],
)
def test_the_size_in_which_a_video_is_encoded(
    size: tuple[int, int], fps: float, cores: int, expected: tuple[int, int]
) -> None:
    assert fit_size(*size, output_limit(*size, fps, cores)) == expected


def test_a_size_is_fitted() -> None:
    assert fit_size(151, 101, None) == (152, 100)
    assert fit_size(151, 101, None, step=1) == (151, 101)
    assert fit_size(100000, 2, (1920, 1080)) == (1920, 2)
