"""What the bytes themselves say: a video, a page in its place, a file cut short.

`sniff` judges by the first bytes, as browsers do (https://mimesniff.spec.whatwg.org/): a media
type in a header is a claim, a magic number is a fact. `BoxScanner` walks the top-level boxes of an MP4
or QuickTime file (ISO/IEC 14496-12 section 4.2) to see what players discover too late: such a file,
cut short, opens with its full duration and fails at the first seek.
"""

import codecs
import re
from dataclasses import dataclass
from html import unescape
from json import loads
from typing import Final, Literal

from vidnb.http.ranges import ByteRange

__all__ = ["SNIFF_BYTES", "BoxScanner", "Layout", "SniffResult", "sniff"]

SNIFF_BYTES: Final = 4096
"""How much of a file's beginning `sniff` looks at (B)."""

_MAX_TITLE = 200  # characters
_MAX_BOXES = 100_000  # a day of fragments; a hostile file of empty boxes ends here
_HEADER_BYTES: Final = 8
_LARGE_HEADER_BYTES: Final = 16
_TS_PACKET_BYTES: Final = 188
_TS_LEAST_BYTES: Final = 389  # three sync bytes, however spaced

_TELLING = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat"})
_STARTERS = _TELLING | {b"free", b"skip", b"wide", b"sidx", b"pnot", b"pdin", b"emsg", b"prft"}
_KNOWN = _STARTERS | {b"uuid", b"meta", b"udta", b"mfra", b"ssix"}
_IMAGE_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})

_MAGIC = (
    (b"OggS", "ogg"),  # RFC 3533
    (b"FLV\x01", "flv"),
    (b"\x00\x00\x01\xba", "mpeg-ps"),  # ISO/IEC 13818-1 pack header
    (b"\x00\x00\x01\xb3", "mpeg-es"),  # ISO/IEC 13818-2 sequence header
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),
)
_EBML = b"\x1a\x45\xdf\xa3"  # RFC 8794
_DOCTYPE = re.compile(rb"\x42\x82[\x81-\xa0]([ -~]*)")  # with a length of one byte, as all write it

# The "binary data bytes" of the WHATWG's MIME sniffing: no text of any encoding holds them.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_PROLOG = re.compile(r"\s*+(?:<!--.*?-->|<\?.*?\?>|<!doctype[^>]*+>)", re.DOTALL | re.IGNORECASE)
_ROOT = re.compile(r"\s*+<(?:[\w.-]+:)?([A-Za-z][\w.-]*+)(?=[\s/>])")
_HTML = re.compile(
    "html|head|body|title|script|meta|link|style|base|noscript|h1|h2|h3|p|a|b|br|pre|font|center"
    "|div|span|table|form|iframe|section|main"
)
_XML: dict[str, tuple[str, Literal["video", "unknown"]]] = {
    "mpd": ("dash", "video"),
    "svg": ("svg", "unknown"),
    "tt": ("ttml", "unknown"),
}
_TITLE = re.compile(
    r"<(?:\w+:)?(?:title|message)(?:\s[^<>]*+)?>(.*?)(?:</|\Z)", re.DOTALL | re.IGNORECASE
)
_JSON = re.compile(r'\s*+(?:\{\s*+(?:"(?:[^"\\]|\\.)*+"\s*+:|\})|\[\s*+[\[{"\]])')
_JSON_KEYS = ("message", "error_description", "detail", "title", "reason", "error")
_SUBTITLES = re.compile(r"\s*+(WEBVTT(?=\s|\Z)|[0-9]++\s++[0-9:]++,[0-9]{3} -->)")
_LEAST_TEXT = 8  # characters; fewer could be anything


@dataclass(frozen=True, slots=True)
class SniffResult:
    """What the first bytes are.

    `kind` names the format (`mp4`, `webm`, `html`, …, `unknown`). The verdict `page` means text
    where a video was asked for; `title` is then its title, its JSON message or its first line, at
    most 200 characters. Images, subtitles and bytes without a mark are `unknown`.
    """

    kind: str
    verdict: Literal["video", "page", "unknown"]
    title: str | None = None


_NOTHING = SniffResult("unknown", "unknown")


