"""Automatic connections, played against origins of every kind on a virtual clock.

The whole `Transfer` runs, 5 ms at a time. An origin says how many bytes each of its
connections may have sent by now; the times are compared with those of sixteen connections opened
at once, which is what a caller could have named who knew the origin.

Most of it runs without the tracer of coverage, which takes four times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from vidnb.download.planner.concurrency import (
    FAST_EACH_BYTES_PER_S,
    MAX_CONNECTIONS,
    ConcurrencyController,
)
from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    GiveUp,
    RangeStored,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    RetryTimerFired,
    ScheduleRetry,
    StartRequest,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.transfer import UNLIMITED, Transfer
from vidnb.http.headers import fold_headers, format_content_range
from vidnb.http.ranges import ByteRange

STEP_S = 0.005
TICK_S = 0.05
PIECE_BYTES = 128 * 1024
MIB = 2**20
BEGUN_S = 1_800_000_000.0


@dataclass
class Wire:
    """One connection: asked at `asked_s`, its answer's head due at `head_s`."""

    fetch: StartRequest
    asked_s: float
    head_s: float
    left_bytes: int = 0
    sent_bytes: float = 0
    status: int = 0
    budget_bytes: float = 0.0
    window_bytes: float = 14_600
    acked_s: float = 0.0
    held_bytes: float = 0.0


@dataclass
class Link:
    """An origin and the way to it.

    `each` is the pace of one connection (B/s), `shared` that of all, `line` what the wire can do.
    `burst_s`: each connection gets what is due for so long at once, at the pace of the line, and
    then nothing until it is due. More connections than it `takes` meet its `refusal`: a status, a
    kind of failure, or "silence". Bytes are handed on in pieces of at least `chunk_bytes`.
    """

    each: float = float("inf")
    shared: float = float("inf")
    line: float = 1.25e9
    burst_s: float = 0.0
    round_trip_s: float = 0.0005
    has_slow_start: bool = False
    takes: int = 1000
    refusal: str = "503"
    has_ranges: bool = True
    chunk_bytes: int = 1

    def due(self, wire: Wire, now_s: float) -> float:
        """Return how many bytes this connection may have got by now, but for what is shared."""
        age_s = now_s - wire.head_s
        if self.burst_s:
            return self.each * self.burst_s * (int(age_s / self.burst_s) + 1)
        if self.has_slow_start:
            # One window per round trip, twice as large each time, up to the cap.
            while now_s - wire.acked_s >= self.round_trip_s:
                wire.acked_s += self.round_trip_s
                wire.budget_bytes += min(wire.window_bytes, self.each * self.round_trip_s)
                wire.window_bytes *= 2
            return wire.budget_bytes
        return self.each * (age_s + STEP_S)


