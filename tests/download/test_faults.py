"""One scenario for each fault of an origin, a path or a disk; README.md lists them.

Three rules hold in every scenario, and `check` asserts them: the final name has the bytes of the
source or is unchanged, a good file of an earlier run survives, and no stored byte is fetched again.
"""

import asyncio
import contextlib
import errno
import gzip
import hashlib
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.deadline import IDLE_S, wait_until
from tests.origin import (
    Exchange,
    Film,
    Handler,
    Origin,
    chunk,
    cut,
    drip,
    fetch,
    honest,
    noise,
    on,
    part_of,
    plain,
    raw,
    redirect,
    reset,
    stall,
    status,
    stored_journal,
    visible_names,
)
from vidnb.download import part_file
from vidnb.download.part_file import PartFile, RecordStore
from vidnb.download.planner import journal as journal_format
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
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
    URLNotAllowed,
)
from vidnb.http.ranges import ByteRange
from vidnb.io.preallocate import MIN_BYTES, preallocate

DATA = noise(300_000)
OTHER = noise(300_000, seed=2)
FILM = Film(DATA)
SIZE = len(DATA)
OLD_S = 1_700_000_000.0  # an old modification date
PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>" + b" " * 5000
QUICK = RetryPolicy(attempts=4, base_delay_s=0.005, max_delay_s=0.02)


def request_for(origin: Origin, folder: Path, **options: Any) -> DownloadRequest:
    """Make a request with one connection by default: a busy machine would try more."""
    given = {"retry": QUICK, "idle_timeout_s": 5.0, "connections": 1, **options}
    return DownloadRequest.of(origin.url, folder / "film.mp4", **given)


def check(result: DownloadResult, data: bytes = DATA) -> None:
    """Check that the file is complete and that the result describes it."""
    assert result.path.read_bytes() == data
    assert result.size_bytes == len(data)
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    assert visible_names(result.path.parent) == {result.path.name}
    assert [p.suffix for p in (result.path.parent / ".vidnb").iterdir()] == [".record"]


Kinds = type[TransferError] | tuple[type[TransferError], ...]


def refused(origin: Origin, folder: Path, kinds: Kinds, **options: Any) -> Any:
    """Check that a download fails with one of `kinds` and keeps an existing file."""
    good = folder / "film.mp4"
    good.write_bytes(b"an earlier film")
    with pytest.raises(kinds) as caught:
        fetch(request_for(origin, folder, **options))
    assert type(caught.value) in (kinds if isinstance(kinds, tuple) else (kinds,))
    assert good.read_bytes() == b"an earlier film"
    assert visible_names(folder) == {"film.mp4"}
    assert caught.value.url == origin.url
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    journal = stored_journal(folder)
    assert caught.value.resumable_bytes == (journal.stored.size_bytes if journal else 0)
    return caught.value


def whole(film: Film = FILM, **changed: str | None) -> Handler:
    """Answer 200 with the whole file and these headers (None: omitted)."""

    def handle(exchange: Exchange) -> None:
        names = {name.replace("_", "-"): value for name, value in changed.items()}
        exchange.respond(
            exchange.response(ignoring=exchange.request.headers, film=film),
            film=film,
            changed=names,
        )

    return handle


def then(change: Callable[[Origin], None], handler: Handler) -> Handler:
    """Call `change`, then answer."""

    def handle(exchange: Exchange) -> None:
        change(exchange.origin)
        handler(exchange)

    return handle


def replace_by(film: Film) -> Callable[[Origin], None]:
    def change(origin: Origin) -> None:
        origin.film = film

    return change


# Body.

CHUNKED = 'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nETag: "v1"'
UNFRAMED = 'HTTP/1.1 200 OK\nConnection: close\nETag: "v1"'
HALF = SIZE // 2


@pytest.mark.parametrize(
    ("script", "ranges", "most_bytes"),
    [
        pytest.param([cut(HALF)], [f"bytes={HALF}-"], SIZE, id="early-end"),
        pytest.param([cut(0)], [None], SIZE, id="early-end-at-once"),
        pytest.param([reset(HALF)], [f"bytes={HALF}-"], SIZE, id="reset"),
        pytest.param(
            [reset(20_000)] * 8, [f"bytes={20_000 * n}-" for n in range(1, 9)], SIZE, id="8-resets"
        ),
        pytest.param([reset(1)] * 3, ["bytes=1-", "bytes=2-", "bytes=3-"], SIZE, id="reset-byte-1"),
        pytest.param(
            [raw(CHUNKED, chunk(DATA[:HALF]))],
            [f"bytes={HALF}-"],
            SIZE + 20,
            id="chunked-ended-early",
        ),
        pytest.param(
            [raw(CHUNKED, chunk(DATA[:HALF]) + b"xyz\r\n" + DATA[HALF:])],
            [f"bytes={HALF}-"],
            2 * SIZE,
            id="chunked-malformed",
        ),
        pytest.param(
            [raw(UNFRAMED + f"\nContent-Length: {SIZE}", DATA[:HALF])],
            [f"bytes={HALF}-"],
            SIZE,
            id="short-of-its-length",
        ),
    ],
)
def test_body_recovers(
    script: list[Handler], ranges: list[str | None], most_bytes: int, tmp_path: Path
) -> None:
    """Only the missing range is requested, with the validator of the first response."""
    with Origin(FILM, [*script]) as origin:
        result = fetch(request_for(origin, tmp_path, idle_timeout_s=IDLE_S))
        check(result)
        assert origin.ranges == [None, *ranges]
        assert [a.headers.get("if-range") for a in origin.requests if "range" in a.headers] == (
            ['"v1"'] * len([r for r in ranges if r])
        )
        assert origin.sent_bytes <= most_bytes
        assert result.attempts == len(ranges) + 1


def test_body_bytes_before_a_reset_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes received before the reset are stored, also if they were not yet read."""

    def slow(_hold: RecordStore) -> int:
        time.sleep(0.05)
        return 2**60

    monkeypatch.setattr(RecordStore, "free_bytes", slow)
    with Origin(FILM, [reset(50_000)] * 5) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None, *(f"bytes={50_000 * n}-" for n in range(1, 6))]


def test_body_stall_is_resumed_after_the_idle_timeout(tmp_path: Path) -> None:
    with Origin(FILM, [stall(HALF), stall(1000)]) as origin:
        check(fetch(request_for(origin, tmp_path, idle_timeout_s=IDLE_S)))
        assert origin.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]


def test_body_endless_stall_is_a_timeout(tmp_path: Path) -> None:
    with Origin(FILM, [stall(HALF)], otherwise=stall(0)) as origin:
        error = refused(origin, tmp_path, TransferTimeout, idle_timeout_s=IDLE_S)
        assert error.resumable_bytes == HALF
        assert issubclass(TransferTimeout, TimeoutError)
        assert len(origin.requests) == QUICK.attempts


def test_body_stall_before_the_head_is_a_timeout(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=lambda exchange: exchange.wait_for_close()) as origin:
        error = refused(origin, tmp_path, TransferTimeout, idle_timeout_s=0.05)
        assert "nothing arrived for 0.05 s" in str(error)


def test_body_malformed_chunk_size_is_detected_at_once(tmp_path: Path) -> None:
    """aiohttp's C parser waits forever here; vidnb does not even wait for the idle timeout."""

    def malformed(exchange: Exchange) -> None:
        head = CHUNKED.replace("\n", "\r\n") + "\r\n\r\n"
        exchange.connection.sendall(head.encode() + chunk(DATA[:HALF]) + b"zz\r\nmore")
        exchange.wait_for_close()

    with Origin(FILM, [malformed]) as origin:
        check(fetch(request_for(origin, tmp_path, idle_timeout_s=3600.0)))
        assert origin.ranges == [None, f"bytes={HALF}-"]


def test_body_slow_but_steady_completes(tmp_path: Path) -> None:
    """The idle timeout limits silence, not the total time, which is over twice as long here."""
    film = Film(noise(50))
    with Origin(film, otherwise=drip(1, pause_s=IDLE_S / 20)) as origin:
        result = fetch(request_for(origin, tmp_path, idle_timeout_s=IDLE_S))
        check(result, film.data)
        assert result.attempts == 1
        assert result.elapsed_s > 2 * IDLE_S


