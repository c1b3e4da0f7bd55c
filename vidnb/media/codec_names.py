"""Codec names for `MediaSource.isTypeSupported` (RFC 6381 and the specifications of the codecs).

Each function parses the bytes of the box or element in which a file describes its codec. It raises
`struct.error`, `IndexError` or `ValueError` if these are truncated or malformed.
"""

from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import Final

__all__ = ["MP4_AUDIO", "MP4_VIDEO", "av1", "boxes", "child", "mime_type"]


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes in `data` (ISO/IEC 14496-12 section 4.2.2)."""
    at = 0
    while at + 8 <= len(data):
        size, kind = unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            raise ValueError("a truncated box")
        yield kind, data[at + 8 : at + size]
        at += size


def child(data: bytes, *path: bytes) -> bytes | None:
    """Return the content of the first box on `path` into `data`, or None."""
    for name in path:
        found = next((body for kind, body in boxes(data) if kind == name), None)
        if found is None:
            return None
        data = found
    return data


def _avc(name: str, config: bytes) -> str:
    """ISO/IEC 14496-15 section 5.3.3.1: profile, constraints and level from avcC."""
    profile, constraints, level = unpack_from("BBB", config, 1)
    return f"{name}.{profile:02X}{constraints:02X}{level:02X}"


def _hevc(name: str, config: bytes) -> str:
    """ISO/IEC 14496-15 annex E.3: the compatibility flags in reverse bit order."""
    head, compatible = unpack_from(">BI", config, 1)
    limits, level = config[6:12], config[12]
    reverse = int(f"{compatible:032b}"[::-1], 2)
    space = ("", "A", "B", "C")[head >> 6]
    tier = "H" if head & 0x20 else "L"
    bits = [f"{limit:X}" for limit in limits.rstrip(b"\0")]
    return ".".join([name, f"{space}{head & 0x1F}", f"{reverse:X}", f"{tier}{level}", *bits])


def _vp(name: str, config: bytes) -> str:
    """Return a name by "VP Codec ISO Media File Format Binding" 1.0."""
    profile, level, depth = unpack_from("BBB", config, 4)
    return f"{name}.{profile:02d}.{level:02d}.{depth >> 4:02d}"


def av1(name: str, config: bytes) -> str:
    """Return a name by "AV1 Codec ISO Media File Format Binding" section 5."""
    first, second = unpack_from("BB", config, 1)
    tier = "H" if second & 0x80 else "M"
    depth = 8 if not second & 0x40 else 12 if second & 0x20 else 10
    return f"{name}.{first >> 5}.{first & 0x1F:02d}{tier}.{depth:02d}"


def _mp4a(name: str, config: bytes) -> str:
    """ISO/IEC 14496-1 section 7.2.6: nested descriptors, each with its tag and length."""
    at = _descriptor(config, 4, 0x03)
    flags = config[at + 2]
    at += 3 + (2 if flags & 0x80 else 0)
    if flags & 0x60:  # a URL in place of the stream, or a separate clock
        raise ValueError("a stream with a URL or a separate clock")
    at = _descriptor(config, at, 0x04)
    kind = config[at]
    if kind != 0x40:  # MPEG-4 audio; other types have no profile
        return f"{name}.{kind:02X}"
    at = _descriptor(config, at + 13, 0x05)
    (word,) = unpack_from(">H", config, at)
    profile = word >> 11
    return f"{name}.40.{profile if profile < 31 else 32 + (word >> 5 & 0x3F)}"


def _descriptor(config: bytes, at: int, tag: int) -> int:
    """Return the offset of the content of the descriptor at `at`."""
    if config[at] != tag:
        raise ValueError("another descriptor tag")
    at += 1
    while config[at] & 0x80:
        at += 1
    return at + 1


_CodecName = tuple[bytes, Callable[[str, bytes], str]]

MP4_VIDEO: Final[dict[bytes, _CodecName]] = {
    b"avc1": (b"avcC", _avc),
    b"avc3": (b"avcC", _avc),
    b"hvc1": (b"hvcC", _hevc),
    b"hev1": (b"hvcC", _hevc),
    b"vp08": (b"vpcC", _vp),
    b"vp09": (b"vpcC", _vp),
    b"av01": (b"av1C", av1),
}
"""By sample entry: the box that describes the codec, and the function that names it."""

MP4_AUDIO: Final[dict[bytes, _CodecName]] = {
    b"mp4a": (b"esds", _mp4a),
    b"Opus": (b"dOps", lambda _name, _config: "opus"),
    b"fLaC": (b"dfLa", lambda _name, _config: "flac"),
}


def mime_type(init: bytes) -> str:
    """Return the MIME type of an initialization segment with its codecs, video first.

    Such as `video/mp4; codecs="avc1.64001F,mp4a.40.2"`. `ValueError` for a codec without a name.
    """
    tracks = [
        _track_codec(trak) for kind, trak in boxes(child(init, b"moov") or b"") if kind == b"trak"
    ]
    tracks.sort(key=lambda track: not track[0])
    if not tracks:
        raise ValueError("no track")
    kind = "video" if tracks[0][0] else "audio"
    return f'{kind}/mp4; codecs="{",".join(name for _, name in tracks)}"'


def _track_codec(trak: bytes) -> tuple[bool, str]:
    """Return whether a track is video, and the name of its codec (ISO/IEC 14496-12 section 8.5.2).

    The fields before the boxes of a sample entry are those of 12.1.3 and 12.2.3.
    """
    entries = child(trak, b"mdia", b"minf", b"stbl", b"stsd")
    if entries is None:
        raise ValueError("a track without a description")
    kind, entry = next(boxes(entries[8:]), (b"", b""))
    is_video = kind in MP4_VIDEO
    box, codec_name = (MP4_VIDEO if is_video else MP4_AUDIO).get(kind, (b"", None))
    config = child(entry[78 if is_video else 28 :], box) if codec_name else None
    if codec_name is None or config is None:
        raise ValueError("an unknown codec")
    return is_video, codec_name(kind.decode(), config)
