"""The state of a running download, and the handle that reads, pauses and resumes it."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from enum import Enum

from vidnb.download.feed import ReadFeed
from vidnb.download.planner.progress import Progress, ProgressMeter

__all__ = ["DownloadHandle", "DownloadStatus", "Phase"]


class Phase(Enum):
    """The state of a download; the values are shown to users."""

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
        """Whether the download has ended."""
        return self in {Phase.DONE, Phase.FAILED, Phase.CANCELLED}


@dataclass(slots=True)
class DownloadStatus:
    """The state of one download; any thread may read a field, since each is replaced whole.

    `name`: the file's name. `done_bytes`: stored so far (B),
    `initial_bytes` of them by an earlier run. `total_bytes`: the length (B), None
    while unknown. `resumable_bytes`: what a later run could resume from (B). `note`: one clause
    about `phase`. `retries`: the number of retries, each after a delay; `retry_note`: one clause
    about the last. `lock` protects `meter` and the `done_bytes` that it starts from. `resumed` is
    set while the download is not paused; it belongs to `loop`.
    """

    name: str = ""
    phase: Phase = Phase.CONNECTING
    note: str = ""
    done_bytes: int = 0
    initial_bytes: int = 0
    total_bytes: int | None = None
    resumable_bytes: int = 0
    retries: int = 0
    retry_note: str = ""
    is_paused: bool = False
    meter: ProgressMeter = field(
        default_factory=lambda: ProgressMeter(time.monotonic()), compare=False
    )
    loop: asyncio.AbstractEventLoop | None = None
    resumed: asyncio.Event | None = None
    feed: ReadFeed = field(default_factory=ReadFeed, compare=False)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)


class DownloadHandle:
    """Access to one download for one caller; callers that joined one download share its `status`.

    `progress`, `pause` and `resume` may be called from any thread, the rest on the download's loop.
    """

    def __init__(self) -> None:
        self.status = DownloadStatus()
        self._lock = threading.Lock()  # a pause while the status is replaced must not be lost

    def follow(self, other: "DownloadHandle") -> None:
        """Share the status of `other`; a pause of this handle pauses that download."""
        with self._lock:
            if self.status is not other.status:
                if self.status.is_paused:
                    other.pause()
                self.status = other.status

    def attach_loop(self) -> None:
        """Bind the status to the running loop, so that `pause` takes effect."""
        status = self.status
        status.loop = asyncio.get_running_loop()
        status.resumed = asyncio.Event()
        if not status.is_paused:
            status.resumed.set()

    def start_meter(self, done_bytes: int) -> None:
        """Start to measure the throughput; `done_bytes` of an earlier run do not count as speed."""
        status = self.status
        with status.lock:
            status.done_bytes = status.initial_bytes = status.resumable_bytes = done_bytes
            status.meter = ProgressMeter(time.monotonic(), done_bytes)

    def end(self, phase: Phase, note: str) -> None:
        """Set the final phase."""
        self.status.note = note
        self.status.phase = phase

    def progress(self) -> Progress:
        """Return the current bytes, the throughput of the last seconds (B/s) and the time left."""
        status = self.status
        with status.lock:
            return status.meter.update(time.monotonic(), status.done_bytes, status.total_bytes)

    def pause(self) -> None:
        """Stop reading from the origin; bytes already received are still written."""
        with self._lock:
            self.status.is_paused = True
            self._set_resumed(is_set=False)

    def resume(self) -> None:
        """Continue after `pause`; connections that were lost meanwhile are opened again."""
        with self._lock:
            status = self.status
            status.is_paused = False
            with status.lock:  # the pause must not count as a slow network
                status.meter = ProgressMeter(time.monotonic(), status.done_bytes)
            self._set_resumed(is_set=True)

    def _set_resumed(self, *, is_set: bool) -> None:
        loop, resumed = self.status.loop, self.status.resumed
        if loop is not None and resumed is not None and not loop.is_closed():
            loop.call_soon_threadsafe(resumed.set if is_set else resumed.clear)

    async def until_resumed(self) -> None:
        """Wait while the download is paused."""
        status = self.status
        if status.is_paused and status.resumed is not None:
            status.phase = Phase.PAUSED
            await status.resumed.wait()
            # Not the phase of before: another connection of this download may have set it.
            status.phase = Phase.DOWNLOADING
