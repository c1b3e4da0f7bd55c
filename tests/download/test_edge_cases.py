"""Rarer faults of origins, paths, disks and callers; README.md lists them."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

import vidnb
from tests.deadline import DEADLINE_S, IDLE_S
from tests.download.test_faults import (
    BIG,
    DATA,
    FILM,
    HALF,
    OTHER,
    PAGE,
    QUICK,
    SECRETS,
    SIZE,
    check,
    refused,
    request_for,
    resolves_to,
    resumed,
)
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
    part_of,
    raw,
    redirect,
    reset,
    spawn,
    status,
    visible_names,
)
from vidnb.download.part_file import PartFile
from vidnb.download.planner.progress import Progress
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.errors import (
    NotAVideo,
    RemoteProtocolError,
    StatusError,
    StorageError,
    TransferError,
    TransportError,
    URLNotAllowed,
)
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import transfers

LENGTH = f"Content-Length: {SIZE}"


# Body.


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(raw(f"HTTP/1.1 200 OK\n{LENGTH}\n{LENGTH}", DATA), id="length-twice"),
        pytest.param(raw(f"HTTP/1.1 200 OK\n{LENGTH}, {SIZE}", DATA), id="length-listed-twice"),
        pytest.param(raw("HTTP/1.1 200 OK\nContent-Length: +5", DATA), id="plus"),
        pytest.param(raw("HTTP/1.1 200 OK\nContent-Length: 0x10", DATA), id="hexadecimal"),
        pytest.param(raw("HTTP/1.1 200 OK\nContent-Length: 5_0", DATA), id="underscore"),
        pytest.param(raw("HTTP/1.1 200 OK\nContent-Length: ", DATA), id="empty"),
        pytest.param(
            raw(
                "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked",
                chunk(DATA) + b"0\r\n\r\n",
            ),
            id="length-and-chunks",
        ),
        pytest.param(
            raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked, identity", DATA), id="coding-unknown"
        ),
    ],
)
def test_body_with_ambiguous_framing_is_correct_or_refused(
    handler: Handler, tmp_path: Path
) -> None:
    """RFC 9112 section 6.3 permits either interpretation, but never wrong bytes."""
    with Origin(FILM, otherwise=handler) as origin:
        try:
            check(fetch(request_for(origin, tmp_path, idle_timeout_s=IDLE_S)))
        except RemoteProtocolError:
            assert visible_names(tmp_path) == set()


@pytest.mark.parametrize(
    ("head", "is_verified"),
    [
        pytest.param(f"HTTP/1.0 200 OK\n{LENGTH}", True, id="length"),
        pytest.param("HTTP/1.0 200 OK", False, id="no-length"),
    ],
)
def test_body_of_http_1_0(
    head: str, is_verified: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Origin(FILM, otherwise=raw(head, DATA)) as origin:
        check(fetch(request_for(origin, tmp_path, connections=2)))
        assert len(origin.requests) == 1
    assert ("size not verified" in caplog.text) is not is_verified


def test_body_after_interim_responses(tmp_path: Path) -> None:
    def hinted(exchange: Exchange) -> None:
        for code in ("100 Continue", "103 Early Hints"):
            exchange.connection.sendall(f"HTTP/1.1 {code}\r\nX-A: b\r\n\r\n".encode())
        honest(exchange)

    with Origin(FILM, otherwise=hinted) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert len(origin.requests) == 1


def test_body_chunked_with_extensions_and_trailers(tmp_path: Path) -> None:
    body = b'%x;a=b\r\n%s\r\n0\r\nETag: "v9"\r\nX-Sum: 1\r\n\r\n' % (SIZE, DATA)
    with Origin(FILM, [raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", body)]) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.etag is None


def test_body_unrequested_206_is_refused(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=part_of(FILM, ByteRange(0, HALF))) as origin:
        error = refused(origin, tmp_path, RemoteProtocolError)
        assert "206 although no range was asked for" in str(error)
        assert error.resumable_bytes == 0


@pytest.mark.parametrize("connections", [1, 3])
def test_body_complete_with_a_reset_after_each_segment(connections: int, tmp_path: Path) -> None:
    def reset_at_the_end(exchange: Exchange) -> None:
        honest(exchange)
        exchange.reset()

    with Origin(Film(BIG), otherwise=reset_at_the_end) as origin:
        result = fetch(request_for(origin, tmp_path, connections=connections))
        check(result, BIG)
        assert result.attempts == 1


@pytest.mark.parametrize("whose", ["ours", "the-callers"])
def test_body_slow_but_steady_exceeds_every_total_timeout(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp's five minutes are 0.25 s here; the session's timeout is not used."""
    short = aiohttp.ClientTimeout(total=0.25, sock_read=0.01)
    monkeypatch.setattr("aiohttp.client.DEFAULT_TIMEOUT", short)
    film = Film(noise(50))
    with Origin(film, otherwise=drip(1, pause_s=0.02)) as origin:
        given: dict[str, Any] = {"retry": QUICK, "progress": False}

        async def main() -> DownloadResult:
            async with contextlib.AsyncExitStack() as stack:
                if whose == "the-callers":
                    session = aiohttp.ClientSession(timeout=short)
                    given["session"] = await stack.enter_async_context(session)
                return await vidnb.download_async(origin.url, tmp_path / "film.mp4", **given)

        result = asyncio.run(main())
        check(result, film.data)
        assert (result.attempts, len(origin.requests)) == (1, 1)
        assert result.elapsed_s > 0.5


