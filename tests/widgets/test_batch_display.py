"""The display of a batch of downloads: its text, its HTML, the widget and the terminal's line."""

import html
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest

from tests.deadline import DEADLINE_S
from tests.widgets.front_end import FakeComm, Terminal, errors, visible_text
from vidnb.download.planner.batch_progress import BatchProgress
from vidnb.widgets.progress.batch_display import batch_view
from vidnb.widgets.progress.batch_rendering import (
    batch_html,
    counts,
    details_html,
    failure_lines,
    final_text,
    head_html,
    short_facts,
    waiting_lines,
)
from vidnb.widgets.progress.display import CellBar, choose_display

pytestmark = pytest.mark.usefixtures("messages", "outputs", "registry")

GONE = "URL answered 404 Not Found; nothing was kept; check the address."
WRONG = "URL has the sha256 digest …, not the expected …; nothing was saved or kept."
RUNNING = BatchProgress(
    50,
    done=26,
    failed=2,
    skipped=5,
    size_bytes=3_200_000,
    bytes_per_s=1_100_000.0,
    slowed_hosts=(("a.org", 12.0), ("b.org", 0.0)),
    slowest=(("clips/1.mp4", 8.0), ("2.mp4", 4.0), ("3.mp4", 1.0)),
    failures=((GONE, 2),),
    elapsed_s=14.0,
)
DONE = replace(
    RUNNING, done=43, slowed_hosts=(), slowest=(), state="done", elapsed_s=42.0, bytes_per_s=0.0
)


class FakeBatch:
    """Records what the buttons of a display call."""

    def __init__(self, progress: BatchProgress = RUNNING) -> None:
        self.progress = progress
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")
        self.progress = replace(self.progress, state="paused")

    def resume(self) -> None:
        self.calls.append("resume")
        self.progress = replace(self.progress, state="running")

    def cancel(self) -> None:
        self.calls.append("cancel")


def cell_bar(batch: FakeBatch) -> CellBar:
    return CellBar(batch_view(batch, Path("/data/videos")))


# Text


