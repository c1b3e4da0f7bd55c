"""How a download is shown: a bar in a cell, a bar on a terminal, calls of a function, or nothing.

A display only looks at its `DownloadHandle`. Whatever goes wrong while it shows something (a front end that
went away, a function that raises) is logged once and ends the showing, never the download.

The bar in a cell is made of widgets while it lives. In the end its output is replaced by static
HTML, so that a saved notebook needs neither a kernel nor a widget's state to tell how it ended.
"""

import functools
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from uuid import uuid4

from vidnb.download.planner.progress import Progress
from vidnb.download.status import DownloadHandle, Phase
from vidnb.widgets.progress.rendering import (
    STEPS,
    WIDTH_PX,
    card_html,
    facts_of,
    final_text,
    head_html,
    line_html,
    shown_name,
    shown_phase,
)

__all__ = ["CellBar", "Display", "choose"]

logger = logging.getLogger("vidnb.progress")

_SAVED = "this download was still running when the notebook was saved; run the cell again"
_LEFT = "no longer followed here"


class Display(Protocol):
    """Shows one download. No method raises, whatever becomes of the front end."""

    def show(self) -> None:
        """Appear."""

    def update(self) -> None:
        """Show this moment; cheap, for at most five calls a second."""

    def finish(self) -> None:
        """Show how it ended, by the watch's phase, and let go of everything."""


def choose(
    progress: bool | Callable[[Progress], object] | None,
    handle: DownloadHandle,
    *,
    cancel: Callable[[], object],
) -> Display:
    """Return what shows `handle` here: the meaning of every `progress` argument.

    None and True: a bar in a Jupyter cell or on a terminal (tqdm), nothing in a pipe. False:
    nothing. A function is called with `Progress` (B, B/s, s) on each update and once at the end.
    `cancel` is called, from any thread, when the bar's Cancel button is pressed. Raises nothing.
    """
    if callable(progress):
        return _Calls(handle, progress)
    if progress is False:
        return _Nothing()
    kernel = _kernel()
    if kernel is not None:
        return CellBar(handle, cancel=cancel, has_buttons=_hears_clicks(kernel))
    return _terminal(handle) if _is_terminal() else _Nothing()


