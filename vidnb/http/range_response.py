"""The response of the range server: status, headers and byte ranges, without I/O.

Implements RFC 9110 sections 8.8 (validators), 13 (conditional requests) and 14 (ranges). Where the
RFC leaves a choice, a comment says which was made and why. Section numbers are those of RFC 9110.
The body consists of byte ranges of the file, which the caller reads and sends.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import floor
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from vidnb.http.headers import (
    ETag,
    format_content_range,
    format_http_date,
    parse_etag,
    parse_etag_list,
    parse_http_date,
    parse_range,
    strong_match,
    weak_match,
)
from vidnb.http.ranges import ByteRange

__all__ = ["MAX_PARTS", "FileState", "RangeResponse", "build_response", "can_continue"]

MAX_PARTS: Final = 64
"""The limit of parts after coalescing; above it Range is ignored (section 14.2 allows it).

Video players request one range, readers of archives and documents a few dozen; Apache's limit of
200 was its reaction to the attack that such limits prevent.
"""

# The characters that RFC 2046 section 5.1.1 allows in a boundary and that need no quotes, because
# "some existing implementations handle a quoted boundary string incorrectly" (section 14.6).
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'+_.-]{1,70}")
_MIN_DATE_S: Final = -62_135_596_800  # 1 January of the year 1, the earliest HTTP date

_Fields = tuple[tuple[str, str], ...]


class RangeResponse(NamedTuple):
    """Status, header fields in order, and the body as byte ranges of the file.

    `body` has literal bytes only as multipart framing. Its length is the Content-Length, except in
    a response to HEAD, whose body is empty.
    """

    status: int
    headers: _Fields
    body: tuple[bytes | ByteRange, ...] = ()

    @property
    def byte_ranges(self) -> tuple[ByteRange, ...]:
        """The byte ranges of the file in the body, in the order they are sent."""
        return tuple(part for part in self.body if isinstance(part, ByteRange))


class _File(NamedTuple):
    """The selected representation (section 3.2), as the response's header fields describe it."""

    size_bytes: int
    etag: ETag | None
    last_modified_s: int | None
    date_s: int


class FileState(NamedTuple):
    """The state of a file, as the operating system reports it.

    `size_bytes` (B), `modified_ns` and `changed_ns` (POSIX time, ns; the latter of names and
    permissions, too), and `inode` and `device`, which identify the file.
    """

    size_bytes: int
    modified_ns: int
    inode: int
    device: int
    changed_ns: int
    links: int

    def has_same_content(self, other: "FileState") -> bool:
        """Whether at most names and permissions differ, so that one validator is true of both."""
        return self[:4] == other[:4]


def can_continue(promised: FileState, now: FileState) -> bool:
    """Return whether a response that began in the state `promised` goes on in the state `now`.

    It does while the file has the bytes that its header fields promised: a recording in progress
    only grows, and `touch` changes no byte. A modification time cannot tell those from a rewrite in
    place, and another size or time gives the next response another validator (section 8.8.1). The
    response ends early where the file was truncated, or where it is another file.
    """
    is_same_file = (now.inode, now.device) == (promised.inode, promised.device)
    return is_same_file and now.size_bytes >= promised.size_bytes


