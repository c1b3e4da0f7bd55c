"""A safe file name for what a URL answers.

The name comes from strangers: a header, an address. Whatever they say, the result is one path
component that any of the usual file systems takes, that hides nothing (no leading dot, no
direction marks) and that tells the player what it is (its extension).
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from vidnb.http.headers import parse_content_disposition
from vidnb.http.media_types import extension_of

__all__ = ["MAX_NAME_BYTES", "file_name"]

MAX_NAME_BYTES = 200
"""The longest name (UTF-8, B): 255 is what file systems take; a part file adds to the name."""

_FALLBACK = "video"
_LONGEST_READ = 1024  # characters; no name needs more, and NFC is quadratic in runs of marks

# Controls, format and direction marks, surrogates, line and paragraph separators.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))

_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}\Z")
_DEVICE = re.compile(  # Windows' devices, with any extension, however spelt
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)",
    re.IGNORECASE,
)
_PAGE_EXTENSIONS = frozenset(
    {".action", ".ashx", ".asp", ".aspx", ".cfm", ".cgi", ".do", ".htm", ".html", ".jsp"}
    | {".php", ".php3", ".php4", ".php5", ".phtml", ".pl", ".py", ".shtml", ".xhtml"}
)


def file_name(content_disposition: str | None, url: str, media_type: str | None) -> str:
    """Return the base name to store an answer under; always safe, never empty.

    The first usable of: the Content-Disposition's file name (RFC 6266), the last non-empty segment
    of the URL's path, percent-decoded once, and `video`. An extension is added, or takes the place
    of a script's (`watch.php`), where `media_type` is one vidnb knows. At most `MAX_NAME_BYTES`.
    """
    name = ""
    if content_disposition is not None:
        name = _safe(parse_content_disposition(content_disposition) or "")
    name = name or _safe(_last_segment(url)) or _FALLBACK
    return _undeviced(_shortened(*_with_extension(name, media_type)))


def _last_segment(url: str) -> str:
    """Return the last segment of the path that is not empty, decoded; empty where there is none."""
    before = url.partition("#")[0].partition("?")[0]
    _, scheme_end, rest = before.partition("://")
    path = rest.partition("/")[2] if scheme_end else before
    octets = unquote_to_bytes(path.rstrip("/").rpartition("/")[2].encode("utf-8", "replace"))
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")  # older servers; any bytes are latin-1


def _safe(raw: str) -> str:
    """Return the last component of `raw`, cleaned; empty where nothing of it can be kept."""
    name = raw.replace("\\", "/").rpartition("/")[2]
    if len(name) > _LONGEST_READ:
        name = name[: _LONGEST_READ // 2] + name[-_LONGEST_READ // 2 :]
    kept = (char for char in name if unicodedata.category(char) not in _DROPPED)
    spaced = "".join(" " if char.isspace() else char for char in kept)
    return unicodedata.normalize("NFC", spaced).translate(_FORBIDDEN).strip(". ")


def _with_extension(name: str, media_type: str | None) -> tuple[str, str]:
    """Return the stem and the extension the name shall have (with its dot; maybe empty)."""
    found = _EXTENSION.search(name)
    stem, extension = (name[: found.start()], found[0]) if found else (name, "")
    fitting = extension_of(media_type) if media_type is not None else None
    if fitting is not None and (not extension or extension.lower() in _PAGE_EXTENSIONS):
        extension = fitting
    return stem, extension


def _shortened(stem: str, extension: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return stem and extension as one name, the stem cut between characters where too long."""
    room = max_bytes - len(extension)
    return (stem.encode()[:room].decode("utf-8", "ignore") + extension).rstrip(". ")


def _undeviced(name: str) -> str:
    """Return the name, with `_` before it where Windows would take it for a device."""
    if not _DEVICE.match(name):
        return name
    return "_" + _shortened(*_with_extension(name, None), MAX_NAME_BYTES - 1)
