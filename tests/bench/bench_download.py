"""Compare downloads with other clients, interleaved in one run, against a local nginx.

    python tests/bench/bench_download.py [--only plain,small] [--rounds 5] [--mib 1024]
                                         [--folder /tmp] [--json FILE]

requirements: nginx, curl, aria2c, wget, openssl, ip and tc on PATH (apt install nginx-light curl
aria2 wget openssl iproute2); pip install vidnb[test] parfive pypdl pooch. A client
that is missing is named in its row; the workloads with a round trip of 40 ms need root.

Every client runs in a new process, once per round; each round begins with the next client, so that
a machine whose speed changes affects all alike. Python clients are timed from call to return, the
others as whole processes minus their start-up time; CPU seconds are those of the whole process less
its start-up (of Python clients: minus their imports). vidnb always computes SHA-256; the others
only if named in the row. Slow clients run `--slow-rounds` times only. Judge by the ratios.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Return the environment of the clients: this checkout's vidnb, and no proxy."""
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    paths = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    return env | {"PYTHONPATH": os.pathsep.join(paths)}


def describe(rounds: int) -> str:
    """Describe the machine and the programs."""

    def first_line(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return (
            (done.stdout + done.stderr).partition("\n")[0].partition(" (")[0].partition(" built")[0]
        )

    programs = [
        first_line("curl", "--version"),
        first_line("aria2c", "--version"),
        first_line("wget", "--version"),
        first_line("nginx", "-v"),
    ]
    machine = (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    return f"{machine}, {', '.join(filter(None, programs))}; {rounds} rounds, interleaved"


def main(description: str | None = __doc__, only: str = "", mib: int = 1024) -> None:
    """Run the requested workloads, by default `only` those, and print their tables."""
    # Imported here, because at first only the folder of the script is on the path.
    sys.path.insert(0, str(ROOT))
    from tests.bench.measure import floor_mib
    from tests.bench.origins import certify, make_files, nginx
    from tests.bench.workloads import WORKLOADS, Bench

    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=only or ",".join(WORKLOADS), help="names, with commas")
    parser.add_argument("--mib", type=int, default=mib, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=1)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    for name in names:
        if name not in WORKLOADS:
            parser.error(f"unknown workload {name!r}; known are {', '.join(WORKLOADS)}")

    # A terminated run stops its servers and removes its namespace, like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    reports = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        files = make_files(
            root, arguments.mib, with_small=any(one.startswith(("small", "batch")) for one in names)
        )
        is_tls_missing = certify(files) if "tls" in names else ""
        bench = Bench(
            root,
            files,
            arguments.rounds,
            arguments.slow_rounds,
            environment(),
            stack.enter_context(nginx(files)),
            stack,
            is_tls_missing,
        )
        for name in names:
            print(f"{name} ...", flush=True)
            for report in WORKLOADS[name](bench):
                print(report.table(), flush=True)
                reports.append(report)
    summary = f"{describe(arguments.rounds)}; peaks below {floor_mib():.0f} MiB are not measurable"
    print(f"\n# {summary}")
    for report in reports:
        print(report.table())
    if arguments.json:
        data = {"about": summary, "workloads": [report.data() for report in reports]}
        arguments.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
