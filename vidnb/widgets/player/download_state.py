"""`play(url)`: the download behind a player, and what its strip tells of it.

While the file arrives the views hear at 5 Hz what of it is on this machine, as shares of its bytes
(which are near those of its time), what the download does, and how often its source turned out to
be another file; at the end whether it is saved.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack

from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle, Phase
from vidnb.download.stream import Stream
from vidnb.http.ranges import ByteRangeSet
from vidnb.io.regular_file import StrPath
from vidnb.server.partial_source import PartialSource
from vidnb.server.server import Served, register
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.progress.rendering import final_text

__all__ = ["DownloadStateSender", "serve_stream", "shares"]

_MOST_SPANS = 64
"""More gaps than these nobody sees on a timeline."""


def serve_stream(
    url: str, save_to: StrPath | None, made: ExitStack
) -> tuple[Served, "DownloadStateSender"]:
    """Begin to fetch `url` and serve what arrives; both end with `made`.

    Raises what the download raises where it fails before the size is known.
    """
    jobs: list[DownloadJob] = []

    def begin(order: DownloadRequest) -> tuple[DownloadHandle, Future[DownloadResult]]:
        jobs.append(DownloadJob(order))
        return jobs[0].parts

    stream = Stream(url, save_to, begin=begin)
    size_bytes = stream.opened()
    served = made.enter_context(register(lambda: (PartialSource(stream), size_bytes)))
    return served, DownloadStateSender(jobs[0], stream.handle)


def shares(stored: ByteRangeSet, size_bytes: int) -> list[list[float]]:
    """Return the stored bytes as shares of the file, each `[from, to]`, at most 64 of them.

    Where there are more, the shortest ones are left out: better to tell of too little than of what
    is not there.
    """
    byte_ranges = sorted(stored, key=lambda byte_range: byte_range.size_bytes, reverse=True)[
        :_MOST_SPANS
    ]
    return [
        [round(byte_range.start / size_bytes, 5), round(byte_range.stop / size_bytes, 5)]
        for byte_range in sorted(byte_ranges, key=lambda byte_range: byte_range.start)
    ]


class DownloadStateSender:
    """What of a file is here; a `Display` of its download that tells `hear` of each change."""

    def __init__(self, job: DownloadJob, handle: DownloadHandle) -> None:
        self.job = job
        self.hear: Callable[[dict[str, object]], None] = lambda _: None
        self._handle = handle
        self._told = ""

    def begin(self, hear: Callable[[dict[str, object]], None]) -> None:
        """Tell `hear` from now on, on whatever thread."""
        self.hear = hear
        self.job.show_on(self)

    @property
    def content(self) -> dict[str, object]:
        """The state of this moment, for a message."""
        status = self._handle.status
        total_bytes = status.total_bytes
        byte_ranges = shares(status.feed.stored, total_bytes) if total_bytes else []
        state = (
            "saved" if status.phase is Phase.DONE else "failed" if status.phase.is_final else "live"
        )
        changes = status.feed.generation  # a view that hears of one more loads the video anew
        note = final_text(self._handle)
        return {"state": state, "spans": byte_ranges, "changes": changes, "note": note}

    def show(self) -> None:
        """Appear: the player does that."""

    def update(self) -> None:
        """Tell what has changed."""
        content = self.content
        text = json.dumps([content["state"], content["spans"], content["changes"]])
        if text != self._told:
            self._told = text
            self.hear(content)

    def finish(self) -> None:
        """Tell how it ended."""
        self.update()
