"""Derives a safe file name from a response.

Header and URL are untrusted. The result is always one path component that is valid on all common
file systems, without a leading dot or direction marks, and with the extension of its media type or,
where that is unknown, of its first bytes.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from vidnb.http.charsets import decode_text
from vidnb.http.headers import parse_content_disposition
from vidnb.http.media_types import extension_of

__all__ = ["MAX_NAME_BYTES", "clean_name", "file_name", "numbered"]

MAX_NAME_BYTES = 200
"""The longest name (UTF-8, B): file systems allow 255, and a part file's name is longer."""

_FALLBACK = "video"
_MAX_INPUT_CHARS = 1024  # NFC takes quadratic time in runs of combining marks

# Controls, format and direction marks, surrogates, line and paragraph separators. Two of the format
# characters may stay: words of Persian and of Indic scripts, and emoji, may need a joiner.
_NON_JOINER, _JOINER = _JOINERS = "\u200c\u200d"
_VIRAMA = 9  # the combining class of the signs that remove a consonant's vowel
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))

# Parameters of the path's last segment (RFC 3986 section 3.3): session identifiers, versions.
_PARAMETERS = re.compile(r"(?:;[A-Za-z_][\w.~-]*=[^;]*)+;?\Z")

_KINDS = {
    "asf": ".asf",
    "avi": ".avi",
    "dash": ".mpd",
    "flv": ".flv",
    "hls": ".m3u8",
    "m3u": ".m3u8",
    "matroska": ".mkv",
    "mp4": ".mp4",
    "mpeg-es": ".mpg",
    "mpeg-ps": ".mpg",
    "mpeg-ts": ".ts",
    "ogg": ".ogv",
    "quicktime": ".mov",
    "srt": ".srt",
    "webm": ".webm",
    "webvtt": ".vtt",
}
"""Extensions by the kinds of `media.sniff`."""

_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}\Z")
_DEVICE = re.compile(  # device names of Windows, with any extension
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)",
    re.IGNORECASE,
)
_PAGE_EXTENSIONS = frozenset(
    {".action", ".ashx", ".asp", ".aspx", ".cfm", ".cgi", ".do", ".htm", ".html", ".jsp"}
    | {".php", ".php3", ".php4", ".php5", ".phtml", ".pl", ".py", ".shtml", ".xhtml"}
)


def file_name(
    content_disposition: str | None, url: str, media_type: str | None, kind: str = "unknown"
) -> str:
    """Return the base name to store a response under; always safe, never empty.

    The first usable of: the Content-Disposition's file name (RFC 6266), the last non-empty segment
    of the URL's path, percent-decoded once, and `video`. The extension of a known `media_type`, or
    else of the bytes' `kind` (`media.sniff`), is added, or replaces a script's (`watch.php`). At
    most `MAX_NAME_BYTES`.
    """
    name = ""
    if content_disposition is not None:
        name = _sanitize(parse_content_disposition(content_disposition) or "")
    name = name or _sanitize(_last_segment(url)) or _FALLBACK
    extension = (extension_of(media_type) if media_type else None) or _KINDS.get(kind)
    return _avoid_device_name(_truncate(*_split_extension(name, extension)))


def clean_name(wanted: str) -> str:
    """Return one component of a path that a caller wants as a safe name; empty if nothing is left.

    The same rules as for `file_name`; the extension is the caller's.
    """
    name = _sanitize(wanted)
    return _avoid_device_name(_truncate(*_split_extension(name, None))) if name else ""


def numbered(name: str, number: int) -> str:
    """Return the name for another file of this name: `film (1).mp4`; with 0 the name itself."""
    if not number:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem} ({number}).{suffix}" if stem and dot else f"{name} ({number})"


def _last_segment(url: str) -> str:
    """Return the last segment of the path that is a name, decoded; empty if there is none."""
    before = url.partition("#")[0].partition("?")[0]
    _, scheme_end, rest = before.partition("://")
    path = rest.partition("/")[2] if scheme_end else before
    segments = (_PARAMETERS.sub("", segment) for segment in reversed(path.split("/")))
    name = next(filter(None, segments), "")
    return decode_text(unquote_to_bytes(name.encode("utf-8", "replace")))


def _sanitize(raw: str) -> str:
    """Return the last component of `raw` without unsafe characters; may be empty."""
    name = raw.replace("\\", "/").rpartition("/")[2]
    if len(name) > _MAX_INPUT_CHARS:
        name = name[: _MAX_INPUT_CHARS // 2] + name[-_MAX_INPUT_CHARS // 2 :]
    allowed = (
        char for char in name if unicodedata.category(char) not in _DROPPED or char in _JOINERS
    )
    spaced = "".join(" " if char.isspace() else char for char in allowed)
    composed = unicodedata.normalize("NFC", _drop_joiners(spaced))
    return composed.translate(_FORBIDDEN).strip(". ")


def _drop_joiners(text: str) -> str:
    """Remove the joiners that have no effect on what stands beside them.

    Invisible, they would make two different names look the same. They stay beside a virama of an
    Indic script, between Arabic letters (RFC 5892 appendix A; "می‌خواهم"), and between emoji.
    """
    kept: list[str] = []
    for at, char in enumerate(text):
        if char not in _JOINERS or _joins(kept, text[at + 1 : at + 2], char):
            kept.append(char)
    return "".join(kept)


def _joins(before: list[str], after: str, joiner: str) -> bool:
    # A mark, such as a vowel or the emoji style, belongs to the letter before it.
    base = next((char for char in reversed(before) if unicodedata.category(char) != "Mn"), "")
    if not base or not after:
        return False
    if _VIRAMA in {unicodedata.combining(before[-1]), unicodedata.combining(after)}:
        return after not in _JOINERS
    if unicodedata.bidirectional(base) == unicodedata.bidirectional(after) == "AL":
        return True
    is_emoji = unicodedata.category(base) in {"So", "Sk"} and unicodedata.category(after) == "So"
    return joiner == _JOINER and is_emoji


def _split_extension(name: str, wanted: str | None) -> tuple[str, str]:
    """Return the stem and the extension, `wanted` if the name has none (with its dot)."""
    found = _EXTENSION.search(name)
    stem, extension = (name[: found.start()], found[0]) if found else (name, "")
    if wanted is not None and (not extension or extension.lower() in _PAGE_EXTENSIONS):
        extension = wanted
    return stem, extension


def _truncate(stem: str, extension: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return stem and extension as one name; a stem that is too long is cut between characters."""
    stem_bytes = max_bytes - len(extension)
    whole = stem.encode()[:stem_bytes].decode("utf-8", "ignore")
    return (whole.rstrip(_NON_JOINER + _JOINER) + extension).rstrip(". ")


def _avoid_device_name(name: str) -> str:
    """Return the name, prefixed with `_` if it is a device name of Windows."""
    if not _DEVICE.match(name):
        return name
    return "_" + _truncate(*_split_extension(name, None), MAX_NAME_BYTES - 1)
