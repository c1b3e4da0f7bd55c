"""A real film, from servers nobody here wrote, through twenty kills."""

import functools
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vidnb
from tests.world import film, free_port

KILLS = 20
CHILD = """
import sys, vidnb
result = vidnb.download(sys.argv[1], sys.argv[2], progress=False)
print(result.sha256)
"""
NGINX = """
{user}
worker_processes 1; daemon off; pid {root}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    log_format sent '$status $bytes_sent'; access_log {root}/access.log sent;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    types {{ video/mp4 mp4; }} sendfile on;
    server {{ listen 127.0.0.1:{port} sndbuf=64k; root {www}; limit_rate {rate}; }}
}}
"""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def nginx(root: Path, www: Path, rate: str = "0") -> Iterator[str]:
    """Run nginx over a folder; what it sent is in `root/access.log`."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx on this machine (Debian: apt-get install nginx-light)")
    port = free_port()
    config = root / "nginx.conf"
    # As root, nginx would read as a user who may not enter the test's folders.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(user=user, root=root, www=www, port=port, rate=rate))
    command = [program, "-p", str(root), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                if (root / "nginx.pid").exists():
                    break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/video.mp4"
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def python_server(www: Path) -> Iterator[str]:
    """Run the standard library's server, which answers no ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def copyfile(self, source: object, outputfile: object) -> None:
            try:
                super().copyfile(source, outputfile)  # type: ignore[arg-type]  # as it was called
            except OSError:
                self.close_connection = True  # the reader was killed, as it should be

    handler = functools.partial(Quiet, directory=str(www))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video.mp4"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def downloads_through_kills(url: str, target: Path, *, seed: int) -> str:
    """Run the child over and over, kill it at seeded moments, and return the last one's digest."""
    dice = random.Random(seed)
    command = [sys.executable, "-c", CHILD, url, str(target)]
    kills = 0
    while kills < KILLS:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            # From the moment its part file is open until a little after.
            moment_s = time.monotonic() + 20
            before = _kept_bytes(target)
            while child.poll() is None and time.monotonic() < moment_s:
                if _kept_bytes(target) != before:
                    break
                time.sleep(0.002)
            time.sleep(dice.random() * 0.12)
            child.send_signal(signal.SIGKILL)
            child.wait()
        kills += 1
        if target.exists():
            break
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def _kept_bytes(target: Path) -> int:
    return sum(p.stat().st_size for p in target.parent.glob(".vidnb/*.part"))


def test_from_nginx_and_from_a_server_without_ranges(tmp_path: Path) -> None:
    """22.7 MB, byte-identical from both."""
    video = film()
    digest = sha256(video)
    with nginx(tmp_path, video.parent) as url:
        assert vidnb.download(url, tmp_path / "a.mp4", progress=False).sha256 == digest
        several = vidnb.download(url, tmp_path / "b.mp4", connections=4, progress=False)
        assert several.sha256 == digest
        assert several.connections > 1
    with python_server(video.parent) as url:
        plain = vidnb.download(url, tmp_path / "c.mp4", connections=4, progress=False)
        assert plain.sha256 == digest
        assert plain.connections == 1
    assert {sha256(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")} == {digest}


def test_twenty_kills_with_nginx(tmp_path: Path) -> None:
    """Each run goes on where the last was killed: less than 1.3 times the file is sent in all."""
    video = film()
    target = tmp_path / "out" / "film.mp4"
    with nginx(tmp_path, video.parent, rate="12m") as url:
        assert downloads_through_kills(url, target, seed=1) == sha256(video)
    assert sha256(target) == sha256(video)
    lines = (tmp_path / "access.log").read_text().split()
    sent_bytes = sum(map(int, lines[1::2]))
    assert len(lines) // 2 > 5, "hardly a run was killed in the middle"
    assert sent_bytes < 1.3 * video.stat().st_size, sent_bytes / video.stat().st_size


def test_twenty_kills_without_ranges(tmp_path: Path) -> None:
    """Nothing can be resumed, and nothing is ever half there under the final name."""
    video = film()
    target = tmp_path / "out" / "film.mp4"
    with python_server(video.parent) as url:
        assert downloads_through_kills(url, target, seed=2) == sha256(video)
    assert sha256(target) == sha256(video)
