"""The pictures of a conversion: frames with their times, filtered and encoded."""

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.errors import MediaError
from vidnb.media.convert_format import ConvertRequest
from vidnb.media.decoder import FrameDecoder
from vidnb.media.export import OutputFile, Work, color_facts, mux_order
from vidnb.media.filter_graph import add_filters, and_none, run_filters
from vidnb.media.frame_table import FrameTable
from vidnb.media.picture_filters import PictureFilters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["SourceFrames", "VideoTrack"]

_TIME_BASES: Final = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
_FASTEST_PICTURE: Final = Fraction(50)
"""Browsers show a GIF of more frames a second at ten a second (Chromium 142, Firefox 140)."""
_LONGEST_GROUP: Final = 2000


class SourceFrames:
    """The frames of the source with times from 0, in order; damaged ones are left out."""

    def __init__(self, decoder: FrameDecoder, table: FrameTable, work: Work) -> None:
        self._decoder = decoder
        self._work = work
        self.table = table
        self.skipped = 0
        self.first = self._first_readable()

    def _first_readable(self) -> "VideoFrame":
        for index in range(len(self.table) - 1):
            try:
                return self._decoder.read(index)
            except MediaError:
                continue
        return self._decoder.read(len(self.table) - 1)

    def pixel_aspect_ratio(self) -> Fraction:
        """Return width by height of a pixel."""
        return self._decoder.pixel_aspect_ratio()

    def __iter__(self) -> "Iterator[VideoFrame]":
        table, self.skipped = self.table, 0
        base = table.pts[0]
        gap = 1
        for index in range(len(table)):
            self._work.advance()
            try:
                frame = self._decoder.read(index)
            except MediaError:
                self.skipped += 1
                continue
            if index + 1 < len(table):
                gap = table.pts[index + 1] - table.pts[index]
                frame.duration = gap
            frame.duration = frame.duration or gap
            frame.pts, frame.time_base, frame.pict_type = (
                table.pts[index] - base,
                table.time_base,
                0,
            )
            yield frame


class VideoTrack:
    """Filters and encodes the frames."""

    def __init__(self, request: ConvertRequest, source: SourceFrames) -> None:
        self._request = request
        self._source = source
        self._stream: VideoStream | None = None
        settings = request.format
        self._filters = PictureFilters(
            source.first,
            pixel_aspect_ratio=source.pixel_aspect_ratio(),
            time_base=source.table.time_base,
            width=request.width,
            fps=self._frame_rate(),
            pixels="rgb32" if request.suffix == ".gif" else settings.pixels,
            # RFC 9649, section 2.5: always this matrix.
            matrix="smpte170m" if request.suffix == ".webp" else None,
            is_even=not settings.is_picture,
        )
        self.width, self.height = self._filters.size
        self.frames = 0
        self.duration_s = Fraction(0)

    def _frame_rate(self) -> Fraction | None:
        fps = self._request.fps
        if fps is None and self._request.format.is_picture and self._is_fast():
            return _FASTEST_PICTURE
        return fps

    def add_to(self, container: "OutputContainer", source: "VideoStream") -> None:
        """Add the stream to the new file."""
        settings = self._request.format
        rate = self._request.fps or source.average_rate or Fraction(25)
        stream = cast("VideoStream", container.add_stream(settings.encoder, rate=rate))
        context = stream.codec_context
        context.width, context.height = self.width, self.height
        context.pix_fmt = settings.pixels
        context.time_base = _TIME_BASES.get(self._request.suffix) or self._time_base()
        context.options = dict(settings.options)
        if not settings.is_picture:
            context.gop_size = _LONGEST_GROUP  # key frames are asked for by time
            # The filters decide the colour facts; the encoder needs them before its first frame.
            color_facts(context, self._filters.first())
        self._stream = stream

    def _time_base(self) -> Fraction:
        return self._source.table.time_base if self._request.fps is None else 1 / self._request.fps

    def _is_fast(self) -> bool:
        table = self._source.table
        gaps = (after - before for before, after in pairwise(table.pts))
        return any(gap * table.time_base < 1 / _FASTEST_PICTURE for gap in gaps)

    def _with_palette(self) -> "Iterator[VideoFrame]":
        """Yield the frames in the 256 colours that suit all of them best; reads them twice."""
        graph, entry, last = self._filters.graph()
        end = graph.add("buffersink")
        add_filters(graph, last, [("palettegen", "")]).link_to(end)
        graph.configure()
        (palette,) = run_filters(entry, end, self._filters.alike(self._source))
        graph, entry, last = self._filters.graph()
        colors = graph.add(
            "buffer",
            video_size=f"{palette.width}x{palette.height}",
            pix_fmt=palette.format.name,
            time_base="1/100",
            pixel_aspect="1/1",
        )
        use = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
        end = graph.add("buffersink")
        last.link_to(use)
        colors.link_to(use, 0, 1)
        use.link_to(end)
        graph.configure()
        palette.pts = 0
        colors.push(palette)
        colors.push(None)
        yield from run_filters(entry, end, self._filters.alike(self._source))

    def packets(self, output: OutputFile) -> "Iterator[tuple[float, int, Packet[Any]]]":
        """Yield the encoded packets."""
        stream = cast("VideoStream", self._stream)
        is_gif = self._request.suffix == ".gif"
        next_key_s, waiting = Fraction(0), None
        end_s = last_s = Fraction(0)
        frames: Iterator[VideoFrame | None] = iter(
            self._with_palette() if is_gif else self._filters.run(self._source)
        )
        for frame in and_none(frames):
            if frame is not None:
                time_s = Fraction(frame.pts or 0) * frame.time_base
                end_s = time_s + max(1, frame.duration) * frame.time_base
                last_s = time_s
                self.frames += 1
                is_key = not self._request.format.is_picture and time_s >= next_key_s
                if is_key:
                    next_key_s = time_s + self._request.keyframe_s
                frame.pict_type = 1 if is_key else 0
            with output.errors():
                packets = stream.encode(frame)
            for packet in packets:
                if waiting is not None:
                    yield mux_order(waiting, 0)
                waiting = packet
        self.duration_s = end_s
        if waiting is not None:  # a track ends with its last packet in decoding order
            waiting.duration = max(1, round((end_s - last_s) / waiting.time_base))
            yield mux_order(waiting, 0)
