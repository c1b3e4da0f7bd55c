"""The pictures of a conversion: frames with their times, filtered and encoded."""

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.errors import MediaError
from vidnb.media.container import require_av
from vidnb.media.convert_format import ConvertRequest
from vidnb.media.decoder import FrameDecoder
from vidnb.media.export import OutputFile, Work, color_facts, display_matrix, mux_order
from vidnb.media.filter_graph import and_none, link_filters, run_filters
from vidnb.media.frame_table import FrameTable
from vidnb.media.frames import FIRST_HD_HEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

__all__ = ["SourceFrames", "VideoTrack"]

_TIME_BASES: Final = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
_FASTEST_PICTURE: Final = Fraction(50)
"""Browsers show a GIF of more frames a second at ten a second (Chromium 142, Firefox 140)."""
_LONGEST_GROUP: Final = 2000
_MATRICES: Final = {1: "bt709", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""FFmpeg's names of the matrices of ITU-T H.273, table 4."""
_TURNS: Final = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): (("hflip", ""),),
    (1, 0, 0, -1): (("vflip", ""),),
    (-1, 0, 0, -1): (("hflip", ""), ("vflip", "")),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}
"""The filters for the signs of a display matrix: a, b, c, d of ISO/IEC 14496-12 section 6.2.2."""


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
            if self._differs(frame):
                frame = frame.reformat(self.first.width, self.first.height, self.first.format.name)
            yield frame

    def _differs(self, frame: "VideoFrame") -> bool:
        """Whether the picture has another size or format than the first one."""
        first = self.first
        return (frame.width, frame.height, frame.format.name) != (
            first.width,
            first.height,
            first.format.name,
        )


class VideoTrack:
    """Filters and encodes the frames."""

    def __init__(self, request: ConvertRequest, source: SourceFrames) -> None:
        self._request = request
        self._source = source
        self._stream: VideoStream | None = None
        self._turns = _turns(source.first)
        self.width, self.height = self._size()
        self.frames = 0
        self.duration_s = Fraction(0)

    def _size(self) -> tuple[int, int]:
        """Return the size upright, with square pixels, even where the codec needs that."""
        first = self._source.first
        width = Fraction(first.width) * self._source.pixel_aspect_ratio()
        height = Fraction(first.height)
        if any(name == "transpose" for name, _ in self._turns):
            width, height = height, width
        if self._request.width is not None:
            width, height = Fraction(self._request.width), height * self._request.width / width
        step = 1 if self._request.format.is_picture else 2
        return (
            max(step, round(width / step) * step),
            max(step, round(height / step) * step),
        )

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
            color_facts(context, self._first_filtered())
        self._stream = stream

    def _time_base(self) -> Fraction:
        return self._source.table.time_base if self._request.fps is None else 1 / self._request.fps

    def _filtered(self) -> "Iterator[VideoFrame]":
        graph, entry, end = self._graph()
        link_filters(graph, entry, [*self._time_filters(), *self._filters()], end)
        graph.configure()
        yield from run_filters(entry, end, self._source)

    def _first_filtered(self) -> "VideoFrame":
        graph, entry, end = self._graph()
        link_filters(graph, entry, self._filters(), end)
        graph.configure()
        return cast("VideoFrame", next(run_filters(entry, end, [self._source.first])))

    def _graph(self) -> "tuple[Graph, FilterContext, FilterContext]":
        av = require_av()
        graph = av.filter.Graph()
        return graph, self._entry(graph), graph.add("buffersink")

    def _entry(self, graph: "Graph") -> "FilterContext":
        first = self._source.first
        ratio = self._source.pixel_aspect_ratio()
        facts = {
            "video_size": f"{first.width}x{first.height}",
            "pix_fmt": first.format.name,
            "time_base": str(self._source.table.time_base),
            "pixel_aspect": f"{ratio.numerator}/{ratio.denominator}",
            "colorspace": str(first.colorspace),
            "range": str(first.color_range),
        }
        return graph.add("buffer", **facts)

    def _time_filters(self) -> list[tuple[str, str]]:
        """Return the filters that look at several frames."""
        fps = self._request.fps
        if fps is None and self._request.format.is_picture and self._is_fast():
            fps = _FASTEST_PICTURE
        is_interlaced = self._source.first.interlaced_frame
        return [
            *([("bwdif", "mode=send_frame:deint=all")] if is_interlaced else []),
            *([] if fps is None else [("fps", f"{fps.numerator}/{fps.denominator}")]),
        ]

    def _filters(self) -> list[tuple[str, str]]:
        """Return the filters of each frame, as FFmpeg's names and arguments."""
        first, suffix = self._source.first, self._request.suffix
        matrix = _MATRICES.get(first.colorspace)
        if matrix is None:  # as players guess it, by the size before scaling
            matrix = "bt709" if first.height >= FIRST_HD_HEIGHT else "smpte170m"
        scale = f"w={self.width}:h={self.height}:flags=bicubic+accurate_rnd+full_chroma_int"
        if not first.format.is_rgb:
            scale += f":in_color_matrix={matrix}"
        if suffix == ".webp":  # RFC 9649, section 2.5: always this matrix
            matrix = "smpte170m"
        if suffix != ".gif":
            scale += f":out_color_matrix={matrix}:out_range=limited"
        return [
            *self._turns,
            ("scale", scale),
            ("setsar", "1"),
            ("format", "rgb32" if suffix == ".gif" else self._request.format.pixels),
        ]

    def _is_fast(self) -> bool:
        table = self._source.table
        gaps = (after - before for before, after in pairwise(table.pts))
        return any(gap * table.time_base < 1 / _FASTEST_PICTURE for gap in gaps)

    def _with_palette(self) -> "Iterator[VideoFrame]":
        """Yield the frames in the 256 colours that suit all of them best; reads them twice."""
        graph, entry, end = self._graph()
        link_filters(
            graph, entry, [*self._time_filters(), *self._filters(), ("palettegen", "")], end
        )
        graph.configure()
        (palette,) = run_filters(entry, end, self._source)
        graph, entry, end = self._graph()
        colors = graph.add(
            "buffer",
            video_size=f"{palette.width}x{palette.height}",
            pix_fmt=palette.format.name,
            time_base="1/100",
            pixel_aspect="1/1",
        )
        use = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
        link_filters(graph, entry, [*self._time_filters(), *self._filters()], use)
        colors.link_to(use, 0, 1)
        use.link_to(end)
        graph.configure()
        palette.pts = 0
        colors.push(palette)
        colors.push(None)
        yield from run_filters(entry, end, self._source)

    def packets(self, output: OutputFile) -> "Iterator[tuple[float, int, Packet[Any]]]":
        """Yield the encoded packets."""
        stream = cast("VideoStream", self._stream)
        is_gif = self._request.suffix == ".gif"
        next_key_s, waiting = Fraction(0), None
        end_s = last_s = Fraction(0)
        frames: Iterator[VideoFrame | None] = iter(
            self._with_palette() if is_gif else self._filtered()
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


def _turns(frame: "VideoFrame") -> tuple[tuple[str, str], ...]:
    """Return the filters that make a frame upright; none for an angle between."""
    matrix = display_matrix(frame)
    if matrix is None:
        return ()
    signs = [(value > 0) - (value < 0) for value in (matrix[0], matrix[1], matrix[3], matrix[4])]
    return _TURNS.get((signs[0], signs[1], signs[2], signs[3]), ())
