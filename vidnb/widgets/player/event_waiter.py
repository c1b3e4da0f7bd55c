"""Waiting for an event of a player: blocking in a cell, or awaited.

Events count since Python's last command, or since the last wait for the same event: so
`player.seek(3).wait_for("seeked")` returns also where the browser was faster than the next line,
and an earlier event does not end the wait.
"""

import asyncio
import sys
import threading
from contextlib import suppress
from typing import Any, Final, Self

from vidnb.download.planner.progress import format_duration_s
from vidnb.errors import PlayerTimeout, Unreachable, VidnbError
from vidnb.widgets.player.arguments import check_timeout_s
from vidnb.widgets.player.events import check_event
from vidnb.widgets.player.views import Views

__all__ = ["EventWaiters", "WaitMixin"]

UNREPORTED_ROUTES: Final = frozenset({"kernel", "files"})
"""Routes without a message endpoint: what the page reports comes over the comm."""

_STICKY: Final = frozenset({"loadedmetadata", "durationchange", "route"})  # not reset by a command


class EventWaiters:
    """The events since the last command, and those who wait for one; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self._tasks: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    def reset(self) -> None:
        """Forget earlier events: a command was given."""
        with self._changed:
            self._seen &= _STICKY

    def notify(self, event: str) -> None:
        """Record `event` and wake those who wait for it."""
        with self._changed:
            self._seen.add(event)
            if event == "recovered":
                self._seen.discard("error")
            self._changed.notify_all()
            for name, loop, woken in self._tasks:
                if event in {name, "error"}:
                    with suppress(RuntimeError):  # the loop was closed
                        loop.call_soon_threadsafe(woken.set)

    def wait(self, event: str, timeout_s: float | None) -> bool:
        """Block until `event` or an error, at most `timeout_s`; return whether it was `event`.

        After an error nothing else will happen, so it ends the wait at once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._seen & {event, "error"}, timeout_s)
            return self._consume(event)

    async def wait_async(self, event: str, timeout_s: float | None) -> bool:
        """Do the same without blocking the event loop."""
        woken = asyncio.Event()
        task = event, asyncio.get_running_loop(), woken
        with self._changed:
            if self._seen & {event, "error"}:
                return self._consume(event)
            self._tasks.append(task)
        try:
            async with asyncio.timeout(timeout_s):
                await woken.wait()
        except TimeoutError:
            return False
        finally:
            with self._changed:
                self._tasks.remove(task)
        with self._changed:
            return self._consume(event)

    def _consume(self, event: str) -> bool:
        happened = event in self._seen
        if event not in _STICKY:
            self._seen.discard(event)
        return happened


class WaitMixin:
    """The part of `Player` that waits for the browser."""

    name: str
    urls: list[dict[str, Any]]
    _vidnb_views: Views
    _vidnb_waiters: EventWaiters
    _vidnb_comm_thread: int | None

    def wait_for(self, event: str, timeout_s: float | None = 5.0) -> Self:
        """Block until `event` has happened since the last command, and return the player.

        Events are those of `on`. Works while the cell runs, where the video comes over HTTP
        (`route`). `PlayerTimeout`, which is a `TimeoutError`, after `timeout_s` seconds (None: no
        limit), and at once where the player fails or its messages cannot be received while a cell
        runs; `Unreachable` where the page reports that no route works; `ValueError` for an unknown
        event.
        """
        check_event(event)
        timeout_s = check_timeout_s(timeout_s)
        self._vidnb_check_can_block(f"wait_for({event!r})", f"wait_for_async({event!r})")
        if not self._vidnb_waiters.wait(event, timeout_s):
            raise self._vidnb_wait_error(f"report {event!r}", timeout_s)
        return self

    async def wait_for_async(self, event: str, timeout_s: float | None = 5.0) -> Self:
        """Do what `wait_for` does without blocking the kernel: `await` it in a cell.

        So it works where the video comes through the kernel channel too; but not on ipykernel 6,
        which reads no message while a cell awaits.
        """
        check_event(event)
        timeout_s = check_timeout_s(timeout_s)
        self._vidnb_check_can_await(f"wait_for_async({event!r})")
        if not await self._vidnb_waiters.wait_async(event, timeout_s):
            raise self._vidnb_wait_error(f"report {event!r}", timeout_s)
        return self

    def _vidnb_check_can_block(self, call: str, instead: str) -> None:
        """Raise `PlayerTimeout` where the calling thread is the one that reads the messages."""
        if self._vidnb_reads_here():
            raise PlayerTimeout(
                f"{self.name} is shown through the kernel channel, which is read only between two "
                f"cells, so {call} cannot succeed while this cell runs; use "
                f"`await player.{instead}`, or call it in the next cell."
            )

    def _vidnb_check_can_await(self, call: str) -> None:
        """Raise `PlayerTimeout` where the kernel reads no message while a cell awaits."""
        if _is_old_kernel() and self._vidnb_reads_here():
            raise PlayerTimeout(
                f"{self.name} is shown through the kernel channel, which ipykernel 6 reads only "
                f"between two cells, so {call} cannot succeed while this cell runs; call it in the "
                "next cell, or install ipykernel 7."
            )

    def _vidnb_reads_here(self) -> bool:
        report = self._vidnb_views.report
        return (
            report is not None
            and report.route in UNREPORTED_ROUTES
            and self._vidnb_comm_thread == threading.get_ident()
        )

    def _vidnb_wait_error(self, what: str, timeout_s: float | None) -> VidnbError:
        """Return the error that says why the player did not do `what`."""
        within = "" if timeout_s is None else f" within {timeout_s:g} s"
        head = f"{self.name} did not {what}{within}"
        report = self._vidnb_views.report
        if report is None:
            hint = (
                " Through the kernel channel ipykernel 6 receives reports only between two cells: "
                "call it in the next one."
            )
            return PlayerTimeout(
                f"{head}: no page has shown it yet; display the player, and scroll to it."
                f"{hint if _is_old_kernel() else ''}"
            )
        # A page that has a working route has not tried them all, also where the file cannot be
        # decoded; of the route that failed last it reports no reason then.
        if report.error is not None and len(report.routes_tried) >= len(self.urls):
            tried = tuple(f"{route}: {reason}" for route, reason in report.routes_tried)
            return Unreachable(
                f"The browser cannot reach {self.name} by any route ({'; '.join(tried)}): run `pip "
                "install jupyter-server-proxy` beside the notebook server and restart it, or set "
                "VIDNB_URL_TEMPLATE to a proxy's URL, then run the cell again.",
                tried=tried,
            )
        if report.error is not None:
            return PlayerTimeout(f"{head}, because it has failed: {report.error}")
        state = "paused" if report.paused else "playing"
        position = format_duration_s(report.current_time)
        return PlayerTimeout(
            f"{head} ({state} at {position}): check that its page is still open, or pass a longer "
            "timeout_s."
        )


def _is_old_kernel() -> bool:
    """Return whether this is ipykernel 6, which reads no messages while a cell awaits."""
    version = getattr(sys.modules.get("ipykernel"), "version_info", None)
    return isinstance(version, tuple) and version[:1] < (7,)
