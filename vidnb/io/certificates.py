"""The certificate authorities that a download trusts where its caller passes no `ssl_context`.

Environment variables come first, because who sets one means such a program: the files and folders
that `SSL_CERT_FILE`, `SSL_CERT_DIR` (as OpenSSL reads them), `REQUESTS_CA_BUNDLE` and
`CURL_CA_BUNDLE` name are trusted, all of them, since images and conda set some of them on their own
and a user sets another. Without a variable it is the system's store, by truststore where that is
installed, else OpenSSL's default files.
"""

import functools
import os
import ssl
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

__all__ = ["CertificateFileError", "certificate_variables", "default_context"]

_OPENSSL = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_NAMES = (*_OPENSSL, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

Variables = tuple[tuple[str, str], ...]


class CertificateFileError(Exception):
    """The certificates that `variable` names cannot be read; the text is the reason."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(variable, reason)
        self.variable = variable
        self.reason = reason


def certificate_variables(environ: Mapping[str, str]) -> Variables:
    """Return the environment variables that apply, with their values; none for the defaults."""
    return tuple((name, environ[name]) for name in _NAMES if environ.get(name))


def default_context(variables: Variables) -> ssl.SSLContext:
    """Return the client context for these variables; it reads files, so it may block.

    The same one again until a file changes, since connections are kept by their context. Raises
    `CertificateFileError` for a file that is missing or holds no certificates, where OpenSSL would
    go on without it.
    """
    stamps = []
    for name, value in variables:
        for path in _paths(name, value):
            try:
                stamps.append(Path(path).stat().st_mtime_ns)
            except (OSError, ValueError) as error:
                raise CertificateFileError(name, f"{path!r} cannot be read") from error
    return _context(variables, tuple(stamps))


@functools.lru_cache(maxsize=8)
def _context(variables: Variables, stamps: tuple[int, ...]) -> ssl.SSLContext:  # noqa: ARG001 - part of the key
    if not variables:
        context = _system_context() or ssl.create_default_context()
    elif variables[0][0] in _OPENSSL:
        context = ssl.create_default_context()  # which OpenSSL fills from them
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, value in variables:
        for path in _paths(name, value):
            _load(context, name, path)  # also OpenSSL's, which passes over a file without any
    context.set_alpn_protocols(["http/1.1"])
    return context


def _paths(name: str, value: str) -> list[str]:
    """Return the paths in a variable; `SSL_CERT_DIR` is a list."""
    return value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]


def _load(context: ssl.SSLContext, name: str, path: str) -> None:
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        is_readable = isinstance(error, ssl.SSLError)
        reason = "holds no certificates" if is_readable else "cannot be read"
        raise CertificateFileError(name, f"{path!r} {reason}") from error


def _system_context() -> ssl.SSLContext | None:
    """Return a context on the store of the operating system, None without truststore."""
    try:
        truststore = import_module("truststore")
    except ImportError:
        return None
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context
