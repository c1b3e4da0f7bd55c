"""The outline of a fragmented MP4 (ISO/IEC 14496-12 section 8.8; other sections as named below)."""

from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from vidnb.http.ranges import ByteRange
from vidnb.media.codec_names import MP4_SOUND, MP4_VIDEO, boxes, child
from vidnb.media.outline import Outline, Reading, bytes_at, length_of, put_in_order

__all__ = ["read"]

_MOST_BOXES: Final = 64  # before the first fragment
_MOST_INDEXES: Final = 8  # one for each track
_BETWEEN = frozenset(
    {b"ftyp", b"styp", b"free", b"skip", b"ssix", b"emsg", b"prft", b"uuid", b"pdin", b"meta"}
)

_Index = list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class _Track:
    number: int
    is_video: bool
    timescale: int
    codec: str


def read(size_bytes: int) -> Reading[Outline | None]:
    """Find out an MP4's outline as `streamable.outline` does; raises where that says None."""
    at = 0
    moov, init_bytes = b"", 0
    indexes: list[tuple[bytes, int]] = []
    for _ in range(_MOST_BOXES):
        size, kind, header = yield from _box(at, size_bytes)
        if kind == b"moov":
            moov = yield from bytes_at(at + header, size - header, size_bytes)
            init_bytes = at + size
        elif kind == b"sidx" and len(indexes) < _MOST_INDEXES:
            body = yield from bytes_at(at + header, size - header, size_bytes)
            indexes.append((body, at + size))
        elif kind == b"moof":
            break
        elif kind not in _BETWEEN:
            return None
        at += size
    else:
        return None
    mvex = child(moov, b"mvex")
    tracks = _tracks(moov)
    if mvex is None or not tracks:
        return None
    duration_s = _told_duration_s(moov, mvex)
    index, length_s = _segments(indexes, tracks[0])
    if len(index) < 2 or length_s is None:  # none, or one before each fragment
        index, length_s = yield from _at_the_tail(size_bytes, tracks[0], mvex)
    media = "video" if tracks[0].is_video else "audio"
    return Outline(
        mime=f'{media}/mp4; codecs="{",".join(track.codec for track in tracks)}"',
        init_bytes=init_bytes,
        duration_s=length_of(duration_s or length_s),
        index=put_in_order(index, ByteRange(init_bytes, size_bytes)),
    )


def _box(at: int, size_bytes: int) -> Reading[tuple[int, bytes, int]]:
    """Return size, kind and the header's length of the box at `at` (4.2.2)."""
    size, kind = unpack_from(">I4s", (yield from bytes_at(at, 8, size_bytes)))
    if size == 1:
        (size,) = unpack_from(">Q", (yield from bytes_at(at + 8, 8, size_bytes)))
        header = 16
    else:
        header = 8
    if size < header:
        raise ValueError("a box without a size")
    return size, kind, header


def _tracks(moov: bytes) -> list[_Track]:
    """Return one track of pictures and one of sound, or one of them; none where there are others.

    A browser begins a track where its first edit says (8.6.6); of others it knows nothing.
    """
    tracks = [_track(trak) for kind, trak in boxes(moov) if kind == b"trak"]
    tracks.sort(key=lambda track: not track.is_video)
    return tracks if len({track.is_video for track in tracks}) == len(tracks) else []


def _track(trak: bytes) -> _Track:
    header, mdia = child(trak, b"tkhd"), child(trak, b"mdia")
    media = child(mdia or b"", b"mdhd")
    handler = child(mdia or b"", b"hdlr")
    entries = child(mdia or b"", b"minf", b"stbl", b"stsd")
    edits = child(trak, b"edts", b"elst")
    if header is None or media is None or handler is None or entries is None:
        raise ValueError("a track without a description")
    if edits is not None and not _is_plain(edits):
        raise ValueError("a track in parts")
    (number,) = unpack_from(">I", header, 20 if header[0] else 12)
    (timescale,) = unpack_from(">I", media, 20 if media[0] else 12)
    is_video = handler[8:12] == b"vide"
    if not is_video and handler[8:12] != b"soun":
        raise ValueError("a track of another kind")
    ((name, entry),) = boxes(entries[8:])
    box, named = (MP4_VIDEO if is_video else MP4_SOUND).get(name, (b"", None))
    if not is_video and entry[8:10] != b"\0\0":
        raise ValueError("a description as QuickTime writes it")
    config = child(entry[78 if is_video else 28 :], box)
    if named is None or config is None:
        raise ValueError("a codec that is not known here")
    return _Track(number, is_video, timescale, named(name.decode(), config))


