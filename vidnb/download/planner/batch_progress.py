"""`BatchProgress`: the counts of a batch of downloads at one moment; failures by sentence."""

import re
from dataclasses import dataclass
from typing import Final, Literal, Protocol

__all__ = ["BatchObserver", "BatchProgress", "BatchState", "FailureGroups", "general_sentence"]

BatchState = Literal["running", "paused", "cancelled", "done"]

_MOST_GROUPS: Final = 100
_OTHERS: Final = "other errors"
_VARYING: Final = (
    (re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s]*[^\s;:,.)\]}>\"'”]"), "URL"),
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), "…"),  # a digest; MD5 has 32 digits
    (re.compile(r"\b[0-9]+(?:\.[0-9]+)? (?=(?:B|[kMGTPE]B|bytes?|s|seconds?)\b)"), "N "),
)
"""What differs from row to row in one kind of failure, and what stands for it."""


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


class BatchObserver(Protocol):
    """Follows a batch: `DownloadBatch.add_display` takes one. No method raises.

    `show` is called at once, `update` at most five times a second on a thread that may block,
    `finish` once at the end, before `result()` and `await` return.
    """

    def show(self) -> None:
        """Begin."""

    def update(self) -> None:
        """Read the batch's `progress`."""

    def finish(self) -> None:
        """Read the batch's final `progress`."""


def general_sentence(sentence: str, path: str = "") -> str:
    """Return an error's sentence without what differs from row to row.

    URLs become `URL`, `path` (the row's file) and its folder `FILE` and `FOLDER`, digests `…`,
    amounts in bytes and seconds `N`. A status stays, since it says which failure it is.
    """
    folder = path.rpartition("/")[0]
    for known, word in ((path, "FILE"), (folder, "FOLDER")):
        if len(known) > 1:
            sentence = sentence.replace(known, word)
    for pattern, word in _VARYING:
        sentence = pattern.sub(word, sentence)
    return sentence


class FailureGroups:
    """Counts failures by their general sentence, in bounded memory."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, sentence: str, path: str = "") -> None:
        """Count the failure of a row whose file is `path`."""
        key = general_sentence(sentence, path)
        if key not in self._counts and len(self._counts) >= _MOST_GROUPS:
            key = _OTHERS
        self._counts[key] = self._counts.get(key, 0) + 1

    def most_frequent(self, count: int = _MOST_GROUPS + 1) -> tuple[tuple[str, int], ...]:
        """Return at most `count` sentences with their numbers of rows, the most frequent first."""
        ordered = sorted(self._counts.items(), key=lambda pair: -pair[1])
        return tuple(ordered[:count])
