"""The tree of errors that vidnb raises.

    VidnbError
    ├ TransferError            .url .resumable_bytes
    │ ├ TransportError         the connection could not be made or failed too often
    │ ├ TransferTimeout        (also TimeoutError) no data within the idle timeout
    │ ├ StatusError            .status .retry_after_s
    │ ├ RemoteProtocolError    the origin violated RFC 9110 in a way that cannot be worked around
    │ ├ SourceChanged          the origin's file kept changing during the download
    │ ├ TooLarge               more bytes than `max_bytes`
    │ ├ ChecksumMismatch       .expected .actual
    │ ├ NotAVideo              .title
    │ ├ URLNotAllowed          a URL or an address that vidnb does not fetch from
    │ └ StorageError           (also OSError) the disk or the path failed, not the network
    ├ ServeError
    │ └ Unreachable            .tried
    ├ MediaError               a file is not a readable video, or a frame of it is damaged
    ├ PlayerTimeout            (also TimeoutError) a player did not report the event in time
    └ MissingExtra             (also ImportError) .extra

Each message is one sentence: what happened, to which URL or file, what was kept, what to do.
Every error can be pickled and copied with its attributes, so it also reaches the parent of a worker
process. `asyncio.CancelledError` and `KeyboardInterrupt` are never wrapped in any of these.
"""

from typing import Any, TypeVar

__all__ = [
    "ChecksumMismatch",
    "MediaError",
    "MissingExtra",
    "NotAVideo",
    "PlayerTimeout",
    "RemoteProtocolError",
    "ServeError",
    "SourceChanged",
    "StatusError",
    "StorageError",
    "TooLarge",
    "TransferError",
    "TransferTimeout",
    "TransportError",
    "URLNotAllowed",
    "Unreachable",
    "VidnbError",
]

_E = TypeVar("_E", bound="VidnbError")


class VidnbError(Exception):
    """The root of the tree; its text is the whole sentence for the user."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by `args` and `__dict__`, without the keyword arguments of `__init__`."""
        return _reconstruct, (type(self), self.args), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone in a notebook (IPython's hook, IPython 8 and 9).

        The frames inside vidnb do not help the user; the exception keeps its traceback for `%tb`,
        a debugger or a log.
        """
        return [f"{type(self).__name__}: {self}"]


def _reconstruct(kind: type[_E], args: tuple[Any, ...]) -> _E:
    error = kind.__new__(kind, *args)
    # The built-in base (Exception, OSError, ImportError) sets its own fields from `args`.
    super(VidnbError, error).__init__(*args)
    return error


class TransferError(VidnbError):
    """A download did not end with a complete, verified file.

    `url` is the URL as the caller gave it, `resumable_bytes` the number of bytes (B) on disk that
    the next run resumes from. `is_transient`: the same download may succeed if it is run again.
    """

    is_transient = False

    def __init__(self, message: str, *, url: str = "", resumable_bytes: int = 0) -> None:
        super().__init__(message)
        self.url = url
        self.resumable_bytes = resumable_bytes

    @property
    def kept_bytes(self) -> int:
        """`resumable_bytes` by its name in vidnb 0.1."""
        return self.resumable_bytes


class TransportError(TransferError):
    """The connection could not be made, or failed more often than the retry policy allows."""


class TransferTimeout(TransferError, TimeoutError):
    """No data arrived within the idle timeout, more often than the retry policy allows."""


class StatusError(TransferError):
    """The origin responded with an error status (RFC 9110 section 15).

    `status` is the code; `retry_after_s` the delay (s) of its Retry-After field, None without one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after_s: float | None = None,
        url: str = "",
        resumable_bytes: int = 0,
    ) -> None:
        super().__init__(message, url=url, resumable_bytes=resumable_bytes)
        self.status = status
        self.retry_after_s = retry_after_s


class RemoteProtocolError(TransferError):
    """The origin violated RFC 9110 in a way that cannot be worked around."""


class SourceChanged(TransferError):
    """The origin's file kept changing during the download; no versions were joined."""


class TooLarge(TransferError):
    """The file is, or became, larger than `max_bytes`."""


class ChecksumMismatch(TransferError):
    """The checksum of the bytes is not the expected one; no file was published.

    `expected` and `actual` are lower-case hexadecimal digests of the requested algorithm.
    """

    def __init__(
        self, message: str, *, expected: str, actual: str, url: str = "", resumable_bytes: int = 0
    ) -> None:
        super().__init__(message, url=url, resumable_bytes=resumable_bytes)
        self.expected = expected
        self.actual = actual


class NotAVideo(TransferError):
    """The response is a page or a truncated file; `title` is the page's title, if it has one."""

    def __init__(
        self, message: str, *, title: str | None = None, url: str = "", resumable_bytes: int = 0
    ) -> None:
        super().__init__(message, url=url, resumable_bytes=resumable_bytes)
        self.title = title


class URLNotAllowed(TransferError):
    """The URL, or an address it leads to, is one that vidnb does not fetch from."""


class StorageError(TransferError, OSError):
    """The disk or the path failed, not the network; `__cause__` is the system's `OSError`."""


class ServeError(VidnbError):
    """A file cannot be served: missing, not a regular file, or the server could not start."""


class Unreachable(ServeError):
    """No route leads from the browser to the file; `tried` has one `route: reason` for each."""

    def __init__(self, message: str, *, tried: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tried = tried


class MediaError(VidnbError):
    """A file is not a readable video, or the requested frame of it is damaged."""


class PlayerTimeout(VidnbError, TimeoutError):
    """A player did not report the awaited event in time, or its messages cannot be read now."""


class MissingExtra(VidnbError, ImportError):
    """A feature needs the packages of an extra that is not installed; `extra` is its name."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra
