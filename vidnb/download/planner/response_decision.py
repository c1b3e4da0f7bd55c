"""What an answer's head means for a transfer: the judgement between `opening` and the acts.

`opening` reads a head by itself; here it is weighed against what is known of the source, what was
asked, and whether other connections bring the file anyway. Nothing is changed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vidnb.download.planner import response_head
from vidnb.download.planner.events import GiveUpReason
from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

__all__ = [
    "EMPTY",
    "AcceptBody",
    "AlreadyComplete",
    "ConnectionRefused",
    "RejectSource",
    "RepeatRequest",
    "RequestFailed",
    "ResponseDecision",
    "SourceUnchanged",
    "StartOver",
    "decide",
    "size_refusal",
    "too_large",
]

EMPTY = Failure(FailureKind.SHORT, "the origin sent no bytes")


@dataclass(frozen=True, slots=True)
class AcceptBody:
    """Its bytes, `byte_range` of `version`, are the file's; a new version begins the file anew.

    `answers_ranges` and `offers_ranges`, as in `SourceState`, are what it proves and what it says; None
    where it does not.
    """

    version: Validators
    byte_range: ByteRange
    answers_ranges: bool | None = None
    offers_ranges: bool | None = None


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """Drop it and ask in another way: without If-Range, or without any range from now on."""

    without_ranges: bool


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """Drop it: the host wanted no further connection, and the others bring the file."""


@dataclass(frozen=True, slots=True)
class StartOver:
    """Drop everything: the file is another one. `without_ranges`: and ranges are no use."""

    without_ranges: bool = False


@dataclass(frozen=True, slots=True)
class AlreadyComplete:
    """Every byte of `version` is here already."""

    version: Validators


@dataclass(frozen=True, slots=True)
class SourceUnchanged:
    """The finished file of an earlier run is still the source's version."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """No bytes to be had from this answer; a later one may do better."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class RejectSource:
    """Give the transfer up."""

    why: GiveUpReason
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


def decide(
    said: response_head.ResponseHead,
    headers: Mapping[str, str],
    fetch: ActiveRequest,
    source: SourceState,
    kept: ByteRangeSet,
    *,
    others_are_open: bool,
    max_bytes: int | None,
) -> ResponseDecision:
    """Judge the head of the answer to `fetch`. `kept` are the bytes that are here."""
    match said:
        case response_head.FullResponse(version) | response_head.PartialResponse(version):
            is_same = source.is_same(version, kept.stop)
            return size_refusal(version.total_bytes, max_bytes) or (
                _judge_part(said, fetch, source, is_same=is_same)
                if isinstance(said, response_head.PartialResponse)
                else _judge_whole(
                    version, headers, fetch, source, is_needed=not others_are_open, is_same=is_same
                )
            )
        case response_head.RangeNotSatisfiable(total_bytes):
            if source.version is None and total_bytes == 0:
                return RejectSource(GiveUpReason.EMPTY, EMPTY)
            is_at_end = _judge_end(total_bytes, headers, fetch, source.version, kept)
            return ConnectionRefused() if others_are_open else is_at_end
        case response_head.NotModified():
            # Where a version is being fetched, every byte was here, and it is still the source's.
            return SourceUnchanged() if source.version is None else AlreadyComplete(source.version)
        case response_head.InvalidPartialResponse(failure) if fetch.is_ranged:
            return ConnectionRefused() if others_are_open else RepeatRequest(without_ranges=True)
        case response_head.FailedResponse(failure) if _is_hopeless(failure) and not others_are_open:
            return RejectSource(GiveUpReason.MISBEHAVED, failure)
    return RequestFailed(said.failure)


def _is_hopeless(failure: Failure) -> bool:
    return failure.kind is FailureKind.MISBEHAVED


def size_refusal(total_bytes: int | None, max_bytes: int | None) -> RejectSource | None:
    """Return why a file of this length is not fetched, None if it is."""
    if total_bytes == 0:
        return RejectSource(GiveUpReason.EMPTY, EMPTY)
    if max_bytes is None or total_bytes is None or total_bytes <= max_bytes:
        return None
    return too_large(total_bytes, max_bytes)


def too_large(total_bytes: int | None, max_bytes: int) -> RejectSource:
    """Return why a file of such a size, None where nobody has told it, is not fetched."""
    reason = f"it goes on after the {max_bytes} bytes that max_bytes allows"
    if total_bytes is not None:
        reason = f"the file has {total_bytes} bytes, and max_bytes allows {max_bytes}"
    return RejectSource(GiveUpReason.TOO_LARGE, Failure(FailureKind.REFUSED, reason))


def _judge_part(
    said: response_head.PartialResponse, fetch: ActiveRequest, source: SourceState, *, is_same: bool
) -> ResponseDecision:
    is_first_of_many = source.version is None and fetch.body_stop < UNBOUNDED
    is_whole = said.byte_range == ByteRange(0, said.version.total_bytes or 0)
    if is_first_of_many and not (is_whole or said.version.is_strong):
        return RepeatRequest(without_ranges=True)  # nothing could ever be joined to it
    if source.version is not None and not is_same and said.byte_range.start > 0:
        return StartOver()
    return AcceptBody(said.version, said.byte_range, answers_ranges=True)


def _judge_whole(
    version: Validators,
    headers: Mapping[str, str],
    fetch: ActiveRequest,
    source: SourceState,
    *,
    is_needed: bool,
    is_same: bool,
) -> ResponseDecision:
    if is_same and fetch.has_if_range and source.sends_if_range:
        # Some origins answer 200 to every If-Range; the ETag of the 206 will tell as well.
        return RepeatRequest(without_ranges=False)
    if is_same and not is_needed:
        return ConnectionRefused()
    return AcceptBody(
        version,
        ByteRange(0, version.total_bytes or UNBOUNDED),
        answers_ranges=(False if fetch.is_ranged and (is_same or not fetch.has_if_range) else None),
        offers_ranges=headers.get("accept-ranges", "").strip().lower() != "none",
    )


def _judge_end(
    total_bytes: int | None,
    headers: Mapping[str, str],
    fetch: ActiveRequest,
    version: Validators | None,
    kept: ByteRangeSet,
) -> ResponseDecision:
    """Judge a 416, which may be the end of a file whose length nobody had told."""
    if version is not None and version.total_bytes is None and fetch.has_if_range:
        # With If-Range a 416 speaks of our version (RFC 9110 section 13.1.5): if it ends
        # where our bytes end, they were all there is.
        is_ours = "etag" not in headers or version.is_same_as(
            Validators.of_answer(headers, total_bytes, 0.0)
        )
        if is_ours and kept == ByteRangeSet([ByteRange(0, total_bytes or 0)]):
            return AlreadyComplete(replace(version, total_bytes=total_bytes))
    return StartOver(without_ranges=True)
