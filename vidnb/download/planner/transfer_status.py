"""What a transfer says of itself while it runs and afterwards."""

from vidnb.download.planner.retry_budget import RetryBudget
from vidnb.download.planner.scheduler import ConnectionScheduler
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["TransferStatus"]


class TransferStatus:
    """The readable side of a `Transfer`, made of what its rooms know."""

    def __init__(
        self, source: SourceState, scheduler: ConnectionScheduler, retry_budget: RetryBudget
    ) -> None:
        self.is_done = False
        self._source = source
        self._scheduler = scheduler
        self._retry_budget = retry_budget

    @property
    def version(self) -> Validators | None:
        """The version that is being fetched, None before an answer named one."""
        return self._source.version

    @property
    def stored(self) -> ByteRangeSet:
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
        return self._retry_budget.failures

    @property
    def restarts(self) -> int:
        """How often the file at the origin turned out to be another one."""
        return self._retry_budget.restarts

    @property
    def fills(self) -> bool:
        """Whether all of the file is fetched, and not only what readers need."""
        return self._scheduler.fills

    def may_read(self, fetch_id: int) -> bool:
        """Tell whether more of a fetch should be read now, or left to wait for a reader's bytes."""
        return self._scheduler.may_read(fetch_id)

    @property
    def peak_connections(self) -> int:
        """The most connections there were at once."""
        return self._scheduler.peak

    @property
    def refused_connections(self) -> int | None:
        """How many connections worked when the host refused one more; None if it never did.

        Refused is: answered with a status, answered without the range that was asked for, or not
        let in at all. A connection that broke was not refused.
        """
        return self._scheduler.refused
