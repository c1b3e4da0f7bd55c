"""The displays without a browser: a fake comm stands for the page, a recorder for its outputs."""

import html
import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import IPython.display
import ipywidgets
import pytest
from ipywidgets.widgets import widget as widget_module

from tests.deadline import DEADLINE_S
from vidnb.download.planner.progress import Progress
from vidnb.download.status import DownloadHandle, DownloadStatus, Phase
from vidnb.widgets.progress import display as progress_display
from vidnb.widgets.progress.display import CellBar, choose
from vidnb.widgets.progress.rendering import card_html, final_html, final_text, line_html

KEPT = "stopped; 3.2 MB are kept in films/.vidnb; run the same download again to go on"


def watching(phase: Phase = Phase.DOWNLOADING, **status: Any) -> DownloadHandle:
    """Return a watch of a download that stands at 3.2 of 22.7 MB."""
    handle = DownloadHandle()
    facts = {"name": "clip.mp4", "done_bytes": 3_200_000, "total_bytes": 22_700_000} | status
    for name, value in facts.items():
        setattr(handle.status, name, value)
    handle.status.phase = phase
    return handle


def words(markup: str) -> str:
    """Return what a person reads of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


class FakeComm:
    """The wire to the page: records what is sent, and breaks where it is told to."""

    sent: list[dict[str, Any]]
    is_dead = False
    is_closed = False

    def __init__(self, *, comm_id: str = "", **_options: object) -> None:
        self.comm_id = comm_id or f"comm-{id(self)}"
        # What ipykernel 7.4 notes when the cell writes to a widget.
        self._reply_subshell_id = None

    def on_msg(self, callback: object) -> None: ...

    def send(self, data: dict[str, Any], buffers: object = None) -> None:
        self._reply_subshell_id = None
        if FakeComm.is_dead:
            raise RuntimeError("the page is gone")
        FakeComm.sent.append(data)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.send({})


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What goes to the page's widgets."""
    monkeypatch.setattr(FakeComm, "sent", [], raising=False)
    monkeypatch.setattr(FakeComm, "is_dead", False)
    monkeypatch.setattr(widget_module.comm, "create_comm", FakeComm)
    return FakeComm.sent


@pytest.fixture(autouse=True)
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is displayed or updated: the bundle with its display id."""
    shown: list[dict[str, Any]] = []

    def publish(data: dict[str, Any], *, transient: dict[str, str], update: bool) -> None:
        shown.append({**data, "id": transient["display_id"], "update": update})

    monkeypatch.setattr(IPython.display, "publish_display_data", publish)
    return shown


@pytest.fixture(autouse=True)
def registry() -> Iterator[dict[str, Any]]:
    """ipywidgets' register of living widgets; every test leaves it as it was."""
    living: dict[str, Any] = widget_module._instances
    before = set(living)
    yield living
    assert set(living) <= before  # other tests' widgets may go meanwhile


@pytest.fixture
def bar() -> Iterator[CellBar]:
    """A bar that is shown."""
    shown = CellBar(watching(), cancel=lambda: None)
    shown.show()
    yield shown
    shown.finish()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "vidnb.progress"]


# What is chosen


