"""Measures in a browser whether the sound of a clip of flashes and clicks is in step.

Each click begins with a flash, twice a second. A frame's media time comes from
`requestVideoFrameCallback`, that of a sample from the clock of Web Audio, whose offset to
`video.currentTime` is constant between two seeks.
"""

from pathlib import Path
from statistics import median
from typing import Any

from tests.assets import CACHE, made_by_ffmpeg

PERIOD_S = 0.5
FRAME_S = 0.04
SEEKS_S = (6.1, 2.3, 9.7, 0.9, 7.4)
_CLIP = (
    "-t 14 -f lavfi -i color=c=black:s=160x120:r=25,"
    "drawbox=c=white:t=fill:enable=lt(mod(t+0.001\\,0.5)\\,0.12)"
    " -t 14 -f lavfi -i aevalsrc=if(lt(mod(t\\,0.5)\\,0.01)\\,sin(2000*PI*t)\\,0):s=48000"
    " -pix_fmt yuv420p"
)
_CODECS = {
    "sync.mp4": "-c:v libx264 -g 25 -bf 2 -c:a aac -movflags +faststart",
    "sync.mkv": "-c:v libx264 -g 25 -bf 2 -c:a aac",
    "sync.ts": "-c:v libx264 -g 25 -bf 2 -c:a aac",
    "sync-ac3.mkv": "-c:v libx264 -g 25 -bf 2 -c:a ac3",
    "sync.avi": "-c:v mpeg4 -c:a mp3",
    "sync.mpg": "-c:v mpeg2video -c:a mp2 -f vob",
    "sync.wmv": "-c:v wmv2 -c:a wmav2",
}

# Plays the video of the page with seeks; returns what is recorded between two of them.
RECORD = """async (seeks) => {
    const video = document.querySelector("video");
    const context = new AudioContext();
    await context.resume();
    const listen = context.createScriptProcessor(512, 2, 1);
    context.createMediaElementSource(video).connect(listen).connect(context.destination);
    let part;
    listen.onaudioprocess = ({ inputBuffer, playbackTime }) => {
        const data = inputBuffer.getChannelData(0);
        let peak = 0;
        for (const value of data) peak = Math.max(peak, Math.abs(value));
        const at = data.findIndex((value) => Math.abs(value) > 0.25);
        if (at >= 0) part.clicks.push(playbackTime + at / context.sampleRate);
        part.peak = Math.max(part.peak, peak);
    };
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [8, 8];
    const drawing = canvas.getContext("2d", { willReadFrequently: true });
    const onFrame = (now, { mediaTime }) => {
        drawing.drawImage(video, 0, 0, 8, 8);
        part.frames.push([mediaTime, drawing.getImageData(4, 4, 1, 1).data[0] > 128]);
        video.requestVideoFrameCallback(onFrame);
    };
    const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
    const parts = [];
    const record = async () => {
        await wait(300);
        parts.push(part = { clicks: [], frames: [], clock: [], peak: 0 });
        const timer = setInterval(() => {
            part.clock.push([context.currentTime, video.currentTime]);
        }, 10);
        await wait(1800);
        clearInterval(timer);
        part = { clicks: [], frames: [], clock: [], peak: 0 };
    };
    part = { clicks: [], frames: [], clock: [], peak: 0 };
    video.muted = false;
    video.requestVideoFrameCallback(onFrame);
    const next = (name) => new Promise((done) => {
        video.addEventListener(name, done, { once: true });
    });
    const playing = next("playing");
    await video.play();
    await playing;
    await record();
    for (const time of seeks) {
        const sought = next("seeked");
        video.currentTime = time;
        await sought;
        await record();
    }
    video.pause();
    await context.close();
    return parts;
}"""


def sync_clip(name: str) -> Path:
    """Return a clip of 14 s, a flash of three frames and a click of 10 ms twice a second."""
    options = [*_CLIP.split(), *_CODECS[name].split()]
    return made_by_ffmpeg(CACHE / "sync-2" / name, lambda: options)


def delay_s(part: dict[str, Any]) -> float:
    """Return by how much the clicks are later than the flashes, as the median (s)."""
    offset_s: float = median(media_s - audio_s for audio_s, media_s in part["clock"])
    flashes_s = [
        time_s
        for (before_s, was_white), (time_s, is_white) in zip(
            part["frames"], part["frames"][1:], strict=False
        )
        if is_white and not was_white and time_s - before_s < 1.5 * FRAME_S  # no frame was skipped
    ]
    clicks_s: list[float] = []
    for audio_s in part["clicks"]:
        if not clicks_s or audio_s + offset_s > clicks_s[-1] + PERIOD_S / 2:
            clicks_s.append(audio_s + offset_s)
    assert flashes_s, part["frames"]
    assert clicks_s, part["peak"]
    # Flashes are a period apart from each other, whichever of them was seen.
    phase_s: float = median(time_s % PERIOD_S for time_s in flashes_s)
    return median(
        (click_s - phase_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2 for click_s in clicks_s
    )
