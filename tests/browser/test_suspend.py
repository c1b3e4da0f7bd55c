"""How players behave beside each other in a real JupyterLab: at rest, in company, at the end."""

import statistics
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.cells import Open
from tests.browser.lab import Chromium, Lab

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parent / "shots"

# A page's own limits, so that no test waits for a minute.
RESTS = """
    from IPython.display import Javascript, display
    limits = "{{hidden_ms: {unseen_ms}, idle_ms: {still_ms}}}"
    display(Javascript(f"globalThis[Symbol.for('vidnb.suspend')] = {{limits}}"))
"""
# A cell that goes on when the test says so.
WAIT = """
    import asyncio
    while not os.path.exists({name!r}): await asyncio.sleep(0.05)
    os.remove({name!r})
"""


def until(page: Page, condition: str, argument: object = None) -> None:
    """Wait for a condition on `players`, each with its `video` and whether it `rests`."""
    page.wait_for_function(
        """argument => {
            const players = [...document.querySelectorAll('.vidnb-player')].map(root => {
                const video = root.querySelector('video');
                return {root, video, rests: !video.hasAttribute('src'),
                    covered: root.querySelector('.vidnb-last-frame') !== null};
            });
            return CONDITION;
        }""".replace("CONDITION", condition),
        arg=argument,
    )


