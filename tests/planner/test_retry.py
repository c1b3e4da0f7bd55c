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


def test_a_failure_names_only_what_it_knows() -> None:
    assert (LOST.status, LOST.retry_after_s) == (None, None)


@pytest.mark.parametrize(
    ("value", "name"), [(LOST, "reason"), (RetryPolicy(), "attempts")], ids=["failure", "policy"]
)
def test_values_are_frozen_and_slotted(value: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_the_defaults_are_the_promised_ones() -> None:
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
def test_the_wait_doubles_up_to_its_ceiling(
    attempt: int, jitter: float, delay_s: float | None
) -> None:
    assert RetryPolicy().delay_s(LOST, attempt, jitter) == delay_s


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name.lower())
def test_only_a_refusal_is_never_tried_again(kind: FailureKind) -> None:
    again = RetryPolicy().delay_s(Failure(kind, "it failed", 503), 1, 0.0)
    assert again == (None if kind is FailureKind.REFUSED else 0.25)


def test_only_passing_statuses_are_tried_again() -> None:
    policy = RetryPolicy()
    codes = [None, *range(100, 600)]
    again = [code for code in codes if policy.delay_s(status(code), 1, 0.0) is not None]
    assert again == sorted(RETRIED_STATUSES) == [408, 429, 500, 502, 503, 504]


@pytest.mark.parametrize(
    ("retry_after_s", "delay_s"),
    [
        pytest.param(None, 0.25, id="not-asked"),
        pytest.param(0.0, 0.25, id="at-once-is-no-reason-to-hammer"),
        pytest.param(-5.0, 0.25, id="negative"),
        pytest.param(math.nan, 0.25, id="no-number"),
        pytest.param(7.0, 7.0, id="later"),
        pytest.param(120.0, 120.0, id="the-longest"),
        pytest.param(120.5, None, id="longer-than-anyone-waits"),
        pytest.param(math.inf, None, id="for-ever"),
    ],
)
def test_retry_after_is_obeyed_or_ends_it(
    retry_after_s: float | None, delay_s: float | None
) -> None:
    assert RetryPolicy().delay_s(status(503, retry_after_s), 1, 0.0) == delay_s


def test_a_retry_after_does_not_revive_a_status_that_stays() -> None:
    assert RetryPolicy().delay_s(status(404, 1.0), 1, 0.0) is None


def test_a_single_attempt_never_waits() -> None:
    assert RetryPolicy(attempts=1).delay_s(LOST, 1, 0.0) is None


def test_a_policy_without_delays_is_allowed() -> None:
    """A user's own tests skip back-off with it."""
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
            id="endless-ceiling",
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
def test_limits_that_contradict_themselves_are_refused(
    limits: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError) as refused:
        RetryPolicy(**limits)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("attempt", "jitter", "sentence"),
    [
        pytest.param(0, 0.0, "attempt counts from 1, not 0", id="attempt-0"),
        pytest.param(1, 1.0, "jitter must lie in [0, 1), not 1.0", id="jitter-1"),
        pytest.param(1, -0.1, "jitter must lie in [0, 1), not -0.1", id="jitter-negative"),
    ],
)
def test_a_careless_caller_is_told(attempt: int, jitter: float, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        RetryPolicy().delay_s(LOST, attempt, jitter)
    assert str(refused.value) == sentence


@given(
    st.integers(1, 50),
    st.floats(0, 100),
    st.floats(0, 100),
    st.none() | st.floats(0, 200),
    st.integers(1, 60),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_keeps_all_bounds(
    attempts: int,
    base_delay_s: float,
    more_s: float,
    retry_after_s: float | None,
    attempt: int,
    jitter: float,
) -> None:
    policy = RetryPolicy(attempts, base_delay_s, base_delay_s + more_s)
    delay_s = policy.delay_s(status(503, retry_after_s), attempt, jitter)
    asked_s = retry_after_s or 0.0
    if delay_s is None:
        assert attempt >= attempts or asked_s > policy.max_retry_after_s
    else:
        assert asked_s <= delay_s <= max(policy.max_delay_s, asked_s)
        assert delay_s >= base_delay_s / 2
