"""Configuration of all tests: the two tiers, the worker processes, and checks on every test."""

import logging
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from blockbuster import BlockBuster
from hypothesis import settings

import vidnb

# A run started in the background may inherit an ignored SIGINT, and its child processes with it;
# several tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

_STARTED_S = time.time()


def pytest_configure(config: pytest.Config) -> None:
    """Use a few fixed Hypothesis examples in the default tier, and random ones in the full tier.

    Tests and their child processes use neither the proxy nor the netrc file of this machine's user.
    """
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    os.environ["NETRC"] = os.devnull
    settings.register_profile("default tier", max_examples=25, deadline=None, derandomize=True)
    settings.register_profile("full tier", deadline=None)
    settings.load_profile("default tier" if _is_default_tier(config) else "full tier")


def _is_default_tier(config: pytest.Config) -> bool:
    return str(config.option.markexpr).strip() == "not slow"


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker for each usable core, eight at most, because each imports everything."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the time of each stage and what was left out, directly before pytest's last line."""
    yield
    stages: dict[str, float] = defaultdict(float)
    if "VIDNB_CI_STARTED" in os.environ:
        stages["install"] = _STARTED_S - float(os.environ["VIDNB_CI_STARTED"])
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                stages[_stage(report.nodeid)] += report.duration
    terminalreporter.section("seconds of each stage, summed over all processes")
    for stage, elapsed_s in sorted(stages.items(), key=lambda stage: -stage[1]):
        terminalreporter.line(f"{elapsed_s:8.1f}  {stage}")
    times = os.times()
    cpu_s = times.user + times.system + times.children_user + times.children_system
    terminalreporter.line(f"{cpu_s:8.1f}  CPU time, including child processes that have ended")
    if _is_default_tier(config):
        terminalreporter.line('Left out: the slow tests. -m "slow or not slow" runs everything.')
    if os.environ.get("VIDNB_TEST_BROWSER"):
        terminalreporter.line(
            "Left out: all browser tests except the quickstart, because this machine is"
            f" {os.environ.get('VIDNB_TEST_SLOWNESS')} times slower than an idle one."
        )


_STAGES = {
    "tests/test_architecture.py::test_import_contracts": "import contracts",
    "tests/widgets/test_javascript.py::test_types": "tsc",
}
"""The checks that are a test among others, by node ID."""


def _stage(nodeid: str) -> str:
    if nodeid in _STAGES:
        return _STAGES[nodeid]
    path, _, test = nodeid.partition("::")
    folder, *inner, file = path.split("/")
    if file == "test_style.py":
        return test.partition("[")[2].partition("]")[0]  # lint, format and types
    return inner[0] if inner else f"{folder}/*" if folder == "notebooks" else file


@pytest.fixture(scope="session", autouse=True)
def no_blocking_call_on_an_event_loop() -> Iterator[BlockBuster]:
    """Raise `BlockingError` on a blocking call below a frame of vidnb on an event loop.

    vidnb's own loops run in `vidnb/io/loop.py`, so every call on them has such a frame. On a
    caller's loop only vidnb's calls are checked.
    """
    buster = BlockBuster(scanned_modules=vidnb)
    # The destination is resolved, and a cookie file is read, once, in the caller's thread, before
    # the download starts.
    at_start = {"_folder_and_file", "_checked_cookies"}
    for name in ("os.stat", "os.getcwd"):
        buster.functions[name].can_block_in("vidnb/download/request.py", at_start)
    # The socket is non-blocking and the bytes are in the page cache, as in asyncio's sendfile.
    buster.functions["os.sendfile"].can_block_in("vidnb/server/response_writer.py", "_sendfile")
    lock = buster.functions["threading.Lock.acquire"]
    lock.can_block_predicate = partial(_may_wait_for_lock, lock.can_block_predicate)
    buster.activate()
    yield buster
    buster.deactivate()


def _may_wait_for_lock(is_free: Callable[..., bool], *call: Any, **options: Any) -> bool:
    """Tell whether a lock is free, or coverage's: its tracer takes it where a function begins."""
    wrapper = sys._getframe(1)
    caller = wrapper.f_back
    assert caller is not None
    return is_free(*call, **options) or caller.f_lineno == caller.f_code.co_firstlineno


class _AsyncioErrors(logging.Handler):
    """Collects asyncio's error log: exceptions never retrieved, pending tasks destroyed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def no_asyncio_error() -> Iterator[None]:
    """Fail if asyncio logs an error: in a notebook it is a traceback below the cell."""
    errors = _AsyncioErrors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    yield
    logger.removeHandler(errors)
    assert not errors.lines, "\n".join(errors.lines)
