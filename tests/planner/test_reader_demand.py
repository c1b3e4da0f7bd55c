"""Readers of a file that still arrives, in memory, under the faults of the alphabet.

They seek, read and leave at random, as the feed lets them: a reader waits at its first missing
byte, tells the planner, and tells it again whenever that byte has come and another one is missing.
Whatever happens:

1. every byte that is read is of one version of the file per attempt to build it,
2. every reader ends: with its bytes, with the attempt, or with the transfer,
3. no byte is kept twice, and without a fault none is sent twice,
4. waiting readers are served before the fill, which is exactly this:
   - while a reader waits for a missing byte, ranges are proved and no retry is awaited, somebody is
     asked for its byte, or every connection there may be is a reader's (from the moment it waits,
     after whatever is planned anew);
   - while an answered connection brings the byte of a reader that was heard of within the last
     second, no byte is taken from a connection that brings no reader's and has just brought none;
   - where it is found out how many connections pay, none is opened for the fill beyond one in all
     while such a reader waits;
   - where no reader was heard of within the last second, or its connection is not answered yet,
     nobody is held back.

Most of it runs without the tracer of coverage, which takes four times as long.
"""

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.planner.test_planner_and_server import FAULTS, File, Origin, World, check, two_files
from vidnb.download.planner.events import (
    Complete,
    DemandChanged,
    Event,
    GiveUp,
    ReaderAdvanced,
    ReaderLeft,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    RetryTimerFired,
    Ticked,
)
from vidnb.download.planner.reader_demand import ReaderDemand as Readahead
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

if TYPE_CHECKING:
    from collections.abc import Callable

NEAR_BYTES = 4
"""The world's read-ahead."""
LEAST_BYTES = 1
MOST_BYTES = 32
"""What is fetched ahead of a reader alone."""

LATELY_S = 1.0

_PLANNED = (ReaderWaits, ReaderLeft, Ticked, RetryTimerFired, ResponseStarted, ResponseEnded)
"""After these the connections are planned anew; not for every piece that comes."""


@dataclass
class Wish:
    """What a reader wants to read, of which attempt, and what it told last, and when."""

    byte_range: ByteRange
    generation: int
    told: int
    told_s: float


