"""The player on other hosts than JupyterLab: Notebook 7, and Voila, alone or beside a server."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.cells import copy_of, steer
from tests.browser.hosts import Notebook7, Voila, VoilaBeside
from tests.world import film


@pytest.fixture(scope="module")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook7]:
    root = tmp_path_factory.mktemp("notebook7")
    copy_of(film(), root / "film.mp4")
    with Notebook7(root, None, "--ServerApp.allow_remote_access=True") as host:
        yield host


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voila]:
    root = tmp_path_factory.mktemp("voila")
    copy_of(film(), root / "film.mp4")
    with Voila(root) as host:
        yield host


# Under Voila the page comes when all cells have run, so none of them can wait for it. A thread can.
STEER_BESIDE = """
    import threading
    def steer():
        try:
            player.wait_for("route", timeout_s=60)
            arrived_s = time.time() - shown_s
            still = player.seek(12).wait_for("seeked", timeout_s=30).current_time
            player.play().wait_for("playing", timeout_s=30)
            player.wait_for("timeupdate", timeout_s=30)
            player.pause().wait_for("pause", timeout_s=30)
            picture = player.snapshot(timeout_s=30)
            tell(still=still, route=player.route, tried=player.routes_tried,
                 duration=player.duration, stopped=player.current_time, picture=picture.size,
                 arrived_s=arrived_s,
                 colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000)))
        except Exception as error:
            tell(failed=repr(error), route=player.route, tried=player.routes_tried)
    threading.Thread(target=steer, daemon=True).start()
"""


def test_notebook_7_shows_and_obeys(notebook7: Notebook7, chromium: Browser) -> None:
    found, notebook = steer(notebook7, chromium, "seven", "film.mp4", "127.0.0.1")
    assert found["route"] == "direct"
    notebook.page.close()


def test_voila_beside_a_server_takes_its_proxy(notebook7: Notebook7, chromium: Browser) -> None:
    host = VoilaBeside(notebook7)
    found, notebook = steer(host, chromium, "beside", "film.mp4", "hub.test", steering=STEER_BESIDE)
    assert found["route"] == "proxy"
    notebook.page.close()


@pytest.mark.parametrize(("name", "route"), [("127.0.0.1", "direct"), ("hub.test", "kernel")])
def test_voila_alone_has_no_proxy(voila: Voila, chromium: Browser, name: str, route: str) -> None:
    found, notebook = steer(
        voila, chromium, f"alone-{route}", "film.mp4", name, steering=STEER_BESIDE
    )
    assert found["route"] == route
    notebook.page.close()
