"""How much more a transfer puts up with: failures without progress, changes of version.

Both are counted and bounded by the `RetryPolicy`, so every transfer ends. Progress refills the
one; nothing refills the other.
"""

from dataclasses import dataclass

from vidnb.download.planner.events import GiveUpReason
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy

__all__ = ["RetryBudget"]


@dataclass(slots=True)
class RetryBudget:
    """The counts of one transfer; `high_water_bytes` is the most it ever had of this version."""

    policy: RetryPolicy
    high_water_bytes: int = 0
    failures: int = 0
    in_a_row: int = 0
    restarts: int = 0
    _has_misbehaved: bool = False

    @property
    def attempts(self) -> int:
        """How many attempts in a row brought nothing, the running one included."""
        return max(self.in_a_row, 1)

    def progress(self, resumable_bytes: int) -> None:
        """Note how much is kept; more than ever before refills the budget."""
        if resumable_bytes > self.high_water_bytes:
            self.high_water_bytes = resumable_bytes
            self.in_a_row = 0
            self._has_misbehaved = False

    def fail(self, failure: Failure, jitter: float) -> float | GiveUpReason:
        """Count a failure that left nothing under way; return the wait (s), or why to give up."""
        self.in_a_row += 1
        if failure.kind is FailureKind.MISBEHAVED:
            # Once may be a proxy's bad moment; twice is how this origin answers.
            if self._has_misbehaved:
                return GiveUpReason.MISBEHAVED
            self._has_misbehaved = True
        delay_s = self.policy.delay_s(failure, self.in_a_row, jitter)
        return GiveUpReason.FAILED if delay_s is None else delay_s

    def restart(self) -> Failure | None:
        """Count a change of version; return the failure if it was one too many."""
        self.restarts += 1
        self.high_water_bytes = 0  # what the new version brings is progress from its first byte
        if self.restarts <= self.policy.attempts:
            return None
        return Failure(FailureKind.CHANGED, f"the file at the origin changed {self.restarts} times")
