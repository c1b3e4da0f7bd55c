"""The headers of one request for a file, or for a part of it, by what is known of its source."""

from dataclasses import dataclass

from vidnb.download.planner.source_state import SourceState
from vidnb.http.headers import format_range

__all__ = ["PlannedRequest", "plan_request"]


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """The headers beside the caller's own, and what kinds of them there are."""

    headers: tuple[tuple[str, str], ...]
    is_ranged: bool
    has_if_range: bool
    is_conditional: bool


def plan_request(
    source: SourceState, start: int, stop: int | None, *, wants_range: bool
) -> PlannedRequest:
    """Ask from byte `start` on, up to `stop` if there is one; without a range, for all of it.

    A version that is whole, or that a finished file has, is asked for only if it has changed.
    """
    headers: list[tuple[str, str]] = []
    version = source.version
    known = version if source.is_whole else source.finished if version is None else None
    if known is not None:
        headers += known.if_changed()
    is_conditional = bool(headers)
    is_ranged = wants_range and source.answers_ranges is not False and not source.is_whole
    if_range = version.if_range() if version is not None and source.sends_if_range else None
    if is_ranged:
        headers.append(("Range", format_range(start, stop)))
        if if_range is not None:
            headers.append(("If-Range", if_range))
    return PlannedRequest(
        tuple(headers),
        is_ranged=is_ranged,
        has_if_range=is_ranged and if_range is not None,
        is_conditional=is_conditional,
    )
