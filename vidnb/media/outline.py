"""What a page must know of a file to play it piece by piece, and how it is read without I/O."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final, TypeVar

from vidnb.http.ranges import ByteRange

__all__ = ["MOST_HEAD_BYTES", "Outline", "Reading", "bytes_at", "length_of", "put_in_order"]

MOST_HEAD_BYTES: Final = 4 * 1024 * 1024
"""The most (B) that is read in one go, and the longest head and index that are understood."""

_MOST_PLACES: Final = 20_000  # a day in steps of four seconds; of more, every second or third

_T = TypeVar("_T")
Reading = Generator[ByteRange, bytes, _T]
"""What yields the bytes it wants, is sent them, all of them, and returns what it found."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a page must know to play a file piece by piece.

    `mime` is its type with the codecs, for `MediaSource.isTypeSupported`; `init_bytes` the length
    of the head (B), behind which the pieces follow in order; `duration_s` the length in seconds,
    None where the file does not say. `index` has places where reading may begin, each the time (s)
    and the offset (B) of a piece, both rising; empty where the file has no index.
    """

    mime: str
    init_bytes: int
    duration_s: float | None
    index: tuple[tuple[float, int], ...]


def bytes_at(start: int, length: int, size_bytes: int) -> Reading[bytes]:
    """Return `length` bytes from `start`; `ValueError` where they are too many or not there."""
    if length > MOST_HEAD_BYTES or start + length > size_bytes:
        raise ValueError("bytes that are not there")
    if not length:
        return b""
    return (yield ByteRange(start, start + length))


def length_of(told_s: float | None) -> float | None:
    """Return a length (s) that a file told, None where it is none."""
    return told_s if told_s and 0 < told_s < inf else None


def put_in_order(
    places: Sequence[tuple[float, int]], within: ByteRange
) -> tuple[tuple[float, int], ...]:
    """Return the places by rising offset, not too many; none where they contradict each other."""
    ordered = sorted({offset: time_s for time_s, offset in reversed(places)}.items())
    every = -(-len(ordered) // _MOST_PLACES) or 1
    found = tuple((time_s, offset) for offset, time_s in ordered)[::every]
    if any(offset not in within for _, offset in found):
        return ()
    if any(after[0] <= before[0] for before, after in pairwise(found)):
        return ()
    return found
