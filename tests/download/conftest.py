"""Fixtures of the download tests."""

from collections.abc import Iterator

import pytest

from vidnb.download.slots import slots


@pytest.fixture(autouse=True)
def no_memory_of_other_origins() -> Iterator[None]:
    """Forget the connection limits of hosts: a later origin may have the same port."""
    yield
    slots._limits._host_limits.clear()
