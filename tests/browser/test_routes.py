"""The routes from a page to the file, and the state that a running cell reads by each.

A page at the host hub.test does not come from loopback, so the direct route is excluded, as on a
hub.
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
    matroska_film,
)
from tests.browser.cells import (
    CONTROL,
    SHOW,
    OpenNotebook,
    check_report,
    copy_file,
    enlarge,
    play_and_seek,
)
from tests.browser.lab import Chromium, Lab
from tests.browser.plain_proxy import PlainProxy
from tests.browser.running_cell import BUSY, READ_STATE, RECORD, SLEEP, check_state

# A file name may contain any character: each route is tested with this one.
ODD_NAME = "Grüße 100% #1?&{port}.mp4"


@pytest.fixture(scope="package")
def bare(
    tmp_path_factory: pytest.TempPathFactory, cleanups: list[Callable[[], None]]
) -> Iterator[Lab]:
    """A server without jupyter-server-proxy."""
    root = tmp_path_factory.mktemp("bare")
    copy_file(film(), root / "in a folder" / ODD_NAME)
    off = "--ServerApp.jpserver_extensions={'jupyter_server_proxy': False}"
    with Lab(root, "--ServerApp.allow_remote_access=True", off) as lab:
        cleanups.append(lab.end_kernels)
        yield lab


@pytest.fixture(scope="module")
def lab(lab: Lab) -> Lab:
    copy_file(film(), lab.root / "film.mp4")
    copy_file(film(), lab.root / "a b" / ODD_NAME)
    return lab


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "host"),
    [
        pytest.param(SLEEP, "127.0.0.1", id="sleep-direct"),
        pytest.param(BUSY, "hub.test", id="busy-proxy"),
    ],
)
def test_a_running_cell_reads_the_current_state(
    lab: Lab, chromium: Chromium, work: str, host: str, request: pytest.FixtureRequest
) -> None:
    cells = [SHOW.format(path="film.mp4", route="auto"), READ_STATE.format(work=work.strip("\n"))]
    name = f"state-{request.node.callspec.id}"
    notebook = OpenNotebook(lab, chromium, name, cells, host)
    notebook.page.evaluate(RECORD)
    found = notebook.report()
    record = notebook.page.evaluate("() => window.record")
    print(f"{name}: {check_state(found, record)}")
    assert found["route"] == ("direct" if host == "127.0.0.1" else "proxy")
    assert notebook.errors == []


def test_the_proxy_route_is_used_if_the_port_is_unreachable(lab: Lab, chromium: Chromium) -> None:
    found, notebook = play_and_seek(lab, chromium, "proxy", f"a b/{ODD_NAME}", "hub.test")
    assert found["route"] == "proxy"
    assert "not from the kernel's own machine" in found["tried"]["direct"]
    assert notebook.media
    proxy_url = f"http://hub.test:{lab.port}/proxy/"
    assert all(url.startswith(proxy_url) for url in notebook.media)


@pytest.mark.slow
def test_the_files_route_serves_a_file_below_the_root_of_jupyter(
    bare: Lab, chromium: Chromium
) -> None:
    path = f"in a folder/{ODD_NAME}"
    found, _ = play_and_seek(bare, chromium, "files", path, "hub.test")
    assert found["route"] == "files"
    assert "status 404" in found["tried"]["proxy"]


def test_the_kernel_route_is_used_if_no_other_works(
    bare: Lab, chromium: Chromium, tmp_path: Path
) -> None:
    outside = copy_file(film(), tmp_path / ODD_NAME)
    found, notebook = play_and_seek(bare, chromium, "kernel", str(outside), "hub.test")
    assert found["route"] == "kernel"
    assert found["tried"].keys() == {"proxy", "direct"}
    assert notebook.page.locator("video").evaluate("v => v.src").startswith("blob:")


class ServerBehindProxy:
    """A server behind a proxy that keeps the browser's Host and adds no field."""

    def __init__(self, server: Lab, proxy: PlainProxy) -> None:
        self._server, self._proxy = server, proxy
        self.root = server.root
        self.run_all = server.run_all

    def url(self, notebook: str, host: str, workspace: str) -> str:
        port = f":{self._server.port}/"
        return self._server.url(notebook, host, workspace).replace(port, f":{self._proxy.port}/")


