"""`vidnb.convert`: a video in another format, made for seeking in a browser, or as a picture.

All frames come from the frame table, so the result has the frames of `vidnb.frames` with their
times, also at a variable rate. FFmpeg's filters make them upright, progressive and of square
pixels.
"""

import heapq
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.download.options import check_count, check_seconds
from vidnb.download.request import local_path
from vidnb.errors import MediaError
from vidnb.io.regular_file import StrPath
from vidnb.media.container import MediaFile, MediaSource, require_av
from vidnb.media.decoder import FrameDecoder
from vidnb.media.export import (
    OutputFile,
    ProgressFunction,
    Work,
    check_not_source,
    color_facts,
    display_matrix,
    kept_tags,
    require_encoder,
    run_export,
)
from vidnb.media.frame_table import FrameTable
from vidnb.media.table_reader import open_stream, read_table

if TYPE_CHECKING:
    from av import AudioFrame, Packet, VideoFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

__all__ = ["ConvertResult", "convert"]


@dataclass(frozen=True, slots=True)
class _Format:
    """How a suffix is encoded: FFmpeg's muxer and encoders, with their options."""

    muxer: str
    encoder: str
    pixels: str
    options: dict[str, str]
    muxer_options: dict[str, str]
    audio: str | None = None
    is_picture: bool = False


