"""A real JupyterLab and a real Chromium, started and ended by the tests."""

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
from playwright.sync_api import Browser, Page

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
    # A name that is not loopback's, for a page that comes from afar as far as it can tell.
    # And whose styles Voila would fetch.
    "--host-resolver-rules=MAP hub.test 127.0.0.1, MAP cdn.jsdelivr.net ~NOTFOUND",
]


def find_chromium() -> str | None:
    """Return where a Chromium is installed, None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def needed(program: str | None, missing: str) -> str:
    """Return where a program is; without it the test skips and says so, and fails in CI."""
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return program


def write_notebook(path: Path, *cells: str, kernel: str = "python3") -> None:
    """Write a notebook of these code cells, for one of the kernels for Python."""
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
    """A browser whose pages have time enough."""

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


class Started(ABC):
    """A server on loopback that runs while the block does, in a process group of its own.

    What it keeps lies beside `root`, the folder it serves: `private` is empty at the beginning.
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
        """Return what starts it."""

    def environment(self) -> dict[str, str]:
        """Return what of its environment is its own."""
        private = self.private
        return {
            "JUPYTER_CONFIG_DIR": str(private / "config"),
            "JUPYTER_DATA_DIR": str(private / "data"),
            "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        }

    def sign_of_life(self) -> str:
        """Return an address that answers once it has started."""
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
            with suppress(OSError), urllib.request.urlopen(self.sign_of_life(), timeout=5):
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
        with suppress(ProcessLookupError):  # whatever of it is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(15)
        self._log.close()


class Lab(Started):
    """JupyterLab; settings and workspaces are its own and empty."""

    application = "jupyterlab"

    def __init__(self, root: Path, *arguments: str) -> None:
        super().__init__(root)
        self.token = secrets.token_hex(16)
        self._arguments = arguments

    def command(self) -> list[str]:
        """Return what starts it."""
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

    def sign_of_life(self) -> str:
        """Return an address that answers once it has started."""
        return f"http://127.0.0.1:{self.port}/api/status?token={self.token}"

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the address that opens one notebook, in a workspace of its own.

        In another one, the notebooks of earlier tests would be opened again.
        """
        where = f"lab/workspaces/{workspace or Path(notebook).stem}/tree"
        return f"http://{host}:{self.port}/{where}/{notebook}?token={self.token}"

    def add_kernel(self, name: str, environment: dict[str, str]) -> None:
        """Add a kernel that has these variables in its environment, for notebooks that name it."""
        folder = self.private / "data" / "kernels" / name
        folder.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": start, "display_name": KERNEL, "language": "python", "env": environment}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")

    def end_kernels(self) -> None:
        """Shut down the kernels of all notebooks."""
        for session in json.loads(self._ask("api/sessions")):
            self._ask(f"api/sessions/{session['id']}", "DELETE")

    def _ask(self, path: str, method: str = "GET") -> bytes:
        head = {"Authorization": f"token {self.token}"}
        url = f"http://127.0.0.1:{self.port}/{path}"
        asked = urllib.request.Request(url, headers=head, method=method)
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
            return bytes(answer.read())

    def run_all(self, page: Page) -> None:
        """Run all cells of the notebook that a page opens."""
        run_all(page)


def run_all(page: Page) -> None:
    """Run all cells of the notebook that JupyterLab opens in a page."""
    page.locator(".jp-NotebookPanel").wait_for()
    page.get_by_text(f"{KERNEL} | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
