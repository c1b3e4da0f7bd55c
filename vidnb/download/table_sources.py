"""The rows of a table as mappings, one after another, whatever the table is.

Tables of pandas, polars and Arrow are known by their public methods: none of the three is imported,
except pyarrow for a .parquet file and for a table that has only `__arrow_c_stream__`.
"""

import codecs
import contextlib
import gzip
import io
import os
import zlib
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from vidnb.download.planner.table_text import (
    BadRow,
    Item,
    read_csv,
    read_csv_header,
    read_json_lines,
    read_url_list,
)
from vidnb.errors import MissingExtra, StorageError
from vidnb.http.charsets import decode_text
from vidnb.io.regular_file import expand_user, open_regular, os_error_reason, printable

__all__ = ["Source", "open_source", "require_pyarrow", "row_count"]

_T = TypeVar("_T")

_BATCH_ROWS: Final = 1000
_MAX_LINE_CHARS: Final = 2**20
_MAX_COUNTED_BYTES: Final = 64 * 2**20
_KINDS: Final = "a list of URLs, an iterable of dicts, a DataFrame or the path of a file"
_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a table, and its columns where all rows have the same.

    `is_list`: the rows have the columns of `planner.table_text.read_url_list`.
    """

    rows: Iterator[Item]
    columns: Sequence[str] | None = None
    is_list: bool = False


def open_source(table: Any, url: str, needed: Collection[str]) -> Source:
    """Return the rows of a table; plain text of a row is a URL, for the column `url`.

    `needed` are the columns that are used. `ValueError` for an object that is no table,
    `StorageError` for a file that cannot be read, `MissingExtra` without pyarrow.
    """
    if isinstance(table, (str, os.PathLike)):
        return _open_file(cast("str | os.PathLike[str]", table), url, needed)
    if isinstance(table, Mapping):
        return Source(_zip_columns(table), [str(name) for name in table])
    if isinstance(table, io.TextIOBase):
        return Source(read_url_list(table, "The list", url), is_list=True)
    if (frame := _open_frame(table)) is not None:
        return frame
    if isinstance(table, (set, frozenset)):
        table = sorted(table, key=str)  # its own order is another one on every run
    if isinstance(table, Iterable) and not isinstance(table, (bytes, bytearray, memoryview)):
        return Source(item for given in table for item in _items(given, url))
    if hasattr(table, "__arrow_c_stream__"):
        require_pyarrow(f"A table of the type {type(table).__name__}", "pass a list of dicts")
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_stream(table)
        return Source((row for b in reader for row in _batch_rows(b)), list(reader.schema.names))
    raise ValueError(f"table is a {type(table).__name__}; pass {_KINDS}.")


def _open_frame(table: Any) -> Source | None:
    """Return the rows of a table of polars, pandas or Arrow; None for anything else."""
    if callable(getattr(table, "iter_rows", None)):  # polars
        return Source(table.iter_rows(named=True), list(table.columns))
    if callable(getattr(table, "itertuples", None)):  # pandas
        columns = [str(name) for name in table.columns]
        tuples = table.itertuples(index=False, name=None)
        return Source((dict(zip(columns, row, strict=True)) for row in tuples), columns)
    if callable(getattr(table, "to_pylist", None)) and hasattr(table, "schema"):
        return Source(_batch_rows(table), list(table.schema.names))
    if callable(getattr(table, "to_batches", None)) and hasattr(table, "schema"):
        batches = table.to_batches()
        return Source((row for b in batches for row in _batch_rows(b)), list(table.schema.names))
    return None


def row_count(table: Any, *, url: str = "url") -> int | None:
    """Return the number of rows of a table; None where it is known only at its end.

    A text file of up to 64 MiB is read for it, with the errors of `open_source`.
    """
    if isinstance(table, (str, os.PathLike)):
        path = Path(expand_user(cast("str | os.PathLike[str]", table)))
        suffix, is_packed = _suffix(path)
        with _explained(path):
            size_bytes = path.stat().st_size
        if suffix == ".parquet":
            return _parquet_rows(path)
        if is_packed or size_bytes > _MAX_COUNTED_BYTES:
            return None
        return sum(1 for _ in _text_rows(path, suffix, url)[0])
    if isinstance(table, Mapping):
        return next((len(column) for column in table.values()), 0)
    rows = getattr(table, "num_rows", None)  # Arrow
    if isinstance(rows, int):
        return rows
    return len(table) if isinstance(table, Sized) else None


def require_pyarrow(what: str, remedy: str) -> None:
    """Raise `MissingExtra` with one sentence if pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401 - whether it exists
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs the package pyarrow; install it with pip install pyarrow, or {remedy}.",
            extra="pyarrow",
        ) from error


def _zip_columns(table: Mapping[Any, Any]) -> Iterator[Item]:
    columns = {str(name): column for name, column in table.items()}
    for name, column in columns.items():
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise ValueError(
                f"table has {name!r} with a {type(column).__name__}; pass a list for each column,"
                " or a list of dicts."
            )
    if len({len(column) for column in columns.values()}) > 1:
        sizes = ", ".join(f"{name!r} {len(column)}" for name, column in columns.items())
        raise ValueError(f"The columns of table differ in length ({sizes}); make them equal.")
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _batch_rows(batch: Any) -> Iterator[Item]:
    """Yield the rows of an Arrow record batch or table, a few converted at a time."""
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        yield from batch.slice(start, _BATCH_ROWS).to_pylist()


