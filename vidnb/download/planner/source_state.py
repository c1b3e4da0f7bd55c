"""What a transfer knows about its source, and the request headers that follow from it."""

from dataclasses import dataclass, field

from vidnb.http.headers import format_range
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["PlannedRequest", "SourceState"]


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """The headers of a request that are added to the caller's own, and their kinds."""

    headers: tuple[tuple[str, str], ...]
    is_ranged: bool
    has_if_range: bool
    is_conditional: bool


@dataclass(slots=True)
class SourceState:
    """The version in transfer, its stored bytes, and how the origin handles range requests.

    `validators` identify the version in transfer, None before a response named one;
    `published_validators` that of a published file of an earlier run, if there is one;
    `is_superseded`: the origin has named a version that is certainly another one.
    `supports_ranges` is None until it is known; `may_support_ranges`: a 200 named a strong
    validator and a length, and did not say `Accept-Ranges: none`. `generation` counts the attempts
    to build the file from an empty part file, from 0. `claim`: a header claims a coding of the
    bytes that only the first of them can disprove (`ContentCoding`).
    """

    validators: Validators | None = None
    stored: ByteRangeSet = field(default_factory=ByteRangeSet)
    published_validators: Validators | None = None
    is_superseded: bool = False
    generation: int = 0
    supports_ranges: bool | None = None
    may_support_ranges: bool = False
    uses_if_range: bool = True
    is_size_verified: bool = True
    claim: str | None = None

    @property
    def total_bytes(self) -> int | None:
        """The length of the file (B), None while it is unknown."""
        return self.validators.total_bytes if self.validators is not None else None

    @property
    def has_strong_validators(self) -> bool:
        """Whether bytes of two responses may be joined."""
        return self.validators is not None and self.validators.is_strong

    @property
    def can_resume(self) -> bool:
        """Whether a request for the missing bytes alone may succeed."""
        return self.supports_ranges is not False and self.has_strong_validators

    @property
    def can_split(self) -> bool:
        """Whether the origin has proved that it serves any range of the file."""
        return bool(self.supports_ranges) and self.has_strong_validators

    def max_requests(self, limit: int, *, is_adaptive: bool) -> int:
        """Return how many requests may be in flight, at most `limit`.

        While range support is unknown, an adaptive transfer may try it with a second one.
        """
        if not self.has_strong_validators or not self.total_bytes:
            return 1
        if self.supports_ranges is None and is_adaptive and self.may_support_ranges:
            return min(2, limit)
        return limit if self.supports_ranges else 1

    @property
    def reusable_validators(self) -> Validators | None:
        """The validators of the published file, while nothing shows that the source is another."""
        return None if self.is_superseded else self.published_validators

    @property
    def is_revalidating(self) -> bool:
        """Whether the next response is to tell if the published file is still current."""
        return self.validators is None and self.reusable_validators is not None

    def compare_with_published(self, validators: Validators) -> None:
        """Note if a response names a version that is certainly not the published one."""
        published = self.published_validators
        if published is not None and not published.may_be_same_as(validators):
            self.is_superseded = True

    @property
    def is_resumable(self) -> bool:
        """Whether another process could continue from `stored`."""
        return self.has_strong_validators and bool(self.stored)

    @property
    def is_complete(self) -> bool:
        """Whether every byte of the file is stored."""
        total = self.total_bytes
        return total is not None and self.stored.covers(ByteRange(0, total))

    def matches(self, validators: Validators, received_stop: int) -> bool:
        """Return whether `validators` identify the version in transfer.

        A version that ends before the received bytes do is a different one.
        """
        total = validators.total_bytes
        is_shorter = total is not None and total < received_stop
        known = self.validators
        return known is not None and known.is_same_as(validators) and not is_shorter

    def reset(self) -> None:
        """Forget the version and its bytes, and begin a new generation."""
        self.generation += 1
        self.validators = None
        self.stored = ByteRangeSet()
        self.is_size_verified = True
        self.claim = None

    def plan_request(self, start: int, stop: int | None, *, wants_range: bool) -> PlannedRequest:
        """Plan a request for the bytes from `start` to `stop` (None: to the end).

        Without `wants_range` it is for the whole file. It is conditional where all bytes are
        stored, or where a published file exists and no version is in transfer.
        """
        headers: list[tuple[str, str]] = []
        validators = self.validators
        known = validators
        if not self.is_complete:
            known = self.published_validators if validators is None else None
        if known is not None:
            headers += known.conditional_headers()
        is_conditional = bool(headers)
        is_ranged = wants_range and self.supports_ranges is not False and not self.is_complete
        if_range = validators.if_range() if validators and self.uses_if_range else None
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