def sniff(head: bytes) -> SniffResult:
    """Judge a file by its first bytes (at most `SNIFF_BYTES` are looked at); never raises."""
    head = head[:SNIFF_BYTES]
    kind = _magic(head)
    if kind is not None:
        return SniffResult(kind, "video")
    text, certain = _decoded(head)
    if not certain:
        # Words can stand where a box type would, as in "the free lunch"; only bytes are boxes.
        if head[8:12] in _IMAGE_BRANDS and head[4:8] == b"ftyp":
            return SniffResult("heif", "unknown")
        kind = _boxes(head) or _transport_stream(head)
        if kind is not None:
            return SniffResult(kind, "video")
    if text.lstrip().startswith("#EXTM3U"):  # RFC 8216 4.3.1.1
        return SniffResult("hls", "video")
    return _markup(text) or _json(text) or (_plain(text) if certain else _NOTHING)


def _magic(head: bytes) -> str | None:
    for mark, kind in _MAGIC:
        if head.startswith(mark):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(_EBML):
        doctype = _DOCTYPE.search(head)
        if doctype is None:
            return "matroska"
        name = doctype[1][: doctype[0][2] & 0x7F]
        return name.decode() if name in {b"webm", b"matroska"} else None
    return None


def _boxes(head: bytes) -> str | None:
    """Recognise a box of ISO/IEC 14496-12 or QuickTime by its type and a size it can have."""
    size = int.from_bytes(head[:4])
    if head[4:8] not in _STARTERS or 1 < size < _HEADER_BYTES:
        return None
    return "quicktime" if head[4:12] == b"ftypqt  " else "mp4"


def _transport_stream(head: bytes) -> str | None:
    """Recognise ISO/IEC 13818-1 packets by their sync bytes, also as Blu-ray spaces them."""
    if len(head) < _TS_LEAST_BYTES:
        return None
    for start, step in ((0, _TS_PACKET_BYTES), (4, _TS_PACKET_BYTES + 4)):
        if set(head[start::step]) == {0x47}:
            return "mpeg-ts"
    return None


def _decoded(head: bytes) -> tuple[str, bool]:
    """Return the head as text, and whether it certainly is text; empty where it is not.

    Old pages are sent in encodings nobody names, so bytes that are no UTF-8 are read as latin-1.
    That makes text of anything: only markup may be believed then.
    """
    utf_16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if utf_16 else "utf-8-sig")()
    try:
        text, certain = decoder.decode(head), True  # not final: the head may cut a character
    except UnicodeDecodeError:
        text, certain = head.decode("latin-1"), False
    return ("", False) if _BINARY.search(text) else (text, certain)


def _markup(text: str) -> SniffResult | None:
    """Recognise HTML and XML by what stands behind comments, processing instructions, doctype."""
    at = 0
    while prolog := _PROLOG.match(text, at):
        at = prolog.end()
    found = _ROOT.match(text, at)
    root = found[1].lower() if found else ""
    if root in _XML:
        return SniffResult(*_XML[root])
    lead = text.lstrip()[:14].lower()
    if _HTML.fullmatch(root) or lead.startswith(("<!--", "<!doctype html")):
        kind = "html"
    elif lead.startswith("<?xml"):
        kind = "xml"
    else:
        return None
    title = _TITLE.search(text, at)
    return SniffResult(kind, "page", _folded(unescape(title[1])) if title else None)


def _json(text: str) -> SniffResult | None:
    """Recognise a JSON object or array (RFC 8259), whole or cut off, and its message."""
    if not _JSON.match(text):
        return None
    for key in _JSON_KEYS:
        found = re.search(rf'"{key}"\s*+:\s*+"((?:[^"\\]|\\.)*+)', text)
        if found:
            try:
                message = str(loads(f'"{found[1]}"', strict=False))
            except ValueError:  # an escape that is none
                message = found[1]
            return SniffResult("json", "page", _folded(message))
    return SniffResult("json", "page")


def _plain(text: str) -> SniffResult:
    """Tell words a server wrote ("404 page not found") from subtitles and from mere characters."""
    subtitles = _SUBTITLES.match(text)
    if subtitles:
        return SniffResult("webvtt" if subtitles[1] == "WEBVTT" else "srt", "unknown")
    stripped = text.strip()
    words = stripped.split(maxsplit=1)
    if len(stripped) < _LEAST_TEXT or len(words) == 1 or not any(map(str.isalpha, stripped)):
        return _NOTHING
    return SniffResult("text", "page", _folded(stripped.splitlines()[0]))


def _folded(text: str) -> str | None:
    """Return the text fit to stand in a sentence: one line, visible, not long; None if empty."""
    line = " ".join("".join(c for c in text if c.isspace() or c.isprintable()).split())
    if len(line) > _MAX_TITLE:
        line = line[: _MAX_TITLE - 1].rstrip() + "…"
    return line or None


