"""Reads the rows of a table of downloads, each with its file and its problems decided.

Rows are read one at a time. What is wrong with one row is in its `error` and ends nothing; what is
wrong with the table as a whole, such as a missing column, is raised before the first row.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vidnb.download.options import check_type
from vidnb.download.planner.row_names import (
    RowNames,
    format_name,
    is_missing,
    template_fields,
)
from vidnb.download.planner.rows import Row
from vidnb.download.planner.table_text import BadRow, Item
from vidnb.download.request import Checksum
from vidnb.download.table_sources import open_source, row_count
from vidnb.errors import URLNotAllowed
from vidnb.http.request_headers import check_headers
from vidnb.http.urls import check_url

__all__ = ["Row", "read_rows", "row_count"]


def read_rows(
    table: Any,
    *,
    url: str = "url",
    name: str | None = None,
    checksum: str | None = None,
    headers: str | Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Return the rows of a table, read one after another; a row takes about 100 bytes for its name.

    `table`: an iterable of URLs, or of mappings with a URL; a mapping of columns; a table of
    pandas, polars or Arrow; a path to a file (.csv, .tsv, .txt, .jsonl, .ndjson, also with .gz,
    .parquet). `url`, `checksum`: columns. `name`: a column, or a format string with the values of
    the row (`"{id:05d}.mp4"`); None: the name in the URL. `headers`: of all rows, or a column with
    mappings, JSON objects or a `Name: value` a line. A .txt file has the columns of aria2's input:
    `out` is the name, unless there is another one.

    A checksum is written as "sha256:…" or "sha-256=…", or as bare digits if the column is named
    after the algorithm. `ValueError` for a wrong argument and a table without a column that is
    named, `StorageError` for a file that cannot be read, `MissingExtra` without pyarrow.
    """
    for argument, value in {"url": url, "name": name or "", "checksum": checksum or ""}.items():
        check_type(argument, value, str, "the name of a column")
    check_type("headers", headers, (str, Mapping, type(None)), "a mapping or a column's name")
    template = name if name is not None and ("{" in name or "}" in name) else None
    name_columns = template_fields(template) if template else {name} - {None}
    column = headers if isinstance(headers, str) else None
    needed = {str(each) for each in {url, checksum, column, *name_columns} if each is not None}
    common = check_headers(headers) if isinstance(headers, Mapping) else ()
    source = open_source(table, url, needed)
    if source.is_list:
        name, checksum, column = name or "out", checksum or "checksum", column or "headers"
    elif source.columns is not None and (missing := sorted(needed - set(source.columns))):
        raise ValueError(
            f"The table has no column {missing[0]!r}; there are: {', '.join(source.columns)}."
        )
    reader = _RowReader(url, name, template, checksum, column, common=common)
    return (reader.read(number, item) for number, item in enumerate(source.rows))


class _RowReader:
    """Makes a row of what a table has for it; the arguments are those of `read_rows`."""

    def __init__(
        self,
        url: str,
        name: str | None,
        template: str | None,
        checksum: str | None,
        headers: str | None,
        *,
        common: tuple[tuple[str, str], ...],
    ) -> None:
        self._url = url
        self._name = name
        self._template = template
        self._checksum = checksum
        self._headers = headers
        self._common = common
        self._names = RowNames()

    def read(self, number: int, item: Item) -> Row:
        if isinstance(item, BadRow):
            return Row(number, "", None, error=item.error)
        cell = item.get(self._url)
        if is_missing(cell):
            sentence = f"The row has no URL in {self._url!r}; fill it in, or drop the row."
            return Row(number, "", None, error=sentence)
        text = str(cell)
        try:
            url = check_url(text)
            name = self._names.assign(self._wanted(item), url)
        except (URLNotAllowed, ValueError) as error:
            return Row(number, text, None, error=str(error))
        try:
            # After the name: once these are corrected, no other row gets another name.
            return Row(number, url, name, self._read_checksum(item), self._read_headers(item))
        except ValueError as error:
            return Row(number, url, name, error=str(error))

    def _wanted(self, item: Mapping[str, Any]) -> str | None:
        if self._template is not None:
            return format_name(self._template, item)
        value = None if self._name is None else item.get(self._name)
        return None if is_missing(value) else str(value)

    def _read_checksum(self, item: Mapping[str, Any]) -> str | None:
        value = None if self._checksum is None else item.get(self._checksum)
        if is_missing(value):
            return None
        text = str(value).strip()
        # aria2 writes "sha-256=…", and a column named after an algorithm has the digits alone.
        algorithm, equals, digest = text.partition("=")
        if equals and ":" not in algorithm:
            text = f"{algorithm.replace('-', '')}:{digest}"
        elif ":" not in text:
            text = f"{str(self._checksum).lower().replace('-', '')}:{text}"
        try:
            checked = Checksum.parse(text)
        except ValueError:
            raise ValueError(
                f"The checksum {str(value)!r} of the row is not a digest; write it as 'sha256:…'."
            ) from None
        return f"{checked.algorithm}:{checked.digest}"

    def _read_headers(self, item: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        value = None if self._headers is None else item.get(self._headers)
        if is_missing(value):
            return self._common
        own = check_headers(_parse_headers(value))
        names = {name.lower() for name, _ in own}
        return (*(pair for pair in self._common if pair[0].lower() not in names), *own)


def _parse_headers(value: Any) -> dict[str, str]:
    """Return the headers of a cell; `ValueError` without its text, which may be a secret."""
    try:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = json.loads(value)
        if isinstance(value, str):
            pairs = [line.partition(":") for line in value.splitlines() if line.strip()]
            value = {name.strip(): text.strip() for name, colon, text in pairs if colon}
            if len(value) < len(pairs):
                value = None
        return {name: text for name, text in dict(value).items() if text is not None}
    except (ValueError, TypeError, RecursionError):
        raise ValueError(
            "The headers of the row cannot be read; write them as 'Name: value', one a line, or as"
            " a JSON object."
        ) from None
