"""Fixtures of the browser tests; without a Chromium they skip and say so."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster
from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import CHROMIUM_ARGUMENTS, find_chromium, needed


@pytest.fixture(autouse=True)
def blocking_is_fine_here(no_blocking_call_on_an_event_loop: BlockBuster) -> Iterator[None]:
    """Playwright's synchronous API runs each test inside a loop of its own, where it may block."""
    no_blocking_call_on_an_event_loop.deactivate()
    yield
    no_blocking_call_on_an_event_loop.activate()


# For one module at a time: while it lives, a loop runs in this thread, where later tests need none.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    missing = "no Chromium on this machine (Debian: apt-get install chromium)"
    path = needed(find_chromium(), missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
