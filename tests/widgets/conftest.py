"""Fixtures of the progress displays: a fake front end, a fake kernel, a terminal."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import IPython
import IPython.display
import pytest
from ipywidgets.widgets import widget as widget_module

from tests.widgets.front_end import FakeComm, Terminal
from vidnb.io import standard_streams
from vidnb.widgets.progress import display as progress_display


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the messages sent to the widgets of the front end."""
    monkeypatch.setattr(FakeComm, "sent", [], raising=False)
    monkeypatch.setattr(FakeComm, "is_dead", False)
    monkeypatch.setattr(widget_module.comm, "create_comm", FakeComm)
    return FakeComm.sent


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what is displayed or updated: each MIME bundle with its display id."""
    shown: list[dict[str, Any]] = []

    def publish(data: dict[str, Any], *, transient: dict[str, str], update: bool) -> None:
        shown.append({**data, "id": transient["display_id"], "update": update})

    monkeypatch.setattr(IPython.display, "publish_display_data", publish)
    return shown


@pytest.fixture
def registry() -> Iterator[dict[str, Any]]:
    """Return ipywidgets' registry of open widgets; every test leaves it unchanged."""
    living: dict[str, Any] = widget_module._instances
    before = set(living)
    yield living
    assert set(living) <= before  # widgets of other tests may be collected meanwhile


@pytest.fixture
def in_kernel(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    kernel = SimpleNamespace(kernel_info={"supported_features": ["kernel subshells"]})
    shell = SimpleNamespace(kernel=kernel)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return kernel


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    # pytest puts its own sys.stderr in place after the fixtures.
    for module in progress_display, standard_streams:
        monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=screen, modules=sys.modules))
    return screen
