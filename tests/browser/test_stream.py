"""Play while it downloads, in a real page: the picture at once, any place soon, each byte once."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.assets import film
from tests.browser.cells import Open
from tests.browser.lab import Chromium, Lab
from tests.origin import Exchange, Film, Origin
from vidnb.server.sample import sample

SHOTS = Path(__file__).parent / "shots"
PLAY = """
    import vidnb
    began = time.perf_counter()
    player = vidnb.play({url!r}, muted=True, width=640, save_to="{folder}/")
    player
"""
WATCH = """
    player.wait_for("loadeddata", timeout_s=DEADLINE_S)
    first_s = time.perf_counter() - began
    whole_yet = player.download.done
    began = time.perf_counter()
    player.seek(0.9 * player.duration).wait_for("seeked", timeout_s=DEADLINE_S)
    tell(first_s=first_s, seek_s=time.perf_counter() - began, duration=player.duration,
         whole_yet=whole_yet, whole_then=player.download.done, route=player.route)
"""
FINISH = """
    result = player.download.result(DEADLINE_S)
    time.sleep(0.5)
    tell(path=str(result.path), size_bytes=result.size_bytes, attempts=result.attempts)
"""


@pytest.fixture
def shown(lab: Lab, chromium: Chromium, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Open a notebook of these cells, closed again behind the block."""

    @contextmanager
    def show(*cells: str) -> Iterator[Open]:
        opened = Open(lab, chromium, request.node.name, list(cells), "127.0.0.1")
        try:
            yield opened
        finally:
            opened.page.close()

    return show


class Withheld:
    """How an origin answers that sends a part of the film only drop by drop, until it may go on.

    Nobody has the whole film before, however slow the machine is. With `breaks_off_at` (B) it
    breaks each answer off there.
    """

    def __init__(self, part: range, breaks_off_at: int | None) -> None:
        self.go_on = threading.Event()
        self._part, self._breaks_off_at = part, breaks_off_at

    def __call__(self, exchange: Exchange) -> None:
        said = exchange.response()
        exchange.head(said.status, (*said.headers, *exchange.film.headers))
        for part in said.body:
            assert not isinstance(part, bytes)
            stop = min(part.stop, part.start + (self._breaks_off_at or part.stop))
            at = part.start
            while at < stop:
                waits = at in self._part and not self.go_on.wait(0.2)
                end = min(stop, at + (1 if waits else 2**14))
                exchange.send(exchange.film.data[at:end])
                at = end
            if stop < part.stop:
                exchange.reset()
                return


