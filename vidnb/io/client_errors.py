"""Connection errors: the one place that maps exceptions of aiohttp, ssl and sockets.

Each becomes a `Failure` for the planner or an error of vidnb's tree.
"""

import errno
import os
import ssl
from urllib.parse import urlsplit

import aiohttp

from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.errors import URLNotAllowed
from vidnb.http.urls import redact

__all__ = ["FAULTS", "ConnectionFault", "NotPublicError", "loss", "mapped", "silence"]

FAULTS = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError, EOFError)
"""The exceptions that one connection may raise."""


class ConnectionFault(Exception):  # noqa: N818 - the transfer continues
    """One connection failed; `failure` tells the planner how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class NotPublicError(OSError):
    """An address that `public_only` refuses. An `OSError`, so that other DNS records are tried.

    Its text is always the same: if several addresses fail, aiohttp keeps the type of the error only
    if the texts are equal.
    """

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "no public address")


def mapped(
    error: Exception, url: str, idle_timeout_s: float, whose: str
) -> ConnectionFault | URLNotAllowed:
    """Map the exception of a request; `whose` names who set its proxy."""
    match error:
        case aiohttp.ClientConnectorError(os_error=NotPublicError()):
            return URLNotAllowed(
                f"{redact(url)} was not fetched: {error.host} is not on the public internet, and"
                " public_only=True allows nothing else; pass public_only=False to fetch it anyway.",
                url=url,
            )
        case aiohttp.ClientProxyConnectionError():
            reason = (
                f"the {whose}'s proxy {error.host}:{error.port} cannot be reached"
                f" ({_cause(error.os_error)})"
            )
            return ConnectionFault(Failure(FailureKind.CONNECT, reason))
        case aiohttp.ClientConnectorDNSError() if error.host != urlsplit(url).hostname:
            reason = f"the name {error.host} of the {whose}'s proxy could not be resolved"
            return ConnectionFault(Failure(FailureKind.CONNECT, reason))
        case aiohttp.ClientConnectorError():  # before ValueError: a bad certificate is both
            return ConnectionFault(_no_connection(error))
        case TimeoutError():
            return ConnectionFault(silence(idle_timeout_s))
        case aiohttp.InvalidURL():  # its text is the URL, with every secret in its query
            return URLNotAllowed(
                f"The address {redact(url)} is malformed; check how it is written.", url=url
            )
        case ValueError():
            return URLNotAllowed(
                f"{redact(url)} cannot be fetched: {_line(str(error))};"
                " check the headers and the proxy.",
                url=url,
            )
        case aiohttp.ClientHttpProxyError():
            reason = f"the {whose}'s proxy answered {error.status}"
            return ConnectionFault(Failure(FailureKind.CONNECT, reason))
        case aiohttp.ClientResponseError():  # likewise, so only its message
            reason = f"the origin's response is malformed ({_line(error.message)})"
            return ConnectionFault(Failure(FailureKind.PROTOCOL_ERROR, reason))
    return ConnectionFault(loss(error))


def silence(idle_timeout_s: float) -> Failure:
    """Return the failure of a connection on which nothing arrived for so long (s)."""
    return Failure(FailureKind.TIMEOUT, f"nothing arrived for {idle_timeout_s:g} s")


def loss(error: Exception) -> Failure:
    """Return the failure of a connection that ended while its body was read."""
    if isinstance(error, aiohttp.ClientPayloadError):  # its text is a page of parser output
        return Failure(FailureKind.LOST, "the connection closed before the file was complete")
    return Failure(FailureKind.LOST, f"the connection broke ({_name(error)})")


def _no_connection(error: aiohttp.ClientConnectorError) -> Failure:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        # A retry does not help.
        reason = f"the certificate of {error.host} is not valid"
        return Failure(FailureKind.REFUSED, reason)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure(FailureKind.CONNECT, f"the name {error.host} could not be resolved")
    cause = _cause(error.os_error)
    return Failure(FailureKind.CONNECT, f"no connection to {error.host}:{error.port} ({cause})")


def _cause(error: OSError) -> str:
    """Return why a connection could not be made."""
    number = error.errno
    if number and number > 0 and not isinstance(error, ssl.SSLError):  # its numbers are its own
        return os.strerror(number)
    return _name(error)


def _name(error: BaseException) -> str:
    named = error.strerror if isinstance(error, OSError) else None  # its text begins with a number
    text = _line(named or str(error))
    return text if 0 < len(text) <= 120 else type(error).__name__


def _line(text: str) -> str:
    return text.partition("\n")[0].rstrip(".: ")
