"""Which bodies are the file, byte for byte, by the framing and coding fields of their head."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.codings import ContentCoding, Framing, parse_content_coding, parse_framing

NOT_DECODED = "the origin sent the file with a transfer coding{} that vidnb does not decode"


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        pytest.param({}, Framing(), id="none"),
        pytest.param({"content-length": "5"}, Framing(length_bytes=5), id="length"),
        pytest.param({"content-length": "5, 5"}, Framing(length_bytes=5), id="length-twice"),
        pytest.param({"transfer-encoding": "chunked"}, Framing(is_chunked=True), id="chunked"),
        pytest.param({"transfer-encoding": "Chunked"}, Framing(is_chunked=True), id="any-case"),
        pytest.param(
            {"transfer-encoding": "chunked", "content-length": "5"},
            Framing(is_chunked=True),
            id="chunks-override-the-length",
        ),
        pytest.param({"transfer-encoding": "identity"}, Framing(), id="identity"),
        pytest.param(
            {"transfer-encoding": "", "content-length": "5"}, Framing(length_bytes=5), id="empty"
        ),
    ],
)
def test_an_understood_framing(headers: dict[str, str], framing: Framing) -> None:
    assert parse_framing(headers) == framing
    assert framing.marks_end == (framing != Framing())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("gzip, chunked", " (gzip, chunked)"),
        ("x-gzip, chunked", " (x-gzip, chunked)"),
        ("gzip", " (gzip)"),
        ("chunked, gzip", " (chunked, gzip)"),
        ("chunked;x=1", ""),
        ("chunked; q=1", ""),
        ("x-chunked", " (x-chunked)"),
        ("xchunked", " (xchunked)"),
        ("chunked, chunked", " (chunked, chunked)"),
        ("identity, chunked", " (identity, chunked)"),
        (", chunked", ""),
        ("chunked,", ""),
        ('"chunked"', ""),
        ("\x0bchunked", ""),
        ("deflate, gzip, br, zstd, chunked", ""),
        ("cow", " (cow)"),
    ],
)
def test_any_other_transfer_coding_is_an_error(value: str, shown: str) -> None:
    """aiohttp decodes some of these, hands out others as they are, and says nothing."""
    headers = {"transfer-encoding": value, "content-length": "5"}
    assert parse_framing(headers) == Framing(error=NOT_DECODED.format(shown))


@pytest.mark.parametrize("value", ["", "-5", "5, 6", "+5", "0x10", "5_0"])
def test_an_invalid_length_is_an_error(value: str) -> None:
    assert parse_framing({"content-length": value}).error == (
        "the origin sent an invalid Content-Length"
    )


@given(st.text())
def test_only_chunked_is_a_transfer_coding(value: str) -> None:
    framing = parse_framing({"transfer-encoding": value})
    assert framing.is_chunked == (value.lower() == "chunked")
    assert (framing.error is None) == (value.lower() in {"", "chunked", "identity"})


@pytest.mark.parametrize("value", ["", "identity", "IDENTITY", "identity, identity", ", "])
def test_no_coding(value: str) -> None:
    assert parse_content_coding({"content-encoding": value}, is_partial=False) == ContentCoding()


@pytest.mark.parametrize(
    "value",
    [
        *("none", "null", "binary", "8bit", "7bit", "UTF-8", "utf8", "utf-16le", "us-ascii"),
        *("iso-8859-1", "ISO8859-15", "windows-1252", "latin-1", "gbk", "shift_jis", "koi8-r"),
        *("video/mp4", "application/octet-stream", "aws-chunked", "chunked", "identity, utf-8"),
    ],
)
@pytest.mark.parametrize("is_partial", [False, True])
def test_a_word_that_is_no_coding_is_a_claim(value: str, is_partial: bool) -> None:
    found = parse_content_coding({"content-encoding": value}, is_partial=is_partial)
    assert found == ContentCoding(claim=f"Content-Encoding ({value.lower()})")


@pytest.mark.parametrize("value", ['"utf-8"', "charset=utf-8"])
def test_a_claim_of_other_characters_is_not_quoted(value: str) -> None:
    found = parse_content_coding({"content-encoding": value}, is_partial=False)
    assert found == ContentCoding(claim="Content-Encoding")


@pytest.mark.parametrize(
    "value",
    [
        *("gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz"),
        *("exi", "pack200-gzip", "aes128gcm", "zip", "bzip2", "xz", "lz4", "base64", "x"),
        *("aws-chunked, gzip", "gzip, aws-chunked", "identity, br", "utf-8, zstd", "gzip, gzip"),
    ],
)
def test_a_content_coding_is_an_error(value: str) -> None:
    found = parse_content_coding({"content-encoding": value}, is_partial=False)
    assert found.error == (
        f"the origin sent the file compressed ({value}) although it was asked not to"
    )


@pytest.mark.parametrize("value", ["gzip;q=1", "a" * 25, "gzip, <script>", "br, br, br, br, br"])
def test_an_odd_content_coding_is_an_error_and_not_quoted(value: str) -> None:
    found = parse_content_coding({"content-encoding": value}, is_partial=True)
    assert found.error == "the origin sent the file compressed although it was asked not to"


@given(st.text(alphabet="gzip, brx-;=\x00é", max_size=12))
def test_no_unknown_word_is_accepted(value: str) -> None:
    found = parse_content_coding({"content-encoding": value}, is_partial=False)
    assert (found == ContentCoding()) == (not value.strip(", ")), "only an empty list"


@pytest.mark.parametrize(
    ("value", "claim"),
    [
        ("binary", None),
        ("Binary", None),
        ("8bit", None),
        ("", None),
        ("base64", "Content-Transfer-Encoding (base64)"),
        ("quoted-printable", "Content-Transfer-Encoding (quoted-printable)"),
        ("x-uuencode", "Content-Transfer-Encoding (x-uuencode)"),
    ],
)
def test_an_encoding_of_mail_is_a_claim(value: str, claim: str | None) -> None:
    headers = {"content-transfer-encoding": value}
    assert parse_content_coding(headers, is_partial=False) == ContentCoding(claim=claim)


def test_several_ranges_in_a_full_response_are_a_claim() -> None:
    headers = {"content-type": "Multipart/ByteRanges; boundary=x"}
    assert parse_content_coding(headers, is_partial=False) == ContentCoding(
        claim="Content-Type (multipart/byteranges)"
    )
    assert parse_content_coding(headers, is_partial=True) == ContentCoding()