def build_response(
    method: str,
    request_headers: Mapping[str, str],
    size_bytes: int,
    validator: ETag | None,
    modified_s: float | None,
    *,
    now_s: float,
    media_type: str,
    boundary: str,
    max_partial_bytes: int | None = None,
) -> RangeResponse:
    """Build the response to a request for a file of `size_bytes`.

    `request_headers` are folded, with lower-case names (`fold_headers`). `modified_s` and `now_s`
    are POSIX seconds. `boundary` separates multipart parts: 1 to 70 ASCII letters, digits or
    `'+_.-` that do not occur in the file. `max_partial_bytes` (B) limits a 206 for a single range,
    never a 200. `ValueError` for a limit below 1 and for an invalid boundary; every request gets a
    response.
    """
    if max_partial_bytes is not None and max_partial_bytes < 1:
        raise ValueError(f"max_partial_bytes must be at least 1, not {max_partial_bytes}")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError(f"{boundary!r} cannot be a multipart boundary")
    date_s = floor(now_s)
    date = ("Date", format_http_date(date_s))
    # Section 15.5.6. Methods are case-sensitive (9.1), and conditions are evaluated only if the
    # response without them would be a success (13.2.1).
    if method not in {"GET", "HEAD"}:
        return RangeResponse(405, (date, ("Allow", "GET, HEAD"), ("Content-Length", "0")))
    file = _File(size_bytes, validator, _last_modified_s(modified_s, date_s), date_s)
    validators: _Fields = () if validator is None else (("ETag", str(validator)),)
    if file.last_modified_s is not None:
        validators += (("Last-Modified", format_http_date(file.last_modified_s)),)
    match _precondition(request_headers, file, now_s):
        case 304:  # 15.4.5: Last-Modified only "if the response does not have an ETag"
            return RangeResponse(304, (date, *validators[:1]))
        case 412:
            return RangeResponse(412, (date, ("Content-Length", "0"), *validators))
    common = (("Accept-Ranges", "bytes"), *validators)
    # Section 14.2: Range is defined for GET only, so HEAD ignores it.
    byte_ranges = _requested_ranges(request_headers, file, now_s) if method == "GET" else None
    if byte_ranges is not None and not byte_ranges:
        size = ("Content-Range", format_content_range(None, size_bytes))
        return RangeResponse(416, (date, ("Content-Length", "0"), size, *common))
    if byte_ranges:
        partial = _partial(byte_ranges, size_bytes, media_type, boundary, max_partial_bytes)
        if partial is not None:
            fields, body = partial
            # Section 15.3.7 omits Content-Type and Last-Modified after If-Range. But a media
            # element reads the type from each response, and a validator does no harm.
            return RangeResponse(206, (date, *fields, *common), body)
    whole = (ByteRange(0, size_bytes),) if method == "GET" and size_bytes else ()
    length = ("Content-Length", str(size_bytes))
    return RangeResponse(200, (date, length, ("Content-Type", media_type), *common), whole)


def _last_modified_s(modified_s: float | None, date_s: int) -> int | None:
    # Section 8.8.2.1: never later than Date. Rounded down, as 8.8.2.2 assumes ("the second covered
    # by" the date); rounded up, the date of a new file would be in the future.
    if modified_s is None or modified_s < _MIN_DATE_S:
        return None
    return floor(min(modified_s, date_s))


def _precondition(
    request: Mapping[str, str], file: _File, now_s: float
) -> Literal[304, 412] | None:
    """Evaluate the conditions in the order of section 13.2.2; None to perform the method."""
    if_match = request.get("if-match")
    if if_match is not None:
        # 13.1.1: strong comparison. "*" matches, because the file exists. A malformed list matches
        # nothing: a client that sends this field requires one version.
        if not _matches_any(if_match, file.etag, strong_match):
            return 412
    elif file.last_modified_s is not None:
        # 13.1.4: ignored beside If-Match, without a date to compare, and if malformed.
        unmodified_since_s = _date(request.get("if-unmodified-since"), now_s)
        if unmodified_since_s is not None and file.last_modified_s > unmodified_since_s:
            return 412
    if_none_match = request.get("if-none-match")
    if if_none_match is not None:
        # 13.1.2: weak comparison; the method is GET or HEAD here, so a match means 304.
        return 304 if _matches_any(if_none_match, file.etag, weak_match) else None
    if file.last_modified_s is not None:
        # 13.1.3: ignored beside If-None-Match, without a date to compare, and if malformed.
        modified_since_s = _date(request.get("if-modified-since"), now_s)
        if modified_since_s is not None and file.last_modified_s <= modified_since_s:
            return 304
    return None


def _matches_any(value: str, etag: ETag | None, matches: Callable[[ETag, ETag], bool]) -> bool:
    tags = parse_etag_list(value)
    if tags is None or tags == "*":
        return tags == "*"
    return etag is not None and any(matches(tag, etag) for tag in tags)


def _date(value: str | None, now_s: float) -> int | None:
    return None if value is None else parse_http_date(value, now_s)


def _if_range_matches(value: str, file: _File, now_s: float) -> bool:
    """Return whether the client's part is of this version (If-Range, section 13.1.5)."""
    etag = parse_etag(value)
    if etag is not None:  # strong comparison, so a weak tag on either side is false
        return file.etag is not None and strong_match(etag, file.etag)
    # A date must "exactly match" Last-Modified and be strong (8.8.2.2): its second must be over by
    # Date, or the file may change again within it. A value that is neither tag nor date is false.
    date_s = parse_http_date(value, now_s)
    return date_s is not None and date_s == file.last_modified_s and date_s < file.date_s


