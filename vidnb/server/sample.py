"""The clip that ships with vidnb, so that everything can be tried without a network."""

import atexit
from contextlib import ExitStack
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["sample"]


@cache
def sample() -> Path:
    """Return the path of the sample clip: 10 s of MP4 in 241,247 bytes.

    Video: H.264 (Main, yuv420p), 640 x 360 pixels, 30 frames per second, 300 frames, a key frame
    each second. Audio: AAC, mono, 48 kHz, one note a second. The index (`moov`) stands before the
    data. Time code and frame number are burned in, so that a seek can be seen.

    The clip was made for vidnb by `vidnb/data/make_sample.sh` and is under vidnb's own licence
    (MIT, made by us). Read it, serve it, copy it; it belongs to the installed package, so do not
    write to it. Nothing is raised: an installation always has it.
    """
    held = ExitStack()
    # Only a package that runs from inside a zip file has to be unpacked; that copy goes at exit.
    atexit.register(held.close)
    return held.enter_context(as_file(files("vidnb") / "data" / "sample.mp4"))
