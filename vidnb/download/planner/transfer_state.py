"""The state of a transfer: its source, requests in flight and retry budget."""

from vidnb.download.planner.events import Command, Complete, GiveUp, Restart
from vidnb.download.planner.response_decision import RejectSource
from vidnb.download.planner.retry import GiveUpReason, RetryBudget, RetryPolicy
from vidnb.download.planner.scheduler import ConnectionScheduler
from vidnb.download.planner.segments import MIN_SEGMENT_BYTES
from vidnb.download.planner.source_state import SourceState
from vidnb.http.ranges import ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["READ_AHEAD_BYTES", "REVALIDATION_TIMEOUT_S", "TransferState"]

READ_AHEAD_BYTES = 2**20
"""A waiting reader's byte at most this far ahead of a request gets no request of its own (B)."""


REVALIDATION_TIMEOUT_S = 10.0
"""The longest wait (s) for the response that tells whether the published file is current."""


class TransferState:
    """What is known of a transfer, and the operations that its event handlers share.

    `validators` and `stored` are those of an interrupted run (both or neither; only bytes under
    strong validators are resumed). `published_validators` are those of a published file.
    `max_bytes` limits the size of the file. `max_connections` limits the requests in flight: N
    opens up to N once the origin has proved range support, None as many as raise the throughput.
    `host_limit` is the known number of connections that the host accepts. `is_whole_wanted` False:
    only what readers need is requested, until a `DemandChanged`; such a transfer may stay idle.
    """

    def __init__(
        self,
        *,
        policy: RetryPolicy,
        validators: Validators | None = None,
        stored: ByteRangeSet | None = None,
        published_validators: Validators | None = None,
        max_bytes: int | None = None,
        max_connections: int | None = None,
        host_limit: int | None = None,
        min_segment_bytes: int = MIN_SEGMENT_BYTES,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        is_whole_wanted: bool = True,
    ) -> None:
        self.is_done = False
        self.source = SourceState(published_validators=published_validators)
        if validators is not None and validators.is_strong and stored:
            self.source = SourceState(validators, stored)
        self._scheduler = ConnectionScheduler(
            self.source,
            max_connections=max_connections,
            host_limit=host_limit,
            min_segment_bytes=min_segment_bytes,
            read_ahead_bytes=read_ahead_bytes,
            is_whole_wanted=is_whole_wanted,
        )
        self._segments = self._scheduler.segments
        self._retry_budget = RetryBudget(policy, self.source.stored.size_bytes)
        self._max_bytes = max_bytes

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return self._retry_budget.failures

    @property
    def restarts(self) -> int:
        """How often the source file changed."""
        return self._retry_budget.restarts

    @property
    def is_whole_wanted(self) -> bool:
        """Whether the whole file is requested, and not only what readers need."""
        return self._scheduler.is_whole_wanted

    @property
    def peak_connections(self) -> int:
        """The most requests that were in flight at once."""
        return self._scheduler.peak_connections

    @property
    def observed_host_limit(self) -> int | None:
        """How many connections worked when the host refused one more; None if it never did.

        Refused: an error status, a response without the requested range, or no connection. A
        connection that broke was not refused.
        """
        return self._scheduler.observed_host_limit

    @property
    def head_timeout_s(self) -> float | None:
        """The longest wait for the next response head (s); None: the idle timeout alone limits it.

        While a file on disk is revalidated a slow origin counts as one that cannot be reached.
        """
        return REVALIDATION_TIMEOUT_S if self.source.is_revalidating else None

    def should_read(self, request_id: int) -> bool:
        """Return whether to read more of a response now; see `ConnectionScheduler.should_read`."""
        return self._scheduler.should_read(request_id)

    def _complete_if_stored(self) -> tuple[Command, ...]:
        source = self.source
        if source.validators is None or not source.is_complete:
            return ()
        return self._finish(
            Complete(
                source.validators, is_size_verified=source.is_size_verified, claim=source.claim
            )
        )

    def _finish(self, outcome: Complete | GiveUp) -> tuple[Command, ...]:
        self.is_done = True
        return (*self._scheduler.cancel_all(), outcome)

    def _set_range_support(self, *, is_supported: bool) -> None:
        self.source.supports_ranges = is_supported
        self._segments.is_single_stream = self._segments.is_single_stream or not is_supported

    def _count_restart(self) -> tuple[Command, ...]:
        """Count a change of the source; return the last commands if it was one too many."""
        self._scheduler.limit = 1  # parallel requests may have received different versions
        failure = self._retry_budget.record_restart()
        return () if failure is None else self._give_up(RejectSource(GiveUpReason.CHANGED, failure))

    def _reset(self) -> Restart:
        self.source.reset()
        self._segments.received = ByteRangeSet()
        self._scheduler.readers.end_waits()
        return Restart(self.source.generation)

    def _give_up(self, rejected: RejectSource) -> tuple[Command, ...]:
        """End without a new file; a published one is reused unless the source is another by now."""
        published = self.source.reusable_validators
        if published is not None:
            return self._finish(Complete(published, is_unchanged=True, failure=rejected.failure))
        return self._finish(GiveUp(rejected.reason, rejected.failure, self._retry_budget.attempts))

    def _dispatch(self) -> tuple[Command, ...]:
        return () if self.is_done else tuple(self._scheduler.dispatch())
