"""The connections of the process: a table of decisions, and a game of taking and giving back."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.download.planner.limits import IN_ALL, PER_HOST, ConnectionLimits


def test_the_limits() -> None:
    assert (PER_HOST, IN_ALL) == (16, 64)
    quota = ConnectionLimits()
    taken = [host for host in "abcdef" for _ in range(20) if quota.take(host)]
    assert Counter(taken) == {"a": 16, "b": 16, "c": 16, "d": 16}


@pytest.mark.parametrize(("per_host", "in_all"), [(0, 5), (5, 0), (-1, -1)])
def test_limits_below_one_are_none(per_host: int, in_all: int) -> None:
    with pytest.raises(ValueError, match="both limits must be at least 1"):
        ConnectionLimits(per_host=per_host, in_all=in_all)


def test_what_was_not_taken_is_not_given_back() -> None:
    quota = ConnectionLimits()
    quota.take("a")
    with pytest.raises(ValueError, match="no connection to 'b' is taken"):
        quota.give_back("b")
    quota.give_back("a")
    with pytest.raises(ValueError, match="no connection to 'a' is taken"):
        quota.give_back("a")


@pytest.mark.parametrize(
    ("held", "waiters", "spare"),
    [
        pytest.param("", "", {"a": 2, "b": 2}, id="nothing"),
        pytest.param("a", "", {"a": 1, "b": 2}, id="one"),
        pytest.param("aa", "", {"a": 0, "b": 1}, id="a-host-is-full"),
        pytest.param("aab", "", {"a": 0, "b": 0, "c": 0}, id="all-are-taken"),
        pytest.param("aa", "a", {"a": -1, "b": 1}, id="one-waits-for-a-full-host"),
        pytest.param("aa", "aaa", {"a": -3, "b": 1}, id="three-wait-for-a-full-host"),
        pytest.param("aab", "c", {"a": -1, "b": -1, "c": -1}, id="one-waits-for-any"),
        pytest.param("aab", "a", {"a": -1, "b": 0, "c": 0}, id="no-use-to-give-back-b"),
        pytest.param("aab", "abc", {"a": -3, "b": -2, "c": -2}, id="several"),
        pytest.param("ab", "c", {"a": 0, "b": 0, "c": 0}, id="the-last-is-spoken-for"),
        pytest.param("", "a", {"a": 1, "b": 2}, id="a-waiter-that-can-be-served"),
    ],
)
def test_how_many_are_to_spare(held: str, waiters: str, spare: dict[str, int]) -> None:
    """Two per host, three in all; a negative number says how many wait in vain."""
    quota = ConnectionLimits(per_host=2, in_all=3)
    assert all(quota.take(host) for host in held)
    for number, host in enumerate(waiters):
        quota.wait(number, host)
    assert {host: quota.spare(host) for host in spare} == spare
    assert {host: quota.waiting(host) for host in "abc"} == {
        host: waiters.count(host) for host in "abc"
    }


def test_first_come_first_served() -> None:
    """But nobody waits for somebody whose own host is full."""
    quota = ConnectionLimits(per_host=1, in_all=2)
    assert quota.next_waiter() is None
    assert quota.take("a")
    for waiter, host in [("one", "a"), ("two", "b"), ("three", "b"), ("one", "b")]:
        quota.wait(waiter, host)
    assert quota.next_waiter() == "two"
    assert quota.take("b")
    quota.leave("two")
    quota.leave("two")
    assert quota.next_waiter() is None
    quota.give_back("a")
    assert quota.next_waiter() == "one"
    quota.leave("one")
    quota.give_back("b")
    assert quota.next_waiter() == "three"


def test_what_a_host_refused_is_remembered() -> None:
    quota = ConnectionLimits()
    assert quota.refused_parallel("a") is None
    for working, remembered in [(5, 5), (7, 5), (3, 3), (0, 1), (4, 1)]:
        quota.refused("a", working)
        assert quota.refused_parallel("a") == remembered
    assert quota.refused_parallel("b") is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    per_host=st.integers(1, 3),
    in_all=st.integers(1, 5),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["take", "give", "wait", "leave", "serve"]),
            st.sampled_from("abc"),
            st.integers(0, 5),
        ),
        max_size=60,
    ),
)
def test_the_books_are_right_at_any_time(
    per_host: int, in_all: int, moves: list[tuple[str, str, int]]
) -> None:
    """Beside a model that only counts: no limit is broken, and nobody is forgotten."""
    quota = ConnectionLimits(per_host=per_host, in_all=in_all)
    held: Counter[str] = Counter()
    line: dict[int, str] = {}
    for move, host, waiter in moves:
        is_free = held[host] < per_host and held.total() < in_all
        if move == "take":
            assert quota.take(host) is is_free
            held[host] += is_free
        elif move == "give" and held[host]:
            quota.give_back(host)
            held[host] -= 1
        elif move == "wait":
            quota.wait(waiter, host)
            line.setdefault(waiter, host)
        elif move == "leave":
            quota.leave(waiter)
            line.pop(waiter, None)
        elif move == "serve":
            served = [
                who
                for who, theirs in line.items()
                if held[theirs] < per_host and held.total() < in_all
            ]
            assert quota.next_waiter() == (served[0] if served else None)
            if served:
                theirs = line.pop(served[0])
                quota.leave(served[0])
                assert quota.take(theirs)
                held[theirs] += 1
        for name in "abc":
            assert quota.held(name) == held[name] <= per_host
            assert quota.waiting(name) == list(line.values()).count(name)
            # Who takes what is to spare leaves room for everybody who waits and can be served.
            spare = quota.spare(name)
            assert spare <= min(per_host - held[name], in_all - held.total())
            assert spare >= -len(line)
            if not line:
                assert spare == min(per_host - held[name], in_all - held.total())
        assert held.total() <= in_all
