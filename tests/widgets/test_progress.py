"""Progress displays without a browser: a fake comm and recorded display calls."""

import html
import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import IPython.display
import ipywidgets
import pytest

from tests.deadline import DEADLINE_S
from tests.widgets.front_end import FakeComm, Terminal, errors, visible_text
from vidnb.download.planner.progress import Progress
from vidnb.download.status import DownloadHandle, DownloadStatus, Phase
from vidnb.widgets.progress import display as progress_display
from vidnb.widgets.progress.display import CellBar, Display
from vidnb.widgets.progress.download_view import download_view
from vidnb.widgets.progress.rendering import card_html, final_html, final_text, line_html

pytestmark = pytest.mark.usefixtures("messages", "outputs", "registry")
IPYKERNEL: Any = import_module("ipykernel")  # it has no types; loaded as in a kernel
KEPT = "stopped; 3.2 MB are kept in films/.vidnb; run the same download again to resume"


def handle_at(phase: Phase = Phase.DOWNLOADING, **status: Any) -> DownloadHandle:
    """Return the handle of a download at 3.2 of 22.7 MB."""
    handle = DownloadHandle()
    facts = {"name": "clip.mp4", "done_bytes": 3_200_000, "total_bytes": 22_700_000} | status
    for name, value in facts.items():
        setattr(handle.status, name, value)
    handle.status.phase = phase
    return handle


def choose_display(
    progress: Any, handle: DownloadHandle, *, cancel: Callable[[], object]
) -> Display:
    return progress_display.choose_display(progress, download_view(handle, cancel=cancel))


def cell_bar(handle: DownloadHandle, *, cancel: Callable[[], object] = lambda: None) -> CellBar:
    return CellBar(download_view(handle, cancel=cancel))


def handle_of(bar: CellBar) -> DownloadHandle:
    view: Any = bar._view
    found: DownloadHandle = view._handle
    return found


@pytest.fixture
def bar() -> Iterator[CellBar]:
    """Return a bar that is shown."""
    shown = cell_bar(handle_at())
    shown.show()
    yield shown
    shown.finish()


# Choice of the display


@pytest.mark.parametrize("option", [None, True])
def test_in_a_kernel_the_display_is_a_bar_in_the_cell(
    in_kernel: object, terminal: object, option: bool | None
) -> None:
    assert isinstance(choose_display(option, handle_at(), cancel=print), CellBar)


@pytest.mark.parametrize(
    ("info", "has_buttons"),
    [
        ({"supported_features": ["kernel subshells"]}, True),
        ({"supported_features": []}, False),
        ({}, False),
        (None, False),
    ],
)
def test_buttons_exist_only_with_subshells(
    in_kernel: SimpleNamespace, info: Any, has_buttons: bool, registry: dict[str, Any]
) -> None:
    in_kernel.kernel_info = info
    bar = choose_display(None, handle_at(), cancel=print)
    bar.show()
    line = next(each for each in registry.values() if type(each) is ipywidgets.HBox)
    labels = [each.description for each in line.children[1:]]
    assert labels == (["Pause", "Cancel"] if has_buttons else [])
    bar.finish()


@pytest.mark.parametrize("option", [None, True])
def test_on_a_terminal_the_display_is_tqdm(terminal: Terminal, option: bool | None) -> None:
    handle = handle_at(Phase.CONNECTING, done_bytes=0, total_bytes=None)
    display = choose_display(option, handle, cancel=print)
    display.show()
    display.update()
    assert not terminal.getvalue()
    handle.status.phase, handle.status.done_bytes, handle.status.total_bytes = (
        Phase.DOWNLOADING,
        10**6,
        4 * 10**6,
    )
    display.update()
    assert "clip.mp4:  25%" in terminal.getvalue()
    assert "1.00M/4.00M" in terminal.getvalue()
    handle.pause()
    handle.status.done_bytes = 2 * 10**6
    time.sleep(0.12)  # tqdm paints at most ten times a second
    display.update()
    assert "paused" in terminal.getvalue().rpartition("\r")[2]
    handle.resume()
    handle.status.phase, handle.status.done_bytes = Phase.DONE, 4 * 10**6
    display.finish()
    last = terminal.getvalue().rpartition("\r")[2]
    assert "100%" in last
    assert "done" not in last
    assert last.endswith("\n")


