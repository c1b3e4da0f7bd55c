"""Readers of a running download, in memory, under the faults of `test_planner_and_server`.

Readers seek, read and leave at random, as the feed lets them: a reader waits at its first missing
byte, and reports where it waits again whenever that byte has arrived and another one is missing.
Always:

1. within one generation every byte that is read is of the same version,
2. every reader ends: with its bytes, with the generation, or with the transfer,
3. no byte is written twice, and without a fault none is sent twice,
4. waiting readers come first:
   - while a reader waits for a missing byte, range support is proved and no retry is pending, a
     request will deliver that byte, or every possible request serves a reader (from the moment
     it waits, after everything that is planned anew);
   - while a response is about to deliver the byte of a reader that waited within the last second,
     no response is read that serves no reader and has not just served one;
   - an adaptive transfer opens no request for the rest of the file, beyond one in all, while such
     a reader waits;
   - if no reader waited within the last second, or its response has not started, all are read.

Most tests run without coverage measurement, which takes four times as long.
"""

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.planner.test_planner_and_server import (
    FAULTS,
    LOST,
    NOW_S,
    File,
    Origin,
    Simulation,
    check_outcome,
    two_files,
)
from vidnb.download.planner.events import (
    Complete,
    ConnectionFailed,
    DemandChanged,
    Event,
    GiveUp,
    ReaderAdvanced,
    ReaderLeft,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    Restart,
    RetryTimerFired,
    Ticked,
)
from vidnb.download.planner.reader_demand import ReaderDemand
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.planner.transfer import Transfer
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

if TYPE_CHECKING:
    from collections.abc import Callable

READ_AHEAD_BYTES = 4
"""That of `Simulation`."""
MIN_WINDOW_BYTES = 1
MAX_WINDOW_BYTES = 32
"""The read-ahead window of a reader."""

RECENT_WAIT_S = 1.0

_PLANNED = (ReaderWaits, ReaderLeft, Ticked, RetryTimerFired, ResponseStarted, ResponseEnded)
"""After these events requests are planned anew, but not after every chunk."""


@dataclass
class Read:
    """A read of `byte_range` in `generation`, and the offset and time at which it last waited."""

    byte_range: ByteRange
    generation: int
    offset: int
    waited_s: float


