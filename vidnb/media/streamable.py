"""How a file can be fed to a browser in pieces: its head, its codecs, where which time stands.

A browser's MediaSource takes a head once, and after it the pieces of a fragmented MP4 or a WebM in
any order. `outline` finds out what a page has to know for that, without I/O: it asks for the bytes
that it wants to see. What it does not fully understand has no outline.
"""

import struct
from typing import Final

from vidnb.media import outline_mp4, outline_webm
from vidnb.media.outline import Outline, Reading, bytes_at

__all__ = ["outline"]

_EBML: Final = b"\x1a\x45\xdf\xa3"


def outline(size_bytes: int) -> Reading[Outline | None]:
    """Find out how a file of `size_bytes` can be played piece by piece; None where it cannot.

    Yields at most some 200 spans, each of at most `MOST_HEAD_BYTES` and within the file; send it
    their bytes. Takes time in proportion to these, and never raises for what stands in them.
    """
    try:
        start = yield from bytes_at(0, 8, size_bytes)
        if start[:4] == _EBML:
            return (yield from outline_webm.read(size_bytes))
        if start[4:] == b"ftyp":
            return (yield from outline_mp4.read(size_bytes))
    except (struct.error, IndexError, OverflowError, ValueError, ZeroDivisionError):
        return None  # cut short, or not what it seemed
    return None
