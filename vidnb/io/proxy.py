"""Requests through a proxy: which one is set, SOCKS connections, and the errors of a proxy.

This module reads the environment and the settings of the system; `vidnb.http.proxies` decides.
"""

import os
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import replace
from urllib.request import getproxies, proxy_bypass

import aiohttp

from vidnb.download.planner.retry import RETRIED_STATUSES, Failure, FailureKind
from vidnb.errors import MissingExtra, URLNotAllowed
from vidnb.http.credentials import challenge_schemes
from vidnb.http.proxies import (
    Proxy,
    UnusableProxyError,
    is_own_server,
    names_proxy,
    parse_proxy,
    proxy_for,
)
from vidnb.http.urls import origin
from vidnb.io.client_errors import (
    FAULTS,
    ConnectionFault,
    certificate_failure,
    describe_cause,
    mapped,
    silence,
)

__all__ = [
    "login_required",
    "own_ports",
    "proxy_fault",
    "request_faults",
    "select_proxy",
    "socks_connector",
]

own_ports: set[int] = set()
"""The ports of this process's own server."""

_HAS_SYSTEM_SETTINGS = sys.platform in {"darwin", "win32"}


def select_proxy(url: str, setting: str | None) -> Proxy | None:
    """Return the proxy for a URL: `setting`, the option of the download, else the environment's.

    An empty `setting` stands for a direct connection. `no_proxy` does not apply to the option. On
    macOS and Windows the settings of the system follow, as in urllib. The own server is reached
    directly. Raises `ConnectionFault` for a setting that is malformed.
    """
    # Windows has upper-case names; elsewhere a copy would decode every variable for each request.
    environment = dict(os.environ) if os.name == "nt" else os.environ
    try:
        if setting is not None:
            return parse_proxy(setting, "proxy=…") if setting else None
        if is_own_server(url, own_ports):
            return None
        if _HAS_SYSTEM_SETTINGS and not names_proxy(environment):
            scheme, host, _ = origin(url)
            value = getproxies().get(scheme)
            return (
                parse_proxy(value, "the system's proxy")
                if value and not proxy_bypass(host)
                else None
            )
        return proxy_for(url, environment)
    except UnusableProxyError as error:
        failure = Failure(FailureKind.REFUSED, error.reason, remedy=error.remedy)
        raise ConnectionFault(failure) from error


def socks_connector(proxy: Proxy) -> aiohttp.BaseConnector:
    """Return a connector through a SOCKS proxy; `MissingExtra` without aiohttp-socks."""
    try:
        import aiohttp_socks
    except ImportError as error:
        raise MissingExtra(
            f"The proxy {proxy} of {proxy.setting} needs the package aiohttp-socks; install it with"
            " pip install 'vidnb[socks]', or name an http:// proxy.",
            extra="socks",
        ) from error
    user, password = proxy.credentials or (None, None)
    kind = aiohttp_socks.ProxyType
    return aiohttp_socks.ProxyConnector(
        host=proxy.host,
        port=proxy.port,
        proxy_type=kind.SOCKS4 if proxy.scheme.startswith("socks4") else kind.SOCKS5,
        username=user,
        password=password,
        rdns=proxy.resolves_names,
        limit=0,  # the planner limits connections
    )


def request_faults() -> tuple[type[Exception], ...]:
    """Return the exceptions that a request may raise."""
    return (*FAULTS, *_socks_faults(), ValueError)


def _socks_faults() -> tuple[type[Exception], ...]:
    """Return the exceptions of aiohttp-socks, if it is in use."""
    socks = sys.modules.get("aiohttp_socks")
    if socks is None:
        return ()
    return (socks.ProxyConnectionError, socks.ProxyTimeoutError, socks.ProxyError)


def proxy_fault(
    error: Exception, url: str, idle_timeout_s: float, proxy: Proxy
) -> ConnectionFault | URLNotAllowed:
    """Map the exception of a request through a proxy, which the reason names."""
    if type(error) is aiohttp.ClientOSError and isinstance(error.__cause__, OSError):
        error = error.__cause__  # aiohttp-socks lets it through, and aiohttp wraps it
    if isinstance(error, _socks_faults()):
        return ConnectionFault(_socks_failure(error, idle_timeout_s, proxy))
    failure = _proxy_failure(error, url, proxy)
    if failure is not None:
        return ConnectionFault(failure)
    fault = mapped(error, url, idle_timeout_s, proxy.setting)
    if isinstance(fault, ConnectionFault):
        reason = f"{fault.failure.reason}, through {_shown(proxy)}"
        return ConnectionFault(replace(fault.failure, reason=reason))
    return fault


def _shown(proxy: Proxy) -> str:
    return f"the proxy {proxy} of {proxy.setting}"


