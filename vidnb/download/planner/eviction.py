"""Which files leave a cache that has grown too large: those that were not used for longest."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CacheEntry", "select_evictions"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One thing in the cache: its name, its size (B), and when it was used last (Unix time, s)."""

    name: str
    size_bytes: int
    used_s: float
    is_open: bool = False


def select_evictions(kept: Iterable[CacheEntry], most_bytes: int) -> tuple[str, ...]:
    """Return what has to go so that the rest takes `most_bytes` at most, the oldest first.

    What is open stays and counts, so the cache may be larger than that while it is.
    """
    in_order = sorted(kept, key=lambda one: (one.used_s, one.name))
    excess_bytes = sum(one.size_bytes for one in in_order) - most_bytes
    leaving = []
    for one in in_order:
        if excess_bytes <= 0:
            break
        if not one.is_open:
            leaving.append(one.name)
            excess_bytes -= one.size_bytes
    return tuple(leaving)
