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

from tests.bench import clients
from tests.bench.delay import DelayUnavailable, RemoteNamespace, remote_namespace
from tests.bench.measure import Client, Failed, Item, Job, run_interleaved
from tests.bench.origins import SLOW_RATE, SMALL, Files, Nginx, nginx, smooth
from tests.bench.report import Report, Target
from vidnb.download.part_file import boot_id
from vidnb.download.planner.journal import newest_journal

MIB = 2**20
IMPORT_TIMES = 10
MAX_AUTOMATIC_RATIO = 1.2
"""The limit of the time with automatic concurrency to that with the best fixed number."""
HALF_DEADLINE_S = 120.0


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
    _far: "RemoteNamespace | DelayUnavailable | None" = field(default=None, repr=False)

    def job(self, one: Client, items: Sequence[tuple[str, str]]) -> Job:
        """Return the task of `one`: pairs of a URL and the name of its file."""
        folder = self.root / "out" / re.sub(r"\W+", "-", one.name)
        notes = self.root / "notes"
        notes.mkdir(exist_ok=True)
        return Job(
            [Item(url, folder / Path(name).name, self.files.www / name) for url, name in items],
            folder,
            notes,
        )

    def one_file(self, url: str, name: str) -> Callable[[Client], Job]:
        """Return the job of fetching one file."""
        return lambda one: self.job(one, [(url, name)])

    def far(self) -> RemoteNamespace:
        """Return the remote namespace, created at first use; `DelayUnavailable` if it cannot be."""
        if self._far is None:
            try:
                self._far = self.stack.enter_context(remote_namespace())
            except DelayUnavailable as unavailable:
                self._far = unavailable
        if isinstance(self._far, DelayUnavailable):
            raise self._far
        return self._far


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def plain(bench: Bench) -> Iterator[Report]:
    """One large file."""
    fixed = clients.with_fixed_connections(1, 4, 16)
    report = Report(
        "plain", _size(bench.files.mib), [*clients.all_clients(bench.slow_rounds), *fixed]
    )
    report.targets = [
        Target("vidnb", tuple(one.name for one in fixed), MAX_AUTOMATIC_RATIO),
        Target("vidnb", ("curl",), 0.75),
        Target("vidnb", ("curl",), 1.2, "cpu"),
        Target("vidnb", (), 80, "peak", is_below=True),
    ]
    url = bench.near.plain("file.bin")
    job = bench.one_file(url, "file.bin")
    run_interleaved(report.clients, job, rounds=bench.rounds, env=bench.env)
    yield report


def tls(bench: Bench) -> Iterator[Report]:
    """One large file over TLS."""
    report = Report("tls", f"{_size(bench.files.mib)} over TLS")
    if not bench.files.ca.exists():
        report.skipped = bench.is_tls_missing
    else:
        ca = bench.files.ca
        report.clients = clients.all_clients(bench.slow_rounds, ca)
        report.targets = [Target("vidnb", ("curl",), 0.95)]
        # requests reads the second; the other clients without an option for it read the first.
        env = bench.env | {"SSL_CERT_FILE": str(ca), "REQUESTS_CA_BUNDLE": str(ca)}
        job = bench.one_file(bench.near.tls("file.bin"), "file.bin")
        run_interleaved(report.clients, job, rounds=bench.rounds, env=env)
    yield report


def throttled(
    bench: Bench, at: RemoteNamespace | None = None, name: str = "throttled"
) -> Iterator[Report]:
    """A file with 10 MB/s per connection: in bursts, and smoothly."""
    size = f"{_size(max(1, bench.files.mib // 4))} at {SLOW_RATE / 1e6:.0f} MB/s per connection"
    if at is not None:
        size += f", 40 ms of round trip ({at.method})"
    host, prefix = (at.host, at.prefix) if at else ("127.0.0.1", ())
    for kind in ("smooth", "nginx"):
        report = Report(f"{name}, {kind}", size, clients.with_many_connections(bench.slow_rounds))
        report.targets = [
            Target(
                "vidnb automatic",
                ("vidnb connections=8", "vidnb connections=16"),
                MAX_AUTOMATIC_RATIO,
            ),
            Target("vidnb connections=16", ("aria2c -x16 -s16 -k1M",), 1.0),
            Target("vidnb automatic", ("aria2c -x16 -s16 -k1M",), 1.5),
            Target("vidnb automatic", ("aria2c -x4 -s4",), 0.5),
        ]
        with ExitStack() as stack:
            if kind == "smooth":
                url = stack.enter_context(smooth(bench.files, host, prefix))
            else:
                url = stack.enter_context(nginx(bench.files, host, prefix)).plain("slow.bin")
            job = bench.one_file(url, "slow.bin")
            run_interleaved(report.clients, job, rounds=bench.rounds, env=bench.env)
        yield report


