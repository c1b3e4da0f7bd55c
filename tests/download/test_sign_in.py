"""Sign-in and cookies: what a download sends to whom, and for how long."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import vidnb
from tests.download.test_faults import DATA, FILM, QUICK, check, refused, request_for, resolves_to
from tests.origin import Exchange, Handler, Origin, fetch, honest, redirect, status
from vidnb.download.request import DownloadRequest
from vidnb.errors import StatusError, URLNotAllowed

COOKIES = "# Netscape HTTP Cookie File\n"


def wall(*fields: str, name: str = "ok", location: str | None = None) -> Handler:
    """Redirect back to the same URL with Set-Cookie `fields` until the cookie `name` comes."""

    def handle(exchange: Exchange) -> None:
        if f"{name}=" in exchange.request.headers.get("cookie", ""):
            honest(exchange)
        else:
            exchange.head(
                302,
                [
                    ("Content-Length", "0"),
                    ("Location", location or exchange.request.target),
                    *(("Set-Cookie", field) for field in fields),
                ],
            )

    return handle


def cookies_of(origin: Origin) -> list[str | None]:
    return [request.headers.get("cookie") for request in origin.requests]


def at(origin: Origin, host: str, path: str = "/film.mp4") -> str:
    return f"http://{host}:{origin.port}{path}"


def ask(url: str, folder: Path, **options: Any) -> DownloadRequest:
    return DownloadRequest.of(url, folder / "film.mp4", retry=QUICK, connections=1, **options)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("ok=1", "ok=1"),
        ("ok=1; Path=/; HttpOnly; SameSite=Strict; Max-Age=60", "ok=1"),
        ('ok="a b"; Expires=Fri, 01 Jan 2100 00:00:00 GMT', 'ok="a b"'),
        ("ok=a=b==; Domain=127.0.0.1", "ok=a=b=="),
        ("ok=; Path=", "ok="),
    ],
)
def test_a_redirect_that_sets_a_cookie_and_comes_back_is_no_loop(
    field: str, sent: str, tmp_path: Path
) -> None:
    with Origin(FILM, otherwise=wall(field)) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert cookies_of(origin) == [None, sent]
        agents = {request.headers["user-agent"] for request in origin.requests}
        assert agents == {"vidnb (+aiohttp)"}


def test_each_cookie_of_a_response_is_kept(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=wall("a=1", "ok=2; Path=/", "c=3")) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert set(str(cookies_of(origin)[1]).split("; ")) == {"a=1", "ok=2", "c=3"}


@pytest.mark.parametrize(
    "field",
    [
        "ok=1; Path=/elsewhere",
        "ok=1; Secure",
        "ok=1; Domain=other.example",
        "ok=1; Max-Age=0",
        "ok=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "",
    ],
)
def test_a_cookie_that_is_not_for_this_url_leaves_a_loop(field: str, tmp_path: Path) -> None:
    with Origin(FILM, otherwise=wall(field)) as origin:
        assert "redirect loop" in str(refused(origin, tmp_path, URLNotAllowed))
        assert cookies_of(origin) == [None] * 2


def test_a_new_cookie_with_each_redirect_ends_at_the_limit(tmp_path: Path) -> None:
    def endless(exchange: Exchange) -> None:
        wall(f"count={len(exchange.origin.requests)}")(exchange)

    with Origin(FILM, otherwise=endless) as origin:
        assert "redirect number 21" in str(refused(origin, tmp_path, URLNotAllowed))
        assert cookies_of(origin)[:3] == [None, "count=1", "count=2"]
        assert len(origin.requests) == 21


def test_a_sign_in_on_another_host_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host below a common domain signs in; another site gets none of the cookies."""
    resolves_to(monkeypatch, [(socket.AF_INET, "127.0.0.1")])
    with Origin(FILM) as origin:
        film = at(origin, "films.archive.example")
        origin.script = [
            redirect(at(origin, "login.archive.example", "/sso")),
            wall("ok=1; Domain=.archive.example; Path=/", "own=2; Path=/", location=film),
            redirect(at(origin, "cdn.other.example")),
        ]
        check(fetch(ask(film, tmp_path)))
        assert cookies_of(origin) == [None, None, "ok=1", None]


