"""Checks of number arguments, and of numbers in messages from a page."""

import math
from numbers import Real
from operator import index
from typing import Any

__all__ = ["check_integer", "check_number", "check_timeout_s", "seconds"]


def check_number(
    what: str, value: object, *, minimum: float = -math.inf, maximum: float = math.inf
) -> float:
    """Return a real number as a float; NumPy scalars and fractions are accepted.

    `ValueError`, which names the argument `what`, for a bool, text, NaN, an infinity or a number
    outside of the limits.
    """
    number = _finite(value)
    if number is not None and minimum <= number <= maximum:
        return number
    limits = "" if minimum == -math.inf else f" of at least {minimum:g}"
    if maximum < math.inf:
        limits = f" from {minimum:g} to {maximum:g}"
    raise ValueError(f"{what} must be a finite number{limits}, not {value!r}")


def check_integer(what: str, value: Any, *, minimum: int | None = None) -> int:
    """Return a whole number, also of NumPy; `ValueError` for another value or below `minimum`."""
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None or (minimum is not None and number < minimum):
        limit = "" if minimum is None else f" of at least {minimum}"
        raise ValueError(f"{what} must be a whole number{limit}, not {value!r}")
    return number


def check_timeout_s(value: object) -> float | None:
    """Return a timeout (s), None for no limit; `ValueError` where it is negative or no number."""
    if value is None or value == math.inf:
        return None
    return check_number("timeout_s", value, minimum=0)


def seconds(value: object) -> float | None:
    """Return a number of seconds; None where `value` is negative, not finite or no number."""
    number = _finite(value)
    return number if number is not None and number >= 0 else None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy registers its scalars there
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
