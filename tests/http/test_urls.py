import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.errors import URLNotAllowed
from vidnb.http.urls import (
    MAX_REDIRECTS,
    check_url,
    clean_url,
    is_public_address,
    next_redirect,
    origin,
    quotable,
    redact,
    without_credentials,
)


@pytest.mark.parametrize(
    "pasted",
    [
        "https://h.org/a.mp4",
        " https://h.org/a.mp4\n",
        "\t\r\nhttps://h.org/a.mp4\u2028",
        "\xa0https://h.org/a.mp4\u202f\u3000",
        "\ufeffhttps://h.org/a.mp4\u200b\u200d",
        "\u2060\u200ehttps://h.org/a.mp4\u202c\xad",
        '"https://h.org/a.mp4"',
        "'https://h.org/a.mp4'",
        "`https://h.org/a.mp4`",
        " <https://h.org/a.mp4> ",
        "\u201chttps://h.org/a.mp4 \u201d",
        "\u2018https://h.org/a.mp4\u2019",
        "\xabhttps://h.org/a.mp4\xbb",
    ],
)
def test_what_pasting_leaves_around_a_url_is_removed(pasted: str) -> None:
    assert clean_url(pasted) == "https://h.org/a.mp4"
    assert check_url(pasted) == "https://h.org/a.mp4"
    assert origin(pasted) == ("https", "h.org", 443)
    assert without_credentials(pasted) == "https://h.org/a.mp4"


@pytest.mark.parametrize(
    "text", ["", " ", '"', "''", "<>", "<a", "a>", "\u201ca\u2018", "(a)", "a b"]
)
def test_only_a_pair_of_delimiters_is_removed(text: str) -> None:
    assert clean_url(text) == {" ": "", "''": "", "<>": ""}.get(text, text)


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        pytest.param("https://h.org/a.mp4", "https://h.org/a.mp4", id="normal"),
        pytest.param("HTTP://H.Org/A.mp4", "http://h.org/A.mp4", id="case"),
        pytest.param("https://h.org", "https://h.org/", id="no-path"),
        pytest.param("https://h.org?x=1", "https://h.org/?x=1", id="query-without-path"),
        pytest.param("https://h.org/a?x=1#t=10", "https://h.org/a?x=1", id="fragment"),
        pytest.param("https://h.org#t=10", "https://h.org/", id="fragment-only"),
        pytest.param("https://h.org:443/", "https://h.org/", id="default-port-https"),
        pytest.param("http://h.org:80/", "http://h.org/", id="default-port-http"),
        pytest.param("http://h.org:443/", "http://h.org:443/", id="other-scheme's-port"),
        pytest.param("http://h.org:/", "http://h.org/", id="empty-port"),
        pytest.param("http://h.org:65535/", "http://h.org:65535/", id="largest-port"),
        pytest.param("http://h.org:1/", "http://h.org:1/", id="smallest-port"),
        pytest.param("http://h.org:00080/", "http://h.org/", id="port-with-zeros"),
        pytest.param("https://u:p@h.org/", "https://u:p@h.org/", id="user"),
        pytest.param("https://@h.org/", "https://@h.org/", id="empty-user"),
        pytest.param("https://ü@h.org/", "https://%C3%BC@h.org/", id="user-encoded"),
        pytest.param("https://h.org/@me/a", "https://h.org/@me/a", id="at-in-the-path"),
        pytest.param("https://h.org/café?ü", "https://h.org/caf%C3%A9?%C3%BC", id="encoded"),
        pytest.param("https://h.org/\udce9", "https://h.org/%E9", id="undecodable-byte"),
        pytest.param('https://h.org/"<>^`{|}', "https://h.org/%22%3C%3E%5E%60%7B%7C%7D", id="odd"),
        pytest.param(
            "https://h.org/%2F%zz;a=~!$&'()*+,=:@[0]?/?x[]=1",
            "https://h.org/%2F%zz;a=~!$&'()*+,=:@[0]?/?x[]=1",
            id="unchanged",
        ),
        pytest.param("http://my_host-1/", "http://my_host-1/", id="one-label"),
        pytest.param("http://h.org./", "http://h.org./", id="root-dot"),
        pytest.param("http://Bücher.example/", "http://xn--bcher-kva.example/", id="idn"),
        pytest.param("http://faß.de/", "http://xn--fa-hia.de/", id="idna-2008"),
        pytest.param("http://\uff45x.\u4e2d\u3002org/", "http://ex.xn--fiq.org/", id="full-width"),
        pytest.param("http://日本｡jp/", "http://xn--wgv71a.jp/", id="half-width-stop"),
        pytest.param("http://हिन्दी.in/", "http://xn--j2bd4cyah0f.in/", id="marks"),
        pytest.param("http://ü-1.org/", "http://xn---1-wka.org/", id="idn-with-hyphen"),
        pytest.param("http://127.0.0.1:8000/", "http://127.0.0.1:8000/", id="ipv4"),
        pytest.param("http://127.0.0.1./", "http://127.0.0.1/", id="ipv4-root-dot"),
        pytest.param("http://1.2.3.4.org/", "http://1.2.3.4.org/", id="name-of-numbers"),
        pytest.param("http://[::1]:8000/", "http://[::1]:8000/", id="ipv6"),
        pytest.param("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/", id="ipv6-shortened"),
        pytest.param(f"http://{'a' * 63}.org/", f"http://{'a' * 63}.org/", id="longest-label"),
        pytest.param(
            f"http://{'a.' * 126}a./", f"http://{'a.' * 126}a./", id="longest-host-and-root-dot"
        ),
    ],
)
def test_an_allowed_url_is_normalised(url: str, checked: str) -> None:
    assert check_url(url) == checked
    assert check_url(checked) == checked


