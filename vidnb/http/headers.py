"""The grammar of the HTTP fields vidnb speaks (RFC 9110), to read and to write.

Three rules hold for every parser here. A malformed value gives None, never an exception: what
None means (ignore, refuse, retry) is the caller's decision. Digits are ASCII. The time is linear
in the length of the value, whatever it holds.

Field values come as `str`, where every character above U+007F stands for obs-text (section 5.5).
HTTP's closed ranges (`0-499`) become half-open spans here and nowhere else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from vidnb.http.content_disposition import parse_content_disposition
from vidnb.http.dates import format_http_date, parse_http_date, parse_retry_after
from vidnb.http.ranges import ByteRange

__all__ = [
    "LARGEST_BYTES",
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

LARGEST_BYTES: Final = 10**18
"""No file is larger (1 EB); a field that says so is wrong."""

_OWS: Final = " \t"  # optional white space, section 5.6.3; str.strip() alone takes Unicode's too
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_ETAG_TEXT: Final = re.compile(r"[!\x23-\x7e\x80-\U0010ffff]*")

# Possessive quantifiers (`*+`) never give back what they took, so a match costs linear time.
_RANGE_SPEC: Final = re.compile(r"(?P<first>[0-9]++)-(?P<last>[0-9]*+)|-(?P<suffix>[0-9]++)")
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
    # Exact up to 20 digits; beyond them still larger than LARGEST_BYTES, which is all that counts.
    # int() of a whole attacker's field would take quadratic time, or raise.
    return int(digits.lstrip("0")[:20] or "0")


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """One element of a byte Range (RFC 9110 section 14.1.2), offsets in bytes, `last` included.

    `first` None: the last `last` bytes. `last` None: all bytes from `first` on.
    """

    first: int | None
    last: int | None

    def within(self, size_bytes: int) -> ByteRange | None:
        """Return the bytes this names of a file of `size_bytes`; None where it is unsatisfiable.

        A suffix of an empty file is satisfiable, says the section, and empty.
        """
        if self.first is None:
            return ByteRange(max(0, size_bytes - self.last), size_bytes) if self.last else None
        stop = size_bytes if self.last is None else min(self.last + 1, size_bytes)
        return ByteRange(self.first, stop) if self.first < size_bytes else None


def parse_range(value: str) -> tuple[RangeSpec, ...] | None:
    """Return the elements of a Range field in their order, or None: another unit, or malformed.

    RFC 9110 section 14.1. One invalid element (`5-2`, `abc`) spoils the set. Empty list elements
    are skipped (section 5.6.1.2), positions clamped to `LARGEST_BYTES`.
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
        first, last = match["first"], match["last"] or match["suffix"]
        spec = RangeSpec(
            None if first is None else min(_number(first), LARGEST_BYTES),
            None if last is None else min(_number(last), LARGEST_BYTES),
        )
        if spec.first is not None and spec.last is not None and spec.last < spec.first:
            return None
        specs.append(spec)
    return tuple(specs) or None


def format_range(start: int, stop: int | None) -> str:
    """Write a Range field for the bytes `start` to `stop` (half-open; None: to the end).

    `ValueError` where that is no byte at all: HTTP cannot ask for nothing.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"no Range asks for the bytes from {start} to {stop}")
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range in bytes (RFC 9110 section 14.4).

    `byte_range` None: a 416's `bytes */total`. `total` None: the size is not known yet (`/*`).
    """

    byte_range: ByteRange | None
    total: int | None


def parse_content_range(value: str) -> ContentRange | None:
    """Return what a Content-Range says, or None: another unit, malformed, or impossible.

    RFC 9110 section 14.4: the last position must not lie before the first, nor outside the total.
    """
    match = _CONTENT_RANGE.fullmatch(value.strip(_OWS))
    if match is None:
        return None
    if match["size"] is not None:
        size = _number(match["size"])
        return ContentRange(None, size) if size <= LARGEST_BYTES else None
    first, last = _number(match["first"]), _number(match["last"])
    total = None if match["total"] is None else _number(match["total"])
    end = LARGEST_BYTES if total is None else min(total, LARGEST_BYTES + 1)
    if not first <= last < end <= LARGEST_BYTES:
        return None
    return ContentRange(ByteRange(first, last + 1), total)


def format_content_range(byte_range: ByteRange | None, total: int | None) -> str:
    """Write a Content-Range; `ValueError` where the section has no words for it.

    These are an empty span, a span outside `total`, and neither span nor total.
    """
    if byte_range is None and total is not None:
        return f"bytes */{total}"
    if not byte_range or (total is not None and total < byte_range.stop):
        raise ValueError(f"no Content-Range says {byte_range} of {total}")
    return f"bytes {byte_range.start}-{byte_range.stop - 1}/{'*' if total is None else total}"


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag (RFC 9110 section 8.8.3); `str()` of it is the field value.

    `opaque` comes without its quotes; `ValueError` for a character that cannot stand in one.
    """

    opaque: str
    weak: bool = False

    def __post_init__(self) -> None:
        if _ETAG_TEXT.fullmatch(self.opaque) is None:
            raise ValueError(f"an entity tag cannot hold {self.opaque!r}")

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


def parse_etag(value: str) -> ETag | None:
    """Return the entity tag, or None where the value is not exactly one."""
    match = _ETAG.fullmatch(value.strip(_OWS))
    return None if match is None else ETag(match["opaque"], match["weak"] is not None)


def parse_etag_list(value: str) -> Literal["*"] | tuple[ETag, ...] | None:
    """Return the tags of If-Match or If-None-Match, "*", or None where the value is malformed.

    RFC 9110 sections 13.1.1 and 13.1.2. A tag may hold commas; empty list elements are skipped.
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
    """Tell whether two tags name the same bytes (RFC 9110 section 8.8.3.2); a weak one can't."""
    return not a.weak and not b.weak and a.opaque == b.opaque


def weak_match(a: ETag, b: ETag) -> bool:
    """Tell whether two tags name equivalent representations (RFC 9110 section 8.8.3.2)."""
    return a.opaque == b.opaque


def parse_content_length(value: str) -> int | None:
    """Return the length in bytes, or None: malformed, conflicting, or above `LARGEST_BYTES`.

    RFC 9110 section 8.6: a field merged from equal ones (`5, 5`) may be read as one of them.
    """
    lengths: set[int] = set()
    for item in value.split(","):
        digits = item.strip(_OWS)
        if _DIGITS.fullmatch(digits) is None:
            return None
        lengths.add(_number(digits))
    length = lengths.pop()
    return None if lengths or length > LARGEST_BYTES else length


def parse_media_type(value: str) -> str | None:
    """Return `type/subtype` in lower case, without parameters, or None (RFC 9110 section 8.3.1)."""
    match = _MEDIA_TYPE.match(value.strip(_OWS))
    return None if match is None else match["type"].lower()


def fold_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return fields by lower-case name, repeated ones joined by ", " (RFC 9110 section 5.3).

    A line folded in the old way becomes one line (RFC 9112 section 5.2). Two ETags or two
    Content-Ranges join to a value that no parser accepts, which is what they deserve. Set-Cookie
    does not survive joining; vidnb never reads it.
    """
    folded: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        text = (_OBS_FOLD.sub(" ", value) if "\n" in value else value).strip(_OWS)
        folded[key] = f"{folded[key]}, {text}" if key in folded else text
    return folded