def test_body_endless_head_is_refused(tmp_path: Path) -> None:
    """Endless header lines are refused long before the memory is full."""

    def endless(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(OSError):
            for number in range(200_000):
                exchange.connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        exchange.close_connection()

    with Origin(FILM, otherwise=endless) as origin:
        refused(origin, tmp_path, RemoteProtocolError)


# Ranges.


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_ranges_content_encoding_on_a_206_is_never_stored(coding: str, tmp_path: Path) -> None:
    def packed(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), changed={"content-encoding": coding})

    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        origin.otherwise = packed
        error = refused(origin, tmp_path, RemoteProtocolError)
        assert f"compressed ({coding})" in str(error)
        assert error.resumable_bytes == HALF
        origin.otherwise = honest
        (tmp_path / "film.mp4").unlink()
        origin.requests.clear()
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    ("etag", "joins"),
    [
        pytest.param('""', True, id="empty"),
        pytest.param('"a,b;c=!\'()*~{}|"', True, id="odd"),
        pytest.param('"%22\\"', True, id="backslash"),
        pytest.param('"' + "x" * 4000 + '"', True, id="long"),
        pytest.param("abc", False, id="unquoted"),
        pytest.param('"a"b"', False, id="quote-inside"),
        pytest.param('w/"a"', False, id="lower-case-weak"),
        pytest.param('"a", "b"', False, id="two"),
        pytest.param('"a b"', False, id="space"),
    ],
)
def test_ranges_unusual_etag_is_sent_back_unchanged(etag: str, joins: bool, tmp_path: Path) -> None:
    """An invalid ETag is ignored, and no bytes are joined by it."""
    head = f"HTTP/1.1 200 OK\n{LENGTH}\nETag: {etag}"
    rest = (
        f"HTTP/1.1 206 Partial\nContent-Length: {SIZE - HALF}\n"
        f"Content-Range: bytes {HALF}-{SIZE - 1}/{SIZE}\nETag: {etag}"
    )

    def second(exchange: Exchange) -> None:
        is_part = "range" in exchange.request.headers
        (raw(rest, DATA[HALF:]) if is_part else raw(head, DATA))(exchange)

    with Origin(FILM, [raw(head, DATA[:HALF])], otherwise=second) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert origin.ranges == [None, f"bytes={HALF}-" if joins else None]
        assert origin.requests[1].headers.get("if-range") == (etag if joins else None)
        again = fetch(request_for(origin, tmp_path))
        assert origin.requests[2].headers.get("if-none-match") == (etag if joins else None)
        assert again.reused is joins  # this origin ignores conditions; the tag of its 200 tells


def test_ranges_etag_that_is_not_utf8_is_compared_and_never_sent(tmp_path: Path) -> None:
    """aiohttp would drop the bytes that are not UTF-8 and send another tag."""
    head = f'HTTP/1.1 200 OK\n{LENGTH}\nETag: "\xe9\xff"'
    rest = (
        f"HTTP/1.1 206 Partial\nContent-Length: {SIZE - HALF}\n"
        f'Content-Range: bytes {HALF}-{SIZE - 1}/{SIZE}\nETag: "\xe9\xff"'
    )
    with Origin(FILM, [raw(head, DATA[:HALF]), raw(rest, DATA[HALF:])]) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None, f"bytes={HALF}-"]
        assert "if-range" not in origin.requests[1].headers
        fetch(request_for(origin, tmp_path))
        assert "if-none-match" not in origin.requests[2].headers