@pytest.fixture
def in_kernel(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    kernel = SimpleNamespace(kernel_info={"supported_features": ["kernel subshells"]})
    shell = SimpleNamespace(kernel=kernel)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return kernel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    # pytest puts its own sys.stderr in place after the fixtures.
    monkeypatch.setattr(
        progress_display, "sys", SimpleNamespace(stderr=screen, modules=sys.modules)
    )
    return screen


@pytest.mark.parametrize("wish", [None, True])
def test_in_a_kernel_it_is_a_bar_in_the_cell(
    in_kernel: object, terminal: object, wish: bool | None
) -> None:
    assert isinstance(choose(wish, watching(), cancel=print), CellBar)


@pytest.mark.parametrize(
    ("info", "has_buttons"),
    [
        ({"supported_features": ["kernel subshells"]}, True),
        ({"supported_features": []}, False),
        ({}, False),
        (None, False),
    ],
)
def test_buttons_stand_only_where_clicks_are_heard_in_time(
    in_kernel: SimpleNamespace, info: Any, has_buttons: bool, registry: dict[str, Any]
) -> None:
    in_kernel.kernel_info = info
    bar = choose(None, watching(), cancel=print)
    bar.show()
    line = next(each for each in registry.values() if type(each) is ipywidgets.HBox)
    labels = [each.description for each in line.children[1:]]
    assert labels == (["Pause", "Cancel"] if has_buttons else [])
    bar.finish()


@pytest.mark.parametrize("wish", [None, True])
def test_on_a_terminal_it_is_tqdm(terminal: Terminal, wish: bool | None) -> None:
    handle = watching(Phase.CONNECTING, done_bytes=0, total_bytes=None)
    display = choose(wish, handle, cancel=print)
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


def test_on_a_terminal_earlier_bytes_are_no_speed(terminal: Terminal) -> None:
    handle = watching(done_bytes=3 * 10**9, total_bytes=4 * 10**9)
    display: Any = choose(None, handle, cancel=print)
    display.update()
    assert display._bar.format_dict["initial"] == 3 * 10**9
    handle.status.done_bytes = 10**6  # the source has changed: it begins anew
    display.update()
    assert (display._bar.n, display._bar.initial) == (10**6, 10**6)
    handle.status.phase = Phase.FAILED
    display.finish()
    assert "failed" in terminal.getvalue()


def test_on_a_terminal_what_never_began_leaves_no_line(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    handle = watching(Phase.FAILED, done_bytes=0)
    display = choose(None, handle, cancel=print)
    display.update()
    display.finish()
    assert not terminal.getvalue()
    assert errors(caplog) == []


def test_a_terminal_without_tqdm_is_told_once(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    progress_display._tell_of_tqdm.cache_clear()
    for _ in range(2):
        display = choose(None, watching(), cancel=print)
        display.show()
        display.update()
        display.finish()
    assert terminal.getvalue() == (
        "For a progress bar on the terminal: pip install 'vidnb[terminal]'\n"
    )


@pytest.mark.parametrize("case", ["pipe", "none", "closed", "off"])
def test_elsewhere_nothing_is_shown(
    case: str, monkeypatch: pytest.MonkeyPatch, outputs: list[object]
) -> None:
    pipe: Any = None if case == "none" else Terminal() if case == "off" else io.StringIO()
    monkeypatch.setattr(progress_display, "sys", SimpleNamespace(stderr=pipe, modules=sys.modules))
    if case == "closed":
        pipe.close()
    display = choose(case != "off", watching(Phase.DONE), cancel=print)
    display.show()
    display.update()
    display.finish()
    assert not outputs
    assert case not in {"pipe", "off"} or not pipe.getvalue()


def test_nothing_heavy_is_imported_before_it_is_shown() -> None:
    code = (
        "import sys; from vidnb.widgets.progress.display import *; from vidnb.download.status import DownloadHandle;"
        "choose(None, DownloadHandle(), cancel=print).show(); CellBar(DownloadHandle(), cancel=print);"
        "print({'ipywidgets', 'IPython', 'tqdm'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


# A function of the caller's


def test_a_function_is_called_on_each_update_and_once_at_the_end() -> None:
    heard: list[Progress] = []
    handle = watching(done_bytes=0)
    display = choose(heard.append, handle, cancel=print)
    display.show()
    assert heard == []
    for done_bytes in (10, 20):
        handle.status.done_bytes = done_bytes
        display.update()
    handle.status.done_bytes = 30
    display.finish()
    display.finish()
    display.update()
    assert [each.done_bytes for each in heard] == [10, 20, 30]
    assert {each.total_bytes for each in heard} == {22_700_000}


def test_a_function_that_raises_is_told_of_once_and_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[Progress] = []

    def function(display: Progress) -> None:
        calls.append(display)
        raise ZeroDivisionError

    display = choose(function, watching(), cancel=print)
    display.update()
    display.update()
    display.finish()
    assert len(calls) == 1
    assert errors(caplog) == [
        "The progress of clip.mp4 can no longer be shown; the download itself goes on."
    ]


def test_an_interrupt_passes_through() -> None:
    def function(display: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(function, watching(), cancel=print).update()


# The bar in a cell


def test_the_bar_lives_as_a_widget_and_stays_as_html(
    bar: CellBar, outputs: list[dict[str, Any]], registry: dict[str, Any]
) -> None:
    [first] = outputs
    model_id = first["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert type(registry[model_id]) is ipywidgets.VBox
    assert not first["update"]
    for kind in ("text/html", "text/plain"):
        assert "still running when the notebook was saved" in words(first[kind])
    bar._handle.end(Phase.CANCELLED, KEPT)
    bar.finish()
    bar.finish()
    bar.update()
    [_, last] = outputs
    assert last == {
        "text/html": final_html(bar._handle),
        "text/plain": f"clip.mp4 cancelled: {KEPT}",
        "id": first["id"],
        "update": True,
    }
    assert model_id not in registry


def test_a_bar_that_was_never_shown_leaves_nothing(outputs: list[object]) -> None:
    bar = CellBar(watching(Phase.DONE), cancel=print)
    bar.finish()
    assert outputs == []


def test_two_bars_have_two_outputs(outputs: list[dict[str, Any]]) -> None:
    bars = [CellBar(watching(Phase.DONE), cancel=print) for _ in range(2)]
    for bar in bars:
        bar.show()
    for bar in bars:
        bar.finish()
    assert outputs[0]["id"] == outputs[2]["id"] != outputs[1]["id"] == outputs[3]["id"]


def test_only_what_changed_is_sent(bar: CellBar, wire: list[dict[str, Any]]) -> None:
    status = bar._handle.status
    status.phase, status.note = Phase.WAITING, "the connection was lost"  # no rate that changes
    bar.update()
    wire.clear()
    bar.update()
    assert wire == []
    status.note = "the name was not found"
    bar.update()
    assert [list(each["state"]) for each in wire] == [["value"]]
    wire.clear()
    status.done_bytes = 4_000_000
    bar.update()
    assert [list(each["state"]) for each in wire] == [["value"], ["value"]]


def test_the_stripes_of_an_unknown_length_move_with_the_bytes_only(bar: CellBar) -> None:
    status = bar._handle.status
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
        is_shown = "paused" in words(bar._foot.value)
        seen.append((bar._handle.status.is_paused, is_shown, button.description, button.tooltip))
    assert seen == [
        (True, True, "Resume", "Go on"),
        (False, False, "Pause", "Stop reading until you resume"),
    ]


def test_a_file_that_is_checked_cannot_be_paused(bar: CellBar) -> None:
    assert not bar._pause_button.disabled
    bar._handle.status.phase = Phase.CHECKING
    bar.update()
    assert bar._pause_button.disabled
    assert not bar._cancel_button.disabled


def test_cancel_is_asked_for_once_and_says_so(outputs: list[object]) -> None:
    asked: list[int] = []
    bar = CellBar(watching(), cancel=lambda: asked.append(1))
    bar.show()
    pause, cancel = bar._pause_button, bar._cancel_button
    assert not cancel.disabled
    cancel.click()
    cancel.click()
    assert asked == [1]
    assert words(bar._foot.value) == "cancelling"
    assert cancel.disabled
    assert pause.disabled
    bar.finish()
    cancel.click()
    pause.click()
    assert asked == [1]
    assert not bar._handle.status.is_paused
    assert len(outputs) == 2


def test_a_click_after_the_end_does_nothing() -> None:
    asked: list[int] = []
    bar = CellBar(watching(), cancel=lambda: asked.append(1))
    bar.show()
    pause, cancel = bar._pause_button, bar._cancel_button
    bar.finish()
    assert pause.disabled
    assert cancel.disabled
    cancel.click()
    pause.click()
    assert asked == []
    assert not bar._handle.status.is_paused


def test_clicks_are_heard_beside_the_cell_that_writes_to_the_bar(bar: CellBar) -> None:
    """ipykernel 7.4 must not send them to the shell of the cell, which is busy."""
    for _ in range(2):
        for button in (bar._pause_button, bar._cancel_button):
            assert not hasattr(button.comm, "_reply_subshell_id")
        bar._pause_button.click()


def test_a_bar_whose_widgets_somebody_closed_ends_in_peace(
    bar: CellBar, outputs: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    ipywidgets.Widget.close_all()
    bar.update()
    bar.finish()
    assert errors(caplog) == []
    assert outputs[-1]["update"]


def test_what_the_cell_had_to_leave_is_told_as_it_was(outputs: list[dict[str, Any]]) -> None:
    """Another cell may wait for the same download, which then goes on without this one."""
    bar = CellBar(watching(), cancel=print)
    bar.show()
    bar.finish()
    assert words(outputs[-1]["text/html"]) == (
        "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading · no longer followed here"
    )


def test_a_page_that_went_away_is_told_of_once_and_the_end_still_lands(
    bar: CellBar,
    outputs: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    registry: dict[str, Any],
) -> None:
    FakeComm.is_dead = True
    for done_bytes in (4_000_000, 5_000_000):
        bar._handle.status.done_bytes = done_bytes
        bar.update()
    bar._handle.end(Phase.DONE, "")
    bar.finish()
    assert len(errors(caplog)) == 1
    assert outputs[-1]["update"]


def test_a_front_end_that_cannot_display_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def publish(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(IPython.display, "publish_display_data", publish)
    bar = CellBar(watching(name=""), cancel=print)
    bar.show()
    bar.update()
    bar.finish()
    assert errors(caplog) == [
        "The progress of download can no longer be shown; the download itself goes on."
    ]


def test_three_threads_at_once(outputs: list[object], caplog: pytest.LogCaptureFixture) -> None:
    bar = CellBar(watching(), cancel=lambda: None)
    bar.show()
    pause = bar._pause_button
    begun = threading.Barrier(3)

    def often(step: Any) -> None:
        begun.wait(DEADLINE_S)
        for _ in range(50):
            step()

    threads = [threading.Thread(target=often, args=[step]) for step in (bar.update, pause.click)]
    for thread in threads:
        thread.start()
    begun.wait(DEADLINE_S)
    bar.finish()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert errors(caplog) == []
    assert len(outputs) == 2


# What is read

NOTE = "https://example.org/a could not be downloaded: 404; nothing was kept."


@pytest.mark.parametrize(
    ("handle", "text", "page"),
    [
        pytest.param(
            watching(Phase.DONE, done_bytes=22_700_000, note="22.7 MB in 5.2 s; 1 retry"),
            "clip.mp4 done: 22.7 MB in 5.2 s; 1 retry",
            "clip.mp4 done 22.7 MB in 5.2 s; 1 retry",
            id="done",
        ),
        pytest.param(
            watching(Phase.DONE, done_bytes=22_700_000, note="already here"),
            "clip.mp4 done: 22.7 MB; already here",
            "clip.mp4 done 22.7 MB · already here",
            id="reused",
        ),
        pytest.param(
            watching(Phase.DONE), "clip.mp4 done: 3.2 MB", "clip.mp4 done 3.2 MB", id="no note"
        ),
        pytest.param(
            watching(Phase.FAILED, note=NOTE),
            f"clip.mp4 failed: {NOTE}",
            f"clip.mp4 failed {NOTE}",
            id="failed",
        ),
        pytest.param(
            watching(Phase.CANCELLED, note=KEPT, is_paused=True),
            f"clip.mp4 cancelled: {KEPT}",
            f"clip.mp4 cancelled {KEPT}",
            id="cancelled",
        ),
        pytest.param(
            watching(),
            "clip.mp4: 3.2 MB of 22.7 MB; downloading",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading",
            id="running",
        ),
        pytest.param(
            watching(total_bytes=None),
            "clip.mp4: 3.2 MB; downloading",
            "clip.mp4 3.2 MB · downloading",
            id="unknown length",
        ),
        pytest.param(
            watching(Phase.CONNECTING, name="", done_bytes=0, total_bytes=None),
            "download: connecting",
            "download connecting",
            id="connecting",
        ),
        pytest.param(
            watching(Phase.WAITING, note="lost; trying again in 0.5 s"),
            "clip.mp4: 3.2 MB of 22.7 MB; lost; trying again in 0.5 s",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · lost; trying again in 0.5 s",
            id="waiting",
        ),
        pytest.param(
            watching(Phase.WAITING, note="lost", is_paused=True),
            "clip.mp4: 3.2 MB of 22.7 MB; paused",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · paused",
            id="paused",
        ),
        pytest.param(
            watching(Phase.PAUSED),
            "clip.mp4: 3.2 MB of 22.7 MB; downloading",
            "clip.mp4 14 % 3.2 MB of 22.7 MB · downloading",
            id="resumed a moment ago",
        ),
        pytest.param(
            watching(Phase.CHECKING, done_bytes=22_700_000, is_paused=True),
            "clip.mp4: 22.7 MB of 22.7 MB; checking",
            "clip.mp4 100 % 22.7 MB of 22.7 MB · checking",
            id="checking",
        ),
    ],
)  # fmt: skip
def test_a_state_in_words(handle: DownloadHandle, text: str, page: str) -> None:
    assert final_text(handle) == text
    assert words(final_html(handle)) == page


@pytest.mark.parametrize(
    ("seconds", "line"),
    [(2.0, "3.2 MB of 22.7 MB · 1.6 MB/s · 0:12 left"), (10**9, "3.2 MB of 22.7 MB · 0 B/s")],
)
def test_a_live_line_has_speed_and_time(
    seconds: float, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = watching(meter=SimpleNamespace(at=None))
    eta_s = 12.2 if seconds == 2.0 else None
    reading = Progress(3_200_000, 22_700_000, 3_200_000 / seconds, eta_s)
    handle.status.meter = SimpleNamespace(at=lambda *_: reading)  # type: ignore[assignment] # a clock
    bar = CellBar(handle, cancel=print)
    bar.show()
    assert words(bar._foot.value) == line
    bar.finish()


def attribute(markup: str, name: str) -> str | None:
    found = re.search(rf'{name}="([^"]*)"', markup)
    return found and found[1]


@pytest.mark.parametrize(
    ("handle", "value", "width"),
    [
        (watching(), "14", "14.1%"),
        (watching(done_bytes=22_699_999), "99", "100.0%"),
        (watching(done_bytes=0), "0", "0.0%"),
        (watching(total_bytes=None), None, "100%"),
        (watching(done_bytes=0, total_bytes=None), None, "0.0%"),
        (watching(Phase.DONE, total_bytes=None), "100", "100.0%"),
        (watching(Phase.DONE, done_bytes=0, total_bytes=0), "100", "100.0%"),
        (watching(Phase.CANCELLED), "14", "14.1%"),
    ],
)
def test_the_bar_shows_and_says_the_same(
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
    markup = final_html(watching(phase))
    assert re.search(rf"%; background-color: var\(--jp-{colour}-color1, rgb\(", markup)
    assert not re.search(r"<style|class=|<script", markup)


def test_a_paused_bar_has_the_colour_of_waiting() -> None:
    assert "warn" in final_html(watching(is_paused=True))


def test_no_foreign_word_becomes_markup() -> None:
    evil = '<img src=x onerror="alert(1)">\'&'
    handle = watching(Phase.FAILED, name=evil, note=evil + "x" * 40)
    for markup in (final_html(handle), card_html(handle, [evil])):
        assert "<img" not in markup
        assert 'onerror="' not in markup
        assert html.escape(evil) in markup


def test_a_line_breaks_between_its_pieces_and_sentences_anywhere() -> None:
    markup = line_html(["1.0 MB", "a" * 33])
    assert markup.count("white-space: nowrap") == 1
    assert '<span style="white-space: nowrap">1.0 MB ·</span> aaa' in markup


def test_a_fresh_view_is_a_fresh_download() -> None:
    handle = DownloadHandle()
    assert handle.status == DownloadStatus(meter=handle.status.meter)
    assert final_text(handle) == "download: connecting"