@dataclass
class ReaderSimulation(Simulation):
    """A simulation with readers that check the bytes they get."""

    reads: dict[int, Read] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)
    candidates: list[File] = field(default_factory=list)
    requested: list[ByteRange] = field(default_factory=list)
    read_to: int = 0
    read_bytes: int = 0

    def begin(self, validators: Validators | None, stored: ByteRangeSet) -> None:
        self.candidates = list(self.origin.files)
        super().begin(validators, stored)

    def run_readers(self, readers: int) -> Complete | GiveUp:
        """Run with up to `readers` at once until the transfer ends; fail if it does not."""
        self.begin(None, ByteRangeSet())
        outcome = self.continue_readers(readers)
        assert outcome is not None
        return outcome

    def continue_readers(self, readers: int, reads: int = 10**9) -> Complete | GiveUp | None:
        """Run until the transfer ends (the outcome), or is idle after so many reads (None)."""
        self.requested.clear()
        for _ in range(20_000):
            if self.outcome is None and self.random.random() < 0.2 and len(self.requested) < reads:
                self.change_reader(self.random.randrange(readers))
            if self.outcome is None:
                self.advance_clock()
            if self.outcome is not None:
                break
            if not self.step():
                assert not self.is_whole_wanted, f"no step is possible: {self.counts}"
                assert not self.reads, "a reader waits, and no request serves it"
                if len(self.requested) >= reads:
                    return None
        assert self.outcome is not None, f"the transfer does not end: {self.counts}"
        self.serve_readers()
        if isinstance(self.outcome, Complete):
            assert not self.reads, "a reader waits although every byte is stored"
        return self.outcome

    def advance_clock(self) -> None:
        """Advance the clock, or let it jump; change the connection limit; report a tick."""
        self.now_s += self.random.choice([0.0, 0.001, 0.01, 0.1])
        if self.random.random() < 0.03:
            self.now_s += self.random.choice([3.0, 3.0, 3.0, -5.0])
        if self.random.random() < 0.02:
            self.available = self.random.choice([None, None, -1, 0, 1, 3])
        if self.in_flight:
            self.report(Ticked())

    # Readers.

    def change_reader(self, reader: int) -> None:
        """Start a read of a reader; one that waits may leave."""
        total = self.transfer.source.total_bytes
        if reader in self.reads:
            if self.random.random() < 0.3:
                del self.reads[reader]
                self.leave(reader)
        elif total:
            start = min(self.random.choice([self.read_to, self.random.randrange(total)]), total - 1)
            stop = min(total, start + self.random.choice([1, 3, 8, 30]))
            read = Read(ByteRange(start, stop), self.transfer.source.generation, -1, 0.0)
            self.reads[reader] = read
            self.requested.append(read.byte_range)
            self.serve_readers()

    def leave(self, reader: int) -> None:
        if reader in self.readers:
            self.readers.discard(reader)
            self.report(ReaderLeft(reader))

    def serve_readers(self) -> None:
        """End the reads whose bytes are stored, as the feed does; report where the others wait."""
        for reader, read in list(self.reads.items()):
            if self.reads.get(reader) is not read:
                continue
            if read.generation != self.transfer.source.generation:
                self.end(reader)
            elif self.transfer.source.stored.covers(read.byte_range):
                self.compare(read.byte_range)
                self.end(reader)
                self.report_position(reader, read.byte_range.stop)
            elif read.offset < 0 or read.offset in self.transfer.source.stored:
                read.offset = self.transfer.source.stored.gaps(read.byte_range)[0].start
                read.waited_s = self.now_s
                self.waits_s.append(self.now_s)
                if self.outcome is None:
                    self.readers.add(reader)
                    self.report(ReaderWaits(reader, read.offset))

    def end(self, reader: int) -> None:
        del self.reads[reader]
        if self.random.random() < 0.5:  # otherwise it reads again later
            self.leave(reader)

    def report_position(self, reader: int, offset: int) -> None:
        """Report the position of a reader, as the feed sometimes does."""
        self.read_to = offset
        if self.outcome is None and reader in self.readers and self.random.random() < 0.5:
            self.report(ReaderAdvanced(reader, offset))

    def compare(self, byte_range: ByteRange) -> None:
        data = bytes(self.disk[byte_range.start : byte_range.stop])
        self.candidates = [
            f for f in self.candidates if f.data[byte_range.start : byte_range.stop] == data
        ]
        assert self.candidates, f"{byte_range} has bytes of no version, or of two: {self.counts}"
        self.read_bytes += len(data)

    # Invariants.

    @property
    def waiting(self) -> list[Read]:
        """The reads that wait for a missing byte."""
        reads = self.reads.values()
        return [read for read in reads if read.offset >= 0 and read.offset not in self.planned]

    @property
    def urgent(self) -> list[int]:
        """The offsets at which readers have waited recently."""
        return [read.offset for read in self.waiting if self.is_recent(read.waited_s)]

    def is_recent(self, then_s: float) -> bool:
        return 0 <= self.now_s - then_s < RECENT_WAIT_S

    def place(self, request_id: int) -> tuple[int, int]:
        """Return the start and the position of a request."""
        request = self.transfer._segments.requests[request_id]
        return request.start, request.position

    def will_deliver(self, request_id: int, offset: int) -> bool:
        """Return whether a response is about to deliver the byte at `offset`."""
        response = self.in_flight[request_id]
        _, position = self.place(request_id)
        remaining_bytes = 0 if response is None else len(response.body)
        return position <= offset < position + min(READ_AHEAD_BYTES, remaining_bytes)

    def serves(self, request_id: int, offsets: list[int]) -> bool:
        """Return whether a request delivers, or has just delivered, one of these bytes."""
        start, position = self.place(request_id)
        begin = min(start, position)  # its response may begin before its request
        first, stop = max(begin, position - READ_AHEAD_BYTES), position + READ_AHEAD_BYTES
        return any(first <= offset < stop for offset in offsets)

    def not_for_readers(self) -> list[int]:
        """Return the requests that serve no waiting reader."""
        offsets = self.transfer._scheduler.readers.waiting_offsets
        return [key for key in self.in_flight if not self.serves(key, offsets)]

    def step(self) -> bool:  # type: ignore[override]  # there may be no step
        """Execute one of the possible steps; bodies are read as far as the planner allows."""
        offsets, urgent = self.transfer._scheduler.readers.waiting_offsets, self.urgent
        held = [key for key in self.in_flight if not self.should_read(key, offsets, urgent)]
        steps: list[Callable[[], None]] = [
            lambda request_id=request_id: self.deliver(request_id)  # type: ignore[misc]  # bound argument
            for request_id in self.in_flight
            if request_id not in held
        ]
        if self.writes:
            steps.append(self.write)
        if self.is_awaiting_retry:
            steps.append(self.fire)
        self.counts["held"] += len(held)
        if steps:
            self.random.choice(steps)()
        return bool(steps)

    def should_read(self, request_id: int, offsets: list[int], urgent: list[int]) -> bool:
        response = self.in_flight[request_id]
        if response is None:
            return True
        others = [
            key for key, one in self.in_flight.items() if one is not None and key != request_id
        ]
        if not self.transfer.should_read(request_id):
            if not self.is_whole_wanted:
                return False
            assert any(map(self.is_recent, self.waits_s)), "unread without a waiting reader"
            assert any(self.serves(key, offsets) for key in others), "unread for no response"
            return False
        if response.body and urgent and not self.serves(request_id, offsets):
            is_served = any(self.will_deliver(key, offset) for key in others for offset in urgent)
            assert not is_served, "a response is read that competes with a reader's"
        return True

    def report(self, event: Event, data: bytes = b"") -> None:
        before = set(self.in_flight)
        generation = self.transfer.source.generation
        others_before = len(self.not_for_readers())
        super().report(event, data)
        if self.transfer.source.generation != generation:
            self.candidates = list(self.origin.files)
        if self.outcome is None:
            assert self.transfer._scheduler.readers.offsets.keys() == self.readers, (
                "a reader that left is not removed"
            )
            self.check_priority(before, others_before, is_planned=isinstance(event, _PLANNED))
        self.serve_readers()

    def check_priority(self, before: set[int], others_before: int, *, is_planned: bool) -> None:
        waiting = [read.offset for read in self.waiting]
        places = [self.place(key) for key in self.in_flight]
        is_proved = self.transfer.source.supports_ranges and self.transfer.source.is_resumable
        if is_proved and is_planned and not self.is_awaiting_retry:
            for offset in waiting:
                is_requested = any(
                    position <= offset < position + READ_AHEAD_BYTES or position <= offset == start
                    for start, position in places
                )
                is_full = all(
                    self.serves(key, waiting) or position <= start in waiting
                    for key, (start, position) in zip(self.in_flight, places, strict=True)
                )
                assert is_requested or is_full, "a reader's byte is not requested"
        if self.is_whole_wanted and self.max_connections is None and self.urgent:
            others = self.not_for_readers()
            is_new = bool(set(others) - before)
            assert not is_new or len(others) <= max(1, others_before), "a reader has competition"


