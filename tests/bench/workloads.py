"""The workloads: files, origins, clients and targets."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import contestants as who
from tests.bench.delay import Distance, NoDelay, far_away
from tests.bench.measure import Contestant, Failed, Item, Job, race
from tests.bench.origins import SLOW_RATE, SMALL, Files, Nginx, nginx, smooth
from tests.bench.report import Line, Report
from vidnb.download.part_file import boot_id
from vidnb.download.planner.journal import newest_journal

MIB = 2**20
SMALL_TIMES = 3
"""The small workloads are short, so they run this many times as often."""
IMPORT_TIMES = 10
HALF_WITHIN_S = 120.0


@dataclass
class Bench:
    """The state that all workloads share."""

    root: Path
    files: Files
    rounds: int
    slow_rounds: int
    env: dict[str, str]
    near: Nginx
    stack: ExitStack
    is_tls_missing: str = ""
    _far: "Distance | NoDelay | None" = field(default=None, repr=False)

    def job(self, one: Contestant, items: Sequence[tuple[str, str]]) -> Job:
        """Return the task of `one`: pairs of a URL and the name of its file."""
        folder = self.root / "out" / re.sub(r"\W+", "-", one.name)
        notes = self.root / "notes"
        notes.mkdir(exist_ok=True)
        return Job(
            [Item(url, folder / Path(name).name, self.files.www / name) for url, name in items],
            folder,
            notes,
        )

    def one_file(self, url: str, name: str) -> Callable[[Contestant], Job]:
        """Return the job of fetching one file."""
        return lambda one: self.job(one, [(url, name)])

    def far(self) -> Distance:
        """Return the remote namespace, created at first use; `NoDelay` if it cannot be."""
        if self._far is None:
            try:
                self._far = self.stack.enter_context(far_away())
            except NoDelay as refusal:
                self._far = refusal
        if isinstance(self._far, NoDelay):
            raise self._far
        return self._far


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def plain(bench: Bench) -> Iterator[Report]:
    """One large file."""
    report = Report("plain", _size(bench.files.mib), who.everybody(bench.slow_rounds))
    report.lines = [
        Line("vidnb", ("curl",), 0.75),
        Line("vidnb", ("curl",), 1.2, "cpu"),
        Line("vidnb", (), 80, "peak", is_below=True),
    ]
    url = bench.near.plain("file.bin")
    job = bench.one_file(url, "file.bin")
    race(report.contestants, job, rounds=bench.rounds, env=bench.env)
    yield report


def tls(bench: Bench) -> Iterator[Report]:
    """One large file over TLS."""
    report = Report("tls", f"{_size(bench.files.mib)} over TLS")
    if not bench.files.ca.exists():
        report.skipped = bench.is_tls_missing
    else:
        ca = bench.files.ca
        report.contestants = who.everybody(bench.slow_rounds, ca)
        report.lines = [Line("vidnb", ("curl",), 0.95)]
        # requests reads the second; the other clients without an option for it read the first.
        env = bench.env | {"SSL_CERT_FILE": str(ca), "REQUESTS_CA_BUNDLE": str(ca)}
        job = bench.one_file(bench.near.tls("file.bin"), "file.bin")
        race(report.contestants, job, rounds=bench.rounds, env=env)
    yield report


def throttled(
    bench: Bench, at: Distance | None = None, name: str = "throttled"
) -> Iterator[Report]:
    """A file with 10 MB/s per connection: in bursts, and smoothly."""
    size = f"{_size(max(1, bench.files.mib // 4))} at {SLOW_RATE / 1e6:.0f} MB/s per connection"
    if at is not None:
        size += f", 40 ms of round trip ({at.made_with})"
    host, prefix = (at.host, at.prefix) if at else ("127.0.0.1", ())
    for kind in ("smooth", "nginx"):
        report = Report(f"{name}, {kind}", size, who.with_many_connections(bench.slow_rounds))
        report.lines = [
            Line("vidnb connections=16", ("aria2c -x16 -s16 -k1M",), 1.0),
            Line("vidnb automatic", ("aria2c -x16 -s16 -k1M",), 1.5),
            Line("vidnb automatic", ("aria2c -x4 -s4",), 0.5),
        ]
        with ExitStack() as stack:
            if kind == "smooth":
                url = stack.enter_context(smooth(bench.files, host, prefix))
            else:
                url = stack.enter_context(nginx(bench.files, host, prefix)).plain("slow.bin")
            job = bench.one_file(url, "slow.bin")
            race(report.contestants, job, rounds=bench.rounds, env=bench.env)
        yield report


def throttled_far(bench: Bench) -> Iterator[Report]:
    """The same with a round trip of 40 ms."""
    try:
        at = bench.far()
    except NoDelay as refusal:
        yield Report("throttled-40ms", "the same at 40 ms of round trip", skipped=str(refusal))
        return
    yield from throttled(bench, at, "throttled-40ms")


def _many(bench: Bench, server: Nginx, name: str, most: float, title: str) -> Report:
    count, kib = SMALL[name.partition("-")[0]]
    report = Report(title, f"{count} x {kib} KiB, {who.AT_ONCE} at once", who.with_many_files())
    peers = (who.CURL_PARALLEL, who.CURL_PARALLEL_NOW)
    report.lines = [Line("vidnb, 16 at once", peers, most)]
    names = [f"{name}/{number:04}.bin" for number in range(count)]
    pairs = [(server.plain(one), one) for one in names]
    race(
        report.contestants,
        lambda one: bench.job(one, pairs),
        rounds=bench.rounds * SMALL_TIMES,
        env=bench.env,
        is_thorough=True,
    )
    return report


def small(bench: Bench) -> Iterator[Report]:
    """Many small files."""
    yield _many(bench, bench.near, "large", 1.5, "small, 200")
    yield _many(bench, bench.near, "tiny", 0.6, "small, 1000")


def small_far(bench: Bench) -> Iterator[Report]:
    """Many small files with a round trip of 40 ms."""
    try:
        at = bench.far()
    except NoDelay as refusal:
        yield Report("small-40ms", "200 files at 40 ms of round trip", skipped=str(refusal))
        return
    with nginx(bench.files, at.host, at.prefix) as server:
        report = _many(bench, server, "large", 0.9, "small-40ms")
    report.title += f", 40 ms of round trip ({at.made_with})"
    yield report


def resume(bench: Bench) -> Iterator[Report]:
    """The second half of a large file, after the first run was killed."""
    title = f"the second half of {_size(bench.files.mib)}, after SIGKILL"
    report = Report("resume", title, who.resuming(), [Line("vidnb", ("curl -C -",), 1.05)])
    source = bench.files.www / "resume.bin"
    job_of = bench.one_file(bench.near.plain("resume.bin"), "resume.bin")
    ours = next(one for one in report.contestants if one.name == "vidnb")
    stored_bytes = 0

    def kill_ours() -> None:
        nonlocal stored_bytes
        try:
            stored_bytes = half_done(bench, job_of(ours))
        except Failed as failure:
            ours.failed, stored_bytes = str(failure), source.stat().st_size // 2

    def give_the_half(one: Contestant, job: Job) -> None:
        if one is not ours:
            with source.open("rb") as whole, job.path.open("wb") as part:
                left = stored_bytes
                while left:
                    left -= part.write(whole.read(min(left, MIB)))
                part.flush()
                os.fsync(part.fileno())

    race(
        report.contestants,
        job_of,
        rounds=bench.rounds,
        env=bench.env,
        before_round=kill_ours,
        before_run=give_the_half,
    )
    yield report


def half_done(bench: Bench, job: Job) -> int:
    """Kill vidnb when it has half of the file; return the number of stored bytes.

    Over one connection, so that the same number of bytes is the same half for every client.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    call = "import sys, vidnb; vidnb.download(*sys.argv[1:], connections=1, progress=False)"
    bench.files.hold.touch()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", call, job.url, str(job.path)], env=bench.env, cwd=bench.root
        ) as process:
            deadline_s = time.monotonic() + HALF_WITHIN_S
            while marked_bytes(job.folder) < job.items[0].source.stat().st_size // 2:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    process.kill()
                    raise Failed("vidnb did not store half of the file in time")
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    finally:
        bench.files.hold.unlink()
    for part in (job.folder / ".vidnb").iterdir():
        with part.open("rb") as file:
            os.fsync(file.fileno())
    return marked_bytes(job.folder)