def throttled_far(bench: Bench) -> Iterator[Report]:
    """The same with a round trip of 40 ms."""
    try:
        at = bench.far()
    except DelayUnavailable as unavailable:
        yield Report("throttled-40ms", "the same at 40 ms of round trip", skipped=str(unavailable))
        return
    yield from throttled(bench, at, "throttled-40ms")


def _many(bench: Bench, server: Nginx, name: str, limit: float, title: str) -> Report:
    report = _small_files(title, name, clients.with_many_files())
    peers = (clients.CURL_PARALLEL, clients.CURL_PARALLEL_NOW)
    report.targets = [
        Target("vidnb, 16 in parallel", peers, limit),
        Target(
            "vidnb, 16 in parallel", ("vidnb connections=1, 16 in parallel",), MAX_AUTOMATIC_RATIO
        ),
    ]
    _run_small_files(bench, server, name, report)
    return report


def _batch(bench: Bench, server: Nginx, name: str, title: str, targets: Sequence[Target]) -> Report:
    report = _small_files(title, name, clients.batches())
    report.targets = targets
    _run_small_files(bench, server, name, report)
    return report


def _small_files(title: str, name: str, compared: list[Client]) -> Report:
    count, kib = SMALL[name]
    return Report(title, f"{count} x {kib} KiB, {clients.PARALLEL_FILES} in parallel", compared)


def _run_small_files(bench: Bench, server: Nginx, name: str, report: Report) -> None:
    names = [f"{name}/{number:04}.bin" for number in range(SMALL[name][0])]
    pairs = [(server.plain(one), one) for one in names]
    run_interleaved(
        report.clients,
        lambda one: bench.job(one, pairs),
        rounds=bench.rounds,
        env=bench.env,
        checks_bytes=True,
    )


_CURLS = (clients.CURL_PARALLEL, clients.CURL_PARALLEL_NOW)


def batch(bench: Bench) -> Iterator[Report]:
    """Many small files in one call."""
    targets = [
        Target(clients.VIDNB_BATCH, _CURLS, 1.5),
        Target(clients.VIDNB_BATCH, (clients.ARIA2C_MANY,), 1.0),
    ]
    yield _batch(bench, bench.near, "large", "batch, 200", targets)
    yield _batch(bench, bench.near, "tiny", "batch, 1000", targets)


def batch_far(bench: Bench) -> Iterator[Report]:
    """Many small files in one call with a round trip of 40 ms."""
    try:
        at = bench.far()
    except DelayUnavailable as unavailable:
        yield Report("batch-40ms", "200 files at 40 ms of round trip", skipped=str(unavailable))
        return
    targets = [Target(clients.VIDNB_BATCH, (*_CURLS, clients.ARIA2C_MANY), 0.9)]
    with nginx(bench.files, at.host, at.prefix) as server:
        report = _batch(bench, server, "large", "batch-40ms", targets)
    report.title += f", 40 ms of round trip ({at.method})"
    yield report


def small(bench: Bench) -> Iterator[Report]:
    """Many small files."""
    yield _many(bench, bench.near, "large", 1.5, "small, 200")
    yield _many(bench, bench.near, "tiny", 0.6, "small, 1000")


