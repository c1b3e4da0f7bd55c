"""Which proxy a URL is requested through, and how the URL of a proxy is read."""

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.errors import URLNotAllowed
from vidnb.http.proxies import (
    Proxy,
    is_excluded,
    is_own_server,
    names_proxy,
    parse_proxy,
    proxy_for,
)

# Which variable.

P, Q = "http://p.example:1", "http://q.example:2"


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("http://a.example/", {}, None),
        ("http://a.example/", {"http_proxy": P}, P),
        ("https://a.example/", {"http_proxy": P}, None),
        ("https://a.example/", {"https_proxy": P}, P),
        ("https://a.example/", {"HTTPS_PROXY": P}, P),
        ("http://a.example/", {"https_proxy": P}, None),
        ("http://a.example/", {"http_proxy": P, "HTTP_PROXY": Q}, P),
        ("http://a.example/", {"http_proxy": "", "HTTP_PROXY": Q}, None),
        ("http://a.example/", {"HTTP_PROXY": Q}, Q),
        ("http://a.example/", {"HTTP_PROXY": Q, "REQUEST_METHOD": "GET"}, None),
        ("http://a.example/", {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        ("https://a.example/", {"HTTPS_PROXY": Q, "REQUEST_METHOD": "GET"}, Q),
        ("http://a.example/", {"all_proxy": P}, P),
        ("https://a.example/", {"ALL_PROXY": P}, P),
        ("https://a.example/", {"all_proxy": P, "ALL_PROXY": Q}, P),
        ("https://a.example/", {"all_proxy": P, "https_proxy": Q}, Q),
        ("https://a.example/", {"all_proxy": P, "http_proxy": Q}, P),
        ("https://a.example/", {"all_proxy": P, "https_proxy": ""}, P),
        ("https://a.example/", {"https_proxy": "  ", "all_proxy": f" {P}\n"}, P),
        ("https://a.example/", {"ftp_proxy": P}, None),
        ("https://a.example/", {"https_proxy": P, "no_proxy": "a.example"}, None),
        ("https://a.example/", {"all_proxy": P, "NO_PROXY": "a.example"}, None),
        ("https://a.example/", {"all_proxy": P, "no_proxy": "", "NO_PROXY": "a.example"}, P),
        ("https://a.example/", {"all_proxy": P, "no_proxy": "b.example", "NO_PROXY": "*"}, P),
        ("https://a.example/", {"all_proxy": "malformed:", "no_proxy": "*"}, None),
    ],
)
def test_the_variable_that_applies(
    url: str, environment: dict[str, str], expected: str | None
) -> None:
    found = proxy_for(url, environment)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_variable_that_applies_is_named(name: str) -> None:
    found = proxy_for("http://a.example/", {name: P})
    assert found is not None
    assert found.setting == f"the environment's {name}"
    with pytest.raises(ValueError, match=f"the environment's {name} is not a usable proxy: "):
        proxy_for("http://a.example/", {name: "http://p:x"})


def test_an_invalid_url_is_its_own_error() -> None:
    with pytest.raises(URLNotAllowed):
        proxy_for("film.mp4", {"all_proxy": P})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8123/TOKEN/film.mp4", True),
        ("http://localhost:8123/TOKEN/film.mp4", True),
        ("http://[::1]:8123/TOKEN/film.mp4", True),
        ("http://127.0.0.1:8124/TOKEN/film.mp4", False),
        ("http://film.example:8123/film.mp4", False),
        ("http://10.0.0.1:8123/film.mp4", False),
    ],
)
def test_whether_a_url_is_one_of_the_own_server(url: str, expected: bool) -> None:
    assert is_own_server(url, {8123}) is expected
    assert not is_own_server(url, ())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"no_proxy": "a", "ftp_proxy": P}, False),
        ({"http_proxy": ""}, False),
        ({"HTTPS_PROXY": P}, True),
        ({"all_proxy": P}, True),
        ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, False),
    ],
)
def test_whether_any_variable_names_a_proxy(environment: dict[str, str], expected: bool) -> None:
    assert names_proxy(environment) is expected


