"""The download options: signatures, help texts, types and checks of the three functions."""

import asyncio
import inspect
import pydoc
import ssl
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import vidnb
from tests.origin import Film, Origin, fetch, noise
from vidnb.download.options import DownloadOptions
from vidnb.download.request import DownloadRequest

URL = "http://127.0.0.1:9/film.mp4"
FUNCTIONS = [vidnb.download, vidnb.download_async, vidnb.start_download]


def make(**options: Any) -> DownloadRequest:
    return DownloadRequest.of(URL, "a.mp4", **options)


def test_the_three_functions_have_the_same_parameters() -> None:
    first, *others = (inspect.signature(function).parameters for function in FUNCTIONS)
    assert list(first) == ["url", "path", *DownloadOptions.__annotations__]
    assert all(list(other.items()) == list(first.items()) for other in others)
    annotations = {str(p.annotation) for p in first.values()}
    assert "str | None" in annotations
    assert not any("Annotated" in each for each in annotations)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_help_shows_every_option_with_its_default_and_its_text(function: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(function))
    assert "idle_timeout_s: float = 30.0" in text
    for name in ("path", *DownloadOptions.__annotations__):
        assert f"\n        {name}: " in text


def test_an_option_that_is_not_given_has_the_default_of_the_signature() -> None:
    signature = inspect.signature(vidnb.download)
    defaults = {name: p.default for name, p in signature.parameters.items() if p.default != p.empty}
    assert make(**{name: value for name, value in defaults.items() if name != "path"}) == make()