@pytest.mark.slow
def test_the_template_route_works_through_a_proxy_that_keeps_the_host(
    bare: Lab, chromium: Chromium
) -> None:
    """The first player sends the host of the page; a second one plays while a cell runs."""
    route = "/ports/{port}/{path}"
    second = SHOW.format(path=f"in a folder/{ODD_NAME}", route=route).strip("\n")
    blocking = """
        player.seek(5).wait_for("seeked", timeout_s=DEADLINE_S)
        report(at=player.current_time, route=player.route)
    """
    cells = [SHOW.format(path=str(film()), route=route), CONTROL, second, blocking]
    with PlainProxy(bare.port) as proxy:
        host = ServerBehindProxy(bare, proxy)
        notebook = OpenNotebook(host, chromium, "behind", cells, "hub.test")
        found = check_report(notebook)
        assert (found["route"], found["tried"]) == ("template", {})
        found = notebook.report()
        assert found["route"] == "template"
        assert found["at"] == pytest.approx(5, abs=0.3)
        proxy_url = f"http://hub.test:{proxy.port}/ports/"
        assert notebook.media
        assert all(url.startswith(proxy_url) for url in notebook.media)


@pytest.mark.slow
def test_webm_and_mov_play_and_seek(lab: Lab, chromium: Chromium) -> None:
    routes = [(name, "direct") for name in FORMATS] + [("vp9-opus.webm", "kernel")]
    for name in FORMATS:
        copy_file(converted_sample(name), lab.root / name)
    show = f"""
        import ipywidgets, vidnb
        players = [vidnb.play(name, muted=True, width=300, route=route) for name, route in {routes}]
        ipywidgets.Box(players, layout=ipywidgets.Layout(flex_flow="row wrap"))
    """
    control_all = """
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
        report(found=found)
    """
    notebook = OpenNotebook(lab, chromium, "formats", [show, control_all], "127.0.0.1")
    for (name, route), found in zip(routes, notebook.report()["found"], strict=True):
        assert (found["route"], found["error"]) == (route, None), name
        assert found["duration"] == pytest.approx(10, abs=0.2), name
        assert found["sought"] == pytest.approx(7, abs=0.1), name
        assert 7 <= found["stopped"] <= 10, name
        assert found["size"] == ([640, 360] if name.endswith("mov") else [320, 180]), name
        assert found["colours"] > 20, f"{name}: the snapshot shows nothing"
    assert notebook.errors == []


@pytest.mark.slow
def test_the_kernel_route_plays_any_file_in_segments(lab: Lab, chromium: Chromium) -> None:
    """Only the shown position and some seconds ahead are requested, not what is before it."""
    names = ["film.mp4", "film.mkv", *FRAGMENTED]
    copy_file(matroska_film(), lab.root / "film.mkv")
    for name in FRAGMENTED:
        copy_file(fragmented_film(name), lab.root / name)
    show = f"""
        import ipywidgets, vidnb
        def record_requests(player, parts):
            def on_message(_, content, __):
                if content.get("kind") in {{"segment", "byte_range"}}:
                    parts.append(content.get("name", "bytes"))
            player.on_msg(on_message)
        players, requested = [], []
        for name in {names}:
            players.append(vidnb.play(name, muted=True, width=300, route="kernel"))
            requested.append([])
            record_requests(players[-1], requested[-1])
        ipywidgets.Box(players)
    """
    control_all = """
        found = []
        for player, parts in zip(players, requested):
            await player.wait_for_async("loadeddata", timeout_s=DEADLINE_S)
            before = len(parts)
            await player.seek(0.9 * player.duration).wait_for_async("seeked", timeout_s=DEADLINE_S)
            sought = player.current_time / player.duration
            picture = await player.snapshot_async(timeout_s=DEADLINE_S)
            found.append(dict(route=player.route, error=player.error, sought=sought, parts=parts,
                first=parts[before], duration=player.duration, delivery=player.delivery,
                colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000))))
        report(found=found)
    """
    notebook = OpenNotebook(lab, chromium, "segments", [show, control_all], "127.0.0.1")
    for name, found in zip(names, notebook.report()["found"], strict=True):
        print(f"{name}: {found}")
        assert (found["route"], found["error"]) == ("kernel", None), name
        assert found["delivery"] in {"remux", "transcode"}, name
        seconds = 60 if name in FRAGMENTED else 30
        assert found["duration"] == pytest.approx(seconds, abs=0.1), name
        assert found["sought"] == pytest.approx(0.9, abs=0.01), name
        assert "bytes" not in found["parts"], name
        assert found["parts"][:3] == ["index.m3u8", "init.mp4", "0.m4s"], name
        assert len(found["parts"]) < 2 + seconds / 2, f"{name}: it was read completely"
        assert int(found["first"].removesuffix(".m4s")) > 2, name
        assert found["colours"] > 50, f"{name}: the snapshot shows nothing"
    assert notebook.errors == []


