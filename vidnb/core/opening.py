"""What the head of an answer says, whatever the transfer makes of it.

The one rule behind all others: a status proves nothing by itself. A 206 counts only as far as
its Content-Range and its lengths agree (RFC 9110 sections 14.4 and 15.3.7); a 200 is always the
whole representation, whatever range was asked for (section 14.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.core.headers import (
    parse_content_length,
    parse_content_range,
    parse_media_type,
    parse_retry_after,
)
from vidnb.core.retry import Failure, FailureKind
from vidnb.core.spans import Span
from vidnb.core.version import Version

__all__ = ["Failed", "Opening", "Part", "Unchanged", "Unsatisfiable", "Untrue", "Whole", "read"]


@dataclass(frozen=True, slots=True)
class Whole:
    """200: the body is the whole representation, from byte 0."""

    version: Version


@dataclass(frozen=True, slots=True)
class Part:
    """206: the body is `span` of a representation whose length is known."""

    version: Version
    span: Span


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416: nothing lies at the asked offset of a representation of `total_bytes`, if it says."""

    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """304: the finished file of an earlier run is still the source's version."""


@dataclass(frozen=True, slots=True)
class Untrue:
    """A 206 that contradicts itself or the request; a plain request may still be answered well."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Failed:
    """No bytes to be had from this answer."""

    failure: Failure


Opening = Whole | Part | Unsatisfiable | Unchanged | Untrue | Failed


def read(
    status: int,
    headers: Mapping[str, str],
    *,
    asked_start: int,
    is_ranged: bool,
    is_conditional: bool,
    now_s: float,
) -> Opening:
    """Classify an answer's head by what was asked; `now_s` (Unix time, s) dates Retry-After."""
    if status == 304 and is_conditional:
        return Unchanged()
    if status == 416 and is_ranged:
        content_range = parse_content_range(headers.get("content-range", ""))
        return Unsatisfiable(content_range.total if content_range else None)
    if status not in {200, 206}:
        return Failed(
            Failure(
                FailureKind.STATUS,
                f"the origin answered {status}",
                status=status,
                retry_after_s=parse_retry_after(headers.get("retry-after", ""), now_s),
            )
        )
    coding = headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding != "identity":
        return Failed(
            _misbehaviour(
                f"the origin sent the file packed ({coding}) although it was asked not to"
            )
        )
    length_bytes: int | None = None
    if "content-length" in headers and "transfer-encoding" not in headers:
        length_bytes = parse_content_length(headers["content-length"])
        if length_bytes is None:
            return Failed(_misbehaviour("the origin sent a Content-Length that is no length"))
    if status == 200:
        return Whole(Version.of_answer(headers, length_bytes, now_s))
    return _read_part(headers, length_bytes, asked_start, is_ranged=is_ranged, now_s=now_s)


def _read_part(
    headers: Mapping[str, str],
    length_bytes: int | None,
    asked_start: int,
    *,
    is_ranged: bool,
    now_s: float,
) -> Opening:
    if not is_ranged:
        return Untrue(_misbehaviour("the origin answered 206 although no range was asked for"))
    if parse_media_type(headers.get("content-type", "")) == "multipart/byteranges":
        return Untrue(_misbehaviour("the origin answered one range with several"))
    content_range = parse_content_range(headers.get("content-range", ""))
    if content_range is None or content_range.span is None or content_range.total is None:
        return Untrue(_misbehaviour("the origin answered 206 and not which bytes of how many"))
    span = content_range.span
    if asked_start not in span:
        return Untrue(
            _misbehaviour(f"the origin was asked for byte {asked_start} and sent from {span.start}")
        )
    if length_bytes is not None and length_bytes != span.size_bytes:
        return Untrue(
            _misbehaviour(
                f"the origin put a range of {span.size_bytes} bytes in a body of {length_bytes}"
            )
        )
    return Part(Version.of_answer(headers, content_range.total, now_s), span)


def _misbehaviour(reason: str) -> Failure:
    return Failure(FailureKind.MISBEHAVED, reason)
