"""Running a cell again while the source cannot be reached, and on a read-only disk."""

import errno
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.network import free_port
from tests.origin import (
    Exchange,
    Film,
    Handler,
    Origin,
    cut,
    fetch,
    noise,
    plain,
    raw,
    redirect,
    status,
    stored_journal,
    visible_names,
)
from vidnb.download import cache, part_file
from vidnb.download.planner import transfer_state
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.errors import (
    MissingExtra,
    NotAVideo,
    StatusError,
    StorageError,
    TransferError,
    TransportError,
    URLNotAllowed,
)
from vidnb.io.client import HttpClient

DATA = noise(200_000)
OTHER = Film(noise(150_000, seed=2), etag='"v2"')
SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
PATIENT = RetryPolicy(attempts=50, base_delay_s=3600.0, max_delay_s=3600.0)
"""A test that retried once would never end."""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(Film(DATA)) as running:
        yield running


def get(origin: Origin, path: Path | str, **options: Any) -> DownloadResult:
    return fetch(DownloadRequest.of(origin.url, path, **{"retry": PATIENT, **options}))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def check_reused(
    result: DownloadResult, path: Path, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert result.reused
    assert result.path == path
    assert path.read_bytes() == DATA
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"{path} could not be compared with http")
    assert reason in warning


def reset_before_the_head(exchange: Exchange) -> None:
    exchange.reset()


STATUSES = (400, 401, 403, 404, 407, 410, 416, 451, 500, 502, 503)
TWO_LENGTHS = "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6"
RESPONSES = [
    *(pytest.param(status(code), str(code), id=str(code)) for code in STATUSES),
    pytest.param(status(429, {"Retry-After": "3600"}), "429", id="429-later"),
    pytest.param(status(503, {"Retry-After": "1"}), "503", id="503-soon"),
    pytest.param(status(204), "204", id="204"),
    pytest.param(reset_before_the_head, "the connection broke", id="reset"),
    pytest.param(lambda exchange: exchange.close_connection(), "the connection broke", id="closed"),
    pytest.param(raw("HTTP/1.1 abc"), "malformed", id="malformed"),
    pytest.param(raw(TWO_LENGTHS), "", id="two-lengths"),
    pytest.param(status(200, {"Content-Encoding": "gzip"}, b"x" * 9), "gzip", id="compressed"),
    pytest.param(redirect("ftp://example.org/"), "redirect", id="redirect-to-ftp"),
    pytest.param(redirect("/film.mp4"), "redirect", id="redirect-loop"),
    pytest.param(redirect("http://nobody.invalid/"), "", id="redirect-to-a-missing-host"),
    pytest.param(Exchange.wait_for_close, "nothing arrived for 0.2 s", id="silence"),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "reason"), RESPONSES)
@pytest.mark.parametrize("etag", ['"v1"', None], ids=["with-etag", "without"])
def test_offline_rerun_gives_the_file_where_the_source_does_not_respond_with_it(
    handler: Handler,
    reason: str,
    etag: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer_state, "REVALIDATION_TIMEOUT_S", 0.2)
    path = tmp_path / "film.mp4"
    with Origin(Film(DATA, etag=etag)) as origin:
        get(origin, path)
        caplog.clear()
        origin.otherwise = handler
        check_reused(get(origin, path), path, reason, caplog)
        assert stored_journal(tmp_path) is None
        assert visible_names(tmp_path) == {"film.mp4"}


