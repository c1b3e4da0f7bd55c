"""SIGKILL at any instant: no byte recorded as stored is lost or fetched again."""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.children import Child, Forks, Step
from tests.deadline import wait_until
from tests.origin import Film, Origin, ReceivedRequest, noise, spawn, stored_journal, visible_names
from tests.servers import Trust, nginx
from vidnb.http.ranges import ByteRange, ByteRangeSet

DATA = noise(20_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
RATE = 25e6  # B/s
MOST = 1.3  # the file's bytes may be sent so many times in total
DOWNLOADS = 3  # for each number of connections, plain and by TLS; seven kills each

GET = """
import sys, vidnb
url, path, connections = sys.argv[1:]
vidnb.download(url, path, connections=int(connections) or None, progress=False)
"""

# Steps of a download before its first byte.
EARLY = [
    Step("os.mkdir"),
    *(Step("open", nth) for nth in (1, 2, 3, 4)),
    Step("fcntl.flock"),
]
# Steps after its last byte: publishing and the record.
LATE = [Step("os.rename", 1), Step("os.remove", 1), Step("os.rename", 2)]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def forks(trust: Trust) -> Iterator[Forks]:
    with Forks(trust.environment) as forks:
        yield forks


@dataclass
class KilledDownload:
    """One download that is started, killed and restarted until it is complete.

    `stored`: the ranges of its journal after the last kill. Each journal is compared with the part
    file, and no later request may include a stored byte.
    """

    origin: Origin
    forks: Forks
    environment: dict[str, str]
    target: Path
    connections: int | None
    random: Random
    stored: ByteRangeSet = field(default_factory=ByteRangeSet)
    kills: int = 0

    def start(self, dies_at: Step | None = None) -> Child:
        return self.forks.start(
            self.origin.url, self.target, connections=self.connections, dies_at=dies_at
        )

    def killed_while_importing(self) -> None:
        child = spawn(
            GET, self.origin.url, self.target, self.connections or 0, environment=self.environment
        )
        time.sleep(self.random.random() * 0.3)
        with self._one_run():
            kill(child)

    def killed_soon(self) -> None:
        """Between the start and shortly after the first bytes."""
        with self._one_run():
            child = self.start()
            time.sleep(self.random.random() * 0.1)
            child.kill()

    def killed_at(self, step: Step) -> None:
        with self._one_run():
            assert self.start(step).wait().is_killed, f"{step} was not reached"

    def killed_at_a_byte(self) -> None:
        missing_bytes = len(DATA) - self.stored.size_bytes
        with self._one_run() as first:
            child = self.start()
            min_bytes = self.random.randrange(missing_bytes // 4)
            self.origin.wait_for(lambda: sent_bytes(self.origin, first) > min_bytes)
            time.sleep(self.random.random() * 0.02)
            assert child.kill().is_killed

    def killed_at_the_end(self) -> None:
        """Around the last byte: before it, during validation and publishing, or after."""
        missing_bytes = len(DATA) - self.stored.size_bytes
        with self._one_run() as first:
            child = self.start()
            self.origin.wait_for(lambda: sent_bytes(self.origin, first) >= missing_bytes)
            time.sleep(self.random.random() * 0.03)
            if not child.kill().is_killed:
                self.kills -= 1  # it had ended before

    @contextlib.contextmanager
    def _one_run(self) -> Iterator[int]:
        first = len(self.origin.requests)
        yield first
        self.kills += 1
        # Bytes sent to a killed child are counted until the origin notices its end.
        self.origin.wait_for(lambda: self.origin.is_idle)
        assert_only_missing_bytes_requested(self.origin.requests[first:], self.stored)
        if self.target.exists():
            assert digest(self.target) == DIGEST
            self.stored = ByteRangeSet()
        else:
            self._check_stored()

    def _check_stored(self) -> None:
        """Check that the recorded ranges only grow, and that their bytes are on disk."""
        assert visible_names(self.target.parent) == set()
        journal = stored_journal(self.target.parent)
        stored = journal.stored if journal else ByteRangeSet()
        assert all(stored.covers(byte_range) for byte_range in self.stored)
        self.stored = stored
        for part in self.target.parent.glob(".vidnb/*.part"):
            data = part.read_bytes()
            assert all(data[s.start : s.stop] == DATA[s.start : s.stop] for s in stored)

    def finish(self) -> None:
        first = len(self.origin.requests)
        assert self.start().finish()["sha256"] == DIGEST
        assert_only_missing_bytes_requested(self.origin.requests[first:], self.stored)
        assert digest(self.target) == DIGEST
        assert visible_names(self.target.parent) == {self.target.name}
        suffixes = {path.suffix for path in (self.target.parent / ".vidnb").iterdir()}
        assert suffixes - {".new"} == {".record"}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sent_bytes(origin: Origin, first: int) -> int:
    return sum(first.sent_bytes for first in origin.requests[first:])


def kill(child: subprocess.Popen[str]) -> None:
    assert child.poll() is None, child.communicate()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()


def assert_only_missing_bytes_requested(
    requests: list[ReceivedRequest], stored: ByteRangeSet
) -> None:
    """Check that no request was for, or was sent, a byte recorded as stored before."""
    for number, request in enumerate(requests):
        first, _, last = request.headers.get("range", "bytes=0-")[6:].partition("-")
        byte_range = ByteRange(int(first), int(last) + 1 if last else len(DATA))
        if "if-none-match" in request.headers:  # all bytes are stored: a conditional request
            byte_range = ByteRange(byte_range.start, byte_range.start + request.sent_bytes)
        if number == 0 and byte_range.size_bytes:
            assert byte_range.start == stored.run_from(0).stop
        assert stored.gaps(byte_range) == (byte_range,) * (byte_range.size_bytes > 0), (
            request,
            stored,
        )


plain_or_tls = pytest.mark.parametrize(
    "is_tls", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "tls"]
)


@pytest.mark.parametrize(
    "connections",
    [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4)), None],
    ids=["1", "4", "automatic"],
)
@plain_or_tls
def test_after_kills_at_seeded_moments_no_recorded_byte_is_fetched_again(
    connections: int | None, is_tls: bool, tmp_path: Path, trust: Trust, forks: Forks
) -> None:
    """Each next run begins where the journal ends, and the whole is sent little more than once.

    The kills fall at seeded moments: while Python imports, before there is a part file, at any
    byte, and on the steps of the publish.
    """
    random = Random(f"{connections} {is_tls}")
    tls = trust.server_context() if is_tls else None
    kills = 0
    with Origin(Film(DATA), rate=RATE, tls=tls) as origin:
        for number in range(DOWNLOADS):
            target = tmp_path / str(number) / "film.mp4"
            first = len(origin.requests)
            download = KilledDownload(origin, forks, trust.environment, target, connections, random)
            moments: list[Callable[[], None]] = [
                download.killed_while_importing,
                download.killed_soon,
                partial(download.killed_at, random.choice(EARLY)),
                *[download.killed_at_a_byte] * 3,
            ]
            ends: list[Callable[[], None]] = [
                download.killed_at_the_end,
                *(partial(download.killed_at, step) for step in LATE),
            ]
            for moment in random.sample(moments, len(moments)):
                moment()
            random.choice(ends)()
            assert sent_bytes(origin, first) < MOST * len(DATA)
            download.finish()
            kills += download.kills
    assert kills >= 6 * DOWNLOADS


