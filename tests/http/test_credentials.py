"""Which credentials are sent to which host, and what a refusal says."""

import base64

import pytest

from vidnb.errors import URLNotAllowed
from vidnb.http.credentials import Credentials, Netrc, choose_credentials, refusal_remedy
from vidnb.http.urls import user_info

NETRC = Netrc({"a.example": ("ann", "1"), "b.example": ("bob", "2"), "default": ("any", "3")})
A, B, C = "https://a.example/f.mp4", "https://b.example/f.mp4", "https://c.example/f.mp4"
BEARER = {"authorization": "Bearer T"}


def sent(credentials: Credentials | None) -> tuple[str, str] | None:
    if credentials is None:
        return None
    scheme, _, value = credentials.authorization.partition(" ")
    text = base64.b64decode(value).decode() if scheme == "Basic" else credentials.authorization
    return text, credentials.source


@pytest.mark.parametrize(
    ("url", "headers", "auth", "expected"),
    [
        (A, BEARER, None, ("Bearer T", "headers=…")),
        (A, {"X": "y"}, None, ("ann:1", "the netrc file")),
        ("https://u:p@a.example/", BEARER, None, ("Bearer T", "headers=…")),
        ("https://u:p@a.example/", {}, None, ("u:p", "the URL")),
        (A, {}, ("u", "p"), ("u:p", "auth=…")),
        (A, {}, ("\u0141ukasz", "\u65e5\u672c"), ("\u0141ukasz:\u65e5\u672c", "auth=…")),
        (C, {}, None, ("any:3", "the netrc file")),
        ("http://a.example/", {}, None, ("ann:1", "the netrc file")),
        ("https://a.example:8443/", {}, None, ("ann:1", "the netrc file")),
        ("https://A.EXAMPLE./", {}, None, ("ann:1", "the netrc file")),
    ],
)
def test_the_order_for_the_first_url(
    url: str,
    headers: dict[str, str],
    auth: tuple[str, str] | None,
    expected: tuple[str, str],
) -> None:
    assert sent(choose_credentials(url, url, headers, auth, NETRC)) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(B, ("bob:2", "the netrc file"), id="its-own-entry"),
        pytest.param(C, None, id="default-is-for-the-first-host"),
        pytest.param("http://b.example/", None, id="not-in-the-clear"),
        pytest.param("https://www.a.example/", None, id="a-sub-domain-is-another-host"),
        pytest.param("https://u:p@c.example/", ("u:p", "the URL"), id="its-own-user-information"),
        pytest.param("https://a.example:8443/", ("ann:1", "the netrc file"), id="another-port"),
    ],
)
def test_a_redirect_target_gets_its_own_credentials_only(
    target: str, expected: tuple[str, str] | None
) -> None:
    for first, auth in ((A, None), (A, ("u", "first")), ("https://x:first@a.example/", None)):
        assert sent(choose_credentials(target, first, {}, auth, NETRC)) == expected


def test_auth_is_sent_again_when_redirects_return_to_the_first_origin() -> None:
    assert sent(choose_credentials("https://a.example/2", A, {}, ("u", "p"), NETRC)) == (
        "u:p",
        "auth=…",
    )


def test_without_a_netrc_file_nothing_is_sent() -> None:
    assert choose_credentials(A, A, {}, None, Netrc()) is None