@pytest.mark.parametrize(
    ("breaks_off_at", "latency_s"),
    [
        (None, 0.0),
        pytest.param(2_000_000, 0.0, marks=pytest.mark.slow),
        pytest.param(None, 0.04, marks=pytest.mark.slow),
    ],
    ids=["steady", "resets-every-2-MB", "40-ms-away"],
)
def test_the_picture_comes_before_the_file(
    shown: Any, breaks_off_at: int | None, latency_s: float, request: pytest.FixtureRequest
) -> None:
    """A film with its index at the end; what lies between its beginning and 0.9 comes last."""
    data = film().read_bytes()
    handler = Withheld(range(len(data) // 2, len(data) // 2 + 2**15), breaks_off_at)
    with Origin(Film(data), rate=4e6, otherwise=handler, latency_s=latency_s) as origin:
        folder = re.sub("[^a-z]", "", request.node.name)
        with shown(PLAY.format(url=origin.url, folder=folder), WATCH, FINISH) as opened:
            found = opened.found()
            print(found)
            SHOTS.mkdir(exist_ok=True)
            opened.page.locator("video").screenshot(path=SHOTS / "stream-seek.png")
            opened.page.locator(".vidnb-toolbar").screenshot(path=SHOTS / "stream-strip.png")
            assert not found["whole_yet"]
            assert not found["whole_then"]
            assert found["route"] == "direct"
            handler.go_on.set()
            saved = opened.found()
            opened.page.get_by_text("saved", exact=True).wait_for()
        assert Path(saved["path"]).read_bytes() == data
        print(saved, origin.sent_bytes / len(data), len(origin.requests))
        # Mostly less than 1.01; where one connection meets another, what is on its way to it is
        # lost, and on a machine that is busy elsewhere that may be a megabyte in a socket's buffer.
        assert origin.sent_bytes <= 1.35 * len(data)
    assert opened.errors == []


@pytest.mark.slow
def test_three_players_at_three_places_share_one_download(shown: Any) -> None:
    """One of them is paused and reads no more; the others get their pictures all the same."""
    data = film().read_bytes()
    three = """
        import vidnb
        from ipywidgets import VBox
        players = [vidnb.play({url!r}, muted=True, width=320, save_to="three/") for _ in range(3)]
        VBox(players)
    """
    seek = """
        for player in players:
            player.wait_for("loadeddata", timeout_s=DEADLINE_S)
        for share, player in zip([0.9, 0.5, 0.2], players):
            player.seek(share * player.duration)
        for player in players:
            player.wait_for("seeked", timeout_s=DEADLINE_S)
        times = [player.current_time / player.duration for player in players]
        tell(times=times, path=str(players[0].download.result(DEADLINE_S).path))
    """
    with Origin(Film(data), rate=4e6) as origin:
        with shown(three.format(url=origin.url), seek) as opened:
            found = opened.found()
        assert found["times"] == pytest.approx([0.9, 0.5, 0.2], abs=0.02)
        assert Path(found["path"]).read_bytes() == data
        print(origin.sent_bytes / len(data), len(origin.requests))
        assert origin.sent_bytes <= 1.15 * len(data)
    assert opened.errors == []


@pytest.mark.slow
def test_an_origin_that_dies_is_waited_for_and_one_that_changes_is_told(shown: Any) -> None:
    """The picture goes on when it is back. Another file there is never joined to the first."""
    other = sample().read_bytes()
    look = """
        player.wait_for("loadeddata", timeout_s=DEADLINE_S)
        tell(duration=player.duration, phase=player._vidnb_download_state.content["state"])
    """
    seek = """
        player.seek(0.9 * player.duration).wait_for("seeked", timeout_s=DEADLINE_S)
        tell(at=player.current_time, whole=player.download.done)
    """
    again = """
        while player.duration is None or player.duration > 20:
            time.sleep(0.1)
        tell(path=str(player.download.result(DEADLINE_S).path), size=player.size)
    """
    with Origin(Film(film().read_bytes()), rate=1.2e6) as origin:
        play = PLAY.format(url=origin.url, folder="dies")
        with shown(play, look, seek, again) as opened:
            assert opened.found()["duration"] == pytest.approx(30, abs=0.1)
            origin.stop()
            opened.page.wait_for_timeout(1500)
            origin.restart()
            found = opened.found()
            assert found["at"] == pytest.approx(27, abs=0.1)
            assert not found["whole"]
            origin.film, origin.rate = Film(other, etag='"v2"'), None
            origin.close_connections()
            said = opened.page.locator(".vidnb-notice").filter(has_text="changed at its source")
            expect(said).to_have_count(1)
            saved = opened.found()
            opened.page.get_by_text("saved", exact=True).wait_for()
        assert Path(saved["path"]).read_bytes() == other
    assert opened.errors == []


@pytest.mark.slow
def test_a_kernel_that_is_killed_goes_on_from_what_is_here(shown: Any) -> None:
    """In mid-play; then the cells are run again, and only the rest is asked for."""
    data = film().read_bytes()
    kill = """
        import signal
        player.wait_for("loadeddata", timeout_s=DEADLINE_S)
        if not os.path.exists("killed"):
            open("killed", "w").close()
            while player.download.progress.done_bytes < 6e6:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        result = player.download.result(DEADLINE_S)
        tell(path=str(result.path), resumed_bytes=result.resumed_from_bytes)
    """
    with Origin(Film(data), rate=4e6) as origin:
        with shown(PLAY.format(url=origin.url, folder="killed-in"), kill) as opened:
            opened.page.get_by_text("will restart automatically").wait_for()
            opened.page.get_by_role("button", name="Ok", exact=True).click()
            opened.run_all()
            found = opened.found()
        assert found["resumed_bytes"] > 4_000_000
        assert Path(found["path"]).read_bytes() == data
        print(found, origin.sent_bytes / len(data))
        assert origin.sent_bytes <= 1.25 * len(data)
    assert opened.errors == []