def _is_plain(edits: bytes) -> bool:
    """Tell whether the list has one edit at most, and that one begins in the media (8.6.6)."""
    (count,) = unpack_from(">I", edits, 4)
    if count == 0:
        return True
    (media_time,) = unpack_from(">q", edits, 16) if edits[0] else unpack_from(">i", edits, 12)
    return bool(count == 1 and media_time >= 0)


def _told_duration_s(moov: bytes, mvex: bytes) -> float | None:
    """Return the length of the whole by `mehd` (8.8.2); that of `mvhd` leaves out the fragments."""
    film, extended = child(moov, b"mvhd"), child(mvex, b"mehd")
    if film is None or extended is None:
        return None
    (timescale,) = unpack_from(">I", film, 20 if film[0] else 12)
    (duration,) = unpack_from(">Q" if extended[0] else ">I", extended, 4)
    return float(duration / timescale)


def _segments(indexes: list[tuple[bytes, int]], track: _Track) -> tuple[_Index, float | None]:
    """Return what the `sidx` boxes say of a track (8.16.3), each with the offset behind it."""
    index: list[tuple[float, int, int]] = []
    end_s = None
    for body, anchor in indexes:
        number, timescale = unpack_from(">II", body, 4)
        if number != track.number:
            continue
        time, skipped = unpack_from(">QQ" if body[0] else ">II", body, 12)
        at = 28 if body[0] else 20
        (count,) = unpack_from(">H", body, at + 2)
        offset = anchor + skipped
        for place in range(count):
            size, duration, access = unpack_from(">III", body, at + 4 + 12 * place)
            if size >> 31:  # of another index
                return [], None
            index.append((time / timescale, offset, access >> 31))
            offset += size
            time += duration
        end_s = time / timescale
    # Reading begins where a picture stands by itself; who marks none, says nothing of it.
    marked = any(access for _, _, access in index)
    return [place[:2] for place in index if place[2] or not marked], end_s


def _at_the_tail(
    size_bytes: int, track: _Track, mvex: bytes
) -> Reading[tuple[_Index, float | None]]:
    """Return what the `mfra` at the end says of a track (8.8.9), and when its last piece ends."""
    tail = yield from bytes_at(size_bytes - 16, 16, size_bytes)
    size, kind, _, whole = unpack_from(">I4sII", tail)
    if (size, kind) != (16, b"mfro") or whole > size_bytes:
        return [], None
    found = yield from bytes_at(size_bytes - whole, whole, size_bytes)
    index: _Index = []
    for kind, body in boxes(child(found, b"mfra") or b""):
        if kind != b"tfra" or unpack_from(">I", body, 4)[0] != track.number:
            continue
        lengths, count = unpack_from(">II", body, 8)
        entry = (16 if body[0] else 8) + 3 + (lengths >> 4 & 3) + (lengths >> 2 & 3) + (lengths & 3)
        for place in range(count):
            time, offset = unpack_from(">QQ" if body[0] else ">II", body, 16 + entry * place)
            index.append((time / track.timescale, offset))
    if not index:
        return [], None
    at = max(offset for _, offset in index)
    size, kind, header = yield from _box(at, size_bytes)
    if kind != b"moof":
        return [], None
    moof = yield from bytes_at(at + header, size - header, size_bytes)
    return index, _end_s(moof, track, mvex)


def _end_s(moof: bytes, track: _Track, mvex: bytes) -> float | None:
    """Return the time at which a fragment's samples of this track end (8.8.7, 8.8.8, 8.8.12)."""
    usual = {
        unpack_from(">I", body, 4)[0]: unpack_from(">I", body, 12)[0]
        for kind, body in boxes(mvex)
        if kind == b"trex"
    }
    for kind, traf in boxes(moof):
        if kind != b"traf":
            continue
        header, began = child(traf, b"tfhd") or b"", child(traf, b"tfdt")
        if began is None or unpack_from(">I", header, 4)[0] != track.number:
            continue
        (flags,) = unpack_from(">I", header)
        duration = usual.get(track.number, 0)
        if flags & 0x8:
            before = 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
            (duration,) = unpack_from(">I", header, before)
        (end,) = unpack_from(">Q" if began[0] else ">I", began, 4)
        for name, run in boxes(traf):
            if name == b"trun":
                end += _run_duration(run, duration)
        return float(end / track.timescale)
    return None


def _run_duration(run: bytes, usual: int) -> int:
    flags, count = unpack_from(">II", run)
    if not flags & 0x100:
        return int(count) * usual
    at = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * (flags >> 8 & 0xF).bit_count()
    return sum(unpack_from(">I", run, at + step * sample)[0] for sample in range(count))
