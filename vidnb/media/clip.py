"""`vidnb.clip`: a part of a video as a file of its own, by copying or frame-exact.

Copied packets keep their quality, and copying takes no longer than reading. An exact clip of H.264,
VP8 or VP9 encodes only the frames before its first key frame and a few at its end again; with other
codecs it encodes all of them, unless it begins at a key frame and ends between two frames that are
decoded in this order.
"""

import math
import os
import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from vidnb.download.planner.naming import file_name
from vidnb.download.request import local_path
from vidnb.download.stream import is_url
from vidnb.errors import MediaError
from vidnb.io.regular_file import StrPath
from vidnb.media.clip_source import ClipSource
from vidnb.media.clip_writer import write_clip
from vidnb.media.container import MediaFile, MediaSource, require_av
from vidnb.media.cut_plan import Section, plan_copy, plan_exact
from vidnb.media.decoder import FrameDecoder
from vidnb.media.export import OutputFile, ProgressFunction, Work, check_not_source, run_export
from vidnb.media.frame_table import FrameTable
from vidnb.media.h264 import AvcConfig, is_idr
from vidnb.media.table_reader import open_stream, read_table

__all__ = ["ClipMode", "ClipResult", "clip"]

ClipMode: TypeAlias = Literal["copy", "exact"]

_MUXERS: Final = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
}
_DEMUXERS: Final = {"mov": ".mp4", "mpegts": ".ts"}
"""The suffix for FFmpeg's name of a container, where the source has no such name; else .mkv."""
_JOINED: Final = {"h264", "vp8", "vp9"}
"""Codecs of which encoded and copied frames can be joined in one track."""
_CACHE_BYTES: Final = 2**26
_END_S: Final = 10**10


