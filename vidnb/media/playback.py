"""Read what decides about the playback of a file: its headers and its first packets, with PyAV."""

from dataclasses import dataclass, replace
from struct import error as StructError  # noqa: N812 - the name of a class
from struct import unpack_from
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from vidnb.errors import MediaError, MissingExtra, VidnbError
from vidnb.http.ranges import ByteRange
from vidnb.media.codec_names import child, mime_type
from vidnb.media.container import (
    MediaFile,
    MediaSource,
    demux,
    discard_others,
    picture_streams,
    played_streams,
    require_av,
    start_time_s,
)
from vidnb.media.delivery import (
    MAX_PIXELS,
    Delivery,
    Playback,
    PlaybackFacts,
    deliveries,
    playback_problem,
)
from vidnb.media.export import display_matrix
from vidnb.media.h264 import AvcConfig, is_idr
from vidnb.media.init_segment import copied_init
from vidnb.media.picture_filters import PictureFilters
from vidnb.media.probe import codec_name, container_name
from vidnb.media.table_reader import has_table, key_times, packet_of, tag_packet

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

__all__ = ["read_playback"]

Convert: TypeAlias = Literal["auto", "never", "always"]
_Signs: TypeAlias = tuple[int, int, int, int]

_DIRECT: Final = Delivery("direct", "", "", "")
_MAX_PACKETS: Final = 600
_MAX_BYTES: Final = 2**23
_MAX_REMOTE_BYTES: Final = 2**18
"""The most that is read of the first packets (B)."""
_CHECKED_FRAMES: Final = 16
"""So many frames are decoded to check timestamps; the reordering of all codecs is shorter."""
_CHECKED_KEYS: Final = 3
_HEAD_BYTES: Final = 4096
"""The parameter sets and messages before the first slice of a key packet are shorter (B)."""
_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_HAS_TIMES: Final = frozenset({_MP4, "matroska,webm", "mpegts", "flv"})
"""FFmpeg's names of containers with a presentation time for each packet."""
_UPRIGHT: Final = (1, 0, 0, 1)
_SAMPLE_ENTRIES: Final = frozenset({"hev1", "avc3"})
"""Here parameter sets may be in the packets; segments have the names with them in the header."""


def read_playback(source: MediaSource | MediaFile, *, convert: Convert = "auto") -> Playback:
    """Return the ways to play a file in a browser, best first.

    Only headers and the first packets are read, so of a remote file little more than its index. A
    file that cannot be read is no error: `problem` says what is wrong, and the browser may try it
    as it is. Raises `ValueError` for an object that is no source.
    """
    try:
        require_av()
    except MissingExtra:
        return Playback(
            (_DIRECT,),
            "A video that this browser cannot play is converted while it plays, which needs PyAV;"
            " run: pip install 'vidnb[media]'.",
            0.0,
        )
    try:
        if isinstance(source, MediaFile):
            return _read(source, convert)
        with MediaFile(source) as file:
            return _read(file, convert)
    except VidnbError as error:
        return Playback((_DIRECT,), str(error), 0.0)


def _read(file: MediaFile, convert: Convert) -> Playback:
    with file.open() as container:
        video, audio = played_streams(container)
        if video is None and audio is None:
            raise MediaError(
                f"{file.name} has neither video nor audio that FFmpeg can read; check the file."
            )
        facts = PlaybackFacts(container_name(file, container))
        if audio is not None:
            facts = replace(
                facts,
                audio=codec_name(audio),
                audio_type=_copied(audio)[1],
                has_audio_decoder=_has_decoder(audio),
            )
        if video is not None:
            facts = _with_video(facts, file, container, video)
        start_s = float(start_time_s(video, audio))
    problem = playback_problem(file.name, facts)
    return Playback(deliveries(facts, convert) or (_DIRECT,), problem, start_s)


def _has_decoder(stream: Any) -> bool:
    return stream.codec_context is not None


def _copied(stream: "Stream") -> tuple[bytes, str]:
    """Return the initialization segment of a copied stream, and its codec by RFC 6381.

    Both are empty if MP4 cannot hold the stream.
    """
    if not _has_decoder(stream):
        return b"", ""
    try:
        init = copied_init(stream)
        return init, mime_type(init).partition('codecs="')[2].rstrip('"')
    except (MediaError, ValueError, IndexError, StructError):
        return b"", ""


