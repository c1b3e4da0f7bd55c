"""The head of a response as bytes: tolerate what is harmless, refuse what is about framing.

Servers send header lines that RFC 9112 does not allow. A line that says how long the body is, or
which part or coding of the file it is, must be understood exactly; any other is repaired or ignored
(as browsers do). No message quotes what the origin sent.
"""

import re

__all__ = [
    "ABOUT_FRAMING",
    "MAX_HEAD_BYTES",
    "MAX_HEAD_LINES",
    "MalformedHeadError",
    "head_length",
    "normalise_head",
]

MAX_HEAD_BYTES = 2**18
"""Signed CDN responses and report-only policies have heads of up to 64 KiB."""
MAX_HEAD_LINES = 1000

ABOUT_FRAMING = "has a malformed header line about the length, the range or the coding of its body"

_FRAMING = ("contentlength", "transferencoding", "contentrange", "contentencoding")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2
_STATUS_LINE = re.compile(rb"HTTP/(\d(?:\.\d)?)[ \t]+([1-9]\d\d)(?:[ \t].*)?", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r{0,2}\n")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_SPACE = b" \t"


class MalformedHeadError(ValueError):
    """The head of a response cannot be understood; the text is the reason, without its bytes."""


def head_length(data: bytes | bytearray, start: int = 0) -> int | None:
    """Return the length (B) of the head at the beginning of `data`, None where its end is missing.

    `start`: before this position (B) there was no end when less data was there. Raises
    `MalformedHeadError` as soon as no head can follow.
    """
    empty_lines = _LINE_ENDS.match(data)  # RFC 9112 section 2.2
    lead = empty_lines.end() if empty_lines else 0
    begin = bytes(data[lead : lead + 5])
    if not b"HTTP/".startswith(begin.upper()):
        raise MalformedHeadError(_what_begins_with(begin))
    end = _HEAD_END.search(data, max(lead, start - 4))
    length = end.end() if end else len(data)
    if length > MAX_HEAD_BYTES:
        raise MalformedHeadError(f"has a head of more than {MAX_HEAD_BYTES // 1024} KiB")
    return length if end else None


def normalise_head(head: bytes) -> tuple[int, bytes]:
    """Return the status, and the head as RFC 9112 defines it.

    Line ends become CRLF (some servers send CR CR LF), folded lines are joined by a space, white
    space before a colon is removed (RFC 9112 sections 2.2, 5.1, 5.2), the reason phrase is left
    out, and a line whose name is no token is ignored. Raises `MalformedHeadError` where such a line
    is about framing, for a null character or a bare carriage return, and for more than
    `MAX_HEAD_LINES` lines.
    """
    first, *lines = [line.rstrip(b"\r") for line in head.strip(b"\r\n").split(b"\n")]
    status_line = _STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise MalformedHeadError("has a malformed status line")
    if len(lines) > MAX_HEAD_LINES:
        raise MalformedHeadError(f"has more than {MAX_HEAD_LINES} header lines")
    version, status = status_line.groups()
    fields: list[bytes] = []
    is_ignored = True  # the line before; a folded line belongs to it
    for line in lines:
        if b"\0" in line or b"\r" in line:
            raise MalformedHeadError("has a null character or a bare carriage return in its head")
        if line[:1] in {b" ", b"\t"} and not is_ignored:
            fields[-1] += b" " + line.strip(_SPACE)
            continue
        written, colon, value = line.partition(b":")
        name = written.rstrip(_SPACE)
        is_ignored = not colon or _NAME.fullmatch(name) is None
        if (is_ignored or name != written) and _is_framing(line):
            raise MalformedHeadError(ABOUT_FRAMING)
        if not is_ignored:
            fields.append(name + b": " + value.strip(_SPACE))
    major = version if b"." in version else version + b".0"
    return int(status), b"\r\n".join([b"HTTP/" + major + b" " + status + b" ", *fields, b"", b""])


def _is_framing(line: bytes) -> bool:
    """Whether a malformed line may be meant as one about framing."""
    letters = "".join(char for char in line.decode("latin-1").lower() if "a" <= char <= "z")
    return letters.startswith(_FRAMING)


def _what_begins_with(data: bytes) -> str:
    """Return what a response is that does not begin with `HTTP/`."""
    if data.upper().startswith(b"ICY"):
        return "is a radio stream (ICY), not HTTP"
    if data[:2] in {b"\x15\x03", b"\x16\x03"}:  # an alert or a handshake, RFC 8446 section 5.1
        return "is TLS, not HTTP; write the URL with https://"
    return "is not HTTP"