def test_an_unknown_option_is_named_by_function_and_by_mypy() -> None:
    """Under mypy strict an `ignore` that hides no error is an error itself."""
    with pytest.raises(TypeError, match="'checksm' is not a download option; there are: checksum,"):
        vidnb.download(URL, checksm="md5:0")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'checksm'"):
        asyncio.run(vidnb.download_async(URL, checksm="md5:0"))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'checksm'"):
        vidnb.start_download(URL, checksm="md5:0")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="max_bytes='5' must be an integer of at least 1"):
        vidnb.download(URL, max_bytes="5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("verify", "vidnb always verifies certificates: pass ssl_context=… with the certificates"),
        ("verify_ssl", "pass ssl_context=… with the certificates to trust"),
        ("ssl", "pass ssl_context=…"),
        ("cert", "load_cert_chain"),
        ("proxies", "pass proxy=…"),
        ("timeout", "pass idle_timeout_s=…"),
    ],
)
def test_an_option_of_another_program_is_answered_by_ours(name: str, instead: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is not a download option; .*{instead}"):
        make(**{name: False})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *(("max_bytes", value, "an integer of at least 1") for value in ("5", b"5", 5.0, True, 0)),
        *(("connections", value, "an integer of at least 1") for value in (b"2", [2], False, -1)),
        *(
            ("idle_timeout_s", value, "a number of seconds above 0")
            for value in ("3", b"3", True, float("nan"), 0, -1.0, None)
        ),
        ("checksum", b"md5:0", "checksum must be a str such as 'sha256:…', not bytes"),
        ("checksum", 5, "checksum must be a str"),
        ("retry", 3, "retry must be a vidnb.RetryPolicy, not int"),
        ("headers", [("Cookie", "secret")], "headers must be a mapping of names to values, not li"),
        ("progress", "no", "progress must be True, False, None or a function, not str"),
        ("progress", 0, "progress must be True, False, None or a function, not int"),
        ("proxy", 3128, "proxy must be a str such as 'http://proxy.example.org:3128', not int"),
        ("auth", ["user", "s3cret"], "auth must be a tuple of user name and password, not list"),
        ("auth", ("user", None), "auth must be a tuple of user name and password, both str"),
        ("cookies", 5, "cookies must be a mapping of names to values or the path of a file"),
        ("cookies", {"s3cret": 5}, "name and value of cookie 1 must be str, not str and int"),
        ("ssl_context", False, "ssl_context must be an ssl.SSLContext, not bool"),
        ("if_exists", ["error"], "must be 'refresh', 'overwrite' or 'error'"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(**{name: value})
    assert name in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", [b"http://example.org/a.mp4", None, Path("a.mp4"), 5])
def test_a_url_that_is_not_text_is_one_sentence(url: Any) -> None:
    with pytest.raises(ValueError, match="url must be a str such as"):
        DownloadRequest.of(url)


@pytest.mark.parametrize("path", [b"a.mp4", 5, ["a.mp4"]])
def test_a_path_that_is_not_text_is_one_sentence(path: Any) -> None:
    with pytest.raises(ValueError, match="path must be a str or a path object, not"):
        DownloadRequest.of(URL, path)
    assert asyncio.run(vidnb.save_video_from_url(URL, path)) is None
    assert vidnb.get_video_data(path) is None
    with pytest.raises(ValueError, match="source must be a URL, a path or a DownloadResult, not"):
        vidnb.open(path)


class Index:
    """An integer that is no `int`, as those of numpy."""

    def __index__(self) -> int:
        return 7


def test_numbers_of_other_types_become_int_and_float() -> None:
    """As numpy's: they have `__index__`, and are registered as `numbers.Real`."""
    request = make(max_bytes=Index(), connections=Index(), idle_timeout_s=Fraction(3, 2))
    assert request == make(max_bytes=7, connections=7, idle_timeout_s=1.5)
    assert {type(request.max_bytes), type(request.connections)} == {int}
    assert type(make(idle_timeout_s=2).idle_timeout_s) is float


@pytest.mark.parametrize(
    ("path", "file"),
    [("~/videos/", "videos/film.mp4"), ("~/b.mp4", "b.mp4"), (Path("~/c.mp4"), "c.mp4")],
)
def test_a_tilde_is_the_home_folder(
    path: str | Path, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    film = noise(1000)
    with Origin(Film(film)) as origin:
        assert fetch(DownloadRequest.of(origin.url, path)).path == home / file
        assert vidnb.download(origin.url, "~/0.mp4", progress=False).path == home / "0.mp4"
        saved = asyncio.run(vidnb.save_video_from_url(origin.url, "~/1.mp4"))
    assert saved == home / "1.mp4"
    assert vidnb.get_video_data("~/0.mp4") == film
    with vidnb.open("~/1.mp4") as opened:
        assert opened.read() == film
    assert list(here.iterdir()) == []


def test_a_tilde_without_such_a_user_is_a_name(tmp_path: Path) -> None:
    name = "~nobody-of-this-name/a.mp4"
    assert DownloadRequest.of(URL, name).target == Path(name).absolute()


# Proxy, credentials, cookies and certificates.


SECRETS: dict[str, Any] = {
    "proxy": "http://user:s3cret@proxy.example:3128",
    "auth": ("user", "s3cret"),
    "cookies": {"session": "s3cret"},
    "headers": {"X-Token": "s3cret"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_in_no_repr_and_tells_two_requests_apart(name: str) -> None:
    request = make(**{name: SECRETS[name]})
    assert "s3cret" not in repr(request)
    assert request == make(**{name: SECRETS[name]})
    assert hash(request) == hash(make(**{name: SECRETS[name]}))
    assert request != make()


def test_requests_with_different_certificates_are_not_joined() -> None:
    context = ssl.create_default_context()
    assert make(ssl_context=context) == make(ssl_context=context)
    assert make(ssl_context=context) != make(ssl_context=ssl.create_default_context())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth": ("us:er", "s3cret")}, "auth has a colon in the user name"),
        ({"auth": ("user", "s3cret\r\nX: 1")}, "or a control character"),
        (
            {"auth": ("user", "s3cret"), "headers": {"authorization": "x"}},
            "headers has Authori",
        ),
        ({"cookies": {"a": "s3cret;b=1"}}, "cookie 1 has a character"),
        ({"cookies": {"ok": "1", "s3cret=": "1"}}, "cookie 2 has a character"),
        ({"cookies": {"a": "s3cret\r\nX: 1"}}, "percent-encode it"),
        ({"proxy": "http://user:s3cret@"}, "proxy=… is not a usable proxy: it has no host"),
        ({"proxy": "s3cret host"}, "write it as http://host:port"),
        ({"proxy": "socks6://user:s3cret@proxy:1"}, "its scheme is not http, https, socks5"),
        ({"proxy": "socks5://user:s3cr\u00e9t@proxy:1"}, "characters of ASCII"),
        ({"proxy": "http://p:1", "public_only": True}, "cannot check those of proxy=…"),
    ],
)
def test_settings_that_cannot_be_sent_are_one_sentence_without_secrets(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(**options)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).count(".\n") == 0


def test_auth_beside_a_user_in_the_url_is_refused() -> None:
    with pytest.raises(ValueError, match="the URL has a user name, too; remove one") as caught:
        DownloadRequest.of("http://u:s3cret@127.0.0.1:9/a.mp4", auth=("user", "s3cret"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["proxy", "auth", "cookies", "ssl_context"])
def test_a_session_has_its_own_settings(name: str) -> None:
    value = ssl.create_default_context() if name == "ssl_context" else SECRETS[name]

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(ValueError, match=f"{name}=… is for vidnb's own connections"):
                make(session=session, **{name: value})
            make(session=session, **{name: None})

    asyncio.run(main())
