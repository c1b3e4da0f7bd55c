"""`vidnb.open`: a seekable binary file object over a local file or a remote one.

For libraries that read files and not URLs: PyAV, zipfile, hashlib, pandas. Only what is read is
fetched, and a read-ahead that grows while reading is sequential.
"""

import io
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from vidnb.download.feed import FeedEndedError
from vidnb.download.options import check_seconds, check_type
from vidnb.download.request import DownloadResult, local_path
from vidnb.download.stream import Stream, is_url
from vidnb.errors import ServeError, SourceChanged, TransferTimeout
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.io.loop import transfers
from vidnb.io.random_access import RandomAccessFile
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason

__all__ = ["open_source"]

_T = TypeVar("_T")

TIMEOUT_S = 60.0
_BUFFER_BYTES = 2**16
_STEP_BYTES = 2**17
"""A reader's position is reported to the planner again after this many stored bytes."""


def open_source(
    source: StrPath | DownloadResult, *, timeout_s: float = TIMEOUT_S
) -> io.BufferedReader:
    """Return a seekable, read-only binary file over a path, a `DownloadResult` or an http(s) URL.

    A URL is read while it is fetched into the user's cache: a read of missing bytes requests them
    and waits at most `timeout_s` (s). The read-ahead is 256 KiB at first, later as much as was read
    sequentially, at most 8 MiB; the whole file is fetched only while the same URL is played or
    served. Closing the file stops the fetching and keeps what was received for later calls.

    It may be used from any thread, by one at a time; it blocks, so use a thread in a coroutine.
    Raises what `vidnb.download` raises, `TransferTimeout` after `timeout_s`, `SourceChanged` if the
    source becomes another file while it is read, `ServeError` for a path that is not a regular
    file, and `ValueError` for a bad argument.
    """
    timeout_s = check_seconds("timeout_s", timeout_s)
    if isinstance(source, DownloadResult):
        source = source.path
    if is_url(source):
        return open_url(source, timeout_s=timeout_s)
    check_type("source", source, (str, os.PathLike), "a URL, a path or a DownloadResult")
    try:
        descriptor, _ = open_regular(local_path(source))
    except (OSError, ValueError) as error:
        raise ServeError(f"{str(source)!r} cannot be opened: {os_error_reason(error)}.") from error
    return io.BufferedReader(io.FileIO(descriptor, "rb"), _BUFFER_BYTES)


def open_url(
    url: str, *, timeout_s: float = TIMEOUT_S, max_read_ahead_bytes: int | None = None
) -> io.BufferedReader:
    """Return what `open_source` returns for a URL.

    `max_read_ahead_bytes` limits the read-ahead (B) of a sequential reader, for one that often
    jumps: a decoder reads a group of pictures and then another one.
    """
    stream = Stream(url, fills=False)
    try:
        raw = _StreamFile(stream, timeout_s, max_read_ahead_bytes)
    except BaseException:
        stream.close()
        raise
    return io.BufferedReader(raw, _BUFFER_BYTES)


class _StreamFile(RandomAccessFile):
    """One generation of a file that is downloaded while it is read."""

    def __init__(self, stream: Stream, timeout_s: float, max_read_ahead_bytes: int | None) -> None:
        super().__init__()
        self._max_read_ahead_bytes = max_read_ahead_bytes
        self._run_start = 0
        self._stream = stream
        self._timeout_s = timeout_s
        self._descriptor = -1
        stream.wait_for_size(timeout_s)  # now the handle follows the running download
        self._feed = stream.handle.status.feed
        file = self._run(self._feed.file())
        self.size_bytes, self._generation = file.size_bytes, file.generation
        is_part = file.descriptor >= 0
        self._descriptor = file.descriptor if is_part else open_regular(file.path)[0]
        self._reader = self._feed.new_reader()
        self._reported = 0
        self.name = stream.name

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        """Wait for the bytes and read them."""
        self._limit_read_ahead()
        if not self._feed.stored.covers(byte_range) or self._feed.generation != self._generation:
            self._run(self._feed.wait(self._reader, byte_range, self._generation))
            self._reported = byte_range.start
        elif not 0 <= byte_range.stop - self._reported < _STEP_BYTES:
            self._reported = byte_range.stop
            transfers.loop.call_soon_threadsafe(
                self._feed.advance_reader, self._reader, byte_range.stop
            )
        return os.preadv(self._descriptor, [view], byte_range.start)

    def _limit_read_ahead(self) -> None:
        """Become another reader after so many sequential bytes: its read-ahead begins small."""
        limit_bytes = self._max_read_ahead_bytes
        if limit_bytes is None or 0 <= self._position - self._run_start < limit_bytes:
            return
        transfers.loop.call_soon_threadsafe(self._feed.remove_reader, self._reader)
        self._reader = self._feed.new_reader()
        self._run_start = self._position

    def close(self) -> None:
        """Stop the fetching; what was received is kept."""
        if not self.closed:
            super().close()
            if self._descriptor >= 0:  # it was opened
                os.close(self._descriptor)
                with suppress(RuntimeError):  # the interpreter is ending
                    transfers.loop.call_soon_threadsafe(self._feed.remove_reader, self._reader)
            self._stream.close()

    def _run(self, coro: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine of the feed on its loop, with errors that a reader understands."""
        url = redact(self._stream.url)
        try:
            return transfers.run(coro, timeout_s=self._timeout_s)
        except TimeoutError as error:
            raise TransferTimeout(
                f"{url} did not send byte {self._position} within {self._timeout_s:g} s; what was"
                " received is kept; read again, or open it with a longer timeout_s."
            ) from error
        except FeedEndedError:
            if self._feed.error is None:
                raise SourceChanged(
                    f"{url} became another file while it was read; open it again to read the new"
                    " one."
                ) from None
            self._stream.future.result(self._timeout_s)  # raises what the download ended with
            raise
