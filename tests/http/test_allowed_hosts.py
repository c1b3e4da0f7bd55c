"""Tests of the Host check."""

import pytest

from vidnb.http.allowed_hosts import (
    PROXY_PARTIAL_BYTES,
    AllowedHosts,
    is_disallowed_host,
    is_loopback,
    parse_allowed_hosts,
    partial_limit_bytes,
    url_host,
)

LOOPBACK_NAMES = ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8888", "[::1]", "[::1]:65535"]
ADDRESSES = ["192.0.2.7", "192.0.2.7:80", "0.0.0.0", "[2001:db8::7]", "[2001:DB8:0::7]:80"]  # noqa: S104 - a Host, not a socket
INVALID_HOSTS = [
    "", " ", ":80", "localhost:", "localhost:123456", "localhost:8a", "localhost:٣",
    "localhost, evil.example", "evil.example@localhost", "localhost/", "http://localhost",
    "::1", "[::1", "::1]", "[]", "[:::1]", "[127.0.0.1]", "[::1]x", "a b", "a\x00", "é.example",
    "-a.example", "a.example.", "a" * 254, "127.1.", "*",
]  # fmt: skip


@pytest.mark.parametrize("rule", [AllowedHosts(), AllowedHosts(addresses=True)])
@pytest.mark.parametrize("field", LOOPBACK_NAMES)
def test_loopback_names_are_always_allowed(rule: AllowedHosts, field: str) -> None:
    assert rule.allows(field)


@pytest.mark.parametrize("field", ADDRESSES)
def test_ip_addresses_are_allowed_only_if_the_caller_chose_the_host(field: str) -> None:
    assert not AllowedHosts().allows(field)
    assert not parse_allowed_hosts("127.0.0.1", ["hub.example"]).allows(field)
    assert parse_allowed_hosts("0.0.0.0", ()).allows(field)  # noqa: S104 - not a socket


@pytest.mark.parametrize(
    "field", ["127.1", "127x0x0x1", "010.0.0.1", "1.2.3", "1.2.3.4.5", "2130706433"]
)
def test_what_only_some_resolvers_read_as_an_address_is_a_name(field: str) -> None:
    assert not AllowedHosts(addresses=True).allows(field)


@pytest.mark.parametrize("field", INVALID_HOSTS)
def test_an_invalid_host_is_never_allowed(field: str) -> None:
    assert not AllowedHosts(frozenset({"hub.example"}), addresses=True).allows(field)


