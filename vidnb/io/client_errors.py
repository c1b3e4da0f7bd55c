"""Connection errors: the one place that maps exceptions of aiohttp, ssl and sockets.

Each becomes a `Failure` for the planner or an error of vidnb's tree. The words are chosen by the
type, the errno or the code of an exception: its text may hold what the origin sent, signed URLs
included, and is never quoted.
"""

import errno
import os
import ssl
from urllib.parse import urlsplit

import aiohttp

from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.errors import URLNotAllowed
from vidnb.http.urls import redact
from vidnb.io.certificates import CertificateFileError
from vidnb.io.response_filter import MalformedResponseError

__all__ = [
    "FAULTS",
    "ConnectionFault",
    "NotPublicError",
    "certificate_failure",
    "describe_cause",
    "loss",
    "malformed",
    "mapped",
    "silence",
    "unreadable_certificates",
]

FAULTS = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError, EOFError)
"""The exceptions that one connection may raise."""

_TRUST_IT = (
    "if you trust it, pass ssl_context=… with its certificate, or name that in SSL_CERT_FILE"
)
_TELL_OWNER = "tell its owner, or use another address for the file"
_CLOCK = "check the clock of this machine, or tell the owner of the server"

# By the codes of X509_verify_cert_error_string(3) in OpenSSL 3; the name of a host follows.
_CERTIFICATES = {
    9: ("is not valid yet", _CLOCK),
    10: ("has expired", _CLOCK),
    18: ("is self-signed", _TRUST_IT),
    19: ("is of an authority that is not trusted here", _TRUST_IT),
    2: ("is of an authority that is not trusted here", _TRUST_IT),
    20: ("is of an authority that is not trusted here", _TRUST_IT),
    21: ("is of an authority that is not trusted here", _TRUST_IT),
    23: ("was revoked", _TELL_OWNER),
    62: ("is for another host", "check the host in the address"),
    64: ("is for another host", "check the host in the address"),
    66: ("has a key that is too weak", _TELL_OWNER),
    67: ("is of an authority whose key is too weak", _TELL_OWNER),
    68: ("has a signature that is too weak", _TELL_OWNER),
}
# VERIFY_X509_STRICT, which Python sets from 3.13 on.
_CERTIFICATES |= dict.fromkeys(
    range(79, 95),
    (
        "is of an authority that does not follow RFC 5280",
        "pass ssl_context=… without ssl.VERIFY_X509_STRICT",
    ),
)
_BAD_CERTIFICATE = ("is not valid", _TELL_OWNER)

_NEEDS_CONTEXT = "pass ssl_context=… with what it requires"
_PLAIN_HTTP = (
    "{} does not speak TLS",
    "check the port, or write the address with http://",
)
_OLD_TLS = (
    "{} and this machine have no version of TLS in common",
    f"{_NEEDS_CONTEXT}, or tell its owner",
)
_NO_NAME = ("{} has no certificate for that name", "check the host in the address")
_CLIENT_CERTIFICATE = ("{} requires a client certificate", _NEEDS_CONTEXT)
_NO_CIPHER = (
    "{} and this machine found no common ciphers or keys for TLS",
    f"{_NEEDS_CONTEXT}, or tell its owner",
)
# By `ssl.SSLError.reason`, a constant of OpenSSL; a retry does not help.
_TLS = {
    "WRONG_VERSION_NUMBER": _PLAIN_HTTP,
    "HTTP_REQUEST": _PLAIN_HTTP,
    "PACKET_LENGTH_TOO_LONG": _PLAIN_HTTP,
    "RECORD_LAYER_FAILURE": _PLAIN_HTTP,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": _OLD_TLS,
    "TLSV1_UNRECOGNIZED_NAME": _NO_NAME,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": _NO_CIPHER,
    "NO_SHARED_CIPHER": _NO_CIPHER,
    "DH_KEY_TOO_SMALL": _NO_CIPHER,
}


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
        # Before ValueError: a bad certificate is both.
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorCertificateError():
            return ConnectionFault(_no_connection(error, url, whose))
        case TimeoutError():
            return ConnectionFault(silence(idle_timeout_s))
        case aiohttp.InvalidURL():
            return URLNotAllowed(
                f"The address {redact(url)} is malformed; check how it is written.", url=url
            )
        case ValueError():
            return URLNotAllowed(
                f"{redact(url)} cannot be fetched: a header or the URL of the proxy is malformed;"
                " check the headers and the proxy.",
                url=url,
            )
        case aiohttp.ClientHttpProxyError():
            reason = f"the {whose}'s proxy answered {error.status}"
            return ConnectionFault(Failure(FailureKind.CONNECT, reason))
        case MalformedResponseError():
            return ConnectionFault(malformed(str(error)))
        case aiohttp.ClientResponseError():
            return ConnectionFault(malformed("has a malformed head"))
    return ConnectionFault(loss(error))


