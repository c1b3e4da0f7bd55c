"""Servers of the common home-made kind, read by `vidnb.open` and by `vidnb.download`.

Their range handlers are of a few lines: the last byte is wrong by one, a range past the end is an
error, every response is a 206, only one connection of a client is served at a time.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.download.test_faults import check, request_for
from tests.origin import Exchange, Film, Handler, Origin, fetch, honest, noise
from vidnb.download import cache
from vidnb.download.file_object import open_source

SMALL = Film(noise(100_000))
FILM = Film(noise(2_000_000))
BIG = Film(noise(24 * 2**20))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


Respond = Callable[[Exchange, int, int | None, int], None]
"""Answers a request for the bytes from `first` to `last` (None: open) of `total`."""


def handler(respond: Respond, *, without_range: Handler = honest) -> Handler:
    """Return a handler that parses Range as a few lines of Python do, and ignores If-Range."""

    def handle(exchange: Exchange) -> None:
        value = exchange.request.headers.get("range")
        if value is None:
            without_range(exchange)
            return
        first, _, last = value.removeprefix("bytes=").partition("-")
        respond(exchange, int(first), int(last) if last else None, len(exchange.film.data))

    return handle


def send(exchange: Exchange, first: int, stop: int, content_range: str, length: int) -> None:
    exchange.head(
        206,
        [
            ("Content-Range", f"bytes {content_range}"),
            ("Content-Length", str(length)),
            ("ETag", exchange.film.etag or ""),
        ],
    )
    body = exchange.film.data[first:stop]
    exchange.send(body)
    if len(body) < length:
        exchange.close_connection()


def unclamped(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """The last byte of the request is taken as it is, for an open range the total."""
    last = total if last is None else last
    stop = min(last + 1, total)
    send(exchange, first, stop, f"{first}-{last}/{total}", stop - first)


def unclamped_length(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """The same, and the length follows from it: the body is shorter."""
    last = total - 1 if last is None else last
    send(exchange, first, last + 1, f"{first}-{last}/{total}", last + 1 - first)


def one_too_high(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """Last byte = start + length."""
    stop = total if last is None else min(last + 1, total)
    send(exchange, first, stop, f"{first}-{stop}/{total}", stop - first)


def one_too_low(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """Last byte = start + length - 1, of a length that was computed as last - first."""
    stop = total if last is None else min(last + 1, total)
    send(exchange, first, stop, f"{first}-{max(first, stop - 2)}/{total}", stop - first)


def strict(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """A range that ends past the file is refused, with its length."""
    if last is not None and last >= total:
        exchange.head(416, [("Content-Range", f"bytes */{total}"), ("Content-Length", "0")])
        return
    honest(exchange)


def strict_and_silent(exchange: Exchange, first: int, last: int | None, total: int) -> None:
    """The same, without the length."""
    if last is not None and last >= total:
        exchange.head(416, [("Content-Length", "0")])
        return
    honest(exchange)


def always_206(exchange: Exchange) -> None:
    total = len(exchange.film.data)
    send(exchange, 0, total, f"0-{total - 1}/{total}", total)


HANDLERS = [
    pytest.param(handler(unclamped), id="last-byte-of-the-request"),
    pytest.param(handler(unclamped_length), id="length-of-the-request"),
    pytest.param(handler(one_too_high), id="last-byte-one-too-high"),
    pytest.param(handler(one_too_low), id="last-byte-one-too-low"),
    pytest.param(handler(strict), id="strict"),
    pytest.param(handler(strict_and_silent), id="strict-without-length"),
    pytest.param(handler(strict, without_range=always_206), id="always-206"),
]


@pytest.mark.parametrize("respond", HANDLERS)
@pytest.mark.parametrize("film", [SMALL, FILM], ids=["small", "large"])
def test_open_reads_both_ends_and_not_the_whole_file(respond: Handler, film: Film) -> None:
    """As PyAV and zipfile read: the head, the end, then the head again."""
    data, size = film.data, len(film.data)
    with Origin(film, otherwise=respond) as origin, open_source(origin.url) as file:
        assert file.read(1000) == data[:1000]
        file.seek(-1000, 2)
        assert file.read() == data[-1000:]
        file.seek(-1, 2)
        assert file.read() == data[-1:]
        file.seek(1000)
        assert file.read(1000) == data[1000:2000]
        for requested in origin.ranges[1:]:
            last = (requested or "-").rpartition("-")[2]
            assert not last or int(last) < size
        assert origin.sent_bytes <= max(size, 600_000)
        assert len(origin.requests) <= 4


@pytest.mark.parametrize("respond", HANDLERS)
@pytest.mark.parametrize("connections", [1, 3])
def test_a_download_is_complete(respond: Handler, connections: int, tmp_path: Path) -> None:
    with Origin(BIG if connections > 1 else FILM, otherwise=respond, rate=200e6) as origin:
        folder = tmp_path / "films"
        result = fetch(request_for(origin, folder, connections=connections))
        check(result, origin.film.data)
        assert origin.sent_bytes <= 1.2 * len(origin.film.data)


def test_an_unrequested_206_with_the_complete_file_is_the_file(tmp_path: Path) -> None:
    with Origin(SMALL, otherwise=always_206) as origin:
        check(fetch(request_for(origin, tmp_path)), SMALL.data)
        assert len(origin.requests) == 1


def evicting(keep: int) -> Handler:
    """Serve the newest `keep` connections; shut the older ones down."""
    lock, live = threading.Lock(), list[socket.socket]()

    def handle(exchange: Exchange) -> None:
        with lock:
            if exchange.connection in live:
                live.remove(exchange.connection)
            live.append(exchange.connection)
            old = live[:-keep]
            del live[:-keep]
        for connection in old:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        honest(exchange)

    return handle


@pytest.mark.parametrize("connections", [None, 2, 8])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_server_that_ends_older_connections_gets_few_requests(
    connections: int | None, keep: int, tmp_path: Path
) -> None:
    with Origin(BIG, otherwise=evicting(keep), rate=60e6) as origin:
        check(fetch(request_for(origin, tmp_path, connections=connections)), BIG.data)
        assert len(origin.requests) <= 20  # usually below ten, where it was 60 to 600
        assert origin.sent_bytes < 1.3 * len(BIG.data)


def test_open_on_a_server_that_ends_older_connections(tmp_path: Path) -> None:
    """Every jump costs one request."""
    with Origin(BIG, otherwise=evicting(1)) as origin, open_source(origin.url) as file:
        for number in range(12):
            offset = (number * 7919 * 2**10) % len(BIG.data)
            file.seek(offset)
            assert file.read(50_000) == BIG.data[offset : offset + 50_000]
        assert len(origin.requests) <= 3 * 12


def hanging(after: int | None) -> Handler:
    """Let the second request hang: before its head (None), or after so many bytes of its body."""

    def handle(exchange: Exchange) -> None:
        if len(exchange.origin.requests) != 2:
            honest(exchange)
            return
        if after is not None:
            exchange.respond(exchange.response(), after=after)
        exchange.wait_for_close()

    return handle


@pytest.mark.parametrize("after", [None, 0, 200_000], ids=["no-head", "no-body", "in-the-body"])
@pytest.mark.parametrize("connections", [2, 4, None])
def test_a_second_connection_that_hangs_is_given_up_before_the_idle_timeout(
    after: int | None, connections: int | None, tmp_path: Path
) -> None:
    """The idle timeout is longer than any test may take."""
    with Origin(BIG, otherwise=hanging(after), rate=60e6) as origin:
        options = {"connections": connections, "idle_timeout_s": 3600.0}
        check(fetch(request_for(origin, tmp_path, **options)), BIG.data)
        assert len(origin.requests) <= 20
        assert origin.sent_bytes < 1.3 * len(BIG.data)
