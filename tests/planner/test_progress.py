from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.download.planner.progress import (
    Progress,
    ProgressMeter,
    format_bytes,
    format_duration_s,
    format_rate,
)


@pytest.mark.parametrize(
    ("done_bytes", "total_bytes", "fraction"),
    [
        pytest.param(0, None, None, id="unknown"),
        pytest.param(0, 100, 0.0, id="nothing"),
        pytest.param(25, 100, 0.25, id="a-quarter"),
        pytest.param(100, 100, 1.0, id="all"),
        pytest.param(101, 100, 1.0, id="more-than-promised"),
        pytest.param(0, 0, 1.0, id="an-empty-file-is-whole"),
    ],
)
def test_the_fraction(done_bytes: int, total_bytes: int | None, fraction: float | None) -> None:
    assert Progress(done_bytes, total_bytes, 0.0, None).fraction == fraction


def test_a_reading_is_frozen_and_slotted() -> None:
    reading: Any = Progress(1, 2, 3.0, 4.0)
    with pytest.raises(FrozenInstanceError):
        reading.done_bytes = 2
    assert not hasattr(reading, "__dict__")


def test_a_steady_transfer() -> None:
    meter = ProgressMeter(100.0, total_bytes=10_000)
    for second in range(1, 8):
        reading = meter.at(100.0 + second, 1000 * second)
    assert reading == Progress(7000, 10_000, 1000.0, 3.0)


def test_the_first_reading_has_no_speed() -> None:
    assert ProgressMeter(5.0).at(5.0, 0, 100) == Progress(0, 100, 0.0, None)


def test_bytes_in_the_tick_of_the_start_give_a_finite_speed() -> None:
    assert ProgressMeter(5.0).at(5.0, 10, 100) == Progress(10, 100, 10_000.0, 0.009)


def test_resumed_bytes_are_no_speed() -> None:
    meter = ProgressMeter(0.0, 9_000_000)
    assert meter.at(1.0, 9_000_500, 9_002_000) == Progress(9_000_500, 9_002_000, 500.0, 3.0)


def test_only_the_last_seconds_count() -> None:
    meter = ProgressMeter(0.0)
    for quarter in range(1, 41):
        meter.at(quarter / 4, quarter * 250_000)  # 1 MB/s for 10 s
    assert len(meter._samples) == 21  # 5 s of them, and the one before
    rates = [meter.at(10.0 + second, 10_000_000).rate_bytes_per_s for second in range(7)]
    assert rates == [1_000_000, 800_000, 600_000, 400_000, 200_000, 0, 0]


def test_after_a_silence_the_speed_spans_it() -> None:
    meter = ProgressMeter(0.0)
    meter.at(1.0, 1000)
    assert meter.at(61.0, 7000).rate_bytes_per_s == 100.0


def test_a_restart_forgets_speed_and_total() -> None:
    meter = ProgressMeter(0.0, total_bytes=10_000)
    meter.at(1.0, 4000)
    assert meter.at(2.0, 500) == Progress(500, None, 0.0, None)
    assert meter.at(3.0, 1500, 3500) == Progress(1500, 3500, 1000.0, 2.0)


def test_a_restart_can_name_its_new_total() -> None:
    meter = ProgressMeter(0.0, 5000, 10_000)
    assert meter.at(1.0, 0, 800) == Progress(0, 800, 0.0, None)


def test_a_total_once_known_stays() -> None:
    meter = ProgressMeter(0.0)
    assert meter.at(1.0, 10).total_bytes is None
    assert meter.at(2.0, 20, 100).total_bytes == 100
    assert meter.at(3.0, 30).total_bytes == 100


def test_a_clock_that_steps_back_stands_still() -> None:
    meter = ProgressMeter(10.0)
    meter.at(12.0, 2000)
    assert meter.at(3.0, 3000).rate_bytes_per_s == 1500.0
    assert meter.at(13.0, 3000).rate_bytes_per_s == 1000.0


def test_the_end_takes_no_more_time() -> None:
    assert ProgressMeter(0.0).at(1.0, 100, 100).eta_s == 0.0
    assert ProgressMeter(0.0).at(1.0, 101, 100).eta_s == 0.0
    assert ProgressMeter(0.0).at(1.0, 100, 101).eta_s == 0.01
    assert ProgressMeter(0.0).at(1.0, 0, 0).eta_s == 0.0


def test_a_stalled_transfer_has_no_forecast() -> None:
    assert ProgressMeter(0.0).at(1.0, 1, 360_001).eta_s == 360_000.0
    assert ProgressMeter(0.0).at(1.0, 1, 360_002).eta_s is None


def test_memory_does_not_grow_with_readings() -> None:
    meter = ProgressMeter(0.0)
    for tick in range(20_000):
        meter.at(tick / 1000, tick)
    assert len(meter._samples) <= 22


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(0, 10**18), st.none() | st.integers(0, 10**18)),
        max_size=40,
    )
)
def test_no_history_gives_a_senseless_reading(
    readings: list[tuple[float, int, int | None]],
) -> None:
    meter = ProgressMeter(0.0)
    for now_s, done_bytes, total_bytes in readings:
        reading = meter.at(now_s, done_bytes, total_bytes)
        assert 0 <= reading.rate_bytes_per_s < float("inf")
        assert reading.done_bytes == done_bytes
        assert reading.eta_s is None or 0 <= reading.eta_s <= 360_000
        assert reading.fraction is None or 0 <= reading.fraction <= 1


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (255_849, "255.8 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (3_200_000, "3.2 MB"),
        (10**9, "1.0 GB"),
        (5 * 10**12, "5.0 TB"),
        (10**15, "1.0 PB"),
        (10**18, "1.0 EB"),
        (10**22, "10000.0 EB"),
    ],
)
def test_bytes_in_words(n: int, text: str) -> None:
    assert format_bytes(n) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0 B/s"), (0.6, "1 B/s"), (3_249_999.0, "3.2 MB/s")]
)
def test_a_rate_in_words(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0:00"),
        (0.4, "0:00"),
        (42, "0:42"),
        (59.6, "1:00"),
        (725, "12:05"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (360_000, "100:00:00"),
    ],
)
def test_a_duration_as_a_clock_reads(seconds: float, text: str) -> None:
    assert format_duration_s(seconds) == text


@given(st.integers(0, 10**18))
def test_bytes_in_words_stay_short(n: int) -> None:
    assert len(format_bytes(n)) <= 8
