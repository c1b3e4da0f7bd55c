"""Tests of the validation of a caller's request headers; no message shows a value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.request_headers import basic_credentials, check_headers, refuse_managed_headers

MANAGED = [
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Accept-Encoding",
    "Connection",
    "Content-Length",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
]


@pytest.mark.parametrize("name", MANAGED)
@pytest.mark.parametrize("case", [str, str.lower, str.upper], ids=["mixed", "lower", "upper"])
def test_a_managed_field_is_rejected_in_any_case(name: str, case: Any) -> None:
    with pytest.raises(ValueError, match=r"is managed by vidnb, because .*; remove it") as caught:
        check_headers({"X-Fine": "1", case(name): "s3cret"})
    assert repr(case(name)) in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Range", "selects the bytes and the version"),
        ("Accept-Encoding", "without compression"),
        ("TE", "describes the connection"),
    ],
)
def test_the_message_gives_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer x", "Cookie": "a=b; c=d", "Referer": "https://example.org/"},
        {"Host": "film.example", "User-Agent": "mine/1.0", "Accept": "video/*"},
        {"Accept-Language": "de", "X-Api-Key": "k", "x!#$%&'*+.^_`|~": "odd, and a token"},
        {"X-Empty": "", "X-Tab": "a\tb", "X-Text": "café, 映画"},
        {"Proxy-Authorization": "Basic x", "Cache-Control": "no-cache", "Range-Unit": "x"},
    ],
)
def test_any_other_field_passes_unchanged(headers: dict[str, str]) -> None:
    assert check_headers(headers) == tuple(headers.items())


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param({"": "x"}, "is not a header name", id="no-name"),
        pytest.param({"X Y": "x"}, "is not a header name", id="space"),
        pytest.param({"X:": "x"}, "is not a header name", id="colon"),
        pytest.param({"X\r\nY": "x"}, "is not a header name", id="line-break-in-the-name"),
        pytest.param({"X\0": "x"}, "is not a header name", id="nul-in-the-name"),
        pytest.param({"Ä": "x"}, "is not a header name", id="not-ascii"),
        pytest.param({"X\n": "x"}, "is not a header name", id="line-end-in-the-name"),
        pytest.param({"X": "a\r\nHost: b"}, "control character", id="line-break"),
        pytest.param({"X": "a\n"}, "control character", id="line-end"),
        pytest.param({"X": "a\0b"}, "control character", id="nul"),
        pytest.param({"X": "a\x7f"}, "control character", id="delete"),
        pytest.param({"X": "a\x85"}, "control character", id="c1"),
        pytest.param({"X": "\udc80"}, "control character", id="lone-surrogate"),
        pytest.param({"Cookie": "a", "cookie": "b"}, "'cookie'.* is given twice", id="twice"),
        pytest.param({"X": 1}, "is not text", id="number"),
        pytest.param({"X": b"1"}, "is not text", id="bytes"),
        pytest.param({"X": None}, "is not text", id="none"),
        pytest.param({b"X": "1"}, "is not text", id="bytes-name"),
    ],
)
def test_an_invalid_field_is_rejected(headers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_headers(headers)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", MANAGED)
def test_the_default_headers_of_a_session_may_not_select_bytes(name: str) -> None:
    """vidnb replaces or tolerates a session's other managed fields."""
    if "if-" in name.lower() or name == "Range":
        with pytest.raises(ValueError, match=r"session\.headers=.* is managed by vidnb"):
            refuse_managed_headers({name: "x"})
    else:
        refuse_managed_headers({name: "x"})


@given(st.dictionaries(st.text(), st.text()))
def test_every_accepted_field_is_one_line(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except ValueError:
        return
    for name, value in checked:
        assert len(f"{name}: {value}".encode().splitlines()) == 1
        assert ":" not in name


@pytest.mark.parametrize(
    ("user", "password", "value"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ("test", "123\u00a3", "Basic dGVzdDoxMjPCow=="),  # section 2.1
        ("\u65e5\u672c", "a:b", "Basic 5pel5pysOmE6Yg=="),
        ("", "", "Basic Og=="),
    ],
)
def test_basic_credentials_are_utf_8(user: str, password: str, value: str) -> None:
    assert basic_credentials(user, password) == value
