"""Tests of the range response: the rules of RFC 9110 in a table, then models.

A row has the section, the expected response and the request. `summary` formats a response as one
line: the status, then the length of a file, the range over the size, or the parts of a multipart
body.
"""

from collections import Counter
from email.parser import BytesParser
from itertools import product
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidnb.http.headers import ETag, parse_content_range, parse_range
from vidnb.http.range_response import (
    MAX_PARTS,
    FileState,
    RangeResponse,
    build_response,
    can_continue,
)
from vidnb.http.ranges import ByteRange

no_deadline = settings(deadline=None)  # a slow machine is not a failure

SIZE = 10_000
NOW_S = 1_000_000_000.9
NOW = "Sun, 09 Sep 2001 01:46:40 GMT"
MODIFIED_S = 999_999_000.75
MODIFIED = "Sun, 09 Sep 2001 01:30:00 GMT"
OLD_FORMS = ("Sunday, 09-Sep-01 01:30:00 GMT", "Sun Sep  9 01:30:00 2001")
EARLIER = "Sun, 09 Sep 2001 01:29:59 GMT"
LATER = "Sun, 09 Sep 2001 01:30:01 GMT"
TAG, WEAK, OTHER = '"v1"', 'W/"v1"', '"v2"'
JUNK = "yesterday"

# The size of the framing of one more part in a file of SIZE bytes, counted by hand:
# CRLF --B CRLF (7), Content-Type: video/mp4 CRLF (25),
# Content-Range: bytes 9999-9999/10000 CRLF (38), CRLF (2); the end is CRLF --B-- CRLF.
OVERHEAD = 72
CLOSING = 9

STRONG_TAG = ETag("v1")
WEAK_TAG = ETag("v1", weak=True)


def respond(  # the defaults of a table row
    *,
    method: str = "GET",
    size: int = SIZE,
    etag: ETag | None = STRONG_TAG,
    modified_s: float | None = MODIFIED_S,
    now_s: float = NOW_S,
    cap: int | None = None,
    media_type: str = "video/mp4",
    boundary: str = "B",
    **fields: str,
) -> RangeResponse:
    """Build a response to header fields given as keywords (`if_range=`); check the invariants."""
    request = {name.replace("_", "-"): value for name, value in fields.items()}
    response = build_response(
        method,
        request,
        size,
        etag,
        modified_s,
        now_s=now_s,
        media_type=media_type,
        boundary=boundary,
        max_partial_bytes=cap,
    )
    check_invariants(response, method, size)
    return response


def check_invariants(response: RangeResponse, method: str, size: int) -> None:
    fields = dict(response.headers)
    assert len(fields) == len(response.headers)  # no duplicate field
    assert response.headers[0][0] == "Date"
    sent = sum(
        part.size_bytes if isinstance(part, ByteRange) else len(part) for part in response.body
    )
    if response.status == 304:
        assert "Content-Length" not in fields
    elif method == "HEAD" and response.status == 200:
        assert fields["Content-Length"] == str(size)
    else:
        assert fields["Content-Length"] == str(sent)
    assert sent <= size
    assert all(byte_range and byte_range.stop <= size for byte_range in response.byte_ranges)
    if method == "HEAD" or response.status not in {200, 206}:
        assert response.body == ()
    assert ("Content-Type" in fields) == (response.status in {200, 206})
    assert ("Accept-Ranges" in fields) == (response.status in {200, 206, 416})
    assert ("Allow" in fields) == (response.status == 405)
    multipart = fields.get("Content-Type", "").startswith("multipart/")
    assert multipart == (len(response.byte_ranges) > 1)
    assert multipart == any(isinstance(part, bytes) for part in response.body)
    assert ("Content-Range" in fields) == (response.status in {206, 416} and not multipart)


def summary(response: RangeResponse) -> str:
    fields = dict(response.headers)
    match response.status:
        case 200:
            return f"200 {fields['Content-Length']}"
        case 206 if len(response.byte_ranges) > 1:
            parts = (
                f"{byte_range.start}-{byte_range.stop - 1}" for byte_range in response.byte_ranges
            )
            return f"206 {' + '.join(parts)}"
        case 206 | 416:
            return f"{response.status} {fields['Content-Range'].removeprefix('bytes ')}"
        case status:
            return str(status)


WHOLE = "200 10000"
FIRST_TEN = "206 0-9/10000"
TEN: dict[str, Any] = {"range": "bytes=0-9"}
HEAD: dict[str, Any] = {"method": "HEAD"}
EMPTY: dict[str, Any] = {"size": 0}
NO_TAG: dict[str, Any] = {"etag": None}
NO_DATE: dict[str, Any] = {"modified_s": None}

Row = tuple[str, str, dict[str, Any]]

METHODS: list[Row] = [
    ("15.5.6 POST", "405", {"method": "POST"}),
    ("15.5.6 PUT", "405", {"method": "PUT"}),
    ("15.5.6 DELETE", "405", {"method": "DELETE"}),
    ("15.5.6 OPTIONS", "405", {"method": "OPTIONS"}),
    ("15.5.6 TRACE", "405", {"method": "TRACE"}),
    ("15.5.6 CONNECT", "405", {"method": "CONNECT"}),
    ("15.5.6 empty", "405", {"method": ""}),
    ("9.1 methods are case-sensitive", "405", {"method": "get"}),
    ("9.1 methods are case-sensitive", "405", {"method": "Head"}),
    ("13.2.1 no condition without a success", "405", {"method": "POST", "if_match": OTHER}),
    ("13.2.1 no condition without a success", "405", {"method": "PUT", "if_none_match": "*"}),
    ("14.2 no range without GET", "405", {"method": "POST", **TEN}),
    ("9.3.1 GET", WHOLE, {}),
    ("9.3.2 HEAD", WHOLE, HEAD),
    ("9.3.1 GET of nothing", "200 0", EMPTY),
    ("9.3.2 HEAD of nothing", "200 0", {**EMPTY, **HEAD}),
    ("9.3.1 GET of one byte", "200 1", {"size": 1}),
]

