"""Tables of every kind give the same rows; a row that is wrong has a sentence and ends nothing."""

import codecs
import gzip
import io
import itertools
import os
import sqlite3
import sys
import tracemalloc
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidnb.download import table_sources
from vidnb.download.planner.rows import Row
from vidnb.download.table import read_rows, row_count
from vidnb.errors import MissingExtra, StorageError

URLS = ["https://h/1.mp4", None, "https://k/1.mp4"]
COLUMNS: dict[str, list[Any]] = {"url": URLS, "id": [7, 8, 9]}
DICTS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
SHA = "sha256:" + "0" * 64


def names(table: object, **options: Any) -> list[str | None]:
    return [row.name for row in read_rows(table, **options)]


def one(table: object, **options: Any) -> Row:
    (row,) = read_rows(table, **options)
    return row


def sqlite_rows() -> Iterator[sqlite3.Row]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    rows = connection.execute(
        "SELECT 'https://h/1.mp4' url, 7 id UNION ALL SELECT NULL, 8"
        " UNION ALL SELECT 'https://k/1.mp4', 9"
    ).fetchall()
    connection.close()
    return iter(rows)


Named = namedtuple("Named", ["url", "id"])  # noqa: PYI024 - untyped, as those of pandas


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(lambda: DICTS, id="dicts"),
        pytest.param(lambda: iter(DICTS), id="iterator"),
        pytest.param(lambda: COLUMNS, id="columns"),
        pytest.param(lambda: [Named(**row) for row in DICTS], id="named-tuples"),
        pytest.param(sqlite_rows, id="sqlite3"),
    ],
)
def test_rows_of_mappings(table: Callable[[], object]) -> None:
    assert names(table()) == ["1.mp4", None, "1 (1).mp4"]
    assert names(table(), name="{id:03d}.mp4") == ["007.mp4", None, "009.mp4"]


@pytest.mark.parametrize(
    "make",
    [
        "pandas:DataFrame",
        "polars:DataFrame",
        "pyarrow:table",
        "pyarrow:record_batch",
        "pyarrow:table:to_reader",
        "pyarrow:table:to_batches",
    ],
)
def test_tables_of_other_packages(make: str) -> None:
    package, function, *methods = make.split(":")
    table = getattr(pytest.importorskip(package), function)(COLUMNS)
    for method in methods:
        table = getattr(table, method)()
    count = row_count(table)
    rows = list(read_rows(table, name="{id:03d}.mp4"))
    assert [row.name for row in rows] == ["007.mp4", None, "009.mp4"]
    assert [row.error for row in rows] == ["", NO_URL, ""]
    if not methods:
        assert count == 3
        with pytest.raises(ValueError, match="The table has no column 'link'; there are: url, id"):
            read_rows(table, url="link")


NO_URL = "The row has no URL in 'url'; fill it in, or drop the row."


@pytest.mark.parametrize(
    "make", ["pandas:Series", "polars:Series", "pyarrow:array", "numpy:array", "builtins:list"]
)
def test_columns_of_other_packages_are_lists_of_urls(make: str) -> None:
    package, function = make.split(":")
    column = getattr(pytest.importorskip(package), function)(URLS)
    assert names(column) == ["1.mp4", None, "1 (1).mp4"]
    assert row_count(column) == 3


def test_a_table_with_nothing_but_the_stream_of_arrow() -> None:
    pa = pytest.importorskip("pyarrow")

    class Table:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)

    assert names(Table(), name="{id}") == ["7", None, "9"]
    with pytest.raises(ValueError, match="The table has no column 'link'"):
        read_rows(Table(), url="link")


def test_a_data_set_of_arrow() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pytest.importorskip("pyarrow.dataset").dataset(pa.table(COLUMNS))
    assert names(table, name="{id}") == ["7", None, "9"]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_empty_cells_of_other_packages(package: str) -> None:
    frames = pytest.importorskip(package)
    table = frames.DataFrame(
        {"url": URLS, "name": ["a", "b", None], "sha256": ["0" * 64] + [None] * 2}
    )
    first, second, third = read_rows(table, name="name", checksum="sha256")
    assert (first.name, first.checksum) == ("a", SHA)
    assert (second.name, second.error) == (None, NO_URL)
    assert (third.name, third.checksum) == ("1.mp4", None)


def test_a_set_has_the_same_order_on_every_run() -> None:
    assert names({"https://b/v", "https://a/v", "https://c/v"}) == ["v", "v (1)", "v (2)"]
    rows = list(read_rows({"https://b/v", "https://a/v"}))
    assert [row.url for row in rows] == ["https://a/v", "https://b/v"]


