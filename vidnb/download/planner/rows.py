"""The rows of a table of downloads, their results, and the lines of a ledger.

A ledger is a file of JSON lines: a header with its format and a random salt, then one line for each
result, of which the last for a row counts. A line that is damaged, or has no line feed at its end
because its write was cut off, is not one. A URL may contain a password or a signature, so a line
has a salted hash of it (`journal.hash_url`) and the form for messages.
"""

import contextlib
import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from vidnb.download.planner.journal import hash_url
from vidnb.errors import URLNotAllowed
from vidnb.http.urls import redact, without_credentials

__all__ = [
    "LEDGER_FORMAT",
    "MAX_HEADER_BYTES",
    "TABLE_COLUMNS",
    "LedgerLine",
    "Row",
    "RowResult",
    "RowState",
    "dump_header",
    "is_torn_header",
    "line_key",
    "load_header",
    "row_key",
]

LEDGER_FORMAT = 1
"""A ledger of another format counts as absent: its rows are downloaded again."""

RowState: TypeAlias = Literal["done", "failed", "cancelled", "duplicate"]

_STATES: Final = frozenset({"done", "failed", "cancelled", "duplicate"})


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: what to download, and the file for it.

    `number`: the position in the table, from 0. `url`: normalised, with its credentials. `name`:
    the file, relative to the folder, with `/` between folders; None only with an `error`.
    `checksum`: as "sha256:…". `headers`: of all rows and of this one. `error`: a sentence if the
    row cannot be downloaded at all; then `url` is the text of the table.
    """

    number: int
    url: str = field(repr=False)  # may contain a secret, as the headers do
    name: str | None
    checksum: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    error: str = ""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of a row.

    `url`: that of the row; from a ledger, in the form for messages. `path`: the file, also of a row
    that failed, absolute or relative to the folder; empty for a row without a name. `size_bytes`,
    `sha256`, `modified_ns` (Unix time, ns): of the file. `checksum`: the one that was compared, as
    "md5:…". `attempts`: at least 1 for a request. `error_type`, `error`: the name of the class and
    the sentence. `host`: that of the URL. `worker`: the process that downloaded it. `elapsed_s`:
    the time of all attempts (s).
    """

    number: int
    url: str = field(repr=False)
    state: RowState
    path: str = ""
    size_bytes: int = 0
    sha256: str = ""
    media_type: str = ""
    attempts: int = 0
    error_type: str = ""
    error: str = ""
    host: str = ""
    worker: str = ""
    elapsed_s: float = 0.0
    modified_ns: int = 0
    etag: str = ""
    checksum: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return the columns of the table that a user sees, the URL in the form for messages."""
        row = {name: getattr(self, name) for name in TABLE_COLUMNS}
        row["url"] = redact(self.url)
        return row


_EMPTY: Final = RowResult(0, "", "failed")
_DEFAULTS: Final = {
    column.name: getattr(_EMPTY, column.name) for column in dataclasses.fields(RowResult)
}
TABLE_COLUMNS: Final = tuple(
    name for name in _DEFAULTS if name not in {"modified_ns", "etag", "checksum"}
)
"""The columns of the table that a user sees, in order."""


def row_key(url: str, name: str, salt: str) -> str:
    """Return the key of a row in a ledger with this `salt`: 32 hexadecimal digits.

    It stands for the normalised URL without credentials, and for the name of the file.
    """
    with contextlib.suppress(URLNotAllowed):  # the row failed for it
        url = without_credentials(url)
    return hash_url(f"{url}\n{name}", salt).rpartition(":")[2][:32]


def dump_header(salt: str) -> bytes:
    """Encode the first line of a ledger; `salt` is 32 hexadecimal digits."""
    return _HEADER_START + f'{salt}"}}\n'.encode()


_HEADER_START: Final = f'{{"vidnb":"batch","format":{LEDGER_FORMAT},"salt":"'.encode()
_HEADER: Final = re.compile(re.escape(_HEADER_START) + rb'([0-9a-f]{32})"\}\n')
MAX_HEADER_BYTES: Final = len(dump_header("0" * 32))


def load_header(line: bytes) -> str | None:
    """Return the salt of a ledger's first line; None for any other file or format."""
    found = _HEADER.fullmatch(line)
    return None if found is None else found[1].decode()


def is_torn_header(data: bytes) -> bool:
    """Return whether this is all of a ledger whose header was cut off while it was written."""
    missing = dump_header("0" * 32)[len(data) :]
    return load_header(data + missing) is not None and bool(missing)


_LINE: Final = re.compile(rb'\{"key":"([0-9a-f]{32})",.*\}\n')


def line_key(line: bytes) -> str | None:
    """Return the key of a complete line of a ledger, which `LedgerLine.load` may still refuse."""
    found = _LINE.fullmatch(line)
    return None if found is None else found[1].decode()


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A line of a ledger: the `path` of its `result` is the name, `boot` that of the machine."""

    key: str
    boot: str
    result: RowResult

    def dump(self) -> bytes:
        """Encode the line, with the URL in the form for messages."""
        columns: dict[str, Any] = {name: getattr(self.result, name) for name in _DEFAULTS}
        columns["url"] = redact(self.result.url)
        given = {name: value for name, value in columns.items() if value != _DEFAULTS[name]}
        fields = {"key": self.key, "boot": self.boot, **given}
        return f"{json.dumps(fields, separators=(',', ':'))}\n".encode()

    @classmethod
    def load(cls, line: bytes) -> "LedgerLine | None":
        """Decode a line; None if it is damaged. Columns of later versions are left out."""
        if line_key(line) is None:
            return None
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            return None
        columns = {name: fields.get(name, default) for name, default in _DEFAULTS.items()}
        if not all(map(_has_type, columns.items())) or columns["state"] not in _STATES:
            return None
        return cls(fields["key"], str(fields.get("boot", "")), RowResult(**columns))


def _has_type(column: tuple[str, Any]) -> bool:
    name, value = column
    expected = type(_DEFAULTS[name])
    kinds = (int, float) if expected is float else expected
    return isinstance(value, kinds) and not isinstance(value, bool)