IF_MATCH: list[Row] = [
    ("13.1.1 equal", WHOLE, {"if_match": TAG}),
    ("13.1.1 other", "412", {"if_match": OTHER}),
    ("13.1.1 one of a list", WHOLE, {"if_match": f"{OTHER}, {TAG}"}),
    ("13.1.1 none of a list", "412", {"if_match": f'{OTHER}, "v3"'}),
    ("13.1.1 star", WHOLE, {"if_match": "*"}),
    ("13.1.1 star without a tag", WHOLE, {"if_match": "*", **NO_TAG}),
    ("13.1.1 a tag, the file has none", "412", {"if_match": TAG, **NO_TAG}),
    ("13.1.1 strong comparison, weak requested", "412", {"if_match": WEAK}),
    ("13.1.1 strong comparison, weak here", "412", {"if_match": TAG, "etag": WEAK_TAG}),
    ("13.1.1 strong comparison, both weak", "412", {"if_match": WEAK, "etag": WEAK_TAG}),
    ("13.1.1 malformed matches nothing", "412", {"if_match": "v1"}),
    ("13.1.1 malformed after a match", "412", {"if_match": f"{TAG}, v1"}),
    ("13.1.1 empty matches nothing", "412", {"if_match": ""}),
    ("13.1.1 a comma in a tag", WHOLE, {"if_match": '"a,b"', "etag": ETag("a,b")}),
    ("13.1.1 HEAD", "412", {"if_match": OTHER, **HEAD}),
    ("13.1.1 with a range", FIRST_TEN, {"if_match": TAG, **TEN}),
    ("13.1.1 before the range", "412", {"if_match": OTHER, **TEN}),
    ("13.1.1 before an unsatisfiable range", "412", {"if_match": OTHER, "range": "bytes=10000-"}),
    ("13.1.1 an empty file", "412", {"if_match": OTHER, **EMPTY}),
]

IF_UNMODIFIED_SINCE: list[Row] = [
    ("13.1.4 equal", WHOLE, {"if_unmodified_since": MODIFIED}),
    ("13.1.4 later", WHOLE, {"if_unmodified_since": LATER}),
    ("13.1.4 earlier", "412", {"if_unmodified_since": EARLIER}),
    ("13.1.4 RFC 850 form", WHOLE, {"if_unmodified_since": OLD_FORMS[0]}),
    ("13.1.4 asctime form", WHOLE, {"if_unmodified_since": OLD_FORMS[1]}),
    ("13.1.4 no date", WHOLE, {"if_unmodified_since": JUNK}),
    ("13.1.4 two dates", WHOLE, {"if_unmodified_since": f"{EARLIER}, {EARLIER}"}),
    ("13.1.4 no date to compare", WHOLE, {"if_unmodified_since": EARLIER, **NO_DATE}),
    ("13.1.4 HEAD", "412", {"if_unmodified_since": EARLIER, **HEAD}),
    ("13.1.4 before the range", "412", {"if_unmodified_since": EARLIER, **TEN}),
    ("13.1.4 with a range", FIRST_TEN, {"if_unmodified_since": MODIFIED, **TEN}),
    (
        "13.1.4 ignored beside If-Match",
        WHOLE,
        {"if_match": TAG, "if_unmodified_since": EARLIER},
    ),
    (
        "13.1.4 ignored beside a false If-Match",
        "412",
        {"if_match": OTHER, "if_unmodified_since": LATER},
    ),
]

IF_NONE_MATCH: list[Row] = [
    ("13.1.2 equal", "304", {"if_none_match": TAG}),
    ("13.1.2 other", WHOLE, {"if_none_match": OTHER}),
    ("13.1.2 one of a list", "304", {"if_none_match": f"{OTHER}, {TAG}"}),
    ("13.1.2 none of a list", WHOLE, {"if_none_match": f'{OTHER}, "v3"'}),
    ("13.1.2 star", "304", {"if_none_match": "*"}),
    ("13.1.2 star without a tag", "304", {"if_none_match": "*", **NO_TAG}),
    ("13.1.2 a tag, the file has none", WHOLE, {"if_none_match": TAG, **NO_TAG}),
    ("13.1.2 weak comparison, weak requested", "304", {"if_none_match": WEAK}),
    ("13.1.2 weak comparison, weak here", "304", {"if_none_match": TAG, "etag": WEAK_TAG}),
    ("13.1.2 weak comparison, both weak", "304", {"if_none_match": WEAK, "etag": WEAK_TAG}),
    ("13.1.2 malformed matches nothing", WHOLE, {"if_none_match": "v1"}),
    ("13.1.2 empty matches nothing", WHOLE, {"if_none_match": ""}),
    ("13.1.2 HEAD", "304", {"if_none_match": TAG, **HEAD}),
    ("13.1.2 before the range", "304", {"if_none_match": TAG, **TEN}),
    ("13.1.2 with a range", FIRST_TEN, {"if_none_match": OTHER, **TEN}),
    ("13.1.2 before a bad range", "304", {"if_none_match": TAG, "range": "bytes=10000-"}),
    ("13.1.2 an empty file", "304", {"if_none_match": TAG, **EMPTY}),
]

