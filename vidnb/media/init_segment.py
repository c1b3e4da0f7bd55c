"""The initialization segment of a fragmented MP4 (ISO/IEC 14496-12 section 8.8): its codecs.

FFmpeg's muxer writes it, from the streams of a file or from encoders.
"""

import io
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

from vidnb.errors import MediaError
from vidnb.media.codec_names import boxes
from vidnb.media.container import require_av

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.stream import Stream

__all__ = ["copied_init", "copy_stream", "timescale_for", "write_init"]

_MOVFLAGS: Final = "empty_moov+default_base_moof+frag_custom+skip_trailer"
_MIN_TIMESCALE: Final = 1000
_MAX_TIMESCALE: Final = 2**31 - 1
_DEFAULT_TIMESCALE: Final = 90_000


def timescale_for(time_base: Fraction) -> int:
    """Return a timescale (ticks/s) in which timestamps of a time base are whole numbers."""
    scale = time_base.denominator
    if scale > _MAX_TIMESCALE:
        return _DEFAULT_TIMESCALE
    return scale * max(1, -(-_MIN_TIMESCALE // scale))


def write_init(
    add_streams: "Callable[[OutputContainer], None]", *, timescale: int = _DEFAULT_TIMESCALE
) -> bytes:
    """Return the boxes `ftyp` and `moov` for the streams that `add_streams` adds to a container.

    `timescale` is that of the video track (ticks/s); a sound track has its sampling rate.
    `MediaError` if MP4 cannot hold them.
    """
    av = require_av()
    data = io.BytesIO()
    options = {"movflags": _MOVFLAGS, "video_track_timescale": str(timescale)}
    container = cast("OutputContainer", av.open(data, "w", format="mp4", container_options=options))
    try:
        add_streams(container)
        container.start_encoding()
        container.close()
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"MP4 cannot hold this codec ({error}).") from error
    kept = [box for box in _whole_boxes(data.getvalue()) if box[4:8] in {b"ftyp", b"moov"}]
    return b"".join(kept).replace(b"hev1", b"hvc1")  # Safari plays only the latter


def _whole_boxes(data: bytes) -> list[bytes]:
    found, at = [], 0
    for _, content in boxes(data):
        found.append(data[at : at + 8 + len(content)])
        at += 8 + len(content)
    return found


def copy_stream(container: "OutputContainer", stream: "Stream") -> None:
    """Add a stream for the packets of another one."""
    if stream.codec_context.codec.canonical_name == "aac" and not stream.codec_context.extradata:
        # ADTS (ISO/IEC 14496-3 annex 1.A): the encoder of FFmpeg describes the same format.
        source = cast("AudioStream", stream).codec_context
        added = container.add_stream("aac", rate=source.sample_rate)
        added.codec_context.layout = source.layout
        return
    container.add_stream_from_template(stream, opaque=True)


def copied_init(*streams: "Stream", timescale: int = _DEFAULT_TIMESCALE) -> bytes:
    """Return the initialization segment for copied streams.

    `MediaError` if MP4 cannot hold them.
    """

    def add_streams(container: "OutputContainer") -> None:
        for stream in streams:
            copy_stream(container, stream)

    return write_init(add_streams, timescale=timescale)
