"""Detection of the file format, of a text in place of a video, and of a truncated MP4.

`sniff` uses the first bytes instead of the Content-Type, as browsers do
(https://mimesniff.spec.whatwg.org/). `BoxScanner` reads the top-level boxes of an MP4 or QuickTime
file (ISO/IEC 14496-12 section 4.2): a truncated one opens with its full duration in a player and
fails at the first seek.
"""

import codecs
import re
from dataclasses import dataclass
from html import unescape
from json import loads
from typing import Final, Literal

from vidnb.http.ranges import ByteRange

__all__ = ["SNIFF_BYTES", "BoxScanner", "Layout", "SniffResult", "declared_size_bytes", "sniff"]

SNIFF_BYTES: Final = 4096
"""The length of a file's beginning that `sniff` uses (B)."""

_MAX_TITLE = 200  # characters
_MAX_BOXES = 100_000  # a day of fragments; limits a hostile file of empty boxes
_HEADER_BYTES: Final = 8
_LARGE_HEADER_BYTES: Final = 16
_TS_PACKET_BYTES: Final = 188
_MIN_TS_BYTES: Final = 389  # three sync bytes in any spacing

_MP4_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat"})
_FIRST_BOXES = _MP4_BOXES | {b"free", b"skip", b"wide", b"sidx", b"pnot", b"pdin", b"emsg", b"prft"}
_KNOWN_BOXES = _FIRST_BOXES | {b"uuid", b"meta", b"udta", b"mfra", b"ssix"}
_IMAGE_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})

_MAGIC = (
    (b"OggS", "ogg"),  # RFC 3533
    (b"FLV\x01", "flv"),
    (b"YUV4MPEG2 ", "yuv4mpeg"),  # a line of text, and then pictures that may look like text
    (b"\x00\x00\x01\xba", "mpeg-ps"),  # ISO/IEC 13818-1 pack header
    (b"\x00\x00\x01\xb3", "mpeg-es"),  # ISO/IEC 13818-2 sequence header
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),
)
_EBML = b"\x1a\x45\xdf\xa3"  # RFC 8794
_SEGMENT = b"\x18\x53\x80\x67"  # RFC 9559
_DOCTYPE = re.compile(
    rb"\x42\x82[\x81-\xa0]([ -~]*)"
)  # with a size of one byte, as all files have it

# The "binary data bytes" of the WHATWG's MIME Sniffing standard; no text contains them.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_PROLOG = re.compile(r"\s*+(?:<!--.*?-->|<\?.*?\?>|<!doctype[^>]*+>)", re.DOTALL | re.IGNORECASE)
_ROOT = re.compile(r"\s*+<(?:[\w.-]+:)?([A-Za-z][\w.-]*+)(?=[\s/>])")
_HTML = re.compile(
    "html|head|body|title|script|meta|link|style|base|noscript|h1|h2|h3|p|a|b|br|pre|font|center"
    "|div|span|table|form|iframe|section|main"
)
_Verdict = Literal["video", "page", "reference", "unknown"]
_XML: dict[str, tuple[str, _Verdict]] = {
    "mpd": ("dash", "reference"),  # ISO/IEC 23009-1
    "smoothstreamingmedia": ("smooth-streaming", "reference"),  # MS-SSTR
    "asx": ("playlist", "reference"),  # Windows Media
    "smil": ("playlist", "reference"),  # W3C SMIL, Windows' WPL
    "playlist": ("playlist", "reference"),  # XSPF
    "metalink": ("metalink", "reference"),  # RFC 5854
    "svg": ("svg", "unknown"),
    "tt": ("ttml", "unknown"),
    "sami": ("sami", "unknown"),
}
# The manifest of Adobe's HTTP Dynamic Streaming has a root that others use, too.
_F4M = re.compile(r"\s*+<manifest\s[^>]*?http://ns\.adobe\.com/f4m/", re.IGNORECASE)
_REFERENCES = (
    (re.compile(r"#EXTM3U\s[^\x00]*?#EXT-X-"), "hls"),  # RFC 8216 section 4.3.1.1
    (re.compile(r"#EXT-X-"), "hls"),
    (re.compile(r"#EXTM3U(?=\s|\Z)|#EXTINF:"), "m3u"),
    (re.compile(r"\[playlist\]|\[reference\]\s+ref1=", re.IGNORECASE), "playlist"),  # PLS, ASX
    (re.compile(r"(?:RTSPtext|SMILtext)"), "playlist"),  # QuickTime
    (re.compile(r"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/"), "git-lfs"),
    (re.compile(r"(?:\.git|/)?/?annex/objects/[A-Z0-9]+E?-"), "git-annex"),
)
"""Files that only say where the video is, by their first characters after white space."""
_TORRENT = re.compile(
    rb"d(?:8:announce|13:announce-list|4:info|7:comment|8:encoding|10:created by|13:creation date"
    rb"|5:nodes|8:url-list|9:httpseeds)[dil0-9]"
)  # BEP 3
_TITLE = re.compile(
    r"<(?:\w+:)?(?:title|message)(?:\s[^<>]*+)?>(.*?)(?:</|\Z)", re.DOTALL | re.IGNORECASE
)
_JSON = re.compile(r'\s*+(?:\{\s*+(?:"(?:[^"\\]|\\.)*+"\s*+:|\})|\[\s*+[\[{"\]])')
_JSON_KEYS = ("message", "error_description", "detail", "title", "reason", "error")
_SUBTITLES = re.compile(r"\s*+(WEBVTT(?=\s|\Z)|[0-9]++\s++[0-9:]++,[0-9]{3} -->)")
_MIN_TEXT = 8  # characters; less is not recognisable


