"""The roads from a real page to the bytes, and what Python hears by each while a cell runs.

A page under the name hub.test does not come from loopback as far as it can tell, so the direct road
is closed to it, as on a hub.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, WebSocketRoute

from tests.assets import (
    FORMATS,
    FRAGMENTED,
    converted_sample,
    film,
    fragmented_film,
    ipykernel_release,
)
from tests.browser.burned_in import BUSY, RECORD, SLEEP, TRUTH, judged
from tests.browser.cells import SHOW, STEER, Open, copy_of, heard, steer, stretched
from tests.browser.lab import Chromium, Lab
from tests.browser.plain_proxy import PlainProxy

# A name may hold anything: each road is tried with it.
ODD_NAME = "Grüße 100% #1?&{port}.mp4"


@pytest.fixture(scope="package")
def bare(tmp_path_factory: pytest.TempPathFactory, ends: list[Callable[[], None]]) -> Iterator[Lab]:
    """A server without jupyter-server-proxy."""
    root = tmp_path_factory.mktemp("bare")
    copy_of(film(), root / "in a folder" / ODD_NAME)
    off = "--ServerApp.jpserver_extensions={'jupyter_server_proxy': False}"
    with Lab(root, "--ServerApp.allow_remote_access=True", off) as lab:
        ends.append(lab.end_kernels)
        yield lab


@pytest.fixture(scope="module")
def lab(lab: Lab) -> Lab:
    copy_of(film(), lab.root / "film.mp4")
    copy_of(film(), lab.root / "a b" / ODD_NAME)
    return lab


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "host"),
    [
        pytest.param(SLEEP, "127.0.0.1", id="sleep-direct"),
        pytest.param(BUSY, "hub.test", id="busy-proxy"),
    ],
)
def test_python_knows_the_truth_inside_a_running_cell(
    lab: Lab, chromium: Chromium, work: str, host: str, request: pytest.FixtureRequest
) -> None:
    cells = [SHOW.format(path="film.mp4", route="auto"), TRUTH.format(work=work.strip("\n"))]
    name = f"truth-{request.node.callspec.id}"
    notebook = Open(lab, chromium, name, cells, host)
    notebook.page.evaluate(RECORD)
    found = notebook.found()
    record = notebook.page.evaluate("() => window.record")
    print(f"{name}: {judged(found, record)}")
    assert found["route"] == ("direct" if host == "127.0.0.1" else "proxy")
    assert notebook.errors == []


def test_a_proxy_is_found_where_the_port_is_out_of_reach(lab: Lab, chromium: Chromium) -> None:
    found, notebook = steer(lab, chromium, "proxy", f"a b/{ODD_NAME}", "hub.test")
    assert found["route"] == "proxy"
    assert "not from the kernel's own machine" in found["tried"]["direct"]
    assert notebook.media
    there = f"http://hub.test:{lab.port}/proxy/"
    assert all(url.startswith(there) for url in notebook.media)


@pytest.mark.slow
def test_jupyter_itself_serves_a_file_below_its_root(bare: Lab, chromium: Chromium) -> None:
    path = f"in a folder/{ODD_NAME}"
    found, _ = steer(bare, chromium, "files", path, "hub.test")
    assert found["route"] == "files"
    assert "status 404" in found["tried"]["proxy"]


def test_the_kernels_channel_is_left_where_nothing_else_is(
    bare: Lab, chromium: Chromium, tmp_path: Path
) -> None:
    outside = copy_of(film(), tmp_path / ODD_NAME)
    found, notebook = steer(bare, chromium, "kernel", str(outside), "hub.test")
    assert found["route"] == "kernel"
    assert found["tried"].keys() == {"proxy", "direct"}
    assert notebook.page.locator("video").evaluate("v => v.src").startswith("blob:")


class Behind:
    """A server behind a proxy that keeps the browser's Host and says nothing of itself."""

    def __init__(self, server: Lab, proxy: PlainProxy) -> None:
        self._server, self._proxy = server, proxy
        self.root = server.root
        self.run_all = server.run_all

    def url(self, notebook: str, host: str, workspace: str) -> str:
        port = f":{self._server.port}/"
        return self._server.url(notebook, host, workspace).replace(port, f":{self._proxy.port}/")


@pytest.mark.slow
def test_a_proxy_that_keeps_the_pages_name_is_a_road(bare: Lab, chromium: Chromium) -> None:
    """The first player's page tells its name; the next one's need not, while a cell runs too."""
    route = "/ports/{port}/{path}"
    again = SHOW.format(path=f"in a folder/{ODD_NAME}", route=route).strip("\n")
    blocking = """
        player.seek(5).wait_for("seeked", timeout_s=DEADLINE_S)
        tell(at=player.current_time, route=player.route)
    """
    cells = [SHOW.format(path=str(film()), route=route), STEER, again, blocking]
    with PlainProxy(bare.port) as proxy:
        host = Behind(bare, proxy)
        notebook = Open(host, chromium, "behind", cells, "hub.test")
        found = heard(notebook)
        assert (found["route"], found["tried"]) == ("template", {})
        found = notebook.found()
        assert found["route"] == "template"
        assert found["at"] == pytest.approx(5, abs=0.3)
        there = f"http://hub.test:{proxy.port}/ports/"
        assert notebook.media
        assert all(url.startswith(there) for url in notebook.media)


