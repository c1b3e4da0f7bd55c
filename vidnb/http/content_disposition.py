"""Parser of Content-Disposition: the file name that a server proposes (RFC 6266, RFC 8187).

The name is decoded, with path separators and dots; `naming` makes it safe. Besides what the RFCs
allow, it reads what servers send and browsers accept: raw bytes of any charset, percent-encoded
bytes and the encoded words of mail (RFC 2047) in `filename`, and a wrong charset in `filename*`.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp
from typing import Final
from urllib.parse import unquote_to_bytes

from vidnb.http.charsets import decode_declared, decode_text

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
_PERCENT_ENCODED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*+")
_ESCAPED_BYTE: Final = re.compile(r"%[89A-Fa-f]")

# RFC 2047 section 2, with the language of RFC 2231 section 5.
_ENCODED_WORD: Final = re.compile(
    r"=\?(?P<charset>[^?*\s]+)(?:\*[^?\s]*)?\?(?P<encoding>[BbQq])\?(?P<text>[^?]*)\?="
)


def parse_content_disposition(value: str) -> str | None:
    """Return the proposed file name, decoded, or None without one.

    `value` is UTF-8 whose invalid bytes are surrogates, as aiohttp decodes it. `filename*` has
    precedence over `filename` (RFC 6266 section 4.3) unless its value is malformed. A duplicate
    parameter makes the whole field invalid (section 4.1). A field without a disposition type is
    parsed from its first parameter, as Chromium does.
    """
    # First, because the second byte of a character may be a backslash (Shift-JIS, GBK).
    value = decode_text(value.encode("utf-8", "surrogateescape")) if _has_bytes(value) else value
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
    extended = found.get("filename*", "")
    name = _decode_extended(extended) or _decode_plain(found.get("filename", ""))
    return name or _decode_malformed(extended) or None


def _has_bytes(value: str) -> bool:
    """Whether `value` has invalid UTF-8, and nothing else that is not text."""
    surrogates = {char for char in value if "\ud800" <= char <= "\udfff"}
    return bool(surrogates) and all("\udc80" <= char <= "\udcff" for char in surrogates)


def _decode_extended(value: str) -> str:
    """Decode `charset'language'text` (RFC 8187 section 3.2); "" if malformed."""
    charset, _, rest = value.partition("'")
    _language, _, text = rest.partition("'")
    if _EXTENDED_TEXT.fullmatch(text) is None:
        return ""
    return decode_declared(unquote_to_bytes(text), charset) or ""


def _decode_malformed(value: str) -> str:
    """Decode an extended value with a wrong charset, or without one."""
    charset, _, text = value.rpartition("''")
    return decode_text(_unquoted(text), charset)


def _decode_plain(value: str) -> str:
    """Decode encoded words, or percent-encoded bytes if that gives UTF-8 or several characters."""
    if _ENCODED_WORD.search(value):
        return _decode_words(value)
    if "%" not in value or _PERCENT_ENCODED.fullmatch(value) is None:
        return value
    octets = _unquoted(value)
    text = decode_declared(octets, "utf-8")
    if text is None and len(_ESCAPED_BYTE.findall(value)) > 1:
        text = decode_text(octets)
    return value if text is None else text


def _decode_words(value: str) -> str:
    """Decode the encoded words in `value`; one that is malformed stays as sent.

    White space between two words is removed (RFC 2047 section 6.2), and a character may be split
    between two words of one charset, as older mail libraries do.
    """
    parts: list[tuple[str, bytes]] = []
    end = 0
    for word in _ENCODED_WORD.finditer(value):
        try:
            octets = _decode_word(word["encoding"], word["text"])
        except (Base64Error, ValueError):
            continue
        between, charset, end = value[end : word.start()], word["charset"].lower(), word.end()
        if not (parts and not between.strip()):
            parts.append(("utf-8", between.encode("utf-8", "surrogateescape")))
        if parts[-1][0] == charset:
            octets = parts.pop()[1] + octets
        parts.append((charset, octets))
    text = "".join(decode_text(octets, charset) for charset, octets in parts)
    return text + value[end:]


def _decode_word(encoding: str, text: str) -> bytes:
    if encoding in "Bb":
        return a2b_base64(text + "==")
    return a2b_qp(text, header=True)


def _unquoted(text: str) -> bytes:
    """Replace percent-encoded bytes; other characters are encoded as UTF-8."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