@dataclass(frozen=True, slots=True)
class SniffResult:
    """The format of a file by its first bytes.

    `kind` names the format (`mp4`, `webm`, `html`, …, `unknown`). The verdict `page` means text in
    place of a video; `title` is then its title, its JSON message or its first line, at most 200
    characters. `reference`: a file that only says where a video is: a playlist, a manifest, a
    torrent, the pointer of a large-file store. Images, subtitles, archives, documents and
    unrecognised bytes are `unknown`: they are what was asked for.
    """

    kind: str
    verdict: _Verdict
    title: str | None = None


_UNKNOWN = SniffResult("unknown", "unknown")


def sniff(head: bytes) -> SniffResult:
    """Detect the format by the first bytes (at most `SNIFF_BYTES` are used); never raises."""
    head = head[:SNIFF_BYTES]
    kind = _magic(head)
    if kind is not None:
        return SniffResult(kind, "video")
    if _TORRENT.match(head):
        return SniffResult("torrent", "reference")
    text, is_text = _decoded(head)
    if not is_text:
        # Text can contain the letters of a box type ("the free lunch"), so this is for bytes only.
        if head[8:12] in _IMAGE_BRANDS and head[4:8] == b"ftyp":
            return SniffResult("heif", "unknown")
        kind = _boxes(head) or _transport_stream(head)
        if kind is not None:
            return SniffResult(kind, "video")
    lead = text.lstrip()
    for mark, kind in _REFERENCES:
        if mark.match(lead):
            return SniffResult(kind, "reference")
    return _markup(text) or _json(text) or (_plain(text) if is_text else _UNKNOWN)


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


def declared_size_bytes(head: bytes) -> int | None:
    """Return the size (B) that the first bytes of a Matroska, WebM, AVI or WAV file declare.

    It is that of the first segment or RIFF chunk, so a complete file may be larger, never smaller.
    None if the file does not say: a live recording does not know its size.
    """
    if head.startswith(b"RIFF") and len(head) >= 8:
        size_bytes = int.from_bytes(head[4:8], "little")
        return 8 + size_bytes if 0 < size_bytes < 2**32 - 1 else None
    if not head.startswith(_EBML):
        return None
    header = _vint(head, len(_EBML))
    if header is None:
        return None
    at = sum(header)
    segment = _vint(head, at + len(_SEGMENT)) if head[at : at + len(_SEGMENT)] == _SEGMENT else None
    return sum(segment) if segment else None


def _vint(head: bytes, at: int) -> tuple[int, int] | None:
    """Return the offset after an EBML size (RFC 8794 section 4) and its value, None if unknown."""
    length = 9 - head[at].bit_length() if at < len(head) else 0
    data = head[at : at + length]
    if not 1 <= length <= 8 or len(data) != length:
        return None
    value = int.from_bytes(data) & (1 << 7 * length) - 1
    return (at + length, value) if value != (1 << 7 * length) - 1 else None


