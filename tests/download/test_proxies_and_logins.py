"""Downloads through proxies, and with a login: what is sent to whom, and what an error says."""

import asyncio
import base64
import logging
import os
import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import vidnb
from tests.network import localhost_tls
from tests.origin import (
    Exchange,
    Film,
    Handler,
    Origin,
    fetch,
    honest,
    noise,
    redirect,
    reset,
    status,
)
from tests.proxies import HttpProxy, SocksProxy
from vidnb.compat import save_video_from_url
from vidnb.download import task
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.errors import (
    MissingExtra,
    NotAVideo,
    StatusError,
    TransferError,
    TransportError,
    URLNotAllowed,
)
from vidnb.http.credentials import Netrc

DATA = noise(300_000)
FILM = Film(DATA)
QUICK = RetryPolicy(attempts=2, base_delay_s=0.01, max_delay_s=0.02)
ONCE = RetryPolicy(attempts=8, base_delay_s=60.0, max_delay_s=60.0)
"""With a retry a test takes a minute: for failures that are raised at once."""

SERVER_TLS, CLIENT_TLS = localhost_tls()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(FILM) as running:
        yield running


@pytest.fixture
def secure() -> Iterator[Origin]:
    with Origin(FILM, tls=SERVER_TLS) as running:
        yield running


def get(url: str, folder: Path, **options: Any) -> DownloadResult:
    options = {"retry": QUICK, "check_video": False, "connections": 1, **options}
    return fetch(DownloadRequest.of(url, folder / "film.mp4", **options))


