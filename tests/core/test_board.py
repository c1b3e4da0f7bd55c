from collections.abc import Iterable

import pytest

from vidnb.core.board import ENDLESS, Board, Fetching
from vidnb.core.spans import Span, SpanSet


def fetching(
    number: int, start: int, *, position: int | None = None, stop: int = ENDLESS
) -> Fetching:
    return Fetching(
        number,
        start,
        start if position is None else position,
        is_ranged=True,
        has_if_range=False,
        is_conditional=False,
        body_stop=stop,
        is_open=True,
    )


def board(
    kept: Iterable[tuple[int, int]] = (), *fetches: Fetching, runs_through: bool = False
) -> Board:
    spans = SpanSet(Span(start, stop) for start, stop in kept)
    return Board(spans, {fetch.fetch_id: fetch for fetch in fetches}, runs_through)


def test_a_board_begins_empty() -> None:
    game = Board()
    assert (game.kept, game.fetches, game.runs_through) == (SpanSet(), {}, False)
    fetch = Fetching(1, 5, 5, is_ranged=True, has_if_range=False, is_conditional=False)
    assert (fetch.body_stop, fetch.is_open, fetch.has_kept) == (ENDLESS, False, False)
    assert ENDLESS == 2**63


@pytest.mark.parametrize(
    ("kept", "others", "fetch", "limit"),
    [
        pytest.param([], [], fetching(1, 0), ENDLESS, id="nobody-and-nothing"),
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
    kept: list[tuple[int, int]], others: list[Fetching], fetch: Fetching, limit: int
) -> None:
    assert board(kept, fetch, *others).limit_of(fetch) == limit


def test_the_one_stream_of_an_origin_without_ranges_runs_through() -> None:
    fetch = fetching(1, 0, stop=100)
    assert board([(40, 60)], fetch, fetching(2, 30), runs_through=True).limit_of(fetch) == 100


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
    fetch: Fetching,
    size_bytes: int,
    fresh: list[tuple[int, int]],
    position: int,
) -> None:
    game = board(kept, fetch)
    spans = tuple(Span(start, stop) for start, stop in fresh)
    assert game.take(fetch, size_bytes) == spans
    assert game.kept == SpanSet([Span(*pair) for pair in kept] + list(spans))
    assert fetch.position == position
    assert fetch.has_kept is bool(fresh)


def test_running_through_kept_bytes_takes_what_lies_between() -> None:
    fetch = fetching(1, 0, stop=100)
    game = board([(10, 20), (30, 40)], fetch, runs_through=True)
    assert game.take(fetch, 50) == (Span(0, 10), Span(20, 30), Span(40, 50))
    assert game.kept == SpanSet([Span(0, 50)])


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
    kept: list[tuple[int, int]], fetches: list[Fetching], free: int | None
) -> None:
    assert board(kept, *fetches).first_free(100) == free


@pytest.mark.parametrize(
    ("fetches", "middle"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([fetching(1, 0)], 50, id="one"),
        pytest.param([fetching(1, 0, position=41)], 70, id="odd"),
        pytest.param([fetching(1, 0, position=60)], 80, id="just-worth-it"),
        pytest.param([fetching(1, 0, position=61)], None, id="not-worth-it"),
        pytest.param([fetching(1, 0), fetching(2, 30)], 65, id="the-longest"),
        pytest.param([fetching(1, 0, stop=40), fetching(2, 50)], 75, id="bounded-by-its-body"),
    ],
)
def test_where_the_longest_rest_is_split(fetches: list[Fetching], middle: int | None) -> None:
    assert board((), *fetches).best_split(100, now_s=0.0, min_segment_bytes=20) == middle


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
    fetches: list[Fetching],
    start: int,
    total: int | None,
    stop: int | None,
) -> None:
    assert board(kept, *fetches).stop_for(start, total) == stop


@pytest.mark.parametrize(
    ("offset", "is_near"), [(19, False), (20, True), (29, True), (30, False), (99, False)]
)
def test_what_soon_arrives(offset: int, is_near: bool) -> None:
    fetch = fetching(1, 0, position=20, stop=100)
    assert board((), fetch).is_near(fetch, offset, read_ahead_bytes=10) is is_near


def test_what_another_one_brings_is_not_near() -> None:
    fetch = fetching(1, 0, position=20, stop=100)
    game = board((), fetch, fetching(2, 25))
    assert game.is_near(fetch, 24, 10)
    assert not game.is_near(fetch, 25, 10)


def test_who_can_be_spared_is_the_one_with_the_longest_way_to_go() -> None:
    one, two, three = fetching(1, 0), fetching(2, 30), fetching(3, 90, stop=100)
    game = board((), one, two, three)
    assert game.helper_to_spare([], 10) is two
    assert game.helper_to_spare([35], 10) is one
    assert game.helper_to_spare([35, 5], 10) is three
    assert game.helper_to_spare([35, 5, 95], 10) is None
