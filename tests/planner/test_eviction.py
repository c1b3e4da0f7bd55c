"""Which files leave a cache: a table."""

import pytest

from vidnb.download.planner.eviction import CacheEntry, select_evictions

OLD, MID, NEW = CacheEntry("old", 40, 1.0), CacheEntry("mid", 30, 2.0), CacheEntry("new", 20, 3.0)


@pytest.mark.parametrize(
    ("kept", "most_bytes", "leaving"),
    [
        pytest.param([], 0, (), id="nothing-there"),
        pytest.param([NEW, OLD, MID], 90, (), id="just-fits"),
        pytest.param([NEW, OLD, MID], 89, ("old",), id="oldest-first"),
        pytest.param([NEW, OLD, MID], 49, ("old", "mid"), id="until-it-fits"),
        pytest.param([NEW, OLD, MID], 0, ("old", "mid", "new"), id="all"),
        pytest.param(
            [NEW, CacheEntry("old", 40, 1.0, is_open=True), MID],
            60,
            ("mid",),
            id="not-what-is-open",
        ),
        pytest.param([CacheEntry("old", 40, 1.0, is_open=True)], 10, (), id="all-is-open"),
        pytest.param(
            [CacheEntry("b", 1, 1.0), CacheEntry("a", 1, 1.0)], 1, ("a",), id="same-age-by-name"
        ),
    ],
)
def test_what_leaves(kept: list[CacheEntry], most_bytes: int, leaving: tuple[str, ...]) -> None:
    assert select_evictions(kept, most_bytes) == leaving
