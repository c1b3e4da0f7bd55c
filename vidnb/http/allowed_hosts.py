"""The Host check of the server: protection against DNS rebinding.

A page of another site can make its own host name resolve to this machine (DNS rebinding) and send
requests under that name. So a request is served only if its Host (RFC 9110 section 7.2) certainly
means this server: a loopback name, a name that the caller allowed, or, if the caller chose the
address to listen on, any IP address, which no name server can redirect.

The resources of a player also accept the host name of the page that shows the notebook, after that
page has sent it through the kernel channel: a page there can already run code as the user, and a
page of another site cannot send there. It is allowed for that player's tokens only.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LOOPBACK: Final = "127.0.0.1"
"""The address that the server listens on by default."""

PROXY_PARTIAL_BYTES: Final = 4_000_000
"""The limit of a 206 through jupyter-server-proxy (B), which buffers it before sending it on."""

_MAX_NAMES: Final = 32  # the pages of one notebook use one name, perhaps two

_PROXY_FIELDS: Final = ("x-forwarded-context", "x-forwarded-prefix", "x-proxycontextpath")
# Nearly every request has one of these, so one match tests for them first.
_LOOPBACK_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
# RFC 3986 section 3.2.2 without the characters that no resolver accepts; the port as in 3.2.3.
_HOST_FIELD: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z_](?:[0-9A-Za-z_.-]{0,251}[0-9A-Za-z_])?)(?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts allowed beside loopback: `names`, and any IP address if `addresses`."""

    names: frozenset[str] = frozenset()
    addresses: bool = False

    def allows(self, field: str) -> bool:
        """Return whether a Host field's value, with or without a port, is allowed."""
        if _LOOPBACK_HOST.fullmatch(field):
            return True
        match = _HOST_FIELD.fullmatch(field)
        if match is None or not (self.names or self.addresses):
            return False
        name = _canonical(match[1])
        return name in self.names or (self.addresses and _is_address(name))

    def with_names(self, reported: Iterable[object]) -> "AllowedHosts":
        """Return these hosts and the names that a page reported; invalid ones are ignored."""
        names = set(self.names)
        for name in reported:
            if not isinstance(name, str) or len(names) >= _MAX_NAMES:
                continue
            with suppress(ValueError):
                names.add(_checked("the page", name))
        return replace(self, names=frozenset(names))


def parse_allowed_hosts(host: str, allowed_hosts: Collection[str]) -> AllowedHosts:
    """Return the allowed hosts of a server that listens on `host`.

    `ValueError` with one sentence for an invalid host: with a scheme, a port or a path, or empty.
    """
    if isinstance(allowed_hosts, str):
        raise ValueError(  # noqa: TRY004 - every bad argument of `serve` is a ValueError
            f"allowed_hosts={allowed_hosts!r} is a string; give a list: [{allowed_hosts!r}]."
        )
    listening = _checked("host", host)
    names = {_checked("allowed_hosts", name) for name in allowed_hosts}
    if listening == LOOPBACK:
        return AllowedHosts(frozenset(names))
    return AllowedHosts(frozenset({listening, *names}), addresses=True)


def url_host(host: str, allowed_hosts: Collection[str]) -> str:
    """Return the host for the URLs of a server that listens on `host`.

    A browser cannot connect to the unspecified address (0.0.0.0, ::); the first name that the
    caller allowed replaces it, or else loopback, which it includes.
    """
    name = _canonical(host)
    if not _is_address(name) or not ip_address(name.strip("[]")).is_unspecified:
        return name
    for allowed in allowed_hosts:
        return _canonical(allowed)
    return "[::1]" if name.startswith("[") else LOOPBACK


def is_loopback(host: str) -> bool:
    """Return whether a server that listens on `host` is reachable from its own machine only."""
    name = _canonical(host)
    return name == "localhost" or (_is_address(name) and ip_address(name.strip("[]")).is_loopback)


def is_disallowed_host(host: str | None, fields: Mapping[str, str], allowed: AllowedHosts) -> bool:
    """Return whether a request names a host that is not allowed, as in DNS rebinding.

    `host` is its Host, None in HTTP/1.0 without one; `fields` have lower-case names.
    jupyter-server-proxy forwards the browser's Host unchanged, with fields of its own; the secret
    token still protects what passes through it.
    """
    return host is not None and not allowed.allows(host) and not _is_proxied(fields)


def partial_limit_bytes(fields: Mapping[str, str], limit_bytes: int | None) -> int | None:
    """Return the limit (B) of a 206, None for no limit; `limit_bytes` is the caller's own limit.

    jupyter-server-proxy buffers a response before it sends it on, and fails on a large one.
    """
    if not _is_proxied(fields):
        return limit_bytes
    return min(limit_bytes or PROXY_PARTIAL_BYTES, PROXY_PARTIAL_BYTES)


def _is_proxied(fields: Mapping[str, str]) -> bool:
    return all(name in fields for name in _PROXY_FIELDS)


def _checked(argument: str, host: str) -> str:
    name = _canonical(host)
    match = _HOST_FIELD.fullmatch(name)
    if match is None or match[1] != name or (name.startswith("[") and not _is_address(name)):
        raise ValueError(
            f"{argument} has {host!r}, which is not a host; give a name or an IP address without "
            "scheme, port and path, such as 'hub.example'."
        )
    return name


def _canonical(host: str) -> str:
    """Return a host in lower case, and an IPv6 address in brackets and in its shortest form."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return f"[{IPv6Address(bare).compressed}]"
    except ValueError:
        return host.lower()


def _is_address(name: str) -> bool:
    try:
        if name.startswith("["):
            IPv6Address(name[1:-1])
        else:
            IPv4Address(name)
    except ValueError:
        return False
    return True
