"""The error sentences of a download: what happened, where, what was kept, what to do."""

import errno
import os
from pathlib import Path

import pytest

from vidnb.download.error_messages import (
    describe_kept,
    existing_not_a_video_error,
    existing_too_large_error,
    head_error,
    read_error,
    storage_error,
    transfer_error,
)
from vidnb.download.planner.events import GiveUp
from vidnb.download.planner.retry import Failure, FailureKind, GiveUpReason
from vidnb.errors import (
    NotAVideo,
    RemoteProtocolError,
    SourceChanged,
    StatusError,
    TooLarge,
    TransferError,
    TransferTimeout,
    TransportError,
)
from vidnb.media.sniff import SniffResult

URL = "https://user:s3cret@example.org/film.mp4?token=s3cret"
SHOWN = "https://example.org/film.mp4?…"
PART_FOLDER = Path("films/.vidnb")
RESUME = "run the same download again to resume"
KEPT = "3.2 MB are kept in films/.vidnb"


def give_up(why: GiveUpReason, failure: Failure, attempts: int = 1) -> GiveUp:
    return GiveUp(why, failure, attempts)


def failed(kind: FailureKind, status: int | None = None, wait_s: float | None = None) -> GiveUp:
    return give_up(GiveUpReason.FAILED, Failure(kind, "it failed", status, wait_s))


@pytest.mark.parametrize(
    ("end", "kind", "with_nothing", "with_bytes"),
    [
        pytest.param(
            failed(FailureKind.CONNECT),
            TransportError,
            "it failed; nothing was kept; check the address and the network.",
            f"it failed; {KEPT}; check the address and the network, then {RESUME}.",
            id="connect",
        ),
        pytest.param(
            give_up(
                GiveUpReason.FAILED,
                Failure(FailureKind.REFUSED, "it failed", remedy="check the clock"),
            ),
            TransportError,
            "it failed; nothing was kept; check the clock.",
            f"it failed; {KEPT}; check the clock, then {RESUME}.",
            id="certificate",
        ),
        pytest.param(
            failed(FailureKind.LOST),
            TransportError,
            "it failed; nothing was kept; run it again.",
            f"it failed; {KEPT}; {RESUME}.",
            id="lost",
        ),
        pytest.param(
            give_up(GiveUpReason.FAILED, Failure(FailureKind.TRUNCATED, "it failed"), 8),
            TransportError,
            "it failed after 8 attempts without progress; nothing was kept; run it again.",
            f"it failed after 8 attempts without progress; {KEPT}; {RESUME}.",
            id="short",
        ),
        pytest.param(
            failed(FailureKind.TIMEOUT),
            TransferTimeout,
            "it failed; nothing was kept; run it again, or raise idle_timeout_s.",
            f"it failed; {KEPT}; {RESUME}.",
            id="timeout",
        ),
        pytest.param(
            failed(FailureKind.PROTOCOL_ERROR),
            RemoteProtocolError,
            "it failed; nothing was kept; try another address for it.",
            f"it failed; {KEPT}; try another address for it, then {RESUME}.",
            id="misbehaved-at-last",
        ),
        pytest.param(
            give_up(GiveUpReason.PROTOCOL_ERROR, Failure(FailureKind.PROTOCOL_ERROR, "it failed")),
            RemoteProtocolError,
            "cannot be downloaded safely: it failed; nothing was kept; try another address for it.",
            f"it failed; {KEPT}; try another address for it, then {RESUME}.",
            id="misbehaved",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 404),
            StatusError,
            "answered 404 Not Found; nothing was kept; check the address.",
            f"answered 404 Not Found; {KEPT}; check the address, then {RESUME}.",
            id="404",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 403),
            StatusError,
            "check the address, and whether it requires a login (auth=…).",
            f"whether it requires a login (auth=…), then {RESUME}.",
            id="403",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 503, 3600.0),
            StatusError,
            "answered 503 Service Unavailable and asks to wait 3600 s; nothing was kept;"
            " try again later.",
            f"asks to wait 3600 s; {KEPT}; {RESUME}.",
            id="503",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 999),
            StatusError,
            "answered 999; nothing was kept; check the address.",
            f"answered 999; {KEPT}; check the address, then {RESUME}.",
            id="999",
        ),
        pytest.param(
            give_up(GiveUpReason.EMPTY, Failure(FailureKind.TRUNCATED, "it failed")),
            TransferError,
            "sent an empty file; nothing was saved; check the address.",
            "sent an empty file; nothing was saved; check the address.",
            id="empty",
        ),
        pytest.param(
            give_up(GiveUpReason.TOO_LARGE, Failure(FailureKind.REFUSED, "it failed")),
            TooLarge,
            "it failed; nothing was kept; raise max_bytes to accept it.",
            f"it failed; {KEPT}; raise max_bytes to accept it.",
            id="too-large",
        ),
        pytest.param(
            give_up(GiveUpReason.CHANGED, Failure(FailureKind.CHANGED, "it failed")),
            SourceChanged,
            "it failed while it was fetched; nothing was kept;"
            " run the same download again when the source no longer changes.",
            f"{KEPT}; run the same download again when the source no longer changes.",
            id="changed",
        ),
    ],
)
def test_a_failed_transfer_has_the_error_of_its_reason(
    end: GiveUp, kind: type[TransferError], with_nothing: str, with_bytes: str
) -> None:
    for resumable_bytes, tail in ((0, with_nothing), (3_200_000, with_bytes)):
        error = transfer_error(end, URL, PART_FOLDER, resumable_bytes)
        assert type(error) is kind
        assert str(error).startswith(f"{SHOWN} ")
        assert str(error).endswith(tail)
        assert "s3cret" not in str(error)
        assert error.url == URL


