"""Retry policy and retry budget: whether to retry a failed transfer, and after which delay.

`RetryPolicy` holds limits and computes delays; `RetryBudget` counts what one transfer has used. The
caller supplies the jitter and does the waiting.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto

RETRIED_STATUSES = frozenset(
    {
        *(408, 429, 500, 502, 503, 504),  # RFC 9110 sections 15.5.9, 15.6.1, 15.6.3-5; RFC 6585
        *(423, 425),  # locked (RFC 4918), sent too early (RFC 8470)
        *(509, 529),  # bandwidth limit (cPanel), site overloaded (Qualys)
        # The edge of a CDN cannot reach its origin (Cloudflare). 526 is left out: the origin's
        # certificate stays invalid.
        *(520, 521, 522, 523, 524, 525, 527, 530),
        *(598, 599),  # timeouts of a proxy towards the origin
    }
)
"""Transient statuses."""

_MAX_DOUBLINGS = 60  # beyond any sensible ceiling, and far from a float's own limit


class FailureKind(Enum):
    """The kind of a failed attempt, as far as it matters for retries."""

    CONNECT = auto()
    """The connection could not be established: name resolution, routing, refusal or TLS."""
    LOST = auto()
    """The connection broke before the response was complete."""
    TIMEOUT = auto()
    """Nothing arrived within the idle timeout."""
    STATUS = auto()
    """The origin answered with an error status; only `RETRIED_STATUSES` are retried."""
    TRUNCATED = auto()
    """The body ended before its announced length."""
    CHANGED = auto()
    """The source file changed during the transfer."""
    PROTOCOL_ERROR = auto()
    """The response violates RFC 9110, so its bytes cannot be trusted."""
    REFUSED = auto()
    """vidnb itself declined (a URL, a size, a web page instead of a video); never retried."""


class GiveUpReason(Enum):
    """Why a transfer ended without a file."""

    FAILED = "failed"
    PROTOCOL_ERROR = "protocol error"
    CHANGED = "changed"
    TOO_LARGE = "too large"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    `reason` is a clause to show to a user, without a full stop; `remedy` what to do about it, None
    for what `kind` suggests. `status` is the HTTP status of a `STATUS` failure, `retry_after_s` the
    requested delay of its Retry-After (s), if any.
    """

    kind: FailureKind
    reason: str
    status: int | None = None
    retry_after_s: float | None = None
    remedy: str | None = None

    @property
    def is_transient(self) -> bool:
        """Whether another attempt could succeed."""
        if self.kind is FailureKind.STATUS:
            return self.status in RETRIED_STATUSES
        return self.kind is not FailureKind.REFUSED


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a download is retried, and after which delays.

    `attempts` counts the consecutive attempts that delivered no new byte, the first one included;
    progress resets the count. The delay doubles from `base_delay_s` up to `max_delay_s`; half of it
    is random, so that many clients do not retry at the same time. A Retry-After (RFC 9110 section
    10.2.3) is obeyed up to `max_retry_after_s`; a longer one ends the download. All delays are in
    seconds; `ValueError` for limits that contradict themselves.
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
        """Return the delay before the next attempt (s), or None to give up.

        `attempt` is the number of consecutive failures without progress, this one included (from
        1); `jitter` is a random number in [0, 1). `ValueError` outside of these.
        """
        if attempt < 1:
            raise ValueError(f"attempt counts from 1, not {attempt!r}")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), not {jitter!r}")
        if attempt >= self.attempts or not failure.is_transient:
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


@dataclass(slots=True)
class RetryBudget:
    """The failures and restarts of one transfer; both are bounded, so every transfer ends.

    `high_water_bytes` is the most bytes ever received of the present version: more than that is
    progress and resets the consecutive failures. Nothing resets the restarts.
    """

    policy: RetryPolicy
    high_water_bytes: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    restarts: int = 0
    _has_protocol_error: bool = False

    @property
    def attempts(self) -> int:
        """The number of consecutive attempts without progress, the present one included."""
        return max(self.consecutive_failures, 1)

    def record_progress(self, received_bytes: int) -> None:
        """Reset the consecutive failures if more bytes than ever before were received."""
        if received_bytes > self.high_water_bytes:
            self.high_water_bytes = received_bytes
            self.consecutive_failures = 0
            self._has_protocol_error = False

    def record_failure(self, failure: Failure, jitter: float) -> float | GiveUpReason:
        """Count a failure of the only request; return the delay (s), or the reason to give up."""
        self.consecutive_failures += 1
        if failure.kind is FailureKind.PROTOCOL_ERROR:
            # The first may come from a proxy; a second one shows how this origin responds.
            if self._has_protocol_error:
                return GiveUpReason.PROTOCOL_ERROR
            self._has_protocol_error = True
        delay_s = self.policy.delay_s(failure, self.consecutive_failures, jitter)
        return GiveUpReason.FAILED if delay_s is None else delay_s

    def record_restart(self) -> Failure | None:
        """Count a change of the source file; return a failure if the budget is exhausted."""
        self.restarts += 1
        self.high_water_bytes = 0  # the first byte of the new version is progress
        if self.restarts <= self.policy.attempts:
            return None
        return Failure(FailureKind.CHANGED, f"the file at the origin changed {self.restarts} times")
