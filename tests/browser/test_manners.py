"""How players behave beside each other in a real JupyterLab: at rest, in company, at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.browser.cells import Open
from tests.browser.lab import Lab

SHOTS = Path(__file__).parent / "shots"

# A page's own limits, so that no test waits for a minute.
RESTS = """
    from IPython.display import Javascript, display
    limits = "{{unseen_ms: {unseen_ms}, still_ms: {still_ms}}}"
    display(Javascript(f"globalThis[Symbol.for('vidnb.rest')] = {{limits}}"))
"""
# A cell that goes on when the test says so.
WAIT = """
    import asyncio
    while not os.path.exists({name!r}): await asyncio.sleep(0.05)
    os.remove({name!r})
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("manners")
    with Lab(root) as lab:
        yield lab


def until(page: Page, condition: str, argument: object = None) -> None:
    """Wait for a condition on `players`, each with its `video` and whether it `rests`."""
    page.wait_for_function(
        """argument => {
            const players = [...document.querySelectorAll('.vidnb-player')].map(root => {
                const video = root.querySelector('video');
                return {root, video, rests: !video.hasAttribute('src'),
                    covered: root.querySelector('.vidnb-still') !== null};
            });
            return CONDITION;
        }""".replace("CONDITION", condition),
        arg=argument,
        timeout=60_000,
    )


def test_fifty_players_show_their_first_frame_and_rest(lab: Lab, chromium: Browser) -> None:
    """Each comes by the best road, though a browser has six connections to a server."""
    show = """
        import ipywidgets, vidnb
        clip = vidnb.sample()
        players = [vidnb.play(clip, muted=True, width=300, start_s=3) for _ in range(50)]
        ipywidgets.Box(players, layout=ipywidgets.Layout(flex_flow="row wrap"))
    """
    found_roads = """
        for player in players:
            await player.wait_for_async("route", timeout_s=90)
        tell(routes=[player.route for player in players],
             tried=[player.routes_tried for player in players])
        heard = []
        for event in vidnb.notebook.player_events.EVENTS:
            for player in players:
                player.on(event, lambda player, event=event: heard.append(event))
    """
    steer = """
        resting, other = players[30:32]
        said = [[p.current_time, p.duration, p.paused, p.ended, p.size] for p in players]
        heard.clear()
        resting.seek(7).wait_for("seeked", timeout_s=60)
        sought = resting.current_time
        picture = other.snapshot(timeout_s=60).size
        resting.set(playback_rate=2).play().wait_for("timeupdate", timeout_s=60)
        tell(said=said, sought=sought, picture=picture, heard=heard,
             at=resting.current_time, rate=resting.playback_rate)
    """
    listen = "heard.clear()"
    last_word = "tell(heard=heard, at=players[-1].current_time, paused=players[-1].paused)"
    rests = RESTS.format(unseen_ms=500, still_ms=2500)
    first, second, third = (WAIT.format(name=name) for name in ("steer", "listen", "last"))
    cells = [rests, show, found_roads, first, steer, second, listen, third, last_word]
    notebook = Open(lab, chromium, "fifty", cells, "127.0.0.1")
    page = notebook.page
    found = notebook.found()
    assert found["routes"] == ["direct"] * 50
    assert not any(found["tried"])
    page.mouse.move(2, 2)
    until(page, "players.length === 50 && players.every(({rests}) => rests)")
    pale = "context.getImageData(still.width >> 1, still.height >> 1, 1, 1).data[3]"
    shown = page.locator(".vidnb-still").evaluate_all(
        f"all => all.map(still => {{ const context = still.getContext('2d'); return {pale}; }})"
    )
    assert shown == [255] * 50, "each keeps its picture"
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "rest.png")

    (lab.root / "steer").touch()
    found = notebook.found()
    assert found["said"] == [[3.0, pytest.approx(10, abs=0.1), True, False, [640, 360]]] * 50
    assert found["sought"] == pytest.approx(7, abs=0.1)
    assert found["picture"] == [640, 360]
    assert 7 <= found["at"] <= 10
    assert found["rate"] == 2
    news = [event for event in found["heard"] if event != "timeupdate"]
    assert sorted(set(news)) == ["play", "playing", "ratechange", "seeked", "seeking"]
    until(page, "players.every(({rests, video}, index) => rests || index === 30)")

    last = page.locator(".vidnb-player").last
    last.scroll_into_view_if_needed()
    shows(last)
    at = "players.at(-1).video.currentTime"
    until(page, f"Math.abs({at} - 3) < 0.01 && players.at(-1).video.controls")
    last.locator("video").evaluate("video => video.play()")
    until(page, f"{at} > 3.3")
    last.locator("video").evaluate("video => video.pause()")
    stopped = last.locator("video").evaluate("video => video.currentTime")
    (lab.root / "listen").touch()
    last.locator(".vidnb-still").wait_for(timeout=60_000)  # in view, and paused for long
    last.hover()
    shows(last)
    until(page, f"Math.abs({at} - argument) < 0.01", stopped)
    (lab.root / "last").touch()
    found = notebook.found()
    assert found["heard"] == [], "what the browser tells of a rest and a return is no news"
    assert found["at"] == pytest.approx(stopped, abs=0.01)
    assert found["paused"]
    assert notebook.errors == []
    page.close()


def shows(player: Locator) -> None:
    """Wait until the video itself is seen again."""
    player.locator(".vidnb-still").wait_for(state="detached", timeout=60_000)
    assert player.locator("video").evaluate("video => video.readyState") >= 2
