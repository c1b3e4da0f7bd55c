"""Parsers and formatters of HTTP header fields (RFC 9110).

Every parser returns None for a malformed value, never raises, and takes linear time. Field values
are `str`; characters above U+007F stand for obs-text (section 5.5). HTTP's closed ranges (`0-499`)
are converted to half-open `ByteRange` here and nowhere else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from vidnb.http.content_disposition import parse_content_disposition
from vidnb.http.dates import format_http_date, parse_http_date, parse_retry_after
from vidnb.http.ranges import ByteRange

__all__ = [
    "MAX_FILE_BYTES",
    "ContentRange",
    "ETag",
    "RangeSpec",
    "fold_headers",
    "format_content_range",
    "format_http_date",
    "format_range",
    "parse_content_disposition",
    "parse_content_length",
    "parse_content_range",
    "parse_etag",
    "parse_etag_list",
    "parse_http_date",
    "parse_media_type",
    "parse_range",
    "parse_retry_after",
    "strong_match",
    "weak_match",
]

MAX_FILE_BYTES: Final = 10**18
"""The limit of a plausible file size (B, 1 EB); a larger number in a field is invalid."""

_OWS: Final = " \t"  # optional white space, section 5.6.3; str.strip() alone also strips Unicode's
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_ETAG_TEXT: Final = re.compile(r"[!\x23-\x7e\x80-\U0010ffff]*")

# Possessive quantifiers (`*+`) never backtrack, so a match takes linear time.
_RANGE_SPEC: Final = re.compile(r"(?:([0-9]++)-([0-9]*+)|-([0-9]++))")
_CONTENT_RANGE: Final = re.compile(
    r"bytes (?:(?P<first>[0-9]++)-(?P<last>[0-9]++)/(?:(?P<total>[0-9]++)|\*)"
    r"|\*/(?P<size>[0-9]++))",
    re.IGNORECASE | re.ASCII,
)
_ETAG: Final = re.compile(rf'(?P<weak>W/)?"(?P<opaque>{_ETAG_TEXT.pattern}+)"')
_ETAG_LIST_ITEM: Final = re.compile(rf"[ \t]*+(?:{_ETAG.pattern}[ \t]*+)?+(?:,|\Z)")
_DIGITS: Final = re.compile(r"[0-9]+")
_MEDIA_TYPE: Final = re.compile(rf"(?P<type>{_NAME}/{_NAME})[ \t]*+(?:;|\Z)")
_OBS_FOLD: Final = re.compile(r"\r?\n[ \t]++")


def _number(digits: str) -> int:
    # Exact up to 20 digits; a longer number stays larger than MAX_FILE_BYTES. int() of a whole
    # hostile field would take quadratic time, or raise.
    return int(digits.lstrip("0")[:20] or "0")


def _position(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else min(_number(digits), MAX_FILE_BYTES)


class RangeSpec(NamedTuple):
    """One element of a Range field (RFC 9110 section 14.1.2), offsets in bytes, `last` inclusive.

    `first` None: the last `last` bytes. `last` None: all bytes from `first`.
    """

    first: int | None
    last: int | None

    def resolve(self, size_bytes: int) -> ByteRange | None:
        """Return the bytes of a file of `size_bytes`; None if unsatisfiable.

        A suffix of an empty file is satisfiable by that section, and empty.
        """
        first, last = self
        if first is None:
            return ByteRange(max(0, size_bytes - last), size_bytes) if last else None
        if first >= size_bytes:
            return None
        return ByteRange(first, size_bytes if last is None or last >= size_bytes else last + 1)


def parse_range(value: str) -> tuple[RangeSpec, ...] | None:
    """Return the elements of a Range field in order, or None: another unit, or malformed.

    RFC 9110 section 14.1. One invalid element (`5-2`, `abc`) makes the field malformed. Empty list
    elements are skipped (section 5.6.1.2); positions are clamped to `MAX_FILE_BYTES`.
    """
    unit, _, listed = value.strip(_OWS).partition("=")
    if unit.lower() != "bytes":
        return None
    specs: list[RangeSpec] = []
    for item in listed.split(","):
        text = item.strip(_OWS)
        if not text:
            continue
        match = _RANGE_SPEC.fullmatch(text)
        if match is None:
            return None
        first, last, suffix = match.groups()
        start = None if first is None else _position(first)
        end = _position(last or suffix) if last or suffix else None
        if start is not None and end is not None and end < start:
            return None
        specs.append(RangeSpec(start, end))
    return tuple(specs) or None


def format_range(start: int, stop: int | None) -> str:
    """Format a Range field for the bytes `start` to `stop` (half-open; None: to the end).

    `ValueError` for an empty range, which HTTP cannot express.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"no Range field requests the bytes from {start} to {stop}")
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range in bytes (RFC 9110 section 14.4).

    `byte_range` None: `bytes */total` of a 416. `total` None: the size is unknown (`/*`).
    """

    byte_range: ByteRange | None
    total: int | None


def parse_content_range(value: str, *, may_overrun: bool = False) -> ContentRange | None:
    """Parse a Content-Range; None for another unit and for a malformed or invalid value.

    RFC 9110 section 14.4: the last position must not be before the first, nor outside the total.
    With `may_overrun` only the first position must lie within the total.
    """
    match = _CONTENT_RANGE.fullmatch(value.strip(_OWS))
    if match is None:
        return None
    if match["size"] is not None:
        size = _number(match["size"])
        return ContentRange(None, size) if size <= MAX_FILE_BYTES else None
    first, last = _number(match["first"]), _number(match["last"])
    total = None if match["total"] is None else _number(match["total"])
    end = MAX_FILE_BYTES if total is None else min(total, MAX_FILE_BYTES + 1)
    is_within = first < end and last < MAX_FILE_BYTES if may_overrun else last < end
    if not (first <= last and is_within and end <= MAX_FILE_BYTES):
        return None
    return ContentRange(ByteRange(first, last + 1), total)


def format_content_range(byte_range: ByteRange | None, total: int | None) -> str:
    """Format a Content-Range.

    `ValueError` for an empty range, a range outside `total`, and neither range nor total.
    """
    if byte_range is None and total is not None:
        return f"bytes */{total}"
    if not byte_range or (total is not None and total < byte_range.stop):
        raise ValueError(f"no Content-Range field expresses {byte_range} of {total}")
    return f"bytes {byte_range.start}-{byte_range.stop - 1}/{'*' if total is None else total}"


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag (RFC 9110 section 8.8.3); `str()` of it is the field value.

    `opaque` is the text without quotes; `ValueError` for a character that a tag cannot contain.
    """

    opaque: str
    weak: bool = False

    def __post_init__(self) -> None:
        if _ETAG_TEXT.fullmatch(self.opaque) is None:
            raise ValueError(f"an entity tag cannot contain {self.opaque!r}")

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