IF_MODIFIED_SINCE: list[Row] = [
    ("13.1.3 equal", "304", {"if_modified_since": MODIFIED}),
    ("13.1.3 later", "304", {"if_modified_since": LATER}),
    ("13.1.3 earlier", WHOLE, {"if_modified_since": EARLIER}),
    ("13.1.3 RFC 850 form", "304", {"if_modified_since": OLD_FORMS[0]}),
    ("13.1.3 asctime form", "304", {"if_modified_since": OLD_FORMS[1]}),
    ("13.1.3 no date", WHOLE, {"if_modified_since": JUNK}),
    ("13.1.3 two dates", WHOLE, {"if_modified_since": f"{LATER}, {LATER}"}),
    ("13.1.3 no date to compare", WHOLE, {"if_modified_since": LATER, **NO_DATE}),
    ("13.1.3 HEAD", "304", {"if_modified_since": MODIFIED, **HEAD}),
    ("13.1.3 before the range", "304", {"if_modified_since": MODIFIED, **TEN}),
    ("13.1.3 with a range", FIRST_TEN, {"if_modified_since": EARLIER, **TEN}),
    (
        "13.1.3 ignored beside If-None-Match",
        WHOLE,
        {"if_none_match": OTHER, "if_modified_since": LATER},
    ),
    (
        "13.1.3 ignored beside a malformed If-None-Match",
        WHOLE,
        {"if_none_match": "v1", "if_modified_since": LATER},
    ),
    (
        "13.1.3 ignored beside a true If-None-Match",
        "304",
        {"if_none_match": TAG, "if_modified_since": EARLIER},
    ),
    # A date in the future was Date when it was sent; the file may have changed since.
    ("8.8.2.1 a future file", WHOLE, {"modified_s": 2e9, "if_modified_since": MODIFIED}),
    ("8.8.2.1 a future file", "304", {"modified_s": 2e9, "if_modified_since": NOW}),
]

PRECEDENCE: list[Row] = [
    ("13.2.2 step 1 before 3", "412", {"if_match": OTHER, "if_none_match": TAG}),
    ("13.2.2 step 1, then 3", "304", {"if_match": TAG, "if_none_match": TAG}),
    ("13.2.2 step 1, then 4", "304", {"if_match": TAG, "if_modified_since": MODIFIED}),
    ("13.2.2 step 2 before 3", "412", {"if_unmodified_since": EARLIER, "if_none_match": TAG}),
    ("13.2.2 step 2, then 3", "304", {"if_unmodified_since": MODIFIED, "if_none_match": TAG}),
    ("13.2.2 step 2 before 4", "412", {"if_unmodified_since": EARLIER, "if_modified_since": LATER}),
    ("13.2.2 step 3 before 5", "304", {"if_none_match": TAG, "if_range": TAG, **TEN}),
    ("13.2.2 step 4 before 5", "304", {"if_modified_since": LATER, "if_range": OTHER, **TEN}),
    (
        "13.2.2 all true",
        FIRST_TEN,
        {"if_match": TAG, "if_none_match": OTHER, "if_range": TAG, **TEN},
    ),
    (
        "13.2.2 all dates true",
        FIRST_TEN,
        {
            "if_unmodified_since": MODIFIED,
            "if_modified_since": EARLIER,
            "if_range": MODIFIED,
            **TEN,
        },
    ),
]

IF_RANGE: list[Row] = [
    ("13.1.5 equal tag", FIRST_TEN, {"if_range": TAG, **TEN}),
    ("13.1.5 other tag", WHOLE, {"if_range": OTHER, **TEN}),
    ("13.1.5 strong comparison, weak requested", WHOLE, {"if_range": WEAK, **TEN}),
    ("13.1.5 strong comparison, weak here", WHOLE, {"if_range": TAG, "etag": WEAK_TAG, **TEN}),
    ("13.1.5 strong comparison, both weak", WHOLE, {"if_range": WEAK, "etag": WEAK_TAG, **TEN}),
    ("13.1.5 a tag, the file has none", WHOLE, {"if_range": TAG, **NO_TAG, **TEN}),
    ("13.1.5 a list is no tag", WHOLE, {"if_range": f"{TAG}, {TAG}", **TEN}),
    ("13.1.5 star is no tag", WHOLE, {"if_range": "*", **TEN}),
    ("13.1.5 malformed", WHOLE, {"if_range": "v1", **TEN}),
    ("13.1.5 empty", WHOLE, {"if_range": "", **TEN}),
    ("13.1.5 equal date", FIRST_TEN, {"if_range": MODIFIED, **TEN}),
    ("13.1.5 equal date, no tag here", FIRST_TEN, {"if_range": MODIFIED, **NO_TAG, **TEN}),
    ("13.1.5 RFC 850 form", FIRST_TEN, {"if_range": OLD_FORMS[0], **TEN}),
    ("13.1.5 asctime form", FIRST_TEN, {"if_range": OLD_FORMS[1], **TEN}),
    ("13.1.5 earlier date", WHOLE, {"if_range": EARLIER, **TEN}),
    ("13.1.5 later date is not exact", WHOLE, {"if_range": LATER, **TEN}),
    ("13.1.5 no date to compare", WHOLE, {"if_range": MODIFIED, **NO_DATE, **TEN}),
    ("13.1.5 without Range", WHOLE, {"if_range": TAG}),
    ("13.1.5 false without Range", WHOLE, {"if_range": OTHER}),
    ("13.1.5 a false one hides a 416", WHOLE, {"if_range": OTHER, "range": "bytes=10000-"}),
    ("13.1.5 a true one does not", "416 */10000", {"if_range": TAG, "range": "bytes=10000-"}),
    ("13.1.5 true with a malformed range", WHOLE, {"if_range": TAG, "range": "bytes=x"}),
    ("13.1.5 HEAD", WHOLE, {"if_range": TAG, **TEN, **HEAD}),
    (
        "13.1.5 several ranges",
        "206 0-9 + 500-509",
        {"if_range": TAG, "range": "bytes=0-9,500-509"},
    ),
    # 8.8.2.2: strong if its second is over by Date
    (
        "8.8.2.2 the same second",
        WHOLE,
        {"modified_s": 999_999_000.0, "now_s": 999_999_000.99, "if_range": MODIFIED, **TEN},
    ),
    (
        "8.8.2.2 the next second",
        FIRST_TEN,
        {"modified_s": 999_999_000.99, "now_s": 999_999_001.0, "if_range": MODIFIED, **TEN},
    ),
    ("8.8.2.2 a future file", WHOLE, {"modified_s": 2e9, "if_range": NOW, **TEN}),
    (
        "8.8.2.2 a future file beside its tag",
        FIRST_TEN,
        {"modified_s": 2e9, "if_range": TAG, **TEN},
    ),
]

