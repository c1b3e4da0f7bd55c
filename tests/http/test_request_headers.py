"""Which header fields a caller may set: a table, and no value in any sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.request_headers import check_headers, refuse_managed_headers

OWN = [
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


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("spelt", [str, str.lower, str.upper], ids=["as-is", "lower", "upper"])
def test_what_is_vidnbs_own_is_refused_however_it_is_spelt(name: str, spelt: Any) -> None:
    with pytest.raises(
        ValueError, match=r"is vidnb's own to send, because .*; leave it out"
    ) as told:
        check_headers({"X-Fine": "1", spelt(name): "s3cret"})
    assert repr(spelt(name)) in str(told.value)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Range", "which bytes of which version"),
        ("Accept-Encoding", "never packed"),
        ("TE", "belongs to the connection"),
    ],
)
def test_the_sentence_says_why(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
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
def test_the_rest_passes_as_it_is(headers: dict[str, str]) -> None:
    assert check_headers(headers) == tuple(headers.items())


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        pytest.param({"": "x"}, "is no name of a header", id="no-name"),
        pytest.param({"X Y": "x"}, "is no name of a header", id="space"),
        pytest.param({"X:": "x"}, "is no name of a header", id="colon"),
        pytest.param({"X\r\nY": "x"}, "is no name of a header", id="line-break-in-the-name"),
        pytest.param({"X\0": "x"}, "is no name of a header", id="nul-in-the-name"),
        pytest.param({"Ä": "x"}, "is no name of a header", id="not-ascii"),
        pytest.param({"X\n": "x"}, "is no name of a header", id="line-end-in-the-name"),
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
def test_what_cannot_be_sent_is_refused(headers: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        check_headers(headers)
    assert "\n" not in str(told.value)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("name", OWN)
def test_a_sessions_defaults_may_not_choose_bytes(name: str) -> None:
    """What vidnb replaces anyway, and what aiohttp makes of a connection, is the session's own."""
    if "if-" in name.lower() or name == "Range":
        with pytest.raises(ValueError, match=r"session\.headers=.* is vidnb's own"):
            refuse_managed_headers({name: "x"})
    else:
        refuse_managed_headers({name: "x"})


@given(st.dictionaries(st.text(), st.text()))
def test_whatever_passes_makes_one_line_each(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except ValueError:
        return
    for name, value in checked:
        assert len(f"{name}: {value}".encode().splitlines()) == 1
        assert ":" not in name