def marked_bytes(folder: Path) -> int:
    """Return how many bytes the journal in a folder describes."""
    for path in (folder / ".vidnb").glob("*.journal"):
        marked = newest_journal(path.read_bytes(), boot_id())
        if marked is not None:
            return marked[1].stored.size_bytes
    return 0


def checksum(bench: Bench) -> Iterator[Report]:
    """One large file with a known digest."""
    report = Report(
        "checksum",
        f"{_size(bench.files.mib)} with a SHA-256 to verify",
        who.checking(f"sha256:{bench.files.sha256}"),
        [Line("vidnb checksum=", ("curl && openssl dgst",), 0.45)],
    )
    job = bench.one_file(bench.near.plain("file.bin"), "file.bin")
    race(report.contestants, job, rounds=bench.rounds, env=bench.env)
    yield report


def imports(bench: Bench) -> Iterator[Report]:
    """The duration of the import."""
    lines = [Line("import vidnb", ("import aiohttp",), 0.1)]
    report = Report("import", "in a fresh interpreter", who.importing(), lines)
    rounds = bench.rounds * IMPORT_TIMES
    race(report.contestants, lambda one: bench.job(one, []), rounds=rounds, env=bench.env)
    yield report


WORKLOADS: dict[str, Callable[[Bench], Iterator[Report]]] = {
    "plain": plain,
    "tls": tls,
    "throttled": throttled,
    "throttled-40ms": throttled_far,
    "small": small,
    "small-40ms": small_far,
    "resume": resume,
    "checksum": checksum,
    "import": imports,
}
