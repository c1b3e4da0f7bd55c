"""HTTP dates (RFC 9110 section 5.6.7) and Retry-After.

A recipient parses three formats; a sender writes the first one only. Times are POSIX seconds in
UTC. The current time is an argument.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

__all__ = ["format_http_date", "parse_http_date", "parse_retry_after"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HALF_YEAR: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")
_MONTHS: Final = (*_HALF_YEAR, "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_DAYS: Final = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_CLOCK: Final = ("hour", "minute", "second")
_LEAP_SECOND: Final = ("23", "59", "60")  # the only valid 60; POSIX time counts it as 00:00:00
_DELAY: Final = re.compile(r"[0-9]+")
_MAX_DELAY_S: Final = 1e18

# Dates are case-sensitive. The name of the day is not checked against the date: recipients "are
# encouraged to be robust".
_FORMATS: Final = (
    # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    re.compile(
        rf"(?:{'|'.join(_DAYS)}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"
    ),
    # RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
    re.compile(rf"(?:{_LONG_DAYS}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    # asctime: Sun Nov  6 08:49:37 1994
    re.compile(
        rf"(?:{'|'.join(_DAYS)}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"
    ),
)


def parse_http_date(value: str, now_s: float) -> int | None:
    """Return the POSIX time of an HTTP date in any of its three formats, None if it is malformed.

    `now_s` (POSIX seconds) determines the century of an RFC 850 date.
    """
    for date_format in _FORMATS:
        match = date_format.fullmatch(value.strip(" \t"))
        if match is not None:
            return _posix_time(match, now_s)
    return None


def _posix_time(match: re.Match[str], now_s: float) -> int | None:
    month = 1 + _MONTHS.index(match["month"])
    day, hour, minute, second = (int(text) for text in match.group("day", *_CLOCK))
    year = int(match["year"])
    if len(match["year"]) == len("94"):
        year += _century(now_s, [year, month, day, hour, minute, second])
    leap_s = int(match.group(*_CLOCK) == _LEAP_SECOND)
    try:
        moment = datetime(year, month, day, hour, minute, second - leap_s, tzinfo=UTC)
    except ValueError:  # no such day or time
        return None
    return (moment - _EPOCH) // timedelta(seconds=1) + leap_s


def _century(now_s: float, moment: list[int]) -> int:
    # "A timestamp that appears to be more than 50 years in the future" means "the most recent year
    # in the past that had the same last two digits". Compared field by field: adding 50 years to a
    # 29 February would give no date.
    now = _EPOCH + timedelta(seconds=now_s)
    latest = [now.year + 50, now.month, now.day, now.hour, now.minute, now.second]
    century = latest[0] - latest[0] % 100
    return century if [century + moment[0], *moment[1:]] <= latest else century - 100


@lru_cache(maxsize=256)  # a server sends the same few dates for a second
def format_http_date(epoch_s: int) -> str:
    """Format a POSIX time as IMF-fixdate; `OverflowError` outside the years 1 to 9999."""
    moment = _EPOCH + timedelta(seconds=epoch_s)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )


def parse_retry_after(value: str, now_s: float) -> float | None:
    """Return the delay (s, >= 0) of a Retry-After field, None if malformed (RFC 9110 10.2.3).

    The value is a number of seconds or an HTTP date; a date in the past means 0.
    """
    value = value.strip(" \t")
    if _DELAY.fullmatch(value):
        return min(float(value), _MAX_DELAY_S)
    date_s = parse_http_date(value, now_s)
    return None if date_s is None else max(0.0, date_s - now_s)
