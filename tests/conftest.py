"""How the tests run in two tiers and several processes, and what fails any of them."""

import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster
from hypothesis import settings

import vidnb

# A run that was started in the background may have inherited an ignored SIGINT, and so would every
# program it starts; several tests press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

_STARTED_S = time.time()


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis try a few fixed examples in the default tier, and new ones in the full one."""
    settings.register_profile("default tier", max_examples=25, deadline=None, derandomize=True)
    settings.register_profile("full tier", deadline=None)
    settings.load_profile("default tier" if _is_default_tier(config) else "full tier")


def _is_default_tier(config: pytest.Config) -> bool:
    return str(config.option.markexpr).strip() == "not slow"


def pytest_xdist_auto_num_workers() -> int:
    """One process for each core that this one may use, eight at most: each imports everything."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell the time of each stage, and what was left out."""
    stages: dict[str, float] = defaultdict(float)
    if "VIDNB_CI_STARTED" in os.environ:
        stages["install"] = _STARTED_S - float(os.environ["VIDNB_CI_STARTED"])
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                stages[_stage(report.nodeid)] += report.duration
    terminalreporter.section("seconds in each stage, added up over all processes")
    for stage, taken_s in sorted(stages.items(), key=lambda stage: -stage[1]):
        terminalreporter.line(f"{taken_s:8.1f}  {stage}")
    spent = os.times()
    cpu_s = spent.user + spent.system + spent.children_user + spent.children_system
    terminalreporter.line(f"{cpu_s:8.1f}  of processor time, with all programs started and ended")
    if _is_default_tier(config):
        terminalreporter.line('Left out: the slow tests. -m "slow or not slow" runs everything.')
    if os.environ.get("VIDNB_TEST_BROWSER"):
        terminalreporter.line(
            "Left out: all browser tests except the quickstart, because a loop of plain Python took"
            f" {os.environ.get('VIDNB_TEST_SLOWNESS')} times as long as on a quiet machine."
        )


def _stage(nodeid: str) -> str:
    path, _, test = nodeid.partition("::")
    folder, *inner, file = path.split("/")
    if file == "test_style.py":
        return test.partition("[")[2].partition("]")[0]  # lint, format, types: each is one test
    return inner[0] if inner else f"{folder}/*" if folder == "notebooks" else file


@pytest.fixture(scope="session", autouse=True)
def no_blocking_call_on_an_event_loop() -> Iterator[BlockBuster]:
    """Raise `BlockingError` where code of vidnb's, or anything on vidnb's own loops, blocks.

    vidnb's loops run under `vidnb/io/loop.py`, so whatever blocks there has a frame of vidnb's
    below it; on a caller's loop only vidnb's own calls are looked at.
    """
    buster = BlockBuster(scanned_modules=vidnb)
    # Where a path leads is decided once, in the caller's thread, before any work begins.
    for name in ("os.stat", "os.getcwd"):
        buster.functions[name].can_block_in("vidnb/download/request.py", "_folder_and_file")
    # The socket does not block, and the bytes are in memory: as in asyncio's own sendfile.
    buster.functions["os.sendfile"].can_block_in("vidnb/server/response_writer.py", "_sendfile")
    # The tracer's own lock, held by whoever collects its data at the moment.
    buster.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
    buster.activate()
    yield buster
    buster.deactivate()


class _Unheard(logging.Handler):
    """Keeps what asyncio could tell nobody: exceptions never retrieved, tasks destroyed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def no_unheard_error() -> Iterator[None]:
    """Fail where asyncio logs an error: a person would see it as a traceback under the cell."""
    unheard = _Unheard()
    logger = logging.getLogger("asyncio")
    logger.addHandler(unheard)
    yield
    logger.removeHandler(unheard)
    assert not unheard.lines, "\n".join(unheard.lines)
