"""Exact clips in Chromium: encoded and copied frames in one track, in any order."""

import random
from pathlib import Path

import numpy as np
import pytest

import vidnb
from tests.browser.lab import Chromium
from tests.clips import HEIGHT, WIDTH, clip, shown_number

# Seek to each time and return the red channel of the picture that is then shown.
SHOW = """async (times) => {
    const video = document.querySelector("video");
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const pictures = [];
    for (const time of times) {
        const seeked = new Promise((resolve) => { video.onseeked = resolve; });
        const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
        video.currentTime = time;
        await Promise.all([seeked, shown]);
        context.drawImage(video, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        pictures.push(Array.from(data.filter((_, index) => index % 4 === 0)));
    }
    return pictures;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h264.mp4", "h264-variable.mp4", "h264.mkv", "vp9.webm"])
def test_a_joined_clip_shows_every_frame(name: str, chromium: Chromium, tmp_path: Path) -> None:
    source = clip(name)
    suffix = ".webm" if name.endswith(".webm") else ".mp4"
    with vidnb.frames(source) as frames:
        start_s, end_s = frames.times_s[8], frames.times_s[46]
    result = vidnb.clip(source, start_s, end_s, tmp_path / f"c{suffix}", mode="exact")
    assert 0 < result.reencoded_frames < result.frames == 38
    with vidnb.frames(result.path) as frames:
        middles_s = [*(frames.times_s[1:] + frames.times_s[:-1]) / 2, frames.times_s[-1] + 0.001]
    order = random.Random(5).sample(range(38), 38)
    page = chromium.new_page()
    with vidnb.serve(result.path) as served:
        page.goto(served.page_url)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        pictures = page.evaluate(SHOW, [float(middles_s[index]) for index in order])
    found = [shown_number(np.array(one, np.uint8).reshape(HEIGHT, WIDTH)) for one in pictures]
    assert found == [index + 8 for index in order]
