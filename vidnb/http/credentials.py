"""Credentials of a request: which are sent to which host, and what a refusal means.

A secret is sent to the host it belongs to and to no other; no message shows one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidnb.errors import URLNotAllowed
from vidnb.http.request_headers import basic_credentials
from vidnb.http.urls import origin, user_info

__all__ = ["Credentials", "Netrc", "challenge_schemes", "choose_credentials", "refusal_remedy"]

_NETRC_DEFAULT = "default"  # the name that the standard library gives to the `default` entry

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"')
_SCHEME = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+(?!=)|\s*$)")


class Netrc:
    """The entries of a netrc file by machine; a `repr` shows none of them."""

    def __init__(self, entries: Mapping[str, tuple[str, str]] | None = None) -> None:
        self._entries = {_host(machine): entry for machine, entry in (entries or {}).items()}

    def find(self, host: str, *, with_default: bool) -> tuple[str, str] | None:
        """Return user name and password for exactly this host, else those of `default`."""
        entry = self._entries.get(host.rstrip("."))
        if entry is None and with_default:
            entry = self._entries.get(_NETRC_DEFAULT)
        return entry


def _host(machine: str) -> str:
    """Return a machine of a netrc file as `origin` returns a host."""
    bracketed = f"[{machine}]" if ":" in machine and not machine.startswith("[") else machine
    try:
        return origin(f"http://{bracketed}")[1].rstrip(".")
    except URLNotAllowed:
        return machine


@dataclass(frozen=True, slots=True)
class Credentials:
    """The value of an Authorization field and its source; a `repr` shows only the latter."""

    authorization: str = field(repr=False)
    source: str


def choose_credentials(
    url: str,
    first_url: str,
    headers: Mapping[str, str],
    auth: tuple[str, str] | None,
    netrc: Netrc,
) -> Credentials | None:
    """Return the credentials to send with a request for `url`, the first of these.

    1. An Authorization field in `headers`, the caller's headers for this origin. 2. The user
    information of `url`, percent-decoded. 3. `auth`, user name and password, if `url` has the
    origin of `first_url`, the one that the caller gave. 4. The entry of the host in `netrc`. Where
    a redirect led to another host, this needs https and an entry of its own: the redirect may be
    forged, and `default` would log in anywhere.

    curl has this order (with --netrc); requests sends the entry of `netrc` in place of 1.
    """
    for name, value in headers.items():
        if name.lower() == "authorization":
            return Credentials(value, "headers=…")
    own = user_info(url)
    if own is not None:
        return Credentials(basic_credentials(*own), "the URL")
    if auth is not None and origin(url) == origin(first_url):
        return Credentials(basic_credentials(*auth), "auth=…")
    scheme, host, _ = origin(url)
    is_first_host = host == origin(first_url)[1]
    entry = netrc.find(host, with_default=is_first_host)
    if entry is None or not (is_first_host or scheme == "https"):
        return None
    return Credentials(basic_credentials(*entry), "the netrc file")


def refusal_remedy(status: int, source: str | None, challenge: str) -> str:
    """Return a clause on what to do about a 401 or 403; "" for another status.

    `source` says where the credentials of the request came from, None without any. `challenge` is
    the WWW-Authenticate field (RFC 9110 section 11.6.1); nothing of it is quoted.
    """
    if status not in {401, 403}:
        return ""
    schemes = challenge_schemes(challenge)
    if schemes and "basic" not in schemes and source != "headers=…":
        if "digest" in schemes:
            return (
                "only a Digest login is accepted there: pass session=… with"
                " aiohttp.DigestAuthMiddleware"
            )
        if "bearer" in schemes:
            return "only a token is accepted there: pass headers={'Authorization': 'Bearer …'}"
        return "it asks for a login that vidnb does not support: download it with a browser"
    if source is not None:
        refused = "was refused" if status == 401 else "does not give access"
        return f"the login of {source} {refused}: check it and the address"
    ways = "pass auth=(user, password), or add its host to the netrc file"
    if status == 401:
        return f"no login was sent: {ways}"
    return f"check the address; no login was sent: if it needs one, {ways}"


def challenge_schemes(challenge: str) -> frozenset[str]:
    """Return the lower-case authentication schemes of a WWW-Authenticate field."""
    parts = _QUOTED.sub('""', challenge).split(",")
    return frozenset(match[1].lower() for part in parts if (match := _SCHEME.match(part)))