ONE_RANGE: list[Row] = [
    ("14.1.2 first ten", FIRST_TEN, TEN),
    ("14.1.2 one byte", "206 0-0/10000", {"range": "bytes=0-0"}),
    ("14.1.2 Safari's probe", "206 0-1/10000", {"range": "bytes=0-1"}),
    ("14.1.2 last byte", "206 9999-9999/10000", {"range": "bytes=9999-9999"}),
    ("14.1.2 from zero on is a 206", "206 0-9999/10000", {"range": "bytes=0-"}),
    ("14.1.2 all of it is a 206", "206 0-9999/10000", {"range": "bytes=0-9999"}),
    ("14.1.2 open end", "206 9500-9999/10000", {"range": "bytes=9500-"}),
    ("14.1.2 suffix", "206 9500-9999/10000", {"range": "bytes=-500"}),
    ("14.1.2 suffix of one", "206 9999-9999/10000", {"range": "bytes=-1"}),
    ("14.1.2 suffix of all", "206 0-9999/10000", {"range": "bytes=-10000"}),
    ("14.1.2 suffix beyond all", "206 0-9999/10000", {"range": "bytes=-10001"}),
    ("14.1.2 last beyond the end", "206 9990-9999/10000", {"range": "bytes=9990-10000"}),
    ("14.1.2 last far beyond", "206 0-9999/10000", {"range": f"bytes=0-{'9' * 5000}"}),
    ("14.1.2 white space", FIRST_TEN, {"range": "bytes= 0-9"}),
    ("14.1 units have no case", FIRST_TEN, {"range": "Bytes=0-9"}),
    ("5.6.1.2 empty elements", FIRST_TEN, {"range": "bytes=,, 0-9 ,"}),
    ("14.2 HEAD ignores Range", WHOLE, {**TEN, **HEAD}),
    ("14.2 HEAD ignores a bad one", WHOLE, {"range": "bytes=10000-", **HEAD}),
    ("14.2 unknown unit", WHOLE, {"range": "items=0-9"}),
    ("14.2 no unit", WHOLE, {"range": "0-9"}),
    ("14.2 empty", WHOLE, {"range": ""}),
    ("14.2 no ranges", WHOLE, {"range": "bytes="}),
    ("14.2 malformed", WHOLE, {"range": "bytes=abc"}),
    ("14.2 malformed", WHOLE, {"range": "bytes=0-9-20"}),
    ("14.2 malformed", WHOLE, {"range": "bytes=--5"}),
    ("14.2 two fields", WHOLE, {"range": "bytes=0-9, bytes=20-29"}),
    ("14.2 other digits", WHOLE, {"range": "bytes=\u0660-\u0669"}),
    ("14.1.1 last before first", WHOLE, {"range": "bytes=9-0"}),
    ("14.1.1 one invalid element makes the set invalid", WHOLE, {"range": "bytes=0-9,9-0"}),
    ("14.1.1 one invalid element makes the set invalid", WHOLE, {"range": "bytes=10000-,9-0"}),
    ("15.5.17 first at the end", "416 */10000", {"range": "bytes=10000-"}),
    ("15.5.17 first beyond the end", "416 */10000", {"range": "bytes=10001-10002"}),
    ("15.5.17 first far beyond", "416 */10000", {"range": f"bytes={'9' * 5000}-"}),
    ("15.5.17 suffix of nothing", "416 */10000", {"range": "bytes=-0"}),
    ("15.5.17 all unsatisfiable", "416 */10000", {"range": "bytes=10000-,-0,20000-20001"}),
    ("15.5.17 one byte", "416 */1", {"size": 1, "range": "bytes=1-"}),
    ("14.1.2 one byte", "206 0-0/1", {"size": 1, "range": "bytes=0-"}),
    ("15.5.17 empty file, from zero", "416 */0", {**EMPTY, "range": "bytes=0-"}),
    ("15.5.17 empty file, first byte", "416 */0", {**EMPTY, "range": "bytes=0-0"}),
    ("15.5.17 empty file, no suffix", "416 */0", {**EMPTY, "range": "bytes=-0"}),
    ("14.1.2 empty file, suffix", "200 0", {**EMPTY, "range": "bytes=-5"}),
    ("14.1.2 empty file, suffix and more", "200 0", {**EMPTY, "range": "bytes=0-,-5"}),
    ("14.1.2 empty file, HEAD", "200 0", {**EMPTY, **HEAD, "range": "bytes=0-"}),
    ("15.3.7 cap", "206 0-9/10000", {"cap": 10, "range": "bytes=0-"}),
    ("15.3.7 cap from the middle", "206 500-509/10000", {"cap": 10, "range": "bytes=500-600"}),
    ("15.3.7 cap of a suffix", "206 9900-9909/10000", {"cap": 10, "range": "bytes=-100"}),
    ("15.3.7 cap of one byte", "206 7-7/10000", {"cap": 1, "range": "bytes=7-"}),
    ("15.3.7 cap just reached", FIRST_TEN, {"cap": 10, **TEN}),
    ("15.3.7 cap not reached", FIRST_TEN, {"cap": 11, **TEN}),
    ("15.3.7 cap beyond the file", "206 0-9999/10000", {"cap": 10**9, "range": "bytes=0-"}),
    ("15.3.7 no cap on a 200", WHOLE, {"cap": 10}),
    ("15.3.7 no cap on an ignored range", WHOLE, {"cap": 10, "range": "bytes=x"}),
    ("15.3.7 no cap on a false If-Range", WHOLE, {"cap": 10, "if_range": OTHER, **TEN}),
]


