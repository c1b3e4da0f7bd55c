"""Locks between processes: who keeps whom out."""

import sys
from pathlib import Path

import pytest

from vidnb.io.locks import can_lock, lock


@pytest.mark.parametrize(
    ("first", "second", "is_let_in"),
    [
        pytest.param(False, False, False, id="sole-then-sole"),
        pytest.param(False, True, False, id="sole-then-shared"),
        pytest.param(True, False, False, id="shared-then-sole"),
        pytest.param(True, True, True, id="shared-then-shared"),
    ],
)
def test_who_keeps_whom_out(first: bool, second: bool, is_let_in: bool, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert can_lock()
    with path.open("wb") as one, path.open("ab") as two:
        assert lock(one.fileno(), is_shared=first) is True
        assert lock(two.fileno(), is_shared=second) is is_let_in
        one.close()
        assert lock(two.fileno(), is_shared=second) is True


def test_a_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (tmp_path / "lock").open("wb") as file:
        assert lock(file.fileno()) is None
    assert not can_lock()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (tmp_path / "lock").open("wb") as file:
        assert lock(file.fileno()) is None