def test_an_open_text_file_is_a_list_of_urls() -> None:
    table = io.StringIO("# c\nhttps://h/1.mp4\n  out=a.mp4\nhttps://h/2.mp4\n")
    assert names(table) == ["a.mp4", "2.mp4"]


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ("", NO_URL),
        (None, NO_URL),
        ({}, NO_URL),
        ({"url": float("nan")}, NO_URL),
        ("h/1.mp4", "has no scheme"),
        ("ftp://h/1.mp4", "begins with ftp:"),
        ("https://h/a b", "white space"),
        ("https://user:secret@/", "names no host"),
        (7, "has no scheme"),
        (b"https://h/1.mp4", "The row is a bytes"),
        (("https://h/1.mp4", 7), "The row is a tuple"),
        (["https://h/1.mp4"], "The row is a list"),
    ],
)
def test_a_bad_row_has_a_sentence_and_the_others_are_read(item: object, error: str) -> None:
    bad, good = read_rows([item, "https://h/2.mp4"])
    assert error in bad.error
    assert "secret" not in bad.error
    assert bad.name is None
    assert (good.number, good.url, good.name, good.error) == (1, "https://h/2.mp4", "2.mp4", "")


def test_a_url_is_normalised_and_keeps_its_login() -> None:
    assert one([' "HTTPS://u:p@H:443/a.mp4#t" ']).url == "https://u:p@h/a.mp4"


@pytest.mark.parametrize(
    ("column", "cell", "checksum"),
    [
        ("checksum", SHA, SHA),
        ("checksum", f" {SHA.upper()} ", SHA),
        ("checksum", "sha-256=" + "0" * 64, SHA),
        ("checksum", "md5=" + "A" * 32, "md5:" + "a" * 32),
        ("sha256", "0" * 64, SHA),
        ("SHA-1", "0" * 40, "sha1:" + "0" * 40),
        ("md5", SHA, SHA),
        ("checksum", "", None),
        ("checksum", None, None),
    ],
)
def test_checksums(column: str, cell: object, checksum: str | None) -> None:
    row = one([{"url": "https://h/a", column: cell}], checksum=column)
    assert (row.checksum, row.error) == (checksum, "")


@pytest.mark.parametrize("cell", ["0" * 64, "sha256:0", "crc32:00", "sha256=", 5, "=:"])
def test_a_bad_checksum_keeps_the_names_of_the_others(cell: object) -> None:
    table = [{"url": "https://h/v", "c": cell}, {"url": "https://k/v"}]
    bad, good = read_rows(table, checksum="c")
    assert bad.error == (
        f"The checksum {str(cell)!r} of the row is not a digest; write it as 'sha256:…'."
    )
    assert (bad.name, good.name, good.error) == ("v", "v (1)", "")


@pytest.mark.parametrize(
    "cell",
    [
        {"A": "b", "C": "d:e"},
        [("A", "b"), ("C", "d:e")],
        '{"A": "b", "C": "d:e"}',
        "A: b\nC: d:e\n",
        {"A": "b", "C": "d:e", "D": None},
    ],
)
def test_headers_of_a_row(cell: object) -> None:
    row = one([{"url": "https://h/a", "h": cell}], headers="h")
    assert row.headers == (("A", "b"), ("C", "d:e"))


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        ("secret", "cannot be read"),
        ('{"A": ', "cannot be read"),
        ("{" + '"a":[' * 100_000, "cannot be read"),
        (7, "cannot be read"),
        ({"A": 1}, "is not text"),
        ({"Range": "bytes=0-"}, "is managed by vidnb"),
        ({"A": "secret\r\nB: c"}, "has a control character"),
        ({"a b": "secret"}, "is not a header name"),
    ],
)
def test_bad_headers_of_a_row(cell: object, error: str) -> None:
    row = one([{"url": "https://h/a", "h": cell}], headers="h")
    assert error in row.error
    assert "secret" not in row.error
    assert row.headers == ()


def test_headers_of_all_rows() -> None:
    assert one(["https://h/a"], headers={"A": "b"}).headers == (("A", "b"),)
    with pytest.raises(ValueError, match="managed by vidnb"):
        read_rows(["https://h/a"], headers={"Range": "bytes=0-"})


