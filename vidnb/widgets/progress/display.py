"""Progress displays of a download: a bar in a cell or on a terminal, a callback, or nothing.

A display only reads its `DownloadHandle`. An error while it shows something (a front end that is
gone, a callback that raises) is logged once and ends the display, never the download.

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
from typing import Any, Protocol
from uuid import uuid4

from vidnb.download.options import ProgressOption
from vidnb.download.planner.progress import Progress
from vidnb.download.status import DownloadHandle, Phase
from vidnb.io.standard_streams import is_terminal, write_error_line
from vidnb.widgets.progress.rendering import (
    STRIPE_STEPS,
    WIDTH_PX,
    card_html,
    describe,
    displayed_name,
    displayed_phase,
    final_text,
    head_html,
    line_html,
)

__all__ = ["CellBar", "Display", "choose_display", "is_in_kernel"]

logger = logging.getLogger("vidnb.progress")

_SAVED_NOTE = "this download was still running when the notebook was saved; run the cell again"
_DETACHED_NOTE = "no longer followed here"


class Display(Protocol):
    """Shows one download. No method raises, whatever the state of the front end."""

    def show(self) -> None:
        """Create the output."""

    def update(self) -> None:
        """Show the current state; cheap, called at most five times a second."""

    def finish(self) -> None:
        """Show the final phase of the handle and release all resources."""


def choose_display(
    progress: ProgressOption, handle: DownloadHandle, *, cancel: Callable[[], object]
) -> Display:
    """Return the display for a `progress` option in this environment.

    None and True: a bar in a Jupyter cell or on a terminal; True, where standard error is neither:
    a line for each retry. False: nothing. A function is called with `Progress` (B, B/s, s) on each
    update and once at the end.
    `cancel` is called, from any thread, by the bar's Cancel button.
    """
    if callable(progress):
        return _CallbackDisplay(handle, progress)
    if progress is False:
        return _NoDisplay()
    kernel = _kernel()
    if kernel is not None:
        return CellBar(handle, cancel=cancel, has_buttons=_has_subshells(kernel))
    if is_terminal(sys.stderr):
        return _TerminalDisplay(handle)
    return _LineDisplay(handle) if progress else _NoDisplay()


class _GuardedDisplay(ABC):
    """A display whose steps may fail: the first failure is logged and ends the updates."""

    def __init__(self, handle: DownloadHandle) -> None:
        self._handle = handle
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
                    "The progress of %s can no longer be shown; the download itself continues.",
                    displayed_name(self._handle.status),
                )

    def _show(self) -> None:
        return  # most displays have nothing to show before the first bytes

    @abstractmethod
    def _update(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class CellBar(_GuardedDisplay):
    """The bar in a Jupyter cell, with buttons to pause and to cancel.

    `cancel` is called on the thread that handles the click. `has_buttons` is False where clicks are
    handled only after the cell. Imports ipywidgets in `show`; sends only what changed.

    Threads: a job updates the bar while a cell may block the kernel's main thread, so traits are
    set on other threads. That is safe here. ipywidgets has no lock, but every trait is set, and
    every widget made and closed, under the lock of this display; and the front end sets none of
    these traits (a click is a custom message), so no state update from there competes. ipykernel's
    iopub socket passes each message to its own thread (`ipykernel.iostream.BackgroundSocket`).
    """

    def __init__(
        self, handle: DownloadHandle, *, cancel: Callable[[], object], has_buttons: bool = True
    ) -> None:
        super().__init__(handle)
        self._cancel = cancel
        self._has_buttons = has_buttons
        self._display_id = f"vidnb-progress-{uuid4().hex[:12]}"
        self._is_cancelling = False
        self._seen_bytes = 0
        self._step = 0
        self._widgets: list[Any] = []

    def _show(self) -> None:
        box = self._build()
        self._update()
        data = {
            "application/vnd.jupyter.widget-view+json": box.get_view_spec(),
            # For a notebook that is saved before the end and read without a kernel.
            "text/html": card_html(self._handle, [_SAVED_NOTE]),
            "text/plain": f"{displayed_name(self._handle.status)}: {_SAVED_NOTE}",
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
            (self._handle.resume if self._handle.status.is_paused else self._handle.pause)()
            self.update()

    def _on_cancel(self, _button: object) -> None:
        if not self._is_finished and not self._is_cancelling:
            self._cancel()
            self._is_cancelling = True
            self.update()

    def _update(self) -> None:
        status = self._handle.status
        if status.done_bytes != self._seen_bytes:
            self._seen_bytes = status.done_bytes
            self._step = (self._step + 1) % STRIPE_STEPS
        parts = ["cancelling"] if self._is_cancelling else describe(self._handle, is_live=True)
        self._top.value = head_html(self._handle, self._step)
        self._foot.value = line_html(parts)
        pause, cancel = self._pause_button, self._cancel_button
        pause.description = "Resume" if status.is_paused else "Pause"
        pause.tooltip = "Continue" if status.is_paused else "Stop reading until you resume"
        pause.disabled = self._is_cancelling or status.phase is Phase.CHECKING
        cancel.disabled = self._is_cancelling
        for button in (pause, cancel):
            _forget_reply_subshell(button.comm)

    def _finish(self) -> None:
        if not self._widgets:
            return
        is_final = self._handle.status.phase.is_final
        parts = [*describe(self._handle, is_live=False), *([] if is_final else [_DETACHED_NOTE])]
        data = {"text/html": card_html(self._handle, parts), "text/plain": final_text(self._handle)}
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

    def __init__(self, handle: DownloadHandle, function: Callable[[Progress], object]) -> None:
        super().__init__(handle)
        self._function = function

    def _update(self) -> None:
        self._function(self._handle.progress())

    def _finish(self) -> None:
        if not self._is_broken:
            self._update()


class _LineDisplay(_GuardedDisplay):
    """One line on standard error for each retry: why, and when."""

    def __init__(self, handle: DownloadHandle) -> None:
        super().__init__(handle)
        self._retries = 0

    def _update(self) -> None:
        status = self._handle.status
        if status.retries != self._retries:
            self._retries = status.retries
            self._write_line(f"{displayed_name(status)}: {status.retry_note}")

    def _write_line(self, line: str) -> None:
        write_error_line(line)

    def _finish(self) -> None:
        return


class _TerminalDisplay(_LineDisplay):
    """A bar on standard error, which appears with the first bytes, and lines for the retries.

    The bar is tqdm's; where tqdm is missing or fails, one line of text that is overwritten.
    """

    def __init__(self, handle: DownloadHandle) -> None:
        super().__init__(handle)
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
        if not self._handle.status.done_bytes and self._bar is None:
            return
        if self._tqdm is not None:
            try:
                self._update_bar()
            except Exception:
                logger.debug("tqdm failed; the progress is shown as text.", exc_info=True)
                self._tqdm = self._bar = None
            else:
                return
        parts = describe(self._handle, is_live=True)
        self._overwrite(f"{displayed_name(self._handle.status)}: {'; '.join(parts)}")

    def _update_bar(self) -> None:
        status = self._handle.status
        if self._bar is None:
            self._bar = self._tqdm(
                desc=displayed_name(status),
                total=status.total_bytes,
                initial=status.done_bytes,  # bytes of an earlier run do not count as speed
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                miniters=0,
                file=sys.stderr,
            )
        bar, phase = self._bar, displayed_phase(status)
        bar.total = status.total_bytes
        bar.initial = min(bar.initial, status.done_bytes)
        postfix = "" if phase in {Phase.DOWNLOADING, Phase.DONE} else phase.value
        bar.set_postfix_str(postfix, refresh=False)
        bar.update(status.done_bytes - bar.n)

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