@pytest.mark.parametrize(
    ("number", "resumable_bytes", "what", "tail"),
    [
        (
            errno.ENOSPC,
            0,
            "the disk is full",
            "nothing was kept; free some space and run it again.",
        ),
        (errno.ENOSPC, 3_200_000, "the disk is full", f"{KEPT}; {RESUME}, once there is space."),
        (errno.EACCES, 0, "no permission to write there", "was kept; choose another folder."),
        (errno.ENOENT, 0, "a folder on its path was removed", "nothing was kept; run it again."),
        (errno.ENAMETOOLONG, 0, "its name is too long", "was kept; choose a shorter one."),
        (errno.EIO, 0, os.strerror(errno.EIO), "; nothing was kept."),
    ],
)
def test_a_disk_error_names_the_cause_and_the_remedy(
    number: int, resumable_bytes: int, what: str, tail: str
) -> None:
    error = storage_error(
        OSError(number, os.strerror(number)), URL, Path("films/a.mp4"), PART_FOLDER, resumable_bytes
    )
    assert str(error).startswith("films/a.mp4 cannot be written: ")
    assert f"{what}; the download of {SHOWN} stopped; " in str(error)
    assert str(error).endswith(tail)
    assert (error.url, error.resumable_bytes) == (URL, resumable_bytes)


def test_a_disk_error_without_errno_is_named_by_its_type() -> None:
    assert "written: OSError;" in str(storage_error(OSError(), URL, Path("a"), PART_FOLDER, 0))


@pytest.mark.parametrize(
    ("title", "called"), [("Sign in", " with the title “Sign in”"), (None, "")]
)
def test_an_existing_file_that_is_not_accepted_is_unchanged(title: str | None, called: str) -> None:
    page = existing_not_a_video_error(URL, Path("films/a.mp4"), SniffResult("html", "page", title))
    assert (type(page), page.title, page.resumable_bytes) == (NotAVideo, title, 0)
    assert f"{SHOWN} is already saved as films/a.mp4, but that is a page{called}, not" in str(page)
    large = existing_too_large_error(URL, Path("films/a.mp4"), 11, 10)
    assert str(large) == (
        f"{SHOWN} is already saved as films/a.mp4, but it has 11 bytes and max_bytes is 10;"
        " the file is unchanged; raise max_bytes to accept it."
    )


