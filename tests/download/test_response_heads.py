"""Response heads as old appliances and large CDNs send them, through a whole download."""

from pathlib import Path

import pytest

from tests.download.test_faults import DATA, FILM, check, refused, request_for
from tests.origin import Exchange, Handler, Origin, fetch, redirect
from vidnb.errors import RemoteProtocolError

SIGNED = "https://cdn.example/film.mp4?X-Signature=" + "s3cret" * 6000


def lines(*more: str, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> Handler:
    """Send the whole file behind a head of these lines."""

    def handle(exchange: Exchange) -> None:
        head = [status, *more, f"Content-Length: {len(DATA)}", "", ""]
        exchange.connection.sendall(end.join(head).encode("latin-1"))
        exchange.send(DATA)

    return handle


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(lines("Content-Type : video/mp4", "Server\t: old"), id="space"),
        pytest.param(lines('ETag : "v1"', "Last-Modified : yesterday"), id="space-validators"),
        pytest.param(lines("Warning: one,", "  two"), id="folded"),
        pytest.param(lines(end="\n"), id="line-feeds"),
        pytest.param(lines(end="\r\r\n"), id="two-carriage-returns"),
        pytest.param(lines(status="HTTP/1.1 200"), id="no-reason"),
        pytest.param(lines(status="HTTP/1.1  200 OK"), id="two-spaces"),
        pytest.param(lines("X_Y: z", "X Y: z", "no colon", ": z", "X-é: z"), id="names"),
        pytest.param(lines("X: caf\xe9"), id="latin-1"),
        pytest.param(lines(f"Link: <{SIGNED}>"), id="36-kib-line"),
        pytest.param(lines(*[f"X-{n}: {'y' * 300}" for n in range(200)]), id="200-lines-64-kib"),
    ],
)
def test_an_unusual_head_is_understood(handler: Handler, tmp_path: Path) -> None:
    with Origin(FILM, [handler]) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("Content-Length : 5", "about the length, the range or the coding", id="len"),
        pytest.param("Transfer-Encoding : chunked", "about the length", id="coding-of-transfer"),
        pytest.param("Content-Encoding : gzip", "about the length", id="coding"),
        pytest.param("Content-Range : bytes 0-1/2", "about the length", id="range"),
        pytest.param("X: s3cret\0", "has a null character", id="null"),
        pytest.param(f"Link: {SIGNED * 9}", "has a head of more than 256 KiB", id="large"),
        pytest.param("s3cret: x\r\n" * 1001, "more than 1000 header lines", id="lines"),
    ],
)
def test_a_malformed_head_is_refused_without_its_text(
    line: str, reason: str, tmp_path: Path
) -> None:
    with Origin(FILM, otherwise=lines(line)) as origin:
        error = refused(origin, tmp_path, RemoteProtocolError)
        assert reason in str(error)
        assert "s3cret" not in str(error)
        assert "X-Signature" not in str(error)


def test_a_radio_stream_is_refused_by_name(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=lines("icy-name: s3cret", status="ICY 200 OK")) as origin:
        assert "a radio stream (ICY)" in str(refused(origin, tmp_path, RemoteProtocolError))


def test_a_redirect_to_a_long_signed_url_is_followed(tmp_path: Path) -> None:
    target = "/film.mp4?" + "s" * 20_000
    with Origin(FILM, [redirect(target)]) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert origin.requests[1].target == target
