"""Third-party web servers over a folder of a test, by name in `SERVERS`.

Each server runs as a process on a free loopback port with its own configuration, and ends with its
block. A test of a server that is not installed is skipped, or fails in CI.
"""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.deadline import DEADLINE_S
from tests.network import free_port

__all__ = ["SERVERS", "Sent", "Server", "Trust", "nginx", "open_folder", "python_server"]

_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"


class Trust:
    """A certificate for 127.0.0.1 and the authority behind it, as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self._certificate = authority.issue_cert("127.0.0.1")
        self.authority_file = folder / "authority.pem"
        self.file = folder / "server.pem"
        authority.cert_pem.write_to_path(self.authority_file)
        self._certificate.private_key_and_cert_chain_pem.write_to_path(self.file)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which a program trusts the certificate."""
        return {"SSL_CERT_FILE": str(self.authority_file)}

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of the server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._certificate.configure_cert(context)
        return context


@dataclass(frozen=True, slots=True)
class Sent:
    """One response in a log: its status, the size of its body and the requested Range."""

    status: int
    size_bytes: int
    range: str | None


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: `base` is `http://127.0.0.1:port`, or https; `log` is nginx's."""

    base: str
    port: int
    log: Path | None = None

    @property
    def sent(self) -> list[Sent]:
        """The responses in the order in which they ended."""
        assert self.log is not None
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        return [
            Sent(int(status), int(size_bytes), None if range_ == "-" else range_)
            for status, size_bytes, range_ in lines
        ]


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that every user may read: some servers drop root privileges."""
    with tempfile.TemporaryDirectory(prefix="vidnb-www-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


NGINX = """
daemon off; master_process off; pid {scratch}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    log_format sent '$status $body_bytes_sent $http_range'; access_log {scratch}/sent.log sent;
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    types {{ video/mp4 mp4; }} sendfile on;
    server {{ listen 127.0.0.1:{port} {tls} sndbuf=64k; root {folder}; limit_rate {rate}; {keys} }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, *, rate: str = "0", trust: Trust | None = None) -> Iterator[Server]:
    """Run nginx, at `rate` per connection ("3m": 3 MiB/s; "0": unlimited), with TLS by `trust`."""
    program, port = _find("nginx", "nginx-light"), free_port()
    with _scratch() as scratch:
        config = NGINX.format(
            scratch=scratch,
            port=port,
            folder=folder,
            rate=rate,
            tls="ssl" if trust else "",
            keys=f"ssl_certificate {trust.file}; ssl_certificate_key {trust.file};"
            if trust
            else "",
        )
        (scratch / "nginx.conf").write_text(config)
        command = [program, "-p", str(scratch), "-c", str(scratch / "nginx.conf"), "-e", "stderr"]
        with _running(command, port, scratch):
            scheme = "https" if trust else "http"
            yield Server(f"{scheme}://127.0.0.1:{port}", port, scratch / "sent.log")


CADDY = """
{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    root * {folder}
    file_server
}}
"""


@contextlib.contextmanager
def caddy(folder: Path) -> Iterator[Server]:
    program, port = _find("caddy", "caddy"), free_port()
    with _scratch() as scratch:
        config = scratch / "Caddyfile"
        config.write_text(CADDY.format(port=port, folder=folder))
        with _running([program, "run", "--config", str(config)], port, scratch):
            yield Server(f"http://127.0.0.1:{port}", port)


APACHE = """
ServerRoot {scratch}
ServerName 127.0.0.1
DefaultRuntimeDir {scratch}
PidFile {scratch}/apache.pid
ErrorLog {scratch}/apache.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule mime_module {modules}/mod_mime.so
TypesConfig /dev/null
AddType video/mp4 .mp4
DocumentRoot {folder}
<Directory {folder}>
    Require all granted
</Directory>
{user}
"""
APACHE_MODULES = Path("/usr/lib/apache2/modules")


@contextlib.contextmanager
def apache(folder: Path) -> Iterator[Server]:
    program, port = _find("apache2", "apache2-bin"), free_port()
    with _scratch() as scratch:
        config = APACHE.format(
            scratch=scratch,
            port=port,
            folder=folder,
            modules=APACHE_MODULES,
            user="User nobody\nGroup nogroup" if os.geteuid() == 0 else "",  # it refuses root
        )
        (scratch / "apache.conf").write_text(config)
        command = [program, "-f", str(scratch / "apache.conf"), "-D", "FOREGROUND"]
        with _running(command, port, scratch):
            yield Server(f"http://127.0.0.1:{port}", port)


# Its cache keeps a file's ETag for a second and would send it with the bytes of a new version.
LIGHTTPD = """
server.stat-cache-engine = "disable"
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}"
mimetype.assign = ( ".mp4" => "video/mp4" )
"""


@contextlib.contextmanager
def lighttpd(folder: Path) -> Iterator[Server]:
    program, port = _find("lighttpd", "lighttpd"), free_port()
    with _scratch() as scratch:
        config = scratch / "lighttpd.conf"
        config.write_text(LIGHTTPD.format(port=port, folder=folder))
        with _running([program, "-D", "-f", str(config)], port, scratch):
            yield Server(f"http://127.0.0.1:{port}", port)


@contextlib.contextmanager
def python_server(folder: Path) -> Iterator[Server]:
    """Run the standard library's server, which does not support ranges."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with _scratch() as scratch, _running([*command, "-d", str(folder)], port, scratch):
        yield Server(f"http://127.0.0.1:{port}", port)


AIOHTTP = """
import sys
from aiohttp import web
folder, port = sys.argv[1:]
app = web.Application()
app.router.add_static("/", folder)
web.run_app(app, host="127.0.0.1", port=int(port), print=None, shutdown_timeout=0)
"""
QUART = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, send_file
folder, port = sys.argv[1:]
app = Quart("films")

@app.get("/<name>")
async def film(name):
    return await send_file(f"{folder}/{name}", conditional=True)

config = Config()
config.bind = [f"127.0.0.1:{port}"]
config.graceful_timeout = 0
asyncio.run(serve(app, config))
"""


@contextlib.contextmanager
def _program(code: str, folder: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-c", code, str(folder), str(port)]
    with _scratch() as scratch, _running(command, port, scratch):
        yield Server(f"http://127.0.0.1:{port}", port)


def aiohttp_server(folder: Path) -> AbstractContextManager[Server]:
    """Run aiohttp's static files, which ignore an ETag in If-Range (3.14.5)."""
    return _program(AIOHTTP, folder)


def quart_server(folder: Path) -> AbstractContextManager[Server]:
    """Run Quart's `send_file(conditional=True)` under hypercorn."""
    return _program(QUART, folder)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "nginx": nginx,
    "caddy": caddy,
    "apache": apache,
    "lighttpd": lighttpd,
    "http.server": python_server,
    "aiohttp": aiohttp_server,
    "quart": quart_server,
}


def _find(name: str, package: str) -> str:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}")
    if program is None:
        missing = f"no {name} on this machine (Debian: apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return program


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vidnb-server-") as name:
        yield Path(name)


@contextlib.contextmanager
def _running(command: list[str], port: int, scratch: Path) -> Iterator[None]:
    """Run a server during the block, which starts once the port is open."""
    # Keep its files out of the home folder of the user.
    homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(scratch))
    output = scratch / "output.log"
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env={**os.environ, **homes},
            stdout=out,
            stderr=out,
            start_new_session=True,  # so that its workers end with it
        )
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline_s, output.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # Apache would wait for every connection
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
