"""Classifies a response head, independently of the state of the transfer.

A status alone proves nothing. A 206 is accepted only if its Content-Range and its lengths agree
(RFC 9110 sections 14.4 and 15.3.7); a 200 is always the whole representation, whatever range was
requested (section 14.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.http.headers import (
    parse_content_length,
    parse_content_range,
    parse_media_type,
    parse_retry_after,
)
from vidnb.http.ranges import ByteRange
from vidnb.http.validators import Validators


@dataclass(frozen=True, slots=True)
class FullResponse:
    """200: the body is the whole representation, from byte 0."""

    validators: Validators


@dataclass(frozen=True, slots=True)
class PartialResponse:
    """206: the body is `byte_range` of a representation of known length."""

    validators: Validators
    byte_range: ByteRange


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
    is_ranged: bool,
    is_conditional: bool,
    now_s: float,
) -> ResponseHead:
    """Classify the response head of a request; `now_s` is Unix time (s), for Retry-After dates."""
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
    coding = headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding != "identity":
        return FailedResponse(
            _protocol_error(
                f"the origin sent the file compressed ({coding}) although it was asked not to"
            )
        )
    length_bytes: int | None = None
    if "content-length" in headers and "transfer-encoding" not in headers:
        length_bytes = parse_content_length(headers["content-length"])
        if length_bytes is None:
            return FailedResponse(_protocol_error("the origin sent an invalid Content-Length"))
    if status == 200:
        return FullResponse(Validators.from_response(headers, length_bytes, now_s))
    if not is_ranged:
        return _invalid("the origin answered 206 although no range was asked for")
    return _parse_partial(headers, length_bytes, requested_start, now_s)


def _parse_partial(
    headers: Mapping[str, str], length_bytes: int | None, requested_start: int, now_s: float
) -> PartialResponse | InvalidPartialResponse:
    if parse_media_type(headers.get("content-type", "")) == "multipart/byteranges":
        return _invalid("the origin answered a request for one range with several")
    content_range = parse_content_range(headers.get("content-range", ""))
    if content_range is None or content_range.byte_range is None or content_range.total is None:
        return _invalid("the origin answered 206 without a complete Content-Range")
    byte_range = content_range.byte_range
    if requested_start not in byte_range:
        return _invalid(
            f"the origin was asked for byte {requested_start} and sent from {byte_range.start}"
        )
    if length_bytes is not None and length_bytes != byte_range.size_bytes:
        return _invalid(
            f"the origin announced a range of {byte_range.size_bytes} bytes"
            f" and a body of {length_bytes}"
        )
    return PartialResponse(
        Validators.from_response(headers, content_range.total, now_s), byte_range
    )


def _invalid(reason: str) -> InvalidPartialResponse:
    return InvalidPartialResponse(_protocol_error(reason))


def _protocol_error(reason: str) -> Failure:
    return Failure(FailureKind.PROTOCOL_ERROR, reason)