def test_ranges_expired_signed_address_is_requested_from_the_first_address(tmp_path: Path) -> None:
    """The store refuses the old signature; the first address redirects to a new one."""
    valid = ["1"]

    def store(exchange: Exchange) -> None:
        is_valid = exchange.request.target.endswith(f"sig={valid[0]}")
        (honest if is_valid else status(403))(exchange)

    def expires(exchange: Exchange) -> None:
        reset(HALF)(exchange)
        valid[0] = "2"

    with Origin(FILM, [expires], otherwise=store) as bucket:

        def sign(exchange: Exchange) -> None:
            redirect(f"{bucket.url}?sig={valid[0]}")(exchange)

        with Origin(FILM, otherwise=sign) as front:
            check(fetch(request_for(front, tmp_path)))
        assert [a.target[-5:] for a in bucket.requests] == ["sig=1", "sig=2"]
        assert bucket.ranges == [None, f"bytes={HALF}-"]


# Statuses and redirects.


@pytest.mark.parametrize(
    "retry_after",
    [
        pytest.param("-5", id="negative"),
        pytest.param("1.5", id="fraction"),
        pytest.param("soon", id="word"),
        pytest.param("", id="empty"),
        pytest.param(formatdate(0, usegmt=True), id="past-date"),
        pytest.param("Wed, 99 Foo 2026 00:00:00 GMT", id="no-date"),
        pytest.param("0", id="zero"),
    ],
)
def test_statuses_invalid_retry_after_uses_the_normal_backoff(
    retry_after: str, tmp_path: Path
) -> None:
    with Origin(FILM, [status(503, {"Retry-After": retry_after})]) as origin:
        result = fetch(request_for(origin, tmp_path))
        check(result)
        assert result.attempts == 2


@pytest.mark.parametrize(
    "retry_after", ["9" * 400, formatdate(4e9, usegmt=True)], ids=["seconds", "date"]
)
def test_statuses_very_long_retry_after_gives_up_at_once(retry_after: str, tmp_path: Path) -> None:
    with Origin(FILM, otherwise=status(503, {"Retry-After": retry_after})) as origin:
        error = refused(origin, tmp_path, StatusError)
        assert error.retry_after_s > 10**8
        assert len(origin.requests) == 1
        assert len(str(error)) < 400


def test_statuses_retry_after_on_the_second_connection_delays_nothing(tmp_path: Path) -> None:
    """The first connection fetches the rest meanwhile."""
    second = status(429, {"Retry-After": "3600"})
    with Origin(Film(BIG), [honest, second, second], rate=60e6) as origin:
        result = fetch(request_for(origin, tmp_path, connections=2))
        check(result, BIG)


def test_redirect_to_another_port_is_another_origin(tmp_path: Path) -> None:
    with Origin(FILM) as there, Origin(FILM, otherwise=redirect(there.url)) as here:
        check(fetch(request_for(here, tmp_path, headers={**SECRETS, "Host": "film.example"})))
        assert here.requests[0].headers["host"] == "film.example"
        assert there.requests[0].headers["host"] == f"127.0.0.1:{there.port}"
        assert not {name.lower() for name in SECRETS} & there.requests[0].headers.keys()


AUTHORITY = trustme.CA()


