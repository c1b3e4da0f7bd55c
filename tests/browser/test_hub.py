"""The player on JupyterHub behind its proxy, where no page comes from loopback."""

from collections.abc import Iterator

import pytest

from tests.assets import film
from tests.browser.cells import CONTROL, SHOW, OpenNotebook, check_report, copy_file, play_and_seek
from tests.browser.hub import WITHOUT_PROXY, Hub, HubUser
from tests.browser.lab import Chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    copy_file(film(), root / "film.mp4")
    with Hub(root) as hub:
        yield hub


def test_a_hub_with_jupyter_server_proxy_uses_the_proxy_route(hub: Hub, chromium: Chromium) -> None:
    found, notebook = play_and_seek(HubUser(hub, "ann"), chromium, "ann", "film.mp4", "hub.test")
    assert found["route"] == "proxy"
    assert all(f"hub.test:{hub.port}/user/ann/proxy/" in url for url in notebook.media)


def test_a_hub_without_jupyter_server_proxy_uses_files_or_the_kernel(
    hub: Hub, chromium: Chromium
) -> None:
    """A file below the server's root comes by `/files/`, another one by the kernel channel."""
    outside = SHOW.format(path=str(film()), route="auto").strip("\n")
    cells = [SHOW.format(path="film.mp4", route="auto"), CONTROL, outside, CONTROL]
    notebook = OpenNotebook(HubUser(hub, WITHOUT_PROXY), chromium, "plain", cells, "hub.test")
    found = check_report(notebook)
    assert found["route"] == "files"
    assert found["tried"]["proxy"] == "status 404"
    found = check_report(notebook, 1)
    assert found["route"] == "kernel"