@pytest.mark.parametrize(
    ("progress", "live", "plain"),
    [
        pytest.param(
            RUNNING,
            "26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB; 1.1 MB/s; 0:08 left",
            "26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB",
            id="running",
        ),
        pytest.param(
            BatchProgress(None, done=1_234_567, size_bytes=10**12, elapsed_s=900.0),
            "1,234,567 done; 1.0 TB; 0 B/s",
            "1,234,567 done; 1.0 TB",
            id="unknown number of rows",
        ),
        pytest.param(
            BatchProgress(9, done=4, failed=4, elapsed_s=10.0),
            "4 done; 4 failed; 1 row left; 0 B; 0 B/s; 0:01 left",
            "4 done; 4 failed; 1 row left; 0 B",
            id="one row left",
        ),
        pytest.param(
            BatchProgress(900, done=2, failed=2, elapsed_s=10.0),
            "2 done; 2 failed; 896 rows left; 0 B; 0 B/s",
            "2 done; 2 failed; 896 rows left; 0 B",
            id="too early for a time left",
        ),
        pytest.param(
            replace(RUNNING, slowest=(("1.mp4", 8.6),)),
            "26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB; 1.1 MB/s",
            "26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB",
            id="a row takes longer than the average says",
        ),
        pytest.param(
            replace(RUNNING, state="paused"),
            "paused; 26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB",
            "paused; 26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB",
            id="paused",
        ),
        pytest.param(
            DONE,
            "43 done; 5 already here; 2 failed; 3.2 MB in 0:42",
            "43 done; 5 already here; 2 failed; 3.2 MB in 0:42",
            id="done",
        ),
        pytest.param(
            BatchProgress(50, skipped=50, state="done"),
            "0 done; 50 already here; 0 B in 0:00",
            "0 done; 50 already here; 0 B in 0:00",
            id="run again",
        ),
        pytest.param(
            BatchProgress(0, state="done"), "0 done; 0 B in 0:00", "0 done; 0 B in 0:00", id="empty"
        ),
        pytest.param(
            replace(RUNNING, state="cancelled"),
            "cancelled; 26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB in 0:14;"
            " run it again to continue",
            "cancelled; 26 done; 5 already here; 2 failed; 17 rows left; 3.2 MB in 0:14;"
            " run it again to continue",
            id="cancelled",
        ),
    ],
)
def test_the_counts_are_one_line(progress: BatchProgress, live: str, plain: str) -> None:
    assert "; ".join(counts(progress, is_live=True)) == live
    assert "; ".join(counts(progress, is_live=False)) == plain
    below = live.removeprefix("paused; ").removeprefix("cancelled; ")  # above the bar already
    assert visible_text(details_html(progress, is_live=True)).startswith(below.replace("; ", " · "))


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({}, []),
        (
            {"slowed_hosts": (("a.org", 12.4), ("b.org", 0.4))},
            ["slowed down: a.org (next request in 0:12), b.org"],
        ),
        (
            {"slowed_hosts": tuple((f"{n}.org", 0.0) for n in range(5))},
            ["slowed down: 0.org, 1.org, 2.org and 2 more"],
        ),
        ({"slowest": (("a.mp4", 2.9),)}, []),
        (
            {"slowest": tuple((f"{n}.mp4", 61.0) for n in range(5))},
            ["slowest: 0.mp4 (1:01), 1.mp4 (1:01), 2.mp4 (1:01)"],
        ),
        (
            {"slowed_hosts": (("h", 3.0),), "slowest": (("x" * 60 + "1.mp4", 9.0),)},
            [
                "slowed down: h (next request in 0:03)",
                f"slowest: {'x' * 19}…{'x' * 15}1.mp4 (0:09)",
            ],
        ),
    ],
)
def test_what_the_batch_waits_for_is_named(facts: dict[str, Any], lines: list[str]) -> None:
    progress = BatchProgress(9, **facts)
    assert waiting_lines(progress) == lines
    shown = visible_text(details_html(progress, is_live=True))
    assert all(line in shown for line in lines)
    assert "slow" not in visible_text(details_html(progress, is_live=False))


def test_failures_are_grouped_by_sentence_with_their_number() -> None:
    assert failure_lines(RUNNING) == [f"2 rows: {GONE}"]
    many = tuple((f"kind {n}", 1 + (n == 0)) for n in range(8))
    assert failure_lines(BatchProgress(9, failed=9, failures=many)) == [
        "2 rows: kind 0",
        *(f"1 row: kind {n}" for n in range(1, 5)),
        "3 rows: other errors",
    ]
    assert failure_lines(BatchProgress(9)) == []


def test_the_final_text_names_counts_and_failures() -> None:
    assert final_text("videos", replace(DONE, failures=((GONE, 1), (WRONG, 1)))) == (
        f"videos: 43 done; 5 already here; 2 failed; 3.2 MB in 0:42\n1 row: {GONE}\n1 row: {WRONG}"
    )


@pytest.mark.parametrize(
    ("progress", "facts"),
    [
        (RUNNING, ["2 failed", "3.2 MB", "1.1 MB/s", "slowest: clips/1.mp4 (0:08), 2.mp4 (0:04)"]),
        (BatchProgress(9), ["0 B", "0 B/s"]),
        (replace(RUNNING, state="paused"), ["paused", "2 failed", "3.2 MB"]),
        (DONE, ["2 failed", "3.2 MB"]),
    ],
)
def test_a_bar_on_a_terminal_has_room_for_the_essential(
    progress: BatchProgress, facts: list[str]
) -> None:
    assert short_facts(progress) == facts


# HTML


def widths(markup: str) -> list[tuple[str, str]]:
    """Return the parts of the bar, each with its colour."""
    return re.findall(r"width: ([0-9.]+)%; background(?:-color)?: var\(--jp-([a-z]+)-", markup)


