"""Every way vidnb fails, as one tree.

    VidnbError
    ├ TransferError            .url .kept_bytes
    │ ├ TransportError         the connection could not be made or broke for good
    │ ├ TransferTimeout        (also TimeoutError) nothing arrived for too long
    │ ├ StatusError            .status .retry_after_s
    │ ├ RemoteProtocolError       the origin broke RFC 9110 in a way that cannot be worked around
    │ ├ SourceChanged          the origin went on changing the file while it was fetched
    │ ├ TooLarge               more bytes than `max_bytes`
    │ ├ ChecksumMismatch       .expected .actual
    │ ├ NotAVideo              .title
    │ ├ URLNotAllowed         a URL or an address vidnb does not fetch from
    │ └ StorageError           (also OSError) the disk or the path failed, not the network
    ├ ServeError
    │ └ Unreachable            .tried
    ├ PlayerTimeout            (also TimeoutError) a player did not say in time what was waited for
    └ MissingExtra             (also ImportError) .extra

Each message is one sentence: what happened, to which URL or file, what was kept, what to do.
`asyncio.CancelledError` and `KeyboardInterrupt` are never wrapped in any of these.
"""

__all__ = [
    "ChecksumMismatch",
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


class VidnbError(Exception):
    """The root of the tree; its text is the whole sentence a person needs."""

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone in a notebook (IPython's hook, IPython 8 and 9).

        The frames of vidnb say nothing to the person whose URL was wrong; the exception itself
        still carries its traceback for `%tb`, a debugger or a log.
        """
        return [f"{type(self).__name__}: {self}"]


class TransferError(VidnbError):
    """A download did not end with a whole, checked file.

    `url` is the address as the caller gave it, `resumable_bytes` how many bytes (B) a next run
    can resume from.
    """

    def __init__(self, message: str, *, url: str = "", resumable_bytes: int = 0) -> None:
        super().__init__(message)
        self.url = url
        self.resumable_bytes = resumable_bytes


class TransportError(TransferError):
    """The connection could not be made, or broke more often than the retry policy allows."""


class TransferTimeout(TransferError, TimeoutError):
    """Nothing arrived within the idle timeout, more often than the retry policy allows."""


class StatusError(TransferError):
    """The origin answered with a status that is no success (RFC 9110 section 15).

    `status` is the code; `retry_after_s` what the origin asked to wait (s), if it did.
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
    """The origin broke RFC 9110 in a way that cannot be worked around."""


class SourceChanged(TransferError):
    """The origin's file kept changing while it was fetched; nothing was joined."""


class TooLarge(TransferError):
    """The file is, or became, larger than `max_bytes`."""


class ChecksumMismatch(TransferError):
    """The bytes are not the ones the caller named; nothing was published.

    `expected` and `actual` are lower-case hexadecimal digests of the asked algorithm.
    """

    def __init__(
        self, message: str, *, expected: str, actual: str, url: str = "", resumable_bytes: int = 0
    ) -> None:
        super().__init__(message, url=url, resumable_bytes=resumable_bytes)
        self.expected = expected
        self.actual = actual


class NotAVideo(TransferError):
    """The answer is a page or a half file, not a video; `title` is the page's title, if any."""

    def __init__(
        self, message: str, *, title: str | None = None, url: str = "", resumable_bytes: int = 0
    ) -> None:
        super().__init__(message, url=url, resumable_bytes=resumable_bytes)
        self.title = title


class URLNotAllowed(TransferError):
    """The URL, or an address it leads to, is one vidnb does not fetch from."""


class StorageError(TransferError, OSError):
    """The disk or the path failed, not the network; the cause is the `OSError` itself."""


class ServeError(VidnbError):
    """A file cannot be served: missing, no regular file, or the server could not start."""


class Unreachable(ServeError):
    """No road leads from the browser to the bytes; `tried` names each and why it failed."""

    def __init__(self, message: str, *, tried: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tried = tried


class PlayerTimeout(VidnbError, TimeoutError):
    """A player did not say in time what was waited for, or cannot be heard where it was."""


class MissingExtra(VidnbError, ImportError):
    """A feature needs packages of an extra that is not installed; `extra` is its name."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra
