"""Where a clip is copied and where it is encoded, as a pure decision."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.media.cut_plan import Section, decode_timestamps, parse_time, plan_copy, plan_exact
from vidnb.media.frame_table import FrameTable, PacketEntry

# In decoding order: a key, two groups of reordered frames, a second key with its group.
CLOSED = [0, 3, 1, 2, 6, 4, 5, 7, 10, 8, 9, 11]
CLOSED_KEYS = {0, 7}
# The key of frame 5 is decoded before its leading frames 3 and 4.
OPEN = [0, 2, 1, 5, 3, 4, 8, 6, 7]
OPEN_KEYS = {0, 5}


def table(frames: list[int | None], keys: set[int]) -> FrameTable:
    """Return a table whose packets have these frames, in decoding order; None is a second field."""
    entries = [
        PacketEntry(None if frame is None else frame * 40, number, number, frame in keys)
        for number, frame in enumerate(frames)
    ]
    shown_at = {frame: number for number, frame in enumerate(frames) if frame is not None}
    order = [shown_at[frame] for frame in sorted(shown_at)]
    return FrameTable.of_packets(entries, Fraction(1, 1000), decoded=order)


@pytest.mark.parametrize(
    ("wanted", "frames", "packets"),
    [
        ((0, 4), (0, 4), (0, 4)),
        ((0, 2), (0, 4), (0, 4)),  # frame 1 is decoded after frame 3
        ((2, 5), (0, 7), (0, 7)),
        ((7, 8), (7, 8), (7, 8)),
        ((9, 12), (7, 12), (7, 12)),
        ((3, 8), (0, 8), (0, 8)),
    ],
)
def test_copying_begins_at_a_key_and_ends_where_no_frame_is_missing(
    wanted: tuple[int, int], frames: tuple[int, int], packets: tuple[int, int]
) -> None:
    plan = plan_copy(table([*CLOSED], CLOSED_KEYS), range(*wanted))
    assert plan == Section(range(*frames), range(*packets))


def test_leading_frames_of_an_open_group_are_not_counted() -> None:
    plan = plan_copy(table([*OPEN], OPEN_KEYS), range(5, 7))
    assert plan == Section(range(5, 9), range(3, 9))
    assert plan_copy(table([*OPEN], OPEN_KEYS), range(5, 6)) == Section(range(5, 6), range(3, 4))


def test_a_second_field_stays_with_its_frame() -> None:
    plan = plan_copy(table([0, None, 1, None, 2, None], {0, 2}), range(1))
    assert plan == Section(range(1), range(2))


def test_timestamps_that_contradict_the_packets_cannot_be_copied() -> None:
    one = table([0, 4, 2, 1, 3], {0, 2})  # frame 4 is decoded before the key that it is shown after
    with pytest.raises(ValueError, match="contradict"):
        plan_copy(one, range(3, 5))
    assert plan_exact(one, range(3, 5), [2]) == (Section(range(3, 5)),)


@pytest.mark.parametrize(
    ("wanted", "joins", "sections"),
    [
        ((0, 4), None, [(0, 4, 0, 4)]),
        ((7, 8), [], [(7, 8, 7, 8)]),
        ((2, 12), [7], [(2, 7), (7, 12, 7, 12)]),
        ((2, 10), [7], [(2, 7), (7, 8, 7, 8), (8, 10)]),
        ((7, 10), [], [(7, 8, 7, 8), (8, 10)]),
        ((7, 10), None, [(7, 10)]),  # the end cannot be joined
        ((2, 12), None, [(2, 12)]),
        ((2, 12), [], [(2, 12)]),
        ((2, 6), [7], [(2, 6)]),  # the key lies behind the clip
        ((2, 7), [7], [(2, 7)]),
    ],
)
def test_exact_sections(
    wanted: tuple[int, int], joins: list[int] | None, sections: list[tuple[int, ...]]
) -> None:
    plan = plan_exact(table([*CLOSED], CLOSED_KEYS), range(*wanted), joins)
    expected = [Section(range(*one[:2]), range(*one[2:]) if one[2:] else None) for one in sections]
    assert list(plan) == expected


def test_packets_without_a_frame_are_not_joined() -> None:
    one = table([0, 1, 2, None, 3], {0, 2})
    assert plan_exact(one, range(1, 4), [2]) == (Section(range(1, 4)),)


@st.composite
def coded(draw: st.DrawFn) -> tuple[list[int | None], set[int]]:
    """Return frames in decoding order, and the frames that are keys: groups of reordered frames."""
    frames: list[int | None] = []
    keys = set()
    start = 0
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 5))
        last = start + size - 1
        if not start or draw(st.booleans()):
            keys.add(last if start and draw(st.booleans()) else start)
        reference = last if last in keys or start not in keys else start
        rest = draw(st.permutations([n for n in range(start, start + size) if n != reference]))
        frames += [reference, *rest]
        start += size
    return frames, keys


@given(coded(), st.data())
def test_every_plan_has_the_wanted_frames_once_and_in_order(
    case: tuple[list[int | None], set[int]], data: st.DataObject
) -> None:
    frames, keys = case
    one = table(frames, keys)
    first = data.draw(st.integers(0, len(one) - 1))
    wanted = range(first, data.draw(st.integers(first + 1, len(one))))
    copied = plan_copy(one, wanted)
    assert copied.frames.start <= wanted.start
    assert copied.frames.stop >= wanted.stop
    assert shown(one, copied) == list(copied.frames)
    joins = data.draw(st.sampled_from([None, list(one.keys)]))
    plan = plan_exact(one, wanted, joins)
    assert [n for section in plan for n in section.frames] == list(wanted)
    for section in plan:
        if section.packets is not None:
            assert section.packets.start in one.keys
            assert shown(one, section) == list(section.frames)


def shown(one: FrameTable, section: Section) -> list[int]:
    """Return the frames of copied packets in the order in which they are shown."""
    numbers = [one.frame_of(packet) for packet in section.packets or ()]
    return sorted(n for n in numbers if n is not None and n >= section.frames.start)


@given(st.lists(st.integers(-(10**6), 10**6), unique=True))
def test_decoding_timestamps_increase_and_are_never_late(pts: list[int]) -> None:
    dts = decode_timestamps(pts)
    assert all(after > before for before, after in pairwise(dts))
    assert all(due <= shown_at for due, shown_at in zip(dts, pts, strict=True))
    if pts:
        assert min(s - d for d, s in zip(dts, pts, strict=True)) == 0  # no later than needed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("62.5", 62.5),
        ("0", 0),
        (".5", 0.5),
        ("7.", 7),
        ("1:02.5", 62.5),
        ("0:01:02.5", 62.5),
        ("100:00:00", 360000),
        (" 3 ", 3),
    ],
)
def test_times_in_words(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1:2:3:4", "-1", "1e3", "nan", "inf", "1:", ":5", "a", "1.5:2", "9" * 400]
)
def test_other_words_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)
