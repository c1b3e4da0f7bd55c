import random
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.ranges import ByteRange
from vidnb.media import sniff as sniff_module
from vidnb.media.sniff import (
    SNIFF_BYTES,
    BoxScanner,
    Layout,
    SniffResult,
    declared_size_bytes,
    sniff,
)


def box(kind: bytes, body: bytes = b"") -> bytes:
    return (8 + len(body)).to_bytes(4) + kind + body


def large_box(kind: bytes, body: bytes = b"") -> bytes:
    return b"\x00\x00\x00\x01" + kind + (16 + len(body)).to_bytes(8) + body


def ebml(doctype: bytes) -> bytes:
    element = b"\x42\x82" + bytes([0x80 + len(doctype)]) + doctype
    return b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01" + element + b"\x42\x87\x81\x04"


FTYP = box(b"ftyp", b"isom\x00\x00\x02\x00isomavc1")
TS = (b"\x47\x40\x00\x10" + bytes(184)) * 22
M2TS = (b"\x00\x00\x00\x01\x47\x40\x00\x10" + bytes(184)) * 22


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        pytest.param(FTYP, "mp4", id="ftyp"),
        pytest.param(box(b"ftyp", b"qt  \x20\x05\x03\x00"), "quicktime", id="ftyp-qt"),
        pytest.param(box(b"styp", b"msdh"), "mp4", id="styp"),
        pytest.param(box(b"moov", bytes(99)), "mp4", id="moov"),
        pytest.param(box(b"moof", bytes(99)), "mp4", id="moof"),
        pytest.param(box(b"free"), "mp4", id="free"),
        pytest.param(box(b"skip"), "mp4", id="skip"),
        pytest.param(box(b"wide") + box(b"mdat"), "mp4", id="wide"),
        pytest.param(b"\x00\x00\x00\x00mdat" + bytes(99), "mp4", id="mdat-to-the-end"),
        pytest.param(large_box(b"mdat", bytes(99)), "mp4", id="mdat-large"),
        pytest.param(b"    mdat" + b"\x00\x01\x02", "mp4", id="mdat-of-a-printable-size"),
        pytest.param(ebml(b"webm"), "webm", id="webm"),
        pytest.param(ebml(b"matroska"), "matroska", id="matroska"),
        pytest.param(ebml(b"webm\x00\x00"), "webm", id="webm-padded"),
        pytest.param(b"\x1a\x45\xdf\xa3\xa3", "matroska", id="ebml-truncated-before-doctype"),
        pytest.param(b"RIFF\x24\x00\x00\x00AVI LIST", "avi", id="avi"),
        pytest.param(b"OggS\x00\x02", "ogg", id="ogg"),
        pytest.param(b"FLV\x01\x05", "flv", id="flv"),
        pytest.param(
            b"YUV4MPEG2 W64 H64 F25:1\nFRAME\n" + b"A" * 4096, "yuv4mpeg", id="y4m-of-letters"
        ),
        pytest.param(b"\x00\x00\x01\xba\x44", "mpeg-ps", id="mpeg-ps"),
        pytest.param(b"\x00\x00\x01\xb3\x14", "mpeg-es", id="mpeg-es"),
        pytest.param(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c30"), "asf", id="asf"),
        pytest.param(TS, "mpeg-ts", id="mpeg-ts"),
        pytest.param(TS[:389], "mpeg-ts", id="mpeg-ts-three-packets"),
        pytest.param(M2TS, "mpeg-ts", id="m2ts"),
        pytest.param(M2TS[:389], "mpeg-ts", id="m2ts-three-packets"),
    ],
)
def test_videos_are_recognised_by_their_magic_numbers(head: bytes, kind: str) -> None:
    assert sniff(head) == SniffResult(kind, "video")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        pytest.param(b"#EXTM3U\n#EXT-X-VERSION:3\n", "hls", id="hls"),
        pytest.param(
            b"#EXTM3U\r\n\r\n# made by x\r\n#EXT-X-TARGETDURATION:9", "hls", id="hls-late"
        ),
        pytest.param(b"\xef\xbb\xbf\r\n\n#EXTM3U\n#EXT-X-MEDIA:", "hls", id="hls-after-a-mark"),
        pytest.param("#EXTM3U\n#EXT-X-X".encode("utf-16"), "hls", id="hls-utf-16"),
        pytest.param(b"#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8", "hls", id="hls-headless"),
        pytest.param(b"#EXTM3U", "m3u", id="m3u-empty"),
        pytest.param(b"#EXTM3U\n#EXTINF:9,caf\xe9\na.mp3", "m3u", id="m3u-latin-1"),
        pytest.param(b"#EXTINF:-1,News\nhttp://a.example/news", "m3u", id="m3u-headless"),
        pytest.param(b"[Playlist]\r\nFile1=http://a.example/a", "playlist", id="pls"),
        pytest.param(b"[Reference]\r\nRef1=http://a.example/a", "playlist", id="asx-old"),
        pytest.param(b'<ASX version="3.0"><entry>', "playlist", id="asx"),
        pytest.param(b'<?wpl version="1.0"?>\n<smil><head>', "playlist", id="wpl"),
        pytest.param(
            b'<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/">', "playlist", id="xspf"
        ),
        pytest.param(b"RTSPtext\nrtsp://a.example/a.mov", "playlist", id="quicktime-reference"),
        pytest.param(b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "dash", id="dash"),
        pytest.param(
            b'<?xml version="1.0"?>\n<!-- made by x -->\n<MPD type="static">', "dash", id="dash-xml"
        ),
        pytest.param(b"<dash:MPD >", "dash", id="dash-prefixed"),
        pytest.param(
            '<?xml version="1.0" encoding="utf-16"?><SmoothStreamingMedia >'.encode("utf-16"),
            "smooth-streaming",
            id="smooth-streaming",
        ),
        pytest.param(
            b'<?xml version="1.0"?>\n<manifest xmlns="http://ns.adobe.com/f4m/1.0">',
            "f4m",
            id="f4m",
        ),
        pytest.param(
            b'<metalink xmlns="urn:ietf:params:xml:ns:metalink">', "metalink", id="metalink"
        ),
        pytest.param(
            b"d8:announce35:http://a.example/announce13:announce", "torrent", id="torrent"
        ),
        pytest.param(b"d13:announce-listll1:aeee", "torrent", id="torrent-list"),
        pytest.param(b"d4:infod6:lengthi5e4:name1:a\x00\xff", "torrent", id="torrent-info"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "git-lfs",
            id="git-lfs",
        ),
        pytest.param(b"version https://hawser.github.com/spec/v1\n", "git-lfs", id="git-lfs-old"),
        pytest.param(b"/annex/objects/SHA256E-s5--4d7a.mp4\n", "git-annex", id="git-annex"),
        pytest.param(b"/annex/objects/MD5-s5--4d7a", "git-annex", id="git-annex-md5"),
    ],
)
def test_files_that_only_say_where_a_video_is(head: bytes, kind: str) -> None:
    assert sniff(head) == SniffResult(kind, "reference")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"#EXTM3UX", id="m3u-longer-word"),
        pytest.param(b"[playlists]", id="ini"),
        pytest.param(b"d8:announcement", id="bencode-other-key"),
        pytest.param(b"version 2", id="short-text"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", id="pdf"),
        pytest.param(b"PK\x03\x04\x14\x00\x00\x00", id="zip"),
        pytest.param(b"<SAMI><HEAD>", id="sami-subtitles"),
    ],
)
def test_other_files_are_no_references(head: bytes) -> None:
    assert sniff(head).verdict in {"unknown", "page"}
    assert (sniff(head).verdict == "page") == (head == b"version 2")


