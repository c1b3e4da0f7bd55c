import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.media.subtitles import decode_subtitles, is_subtitle_text, language_tag, to_webvtt

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>

2
00:00:03,000 --> 00:00:04,000
Two lines
of text
"""
VTT = """WEBVTT

00:00:01.000 --> 00:00:02.500
Hello <i>there</i>

00:00:03.000 --> 00:00:04.000
Two lines
of text
"""
ARABIC_INDIC = {ord(str(digit)): 0x0660 + digit for digit in range(10)}


def one_cue(text: str, times: str = "00:00:01,000 --> 00:00:02,000") -> str:
    """Return the body of the only cue of `text`."""
    head, _, body = to_webvtt(f"1\n{times}\n{text}\n").partition(".000\n")
    assert head.startswith("WEBVTT\n\n00:00:01.000 --> 00:00:02")
    return body.removesuffix("\n")


@pytest.mark.parametrize(
    "srt",
    [
        SRT,
        SRT.replace("\n", "\r\n"),
        SRT.replace("\n", "\r"),
        "\ufeff" + SRT,
        "\n\n" + SRT + "\n\n\n",
        SRT.rstrip("\n"),
        SRT.replace(",", "."),
        SRT.replace("00:00:0", "0:00:0"),
        SRT.replace("00:00:0", "00:0"),
        SRT.replace("00:00:0", "0:"),
        SRT.replace("02,500", "02,5").replace(",000", ""),
        SRT.replace("02,500", "02,50012345").replace(",000", ",000999999"),
        SRT.replace(" --> ", "-->"),
        SRT.replace(" --> ", " \t-->  "),
        SRT.replace("00:00:01,", "  00:00:01,"),
        SRT.replace("1\n00", "00").replace("2\n00", "00"),
        SRT.replace("\n\n2\n", "\n2\n"),
        SRT.replace("\n\n2\n", "\n \n\n 2 \n"),
        SRT.replace("Two lines\n", "Two lines\n\n"),
        SRT.replace("02,500", "02,500  X1:100 X2:200 Y1:10 Y2:20"),
        SRT.replace("<i>", "<I>").replace("</i>", "</I>"),
        SRT.replace("Two", '<font color="#fff">Two').replace("lines\n", "lines</font>\n"),
        SRT.replace("Two", "{\\an2}Two"),
        SRT + "\n3\n00:00:05,000 --> 00:00:06,000\n\n",
        SRT + "\n3\n00:00:05,000 --> 00:00:06,000",
        SRT + "\n3\n00:00:05,000 --> 00:00:06,000\n<font></font>\n",
    ],
)
def test_common_variants_of_srt_become_the_same_webvtt(srt: str) -> None:
    assert to_webvtt(srt) == VTT
    assert is_subtitle_text(srt)


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("a & b", "a &amp; b"),
        ("a &amp; b", "a &amp; b"),
        ("a &nbsp;b &copy;", "a &nbsp;b &amp;copy;"),
        ("1 < 2 > 0", "1 &lt; 2 &gt; 0"),
        ("x --> y", "x --&gt; y"),
        ("<b>bold</b> <u>under</u>", "<b>bold</b> <u>under</u>"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("<v Roger>Hi", "Hi"),
        ("{curly}", "{curly}"),
        ("{\\pos(1,2)}placed", "placed"),
        ("  spaces  ", "spaces"),
        ("42", "42"),
        ("line\u2028one", "line\u2028one"),
        ("nul\0", "nul\ufffd"),
    ],
)
def test_text_is_escaped_and_keeps_the_markup_of_webvtt(text: str, cue: str) -> None:
    assert one_cue(text) == cue


@pytest.mark.parametrize("tag", ["{\\an7}", "{\\an8}", "{\\an9}"])
def test_a_cue_at_the_top_stays_at_the_top(tag: str) -> None:
    assert " --> 00:00:02.000 line:0\nup\n" in to_webvtt(f"00:01 --> 00:02\n{tag}up")


def test_a_number_is_text_if_no_times_follow_it() -> None:
    srt = "1\n00:01,000 --> 00:02,000\nThe answer:\n42\n\n2\n00:03,000 --> 00:04,000\n43"
    assert to_webvtt(srt) == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nThe answer:\n42\n"
        "\n00:00:03.000 --> 00:00:04.000\n43\n"
    )


def test_only_ascii_digits_number_a_cue() -> None:
    assert to_webvtt("00:01 --> 00:02\na\n٣\n00:03 --> 00:04\nb") == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na\n٣\n\n00:00:03.000 --> 00:00:04.000\nb\n"
    )


def test_a_cue_without_text_is_omitted() -> None:
    assert to_webvtt("00:01 --> 00:02\n00:03 --> 00:04\nb") == (
        "WEBVTT\n\n00:00:03.000 --> 00:00:04.000\nb\n"
    )


@pytest.mark.parametrize(
    ("clock", "timestamp"),
    [
        ("100:00:00,000", "100:00:00.000"),
        ("00:75:00,000", "01:15:00.000"),
        ("00:00:75,04", "00:01:15.040"),
        ("01:02:03.123456789", "01:02:03.123"),
    ],
)
def test_a_timestamp_is_normalised(clock: str, timestamp: str) -> None:
    assert f"\n00:00:00.000 --> {timestamp}\n" in to_webvtt(f"00:00 --> {clock}\nx")


@pytest.mark.parametrize(
    "vtt", ["WEBVTT", "WEBVTT\n", "WEBVTT - a title\n\nNOTE x\n", "WEBVTT\tx\n", VTT]
)
def test_webvtt_is_not_changed(vtt: str) -> None:
    assert to_webvtt(vtt) == vtt.rstrip("\n") + "\n"
    assert to_webvtt("\ufeff" + vtt.replace("\n", "\r\n")) == vtt.rstrip("\n") + "\n"
    assert is_subtitle_text(vtt)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "talk.srt",
        "WEBVTTX\n",
        "webvtt\n",
        "no --> times",
        "00:00:01,000 -> 00:00:02,000\nx",
        "00:00:01,000 --> 00:00:02,000\nx".translate(ARABIC_INDIC),
        "00:01 --> 00:02:03:04\nx",
        "12345:00:01 --> 12345:00:02\nx",
    ],
)
def test_text_without_a_cue_is_an_error(text: str) -> None:
    assert not is_subtitle_text(text)
    with pytest.raises(ValueError, match="neither begins with WEBVTT nor has"):
        to_webvtt(text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("\ufeffgrüße".encode(), "grüße"),
        ("grüße".encode(), "grüße"),
        ("grüße".encode("cp1252"), "grüße"),
        (b"gr\xfc\x81", "gr\xfc\ufffd"),
        ("\ufeffgrüße".encode("utf-16-le"), "grüße"),
        ("\ufeffgrüße".encode("utf-16-be"), "grüße"),
        (b"\xff\xfeg", "\ufffd"),
    ],
)
def test_bytes_of_any_encoding_are_decoded(data: bytes, text: str) -> None:
    assert decode_subtitles(data) == text


@pytest.mark.parametrize("name", ["en", "deu", "pt-BR", "zh-Hant-TW"])
def test_a_language_tag_is_recognised_by_its_form(name: str) -> None:
    assert language_tag(name) == name


@pytest.mark.parametrize(
    "name", ["English", "e", "EN", "en_US", "en-", "", "Deutsch (SDH)", "en\n"]
)
def test_a_label_is_not_a_language_tag(name: str) -> None:
    assert language_tag(name) is None


@given(st.lists(st.text(alphabet='ab <>/&{}\\"=\n-', max_size=30), min_size=1, max_size=5))
def test_text_cannot_inject_a_cue_or_a_tag(texts: list[str]) -> None:
    srt = "".join(
        f"{n}\n00:00:0{n},000 --> 00:00:0{n},500\nx{text}x\n\n" for n, text in enumerate(texts)
    )
    vtt = to_webvtt(srt)
    assert vtt.count("-->") == len(texts)
    for block in vtt.split("\n\n")[1:]:
        body = block.split("\n", 1)[1]
        for tag in ("<b>", "</b>", "<i>", "</i>", "<u>", "</u>"):
            body = body.replace(tag, "")
        assert "<" not in body
        assert ">" not in body


@given(st.text())
def test_any_text_is_converted_or_an_error(text: str) -> None:
    if is_subtitle_text(text):
        assert to_webvtt(text).startswith("WEBVTT")
    else:
        with pytest.raises(ValueError, match="no subtitles were found"):
            to_webvtt(text)


@pytest.mark.parametrize("unit", ["<a", "{\\", "1:", "\t\t"])
def test_hostile_text_is_read_in_linear_time(unit: str) -> None:
    """Sixteen times the text may take sixty-four times the time, but not two hundred and fifty."""

    def seconds(count: int) -> float:
        text = f"00:01 --> 00:02\nx{unit * count}\n{unit * count}"
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            to_webvtt(text)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(160_000) < 64 * seconds(10_000)
