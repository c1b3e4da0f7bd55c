"""Reader of the index of a WebM: EBML (RFC 8794) with elements of Matroska (RFC 9559)."""

from collections.abc import Generator, Iterator
from struct import unpack_from
from typing import Final

from vidnb.http.ranges import ByteRange
from vidnb.media.codec_names import av1

__all__ = ["read"]

_MAX_ELEMENTS: Final = 64  # before the first cluster
_MAX_HEADER_BYTES: Final = 12  # four of the ID, eight of the size
_UNKNOWN_SIZE: Final = 1 << 60  # (B) more than is ever read

_EBML, _DOCTYPE, _SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
_SEEK_HEAD, _INFO, _TRACKS, _CUES = 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B
_CLUSTER = 0x1F43B675
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _NUMBER, _TYPE, _CODEC, _PRIVATE, _ENCODINGS = 0xAE, 0xD7, 0x83, 0x86, 0x63A2, 0x6D80
_CUE, _CUE_TIME, _CUE_POSITIONS, _CUE_TRACK, _CUE_CLUSTER = 0xBB, 0xB3, 0xB7, 0xF7, 0xF1
# Void, CRC-32, Tags, Chapters, Attachments, which a browser skips too.
_SKIPPED = frozenset({0xEC, 0xBF, 0x1254C367, 0x1043A770, 0x1941A469})
_HEAD = frozenset({_SEEK_HEAD, _INFO, _TRACKS, _CUES})
_VIDEO, _AUDIO = 1, 2
_CODEC_NAMES = {
    (_VIDEO, b"V_VP8"): "vp8",
    (_VIDEO, b"V_VP9"): "vp9",
    (_AUDIO, b"A_OPUS"): "opus",
    (_AUDIO, b"A_VORBIS"): "vorbis",
}

_Element = tuple[int, int, int]  # ID, start and end of the content (B)
_Entries = list[tuple[float, int]]


def read(
    size_bytes: int,
) -> Generator[ByteRange, bytes, tuple[str, int, float | None, _Entries] | None]:
    """Read type, length of the initialization segment (B), duration (s) and index entries.

    Raises, or returns None, if the file is not understood; see `index.read_index`.
    """
    _, start, stop = yield from _element_at(0, size_bytes)
    header = yield ByteRange(start, stop)
    name, base, _ = yield from _element_at(stop, size_bytes)
    if _first(header, _DOCTYPE) != b"webm" or name != _SEGMENT:
        return None
    at = base
    head: dict[int, bytes] = {}
    for _ in range(_MAX_ELEMENTS):
        name, start, stop = yield from _element_at(at, size_bytes)
        if name == _CLUSTER:
            break
        if name in _HEAD - head.keys():
            head[name] = yield ByteRange(start, stop)
        elif name not in _SKIPPED:
            return None
        at = stop
    else:
        return None
    tracks = _tracks(head.get(_TRACKS, b""))
    if not tracks:
        return None
    first, mime = tracks
    info = head.get(_INFO, b"")
    scale_s = _unsigned(_first(info, _SCALE) or b"\x0f\x42\x40") / 1e9
    length = _first(info, _DURATION)
    cues = head.get(_CUES)
    position = _cues_position(head.get(_SEEK_HEAD, b""))
    if cues is None and position is not None and base + position < size_bytes:
        name, start, stop = yield from _element_at(base + position, size_bytes)
        if name == _CUES:
            cues = yield ByteRange(start, stop)
    duration_s = None if length is None else _float(length) * scale_s
    return mime, at, duration_s, _entries(cues or b"", first, scale_s, base)


def _element_at(at: int, size_bytes: int) -> Generator[ByteRange, bytes, _Element]:
    data = yield ByteRange(at, max(at, min(at + _MAX_HEADER_BYTES, size_bytes)))
    name, start, length = _header(data, 0)
    return name, at + start, at + start + (_UNKNOWN_SIZE if length is None else length)


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Return an element's ID, and start and length of its content (RFC 8794 section 4)."""
    width = 9 - data[at].bit_length()
    if width > 4:
        raise ValueError("an invalid element ID")
    name = _unsigned(data[at : at + width])
    at += width
    width = 9 - data[at].bit_length()
    if width > 8 or at + width > len(data):
        raise ValueError("an invalid element size")
    unknown = (1 << 7 * width) - 1
    length = _unsigned(data[at : at + width]) & unknown
    return name, at + width, None if length == unknown else length


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        name, start, length = _header(data, at)
        if length is None or start + length > len(data):
            raise ValueError("a truncated element")
        yield name, data[start : start + length]
        at = start + length


def _first(data: bytes, wanted: int) -> bytes | None:
    return next((body for name, body in _elements(data) if name == wanted), None)


def _unsigned(data: bytes) -> int:
    if len(data) > 8:
        raise ValueError("an integer of more than 8 bytes")
    return int.from_bytes(data)


def _float(data: bytes) -> float:
    return float(unpack_from(">f" if len(data) == 4 else ">d", data)[0])


def _tracks(data: bytes) -> tuple[int, str] | None:
    """Return the first track's number and the type of all; None if one is not understood."""
    found: dict[int, tuple[int, str]] = {}
    for name, track in _elements(data):
        if name in _SKIPPED:
            continue
        fields = dict(_elements(track))
        kind, codec = _unsigned(fields.get(_TYPE, b"")), fields.get(_CODEC, b"").rstrip(b"\0")
        if (kind, codec) == (_VIDEO, b"V_AV1"):
            codec_name = av1("av01", fields.get(_PRIVATE, b""))
        else:
            codec_name = _CODEC_NAMES.get((kind, codec), "")
        if name != _TRACK or _ENCODINGS in fields or not codec_name or kind in found:
            return None
        found[kind] = _unsigned(fields.get(_NUMBER, b"")), codec_name
    if not found:
        return None
    kinds = sorted(found)
    codecs = ",".join(found[kind][1] for kind in kinds)
    media = "video" if kinds[0] == _VIDEO else "audio"
    return found[kinds[0]][0], f'{media}/webm; codecs="{codecs}"'


def _cues_position(seek_head: bytes) -> int | None:
    for name, seek in _elements(seek_head):
        if name == _SEEK and _unsigned(_first(seek, _SEEK_ID) or b"") == _CUES:
            return _unsigned(_first(seek, _SEEK_POSITION) or b"")
    return None


def _entries(cues: bytes, track: int, scale_s: float, base: int) -> _Entries:
    entries = []
    for name, cue in _elements(cues):
        if name != _CUE:
            continue
        time_s = _unsigned(_first(cue, _CUE_TIME) or b"") * scale_s
        for kind, position in _elements(cue):
            if kind == _CUE_POSITIONS and _unsigned(_first(position, _CUE_TRACK) or b"") == track:
                entries.append((time_s, base + _unsigned(_first(position, _CUE_CLUSTER) or b"")))
    return entries
