"""The errors of a download, each one sentence: what happened, where, what was kept, what to do."""

import errno
from http import HTTPStatus
from pathlib import Path
from typing import Any

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
from vidnb.http.urls import quotable, redact
from vidnb.io.regular_file import IrregularFileError, printable
from vidnb.media.sniff import SniffResult

_CAUSES = {
    errno.ENOSPC: ("the disk is full", "; free some space and run it again"),
    errno.EDQUOT: ("the disk quota is used up", "; free some space and run it again"),
    errno.EACCES: ("there is no permission to write there", "; choose another folder"),
    errno.EPERM: ("there is no permission to write there", "; choose another folder"),
    errno.EROFS: ("the disk is read-only", "; choose another folder"),
    errno.EISDIR: ("it is a folder", "; add a trailing slash to save into it"),
    errno.ENOTDIR: ("a folder on its path is a file", "; choose another folder"),
    errno.EEXIST: ("a folder on its path is a file or a broken link", "; choose another folder"),
    errno.ELOOP: ("its symbolic links form a cycle", "; choose another name"),
    errno.EXDEV: (
        "it is a link to another disk",
        "; pass the path of the file that it leads to",
    ),
    errno.EBUSY: (
        "it is in use or a mount point, as a single file that a container mounts",
        "; mount its folder instead, or choose another name",
    ),
    errno.ENOENT: ("a folder on its path was removed", "; run it again"),
    errno.ENAMETOOLONG: ("its name is too long", "; choose a shorter one"),
}
"""By errno: what it means for a download, and what to do."""

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}

_RESUME = "run the same download again to resume"

_REMEDIES = {
    FailureKind.CONNECT: "check the address and the network",
    FailureKind.PROTOCOL_ERROR: "try another address for it",
}
_FORBIDDEN = {401, 403, 407}


_SEGMENTS = "save the stream with ffmpeg (-i URL -c copy) or yt-dlp"
_PLAYLIST = (
    "a playlist, which only has the addresses of media",
    "download one of the addresses in it",
)
_REFERENCES = {
    "hls": ("an HLS playlist, which lists the segments of a stream", _SEGMENTS),
    "dash": ("a DASH manifest, which lists the segments of a stream", _SEGMENTS),
    "smooth-streaming": ("a Smooth Streaming manifest", "save the stream with yt-dlp"),
    "f4m": ("an HDS manifest (F4M)", "save the stream with yt-dlp"),
    "m3u": _PLAYLIST,
    "playlist": _PLAYLIST,
    "metalink": ("a metalink, which only has addresses", "download it with aria2"),
    "torrent": ("a torrent file", "download it with aria2"),
    "git-lfs": (
        "the pointer of a file in Git LFS",
        "download the file itself: its “raw” or “download” link, or `git lfs pull`",
    ),
    "git-annex": ("the pointer of a file in git-annex", "run `git annex get` in the repository"),
}
"""By kind (`sniff`): what a file is that only says where a video is, and what to do."""
_PAGES = {"json": "a JSON message", "xml": "an XML message", "text": "a text message"}


def describe_kept(resumable_bytes: int, folder: Path) -> str:
    """Return a clause on what was kept and how to resume."""
    kept = _kept(resumable_bytes, folder)
    return f"{kept}; {_RESUME}" if resumable_bytes else kept


def _kept(resumable_bytes: int, folder: Path) -> str:
    if not resumable_bytes:
        return "nothing was kept"
    return f"{format_bytes(resumable_bytes)} are kept in {printable(folder)}"


def _remedy(failure: Failure, resumable_bytes: int, login_remedy: str) -> str:
    """Return a clause on what the user can do about a failure."""
    remedy = failure.remedy or _REMEDIES.get(failure.kind)
    if failure.status in _FORBIDDEN:
        remedy = login_remedy or "check the address, and whether it requires a login (auth=…)"
    elif failure.status is not None and failure.status not in RETRIED_STATUSES:
        remedy = "check the address"
    if resumable_bytes:
        return f"{remedy}, then {_RESUME}" if remedy else _RESUME
    if failure.kind is FailureKind.TIMEOUT:
        return "run it again, or raise idle_timeout_s"
    return remedy or ("try again later" if failure.status is not None else "run it again")