def test_on_a_terminal_resumed_bytes_do_not_count_as_speed(terminal: Terminal) -> None:
    handle = handle_at(done_bytes=3 * 10**9, total_bytes=4 * 10**9)
    display: Any = choose_display(None, handle, cancel=print)
    display.update()
    assert display._bar.format_dict["initial"] == 3 * 10**9
    handle.status.done_bytes = 10**6  # the source has changed and is fetched anew
    display.update()
    assert (display._bar.n, display._bar.initial) == (10**6, 10**6)
    handle.status.phase = Phase.FAILED
    display.finish()
    assert "failed" in terminal.getvalue()


def test_on_a_terminal_a_download_without_bytes_prints_nothing(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    handle = handle_at(Phase.FAILED, done_bytes=0)
    display = choose_display(None, handle, cancel=print)
    display.update()
    display.finish()
    assert not terminal.getvalue()
    assert errors(caplog) == []


class BrokenTqdm:
    """A tqdm whose bar fails at its making, or at one of its methods."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __call__(self, **_: object) -> Any:
        if self._method == "call":
            raise TypeError("tqdm() got an unexpected keyword argument")
        bar = MagicMock(n=0, initial=0)
        getattr(bar, self._method).side_effect = ValueError
        return bar


@pytest.mark.parametrize("fault", ["missing", "broken", "call", "set_postfix_str", "update"])
def test_without_tqdm_the_progress_is_a_line_of_text(
    fault: str,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = {"missing": None, "broken": SimpleNamespace()}.get(
        fault, SimpleNamespace(tqdm=BrokenTqdm(fault))
    )
    monkeypatch.setitem(sys.modules, "tqdm", module)
    monkeypatch.setenv("COLUMNS", "60")
    handle = handle_at(Phase.CONNECTING, done_bytes=0, total_bytes=4 * 10**6)
    display = choose_display(None, handle, cancel=print)
    display.show()
    display.update()
    assert terminal.getvalue() == ""
    handle.status.phase, handle.status.done_bytes = Phase.DOWNLOADING, 10**6
    display.update()
    assert terminal.getvalue().startswith("\rclip.mp4: 1.0 MB of 4.0 MB; ")
    handle.status.retries, handle.status.retry_note = 1, "no route; trying again in 2.0 s"
    display.update()
    assert "\rclip.mp4: no route; trying again in 2.0 s\n\rclip.mp4: 1.0 MB" in terminal.getvalue()
    handle.status.name = "a very long name " * 9
    handle.end(Phase.DONE, "4.0 MB in 1.0 s")
    display.finish()
    lines = terminal.getvalue().replace("\n", "\r").split("\r")
    assert lines[-2].startswith("a very long name a very")
    assert lines[-2].endswith("…")
    assert max(map(len, lines)) <= 59
    assert terminal.getvalue().endswith("\n")
    assert errors(caplog) == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_each_retry_is_one_line_with_its_reason_and_delay(
    is_terminal: bool, terminal: Terminal
) -> None:
    """On a terminal, and where progress was asked for; also before the first bytes."""
    terminal.is_terminal = is_terminal
    handle = handle_at(Phase.WAITING, done_bytes=0)
    display = choose_display(progress=True, handle=handle, cancel=print)
    display.show()
    for number in 1, 2:
        handle.status.retries = number
        handle.status.retry_note = f"it was refused; trying again in {number}.0 s"
        for _ in range(3):
            display.update()
    handle.status.phase, handle.status.done_bytes = Phase.DOWNLOADING, 10**6
    display.update()
    handle.status.retries, handle.status.retry_note = 3, "it broke; trying again in 0.5 s"
    display.update()
    handle.status.phase = Phase.DONE
    display.finish()
    lines = [line for line in re.split(r"[\r\n]+", terminal.getvalue()) if "trying" in line]
    assert lines == [
        "clip.mp4: it was refused; trying again in 1.0 s",
        "clip.mp4: it was refused; trying again in 2.0 s",
        "clip.mp4: it broke; trying again in 0.5 s",
    ]
    assert ("%" in terminal.getvalue()) is is_terminal


@pytest.mark.parametrize("case", ["pipe", "none", "closed", "off"])
def test_elsewhere_nothing_is_shown(
    case: str, monkeypatch: pytest.MonkeyPatch, outputs: list[object]
) -> None:
    pipe: Any = None if case == "none" else Terminal() if case == "off" else io.StringIO()
    monkeypatch.setattr(progress_display, "sys", SimpleNamespace(stderr=pipe, modules=sys.modules))
    if case == "closed":
        pipe.close()
    display = choose_display(case != "off", handle_at(Phase.DONE), cancel=print)
    display.show()
    display.update()
    display.finish()
    assert not outputs
    assert case not in {"pipe", "off"} or not pipe.getvalue()


def test_nothing_heavy_is_imported_before_it_is_shown() -> None:
    code = (
        "import sys; from vidnb.widgets.progress.display import *;"
        "from vidnb.widgets.progress.download_view import download_view;"
        "from vidnb.download.status import DownloadHandle;"
        "view = download_view(DownloadHandle(), cancel=print);"
        "choose_display(None, view).show(); CellBar(view);"
        "print({'ipywidgets', 'IPython', 'tqdm'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


# A callback


def test_a_function_is_called_on_each_update_and_once_at_the_end() -> None:
    calls: list[Progress] = []
    handle = handle_at(done_bytes=0)
    display = choose_display(calls.append, handle, cancel=print)
    display.show()
    assert calls == []
    for done_bytes in (10, 20):
        handle.status.done_bytes = done_bytes
        display.update()
    handle.status.done_bytes = 30
    display.finish()
    display.finish()
    display.update()
    assert [each.done_bytes for each in calls] == [10, 20, 30]
    assert {each.total_bytes for each in calls} == {22_700_000}


def test_a_function_that_raises_is_logged_once_and_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[Progress] = []

    def function(display: Progress) -> None:
        calls.append(display)
        raise ZeroDivisionError

    display = choose_display(function, handle_at(), cancel=print)
    display.update()
    display.update()
    display.finish()
    assert len(calls) == 1
    assert errors(caplog) == [
        "The progress of clip.mp4 can no longer be shown; the download itself continues."
    ]


def test_an_interrupt_passes_through() -> None:
    def function(display: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose_display(function, handle_at(), cancel=print).update()


# The bar in a cell


def test_the_bar_is_a_widget_and_becomes_html_at_the_end(
    bar: CellBar, outputs: list[dict[str, Any]], registry: dict[str, Any]
) -> None:
    [first] = outputs
    model_id = first["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert type(registry[model_id]) is ipywidgets.VBox
    assert not first["update"]
    for kind in ("text/html", "text/plain"):
        assert "still running when the notebook was saved" in visible_text(first[kind])
    handle_of(bar).end(Phase.CANCELLED, KEPT)
    bar.finish()
    bar.finish()
    bar.update()
    [_, last] = outputs
    assert last == {
        "text/html": final_html(handle_of(bar)),
        "text/plain": f"clip.mp4 cancelled: {KEPT}",
        "id": first["id"],
        "update": True,
    }
    assert model_id not in registry


def test_a_bar_that_was_never_shown_leaves_nothing(outputs: list[object]) -> None:
    bar = cell_bar(handle_at(Phase.DONE), cancel=print)
    bar.finish()
    assert outputs == []


def test_two_bars_have_two_outputs(outputs: list[dict[str, Any]]) -> None:
    bars = [cell_bar(handle_at(Phase.DONE), cancel=print) for _ in range(2)]
    for bar in bars:
        bar.show()
    for bar in bars:
        bar.finish()
    assert outputs[0]["id"] == outputs[2]["id"] != outputs[1]["id"] == outputs[3]["id"]


def test_only_what_changed_is_sent(bar: CellBar, messages: list[dict[str, Any]]) -> None:
    status = handle_of(bar).status
    status.phase, status.note = (
        Phase.WAITING,
        "the connection was lost",
    )  # without a throughput that changes
    bar.update()
    messages.clear()
    bar.update()
    assert messages == []
    status.note = "the name was not found"
    bar.update()
    assert [list(each["state"]) for each in messages] == [["value"]]
    messages.clear()
    status.done_bytes = 4_000_000
    bar.update()
    assert [list(each["state"]) for each in messages] == [["value"], ["value"]]


def test_the_stripes_of_an_unknown_length_move_with_the_bytes_only(bar: CellBar) -> None:
    status = handle_of(bar).status
    status.phase, status.total_bytes, status.note = Phase.WAITING, None, "lost"
    pictures = []
    for done_bytes in (1, 1, 2, 3, 4, 5):
        status.done_bytes = done_bytes
        bar.update()
        pictures.append(bar._top.value)
    assert pictures[0] == pictures[1]
    assert len(set(pictures)) == 4
    assert pictures[-1] == pictures[1]


def test_pause_and_resume(bar: CellBar) -> None:
    seen = []
    for _ in range(2):
        button = bar._pause_button
        button.click()
        is_shown = "paused" in visible_text(bar._foot.value)
        seen.append((handle_of(bar).status.is_paused, is_shown, button.description, button.tooltip))
    assert seen == [
        (True, True, "Resume", "Continue"),
        (False, False, "Pause", "Stop reading until you resume"),
    ]


def test_validation_cannot_be_paused(bar: CellBar) -> None:
    assert not bar._pause_button.disabled
    handle_of(bar).status.phase = Phase.CHECKING
    bar.update()
    assert bar._pause_button.disabled
    assert not bar._cancel_button.disabled


def test_cancel_is_requested_once_and_shown(outputs: list[object]) -> None:
    cancels: list[int] = []
    bar = cell_bar(handle_at(), cancel=lambda: cancels.append(1))
    bar.show()
    pause, cancel = bar._pause_button, bar._cancel_button
    assert not cancel.disabled
    cancel.click()
    cancel.click()
    assert cancels == [1]
    assert visible_text(bar._foot.value) == "cancelling"
    assert cancel.disabled
    assert pause.disabled
    bar.finish()
    cancel.click()
    pause.click()
    assert cancels == [1]
    assert not handle_of(bar).status.is_paused
    assert len(outputs) == 2


def test_a_click_after_the_end_does_nothing() -> None:
    cancels: list[int] = []
    bar = cell_bar(handle_at(), cancel=lambda: cancels.append(1))
    bar.show()
    pause, cancel = bar._pause_button, bar._cancel_button
    bar.finish()
    assert pause.disabled
    assert cancel.disabled
    cancel.click()
    pause.click()
    assert cancels == []
    assert not handle_of(bar).status.is_paused


def test_an_update_does_not_bind_the_buttons_to_the_shell_of_the_cell(bar: CellBar) -> None:
    """That shell handles no click before the cell ends."""
    for _ in range(2):
        for button in (bar._pause_button, bar._cancel_button):
            assert not hasattr(button.comm, "_reply_subshell_id")
        bar._pause_button.click()


@pytest.mark.skipif(IPYKERNEL.version_info < (7, 4), reason="it stores no reply subshell")
def test_the_private_name_of_ipykernel_has_the_meaning_that_the_bar_relies_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fails when ipykernel renames `_reply_subshell_id` or routes messages in another way."""
    cell = {"header": {"subshell_id": None}}  # the main shell
    kernel = SimpleNamespace(session=Mock(), iopub_socket=None, get_parent=lambda: cell)
    monkeypatch.setattr("ipykernel.comm.comm.Kernel.initialized", lambda: True)
    comm = import_module("ipykernel.comm.comm").BaseComm(primary=False)
    comm.kernel = kernel
    comm.publish_msg("comm_msg")
    assert comm._reply_subshell_for({}, "of the front end") is None
    progress_display._forget_reply_subshell(comm)
    assert comm._reply_subshell_for({}, "of the front end") == "of the front end"


def test_traits_are_set_from_any_thread_but_only_under_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bar = cell_bar(handle_at())
    is_locked: list[bool] = []

    def on_another_thread(step: Callable[[], object]) -> None:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()

    def try_lock() -> None:
        is_locked.append(not bar._lock.acquire(blocking=False))
        if not is_locked[-1]:
            bar._lock.release()

    monkeypatch.setattr(FakeComm, "send", lambda *_, **__: on_another_thread(try_lock))
    bar.show()
    handle_of(bar).status.done_bytes += 1_000_000
    on_another_thread(bar.update)
    on_another_thread(bar._pause_button.click)
    on_another_thread(bar._cancel_button.click)
    on_another_thread(bar.finish)
    assert len(is_locked) > 10
    assert all(is_locked)


def test_a_bar_whose_widgets_were_closed_finishes_without_error(
    bar: CellBar, outputs: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    ipywidgets.Widget.close_all()
    bar.update()
    bar.finish()
    assert errors(caplog) == []
    assert outputs[-1]["update"]


def test_a_display_that_finishes_early_shows_the_current_state(
    outputs: list[dict[str, Any]],
) -> None:
    """Another cell may wait for the same download, which then continues."""
    bar = cell_bar(handle_at(), cancel=print)
    bar.show()
    bar.finish()
    assert visible_text(outputs[-1]["text/html"]) == (
        "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading · no longer followed here"
    )


def test_a_lost_front_end_is_logged_once_and_the_final_state_is_published(
    bar: CellBar,
    outputs: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    registry: dict[str, Any],
) -> None:
    FakeComm.is_dead = True
    for done_bytes in (4_000_000, 5_000_000):
        handle_of(bar).status.done_bytes = done_bytes
        bar.update()
    handle_of(bar).end(Phase.DONE, "")
    bar.finish()
    assert len(errors(caplog)) == 1
    assert outputs[-1]["update"]


def test_a_front_end_that_cannot_display_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def publish(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(IPython.display, "publish_display_data", publish)
    bar = cell_bar(handle_at(name=""), cancel=print)
    bar.show()
    bar.update()
    bar.finish()
    assert errors(caplog) == [
        "The progress of download can no longer be shown; the download itself continues."
    ]


def test_update_click_and_finish_on_three_threads(
    outputs: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    bar = cell_bar(handle_at())
    bar.show()
    pause = bar._pause_button
    barrier = threading.Barrier(3)

    def often(step: Any) -> None:
        barrier.wait(DEADLINE_S)
        for _ in range(50):
            step()

    threads = [threading.Thread(target=often, args=[step]) for step in (bar.update, pause.click)]
    for thread in threads:
        thread.start()
    barrier.wait(DEADLINE_S)
    bar.finish()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert errors(caplog) == []
    assert len(outputs) == 2


# Text and HTML

NOTE = "https://example.org/a could not be downloaded: 404; nothing was kept."


@pytest.mark.parametrize(
    ("handle", "text", "page"),
    [
        pytest.param(
            handle_at(Phase.DONE, done_bytes=22_700_000, note="22.7 MB in 5.2 s; 1 retry"),
            "clip.mp4 done: 22.7 MB in 5.2 s; 1 retry",
            "clip.mp4 done 22.7 MB in 5.2 s; 1 retry",
            id="done",
        ),
        pytest.param(
            handle_at(Phase.DONE, done_bytes=22_700_000, note="already here"),
            "clip.mp4 done: 22.7 MB; already here",
            "clip.mp4 done 22.7 MB · already here",
            id="reused",
        ),
        pytest.param(
            handle_at(Phase.DONE), "clip.mp4 done: 3.2 MB", "clip.mp4 done 3.2 MB", id="no note"
        ),
        pytest.param(
            handle_at(Phase.FAILED, note=NOTE),
            f"clip.mp4 failed: {NOTE}",
            f"clip.mp4 failed {NOTE}",
            id="failed",
        ),
        pytest.param(
            handle_at(Phase.CANCELLED, note=KEPT, is_paused=True),
            f"clip.mp4 cancelled: {KEPT}",
            f"clip.mp4 cancelled {KEPT}",
            id="cancelled",
        ),
        pytest.param(
            handle_at(),
            "clip.mp4: 3.2 MB of 22.7 MB; downloading",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading",
            id="running",
        ),
        pytest.param(
            handle_at(total_bytes=None),
            "clip.mp4: 3.2 MB; downloading",
            "clip.mp4 3.2 MB · downloading",
            id="unknown length",
        ),
        pytest.param(
            handle_at(Phase.CONNECTING, name="", done_bytes=0, total_bytes=None),
            "download: connecting",
            "download connecting",
            id="connecting",
        ),
        pytest.param(
            handle_at(Phase.WAITING, note="lost; trying again in 0.5 s"),
            "clip.mp4: 3.2 MB of 22.7 MB; lost; trying again in 0.5 s",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · lost; trying again in 0.5 s",
            id="waiting",
        ),
        pytest.param(
            handle_at(Phase.WAITING, note="lost", is_paused=True),
            "clip.mp4: 3.2 MB of 22.7 MB; paused",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · paused",
            id="paused",
        ),
        pytest.param(
            handle_at(Phase.PAUSED),
            "clip.mp4: 3.2 MB of 22.7 MB; downloading",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading",
            id="resumed a moment ago",
        ),
        pytest.param(
            handle_at(Phase.CHECKING, done_bytes=22_700_000, is_paused=True),
            "clip.mp4: 22.7 MB of 22.7 MB; checking",
            "clip.mp4 100 % 22.7 MB of 22.7 MB · checking",
            id="checking",
        ),
    ],
)  # fmt: skip
def test_each_state_has_its_text(handle: DownloadHandle, text: str, page: str) -> None:
    assert final_text(handle) == text
    assert visible_text(final_html(handle)) == page


@pytest.mark.parametrize(
    ("seconds", "line"),
    [(2.0, "3.2 MB of 22.7 MB · 1.6 MB/s · 0:12 left"), (10**9, "3.2 MB of 22.7 MB · 0 B/s")],
)
def test_a_live_line_has_throughput_and_time_left(
    seconds: float, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = handle_at(meter=SimpleNamespace(update=None))
    eta_s = 12.2 if seconds == 2.0 else None
    reading = Progress(3_200_000, 22_700_000, 3_200_000 / seconds, eta_s)
    handle.status.meter = SimpleNamespace(update=lambda *_: reading)  # type: ignore[assignment] # a clock
    bar = cell_bar(handle, cancel=print)
    bar.show()
    assert visible_text(bar._foot.value) == line
    bar.finish()


def attribute(markup: str, name: str) -> str | None:
    found = re.search(rf'{name}="([^"]*)"', markup)
    return found and found[1]


@pytest.mark.parametrize(
    ("handle", "value", "width"),
    [
        (handle_at(), "14", "14.1%"),
        (handle_at(done_bytes=22_699_999), "99", "100.0%"),
        (handle_at(done_bytes=0), "0", "0.0%"),
        (handle_at(total_bytes=None), None, "100%"),
        (handle_at(done_bytes=0, total_bytes=None), None, "0.0%"),
        (handle_at(Phase.DONE, total_bytes=None), "100", "100.0%"),
        (handle_at(Phase.DONE, done_bytes=0, total_bytes=0), "100", "100.0%"),
        (handle_at(Phase.CANCELLED), "14", "14.1%"),
    ],
)
def test_the_bar_has_equal_width_and_aria_value(
    handle: DownloadHandle, value: str | None, width: str
) -> None:
    markup = final_html(handle)
    assert attribute(markup, "role") == "status"
    assert (
        'role="progressbar" aria-label="clip.mp4" aria-valuemin="0" aria-valuemax="100"' in markup
    )
    assert attribute(markup, "aria-valuenow") == value
    assert f"; width: {width}; " in markup
    assert ("repeating-linear-gradient" in markup) == (width == "100%")


@pytest.mark.parametrize(
    ("phase", "colour"),
    [
        (Phase.CONNECTING, "brand"),
        (Phase.DOWNLOADING, "brand"),
        (Phase.CHECKING, "brand"),
        (Phase.WAITING, "warn"),
        (Phase.DONE, "success"),
        (Phase.FAILED, "error"),
        (Phase.CANCELLED, "warn"),
    ],
)
def test_colours_follow_the_theme(phase: Phase, colour: str) -> None:
    markup = final_html(handle_at(phase))
    assert re.search(rf"%; background-color: var\(--jp-{colour}-color1, rgb\(", markup)
    assert not re.search(r"<style|class=|<script", markup)


def test_a_paused_bar_has_the_colour_of_waiting() -> None:
    assert "warn" in final_html(handle_at(is_paused=True))


def test_text_from_outside_is_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">\'&'
    handle = handle_at(Phase.FAILED, name=evil, note=evil + "x" * 40)
    for markup in (final_html(handle), card_html(handle, [evil])):
        assert "<img" not in markup
        assert 'onerror="' not in markup
        assert html.escape(evil) in markup


def test_a_line_breaks_between_its_parts() -> None:
    markup = line_html(["1.0 MB", "a" * 33])
    assert markup.count("white-space: nowrap") == 1
    assert '<span style="white-space: nowrap">1.0 MB ·</span> aaa' in markup


def test_a_new_handle_shows_a_connecting_download() -> None:
    handle = DownloadHandle()
    assert handle.status == DownloadStatus(meter=handle.status.meter)
    assert final_text(handle) == "download: connecting"