@pytest.mark.parametrize(
    ("head", "title"),
    [
        (b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message>", "Access Denied"),
        (b"<Error><Code>NoSuchKey</Code></Error>", None),
        (b'<?xml version="1.0"?><manifest xmlns="urn:other">', None),
    ],
)
def test_an_error_of_a_storage_service_is_a_page(head: bytes, title: str | None) -> None:
    assert sniff(head) == SniffResult("xml", "page", title)


LONG = "x" * 120 + " " + "y" * 120


@pytest.mark.parametrize(
    ("head", "kind", "title"),
    [
        pytest.param(
            b"<!DOCTYPE html><html><head><title>Sign in</title>", "html", "Sign in", id="html"
        ),
        pytest.param(
            b'\n\t <HTML LANG="en"><Head><TITLE class=a>\n Not \n found </TITLE>',
            "html",
            "Not found",
            id="html-case-and-space",
        ),
        pytest.param(b"<html>", "html", None, id="html-without-a-title"),
        pytest.param(b"<title> </title>", "html", None, id="html-with-an-empty-title"),
        pytest.param(b"<title>Cut o", "html", "Cut o", id="html-title-truncated"),
        pytest.param(
            b"<title>Fish &amp; chips&nbsp;&#8211; &lt;caf&eacute;&gt;</title>",
            "html",
            "Fish & chips \u2013 <café>",
            id="html-entities",
        ),
        pytest.param(
            b"<title>a&#8203;b\x7f &#x202e;c</title>", "html", "ab c", id="html-title-invisible"
        ),
        pytest.param(
            f"<title>{LONG}</title>".encode(), "html", LONG[:199] + "…", id="html-title-long"
        ),
        pytest.param(
            f"<title>{'a' * 198} {'b' * 9}</title>".encode(),
            "html",
            "a" * 198 + "…",
            id="html-title-truncated-at-a-space",
        ),
        pytest.param(
            f"<title>{'a' * 200}</title>".encode(), "html", "a" * 200, id="html-title-just-fits"
        ),
        pytest.param(
            b"<!-- <title>old</title> --> <!--x--><body><title>new</title>",
            "html",
            "new",
            id="html-after-comments",
        ),
        pytest.param(b"<!-- an endless comment <title>x</title>", "html", "x", id="html-comment"),
        pytest.param(b"<!doctype html", "html", None, id="html-doctype-truncated"),
        pytest.param(b"\r\n <!doctype html", "html", None, id="html-doctype-truncated-after-space"),
        pytest.param(b"<!DOCTYPE html>\nPlain words", "html", None, id="html-doctype-only"),
        pytest.param(b"<p>Denied.", "html", None, id="html-fragment"),
        pytest.param(b"<br/>", "html", None, id="html-empty-tag"),
        pytest.param(
            b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD"><html><title>X</title>',
            "html",
            "X",
            id="xhtml",
        ),
        pytest.param(b"\xef\xbb\xbf<html><title>B</title>", "html", "B", id="html-utf-8-mark"),
        pytest.param("\ufeff<html><title>ü</title>".encode("utf-16-le"), "html", "ü", id="utf-16"),
        pytest.param(
            "\ufeff<html><title>ü</title>".encode("utf-16-be"), "html", "ü", id="utf-16-be"
        ),
        pytest.param(
            "\ufeff<html><title>ü".encode("utf-16-le")[:-1], "html", None, id="utf-16-truncated"
        ),
        pytest.param(b"<html><title>Caf\xe9</title>", "html", "Café", id="html-latin-1"),
        pytest.param(b"<title>Caf\xc3", "html", "Caf", id="html-truncated-in-a-character"),
        pytest.param(
            b'<?xml version="1.0"?><Error><Code>No</Code><Message>Access Denied</Message></Error>',
            "xml",
            "Access Denied",
            id="xml-message",
        ),
        pytest.param(
            b"<?xml version='1.0'?>\n<rss><channel><media:title>News</media:title>",
            "xml",
            "News",
            id="xml-title",
        ),
        pytest.param(b'<?XML version="1.0"', "xml", None, id="xml-truncated"),
        pytest.param(
            b'{"error": "not_found", "message": "The film is \\"gone\\"\\u0021"}',
            "json",
            'The film is "gone"!',
            id="json",
        ),
        pytest.param(b' {"ok":false}', "json", None, id="json-without-a-message"),
        pytest.param(b"{}", "json", None, id="json-empty"),
        pytest.param(b"{\n}", "json", None, id="json-blank"),
        pytest.param(b'{"a\\"b" : 1', "json", None, id="json-truncated"),
        pytest.param(b'{"detail":"Cut o', "json", "Cut o", id="json-message-truncated"),
        pytest.param(b'{"detail":"Cut\\', "json", "Cut", id="json-escape-truncated"),
        pytest.param(b'{"detail":"a\\qb"}', "json", "a\\qb", id="json-escape-of-nothing"),
        pytest.param(b'{"detail":"a\tb\\u0021"}', "json", "a b!", id="json-raw-tab"),
        pytest.param(b'{"detail":"\\ud800"}', "json", None, id="json-lone-surrogate"),
        pytest.param(b'[{"error":"x"}]', "json", "x", id="json-array"),
        pytest.param(b"[]", "json", None, id="json-empty-array"),
        pytest.param(b'["a"', "json", None, id="json-strings"),
        pytest.param(b"[" * 4096, "json", None, id="json-deep"),
        *(
            pytest.param(f'{{"{key}" : "why"}}'.encode(), "json", "why", id=f"json-{key}")
            for key in ("message", "error_description", "detail", "title", "reason", "error")
        ),
        pytest.param(b"404 page not found\n", "text", "404 page not found", id="text"),
        pytest.param(b"\n\nNot Found\nTry again", "text", "Not Found", id="text-first-line"),
        pytest.param("Nicht verfügbar".encode(), "text", "Nicht verfügbar", id="text-utf-8"),
        pytest.param(b"no video", "text", "no video", id="text-short"),
        pytest.param(b"The free lunch", "text", "The free lunch", id="text-with-a-box-type"),
        pytest.param(b"    mdat of text", "text", "mdat of text", id="text-with-a-box-type-too"),
        pytest.param(b"<?php echo 1;", "text", "<?php echo 1;", id="text-of-a-script"),
        pytest.param(b"<unknown> tag", "text", "<unknown> tag", id="text-of-a-tag"),
        pytest.param(b"WEBVTTX or so", "text", "WEBVTTX or so", id="text-no-webvtt"),
        pytest.param(b"G bytes " * 400, "text", ("G bytes " * 25)[:199] + "…", id="text-of-gs"),
    ],
)
def test_pages_are_recognised_by_their_text(head: bytes, kind: str, title: str | None) -> None:
    assert sniff(head) == SniffResult(kind, "page", title)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        pytest.param(b"", "unknown", id="empty"),
        pytest.param(b"\x00", "unknown", id="a-zero"),
        pytest.param(bytes(4096), "unknown", id="zeros"),
        pytest.param(b"\x47" + bytes(187), "unknown", id="one-packet"),
        pytest.param(TS[:388], "unknown", id="two-packets-and-a-half"),
        pytest.param(TS[:1880] + b"\x00" + TS[1881:], "unknown", id="packets-out-of-step"),
        pytest.param(b"\x00\x00\x00\x07ftypisom", "unknown", id="box-too-small"),
        pytest.param(b"\x00\x00\x00\x02moov", "unknown", id="box-far-too-small"),
        pytest.param(b"\x00\x00\x00\x20ftypavif\x00", "heif", id="avif"),
        pytest.param(b"\x00\x00\x00\x20ftypheic\x00", "heif", id="heic"),
        pytest.param(b"\x00\x00\x00\x20ftypheix\x00", "heif", id="heix"),
        pytest.param(b"\x00\x00\x00\x20ftypmif1\x00", "heif", id="mif1"),
        pytest.param(b"\x00\x00\x00\x20xxxxavif\x00", "unknown", id="no-avif"),
        pytest.param(ebml(b"else"), "unknown", id="ebml-of-another-kind"),
        pytest.param(ebml(b"webmx"), "unknown", id="ebml-almost-webm"),
        pytest.param(b"RIFF\x24\x00\x00\x00WAVEfmt ", "unknown", id="wav"),
        pytest.param(b"LIST\x24\x00\x00\x00AVI LIST", "unknown", id="no-riff"),
        pytest.param(b"FLV\x02", "unknown", id="flv-of-the-future"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "unknown", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF", "unknown", id="jpeg"),
        pytest.param(b"\x1f\x8b\x08\x00", "unknown", id="gzip"),
        pytest.param(b"<svg xmlns='x'>", "svg", id="svg"),
        pytest.param(b"<!--\nby x\n-->\n<svg>", "svg", id="svg-after-a-comment-of-lines"),
        pytest.param(b"<?xml version='1.0'?><!DOCTYPE svg><svg:svg>", "svg", id="svg-prefixed"),
        pytest.param(b"<?xml version='1.0'?><tt xml:lang=''>", "ttml", id="ttml"),
        pytest.param(b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello", "webvtt", id="webvtt"),
        pytest.param(b"WEBVTT", "webvtt", id="webvtt-empty"),
        pytest.param(b"\n WEBVTT", "webvtt", id="webvtt-after-space"),
        pytest.param(b"1\r\n00:00:01,000 --> 00:00:02,000\r\nHello", "srt", id="srt"),
        pytest.param(b"<html><title>x</title>\x00", "unknown", id="markup-with-a-zero"),
        pytest.param(b"\xff\xfe\x00\xd8\x00\xd8words here", "unknown", id="utf-16-broken"),
        pytest.param(b"P\xe1gina no encontrada", "unknown", id="words-in-no-known-encoding"),
        pytest.param(b"x" * 4096, "unknown", id="one-letter"),
        pytest.param(b"1234 5678 9012", "unknown", id="numbers"),
        pytest.param(b"too few", "unknown", id="seven-characters"),
        pytest.param(b" \n\t \n\t \n\t", "unknown", id="white-space"),
        pytest.param(b"[ERROR", "unknown", id="no-json"),
        pytest.param(b'{"a"', "unknown", id="json-truncated-too-soon"),
        pytest.param(b"<!", "unknown", id="a-beginning"),
        pytest.param(b"<htm", "unknown", id="tag-truncated"),
    ],
)
def test_other_content_is_unknown(head: bytes, kind: str) -> None:
    assert sniff(head) == SniffResult(kind, "unknown")


@pytest.mark.parametrize("control", [0, 8, 11, 14, 26, 28, 31])
def test_text_has_no_binary_control_character(control: int) -> None:
    assert sniff(b"404 page not found" + bytes([control])).verdict == "unknown"


@pytest.mark.parametrize("control", [9, 10, 12, 13, 27, 127])
def test_some_control_characters_are_allowed_in_text(control: int) -> None:
    assert sniff(b"404 page not found" + bytes([control])).verdict == "page"


HTML_TAGS = "html head body title script meta link style base noscript h1 h2 h3 p a b br pre"
HTML_TAGS += " font center div span table form iframe section main"


@pytest.mark.parametrize("tag", HTML_TAGS.split())
def test_a_page_may_begin_with_any_html_tag(tag: str) -> None:
    assert sniff(f"<{tag}>".encode()) == SniffResult("html", "page")
    assert sniff(f"<{tag}x>".encode()) == SniffResult("unknown", "unknown")


@pytest.mark.parametrize(
    ("value", "name"),
    [(sniff(b""), "kind"), (BoxScanner(0).layout(), "is_mp4")],
    ids=["sniff", "layout"],
)
def test_results_are_frozen_and_slotted(value: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_only_the_head_is_used() -> None:
    words = b"words and " * 500
    assert sniff(words[:SNIFF_BYTES] + b"\x00") == sniff(words)
    assert SNIFF_BYTES == 4096


def test_random_bytes_are_never_a_page() -> None:
    source = random.Random(7)
    verdicts = {sniff(source.randbytes(size)).verdict for size in range(12, 1200)}
    assert verdicts == {"unknown"}


MARKS = [b"<", b"<!--", b"-->", b"<title>", b"</title>", b"<?xml", b"?>", b"{", b'"', b"\\", b"["]
MARKS += [
    b"ftyp",
    b"\x00\x00\x00\x08",
    b"\x1a\x45\xdf\xa3",
    b"\x42\x82",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
]
MARKS += [b'"message"', b":", b" ", b"&#xd800;", b"&amp;", b"\x47", b"WEBVTT", b"\xe2\x80"]
heads = st.binary(max_size=400) | st.lists(st.sampled_from(MARKS), max_size=60).map(b"".join)


@given(heads)
def test_sniffing_never_raises(head: bytes) -> None:
    found = sniff(head)
    assert found.title is None or (found.verdict == "page" and 0 < len(found.title) <= 200)
    assert found.title is None or (found.title.isprintable() and found.title == found.title.strip())
    assert (found.kind == "unknown") <= (found.verdict == "unknown")


@pytest.mark.parametrize("mark", MARKS, ids=repr)
def test_a_hostile_head_takes_linear_time(mark: bytes) -> None:
    """A pattern of quadratic time would hang here."""
    for lead in (b"", b"<html>", b"<?xml ", b'{"', b"<a:", b"<title", b'{"message":"'):
        sniff((lead + mark * 4096)[:SNIFF_BYTES])
        sniff(((lead + mark) * 4096)[:SNIFF_BYTES])


def scanned(file: bytes, size_bytes: int | None = None) -> Layout:
    scan = BoxScanner(len(file) if size_bytes is None else size_bytes)
    while wanted := scan.next_range():
        scan.feed(file[wanted.start : wanted.stop].ljust(wanted.size_bytes, b"\x00"))
    return scan.layout()


def test_the_scan_knows_where_the_boxes_end() -> None:
    for file, stop in [
        (FAST, len(FAST)),
        (FAST + bytes(500), len(FAST)),
        (FRAGMENTED + bytes(500) + MOOF + MDAT, len(FRAGMENTED)),
        (FAST + b"words behind it", len(FAST)),
        (FTYP + MOOV + b"\x00\x00\x00\x00mdat" + bytes(99), len(FTYP + MOOV) + 107),
        (FAST[:-30], len(FAST)),
        (b"<html>words</html>", 0),
    ]:
        scan = BoxScanner(len(file))
        while wanted := scan.next_range():
            scan.feed(file[wanted.start : wanted.stop])
        assert scan.offset == stop


EBML_HEAD = b"\x1a\x45\xdf\xa3\x83" + bytes(3)
SEGMENT = b"\x18\x53\x80\x67"


@pytest.mark.parametrize(
    ("head", "size_bytes"),
    [
        (b"RIFF\x24\x00\x00\x00AVI LIST", 8 + 0x24),
        (b"RIFF\x00\x00\x00\x80WAVEfmt ", 8 + 2**31),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", None),  # a stream
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),  # a recording that was not closed
        (b"RIFF\x24\x00", None),
        (EBML_HEAD + SEGMENT + b"\x85", 8 + 5 + 5),
        (EBML_HEAD + SEGMENT + b"\x40\x85", 8 + 6 + 0x85),
        (EBML_HEAD + SEGMENT + b"\x01" + (2**40).to_bytes(7), 8 + 12 + 2**40),
        (EBML_HEAD + SEGMENT + b"\x01" + b"\xff" * 7, None),  # a live recording
        (EBML_HEAD + SEGMENT + b"\xff", None),
        (EBML_HEAD + SEGMENT + b"\x01\x00", None),
        (EBML_HEAD + SEGMENT + b"\x00" + bytes(9), None),  # no valid size
        (EBML_HEAD + SEGMENT, None),
        (EBML_HEAD + b"\xec\x81\x00", None),
        (EBML_HEAD[:5], None),
        (EBML_HEAD[:4], None),
        (b"OggS\x00\x02", None),
        (b"", None),
    ],
)
def test_the_size_that_a_file_declares(head: bytes, size_bytes: int | None) -> None:
    assert declared_size_bytes(head) == size_bytes


@given(st.binary(max_size=40), st.sampled_from([b"", b"RIFF", EBML_HEAD, EBML_HEAD + SEGMENT]))
def test_a_declared_size_is_never_an_error(rest: bytes, start: bytes) -> None:
    size_bytes = declared_size_bytes(start + rest)
    assert size_bytes is None or size_bytes >= 0


FIRST, LAST = True, False  # where the index is


def layout(
    moov_first: bool | None,
    cut: tuple[str, int] | None = None,
    *,
    fragmented: bool = False,
    is_mp4: bool = True,
) -> Layout:
    name, missing_bytes = cut or (None, 0)
    return Layout(moov_first, fragmented, cut is not None, name, missing_bytes, is_mp4)


MOOV, MDAT = box(b"moov", bytes(40)), box(b"mdat", bytes(100))
MOOF = box(b"moof", bytes(24))
FAST, SLOW = FTYP + MOOV + MDAT, FTYP + box(b"free") + MDAT + MOOV
FRAGMENTED = FTYP + MOOV + MOOF + MDAT + MOOF + MDAT


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(FAST, layout(FIRST), id="index-first"),
        pytest.param(SLOW, layout(LAST), id="index-last"),
        pytest.param(FRAGMENTED, layout(FIRST, fragmented=True), id="fragmented"),
        pytest.param(
            box(b"styp") + box(b"sidx") + MOOF + MDAT,
            layout(LAST, fragmented=True),
            id="a-segment",
        ),
        pytest.param(
            FRAGMENTED + box(b"mfra", bytes(9)), layout(FIRST, fragmented=True), id="fragment-index"
        ),
        pytest.param(box(b"wide") + MDAT + MOOV, layout(LAST), id="old-quicktime"),
        pytest.param(MOOV + MDAT, layout(FIRST), id="no-ftyp"),
        pytest.param(FTYP + MOOV + large_box(b"mdat", bytes(9)), layout(FIRST), id="large-size"),
        pytest.param(FTYP + large_box(b"mdat") + MOOV, layout(LAST), id="large-size-empty"),
        pytest.param(
            FTYP + MOOV + b"\x00\x00\x00\x00mdat" + bytes(99), layout(FIRST), id="to-the-end"
        ),
        pytest.param(
            FTYP + MOOV + b"\x00\x00\x00\x00mdat", layout(FIRST), id="to-the-end-that-is-here"
        ),
        pytest.param(
            FTYP + box(b"abcd", bytes(5)) + MOOV + MDAT, layout(FIRST), id="an-unknown-box"
        ),
        pytest.param(FTYP + MOOV + MDAT + MOOV + MDAT, layout(FIRST), id="twice"),
        pytest.param(FAST[:-1], layout(FIRST, ("mdat", 1)), id="a-byte-short"),
        pytest.param(FAST[:-100], layout(FIRST, ("mdat", 100)), id="nothing-but-its-header"),
        pytest.param(FAST[:-101], layout(FIRST, ("mdat", 0)), id="header-truncated"),
        pytest.param(FAST[:-108], layout(FIRST, ("mdat", 0)), id="index-only"),
        pytest.param(FAST[:-109], layout(FIRST, ("moov", 1)), id="index-truncated"),
        pytest.param(SLOW[:-1], layout(LAST, ("moov", 1)), id="index-last-truncated"),
        pytest.param(SLOW[:-48], layout(LAST, ("moov", 0)), id="index-last-missing"),
        pytest.param(SLOW[:-50], layout(LAST, ("mdat", 2)), id="media-truncated"),
        pytest.param(
            FRAGMENTED[:-1], layout(FIRST, ("mdat", 1), fragmented=True), id="fragment-truncated"
        ),
        pytest.param(
            FRAGMENTED[:-108],
            layout(FIRST, ("mdat", 0), fragmented=True),
            id="fragment-without-media",
        ),
        pytest.param(
            FRAGMENTED[:-109], layout(FIRST, ("moof", 1), fragmented=True), id="moof-truncated"
        ),
        pytest.param(FTYP, layout(None, ("moov", 0)), id="ftyp-only"),
        pytest.param(FTYP[:-1], layout(None, ("ftyp", 1)), id="ftyp-truncated"),
        pytest.param(
            FTYP + MOOV + b"\x00\x00\x00\x01mdat\x00\x00",
            layout(FIRST, ("mdat", 6)),
            id="large-truncated",
        ),
        pytest.param(
            FTYP + b"\x00\x00\x00\x00mdat" + bytes(99), layout(LAST, ("moov", 0)), id="crashed"
        ),
        pytest.param(
            FAST + box(b"free", bytes(9))[:-2], layout(FIRST, ("free", 2)), id="free-truncated"
        ),
        pytest.param(FAST + b"\n", layout(FIRST), id="a-line-end-behind"),
        pytest.param(FAST + bytes(7), layout(FIRST), id="a-few-zeros-behind"),
        pytest.param(FAST + bytes(500), layout(FIRST), id="zeros-behind"),
        pytest.param(
            FTYP + MOOV + bytes(500) + MDAT, layout(FIRST, ("mdat", 0)), id="zeros-within"
        ),
        pytest.param(FAST + b"<!-- served by x -->", layout(FIRST), id="words-behind"),
        pytest.param(
            FAST + b"\x00\x00\x00\x05moov" + bytes(9), layout(FIRST), id="nonsense-behind"
        ),
        pytest.param(
            FTYP + b"\x00\x00\x00\x07moov" + MOOV + MDAT,
            layout(None, ("moov", 0)),
            id="nonsense-within",
        ),
        pytest.param(
            FTYP + b"\x00\x00\x00\x01moov\x00\x00\x00\x00\x00\x00\x00\x0f" + MOOV,
            layout(None, ("moov", 0)),
            id="large-size-too-small",
        ),
        pytest.param(FTYP + box(b"meta", bytes(9)) + MDAT, layout(LAST), id="an-image"),
        pytest.param(FTYP + box(b"meta", bytes(9)), layout(None), id="an-image-without-media"),
        pytest.param(
            FTYP + b"\x00\x00\x00\x02moov" + MOOV + MDAT,
            layout(None, ("moov", 0)),
            id="more-nonsense-within",
        ),
        pytest.param(
            FTYP + MOOV + b"\x00\x00\x00\x01mdat" + (2**60).to_bytes(8),
            layout(FIRST, ("mdat", 2**60 - 16)),
            id="larger-than-any-disk",
        ),
        pytest.param(MOOF + MOOV + MDAT, layout(LAST, fragmented=True), id="fragment-first"),
        pytest.param(b"", layout(None, is_mp4=False), id="empty"),
        pytest.param(b"ftyp", layout(None, is_mp4=False), id="four-bytes"),
        pytest.param(bytes(99), layout(None, is_mp4=False), id="zeros"),
        pytest.param(box(b"free"), layout(None, is_mp4=False), id="only-free"),
        pytest.param(box(b"abcd") + FAST, layout(None, is_mp4=False), id="another-first-box"),
        pytest.param(box(b"uuid") + FAST, layout(None, is_mp4=False), id="no-first-box"),
        pytest.param(ebml(b"webm") + FAST, layout(None, is_mp4=False), id="webm"),
        pytest.param(b"<html>words</html>", layout(None, is_mp4=False), id="a-page"),
    ],
)
def test_the_layout_of_a_file(file: bytes, expected: Layout) -> None:
    assert scanned(file) == expected


