"""What `vidnb.probe` returns: the facts of a media file, and how they are shown.

Codecs, pixel formats and colour names are FFmpeg's names, as in ffprobe.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from html import escape
from typing import Any, Final, Literal, TypeAlias

from vidnb.download.planner.progress import format_bytes, format_duration_s

__all__ = [
    "COLOR_MATRICES",
    "COLOR_PRIMARIES",
    "COLOR_RANGES",
    "COLOR_TRANSFERS",
    "AudioStream",
    "Chapter",
    "DamagedPlace",
    "MediaInfo",
    "Playability",
    "SubtitleStream",
    "VideoStream",
    "codec_title",
    "container_title",
    "creation_time",
    "hdr_kind",
    "one_line",
]

Playability: TypeAlias = Literal["direct", "remux", "transcode"]

# The code points of ITU-T H.273, tables 2 to 4; 2 is "unspecified".
COLOR_PRIMARIES: Final = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
COLOR_TRANSFERS: Final = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
COLOR_MATRICES: Final = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c",
    14: "ictcp", 15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
COLOR_RANGES: Final = {1: "limited", 2: "full"}

_CODEC_TITLES: Final = {
    "aac": "AAC", "ac3": "AC-3", "alac": "ALAC", "ass": "ASS", "av1": "AV1", "dnxhd": "DNxHD",
    "dts": "DTS", "dvb_subtitle": "DVB subtitle", "dvd_subtitle": "DVD subtitle", "eac3": "E-AC-3",
    "ffv1": "FFV1", "flac": "FLAC", "h263": "H.263", "h264": "H.264", "hdmv_pgs_subtitle": "PGS",
    "hevc": "HEVC", "mjpeg": "Motion JPEG", "mov_text": "MP4 text", "mp2": "MP2", "mp3": "MP3",
    "mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2", "mpeg4": "MPEG-4 Part 2", "opus": "Opus",
    "prores": "ProRes", "subrip": "SubRip", "theora": "Theora", "vorbis": "Vorbis", "vp8": "VP8",
    "vc1": "VC-1", "vp9": "VP9", "vvc": "VVC", "webvtt": "WebVTT", "wmv1": "WMV 7", "wmv2": "WMV 8",
    "wmv3": "WMV 9",
}  # fmt: skip
_CONTAINER_TITLES: Final = {
    "mp4": "MP4", "quicktime": "QuickTime", "webm": "WebM", "matroska": "Matroska", "avi": "AVI",
    "mpegts": "MPEG-TS", "mpeg": "MPEG-PS", "flv": "FLV", "ogg": "Ogg", "asf": "ASF", "gif": "GIF",
    "mp3": "MP3", "wav": "WAV", "flac": "FLAC", "aac": "AAC (ADTS)",
}  # fmt: skip
_PLAYABILITY_TEXTS: Final = {
    "direct": "plays as it is",
    "remux": "its video plays, in another container (remux)",
    "transcode": "must be transcoded",
}
_MAX_TEXT: Final = 300  # characters of one tag or title in a table
_MAX_ROWS: Final = 40  # chapters and tags in a table
_UNDETERMINED: Final = frozenset({"", "und", "unk"})  # ISO 639-2
_TECHNICAL: Final = frozenset(
    {"compatible_brands", "creation_time", "duration", "handler_name", "major_brand"}
    | {"minor_version", "vendor_id"}
)
"""Tags that the table leaves out: the muxer writes them for programs."""
_TIME_TAGS: Final = ("com.apple.quicktime.creationdate", "creation_time", "date_encoded")

# Inline, since a sanitiser removes style sheets; JupyterLab's own style of tables aligns to the
# right. Greys with alpha suit light and dark themes.
_TABLE: Final = (
    "border-collapse: collapse; margin: 0; max-width: 100%; table-layout: auto;"
    " font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.5"
)
_CELL: Final = (
    "text-align: left; vertical-align: top; padding: 3px 12px 3px 0; background: none;"
    " border: none; border-top: 1px solid rgba(128, 128, 128, 0.3); overflow-wrap: anywhere;"
    " white-space: normal"
)
_HEAD: Final = f"{_CELL}; font-weight: 400; opacity: 0.75; overflow-wrap: normal"
_CAPTION: Final = (
    "text-align: left; caption-side: top; padding: 0 0 4px 0; font-weight: 600;"
    " overflow-wrap: anywhere; color: inherit"
)
_PROBLEM: Final = "border-left: 3px solid rgb(199, 138, 46); padding-left: 8px; margin: 0 0 4px 0"


@dataclass(frozen=True, slots=True)
class VideoStream:
    """One video stream; attached pictures (covers) are not listed.

    `index` counts all streams of the container. `width` and `height` are those of the stored
    picture (pixels), `display_width` and `display_height` those of the shown one, after the sample
    aspect ratio and the rotation; `rotation` is clockwise, in degrees. `average_frame_rate` and
    `real_frame_rate` are ffprobe's `avg_frame_rate` and `r_frame_rate`. The fields from the frame
    table, `is_variable_rate`, `frame_count` and `longest_key_interval_s` (s), are None where it was
    not read. `hdr` is "HDR10", "HDR10+", "HLG", "PQ", "Dolby Vision" or None; `color_range`
    "limited" or "full"; `bits_per_s` the bit rate (bits/s).
    """

    index: int
    codec: str
    profile: str | None
    pixel_format: str | None
    bit_depth: int | None
    width: int
    height: int
    display_width: int
    display_height: int
    sample_aspect_ratio: Fraction
    rotation: int
    average_frame_rate: Fraction | None
    real_frame_rate: Fraction | None
    is_variable_rate: bool | None
    frame_count: int | None
    longest_key_interval_s: float | None
    color_primaries: str | None
    color_transfer: str | None
    color_matrix: str | None
    color_range: str | None
    hdr: str | None
    bits_per_s: int | None
    language: str | None
    title: str | None
    has_decoder: bool

    def facts(self) -> Iterator[str]:
        """Yield what a person reads about the stream."""
        yield codec_title(self.codec, self.profile)
        stored, shown = (self.width, self.height), (self.display_width, self.display_height)
        size = f"{stored[0]} x {stored[1]}"
        if self.rotation:
            size += f", turned by {self.rotation}°"
        yield size if shown == stored else f"{size}, shown as {shown[0]} x {shown[1]}"
        if self.average_frame_rate:
            kinds = {True: " (variable)", False: " (constant)", None: ""}
            yield f"{float(self.average_frame_rate):.5g} fps{kinds[self.is_variable_rate]}"
        if self.frame_count is not None:
            yield f"{self.frame_count:,} frame" + "s" * (self.frame_count != 1)
        if self.pixel_format:
            yield self.pixel_format
        if self.hdr:
            yield self.hdr
        colors = (self.color_primaries, self.color_transfer, self.color_matrix)
        if any(colors):
            yield "/".join(color or "?" for color in colors)
        if self.color_range:
            yield f"{self.color_range} range"
        yield from _stream_facts(self, self.bits_per_s)


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One audio stream: `sample_rate_hz`, the bit rate `bits_per_s` (bits/s), `layout` ("5.1")."""

    index: int
    codec: str
    profile: str | None
    sample_rate_hz: int
    channels: int
    layout: str | None
    bits_per_s: int | None
    language: str | None
    title: str | None
    has_decoder: bool

    def facts(self) -> Iterator[str]:
        """Yield what a person reads about the stream."""
        yield codec_title(self.codec, self.profile)
        if self.sample_rate_hz:
            yield f"{self.sample_rate_hz / 1000:g} kHz"
        if self.channels:
            yield self.layout or f"{self.channels} channel{'s' * (self.channels != 1)}"
        yield from _stream_facts(self, self.bits_per_s)


