"""Tables of URLs as text: a list of URLs (aria2's input form too), CSV, JSON lines.

Each function takes the lines of a file and returns its rows one after another. A malformed row is a
`BadRow` with a sentence that names the file and the line, so that the other rows are not lost.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["BadRow", "Item", "read_csv", "read_csv_header", "read_json_lines", "read_url_list"]

# Those that `csv.Sniffer` prefers, and "|". The header decides, which has the column of the URLs:
# in the URLs themselves each of these may be more frequent than the delimiter.
_DELIMITERS: Final = ",\t;| :"
_IN_NAMES: Final = " :"
_ARIA2_OPTIONS: Final = {"out": "out", "checksum": "checksum", "header": "headers"}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read; `error` is a sentence."""

    error: str


Item: TypeAlias = Mapping[str, Any] | BadRow


def read_url_list(lines: Iterable[str], file: str, url: str) -> Iterator[Item]:
    """Read one URL a line, into the column `url`; blank lines and those with `#` are left out.

    In the input form of aria2 (aria2c 1.37, manual, "Input File") an indented line is an option of
    the URL above: `out`, `checksum` and `header` become columns (`headers` has one a line), others
    are ignored. Of several URLs of the same file, separated by tabs, the first counts.
    """
    row: dict[str, str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if line[0] in " \t" and "://" not in text.partition("=")[0]:
            if row is None:
                yield BadRow(
                    f"{file} line {number} is an indented option without a URL above it; correct"
                    " the line, or remove it."
                )
                continue
            option, _, value = text.partition("=")
            column = _ARIA2_OPTIONS.get(option.strip())
            if column == "headers":
                row[column] = f"{row.get(column, '')}{value.strip()}\n"
            elif column is not None:
                row[column] = value.strip()
            continue
        if row is not None:
            yield row
        row = {url: text.split("\t", 1)[0]}
    if row is not None:
        yield row


def read_json_lines(lines: Iterable[str], file: str, url: str) -> Iterator[Item]:
    """Read one JSON object a line; a line may also be the text for the column `url` alone."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(f"{file} line {number} is not JSON ({error}); correct it, or remove it.")
            continue
        if isinstance(row, str):
            yield {url: row}
        elif isinstance(row, dict):
            yield row
        else:
            yield BadRow(
                f"{file} line {number} is not a JSON object with a column {url!r}; correct it."
            )


def read_csv_header(line: str, file: str, url: str) -> tuple[str, list[str]]:
    """Return the delimiter and the columns by the first line; `ValueError` without column `url`.

    The delimiter is the one with which the line has that column and the most others; a space or a
    colon, which the name of a column may have, only if no other gives that column.
    """
    readings = [(_split(line, delimiter), delimiter) for delimiter in _DELIMITERS]
    columns, delimiter = max(
        readings, key=lambda it: (url in it[0], it[1] not in _IN_NAMES, len(it[0]))
    )
    if url in columns:
        return delimiter, columns
    columns = _split(line, ",")
    if any(column.lower().startswith(("http://", "https://")) for column in columns):
        raise ValueError(
            f"{file} line 1 is no header, but has a URL; add a line with the names of the columns"
            " above it, or name the file .txt if it has one URL a line."
        )
    raise ValueError(
        f"{file} line 1 names no column {url!r}, but {', '.join(map(repr, columns))}; pass url=…"
        " with the name of the column of the URLs."
    )


def _split(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line; it counts as one cell if it is malformed."""
    try:
        cells = next(
            csv.reader(
                [line.rstrip(" \r\n")], delimiter=delimiter, skipinitialspace=True, strict=True
            )
        )
    except csv.Error:
        cells = [line]
    return [cell.strip() for cell in cells]


def read_csv(
    lines: Iterable[str], file: str, delimiter: str, columns: Sequence[str], first_line: int = 2
) -> Iterator[Item]:
    """Read the rows below the header (RFC 4180), which begin at line `first_line` of the file.

    A row with fewer cells than columns has empty ones at its end.
    """
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        number = first_line + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(
                f"{file} line {number} is malformed ({error}); correct its quotes, or remove it."
            )
            continue
        if len(cells) > len(columns):
            yield BadRow(
                f"{file} line {number} has {len(cells)} cells, and the header {len(columns)}; put"
                f" a cell with {delimiter!r} in double quotes."
            )
        elif cells:
            yield dict(zip(columns, cells, strict=False))
