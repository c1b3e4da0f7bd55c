"""The filters that make any decoded frame what a browser shows.

Upright, progressive, of square pixels and an even size, 8 bits in the range of a television, and
with the colours of SDR. FFmpeg's own tone mapping (libswscale 9) makes 720p at 10 frames a second
of a processor's time and is dark; its filter `lut3d` with a table of `tone_mapping` makes 100.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, cast

from vidnb.media.container import require_av
from vidnb.media.delivery import fit_size, output_limit
from vidnb.media.export import display_matrix
from vidnb.media.filter_graph import add_filters, run_filters
from vidnb.media.frames import FIRST_HD_HEIGHT
from vidnb.media.table_reader import pixel_aspect_ratio
from vidnb.media.tone_mapping import TONE_MAPPED, cube_file

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

__all__ = ["PictureFilters"]

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
_QUARTER_TURNS: Final = frozenset({("transpose", "clock"), ("transpose", "cclock")})
_LARGEST_RATIO: Final = 16
"""A pixel that is wider or higher is an error of the file: pictures would be of any size."""
_QUALITY: Final = "flags=bicubic+accurate_rnd+full_chroma_int"
_FULL: Final = 2  # AVCOL_RANGE_JPEG


@dataclass(frozen=True, slots=True)
class _Kind:
    """What all frames of a graph have in common."""

    width: int
    height: int
    pixels: str

    @classmethod
    def of(cls, frame: "VideoFrame") -> "_Kind":
        return cls(frame.width, frame.height, frame.format.name)


class PictureFilters:
    """The filters for the frames of one stream, decided by its first frame.

    Parameters
        first_frame: a decoded frame; its size, format, colours and display matrix count for all,
            and whether it is interlaced.
        pixel_aspect_ratio: width by height of a pixel.
        time_base: of the timestamps of the frames.
        max_size: the largest width and height (pixels) of a wide picture; a high one may have this
            height as its width. The picture is fitted into it and never enlarged.
        width: the exact width (pixels); the height follows.
        fps: frames a second; None: the frames as they are, with their timestamps.
        pixels: the format of the result, FFmpeg's name.
        matrix: the matrix of the result if it is always the same, else that of the source.
        is_even: whether width and height must be even, as for H.264 with 4:2:0.

    `size` is the size of the result; `is_temporal` says whether a frame depends on its neighbours,
    so that frames before and after a part of the video are needed for it. `changes` are what the
    filters do, in words for a person, `losses` those that a player would not do itself; the change
    from one pixel format to another is not listed.
    """

    def __init__(
        self,
        first_frame: "VideoFrame",
        *,
        pixel_aspect_ratio: Fraction,
        time_base: Fraction,
        max_size: tuple[int, int] | None = None,
        width: int | None = None,
        fps: Fraction | None = None,
        pixels: str = "yuv420p",
        matrix: str | None = None,
        is_even: bool = True,
    ) -> None:
        self._first = first_frame
        self._kind = _Kind.of(first_frame)
        self._ratio = _sane(pixel_aspect_ratio)
        self._time_base = time_base
        self._fps = fps
        self._pixels = pixels
        self._turns = _turns(first_frame)
        self._is_interlaced = bool(first_frame.interlaced_frame)
        self._is_hdr = first_frame.color_trc in TONE_MAPPED
        self._source_matrix = self._matrix_of_source()
        self._matrix = matrix or ("bt709" if self._is_hdr else self._source_matrix)
        upright = self._upright_size()
        factor = Fraction(1) if width is None else width / upright[0]
        step = 2 if is_even else 1
        self.size = fit_size(upright[0] * factor, upright[1] * factor, max_size, step)
        self.is_temporal = self._is_interlaced or fps is not None
        self.losses = tuple(self._losses(upright))
        self.changes = (*self._corrections(), *self.losses)

    @classmethod
    def for_player(cls, first_frame: "VideoFrame", stream: "VideoStream") -> "PictureFilters":
        """Return the filters with which a stream is encoded while it plays."""
        ratio = pixel_aspect_ratio(stream)
        fps, cores = float(stream.average_rate or 0), os.cpu_count() or 1
        return cls(
            first_frame,
            pixel_aspect_ratio=ratio,
            time_base=cast(Fraction, stream.time_base),
            max_size=output_limit(first_frame.width * _sane(ratio), first_frame.height, fps, cores),
        )

    def _matrix_of_source(self) -> str:
        known = _MATRICES.get(self._first.colorspace)
        if known is not None:
            return known
        if self._is_hdr:
            return "bt2020"
        # As players guess it, by the size before scaling.
        return "bt709" if self._first.height >= FIRST_HD_HEIGHT else "smpte170m"

    def _upright_size(self) -> tuple[Fraction, Fraction]:
        width, height = self._kind.width * self._ratio, Fraction(self._kind.height)
        is_turned = any(name == "transpose" for name, _ in self._turns)
        return (height, width) if is_turned else (width, height)

    def _corrections(self) -> Iterator[str]:
        if self._is_interlaced:
            yield "deinterlaced"
        if self._turns:
            yield "mirrored" if self._is_mirrored() else "rotated"
        if self._ratio != 1:
            yield "made of square pixels"

    def _losses(self, upright: tuple[Fraction, Fraction]) -> Iterator[str]:
        if self._is_hdr:
            yield "tone-mapped"
        if self.size[0] + 2 <= upright[0] and self.size[1] + 2 <= upright[1]:
            yield f"reduced to {self.size[0]} x {self.size[1]}"

    def _is_mirrored(self) -> bool:
        return len(self._turns) == 1 and self._turns[0] not in _QUARTER_TURNS

    def run(self, frames: "Iterable[VideoFrame]") -> "Iterator[VideoFrame]":
        """Yield the filtered frames with their timestamps; can be called again for other frames.

        A frame that needs no filter is yielded as it is.
        """
        if self._needs_no_filter():
            yield from self.alike(frames)
            return
        graph, entry, last = self.graph()
        end = graph.add("buffersink")
        last.link_to(end)
        graph.configure()
        yield from run_filters(entry, end, self.alike(frames))

    def first(self) -> "VideoFrame":
        """Return the first frame filtered alone; it has size, format and colours of all."""
        if self._needs_no_filter():
            return self._first
        graph, entry, last = self.graph(is_temporal=False)
        end = graph.add("buffersink")
        last.link_to(end)
        graph.configure()
        return cast("VideoFrame", next(run_filters(entry, end, [self._first])))

    def alike(self, frames: "Iterable[VideoFrame]") -> "Iterator[VideoFrame]":
        """Yield frames of the size and format of the first one; others are scaled to that."""
        kind = self._kind
        for frame in frames:
            if _Kind.of(frame) == kind:
                yield frame
            else:
                yield frame.reformat(kind.width, kind.height, kind.pixels)

    def graph(self, *, is_temporal: bool = True) -> "tuple[Graph, FilterContext, FilterContext]":
        """Return a graph, its entry for frames that are `alike`, and its last filter.

        Without `is_temporal` it has only the filters that look at one frame. A filter does not keep
        its graph.
        """
        graph = require_av().filter.Graph()
        entry = graph.add(
            "buffer",
            video_size=f"{self._kind.width}x{self._kind.height}",
            pix_fmt=self._kind.pixels,
            time_base=str(self._time_base),
            pixel_aspect=f"{self._ratio.numerator}/{self._ratio.denominator}",
            colorspace=str(int(self._first.colorspace)),
            range=str(int(self._first.color_range)),
        )
        last = add_filters(graph, entry, self._temporal()) if is_temporal else entry
        last = add_filters(graph, last, self._turns)
        if self._is_hdr:
            last = self._add_tone_mapping(graph, last)
        return graph, entry, add_filters(graph, last, self._to_result())

    def _needs_no_filter(self) -> bool:
        return (
            not self.changes
            and not self.is_temporal
            and (*self.size, self._pixels)
            == (self._kind.width, self._kind.height, self._kind.pixels)
            and self._first.color_range != _FULL
            and self._matrix == self._source_matrix
        )

    def _temporal(self) -> "Iterator[tuple[str, str]]":
        """Yield the filters that look at several frames."""
        if self._is_interlaced:
            yield "bwdif", "mode=send_frame:deint=all"
            yield "settb", str(self._time_base)  # bwdif halves it
        if self._fps is not None:
            yield "fps", f"{self._fps.numerator}/{self._fps.denominator}"

    def _add_tone_mapping(self, graph: "Graph", last: "FilterContext") -> "FilterContext":
        """Add the filters from HDR to BT.709, in the size of the result."""
        # FFmpeg's filter is by far the fastest with this format.
        last = add_filters(graph, last, [("scale", self._scale()), ("format", "gbrp16")])
        with TemporaryDirectory(prefix="vidnb-") as folder:
            path = Path(folder, "table.cube")
            path.write_text(cube_file(self._first.color_trc), encoding="ascii")
            table = graph.add("lut3d", file=str(path), interp="tetrahedral")  # reads the file
        last.link_to(table)
        return add_filters(graph, table, [("setparams", "color_primaries=bt709:color_trc=bt709")])

    def _scale(self) -> str:
        scale = f"w={self.size[0]}:h={self.size[1]}:{_QUALITY}"
        if self._first.format.is_rgb:
            return scale
        return f"{scale}:in_color_matrix={self._source_matrix}"

    def _to_result(self) -> "Iterator[tuple[str, str]]":
        """Yield the filters that make size, pixel format and matrix those of the result."""
        scale = _QUALITY if self._is_hdr else self._scale()
        if not self._pixels.startswith("rgb"):
            scale += f":out_color_matrix={self._matrix}:out_range=limited"
        yield "scale", scale
        yield "setsar", "1"
        yield "format", self._pixels


def _sane(ratio: Fraction) -> Fraction:
    """Return a pixel aspect ratio, 1 in place of one that is an error of the file."""
    return ratio if 1 <= ratio * _LARGEST_RATIO <= _LARGEST_RATIO**2 else Fraction(1)


def _turns(frame: "VideoFrame") -> tuple[tuple[str, str], ...]:
    """Return the filters that make a frame upright; none for an angle between."""
    matrix = display_matrix(frame)
    if matrix is None:
        return ()
    signs = [(value > 0) - (value < 0) for value in (matrix[0], matrix[1], matrix[3], matrix[4])]
    return _TURNS.get((signs[0], signs[1], signs[2], signs[3]), ())