def _boxes(head: bytes) -> str | None:
    """Recognise a box of ISO/IEC 14496-12 or QuickTime by its type and a plausible size."""
    size = int.from_bytes(head[:4])
    if head[4:8] not in _FIRST_BOXES or 1 < size < _HEADER_BYTES:
        return None
    return "quicktime" if head[4:12] == b"ftypqt  " else "mp4"


def _transport_stream(head: bytes) -> str | None:
    """Recognise packets of ISO/IEC 13818-1 by their sync bytes, in Blu-ray's spacing too."""
    if len(head) < _MIN_TS_BYTES:
        return None
    for start, step in ((0, _TS_PACKET_BYTES), (4, _TS_PACKET_BYTES + 4)):
        if set(head[start::step]) == {0x47}:
            return "mpeg-ts"
    return None


def _decoded(head: bytes) -> tuple[str, bool]:
    """Return the head as text ("" if binary), and whether it is valid UTF-8 or UTF-16.

    Old pages do not declare their encoding, so other bytes are decoded as latin-1. That decodes
    anything, so only markup is recognised in it.
    """
    utf_16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if utf_16 else "utf-8-sig")()
    try:
        text, is_text = decoder.decode(head), True  # not final: the head may end in a character
    except UnicodeDecodeError:
        text, is_text = head.decode("latin-1"), False
    return ("", False) if _BINARY.search(text) else (text, is_text)


def _markup(text: str) -> SniffResult | None:
    """Recognise HTML and XML by the tag after comments, processing instructions and doctype."""
    at = 0
    while prolog := _PROLOG.match(text, at):
        at = prolog.end()
    found = _ROOT.match(text, at)
    root = found[1].lower() if found else ""
    if root in _XML:
        return SniffResult(*_XML[root])
    if _F4M.match(text, at):
        return SniffResult("f4m", "reference")
    lead = text.lstrip()[:14].lower()
    if _HTML.fullmatch(root) or lead.startswith(("<!--", "<!doctype html")):
        kind = "html"
    elif lead.startswith("<?xml") or root == "error":  # the latter is of S3, without declaration
        kind = "xml"
    else:
        return None
    title = _TITLE.search(text, at)
    return SniffResult(kind, "page", _one_line(unescape(title[1])) if title else None)


def _json(text: str) -> SniffResult | None:
    """Recognise a JSON object or array (RFC 8259), possibly truncated, and its message."""
    if not _JSON.match(text):
        return None
    for key in _JSON_KEYS:
        found = re.search(rf'"{key}"\s*+:\s*+"((?:[^"\\]|\\.)*+)', text)
        if found:
            try:
                message = str(loads(f'"{found[1]}"', strict=False))
            except ValueError:  # an invalid escape
                message = found[1]
            return SniffResult("json", "page", _one_line(message))
    return SniffResult("json", "page")


def _plain(text: str) -> SniffResult:
    """Distinguish a message ("404 page not found") from subtitles and from other text."""
    subtitles = _SUBTITLES.match(text)
    if subtitles:
        return SniffResult("webvtt" if subtitles[1] == "WEBVTT" else "srt", "unknown")
    stripped = text.strip()
    words = stripped.split(maxsplit=1)
    if len(stripped) < _MIN_TEXT or len(words) == 1 or not any(map(str.isalpha, stripped)):
        return _UNKNOWN
    return SniffResult("text", "page", _one_line(stripped.splitlines()[0]))


def _one_line(text: str) -> str | None:
    """Return text on one line, printable, at most `_MAX_TITLE` characters; None if empty."""
    line = " ".join("".join(c for c in text if c.isspace() or c.isprintable()).split())
    if len(line) > _MAX_TITLE:
        line = line[: _MAX_TITLE - 1].rstrip() + "…"
    return line or None


@dataclass(frozen=True, slots=True)
class Layout:
    """The structure of an MP4 or QuickTime file by its top-level boxes.

    `moov_first`: whether the index precedes the media (a player can start at once), None if neither
    was found. `fragmented`: the file has `moof` boxes. `truncated_box`: the box that is truncated
    or missing; `missing_bytes`: how many bytes it lacks (B), 0 if the box is missing.
    """

    moov_first: bool | None
    fragmented: bool
    truncated: bool
    truncated_box: str | None
    missing_bytes: int
    is_mp4: bool

    @property
    def missing_part(self) -> str:
        """The clause of an error message that describes what a truncated file lacks."""
        if self.missing_bytes:
            return f"{self.truncated_box} runs {self.missing_bytes} bytes past the end"
        return f"{self.truncated_box} is missing"


