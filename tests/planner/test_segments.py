from collections.abc import Iterable

import pytest

from vidnb.download.planner.segments import UNBOUNDED, ActiveRequest, SegmentMap
from vidnb.http.ranges import ByteRange, ByteRangeSet


def fetching(
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
        is_open=True,
    )


def segments(
    kept: Iterable[tuple[int, int]] = (), *fetches: ActiveRequest, runs_through: bool = False
) -> SegmentMap:
    byte_ranges = ByteRangeSet(ByteRange(start, stop) for start, stop in kept)
    return SegmentMap(byte_ranges, {fetch.fetch_id: fetch for fetch in fetches}, runs_through)


def test_a_board_begins_empty() -> None:
    game = SegmentMap()
    assert (game.kept, game.fetches, game.runs_through) == (ByteRangeSet(), {}, False)
    fetch = ActiveRequest(1, 5, 5, is_ranged=True, has_if_range=False, is_conditional=False)
    assert (fetch.body_stop, fetch.is_open, fetch.has_kept) == (UNBOUNDED, False, False)
    assert UNBOUNDED == 2**63


@pytest.mark.parametrize(
    ("kept", "others", "fetch", "limit"),
    [
        pytest.param([], [], fetching(1, 0), UNBOUNDED, id="nobody-and-nothing"),
        pytest.param([], [], fetching(1, 0, stop=100), 100, id="its-body"),
        pytest.param([], [fetching(2, 50)], fetching(1, 0, stop=100), 50, id="another-one"),
        pytest.param([], [fetching(2, 50)], fetching(1, 50, stop=100), 50, id="at-the-same-byte"),
        pytest.param([], [fetching(2, 10)], fetching(1, 50, stop=100), 100, id="one-before-it"),
        pytest.param(
            [], [fetching(2, 80), fetching(3, 60)], fetching(1, 0, stop=100), 60, id="the-nearest"
        ),
        pytest.param(
            [(0, 10)], [fetching(2, 50)], fetching(1, 0, position=10, stop=30), 30, id="body-first"
        ),
        pytest.param([(40, 60)], [], fetching(1, 0, stop=100), 40, id="kept-bytes"),
        pytest.param([(0, 60)], [], fetching(1, 0, position=20, stop=100), 20, id="in-kept-bytes"),
        pytest.param([(0, 10)], [], fetching(1, 10, position=0, stop=90), 90, id="began-before"),
        pytest.param([], [], fetching(1, 0, position=90, stop=90), 90, id="at-its-end"),
        pytest.param([], [], fetching(1, 90, position=0, stop=50), 50, id="ends-before-its-start"),
    ],
)
def test_how_far_a_fetch_is_of_use(
    kept: list[tuple[int, int]], others: list[ActiveRequest], fetch: ActiveRequest, limit: int
) -> None:
    assert segments(kept, fetch, *others).limit_of(fetch) == limit


def test_the_one_stream_of_an_origin_without_ranges_runs_through() -> None:
    fetch = fetching(1, 0, stop=100)
    assert segments([(40, 60)], fetch, fetching(2, 30), runs_through=True).limit_of(fetch) == 100


@pytest.mark.parametrize(
    ("kept", "fetch", "size_bytes", "fresh", "position"),
    [
        pytest.param([], fetching(1, 0, stop=100), 30, [(0, 30)], 30, id="new"),
        pytest.param([], fetching(1, 0, stop=20), 30, [(0, 20)], 20, id="beyond-its-body"),
        pytest.param([(20, 40)], fetching(1, 0, stop=100), 30, [(0, 20)], 20, id="up-to-kept"),
        pytest.param(
            [(0, 10)], fetching(1, 10, position=0, stop=90), 30, [(10, 30)], 30, id="began-before"
        ),
        pytest.param([(0, 50)], fetching(1, 0, position=20), 10, [], 20, id="inside-kept"),
        pytest.param([], fetching(1, 0, stop=100), 0, [], 0, id="nothing"),
    ],
)
def test_what_is_taken_of_what_arrived(
    kept: list[tuple[int, int]],
    fetch: ActiveRequest,
    size_bytes: int,
    fresh: list[tuple[int, int]],
    position: int,
) -> None:
    game = segments(kept, fetch)
    byte_ranges = tuple(ByteRange(start, stop) for start, stop in fresh)
    assert game.take(fetch, size_bytes) == byte_ranges
    assert game.kept == ByteRangeSet([ByteRange(*pair) for pair in kept] + list(byte_ranges))
    assert fetch.position == position
    assert fetch.has_kept is bool(fresh)


