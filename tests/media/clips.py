"""Clips with sound, in many containers, whose frames show their number (see `tests.clips`)."""

from pathlib import Path

from tests.assets import CACHE, made_by_ffmpeg
from tests.clips import clip as numbered

FRAMES = 60
_FOLDER = CACHE / "probe-clips-2"
_TONE = "-f lavfi -i sine=r=48000 -shortest -map 0:v -map 1:a"
# Noise makes the packets as large as those of a film.
_NOISE = "-vf noise=alls=12:allf=t"
_H264 = "-c:v libx264 -preset veryfast -g 25 -bf 2 -c:a aac"
CLIPS = {
    "h264.mp4": f"{_H264} -movflags +faststart",
    "h264-tail.mp4": _H264,
    "h264-fragmented.mp4": f"{_H264} -movflags frag_keyframe+empty_moov",
    "h264.mov": _H264,
    "h264.mkv": _H264,
    "h264.ts": _H264,
    "h264.flv": f"{_H264} -ar 44100",
    "hevc.mp4": "-c:v libx265 -preset ultrafast -x265-params log-level=none -g 25 -c:a aac",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus",
    "vp8.webm": "-c:v libvpx -deadline realtime -cpu-used 16 -g 25 -c:a libvorbis",
    "mpeg4.avi": "-c:v mpeg4 -q:v 3 -g 25 -sc_threshold 1000000000 -c:a mp3",
    "mjpeg.avi": "-c:v mjpeg -q:v 3 -c:a pcm_s16le",
}


def clip(name: str) -> Path:
    """Return one of `CLIPS`: 60 frames of 160 x 128 at 25 fps, a key frame a second, a tone."""
    return made(name, f"{_TONE} {_NOISE} {CLIPS[name]}")


def made(name: str, options: str, *, seconds: float = 2.4) -> Path:
    """Return a clip that is encoded with some options; after 60 frames it starts again."""
    source = ["-stream_loop", "-1", "-t", str(seconds), "-i", str(numbered("h264.mp4"))]
    return made_by_ffmpeg(_FOLDER / name, lambda: [*source, *options.split()])
