"""The outline of a WebM: EBML (RFC 8794) with elements of Matroska (RFC 9559)."""

from collections.abc import Iterator
from struct import unpack_from
from typing import Final

from vidnb.http.ranges import ByteRange
from vidnb.media.codec_names import av1
from vidnb.media.outline import MOST_HEAD_BYTES, Outline, Reading, bytes_at, length_of, put_in_order

__all__ = ["read"]

_MOST_ELEMENTS: Final = 64  # before the first cluster
_HEADER_BYTES: Final = 12  # the longest: four of the name, eight of the length

_EBML, _DOCTYPE, _SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
_SEEK_HEAD, _INFO, _TRACKS, _CUES = 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B
_CLUSTER = 0x1F43B675
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _NUMBER, _TYPE, _CODEC, _PRIVATE, _ENCODINGS = 0xAE, 0xD7, 0x83, 0x86, 0x63A2, 0x6D80
_CUE, _CUE_TIME, _CUE_PLACES, _CUE_TRACK, _CUE_CLUSTER = 0xBB, 0xB3, 0xB7, 0xF7, 0xF1
# Void, a checksum, tags, chapters, attachments: a browser passes over them as well.
_OTHERS = frozenset({0xEC, 0xBF, 0x1254C367, 0x1043A770, 0x1941A469})
_KEPT = frozenset({_SEEK_HEAD, _INFO, _TRACKS, _CUES})
_VIDEO, _SOUND = 1, 2
_NAMES = {
    (_VIDEO, b"V_VP8"): "vp8",
    (_VIDEO, b"V_VP9"): "vp9",
    (_SOUND, b"A_OPUS"): "opus",
    (_SOUND, b"A_VORBIS"): "vorbis",
}

_Element = tuple[int, int, int]  # its name, where its content begins, and where that ends


def read(size_bytes: int) -> Reading[Outline | None]:
    """Find out a WebM's outline as `streamable.outline` does; raises where that says None."""
    _, start, stop = yield from _element_at(0, size_bytes)
    head = yield from bytes_at(start, stop - start, size_bytes)
    name, base, _ = yield from _element_at(stop, size_bytes)
    if _only(head, _DOCTYPE) != b"webm" or name != _SEGMENT:
        return None
    at = base
    kept: dict[int, bytes] = {}
    for _ in range(_MOST_ELEMENTS):
        name, start, stop = yield from _element_at(at, size_bytes)
        if name == _CLUSTER:
            break
        if name in _KEPT - kept.keys():
            kept[name] = yield from bytes_at(start, stop - start, size_bytes)
        elif name not in _OTHERS:
            return None
        at = stop
    else:
        return None
    tracks = _tracks(kept.get(_TRACKS, b""))
    if not tracks or at > MOST_HEAD_BYTES:
        return None
    first, codecs = tracks
    info = kept.get(_INFO, b"")
    scale_s = _whole(_only(info, _SCALE) or b"\x0f\x42\x40") / 1e9
    length = _only(info, _DURATION)
    cues = kept.get(_CUES)
    where = _place_of_cues(kept.get(_SEEK_HEAD, b""))
    if cues is None and where is not None and base + where < size_bytes:
        name, start, stop = yield from _element_at(base + where, size_bytes)
        if name == _CUES:
            cues = yield from bytes_at(start, stop - start, size_bytes)
    return Outline(
        mime=codecs,
        init_bytes=at,
        duration_s=length_of(None if length is None else _real(length) * scale_s),
        index=put_in_order(_index(cues or b"", first, scale_s, base), ByteRange(at, size_bytes)),
    )


def _element_at(at: int, size_bytes: int) -> Reading[_Element]:
    head = yield from bytes_at(at, min(_HEADER_BYTES, max(size_bytes - at, 0)), size_bytes)
    name, start, length = _header(head, 0)
    if length is None:  # not known when it was written: only what is not read whole may be so
        length = MOST_HEAD_BYTES + 1
    return name, at + start, at + start + length


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Return an element's name, where its content begins and how long that is (RFC 8794, 4)."""
    width = 9 - data[at].bit_length()
    if width > 4:
        raise ValueError("no name of an element")
    name = _whole(data[at : at + width])
    at += width
    width = 9 - data[at].bit_length()
    if width > 8 or at + width > len(data):
        raise ValueError("no length of an element")
    most = (1 << 7 * width) - 1
    length = _whole(data[at : at + width]) & most
    return name, at + width, None if length == most else length


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        name, start, length = _header(data, at)
        if length is None or start + length > len(data):
            raise ValueError("an element that does not fit")
        yield name, data[start : start + length]
        at = start + length


def _only(data: bytes, wanted: int) -> bytes | None:
    return next((body for name, body in _elements(data) if name == wanted), None)


def _whole(data: bytes) -> int:
    if len(data) > 8:
        raise ValueError("a number that is none")
    return int.from_bytes(data)


def _real(data: bytes) -> float:
    return float(unpack_from(">f" if len(data) == 4 else ">d", data)[0])


def _tracks(data: bytes) -> tuple[int, str] | None:
    """Return the first track's number and the type of all; None where one is not understood."""
    found: dict[int, tuple[int, str]] = {}
    for name, track in _elements(data):
        if name in _OTHERS:
            continue
        fields = dict(_elements(track))
        kind, codec = _whole(fields.get(_TYPE, b"")), fields.get(_CODEC, b"").rstrip(b"\0")
        if (kind, codec) == (_VIDEO, b"V_AV1"):
            called = av1("av01", fields.get(_PRIVATE, b""))
        else:
            called = _NAMES.get((kind, codec), "")
        if name != _TRACK or _ENCODINGS in fields or not called or kind in found:
            return None
        found[kind] = _whole(fields.get(_NUMBER, b"")), called
    if not found:
        return None
    kinds = sorted(found)
    codecs = ",".join(found[kind][1] for kind in kinds)
    media = "video" if kinds[0] == _VIDEO else "audio"
    return found[kinds[0]][0], f'{media}/webm; codecs="{codecs}"'


def _place_of_cues(seek_head: bytes) -> int | None:
    for name, seek in _elements(seek_head):
        if name == _SEEK and _whole(_only(seek, _SEEK_ID) or b"") == _CUES:
            return _whole(_only(seek, _SEEK_POSITION) or b"")
    return None


def _index(cues: bytes, track: int, scale_s: float, base: int) -> list[tuple[float, int]]:
    index = []
    for name, cue in _elements(cues):
        if name != _CUE:
            continue
        time_s = _whole(_only(cue, _CUE_TIME) or b"") * scale_s
        for kind, place in _elements(cue):
            if kind == _CUE_PLACES and _whole(_only(place, _CUE_TRACK) or b"") == track:
                index.append((time_s, base + _whole(_only(place, _CUE_CLUSTER) or b"")))
    return index
