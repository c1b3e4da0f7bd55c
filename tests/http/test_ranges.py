"""Tests of byte ranges against a model: a set of integers."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.http.ranges import ByteRange, ByteRangeSet

no_deadline = settings(deadline=None)  # a slow machine is not a failure

END = 24
offsets = st.integers(0, END)
byte_ranges = st.tuples(offsets, offsets).map(lambda ends: ByteRange(min(ends), max(ends)))
edits = st.lists(st.tuples(st.sampled_from(["add", "remove"]), byte_ranges), max_size=12)


def bytes_of(byte_range: ByteRange) -> set[int]:
    return set(range(byte_range.start, byte_range.stop))


def runs_of(numbers: set[int]) -> list[ByteRange]:
    """Return the contiguous runs of a set of offsets."""
    runs: list[ByteRange] = []
    for number in sorted(numbers):
        if runs and runs[-1].stop == number:
            runs[-1] = ByteRange(runs[-1].start, number + 1)
        else:
            runs.append(ByteRange(number, number + 1))
    return runs


def build(edited: list[tuple[str, ByteRange]]) -> tuple[ByteRangeSet, set[int]]:
    actual, model = ByteRangeSet(), set[int]()
    for operation, byte_range in edited:
        if operation == "add":
            actual, model = actual.add(byte_range), model | bytes_of(byte_range)
        else:
            actual, model = actual.remove(byte_range), model - bytes_of(byte_range)
        assert list(actual) == runs_of(model)  # sorted, not adjacent, not empty
    return actual, model


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (5, 4), (-2, -1)])
def test_a_range_has_0_le_start_le_stop(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=rf"no byte range goes from {start} to {stop}"):
        ByteRange(start, stop)


def test_a_range_is_half_open_frozen_and_ordered() -> None:
    byte_range = ByteRange(2, 5)
    assert byte_range.size_bytes == 3
    assert [offset in byte_range for offset in (1, 2, 4, 5)] == [False, True, True, False]
    assert byte_range
    assert not ByteRange(5, 5)
    assert str(byte_range) == "[2, 5)"
    assert sorted([ByteRange(2, 6), ByteRange(1, 9), byte_range]) == [
        ByteRange(1, 9),
        byte_range,
        ByteRange(2, 6),
    ]
    assert {byte_range, ByteRange(2, 5)} == {byte_range}
    with pytest.raises(FrozenInstanceError):
        byte_range.start = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("before", "byte_range", "after"),
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
def test_add(before: list[tuple[int, int]], byte_range: tuple[int, int], after: str) -> None:
    actual = ByteRangeSet(ByteRange(*ends) for ends in before)
    assert repr(actual.add(ByteRange(*byte_range))) == f"ByteRangeSet({after})"


@pytest.mark.parametrize(
    ("before", "byte_range", "after"),
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
def test_remove(before: list[tuple[int, int]], byte_range: tuple[int, int], after: str) -> None:
    actual = ByteRangeSet(ByteRange(*ends) for ends in before)
    assert repr(actual.remove(ByteRange(*byte_range))) == f"ByteRangeSet({after})"


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
    actual = ByteRangeSet([ByteRange(2, 4), ByteRange(6, 8)])
    assert actual.gaps(ByteRange(*within)) == tuple(ByteRange(*ends) for ends in missing)


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
    actual = ByteRangeSet([ByteRange(2, 4), ByteRange(6, 8)])
    assert actual.first_gap_from(offset, stop) == (gap and ByteRange(*gap))


@no_deadline
@given(edits)
def test_edits_match_the_model(edited: list[tuple[str, ByteRange]]) -> None:
    actual, model = build(edited)
    assert actual.byte_ranges == tuple(runs_of(model))
    assert actual.size_bytes == len(model)
    assert len(actual) == len(runs_of(model))
    assert bool(actual) == bool(model)
    assert [offset in actual for offset in range(END + 1)] == [n in model for n in range(END + 1)]


@no_deadline
@given(st.lists(byte_ranges, max_size=12))
def test_the_order_of_adding_ranges_does_not_matter(listed: list[ByteRange]) -> None:
    model = set().union(*map(bytes_of, listed))
    incremental = ByteRangeSet()
    for byte_range in reversed(listed):
        incremental = incremental.add(byte_range)
    at_once = ByteRangeSet(listed)
    assert list(at_once) == runs_of(model)
    assert at_once == incremental
    assert hash(at_once) == hash(incremental)


@no_deadline
@given(edits, byte_ranges)
def test_queries_match_the_model(
    edited: list[tuple[str, ByteRange]], byte_range: ByteRange
) -> None:
    actual, model = build(edited)
    wanted = bytes_of(byte_range)
    missing = runs_of(wanted - model)
    assert list(actual.gaps(byte_range)) == missing
    assert actual.covers(byte_range) == (wanted <= model)
    assert actual.first_gap_from(byte_range.start, byte_range.stop) == (
        missing[0] if missing else None
    )
    run = actual.run_from(byte_range.start)
    assert run.start == byte_range.start
    assert bytes_of(run) <= model
    assert run.stop not in model


@no_deadline
@given(edits, byte_ranges)
def test_an_edit_does_not_change_the_original(
    edited: list[tuple[str, ByteRange]], byte_range: ByteRange
) -> None:
    actual, model = build(edited)
    actual.add(byte_range)
    actual.remove(byte_range)
    assert list(actual) == runs_of(model)


def test_a_range_set_equals_range_sets_only() -> None:
    assert ByteRangeSet() == ByteRangeSet([ByteRange(3, 3)])
    assert ByteRangeSet([ByteRange(0, 1)]) != ByteRangeSet([ByteRange(0, 2)])
    assert ByteRangeSet() != ()
    assert repr(ByteRangeSet()) == "ByteRangeSet()"


def test_the_end_of_a_range_set() -> None:
    assert ByteRangeSet().stop == 0
    assert ByteRangeSet([ByteRange(3, 5), ByteRange(9, 12)]).stop == 12
