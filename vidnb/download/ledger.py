"""The ledger of the batches of a folder, and the status file of a table.

A ledger is `FOLDER/.vidnb/batch-KEY.jsonl` (`planner.rows` defines it): one for a folder, whatever
the table, so a changed table repeats no row. It is appended to, by one process at a time, which
holds an OS lock that ends with the process. A kill loses at most the line that is being written.
As with the records of `part_file`, the results of an earlier boot of the machine count only once
the file's SHA-256 was compared.
"""

import contextlib
import csv
import hashlib
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, Self
from weakref import WeakSet

from vidnb.download.destination import own_folder, part_key
from vidnb.download.part_file import boot_id, hash_file, open_fresh, open_or_create
from vidnb.download.planner.rows import (
    LEDGER_FORMAT,
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
from vidnb.download.table_sources import require_pyarrow
from vidnb.errors import StorageError
from vidnb.io.locks import lock
from vidnb.io.regular_file import (
    StrPath,
    expand_user,
    os_error_reason,
    printable,
    resolve_target,
)

__all__ = ["Ledger", "RowResult", "check_status_path", "write_status"]

_NAME: Final = f"{part_key('batch', f'ledger {LEDGER_FORMAT}')}"
_LINE_BYTES: Final = 1024  # most lines are shorter
_COMPACTED_LINES: Final = 1000
_DONE: Final = frozenset({"done", "duplicate"})  # the states of a row that has its file
_PARQUET_ROWS: Final = 10_000

logger = logging.getLogger(__name__)

_open_ledgers: "WeakSet[Ledger]" = WeakSet()


def _close_after_fork() -> None:
    """Close what a child has of its parent's ledgers: the lock would last as long as the child."""
    for ledger in list(_open_ledgers):
        ledger.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)


