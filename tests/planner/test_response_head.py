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


def misbehaved(reason: str) -> Failure:
    return Failure(FailureKind.MISBEHAVED, reason)


def status(code: int, retry_after_s: float | None = None) -> FailedResponse:
    return FailedResponse(
        Failure(FailureKind.STATUS, f"the origin answered {code}", code, retry_after_s)
    )


def opened(
    code: int, headers: dict[str, str], *, start: int = 0, ranged: bool = False, asks: bool = False
) -> ResponseHead:
    return parse_response_head(
        code,
        headers,
        asked_start=start,
        is_ranged=ranged,
        is_conditional=asks,
        now_s=NOW_S,
    )


@pytest.mark.parametrize(
    ("headers", "said"),
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
            {"content-range": "bytes 5-9/10"},
            FullResponse(Validators()),
            id="content-range-means-nothing",
        ),
        pytest.param({"content-encoding": "identity"}, FullResponse(Validators()), id="identity"),
        pytest.param(
            {"content-encoding": " IDENTITY "}, FullResponse(Validators()), id="identity-spelt"
        ),
        pytest.param({"content-encoding": ""}, FullResponse(Validators()), id="encoding-empty"),
    ],
)
@pytest.mark.parametrize("ranged", [False, True])
def test_a_200_is_the_whole_whatever_was_asked(
    headers: dict[str, str], said: ResponseHead, ranged: bool
) -> None:
    assert opened(200, headers, start=5 if ranged else 0, ranged=ranged) == said


@pytest.mark.parametrize("code", [200, 206])
@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
def test_packed_bytes_are_never_taken(code: int, coding: str) -> None:
    headers = {"content-encoding": coding, "content-range": "bytes 0-9/10"}
    reason = f"the origin sent the file packed ({coding.lower()}) although it was asked not to"
    assert opened(code, headers, ranged=True) == FailedResponse(misbehaved(reason))


@pytest.mark.parametrize("code", [200, 206])
@pytest.mark.parametrize("length", ["", "-5", "5, 6", "1e3", "5.0", "\u0665", "1" + "0" * 18 + "1"])
def test_a_length_that_is_none_is_refused(code: int, length: str) -> None:
    headers = {"content-length": length, "content-range": "bytes 0-9/10"}
    assert opened(code, headers, ranged=True) == FailedResponse(
        misbehaved("the origin sent a Content-Length that is no length")
    )


NOT_WHICH = InvalidPartialResponse(
    misbehaved("the origin answered 206 and not which bytes of how many")
)


@pytest.mark.parametrize(
    ("headers", "said"),
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
            id="more-than-asked",
        ),
        pytest.param(
            {"content-range": "bytes 6-99/100"},
            InvalidPartialResponse(misbehaved("the origin was asked for byte 5 and sent from 6")),
            id="later",
        ),
        pytest.param(
            {"content-range": "bytes 0-4/100"},
            InvalidPartialResponse(misbehaved("the origin was asked for byte 5 and sent from 0")),
            id="earlier",
        ),
        pytest.param({}, NOT_WHICH, id="no-content-range"),
        pytest.param({"content-range": "bytes 5-99/*"}, NOT_WHICH, id="total-unknown"),
        pytest.param({"content-range": "bytes */100"}, NOT_WHICH, id="no-span"),
        pytest.param({"content-range": "bytes 9-5/100"}, NOT_WHICH, id="backwards"),
        pytest.param({"content-range": "bytes 5-100/100"}, NOT_WHICH, id="beyond-its-total"),
        pytest.param({"content-range": "items 5-99/100"}, NOT_WHICH, id="unit"),
        pytest.param(
            {"content-range": "bytes 5-99/100", "content-length": "100"},
            InvalidPartialResponse(
                misbehaved("the origin put a range of 95 bytes in a body of 100")
            ),
            id="the-whole-in-disguise",
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
            {
                "content-range": "bytes 5-99/100",
                "content-type": "Multipart/ByteRanges; boundary=x",
            },
            InvalidPartialResponse(misbehaved("the origin answered one range with several")),
            id="multipart",
        ),
    ],
)
def test_a_206_counts_as_far_as_it_agrees(headers: dict[str, str], said: ResponseHead) -> None:
    assert opened(206, headers, start=5, ranged=True) == said


def test_a_206_that_nobody_asked_for() -> None:
    assert opened(206, {"content-range": "bytes 0-99/100"}) == InvalidPartialResponse(
        misbehaved("the origin answered 206 although no range was asked for")
    )


@pytest.mark.parametrize(
    ("content_range", "total_bytes"),
    [("bytes */100", 100), ("bytes */0", 0), ("", None), ("bytes */*", None), ("what", None)],
)
def test_a_416_says_how_long_it_is(content_range: str, total_bytes: int | None) -> None:
    headers = {"content-range": content_range} if content_range else {}
    assert opened(416, headers, start=5, ranged=True) == RangeNotSatisfiable(total_bytes)


def test_a_304_where_that_was_the_question() -> None:
    assert opened(304, {}, asks=True) == NotModified()


@pytest.mark.parametrize(
    ("code", "ranged", "asks"), [(304, True, False), (416, False, True)], ids=["304", "416"]
)
def test_an_answer_to_no_question_is_a_failure(code: int, ranged: bool, asks: bool) -> None:
    assert opened(code, {}, ranged=ranged, asks=asks) == status(code)


@pytest.mark.parametrize("code", [100, 201, 204, 302, 400, 404, 500, 503, 999])
def test_any_other_status_is_a_failure(code: int) -> None:
    assert opened(code, {"content-encoding": "gzip"}, ranged=True, asks=True) == status(code)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [("7", 7.0), ("Fri, 15 Jan 2027 08:01:40 GMT", 100.0), ("soon", None)],
    ids=["seconds", "date", "malformed"],
)
def test_what_retry_after_asks(value: str, wait_s: float | None) -> None:
    assert opened(503, {"retry-after": value}) == status(503, wait_s)
