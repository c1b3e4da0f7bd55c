"""How a download is shown: a bar in a cell, a bar on a terminal, calls of a function, or nothing.

A display only looks at its `Watch`. Whatever goes wrong while it shows something (a front end that
went away, a function that raises) is logged once and ends the showing, never the download.

The bar in a cell is made of widgets while it lives. In the end its output is replaced by static
HTML, so that a saved notebook needs neither a kernel nor a widget's state to tell how it ended.
"""

import functools
import html
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol
from uuid import uuid4

from vidnb.core.progress import Progress, format_bytes, format_duration_s, format_rate
from vidnb.engine.watch import Phase, View, Watch

__all__ = ["CellBar", "Display", "choose", "final_html", "final_text"]

logger = logging.getLogger("vidnb.progress")

_WIDTH_PX = 640
_STRIPE_PX = 16
_STEPS = 4  # after so many steps the stripes of an unknown length look as they did at first
_LONGEST_PIECE = 32  # characters; what is longer is a sentence and may break anywhere

# JupyterLab's colours, light or dark, and such as can be read on both where it is not there.
_TRACK = "var(--jp-border-color2, rgba(128, 128, 128, 0.3))"
_QUIET = "var(--jp-ui-font-color2, inherit)"
_BUSY = "var(--jp-brand-color1, rgb(25, 118, 210))"
_HELD = "var(--jp-warn-color1, rgb(199, 138, 46))"
_COLOURS: Final = {
    Phase.WAITING: _HELD,
    Phase.PAUSED: _HELD,
    Phase.CANCELLED: _HELD,
    Phase.DONE: "var(--jp-success-color1, rgb(56, 142, 60))",
    Phase.FAILED: "var(--jp-error-color1, rgb(211, 47, 47))",
}
_FONT = (
    "font-family: var(--jp-ui-font-family, system-ui, sans-serif);"
    " font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5;"
    " font-variant-numeric: tabular-nums"
)
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
    watch: Watch,
    *,
    cancel: Callable[[], object],
) -> Display:
    """Return what shows `watch` here: the meaning of every `progress` argument.

    None and True: a bar in a Jupyter cell or on a terminal (tqdm), nothing in a pipe. False:
    nothing. A function is called with `Progress` (B, B/s, s) on each update and once at the end.
    `cancel` is called, from any thread, when the bar's Cancel button is pressed. Raises nothing.
    """
    if callable(progress):
        return _Calls(watch, progress)
    if progress is False:
        return _Nothing()
    kernel = _kernel()
    if kernel is not None:
        return CellBar(watch, cancel=cancel, has_buttons=_hears_clicks(kernel))
    return _terminal(watch) if _is_terminal() else _Nothing()


def final_text(watch: Watch) -> str:
    """Return one line on `watch`: how it ended, or where it stands at this moment."""
    view = watch.view
    end = f" {view.phase.value}" if view.phase.is_final else ""
    return f"{_name(view)}{end}: {'; '.join(_facts(watch, is_live=False))}"


def final_html(watch: Watch) -> str:
    """Return the same as HTML: name, bar and a line, readable without any style sheet.

    Inline styles only, in JupyterLab's colours where there are any; every foreign word is escaped.
    """
    return _card(watch, _facts(watch, is_live=False))


class _Guarded(ABC):
    """A display whose steps may fail: the first failure is logged and ends the updates."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
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
                    _name(self._watch.view),
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
        self, watch: Watch, *, cancel: Callable[[], object], has_buttons: bool = True
    ) -> None:
        super().__init__(watch)
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
            "text/html": _card(self._watch, [_SAVED]),
            "text/plain": f"{_name(self._watch.view)}: {_SAVED}",
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
            layout=layout(max_width=f"{_WIDTH_PX}px", overflow="visible"),
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
            (self._watch.resume if self._watch.view.is_paused else self._watch.pause)()
            self.update()

    def _on_cancel(self, _button: object) -> None:
        if not self._is_over and not self._is_cancelling:
            self._cancel()
            self._is_cancelling = True
            self.update()

    def _update(self) -> None:
        view = self._watch.view
        if view.done_bytes != self._seen_bytes:
            self._seen_bytes = view.done_bytes
            self._step = (self._step + 1) % _STEPS
        facts = ["cancelling"] if self._is_cancelling else _facts(self._watch, is_live=True)
        self._top.value = _head(self._watch, self._step)
        self._foot.value = _line(facts)
        pause, cancel = self._pause_button, self._cancel_button
        pause.description = "Resume" if view.is_paused else "Pause"
        pause.tooltip = "Go on" if view.is_paused else "Stop reading until you resume"
        pause.disabled = self._is_cancelling or view.phase is Phase.CHECKING
        cancel.disabled = self._is_cancelling
        for button in (pause, cancel):
            _hear_where_sent(button)

    def _finish(self) -> None:
        if not self._widgets:
            return
        is_final = self._watch.view.phase.is_final
        facts = [*_facts(self._watch, is_live=False), *([] if is_final else [_LEFT])]
        data = {"text/html": _card(self._watch, facts), "text/plain": final_text(self._watch)}
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

    def __init__(self, watch: Watch, function: Callable[[Progress], object]) -> None:
        super().__init__(watch)
        self._function = function

    def _update(self) -> None:
        self._function(self._watch.progress())

    def _finish(self) -> None:
        if not self._is_broken:
            self._update()


class _Terminal(_Guarded):
    """tqdm's bar on standard error; it appears with the first bytes."""

    def __init__(self, watch: Watch, tqdm: Any) -> None:
        super().__init__(watch)
        self._tqdm = tqdm
        self._bar: Any = None

    def _update(self) -> None:
        view = self._watch.view
        if self._bar is None:
            if not view.done_bytes:
                return
            self._bar = self._tqdm(
                desc=_name(view),
                total=view.total_bytes,
                initial=view.done_bytes,  # so that an earlier run's bytes are no speed
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                miniters=0,
                file=sys.stderr,
            )
        bar, phase = self._bar, _phase(view)
        bar.total = view.total_bytes
        bar.initial = min(bar.initial, view.done_bytes)
        word = "" if phase in {Phase.DOWNLOADING, Phase.DONE} else phase.value
        bar.set_postfix_str(word, refresh=False)
        bar.update(view.done_bytes - bar.n)

    def _finish(self) -> None:
        if self._bar is not None:
            self._update()
            self._bar.close()


