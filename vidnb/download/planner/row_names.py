"""Names for the files of a table: from a column, a format string or the URL; never one twice.

Table and URL are untrusted. A name is a relative path with `/` between its components, each of them
safe by the rules of `naming`, so it stays inside the folder of the download.

Two names that a file system without upper and lower case takes for one collide on every system, so
that a table has the same names everywhere. The first row has the name and the others get a number,
in the order of the table: the same table has the same names on every run. Rows with the same URL
and the same wanted name have one name, since they are one file.
"""

import contextlib
import hashlib
import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any

from vidnb.download.planner.naming import clean_name, file_name, numbered

__all__ = ["MissingValueError", "RowNames", "format_name", "is_missing", "template_fields"]

_SEPARATORS = re.compile(r"[/\\]")
_IS_FOLDER = -1  # in place of the digest of a URL


class MissingValueError(ValueError):
    """A row has no value for a column that it needs; the text is a sentence."""


class RowNames:
    """The names that were assigned so far.

    A row takes about 100 bytes: names and URLs are kept as digests of 60 bits. For two names with
    the same digest, which a million rows have with a probability of one in a million, the second
    gets a number without need.
    """

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}  # by name: the URL whose file it is, or `_IS_FOLDER`
        self._numbers: dict[int, int] = {}  # by wanted name and URL, if not 0
        self._next_numbers: dict[int, int] = {}  # by wanted name, if it was wanted twice

    def assign(self, wanted: str | None, url: str) -> str:
        """Return the name for the next row; without a usable wanted name, that of the URL."""
        parts = [part for text in _SEPARATORS.split(wanted or "") if (part := clean_name(text))]
        *folders, name = parts or [file_name(None, url, None)]
        parent = ""
        for folder in folders:
            parent += f"{self._assign(parent, folder, _IS_FOLDER)}/"
        return parent + self._assign(parent, name, _digest(url))

    def _assign(self, parent: str, name: str, owner: int) -> str:
        wanted = _digest(_folded(parent + name))
        if self._owners.setdefault(wanted, owner) == owner:
            return name
        pair = _digest(f"{wanted} {owner}")
        number = self._numbers.get(pair)
        if number is None:
            number = self._next_numbers.get(wanted, 1)
            while not self._is_free(parent + numbered(name, number), owner):
                number += 1
            self._numbers[pair] = number
            self._next_numbers[wanted] = number + 1
        return numbered(name, number)

    def _is_free(self, path: str, owner: int) -> bool:
        return self._owners.setdefault(_digest(_folded(path)), owner) == owner


def _folded(path: str) -> str:
    """Return what is equal for names that some file system takes for one."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path.casefold())


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest()) >> 4


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, NaN, pandas' NA and NaT, text of white space."""
    if value is None or isinstance(value, str):
        return not (value and value.strip())
    try:
        return bool(value != value)  # noqa: PLR0124 - NaN and NaT differ from themselves
    except TypeError:  # NA has no truth
        return True
    except ValueError:  # an array
        return False


def template_fields(template: str) -> frozenset[str]:
    """Return the columns that a format string needs; `ValueError` if it is malformed."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"name={template!r} is no format string: {error}.") from None
    fields = {field for _, field, _, _ in parsed if field is not None}
    names = {re.split(r"[.\[]", field, maxsplit=1)[0] for field in fields}
    if not all(name and not name.isdigit() for name in names):
        raise ValueError(
            f"name={template!r} has a field without a column's name; write it as '{{id}}.mp4'."
        )
    return frozenset(names)


def format_name(template: str, row: Mapping[str, Any]) -> str:
    """Return a format string with the values of a row.

    Text of a number, which is all that a text file has, is formatted as a number where the format
    needs one (`{id:05d}`), and so is a whole float. `MissingValueError` for a column that is
    missing or empty, `ValueError` for a value that cannot be formatted, each with a sentence.
    """
    try:
        return _Formatter().vformat(template, (), row)
    except MissingValueError:
        raise
    except KeyError as error:
        raise _missing(str(error.args[0])) from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"The name {template!r} cannot be made from the values of the row ({error}); correct"
            " the row or the format."
        ) from None


class _Formatter(string.Formatter):
    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        value, first = super().get_field(field_name, args, kwargs)
        if is_missing(value):
            raise _missing(field_name)
        return value, first

    def format_field(self, value: Any, format_spec: str) -> Any:
        with contextlib.suppress(ValueError, TypeError):
            return format(value, format_spec)
        with contextlib.suppress(ValueError, TypeError):
            return format(_whole(value), format_spec)
        return format(float(value), format_spec)


def _whole(value: object) -> int:
    """Return text or a float as an integer; `ValueError` if it is none."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _missing(column: str) -> MissingValueError:
    return MissingValueError(
        f"The row has no value in {column!r}, which its name needs; fill it in, or drop the row."
    )
