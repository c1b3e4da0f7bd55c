import pytest

from vidnb.download.planner.response_head import (
    FailedResponse,
    FullResponse,
    InvalidPartialResponse,
    NotModified,
    PartialResponse,
    RangeNotSatisfiable,
    ResponseHead,
    parse_response_head,
)
from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.http.headers import ETag
from vidnb.http.ranges import ByteRange
from vidnb.http.validators import Validators

NOW_S = 1_800_000_000.0
A = ETag("a", weak=False)


def protocol_error(reason: str) -> Failure:
    return Failure(FailureKind.PROTOCOL_ERROR, reason)


def status(code: int, retry_after_s: float | None = None) -> FailedResponse:
    return FailedResponse(
        Failure(FailureKind.STATUS, f"the origin answered {code}", code, retry_after_s)
    )


def parse(
    code: int,
    headers: dict[str, str],
    *,
    start: int = 0,
    stop: int | None = None,
    ranged: bool = False,
    conditional: bool = False,
) -> ResponseHead:
    return parse_response_head(
        code,
        headers,
        requested_start=start,
        requested_stop=stop,
        is_ranged=ranged,
        is_conditional=conditional,
        now_s=NOW_S,
    )


@pytest.mark.parametrize(
    ("headers", "head"),
    [
        pytest.param({}, FullResponse(Validators()), id="bare"),
        pytest.param(
            {"content-length": "100"}, FullResponse(Validators(total_bytes=100)), id="length"
        ),
        pytest.param(
            {"content-length": "0"}, FullResponse(Validators(total_bytes=0)), id="length-0"
        ),
        pytest.param(
            {"content-length": "5, 5"}, FullResponse(Validators(total_bytes=5)), id="length-twice"
        ),
        pytest.param(
            {"content-length": "5", "transfer-encoding": "chunked"},
            FullResponse(Validators()),
            id="chunked-overrides-the-length",
        ),
        pytest.param({"etag": '"a"'}, FullResponse(Validators(A)), id="etag"),
        pytest.param(
            {"content-range": "bytes 0-9/10", "content-length": "10"},
            FullResponse(Validators(total_bytes=10)),
            id="complete-content-range",
        ),
        pytest.param(
            {"content-range": "bytes 0-9/*", "content-length": "10"},
            FullResponse(Validators(total_bytes=10)),
            id="complete-content-range-without-total",
        ),
        pytest.param(
            {"content-range": "bytes */10", "content-length": "10"},
            FullResponse(Validators(total_bytes=10)),
            id="content-range-without-range",
        ),
        pytest.param({"transfer-encoding": "Chunked"}, FullResponse(Validators()), id="chunked"),
        pytest.param(
            {"content-encoding": "utf-8"},
            FullResponse(Validators(), "Content-Encoding (utf-8)"),
            id="claim",
        ),
        pytest.param({"content-encoding": "identity"}, FullResponse(Validators()), id="identity"),
        pytest.param(
            {"content-encoding": " IDENTITY "}, FullResponse(Validators()), id="identity-spelt"
        ),
        pytest.param({"content-encoding": ""}, FullResponse(Validators()), id="encoding-empty"),
    ],
)
@pytest.mark.parametrize("ranged", [False, True])
def test_a_200_is_always_the_whole_representation(
    headers: dict[str, str], head: ResponseHead, ranged: bool
) -> None:
    if ranged and headers.get("content-range") == "bytes */10":
        head = SLICED
    assert parse(200, headers, start=5 if ranged else 0, ranged=ranged) == head


@pytest.mark.parametrize(
    "content_range", ["bytes 5-9/10", "bytes 0-4/10", "bytes 5-9/*", "bytes 0-9/11"]
)
def test_a_200_with_a_part_is_not_the_whole_representation(content_range: str) -> None:
    """Some servers slice the body and leave the status as it was."""
    headers = {"content-range": content_range, "content-length": "10"}
    failure = protocol_error("the origin answered 200 with a part of the file")
    assert parse(200, headers, start=5, ranged=True) == InvalidPartialResponse(failure)
    assert parse(200, headers) == FailedResponse(failure)


@pytest.mark.parametrize("content_range", ["bytes 5-/10", "bytes 0-10/10", "items 0-9/10"])
def test_a_200_with_an_unclear_range_is_repeated_without_range(content_range: str) -> None:
    headers = {"content-range": content_range, "content-length": "10"}
    assert parse(200, headers, start=5, ranged=True) == SLICED
    assert parse(200, headers) == FullResponse(Validators(total_bytes=10))