@pytest.fixture
def tls() -> ssl.SSLContext:
    """Return an origin's TLS context; `trusted` makes vidnb trust its authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = tmp_path_factory.mktemp("authority") / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


def test_body_under_tls_without_close_notify_is_complete(
    tls: ssl.SSLContext, trusted: None, tmp_path: Path
) -> None:
    """The body has its full length, so a missing close_notify is harmless."""
    with Origin(FILM, [cut(HALF)], tls=tls) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert origin.ranges == [None, f"bytes={HALF}-"]


def test_redirect_from_https_to_http_is_refused(
    tls: ssl.SSLContext, trusted: None, tmp_path: Path
) -> None:
    with Origin(FILM) as plain, Origin(FILM, otherwise=redirect(plain.url), tls=tls) as origin:
        error = refused(origin, tmp_path, URLNotAllowed)
        assert "from https to http" in str(error)
        assert not plain.requests


def test_redirect_from_http_to_https_drops_the_headers_of_the_caller(
    tls: ssl.SSLContext, trusted: None, tmp_path: Path
) -> None:
    with Origin(FILM, tls=tls) as secure, Origin(FILM, otherwise=redirect(secure.url)) as origin:
        check(fetch(request_for(origin, tmp_path, headers=SECRETS)))
        assert not {name.lower() for name in SECRETS} & secure.requests[0].headers.keys()


def test_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Origin(FILM, tls=context) as origin:
        error = refused(origin, tmp_path, TransportError)
        assert "the certificate of 127.0.0.1 is of an authority that is not trusted" in str(error)
        assert not origin.requests


def test_certificate_is_trusted_by_a_context_of_the_caller(
    tls: ssl.SSLContext, tmp_path: Path
) -> None:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    with Origin(FILM, tls=tls) as origin:
        check(fetch(request_for(origin, tmp_path, ssl_context=context)))


def test_certificate_of_another_host_is_refused(
    tls: ssl.SSLContext, trusted: None, tmp_path: Path
) -> None:
    with Origin(FILM, tls=tls, host="127.0.0.2") as origin:
        error = refused(origin, tmp_path, TransportError)
        assert "the certificate of 127.0.0.2 is for another host" in str(error)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("file:///etc/passwd", "only from http and https", id="file"),
        pytest.param("ftp://example.org/film.mp4", "only from http and https", id="ftp"),
        pytest.param("data:video/mp4;base64,AAAA", "only from http and https", id="data"),
        pytest.param("blob:https://example.org/1", "only from http and https", id="blob"),
        pytest.param("example.org/film.mp4", "has no scheme", id="no-scheme"),
        pytest.param("http://127.1/film.mp4", "IPv4 address that is malformed", id="short-ip"),
        pytest.param("http://2130706433/", "IPv4 address that is malformed", id="number"),
        pytest.param("http://0x7f.0.0.1/", "IPv4 address that is malformed", id="hexadecimal"),
        pytest.param("http://example.org:0/", "port", id="port-0"),
    ],
)
def test_an_invalid_address_is_refused(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(URLNotAllowed, match=message) as caught:
        vidnb.download(url, tmp_path / "film.mp4", progress=False)
    assert caught.value.url == url
    assert visible_names(tmp_path) == set()


def test_an_address_of_8000_characters_is_resumed(tmp_path: Path) -> None:
    with Origin(FILM, [cut(HALF)]) as origin:
        url = f"{origin.url}?sig={'x' * 8000}"
        with pytest.raises(TransportError) as caught:
            fetch(DownloadRequest.of(url, tmp_path, retry=RetryPolicy(attempts=1)))
        assert caught.value.resumable_bytes == HALF
        assert len(str(caught.value)) < 1000
        result = fetch(DownloadRequest.of(url, tmp_path, retry=QUICK))
        check(result)
        assert (result.path.name, result.resumed_from_bytes) == ("film.mp4", HALF)


def test_an_address_with_an_ipv6_literal(tmp_path: Path) -> None:
    try:
        running = Origin(FILM, [reset(HALF)], host="::1").__enter__()
    except OSError:
        pytest.skip("this machine has no such address")
    try:
        check(fetch(request_for(running, tmp_path)))
        assert running.requests[0].headers["host"] == f"[::1]:{running.port}"
    finally:
        running.__exit__(None, None, None)


def test_a_host_name_that_cannot_be_resolved_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(TransportError, match=r"the name film\.example could not be resolved"):
        fetch(DownloadRequest.of("http://film.example/f.mp4", tmp_path / "f.mp4", retry=QUICK))


# Names and content.


def test_names_that_differ_in_case_are_separate_downloads(tmp_path: Path) -> None:
    """Two files on a case-sensitive file system, elsewhere never a mixture."""
    with Origin(FILM) as origin:
        for name, data in (("Film.mp4", DATA), ("film.mp4", OTHER)):
            origin.film = Film(data, etag=f'"{name}"')
            result = fetch(DownloadRequest.of(f"{origin.base}/{name}", tmp_path, retry=QUICK))
            assert result.path.read_bytes() == data
        assert len(list((tmp_path / ".vidnb").glob("*.record"))) == 2


@pytest.mark.parametrize("name", ['"a\0b.mp4"', '"a\x07b.mp4"', "a\x7fb.mp4"])
def test_names_with_a_control_character_in_the_header(name: str, tmp_path: Path) -> None:
    """The name is made safe, or the response is refused as malformed."""
    head = f"HTTP/1.1 200 OK\n{LENGTH}\nContent-Disposition: attachment; filename={name}"
    with Origin(FILM, otherwise=raw(head, DATA)) as origin:
        try:
            result = fetch(DownloadRequest.of(origin.url, f"{tmp_path / 'in'}/", retry=QUICK))
        except RemoteProtocolError:
            assert visible_names(tmp_path / "in") == set()
        else:
            assert result.path.parent == tmp_path / "in"
            assert result.path.name.isprintable()
        assert visible_names(tmp_path) <= {"in"}


@pytest.mark.parametrize("type_", ["text/html", "application/json", "image/png", ""])
def test_content_video_with_a_wrong_media_type_is_saved(type_: str, tmp_path: Path) -> None:
    with Origin(Film(DATA, media_type=type_)) as origin:
        check(fetch(request_for(origin, tmp_path)))


def test_content_page_in_small_chunks_is_refused(tmp_path: Path) -> None:
    def in_small_chunks(exchange: Exchange) -> None:
        exchange.head(200, [("Content-Length", str(10**6)), ("Content-Type", "video/mp4")])
        exchange.send(PAGE[:5000], piece_bytes=100)
        exchange.wait_for_close()

    with Origin(FILM, otherwise=in_small_chunks, rate=1e6) as origin:
        refused(origin, tmp_path, NotAVideo)


# Local.


@pytest.mark.parametrize("step", ["mark", "publish"])
def test_local_disk_full_at_a_late_step_keeps_the_part_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Origin(FILM) as origin:
        resumed(origin, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(PartFile, step, full)
            error = refused(origin, tmp_path, StorageError)
            assert "the disk is full" in str(error)
            assert "once there is space" in str(error)
            assert error.resumable_bytes == (HALF if step == "mark" else SIZE)
        (tmp_path / "film.mp4").unlink()
        before = origin.sent_bytes
        check(fetch(request_for(origin, tmp_path)))
        assert origin.sent_bytes - before == (SIZE - HALF if step == "mark" else 0)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES], ids=["read-only", "no-permission"])
def test_local_folder_for_part_files_is_read_only(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = os.open

    def refuse(path: Any, flags: int, *rest: int, **options: Any) -> int:
        if ".vidnb" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return opens(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with Origin(FILM) as origin:
        with pytest.raises(StorageError, match="choose another folder"):
            fetch(request_for(origin, tmp_path))
        assert not origin.requests


def test_local_folder_for_part_files_is_a_file(tmp_path: Path) -> None:
    (tmp_path / ".vidnb").write_bytes(b"mine")
    with Origin(FILM) as origin:
        with pytest.raises(StorageError, match="a folder on its path is a file"):
            fetch(request_for(origin, tmp_path))
        assert not origin.requests
    assert (tmp_path / ".vidnb").read_bytes() == b"mine"


def meanwhile(change: Callable[[], object]) -> Handler:
    """Send half, call `change`, send the rest."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=HALF)
        change()
        exchange.send(DATA[HALF:])

    return handle


