"""The MIME types of initialization segments that FFmpeg writes."""

import struct
from pathlib import Path

import av
import pytest

from tests.clips import clip
from tests.media import clips
from vidnb.media.codec_names import mime_type
from vidnb.media.init_segment import copied_init


def init(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return copied_init(*container.streams)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (lambda: clips.clip("h264.mkv"), 'video/mp4; codecs="avc1.64000B,mp4a.40.2"'),
        (lambda: clips.clip("h264.ts"), 'video/mp4; codecs="avc1.64000B,mp4a.40.2"'),
        (lambda: clips.clip("hevc.mp4"), 'video/mp4; codecs="hvc1.1.6.L30.90,mp4a.40.2"'),
        (lambda: clips.clip("vp9.webm"), 'video/mp4; codecs="vp09.00.10.08,opus"'),
        (lambda: clip("av1.mkv"), 'video/mp4; codecs="av01.0.00M.08"'),
        (lambda: clip("hevc-10-bit.mkv"), 'video/mp4; codecs="hvc1.2.4.L30.90"'),
        (lambda: clip("one-group.mp4"), 'video/mp4; codecs="avc1.42C00B"'),
        (lambda: sound("mp3", "libmp3lame"), 'audio/mp4; codecs="mp4a.6B"'),
        (lambda: sound("flac", "flac"), 'audio/mp4; codecs="flac"'),
        (lambda: sound("aac", "aac"), 'audio/mp4; codecs="mp4a.40.2"'),
    ],
)
def test_the_type_of_what_ffmpeg_writes(path: object, expected: str) -> None:
    assert mime_type(init(path())) == expected  # type: ignore[operator]  # a function


def sound(name: str, encoder: str) -> Path:
    return clips.made(f"tone.{name}", f"-f lavfi -i sine=r=48000:d=1 -map 1:a -c:a {encoder}")


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def track(entry: bytes) -> bytes:
    stsd = box(b"stsd", bytes(8), entry)
    return box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", stsd))))


OPUS = track(box(b"Opus", bytes(28), box(b"dOps", bytes(11))))
AVC = track(box(b"avc1", bytes(78), box(b"avcC", bytes.fromhex("0164001f"))))


# Descriptors of the stream, of the decoder and of the decoder configuration.
ES = bytes.fromhex("00000000038080802200020004808080144015") + bytes(11)
ES += bytes.fromhex("05808080021190")


def aac(descriptors: bytes) -> bytes:
    return box(b"moov", track(box(b"mp4a", bytes(28), box(b"esds", descriptors))))


def test_the_descriptors_of_aac() -> None:
    assert mime_type(aac(ES)) == 'audio/mp4; codecs="mp4a.40.2"'
    extended = ES.replace(b"\x11\x90", b"\xf9\x40")  # an escape: types from 32 on
    assert mime_type(aac(extended)) == 'audio/mp4; codecs="mp4a.40.42"'


def test_the_video_is_named_first() -> None:
    expected = 'video/mp4; codecs="avc1.64001F,opus"'
    assert mime_type(box(b"moov", OPUS, AVC)) == expected
    assert mime_type(box(b"ftyp", bytes(8)) + box(b"moov", AVC, OPUS)) == expected


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no track"),
        (box(b"moov", box(b"mvhd", bytes(8))), "no track"),
        (box(b"moov", box(b"trak", box(b"mdia"))), "a track without a description"),
        (box(b"moov", track(b"")), "an unknown codec"),
        (box(b"moov", track(box(b"mp4v", bytes(90)))), "an unknown codec"),
        (box(b"moov", track(box(b"avc1", bytes(78)))), "an unknown codec"),
        (box(b"moov", AVC)[:-3], "a truncated box"),
        (aac(ES.replace(b"\x02\x00\x04", b"\x02\x40\x04")), "a stream with a URL"),
        (aac(ES.replace(b"\x02\x00\x04", b"\x02\x20\x04")), "or a separate clock"),
        (aac(bytes(30)), "another descriptor tag"),
    ],
)
def test_what_has_no_name(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mime_type(data)
