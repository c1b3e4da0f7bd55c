"""The pictures of a segment: copied packets, or frames that are encoded again.

A segment is made from the file, the settings and its interval alone: each has an encoder of its
own, so the same bytes come out whatever was made before, and decoding can start at each.
"""

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from math import ceil
from typing import TYPE_CHECKING, Final, cast

from vidnb.errors import MediaError
from vidnb.media.container import MediaFile, require_av
from vidnb.media.decoder import FrameDecoder
from vidnb.media.delivery import MAX_PIXELS
from vidnb.media.export import color_facts, require_encoder
from vidnb.media.fragment import Sample
from vidnb.media.frame_table import FrameTable
from vidnb.media.h264 import to_lengths
from vidnb.media.init_segment import copy_stream, timescale_for
from vidnb.media.packet_reader import PacketReader, frame_time, packet_time
from vidnb.media.picture_filters import PictureFilters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

__all__ = ["CopiedVideo", "EncodedVideo", "Interval"]

Interval = tuple[Fraction | None, Fraction | None]
"""From when and until when (s) frames are shown; None is no limit."""

_ENCODER: Final = "libx264"
_OPTIONS: Final = {"preset": "superfast", "crf": "21", "x264-params": "bframes=0:scenecut=0"}
_LONGEST_GROUP: Final = 100_000
_LARGEST_DELAY_S: Final = Fraction(1)
"""More than the reordering of any codec (s) at a usual rate: 16 frames of H.264."""
_DECODED_BYTES: Final = 64 * 2**20
_LENGTH_BYTES: Final = 4


class CopiedVideo:
    """Copies the packets of a video stream.

    With a frame table, frames have its times; without one, those of the packets.
    """

    def __init__(self, file: MediaFile, stream: "VideoStream", table: FrameTable | None) -> None:
        self._table = table
        self._file = file
        self._stream = stream
        self._reader = PacketReader(file, stream.index, from_key=True)
        # avcC and hvcC begin with their version, 1; a byte stream begins with a start code.
        is_nal = stream.codec_context.codec.canonical_name in {"h264", "hevc"}
        self._is_byte_stream = is_nal and (stream.codec_context.extradata or b"")[:1] != b"\1"
        self.timescale = timescale_for(cast(Fraction, stream.time_base))
        self.delay = self._delay()

    def add_to(self, container: "OutputContainer") -> None:
        """Add the stream to an initialization segment."""
        copy_stream(container, self._stream)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def samples(self, interval: Interval) -> tuple[int, list[Sample]]:
        """Return the first decoding time (ticks) and the samples of a segment."""
        since_s, until_s = interval
        found: list[tuple[int, Packet[VideoStream]]] = []
        for packet in self._reader.read(since_s):
            time_s = self._time(packet)
            if time_s is None:
                continue
            if packet.is_keyframe and until_s is not None and time_s >= until_s:
                break
            if found or (packet.is_keyframe and (since_s is None or time_s >= since_s)):
                found.append((round(time_s * self.timescale), packet))
        return _in_order(
            [(pts, self._data(packet), bool(packet.is_keyframe)) for pts, packet in found],
            None if until_s is None else round(until_s * self.timescale),
            self.delay,
        )

    def _delay(self) -> int:
        """Return by how much (ticks) a frame is decoded later than it is shown, at most."""
        table = self._table
        if table is None:
            return round(_LARGEST_DELAY_S * self.timescale)
        shown = [
            index
            for number in range(table.packet_count)
            if (index := table.frame_of(number)) is not None
        ]
        pts, late, decoded = table.pts, 0, table.pts[0]
        for index in shown:
            late = max(late, decoded - pts[index])
            if index + 1 < len(pts):
                decoded += pts[index + 1] - pts[index]
        return ceil(late * table.time_base * self.timescale)

    def _time(self, packet: "Packet[VideoStream]") -> Fraction | None:
        table = self._table
        if table is None:
            return packet_time(packet)
        number = table.packet_at(packet.pos, packet.pts)
        index = None if number is None else table.frame_of(number)
        return None if index is None else table.pts[index] * table.time_base

    def _data(self, packet: "Packet[VideoStream]") -> bytes:
        data = bytes(packet)
        return to_lengths(data, _LENGTH_BYTES, keeps_sets=True) if self._is_byte_stream else data


