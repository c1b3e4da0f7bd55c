"""Classifies a response head, independently of the state of the transfer.

A status alone proves nothing. A 206 is accepted only if its Content-Range and its lengths agree
(RFC 9110 sections 14.4 and 15.3.7); a 200 is the whole representation, whatever range was requested
(section 14.2), unless it says that it is a part. Home-made servers count the last byte of a range
wrongly in known ways; where total and length leave one meaning, that one is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.http.codings import parse_content_coding, parse_framing
from vidnb.http.headers import (
    parse_content_range,
    parse_media_type,
    parse_retry_after,
)
from vidnb.http.ranges import ByteRange
from vidnb.http.validators import Validators


@dataclass(frozen=True, slots=True)
class FullResponse:
    """The body is the whole representation, from byte 0: a 200, or a 206 that has all of it.

    `claim`: a field that makes the body doubtful; see `ContentCoding`.
    """

    validators: Validators
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class PartialResponse:
    """206: the body is `byte_range` of a representation of known length; `claim` as above."""

    validators: Validators
    byte_range: ByteRange
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class RangeNotSatisfiable:
    """416: the representation, of `total_bytes` if stated, has no byte at the requested offset."""

    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """304: the version named in the conditional request is still current."""


@dataclass(frozen=True, slots=True)
class InvalidPartialResponse:
    """A 206 that contradicts itself or the request; a request without Range may still succeed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """A response without usable bytes."""

    failure: Failure


ResponseHead = (
    FullResponse
    | PartialResponse
    | RangeNotSatisfiable
    | NotModified
    | InvalidPartialResponse
    | FailedResponse
)


def parse_response_head(
    status: int,
    headers: Mapping[str, str],
    *,
    requested_start: int,
    requested_stop: int | None = None,
    is_ranged: bool,
    is_conditional: bool,
    now_s: float,
) -> ResponseHead:
    """Classify the response head of a request; `now_s` is Unix time (s), for Retry-After dates.

    `requested_stop` is the end of the requested range, None where it was left open.
    """
    if status == 304 and is_conditional:
        return NotModified()
    if status == 416 and is_ranged:
        content_range = parse_content_range(headers.get("content-range", ""))
        return RangeNotSatisfiable(content_range.total if content_range else None)
    if status not in {200, 206}:
        return FailedResponse(
            Failure(
                FailureKind.STATUS,
                f"the origin answered {status}",
                status=status,
                retry_after_s=parse_retry_after(headers.get("retry-after", ""), now_s),
            )
        )
    framing = parse_framing(headers)
    coding = parse_content_coding(headers, is_partial=status == 206)
    error = framing.error or coding.error
    if error is not None:
        return FailedResponse(_protocol_error(error))
    length_bytes = framing.length_bytes
    if status == 200:
        return _parse_full(headers, length_bytes, coding.claim, now_s, is_ranged=is_ranged)
    asked = requested_start, requested_stop
    return _parse_partial(headers, length_bytes, coding.claim, asked, now_s, is_ranged=is_ranged)


def _parse_full(
    headers: Mapping[str, str],
    length_bytes: int | None,
    claim: str | None,
    now_s: float,
    *,
    is_ranged: bool,
) -> FullResponse | InvalidPartialResponse | FailedResponse:
    stated = headers.get("content-range", "")
    content_range = parse_content_range(stated)
    # Content-Range has no meaning in a 200 (RFC 9110 section 14.4), but some servers send a part
    # with it (demarche-numerique/ds_proxy#163).
    if content_range is not None and content_range.byte_range is not None:
        total_bytes = content_range.total or length_bytes
        if content_range.byte_range != ByteRange(0, total_bytes or 0):
            failure = _protocol_error("the origin answered 200 with a part of the file")
            return InvalidPartialResponse(failure) if is_ranged else FailedResponse(failure)
    elif stated and is_ranged:
        return _invalid("the origin answered 200 with an invalid Content-Range")
    return FullResponse(Validators.from_response(headers, length_bytes, now_s), claim)


def _parse_partial(
    headers: Mapping[str, str],
    length_bytes: int | None,
    claim: str | None,
    asked: tuple[int, int | None],
    now_s: float,
    *,
    is_ranged: bool,
) -> FullResponse | PartialResponse | InvalidPartialResponse:
    if parse_media_type(headers.get("content-type", "")) == "multipart/byteranges":
        return _invalid("the origin answered a request for one range with several")
    stated = parse_content_range(headers.get("content-range", ""), may_overrun=True)
    if stated is None or stated.byte_range is None or stated.total is None:
        return _invalid("the origin answered 206 without a complete Content-Range")
    start = stated.byte_range.start
    requested_start, requested_stop = asked
    if requested_start not in stated.byte_range:
        return _invalid(f"the origin was asked for byte {requested_start} and sent from {start}")
    stop = _range_stop(stated.byte_range, stated.total, length_bytes, requested_stop)
    if stop is None:
        body = "unknown length" if length_bytes is None else f"{length_bytes} bytes"
        return _invalid(
            f"the origin announced bytes {start} to {stated.byte_range.stop - 1} of {stated.total}"
            f" and a body of {body}"
        )
    validators = Validators.from_response(headers, stated.total, now_s)
    if is_ranged:
        return PartialResponse(validators, ByteRange(start, stop), claim)
    if stop - start != stated.total:
        return _invalid("the origin answered 206 although no range was asked for")
    return FullResponse(validators, claim)


def _range_stop(
    stated: ByteRange, total_bytes: int, length_bytes: int | None, requested_stop: int | None
) -> int | None:
    """Return where the body of a 206 ends by its Content-Range and length (B); None: unclear.

    The body begins at `stated.start` in any case, so a last byte that is wrong by one is corrected
    by the length. A last byte past the total is an echo of the request, or the total is wrong: the
    length decides, or the request.
    """
    start, stop = stated.start, min(stated.stop, total_bytes)
    overrun_bytes = stated.stop - stop
    if length_bytes == stop - start or (length_bytes is None and not overrun_bytes):
        return stop
    if length_bytes is None:
        return None
    if overrun_bytes:
        is_echo = overrun_bytes > 1 and stated.stop == requested_stop
        return stop if is_echo and length_bytes == stated.size_bytes else None
    by_length = start + length_bytes
    return by_length if start < by_length <= total_bytes and abs(by_length - stop) == 1 else None


def _invalid(reason: str) -> InvalidPartialResponse:
    return InvalidPartialResponse(_protocol_error(reason))


def _protocol_error(reason: str) -> Failure:
    return Failure(FailureKind.PROTOCOL_ERROR, reason)