def simulate(
    random: Random, size: int, faults: list[str], budget: int, **more: object
) -> ReaderSimulation:
    return ReaderSimulation(Origin(two_files(size, size)), random, faults, budget, **more)  # type: ignore[arg-type]  # as given


def run_at_random(number: int) -> None:
    """Run one simulation; its arguments depend on its number alone."""
    random = Random(number)
    sim = simulate(
        random,
        random.randint(1, 120),
        list(FAULTS),
        random.randint(0, 12),
        max_connections=random.choice([None, None, 1, 2, 3, 5]),
        chunk_bytes=random.choice([None, 1, 3]),
    )
    check_outcome(sim, sim.run_readers(random.randint(1, 4)))


def test_random_readers_under_any_mixture_of_faults() -> None:
    # In 988 a probed connection is lost before its first byte; in the others a response begins
    # before the requested byte, or a reader waits for a version that is discarded.
    for number in (*range(200), 988, 684, 935, 1033, 1036, 2104):
        run_at_random(number)


def test_a_response_that_began_early_serves_the_readers_before_its_start() -> None:
    """While it does, no other response is read."""
    transfer = Transfer(
        policy=RetryPolicy(), max_connections=2, min_segment_bytes=30, read_ahead_bytes=4
    )
    transfer.start()
    headers = {"etag": '"a"', "content-range": "bytes 0-99/100"}
    transfer.handle(ResponseStarted(1, 206, headers), now_s=NOW_S)  # opens 2 at byte 50
    early = {"etag": '"a"', "content-range": "bytes 40-99/100"}
    transfer.handle(ResponseStarted(2, 206, early), now_s=NOW_S)
    assert transfer.should_read(1)
    transfer.handle(ReaderWaits(1, 42), now_s=NOW_S)
    assert transfer.should_read(2)
    assert not transfer.should_read(1)


def test_a_wait_ends_with_the_version_that_is_read() -> None:
    transfer = Transfer(policy=RetryPolicy(), max_connections=1, read_ahead_bytes=4)
    transfer.start()
    transfer.handle(ResponseStarted(1, 200, {"etag": '"a"', "content-length": "100"}), now_s=NOW_S)
    transfer.handle(ReaderWaits(1, 50), now_s=NOW_S)
    assert transfer._scheduler.readers.waiting_offsets == [50]
    transfer.handle(ConnectionFailed(1, LOST), now_s=NOW_S)
    transfer.handle(RetryTimerFired(), now_s=NOW_S)
    (request,) = transfer._segments.requests
    new = {"etag": '"b"', "content-length": "100"}
    commands = transfer.handle(ResponseStarted(request, 200, new), now_s=NOW_S)
    assert Restart(1) in commands
    assert transfer._scheduler.readers.waiting_offsets == []
    assert transfer._scheduler.readers.offsets == {1: 50}  # its window is still read ahead


