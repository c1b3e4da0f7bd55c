"""`ResultStore`: the results of a batch in the order in which its rows ended, in a temporary file.

A result takes eight bytes of memory, so a million rows do, too. Every method may be called from any
thread.
"""

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from vidnb.download.planner.rows import RowResult

__all__ = ["ResultStore"]


class ResultStore:
    """Results that are appended until `end`; the file is removed with this object."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._offsets = array("Q")
        self._end = 0
        self._has_ended = False
        self._listeners: list[Callable[[], object]] = []

    def __len__(self) -> int:
        """Return how many rows have ended."""
        return len(self._offsets)

    def __getitem__(self, index: int) -> RowResult:
        """Return a result by its place in the order in which the rows ended."""
        with self._changed:
            self._file.seek(self._offsets[index])
            result: RowResult = pickle.load(self._file)  # noqa: S301 - our own unnamed file
        return result

    def __iter__(self) -> Iterator[RowResult]:
        return (self[index] for index in range(len(self)))

    def in_order(self) -> Iterator[RowResult]:
        """Return the results in the order of the table."""
        numbered = sorted((result.number, index) for index, result in enumerate(self))
        for _, index in numbered:
            yield self[index]

    def extend(self, results: Sequence[RowResult]) -> None:
        """Append results."""
        with self._changed:
            self._file.seek(self._end)
            for result in results:
                self._offsets.append(self._end)
                self._end += self._file.write(pickle.dumps(result))
            self._notify()

    def end(self) -> None:
        """Nothing is appended any more."""
        with self._changed:
            self._has_ended = True
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in self._listeners:
            with suppress(RuntimeError):  # its event loop has closed
                listener()

    def wait(self, index: int, timeout_s: float | None = None) -> bool:
        """Block until there is a result with this index; False once there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: len(self) > index or self._has_ended, timeout_s)
            return len(self) > index

    def state(self, index: int) -> bool | None:
        """Return what `wait` would, without waiting: None while that is not known."""
        with self._changed:
            return True if len(self) > index else False if self._has_ended else None

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` at every change, in any thread; return a function that ends it."""
        with self._changed:
            self._listeners.append(listener)

        def stop() -> None:
            with self._changed:
                self._listeners.remove(listener)

        return stop
