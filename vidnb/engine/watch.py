"""What others may see of a running download, and the one thing they may do to it: pause it."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from enum import Enum

from vidnb.core.progress import Meter, Progress
from vidnb.engine.feed import Feed

__all__ = ["Phase", "View", "Watch"]


class Phase(Enum):
    """Where a download stands, in words fit to be shown."""

    CONNECTING = "connecting"
    DOWNLOADING = "downloading"
    WAITING = "waiting"
    PAUSED = "paused"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in {Phase.DONE, Phase.FAILED, Phase.CANCELLED}


@dataclass(slots=True)
class View:
    """What is known of one download; each field is replaced whole, so any thread may read it.

    `name` is the file's name, `done_bytes` what is stored, `total_bytes` the length (None: not
    known), `kept_bytes` what a next run could resume from (B); `note` is one clause about `phase`.
    """

    name: str = ""
    phase: Phase = Phase.CONNECTING
    note: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    kept_bytes: int = 0
    is_paused: bool = False
    meter: Meter = field(default_factory=lambda: Meter(time.monotonic()), compare=False)
    loop: asyncio.AbstractEventLoop | None = None
    may_go: asyncio.Event | None = None
    feed: Feed = field(default_factory=Feed, compare=False)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)


class Watch:
    """A caller's hold on one download; two callers who joined one download share its `view`."""

    def __init__(self) -> None:
        self.view = View()

    def follow(self, other: "Watch") -> None:
        """See and do from now on what `other` sees and does."""
        if self.view is not other.view:
            if self.view.is_paused:
                other.pause()
            self.view = other.view

    def start(self) -> None:
        """Be ready to be paused; called on the download's loop."""
        view = self.view
        view.loop = asyncio.get_running_loop()
        view.may_go = asyncio.Event()
        if not view.is_paused:
            view.may_go.set()

    def begin(self, done_bytes: int) -> None:
        """Begin to measure, with what an earlier run left."""
        view = self.view
        view.done_bytes = view.kept_bytes = done_bytes
        view.meter = Meter(time.monotonic(), done_bytes)

    def end(self, phase: Phase, note: str) -> None:
        """Say how it ended."""
        self.view.note = note
        self.view.phase = phase

    def progress(self) -> Progress:
        """Return the reading of this moment: bytes, B/s over the last seconds, seconds left."""
        view = self.view
        with view.lock:  # a meter remembers, and several threads may ask
            return view.meter.at(time.monotonic(), view.done_bytes, view.total_bytes)

    def pause(self) -> None:
        """Stop reading from the origin; what is on its way to the disk still gets there."""
        self.view.is_paused = True
        self._gate(is_open=False)

    def resume(self) -> None:
        """Go on after `pause`; connections that were lost meanwhile are opened again."""
        view = self.view
        view.is_paused = False
        view.meter = Meter(time.monotonic(), view.done_bytes)  # the rest was no slow network
        self._gate(is_open=True)

    def _gate(self, *, is_open: bool) -> None:
        loop, may_go = self.view.loop, self.view.may_go
        if loop is not None and may_go is not None and not loop.is_closed():
            loop.call_soon_threadsafe(may_go.set if is_open else may_go.clear)

    async def until_resumed(self) -> None:
        """Hold the caller, on the download's loop, while the download is paused."""
        view = self.view
        if view.is_paused and view.may_go is not None:
            view.phase = Phase.PAUSED
            await view.may_go.wait()
            # Not what it was before: another connection of this download may have set it.
            view.phase = Phase.DOWNLOADING