@pytest.mark.parametrize("connections", [1, 4, None])
@pytest.mark.no_cover
def test_only_the_windows_of_readers_are_requested(connections: int | None) -> None:
    """Unless the whole file is wanted; without readers the transfer is idle."""
    for seed in range(4):
        sim = simulate(
            Random(seed),
            400,
            ["none"],
            0,
            max_connections=connections,
            chunk_bytes=1,
            is_whole_wanted=False,
        )
        sim.begin(None, ByteRangeSet())
        assert sim.continue_readers(readers=2, reads=6) is None
        read_bytes = sum(byte_range.size_bytes + MIN_WINDOW_BYTES for byte_range in sim.requested)
        assert sim.planned.size_bytes <= MIN_WINDOW_BYTES + 3 * read_bytes
        near = ByteRangeSet(
            ByteRange(byte_range.start, byte_range.stop + MAX_WINDOW_BYTES)
            for byte_range in sim.requested
        )
        far = [
            byte_range
            for byte_range in sim.planned
            if not near.add(ByteRange(0, MIN_WINDOW_BYTES)).covers(byte_range)
        ]
        assert not far, "bytes outside of the windows"
        assert not sim.in_flight, "a request is still in flight"
        assert not sim.transfer.is_whole_wanted
        sim.is_whole_wanted = True
        sim.report(DemandChanged(is_whole=True))
        assert isinstance(sim.continue_readers(readers=2), Complete)
        assert bytes(sim.disk) == sim.origin.files[0].data
        assert sim.origin.sent_bytes <= 400 + 6 * MIN_WINDOW_BYTES


@pytest.mark.parametrize(
    ("fault", "validators"),
    [("Range ignored", "etag"), ("Range ignored", "none"), ("none", "weak"), ("none", "none")],
)
@pytest.mark.no_cover
def test_a_single_stream_is_read_as_far_as_readers_need_it(fault: str, validators: str) -> None:
    """Where ranges are not supported, or could not be joined; it is not restarted."""
    for seed in range(4):
        sim = simulate(
            Random(seed),
            400,
            [fault],
            10**6,
            max_connections=None,
            chunk_bytes=1,
            is_whole_wanted=False,
        )
        sim.origin.validators = validators
        sim.begin(None, ByteRangeSet())
        assert sim.continue_readers(readers=1, reads=1) is None
        assert (
            sim.planned.stop
            <= max(byte_range.stop for byte_range in sim.requested) + 2 * MAX_WINDOW_BYTES
        )
        assert sim.counts["restart"] == 0
        assert len(sim.origin.requests) <= 2


def test_the_read_ahead_window_grows_with_sequential_reading() -> None:
    readers = ReaderDemand(1024)
    assert readers.windows() == [ByteRange(0, 256)]
    for offset, stop in [(5000, 5256), (5200, 5456), (5456, 5912), (5900, 6800), (9000, 9256)]:
        readers.advance(1, offset)
        assert readers.windows() == [ByteRange(offset, stop), ByteRange(0, 256)]
    readers.advance(1, 8999)  # backwards: a new run
    assert readers.windows()[0] == ByteRange(8999, 9255)
    for offset in range(8999, 99_000, 250):
        readers.advance(1, offset)
    assert readers.windows()[0].size_bytes == 8192
    readers.remove(1)
    assert readers.windows() == [ByteRange(0, 256)]


def test_reads_end_also_when_the_whole_file_is_not_wanted() -> None:
    """Under any mixture of faults; then the transfer is idle or has ended."""
    for number in range(150):
        random = Random(number)
        sim = simulate(
            random,
            random.randint(1, 300),
            list(FAULTS),
            random.randint(0, 12),
            max_connections=random.choice([None, None, 1, 3]),
            is_whole_wanted=False,
        )
        sim.origin.validators = random.choice(["etag", "etag", "date", "weak", "none"])
        sim.origin.has_length = random.random() < 0.5
        sim.begin(None, ByteRangeSet())
        outcome = sim.continue_readers(readers=3, reads=10)
        if outcome is not None:
            check_outcome(sim, outcome)


@pytest.mark.parametrize("connections", [2, 4, None])
@pytest.mark.no_cover
def test_without_faults_readers_cause_no_repeated_bytes(connections: int | None) -> None:
    """Each byte is sent once; some responses stay unread for a while."""
    held = read_bytes = 0
    for seed in range(4):
        sim = simulate(Random(seed), 300, ["none"], 0, max_connections=connections, chunk_bytes=1)
        outcome = sim.run_readers(3)
        assert isinstance(outcome, Complete)
        check_outcome(sim, outcome)
        assert sim.origin.sent_bytes == 300
        held += sim.counts["held"]
        read_bytes += sim.read_bytes
    assert held
    assert read_bytes > 4 * 100