def failed(url: str, folder: Path, kind: type[TransferError], **options: Any) -> str:
    """Return the sentence of a failed download; it pickles and shows no secret."""
    with pytest.raises(kind) as caught:
        get(url, folder, **{"retry": ONCE, **options})
    sentence = str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == sentence  # noqa: S301 - our own
    assert "s3cret" not in sentence
    assert base64.b64encode(b"ann:s3cret").decode() not in sentence
    return sentence


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# HTTP proxies.


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment(
    name: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpProxy({"film.example": origin.port}) as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert get("http://film.example/film.mp4", tmp_path).path.read_bytes() == DATA
    assert proxy.heads[0].startswith("GET http://film.example/film.mp4 HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_for_https(
    name: str, secure: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpProxy({"localhost": secure.port}) as proxy:
        monkeypatch.setenv(name, proxy.url.removeprefix("http://"))
        result = get("https://localhost/film.mp4", tmp_path, ssl_context=CLIENT_TLS)
    assert result.path.read_bytes() == DATA
    assert proxy.heads[0].startswith("CONNECT localhost:443 HTTP/1.1\r\n")


def test_the_option_replaces_the_environment_and_its_exclusions(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    with HttpProxy({"film.example": origin.port}) as proxy:
        get("http://film.example/film.mp4", tmp_path, proxy=proxy.url)
    assert proxy.heads


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.0/8", "x, 127.0.0.1:{port}", "*"])
def test_an_excluded_host_is_reached_directly(
    no_proxy: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", no_proxy.format(port=origin.port))
    assert get(origin.url, tmp_path).path.read_bytes() == DATA


def test_an_empty_option_is_a_direct_connection(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    assert get(origin.url, tmp_path, proxy="", public_only=False).path.read_bytes() == DATA


def test_the_own_server_is_reached_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its URL is secret, and no proxy reaches it."""
    with HttpProxy({}) as proxy, vidnb.serve(vidnb.sample()) as web:
        monkeypatch.setenv("all_proxy", proxy.url)
        assert get(web.url, tmp_path).size_bytes == web.size_bytes
        assert not proxy.heads
        failed(
            web.url, tmp_path, TransferError, proxy=proxy.url, retry=QUICK, if_exists="overwrite"
        )
        assert proxy.heads


def test_each_redirect_target_has_its_own_proxy(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.script = [redirect(origin.url)]
    with HttpProxy({"film.example": origin.port}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        get("http://film.example/", tmp_path)
    assert len(proxy.heads) == 1
    assert [request.target for request in origin.requests] == ["/", "/film.mp4"]


@pytest.mark.parametrize(
    ("written", "login"),
    [
        ("ann:s3cret", b"ann:s3cret"),
        ("ann:s3%40c%3Aret", b"ann:s3@c:ret"),
        ("%C5%81ukasz:%E6%97%A5", "\u0141ukasz:\u65e5".encode()),
        ("\u0141ukasz:\u65e5", "\u0141ukasz:\u65e5".encode()),
        ("ann", b"ann:"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_login_of_a_proxy(
    written: str, login: bytes, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = SERVER_TLS if scheme == "https" else None
    with (
        Origin(FILM, tls=tls) as origin,
        HttpProxy({"localhost": origin.port}, login=login) as proxy,
    ):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{written}@127.0.0.1:{proxy.port}")
        get(f"{scheme}://localhost/film.mp4", tmp_path, ssl_context=CLIENT_TLS)
    # Through a tunnel the origin sees none of it; a proxy removes it from a plain request.
    if scheme == "https":
        assert "proxy-authorization" not in origin.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_reached_by_tls(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = SERVER_TLS if scheme == "https" else None
    with (
        Origin(FILM, tls=tls) as origin,
        HttpProxy({"localhost": origin.port}, login=b"ann:s3cret", tls=SERVER_TLS) as proxy,
    ):
        url = proxy.url.replace("://", "://ann:s3cret@")
        result = get(f"{scheme}://localhost/film.mp4", tmp_path, proxy=url, ssl_context=CLIENT_TLS)
    assert result.path.read_bytes() == DATA
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    "value",
    ["http://proxy:port", "http://ann:s3/cret@proxy:1", "http://", "proxy name:3128", "ftp://p"],
)
@pytest.mark.parametrize("name", ["https_proxy", "ALL_PROXY"])
def test_a_malformed_proxy_of_the_environment_is_named_at_once(
    value: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    sentence = failed("https://film.example/film.mp4", tmp_path, TransportError)
    assert sentence.startswith(
        "https://film.example/film.mp4 could not be downloaded:"
        f" the environment's {name} is not a usable proxy: it"
    )
    assert sentence.endswith(
        "; nothing was kept; write it as http://host:port, or as http://user:password@host:port"
        " with special characters percent-encoded."
    )
    assert "cret" not in sentence


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("user_info", "challenge", "says"),
    [
        ("", "Basic", "requires a user name and a password; nothing was kept; write them into"),
        ("ann:s3cret@", "Basic", "refused the user name and the password; nothing was kept; corr"),
        ("", "Negotiate, NTLM", "accepts only a kind of login that vidnb does not support"),
    ],
)
def test_a_proxy_that_requires_a_login(
    user_info: str,
    challenge: str,
    says: str,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HttpProxy({}, login=b"bob:1", challenge=challenge) as proxy:
        monkeypatch.setenv("all_proxy", f"http://{user_info}127.0.0.1:{proxy.port}")
        sentence = failed(f"{scheme}://film.example/film.mp4", tmp_path, TransportError)
    assert f"the proxy {proxy.url} of the environment's all_proxy {says}" in sentence
    assert len(proxy.heads) == 1


def test_a_407_of_the_origin_is_its_own(origin: Origin, secure: Origin, tmp_path: Path) -> None:
    origin.otherwise = secure.otherwise = status(407)
    assert "answered 407" in failed(origin.url, tmp_path, StatusError)
    with (
        HttpProxy({"localhost": secure.port}) as tunnel,
        SocksProxy({"film.example": origin.port}) as socks,
    ):
        for url, proxy in (
            ("https://localhost/film.mp4", tunnel.url),
            ("http://film.example/film.mp4", f"socks5h://127.0.0.1:{socks.port}"),
        ):
            options = {"proxy": proxy, "ssl_context": CLIENT_TLS}
            assert "answered 407" in failed(url, tmp_path, StatusError, **options)


def response(code: int, body: bytes = b"", kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("code", [403, 404, 400, 405])
def test_a_proxy_that_does_not_connect(code: int, tmp_path: Path) -> None:
    with HttpProxy({}, answer=response(code)) as proxy:
        sentence = failed("https://film.example/f.mp4", tmp_path, TransportError, proxy=proxy.url)
    assert (
        f"the proxy {proxy.url} of proxy=… does not connect to film.example (status {code});"
        " nothing was kept; check proxy=… and no_proxy." in sentence
    )
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_proxy_that_could_not_connect_is_asked_again(code: int, tmp_path: Path) -> None:
    with HttpProxy({}, answer=response(code)) as proxy:
        sentence = failed(
            "https://film.example/f.mp4", tmp_path, TransportError, proxy=proxy.url, retry=QUICK
        )
    assert f"could not connect to film.example (status {code})" in sentence
    assert len(proxy.heads) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(b"", ", through the proxy ", id="closes"),
        pytest.param(b"<html>Sign in</html>\r\n\r\n", "does not answer in HTTP", id="html"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", "does not answer in HTTP", id="tls"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "does not answer in HTTP", id="ssh"),
        pytest.param(response(200, b"<html>" * 9), ", through the proxy ", id="page-as-tunnel"),
    ],
)
def test_a_proxy_that_does_not_answer_a_connect(answer: bytes, says: str, tmp_path: Path) -> None:
    with HttpProxy({}, answer=answer) as proxy:
        sentence = failed(
            "https://film.example/f.mp4", tmp_path, TransferError, proxy=proxy.url, retry=QUICK
        )
    assert says in sentence
    assert f"the proxy {proxy.url} of proxy=…" in sentence
    assert "Sign in" not in sentence


def test_a_page_of_a_proxy_is_not_a_video(tmp_path: Path) -> None:
    page = response(200, b"<!doctype html><title>Sign in</title><p>" + b"x" * 3000)
    with HttpProxy({}, answer=page) as proxy:
        sentence = failed(
            "http://film.example/f.mp4", tmp_path, NotAVideo, proxy=proxy.url, check_video=True
        )
    assert "sent a page" in sentence


def test_an_https_proxy_that_speaks_no_tls(tmp_path: Path) -> None:
    with HttpProxy({}) as proxy:
        url = proxy.url.replace("http:", "https:")
        for scheme in ("http", "https"):
            sentence = failed(f"{scheme}://film.example/f.mp4", tmp_path, TransportError, proxy=url)
            assert f"the proxy {url} of proxy=… does not answer in TLS" in sentence
            assert "check proxy=… and its scheme" in sentence


def test_an_https_proxy_with_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    with HttpProxy({}, tls=SERVER_TLS) as proxy:
        sentence = failed("http://film.example/f.mp4", tmp_path, TransportError, proxy=proxy.url)
    assert (
        f"the certificate of the proxy {proxy.url} of proxy=… is of an authority that is not"
        " trusted here" in sentence
    )
    assert "ssl_context=…" in sentence


def test_a_proxy_that_is_not_reached_is_named_in_the_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    sentence = failed(
        "https://film.example/f.mp4", tmp_path, TransportError, proxy=url, retry=QUICK
    )
    assert f"the proxy {url} of proxy=… cannot be reached (Connection refused)" in sentence
    assert "check proxy=…" in sentence
    assert "check the address" not in sentence


def test_public_only_uses_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpProxy({}) as proxy, SocksProxy({}) as socks:
        for url in (proxy.url, f"socks5h://127.0.0.1:{socks.port}"):
            monkeypatch.setenv("all_proxy", url)
            sentence = failed("http://10.0.0.1/", tmp_path, URLNotAllowed, public_only=True)
            assert "is not on the public internet" in sentence
    assert not proxy.heads
    assert not socks.asked


@pytest.mark.parametrize("url", ["http://p:1", "socks5://p:1", "p"])
def test_public_only_with_a_proxy_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="public_only=True checks vidnb's own connections"):
        DownloadRequest.of("http://a.example/", tmp_path, proxy=url, public_only=True)


# SOCKS proxies.


@pytest.mark.parametrize(
    ("scheme", "asked"),
    [
        ("socks5", "127.0.0.1"),
        ("socks5h", "localhost"),
        ("socks", "localhost"),
        ("socks4", "127.0.0.1"),
        ("socks4a", "localhost"),
    ],
)
def test_a_socks_proxy(
    scheme: str, asked: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SocksProxy({asked: origin.port}) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        result = get(f"http://localhost:{origin.port}/film.mp4", tmp_path, connections=4)
    assert result.path.read_bytes() == DATA
    assert set(proxy.asked) == {asked}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_socks_proxy_with_a_login(scheme: str, tmp_path: Path) -> None:
    tls = SERVER_TLS if scheme == "https" else None
    login = ("a@nn", "s3:cret")
    with Origin(FILM, tls=tls) as origin, SocksProxy({"localhost": origin.port}, login=login) as p:
        get(
            f"{scheme}://localhost/film.mp4",
            tmp_path,
            proxy=f"socks5h://a%40nn:s3:cret@127.0.0.1:{p.port}",
            ssl_context=CLIENT_TLS,
        )
    assert origin.requests


def test_two_socks_proxies_do_not_share_connections(origin: Origin, tmp_path: Path) -> None:
    names = {"film.example": origin.port}
    with SocksProxy(names) as first, SocksProxy(names) as second:
        for number, port in enumerate((first.port, second.port, first.port)):
            get(
                "http://film.example/film.mp4",
                tmp_path / str(number),
                proxy=f"socks5h://127.0.0.1:{port}",
            )
    assert first.asked
    assert second.asked


def test_a_socks_proxy_that_refuses_the_login(tmp_path: Path) -> None:
    with SocksProxy({}, login=("bob", "1")) as proxy:
        for user_info, says in (
            ("", "check proxy=…: whether it needs a user name, and its scheme"),
            ("ann:s3cret@", "check proxy=…: its user name and password, and its scheme"),
        ):
            url = f"socks5h://{user_info}127.0.0.1:{proxy.port}"
            sentence = failed("http://film.example/", tmp_path, TransportError, proxy=url)
            shown = f"the proxy socks5h://127.0.0.1:{proxy.port} of proxy=…"
            assert f"{shown} did not accept the connection; nothing was kept; {says}" in sentence


@pytest.mark.parametrize(
    ("scheme", "reply", "says", "retry"),
    [
        ("socks5h", 2, "does not allow this connection", ONCE),
        ("socks5h", 8, "refuses this connection (code 8)", ONCE),
        ("socks5h", 4, "does not reach the host", QUICK),
        ("socks5h", 5, "reports that the host refused the connection", QUICK),
        ("socks4a", 91, "could not connect to the host", QUICK),
        ("socks4a", 93, "refuses this connection (code 93)", ONCE),
    ],
)
def test_a_reply_of_a_socks_proxy(
    scheme: str, reply: int, says: str, retry: RetryPolicy, tmp_path: Path
) -> None:
    with SocksProxy({}, reply=reply) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        sentence = failed(
            "http://film.example/f.mp4", tmp_path, TransportError, proxy=url, retry=retry
        )
    assert f"the proxy {url} of proxy=… {says}" in sentence
    assert len(proxy.asked) == (1 if retry is ONCE else 2)


def test_a_socks_proxy_that_is_not_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socks5://127.0.0.1:{server.getsockname()[1]}"
    sentence = failed("http://127.0.0.1/", tmp_path, TransportError, proxy=url, retry=QUICK)
    assert f"the proxy {url} of proxy=… cannot be reached (Connection refused)" in sentence
    url = "socks5://proxy.invalid:1080"
    sentence = failed("http://127.0.0.1/", tmp_path, TransportError, proxy=url, retry=QUICK)
    assert f"the name of the proxy {url} of proxy=… could not be resolved" in sentence


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_a_socks_proxy_that_speaks_http(scheme: str, tmp_path: Path) -> None:
    with HttpProxy({}) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        sentence = failed("http://film.example/", tmp_path, TransportError, proxy=url)
    assert f"the proxy {url} of proxy=… did not accept the connection" in sentence


def test_a_silent_socks_proxy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socks5h://127.0.0.1:{server.getsockname()[1]}"
        sentence = failed(
            "http://a.example/", tmp_path, TransferError, proxy=url, retry=QUICK, idle_timeout_s=0.2
        )
    assert f"nothing arrived for 0.2 s, through the proxy {url} of proxy=…" in sentence


def test_the_name_of_a_host_that_is_not_resolved_with_socks5(tmp_path: Path) -> None:
    with SocksProxy({}) as proxy:
        url = f"socks5://127.0.0.1:{proxy.port}"
        sentence = failed("http://film.invalid/", tmp_path, TransportError, proxy=url, retry=QUICK)
    assert "the name film.invalid could not be resolved" in sentence
    assert not proxy.asked


def test_the_certificate_of_an_origin_behind_socks(secure: Origin, tmp_path: Path) -> None:
    with SocksProxy({"localhost": secure.port}) as proxy:
        url = f"socks5h://127.0.0.1:{proxy.port}"
        sentence = failed("https://localhost/", tmp_path, TransportError, proxy=url)
    assert "the certificate of localhost is of an authority that is not trusted" in sentence


def test_without_its_package_a_socks_proxy_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.setenv("all_proxy", "socks5://ann:s3cret@127.0.0.1:9")
    with pytest.raises(MissingExtra, match=r"pip install 'vidnb\[socks\]'") as caught:
        get("http://film.example/f.mp4", tmp_path, retry=ONCE)
    assert caught.value.extra == "socks"
    shown = "proxy socks5://127.0.0.1:9 of the environment's all_proxy needs"
    assert shown in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_save_video_from_url_logs_the_missing_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.setenv("all_proxy", "socks5://ann:s3cret@127.0.0.1:9")
    saved = asyncio.run(save_video_from_url("http://film.example/", tmp_path / "film.mp4"))
    assert saved is None
    assert "pip install 'vidnb[socks]'" in caplog.text


# Logins.


def guarded(login: bytes, challenge: str = 'Basic realm="films"') -> Handler:
    """Require a login."""

    def handle(exchange: Exchange) -> None:
        sent = exchange.request.headers.get("authorization")
        if sent == f"Basic {base64.b64encode(login).decode()}":
            honest(exchange)
        else:
            status(401, {"WWW-Authenticate": challenge})(exchange)

    return handle


def write_netrc(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / ".netrc"
    path.write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("NETRC")


@pytest.mark.parametrize(
    ("user", "password"),
    [("ann", "s3cret"), ("\u0141ukasz", "\u65e5\u672c"), ("ann@corp", "a:b/c d"), ("ann", "")],
)
def test_auth_is_sent_as_utf8(user: str, password: str, origin: Origin, tmp_path: Path) -> None:
    origin.otherwise = guarded(f"{user}:{password}".encode())
    assert get(origin.url, tmp_path, auth=(user, password)).path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("written", "login"),
    [
        ("ann:s3cret", b"ann:s3cret"),
        ("ann%40corp:s3%2Fc%3Aret", b"ann@corp:s3/c:ret"),
        ("\u0141ukasz:\u65e5", "\u0141ukasz:\u65e5".encode()),
        ("ann:%E9", b"ann:\xe9"),
    ],
)
def test_the_login_in_a_url_is_decoded_and_in_no_name(
    written: str, login: bytes, origin: Origin, tmp_path: Path
) -> None:
    origin.otherwise = guarded(login)
    url = origin.url.replace("://", f"://{written}@")
    request = DownloadRequest.of(url, tmp_path, check_video=False, retry=QUICK)
    result = fetch(request)
    assert (result.path.name, result.url) == ("film.mp4", origin.url)
    assert written not in f"{result!r}"


def test_the_netrc_file_is_read_for_each_host(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_netrc(tmp_path, "machine 127.0.0.1 login ann password s3cret\n", monkeypatch)
    origin.otherwise = guarded(b"ann:s3cret")
    assert get(origin.url, tmp_path).path.read_bytes() == DATA


def test_a_variable_names_the_netrc_file(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logins").write_text("default login ann password s3cret\n")
    (tmp_path / "logins").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "logins"))
    origin.otherwise = guarded(b"ann:s3cret")
    assert get(origin.url, tmp_path).path.read_bytes() == DATA


def test_the_netrc_file_is_read_once_and_off_the_loop(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[str] = []

    def read(environment: dict[str, str]) -> Netrc:
        readers.append(threading.current_thread().name)
        return Netrc({"127.0.0.1": ("ann", "s3cret")})

    monkeypatch.setattr(task, "read_netrc", read)
    origin.script = [reset(100_000), status(503)]
    get(origin.url, tmp_path, retry=RetryPolicy(base_delay_s=0.01))
    assert len(origin.requests) == 3
    assert {request.headers["authorization"] for request in origin.requests} == {
        basic("ann", "s3cret")
    }
    assert len(readers) == 1
    assert "worker" in readers[0]


def test_a_callers_session_is_not_given_the_login_of_the_netrc_file(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_netrc(tmp_path, "default login ann password s3cret\n", monkeypatch)

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            request = DownloadRequest.of(
                origin.url, tmp_path / "film.mp4", session=session, check_video=False
            )
            await download(request, DownloadHandle())

    asyncio.run(main())
    assert "authorization" not in origin.requests[0].headers


@pytest.mark.parametrize(
    ("options", "user_info", "expected"),
    [
        ({"headers": {"Authorization": "Bearer T"}}, "", "Bearer T"),
        ({"headers": {"authorization": "Bearer T"}}, "", "Bearer T"),
        ({"auth": ("bob", "1")}, "", basic("bob", "1")),
        ({}, "bob:1@", basic("bob", "1")),
        ({}, "", basic("ann", "s3cret")),
    ],
)
def test_what_is_passed_comes_before_the_netrc_file(
    options: dict[str, Any],
    user_info: str,
    expected: str,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_netrc(tmp_path, "machine 127.0.0.1 login ann password s3cret\n", monkeypatch)
    get(origin.url.replace("://", f"://{user_info}"), tmp_path, **options)
    assert origin.requests[0].headers["authorization"] == expected


def test_a_malformed_netrc_file_does_not_stop_a_download(
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_netrc(tmp_path, "machine 127.0.0.1 pasword s3cret\n", monkeypatch)
    get(origin.url, tmp_path)
    assert "is malformed at line" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_redirect_target_is_sent_its_own_entry_only(
    origin: Origin, secure: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "machine 127.0.0.1 login first password s3cret\n"
    entries += "machine localhost login second password s3cret\n"
    write_netrc(tmp_path, entries, monkeypatch)
    origin.otherwise = redirect(f"https://localhost:{secure.port}/film.mp4")
    get(origin.url, tmp_path, ssl_context=CLIENT_TLS)
    assert origin.requests[0].headers["authorization"] == basic("first", "s3cret")
    assert secure.requests[0].headers["authorization"] == basic("second", "s3cret")


@pytest.mark.parametrize("source", ["auth", "url", "netrc", "default", "headers"])
def test_a_redirect_target_is_not_sent_the_first_login(
    source: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    user_info = ""
    if source == "auth":
        options["auth"] = ("ann", "s3cret")
    elif source == "url":
        user_info = "ann:s3cret@"
    elif source == "headers":
        options["headers"] = {"Authorization": basic("ann", "s3cret")}
    else:
        machine = "default" if source == "default" else "machine 127.0.0.1"
        write_netrc(tmp_path, f"{machine} login ann password s3cret\n", monkeypatch)
    with Origin(FILM, otherwise=redirect(f"http://localhost:{origin.port}/film.mp4")) as first:
        get(first.url.replace("://", f"://{user_info}"), tmp_path, **options)
    assert first.requests[0].headers["authorization"] == basic("ann", "s3cret")
    assert "authorization" not in origin.requests[0].headers


@pytest.mark.parametrize(
    ("options", "challenge", "says"),
    [
        ({}, "Basic realm=x", "no login was sent: pass auth=(user, password), or add its host"),
        ({}, "", "no login was sent: pass auth="),
        ({"auth": ("ann", "s3cret")}, "Basic", "the login of auth=… was refused: check it"),
        ({"headers": {"Authorization": "s3cret"}}, "Basic", "the login of headers=… was refused"),
        ({}, 'Digest realm="x"', "only a Digest login is accepted there: pass session=…"),
        ({"auth": ("ann", "s3cret")}, "Bearer", "only a token is accepted there"),
    ],
)
def test_a_401_says_what_was_sent_and_what_to_do(
    options: dict[str, Any], challenge: str, says: str, origin: Origin, tmp_path: Path
) -> None:
    origin.otherwise = status(401, {"WWW-Authenticate": challenge} if challenge else {})
    sentence = failed(origin.url, tmp_path, StatusError, **options)
    assert f"{origin.url} answered 401 Unauthorized; nothing was kept; {says}" in sentence


def test_a_401_to_the_login_of_the_url_or_the_netrc_file(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.otherwise = status(401)
    url = origin.url.replace("://", "://ann:s3cret@")
    assert "the login of the URL was refused" in failed(url, tmp_path, StatusError)
    write_netrc(tmp_path, "default login ann password s3cret\n", monkeypatch)
    sentence = failed(origin.url, tmp_path, StatusError)
    assert "the login of the netrc file was refused" in sentence


def test_a_403_names_the_login_that_was_sent(origin: Origin, tmp_path: Path) -> None:
    origin.otherwise = status(403)
    assert "check the address; no login was sent" in failed(origin.url, tmp_path, StatusError)
    sentence = failed(origin.url, tmp_path, StatusError, auth=("ann", "s3cret"))
    assert "the login of auth=… does not give access" in sentence


def test_no_secret_is_shown_or_logged(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"auth": ("ann", "s3cret"), "proxy": "http://bob:s3cret@p:1"}
    request = DownloadRequest.of(origin.url, tmp_path, **options)
    assert "s3cret" not in f"{request!r} {request}"
    get(origin.url, tmp_path, auth=("ann", "s3cret"))
    shown = caplog.text + "".join(str(path) for path in tmp_path.rglob("*"))
    assert "s3cret" not in shown
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cret" not in stored.replace(DATA, b"")


# The tests' own environment.


def test_tests_use_neither_the_proxy_nor_the_netrc_file_of_this_machine() -> None:
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    assert not {*names, *map(str.upper, names)} & set(os.environ)
    assert os.environ["NETRC"] == os.devnull
