"""Connection limits of the process: examples, and a comparison with a simple model."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.download.planner.limits import MAX_PER_HOST, MAX_TOTAL, ConnectionLimits


def test_the_default_limits() -> None:
    assert (MAX_PER_HOST, MAX_TOTAL) == (16, 64)
    limits = ConnectionLimits()
    acquired = [host for host in "abcdef" for _ in range(20) if limits.acquire(host)]
    assert Counter(acquired) == {"a": 16, "b": 16, "c": 16, "d": 16}


@pytest.mark.parametrize(("max_per_host", "max_total"), [(0, 5), (5, 0), (-1, -1)])
def test_limits_below_one_are_rejected(max_per_host: int, max_total: int) -> None:
    with pytest.raises(ValueError, match="both limits must be at least 1"):
        ConnectionLimits(max_per_host=max_per_host, max_total=max_total)


def test_only_acquired_connections_are_released() -> None:
    limits = ConnectionLimits()
    limits.acquire("a")
    with pytest.raises(ValueError, match="no connection to 'b' is acquired"):
        limits.release("b")
    limits.release("a")
    with pytest.raises(ValueError, match="no connection to 'a' is acquired"):
        limits.release("a")


@pytest.mark.parametrize(
    ("acquired", "waiters", "available"),
    [
        pytest.param("", "", {"a": 2, "b": 2}, id="nothing"),
        pytest.param("a", "", {"a": 1, "b": 2}, id="one"),
        pytest.param("aa", "", {"a": 0, "b": 1}, id="a-host-is-full"),
        pytest.param("aab", "", {"a": 0, "b": 0, "c": 0}, id="all-in-use"),
        pytest.param("aa", "a", {"a": -1, "b": 1}, id="one-waits-for-a-full-host"),
        pytest.param("aa", "aaa", {"a": -3, "b": 1}, id="three-wait-for-a-full-host"),
        pytest.param("aab", "c", {"a": -1, "b": -1, "c": -1}, id="one-waits-for-any"),
        pytest.param("aab", "a", {"a": -1, "b": 0, "c": 0}, id="releasing-b-does-not-help"),
        pytest.param("aab", "abc", {"a": -3, "b": -2, "c": -2}, id="several"),
        pytest.param("ab", "c", {"a": 0, "b": 0, "c": 0}, id="the-last-goes-to-a-waiter"),
        pytest.param("", "a", {"a": 1, "b": 2}, id="a-waiter-that-can-be-served"),
    ],
)
def test_available_connections(acquired: str, waiters: str, available: dict[str, int]) -> None:
    """With limits of 2 per host and 3 in total; a negative number is the shortage."""
    limits = ConnectionLimits(max_per_host=2, max_total=3)
    assert all(limits.acquire(host) for host in acquired)
    for number, host in enumerate(waiters):
        limits.enqueue(number, host)
    assert {host: limits.available(host) for host in available} == available
    assert {host: limits.queued(host) for host in "abc"} == {
        host: waiters.count(host) for host in "abc"
    }


def test_waiters_are_served_in_order_of_arrival() -> None:
    """A waiter whose host is full delays no other."""
    limits = ConnectionLimits(max_per_host=1, max_total=2)
    assert limits.next_waiter() is None
    assert limits.acquire("a")
    for waiter, host in [("one", "a"), ("two", "b"), ("three", "b"), ("one", "b")]:
        limits.enqueue(waiter, host)
    assert limits.next_waiter() == "two"
    assert limits.acquire("b")
    limits.dequeue("two")
    limits.dequeue("two")
    assert limits.next_waiter() is None
    limits.release("a")
    assert limits.next_waiter() == "one"
    limits.dequeue("one")
    limits.release("b")
    assert limits.next_waiter() == "three"


def test_the_lowest_observed_host_limit_is_kept() -> None:
    limits = ConnectionLimits()
    assert limits.host_limit("a") is None
    for working, remembered in [(5, 5), (7, 5), (3, 3), (0, 1), (4, 1)]:
        limits.record_host_limit("a", working)
        assert limits.host_limit("a") == remembered
    assert limits.host_limit("b") is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    max_per_host=st.integers(1, 3),
    max_total=st.integers(1, 5),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["acquire", "release", "enqueue", "dequeue", "serve"]),
            st.sampled_from("abc"),
            st.integers(0, 5),
        ),
        max_size=60,
    ),
)
def test_the_limits_agree_with_a_model(
    max_per_host: int, max_total: int, steps: list[tuple[str, str, int]]
) -> None:
    """No limit is exceeded, and no waiter is lost."""
    limits = ConnectionLimits(max_per_host=max_per_host, max_total=max_total)
    in_use: Counter[str] = Counter()
    queue: dict[int, str] = {}
    for step, host, waiter in steps:
        is_free = in_use[host] < max_per_host and in_use.total() < max_total
        if step == "acquire":
            assert limits.acquire(host) is is_free
            in_use[host] += is_free
        elif step == "release" and in_use[host]:
            limits.release(host)
            in_use[host] -= 1
        elif step == "enqueue":
            limits.enqueue(waiter, host)
            queue.setdefault(waiter, host)
        elif step == "dequeue":
            limits.dequeue(waiter)
            queue.pop(waiter, None)
        elif step == "serve":
            served = [
                other
                for other, its_host in queue.items()
                if in_use[its_host] < max_per_host and in_use.total() < max_total
            ]
            assert limits.next_waiter() == (served[0] if served else None)
            if served:
                served_host = queue.pop(served[0])
                limits.dequeue(served[0])
                assert limits.acquire(served_host)
                in_use[served_host] += 1
        for name in "abc":
            assert limits._in_use[name] == in_use[name] <= max_per_host
            assert limits.queued(name) == list(queue.values()).count(name)
            available = limits.available(name)
            free = min(max_per_host - in_use[name], max_total - in_use.total())
            assert -len(queue) <= available <= free
            if not queue:
                assert available == free
        assert in_use.total() <= max_total
