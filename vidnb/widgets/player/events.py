"""What a player tells those who listen: `on`, and the thread on which they are called.

Reports come in on the server's thread, which must never wait, or on the kernel's, which is busy
while a cell runs. So all callbacks of all players run one after the other, in the order of the
events, on one thread of their own: a slow one delays the others, and no video.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["EVENTS", "EventMixin"]

logger = logging.getLogger(__name__)

EVENTS: Final = frozenset(
    {
        "loadeddata",
        "loadedmetadata",
        "durationchange",
        "play",
        "playing",
        "pause",
        "seeking",
        "seeked",
    }
    | {"timeupdate", "ended", "ratechange", "volumechange", "waiting", "stalled"}
    | {"error", "recovered", "route", "marker"}
)
"""What can be listened for: the browser's own names (HTML, section 4.8.11.16), and vidnb's."""

# A callback gets the player; which kind that is, the type checker need not know here.
_Callback = Callable[[Any], object]


class _Calls:
    """The thread that calls back; it begins with the first call and ends when it is idle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, EventMixin]] = deque()
        self._running = False

    def put(self, event: str, announcer: "EventMixin") -> None:
        """Have those who listen for `event` called, after all that was put before."""
        with self._lock:
            # Of positions only the newest is of use to a callback that is slower than they come.
            if event == "timeupdate" and (event, announcer) in self._queue:
                return
            self._queue.append((event, announcer))
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="vidnb events", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running = False
                    return
                event, announcer = self._queue.popleft()
            announcer._vidnb_call(event)  # noqa: SLF001 - not for its users


_calls: _Calls = _Calls()


def _forget() -> None:
    """In a forked child: the thread and what it was to call are the parent's."""
    global _calls  # noqa: PLW0603 - there is one for the process
    _calls = _Calls()


getattr(os, "register_at_fork", dict)(after_in_child=_forget)


class EventMixin:
    """The half of `Player` that tells others what happens to it."""

    # Made on first use, since the traits' own constructor may call back before ours has run.
    _vidnb_callbacks: tuple[tuple[str, _Callback], ...] = ()

    def on(self, event: str, fn: _Callback) -> Callable[[], None]:
        """Call `fn(player)` each time `event` happens; return a function that ends it.

        Events are the browser's (`play`, `pause`, `seeking`, `seeked`, `timeupdate` about four
        times in a second, `ended`, …) and `error`, `recovered`, `route`, `marker`; `ValueError` for
        another. What the player reports is as new as the event or newer. `fn` runs on a thread of
        its own, shared by all players, one call after the other, also while a cell runs (over the
        kernel's own channel: between two cells). An error in it is logged and stops nothing.
        """
        if event not in EVENTS:
            known = ", ".join(sorted(EVENTS))
            raise ValueError(f"a player has no event {event!r}; there are {known}")
        if not callable(fn):
            raise ValueError(f"player.on({event!r}, …) takes a function to call, not {fn!r}")  # noqa: TRY004 - every bad argument of a player is a ValueError
        listener = (event, fn)
        with _adding:
            self._vidnb_callbacks = (*self._vidnb_callbacks, listener)

        def remove() -> None:
            with _adding:
                # By identity: the same function may listen twice and be removed once.
                kept = tuple(one for one in self._vidnb_callbacks if one is not listener)
                self._vidnb_callbacks = kept

        return remove

    def _vidnb_emit(self, event: str) -> None:
        """Tell that `event` has happened; from any thread, never waits."""
        if any(name == event for name, _ in self._vidnb_callbacks):
            _calls.put(event, self)

    def _vidnb_call(self, event: str) -> None:
        """Call those who listen now, each whatever the others do."""
        for name, fn in self._vidnb_callbacks:
            if name == event:
                try:
                    fn(self)
                except Exception:
                    logger.exception("A function given to player.on(%r, …) failed.", event)


_adding: Final = threading.Lock()
