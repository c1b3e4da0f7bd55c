"""What an answer's head means for a transfer: the judgement between `opening` and the acts.

`opening` reads a head by itself; here it is weighed against what is known of the source, what was
asked, and whether other connections bring the file anyway. Nothing is changed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vidnb.core import opening
from vidnb.core.alphabet import Why
from vidnb.core.board import ENDLESS, Fetching
from vidnb.core.retry import Failure, FailureKind
from vidnb.core.source import Source
from vidnb.core.spans import Span, SpanSet
from vidnb.core.version import Version

__all__ = [
    "EMPTY",
    "Adopt",
    "AllThere",
    "AskAgain",
    "Fail",
    "Refuse",
    "Refused",
    "StartOver",
    "Unchanged",
    "Verdict",
    "judge",
    "size_refusal",
    "too_large",
]

EMPTY = Failure(FailureKind.SHORT, "the origin sent no bytes")


@dataclass(frozen=True, slots=True)
class Adopt:
    """Its bytes, `span` of `version`, are the file's; a new version begins the file anew.

    `answers_ranges` and `offers_ranges`, as in `Source`, are what it proves and what it says; None
    where it does not.
    """

    version: Version
    span: Span
    answers_ranges: bool | None = None
    offers_ranges: bool | None = None


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Drop it and ask in another way: without If-Range, or without any range from now on."""

    without_ranges: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Drop it: the host wanted no further connection, and the others bring the file."""


@dataclass(frozen=True, slots=True)
class StartOver:
    """Drop everything: the file is another one. `without_ranges`: and ranges are no use."""

    without_ranges: bool = False


@dataclass(frozen=True, slots=True)
class AllThere:
    """Every byte of `version` is here already."""

    version: Version


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The finished file of an earlier run is still the source's version."""


@dataclass(frozen=True, slots=True)
class Fail:
    """No bytes to be had from this answer; a later one may do better."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Refuse:
    """Give the transfer up."""

    why: Why
    failure: Failure


Verdict = Adopt | AskAgain | Refused | StartOver | AllThere | Unchanged | Fail | Refuse


def judge(
    said: opening.Opening,
    headers: Mapping[str, str],
    fetch: Fetching,
    source: Source,
    kept: SpanSet,
    *,
    others_are_open: bool,
    max_bytes: int | None,
) -> Verdict:
    """Judge the head of the answer to `fetch`. `kept` are the bytes that are here."""
    match said:
        case opening.Whole(version) | opening.Part(version):
            is_same = source.is_same(version, kept.stop)
            return size_refusal(version.total_bytes, max_bytes) or (
                _judge_part(said, fetch, source, is_same=is_same)
                if isinstance(said, opening.Part)
                else _judge_whole(
                    version, headers, fetch, source, is_needed=not others_are_open, is_same=is_same
                )
            )
        case opening.Unsatisfiable(total_bytes):
            if source.version is None and total_bytes == 0:
                return Refuse(Why.EMPTY, EMPTY)
            is_at_end = _judge_end(total_bytes, headers, fetch, source.version, kept)
            return Refused() if others_are_open else is_at_end
        case opening.Unchanged():
            # Where a version is being fetched, every byte was here, and it is still the source's.
            return Unchanged() if source.version is None else AllThere(source.version)
        case opening.Untrue(failure) if fetch.is_ranged:
            return Refused() if others_are_open else AskAgain(without_ranges=True)
        case opening.Failed(failure) if _is_hopeless(failure) and not others_are_open:
            return Refuse(Why.MISBEHAVED, failure)
    return Fail(said.failure)


def _is_hopeless(failure: Failure) -> bool:
    return failure.kind is FailureKind.MISBEHAVED


def size_refusal(total_bytes: int | None, max_bytes: int | None) -> Refuse | None:
    """Return why a file of this length is not fetched, None if it is."""
    if total_bytes == 0:
        return Refuse(Why.EMPTY, EMPTY)
    if max_bytes is None or total_bytes is None or total_bytes <= max_bytes:
        return None
    return too_large(total_bytes, max_bytes)


def too_large(total_bytes: int | None, max_bytes: int) -> Refuse:
    """Return why a file of such a size, None where nobody has told it, is not fetched."""
    reason = f"it goes on after the {max_bytes} bytes that max_bytes allows"
    if total_bytes is not None:
        reason = f"the file has {total_bytes} bytes, and max_bytes allows {max_bytes}"
    return Refuse(Why.TOO_LARGE, Failure(FailureKind.REFUSED, reason))


def _judge_part(said: opening.Part, fetch: Fetching, source: Source, *, is_same: bool) -> Verdict:
    is_first_of_many = source.version is None and fetch.body_stop < ENDLESS
    is_whole = said.span == Span(0, said.version.total_bytes or 0)
    if is_first_of_many and not (is_whole or said.version.is_strong):
        return AskAgain(without_ranges=True)  # nothing could ever be joined to it
    if source.version is not None and not is_same and said.span.start > 0:
        return StartOver()
    return Adopt(said.version, said.span, answers_ranges=True)


def _judge_whole(
    version: Version,
    headers: Mapping[str, str],
    fetch: Fetching,
    source: Source,
    *,
    is_needed: bool,
    is_same: bool,
) -> Verdict:
    if is_same and fetch.has_if_range and source.sends_if_range:
        # Some origins answer 200 to every If-Range; the ETag of the 206 will tell as well.
        return AskAgain(without_ranges=False)
    if is_same and not is_needed:
        return Refused()
    return Adopt(
        version,
        Span(0, version.total_bytes or ENDLESS),
        answers_ranges=(False if fetch.is_ranged and (is_same or not fetch.has_if_range) else None),
        offers_ranges=headers.get("accept-ranges", "").strip().lower() != "none",
    )


def _judge_end(
    total_bytes: int | None,
    headers: Mapping[str, str],
    fetch: Fetching,
    version: Version | None,
    kept: SpanSet,
) -> Verdict:
    """Judge a 416, which may be the end of a file whose length nobody had told."""
    if version is not None and version.total_bytes is None and fetch.has_if_range:
        # With If-Range a 416 speaks of our version (RFC 9110 section 13.1.5): if it ends
        # where our bytes end, they were all there is.
        is_ours = "etag" not in headers or version.is_same_as(
            Version.of_answer(headers, total_bytes, 0.0)
        )
        if is_ours and kept == SpanSet([Span(0, total_bytes or 0)]):
            return AllThere(replace(version, total_bytes=total_bytes))
    return StartOver(without_ranges=True)
