from collections.abc import Iterable

import pytest

from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest, SegmentMap
from vidnb.http.ranges import ByteRange, ByteRangeSet


def sent(
    number: int, start: int, *, position: int | None = None, stop: int = UNBOUNDED
) -> ActiveRequest:
    return ActiveRequest(
        number,
        start,
        start if position is None else position,
        is_ranged=True,
        has_if_range=False,
        is_conditional=False,
        body_stop=stop,
        has_started=True,
    )


def segments(
    received: Iterable[tuple[int, int]] = (),
    *requests: ActiveRequest,
    is_single_stream: bool = False,
) -> SegmentMap:
    byte_ranges = ByteRangeSet(ByteRange(start, stop) for start, stop in received)
    by_id = {active.request_id: active for active in requests}
    return SegmentMap(byte_ranges, by_id, is_single_stream)


def test_the_initial_state() -> None:
    segment_map = SegmentMap()
    assert (segment_map.received, segment_map.requests, segment_map.is_single_stream) == (
        ByteRangeSet(),
        {},
        False,
    )
    active = ActiveRequest(1, 5, 5, is_ranged=True, has_if_range=False, is_conditional=False)
    assert (active.body_stop, active.has_started, active.has_contributed) == (
        UNBOUNDED,
        False,
        False,
    )
    assert UNBOUNDED == 2**63


@pytest.mark.parametrize(
    ("received", "others", "active", "stop"),
    [
        pytest.param([], [], sent(1, 0), UNBOUNDED, id="unbounded"),
        pytest.param([], [], sent(1, 0, stop=100), 100, id="its-body"),
        pytest.param([], [sent(2, 50)], sent(1, 0, stop=100), 50, id="another-one"),
        pytest.param([], [sent(2, 50)], sent(1, 50, stop=100), 50, id="at-the-same-byte"),
        pytest.param([], [sent(2, 10)], sent(1, 50, stop=100), 100, id="one-before-it"),
        pytest.param([], [sent(2, 80), sent(3, 60)], sent(1, 0, stop=100), 60, id="the-nearest"),
        pytest.param(
            [(0, 10)], [sent(2, 50)], sent(1, 0, position=10, stop=30), 30, id="body-first"
        ),
        pytest.param([(40, 60)], [], sent(1, 0, stop=100), 40, id="received-bytes"),
        pytest.param([(0, 60)], [], sent(1, 0, position=20, stop=100), 20, id="in-received-bytes"),
        pytest.param([(0, 10)], [], sent(1, 10, position=0, stop=90), 90, id="began-before"),
        pytest.param([], [], sent(1, 0, position=90, stop=90), 90, id="at-its-end"),
        pytest.param([], [], sent(1, 90, position=0, stop=50), 50, id="ends-before-its-start"),
    ],
)
def test_where_a_request_stops(
    received: list[tuple[int, int]], others: list[ActiveRequest], active: ActiveRequest, stop: int
) -> None:
    assert segments(received, active, *others).stop_of(active) == stop


def test_the_one_stream_of_an_origin_without_ranges_runs_through() -> None:
    active = sent(1, 0, stop=100)
    assert segments([(40, 60)], active, sent(2, 30), is_single_stream=True).stop_of(active) == 100


@pytest.mark.parametrize(
    ("received", "active", "size_bytes", "new", "position"),
    [
        pytest.param([], sent(1, 0, stop=100), 30, [(0, 30)], 30, id="new"),
        pytest.param([], sent(1, 0, stop=20), 30, [(0, 20)], 20, id="beyond-its-body"),
        pytest.param([(20, 40)], sent(1, 0, stop=100), 30, [(0, 20)], 20, id="up-to-received"),
        pytest.param(
            [(0, 10)], sent(1, 10, position=0, stop=90), 30, [(10, 30)], 30, id="began-before"
        ),
        pytest.param([(0, 50)], sent(1, 0, position=20), 10, [], 20, id="inside-received"),
        pytest.param([], sent(1, 0, stop=100), 0, [], 0, id="nothing"),
    ],
)
def test_only_new_ranges_are_returned(
    received: list[tuple[int, int]],
    active: ActiveRequest,
    size_bytes: int,
    new: list[tuple[int, int]],
    position: int,
) -> None:
    segment_map = segments(received, active)
    byte_ranges = tuple(ByteRange(start, stop) for start, stop in new)
    assert segment_map.advance(active, size_bytes) == byte_ranges
    assert segment_map.received == ByteRangeSet(
        [ByteRange(*pair) for pair in received] + list(byte_ranges)
    )
    assert active.position == position
    assert active.has_contributed is bool(new)


