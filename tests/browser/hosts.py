"""Notebook hosts other than JupyterLab, for `tests.browser.cells.Open`."""

import sys

from playwright.sync_api import Page

from tests.browser.lab import Lab, ServerProcess
from tests.deadline import wait_until


class Notebook7(Lab):
    """Jupyter Notebook 7."""

    application = "notebook"

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the URL that opens a notebook."""
        return f"http://{host}:{self.port}/notebooks/{notebook}?token={self.token}"

    def run_all(self, page: Page) -> None:
        """Run all cells of the open notebook."""
        page.locator(".jp-NotebookPanel").wait_for()
        _wait_for_kernel(page, f"http://127.0.0.1:{self.port}/api/kernels?token={self.token}")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()


def _wait_for_kernel(page: Page, url: str) -> None:
    """Wait until the page is connected to its kernel, which Notebook 7 shows only as an icon.

    Before that, Run All Cells does nothing.
    """

    def is_connected() -> bool:
        kernels = page.request.get(url).json()
        return any(k["connections"] and k["execution_state"] == "idle" for k in kernels)

    wait_until(is_connected, pause=lambda: page.wait_for_timeout(100))


class VoilaExtension:
    """Voila as an extension of a Jupyter server."""

    def __init__(self, server: Lab) -> None:
        self._server = server
        self.root = server.root

    def url(self, notebook: str, host: str, workspace: str) -> str:
        """Return the URL that runs and shows a notebook."""
        base_url = f"http://{host}:{self._server.port}/voila/render"
        return f"{base_url}/{notebook}?token={self._server.token}"

    def run_all(self, page: Page) -> None:
        """Do nothing: Voila runs all cells before it shows the page."""


class Voila(ServerProcess):
    """Voila as a standalone server."""

    application = "voila"

    def command(self) -> list[str]:
        """Return the command line."""
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
        """Return the URL that runs and shows a notebook."""
        return f"http://{host}:{self.port}/voila/render/{notebook}"

    def run_all(self, page: Page) -> None:
        """Do nothing: Voila runs all cells before it shows the page."""
