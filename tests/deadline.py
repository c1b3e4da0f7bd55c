"""Deadlines of tests: generous, because the speed of machines varies tenfold.

No test asserts an elapsed time below ten seconds; it waits for an event with these deadlines.
"""

import os
import time
from collections.abc import Callable

SLOWNESS = max(1.0, float(os.environ.get("VIDNB_TEST_SLOWNESS", "1")))
"""How many times slower this machine is than an idle one, as measured by `.ci/run`."""

DEADLINE_S = 120.0 * SLOWNESS

IDLE_S = 0.5 * SLOWNESS
"""The idle timeout of tests whose origin stops sending; a busy machine pauses for less."""


def wait_until(
    condition: Callable[[], object], *, pause: Callable[[], object] = lambda: time.sleep(0.005)
) -> None:
    """Poll a condition until it is true, with a pause between polls; fail at the deadline."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, f"the condition is still false after {DEADLINE_S:.0f} s"
        pause()
