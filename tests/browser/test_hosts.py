"""The player in Notebook 7 and in Voila, standalone or as an extension of a Jupyter server."""

from collections.abc import Iterator

import pytest

from tests.assets import film
from tests.browser.cells import copy_file, play_and_seek
from tests.browser.hosts import Notebook7, Voila, VoilaExtension
from tests.browser.lab import Chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="package")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook7]:
    root = tmp_path_factory.mktemp("notebook7")
    copy_file(film(), root / "film.mp4")
    with Notebook7(root, "--ServerApp.allow_remote_access=True") as host:
        yield host


@pytest.fixture(scope="package")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voila]:
    root = tmp_path_factory.mktemp("voila")
    copy_file(film(), root / "film.mp4")
    with Voila(root) as host:
        yield host


# Voila shows the page after all cells have run, so a thread controls the player.
CONTROL_FROM_THREAD = """
    import threading
    def control():
        try:
            player.wait_for("route", timeout_s=DEADLINE_S)
            route_s = time.time() - shown_s
            sought = player.seek(12).wait_for("seeked", timeout_s=DEADLINE_S).current_time
            player.play().wait_for("playing", timeout_s=DEADLINE_S)
            player.wait_for("timeupdate", timeout_s=DEADLINE_S)
            player.pause().wait_for("pause", timeout_s=DEADLINE_S)
            snapshot = player.snapshot(timeout_s=DEADLINE_S)
            report(sought=sought, route=player.route, tried=player.routes_tried,
                 duration=player.duration, stopped=player.current_time, snapshot=snapshot.size,
                 route_s=route_s,
                 colours=len(snapshot.convert("RGB").resize((32, 18)).getcolors(1000)))
        except Exception as error:
            report(failed=repr(error), route=player.route, tried=player.routes_tried)
    threading.Thread(target=control, daemon=True).start()
"""


def test_the_player_works_in_notebook_7(notebook7: Notebook7, chromium: Chromium) -> None:
    found, _ = play_and_seek(notebook7, chromium, "seven", "film.mp4", "127.0.0.1")
    assert found["route"] == "direct"


def test_voila_as_an_extension_uses_the_proxy_of_its_server(
    notebook7: Notebook7, chromium: Chromium
) -> None:
    host = VoilaExtension(notebook7)
    found, _ = play_and_seek(
        host, chromium, "beside", "film.mp4", "hub.test", control=CONTROL_FROM_THREAD
    )
    assert found["route"] == "proxy"


@pytest.mark.parametrize(("name", "route"), [("127.0.0.1", "direct"), ("hub.test", "kernel")])
def test_standalone_voila_plays_without_a_proxy(
    voila: Voila, chromium: Chromium, name: str, route: str
) -> None:
    found, _ = play_and_seek(
        voila, chromium, f"alone-{route}", "film.mp4", name, control=CONTROL_FROM_THREAD
    )
    assert found["route"] == route