def parse_etag(value: str) -> ETag | None:
    """Return the entity tag, or None if the value is not exactly one."""
    match = _ETAG.fullmatch(value.strip(_OWS))
    return None if match is None else ETag(match["opaque"], match["weak"] is not None)


def parse_etag_list(value: str) -> Literal["*"] | tuple[ETag, ...] | None:
    """Return the tags of If-Match or If-None-Match, "*", or None if the value is malformed.

    RFC 9110 sections 13.1.1 and 13.1.2. A tag may contain commas; empty list elements are skipped.
    """
    if value.strip(_OWS) == "*":
        return "*"
    tags: list[ETag] = []
    position = 0
    while position < len(value):
        match = _ETAG_LIST_ITEM.match(value, position)
        if match is None:
            return None
        position = match.end()
        if match["opaque"] is not None:
            tags.append(ETag(match["opaque"], match["weak"] is not None))
    return tuple(tags)


def strong_match(a: ETag, b: ETag) -> bool:
    """Compare two tags strongly (RFC 9110 section 8.8.3.2): equal, and neither is weak."""
    return not a.weak and not b.weak and a.opaque == b.opaque


def weak_match(a: ETag, b: ETag) -> bool:
    """Compare two tags weakly (RFC 9110 section 8.8.3.2): weak or not, their text is equal."""
    return a.opaque == b.opaque


def parse_content_length(value: str) -> int | None:
    """Return the length in bytes, or None: malformed, conflicting, or above `MAX_FILE_BYTES`.

    RFC 9110 section 8.6: a list of equal values (`5, 5`) may be read as one value.
    """
    lengths: set[int] = set()
    for item in value.split(","):
        digits = item.strip(_OWS)
        if _DIGITS.fullmatch(digits) is None:
            return None
        lengths.add(_number(digits))
    length = lengths.pop()
    return None if lengths or length > MAX_FILE_BYTES else length


def parse_media_type(value: str) -> str | None:
    """Return `type/subtype` in lower case, without parameters, or None (RFC 9110 section 8.3.1)."""
    match = _MEDIA_TYPE.match(value.strip(_OWS))
    return None if match is None else match["type"].lower()


def fold_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return fields by lower-case name, repeated ones joined by ", " (RFC 9110 section 5.3).

    An obsolete line folding becomes a space (RFC 9112 section 5.2). Two ETags or two
    Content-Ranges join to a value that every parser rejects. Set-Cookie cannot be joined; vidnb
    does not use it.
    """
    folded: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        text = (_OBS_FOLD.sub(" ", value) if "\n" in value else value).strip(_OWS)
        folded[key] = f"{folded[key]}, {text}" if key in folded else text
    return folded
