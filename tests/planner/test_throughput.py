"""Throughput of one connection and in total, on a simulated clock."""

import pytest

from vidnb.download.planner.throughput import ConnectionThroughput, ThroughputMeter


def test_there_is_no_throughput_without_data() -> None:
    throughput = ConnectionThroughput()
    assert (throughput.has_data, throughput.age_s(5.0), throughput.bytes_per_s(5.0)) == (
        False,
        0.0,
        None,
    )
    throughput.start(5.0)
    assert throughput.bytes_per_s(9.0) is None
    throughput.add(9.0, 100)
    assert throughput.has_data
    assert throughput.age_s(10.0) == 1.0


def test_there_is_no_throughput_after_20_ms() -> None:
    throughput = ConnectionThroughput()
    throughput.add(5.0, 1000)
    assert throughput.bytes_per_s(5.0) is None
    assert throughput.bytes_per_s(5.019) is None
    assert throughput.bytes_per_s(5.03) is not None


@pytest.mark.parametrize("step_s", [0.001, 0.1, 1.0])
def test_a_constant_throughput_is_measured(step_s: float) -> None:
    throughput = ConnectionThroughput()
    throughput.start(0.0)
    throughput.start(3.0)  # has no effect
    for number in range(1, int(10 / step_s)):
        throughput.add(number * step_s, int(1e6 * step_s))
    assert throughput.bytes_per_s((number) * step_s) == pytest.approx(1e6, rel=0.3)


def test_recent_seconds_have_the_highest_weight() -> None:
    throughput = ConnectionThroughput()
    for tenth in range(100):
        throughput.add(tenth / 10, 1_000_000)
    for tenth in range(100, 150):
        throughput.add(tenth / 10, 1_000)
    measured = throughput.bytes_per_s(15.0)
    assert measured is not None
    assert 10_000 < measured < 1_100_000
    assert throughput.bytes_per_s(1e9) == 1.0


def test_a_clock_that_steps_back_counts_as_stopped() -> None:
    throughput = ConnectionThroughput()
    throughput.add(10.0, 500)
    throughput.add(11.0, 500)
    before = throughput.bytes_per_s(11.0)
    assert throughput.bytes_per_s(5.0) == before
    throughput.add(5.0, 1)
    assert throughput.bytes_per_s(5.0) == pytest.approx(before, rel=0.01)


def test_bytes_and_chunks_since_a_time() -> None:
    meter = ThroughputMeter()
    assert meter.received_since(0.0) == (0, 0)
    for second, size_bytes in [(1.0, 10), (2.0, 20), (2.003, 5), (3.0, 30)]:
        meter.add(second, size_bytes)
    assert (meter.total_bytes, meter.chunks) == (65, 4)
    for since_s, received in [(0, (65, 4)), (1, (65, 4)), (2, (55, 3)), (3, (30, 1)), (4, (0, 0))]:
        assert meter.received_since(since_s) == received


def test_the_history_is_bounded() -> None:
    meter = ThroughputMeter()
    for number in range(1000):
        meter.add(number * 0.01, 1)
    assert (meter.total_bytes, meter.chunks) == (1000, 1000)
    assert meter.received_since(0.0) == (512, 512)
    assert meter.received_since(9.005) == (99, 99)


def test_a_meter_accepts_a_clock_that_steps_back() -> None:
    meter = ThroughputMeter()
    meter.add(10.0, 1)
    meter.add(5.0, 2)
    meter.add(5.001, 3)
    assert meter.total_bytes == 6
    assert meter.received_since(5.0) == (6, 3)
