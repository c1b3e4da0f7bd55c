"""Which files leave a cache: a table."""

import pytest

from vidnb.core.eviction import Kept, to_evict

OLD, MID, NEW = Kept("old", 40, 1.0), Kept("mid", 30, 2.0), Kept("new", 20, 3.0)


@pytest.mark.parametrize(
    ("kept", "most_bytes", "leaving"),
    [
        pytest.param([], 0, (), id="nothing-there"),
        pytest.param([NEW, OLD, MID], 90, (), id="just-fits"),
        pytest.param([NEW, OLD, MID], 89, ("old",), id="oldest-first"),
        pytest.param([NEW, OLD, MID], 49, ("old", "mid"), id="until-it-fits"),
        pytest.param([NEW, OLD, MID], 0, ("old", "mid", "new"), id="all"),
        pytest.param(
            [NEW, Kept("old", 40, 1.0, is_open=True), MID], 60, ("mid",), id="not-what-is-open"
        ),
        pytest.param([Kept("old", 40, 1.0, is_open=True)], 10, (), id="all-is-open"),
        pytest.param([Kept("b", 1, 1.0), Kept("a", 1, 1.0)], 1, ("a",), id="same-age-by-name"),
    ],
)
def test_what_leaves(kept: list[Kept], most_bytes: int, leaving: tuple[str, ...]) -> None:
    assert to_evict(kept, most_bytes) == leaving
