"""A cell that keeps its kernel busy, and what it is told of the player meanwhile."""

from statistics import median
from typing import Any

import pytest

# Inside one running cell: seek, read, wait, play, read again.
TRUTH = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    seeks_s = []
    for t_s in (15.8, 23.1, 0.1, 10.5, 12):  # just behind a frame that stands by itself
        began = time.perf_counter()
        player.seek(t_s).wait_for("seeked", timeout_s=DEADLINE_S)
        seeks_s.append(time.perf_counter() - began)
    still = player.current_time
    player.play().wait_for("playing", timeout_s=DEADLINE_S)
    samples = []
{work}
    player.pause().wait_for("pause", timeout_s=DEADLINE_S)
    stopped = player.current_time
    picture = player.snapshot(timeout_s=DEADLINE_S)
    tell(seeks_s=seeks_s, still=still, samples=samples, stopped=stopped, picture=picture.size,
         route=player.route, tried=player.routes_tried, duration=player.duration,
         size=player.size, buffered=player.buffered)
"""
SLEEP = """
    for _ in range(6):
        time.sleep(1)
        samples.append((time.time(), player.current_time))
"""
BUSY = """
    until, next = time.time() + 6, 0
    while time.time() < until:
        sum(range(2000))
        if time.time() > next:
            next = time.time() + 1
            samples.append((time.time(), player.current_time))
"""
# The page's own record of when the video was where.
RECORD = """() => {
    window.record = [];
    setInterval(() => {
        const video = document.querySelector('video');
        if (video) window.record.push([Date.now() / 1000, video.currentTime, video.paused]);
    }, 20);
}"""


def judged(found: dict[str, Any], record: list[Any]) -> str:
    """Check what the cell was told against the page's own record; return both in figures."""
    assert found["still"] == pytest.approx(12, abs=0.3)
    assert found["size"] == [1920, 1080]
    assert found["picture"] == [1920, 1080]
    assert found["buffered"]
    worst = 0.0
    assert len(found["samples"]) >= 5
    for at_s, told_s in found["samples"]:
        # What stood before, carried on: the next entry may be of after the pause that follows.
        noted_s, true_s, paused = max(entry for entry in record if entry[0] <= at_s)
        assert not paused, (at_s, told_s, record[:: max(1, len(record) // 40)])
        worst = max(worst, abs(told_s - true_s - (at_s - noted_s)))
    assert worst <= 0.3
    assert found["stopped"] == pytest.approx(record[-1][1], abs=0.3)
    middle_ms = 1000 * median(found["seeks_s"])
    seeks = ", ".join(f"{1000 * one:.0f}" for one in found["seeks_s"])
    told = f"seeks in {seeks} ms, in the middle {middle_ms:.0f} ms"
    return f"{told}, current_time off by {1000 * worst:.0f} ms at most"
