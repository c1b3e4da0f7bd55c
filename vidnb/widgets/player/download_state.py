"""`play(url)`: the download behind a player, and its state for the views.

While the file downloads the views get at 5 Hz which parts of it are stored, as fractions of its
bytes, and how often the file changed at its source; at the end whether it is saved.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final

from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle, Phase
from vidnb.download.stream import Stream
from vidnb.http.ranges import ByteRangeSet
from vidnb.io.regular_file import StrPath
from vidnb.server.partial_source import PartialSource
from vidnb.server.server import Served, register
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.progress.rendering import final_text

__all__ = ["DownloadStateSender", "serve_stream", "stored_fractions"]

_MAX_RANGES: Final = 64  # more than a timeline can show


def serve_stream(
    url: str, save_to: StrPath | None, owned: ExitStack
) -> tuple[Served, "DownloadStateSender"]:
    """Start the download of `url` and serve what is stored of it; both end with `owned`.

    Raises what the download raises where it fails before the size is known.
    """
    jobs: list[DownloadJob] = []

    def begin(request: DownloadRequest) -> tuple[DownloadHandle, Future[DownloadResult]]:
        jobs.append(DownloadJob(request))
        return jobs[0].handle_and_future

    stream = Stream(url, save_to, start=begin)
    size_bytes = stream.wait_for_size()
    served = owned.enter_context(register(lambda: (PartialSource(stream), size_bytes)))
    return served, DownloadStateSender(jobs[0], stream.handle)


def stored_fractions(stored: ByteRangeSet, size_bytes: int) -> list[list[float]]:
    """Return the stored ranges as fractions of the file, each `[from, to]`, at most 64 of them.

    Of more ranges the shortest are left out, so that nothing is shown that is not stored.
    """
    longest = sorted(stored, key=lambda byte_range: byte_range.size_bytes, reverse=True)
    return sorted(
        [round(byte_range.start / size_bytes, 5), round(byte_range.stop / size_bytes, 5)]
        for byte_range in longest[:_MAX_RANGES]
    )


class DownloadStateSender:
    """The state of a download; as a `Display` of its job it sends each change to the views."""

    def __init__(self, job: DownloadJob, handle: DownloadHandle) -> None:
        self.job = job
        self._send: Callable[[dict[str, object]], None] | None = None
        self._handle = handle
        self._sent = ""

    def start(self, send: Callable[[dict[str, object]], None]) -> None:
        """Call `send` with each new state from now on, on any thread."""
        self._send = send
        self.job.add_display(self)

    def stop(self) -> None:
        """Send nothing from now on: the player is closed."""
        self._send = None

    @property
    def content(self) -> dict[str, object]:
        """The current state, for a message."""
        status = self._handle.status
        total_bytes = status.total_bytes
        is_saved, is_final = status.phase is Phase.DONE, status.phase.is_final
        return {
            "state": "saved" if is_saved else "failed" if is_final else "downloading",
            "ranges": stored_fractions(status.feed.stored, total_bytes) if total_bytes else [],
            "generation": status.feed.generation,  # a view that gets another loads the video again
            "note": final_text(self._handle),
        }

    def show(self) -> None:
        """Do nothing: the player displays the views."""

    def update(self) -> None:
        """Send the state if it has changed."""
        content, send = self.content, self._send
        text = json.dumps([content["state"], content["ranges"], content["generation"]])
        if send is not None and text != self._sent:
            self._sent = text
            send(content)

    def finish(self) -> None:
        """Send the final state."""
        self.update()
