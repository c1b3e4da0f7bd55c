"""Movie fragments: boxes by ISO/IEC 14496-12, read back by an independent parser."""

import struct

import pytest

from vidnb.media.codec_names import boxes, child
from vidnb.media.fragment import Sample, TrackRun, with_edit_list, write_fragment


def test_fragment_has_the_samples_of_each_track() -> None:
    video = [Sample(b"KEY", 40, 0), Sample(b"PP", 40, 80, is_key=False), Sample(b"B", 40, 0)]
    sound = [Sample(b"aaaa", 1024)]
    data = write_fragment(7, [TrackRun(1, 5000, video), TrackRun(2, 2**40, sound)])
    top = list(boxes(data))
    assert [kind for kind, _ in top] == [b"moof", b"mdat"]
    moof = top[0][1]
    assert child(moof, b"mfhd") == struct.pack(">II", 0, 7)
    tracks = [content for kind, content in boxes(moof) if kind == b"traf"]
    for traf, track_id, decode_time, samples in zip(
        tracks, (1, 2), (5000, 2**40), (video, sound), strict=True
    ):
        assert child(traf, b"tfhd") == struct.pack(">II", 0x020000, track_id)
        assert child(traf, b"tfdt") == struct.pack(">IQ", 1 << 24, decode_time)
        run = child(traf, b"trun")
        assert run is not None
        flags, count, offset = struct.unpack_from(">IIi", run)
        assert (flags, count) == (0x00000F01, len(samples))
        fields = list(struct.iter_unpack(">IIII", run[12:]))
        keys = [0x02000000 if sample.is_key else 0x01010000 for sample in samples]
        assert fields == [
            (one.duration, len(one.data), key, one.offset)
            for one, key in zip(samples, keys, strict=True)
        ]
        whole = b"".join(sample.data for sample in samples)
        assert data[offset : offset + len(whole)] == whole  # relative to the first byte of moof


def test_track_without_samples_is_left_out() -> None:
    data = write_fragment(1, [TrackRun(1, 0, []), TrackRun(2, 9, [Sample(b"x", 1)])])
    moof = next(content for kind, content in boxes(data) if kind == b"moof")
    assert [kind for kind, _ in boxes(moof)] == [b"mfhd", b"traf"]


@pytest.mark.parametrize(
    "run",
    [
        TrackRun(1, -1, [Sample(b"x", 1)]),
        TrackRun(1, 2**64, [Sample(b"x", 1)]),
        TrackRun(1, 0, [Sample(b"x", -1)]),
        TrackRun(1, 0, [Sample(b"x", 2**32)]),
        TrackRun(1, 0, [Sample(b"x", 1, -1)]),
    ],
)
def test_times_that_do_not_fit_are_refused(run: TrackRun) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write_fragment(1, [run])


def test_segment_of_more_than_4_gib_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**31

    huge = Sample(Huge(), 1)
    with pytest.raises(ValueError, match="4 GiB"):
        write_fragment(1, [TrackRun(1, 0, [huge, huge])])


def test_edit_list_stands_before_the_media_of_the_first_track() -> None:
    def box(kind: bytes, content: bytes = b"") -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    tracks = [box(b"trak", box(b"tkhd", one) + box(b"mdia", one)) for one in (b"1", b"2")]
    init = box(b"ftyp", b"iso6") + box(b"moov", box(b"mvhd") + b"".join(tracks) + box(b"mvex"))
    made = with_edit_list(init, 77)
    moov = child(made, b"moov")
    assert moov is not None
    assert [kind for kind, _ in boxes(moov)] == [b"mvhd", b"trak", b"trak", b"mvex"]
    first = child(moov, b"trak")
    assert first is not None
    assert [kind for kind, _ in boxes(first)] == [b"tkhd", b"edts", b"mdia"]
    edit = child(first, b"edts", b"elst")
    assert edit == struct.pack(">IIIiI", 0, 1, 0, 77, 0x10000)
    added = box(b"edts", box(b"elst", edit))
    assert len(made) == len(init) + len(added)
    assert made.endswith(tracks[1] + box(b"mvex"))