@pytest.mark.parametrize("kind", sorted(sniff_module._FIRST_BOXES - sniff_module._MP4_BOXES))
def test_a_video_may_begin_with_other_boxes(kind: bytes) -> None:
    assert scanned(box(kind, bytes(9)) + MOOV + MDAT) == layout(FIRST)


@pytest.mark.parametrize("kind", [b"uuid", b"meta", b"udta", b"mfra", b"ssix", b"free", b"skip"])
def test_a_known_box_after_the_video_can_be_truncated(kind: bytes) -> None:
    assert scanned((FAST + box(kind, bytes(9)))[:-1]) == layout(FIRST, (kind.decode(), 1))


def test_the_set_of_first_boxes() -> None:
    of_mp4 = {b"ftyp", b"styp", b"moov", b"moof", b"mdat"}
    assert of_mp4 == sniff_module._MP4_BOXES
    others = {b"free", b"skip", b"wide", b"sidx", b"pnot", b"pdin", b"emsg", b"prft"}
    assert of_mp4 | others == sniff_module._FIRST_BOXES


def test_a_file_of_a_terabyte_takes_three_steps() -> None:
    mdat = b"\x00\x00\x00\x01mdat" + (10**12).to_bytes(8)
    scan = BoxScanner(len(FTYP) + 10**12 + len(MOOV))
    scan.feed(FTYP[:16])
    scan.feed(mdat)
    assert scan.next_range() == ByteRange(len(FTYP) + 10**12, len(FTYP) + 10**12 + 16)
    scan.feed(MOOV[:16])
    assert scan.next_range() is None
    assert scan.layout() == layout(LAST)


