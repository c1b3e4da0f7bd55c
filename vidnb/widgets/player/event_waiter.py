"""Waiting for something to happen in a player: blocking in a cell, or awaited.

What counts is what happened since Python's last command, or since the last wait for the same: so
`player.seek(3).wait_for("seeked")` does not miss a browser that was faster than the next line, and
an event of before is not taken for the one that is waited for.
"""

import asyncio
import math
import sys
import threading
from contextlib import suppress
from typing import Final, Self

from vidnb.download.planner.progress import format_duration_s
from vidnb.errors import PlayerTimeout
from vidnb.widgets.player.events import EVENTS
from vidnb.widgets.player.views import Views, seconds

__all__ = ["EventWaiters", "WaitMixin", "checked_timeout"]

UNREPORTED_ROUTES: Final = frozenset({"kernel", "files"})
"""Roads on which the page has no way to post: what it says comes over the kernel's own channel."""

_LASTING: Final = frozenset({"loadedmetadata", "durationchange", "route"})  # once for all commands


class EventWaiters:
    """What has happened, and who waits for it; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self._awaiting: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    def begin(self) -> None:
        """Forget what happened before: a command was given."""
        with self._changed:
            self._seen &= _LASTING

    def note(self, event: str) -> None:
        """Wake whoever waits for `event`."""
        with self._changed:
            self._seen.add(event)
            if event == "recovered":
                self._seen.discard("error")
            self._changed.notify_all()
            for name, loop, woken in self._awaiting:
                if event in {name, "error"}:
                    with suppress(RuntimeError):  # a loop that was closed waits for nothing
                        loop.call_soon_threadsafe(woken.set)

    def wait(self, event: str, timeout_s: float | None) -> bool:
        """Block until `event` has happened, at most so long (s); return whether it has.

        False at once where the player has failed: then nothing else will happen.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._seen & {event, "error"}, timeout_s)
            return self._took(event)

    async def wait_async(self, event: str, timeout_s: float | None) -> bool:
        """Do the same without blocking the loop."""
        woken = asyncio.Event()
        waiting = event, asyncio.get_running_loop(), woken
        with self._changed:
            if self._seen & {event, "error"}:
                return self._took(event)
            self._awaiting.append(waiting)
        try:
            async with asyncio.timeout(timeout_s):
                await woken.wait()
        except TimeoutError:
            return False
        finally:
            with self._changed:
                self._awaiting.remove(waiting)
        with self._changed:
            return self._took(event)

    def _took(self, event: str) -> bool:
        happened = event in self._seen
        if event not in _LASTING:
            self._seen.discard(event)
        return happened


class WaitMixin:
    """The half of `Player` that waits for the browser."""

    name: str
    _vidnb_views: Views
    _vidnb_happenings: EventWaiters
    _vidnb_comm_thread: int | None

    def wait_for(self, event: str, timeout_s: float | None = 5.0) -> Self:
        """Block until `event` has happened since the last command, and return the player.

        Events are those of `on`. Works while the cell runs, as long as the video comes over HTTP
        (`route`). `PlayerTimeout`, which is a `TimeoutError`, after `timeout_s` seconds (None waits
        for ever), and at once where the player fails or cannot be heard inside a cell; `ValueError`
        for an event there is not.
        """
        _check(event)
        timeout_s = checked_timeout("wait_for", timeout_s)
        self._vidnb_refuse_deaf(f"wait_for({event!r})", f"wait_for_async({event!r})")
        if not self._vidnb_happenings.wait(event, timeout_s):
            raise PlayerTimeout(self._vidnb_why(f"report {event!r}", timeout_s))
        return self

    async def wait_for_async(self, event: str, timeout_s: float | None = 5.0) -> Self:
        """Do what `wait_for` does without blocking the kernel: `await` it in a cell.

        So it hears by the kernel's own channel too; but not on ipykernel 6, which reads nothing
        while a cell awaits.
        """
        _check(event)
        timeout_s = checked_timeout("wait_for_async", timeout_s)
        self._vidnb_refuse_deaf_coroutine(f"wait_for_async({event!r})")
        if not await self._vidnb_happenings.wait_async(event, timeout_s):
            raise PlayerTimeout(self._vidnb_why(f"report {event!r}", timeout_s))
        return self

    def _vidnb_refuse_deaf(self, call: str, instead: str) -> None:
        """Raise where this very thread is the one that would have to hear the browser."""
        report = self._vidnb_views.report
        if report is None or report.route not in UNREPORTED_ROUTES:
            return
        if self._vidnb_comm_thread == threading.get_ident():
            raise PlayerTimeout(
                f"{self.name} is shown by way of the kernel's own channel, which is read between "
                f"two cells only, so {call} cannot hear it while this one runs; "
                f"use `await player.{instead}`, or ask in the next cell."
            )

    def _vidnb_refuse_deaf_coroutine(self, call: str) -> None:
        """Raise where not even a cell that awaits lets its kernel hear."""
        report = self._vidnb_views.report
        if report is None or report.route not in UNREPORTED_ROUTES or not _is_old_kernel():
            return
        if self._vidnb_comm_thread == threading.get_ident():
            raise PlayerTimeout(
                f"{self.name} is shown by way of the kernel's own channel, which ipykernel 6 reads "
                f"between two cells only, so {call} cannot hear it while this one runs; ask in the "
                "next cell, or install ipykernel 7."
            )

    def _vidnb_why(self, what: str, timeout_s: float | None) -> str:
        within = "" if timeout_s is None else f" within {timeout_s:g} s"
        report = self._vidnb_views.report
        if report is None:
            return (
                f"{self.name} did not {what}{within}, for no page has shown it yet: display the "
                "player, and scroll to where it is." + (_OLD_KERNEL if _is_old_kernel() else "")
            )
        if report.error is not None:
            return f"{self.name} did not {what}{within}, because it has failed: {report.error}"
        state = "paused" if report.paused else "playing"
        at = format_duration_s(report.current_time)
        return (
            f"{self.name} did not {what}{within} ({state} at {at}): is its page still open? "
            "A longer timeout_s waits longer."
        )


_OLD_KERNEL: Final = (
    " By the kernel's own channel ipykernel 6 hears a page between two cells only: ask in the next."
)


def _is_old_kernel() -> bool:
    """Whether this is a kernel that reads no messages while a cell awaits."""
    version = getattr(sys.modules.get("ipykernel"), "version_info", None)
    return isinstance(version, tuple) and version[:1] < (7,)


def checked_timeout(call: str, timeout_s: object) -> float | None:
    """Return a timeout (s); `ValueError` where it is negative or no number."""
    if timeout_s is None or timeout_s == math.inf:
        return None
    checked = seconds(timeout_s)
    if checked is None:
        raise ValueError(f"{call} takes timeout_s in seconds, not negative, not {timeout_s!r}")
    return checked


def _check(event: str) -> None:
    if event not in EVENTS:
        known = ", ".join(sorted(EVENTS))
        raise ValueError(f"a player has no event {event!r}; there are {known}")