@pytest.mark.parametrize("domain", ["example", "co.uk", "films.example.evil.example"])
def test_a_cookie_never_goes_to_another_site(
    domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(monkeypatch, [(socket.AF_INET, "127.0.0.1")])
    suffix = "co.uk" if domain == "co.uk" else "example"
    with Origin(FILM) as origin:
        there = at(origin, f"other.{suffix}")
        origin.script = [wall(f"ok=1; Domain={domain}; Path=/", location=there)]
        check(fetch(ask(at(origin, f"films.{suffix}"), tmp_path)))
        assert cookies_of(origin) == [None, None]


def test_cookies_are_sent_with_each_later_request(tmp_path: Path) -> None:
    cut_once: list[Handler] = [wall("ok=1"), lambda exchange: exchange.reset()]
    with Origin(FILM, cut_once, otherwise=wall("never=1")) as origin:
        check(fetch(request_for(origin, tmp_path)))
        assert cookies_of(origin) == [None, "ok=1", "ok=1"]


def test_cookies_end_with_their_download(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=wall("ok=1")) as origin:
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir()
            check(fetch(request_for(origin, folder)))
        assert cookies_of(origin) == [None, "ok=1"] * 2


# Cookies of the caller.


def test_a_mapping_is_sent_to_the_origin_of_the_url_only(tmp_path: Path) -> None:
    """Another port of the host is another origin; on the way back they are sent again."""
    with Origin(FILM) as here, Origin(FILM, otherwise=redirect(here.base + "/back")) as there:
        here.script = [redirect(there.url)]
        check(fetch(request_for(here, tmp_path, cookies={"session": "s3cret", "b[c]": "2"})))
        assert cookies_of(here) == ["session=s3cret; b[c]=2"] * 2
        assert cookies_of(there) == [None]


def test_a_response_replaces_a_cookie_of_the_caller(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=wall("session=new", name="session=new; a=1; ok")) as origin:
        origin.script = [wall("session=new; Path=/"), honest]
        check(
            fetch(
                request_for(
                    origin,
                    tmp_path,
                    cookies={"session": "old"},
                    headers={"Cookie": "a=1;session=x"},
                )
            )
        )
        assert cookies_of(origin) == ["a=1; session=old", "a=1; session=new"]


def test_a_response_deletes_a_cookie_of_the_caller(tmp_path: Path) -> None:
    with Origin(FILM, [wall("session=; Max-Age=0")]) as origin:
        check(fetch(request_for(origin, tmp_path, cookies={"session": "old"})))
        assert cookies_of(origin) == ["session=old", None]


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("films.example\tFALSE\t/\tFALSE\t0\tok\t1", ["ok=1", None]),
        (".films.example\tTRUE\t/\tFALSE\t0\tok\t1", ["ok=1", "ok=1"]),
        ('#HttpOnly_films.example\tTRUE\t/film.mp4\tFALSE\t4102444800\tok[a]\t"x y"', None),
        ("films.example\tTRUE\t/\tTRUE\t0\tok\t1", [None, None]),
        ("films.example\tTRUE\t/other\tFALSE\t0\tok\t1", [None, None]),
        ("films.example\tTRUE\t/\tFALSE\t1\tok\t1", [None, None]),
        ("other.example\tTRUE\t/\tFALSE\t0\tok\t1", [None, None]),
    ],
)
def test_a_cookie_file_is_sent_where_its_lines_say(
    line: str, sent: list[str | None] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(monkeypatch, [(socket.AF_INET, "127.0.0.1")])
    file = tmp_path / "cookies.txt"
    file.write_text(COOKIES + line + "\n")
    folder = tmp_path / "films"
    folder.mkdir()
    with Origin(FILM) as origin:
        origin.script = [redirect(at(origin, "cdn.films.example"))]
        check(fetch(ask(at(origin, "films.example"), folder, cookies=file)))
        assert cookies_of(origin) == (sent or ['ok[a]="x y"'] * 2)


def test_a_cookie_file_works_for_a_host_without_a_dot(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text("localhost\tFALSE\t/\tFALSE\t0\tok\t1\n127.0.0.1\tFALSE\t/\tFALSE\t0\tip\t2\n")
    for number, (host, sent) in enumerate([("localhost", "ok=1"), ("127.0.0.1", "ip=2")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Origin(FILM) as origin:
            check(fetch(ask(at(origin, host), folder, cookies=str(file))))
            assert cookies_of(origin) == [sent]


def test_a_cookie_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cookies.txt").write_text("films.example\tFALSE\t/\tFALSE\t0\tok\t1\n")
    (cookie,) = ask("http://films.example/", tmp_path, cookies="~/cookies.txt").cookies
    assert cookie.name == "ok"


def no_file(folder: Path) -> Path:
    return folder / "cookies.txt"


def as_json(folder: Path) -> Path:
    no_file(folder).write_text('[{"name": "session", "value": "s3cret"}]')
    return no_file(folder)


def as_utf_16(folder: Path) -> Path:
    no_file(folder).write_text("films.example\tFALSE\t/\tFALSE\t0\tok\ts3cret", "utf-16")
    return no_file(folder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_file, "there is no such file"),
        (lambda folder: folder, "it is a folder"),
        (lambda folder: folder / "a\0b", "no file name can"),
        (as_json, "line 1 is not a line of a Netscape cookie file; export it again"),
        (as_utf_16, "it is not UTF-8"),
    ],
)
def test_a_cookie_file_that_cannot_be_read_is_one_sentence(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        ask("http://films.example/", tmp_path, cookies=make(tmp_path))
    assert str(caught.value).startswith("cookies: the file ")
    assert "s3cret" not in str(caught.value)


def test_a_cookie_file_is_read_before_a_download_on_an_event_loop(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text("127.0.0.1\tFALSE\t/\tFALSE\t0\tok\t1\n")

    async def main(url: str) -> vidnb.DownloadResult:
        return await vidnb.download_async(url, tmp_path / "film.mp4", cookies=file, progress=False)

    with Origin(FILM) as origin:
        assert asyncio.run(main(origin.url)).path.read_bytes() == DATA
        assert cookies_of(origin)[0] == "ok=1"


# A session of the caller, and credentials.


def test_a_session_of_the_caller_passes_a_wall_with_its_own_cookies(tmp_path: Path) -> None:
    async def main(url: str) -> vidnb.DownloadResult:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, cookies={"own": "1"}) as session:
            path = tmp_path / "film.mp4"
            return await vidnb.download_async(url, path, session=session, progress=False)

    with Origin(FILM, otherwise=wall("ok=1")) as origin:
        assert asyncio.run(main(origin.url)).path.read_bytes() == DATA
        assert cookies_of(origin)[:2] == ["own=1", "ok=1; own=1"]


def test_a_session_of_the_caller_without_cookies_stays_without(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            with pytest.raises(URLNotAllowed, match="redirect loop"):
                await vidnb.download_async(url, tmp_path / "f", session=session, progress=False)

    with Origin(FILM, otherwise=wall("ok=1")) as origin:
        asyncio.run(main(origin.url))
        assert cookies_of(origin) == [None, None]


def test_the_proxy_of_a_download_gets_its_requests(tmp_path: Path) -> None:
    with Origin(FILM) as proxy:
        url = "http://films.example/film.mp4"
        check(fetch(ask(url, tmp_path, proxy=proxy.base)))
        assert [request.target for request in proxy.requests] == [url]


def test_auth_is_sent_to_the_origin_of_the_url_only(tmp_path: Path) -> None:
    with Origin(FILM) as there, Origin(FILM, otherwise=redirect(there.url)) as here:
        check(fetch(request_for(here, tmp_path, auth=("ümläut€", "p:w"))))
        sent = here.requests[0].headers["authorization"]
        assert sent == "Basic w7xtbMOkdXTigqw6cDp3"
        assert "authorization" not in there.requests[0].headers


def test_auth_that_is_refused_is_an_error_without_it(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=status(401, {"Set-Cookie": "s3cret=1"})) as origin:
        error = refused(origin, tmp_path, StatusError, auth=("user", "s3cret"))
        assert "s3cret" not in str(error)


def test_the_user_agent_of_the_caller_is_its_own_and_ours_goes_elsewhere(tmp_path: Path) -> None:
    with Origin(FILM) as there, Origin(FILM) as here:
        here.script = [redirect("/again"), redirect(there.url)]
        check(fetch(request_for(here, tmp_path, headers={"User-Agent": "theirs/1"})))
        assert [r.headers["user-agent"] for r in here.requests] == ["theirs/1"] * 2
        assert there.requests[0].headers["user-agent"] == "vidnb (+aiohttp)"
