"""URLs: validation, normalisation (IDNA), redirects, public addresses, redaction for messages.

A URL that a resolver, a proxy or a browser could parse differently (a backslash, a number that is
not a dotted address, a letter that normalises to a slash) is not allowed, so that no two programs
see two hosts in it. Any other is normalised to ASCII by RFC 3986.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, unquote, urljoin

from vidnb.errors import URLNotAllowed

MAX_REDIRECTS = 20
"""The limit of redirects: that of the Fetch standard; a sign-in takes more than a mirror."""

_CACHED_URLS = 2048  # each request parses a URL several times; a batch reads ahead
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT, _MAX_PORT_DIGITS = 65535, 5
_MAX_LABEL, _MAX_HOST = 63, 253  # characters, RFC 1035 section 2.3.4
_HOST_TOO_LONG = f"has a host of more than {_MAX_HOST} characters"
_MAX_SHOWN = 300  # characters of a URL in a message
_MAX_WORD = 30  # a longer one in a text may be a token
_MIN_SECRET = 4  # characters; a shorter value of a query is in many texts

# White space; zero-width, direction and soft-hyphen marks; the byte order mark.
_INVISIBLE = "".join(chr(n) for n in range(0x3001) if chr(n).isspace()) + (
    "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2066\u2067\u2068\u2069\ufeff"
)
_DELIMITERS = frozenset({'""', "''", "<>", "``", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")
_SCHEME_PREFIX = re.compile(_SCHEME.pattern + "//")
_AUTHORITY = re.compile(r"(?:([^@]*)@)?(\[[^\]@]*\]|[^\[\]@:]*)(?::([0-9]*))?")
_ADDRESS_PART = re.compile("://|[=?@%]\\w|\\w[=@]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what inet_aton accepts as part of an IPv4 address
# Lone surrogates, except those that stand for undecodable bytes (PEP 383).
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# RFC 3986 sections 2.2, 2.3 and "%"; brackets because many queries have them unencoded.
_SAFE = "%:/?#[]@!$&'()*+,;="


@dataclass(frozen=True, slots=True)
class _Url:
    """A parsed URL: `host` normalised and without brackets, `rest` is path and query."""

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


@functools.lru_cache(maxsize=_CACHED_URLS)
def check_url(url: str) -> str:
    """Return the normalised URL to request, or raise `URLNotAllowed` with one sentence.

    What pasting leaves around it is removed (`clean_url`). Only http and https, with a host and a
    port from 1 to 65535; no white space, control characters or backslashes inside. Scheme and host
    are lower-cased, a host in other scripts is converted to its `xn--` form, the default port and
    the fragment are removed, other characters outside ASCII are percent-encoded as UTF-8 (RFC 3986
    6.2.2, RFC 3987 3.1). User information stays; see `redact`.
    """
    return str(_parsed(clean_url(url)))


def clean_url(text: str) -> str:
    """Return a URL without what copying and pasting leave around it; never raises.

    That is white space and invisible characters at both ends, and there one pair of quotes or of
    angle brackets (RFC 3986 appendix C). None of these can begin a URL.
    """
    stripped = text.strip(_INVISIBLE)
    if len(stripped) > 1 and stripped[0] + stripped[-1] in _DELIMITERS:
        return stripped[1:-1].strip(_INVISIBLE)
    return stripped


@functools.lru_cache(maxsize=_CACHED_URLS)
def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port (RFC 6454 4); an IPv6 host without its brackets.

    Raises `URLNotAllowed` as `check_url` does.
    """
    return _parsed(clean_url(url)).origin


@functools.lru_cache(maxsize=_CACHED_URLS)
def without_credentials(url: str) -> str:
    """Return the normalised URL without user information.

    Raises `URLNotAllowed` as `check_url` does.
    """
    return str(replace(_parsed(clean_url(url)), user=None))


def user_info(url: str) -> tuple[str, str] | None:
    """Return user name and password of a URL, percent-decoded; None without them.

    A byte that is not UTF-8 is a lone surrogate (PEP 383). Raises `URLNotAllowed` as `check_url`
    does, and for a user name with a colon, which RFC 7617 section 2 does not allow.
    """
    user, _, password = (_parsed(url).user or "").partition(":")
    user, password = (unquote(part, errors="surrogateescape") for part in (user, password))
    if ":" in user:
        raise _not_allowed(url, "has a user name with a colon, which a login cannot have")
    return (user, password) if user or password else None


