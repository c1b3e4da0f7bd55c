"""SIGKILL at any instant: nothing that was reported as stored is lost, or fetched again."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.engine.origin import Film, Origin, held, noise, spawn, strangers
from vidnb.core.spans import SpanSet

DATA = noise(20_000_000)
MOST = 1.3  # times the file's bytes may be sent in all
KILLS = 8

GET = """
import sys, vidnb
url, path, connections = sys.argv[1:]
vidnb.download(url, path, connections=int(connections), progress=False)
"""


def finish(url: str, target: Path, connections: int) -> None:
    child = spawn(GET, url, target, connections)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(DATA).digest()
    assert strangers(target.parent) == {target.name}
    assert [p.suffix for p in (target.parent / ".vidnb").iterdir()] == [".record"]


def kill(child: subprocess.Popen[str]) -> None:
    assert child.poll() is None, child.communicate()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()


@pytest.mark.parametrize("connections", [1, 4])
def test_killed_and_run_again(connections: int, tmp_path: Path) -> None:
    """Each next run begins where the journal ends, and the whole is sent little more than once."""
    random = Random(connections)
    target = tmp_path / "film.mp4"
    with Origin(Film(DATA), rate=4e6) as origin:
        stored = SpanSet()
        for _ in range(KILLS):
            asked = len(origin.requests)
            stop_bytes = origin.sent_bytes + random.randrange(int(1.2 * len(DATA) / KILLS))
            child = spawn(GET, origin.url, target, connections)
            origin.wait_for(partial(has_sent, origin, asked, stop_bytes))
            time.sleep(random.random() * 0.05)
            kill(child)
            asked_only_for_what_was_missing(origin, asked, stored)
            assert strangers(tmp_path) == set()
            journal = held(tmp_path)
            assert stored.size_bytes <= (journal.stored.size_bytes if journal else 0)
            stored = journal.stored if journal else stored
        asked, origin.rate = len(origin.requests), 20e6
        finish(origin.url, target, connections)
        asked_only_for_what_was_missing(origin, asked, stored)
        assert stored.size_bytes > len(DATA) / 10
        assert origin.sent_bytes < MOST * len(DATA)


def has_sent(origin: Origin, asked: int, least_bytes: int) -> bool:
    # Bytes to the child that was killed last are counted until its end is noticed.
    return len(origin.requests) > asked and origin.sent_bytes > least_bytes


def asked_only_for_what_was_missing(origin: Origin, first: int, stored: SpanSet) -> None:
    """No request of a run begins at a byte that was marked as stored before it."""
    starts = [int((asked or "bytes=0-")[6:].partition("-")[0]) for asked in origin.ranges[first:]]
    assert starts
    assert starts[0] == stored.run_from(0).stop
    assert not any(start in stored for start in starts)


@contextlib.contextmanager
def nginx(folder: Path, rate: str) -> Iterator[tuple[str, Path]]:
    """Serve `folder` by nginx; yields its address and its access log, a line per answer sent."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("there is no nginx here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scratch = folder / "nginx"
    scratch.mkdir()
    log = scratch / "sent.log"
    temporary = "".join(
        f"{kind}_temp_path {scratch / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (scratch / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {scratch}/pid; error_log {scratch}/error.log;
        events {{}}
        http {{
            log_format sent '$body_bytes_sent "$http_range"';
            access_log {log} sent;
            {temporary}
            server {{
                listen 127.0.0.1:{port} sndbuf=64k; root {folder}; limit_rate {rate}; etag on;
            }}
        }}
        """
    )
    process = subprocess.Popen(
        [program, "-c", str(scratch / "nginx.conf"), "-e", str(scratch / "error.log")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline_s, (scratch / "error.log").read_text()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait(10)


def test_killed_and_run_again_against_nginx(tmp_path: Path) -> None:
    """The same with a server that nobody here wrote."""
    random = Random(5)
    (tmp_path / "film.mp4").write_bytes(DATA)
    target = tmp_path / "out" / "film.mp4"
    with nginx(tmp_path, "3m") as (base, log):
        marked = [0]
        for _ in range(5):
            child = spawn(GET, f"{base}/film.mp4", target, 1)
            begins_s = time.monotonic()
            part = target.parent / ".vidnb"
            while not any(p.stat().st_size > marked[-1] for p in part.glob("*.part")):
                assert time.monotonic() < begins_s + 20
                assert child.poll() is None, child.communicate()
                time.sleep(0.01)
            time.sleep(random.random())
            kill(child)
            journal = held(target.parent)
            assert journal is not None
            marked.append(journal.stored.size_bytes)
        finish(f"{base}/film.mp4", target, 1)
    sent = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [shown for _, shown in sent] == [
        '"-"' if not begin else f'"bytes={begin}-"' for begin in marked
    ]
    assert sum(int(size) for size, _ in sent) < MOST * len(DATA)