class BoxScanner:
    """A scan of the top-level boxes of a file of `size_bytes`, without I/O.

    Read the bytes of `next_range()` and pass them to `feed()` until `next_range()` is None; then
    `layout()` is final. Each step reads at most 16 bytes; there are at most 100,000 steps. Other
    data after a complete video does not make it truncated.
    """

    __slots__ = (
        "_ended",
        "_fragmented",
        "_is_mp4",
        "_meta",
        "_moov",
        "_moov_first",
        "_needs_mdat",
        "_offset",
        "_size_bytes",
        "_steps",
        "_truncated",
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
        self._needs_mdat = True
        self._truncated: tuple[str, int] | None = None

    @property
    def offset(self) -> int:
        """The byte up to which boxes were found; beyond the end of a truncated file."""
        return self._offset

    def next_range(self) -> ByteRange | None:
        """Return the byte range to feed next, or None at the end of the scan."""
        if self._ended or self._offset >= self._size_bytes:
            return None
        return ByteRange(self._offset, min(self._offset + _LARGE_HEADER_BYTES, self._size_bytes))

    def feed(self, data: bytes) -> None:
        """Process the bytes of `next_range()`; `ValueError` for another number of bytes."""
        wanted = self.next_range()
        if wanted is None:
            raise ValueError("the scan has ended")
        if len(data) != wanted.size_bytes:
            raise ValueError(f"the bytes {wanted} are needed, not {len(data)} bytes")
        kind, size = data[4:8], _box_size(data, self._size_bytes - self._offset)
        is_known = kind in (_KNOWN_BOXES if self._steps else _FIRST_BOXES)
        stop = self._offset + size
        # A type that is not known may be one of a vendor, unless it is part of zeroed bytes.
        is_other = self._steps and stop <= self._size_bytes and any(data[:4])
        if not size or not (is_known or is_other):
            self._ended = True
            return
        self._record(kind)
        if stop > self._size_bytes:
            self._truncated = (kind.decode(), stop - self._size_bytes)
        self._offset = stop
        self._steps += 1
        self._ended = self._steps >= _MAX_BOXES

    def _record(self, kind: bytes) -> None:
        self._is_mp4 = self._is_mp4 or kind in _MP4_BOXES
        if kind == b"moov":
            self._moov = True
        elif kind == b"meta":
            self._meta = True
        elif kind == b"moof":
            self._fragmented = self._needs_mdat = True
        elif kind == b"mdat":
            self._needs_mdat = False
        if self._moov_first is None and kind in {b"moov", b"moof", b"mdat"}:
            self._moov_first = kind == b"moov"

    def layout(self) -> Layout:
        """Return the structure so far; a missing box is reported at the end of the scan only."""
        truncated = self._truncated
        is_complete = self.next_range() is None and self._steps < _MAX_BOXES
        if truncated is None and self._is_mp4 and is_complete:
            if self._moov or self._fragmented:
                truncated = ("mdat", 0) if self._needs_mdat else None
            elif not self._meta:  # an image (ISO/IEC 23008-12) has a `meta` in place of the index
                truncated = ("moov", 0)
        return Layout(
            moov_first=self._moov_first,
            fragmented=self._fragmented,
            truncated=truncated is not None,
            truncated_box=truncated[0] if truncated else None,
            missing_bytes=truncated[1] if truncated else 0,
            is_mp4=self._is_mp4,
        )


def _box_size(data: bytes, remaining_bytes: int) -> int:
    """Return a box's size (B) by its header, 0 if the header is invalid (section 4.2.2)."""
    size = int.from_bytes(data[:4])
    if 1 < size < _HEADER_BYTES:
        return 0
    if size == 0:
        return remaining_bytes  # to the end of the file
    if size > 1:
        return size
    if len(data) < _LARGE_HEADER_BYTES:
        return _LARGE_HEADER_BYTES  # the header is truncated
    large = int.from_bytes(data[8:16])
    return large if large >= _LARGE_HEADER_BYTES else 0
