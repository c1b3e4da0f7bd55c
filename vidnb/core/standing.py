"""What a transfer says of itself while it runs and afterwards."""

from vidnb.core.crew import Crew
from vidnb.core.patience import Patience
from vidnb.core.source import Source
from vidnb.core.spans import SpanSet
from vidnb.core.version import Version

__all__ = ["Standing"]


class Standing:
    """The readable side of a `Transfer`, made of what its rooms know."""

    def __init__(self, source: Source, crew: Crew, patience: Patience) -> None:
        self.is_done = False
        self._source = source
        self._crew = crew
        self._patience = patience

    @property
    def version(self) -> Version | None:
        """The version that is being fetched, None before an answer named one."""
        return self._source.version

    @property
    def stored(self) -> SpanSet:
        """What is in the part file."""
        return self._source.stored

    @property
    def generation(self) -> int:
        """The number of the attempt to build the file from nothing, from 0."""
        return self._source.generation

    @property
    def answers_ranges(self) -> bool | None:
        """Whether the origin answers ranges truly, None while that is unknown."""
        return self._source.answers_ranges

    @property
    def total_bytes(self) -> int | None:
        """The length of the file (B) as far as the origin has told it."""
        return self._source.total_bytes

    @property
    def is_resumable(self) -> bool:
        """Whether another process could go on from `stored`."""
        return self._source.has_strong_version and bool(self.stored)

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return self._patience.failures

    @property
    def restarts(self) -> int:
        """How often the file at the origin turned out to be another one."""
        return self._patience.restarts

    @property
    def fills(self) -> bool:
        """Whether all of the file is fetched, and not only what readers need."""
        return self._crew.fills

    def may_read(self, fetch_id: int) -> bool:
        """Tell whether more of a fetch should be read now, or left to wait for a reader's bytes."""
        return self._crew.may_read(fetch_id)

    @property
    def peak_connections(self) -> int:
        """The most connections there were at once."""
        return self._crew.peak

    @property
    def refused_connections(self) -> int | None:
        """How many connections worked when the host refused one more; None if it never did.

        Refused is: answered with a status, answered without the range that was asked for, or not
        let in at all. A connection that broke was not refused.
        """
        return self._crew.refused
