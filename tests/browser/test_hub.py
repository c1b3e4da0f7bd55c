"""The player on a real JupyterHub behind its own proxy, where no page comes from loopback."""

from collections.abc import Iterator

import pytest

from tests.assets import film
from tests.browser.cells import SHOW, STEER, Open, copy_of, heard, steer
from tests.browser.hub import WITHOUT_PROXY, Hub, Person
from tests.browser.lab import Chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    copy_of(film(), root / "film.mp4")
    with Hub(root) as hub:
        yield hub


def test_a_hub_with_a_proxy(hub: Hub, chromium: Chromium) -> None:
    found, notebook = steer(Person(hub, "ann"), chromium, "ann", "film.mp4", "hub.test")
    assert found["route"] == "proxy"
    assert all(f"hub.test:{hub.port}/user/ann/proxy/" in url for url in notebook.media)


def test_a_hub_without_a_proxy(hub: Hub, chromium: Chromium) -> None:
    """By `/files/` a file below the server's root, by the kernel's channel any other."""
    elsewhere = SHOW.format(path=str(film()), route="auto").strip("\n")
    cells = [SHOW.format(path="film.mp4", route="auto"), STEER, elsewhere, STEER]
    notebook = Open(Person(hub, WITHOUT_PROXY), chromium, "plain", cells, "hub.test")
    found = heard(notebook)
    assert found["route"] == "files"
    assert found["tried"]["proxy"] == "status 404"
    found = heard(notebook, 1)
    assert found["route"] == "kernel"
