"""Downloads that are read while they run: an address becomes a source at once.

Without a place of the caller's the file lies in the user's cache, by its address without
credentials, and is known again there by the next call: whole and unchanged at the origin it is
used as it is, half of it is gone on with.
"""

from typing import TYPE_CHECKING, TypeGuard

from vidnb.download import cache
from vidnb.download.feed import FeedEndedError
from vidnb.download.planner.naming import file_name
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.errors import StorageError, TransferTimeout
from vidnb.http.urls import redact, without_credentials
from vidnb.io.loop import transfers
from vidnb.io.regular_file import StrPath

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    Begin = Callable[
        [DownloadRequest], tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]
    ]

__all__ = ["Stream", "is_url"]

HEAD_S = 60.0
"""How long it is waited for the size of a file that is still to come, unless a caller says."""


def is_url(source: object) -> TypeGuard[str]:
    """Tell whether a source is an address to fetch from."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def _cached(url: str) -> cache.CachedFolder:
    """Return the folder of `url` in the cache, with room made for what comes; may block."""
    address, limit_bytes = without_credentials(url), cache.cache_limit_bytes()
    try:
        folder = cache.CachedFolder(address)
        try:
            cache.evict(limit_bytes)
        except BaseException:
            folder.close()
            raise
    except OSError as error:
        raise StorageError(
            f"The cache at {cache.cache_root()} cannot be used ({error.strerror}), so nothing was"
            " fetched; free or allow it, or pass a place of your own."
        ) from error
    return folder


class Stream:
    """One download that is read while it runs; made from any thread.

    Without `save_to` the file goes into the cache. `begin` starts the download in another way than
    by itself; with `fills` False it brings what is read and no more. Whoever makes it ends it:
    `close` stops a download that nobody else waits for and keeps what has come. `URLNotAllowed`
    and `ValueError` for arguments that make no sense, `StorageError` where there is no room for a
    cache.
    """

    def __init__(
        self,
        url: str,
        save_to: StrPath | None = None,
        *,
        begin: "Begin | None" = None,
        fills: bool = True,
    ) -> None:
        self._cached = _cached(url) if save_to is None else None
        try:
            place = save_to if self._cached is None else f"{self._cached.folder}/"
            request = DownloadRequest.of(url, place, fills=fills)
            self.handle, self.future = (begin or _begin)(request)
        except BaseException:
            self._let_go()
            raise
        self.url = request.url
        self.name = request.target.name if request.target else file_name(None, request.url, None)

    def opened(self, timeout_s: float = HEAD_S) -> int:
        """Wait for the size (B) and return it; whatever goes wrong meanwhile closes the stream.

        Raises what the download ended with, `TransferTimeout` where it takes longer.
        """
        try:
            return self._size_bytes(timeout_s)
        except BaseException:
            self.close()
            raise

    def _size_bytes(self, timeout_s: float) -> int:
        try:
            return transfers.run(_size_bytes(self.handle), timeout_s=timeout_s)
        except FeedEndedError:
            self.future.result(timeout_s)
            raise  # pragma: no cover - a download that ended without a file has an error
        except TimeoutError as error:
            raise TransferTimeout(
                f"{redact(self.url)} did not tell within {timeout_s:.0f} s how large it is; what"
                " has come is kept, so try again, or download it first."
            ) from error

    def close(self) -> None:
        """Stop; what has come is kept for the next time, which may be long after."""
        self.future.cancel()
        self._let_go()

    def _let_go(self) -> None:
        """Let the file be evicted from the cache in its turn."""
        if self._cached is not None:
            self._cached.close()


def _begin(
    request: DownloadRequest,
) -> "tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]":
    handle = DownloadHandle()
    return handle, transfers.submit(download(request, handle))


async def _size_bytes(handle: DownloadHandle) -> int:
    return await handle.status.feed.size_bytes()
