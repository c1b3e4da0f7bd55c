"""Tables as text: each malformed row has a sentence with its line, and the others are read."""

import csv

import pytest

from vidnb.download.planner.table_text import (
    BadRow,
    Item,
    read_csv,
    read_csv_header,
    read_json_lines,
    read_url_list,
)


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def url_list(text: str) -> list[Item]:
    return list(read_url_list(lines(text), "u.txt", "url"))


def test_url_list() -> None:
    text = "# comment\n\nhttp://h/1\n  # another\n\t\n http://h/2 \nhttp://h/3"
    assert url_list(text) == [{"url": f"http://h/{number}"} for number in (1, 2, 3)]


def test_url_list_of_aria2() -> None:
    text = (
        "http://h/1\thttp://mirror/1\n"
        "  out=a/b=c.mp4\n"
        "\tchecksum = sha-256=00\n"
        "  header=A: b\n"
        "  dir=/elsewhere\n"
        "  unknown\n"
        "# comment\n"
        "  header=Referer: http://h/?x=1\n"
        "http://h/2\n"
    )
    headers = "A: b\nReferer: http://h/?x=1\n"
    first = {"url": "http://h/1", "out": "a/b=c.mp4", "checksum": "sha-256=00", "headers": headers}
    assert url_list(text) == [first, {"url": "http://h/2"}]


def test_url_list_with_an_option_first() -> None:
    bad, good = url_list("# c\n  out=a.mp4\nhttp://h/1\n")
    assert isinstance(bad, BadRow)
    assert bad.error.startswith("u.txt line 2 is an indented option without a URL above it")
    assert good == {"url": "http://h/1"}


def test_url_list_empty() -> None:
    assert url_list("\n# nothing\n") == []


def test_json_lines() -> None:
    text = '{"url": "http://h/1", "id": 1}\n\n"http://h/2"\n[1]\n{"url":\n7\n' + "[" * 100_000
    first, second, array, torn, number, deep = read_json_lines(lines(text), "u.jsonl", "url")
    assert first == {"url": "http://h/1", "id": 1}
    assert second == {"url": "http://h/2"}
    for bad, line in ((array, 4), (torn, 5), (number, 6), (deep, 7)):
        assert isinstance(bad, BadRow)
        assert bad.error.startswith(f"u.jsonl line {line} is not ")


@pytest.mark.parametrize("delimiter", sorted({*csv.Sniffer().preferred, "|"}))
def test_csv_header_by_any_delimiter(delimiter: str) -> None:
    header = delimiter.join(["id", "url", '"t"'])
    assert read_csv_header(f"{header}\n", "u.csv", "url") == (delimiter, ["id", "url", "t"])


@pytest.mark.parametrize(
    ("line", "url", "delimiter", "columns"),
    [
        ("url\n", "url", ",", ["url"]),
        ("video url\n", "video url", ",", ["video url"]),
        ("url,video id\n", "url", ",", ["url", "video id"]),
        ("a:b;url;c,d,e\n", "url", ";", ["a:b", "url", "c,d,e"]),
        (' url , "a,b" \n', "url", ",", ["url", "a,b"]),
        ("url;t\r\n", "url", ";", ["url", "t"]),
    ],
)
def test_csv_header(line: str, url: str, delimiter: str, columns: list[str]) -> None:
    assert read_csv_header(line, "u.csv", url) == (delimiter, columns)


def test_csv_header_without_the_column() -> None:
    with pytest.raises(ValueError, match=r"u\.csv line 1 names no column 'url', but 'URL', 'id'"):
        read_csv_header("URL,id\n", "u.csv", "url")


@pytest.mark.parametrize("line", ["https://h/a.mp4\n", "1,HTTP://h/a.mp4\n"])
def test_csv_without_a_header(line: str) -> None:
    with pytest.raises(ValueError, match=r"u\.csv line 1 is no header, but has a URL"):
        read_csv_header(line, "u.csv", "url")


def test_csv_header_malformed() -> None:
    with pytest.raises(ValueError, match=r"u\.csv line 1 names no column 'url'"):
        read_csv_header('"url,id\n', "u.csv", "url")


def test_csv() -> None:
    text = '1,"a, ""b""",x\n\n2\n3, "two\nlines",y\n'
    assert list(read_csv(lines(text), "u.csv", ",", ["id", "t", "z"])) == [
        {"id": "1", "t": 'a, "b"', "z": "x"},
        {"id": "2"},
        {"id": "3", "t": "two\nlines", "z": "y"},
    ]


def test_csv_malformed_rows() -> None:
    text = '1,a\n2,a,b\n3,"a"b\n4,"two\nlines"\n5,"a\n'
    rows = list(read_csv(lines(text), "u.csv", ",", ["id", "t"]))
    assert [row for row in rows if not isinstance(row, BadRow)] == [
        {"id": "1", "t": "a"},
        {"id": "4", "t": "two\nlines"},
    ]
    many, quotes, torn = (row.error for row in rows if isinstance(row, BadRow))
    assert many.startswith("u.csv line 3 has 3 cells, and the header 2; put a cell with ','")
    assert quotes.startswith("u.csv line 4 is malformed (")
    assert torn.startswith("u.csv line 7 is malformed (")


def test_csv_with_an_endless_quote_is_bounded() -> None:
    """A cell ends at `csv.field_size_limit`; the rows after it are read again."""
    text = '1,"a\n' + "2,b\n" * 200_000
    rows = list(read_csv(lines(text), "u.csv", ",", ["id", "t"]))
    assert isinstance(rows[0], BadRow)
    assert rows[-1] == {"id": "2", "t": "b"}
