"""Which Host is ours, and what a caller may allow."""

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
NO_HOSTS = [
    "", " ", ":80", "localhost:", "localhost:123456", "localhost:8a", "localhost:٣",
    "localhost, evil.example", "evil.example@localhost", "localhost/", "http://localhost",
    "::1", "[::1", "::1]", "[]", "[:::1]", "[127.0.0.1]", "[::1]x", "a b", "a\x00", "é.example",
    "-a.example", "a.example.", "a" * 254, "127.1.", "*",
]  # fmt: skip


@pytest.mark.parametrize("rule", [AllowedHosts(), AllowedHosts(addresses=True)])
@pytest.mark.parametrize("field", LOOPBACK_NAMES)
def test_loopback_names_always_hold(rule: AllowedHosts, field: str) -> None:
    assert rule.hold(field)


@pytest.mark.parametrize("field", ADDRESSES)
def test_addresses_hold_only_on_a_host_of_the_callers_own(field: str) -> None:
    assert not AllowedHosts().hold(field)
    assert not parse_allowed_hosts("127.0.0.1", ["hub.example"]).hold(field)
    assert parse_allowed_hosts("0.0.0.0", ()).hold(field)  # noqa: S104 - likewise


@pytest.mark.parametrize(
    "field", ["127.1", "127x0x0x1", "010.0.0.1", "1.2.3", "1.2.3.4.5", "2130706433"]
)
def test_what_some_resolvers_take_for_an_address_is_a_name(field: str) -> None:
    assert not AllowedHosts(addresses=True).hold(field)


@pytest.mark.parametrize("field", NO_HOSTS)
def test_what_is_no_host_never_holds(field: str) -> None:
    assert not AllowedHosts(frozenset({"hub.example"}), addresses=True).hold(field)


@pytest.mark.parametrize(
    ("allowed", "field", "holds"),
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
def test_an_allowed_name_holds_with_any_port(allowed: str, field: str, holds: bool) -> None:
    assert parse_allowed_hosts("127.0.0.1", [allowed]).hold(field) is holds


def test_the_host_itself_holds() -> None:
    assert parse_allowed_hosts("Films.local", ()).hold("films.local:8000")
    assert not parse_allowed_hosts("films.local", ()).hold("films.example")


@pytest.mark.parametrize(
    "name",
    [
        *(each for each in NO_HOSTS if each != "::1"),
        "hub.example:80",
        "https://hub.example",
        "[hub]",
    ],
)
def test_what_is_no_host_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"^allowed_hosts holds .* which is no host"):
        parse_allowed_hosts("127.0.0.1", ["hub.example", name])
    with pytest.raises(ValueError, match=r"^host holds .* which is no host"):
        parse_allowed_hosts(name, ())


def test_told_names_hold_and_what_is_no_host_is_passed_over() -> None:
    rule = AllowedHosts(frozenset({"a.example"}))
    told = rule.with_names(["Hub.Example", "hub.example:80", "", None, 7, "2001:db8::7", "*"])
    assert told.names == {"a.example", "hub.example", "[2001:db8::7]"}
    assert told.hold("hub.example:8443")
    assert not told.hold("evil.example")
    assert rule.names == {"a.example"}
    assert AllowedHosts(addresses=True).with_names([]).addresses


def test_told_names_are_so_many_and_no_more() -> None:
    told = AllowedHosts().with_names(f"h{number}.example" for number in range(100))
    assert len(told.names) == 32
    assert told.hold("h31.example")
    assert not told.hold("h32.example")


def test_one_text_is_no_list_of_names() -> None:
    with pytest.raises(ValueError, match=r"give a list: \['hub.example'\]"):
        parse_allowed_hosts("127.0.0.1", "hub.example")


@pytest.mark.parametrize(
    ("host", "allowed", "shown"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["hub.example"], "127.0.0.1"),
        ("192.0.2.7", ["hub.example"], "192.0.2.7"),
        ("Films.local", [], "films.local"),
        ("2001:db8::7", [], "[2001:db8::7]"),
        ("0.0.0.0", [], "127.0.0.1"),  # noqa: S104 - likewise
        ("0.0.0.0", ["Hub.example", "b"], "hub.example"),  # noqa: S104 - likewise
        ("::", [], "[::1]"),
        ("::", ["2001:db8::7"], "[2001:db8::7]"),
    ],
)
def test_the_address_names_a_host_that_can_be_asked(
    host: str, allowed: list[str], shown: str
) -> None:
    assert url_host(host, allowed) == shown
    assert parse_allowed_hosts(host, allowed).hold(f"{shown}:8000")


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
        ("LocalHost", True), ("0.0.0.0", False), ("192.0.2.7", False), ("hub.example", False),  # noqa: S104 - likewise
    ],
)  # fmt: skip
def test_who_can_reach_it(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


PROXIED = {"x-forwarded-context": "/", "x-forwarded-prefix": "/proxy/1", "x-proxycontextpath": "/"}


@pytest.mark.parametrize(
    ("host", "fields", "is_one"),
    [
        pytest.param("127.0.0.1:80", {}, False, id="ours"),
        pytest.param(None, {}, False, id="http-1.0-names-none"),
        pytest.param("evil.example", {}, True, id="another"),
        pytest.param("hub.example", PROXIED, False, id="another-through-the-proxy"),
        pytest.param("evil.example", {"x-forwarded-prefix": "/"}, True, id="one-field-is-no-proxy"),
    ],
)
def test_a_foreign_host(host: str | None, fields: dict[str, str], is_one: bool) -> None:
    assert is_disallowed_host(host, fields, AllowedHosts()) is is_one


@pytest.mark.parametrize(
    ("fields", "wanted_bytes", "limit_bytes"),
    [
        ({}, None, None),
        ({}, 10, 10),
        ({}, 10**9, 10**9),
        (PROXIED, None, PROXY_PARTIAL_BYTES),
        (PROXIED, 10, 10),
        (PROXIED, 10**9, PROXY_PARTIAL_BYTES),
    ],
)
def test_a_proxy_gets_small_answers(
    fields: dict[str, str], wanted_bytes: int | None, limit_bytes: int | None
) -> None:
    assert partial_limit_bytes(fields, wanted_bytes) == limit_bytes
