# ruff: noqa: RUF001 - file names in several scripts
import re
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidnb.download.planner import naming
from vidnb.download.planner.naming import MAX_NAME_BYTES, file_name
from vidnb.media.sniff import sniff


@pytest.mark.parametrize(
    ("content_disposition", "url", "media_type", "name"),
    [
        pytest.param(
            'attachment; filename="talk.mp4"', "https://h/x.webm", None, "talk.mp4", id="header"
        ),
        pytest.param("attachment", "https://h/x.webm", None, "x.webm", id="header-names-nothing"),
        pytest.param("@", "https://h/x.webm", None, "x.webm", id="header-malformed"),
        pytest.param(
            'attachment; filename="../.."', "https://h/x.webm", None, "x.webm", id="header-no-name"
        ),
        pytest.param(
            "attachment; filename*=UTF-8''%e2%82%ac%20rates.mp4",
            "https://h/",
            None,
            "€ rates.mp4",
            id="header-extended",
        ),
        pytest.param(
            'attachment; filename="caf\udce9.mp4"', "", None, "café.mp4", id="header-latin-1"
        ),
        pytest.param(
            'attachment; filename="C:\\\\Users\\\\a.mp4"', "", None, "a.mp4", id="header-drive"
        ),
        pytest.param(None, "https://h/a/b/c.mp4", None, "c.mp4", id="url"),
        pytest.param(None, "https://h/c.mp4?x=/y.mkv#/z.avi", None, "c.mp4", id="query-fragment"),
        pytest.param(None, "https://h/c.mp4#?x", None, "c.mp4", id="fragment-before-query"),
        pytest.param(None, "https://h/a/talks//", "video/mp4", "talks.mp4", id="trailing-slashes"),
        pytest.param(None, "https://h/", "video/webm", "video.webm", id="url-without-path"),
        pytest.param(None, "https://example.mp4", None, "video", id="the-host-is-not-used"),
        pytest.param(None, "https://h?q=a/b.mp4", None, "video", id="url-of-host-and-query"),
        pytest.param(None, "a/b.mp4", None, "b.mp4", id="relative-url"),
        pytest.param(None, "", None, "video", id="empty"),
        pytest.param(None, "https://h/my%20talk.mp4", None, "my talk.mp4", id="decoded"),
        pytest.param(None, "https://h/a%2520b.mp4", None, "a%20b.mp4", id="decoded-once"),
        pytest.param(None, "https://h/caf%C3%A9.mp4", None, "café.mp4", id="utf-8"),
        pytest.param(None, "https://h/caf%E9.mp4", None, "café.mp4", id="latin-1"),
        pytest.param(None, "https://h/\ud800a.mp4", None, "_a.mp4", id="lone-surrogate"),
        pytest.param(None, "https://h/%zz%4.mp4", None, "%zz%4.mp4", id="invalid-percent-encoding"),
        pytest.param(None, "https://h/o/v%2Fa.mp4?x", None, "a.mp4", id="escaped-slash"),
        pytest.param(None, "https://h/v%5Ca.mp4", None, "a.mp4", id="escaped-backslash"),
        pytest.param(None, "https://h/v%252Fa.mp4", None, "v%2Fa.mp4", id="escaped-twice"),
        pytest.param(None, "https://h/a.mp4;jsessionid=1F.node1", None, "a.mp4", id="session"),
        pytest.param(None, "https://h/a.mp4;v=2;type=a;?x=1", None, "a.mp4", id="parameters"),
        pytest.param(None, "https://h/a/;jsessionid=1F/", None, "a", id="parameters-alone"),
        pytest.param(None, "https://h/get;id=5", "video/mp4", "get.mp4", id="no-extension"),
        pytest.param(None, "https://h/a;b.mp4", None, "a;b.mp4", id="no-parameter"),
        pytest.param(None, "https://h/a;1=b.mp4", None, "a;1=b.mp4", id="no-parameter-name"),
        pytest.param(None, "https://h/a%3Bb=c.mp4", None, "a;b=c.mp4", id="escaped-semicolon"),
        pytest.param(None, "https://h/a;b=c/d.mp4", None, "d.mp4", id="of-another-segment"),
        pytest.param(None, "https://h/%B2%E2%CA%D4.mp4", None, "测试.mp4", id="gbk"),
        pytest.param(None, "https://h/%83e%83X%83g.mp4", None, "テスト.mp4", id="shift-jis"),
        pytest.param(
            'attachment; filename="=?UTF-8?B?Li4vYS5tcDQ=?="', "", None, "a.mp4", id="encoded-word"
        ),
        pytest.param('attachment; filename="..%2Fa.mp4"', "", None, "a.mp4", id="escaped-in-name"),
        pytest.param(None, "https://h/a/..%2f..%2fetc%2fpasswd", None, "passwd", id="escaped-path"),
    ],
)
def test_the_source_of_a_name(
    content_disposition: str | None, url: str, media_type: str | None, name: str
) -> None:
    assert file_name(content_disposition, url, media_type) == name


