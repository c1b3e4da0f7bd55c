"""When to try again, and how long to wait first.

A policy is a frozen table of limits and one pure judgement, `RetryPolicy.delay_s`. It knows no
clock and no dice: the caller counts the failures, throws the jitter and does the waiting.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["RETRIED_STATUSES", "Failure", "FailureKind", "RetryPolicy"]

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses that tell of a passing state: RFC 9110 15.5.9, 15.6.1 and 15.6.3-5, RFC 6585 4."""

_MAX_DOUBLINGS = 60  # beyond any sensible ceiling, and far from a float's own limit


class FailureKind(Enum):
    """What went wrong with one attempt, as far as trying again is concerned."""

    CONNECT = auto()
    """No connection came about: name, route, refusal or TLS."""
    LOST = auto()
    """A connection broke before the answer was whole."""
    TIMEOUT = auto()
    """Nothing arrived within the idle timeout."""
    STATUS = auto()
    """The origin answered with a status that is no success; only some are tried again."""
    SHORT = auto()
    """The body ended early although its length had been announced."""
    CHANGED = auto()
    """The origin's file is no longer the one that was begun."""
    MISBEHAVED = auto()
    """The answer broke RFC 9110, so its bytes cannot be trusted."""
    REFUSED = auto()
    """vidnb itself declined: an address, a size, a page in place of a video. Never tried again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    `reason` is a clause for the person reading, without a full stop. `status` is the HTTP status
    of a `STATUS` failure, `retry_after_s` what the origin asked to wait (s), if it did.
    """

    kind: FailureKind
    reason: str
    status: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a download tries again.

    `attempts` counts all attempts in a row that brought no new byte, the first included; progress
    refills it. The wait doubles from `base_delay_s` up to `max_delay_s`, half of it by chance, so
    that many clients do not come back at one instant. A Retry-After (RFC 9110 10.2.3) is obeyed up
    to `max_retry_after_s`; an origin that asks for more is not asked again. All delays in seconds;
    `ValueError` for limits that contradict themselves.
    """

    attempts: int = 8
    base_delay_s: float = 0.5
    max_delay_s: float = 30.0
    max_retry_after_s: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts!r}")
        for name in ("base_delay_s", "max_delay_s", "max_retry_after_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number of seconds, not {value!r}")
        if self.max_delay_s < self.base_delay_s:
            raise ValueError(
                f"max_delay_s ({self.max_delay_s!r}) must not be less than"
                f" base_delay_s ({self.base_delay_s!r})"
            )

    def delay_s(self, failure: Failure, attempt: int, jitter: float) -> float | None:
        """Return how long to wait before the next attempt (s), or None to give up.

        `attempt` is the number of failures in a row without progress, this one included (so from
        1); `jitter` is the caller's random number in [0, 1). `ValueError` outside of these.
        """
        if attempt < 1:
            raise ValueError(f"attempt counts from 1, not {attempt!r}")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), not {jitter!r}")
        if attempt >= self.attempts or not _may_pass(failure):
            return None
        ceiling_s = min(
            self.max_delay_s, self.base_delay_s * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS)
        )
        back_off_s = ceiling_s * (1 + jitter) / 2
        if failure.retry_after_s is None:
            return back_off_s
        if failure.retry_after_s > self.max_retry_after_s:
            return None
        return max(back_off_s, failure.retry_after_s)


def _may_pass(failure: Failure) -> bool:
    """Tell whether another attempt could end differently."""
    if failure.kind is FailureKind.STATUS:
        return failure.status in RETRIED_STATUSES
    return failure.kind is not FailureKind.REFUSED
