"""Movie fragments: the media segments of a fragmented MP4 (ISO/IEC 14496-12 section 8.8).

FFmpeg's muxer writes no fragment whose decoding begins before time 0 or elsewhere in a film without
moving its timestamps, so vidnb writes `moof` and `mdat` itself; the initialization segment, with
the description of the codecs, is FFmpeg's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Final

from vidnb.media.codec_names import boxes

__all__ = ["Sample", "TrackRun", "with_edit_list", "write_fragment"]

_KEY: Final = 0x02000000
"""The flags of a sample that depends on no other one (section 8.8.3.1)."""
_NOT_KEY: Final = 0x01010000
_DEFAULT_BASE_IS_MOOF: Final = 0x020000
_DATA_OFFSET: Final = 0x000001
_PER_SAMPLE: Final = 0x000F00
"""Duration, size, flags and composition offset of each sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit: `duration` and `offset` (presentation less decoding time) in ticks."""

    data: bytes
    duration: int
    offset: int = 0
    is_key: bool = True


@dataclass(frozen=True, slots=True)
class TrackRun:
    """The samples of one track in a fragment, in decoding order.

    `decode_time` (ticks of the track, not negative) is the decoding time of the first one.
    """

    track_id: int
    decode_time: int
    samples: Sequence[Sample]


def write_fragment(number: int, runs: Sequence[TrackRun]) -> bytes:
    """Return the boxes `moof` and `mdat` with these runs; `number` counts fragments from 1.

    `ValueError` if a decoding time or duration does not fit its field.
    """
    filled = [run for run in runs if run.samples]
    head = _movie_fragment(number, filled, 0)
    sizes = [sum(len(sample.data) for sample in run.samples) for run in filled]
    head = _movie_fragment(number, filled, len(head) + 8)
    data = b"".join(sample.data for run in filled for sample in run.samples)
    if sum(sizes) + 8 >= 1 << 32:
        raise ValueError("a segment of more than 4 GiB does not fit into one fragment")
    return head + pack(">I4s", 8 + sum(sizes), b"mdat") + data


def _movie_fragment(number: int, runs: Sequence[TrackRun], data_offset: int) -> bytes:
    tracks = b""
    for run in runs:
        tracks += _track_fragment(run, data_offset)
        data_offset += sum(len(sample.data) for sample in run.samples)
    return _box(b"moof", _box(b"mfhd", pack(">II", 0, number)) + tracks)


def _track_fragment(run: TrackRun, data_offset: int) -> bytes:
    if not 0 <= run.decode_time < 1 << 64:
        raise ValueError(f"the decoding time {run.decode_time} does not fit into a fragment")
    samples = b"".join(
        pack(
            ">IIII",
            _checked("duration", sample.duration),
            len(sample.data),
            _KEY if sample.is_key else _NOT_KEY,
            _checked("composition offset", sample.offset),
        )
        for sample in run.samples
    )
    flags = _DATA_OFFSET | _PER_SAMPLE
    return _box(
        b"traf",
        _box(b"tfhd", pack(">II", _DEFAULT_BASE_IS_MOOF, run.track_id))
        + _box(b"tfdt", pack(">IQ", 1 << 24, run.decode_time))
        + _box(b"trun", pack(">IIi", flags, len(run.samples), data_offset) + samples),
    )


def _checked(name: str, ticks: int) -> int:
    if not 0 <= ticks < 1 << 32:
        raise ValueError(f"the {name} {ticks} does not fit into a fragment")
    return ticks


def with_edit_list(init: bytes, media_time: int) -> bytes:
    """Return an initialization segment whose first track is shown `media_time` ticks earlier.

    An edit list (section 8.6.6) takes the delay of decoding off again, which composition offsets
    need to be positive: FFmpeg moves the timestamps of fragments with negative ones.
    """
    edit = pack(">IIIiI", 0, 1, 0, media_time, 1 << 16)  # a duration of 0: all of it
    return _inserted(init, (b"moov", b"trak"), _box(b"edts", _box(b"elst", edit)))


def _inserted(data: bytes, path: Sequence[bytes], box: bytes) -> bytes:
    """Return boxes with another one before the first `mdia` of the first box on `path`."""
    found = b""
    is_done = False
    for kind, content in boxes(data):
        if not is_done and kind == (path[0] if path else b"mdia"):
            is_done = True
            found += (
                _box(kind, _inserted(content, path[1:], box)) if path else box + _box(kind, content)
            )
        else:
            found += _box(kind, content)
    return found


def _box(kind: bytes, content: bytes) -> bytes:
    return pack(">I4s", 8 + len(content), kind) + content