@pytest.mark.parametrize("code", [200, 206])
@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, gzip", "chunked;x=1", "x-chunked"])
def test_a_transfer_coding_is_rejected(code: int, coding: str) -> None:
    headers = {"transfer-encoding": coding, "content-range": "bytes 0-9/10"}
    head = parse(code, headers, ranged=True)
    assert isinstance(head, FailedResponse)
    assert head.failure.kind is FailureKind.PROTOCOL_ERROR


@pytest.mark.parametrize("code", [200, 206])
@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
def test_a_content_coding_is_rejected(code: int, coding: str) -> None:
    headers = {"content-encoding": coding, "content-range": "bytes 0-9/10"}
    reason = f"the origin sent the file compressed ({coding.lower()}) although it was asked not to"
    assert parse(code, headers, ranged=True) == FailedResponse(protocol_error(reason))


@pytest.mark.parametrize("code", [200, 206])
@pytest.mark.parametrize("length", ["", "-5", "5, 6", "1e3", "5.0", "\u0665", "1" + "0" * 18 + "1"])
def test_an_invalid_content_length_is_rejected(code: int, length: str) -> None:
    headers = {"content-length": length, "content-range": "bytes 0-9/10"}
    assert parse(code, headers, ranged=True) == FailedResponse(
        protocol_error("the origin sent an invalid Content-Length")
    )


SLICED = InvalidPartialResponse(
    protocol_error("the origin answered 200 with an invalid Content-Range")
)
INCOMPLETE = InvalidPartialResponse(
    protocol_error("the origin answered 206 without a complete Content-Range")
)


@pytest.mark.parametrize(
    ("headers", "head"),
    [
        pytest.param(
            {"content-range": "bytes 5-99/100"},
            PartialResponse(Validators(total_bytes=100), ByteRange(5, 100)),
            id="to-the-end",
        ),
        pytest.param(
            {"content-range": "bytes 5-5/100", "content-length": "1", "etag": '"a"'},
            PartialResponse(Validators(A, total_bytes=100), ByteRange(5, 6)),
            id="one-byte",
        ),
        pytest.param(
            {"content-range": "bytes 0-99/100"},
            PartialResponse(Validators(total_bytes=100), ByteRange(0, 100)),
            id="more-than-requested",
        ),
        pytest.param(
            {"content-range": "bytes 6-99/100"},
            InvalidPartialResponse(
                protocol_error("the origin was asked for byte 5 and sent from 6")
            ),
            id="later",
        ),
        pytest.param(
            {"content-range": "bytes 0-4/100"},
            InvalidPartialResponse(
                protocol_error("the origin was asked for byte 5 and sent from 0")
            ),
            id="earlier",
        ),
        pytest.param({}, INCOMPLETE, id="no-content-range"),
        pytest.param({"content-range": "bytes 5-99/*"}, INCOMPLETE, id="total-unknown"),
        pytest.param({"content-range": "bytes */100"}, INCOMPLETE, id="no-range"),
        pytest.param({"content-range": "bytes 9-5/100"}, INCOMPLETE, id="backwards"),
        pytest.param(
            {"content-range": "bytes 5-100/100"},
            InvalidPartialResponse(
                protocol_error(
                    "the origin announced bytes 5 to 100 of 100 and a body of unknown length"
                )
            ),
            id="beyond-its-total",
        ),
        pytest.param({"content-range": "items 5-99/100"}, INCOMPLETE, id="unit"),
        pytest.param(
            {"content-range": "bytes 5-99/100", "content-length": "100"},
            InvalidPartialResponse(
                protocol_error("the origin announced bytes 5 to 99 of 100 and a body of 100 bytes")
            ),
            id="the-whole-file",
        ),
        pytest.param(
            {
                "content-range": "bytes 5-99/100",
                "content-length": "7",
                "transfer-encoding": "chunked",
            },
            PartialResponse(Validators(total_bytes=100), ByteRange(5, 100)),
            id="chunked-overrides-the-length",
        ),
        pytest.param(
            {"content-range": "bytes 5-99/100", "content-type": "Multipart/ByteRanges; boundary=x"},
            InvalidPartialResponse(
                protocol_error("the origin answered a request for one range with several")
            ),
            id="multipart",
        ),
    ],
)
def test_a_206_must_agree_with_its_request_and_itself(
    headers: dict[str, str], head: ResponseHead
) -> None:
    assert parse(206, headers, start=5, ranged=True) == head


