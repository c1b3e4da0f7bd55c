"""Make the segments of a video for a browser that cannot play its file (RFC 8216, HLS).

A segment is a fragment of an MP4, made when it is asked for: from copied packets (remux), or from
frames and sound that are encoded again (transcode). Its times are those of the file.
"""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast, overload

from vidnb.errors import MediaError
from vidnb.media.container import MediaFile, MediaSource, close_container, require_av
from vidnb.media.fragment import TrackRun, with_edit_list, write_fragment
from vidnb.media.frame_table import FrameTable
from vidnb.media.init_segment import write_init
from vidnb.media.playlist import SEGMENT_S, Playlist, at_frames, at_intervals, at_keys
from vidnb.media.segment_sound import CopiedSound, EncodedSound
from vidnb.media.segment_video import CopiedVideo, EncodedVideo
from vidnb.media.table_reader import read_table

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["SegmentMaker", "has_table", "key_times", "picture_streams", "sound_stream"]

_MAX_READ_BYTES: Final = 2**30
"""A larger file is not read as a whole for its frame table, before it plays (B)."""
_WHOLE_INDEX: Final = {"mp4", "quicktime"}
"""Containers whose index lists every frame."""
_MAX_GAP_S: Final = 20
"""Key frames farther apart (s) mean that a container has no index of them."""
_REORDERED: Final = {"h264", "hevc"}
"""Codecs whose frames a decoder gives no times in AVI, which has no presentation timestamps."""