@pytest.mark.slow
def test_webm_and_mov_play_and_seek(lab: Lab, chromium: Chromium) -> None:
    ways = [(name, "direct") for name in FORMATS] + [("vp9-opus.webm", "kernel")]
    for name in FORMATS:
        copy_of(converted_sample(name), lab.root / name)
    show = f"""
        import ipywidgets, vidnb
        players = [vidnb.play(name, muted=True, width=300, route=route) for name, route in {ways}]
        ipywidgets.Box(players, layout=ipywidgets.Layout(flex_flow="row wrap"))
    """
    steer_all = """
        found = []
        for player in players:
            await player.wait_for_async("route", timeout_s=DEADLINE_S)
            await player.seek(7).wait_for_async("seeked", timeout_s=DEADLINE_S)
            sought = player.current_time
            await player.play().wait_for_async("timeupdate", timeout_s=DEADLINE_S)
            await player.pause().wait_for_async("pause", timeout_s=DEADLINE_S)
            picture = await player.snapshot_async(timeout_s=DEADLINE_S)
            found.append(dict(sought=sought, stopped=player.current_time, route=player.route,
                duration=player.duration, error=player.error, size=picture.size,
                colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000))))
        tell(found=found)
    """
    notebook = Open(lab, chromium, "formats", [show, steer_all], "127.0.0.1")
    for (name, route), found in zip(ways, notebook.found()["found"], strict=True):
        assert (found["route"], found["error"]) == (route, None), name
        assert found["duration"] == pytest.approx(10, abs=0.2), name
        assert found["sought"] == pytest.approx(7, abs=0.1), name
        assert 7 <= found["stopped"] <= 10, name
        assert found["size"] == ([640, 360] if name.endswith("mov") else [320, 180]), name
        assert found["colours"] > 20, f"{name}: the snapshot shows nothing"
    assert notebook.errors == []


@pytest.mark.slow
def test_by_the_kernel_a_file_in_pieces_plays_before_it_has_come(
    lab: Lab, chromium: Chromium
) -> None:
    """What is asked for is what is shown and some seconds ahead, not all up to a far position."""
    for name in FRAGMENTED:
        copy_of(fragmented_film(name), lab.root / name)
    show = f"""
        import ipywidgets, vidnb
        def come(spans):
            return sum(stop - start for start, stop in spans)
        def listen(player, spans, firsts):
            def hear(_, content, __):
                if content.get("kind") == "byte_range":
                    spans.append((content["start"], content["stop"]))
                elif content.get("event") == "loadeddata":
                    firsts.append(come(spans))
            player.on_msg(hear)
        players, asked, firsts = [], [], []
        for name in {list(FRAGMENTED)}:
            players.append(vidnb.play(name, muted=True, width=300, route="kernel"))
            asked.append([])
            firsts.append([])
            listen(players[-1], asked[-1], firsts[-1])
        ipywidgets.Box(players)
    """
    steer_all = """
        found = []
        for player, spans, first in zip(players, asked, firsts):
            await player.wait_for_async("loadeddata", timeout_s=DEADLINE_S)
            await player.play().wait_for_async("timeupdate", timeout_s=DEADLINE_S)
            before = len(spans)
            await player.seek(55).wait_for_async("seeked", timeout_s=DEADLINE_S)
            sought, buffered = player.current_time, player.buffered
            await player.wait_for_async("timeupdate", timeout_s=DEADLINE_S)
            await player.pause().wait_for_async("pause", timeout_s=DEADLINE_S)
            picture = await player.snapshot_async(timeout_s=DEADLINE_S)
            far = come(spans[before:])
            await player.seek(30).wait_for_async("seeked", timeout_s=DEADLINE_S)
            found.append(dict(route=player.route, error=player.error, first=first[0], sought=sought,
                far=far, duration=player.duration, stopped=player.current_time, buffered=buffered,
                colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000))))
        tell(found=found)
    """
    notebook = Open(lab, chromium, "pieces", [show, steer_all], "127.0.0.1")
    for name, found in zip(FRAGMENTED, notebook.found()["found"], strict=True):
        size_bytes = fragmented_film(name).stat().st_size
        print(f"{name} of {size_bytes} B: {found}")
        assert (found["route"], found["error"]) == ("kernel", None), name
        assert found["duration"] == pytest.approx(60, abs=0.2), name
        assert 55 <= found["sought"] < 58, name
        assert found["stopped"] == pytest.approx(30, abs=0.1), name
        assert found["first"] < size_bytes / 5, name
        assert found["far"] < size_bytes / 3, name
        assert all(not start < 40 < end for start, end in found["buffered"]), name
        assert found["colours"] > 50, f"{name}: the snapshot shows nothing"
    sources = notebook.page.locator("video").evaluate_all("all => all.map(v => v.src)")
    assert [source.startswith("blob:") for source in sources] == [True, True]
    assert notebook.errors == []


