"""SIGKILL at any instant: nothing that was reported as stored is lost, or fetched again."""

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
from tests.origin import Asked, Film, Origin, held, noise, spawn, strangers
from tests.servers import Trust, nginx
from vidnb.http.ranges import ByteRange, ByteRangeSet

DATA = noise(20_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
RATE = 25e6  # B/s
MOST = 1.3  # times the file's bytes may be sent in all
DOWNLOADS = 3  # for each number of connections, plain and by TLS; seven kills each

GET = """
import sys, vidnb
url, path, connections = sys.argv[1:]
vidnb.download(url, path, connections=int(connections) or None, progress=False)
"""

# A download goes through these on its way to the first byte, …
EARLY = [
    *(Step("os.mkdir", nth) for nth in (1, 2, 3)),
    *(Step("open", nth) for nth in (1, 2, 3, 4)),
    Step("fcntl.flock"),
]
# … and through these after the last: its publish, and the record of it.
LATE = [Step("os.rename", 1), Step("os.remove", 1), Step("os.rename", 2)]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def forks(trust: Trust) -> Iterator[Forks]:
    with Forks(trust.environment) as forks:
        yield forks


@dataclass
class Carried:
    """One download that is started, killed and started again until it is whole.

    `stored` is what its journal says after the last kill; each `Journal` is compared with the bytes
    of the part file, and no request of a later run may ask for any of it.
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
        """Anywhere between the start and a little after the first bytes."""
        with self._one_run():
            child = self.start()
            time.sleep(self.random.random() * 0.1)
            child.kill()

    def killed_at(self, step: Step) -> None:
        with self._one_run():
            assert self.start(step).wait().is_killed, f"it never came to {step}"

    def killed_at_a_byte(self) -> None:
        missing_bytes = len(DATA) - self.stored.size_bytes
        with self._one_run() as asked:
            child = self.start()
            least_bytes = self.random.randrange(missing_bytes // 4)
            self.origin.wait_for(lambda: sent_bytes(self.origin, asked) > least_bytes)
            time.sleep(self.random.random() * 0.02)
            assert child.kill().is_killed

    def killed_at_the_end(self) -> None:
        """Around the last byte: before it, while the file is checked and published, or after."""
        missing_bytes = len(DATA) - self.stored.size_bytes
        with self._one_run() as asked:
            child = self.start()
            self.origin.wait_for(lambda: sent_bytes(self.origin, asked) >= missing_bytes)
            time.sleep(self.random.random() * 0.03)
            if not child.kill().is_killed:
                self.kills -= 1  # it was faster

    @contextlib.contextmanager
    def _one_run(self) -> Iterator[int]:
        asked = len(self.origin.requests)
        yield asked
        self.kills += 1
        # Bytes to the child that was killed are counted until its end is noticed.
        self.origin.wait_for(lambda: self.origin.is_idle)
        asked_only_for_what_was_missing(self.origin.requests[asked:], self.stored)
        if self.target.exists():
            assert digest(self.target) == DIGEST
            self.stored = ByteRangeSet()
        else:
            self._look()

    def _look(self) -> None:
        """What is marked as stored only grows, and is there."""
        assert strangers(self.target.parent) == set()
        journal = held(self.target.parent)
        stored = journal.stored if journal else ByteRangeSet()
        assert all(stored.covers(byte_range) for byte_range in self.stored)
        self.stored = stored
        for part in self.target.parent.glob(".vidnb/*.part"):
            data = part.read_bytes()
            assert all(data[s.start : s.stop] == DATA[s.start : s.stop] for s in stored)

    def finish(self) -> None:
        asked = len(self.origin.requests)
        assert self.start().finish()["sha256"] == DIGEST
        asked_only_for_what_was_missing(self.origin.requests[asked:], self.stored)
        assert digest(self.target) == DIGEST
        assert strangers(self.target.parent) == {self.target.name}
        suffixes = {path.suffix for path in (self.target.parent / ".vidnb").iterdir()}
        assert suffixes - {".new"} == {".record"}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sent_bytes(origin: Origin, first: int) -> int:
    return sum(asked.sent_bytes for asked in origin.requests[first:])


def kill(child: subprocess.Popen[str]) -> None:
    assert child.poll() is None, child.communicate()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()


def asked_only_for_what_was_missing(requests: list[Asked], stored: ByteRangeSet) -> None:
    """No request of a run asks for, or is sent, a byte that was marked as stored before it."""
    for number, asked in enumerate(requests):
        first, _, last = asked.headers.get("range", "bytes=0-")[6:].partition("-")
        byte_range = ByteRange(int(first), int(last) + 1 if last else len(DATA))
        if "if-none-match" in asked.headers:  # all is here: is it still the source's version?
            byte_range = ByteRange(byte_range.start, byte_range.start + asked.sent_bytes)
        if number == 0 and byte_range.size_bytes:
            assert byte_range.start == stored.run_from(0).stop
        assert stored.gaps(byte_range) == (byte_range,) * (byte_range.size_bytes > 0), (
            asked,
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
def test_killed_and_run_again(
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
            asked = len(origin.requests)
            download = Carried(origin, forks, trust.environment, target, connections, random)
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
            assert sent_bytes(origin, asked) < MOST * len(DATA)
            download.finish()
            kills += download.kills
    assert kills >= 6 * DOWNLOADS


def test_killed_at_every_step_of_a_refresh(tmp_path: Path, forks: Forks) -> None:
    """Under the final name the old file stands, or the new one; the next run brings the new one."""
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
def test_killed_and_run_again_against_nginx(
    is_tls: bool, tmp_path: Path, trust: Trust, forks: Forks
) -> None:
    """The same with a server that nobody here wrote."""
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
            journal = held(target.parent)
            assert journal is not None
            marked.append(journal.stored.size_bytes)
        assert forks.start(url, target, connections=1).finish()["sha256"] == DIGEST
        assert digest(target) == DIGEST
        sent = server.sent
    assert [answer.asked for answer in sent] == [
        f"bytes={begin}-" if begin else None for begin in marked
    ]
    assert sum(answer.size_bytes for answer in sent) < MOST * len(DATA)


def wait_for_more(target: Path, size_bytes: int) -> None:
    parts = target.parent / ".vidnb"
    wait_until(lambda: any(p.stat().st_size > size_bytes for p in parts.glob("*.part")))


late = pytest.mark.parametrize("step", LATE, ids=lambda step: f"{step.event}-{step.nth}")


@late
def test_killed_while_publishing(step: Step, tmp_path: Path, forks: Forks) -> None:
    """All was marked as stored: published or not, nothing of it is fetched again."""
    target = tmp_path / "film.mp4"
    with Origin(Film(noise(300_000))) as origin:
        assert forks.start(origin.url, target, dies_at=Step("os.rename")).wait().is_killed
        journal = held(tmp_path)
        assert journal is not None
        assert journal.stored.size_bytes == len(origin.film.data)
        assert forks.start(origin.url, target, dies_at=step).wait().is_killed
        asked = len(origin.requests)
        forks.start(origin.url, target).finish()
        assert sent_bytes(origin, asked) == 0


@late
def test_killed_while_publishing_leaves_nothing_behind(
    step: Step, tmp_path: Path, forks: Forks
) -> None:
    """What a next run has no use for is gone after it."""
    target = tmp_path / "film.mp4"
    with Origin(Film(noise(300_000))) as origin:
        assert forks.start(origin.url, target, dies_at=step).wait().is_killed
        forks.start(origin.url, target).finish()
    assert [path.suffix for path in (tmp_path / ".vidnb").iterdir()] == [".record"]
