"""What one test's origin refused is no news of the next one's, which may have its port."""

from collections.abc import Iterator

import pytest

from vidnb.download.slots import slots


@pytest.fixture(autouse=True)
def no_memory_of_other_origins() -> Iterator[None]:
    """Let the process forget what hosts refused."""
    yield
    slots._quota._host_limits.clear()