@dataclass(frozen=True, slots=True)
class SubtitleStream:
    """One subtitle stream."""

    index: int
    codec: str
    language: str | None
    title: str | None
    has_decoder: bool

    def facts(self) -> Iterator[str]:
        """Yield what a person reads about the stream."""
        yield codec_title(self.codec)
        yield from _stream_facts(self, None)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter: its start and end (s) and its title."""

    start_s: float
    end_s: float
    title: str | None


@dataclass(frozen=True, slots=True)
class DamagedPlace:
    """A part of a stream that cannot be decoded correctly.

    `stream` is the index of the stream in the container. The damage begins with the packet at
    `start_s` (s) and byte `start_byte` and ends before the packet at `end_s` and `end_byte`; in a
    video that is the next key frame. None: unknown, or up to the end. `packets` are affected.
    """

    stream: int
    start_s: float | None
    end_s: float | None
    start_byte: int | None
    end_byte: int | None
    packets: int


@dataclass(frozen=True, slots=True, repr=False)
class MediaInfo:
    """The facts of a media file, as `vidnb.probe` returns them.

    Durations are in seconds, sizes in bytes, bit rates in bits per second; None: not known.
    `playable_as` says what every browser needs: "direct" (the bytes as they are), "remux" (its
    video in another container, its sound perhaps encoded again) or "transcode". `problems` are
    sentences for a person; a file that is damaged raises no error as long as its header is
    readable. `damage` has the damaged places of a deep probe, None if the file was not decoded. The
    last line of a cell shows a table, `str(info)` the same as text, `info.to_dict()` is for
    `json.dumps`.
    """

    name: str
    container: str
    size_bytes: int
    duration_s: float | None
    bits_per_s: int | None
    video: tuple[VideoStream, ...]
    audio: tuple[AudioStream, ...]
    subtitles: tuple[SubtitleStream, ...]
    chapters: tuple[Chapter, ...]
    tags: Mapping[str, str] = field(hash=False)
    creation_time: datetime | None
    playable_as: Playability
    problems: tuple[str, ...]
    damage: tuple[DamagedPlace, ...] | None

    @property
    def summary(self) -> str:
        """The most important facts on one line."""
        facts = [] if self.duration_s is None else [format_duration_s(self.duration_s)]
        facts.append(format_bytes(self.size_bytes))
        for video in self.video[:1]:
            facts.append(f"{video.display_width} x {video.display_height}")
            if video.average_frame_rate:
                facts.append(f"{float(video.average_frame_rate):.5g} fps")
            facts += [codec_title(video.codec, video.profile), *([video.hdr] if video.hdr else [])]
        facts += [" ".join([codec_title(a.codec), a.layout or ""]).strip() for a in self.audio[:1]]
        return " · ".join(facts)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for `json.dumps`: a `Fraction` as "30000/1001", a time by ISO 8601."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {name: _jsonable(value) for name, value in values.items()}

    def __repr__(self) -> str:
        rows = [(label, line) for label, lines in self._rows() for line in lines]
        width = max(len(label) for label, _ in rows)
        text, last = [one_line(self.name)], None
        for label, line in rows:
            text.append(f"  {'' if label == last else label:<{width}}  {line}")
            last = label
        return "\n".join(text)

    def _repr_html_(self) -> str:
        """Show the facts as a table in a cell (IPython's hook)."""
        rows = ""
        for label, lines in self._rows():
            style = f' style="{_PROBLEM}"' if label == "Problems" else ""
            content = "".join(f"<div{style}>{escape(line)}</div>" for line in lines)
            rows += (
                f'<tr style="background: none"><th scope="row" style="{_HEAD}">{escape(label)}</th>'
                f'<td style="{_CELL}">{content}</td></tr>'
            )
        caption = f'<caption style="{_CAPTION}">{escape(one_line(self.name))}</caption>'
        return f'<table class="vidnb-probe" style="{_TABLE}">{caption}<tbody>{rows}</tbody></table>'

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the rows of the table: a label, and the lines beside it."""
        file = [container_title(self.container)]
        file += [] if self.duration_s is None else [format_duration_s(self.duration_s)]
        file.append(format_bytes(self.size_bytes))
        file += [_format_bit_rate(self.bits_per_s)] if self.bits_per_s else []
        yield "File", [" · ".join(file)]
        streams: dict[str, Sequence[VideoStream | AudioStream | SubtitleStream]] = {
            "Video": self.video,
            "Audio": self.audio,
            "Subtitles": self.subtitles,
        }
        for label, kind in streams.items():
            for stream in kind:
                yield f"{label} #{stream.index}", [" · ".join(stream.facts())]
        if self.chapters:
            lines = [f"{format_duration_s(c.start_s)} {c.title or ''}" for c in self.chapters]
            yield "Chapters", _shortened(lines)
        if self.creation_time is not None:
            yield "Created", [self.creation_time.isoformat(" ", "seconds")]
        tags = [f"{n}: {text}" for n, text in self.tags.items() if n.lower() not in _TECHNICAL]
        if tags:
            yield "Tags", _shortened(tags)
        yield "Browser", [_PLAYABILITY_TEXTS[self.playable_as]]
        if self.damage is not None:
            count = len(self.damage)
            yield "Damage", [f"{count or 'no'} damaged place{'s' * (count != 1)}"]
        if self.problems:
            yield "Problems", [one_line(problem) for problem in self.problems]


def hdr_kind(transfer: str | None, side_data: frozenset[str]) -> str | None:
    """Return the kind of HDR by the transfer function and the side data of a frame.

    `side_data` has the names of FFmpeg's `AV_FRAME_DATA_…` constants without that prefix.
    """
    if side_data & {"DOVI_METADATA", "DOVI_RPU_BUFFER"}:
        return "Dolby Vision"
    if "DYNAMIC_HDR_PLUS" in side_data:
        return "HDR10+"
    if transfer == "smpte2084":
        is_hdr10 = side_data & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
        return "HDR10" if is_hdr10 else "PQ"
    return "HLG" if transfer == "arib-std-b67" else None


def creation_time(tags: Mapping[str, str]) -> datetime | None:
    """Return when a file was recorded, by its tags (ISO 8601; UTC without an offset)."""
    by_name = {name.lower(): value for name, value in tags.items()}
    for name in _TIME_TAGS:
        try:
            time = datetime.fromisoformat(by_name.get(name, ""))
        except ValueError:
            continue
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


def container_title(name: str) -> str:
    """Return what a person calls a container of FFmpeg's name."""
    return _CONTAINER_TITLES.get(name, name)


def codec_title(name: str, profile: str | None = None) -> str:
    """Return what a person calls a codec of FFmpeg's name."""
    title = _CODEC_TITLES.get(name, name)
    return f"{title} {profile}" if profile else title


def _stream_facts(
    stream: VideoStream | AudioStream | SubtitleStream, bits_per_s: int | None
) -> Iterator[str]:
    if bits_per_s:
        yield _format_bit_rate(bits_per_s)
    if stream.language and stream.language not in _UNDETERMINED:
        yield one_line(stream.language)
    if stream.title:
        yield f"“{one_line(stream.title)}”"
    if not stream.has_decoder:
        yield "no decoder"


def _format_bit_rate(bits_per_s: int) -> str:
    if bits_per_s < 999_500:
        return f"{bits_per_s / 1e3:.0f} kbit/s"
    return f"{bits_per_s / 1e6:.1f} Mbit/s"


def _shortened(lines: list[str]) -> list[str]:
    shown = [one_line(line) for line in lines[:_MAX_ROWS]]
    more = len(lines) - len(shown)
    return [*shown, f"… and {more} more"] if more else shown


def one_line(text: str) -> str:
    """Return text on one line, printable (a tag may hold escape sequences) and not too long."""
    line = " ".join("".join(c for c in text if c.isspace() or c.isprintable()).split())
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "…"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_jsonable(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {one.name: _jsonable(getattr(value, one.name)) for one in fields}
    return value