@pytest.mark.parametrize("title", [None, "A title"])
@pytest.mark.parametrize(
    ("kind", "what", "remedy"),
    [
        ("hls", "an HLS playlist", "with ffmpeg (-i URL -c copy) or yt-dlp"),
        ("dash", "a DASH manifest", "with ffmpeg (-i URL -c copy) or yt-dlp"),
        ("smooth-streaming", "a Smooth Streaming manifest", "yt-dlp"),
        ("f4m", "an HDS manifest", "yt-dlp"),
        ("m3u", "a playlist", "download one of the addresses in it"),
        ("playlist", "a playlist", "download one of the addresses in it"),
        ("metalink", "a metalink", "aria2"),
        ("torrent", "a torrent file", "aria2"),
        ("git-lfs", "the pointer of a file in Git LFS", "git lfs pull"),
        ("git-annex", "the pointer of a file in git-annex", "git annex get"),
        ("html", "a page", "open the address in a browser"),
        ("json", "a JSON message", "open the address in a browser"),
        ("xml", "an XML message", "open the address in a browser"),
        ("text", "a text message", "open the address in a browser"),
    ],
)
def test_a_text_in_place_of_a_video_is_named_with_what_to_do(
    kind: str, what: str, remedy: str, title: str | None
) -> None:
    sniffed = SniffResult(kind, "page", title)
    new = head_error(URL, sniffed, None)
    assert isinstance(new, NotAVideo)
    assert str(new).startswith(f"{SHOWN} sent {what}")
    assert "not a video; nothing was saved; " in str(new)
    assert remedy in str(new)
    assert str(new).endswith(", or pass check_video=False to save it anyway.")
    kept = str(head_error(URL, sniffed, None, PART_FOLDER, 5_000_000))
    assert remedy in kept
    assert kept.endswith(", then run the same download again to resume.")
    assert "5.0 MB are kept in" in kept
    saved = str(existing_not_a_video_error(URL, Path("films/a.mp4"), sniffed))
    assert f"that is {what}" in saved
    assert saved.endswith("or pass check_video=False to accept it.")


@pytest.mark.parametrize("resumable_bytes", [0, 5_000_000])
def test_a_file_that_may_be_encoded_is_refused(resumable_bytes: int) -> None:
    error = head_error(
        URL,
        SniffResult("unknown", "unknown"),
        "Content-Encoding (utf-8)",
        PART_FOLDER,
        resumable_bytes,
    )
    assert type(error) is RemoteProtocolError
    kept = f"5.0 MB are kept in {PART_FOLDER}" if resumable_bytes else "nothing was saved"
    assert str(error) == (
        f"{SHOWN} cannot be downloaded safely: the origin sent it with Content-Encoding (utf-8),"
        " and its first bytes are not those of a video, so it may be encoded;"
        f" {kept}; try another address for it."
    )
    assert error.resumable_bytes == resumable_bytes


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (PermissionError(errno.EACCES, "x"), "there is no permission to read it"),
        (PermissionError(errno.EPERM, "x"), "there is no permission to read it"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(), "OSError"),
    ],
)
def test_an_existing_file_that_cannot_be_read_is_unchanged(error: OSError, what: str) -> None:
    shown = read_error(error, URL, Path("films/a.mp4"))
    assert str(shown) == (
        f"films/a.mp4 cannot be read: {what}; it could not be compared with {SHOWN} and is"
        " unchanged; make it readable, or pass if_exists='overwrite' to replace it."
    )
    assert (shown.url, shown.resumable_bytes) == (URL, 0)


def test_the_kept_bytes_and_their_folder_are_named() -> None:
    assert describe_kept(0, PART_FOLDER) == "nothing was kept"
    assert describe_kept(3_200_000, PART_FOLDER) == f"{KEPT}; {RESUME}"
