"""Response heads as bytes: what is repaired, ignored and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.response_lines import (
    ABOUT_FRAMING,
    MAX_HEAD_BYTES,
    MAX_HEAD_LINES,
    MalformedHeadError,
    head_length,
    normalise_head,
)

OK = b"HTTP/1.1 200 OK\r\n"


def fields(*lines: bytes) -> list[bytes]:
    """Return the header lines of a head after normalisation."""
    status, head = normalise_head(OK + b"\r\n".join([*lines, b"", b""]))
    assert status == 200
    assert head.startswith(b"HTTP/1.1 200 \r\n")
    assert head.endswith(b"\r\n\r\n")
    return head.split(b"\r\n")[1:-2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"Content-Type : video/mp4", b"Content-Type: video/mp4", id="space"),
        pytest.param(b'ETag \t : "a"', b'ETag: "a"', id="spaces-and-tab"),
        pytest.param(b"X:y", b"X: y", id="no-space-after"),
        pytest.param(b"X:  y \t", b"X: y", id="space-around"),
        pytest.param(b"X:", b"X: ", id="no-value"),
        pytest.param(b"X_A: y", b"X_A: y", id="underscore"),
        pytest.param(b"X: caf\xe9", b"X: caf\xe9", id="latin-1"),
        pytest.param(b"X: a:b", b"X: a:b", id="two-colons"),
        pytest.param(b"Content-Length: 5", b"Content-Length: 5", id="length"),
        pytest.param(b"transfer-encoding:chunked", b"transfer-encoding: chunked", id="coding"),
    ],
)
def test_a_harmless_line_is_repaired(line: bytes, expected: bytes) -> None:
    assert fields(b"A: 1", line, b"B: 2") == [b"A: 1", expected, b"B: 2"]


@pytest.mark.parametrize(
    "line",
    [b"garbage", b": value", b"X Y: z", b"X/Y: z", b"X-\xe9: z", b"<html>", b"Feature Policy : x"],
)
def test_a_line_whose_name_is_no_token_is_ignored(line: bytes) -> None:
    assert fields(b"A: 1", line, b" its folded rest", b"B: 2") == [b"A: 1", b"B: 2"]


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length : 5",
        b"content-length\t: 5",
        b"Transfer-Encoding : chunked",
        b"Content-Range : bytes 0-4/5",
        b"Content-Encoding : gzip",
        b"Content Length: 5",
        b"Content-Length 5",
        b"\xefContent-Length: 5",
        b"Content-Length\xe9: 5",
        b"Transfer-Encoding",
        b": Content-Length: 5",
    ],
)
def test_a_malformed_line_about_framing_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedHeadError, match=ABOUT_FRAMING):
        fields(b"A: 1", line)


def test_a_folded_line_is_joined_by_a_space() -> None:
    assert fields(b"A: 1", b"   2", b"\t3", b"B: 4") == [b"A: 1 2 3", b"B: 4"]
    assert fields(b"Transfer-Encoding:", b" chunked") == [b"Transfer-Encoding:  chunked"]


def test_white_space_before_the_first_line_is_no_field() -> None:
    """RFC 9112 section 2.2: such lines are ignored, or the message is refused."""
    assert fields(b" A: 1", b"B: 2") == [b"B: 2"]
    with pytest.raises(MalformedHeadError, match=ABOUT_FRAMING):
        fields(b" Content-Length: 1", b"B: 2")


@pytest.mark.parametrize("line", [b"X: a\0b", b"X: a\rb", b"\0: a", b"X: a\rContent-Length: 1"])
def test_a_null_and_a_bare_carriage_return_are_refused(line: bytes) -> None:
    with pytest.raises(MalformedHeadError, match="null character or a bare carriage return"):
        fields(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.0 206 ", b"HTTP/1.0 206 "),
        (b"HTTP/1.1 404   \t", b"HTTP/1.1 404 "),
        (b"HTTP/1.1  200 OK", b"HTTP/1.1 200 "),
        (b"http/1.1 200 OK", b"HTTP/1.1 200 "),
        (b"HTTP/2 200", b"HTTP/2.0 200 "),
        (b"HTTP/1.1 200 caf\xe9 \x01", b"HTTP/1.1 200 "),
    ],
)
def test_a_status_line_is_understood(line: bytes, expected: bytes) -> None:
    status, head = normalise_head(line + b"\r\nA: 1\r\n\r\n")
    assert head == expected + b"\r\nA: 1\r\n\r\n"
    assert status == int(expected[9:12])


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1", b"HTTP/1.1 OK", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 000", b"HTTP/x 200"],
)
def test_a_malformed_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedHeadError, match="malformed status line"):
        normalise_head(line + b"\r\n\r\n")


def test_line_ends_may_be_bare_line_feeds() -> None:
    data = b"\r\nHTTP/1.1 200 OK\nA: 1\r\nB: 2\n\nbody"
    length = head_length(data)
    assert length == len(data) - 4
    assert normalise_head(data[:length])[1] == b"HTTP/1.1 200 \r\nA: 1\r\nB: 2\r\n\r\n"


def test_line_ends_may_have_two_carriage_returns() -> None:
    data = b"HTTP/1.1 200 OK\r\r\nA: 1\r\r\n\r\r\nbody"
    assert head_length(data) == len(data) - 4
    assert head_length(data, len(data) - 5) == len(data) - 4
    assert normalise_head(data[:-4])[1] == b"HTTP/1.1 200 \r\nA: 1\r\n\r\n"


def test_as_many_lines_as_allowed_and_not_one_more() -> None:
    assert len(fields(*[b"A: 1"] * MAX_HEAD_LINES)) == MAX_HEAD_LINES
    with pytest.raises(MalformedHeadError, match=f"more than {MAX_HEAD_LINES} header lines"):
        fields(*[b"A: 1"] * (MAX_HEAD_LINES + 1))


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_may_have_256_kib_and_not_one_byte_more(end: bytes) -> None:
    head = OK + b"X: " + b"s" * (MAX_HEAD_BYTES - len(OK) - 3 - len(end)) + end
    assert head_length(head) == (len(head) if end else None)
    with pytest.raises(MalformedHeadError, match="has a head of more than 256 KiB") as caught:
        head_length(head.replace(b"X: ", b"X: s"))
    assert "ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"ICY 200 OK\r\n", "a radio stream"),
        (b"\x15\x03\x01\x00\x02", "TLS, not HTTP; write the URL with https://"),
        (b"<html>s3cret", "is not HTTP"),
        (b"\0", "is not HTTP"),
        (b"HTTQ/1.1 200 OK", "is not HTTP"),
        (b"\r\n\r\n<", "is not HTTP"),
    ],
)
def test_what_is_no_http_is_refused_at_its_first_bytes(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedHeadError, match=reason) as caught:
        head_length(data)
    assert "s3cret" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_head_or_refused_and_pieces_change_nothing(data: bytes, cut: int) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\nbody"
    whole = head_length(head)
    assert whole is not None
    first = head_length(head[:cut])
    pieces = first if first is not None else head_length(bytearray(head), min(cut, len(head)))
    assert pieces == whole
    try:
        _, normal = normalise_head(head[:whole])
    except MalformedHeadError:
        return
    assert normalise_head(normal)[1] == normal
    assert head_length(normal) == len(normal)
