"""Decides what a response head means for the transfer.

`response_head` classifies a head by itself; `decide` weighs it against the source, the request and
the other requests in flight. It changes no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vidnb.download.planner.response_head import (
    FailedResponse,
    FullResponse,
    InvalidPartialResponse,
    NotModified,
    PartialResponse,
    RangeNotSatisfiable,
    ResponseHead,
)
from vidnb.download.planner.retry import Failure, FailureKind, GiveUpReason
from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators


@dataclass(frozen=True, slots=True)
class AcceptBody:
    """Store the body: `byte_range` of the version with `validators`, which may be a new version.

    `supports_ranges` and `may_support_ranges` are new values for `SourceState`; None: no change.
    `claim`: see `ContentCoding`.
    """

    validators: Validators
    byte_range: ByteRange
    supports_ranges: bool | None = None
    may_support_ranges: bool | None = None
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """Cancel and repeat: without If-Range, or without any Range from now on."""

    without_ranges: bool


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """Cancel: the host refused another connection; the other requests deliver the file."""


@dataclass(frozen=True, slots=True)
class StartOver:
    """Discard everything: the source file changed. `without_ranges`: send no Range from now on."""

    without_ranges: bool = False


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """Every byte of the version with `validators` was received before."""

    validators: Validators


@dataclass(frozen=True, slots=True)
class SourceUnchanged:
    """The published file of an earlier run is still current.

    Either a 304 says so, or a response to a conditional request that the origin ignored: it names
    the same version by a strong validator (RFC 9110 section 8.8.3.2), so its body is not needed.
    """


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The response has no usable bytes; a retry may succeed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class RejectSource:
    """Give the transfer up."""

    reason: GiveUpReason
    failure: Failure


ResponseDecision = (
    AcceptBody
    | RepeatRequest
    | ConnectionRefused
    | StartOver
    | AlreadyComplete
    | SourceUnchanged
    | RequestFailed
    | RejectSource
)

EMPTY = RejectSource(GiveUpReason.EMPTY, Failure(FailureKind.TRUNCATED, "the origin sent no bytes"))


def decide(
    head: ResponseHead,
    headers: Mapping[str, str],
    request: ActiveRequest,
    source: SourceState,
    received: ByteRangeSet,
    *,
    has_other_responses: bool,
    max_bytes: int | None,
) -> ResponseDecision:
    """Decide what the response head of `request` means.

    `received` are the bytes received so far; `has_other_responses`: other requests are delivering.
    """
    match head:
        case FullResponse(validators) | PartialResponse(validators):
            if _is_published_version(validators, source):
                return SourceUnchanged()
            return check_size(validators.total_bytes, max_bytes) or _decide_body(
                head, headers, request, source, received, has_other_responses=has_other_responses
            )
        case RangeNotSatisfiable(total_bytes):
            if source.validators is None and total_bytes == 0:
                return EMPTY
            if has_other_responses:
                return ConnectionRefused()
            return _decide_unsatisfiable(total_bytes, headers, request, source, received)
        case NotModified():
            # With a version in transfer, all its bytes were stored when the request was sent.
            known = source.validators
            return SourceUnchanged() if known is None else AlreadyComplete(known)
        case InvalidPartialResponse() if request.is_ranged:
            if has_other_responses:
                return ConnectionRefused()
            return RepeatRequest(without_ranges=True)
        case FailedResponse(Failure(FailureKind.PROTOCOL_ERROR)) if not has_other_responses:
            return RejectSource(GiveUpReason.PROTOCOL_ERROR, head.failure)
    return RequestFailed(head.failure)


def _is_published_version(validators: Validators, source: SourceState) -> bool:
    published = source.reusable_validators if source.validators is None else None
    return published is not None and published.is_same_as(validators)


def check_size(total_bytes: int | None, max_bytes: int | None) -> RejectSource | None:
    """Return why a file of this length (B) is rejected, None if it is accepted."""
    if total_bytes == 0:
        return EMPTY
    if max_bytes is None or total_bytes is None or total_bytes <= max_bytes:
        return None
    return too_large(total_bytes, max_bytes)


def too_large(total_bytes: int | None, max_bytes: int) -> RejectSource:
    """Return the rejection of a file with more than `max_bytes`; its length may be unknown."""
    reason = f"it is longer than the {max_bytes} bytes that max_bytes allows"
    if total_bytes is not None:
        reason = f"the file has {total_bytes} bytes, and max_bytes allows {max_bytes}"
    return RejectSource(GiveUpReason.TOO_LARGE, Failure(FailureKind.REFUSED, reason))


def _decide_body(
    head: FullResponse | PartialResponse,
    headers: Mapping[str, str],
    request: ActiveRequest,
    source: SourceState,
    received: ByteRangeSet,
    *,
    has_other_responses: bool,
) -> ResponseDecision:
    is_same = source.matches(head.validators, received.stop)
    if isinstance(head, PartialResponse):
        return _decide_partial(head, request, source, is_same=is_same)
    if is_same and request.has_if_range and source.uses_if_range:
        # Some origins answer 200 to every If-Range; the ETag of a 206 identifies the version too.
        return RepeatRequest(without_ranges=False)
    if is_same and has_other_responses:
        return ConnectionRefused()
    ignores_range = request.is_ranged and (is_same or not request.has_if_range)
    return AcceptBody(
        head.validators,
        ByteRange(0, head.validators.total_bytes or UNBOUNDED),
        supports_ranges=False if ignores_range else None,
        may_support_ranges=headers.get("accept-ranges", "").strip().lower() != "none",
        claim=head.claim,
    )


def _decide_partial(
    head: PartialResponse, request: ActiveRequest, source: SourceState, *, is_same: bool
) -> ResponseDecision:
    is_first_of_many = source.validators is None and request.body_stop < UNBOUNDED
    is_whole = head.byte_range == ByteRange(0, head.validators.total_bytes or 0)
    if is_first_of_many and not (is_whole or head.validators.is_strong):
        return RepeatRequest(without_ranges=True)  # no other bytes could be joined to these
    if source.validators is not None and not is_same and head.byte_range.start > 0:
        return StartOver()
    return AcceptBody(head.validators, head.byte_range, supports_ranges=True, claim=head.claim)


def _decide_unsatisfiable(
    total_bytes: int | None,
    headers: Mapping[str, str],
    request: ActiveRequest,
    source: SourceState,
    received: ByteRangeSet,
) -> ResponseDecision:
    """Decide on a 416, which may mark the end of a file of unknown length.

    For a byte inside the file it says nothing of the file: the origin refuses a range that it does
    not understand, or one that ends past the file. A full response shows whether it is the same.
    """
    known = source.validators
    if known is not None and known.total_bytes is None and request.has_if_range:
        # With If-Range a 416 is about the version in transfer (RFC 9110 section 13.1.5): if that
        # ends where the received bytes end, the file is complete.
        is_same = "etag" not in headers or known.is_same_as(
            Validators.from_response(headers, total_bytes, 0.0)
        )
        if is_same and received == ByteRangeSet([ByteRange(0, total_bytes or 0)]):
            return AlreadyComplete(replace(known, total_bytes=total_bytes))
    is_shorter = total_bytes is not None and total_bytes <= request.start
    known_bytes = None if known is None else known.total_bytes
    if not is_shorter and (known_bytes is None or total_bytes in {None, known_bytes}):
        return RepeatRequest(without_ranges=True)
    return StartOver(without_ranges=True)
