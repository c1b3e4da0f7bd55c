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
        pytest.param(101, 100, 1.0, id="more-than-announced"),
        pytest.param(0, 0, 1.0, id="an-empty-file-is-complete"),
    ],
)
def test_the_fraction_done(
    done_bytes: int, total_bytes: int | None, fraction: float | None
) -> None:
    assert Progress(done_bytes, total_bytes, 0.0, None).fraction == fraction


def test_progress_is_frozen_and_slotted() -> None:
    progress: Any = Progress(1, 2, 3.0, 4.0)
    with pytest.raises(FrozenInstanceError):
        progress.done_bytes = 2
    assert not hasattr(progress, "__dict__")


def test_a_constant_rate() -> None:
    meter = ProgressMeter(100.0, total_bytes=10_000)
    for second in range(1, 8):
        progress = meter.update(100.0 + second, 1000 * second)
    assert progress == Progress(7000, 10_000, 1000.0, 3.0)


def test_the_first_update_has_no_rate() -> None:
    assert ProgressMeter(5.0).update(5.0, 0, 100) == Progress(0, 100, 0.0, None)


def test_bytes_at_the_start_time_give_a_finite_rate() -> None:
    assert ProgressMeter(5.0).update(5.0, 10, 100) == Progress(10, 100, 10_000.0, 0.009)


def test_resumed_bytes_do_not_count_for_the_rate() -> None:
    meter = ProgressMeter(0.0, 9_000_000)
    assert meter.update(1.0, 9_000_500, 9_002_000) == Progress(9_000_500, 9_002_000, 500.0, 3.0)


def test_only_the_last_seconds_count_for_the_rate() -> None:
    meter = ProgressMeter(0.0)
    for quarter in range(1, 41):
        meter.update(quarter / 4, quarter * 250_000)  # 1 MB/s for 10 s
    assert len(meter._samples) == 21  # of 5 s, and the one before
    rates = [meter.update(10.0 + second, 10_000_000).rate_bytes_per_s for second in range(7)]
    assert rates == [1_000_000, 800_000, 600_000, 400_000, 200_000, 0, 0]


def test_the_rate_includes_a_pause() -> None:
    meter = ProgressMeter(0.0)
    meter.update(1.0, 1000)
    assert meter.update(61.0, 7000).rate_bytes_per_s == 100.0


def test_a_restart_resets_rate_and_total() -> None:
    meter = ProgressMeter(0.0, total_bytes=10_000)
    meter.update(1.0, 4000)
    assert meter.update(2.0, 500) == Progress(500, None, 0.0, None)
    assert meter.update(3.0, 1500, 3500) == Progress(1500, 3500, 1000.0, 2.0)


def test_a_restart_can_set_a_new_total() -> None:
    meter = ProgressMeter(0.0, 5000, 10_000)
    assert meter.update(1.0, 0, 800) == Progress(0, 800, 0.0, None)


def test_a_known_total_is_kept() -> None:
    meter = ProgressMeter(0.0)
    assert meter.update(1.0, 10).total_bytes is None
    assert meter.update(2.0, 20, 100).total_bytes == 100
    assert meter.update(3.0, 30).total_bytes == 100


def test_a_clock_that_steps_back_counts_as_stopped() -> None:
    meter = ProgressMeter(10.0)
    meter.update(12.0, 2000)
    assert meter.update(3.0, 3000).rate_bytes_per_s == 1500.0
    assert meter.update(13.0, 3000).rate_bytes_per_s == 1000.0


def test_a_complete_transfer_has_an_eta_of_zero() -> None:
    assert ProgressMeter(0.0).update(1.0, 100, 100).eta_s == 0.0
    assert ProgressMeter(0.0).update(1.0, 101, 100).eta_s == 0.0
    assert ProgressMeter(0.0).update(1.0, 100, 101).eta_s == 0.01
    assert ProgressMeter(0.0).update(1.0, 0, 0).eta_s == 0.0


def test_a_stalled_transfer_has_no_eta() -> None:
    assert ProgressMeter(0.0).update(1.0, 1, 360_001).eta_s == 360_000.0
    assert ProgressMeter(0.0).update(1.0, 1, 360_002).eta_s is None


def test_memory_does_not_grow_with_updates() -> None:
    meter = ProgressMeter(0.0)
    for tick in range(20_000):
        meter.update(tick / 1000, tick)
    assert len(meter._samples) <= 22


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(0, 10**18), st.none() | st.integers(0, 10**18)),
        max_size=40,
    )
)
def test_progress_is_valid_for_any_history(updates: list[tuple[float, int, int | None]]) -> None:
    meter = ProgressMeter(0.0)
    for now_s, done_bytes, total_bytes in updates:
        progress = meter.update(now_s, done_bytes, total_bytes)
        assert 0 <= progress.rate_bytes_per_s < float("inf")
        assert progress.done_bytes == done_bytes
        assert progress.eta_s is None or 0 <= progress.eta_s <= 360_000
        assert progress.fraction is None or 0 <= progress.fraction <= 1


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
def test_format_bytes(n: int, text: str) -> None:
    assert format_bytes(n) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0 B/s"), (0.6, "1 B/s"), (3_249_999.0, "3.2 MB/s")]
)
def test_format_rate(rate: float, text: str) -> None:
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
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration_s(seconds) == text


@given(st.integers(0, 10**18))
def test_formatted_bytes_are_short(n: int) -> None:
    assert len(format_bytes(n)) <= 8