def test_body_a_byte_at_a_time_completes_with_bounded_cpu(tmp_path: Path) -> None:
    film = Film(noise(20_000))
    with Origin(film, otherwise=drip(1)) as origin:
        before_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        check(fetch(request_for(origin, tmp_path)), film.data)
        assert sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before_s < 5


def test_body_without_length_is_accepted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Origin(FILM, [raw(UNFRAMED, DATA)]) as origin:
        with caplog.at_level(logging.WARNING, "vidnb"):
            check(fetch(request_for(origin, tmp_path)))
        assert len(origin.requests) == 1
    assert "size not verified" in caplog.text


def test_body_without_length_of_a_truncated_mp4_is_refused(tmp_path: Path) -> None:
    """There is no Content-Length, but the box sizes give the length."""
    mp4 = mp4_of(SIZE)
    with Origin(FILM, otherwise=raw(UNFRAMED, mp4[:HALF])) as origin:
        error = refused(origin, tmp_path, TransportError)
        assert "past the end" in str(error)


def test_body_complete_chunked_is_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = chunk(DATA[:HALF]) + chunk(DATA[HALF:]) + b"0\r\n\r\n"
    with Origin(FILM, [raw(CHUNKED, body)]) as origin:
        check(fetch(request_for(origin, tmp_path)))
    assert not caplog.records


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chunk(DATA[:HALF]), id="ended-early"),
        pytest.param(chunk(DATA[:HALF]) + b"5\r\nabc", id="ended-in-a-chunk"),
        pytest.param(chunk(DATA[:HALF]) + b"-1\r\n", id="negative-size"),
        pytest.param(chunk(DATA[:HALF]) + b"zz\r\n" + DATA[HALF:], id="no-size"),
    ],
)
def test_body_broken_chunked_is_never_a_success(body: bytes, tmp_path: Path) -> None:
    head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"  # no validator: nothing to resume
    with Origin(FILM, otherwise=raw(head, body)) as origin:
        kinds = (TransportError, TransferTimeout)  # aiohttp stalls at some malformed sizes
        error = refused(origin, tmp_path, kinds, idle_timeout_s=IDLE_S)
        assert error.resumable_bytes == 0


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(["-5"], id="negative"),
        pytest.param(["5", "6"], id="conflicting"),
        pytest.param(["5, 6"], id="conflicting-in-one-line"),
        pytest.param(["1e3"], id="no-number"),
        pytest.param(["1000000000000000001"], id="absurd"),
        pytest.param(["9" * 40], id="absurd-beyond-any-integer"),
    ],
)
def test_body_wrong_length_is_refused(lengths: list[str], tmp_path: Path) -> None:
    head = "\n".join(["HTTP/1.1 200 OK", *(f"Content-Length: {length}" for length in lengths)])
    with Origin(FILM, otherwise=raw(head, DATA)) as origin:
        refused(origin, tmp_path, RemoteProtocolError)
        assert len(origin.requests) <= 2


GZIPPED = gzip.compress(DATA)
END_CHUNK = b"0\r\n\r\n"
CODED = "HTTP/1.1 200 OK\nConnection: close\nTransfer-Encoding"


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(raw(f"{CODED}: gzip, chunked", chunk(GZIPPED) + END_CHUNK), id="gzip-chunked"),
        pytest.param(
            raw(f"{CODED}: chunked, gzip", gzip.compress(chunk(DATA) + END_CHUNK)),
            id="chunked-gzip",
        ),
        pytest.param(raw(f"{CODED}: gzip", GZIPPED), id="gzip"),
        pytest.param(
            raw(f"{CODED}: gzip\nTransfer-Encoding: chunked", chunk(GZIPPED) + END_CHUNK),
            id="two-lines",
        ),
        pytest.param(raw(f"{CODED}: chunked;x=1", chunk(DATA) + END_CHUNK), id="parameter"),
        pytest.param(raw(f"{CODED}: x-chunked", chunk(DATA) + END_CHUNK), id="x-chunked"),
        pytest.param(raw(f'{CODED}: "chunked"', chunk(DATA) + END_CHUNK), id="quoted"),
        pytest.param(raw(f"{CODED}: chunked,", chunk(DATA) + END_CHUNK), id="empty-element"),
        pytest.param(
            raw(f"{CODED}: chunked, chunked", chunk(chunk(DATA) + END_CHUNK) + END_CHUNK),
            id="chunked-twice",
        ),
        pytest.param(
            raw(f"{CODED} : gzip, chunked", chunk(GZIPPED) + END_CHUNK), id="space-in-the-name"
        ),
    ],
)
@pytest.mark.parametrize("check_video", [True, False])
def test_body_with_an_unknown_transfer_coding_is_never_stored(
    handler: Handler, check_video: bool, tmp_path: Path
) -> None:
    """aiohttp hands these bodies out without decoding them, and without an error."""
    with Origin(FILM, otherwise=handler) as origin:
        error = refused(origin, tmp_path, RemoteProtocolError, check_video=check_video)
        assert error.resumable_bytes == 0
        assert len(origin.requests) <= 2  # a malformed head is requested again