FAR = """
    await player.wait_for_async("route", timeout_s=DEADLINE_S)
    start_s = time.perf_counter()
    await player.seek(25).wait_for_async("seeked", timeout_s=DEADLINE_S)
    seek_s = time.perf_counter() - start_s
    await player.play().wait_for_async("playing", timeout_s=DEADLINE_S)
    await player.wait_for_async("timeupdate", timeout_s=DEADLINE_S)
    report(seek_s=seek_s, route=player.route, buffered=player.buffered, at=player.current_time,
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
    large = enlarge(film(), lab.root / f"large-{route}.mp4", size_bytes)
    assert large.stat().st_size == size_bytes
    cells = [SHOW.format(path=large.name, route="auto"), FAR]
    notebook = OpenNotebook(lab, chromium, f"large-{route}", cells, host)
    found = notebook.report()
    print(f"{route}: a seek in {size_bytes} B took {1000 * found['seek_s']:.0f} ms")
    assert found["route"] == route
    assert 25 <= found["at"] <= 30
    assert notebook.errors == []
    large.unlink()


@pytest.mark.slow
def test_playback_continues_on_the_next_route_if_one_fails(lab: Lab, chromium: Chromium) -> None:
    before = """
        await player.wait_for_async("route", timeout_s=DEADLINE_S)
        await player.seek(3).wait_for_async("seeked", timeout_s=DEADLINE_S)
        player.play()
        report(port=int(player.urls[1]["url"].split(":")[2].split("/")[0]), route=player.route)
    """
    after = """
        while player.route == "direct" or player.paused or player.current_time < 25:
            time.sleep(0.1)
        report(route=player.route, tried=player.routes_tried, at=player.current_time)
    """
    cells = [SHOW.format(path="film.mp4", route="auto"), before, after]
    notebook = OpenNotebook(lab, chromium, "route-fails", cells, "127.0.0.1")
    found = notebook.report()
    assert found["route"] == "direct"
    notebook.page.route(f"http://127.0.0.1:{found['port']}/**", lambda route: route.abort())
    notebook.page.locator("video").evaluate("v => { v.currentTime = 25; }")
    found = notebook.report()
    assert found["route"] == "proxy"
    assert list(found["tried"]) == ["direct"]
    assert found["at"] >= 25


@pytest.mark.slow
def test_a_reloaded_page_restores_the_position(lab: Lab, chromium: Chromium) -> None:
    found, notebook = play_and_seek(lab, chromium, "reload", f"a b/{ODD_NAME}", "127.0.0.1")
    assert found["route"] == "direct"
    stopped, page = found["stopped"], notebook.page
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_function(
        "at => Math.abs((document.querySelector('video')?.currentTime ?? 0) - at) < 0.3",
        arg=stopped,
    )


class DelayedSubshells:
    """A browser whose pages get their kernel subshells late, as from a busy kernel.

    JupyterLab requests a subshell when a widget is made (`create_subshell_request`), and until it
    exists sends the widget's messages to the main shell. ipykernel 7.2 does not read them while a
    cell awaits.
    """

    def __init__(self, browser: Chromium) -> None:
        self._browser = browser
        self.hellos = 0

    def new_page(self, *, viewport: ViewportSize) -> Page:
        page = self._browser.new_page(viewport=viewport)
        page.route_web_socket(re.compile("/channels"), self._delay_subshell)
        return page

    def _delay_subshell(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        delayed: list[str | bytes] = []

        def forward(message: str | bytes) -> None:
            text = message.encode() if isinstance(message, str) else message
            self.hellos += b'"hello"' in text
            if b"create_subshell_request" in text and not self.hellos:
                delayed.append(message)
                return
            while self.hellos > 1 and delayed:
                server.send(delayed.pop(0))
            server.send(message)

        socket.on_message(forward)


# ipykernel 6.30 reads no message on the kernel route while a cell awaits: the error message for
# that is tested without a browser.
@pytest.mark.slow
@pytest.mark.parametrize(("version", "route"), [("6.30.1", "direct"), ("7.2.0", "kernel")])
def test_older_ipykernels_receive_commands_and_state(
    lab: Lab, chromium: Chromium, version: str, route: str
) -> None:
    older = os.pathsep.join([str(ipykernel_release(version)), *sys.path])
    kernel = f"ipykernel-{version}"
    lab.add_kernel(kernel, {"PYTHONPATH": older})
    browser = DelayedSubshells(chromium)
    found, _ = play_and_seek(lab, browser, kernel, "film.mp4", "127.0.0.1", route, kernel=kernel)
    assert found["route"] == route
    assert browser.hellos >= (3 if route == "kernel" else 1)
    assert found["ipykernel"] == version
