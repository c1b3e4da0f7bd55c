r"""Conversion of subtitles to WebVTT, the only format of a browser's `<track>`.

WebVTT is https://www.w3.org/TR/webvtt1/. SubRip (.srt) has no standard; the parser accepts what
real files have: a byte-order mark, any line ends, missing or duplicate numbers, missing blank
lines, a full stop for the comma, one-digit hours, coordinates after the times, `<font>` and
`{\an8}`. It takes linear time.
"""

import re
from typing import Literal

__all__ = ["decode_subtitles", "is_subtitle_text", "language_tag", "to_webvtt"]

_CLOCK = r"(?:([0-9]{1,4}):)?([0-9]{1,3}):([0-9]{1,3})(?:[,.]([0-9]{1,9}))?"
_TIMES = re.compile(rf"[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}(?![0-9:,.])")
# No match can start inside another, so a hostile run of `<` or `{` takes linear time.
_MARKUP = re.compile(r"(</?[A-Za-z][^<>\n]*>|\{\\[^{}\n]*\})")
_STYLE_TAG = re.compile(r"</?[biu]>", re.IGNORECASE)
_TOP = re.compile(r"\{\\an[789]\}")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|nbsp|lrm|rlm);)")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def decode_subtitles(data: bytes) -> str:
    """Decode the bytes of a subtitle file; never raises.

    WebVTT must be UTF-8. Older .srt files are UTF-16 with a byte-order mark or Windows-1252, which
    is tried last because it decodes anything (a few undefined bytes become U+FFFD).
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def is_subtitle_text(value: str) -> bool:
    """Return whether `value` is subtitle text (WebVTT or SRT), not the path of a file."""
    return _kind(_lines(value)) is not None


def language_tag(name: str) -> str | None:
    """Return `name` if it has the form of a language tag (`en`, `pt-BR`), else None.

    The form is that of RFC 5646 section 2.1, restricted to a lower-case first part of two or three
    letters; the registry of languages is not consulted.
    """
    return name if _LANGUAGE.fullmatch(name) else None


def to_webvtt(text: str) -> str:
    """Convert WebVTT or SRT text to WebVTT with line feeds.

    WebVTT is not changed. Of SRT, times, text, bold, italic, underline and the position at the top
    are kept; `ValueError` if it has no cue.
    """
    lines = _lines(text)
    match _kind(lines):
        case "webvtt":
            return "\n".join(lines) + "\n"
        case "srt":
            return "WEBVTT\n" + "".join(_cues(lines))
        case _:
            raise ValueError(
                "no subtitles were found in this text: it neither begins with WEBVTT nor has "
                "a line such as 00:00:01,000 --> 00:00:02,500"
            )


def _lines(text: str) -> list[str]:
    # WebVTT section 4.1 has these three line ends only; str.splitlines() would also split at
    # U+2028 or a form feed inside a sentence. NUL becomes U+FFFD by the same section.
    unified = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return unified.replace("\0", "\ufffd").rstrip("\n").split("\n")


def _kind(lines: list[str]) -> Literal["webvtt", "srt"] | None:
    # WebVTT section 4.1: the signature, then the end or white space.
    if lines[0] == "WEBVTT" or lines[0].startswith(("WEBVTT ", "WEBVTT\t")):
        return "webvtt"
    return "srt" if any(_TIMES.match(line) for line in lines) else None


def _cues(lines: list[str]) -> list[str]:
    """Return the cues of an SRT file as WebVTT blocks; a cue without text is omitted."""
    starts = [(at, times) for at, line in enumerate(lines) if (times := _TIMES.match(line))]
    ends = [at for at, _ in starts[1:]] + [len(lines)]
    cues = []
    for (at, times), end in zip(starts, ends, strict=True):
        # A line of digits directly before the next times is the number of that cue, not text.
        has_number = end < len(lines) and end > at + 1 and _is_number(lines[end - 1])
        # A blank line would end the WebVTT cue, so it is removed.
        text = [line for line in lines[at + 1 : end - has_number] if line.strip()]
        body = "\n".join(filter(None, map(_cue_text, text)))
        if body:
            start, stop = _timestamp(times.groups()[:4]), _timestamp(times.groups()[4:])
            settings = " line:0" if any(_TOP.search(line) for line in text) else ""
            cues.append(f"\n{start} --> {stop}{settings}\n{body}\n")
    return cues


def _is_number(line: str) -> bool:
    stripped = line.strip()
    return stripped.isascii() and stripped.isdigit()


def _timestamp(parts: tuple[str | None, ...]) -> str:
    """Format hours, minutes, seconds and fraction as a WebVTT timestamp (section 4.1)."""
    hours, minutes, seconds, fraction = parts
    total_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    millis = ((fraction or "") + "000")[:3]
    return f"{total_s // 3600:02}:{total_s // 60 % 60:02}:{total_s % 60:02}.{millis}"


def _cue_text(line: str) -> str:
    """Return one line of text with the markup that WebVTT has too, everything else escaped."""
    # re.split with one group returns the markup at the odd indices.
    parts = _MARKUP.split(line.strip())
    for index, part in enumerate(parts):
        if index % 2 == 0:
            escaped = _BARE_AMPERSAND.sub("&amp;", part)
            parts[index] = escaped.replace("<", "&lt;").replace(">", "&gt;")
        else:
            parts[index] = part.lower() if _STYLE_TAG.fullmatch(part) else ""
    return "".join(parts).strip()
