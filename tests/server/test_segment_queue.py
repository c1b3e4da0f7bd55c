"""Which segment is made next: tables, and a machine of random requests."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vidnb.server.segment_queue import MAX_GAP, SegmentQueue

AHEAD = 15


def queue(*sessions: str, transcodes: int = 1, ahead: int = AHEAD) -> SegmentQueue[str]:
    """Return a queue with some sessions; a name in capitals is that of a remux."""
    made: SegmentQueue[str] = SegmentQueue(transcodes)
    for session in sessions:
        made.open(session, is_transcode=session.islower(), read_ahead=ahead)
    return made


def run(made: SegmentQueue[str], limit: int = 100) -> list[tuple[str, int]]:
    """Run one job after the other; return them."""
    done: list[tuple[str, int]] = []
    while len(done) < limit and (job := made.start()) is not None:
        made.finish(job.session, is_made=True)
        done.append(job)
    return done


@pytest.mark.parametrize(
    ("requests", "made"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([3], [3], id="one"),
        pytest.param([3, 3], [3], id="two-wait-for-one"),
        pytest.param([3, 4, 5], [3, 4, 5], id="a-feeder-in-order"),
        pytest.param([5, 4, 3], [3, 4, 5], id="the-same-in-any-order"),
        pytest.param([3, 3 + MAX_GAP], [3, 3 + MAX_GAP], id="over-a-gap"),
        pytest.param([3, 4 + MAX_GAP], [4 + MAX_GAP, 3], id="a-seek-comes-first"),
        pytest.param([80, 81, 2, 3], [2, 3, 80, 81], id="a-seek-back"),
        pytest.param([0, 4, 8, 12, 90], [90, 0, 4, 8, 12], id="a-run-of-gaps"),
        pytest.param([7, -2, -1], [-2, -1, 7], id="playlist-and-init-first"),
    ],
)
def test_requests_come_in_runs_the_latest_first(requests: list[int], made: list[int]) -> None:
    one = queue("a", ahead=0)
    for number in requests:
        one.request("a", number)
    assert [number for _, number in run(one)] == made


def test_read_ahead_follows_the_last_delivered_segment_within_the_video() -> None:
    one = queue("a")
    one.set_count("a", 12)
    one.request("a", 7)
    assert [number for _, number in run(one)] == [7, 8, 9, 10, 11]
    one.add_made("a", 2)
    assert [number for _, number in run(one)] == [3, 4, 5, 6]
    one.add_made("a", 0)
    assert [number for _, number in run(one)] == [1]


def test_read_ahead_is_bounded_while_the_length_is_unknown() -> None:
    one = queue("a")
    one.request("a", 100)
    assert [number for _, number in run(one)] == list(range(100, 101 + AHEAD))


def test_the_playlist_and_the_init_segment_start_no_read_ahead() -> None:
    one = queue("a")
    one.request("a", -2)
    one.request("a", -1)
    assert [number for _, number in run(one)] == [-2, -1]


def test_a_request_precedes_read_ahead_of_every_session() -> None:
    one = queue("a", "b")
    one.add_made("a", 0)
    assert one.start() == ("a", 1)
    one.request("b", 50)
    assert one.start() is None  # one encoder
    one.finish("a", is_made=True)
    assert one.start() == ("b", 50)


def test_a_delivery_out_of_order_does_not_move_the_read_ahead_back() -> None:
    one = queue("a", ahead=1)
    for number in (40, 50):
        one.request("a", number)
    assert [number for _, number in run(one)] == [50, 40, 51]


def test_sessions_take_turns() -> None:
    one = queue("a", "b", ahead=2)
    for session in "ab":
        for number in (0, 1):
            one.request(session, number)
    assert [session for session, _ in run(one)] == list("abababab")


@pytest.mark.parametrize(
    ("sessions", "transcodes", "running"),
    [
        ("abc", 1, "a"),
        ("abc", 2, "ab"),
        ("aBC", 1, "aB"),
        ("ABC", 1, "AB"),
        ("ABCd", 2, "ABC"),
        ("aBcD", 2, "aBc"),
    ],
)
def test_as_many_jobs_run_as_there_are_places(sessions: str, transcodes: int, running: str) -> None:
    one = queue(*sessions, transcodes=transcodes)
    for session in sessions:
        one.request(session, 0)
    started = iter(one.start, None)
    assert "".join(job.session for job in started if job is not None) == running


def test_a_job_that_waits_for_bytes_leaves_its_place() -> None:
    one = queue("a", "b")
    one.request("a", 0)
    one.request("b", 0)
    assert one.start() == ("a", 0)
    one.set_blocked("a", is_blocked=True)
    assert one.start() == ("b", 0)
    one.set_blocked("a", is_blocked=False)
    one.finish("b", is_made=True)
    assert one.start() is None
    one.finish("a", is_made=True)
    assert one.start() == ("a", 1)
    one.set_blocked("b", is_blocked=True)  # it has no job: without effect
    one.set_blocked("gone", is_blocked=True)
    one.finish("a", is_made=True)
    assert one.start() == ("b", 1)


def test_a_job_that_waits_for_bytes_is_overtaken_by_what_is_made_first() -> None:
    one = queue("a", ahead=2)
    one.request("a", 0)
    assert one.start() == ("a", 0)
    one.finish("a", is_made=True)
    assert one.start() == ("a", 1)  # read ahead
    one.set_blocked("a", is_blocked=True)
    assert one.overtaken() == []  # nobody waits
    one.request("a", 1)
    assert one.overtaken() == []  # it is what is waited for
    one.request("a", 30)
    assert one.overtaken() == ["a"]
    one.set_blocked("a", is_blocked=False)
    assert one.overtaken() == []  # it is being made
    one.set_blocked("a", is_blocked=True)
    one.put_back("a")
    assert one.start() == ("a", 30)
    assert one.overtaken() == []
    one.set_blocked("a", is_blocked=True)
    assert one.overtaken() == []  # the earlier request does not interrupt it again
    one.finish("a", is_made=True)
    assert one.start() == ("a", 1)  # it is still waited for
    one.set_blocked("a", is_blocked=True)
    one.request("a", -1)
    assert one.overtaken() == ["a"]


def test_an_overtaken_job_of_a_closed_session_ends_it() -> None:
    one = queue("a", "b", transcodes=1)
    one.request("a", 0)
    assert one.start() == ("a", 0)
    one.set_blocked("a", is_blocked=True)
    one.close("a")
    assert one.overtaken() == []
    one.put_back("a")
    assert not one.withdraw("a", 0)
    one.request("b", 3)
    assert run(one)[0] == ("b", 3)


def test_what_nobody_waits_for_any_more_is_not_made() -> None:
    one = queue("a", ahead=0)
    for number in (4, 4, 60):
        one.request("a", number)
    assert one.withdraw("a", 60)
    assert not one.withdraw("a", 4)  # another one waits
    assert not one.withdraw("a", 60)
    assert not one.withdraw("gone", 4)
    assert run(one) == [("a", 4)]


def test_a_withdrawn_request_that_is_being_made_starts_no_read_ahead() -> None:
    one = queue("a")
    one.request("a", 4)
    assert one.start() == ("a", 4)
    assert one.withdraw("a", 4)
    one.finish("a", is_made=True)
    assert one.start() is None


def test_nothing_is_read_ahead_after_a_failure_until_the_next_delivery() -> None:
    one = queue("a", ahead=2)
    one.add_made("a", 0)
    assert one.start() == ("a", 1)
    one.finish("a", is_made=False)
    assert one.start() is None
    one.request("a", 1)  # who asks for it gets the error
    assert one.start() == ("a", 1)
    one.finish("a", is_made=False)
    assert one.start() is None
    one.add_made("a", 5)
    assert run(one) == [("a", 6), ("a", 7)]


def test_a_closed_session_keeps_its_place_until_its_job_ends() -> None:
    one = queue("a", "b")
    one.request("a", 0)
    one.request("a", 4)
    one.request("b", 0)
    assert one.start() == ("a", 0)
    one.close("a")
    assert one.start() is None
    one.finish("a", is_made=True)
    assert one.start() == ("b", 0)
    one.finish("b", is_made=True)
    one.close("b")
    assert one.start() is None


def test_busy_is_what_runs_or_is_waited_for() -> None:
    one = queue("a", ahead=1)
    assert not one.is_busy("a")
    one.request("a", 0)
    assert one.is_busy("a")
    one.start()
    one.withdraw("a", 0)
    assert one.is_busy("a")
    one.finish("a", is_made=True)
    assert not one.is_busy("a")


COUNT = 40


class Requests(RuleBasedStateMachine):
    """Random requests of three sessions, against a model of who waits for what."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = queue("a", "b", "C", transcodes=2, ahead=4)
        self.waiting: dict[tuple[str, int], int] = {}
        self.running: dict[str, int] = {}
        self.delivered: dict[str, int] = {}
        for session in "abC":
            self.queue.set_count(session, COUNT)

    sessions = st.sampled_from("abC")
    numbers = st.integers(-2, COUNT - 1)

    @rule(session=sessions, number=numbers)
    def request(self, session: str, number: int) -> None:
        self.queue.request(session, number)
        self.waiting[session, number] = self.waiting.get((session, number), 0) + 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        one = data.draw(st.sampled_from(sorted(self.waiting)))
        self.waiting[one] -= 1
        is_last = not self.waiting[one]
        assert self.queue.withdraw(*one) == is_last
        if is_last:
            del self.waiting[one]

    @rule(session=sessions, number=st.integers(0, COUNT - 1))
    def watch(self, session: str, number: int) -> None:
        self.queue.add_made(session, number)
        self.delivered[session] = number

    @rule()
    def start(self) -> None:
        job = self.queue.start()
        could = {session for session, _ in self.waiting if session not in self.running}
        if job is None:
            full = len(self.running) > 2
            encoding = sum(session.islower() for session in self.running)
            assert full or all(session.islower() and encoding == 2 for session in could)
            return
        assert job.session not in self.running
        assert job.number < COUNT
        is_wanted = tuple(job) in self.waiting
        # Nothing is made for nobody: it is waited for, or follows what was delivered.
        assert is_wanted or job.session in self.delivered
        if not is_wanted:  # then nobody waits who could have been served
            encoding = sum(session.islower() for session in self.running)
            assert all(session.islower() and encoding == 2 for session in could)
        self.running[job.session] = job.number

    @precondition(lambda self: self.running)
    @rule(data=st.data(), is_made=st.booleans())
    def finish(self, data: Any, is_made: bool) -> None:
        session = data.draw(st.sampled_from(sorted(self.running)))
        number = self.running.pop(session)
        self.queue.finish(session, is_made=is_made)
        was_wanted = self.waiting.pop((session, number), 0)
        if not is_made:
            self.delivered.pop(session, None)
        elif was_wanted and number >= 0:
            self.delivered[session] = number

    @invariant()
    def places_are_bounded(self) -> None:
        assert len(self.running) <= 3
        assert sum(session.islower() for session in self.running) <= 2

    def teardown(self) -> None:
        """Nothing is lost: with all jobs done, nobody waits."""
        for session in tuple(self.running):
            self.waiting.pop((session, self.running.pop(session)), None)
            self.queue.finish(session, is_made=True)
        for job in run(self.queue, limit=10_000):
            self.waiting.pop(job, None)
        assert not self.waiting
        assert not any(self.queue.is_busy(session) for session in "abC")


TestRequests = Requests.TestCase