class _Guarded(ABC):
    """A display whose steps may fail: the first failure is logged and ends the updates."""

    def __init__(self, handle: DownloadHandle) -> None:
        self._handle = handle
        self._lock = threading.RLock()  # an update, a click and the end come from three threads
        self._is_broken = False
        self._is_over = False

    def show(self) -> None:
        with self._lock:
            self._try(self._show)

    def update(self) -> None:
        with self._lock:
            if not self._is_broken and not self._is_over:
                self._try(self._update)

    def finish(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self._try(self._finish)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            if not self._is_broken:
                self._is_broken = True
                logger.exception(
                    "The progress of %s can no longer be shown; the download itself goes on.",
                    shown_name(self._handle.status),
                )

    def _show(self) -> None:
        return  # most have nothing to show before the first bytes

    @abstractmethod
    def _update(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class CellBar(_Guarded):
    """The bar in a Jupyter cell, with buttons to pause and to cancel.

    `cancel` is called from the thread that hears the click. `has_buttons` is False where clicks
    are heard only after the cell. Imports ipywidgets when it is shown; sends only what changed.
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
            # Read from a notebook that was saved meanwhile, where there is no kernel any more.
            "text/html": card_html(self._handle, [_SAVED]),
            "text/plain": f"{shown_name(self._handle.status)}: {_SAVED}",
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
            display="flex",  # the sheet of ipywidgets makes a line higher than this button
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
        """Put `data` into the bar's own output, from any thread, whichever cell runs."""
        from IPython import display

        publish: Any = display.publish_display_data  # IPython has no types for it
        publish(data, transient={"display_id": self._display_id}, update=is_update)

    def _on_pause(self, _button: object) -> None:
        if not self._is_over:
            (self._handle.resume if self._handle.status.is_paused else self._handle.pause)()
            self.update()

    def _on_cancel(self, _button: object) -> None:
        if not self._is_over and not self._is_cancelling:
            self._cancel()
            self._is_cancelling = True
            self.update()

    def _update(self) -> None:
        status = self._handle.status
        if status.done_bytes != self._seen_bytes:
            self._seen_bytes = status.done_bytes
            self._step = (self._step + 1) % STEPS
        facts = ["cancelling"] if self._is_cancelling else facts_of(self._handle, is_live=True)
        self._top.value = head_html(self._handle, self._step)
        self._foot.value = line_html(facts)
        pause, cancel = self._pause_button, self._cancel_button
        pause.description = "Resume" if status.is_paused else "Pause"
        pause.tooltip = "Go on" if status.is_paused else "Stop reading until you resume"
        pause.disabled = self._is_cancelling or status.phase is Phase.CHECKING
        cancel.disabled = self._is_cancelling
        for button in (pause, cancel):
            _hear_where_sent(button)

    def _finish(self) -> None:
        if not self._widgets:
            return
        is_final = self._handle.status.phase.is_final
        facts = [*facts_of(self._handle, is_live=False), *([] if is_final else [_LEFT])]
        data = {"text/html": card_html(self._handle, facts), "text/plain": final_text(self._handle)}
        try:
            self._publish(data, is_update=True)
        finally:
            self._close()

    def _close(self) -> None:
        """Take the widgets out of the registry, one by one, even from a front end that is gone."""
        for button in (self._pause_button, self._cancel_button):
            with suppress(Exception):
                button.disabled = True
        for widget in self._widgets:
            for part in ("layout", "style", None):
                with suppress(Exception):
                    (widget if part is None else getattr(widget, part)).close()


class _Calls(_Guarded):
    """Calls a function of the caller's."""

    def __init__(self, handle: DownloadHandle, function: Callable[[Progress], object]) -> None:
        super().__init__(handle)
        self._function = function

    def _update(self) -> None:
        self._function(self._handle.progress())

    def _finish(self) -> None:
        if not self._is_broken:
            self._update()


class _Terminal(_Guarded):
    """tqdm's bar on standard error; it appears with the first bytes."""

    def __init__(self, handle: DownloadHandle, tqdm: Any) -> None:
        super().__init__(handle)
        self._tqdm = tqdm
        self._bar: Any = None

    def _update(self) -> None:
        status = self._handle.status
        if self._bar is None:
            if not status.done_bytes:
                return
            self._bar = self._tqdm(
                desc=shown_name(status),
                total=status.total_bytes,
                initial=status.done_bytes,  # so that an earlier run's bytes are no speed
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                miniters=0,
                file=sys.stderr,
            )
        bar, phase = self._bar, shown_phase(status)
        bar.total = status.total_bytes
        bar.initial = min(bar.initial, status.done_bytes)
        word = "" if phase in {Phase.DOWNLOADING, Phase.DONE} else phase.value
        bar.set_postfix_str(word, refresh=False)
        bar.update(status.done_bytes - bar.n)

    def _finish(self) -> None:
        if self._bar is not None:
            self._update()
            self._bar.close()


class _Nothing:
    """Shows nothing."""

    def show(self) -> None: ...

    def update(self) -> None: ...

    def finish(self) -> None: ...


def _terminal(handle: DownloadHandle) -> Display:
    try:
        from tqdm import tqdm
    except ImportError:
        _tell_of_tqdm()
        return _Nothing()
    return _Terminal(handle, tqdm)


@functools.cache  # once in a process is enough
def _tell_of_tqdm() -> None:
    sys.stderr.write("For a progress bar on the terminal: pip install 'vidnb[terminal]'\n")


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _kernel() -> Any:
    """Return the Jupyter kernel this runs in, or None; imports nothing to find out."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else getattr(get_ipython(), "kernel", None)


def _hears_clicks(kernel: Any) -> bool:
    """Whether messages get through while a cell runs: ipykernel 7 has subshells for them."""
    info = getattr(kernel, "kernel_info", None) or {}
    return "kernel subshells" in info.get("supported_features", ())


def _hear_where_sent(button: Any) -> None:
    """Let a click be heard where the front end sends it: beside the cell that is running.

    ipykernel 7.4 hands a widget's messages to the shell that last wrote to the widget. Here that
    is the cell's, which hears nothing before its end. Other versions keep no such note.
    """
    getattr(button.comm, "__dict__", {}).pop("_reply_subshell_id", None)
