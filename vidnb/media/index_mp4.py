"""Reader of the index of a fragmented MP4; section numbers are those of ISO/IEC 14496-12."""

from collections.abc import Generator
from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from vidnb.http.ranges import ByteRange
from vidnb.media.codec_names import MP4_AUDIO, MP4_VIDEO, boxes, child

__all__ = ["read"]

_MAX_BOXES: Final = 64  # before the first fragment
_MAX_INDEXES: Final = 8  # one for each track
_IGNORED = frozenset(
    {b"ftyp", b"styp", b"free", b"skip", b"ssix", b"emsg", b"prft", b"uuid", b"pdin", b"meta"}
)

_Entries = list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class _Track:
    number: int
    is_video: bool
    timescale: int
    codec: str


def read(
    size_bytes: int,
) -> Generator[ByteRange, bytes, tuple[str, int, float | None, _Entries] | None]:
    """Read type, length of the initialization segment (B), duration (s) and index entries.

    Raises, or returns None, if the file is not understood; see `index.read_index`.
    """
    at = 0
    moov, init_bytes = b"", 0
    indexes: list[tuple[bytes, int]] = []
    for _ in range(_MAX_BOXES):
        size, kind, header = yield from _box(at)
        if kind == b"moov":
            moov = yield ByteRange(at + header, at + size)
            init_bytes = at + size
        elif kind == b"sidx" and len(indexes) < _MAX_INDEXES:
            body = yield ByteRange(at + header, at + size)
            indexes.append((body, at + size))
        elif kind == b"moof":
            break
        elif kind not in _IGNORED:
            return None
        at += size
    else:
        return None
    mvex = child(moov, b"mvex")
    tracks = _tracks(moov)
    if mvex is None or not tracks:
        return None
    entries, end_s = _segments(indexes, tracks[0])
    if len(entries) < 2 or end_s is None:  # no `sidx`, or one before each fragment
        entries, end_s = yield from _fragments(size_bytes, tracks[0], mvex)
    media = "video" if tracks[0].is_video else "audio"
    mime = f'{media}/mp4; codecs="{",".join(track.codec for track in tracks)}"'
    return mime, init_bytes, _duration_s(moov, mvex) or end_s, entries


def _box(at: int) -> Generator[ByteRange, bytes, tuple[int, bytes, int]]:
    """Return size, type and header length of the box at `at` (4.2.2)."""
    size, kind = unpack_from(">I4s", (yield ByteRange(at, at + 8)))
    if size == 1:
        (size,) = unpack_from(">Q", (yield ByteRange(at + 8, at + 16)))
        header = 16
    else:
        header = 8
    if size < header:
        raise ValueError("an invalid box size")
    return size, kind, header


def _tracks(moov: bytes) -> list[_Track]:
    """Return a video and an audio track, or one of them; none if there are others.

    A browser applies only the first edit of a track (8.6.6).
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
        raise ValueError("a track with several edits")
    (number,) = unpack_from(">I", header, 20 if header[0] else 12)
    (timescale,) = unpack_from(">I", media, 20 if media[0] else 12)
    is_video = handler[8:12] == b"vide"
    if not is_video and handler[8:12] != b"soun":
        raise ValueError("another handler type")
    ((name, entry),) = boxes(entries[8:])
    box, codec_name = (MP4_VIDEO if is_video else MP4_AUDIO).get(name, (b"", None))
    if not is_video and entry[8:10] != b"\0\0":
        raise ValueError("a sound description of QuickTime")
    config = child(entry[78 if is_video else 28 :], box)
    if codec_name is None or config is None:
        raise ValueError("an unknown codec")
    return _Track(number, is_video, timescale, codec_name(name.decode(), config))


def _is_plain(edits: bytes) -> bool:
    """Return whether the list has at most one edit, which starts in the media (8.6.6)."""
    (count,) = unpack_from(">I", edits, 4)
    if count == 0:
        return True
    (media_time,) = unpack_from(">q", edits, 16) if edits[0] else unpack_from(">i", edits, 12)
    return bool(count == 1 and media_time >= 0)


def _duration_s(moov: bytes, mvex: bytes) -> float | None:
    """Return the duration by `mehd` (8.8.2); that of `mvhd` excludes the fragments."""
    movie, extended = child(moov, b"mvhd"), child(mvex, b"mehd")
    if movie is None or extended is None:
        return None
    (timescale,) = unpack_from(">I", movie, 20 if movie[0] else 12)
    (duration,) = unpack_from(">Q" if extended[0] else ">I", extended, 4)
    return float(duration / timescale)


def _segments(indexes: list[tuple[bytes, int]], track: _Track) -> tuple[_Entries, float | None]:
    """Return a track's entries and end (s) by the `sidx` boxes (8.16.3), given with their ends."""
    found: list[tuple[float, int, int]] = []
    end_s = None
    for body, anchor in indexes:
        number, timescale = unpack_from(">II", body, 4)
        if number != track.number:
            continue
        time, skipped = unpack_from(">QQ" if body[0] else ">II", body, 12)
        at = 28 if body[0] else 20
        (count,) = unpack_from(">H", body, at + 2)
        offset = anchor + skipped
        for position in range(count):
            size, duration, access = unpack_from(">III", body, at + 4 + 12 * position)
            if size >> 31:  # a reference to another `sidx`
                return [], None
            found.append((time / timescale, offset, access >> 31))
            offset += size
            time += duration
        end_s = time / timescale
    # Only segments that start with a stream access point; without any such flag, all of them.
    is_flagged = any(access for _, _, access in found)
    return [entry[:2] for entry in found if entry[2] or not is_flagged], end_s


