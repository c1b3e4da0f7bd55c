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
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

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
    "--host-resolver-rules=MAP hub.test 127.0.0.1",
]


def find_chromium() -> str | None:
    """Return where a Chromium is installed, None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


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


class Lab:
    """JupyterLab on loopback over `root`; settings and workspaces are its own and empty."""

    def __init__(
        self, root: Path, environment: dict[str, str] | None = None, *arguments: str
    ) -> None:
        self.root = root
        self.port = free_port()
        self.token = secrets.token_hex(16)
        private = root.parent / f"{root.name}-jupyter"
        private.mkdir()
        self.log_path = private / "server.log"
        self._log = self.log_path.open("wb")
        notices = private / "settings" / "@jupyterlab" / "apputils-extension"
        notices.mkdir(parents=True)
        (notices / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                f"--ServerApp.port={self.port}",
                "--ServerApp.port_retries=0",
                "--ServerApp.ip=127.0.0.1",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={root}",
                *arguments,
            ],
            env={
                **os.environ,
                "JUPYTER_CONFIG_DIR": str(private / "config"),
                "JUPYTER_DATA_DIR": str(private / "data"),
                "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
                "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
                "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
                **(environment or {}),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def url(self, notebook: str, host: str = "127.0.0.1") -> str:
        """Return the address that opens one notebook."""
        return f"http://{host}:{self.port}/lab/tree/{notebook}?token={self.token}"

    def __enter__(self) -> Self:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            with suppress(OSError):
                address = f"http://127.0.0.1:{self.port}/api/status?token={self.token}"
                with urllib.request.urlopen(address, timeout=5):
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        self.__exit__(None, None, None)
        raise RuntimeError(f"JupyterLab did not start: {self.log_path.read_text()[-2000:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(15)
        self._log.close()