def test_running_through_kept_bytes_takes_what_lies_between() -> None:
    fetch = fetching(1, 0, stop=100)
    game = segments([(10, 20), (30, 40)], fetch, runs_through=True)
    assert game.take(fetch, 50) == (ByteRange(0, 10), ByteRange(20, 30), ByteRange(40, 50))
    assert game.kept == ByteRangeSet([ByteRange(0, 50)])


@pytest.mark.parametrize(
    ("kept", "fetches", "free"),
    [
        pytest.param([], [], 0, id="nothing-yet"),
        pytest.param([(0, 100)], [], None, id="everything"),
        pytest.param([(0, 40)], [], 40, id="after-what-is-kept"),
        pytest.param([], [fetching(1, 0)], None, id="all-on-its-way"),
        pytest.param([], [fetching(1, 0, stop=60)], 60, id="behind-a-short-body"),
        pytest.param([], [fetching(1, 30)], 0, id="before-a-fetch"),
        pytest.param([(60, 80)], [fetching(1, 0)], 80, id="behind-kept-bytes"),
        pytest.param([], [fetching(1, 0), fetching(2, 50)], None, id="two-share-it"),
        pytest.param([(0, 100)], [fetching(1, 0, position=100, stop=100)], None, id="at-its-end"),
    ],
)
def test_the_first_byte_that_nobody_brings(
    kept: list[tuple[int, int]], fetches: list[ActiveRequest], free: int | None
) -> None:
    assert segments(kept, *fetches).first_free(100) == free


@pytest.mark.parametrize(
    ("fetches", "middle"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([fetching(1, 0)], 50, id="one"),
        pytest.param([fetching(1, 0, position=41)], 70, id="odd"),
        pytest.param([fetching(1, 50, position=0)], 75, id="began-before-what-was-asked"),
        pytest.param([fetching(1, 60, position=0, stop=40)], None, id="ends-before-its-start"),
        pytest.param([fetching(1, 0, position=60)], 80, id="just-worth-it"),
        pytest.param([fetching(1, 0, position=61)], None, id="not-worth-it"),
        pytest.param([fetching(1, 0), fetching(2, 30)], 65, id="the-longest"),
        pytest.param([fetching(1, 0, stop=40), fetching(2, 50)], 75, id="bounded-by-its-body"),
    ],
)
def test_where_the_longest_rest_is_split(fetches: list[ActiveRequest], middle: int | None) -> None:
    assert segments((), *fetches).best_split(100, now_s=0.0, min_segment_bytes=20) == middle


@pytest.mark.parametrize(
    ("kept", "fetches", "start", "total", "stop"),
    [
        pytest.param([], [], 10, None, None, id="total-unknown"),
        pytest.param([], [], 10, 100, None, id="the-last-slice-is-open"),
        pytest.param([], [fetching(1, 50)], 10, 100, 50, id="up-to-another"),
        pytest.param([], [fetching(1, 5)], 10, 100, None, id="another-before"),
        pytest.param([], [fetching(1, 10)], 10, 100, None, id="another-at-the-same"),
        pytest.param([(30, 40)], [fetching(1, 50)], 10, 100, 30, id="up-to-kept-bytes"),
        pytest.param([(30, 40)], [fetching(1, 10)], 10, 100, 30, id="kept-and-one-at-the-same"),
        pytest.param([(90, 100)], [], 10, 100, 90, id="up-to-a-kept-end"),
        pytest.param([(10, 50)], [fetching(1, 50)], 10, 100, None, id="nothing-to-fetch"),
    ],
)
def test_where_a_range_ends(
    kept: list[tuple[int, int]],
    fetches: list[ActiveRequest],
    start: int,
    total: int | None,
    stop: int | None,
) -> None:
    assert segments(kept, *fetches).stop_for(start, total) == stop


@pytest.mark.parametrize(
    ("offset", "is_near"), [(19, False), (20, True), (29, True), (30, False), (99, False)]
)
def test_what_soon_arrives(offset: int, is_near: bool) -> None:
    fetch = fetching(1, 0, position=20, stop=100)
    assert segments((), fetch).is_near(fetch, offset, read_ahead_bytes=10) is is_near


def test_what_another_one_brings_is_not_near() -> None:
    fetch = fetching(1, 0, position=20, stop=100)
    game = segments((), fetch, fetching(2, 25))
    assert game.is_near(fetch, 24, 10)
    assert not game.is_near(fetch, 25, 10)


