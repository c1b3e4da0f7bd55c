"""How fast bytes arrive, by a clock that the test winds."""

import pytest

from vidnb.download.planner.throughput import ConnectionThroughput, ThroughputMeter


def test_a_pace_that_nothing_is_known_of() -> None:
    pace = ConnectionThroughput()
    assert (pace.has_begun, pace.age_s(5.0), pace.bytes_per_s(5.0)) == (False, 0.0, None)
    pace.begin(5.0)
    assert pace.bytes_per_s(9.0) is None
    pace.add(9.0, 100)
    assert pace.has_begun
    assert pace.age_s(10.0) == 1.0


def test_too_little_time_tells_nothing() -> None:
    pace = ConnectionThroughput()
    pace.add(5.0, 1000)
    assert pace.bytes_per_s(5.0) is None
    assert pace.bytes_per_s(5.019) is None
    assert pace.bytes_per_s(5.03) is not None


@pytest.mark.parametrize("step_s", [0.001, 0.1, 1.0])
def test_a_steady_pace_is_measured(step_s: float) -> None:
    pace = ConnectionThroughput()
    pace.begin(0.0)
    pace.begin(3.0)  # it runs already
    for number in range(1, int(10 / step_s)):
        pace.add(number * step_s, int(1e6 * step_s))
    assert pace.bytes_per_s((number) * step_s) == pytest.approx(1e6, rel=0.3)


def test_the_last_seconds_count_for_most() -> None:
    pace = ConnectionThroughput()
    for tenth in range(100):
        pace.add(tenth / 10, 1_000_000)
    for tenth in range(100, 150):
        pace.add(tenth / 10, 1_000)
    now = pace.bytes_per_s(15.0)
    assert now is not None
    assert 10_000 < now < 1_100_000
    assert pace.bytes_per_s(1e9) == 1.0


def test_a_clock_that_goes_back_is_no_time() -> None:
    pace = ConnectionThroughput()
    pace.add(10.0, 500)
    pace.add(11.0, 500)
    before = pace.bytes_per_s(11.0)
    assert pace.bytes_per_s(5.0) == before
    pace.add(5.0, 1)
    assert pace.bytes_per_s(5.0) == pytest.approx(before, rel=0.01)


def test_what_arrived_since() -> None:
    meter = ThroughputMeter()
    assert meter.since(0.0) == (0, 0)
    for second, size_bytes in [(1.0, 10), (2.0, 20), (2.003, 5), (3.0, 30)]:
        meter.add(second, size_bytes)
    assert (meter.total_bytes, meter.pieces) == (65, 4)
    for since_s, arrived in [(0, (65, 4)), (1, (65, 4)), (2, (55, 3)), (3, (30, 1)), (4, (0, 0))]:
        assert meter.since(since_s) == arrived


def test_what_lies_far_back_is_forgotten() -> None:
    meter = ThroughputMeter()
    for number in range(1000):
        meter.add(number * 0.01, 1)
    assert (meter.total_bytes, meter.pieces) == (1000, 1000)
    assert meter.since(0.0) == (512, 512)
    assert meter.since(9.005) == (99, 99)


def test_a_meter_survives_a_clock_that_goes_back() -> None:
    meter = ThroughputMeter()
    meter.add(10.0, 1)
    meter.add(5.0, 2)
    meter.add(5.001, 3)
    assert meter.total_bytes == 6
    assert meter.since(5.0) == (6, 3)