def login_required(proxy: Proxy, headers: Mapping[str, str]) -> Failure:
    """Return the failure for a 407 of an HTTP proxy (RFC 9110 section 15.5.8)."""
    schemes = challenge_schemes(headers.get("Proxy-Authenticate", ""))
    if schemes and "basic" not in schemes:
        reason, remedy = "accepts only a kind of login that vidnb does not support", "use another"
    elif proxy.credentials is None:
        reason = "requires a user name and a password"
        remedy = f"write them into {proxy.setting} as http://user:password@host:port"
    else:
        reason, remedy = "refused the user name and the password", f"correct {proxy.setting}"
    return Failure(FailureKind.REFUSED, f"{_shown(proxy)} {reason}", remedy=remedy)


def _proxy_failure(error: Exception, url: str, proxy: Proxy) -> Failure | None:
    """Return the failure of the proxy itself, None for one that may be the origin's."""
    shown, check = _shown(proxy), f"check {proxy.setting}"
    match error:
        case aiohttp.ClientProxyConnectionError():
            reason = f"{shown} cannot be reached ({describe_cause(error.os_error)})"
            return Failure(FailureKind.CONNECT, reason, remedy=check)
        case aiohttp.ClientConnectorError() if (error.host, error.port) == (proxy.host, proxy.port):
            return _no_proxy_connection(error, proxy)
        case aiohttp.ClientHttpProxyError(status=407):
            return login_required(proxy, error.headers or {})
        case aiohttp.ClientHttpProxyError() if error.status in RETRIED_STATUSES:
            reason = f"{shown} could not connect to {origin(url)[1]} (status {error.status})"
            return Failure(FailureKind.CONNECT, reason, remedy=f"{check} and the address")
        case aiohttp.ClientHttpProxyError():
            reason = f"{shown} does not connect to {origin(url)[1]} (status {error.status})"
            return Failure(FailureKind.REFUSED, reason, remedy=f"{check} and no_proxy")
        case aiohttp.ClientResponseError() if error.request_info.method == "CONNECT":
            reason = f"{shown} does not answer in HTTP"
            return Failure(FailureKind.REFUSED, reason, remedy=f"{check} and its scheme")
        # Where aiohttp would have raised an error of its own.
        case socket.gaierror():
            return Failure(FailureKind.CONNECT, f"the name {origin(url)[1]} could not be resolved")
        case ssl.SSLCertVerificationError() if not isinstance(error, aiohttp.ClientError):
            return certificate_failure(error, origin(url)[1])
    return None


def _no_proxy_connection(error: aiohttp.ClientConnectorError, proxy: Proxy) -> Failure:
    """Return the failure of a connection to an HTTP proxy: name, certificate or TLS."""
    shown, check = _shown(proxy), f"check {proxy.setting}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        reason = f"the name of {shown} could not be resolved"
        return Failure(FailureKind.CONNECT, reason, remedy=check)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        remedy = f"{check}, or pass ssl_context=… with the certificate of its authority"
        return replace(certificate_failure(error.certificate_error, shown), remedy=remedy)
    reason = f"{shown} does not answer in TLS"
    return Failure(FailureKind.REFUSED, reason, remedy=f"{check} and its scheme")


_SOCKS_REPLIES = {
    # SOCKS 5, RFC 1928 section 6
    1: (FailureKind.CONNECT, "reports a failure"),
    2: (FailureKind.REFUSED, "does not allow this connection"),
    3: (FailureKind.CONNECT, "does not reach the network of the host"),
    4: (FailureKind.CONNECT, "does not reach the host"),
    5: (FailureKind.CONNECT, "reports that the host refused the connection"),
    6: (FailureKind.CONNECT, "reports that the host did not answer in time"),
    # SOCKS 4
    91: (FailureKind.CONNECT, "could not connect to the host"),
}


def _socks_failure(error: Exception, idle_timeout_s: float, proxy: Proxy) -> Failure:
    """Return the failure of a SOCKS connection; the texts of its packages are not quoted."""
    import aiohttp_socks

    shown, check = _shown(proxy), f"check {proxy.setting}"
    match error:
        case aiohttp_socks.ProxyTimeoutError():
            failure = silence(idle_timeout_s)
            return replace(failure, reason=f"{failure.reason}, through {shown}")
        case aiohttp_socks.ProxyConnectionError():
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            reason = f"{shown} cannot be reached ({describe_cause(cause)})"
            if isinstance(cause, socket.gaierror):
                reason = f"the name of {shown} could not be resolved"
            return Failure(FailureKind.CONNECT, reason, remedy=check)
        case aiohttp_socks.ProxyError(error_code=int(code)):
            kind, reason = _SOCKS_REPLIES.get(
                code, (FailureKind.REFUSED, f"refuses this connection (code {code})")
            )
            return Failure(kind, f"{shown} {reason}", remedy=f"{check} and the address")
    login = "its user name and password" if proxy.credentials else "whether it needs a user name"
    reason = f"{shown} did not accept the connection"
    return Failure(FailureKind.REFUSED, reason, remedy=f"{check}: {login}, and its scheme")
