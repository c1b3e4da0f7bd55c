"""Downloads side by side with real peers, interleaved in one run, against a local nginx.

    python tests/bench/bench_download.py [--mib 1024] [--rounds 5] [--folder /tmp]

Every contestant runs in a process of its own, in turn, round after round, so that a machine whose
speed drifts is unfair to nobody. Python contestants are timed from call to return, the others as
whole processes less their start-up. vidnb's SHA-256 is always on; nobody else computes one. The
figures that count are the ratios.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

NGINX = """
{user}
worker_processes 1; daemon off; pid {root}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{ listen 127.0.0.1:{port}; root {root}/www; }}
}}
"""
TIMED = """
import json, resource, sys, time
{setup}
begun = time.perf_counter()
{call}
elapsed = time.perf_counter() - begun
print(json.dumps(elapsed))
"""
VIDNB = TIMED.format(
    setup="import vidnb\nurl, path = sys.argv[1:]\nvidnb.download",
    call="vidnb.download(url, path, progress=False)",
)
SEED = TIMED.format(
    setup="""
import asyncio, aiofiles, aiohttp
url, path = sys.argv[1:]
async def save():
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        async with aiofiles.open(path, "wb") as file:
            while chunk := await response.content.read(8192):
                await file.write(chunk)
""",
    call="asyncio.run(save())",
)


@dataclass
class Contestant:
    """One program: how to call it and what it took, round by round (s, s, MiB)."""

    name: str
    command: Callable[[str, Path], list[str]]
    is_timed_inside: bool = False
    start_up_s: float = 0.0
    elapsed_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    def run(self, url: str, path: Path) -> None:
        """Run once and note what it took."""
        path.unlink(missing_ok=True)
        shutil.rmtree(path.parent / ".vidnb", ignore_errors=True)
        begun_s = time.perf_counter()
        with subprocess.Popen(self.command(url, path), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        elapsed_s = time.perf_counter() - begun_s - self.start_up_s
        assert process.returncode == 0, f"{self.name} failed"
        self.elapsed_s.append(json.loads(said) if self.is_timed_inside else elapsed_s)
        self.cpu_s.append(usage.ru_utime + usage.ru_stime)
        self.peak_mib.append(usage.ru_maxrss / 1024)


def contestants(with_seed: bool) -> list[Contestant]:
    """Return everybody who is installed here."""
    python = sys.executable
    found = [
        Contestant(
            "vidnb", lambda url, path: [python, "-c", VIDNB, url, str(path)], is_timed_inside=True
        ),
    ]
    if shutil.which("curl"):
        found.append(Contestant("curl", lambda url, path: ["curl", "-s", "-o", str(path), url]))
    if shutil.which("aria2c"):
        found.append(
            Contestant(
                "aria2c",
                lambda url, path: [
                    "aria2c", "-q", "--file-allocation=none", "-d", str(path.parent),
                    "-o", path.name, url,
                ],
            )
        )  # fmt: skip
    if with_seed:
        found.append(
            Contestant(
                "seed loop",
                lambda url, path: [python, "-c", SEED, url, str(path)],
                is_timed_inside=True,
            )
        )
    for one in found:
        if not one.is_timed_inside:
            begun_s = time.perf_counter()
            subprocess.run([one.name, "--version"], stdout=subprocess.DEVNULL, check=True)
            one.start_up_s = time.perf_counter() - begun_s
    return found


def serve(root: Path, mib: int, stack: ExitStack) -> str:
    """Start nginx over a file of `mib` MiB and return its address."""
    (root / "www").mkdir()
    with (root / "www" / "file.bin").open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(2**20))
    port = 18000 + os.getpid() % 1000
    user = "user root;" if os.geteuid() == 0 else ""
    (root / "nginx.conf").write_text(NGINX.format(user=user, root=root, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    server = stack.enter_context(
        subprocess.Popen([program, "-p", str(root), "-c", str(root / "nginx.conf")])
    )
    stack.callback(server.terminate)
    time.sleep(1)
    return f"http://127.0.0.1:{port}/file.bin"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--seed-rounds", type=int, default=1, help="the slow one runs fewer times")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        url = serve(root, arguments.mib, stack)
        everybody = contestants(with_seed=arguments.seed_rounds > 0)
        for number in range(arguments.rounds):
            for one in everybody:
                if one.name != "seed loop" or number < arguments.seed_rounds:
                    one.run(url, root / "out" / "file.bin" if one.name == "vidnb" else root / "o")
                    shutil.rmtree(root / "out", ignore_errors=True)
                    print(f"  {number + 1} {one.name:10} {one.elapsed_s[-1]:7.2f} s", flush=True)
    vidnb = everybody[0]
    print(f"\n{arguments.mib} MiB, {arguments.rounds} rounds, interleaved")
    print("| | median s | best s | CPU s | peak MiB | vidnb's time by its (median, best) |")
    print("|---|---|---|---|---|---|")
    for one in everybody:
        median_s, best_s = statistics.median(one.elapsed_s), min(one.elapsed_s)
        ratios = (
            f"{statistics.median(vidnb.elapsed_s) / median_s:.2f},"
            f" {min(vidnb.elapsed_s) / best_s:.2f}"
        )
        print(
            f"| {one.name} | {median_s:.2f} | {best_s:.2f} | {statistics.median(one.cpu_s):.2f}"
            f" | {max(one.peak_mib):.0f} | {ratios} |"
        )


if __name__ == "__main__":
    main()