@dataclass
class ReaderDemand(World):
    """A world with readers that check what they get."""

    wishes: dict[int, Wish] = field(default_factory=dict)
    heard_s: list[float] = field(default_factory=list)
    candidates: list[File] = field(default_factory=list)
    wished: list[ByteRange] = field(default_factory=list)
    read_to: int = 0
    read_bytes: int = 0
    ended: int = 0

    def begin(self, version: Validators | None, stored: ByteRangeSet) -> None:
        self.candidates = list(self.origin.files)
        super().begin(version, stored)

    def play(self, readers: int) -> Complete | GiveUp:
        """Begin, and let `readers` come and go until the transfer ends; fail if it does not."""
        self.begin(None, ByteRangeSet())
        outcome = self.go_on(readers)
        assert outcome is not None
        return outcome

    def go_on(self, readers: int, wishes: int = 10**9) -> Complete | GiveUp | None:
        """Let `readers` come and go until it ends, or rests with so many wishes fulfilled."""
        self.wished.clear()
        for _ in range(20_000):
            if self.outcome is None and self.random.random() < 0.2 and len(self.wished) < wishes:
                self.change_mind(self.random.randrange(readers))
            if self.outcome is None:
                self.pass_a_moment()
            if self.outcome is not None:
                break
            if not self.step():
                assert not self.fills, f"all are held back, and nobody can go on: {self.happened}"
                assert not self.wishes, "a reader waits, and nobody brings it anything"
                if len(self.wished) >= wishes:
                    return None
        assert self.outcome is not None, f"does not end: {self.happened}"
        self.look()
        if isinstance(self.outcome, Complete):
            assert not self.wishes, "a reader waits although every byte is there"
        return self.outcome

    def pass_a_moment(self) -> None:
        """Let the clock go on, or jump, and tick; let the quota change."""
        self.now_s += self.random.choice([0.0, 0.001, 0.01, 0.1])
        if self.random.random() < 0.03:
            self.now_s += self.random.choice([3.0, 3.0, 3.0, -5.0])
        if self.random.random() < 0.02:
            self.spare = self.random.choice([None, None, -1, 0, 1, 3])
        if self.wire:
            self.tell(Ticked())

    # What readers do.

    def change_mind(self, reader: int) -> None:
        """Let a reader begin to read somewhere; one that waits leaves, or stays."""
        total = self.transfer.total_bytes
        if reader in self.wishes:
            if self.random.random() < 0.3:
                del self.wishes[reader]
                self.leave(reader)
        elif total:
            start = min(self.random.choice([self.read_to, self.random.randrange(total)]), total - 1)
            stop = min(total, start + self.random.choice([1, 3, 8, 30]))
            wish = Wish(ByteRange(start, stop), self.transfer.generation, -1, 0.0)
            self.wishes[reader] = wish
            self.wished.append(wish.byte_range)
            self.look()

    def leave(self, reader: int) -> None:
        if reader in self.readers:
            self.readers.discard(reader)
            self.tell(ReaderLeft(reader))

    def look(self) -> None:
        """Serve whom the stored bytes serve, as the feed does, and tell where the others wait."""
        for reader, wish in list(self.wishes.items()):
            if self.wishes.get(reader) is not wish:
                continue
            if wish.generation != self.transfer.generation:
                self.end(reader)
            elif self.transfer.stored.covers(wish.byte_range):
                self.compare(wish.byte_range)
                self.end(reader)
                self.tell_where_it_is(reader, wish.byte_range.stop)
            elif wish.told < 0 or wish.told in self.transfer.stored:
                wish.told = self.transfer.stored.gaps(wish.byte_range)[0].start
                wish.told_s = self.now_s
                self.heard_s.append(self.now_s)
                if self.outcome is None:
                    self.readers.add(reader)
                    self.tell(ReaderWaits(reader, wish.told))

    def end(self, reader: int) -> None:
        self.ended += 1
        del self.wishes[reader]
        if self.random.random() < 0.5:  # otherwise it reads on somewhere later
            self.leave(reader)

    def tell_where_it_is(self, reader: int, offset: int) -> None:
        """Say that a reader has come so far, as one that reads a file does now and then."""
        self.read_to = offset
        if self.outcome is None and reader in self.readers and self.random.random() < 0.5:
            self.tell(ReaderAdvanced(reader, offset))

    def compare(self, byte_range: ByteRange) -> None:
        got = bytes(self.disk[byte_range.start : byte_range.stop])
        self.candidates = [
            f for f in self.candidates if f.data[byte_range.start : byte_range.stop] == got
        ]
        assert self.candidates, (
            f"{byte_range} holds bytes of no version, or of two: {self.happened}"
        )
        self.read_bytes += len(got)

    # What must hold at every step.

    @property
    def waiting(self) -> list[Wish]:
        """Whoever waits for a missing byte."""
        wishes = self.wishes.values()
        return [wish for wish in wishes if wish.told >= 0 and wish.told not in self.kept]

    @property
    def pressing(self) -> list[int]:
        """The bytes at which readers wait that were heard of lately."""
        return [wish.told for wish in self.waiting if self.is_lately(wish.told_s)]

    def is_lately(self, then_s: float) -> bool:
        return 0 <= self.now_s - then_s < LATELY_S

    def place(self, fetch_id: int) -> tuple[int, int]:
        """Return where a connection was asked to begin and where it is."""
        fetch = self.transfer._segments.fetches[fetch_id]
        return fetch.start, fetch.position

    def brings(self, fetch_id: int, offset: int) -> bool:
        """Tell whether an answered connection is about to bring a byte."""
        response = self.wire[fetch_id]
        _, at = self.place(fetch_id)
        left_bytes = 0 if response is None else len(response.body)
        return at <= offset < at + min(NEAR_BYTES, left_bytes)

    def concerns(self, fetch_id: int, offsets: list[int]) -> bool:
        """Tell whether a connection brings a byte of these, or just did."""
        start, at = self.place(fetch_id)
        return any(
            start <= offset and at - NEAR_BYTES <= offset < at + NEAR_BYTES for offset in offsets
        )

    def idle(self) -> list[int]:
        """Return the connections that bring no reader anything, also none that read lately."""
        wanted = self.transfer._scheduler.readers.wanted
        return [key for key in self.wire if not self.concerns(key, wanted)]

    def step(self) -> bool:  # type: ignore[override]  # it may be that nothing can
        """Let one thing happen, if any can; bodies are read as far as the planner lets them."""
        wanted, pressing = self.transfer._scheduler.readers.wanted, self.pressing
        held = [key for key in self.wire if not self.may_move(key, wanted, pressing)]
        can: list[Callable[[], None]] = [
            lambda fetch_id=fetch_id: self.move(fetch_id)  # type: ignore[misc]  # bound argument
            for fetch_id in self.wire
            if fetch_id not in held
        ]
        if self.writes:
            can.append(self.write)
        if self.is_waiting:
            can.append(self.fire)
        self.happened["held"] += len(held)
        if can:
            self.random.choice(can)()
        return bool(can)

    def may_move(self, fetch_id: int, wanted: list[int], pressing: list[int]) -> bool:
        response = self.wire[fetch_id]
        if response is None:
            return True
        others = [key for key, one in self.wire.items() if one is not None and key != fetch_id]
        if not self.transfer.may_read(fetch_id):
            if not self.fills:
                return False
            assert any(self.is_lately(heard_s) for heard_s in self.heard_s), "held back for nobody"
            assert any(self.concerns(key, wanted) for key in others), "held back for no answer"
            return False
        if response.body and pressing and not self.concerns(fetch_id, wanted):
            is_urgent = any(self.brings(key, offset) for key in others for offset in pressing)
            assert not is_urgent, "the fill is read while a reader is brought its own"
        return True

    def tell(self, seen: Event, data: bytes = b"") -> None:
        before = set(self.wire)
        generation = self.transfer.generation
        idle_before = len(self.idle())
        super().tell(seen, data)
        if self.transfer.generation != generation:
            self.candidates = list(self.origin.files)
        if self.outcome is None:
            assert self.transfer._scheduler.readers.offsets.keys() == self.readers, (
                "one that left is remembered"
            )
            self.check_priority(before, idle_before, is_planned=isinstance(seen, _PLANNED))
        self.look()

    def check_priority(self, before: set[int], idle_before: int, *, is_planned: bool) -> None:
        waiting, asked = (
            [wish.told for wish in self.waiting],
            [self.place(key) for key in self.wire],
        )
        is_proved = self.transfer.answers_ranges and self.transfer.is_resumable
        if is_proved and is_planned and not self.is_waiting:
            for offset in waiting:
                is_asked_for = any(
                    at <= offset < at + NEAR_BYTES or at <= offset == start for start, at in asked
                )
                is_full = all(self.concerns(key, waiting) for key in self.wire)
                assert is_asked_for or is_full, "nobody was asked for a reader's byte"
        if self.fills and self.max_connections is None and self.pressing:
            idle = self.idle()
            is_new = bool(set(idle) - before)
            assert not is_new or len(idle) <= max(1, idle_before), "the fill grows meanwhile"