def redact(url: str) -> str:
    """Return the URL in a form for messages and logs; never raises.

    Without user information and fragment, the query as `?…`, unprintable characters as U+FFFD, at
    most 300 characters. Of a malformed URL, more is removed rather than a password shown.
    """
    scheme = _SCHEME_PREFIX.match(url)
    lead, rest = (scheme[0], url[scheme.end() :]) if scheme else ("", url)
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif not (scheme and _AUTHORITY.fullmatch(authority)):
        # Possibly a password with a slash or a hash: remove everything before the last "@".
        rest = rest.rpartition("@")[2]
    before, query, _ = rest.partition("#")[0].partition("?")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in (lead + before)[:_MAX_SHOWN])
    if len(shown) > _MAX_SHOWN - 2:
        shown = shown[: _MAX_SHOWN - 3] + "…"
    return f"{shown}?…" if query else shown


def quotable(text: str, url: str) -> str:
    """Return text of the origin of `url` in a form for messages; empty if it may reveal a secret.

    That is text with a part of an address in it, with a word as long as a token, or with a user
    name, a password or a value of the query of `url`. Unprintable characters become U+FFFD.
    """
    scheme = _SCHEME_PREFIX.match(url)
    rest = url[scheme.end() :] if scheme else url
    secrets = re.split(r"[/#?]", rest, maxsplit=1)[0].rpartition("@")[0].split(":")
    secrets += re.split("[=&;]", rest.partition("?")[2])
    words = text.split()
    if (
        _ADDRESS_PART.search(text)
        or any(len(word) > _MAX_WORD for word in words)
        or any(unquote(secret) in text for secret in secrets if len(secret) >= _MIN_SECRET)
    ):
        return ""
    return " ".join("".join(c if c.isprintable() else "\ufffd" for c in w) for w in words)


def next_redirect(
    url: str,
    location: str,
    headers: Mapping[str, str],
    seen: Sequence[tuple[str, str]],
    cookies_for: Callable[[str], str],
    *,
    max_redirects: int = MAX_REDIRECTS,
) -> tuple[str, dict[str, str]]:
    """Return the target URL of a redirect, and the caller's headers to send there.

    `url` is the URL that responded, `location` its Location field (RFC 9110 section 10.2.2), `seen`
    every request so far, in order, with that of `url`: its URL and its Cookie field. `cookies_for`
    returns the Cookie field for a URL. The headers and the user information are sent to the same
    origin only, since any of them may be a credential. `URLNotAllowed` if `check_url` raises it,
    for a redirect from https to http, for a loop (a URL requested twice already with the same
    cookies) and for more than `max_redirects` redirects.
    """
    source = _parsed(url)
    what = f"The redirect from {redact(url)} was not followed:"
    remedy = "open the URL in a browser to see what it requires"
    # A space is invalid in a Location but sent by some servers; browsers encode it, too.
    location = location.strip(" \t").replace(" ", "%20")
    if not location:
        raise URLNotAllowed(f"{what} its Location is empty; {remedy}.", url=url)
    try:
        _check_characters(location)  # before `urljoin`, which silently removes some of them
        # `urljoin` would resolve "https:///g/" to the source's host; it must be an error instead.
        if location.startswith("//"):
            location = f"{source.scheme}:{location}"
        target = _parsed(location if _SCHEME.match(location) else urljoin(str(source), location))
    except URLNotAllowed as error:
        # Replace the remedy, the last clause: the user cannot correct the Location.
        reason = str(error).rpartition(";")[0]
        raise URLNotAllowed(f"{what} {reason}; {remedy}.", url=url) from None
    if source.scheme == "https" and target.scheme == "http":
        raise URLNotAllowed(
            f"{what} it leads from https to {redact(str(target))}, which is not encrypted;"
            f" {remedy}.",
            url=url,
        )
    is_same_origin = target.origin == source.origin
    if is_same_origin and target.user is None:
        target = replace(target, user=source.user)
    target_url = str(target)
    if seen.count((target_url, cookies_for(target_url))) > 1:
        raise URLNotAllowed(f"{what} it is a redirect loop; {remedy}.", url=url)
    if len(seen) > max_redirects:
        raise URLNotAllowed(
            f"{what} it is redirect number {len(seen)}, and the limit is {max_redirects};"
            f" {remedy}.",
            url=url,
        )
    return target_url, dict(headers) if is_same_origin else {}


