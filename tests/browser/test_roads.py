"""The roads from a real page to the bytes, and what Python hears by each while a cell runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.cells import Open, copy_of
from tests.browser.lab import Lab
from tests.world import film


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("roads")
    copy_of(film(), root / "film.mp4")
    with Lab(root, None, "--ServerApp.allow_remote_access=True") as lab:
        yield lab


SHOW = """
    import vidnb
    player = vidnb.play({path!r}, muted=True, width=640, route={route!r})
    player
"""

# Inside one running cell: seek, read, wait, play, read again.
TRUTH = """
    player.wait_for("route", timeout_s=30)
    began = time.perf_counter()
    player.seek(12).wait_for("seeked", timeout_s=20)
    seek_s = time.perf_counter() - began
    still = player.current_time
    player.play().wait_for("playing", timeout_s=20)
    samples = []
{work}
    player.pause().wait_for("pause", timeout_s=20)
    stopped = player.current_time
    picture = player.snapshot(timeout_s=20)
    tell(seek_s=seek_s, still=still, samples=samples, stopped=stopped, picture=picture.size,
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


@pytest.mark.parametrize("work", [SLEEP, BUSY], ids=["sleep", "busy"])
def test_python_knows_the_truth_inside_a_running_cell(
    lab: Lab, chromium: Browser, work: str, request: pytest.FixtureRequest
) -> None:
    cells = [SHOW.format(path="film.mp4", route="auto"), TRUTH.format(work=work.strip("\n"))]
    name = f"truth-{request.node.callspec.id}"
    notebook = Open(lab, chromium, name, cells, "127.0.0.1")
    notebook.page.evaluate(RECORD)
    found = notebook.found()
    record = notebook.page.evaluate("() => window.record")
    print(f"{name}: seek to picture {1000 * found['seek_s']:.0f} ms")
    assert found["route"] == "direct"
    assert found["still"] == pytest.approx(12, abs=0.3)
    assert found["size"] == [1920, 1080]
    assert found["picture"] == [1920, 1080]
    assert found["buffered"]
    worst = 0.0
    assert len(found["samples"]) >= 5
    for at_s, told_s in found["samples"]:
        _, true_s, paused = min(record, key=lambda entry: abs(entry[0] - at_s))
        assert not paused
        worst = max(worst, abs(told_s - true_s))
    print(f"{name}: current_time off by {1000 * worst:.0f} ms at most")
    assert worst <= 0.3
    assert found["stopped"] == pytest.approx(record[-1][1], abs=0.3)
    assert notebook.errors == []
    notebook.page.close()
