"""Copy a running download to a writer that cannot seek, such as standard output.

Bytes are passed on as soon as they and all before them are stored. What was passed on cannot be
taken back, so the caller learns at the end whether it was the complete, verified file.
"""

import concurrent.futures
import os
from collections.abc import Callable

from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadResult
from vidnb.download.stream import Stream
from vidnb.errors import SourceChanged, StorageError
from vidnb.http.urls import redact
from vidnb.io.regular_file import open_regular

__all__ = ["copy_in_order"]

_POLL_S = 0.05
_PIECE_BYTES = 2**20


def copy_in_order(
    stream: Stream, write: Callable[[bytes], object], *, tick: Callable[[], object]
) -> DownloadResult:
    """Pass every byte of `stream` to `write`, in order, and return the verified result.

    `tick` is called in between, every 50 ms at most. Raises what `write` raises and what the
    download raises, also after its bytes were passed on (`ChecksumMismatch`), and `SourceChanged`
    where the source became another file after some were.
    """
    position, generation, descriptor = 0, -1, -1
    try:
        while True:
            is_done = stream.future.done()  # first: what is stored then is all there will be
            feed = stream.handle.status.feed
            if feed.generation != generation or descriptor < 0:
                if position and feed.generation != generation:
                    raise SourceChanged(
                        f"{redact(stream.url)} became another file after {format_bytes(position)}"
                        " of it were passed on; discard them and run it again.",
                        url=stream.url,
                    )
                generation = feed.generation
                descriptor = _reopened(descriptor, feed.path)
            size_bytes = min(feed.stored.run_from(position).size_bytes, _PIECE_BYTES)
            data = os.pread(descriptor, size_bytes, position) if descriptor >= 0 else b""
            if feed.generation != generation:
                continue  # they may be of the other file
            if data:
                write(data)
                position += len(data)
            elif is_done:
                return _checked(stream.future.result(), position)
            else:
                concurrent.futures.wait([stream.future], _POLL_S)
            tick()
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _checked(result: DownloadResult, passed_on_bytes: int) -> DownloadResult:
    if passed_on_bytes != result.size_bytes:
        raise StorageError(
            f"{result.path} was removed after {format_bytes(passed_on_bytes)} of it were passed on;"
            " discard them and run it again.",
            url=result.url,
        )
    return result


def _reopened(descriptor: int, path: "os.PathLike[str] | None") -> int:
    """Close `descriptor` and open `path`; -1 while there is no such file."""
    if descriptor >= 0:
        os.close(descriptor)
    try:
        return -1 if path is None else open_regular(path)[0]
    except FileNotFoundError:  # it gets its final name just now
        return -1