NO_HTTP = "and vidnb fetches only from http and https."
NO_SCHEME = "has no scheme; write it with https:// or http:// in front."
NO_SPACE = "has white space or a control character; percent-encode it."
NO_BACKSLASH = "has a backslash, which some programs read as a slash."
BAD_HOST = "has a host that is malformed."
BAD_AUTHORITY = "has a host or a port that is malformed."
BAD_PORT = "names a port outside 1 to 65535."
TOO_LONG = "has a host of more than 253 characters."
CHECK = "check its spelling."  # the general remedy


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        pytest.param("", "The URL is empty; pass one.", id="empty"),
        pytest.param("ftp://h/a", f"The URL ftp://h/a begins with ftp:, {NO_HTTP}", id="ftp"),
        pytest.param(
            "FILE:///etc/passwd",
            f"The URL FILE:///etc/passwd begins with file:, {NO_HTTP}",
            id="file",
        ),
        pytest.param(
            "javascript:alert(1)",
            f"The URL javascript:alert(1) begins with javascript:, {NO_HTTP}",
            id="javascript",
        ),
        pytest.param("h.org/a.mp4", f"The URL h.org/a.mp4 {NO_SCHEME}", id="no-scheme"),
        pytest.param("h:80/a", f"The URL h:80/a {NO_SCHEME}", id="no-scheme-but-a-port"),
        pytest.param("h:8/a", f"The URL h:8/a {NO_SCHEME}", id="no-scheme-but-a-digit"),
        pytest.param("//h.org/a", f"The URL //h.org/a {NO_SCHEME}", id="scheme-relative"),
        pytest.param("https:", "The URL https: names no host.", id="scheme-alone"),
        pytest.param("https:h.org", "The URL https:h.org names no host.", id="no-slashes"),
        pytest.param("https:/h.org", "The URL https:/h.org names no host.", id="one-slash"),
        pytest.param("https:///a", "The URL https:///a names no host.", id="three-slashes"),
        pytest.param("https://?x", "The URL https://?… names no host.", id="only-a-query"),
        pytest.param("https://u@/a", "The URL https:///a names no host.", id="only-a-user"),
        pytest.param("https://:80/a", "The URL https://:80/a names no host.", id="only-a-port"),
        pytest.param("https://./a", "The URL https://./a names no host.", id="only-the-root"),
        pytest.param("https://h/a b", f"The URL https://h/a b {NO_SPACE}", id="space"),
        pytest.param(
            "https://h/ https://h/", f"The URL https://h/ https://h/ {NO_SPACE}", id="two"
        ),
        pytest.param("https://h/a\nb", f"The URL https://h/a\ufffdb {NO_SPACE}", id="newline"),
        pytest.param("https://h/\x7f", f"The URL https://h/\ufffd {NO_SPACE}", id="delete"),
        pytest.param("https://h/a\xa0b", f"The URL https://h/a\ufffdb {NO_SPACE}", id="nbsp"),
        pytest.param("https://h/\ud800", f"The URL https://h/\ufffd {NO_SPACE}", id="surrogate"),
        pytest.param("https://h/\udd00", f"The URL https://h/\ufffd {NO_SPACE}", id="no-byte"),
        pytest.param("https://h\\@g/", f"The URL https://h\\@g/ {NO_BACKSLASH}", id="backslash"),
        pytest.param("https://h:a/", f"The URL https://h:a/ {BAD_AUTHORITY}", id="port-word"),
        pytest.param("https://h:-1/", f"The URL https://h:-1/ {BAD_AUTHORITY}", id="port-sign"),
        pytest.param(
            "https://h:\u0661/", f"The URL https://h:\u0661/ {BAD_AUTHORITY}", id="port-digits"
        ),
        pytest.param("https://a@b@h/", f"The URL https://h/ {BAD_AUTHORITY}", id="two-users"),
        pytest.param("https://h:0/", f"The URL https://h:0/ {BAD_PORT}", id="port-0"),
        pytest.param("https://h:65536/", f"The URL https://h:65536/ {BAD_PORT}", id="port-big"),
        pytest.param("https://h:000080/", f"The URL https://h:000080/ {BAD_PORT}", id="port-long"),
        pytest.param("https://a..b/", f"The URL https://a..b/ {BAD_HOST}", id="empty-label"),
        pytest.param("https://a!b/", f"The URL https://a!b/ {BAD_HOST}", id="odd-character"),
        pytest.param("https://%61/", f"The URL https://%61/ {BAD_HOST}", id="encoded-host"),
        pytest.param("https://-a/", f"The URL https://-a/ {BAD_HOST}", id="hyphen-first"),
        pytest.param("https://a-/", f"The URL https://a-/ {BAD_HOST}", id="hyphen-last"),
        pytest.param("https://℀.org/", f"The URL https://℀.org/ {BAD_HOST}", id="folds-to-slash"),
        pytest.param("https://☃.org/", f"The URL https://☃.org/ {BAD_HOST}", id="a-symbol"),
        pytest.param(
            f"https://{'a' * 64}/", f"The URL https://{'a' * 64}/ {BAD_HOST}", id="long-label"
        ),
        pytest.param(
            f"https://{'ü' * 60}/", f"The URL https://{'ü' * 60}/ {BAD_HOST}", id="long-idn"
        ),
        pytest.param(
            f"https://{'a.' * 126}aa/", f"The URL https://{'a.' * 126}aa/ {TOO_LONG}", id="long"
        ),
        pytest.param(
            f"https://{'a.' * 126}aaa/",
            f"The URL https://{'a.' * 126}aaa/ {TOO_LONG}",
            id="longer",
        ),
        pytest.param(
            f"https://{'ü.' * 100}org/",
            f"The URL https://{'ü.' * 100}org/ {TOO_LONG}",
            id="long-only-in-ascii",
        ),
        pytest.param(
            "http://[::1/",
            f"The URL http://[::1/ {BAD_AUTHORITY}",
            id="ipv6-unclosed",
        ),
        pytest.param(
            "http://[h.org]/",
            "The URL http://[h.org]/ names an IPv6 address that is malformed.",
            id="ipv6-none",
        ),
        pytest.param(
            "http://[v1.a]/",
            "The URL http://[v1.a]/ names an IPv6 address that is malformed.",
            id="ip-future",
        ),
        pytest.param(
            "http://[fe80::1%25eth0]/",
            "The URL http://[fe80::1%25eth0]/ names an address that is valid on one network"
            " interface only.",
            id="ipv6-scope",
        ),
        *(
            pytest.param(
                f"http://{host}/",
                f"The URL http://{host}/ names an IPv4 address that is malformed.",
                id=f"ipv4-{host}",
            )
            for host in ("2130706433", "127.1", "0177.0.0.1", "1.2.3.256", "0x7f.1", "a.0x", "a.1")
        ),
    ],
)
def test_a_url_that_is_not_allowed_raises_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(URLNotAllowed) as caught:
        check_url(url)
    has_remedy = ";" in sentence
    assert str(caught.value) == (sentence if has_remedy else f"{sentence[:-1]}; {CHECK}")
    assert caught.value.url == url


