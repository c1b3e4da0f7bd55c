"""Which request heads are accepted; the raw bytes of each kind are in tests of the server."""

import pytest

from vidnb.http.request_head import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    RequestHead,
    oversized,
    split_target,
)

LINE = b"GET /t/a.mp4 HTTP/1.1\r\n"
HOST = ("Host", "localhost")


def read(
    *fields: tuple[str, str], line: bytes = LINE, target: bytes = b"/t/a.mp4", padding: bytes = b""
) -> RequestHead | int:
    return RequestHead.read(line + padding + b"\r\n", b"GET", target, fields)


def test_a_head_has_folded_fields_and_a_path_without_query() -> None:
    head = read(HOST, ("RANGE", "bytes=0-"), ("X", "a"), ("x", "b"), target=b"/t/a.mp4?x")
    assert head == RequestHead(
        "GET",
        "localhost",
        "/t/a.mp4",
        1,
        {"host": "localhost", "range": "bytes=0-", "x": "a, b"},
        0,
    )
    assert not head.expects_continue


def test_an_absolute_target_names_the_authority() -> None:
    head = read(HOST, target=b"http://hub.example:1/t/a.mp4")
    assert isinstance(head, RequestHead)
    assert (head.authority, head.path) == ("hub.example:1", "/t/a.mp4")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([HOST], 0),
        ([HOST, ("Content-Length", "12")], 12),
        ([HOST, ("Transfer-Encoding", "Chunked")], None),
    ],
)
def test_the_size_of_a_body(fields: list[tuple[str, str]], expected: int | None) -> None:
    head = read(*fields)
    assert isinstance(head, RequestHead)
    assert head.body_bytes == expected


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [HOST, ("host", "localhost")],
        [HOST, ("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
        [HOST, ("Content-Length", "1"), ("Content-Length", "1")],
        [HOST, ("Content-Length", "-1")],
        [HOST, ("Content-Length", "")],
        [HOST, ("Content-Length", "1" * 19)],
        [HOST, ("Transfer-Encoding", "gzip, chunked")],
    ],
)
def test_what_is_ambiguous_is_a_400(fields: list[tuple[str, str]]) -> None:
    assert read(*fields) == 400


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.2\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET /\r\n",
        b"G\xe9T / HTTP/1.1\r\n",
        b"GET /\xe9 HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
    ],
)
def test_a_malformed_request_line_is_a_400(line: bytes) -> None:
    assert read(HOST, line=line) == 400


def test_http_1_0_needs_no_host_and_knows_no_chunks() -> None:
    line = b"GET /t/a.mp4 HTTP/1.0\r\n"
    head = read(("Expect", "100-continue"), line=line)
    assert isinstance(head, RequestHead)
    assert head.authority is None
    assert head.minor_version == 0
    assert not head.expects_continue  # RFC 9110 section 10.1.1
    assert read(("Transfer-Encoding", "chunked"), line=line) == 400


def test_a_comma_in_one_host_is_for_the_host_check_to_refuse() -> None:
    head = read(("Host", "a, b"))
    assert isinstance(head, RequestHead)
    assert head.authority == "a, b"


def test_an_expectation_is_recognized_in_any_case() -> None:
    head = read(HOST, ("Expect", "100-Continue"))
    assert isinstance(head, RequestHead)
    assert head.expects_continue


def test_a_head_has_limits() -> None:
    assert oversized(b"x" * (MAX_LINE_BYTES + 1)) == 0
    assert oversized(b"x" * (MAX_LINE_BYTES + 2)) == 414
    assert oversized(b"x" * MAX_LINE_BYTES + b"\r\n" + b"y" * 100) == 0
    assert oversized(b"x\r\n" + b"y" * (MAX_HEAD_BYTES - 3)) == 0
    assert oversized(b"x\r\n" + b"y" * (MAX_HEAD_BYTES - 2)) == 431
    assert read(HOST, padding=b"y" * MAX_HEAD_BYTES) == 431
    assert isinstance(read(HOST, padding=b"y" * (MAX_LINE_BYTES + 2)), RequestHead)
    assert isinstance(read(HOST, *[("X", "y")] * (MAX_FIELDS - 1)), RequestHead)
    assert read(HOST, *[("X", "y")] * MAX_FIELDS) == 431


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/t/a.mp4", (None, "/t/a.mp4")),
        ("/t/a.mp4?x=/y", (None, "/t/a.mp4")),
        ("//evil/t/a.mp4", (None, "//evil/t/a.mp4")),
        ("http://localhost:1/t/a.mp4?x", ("localhost:1", "/t/a.mp4")),
        ("http://[::1", (None, "")),
        ("*", ("", "*")),
        ("", ("", "")),
    ],
)
def test_request_targets(raw: str, target: tuple[str | None, str]) -> None:
    assert split_target(raw) == target
