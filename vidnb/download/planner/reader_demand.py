"""Which bytes the readers of a running download need now and soon.

The read-ahead window of a reader grows with what it has read sequentially, within bounds: a reader
of a header and one of the whole file differ only in what they read.
"""

from dataclasses import dataclass, field

from vidnb.http.ranges import ByteRange

__all__ = ["MAX_READ_AHEAD_FACTOR", "MIN_READ_AHEAD_DIVISOR", "RECENT_WAIT_S", "ReaderDemand"]

RECENT_WAIT_S = 1.0
"""A reader that waited within this time will probably wait again: its requests have the whole
bandwidth, and no concurrency probe runs."""

MIN_READ_AHEAD_DIVISOR = 4
MAX_READ_AHEAD_FACTOR = 8
"""A read-ahead window has from a fourth of `read_ahead_bytes` up to eight times as many bytes."""


@dataclass(slots=True)
class ReaderDemand:
    """The readers of one transfer; `offsets` maps each reader to the byte that it needs next."""

    read_ahead_bytes: int
    offsets: dict[int, int] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)
    _run_starts: dict[int, int] = field(default_factory=dict)
    _last_wait_s: float = -RECENT_WAIT_S

    def advance(self, reader: int, offset: int) -> None:
        """Set the byte that a reader needs next; a jump begins a new sequential run."""
        before = self.offsets.get(reader)
        if before is None or not before <= offset <= self._window(reader).stop:
            self._run_starts[reader] = offset
        self.offsets[reader] = offset
        self._waiting.discard(reader)

    def wait(self, reader: int, offset: int, now_s: float, *, is_missing: bool) -> None:
        """Set the byte that a reader waits for; `is_missing`: it has not been received."""
        self.advance(reader, offset)
        self._waiting.add(reader)
        if is_missing:
            self._last_wait_s = now_s

    def remove(self, reader: int) -> None:
        """Remove a reader. Its last wait still counts: a seeking browser soon sends a new one."""
        self.offsets.pop(reader, None)
        self._run_starts.pop(reader, None)
        self._waiting.discard(reader)

    def end_waits(self) -> None:
        """Let no reader wait any more: the bytes of the version that they read will not arrive."""
        self._waiting.clear()

    def has_recent_wait(self, now_s: float) -> bool:
        """Return whether a reader waited recently; a clock that jumps back counts as "no"."""
        return 0 <= now_s - self._last_wait_s < RECENT_WAIT_S

    @property
    def waiting_offsets(self) -> list[int]:
        """The bytes that readers wait for, or waited for last."""
        return [self.offsets[reader] for reader in self._waiting]

    @property
    def min_read_ahead_bytes(self) -> int:
        """The window of a reader that has read nothing yet (B)."""
        return max(1, self.read_ahead_bytes // MIN_READ_AHEAD_DIVISOR)

    def windows(self) -> list[ByteRange]:
        """Return the ranges needed now and soon; the head of the file is always one of them."""
        return [
            *(self._window(reader) for reader in self.offsets),
            ByteRange(0, self.min_read_ahead_bytes),
        ]

    def overlaps(self, start: int, stop: int) -> bool:
        """Return whether a window has a byte of `start` to `stop` (exclusive)."""
        return any(start < window.stop and window.start < stop for window in self.windows())

    def window_stop(self, offset: int) -> int:
        """Return the end of the largest window that starts at `offset`."""
        return max(window.stop for window in self.windows() if offset == window.start)

    def _window(self, reader: int) -> ByteRange:
        offset = self.offsets[reader]
        max_bytes = MAX_READ_AHEAD_FACTOR * self.read_ahead_bytes
        read_bytes = min(offset - self._run_starts[reader], max_bytes)
        return ByteRange(offset, offset + max(read_bytes, self.min_read_ahead_bytes))
