"""JupyterLab and Chromium, started and ended by the tests."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.deadline import DEADLINE_S
from tests.network import free_port

KERNEL = "Python 3 (ipykernel)"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # hub.test is a host name other than loopback's, as on a hub. Voila loads styles from the CDN.
    "--host-resolver-rules=MAP hub.test 127.0.0.1, MAP cdn.jsdelivr.net ~NOTFOUND",
]


def find_chromium() -> str | None:
    """Return the path of Chromium, None if it is not installed."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def require_program(program: str | None, missing: str) -> str:
    """Return the path of a program; if it is None, skip the test, or fail it in CI."""
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return program


def write_notebook(path: Path, *cells: str, kernel: str = "python3") -> None:
    """Write a notebook of code cells for a kernel."""
    code: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
    }
    book = {
        "cells": [{**code, "id": f"cell-{n}", "source": text} for n, text in enumerate(cells)],
        "metadata": {"kernelspec": {"name": kernel, "display_name": KERNEL, "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(book), encoding="utf-8")


class Chromium:
    """A browser whose pages have generous timeouts."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def new_page(self, **options: Any) -> Page:
        """Open an empty page; the options are Playwright's."""
        page = self._browser.new_page(**options)
        page.set_default_timeout(1000 * DEADLINE_S)
        return page

    def close_pages(self) -> None:
        """Close all pages."""
        for context in self._browser.contexts:
            context.close()


def record_errors(page: Page, errors: list[str]) -> None:
    """Append the console errors and the uncaught errors of a page to a list."""

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))


class ServerProcess(ABC):
    """A server on loopback that runs inside the `with` block, in its own process group.

    It serves the folder `root`; its own files are in the folder `private`, empty at first.
    """

    application = ""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.private = root.parent / f"{root.name}-jupyter"
        self.private.mkdir()
        self.log_path = self.private / "server.log"
        notices = self.private / "settings" / "@jupyterlab" / "apputils-extension"
        notices.mkdir(parents=True)
        (notices / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables to set."""
        private = self.private
        return {
            "JUPYTER_CONFIG_DIR": str(private / "config"),
            "JUPYTER_DATA_DIR": str(private / "data"),
            "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        }

    def health_url(self) -> str:
        """Return a URL that responds once the server has started."""
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self._log = self.log_path.open("wb")
        self._process = subprocess.Popen(
            self.command(),
            env={**os.environ, **self.environment()},
            cwd=self.private,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(self.health_url(), timeout=5):
                return self
            time.sleep(0.2)
        self.__exit__(None, None, None)
        raise RuntimeError(f"{self.application} did not start: {self.log_path.read_text()[-2000:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        with suppress(ProcessLookupError):  # remaining processes of the group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(15)
        self._log.close()


class Lab(ServerProcess):
    """JupyterLab with empty settings and workspaces."""

    application = "jupyterlab"

    def __init__(self, root: Path, *arguments: str) -> None:
        super().__init__(root)
        self.token = secrets.token_hex(16)
        self._arguments = arguments

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            sys.executable,
            "-m",
            self.application,
            "--no-browser",
            "--allow-root",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}",
            *self._arguments,
        ]

    def health_url(self) -> str:
        """Return a URL that responds once the server has started."""
        return f"http://127.0.0.1:{self.port}/api/status?token={self.token}"

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the URL that opens a notebook in its own workspace.

        A shared workspace would open the notebooks of earlier tests again.
        """
        path = f"lab/workspaces/{workspace or Path(notebook).stem}/tree"
        return f"http://{host}:{self.port}/{path}/{notebook}?token={self.token}"

    def add_kernel(self, name: str, environment: dict[str, str]) -> None:
        """Add a kernel specification with environment variables."""
        folder = self.private / "data" / "kernels" / name
        folder.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": start, "display_name": KERNEL, "language": "python", "env": environment}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")

    def end_kernels(self) -> None:
        """Shut down the kernels of all notebooks."""
        for session in json.loads(self._request("api/sessions")):
            self._request(f"api/sessions/{session['id']}", "DELETE")

    def _request(self, path: str, method: str = "GET") -> bytes:
        head = {"Authorization": f"token {self.token}"}
        url = f"http://127.0.0.1:{self.port}/{path}"
        request = urllib.request.Request(url, headers=head, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            return bytes(response.read())

    def run_all(self, page: Page) -> None:
        """Run all cells of the open notebook."""
        run_all(page)


def run_all(page: Page) -> None:
    """Run all cells of the notebook that is open in JupyterLab."""
    page.locator(".jp-NotebookPanel").wait_for()
    page.get_by_text(f"{KERNEL} | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