def test_a_very_long_host_is_rejected_before_normalisation() -> None:
    """NFKC of this many combining marks would take hours."""
    with pytest.raises(URLNotAllowed, match="has a host of more than 253 characters"):
        check_url("https://a" + "\u0301\u0327" * 50_000)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.org/a?b#c", ("https", "h.org", 443)),
        ("http://H.ORG", ("http", "h.org", 80)),
        ("http://u:p@h.org:8080/", ("http", "h.org", 8080)),
        ("http://[0:0::1]/", ("http", "::1", 80)),
        ("https://BÜCHER.example:443", ("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_the_origin(url: str, expected: tuple[str, str, int]) -> None:
    assert origin(url) == expected


def test_a_url_that_is_not_allowed_has_no_origin() -> None:
    with pytest.raises(URLNotAllowed):
        origin("file:///a")


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        pytest.param("https://h/a.mp4", "https://h/a.mp4", id="no-secret"),
        pytest.param("https://u:p@h/a", "https://h/a", id="user"),
        pytest.param("https://h/a?token=1", "https://h/a?…", id="query"),
        pytest.param("https://h/a?", "https://h/a?…", id="empty-query"),
        pytest.param("https://h/a#secret", "https://h/a", id="fragment"),
        pytest.param("https://h/a#b?c", "https://h/a", id="no-query-in-a-fragment"),
        pytest.param("https://h/@me/a", "https://h/@me/a", id="at-in-the-path"),
        pytest.param("https://h:80/@me", "https://h:80/@me", id="at-in-the-path-behind-a-port"),
        pytest.param("https://h/a?u@b", "https://h/a?…", id="at-in-the-query"),
        pytest.param("https://u:p@q@h/", "https://h/", id="at-in-the-password"),
        pytest.param("https://u:p/w@h/a", "https://h/a", id="slash-in-the-password"),
        pytest.param("https://u:p#w@h/a", "https://h/a", id="hash-in-the-password"),
        pytest.param("https://u:p?w@h/a", "https://h/a", id="question-in-the-password"),
        pytest.param("https://u:p\\w@h/a", "https://h/a", id="backslash-in-the-password"),
        pytest.param("u:p@h/a", "h/a", id="no-scheme"),
        pytest.param("https:u:p@h/a", "h/a", id="no-slashes"),
        pytest.param("https:/u:p@h/a", "h/a", id="one-slash"),
        pytest.param("https:\\\\u:p@h/a", "h/a", id="backslashes"),
        pytest.param("u:p@h/?to=https://g/", "h/?…", id="scheme-in-the-query"),
        pytest.param("u:p@h/to/https://g/", "h/to/https://g/", id="scheme-in-the-path"),
        pytest.param(
            "https://h/\x1b[31m\n\u202e", "https://h/\ufffd[31m\ufffd\ufffd", id="terminal"
        ),
        pytest.param("", "", id="empty"),
        pytest.param("https://h/" + "a" * 288, "https://h/" + "a" * 288, id="just-fits"),
        pytest.param("https://h/" + "a" * 289, "https://h/" + "a" * 287 + "…", id="too-long"),
        pytest.param(
            "https://h/" + "a" * 999 + "?q", "https://h/" + "a" * 287 + "…?…", id="too-long-query"
        ),
    ],
)
def test_redaction_removes_secrets(url: str, redacted: str) -> None:
    assert redact(url) == redacted
    assert len(redacted) <= 300


