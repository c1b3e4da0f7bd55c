"""`open(source)`: a file object over what is here, or over what is still arriving.

For programs that read files and know no URLs: PyAV, zipfile, hashlib, pandas. What is read is
fetched, and a little ahead of it, the more the longer the reading goes on without a jump: the
header of a remote film costs its header.
"""

import io
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from vidnb.download.feed import FeedEndedError
from vidnb.download.request import DownloadResult
from vidnb.download.stream import Stream, is_url
from vidnb.errors import ServeError, SourceChanged, TransferTimeout
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.io.loop import transfers
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["open_source"]

_T = TypeVar("_T")

TIMEOUT_S = 60.0
_BUFFER_BYTES = 2**16
_STEP_BYTES = 2**17
"""After so much that was here the planner hears how far a reader has come."""


def open_source(
    source: StrPath | DownloadResult, *, timeout_s: float = TIMEOUT_S
) -> io.BufferedReader:
    """Return a seekable, read-only binary file over a path, a `DownloadResult` or an http(s) URL.

    A URL is read while it is fetched into the user's cache: a read of bytes that are not here yet
    asks for them and waits at most `timeout_s` (s), then `TransferTimeout`. Nothing else is fetched
    but what probably comes next: at first 256 KiB ahead, later as much as was read in one go, at
    most 8 MiB; all of it only where the same URL is played or served meanwhile. Closing the file
    stops the fetching and keeps what has come, for whoever reads or plays that URL next.

    Any thread may use it, one at a time; inside a coroutine use a thread, since it blocks.
    `SourceChanged` where the source becomes another file under the reader, else what
    `vidnb.download` raises; `ServeError` for a path that
    is no regular file; `ValueError` where `timeout_s` is no time.
    """
    if not timeout_s > 0:
        raise ValueError(f"timeout_s={timeout_s!r} must be more than 0 s.")
    if isinstance(source, DownloadResult):
        source = source.path
    if is_url(source):
        stream = Stream(source, fills=False)
        try:
            raw = _Arriving(stream, timeout_s)
        except BaseException:
            stream.close()
            raise
        return io.BufferedReader(raw, _BUFFER_BYTES)
    try:
        descriptor, _ = open_regular(source)
    except (OSError, ValueError) as error:
        raise ServeError(
            f"{os.fspath(source)!r} cannot be opened: {os_error_reason(error)}."
        ) from error
    return io.BufferedReader(io.FileIO(descriptor, "rb"), _BUFFER_BYTES)


class _Arriving(io.RawIOBase):
    """The bytes of one attempt to fetch a file, at the pace at which they come."""

    def __init__(self, stream: Stream, timeout_s: float) -> None:
        super().__init__()
        self._stream = stream
        self._timeout_s = timeout_s
        self._position = 0
        self._descriptor = -1
        stream.opened(timeout_s)  # the feed is the download's own from here on
        self._feed = stream.handle.status.feed
        shown = self._waited(self._feed.shown())
        self._size_bytes, self._generation = shown.size_bytes, shown.generation
        at = shown.descriptor
        self._descriptor = at if at >= 0 else open_regular(shown.path)[0]
        self._reader = self._feed.new_reader()
        self._told = 0
        self.name = stream.name

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought: it can, and that costs nothing before the next read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte, counted from the start, from here or from the end; return it."""
        self._check_open()
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}
        if whence not in origin:
            raise ValueError(f"whence={whence!r} is none of 0, 1 and 2.")
        if origin[whence] + offset < 0:
            raise ValueError(f"byte {origin[whence] + offset} lies before the start of the file.")
        self._position = origin[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the byte that is read next."""
        self._check_open()
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what fits, as soon as all of it is here; 0 at the end."""
        self._check_open()
        status = memoryview(buffer).cast("B")
        if self._position >= self._size_bytes or not len(status):
            return 0
        byte_range = ByteRange(self._position, min(self._position + len(status), self._size_bytes))
        if not self._feed.stored.covers(byte_range) or self._feed.generation != self._generation:
            self._waited(self._feed.wait(self._reader, byte_range, self._generation))
            self._told = byte_range.start
        elif not 0 <= byte_range.stop - self._told < _STEP_BYTES:
            self._told = byte_range.stop
            transfers.loop.call_soon_threadsafe(self._feed.go_on, self._reader, byte_range.stop)
        read_bytes = os.preadv(
            self._descriptor, [status[: byte_range.size_bytes]], byte_range.start
        )
        self._position += read_bytes
        return read_bytes

    def close(self) -> None:
        """Stop the fetching, if it still goes on; what has come is kept."""
        if not self.closed:
            super().close()
            if self._descriptor >= 0:  # it was opened
                os.close(self._descriptor)
                with suppress(RuntimeError):  # the process ends, and all downloads with it
                    transfers.loop.call_soon_threadsafe(self._feed.leave, self._reader)
            self._stream.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed.")

    def _waited(self, coro: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the feed on its own loop, and say what happened instead."""
        url = redact(self._stream.url)
        try:
            return transfers.run(coro, timeout_s=self._timeout_s)
        except TimeoutError as error:
            raise TransferTimeout(
                f"{url} did not bring byte {self._position} within {self._timeout_s:g} s; what has"
                " come is kept, so read again, or open it with a longer timeout_s."
            ) from error
        except FeedEndedError:
            if self._feed.error is None:
                raise SourceChanged(
                    f"{url} became another file while it was read, so no more of it was given;"
                    " open it again."
                ) from None
            self._stream.future.result(self._timeout_s)  # raises what the download ended with
            raise
