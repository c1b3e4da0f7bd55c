"""The servers that are compared: started on one core, and their CPU time and memory.

nginx runs without `tcp_nopush`, which delays the end of a response on a persistent connection by
40 ms here, and without a limit of requests for each connection. Every Python server runs on a
thread beside its main thread, as a server in a notebook does.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.origins import Files, free_ports, running
from tests.bench.range_client import Probe

HOST = "127.0.0.1"
OURS, NGINX = "vidnb", "nginx"
PYTHON = {
    OURS: ("vidnb", "vidnb"),
    "aiohttp FileResponse": ("aiohttp", "aiohttp"),
    "Starlette on uvicorn": ("starlette", "starlette", "uvicorn"),
    "Tornado": ("tornado", "tornado"),
    "Quart on Hypercorn": ("quart", "quart", "hypercorn"),
    "RangeHTTPServer": ("rangehttpserver", "RangeHTTPServer"),
}
"""For each, its name in `python_servers.py` and the modules that it imports."""

NGINX_CONF = """
{user}
worker_processes 1; daemon off; pid {own}/nginx.pid; error_log {own}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000; default_type video/mp4;
    client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/f;
    uwsgi_temp_path {own}/u; scgi_temp_path {own}/s;
    server {{ listen {host}:{port}; root {www}; }}
}}
"""


@dataclass
class Server:
    """One running server, or the reason why it does not run."""

    name: str
    missing: str = ""
    failed: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def is_python(self) -> bool:
        """Whether it is a server in Python."""
        return self.name in PYTHON

    def probe(self, path: Path) -> Probe:
        """Return the client for one of its files."""
        return Probe(self.urls[path.name], path)

    def pids(self) -> list[int]:
        """Return its processes."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found += [int(child) for child in children]
        return found

    def cpu_s(self) -> float:
        """Return the CPU seconds of its processes so far, ended threads included."""
        return sum(time.clock_gettime(_cpu_clock(pid)) for pid in self.pids())

    def memory_mib(self, line: str = "VmRSS") -> float:
        """Return the memory of its processes now, or its maximum (`VmHWM`) (MiB)."""
        return sum(_status_kib(pid, line) for pid in self.pids()) / 1024

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Let its main thread compute in pure Python until the end of the block."""
        self._send("busy")
        try:
            yield
        finally:
            self._send("idle")

    def _send(self, command: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()


def _cpu_clock(pid: int) -> int:
    return ~pid << 3 | 2  # what clock_getcpuclockid(3) returns on Linux


def _status_kib(pid: int, line: str) -> int:
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith(f"{line}:"):
            return int(text.split()[1])
    return 0


def start_all(
    files: Files, paths: list[Path], core: int, env: Mapping[str, str], stack: ExitStack
) -> list[Server]:
    """Start every server that is installed, each on `core`, until the stack ends."""
    pinned = ["taskset", "-c", str(core)]
    servers = [_python(name, files, paths, pinned, env, stack) for name in PYTHON]
    return [*_others(files, paths, pinned, env, stack), *servers]


def _others(
    files: Files, paths: list[Path], pinned: list[str], env: Mapping[str, str], stack: ExitStack
) -> Iterator[Server]:
    own = files.root / "servers"
    own.mkdir()
    log = stack.enter_context((own / "log").open("w"))
    ports = dict(zip(("nginx", "caddy"), free_ports(2), strict=True))
    user = "user root;" if os.geteuid() == 0 else ""
    conf = own / "nginx.conf"
    conf.write_text(
        NGINX_CONF.format(user=user, own=own, host=HOST, port=ports["nginx"], www=files.www)
    )
    commands = {
        "nginx": ["-p", str(own), "-c", str(conf)],
        "caddy": ["file-server", "--root", str(files.www), "--listen", f"{HOST}:{ports['caddy']}"],
    }
    homes = {"XDG_CONFIG_HOME": str(own), "XDG_DATA_HOME": str(own)}
    for name, arguments in commands.items():
        program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        label = {"caddy": "Caddy"}.get(name, name)
        if program is None:
            yield Server(label, missing="not installed")
            continue
        command = [*pinned, program, *arguments]
        port = ports[name]
        process = stack.enter_context(running(command, HOST, port, env=dict(env) | homes, log=log))
        urls = {path.name: f"http://{HOST}:{port}/{path.name}" for path in paths}
        yield Server(label, urls=urls, process=process)


def _python(
    name: str,
    files: Files,
    paths: list[Path],
    pinned: list[str],
    env: Mapping[str, str],
    stack: ExitStack,
) -> Server:
    key, *modules = PYTHON[name]
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        return Server(name, missing=f"{missing[0]} is not installed")
    program = Path(__file__).with_name("python_servers.py")
    log = stack.enter_context((files.root / f"{key}.log").open("w"))
    port = free_ports(1)[0]
    process = stack.enter_context(
        subprocess.Popen(
            [*pinned, sys.executable, str(program), key, str(port), *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=env,
        )
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        return Server(name, missing="it did not start")
    urls = dict(zip([path.name for path in paths], json.loads(line), strict=True))
    return Server(name, urls=urls, process=process)
