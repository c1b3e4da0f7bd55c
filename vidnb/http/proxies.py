"""Proxies: which one a URL is requested through, and the parts of a proxy's URL.

The rules are those of curl 8, requests 2.32 and urllib (Python 3.13); where these differ, the
docstrings say which one is followed.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import unquote

from vidnb.errors import URLNotAllowed
from vidnb.http.allowed_hosts import is_loopback
from vidnb.http.request_headers import basic_credentials
from vidnb.http.urls import origin

__all__ = [
    "Proxy",
    "UnusableProxyError",
    "is_excluded",
    "is_own_server",
    "names_proxy",
    "parse_proxy",
    "proxy_for",
]

_SOCKS = ("socks", "socks4", "socks4a", "socks5", "socks5h")
_DEFAULT_PORTS = {"http": 80, "https": 443} | dict.fromkeys(_SOCKS, 1080)
"""By scheme, as in requests (urllib3); curl has 1080 for http, too. SOCKS: RFC 1928."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]*))?")
_ITEM_WITH_PORT = re.compile(r"(\[[^\[\]]*\](?:/[0-9]+)?|[^\[\]:]*):([0-9]*)")
_MAX_PORT = 65535
_MAX_SOCKS_BYTES = 255  # one octet holds the length, RFC 1929 section 2


class UnusableProxyError(ValueError):
    """The setting of a proxy is malformed; `reason` and `remedy` are the clauses of its sentence.

    They name the setting but show nothing of its value: any part of it may be a password.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}."


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: scheme, host without brackets, port, credentials, and the setting that names it.

    `credentials` are user name and password; a byte that is not UTF-8 is a lone surrogate
    (PEP 383). Neither `repr` nor `str` shows them.
    """

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    setting: str = field(default="proxy=…", compare=False)

    def __str__(self) -> str:
        """Return the URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, not HTTP."""
        return self.scheme in _SOCKS

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy resolves the names of hosts: as in curl, socks5h and socks4a."""
        return self.scheme in {"socks5h", "socks4a"}

    def answers_for(self, url: str) -> bool:
        """Return whether it responds in place of the origin: without a tunnel or SOCKS."""
        return not self.is_socks and url.startswith("http:")

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization for an HTTP proxy, None without credentials."""
        return None if self.credentials is None else basic_credentials(*self.credentials)


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that environment variables set for a URL, None for a direct connection.

    `http_proxy` or `https_proxy` by the URL's scheme, then `all_proxy`. A lower-case name comes
    before the upper-case one and, also if it is empty, replaces it (urllib). `HTTP_PROXY` is not
    read beside `REQUEST_METHOD`, since a request can set it for a CGI program (CVE-2016-5385).
    Raises `UnusableProxyError`, and `URLNotAllowed` for an invalid URL.
    """
    scheme = origin(url)[0]
    for name in (f"{scheme}_proxy", "all_proxy"):
        found, value = _variable(name, environment)
        if value:
            no_proxy = _variable("no_proxy", environment)[1]
            is_direct = is_excluded(url, no_proxy)
            return None if is_direct else parse_proxy(value, f"the environment's {found}")
    return None


def is_own_server(url: str, ports: Container[int]) -> bool:
    """Return whether a URL is one of this process's server, which listens on `ports`.

    No proxy reaches it, and its URL is secret.
    """
    _, host, port = origin(url)
    return port in ports and is_loopback(host)


def names_proxy(environment: Mapping[str, str]) -> bool:
    """Return whether any variable names a proxy."""
    return any(_variable(f"{name}_proxy", environment)[1] for name in ("http", "https", "all"))


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the spelling of the name that is set, and its value or ""."""
    upper = name.upper()
    if name in environment or (upper == "HTTP_PROXY" and "REQUEST_METHOD" in environment):
        return name, environment.get(name, "").strip()
    return upper, environment.get(upper, "").strip()


