"""`BatchProgress`: the counts of a batch of downloads at one moment, as a display shows them."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BatchProgress", "BatchState"]

BatchState = Literal["running", "paused", "cancelled", "done"]


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """What a batch has done so far.

    Each row counts once: in `done` (complete by this run), in `skipped` (complete before, or the
    duplicate of another row) or in `failed`; the others of `total` (None: unknown, as the table is
    read lazily) are left. `size_bytes` (B) and `bytes_per_s` (B/s, of the last seconds) are of the
    bytes that this run received. `state` is "done" also where rows failed, "cancelled" only when
    nothing runs any more.

    `slowed_hosts` are the hosts that asked for fewer requests, each with the time (s from now) to
    the next request (0: fewer at once, without a pause). `slowest` are the rows that have run the
    longest, each as its file name and its time so far (s), the longest first. `failures` are the
    sentences of the failed rows, without what differs from row to row, each with its number of
    rows, the most frequent first (see `FailureGroups`).
    """

    total: int | None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    size_bytes: int = 0
    bytes_per_s: float = 0.0
    slowed_hosts: tuple[tuple[str, float], ...] = ()
    slowest: tuple[tuple[str, float], ...] = ()
    failures: tuple[tuple[str, int], ...] = ()
    state: BatchState = "running"
    elapsed_s: float = 0.0

    @property
    def ended(self) -> int:
        """The number of rows that have an outcome."""
        return self.done + self.skipped + self.failed

    @property
    def left(self) -> int | None:
        """The number of rows without an outcome; None while the total is unknown."""
        return None if self.total is None else max(0, self.total - self.ended)

    @property
    def fraction(self) -> float | None:
        """The fraction of rows with an outcome, 0 to 1; None while the total is unknown."""
        if self.total is None:
            return None
        return min(1.0, self.ended / self.total) if self.total else 1.0
