"""Cells that control a player while they run, and the check of the state that they read."""

from statistics import median
from typing import Any

import pytest

# In one running cell: seek, play, and read the state of the player.
READ_STATE = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    seeks_s = []
    for t_s in (15.8, 23.1, 0.1, 10.5, 12):  # just after a key frame
        start_s = time.perf_counter()
        player.seek(t_s).wait_for("seeked", timeout_s=DEADLINE_S)
        seeks_s.append(time.perf_counter() - start_s)
    sought = player.current_time
    player.play().wait_for("playing", timeout_s=DEADLINE_S)
    samples = []
{work}
    player.pause().wait_for("pause", timeout_s=DEADLINE_S)
    stopped = player.current_time
    snapshot = player.snapshot(timeout_s=DEADLINE_S)
    report(seeks_s=seeks_s, sought=sought, samples=samples, stopped=stopped, snapshot=snapshot.size,
         route=player.route, tried=player.routes_tried, duration=player.duration,
         size=player.size, buffered=player.buffered)
"""
SLEEP = """
    for _ in range(6):
        time.sleep(1)
        samples.append((time.time(), player.current_time))
"""
BUSY = """
    stop_s, next_s = time.time() + 6, 0
    while time.time() < stop_s:
        sum(range(2000))
        if time.time() > next_s:
            next_s = time.time() + 1
            samples.append((time.time(), player.current_time))
"""
# Record the position of the video in the page every 20 ms: [epoch s, position s, paused].
RECORD = """() => {
    window.record = [];
    setInterval(() => {
        const video = document.querySelector('video');
        if (video) window.record.push([Date.now() / 1000, video.currentTime, video.paused]);
    }, 20);
}"""


def check_state(found: dict[str, Any], record: list[Any]) -> str:
    """Compare the state that the cell read with the record of the page; return the figures."""
    assert found["sought"] == pytest.approx(12, abs=0.3)
    assert found["size"] == [1920, 1080]
    assert found["snapshot"] == [1920, 1080]
    assert found["buffered"]
    worst = 0.0
    assert len(found["samples"]) >= 5
    for read_s, position_s in found["samples"]:
        # Extrapolate the entry before the read: the entry after it may follow the pause.
        recorded_s, actual_s, paused = max(entry for entry in record if entry[0] <= read_s)
        assert not paused, (read_s, position_s, record[:: max(1, len(record) // 40)])
        worst = max(worst, abs(position_s - actual_s - (read_s - recorded_s)))
    assert worst <= 0.3
    assert found["stopped"] == pytest.approx(record[-1][1], abs=0.3)
    median_ms = 1000 * median(found["seeks_s"])
    seeks = ", ".join(f"{1000 * one:.0f}" for one in found["seeks_s"])
    summary = f"seeks in {seeks} ms, median {median_ms:.0f} ms"
    return f"{summary}, current_time off by at most {1000 * worst:.0f} ms"