FAR = """
    await player.wait_for_async("route", timeout_s=DEADLINE_S)
    began = time.perf_counter()
    await player.seek(25).wait_for_async("seeked", timeout_s=DEADLINE_S)
    seek_s = time.perf_counter() - began
    await player.play().wait_for_async("playing", timeout_s=DEADLINE_S)
    await player.wait_for_async("timeupdate", timeout_s=DEADLINE_S)
    tell(seek_s=seek_s, route=player.route, buffered=player.buffered, at=player.current_time,
         tried=player.routes_tried)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "route", "size_bytes"),
    [("hub.test", "proxy", 300 * 2**20), ("127.0.0.1", "direct", 2**32 + 2**10)],
)
def test_a_large_file_plays_and_seeks(
    lab: Lab, chromium: Chromium, host: str, route: str, size_bytes: int
) -> None:
    made = stretched(film(), lab.root / f"large-{route}.mp4", size_bytes)
    assert made.stat().st_size == size_bytes
    cells = [SHOW.format(path=made.name, route="auto"), FAR]
    notebook = Open(lab, chromium, f"large-{route}", cells, host)
    found = notebook.found()
    print(f"{route}: a seek in {size_bytes} B took {1000 * found['seek_s']:.0f} ms")
    assert found["route"] == route
    assert 25 <= found["at"] <= 30
    assert notebook.errors == []
    made.unlink()


@pytest.mark.slow
def test_a_road_that_dies_in_mid_play_is_left_and_the_play_goes_on(
    lab: Lab, chromium: Chromium
) -> None:
    watch = """
        await player.wait_for_async("route", timeout_s=DEADLINE_S)
        await player.seek(3).wait_for_async("seeked", timeout_s=DEADLINE_S)
        player.play()
        tell(port=int(player.urls[1]["url"].split(":")[2].split("/")[0]), route=player.route)
    """
    after = """
        while player.route == "direct" or player.paused or player.current_time < 25:
            time.sleep(0.1)
        tell(route=player.route, tried=player.routes_tried, at=player.current_time)
    """
    cells = [SHOW.format(path="film.mp4", route="auto"), watch, after]
    notebook = Open(lab, chromium, "death", cells, "127.0.0.1")
    found = notebook.found()
    assert found["route"] == "direct"
    notebook.page.route(f"http://127.0.0.1:{found['port']}/**", lambda route: route.abort())
    notebook.page.locator("video").evaluate("v => { v.currentTime = 25; }")
    found = notebook.found()
    assert found["route"] == "proxy"
    assert list(found["tried"]) == ["direct"]
    assert found["at"] >= 25


@pytest.mark.slow
def test_a_page_that_is_loaded_anew_comes_back_to_the_position(
    lab: Lab, chromium: Chromium
) -> None:
    found, notebook = steer(lab, chromium, "anew", f"a b/{ODD_NAME}", "127.0.0.1")
    assert found["route"] == "direct"
    stopped, page = found["stopped"], notebook.page
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_function(
        "at => Math.abs((document.querySelector('video')?.currentTime ?? 0) - at) < 0.3",
        arg=stopped,
    )


class SlowShells:
    """A browser whose pages get shells of their own late, as from a kernel that is busy.

    JupyterLab asks the kernel for one when a widget is made (`create_subshell_request`), and until
    it stands sends what the widget says to the shell that runs the cells. On ipykernel 7.2 it lies
    there while a cell awaits.
    """

    def __init__(self, browser: Chromium) -> None:
        self._browser = browser
        self.knocks = 0

    def new_page(self, *, viewport: ViewportSize) -> Page:
        page = self._browser.new_page(viewport=viewport)
        page.route_web_socket(re.compile("/channels"), self._between)
        return page

    def _between(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        held: list[str | bytes] = []

        def pass_on(message: str | bytes) -> None:
            text = message.encode() if isinstance(message, str) else message
            self.knocks += b'"hello"' in text
            if b"create_subshell_request" in text and not self.knocks:
                held.append(message)
                return
            while self.knocks > 1 and held:
                server.send(held.pop(0))
            server.send(message)

        socket.on_message(pass_on)


# By the kernel's own channel 6.30 hears nothing while a cell awaits: that is a sentence, and has a
# test without a browser.
@pytest.mark.slow
@pytest.mark.parametrize(("version", "route"), [("6.30.1", "direct"), ("7.2.0", "kernel")])
def test_older_kernels_are_steered_and_heard(
    lab: Lab, chromium: Chromium, version: str, route: str
) -> None:
    older = os.pathsep.join([str(ipykernel_release(version)), *sys.path])
    kernel = f"ipykernel-{version}"
    lab.add_kernel(kernel, {"PYTHONPATH": older})
    browser = SlowShells(chromium)
    found, _ = steer(lab, browser, kernel, "film.mp4", "127.0.0.1", route, kernel=kernel)
    assert found["route"] == route
    assert browser.knocks >= (3 if route == "kernel" else 1)
    assert found["ipykernel"] == version
