"""Parser of Content-Disposition: the file name that a server proposes (RFC 6266, RFC 8187).

The name is returned as sent, with path separators and dots; `naming` makes it safe.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["parse_content_disposition"]

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TYPE: Final = re.compile(rf"[ \t]*+{_NAME}[ \t]*+(?:;|\Z)")

# One parameter and the semicolon or end after it; it may be empty (RFC 9110 section 5.6.6).
# RFC 6266 allows white space around "=". Spaces in an unquoted value (`filename=my film.mp4`) are
# not allowed, but often sent and accepted by every browser.
# Possessive quantifiers (`*+`) never backtrack, so a match takes linear time.
_PARAMETER: Final = re.compile(
    rf"[ \t]*+(?:(?P<name>{_NAME})[ \t]*+=[ \t]*+"
    r'(?:"(?P<quoted>(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\[\t -~\x80-\U0010ffff])*+)"[ \t]*+'
    r"|(?P<unquoted>[\t !#-:<-~\x80-\U0010ffff]*+)))?+(?:;|\Z)"
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

# RFC 8187 section 3.2.1 allows fewer plain characters, but servers send what JavaScript's
# encodeURIComponent (which keeps !'()*) and Python's quote (which keeps the slash) produce.
_EXTENDED_TEXT: Final = re.compile(r"(?:[ -$&-~]|%[0-9A-Fa-f]{2})*+")
_CHARSETS: Final = {"utf-8": "utf-8", "iso-8859-1": "iso-8859-1"}


def parse_content_disposition(value: str) -> str | None:
    """Return the proposed file name as sent, or None without one.

    `filename*` has precedence over `filename` (RFC 6266 section 4.3) unless its value is malformed.
    A duplicate parameter makes the whole field invalid (section 4.1). A field without a disposition
    type is parsed from its first parameter, as Chromium does.
    """
    found: dict[str, str] = {}
    disposition_type = _TYPE.match(value)
    position = disposition_type.end() if disposition_type else 0
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            return None
        position = match.end()
        if match["name"] is None:
            continue
        name = match["name"].lower()
        if name in found:
            return None
        if match["quoted"] is None:
            found[name] = match["unquoted"].rstrip(" \t")
        else:
            found[name] = _QUOTED_PAIR.sub(r"\1", match["quoted"])
    return _decode_extended(found.get("filename*", "")) or found.get("filename") or None


def _decode_extended(value: str) -> str:
    """Decode `charset'language'text` (RFC 8187 section 3.2); "" if malformed."""
    charset, _, rest = value.partition("'")
    _language, _, text = rest.partition("'")
    codec = _CHARSETS.get(charset.lower())
    if codec is None or _EXTENDED_TEXT.fullmatch(text) is None:
        return ""
    try:
        return unquote_to_bytes(text).decode(codec)
    except UnicodeDecodeError:
        return ""