def _in_order(
    packets: Sequence[tuple[int, bytes, bool]], end: int | None, delay: int = 0
) -> tuple[int, list[Sample]]:
    """Return the first decoding time and the samples of packets in decoding order.

    Each sample lasts as long as its frame is shown, and is decoded after the ones before it: a
    player takes the durations of samples for those of frames. The times increase over all segments,
    whatever the delay of the file's own decoding times is. `delay` is added to each composition
    offset, so that none is negative; the edit list takes it off again.
    """
    if not packets:
        return 0, []
    ranks = sorted(range(len(packets)), key=lambda number: packets[number][0])
    due = [packets[number][0] for number in ranks]
    gaps = [after - before for before, after in pairwise(due)]
    last = gaps[-1] if gaps else 1
    if end is not None and end > due[-1]:
        last = end - due[-1]
    durations = [0] * len(packets)
    for number, duration in zip(ranks, (*gaps, last), strict=True):
        durations[number] = duration
    decoded = list(accumulate(durations[:-1], initial=due[0]))
    late = max(time - pts for time, (pts, _, _) in zip(decoded, packets, strict=True))
    if late > delay:  # without a frame table the delay was not known
        durations, decoded = [*gaps, last], due
    samples = [
        Sample(data, duration, pts - time + delay, is_key)
        for (pts, data, is_key), time, duration in zip(packets, decoded, durations, strict=True)
    ]
    return due[0], samples


class _TableFrames:
    """The frames of a stream by its frame table; damaged ones as FFmpeg conceals them."""

    def __init__(self, file: MediaFile, table: FrameTable) -> None:
        self._table = table
        self._decoder = FrameDecoder(file, 0, table, cache_bytes=_DECODED_BYTES, is_strict=False)

    def close(self) -> None:
        self._decoder.close()

    def read(self, interval: Interval, *, around: bool = False) -> "Iterator[VideoFrame]":
        """Yield the frames of an interval with their times, with `around` the neighbours, too."""
        table, shown = self._table, self._range(interval)
        first = max(0, shown.start - around)
        for index in range(first, min(len(table), shown.stop + around)):
            with suppress(MediaError):  # nothing can be shown for it: the one before stays
                frame = self._decoder.read(index)
                frame.pts, frame.time_base = table.pts[index], table.time_base
                yield frame

    def end_s(self, interval: Interval) -> Fraction | None:
        """Return when the last frame of an interval ends (s)."""
        table, stop = self._table, self._range(interval).stop
        return table.pts[stop] * table.time_base if stop < len(table) else None

    def _range(self, interval: Interval) -> range:
        table = self._table
        start, stop = (
            default if time_s is None else bisect_left(table.pts, time_s / table.time_base)
            for time_s, default in zip(interval, (0, len(table)), strict=True)
        )
        return range(start, stop)


class _TimedFrames:
    """The frames of a stream by their own times, where a table would cost reading all of it."""

    def __init__(self, file: MediaFile, index: int) -> None:
        self._file = file
        self._reader = PacketReader(file, index, from_key=True)
        self._frames: Iterator[VideoFrame] = iter(())
        self._before: VideoFrame | None = None  # the last one of the interval read last
        self._after: VideoFrame | None = None  # the one that follows it
        self._until_s: Fraction | None = None

    def close(self) -> None:
        self._before = self._after = None
        self._until_s = None
        self._frames = iter(())
        self._reader.close()

    def read(self, interval: Interval, *, around: bool = False) -> "Iterator[VideoFrame]":
        """Yield the frames of an interval with their times, with `around` the neighbours, too."""
        since_s, until_s = interval
        if since_s is None or since_s != self._until_s or self._after is None:
            self._before = self._after = None
            self._frames = self._decoded(since_s)
        before, after, self._after = self._before, self._after, None
        frames = chain(() if after is None else (after,), self._frames)
        for frame in frames:
            time_s = frame_time(frame)
            if since_s is not None and time_s < since_s:
                before = frame
                continue
            if around and before is not None:
                yield before
            before = None
            if until_s is not None and time_s >= until_s:
                self._after = frame
                break
            self._before = frame
            yield frame
        self._until_s = until_s
        if around and self._after is not None:
            yield self._after

    def end_s(self, interval: Interval) -> Fraction | None:
        """Return when the last frame of the interval that was read last ends (s)."""
        after = self._after
        if after is None or interval[1] is None:
            return None
        return frame_time(after)

    def _decoded(self, since_s: Fraction | None) -> "Iterator[VideoFrame]":
        """Yield the frames from a key frame at or before a time on."""
        av = require_av()
        for packet in chain(self._reader.read(since_s), (None,)):
            stream = cast("VideoStream", self._reader.stream)
            context = stream.codec_context
            if not context.is_open:
                context.thread_type = "AUTO"
            with suppress(av.error.FFmpegError):  # a damaged packet has no frame
                for frame in context.decode(packet):
                    if frame.pts is not None:
                        frame.time_base = stream.time_base  # a flushed frame has none
                        yield frame


