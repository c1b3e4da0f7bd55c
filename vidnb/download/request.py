"""What was asked for, checked: an `DownloadRequest`; and what came of it: a `DownloadResult`."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import aiohttp

from vidnb.download.planner.retry import RetryPolicy
from vidnb.http.request_headers import check_headers, refuse_managed_headers
from vidnb.http.urls import check_url
from vidnb.io.regular_file import StrPath

__all__ = ["Checksum", "DownloadRequest", "DownloadResult", "IfExists"]

IfExists: TypeAlias = Literal["refresh", "overwrite", "error"]


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """A whole, checked file that stands under its final name.

    `path` is where; `url` the address it came from, after redirects. `size_bytes` and `sha256`
    (lower-case hexadecimal) are of the bytes on disk. `elapsed_s` is the time the call took,
    `resumed_from_bytes` what an earlier run had left, `connections` how many were open at once at
    most, `attempts` one more than the failures on the way. `reused` says that the file was there
    already and its source has not changed. `etag` and `media_type` are the origin's, if it sent
    them (RFC 9110 sections 8.8.3 and 8.3). What did not end like this is an error, not a result.
    """

    path: Path
    url: str
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
    """A digest the caller knows: a hashlib name and lower-case hexadecimal digits."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Checksum":
        """Read `"sha256:…"`; `ValueError` for an unknown algorithm or a digest that is none."""
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
                f"checksum={text!r} is no {algorithm} digest: {2 * size_bytes} hexadecimal digits."
            )
        return cls(algorithm, digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """One download as asked for: the arguments of `vidnb.download`, checked.

    `target` is the file to make, None where the origin's name for it decides; then it goes into
    `folder`. Two equal orders are one download. With `fills` False nothing is fetched but what its
    readers need, until an equal order wants all of it.
    """

    url: str
    folder: Path
    target: Path | None
    checksum: Checksum | None = None
    max_bytes: int | None = None
    connections: int | None = None
    if_exists: IfExists = "refresh"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    headers: tuple[tuple[str, str], ...] = ()
    session: aiohttp.ClientSession | None = None
    public_only: bool = False
    check_video: bool = True
    idle_timeout_s: float = 30.0
    fills: bool = field(default=True, compare=False)

    @classmethod
    def of(
        cls,
        url: str,
        path: StrPath | None = None,
        *,
        checksum: str | None = None,
        max_bytes: int | None = None,
        connections: int | None = None,
        if_exists: IfExists = "refresh",
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        public_only: bool = False,
        check_video: bool = True,
        idle_timeout_s: float = 30.0,
        fills: bool = True,
    ) -> "DownloadRequest":
        """Check the arguments; `URLNotAllowed` for the URL, `ValueError` for the rest."""
        if if_exists not in {"refresh", "overwrite", "error"}:
            raise ValueError(
                f"if_exists={if_exists!r} is none of 'refresh', 'overwrite' and 'error'."
            )
        for name, number in (("max_bytes", max_bytes), ("connections", connections)):
            if number is not None and number < 1:
                raise ValueError(f"{name}={number!r} must be at least 1.")
        if not idle_timeout_s > 0:
            raise ValueError(f"idle_timeout_s={idle_timeout_s!r} must be more than 0 s.")
        if session is not None and public_only:
            raise ValueError(
                "public_only=True watches vidnb's own connections and cannot watch those of"
                " session=…; give one of the two."
            )
        fields = check_headers(headers or {})
        refuse_managed_headers(getattr(session, "headers", {}))
        folder, target = _place(path)
        return cls(
            url=check_url(url),
            folder=folder,
            target=target,
            checksum=None if checksum is None else Checksum.parse(checksum),
            max_bytes=max_bytes,
            connections=connections,
            if_exists=if_exists,
            retry=retry or RetryPolicy(),
            headers=fields,
            session=session,
            public_only=public_only,
            check_video=check_video,
            idle_timeout_s=idle_timeout_s,
            fills=fills,
        )


def _place(path: StrPath | None) -> tuple[Path, Path | None]:
    """Return the folder and, where the path names one, the file.

    Both are absolute: what the working folder becomes while the download runs moves nothing.
    """
    if path is None:
        return Path.cwd(), None
    text = os.fspath(path)
    if not text or "\0" in text or not _has_bytes(text):
        raise ValueError(f"path={text!r} is no path.")
    ends_as_folder = text.endswith(("/", os.sep))
    place = Path(text).absolute()
    if ends_as_folder or os.path.isdir(place):  # noqa: PTH112 - the one that never raises
        return place, None
    return place.parent, place


def _has_bytes(text: str) -> bool:
    """Tell whether a path can be written in the file system's encoding."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
