"""The head of a request (RFC 9112 sections 2 to 6): limits, and rules the parser leaves open."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from vidnb.http.headers import fold_headers

__all__ = [
    "MAX_FIELDS",
    "MAX_HEAD_BYTES",
    "MAX_LINE_BYTES",
    "RequestHead",
    "oversized",
    "split_target",
]

MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit of a request head (B). All programs on localhost share their cookies: 20 KB occur."""

MAX_LINE_BYTES: Final = 8 * 1024
"""The limit of a request line (B), which RFC 9112 section 3 asks to be at least 8,000."""

MAX_FIELDS: Final = 128
"""The limit of header fields; browsers and proxies send about thirty."""

_REQUEST_LINE: Final = re.compile(rb"[A-Z-]++ [\x21-\x7e]++ HTTP/1\.([01])\r\n")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")


class RequestHead(NamedTuple):
    """A request without its body.

    `fields` have lower-case names, repeated ones are joined. `authority` is the host that the
    target or else the Host field names, None where HTTP/1.0 named none. `body_bytes` is the size
    of the body (B), None where it is chunked.
    """

    method: str
    authority: str | None
    path: str
    minor_version: int
    fields: dict[str, str]
    body_bytes: int | None

    @classmethod
    def read(
        cls, raw: bytes | bytearray, method: bytes, target: bytes, fields: Sequence[tuple[str, str]]
    ) -> "RequestHead | int":
        """Return the head that was parsed from the bytes `raw`, or the status that refuses it.

        400 for a malformed request line, a missing or repeated Host (RFC 9112 section 3.2), and a
        Transfer-Encoding beside a Content-Length, in HTTP/1.0 or other than `chunked` (section
        6.1); 414 and 431 (RFC 6585 section 5) for one that is too large.
        """
        if len(raw) > MAX_LINE_BYTES and (status := oversized(raw)):
            return status
        if len(fields) > MAX_FIELDS:
            return 431
        line = _REQUEST_LINE.match(raw)
        if line is None:
            return 400
        minor_version = 1 if line[1] == b"1" else 0
        folded = fold_headers(fields)
        host = folded.get("host")
        is_repeated = "," in (host or "") and [n.lower() for n, _ in fields].count("host") > 1
        body_bytes = _body_bytes(folded, minor_version)
        if body_bytes == -1 or is_repeated or (host is None and minor_version):
            return 400
        authority, path = split_target(target.decode("ascii"))
        return cls(
            method.decode("ascii"), authority or host, path, minor_version, folded, body_bytes
        )

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a 100 before it sends the body (RFC 9110 section 10.1.1)."""
        return self.minor_version > 0 and self.fields.get("expect", "").lower() == "100-continue"


def oversized(raw: bytes | bytearray) -> int:
    """Return the status that refuses a head for its size, whole or not; 0 where it is accepted."""
    if len(raw) > MAX_LINE_BYTES + 1 and raw.find(b"\r\n", 0, MAX_LINE_BYTES + 2) < 0:
        return 414
    return 431 if len(raw) > MAX_HEAD_BYTES else 0


def _body_bytes(fields: Mapping[str, str], minor_version: int) -> int | None:
    """Return the size of the body (B), None where it is chunked, -1 where that is ambiguous."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        is_clear = length is None and minor_version and coding.lower() == "chunked"
        return None if is_clear else -1
    if length is None:
        return 0
    return int(length) if _DIGITS.fullmatch(length) else -1


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority of an absolute target (RFC 9112 section 3.2.2), else None, and the path.

    Both are empty where the target is no URL.
    """
    if target.startswith("/"):
        return None, target.partition("?")[0]
    try:
        split = urlsplit(target)
    except ValueError:
        return None, ""
    return split.netloc, split.path