class SegmentMaker:
    """Makes the segments of one file in one variant; used by one thread at a time.

    `variant` is `VIDEO.AUDIO`: "copy", "h264" or "none", and "copy", "aac", "opus" or "none".
    `playlist` has all segments before any is made; `start_s` is the time of the container (s) that
    is time 0 of a player. `MediaError` if the file cannot be read.
    """

    def __init__(self, source: MediaSource | MediaFile, variant: str) -> None:
        self._is_shared = isinstance(source, MediaFile)
        self._file = source if isinstance(source, MediaFile) else MediaFile(source)
        self._container: InputContainer | None = None
        self._tracks: list[CopiedVideo | EncodedVideo | CopiedSound | EncodedSound] = []
        try:
            self._open(*variant.split("."))
        except BaseException:
            self.close()
            raise

    def _open(self, video: str, audio: str) -> None:
        file = self._file
        self._container = container = file.open_container()
        pictures = next(iter(picture_streams(container)), None) if video != "none" else None
        sound = sound_stream(container) if audio != "none" else None
        timeline = _read_timeline(file, container, pictures, sound, is_copied=video == "copy")
        self.start_s = timeline.start_s
        # The decoding time of a fragment cannot be negative.
        self._shift_s = shift_s = max(Fraction(0), -timeline.start_s)
        self.playlist = Playlist(
            timeline.start_s + shift_s,
            tuple(start_s + shift_s for start_s in timeline.starts),
            timeline.end_s + shift_s,
        )
        if pictures is not None:
            self._tracks.append(
                CopiedVideo(file, pictures, timeline.table)
                if video == "copy"
                else EncodedVideo(file, pictures, 0, timeline.table)
            )
        if sound is not None:
            is_matroska = file.kind in {"matroska", "webm"}
            guide = pictures.index if pictures is not None and is_matroska else None
            self._tracks.append(
                CopiedSound(file, sound, guide)
                if audio == "copy"
                else EncodedSound(file, sound, guide, audio, self.start_s)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free decoders and close the file."""
        for track in self._tracks:
            track.close()
        if self._container is not None:
            close_container(self._container)
            self._container = None
        if not self._is_shared:
            self._file.close()

    @property
    def changes(self) -> tuple[str, ...]:
        """What is different from the file, in plain words."""
        return tuple(
            text
            for track in self._tracks
            if isinstance(track, EncodedVideo)
            for text in track.changes
        )

    def init(self) -> bytes:
        """Return the initialization segment."""

        def add_streams(container: Any) -> None:
            for track in self._tracks:
                track.add_to(container)

        init = write_init(add_streams, timescale=self._tracks[0].timescale)
        first = self._tracks[0]
        delay = first.delay if isinstance(first, CopiedVideo) else 0
        return with_edit_list(init, delay) if delay else init

    def segment(self, number: int) -> bytes:
        """Return media segment `number`: always the same bytes for the same file."""
        shift_s = self._shift_s
        since_s, until_s = (
            None if time_s is None else time_s - shift_s
            for time_s in self.playlist.interval(number)
        )
        runs = []
        for track_id, track in enumerate(self._tracks, 1):
            time, samples = track.samples((since_s, until_s))
            time += round(shift_s * track.timescale)
            runs.append(TrackRun(track_id, time, samples))
        return write_fragment(number + 1, runs)


class _Timeline(NamedTuple):
    """What the segments of a file are cut from; times in seconds on the container's clock."""

    start_s: Fraction
    end_s: Fraction
    starts: tuple[Fraction, ...]
    table: FrameTable | None


def picture_streams(container: "InputContainer") -> "list[VideoStream]":
    """Return the video streams of a container without attached pictures."""
    attached = require_av().stream.Disposition.attached_pic
    return [one for one in container.streams.video if not one.disposition & attached]


def sound_stream(container: "InputContainer") -> "AudioStream | None":
    """Return the first sound stream with a decoder, None if there is none."""
    return next(
        (
            one
            for one in container.streams.audio
            if one.codec_context is not None and one.codec_context.sample_rate
        ),
        None,
    )


def has_table(file: MediaFile, video: "VideoStream") -> bool:
    """Return whether the frame table of a file is made before it plays: it is needed, or cheap."""
    codec = video.codec_context.codec.canonical_name
    is_needed = file.kind == "avi" and codec in _REORDERED
    is_local = file.identity is not None and file.size_bytes <= _MAX_READ_BYTES
    return is_needed or is_local or file.kind in _WHOLE_INDEX


def key_times(file: MediaFile, number: int) -> list[Fraction]:
    """Return the times (s) of the key frames that the index of a container lists; maybe none."""
    with file.open() as container:
        stream = picture_streams(container)[number]
        # The demuxer of Matroska reads its index at the first seek.
        with suppress(MediaError), file.errors():
            container.seek(0, stream=stream)
        time_base = cast(Fraction, stream.time_base)
        entries = stream.index_entries
        return sorted({one.timestamp * time_base for one in entries if one.is_keyframe})


def _read_timeline(
    file: MediaFile,
    container: "InputContainer",
    video: "VideoStream | None",
    sound: "AudioStream | None",
    *,
    is_copied: bool,
) -> _Timeline:
    table = None
    is_known = container.duration is not None and container.duration > 0
    if video is not None and (has_table(file, video) or not is_known):
        number = picture_streams(container).index(video)
        table = read_table(file, number)
    start_s = Fraction(container.start_time or 0, 1_000_000)
    end_s = start_s + Fraction(container.duration or 0, 1_000_000)
    if video is None:
        return _Timeline(start_s, end_s, at_intervals(start_s, end_s), None)
    if table is None:
        if not is_copied:
            return _Timeline(start_s, end_s, at_intervals(start_s, end_s), None)
        keys = key_times(file, picture_streams(container).index(video))
        if max((b - a for a, b in pairwise((start_s, *keys, end_s))), default=0) > _MAX_GAP_S:
            raise MediaError(f"{file.name} has no index of its key frames, so it is not copied.")
        return _Timeline(start_s, end_s, at_keys(keys, end_s), None)
    times = _Times(table)
    last = len(table) - 1
    gap_s = times[last] - times[last - 1] if last else 1 / (video.average_rate or Fraction(25))
    video_end_s = times[last] + gap_s
    if sound is None:
        start_s, end_s = times[0], video_end_s
    else:
        time_base = cast(Fraction, sound.time_base)
        first_s = (sound.start_time or 0) * time_base
        start_s = min(times[0], max(Fraction(0), first_s))
        sound_end_s = end_s if sound.duration is None else first_s + sound.duration * time_base
        end_s = max(video_end_s, sound_end_s)
    if is_copied:
        shown = [times[index] for index in table.keyframes()]
        starts = at_keys(shown, end_s)
    else:
        starts = at_frames(times, end_s)
    if end_s > video_end_s + SEGMENT_S:  # sound after the last frame
        starts += at_intervals(video_end_s, end_s)
    return _Timeline(start_s, end_s, starts, table)


class _Times(Sequence[Fraction]):
    """The times (s) of the frames of a table, computed when they are asked for."""

    def __init__(self, table: FrameTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Fraction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Fraction]: ...

    def __getitem__(self, index: int | slice) -> Fraction | list[Fraction]:
        table = self._table
        if isinstance(index, slice):
            return [pts * table.time_base for pts in table.pts[index]]
        return table.pts[index] * table.time_base
