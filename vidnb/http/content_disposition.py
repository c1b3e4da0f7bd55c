"""Content-Disposition: the file name a server proposes (RFC 6266, RFC 8187).

What comes out is the name as sent, path separators, dots and all; `naming` makes it safe.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["parse_content_disposition"]

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TYPE: Final = re.compile(rf"[ \t]*+{_NAME}[ \t]*+(?:;|\Z)")

# One parameter with the semicolon or the end behind it; a parameter may be empty (RFC 9110 section
# 5.6.6). White space around "=" comes from the grammar RFC 6266 was written in. A bare value may
# hold spaces, as in `filename=my film.mp4`: not allowed, often sent, read by every browser.
# Possessive quantifiers (`*+`) never give back what they took, so a match costs linear time.
_PARAMETER: Final = re.compile(
    rf"[ \t]*+(?:(?P<name>{_NAME})[ \t]*+=[ \t]*+"
    r'(?:"(?P<quoted>(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\[\t -~\x80-\U0010ffff])*+)"[ \t]*+'
    r"|(?P<bare>[\t !#-:<-~\x80-\U0010ffff]*+)))?+(?:;|\Z)"
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

# RFC 8187 section 3.2.1 allows fewer plain characters, but JavaScript's encodeURIComponent leaves
# !'()* as they are and Python's quote the slash, and servers send what these make.
_EXTENDED_TEXT: Final = re.compile(r"(?:[ -$&-~]|%[0-9A-Fa-f]{2})*+")
_CHARSETS: Final = {"utf-8": "utf-8", "iso-8859-1": "iso-8859-1"}


def parse_content_disposition(value: str) -> str | None:
    """Return the proposed file name, unsafe as it came, or None where there is none.

    `filename*` wins over `filename` (RFC 6266 section 4.3) unless its text is broken. A parameter
    given twice makes the whole field invalid (section 4.1). A field that begins with a parameter,
    its type forgotten, is read as Chromium reads it.
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
            found[name] = match["bare"].rstrip(" \t")
        else:
            found[name] = _QUOTED_PAIR.sub(r"\1", match["quoted"])
    return _decode_extended(found.get("filename*", "")) or found.get("filename") or None


def _decode_extended(value: str) -> str:
    """Decode `charset'language'text` (RFC 8187 section 3.2); "" where it is broken."""
    charset, _, rest = value.partition("'")
    _language, _, text = rest.partition("'")
    codec = _CHARSETS.get(charset.lower())
    if codec is None or _EXTENDED_TEXT.fullmatch(text) is None:
        return ""
    try:
        return unquote_to_bytes(text).decode(codec)
    except UnicodeDecodeError:
        return ""
