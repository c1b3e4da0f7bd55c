"""Which header fields of a request are the caller's to set, and which are vidnb's alone.

A caller's Range would make every answer one that nobody asked for, a caller's condition one about
a version nobody has, a caller's Content-Length the beginning of another request. Such a field is
told at once, by name: its value may be a secret and is never shown.
"""

import re
import unicodedata
from collections.abc import Mapping

__all__ = ["check_headers", "refuse_managed_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2

# RFC 9110 sections 14.2, 13.1 and 12.5.3.
_OF_THE_BYTES = frozenset(
    {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
)
_OF_THE_CODING = frozenset({"accept-encoding"})
# RFC 9110 sections 7.6.1, 7.8, 8.6, 10.1.1, 10.1.4 and 6.6.2; RFC 9112 section 6.1.
_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return a caller's header fields as they may be sent; `ValueError` with one sentence if not.

    Refused are the fields by which vidnb chooses bytes, versions, coding and framing; names that
    are no tokens (RFC 9110 section 5.1); values with control characters, which could end the field
    and begin another (section 5.5); and one name twice, since only one of the two could be sent.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"headers={{{name!r}: …}} is not text; give name and value as str.")  # noqa: TRY004 - every bad argument of a download is a ValueError
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"headers={{{name!r}: …}} is no name of a header: letters, digits and hyphens."
            )
        if any(_breaks_a_field(char) for char in value):
            raise ValueError(
                f"headers={{{name!r}: …}} has a control character in its value; leave it out."
            )
        if name.lower() in seen:
            raise ValueError(f"headers={{{name!r}: …}} is given twice; give it once.")
        seen.add(name.lower())
    refuse_managed_headers(headers, _OF_THE_BYTES | _OF_THE_CODING | _OF_THE_CONNECTION, "headers")
    return tuple(headers.items())


def refuse_managed_headers(
    names: Mapping[str, str], own: frozenset[str] = _OF_THE_BYTES, where: str = "session.headers"
) -> None:
    """Raise `ValueError` for the first of `names` that is one of vidnb's `own` fields.

    By default those that choose bytes and versions: they would be in the way also as the defaults
    of a caller's session, where vidnb replaces or survives all others.
    """
    for name in names:
        if name.lower() in own:
            raise ValueError(
                f"{where}={{{name!r}: …}} is vidnb's own to send,"
                f" {_why(name.lower())}; leave it out."
            )


def _why(name: str) -> str:
    if name in _OF_THE_BYTES:
        return "because it decides which bytes of which version are asked for"
    if name in _OF_THE_CODING:
        return "because a file is asked for as it is, never packed"
    return "because it belongs to the connection and not to the file"


def _breaks_a_field(char: str) -> bool:
    # Lone surrogates can't be sent at all; a tab is white space like any other.
    return char != "\t" and unicodedata.category(char) in {"Cc", "Cs"}
