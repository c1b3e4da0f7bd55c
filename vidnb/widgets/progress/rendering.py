"""How a download looks, as text and as HTML: its name, a bar, and a line of facts.

Inline styles only, in JupyterLab's colours where there are any, so that a saved notebook can be
read anywhere; every foreign word is escaped.
"""

import html
from typing import Final

from vidnb.download.planner.progress import format_bytes, format_duration_s, format_rate
from vidnb.download.status import DownloadHandle, DownloadStatus, Phase

__all__ = [
    "STEPS",
    "WIDTH_PX",
    "card_html",
    "facts_of",
    "final_html",
    "final_text",
    "head_html",
    "line_html",
    "shown_name",
    "shown_phase",
]

WIDTH_PX: Final = 640
STEPS: Final = 4
"""After so many steps the stripes of an unknown length look as they did at first."""

_STRIPE_PX = 16
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


def final_text(handle: DownloadHandle) -> str:
    """Return one line on `handle`: how it ended, or where it stands at this moment."""
    status = handle.status
    end = f" {status.phase.value}" if status.phase.is_final else ""
    return f"{shown_name(status)}{end}: {'; '.join(facts_of(handle, is_live=False))}"


def final_html(handle: DownloadHandle) -> str:
    """Return the same as HTML: name, bar and a line, readable without any style sheet.

    Inline styles only, in JupyterLab's colours where there are any; every foreign word is escaped.
    """
    return card_html(handle, facts_of(handle, is_live=False))


def shown_name(status: DownloadStatus) -> str:
    """Return what a download is called while nobody knows its name."""
    return status.name or "download"


def shown_phase(status: DownloadStatus) -> Phase:
    """Return the phase to show: a wish to pause or to go on shows at once."""
    if status.phase.is_final or status.phase is Phase.CHECKING:
        return status.phase
    if status.is_paused:
        return Phase.PAUSED
    return Phase.DOWNLOADING if status.phase is Phase.PAUSED else status.phase


def facts_of(handle: DownloadHandle, *, is_live: bool) -> list[str]:
    """Return what the second line says, piece by piece; speed and time only of a live watch."""
    status, phase, progress = handle.status, shown_phase(handle.status), handle.progress()
    amount = format_bytes(progress.done_bytes)
    if phase.is_final:
        is_said = bool(status.note) and (phase is not Phase.DONE or amount in status.note)
        return [*([] if is_said else [amount]), *([status.note] if status.note else [])]
    if progress.total_bytes is not None:
        amount += f" of {format_bytes(progress.total_bytes)}"
    facts = [amount] if progress.done_bytes else []
    if phase is Phase.WAITING:
        return [*facts, status.note]
    if phase is not Phase.DOWNLOADING or not is_live:
        return [*facts, phase.value]
    facts.append(format_rate(progress.rate_bytes_per_s))
    if progress.eta_s is not None:
        facts.append(f"{format_duration_s(progress.eta_s)} left")
    return facts


def card_html(handle: DownloadHandle, facts: list[str]) -> str:
    """Return both lines and the bar between them."""
    return (
        f'<div role="status" style="max-width: {WIDTH_PX}px; padding: 2px 0">'
        f"{head_html(handle, 0)}{line_html(facts)}</div>"
    )


def line_html(facts: list[str]) -> str:
    """Return the second line; where it must break, it breaks between its pieces."""
    pieces = [
        html.escape(piece)
        if len(piece) > _LONGEST_PIECE
        else f'<span style="white-space: nowrap">{html.escape(piece)}</span>'
        for piece in (*(f"{fact} ·" for fact in facts[:-1]), *facts[-1:])
    ]
    return f'<div style="{_FONT}; color: {_QUIET}; word-wrap: break-word">{" ".join(pieces)}</div>'


def head_html(handle: DownloadHandle, step: int) -> str:
    """Return the first line and the bar."""
    status, phase, fraction = handle.status, shown_phase(handle.status), handle.progress().fraction
    if phase is Phase.DONE:
        fraction = 1.0
    name, colour = html.escape(shown_name(status)), _COLOURS.get(phase, _BUSY)
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
        + f"</div>{_bar(name, fraction, colour, step if status.done_bytes else None)}"
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
            f" {step * 2 * _STRIPE_PX // STEPS}px 0"
        )
    return (
        f'<div role="progressbar" aria-label="{name}" aria-valuemin="0" aria-valuemax="100"{value}'
        ' style="height: 6px; margin: 2px 0 3px; border-radius: 3px; overflow: hidden;'
        f' background-color: {_TRACK}"><div style="height: 6px; border-radius: 3px; {fill}"></div>'
        "</div>"
    )