def transfer_error(
    end: GiveUp, url: str, folder: Path, resumable_bytes: int, login_remedy: str = ""
) -> TransferError:
    """Return the error for a transfer that the planner gave up.

    `login_remedy` is `refusal_remedy`'s clause for the last 401 or 403.
    """
    error = _given_up(end, url, folder, resumable_bytes, login_remedy)
    may_pass = end.reason in {GiveUpReason.FAILED, GiveUpReason.CHANGED}
    error.is_transient = may_pass and end.failure.is_transient
    return error


def _given_up(
    end: GiveUp, url: str, folder: Path, resumable_bytes: int, login_remedy: str
) -> TransferError:
    failure = end.failure
    shown, kept = redact(url), _kept(resumable_bytes, folder)
    rest = f"{kept}; {_remedy(failure, resumable_bytes, login_remedy)}"
    kind: type[TransferError]
    match end.reason:
        case GiveUpReason.EMPTY:
            return TransferError(
                f"{shown} sent an empty file; nothing was saved; check the address.", url=url
            )
        case GiveUpReason.TOO_LARGE:
            kind = TooLarge
            sentence = f"was not downloaded: {failure.reason}; {kept}; raise max_bytes to accept it"
        case GiveUpReason.CHANGED:
            kind = SourceChanged
            sentence = (
                f"was not downloaded: {failure.reason} while it was fetched; {kept};"
                " run the same download again when the source no longer changes"
            )
        case GiveUpReason.PROTOCOL_ERROR:
            kind = RemoteProtocolError
            sentence = f"cannot be downloaded safely: {failure.reason}; {rest}"
        case _:
            tries = f" after {end.attempts} attempts without progress" if end.attempts > 1 else ""
            if failure.kind is FailureKind.STATUS:
                return _status_error(end, url, rest, tries, resumable_bytes)
            kinds: dict[FailureKind, type[TransferError]] = {
                FailureKind.TIMEOUT: TransferTimeout,
                FailureKind.PROTOCOL_ERROR: RemoteProtocolError,
            }
            kind = kinds.get(failure.kind, TransportError)
            sentence = f"could not be downloaded: {failure.reason}{tries}; {rest}"
    return kind(f"{shown} {sentence}.", url=url, resumable_bytes=resumable_bytes)


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


def deadline_error(
    url: str, deadline_s: float, folder: Path, resumable_bytes: int
) -> TransferTimeout:
    """Return the error for a row of a batch that was not complete at its deadline."""
    return TransferTimeout(
        f"{redact(url)} was not complete within the {deadline_s:g} s of deadline_s;"
        f" {describe_kept(resumable_bytes, folder)}; raise deadline_s to wait longer.",
        url=url,
        resumable_bytes=resumable_bytes,
    )


def storage_error(
    error: OSError, url: str, path: Path, folder: Path, resumable_bytes: int
) -> StorageError:
    """Return the error for a failure of the disk or the path."""
    what, remedy = _CAUSES.get(error.errno or 0, (error.strerror or type(error).__name__, ""))
    if isinstance(error, IrregularFileError):
        what, remedy = error.reason, f"; {error.remedy}" if error.remedy else ""
    if error.errno in _FULL_DISK and resumable_bytes:
        remedy = ", once there is space"
    return StorageError(
        f"{printable(path)} cannot be written: {what}; the download of"
        f" {redact(url)} stopped; {describe_kept(resumable_bytes, folder)}{remedy}.",
        url=url,
        resumable_bytes=resumable_bytes,
    )


def read_error(error: OSError, url: str, path: Path) -> StorageError:
    """Return the error for an existing file that cannot be read and so not be compared."""
    what = error.strerror or type(error).__name__
    if error.errno in {errno.EACCES, errno.EPERM}:
        what = "there is no permission to read it"
    return StorageError(
        f"{printable(path)} cannot be read: {what}; it could not be compared with"
        f" {redact(url)} and is unchanged; make it readable, or pass if_exists='overwrite' to"
        " replace it.",
        url=url,
    )