@dataclass(frozen=True, slots=True)
class Layout:
    """How an MP4 or QuickTime file is built, as far as its top-level boxes tell.

    `moov_first`: True where the index precedes the media (a player can start at once), False where
    it does not, None where neither was met. `fragmented`: it holds `moof` boxes. `truncated`: the
    file is a part of itself; `truncated_box` is the box that is cut or missing and `missing_bytes`
    how much (B) is known to be missing, 0 where a box is missing altogether.
    """

    moov_first: bool | None
    fragmented: bool
    truncated: bool
    truncated_box: str | None
    missing_bytes: int
    is_mp4: bool

    @property
    def what_is_missing(self) -> str:
        """The clause that tells a person what a truncated file lacks."""
        if self.missing_bytes:
            return f"{self.truncated_box} runs {self.missing_bytes} bytes past the end"
        return f"{self.truncated_box} is missing"


class BoxScanner:
    """A walk over the top-level boxes of a file of `size_bytes`, without I/O.

    Read the bytes of `wants()` and hand them to `feed()` until `wants()` is None; then `layout()`
    is final. Each step reads at most 16 bytes and keeps none; there are at most 100,000 steps.
    Bytes behind a complete film that are no box are taken for what they mostly are, an appendage.
    """

    __slots__ = (
        "_cut",
        "_ended",
        "_fragmented",
        "_is_mp4",
        "_mdat_owed",
        "_meta",
        "_moov",
        "_moov_first",
        "_offset",
        "_size_bytes",
        "_steps",
    )

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._offset = 0
        self._steps = 0
        self._ended = False
        self._is_mp4 = False
        self._moov = False
        self._meta = False
        self._moov_first: bool | None = None
        self._fragmented = False
        self._mdat_owed = True
        self._cut: tuple[str, int] | None = None

    def wants(self) -> ByteRange | None:
        """Return the bytes to feed next, or None at the end of the walk."""
        if self._ended or self._offset >= self._size_bytes:
            return None
        return ByteRange(self._offset, min(self._offset + _LARGE_HEADER_BYTES, self._size_bytes))

    def feed(self, data: bytes) -> None:
        """Take the bytes of `wants()`; `ValueError` if they are not as many, or none are wanted."""
        wanted = self.wants()
        if wanted is None:
            raise ValueError("no box header is wanted any more")
        if len(data) != wanted.size_bytes:
            raise ValueError(f"a box header of {wanted} is wanted, not {len(data)} bytes")
        kind, size = data[4:8], _box_size(data, self._size_bytes - self._offset)
        known = kind in (_KNOWN if self._steps else _STARTERS)
        stop = self._offset + size
        if not size or (not known and (stop > self._size_bytes or not self._steps)):
            self._ended = True
            return
        self._note(kind)
        if stop > self._size_bytes:
            self._cut = (kind.decode(), stop - self._size_bytes)
        self._offset = stop
        self._steps += 1
        self._ended = self._steps >= _MAX_BOXES

    def _note(self, kind: bytes) -> None:
        self._is_mp4 = self._is_mp4 or kind in _TELLING
        if kind == b"moov":
            self._moov = True
        elif kind == b"meta":
            self._meta = True
        elif kind == b"moof":
            self._fragmented = self._mdat_owed = True
        elif kind == b"mdat":
            self._mdat_owed = False
        if self._moov_first is None and kind in {b"moov", b"moof", b"mdat"}:
            self._moov_first = kind == b"moov"

    def layout(self) -> Layout:
        """Return what is known; what is missing altogether is known only at the end of the walk."""
        cut = self._cut
        is_over = self.wants() is None and self._steps < _MAX_BOXES
        if cut is None and self._is_mp4 and is_over:
            if self._moov or self._fragmented:
                cut = ("mdat", 0) if self._mdat_owed else None
            elif not self._meta:  # an image (ISO/IEC 23008-12) has a `meta` in place of the index
                cut = ("moov", 0)
        return Layout(
            moov_first=self._moov_first,
            fragmented=self._fragmented,
            truncated=cut is not None,
            truncated_box=cut[0] if cut else None,
            missing_bytes=cut[1] if cut else 0,
            is_mp4=self._is_mp4,
        )


def _box_size(data: bytes, room: int) -> int:
    """Return a box's size (B) by its header, 0 where the header is none (4.2.2)."""
    size = int.from_bytes(data[:4])
    if 1 < size < _HEADER_BYTES:
        return 0
    if size == 0:
        return room  # to the end of the file
    if size > 1:
        return size
    if len(data) < _LARGE_HEADER_BYTES:
        return _LARGE_HEADER_BYTES  # the header itself is cut
    large = int.from_bytes(data[8:16])
    return large if large >= _LARGE_HEADER_BYTES else 0
