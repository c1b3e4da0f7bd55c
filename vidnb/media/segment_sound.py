"""The sound of a segment: copied packets, or sound that is encoded again.

The encoded frames lie on one grid of samples for the whole file, and an encoder starts a few frames
early, so that segments join without a gap, a repetition or a click.
"""

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.media.container import MediaFile, require_av
from vidnb.media.export import AUDIO_BIT_RATE, require_encoder, sound_rate
from vidnb.media.fragment import Sample
from vidnb.media.init_segment import copy_stream
from vidnb.media.packet_reader import PacketReader, frame_time, packet_time
from vidnb.media.segment_video import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from av import AudioFrame, Packet
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

__all__ = ["CopiedSound", "EncodedSound"]

_KEPT_PACKETS: Final = 256
_ENCODERS: Final = {"aac": ("aac", 1024), "opus": ("libopus", 960)}
"""By variant: the encoder of FFmpeg, and the samples of its frames."""
_FIRST_FRAMES: Final = 4
"""So many frames are encoded before the first one of a segment: the overlap of the transform, the
delay of the encoder, and its choice of windows."""
_PREROLL_S: Final = Fraction(1, 4)
"""How much earlier (s) decoding starts: RFC 7845 section 4.6 asks for 80 ms."""
_MAX_JITTER_S: Final = Fraction(1, 20)
"""Timestamps that are rounded by up to this much (s) leave no gap."""
_ROUNDING_S: Final = Fraction(2, 1000)
"""Matroska rounds timestamps to milliseconds."""
_WITH_STATE: Final = {"aac", "ac3", "eac3", "mp2", "mp3", "opus"}
"""Codecs whose packets need nothing of the stream but its extradata."""
_ADTS_HEADER_BYTES: Final = (9, 7)
"""By the flag `protection_absent` (ISO/IEC 14496-3 section 1.A.3.2)."""


class CopiedSound:
    """Copies the packets of a sound stream; a packet belongs to the segment in which it starts."""

    def __init__(self, file: MediaFile, stream: "AudioStream", guide: int | None) -> None:
        self._stream = stream
        self._reader = PacketReader(file, stream.index, guide, kept=_KEPT_PACKETS)
        self._is_adts = _is_adts(stream)
        context = stream.codec_context
        is_opus = context.codec.canonical_name == "opus"
        self.timescale: int = 48_000 if is_opus else context.sample_rate

    def add_to(self, container: "OutputContainer") -> None:
        """Add the stream to an initialization segment."""
        copy_stream(container, self._stream)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def samples(self, interval: Interval) -> tuple[int, list[Sample]]:
        """Return the first decoding time (ticks) and the samples of a segment."""
        since_s, until_s = interval
        found: list[tuple[int, bytes]] = []
        end = 0
        for packet in self._reader.read(since_s):
            time_s = packet_time(packet)
            if time_s is None or time_s < (since_s or 0):
                continue
            start = round(time_s * self.timescale)
            if until_s is not None and time_s >= until_s:
                end = start
                break
            duration_s = (packet.duration or 0) * packet.time_base
            end = start + max(1, round(duration_s * self.timescale))
            found.append((start, self._data(packet)))
        ends = [*(start for start, _ in found[1:]), end]
        return (found[0][0] if found else 0), [
            Sample(data, max(0, stop - start))
            for (start, data), stop in zip(found, ends, strict=False)
        ]

    def _data(self, packet: "Packet[AudioStream]") -> bytes:
        data = bytes(packet)
        if self._is_adts and len(data) > 7:
            return data[_ADTS_HEADER_BYTES[data[1] & 1] :]
        return data


def _is_adts(stream: "AudioStream") -> bool:
    context = stream.codec_context
    return context.codec.canonical_name == "aac" and not context.extradata


class EncodedSound:
    """Decodes a sound stream and encodes it in stereo or mono; gaps become silence.

    `codec` is "aac" or "opus"; `start_s` is when the first frame starts (s).
    """

    def __init__(
        self,
        file: MediaFile,
        stream: "AudioStream",
        guide: int | None,
        codec: str,
        start_s: Fraction,
    ) -> None:
        self._encoder, self._size = _ENCODERS[codec]
        require_encoder(self._encoder)
        self._reader = PacketReader(file, stream.index, guide, kept=_KEPT_PACKETS)
        context = stream.codec_context
        self.timescale: int = sound_rate(codec, context.sample_rate)
        self._layout = "mono" if context.channels == 1 else "stereo"
        self._origin = round(start_s * self.timescale)
        self._first_s = (stream.start_time or 0) * cast(Fraction, stream.time_base)

    def add_to(self, container: "OutputContainer") -> None:
        """Add the stream to an initialization segment."""
        stream = cast("AudioStream", container.add_stream(self._encoder, rate=self.timescale))
        self._set_up(stream.codec_context)

    def _set_up(self, context: "AudioCodecContext") -> None:
        context.layout = self._layout
        context.sample_rate = self.timescale
        context.format = "fltp" if self._encoder == "aac" else "flt"
        context.bit_rate = AUDIO_BIT_RATE
        context.time_base = Fraction(1, self.timescale)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def samples(self, interval: Interval) -> tuple[int, list[Sample]]:
        """Return the first decoding time (ticks) and the samples of a segment."""
        since_s, until_s = interval
        first = self._grid(since_s) if since_s is not None else self._origin
        decoded = _Decoded(self._reader, self.timescale, self._layout, self._first_s)
        start = first - _FIRST_FRAMES * self._size
        if until_s is None:
            sound, stop = decoded.read(start, None)
        else:
            stop = self._grid(until_s)
            sound, _ = decoded.read(start, stop + 2 * self._size)
        found = [one for one in self._encoded(sound, start) if first <= one[0] < stop]
        # Opus starts within a frame of the grid: its encoder has a delay of its own.
        return (found[0][0] if found else 0), [Sample(data, self._size) for _, data in found]

    def _grid(self, time_s: Fraction) -> int:
        """Return the start of the first frame of the grid at or after a time."""
        frames = ceil((time_s * self.timescale - self._origin) / self._size)
        return self._origin + max(0, frames) * self._size

    def _encoded(self, sound: "np.ndarray", start: int) -> "Iterator[tuple[int, bytes]]":
        """Yield the start of each encoded frame and its bytes."""
        av = require_av()
        encoder = cast("AudioCodecContext", av.CodecContext.create(self._encoder, "w"))
        self._set_up(encoder)
        encoder.flags |= av.codec.context.Flags.global_header
        for at in range(0, sound.shape[1], self._size):
            part = sound[:, at : at + self._size]
            if self._encoder != "aac":  # interleaved
                part = part.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                part.copy(order="C"), format=encoder.format.name, layout=self._layout
            )
            frame.sample_rate = self.timescale
            frame.pts, frame.time_base = start + at, Fraction(1, self.timescale)
            for packet in encoder.encode(frame):
                yield cast(int, packet.pts), bytes(packet)
        for packet in encoder.encode(None):
            yield cast(int, packet.pts), bytes(packet)


