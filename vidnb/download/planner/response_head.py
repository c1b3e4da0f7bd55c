"""What the head of an answer says, whatever the transfer makes of it.

The one rule behind all others: a status proves nothing by itself. A 206 counts only as far as
its Content-Range and its lengths agree (RFC 9110 sections 14.4 and 15.3.7); a 200 is always the
whole representation, whatever range was asked for (section 14.2).
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

__all__ = [
    "FailedResponse",
    "FullResponse",
    "InvalidPartialResponse",
    "NotModified",
    "PartialResponse",
    "RangeNotSatisfiable",
    "ResponseHead",
    "parse_response_head",
]


@dataclass(frozen=True, slots=True)
class FullResponse:
    """200: the body is the whole representation, from byte 0."""

    version: Validators


@dataclass(frozen=True, slots=True)
class PartialResponse:
    """206: the body is `byte_range` of a representation whose length is known."""

    version: Validators
    byte_range: ByteRange


@dataclass(frozen=True, slots=True)
class RangeNotSatisfiable:
    """416: nothing lies at the asked offset of a representation of `total_bytes`, if it says."""

    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """304: the finished file of an earlier run is still the source's version."""


@dataclass(frozen=True, slots=True)
class InvalidPartialResponse:
    """A 206 that contradicts itself or the request; a plain request may still be answered well."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """No bytes to be had from this answer."""

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
    asked_start: int,
    is_ranged: bool,
    is_conditional: bool,
    now_s: float,
) -> ResponseHead:
    """Classify an answer's head by what was asked; `now_s` (Unix time, s) dates Retry-After."""
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
            _misbehaviour(
                f"the origin sent the file packed ({coding}) although it was asked not to"
            )
        )
    length_bytes: int | None = None
    if "content-length" in headers and "transfer-encoding" not in headers:
        length_bytes = parse_content_length(headers["content-length"])
        if length_bytes is None:
            return FailedResponse(
                _misbehaviour("the origin sent a Content-Length that is no length")
            )
    if status == 200:
        return FullResponse(Validators.of_answer(headers, length_bytes, now_s))
    return _read_part(headers, length_bytes, asked_start, is_ranged=is_ranged, now_s=now_s)


def _read_part(
    headers: Mapping[str, str],
    length_bytes: int | None,
    asked_start: int,
    *,
    is_ranged: bool,
    now_s: float,
) -> ResponseHead:
    if not is_ranged:
        return InvalidPartialResponse(
            _misbehaviour("the origin answered 206 although no range was asked for")
        )
    if parse_media_type(headers.get("content-type", "")) == "multipart/byteranges":
        return InvalidPartialResponse(_misbehaviour("the origin answered one range with several"))
    content_range = parse_content_range(headers.get("content-range", ""))
    if content_range is None or content_range.byte_range is None or content_range.total is None:
        return InvalidPartialResponse(
            _misbehaviour("the origin answered 206 and not which bytes of how many")
        )
    byte_range = content_range.byte_range
    if asked_start not in byte_range:
        return InvalidPartialResponse(
            _misbehaviour(
                f"the origin was asked for byte {asked_start} and sent from {byte_range.start}"
            )
        )
    if length_bytes is not None and length_bytes != byte_range.size_bytes:
        return InvalidPartialResponse(
            _misbehaviour(
                f"the origin put a range of {byte_range.size_bytes} bytes in a body of {length_bytes}"
            )
        )
    return PartialResponse(Validators.of_answer(headers, content_range.total, now_s), byte_range)


def _misbehaviour(reason: str) -> Failure:
    return Failure(FailureKind.MISBEHAVED, reason)
