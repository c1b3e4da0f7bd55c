"""Least-recently-used eviction for the download cache."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CacheEntry", "select_evictions"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cache entry: its name, its size (B) and the time of its last use (Unix time, s)."""

    name: str
    size_bytes: int
    used_s: float
    is_open: bool = False


def select_evictions(entries: Iterable[CacheEntry], max_bytes: int) -> tuple[str, ...]:
    """Return the names to remove, oldest first, so that at most `max_bytes` remain.

    Open entries are never removed but count, so the cache may stay larger than `max_bytes`.
    """
    by_age = sorted(entries, key=lambda entry: (entry.used_s, entry.name))
    excess_bytes = sum(entry.size_bytes for entry in by_age) - max_bytes
    evicted = []
    for entry in by_age:
        if excess_bytes <= 0:
            break
        if not entry.is_open:
            evicted.append(entry.name)
            excess_bytes -= entry.size_bytes
    return tuple(evicted)
