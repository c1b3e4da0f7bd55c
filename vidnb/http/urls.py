"""Where vidnb fetches from, and where it follows a redirect to.

Two readers of one URL must not see two hosts: whatever a resolver, a proxy or a browser could read
differently (a backslash, a number that is no dotted address, a letter that folds to a slash) is
refused here, once, in one sentence. What passes is rewritten in ASCII by RFC 3986.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urljoin

from vidnb.errors import URLNotAllowed

__all__ = [
    "MAX_REDIRECTS",
    "check_url",
    "is_public_address",
    "next_redirect",
    "origin",
    "redact",
    "without_credentials",
]

MAX_REDIRECTS = 10
"""How many redirects are followed: aiohttp's own limit; the Fetch standard has 20."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT, _LONGEST_PORT = 65535, 5
_LONGEST_LABEL, _LONGEST_HOST = 63, 253  # RFC 1035 2.3.4, as characters
_HOST_TOO_LONG = f"has a host of more than {_LONGEST_HOST} characters"
_LONGEST_SHOWN = 300  # characters of an address in a message

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")
_SCHEME_MARK = re.compile(_SCHEME.pattern + "//")
_AUTHORITY = re.compile(r"(?:([^@]*)@)?(\[[^\]@]*\]|[^\[\]@:]*)(?::([0-9]*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what inet_aton reads as part of an IPv4 address
# Lone surrogates, save those that stand for undecodable bytes (PEP 383).
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# RFC 3986 2.2, 2.3 and "%"; brackets stay because so many queries hold them plain.
_KEPT = "%:/?#[]@!$&'()*+,;="


@dataclass(frozen=True, slots=True)
class _Url:
    """An address taken apart: `host` bare and normalised, `rest` path and query."""

    scheme: str
    user: str | None
    host: str
    port: int
    rest: str

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}{self.rest}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host, self.port)