QUOTED_URL = "https://alice:pa%24word@h/a/b.mp4?token=s3cret+9&n=1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Sign in", "Sign in", id="words"),
        pytest.param("  404 \n Not\tfound ", "404 Not found", id="white-space"),
        pytest.param("Log in / Sign up: 100 % free", "Log in / Sign up: 100 % free", id="marks"),
        pytest.param("Accès refusé · 禁止", "Accès refusé · 禁止", id="other-scripts"),
        pytest.param("a\x1b[31m\u202eb", "a\ufffd[31m\ufffdb", id="terminal"),
        pytest.param("Why?", "Why?", id="question"),
        pytest.param("n is 1", "n is 1", id="short-value"),
        pytest.param("", "", id="empty"),
        pytest.param("No such object: https://h/a", "", id="url"),
        pytest.param("Cannot GET /a?k=v", "", id="query"),
        pytest.param("signature=x is expired", "", id="assignment"),
        pytest.param("welcome me@example.org", "", id="address"),
        pytest.param("bad escape %2Fx", "", id="escape"),
        pytest.param("No key " + "a" * 31, "", id="token"),
        pytest.param("No key " + "a" * 30, "No key " + "a" * 30, id="long-word"),
        pytest.param("user alice unknown", "", id="user"),
        pytest.param("wrong pa$word given", "", id="password"),
        pytest.param("s3cret+9 is no token", "", id="value"),
    ],
)
def test_text_of_an_origin_is_quoted_without_secrets(text: str, shown: str) -> None:
    assert quotable(text, QUOTED_URL) == shown