class _Nothing:
    """Shows nothing."""

    def show(self) -> None: ...

    def update(self) -> None: ...

    def finish(self) -> None: ...


def _terminal(watch: Watch) -> Display:
    try:
        from tqdm import tqdm
    except ImportError:
        _tell_of_tqdm()
        return _Nothing()
    return _Terminal(watch, tqdm)


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


def _name(view: View) -> str:
    return view.name or "download"


def _phase(view: View) -> Phase:
    """Return the phase to show: a wish to pause or to go on shows at once."""
    if view.phase.is_final or view.phase is Phase.CHECKING:
        return view.phase
    if view.is_paused:
        return Phase.PAUSED
    return Phase.DOWNLOADING if view.phase is Phase.PAUSED else view.phase


def _facts(watch: Watch, *, is_live: bool) -> list[str]:
    """Return what the second line says, piece by piece; speed and time only of a live watch."""
    view, phase, progress = watch.view, _phase(watch.view), watch.progress()
    amount = format_bytes(progress.done_bytes)
    if phase.is_final:
        is_said = bool(view.note) and (phase is not Phase.DONE or amount in view.note)
        return [*([] if is_said else [amount]), *([view.note] if view.note else [])]
    if progress.total_bytes is not None:
        amount += f" of {format_bytes(progress.total_bytes)}"
    facts = [amount] if progress.done_bytes else []
    if phase is Phase.WAITING:
        return [*facts, view.note]
    if phase is not Phase.DOWNLOADING or not is_live:
        return [*facts, phase.value]
    facts.append(format_rate(progress.rate_bytes_per_s))
    if progress.left_s is not None:
        facts.append(f"{format_duration_s(progress.left_s)} left")
    return facts


def _card(watch: Watch, facts: list[str]) -> str:
    return (
        f'<div role="status" style="max-width: {_WIDTH_PX}px; padding: 2px 0">'
        f"{_head(watch, 0)}{_line(facts)}</div>"
    )


def _line(facts: list[str]) -> str:
    """Return the second line; where it must break, it breaks between its pieces."""
    pieces = [
        html.escape(piece)
        if len(piece) > _LONGEST_PIECE
        else f'<span style="white-space: nowrap">{html.escape(piece)}</span>'
        for piece in (*(f"{fact} ·" for fact in facts[:-1]), *facts[-1:])
    ]
    return f'<div style="{_FONT}; color: {_QUIET}; word-wrap: break-word">{" ".join(pieces)}</div>'


def _head(watch: Watch, step: int) -> str:
    """Return the first line and the bar."""
    view, phase, fraction = watch.view, _phase(watch.view), watch.progress().fraction
    if phase is Phase.DONE:
        fraction = 1.0
    name, colour = html.escape(_name(view)), _COLOURS.get(phase, _BUSY)
    mark = "" if fraction is None else f"{int(fraction * 100)} %"
    style = f"{_FONT}; color: var(--jp-ui-font-color1, inherit)"
    return (
        f'<div style="{style}; display: grid; grid-template-columns: minmax(0, 1fr) auto;'
        ' gap: 12px"><span style="overflow: hidden; text-overflow: ellipsis; white-space: nowrap;'
        f' font-weight: 600" title="{name}">{name}</span> '
        + (
            f'<span style="color: {colour}">{phase.value}</span>'
            if phase.is_final
            else f"<span>{mark}</span>"
        )
        + f"</div>{_bar(name, fraction, colour, step if view.done_bytes else None)}"
    )


def _bar(name: str, fraction: float | None, colour: str, step: int | None) -> str:
    """Return the bar; `step` moves the stripes that stand for an unknown length."""
    value = "" if fraction is None else f' aria-valuenow="{int(fraction * 100)}"'
    fill = f"width: {(fraction or 0) * 100:.1f}%; background-color: {colour}"
    if fraction is None and step is not None:
        # They move when bytes arrive, and only then.
        fill = (
            f"width: 100%; background: repeating-linear-gradient(90deg, {colour} 0 {_STRIPE_PX}px,"
            f" {_TRACK} {_STRIPE_PX}px {2 * _STRIPE_PX}px)"
            f" {step * 2 * _STRIPE_PX // _STEPS}px 0"
        )
    return (
        f'<div role="progressbar" aria-label="{name}" aria-valuemin="0" aria-valuemax="100"{value}'
        ' style="height: 6px; margin: 2px 0 3px; border-radius: 3px; overflow: hidden;'
        f' background-color: {_TRACK}"><div style="height: 6px; border-radius: 3px; {fill}"></div>'
        "</div>"
    )