def separated(gap: int) -> str:
    """Two ranges of ten bytes with `gap` bytes between them."""
    return f"bytes=0-9,{10 + gap}-{19 + gap}"


def many(count: int, *, step: int = 100) -> str:
    return "bytes=" + ",".join(f"{position * step}-{position * step}" for position in range(count))


SEVERAL: list[Row] = [
    ("15.3.7.2 two", "206 0-9 + 500-509", {"range": "bytes=0-9,500-509"}),
    ("15.3.7.2 first and last byte", "206 0-0 + 9999-9999", {"range": "bytes=0-0,-1"}),
    ("15.3.7.2 in the order requested", "206 500-509 + 0-9", {"range": "bytes=500-509,0-9"}),
    (
        "15.3.7.2 in the order requested",
        "206 9990-9999 + 0-9 + 5000-5009",
        {"range": "bytes=-10,0-9,5000-5009"},
    ),
    ("15.3.7.2 without the unsatisfiable", "206 0-9/10000", {"range": "bytes=10000-,0-9"}),
    (
        "15.3.7.2 without the unsatisfiable",
        "206 500-509 + 0-9",
        {"range": "bytes=500-509,20000-,-0,0-9"},
    ),
    ("15.3.7.2 overlapping", "206 0-19/10000", {"range": "bytes=0-9,5-19"}),
    ("15.3.7.2 within", "206 0-99/10000", {"range": "bytes=0-99,5-19"}),
    ("15.3.7.2 around", "206 0-99/10000", {"range": "bytes=5-19,0-99"}),
    ("15.3.7.2 twice the same", FIRST_TEN, {"range": "bytes=0-9,0-9"}),
    ("15.3.7.2 touching", "206 0-19/10000", {"range": "bytes=10-19,0-9"}),
    ("15.3.7.2 both halves", "206 0-9999/10000", {"range": "bytes=5000-,0-4999"}),
    ("15.3.7.2 a gap below the overhead", f"206 0-{OVERHEAD + 18}/10000", {"range": separated(71)}),
    ("15.3.7.2 a gap of the overhead", "206 0-9 + 82-91", {"range": separated(OVERHEAD)}),
    ("15.3.7.2 a longer boundary", "206 0-91/10000", {"range": separated(72), "boundary": "BB"}),
    (
        "15.3.7.2 a longer type",
        "206 0-91/10000",
        {"range": separated(72), "media_type": "video/webm"},
    ),
    (
        "15.3.7.2 coalesced at the position of its first range",
        "206 5000-5009 + 0-29 + 9000-9009",
        {"range": "bytes=5000-5009,20-29,9000-9009,0-9"},
    ),
    (
        "15.3.7.2 coalesced through a third",
        "206 0-209 + 900-909",
        {"range": "bytes=0-9,900-909,200-209,10-199"},
    ),
    ("15.3.7.2 the widest range", "206 0-999/10000", {"range": "bytes=0-999,10-19,990-995"}),
    ("14.2 MAX_PARTS", "parts", {"range": many(64), "size": 10**6}),
    ("14.2 one beyond MAX_PARTS", "200 1000000", {"range": many(65), "size": 10**6}),
    (
        "14.2 MAX_PARTS counts after coalescing",
        "parts",
        {"range": many(64) + ",0-5,1-6", "size": 10**6},
    ),
    ("14.2 a thousand, one run", "206 0-1998/10000", {"range": many(1_000, step=2)}),
    # 20 bytes, the heads of two parts (64 and 68), and the closing 9 are 161
    ("14.2 as large as the file", "206 0-9 + 151-160", {"size": 161, "range": "bytes=0-9,-10"}),
    ("14.2 larger than the file", "200 160", {"size": 160, "range": "bytes=0-9,-10"}),
    ("14.2 larger than the file", "200 120", {"size": 120, "range": "bytes=0-9,-10"}),
    ("14.2 larger than the file", WHOLE, {"range": "bytes=0-4999,5072-"}),
    ("14.2 no cap on several", "206 0-99 + 500-599", {"cap": 10, "range": "bytes=0-99,500-599"}),
    ("14.2 a cap on several that are one", "206 0-4/10000", {"cap": 5, "range": "bytes=0-9,9-19"}),
    ("14.2 HEAD", WHOLE, {"range": "bytes=0-9,500-509", **HEAD}),
]

