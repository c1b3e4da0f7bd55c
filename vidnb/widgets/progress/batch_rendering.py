"""Renders the progress of a batch of downloads as text and as HTML; pure.

The HTML has the bar and the colours of a single download (`rendering`): a part for the rows that
are complete, one for those that failed. Below it come the counts, then one line each for the hosts
that are slowed down, the slowest rows and every kind of failure; an empty line is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vidnb.download.planner.batch_progress import BatchProgress, general_sentence
from vidnb.download.planner.progress import format_bytes, format_duration_s, format_rate
from vidnb.http.urls import redact
from vidnb.widgets.progress.rendering import (
    BUSY,
    ERROR,
    SUCCESS,
    WARNING,
    WIDTH_PX,
    bar_html,
    line_html,
    name_html,
)

__all__ = [
    "batch_html",
    "counts",
    "details_html",
    "failure_lines",
    "failure_report",
    "final_text",
    "head_html",
    "is_final",
    "short_facts",
    "waiting_lines",
]

_MOST_NAMED: Final = 3  # hosts, and rows
_MOST_KINDS: Final = 5  # of failures
_MOST_CHARACTERS: Final = 40  # of the name of a row or a host
_SLOW_S: Final = 3.0  # a row that takes less is not worth a line
_MIN_ROWS: Final = 5  # before that, an average says nothing about the time left
_FINAL: Final = {"done", "cancelled"}
_NAMED: Final = {"paused", "cancelled"}


def is_final(progress: BatchProgress) -> bool:
    """Whether nothing runs any more."""
    return progress.state in _FINAL


def counts(progress: BatchProgress, *, is_live: bool) -> list[str]:
    """Return rows and bytes; throughput and time left only if `is_live`."""
    parts: list[str] = [progress.state] if progress.state in _NAMED else []
    parts.append(f"{progress.done:,} done")
    if progress.skipped:
        parts.append(f"{progress.skipped:,} already here")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.left:
        parts.append(f"{progress.left:,} {'row' if progress.left == 1 else 'rows'} left")
    if is_final(progress):
        parts.append(
            f"{format_bytes(progress.size_bytes)} in {format_duration_s(progress.elapsed_s)}"
        )
        return [*parts, "run it again to continue"] if progress.state == "cancelled" else parts
    parts.append(format_bytes(progress.size_bytes))
    if is_live and progress.state == "running":
        parts.append(format_rate(progress.bytes_per_s))
        eta_s = _eta_s(progress)
        if eta_s is not None:
            parts.append(f"{format_duration_s(eta_s)} left")
    return parts


def _eta_s(progress: BatchProgress) -> float | None:
    """Return the time (s) that the rows left take at the average speed of this run.

    None where a row already runs longer than that: the last rows are not like the average.
    """
    requested = progress.done + progress.failed
    if not progress.left or requested < _MIN_ROWS:
        return None
    eta_s = progress.left * progress.elapsed_s / requested
    return None if progress.slowest and progress.slowest[0][1] > eta_s else eta_s


def waiting_lines(progress: BatchProgress) -> list[str]:
    """Return what the batch waits for: hosts that are slowed down, and the slowest rows."""
    hosts = [
        f"{_short(host)} (next request in {format_duration_s(until_s)})"
        if until_s >= 1
        else _short(host)
        for host, until_s in progress.slowed_hosts[:_MOST_NAMED]
    ]
    rows = [
        f"{_short(name)} ({format_duration_s(seconds)})"
        for name, seconds in progress.slowest[:_MOST_NAMED]
        if seconds >= _SLOW_S
    ]
    more = len(progress.slowed_hosts) - len(hosts)
    lines = [f"slowed down: {', '.join(hosts)}"] if hosts else []
    if more > 0:
        lines[0] += f" and {more} more"
    return [*lines, f"slowest: {', '.join(rows)}"] if rows else lines


def short_facts(progress: BatchProgress) -> list[str]:
    """Return what a bar on a terminal says after its count of rows."""
    facts: list[str] = [progress.state] if progress.state in _NAMED else []
    if progress.failed:
        facts.append(f"{progress.failed:,} failed")
    facts.append(format_bytes(progress.size_bytes))
    if progress.state == "running":
        facts.append(format_rate(progress.bytes_per_s))
        waiting = waiting_lines(progress)
        facts += waiting[-1:]  # a bar has room for one
    return facts


def failure_lines(progress: BatchProgress, most: int = _MOST_KINDS) -> list[str]:
    """Return a line for each kind of failure, at most `most`, and one for the others."""
    lines = [f"{_rows(count)}: {sentence}" for sentence, count in progress.failures[:most]]
    others = sum(count for _, count in progress.failures[most:])
    return [*lines, f"{_rows(others)}: other errors"] if others else lines


def failure_report(failed: Sequence[Mapping[str, Any]], most: int = 10) -> list[str]:
    """Return each kind of failure with its rows, at most `most` of them, the most frequent first.

    `failed` has the rows of `DownloadBatch.failed()`: number (from 0), url, path and error. A row
    is named by its URL without credentials, and by its number, from 1, which is its position in the
    table without the header.
    """
    groups: dict[str, list[str]] = {}
    for row in failed:
        url = redact(row["url"]) if row["url"] else ""
        shown = f"  row {row['number'] + 1}: {url}" if url else f"  row {row['number'] + 1}"
        groups.setdefault(general_sentence(row["error"], row["path"]), []).append(shown)
    lines = []
    for sentence, rows in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines += [f"{_rows(len(rows))}: {sentence}", *rows[:most]]
        if len(rows) > most:
            lines.append(f"  and {len(rows) - most:,} more")
    return lines


def final_text(name: str, progress: BatchProgress) -> str:
    """Return the outcome, or the current state, with a line for each kind of failure."""
    return "\n".join(
        [f"{name}: {'; '.join(counts(progress, is_live=False))}", *failure_lines(progress)]
    )


def head_html(name: str, progress: BatchProgress, step: int) -> str:
    """Return the name and the bar; `step` is the position of its stripes."""
    fraction, total = progress.fraction, progress.total or 1
    mark, colour = _mark(progress)
    fill = colour or BUSY
    if progress.state == "done" and progress.failed:
        fill = SUCCESS
    shares = [(1.0, fill)]
    if fraction is not None:
        shares = [
            (fraction - min(fraction, progress.failed / total), fill),
            (min(fraction, progress.failed / total), ERROR),
        ]
    return name_html(name, mark, colour) + bar_html(
        name, fraction, shares, step if progress.ended else None
    )


def _mark(progress: BatchProgress) -> tuple[str, str | None]:
    """Return what stands at the end of the line above the bar, and its colour."""
    fraction = progress.fraction
    match progress.state:
        case "cancelled" | "paused" as state:
            return state, WARNING
        case "done" if progress.failed:
            return f"{progress.failed:,} failed", ERROR
        case "done":
            return "done", SUCCESS
    return ("" if fraction is None else f"{int(fraction * 100)} %"), None


def details_html(progress: BatchProgress, *, is_live: bool, note: str = "") -> str:
    """Return the lines below the bar."""
    # The state stands above the bar already.
    parts = counts(progress, is_live=is_live)[progress.state in _NAMED :]
    parts += [note] if note else []
    lines = waiting_lines(progress) if is_live else []
    return (
        line_html(parts)
        + "".join(line_html([line]) for line in lines)
        + "".join(line_html([line], ERROR) for line in failure_lines(progress))
    )


def batch_html(name: str, progress: BatchProgress, note: str = "") -> str:
    """Return name, bar and details as HTML that needs nothing else."""
    return (
        f'<div role="status" style="max-width: {WIDTH_PX}px; padding: 2px 0">'
        f"{head_html(name, progress, 0)}{details_html(progress, is_live=False, note=note)}</div>"
    )


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _short(name: str) -> str:
    if len(name) <= _MOST_CHARACTERS:
        return name
    half = _MOST_CHARACTERS // 2
    return f"{name[: half - 1]}…{name[-half:]}"  # the number is often at the end