class Ledger(Mapping[str, RowResult]):
    """The results of all rows of a folder's batches, by `key`; locked until it is closed.

    In memory a row takes about 100 bytes; its result is read from the file. Any thread may use it,
    and every method may block on the disk. `StorageError`, with one sentence, where the
    ledger is in use by another batch, and where the disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._path = own_folder(self._folder) / f"{_NAME}.jsonl"
        self._boot = hashlib.sha256(boot_id().encode()).hexdigest()[:8]
        self._offsets: dict[int, int] = {}
        self._lines = self._size_bytes = 0
        self._lock = threading.RLock()
        with self._explained("opened", "nothing was downloaded"):
            self._file, self._salt = self._open()
            _open_ledgers.add(self)
            self._index()

    __eq__ = object.__eq__  # by identity, not by content
    __hash__ = object.__hash__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger, which another batch may then open."""
        self._file.close()

    def key(self, url: str, name: str) -> str:
        """Return the key of a row: for its URL, and the file relative to the folder."""
        return row_key(url, name, self._salt)

    def load(self) -> Mapping[str, RowResult]:
        """Return the last result of each row: the ledger itself.

        It is rewritten first if it has twice as many lines as rows.
        """
        if self._lines >= max(1, 2 * len(self._offsets)):
            with self._lock, self._explained("rewritten", "it is unchanged"):
                self._compact()
        return self

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[str]:
        return (line.key for line in self._latest())

    def __getitem__(self, key: str) -> RowResult:
        line = self._line(key)
        if line is None:
            raise KeyError(key)
        return self._located(line.result)

    def find_done(self, row: Row) -> RowResult | None:
        """Return the result of a row whose file is there as it was written; else None.

        That is by size and modification time, and by the checksum of the row if it has one. The
        file of an earlier boot, or with a checksum that was not compared before, is read once.
        """
        if row.name is None:
            return None
        key = self.key(row.url, row.name)
        line = self._line(key)
        if line is None or line.result.state not in _DONE:
            return None
        result = replace(self._located(line.result), number=row.number, url=row.url)
        try:
            status = os.stat(result.path)  # noqa: PTH116 - a million times
            if (status.st_size, status.st_mtime_ns) != (result.size_bytes, result.modified_ns):
                return None
            sha256 = f"sha256:{result.sha256}"
            if line.boot != self._boot:
                if hash_file(Path(result.path), "sha256") != result.sha256:
                    return None
                self.append([result])
            if row.checksum is None or row.checksum in {sha256, result.checksum}:
                return result
            algorithm, _, digest = row.checksum.partition(":")
            if algorithm == "sha256" or hash_file(Path(result.path), algorithm) != digest:
                return None
        except OSError:
            return None
        result = replace(result, checksum=row.checksum)
        self.append([result])
        return result

    def append(self, results: Sequence[RowResult]) -> None:
        """Add results in one write; each has the URL of its row and the path of its file."""
        with self._lock:
            data = bytearray()
            offsets: dict[int, int] = {}
            for result in results:
                name = self._name(result.path)
                key = self.key(result.url, name)
                offsets[_short(key)] = self._size_bytes + len(data)
                data += LedgerLine(key, self._boot, replace(result, path=name)).dump()
            with self._explained("written", "the downloaded files were kept"):
                self._write(data)
            self._size_bytes += len(data)
            self._offsets |= offsets
            self._lines += len(results)

    def _write(self, data: bytearray) -> None:
        try:
            self._file.seek(self._size_bytes)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            # Or else the next line would be joined to what was written of these.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._size_bytes)
            raise

    def _open(self) -> tuple[BinaryIO, str]:
        """Open, lock and check the file; move aside one that is no ledger of this format."""
        while True:
            file = open_or_create(self._path)
            try:
                salt = self._read_header(file) if self._acquire(file) else None
            except BaseException:
                file.close()
                raise
            if salt is not None:
                return file, salt
            file.close()

    def _acquire(self, file: BinaryIO) -> bool:
        """Lock the file; False if another process has compacted it, or moved it aside, before."""
        if lock(file.fileno()) is False:
            raise StorageError(
                f"Another batch is downloading into {printable(self._folder)}; nothing was"
                " downloaded by this one; wait for that one, cancel it, or name another folder."
            )
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        return False

    def _read_header(self, file: BinaryIO) -> str | None:
        start = file.read(MAX_HEADER_BYTES)
        salt = load_header(start)
        if salt is None and is_torn_header(start):
            salt = secrets.token_hex(16)
            os.ftruncate(file.fileno(), 0)
            file.seek(0)
            file.write(dump_header(salt))
        if salt is None:
            aside = self._path.with_name(f"{_NAME}.{secrets.token_hex(8)}.old")
            self._path.replace(aside)
            logger.warning(
                "%s is no ledger of this version of vidnb, so its rows are downloaded again; it"
                " was kept as %s.",
                printable(self._path),
                printable(aside.name),
            )
        return salt

    def _index(self) -> None:
        """Find the last line of each row, and cut off one that is torn."""
        self._offsets.clear()
        self._lines, offset = 0, MAX_HEADER_BYTES
        with open(self._file.fileno(), "rb", closefd=False) as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                key = line_key(line)
                if key is not None:
                    self._offsets[_short(key)] = offset
                self._lines += 1
                offset += len(line)
        self._size_bytes = offset
        os.ftruncate(self._file.fileno(), offset)

    def _compact(self) -> None:
        """Replace the file by one with a single line for each row."""
        # The pattern of names that `stale_files` removes after a kill.
        fresh, file = open_fresh(self._path.parent, f"{_NAME}.record", "new")
        try:
            file.write(dump_header(self._salt))
            lines = self._latest()
            while some := b"".join(line.dump() for line in islice(lines, _COMPACTED_LINES)):
                file.write(some)
            fresh.replace(self._path)
        except BaseException:
            file.close()
            fresh.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file = file
        self._index()

    def _latest(self) -> Iterator[LedgerLine]:
        for offset in sorted(self._offsets.values()):
            line = self._read_line(offset)
            if line is not None:
                yield line

    def _line(self, key: str) -> LedgerLine | None:
        with self._lock:
            offset = self._offsets.get(_short(key))
            line = None if offset is None else self._read_line(offset)
        return line if line is not None and line.key == key else None

    def _read_line(self, offset: int) -> LedgerLine | None:
        data = b""
        with self._lock:
            self._file.seek(offset)
            while b"\n" not in data and (piece := self._file.read(_LINE_BYTES)):
                data += piece
        return LedgerLine.load(data[: data.find(b"\n") + 1])

    def _name(self, path: str) -> str:
        """Return the path relative to the folder, which may move."""
        return path.removeprefix(f"{self._folder}{os.sep}").replace(os.sep, "/")

    def _located(self, result: RowResult) -> RowResult:
        return replace(result, path=str(self._folder / result.path)) if result.path else result

    @contextlib.contextmanager
    def _explained(self, what: str, kept: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(
                f"The ledger {printable(self._path)} could not be {what}:"
                f" {os_error_reason(error)}; {kept}."
            ) from error


def _short(key: str) -> int:
    """Return 60 bits of a key, which take half the memory; the whole key is in the line."""
    return int(key[:15], 16)


def check_status_path(path: StrPath) -> Path:
    """Return the path of a status file; `ValueError` for an unknown suffix.

    `MissingExtra` for .parquet without pyarrow.
    """
    file = Path(expand_user(path))
    if file.suffix.lower() not in _STATUS_WRITERS:
        raise ValueError(
            f"status={printable(path)!r} has none of the suffixes .csv, .jsonl and .parquet, which"
            " select the format; rename it."
        )
    if file.suffix.lower() == ".parquet":
        require_pyarrow(f"The status file {printable(path)!r}", "name a .csv file")
    return file


def write_status(path: StrPath, results: Iterable[RowResult]) -> None:
    """Write the table of the results, in the format of the path's suffix; it replaces a file.

    .csv (RFC 4180, in UTF-8), .jsonl or .parquet. The rows are taken one after another, and the
    file has its name once it is complete. `ValueError` and `MissingExtra` as `check_status_path`,
    `StorageError` if it cannot be written.
    """
    file = check_status_path(path)
    try:
        target = resolve_target(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.new")
        try:
            _STATUS_WRITERS[file.suffix.lower()](fresh, (result.as_row() for result in results))
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"The status file {printable(path)} could not be written: {os_error_reason(error)}; the"
            " downloaded files were kept."
        ) from error


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("x", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.DictWriter(file, TABLE_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _write_json_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    empty = RowResult(0, "", "failed").as_row()
    schema = pa.schema([(name, kinds[type(value)]) for name, value in empty.items()])
    with path.open("xb") as file, pq.ParquetWriter(file, schema) as writer:
        while some := [_encodable(row) for row in islice(rows, _PARQUET_ROWS)]:
            writer.write_table(pa.Table.from_pylist(some, schema))


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    """Replace what is not Unicode text, which a sentence or a path may have."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


_STATUS_WRITERS: Final[Mapping[str, Callable[[Path, Iterator[dict[str, Any]]], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