def existing_too_large_error(url: str, path: Path, size_bytes: int, max_bytes: int) -> TooLarge:
    """Return the error for a file on disk that is larger than this request accepts."""
    return TooLarge(
        f"{redact(url)} is already saved as {printable(path)}, but it has {size_bytes} bytes and"
        f" max_bytes is {max_bytes}; the file is unchanged; raise max_bytes to accept it.",
        url=url,
    )


def existing_not_a_video_error(url: str, path: Path, sniffed: SniffResult) -> NotAVideo:
    """Return the error for a text that an earlier run saved with `check_video=False`."""
    what, remedy = _named(sniffed, url)
    return NotAVideo(
        f"{redact(url)} is already saved as {printable(path)}, but that is {what}, not a video; the"
        f" file is unchanged; {remedy}, or pass check_video=False to accept it.",
        title=sniffed.title,
        url=url,
    )


def head_error(
    url: str,
    sniffed: SniffResult,
    claim: str | None,
    folder: Path | None = None,
    resumable_bytes: int = 0,
) -> NotAVideo | RemoteProtocolError:
    """Return the error for a file that is refused by its first bytes.

    It is a text in place of a video or of its rest, or a `claim` (`ContentCoding`) was not
    disproved. `folder` is that of the bytes which an earlier run stored.
    """
    kept = _kept(resumable_bytes, folder) if folder is not None and resumable_bytes else ""
    if sniffed.verdict not in {"page", "reference"}:
        return RemoteProtocolError(
            f"{redact(url)} cannot be downloaded safely: the origin sent it with {claim}, and its"
            " first bytes are not those of a video, so it may be encoded;"
            f" {kept or 'nothing was saved'}; try another address for it.",
            url=url,
            resumable_bytes=resumable_bytes,
        )
    what, remedy = _named(sniffed, url)
    rest = f"nothing was saved; {remedy}, or pass check_video=False to save it anyway"
    if kept:
        rest = f"{kept}; {remedy}, then {_RESUME}"
    return NotAVideo(
        f"{redact(url)} sent {what}, not a video; {rest}.",
        title=sniffed.title,
        url=url,
        resumable_bytes=resumable_bytes,
    )


def checksum_error(url: str, algorithm: str, expected: str, actual: str) -> ChecksumMismatch:
    """Return the error for a file with another digest than the expected one."""
    return ChecksumMismatch(
        f"{redact(url)} has the {algorithm} digest {actual}, not the expected {expected};"
        " nothing was saved or kept; check the address and the checksum.",
        expected=expected,
        actual=actual,
        url=url,
    )


def incomplete_error(url: str, missing: str) -> TransportError:
    """Return the error for a body without a length that ended before its file did."""
    error = TransportError(
        f"{redact(url)} could not be downloaded: the connection closed before the file was complete"
        f" ({missing}); nothing was kept; run the same download again.",
        url=url,
    )
    error.is_transient = True
    return error


def _named(sniffed: SniffResult, url: str) -> tuple[str, str]:
    """Return what a text is, and what to do about it.

    The title of a page is the only text of an origin in an error: it shows what the page is for
    ("Sign in", "Quota exceeded"). A page may repeat the requested address in it, so one that may
    contain a secret is left out.
    """
    known = _REFERENCES.get(sniffed.kind)
    if known is not None:
        return known
    shown = quotable(sniffed.title or "", url)
    title = f" with the title “{shown}”" if shown else ""
    return f"{_PAGES.get(sniffed.kind, 'a page')}{title}", "open the address in a browser"


def add_sentence(interrupt: KeyboardInterrupt, sentence: str) -> None:
    """Say in a note of an interrupt what was kept; a notebook shows the sentence alone."""
    interrupt.add_note(sentence)
    # IPython's hook: it shows this instead of a traceback.
    rendering: Any = interrupt
    rendering._render_traceback_ = lambda: [f"KeyboardInterrupt: {sentence}"]
