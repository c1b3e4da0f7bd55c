"""The video track of a clip: copied packets, encoded frames, or both joined in one track.

Every encoded section begins with a key frame, and so does every copied one. With H.264 the encoded
frames have parameter sets with a number of their own, so that each packet decodes with its own,
wherever a player seeks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.errors import MediaError
from vidnb.media.clip_source import ClipSource
from vidnb.media.container import require_av
from vidnb.media.cut_plan import Section, decode_timestamps
from vidnb.media.export import (
    OutputFile,
    Work,
    color_facts,
    display_matrix,
    kept_tags,
    require_encoder,
)
from vidnb.media.filter_graph import and_none
from vidnb.media.h264 import AvcConfig, free_set_number, split_start_codes, to_lengths

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

__all__ = ["EDIT_LISTS", "Track", "VideoTrack", "add_copied"]

Track = Iterator[tuple[float, int, "Packet[Any]"]]
"""The packets of a track in decoding order, each with its time (s) and a number of the track."""

EDIT_LISTS: Final = {"mp4", "mov"}
"""Muxers whose files can hide the start of a track (ISO/IEC 14496-12 section 8.6.6)."""
_ENCODERS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "h264": ("libx264", {"crf": "17", "preset": "medium"}),
    "hevc": ("libx265", {"crf": "19", "preset": "medium", "x265-params": "log-level=none"}),
    "vp8": ("libvpx", {"crf": "6", "b": "8M", "deadline": "good", "cpu-used": "2"}),
    "vp9": ("libvpx-vp9", {"crf": "22", "b": "0", "row-mt": "1", "cpu-used": "4"}),
    "av1": ("libsvtav1", {"crf": "22", "preset": "8"}),
}
_X264_PROFILES: Final = {
    "Baseline": "baseline",
    "Constrained Baseline": "baseline",
    "Main": "main",
    "High": "high",
    "High 10": "high10",
    "High 4:2:2": "high422",
    "High 4:4:4 Predictive": "high444",
}


@dataclass(slots=True)
class _Timing:
    """The timestamps (ticks of the table) of the next packets of a clip."""

    pts: list[int]
    dts: list[int]
    durations: list[int]
    at: int = 0

    def apply(self, packet: "Packet[VideoStream]", time_base: Fraction) -> None:
        packet.time_base = time_base
        packet.pts, packet.dts = self.pts[self.at], self.dts[self.at]
        packet.duration = self.durations[self.at]
        self.at += 1


def add_copied(container: "OutputContainer", stream: "Stream") -> "Stream | None":
    """Add a stream for copied packets; None if the container cannot hold it."""
    av = require_av()
    is_known = stream.type in {"audio", "subtitle", "video"} and stream.codec_context
    if not is_known or stream.disposition & av.stream.Disposition.attached_pic:
        return None
    try:
        added: Stream = container.add_stream_from_template(stream, opaque=True)
    except ValueError:  # "format does not support codec"
        return None
    added.metadata.update(kept_tags(stream.metadata))
    added.disposition = stream.disposition
    return added


class VideoTrack:
    """The video of a clip, made of `sections` of the stream `video` of the source."""

    def __init__(
        self,
        source: ClipSource,
        sections: Sequence[Section],
        video: "VideoStream",
        output: OutputFile,
        muxer: str,
    ) -> None:
        self._source = source
        self._sections = sections
        self._frames = range(sections[0].frames.start, sections[-1].frames.stop)
        self._video = video
        self._output = output
        self._muxer = muxer
        self._codec = video.codec_context.codec.canonical_name
        extradata = video.codec_context.extradata or b""
        self._config = AvcConfig.parse(extradata) if self._codec == "h264" else None
        self._settings: dict[str, str] = {}

    def add_to(self, container: "OutputContainer", work: Work) -> "Track":
        """Add the track to the new file and return its packets."""
        if all(section.packets is None for section in self._sections):
            return self._encoded_track(container, work)
        added = add_copied(container, self._video)
        if added is None:
            raise MediaError(
                f"{self._source.file.name} has {self._codec} video, which a {self._muxer} file"
                " cannot hold; choose a .mkv file, or mode='exact'."
            )
        if len(self._sections) > 1 and self._codec == "h264":
            self._number_sets(added)
        return self._joined_track(added, work)

    def _number_sets(self, added: "Stream") -> None:
        """Give the parameter sets of the encoded frames a free number, and put them in the header.

        The copied frames keep theirs, so that a player may start at any key frame.
        """
        extradata = self._video.codec_context.extradata or b""
        config = self._config
        units = [*config.sps, *config.pps] if config else split_start_codes(extradata)
        number = free_set_number(units)
        if number is None:
            raise MediaError(
                f"{self._source.file.name} uses every number of H.264 parameter sets, so no frame"
                " can be added; use mode='copy'."
            )
        self._settings = {"x264-params": f"sps-id={number}:log-level=none"}
        encoder = self._encoder(self._frames.start, has_global_header=True)
        encoder.open()
        sets = encoder.extradata or b""
        added.codec_context.extradata = (
            config.with_sets(split_start_codes(sets)).dump() if config else extradata + sets
        )

    def _joined_track(self, added: "Stream", work: Work) -> "Track":
        timing = self._timing()
        time_base = self._source.table.time_base
        for section in self._sections:
            if section.packets is None:
                packets = self._encoded(section.frames)
            else:
                packets = self._copied(section)
            for packet in packets:
                if timing is not None:
                    timing.apply(packet, time_base)
                else:
                    self._shift(packet)
                packet.stream = added
                work.advance()
                yield float((packet.dts or 0) * packet.time_base), 0, packet

    def _timing(self) -> _Timing | None:
        """Return the timestamps of the packets; None if only the source knows them."""
        table, order = self._source.table, list[int]()
        for section in self._sections:
            if section.packets is None:
                order.extend(section.frames)
                continue
            for number in section.packets:
                index = table.frame_of(number)
                if index is None:
                    return None  # fields, or frames that an edit list hides
                if index >= section.frames.start:
                    order.append(index)
        base = self._source.ticks(self._frames.start)
        ticks = [self._source.ticks(index) for index in order]
        durations = [
            self._source.ticks(index + 1) - one for index, one in zip(order, ticks, strict=True)
        ]
        # A track ends with its last packet in decoding order (ISO/IEC 14496-12 section 8.6.1).
        durations[-1] = self._source.ticks(self._frames.stop) - max(ticks)
        pts = [one - base for one in ticks]
        return _Timing(pts, decode_timestamps(pts), durations)

    def _copied(self, section: Section) -> "Iterator[Packet[Any]]":
        table, packets = self._source.table, section.packets or range(0)
        for number, packet in self._source.video_packets(packets.start):
            if number >= packets.stop:
                return
            index = table.frame_of(number)
            if index is None and packet.is_discard and self._muxer not in EDIT_LISTS:
                raise MediaError(
                    f"{self._source.file.name} hides the frames before its first one by an edit"
                    " list, which only .mp4 and .mov files have; choose one, or mode='exact'."
                )
            if index is None or index >= section.frames.start:
                yield packet

    def _shift(self, packet: "Packet[Any]") -> None:
        """Shift a packet of the source by the start of the clip."""
        base = round(self._source.time_s(self._frames.start) / packet.time_base)
        packet.dts = packet.pts if packet.dts is None else packet.dts
        if packet.dts is None:
            raise MediaError(
                f"{self._source.file.name} has packets without a time, which cannot be copied; use"
                " mode='exact'."
            )
        packet.dts -= base
        packet.pts = packet.dts if packet.pts is None else packet.pts - base

    def _encoder(self, index: int, *, has_global_header: bool) -> "VideoCodecContext":
        """Make an encoder of its own, for frames beside copied ones."""
        av = require_av()
        name, options = _encoder_name(self._codec, self._muxer)
        context = cast("VideoCodecContext", av.codec.context.CodecContext.create(name, "w"))
        self._set_up(context, self._source.decoder.read(index), {**options, **self._settings})
        context.max_b_frames = 0  # packets then come in the order in which they are shown
        if name == "libvpx":
            context.options = {**context.options, "auto-alt-ref": "0", "lag-in-frames": "0"}
        if has_global_header:
            context.flags |= av.codec.context.Flags.global_header
        return context

    def _set_up(
        self,
        context: "VideoCodecContext",
        frame: "VideoFrame",
        options: dict[str, str],
    ) -> None:
        """Set size, format, rate and colours of an encoder to those of the source."""
        av, stream = require_av(), self._video
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = frame.format.name
        formats = {one.name for one in context.codec.video_formats or ()}
        if formats and frame.format.name not in formats:
            raise MediaError(
                f"{self._source.file.name} has {frame.format.name} pixels, which the encoder"
                f" {context.codec.name} does not support; use mode='copy', or vidnb.convert."
            )
        context.time_base = self._source.table.time_base
        context.framerate = stream.average_rate or stream.guessed_rate or Fraction(25)
        ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        if ratio:
            context.sample_aspect_ratio = ratio
        color_facts(context, frame)
        if frame.interlaced_frame:
            flags = av.codec.context.Flags
            context.flags |= flags.interlaced_dct | flags.interlaced_me
        profile = _X264_PROFILES.get(stream.codec_context.profile or "")
        if context.codec.name == "libx264" and profile and self._codec == "h264":
            options = {**options, "profile": profile}
        context.options = options

    def _encoded(self, frames: range) -> "Iterator[Packet[Any]]":
        encoder = self._encoder(frames.start, has_global_header=self._config is not None)
        for frame in and_none(map(self._prepared, frames)):
            with self._output.errors():
                packets: Iterable[Packet[Any]] = encoder.encode(frame)
            if self._config is not None:
                packets = [_with_lengths(packet, self._config) for packet in packets]
            yield from packets

    def _prepared(self, index: int) -> "VideoFrame":
        """Return a decoded frame with its time in the clip; the encoder chooses its type."""
        frame = self._source.decoder.read(index)
        frame.pts = self._source.ticks(index) - self._source.ticks(self._frames.start)
        frame.time_base = self._source.table.time_base
        frame.duration = self._source.ticks(index + 1) - self._source.ticks(index)
        frame.pict_type = 0
        return frame

    def _encoded_track(self, container: "OutputContainer", work: Work) -> "Track":
        """Add a stream that is encoded as a whole."""
        video = self._video
        name, options = _encoder_name(self._codec, self._muxer)
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        try:
            added = container.add_stream(name, rate=rate)
        except ValueError as error:
            raise MediaError(
                f"A {self._muxer} file cannot hold {name} video; choose a .mkv file."
            ) from error
        stream = cast("VideoStream", added)
        first = self._source.decoder.read(self._frames.start)
        self._set_up(stream.codec_context, first, options)
        stream.set_display_matrix(display_matrix(first))
        stream.metadata.update(kept_tags(video.metadata))
        stream.disposition = video.disposition
        return self._encode_all(stream, work)

    def _encode_all(self, stream: "VideoStream", work: Work) -> "Track":
        for frame in and_none(map(self._prepared, self._frames)):
            with self._output.errors():
                packets = stream.encode(frame)
            work.advance(frame is not None)
            for packet in packets:
                yield float((packet.dts or 0) * packet.time_base), 0, packet


def _with_lengths(packet: "Packet[Any]", config: AvcConfig) -> "Packet[Any]":
    av = require_av()
    changed = av.Packet(to_lengths(bytes(packet), config.length_bytes))
    changed.is_keyframe = packet.is_keyframe
    return cast("Packet[Any]", changed)


def _encoder_name(codec: str, muxer: str) -> tuple[str, dict[str, str]]:
    """Return the encoder for frames of a codec: its own, else what the container has."""
    name, options = _ENCODERS.get(codec) or _ENCODERS["vp9" if muxer == "webm" else "h264"]
    require_encoder(name)
    return name, dict(options)