TABLE = (
    METHODS
    + IF_MATCH
    + IF_UNMODIFIED_SINCE
    + IF_NONE_MATCH
    + IF_MODIFIED_SINCE
    + PRECEDENCE
    + IF_RANGE
    + ONE_RANGE
    + SEVERAL
)


@pytest.mark.parametrize(
    ("expected", "request_"), [pytest.param(out, into, id=rule) for rule, out, into in TABLE]
)
def test_a_rule_of_rfc_9110(expected: str, request_: dict[str, Any]) -> None:
    response = respond(**request_)
    if expected == "parts":
        assert len(response.byte_ranges) == MAX_PARTS == 64
    else:
        assert summary(response) == expected


def test_every_row_of_the_table_names_its_section() -> None:
    assert len(TABLE) > 150
    assert all(rule[0].isdigit() for rule, _, _ in TABLE)


# The complete header of each response ----------------------------------------------------------

DATE = ("Date", NOW)
NOTHING = ("Content-Length", "0")
VALIDATORS = (("ETag", TAG), ("Last-Modified", MODIFIED))
RANGES = ("Accept-Ranges", "bytes")
TYPE = ("Content-Type", "video/mp4")
PART = b"Content-Type: video/mp4\r\nContent-Range: bytes %b/10000\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "headers", "body"),
    [
        pytest.param(
            {},
            (DATE, ("Content-Length", "10000"), TYPE, RANGES, *VALIDATORS),
            (ByteRange(0, 10_000),),
            id="15.3.1 200",
        ),
        pytest.param(
            HEAD,
            (DATE, ("Content-Length", "10000"), TYPE, RANGES, *VALIDATORS),
            (),
            id="9.3.2 HEAD has the fields of GET",
        ),
        pytest.param(EMPTY, (DATE, NOTHING, TYPE, RANGES, *VALIDATORS), (), id="15.3.1 empty"),
        pytest.param(
            TEN,
            (
                DATE,
                ("Content-Length", "10"),
                TYPE,
                ("Content-Range", "bytes 0-9/10000"),
                RANGES,
                *VALIDATORS,
            ),
            (ByteRange(0, 10),),
            id="15.3.7.1 206",
        ),
        pytest.param(
            {"range": "bytes=500-509,0-9", "boundary": "b_+.'-9"},
            (
                DATE,
                ("Content-Length", "183"),
                ("Content-Type", "multipart/byteranges; boundary=b_+.'-9"),
                RANGES,
                *VALIDATORS,
            ),
            (
                b"\r\n--b_+.'-9\r\n" + PART % b"500-509",
                ByteRange(500, 510),
                b"\r\n--b_+.'-9\r\n" + PART % b"0-9",
                ByteRange(0, 10),
                b"\r\n--b_+.'-9--\r\n",
            ),
            id="15.3.7.2 multipart/byteranges",
        ),
        pytest.param({"if_none_match": TAG}, (DATE, ("ETag", TAG)), (), id="15.4.5 304"),
        pytest.param(
            {"if_none_match": WEAK, "etag": WEAK_TAG, **NO_DATE},
            (DATE, ("ETag", WEAK)),
            (),
            id="15.4.5 304, weak",
        ),
        pytest.param(
            {"if_modified_since": MODIFIED, **NO_TAG},
            (DATE, ("Last-Modified", MODIFIED)),
            (),
            id="15.4.5 304 without a tag",
        ),
        pytest.param(
            {"if_none_match": "*", **NO_TAG, **NO_DATE}, (DATE,), (), id="15.4.5 304, bare"
        ),
        pytest.param(
            {"method": "POST"},
            (DATE, ("Allow", "GET, HEAD"), NOTHING),
            (),
            id="15.5.6 405 names what is allowed",
        ),
        pytest.param({"if_match": OTHER}, (DATE, NOTHING, *VALIDATORS), (), id="15.5.13 412"),
        pytest.param(
            {"range": "bytes=10000-"},
            (DATE, NOTHING, ("Content-Range", "bytes */10000"), RANGES, *VALIDATORS),
            (),
            id="15.5.17 416",
        ),
        pytest.param(
            {**NO_TAG, **NO_DATE},
            (DATE, ("Content-Length", "10000"), TYPE, RANGES),
            (ByteRange(0, 10_000),),
            id="8.8 no validator",
        ),
    ],
)
def test_fields_and_body(
    request_: dict[str, Any],
    headers: tuple[tuple[str, str], ...],
    body: tuple[bytes | ByteRange, ...],
) -> None:
    response = respond(**request_)
    assert response.headers == headers
    assert response.body == body
    assert response.byte_ranges == tuple(part for part in body if isinstance(part, ByteRange))


@pytest.mark.parametrize(
    ("modified_s", "field"),
    [
        pytest.param(999_999_000.0, MODIFIED, id="8.8.2 whole"),
        pytest.param(999_999_000.999_999, MODIFIED, id="8.8.2 rounded down"),
        pytest.param(NOW_S, NOW, id="8.8.2.1 now"),
        pytest.param(NOW_S + 1, NOW, id="8.8.2.1 never later than Date"),
        pytest.param(1e15, NOW, id="8.8.2.1 beyond the calendar"),
        pytest.param(float("inf"), NOW, id="8.8.2.1 infinite"),
        pytest.param(-0.5, "Wed, 31 Dec 1969 23:59:59 GMT", id="8.8.2 before 1970, down"),
        pytest.param(-62_135_596_800.0, "Mon, 01 Jan 0001 00:00:00 GMT", id="5.6.7 year 1"),
        pytest.param(-62_135_596_801.0, None, id="5.6.7 before the calendar"),
        pytest.param(None, None, id="8.8.2 unknown"),
    ],
)
def test_last_modified(modified_s: float | None, field: str | None) -> None:
    assert dict(respond(modified_s=modified_s).headers).get("Last-Modified") == field


