"""Each failure's sentence: what happened, where, what was kept, what to do."""

import errno
import os
from pathlib import Path

import pytest

from vidnb.download.error_messages import (
    gave_up,
    kept,
    reused_page,
    reused_too_large,
    storage_error,
    unreadable,
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

URL = "https://user:s3cret@example.org/film.mp4?token=s3cret"
SHOWN = "https://example.org/film.mp4?…"
HOLD = Path("films/.vidnb")
AGAIN = "run the same download again to go on"
KEPT = "3.2 MB are kept in films/.vidnb"


def ended(why: GiveUpReason, failure: Failure, attempts: int = 1) -> GiveUp:
    return GiveUp(why, failure, attempts)


def failed(kind: FailureKind, status: int | None = None, wait_s: float | None = None) -> GiveUp:
    return ended(GiveUpReason.FAILED, Failure(kind, "it failed", status, wait_s))


@pytest.mark.parametrize(
    ("end", "kind", "with_nothing", "with_bytes"),
    [
        pytest.param(
            failed(FailureKind.CONNECT),
            TransportError,
            "it failed; nothing was kept; check the address and the network.",
            f"it failed; {KEPT}; check the address and the network, then {AGAIN}.",
            id="connect",
        ),
        pytest.param(
            failed(FailureKind.REFUSED),
            TransportError,
            "it failed; nothing was kept; check the address and the clock of this machine.",
            f"it failed; {KEPT}; check the address and the clock of this machine, then {AGAIN}.",
            id="certificate",
        ),
        pytest.param(
            failed(FailureKind.LOST),
            TransportError,
            "it failed; nothing was kept; run it again.",
            f"it failed; {KEPT}; {AGAIN}.",
            id="lost",
        ),
        pytest.param(
            ended(GiveUpReason.FAILED, Failure(FailureKind.TRUNCATED, "it failed"), 8),
            TransportError,
            "it failed after 8 attempts without progress; nothing was kept; run it again.",
            f"it failed after 8 attempts without progress; {KEPT}; {AGAIN}.",
            id="short",
        ),
        pytest.param(
            failed(FailureKind.TIMEOUT),
            TransferTimeout,
            "it failed; nothing was kept; run it again, or raise idle_timeout_s.",
            f"it failed; {KEPT}; {AGAIN}.",
            id="timeout",
        ),
        pytest.param(
            failed(FailureKind.PROTOCOL_ERROR),
            RemoteProtocolError,
            "it failed; nothing was kept; try another address for it.",
            f"it failed; {KEPT}; try another address for it, then {AGAIN}.",
            id="misbehaved-at-last",
        ),
        pytest.param(
            ended(GiveUpReason.PROTOCOL_ERROR, Failure(FailureKind.PROTOCOL_ERROR, "it failed")),
            RemoteProtocolError,
            "cannot be downloaded safely: it failed; nothing was kept; try another address for it.",
            f"it failed; {KEPT}; try another address for it, then {AGAIN}.",
            id="misbehaved",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 404),
            StatusError,
            "answered 404 Not Found; nothing was kept; check the address.",
            f"answered 404 Not Found; {KEPT}; check the address, then {AGAIN}.",
            id="404",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 403),
            StatusError,
            "check the address, and whether it asks for a login (headers=…).",
            f"whether it asks for a login (headers=…), then {AGAIN}.",
            id="403",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 503, 3600.0),
            StatusError,
            "answered 503 Service Unavailable and asks to wait 3600 s; nothing was kept;"
            " try again later.",
            f"asks to wait 3600 s; {KEPT}; {AGAIN}.",
            id="503",
        ),
        pytest.param(
            failed(FailureKind.STATUS, 999),
            StatusError,
            "answered 999; nothing was kept; check the address.",
            f"answered 999; {KEPT}; check the address, then {AGAIN}.",
            id="999",
        ),
        pytest.param(
            ended(GiveUpReason.EMPTY, Failure(FailureKind.TRUNCATED, "it failed")),
            TransferError,
            "sent an empty file; nothing was saved; check the address.",
            "sent an empty file; nothing was saved; check the address.",
            id="empty",
        ),
        pytest.param(
            ended(GiveUpReason.TOO_LARGE, Failure(FailureKind.REFUSED, "it failed")),
            TooLarge,
            "it failed; nothing was kept; raise max_bytes to have it.",
            f"it failed; {KEPT}; raise max_bytes to have it.",
            id="too-large",
        ),
        pytest.param(
            ended(GiveUpReason.CHANGED, Failure(FailureKind.CHANGED, "it failed")),
            SourceChanged,
            "it failed while it was fetched; nothing was kept;"
            " run the same download again when it stands still.",
            f"{KEPT}; run the same download again when it stands still.",
            id="changed",
        ),
    ],
)
def test_what_a_transfer_ends_with(
    end: GiveUp, kind: type[TransferError], with_nothing: str, with_bytes: str
) -> None:
    for resumable_bytes, tail in ((0, with_nothing), (3_200_000, with_bytes)):
        error = gave_up(end, URL, HOLD, resumable_bytes)
        assert type(error) is kind
        assert str(error).startswith(f"{SHOWN} ")
        assert str(error).endswith(tail)
        assert "s3cret" not in str(error)
        assert error.url == URL