def _with_video(
    facts: PlaybackFacts, file: MediaFile, container: "InputContainer", video: "VideoStream"
) -> PlaybackFacts:
    if not _has_decoder(video):
        return replace(facts, video="unknown", has_video_decoder=False)
    context = video.codec_context
    init, video_type = _copied(video)
    facts = replace(
        facts,
        video=codec_name(video),
        video_type=video_type,
        sample_entry=context.codec_tag if context.codec_tag in _SAMPLE_ENTRIES else "",
        pixel_format=None if context.format is None else context.format.name,
        size=(context.width, context.height),
        is_interlaced=context.field_order > 1,
    )
    if context.width * context.height > MAX_PIXELS:
        return facts
    head = _read_head(file, container, video)
    facts = replace(
        facts,
        has_times=head.has_times,
        hides_frames=head.hides_frames,
        has_open_groups=head.has_open_groups,
        has_index=has_table(file, video)
        or bool(key_times(file, picture_streams(container).index(video))),
    )
    if head.frame is None:
        return facts
    signs = _signs(display_matrix(head.frame))
    return replace(
        facts,
        size=(head.frame.width, head.frame.height),
        is_interlaced=facts.is_interlaced or bool(head.frame.interlaced_frame),
        is_rotated=signs != _UPRIGHT,
        is_mirrored=signs[0] * signs[3] < signs[1] * signs[2],  # the determinant
        keeps_rotation=_signs(_track_matrix(init)) == signs,
        losses=PictureFilters.for_player(head.frame, video).losses,
    )


def _signs(matrix: list[int] | None) -> _Signs:
    """Return the signs of a, b, c and d of a display matrix; without one it is upright."""
    if matrix is None:
        return _UPRIGHT
    a, b, c, d = ((value > 0) - (value < 0) for value in (*matrix[:2], *matrix[3:5]))
    return a, b, c, d


def _track_matrix(init: bytes) -> list[int] | None:
    """Return the matrix of the track in an initialization segment (ISO/IEC 14496-12, 8.3.2)."""
    header = child(init, b"moov", b"trak", b"tkhd") if init else None
    return None if header is None else list(unpack_from(">9i", header, len(header) - 44))


@dataclass(slots=True)
class _Head:
    """What the first packets of a video say."""

    frame: "VideoFrame | None" = None
    has_times: bool = True
    hides_frames: bool = False
    has_open_groups: bool = False


def _read_head(file: MediaFile, container: "InputContainer", video: "VideoStream") -> _Head:
    """Read the first packets of a video, and decode as many of them as are needed."""
    av = require_av()
    head = _Head()
    context = video.codec_context
    config = AvcConfig.parse(context.extradata or b"")
    is_mp4 = container.format.name == _MP4
    seeks_keys = is_mp4 or context.codec.canonical_name != "h264"
    frames_left = 1 if container.format.name in _HAS_TIMES else _CHECKED_FRAMES
    bytes_left = _MAX_REMOTE_BYTES if file.is_remote else _MAX_BYTES
    keys_left = 0 if seeks_keys else 1 if file.is_remote else _CHECKED_KEYS
    discard_others(container, video)
    context.flags |= av.codec.context.Flags.copy_opaque
    video.thread_type = "SLICE"  # frame threads read ahead
    times: list[int] = []
    last: int | None = None
    with file.errors():
        for number, packet in enumerate(demux(container, video)):
            if packet.size:
                head.hides_frames = head.hides_frames or bool(packet.is_discard)
                head.has_times = head.has_times and packet.pts is not None
                times.append(packet.pts or 0)
                tag_packet(packet, number)
                if packet.is_keyframe and number and keys_left:
                    keys_left -= 1
                    head.has_open_groups |= not is_idr(bytes(packet), config)
            if frames_left:
                for frame in _decoded(packet):
                    time = times[packet_of(frame)]
                    # Frames leave a decoder in the order in which they are shown.
                    head.has_times = head.has_times and (last is None or last < time)
                    last = time
                    head.frame = head.frame or frame
                    frames_left = max(0, frames_left - 1)
            bytes_left -= packet.size
            is_read = not frames_left and not keys_left
            if is_read or bytes_left <= 0 or number >= _MAX_PACKETS:
                break
    if is_mp4 and context.codec.canonical_name == "h264":
        head.has_open_groups = _has_open_groups(file, video, config)
    return head


def _decoded(packet: Any) -> "list[VideoFrame]":
    try:
        return list(packet.decode())
    except require_av().error.FFmpegError:
        return []  # a damaged packet


def _has_open_groups(file: MediaFile, video: "VideoStream", config: AvcConfig | None) -> bool:
    """Whether one of the first key packets after the first one in an MP4's index is no IDR."""
    count = 1 if file.is_remote else _CHECKED_KEYS
    keys = []
    for number, entry in enumerate(video.index_entries):
        if number and entry.is_keyframe:
            keys.append((entry.pos, entry.size))
            if len(keys) == count:
                break
    return not all(
        is_idr(file.read(ByteRange(start, start + min(size, _HEAD_BYTES))), config)
        for start, size in keys
        if start >= 0 and size > 0
    )