def _requested_ranges(
    request: Mapping[str, str], file: _File, now_s: float
) -> list[ByteRange] | None:
    """Return the satisfiable ranges as requested (sections 13.2.2 step 5 and 14.2).

    None: no Range, or one to ignore, so 200. Empty: none is satisfiable, so 416.
    """
    value = request.get("range")
    if value is None:  # If-Range is then ignored (13.1.5)
        return None
    if_range = request.get("if-range")
    if if_range is not None and not _if_range_matches(if_range, file, now_s):
        return None
    specs = parse_range(value)
    if specs is None:  # another unit must be ignored, a malformed set may be (14.2)
        return None
    found = [each for spec in specs if (each := spec.resolve(file.size_bytes)) is not None]
    # A suffix of an empty file is satisfiable (14.1.2), but no Content-Range can express it.
    return found if all(found) else None


def _partial(
    byte_ranges: Sequence[ByteRange],
    size_bytes: int,
    media_type: str,
    boundary: str,
    max_partial_bytes: int | None,
) -> tuple[_Fields, tuple[bytes | ByteRange, ...]] | None:
    """Return header fields and body of a 206 (section 15.3.7); None if a 200 is better."""
    if len(byte_ranges) > 1:
        last_byte = ByteRange(size_bytes - 1, size_bytes)
        overhead_bytes = len(_part_head(last_byte, size_bytes, media_type, boundary))
        byte_ranges = _coalesced(byte_ranges, overhead_bytes)
    if len(byte_ranges) == 1:
        # 15.3.7.1. A request for one range must not get a multipart response (15.3.7.2); one whose
        # ranges coalesced to one may, but fewer clients support it.
        only = byte_ranges[0]
        if max_partial_bytes is not None and only.size_bytes > max_partial_bytes:
            only = ByteRange(only.start, only.start + max_partial_bytes)
        return (
            ("Content-Length", str(only.size_bytes)),
            ("Content-Type", media_type),
            ("Content-Range", format_content_range(only, size_bytes)),
        ), (only,)
    if len(byte_ranges) > MAX_PARTS:
        return None
    body: list[bytes | ByteRange] = []
    for byte_range in byte_ranges:
        body += [_part_head(byte_range, size_bytes, media_type, boundary), byte_range]
    body.append(f"\r\n--{boundary}--\r\n".encode())
    lengths = (part.size_bytes if isinstance(part, ByteRange) else len(part) for part in body)
    length_bytes = sum(lengths)
    if length_bytes > size_bytes:
        return None
    # 15.3.7.2: no Content-Range in the header of a multipart response; each part has its own.
    return (
        ("Content-Length", str(length_bytes)),
        ("Content-Type", f"multipart/byteranges; boundary={boundary}"),
    ), tuple(body)


def _part_head(byte_range: ByteRange, size_bytes: int, media_type: str, boundary: str) -> bytes:
    # Sections 14.6 and 15.3.7.2. The line break before a boundary is part of it; before the first
    # one it is an empty preamble ("additional CRLFs might precede the first boundary string").
    return (
        f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
        f"Content-Range: {format_content_range(byte_range, size_bytes)}\r\n\r\n"
    ).encode()


def _coalesced(byte_ranges: Iterable[ByteRange], overhead_bytes: int) -> list[ByteRange]:
    """Join ranges that overlap or whose gap is smaller than a part's framing (section 15.3.7.2).

    A joined range has the position of the first of its ranges, so the requested order is kept.
    O(n log n) in the number of ranges, in any order.
    """
    joined: list[tuple[int, ByteRange]] = []
    for position, byte_range in sorted(enumerate(byte_ranges), key=itemgetter(1)):
        if joined and byte_range.start - joined[-1][1].stop < overhead_bytes:
            earlier, last = joined[-1]
            stop = max(last.stop, byte_range.stop)
            joined[-1] = min(earlier, position), ByteRange(last.start, stop)
        else:
            joined.append((position, byte_range))
    return [byte_range for _, byte_range in sorted(joined)]
