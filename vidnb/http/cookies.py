"""Cookies (RFC 6265): what a caller passes, and what vidnb accepts of what a response sets.

A caller passes a mapping of names to values, or a file in Netscape's format. This module performs
no I/O and takes the time as an argument. No message quotes a name, a value or a line.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "Cookie",
    "accepted_set_cookie",
    "check_cookies",
    "cookie_names",
    "join_cookies",
    "parse_cookie_file",
    "set_cookie",
]

# RFC 6265 section 4.1.1, as lenient as section 5.2: only what would end the pair, or the line.
_NAME = re.compile(r"[^\x00-\x20\x7f=;,\"]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f;]*")
_HTTP_ONLY = "#HttpOnly_"
_DOMAIN = re.compile(r";\s*domain\s*=\s*\.?([^;]*)", re.IGNORECASE)
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
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.removeprefix(_HTTP_ONLY)  # noqa: PLW2901 - the same line
        if not line.strip() or line.startswith("#"):
            continue
        domain, below, path, secure, expiry, name, value, *more = [*line.split("\t"), *[""] * 7]
        is_complete = 6 <= line.count("\t") + 1 <= 7 and not any(more)
        try:
            expires_s = float(expiry or 0)
        except ValueError:
            is_complete, expires_s = False, 0.0
        domain = domain.lower()
        is_host = domain.strip(".") and path.startswith("/") and {below, secure} <= _FLAGS
        if not (is_complete and is_host and _is_sendable(name, value)):
            raise ValueError(f"line {number} is not a line of a Netscape cookie file")
        if expires_s and expires_s <= now_s:
            continue
        is_host_only = below == "FALSE" and not domain.startswith(".")
        cookies.append(
            Cookie(name, value, domain.lstrip("."), path, is_host_only, secure == "TRUE")
        )
    return tuple(cookies)


def set_cookie(cookie: Cookie) -> str:
    """Return the Set-Cookie field that describes a cookie of a file."""
    domain = "" if cookie.is_host_only else f"; Domain={cookie.domain}"
    secure = "; Secure" if cookie.is_secure else ""
    return f"{cookie.name}={cookie.value}; Path={cookie.path}{domain}{secure}"


def accepted_set_cookie(field: str, host: str) -> str | None:
    """Return a Set-Cookie field of a response from `host`, None where it is not accepted.

    A Domain that many sites share (a top-level domain, or one like `co.uk`) would send the cookie
    to others: the cookie is ignored, or, where that is the host itself, kept for this host only
    (RFC 6265 section 5.3, step 5). Without the list of public suffixes a domain such as
    `github.io` is not recognised; only the host that sets a cookie can widen it so far.
    """
    domains = _DOMAIN.findall(field)
    domain = domains[-1].strip().lower() if domains else ""
    first, *others = domain.split(".")
    is_country = len(others) == 1 and len(others[0]) == 2
    is_shared = not others or (is_country and first in _SECOND_LEVEL)
    if not domain or not is_shared:
        return field
    return _DOMAIN.sub("", field) if domain == host else None


def cookie_names(fields: Iterable[str]) -> list[str]:
    """Return the names of the cookies that Set-Cookie fields set."""
    return [re.split("[=;]", field, maxsplit=1)[0].strip() for field in fields]


def join_cookies(written: str, cookies: Mapping[str, str]) -> str:
    """Return a Cookie field of these cookies and of those `written` ones whose name they lack."""
    if not cookies:
        return written
    kept = [pair.strip() for pair in written.split(";") if pair.strip()]
    pairs = [pair for pair in kept if pair.partition("=")[0].strip() not in cookies]
    return "; ".join([*pairs, *(f"{name}={value}" for name, value in cookies.items())])


def _is_sendable(name: str, value: str) -> bool:
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None