@pytest.mark.parametrize("url", ["", "h/a", "https://h/", "https://h?", "https://h/?&=", "@"])
def test_text_is_quoted_for_a_url_without_secrets(url: str) -> None:
    assert quotable("Sign in", url) == "Sign in"


HEADERS = {"Authorization": "Bearer x", "X-Custom": "y"}
SOURCE = "https://u:p@h.org/a/b?q"


@pytest.mark.parametrize(
    ("url", "location", "target", "is_same_origin"),
    [
        pytest.param(SOURCE, "c", "https://u:p@h.org/a/c", True, id="relative"),
        pytest.param(SOURCE, "XcX", "https://u:p@h.org/a/XcX", True, id="relative-capitals"),
        pytest.param(SOURCE, "../c", "https://u:p@h.org/c", True, id="parent"),
        pytest.param(SOURCE, "/c", "https://u:p@h.org/c", True, id="path"),
        pytest.param(SOURCE, "?r", "https://u:p@h.org/a/b?r", True, id="query"),
        pytest.param(SOURCE, "#f", SOURCE, True, id="fragment-removed"),
        pytest.param(SOURCE, "//h.org/c", "https://u:p@h.org/c", True, id="scheme-relative"),
        pytest.param(SOURCE, "https://H.org:443/c", "https://u:p@h.org/c", True, id="same-origin"),
        pytest.param(SOURCE, "https://v@h.org/c", "https://v@h.org/c", True, id="other-user"),
        pytest.param(
            SOURCE, " \t/my film.mp4\t ", "https://u:p@h.org/my%20film.mp4", True, id="space"
        ),
        pytest.param(SOURCE, "/\udce9", "https://u:p@h.org/%E9", True, id="undecodable"),
        pytest.param(SOURCE, "https://g.org/c", "https://g.org/c", False, id="other-host"),
        pytest.param(SOURCE, "https://a.h.org/", "https://a.h.org/", False, id="subdomain"),
        pytest.param(SOURCE, "https://h.org:444/", "https://h.org:444/", False, id="other-port"),
        pytest.param("http://u@h.org/", "https://h.org/", "https://h.org/", False, id="upgrade"),
        pytest.param("http://h.org/", "http://g.org/", "http://g.org/", False, id="plain"),
    ],
)
def test_a_redirect_passes_the_headers_to_the_same_origin_only(
    url: str, location: str, target: str, is_same_origin: bool
) -> None:
    assert next_redirect(url, location, HEADERS, [(url, "")], no_cookies) == (
        target,
        HEADERS if is_same_origin else {},
    )


def no_cookies(url: str) -> str:
    return ""


def test_the_headers_are_a_copy() -> None:
    _, headers = next_redirect(SOURCE, "/c", HEADERS, [(SOURCE, "")], no_cookies)
    assert headers is not HEADERS


