"""The download planner talks to the range server in memory, under injected faults.

`Transfer` plans the requests, `build_response` answers them, and `Simulation` is the network, the
disk and the clock between them: it delivers bodies whole, byte by byte or in random chunks, delays
writes, kills the process, changes the file, and injects every fault of `FAULTS`. Always:

1. a published file has the bytes of one version,
2. no range is reported as stored before it is on disk,
3. no byte is written twice, and without a fault none is sent twice,
4. no range past the known end of the file is requested,
5. the transfer ends.

Most tests run without coverage measurement, which takes four times as long.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidnb.download.planner.concurrency import MAX_CONNECTIONS
from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    GiveUp,
    RangeStored,
    ReaderLeft,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    Restart,
    RetryTimerFired,
    ScheduleRetry,
    StartRequest,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.transfer import UNLIMITED, Transfer
from vidnb.http.headers import (
    MAX_FILE_BYTES,
    ETag,
    fold_headers,
    format_content_range,
    parse_content_range,
    parse_range,
)
from vidnb.http.range_response import build_response
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

NOW_S = 1_800_000_000.0
LOST = Failure(FailureKind.LOST, "the connection broke")
REFUSED = Failure(FailureKind.CONNECT, "the connection was refused")


@dataclass
class File:
    """One version of the source file."""

    data: bytes
    tag: str
    modified_s: float = NOW_S - 1000


@dataclass
class Response:
    """A response in transit: head, remaining body, and whether the connection is lost after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_lost: bool = False


Fault = Callable[["Origin", Response, Random], Response]


@dataclass
class Origin:
    """Serves the current one of `files` with `build_response`, and injects faults."""

    files: list[File]
    validators: str = "etag"
    has_length: bool = True
    current: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def serve(self, request: dict[str, str], fault: str, random: Random) -> Response:
        """Answer a request with these headers, with at most one fault."""
        self.requests.append(request)
        if fault == "file changed":
            self.current = (self.current + 1) % len(self.files)
        if fault == "If-Range ignored":
            request = {name: value for name, value in request.items() if name != "if-range"}
        if fault == "Range ignored" or (fault == "200 to If-Range" and "if-range" in request):
            request = {}
        file = self.files[self.current]
        tag = f"{file.tag}{random.randrange(3)}" if fault == "ETag per edge server" else file.tag
        etag = {"etag": ETag(tag, weak=False), "weak": ETag(tag, weak=True)}.get(self.validators)
        built = build_response(
            "GET",
            request,
            len(file.data),
            etag,
            None if self.validators == "none" else file.modified_s,
            now_s=NOW_S,
            media_type="video/mp4",
            boundary="b",
        )
        body = b"".join(
            part if isinstance(part, bytes) else file.data[part.start : part.stop]
            for part in built.body
        )
        headers = fold_headers(built.headers)
        if not self.has_length and built.status == 200:
            del headers["content-length"]
        response = Response(built.status, headers, body)
        return FAULTS[fault](self, response, random)


def unchanged(_origin: Origin, response: Response, _random: Random) -> Response:
    return response


def lose_connection(_origin: Origin, response: Response, random: Random) -> Response:
    response.body = response.body[: random.randint(0, len(response.body))]
    response.is_lost = True
    return response


def partial_response(change: Callable[[Response, ByteRange, int, bytes, Random], None]) -> Fault:
    """Return a fault that changes 206 responses only."""

    def apply(origin: Origin, response: Response, random: Random) -> Response:
        parsed = parse_content_range(response.headers.get("content-range", ""))
        if response.status == 206 and parsed and parsed.byte_range and parsed.total:
            data = origin.files[origin.current].data
            change(response, parsed.byte_range, parsed.total, data, random)
        return response

    return apply


def set_range(response: Response, byte_range: ByteRange, total: int | None, body: bytes) -> None:
    response.headers["content-range"] = format_content_range(byte_range, total)
    response.headers["content-length"] = str(len(body))
    response.body = body


