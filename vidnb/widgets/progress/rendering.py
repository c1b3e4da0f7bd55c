"""Renders the state of a download as text and as HTML: name, bar, and a line of details.

The HTML has inline styles only, in JupyterLab's colours where they are defined, so that a saved
notebook is readable anywhere; all text from outside is escaped.
"""

import html
from collections.abc import Sequence
from typing import Final

from vidnb.download.planner.progress import format_bytes, format_duration_s, format_rate
from vidnb.download.status import DownloadHandle, DownloadStatus, Phase

WIDTH_PX: Final = 640
STRIPE_STEPS: Final = 4
"""The number of positions of the stripes that stand for an unknown length."""

_STRIPE_PX = 16
_MAX_UNBROKEN = 32  # characters; a longer part is a sentence and may break anywhere

# JupyterLab's colours, with fallbacks that are legible on light and dark backgrounds.
TRACK: Final = "var(--jp-border-color2, rgba(128, 128, 128, 0.3))"
SECONDARY: Final = "var(--jp-ui-font-color2, inherit)"
BUSY: Final = "var(--jp-brand-color1, rgb(25, 118, 210))"
WARNING: Final = "var(--jp-warn-color1, rgb(199, 138, 46))"
SUCCESS: Final = "var(--jp-success-color1, rgb(56, 142, 60))"
ERROR: Final = "var(--jp-error-color1, rgb(211, 47, 47))"
_COLOURS: Final = {
    Phase.WAITING: WARNING,
    Phase.PAUSED: WARNING,
    Phase.CANCELLED: WARNING,
    Phase.DONE: SUCCESS,
    Phase.FAILED: ERROR,
}
FONT: Final = (
    "font-family: var(--jp-ui-font-family, system-ui, sans-serif);"
    " font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5;"
    " font-variant-numeric: tabular-nums"
)


def final_text(handle: DownloadHandle) -> str:
    """Return one line on the outcome, or on the current state, of a download."""
    status = handle.status
    end = f" {status.phase.value}" if status.phase.is_final else ""
    return f"{displayed_name(status)}{end}: {'; '.join(describe(handle, is_live=False))}"


def final_html(handle: DownloadHandle) -> str:
    """Return the same as HTML: name, bar and a line of details."""
    return card_html(handle, describe(handle, is_live=False))


def displayed_name(status: DownloadStatus) -> str:
    """Return the name to show, also while it is unknown."""
    return status.name or "download"


def displayed_phase(status: DownloadStatus) -> Phase:
    """Return the phase to show: a requested pause or resume shows at once."""
    if status.phase.is_final or status.phase is Phase.CHECKING:
        return status.phase
    if status.is_paused:
        return Phase.PAUSED
    return Phase.DOWNLOADING if status.phase is Phase.PAUSED else status.phase


def describe(handle: DownloadHandle, *, is_live: bool) -> list[str]:
    """Return the parts of the details line; throughput and time left only if `is_live`."""
    status, phase, progress = handle.status, displayed_phase(handle.status), handle.progress()
    amount = format_bytes(progress.done_bytes)
    if phase.is_final:
        is_noted = bool(status.note) and (phase is not Phase.DONE or amount in status.note)
        return [*([] if is_noted else [amount]), *([status.note] if status.note else [])]
    if progress.total_bytes is not None:
        amount += f" of {format_bytes(progress.total_bytes)}"
    parts = [amount] if progress.done_bytes else []
    if phase is Phase.WAITING:
        return [*parts, status.note]
    if phase is not Phase.DOWNLOADING or not is_live:
        return [*parts, phase.value]
    parts.append(format_rate(progress.rate_bytes_per_s))
    if progress.eta_s is not None:
        parts.append(f"{format_duration_s(progress.eta_s)} left")
    return parts


def card_html(handle: DownloadHandle, parts: list[str]) -> str:
    """Return name, bar and details line."""
    return (
        f'<div role="status" style="max-width: {WIDTH_PX}px; padding: 2px 0">'
        f"{head_html(handle, 0)}{line_html(parts)}</div>"
    )


def line_html(parts: Sequence[str], colour: str = SECONDARY) -> str:
    """Return a line of details; it breaks between its parts."""
    spans = [
        html.escape(part)
        if len(part) > _MAX_UNBROKEN
        else f'<span style="white-space: nowrap">{html.escape(part)}</span>'
        for part in (*(f"{part} ·" for part in parts[:-1]), *parts[-1:])
    ]
    return f'<div style="{FONT}; color: {colour}; word-wrap: break-word">{" ".join(spans)}</div>'


def head_html(handle: DownloadHandle, step: int) -> str:
    """Return the name and the bar."""
    status, phase, fraction = (
        handle.status,
        displayed_phase(handle.status),
        handle.progress().fraction,
    )
    if phase is Phase.DONE:
        fraction = 1.0
    colour = _COLOURS.get(phase, BUSY)
    mark = "" if fraction is None else f"{int(fraction * 100)} %"
    return name_html(
        displayed_name(status),
        phase.value if phase.is_final else mark,
        colour if phase.is_final else None,
    ) + bar_html(
        displayed_name(status),
        fraction,
        [(fraction or 0, colour)],
        step if status.done_bytes else None,
    )


def name_html(name: str, mark: str, colour: str | None) -> str:
    """Return the line above the bar: a name, and `mark` at its end, in a colour."""
    name, style = html.escape(name), f"{FONT}; color: var(--jp-ui-font-color1, inherit)"
    mark_style = "" if colour is None else f' style="color: {colour}"'
    return (
        f'<div style="{style}; display: grid; grid-template-columns: minmax(0, 1fr) auto;'
        ' gap: 12px"><span style="overflow: hidden; text-overflow: ellipsis; white-space: nowrap;'
        f' font-weight: 600" title="{name}">{name}</span> '
        f"<span{mark_style}>{html.escape(mark)}</span></div>"
    )


def bar_html(
    name: str, fraction: float | None, parts: Sequence[tuple[float, str]], step: int | None
) -> str:
    """Return a bar whose `parts` are fractions of it, 0 to 1, with their colours.

    A `fraction` of None is an unknown length; `step` is then the position of the stripes that stand
    for it, None for an empty bar.
    """
    value = "" if fraction is None else f' aria-valuenow="{int(fraction * 100)}"'
    fills = [f"width: {share * 100:.1f}%; background-color: {colour}" for share, colour in parts]
    if fraction is None and step is not None:
        colour = parts[0][1]
        stripes = (
            f"repeating-linear-gradient(90deg, {colour} 0 {_STRIPE_PX}px,"
            f" {TRACK} {_STRIPE_PX}px {2 * _STRIPE_PX}px)"
        )
        fills = [f"width: 100%; background: {stripes} {step * 2 * _STRIPE_PX // STRIPE_STEPS}px 0"]
    divs = "".join(f'<div style="height: 6px; {fill}"></div>' for fill in fills)
    return (
        f'<div role="progressbar" aria-label="{html.escape(name)}" aria-valuemin="0"'
        f' aria-valuemax="100"{value} style="height: 6px; margin: 2px 0 3px; border-radius: 3px;'
        f' overflow: hidden; display: flex; background-color: {TRACK}">{divs}</div>'
    )