WHAT = "The redirect from https://h.org/a/b?… was not followed:"
REMEDY = "open the URL in a browser to see what it requires."


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        pytest.param("", "its Location is empty.", id="empty"),
        pytest.param(" ", "its Location is empty.", id="blank"),
        pytest.param(
            "file:///etc/passwd",
            f"The URL file:///etc/passwd begins with file:, {NO_HTTP}",
            id="file",
        ),
        pytest.param(
            "ftp://h.org/a", f"The URL ftp://h.org/a begins with ftp:, {NO_HTTP}", id="ftp"
        ),
        pytest.param(
            "javascript:alert(1)",
            f"The URL javascript:alert(1) begins with javascript:, {NO_HTTP}",
            id="javascript",
        ),
        pytest.param("/a\r\nb", f"The URL /a\ufffd\ufffdb {NO_SPACE}", id="line-break"),
        pytest.param("\\\\g.org/", f"The URL \\\\g.org/ {NO_BACKSLASH}", id="backslash"),
        pytest.param("//[g", f"The URL https://[g {BAD_AUTHORITY}", id="bracket"),
        pytest.param("//℀.org", f"The URL https://℀.org {BAD_HOST}", id="folds-to-slash"),
        pytest.param("///g.org", "The URL https:///g.org names no host.", id="three-slashes"),
        pytest.param("https:g.org", "The URL https:g.org names no host.", id="no-slashes"),
        pytest.param("https:///", "The URL https:/// names no host.", id="no-host"),
        pytest.param(
            "http://u@h.org/c?d",
            "it leads from https to http://h.org/c?…, which is not encrypted.",
            id="downgrade",
        ),
    ],
)
def test_a_redirect_that_is_not_followed(location: str, reason: str) -> None:
    with pytest.raises(URLNotAllowed) as caught:
        next_redirect(SOURCE, location, HEADERS, [(SOURCE, "")], no_cookies)
    reason = reason.removesuffix(".").partition(";")[0]  # with the remedy for a redirect instead
    assert str(caught.value) == f"{WHAT} {reason}; {REMEDY}"
    assert caught.value.url == SOURCE


def test_a_url_may_be_requested_twice_but_not_three_times() -> None:
    """Some servers keep what happened on their side and redirect back to the first URL."""
    other = "https://u:p@h.org/c"
    seen = [(SOURCE, ""), (other, "")]
    assert next_redirect(other, SOURCE, {}, seen, no_cookies) == (SOURCE, {})
    with pytest.raises(URLNotAllowed) as caught:
        next_redirect(other, SOURCE, {}, seen * 2, no_cookies)
    assert str(caught.value).endswith(f"was not followed: it is a redirect loop; {REMEDY}")


def test_a_url_with_other_cookies_is_no_loop() -> None:
    seen = [(SOURCE, ""), (SOURCE, "a=1"), (SOURCE, "a=1")]
    assert next_redirect(SOURCE, SOURCE, {}, seen, lambda url: "a=2") == (SOURCE, {})
    assert next_redirect(SOURCE, SOURCE, {}, seen, lambda url: "") == (SOURCE, {})
    with pytest.raises(URLNotAllowed, match="it is a redirect loop"):
        next_redirect(SOURCE, SOURCE, {}, seen, lambda url: "a=1")


def test_a_new_cookie_each_time_ends_at_the_limit() -> None:
    seen = [(SOURCE, str(n)) for n in range(MAX_REDIRECTS)]
    assert next_redirect(SOURCE, SOURCE, {}, seen, lambda url: "x") == (SOURCE, {})
    seen.append((SOURCE, "x"))
    with pytest.raises(URLNotAllowed, match="it is redirect number 21"):
        next_redirect(SOURCE, SOURCE, {}, seen, lambda url: "y")


def test_twenty_redirects_are_followed_but_not_more() -> None:
    url, seen = "https://h.org/0", [("https://h.org/0", "")]
    for n in range(1, MAX_REDIRECTS + 1):
        url = next_redirect(url, f"/{n}", {}, seen, no_cookies)[0]
        seen.append((url, ""))
    assert url == "https://h.org/20"
    with pytest.raises(URLNotAllowed) as caught:
        next_redirect(url, "/21", {}, seen, no_cookies)
    assert str(caught.value) == (
        f"The redirect from https://h.org/20 was not followed: it is redirect number 21,"
        f" and the limit is 20; {REMEDY}"
    )
    followed = next_redirect(url, "/21", {}, seen, no_cookies, max_redirects=21)
    assert followed == ("https://h.org/21", {})