def is_excluded(url: str, no_proxy: str) -> bool:
    """Return whether a `no_proxy` list excludes a URL; commas or white space separate its items.

    `*`: every URL. A name: this host and those below it; a dot (or `*.`) before it changes nothing
    (curl, requests; Go excludes only those below). An IP address, with or without brackets, or a
    range (`10.0.0.0/8`, `fd00::/8`; curl 7.86, requests): the hosts written as an address in it; no
    name is resolved. `:8080` behind any of these: this port only, which may be the default port
    (Go). Case and a trailing dot do not matter. Any other item excludes nothing. Loopback is
    excluded only if it is listed, as in curl and requests.
    """
    _, host, port = origin(url)
    return any(_covers(item, host, port) for item in re.split(r"[,\s]+", no_proxy) if item)


def _covers(item: str, host: str, port: int) -> bool:
    if item == "*":
        return True
    with_port = _ITEM_WITH_PORT.fullmatch(item)
    if with_port is not None:
        item, digits = with_port.groups()
        if digits and digits.lstrip("0") != str(port):
            return False
    try:
        address = ip_address(host)
    except ValueError:
        return _is_below(host, item)
    try:
        network = ip_network(item.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)


def _is_below(host: str, item: str) -> bool:
    name = item.removeprefix("*").strip(".").lower()
    if not name.isascii():
        try:
            name = origin(f"http://{name}")[1]
        except URLNotAllowed:
            return False
    return bool(name) and f".{host.rstrip('.')}".endswith(f".{name}")


def parse_proxy(value: str, setting: str) -> Proxy:
    """Return the parts of a proxy's URL; `setting` says where it is set, for messages.

    Without a scheme it is an HTTP proxy (curl, requests). `socks://` is SOCKS 5 with names resolved
    by the proxy, as for GNOME, which writes it into `all_proxy`; for curl it is SOCKS 4. User name
    and password are percent-decoded; an `@` in them need not be encoded. A path is ignored.

    Raises `UnusableProxyError`.
    """
    value = value.strip()
    match = _SCHEME.match(value)
    scheme = match[1].lower() if match else "http"
    if scheme not in _DEFAULT_PORTS:
        raise _unusable(
            setting, "its scheme is not http, https, socks5, socks5h, socks4 or socks4a"
        )
    if any(c.isspace() or c < " " or c == "\x7f" for c in value):
        raise _unusable(setting, "it has white space or a control character")
    authority, _, path = (value[match.end() :] if match else value).partition("/")
    if "@" in path or set(authority) & set("?#\\"):
        raise _unusable(setting, "its user name or password has a character that must be encoded")
    user_info, _, host_and_port = authority.rpartition("@")
    parts = _HOST_AND_PORT.fullmatch(host_and_port)
    if parts is None:
        raise _unusable(setting, "its host or port is malformed")
    digits = parts[2] or str(_DEFAULT_PORTS[scheme])
    if not 0 < int(digits[:6]) <= _MAX_PORT:
        raise _unusable(setting, f"its port is not one of 1 to {_MAX_PORT}")
    try:
        host = origin(f"http://{parts[1]}")[1]
    except URLNotAllowed:
        reason = "its host is malformed" if parts[1] else "it has no host"
        raise _unusable(setting, reason) from None
    credentials = _credentials(user_info, setting, is_socks=scheme in _SOCKS)
    scheme = "socks5h" if scheme == "socks" else scheme
    return Proxy(scheme, host, int(digits), credentials, setting)


def _credentials(user_info: str, setting: str, *, is_socks: bool) -> tuple[str, str] | None:
    user, _, password = user_info.partition(":")
    user, password = (unquote(part, errors="surrogateescape") for part in (user, password))
    if not user and not password:
        return None
    if not is_socks and ":" in user:  # RFC 7617 section 2
        raise _unusable(setting, "its user name has a colon, which Basic cannot send")
    if is_socks:  # python-socks sends nothing else
        is_ascii = (user + password).isascii()
        if not (
            is_ascii and user and password and max(len(user), len(password)) <= _MAX_SOCKS_BYTES
        ):
            raise _unusable(
                setting,
                "with SOCKS, both user name and password must have 1 to"
                f" {_MAX_SOCKS_BYTES} characters of ASCII",
            )
    return user, password


def _unusable(setting: str, reason: str) -> UnusableProxyError:
    return UnusableProxyError(
        f"{setting} is not a usable proxy: {reason}",
        "write it as http://host:port, or as http://user:password@host:port with special characters"
        " percent-encoded",
    )
