"""A real film from third-party servers, with twenty kills."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vidnb
from tests.assets import film
from tests.servers import nginx, python_server

KILLS = 20
CHILD = """
import sys, vidnb
result = vidnb.download(sys.argv[1], sys.argv[2], progress=False)
print(result.sha256)
"""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def downloads_through_kills(url: str, target: Path, *, seed: int) -> str:
    """Run the child repeatedly, kill it at seeded moments, and return the last digest."""
    dice = random.Random(seed)
    command = [sys.executable, "-c", CHILD, url, str(target)]
    kills = 0
    while kills < KILLS:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            # Between the opening of its part file and a little later.
            before = _kept_bytes(target)
            while child.poll() is None:
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


def test_a_real_film_from_servers_with_and_without_ranges(tmp_path: Path) -> None:
    """22.7 MB, byte-identical from both servers."""
    video = film()
    digest = sha256(video)
    with nginx(video.parent) as server:
        url = f"{server.base}/{video.name}"
        assert vidnb.download(url, tmp_path / "a.mp4", progress=False).sha256 == digest
        several = vidnb.download(url, tmp_path / "b.mp4", connections=4, progress=False)
        assert several.sha256 == digest
        assert several.connections > 1
    with python_server(video.parent) as server:
        plain = vidnb.download(
            f"{server.base}/{video.name}", tmp_path / "c.mp4", connections=4, progress=False
        )
        assert plain.sha256 == digest
        assert plain.connections == 1
    assert {sha256(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")} == {digest}


@pytest.mark.slow
def test_twenty_kills_with_nginx(tmp_path: Path) -> None:
    """Each run resumes; less than 1.3 times the file is sent in total."""
    video = film()
    target = tmp_path / "out" / "film.mp4"
    with nginx(video.parent, rate="12m") as server:
        url = f"{server.base}/{video.name}"
        assert downloads_through_kills(url, target, seed=1) == sha256(video)
        sent = server.sent
    assert sha256(target) == sha256(video)
    sent_bytes = sum(answer.size_bytes for answer in sent)
    assert len(sent) > 5, "hardly a run was killed in the middle"
    assert sent_bytes < 1.3 * video.stat().st_size, sent_bytes / video.stat().st_size


@pytest.mark.slow
def test_twenty_kills_without_ranges(tmp_path: Path) -> None:
    """Nothing can be resumed, and no partial file has the final name."""
    video = film()
    target = tmp_path / "out" / "film.mp4"
    with python_server(video.parent) as server:
        url = f"{server.base}/{video.name}"
        assert downloads_through_kills(url, target, seed=2) == sha256(video)
    assert sha256(target) == sha256(video)