def test_a_single_stream_delivers_the_gaps_between_received_bytes() -> None:
    active = sent(1, 0, stop=100)
    segment_map = segments([(10, 20), (30, 40)], active, is_single_stream=True)
    assert segment_map.advance(active, 50) == (
        ByteRange(0, 10),
        ByteRange(20, 30),
        ByteRange(40, 50),
    )
    assert segment_map.received == ByteRangeSet([ByteRange(0, 50)])


@pytest.mark.parametrize(
    ("received", "requests", "start"),
    [
        pytest.param([], [], 0, id="nothing-yet"),
        pytest.param([(0, 100)], [], None, id="everything"),
        pytest.param([(0, 40)], [], 40, id="after-received-bytes"),
        pytest.param([], [sent(1, 0)], None, id="all-assigned"),
        pytest.param([], [sent(1, 0, stop=60)], 60, id="after-a-short-body"),
        pytest.param([], [sent(1, 30)], 0, id="before-a-request"),
        pytest.param([(60, 80)], [sent(1, 0)], 80, id="after-more-received-bytes"),
        pytest.param([], [sent(1, 0), sent(2, 50)], None, id="two-share-it"),
        pytest.param([(0, 100)], [sent(1, 0, position=100, stop=100)], None, id="at-its-end"),
    ],
)
def test_the_first_unassigned_byte(
    received: list[tuple[int, int]], requests: list[ActiveRequest], start: int | None
) -> None:
    assert segments(received, *requests).first_unassigned(100) == start


@pytest.mark.parametrize(
    ("requests", "middle"),
    [
        pytest.param([], None, id="none"),
        pytest.param([sent(1, 0)], 50, id="one"),
        pytest.param([sent(1, 0, position=41)], 70, id="odd"),
        pytest.param([sent(1, 50, position=0)], 75, id="began-before-its-start"),
        pytest.param([sent(1, 60, position=0, stop=40)], None, id="ends-before-its-start"),
        pytest.param([sent(1, 0, position=60)], 80, id="just-worth-it"),
        pytest.param([sent(1, 0, position=61)], None, id="not-worth-it"),
        pytest.param([sent(1, 0), sent(2, 30)], 65, id="the-longest"),
        pytest.param([sent(1, 0, stop=40), sent(2, 50)], 75, id="bounded-by-its-body"),
    ],
)
def test_the_largest_segment_is_split(requests: list[ActiveRequest], middle: int | None) -> None:
    assert segments((), *requests).split_point(100, now_s=0.0, min_segment_bytes=20) == middle


@pytest.mark.parametrize(
    ("received", "requests", "start", "total", "stop"),
    [
        pytest.param([], [], 10, None, None, id="total-unknown"),
        pytest.param([], [], 10, 100, None, id="the-last-range-is-open-ended"),
        pytest.param([], [sent(1, 50)], 10, 100, 50, id="up-to-another"),
        pytest.param([], [sent(1, 5)], 10, 100, None, id="another-before"),
        pytest.param([], [sent(1, 10)], 10, 100, None, id="another-at-the-same"),
        pytest.param([(30, 40)], [sent(1, 50)], 10, 100, 30, id="up-to-received-bytes"),
        pytest.param([(30, 40)], [sent(1, 10)], 10, 100, 30, id="received-and-one-at-the-same"),
        pytest.param([(90, 100)], [], 10, 100, 90, id="up-to-a-received-end"),
        pytest.param([(10, 50)], [sent(1, 50)], 10, 100, None, id="nothing-to-request"),
    ],
)
def test_where_a_range_ends(
    received: list[tuple[int, int]],
    requests: list[ActiveRequest],
    start: int,
    total: int | None,
    stop: int | None,
) -> None:
    assert segments(received, *requests).range_stop(start, total) == stop


@pytest.mark.parametrize(
    ("offset", "is_soon"), [(19, False), (20, True), (29, True), (30, False), (99, False)]
)
def test_a_request_delivers_the_bytes_within_the_read_ahead(offset: int, is_soon: bool) -> None:
    active = sent(1, 0, position=20, stop=100)
    assert segments((), active).will_deliver(active, offset, read_ahead_bytes=10) is is_soon


def test_a_request_does_not_deliver_the_bytes_of_another_one() -> None:
    active = sent(1, 0, position=20, stop=100)
    segment_map = segments((), active, sent(2, 25))
    assert segment_map.will_deliver(active, 24, 10)
    assert not segment_map.will_deliver(active, 25, 10)


