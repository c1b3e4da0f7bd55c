"""The workloads of the server bench: the requests of each, and the limits for its figures."""

import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.disk import SlowDiskUnavailable, evict, slow_disk
from tests.bench.measure import Failed
from tests.bench.range_client import WrongResponse, many, seeks, stall, whole
from tests.bench.servers import Server
from tests.bench.serving_report import Column, Limit, Workload

STALLED = 200
SLOW_RATE = 16_000_000  # B/s
KIB, MIB = 2**10, 2**20

Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """The files that are requested, and for how long (s)."""

    file: Path
    cold: Path
    seconds: float
    rounds: int


def _quantile(latencies_s: Sequence[float], share: float) -> float:
    return sorted(latencies_s)[min(len(latencies_s) - 1, int(len(latencies_s) * share))]


def _latencies(latencies_s: Sequence[float]) -> Figures:
    return {
        "p50_ms": 1e3 * statistics.median(latencies_s),
        "p99_ms": 1e3 * _quantile(latencies_s, 0.99),
        "worst_ms": 1e3 * max(latencies_s),
    }


def _whole(server: Server, plan: Plan) -> Figures:
    gib = plan.file.stat().st_size / 2**30
    cpu_s, elapsed_s = server.cpu_s(), whole(server.probe(plan.file))
    return {"s": elapsed_s / gib, "cpu_s": (server.cpu_s() - cpu_s) / gib}


def _ranges(count: int, connections: int) -> Callable[[Server, Plan], Figures]:
    def run(server: Server, plan: Plan) -> Figures:
        cpu_s = server.cpu_s()
        rate, latencies_s = many(
            server.probe(plan.file), count, connections=connections, duration_s=plan.seconds
        )
        gib = len(latencies_s) * count / 2**30
        return {
            "rate": rate,
            "each_ms": 1e3 / rate,
            "p99_ms": 1e3 * _quantile(latencies_s, 0.99),
            "cpu_s": (server.cpu_s() - cpu_s) / gib,
        }

    return run


def _seek(server: Server, plan: Plan) -> Figures:
    cpu_s = server.cpu_s()
    latencies_s = seeks(server.probe(plan.file), 64 * KIB, times=2000, duration_s=plan.seconds)
    return _latencies(latencies_s) | {"cpu_us": 1e6 * (server.cpu_s() - cpu_s) / len(latencies_s)}


def _busy(server: Server, plan: Plan) -> Figures:
    # Random pauses: without them a server that is still busy after its last byte reads the next
    # request before it has to wait for the interpreter lock.
    with server.busy():
        latencies_s = seeks(
            server.probe(plan.file), 64 * KIB, times=2000, duration_s=2 * plan.seconds, pause_s=0.01
        )
    return _latencies(latencies_s)


def _stalled(server: Server, plan: Plan) -> Figures:
    probe = server.probe(plan.file)
    seeks(probe, 64 * KIB, times=50, duration_s=plan.seconds)
    before_mib, unserved = server.memory_mib(), 0
    with ExitStack() as stack:
        for _ in range(STALLED):
            try:
                stack.enter_context(stall(probe))
            except (OSError, WrongResponse):
                unserved += 1
        for _ in range(20):
            try:
                seeks(probe, 64 * KIB, times=5, duration_s=plan.seconds)
            except (OSError, WrongResponse):
                unserved += 1
        added_mib = server.memory_mib() - before_mib
    return {"added_mib": added_mib, "unserved": float(unserved)}


def _cold(server: Server, plan: Plan) -> Figures:
    evict(plan.cold)
    url = server.urls[plan.cold.name]
    latencies_s = []
    with slow_disk(plan.cold, server.pids(), SLOW_RATE):
        command = ["curl", "-qs", "-o", "/dev/null", url]
        with subprocess.Popen(command) as reader:
            try:
                latencies_s = seeks(
                    server.probe(plan.file), 64 * KIB, times=10**6, duration_s=2 * plan.seconds,
                    pause_s=0.004,
                )  # fmt: skip
                if reader.poll() is not None:
                    raise Failed("the cold file was read completely: the disk was not slow")
            finally:
                reader.terminate()
    return _latencies(latencies_s)


P50, P99 = Column("p50_ms", "p50 ms"), Column("p99_ms", "p99 ms")
WORST = Column("worst_ms", "worst ms")
CPU = Column("cpu_s", "CPU s/GiB")
RATE = Column("rate", "responses/s", is_more_better=True)

WORKLOADS: Mapping[str, Workload[Plan]] = {
    "whole": Workload(
        "the whole file over one connection",
        _whole,
        (Column("s", "s/GiB"), CPU),
        (
            Limit("s", 1.25, "nginx"),
            Limit("cpu_s", 1.5, "nginx"),
        ),
    ),
    "small": Workload(
        "64 KiB ranges over 32 connections",
        _ranges(64 * KIB, 32),
        (RATE, P99, CPU),
        (
            Limit("each_ms", 1 / 1.35, "Python"),
            Limit("p99_ms", 1.0, "Python", chosen_by="each_ms"),
            Limit("each_ms", 2.0, "nginx"),
        ),
    ),
    "large": Workload(
        "1 MiB ranges over 8 connections",
        _ranges(MIB, 8),
        (RATE, P99, CPU),
        (Limit("each_ms", 1.25, "nginx"),),
    ),
    "seek": Workload(
        "one connection, 64 KiB ranges one by one, to the first byte of the body",
        _seek,
        (P50, P99, WORST, Column("cpu_us", "CPU µs each")),
        (Limit("p50_ms", 1.5, "nginx"), Limit("p99_ms", 1.0, "Python", chosen_by="p50_ms")),
    ),
    "busy": Workload(
        "the same with pauses of 0 to 10 ms, while the server's main thread computes",
        _busy,
        (P50, P99, WORST),
        (Limit("p50_ms", 1.0, "Python"), Limit("p99_ms", 20)),
        is_python_only=True,
    ),
    "stalled": Workload(
        f"{STALLED} clients that stall, and 20 that do not",
        _stalled,
        (Column("added_mib", "MiB added"), Column("unserved", "unserved")),
        (Limit("added_mib", 24), Limit("unserved", 0.5)),
        max_rounds=1,
    ),
    "cold": Workload(
        f"seeks in a cached file while another is read from a disk of {SLOW_RATE // 10**6} MB/s",
        _cold,
        (P50, P99, WORST),
        (Limit("p99_ms", 5),),
        max_rounds=3,
    ),
}

FAILURES = (Failed, WrongResponse, SlowDiskUnavailable, OSError)
"""The errors of one run of one server that do not end the bench."""
