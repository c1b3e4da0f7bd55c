"""The frame table as a pure data structure."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.media.frame_table import FrameTable, PacketEntry

BASE = Fraction(1, 1000)


def entry(
    pts: int | None,
    *,
    dts: int | None = None,
    key: bool = False,
    discarded: bool = False,
    position: int = -1,
    duration: int = 0,
) -> PacketEntry:
    return PacketEntry(pts, dts, position, key, discarded, duration)


def table(*entries: PacketEntry, decoded: list[int] | None = None) -> FrameTable:
    return FrameTable.of_packets(entries, BASE, decoded=decoded)


def test_frames_are_numbered_in_presentation_order() -> None:
    one = table(entry(0, key=True), entry(120), entry(40), entry(80))
    assert list(one.pts) == [0, 40, 80, 120]
    assert list(one.packets) == [0, 2, 3, 1]
    assert [one.frame_of(packet) for packet in range(4)] == [0, 3, 1, 2]
    assert (len(one), one.packet_count) == (4, 4)


def test_discarded_packets_are_decoded_but_have_no_number() -> None:
    one = table(entry(-40, key=True, discarded=True), entry(0), entry(40))
    assert list(one.pts) == [0, 40]
    assert one.frame_of(0) is None
    assert one.key_packet(0) == 0
    assert one.keyframes() == ()


def test_a_frame_before_an_open_group_needs_the_group_before() -> None:
    # In decoding order: 0, 80, then the key of 200 with its leading frames 120 and 160.
    one = table(
        entry(0, key=True), entry(80), entry(200, key=True), entry(120), entry(160), entry(240)
    )
    assert list(one.pts) == [0, 80, 120, 160, 200, 240]
    assert [one.key_packet(index) for index in range(6)] == [0, 0, 0, 0, 2, 2]
    assert one.first_index(2) == 4
    assert one.first_index(0) == 0
    assert one.keyframes() == (0, 4)
    assert (one.previous_key(2), one.previous_key(0)) == (0, 0)


def test_the_first_packet_is_a_key_whatever_its_flag() -> None:
    assert list(table(entry(0), entry(40)).keys) == [0]


def test_equal_timestamps_keep_the_decoding_order() -> None:
    one = table(entry(0, key=True), entry(40), entry(40), entry(80))
    assert list(one.packets) == [0, 1, 2, 3]
    assert one.index_at(Fraction(40, 1000)) == 2


def test_missing_timestamps_need_the_order_of_the_decoder() -> None:
    entries = [entry(None, dts=0, key=True), entry(None, dts=40), entry(None, dts=80)]
    with pytest.raises(ValueError, match="no presentation timestamp"):
        table(*entries)
    one = table(*entries, decoded=[0, 2, 1])
    assert list(one.pts) == [0, 40, 80]
    assert list(one.packets) == [0, 2, 1]


def test_timestamps_that_contradict_the_decoder_are_replaced_by_decoding_times() -> None:
    one = table(entry(10, dts=0, key=True), entry(20, dts=10), entry(30, dts=20), decoded=[0, 2, 1])
    assert list(one.pts) == [0, 10, 20]


def test_timestamps_that_agree_with_the_decoder_are_kept() -> None:
    one = table(entry(0, dts=-9, key=True), entry(80, dts=0), entry(7, dts=1), decoded=[0, 2, 1])
    assert list(one.pts) == [0, 7, 80]


def test_an_elementary_stream_is_timed_by_its_durations() -> None:
    entries = [
        entry(None, duration=40, key=True),
        entry(None, duration=80),
        entry(None, duration=1),
    ]
    assert list(table(*entries, decoded=[0, 1, 2]).pts) == [0, 40, 120]
    with pytest.raises(ValueError, match="neither presentation nor decoding"):
        table(*entries, entry(None), decoded=[0, 1, 2, 3])


def test_a_packet_without_a_frame_of_its_own_has_no_number() -> None:
    one = table(entry(0, key=True), entry(20), entry(40), entry(60), decoded=[0, 2])
    assert [one.frame_of(packet) for packet in range(4)] == [0, None, 1, None]


@pytest.mark.parametrize(
    ("time_s", "index"),
    [
        (-5, 0),
        (0.0, 0),
        (0.0399, 0),
        (0.04, 1),
        (0.0400001, 1),
        (0.119999, 1),
        (Fraction(119999999, 10**9), 2),
        (0.12, 2),
        (1e9, 2),
    ],
)
def test_the_frame_at_a_time_is_the_last_one_shown(time_s: float | Fraction, index: int) -> None:
    assert table(entry(0, key=True), entry(40), entry(120)).index_at(time_s) == index


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, unique=True), st.integers(1, 10**6))
def test_a_float_of_a_timestamp_finds_its_frame(pts: list[int], rate: int) -> None:
    base = Fraction(1, rate)
    one = FrameTable.of_packets([entry(ticks) for ticks in pts], base)
    for index, ticks in enumerate(sorted(pts)):
        if abs(ticks) < 2**33:  # a float has 53 bits: a thousandth of a tick of 2**43 is lost
            assert one.index_at(float(ticks * base)) == index
        assert one.index_at(ticks * base) == index


def test_packets_are_found_by_position_where_that_is_unique() -> None:
    one = table(entry(0, key=True, position=100), entry(80, position=300), entry(40, position=200))
    assert [one.packet_at(position, None) for position in (100, 300, 200, 7, None)] == [
        0,
        1,
        2,
        None,
        None,
    ]
    assert one.position(2) == 200


@pytest.mark.parametrize("positions", [(-1, -1, -1), (5, 5, 9)])
def test_packets_are_found_by_timestamp_where_positions_are_not_unique(
    positions: tuple[int, int, int],
) -> None:
    one = table(
        *(
            entry(pts, key=not pts, position=position)
            for pts, position in zip((0, 80, 40), positions, strict=True)
        )
    )
    found = [one.packet_at(5, pts) for pts in (0, 40, 80, 60, 99, None)]
    assert found == [0, 2, 1, None, None, None]


def test_a_seek_tries_the_key_and_then_earlier_ones() -> None:
    one = table(
        entry(0, key=True),
        entry(40, key=True, dts=9),
        entry(80, key=True),
        entry(120, key=True),
    )
    assert one.seek_ticks(3) == (120, 80, 40)
    assert one.seek_ticks(0) == (0,)
    without = table(entry(None, dts=7, key=True), entry(None, dts=9), decoded=[0, 1])
    assert without.seek_ticks(0) == (7,)


@pytest.mark.parametrize(
    ("pts", "is_constant"), [([0], True), ([0, 33, 67, 100], True), ([0, 33, 68], False)]
)
def test_a_constant_rate_allows_one_tick_of_rounding(pts: list[int], is_constant: bool) -> None:
    assert table(*(entry(ticks) for ticks in pts)).is_constant_rate is is_constant


def test_the_longest_key_interval_includes_the_end() -> None:
    one = table(entry(0, key=True), entry(400, key=True), entry(1900))
    assert one.longest_key_interval_s() == 1.5
    assert table(entry(5, discarded=True), entry(9)).longest_key_interval_s() == 0.0


@given(
    st.lists(
        st.tuples(st.integers(-1000, 10**12), st.booleans(), st.integers(-1, 10**12)), min_size=1
    )
)
def test_a_table_survives_its_encoding(packets: list[tuple[int, bool, int]]) -> None:
    one = table(*(entry(pts, key=key, position=position) for pts, key, position in packets))
    again = FrameTable.load(one.dump())
    assert again is not None
    for name in ("pts", "packets", "keys", "time_base"):
        assert getattr(again, name) == getattr(one, name)
    assert again.dump() == one.dump()


def test_a_torn_table_and_one_of_another_version_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = table(entry(0), entry(40)).dump()
    for damaged in (b"", data[:20], data[:-1], data + b"\0", bytes([data[0] ^ 1]) + data[1:]):
        assert FrameTable.load(damaged) is None
    monkeypatch.setattr("vidnb.media.frame_table.FORMAT", 2)
    assert FrameTable.load(data) is None


def test_a_stream_of_discarded_packets_has_no_frames() -> None:
    one = table(entry(0, discarded=True))
    assert len(one) == 0
    assert one.is_constant_rate


@pytest.mark.parametrize(
    ("start_s", "end_s", "frames"),
    [
        (0.04, 0.12, (1, 3)),  # the frame at the end is left out
        (0.05, 0.121, (1, 4)),  # the first one began before
        (0.0, 0.0401, (0, 2)),
        (0.12, 1e10, (3, 4)),
        (5, 6, (3, 4)),  # the last frame has no end here
        (0.1 + 0.02, 0.2, (3, 4)),  # a float beside its timestamp
        (0.01, 0.03, (0, 1)),
    ],
)
def test_frames_between_two_times(start_s: float, end_s: float, frames: tuple[int, int]) -> None:
    one = table(entry(0, key=True), entry(40), entry(80), entry(120))
    assert one.frames_between(start_s, end_s) == range(*frames)


def test_no_frame_is_shown_before_the_first_one() -> None:
    assert not table(entry(1000, key=True), entry(1040)).frames_between(0, 1)


def test_a_stream_of_key_frames_takes_time_in_proportion_to_its_length() -> None:
    def cpu_s(count: int) -> float:
        entries = [entry(40 * number, key=True, position=number) for number in range(count)]
        started_s = time.process_time()
        assert len(table(*entries)) == count
        return time.process_time() - started_s

    cpu_s(1000)
    # Eight times as many take about eight times as long; 64 times if each looks at all.
    assert cpu_s(16_000) < 30 * max(cpu_s(2000), 0.002)
