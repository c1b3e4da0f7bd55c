"""Downloads that are read while they run: an address becomes a source at once.

Without a place of the caller's the file lies in the user's cache, by its address without
credentials, and is known again there by the next call: whole and unchanged at the origin it is
used as it is, half of it is gone on with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidnb.core.address import redact, without_credentials
from vidnb.core.naming import file_name
from vidnb.engine.download import download
from vidnb.engine.feed import FeedEndedError
from vidnb.engine.growing import GrowingSource
from vidnb.engine.order import DownloadResult, Order, PathLike
from vidnb.engine.watch import Watch
from vidnb.errors import StorageError, TransferTimeout
from vidnb.io import cache
from vidnb.io.loop import transfers

if TYPE_CHECKING:
    import concurrent.futures

    Begin = Callable[[Order], tuple[Watch, concurrent.futures.Future[DownloadResult]]]

__all__ = ["Stream", "is_url", "order_for"]


def is_url(source: object) -> bool:
    """Tell whether a source is an address to fetch from."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Placed:
    """An order, and what keeps its place until `close`."""

    order: Order
    close: Callable[[], object]


def order_for(url: str, save_to: PathLike | None) -> Placed:
    """Return the order for `url`, into the cache where `save_to` is None.

    `AddressRefused`, `ValueError` as `Order.of`; `StorageError` where there is no room for a cache.
    May block on the disk.
    """
    if save_to is not None:
        return Placed(Order.of(url, save_to), lambda: None)
    order = Order.of(url)
    try:
        place = cache.Place(without_credentials(order.url))
        cache.evict(cache.most_bytes())
    except OSError as error:
        raise StorageError(
            f"The cache at {cache.cache_root()} cannot be used ({error.strerror}), so nothing was"
            " fetched; free or allow it, or pass a place of your own."
        ) from error
    return Placed(Order.of(url, f"{place.folder}/"), place.close)


class Stream:
    """One download under way and the source it becomes; made from any thread.

    `begin` starts the download in another way than by itself. Whoever makes it ends it: `close`
    stops a download that nobody else waits for and keeps what has come.
    """

    def __init__(
        self, url: str, save_to: PathLike | None = None, *, begin: "Begin | None" = None
    ) -> None:
        self._placed = order_for(url, save_to)
        order = self._placed.order
        try:
            self.watch, self.future = (begin or _begin)(order)
        except BaseException:
            self._placed.close()
            raise
        self.url = order.url
        self.name = order.target.name if order.target else file_name(None, order.url, None)
        self.source = GrowingSource(self.watch, self.name, self.close)

    def size_bytes(self, timeout_s: float) -> int:
        """Return the size (B) as soon as it is known; the error of a download that failed.

        `TransferTimeout` where it takes longer.
        """
        try:
            return transfers.run(_size_bytes(self.watch), timeout_s=timeout_s)
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
        self._placed.close()


def _begin(order: Order) -> "tuple[Watch, concurrent.futures.Future[DownloadResult]]":
    watch = Watch()
    return watch, transfers.submit(download(order, watch))


async def _size_bytes(watch: Watch) -> int:
    return await watch.view.feed.size_bytes()
