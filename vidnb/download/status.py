"""What others may see of a running download, and the one thing they may do to it: pause it."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from enum import Enum

from vidnb.download.feed import Feed
from vidnb.download.planner.progress import Progress, ProgressMeter

__all__ = ["DownloadHandle", "DownloadStatus", "Phase"]


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
class DownloadStatus:
    """What is known of one download; each field is replaced whole, so any thread may read it.

    `name` is the file's name, `done_bytes` what is stored, `total_bytes` the length (None: not
    known), `resumable_bytes` what a next run could resume from (B); `note` is one clause about `phase`.
    """

    name: str = ""
    phase: Phase = Phase.CONNECTING
    note: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    resumable_bytes: int = 0
    is_paused: bool = False
    meter: ProgressMeter = field(
        default_factory=lambda: ProgressMeter(time.monotonic()), compare=False
    )
    loop: asyncio.AbstractEventLoop | None = None
    may_go: asyncio.Event | None = None
    feed: Feed = field(default_factory=Feed, compare=False)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)


class DownloadHandle:
    """A caller's hold on one download; two callers who joined one download share its `status`."""

    def __init__(self) -> None:
        self.status = DownloadStatus()

    def follow(self, other: "DownloadHandle") -> None:
        """See and do from now on what `other` sees and does."""
        if self.status is not other.status:
            if self.status.is_paused:
                other.pause()
            self.status = other.status

    def start(self) -> None:
        """Be ready to be paused; called on the download's loop."""
        status = self.status
        status.loop = asyncio.get_running_loop()
        status.may_go = asyncio.Event()
        if not status.is_paused:
            status.may_go.set()

    def begin(self, done_bytes: int) -> None:
        """Begin to measure, with what an earlier run left."""
        status = self.status
        status.done_bytes = status.resumable_bytes = done_bytes
        status.meter = ProgressMeter(time.monotonic(), done_bytes)

    def end(self, phase: Phase, note: str) -> None:
        """Say how it ended."""
        self.status.note = note
        self.status.phase = phase

    def progress(self) -> Progress:
        """Return the reading of this moment: bytes, B/s over the last seconds, seconds left."""
        status = self.status
        with status.lock:  # a meter remembers, and several threads may ask
            return status.meter.update(time.monotonic(), status.done_bytes, status.total_bytes)

    def pause(self) -> None:
        """Stop reading from the origin; what is on its way to the disk still gets there."""
        self.status.is_paused = True
        self._gate(is_open=False)

    def resume(self) -> None:
        """Go on after `pause`; connections that were lost meanwhile are opened again."""
        status = self.status
        status.is_paused = False
        status.meter = ProgressMeter(
            time.monotonic(), status.done_bytes
        )  # the rest was no slow network
        self._gate(is_open=True)

    def _gate(self, *, is_open: bool) -> None:
        loop, may_go = self.status.loop, self.status.may_go
        if loop is not None and may_go is not None and not loop.is_closed():
            loop.call_soon_threadsafe(may_go.set if is_open else may_go.clear)

    async def until_resumed(self) -> None:
        """Hold the caller, on the download's loop, while the download is paused."""
        status = self.status
        if status.is_paused and status.may_go is not None:
            status.phase = Phase.PAUSED
            await status.may_go.wait()
            # Not what it was before: another connection of this download may have set it.
            status.phase = Phase.DOWNLOADING
