"""Compare the range server with other servers, interleaved in one run, on this machine.

    python tests/bench/bench_server.py [--only whole,seek] [--quick] [--rounds 5] [--mib 1024]
                                       [--folder /tmp] [--json FILE]

requirements: nginx, caddy, curl, taskset on PATH (apt install nginx-light caddy curl util-linux);
pip install vidnb[test] starlette uvicorn tornado quart hypercorn rangehttpserver. A peer that is
missing is named in its row; the slow disk needs root and control groups with `blkio`.

All servers run at the same time on the first core. They are measured one after another, and each
round begins with the next server, so that a machine whose speed changes affects all alike. The
client is this process, on the last core. The file is locked in memory. CPU seconds are those of the
server's processes. Compare the ratios of medians and of bests, and on a machine that runs other
programs those of CPU seconds: each server gets only its share of the core there.
"""

import argparse
import gc
import json
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS, QUICK_SECONDS = 1.5, 0.6
SLOW_S = 10.0
"""A server that takes longer for a whole file gets one round only."""


def main() -> None:
    """Run the chosen workloads and print their tables."""
    # Imported here, because at first only the folder of the script is on the path.
    sys.path.insert(0, str(ROOT))
    from tests.bench.bench_download import environment
    from tests.bench.disk import in_memory
    from tests.bench.origins import make_files
    from tests.bench.servers import start_all
    from tests.bench.serving import FAILURES, WORKLOADS, Plan
    from tests.bench.serving_report import Report

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORKLOADS), help="names, joined by commas")
    parser.add_argument("--quick", action="store_true", help="256 MiB, two short rounds")
    parser.add_argument("--mib", type=int, help="size of the file (1024)")
    parser.add_argument("--rounds", type=int, help="(5)")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    for name in names:
        if name not in WORKLOADS:
            parser.error(f"unknown workload {name!r}; known are {', '.join(WORKLOADS)}")
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    mib = arguments.mib or (256 if arguments.quick else 1024)
    seconds = QUICK_SECONDS if arguments.quick else SECONDS

    # A terminated run ends its servers, like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    start_s, reports, cores = time.monotonic(), [], sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        root.chmod(0o755)
        files = make_files(root, mib, with_small=False)
        plan = Plan(files.www / "file.bin", files.www / "slow.bin", seconds, rounds)
        locked = stack.enter_context(in_memory(plan.file))
        servers = start_all(files, [plan.file, plan.cold], cores[0], environment(), stack)
        gc.disable()
        for name in names:
            work = WORKLOADS[name]
            compared = [one for one in servers if one.is_python or not work.is_python_only]
            report = Report(name, work.title, work.columns, work.limits, compared, {}, {})
            running = [one for one in compared if not one.missing]
            for number in range(min(rounds, work.max_rounds or rounds)):
                gc.collect()
                first = number % len(running)
                for server in [*running[first:], *running[:first]]:
                    earlier = report.runs.setdefault(server.name, [])
                    if server.name in report.failed or (
                        earlier and earlier[0].get("s", 0.0) > SLOW_S
                    ):
                        continue
                    try:
                        earlier.append(work.run(server, plan))
                    except FAILURES as failure:
                        report.failed[server.name] = f"{type(failure).__name__}: {failure}"
            print(report.table(), flush=True)
            reports.append(report)
        peaks = {one.name: round(one.memory_mib("VmHWM")) for one in servers if not one.missing}
    about = (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        f"{rounds} rounds, interleaved, {mib} MiB {locked}; {time.monotonic() - start_s:.0f} s"
    )
    print(f"\npeak MiB: {', '.join(f'{name} {mib}' for name, mib in peaks.items())}\n{about}")
    if arguments.json:
        data = {"about": about, "peaks": peaks, "workloads": [one.data() for one in reports]}
        arguments.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
