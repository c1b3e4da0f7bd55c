"""The client core talks to the server core, in memory, under every fault of the alphabet.

`Transfer` plans, `build_response` judges, and this file is the wire between them: it delivers bodies
whole, byte by byte or in random pieces, delays writes, kills the process, changes the file, and
lies in every way an origin was seen to lie. Whatever happens, four things must hold:

1. what is published are the bytes of one version,
2. nothing is marked as stored before it is on disk,
3. no byte is kept twice, and without a fault none is sent twice,
4. it ends.

Most of it runs without the tracer of coverage, which takes four times as long.
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
from vidnb.http.headers import ETag, fold_headers, format_content_range, parse_content_range
from vidnb.http.range_response import build_response
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

NOW_S = 1_800_000_000.0
LOST = Failure(FailureKind.LOST, "the connection broke")
REFUSED = Failure(FailureKind.CONNECT, "the connection was refused")


@dataclass
class File:
    """One version of the source."""

    data: bytes
    tag: str
    modified_s: float = NOW_S - 1000


@dataclass
class Response:
    """An answer on its way: head, body, and how the body ends."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_lost: bool = False


Fault = Callable[["Origin", Response, Random], Response]


@dataclass
class Origin:
    """A file behind `build_response`, and the faults it commits."""

    files: list[File]
    validators: str = "etag"
    has_length: bool = True
    current: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def serve(self, asked: dict[str, str], fault: str, random: Random) -> Response:
        """Answer one request, with one fault at most."""
        self.requests.append(asked)
        if fault == "flip":
            self.current = (self.current + 1) % len(self.files)
        if fault == "careless If-Range":
            asked = {name: value for name, value in asked.items() if name != "if-range"}
        if fault == "ignores Range" or (fault == "200 to If-Range" and "if-range" in asked):
            asked = {}
        file = self.files[self.current]
        tag = f"{file.tag}{random.randrange(3)}" if fault == "edge tag" else file.tag
        etag = {"etag": ETag(tag, weak=False), "weak": ETag(tag, weak=True)}.get(self.validators)
        said = build_response(
            "GET",
            asked,
            len(file.data),
            etag,
            None if self.validators == "none" else file.modified_s,
            now_s=NOW_S,
            media_type="video/mp4",
            boundary="b",
        )
        body = b"".join(
            piece if isinstance(piece, bytes) else file.data[piece.start : piece.stop]
            for piece in said.body
        )
        headers = fold_headers(said.headers)
        if not self.has_length and said.status == 200:
            del headers["content-length"]
        response = Response(said.status, headers, body)
        return FAULTS[fault](self, response, random)


def honest(_origin: Origin, response: Response, _random: Random) -> Response:
    return response


def lost(_origin: Origin, response: Response, random: Random) -> Response:
    response.body = response.body[: random.randint(0, len(response.body))]
    response.is_lost = True
    return response


def part(change: Callable[[Response, ByteRange, int, bytes, Random], None]) -> Fault:
    """Make a fault of 206 answers only."""

    def apply(origin: Origin, response: Response, random: Random) -> Response:
        said = parse_content_range(response.headers.get("content-range", ""))
        if response.status == 206 and said and said.byte_range and said.total:
            data = origin.files[origin.current].data
            change(response, said.byte_range, said.total, data, random)
        return response

    return apply


def say(response: Response, byte_range: ByteRange, total: int | None, body: bytes) -> None:
    response.headers["content-range"] = format_content_range(byte_range, total)
    response.headers["content-length"] = str(len(body))
    response.body = body