@dataclass(frozen=True, slots=True)
class ClipResult:
    """A finished clip, from `vidnb.clip`; an error is raised instead of an incomplete one.

    `start_s` and `end_s` (s) are the times in the source at which the clip really begins and ends;
    its own times begin at 0. `frames` is its number of frames, `reencoded_frames` how many of these
    are encoded again (0: the quality is the source's). `left_out` names the streams of the source
    that its container cannot hold, or that are no video, sound or subtitles.
    """

    path: Path
    start_s: float
    end_s: float
    size_bytes: int
    frames: int
    reencoded_frames: int
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one sentence about what the clip contains."""
        encoded = f"{self.reencoded_frames or 'none'} of them encoded again"
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return (
            f"{self.frames} frames from {self.start_s:.3f} to {self.end_s:.3f} s,"
            f" {encoded}{left_out}."
        )


def clip(
    source: MediaSource,
    start_s: float,
    end_s: float,
    path: StrPath | None = None,
    *,
    mode: ClipMode = "copy",
    progress: bool | ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> ClipResult:
    """Save the part of a video from `start_s` until before `end_s` as a file of its own.

    Parameters
        source: a path, an http(s) URL (only what is needed is fetched), a `DownloadResult`, a
            `Served` or a seekable binary file object.
        start_s, end_s: times (s) as in `vidnb.frames(source).times_s`; an end after the last frame
            is the end of the video.
        path: the new file, replaced if it exists; its suffix chooses the container (.mp4, .mov,
            .mkv, .webm, .ts). None: a name with the times beside the source, or in the
            current folder for a URL, never that of an existing file. A folder: such a name in it.
        mode: `"copy"` copies packets from the key frame at or before `start_s` on, which is fast
            and without loss. `"exact"` contains exactly the frames that are shown in the interval;
            it encodes again what it must.
        progress: None or True: a bar in a cell or on a terminal. False: nothing. A function: called
            with an `ExportProgress` ten times a second.
        cancel: an event; setting it, from any thread, ends the call with
            `concurrent.futures.CancelledError`.

    Sound (copied), subtitles, chapters, tags, rotation and colour facts are kept. The file gets its
    name only when it is complete; after an error or an interrupt nothing is left. Raises
    `ValueError` for times outside of the video, `MediaError` for what is not a readable video or
    does not fit into the container, `StorageError` if the disk fails, `MissingExtra` without the
    extra `media`, and what `vidnb.open` raises for a URL.
    """
    if mode not in get_args(ClipMode):
        raise ValueError(f"mode={mode!r} must be one of {', '.join(get_args(ClipMode))}.")
    start, end = _seconds("start_s", start_s), _seconds("end_s", end_s)
    if start >= end:
        raise ValueError(f"start_s={start_s} must lie before end_s={end_s}.")
    require_av()
    request = _Request(source, start, min(end, _END_S), path, mode)
    return run_export(
        partial(_clip, request), name=f"clip of {_stem(source)}", progress=progress, cancel=cancel
    )


@dataclass(frozen=True, slots=True)
class _Request:
    source: object
    start_s: float
    end_s: float
    path: StrPath | None
    mode: ClipMode


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(cast(Any, value))
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, str | bytes | bool) or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{name}={value!r} must be a number of seconds, 0 or more.")
    return seconds


def _clip(request: _Request, work: Work) -> ClipResult:
    with MediaFile(request.source) as file:
        table = read_table(file, 0)
        with FrameDecoder(file, 0, table, cache_bytes=_CACHE_BYTES) as decoder:
            wanted = table.frames_between(request.start_s, request.end_s)
            end_ticks = _check_interval(request, file, table, decoder, wanted)
            source = ClipSource(file, table, decoder, end_ticks)
            sections = _plan(request.mode, source, wanted)
            frames = range(sections[0].frames.start, sections[-1].frames.stop)
            start_s, end_s = source.time_s(frames.start), source.time_s(frames.stop)
            path = _destination(request, file, start_s, end_s)
            muxer = _muxer(path)
            work.total_frames = len(frames)
            with OutputFile(path, is_new=_is_unnamed(request.path)) as output:
                left_out = write_clip(source, sections, output, muxer, work)
                published, size_bytes = output.publish()
    return ClipResult(
        published,
        float(start_s),
        float(end_s),
        size_bytes,
        len(frames),
        sum(len(section.frames) for section in sections if section.packets is None),
        left_out,
    )


def _check_interval(
    request: _Request, file: MediaFile, table: FrameTable, decoder: FrameDecoder, wanted: range
) -> int:
    """Return when the last frame ends (ticks); `ValueError` if the interval has no frame."""
    last = len(table) - 1
    gap = table.pts[last] - table.pts[last - 1] if last else 0
    end_ticks = table.pts[last] + gap
    if wanted.stop == len(table):
        end_ticks = table.pts[last] + (decoder.read(last).duration or gap or 1)
    end_s = end_ticks * table.time_base
    if not wanted or request.start_s >= float(end_s):
        first_s = table.pts[0] * table.time_base
        raise ValueError(
            f"{file.name} has no frame from {request.start_s:g} to {request.end_s:g} s: its video"
            f" is shown from {float(first_s):g} to {float(end_s):g} s."
        )
    return end_ticks


def _plan(mode: ClipMode, source: ClipSource, wanted: range) -> tuple[Section, ...]:
    if mode == "copy":
        try:
            return (plan_copy(source.table, wanted),)
        except ValueError as error:
            raise MediaError(
                f"{source.file.name} cannot be cut by copying: {error}; use mode='exact'."
            ) from error
    with source.file.open() as container:
        codec = open_stream(container, 0, source.file.name).codec_context.codec.canonical_name
    joins = _joins(source, wanted, codec) if codec in _JOINED else None
    return plan_exact(source.table, wanted, joins)


def _joins(source: ClipSource, wanted: range, codec: str) -> list[int]:
    """Return the first key packet in the clip at which copying can begin, if there is one."""
    table = source.table
    keys = [
        key
        for key in table.keys
        if table.frame_of(key) is not None
        and wanted.start < table.first_index(key) < wanted.stop
        and key > table.packets[wanted.start]
    ]
    if codec != "h264" or not keys:
        return keys[:1]
    with source.file.open() as container:
        stream = open_stream(container, 0, source.file.name)
        config = AvcConfig.parse(stream.codec_context.extradata or b"")
    for number, packet in source.video_packets(keys[0]):
        if number > keys[-1]:
            break
        if number in keys and is_idr(bytes(packet), config):
            return [number]
    return []


def _is_unnamed(path: StrPath | None) -> bool:
    return path is None or Path(local_path(path)).is_dir()


def _destination(request: _Request, file: MediaFile, start_s: Fraction, end_s: Fraction) -> Path:
    """Return the path of the clip; `ValueError` if it is that of the source."""
    if not _is_unnamed(request.path):
        path = Path(local_path(cast(StrPath, request.path))).absolute()
        check_not_source(path, file)
        return path
    folder = Path.cwd()
    if request.path is not None:
        folder = Path(local_path(request.path)).absolute()
    elif file.identity is not None:
        folder = Path(file.name).parent
    suffix = Path(_file_name(request.source)).suffix.lower()
    if suffix not in _MUXERS:
        with file.open() as container:
            suffix = _DEMUXERS.get(container.format.name.split(",")[0], ".mkv")
    times = f"{_clock(start_s)} to {_clock(end_s)}"
    return folder / f"{_stem(request.source)} ({times}){suffix}"


def _file_name(source: object) -> str:
    """Return the file name of a source, "" if it has none."""
    if is_url(source):
        return file_name(None, source, None)
    source = getattr(source, "path", source)
    if not isinstance(source, str | os.PathLike):
        source = getattr(source, "name", "")
    return Path(source).name if isinstance(source, str | os.PathLike) else ""


def _stem(source: object) -> str:
    return Path(_file_name(source)).stem or "video"


def _clock(time_s: Fraction) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}-{seconds // 60 % 60:02d}-{seconds % 60:02d}.{milliseconds:03d}"


def _muxer(path: Path) -> str:
    muxer = _MUXERS.get(path.suffix.lower())
    if muxer is None:
        raise ValueError(
            f"{path.name} must end with one of {', '.join(_MUXERS)}: the suffix chooses the"
            " container of a clip."
        )
    return muxer
