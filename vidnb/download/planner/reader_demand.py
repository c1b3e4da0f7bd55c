"""Who reads a file that still arrives: where, and how far ahead of each it is worth fetching.

Nobody tells a reader of a header from one of a whole film but by what it reads: so as much is
fetched ahead of a reader as it has read in one go, within bounds.
"""

from dataclasses import dataclass, field

from vidnb.http.ranges import ByteRange

__all__ = ["CALM_S", "LEAST_SHARE", "MOST_SHARE", "ReaderDemand"]

CALM_S = 1.0
"""A reader that waited this lately waits again soon: what it needs has the line to itself, and
nothing is tried out meanwhile."""

LEAST_SHARE = 4
MOST_SHARE = 8
"""Ahead of a reader is fetched from a fourth of the read-ahead up to eight times as much."""


@dataclass(slots=True)
class ReaderDemand:
    """The readers of one transfer; `offsets` are the bytes that they need next, by reader."""

    read_ahead_bytes: int
    offsets: dict[int, int] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)
    _began: dict[int, int] = field(default_factory=dict)
    _waited_s: float = -CALM_S

    def goes_on(self, reader: int, offset: int) -> None:
        """Take the byte that a reader needs next, which may be where it has jumped to."""
        before = self.offsets.get(reader)
        if before is None or not before <= offset <= self._ahead(reader).stop:
            self._began[reader] = offset
        self.offsets[reader] = offset
        self._waiting.discard(reader)

    def waits(self, reader: int, offset: int, now_s: float, *, is_missing: bool) -> None:
        """Take the byte that a reader waits for, and whether it still has to come."""
        self.goes_on(reader, offset)
        self._waiting.add(reader)
        if is_missing:
            self._waited_s = now_s

    def leave(self, reader: int) -> None:
        """Forget a reader; a browser that leaves is back with another wish in no time."""
        self.offsets.pop(reader, None)
        self._began.pop(reader, None)
        self._waiting.discard(reader)

    def wait_lately(self, now_s: float) -> bool:
        """Tell whether one waited lately; never for long, even where the clock jumps back."""
        return 0 <= now_s - self._waited_s < CALM_S

    @property
    def wanted(self) -> list[int]:
        """The bytes for which they wait, or waited last."""
        return [self.offsets[reader] for reader in self._waiting]

    @property
    def least_ahead_bytes(self) -> int:
        """What is fetched ahead of a reader that has read nothing yet."""
        return max(1, self.read_ahead_bytes // LEAST_SHARE)

    def windows(self) -> list[ByteRange]:
        """Return what they need now and soon; that everybody begins with the head goes unsaid."""
        return [
            *(self._ahead(reader) for reader in self.offsets),
            ByteRange(0, self.least_ahead_bytes),
        ]

    def need(self, start: int, stop: int) -> bool:
        """Tell whether any of these bytes is needed now or soon."""
        return any(start < window.stop and window.start < stop for window in self.windows())

    def stop_of(self, offset: int) -> int:
        """Return up to where is worth fetching for those who need the byte at `offset` next."""
        return max(window.stop for window in self.windows() if offset == window.start)

    def _ahead(self, reader: int) -> ByteRange:
        offset = self.offsets[reader]
        read_bytes = min(offset - self._began[reader], MOST_SHARE * self.read_ahead_bytes)
        return ByteRange(offset, offset + max(read_bytes, self.least_ahead_bytes))
