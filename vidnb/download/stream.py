"""`Stream`: a download that is read while it runs.

Without a destination of the caller's the file is stored in the user's cache, under its address
without credentials. A later call for that address reuses a complete file that is unchanged at the
origin and resumes a partial one.
"""

from typing import TYPE_CHECKING, TypeGuard, Unpack

from vidnb.download import cache
from vidnb.download.feed import FeedEndedError
from vidnb.download.options import DownloadOptions
from vidnb.download.planner.naming import file_name
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.errors import StorageError, TransferTimeout
from vidnb.http.urls import clean_url, redact, without_credentials
from vidnb.io.loop import transfers
from vidnb.io.regular_file import StrPath, printable

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    StartDownload = Callable[
        [DownloadRequest], tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]
    ]

__all__ = ["Stream", "is_url"]

SIZE_TIMEOUT_S = 60.0
"""The default time to wait for the size of a file."""


def is_url(source: object) -> TypeGuard[str]:
    """Whether a source is an http(s) URL."""
    if not isinstance(source, str):
        return False
    return clean_url(source).lower().startswith(("http://", "https://"))


def _cached(url: str) -> cache.CachedFolder:
    """Return the folder of `url` in the cache; may block."""
    try:
        return cache.open_folder(without_credentials(url))
    except OSError as error:
        raise StorageError(
            f"Neither the cache at {printable(cache.cache_root())} nor a temporary one can be used"
            f" ({error.strerror or type(error).__name__}), so nothing was fetched; free some space"
            " or permit writing, or pass a path of your own."
        ) from error


class Stream:
    """One download that is read while it runs; made from any thread, ended by `close`.

    Without `save_to` the file is stored in the cache. `start` replaces the function that starts the
    download; with `fills` False only what is read is fetched. `options` are those of a download.
    Raises `URLNotAllowed` and `ValueError` for bad arguments, `StorageError` where the cache cannot
    be used.
    """

    def __init__(
        self,
        url: str,
        save_to: StrPath | None = None,
        *,
        start: "StartDownload | None" = None,
        fills: bool = True,
        **options: Unpack[DownloadOptions],
    ) -> None:
        self._cached = _cached(url) if save_to is None else None
        try:
            path = save_to if self._cached is None else f"{self._cached.folder}/"
            request = DownloadRequest.of(url, path, fills=fills, **options)
            self.handle, self.future = (start or _start)(request)
        except BaseException:
            self._unlock_cache()
            raise
        self.url = request.url
        self.name = request.target.name if request.target else file_name(None, request.url, None)

    def wait_for_size(self, timeout_s: float = SIZE_TIMEOUT_S) -> int:
        """Wait for the size (B) and return it; any failure closes the stream.

        Raises what the download raised, or `TransferTimeout` after `timeout_s` (s).
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
                f"{redact(self.url)} did not send its size within {timeout_s:.0f} s; what was"
                " received is kept; try again, or download it first."
            ) from error

    def close(self) -> None:
        """Stop the download unless another caller waits for it; what was received is kept."""
        self.future.cancel()
        self._unlock_cache()

    def _unlock_cache(self) -> None:
        """Permit that the cache evicts the file."""
        if self._cached is not None:
            self._cached.close()


def _start(
    request: DownloadRequest,
) -> "tuple[DownloadHandle, concurrent.futures.Future[DownloadResult]]":
    handle = DownloadHandle()
    return handle, transfers.submit(download(request, handle))


async def _size_bytes(handle: DownloadHandle) -> int:
    return await handle.status.feed.size_bytes()
