"""Other hosts of notebooks than JupyterLab, as `tests.browser.cells.Open` needs them."""

import sys

from playwright.sync_api import Page

from tests.browser.lab import Lab, Started
from tests.deadline import wait_until


class Notebook7(Lab):
    """Jupyter Notebook 7, and what else its server shows."""

    application = "notebook"

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the address that opens one notebook."""
        return f"http://{host}:{self.port}/notebooks/{notebook}?token={self.token}"

    def run_all(self, page: Page) -> None:
        """Run all cells of the notebook that a page opens."""
        page.locator(".jp-NotebookPanel").wait_for()
        _wait_for_kernel(page, f"http://127.0.0.1:{self.port}/api/kernels?token={self.token}")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()


def _wait_for_kernel(page: Page, kernels: str) -> None:
    """Wait until the page is connected to its kernel, which Notebook 7 shows only as an icon.

    Told to run before, it would do nothing and say nothing.
    """

    def is_connected() -> bool:
        found = page.request.get(kernels).json()
        return any(one["connections"] and one["execution_state"] == "idle" for one in found)

    wait_until(is_connected, pause=lambda: page.wait_for_timeout(100))


class VoilaBeside:
    """Voila as a Jupyter server shows it beside all else."""

    def __init__(self, server: Lab) -> None:
        self._server = server
        self.root = server.root

    def url(self, notebook: str, host: str, workspace: str) -> str:
        """Return the address that runs and shows one notebook."""
        there = f"http://{host}:{self._server.port}/voila/render"
        return f"{there}/{notebook}?token={self._server.token}"

    def run_all(self, page: Page) -> None:
        """Do nothing: Voila has run them when it shows them."""


class Voila(Started):
    """Voila alone, without a Jupyter server."""

    application = "voila"

    def command(self) -> list[str]:
        """Return what starts it."""
        return [
            sys.executable,
            "-m",
            self.application,
            str(self.root),
            "--no-browser",
            f"--port={self.port}",
            "--port_retries=0",
            "--Voila.ip=127.0.0.1",
            "--show_tracebacks=True",
        ]

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the address that runs and shows one notebook."""
        return f"http://{host}:{self.port}/voila/render/{notebook}"

    def run_all(self, page: Page) -> None:
        """Do nothing: Voila has run them when it shows them."""