def test_who_can_be_spared_is_the_one_with_the_longest_way_to_go() -> None:
    one, two, three = fetching(1, 0), fetching(2, 30), fetching(3, 90, stop=100)
    game = segments((), one, two, three)
    assert game.helper_to_spare([], 10) is two
    assert game.helper_to_spare([35], 10) is one
    assert game.helper_to_spare([35, 5], 10) is three
    assert game.helper_to_spare([35, 5, 95], 10) is None


def test_one_that_is_not_answered_yet_is_spared_first() -> None:
    one, two = fetching(1, 0), fetching(2, 90, stop=100)
    two.is_open = False
    assert segments((), one, two).helper_to_spare([], 10) is two


def test_the_byte_that_was_asked_for_is_on_its_way() -> None:
    """Even where the answer begins far before it."""
    fetch = fetching(1, 50, position=0, stop=100)
    game = segments((), fetch)
    assert game.is_near(fetch, 50, 10)
    assert not game.is_near(fetch, 51, 10)
    fetch.position = 51
    assert not game.is_near(fetch, 50, 10)


MB = 1_000_000


def paced(
    number: int, start: int, stop: int, *, mb_per_s: float, since_s: float = 10.0
) -> ActiveRequest:
    """A fetch that brought bytes at this pace, until second 100."""
    fetch = fetching(number, start, stop=stop)
    fetch.asked_s = 100.0 - since_s
    fetch.pace.begin(fetch.asked_s)
    for step in range(1, 101):
        fetch.pace.add(fetch.asked_s + step * since_s / 100, int(mb_per_s * since_s * MB / 100))
    return fetch


@pytest.mark.parametrize(
    ("fetches", "first_byte_s", "middle"),
    [
        pytest.param(
            [paced(1, 0, 50 * MB, mb_per_s=10), paced(2, 50 * MB, 60 * MB, mb_per_s=1)],
            0.0,
            55 * MB,
            id="the-slowest-not-the-longest",
        ),
        pytest.param(
            [paced(1, 0, 50 * MB, mb_per_s=10), paced(2, 50 * MB, 52 * MB, mb_per_s=10)],
            0.0,
            25 * MB,
            id="the-longest-of-equals",
        ),
        pytest.param([paced(1, 0, 2 * MB, mb_per_s=10)], 0.0, 1 * MB, id="a-tail-of-0.2-s"),
        pytest.param([paced(1, 0, MB // 2, mb_per_s=10)], 0.0, None, id="a-tail-of-0.05-s"),
        pytest.param([paced(1, 0, 2 * MB, mb_per_s=10)], 0.04, None, id="a-request-takes-as-long"),
        pytest.param([paced(1, 0, 4 * MB, mb_per_s=10)], 0.04, 2 * MB, id="a-request-takes-less"),
        pytest.param([paced(1, 0, 120_000, mb_per_s=0.001)], 0.0, None, id="too-few-bytes"),
        pytest.param(
            [paced(1, 0, 120_000, mb_per_s=0.001), paced(2, 120_000, 4 * MB, mb_per_s=10)],
            0.0,
            120_000 + (4 * MB - 120_000) // 2,
            id="the-slowest-has-too-few",
        ),
        pytest.param(
            [
                paced(1, 0, 20 * MB, mb_per_s=10),
                paced(2, 20 * MB, 30 * MB, mb_per_s=1, since_s=0.2),
            ],
            0.0,
            10 * MB,
            id="a-young-one-still-finds-its-pace",
        ),
        pytest.param(
            [
                paced(1, 0, 60 * MB, mb_per_s=10),
                paced(2, 60 * MB, 70 * MB, mb_per_s=1, since_s=2.0),
            ],
            0.5,
            30 * MB,
            id="and-longer-where-requests-take-long",
        ),
        pytest.param(
            [paced(1, 0, 20 * MB, mb_per_s=1, since_s=0.2)], 0.0, 10 * MB, id="only-a-young-one"
        ),
    ],
)
def test_the_slowest_gives_away_its_tail(
    fetches: list[ActiveRequest], first_byte_s: float, middle: int | None
) -> None:
    found = segments((), *fetches).best_split(100 * MB, now_s=100.0, first_byte_s=first_byte_s)
    assert found == middle


@pytest.mark.parametrize(("asked_s", "middle"), [(99.9, 10 * MB), (90.0, 25 * MB), (None, 10 * MB)])
def test_one_that_stays_silent_gives_away_its_tail(asked_s: float | None, middle: int) -> None:
    silent = fetching(2, 20 * MB, stop=30 * MB)
    silent.asked_s = asked_s
    game = segments((), paced(1, 0, 20 * MB, mb_per_s=10), silent)
    assert game.best_split(100 * MB, now_s=100.0) == middle