class EncodedVideo:
    """Decodes the frames of a stream and encodes them as H.264 that every browser plays.

    Each frame keeps its time. `MediaError` if no frame can be decoded.
    """

    def __init__(self, file: MediaFile, stream: "VideoStream", table: FrameTable | None) -> None:
        require_encoder(_ENCODER)
        size = stream.codec_context.width, stream.codec_context.height
        if size[0] * size[1] > MAX_PIXELS:
            raise MediaError(
                f"The frames of {file.name} have {size[0]} x {size[1]} pixels, too many to convert"
                " them while they play; make them smaller with vidnb.convert(width=…)."
            )
        self._frames: _TableFrames | _TimedFrames = (
            _TimedFrames(file, stream.index) if table is None else _TableFrames(file, table)
        )
        first = next(self._frames.read((None, None)), None)
        if first is None:
            self.close()
            raise MediaError(f"No frame of {file.name} can be decoded; check the file.")
        self._rate = stream.average_rate or Fraction(25)
        self._filters = PictureFilters.for_player(first, stream)
        self._first = self._filters.first()
        self.timescale = timescale_for(cast(Fraction, stream.time_base))

    def close(self) -> None:
        """Free the decoder and close the file."""
        self._frames.close()

    def add_to(self, container: "OutputContainer") -> None:
        """Add the stream to an initialization segment."""
        stream = container.add_stream(_ENCODER, rate=self._rate)
        self._set_up(stream.codec_context)

    def _set_up(self, context: "VideoCodecContext") -> None:
        context.width, context.height = self._filters.size
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, self.timescale)
        context.framerate = self._rate
        context.gop_size = _LONGEST_GROUP
        context.options = dict(_OPTIONS)
        color_facts(context, self._first)

    def samples(self, interval: Interval) -> tuple[int, list[Sample]]:
        """Return the first decoding time (ticks) and the samples of a segment."""
        av = require_av()
        encoder = cast("VideoCodecContext", av.CodecContext.create(_ENCODER, "w"))
        self._set_up(encoder)
        encoder.flags |= av.codec.context.Flags.global_header
        packets = [
            (
                cast(int, packet.pts),
                to_lengths(bytes(packet), _LENGTH_BYTES),
                bool(packet.is_keyframe),
            )
            for frame in chain(self._shown(interval), (None,))
            for packet in encoder.encode(frame)
        ]
        end_s = self._frames.end_s(interval)
        return _in_order(packets, None if end_s is None else round(end_s * self.timescale))

    def _shown(self, interval: Interval) -> "Iterator[VideoFrame]":
        """Yield the filtered frames of a segment, with times in ticks of the new track."""
        since_s, until_s = interval
        frames = self._frames.read(interval, around=self._filters.is_temporal)
        last = None
        for frame in self._filters.run(frames):
            time_s = frame_time(frame)
            pts = round(time_s * self.timescale)
            is_within = (since_s is None or time_s >= since_s) and (
                until_s is None or time_s < until_s
            )
            if is_within and (last is None or pts > last):
                frame.pts, frame.time_base = pts, Fraction(1, self.timescale)
                frame.pict_type = 0
                last = pts
                yield frame
