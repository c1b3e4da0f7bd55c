"""What a transfer knows of its source, and what it has of it."""

from dataclasses import dataclass, field

from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["SourceState"]


@dataclass(slots=True)
class SourceState:
    """The version that is being fetched, the bytes of it that are stored, how the origin answers.

    `finished` is the version of the finished file, if there is one. `answers_ranges` is None until
    it is known; `offers_ranges` says that a plain answer spoke of a strong version and a length
    and did not say that the origin knows no ranges. Every new `generation` begins from nothing.
    """

    version: Validators | None = None
    stored: ByteRangeSet = field(default_factory=ByteRangeSet)
    finished: Validators | None = None
    generation: int = 0
    answers_ranges: bool | None = None
    offers_ranges: bool = False
    sends_if_range: bool = True
    is_size_verified: bool = True

    @property
    def total_bytes(self) -> int | None:
        """The length of the file (B) as far as the origin has told it."""
        return self.version.total_bytes if self.version is not None else None

    @property
    def has_strong_version(self) -> bool:
        """Whether bytes of two answers may be joined."""
        return self.version is not None and self.version.is_strong

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the file is stored."""
        total = self.total_bytes
        return total is not None and self.stored.covers(ByteRange(0, total))

    def is_same(self, version: Validators, kept_stop: int) -> bool:
        """Tell whether `version` is this one; one that ends before the bytes we have is not."""
        ends_early = version.total_bytes is not None and version.total_bytes < kept_stop
        return self.version is not None and self.version.is_same_as(version) and not ends_early

    def forget(self) -> None:
        """Begin anew: what is stored is worth nothing any more."""
        self.generation += 1
        self.version = None
        self.stored = ByteRangeSet()
        self.is_size_verified = True
