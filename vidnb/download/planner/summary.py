"""One-line summaries of a finished download."""

from vidnb.download.planner.progress import format_bytes, format_duration_s
from vidnb.http.dates import format_http_date

__all__ = ["fetched_summary", "known_summary", "unchanged_summary"]

_MIN_SHOWN_S = 0.1
_MINUTE_S = 60


def fetched_summary(
    size_bytes: int, elapsed_s: float, *, resumed_from_bytes: int, connections: int, attempts: int
) -> str:
    """Summarize a transfer: size, duration, and what deviates from the default.

    `connections` is the most that were open at once, `attempts` one more than the failures.
    """
    if elapsed_s < _MINUTE_S - _MIN_SHOWN_S / 2:  # above, one decimal would show 60.0
        duration = f"{max(elapsed_s, _MIN_SHOWN_S):.1f} s"
    else:
        duration = format_duration_s(elapsed_s)
    facts = [f"{format_bytes(size_bytes)} in {duration}"]
    if resumed_from_bytes:
        facts.append(f"resumed from {format_bytes(resumed_from_bytes)}")
    if connections > 1:
        facts.append(f"{connections} connections")
    if attempts > 1:
        facts.append(f"{attempts - 1} {'retry' if attempts == 2 else 'retries'}")
    return "; ".join(facts)


def unchanged_summary(last_modified_s: int | None) -> str:
    """Summarize a revalidated file; `last_modified_s` (Unix time, s) is shown as its UTC date."""
    text = "already downloaded; the source has not changed"
    if last_modified_s is None:
        return text
    try:
        date = format_http_date(last_modified_s)  # Thu, 12 Nov 2026 00:00:00 GMT
    except OverflowError:  # an invalid date in a record file
        return text
    _, day, month, year, *_ = date.split()
    return f"{text} since {day.lstrip('0')} {month} {year}"


def known_summary(algorithm: str) -> str:
    """Summarize a file with the expected digest, for which no request was sent."""
    return f"already downloaded; the {algorithm} digest matches"
