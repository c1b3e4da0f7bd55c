"""`play(url)`: the download behind a player, and what its strip tells of it.

While the file arrives the views hear at 5 Hz what of it is on this machine, as shares of its bytes
(which are near those of its time), what the download does, and how often its source turned out to
be another file; at the end whether it is saved.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack

from vidnb.core.spans import SpanSet
from vidnb.engine.order import DownloadResult, Order, PathLike
from vidnb.engine.server import Served, put_up
from vidnb.engine.stream import Stream
from vidnb.engine.watch import Phase, Watch
from vidnb.notebook.job import DownloadJob
from vidnb.notebook.progress_look import final_text

__all__ = ["Arrival", "serve_stream", "shares"]

_MOST_SPANS = 64
"""More gaps than these nobody sees on a timeline."""


def serve_stream(url: str, save_to: PathLike | None, made: ExitStack) -> tuple[Served, "Arrival"]:
    """Begin to fetch `url` and serve what arrives; both end with `made`.

    Raises what the download raises where it fails before the size is known.
    """
    jobs: list[DownloadJob] = []

    def begin(order: Order) -> tuple[Watch, Future[DownloadResult]]:
        jobs.append(DownloadJob(order))
        return jobs[0].parts

    stream = Stream(url, save_to, begin=begin)
    size_bytes = stream.opened()
    served = made.enter_context(put_up(lambda: (stream.source, size_bytes)))
    return served, Arrival(jobs[0], stream.watch)


def shares(stored: SpanSet, size_bytes: int) -> list[list[float]]:
    """Return the stored bytes as shares of the file, each `[from, to]`, at most 64 of them.

    Where there are more, the shortest ones are left out: better to tell of too little than of what
    is not there.
    """
    spans = sorted(stored, key=lambda span: span.size_bytes, reverse=True)[:_MOST_SPANS]
    return [
        [round(span.start / size_bytes, 5), round(span.stop / size_bytes, 5)]
        for span in sorted(spans, key=lambda span: span.start)
    ]


class Arrival:
    """What of a file is here; a `Display` of its download that tells `hear` of each change."""

    def __init__(self, job: DownloadJob, watch: Watch) -> None:
        self.job = job
        self.hear: Callable[[dict[str, object]], None] = lambda _: None
        self._watch = watch
        self._told = ""

    def begin(self, hear: Callable[[dict[str, object]], None]) -> None:
        """Tell `hear` from now on, on whatever thread."""
        self.hear = hear
        self.job.show_on(self)

    @property
    def content(self) -> dict[str, object]:
        """The state of this moment, for a message."""
        view = self._watch.view
        total_bytes = view.total_bytes
        spans = shares(view.feed.stored, total_bytes) if total_bytes else []
        state = "saved" if view.phase is Phase.DONE else "failed" if view.phase.is_final else "live"
        changes = view.feed.generation  # a view that hears of one more loads the video anew
        note = final_text(self._watch)
        return {"state": state, "spans": spans, "changes": changes, "note": note}

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