def named(raw: str, media_type: str | None = None) -> str:
    return file_name(None, "https://h/" + quote(raw, safe=""), media_type)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        pytest.param("../../etc/passwd", "passwd", id="parent-folders"),
        pytest.param("/etc/passwd", "passwd", id="absolute"),
        pytest.param("C:\\Users\\me\\a.mp4", "a.mp4", id="drive"),
        pytest.param("C:a.mp4", "C_a.mp4", id="drive-relative"),
        pytest.param("\\\\server\\share\\a.mp4", "a.mp4", id="unc"),
        pytest.param("dir/", "video", id="a-folder"),
        pytest.param("dir\\", "video", id="a-windows-folder"),
        pytest.param(".", "video", id="dot"),
        pytest.param("..", "video", id="dots"),
        pytest.param(". . .", "video", id="dots-and-spaces"),
        pytest.param("a\x00b\x1f\x7f\x85\n.mp4", "ab.mp4", id="controls"),
        pytest.param("a\u202e4pm.exe\u2066\u200b\ufeff.mp4", "a4pm.exe.mp4", id="direction-marks"),
        pytest.param("a\u2028b\u2029.mp4", "ab.mp4", id="line-separators"),
        pytest.param("a\u00a0b\u3000c.mp4", "a b c.mp4", id="odd-spaces"),
        pytest.param('a<b>c:d"e|f?g*h.mp4', "a_b_c_d_e_f_g_h.mp4", id="forbidden"),
        pytest.param("...hidden.mp4", "hidden.mp4", id="leading-dots"),
        pytest.param(" . a.mp4", "a.mp4", id="leading-mixture"),
        pytest.param("a.mp4 . .", "a.mp4", id="trailing-mixture"),
        pytest.param("e\u0301.mp4", "\u00e9.mp4", id="nfc"),
        pytest.param("e\u200d\u0301.mp4", "\u00e9.mp4", id="nfc-after-removal"),
        pytest.param("\u212a.mp4", "K.mp4", id="nfc-singleton"),
        pytest.param("CON", "_CON", id="device"),
        pytest.param("con.mp4", "_con.mp4", id="device-with-extension"),
        pytest.param("Nul .tar.gz", "_Nul .tar.gz", id="device-with-space"),
        pytest.param("COM1.mp4", "_COM1.mp4", id="device-port"),
        pytest.param("LPT\u00b9.mp4", "_LPT\u00b9.mp4", id="device-superscript"),
        pytest.param("CONIN$", "_CONIN$", id="device-console"),
        pytest.param("COM10.mp4", "COM10.mp4", id="no-device-two-digits"),
        pytest.param("CONCERT.mp4", "CONCERT.mp4", id="no-device-longer"),
        pytest.param("a.CON", "a.CON", id="no-device-extension"),
        pytest.param("映画.mp4", "映画.mp4", id="any-script"),
        pytest.param("می\u200cخواهم.mp4", "می\u200cخواهم.mp4", id="persian"),
        pytest.param("مِ\u200cی.mp4", "مِ\u200cی.mp4", id="persian-with-a-vowel"),
        pytest.param("ه\u200dم", "ه\u200dم", id="arabic-joiner"),
        pytest.param("क\u094d\u200dष.mp4", "क\u094d\u200dष.mp4", id="hindi-half-form"),
        pytest.param("क\u094d\u200cष.mp4", "क\u094d\u200cष.mp4", id="hindi-virama"),
        pytest.param("ර\u0dca\u200dය", "ර\u0dca\u200dය", id="sinhala"),
        pytest.param("র\u200d\u09cdয", "র\u200d\u09cdয", id="bengali-before-virama"),
        pytest.param("👩\u200d🚀.mp4", "👩\u200d🚀.mp4", id="emoji"),
        pytest.param("👩🏽\u200d🔬 a", "👩🏽\u200d🔬 a", id="emoji-with-a-skin-tone"),
        pytest.param("🏳\ufe0f\u200d🌈", "🏳\ufe0f\u200d🌈", id="emoji-with-a-style"),
        pytest.param("a\u200cb\u200dc.mp4", "abc.mp4", id="joiners-in-latin"),
        pytest.param("1\u200d2", "12", id="joiner-in-digits"),
        pytest.param("می\u200c\u200cخ", "می\u200cخ", id="two-joiners"),
        pytest.param("\u200cم\u200c.mp4", "م.mp4", id="joiners-at-the-ends"),
        pytest.param("क\u094d\u200d.mp4", "क\u094d.mp4", id="joiner-before-the-extension"),
        pytest.param("👩\u200cم 👩\u200c🚀", "👩م 👩🚀", id="joiner-of-another-script"),
        pytest.param("م\u200d\u200f\u061cم\u202eم", "م\u200dمم", id="direction-marks-of-arabic"),
        pytest.param("X-X", "X-X", id="unchanged"),
    ],
)
def test_a_name_is_sanitized(raw: str, name: str) -> None:
    assert named(raw) == name


