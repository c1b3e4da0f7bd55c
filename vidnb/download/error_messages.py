"""The sentences of a download's failures: what happened, where, what was kept, what to do."""

import errno
from http import HTTPStatus
from pathlib import Path

from vidnb.download.planner.events import GiveUp
from vidnb.download.planner.progress import format_bytes
from vidnb.download.planner.retry import RETRIED_STATUSES, Failure, FailureKind, GiveUpReason
from vidnb.errors import (
    ChecksumMismatch,
    NotAVideo,
    RemoteProtocolError,
    SourceChanged,
    StatusError,
    StorageError,
    TooLarge,
    TransferError,
    TransferTimeout,
    TransportError,
)
from vidnb.http.urls import redact

__all__ = [
    "cut_short",
    "gave_up",
    "kept",
    "reused_page",
    "reused_too_large",
    "sent_a_page",
    "storage_error",
    "unreadable",
    "wrong_digest",
]


_CAUSES = {
    errno.ENOSPC: ("the disk is full", "; free some room and run it again"),
    errno.EDQUOT: ("the disk quota is used up", "; free some room and run it again"),
    errno.EACCES: ("there is no permission to write there", "; choose another folder"),
    errno.EPERM: ("there is no permission to write there", "; choose another folder"),
    errno.EROFS: ("the disk is read-only", "; choose another folder"),
    errno.EISDIR: ("it is a folder", "; give it with a trailing slash to save into it"),
    errno.ENOTDIR: ("a folder on its path is a file", "; choose another folder"),
    errno.EEXIST: ("a folder on its path is a file", "; choose another folder"),
    errno.ENOENT: ("a folder on its path is gone", "; run it again"),
    errno.ENAMETOOLONG: ("its name is too long", "; choose a shorter one"),
}
"""What the disk's errors mean for a download, and what to do."""

_ROOM = {errno.ENOSPC, errno.EDQUOT}


_AGAIN = "run the same download again to go on"

_REMEDIES = {
    FailureKind.CONNECT: "check the address and the network",
    FailureKind.PROTOCOL_ERROR: "try another address for it",
    # Of those that are not told in their own words only this one is left.
    FailureKind.REFUSED: "check the address and the clock of this machine",
}
_FORBIDDEN = {401, 403, 407}


def kept(resumable_bytes: int, folder: Path) -> str:
    """Say what is kept and what that is good for."""
    return (
        f"{_held(resumable_bytes, folder)}; {_AGAIN}"
        if resumable_bytes
        else _held(resumable_bytes, folder)
    )


def _held(resumable_bytes: int, folder: Path) -> str:
    return (
        f"{format_bytes(resumable_bytes)} are kept in {folder}"
        if resumable_bytes
        else "nothing was kept"
    )


def _remedy(failure: Failure, resumable_bytes: int) -> str:
    """Say what a person can do about a failure."""
    remedy = _REMEDIES.get(failure.kind)
    if failure.status in _FORBIDDEN:
        remedy = "check the address, and whether it asks for a login (headers=…)"
    elif failure.status is not None and failure.status not in RETRIED_STATUSES:
        remedy = "check the address"
    if resumable_bytes:
        return f"{remedy}, then {_AGAIN}" if remedy else _AGAIN
    if failure.kind is FailureKind.TIMEOUT:
        return "run it again, or raise idle_timeout_s"
    return remedy or ("try again later" if failure.status is not None else "run it again")


def gave_up(end: GiveUp, url: str, folder: Path, resumable_bytes: int) -> TransferError:
    """Return the error a transfer ends with."""
    failure = end.failure
    shown, held = redact(url), _held(resumable_bytes, folder)
    rest = f"{held}; {_remedy(failure, resumable_bytes)}"
    match end.reason:
        case GiveUpReason.EMPTY:
            return TransferError(
                f"{shown} sent an empty file; nothing was saved; check the address.", url=url
            )
        case GiveUpReason.TOO_LARGE:
            return TooLarge(
                f"{shown} was not downloaded: {failure.reason}; {held};"
                " raise max_bytes to have it.",
                url=url,
                resumable_bytes=resumable_bytes,
            )
        case GiveUpReason.CHANGED:
            return SourceChanged(
                f"{shown} was not downloaded: {failure.reason} while it was fetched; {held};"
                " run the same download again when it stands still.",
                url=url,
                resumable_bytes=resumable_bytes,
            )
        case GiveUpReason.PROTOCOL_ERROR:
            return RemoteProtocolError(
                f"{shown} cannot be downloaded safely: {failure.reason}; {rest}.",
                url=url,
                resumable_bytes=resumable_bytes,
            )
    tries = f" after {end.attempts} attempts without progress" if end.attempts > 1 else ""
    if failure.kind is FailureKind.STATUS:
        return _status_error(end, url, rest, tries, resumable_bytes)
    kinds: dict[FailureKind, type[TransferError]] = {
        FailureKind.TIMEOUT: TransferTimeout,
        FailureKind.PROTOCOL_ERROR: RemoteProtocolError,
    }
    kind = kinds.get(failure.kind, TransportError)
    return kind(
        f"{shown} could not be downloaded: {failure.reason}{tries}; {rest}.",
        url=url,
        resumable_bytes=resumable_bytes,
    )


