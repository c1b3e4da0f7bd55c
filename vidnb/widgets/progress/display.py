"""Progress displays: a bar in a cell or on a terminal, a callback, or nothing.

A display reads a `ProgressView`: of a download (`download_view`) or of a batch (`batch_display`).
An error while it shows something (a front end that is gone, a callback that raises) is logged once
and ends the display, never the download.

The bar in a cell consists of widgets while the download runs. At the end static HTML replaces them,
so a saved notebook shows the outcome without a kernel and without widget state.
"""

import logging
import shutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from vidnb.io.standard_streams import is_terminal, write_error_line
from vidnb.widgets.progress.rendering import STRIPE_STEPS, WIDTH_PX, line_html

__all__ = [
    "BarState",
    "CellBar",
    "Display",
    "ProgressView",
    "choose_display",
    "current_cell",
    "is_in_kernel",
]

logger = logging.getLogger("vidnb.progress")

_SAVED_NOTE = "this {} was still running when the notebook was saved; run the cell again"
_DETACHED_NOTE = "no longer followed here"


@dataclass(frozen=True, slots=True)
class BarState:
    """A bar on a terminal: `n` of `total` (None: unknown); `initial` of them are of earlier."""

    n: int
    total: int | None
    initial: int = 0
    unit: str = "B"
    postfix: str = ""


class ProgressView(Protocol):
    """What a display reads of a download or a batch, as text and HTML, and what a click does."""

    noun: str
    """"download" or "batch"."""

    @property
    def name(self) -> str:
        """Its name in text."""

    @property
    def seen_bytes(self) -> int:
        """The bytes so far (B): the bar of an unknown length moves when they change."""

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""

    @property
    def is_paused(self) -> bool:
        """Whether it is paused; `resume` continues it."""

    @property
    def can_pause(self) -> bool:
        """Whether `pause` has an effect now."""

    def pause(self) -> None:
        """Pause it."""

    def resume(self) -> None:
        """Continue it."""

    def cancel(self) -> None:
        """Stop it; returns at once."""

    def head_html(self, step: int) -> str:
        """Return the name and the bar; `step` is the position of the stripes."""

    def details_html(self) -> str:
        """Return what is below the bar while it runs, with throughput and time left."""

    def card_html(self, note: str = "") -> str:
        """Return the current state and a note as HTML that needs nothing else."""

    def line(self) -> str:
        """Return the current state as one line, with throughput and time left."""

    def final_text(self) -> str:
        """Return the outcome as text."""

    def new_lines(self) -> list[str]:
        """Return what is worth a line of its own, each once: retries, kinds of failures."""

    def bar(self) -> BarState | None:
        """Return the bar on a terminal; None while there is nothing to show."""

    def progress(self) -> object:
        """Return what a `progress` function is called with."""


class Display(Protocol):
    """Shows one download or batch. No method raises, whatever the state of the front end."""

    def show(self) -> None:
        """Create the output."""

    def update(self) -> None:
        """Show the current state; cheap, called at most five times a second."""

    def finish(self) -> None:
        """Show the final state and release all resources."""


def choose_display(progress: bool | Callable[[Any], object] | None, view: ProgressView) -> Display:
    """Return the display for a `progress` option in this environment.

    None and True: a bar in a Jupyter cell or on a terminal; True, where standard error is neither:
    the lines of `new_lines`. False: nothing. A function is called with `view.progress()` on each
    update and once at the end. The bar's buttons call the view's methods, from any thread.
    """
    if callable(progress):
        return _CallbackDisplay(view, progress)
    if progress is False:
        return _NoDisplay()
    kernel = _kernel()
    if kernel is not None:
        return CellBar(view, has_buttons=_has_subshells(kernel))
    if is_terminal(sys.stderr):
        return _TerminalDisplay(view)
    return _LineDisplay(view) if progress else _NoDisplay()


