"""Handles of one download, used by several threads at the same moment."""

import threading
from typing import Any

import pytest

from vidnb.download import status as status_module
from vidnb.download.planner.progress import Progress, ProgressMeter
from vidnb.download.status import DownloadHandle


class During:
    """Runs `step` on another thread at a chosen moment, and waits for it only a moment there."""

    def __init__(self, step: Any) -> None:
        self._thread = threading.Thread(target=step)

    def __call__(self) -> None:
        self._thread.start()
        self._thread.join(0.2)  # under a lock it cannot end before the caller does

    def wait(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_a_resume_while_a_handle_joins_a_download_is_not_lost() -> None:
    handle, other = DownloadHandle(), DownloadHandle()
    handle.pause()
    resume, pause = During(handle.resume), other.pause

    def paused_meanwhile() -> None:
        pause()
        resume()

    other.pause = paused_meanwhile  # type: ignore[method-assign]
    handle.follow(other)
    resume.wait()
    assert handle.status is other.status
    assert not other.status.is_paused


@pytest.mark.parametrize("swap", ["start_meter", "resume"])
def test_progress_never_combines_new_bytes_with_an_old_meter(
    swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of an earlier run would count as speed."""
    handle = DownloadHandle()
    seen: list[Progress] = []
    ask = During(lambda: seen.append(handle.progress()))

    def meter(*arguments: Any) -> ProgressMeter:
        ask()
        return ProgressMeter(*arguments)

    monkeypatch.setattr(status_module, "ProgressMeter", meter)
    if swap == "resume":
        handle.status.done_bytes = 5_000_000
        handle.resume()
    else:
        handle.start_meter(5_000_000)
    ask.wait()
    assert [each.rate_bytes_per_s for each in seen] == [0]
