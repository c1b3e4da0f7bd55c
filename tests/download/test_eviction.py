"""Least-recently-used eviction."""

import pytest

from vidnb.download.cache import CacheEntry, select_evictions

OLD, MID, NEW = CacheEntry("old", 40, 1.0), CacheEntry("mid", 30, 2.0), CacheEntry("new", 20, 3.0)


@pytest.mark.parametrize(
    ("entries", "max_bytes", "evicted"),
    [
        pytest.param([], 0, (), id="empty"),
        pytest.param([NEW, OLD, MID], 90, (), id="just-fits"),
        pytest.param([NEW, OLD, MID], 89, ("old",), id="oldest-first"),
        pytest.param([NEW, OLD, MID], 49, ("old", "mid"), id="until-it-fits"),
        pytest.param([NEW, OLD, MID], 0, ("old", "mid", "new"), id="all"),
        pytest.param(
            [NEW, CacheEntry("old", 40, 1.0, is_open=True), MID],
            60,
            ("mid",),
            id="open-entries-stay",
        ),
        pytest.param([CacheEntry("old", 40, 1.0, is_open=True)], 10, (), id="all-are-open"),
        pytest.param(
            [CacheEntry("b", 1, 1.0), CacheEntry("a", 1, 1.0)], 1, ("a",), id="same-age-by-name"
        ),
    ],
)
def test_the_oldest_entries_are_evicted(
    entries: list[CacheEntry], max_bytes: int, evicted: tuple[str, ...]
) -> None:
    assert select_evictions(entries, max_bytes) == evicted
