"""Callbacks for the events of players: `Player.on`, and the thread that calls them.

Reports arrive on a thread of the server, which must not be blocked, or on the kernel's, which is
busy while a cell runs. So all callbacks of all players run one after the other, in the order of the
events, on one thread of their own: a slow one delays the others, and no video.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["EVENTS", "EventMixin", "check_event"]

logger = logging.getLogger(__name__)

_MEDIA_EVENTS: Final = """
    loadeddata loadedmetadata durationchange play playing pause seeking seeked timeupdate ended
    ratechange volumechange waiting stalled
"""
EVENTS: Final = frozenset({*_MEDIA_EVENTS.split(), "error", "recovered", "route", "marker"})
"""The events of a player: the browser's own names (HTML, section 4.8.11.16), and vidnb's."""

# A callback gets the player; which class that is, the type checker need not know here.
_Callback = Callable[[Any], object]


def check_event(event: str) -> None:
    """Raise `ValueError` unless a player has this event."""
    if event not in EVENTS:
        known = ", ".join(sorted(EVENTS))
        raise ValueError(f"a player has no event {event!r}; there are {known}")


class _CallbackThread:
    """The thread that calls the callbacks; it starts with the first event and ends when idle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, EventMixin]] = deque()
        self._is_running = False

    def put(self, event: str, player: "EventMixin") -> None:
        """Queue the callbacks of `player` for `event`."""
        with self._lock:
            # A callback that is slower than the positions arrive gets only the newest.
            if event == "timeupdate" and (event, player) in self._queue:
                return
            self._queue.append((event, player))
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="vidnb events", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._is_running = False
                    return
                event, player = self._queue.popleft()
            player._vidnb_run_callbacks(event)  # noqa: SLF001 - not part of the player's API


_thread: _CallbackThread = _CallbackThread()


def _reset_after_fork() -> None:
    """Use a new thread in a forked child, which does not have the parent's."""
    global _thread  # noqa: PLW0603 - there is one for the process
    _thread = _CallbackThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


class EventMixin:
    """The part of `Player` that calls callbacks."""

    _vidnb_callbacks: tuple[tuple[str, _Callback], ...] = ()

    def on(self, event: str, fn: _Callback) -> Callable[[], None]:
        """Call `fn(player)` each time `event` happens; return a function that removes it.

        Events are the browser's (`play`, `pause`, `seeking`, `seeked`, `timeupdate` about four
        times a second, `ended`, …) and `error`, `recovered`, `route`, `marker`; `ValueError` for
        another. The player's properties are as new as the event or newer. `fn` runs on a thread
        shared by all players, one call after the other, also while a cell runs (where the video
        comes through the kernel channel: between two cells). An error in it is logged and ignored.
        Closing the player removes all callbacks.
        """
        check_event(event)
        if not callable(fn):
            raise ValueError(f"player.on({event!r}, …) needs a function to call, not {fn!r}")  # noqa: TRY004 - every bad argument of a player is a ValueError
        callback = (event, fn)
        with _callbacks_lock:
            self._vidnb_callbacks = (*self._vidnb_callbacks, callback)

        def remove() -> None:
            with _callbacks_lock:
                # By identity: the same function may be registered twice and removed once.
                others = tuple(one for one in self._vidnb_callbacks if one is not callback)
                self._vidnb_callbacks = others

        return remove

    def _vidnb_emit(self, event: str) -> None:
        """Queue the callbacks for `event`; from any thread, never blocks."""
        if any(name == event for name, _ in self._vidnb_callbacks):
            _thread.put(event, self)

    def _vidnb_run_callbacks(self, event: str) -> None:
        for name, fn in self._vidnb_callbacks:
            if name == event:
                try:
                    fn(self)
                except Exception:
                    logger.exception("A function given to player.on(%r, …) failed.", event)

    def _vidnb_remove_callbacks(self) -> None:
        with _callbacks_lock:
            self._vidnb_callbacks = ()


_callbacks_lock: Final = threading.Lock()