@pytest.mark.parametrize(
    ("machine", "host", "is_found"),
    [
        ("a.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("a.example.", "a.example", True),
        ("a.example", "a.example.", True),
        ("b\u00fccher.example", "xn--bcher-kva.example", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("a.example", "www.a.example", False),
        ("example", "a.example", False),
        ("a b", "a.example", False),
        ("", "a.example", False),
    ],
)
def test_the_machine_of_an_entry(machine: str, host: str, is_found: bool) -> None:
    found = Netrc({machine: ("u", "s3cret")}).find(host, with_default=True)
    assert found == (("u", "s3cret") if is_found else None)


def test_a_machine_with_an_entry_does_not_get_the_default_one() -> None:
    assert NETRC.find("a.example", with_default=True) == ("ann", "1")
    assert NETRC.find("c.example", with_default=False) is None


def test_no_repr_shows_a_secret() -> None:
    netrc = Netrc({"a.example": ("u", "s3cret")})
    found = choose_credentials(A, A, {}, None, netrc)
    assert found is not None
    assert found.authorization not in repr(found)
    assert "s3cret" not in f"{netrc!r} {netrc} {found!r}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/", None),
        ("http://@a.example/", None),
        ("http://:@a.example/", None),
        ("http://u@a.example/", ("u", "")),
        ("http://u:p@a.example/", ("u", "p")),
        ("http://u:p:q@a.example/", ("u", "p:q")),
        ("http://u%40x:%3A%2F@a.example/", ("u@x", ":/")),
        ("http://\u0141:\u00e9@a.example/", ("\u0141", "\u00e9")),
        ("http://u:%E9@a.example/", ("u", "\udce9")),
    ],
)
def test_the_user_information_of_a_url(url: str, expected: tuple[str, str] | None) -> None:
    assert user_info(url) == expected


def test_a_user_name_with_a_colon_is_not_allowed() -> None:
    with pytest.raises(URLNotAllowed, match="user name with a colon") as caught:
        user_info("http://us%3Aer:s3cret@a.example/")
    assert "s3cret" not in str(caught.value)


# What a refusal says.

NEGOTIATE = 'Negotiate, NTLM, Digest realm="a, Basic b", qop="auth"'


@pytest.mark.parametrize(
    ("status", "source", "challenge", "expected"),
    [
        (401, None, 'Basic realm="films"', "no login was sent: pass auth="),
        (401, None, "basic", "no login was sent: pass auth="),
        (401, None, "", "no login was sent: pass auth="),
        (401, None, 'Digest realm="a", nonce="b", Basic realm="c"', "no login was sent: pass"),
        (401, None, 'Bearer realm="x",\tBasic realm = "y"', "no login was sent: pass auth="),
        (401, "auth=…", 'Basic realm="films"', "the login of auth=… was refused: check it"),
        (401, "the URL", "", "the login of the URL was refused: check it"),
        (401, "the netrc file", "Basic", "the login of the netrc file was refused: check it"),
        (401, "headers=…", 'Bearer error="expired"', "the login of headers=… was refused"),
        (401, "headers=…", "Digest x", "the login of headers=… was refused"),
        (401, None, 'Digest realm="Basic", nonce="x"', "only a Digest login is accepted there"),
        (401, "auth=…", "DIGEST qop=auth", "only a Digest login is accepted there"),
        (401, None, NEGOTIATE, "only a Digest login is accepted there"),
        (401, None, 'Bearer realm="a \\" Basic b"', "only a token is accepted there"),
        (401, "auth=…", "Bearer", "only a token is accepted there"),
        (401, None, "Negotiate", "it asks for a login that vidnb does not support"),
        (401, None, "NTLM, Negotiate YII=", "it asks for a login that vidnb does not support"),
        (403, None, "", "check the address; no login was sent: if it needs one, pass auth="),
        (403, "auth=…", "", "the login of auth=… does not give access: check it"),
        (403, None, "Digest x", "only a Digest login is accepted there"),
    ],
)
def test_what_to_do_about_a_refusal(
    status: int, source: str | None, challenge: str, expected: str
) -> None:
    remedy = refusal_remedy(status, source, challenge)
    assert remedy.startswith(expected)
    assert "realm" not in remedy


@pytest.mark.parametrize("status", [200, 206, 400, 402, 404, 407, 500])
def test_another_status_is_no_refusal(status: int) -> None:
    assert refusal_remedy(status, "auth=…", "Digest x") == ""