def test_during_the_scan_no_box_is_reported_missing() -> None:
    scan = BoxScanner(1000)
    assert scan.layout() == layout(None, is_mp4=False)
    scan.feed(FTYP[:16])
    assert scan.layout() == layout(None)


@pytest.mark.parametrize("given_bytes", [0, 15, 17])
def test_a_wrong_number_of_bytes_is_an_error(given_bytes: int) -> None:
    with pytest.raises(ValueError) as caught:
        BoxScanner(100).feed(bytes(given_bytes))
    assert str(caught.value) == f"the bytes [0, 16) are needed, not {given_bytes} bytes"


def test_feeding_after_the_end_is_an_error() -> None:
    with pytest.raises(ValueError) as caught:
        BoxScanner(0).feed(b"")
    assert str(caught.value) == "the scan has ended"


def test_a_file_of_empty_boxes_ends_the_scan() -> None:
    """The rest is unknown, so no box is reported missing."""
    scan = BoxScanner(10**7)
    scan.feed(FTYP[:16])
    steps = 1
    while scan.next_range():
        scan.feed(box(b"free") * 2)
        steps += 1
    assert steps == 100_000
    assert scan.layout() == layout(None)


kinds = st.sampled_from([b"ftyp", b"moov", b"mdat", b"moof", b"free", b"abcd"])