@pytest.mark.parametrize(
    ("progress", "mark", "parts"),
    [
        (RUNNING, "66 %", [("62.0", "brand"), ("4.0", "error")]),
        (BatchProgress(9), "0 %", [("0.0", "brand"), ("0.0", "error")]),
        (replace(RUNNING, state="paused"), "paused", [("62.0", "warn"), ("4.0", "error")]),
        (replace(RUNNING, state="cancelled"), "cancelled", [("62.0", "warn"), ("4.0", "error")]),
        (DONE, "2 failed", [("96.0", "success"), ("4.0", "error")]),
        (BatchProgress(3, done=3, state="done"), "done", [("100.0", "success"), ("0.0", "error")]),
        (BatchProgress(0, state="done"), "done", [("100.0", "success"), ("0.0", "error")]),
        (BatchProgress(2, failed=3), "100 %", [("0.0", "brand"), ("100.0", "error")]),
        (
            BatchProgress(1000, done=999),
            "99 %",
            [("99.9", "brand"), ("0.0", "error")],
        ),
    ],
)
def test_the_bar_has_a_part_for_the_failed_rows(
    progress: BatchProgress, mark: str, parts: list[tuple[str, str]]
) -> None:
    markup = head_html("videos", progress, 0)
    assert visible_text(markup) == f"videos {mark}"
    assert widths(markup) == parts
    assert 'role="progressbar" aria-label="videos"' in markup
    assert sum(float(width) for width, _ in parts) <= 100.0


def test_an_unknown_number_of_rows_is_shown_by_stripes_that_move() -> None:
    progress = BatchProgress(None, done=3)
    pictures = {head_html("videos", progress, step) for step in range(4)}
    assert len(pictures) == 4
    assert all("repeating-linear-gradient" in each for each in pictures)
    assert "aria-valuenow" not in pictures.pop()
    assert "gradient" not in head_html("videos", BatchProgress(None), 0)


def test_text_from_outside_is_escaped_and_colours_follow_the_theme() -> None:
    evil = '<img src=x onerror="alert(1)">\'&'
    progress = replace(
        RUNNING, slowed_hosts=((evil, 2.0),), slowest=((evil, 9.0),), failures=((evil, 1),)
    )
    for markup in (
        batch_html(evil, progress, evil),
        head_html(evil, progress, 1) + details_html(progress, is_live=True),
    ):
        assert "<img" not in markup
        assert 'onerror="' not in markup
        assert html.escape(evil) in markup
        assert not re.search(r"<style|class=|<script", markup)
        # A colour without the theme's variable is legible on one background only.
        assert not re.search(r"(?<!-)color: (?!var\()", markup)
    assert 'role="status"' in batch_html("videos", DONE)


# The widget in a cell


