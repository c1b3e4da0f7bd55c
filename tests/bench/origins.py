"""The origins of the benchmarks, nginx and one that sends smoothly, and their files."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SLOW_RATE = 10_000_000  # B/s and connection
SMALL = {"large": (200, 256), "tiny": (1000, 32)}  # name: number of files, KiB each
READY_S = 10.0

NGINX = """
{user}
worker_processes 1; daemon off; pid {own}/nginx.pid; error_log {own}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on;
    client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/f;
    uwsgi_temp_path {own}/u; scgi_temp_path {own}/s;
    server {{
        listen {host}:{plain_port};
        {tls}
        root {root}/www;
        location /slow.bin {{ limit_rate {slow_rate}; }}
        location /resume.bin {{ if (-f {root}/slow) {{ set $limit_rate {slow_resume_rate}; }} }}
    }}
}}
"""
TLS = """
listen {host}:{tls_port} ssl; ssl_certificate {root}/server.pem;
ssl_certificate_key {root}/server.key;
"""
CERTIFY = """
import sys, trustme
folder = sys.argv[1]
ca = trustme.CA()
server = ca.issue_cert("127.0.0.1", "localhost")
ca.cert_pem.write_to_path(folder + "/ca.pem")
server.private_key_pem.write_to_path(folder + "/server.key")
for number, blob in enumerate(server.cert_chain_pems):
    blob.write_to_path(folder + "/server.pem", append=number > 0)
"""


@dataclass
class Files:
    """The served folder."""

    root: Path
    mib: int
    sha256: str = ""

    @property
    def www(self) -> Path:
        """The folder of the files."""
        return self.root / "www"

    @property
    def ca(self) -> Path:
        """The certificate to trust; missing without trustme."""
        return self.root / "ca.pem"

    @property
    def slow_marker(self) -> Path:
        """While this file exists, `resume.bin` is sent at an eighth of its size a second."""
        return self.root / "slow"


def make_files(root: Path, mib: int, *, with_small: bool) -> Files:
    """Write the served files: one of `mib` MiB, one of a quarter, many small ones."""
    files = Files(root, mib)
    files.www.mkdir()
    sha256 = hashlib.sha256()
    with (files.www / "file.bin").open("wb") as whole, (files.www / "slow.bin").open("wb") as slow:
        for number in range(mib):
            piece = os.urandom(2**20)
            sha256.update(piece)
            whole.write(piece)
            if number < max(1, mib // 4):
                slow.write(piece)
    files.sha256 = sha256.hexdigest()
    (files.www / "resume.bin").hardlink_to(files.www / "file.bin")
    for name, (count, kib) in SMALL.items() if with_small else ():
        (files.www / name).mkdir()
        for number in range(count):
            (files.www / name / f"{number:04}.bin").write_bytes(os.urandom(kib * 2**10))
    os.sync()  # later write-back would slow the first rounds
    return files


def certify(files: Files) -> str:
    """Create the certificates; return the reason if that is impossible."""
    # In a separate process, because the imports would raise this one's peak memory (see `measure`).
    made = subprocess.run(
        [sys.executable, "-c", CERTIFY, str(files.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if made.returncode == 0 else "trustme is not installed"


@dataclass(frozen=True)
class Nginx:
    """A running nginx."""

    host: str
    plain_port: int
    tls_port: int

    def plain(self, name: str) -> str:
        """Return the URL of a file."""
        return f"http://{self.host}:{self.plain_port}/{name}"

    def tls(self, name: str) -> str:
        """Return the URL of a file over TLS."""
        return f"https://{self.host}:{self.tls_port}/{name}"


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextlib.contextmanager
def nginx(files: Files, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[Nginx]:
    """Run nginx on `host`, started through `prefix`."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    plain_port, tls_port = free_ports(2)
    own = files.root / f"nginx-{plain_port}"
    own.mkdir()
    tls = TLS.format(host=host, tls_port=tls_port, root=files.root) if files.ca.exists() else ""
    (own / "nginx.conf").write_text(
        NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            own=own,
            root=files.root,
            host=host,
            plain_port=plain_port,
            tls=tls,
            slow_rate=SLOW_RATE,
            slow_resume_rate=max(1, files.mib // 8) * 2**20,
        )
    )
    command = [program, "-p", str(own), "-c", str(own / "nginx.conf")]
    with running([*prefix, *command], host, plain_port):
        yield Nginx(host, plain_port, tls_port)


@contextlib.contextmanager
def smooth(files: Files, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[str]:
    """Run the origin that sends smoothly; yield the URL of its file."""
    (port,) = free_ports(1)
    program = Path(__file__).with_name("smooth_origin.py")
    slow = files.www / "slow.bin"
    command = [sys.executable, str(program), host, str(port), str(slow), str(SLOW_RATE)]
    with running([*prefix, *command], host, port):
        yield f"http://{host}:{port}/slow.bin"


@contextlib.contextmanager
def running(
    command: Sequence[str],
    host: str,
    port: int,
    env: Mapping[str, str] | None = None,
    log: IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a server; the block begins when it accepts connections."""
    with subprocess.Popen(command, text=True, env=env, stderr=log) as server:
        try:
            deadline_s = time.monotonic() + READY_S
            while not _accepts(host, port):
                if server.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"{command[0]} does not accept connections on {host}:{port}")
                time.sleep(0.05)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)


def _accepts(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