def test_fifty_players_show_their_first_frame_and_rest(lab: Lab, chromium: Chromium) -> None:
    """Each comes by the best road, though a browser has six connections to a server."""
    show = """
        import ipywidgets, vidnb
        clip = vidnb.sample()
        players = [vidnb.play(clip, muted=True, width=300, start_s=3) for _ in range(50)]
        ipywidgets.Box(players, layout=ipywidgets.Layout(flex_flow="row wrap"))
    """
    found_roads = """
        for player in players:
            await player.wait_for_async("route", timeout_s=DEADLINE_S)
        tell(routes=[player.route for player in players],
             tried=[player.routes_tried for player in players])
        heard = []
        for event in vidnb.widgets.player.events.EVENTS:
            for player in players:
                player.on(event, lambda player, event=event: heard.append(event))
    """
    steer = """
        resting, other = players[30:32]
        said = [[p.current_time, p.duration, p.paused, p.ended, p.size] for p in players]
        heard.clear()
        resting.seek(7).wait_for("seeked", timeout_s=DEADLINE_S)
        sought = resting.current_time
        picture = other.snapshot(timeout_s=DEADLINE_S).size
        resting.set(playback_rate=2).play().wait_for("timeupdate", timeout_s=DEADLINE_S)
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
    shown = page.locator(".vidnb-last-frame").evaluate_all(
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
    last.locator(".vidnb-last-frame").wait_for()  # in view, and paused for long
    last.hover()
    shows(last)
    until(page, f"Math.abs({at} - argument) < 0.01", stopped)
    (lab.root / "last").touch()
    found = notebook.found()
    assert found["heard"] == [], "what the browser tells of a rest and a return is no news"
    assert found["at"] == pytest.approx(stopped, abs=0.01)
    assert found["paused"]
    assert notebook.errors == []


def shows(player: Locator) -> None:
    """Wait until the video itself is seen again."""
    player.locator(".vidnb-last-frame").wait_for(state="detached")
    assert player.locator("video").evaluate("video => video.readyState") >= 2


# How far each of the others is from the one that is heard (s), over three seconds.
APART = """async () => {
    const videos = [...document.querySelectorAll('video')];
    const apart = [];
    for (let count = 0; count < 30; count += 1) {
        await new Promise(done => setTimeout(done, 100));
        const lead = videos.find(video => !video.muted);
        for (const video of videos)
            if (video !== lead) apart.push(Math.abs(video.currentTime - lead.currentTime));
    }
    return apart.sort((one, other) => one - other);
}"""


def check_together(page: Page, when: str) -> None:
    """The median, the quietest of three: a machine that is busy elsewhere lets all stumble."""
    medians_s = []
    for _ in range(3):
        apart_s = page.evaluate(APART)
        medians_s.append(statistics.median(apart_s))
        print(
            f"views {when}: {1000 * medians_s[-1]:.0f} ms from the leading one, "
            f"95 % under {1000 * apart_s[int(0.95 * len(apart_s))]:.0f} ms"
        )
        if medians_s[-1] < 0.15:
            return
    pytest.fail(f"views of one player are apart {when}: {medians_s} s")


def test_ten_views_of_one_player_keep_together(lab: Lab, chromium: Chromium) -> None:
    nine = """
        import vidnb
        player = vidnb.play(vidnb.sample(), start_s=1, loop=True, width=220)
        for _ in range(9):
            display(player)
    """
    after = """
        player.wait_for("route", timeout_s=DEADLINE_S)
        tell(at=player.current_time, paused=player.paused, rate=player.playback_rate,
             views=len(player._vidnb_views), muted=player.muted)
    """
    steer = """
        player.play().wait_for("playing", timeout_s=DEADLINE_S)
        player.pause().wait_for("pause", timeout_s=DEADLINE_S)
        player.seek(2).wait_for("seeked", timeout_s=DEADLINE_S)
        player.set(playback_rate=0.5, loop=True).play().wait_for("playing", timeout_s=DEADLINE_S);
    """
    rests = RESTS.format(unseen_ms=1e9, still_ms=1e9)
    one, two, three = (WAIT.format(name=name) for name in ("one", "two", "three"))
    cells = [rests, nine, "player", one, after, two, steer, after, three, after]
    notebook = Open(lab, chromium, "ten", cells, "127.0.0.1")
    page = notebook.page
    page.set_viewport_size({"width": 1200, "height": 2600})
    until(page, "players.length === 10 && players.every(({video}) => video.readyState >= 2)")
    assert page.locator("video").evaluate_all("all => all.filter(one => !one.muted).length") == 1

    page.locator("video").nth(4).evaluate("video => video.play()")
    until(page, "players.every(({video}) => !video.paused)")
    assert (
        page.locator("video").evaluate_all("all => all.map(one => one.muted).indexOf(false)") == 4
    )
    check_together(page, "after a play")
    page.locator("video").nth(7).evaluate("video => video.pause()")
    until(page, "players.every(({video}) => video.paused)")
    page.locator("video").nth(9).evaluate("video => { video.currentTime = 6; }")
    together = (
        "players.every(({{video}}) => !video.seeking && Math.abs(video.currentTime - {}) < 0.02)"
    )
    until(page, together.format(6))
    (lab.root / "one").touch()
    found = notebook.found()
    assert found["at"] == pytest.approx(6, abs=0.05)
    assert found["paused"]
    assert not found["muted"], "the one that is heard is the one that tells"

    (lab.root / "two").touch()
    found = notebook.found()
    assert (found["paused"], found["rate"]) == (False, 0.5)
    spoken = found["views"]
    until(page, "players.every(({video}) => video.loop && video.defaultPlaybackRate === 0.5)")
    until(page, "players.every(({video}) => !video.paused)")
    check_together(page, "after a seek, at half the rate")

    # The last one leads, since somebody has moved it. Its output is cleared, and another one leads.
    page.evaluate("window.leaving = [...document.querySelectorAll('video')].at(-1)")
    page.locator(".jp-Cell").nth(3).locator(".cm-content").click()
    page.get_by_role("menuitem", name="Edit", exact=True).click()
    page.get_by_text("Clear Cell Output", exact=True).click()
    until(page, "players.length === 9 && players.every(({video}) => !video.paused)")
    gone = (
        "[window.leaving.paused, window.leaving.hasAttribute('src'), window.leaving.networkState]"
    )
    assert page.evaluate(gone) == [True, False, 0]
    (lab.root / "three").touch()
    found = notebook.found()
    assert found["views"] == spoken - 1, "Python forgets the one that is closed"
    times = page.locator("video").evaluate_all("all => all.map(one => one.currentTime)")
    assert found["at"] == pytest.approx(statistics.median(times), abs=1.0)
    assert not found["paused"]
    assert notebook.errors == []


def test_a_restart_of_the_kernel_leaves_a_picture_and_a_sentence(
    lab: Lab, chromium: Chromium
) -> None:
    show = """
        import vidnb
        player = vidnb.play(vidnb.sample(), autoplay=True, muted=True, loop=True, width=500)
        player
    """
    after = (
        'player.wait_for("timeupdate", timeout_s=DEADLINE_S)\ntell(views=len(player._vidnb_views))'
    )
    notebook = Open(lab, chromium, "restart", [show, after], "127.0.0.1")
    page = notebook.page
    assert notebook.found()["views"] == 1
    said: list[str] = []
    page.on("console", lambda told: said.append(told.text) if told.type == "error" else None)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    sentence = page.get_by_text(
        "The kernel that served sample.mp4 was restarted: run the cell again."
    )
    sentence.wait_for()
    until(page, "players.every(({rests, covered, video}) => rests && covered && video.paused)")
    page.screenshot(path=SHOTS / "restart.png")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".vidnb-last-frame").click()
    page.wait_for_timeout(1500)  # in which an endless retry would show
    assert said == []
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    assert notebook.found()["views"] == 1
    until(page, "players.length === 1 && players[0].video.currentTime > 0 && !players[0].covered")
    assert sentence.count() == 0
    # The cell alone, once more: the player of before is gone, with its view.
    page.evaluate("window.before = document.querySelector('video')")
    page.locator(".jp-Cell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => !window.before.isConnected && !window.before.hasAttribute('src')")
    until(page, "players.length === 1 && players[0].video.currentTime > 0")
    assert said == []
    assert notebook.errors == []