@pytest.mark.parametrize(
    ("number", "resumable_bytes", "what", "tail"),
    [
        (errno.ENOSPC, 0, "the disk is full", "nothing was kept; free some room and run it again."),
        (errno.ENOSPC, 3_200_000, "the disk is full", f"{KEPT}; {AGAIN}, once there is room."),
        (errno.EACCES, 0, "no permission to write there", "was kept; choose another folder."),
        (errno.ENOENT, 0, "a folder on its path is gone", "nothing was kept; run it again."),
        (errno.ENAMETOOLONG, 0, "its name is too long", "was kept; choose a shorter one."),
        (errno.EIO, 0, os.strerror(errno.EIO), "; nothing was kept."),
    ],
)
def test_what_the_disk_ends_it_with(
    number: int, resumable_bytes: int, what: str, tail: str
) -> None:
    error = storage_error(
        OSError(number, os.strerror(number)), URL, Path("films/a.mp4"), HOLD, resumable_bytes
    )
    assert str(error).startswith("films/a.mp4 cannot be written: ")
    assert f"{what}; the download of {SHOWN} stopped; " in str(error)
    assert str(error).endswith(tail)
    assert (error.url, error.resumable_bytes) == (URL, resumable_bytes)


def test_a_disk_error_without_a_number_is_called_by_its_kind() -> None:
    assert "written: OSError;" in str(storage_error(OSError(), URL, Path("a"), HOLD, 0))


@pytest.mark.parametrize(
    ("title", "called"), [("Sign in", " with the title “Sign in”"), (None, "")]
)
def test_a_file_that_is_here_and_not_what_was_asked_for(title: str | None, called: str) -> None:
    page = reused_page(URL, Path("films/a.mp4"), title)
    assert (type(page), page.title, page.resumable_bytes) == (NotAVideo, title, 0)
    assert f"{SHOWN} is here already as films/a.mp4, but that is a page{called}, not" in str(page)
    large = reused_too_large(URL, Path("films/a.mp4"), 11, 10)
    assert str(large) == (
        f"{SHOWN} is here already as films/a.mp4, but has 11 bytes, and max_bytes allows 10;"
        " the file stays as it is; raise max_bytes to have it."
    )


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (PermissionError(errno.EACCES, "x"), "there is no permission to read it"),
        (PermissionError(errno.EPERM, "x"), "there is no permission to read it"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(), "OSError"),
    ],
)
def test_a_file_that_is_here_and_cannot_be_read(error: OSError, what: str) -> None:
    told = unreadable(error, URL, Path("films/a.mp4"))
    assert str(told) == (
        f"films/a.mp4 cannot be read: {what}; whether it is what {SHOWN} has is not known; the file"
        " stays as it is; make it readable, or pass if_exists='overwrite' to replace it."
    )
    assert (told.url, told.resumable_bytes) == (URL, 0)


def test_what_is_kept() -> None:
    assert kept(0, HOLD) == "nothing was kept"
    assert kept(3_200_000, HOLD) == f"{KEPT}; {AGAIN}"