@pytest.mark.parametrize(
    "ip",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:200::1",
        "2a00:1450::1",
        pytest.param("::ffff:1.1.1.1", id="mapped"),
        pytest.param("2002:101:101::1", id="6to4"),
        pytest.param("64:ff9b::1.1.1.1", id="nat64"),
        pytest.param("64:ff9b::168.63.129.17", id="nat64-to-the-last-bit"),
        pytest.param("2001:0:101:101::fefe:fefe", id="teredo"),
    ],
)
def test_a_public_address(ip: str) -> None:
    assert is_public_address(ip)


@pytest.mark.parametrize(
    "ip",
    [
        pytest.param(str(IPv4Address(0)), id="this-host"),
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:2::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "100::1",
        "64:ff9b:1::1",
        pytest.param("::127.0.0.1", id="ipv4-compatible"),
        pytest.param("::ffff:0:1.1.1.1", id="ipv4-translated"),
        pytest.param("::ffff:127.0.0.1", id="mapped"),
        pytest.param("::ffff:169.254.169.254", id="mapped-metadata"),
        pytest.param("2002:7f00:1::1", id="6to4"),
        pytest.param("64:ff9b::10.0.0.1", id="nat64"),
        pytest.param("2001:0:101:101::80ff:fffe", id="teredo-client"),
        pytest.param("2001:0:a00:1::fefe:fefe", id="teredo-server"),
        pytest.param("2606:4700:4700::1111%eth0", id="public-with-scope"),
        pytest.param("::ffff:1.1.1.1%1", id="mapped-with-scope"),
        "",
        "h.org",
        "127.1",
        "0177.0.0.1",
        "[::1]",
        "1.1.1.1 ",
    ],
)
def test_an_address_that_is_not_public(ip: str) -> None:
    assert not is_public_address(ip)


@given(st.integers(0, 2**128 - 1))
def test_every_public_address_is_global_in_the_standard_library(number: int) -> None:
    address = IPv6Address(number)
    if is_public_address(str(address)) and not (address.sixtofour or address.teredo):
        assert address.is_global


urls = (
    st.text(max_size=60)
    | st.text("https:/@[]?#.%\\ aü0\u3002", max_size=60)
    | st.builds(
        "{}://{}{}".format, st.sampled_from(["http", "https"]), st.text(max_size=30), st.text()
    )
)


@given(urls)
def test_a_normalised_url_is_ascii_and_stable(url: str) -> None:
    try:
        checked = check_url(url)
    except URLNotAllowed:
        return
    assert re.fullmatch(r"https?://[!-~]+", checked)
    assert not set(checked) & set('\\"<>^`{|}#')
    assert check_url(checked) == checked
    parts = urlsplit(checked)
    scheme, host, port = origin(url)
    assert (parts.scheme, parts.hostname) == (scheme, host)
    assert (parts.port or {"http": 80, "https": 443}[scheme]) == port


@given(
    st.text("pw:/?#[]\\ü%", min_size=1, max_size=12), st.sampled_from(["https://", "ftp://", ""])
)
def test_a_password_is_never_shown(rest: str, scheme: str) -> None:
    assert "SECRET" not in redact(f"{scheme}user:SECRET{rest}@h.org/a.mp4")


@given(urls, urls, st.lists(urls, max_size=3))
def test_a_redirect_is_followed_or_not_allowed(url: str, location: str, seen: list[str]) -> None:
    try:
        requests = [(each, "") for each in seen]
        target, headers = next_redirect(url, location, HEADERS, requests, no_cookies)
    except URLNotAllowed:
        return
    assert check_url(target) == target
    assert headers == (HEADERS if origin(target) == origin(url) else {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:secret@example.org/a.mp4?v=1#t=3", "https://example.org/a.mp4?v=1"),
        ("HTTPS://example.org:443/a.mp4", "https://example.org/a.mp4"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_credentials_are_removed(url: str, expected: str) -> None:
    assert without_credentials(url) == expected


def test_credentials_cannot_be_removed_from_a_url_that_is_not_allowed() -> None:
    with pytest.raises(URLNotAllowed):
        without_credentials("ftp://example.org/a")
