"""Make the segments of a video for a browser that cannot play its file (RFC 8216, HLS).

A segment is a fragment of an MP4, made when it is asked for: from copied packets (remux), or from
frames and sound that are encoded again (transcode). Its times are those of the file.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast, overload

from vidnb.errors import MediaError
from vidnb.media.container import (
    MediaFile,
    MediaSource,
    close_container,
    played_streams,
    start_time_s,
)
from vidnb.media.fragment import TrackRun, with_edit_list, write_fragment
from vidnb.media.frame_table import FrameTable
from vidnb.media.init_segment import write_init
from vidnb.media.playlist import SEGMENT_S, Playlist, at_frames, at_intervals, at_keys
from vidnb.media.segment_sound import CopiedSound, EncodedSound
from vidnb.media.segment_video import CopiedVideo, EncodedVideo
from vidnb.media.table_reader import has_table, key_times, read_table

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["SegmentMaker"]


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
        pictures, sound = played_streams(container)
        pictures = None if video == "none" else pictures
        sound = None if audio == "none" else sound
        timeline = _read_timeline(file, container, pictures, sound, is_copied=video == "copy")
        self.start_s = timeline.start_s
        # The decoding time of a fragment cannot be negative.
        self._shift_s = shift_s = max(Fraction(0), -timeline.earliest_s)
        self.playlist = Playlist(
            timeline.start_s + shift_s,
            tuple(start_s + shift_s for start_s in timeline.starts),
            timeline.end_s + shift_s,
        )
        if pictures is not None:
            self._tracks.append(
                CopiedVideo(file, pictures, timeline.table)
                if video == "copy"
                else EncodedVideo(file, pictures, timeline.table)
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

    earliest_s: Fraction
    start_s: Fraction
    end_s: Fraction
    starts: tuple[Fraction, ...]
    table: FrameTable | None


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
        table = read_table(file, 0)
    start_s = start_time_s(video, sound)
    end_s = start_s + Fraction(container.duration or 0, 1_000_000)
    if video is None or (table is None and not is_copied):
        return _Timeline(start_s, start_s, end_s, at_intervals(start_s, end_s), None)
    if table is None:
        keys = key_times(file, 0)
        if not keys:
            raise MediaError(f"{file.name} has no index of its key frames, so it is not copied.")
        return _Timeline(start_s, start_s, end_s, at_keys(keys, end_s), None)
    times = _Times(table)
    last = len(table) - 1
    gap_s = times[last] - times[last - 1] if last else 1 / (video.average_rate or Fraction(25))
    video_end_s = times[last] + gap_s
    sound_end_s = video_end_s if sound is None else end_s
    if sound is not None and sound.duration is not None:
        time_base = cast(Fraction, sound.time_base)
        sound_end_s = ((sound.start_time or 0) + sound.duration) * time_base
    end_s = max(video_end_s, sound_end_s)
    if is_copied:
        starts = at_keys([times[index] for index in table.keyframes()], end_s)
    else:
        starts = at_frames(times, end_s)
    if end_s > video_end_s + SEGMENT_S:  # sound after the last frame
        starts += at_intervals(video_end_s, end_s)
    return _Timeline(times[0], start_s, end_s, starts, table)


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
