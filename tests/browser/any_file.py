"""The files of the tests of `test_any_file`: ten seconds in many formats, numbered, with sound."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.assets import CACHE, made_by_ffmpeg
from tests.clips import long_clip

FPS = 25
FRAMES = 250
DURATION_S = FRAMES / FPS
_FOLDER = CACHE / "any-file-1"
_UPSCALE = "scale=1280:720:flags=neighbor,setsar=1"
_SUBTITLES = "1\n00:00:01,000 --> 00:00:09,000\nHello\n"
_X264 = "-c:v libx264 -preset veryfast -g 50 -bf 2 -pix_fmt yuv420p"


@dataclass(frozen=True, slots=True)
class Format:
    """One format: ffmpeg's options, and how it is delivered by HTTP and by the kernel channel."""

    options: str
    http: str
    kernel: str
    filters: str = _UPSCALE
    has_subtitles: bool = False


FORMATS = {
    "h264.mkv": Format(f"{_X264} -c:a aac", "remux", "remux"),
    "mpeg4-b-frames.avi": Format(
        "-c:v mpeg4 -bf 2 -g 50 -q:v 4 -pix_fmt yuv420p -c:a mp3", "transcode", "transcode"
    ),
    "h264.ts": Format(f"{_X264} -c:a aac", "remux", "remux"),
    "hevc.mp4": Format(
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=50 -pix_fmt yuv420p"
        " -c:a aac",
        "transcode",
        "transcode",
    ),
    # The frames are stored turned by 90 degrees, and shown upright.
    "prores-rotated.mov": Format(
        "-c:v prores -profile:v 0 -pix_fmt yuv422p10le -c:a pcm_s16le",
        "transcode",
        "transcode",
        f"{_UPSCALE},transpose=cclock",
    ),
    "mjpeg.avi": Format(
        "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p -c:a pcm_s16le", "transcode", "transcode"
    ),
    "mpeg2-interlaced.mpg": Format(
        "-c:v mpeg2video -flags +ilme+ildct -top 1 -bf 2 -g 12 -q:v 4 -pix_fmt yuv420p -c:a mp2"
        " -f vob",
        "transcode",
        "transcode",
    ),
    "vp9-subtitles.mkv": Format(
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -g 50 -b:v 2M -pix_fmt yuv420p"
        " -c:a libopus -c:s srt",
        "remux",
        "remux",
        has_subtitles=True,
    ),
    "wmv2.wmv": Format(
        "-c:v wmv2 -g 50 -b:v 4M -pix_fmt yuv420p -c:a wmav2", "transcode", "transcode"
    ),
    "h264-10-bit-422.mkv": Format(
        "-c:v libx264 -preset veryfast -g 50 -pix_fmt yuv422p10le -c:a aac",
        "transcode",
        "transcode",
    ),
    "odd-size.mkv": Format(
        "-c:v mpeg4 -g 50 -q:v 2 -pix_fmt yuv420p -c:a mp3",
        "transcode",
        "transcode",
        "scale=161:121:flags=area,setsar=1",
    ),
    "h264-tail.mp4": Format(f"{_X264} -c:a aac", "direct", "remux"),
    "h264-fragmented.mp4": Format(
        f"{_X264} -c:a aac -movflags frag_keyframe+empty_moov", "direct", "remux"
    ),
}


def format_file(name: str) -> Path:
    """Return a file of one of `FORMATS`."""
    found = FORMATS[name]
    if name == "prores-rotated.mov":
        return made_by_ffmpeg(
            _FOLDER / name,
            lambda: [
                "-i",
                str(_encoded(name, found)),
                *["-c", "copy", "-metadata:s:v:0", "rotate=-90"],
            ],
        )
    return _encoded(name, found)


def _encoded(name: str, found: Format) -> Path:
    path = _FOLDER / ("upright-" + name if "rotated" in name else name)
    return made_by_ffmpeg(path, lambda: _arguments(found))


def _arguments(found: Format) -> list[str]:
    source = ["-i", str(long_clip(FRAMES, str(FPS)))]
    source += f"-f lavfi -i sine=r=48000:d={DURATION_S}".split()
    streams = ["-map", "0:v", "-map", "1:a"]
    if found.has_subtitles:
        text = _FOLDER / "subtitles.srt"
        text.write_text(_SUBTITLES)
        source += ["-i", str(text)]
        streams += ["-map", "2:s"]
    return [*source, *streams, "-vf", found.filters, *found.options.split()]


_LONG = "-vf scale=320:256:flags=neighbor -c:v mpeg4 -g 30 -q:v 4 -pix_fmt yuv420p"
_LARGE = {
    "large.mkv": "-c:v libx264 -preset ultrafast -qp 25 -g 50 -pix_fmt yuv420p -c:a aac",
    "large.avi": "-c:v mpeg4 -g 50 -q:v 2 -pix_fmt yuv420p -c:a pcm_s16le",
}


def large_file(name: str) -> Path:
    """Return one of `_LARGE`: 250 frames, noisy, so that a part of it takes time to download."""
    large = Format(
        _LARGE[name], "", "", "scale=320:256:flags=neighbor,setsar=1,noise=alls=20:allf=t"
    )
    return made_by_ffmpeg(_FOLDER / name, lambda: _arguments(large))


def long_file() -> Path:
    """Return an AVI of MPEG-4 part 2 of 60 s at 10 fps, so that each frame has its own number."""
    sound = ["-f", "lavfi", "-i", "sine=r=48000:d=60"]
    options = f"{_LONG} -c:a pcm_s16le".split()
    return made_by_ffmpeg(
        _FOLDER / "long-10.avi", lambda: ["-i", str(long_clip(600, "10")), *sound, *options]
    )


@dataclass(frozen=True, slots=True)
class Times:
    """When the first frame is shown and when picture and sound end, in the time of a player (s)."""

    first_s: float
    duration_s: float

    def of_frame(self, index: int) -> float:
        """Return a time in the middle of a frame."""
        return self.first_s + (index + 0.5) / FPS


def times_of(path: Path) -> Times:
    """Return the times of a file as ffprobe reads them.

    Time 0 of a player is the file's earliest time that is not negative.
    """
    packets = _probe(path, "packet=codec_type,pts_time,duration_time")["packets"]
    media = [one for one in packets if one["codec_type"] != "subtitle" and "pts_time" in one]
    starts_s = [float(one["pts_time"]) for one in media]
    ends_s = [float(one["pts_time"]) + float(one.get("duration_time", 0)) for one in media]
    start_s = max(0, min(starts_s))
    # Packets of AVI have no presentation times, its decoded frames do.
    frames = _probe(path, "frame=best_effort_timestamp_time", "-read_intervals", "%+#9")["frames"]
    first_s = float(frames[0]["best_effort_timestamp_time"])
    return Times(first_s - start_s, max(ends_s) - start_s)


def _probe(path: Path, entries: str, *options: str) -> Any:
    video = ["-select_streams", "v"] if entries.startswith("frame") else []
    command = ["ffprobe", "-v", "error", *video, *options, "-show_entries", entries]
    return json.loads(subprocess.check_output([*command, "-of", "json", str(path)], timeout=60))