@partial_response
def wrong_start(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    start = random.randrange(total)
    set_range(response, ByteRange(start, total), total, data[start:])


@partial_response
def short_206(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    stop = random.randint(byte_range.start + 1, byte_range.stop)
    set_range(response, ByteRange(byte_range.start, stop), total, data[byte_range.start : stop])


@partial_response
def long_206(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    stop = random.randint(byte_range.stop, total)
    set_range(response, ByteRange(byte_range.start, stop), total, data[byte_range.start : stop])


@partial_response
def trailing_bytes(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.body += b"\xff" * random.randint(1, 9)
    del response.headers["content-length"]


@partial_response
def whole_file_as_206(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.body = data
    response.headers["content-length"] = str(len(data))


@partial_response
def wrong_total(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    set_range(
        response, byte_range, total + random.randint(1, 9), data[byte_range.start : byte_range.stop]
    )


@partial_response
def no_total(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    set_range(response, byte_range, None, data[byte_range.start : byte_range.stop])


@partial_response
def last_byte_one_too_high(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.headers["content-range"] = f"bytes {byte_range.start}-{byte_range.stop}/{total}"


@partial_response
def last_byte_one_too_low(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    last = max(byte_range.start, byte_range.stop - 2)
    response.headers["content-range"] = f"bytes {byte_range.start}-{last}/{total}"


@partial_response
def part_as_200(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.status = 200


def whole_file_as_unrequested_206(_origin: Origin, response: Response, _random: Random) -> Response:
    if response.status == 200 and "content-length" in response.headers:
        response.status = 206
        size = len(response.body)
        response.headers["content-range"] = f"bytes 0-{size - 1}/{size}"
    return response


def no_validators(_origin: Origin, response: Response, _random: Random) -> Response:
    response.headers.pop("etag", None)
    response.headers.pop("last-modified", None)
    return response


def status(code: int, **headers: str) -> Fault:
    def apply(origin: Origin, response: Response, _random: Random) -> Response:
        if code == 416 and "range" not in origin.requests[-1]:
            return response
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(code, {"content-length": "0", **fields}, b"")

    return apply


FAULTS: dict[str, Fault] = {
    "none": unchanged,
    "file changed": unchanged,
    "If-Range ignored": unchanged,
    "Range ignored": unchanged,
    "200 to If-Range": unchanged,
    "ETag per edge server": unchanged,
    "connection lost": lose_connection,
    "connection refused": unchanged,
    "206 from another byte": wrong_start,
    "206 shorter than requested": short_206,
    "206 longer than requested": long_206,
    "206 with trailing bytes": trailing_bytes,
    "206 with the whole file": whole_file_as_206,
    "206 with a wrong total": wrong_total,
    "206 without a total": no_total,
    "last byte one too high": last_byte_one_too_high,
    "last byte one too low": last_byte_one_too_low,
    "206 as 200": part_as_200,
    "200 as 206": whole_file_as_unrequested_206,
    "no validators": no_validators,
    "416": status(416, content_range="bytes */5"),
    "416 without Content-Range": status(416),
    "503": status(503, retry_after="3"),
    "403": status(403),
}


@dataclass
class Simulation:
    """The network, the disk and the clock between an `Origin` and successive `Transfer`s.

    At most `fault_budget` of `faults` are injected. `available`: how many more connections the
    process allows (None: no limit). `chunk_bytes`: the size of a chunk (None: random).
    """

    origin: Origin
    random: Random
    faults: list[str]
    fault_budget: int
    max_connections: int | None = 4
    available: int | None = None
    now_s: float = NOW_S
    attempts: int = 3
    chunk_bytes: int | None = None
    is_whole_wanted: bool = True
    transfer: Transfer = field(init=False)
    in_flight: dict[int, Response | None] = field(default_factory=dict)
    sent_headers: dict[int, dict[str, str]] = field(default_factory=dict)
    disk: bytearray = field(default_factory=bytearray)
    written: ByteRangeSet = field(default_factory=ByteRangeSet)
    writes: list[tuple[RangeStored, bytes]] = field(default_factory=list)
    planned: ByteRangeSet = field(default_factory=ByteRangeSet)
    is_awaiting_retry: bool = False
    outcome: Complete | GiveUp | None = None
    counts: Counter[str] = field(default_factory=Counter)
    readers: set[int] = field(default_factory=set)

    def run(self, *, kills: int = 0, readers: int = 0) -> Complete | GiveUp:
        """Run until the transfer ends; fail if it does not."""
        self.begin(None, ByteRangeSet())
        for _ in range(60_000):
            if self.outcome is not None:
                return self.outcome
            if kills and self.random.random() < 0.01:
                kills -= 1
                self.kill()
                continue
            if readers and self.random.random() < 0.1:
                self.move_reader(self.random.randrange(readers))
            if self.max_connections is None:
                self.advance_clock()
            self.step()
        raise AssertionError(f"the transfer does not end: {self.counts}")

    def begin(self, validators: Validators | None, stored: ByteRangeSet) -> None:
        self.transfer = Transfer(
            policy=RetryPolicy(attempts=self.attempts, base_delay_s=0),
            validators=validators,
            stored=stored,
            max_connections=self.max_connections,
            min_segment_bytes=4,
            read_ahead_bytes=4,
            is_whole_wanted=self.is_whole_wanted,
        )
        self.execute(self.transfer.start(), b"")

    def kill(self) -> None:
        """Kill the process and start another one with the journal, which has what was reported."""
        self.counts["killed"] += 1
        journal = self.transfer.source.validators, self.transfer.source.stored
        is_resumable = self.transfer.source.is_resumable
        self.in_flight.clear()
        self.writes.clear()
        self.is_awaiting_retry = False
        self.readers.clear()
        if not is_resumable:
            self.disk.clear()
            self.written = ByteRangeSet()
        self.planned = journal[1] if is_resumable else ByteRangeSet()
        self.begin(*journal)

    def move_reader(self, reader: int) -> None:
        total = self.transfer.source.total_bytes
        if reader in self.readers or total is None:
            self.readers.discard(reader)
            self.report(ReaderLeft(reader))
        else:
            self.readers.add(reader)
            self.report(ReaderWaits(reader, self.random.randrange(total)))

    def advance_clock(self) -> None:
        """Advance the clock, or let it jump; change the connection limit; report ticks."""
        if self.outcome is not None:
            return
        self.now_s += self.random.choice([0.0, 0.002, 0.01, 0.05, 0.3])
        if self.random.random() < 0.01:
            self.now_s += self.random.choice([-1e6, -0.5, 5.0, 20.0, 1e6])
        if self.random.random() < 0.05:
            self.available = self.random.choice([None, -2, 0, 1, 3, 20])
        if self.in_flight and self.random.random() < 0.2:
            self.counts["tick"] += 1
            self.report(Ticked())

    def step(self) -> None:
        """Execute one of the possible steps."""
        steps: list[Callable[[], None]] = [
            lambda request_id=request_id: self.deliver(request_id)  # type: ignore[misc]  # bound argument
            for request_id in self.in_flight
        ]
        if self.writes:
            steps.append(self.write)
        if self.is_awaiting_retry:
            steps.append(self.fire)
        assert steps, f"the transfer is not done, and no step is possible: {self.counts}"
        self.random.choice(steps)()

    def fire(self) -> None:
        self.is_awaiting_retry = False
        self.report(RetryTimerFired())

    def write(self) -> None:
        """Complete the oldest write and report it."""
        stored, data = self.writes.pop(0)
        byte_range = stored.byte_range
        if len(self.disk) < byte_range.stop:
            self.disk.extend(bytes(byte_range.stop - len(self.disk)))
        self.disk[byte_range.start : byte_range.stop] = data
        self.written = self.written.add(byte_range)
        self.report(stored)

    def deliver(self, request_id: int) -> None:
        """Deliver the next head, chunk or end of one response."""
        response = self.in_flight[request_id]
        if response is None:
            fault = "none"
            if self.fault_budget > 0:
                fault = self.random.choice(self.faults)
                self.fault_budget -= fault != "none"
            self.counts[fault] += 1
            if fault == "connection refused":
                del self.in_flight[request_id]
                self.report(ConnectionFailed(request_id, REFUSED))
                return
            response = self.origin.serve(self.sent_headers[request_id], fault, self.random)
            self.in_flight[request_id] = response
            self.report(ResponseStarted(request_id, response.status, response.headers))
        elif response.body:
            size = self.chunk_bytes or self.random.randint(1, len(response.body))
            data, response.body = response.body[:size], response.body[size:]
            self.origin.sent_bytes += len(data)
            self.report(BodyReceived(request_id, len(data)), data)
        else:
            del self.in_flight[request_id]
            self.report(
                ConnectionFailed(request_id, LOST)
                if response.is_lost
                else ResponseEnded(request_id)
            )

    def report(self, event: Event, data: bytes = b"") -> None:
        before = set(self.in_flight)
        available = UNLIMITED if self.available is None else self.available
        commands = self.transfer.handle(
            event, now_s=self.now_s, jitter=0.0, available_connections=available
        )
        self.execute(commands, data)
        for byte_range in self.transfer.source.stored:
            assert self.written.covers(byte_range), "reported before it was written"
        max_in_flight = MAX_CONNECTIONS if self.max_connections is None else self.max_connections
        assert len(self.in_flight) <= max_in_flight
        opened, closed = len(set(self.in_flight) - before), len(before - set(self.in_flight))
        # A closed request may be replaced; the first one of a transfer is always planned.
        assert opened <= max(0, available) + closed or len(self.in_flight) == 1, "too many requests"
        starts = [request.start for request in self.transfer._segments.requests.values()]
        assert len(starts) == len(set(starts)), "two requests in flight have the same start"
        if isinstance(event, Ticked) and available < 0 and len(before) > 1 and not self.readers:
            assert len(self.in_flight) < len(before) or self.outcome, "no connection was released"

    def execute(self, commands: tuple[Command, ...], data: bytes) -> None:
        for command in commands:
            assert self.outcome is None, f"{command} after the end"
            match command:
                case StartRequest(request_id, _, headers):
                    assert request_id not in self.in_flight
                    self.in_flight[request_id] = None
                    self.sent_headers[request_id] = sent = fold_headers(headers)
                    for spec in parse_range(sent.get("range", "")) or ():
                        total = self.transfer.source.total_bytes or MAX_FILE_BYTES
                        assert (spec.last or 0) < total, "a range past the known end"
                        # Whether a file of unknown length has more bytes is to be found out.
                        assert spec.first is not None
                        assert spec.first < total, "a range behind the known end"
                case CancelRequest(request_id):
                    self.in_flight.pop(request_id, None)
                case WriteRange(byte_range, chunk_offset, generation):
                    assert self.planned.gaps(byte_range) == (byte_range,), (
                        f"{byte_range} is written twice"
                    )
                    self.planned = self.planned.add(byte_range)
                    chunk = data[chunk_offset : chunk_offset + byte_range.size_bytes]
                    assert len(chunk) == byte_range.size_bytes
                    self.writes.append((RangeStored(byte_range, generation), chunk))
                case Restart():
                    self.counts["restart"] += 1
                    # A driver completes pending writes before it truncates.
                    late = [stored for stored, _ in self.writes]
                    self.writes.clear()
                    self.disk.clear()
                    self.written = self.planned = ByteRangeSet()
                    for stored in late:
                        assert self.transfer.handle(stored, now_s=self.now_s) == ()
                case ScheduleRetry():
                    self.is_awaiting_retry = True
                case Complete() | GiveUp():
                    self.outcome = command


def content(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)


def two_files(size: int, other_size: int) -> list[File]:
    return [File(content(1, size), "a"), File(content(2, other_size), "b", NOW_S - 500)]


def check_outcome(sim: Simulation, outcome: Complete | GiveUp) -> None:
    if isinstance(outcome, Complete):
        total = outcome.validators.total_bytes
        assert total is not None
        published = bytes(sim.disk[:total])
        assert published in [file.data for file in sim.origin.files], sim.counts


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    random=st.randoms(use_true_random=False),
    size=st.integers(1, 60),
    other_size=st.integers(-1, 60),
    validators=st.sampled_from(["etag", "etag", "etag", "date", "weak", "none"]),
    has_length=st.booleans(),
    max_connections=st.sampled_from([None, None, 1, 2, 3, 4, 5]),
    budget=st.integers(0, 12),
    chunk_bytes=st.sampled_from([None, None, 1, 1000]),
    kills=st.integers(0, 3),
    readers=st.integers(0, 3),
)
def test_a_transfer_survives_any_mixture_of_faults(
    random: Random,
    size: int,
    other_size: int,
    validators: str,
    has_length: bool,
    max_connections: int | None,
    budget: int,
    chunk_bytes: int | None,
    kills: int,
    readers: int,
) -> None:
    """With kills and readers: one version, nothing reported early, nothing written twice."""
    sim = Simulation(
        Origin(
            two_files(size, size if other_size < 1 else other_size),
            validators=validators,
            has_length=has_length,
        ),
        random,
        list(FAULTS),
        budget,
        max_connections=max_connections,
        chunk_bytes=chunk_bytes,
    )
    check_outcome(sim, sim.run(kills=kills, readers=readers))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("connections", [1, 4, None])
@pytest.mark.parametrize("validators", ["etag", "date", "weak", "none"])
@pytest.mark.no_cover
def test_a_transfer_survives_each_fault(
    fault: str, connections: int | None, validators: str
) -> None:
    """Each fault alone, up to three times; all but a 403 are recoverable."""
    for seed in range(30):
        sim = Simulation(
            Origin(two_files(50, 50 if seed % 2 else 41), validators=validators),
            Random(seed),
            [fault],
            fault_budget=1 + seed % 3,
            max_connections=connections,
            attempts=6,
        )
        outcome = sim.run(kills=seed % 2)
        check_outcome(sim, outcome)
        if fault != "403":
            assert isinstance(outcome, Complete), (seed, outcome, sim.counts)


@pytest.mark.parametrize("chunk_bytes", [None, 1, 7, 10_000])
@pytest.mark.parametrize("connections", [1, 2, 5, None])
@pytest.mark.no_cover
def test_without_faults_no_byte_is_sent_twice(
    connections: int | None, chunk_bytes: int | None
) -> None:
    """A split may repeat the chunk in transit, and nothing with chunks of one byte."""
    for seed in range(40):
        origin = Origin(two_files(90, 90))
        sim = Simulation(
            origin, Random(seed), ["none"], 0, max_connections=connections, chunk_bytes=chunk_bytes
        )
        outcome = sim.run()
        assert isinstance(outcome, Complete)
        check_outcome(sim, outcome)
        assert sim.counts.keys() <= {"none", "tick"}
        if connections == 1:
            assert origin.sent_bytes == 90
            assert len(origin.requests) == 1
        if chunk_bytes == 1:
            assert origin.sent_bytes == 90


@pytest.mark.no_cover
def test_after_a_kill_only_the_missing_bytes_are_requested() -> None:
    for seed in range(60):
        origin = Origin(two_files(90, 90))
        sim = Simulation(origin, Random(seed), ["none"], 0, max_connections=1, chunk_bytes=1)
        outcome = sim.run(kills=3)
        assert isinstance(outcome, Complete)
        check_outcome(sim, outcome)
        assert "restart" not in sim.counts
        resumed = [headers for headers in origin.requests[1:] if "range" in headers]
        assert all(headers["if-range"] == '"a"' for headers in resumed)


@pytest.mark.no_cover
def test_a_206_of_another_version_is_not_joined() -> None:
    """The file changes and the origin ignores If-Range: only the ETag of the 206 tells."""
    for seed in range(80):
        origin = Origin(two_files(50, 50))
        sim = Simulation(
            origin,
            Random(seed),
            ["connection lost", "file changed", "If-Range ignored"],
            9,
            max_connections=1,
        )
        check_outcome(sim, sim.run())


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.no_cover
def test_a_waiting_reader_is_served_first(readers: int) -> None:
    """Once range support is proved, the next request starts where a reader waits."""
    for seed in range(15):
        origin = Origin(two_files(4000, 4000))
        sim = Simulation(origin, Random(seed), ["none"], 0, max_connections=2, chunk_bytes=10)
        sim.begin(None, ByteRangeSet())
        while sim.transfer.source.supports_ranges is None:
            sim.step()
        offset = Random(seed).randrange(3000, 3900)
        before = len(sim.sent_headers)
        is_delivered = any(
            request.position <= offset < request.position + 4
            for request in sim.transfer._segments.requests.values()
        )
        for reader in range(readers):
            sim.report(ReaderWaits(reader, offset))
        if not is_delivered:
            assert [headers["range"] for headers in list(sim.sent_headers.values())[before:]] == [
                f"bytes={offset}-"
            ]
        while sim.outcome is None:
            sim.step()
        check_outcome(sim, sim.outcome)