def world(
    random: Random, size: int, faults: list[str], budget: int, **more: object
) -> ReaderDemand:
    return ReaderDemand(Origin(two_files(size, size)), random, faults, budget, **more)  # type: ignore[arg-type]  # as given


seeded = settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],  # there is nothing to shrink in a seed
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)


@seeded
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 120),
    max_connections=st.sampled_from([None, None, 1, 2, 3, 5]),
    budget=st.integers(0, 12),
    piece=st.sampled_from([None, 1, 3]),
    readers=st.integers(1, 4),
)
def test_random_readers_under_every_fault(
    seed: int,
    size: int,
    max_connections: int | None,
    budget: int,
    piece: int | None,
    readers: int,
) -> None:
    made = world(
        Random(seed), size, list(FAULTS), budget, max_connections=max_connections, piece=piece
    )
    check(made, made.play(readers))


@pytest.mark.parametrize("connections", [1, 4, None])
@pytest.mark.no_cover
def test_what_nobody_reads_is_not_fetched(connections: int | None) -> None:
    """Unless the whole file is wanted: it rests once its readers have what they need."""
    for seed in range(4):
        made = world(
            Random(seed), 400, ["none"], 0, max_connections=connections, piece=1, fills=False
        )
        made.begin(None, ByteRangeSet())
        assert made.go_on(readers=2, wishes=6) is None
        read_bytes = sum(byte_range.size_bytes + LEAST_BYTES for byte_range in made.wished)
        assert made.kept.size_bytes <= LEAST_BYTES + 3 * read_bytes
        near = ByteRangeSet(
            ByteRange(byte_range.start, byte_range.stop + MOST_BYTES) for byte_range in made.wished
        )
        far = [
            byte_range
            for byte_range in made.kept
            if not near.add(ByteRange(0, LEAST_BYTES)).covers(byte_range)
        ]
        assert not far, "nobody read anything near that"
        assert not made.wire, "somebody is still asked"
        assert not made.transfer.fills
        made.fills = True
        made.tell(DemandChanged(is_whole=True))
        assert isinstance(made.go_on(readers=2), Complete)
        assert bytes(made.disk) == made.origin.files[0].data
        assert made.origin.sent_bytes <= 400 + 6 * LEAST_BYTES