# no_proxy.


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        # Every URL.
        ("http://a.example/", "*", True),
        ("http://10.0.0.1/", "b.example, *", True),
        ("http://a.example/", "", False),
        ("http://a.example/", " ,, ,", False),
        # Names.
        ("http://a.example/", "a.example", True),
        ("http://www.a.example/", "a.example", True),
        ("http://a.example/", ".a.example", True),
        ("http://www.a.example/", ".a.example", True),
        ("http://a.example/", "*.a.example", True),
        ("http://www.a.example/", "*.a.example", True),
        ("http://nota.example/", "a.example", False),
        ("http://a.example.org/", "a.example", False),
        ("http://a.example/", "www.a.example", False),
        ("http://a.example/", "A.Example", True),
        ("http://A.EXAMPLE/", "a.example", True),
        ("http://a.example./", "a.example", True),
        ("http://a.example/", "a.example.", True),
        ("http://a.example/", ".", False),
        ("http://a.example/", "*.", False),
        ("http://a.example/", "b.example,a.example", True),
        ("http://a.example/", "b.example a.example", True),
        ("http://a.example/", "b.example\t,\n a.example ", True),
        ("http://b\u00fccher.example/", "b\u00fccher.example", True),
        ("http://xn--bcher-kva.example/", "B\u00dcCHER.example", True),
        ("http://www.b\u00fccher.example/", ".xn--bcher-kva.example", True),
        ("http://a.example/", "b\u00fc cher\u2603.example", False),
        ("http://localhost/", "localhost", True),
        ("http://localhost/", "127.0.0.1", False),
        ("http://127.0.0.1/", "localhost", False),
        # Ports.
        ("http://a.example:8080/", "a.example:8080", True),
        ("http://a.example:8081/", "a.example:8080", False),
        ("http://a.example/", "a.example:80", True),
        ("https://a.example/", "a.example:443", True),
        ("https://a.example/", "a.example:80", False),
        ("http://www.a.example:8080/", ".a.example:8080", True),
        ("http://a.example:8080/", "a.example:08080", True),
        ("http://a.example:8080/", "a.example:", True),
        ("http://a.example:8080/", ":8080", False),
        ("http://10.0.0.1:8080/", "10.0.0.1:8080", True),
        ("http://10.0.0.1:8081/", "10.0.0.1:8080", False),
        ("http://10.0.0.1:8080/", "10.0.0.0/8:8080", True),
        ("http://[::1]:8080/", "[::1]:8080", True),
        ("http://[::1]:8081/", "[::1]:8080", False),
        # Addresses.
        ("http://10.0.0.1/", "10.0.0.1", True),
        ("http://10.0.0.1/", "0.0.1", False),
        ("http://10.0.0.1/", ".0.0.1", False),
        ("http://10.0.0.11/", "10.0.0.1", False),
        ("http://[::1]/", "::1", True),
        ("http://[::1]/", "[::1]", True),
        ("http://[0:0::1]/", "::0001", True),
        ("http://[::1]/", "::2", False),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1", True),
        ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1", True),
        ("http://[::ffff:10.0.0.1]/", "10.1.0.1", False),
        # Ranges.
        ("http://10.20.30.40/", "10.0.0.0/8", True),
        ("http://11.0.0.1/", "10.0.0.0/8", False),
        ("http://10.20.30.40/", "10.20.30.0/24", True),
        ("http://10.20.30.40/", "10.20.30.41/24", True),
        ("http://10.20.31.40/", "10.20.30.0/24", False),
        ("http://192.168.1.1/", "10.0.0.0/8,192.168.0.0/16", True),
        ("http://[fd00::1]/", "fd00::/8", True),
        ("http://[fe80::1]/", "fd00::/8", False),
        ("http://[fd00::1]/", "[fd00::]/8", True),
        ("http://[fd00::1]:81/", "[fd00::]/8:80", False),
        ("http://10.0.0.1/", "::/0", False),
        ("http://[::1]/", "0.0.0.0/0", False),
        ("http://ten.example/", "0.0.0.0/0", False),
        ("http://10.0.0.1/", "10.0.0.0/33", False),
        ("http://10.0.0.1/", "10.0.0.0/x,10.0.0.1", True),
    ],
)
def test_no_proxy(url: str, no_proxy: str, expected: bool) -> None:
    assert is_excluded(url, no_proxy) is expected