def _status_error(
    end: GiveUp, url: str, rest: str, tries: str, resumable_bytes: int
) -> StatusError:
    status = end.failure.status or 0
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    wait_s = end.failure.retry_after_s
    wait = "" if wait_s is None else f" and asks to wait {wait_s:.0f} s"
    return StatusError(
        f"{redact(url)} answered {phrase}{wait}{tries}; {rest}.",
        status=status,
        retry_after_s=wait_s,
        url=url,
        resumable_bytes=resumable_bytes,
    )


def storage_error(
    error: OSError, url: str, path: Path, folder: Path, resumable_bytes: int
) -> StorageError:
    """Return the error for a fault of the disk or the path, never the network's."""
    what, remedy = _CAUSES.get(error.errno or 0, (error.strerror or str(error), ""))
    if error.errno in _ROOM and resumable_bytes:
        remedy = ", once there is room"
    return StorageError(
        f"{path} cannot be written: {what or type(error).__name__};"
        f" the download of {redact(url)} stopped; {kept(resumable_bytes, folder)}{remedy}.",
        url=url,
        resumable_bytes=resumable_bytes,
    )


def unreadable(error: OSError, url: str, path: Path) -> StorageError:
    """Return the error for a file that is here, and whose bytes nobody can look at."""
    what = error.strerror or str(error)
    if error.errno in {errno.EACCES, errno.EPERM}:
        what = "there is no permission to read it"
    return StorageError(
        f"{path} cannot be read: {what or type(error).__name__}; whether it is what {redact(url)}"
        " has is not known; the file stays as it is; make it readable, or pass"
        " if_exists='overwrite' to replace it.",
        url=url,
    )


def reused_too_large(url: str, path: Path, size_bytes: int, max_bytes: int) -> TooLarge:
    """Return the error for a file that is here already and larger than this order allows."""
    return TooLarge(
        f"{redact(url)} is here already as {path}, but has {size_bytes} bytes, and max_bytes"
        f" allows {max_bytes}; the file stays as it is; raise max_bytes to have it.",
        url=url,
    )


def reused_page(url: str, path: Path, title: str | None) -> NotAVideo:
    """Return the error for a page that an earlier run saved without looking."""
    return NotAVideo(
        f"{redact(url)} is here already as {path}, but that is a page{_called(title)}, not a video;"
        " the file stays as it is; open the address in a browser, or pass check_video=False to"
        " have it all the same.",
        title=title,
        url=url,
    )


def sent_a_page(
    url: str, title: str | None, folder: Path | None = None, resumable_bytes: int = 0
) -> NotAVideo:
    """Say that the origin sent a page in place of a video, or of its rest."""
    rest = (
        "nothing was saved;"
        " open the address in a browser, or pass check_video=False to save it all the same"
    )
    if folder is not None and resumable_bytes:
        rest = f"{_held(resumable_bytes, folder)}; open the address in a browser, then {_AGAIN}"
    return NotAVideo(
        f"{redact(url)} sent a page{_called(title)}, not a video; {rest}.",
        title=title,
        url=url,
        resumable_bytes=resumable_bytes,
    )


def wrong_digest(url: str, algorithm: str, expected: str, actual: str) -> ChecksumMismatch:
    """Say that the file is not the one the caller knows the digest of."""
    return ChecksumMismatch(
        f"{redact(url)} has the {algorithm} digest {actual}, not the expected {expected};"
        " nothing was saved or kept; check the address and the checksum.",
        expected=expected,
        actual=actual,
        url=url,
    )


def cut_short(url: str, what_is_missing: str) -> TransportError:
    """Say that a body without a length ended before its file did."""
    return TransportError(
        f"{redact(url)} could not be downloaded: the connection closed before the file was complete"
        f" ({what_is_missing}); nothing was kept; run the same download again.",
        url=url,
    )


def _called(title: str | None) -> str:
    """Say the title of a page, if it has one."""
    return f" with the title “{title}”" if title else ""