@dataclass
class Play:
    """One transfer of `size_bytes` over a link."""

    link: Link
    size_bytes: int
    connections: int | None = None
    spare: Callable[[float], int] | None = None
    now_s: float = BEGUN_S
    wires: dict[int, Wire] = field(default_factory=dict)
    outcome: Complete | GiveUp | None = None
    wakes_s: float | None = None
    requests: int = 0
    steps: int = 0
    received_bytes: int = 0
    host_takes: int | None = None
    jumps: dict[float, float] = field(default_factory=dict)
    clock_s: float = BEGUN_S

    @property
    def peak(self) -> int:
        """The most connections at once."""
        return self.transfer.peak_connections

    def __post_init__(self) -> None:
        self.transfer = Transfer(
            policy=RetryPolicy(), max_connections=self.connections, host_takes=self.host_takes
        )

    def run(self, until_s: float = 600.0) -> "Play":
        """Play to the end, or for so long."""
        if not self.steps:
            self.obey(self.transfer.start())
        while self.outcome is None and self.elapsed_s < until_s:
            self.steps += 1
            self.now_s = BEGUN_S + self.steps * STEP_S
            self.clock_s = self.now_s + sum(
                by_s for at_s, by_s in self.jumps.items() if at_s <= self.elapsed_s
            )
            if self.wakes_s is not None and self.now_s >= self.wakes_s:
                self.wakes_s = None
                self.tell(RetryTimerFired())
            self.flow()
            if self.outcome is None and self.wires and self.steps % round(TICK_S / STEP_S) == 0:
                self.tell(Ticked())
        return self

    @property
    def elapsed_s(self) -> float:
        return self.now_s - BEGUN_S

    def flow(self) -> None:
        room = min(self.link.line, self.link.shared) * STEP_S
        for wire in list(self.wires.values()):
            if wire.fetch.fetch_id in self.wires and not wire.status:
                self.open(wire)
        ready = [wire for wire in self.wires.values() if wire.status in {200, 206}]
        wants = {
            wire.fetch.fetch_id: min(
                wire.left_bytes - wire.held_bytes,
                max(0.0, self.link.due(wire, self.now_s) - wire.sent_bytes - wire.held_bytes),
            )
            for wire in ready
        }
        # Fair shares of what the line takes in one step.
        shares = dict.fromkeys(wants, 0.0)
        while room > 1 and any(wants.values()):
            hungry = [key for key, want in wants.items() if want > 0]
            share = room / len(hungry)
            for key in hungry:
                given = min(share, wants[key])
                wants[key] -= given
                shares[key] += given
                room -= given
        for wire in ready:
            wire.held_bytes += shares[wire.fetch.fetch_id]
            if wire.held_bytes < min(self.link.chunk_bytes, wire.left_bytes):
                continue
            size = int(wire.held_bytes)
            wire.held_bytes = 0
            while size > 0 and wire.fetch.fetch_id in self.wires and self.outcome is None:
                piece = min(size, PIECE_BYTES)
                size -= piece
                wire.left_bytes -= piece
                wire.sent_bytes += piece
                self.received_bytes += piece
                self.tell(BodyReceived(wire.fetch.fetch_id, piece))
            if not wire.left_bytes and wire.fetch.fetch_id in self.wires:
                del self.wires[wire.fetch.fetch_id]
                self.tell(ResponseEnded(wire.fetch.fetch_id))

    def open(self, wire: Wire) -> None:
        if self.now_s < wire.head_s:
            return
        asked = fold_headers(wire.fetch.headers).get("range")
        open_now = sum(other.status in {200, 206} for other in self.wires.values())
        if open_now >= self.link.takes:
            if self.link.refusal == "silence":
                return
            del self.wires[wire.fetch.fetch_id]
            if self.link.refusal == "503":
                self.tell(ResponseStarted(wire.fetch.fetch_id, 503, {}))
            else:
                kind = FailureKind[self.link.refusal]
                self.tell(ConnectionFailed(wire.fetch.fetch_id, Failure(kind, "no")))
            return
        headers = {"etag": '"a"'}
        byte_range = ByteRange(wire.fetch.start, self.size_bytes)
        if asked is None or not self.link.has_ranges:
            wire.status, wire.left_bytes = 200, self.size_bytes
            headers["content-length"] = str(self.size_bytes)
        else:
            stop = asked.partition("-")[2]
            byte_range = ByteRange(wire.fetch.start, int(stop) + 1 if stop else self.size_bytes)
            wire.status, wire.left_bytes = 206, byte_range.size_bytes
            headers["content-range"] = format_content_range(byte_range, self.size_bytes)
        wire.acked_s = self.now_s
        wire.budget_bytes = 0.0
        self.tell(ResponseStarted(wire.fetch.fetch_id, wire.status, headers))

    def tell(self, seen: Event) -> None:
        spare = UNLIMITED if self.spare is None else self.spare(self.elapsed_s) - len(self.wires)
        self.obey(
            self.transfer.handle(seen, now_s=self.clock_s, jitter=0.0, spare_connections=spare)
        )

    def obey(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case StartRequest():
                    self.requests += 1
                    # A handshake and a request: two round trips to the first byte.
                    self.wires[command.fetch_id] = Wire(
                        command, self.now_s, self.now_s + 2 * self.link.round_trip_s
                    )
                case CancelRequest(fetch_id):
                    self.wires.pop(fetch_id, None)
                case WriteRange(byte_range, _, generation):
                    self.tell(RangeStored(byte_range, generation))
                case ScheduleRetry(delay_s):
                    self.wakes_s = self.now_s + delay_s
                case Complete() | GiveUp():
                    self.outcome = command


EACH = {
    "smooth": Link(each=10e6),
    "in-large-pieces": Link(each=10e6, chunk_bytes=2 * PIECE_BYTES),
    "40-ms": Link(each=10e6, round_trip_s=0.04),
    "40-ms-and-slow-start": Link(each=10e6, round_trip_s=0.04, has_slow_start=True),
    "bursts-of-1-s": Link(each=10 * MIB, burst_s=1.0),
    "bursts-of-0.2-s": Link(each=10 * MIB, burst_s=0.2),
}


@pytest.mark.parametrize("link", EACH.values(), ids=EACH)
@pytest.mark.no_cover
def test_a_cap_on_each_connection_is_found_in_time(link: Link) -> None:
    """At most half as long again as with sixteen from the start, and no byte twice."""
    found, named = Play(link, 256 * MIB).run(), Play(link, 256 * MIB, MAX_CONNECTIONS).run()
    assert isinstance(found.outcome, Complete)
    assert found.elapsed_s <= 1.5 * named.elapsed_s
    assert found.peak == named.peak == MAX_CONNECTIONS
    assert found.received_bytes <= 1.01 * 256 * MIB


@pytest.mark.parametrize(
    ("link", "size_bytes", "most"),
    [
        pytest.param(Link(shared=10e6), 64 * MIB, 2, id="10-MB/s"),
        pytest.param(Link(shared=100e6), 256 * MIB, 2, id="100-MB/s"),
        pytest.param(
            Link(shared=10e6, chunk_bytes=2 * PIECE_BYTES), 64 * MIB, 2, id="in-large-pieces"
        ),
        pytest.param(
            Link(shared=100e6, round_trip_s=0.04, has_slow_start=True),
            256 * MIB,
            4,
            id="100-MB/s-40-ms-and-slow-start",
        ),
        pytest.param(
            Link(shared=10e6, round_trip_s=0.04, has_slow_start=True),
            64 * MIB,
            4,
            id="10-MB/s-40-ms-and-slow-start",
        ),
        pytest.param(Link(each=10e6, shared=40e6), 128 * MIB, 8, id="four-fill-it"),
    ],
)
@pytest.mark.no_cover
def test_a_limit_that_all_share_is_not_crowded(link: Link, size_bytes: int, most: int) -> None:
    play = Play(link, size_bytes).run()
    assert isinstance(play.outcome, Complete)
    assert 2 <= play.peak <= most
    assert play.elapsed_s <= 1.1 * size_bytes / link.shared + 0.5


@pytest.mark.no_cover
def test_a_fast_origin_is_left_alone() -> None:
    """At a gigabyte a second more connections only cost this machine's time."""
    play = Play(Link(line=1e9), 512 * MIB).run()
    assert (play.peak, play.requests) == (1, 1)
    assert play.elapsed_s < 0.7
    assert Play(Link(line=1.1 * FAST_EACH_BYTES_PER_S), 512 * MIB).run().peak == 1
    assert Play(Link(line=0.9 * FAST_EACH_BYTES_PER_S), 512 * MIB).run().peak == 2


@pytest.mark.parametrize(
    ("each", "peak"),
    [
        pytest.param(0.9, 4, id="four-are-fast-by-any-measure"),
        pytest.param(0.5, 8, id="eight-are-needed"),
        pytest.param(1.1, 1, id="one-is-enough"),
    ],
)
@pytest.mark.no_cover
def test_fast_is_fast_for_each(each: float, peak: int) -> None:
    """Where each connection is held back a little, more are opened until all together are fast."""
    link = Link(each=each * FAST_EACH_BYTES_PER_S)
    assert Play(link, 1024 * MIB).run().peak == peak


@pytest.mark.parametrize(
    ("size_bytes", "link"),
    [
        pytest.param(5 * MIB, Link(each=10e6), id="half-a-second"),
        pytest.param(30 * MIB, Link(each=100e6), id="a-third-of-a-second"),
        pytest.param(5 * MIB, Link(each=1e9, round_trip_s=0.04, has_slow_start=True), id="rising"),
    ],
)
def test_what_soon_arrives_needs_no_second(size_bytes: int, link: Link) -> None:
    assert Play(link, size_bytes).run().requests == 1


def test_a_small_file_that_is_slow_gets_a_second() -> None:
    play = Play(Link(each=1e6), 5 * MIB).run()
    assert play.peak >= 2
    assert play.elapsed_s < 2.5


@pytest.mark.parametrize("takes", [1, 4])
@pytest.mark.parametrize("refusal", ["503", "CONNECT"])
def test_a_refused_connection_costs_no_time(takes: int, refusal: str) -> None:
    link = Link(each=10e6, takes=takes, refusal=refusal)
    play = Play(link, 64 * MIB).run()
    assert isinstance(play.outcome, Complete)
    assert play.transfer.refused_connections == takes
    assert play.elapsed_s <= 64 * MIB / (takes * 10e6) + 0.5
    assert play.requests <= 2 * takes + 2  # each refused one is asked once


@pytest.mark.no_cover
def test_a_connection_that_breaks_at_once_was_not_refused() -> None:
    """It is tried again after a quarter of a minute, then after twice as long."""
    play = Play(Link(each=10e6, takes=1, refusal="LOST"), 600 * MIB).run()
    assert isinstance(play.outcome, Complete)
    assert play.transfer.refused_connections is None
    assert play.requests == 4  # at the start, after 15 s, after 45 s; it ends before 105 s


def test_a_connection_that_stays_silent_is_given_up() -> None:
    play = Play(Link(each=10e6, takes=1, refusal="silence"), 100 * MIB)
    play.run(until_s=0.5)
    assert len(play.wires) == 2
    play.run(until_s=2.5)
    assert len(play.wires) == 1
    assert isinstance(play.run().outcome, Complete)


def test_an_origin_without_ranges_is_asked_twice_and_left_alone() -> None:
    """With If-Range and without; the one stream goes on meanwhile."""
    play = Play(Link(each=10e6, has_ranges=False), 64 * MIB).run()
    assert isinstance(play.outcome, Complete)
    assert (play.requests, play.transfer.refused_connections) == (3, 1)
    assert play.elapsed_s <= 64 * MIB / 10e6 + 0.1


def test_bursts_that_fill_a_shared_line_and_stop() -> None:
    """The first burst fills the line, so more did not pay; the silence after it tells better."""
    link = Link(each=10 * MIB, burst_s=1.0, shared=30e6)
    found, named = Play(link, 128 * MIB).run(), Play(link, 128 * MIB, MAX_CONNECTIONS).run()
    assert found.elapsed_s <= 1.5 * named.elapsed_s
    assert found.peak <= 8


@pytest.mark.no_cover
def test_a_limit_that_goes_away_is_noticed() -> None:
    link = Link(each=10e6, shared=10e6)
    play = Play(link, 600 * MIB)
    play.run(until_s=14.0)
    link.shared = 1e9
    assert (play.peak, len(play.wires)) == (2, 1)
    play.run(until_s=18.0)
    assert play.peak == MAX_CONNECTIONS


@pytest.mark.parametrize(
    "jumps",
    [
        {0.3: 1e6},
        {0.3: -1e6},
        {0.12: 1e6, 0.2: -1e6, 0.31: 3.0},
        {at / 10: (-1.0) ** at for at in range(30)},
    ],
)
def test_a_clock_that_jumps_costs_time_at_most(jumps: dict[float, float]) -> None:
    play = Play(Link(each=10e6), 64 * MIB, jumps=jumps).run()
    assert isinstance(play.outcome, Complete)
    assert play.received_bytes <= 1.05 * 64 * MIB
    assert play.elapsed_s <= 64 * MIB / 10e6 + 0.1


# The quota of the process, and what is known of the host.


@pytest.mark.parametrize("connections", [None, 16])
def test_no_more_than_there_are_to_spare(connections: int | None) -> None:
    play = Play(Link(each=10e6), 64 * MIB, connections, spare=lambda _: 3).run()
    assert isinstance(play.outcome, Complete)
    assert play.peak == 3


@pytest.mark.parametrize("connections", [None, 16])
@pytest.mark.no_cover
def test_who_holds_several_makes_room(connections: int | None) -> None:
    """One on every tick while others wait, but never the last; later it may grow again."""
    play = Play(Link(each=5e6), 512 * MIB, connections)
    play.run(until_s=0.7)
    held = len(play.wires)
    assert held >= 8
    play.spare = lambda _: len(play.wires) - 1
    play.run(until_s=0.7 + TICK_S)
    assert len(play.wires) == held - 1
    play.run(until_s=2.0)
    assert len(play.wires) == 1
    play.spare = None
    play.run(until_s=2.5)
    assert len(play.wires) > 1


@pytest.mark.parametrize(("connections", "peak"), [(None, 4), (16, 4), (2, 2)])
def test_what_a_host_takes_is_not_exceeded(connections: int | None, peak: int) -> None:
    play = Play(Link(each=10e6, takes=4), 64 * MIB, connections, host_takes=4).run()
    assert play.peak == peak
    assert play.transfer.refused_connections is None


def test_one_connection_is_one() -> None:
    assert Play(Link(each=10e6), 64 * MIB, 1).run().requests == 1


def test_a_waiting_reader_does_not_wait_for_the_ramp() -> None:
    """Its request is asked at once, though nothing was measured and no range was proved yet."""
    play = Play(Link(each=10e6), 256 * MIB)
    play.run(until_s=0.01)
    assert len(play.wires) == 1
    play.tell(ReaderWaits(1, 200 * MIB))
    assert [wire.fetch.start for wire in play.wires.values()] == [0, 200 * MIB]
    play.tell(ReaderWaits(2, 100 * MIB))  # has to wait for the proof
    assert len(play.wires) == 2
    play.run(until_s=0.02)
    assert [wire.fetch.start for wire in play.wires.values()] == [0, 200 * MIB, 100 * MIB]
    play.spare = lambda _: 3
    for reader, wire in enumerate(list(play.wires.values())[1:], 1):
        play.tell(ReaderWaits(reader, wire.fetch.start + int(wire.sent_bytes)))
    play.tell(ReaderWaits(3, 50 * MIB))  # takes what no reader needs
    assert [wire.fetch.start for wire in play.wires.values()] == [200 * MIB, 100 * MIB, 50 * MIB]


def test_what_a_reader_waits_for_is_not_given_up() -> None:
    """Nor where the added connections turn out not to pay."""
    play = Play(Link(shared=10e6), 256 * MIB)
    play.run(until_s=0.08)
    assert len(play.wires) == 2
    (added,) = [wire for wire in play.wires.values() if wire.fetch.start]
    for _ in range(60):
        position = added.fetch.start + int(added.sent_bytes)
        play.tell(ReaderWaits(1, position + MIB // 2))
        play.run(until_s=play.elapsed_s + STEP_S)
    assert added.fetch.fetch_id in play.wires


# The ramp alone.


def test_the_window_grows_with_the_time_to_first_byte() -> None:
    controller = ConcurrencyController()
    assert controller.window_s == 0.1
    for waited_s, window_s in [
        (None, 0.1),
        (0.0, 0.1),
        (-5.0, 0.1),
        (3.0, 2.0),
        (0.2, 0.4),
        (0.5, 0.4),
        (0.01, 0.1),
    ]:
        controller.joined(0.0, waited_s)
        assert controller.window_s == window_s


def test_the_pause_doubles_up_to_four_minutes() -> None:
    controller, now_s, pauses = ConcurrencyController(), 0.0, []
    for _ in range(7):
        controller.hold(1, now_s)
        begun_s = now_s
        while controller.allowed == 1:
            now_s += 0.5
            controller.received(now_s, 1000)
            controller.look(now_s, holding=1, awaited=0, rest_bytes=2**40, may_open=True)
        pauses.append(now_s - begun_s)
    assert pauses == [15.0, 30.0, 60.0, 120.0, 240.0, 240.0, 240.0]


def test_it_looks_a_hundred_times_a_second_at_most() -> None:
    controller = ConcurrencyController()
    assert controller.is_due(5.0)
    controller.look(5.0, holding=1, awaited=1, rest_bytes=0, may_open=False)
    assert [controller.is_due(now_s) for now_s in (5.005, 5.011, 4.9)] == [False, True, True]
