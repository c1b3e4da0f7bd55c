"""Run clients in turn and measure elapsed time, CPU time and peak memory.

Every run is a new process. Python clients report the duration of the call; for the others it is
that of the whole process minus its start-up. CPU seconds are those of the whole process, user and
system, minus the start-up: the imports of a Python client, measured in a separate process, or
`--version`. The peak is the largest resident size of any process of the client. On Linux a child
inherits the peak of its parent, so a peak below the one of this process (`floor_mib`) is invisible.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_UP_RUNS = 3
MAX_RUN_S = 300.0


class Failed(Exception):  # noqa: N818 - part of the report
    """A client failed; the text is one line."""


@dataclass(frozen=True)
class Item:
    """One file to fetch: URL, destination, and the file that it must equal."""

    url: str
    path: Path
    source: Path


@dataclass(frozen=True)
class Job:
    """The files of one run and their folder."""

    items: Sequence[Item]
    folder: Path
    notes: Path
    """A folder for lists of URLs, outside of `folder`."""

    @property
    def url(self) -> str:
        """The URL, if there is only one file."""
        return self.items[0].url

    @property
    def path(self) -> Path:
        """The file to write, if there is only one."""
        return self.items[0].path


@dataclass(frozen=True)
class Measurement:
    """The measurements of one process (s, s, MiB) and its output."""

    elapsed_s: float
    cpu_s: float
    peak_mib: float
    output: str = ""


@dataclass
class Client:
    """One client: its command, its start-up command, and its measurements."""

    name: str
    command: Callable[[Job], list[str]]
    start_up: Sequence[list[str]]
    """Commands that only start the same programs."""
    is_timed_inside: bool = False
    max_rounds: int | None = None
    missing: str = ""
    """Why it cannot run on this machine; empty if it can."""
    failed: str = ""
    runs: list[Measurement] = field(default_factory=list)
    start_up_s: float = 0.0
    start_up_cpu_s: float = 0.0

    @property
    def elapsed_s(self) -> list[float]:
        """The time of each run (s)."""
        return [measured.elapsed_s for measured in self.runs]

    @property
    def cpu_s(self) -> float:
        """The median of the CPU seconds."""
        return statistics.median(measured.cpu_s for measured in self.runs)

    @property
    def peak_mib(self) -> float:
        """The largest peak of all runs (MiB)."""
        return max(measured.peak_mib for measured in self.runs)

    def warm_up(self, env: Mapping[str, str], notes: Path) -> None:
        """Measure the start-up."""
        runs = [
            [run_fresh(command, env, notes) for command in self.start_up]
            for _ in range(START_UP_RUNS)
        ]
        self.start_up_s = statistics.median(sum(one.elapsed_s for one in run) for run in runs)
        self.start_up_cpu_s = statistics.median(sum(one.cpu_s for one in run) for run in runs)

    def run(self, job: Job, env: Mapping[str, str]) -> Measurement:
        """Run once; return the measurements minus the start-up."""
        process = run_fresh(self.command(job), env, job.notes)
        elapsed_s, output = process.elapsed_s - self.start_up_s, ""
        if self.is_timed_inside:
            try:
                elapsed_s, output = json.loads(process.output.splitlines()[-1])
            except (ValueError, IndexError):
                raise Failed("it ended without printing its time") from None
        return Measurement(
            elapsed_s, max(0.0, process.cpu_s - self.start_up_cpu_s), process.peak_mib, output
        )


def run_fresh(command: list[str], env: Mapping[str, str], notes: Path) -> Measurement:
    """Run a command in a new process; `Failed` unless it succeeds."""
    with (notes / "stderr").open("w+b") as errors:
        start_s = time.perf_counter()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env,
            cwd=notes,
        ) as process:  # fmt: skip
            watchdog = threading.Timer(MAX_RUN_S, process.kill)
            watchdog.start()
            try:
                assert process.stdout is not None
                output = process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            finally:
                watchdog.cancel()
            elapsed_s = time.perf_counter() - start_s
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or [""]
            raise Failed(f"exit status {process.returncode} {lines[-1][:200]}".strip())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Measurement(elapsed_s, cpu_s, usage.ru_maxrss / 1024, output.decode(errors="replace"))


def floor_mib() -> float:
    """Return the peak of this process (MiB), below which no client's peak is visible."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check(job: Job, *, checks_bytes: bool) -> None:
    """Check the size of every file, and every byte if `checks_bytes`."""
    for item in job.items:
        try:
            size_bytes = item.path.stat().st_size
        except OSError:
            raise Failed(f"{item.path.name} is missing") from None
        if size_bytes != item.source.stat().st_size:
            raise Failed(f"{item.path.name} has {size_bytes} bytes")
        if checks_bytes and not _is_same(item.path, item.source):
            raise Failed(f"{item.path.name} has the right size and the wrong bytes")


def _is_same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while piece := left.read(2**20):
            if piece != right.read(2**20):
                return False
    return True


def nothing(*_: object) -> None:
    """Do nothing."""


def run_interleaved(
    clients: Sequence[Client],
    job_of: Callable[[Client], Job],
    *,
    rounds: int,
    env: Mapping[str, str],
    before_round: Callable[[], None] = nothing,
    before_run: Callable[[Client, Job], None] = nothing,
    checks_bytes: bool = False,
) -> None:
    """Run every client once per round and record the results; each round begins with the next.

    Files are checked and removed outside of the measured time. A client that fails is not run
    again, and the reason is recorded.
    """
    running = [one for one in clients if not one.missing]
    for one in running:
        one.warm_up(env, job_of(one).notes)
    for number in range(rounds):
        before_round()
        first = number % max(1, len(running))
        for one in [*running[first:], *running[:first]]:
            if one.failed or number >= (one.max_rounds or rounds):
                continue
            job = job_of(one)
            job.folder.mkdir(parents=True, exist_ok=True)
            try:
                before_run(one, job)
                measured = one.run(job, env)
                check(job, checks_bytes=checks_bytes or number == 0)
            except Failed as failure:
                one.failed = str(failure)
                print(f"  {number + 1} {one.name}: {failure}", flush=True)
                continue
            finally:
                shutil.rmtree(job.folder, ignore_errors=True)
            one.runs.append(measured)
            print(
                f"  {number + 1} {one.name:34} {measured.elapsed_s:8.3f} s"
                f" {measured.cpu_s:7.2f} CPU s {measured.peak_mib:5.0f} MiB {measured.output}",
                flush=True,
            )
