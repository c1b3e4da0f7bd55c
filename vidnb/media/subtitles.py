r"""Subtitles as a browser reads them: SRT becomes WebVTT, WebVTT stays as it is.

A browser's `<track>` takes only WebVTT (https://www.w3.org/TR/webvtt1/). SubRip (.srt) has no
standard, so what is accepted here is what such files hold in the wild: a byte-order mark, any line
ends, missing or repeated numbers, missing blank lines, a full stop for the comma, one-digit hours,
coordinates behind the times, `<font>` and `{\an8}`. Every step is linear in the text.
"""

import re
from typing import Literal

__all__ = ["decode_subtitles", "is_subtitle_text", "language_tag", "to_webvtt"]

_CLOCK = r"(?:([0-9]{1,4}):)?([0-9]{1,3}):([0-9]{1,3})(?:[,.]([0-9]{1,9}))?"
_TIMES = re.compile(rf"[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}(?![0-9:,.])")
# No part can begin inside another, so a hostile run of `<` or `{` is read once, not squared.
_MARKUP = re.compile(r"(</?[A-Za-z][^<>\n]*>|\{\\[^{}\n]*\})")
_STYLE_TAG = re.compile(r"</?[biu]>", re.IGNORECASE)
_TOP = re.compile(r"\{\\an[789]\}")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|nbsp|lrm|rlm);)")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def decode_subtitles(data: bytes) -> str:
    """Return the text of a subtitle file given as bytes; never fails.

    WebVTT must be UTF-8. Older .srt files are UTF-16 with a byte-order mark or Windows-1252, which
    is tried last because it reads anything (the few bytes it leaves out become U+FFFD).
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def is_subtitle_text(value: str) -> bool:
    """Tell whether `value` is subtitles itself (WebVTT or SRT) and not the path of a file."""
    return _kind(_lines(value)) is not None


def language_tag(name: str) -> str | None:
    """Return `name` where it can stand as a language tag (`en`, `pt-BR`), else None.

    The form is that of RFC 5646 section 2.1, narrowed to a lower-case first part of two or three
    letters; whether such a language exists is not asked.
    """
    return name if _LANGUAGE.fullmatch(name) else None


def to_webvtt(text: str) -> str:
    """Return `text`, which is WebVTT or SRT, as WebVTT with line feeds as its line ends.

    WebVTT is handed through. Of SRT, times and text are kept, and of its markup bold, italic,
    underline and "at the top"; `ValueError` where not one cue can be found.
    """
    lines = _lines(text)
    match _kind(lines):
        case "webvtt":
            return "\n".join(lines) + "\n"
        case "srt":
            return "WEBVTT\n" + "".join(_cues(lines))
        case _:
            raise ValueError(
                "no subtitles were found in this text: it neither begins with WEBVTT nor holds "
                "a line such as 00:00:01,000 --> 00:00:02,500"
            )


def _lines(text: str) -> list[str]:
    # WebVTT section 4.1 knows these three line ends only; str.splitlines() would also cut at
    # U+2028 or a form feed inside a sentence. NUL becomes U+FFFD by the same section.
    unified = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return unified.replace("\0", "\ufffd").rstrip("\n").split("\n")


def _kind(lines: list[str]) -> Literal["webvtt", "srt"] | None:
    # WebVTT section 4.1: the word, then nothing or white space.
    if lines[0] == "WEBVTT" or lines[0].startswith(("WEBVTT ", "WEBVTT\t")):
        return "webvtt"
    return "srt" if any(_TIMES.match(line) for line in lines) else None


def _cues(lines: list[str]) -> list[str]:
    """Return the cues of an SRT file as WebVTT blocks; a cue without text is left out."""
    starts = [(at, times) for at, line in enumerate(lines) if (times := _TIMES.match(line))]
    ends = [at for at, _ in starts[1:]] + [len(lines)]
    cues = []
    for (at, times), end in zip(starts, ends, strict=True):
        # A line of digits right above the next times is that cue's number, not this one's text.
        numbered = end < len(lines) and end > at + 1 and _is_number(lines[end - 1])
        # A blank line would end a WebVTT cue, so inside a text it goes.
        text = [line for line in lines[at + 1 : end - numbered] if line.strip()]
        words = "\n".join(filter(None, map(_cue_text, text)))
        if words:
            first, last = _clock(times.groups()[:4]), _clock(times.groups()[4:])
            place = " line:0" if any(_TOP.search(line) for line in text) else ""
            cues.append(f"\n{first} --> {last}{place}\n{words}\n")
    return cues


def _is_number(line: str) -> bool:
    stripped = line.strip()
    return stripped.isascii() and stripped.isdigit()


def _clock(parts: tuple[str | None, ...]) -> str:
    """Return hours, minutes, seconds and fraction as WebVTT writes them (section 4.1)."""
    hours, minutes, seconds, fraction = parts
    total_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    millis = ((fraction or "") + "000")[:3]
    return f"{total_s // 3600:02}:{total_s // 60 % 60:02}:{total_s % 60:02}.{millis}"


def _cue_text(line: str) -> str:
    """Return one line of text with only the markup that WebVTT shares, all else escaped."""
    # re.split with one group puts the markup at the odd places.
    parts = _MARKUP.split(line.strip())
    for index, part in enumerate(parts):
        if index % 2 == 0:
            escaped = _BARE_AMPERSAND.sub("&amp;", part)
            parts[index] = escaped.replace("<", "&lt;").replace(">", "&gt;")
        else:
            parts[index] = part.lower() if _STYLE_TAG.fullmatch(part) else ""
    return "".join(parts).strip()