@pytest.mark.parametrize(
    ("allowed", "field", "is_allowed"),
    [
        ("hub.example", "hub.example", True),
        ("Hub.Example", "hUB.eXAMPLE:8443", True),
        ("hub.example", "hub.example.evil.example", False),
        ("hub.example", "x.hub.example", False),
        ("hub.example", "hub-example", False),
        ("my_service", "my_service:80", True),
        ("192.0.2.7", "192.0.2.7:80", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::7", "[2001:DB8::0007]:80", True),
        ("[2001:db8::7]", "[2001:db8::7]", True),
        ("2001:db8::7", "[2001:db8::8]", False),
    ],
)
def test_an_allowed_name_is_allowed_with_any_port(
    allowed: str, field: str, is_allowed: bool
) -> None:
    assert parse_allowed_hosts("127.0.0.1", [allowed]).allows(field) is is_allowed


def test_the_listening_host_is_allowed() -> None:
    assert parse_allowed_hosts("Videos.local", ()).allows("videos.local:8000")
    assert not parse_allowed_hosts("videos.local", ()).allows("videos.example")


@pytest.mark.parametrize(
    "name",
    [
        *(each for each in INVALID_HOSTS if each != "::1"),
        "hub.example:80",
        "https://hub.example",
        "[hub]",
    ],
)
def test_an_invalid_host_raises_an_error_that_names_the_argument(name: str) -> None:
    with pytest.raises(ValueError, match=r"^allowed_hosts has .* which is not a host"):
        parse_allowed_hosts("127.0.0.1", ["hub.example", name])
    with pytest.raises(ValueError, match=r"^host has .* which is not a host"):
        parse_allowed_hosts(name, ())


def test_reported_names_are_allowed_and_invalid_ones_are_ignored() -> None:
    before = AllowedHosts(frozenset({"a.example"}))
    after = before.with_names(["Hub.Example", "hub.example:80", "", None, 7, "2001:db8::7", "*"])
    assert after.names == {"a.example", "hub.example", "[2001:db8::7]"}
    assert after.allows("hub.example:8443")
    assert not after.allows("evil.example")
    assert before.names == {"a.example"}
    assert AllowedHosts(addresses=True).with_names([]).addresses


def test_the_number_of_reported_names_is_limited() -> None:
    after = AllowedHosts().with_names(f"h{number}.example" for number in range(100))
    assert len(after.names) == 32
    assert after.allows("h31.example")
    assert not after.allows("h32.example")


def test_a_string_is_not_a_list_of_names() -> None:
    with pytest.raises(ValueError, match=r"give a list: \['hub.example'\]"):
        parse_allowed_hosts("127.0.0.1", "hub.example")


@pytest.mark.parametrize(
    ("host", "allowed", "in_url"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["hub.example"], "127.0.0.1"),
        ("192.0.2.7", ["hub.example"], "192.0.2.7"),
        ("Videos.local", [], "videos.local"),
        ("2001:db8::7", [], "[2001:db8::7]"),
        ("0.0.0.0", [], "127.0.0.1"),  # noqa: S104 - not a socket
        ("0.0.0.0", ["Hub.example", "b"], "hub.example"),  # noqa: S104 - not a socket
        ("::", [], "[::1]"),
        ("::", ["2001:db8::7"], "[2001:db8::7]"),
    ],
)
def test_the_url_has_a_host_that_a_browser_can_connect_to(
    host: str, allowed: list[str], in_url: str
) -> None:
    assert url_host(host, allowed) == in_url
    assert parse_allowed_hosts(host, allowed).allows(f"{in_url}:8000")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
        ("LocalHost", True), ("0.0.0.0", False), ("192.0.2.7", False), ("hub.example", False),  # noqa: S104 - not a socket
    ],
)  # fmt: skip
def test_loopback_is_reachable_from_its_own_machine_only(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


PROXIED = {"x-forwarded-context": "/", "x-forwarded-prefix": "/proxy/1", "x-proxycontextpath": "/"}


@pytest.mark.parametrize(
    ("host", "fields", "expected"),
    [
        pytest.param("127.0.0.1:80", {}, False, id="loopback"),
        pytest.param(None, {}, False, id="http-1.0-without-host"),
        pytest.param("evil.example", {}, True, id="another"),
        pytest.param("hub.example", PROXIED, False, id="another-through-the-proxy"),
        pytest.param(
            "evil.example", {"x-forwarded-prefix": "/"}, True, id="one-proxy-field-is-not-enough"
        ),
    ],
)
def test_another_host_is_disallowed_except_through_the_proxy(
    host: str | None, fields: dict[str, str], expected: bool
) -> None:
    assert is_disallowed_host(host, fields, AllowedHosts()) is expected


@pytest.mark.parametrize(
    ("fields", "limit_bytes", "expected"),
    [
        ({}, None, None),
        ({}, 10, 10),
        ({}, 10**9, 10**9),
        (PROXIED, None, PROXY_PARTIAL_BYTES),
        (PROXIED, 10, 10),
        (PROXIED, 10**9, PROXY_PARTIAL_BYTES),
    ],
)
def test_a_206_through_the_proxy_is_limited(
    fields: dict[str, str], limit_bytes: int | None, expected: int | None
) -> None:
    assert partial_limit_bytes(fields, limit_bytes) == expected