def _fragments(
    size_bytes: int, track: _Track, mvex: bytes
) -> Generator[ByteRange, bytes, tuple[_Entries, float | None]]:
    """Return a track's entries by the `mfra` at the end (8.8.9), and the end (s) of the last."""
    tail = yield ByteRange(size_bytes - 16, size_bytes)
    size, kind, _, mfra_size = unpack_from(">I4sII", tail)
    if (size, kind) != (16, b"mfro") or mfra_size > size_bytes:
        return [], None
    mfra = yield ByteRange(size_bytes - mfra_size, size_bytes)
    entries: _Entries = []
    for kind, body in boxes(child(mfra, b"mfra") or b""):
        if kind != b"tfra" or unpack_from(">I", body, 4)[0] != track.number:
            continue
        lengths, count = unpack_from(">II", body, 8)
        step = (16 if body[0] else 8) + 3 + (lengths >> 4 & 3) + (lengths >> 2 & 3) + (lengths & 3)
        for position in range(count):
            time, offset = unpack_from(">QQ" if body[0] else ">II", body, 16 + step * position)
            entries.append((time / track.timescale, offset))
    if not entries:
        return [], None
    at = max(offset for _, offset in entries)
    size, kind, header = yield from _box(at)
    if kind != b"moof":
        return [], None
    moof = yield ByteRange(at + header, at + size)
    return entries, _end_s(moof, track, mvex)


def _end_s(moof: bytes, track: _Track, mvex: bytes) -> float | None:
    """Return the end (s) of a fragment's samples of this track (8.8.7, 8.8.8, 8.8.12)."""
    defaults = {
        unpack_from(">I", body, 4)[0]: unpack_from(">I", body, 12)[0]
        for kind, body in boxes(mvex)
        if kind == b"trex"
    }
    for kind, traf in boxes(moof):
        if kind != b"traf":
            continue
        header, start = child(traf, b"tfhd") or b"", child(traf, b"tfdt")
        if start is None or unpack_from(">I", header, 4)[0] != track.number:
            continue
        (flags,) = unpack_from(">I", header)
        duration = defaults.get(track.number, 0)
        if flags & 0x8:
            position = 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
            (duration,) = unpack_from(">I", header, position)
        (end,) = unpack_from(">Q" if start[0] else ">I", start, 4)
        for name, run in boxes(traf):
            if name == b"trun":
                end += _run_duration(run, duration)
        return float(end / track.timescale)
    return None


def _run_duration(run: bytes, default: int) -> int:
    flags, count = unpack_from(">II", run)
    if not flags & 0x100:
        return int(count) * default
    at = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * (flags >> 8 & 0xF).bit_count()
    return sum(unpack_from(">I", run, at + step * sample)[0] for sample in range(count))
