"""`RowOverflow`: rows of hosts that hold their share of a batch's queue, in a temporary file.

A table may have all rows of one slow host before those of the others, which are read ahead then.
"""

import pickle
import tempfile
from collections import deque
from typing import IO

from vidnb.download.planner.rows import Row

__all__ = ["RowOverflow"]

_CHUNK_ROWS = 64


class RowOverflow:
    """Queues of rows, one for each host; every method may block on the disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._stored: dict[str, deque[int]] = {}
        self._recent: dict[str, list[Row]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def __contains__(self, host: str) -> bool:
        """Whether there are rows of `host`."""
        return host in self._recent

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts with rows."""
        return tuple(self._recent)

    def put(self, host: str, row: Row) -> None:
        """Append a row."""
        recent = self._recent.setdefault(host, [])
        recent.append(row)
        self._count += 1
        if len(recent) < _CHUNK_ROWS:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._stored.setdefault(host, deque()).append(self._file.seek(0, 2))
        pickle.dump(recent, self._file)
        self._recent[host] = []

    def take(self, host: str) -> list[Row]:
        """Return the next rows of a host, at most 64; the file is empty when all were taken."""
        stored = self._stored.get(host)
        if stored and self._file is not None:
            self._file.seek(stored.popleft())
            rows: list[Row] = pickle.load(self._file)  # noqa: S301 - our own unnamed file
        else:
            rows = self._recent.pop(host)
            self._stored.pop(host, None)
        self._count -= len(rows)
        if not self._count:
            self._recent.clear()
            self.close()
        return rows

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._stored.clear()