def small_far(bench: Bench) -> Iterator[Report]:
    """Many small files with a round trip of 40 ms."""
    try:
        at = bench.far()
    except DelayUnavailable as unavailable:
        yield Report("small-40ms", "200 files at 40 ms of round trip", skipped=str(unavailable))
        return
    with nginx(bench.files, at.host, at.prefix) as server:
        report = _many(bench, server, "large", 0.9, "small-40ms")
    report.title += f", 40 ms of round trip ({at.method})"
    yield report


def resume(bench: Bench) -> Iterator[Report]:
    """The second half of a large file, after a kill."""
    title = f"the second half of {_size(bench.files.mib)}, after SIGKILL"
    report = Report("resume", title, clients.resuming(), [Target("vidnb", ("curl -C -",), 1.05)])
    source = bench.files.www / "resume.bin"
    job_of = bench.one_file(bench.near.plain("resume.bin"), "resume.bin")
    ours = next(one for one in report.clients if one.name == "vidnb")
    stored_bytes = 0

    def kill_vidnb() -> None:
        nonlocal stored_bytes
        try:
            stored_bytes = download_half(bench, job_of(ours))
        except Failed as failure:
            ours.failed, stored_bytes = str(failure), source.stat().st_size // 2

    def copy_half(one: Client, job: Job) -> None:
        if one is not ours:
            with source.open("rb") as whole, job.path.open("wb") as part:
                left = stored_bytes
                while left:
                    left -= part.write(whole.read(min(left, MIB)))
                part.flush()
                os.fsync(part.fileno())

    run_interleaved(
        report.clients,
        job_of,
        rounds=bench.rounds,
        env=bench.env,
        before_round=kill_vidnb,
        before_run=copy_half,
    )
    yield report


def download_half(bench: Bench, job: Job) -> int:
    """Kill vidnb when it has half of the file; return the number of stored bytes.

    Over one connection, so that the same number of bytes is the same half for every client.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    call = "import sys, vidnb; vidnb.download(*sys.argv[1:], connections=1, progress=False)"
    bench.files.slow_marker.touch()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", call, job.url, str(job.path)], env=bench.env, cwd=bench.root
        ) as process:
            deadline_s = time.monotonic() + HALF_DEADLINE_S
            while journalled_bytes(job.folder) < job.items[0].source.stat().st_size // 2:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    process.kill()
                    raise Failed("vidnb did not store half of the file in time")
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    finally:
        bench.files.slow_marker.unlink()
    for part in (job.folder / ".vidnb").iterdir():
        with part.open("rb") as file:
            os.fsync(file.fileno())
    return journalled_bytes(job.folder)


def journalled_bytes(folder: Path) -> int:
    """Return how many bytes the journal in a folder describes."""
    for path in (folder / ".vidnb").glob("*.journal"):
        newest = newest_journal(path.read_bytes(), boot_id())
        if newest is not None:
            return newest[1].stored.size_bytes
    return 0


def checksum(bench: Bench) -> Iterator[Report]:
    """One large file with a known digest."""
    report = Report(
        "checksum",
        f"{_size(bench.files.mib)} with a SHA-256 to verify",
        clients.checking(f"sha256:{bench.files.sha256}", bench.slow_rounds),
        [Target("vidnb checksum=", ("curl && openssl dgst",), 0.45)],
    )
    job = bench.one_file(bench.near.plain("file.bin"), "file.bin")
    run_interleaved(report.clients, job, rounds=bench.rounds, env=bench.env)
    yield report


def imports(bench: Bench) -> Iterator[Report]:
    """The duration of the import."""
    targets = [Target("import vidnb", ("import aiohttp",), 0.1)]
    report = Report("import", "in a fresh interpreter", clients.importing(), targets)
    rounds = bench.rounds * IMPORT_TIMES
    run_interleaved(report.clients, lambda one: bench.job(one, []), rounds=rounds, env=bench.env)
    yield report


WORKLOADS: dict[str, Callable[[Bench], Iterator[Report]]] = {
    "plain": plain,
    "tls": tls,
    "throttled": throttled,
    "throttled-40ms": throttled_far,
    "small": small,
    "small-40ms": small_far,
    "batch": batch,
    "batch-40ms": batch_far,
    "resume": resume,
    "checksum": checksum,
    "import": imports,
}