_FORMATS: Final = {
    ".mp4": _Format(
        "mp4",
        "libx264",
        "yuv420p",
        {"crf": "20", "preset": "medium", "forced-idr": "1", "profile": "high"},
        {"movflags": "+faststart"},  # the index first: a player starts after one request
        audio="aac",
    ),
    ".webm": _Format(
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "31", "b": "0", "row-mt": "1", "cpu-used": "4"},
        {"cues_to_front": "1"},  # likewise
        audio="libopus",
    ),
    ".gif": _Format("gif", "gif", "pal8", {}, {"loop": "0"}, is_picture=True),
    ".webp": _Format(
        "webp", "libwebp_anim", "yuv420p", {"quality": "80"}, {"loop": "0"}, is_picture=True
    ),
}
_TIME_BASES: Final = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
_FASTEST_PICTURE: Final = Fraction(50)
"""Browsers show a GIF of more frames a second at ten a second (Chromium 142, Firefox 140)."""
_LONGEST_GROUP: Final = 2000
_AUDIO_BIT_RATE: Final = 160_000
_MATRICES: Final = {1: "bt709", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""FFmpeg's names of the matrices of ITU-T H.273, table 4."""
_RGB: Final = 0
_FIRST_HD_HEIGHT: Final = 720
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
_CACHE_BYTES: Final = 2**26


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """A finished conversion, from `vidnb.convert`; an error is raised instead of an incomplete one.

    It has `size_bytes` (B), `frames` pictures of `width` x `height` pixels, and lasts `duration_s`
    (s). `skipped_frames` is the number of frames of the source that are damaged and so missing.
    """

    path: Path
    size_bytes: int
    frames: int
    width: int
    height: int
    duration_s: float
    skipped_frames: int = 0


def convert(
    source: MediaSource,
    path: StrPath,
    *,
    width: int | None = None,
    fps: float | Fraction | None = None,
    keyframe_s: float = 1.0,
    progress: bool | ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> ConvertResult:
    """Convert a video; the suffix of `path` chooses the format.

    .mp4 is H.264 and AAC with the index first, which every browser plays and seeks; .webm is VP9
    and Opus; .gif and .webp are animated pictures without sound, the GIF with a palette of its own.

    Parameters
        source: a path, an http(s) URL, a `DownloadResult`, a `Served` or a seekable binary file
            object.
        path: the new file; an existing one is replaced when the new one is complete.
        width: the width (pixels); the height follows. None: the size of the source.
        fps: frames a second; None: the frames of the source with their times, at a variable rate,
            too, but at most 50 a second in a picture.
        keyframe_s: the longest time (s) between key frames in .mp4 and .webm.
        progress: None or True: a bar in a cell or on a terminal. False: nothing. A function: called
            with an `ExportProgress` ten times a second.
        cancel: an event; setting it, from any thread, ends the call with
            `concurrent.futures.CancelledError`.

    The result is upright, progressive, with square pixels and 8 bits a channel; the colour facts
    of an HDR source are kept. Damaged frames are left out and counted. After an error or an
    interrupt nothing is left. Raises `ValueError` for a bad argument, `MediaError` for what is not
    a readable video or an encoder that this FFmpeg lacks, `StorageError` if the disk fails,
    `MissingExtra` without the extra `media`, and what `vidnb.open` raises for a URL.
    """
    target = Path(local_path(path)).absolute()
    suffix = target.suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(
            f"{target.name} must end with one of {', '.join(_FORMATS)}: the suffix chooses the"
            " format."
        )
    if width is not None:
        width = check_count("width", width)
    if fps is not None and (
        isinstance(fps, bool) or not isinstance(fps, Real) or not 0 < fps <= 1000
    ):
        raise ValueError(f"fps={fps!r} must be a number of frames a second, at most 1000.")
    request = _Request(
        source,
        target,
        suffix,
        width,
        None if fps is None else Fraction(fps).limit_denominator(1001),
        Fraction(check_seconds("keyframe_s", keyframe_s)),
    )
    require_encoder(_FORMATS[suffix].encoder)
    return run_export(
        partial(_convert, request), name=target.name, progress=progress, cancel=cancel
    )


@dataclass(frozen=True, slots=True)
class _Request:
    source: object
    path: Path
    suffix: str
    width: int | None
    fps: Fraction | None
    keyframe_s: Fraction

    @property
    def format(self) -> _Format:
        return _FORMATS[self.suffix]


def _convert(request: _Request, work: Work) -> ConvertResult:
    with MediaFile(request.source) as file:
        check_not_source(request.path, file)
        table = read_table(file, 0)
        with (
            FrameDecoder(file, 0, table, cache_bytes=_CACHE_BYTES) as decoder,
            OutputFile(request.path) as output,
        ):
            source = _Frames(decoder, table, work)
            work.total_frames = len(table) * (1 + (request.suffix == ".gif"))
            video = _VideoTrack(request, source)
            container = output.open(request.format.muxer, request.format.muxer_options)
            with file.open() as template:
                stream = open_stream(template, 0, file.name)
                video.add_to(container, stream)
                sound = _add_sound(container, request.format, template.streams.audio)
                if not request.format.is_picture:
                    container.metadata.update(kept_tags(template.metadata))
            tracks = [video.packets(output)]
            if sound is not None:
                tracks.append(_sound_packets(file, sound, table, work, output))
            with output.errors():
                container.start_encoding()
            for _, _, packet in heapq.merge(*tracks, key=lambda one: one[:2]):
                with output.errors():
                    container.mux(packet)
            published, size_bytes = output.publish()
    return ConvertResult(
        published,
        size_bytes,
        video.frames,
        video.width,
        video.height,
        float(video.duration_s),
        source.skipped,
    )


class _Frames:
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


class _VideoTrack:
    """Filters and encodes the frames."""

    def __init__(self, request: _Request, source: _Frames) -> None:
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
        _link(graph, entry, [*self._time_filters(), *self._filters()], end)
        graph.configure()
        yield from _run(entry, end, self._source)

    def _first_filtered(self) -> "VideoFrame":
        graph, entry, end = self._graph()
        _link(graph, entry, self._filters(), end)
        graph.configure()
        return cast("VideoFrame", next(_run(entry, end, [self._source.first])))

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
            matrix = "bt709" if first.height >= _FIRST_HD_HEIGHT else "smpte170m"
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
        _link(graph, entry, [*self._time_filters(), *self._filters(), ("palettegen", "")], end)
        graph.configure()
        (palette,) = _run(entry, end, self._source)
        graph, entry, end = self._graph()
        colors = graph.add(
            "buffer",
            video_size=f"{palette.width}x{palette.height}",
            pix_fmt=palette.format.name,
            time_base="1/100",
            pixel_aspect="1/1",
        )
        use = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
        _link(graph, entry, [*self._time_filters(), *self._filters()], use)
        colors.link_to(use, 0, 1)
        use.link_to(end)
        graph.configure()
        palette.pts = 0
        colors.push(palette)
        colors.push(None)
        yield from _run(entry, end, self._source)

    def packets(self, output: OutputFile) -> "Iterator[tuple[float, int, Packet[Any]]]":
        """Yield the encoded packets."""
        stream = cast("VideoStream", self._stream)
        is_gif = self._request.suffix == ".gif"
        next_key_s, waiting = Fraction(0), None
        end_s = last_s = Fraction(0)
        frames: Iterator[VideoFrame | None] = iter(
            self._with_palette() if is_gif else self._filtered()
        )
        for frame in _and_none(frames):
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
                    yield _key(waiting, 0)
                waiting = packet
        self.duration_s = end_s
        if waiting is not None:  # a track ends with its last packet in decoding order
            waiting.duration = max(1, round((end_s - last_s) / waiting.time_base))
            yield _key(waiting, 0)


def _turns(frame: "VideoFrame") -> tuple[tuple[str, str], ...]:
    """Return the filters that make a frame upright; none for an angle between."""
    matrix = display_matrix(frame)
    if matrix is None:
        return ()
    signs = [(value > 0) - (value < 0) for value in (matrix[0], matrix[1], matrix[3], matrix[4])]
    return _TURNS.get((signs[0], signs[1], signs[2], signs[3]), ())


def _link(
    graph: "Graph", entry: "FilterContext", filters: list[tuple[str, str]], end: "FilterContext"
) -> None:
    last = entry
    for name, arguments in filters:
        added = graph.add(name, arguments or None)
        last.link_to(added)
        last = added
    last.link_to(end)


def _run(entry: "FilterContext", end: "FilterContext", frames: Any) -> "Iterator[Any]":
    """Push frames into a graph and yield what comes out."""
    av = require_av()
    for frame in _and_none(frames):
        entry.push(frame)
        while True:
            try:
                yield end.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break


def _and_none(frames: Any) -> Iterator[Any]:
    yield from frames
    yield None


def _key(packet: "Packet[Any]", track: int) -> "tuple[float, int, Packet[Any]]":
    return float((packet.dts or 0) * packet.time_base), track, packet


# Sound


@dataclass(frozen=True, slots=True)
class _Sound:
    index: int  # of the stream in the source
    stream: "AudioStream"


def _add_sound(
    container: "OutputContainer", settings: _Format, streams: "tuple[AudioStream, ...]"
) -> _Sound | None:
    """Add a stream for the first sound of the source that can be decoded."""
    source = next((one for one in streams if one.codec_context is not None), None)
    if settings.audio is None or source is None or not source.codec_context.sample_rate:
        return None
    require_encoder(settings.audio)
    rate = 48000 if settings.audio == "libopus" else _aac_rate(source.codec_context.sample_rate)
    stream = cast("AudioStream", container.add_stream(settings.audio, rate=rate))
    stream.codec_context.layout = "mono" if source.codec_context.channels == 1 else "stereo"
    stream.codec_context.bit_rate = _AUDIO_BIT_RATE
    stream.metadata.update(kept_tags(source.metadata))
    return _Sound(source.index, stream)


def _aac_rate(rate: int) -> int:
    """Return a sampling rate (Hz) that every AAC decoder knows."""
    return rate if rate in {22050, 24000, 32000, 44100, 48000} else 48000


def _sound_packets(
    file: MediaFile, sound: _Sound, table: FrameTable, work: Work, output: OutputFile
) -> "Iterator[tuple[float, int, Packet[Any]]]":
    """Yield the encoded sound, in step with the first frame: gaps become silence."""
    context = sound.stream.codec_context
    layout, rate = context.layout.name, context.sample_rate
    start_s = table.pts[0] * table.time_base
    graph: Callable[[AudioFrame | None], Iterator[AudioFrame]] | None = None
    kind: object = None
    decoded = _decoded_sound(file, sound.index)
    for frame in _and_none(decoded):
        work.advance(0)
        filtered: list[AudioFrame] = []
        if frame is not None:
            frame.pts -= round(start_s / frame.time_base)
        found = frame and (frame.sample_rate, frame.format.name, frame.layout.name)
        if graph is not None and found != kind:
            filtered.extend(graph(None))
        if frame is not None:
            if graph is None or found != kind:
                graph, kind = _sound_graph(frame, layout, rate, is_first=kind is None), found
            filtered.extend(graph(frame))
        with output.errors():
            for one in filtered if frame is not None else [*filtered, None]:
                for packet in sound.stream.encode(one):
                    yield _key(packet, 1)


def _decoded_sound(file: MediaFile, index: int) -> "Iterator[AudioFrame]":
    av = require_av()
    with file.open() as container, file.errors():
        stream = cast("AudioStream", container.streams[index])
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet is silent
            yield from (frame for frame in frames if frame.pts is not None and frame.samples)


def _sound_graph(
    frame: "AudioFrame", layout: str, rate: int, *, is_first: bool
) -> "Callable[[AudioFrame | None], Iterator[AudioFrame]]":
    """Return a function that resamples frames of one kind; silence and cuts keep them in step."""
    av = require_av()
    graph = av.filter.Graph()
    entry = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=frame.time_base,
    )
    end = graph.add("abuffersink")
    step = "async=1:min_hard_comp=0.05" + (":first_pts=0" if is_first else "")
    form = f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"
    _link(graph, entry, [("aresample", step), ("aformat", form)], end)
    graph.configure()

    def run(one: "AudioFrame | None") -> "Iterator[AudioFrame]":
        graph.push(one)  # not `entry`: a filter does not keep its graph
        while True:
            try:
                yield cast("AudioFrame", graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    return run
