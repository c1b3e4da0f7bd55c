"""Under which names a server may be asked: the judgement of a request's Host.

A page of a foreign site can have its own name lead to this machine (DNS rebinding) and then ask
under that name. So a request counts only where its Host (RFC 9110 section 7.2) is a name that
leads here for certain: a loopback name, one that the caller allowed, or, on an address of the
caller's own choice, any IP address, which no name server can lead elsewhere.

What belongs to a player also answers to the name under which its notebook's page asks, once that
page has told it over the kernel's own channel: a page there runs code as the user already, and a
foreign one cannot speak there. It holds for that player's tokens alone, never for the server.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = [
    "LOOPBACK",
    "PROXY_PARTIAL_BYTES",
    "AllowedHosts",
    "is_disallowed_host",
    "is_loopback",
    "parse_allowed_hosts",
    "partial_limit_bytes",
    "url_host",
]

LOOPBACK: Final = "127.0.0.1"
"""Where the server listens unless the caller asks for another address."""

PROXY_PARTIAL_BYTES: Final = 4_000_000
"""The most in a 206 through jupyter-server-proxy (B): what it collects in reasonable time."""

_MOST_NAMES: Final = 32  # the pages of one notebook come by one name, perhaps two

_PROXY_FIELDS: Final = ("x-forwarded-context", "x-forwarded-prefix", "x-proxycontextpath")
# Nearly every request has one of these, so they are looked for first and in one step.
_OURS: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
# RFC 3986 section 3.2.2, without what no resolver of names takes; the port as in 3.2.3.
_FIELD: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z_](?:[0-9A-Za-z_.-]{0,251}[0-9A-Za-z_])?)(?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The names beside loopback's own that hold: `names`, and any IP address if `addresses`."""

    names: frozenset[str] = frozenset()
    addresses: bool = False

    def hold(self, field: str) -> bool:
        """Tell whether a Host field's value, with or without a port, is one of ours."""
        if _OURS.fullmatch(field):
            return True
        match = _FIELD.fullmatch(field)
        if match is None or not (self.names or self.addresses):
            return False
        name = _canonical(match[1])
        return name in self.names or (self.addresses and _is_address(name))

    def with_names(self, told: Iterable[object]) -> "AllowedHosts":
        """Return these and the names that were told, without what is no host or too many."""
        names = set(self.names)
        for name in told:
            if not isinstance(name, str) or len(names) >= _MOST_NAMES:
                continue
            with suppress(ValueError):
                names.add(_checked("the page", name))
        return replace(self, names=frozenset(names))


def parse_allowed_hosts(host: str, allowed_hosts: Collection[str]) -> AllowedHosts:
    """Return what holds for a server that listens on `host` and whose caller allowed these names.

    `ValueError` with one sentence for what is no host: a scheme, a port, a path or nothing.
    """
    if isinstance(allowed_hosts, str):
        raise ValueError(  # noqa: TRY004 - every bad argument of `serve` is a ValueError
            f"allowed_hosts={allowed_hosts!r} is one text; give a list: [{allowed_hosts!r}]."
        )
    own = _checked("host", host)
    names = {_checked("allowed_hosts", name) for name in allowed_hosts}
    if own == LOOPBACK:
        return AllowedHosts(frozenset(names))
    return AllowedHosts(frozenset({own, *names}), addresses=True)


def url_host(host: str, allowed_hosts: Collection[str]) -> str:
    """Return the host that the addresses of a server on `host` name, as a URL holds it.

    An address that stands for all of a machine's (0.0.0.0, ::) is none that a browser can ask. The
    first name that the caller allowed stands for it, or else loopback, which it includes.
    """
    name = _canonical(host)
    if not _is_address(name) or not ip_address(name.strip("[]")).is_unspecified:
        return name
    for allowed in allowed_hosts:
        return _canonical(allowed)
    return "[::1]" if name.startswith("[") else LOOPBACK


def is_loopback(host: str) -> bool:
    """Tell whether a server that listens on `host` is reached from its own machine alone."""
    name = _canonical(host)
    return name == "localhost" or (_is_address(name) and ip_address(name.strip("[]")).is_loopback)


def is_disallowed_host(host: str | None, fields: Mapping[str, str], ours: AllowedHosts) -> bool:
    """Tell whether a request came under a name that is not ours, as DNS rebinding would have it.

    `host` is the one it names, None where HTTP/1.0 named none; `fields` have lower-case names.
    jupyter-server-proxy forwards the browser's Host unchanged, and its own fields beside it. The
    token is the lock; this is the chain on the door.
    """
    return host is not None and not ours.hold(host) and not _is_proxied(fields)


def partial_limit_bytes(fields: Mapping[str, str], wanted_bytes: int | None) -> int | None:
    """Return the most that one 206 may hold (B), None for no limit; `wanted_bytes` is a caller's.

    jupyter-server-proxy collects an answer before it sends it on, and gives up on a large one.
    """
    if not _is_proxied(fields):
        return wanted_bytes
    return min(wanted_bytes or PROXY_PARTIAL_BYTES, PROXY_PARTIAL_BYTES)


def _is_proxied(fields: Mapping[str, str]) -> bool:
    return all(name in fields for name in _PROXY_FIELDS)


def _checked(argument: str, host: str) -> str:
    name = _canonical(host)
    match = _FIELD.fullmatch(name)
    if match is None or match[1] != name or (name.startswith("[") and not _is_address(name)):
        raise ValueError(
            f"{argument} holds {host!r}, which is no host; give a name or an IP address without "
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
