"""Cookies that a caller passes and that responses set, as pure decisions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.cookies import (
    Cookie,
    check_cookies,
    join_cookies,
    parse_cookie_file,
    parse_set_cookie,
    set_cookie,
)

NOW_S = 1_800_000_000.0
HEADER = "# Netscape HTTP Cookie File\n# https://curl.se/docs/http-cookies.html\n\n"


def line(
    domain: str = "films.example",
    below: str = "FALSE",
    path: str = "/",
    secure: str = "FALSE",
    expiry: str = "0",
    name: str = "session",
    value: str = "s3cret",
) -> str:
    return f"{domain}\t{below}\t{path}\t{secure}\t{expiry}\t{name}\t{value}"


SESSION = Cookie("session", "s3cret", "films.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEADER + line() + "\n", SESSION, id="header"),
        pytest.param(line(), SESSION, id="no-header-no-line-end"),
        pytest.param("\ufeff" + HEADER + line(), SESSION, id="byte-order-mark"),
        pytest.param(HEADER.replace("\n", "\r\n") + line() + "\r\n", SESSION, id="windows"),
        pytest.param("#HttpOnly_" + line(), SESSION, id="http-only"),
        pytest.param(line(expiry=""), SESSION, id="no-expiry"),
        pytest.param(line(expiry=str(int(NOW_S) + 1)), SESSION, id="expires-later"),
        pytest.param(line(expiry=f"{NOW_S + 1}"), SESSION, id="fraction"),
        pytest.param(line("Films.EXAMPLE"), SESSION, id="upper-case"),
        pytest.param(line("[::1]"), Cookie("session", "s3cret", "::1"), id="ipv6"),
        pytest.param(line(value=""), Cookie("session", "", "films.example"), id="empty"),
        pytest.param(
            line().rpartition("\t")[0], Cookie("session", "", "films.example"), id="no-value"
        ),
        pytest.param(
            line(".films.example", "TRUE", "/a", "TRUE", value='"x y"'),
            Cookie("session", '"x y"', "films.example", "/a", is_host_only=False, is_secure=True),
            id="below",
        ),
        pytest.param(
            line("films.example", "TRUE"),
            Cookie("session", "s3cret", "films.example", is_host_only=False),
            id="below-without-dot",
        ),
        pytest.param(
            line(".films.example", "FALSE"),
            Cookie("session", "s3cret", "films.example", is_host_only=False),
            id="dot-without-flag",
        ),
    ],
)
def test_a_cookie_file_is_read(text: str, expected: Cookie) -> None:
    assert parse_cookie_file(text, NOW_S) == (expected,)


@pytest.mark.parametrize("expiry", ["1", str(int(NOW_S)), "-1"])
def test_an_expired_cookie_is_dropped(expiry: str) -> None:
    assert parse_cookie_file(line(expiry=expiry) + "\n" + line(), NOW_S) == (SESSION,)


@pytest.mark.parametrize("text", ["", "\n \n", HEADER, "# a comment\twith\ttabs"])
def test_a_cookie_file_may_be_empty(text: str) -> None:
    assert parse_cookie_file(text, NOW_S) == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(line().replace("\t", " "), id="spaces"),
        pytest.param('[{"name": "session", "value": "s3cret"}]', id="json"),
        pytest.param("session=s3cret", id="header-field"),
        pytest.param(line() + "\tmore", id="eight"),
        pytest.param(line().rpartition("\t")[0].rpartition("\t")[0], id="five"),
        pytest.param(line(expiry="s3cret"), id="expiry"),
        pytest.param(line(below="yes"), id="flag"),
        pytest.param(line(secure="s3cret"), id="secure"),
        pytest.param(line(path="s3cret"), id="path"),
        pytest.param(line("."), id="domain"),
        pytest.param(line("s3cret host"), id="space-in-domain"),
        pytest.param(line("films.example/s3cret"), id="slash-in-domain"),
        pytest.param(line(name=""), id="name"),
        pytest.param(line(name="s3cret="), id="equals-sign"),
        pytest.param(line(value="s3cret\rX: 1"), id="carriage-return"),
        pytest.param(line(value="s3cret;x"), id="value"),
        pytest.param(line(value="s3cret\0"), id="null"),
    ],
)
def test_a_malformed_line_is_named_by_its_number_only(text: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not a line of a Netscape cookie") as caught:
        parse_cookie_file(line() + "\n" + text, NOW_S)
    assert "s3cret" not in str(caught.value)


def test_a_mapping_is_for_the_origin_of_the_url() -> None:
    assert check_cookies({"a": "1", "b[c]": '"x y"'}) == (Cookie("a", "1"), Cookie("b[c]", '"x y"'))
    assert "s3cret" not in repr(check_cookies({"s3cret": "s3cret"}))


@pytest.mark.parametrize(
    ("cookies", "reason"),
    [
        ({"a": 5}, "cookie 1 must be str, not str and int"),
        ({"a": "1", 5: "s3cret"}, "cookie 2 must be str, not int and str"),
        ({"a": "1", "b": "s3cret\n"}, "cookie 2 has a character"),
        ({"": "s3cret"}, "cookie 1 has a character"),
        ({"s3cret x": ""}, "percent-encode it"),
    ],
)
def test_a_cookie_that_cannot_be_sent_is_named_by_its_number(
    cookies: dict[Any, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        check_cookies(cookies)
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_file_is_cookies_or_refused(text: str) -> None:
    try:
        cookies = parse_cookie_file(text, NOW_S)
    except ValueError:
        return
    assert all(each.name and each.domain for each in cookies)


@pytest.mark.parametrize(
    ("attributes", "host", "accepted"),
    [
        ("", "films.example", ""),
        ("; Domain=films.example", "cdn.films.example", "; Domain=films.example"),
        ("; domain=.films.co.uk", "cdn.films.co.uk", "; domain=.films.co.uk"),
        ("; Domain=com", "films.com", None),
        ("; Domain=.COM", "films.com", None),
        ("; Domain=co.uk", "films.co.uk", None),
        ("; Domain = .com.au ; Secure", "films.com.au", None),
        ("; Domain=films.com; Domain=com", "films.com", None),
        ("; Domain=bbc.uk", "films.bbc.uk", "; Domain=bbc.uk"),
        ("; Domain=com.example", "films.com.example", "; Domain=com.example"),
        ("; Domain=", "films.example", "; Domain="),
        ("; Domain=localhost; Path=/", "localhost", "; Path=/"),
        ("; Domain=co.uk; Path=/", "co.uk", "; Path=/"),
    ],
)
def test_a_domain_that_many_sites_share_is_not_accepted(
    attributes: str, host: str, accepted: str | None
) -> None:
    cookie = parse_set_cookie("a=1" + attributes, host)
    assert (cookie and cookie.attributes) == accepted


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("a=1", "a", "1"),
        (" a = b=c== ; Path=/", "a", "b=c=="),
        ('a="b c"; Path=/', "a", '"b c"'),
        ("a=", "a", ""),
        ("b[c]={}", "b[c]", "{}"),
        ("domain=com", "domain", "com"),
        ("a=caf\xe9", "a", "caf\xe9"),
    ],
)
def test_a_cookie_is_kept_as_it_was_sent(field: str, name: str, value: str) -> None:
    cookie = parse_set_cookie(field, "films.com")
    assert cookie is not None
    assert cookie[:2] == (name, value)


@pytest.mark.parametrize("field", ["", "a", "=1", ";", "a b=1", "a=1\x01", "a=\udce9", '"a"=1'])
def test_what_cannot_be_sent_back_is_not_kept(field: str) -> None:
    assert parse_set_cookie(field, "films.com") is None


@pytest.mark.parametrize(
    ("expires", "is_deleted"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", True),
        ("Thu, 01-Jan-70 00:00:00 GMT", True),
        ("Fri, 01 Jan 2100 00:19:70 GMT", False),
        ("Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", False),
    ],
)
def test_the_begin_of_unix_time_deletes_a_cookie(expires: str, is_deleted: bool) -> None:
    cookie = parse_set_cookie(f"a=1; Expires={expires}", "h.org")
    assert cookie is not None
    assert cookie.attributes.endswith("; Max-Age=0") == is_deleted


def test_cookies_are_joined_by_name() -> None:
    assert join_cookies("a=1;b=2", {}) == "a=1;b=2"
    assert join_cookies("", {"a": "1", "b": "2"}) == "a=1; b=2"
    assert join_cookies("a=1;b=2; ;c", {"a": "3"}) == "b=2; c; a=3"


def test_a_cookie_of_a_file_becomes_a_field() -> None:
    assert set_cookie(SESSION) == ("session", "s3cret", "; Path=/")
    cookie = Cookie("a", "1", "h.org", "/p", is_host_only=False, is_secure=True)
    assert set_cookie(cookie) == ("a", "1", "; Path=/p; Domain=h.org; Secure")
