"""Fixtures of the browser tests; without Chromium the tests are skipped.

The tests of one group share a Chromium and a notebook server, and run in one worker process. Each
test has its own pages and kernels.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import CHROMIUM_ARGUMENTS, Chromium, Lab, find_chromium, require_program
from tests.deadline import DEADLINE_S

HOSTS = ("lab", "bare", "notebook7", "voila", "hub")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run the tests that share a server in one worker process."""
    assert isinstance(item, pytest.Function)
    host = next((name for name in HOSTS if name in item.fixturenames), "page")
    item.add_marker(pytest.mark.xdist_group(host))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect all browser tests but the quickstart if `VIDNB_TEST_BROWSER` is "quickstart"."""
    if os.environ.get("VIDNB_TEST_BROWSER") == "quickstart":
        folder = Path(__file__).parent
        selected = [i for i in items if i.path.parent != folder or i.path.stem == "test_quickstart"]
        config.hook.pytest_deselected(items=[item for item in items if item not in selected])
        items[:] = selected


@pytest.fixture(autouse=True)
def allow_blocking_calls(no_blocking_call_on_an_event_loop: BlockBuster) -> Iterator[None]:
    """Playwright's synchronous API runs each test inside an event loop, where it may block."""
    no_blocking_call_on_an_event_loop.deactivate()
    yield
    no_blocking_call_on_an_event_loop.activate()


@pytest.fixture(scope="package")
def cleanups() -> list[Callable[[], None]]:
    """The functions that close the pages and kernels of a test."""
    return []


@pytest.fixture(autouse=True)
def close_pages_and_kernels(
    request: pytest.FixtureRequest, cleanups: list[Callable[[], None]]
) -> Iterator[None]:
    """Close the pages and kernels of a test, unless the tests of its module share one page."""
    yield
    if "page" not in request.fixturenames:
        for cleanup in cleanups:
            cleanup()


# Of package scope: Playwright's event loop runs in this thread until the fixture ends.
@pytest.fixture(scope="package")
def chromium(cleanups: list[Callable[[], None]]) -> Iterator[Chromium]:
    missing = "Chromium is not installed (Debian: apt-get install chromium)"
    path = require_program(find_chromium(), missing)
    expect.set_options(timeout=1000 * DEADLINE_S)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        chromium = Chromium(browser)
        cleanups.append(chromium.close_pages)
        yield chromium
        browser.close()


@pytest.fixture(scope="package")
def lab(
    tmp_path_factory: pytest.TempPathFactory, cleanups: list[Callable[[], None]]
) -> Iterator[Lab]:
    """JupyterLab with jupyter-server-proxy."""
    exposed = "--LabApp.expose_app_in_browser=True"
    with Lab(
        tmp_path_factory.mktemp("lab"), "--ServerApp.allow_remote_access=True", exposed
    ) as lab:
        cleanups.append(lab.end_kernels)
        yield lab