def test_after_a_kill_at_any_step_of_a_refresh_one_whole_file_exists(
    tmp_path: Path, forks: Forks
) -> None:
    """The final name has the old or the new file; the next run fetches the new one."""
    old, new = Film(noise(300_000, 2), '"v2"'), Film(noise(300_000, 3), '"v3"')
    kills = 0
    for event in ("os.mkdir", "open", "fcntl.flock", "os.remove", "os.rename"):
        for nth in count(1):
            target = tmp_path / f"{event}-{nth}" / "film.mp4"
            with Origin(old) as origin:
                forks.start(origin.url, target).finish()
                origin.film = new
                ended = forks.start(origin.url, target, dies_at=Step(event, nth)).wait()
                assert target.read_bytes() in {old.data, new.data}
                if not ended.is_killed:
                    break  # there are no more steps of this kind
                kills += 1
                forks.start(origin.url, target).finish()
                assert target.read_bytes() == new.data
                assert forks.start(origin.url, target).finish()["reused"]
    assert kills > 10, "its steps have other names by now"


@plain_or_tls
def test_after_kills_against_nginx_no_recorded_byte_is_fetched_again(
    is_tls: bool, tmp_path: Path, trust: Trust, forks: Forks
) -> None:
    """The same with a third-party server."""
    random = Random(5)
    (tmp_path / "film.mp4").write_bytes(DATA)
    target = tmp_path / "out" / "film.mp4"
    with nginx(tmp_path, rate="6m", trust=trust if is_tls else None) as server:
        url = f"{server.base}/film.mp4"
        marked = [0]
        for _ in range(5):
            child = forks.start(url, target, connections=1)
            wait_for_more(target, marked[-1])
            time.sleep(random.random() / 2)
            assert child.kill().is_killed
            journal = stored_journal(target.parent)
            assert journal is not None
            marked.append(journal.stored.size_bytes)
        assert forks.start(url, target, connections=1).finish()["sha256"] == DIGEST
        assert digest(target) == DIGEST
        sent = server.sent
    assert [response.range for response in sent] == [
        f"bytes={begin}-" if begin else None for begin in marked
    ]
    assert sum(answer.size_bytes for answer in sent) < MOST * len(DATA)


def wait_for_more(target: Path, size_bytes: int) -> None:
    parts = target.parent / ".vidnb"
    wait_until(lambda: any(p.stat().st_size > size_bytes for p in parts.glob("*.part")))


late = pytest.mark.parametrize("step", LATE, ids=lambda step: f"{step.event}-{step.nth}")


@late
def test_after_a_kill_while_publishing_nothing_is_fetched_again(
    step: Step, tmp_path: Path, forks: Forks
) -> None:
    """All bytes were recorded as stored, whether published or not."""
    target = tmp_path / "film.mp4"
    with Origin(Film(noise(300_000))) as origin:
        assert forks.start(origin.url, target, dies_at=Step("os.rename")).wait().is_killed
        journal = stored_journal(tmp_path)
        assert journal is not None
        assert journal.stored.size_bytes == len(origin.film.data)
        assert forks.start(origin.url, target, dies_at=step).wait().is_killed
        first = len(origin.requests)
        forks.start(origin.url, target).finish()
        assert sent_bytes(origin, first) == 0


@late
def test_after_a_kill_while_publishing_no_part_file_remains(
    step: Step, tmp_path: Path, forks: Forks
) -> None:
    """The next run removes what it does not need."""
    target = tmp_path / "film.mp4"
    with Origin(Film(noise(300_000))) as origin:
        assert forks.start(origin.url, target, dies_at=step).wait().is_killed
        forks.start(origin.url, target).finish()
    assert [path.suffix for path in (tmp_path / ".vidnb").iterdir()] == [".record"]
