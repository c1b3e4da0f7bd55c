"""Derives a safe file name from a response.

Header and URL are untrusted. The result is always one path component that is valid on all common
file systems, without a leading dot or direction marks, and with the extension of its media type.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from vidnb.http.headers import parse_content_disposition
from vidnb.http.media_types import extension_of

__all__ = ["MAX_NAME_BYTES", "file_name"]

MAX_NAME_BYTES = 200
"""The longest name (UTF-8, B): file systems allow 255, and a part file's name is longer."""

_FALLBACK = "video"
_MAX_INPUT_CHARS = 1024  # NFC takes quadratic time in runs of combining marks

# Controls, format and direction marks, surrogates, line and paragraph separators.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))

_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}\Z")
_DEVICE = re.compile(  # device names of Windows, with any extension
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)",
    re.IGNORECASE,
)
_PAGE_EXTENSIONS = frozenset(
    {".action", ".ashx", ".asp", ".aspx", ".cfm", ".cgi", ".do", ".htm", ".html", ".jsp"}
    | {".php", ".php3", ".php4", ".php5", ".phtml", ".pl", ".py", ".shtml", ".xhtml"}
)


def file_name(content_disposition: str | None, url: str, media_type: str | None) -> str:
    """Return the base name to store a response under; always safe, never empty.

    The first usable of: the Content-Disposition's file name (RFC 6266), the last non-empty segment
    of the URL's path, percent-decoded once, and `video`. The extension of a known `media_type` is
    added, or replaces a script's (`watch.php`). At most `MAX_NAME_BYTES`.
    """
    name = ""
    if content_disposition is not None:
        name = _sanitize(parse_content_disposition(content_disposition) or "")
    name = name or _sanitize(_last_segment(url)) or _FALLBACK
    return _avoid_device_name(_truncate(*_split_extension(name, media_type)))


def _last_segment(url: str) -> str:
    """Return the last non-empty segment of the path, decoded; empty if there is none."""
    before = url.partition("#")[0].partition("?")[0]
    _, scheme_end, rest = before.partition("://")
    path = rest.partition("/")[2] if scheme_end else before
    octets = unquote_to_bytes(path.rstrip("/").rpartition("/")[2].encode("utf-8", "replace"))
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")  # older servers; latin-1 decodes any bytes


def _sanitize(raw: str) -> str:
    """Return the last component of `raw` without unsafe characters; may be empty."""
    name = raw.replace("\\", "/").rpartition("/")[2]
    if len(name) > _MAX_INPUT_CHARS:
        name = name[: _MAX_INPUT_CHARS // 2] + name[-_MAX_INPUT_CHARS // 2 :]
    allowed = (char for char in name if unicodedata.category(char) not in _DROPPED)
    spaced = "".join(" " if char.isspace() else char for char in allowed)
    return unicodedata.normalize("NFC", spaced).translate(_FORBIDDEN).strip(". ")


def _split_extension(name: str, media_type: str | None) -> tuple[str, str]:
    """Return the stem and the extension for `media_type` (with its dot; may be empty)."""
    found = _EXTENSION.search(name)
    stem, extension = (name[: found.start()], found[0]) if found else (name, "")
    wanted = extension_of(media_type) if media_type is not None else None
    if wanted is not None and (not extension or extension.lower() in _PAGE_EXTENSIONS):
        extension = wanted
    return stem, extension


def _truncate(stem: str, extension: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return stem and extension as one name; a stem that is too long is cut between characters."""
    stem_bytes = max_bytes - len(extension)
    return (stem.encode()[:stem_bytes].decode("utf-8", "ignore") + extension).rstrip(". ")


def _avoid_device_name(name: str) -> str:
    """Return the name, prefixed with `_` if it is a device name of Windows."""
    if not _DEVICE.match(name):
        return name
    return "_" + _truncate(*_split_extension(name, None), MAX_NAME_BYTES - 1)