def test_offline_rerun_gives_the_file_where_nothing_listens(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    origin.stop()
    check_reused(get(origin, path), path, "no connection to 127.0.0.1", caplog)
    origin.restart()
    caplog.clear()
    assert get(origin, path).reused
    assert not warnings_of(caplog)


def test_offline_rerun_gives_the_file_where_its_host_has_no_address(
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = {"films.test": "127.0.0.1"}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".test") and host not in hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(hosts.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    request = DownloadRequest.of(
        f"http://films.test:{origin.port}/film.mp4", tmp_path / "film.mp4", retry=PATIENT
    )
    path = fetch(request).path
    hosts.clear()
    origin.close_connections()  # a new one needs the address
    origin.wait_for(lambda: origin.is_idle)
    result = fetch(request)
    assert result.reused
    assert all("could not be compared" in warning for warning in warnings_of(caplog))
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    "value",
    [
        "http://127.0.0.1:{port}",
        "http://proxy.invalid:1",
        "http://[x",
        "gopher://h:1",
        "socks5://127.0.0.1:{port}",
    ],
)
def test_offline_rerun_gives_the_file_where_the_proxy_fails(
    value: str,
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    monkeypatch.setenv("http_proxy", value.format(port=free_port()))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    check_reused(get(origin, path), path, "proxy", caplog)


def test_offline_rerun_gives_the_file_where_the_proxy_needs_an_extra(
    origin: Origin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = get(origin, tmp_path / "film.mp4").path

    async def missing(*_: object, **__: object) -> None:
        raise MissingExtra("install it", extra="socks")

    monkeypatch.setattr(HttpClient, "get", missing)
    check_reused(get(origin, path), path, "its proxy needs the extra socks", caplog)
    with pytest.raises(MissingExtra):
        get(origin, tmp_path / "other.mp4")


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_offline_rerun_finds_the_file_by_its_record(
    folder: bool, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also under the name that the origin chose, and after a reboot."""
    path = f"{tmp_path}/" if folder else tmp_path / "film.mp4"
    get(origin, path)
    origin.stop()
    assert get(origin, path).path == tmp_path / "film.mp4"
    monkeypatch.setattr(part_file, "boot_id", lambda: "another boot")
    assert get(origin, path).reused


def test_offline_rerun_has_its_reason_in_the_note_and_no_secret(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{origin.url}?token=s3cret"
    vidnb.download(url, tmp_path / "film.mp4", progress=False)
    origin.otherwise = redirect(f"http://127.0.0.1:{free_port()}/?signature=s1gned")
    job = vidnb.start_download(url, tmp_path / "film.mp4", progress=False)
    result = job.result(DEADLINE_S)
    assert result.url == url
    texts = repr(job), repr(result), *warnings_of(caplog)
    assert "its source could not be compared: no connection to" in texts[0]
    assert not any(secret in text for text in texts for secret in ("s3cret", "s1gned"))


def test_offline_rerun_with_if_exists_overwrite_fails(origin: Origin, tmp_path: Path) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    origin.otherwise = status(404)
    with pytest.raises(StatusError):
        get(origin, path, if_exists="overwrite")
    assert path.read_bytes() == DATA


def test_offline_rerun_with_another_checksum_fails(origin: Origin, tmp_path: Path) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    origin.otherwise = status(404)
    assert get(origin, path, checksum=SHA256).reused
    with pytest.raises(StatusError):
        get(origin, path, checksum=f"sha256:{'0' * 64}")
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("change", ["modified", "removed", "of-another-address", "no-record"])
def test_offline_rerun_without_a_verified_file_fails(
    change: str, origin: Origin, tmp_path: Path
) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    address = origin.url
    match change:
        case "modified":
            path.write_bytes(DATA[:-1])
        case "removed":
            path.unlink()
        case "of-another-address":
            address += "?other"
        case "no-record":
            for file in (tmp_path / ".vidnb").glob("*.record"):
                file.unlink()
    origin.otherwise = status(404)
    with pytest.raises(StatusError):
        fetch(DownloadRequest.of(address, path, retry=PATIENT))


@pytest.mark.parametrize(
    ("film", "handler", "error"),
    [
        pytest.param(OTHER, cut(1000), TransportError, id="another-tag"),
        pytest.param(Film(DATA[:-1], etag=None), cut(1000), TransportError, id="another-length"),
        pytest.param(Film(b""), plain, TransferError, id="empty"),
        pytest.param(
            Film(b"<!doctype html><title>Sign in</title>" + b" " * 5000, etag=None),
            plain,
            NotAVideo,
            id="page",
        ),
    ],
)
def test_offline_rerun_fails_where_the_source_is_another_one(
    film: Film, handler: Handler, error: type[TransferError], tmp_path: Path
) -> None:
    with Origin(Film(DATA)) as origin:
        path = get(origin, tmp_path / "film.mp4").path
        origin.film, origin.otherwise = film, handler
        with pytest.raises(error):
            get(origin, path, retry=RetryPolicy(attempts=1))
        assert path.read_bytes() == DATA
        if error is TransportError and film is OTHER:  # it is known now that there is another one
            origin.otherwise = status(503)
            with pytest.raises(StatusError):
                get(origin, path, retry=RetryPolicy(attempts=1))


def test_offline_rerun_with_public_only_reports_a_private_address(
    origin: Origin, tmp_path: Path
) -> None:
    """What the caller forbids is no failure of the network."""
    path = get(origin, tmp_path / "film.mp4").path
    with pytest.raises(URLNotAllowed):
        get(origin, path, public_only=True)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("how", ["open", "serve"])
def test_offline_open_and_serve_read_the_cached_file(
    how: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    with vidnb.serve(origin.url) as served:
        fetched(served)
    origin.stop()
    if how == "open":
        with vidnb.open(origin.url) as file:
            assert file.read() == DATA
    else:
        with vidnb.serve(origin.url) as served:
            assert fetched(served) == DATA


def fetched(served: vidnb.Served) -> bytes:
    import urllib.request

    with urllib.request.urlopen(served.url, timeout=DEADLINE_S) as response:
        data: bytes = response.read()
        return data


# Conditional requests that the origin ignores.


@pytest.mark.parametrize(
    ("modified_s", "etag"),
    [(None, '"v1"'), (1e9, '"v1"'), (1e9, None)],
    ids=["etag", "both", "date"],
)
@pytest.mark.parametrize("connections", [None, 1, 4])
def test_conditional_request_that_is_ignored_reads_no_body(
    modified_s: float | None, etag: str | None, connections: int | None, tmp_path: Path
) -> None:
    with Origin(Film(DATA * 20, etag, modified_s), otherwise=plain, rate=3e7) as origin:
        path = get(origin, tmp_path / "film.mp4", connections=connections).path
        sent_bytes = origin.sent_bytes
        result = get(origin, path, connections=connections)
        assert result.reused
        assert origin.sent_bytes - sent_bytes < len(DATA * 20)
        assert visible_names(tmp_path) == {"film.mp4"}


@pytest.mark.parametrize(
    ("etag", "changed"),
    [
        pytest.param('"v1"', '"v2"', id="other"),
        pytest.param('W/"v1"', 'W/"v1"', id="weak"),
        pytest.param('"v1"', 'W/"v1"', id="became-weak"),
        pytest.param('"v1"', None, id="gone"),
        pytest.param(None, '"v1"', id="new"),
    ],
)
def test_conditional_request_that_is_ignored_with_another_validator_is_read(
    etag: str | None, changed: str | None, tmp_path: Path
) -> None:
    with Origin(Film(DATA, etag), otherwise=plain) as origin:
        path = get(origin, tmp_path / "film.mp4").path
        origin.film = Film(DATA[::-1], changed)
        assert not get(origin, path).reused
        assert path.read_bytes() == DATA[::-1]


# Folders that cannot be written to.


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make `tmp_path` read-only, also for root."""

    def make(number: int) -> None:
        def guarded(
            function: Callable[..., Any], writes: Callable[..., bool]
        ) -> Callable[..., Any]:
            def call(path: Any, *arguments: Any, **options: Any) -> Any:
                if writes(*arguments) and str(path).startswith(str(tmp_path)):
                    if function is mkdir and Path(path).exists():
                        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
                    raise OSError(number, os.strerror(number), str(path))
                return function(path, *arguments, **options)

            return call

        mkdir = os.mkdir
        flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        monkeypatch.setattr(os, "open", guarded(os.open, lambda how, *_: bool(how & flags)))
        for name in ("mkdir", "rmdir", "unlink", "rename", "replace", "link", "chmod"):
            monkeypatch.setattr(os, name, guarded(getattr(os, name), lambda *_: True))

    return make


NUMBERS = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("is_online", [True, False], ids=["online", "offline"])
@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_read_only_folder_with_the_complete_file_needs_no_writing(
    number: int,
    is_online: bool,
    folder: bool,
    origin: Origin,
    tmp_path: Path,
    read_only: Callable[[int], None],
) -> None:
    path = f"{tmp_path}/" if folder else tmp_path / "film.mp4"
    get(origin, path)
    read_only(number)
    if not is_online:
        origin.stop()
    result = get(origin, path)
    assert result.reused
    assert result.path.read_bytes() == DATA


@pytest.mark.parametrize("size_bytes", [1000, 3_000_000], ids=["small", "large"])
def test_read_only_folder_with_an_old_version_is_an_error(
    size_bytes: int, origin: Origin, tmp_path: Path, read_only: Callable[[int], None]
) -> None:
    path = get(origin, tmp_path / "film.mp4").path
    read_only(errno.EROFS)
    origin.film = Film(noise(size_bytes), etag='"v2"')
    with pytest.raises(StorageError, match="the disk is read-only"):
        get(origin, path, retry=RetryPolicy(attempts=1))
    assert path.read_bytes() == DATA


def test_read_only_folder_with_a_file_of_the_right_digest_needs_no_request(
    origin: Origin, tmp_path: Path, read_only: Callable[[int], None]
) -> None:
    (tmp_path / "film.mp4").write_bytes(DATA)
    read_only(errno.EROFS)
    assert get(origin, tmp_path / "film.mp4", checksum=SHA256).reused
    assert not origin.requests


def test_read_only_folder_without_the_file_is_refused_before_any_request(
    origin: Origin, tmp_path: Path, read_only: Callable[[int], None]
) -> None:
    read_only(errno.EROFS)
    with pytest.raises(StorageError, match=r"the disk is read-only; .*choose another folder"):
        get(origin, tmp_path / "film.mp4")
    assert not origin.requests
