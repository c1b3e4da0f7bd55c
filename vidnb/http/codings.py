"""Framing and codings of a response: whether the received body is the file, byte for byte.

aiohttp 3.14.5 decodes chunks only where it recognises the last transfer coding, and no other
transfer coding: with `gzip, chunked` the body arrives gzipped, with `chunked;x=1` as chunk framing.
So a body counts as the file only where every coding of its head is understood here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vidnb.http.headers import parse_content_length, parse_media_type

__all__ = ["ContentCoding", "Framing", "parse_content_coding", "parse_framing"]

_NONE: Final = frozenset({"", "identity"})
"""No coding at all. RFC 2616 section 3.6 had a transfer coding `identity`; an empty field is an
empty list."""

_NO_CODINGS: Final = frozenset(
    {
        *("none", "null", "nil", "undefined", "false"),
        *("binary", "raw", "plain", "text", "bytes", "7bit", "8bit"),
        *("ascii", "us-ascii", "unicode", "latin1", "gbk", "gb2312", "gb18030", "big5"),
        # Framings of a request body (S3) and of a message. The first bytes of the file show
        # whether the body still has them.
        *("aws-chunked", "chunked"),
    }
)
_CHARSET: Final = re.compile(
    r"(?:charset=)?\"?(?:utf-?(?:8|16|32)(?:-?[bl]e)?|iso-?8859-[0-9]{1,2}|latin-?[0-9]"
    r"|windows-125[0-9]|cp125[0-9]|shift[_-]jis|euc-(?:jp|kr)|koi8-[ru])\"?"
)

_MIME_IDENTITY: Final = frozenset({"binary", "7bit", "8bit", "none"})
"""Values of Content-Transfer-Encoding that encode nothing (RFC 2045 section 6.2)."""

_TOKENS: Final = re.compile(r"[a-z0-9_./-]{1,24}(?:, ?[a-z0-9_./-]{1,24}){0,3}")


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a body is marked: by chunks, by `length_bytes` (B), or by the connection.

    `error` is a clause that says why the body cannot be decoded, None if it can.
    """

    is_chunked: bool = False
    length_bytes: int | None = None
    error: str | None = None

    @property
    def marks_end(self) -> bool:
        """Whether a body that was cut can be told from a complete one."""
        return self.is_chunked or self.length_bytes is not None


def parse_framing(headers: Mapping[str, str]) -> Framing:
    """Parse the framing of a response by its folded headers (RFC 9112 sections 6.1 to 6.3).

    The transfer coding must be exactly `chunked`, once, in any case: aiohttp decodes nothing else.
    Chunks override a length, which aiohttp refuses beside them.
    """
    coding = headers.get("transfer-encoding", "").lower()
    if coding == "chunked":
        return Framing(is_chunked=True)
    if coding not in _NONE:
        return Framing(
            error=f"the origin sent the file with a transfer coding{_shown(coding)} that vidnb"
            " does not decode"
        )
    value = headers.get("content-length")
    if value is None:
        return Framing()
    length_bytes = parse_content_length(value)
    if length_bytes is None:
        return Framing(error="the origin sent an invalid Content-Length")
    return Framing(length_bytes=length_bytes)


@dataclass(frozen=True, slots=True)
class ContentCoding:
    """Whether the body is the file itself; without `error` and `claim` it is.

    `error`: a clause that says that it is not. `claim`: a field that names something else than a
    coding (`Content-Encoding: utf-8`); only the first bytes of the file show that it is harmless.
    """

    error: str | None = None
    claim: str | None = None


def parse_content_coding(headers: Mapping[str, str], *, is_partial: bool) -> ContentCoding:
    """Parse the fields that describe a coding of the body (RFC 9110 section 8.4).

    Origins put charsets, media types and the codings of an upload into Content-Encoding, and send
    the plain file. A registered coding, and a word that may be one, is an error. A full response
    (`is_partial` False) of several ranges would be stored with their framing.
    """
    value = headers.get("content-encoding", "").lower()
    items = [item.strip(" \t") for item in value.split(",")]
    if not all(map(_is_no_coding, items)):
        return ContentCoding(
            error=f"the origin sent the file compressed{_shown(value)} although it was asked not to"
        )
    if not _NONE.issuperset(items):
        return ContentCoding(claim=f"Content-Encoding{_shown(value)}")
    mime = headers.get("content-transfer-encoding", "").lower()
    if mime not in _NONE | _MIME_IDENTITY:  # HTTP does not use it (RFC 9112 appendix B.6)
        return ContentCoding(claim=f"Content-Transfer-Encoding{_shown(mime)}")
    if parse_media_type(headers.get("content-type", "")) == "multipart/byteranges" and (
        not is_partial
    ):
        return ContentCoding(claim="Content-Type (multipart/byteranges)")
    return ContentCoding()


def _is_no_coding(item: str) -> bool:
    return (
        item in _NONE
        or item in _NO_CODINGS
        or _CHARSET.fullmatch(item) is not None
        or parse_media_type(item) is not None
    )


def _shown(value: str) -> str:
    """Return a value for a sentence, if it consists of a few words; nothing else is quoted."""
    return f" ({value})" if _TOKENS.fullmatch(value) else ""
