"""Tests of the media index: which files can be played in segments, and how."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.http.ranges import ByteRange
from vidnb.media import index
from vidnb.media.index import MAX_HEAD_BYTES, MediaIndex, read_index, sort_entries
from vidnb.server.sample import sample

MAX_READS = 250


def index_of(data: bytes) -> MediaIndex | None:
    """Run the reader and check the byte ranges that it requests."""
    reading = read_index(len(data))
    try:
        byte_range = next(reading)
        for _ in range(MAX_READS):
            assert 0 < byte_range.size_bytes <= MAX_HEAD_BYTES
            assert byte_range.stop <= len(data)
            byte_range = reading.send(data[byte_range.start : byte_range.stop])
    except StopIteration as end:
        found: MediaIndex | None = end.value
        return found
    raise AssertionError("too many reads")


# MP4

HVC = bytes.fromhex("0101600000009000000000005d")
HEV = bytes.fromhex("0162200000000000000000009900")
AV1 = bytes.fromhex("81080c00")


def box(kind: str, *parts: bytes | int) -> bytes:
    """Build a box; integers have 32 bits."""
    body = b"".join(part if isinstance(part, bytes) else struct.pack(">I", part) for part in parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def large(kind: str, body: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind.encode(), 16 + len(body)) + body


def zeros(size_bytes: int) -> bytes:
    return bytes(size_bytes)


AVC = ("avc1", box("avcC", bytes.fromhex("0164001f")))
# Descriptors of the stream, of the decoder and of the decoder configuration.
ES = bytes.fromhex("038080802200020004808080144015") + bytes(11) + bytes.fromhex("05808080021190")
AAC = ("mp4a", box("esds", 0, ES))


def track(
    number: int,
    handler: str,
    codec: tuple[str, bytes],
    *,
    edits: bytes = b"",
    count: int = 1,
    v: int = 0,
) -> bytes:
    name, config = codec
    entry = box(name, zeros(78 if handler == "vide" else 28), config)
    wide = zeros(16 if v else 8)
    return box(
        "trak",
        box("tkhd", v << 24, wide, number),
        edits and box("edts", edits),
        box(
            "mdia",
            box("mdhd", v << 24, wide, 1000, 0, 0),
            box("hdlr", 0, 0, handler.encode(), zeros(12)),
            box("minf", box("stbl", box("stsd", 0, count, entry * count))),
        ),
    )


VIDEO, AUDIO = track(1, "vide", AVC), track(2, "soun", AAC)
BOTH = 'video/mp4; codecs="avc1.64001F,mp4a.40.2"'
TREX = box("trex", 0, 1, 1, 500, 0, 0)
FTYP = box("ftyp", b"iso5", 0)


def moov(*tracks: bytes, more: bytes = TREX, v: int = 0) -> bytes:
    mvhd = box("mvhd", v << 24, zeros(16 if v else 8), 1000, 0)
    return box("moov", mvhd, *tracks, box("mvex", more))


def sidx(*entries: tuple[int, int, int], number: int = 1, v: int = 0, skipped: int = 0) -> bytes:
    times = struct.pack(">QQ" if v else ">II", 0, skipped)
    refs = b"".join(struct.pack(">III", *entry) for entry in entries)
    return box("sidx", v << 24, number, 100, times, struct.pack(">HH", 0, len(entries)), refs)


SAP = 1 << 31


def moof(*trafs: bytes) -> bytes:
    return box("moof", box("mfhd", 0, 1), *trafs)


def traf(*boxes: bytes, number: int = 1, flags: int = 0, more: bytes = b"") -> bytes:
    return box("traf", box("tfhd", flags, number, more), *boxes)


FRAGMENT = moof() + box("mdat", zeros(100))


def mfra(*entries: tuple[int, int], number: int = 1, v: int = 0, lengths: int = 0) -> bytes:
    rest = zeros(3 + (lengths >> 4) + (lengths >> 2 & 3) + (lengths & 3))
    body = b"".join(struct.pack(">QQ" if v else ">II", *entry) + rest for entry in entries)
    whole = box("tfra", v << 24, number, lengths, len(entries), body)
    return box("mfra", whole, box("mfro", 0, 8 + len(whole) + 16))


HEAD = FTYP + moov(VIDEO, AUDIO)
AT = len(HEAD)


def test_a_fragmented_mp4_with_a_sidx() -> None:
    front = sidx((200, 50, SAP), (100, 50, 0), (300, 100, SAP), skipped=7)
    first = AT + len(front) + 7
    data = HEAD + front + box("free", zeros(0)) * 3 + FRAGMENT + zeros(1000)
    assert index_of(data) == MediaIndex(BOTH, AT, 2.0, ((0.0, first), (1.0, first + 300)))


@pytest.mark.parametrize("v", [0, 1])
def test_the_duration_of_mehd_has_precedence(v: int) -> None:
    mehd = box("mehd", v << 24, struct.pack(">Q" if v else ">I", 7500))
    tracks = track(1, "vide", AVC, v=v), track(2, "soun", AAC, v=v)
    data = (
        FTYP + moov(*tracks, more=mehd, v=v) + sidx((100, 50, 0), (100, 50, 0), v=v) + FRAGMENT * 3
    )
    found = index_of(data)
    assert found is not None
    assert (found.duration_s, len(found.index)) == (7.5, 2)


@pytest.mark.parametrize(
    ("front", "duration_s", "entries"),
    [
        pytest.param(b"", None, 0, id="none"),
        pytest.param(sidx((100, 50, 0), (100, 50, 0), number=9), None, 0, id="of another track"),
        pytest.param(sidx((SAP | 100, 50, 0), (100, 50, 0)), None, 0, id="of other indexes"),
        pytest.param(sidx((100, 50, 0)), None, 0, id="of the first fragment only"),
        pytest.param(sidx((10**6, 50, 0), (10**6, 50, 0)), 1.0, 0, id="past the end"),
        pytest.param(sidx((100, 0, 0), (100, 50, 0)), 0.5, 0, id="two entries of one time"),
    ],
)
def test_an_inconsistent_sidx_is_ignored(
    front: bytes, duration_s: float | None, entries: int
) -> None:
    found = index_of(HEAD + front + FRAGMENT * 3)
    assert found is not None
    assert (found.mime, found.init_bytes) == (BOTH, AT)
    assert (found.duration_s, len(found.index)) == (duration_s, entries)


TFDT = box("tfdt", 0, 3000)


@pytest.mark.parametrize(
    ("last", "duration_s"),
    [
        pytest.param(traf(TFDT, box("trun", 0, 4)), 5.0, id="the default duration"),
        pytest.param(
            traf(TFDT, box("trun", 0, 4), flags=8, more=struct.pack(">I", 250)),
            4.0,
            id="the duration of the fragment",
        ),
        pytest.param(
            traf(TFDT, box("trun", 0, 4), flags=0xB, more=zeros(12) + struct.pack(">I", 250)),
            4.0,
            id="the duration after other fields",
        ),
        pytest.param(
            traf(TFDT, box("trun", 0x305, 2, 0, 0, 100, 7, 200, 7), box("trun", 0x100, 1, 50)),
            3.35,
            id="the durations of the samples",
        ),
        pytest.param(
            traf(box("tfdt", 1 << 24, struct.pack(">Q", 9000)), box("trun", 0, 2)), 10.0, id="late"
        ),
        pytest.param(traf(TFDT, number=2), None, id="of another track"),
        pytest.param(traf(box("trun", 0, 4)), None, id="without a start"),
    ],
)
@pytest.mark.parametrize(("v", "lengths"), [(0, 0), (1, 0b011011)])
def test_a_fragmented_mp4_with_an_mfra(
    last: bytes, duration_s: float | None, v: int, lengths: int
) -> None:
    entries = [(0, AT), (3000, AT + len(FRAGMENT))]
    tail = mfra(*entries, v=v, lengths=lengths)
    found = index_of(HEAD + FRAGMENT + moof(last) + box("mdat", zeros(50)) + tail)
    assert found == MediaIndex(BOTH, AT, duration_s, ((0.0, AT), (3.0, AT + len(FRAGMENT))))


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(mfra((0, AT), number=3), id="of another track"),
        pytest.param(mfra((0, 0)), id="that refers to no fragment"),
        pytest.param(box("mfro", 0, 10**6), id="larger than the file"),
        pytest.param(box("mfro", 0, 16), id="without a list"),
    ],
)
def test_an_invalid_mfra_is_ignored(tail: bytes) -> None:
    assert index_of(HEAD + FRAGMENT + tail) == MediaIndex(BOTH, AT, None, ())


def test_audio_only_and_a_large_box() -> None:
    found = index_of(FTYP + large("free", zeros(9)) + moov(AUDIO) + FRAGMENT)
    assert found is not None
    assert found.mime == 'audio/mp4; codecs="mp4a.40.2"'


ELST = struct.pack(">II", 0, 1)


@pytest.mark.parametrize(
    ("edits", "is_plain"),
    [
        (box("elst", 0, 0), True),
        (box("elst", 0, 1, 0, 1024, 1 << 16), True),
        (box("elst", 1 << 24, 1, struct.pack(">Qq", 0, 1024), 1 << 16), True),
        (box("elst", 0, 1, 9, 0xFFFFFFFF, 1 << 16), False),
        (box("elst", 0, 2, 0, 1024, 1 << 16, 0, 1024, 1 << 16), False),
    ],
)
def test_a_track_with_several_edits_is_not_supported(edits: bytes, is_plain: bool) -> None:
    data = FTYP + moov(track(1, "vide", AVC, edits=edits)) + FRAGMENT
    assert (index_of(data) is not None) is is_plain


def es(kind: str, config: str, head: str = "03190001000411") -> bytes:
    return box("esds", 0, bytes.fromhex(f"{head}{kind}{'00' * 12}{config}"))


@pytest.mark.parametrize(
    ("handler", "codec", "name"),
    [
        ("vide", ("avc3", AVC[1]), "avc3.64001F"),
        ("vide", ("hvc1", box("hvcC", HVC)), "hvc1.1.6.L93.90"),
        ("vide", ("hev1", box("hvcC", HEV)), "hev1.A2.4.H153"),
        ("vide", ("vp09", box("vpcC", 0, bytes.fromhex("001f8000"))), "vp09.00.31.08"),
        ("vide", ("vp08", box("vpcC", 0, bytes.fromhex("000a8000"))), "vp08.00.10.08"),
        ("vide", ("av01", box("av1C", AV1)), "av01.0.08M.08"),
        ("vide", ("av01", box("av1C", bytes.fromhex("812dc000"))), "av01.1.13H.10"),
        ("vide", ("av01", box("av1C", bytes.fromhex("814d6000"))), "av01.2.13M.12"),
        ("soun", ("Opus", box("dOps", 0)), "opus"),
        ("soun", ("fLaC", box("dfLa", 0)), "flac"),
        ("soun", ("mp4a", es("6b", "")), "mp4a.6B"),
        ("soun", ("mp4a", es("40", "0502f8a0")), "mp4a.40.37"),
        ("soun", ("mp4a", es("40", "05022b8a", "031b000180ffff0411")), "mp4a.40.5"),
        ("soun", ("mp4a", es("40", "05022b8a", "031b000140ffff0411")), None),
        ("soun", ("mp4a", es("40", "06022b8a")), None),
        ("vide", ("encv", AVC[1]), None),
        ("vide", ("avc1", b""), None),
        ("vide", ("avc1", box("avcC", b"\1")), None),
        ("text", AAC, None),
    ],
)  # fmt: skip
def test_the_codec_names_of_mp4(handler: str, codec: tuple[str, bytes], name: str | None) -> None:
    found = index_of(FTYP + moov(track(1, handler, codec)) + FRAGMENT)
    kind = "video" if handler == "vide" else "audio"
    expected = None if name is None else f'{kind}/mp4; codecs="{name}"'
    assert (found and found.mime) == expected


def test_a_sound_description_of_quicktime_is_not_supported() -> None:
    entry = box("mp4a", zeros(8) + b"\0\1" + zeros(18), AAC[1])
    data = FTYP + moov(AUDIO.replace(box("mp4a", zeros(28), AAC[1]), entry)) + FRAGMENT
    assert index_of(data) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"RIFF....AVI ", id="another format"),
        pytest.param(FTYP + box("moov", VIDEO) + box("mdat", 0), id="no fragments"),
        pytest.param(FTYP + box("mdat", 0) + moov(VIDEO), id="moov after mdat"),
        pytest.param(FTYP + box("moov", VIDEO) + FRAGMENT, id="no mvex"),
        pytest.param(FTYP + FRAGMENT, id="no moov"),
        pytest.param(FTYP + moov() + FRAGMENT, id="no tracks"),
        pytest.param(FTYP + moov(VIDEO, VIDEO) + FRAGMENT, id="two video tracks"),
        pytest.param(
            FTYP + moov(VIDEO, count := track(2, "soun", AAC, count=2)) + FRAGMENT, id="two entries"
        ),
        pytest.param(FTYP + moov(box("trak", box("tkhd", 0))) + FRAGMENT, id="no description"),
        pytest.param(FTYP + moov(VIDEO[:-1]) + FRAGMENT, id="a truncated track"),
        pytest.param(FTYP + box("free") * 300, id="too many boxes"),
        pytest.param(FTYP + struct.pack(">I4s", 0, b"free") * 9, id="a box without a size"),
        pytest.param(FTYP + box("moov", zeros(MAX_HEAD_BYTES + 1)) + FRAGMENT, id="a large moov"),
        pytest.param(HEAD, id="no media"),
        pytest.param(HEAD + sidx((100, 50, 0)) * 9 + FRAGMENT, id="too many sidx"),
    ],
)
def test_other_mp4_has_no_index(data: bytes) -> None:
    assert index_of(data) is None


# WebM


def el(name: int, *parts: bytes | int | str) -> bytes:
    """Build an element, with a size of two bytes, or eight if it is longer."""
    body = b"".join(
        part.encode()
        if isinstance(part, str)
        else part
        if isinstance(part, bytes)
        else number(part)
        for part in parts
    )
    size = len(body)
    length = (0x4000 | size).to_bytes(2) if size < 0x3FFF else (1 << 56 | size).to_bytes(8)
    return name.to_bytes((name.bit_length() + 7) // 8) + length + body


def number(value: int) -> bytes:
    return value.to_bytes(4)


def entry(kind: int, codec: str, *more: bytes, n: int = 1) -> bytes:
    return el(0xAE, el(0xD7, n), el(0x83, kind), el(0x86, codec), *more)


def cue(time: int, cluster: int, n: int = 1) -> bytes:
    position = el(0xB7, el(0xF7, n), el(0xF1, cluster))
    return el(0xBB, el(0xB3, time), position)


DOCTYPE = el(0x1A45DFA3, el(0x4282, "webm"))
SEGMENT = bytes.fromhex("1853806701ffffffffffffff")
BASE = len(DOCTYPE + SEGMENT)
VP9, OPUS = entry(1, "V_VP9"), entry(2, "A_OPUS", n=2)
TRACKS = el(0x1654AE6B, VP9, OPUS)
INFO = el(0x1549A966, el(0x2AD7B1, 1_000_000), el(0x4489, struct.pack(">d", 2500.0)))
CLUSTER = bytes.fromhex("1f43b67501ffffffffffffff") + zeros(100)
WEBM = 'video/webm; codecs="vp9,opus"'


def webm(*head: bytes, tail: bytes = b"") -> bytes:
    return DOCTYPE + SEGMENT + b"".join(head) + CLUSTER * 2 + tail


def seek_head(cues_at: int, *more: bytes) -> bytes:
    seek = el(0x4DBB, el(0x53AB, 0x1C53BB6B), el(0x53AC, cues_at))
    return el(0x114D9B74, el(0x4DBB, el(0x53AB, 0x1549A966)), *more, seek)


def test_a_webm_with_cues_at_its_end() -> None:
    head = seek_head(0) + INFO + el(0xEC, zeros(5)) + TRACKS
    first, second = len(head), len(head) + len(CLUSTER)
    cues = el(0x1C53BB6B, el(0xBF, 0), cue(0, first), cue(0, first, n=2), cue(1500, second))
    data = webm(seek_head(second + len(CLUSTER)), head[len(seek_head(0)) :], tail=cues)
    init = BASE + first
    index = ((0.0, init), (1.5, init + len(CLUSTER)))
    assert index_of(data) == MediaIndex(WEBM, init, 2.5, index)


def test_a_webm_with_cues_before_the_clusters() -> None:
    short = el(0x1549A966, el(0x4489, struct.pack(">f", 4.0)))
    cues = [el(0x1C53BB6B, cue(1, at)) for at in range(500)]
    at = len(TRACKS + short + cues[0])
    found = index_of(webm(TRACKS, short, cues[at]))
    assert found == MediaIndex(WEBM, BASE + at, 0.004, ((0.001, BASE + at),))


@pytest.mark.parametrize("head", [b"", seek_head(10**6), seek_head(0), el(0x114D9B74)])
def test_a_webm_without_cues_has_no_index(head: bytes) -> None:
    found = index_of(webm(head, TRACKS))
    assert found == MediaIndex(WEBM, BASE + len(head + TRACKS), None, ())


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_duration_is_unknown(duration_s: float) -> None:
    found = index_of(webm(TRACKS, el(0x1549A966, el(0x4489, struct.pack(">d", duration_s)))))
    assert found is not None
    assert found.duration_s is None


@pytest.mark.parametrize(
    ("tracks", "mime"),
    [
        ([entry(1, "V_VP8"), entry(2, "A_VORBIS")], 'video/webm; codecs="vp8,vorbis"'),
        ([el(0xEC), entry(2, "A_OPUS\0")], 'audio/webm; codecs="opus"'),
        ([entry(1, "V_AV1", el(0x63A2, AV1))], 'video/webm; codecs="av01.0.08M.08"'),
        ([entry(1, "V_AV1")], None),
        ([entry(1, "V_MPEG4/ISO/AVC")], None),
        ([VP9, entry(17, "S_TEXT/UTF8")], None),
        ([VP9, VP9], None),
        ([entry(1, "V_VP9", el(0x6D80))], None),
        ([el(0xAF, VP9[2:])], None),
        ([], None),
    ],
)  # fmt: skip
def test_the_codec_names_of_webm(tracks: list[bytes], mime: str | None) -> None:
    found = index_of(webm(el(0x1654AE6B, *tracks)))
    assert (found and found.mime) == mime


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(webm(TRACKS).replace(b"webm", b"divx"), id="another format"),
        pytest.param(DOCTYPE + TRACKS, id="no segment"),
        pytest.param(webm(), id="no tracks"),
        pytest.param(webm(TRACKS, TRACKS), id="tracks twice"),
        pytest.param(DOCTYPE + SEGMENT + TRACKS, id="no clusters"),
        pytest.param(webm(TRACKS, bytes.fromhex("a2826666")), id="an unknown element"),
        pytest.param(webm(TRACKS, el(0xEC) * 300), id="too many elements"),
        pytest.param(
            webm(TRACKS, el(0xEC, zeros(MAX_HEAD_BYTES))), id="a long initialization segment"
        ),
        pytest.param(webm(TRACKS, b"\0"), id="no ID"),
        pytest.param(webm(TRACKS, b"\xec\0"), id="no size"),
        pytest.param(webm(TRACKS + bytes.fromhex("1549a966ff")), id="an Info of unknown size"),
        pytest.param(webm(el(0x1654AE6B, VP9[:-1])), id="a truncated track"),
        pytest.param(webm(el(0x1654AE6B, b"\xae\xff")), id="a track of unknown size"),
        pytest.param(webm(TRACKS, el(0x1549A966, el(0x2AD7B1, zeros(9)))), id="a long integer"),
        pytest.param(webm(el(0x1654AE6B, b"\xae\x40")), id="a truncated size"),
    ],
)
def test_other_webm_has_no_index(data: bytes) -> None:
    assert index_of(data) is None


# Both


@given(st.data())
def test_damaged_files_raise_no_error(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                HEAD + FRAGMENT + moof(traf(TFDT, box("trun", 0, 4))) + mfra((0, AT)),
                HEAD + sidx((200, 50, SAP), (300, 100, SAP)) + FRAGMENT * 9,
                webm(seek_head(len(seek_head(0) + INFO + TRACKS)), INFO, TRACKS),
            ]
        )
    )
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=3)):
        damaged[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
    found = index_of(bytes(damaged))
    if found is not None:
        assert 0 < found.init_bytes <= len(damaged)
        assert all(a < c and b < d for (a, b), (c, d) in pairwise(found.index))
        assert all(found.init_bytes <= at < len(damaged) for _, at in found.index)


def test_the_number_of_entries_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MAX_ENTRIES", 10)
    entries = [(at / 10, at) for at in range(25)]
    assert sort_entries(entries, ByteRange(0, 25)) == tuple(entries[::3])
    assert sort_entries([], ByteRange(0, 25)) == ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("fragmented")
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    "flags",
    [
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov+default_base_moof+global_sidx",
        "frag_keyframe+dash",
        "cmaf+frag_keyframe",
    ],
)
def test_the_index_of_a_file_made_by_ffmpeg(folder: Path, flags: str) -> None:
    path = folder / f"{flags}.mp4"
    options = ["-c", "copy", "-movflags", flags, str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(sample()), *options], check=True, timeout=60)
    data = path.read_bytes()
    found = index_of(data)
    assert found is not None
    assert found.mime.startswith('video/mp4; codecs="avc1.')
    assert found.duration_s == pytest.approx(10, abs=0.2)
    assert len(found.index) > 1
    for _, offset in found.index:
        assert data[offset + 4 : offset + 8] in {b"moof", b"styp", b"sidx"}
