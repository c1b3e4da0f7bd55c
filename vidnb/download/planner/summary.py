"""How a finished download came about, in one line."""

from vidnb.download.planner.progress import format_bytes, format_duration_s
from vidnb.http.dates import format_http_date

__all__ = ["fetched_summary", "known_summary", "unchanged_summary"]

_SHORTEST_S = 0.1
_MINUTE_S = 60


def fetched_summary(
    size_bytes: int, elapsed_s: float, *, resumed_from_bytes: int, connections: int, attempts: int
) -> str:
    """Say how a file was fetched, leaving out what is as it always is.

    `connections` is the most that were open at once, `attempts` one more than the failures.
    """
    if elapsed_s < _MINUTE_S - _SHORTEST_S / 2:  # from there on one decimal would read 60.0
        took = f"{max(elapsed_s, _SHORTEST_S):.1f} s"
    else:
        took = format_duration_s(elapsed_s)
    facts = [f"{format_bytes(size_bytes)} in {took}"]
    if resumed_from_bytes:
        facts.append(f"resumed from {format_bytes(resumed_from_bytes)}")
    if connections > 1:
        facts.append(f"{connections} connections")
    if attempts > 1:
        facts.append(f"{attempts - 1} {'retry' if attempts == 2 else 'retries'}")
    return "; ".join(facts)


def unchanged_summary(last_modified_s: int | None) -> str:
    """Say that the origin confirmed the file that is here; with its date (POSIX s) if it has one.

    The day is that of UTC, as the origin wrote it.
    """
    said = "already here; the source has not changed"
    if last_modified_s is None:
        return said
    try:
        date = format_http_date(last_modified_s)  # Thu, 12 Nov 2026 00:00:00 GMT
    except OverflowError:  # from a record somebody else wrote: no date of any calendar
        return said
    _, day, month, year, *_ = date.split()
    return f"{said} since {day.lstrip('0')} {month} {year}"


def known_summary(algorithm: str) -> str:
    """Say that the file that is here has the digest that was asked for, so nobody was asked."""
    return f"already here, with the {algorithm} digest asked for"
