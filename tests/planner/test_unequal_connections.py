"""Connections that are ended for newer ones, that hang, and ranges at the end of the file."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.planner.test_transfer import (
    LOST,
    UNAVAILABLE,
    byte_ranges,
    part,
    plan,
    ranged,
    split,
    whole,
)
from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    ConnectionFailed,
    Event,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    StartRequest,
    Ticked,
)
from vidnb.download.planner.transfer import Transfer
from vidnb.http.headers import ETag, fold_headers, parse_content_range, parse_range
from vidnb.http.range_response import build_response
from vidnb.http.validators import Validators

NOW_S = 1_800_000_000.0
MIB = 2**20
FILE = Validators(ETag("a"), total_bytes=256 * MIB)


class EvictingServer:
    """Serves the newest `keep` connections of a client, and ends the older ones.

    Every response delivers a piece of `piece_bytes` a round, in a round of `round_s`.
    """

    def __init__(self, keep: int, size_bytes: int, *, round_s: float = 0.01) -> None:
        self.keep = keep
        self.size_bytes = size_bytes
        self.round_s = round_s
        self.now_s = NOW_S
        self.requests = 0
        self.peak = 0
        self.live: list[int] = []
        self.heads: dict[int, ResponseStarted] = {}
        self.is_complete = False

    def run(self, transfer: Transfer, piece_bytes: int = 2**18, rounds: int = 10_000) -> None:
        commands: Sequence[Command] = transfer.start()
        lost: list[int] = []
        for _ in range(rounds):
            pending = list(commands)
            while pending:
                command = pending.pop(0)
                match command:
                    case StartRequest():
                        self._accept(command)
                    case CancelRequest(request_id):
                        self.heads.pop(request_id, None)
                        self.live = [one for one in self.live if one != request_id]
            self.now_s += self.round_s
            events: list[Event] = []
            lost = self.live[: -self.keep]
            self.live = self.live[-self.keep :]
            events += [ConnectionFailed(one, LOST) for one in lost]
            for one in self.live:
                head = self.heads.pop(one, None)
                events.append(BodyReceived(one, piece_bytes) if head is None else head)
            events.append(Ticked())
            commands = []
            for event in events:
                commands = [*commands, *transfer.handle(event, now_s=self.now_s, jitter=0.0)]
            self.peak = max(self.peak, len(self.live))
            received = transfer._segments.received
            if received.size_bytes == self.size_bytes:
                self.is_complete = True
                return

    def _accept(self, command: StartRequest) -> None:
        self.requests += 1
        self.live.append(command.request_id)
        built = build_response(
            "GET",
            fold_headers(command.headers),
            self.size_bytes,
            ETag("a"),
            None,
            now_s=self.now_s,
            media_type="video/mp4",
            boundary="b",
        )
        self.heads[command.request_id] = ResponseStarted(
            command.request_id, built.status, fold_headers(built.headers)
        )


@pytest.mark.parametrize("connections", [None, 2, 4, 8])
@pytest.mark.parametrize("keep", [1, 2])
def test_connections_that_end_older_ones_are_not_added_again(
    connections: int | None, keep: int
) -> None:
    server = EvictingServer(keep, 256 * MIB)
    server.run(plan(max_connections=connections, min_segment_bytes=4 * MIB))
    assert server.is_complete
    assert server.requests <= 10 + keep
    assert server.peak <= keep


def test_after_two_openings_that_cost_a_connection_the_working_ones_remain() -> None:
    transfer = split()
    events: list[tuple[Event, list[Command]]] = [
        (part(2, 50, 100), []),
        (BodyReceived(1, 10), []),
        (ConnectionFailed(1, LOST), [ranged(3, 10, 50)]),  # it may have been an accident
        (part(3, 10, 50), []),
        (BodyReceived(2, 10), []),
        (ConnectionFailed(2, LOST), []),
        (BodyReceived(3, 40), []),
        (ResponseEnded(3), [ranged(4, 60)]),
        (part(4, 60, 100), []),
        (BodyReceived(4, 10), []),
    ]
    for event, commands in events:
        returned = transfer.handle(event, now_s=NOW_S)
        assert [one for one in returned if isinstance(one, StartRequest)] == commands
    assert transfer._scheduler.limit == 1
    assert transfer.observed_host_limit is None  # another download may have more luck


@pytest.mark.parametrize(
    ("lost", "later_s"),
    [pytest.param(1, 1.5, id="long-after-the-opening"), pytest.param(2, 0.0, id="the-newest")],
)
def test_a_connection_that_breaks_by_itself_is_replaced(lost: int, later_s: float) -> None:
    """Each time, and no limit is set."""
    transfer = split()
    for event in (part(2, 50, 100), BodyReceived(1, 1), BodyReceived(2, 1)):
        transfer.handle(event, now_s=NOW_S)
    for number in range(3, 6):
        now_s = NOW_S + later_s * (number - 2)
        (command,) = transfer.handle(ConnectionFailed(lost, LOST), now_s=now_s)
        assert isinstance(command, StartRequest)
        assert command.request_id == number
        transfer.handle(part(number, command.start, 100), now_s=now_s)
        transfer.handle(BodyReceived(number, 1), now_s=now_s)
        lost = number if lost == number - 1 else lost
        if later_s:
            lost = min(transfer._segments.requests)
    assert transfer._scheduler.limit == 2


def test_an_opening_that_costs_nothing_begins_the_count_anew() -> None:
    transfer = split()
    for event in (
        *(part(2, 50, 100), BodyReceived(1, 1), BodyReceived(2, 1)),
        ConnectionFailed(1, LOST),  # just after 2 was opened
        *(part(3, 1, 50), BodyReceived(3, 49), ResponseEnded(3)),  # 4 is opened, 2 goes on
        *(part(4, 75, 100), BodyReceived(4, 1)),
    ):
        transfer.handle(event, now_s=NOW_S)
    (command,) = transfer.handle(ConnectionFailed(2, LOST), now_s=NOW_S)
    assert isinstance(command, StartRequest)
    assert transfer._scheduler.limit == 2


def test_connections_that_are_lost_for_one_opening_count_once() -> None:
    transfer = plan(max_connections=3)
    transfer.start()
    transfer.handle(part(1, 0, 100), now_s=NOW_S)
    for number in (1, 2, 3):
        transfer.handle(part(number, transfer._segments.requests[number].start, 100), now_s=NOW_S)
        transfer.handle(BodyReceived(number, 1), now_s=NOW_S)
    for number in (1, 2):  # no other one may be opened meanwhile
        transfer.handle(ConnectionFailed(number, LOST), now_s=NOW_S, available_connections=-1)
    assert transfer._scheduler.limit == 3


def test_openings_at_once_do_not_hide_that_one_before_cost_a_connection() -> None:
    transfer = split()
    for event in (part(2, 50, 100), BodyReceived(1, 1), BodyReceived(2, 1)):
        transfer.handle(event, now_s=NOW_S)
    transfer._scheduler.limit = 4
    commands = transfer.handle(ConnectionFailed(1, LOST), now_s=NOW_S)
    assert len(commands) == 3
    transfer.handle(ConnectionFailed(2, LOST), now_s=NOW_S)
    assert transfer._scheduler.limit == 3


def test_a_late_connection_is_overtaken() -> None:
    """The first one has arrived where the second one should begin: it goes on."""
    transfer = split()
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    for _ in range(5):
        assert transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
        transfer.handle(Ticked(), now_s=NOW_S)
    before = list(transfer.handle(BodyReceived(1, 34), now_s=NOW_S))
    assert CancelRequest(2) not in before  # byte 48: the second one may still be first
    commands = transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    assert commands[0] == CancelRequest(2)
    assert transfer._segments.received == byte_ranges((0, 59))
    assert transfer._segments.requests[1].position == 59


def test_a_late_connection_is_overtaken_at_its_first_byte() -> None:
    transfer = split(min_segment_bytes=30)
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    for _ in range(5):
        transfer.handle(Ticked(), now_s=NOW_S)
    commands = transfer.handle(BodyReceived(1, 40), now_s=NOW_S)
    assert CancelRequest(2) in commands
    assert CancelRequest(1) not in commands


@pytest.mark.parametrize("ticks", [0, 4])
def test_a_connection_that_is_not_late_is_waited_for(ticks: int) -> None:
    transfer = split(min_segment_bytes=30)
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    for _ in range(ticks):
        transfer.handle(Ticked(), now_s=NOW_S)
    commands = transfer.handle(BodyReceived(1, 45), now_s=NOW_S)
    assert commands[-1] == CancelRequest(1)
    assert CancelRequest(2) not in commands


def test_a_connection_is_late_only_in_comparison_to_the_first_bytes_of_others() -> None:
    """Where every response takes long to begin, so does the second one."""
    transfer = split()
    for _ in range(10):
        transfer.handle(Ticked(), now_s=NOW_S)
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)  # after ten ticks
    for _ in range(30):
        transfer.handle(Ticked(), now_s=NOW_S)
    assert CancelRequest(2) not in transfer.handle(BodyReceived(1, 45), now_s=NOW_S)


def test_an_overtaken_connection_that_hangs_is_the_last_one() -> None:
    transfer = split()
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    for _ in range(42):
        transfer.handle(Ticked(), now_s=NOW_S)
    transfer.handle(BodyReceived(1, 45), now_s=NOW_S)
    assert transfer._scheduler.limit == 1


def stalled(*, has_begun: bool, ticks: int = 42, **options: Any) -> tuple[Transfer, list[Command]]:
    """Let the first connection end and the second one hang; return what `ticks` have cost."""
    transfer = split(**options)
    if has_begun:
        transfer.handle(part(2, 50, 100), now_s=NOW_S)
        transfer.handle(BodyReceived(2, 7), now_s=NOW_S)
    transfer.handle(BodyReceived(1, 50), now_s=NOW_S)  # at once: not a tick passes meanwhile
    commands: list[Command] = []
    for _ in range(ticks):
        commands += transfer.handle(Ticked(), now_s=NOW_S)
    return transfer, commands


@pytest.mark.parametrize("has_begun", [False, True], ids=["head", "body"])
def test_a_connection_that_hangs_alone_is_replaced_once(has_begun: bool) -> None:
    transfer, commands = stalled(has_begun=has_begun, min_segment_bytes=30)
    assert CancelRequest(2) in commands
    (request,) = (one for one in commands if isinstance(one, StartRequest))
    assert request.start == (57 if has_begun else 50)
    assert transfer._scheduler.limit == 1
    for _ in range(200):  # the idle timeout judges the last one
        assert transfer.handle(Ticked(), now_s=NOW_S) == ()


def test_a_connection_that_hangs_for_a_short_time_is_waited_for() -> None:
    assert stalled(has_begun=True, ticks=30, min_segment_bytes=30)[1] == []


def test_connections_that_hang_together_are_waited_for() -> None:
    """The network is gone: new connections would not help."""
    transfer = split(min_segment_bytes=30)
    transfer.handle(part(2, 50, 100), now_s=NOW_S)
    for _ in range(3):
        transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
        transfer.handle(BodyReceived(2, 1), now_s=NOW_S)
        transfer.handle(Ticked(), now_s=NOW_S)
    for _ in range(200):
        assert transfer.handle(Ticked(), now_s=NOW_S) == ()


def test_a_response_that_is_not_read_does_not_hang() -> None:
    """It has to wait for a reader that another response serves."""
    transfer = split(min_segment_bytes=30)
    transfer.handle(part(2, 50, 100), now_s=NOW_S)
    transfer.handle(BodyReceived(2, 7), now_s=NOW_S)
    transfer.handle(ReaderWaits(1, 5), now_s=NOW_S)
    assert not transfer.should_read(2)
    for _ in range(100):
        assert transfer.handle(Ticked(), now_s=NOW_S) == ()
    assert transfer._segments.requests[1].silent_ticks == 100
    assert transfer._segments.requests[2].silent_ticks == 0


def test_a_refused_connection_is_no_eviction() -> None:
    transfer = split()
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    transfer.handle(ConnectionFailed(2, UNAVAILABLE), now_s=NOW_S)
    assert transfer._scheduler._evictions == 0


# The end of the file.


def last_bytes(commands: Sequence[Command]) -> list[int | None]:
    """Return the last byte of each requested range."""
    found: list[int | None] = []
    for command in commands:
        if isinstance(command, StartRequest):
            specs = parse_range(fold_headers(command.headers).get("range", ""))
            found += [spec.last for spec in specs or ()]
    return found


def reading(**options: Any) -> Transfer:
    """A transfer of 100 bytes of which readers want the first window (25 bytes)."""
    return plan(max_connections=None, is_whole_wanted=False, read_ahead_bytes=100, **options)


def test_a_reader_near_the_end_requests_nothing_past_it() -> None:
    transfer = reading()
    assert last_bytes(transfer.start()) == [24]
    transfer.handle(part(1, 0, 25), now_s=NOW_S)
    transfer.handle(BodyReceived(1, 25), now_s=NOW_S)
    transfer.handle(ResponseEnded(1), now_s=NOW_S)
    assert last_bytes(transfer.handle(ReaderWaits(1, 90), now_s=NOW_S)) == [99]


def test_a_resumed_reader_requests_nothing_past_the_end() -> None:
    stored = byte_ranges((0, 90))
    transfer = reading(validators=Validators(ETag("a"), total_bytes=100), stored=stored)
    assert last_bytes(transfer.start()) == [99]


@pytest.mark.parametrize(
    ("content_range", "length"),
    [("bytes 0-24/10", "10"), ("bytes 0-24/10", "25"), ("bytes 0-10/10", "10")],
)
def test_a_file_shorter_than_the_first_window_is_complete(content_range: str, length: str) -> None:
    """Handlers that do not know that the range ends past the file repeat it."""
    transfer = reading()
    transfer.start()
    head = {"content-range": content_range, "content-length": length, "etag": '"a"'}
    assert parse_content_range(content_range) is None
    assert transfer.handle(ResponseStarted(1, 206, head), now_s=NOW_S) == ()
    transfer.handle(BodyReceived(1, 10), now_s=NOW_S)
    assert transfer.source.total_bytes == 10
    assert transfer.source.generation == 0


@pytest.mark.parametrize("total", [{"content-range": "bytes */10"}, {}], ids=["total", "bare"])
def test_a_416_to_the_first_window_is_repeated_without_a_range(total: dict[str, str]) -> None:
    """Strict handlers refuse a range that ends past the file; the file has not changed."""
    transfer = reading()
    transfer.start()
    commands = transfer.handle(ResponseStarted(1, 416, total), now_s=NOW_S)
    assert commands == (CancelRequest(1), StartRequest(2, 0, ()))
    transfer.handle(whole(2, 10), now_s=NOW_S)
    assert transfer.source.generation == 0
    assert transfer.restarts == 0