def test_the_widget_becomes_html_at_the_end(
    outputs: list[dict[str, Any]], registry: dict[str, Any]
) -> None:
    batch = FakeBatch()
    bar = cell_bar(batch)
    bar.show()
    [first] = outputs
    model_id = first["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert type(registry[model_id]) is ipywidgets.VBox
    for kind in ("text/html", "text/plain"):
        assert "this batch was still running when the notebook was saved" in first[kind]
    batch.progress = DONE
    bar.finish()
    bar.update()
    [_, last] = outputs
    assert last == {
        "text/html": batch_html("videos", DONE),
        "text/plain": final_text("videos", DONE),
        "id": first["id"],
        "update": True,
    }
    assert model_id not in registry


def test_only_what_changed_is_sent(messages: list[dict[str, Any]]) -> None:
    batch = FakeBatch()
    bar = cell_bar(batch)
    bar.show()
    bar.update()
    messages.clear()
    bar.update()
    assert messages == []
    batch.progress = replace(batch.progress, slowest=(("1.mp4", 13.0),))
    bar.update()
    assert [list(each["state"]) for each in messages] == [["value"]]
    bar.finish()


def test_the_buttons_pause_resume_and_cancel_the_batch(outputs: list[object]) -> None:
    batch = FakeBatch()
    bar = cell_bar(batch)
    bar.show()
    pause, cancel = bar._pause_button, bar._cancel_button
    pause.click()
    assert pause.description == "Resume"
    assert visible_text(bar._top.value) == "videos paused"
    pause.click()
    cancel.click()
    cancel.click()
    assert visible_text(bar._foot.value) == "cancelling"
    assert cancel.disabled
    batch.progress = replace(RUNNING, state="cancelled")
    bar.finish()
    assert batch.calls == ["pause", "resume", "cancel"]
    assert len(outputs) == 2


def test_a_display_that_is_left_early_says_so(outputs: list[dict[str, Any]]) -> None:
    bar = cell_bar(FakeBatch())
    bar.show()
    bar.finish()
    assert "3.2 MB · no longer followed here" in visible_text(outputs[-1]["text/html"])


def test_a_front_end_that_is_gone_never_ends_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    batch = FakeBatch()
    bar = cell_bar(batch)
    bar.show()
    FakeComm.is_dead = True
    for done in (30, 31):
        batch.progress = replace(RUNNING, done=done)
        bar.update()
    bar.finish()
    assert errors(caplog) == [
        "The progress of videos can no longer be shown; the batch itself continues."
    ]
    assert batch.calls == []


def test_update_click_and_finish_on_three_threads(
    outputs: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    bar = cell_bar(FakeBatch())
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
    assert errors(caplog) == []
    assert len(outputs) == 2


# Elsewhere


@pytest.mark.parametrize("option", [None, True])
def test_in_a_kernel_the_display_is_the_widget(
    option: bool | None, in_kernel: SimpleNamespace
) -> None:
    display = choose_display(option, batch_view(FakeBatch(), Path("videos")))
    assert isinstance(display, CellBar)


def test_on_a_terminal_rows_are_counted(terminal: Terminal) -> None:
    batch = FakeBatch(BatchProgress(50))
    display = choose_display(None, batch_view(batch, Path("videos")))
    display.show()
    display.update()
    assert terminal.getvalue() == ""
    batch.progress = RUNNING
    display.update()
    assert f"videos: {GONE}\n" in terminal.getvalue()
    time.sleep(0.12)  # tqdm paints at most ten times a second
    display.update()
    assert "videos:  66%" in terminal.getvalue()
    assert "33/50 [" in terminal.getvalue()
    batch.progress = replace(RUNNING, done=28, state="paused")
    time.sleep(0.12)
    display.update()
    assert "paused, 2 failed" in terminal.getvalue().rpartition("\r")[2]
    batch.progress = DONE
    display.finish()
    last = terminal.getvalue().rpartition("\r")[2]
    assert "100%" in last
    assert last.endswith("\n")
    assert terminal.getvalue().count(GONE) == 1


def test_rows_of_an_earlier_run_do_not_count_as_speed(terminal: Terminal) -> None:
    batch = FakeBatch(BatchProgress(50, skipped=40, done=1))
    display: Any = choose_display(None, batch_view(batch, Path("videos")))
    display.update()
    assert (display._bar.n, display._bar.initial) == (41, 40)
    display.finish()


def test_in_a_pipe_each_kind_of_failure_is_one_line(terminal: Terminal) -> None:
    terminal.is_terminal = False
    batch = FakeBatch(BatchProgress(50))
    display = choose_display(progress=True, view=batch_view(batch, Path("/")))
    display.show()
    for failures in [(), ((GONE, 1),), ((GONE, 9), (WRONG, 1)), ((WRONG, 99), (GONE, 9))]:
        batch.progress = BatchProgress(50, failures=failures)
        display.update()
    display.finish()
    assert terminal.getvalue().splitlines() == [f"/: {GONE}", f"/: {WRONG}"]


def test_a_function_gets_the_progress_of_the_batch() -> None:
    calls: list[BatchProgress] = []
    batch = FakeBatch()
    display = choose_display(calls.append, batch_view(batch, Path("videos")))
    display.show()
    display.update()
    batch.progress = DONE
    display.finish()
    assert calls == [RUNNING, DONE]
