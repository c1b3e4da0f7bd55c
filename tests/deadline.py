"""How long a test waits for an event before it fails: long, because machines vary tenfold.

A test asserts no time of its own below ten seconds; it waits for what it needs, by these.
"""

import os
import time
from collections.abc import Callable

SLOWNESS = max(1.0, float(os.environ.get("VIDNB_TEST_SLOWNESS", "1")))
"""How many times slower this machine is than a quiet one; `.ci/run` measures it."""

DEADLINE_S = 120.0 * SLOWNESS

IDLE_S = 0.5 * SLOWNESS
"""An idle timeout for silence that a test makes: a busy machine is silent for less by itself."""


def wait_until(
    is_so: Callable[[], object], *, pause: Callable[[], object] = lambda: time.sleep(0.005)
) -> None:
    """Wait until something has happened, by pauses; fail the test if it does not."""
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s, f"it did not happen within {DEADLINE_S:.0f} s"
        pause()
