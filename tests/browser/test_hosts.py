"""The player on other hosts than JupyterLab: Notebook 7, and Voila, alone or beside a server."""

from collections.abc import Iterator

import pytest

from tests.assets import film
from tests.browser.cells import copy_of, steer
from tests.browser.hosts import Notebook7, Voila, VoilaBeside
from tests.browser.lab import Chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="package")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook7]:
    root = tmp_path_factory.mktemp("notebook7")
    copy_of(film(), root / "film.mp4")
    with Notebook7(root, "--ServerApp.allow_remote_access=True") as host:
        yield host


@pytest.fixture(scope="package")
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
            player.wait_for("route", timeout_s=DEADLINE_S)
            arrived_s = time.time() - shown_s
            still = player.seek(12).wait_for("seeked", timeout_s=DEADLINE_S).current_time
            player.play().wait_for("playing", timeout_s=DEADLINE_S)
            player.wait_for("timeupdate", timeout_s=DEADLINE_S)
            player.pause().wait_for("pause", timeout_s=DEADLINE_S)
            picture = player.snapshot(timeout_s=DEADLINE_S)
            tell(still=still, route=player.route, tried=player.routes_tried,
                 duration=player.duration, stopped=player.current_time, picture=picture.size,
                 arrived_s=arrived_s,
                 colours=len(picture.convert("RGB").resize((32, 18)).getcolors(1000)))
        except Exception as error:
            tell(failed=repr(error), route=player.route, tried=player.routes_tried)
    threading.Thread(target=steer, daemon=True).start()
"""


def test_notebook_7_shows_and_obeys(notebook7: Notebook7, chromium: Chromium) -> None:
    found, _ = steer(notebook7, chromium, "seven", "film.mp4", "127.0.0.1")
    assert found["route"] == "direct"


def test_voila_beside_a_server_takes_its_proxy(notebook7: Notebook7, chromium: Chromium) -> None:
    host = VoilaBeside(notebook7)
    found, _ = steer(host, chromium, "beside", "film.mp4", "hub.test", steering=STEER_BESIDE)
    assert found["route"] == "proxy"


@pytest.mark.parametrize(("name", "route"), [("127.0.0.1", "direct"), ("hub.test", "kernel")])
def test_voila_alone_has_no_proxy(voila: Voila, chromium: Chromium, name: str, route: str) -> None:
    found, _ = steer(voila, chromium, f"alone-{route}", "film.mp4", name, steering=STEER_BESIDE)
    assert found["route"] == route