@pytest.mark.parametrize("url", ["http://localhost/", "http://127.0.0.1/", "http://[::1]/"])
def test_loopback_is_excluded_only_if_it_is_listed(url: str) -> None:
    assert proxy_for(url, {"all_proxy": P, "no_proxy": "a.example"}) is not None
    assert proxy_for(url, {"all_proxy": P, "no_proxy": "localhost,127.0.0.1,::1"}) is None


@given(st.text())
def test_no_text_in_no_proxy_is_an_error(no_proxy: str) -> None:
    for url in ("http://a.example:81/", "http://10.0.0.1/", "http://[fd00::1]/"):
        assert is_excluded(url, no_proxy) in {True, False}


# URLs of proxies.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy:80"),
        ("http://proxy:3128/", "http://proxy:3128"),
        ("HTTP://Proxy:3128/path?x", "http://proxy:3128"),
        ("http://proxy:", "http://proxy:80"),
        (" http://proxy:3128\r\n", "http://proxy:3128"),
        ("https://proxy", "https://proxy:443"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://[FD00:0::1]", "http://[fd00::1]:80"),
        ("http://b\u00fccher.example:80", "http://xn--bcher-kva.example:80"),
        ("http://proxy_1.corp:3128", "http://proxy_1.corp:3128"),
        ("http://proxy:0003128", "http://proxy:3128"),
        ("socks5://proxy", "socks5://proxy:1080"),
        ("socks5h://proxy:9050", "socks5h://proxy:9050"),
        ("socks4://proxy", "socks4://proxy:1080"),
        ("socks4a://proxy", "socks4a://proxy:1080"),
        ("socks://proxy:1081", "socks5h://proxy:1081"),
    ],
)
def test_the_url_of_a_proxy(value: str, shown: str) -> None:
    proxy = parse_proxy(value, "x")
    assert (str(proxy), proxy.credentials, proxy.authorization) == (shown, None, None)


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        ("http://user:secret@proxy:1", ("user", "secret")),
        ("user:secret@proxy:1", ("user", "secret")),
        ("http://user@proxy:1", ("user", "")),
        ("http://:secret@proxy:1", ("", "secret")),
        ("http://@proxy:1", None),
        ("http://:@proxy:1", None),
        ("http://user:a%3Ab%40c%2Fd@proxy:1", ("user", "a:b@c/d")),
        ("http://user:a:b@proxy:1", ("user", "a:b")),
        ("http://user@corp:secret@proxy:1", ("user@corp", "secret")),
        ("http://user:100%@proxy:1", ("user", "100%")),
        ("http://\u0118dward:\u0104cki1@proxy:1", ("\u0118dward", "\u0104cki1")),
        ("http://%C4%98dward:%C4%84cki1@proxy:1", ("\u0118dward", "\u0104cki1")),
        ("http://user:%E4@proxy:1", ("user", "\udce4")),
        ("http://user:\udce4@proxy:1", ("user", "\udce4")),
        ("socks5://user:secret@proxy:1", ("user", "secret")),
        ("socks5h://user:a%3Ab@proxy:1", ("user", "a:b")),
    ],
)
def test_the_credentials_of_a_proxy(value: str, credentials: tuple[str, str] | None) -> None:
    proxy = parse_proxy(value, "x")
    assert (proxy.credentials, proxy.host, proxy.port) == (credentials, "proxy", 1)
    for shown in (str(proxy), repr(proxy)):
        assert not any(part and part in shown.replace("proxy", "") for part in credentials or ())


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("http://user:secret@proxy", b"user:secret"),
        ("http://\u0141ukasz:\u65e5\u672c@proxy", "\u0141ukasz:\u65e5\u672c".encode()),
        ("http://user:%E4@proxy", b"user:\xe4"),
        ("http://user:\udce4@proxy", b"user:\xe4"),
    ],
)
def test_credentials_are_sent_as_utf8_or_as_the_bytes_given(value: str, sent: bytes) -> None:
    authorization = parse_proxy(value, "x").authorization
    assert authorization == f"Basic {base64.b64encode(sent).decode()}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("http://", "it has no host"),
        ("http://:3128", "it has no host"),
        ("http://user:s3cret@", "it has no host"),
        ("http://user:s3cret@:3128", "it has no host"),
        ("http://proxy:port", "its host or port is malformed"),
        ("proxy:3128:user:s3cret", "its host or port is malformed"),
        ("http://fd00::1:3128", "its host or port is malformed"),
        ("http://[fd00::1", "its host or port is malformed"),
        ("http://[s3cret]:1", "its host is malformed"),
        ("http://-proxy:1", "its host is malformed"),
        ("http://10.0.0.256:1", "its host is malformed"),
        ("http://proxy:0", "its port is not one of 1 to 65535"),
        ("http://proxy:65536", "its port is not one of 1 to 65535"),
        ("http://proxy:99999999999999999999", "its port is not one of 1 to 65535"),
        ("http://pro xy:1", "it has white space or a control character"),
        ("http://user:s3c ret@proxy:1", "it has white space or a control character"),
        ("http://proxy\x00:1", "it has white space or a control character"),
        ("http://user:s3/cret@proxy:1", "has a character that must be encoded"),
        ("http://user:1/s3cret@proxy:1", "has a character that must be encoded"),
        ("http://user:s3#cret@proxy:1", "has a character that must be encoded"),
        ("http://user:s3?cret@proxy:1", "has a character that must be encoded"),
        ("http://user:s3\\cret@proxy:1", "has a character that must be encoded"),
        ("ftp://proxy:21", "its scheme is not http"),
        ("socks6://proxy:1", "its scheme is not http"),
        ("s3cret://proxy:1", "its scheme is not http"),
        ("http://us%3Aer:s3cret@proxy:1", "its user name has a colon"),
        ("socks5://user:s3cr\u00e9t@proxy:1", "must have 1 to 255 characters of ASCII"),
        ("socks5://user@proxy:1", "must have 1 to 255 characters of ASCII"),
        ("socks5://:s3cret@proxy:1", "must have 1 to 255 characters of ASCII"),
        (f"socks5://user:{'s3cret' * 50}@proxy:1", "must have 1 to 255 characters of ASCII"),
    ],
)
def test_a_malformed_proxy_is_refused_without_showing_it(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^the environment's https_proxy is") as error:
        parse_proxy(value, "the environment's https_proxy")
    text = str(error.value)
    assert reason in text
    assert "s3" not in text
    assert text.count("\n") == 0
    assert str(pickle.loads(pickle.dumps(error.value))) == text  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("scheme", "is_socks", "resolves"),
    [
        ("http", False, False),
        ("https", False, False),
        ("socks4", True, False),
        ("socks4a", True, True),
        ("socks5", True, False),
        ("socks5h", True, True),
        ("socks", True, True),
    ],
)
def test_the_kind_of_a_proxy(scheme: str, is_socks: bool, resolves: bool) -> None:
    proxy = parse_proxy(f"{scheme}://proxy", "x")
    assert (proxy.is_socks, proxy.resolves_names) == (is_socks, resolves)


@pytest.mark.parametrize(
    ("value", "url", "expected"),
    [
        ("http://p", "http://a.example/", True),
        ("https://p", "http://a.example/", True),
        ("http://p", "https://a.example/", False),
        ("socks5h://p", "http://a.example/", False),
    ],
)
def test_whether_a_proxy_answers_for_an_origin(value: str, url: str, expected: bool) -> None:
    assert parse_proxy(value, "x").answers_for(url) is expected


def test_two_settings_of_one_proxy_are_equal() -> None:
    first, second = (parse_proxy("http://u:p@proxy:1", setting) for setting in "ab")
    assert first == second
    assert first != parse_proxy("http://u:q@proxy:1", "a")
    assert first != Proxy("http", "proxy", 1)


@given(st.text())
def test_any_value_is_a_proxy_or_a_value_error(value: str) -> None:
    try:
        proxy = parse_proxy(value, "x")
    except ValueError:
        return
    assert proxy.host
    assert 0 < proxy.port <= 65535
