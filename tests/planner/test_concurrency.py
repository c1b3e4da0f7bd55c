"""Adaptive concurrency, simulated against many kinds of origins on a virtual clock.

The whole `Transfer` runs in steps of 5 ms. A `Link` says how many bytes each connection may have
sent by now; durations are compared with those of sixteen connections opened at once, which a caller
who knows the origin could choose.

Most tests run without coverage measurement, which takes four times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from vidnb.download.planner.concurrency import (
    FAST_CONNECTION_BYTES_PER_S,
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
CHUNK_BYTES = 128 * 1024
MIB = 2**20
START_S = 1_800_000_000.0


@dataclass
class Connection:
    """A connection whose response head is due at `head_s`; the rest models TCP slow start."""

    request: StartRequest
    head_s: float
    remaining_bytes: int = 0
    sent_bytes: float = 0
    status: int = 0
    budget_bytes: float = 0.0
    window_bytes: float = 14_600
    acked_s: float = 0.0
    buffered_bytes: float = 0.0


@dataclass
class Link:
    """An origin and the network path to it.

    Rates (B/s): `per_connection`, `shared` by all connections, and `capacity` of the path. With
    `burst_s` each connection gets the bytes of so many seconds at once, then nothing until they
    are over. Connections beyond `host_limit` get `refusal`: a status, a `FailureKind`, or
    "silence". Bytes are delivered in chunks of at least `chunk_bytes`.
    """

    per_connection: float = float("inf")
    shared: float = float("inf")
    capacity: float = 1.25e9
    burst_s: float = 0.0
    round_trip_s: float = 0.0005
    has_slow_start: bool = False
    host_limit: int = 1000
    refusal: str = "503"
    has_ranges: bool = True
    chunk_bytes: int = 1

    def due_bytes(self, connection: Connection, now_s: float) -> float:
        """Return how many bytes a connection may have received by now, apart from shared limits."""
        age_s = now_s - connection.head_s
        if self.burst_s:
            return self.per_connection * self.burst_s * (int(age_s / self.burst_s) + 1)
        if self.has_slow_start:
            # One congestion window per round trip, doubled each time, up to the rate limit.
            while now_s - connection.acked_s >= self.round_trip_s:
                connection.acked_s += self.round_trip_s
                connection.budget_bytes += min(
                    connection.window_bytes, self.per_connection * self.round_trip_s
                )
                connection.window_bytes *= 2
            return connection.budget_bytes
        return self.per_connection * (age_s + STEP_S)


@dataclass
class Simulation:
    """A transfer of `size_bytes` over a link.

    `available(elapsed_s)`: how many connections the process allows. `jumps` maps the elapsed time
    of a clock jump to its size (s).
    """

    link: Link
    size_bytes: int
    max_connections: int | None = None
    available: Callable[[float], int] | None = None
    now_s: float = START_S
    connections: dict[int, Connection] = field(default_factory=dict)
    outcome: Complete | GiveUp | None = None
    retry_s: float | None = None
    requests: int = 0
    refused: int = 0
    steps: int = 0
    received_bytes: int = 0
    host_limit: int | None = None
    jumps: dict[float, float] = field(default_factory=dict)
    clock_s: float = START_S

    @property
    def peak(self) -> int:
        """The most connections at once."""
        return self.transfer.peak_connections

    def __post_init__(self) -> None:
        self.transfer = Transfer(
            policy=RetryPolicy(), max_connections=self.max_connections, host_limit=self.host_limit
        )

    def run(self, until_s: float = 600.0) -> "Simulation":
        """Run until the transfer ends, or until `until_s` (s) have elapsed."""
        if not self.steps:
            self.execute(self.transfer.start())
        while self.outcome is None and self.elapsed_s < until_s:
            self.steps += 1
            self.now_s = START_S + self.steps * STEP_S
            self.clock_s = self.now_s + sum(
                by_s for at_s, by_s in self.jumps.items() if at_s <= self.elapsed_s
            )
            if self.retry_s is not None and self.now_s >= self.retry_s:
                self.retry_s = None
                self.report(RetryTimerFired())
            self.deliver()
            if (
                self.outcome is None
                and self.connections
                and self.steps % round(TICK_S / STEP_S) == 0
            ):
                self.report(Ticked())
        return self

    @property
    def elapsed_s(self) -> float:
        return self.now_s - START_S

    def deliver(self) -> None:
        budget_bytes = min(self.link.capacity, self.link.shared) * STEP_S
        for connection in list(self.connections.values()):
            if connection.request.request_id in self.connections and not connection.status:
                self.open(connection)
        ready = [
            connection
            for connection in self.connections.values()
            if connection.status in {200, 206}
        ]
        wants = {
            connection.request.request_id: min(
                connection.remaining_bytes - connection.buffered_bytes,
                max(
                    0.0,
                    self.link.due_bytes(connection, self.now_s)
                    - connection.sent_bytes
                    - connection.buffered_bytes,
                ),
            )
            for connection in ready
        }
        # Fair shares of what the path transmits in one step.
        shares = dict.fromkeys(wants, 0.0)
        while budget_bytes > 1 and any(wants.values()):
            unsatisfied = [key for key, want in wants.items() if want > 0]
            share = budget_bytes / len(unsatisfied)
            for key in unsatisfied:
                given = min(share, wants[key])
                wants[key] -= given
                shares[key] += given
                budget_bytes -= given
        for connection in ready:
            connection.buffered_bytes += shares[connection.request.request_id]
            if connection.buffered_bytes < min(self.link.chunk_bytes, connection.remaining_bytes):
                continue
            size = int(connection.buffered_bytes)
            connection.buffered_bytes = 0
            while (
                size > 0
                and connection.request.request_id in self.connections
                and self.outcome is None
            ):
                chunk = min(size, CHUNK_BYTES)
                size -= chunk
                connection.remaining_bytes -= chunk
                connection.sent_bytes += chunk
                self.received_bytes += chunk
                self.report(BodyReceived(connection.request.request_id, chunk))
            if not connection.remaining_bytes and connection.request.request_id in self.connections:
                del self.connections[connection.request.request_id]
                self.report(ResponseEnded(connection.request.request_id))

    def open(self, connection: Connection) -> None:
        if self.now_s < connection.head_s:
            return
        range_header = fold_headers(connection.request.headers).get("range")
        open_now = sum(other.status in {200, 206} for other in self.connections.values())
        if open_now >= self.link.host_limit:
            if self.link.refusal == "silence":
                return
            self.refused += 1
            del self.connections[connection.request.request_id]
            if self.link.refusal == "503":
                self.report(ResponseStarted(connection.request.request_id, 503, {}))
            else:
                kind = FailureKind[self.link.refusal]
                self.report(ConnectionFailed(connection.request.request_id, Failure(kind, "no")))
            return
        headers = {"etag": '"a"'}
        byte_range = ByteRange(connection.request.start, self.size_bytes)
        if range_header is None or not self.link.has_ranges:
            connection.status, connection.remaining_bytes = 200, self.size_bytes
            headers["content-length"] = str(self.size_bytes)
        else:
            stop = range_header.partition("-")[2]
            byte_range = ByteRange(
                connection.request.start, int(stop) + 1 if stop else self.size_bytes
            )
            connection.status, connection.remaining_bytes = 206, byte_range.size_bytes
            headers["content-range"] = format_content_range(byte_range, self.size_bytes)
        connection.acked_s = self.now_s
        connection.budget_bytes = 0.0
        self.report(ResponseStarted(connection.request.request_id, connection.status, headers))

    def report(self, event: Event) -> None:
        available = UNLIMITED
        if self.available is not None:
            available = self.available(self.elapsed_s) - len(self.connections)
        self.execute(
            self.transfer.handle(
                event, now_s=self.clock_s, jitter=0.0, available_connections=available
            )
        )

    def execute(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case StartRequest():
                    self.requests += 1
                    # A handshake and a request: two round trips to the first byte.
                    self.connections[command.request_id] = Connection(
                        command, self.now_s + 2 * self.link.round_trip_s
                    )
                case CancelRequest(request_id):
                    self.connections.pop(request_id, None)
                case WriteRange(byte_range, _, generation):
                    self.report(RangeStored(byte_range, generation))
                case ScheduleRetry(delay_s):
                    self.retry_s = self.now_s + delay_s
                case Complete() | GiveUp():
                    self.outcome = command


RATE_LIMITED = {
    "steady": Link(per_connection=10e6),
    "in-large-chunks": Link(per_connection=10e6, chunk_bytes=2 * CHUNK_BYTES),
    "40-ms": Link(per_connection=10e6, round_trip_s=0.04),
    "40-ms-and-slow-start": Link(per_connection=10e6, round_trip_s=0.04, has_slow_start=True),
    "bursts-of-1-s": Link(per_connection=10 * MIB, burst_s=1.0),
    "bursts-of-0.2-s": Link(per_connection=10 * MIB, burst_s=0.2),
    "20-MB/s": Link(per_connection=20e6),
    "20-ms-and-slow-start": Link(per_connection=10e6, round_trip_s=0.02, has_slow_start=True),
}
MAX_RATIOS = {
    "steady": 1.1,
    "in-large-chunks": 1.17,
    "40-ms": 1.22,
    "40-ms-and-slow-start": 1.28,
    "bursts-of-1-s": 1.2,
    "bursts-of-0.2-s": 1.25,
    "20-MB/s": 1.15,
    "20-ms-and-slow-start": 1.27,
}
"""With a slow start, every doubling waits for new connections to accelerate."""


@pytest.mark.parametrize(
    ("link", "max_ratio"),
    [(link, MAX_RATIOS[name]) for name, link in RATE_LIMITED.items()],
    ids=RATE_LIMITED,
)
@pytest.mark.no_cover
def test_a_rate_limit_per_connection_is_detected(link: Link, max_ratio: float) -> None:
    """Little slower than with sixteen connections from the start; no repeated bytes."""
    adaptive, fixed = (
        Simulation(link, 256 * MIB).run(),
        Simulation(link, 256 * MIB, MAX_CONNECTIONS).run(),
    )
    assert isinstance(adaptive.outcome, Complete)
    assert adaptive.elapsed_s <= max_ratio * fixed.elapsed_s
    assert adaptive.peak == fixed.peak == MAX_CONNECTIONS
    assert adaptive.received_bytes <= 1.01 * 256 * MIB


@pytest.mark.parametrize(
    ("link", "size_bytes", "max_peak"),
    [
        pytest.param(Link(shared=10e6), 64 * MIB, 2, id="10-MB/s"),
        pytest.param(Link(shared=100e6), 256 * MIB, 2, id="100-MB/s"),
        pytest.param(
            Link(shared=10e6, chunk_bytes=2 * CHUNK_BYTES), 64 * MIB, 2, id="in-large-chunks"
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
        pytest.param(
            Link(per_connection=10e6, shared=40e6), 128 * MIB, 8, id="four-connections-fill-it"
        ),
    ],
)
@pytest.mark.no_cover
def test_a_shared_limit_gets_few_connections(link: Link, size_bytes: int, max_peak: int) -> None:
    sim = Simulation(link, size_bytes).run()
    assert isinstance(sim.outcome, Complete)
    assert 2 <= sim.peak <= max_peak
    assert sim.elapsed_s <= 1.1 * size_bytes / link.shared + 0.5


@pytest.mark.no_cover
def test_a_fast_origin_gets_one_connection() -> None:
    """At 1 GB/s more connections only cost CPU time."""
    sim = Simulation(Link(capacity=1e9), 512 * MIB).run()
    assert (sim.peak, sim.requests) == (1, 1)
    assert sim.elapsed_s < 0.7
    assert Simulation(Link(capacity=1.1 * FAST_CONNECTION_BYTES_PER_S), 512 * MIB).run().peak == 1
    assert Simulation(Link(capacity=0.9 * FAST_CONNECTION_BYTES_PER_S), 512 * MIB).run().peak == 2


@pytest.mark.parametrize(
    ("ratio", "peak"),
    [
        pytest.param(0.9, 4, id="four-are-fast-together"),
        pytest.param(0.5, 8, id="eight-are-needed"),
        pytest.param(1.1, 1, id="one-is-enough"),
    ],
)
@pytest.mark.no_cover
def test_connections_are_added_until_the_total_is_fast(ratio: float, peak: int) -> None:
    link = Link(per_connection=ratio * FAST_CONNECTION_BYTES_PER_S)
    assert Simulation(link, 1024 * MIB).run().peak == peak


@pytest.mark.parametrize(
    ("size_bytes", "link"),
    [
        pytest.param(5 * MIB, Link(per_connection=10e6), id="half-a-second"),
        pytest.param(30 * MIB, Link(per_connection=100e6), id="a-third-of-a-second"),
        pytest.param(
            5 * MIB,
            Link(per_connection=1e9, round_trip_s=0.04, has_slow_start=True),
            id="slow-start",
        ),
    ],
)
def test_a_short_transfer_gets_one_connection(size_bytes: int, link: Link) -> None:
    assert Simulation(link, size_bytes).run().requests == 1


def test_a_small_file_at_a_low_rate_gets_a_second_connection() -> None:
    sim = Simulation(Link(per_connection=1e6), 5 * MIB).run()
    assert sim.peak >= 2
    assert sim.elapsed_s < 2.5


@pytest.mark.parametrize("host_limit", [1, 4])
@pytest.mark.parametrize("refusal", ["503", "CONNECT"])
def test_a_refused_connection_costs_no_time(host_limit: int, refusal: str) -> None:
    link = Link(per_connection=10e6, host_limit=host_limit, refusal=refusal)
    sim = Simulation(link, 64 * MIB).run()
    assert isinstance(sim.outcome, Complete)
    assert sim.transfer.observed_host_limit == host_limit
    assert sim.elapsed_s <= 64 * MIB / (host_limit * 10e6) + 0.5
    assert sim.requests <= 2 * host_limit + 2  # no refused request is repeated


@pytest.mark.parametrize("host_limit", [1, 2, 3, 5, 6, 8, 12])
@pytest.mark.no_cover
def test_a_host_refuses_no_more_connections_than_it_serves(host_limit: int) -> None:
    """It may punish a burst of connections, so the number only doubles."""
    sim = Simulation(Link(per_connection=10e6, host_limit=host_limit), 256 * MIB).run(until_s=1.5)
    assert 0 < sim.refused <= host_limit
    assert len(sim.connections) == host_limit


@pytest.mark.no_cover
def test_a_connection_that_breaks_is_retried_later() -> None:
    """After 15 s, then after twice as long; it is not recorded as refused."""
    sim = Simulation(Link(per_connection=10e6, host_limit=1, refusal="LOST"), 600 * MIB).run()
    assert isinstance(sim.outcome, Complete)
    assert sim.transfer.observed_host_limit is None
    assert sim.requests == 4  # at the start, after 15 s, after 45 s; it ends before 105 s


def test_a_connection_without_a_response_is_cancelled() -> None:
    sim = Simulation(Link(per_connection=10e6, host_limit=1, refusal="silence"), 100 * MIB)
    sim.run(until_s=0.5)
    assert len(sim.connections) == 2
    sim.run(until_s=2.5)
    assert len(sim.connections) == 1
    assert isinstance(sim.run().outcome, Complete)


def test_range_support_is_tried_twice() -> None:
    """With If-Range and without; meanwhile the first response continues."""
    sim = Simulation(Link(per_connection=10e6, has_ranges=False), 64 * MIB).run()
    assert isinstance(sim.outcome, Complete)
    assert (sim.requests, sim.transfer.observed_host_limit) == (3, 1)
    assert sim.elapsed_s <= 64 * MIB / 10e6 + 0.1


def test_bursts_that_fill_a_shared_path() -> None:
    """More connections gain nothing during the first burst, but after it."""
    link = Link(per_connection=10 * MIB, burst_s=1.0, shared=30e6)
    adaptive, fixed = (
        Simulation(link, 128 * MIB).run(),
        Simulation(link, 128 * MIB, MAX_CONNECTIONS).run(),
    )
    assert adaptive.elapsed_s <= 1.5 * fixed.elapsed_s
    assert adaptive.peak <= 8


@pytest.mark.no_cover
def test_the_end_of_a_shared_limit_is_detected() -> None:
    link = Link(per_connection=10e6, shared=10e6)
    sim = Simulation(link, 600 * MIB)
    sim.run(until_s=14.0)
    link.shared = 1e9
    assert (sim.peak, len(sim.connections)) == (2, 1)
    sim.run(until_s=18.0)
    assert sim.peak == MAX_CONNECTIONS


@pytest.mark.parametrize(
    "jumps",
    [
        {0.3: 1e6},
        {0.3: -1e6},
        {0.12: 1e6, 0.2: -1e6, 0.31: 3.0},
        {at / 10: (-1.0) ** at for at in range(30)},
    ],
)
def test_a_clock_that_jumps_only_costs_time(jumps: dict[float, float]) -> None:
    sim = Simulation(Link(per_connection=10e6), 64 * MIB, jumps=jumps).run()
    assert isinstance(sim.outcome, Complete)
    assert sim.received_bytes <= 1.05 * 64 * MIB
    assert sim.elapsed_s <= 64 * MIB / 10e6 + 0.1


# Limits of the process and of the host.


@pytest.mark.parametrize("connections", [None, 16])
def test_the_limit_of_the_process_is_obeyed(connections: int | None) -> None:
    sim = Simulation(Link(per_connection=10e6), 64 * MIB, connections, available=lambda _: 3).run()
    assert isinstance(sim.outcome, Complete)
    assert sim.peak == 3


@pytest.mark.parametrize("connections", [None, 16])
@pytest.mark.no_cover
def test_connections_are_released_for_waiting_transfers(connections: int | None) -> None:
    """One per tick, but never the last; afterwards the number grows again."""
    sim = Simulation(Link(per_connection=5e6), 512 * MIB, connections)
    sim.run(until_s=0.7)
    before = len(sim.connections)
    assert before >= 8
    sim.available = lambda _: len(sim.connections) - 1
    sim.run(until_s=0.7 + TICK_S)
    assert len(sim.connections) == before - 1
    sim.run(until_s=2.0)
    assert len(sim.connections) == 1
    sim.available = None
    sim.run(until_s=2.5)
    assert len(sim.connections) > 1


@pytest.mark.parametrize(("connections", "peak"), [(None, 4), (16, 4), (2, 2)])
def test_a_known_host_limit_is_obeyed(connections: int | None, peak: int) -> None:
    sim = Simulation(
        Link(per_connection=10e6, host_limit=4), 64 * MIB, connections, host_limit=4
    ).run()
    assert sim.peak == peak
    assert sim.transfer.observed_host_limit is None


def test_one_connection_sends_one_request() -> None:
    assert Simulation(Link(per_connection=10e6), 64 * MIB, 1).run().requests == 1


def test_a_waiting_reader_does_not_wait_for_a_measurement() -> None:
    """Its request is sent at once, before range support is proved."""
    sim = Simulation(Link(per_connection=10e6), 256 * MIB)
    sim.run(until_s=0.01)
    assert len(sim.connections) == 1
    sim.report(ReaderWaits(1, 200 * MIB))
    assert [connection.request.start for connection in sim.connections.values()] == [0, 200 * MIB]
    sim.report(ReaderWaits(2, 100 * MIB))  # waits for that proof
    assert len(sim.connections) == 2
    sim.run(until_s=0.02)
    assert [connection.request.start for connection in sim.connections.values()] == [
        0,
        200 * MIB,
        100 * MIB,
    ]
    sim.available = lambda _: 3
    for reader, connection in enumerate(list(sim.connections.values())[1:], 1):
        sim.report(ReaderWaits(reader, connection.request.start + int(connection.sent_bytes)))
    sim.report(ReaderWaits(3, 50 * MIB))  # replaces a request that no reader needs
    assert [connection.request.start for connection in sim.connections.values()] == [
        200 * MIB,
        100 * MIB,
        50 * MIB,
    ]


def test_a_request_that_a_reader_needs_is_not_cancelled() -> None:
    """Also when the probe that added it fails."""
    sim = Simulation(Link(shared=10e6), 256 * MIB)
    sim.run(until_s=0.08)
    assert len(sim.connections) == 2
    (added,) = [connection for connection in sim.connections.values() if connection.request.start]
    for _ in range(60):
        position = added.request.start + int(added.sent_bytes)
        sim.report(ReaderWaits(1, position + MIB // 2))
        sim.run(until_s=sim.elapsed_s + STEP_S)
    assert added.request.request_id in sim.connections


# The controller alone.


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
        controller.record_first_byte(0.0, waited_s)
        assert controller.window_s == window_s


def test_the_back_off_doubles_up_to_four_minutes() -> None:
    controller, now_s, delays_s = ConcurrencyController(), 0.0, []
    for _ in range(7):
        controller.hold_at(1, now_s)
        start_s = now_s
        while controller.allowed == 1:
            now_s += 0.5
            controller.record_bytes(now_s, 1000)
            controller.evaluate(now_s, active=1, pending=0, remaining_bytes=2**40, can_open=True)
        delays_s.append(now_s - start_s)
    assert delays_s == [15.0, 30.0, 60.0, 120.0, 240.0, 240.0, 240.0]


def test_at_most_100_evaluations_per_second() -> None:
    controller = ConcurrencyController()
    assert controller.is_due(5.0)
    controller.evaluate(5.0, active=1, pending=1, remaining_bytes=0, can_open=False)
    assert [controller.is_due(now_s) for now_s in (5.005, 5.011, 4.9)] == [False, True, True]