def check_url(url: str) -> str:
    """Return the address as it will be requested, or raise `URLNotAllowed` with one sentence.

    Only http and https, with a host and a port from 1 to 65535; no white space, control characters
    or backslashes. Scheme and host are lower-cased, a host in other scripts becomes its `xn--`
    form, the default port and the fragment go, other characters outside ASCII are percent-encoded
    as UTF-8 (RFC 3986 6.2.2, RFC 3987 3.1). User information stays; see `redact`.
    """
    return str(_parsed(url))


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port (RFC 6454 4); an IPv6 host without its brackets.

    Raises `URLNotAllowed` as `check_url` does.
    """
    return _parsed(url).origin


def without_credentials(url: str) -> str:
    """Return the address by which the same file is known to every user: no user information.

    Raises `URLNotAllowed` as `check_url` does.
    """
    return str(replace(_parsed(url), user=None))


def redact(url: str) -> str:
    """Return the address as messages and logs may show it; never raises.

    Without user information and fragment, the query as `?…`, unprintable characters as U+FFFD, at
    most 300 characters. An address that is malformed is cut back further rather than let through.
    """
    scheme = _SCHEME_MARK.match(url)
    lead, rest = (scheme[0], url[scheme.end() :]) if scheme else ("", url)
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif not (scheme and _AUTHORITY.fullmatch(authority)):
        # A password with a slash or a hash in it: nothing before the last "@" is certain.
        rest = rest.rpartition("@")[2]
    before, query, _ = rest.partition("#")[0].partition("?")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in (lead + before)[:_LONGEST_SHOWN])
    if len(shown) > _LONGEST_SHOWN - 2:
        shown = shown[: _LONGEST_SHOWN - 3] + "…"
    return f"{shown}?…" if query else shown


def next_redirect(
    url: str,
    location: str,
    headers: Mapping[str, str],
    seen: Sequence[str],
    max_hops: int = MAX_REDIRECTS,
) -> tuple[str, dict[str, str]]:
    """Return the address a redirect leads to, and the caller's headers that may go there.

    `url` is the address that answered, `location` its Location (RFC 9110 10.2.2), `seen` every
    address requested so far, in order, `url` included. The headers go on to the same origin only,
    all or none: any of them may be a credential; and so does user information. `URLNotAllowed`
    for what `check_url` refuses, for a step down from https to http, for a circle (an address
    requested twice already) and for more than `max_hops` redirects.
    """
    here = _parsed(url)
    where = f"The redirect from {redact(url)} was not followed:"
    then = "open the address in a browser to see what it wants"
    # A space in a Location is a careless server's; browsers encode it too.
    target = location.strip(" \t").replace(" ", "%20")
    if not target:
        raise URLNotAllowed(f"{where} it names no address to go to; {then}.", url=url)
    try:
        _refuse_characters(target)  # before `urljoin`, which drops some of them silently
        # With a host of its own it needs none of ours: "https:///g/" is not to lead back here.
        if target.startswith("//"):
            target = f"{here.scheme}:{target}"
        there = _parsed(target if _SCHEME.match(target) else urljoin(str(here), target))
    except URLNotAllowed as refused:
        # How it is written is its server's business: the last clause, what to do, is another one.
        why = str(refused).rpartition(";")[0]
        raise URLNotAllowed(f"{where} {why}; {then}.", url=url) from None
    if here.scheme == "https" and there.scheme == "http":
        raise URLNotAllowed(
            f"{where} it leads from https to {redact(str(there))}, where anybody on the way could"
            f" change the bytes; {then}.",
            url=url,
        )
    same = there.origin == here.origin
    if same and there.user is None:
        there = _Url(there.scheme, here.user, there.host, there.port, there.rest)
    following = str(there)
    if seen.count(following) > 1:
        raise URLNotAllowed(f"{where} it goes round in a circle; {then}.", url=url)
    if len(seen) > max_hops:
        raise URLNotAllowed(f"{where} {max_hops} redirects came before it; {then}.", url=url)
    return following, dict(headers) if same else {}


@functools.lru_cache(maxsize=64)  # each request asks several times for the same few
def _parsed(url: str) -> _Url:
    _refuse_characters(url)
    scheme_found = _SCHEME.match(url)
    scheme = scheme_found[1].lower() if scheme_found else ""
    if scheme not in _DEFAULT_PORTS:
        # "localhost:8000/a.mp4" has no scheme, although it looks as if.
        if scheme_found is None or url[scheme_found.end() :][:1].isdigit():
            raise _refusal(url, "has no scheme", "write it with https:// or http:// in front")
        raise _refusal(url, f"begins with {scheme}:, and vidnb fetches only from http and https")
    after = url[len(scheme) + 1 :]
    authority = re.split(r"[/?#]", after[2:], maxsplit=1)[0]
    if not after.startswith("//"):
        raise _refusal(url, "names no host")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise _refusal(url, "has a host or a port that is malformed")
    user, host, port_digits = found.groups()
    digits = port_digits or str(_DEFAULT_PORTS[scheme])
    port = int(digits) if len(digits) <= _LONGEST_PORT else 0
    if not 0 < port <= _LARGEST_PORT:
        raise _refusal(url, f"names a port outside 1 to {_LARGEST_PORT}")
    rest = _encoded(after[2 + len(authority) :].partition("#")[0])
    return _Url(
        scheme,
        None if user is None else _encoded(user),
        _host(url, host),
        port,
        rest if rest.startswith("/") else f"/{rest}",
    )


def _refusal(url: str, why: str, then: str = "check how it is written") -> URLNotAllowed:
    return URLNotAllowed(f"The address {redact(url)} {why}; {then}.", url=url)


def _refuse_characters(url: str) -> None:
    """Raise for characters that two readers of one address may read differently."""
    if not url:
        raise URLNotAllowed("The address is empty; name one.", url=url)
    if "\\" in url:
        raise _refusal(url, "holds a backslash, which some programs read as a slash")
    if any(c.isspace() or unicodedata.category(c) == "Cc" for c in url) or _LONE.search(url):
        raise _refusal(url, "holds white space or a control character", "write it percent-encoded")


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), _KEPT)


def _host(url: str, host: str) -> str:
    """Return the host in the one form it is compared and requested in; refuse all others."""
    if host.startswith("["):
        try:
            address = IPv6Address(host[1:-1])
        except ValueError:
            raise _refusal(url, "names an IPv6 address that is malformed") from None
        if address.scope_id is not None:
            raise _refusal(url, "names an address that is valid on one network interface only")
        return str(address)
    if len(host) > _LONGEST_HOST + 1:  # the last may be the root's dot
        raise _refusal(url, _HOST_TOO_LONG)
    # UTS 46 without its table: compatibility forms fold, case folds, "ß" stays what it is.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", host).lower())
    dotted = re.sub("[\u3002\uff61]", ".", folded)  # the other full stops of UTS 46
    name, root_dot = (dotted[:-1], ".") if dotted.endswith(".") else (dotted, "")
    labels = [_label(label) for label in name.split(".")]
    if not all(labels):
        raise _refusal(url, "names no host" if not name else "has a host that is malformed")
    ascii_name = ".".join(filter(None, labels))
    if len(ascii_name) > _LONGEST_HOST:
        raise _refusal(url, _HOST_TOO_LONG)
    if _NUMBER.fullmatch(ascii_name.rpartition(".")[2]):
        try:
            return str(IPv4Address(ascii_name))
        except ValueError:
            raise _refusal(url, "names an IPv4 address that is malformed") from None
    return ascii_name + root_dot


def _label(label: str) -> str | None:
    """Return one part of a host name in ASCII (RFC 3492, RFC 5890 2.3.2), None if it is none."""
    if not label.isascii():
        # Letters, marks and digits only, as IDNA 2008 has it (RFC 5892 2.1 and 2.2).
        if any(c != "-" and unicodedata.category(c)[0] not in "LMN" for c in label):
            return None
        label = "xn--" + label.encode("punycode").decode()
    return label if len(label) <= _LONGEST_LABEL and _LABEL.fullmatch(label) else None


# The special-purpose registries of the IANA (RFC 6890) and what clouds put elsewhere. IPv4: all
# that is not listed is public.
_PRIVATE_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches this machine
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT, and one cloud's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # one cloud's platform service, at an address that looks public
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4, given up
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# IPv6: only 2000::/3 is given out; of it, these are not public.
_GLOBAL_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols; Teredo (2001::/32) is judged before
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; how IPv6-only networks reach IPv4


def is_public_address(ip: str) -> bool:
    """Tell whether an IP address, as text, belongs to the public internet.

    False for private, loopback, link-local, shared, reserved, multicast and metadata addresses and
    for what is no address. One that carries IPv4 inside (mapped, 6to4, NAT64, Teredo) is as public
    as what it carries. A scope (`%eth0`) is for local addresses and makes any of them not public.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_V4)
    if address.scope_id is not None:
        return False
    carried = _carried(address)
    if carried:
        return all(is_public_address(str(inner)) for inner in carried)
    return address in _GLOBAL_V6 and not any(address in network for network in _PRIVATE_V6)


def _carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses inside an IPv6 address (RFC 4291, 3056, 6052, 4380)."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return address.teredo or ()