def _items(given: Any, url: str) -> Iterator[Item]:
    """Yield the rows that one item of an iterable stands for: one, or those of a record batch."""
    as_python = getattr(given, "as_py", None)  # a scalar of Arrow
    if callable(as_python):
        given = as_python()
    if given is None or isinstance(given, str):
        yield {url: given}
    elif isinstance(given, Mapping):
        yield given
    elif callable(getattr(given, "to_pylist", None)) and hasattr(given, "schema"):
        yield from _batch_rows(given)
    elif callable(getattr(given, "_asdict", None)):  # a named tuple
        yield given._asdict()
    elif callable(getattr(given, "keys", None)):  # a row of sqlite3
        yield dict(given)
    elif isinstance(given, (bytes, tuple, list)):
        yield BadRow(f"The row is a {type(given).__name__}; pass the URL as a str, or a dict.")
    else:
        yield {url: given}


def _open_file(table: str | os.PathLike[str], url: str, needed: Collection[str]) -> Source:
    text = os.fspath(table)
    if "://" in text:
        raise ValueError("table is one URL as text; pass a list of URLs, or the path of a file.")
    path = Path(expand_user(text))
    suffix, _ = _suffix(path)
    if suffix == ".parquet":
        require_pyarrow(f"The table {printable(path)}", "save it as .csv")
        return _open_parquet(path, needed)
    rows, columns = _text_rows(path, suffix, url)
    return Source(rows, columns, is_list=suffix == ".txt")


def _suffix(path: Path) -> tuple[str, bool]:
    """Return the suffix that tells the format, and whether the file is compressed by gzip."""
    is_packed = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if is_packed else path).suffix.lower()
    if suffix not in _SUFFIXES or (is_packed and suffix == ".parquet"):
        raise ValueError(
            f"The table {printable(path)} has none of the suffixes {', '.join(_SUFFIXES)}, which"
            " tell its format (all but the last also with .gz); rename it."
        )
    return suffix, is_packed


def _parquet_rows(path: Path) -> int:
    require_pyarrow(f"The table {printable(path)}", "save it as .csv")
    return _parquet(path, lambda file: int(file.metadata.num_rows))


def _parquet(path: Path, read: Callable[[Any], _T]) -> _T:
    """Return what `read` reads of a Parquet file; `ValueError` if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _explained(path):
        descriptor, _ = open_regular(path)
        with os.fdopen(descriptor, "rb") as file:
            try:
                return read(pq.ParquetFile(file))
            except pa.ArrowException as error:
                raise ValueError(
                    f"The table {printable(path)} is no Parquet file ({error}); name another file."
                ) from None


def _open_parquet(path: Path, needed: Collection[str]) -> Source:
    import pyarrow.parquet as pq

    columns = _parquet(path, lambda file: list(file.schema_arrow.names))

    def rows() -> Iterator[Item]:
        with _explained(path), path.open("rb") as file:
            used = [name for name in columns if name in needed]
            for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=used):
                yield from batch.to_pylist()

    return Source(rows(), columns)


def _text_rows(path: Path, suffix: str, url: str) -> tuple[Iterator[Item], list[str] | None]:
    """Return the rows of a text file, and the columns of a .csv."""
    name = printable(path.name)
    skipped, first = 0, ""
    with contextlib.closing(_lines(path)) as lines:
        for first in lines:
            if first.strip():
                break
            skipped += 1
    if suffix == ".txt":
        return read_url_list(_lines(path), name, url), None
    if suffix not in {".csv", ".tsv"}:
        return read_json_lines(_lines(path), name, url), None
    if not first.strip():
        raise ValueError(f"The table {printable(path)} is empty; it needs a line with its columns.")
    delimiter, columns = read_csv_header(first, name, url)
    below = islice(_lines(path), skipped + 1, None)
    return read_csv(below, name, delimiter, columns, skipped + 2), columns


def _lines(path: Path) -> Generator[str, None, None]:
    """Yield the lines of a text file, decompressed; bytes that are not UTF-8 are decoded by guess.

    Excel's "Unicode text" is UTF-16; other encodings have no mark.
    """
    with _explained(path), contextlib.ExitStack() as stack:
        descriptor, _ = open_regular(path)
        file: Any = stack.enter_context(os.fdopen(descriptor, "rb"))
        if path.suffix.lower() == ".gz":
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        start = file.peek(4)[:4]
        is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding, errors = ("utf-16", "replace") if is_utf16 else ("utf-8-sig", "surrogateescape")
        text = stack.enter_context(io.TextIOWrapper(file, encoding, errors))
        number = 0
        while line := text.readline(_MAX_LINE_CHARS):
            number += 1
            if len(line) == _MAX_LINE_CHARS and not line.endswith("\n"):
                raise ValueError(
                    f"{printable(path.name)} line {number} is longer than {_MAX_LINE_CHARS}"
                    " characters, so the file is no table; name another file."
                )
            yield line if line.isascii() else _decoded(line)


def _decoded(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError:
        return decode_text(line.encode("utf-8", "surrogateescape"))
    return line


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what reading a file raises into `StorageError` with one sentence."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StorageError(
            f"The table {printable(path)} could not be read: it is damaged ({error});"
            " copy it again."
        ) from error
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"The table {printable(path)} could not be read: {os_error_reason(error)}."
        ) from error
