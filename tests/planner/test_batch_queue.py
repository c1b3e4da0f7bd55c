"""The queue of a batch: examples, and properties under random ends of random rows."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.download.planner.batch_queue import BatchQueue, Lane, StartedRow
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy

POLICY = RetryPolicy(attempts=3, base_delay_s=1.0, max_delay_s=8.0, max_retry_after_s=20.0)
LOST = Failure(FailureKind.LOST, "the connection broke")
MISSING = Failure(FailureKind.STATUS, "the origin answered 404", status=404)
BUSY = Failure(FailureKind.STATUS, "the origin answered 429", status=429)
UNAVAILABLE = Failure(FailureKind.STATUS, "the origin answered 503", status=503)
LATER = Failure(FailureKind.STATUS, "the origin answered 500", status=500, retry_after_s=5.0)
MUCH_LATER = Failure(FailureKind.STATUS, "the origin answered 429", status=429, retry_after_s=900.0)


def queue_of(
    hosts: str,
    *,
    concurrency: int = 4,
    per_host: int = 2,
    capacity: int = 4096,
    deadline_s: float | None = None,
) -> BatchQueue[int]:
    """Return a queue with one row a letter, each of the host of that name."""
    queue: BatchQueue[int] = BatchQueue(
        concurrency=concurrency,
        per_host=per_host,
        policy=POLICY,
        capacity=capacity,
        deadline_s=deadline_s,
    )
    for number, host in enumerate(hosts):
        queue.add(number, host)
    return queue


def start(queue: BatchQueue[int], now_s: float = 0.0, max_rows: int = 1) -> list[StartedRow[int]]:
    """Start whatever can start."""
    started: list[StartedRow[int]] = []
    while True:
        lane = queue.next(now_s, max_rows)
        if lane is None:
            return started
        started += lane.rows


def numbers(started: list[StartedRow[int]]) -> list[int]:
    return [one.row for one in started]


@pytest.mark.parametrize("name", ["concurrency", "per_host", "capacity"])
def test_limits_below_one_are_rejected(name: str) -> None:
    limits = {"concurrency": 1, "per_host": 1, "capacity": 1, name: 0}
    with pytest.raises(ValueError, match="must be at least 1"):
        BatchQueue(policy=POLICY, **limits)


def test_hosts_take_turns() -> None:
    queue = queue_of("aaaabbbc", concurrency=8)
    assert [one.host for one in start(queue)] == list("abcab")


def test_the_slots_of_all_hosts_are_limited() -> None:
    queue = queue_of("abcdef", concurrency=4)
    assert len(start(queue)) == 4
    assert not queue.is_starved


def test_a_free_slot_without_a_row_for_it_is_reported() -> None:
    queue = queue_of("aaa")
    start(queue)
    before = queue.is_starved
    queue.add(9, "b")
    assert (before, queue.is_starved) == (True, False)
    assert numbers(start(queue)) == [9]


def test_a_finished_row_makes_room_for_the_next() -> None:
    queue = queue_of("aaa")
    first, second = start(queue)
    assert [one.row for one in queue.running] == [0, 1]
    assert not queue.finish(first, None, 1.0, 0.5)
    assert numbers(start(queue, 1.0)) == [2]
    assert len(queue) == 2
    assert not queue.finish(second, MISSING, 1.0, 0.5)
    assert len(queue) == 1


@pytest.mark.parametrize("failure", [LOST, Failure(FailureKind.TIMEOUT, "silence")])
def test_a_transient_failure_is_retried_after_a_delay(failure: Failure) -> None:
    queue = queue_of("a")
    (first,) = start(queue)
    assert queue.finish(first, failure, 10.0, 0.5)
    assert (len(queue), start(queue, 10.5)) == (1, [])
    assert queue.wake_s() == pytest.approx(10.75)
    (second,) = start(queue, 10.75)
    assert (second.attempt, second.row) == (2, 0)
    assert queue.finish(second, failure, 11.0, 0.5)
    (third,) = start(queue, 13.0)
    assert not queue.finish(third, failure, 13.0, 0.5)
    assert (len(queue), queue.wake_s()) == (0, None)


def test_progress_resets_the_failures_but_not_the_attempt_number() -> None:
    queue = queue_of("a")
    for attempt in range(1, 6):
        (started,) = start(queue, attempt * 100.0)
        assert started.attempt == attempt
        assert queue.finish(started, LOST, attempt * 100.0, 0.5, kept_bytes=attempt)


def test_kept_bytes_are_progress_only_once() -> None:
    queue = queue_of("a")
    ends = [
        queue.finish(start(queue, attempt * 100.0)[0], LOST, attempt * 100.0, 0.5, kept_bytes=9)
        for attempt in range(3)
    ]
    assert ends == [True, True, False]


def test_a_retried_row_comes_before_the_new_ones_of_its_host() -> None:
    queue = queue_of("aaaa", per_host=1)
    (first,) = start(queue)
    queue.finish(first, LOST, 0.0, 0.0)
    assert numbers(start(queue, 5.0)) == [0]


@pytest.mark.parametrize("failure", [BUSY, UNAVAILABLE, LATER])
def test_an_overloaded_host_gets_half_of_its_slots_and_a_pause(failure: Failure) -> None:
    queue = queue_of("a" * 20, concurrency=20, per_host=8)
    started = start(queue)
    for one in started[:3]:  # sent at the same time, so they count once
        queue.finish(one, failure, 1.0, 0.5)
    (slowed,) = queue.slowed(1.0)
    assert (slowed.host, slowed.limit) == ("a", 4)
    assert slowed.pause_s == pytest.approx(failure.retry_after_s or 0.75)
    assert start(queue, 1.5) == []
    for one in started[3:]:
        queue.finish(one, None, 1.5, 0.5)
    assert len(start(queue, 30.0)) == 4


def test_another_host_is_not_slowed_down() -> None:
    queue = queue_of("aaabbb")
    started = start(queue)
    for one in started:
        queue.finish(one, BUSY if one.host == "a" else None, 0.0, 0.5)
    assert [one.host for one in start(queue)] == ["b"]


def test_successes_give_the_slots_back_one_at_a_time() -> None:
    queue = queue_of("a" * 60, concurrency=20, per_host=4)
    for one in start(queue):
        queue.finish(one, BUSY, 0.0, 0.0)
    now_s, limits = 100.0, []
    while queue.slowed(now_s):
        limits.append(queue.slowed(now_s)[0].limit)
        for one in start(queue, now_s):
            queue.finish(one, None, now_s, 0.0)
        now_s += 1
    assert limits == [2, 3]
    assert len(start(queue, now_s)) == 4


def test_success_of_a_request_sent_before_the_slowdown_says_nothing() -> None:
    queue = queue_of("a" * 20, concurrency=20, per_host=4)
    started = start(queue)
    queue.finish(started[0], BUSY, 0.0, 0.0)
    for one in started[1:]:
        queue.finish(one, None, 0.0, 0.0)
    assert queue.slowed(0.0)[0].limit == 2


def test_pauses_grow_while_the_host_stays_overloaded_and_start_again_afterwards() -> None:
    queue = queue_of("a" * 40, concurrency=1, per_host=1)
    pauses_s = []
    for now_s in (0.0, 100.0, 200.0):
        (one,) = start(queue, now_s)
        queue.finish(one, BUSY, now_s, 0.0)
        pauses_s.append(queue.slowed(now_s)[0].pause_s)
    assert pauses_s == [0.5, 1.0, 2.0]
    (one,) = start(queue, 300.0)
    queue.finish(one, None, 300.0, 0.0)
    (one,) = start(queue, 300.0)
    queue.finish(one, BUSY, 300.0, 0.0)
    assert queue.slowed(300.0)[0].pause_s == 0.5


def test_a_longer_pause_is_not_shortened() -> None:
    queue = queue_of("aaaa", per_host=2)
    first, second = start(queue)
    queue.finish(first, LATER, 0.0, 0.0)
    queue.finish(second, BUSY, 0.0, 0.0)
    assert queue.slowed(0.0)[0].pause_s == 5.0
    assert start(queue, 4.9) == []
    assert len(start(queue, 5.0)) == 1
    queue = queue_of("aaaa", per_host=2)
    first, second = start(queue)
    queue.finish(first, BUSY, 0.0, 0.0)
    queue.finish(second, LATER, 0.0, 0.0)
    assert start(queue, 4.0) == []


def test_a_retry_after_beyond_the_policy_ends_the_row_and_pauses_the_host_for_the_most() -> None:
    queue = queue_of("aa", per_host=1)
    (one,) = start(queue)
    assert not queue.finish(one, MUCH_LATER, 0.0, 0.0)
    assert queue.slowed(0.0)[0].pause_s == POLICY.max_retry_after_s


def test_a_policy_without_delays_pauses_no_host() -> None:
    policy = RetryPolicy(attempts=3, base_delay_s=0.0)
    queue: BatchQueue[int] = BatchQueue(concurrency=1, per_host=1, policy=policy)
    queue.add(0, "a")
    (one,) = start(queue)
    assert queue.finish(one, BUSY, 0.0, 0.5)
    assert numbers(start(queue)) == [0]


def test_the_pause_of_a_host_lasts_although_it_has_no_rows_left() -> None:
    queue = queue_of("a", per_host=1)
    (one,) = start(queue)
    queue.finish(one, MUCH_LATER, 0.0, 0.0)
    queue.add(1, "a")
    assert start(queue, 1.0) == []
    assert numbers(start(queue, 20.0)) == [1]


def test_a_pause_that_ends_without_rows_is_forgotten() -> None:
    queue = queue_of("a", per_host=1)
    (one,) = start(queue)
    queue.finish(one, MUCH_LATER, 0.0, 0.0)
    assert start(queue, 20.0) == []
    assert queue.slowed(0.0) == ()


def test_a_row_is_not_tried_again_after_its_deadline() -> None:
    queue = queue_of("aa", deadline_s=10.0, per_host=1)
    (one,) = start(queue, 5.0)
    assert one.deadline_s == 15.0
    assert queue.finish(one, LOST, 6.0, 0.0)
    (one,) = start(queue, 8.0)
    assert one.deadline_s == 15.0
    assert not queue.finish(one, LOST, 14.5, 0.0)


def test_a_row_is_not_tried_again_if_its_host_pauses_beyond_its_deadline() -> None:
    queue = queue_of("aa", deadline_s=4.0, per_host=2)
    first, second = start(queue)
    assert not queue.finish(first, LATER, 0.0, 0.0)
    assert not queue.finish(second, LOST, 0.0, 0.0)


def test_the_rows_that_are_held_are_limited() -> None:
    queue = queue_of("aab", capacity=8)
    assert queue.room("a") == 0
    assert queue.room("b") == 1
    assert not queue_of("a", capacity=8).room("a") > 1
    assert queue_of("a", capacity=8).is_low
    with pytest.raises(ValueError, match="no room for another row of a"):
        queue.add(9, "a")
    for host in "bccdd":
        queue.add(9, host)
    assert (queue.free, queue.is_low) == (0, False)
    assert queue.room("e") == 0
    started = start(queue)
    assert not queue.free  # they may come back
    queue.finish(started[0], None, 0.0, 0.0)
    assert queue.room("e") == 1


def test_the_rows_of_a_lane_use_one_slot() -> None:
    queue = queue_of("aaaaaaab", concurrency=2, per_host=1)
    lane = queue.next(0.0, 5)
    assert lane is not None
    assert numbers(lane.rows) == [0, 1, 2, 3, 4]
    assert numbers(start(queue)) == [7]
    for one in lane.rows[:4]:
        queue.finish(one, None, 0.0, 0.0)
    assert start(queue) == []
    queue.finish(lane.rows[4], None, 0.0, 0.0)
    assert numbers(start(queue, max_rows=5)) == [5, 6]


def test_a_row_that_was_not_tried_is_put_back() -> None:
    queue = queue_of("aaa", per_host=1)
    lane = queue.next(0.0, 2)
    assert lane is not None
    queue.finish(lane.rows[0], None, 0.0, 0.0)
    queue.put_back(lane.rows[1])
    (one,) = start(queue)
    assert (one.row, one.attempt) == (1, 1)
    assert len(queue) == 2


def test_draining_removes_what_does_not_run() -> None:
    queue = queue_of("aaabbc", concurrency=3, per_host=2)
    first, second, third = start(queue)
    queue.finish(first, LOST, 0.0, 0.0)
    queue.finish(second, BUSY, 0.0, 0.0)
    assert sorted(queue.drain()) == [(0, 1), (1, 0), (2, 0), (3, 1), (4, 0)]
    assert (len(queue), queue.free, queue.room("z")) == (1, 0, 0)
    assert start(queue, 99.0) == []
    assert not queue.finish(third, LOST, 0.0, 0.0)
    assert len(queue) == 0


ENDS = st.sampled_from([None, None, None, LOST, MISSING, BUSY, UNAVAILABLE, LATER, MUCH_LATER])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_row_ends_once_within_the_limits(data: st.DataObject) -> None:
    """Limits hold at every moment; no row is lost, or runs twice at once, or waits for ever."""
    concurrency, per_host = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    capacity, max_rows = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))
    queue: BatchQueue[int] = BatchQueue(
        concurrency=concurrency, per_host=per_host, policy=POLICY, capacity=capacity
    )
    hosts = data.draw(st.lists(st.sampled_from("abcd"), max_size=40))
    table = list(enumerate(hosts))
    ended: list[int] = []
    running: dict[StartedRow[int], Lane[int]] = {}
    attempts: Counter[int] = Counter()
    now_s = 0.0
    for _ in range(5000):
        while table and queue.room(table[0][1]) > 0:
            queue.add(*table.pop(0))
        while (lane := queue.next(now_s, max_rows)) is not None:
            running |= dict.fromkeys(lane.rows, lane)
            attempts.update(numbers(lane.rows))
        assert len({one.row for one in running}) == len(running)
        lanes = set(running.values())
        assert len(lanes) <= concurrency
        assert max(Counter(lane.host for lane in lanes).values(), default=0) <= per_host
        assert len(queue) <= capacity
        assert set(queue.running) == set(running)
        if running:
            one = data.draw(st.sampled_from(sorted(running, key=lambda one: one.row)))
            del running[one]
            if data.draw(st.integers(0, 9)) == 0:
                attempts[one.row] -= 1
                queue.put_back(one)
            elif not queue.finish(one, data.draw(ENDS), now_s, 0.5):
                ended.append(one.row)
            now_s += data.draw(st.sampled_from([0.0, 0.1, 3.0]))
        elif (wake_s := queue.wake_s()) is not None:
            now_s = max(now_s, wake_s)
        else:
            break
    assert not table
    assert sorted(ended) == list(range(len(hosts)))
    assert len(queue) == 0
    assert set(ended) == set(attempts)
    assert max(attempts.values(), default=0) <= POLICY.attempts


@given(slow=st.integers(1, 50), fast=st.integers(1, 50))
def test_a_host_that_never_ends_does_not_delay_another(slow: int, fast: int) -> None:
    queue = queue_of("s" * slow + "f" * fast, concurrency=3, per_host=2)
    done = 0
    while done < fast:
        quick = [one for one in start(queue) if one.host == "f"]
        assert quick
        for one in quick:
            queue.finish(one, None, 0.0, 0.0)
        done += len(quick)


def test_hosts_without_rows_take_no_memory() -> None:
    queue = queue_of("")
    for number in range(1000):
        queue.add(number, str(number))
        (one,) = start(queue)
        queue.finish(one, MISSING, 0.0, 0.0)
    assert queue.slowed(0.0) == ()
    assert len(queue) == 0