@pytest.mark.parametrize(
    ("raw", "media_type", "name"),
    [
        pytest.param("talk", "video/mp4", "talk.mp4", id="none"),
        pytest.param("talk", "VIDEO/WEBM; codecs=vp9", "talk.webm", id="any-spelling"),
        pytest.param("talk", "video/x-matroska", "talk.mkv", id="matroska"),
        pytest.param("talk", "video/quicktime", "talk.mov", id="quicktime"),
        pytest.param("talk", "video/mp2t", "talk.ts", id="transport-stream"),
        pytest.param("talk", "video/ogg", "talk.ogv", id="ogg"),
        pytest.param("talk", "video/x-msvideo", "talk.avi", id="avi"),
        pytest.param("talk", None, "talk", id="none-and-no-type"),
        pytest.param("talk", "application/octet-stream", "talk", id="none-and-unknown-type"),
        pytest.param("watch.php", "video/mp4", "watch.mp4", id="script"),
        pytest.param("watch.PHP", "video/mp4", "watch.mp4", id="script-in-capitals"),
        pytest.param("index.html", "video/webm", "index.webm", id="page"),
        pytest.param("watch.php", None, "watch.php", id="script-and-no-type"),
        pytest.param("watch.php", "text/html", "watch.php", id="script-and-a-page"),
        pytest.param("clip.webm", "video/mp4", "clip.webm", id="another-video"),
        pytest.param("clip.bin", "video/mp4", "clip.bin", id="another-extension"),
        pytest.param("clip.3gp", "video/mp4", "clip.3gp", id="extension-with-digits"),
        pytest.param("release 2.0", "video/mp4", "release 2.0.mp4", id="a-version-number"),
        pytest.param("1. Intro", "video/mp4", "1. Intro.mp4", id="a-numbered-title"),
        pytest.param("a.abcdefgh", "video/mp4", "a.abcdefgh", id="eight-letters"),
        pytest.param("a.abcdefghi", "video/mp4", "a.abcdefghi.mp4", id="nine-letters"),
        pytest.param("con", "video/mp4", "_con.mp4", id="device"),
    ],
)
def test_the_extension_fits_the_media_type(raw: str, media_type: str | None, name: str) -> None:
    assert named(raw, media_type) == name


KINDS = {
    b"\0\0\0\x18ftypisom": ".mp4",
    b"\0\0\0\x14ftypqt  ": ".mov",
    b"\x1a\x45\xdf\xa3\x84\x42\x82\x84webm": ".webm",
    b"\x1a\x45\xdf\xa3\x84\x42\x82\x88matroska": ".mkv",
    b"RIFF\0\0\0\0AVI LIST": ".avi",
    (b"\x47" + b"\xff" * 187) * 3: ".ts",
    b"FLV\x01\x05": ".flv",
    b"OggS\0\x02": ".ogv",
    b"\0\0\x01\xba\x44": ".mpg",
    b"\0\0\x01\xb3\x14": ".mpg",
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"): ".asf",
    b"#EXTM3U\n": ".m3u8",
    b"WEBVTT\n\n": ".vtt",
    b"1\n00:00:01,000 --> 00:00:02,000\nhello": ".srt",
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">': ".mpd",
    b"\xff\xfe\xfd\xfc\0\0": "",
    b"<!doctype html><title>a</title>": "",
}