@pytest.mark.parametrize("leads_to", ["file", "nowhere", "folder", "no-folder", "itself"])
def test_local_target_becomes_a_symbolic_link_during_the_download(
    leads_to: str, tmp_path: Path
) -> None:
    """The link is kept; its target is replaced if possible."""
    folder, there = tmp_path / "in", tmp_path / "there"
    folder.mkdir()
    link = folder / "film.mp4"
    if leads_to == "file":
        there.write_bytes(b"old")
    elif leads_to == "folder":
        there.mkdir()
    with Origin(FILM) as origin:
        request = request_for(origin, folder)
        ends = {"itself": link, "no-folder": there / "film.mp4"}
        origin.script = [meanwhile(lambda: link.symlink_to(ends.get(leads_to, there)))]
        messages = {
            "folder": "it is a folder",
            "no-folder": f"it is a symbolic link into the missing folder {there}",
            "itself": "its symbolic links form a cycle",
        }
        if leads_to in messages:
            with pytest.raises(StorageError, match=messages[leads_to]) as caught:
                fetch(request)
            assert caught.value.resumable_bytes == SIZE
        else:
            assert fetch(request).path.read_bytes() == DATA
        assert link.is_symlink()
        assert leads_to not in {"file", "nowhere"} or there.read_bytes() == DATA