@pytest.mark.parametrize(
    ("content_range", "length", "start", "stop"),
    [
        pytest.param("bytes 5-100/100", 95, 5, 100, id="last-is-the-total"),
        pytest.param("bytes 5-104/100", 95, 5, 100, id="last-is-first-plus-total"),
        pytest.param("bytes 5-98/100", 95, 5, 100, id="last-is-one-short"),
        pytest.param("bytes 5-15/100", 10, 5, 15, id="last-is-one-too-high"),
        pytest.param("bytes 5-63/40", 59, 5, 40, id="echo-of-the-request-with-its-length"),
        pytest.param("bytes 5-63/40", 35, 5, 40, id="echo-of-the-request"),
        pytest.param("bytes 5-104/100", 100, 5, None, id="length-of-neither"),
        pytest.param("bytes 5-100/100", 96, 5, None, id="is-the-total-or-the-last-wrong"),
        pytest.param("bytes 5-63/63", 59, 5, None, id="echo-or-is-the-total-wrong"),
        pytest.param("bytes 5-70/40", 66, 5, None, id="no-echo"),
        pytest.param("bytes 5-98/100", 96, 5, None, id="one-short-and-one-too-long"),
        pytest.param("bytes 5-50/100", 48, 5, None, id="two-short"),
        pytest.param("bytes 1-99/100", 100, 1, None, id="the-whole-file"),
        pytest.param("bytes 5-5/100", 0, 5, None, id="nothing"),
        pytest.param("bytes 5-100/100", 94, 5, None, id="too-high-and-too-short"),
        pytest.param("bytes 100-100/100", 1, 100, None, id="starts-at-the-total"),
    ],
)
def test_a_last_byte_that_is_wrong_by_one_is_corrected(
    content_range: str, length: int, start: int, stop: int | None
) -> None:
    """Home-made servers compute it as `start + length`, or repeat that of the request."""
    headers = {"content-range": content_range, "content-length": str(length)}
    head = parse(206, headers, start=start, ranged=True, stop=64)
    if stop is None:
        assert isinstance(head, InvalidPartialResponse)
    else:
        assert isinstance(head, PartialResponse)
        assert head.byte_range == ByteRange(start, stop)


@pytest.mark.parametrize("length", [None, "100"])
def test_an_unrequested_206_with_the_complete_file_is_the_file(length: str | None) -> None:
    headers = {"content-range": "bytes 0-99/100", "etag": '"a"', "content-encoding": "none"}
    if length is not None:
        headers["content-length"] = length
    assert parse(206, headers) == FullResponse(
        Validators(A, total_bytes=100), "Content-Encoding (none)"
    )


@pytest.mark.parametrize("content_range", ["bytes 0-98/100", "bytes 0-0/100"])
def test_an_unrequested_206_with_a_part_is_invalid(content_range: str) -> None:
    assert parse(206, {"content-range": content_range}) == InvalidPartialResponse(
        protocol_error("the origin answered 206 although no range was asked for")
    )


@pytest.mark.parametrize(
    ("content_range", "total_bytes"),
    [("bytes */100", 100), ("bytes */0", 0), ("", None), ("bytes */*", None), ("what", None)],
)
def test_a_416_may_state_the_length(content_range: str, total_bytes: int | None) -> None:
    headers = {"content-range": content_range} if content_range else {}
    assert parse(416, headers, start=5, ranged=True) == RangeNotSatisfiable(total_bytes)


def test_a_304_to_a_conditional_request() -> None:
    assert parse(304, {}, conditional=True) == NotModified()


@pytest.mark.parametrize(
    ("code", "ranged", "conditional"), [(304, True, False), (416, False, True)], ids=["304", "416"]
)
def test_a_304_or_416_without_cause_is_a_failure(
    code: int, ranged: bool, conditional: bool
) -> None:
    assert parse(code, {}, ranged=ranged, conditional=conditional) == status(code)


@pytest.mark.parametrize("code", [100, 201, 204, 302, 400, 404, 500, 503, 999])
def test_any_other_status_is_a_failure(code: int) -> None:
    assert parse(code, {"content-encoding": "gzip"}, ranged=True, conditional=True) == status(code)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [("7", 7.0), ("Fri, 15 Jan 2027 08:01:40 GMT", 100.0), ("soon", None)],
    ids=["seconds", "date", "malformed"],
)
def test_retry_after_is_parsed(value: str, wait_s: float | None) -> None:
    assert parse(503, {"retry-after": value}) == status(503, wait_s)
