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
from typing import Self

import pytest
from playwright.sync_api import Page

from tests.world import free_port

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


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of these code cells, for Python."""
    code: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
    }
    book = {
        "cells": [{**code, "id": f"cell-{n}", "source": text} for n, text in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(book), encoding="utf-8")


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
        deadline_s = time.monotonic() + 90
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

    def __init__(
        self, root: Path, environment: dict[str, str] | None = None, *arguments: str
    ) -> None:
        super().__init__(root)
        self.token = secrets.token_hex(16)
        self._environment = environment or {}
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

    def environment(self) -> dict[str, str]:
        """Return what of its environment is its own."""
        return {**super().environment(), **self._environment}

    def sign_of_life(self) -> str:
        """Return an address that answers once it has started."""
        return f"http://127.0.0.1:{self.port}/api/status?token={self.token}"

    def url(self, notebook: str, host: str = "127.0.0.1", workspace: str = "") -> str:
        """Return the address that opens one notebook, in a workspace of its own if it has a name.

        In another one, the notebooks of earlier tests would be opened again.
        """
        where = f"lab/workspaces/{workspace}/tree" if workspace else "lab/tree"
        return f"http://{host}:{self.port}/{where}/{notebook}?token={self.token}"

    def run_all(self, page: Page) -> None:
        """Run all cells of the notebook that a page opens."""
        run_all(page)


def run_all(page: Page) -> None:
    """Run all cells of the notebook that JupyterLab opens in a page."""
    page.locator(".jp-NotebookPanel").wait_for(timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