class _Decoded:
    """Decoded sound at its place on a line of samples, in one rate and layout."""

    def __init__(self, reader: PacketReader, rate: int, layout: str, first_s: Fraction) -> None:
        self._reader = reader
        self._rate = rate
        self._layout = layout
        self._first_s = first_s

    def read(self, start: int, stop: int | None) -> "tuple[np.ndarray, int]":
        """Return the samples from `start` until `stop`, and where they end.

        Without `stop` they end with the stream. What is missing is silent.
        """
        import numpy as np

        channels = 1 if self._layout == "mono" else 2
        parts: list[np.ndarray] = []
        at = start
        for position, data in self._placed(start):
            if stop is not None and position >= stop:
                break
            skipped = max(0, at - position)
            if skipped >= data.shape[1]:
                continue
            if position > at:
                parts.append(np.zeros((channels, position - at), np.float32))
                at = position
            part = data[:, skipped : None if stop is None else max(0, stop - position)]
            parts.append(part)
            at += part.shape[1]
        if stop is not None and at < stop:
            parts.append(np.zeros((channels, stop - at), np.float32))
            at = stop
        empty = np.zeros((channels, 0), np.float32)
        return np.concatenate([empty, *parts], axis=1), at

    def _placed(self, start: int) -> "Iterator[tuple[int, np.ndarray]]":
        """Yield decoded sound with the position of its first sample."""
        expected: int | None = None
        jitter = _MAX_JITTER_S * self._rate
        for frame in self._frames(start):
            position = round(frame_time(frame) * self._rate)
            if expected is not None and abs(position - expected) <= jitter:
                position = expected
            data = frame.to_ndarray()
            expected = position + data.shape[1]
            yield position, data

    def _frames(self, start: int) -> "Iterator[AudioFrame]":
        """Yield frames in the rate and layout, from a little before a position on."""
        av = require_av()
        since_s = max(Fraction(0), Fraction(start, self._rate) - _PREROLL_S)
        kind: object = None
        resampler: Any = None
        for decoded in self._decoded(since_s):
            found = (decoded.format.name, decoded.layout.name, decoded.sample_rate)
            if found != kind:
                kind = found
                resampler = av.AudioResampler("fltp", self._layout, self._rate)
            decoded.pts, decoded.time_base = _snapped(decoded, self._first_s)
            yield from (one for one in resampler.resample(decoded) if one.samples)

    def _decoded(self, since_s: Fraction) -> "Iterator[AudioFrame]":
        av = require_av()
        context: AudioCodecContext | None = None
        for packet in self._reader.read(since_s):
            time_s = packet_time(packet)
            if time_s is None or time_s < since_s:
                continue
            context = context or self._new_decoder()
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                continue  # a damaged packet is silent
            yield from (one for one in frames if one.pts is not None and one.samples)

    def _new_decoder(self) -> "AudioCodecContext":
        """Return a decoder in its first state; a flush keeps that of noise and of Opus."""
        context = cast("AudioStream", self._reader.stream).codec_context
        if context.codec.canonical_name not in _WITH_STATE:
            context.flush_buffers()
            return context
        decoder = cast("AudioCodecContext", require_av().CodecContext.create(context.codec, "r"))
        decoder.extradata = context.extradata
        return decoder


def _snapped(frame: "AudioFrame", first_s: Fraction) -> tuple[int, Fraction]:
    """Return the time of a frame, without the rounding of the container.

    Frames of a constant number of samples follow each other on a grid from the start of the stream.
    """
    time_s = frame_time(frame)
    size_s = Fraction(frame.samples, frame.sample_rate)
    exact_s = first_s + round((time_s - first_s) / size_s) * size_s
    if abs(exact_s - time_s) <= _ROUNDING_S:
        time_s = exact_s
    return round(time_s * frame.sample_rate), Fraction(1, frame.sample_rate)
