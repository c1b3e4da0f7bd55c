"""Fixtures of the browser tests; without a Chromium they skip and say so.

One Chromium and one server of each kind serve all tests of a group, which run one after another in
one process. Each test has pages and kernels of its own.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import CHROMIUM_ARGUMENTS, Chromium, Lab, find_chromium, needed
from tests.deadline import DEADLINE_S

HOSTS = ("lab", "bare", "notebook7", "voila", "hub")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let those that share a server run in one process."""
    assert isinstance(item, pytest.Function)
    host = next((name for name in HOSTS if name in item.fixturenames), "page")
    item.add_marker(pytest.mark.xdist_group(host))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave all out but the quickstart, where the machine is too slow for more."""
    if os.environ.get("VIDNB_TEST_BROWSER") == "quickstart":
        folder = Path(__file__).parent
        kept = [i for i in items if i.path.parent != folder or i.path.stem == "test_quickstart"]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(autouse=True)
def blocking_is_fine_here(no_blocking_call_on_an_event_loop: BlockBuster) -> Iterator[None]:
    """Playwright's synchronous API runs each test inside a loop of its own, where it may block."""
    no_blocking_call_on_an_event_loop.deactivate()
    yield
    no_blocking_call_on_an_event_loop.activate()


@pytest.fixture(scope="package")
def ends() -> list[Callable[[], None]]:
    """What ends all that one test has opened."""
    return []


@pytest.fixture(autouse=True)
def nothing_stays_open(
    request: pytest.FixtureRequest, ends: list[Callable[[], None]]
) -> Iterator[None]:
    """Close a test's pages and end its kernels, unless its module's tests share one page."""
    yield
    if "page" not in request.fixturenames:
        for end in ends:
            end()


# For this folder alone: while it lives, a loop runs in this thread, where later tests need none.
@pytest.fixture(scope="package")
def chromium(ends: list[Callable[[], None]]) -> Iterator[Chromium]:
    missing = "no Chromium on this machine (Debian: apt-get install chromium)"
    path = needed(find_chromium(), missing)
    expect.set_options(timeout=1000 * DEADLINE_S)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        chromium = Chromium(browser)
        ends.append(chromium.close_pages)
        yield chromium
        browser.close()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, ends: list[Callable[[], None]]) -> Iterator[Lab]:
    """JupyterLab with jupyter-server-proxy."""
    shown = "--LabApp.expose_app_in_browser=True"
    with Lab(tmp_path_factory.mktemp("lab"), "--ServerApp.allow_remote_access=True", shown) as lab:
        ends.append(lab.end_kernels)
        yield lab
