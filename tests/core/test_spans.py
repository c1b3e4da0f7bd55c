"""Spans against the plainest model there is: a set of integers."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.core.spans import Span, SpanSet

unhurried = settings(deadline=None)  # a busy machine is no failure

END = 24
offsets = st.integers(0, END)
spans = st.tuples(offsets, offsets).map(lambda ends: Span(min(ends), max(ends)))
edits = st.lists(st.tuples(st.sampled_from(["add", "remove"]), spans), max_size=12)


def bytes_of(span: Span) -> set[int]:
    return set(range(span.start, span.stop))


def runs_of(numbers: set[int]) -> list[Span]:
    """Walk every byte there is and note where runs begin and end."""
    runs: list[Span] = []
    for number in sorted(numbers):
        if runs and runs[-1].stop == number:
            runs[-1] = Span(runs[-1].start, number + 1)
        else:
            runs.append(Span(number, number + 1))
    return runs


def made(edited: list[tuple[str, Span]]) -> tuple[SpanSet, set[int]]:
    held, model = SpanSet(), set[int]()
    for verb, span in edited:
        if verb == "add":
            held, model = held.add(span), model | bytes_of(span)
        else:
            held, model = held.remove(span), model - bytes_of(span)
        assert list(held) == runs_of(model)  # sorted, never touching, never empty
    return held, model


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (5, 4), (-2, -1)])
def test_no_span_runs_backwards_or_below_zero(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=rf"no span of bytes runs from {start} to {stop}"):
        Span(start, stop)


def test_a_span_is_half_open_frozen_ordered_and_readable() -> None:
    span = Span(2, 5)
    assert span.size_bytes == 3
    assert [offset in span for offset in (1, 2, 4, 5)] == [False, True, True, False]
    assert span
    assert not Span(5, 5)
    assert str(span) == "[2, 5)"
    assert sorted([Span(2, 6), Span(1, 9), span]) == [Span(1, 9), span, Span(2, 6)]
    assert {span, Span(2, 5)} == {span}
    with pytest.raises(FrozenInstanceError):
        span.start = 0  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (Span(0, 9), Span(3, 5), Span(3, 5)),
        (Span(0, 5), Span(3, 9), Span(3, 5)),
        (Span(0, 3), Span(3, 9), Span(3, 3)),
        (Span(0, 2), Span(5, 9), Span(5, 5)),
        (Span(4, 4), Span(0, 9), Span(4, 4)),
    ],
)
def test_intersection(a: Span, b: Span, both: Span) -> None:
    assert a.intersection(b) == b.intersection(a) == both


@unhurried
@given(spans, spans)
def test_intersection_holds_the_bytes_of_both(a: Span, b: Span) -> None:
    assert bytes_of(a.intersection(b)) == bytes_of(a) & bytes_of(b)


@pytest.mark.parametrize(
    ("before", "span", "after"),
    [
        ([], (2, 4), "[2, 4)"),
        ([(2, 4)], (6, 8), "[2, 4), [6, 8)"),
        ([(6, 8)], (2, 4), "[2, 4), [6, 8)"),
        ([(2, 4)], (4, 6), "[2, 6)"),
        ([(4, 6)], (2, 4), "[2, 6)"),
        ([(2, 4), (6, 8)], (4, 6), "[2, 8)"),
        ([(2, 4), (6, 8), (10, 12)], (3, 11), "[2, 12)"),
        ([(2, 9)], (3, 5), "[2, 9)"),
        ([(3, 5)], (2, 9), "[2, 9)"),
        ([(2, 4)], (9, 9), "[2, 4)"),
        ([(2, 4)], (0, 0), "[2, 4)"),
    ],
)
def test_add(before: list[tuple[int, int]], span: tuple[int, int], after: str) -> None:
    held = SpanSet(Span(*ends) for ends in before)
    assert repr(held.add(Span(*span))) == f"SpanSet({after})"


@pytest.mark.parametrize(
    ("before", "span", "after"),
    [
        ([], (2, 4), ""),
        ([(2, 9)], (4, 6), "[2, 4), [6, 9)"),
        ([(2, 9)], (2, 6), "[6, 9)"),
        ([(2, 9)], (4, 9), "[2, 4)"),
        ([(2, 9)], (0, 12), ""),
        ([(2, 4), (6, 8), (10, 12)], (3, 11), "[2, 3), [11, 12)"),
        ([(2, 4), (6, 8)], (4, 6), "[2, 4), [6, 8)"),
        ([(2, 4)], (3, 3), "[2, 4)"),
    ],
)
def test_remove(before: list[tuple[int, int]], span: tuple[int, int], after: str) -> None:
    held = SpanSet(Span(*ends) for ends in before)
    assert repr(held.remove(Span(*span))) == f"SpanSet({after})"


@pytest.mark.parametrize(
    ("within", "missing"),
    [
        ((0, 14), [(0, 2), (4, 6), (8, 14)]),
        ((2, 4), []),
        ((3, 7), [(4, 6)]),
        ((4, 6), [(4, 6)]),
        ((5, 5), []),
        ((9, 11), [(9, 11)]),
        ((0, 1), [(0, 1)]),
        ((0, 2), [(0, 2)]),
    ],
)
def test_gaps(within: tuple[int, int], missing: list[tuple[int, int]]) -> None:
    held = SpanSet([Span(2, 4), Span(6, 8)])
    assert held.gaps(Span(*within)) == tuple(Span(*ends) for ends in missing)


@pytest.mark.parametrize(
    ("offset", "stop", "gap"),
    [
        (0, 12, (0, 2)),
        (2, 12, (4, 6)),
        (4, 12, (4, 6)),
        (5, 12, (5, 6)),
        (6, 12, (8, 12)),
        (9, 12, (9, 12)),
        (4, 5, (4, 5)),
        (2, 4, None),
        (2, 3, None),
        (9, 9, None),
    ],
)
def test_first_gap_from(offset: int, stop: int, gap: tuple[int, int] | None) -> None:
    held = SpanSet([Span(2, 4), Span(6, 8)])
    assert held.first_gap_from(offset, stop) == (gap and Span(*gap))


@unhurried
@given(edits)
def test_edits_match_the_model(edited: list[tuple[str, Span]]) -> None:
    held, model = made(edited)
    assert held.spans == tuple(runs_of(model))
    assert held.size_bytes == len(model)
    assert len(held) == len(runs_of(model))
    assert bool(held) == bool(model)
    assert [offset in held for offset in range(END + 1)] == [n in model for n in range(END + 1)]


@unhurried
@given(st.lists(spans, max_size=12))
def test_the_order_in_which_spans_come_does_not_matter(listed: list[Span]) -> None:
    model = set().union(*map(bytes_of, listed))
    one_by_one = SpanSet()
    for span in reversed(listed):
        one_by_one = one_by_one.add(span)
    at_once = SpanSet(listed)
    assert list(at_once) == runs_of(model)
    assert at_once == one_by_one
    assert hash(at_once) == hash(one_by_one)


@unhurried
@given(edits, spans)
def test_questions_match_the_model(edited: list[tuple[str, Span]], span: Span) -> None:
    held, model = made(edited)
    wanted = bytes_of(span)
    missing = runs_of(wanted - model)
    assert list(held.gaps(span)) == missing
    assert held.covers(span) == (wanted <= model)
    assert held.first_gap_from(span.start, span.stop) == (missing[0] if missing else None)
    run = held.run_from(span.start)
    assert run.start == span.start
    assert bytes_of(run) <= model
    assert run.stop not in model


@unhurried
@given(edits, spans)
def test_an_edit_leaves_the_original_alone(edited: list[tuple[str, Span]], span: Span) -> None:
    held, model = made(edited)
    held.add(span)
    held.remove(span)
    assert list(held) == runs_of(model)


def test_a_span_set_equals_span_sets_only() -> None:
    assert SpanSet() == SpanSet([Span(3, 3)])
    assert SpanSet([Span(0, 1)]) != SpanSet([Span(0, 2)])
    assert SpanSet() != ()
    assert repr(SpanSet()) == "SpanSet()"


def test_where_it_stops() -> None:
    assert SpanSet().stop == 0
    assert SpanSet([Span(3, 5), Span(9, 12)]).stop == 12