def test_the_least_useful_request_has_the_most_remaining_bytes() -> None:
    one, two, three = sent(1, 0), sent(2, 30), sent(3, 90, stop=100)
    segment_map = segments((), one, two, three)
    assert segment_map.least_useful_request([], 10) is two
    assert segment_map.least_useful_request([35], 10) is one
    assert segment_map.least_useful_request([35, 5], 10) is three
    assert segment_map.least_useful_request([35, 5, 95], 10) is None


def test_a_request_without_a_response_is_the_least_useful() -> None:
    one, two = sent(1, 0), sent(2, 90, stop=100)
    two.has_started = False
    assert segments((), one, two).least_useful_request([], 10) is two


def test_a_request_delivers_its_first_byte() -> None:
    """Also where its response begins far before it."""
    active = sent(1, 50, position=0, stop=100)
    segment_map = segments((), active)
    assert segment_map.will_deliver(active, 50, 10)
    assert not segment_map.will_deliver(active, 51, 10)
    active.position = 51
    assert not segment_map.will_deliver(active, 50, 10)


MB = 1_000_000


def at_rate(
    number: int, start: int, stop: int, *, mb_per_s: float, since_s: float = 10.0
) -> ActiveRequest:
    """A request with this throughput for `since_s` seconds until second 100."""
    active = sent(number, start, stop=stop)
    active.sent_s = 100.0 - since_s
    active.throughput.start(active.sent_s)
    for step in range(1, 101):
        active.throughput.add(
            active.sent_s + step * since_s / 100, int(mb_per_s * since_s * MB / 100)
        )
    return active


@pytest.mark.parametrize(
    ("requests", "first_byte_s", "middle"),
    [
        pytest.param(
            [at_rate(1, 0, 50 * MB, mb_per_s=10), at_rate(2, 50 * MB, 60 * MB, mb_per_s=1)],
            0.0,
            55 * MB,
            id="the-slowest-not-the-longest",
        ),
        pytest.param(
            [at_rate(1, 0, 50 * MB, mb_per_s=10), at_rate(2, 50 * MB, 52 * MB, mb_per_s=10)],
            0.0,
            25 * MB,
            id="the-longest-of-equals",
        ),
        pytest.param([at_rate(1, 0, 2 * MB, mb_per_s=10)], 0.0, 1 * MB, id="a-tail-of-0.2-s"),
        pytest.param([at_rate(1, 0, MB // 2, mb_per_s=10)], 0.0, None, id="a-tail-of-0.05-s"),
        pytest.param(
            [at_rate(1, 0, 2 * MB, mb_per_s=10)], 0.04, None, id="first-byte-takes-too-long"
        ),
        pytest.param(
            [at_rate(1, 0, 4 * MB, mb_per_s=10)], 0.04, 2 * MB, id="first-byte-takes-less"
        ),
        pytest.param([at_rate(1, 0, 120_000, mb_per_s=0.001)], 0.0, None, id="too-few-bytes"),
        pytest.param(
            [at_rate(1, 0, 120_000, mb_per_s=0.001), at_rate(2, 120_000, 4 * MB, mb_per_s=10)],
            0.0,
            120_000 + (4 * MB - 120_000) // 2,
            id="the-slowest-has-too-few-bytes",
        ),
        pytest.param(
            [
                at_rate(1, 0, 20 * MB, mb_per_s=10),
                at_rate(2, 20 * MB, 30 * MB, mb_per_s=1, since_s=0.2),
            ],
            0.0,
            10 * MB,
            id="a-new-connection-counts-as-average",
        ),
        pytest.param(
            [
                at_rate(1, 0, 60 * MB, mb_per_s=10),
                at_rate(2, 60 * MB, 70 * MB, mb_per_s=1, since_s=2.0),
            ],
            0.5,
            30 * MB,
            id="for-longer-with-a-late-first-byte",
        ),
        pytest.param(
            [at_rate(1, 0, 20 * MB, mb_per_s=1, since_s=0.2)],
            0.0,
            10 * MB,
            id="only-a-new-connection",
        ),
    ],
)
def test_the_segment_that_finishes_last_is_split(
    requests: list[ActiveRequest], first_byte_s: float, middle: int | None
) -> None:
    found = segments((), *requests).split_point(100 * MB, now_s=100.0, first_byte_s=first_byte_s)
    assert found == middle


@pytest.mark.parametrize(("sent_s", "middle"), [(99.9, 10 * MB), (90.0, 25 * MB), (None, 10 * MB)])
def test_the_segment_of_a_stalled_request_is_split(sent_s: float | None, middle: int) -> None:
    stalled = sent(2, 20 * MB, stop=30 * MB)
    stalled.sent_s = sent_s
    segment_map = segments((), at_rate(1, 0, 20 * MB, mb_per_s=10), stalled)
    assert segment_map.split_point(100 * MB, now_s=100.0) == middle