def test_headers_of_aria2_replace_those_of_all_rows(tmp_path: Path) -> None:
    (tmp_path / "u.txt").write_text("https://h/a\n header=a: 2\n header=C: 3\nhttps://h/b\n")
    first, second = read_rows(tmp_path / "u.txt", headers={"A": "1", "B": "1"})
    assert first.headers == (("B", "1"), ("a", "2"), ("C", "3"))
    assert second.headers == (("A", "1"), ("B", "1"))


# Files


CSV = "url,id,t\nhttps://h/1.mp4,7,é\n,8,\nhttps://k/1.mp4,9,\n"
FILES = {
    "u.csv": CSV,
    "semicolon.csv": CSV.replace(",", ";"),
    "u.tsv": CSV.replace(",", "\t"),
    "blank.CSV": "\n\r\n" + CSV,
    "u.jsonl": '{"url": "https://h/1.mp4", "id": 7}\n{"id": 8}\n'
    '{"url": "https://k/1.mp4", "id": "9"}',
    "u.ndjson": '{"url": "https://h/1.mp4", "id": 7}\n\n[]\n{"url": "https://k/1.mp4", "id": 9}\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "gzip"])
def test_files(name: str, encoding: str, tmp_path: Path) -> None:
    data = FILES[name].encode("utf-8" if encoding == "gzip" else encoding)
    path = tmp_path / name
    if encoding == "gzip":
        path = path.with_name(f"{name}.gz")
        data = gzip.compress(data)
    path.write_bytes(data)
    assert names(path, name="{id:03d}.mp4") == ["007.mp4", None, "009.mp4"]
    assert names(str(path)) == ["1.mp4", None, "1 (1).mp4"]
    assert row_count(path) == (None if encoding == "gzip" else 3)


def test_a_cell_that_is_not_utf8_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_bytes(CSV.encode("cp1252"))
    assert names(tmp_path / "u.csv", name="t")[0] == "é"


def test_a_file_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "u.txt").write_text("https://h/1.mp4")
    assert names("~/u.txt") == ["1.mp4"]
    assert row_count("~/u.txt") == 1


def test_aria2_input(tmp_path: Path) -> None:
    (tmp_path / "u.txt").write_text(
        "https://h/1\n out=../x/a.mp4\n checksum=sha-256=" + "0" * 64 + "\nhttps://h/2\n  dir=/\n"
    )
    first, second = read_rows(tmp_path / "u.txt", url="link")
    assert (first.name, first.checksum) == ("x/a.mp4", SHA)
    assert (second.name, second.checksum) == ("2", None)
    assert names(tmp_path / "u.txt", name="v-{out}") == ["v-/x/a.mp4", None]


def test_malformed_rows_of_a_file_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text('\nurl,t\nhttps://h/1,a\nhttps://h/2,a,b\nhttps://h/3,"a"b\n')
    good, many, quotes = read_rows(tmp_path / "u.csv")
    assert good.error == ""
    assert many.error.startswith("u.csv line 4 has 3 cells")
    assert quotes.error.startswith("u.csv line 5 is malformed")


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("u.csv", b"", "is empty; it needs a line with its columns"),
        ("u.csv", b"\n \n", "is empty; it needs a line with its columns"),
        ("u.csv", b"link,id\n", "line 1 names no column 'url'"),
        ("u.csv", b"https://h/1.mp4\n", "line 1 is no header"),
        ("u.txt", b"x" * 2**20 + b"\n", "line 1 is longer than 1048576 characters"),
        ("u.json", b"[]", "has none of the suffixes .csv, .tsv,"),
        ("urls", b"https://h/1.mp4", "has none of the suffixes"),
        ("u.parquet.gz", b"", "has none of the suffixes"),
    ],
)
def test_a_file_that_is_no_table(name: str, data: bytes, error: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=error):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".jsonl", ".txt.gz"])
def test_a_missing_file(suffix: str, tmp_path: Path) -> None:
    for function in (read_rows, row_count):
        with pytest.raises(StorageError, match=r"could not be read: there is no such file"):
            function(tmp_path / f"u{suffix}")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "u.txt")
    with pytest.raises(StorageError, match="it is a named pipe, not a regular file"):
        read_rows(tmp_path / "u.txt")


