import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http import media_types
from vidnb.http.media_types import OCTET_STREAM, extension_of, media_type_of


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.mp4", "video/mp4"),
        ("A.MP4", "video/mp4"),
        ("a.m4v", "video/mp4"),
        ("a.mov", "video/quicktime"),
        ("a.webm", "video/webm"),
        ("a.mkv", "video/x-matroska"),
        ("a.ts", "video/mp2t"),
        ("a.ogv", "video/ogg"),
        ("a.avi", "video/x-msvideo"),
        ("a.mpg", "video/mpeg"),
        ("a.flv", "video/x-flv"),
        ("a.wmv", "video/x-ms-wmv"),
        ("a.3gp", "video/3gpp"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.mpd", "application/dash+xml"),
        ("a.vtt", "text/vtt"),
        ("a.srt", "application/x-subrip"),
        ("a.mp3", "audio/mpeg"),
        ("a.m4a", "audio/mp4"),
        ("a.wav", "audio/wav"),
        ("a.jpg", "image/jpeg"),
        ("a.png", "image/png"),
        pytest.param("dir.mkv/a.b.mp4", "video/mp4", id="the-last-dot-counts"),
        pytest.param(".webm", "video/webm", id="nothing-but-an-extension"),
        pytest.param("mp4", OCTET_STREAM, id="no-dot"),
        pytest.param("", OCTET_STREAM, id="empty"),
        pytest.param("a.html", OCTET_STREAM, id="a-page-is-no-medium"),
        pytest.param("a.mp4.part", OCTET_STREAM, id="another-end"),
    ],
)
def test_the_media_type_of_a_file_name(name: str, media_type: str) -> None:
    assert media_type_of(name) == media_type


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [
        ("video/mp4", ".mp4"),
        ("Video/MP4", ".mp4"),
        pytest.param(' video/mp4 ; codecs="avc1.42E01E"', ".mp4", id="parameters"),
        ("application/mp4", ".mp4"),
        ("video/x-m4v", ".m4v"),
        ("video/quicktime", ".mov"),
        ("video/webm", ".webm"),
        ("video/x-matroska", ".mkv"),
        ("video/matroska", ".mkv"),
        ("video/mp2t", ".ts"),
        ("video/ogg", ".ogv"),
        ("video/x-msvideo", ".avi"),
        ("video/mpeg", ".mpg"),
        ("application/x-mpegURL", ".m3u8"),
        ("audio/ogg", ".ogg"),
        ("image/jpeg", ".jpg"),
        ("text/html", None),
        (OCTET_STREAM, None),
        ("", None),
    ],
)
def test_the_extension_of_a_media_type(media_type: str, extension: str | None) -> None:
    assert extension_of(media_type) == extension


def test_every_media_type_has_an_extension_of_that_type() -> None:
    for extension, media_type in media_types._TYPES.items():
        assert extension == extension.lower()
        assert media_type_of("name" + (extension_of(media_type) or "")) == media_type
    for alias, media_type in media_types._ALIASES.items():
        assert alias not in media_types._TYPES.values()
        assert extension_of(alias) == extension_of(media_type) is not None


@given(st.text(max_size=50))
def test_no_text_raises_an_error(text: str) -> None:
    assert "/" in media_type_of(text)
    extension = extension_of(text)
    assert extension is None or extension.startswith(".")