def test_local_folder_removed_during_the_download(tmp_path: Path) -> None:
    """Nothing is reported as kept; the next run starts over."""
    folder = tmp_path / "in"

    def remove() -> None:
        origin.wait_for(lambda: bool(list(folder.glob(".vidnb/*.journal"))))
        shutil.rmtree(folder)

    with Origin(FILM, [meanwhile(remove)]) as origin:
        with pytest.raises(StorageError, match="nothing was kept") as caught:
            fetch(request_for(origin, folder))
        assert "a folder on its path was removed" in str(caught.value)
        assert caught.value.resumable_bytes == 0
        check(fetch(request_for(origin, folder)))


@pytest.mark.parametrize("name", ["x" * 300, "y" * 100 + "/" + "ä" * 200], ids=["ascii", "bytes"])
def test_local_name_that_is_too_long_is_refused_before_any_request(
    name: str, tmp_path: Path
) -> None:
    with Origin(FILM) as origin:
        with pytest.raises(StorageError, match="its name is too long"):
            vidnb.download(origin.url, tmp_path / name, progress=False)
        assert not origin.requests


def test_local_name_of_the_folder_for_part_files_is_refused(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        with pytest.raises(StorageError, match="it is a folder"):
            fetch(DownloadRequest.of(origin.url, tmp_path / ".vidnb", retry=QUICK))
        assert not origin.requests


def test_local_invalid_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a valid path"):
        DownloadRequest.of("http://example.org/", tmp_path / "a\ud800.mp4")


def test_local_clock_jumps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading is an hour earlier: no wait is endless and no duration negative."""
    now_s = 2e9

    def back() -> float:
        nonlocal now_s
        now_s -= 3600
        return now_s

    with Origin(FILM, [reset(HALF), status(503)], rate=3e6) as origin:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", back)
            result = fetch(request_for(origin, tmp_path))
        check(result)
        assert 0 < result.elapsed_s < 3000
        assert fetch(request_for(origin, tmp_path)).reused


def test_local_two_addresses_for_one_path_replace_each_other(tmp_path: Path) -> None:
    """The record is updated each time."""
    with Origin(FILM) as one, Origin(Film(OTHER)) as two:  # with the same ETag
        for origin, data in ((one, DATA), (two, OTHER)) * 2:
            first = fetch(request_for(origin, tmp_path))
            check(first, data)
            assert not first.reused
            assert fetch(request_for(origin, tmp_path)).reused
        assert one.sent_bytes == two.sent_bytes == 2 * SIZE


# Several downloads at once.

NO_LOCKS = """
import errno, fcntl, sys
def flock(*_): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
import vidnb
print(vidnb.download(sys.argv[1], sys.argv[2], progress=False).sha256)
"""


def test_two_processes_without_locks_on_one_target(tmp_path: Path) -> None:
    """Each writes a private part file; the last one publishes a whole file."""
    parts: list[set[Path]] = []

    def both(exchange: Exchange) -> None:
        exchange.origin.wait_for(lambda: len(exchange.origin.requests) == 2)
        parts.append(set(tmp_path.glob(".vidnb/*.part")))
        honest(exchange)

    with Origin(FILM, [both, both]) as origin:
        children = [spawn(NO_LOCKS, origin.url, tmp_path / "film.mp4") for _ in range(2)]
        for child in children:
            _, errors = child.communicate(timeout=DEADLINE_S)
            assert child.returncode == 0, errors
        assert len(parts[0]) == 2
        assert origin.sent_bytes == 2 * SIZE
    assert (tmp_path / "film.mp4").read_bytes() == DATA
    assert [p.suffix for p in (tmp_path / ".vidnb").iterdir()] == [".record"]


def test_if_exists_error_in_a_race_has_one_winner(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    both = threading.Barrier(2)

    def together(exchange: Exchange) -> None:
        both.wait(DEADLINE_S)
        honest(exchange)

    with Origin(FILM, otherwise=together) as origin:
        running = [
            transfers.submit(
                download(request_for(origin, tmp_path / name, if_exists="error"), DownloadHandle())
            )
            for name in ("real", "link")
        ]
        errors = [future.exception(10) for future in running]
    assert [type(error) for error in errors if error] == [StorageError]
    assert (tmp_path / "real" / "film.mp4").read_bytes() == DATA


def test_a_blocking_progress_function_does_not_delay_the_download(tmp_path: Path) -> None:
    """It blocks only its own thread while all bytes arrive."""
    film = Film(noise(2_000_000, seed=9))
    calls: list[Progress] = []

    with Origin(film, rate=4e6) as origin:

        def blocks(progress: Progress) -> None:
            calls.append(progress)
            origin.wait_for(lambda: visible_names(tmp_path) == {"film.mp4"})

        result = vidnb.download(origin.url, tmp_path / "film.mp4", progress=blocks)
    assert result.path.read_bytes() == film.data
    assert calls


# Security.


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:169.254.169.254",
        "::ffff:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",
        "::127.0.0.1",
        "fd00:ec2::254",
        "fe80::1%lo",
        "100.100.100.200",
        "168.63.129.16",
        "255.255.255.255",
    ],
)
def test_security_public_only_refuses_embedded_private_addresses(
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


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest/",
        "http://[fd00:ec2::254]/latest/",
        "http://[64:ff9b::a9fe:a9fe]/latest/",
    ],
)
def test_security_public_only_refuses_a_redirect_to_metadata(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidnb.http.urls import is_public_address

    monkeypatch.setattr(
        "vidnb.io.client.is_public_address", lambda ip: ip == "127.0.0.1" or is_public_address(ip)
    )
    with Origin(FILM, otherwise=redirect(location)) as front:
        error = refused(front, tmp_path, URLNotAllowed, public_only=True)
        assert "not on the public internet" in str(error)
        assert len(front.requests) == 1


def test_security_public_only_checks_every_resolution_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name resolves to a public address first, then to a private one."""
    answers = ["127.0.0.1", "127.0.0.2"]

    def getaddrinfo(_host: str, port: int, *_: object, **__: object) -> list[Any]:
        ip = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("vidnb.io.client.is_public_address", lambda ip: ip == "127.0.0.1")
    with Origin(FILM, host="127.0.0.2") as inside, Origin(FILM) as front:
        front.otherwise = redirect(f"http://film.example:{inside.port}/")
        url = f"http://film.example:{front.port}/film.mp4"
        with pytest.raises(URLNotAllowed, match="not on the public internet"):
            fetch(DownloadRequest.of(url, tmp_path / "f.mp4", retry=QUICK, public_only=True))
        assert (len(front.requests), len(inside.requests), answers) == (1, 0, [])


def test_security_public_only_uses_no_connection_of_other_downloads(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        check(fetch(request_for(origin, tmp_path)))
        with pytest.raises(URLNotAllowed, match="not on the public internet"):
            fetch(request_for(origin, tmp_path, public_only=True, if_exists="overwrite"))
        assert len(origin.requests) == 1
        assert (tmp_path / "film.mp4").read_bytes() == DATA


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(status(404), id="status"),
        pytest.param(raw("HTTQ/9 s3cret"), id="malformed"),
        pytest.param(lambda exchange: exchange.reset(), id="reset"),
        pytest.param(redirect("ftp://u:s3cret@example.org/?t=s3cret"), id="another-scheme"),
        pytest.param(redirect("//u:s3cret@[::1/?t=s3cret"), id="redirect-malformed"),
        pytest.param(status(200, {}, PAGE), id="page"),
        pytest.param(status(200, {"Content-Encoding": "gzip"}, b"x"), id="packed"),
        pytest.param(status(200), id="empty"),
    ],
)
def test_security_secrets_behind_a_redirect_are_never_logged(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Signatures in addresses are secret, also in the logs of asyncio and aiohttp."""
    handle = DownloadHandle()
    with (
        caplog.at_level(logging.DEBUG),
        Origin(FILM, otherwise=handler) as store,
        Origin(FILM, otherwise=redirect(f"{store.url}?sig=s3cret")) as front,
    ):
        url = f"{front.url}?token=s3cret"
        request = DownloadRequest.of(
            url, tmp_path / "film.mp4", retry=QUICK, headers={"X-Key": "s3cret"}
        )
        with pytest.raises(TransferError) as caught:
            fetch(request, handle)
        assert store.requests
    assert "s3cret" not in str(caught.value) + handle.status.note + handle.status.name
    assert "s3cret" not in caplog.text


def test_security_refused_headers_are_never_sent(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        with pytest.raises(ValueError, match=r"'Range'.*remove it"):
            vidnb.download(origin.url, tmp_path, headers={"Range": "bytes=0-9"}, progress=False)
        assert not origin.requests
