import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.download.planner.retry import RETRIED_STATUSES, Failure, FailureKind, RetryPolicy

LOST = Failure(FailureKind.LOST, "the connection broke")


def status(code: int | None, retry_after_s: float | None = None) -> Failure:
    return Failure(FailureKind.STATUS, f"answered {code}", code, retry_after_s)


def test_a_failure_without_status_has_no_retry_after() -> None:
    assert (LOST.status, LOST.retry_after_s) == (None, None)


@pytest.mark.parametrize(
    ("value", "name"), [(LOST, "reason"), (RetryPolicy(), "attempts")], ids=["failure", "policy"]
)
def test_values_are_frozen_and_slotted(value: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_the_documented_defaults() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.base_delay_s) == (8, 0.5)
    assert (policy.max_delay_s, policy.max_retry_after_s) == (30.0, 120.0)


@pytest.mark.parametrize(
    ("attempt", "jitter", "delay_s"),
    [
        pytest.param(1, 0.0, 0.25, id="first-shortest"),
        pytest.param(1, 0.5, 0.375, id="first-middle"),
        pytest.param(2, 0.0, 0.5, id="second"),
        pytest.param(3, 0.0, 1.0, id="third"),
        pytest.param(6, 0.0, 8.0, id="sixth-below-the-ceiling"),
        pytest.param(7, 0.0, 15.0, id="seventh-at-the-ceiling"),
        pytest.param(7, 0.5, 22.5, id="seventh-middle"),
        pytest.param(8, 0.0, None, id="the-eighth-attempt-is-the-last"),
        pytest.param(9, 0.0, None, id="beyond"),
    ],
)
def test_the_delay_doubles_up_to_its_ceiling(
    attempt: int, jitter: float, delay_s: float | None
) -> None:
    assert RetryPolicy().delay_s(LOST, attempt, jitter) == delay_s


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name.lower())
def test_only_a_refusal_by_vidnb_is_never_retried(kind: FailureKind) -> None:
    delay_s = RetryPolicy().delay_s(Failure(kind, "it failed", 503), 1, 0.0)
    assert delay_s == (None if kind is FailureKind.REFUSED else 0.25)


TRANSIENT = [
    *(408, 423, 425, 429, 500, 502, 503, 504, 509),
    *(520, 521, 522, 523, 524, 525, 527, 529, 530, 598, 599),
]


def test_only_transient_statuses_are_retried() -> None:
    policy = RetryPolicy()
    codes = [None, *range(100, 600)]
    retried = [code for code in codes if policy.delay_s(status(code), 1, 0.0) is not None]
    assert retried == sorted(RETRIED_STATUSES) == TRANSIENT


@pytest.mark.parametrize(
    ("retry_after_s", "delay_s"),
    [
        pytest.param(None, 0.25, id="absent"),
        pytest.param(0.0, 0.25, id="zero-does-not-shorten-the-delay"),
        pytest.param(-5.0, 0.25, id="negative"),
        pytest.param(math.nan, 0.25, id="nan"),
        pytest.param(7.0, 7.0, id="later"),
        pytest.param(120.0, 120.0, id="the-limit"),
        pytest.param(120.5, None, id="above-the-limit"),
        pytest.param(math.inf, None, id="infinite"),
    ],
)
def test_retry_after_is_obeyed_up_to_its_limit(
    retry_after_s: float | None, delay_s: float | None
) -> None:
    assert RetryPolicy().delay_s(status(503, retry_after_s), 1, 0.0) == delay_s


def test_a_permanent_status_is_not_retried_with_retry_after() -> None:
    assert RetryPolicy().delay_s(status(404, 1.0), 1, 0.0) is None


def test_a_single_attempt_is_never_retried() -> None:
    assert RetryPolicy(attempts=1).delay_s(LOST, 1, 0.0) is None


def test_a_policy_without_delays_is_allowed() -> None:
    """For a user's own tests."""
    policy = RetryPolicy(base_delay_s=0, max_delay_s=0, max_retry_after_s=0)
    assert policy.delay_s(LOST, 1, 0.9) == 0
    assert policy.delay_s(status(503, 0.0), 1, 0.9) == 0


def test_ten_thousand_attempts_do_not_overflow() -> None:
    policy = RetryPolicy(attempts=100_000, base_delay_s=1.0, max_delay_s=2.0**100)
    assert policy.delay_s(LOST, 61, 0.0) == 2.0**59
    assert policy.delay_s(LOST, 99_999, 0.0) == 2.0**59


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        pytest.param({"attempts": 0}, "attempts must be at least 1, not 0", id="no-attempt"),
        pytest.param(
            {"base_delay_s": -0.1},
            "base_delay_s must be a finite number of seconds, not -0.1",
            id="negative-base",
        ),
        pytest.param(
            {"max_delay_s": math.inf},
            "max_delay_s must be a finite number of seconds, not inf",
            id="infinite-ceiling",
        ),
        pytest.param(
            {"max_retry_after_s": math.nan},
            "max_retry_after_s must be a finite number of seconds, not nan",
            id="no-number",
        ),
        pytest.param(
            {"base_delay_s": 31.0},
            "max_delay_s (30.0) must not be less than base_delay_s (31.0)",
            id="base-above-ceiling",
        ),
    ],
)
def test_contradictory_limits_are_rejected(limits: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        RetryPolicy(**limits)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("attempt", "jitter", "sentence"),
    [
        pytest.param(0, 0.0, "attempt counts from 1, not 0", id="attempt-0"),
        pytest.param(1, 1.0, "jitter must lie in [0, 1), not 1.0", id="jitter-1"),
        pytest.param(1, -0.1, "jitter must lie in [0, 1), not -0.1", id="jitter-negative"),
    ],
)
def test_invalid_arguments_are_rejected(attempt: int, jitter: float, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        RetryPolicy().delay_s(LOST, attempt, jitter)
    assert str(raised.value) == sentence


@given(
    st.integers(1, 50),
    st.floats(0, 100),
    st.floats(0, 100),
    st.none() | st.floats(0, 200),
    st.integers(1, 60),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_stays_within_all_bounds(
    attempts: int,
    base_delay_s: float,
    extra_s: float,
    retry_after_s: float | None,
    attempt: int,
    jitter: float,
) -> None:
    policy = RetryPolicy(attempts, base_delay_s, base_delay_s + extra_s)
    delay_s = policy.delay_s(status(503, retry_after_s), attempt, jitter)
    requested_s = retry_after_s or 0.0
    if delay_s is None:
        assert attempt >= attempts or requested_s > policy.max_retry_after_s
    else:
        assert requested_s <= delay_s <= max(policy.max_delay_s, requested_s)
        assert delay_s >= base_delay_s / 2