def malformed(what: str) -> Failure:
    """Return the failure for a response that violates RFC 9112; `what` is our own clause."""
    return Failure(FailureKind.PROTOCOL_ERROR, f"the origin's response {what}")


def unreadable_certificates(error: CertificateFileError) -> Failure:
    """Return the failure for certificates that the environment names and that are not there."""
    reason = f"the file of certificates {error.reason}, which {error.variable} names"
    return Failure(FailureKind.REFUSED, reason, remedy=f"correct or remove {error.variable}")


def silence(idle_timeout_s: float) -> Failure:
    """Return the failure of a connection on which nothing arrived for so long (s)."""
    return Failure(FailureKind.TIMEOUT, f"nothing arrived for {idle_timeout_s:g} s")


def loss(error: Exception) -> Failure:
    """Return the failure of a connection that ended while its body was read."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failure(FailureKind.LOST, "the connection closed before the file was complete")
    # A server of TLS 1.3 refuses after the request was sent; aiohttp wraps what it says.
    for each in (error, error.__cause__):
        if (failure := _tls_failure(each, "the origin")) is not None:
            return failure
    return Failure(FailureKind.LOST, f"the connection broke ({describe_cause(error)})")


def _no_connection(
    error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError,
    url: str,
    whose: str,
) -> Failure:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return certificate_failure(error.certificate_error, error.host)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        reason = (
            f"the {whose}'s proxy {error.host}:{error.port} cannot be reached"
            f" ({describe_cause(error.os_error)})"
        )
        return Failure(FailureKind.CONNECT, reason)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        of_proxy = f" of the {whose}'s proxy" if error.host != urlsplit(url).hostname else ""
        reason = f"the name {error.host}{of_proxy} could not be resolved"
        return Failure(FailureKind.CONNECT, reason)
    if (failure := _tls_failure(error.os_error, f"{error.host}:{error.port}")) is not None:
        return failure
    cause = describe_cause(error.os_error)
    return Failure(FailureKind.CONNECT, f"no connection to {error.host}:{error.port} ({cause})")


def certificate_failure(error: Exception, whose: str) -> Failure:
    """Return the failure for an `ssl.SSLCertVerificationError`; `whose` names the server."""
    code = getattr(error, "verify_code", None)
    what, remedy = _CERTIFICATES.get(code or 0, _BAD_CERTIFICATE)
    return Failure(FailureKind.REFUSED, f"the certificate of {whose} {what}", remedy=remedy)


def _tls_failure(error: BaseException | None, where: str) -> Failure | None:
    """Return the failure of an error of TLS that a retry does not help, else None."""
    # Only OpenSSL's own errors have a reason.
    code = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    if code not in _TLS:
        return None
    reason, remedy = _TLS[code]
    return Failure(FailureKind.REFUSED, reason.format(where), remedy=remedy)


def describe_cause(error: BaseException) -> str:
    """Return why a connection could not be made or broke."""
    match error:
        case ssl.SSLError():  # its numbers are its own
            return "TLS failed"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case aiohttp.ServerDisconnectedError():
            return "the origin closed it without a response"
    return type(error).__name__
