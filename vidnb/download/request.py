"""`DownloadRequest`, the checked arguments of a download, and `DownloadResult`."""

import hashlib
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import aiohttp

from vidnb.download.options import (
    Cookies,
    DownloadOptions,
    IfExists,
    ProgressOption,
    check_count,
    check_seconds,
    check_type,
    fill_defaults,
)
from vidnb.download.planner.retry import RetryPolicy
from vidnb.errors import StorageError
from vidnb.http.cookies import Cookie, check_cookies, parse_cookie_file
from vidnb.http.credentials import Netrc
from vidnb.http.proxies import parse_proxy
from vidnb.http.request_headers import check_headers, refuse_managed_headers
from vidnb.http.urls import check_url, without_credentials
from vidnb.io.cookie_store import CookieStore
from vidnb.io.regular_file import StrPath, expand_user, is_encodable, read_all
from vidnb.io.request_settings import RequestSettings

__all__ = ["Checksum", "DownloadRequest", "DownloadResult", "local_path"]


_SESSION_HAS = frozenset({"auth", "cookies", "proxy", "ssl_context"})


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """A complete, verified file under its final name.

    `path`: the file. `url`: its address after redirects, or the requested one without a response;
    it may contain a secret, so `repr` leaves it out. `size_bytes`, `sha256` (lower-case
    hexadecimal): of the bytes on disk. `elapsed_s`: the duration of the call (s).
    `resumed_from_bytes`: what an earlier run had stored (B). `connections`: the most that were open
    at once. `attempts`: one more than the number of failures. `reused`: the file was on disk
    already, and its source has not changed or could not be compared, of which the log has the
    reason. `etag`, `media_type`: the origin's, if it sent them (RFC 9110 sections 8.8.3 and 8.3).
    Any other outcome is raised as an error.
    """

    path: Path
    url: str = field(repr=False)
    size_bytes: int
    sha256: str
    elapsed_s: float
    resumed_from_bytes: int = 0
    connections: int = 1
    attempts: int = 1
    reused: bool = False
    etag: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Checksum:
    """An expected digest: a hashlib algorithm and lower-case hexadecimal digits."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Checksum":
        """Read `"sha256:…"`; `ValueError` for an unknown algorithm or a malformed digest."""
        check_type("checksum", text, str, "a str such as 'sha256:…'")
        algorithm, colon, digest = text.partition(":")
        algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
        if not colon or algorithm not in hashlib.algorithms_available:
            raise ValueError(
                f"checksum={text!r} names no algorithm of hashlib; write it as 'sha256:…'."
            )
        size_bytes = hashlib.new(algorithm, usedforsecurity=False).digest_size
        is_hex = len(digest) == 2 * size_bytes and not digest.strip("0123456789abcdef")
        if size_bytes == 0 or not is_hex:
            raise ValueError(
                f"checksum={text!r} is not a {algorithm} digest of {2 * size_bytes} hexadecimal"
                " digits."
            )
        return cls(algorithm, digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """The checked arguments of one download; made by `of`. Two equal requests share one download.

    `target`: the file to write, or None where the origin's name for it is used, in `folder`.
    With `fills` False only what readers need is fetched, until an equal request needs the whole
    file. The other fields are those of `DownloadOptions`.
    """

    url: str = field(repr=False)  # may contain a secret, as the headers do
    folder: Path
    target: Path | None
    checksum: Checksum | None
    max_bytes: int | None
    connections: int | None
    if_exists: IfExists
    retry: RetryPolicy
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    auth: tuple[str, str] | None = field(repr=False)
    cookies: tuple[Cookie, ...] = field(repr=False)
    proxy: str | None = field(repr=False)
    ssl_context: ssl.SSLContext | None
    session: aiohttp.ClientSession | None
    public_only: bool
    check_video: bool
    idle_timeout_s: float
    progress: ProgressOption = field(compare=False)
    fills: bool = field(compare=False)

    def settings(self, netrc: Netrc | None = None) -> RequestSettings:
        """Return what each HTTP request carries, with the cookies as the caller gave them."""
        return RequestSettings(
            headers=self.headers,
            proxy=self.proxy,
            auth=self.auth,
            netrc=netrc or Netrc(),
            cookies=CookieStore(self.url, self.cookies),
            ssl_context=self.ssl_context,
        )

    @classmethod
    def of(
        cls,
        url: str,
        path: StrPath | None = None,
        *,
        fills: bool = True,
        **options: Unpack[DownloadOptions],
    ) -> "DownloadRequest":
        """Check the arguments of a download.

        Raises `URLNotAllowed` for an address that cannot be fetched, `StorageError` without a
        working folder, `TypeError` for an unknown option and `ValueError` for any other argument,
        with one sentence.
        """
        check_type("url", url, str, "a str such as 'https://example.org/film.mp4'")
        given = fill_defaults(options)
        checksum, headers, session = given["checksum"], given["headers"], given["session"]
        max_bytes, connections = given["max_bytes"], given["connections"]
        if given["if_exists"] not in ("refresh", "overwrite", "error"):
            raise ValueError(
                f"if_exists={given['if_exists']!r} must be 'refresh', 'overwrite' or 'error'."
            )
        check_type("retry", given["retry"], (RetryPolicy, type(None)), "a vidnb.RetryPolicy")
        check_type("headers", headers, (Mapping, type(None)), "a mapping of names to values")
        progress = given["progress"]
        if not callable(progress):
            check_type("progress", progress, (bool, type(None)), "True, False, None or a function")
        if session is not None and given["public_only"]:
            raise ValueError(
                "public_only=True checks vidnb's own connections and cannot check those of"
                " session=…; pass only one of the two."
            )
        fields = check_headers(headers or {})
        own = [name for name, value in given.items() if name in _SESSION_HAS and value is not None]
        if session is not None and own:
            raise ValueError(
                f"{own[0]}=… is for vidnb's own connections, and session=… has its own; set it in"
                " the session."
            )
        if given["proxy"] and given["public_only"]:
            raise ValueError(
                "public_only=True checks vidnb's own connections and cannot check those of"
                " proxy=…; pass only one of the two."
            )
        context = given["ssl_context"]
        check_type("ssl_context", context, (ssl.SSLContext, type(None)), "an ssl.SSLContext")
        checked_url = check_url(url)
        auth = _checked_auth(given["auth"], checked_url, fields)
        refuse_managed_headers(getattr(session, "headers", {}))
        folder, target = _folder_and_file(path)
        return cls(
            url=checked_url,
            folder=folder,
            target=target,
            checksum=None if checksum is None else Checksum.parse(checksum),
            max_bytes=None if max_bytes is None else check_count("max_bytes", max_bytes),
            connections=None if connections is None else check_count("connections", connections),
            if_exists=given["if_exists"],
            retry=given["retry"] or RetryPolicy(),
            headers=fields,
            auth=auth,
            cookies=_checked_cookies(given["cookies"]),
            proxy=_checked_proxy(given["proxy"]),
            ssl_context=context,
            session=session,
            public_only=given["public_only"],
            check_video=given["check_video"],
            idle_timeout_s=check_seconds("idle_timeout_s", given["idle_timeout_s"]),
            progress=progress,
            fills=fills,
        )


def _checked_auth(
    auth: object, url: str, headers: tuple[tuple[str, str], ...]
) -> tuple[str, str] | None:
    """Return user name and password; `ValueError` if they cannot be sent (RFC 7617)."""
    if auth is None:
        return None
    check_type("auth", auth, tuple, "a tuple of user name and password")
    match auth:
        case (str(user), str(password)):
            pass
        case _:
            raise ValueError("auth must be a tuple of user name and password, both str.")
    if ":" in user or not (user + password).isprintable():
        raise ValueError(
            "auth has a colon in the user name, or a control character; Basic cannot send it."
        )
    if url != without_credentials(url):
        raise ValueError("auth=… is given, and the URL has a user name, too; remove one of them.")
    if any(name.lower() == "authorization" for name, _ in headers):
        raise ValueError("auth=… is given, and headers has Authorization, too; remove one of them.")
    return user, password


def _checked_cookies(cookies: Cookies | None) -> tuple[Cookie, ...]:
    """Return the cookies of a mapping or a file; `ValueError` with one sentence."""
    if cookies is None:
        return ()
    if isinstance(cookies, Mapping):
        return check_cookies(cookies)
    kinds = (str, os.PathLike)
    check_type("cookies", cookies, kinds, "a mapping of names to values or the path of a file")
    try:
        return parse_cookie_file(read_all(expand_user(cookies)).decode(), time.time())
    except StorageError as error:
        raise ValueError(f"cookies: the file {error}") from None
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise ValueError(
            f"cookies: the file {os.fspath(cookies)!r} is malformed: {reason}; export it again as"
            " cookies.txt."
        ) from None


def _checked_proxy(proxy: str | None) -> str | None:
    """Return the URL of a proxy, "" for a direct connection; `ValueError` with one sentence."""
    if proxy is not None:
        check_type("proxy", proxy, str, "a str such as 'http://proxy.example.org:3128'")
        if proxy:
            parse_proxy(proxy, "proxy=…")
    return proxy


def local_path(path: StrPath) -> str:
    """Return a path as text, with `~` and `~user` expanded; it may be relative.

    `ValueError` for an object that is not a path and for text that no file system accepts.
    """
    check_type("path", path, (str, os.PathLike), "a str or a path object")
    try:
        text = os.fspath(path)
    except Exception as error:
        raise ValueError(
            f"path is a {type(path).__name__} that gives no path ({type(error).__name__});"
            " pass a str or a pathlib.Path."
        ) from error
    check_type("path", text, str, "a path of text")
    if not text or "\0" in text or not is_encodable(text):
        raise ValueError(f"path={text!r} is not a valid path.")
    return expand_user(text)


def _folder_and_file(path: StrPath | None) -> tuple[Path, Path | None]:
    """Return the folder and, where the path names one, the file.

    Both are absolute, so a later change of the working folder has no effect on the download.
    `StorageError` for a relative path in a working folder that was removed.
    """
    text = "./" if path is None else local_path(path)
    try:
        absolute = Path(text).absolute()
    except OSError as error:
        raise StorageError(
            "The working folder cannot be used, it was probably removed; nothing was downloaded;"
            " change to another one with os.chdir, or pass an absolute path."
        ) from error
    if text.endswith(("/", os.sep)) or os.path.isdir(absolute):  # noqa: PTH112 - never raises
        return absolute, None
    return absolute.parent, absolute