@functools.lru_cache(maxsize=_CACHED_URLS)
def _parsed(url: str) -> _Url:
    _check_characters(url)
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme not in _DEFAULT_PORTS:
        # "localhost:8000/a.mp4" has no scheme, although it looks like one.
        if match is None or url[match.end() :][:1].isdigit():
            raise _not_allowed(url, "has no scheme", "write it with https:// or http:// in front")
        raise _not_allowed(
            url, f"begins with {scheme}:, and vidnb fetches only from http and https"
        )
    after = url[len(scheme) + 1 :]
    authority = re.split(r"[/?#]", after[2:], maxsplit=1)[0]
    if not after.startswith("//"):
        raise _not_allowed(url, "names no host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _not_allowed(url, "has a host or a port that is malformed")
    user, host, port_digits = parts.groups()
    digits = port_digits or str(_DEFAULT_PORTS[scheme])
    port = int(digits) if len(digits) <= _MAX_PORT_DIGITS else 0
    if not 0 < port <= _MAX_PORT:
        raise _not_allowed(url, f"names a port outside 1 to {_MAX_PORT}")
    rest = _encoded(after[2 + len(authority) :].partition("#")[0])
    return _Url(
        scheme,
        None if user is None else _encoded(user),
        _host(url, host),
        port,
        rest if rest.startswith("/") else f"/{rest}",
    )


def _not_allowed(url: str, reason: str, remedy: str = "check its spelling") -> URLNotAllowed:
    return URLNotAllowed(f"The URL {redact(url)} {reason}; {remedy}.", url=url)


def _check_characters(url: str) -> None:
    """Raise for characters that two programs may interpret differently."""
    if not url:
        raise URLNotAllowed("The URL is empty; pass one.", url=url)
    if "\\" in url:
        raise _not_allowed(url, "has a backslash, which some programs read as a slash")
    if any(c.isspace() or unicodedata.category(c) == "Cc" for c in url) or _LONE_SURROGATE.search(
        url
    ):
        raise _not_allowed(url, "has white space or a control character", "percent-encode it")


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), _SAFE)


def _host(url: str, host: str) -> str:
    """Return the normalised host, the form for requests and comparisons; raise if malformed."""
    if host.startswith("["):
        try:
            address = IPv6Address(host[1:-1])
        except ValueError:
            raise _not_allowed(url, "names an IPv6 address that is malformed") from None
        if address.scope_id is not None:
            raise _not_allowed(url, "names an address that is valid on one network interface only")
        return str(address)
    if len(host) > _MAX_HOST + 1:  # the last may be the dot of the root
        raise _not_allowed(url, _HOST_TOO_LONG)
    # UTS 46 without its table: NFKC and lower case; "ß" is kept.
    normalised = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", host).lower())
    dotted = re.sub("[\u3002\uff61]", ".", normalised)  # the other full stops of UTS 46
    name, root_dot = (dotted[:-1], ".") if dotted.endswith(".") else (dotted, "")
    labels = [_label(label) for label in name.split(".")]
    if not all(labels):
        raise _not_allowed(url, "names no host" if not name else "has a host that is malformed")
    ascii_name = ".".join(filter(None, labels))
    if len(ascii_name) > _MAX_HOST:
        raise _not_allowed(url, _HOST_TOO_LONG)
    if _NUMBER.fullmatch(ascii_name.rpartition(".")[2]):
        try:
            return str(IPv4Address(ascii_name))
        except ValueError:
            raise _not_allowed(url, "names an IPv4 address that is malformed") from None
    return ascii_name + root_dot


def _label(label: str) -> str | None:
    """Return a label of a host name in ASCII (RFC 3492, RFC 5890 2.3.2), None if invalid."""
    if not label.isascii():
        # IDNA 2008 allows letters, marks and digits only (RFC 5892 sections 2.1 and 2.2).
        if any(c != "-" and unicodedata.category(c)[0] not in "LMN" for c in label):
            return None
        label = "xn--" + label.encode("punycode").decode()
    return label if len(label) <= _MAX_LABEL and _LABEL.fullmatch(label) else None


# IANA's special-purpose registries (RFC 6890) and cloud services. Any other IPv4 address is public.
_PRIVATE_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches this machine
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, and one cloud's metadata service
            "127.0.0.0/8",
            "168.63.129.16/32",  # one cloud's platform service
            "169.254.0.0/16",  # link-local, and most clouds' metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# IPv6: only 2000::/3 is allocated; of it, these are not public.
_GLOBAL_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols; Teredo (2001::/32) is tested before
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: IPv4 from IPv6-only networks


def is_public_address(ip: str) -> bool:
    """Return whether an IP address, as text, belongs to the public internet.

    False for private, loopback, link-local, shared, reserved, multicast and metadata addresses,
    for an address with a scope (`%eth0`) and for an invalid one. An IPv6 address with IPv4
    addresses inside (mapped, 6to4, NAT64, Teredo) is public if all of these are.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_V4)
    if address.scope_id is not None:
        return False
    embedded = _embedded_ipv4(address)
    if embedded:
        return all(is_public_address(str(inner)) for inner in embedded)
    return address in _GLOBAL_V6 and not any(address in network for network in _PRIVATE_V6)


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses inside an IPv6 address (RFC 4291, 3056, 6052, 4380)."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return address.teredo or ()
