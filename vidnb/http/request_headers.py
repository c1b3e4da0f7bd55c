"""Validation of the request headers that a caller passes.

vidnb manages the fields for ranges, conditions, encoding and framing; a caller's value for one of
them is an error. Messages show the name of a field only: its value may be a secret.
"""

import base64
import re
import unicodedata
from collections.abc import Mapping

__all__ = ["basic_credentials", "check_headers", "refuse_managed_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2

# RFC 9110 sections 14.2, 13.1 and 12.5.3.
_RANGE_FIELDS = frozenset(
    {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
)
_ENCODING_FIELDS = frozenset({"accept-encoding"})
# RFC 9110 sections 7.6.1, 7.8, 8.6, 10.1.1, 10.1.4 and 6.6.2; RFC 9112 section 6.1.
_CONNECTION_FIELDS = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return a caller's header fields as pairs, or raise `ValueError` with one sentence.

    Not allowed are the fields that vidnb manages, names that are not tokens (RFC 9110 section 5.1),
    values with control characters (section 5.5: one could start another field), duplicate names.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"headers={{{name!r}: …}} is not text; pass name and value as str.")  # noqa: TRY004 - every bad argument of a download is a ValueError
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"headers={{{name!r}: …}} is not a header name; use letters, digits and hyphens."
            )
        if any(_is_not_allowed(char) for char in value):
            raise ValueError(
                f"headers={{{name!r}: …}} has a control character in its value; remove it."
            )
        if name.lower() in seen:
            raise ValueError(f"headers={{{name!r}: …}} is given twice; pass it once.")
        seen.add(name.lower())
    refuse_managed_headers(
        headers, _RANGE_FIELDS | _ENCODING_FIELDS | _CONNECTION_FIELDS, "headers"
    )
    return tuple(headers.items())


def refuse_managed_headers(
    names: Mapping[str, str],
    managed: frozenset[str] = _RANGE_FIELDS,
    where: str = "session.headers",
) -> None:
    """Raise `ValueError` for the first of `names` that is one of the `managed` fields.

    By default those for ranges and conditions: as default headers of a caller's session only these
    would do harm; vidnb replaces or tolerates all others.
    """
    for name in names:
        if name.lower() in managed:
            raise ValueError(
                f"{where}={{{name!r}: …}} is managed by vidnb, {_reason(name.lower())}; remove it."
            )


def basic_credentials(user: str, password: str) -> str:
    """Return the value of an Authorization field for the Basic scheme, in UTF-8 (RFC 7617).

    A lone surrogate stands for a byte that is not UTF-8 (PEP 383).
    """
    pair = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(pair).decode()


def _reason(name: str) -> str:
    if name in _RANGE_FIELDS:
        return "because it selects the bytes and the version to request"
    if name in _ENCODING_FIELDS:
        return "because files are requested without compression"
    return "because it describes the connection, not the file"


def _is_not_allowed(char: str) -> bool:
    # Lone surrogates cannot be encoded; a tab is allowed white space.
    return char != "\t" and unicodedata.category(char) in {"Cc", "Cs"}