@pytest.mark.parametrize("coding", ["Chunked", "CHUNKED", "\tchunked "])
def test_body_chunked_in_any_case_is_verified(
    coding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Origin(FILM, [raw(f"{CODED}: {coding}", chunk(DATA) + END_CHUNK)]) as origin:
        check(fetch(request_for(origin, tmp_path)))
    assert "size not verified" not in caplog.text


def claiming(data: bytes, field: str) -> Film:
    """Return a film that is sent with this header field."""
    name, value = field.split(": ")
    if name == "Content-Type":
        return Film(data, media_type=value)
    return Film(data, headers=((name, value),))


@pytest.mark.parametrize(
    "field",
    [
        *("Content-Encoding: none", "Content-Encoding: binary", "Content-Encoding: utf-8"),
        *("Content-Encoding: aws-chunked", "Content-Encoding: video/mp4"),
        *("Content-Transfer-Encoding: base64", "Content-Type: multipart/byteranges; boundary=b"),
    ],
)
@pytest.mark.parametrize("check_video", [True, False])
def test_body_of_a_video_disproves_a_coding_that_is_none(
    field: str, check_video: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Real servers send these fields with the plain file; logged once, also over two responses."""
    film = claiming(mp4_of(SIZE), field)
    with Origin(film, [drip(1000), reset(HALF)]) as origin:
        check(fetch(request_for(origin, tmp_path, check_video=check_video)), film.data)
        assert caplog.text.count(f"was sent with {field.partition(':')[0]} (") == 1
        (tmp_path / "film.mp4").unlink()
        check(fetch(request_for(origin, tmp_path, check_video=check_video)), film.data)
        # A 206 of several ranges is requested again without Range.
        more = [None] if field.startswith("Content-Type") else []
        assert origin.ranges == [None, None, f"bytes={HALF}-", *more]
    assert caplog.text.count("but its first bytes are those of mp4") == 2


AWS_FRAMED = b"%x;chunk-signature=0a\r\n%s\r\n0;chunk-signature=0b\r\n\r\n" % (
    SIZE,
    b"\x00\x00\x00\x18ftypisom" + DATA[12:],
)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        pytest.param("Content-Encoding: aws-chunked", AWS_FRAMED, id="aws-chunked"),
        pytest.param("Content-Encoding: utf-8", DATA, id="unknown-bytes"),
        pytest.param("Content-Encoding: binary", GZIPPED, id="gzip"),
        pytest.param("Content-Transfer-Encoding: base64", b"AAAAGGZ0eXBpc29t" * 400, id="base64"),
        pytest.param("Content-Encoding: none", DATA[:900], id="short"),
        pytest.param(
            "Content-Type: multipart/byteranges; boundary=b",
            b"--b\r\nContent-Range: bytes 0-9/10\r\n\r\n" + DATA,
            id="several-ranges",
        ),
    ],
)
@pytest.mark.parametrize("check_video", [True, False])
@pytest.mark.parametrize("connections", [1, 3])
def test_body_that_does_not_disprove_its_coding_is_refused(
    field: str, body: bytes, check_video: bool, connections: int, tmp_path: Path
) -> None:
    with Origin(claiming(body, field)) as origin:
        error = refused(
            origin,
            tmp_path,
            RemoteProtocolError,
            check_video=check_video,
            connections=connections,
        )
        assert f"the origin sent it with {field.partition(':')[0]} (" in str(error)
        assert stored_journal(tmp_path) is None


def test_body_that_may_be_encoded_is_refused_by_its_first_bytes(tmp_path: Path) -> None:
    """Before it is downloaded, and before a reader of the running download gets any of it."""
    film = claiming(DATA + bytes(5_000_000), "Content-Encoding: utf-8")
    with Origin(film, rate=2e6) as origin:
        handle = DownloadHandle()
        with pytest.raises(RemoteProtocolError):
            fetch(request_for(origin, tmp_path, check_video=False), handle)
        assert origin.sent_bytes < 1_000_000
        assert not handle.status.feed.stored


def test_body_of_a_new_version_without_a_claim_needs_no_proof(tmp_path: Path) -> None:
    """The claim of the old version ends with it."""
    film = claiming(mp4_of(SIZE), "Content-Encoding: utf-8")
    change = then(replace_by(Film(OTHER, etag='"v2"')), honest)
    with Origin(film, [cut(HALF), change]) as origin:
        check(fetch(request_for(origin, tmp_path)), OTHER)


def test_body_whose_rest_claims_a_coding_is_refused(tmp_path: Path) -> None:
    """The stored head of an earlier run is not that of a known video: nothing is disproved."""
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.film = replace(FILM, headers=(("Content-Encoding", "utf-8"),))
        refused(origin, tmp_path, RemoteProtocolError, check_video=False)
        assert origin.ranges == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "content_range", [f"bytes {HALF}-{SIZE - 1}/{SIZE}", f"bytes {HALF}-/{SIZE}", "bytes 5-6/7"]
)
def test_body_of_a_200_with_a_part_is_never_the_file(content_range: str, tmp_path: Path) -> None:
    """A proxy that slices the body and forgets the status."""
    sliced = status(200, {"Content-Range": content_range, "ETag": '"v1"'}, DATA[HALF:])
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.script = [sliced]
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [f"bytes={HALF}-", None]


def test_body_larger_than_the_disk_is_refused_before_it_is_read(tmp_path: Path) -> None:
    head = "HTTP/1.1 200 OK\nContent-Length: 900000000000000000"
    with Origin(FILM, otherwise=raw(head)) as origin:
        error = refused(origin, tmp_path, StorageError)
        assert "the disk is full" in str(error)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(status(200), id="length-0"),
        pytest.param(raw(UNFRAMED), id="closed-at-once"),
        pytest.param(raw(CHUNKED, b"0\r\n\r\n"), id="chunked"),
        pytest.param(status(416, {"Content-Range": "bytes */0"}), id="416-of-nothing"),
    ],
)
def test_body_empty_is_an_error(handler: Handler, tmp_path: Path) -> None:
    with Origin(FILM, otherwise=handler) as origin:
        error = refused(origin, tmp_path, TransferError, connections=2)
        assert "empty file" in str(error)


def test_body_longer_than_its_length_is_cut_at_the_length(tmp_path: Path) -> None:
    with Origin(FILM, [raw(f"HTTP/1.1 200 OK\nContent-Length: {SIZE}", DATA + b"junk")]) as origin:
        check(fetch(request_for(origin, tmp_path)))


def test_body_complete_with_an_unclean_close_is_a_success(tmp_path: Path) -> None:
    def reset_at_the_end(exchange: Exchange) -> None:
        exchange.respond(exchange.response())
        exchange.reset()

    with Origin(FILM, [reset_at_the_end]) as origin:
        assert fetch(request_for(origin, tmp_path)).attempts == 1
        assert len(origin.requests) == 1


def test_body_malformed_head_is_refused(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=raw("HTTQ/9 what?")) as origin:
        refused(origin, tmp_path, RemoteProtocolError)
        assert len(origin.requests) == 2


def test_body_single_malformed_head_is_retried(tmp_path: Path) -> None:
    with Origin(FILM, [reset(HALF), raw("HTTQ/9 what?")]) as origin:
        check(fetch(request_for(origin, tmp_path)))


# Ranges.


def resumed(origin: Origin, folder: Path, at: int = HALF, **options: Any) -> None:
    """Leave a part file of `at` bytes, as a failed run does."""
    kept = origin.script
    origin.script = [cut(at)]
    with pytest.raises(TransferError):
        fetch(request_for(origin, folder, **{**options, "retry": RetryPolicy(attempts=1)}))
    origin.script = kept
    origin.requests.clear()


def wrong_etag(handler: Handler) -> Handler:
    def handle(exchange: Exchange) -> None:
        origin, true = exchange.origin, exchange.film
        origin.film = replace(true, etag='"v2"')
        handler(exchange)
        origin.film = true

    return handle


def no_if_range(exchange: Exchange) -> None:
    exchange.respond(exchange.response(ignoring={"if-range"}))


PART = ByteRange(HALF, SIZE)


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        pytest.param([honest], [f"bytes={HALF}-"], id="honest"),
        pytest.param([plain, plain], [f"bytes={HALF}-", f"bytes={HALF}-"], id="ignored"),
        pytest.param(
            [on("if-range", plain)], [f"bytes={HALF}-", f"bytes={HALF}-"], id="200-to-if-range"
        ),
        pytest.param(
            [
                part_of(FILM, ByteRange(HALF, HALF + 10)),
                part_of(FILM, ByteRange(HALF + 10, HALF + 30)),
            ],
            [f"bytes={HALF}-", f"bytes={HALF + 10}-", f"bytes={HALF + 30}-"],
            id="short",
        ),
        pytest.param(
            [part_of(FILM, ByteRange(HALF - 500, SIZE))], [f"bytes={HALF}-"], id="overlapping"
        ),
        pytest.param([part_of(FILM, ByteRange(0, SIZE))], [f"bytes={HALF}-"], id="overlapping-all"),
        pytest.param(
            [part_of(FILM, ByteRange(0, HALF))], [f"bytes={HALF}-", None], id="wrong-start"
        ),
        pytest.param(
            [part_of(FILM, ByteRange(HALF + 1, SIZE))],
            [f"bytes={HALF}-", None],
            id="wrong-start-later",
        ),
        pytest.param(
            [part_of(FILM, PART, total="*")], [f"bytes={HALF}-", None], id="total-unknown"
        ),
        pytest.param(
            [part_of(FILM, PART, total=SIZE + 1)], [f"bytes={HALF}-", None], id="total-changed"
        ),
        pytest.param([status(416)], [f"bytes={HALF}-", None], id="416-bare"),
        pytest.param(
            [status(416, {"Content-Range": "bytes */10"})],
            [f"bytes={HALF}-", None],
            id="416-of-another-length",
        ),
        pytest.param(
            [part_of(FILM, PART, etag='"v2"')], [f"bytes={HALF}-", None], id="careless-206"
        ),
        pytest.param([part_of(FILM, PART, etag=" ")], [f"bytes={HALF}-", None], id="206-no-etag"),
        pytest.param(
            [raw(f"HTTP/1.1 206 Partial\nContent-Length: {HALF}", DATA[HALF:])],
            [f"bytes={HALF}-", None],
            id="206-no-content-range",
        ),
        pytest.param(
            [
                raw(
                    "HTTP/1.1 206 Partial\nContent-Type: multipart/byteranges; boundary=b",
                    b"--b--\r\n",
                )
            ],
            [f"bytes={HALF}-", None],
            id="multipart",
        ),
    ],
)
def test_ranges_resume(script: list[Handler], ranges: list[str | None], tmp_path: Path) -> None:
    """For any response to a resumed request the bytes are correct."""
    with Origin(FILM, [*script]) as origin:
        resumed(origin, tmp_path)
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == ranges
        assert origin.requests[0].headers["if-range"] == '"v1"'


def test_ranges_only_the_missing_half_is_sent(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert origin.sent_bytes == SIZE - HALF
        assert result.resumed_from_bytes == HALF


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(honest, id="honest"),
        pytest.param(no_if_range, id="if-range-ignored"),
        pytest.param(plain, id="range-ignored"),
    ],
)
def test_ranges_etag_changed_between_runs_starts_over(handler: Handler, tmp_path: Path) -> None:
    """Same size, other bytes; curl, wget and aria2 join both versions here."""
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.film, origin.script = Film(OTHER, etag='"v2"'), [handler]
        result = fetch(request_for(origin, tmp_path))
        check(result, OTHER)
        assert result.resumed_from_bytes == 0
        assert result.etag == '"v2"'


def test_ranges_etag_changed_during_a_run_starts_over_once(tmp_path: Path) -> None:
    change = then(replace_by(Film(OTHER, etag='"v2"')), honest)
    with Origin(FILM, [reset(HALF), change]) as origin:
        check(fetch(request_for(origin, tmp_path)), OTHER)
        assert origin.ranges == [None, f"bytes={HALF}-"]


def test_ranges_constantly_changing_source_is_given_up(tmp_path: Path) -> None:
    def always_changing(exchange: Exchange) -> None:
        origin = exchange.origin
        number = len(origin.requests)
        origin.film = Film(noise(SIZE, seed=number), etag=f'"v{number}"')
        exchange.respond(exchange.response(), after=10_000)
        exchange.close_connection()

    with Origin(FILM, otherwise=always_changing) as origin:
        refused(origin, tmp_path, SourceChanged)


@pytest.mark.parametrize(
    "film",
    [
        pytest.param(Film(DATA, etag=None), id="none"),
        pytest.param(Film(DATA, etag='W/"v1"'), id="weak-etag"),
        pytest.param(Film(DATA, etag='W/"v1"', modified_s=OLD_S), id="weak-etag-and-date"),
    ],
)
def test_ranges_without_a_strong_validator_are_never_joined(film: Film, tmp_path: Path) -> None:
    with Origin(film) as origin:
        resumed(origin, tmp_path)
        assert stored_journal(tmp_path) is None
        origin.script = [reset(HALF)]
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert origin.ranges == [None, None]


def test_ranges_old_last_modified_is_a_strong_validator(tmp_path: Path) -> None:
    with Origin(Film(DATA, etag=None, modified_s=OLD_S)) as origin:
        resumed(origin, tmp_path)
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [f"bytes={HALF}-"]
        assert origin.requests[0].headers["if-range"] == formatdate(OLD_S, usegmt=True)


@pytest.mark.parametrize(("age_s", "is_enough"), [(90, True), (30, False)], ids=["90s", "30s"])
def test_ranges_recent_last_modified_is_a_weak_validator(
    age_s: float, is_enough: bool, tmp_path: Path
) -> None:
    """A file may change twice within the second of its date."""
    with Origin(Film(DATA, etag=None, modified_s=time.time() - age_s)) as origin:
        resumed(origin, tmp_path)
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [f"bytes={HALF}-" if is_enough else None]


def test_ranges_416_with_the_stored_length_completes(tmp_path: Path) -> None:
    """The length was unknown, and all bytes were stored."""
    with Origin(FILM) as origin:
        origin.script = [raw(CHUNKED, chunk(DATA))]
        with pytest.raises(TransferError):
            fetch(
                request_for(origin, tmp_path, retry=RetryPolicy(attempts=1), idle_timeout_s=IDLE_S)
            )
        journal = stored_journal(tmp_path)
        assert journal is not None
        assert journal.stored.size_bytes == SIZE
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None, f"bytes={SIZE}-"]
        assert origin.requests[1].sent_bytes == 0


BIG = noise(12 * 2**20)


def test_ranges_several_connections_fetch_one_file(tmp_path: Path) -> None:
    with Origin(Film(BIG)) as origin:
        result = fetch(request_for(origin, tmp_path, connections=3))
        check(result, BIG)
        assert result.connections > 1
        assert origin.ranges[0] == "bytes=0-"
        assert all("if-range" in request.headers for request in origin.requests[1:])


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(status(403), id="403"),
        pytest.param(status(503), id="503"),
        pytest.param(status(429, {"Retry-After": "60"}), id="429"),
        pytest.param(reset(0), id="reset"),
        pytest.param(lambda exchange: exchange.reset(), id="refused"),
        pytest.param(plain, id="range-ignored"),
        pytest.param(part_of(Film(BIG), ByteRange(0, 100)), id="wrong-start"),
    ],
)
def test_ranges_refused_second_connection_degrades_to_one(second: Handler, tmp_path: Path) -> None:
    """The first connection fetches the rest; no byte is fetched twice."""
    with Origin(Film(BIG), [honest, second, second, second], rate=60e6) as origin:
        result = fetch(request_for(origin, tmp_path, connections=2))
        check(result, BIG)
        assert origin.sent_bytes < 1.3 * len(BIG) + (len(BIG) if second is plain else 0)


@pytest.mark.parametrize("keeps_range", [True, False], ids=["206", "200"])
def test_ranges_etag_changed_between_segments_starts_over(
    keeps_range: bool, tmp_path: Path
) -> None:
    film, other = Film(BIG), Film(noise(len(BIG), seed=3), etag='"v2"')
    change = then(replace_by(other), no_if_range if keeps_range else honest)
    with Origin(film, [honest, change], rate=60e6) as origin:
        result = fetch(request_for(origin, tmp_path, connections=2))
        assert result.path.read_bytes() == other.data
        assert len(origin.requests) <= 4


def test_ranges_etags_per_edge_use_one_connection(tmp_path: Path) -> None:
    """Each edge server has its own ETag for the same bytes; responses cannot be joined."""

    def edge(exchange: Exchange) -> None:
        film = replace(exchange.film, etag=f'"edge{len(exchange.origin.requests)}"')
        exchange.respond(exchange.response(ignoring={"if-range"}, film=film), film=film)

    with Origin(Film(BIG), otherwise=edge, rate=100e6) as origin:
        result = fetch(request_for(origin, tmp_path, connections=4))
        check(result, BIG)
        assert origin.ranges[-1] is None


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd"])
def test_ranges_content_encoding_is_never_stored(coding: str, tmp_path: Path) -> None:
    packed = gzip.compress(DATA)
    with Origin(FILM, otherwise=status(200, {"Content-Encoding": coding}, packed)) as origin:
        error = refused(origin, tmp_path, RemoteProtocolError)
        assert coding in str(error)
        assert origin.requests[0].headers["accept-encoding"] == "identity"


def test_ranges_resume_follows_the_redirect_again(tmp_path: Path) -> None:
    """An expired signed address is requested again through the first address."""
    with Origin(FILM, [reset(HALF)]) as old, Origin(FILM) as new:
        script: list[Handler] = [redirect(old.url + "?sig=1"), redirect(new.url + "?sig=2")]
        with Origin(FILM, script) as front:
            result = fetch(request_for(front, tmp_path))
            check(result)
            assert result.url == new.url + "?sig=2"
            assert [request.target for request in old.requests] == ["/film.mp4?sig=1"]
            assert new.ranges == [f"bytes={HALF}-"]


def test_ranges_resume_at_a_redirect_to_another_file_starts_over(tmp_path: Path) -> None:
    with (
        Origin(FILM, [reset(HALF)]) as old,
        Origin(Film(OTHER, etag='"else"')) as new,
        Origin(FILM, [redirect(old.url), redirect(new.url)]) as front,
    ):
        check(fetch(request_for(front, tmp_path)), OTHER)


# Statuses.


@pytest.mark.parametrize(
    "code", [408, 423, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 527, 530, 599]
)
def test_statuses_transient_are_retried(code: int, tmp_path: Path) -> None:
    with Origin(FILM, [status(code), reset(HALF), status(code)]) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert origin.ranges == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]
        assert result.attempts == 4


@pytest.mark.parametrize(
    "code", [204, 300, 302, 304, 400, 401, 403, 404, 405, 410, 451, 501, 526, 999]
)
def test_statuses_permanent_are_reported_at_once(code: int, tmp_path: Path) -> None:
    with Origin(FILM, otherwise=status(code)) as origin:
        error = refused(origin, tmp_path, StatusError)
        assert error.status == code
        assert str(code) in str(error)
        assert len(origin.requests) == 1


def test_statuses_persistent_are_given_up(tmp_path: Path) -> None:
    with Origin(FILM, [reset(HALF)], otherwise=status(503)) as origin:
        error = refused(origin, tmp_path, StatusError)
        assert (error.status, error.resumable_bytes) == (503, HALF)
        assert "4 attempts" in str(error)
        assert len(origin.requests) == QUICK.attempts


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_statuses_retry_after_is_obeyed(as_date: bool, tmp_path: Path) -> None:
    request = formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    with Origin(FILM, [status(503, {"Retry-After": request})]) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.elapsed_s > 0.9


def test_statuses_retry_after_beyond_the_limit_gives_up_at_once(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=status(429, {"Retry-After": "3600"})) as origin:
        error = refused(origin, tmp_path, StatusError)
        assert error.retry_after_s == 3600
        assert "asks to wait 3600 s" in str(error)
        assert len(origin.requests) == 1


def test_statuses_progress_refills_the_budget(tmp_path: Path) -> None:
    """Three failures in a row are allowed, nine in total if bytes arrive in between."""
    script = [status(503), status(503), reset(50_000)] * 3
    with Origin(FILM, script) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.attempts == 10


def test_statuses_progress_on_a_new_version_refills_the_budget(tmp_path: Path) -> None:
    """Progress starts at 0 for a new version."""
    small = Film(noise(100_000, seed=5), etag='"v2"')
    change = then(replace_by(small), cut(10_000))
    with Origin(FILM, [cut(250_000), change, *[cut(10_000)] * 6]) as origin:
        check(fetch(request_for(origin, tmp_path)), small.data)


# Redirects: two ports are two origins.

SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "id=1", "X-Api-Key": "k"}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_to_another_origin_drops_every_header_of_the_caller(
    code: int, tmp_path: Path
) -> None:
    with (
        Origin(FILM, [reset(HALF)]) as there,
        Origin(FILM, otherwise=redirect(there.url, code)) as here,
    ):
        check(fetch(request_for(here, tmp_path, headers=SECRETS)))
        for name in map(str.lower, SECRETS):
            assert all(name in request.headers for request in here.requests)
            assert not any(name in request.headers for request in there.requests)
        assert there.ranges == [None, f"bytes={HALF}-"]


def test_redirect_on_the_same_origin_keeps_the_headers(tmp_path: Path) -> None:
    with Origin(FILM, [redirect("/elsewhere/film.mp4?sig=1")]) as origin:
        check(fetch(request_for(origin, tmp_path, headers=SECRETS)))
        for request in origin.requests:
            assert {name: request.headers.get(name.lower()) for name in SECRETS} == SECRETS


def test_redirect_back_to_the_first_origin_does_not_restore_headers(tmp_path: Path) -> None:
    with Origin(FILM) as here:
        with Origin(FILM, otherwise=redirect(here.base + "/back.mp4")) as there:
            here.script = [redirect(there.url)]
            check(fetch(request_for(here, tmp_path, headers=SECRETS)))
        assert [bool(request.headers.get("cookie")) for request in here.requests] == [True, False]


def test_redirect_does_not_carry_user_information(tmp_path: Path) -> None:
    with Origin(FILM) as there, Origin(FILM, otherwise=redirect(there.url)) as here:
        url = here.url.replace("http://", "http://user:s3cret@")
        result = fetch(DownloadRequest.of(url, tmp_path / "film.mp4", retry=QUICK))
        assert here.requests[0].headers["authorization"].startswith("Basic ")
        assert "authorization" not in there.requests[0].headers
        assert "s3cret" not in result.url


@pytest.mark.parametrize(
    ("location", "message"),
    [
        pytest.param("/film.mp4", "redirect loop", id="loop"),
        pytest.param("ftp://example.org/film.mp4", "only from http and https", id="ftp"),
        pytest.param("file:///etc/passwd", "only from http and https", id="file"),
        pytest.param("data:video/mp4,x", "only from http and https", id="data"),
        pytest.param("", "its Location is empty", id="empty"),
        pytest.param("http://[::1", "malformed", id="malformed"),
    ],
)
def test_redirect_without_a_valid_location_is_refused(
    location: str, message: str, tmp_path: Path
) -> None:
    with Origin(FILM, otherwise=redirect(location)) as origin:
        error = refused(origin, tmp_path, URLNotAllowed)
        assert message in str(error)


def test_redirect_endless_is_refused(tmp_path: Path) -> None:
    def on_and_on(exchange: Exchange) -> None:
        redirect(f"/{len(exchange.origin.requests)}")(exchange)

    with Origin(FILM, otherwise=on_and_on) as origin:
        refused(origin, tmp_path, URLNotAllowed)
        assert len(origin.requests) == 21


def test_redirect_chain_is_followed(tmp_path: Path) -> None:
    script = [redirect(f"/{number}?q={number}") for number in range(10)]
    with Origin(FILM, list(script)) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.url == f"{origin.base}/9?q=9"


def test_an_address_is_requested_unchanged(tmp_path: Path) -> None:
    """A signature covers every character of the address; nothing is re-encoded."""
    target = "/a%2Fb/%7Euser/f.mp4?sig=a%2Bb%2Fc%3D&x=%7e&y=a+b&z=%c3%a9&t=a:b@c,d;e"
    with Origin(FILM, [redirect(target + "&hop=1")]) as origin:
        fetch(DownloadRequest.of(origin.base + target, tmp_path / "film.mp4", retry=QUICK))
        assert [request.target for request in origin.requests] == [target, target + "&hop=1"]


# Names.


def mp4_of(size_bytes: int) -> bytes:
    """Return an MP4 of three boxes that add up to `size_bytes`."""
    ftyp = (24).to_bytes(4, "big") + b"ftypisom" + bytes(4) + b"isommp42"
    moov = (16).to_bytes(4, "big") + b"moov" + bytes(8)
    rest = size_bytes - len(ftyp) - len(moov)
    return ftyp + moov + rest.to_bytes(4, "big") + b"mdat" + bytes(rest - 8)


@pytest.mark.parametrize(
    ("disposition", "path", "name"),
    [
        pytest.param('attachment; filename="../../etc/cron.mp4"', "/x", "cron.mp4", id="dot-dot"),
        pytest.param('attachment; filename="/etc/passwd"', "/x", "passwd.mp4", id="absolute"),
        pytest.param(r'attachment; filename="C:\\Windows\\a.mp4"', "/x", "a.mp4", id="drive"),
        pytest.param(r'attachment; filename="\\\\host\\share\\a.mp4"', "/x", "a.mp4", id="unc"),
        pytest.param("attachment; filename*=UTF-8''a%00b.mp4", "/x", "ab.mp4", id="nul"),
        pytest.param("attachment; filename*=UTF-8''a%0D%0Ab.mp4", "/x", "ab.mp4", id="control"),
        pytest.param("attachment; filename*=UTF-8''a%E2%80%AEgpj.mp4", "/x", "agpj.mp4", id="bidi"),
        pytest.param("attachment; filename=con.mp4", "/x", "_con.mp4", id="reserved"),
        pytest.param("attachment; filename=...bashrc", "/x", "bashrc.mp4", id="leading-dots"),
        pytest.param("attachment; filename*=UTF-8''%E6%98%A0.mp4", "/x", "映.mp4", id="rfc-8187"),
        pytest.param(None, "/clips/my%20film", "my film.mp4", id="from-the-address"),
        pytest.param(None, "/", "video.mp4", id="none"),
        pytest.param(None, "/..%2f..%2fetc%2fpasswd", "passwd.mp4", id="address-dot-dot"),
        pytest.param(None, "/watch.php?v=1", "watch.mp4", id="script"),
        pytest.param('attachment; filename="\xb2\xe2\xca\xd4.avi"', "/x", "测试.avi", id="raw-gbk"),
        pytest.param('attachment; filename="caf\xe9"', "/x", "café.mp4", id="raw-latin-1"),
        pytest.param('attachment; filename="=?UTF-8?Q?a=2Fb?="', "/x", "b.mp4", id="rfc-2047"),
        pytest.param("attachment; filename*=UTF-8''%B2%E2%CA%D4", "/x", "测试.mp4", id="charset"),
        pytest.param(None, "/film.mp4;jsessionid=1F.node", "film.mp4", id="path-parameter"),
        pytest.param(None, "/v0/o/videos%2Ffilm?alt=media", "film.mp4", id="escaped-slash"),
    ],
)
def test_names_are_safe(disposition: str | None, path: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    headers = () if disposition is None else (("Content-Disposition", disposition),)
    with Origin(replace(FILM, headers=headers)) as origin:
        result = fetch(DownloadRequest.of(origin.base + path, f"{folder}/", retry=QUICK))
        assert result.path == folder / name
        check(result)
        assert visible_names(tmp_path) == {"in"}


@pytest.mark.parametrize("check_video", [True, False])
@pytest.mark.parametrize(
    "media_type", ["application/octet-stream", "binary/octet-stream", "application/force-download"]
)
@pytest.mark.parametrize(
    ("data", "extension"),
    [(mp4_of(50_000), ".mp4"), (b"RIFF\0\0\0\0AVI " + noise(9000), ".avi"), (noise(9000), "")],
)
def test_names_without_a_known_type_get_the_extension_of_the_bytes(
    data: bytes, extension: str, media_type: str, tmp_path: Path, *, check_video: bool
) -> None:
    with Origin(Film(data, media_type=media_type)) as origin:
        for _ in range(2):  # the second run finds the file by that name
            result = fetch(
                DownloadRequest.of(f"{origin.base}/get", f"{tmp_path}/", check_video=check_video)
            )
            assert result.path == tmp_path / f"get{extension}"
        assert result.reused
    assert visible_names(tmp_path) == {f"get{extension}"}


def test_names_of_300_characters_are_cut(tmp_path: Path) -> None:
    headers = (("Content-Disposition", f'attachment; filename="{"x" * 300}.mp4"'),)
    with Origin(replace(FILM, headers=headers)) as origin:
        result = fetch(DownloadRequest.of(origin.url, tmp_path, retry=QUICK))
        assert result.path.suffix == ".mp4"
        assert len(result.path.name) <= 200


# Content.


@pytest.mark.parametrize(
    ("page", "title"),
    [
        pytest.param(PAGE, "Sign in", id="html"),
        pytest.param(PAGE[:100], "Sign in", id="html-short"),
        pytest.param(b'{"error": "expired"}' + b" " * 5000, "expired", id="json"),
    ],
)
@pytest.mark.parametrize("connections", [1, 2])
def test_content_page_is_refused(
    page: bytes, title: str | None, connections: int, tmp_path: Path
) -> None:
    film = Film(page + b" " * 2_000_000 if len(page) > 4096 else page)
    with Origin(film, rate=2e6) as origin:  # calls itself video/mp4
        error = refused(origin, tmp_path, NotAVideo, connections=connections)
        assert error.title == title
        assert (title or "a page") in str(error)
        assert origin.sent_bytes < 500_000
        assert stored_journal(tmp_path) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(b"\xef\xbb\xbf\n#EXTM3U\n#EXT-X-VERSION:3\n", "an HLS playlist", id="hls"),
        pytest.param(b'<?xml version="1.0"?><MPD type="static">', "a DASH manifest", id="dash"),
        pytest.param(b"[playlist]\nFile1=http://a.example/a.mp4", "a playlist", id="pls"),
        pytest.param(b"d8:announce24:http://a.example/announce", "a torrent file", id="torrent"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "the pointer of a file in Git LFS",
            id="git-lfs",
        ),
    ],
)
def test_content_that_only_says_where_a_video_is(data: bytes, what: str, tmp_path: Path) -> None:
    """Refused with a sentence that says what it is, unless any content is accepted."""
    film = Film(data + b" " * 5000 if data.startswith(b"<") else data)
    with Origin(film) as origin:
        error = refused(origin, tmp_path, NotAVideo)
        assert f"sent {what}" in str(error)
        assert "check_video=False" in str(error)
        (tmp_path / "film.mp4").unlink()
        check(fetch(request_for(origin, tmp_path, check_video=False)), film.data)
        with pytest.raises(NotAVideo, match=f"is already saved as .* but that is {what}"):
            fetch(request_for(origin, tmp_path))


def test_content_page_is_saved_without_check_video(tmp_path: Path) -> None:
    with Origin(Film(PAGE, media_type="text/html")) as origin:
        check(fetch(request_for(origin, tmp_path, check_video=False)), PAGE)


def test_content_page_without_length_is_refused(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=raw("HTTP/1.1 200 OK\nConnection: close", PAGE[:200])) as origin:
        assert refused(origin, tmp_path, NotAVideo).title == "Sign in"


LARGE_PAGE = Film(PAGE + b" " * 2_000_000, etag='"page"', media_type="text/html")
SHORT_PAGE = Film(b'{"error": "your session has expired"}', etag=None)


def page(response: Film, handler: Handler = honest) -> Handler:
    """Answer with this page in place of the video."""

    def handle(exchange: Exchange) -> None:
        exchange.origin.film = response
        handler(exchange)

    return handle


def in_chunks(exchange: Exchange) -> None:
    exchange.head(200, [("Transfer-Encoding", "chunked")])
    exchange.send(chunk(exchange.film.data[:20]) + chunk(exchange.film.data[20:]) + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "title"),
    [
        pytest.param([page(LARGE_PAGE)], "Sign in", id="large"),
        pytest.param([page(LARGE_PAGE, drip(100))], "Sign in", id="a-few-bytes-at-a-time"),
        pytest.param(
            [page(LARGE_PAGE, cut(1000)), page(LARGE_PAGE, drip(100))],
            "Sign in",
            id="lost-and-resumed",
        ),
        pytest.param([page(SHORT_PAGE)], "your session has expired", id="short"),
        pytest.param(
            [page(SHORT_PAGE, drip(5))],
            "your session has expired",
            id="short-a-few-bytes-at-a-time",
        ),
        pytest.param(
            [page(SHORT_PAGE, in_chunks)], "your session has expired", id="short-without-length"
        ),
        pytest.param(
            [part_of(FILM, PART, etag='"v2"'), page(LARGE_PAGE)], "Sign in", id="after-another-206"
        ),
        pytest.param([status(416), page(LARGE_PAGE)], "Sign in", id="after-a-416"),
    ],
)
def test_content_page_in_place_of_the_rest_keeps_the_stored_bytes(
    script: list[Handler], title: str | None, tmp_path: Path
) -> None:
    """A login expired between two runs; after its renewal only the rest is sent."""
    with Origin(FILM, rate=2e6) as origin:
        resumed(origin, tmp_path)
        before = stored_journal(tmp_path)
        origin.script = [*script]
        error = refused(origin, tmp_path, NotAVideo)
        assert origin.sent_bytes < 500_000
        assert not origin.script
        assert (error.title, error.resumable_bytes) == (title, HALF)
        assert "150.0 kB are kept in" in str(error)
        assert str(error).endswith("then run the same download again to resume.")
        assert stored_journal(tmp_path) == before
        origin.film = FILM
        origin.requests.clear()
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert (origin.ranges, origin.sent_bytes) == ([f"bytes={HALF}-"], SIZE - HALF)
        assert result.resumed_from_bytes == HALF


def test_content_page_during_a_run_keeps_the_stored_bytes(tmp_path: Path) -> None:
    def page_once_stored(exchange: Exchange) -> None:
        wait_until(lambda: part_status(tmp_path).st_size == HALF)
        page(LARGE_PAGE)(exchange)

    with Origin(FILM, [cut(HALF), page_once_stored], rate=2e6) as origin:
        assert refused(origin, tmp_path, NotAVideo).resumable_bytes == HALF
        origin.film = FILM
        origin.requests.clear()
        check(fetch(request_for(origin, tmp_path)))
        assert origin.sent_bytes == SIZE - HALF


@pytest.mark.parametrize("tries", [1, 4])
def test_content_incomplete_head_keeps_the_stored_bytes(tries: int, tmp_path: Path) -> None:
    """Until the first bytes are checked the stored bytes stay valid."""
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.otherwise = page(replace(LARGE_PAGE, etag=None), cut(1000))
        error = refused(origin, tmp_path, TransportError, retry=replace(QUICK, attempts=tries))
        assert error.resumable_bytes == HALF
        origin.film, origin.otherwise = FILM, honest
        check(fetch(request_for(origin, tmp_path)))
        assert origin.requests[-1].sent_bytes == SIZE - HALF


@pytest.mark.parametrize("piece_bytes", [1, 100, 5000])
@pytest.mark.parametrize("size_bytes", [10, 4095, 4096, 4097, 20_000])
def test_content_new_version_in_small_chunks_replaces_the_stored_bytes(
    piece_bytes: int, size_bytes: int, tmp_path: Path
) -> None:
    """The new version is written once its first bytes are checked."""
    other = Film(noise(size_bytes, seed=3), etag='"v2"')
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.film, origin.script = other, [drip(piece_bytes)]
        result = fetch(request_for(origin, tmp_path))
        check(result, other.data)
        assert result.resumed_from_bytes == 0


def test_content_unchecked_head_is_kept_where_nothing_is_stored(tmp_path: Path) -> None:
    """A run that ends before the check keeps what it received."""
    with Origin(FILM, [cut(1000)]) as origin:
        error = refused(origin, tmp_path, TransportError, retry=RetryPolicy(attempts=1))
        assert error.resumable_bytes == 1000
        check(fetch(request_for(origin, tmp_path)))
        assert origin.sent_bytes == SIZE


def test_local_disk_space_includes_the_part_file_of_an_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old bytes are overwritten by the new version."""
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.film = Film(OTHER, etag='"v2"')
        monkeypatch.setattr(RecordStore, "free_bytes", lambda wait_for_close: SIZE - HALF - 8192)
        assert "the disk is full" in str(refused(origin, tmp_path, StorageError))
        (tmp_path / "film.mp4").unlink()
        monkeypatch.setattr(RecordStore, "free_bytes", lambda wait_for_close: SIZE - HALF)
        check(fetch(request_for(origin, tmp_path)), OTHER)


def test_local_address_of_64_kib_is_resumed(tmp_path: Path) -> None:
    """A journal has a hash of the address, so its length does not matter."""
    with Origin(FILM) as origin:
        origin.script = [cut(HALF)]
        url = f"{origin.url}?{'x' * 2**16}"
        once = DownloadRequest.of(url, tmp_path / "film.mp4", retry=RetryPolicy(attempts=1))
        with pytest.raises(TransportError) as caught:
            fetch(once)
        assert caught.value.resumable_bytes == HALF
        check(fetch(once))
        assert origin.ranges == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("mode", ["refresh", "checksum", "checksum-unknown-file"])
def test_local_file_that_cannot_be_read_is_reported(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "film.mp4"
    opens = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == target:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opens(path, *arguments, **options)

    with Origin(FILM) as origin:
        if mode == "checksum-unknown-file":
            target.write_bytes(DATA)
        else:
            fetch(request_for(origin, tmp_path))
        options = (
            {} if mode == "refresh" else {"checksum": f"sha512:{hashlib.sha512(DATA).hexdigest()}"}
        )
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            with pytest.raises(StorageError, match="cannot be read: there is no permission"):
                fetch(request_for(origin, tmp_path, **options))
        assert target.read_bytes() == DATA
        assert visible_names(tmp_path) == {"film.mp4"}


LARGE = Film(noise(2 * MIN_BYTES, seed=5))


def part_status(folder: Path) -> os.stat_result:
    (part,) = (folder / ".vidnb").glob("*.part")
    return part.stat()


def taken_bytes(status: os.stat_result) -> int:
    return status.st_blocks * 512


@pytest.mark.parametrize("connections", [1, 4])
def test_local_preallocated_space_is_never_taken_for_data(connections: int, tmp_path: Path) -> None:
    """The size of the part file is that of the received bytes, in any order."""
    total_bytes = len(LARGE.data)
    seen: list[os.stat_result] = []

    def look(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=MIN_BYTES // 2)
        exchange.flush()
        exchange.origin.wait_for(lambda: part_status(tmp_path).st_size > 0)
        seen.append(part_status(tmp_path))
        exchange.close_connection()

    def after_look(exchange: Exchange) -> None:
        exchange.origin.wait_for(lambda: bool(seen))
        honest(exchange)

    with Origin(LARGE, [look], otherwise=after_look) as origin:
        result = fetch(request_for(origin, tmp_path, connections=connections))
        check(result, LARGE.data)
    assert 0 < seen[0].st_size <= (MIN_BYTES // 2 if connections == 1 else total_bytes)
    if taken_bytes(seen[0]) < MIN_BYTES:
        pytest.skip("this file system reserves nothing")
    assert taken_bytes(seen[0]) >= total_bytes
    assert taken_bytes(result.path.stat()) < total_bytes + MIN_BYTES // 2


def test_local_space_preallocated_by_a_killed_run_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preallocated space counts as free for this file, and is released if unused."""
    with Origin(LARGE) as origin:
        resumed(origin, tmp_path, MIN_BYTES)
        assert taken_bytes(part_status(tmp_path)) < MIN_BYTES + 2**20
        (part,) = (tmp_path / ".vidnb").glob("*.part")
        with part.open("r+b") as file:
            preallocate(file.fileno(), len(LARGE.data))
        if taken_bytes(part_status(tmp_path)) < len(LARGE.data):
            pytest.skip("this file system reserves nothing")
        monkeypatch.setattr(RecordStore, "free_bytes", lambda wait_for_close: 0)
        check(fetch(request_for(origin, tmp_path)), LARGE.data)
        assert origin.ranges == [f"bytes={MIN_BYTES}-"]


def test_local_disk_too_full_to_preallocate_is_reported_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Origin(LARGE) as origin:
        resumed(origin, tmp_path, MIN_BYTES)
        with monkeypatch.context() as patch:
            patch.setattr(part_file, "preallocate", full)
            patch.setattr(PartFile, "write", lambda *_: pytest.fail("something was written"))
            error = refused(origin, tmp_path, StorageError)
        assert error.resumable_bytes == MIN_BYTES
        assert "the disk is full" in str(error)
        (tmp_path / "film.mp4").unlink()
        check(fetch(request_for(origin, tmp_path)), LARGE.data)


def test_local_new_version_on_a_full_disk_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old bytes are discarded at the first new ones and not reported as kept."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.film = Film(OTHER, etag='"v2"')
        monkeypatch.setattr(PartFile, "write", full)
        assert refused(origin, tmp_path, StorageError).resumable_bytes == 0
        assert stored_journal(tmp_path) is None


def test_content_truncated_mp4_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = Film(mp4_of(SIZE)[:HALF])
    with Origin(film) as origin:
        check(fetch(request_for(origin, tmp_path)), film.data)
    assert f"mdat runs {SIZE - HALF} bytes past the end" in caplog.text


def test_content_complete_mp4_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = Film(mp4_of(SIZE))
    with Origin(film) as origin:
        check(fetch(request_for(origin, tmp_path)), film.data)
    assert not caplog.records


# Local.


def test_local_target_is_a_folder(tmp_path: Path) -> None:
    """A folder as path means: into it; a target that becomes a folder later is refused."""
    with Origin(FILM) as origin:
        request = request_for(origin, tmp_path)
        (tmp_path / "film.mp4").mkdir()
        with pytest.raises(StorageError, match="it is a folder") as caught:
            fetch(request)
        assert caught.value.errno is None or caught.value.resumable_bytes == 0
        assert not origin.requests


def test_local_folder_on_the_path_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "clips").write_bytes(b"")
    with Origin(FILM) as origin:
        with pytest.raises(StorageError, match="a folder on its path is a file"):
            fetch(DownloadRequest.of(origin.url, tmp_path / "clips" / "film.mp4", retry=QUICK))
        assert not origin.requests


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS], ids=["no-permission", "read-only"])
def test_local_read_only_folder(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(path: Path, *args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with Origin(FILM) as origin:
        monkeypatch.setattr(Path, "mkdir", mkdir)
        with pytest.raises(StorageError, match="choose another folder") as caught:
            fetch(request_for(origin, tmp_path / "new"))
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value.__cause__, OSError)
        assert not origin.requests


def test_local_read_only_folder_for_real(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes wherever it likes")
    tmp_path.chmod(0o500)
    with Origin(FILM) as origin, pytest.raises(StorageError, match="no permission"):
        fetch(request_for(origin, tmp_path))
    tmp_path.chmod(0o700)


def test_local_disk_too_full_is_reported_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordStore, "free_bytes", lambda _hold: SIZE - 1)
    with Origin(FILM) as origin:
        error = refused(origin, tmp_path, StorageError)
        assert "the disk is full" in str(error)
        assert "nothing was kept; free some space and run it again." in str(error)


def test_local_full_disk_keeps_the_part_file_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up during the download; later only the rest is fetched."""
    writes = PartFile.write

    def full(part: PartFile, offset: int, pieces: Sequence[bytes]) -> None:
        if offset >= HALF:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes(part, offset, pieces)

    def in_two(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=HALF)
        exchange.origin.wait_for(lambda: bool(list(tmp_path.glob(".vidnb/*.journal"))))
        exchange.send(DATA[HALF:])

    monkeypatch.setattr(PartFile, "write", full)
    with Origin(FILM, [in_two]) as origin:
        error = refused(origin, tmp_path, StorageError)
        assert error.resumable_bytes == HALF
        assert "the disk is full" in str(error)
        assert "are kept" in str(error)
        monkeypatch.undo()
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.resumed_from_bytes == HALF
        assert origin.ranges == [None, f"bytes={HALF}-"]


def test_local_wrong_checksum_publishes_nothing(tmp_path: Path) -> None:
    wrong = hashlib.sha256(OTHER).hexdigest()
    with Origin(FILM) as origin:
        error = refused(origin, tmp_path, ChecksumMismatch, checksum=f"sha256:{wrong}")
        assert (error.expected, error.actual) == (wrong, hashlib.sha256(DATA).hexdigest())
        assert stored_journal(tmp_path) is None
        assert not list(tmp_path.glob(".vidnb/*.part"))


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1", "blake2b", "sha3_256"])
def test_local_right_checksum(algorithm: str, tmp_path: Path) -> None:
    digest = hashlib.new(algorithm, DATA).hexdigest()
    with Origin(FILM, [reset(HALF)]) as origin:
        check(fetch(request_for(origin, tmp_path, checksum=f"{algorithm}:{digest.upper()}")))


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(honest, id="with-a-length"),
        pytest.param(raw(CHUNKED, chunk(DATA) + b"0\r\n\r\n"), id="without-a-length"),
        pytest.param(part_of(FILM, ByteRange(0, 1000)), id="in-a-206"),
    ],
)
def test_local_size_limit(handler: Handler, tmp_path: Path) -> None:
    big = Film(BIG)
    with Origin(big, otherwise=handler, rate=20e6) as origin:
        error = refused(origin, tmp_path, TooLarge, max_bytes=100_000, connections=2)
        assert "max_bytes" in str(error)
        assert origin.sent_bytes < 2_000_000


def test_local_size_limit_that_fits_exactly(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        check(fetch(request_for(origin, tmp_path, max_bytes=SIZE)))


def test_local_size_limit_of_a_resumed_part(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        error = refused(origin, tmp_path, TooLarge, max_bytes=SIZE - 1)
        assert error.resumable_bytes == HALF
        assert not origin.requests


def journal_of(folder: Path) -> Path:
    (journal,) = (folder / ".vidnb").glob("*.journal")
    return journal


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-10], id="torn"),
        pytest.param(lambda data: data.replace(b'"stored":[[0', b'"stored":[[1'), id="changed"),
        pytest.param(lambda data: b"\0" * len(data), id="zeros"),
    ],
)
def test_local_torn_journal_is_ignored(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        path = journal_of(tmp_path)
        path.write_bytes(spoil(path.read_bytes().rstrip(b"\n") + b"\n"))
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert origin.ranges == [None]
        assert result.resumed_from_bytes == 0


def test_local_journal_of_another_address_is_ignored(tmp_path: Path) -> None:
    """Same file name, other address: no stored byte is used."""
    with Origin(FILM) as origin, Origin(Film(OTHER)) as other:
        resumed(origin, tmp_path)
        check(fetch(request_for(other, tmp_path)), OTHER)
        assert other.ranges == [None]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(part_file, "boot_id", lambda: "another boot"), (journal_format, "FORMAT", 999)],
)
def test_local_journal_of_another_boot_or_format_is_ignored(
    module: ModuleType, name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        monkeypatch.setattr(module, name, value)
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None]