@pytest.mark.parametrize("damage", ["cut", "other", "flipped"])
def test_a_damaged_gzip_file(damage: str, tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"".join(b"https://h/%d\n" % n for n in range(20_000))))
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 2 :] = bytes(len(data) // 2)
    else:
        data[:2] = b"PK"
    (tmp_path / "u.txt.gz").write_bytes(data)
    with pytest.raises(StorageError, match=r"u\.txt\.gz could not be read: it is damaged"):
        list(read_rows(tmp_path / "u.txt.gz"))


def test_an_abandoned_table_leaves_no_open_file(tmp_path: Path) -> None:
    """Warnings are errors: a file that is not closed would warn."""
    (tmp_path / "u.csv").write_text("url\n" + "https://h/1\n" * 10)
    read_rows(tmp_path / "u.csv")
    rows = read_rows(tmp_path / "u.csv")
    next(rows)
    del rows


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "u.parquet"
    pq.write_table(pa.table({**COLUMNS, "big": [b"x"] * 3}), path)
    assert names(path, name="{id:03d}.mp4") == ["007.mp4", None, "009.mp4"]
    assert row_count(path) == 3
    with pytest.raises(ValueError, match="The table has no column 'link'"):
        read_rows(path, url="link")
    path.write_bytes(b"PAR1")
    for function in (read_rows, row_count):
        with pytest.raises(ValueError, match="is no Parquet file"):
            function(path)
    path.unlink()
    with pytest.raises(StorageError, match="there is no such file"):
        read_rows(path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "u.parquet").touch()
    for function in (read_rows, row_count):
        with pytest.raises(MissingExtra, match=r"pip install pyarrow, or save it as \.csv"):
            function(tmp_path / "u.parquet")


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (7, "table is a int; pass a list of URLs"),
        (b"https://h/1", "table is a bytes"),
        (None, "table is a NoneType"),
        ("https://h/1.mp4", "table is one URL as text; pass a list"),
        ({"url": "https://h/1.mp4"}, "table has 'url' with a str; pass a list"),
        ({"url": iter(URLS)}, "table has 'url' with a list_iterator"),
        ({"url": URLS, "id": [1]}, r"differ in length \('url' 3, 'id' 1\)"),
        ({"link": URLS}, "The table has no column 'url'; there are: link"),
    ],
)
def test_what_is_no_table(table: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        read_rows(table)


@pytest.mark.parametrize(
    "options", [{"url": 7}, {"name": 7}, {"checksum": 7}, {"headers": 7}, {"name": "{"}]
)
def test_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is no format string"):
        read_rows(["https://h/1"], **options)


@pytest.mark.parametrize("column", ["name", "checksum", "headers", "url"])
def test_a_column_that_is_missing(column: str) -> None:
    with pytest.raises(ValueError, match="The table has no column 'x'; there are: url, id"):
        read_rows(COLUMNS, **{column: "x"})


def test_a_row_without_a_value_for_its_name() -> None:
    bad, good = read_rows([{"url": "https://h/1"}, {"url": "https://h/2", "id": 2}], name="{id}")
    assert bad.error == (
        "The row has no value in 'id', which its name needs; fill it in, or drop the row."
    )
    assert (bad.name, good.name) == (None, "2")


@pytest.mark.parametrize(
    ("table", "count"),
    [(URLS, 3), (COLUMNS, 3), ({}, 0), (iter(URLS), None), ({"https://h/1"}, 1), (DICTS, 3)],
)
def test_row_count(table: object, count: int | None) -> None:
    assert row_count(table) == count


def test_a_large_file_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sources, "_MAX_COUNTED_BYTES", 10)
    (tmp_path / "u.txt").write_text("https://h/1")
    assert row_count(tmp_path / "u.txt") is None


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["dicts", "csv"])
def test_memory_of_a_long_table(count: int, kind: str, tmp_path: Path) -> None:
    """About 150 bytes a row, which are those of its name; the text of a row is not kept."""
    path = tmp_path / "u.csv"
    table: object = path
    if kind == "csv":
        with path.open("w") as file:
            file.write("url,id,t\n")
            file.writelines(f"https://h/videos/{n}.mp4,{n},{'x' * 500}\n" for n in range(count))
    else:
        table = (
            {"url": f"https://h/videos/{n}.mp4", "id": n, "t": "x" * 500} for n in range(count)
        )
    rows = read_rows(table, name="{id:07d}.mp4")
    tracemalloc.start()
    try:
        (last,) = deque(rows, maxlen=1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last.name == f"{count - 1:07d}.mp4"
    assert peak_bytes < 2_000_000 + 250 * count


def test_an_endless_table_is_read_lazily() -> None:
    rows = read_rows({"url": f"https://h/{number}"} for number in itertools.count())
    assert [row.number for row in itertools.islice(rows, 3)] == [0, 1, 2]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_bytes(codecs.BOM_UTF8 + b'"url"\r\nhttps://h/1.mp4\r\n')
    assert names(tmp_path / "u.csv") == ["1.mp4"]