@pytest.mark.parametrize("boundary", ["", "b" * 71, "a b", 'a"b', "a\r\nb", "a:b", "a=b", "\u00e9"])
def test_an_invalid_boundary_is_an_error(boundary: str) -> None:
    with pytest.raises(ValueError, match="cannot be a multipart boundary"):
        respond(boundary=boundary)


def test_a_boundary_of_70_characters_is_valid() -> None:
    assert respond(boundary="b" * 70, range="bytes=0-9,500-509").status == 206


@pytest.mark.parametrize("cap", [0, -1])
def test_a_limit_below_1_is_an_error(cap: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {cap}"):
        respond(cap=cap)


def test_a_response_is_frozen() -> None:
    response = respond()
    with pytest.raises(AttributeError):
        response.status = 500  # type: ignore[misc]


# Section 13.2.2: a model, and every combination --------------------------------------

ABSENT = None
MATCHES = {ABSENT: None, TAG: True, WEAK: False, OTHER: False, "*": True}
NONE_MATCHES = {ABSENT: None, TAG: False, WEAK: False, OTHER: True, "*": False}
UNMODIFIED = {ABSENT: None, JUNK: None, EARLIER: False, MODIFIED: True, LATER: True}
SINCE = {ABSENT: None, JUNK: None, EARLIER: True, MODIFIED: False, LATER: False}
RANGE = {ABSENT: WHOLE, "bytes=0-9": FIRST_TEN, "bytes=x": WHOLE, "bytes=10000-": "416 */10000"}
SAME = {ABSENT: True, TAG: True, WEAK: False, OTHER: False, MODIFIED: True, LATER: False}


def precedence(
    method: str,
    *,
    matches: bool | None,
    unmodified: bool | None,
    none_matches: bool | None,
    since: bool | None,
    same: bool,
    ranged: str,
) -> str:
    # step 1
    if matches is False:
        return "412"
    # step 2
    if matches is None and unmodified is False:
        return "412"
    # step 3
    if none_matches is False:
        return "304"
    # step 4
    if none_matches is None and since is False:
        return "304"
    # step 5 and 6
    return ranged if method == "GET" and same else WHOLE


@pytest.mark.no_cover
def test_every_combination_of_conditions() -> None:
    for method, (a, b, c, d, e, f) in product(
        ["GET", "HEAD"], product(MATCHES, UNMODIFIED, NONE_MATCHES, SINCE, SAME, RANGE)
    ):
        fields = {
            "if_match": a,
            "if_unmodified_since": b,
            "if_none_match": c,
            "if_modified_since": d,
            "if_range": e,
            "range": f,
        }
        sent: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
        expected = precedence(
            method,
            matches=MATCHES[a],
            unmodified=UNMODIFIED[b],
            none_matches=NONE_MATCHES[c],
            since=SINCE[d],
            same=SAME[e],
            ranged=RANGE[f],
        )
        assert summary(respond(method=method, **sent)) == expected, (method, fields)


# Ranges, byte by byte -----------------------------------------------------------------------------


def requested_bytes(spec: str, size: int) -> set[int]:
    first, last = spec.split("-")
    if not first:
        return set(range(size)[-int(last) :]) if int(last) else set()
    return {byte for byte in range(size) if int(first) <= byte <= int(last or size)}


def framing(part: set[int], size: int) -> int:
    """Return the length of a part's header for a file of type a/b, with the boundary B."""
    where = f"{min(part)}-{max(part)}/{size}"
    return len(f"\r\n--B\r\nContent-Type: a/b\r\nContent-Range: bytes {where}\r\n\r\n")


def model(specs: list[str], size: int) -> list[set[int]] | int:
    """Return the bytes of each part in order, or 200 or 416, by a slow model."""
    parts = [requested for spec in specs if (requested := requested_bytes(spec, size))]
    overhead = framing({size - 1}, size)
    joined = True
    while joined:
        joined = False
        for (at, a), (other, b) in product(enumerate(parts), enumerate(parts)):
            if at < other and max(min(a), min(b)) - min(max(a), max(b)) - 1 < overhead:
                parts[at] = set(range(min(a | b), max(a | b) + 1))
                del parts[other]
                joined = True
                break
    if not parts:
        return 416
    length = sum(framing(part, size) + len(part) for part in parts) + CLOSING
    return 200 if len(parts) > 1 and length > size else parts


SMALL = 999
specs_of_small = st.one_of(
    st.tuples(st.integers(0, SMALL + 50), st.integers(0, 80)).map(lambda t: f"{t[0]}-{sum(t)}"),
    st.integers(100, SMALL + 50).map(lambda first: f"{first}-"),
    st.integers(0, 300).map(lambda last: f"-{last}"),
)


@no_deadline
@given(st.lists(specs_of_small, min_size=1, max_size=9))
def test_ranges_match_the_model(specs: list[str]) -> None:
    response = respond(range="bytes=" + ",".join(specs), size=SMALL, media_type="a/b")
    parts = [set(range(byte_range.start, byte_range.stop)) for byte_range in response.byte_ranges]
    expected = model(specs, SMALL)
    assert (parts if response.status == 206 else response.status) == expected


DATA = bytes(ord("a") + position % 26 for position in range(3_000))


@no_deadline
@given(
    st.lists(
        st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 60)).map(
            lambda t: ByteRange(t[0], t[0] + t[1] + 1)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_another_parser_finds_every_requested_byte(requested: list[ByteRange]) -> None:
    """The MIME parser of the standard library parses the multipart body."""
    value = "bytes=" + ",".join(
        f"{byte_range.start}-{byte_range.stop - 1}" for byte_range in requested
    )
    response = respond(range=value, size=len(DATA), boundary="xyz")
    body = b"".join(
        DATA[part.start : part.stop] if isinstance(part, ByteRange) else part
        for part in response.body
    )
    fields = dict(response.headers)
    read: dict[int, int] = {}

    def part(head: dict[str, str], text: bytes) -> None:
        content_range = parse_content_range(head["Content-Range"])
        assert content_range is not None
        assert content_range.byte_range is not None
        assert content_range.byte_range.size_bytes == len(text)
        assert content_range.total == len(DATA)
        assert head["Content-Type"] == "video/mp4"
        read.update(enumerate(text, content_range.byte_range.start))

    if len(response.byte_ranges) == 1:
        part(fields, body)
    else:
        message_head = f"Content-Type: {fields['Content-Type']}\r\n\r\n".encode()
        message = BytesParser().parsebytes(message_head + body)
        assert not message.defects
        for parsed in list(message.walk())[1:]:
            text = parsed.get_payload(decode=True)
            assert isinstance(text, bytes)
            part(dict(parsed.items()), text)
    assert all(DATA[position] == byte for position, byte in read.items())
    assert all(
        position in read
        for byte_range in requested
        for position in range(byte_range.start, min(byte_range.stop, 3_000))
    )


@pytest.mark.no_cover
def test_lists_of_random_ranges() -> None:
    random = Random(14)
    noise = [*"0123456789----,,,, \t*\u0661", "bytes=", "5-6", "99-", "0-", ",-1"]
    valid = ["0-", "-1", "7-7", "100-120", "3999-", "4000-", "-0", f"{10**9}-", " ", ""]
    seen = dict.fromkeys([200, 206, 416], 0)
    for number in range(10_000):
        length = random.randint(0, 12 if number % 50 else 900)
        listed = ",".join(random.choices(valid, k=length))
        if number % 2:
            listed = "".join(random.choices(noise, k=length))
        value = f"bytes={listed}" if number % 10 else listed
        response = respond(range=value, size=random.choice([0, 1, 80, 4_000, 10**9]))
        seen[response.status] += 1
        if parse_range(value) is None:
            assert response.status == 200
    assert min(seen.values()) > 200


@pytest.mark.no_cover
def test_a_million_random_ranges() -> None:
    """Slices of one long random text: none raises an error, none is slow."""
    random = Random(16)
    words = [*"0123456789-,-, \tx=\u0661", "0-", "-1", "5-6,", "9" * 30]
    noise = "".join(random.choices(words, k=800_000))
    seen: Counter[int] = Counter()
    for start in range(1_000_000):
        value = f"bytes={noise[start : start + 1 + start % 13]}"
        specs = parse_range(value)
        if specs is not None or not start % 100:
            response = respond(range=value, size=4_000)
            seen[response.status] += 1
            assert specs is not None or response.status == 200
    assert set(seen) == {200, 206, 416}
    assert min(seen.values()) > 1_000


def test_the_time_is_not_quadratic_in_the_number_of_ranges() -> None:
    """16 times the ranges may take 96 times as long; quadratic time would be 256."""

    def seconds(count: int) -> float:
        listed = [f"{position * 1_000}-{position * 1_000 + 5}" for position in range(count)]
        Random(15).shuffle(listed)
        value = "bytes=" + ",".join(listed)
        best = float("inf")
        for _ in range(3):
            started = process_time()
            assert respond(range=value, size=10**9).status == 200
            best = min(best, process_time() - started)
        return best

    assert seconds(20_000) < 96 * seconds(1_250)


BEGAN = FileState(1000, 7, 40, 3, 8, 1)


@pytest.mark.parametrize(
    ("now", "goes_on"),
    [
        pytest.param(BEGAN, True, id="unchanged"),
        pytest.param(BEGAN._replace(size_bytes=1001, modified_ns=9, changed_ns=9), True, id="grew"),
        pytest.param(BEGAN._replace(modified_ns=9, changed_ns=9), True, id="touched"),
        pytest.param(BEGAN._replace(modified_ns=1, changed_ns=9), True, id="older"),
        pytest.param(BEGAN._replace(changed_ns=9), True, id="permissions"),
        pytest.param(BEGAN._replace(links=0, changed_ns=9), True, id="removed"),
        pytest.param(BEGAN._replace(size_bytes=999), False, id="one-byte-less"),
        pytest.param(BEGAN._replace(size_bytes=0, modified_ns=9), False, id="emptied"),
        pytest.param(BEGAN._replace(inode=41), False, id="another-file"),
        pytest.param(BEGAN._replace(inode=41, size_bytes=2000), False, id="another-longer-file"),
        pytest.param(BEGAN._replace(device=4), False, id="another-disk"),
    ],
)
def test_a_response_goes_on_while_the_file_has_its_promised_bytes(
    now: FileState, *, goes_on: bool
) -> None:
    assert can_continue(BEGAN, now) is goes_on


@pytest.mark.parametrize("name", FileState._fields)
def test_one_validator_is_true_of_files_that_differ_in_names_and_permissions_only(
    name: str,
) -> None:
    other = BEGAN._replace(**{name: 99})
    assert BEGAN.has_same_content(other) is (name in {"changed_ns", "links"})