class _GuardedDisplay(ABC):
    """A display whose steps may fail: the first failure is logged and ends the updates."""

    def __init__(self, view: ProgressView) -> None:
        self._view = view
        self._lock = threading.RLock()  # update, click and end come from different threads
        self._is_broken = False
        self._is_finished = False

    def show(self) -> None:
        with self._lock:
            self._try(self._show)

    def update(self) -> None:
        with self._lock:
            if not self._is_broken and not self._is_finished:
                self._try(self._update)

    def finish(self) -> None:
        with self._lock:
            if not self._is_finished:
                self._is_finished = True
                self._try(self._finish)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            if not self._is_broken:
                self._is_broken = True
                logger.exception(
                    "The progress of %s can no longer be shown; the %s itself continues.",
                    self._view.name,
                    self._view.noun,
                )

    def _show(self) -> None:
        return  # most displays have nothing to show before the first bytes

    @abstractmethod
    def _update(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class CellBar(_GuardedDisplay):
    """The bar in a Jupyter cell, with buttons to pause and to cancel.

    The view's methods are called on the thread that handles the click. `has_buttons` is False where
    clicks are handled only after the cell. Imports ipywidgets in `show`; sends only what changed.

    Threads: a job updates the bar while a cell may block the kernel's main thread, so traits are
    set on other threads. That is safe here. ipywidgets has no lock, but every trait is set, and
    every widget made and closed, under the lock of this display; and the front end sets none of
    these traits (a click is a custom message), so no state update from there competes. ipykernel's
    iopub socket passes each message to its own thread (`ipykernel.iostream.BackgroundSocket`).
    """

    def __init__(self, view: ProgressView, *, has_buttons: bool = True) -> None:
        super().__init__(view)
        self._has_buttons = has_buttons
        self._display_id = f"vidnb-progress-{uuid4().hex[:12]}"
        self._is_cancelling = False
        self._seen_bytes = 0
        self._step = 0
        self._widgets: list[Any] = []

    def _show(self) -> None:
        box = self._build()
        self._update()
        note = _SAVED_NOTE.format(self._view.noun)
        data = {
            "application/vnd.jupyter.widget-view+json": box.get_view_spec(),
            # For a notebook that is saved before the end and read without a kernel.
            "text/html": self._view.card_html(note),
            "text/plain": f"{self._view.name}: {note}",
        }
        self._publish(data, is_update=False)

    def _build(self) -> Any:
        import ipywidgets as w

        layout = w.Layout
        self._top = self._own(w.HTML(layout=layout(margin="0", width="100%")))
        self._foot = self._own(w.HTML(layout=layout(margin="0", flex="1 1 0%", min_width="0")))
        self._pause_button = self._button(w, self._on_pause)
        self._cancel_button = self._button(w, self._on_cancel)
        self._cancel_button.description = "Cancel"
        self._cancel_button.tooltip = "Stop; what can be resumed is kept"
        buttons = [self._pause_button, self._cancel_button] if self._has_buttons else []
        line = w.HBox(
            [self._foot, *buttons], layout=layout(align_items="flex-start", overflow="visible")
        )
        box = w.VBox(
            [self._top, self._own(line)],
            layout=layout(max_width=f"{WIDTH_PX}px", overflow="visible"),
        )
        return self._own(box)

    def _button(self, w: Any, on_click: Callable[[object], None]) -> Any:
        layout = w.Layout(
            display="flex",  # the style sheet of ipywidgets makes the line higher than this button
            align_items="center",
            flex="0 0 auto",
            width="auto",
            height="22px",
            margin="0 0 0 4px",
            padding="0 7px",
        )
        button = self._own(w.Button(layout=layout, style=w.ButtonStyle(font_size="11px")))
        button.on_click(on_click)
        return button

    def _own(self, widget: Any) -> Any:
        self._widgets.append(widget)
        return widget

    def _publish(self, data: Mapping[str, object], *, is_update: bool) -> None:
        """Write `data` to the bar's own output, from any thread, whichever cell runs."""
        from IPython import display

        publish: Any = display.publish_display_data  # IPython has no types for it
        publish(data, transient={"display_id": self._display_id}, update=is_update)

    def _on_pause(self, _button: object) -> None:
        if not self._is_finished:
            (self._view.resume if self._view.is_paused else self._view.pause)()
            self.update()

    def _on_cancel(self, _button: object) -> None:
        if not self._is_finished and not self._is_cancelling:
            self._view.cancel()
            self._is_cancelling = True
            self.update()

    def _update(self) -> None:
        view, seen_bytes = self._view, self._view.seen_bytes
        if seen_bytes != self._seen_bytes:
            self._seen_bytes = seen_bytes
            self._step = (self._step + 1) % STRIPE_STEPS
        self._top.value = view.head_html(self._step)
        self._foot.value = line_html(["cancelling"]) if self._is_cancelling else view.details_html()
        pause, cancel, is_paused = self._pause_button, self._cancel_button, view.is_paused
        pause.description = "Resume" if is_paused else "Pause"
        pause.tooltip = "Continue" if is_paused else "Stop reading until you resume"
        pause.disabled = self._is_cancelling or not view.can_pause
        cancel.disabled = self._is_cancelling
        for button in (pause, cancel):
            _forget_reply_subshell(button.comm)

    def _finish(self) -> None:
        if not self._widgets:
            return
        note = "" if self._view.is_final else _DETACHED_NOTE
        data = {"text/html": self._view.card_html(note), "text/plain": self._view.final_text()}
        try:
            self._publish(data, is_update=True)
        finally:
            self._close()

    def _close(self) -> None:
        """Close the widgets one by one, also when the front end is gone."""
        for button in (self._pause_button, self._cancel_button):
            with suppress(Exception):
                button.disabled = True
        for widget in self._widgets:
            for part in ("layout", "style", None):
                with suppress(Exception):
                    (widget if part is None else getattr(widget, part)).close()


class _CallbackDisplay(_GuardedDisplay):
    """Calls a function of the caller's."""

    def __init__(self, view: ProgressView, function: Callable[[Any], object]) -> None:
        super().__init__(view)
        self._function = function

    def _update(self) -> None:
        self._function(self._view.progress())

    def _finish(self) -> None:
        if not self._is_broken:
            self._update()


class _LineDisplay(_GuardedDisplay):
    """The view's new lines on standard error, after its name."""

    def _update(self) -> None:
        for line in self._view.new_lines():
            self._write_line(f"{self._view.name}: {line}")

    def _write_line(self, line: str) -> None:
        write_error_line(line)

    def _finish(self) -> None:
        return


class _TerminalDisplay(_LineDisplay):
    """A bar on standard error, which appears with the first bytes or rows, and the new lines.

    The bar is tqdm's; where tqdm is missing or fails, one line of text that is overwritten.
    """

    def __init__(self, view: ProgressView) -> None:
        super().__init__(view)
        self._bar: Any = None
        self._width = 0
        try:
            from tqdm import tqdm
        except Exception:  # noqa: BLE001 - a broken installation may raise anything
            self._tqdm: Any = None
        else:
            self._tqdm = tqdm

    def _update(self) -> None:
        super()._update()
        state = self._view.bar()
        if state is None:
            return
        if self._tqdm is not None:
            try:
                self._update_bar(state)
            except Exception:
                logger.debug("tqdm failed; the progress is shown as text.", exc_info=True)
                self._tqdm = self._bar = None
            else:
                return
        self._overwrite(f"{self._view.name}: {self._view.line()}")

    def _update_bar(self, state: BarState) -> None:
        if self._bar is None:
            self._bar = self._tqdm(
                desc=self._view.name,
                total=state.total,
                initial=state.initial,
                unit=state.unit,
                unit_scale=state.unit == "B",
                dynamic_ncols=True,
                miniters=0,
                file=sys.stderr,
            )
        bar = self._bar
        bar.total = state.total
        bar.initial = min(bar.initial, state.n)
        bar.set_postfix_str(state.postfix, refresh=False)
        bar.update(state.n - bar.n)

    def _overwrite(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        shown = line if len(line) <= columns else f"{line[: columns - 1]}…"
        sys.stderr.write(f"\r{shown.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(shown)

    def _write_line(self, line: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        elif self._width:
            self._overwrite("")
            sys.stderr.write("\r")
        write_error_line(line)
        if self._bar is not None:
            self._bar.refresh()

    def _finish(self) -> None:
        if self._bar is not None or self._width:
            self._update()
        if self._bar is not None:
            self._bar.close()
        elif self._width:
            write_error_line("")


class _NoDisplay:
    """Shows nothing."""

    def show(self) -> None: ...

    def update(self) -> None: ...

    def finish(self) -> None: ...


def is_in_kernel() -> bool:
    """Whether this process is a Jupyter kernel."""
    return _kernel() is not None


def current_cell() -> object:
    """Return what identifies the running cell, or None outside of IPython; imports nothing."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    return getattr(shell, "execution_count", None)


def _kernel() -> Any:
    """Return the Jupyter kernel of this process, or None; imports nothing."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else getattr(get_ipython(), "kernel", None)


def _has_subshells(kernel: Any) -> bool:
    """Whether messages are handled while a cell runs: ipykernel 7 has subshells for them."""
    info = getattr(kernel, "kernel_info", None) or {}
    return "kernel subshells" in info.get("supported_features", ())


def _forget_reply_subshell(comm: Any) -> None:
    """Have clicks handled on the subshell that the front end addresses, not on the busy main shell.

    From 7.4 on ipykernel stores in a comm, as `_reply_subshell_id`, the subshell that last sent on
    it, and routes all messages of the front end there. After an update from a cell that is the main
    shell, which handles nothing before the cell ends. ipykernel has no public way to clear it.
    """
    if getattr(sys.modules.get("ipykernel"), "version_info", ())[:2] >= (7, 4):
        getattr(comm, "__dict__", {}).pop("_reply_subshell_id", None)  # a closed widget has none
