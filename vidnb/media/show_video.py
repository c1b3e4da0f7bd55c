"""Encode pictures as H.264: segments for players that watch already, and one complete MP4.

One encoder makes both. There are no B-frames and every segment starts at a key frame, so each is
decodable by itself and frame n is shown from n / fps. The same pictures give the same bytes: the
number of the encoder's threads does not depend on the machine.
"""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from vidnb.errors import MediaError
from vidnb.media.codec_names import mime_type
from vidnb.media.container import require_av
from vidnb.media.export import OutputFile
from vidnb.media.filter_graph import add_filters
from vidnb.media.fragment import Sample, TrackRun, write_fragment
from vidnb.media.frame_shapes import Timing, even, starts_segment
from vidnb.media.growing_video import GrowingVideo
from vidnb.media.h264 import to_lengths
from vidnb.media.init_segment import copied_init

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

__all__ = ["EncodedSize", "ShowEncoder"]

_OPTIONS: Final = {
    "preset": "veryfast",
    "crf": "18",
    "profile": "high",
    "bf": "0",
    "forced-idr": "1",
    "sc_threshold": "0",  # key frames only where segments start
    # A picture of a slow generator is shown soon: few frames wait in the encoder.
    "rc-lookahead": "0",
    "mbtree": "0",
}
_THREADS: Final = 4
_LONGEST_GROUP: Final = 2_000_000  # key frames are asked for
_BT709: Final = 1
_LIMITED: Final = 1
_FULL: Final = 2
_SCALE: Final = (
    "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    ":out_color_matrix=bt709:out_range=limited"
)
_LENGTH_BYTES: Final = 4


class EncodedSize(NamedTuple):
    """Width and height (pixels) of an encoded video."""

    width: int
    height: int


class ShowEncoder:
    """Encodes the pictures of one video, in order; used by one thread.

    Segments go to `video` as soon as they are finished, the complete file to `output`, where
    `finish` publishes it. `MediaError` where this FFmpeg cannot encode, `StorageError` where the
    disk fails.
    """

    def __init__(self, timing: Timing, video: GrowingVideo, output: OutputFile) -> None:
        self._timing = timing
        self._video = video
        self._output = output
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._entry: FilterContext | None = None
        self._end: FilterContext | None = None
        self._samples: list[Sample] = []
        self._segment_start = 0
        self._count = 0
        self.size = EncodedSize(0, 0)
        self.type = ""  # the MIME type with codecs; known, as the size, from the first picture on

    def add(self, pixels: "NDArray[np.uint8]") -> None:
        """Encode the next picture: RGB of shape (height, width, 3), of the size of the first."""
        if self._container is None:
            self._open(pixels.shape[0], pixels.shape[1])
        frame = self._converted(pixels)
        frame.pts, frame.time_base = self._count, 1 / self._timing.fps
        frame.pict_type = 1 if starts_segment(self._count, self._timing.fps) else 0
        self._count += 1
        self._encode(frame)

    def flush(self) -> None:
        """Encode what waits in the encoder, and add the last segment."""
        if self._container is not None:
            self._encode(None)
            self._close_segment()

    def finish(self) -> tuple[Path, int]:
        """Publish the complete file after `flush`; return its path and size (B)."""
        return self._output.publish()

    def _open(self, height: int, width: int) -> None:
        av = require_av()
        timing = self._timing
        height, width = even(height, width)
        self.size = EncodedSize(width, height)
        scale = str(timing.timescale)
        container = self._output.open(
            "mp4", {"movflags": "+faststart", "video_track_timescale": scale}
        )
        stream = container.add_stream("libx264", rate=timing.fps)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(timing.ticks, timing.timescale)
        context.options = dict(_OPTIONS)
        context.thread_count = _THREADS
        context.gop_size = _LONGEST_GROUP
        context.color_range = _LIMITED
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        try:
            context.open()
        except av.error.FFmpegError as error:
            raise MediaError(
                f"libx264 cannot encode frames of {width} x {height} pixels"
                f" ({error.strerror}); nothing was kept; scale them down."
            ) from error
        with self._output.errors():
            container.start_encoding()
        self._stream, self._container = stream, container
        init = copied_init(stream, timescale=timing.timescale)
        self.type = mime_type(init)
        with self._output.errors():
            self._video.add_init(init)
        self._graph = graph = av.filter.Graph()
        self._entry = graph.add(
            "buffer",
            video_size=f"{width}x{height}",
            pix_fmt="rgb24",
            time_base="1/1",
            pixel_aspect="1/1",
            colorspace="0",
            range=str(_FULL),
        )
        self._end = graph.add("buffersink")
        filters = [("scale", _SCALE), ("format", "yuv420p")]
        add_filters(graph, self._entry, filters).link_to(self._end)
        graph.configure()

    def _converted(self, pixels: "NDArray[np.uint8]") -> "VideoFrame":
        """Return a picture in the encoder's format; an odd side is made even by its last pixels."""
        import numpy as np

        height, width = pixels.shape[:2]
        if (height, width) != even(height, width):
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = require_av().VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = self._count
        cast("FilterContext", self._entry).push(frame)
        converted = cast("VideoFrame", cast("FilterContext", self._end).pull())
        converted.color_primaries = converted.color_trc = _BT709
        return converted

    def _encode(self, frame: "VideoFrame | None") -> None:
        stream, container = cast("VideoStream", self._stream), cast(Any, self._container)
        with self._output.errors():
            packets: Sequence[Packet[Any]] = stream.encode(frame)
        for packet in packets:
            if packet.is_keyframe:
                self._close_segment()
            data = to_lengths(bytes(packet), _LENGTH_BYTES)
            self._samples.append(Sample(data, self._timing.ticks, 0, is_key=packet.is_keyframe))
            with self._output.errors():
                packet.duration = round(1 / self._timing.fps / packet.time_base)
                container.mux(packet)

    def _close_segment(self) -> None:
        """Add the segment of the packets so far."""
        samples, self._samples = self._samples, []
        if not samples:
            return
        start, timing = self._segment_start, self._timing
        self._segment_start += len(samples)
        run = TrackRun(1, start * timing.ticks, samples)
        data = write_fragment(len(self._video) + 1, [run])
        with self._output.errors():
            self._video.add_segment(data, timing.at(start), timing.at(self._segment_start))
