"""`vidnb.convert`: a video in another format, made for seeking in a browser, or as a picture.

All frames come from the frame table, so the result has the frames of `vidnb.frames` with their
times, also at a variable rate. FFmpeg's filters make them upright, progressive and of square
pixels.
"""

import heapq
import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Final

from vidnb.download.options import check_count, check_seconds
from vidnb.download.request import local_path
from vidnb.io.regular_file import StrPath
from vidnb.media.container import MediaFile, MediaSource
from vidnb.media.convert_format import FORMATS, ConvertRequest
from vidnb.media.convert_sound import add_sound, sound_packets
from vidnb.media.convert_video import SourceFrames, VideoTrack
from vidnb.media.decoder import FrameDecoder
from vidnb.media.export import (
    OutputFile,
    ProgressFunction,
    Work,
    check_not_source,
    kept_tags,
    require_encoder,
    run_export,
)
from vidnb.media.table_reader import open_stream, read_table

__all__ = ["ConvertResult", "convert"]

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

    The result is upright, progressive, with square pixels and 8 bits a channel; HDR becomes SDR.
    Damaged frames are left out and counted. After an error or an
    interrupt nothing is left. Raises `ValueError` for a bad argument, `MediaError` for what is not
    a readable video or an encoder that this FFmpeg lacks, `StorageError` if the disk fails,
    `MissingExtra` without the extra `media`, and what `vidnb.open` raises for a URL.
    """
    target = Path(local_path(path)).absolute()
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"{target.name} must end with one of {', '.join(FORMATS)}: the suffix chooses the"
            " format."
        )
    if width is not None:
        width = check_count("width", width)
    if fps is not None and (
        isinstance(fps, bool) or not isinstance(fps, Real) or not 0 < fps <= 1000
    ):
        raise ValueError(f"fps={fps!r} must be a number of frames a second, at most 1000.")
    request = ConvertRequest(
        source,
        target,
        suffix,
        width,
        None if fps is None else Fraction(fps).limit_denominator(1001),
        Fraction(check_seconds("keyframe_s", keyframe_s)),
    )
    require_encoder(FORMATS[suffix].encoder)
    return run_export(
        partial(_convert, request), name=target.name, progress=progress, cancel=cancel
    )


def _convert(request: ConvertRequest, work: Work) -> ConvertResult:
    with MediaFile(request.source) as file:
        check_not_source(request.path, file)
        table = read_table(file, 0)
        with (
            FrameDecoder(file, 0, table, cache_bytes=_CACHE_BYTES) as decoder,
            OutputFile(request.path) as output,
        ):
            source = SourceFrames(decoder, table, work)
            work.total_frames = len(table) * (1 + (request.suffix == ".gif"))
            video = VideoTrack(request, source)
            container = output.open(request.format.muxer, request.format.muxer_options)
            with file.open() as template:
                stream = open_stream(template, 0, file.name)
                video.add_to(container, stream)
                sound = add_sound(container, request.format, template.streams.audio)
                if not request.format.is_picture:
                    container.metadata.update(kept_tags(template.metadata))
            tracks = [video.packets(output)]
            if sound is not None:
                tracks.append(sound_packets(file, sound, table, work, output))
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