def test_every_truncation_of_a_video_is_detected() -> None:
    for video in (FAST, SLOW):
        for size in range(1, len(video)):
            result = scanned(video[:size])
            assert result.truncated or not result.is_mp4
            assert result.is_mp4 == (size >= 8)


@given(st.binary(max_size=300) | st.lists(kinds | st.binary(max_size=12)).map(b"".join))
def test_every_scan_ends(file: bytes) -> None:
    scan = BoxScanner(len(file))
    offsets: list[int] = []
    while wanted := scan.next_range():
        offsets.append(wanted.start)
        assert wanted.size_bytes <= 16
        scan.feed(file[wanted.start : wanted.stop])
    assert offsets == sorted(set(offsets))
    result = scan.layout()
    assert result.truncated == (result.truncated_box is not None)
    assert result.missing_bytes >= 0
    assert result.is_mp4 or not result.truncated or _is_first_box_truncated(result)


def _is_first_box_truncated(result: Layout) -> bool:
    return result.truncated_box in {"free", "skip", "wide", "sidx", "pnot", "pdin", "emsg", "prft"}


@pytest.mark.parametrize(
    ("box", "missing_bytes", "expected"),
    [("mdat", 7, "mdat runs 7 bytes past the end"), ("moov", 0, "moov is missing")],
)
def test_the_missing_part_is_described(box: str, missing_bytes: int, expected: str) -> None:
    layout = Layout(
        moov_first=None,
        fragmented=False,
        truncated=True,
        truncated_box=box,
        missing_bytes=missing_bytes,
        is_mp4=True,
    )
    assert layout.missing_part == expected