def test_local_part_file_shorter_than_its_journal_is_ignored(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        (part,) = (tmp_path / ".vidnb").glob("*.part")
        os.truncate(part, HALF - 1)
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None]


def test_local_part_file_truncated_during_validation_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process truncates the part file; the digest step detects it."""
    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        trims = PartFile.trim

        def trim(part: PartFile, size_bytes: int) -> None:
            trims(part, size_bytes)
            os.truncate(part.path, HALF)

        monkeypatch.setattr(PartFile, "trim", trim)
        with pytest.raises(StorageError, match="the part file ends early"):
            fetch(request_for(origin, tmp_path))
        assert visible_names(tmp_path) == set()


# Security.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_security_public_only_refuses_loopback(host: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        try:
            origin = stack.enter_context(Origin(FILM, host="::1" if host == "::1" else "127.0.0.1"))
        except OSError:
            pytest.skip("this machine has no such address")
        url = f"http://{f'[{host}]' if ':' in host else host}:{origin.port}/film.mp4"
        with pytest.raises(URLNotAllowed, match="not on the public internet") as caught:
            fetch(DownloadRequest.of(url, tmp_path / "film.mp4", retry=QUICK, public_only=True))
        assert caught.value.url == url
        assert not origin.requests
        assert visible_names(tmp_path) == set()


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1", "0.0.0.0"],  # noqa: S104 - an address to refuse
)
def test_security_public_only_refuses_names_of_private_addresses(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    resolves_to(monkeypatch, [(family, address)])
    with pytest.raises(URLNotAllowed, match=r"film\.example is not on the public internet"):
        fetch(
            DownloadRequest.of(
                "http://film.example/f.mp4", tmp_path / "f.mp4", public_only=True, retry=QUICK
            )
        )


def resolves_to(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[socket.AddressFamily, str]]
) -> None:
    def getaddrinfo(host: str, port: int, *args: object, **options: object) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, 6, "", (ip, port, 0, 0) if ":" in ip else (ip, port))
            for family, ip in answers
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_security_public_only_checks_every_address_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name has a public and a loopback address; loopback is never connected to."""
    with Origin(FILM) as origin:
        resolves_to(
            monkeypatch, [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")]
        )
        url = f"http://film.example:{origin.port}/f.mp4"
        with pytest.raises(URLNotAllowed):
            fetch(DownloadRequest.of(url, tmp_path / "f.mp4", public_only=True, retry=QUICK))
        assert not origin.requests


def test_security_public_only_checks_redirects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address is public, the target of its redirect is not."""
    monkeypatch.setattr("vidnb.io.client.is_public_address", lambda ip: ip == "127.0.0.1")
    with (
        Origin(FILM, host="127.0.0.2") as inside,
        Origin(FILM, otherwise=redirect(inside.url)) as front,
    ):
        with pytest.raises(URLNotAllowed, match=r"127\.0\.0\.2 is not on the public internet"):
            fetch(request_for(front, tmp_path, public_only=True))
        assert len(front.requests) == 1
        assert not inside.requests


def test_security_compressed_response_is_not_decoded(tmp_path: Path) -> None:
    """A small response that decodes to a gigabyte is refused by its header, unread."""
    bomb = gzip.compress(bytes(50_000_000))
    with Origin(FILM, otherwise=status(200, {"Content-Encoding": "gzip"}, bomb)) as origin:
        refused(origin, tmp_path, RemoteProtocolError)


def test_security_secrets_are_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        Origin(FILM, [raw(UNFRAMED, DATA)], otherwise=status(404)) as origin,
    ):
        url = f"http://user:s3cret@127.0.0.1:{origin.port}/film.mp4?token=s3cret"
        fetch(
            DownloadRequest.of(url, tmp_path / "film.mp4", retry=QUICK, headers={"X-Key": "s3cret"})
        )
        with pytest.raises(StatusError) as caught:
            fetch(
                DownloadRequest.of(url, tmp_path / "film.mp4", retry=QUICK, if_exists="overwrite")
            )
    assert caplog.records
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str(caught.value)


def test_security_silent_origin_does_not_block_the_loop(tmp_path: Path) -> None:
    """While one download waits, another one on the same loop runs."""
    with Origin(FILM, otherwise=stall(0)) as dead, Origin(FILM) as alive:
        job = DownloadRequest.of(
            dead.url, tmp_path / "dead" / "film.mp4", retry=QUICK, idle_timeout_s=3600.0
        )

        async def both() -> None:
            waiting = asyncio.create_task(fetch_async(job))
            await asyncio.to_thread(dead.wait_for, lambda: bool(dead.requests))
            check(
                await fetch_async(
                    DownloadRequest.of(alive.url, tmp_path / "a" / "film.mp4", retry=QUICK)
                )
            )
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        asyncio.run(both())


async def fetch_async(request: DownloadRequest) -> DownloadResult:
    from vidnb.download.registry import download
    from vidnb.io.loop import transfers

    return await transfers.arun(download(request, DownloadHandle()))
