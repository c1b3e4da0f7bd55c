"""`Encoding`: the frames of `vidnb.show` become a video in the background."""

import asyncio
import atexit
import concurrent.futures
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidnb.download.planner.progress import UPDATE_INTERVAL_S
from vidnb.io.calls import CLEANUP_S, NoThreadError, start_thread
from vidnb.media.export import ExportProgress, OutputFile, ProgressFunction
from vidnb.media.frame_input import FrameInput
from vidnb.media.frame_shapes import Timing
from vidnb.media.growing_video import GrowingVideo
from vidnb.media.show_video import ShowEncoder

__all__ = ["Encoding", "EncodingEvents", "ShowResult"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShowResult:
    """A video that `vidnb.show` has made, at `path`; an error is raised instead of a part of it.

    It has `size_bytes` (B), `frames` frames of `width` x `height` pixels, and lasts `duration_s`
    (s).
    """

    path: Path
    size_bytes: int
    frames: int
    width: int
    height: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class EncodingEvents:
    """What is called while frames are encoded, on the encoding thread but for `advanced`.

    `started` with the MIME type once there is a segment to play, `ended` with the file of all
    encoded frames, None if there is none. `advanced`, at most five times a second, is called on a
    thread beside: the one that encodes may wait for the next frame.
    """

    started: Callable[[str], object]
    advanced: Callable[[], object]
    ended: Callable[[Path | None], object]


class Encoding:
    """One encoding in the background: `player.encoding` of `vidnb.show`, safe from any thread.

    `await encoding` and `encoding.result()` wait for the `ShowResult` (size in B, times in s) and
    raise what went wrong. Interrupting the wait leaves the encoding running.
    """

    def __init__(
        self,
        frames: FrameInput,
        timing: Timing,
        video: GrowingVideo,
        output: OutputFile,
        *,
        progress: ProgressFunction | None,
        when_released: ExitStack,
    ) -> None:
        self._input = frames
        self._timing = timing
        self._video = video
        self._output = output
        self._progress = progress
        self._when_released = when_released
        self._events: EncodingEvents | None = None
        self._future: concurrent.futures.Future[ShowResult] = concurrent.futures.Future()
        self._phase: Literal["encoding", "encoded", "failed", "cancelled"] = "encoding"
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._thread_ended = threading.Event()
        self._is_released = False
        self._is_started = False
        self._has_thread = False
        self._frames = 0
        self._started_s = time.monotonic()
        self._progress_lock = threading.Lock()

    def start(self, events: EncodingEvents) -> None:
        """Start the thread; `NoThreadError` where there can be none."""
        self._events = events
        start_thread(self._run, "vidnb-show")
        self._has_thread = True
        with suppress(NoThreadError):
            start_thread(self._report_progress, "vidnb-show-progress")
        _running.add(self)

    @property
    def frames(self) -> int:
        """The number of frames that are encoded so far."""
        return self._frames

    @property
    def total_frames(self) -> int | None:
        """The number of all frames; None for an iterator, whose end alone tells."""
        return self._input.total

    @property
    def done(self) -> bool:
        """Whether it has ended, in any way."""
        return self._future.done()

    def cancel(self) -> None:
        """Read no further frame; what is encoded still plays. Without effect after the end.

        A generator that is making a frame ends when it yields it.
        """
        with self._lock:
            if self._phase != "encoding":
                return
            self._phase = "cancelled"
        self._future.cancel()

    def result(self, timeout: float | None = None) -> ShowResult:
        """Wait at most `timeout` (s) for the complete video and return it.

        Raises `TimeoutError` after `timeout` (the encoding continues),
        `concurrent.futures.CancelledError` after `cancel`, the exception of the iterator that has
        raised one, `ValueError` for a frame that cannot be shown, `MediaError` where FFmpeg cannot
        encode, `StorageError` where the disk fails.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, ShowResult]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        return f"<Encoding: {self.state}>"

    @property
    def phase(self) -> str:
        """One of "encoding", "encoded", "failed" and "cancelled"."""
        return self._phase

    @property
    def error(self) -> BaseException | None:
        """What `result` raises after a failure, else None."""
        return self._error

    @property
    def state(self) -> str:
        """The state as a clause, such as "encoding 120 of 300 frames"."""
        count = f"{self._frames} frame{'' if self._frames == 1 else 's'}"
        if self._phase in {"failed", "cancelled"}:
            return f"{self._phase} after {count}"
        total = self._input.total
        if self._phase == "encoding" and total is not None:
            return f"encoding {self._frames} of {total} frames"
        return f"{self._phase} {count}"

    def release(self) -> None:
        """Cancel it, and close its files when its thread has ended: the player is closed."""
        self.cancel()
        with self._lock:
            self._is_released = True
            is_over = self._thread_ended.is_set() or not self._has_thread
        if is_over:
            self._when_released.close()

    def wait_for_thread(self, timeout_s: float) -> bool:
        """Wait until the thread has ended, also after `cancel`; return whether it has (s)."""
        return self._thread_ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            result = self._encode()
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            self._finish(None, error)
        else:
            self._finish(result, None)
        with self._lock:
            self._thread_ended.set()
            is_released = self._is_released
        if is_released:
            self._when_released.close()

    def _encode(self) -> ShowResult:
        with self._output:
            encoder = ShowEncoder(self._timing, self._video, self._output)
            try:
                self._read_frames(encoder)
            except BaseException:
                with suppress(Exception):  # the first error counts; what came before it plays
                    self._complete(encoder)
                raise
            self._complete(encoder)
            path, size_bytes = encoder.finish()
        duration_s = float(self._timing.at(self._frames))
        return ShowResult(path, size_bytes, self._frames, *encoder.size, duration_s)

    def _read_frames(self, encoder: ShowEncoder) -> None:
        try:
            for pixels in self._input:
                if self._phase == "cancelled":
                    raise concurrent.futures.CancelledError
                encoder.add(pixels)
                self._frames += 1
                self._report_start(encoder)
        finally:
            self._input.close()

    def _complete(self, encoder: ShowEncoder) -> None:
        try:
            encoder.flush()
        finally:
            self._video.complete()
            self._report_start(encoder)

    def _report_start(self, encoder: ShowEncoder) -> None:
        if not self._is_started and len(self._video):
            self._is_started = True
            self._call("started", encoder.type)

    def _report_progress(self) -> None:
        """Report how many frames are encoded; on a thread of its own."""
        reported = -1
        while not self._thread_ended.wait(UPDATE_INTERVAL_S):
            if self._frames != reported:
                reported = self._frames
                self._call("advanced")
                self._call_progress()

    def _call_progress(self) -> None:
        with self._progress_lock:
            if self._progress is None:
                return
            elapsed_s = time.monotonic() - self._started_s
            try:
                self._progress(ExportProgress(self._frames, self._input.total or 0, elapsed_s))
            except Exception:  # a broken display must not break the work it shows
                logger.exception("The progress function failed and is not called any more.")
                self._progress = None

    def _finish(self, result: ShowResult | None, error: BaseException | None) -> None:
        with self._lock:
            if self._phase == "encoding":
                self._phase = "encoded" if error is None else "failed"
                self._error = error
            is_cancelled = self._phase == "cancelled"
        self._call_progress()
        with self._progress_lock:
            self._progress = None  # that was the last call
        if result is not None:
            self._call("ended", result.path)
        else:
            self._call("ended", self._video.path if len(self._video) else None)
        if is_cancelled:
            return
        if result is not None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)

    def _call(self, name: Literal["started", "advanced", "ended"], *arguments: Any) -> None:
        if self._is_released or self._events is None:
            return
        try:
            getattr(self._events, name)(*arguments)
        except Exception:  # a page that cannot be told is no reason to stop
            logger.exception("A player could not be told about its frames.")


_running: weakref.WeakSet[Encoding] = weakref.WeakSet()
getattr(os, "register_at_fork", dict)(after_in_child=_running.clear)


@atexit.register
def _stop_all() -> None:
    """Remove unfinished files at the end of the process."""
    deadline_s = time.monotonic() + CLEANUP_S
    running = [encoding for encoding in _running if not encoding.wait_for_thread(0)]
    for encoding in running:
        encoding.cancel()
    for encoding in running:
        encoding.wait_for_thread(max(0.0, deadline_s - time.monotonic()))
