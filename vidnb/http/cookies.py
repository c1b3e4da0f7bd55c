"""Cookies (RFC 6265): what a caller passes, and what vidnb accepts of what a response sets.

A caller passes a mapping of names to values, or a file in Netscape's format. This module performs
no I/O and takes the time as an argument. No message quotes a name, a value or a line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "Cookie",
    "SetCookie",
    "check_cookies",
    "join_cookies",
    "parse_cookie_file",
    "parse_set_cookie",
    "set_cookie",
]

# RFC 6265 section 4.1.1, as lenient as section 5.2: only what would end the pair, or the line.
_NAME = re.compile(r"[^\x00-\x20\x7f=;,\"]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f;]*")
_HOST = re.compile(r"\.?[a-z0-9_:-]+(\.[a-z0-9_-]+)*")
_HTTP_ONLY = "#HttpOnly_"
_DOMAIN = re.compile(r";\s*domain\s*=\s*\.?([^;]*)", re.IGNORECASE)
_MAX_AGE = re.compile(r";\s*max-age\s*=", re.IGNORECASE)
# A server deletes a cookie so; aiohttp 3.14.5 takes the time 0 for no time.
_EPOCH = re.compile(r";\s*expires\s*=[^;]*[ -](?:19)?70\b", re.IGNORECASE)
_FLAGS = {"TRUE", "FALSE"}
# What registries use below a country code, as in "co.uk"; the list of `http.cookiejar`.
_SECOND_LEVEL = frozenset(
    {"ac", "biz", "co", "com", "edu", "go", "gov", "info", "int", "mil", "name", "net", "ne", "or"}
    | {"org"}
)


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie and where it is sent (RFC 6265 section 5.4).

    `domain` is a host name, None for the origin of the URL that is downloaded; the hosts below it
    get the cookie, too, unless `is_host_only`.
    """

    name: str = field(repr=False)
    value: str = field(repr=False)
    domain: str | None = None
    path: str = "/"
    is_host_only: bool = True
    is_secure: bool = False


def check_cookies(cookies: Mapping[str, str]) -> tuple[Cookie, ...]:
    """Return the cookies of a mapping of names to values, for the origin of the URL.

    Raises `ValueError` for a name or a value that cannot stand in a Cookie field.
    """
    checked = []
    for number, (name, value) in enumerate(cookies.items(), 1):
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - every bad argument of a download is a ValueError
                f"cookies: name and value of cookie {number} must be str, not"
                f" {type(name).__name__} and {type(value).__name__}."
            )
        if not _is_sendable(name, value):
            raise ValueError(
                f"cookies: cookie {number} has a character in its name or its value that a cookie"
                " cannot have; percent-encode it."
            )
        checked.append(Cookie(name, value))
    return tuple(checked)


def parse_cookie_file(text: str, now_s: float) -> tuple[Cookie, ...]:
    """Return the cookies of a file in Netscape's format that have not expired at `now_s` (s).

    A line has seven fields, separated by tabs: domain, whether the hosts below it get the cookie,
    path, whether it is for https only, expiry (Unix time in s, 0 for the end of the session), name
    and value. `#HttpOnly_` in front of the domain is no comment. The header line is optional, as
    for curl 8; the value may be missing, as browsers' extensions write it. Raises `ValueError`
    with the number of the first line that is malformed.
    """
    cookies = []
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        fields = line.removeprefix(_HTTP_ONLY).split("\t")
        if not line.strip() or fields[0].startswith("#"):
            continue
        try:
            cookie, expires_s = _parse_line(fields)
        except ValueError:
            raise ValueError(f"line {number} is not a line of a Netscape cookie file") from None
        if not expires_s or expires_s > now_s:
            cookies.append(cookie)
    return tuple(cookies)


def _parse_line(fields: list[str]) -> tuple[Cookie, float]:
    """Return the cookie of a line and its expiry (Unix time, s); `ValueError` if malformed."""
    domain, below, path, secure, expiry, name, value = [*fields, ""][: max(7, len(fields))]
    domain = domain.lower().translate({ord("["): None, ord("]"): None})
    is_place = _HOST.fullmatch(domain) is not None and path.startswith("/")
    if not (is_place and {below, secure} <= _FLAGS and _is_sendable(name, value)):
        raise ValueError("malformed")
    is_host_only = below == "FALSE" and not domain.startswith(".")
    cookie = Cookie(name, value, domain.lstrip("."), path, is_host_only, secure == "TRUE")
    return cookie, float(expiry or 0)


class SetCookie(NamedTuple):
    """A Set-Cookie field: name and value as they were sent, and the rest from its first `;` on."""

    name: str
    value: str
    attributes: str


def set_cookie(cookie: Cookie) -> SetCookie:
    """Return the field that would set a cookie of a file."""
    domain = "" if cookie.is_host_only else f"; Domain={cookie.domain}"
    secure = "; Secure" if cookie.is_secure else ""
    return SetCookie(cookie.name, cookie.value, f"; Path={cookie.path}{domain}{secure}")


def parse_set_cookie(field: str, host: str) -> SetCookie | None:
    """Return what a Set-Cookie field of a response from `host` sets, None where it is not accepted.

    A Domain that many sites share (a top-level domain, or one like `co.uk`) would send the cookie
    to others: the cookie is ignored, or, where that is the host itself, kept for this host only
    (RFC 6265 section 5.3, step 5). Without the list of public suffixes a domain such as
    `github.io` is not recognised; only the host that sets a cookie can widen it so far.
    """
    pair, semicolon, rest = field.partition(";")
    name, equals, value = (part.strip(" \t") for part in pair.partition("="))
    if not (equals and _is_sendable(name, value)):
        return None
    attributes = semicolon + rest
    if _EPOCH.search(attributes) and not _MAX_AGE.search(attributes):
        attributes += "; Max-Age=0"
    domains = _DOMAIN.findall(attributes)
    domain = domains[-1].strip().lower() if domains else ""
    first, *others = domain.split(".")
    is_country = len(others) == 1 and len(others[0]) == 2
    if domain and (not others or (is_country and first in _SECOND_LEVEL)):
        if domain != host:
            return None
        attributes = _DOMAIN.sub("", attributes)
    return SetCookie(name, value, attributes)


def join_cookies(written: str, cookies: Mapping[str, str]) -> str:
    """Return a Cookie field of these cookies and of those `written` ones whose name they lack."""
    if not cookies:
        return written
    kept = [pair.strip() for pair in written.split(";") if pair.strip()]
    pairs = [pair for pair in kept if pair.partition("=")[0].strip() not in cookies]
    return "; ".join([*pairs, *(f"{name}={value}" for name, value in cookies.items())])


def _is_sendable(name: str, value: str) -> bool:
    try:
        value.encode()  # bytes that are not UTF-8 are lone surrogates here
    except UnicodeEncodeError:
        return False
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None