@pytest.mark.parametrize("media_type", [None, "", "application/octet-stream", "text/plain", "a/b"])
@pytest.mark.parametrize(("head", "extension"), KINDS.items())
def test_without_a_known_type_the_extension_fits_the_bytes(
    head: bytes, extension: str, media_type: str | None
) -> None:
    kind = sniff(head).kind
    assert file_name(None, "https://h/get", media_type, kind) == f"get{extension}"
    assert file_name(None, "https://h/a.bin", media_type, kind) == "a.bin"
    script = file_name(None, "https://h/get.php", media_type, kind)
    assert script == (f"get{extension}" if extension else "get.php")


def test_a_known_type_is_preferred_to_the_bytes() -> None:
    assert file_name(None, "https://h/get", "video/webm", "mp4") == "get.webm"


@pytest.mark.parametrize(
    ("raw", "media_type", "name"),
    [
        pytest.param("a" * 196 + ".mp4", None, "a" * 196 + ".mp4", id="just-fits"),
        pytest.param("a" * 197 + ".mp4", None, "a" * 196 + ".mp4", id="one-too-long"),
        pytest.param("a" * 300, "video/webm", "a" * 195 + ".webm", id="extension-added"),
        pytest.param("é" * 200 + ".mp4", None, "é" * 98 + ".mp4", id="two-bytes"),
        pytest.param(
            "x" + "é" * 200 + ".mp4", None, "x" + "é" * 97 + ".mp4", id="no-half-character"
        ),
        pytest.param("😀" * 9999 + ".mkv", None, "😀" * 49 + ".mkv", id="40-kB"),
        pytest.param("👩\u200d🚀" * 30, None, "👩\u200d🚀" * 18, id="no-joiner-at-the-cut"),
        pytest.param("a" * 199 + " b", None, "a" * 199, id="no-space-at-the-cut"),
        pytest.param("con." + "a" * 300 + ".mp4", None, f"_con.{'a' * 191}.mp4", id="long-device"),
        pytest.param("con." + "a" * 196, None, "_con." + "a" * 195, id="long-device-bare"),
        pytest.param("con" + " " * 300 + "x.mp4", None, f"_con{' ' * 192}.mp4", id="cut-to-device"),
    ],
)
def test_a_long_name_is_cut_between_characters(raw: str, media_type: str | None, name: str) -> None:
    assert named(raw, media_type) == name


@pytest.mark.parametrize("extension", sorted(naming._PAGE_EXTENSIONS))
def test_the_extension_of_a_script_is_replaced(extension: str) -> None:
    assert named("watch" + extension, "video/mp4") == "watch.mp4"
    assert re.fullmatch(r"\.[a-z]+[345]?", extension)


def test_only_both_ends_of_a_very_long_name_are_normalized() -> None:
    """NFC of a million combining marks would take hours."""
    ends = "\u200b" * 512 + "b" + "a" * 511
    assert named(ends) == "b" + "a" * 199
    assert named(ends + "a") == "a" * 200
    assert named("a" + "\u0301\u0327" * 500_000 + ".mp4").endswith(".mp4")


media_types = st.none() | st.sampled_from(["video/mp4", "video/webm", "text/html"]) | st.text()
names = st.text(max_size=300) | st.text(
    "con.CON \\/:\u0301e\u202e\u200c\u200dم\u0653ا\u094dक👩🏽", max_size=300
)


@given(st.none() | names | names.map('attachment; filename="{}"'.format), names, media_types)
@example(None, "/" + "é" * 1000, "video/mp4")
def test_a_name_is_safe_for_any_input(
    content_disposition: str | None, url: str, media_type: str | None
) -> None:
    name = file_name(content_disposition, url, media_type)
    assert name
    assert len(name.encode()) <= MAX_NAME_BYTES == 200
    assert not set(name) & set('<>:"/\\|?*')
    assert name[0] not in ". "
    assert name[-1] not in ". "
    dropped = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {char for char in name if unicodedata.category(char) in dropped} <= set("\u200c\u200d")
    # A joiner stands between two characters, one of which at least is beyond Latin script.
    assert not re.search("^[\u200c\u200d]|[\u200c\u200d]{2}|[\u200c\u200d]$", name)
    assert not re.search("[\0-\u024f][\u200c\u200d][\0-\u024f]", name)
    assert unicodedata.is_normalized("NFC", name)


@given(names, media_types)
def test_sanitizing_is_idempotent(raw: str, media_type: str | None) -> None:
    name = named(raw, media_type)
    assert named(name, media_type) == name
