"""Downloads from third-party servers: complete, killed, changed, refreshed.

Each server and each download is a process. A relay between them limits the rate where a download is
killed in the middle, and counts the bytes that the server sends.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.children import Forks
from tests.network import Relay
from tests.origin import noise, stored_journal, visible_names
from tests.servers import SERVERS, Server, Trust, nginx, open_folder
from vidnb.http.ranges import ByteRangeSet

DATA, OTHER = noise(20_000_000, 1), noise(20_000_000, 2)  # the same size on purpose
SLOW = 10e6  # B/s
HEADS_BYTES = 20_000  # the most bytes of the response heads and handshakes of a run
TLS_SHARE = 0.005  # the most bytes that TLS records add
CUT_BYTES = len(DATA) // 10  # the most bytes in flight on a connection whose segment was split

WITHOUT_RANGES = {"http.server"}


@dataclass(frozen=True, slots=True)
class Site:
    """A server over a public folder, and processes that download from it."""

    name: str
    server: Server
    folder: Path
    forks: Forks

    @property
    def answers_ranges(self) -> bool:
        return self.name not in WITHOUT_RANGES

    def put(self, name: str, data: bytes, age_s: int) -> None:
        """Put a file on the server, modified `age_s` seconds ago."""
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(data)
        fresh.chmod(0o644)
        changed_s = time.time() - age_s
        os.utime(fresh, (changed_s, changed_s))
        fresh.replace(self.folder / name)

    @contextlib.contextmanager
    def relay(self, name: str) -> Iterator[tuple[Relay, str]]:
        """Yield a relay that counts bytes, and the file's address on it."""
        with Relay(self.server.port) as relay:
            scheme = self.server.base.partition(":")[0]
            yield relay, f"{scheme}://127.0.0.1:{relay.port}/{name}"

    def download(self, url: str, target: Path, connections: int | None = None) -> dict[str, Any]:
        return self.forks.start(url, target, connections=connections).finish()

    def interrupt(
        self, relay: Relay, url: str, target: Path, connections: int | None
    ) -> tuple[ByteRangeSet, int]:
        """Kill a download in the middle; return what is stored, and what was sent (B)."""
        relay.rate = SLOW
        child = self.forks.start(url, target, connections=connections)
        relay.wait_for(lambda: relay.sent_bytes > len(DATA) / 3)
        assert child.kill().is_killed
        relay.wait_for(lambda: relay.is_idle)
        relay.rate = None
        assert visible_names(target.parent) == set()
        journal = stored_journal(target.parent)
        assert journal is not None
        return journal.stored, relay.sent_bytes


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def forks(trust: Trust) -> Iterator[Forks]:
    with Forks(trust.environment) as forks:
        yield forks


SITES = [
    pytest.param(name, marks=() if name == "nginx" else pytest.mark.slow)
    for name in (*SERVERS, "nginx-tls")
]


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, trust: Trust, forks: Forks) -> Iterator[Site]:
    name = request.param
    with open_folder() as folder:
        tls = nginx(folder, trust=trust) if name == "nginx-tls" else None
        with tls or SERVERS[name](folder) as server:
            yield Site(name, server, folder, forks)


def is_same(path: Path, data: bytes, result: dict[str, Any]) -> bool:
    return path.read_bytes() == data and result["sha256"] == hashlib.sha256(data).hexdigest()


at_most = pytest.mark.parametrize("connections", [1, 4, None], ids=["1", "4", "automatic"])


@at_most
def test_a_file_is_downloaded_completely(
    site: Site, connections: int | None, tmp_path: Path
) -> None:
    """Byte-identical, over several connections where the server supports ranges."""
    site.put("film.mp4", DATA, age_s=7200)
    target = tmp_path / "film.mp4"
    result = site.download(f"{site.server.base}/film.mp4", target, connections)
    assert is_same(target, DATA, result)
    assert result["media_type"] == "video/mp4"
    if connections is not None:
        assert (result["connections"] > 1) == (site.answers_ranges and connections > 1)


@at_most
def test_a_killed_download_fetches_only_the_rest(
    site: Site, connections: int | None, tmp_path: Path
) -> None:
    """The rest is fetched where the server supports ranges, else the whole file."""
    site.put("film.mp4", DATA, age_s=7200)
    target = tmp_path / "film.mp4"
    with site.relay("film.mp4") as (relay, url):
        stored, before_bytes = site.interrupt(relay, url, target, connections)
        result = site.download(url, target, connections)
        relay.wait_for(lambda: relay.is_idle)
        sent_bytes = relay.sent_bytes - before_bytes
    assert is_same(target, DATA, result)
    missing_bytes = len(DATA) - stored.size_bytes
    assert 0 < missing_bytes < 0.9 * len(DATA)
    if site.answers_ranges:
        assert result["resumed_from_bytes"] == stored.size_bytes
        most_bytes = missing_bytes * (1 + TLS_SHARE) + HEADS_BYTES
        assert missing_bytes < sent_bytes < most_bytes + (CUT_BYTES if connections != 1 else 0)
    else:
        assert sent_bytes > len(DATA)


def test_a_source_that_changed_between_two_runs_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """The new file has the same size; no byte of the old one is used."""
    site.put("film.mp4", DATA, age_s=7200)
    target = tmp_path / "film.mp4"
    with site.relay("film.mp4") as (relay, url):
        site.interrupt(relay, url, target, 4)
        site.put("film.mp4", OTHER, age_s=3600)
        result = site.download(url, target, 4)
    assert is_same(target, OTHER, result)
    assert result["resumed_from_bytes"] == 0


def test_a_refresh_fetches_only_a_changed_file(site: Site, tmp_path: Path) -> None:
    """An unchanged file costs one response without a body."""
    target = tmp_path / "film.mp4"
    with site.relay("film.mp4") as (relay, url):
        for data, age_s in ((DATA, 7200), (OTHER, 3600)):
            site.put("film.mp4", data, age_s)
            fetched = site.download(url, target)
            assert is_same(target, data, fetched)
            assert not fetched["reused"]
            relay.wait_for(lambda: relay.is_idle)
            before_bytes = relay.sent_bytes
            again = site.download(url, target)
            assert is_same(target, data, again)
            assert again["reused"]
            relay.wait_for(lambda: relay.is_idle)
            assert relay.sent_bytes < before_bytes + HEADS_BYTES