@pytest.mark.parametrize(
    ("fault", "validators"),
    [("ignores Range", "etag"), ("ignores Range", "none"), ("none", "weak"), ("none", "none")],
)
@pytest.mark.no_cover
def test_one_stream_is_read_as_far_as_somebody_needs_it(fault: str, validators: str) -> None:
    """Where no part can be asked for by itself, or none could be joined; and never begun anew."""
    for seed in range(4):
        made = world(Random(seed), 400, [fault], 10**6, max_connections=None, piece=1, fills=False)
        made.origin.validators = validators
        made.begin(None, ByteRangeSet())
        assert made.go_on(readers=1, wishes=1) is None
        assert made.kept.stop <= max(byte_range.stop for byte_range in made.wished) + 2 * MOST_BYTES
        assert made.happened["restart"] == 0
        assert len(made.origin.requests) <= 2


def test_what_is_fetched_ahead_grows_with_what_is_read_in_one_go() -> None:
    readers = Readahead(1024)
    assert readers.windows() == [ByteRange(0, 256)]
    for offset, stop in [(5000, 5256), (5200, 5456), (5456, 5912), (5900, 6800), (9000, 9256)]:
        readers.goes_on(1, offset)
        assert readers.windows() == [ByteRange(offset, stop), ByteRange(0, 256)]
    readers.goes_on(1, 8999)  # back: another place
    assert readers.windows()[0] == ByteRange(8999, 9255)
    for offset in range(8999, 99_000, 250):
        readers.goes_on(1, offset)
    assert readers.windows()[0].size_bytes == 8192
    readers.leave(1)
    assert readers.windows() == [ByteRange(0, 256)]


@seeded
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 300),
    validators=st.sampled_from(["etag", "etag", "date", "weak", "none"]),
    has_length=st.booleans(),
    max_connections=st.sampled_from([None, None, 1, 3]),
    budget=st.integers(0, 12),
)
def test_whatever_happens_a_reader_alone_gets_its_bytes(
    seed: int,
    size: int,
    validators: str,
    has_length: bool,
    max_connections: int | None,
    budget: int,
) -> None:
    """Nobody else wants the file: each reader ends all the same, and then it rests, or is whole."""
    made = world(
        Random(seed), size, list(FAULTS), budget, max_connections=max_connections, fills=False
    )
    made.origin.validators, made.origin.has_length = validators, has_length
    made.begin(None, ByteRangeSet())
    outcome = made.go_on(readers=3, wishes=10)
    if outcome is not None:
        check(made, outcome)


@pytest.mark.parametrize("connections", [2, 4, None])
@pytest.mark.no_cover
def test_without_a_fault_readers_cost_nothing_twice(connections: int | None) -> None:
    """Each byte is sent once, whoever waits for it where; some are held back for that."""
    held = read_bytes = 0
    for seed in range(4):
        made = world(Random(seed), 300, ["none"], 0, max_connections=connections, piece=1)
        outcome = made.play(3)
        assert isinstance(outcome, Complete)
        check(made, outcome)
        assert made.origin.sent_bytes == 300
        held += made.happened["held"]
        read_bytes += made.read_bytes
    assert held
    assert read_bytes > 4 * 100