@part
def wrong_start(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    start = random.randrange(total)
    say(response, ByteRange(start, total), total, data[start:])


@part
def short_206(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    stop = random.randint(byte_range.start + 1, byte_range.stop)
    say(response, ByteRange(byte_range.start, stop), total, data[byte_range.start : stop])


@part
def long_206(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    stop = random.randint(byte_range.stop, total)
    say(response, ByteRange(byte_range.start, stop), total, data[byte_range.start : stop])


@part
def overlong_body(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.body += b"\xff" * random.randint(1, 9)
    del response.headers["content-length"]


@part
def whole_in_disguise(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    response.body = data
    response.headers["content-length"] = str(len(data))


@part
def wrong_total(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    say(
        response, byte_range, total + random.randint(1, 9), data[byte_range.start : byte_range.stop]
    )


@part
def no_total(
    response: Response, byte_range: ByteRange, total: int, data: bytes, random: Random
) -> None:
    say(response, byte_range, None, data[byte_range.start : byte_range.stop])


def no_validators(_origin: Origin, response: Response, _random: Random) -> Response:
    response.headers.pop("etag", None)
    response.headers.pop("last-modified", None)
    return response


def status(code: int, **headers: str) -> Fault:
    def apply(origin: Origin, response: Response, _random: Random) -> Response:
        if code == 416 and "range" not in origin.requests[-1]:
            return response
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(code, {"content-length": "0", **named}, b"")

    return apply


FAULTS: dict[str, Fault] = {
    "none": honest,
    "flip": honest,
    "careless If-Range": honest,
    "ignores Range": honest,
    "200 to If-Range": honest,
    "edge tag": honest,
    "lost": lost,
    "refused": honest,
    "wrong start": wrong_start,
    "short 206": short_206,
    "long 206": long_206,
    "overlong body": overlong_body,
    "whole in disguise": whole_in_disguise,
    "wrong total": wrong_total,
    "total unknown": no_total,
    "no validators": no_validators,
    "416": status(416, content_range="bytes */5"),
    "bare 416": status(416),
    "503": status(503, retry_after="3"),
    "403": status(403),
}


@dataclass
class World:
    """The wire, the disk and the clock between one `Origin` and as many `Transfer`s as it takes."""

    origin: Origin
    random: Random
    faults: list[str]
    fault_budget: int
    max_connections: int | None = 4
    spare: int | None = None
    now_s: float = NOW_S
    attempts: int = 3
    piece: int | None = None
    fills: bool = True
    transfer: Transfer = field(init=False)
    wire: dict[int, Response | None] = field(default_factory=dict)
    asked: dict[int, dict[str, str]] = field(default_factory=dict)
    disk: bytearray = field(default_factory=bytearray)
    written: ByteRangeSet = field(default_factory=ByteRangeSet)
    writes: list[tuple[RangeStored, bytes]] = field(default_factory=list)
    kept: ByteRangeSet = field(default_factory=ByteRangeSet)
    is_waiting: bool = False
    outcome: Complete | GiveUp | None = None
    happened: Counter[str] = field(default_factory=Counter)
    readers: set[int] = field(default_factory=set)

    def run(self, *, kills: int = 0, readers: int = 0) -> Complete | GiveUp:
        """Play until the transfer ends; fail if it does not."""
        self.begin(None, ByteRangeSet())
        for _ in range(60_000):
            if self.outcome is not None:
                return self.outcome
            if kills and self.random.random() < 0.01:
                kills -= 1
                self.kill()
                continue
            if readers and self.random.random() < 0.1:
                self.read(self.random.randrange(readers))
            if self.max_connections is None:
                self.pass_time()
            self.step()
        raise AssertionError(f"does not end: {self.happened}")

    def begin(self, version: Validators | None, stored: ByteRangeSet) -> None:
        self.transfer = Transfer(
            policy=RetryPolicy(attempts=self.attempts, base_delay_s=0),
            version=version,
            stored=stored,
            max_connections=self.max_connections,
            min_segment_bytes=4,
            read_ahead_bytes=4,
            fills=self.fills,
        )
        self.obey(self.transfer.start(), b"")

    def kill(self) -> None:
        """Lose the process: what is not on disk is gone, the journal says what was reported."""
        self.happened["killed"] += 1
        journal = self.transfer.version, self.transfer.stored
        is_resumable = self.transfer.is_resumable
        self.wire.clear()
        self.writes.clear()
        self.is_waiting = False
        self.readers.clear()
        if not is_resumable:
            self.disk.clear()
            self.written = ByteRangeSet()
        self.kept = journal[1] if is_resumable else ByteRangeSet()
        self.begin(*journal)

    def read(self, reader: int) -> None:
        total = self.transfer.total_bytes
        if reader in self.readers or total is None:
            self.readers.discard(reader)
            self.tell(ReaderLeft(reader))
        else:
            self.readers.add(reader)
            self.tell(ReaderWaits(reader, self.random.randrange(total)))

    def pass_time(self) -> None:
        """Let the clock go on, or jump; let the quota change; tick, as a driver does."""
        if self.outcome is not None:
            return
        self.now_s += self.random.choice([0.0, 0.002, 0.01, 0.05, 0.3])
        if self.random.random() < 0.01:
            self.now_s += self.random.choice([-1e6, -0.5, 5.0, 20.0, 1e6])
        if self.random.random() < 0.05:
            self.spare = self.random.choice([None, -2, 0, 1, 3, 20])
        if self.wire and self.random.random() < 0.2:
            self.happened["tick"] += 1
            self.tell(Ticked())

    def step(self) -> None:
        """Let one thing happen of those that can."""
        can: list[Callable[[], None]] = [
            lambda fetch_id=fetch_id: self.move(fetch_id)  # type: ignore[misc]  # bound argument
            for fetch_id in self.wire
        ]
        if self.writes:
            can.append(self.write)
        if self.is_waiting:
            can.append(self.fire)
        assert can, f"nothing can happen and it is not done: {self.happened}"
        self.random.choice(can)()

    def fire(self) -> None:
        self.is_waiting = False
        self.tell(RetryTimerFired())

    def write(self) -> None:
        """Let the disk finish the oldest write, then report it."""
        stored, data = self.writes.pop(0)
        byte_range = stored.byte_range
        if len(self.disk) < byte_range.stop:
            self.disk.extend(bytes(byte_range.stop - len(self.disk)))
        self.disk[byte_range.start : byte_range.stop] = data
        self.written = self.written.add(byte_range)
        self.tell(stored)

    def move(self, fetch_id: int) -> None:
        """Let one connection get one step further."""
        response = self.wire[fetch_id]
        if response is None:
            fault = "none"
            if self.fault_budget > 0:
                fault = self.random.choice(self.faults)
                self.fault_budget -= fault != "none"
            self.happened[fault] += 1
            if fault == "refused":
                del self.wire[fetch_id]
                self.tell(ConnectionFailed(fetch_id, REFUSED))
                return
            response = self.origin.serve(self.asked[fetch_id], fault, self.random)
            self.wire[fetch_id] = response
            self.tell(ResponseStarted(fetch_id, response.status, response.headers))
        elif response.body:
            size = self.piece or self.random.randint(1, len(response.body))
            data, response.body = response.body[:size], response.body[size:]
            self.origin.sent_bytes += len(data)
            self.tell(BodyReceived(fetch_id, len(data)), data)
        else:
            del self.wire[fetch_id]
            self.tell(
                ConnectionFailed(fetch_id, LOST) if response.is_lost else ResponseEnded(fetch_id)
            )

    def tell(self, seen: Event, data: bytes = b"") -> None:
        before = set(self.wire)
        spare = UNLIMITED if self.spare is None else self.spare
        commands = self.transfer.handle(seen, now_s=self.now_s, jitter=0.0, spare_connections=spare)
        self.obey(commands, data)
        for byte_range in self.transfer.stored:
            assert self.written.covers(byte_range), "marked before it was stored"
        most = MAX_CONNECTIONS if self.max_connections is None else self.max_connections
        assert len(self.wire) <= most
        opened, closed = len(set(self.wire) - before), len(before - set(self.wire))
        # What is closed may be opened elsewhere; the first of a transfer is nobody's to refuse.
        assert opened <= max(0, spare) + closed or len(self.wire) == 1, "more than was to spare"
        starts = [fetch.start for fetch in self.transfer._segments.fetches.values()]
        assert len(starts) == len(set(starts)), "the same byte was asked for twice at once"
        if isinstance(seen, Ticked) and spare < 0 and len(before) > 1 and not self.readers:
            assert len(self.wire) < len(before) or self.outcome, "others wait in vain"

    def obey(self, commands: tuple[Command, ...], data: bytes) -> None:
        for command in commands:
            assert self.outcome is None, f"{command} after the end"
            match command:
                case StartRequest(fetch_id, _, headers):
                    assert fetch_id not in self.wire
                    self.wire[fetch_id] = None
                    self.asked[fetch_id] = fold_headers(headers)
                case CancelRequest(fetch_id):
                    self.wire.pop(fetch_id, None)
                case WriteRange(byte_range, at, generation):
                    assert self.kept.gaps(byte_range) == (byte_range,), f"{byte_range} kept twice"
                    self.kept = self.kept.add(byte_range)
                    piece = data[at : at + byte_range.size_bytes]
                    assert len(piece) == byte_range.size_bytes
                    self.writes.append((RangeStored(byte_range, generation), piece))
                case Restart():
                    self.happened["restart"] += 1
                    # A driver lets running writes end before it truncates; their reports are old.
                    late = [stored for stored, _ in self.writes]
                    self.writes.clear()
                    self.disk.clear()
                    self.written = self.kept = ByteRangeSet()
                    for stored in late:
                        assert self.transfer.handle(stored, now_s=self.now_s) == ()
                case ScheduleRetry():
                    self.is_waiting = True
                case Complete() | GiveUp():
                    self.outcome = command


def content(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)


def two_files(size: int, other_size: int) -> list[File]:
    return [File(content(1, size), "a"), File(content(2, other_size), "b", NOW_S - 500)]


def check(world: World, outcome: Complete | GiveUp) -> None:
    if isinstance(outcome, Complete):
        total = outcome.version.total_bytes
        assert total is not None
        published = bytes(world.disk[:total])
        assert published in [file.data for file in world.origin.files], world.happened


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
    piece=st.sampled_from([None, None, 1, 1000]),
    kills=st.integers(0, 3),
    readers=st.integers(0, 3),
)
def test_every_fault(
    random: Random,
    size: int,
    other_size: int,
    validators: str,
    has_length: bool,
    max_connections: int | None,
    budget: int,
    piece: int | None,
    kills: int,
    readers: int,
) -> None:
    """Any mixture of faults, kills and readers: one version, nothing early, nothing twice."""
    world = World(
        Origin(
            two_files(size, size if other_size < 1 else other_size),
            validators=validators,
            has_length=has_length,
        ),
        random,
        list(FAULTS),
        budget,
        max_connections=max_connections,
        piece=piece,
    )
    check(world, world.run(kills=kills, readers=readers))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("connections", [1, 4, None])
@pytest.mark.parametrize("validators", ["etag", "date", "weak", "none"])
@pytest.mark.no_cover
def test_one_fault_at_a_time(fault: str, connections: int | None, validators: str) -> None:
    """Each fault alone, a few times over, with an origin that is honest afterwards."""
    for seed in range(30):
        world = World(
            Origin(two_files(50, 50 if seed % 2 else 41), validators=validators),
            Random(seed),
            [fault],
            fault_budget=1 + seed % 3,
            max_connections=connections,
            attempts=6,
        )
        outcome = world.run(kills=seed % 2)
        check(world, outcome)
        if fault != "403":
            assert isinstance(outcome, Complete), (seed, outcome, world.happened)


@pytest.mark.parametrize("piece", [None, 1, 7, 10_000])
@pytest.mark.parametrize("connections", [1, 2, 5, None])
@pytest.mark.no_cover
def test_without_a_fault_nothing_is_sent_twice(connections: int | None, piece: int | None) -> None:
    """An honest origin sends each byte once; a split costs at most the piece under way."""
    for seed in range(40):
        origin = Origin(two_files(90, 90))
        world = World(origin, Random(seed), ["none"], 0, max_connections=connections, piece=piece)
        outcome = world.run()
        assert isinstance(outcome, Complete)
        check(world, outcome)
        assert world.happened.keys() <= {"none", "tick"}
        if connections == 1:
            assert origin.sent_bytes == 90
            assert len(origin.requests) == 1
        if piece == 1:
            assert origin.sent_bytes == 90


@pytest.mark.no_cover
def test_a_kill_costs_only_what_was_not_stored() -> None:
    """After each kill the next process asks for the missing bytes alone."""
    for seed in range(60):
        origin = Origin(two_files(90, 90))
        world = World(origin, Random(seed), ["none"], 0, max_connections=1, piece=1)
        outcome = world.run(kills=3)
        assert isinstance(outcome, Complete)
        check(world, outcome)
        assert "restart" not in world.happened
        resumed = [asked for asked in origin.requests[1:] if "range" in asked]
        assert all(asked["if-range"] == '"a"' for asked in resumed)


@pytest.mark.no_cover
def test_a_careless_206_is_never_joined() -> None:
    """The file changes, the origin ignores If-Range: only the ETag on the 206 can tell."""
    for seed in range(80):
        origin = Origin(two_files(50, 50))
        world = World(
            origin, Random(seed), ["lost", "flip", "careless If-Range"], 9, max_connections=1
        )
        check(world, world.run())


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.no_cover
def test_a_waiting_reader_is_served_before_the_fill(readers: int) -> None:
    """With ranges proved, the next request after a reader waits begins where it waits."""
    for seed in range(15):
        origin = Origin(two_files(4000, 4000))
        world = World(origin, Random(seed), ["none"], 0, max_connections=2, piece=10)
        world.begin(None, ByteRangeSet())
        while world.transfer.answers_ranges is None:
            world.step()
        offset = Random(seed).randrange(3000, 3900)
        before = len(world.asked)
        is_near = any(
            fetch.position <= offset < fetch.position + 4
            for fetch in world.transfer._segments.fetches.values()
        )
        for reader in range(readers):
            world.tell(ReaderWaits(reader, offset))
        if not is_near:
            assert [asked["range"] for asked in list(world.asked.values())[before:]] == [
                f"bytes={offset}-"
            ]
        while world.outcome is None:
            world.step()
        check(world, world.outcome)
