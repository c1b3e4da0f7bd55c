import json
import pickle
from dataclasses import replace

import pytest

from vidnb.download.planner.rows import (
    MAX_HEADER_BYTES,
    TABLE_COLUMNS,
    LedgerLine,
    Row,
    RowResult,
    dump_header,
    is_torn_header,
    line_key,
    load_header,
    row_key,
)

SALT, OTHER_SALT = "0" * 32, "1" * 32
RESULT = RowResult(
    number=3,
    url="https://user:secret@h/a.mp4?token=secret",
    state="done",
    path="a/b.mp4",
    size_bytes=9,
    sha256="ab",
    media_type="video/mp4",
    attempts=2,
    host="h",
    worker="w",
    elapsed_s=0.5,
    modified_ns=10**18,
    etag='"e"',
    checksum="md5:cd",
)
LINE = LedgerLine("f" * 32, "boot", RESULT)


def test_a_line_has_everything_but_secrets() -> None:
    data = LINE.dump()
    assert b"secret" not in data
    assert data.count(b"\n") == 1
    shown = replace(RESULT, url="https://h/a.mp4?…")
    assert LedgerLine.load(data) == LedgerLine("f" * 32, "boot", shown)
    assert line_key(data) == "f" * 32


def test_columns_with_their_defaults_are_not_written() -> None:
    failed = LedgerLine("f" * 32, "b", RowResult(0, "", "failed", error="a\nb", error_type="E"))
    assert set(json.loads(failed.dump())) == {"key", "boot", "error", "error_type"}
    assert LedgerLine.load(failed.dump()) == failed


def test_a_line_of_a_later_version_may_have_more_columns() -> None:
    data = LINE.dump().replace(b'"size_bytes"', b'"later":[1],"size_bytes"')
    assert LedgerLine.load(data) == LedgerLine.load(LINE.dump())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"done"', b'"finished"'),
        (b'"done"', b"[1]"),
        (b'"size_bytes":9', b'"size_bytes":"9"'),
        (b'"size_bytes":9', b'"size_bytes":true'),
        (b'"size_bytes":9', b'"size_bytes":9.5'),
        (b'"elapsed_s":0.5', b'"elapsed_s":"0.5"'),
        (b'"path":"a/b.mp4"', b'"path":null'),
        (b'"path":"a/b.mp4"', b'"path":' + b"[" * 100_000),
        (b'"path":"a', b'"path":"\xff'),
        (b'"path":', b'"path"'),
        (b'{"key":"f', b'{"key":"g'),
        (b"}\n", b"}"),
        (b"}\n", b"\n"),
    ],
)
def test_a_damaged_line_is_none(old: bytes, new: bytes) -> None:
    assert old in LINE.dump()
    assert LedgerLine.load(LINE.dump().replace(old, new)) is None


def test_a_whole_number_of_seconds_is_a_time() -> None:
    line = LedgerLine.load(LINE.dump().replace(b'"elapsed_s":0.5', b'"elapsed_s":1'))
    assert line is not None
    assert line.result.elapsed_s == 1


def test_header() -> None:
    header = dump_header(SALT)
    assert len(header) == MAX_HEADER_BYTES
    assert load_header(header) == SALT
    assert not is_torn_header(header)
    for size in range(len(header)):
        assert load_header(header[:size]) is None
        assert is_torn_header(header[:size])


@pytest.mark.parametrize(
    "data",
    [
        dump_header(SALT).replace(b'"format":1', b'"format":2'),
        dump_header("x" * 32),
        b"url,id\n",
        b"x",
        bytes(10),
    ],
)
def test_another_header(data: bytes) -> None:
    assert load_header(data) is None
    assert not is_torn_header(data)


def test_key_is_of_the_normalised_url_and_the_name() -> None:
    key = row_key("https://u:p@EXAMPLE.org:443/a.mp4#t", "a.mp4", SALT)
    assert key == row_key("https://example.org/a.mp4", "a.mp4", SALT)
    assert len(key) == 32
    others = {
        row_key("https://example.org/b.mp4", "a.mp4", SALT),
        row_key("https://example.org/a.mp4?x", "a.mp4", SALT),
        row_key("https://example.org/a.mp4", "b.mp4", SALT),
        row_key("https://example.org/a.mp4", "a.mp4", OTHER_SALT),
        row_key("no URL", "a.mp4", SALT),
        row_key("", "", SALT),
    }
    assert len(others | {key}) == 7


def test_the_table_shows_no_secret() -> None:
    shown = RESULT.as_row()
    assert tuple(shown) == TABLE_COLUMNS
    assert shown["url"] == "https://h/a.mp4?…"
    assert shown["path"] == "a/b.mp4"
    assert "secret" not in repr(RESULT)


def test_rows_and_results_pickle() -> None:
    row = Row(1, "https://u:secret@h/", "a.mp4", "md5:00", (("Authorization", "secret"),), "e")
    assert pickle.loads(pickle.dumps((row, RESULT))) == (row, RESULT)  # noqa: S301 - its own
    assert "secret" not in repr(row)
