"""How a browser gets a file: as it is, in another container, or encoded again.

Decisions without I/O. What each browser decodes is asked there, by the types of the candidates;
this module knows what none of them plays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Final, Literal

from vidnb.media.media_info import (
    AudioStream,
    Playability,
    VideoStream,
    codec_title,
    container_title,
)

__all__ = [
    "MAX_PIXELS",
    "Delivery",
    "Playback",
    "PlaybackFacts",
    "deliveries",
    "fit_size",
    "output_limit",
    "playable_as",
    "playback_problem",
]

MAX_PIXELS: Final = 8192 * 4352
"""The largest picture of H.264 and HEVC (level 6.2); a larger one is not decoded for encoding."""
_MAX_SIZE: Final = (1920, 1080)
_REDUCED_SIZE: Final = (1280, 720)
_PIXELS_PER_CORE_S: Final = 1920 * 1080 * 24
"""What one core decodes (HEVC) and encodes (x264, superfast), with a reserve of a half."""
_USUAL_FPS: Final = 30.0
_MAX_SANE_FPS: Final = 1000

# What Chromium plays (https://www.chromium.org/audio-video/): by container, the codecs in it.
_MP4_VIDEO: Final = frozenset({"h264", "hevc", "vp9", "av1"})
_MP4_AUDIO: Final = frozenset({"aac", "mp3", "opus", "flac"})
_WEBM_VIDEO: Final = frozenset({"vp8", "vp9", "av1"})
_WEBM_AUDIO: Final = frozenset({"opus", "vorbis"})
_WAV: Final = frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"})
_NONE: Final[frozenset[str]] = frozenset()
_CONTAINERS: Final = {
    # container: its type with video, its type without, video codecs, audio codecs
    "mp4": ("video/mp4", "audio/mp4", _MP4_VIDEO, _MP4_AUDIO),
    "quicktime": ("video/mp4", "audio/mp4", _MP4_VIDEO, _MP4_AUDIO),
    "webm": ("video/webm", "audio/webm", _WEBM_VIDEO, _WEBM_AUDIO),
    "ogg": ("", "audio/ogg", _NONE, frozenset({"opus", "vorbis", "flac"})),
    "mp3": ("", "audio/mpeg", _NONE, frozenset({"mp3"})),
    "aac": ("", "audio/aac", _NONE, frozenset({"aac"})),
    "flac": ("", "audio/flac", _NONE, frozenset({"flac"})),
    "wav": ("", "audio/wav", _NONE, _WAV),
}
_KEEPS_ROTATION: Final = frozenset({"mp4", "quicktime"})
_TYPES_WITH_CODECS: Final = frozenset({"mp4", "quicktime", "webm", "ogg"})
_SOUND_TYPES: Final = frozenset({"mp4a", "opus", "flac"})
_NAMED_BY_CODEC: Final = frozenset({"webm", "ogg"})
"""Containers whose types name these codecs by FFmpeg's names, too."""
_PIXEL_FORMATS: Final = {
    "h264": {"yuv420p", "yuvj420p"},
    "hevc": {"yuv420p", "yuvj420p", "yuv420p10le"},
    "vp8": {"yuv420p", "yuva420p"},
    "av1": {"yuv420p", "yuv420p10le", "gray", "gray10le"},
}
"""Other pixel formats of these codecs are not decoded; VP9 is, with all of them."""
_RARELY_DECODED: Final = frozenset({"hevc"})
"""Codecs that need a decoder of the hardware or of the system in most browsers."""
_H264: Final = "avc1.64002A"
"""What the encoder makes: the high profile, at most level 4.2 (1080p at 60 frames a second)."""
_ENCODED_AUDIO: Final = {"aac": "mp4a.40.2", "opus": "opus"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One way to play a file.

    `variant` is VIDEO.AUDIO as in the URLs of the segments, "" for the file as it is; `type` the
    MIME type with codecs that the browser is asked about, "" if it is not asked; `reason` says in a
    clause why the file is not played as it is, and what of its picture an encoding loses.
    """

    kind: Playability
    variant: str
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Playback:
    """The ways to play a file, best first, and what stands against others.

    `problem` is a sentence, "" if there is none; `start_s` is the earliest presentation time of the
    file (s), which is time 0 of the segments' player.
    """

    deliveries: tuple[Delivery, ...]
    problem: str
    start_s: float

    def as_dicts(self) -> list[dict[str, str]]:
        """Return the deliveries as JSON for a page."""
        return [asdict(delivery) for delivery in self.deliveries]


@dataclass(frozen=True, slots=True)
class PlaybackFacts:
    """What decides about the playback: the first video and the first audio stream of a file.

    `video` and `audio` are FFmpeg's codec names, None without such a stream; `video_type` and
    `audio_type` their names by RFC 6381, "" if MP4 cannot hold them; `sample_entry` is the name in
    an MP4 where segments have another one ("hev1"); `size` is in pixels. `has_times`: whether the
    packets have the right timestamps, `has_index` whether the places of the key frames are known
    without reading the whole file; `hides_frames`: an edit list hides the frames at the start;
    `has_open_groups`: there are key frames of H.264 that are followed by references to frames
    before them; `keeps_rotation`: the container carries the rotation, not only the frames. `losses`
    says what of the picture an encoding loses ("reduced to 1280 x 720").
    """

    container: str
    video: str | None = None
    audio: str | None = None
    video_type: str = ""
    audio_type: str = ""
    sample_entry: str = ""
    pixel_format: str | None = None
    size: tuple[int, int] = (0, 0)
    has_video_decoder: bool = True
    has_audio_decoder: bool = True
    has_times: bool = True
    is_interlaced: bool = False
    is_rotated: bool = False
    is_mirrored: bool = False
    keeps_rotation: bool = True
    hides_frames: bool = False
    has_open_groups: bool = False
    has_index: bool = True
    losses: tuple[str, ...] = ()


def playable_as(
    container: str, video: Sequence[VideoStream], audio: Sequence[AudioStream]
) -> Playability:
    """Return what every browser needs to play a file, by its first video and audio stream.

    It is the kind of the first of its `deliveries`, unless that needs a rare decoder. What only
    packets and frames tell (interlaced or hidden frames) is not known here.
    """
    picture, sound = next(iter(video), None), next(iter(audio), None)
    facts = PlaybackFacts(
        container,
        video=None if picture is None else picture.codec,
        audio=None if sound is None else sound.codec,
        video_type="" if picture is None else picture.codec,
        audio_type="" if sound is None else sound.codec,
        pixel_format=None if picture is None else picture.pixel_format,
        is_rotated=picture is not None and picture.rotation != 0,
    )
    if facts.video in _RARELY_DECODED:
        return "transcode"
    return next((one.kind for one in deliveries(facts)), "transcode")


def deliveries(
    facts: PlaybackFacts, convert: Literal["auto", "never", "always"] = "auto"
) -> tuple[Delivery, ...]:
    """Return the ways to play a file, best first; none if no browser can play what can be made.

    With `convert` "never" the browser tries the file as it is, with "always" all is encoded again.
    """
    if convert == "never":
        return (Delivery("direct", "", "", ""),)
    found: list[Delivery] = []
    if convert == "auto":
        if _is_direct(facts):
            found.append(Delivery("direct", "", _direct_type(facts), ""))
        found += _copies(facts)
    return (*found, *_encodings(facts))


def playback_problem(name: str, facts: PlaybackFacts) -> str:
    """Return why the file `name` is not converted, or not as a whole; "" if it can be."""
    width, height = facts.size
    if facts.video is not None and width * height > MAX_PIXELS:
        return (
            f"The frames of {name} have {width} x {height} pixels, too many to convert them while"
            " they play; make them smaller with vidnb.convert(width=…)."
        )
    for kind, codec, has_decoder in (
        ("video", facts.video, facts.has_video_decoder),
        ("sound", facts.audio, facts.has_audio_decoder),
    ):
        if codec is not None and not has_decoder:
            return (
                f"The {kind} of {name} has a codec ({codec_title(codec)}) for which this FFmpeg has"
                " no decoder; convert it with another program."
            )
    return ""


def _is_direct(facts: PlaybackFacts) -> bool:
    _, _, video_codecs, audio_codecs = _CONTAINERS.get(facts.container, ("", "", _NONE, _NONE))
    if facts.audio is not None and facts.audio not in audio_codecs:
        return False
    if facts.video is None:
        return facts.audio is not None
    return (
        facts.video in video_codecs
        and _is_decoded(facts)
        and not (facts.is_rotated and facts.container not in _KEEPS_ROTATION)
        and not _frames_reason(facts)
    )


def _is_decoded(facts: PlaybackFacts) -> bool:
    """Whether some browser decodes the pixel format."""
    formats = _PIXEL_FORMATS.get(facts.video or "")
    return formats is None or facts.pixel_format in formats


def _frames_reason(facts: PlaybackFacts) -> str:
    """Return why the frames of a file are not shown as they should be, "" if they are."""
    if facts.is_interlaced:
        return "its frames are interlaced"
    if facts.is_mirrored:
        return "its frames are mirrored, which not every browser shows"
    if facts.is_rotated and not facts.keeps_rotation:
        return "its frames are rotated, which the browser does not see"
    if facts.hides_frames:
        return "it starts with hidden frames, which not every browser hides"
    return ""


def _copy_reason(facts: PlaybackFacts) -> str:
    """Return why the video cannot be copied into segments, "" if it can."""
    title = codec_title(facts.video or "")
    if facts.video not in _MP4_VIDEO:
        is_webm = facts.video in _WEBM_VIDEO
        return f"browsers play {title} in WebM only" if is_webm else f"no browser plays {title}"
    if not _is_decoded(facts):
        return f"no browser plays {title} with the pixels {facts.pixel_format}"
    if not facts.video_type:
        return f"its {title} cannot be copied into another container"
    if not facts.has_times:
        return "its frames have no correct timestamps"
    if not facts.has_index:
        return "it has no index of its key frames"
    if facts.has_open_groups:
        return "its key frames do not start anew, so that a browser cannot start at all of them"
    return _frames_reason(facts)


def _copies(facts: PlaybackFacts) -> Iterator[Delivery]:
    """Yield the ways that copy the video, or the only sound."""
    copies_sound = facts.audio in _MP4_AUDIO and bool(facts.audio_type)
    if facts.video is None:
        if copies_sound:
            yield Delivery("remux", "none.copy", _fed_type(facts.audio_type), _why(facts))
        return
    if _copy_reason(facts):
        return
    if facts.audio is None or not (copies_sound or facts.has_audio_decoder):
        reason = _why(facts) if facts.audio is None else _silent_reason(facts)
        yield Delivery("remux", "copy.none", _fed_type(facts.video_type), reason)
        return
    if copies_sound:
        types = _fed_type(facts.video_type, facts.audio_type)
        yield Delivery("remux", "copy.copy", types, _why(facts))
    for name in _encoded_audio(facts):
        types = _fed_type(facts.video_type, _ENCODED_AUDIO[name])
        yield Delivery("remux", f"copy.{name}", types, _sound_reason(facts))


def _encodings(facts: PlaybackFacts) -> Iterator[Delivery]:
    """Yield the ways that encode the video, or the only sound."""
    if facts.video is None:
        if facts.audio is not None and facts.has_audio_decoder:
            for name, codec in _ENCODED_AUDIO.items():
                yield Delivery("transcode", f"none.{name}", _fed_type(codec), _sound_reason(facts))
        return
    if not facts.has_video_decoder or facts.size[0] * facts.size[1] > MAX_PIXELS:
        return
    reason = _copy_reason(facts) or _missing_decoder(facts)
    if facts.losses:
        reason += f"; the picture is {' and '.join(facts.losses)}"
    if facts.audio is None or not facts.has_audio_decoder:
        yield Delivery("transcode", "h264.none", _fed_type(_H264), reason)
        return
    for name, codec in _ENCODED_AUDIO.items():
        yield Delivery("transcode", f"h264.{name}", _fed_type(_H264, codec), reason)


def _encoded_audio(facts: PlaybackFacts) -> Iterator[str]:
    """Yield the codecs that the sound can be encoded in, besides its own."""
    if facts.has_audio_decoder:
        yield from (name for name in _ENCODED_AUDIO if name != facts.audio or not facts.audio_type)


def _why(facts: PlaybackFacts) -> str:
    """Return why copied streams are needed."""
    if _is_direct(facts):
        return "the browser does not play the file as it is"
    if facts.is_rotated and facts.container not in _KEEPS_ROTATION:
        return f"browsers do not rotate {container_title(facts.container)}"
    if facts.container not in _CONTAINERS:
        return f"browsers do not play {container_title(facts.container)}"
    codec = facts.video or facts.audio or ""
    return f"browsers do not play {codec_title(codec)} in {container_title(facts.container)}"


def _sound_reason(facts: PlaybackFacts) -> str:
    title = codec_title(facts.audio or "")
    if facts.audio in _MP4_AUDIO | _WEBM_AUDIO:
        return f"the browser does not play its {title} sound as it is"
    return f"browsers do not play {title} sound"


def _silent_reason(facts: PlaybackFacts) -> str:
    return f"its sound ({codec_title(facts.audio or '')}) cannot be decoded"


def _missing_decoder(facts: PlaybackFacts) -> str:
    title = codec_title(facts.video or "")
    if facts.video in _RARELY_DECODED:
        return f"few browsers decode {title}"
    return f"the browser does not decode its {title}"


def _fed_type(*codecs: str) -> str:
    """Return the type of segments; the codec of a video is the first one."""
    is_sound = len(codecs) == 1 and codecs[0].partition(".")[0] in _SOUND_TYPES
    return f'{"audio" if is_sound else "video"}/mp4; codecs="{",".join(codecs)}"'


def _direct_type(facts: PlaybackFacts) -> str:
    """Return the type of the file as it is."""
    with_video, without, _, _ = _CONTAINERS[facts.container]
    kind = without if facts.video is None else with_video
    video, audio = facts.video_type, facts.audio_type
    if facts.sample_entry:
        video = facts.sample_entry + video[len(facts.sample_entry) :]
    if facts.container in _NAMED_BY_CODEC:
        video, audio = video or facts.video or "", facts.audio or ""
    codecs = [name for name in (video, audio) if name]
    streams = [name for name in (facts.video, facts.audio) if name]
    is_named = facts.container in _TYPES_WITH_CODECS and len(codecs) == len(streams)
    return f'{kind}; codecs="{",".join(codecs)}"' if is_named else kind


def output_limit(width: Fraction | int, height: int, fps: float, cores: int) -> tuple[int, int]:
    """Return the largest size (pixels) in which a video is encoded while it plays.

    It is 1920 x 1080, or 1280 x 720 where the processor's `cores` would not keep up with the
    source: `width` x `height` with square pixels, `fps` frames a second.
    """
    rate = fps if 0 < fps <= _MAX_SANE_FPS else _USUAL_FPS
    is_slow = width * height * rate > max(1, cores) * _PIXELS_PER_CORE_S
    return _REDUCED_SIZE if is_slow else _MAX_SIZE


def fit_size(
    width: Fraction | int,
    height: Fraction | int,
    max_size: tuple[int, int] | None,
    step: int = 2,
) -> tuple[int, int]:
    """Return a size (pixels) within `max_size`, never enlarged, in multiples of `step`.

    A high picture may have the height of `max_size` as its width.
    """
    factor = Fraction(1)
    if max_size is not None and width > 0 and height > 0:
        long, short = Fraction(max(max_size)), Fraction(min(max_size))
        factor = min(factor, long / max(width, height), short / min(width, height))
    return (
        max(step, round(width * factor / step) * step),
        max(step, round(height * factor / step) * step),
    )
