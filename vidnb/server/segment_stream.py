"""What the server needs of a video in segments, and the names of its parts in a URL."""

import re
from typing import Final, NamedTuple, Protocol, runtime_checkable

__all__ = [
    "INIT",
    "INIT_NAME",
    "PLAYLIST",
    "PLAYLIST_NAME",
    "SegmentPath",
    "SegmentStream",
    "SegmentStreams",
    "WithdrawableStream",
    "name_of",
    "name_parts_by_folder",
    "number_of",
    "parse_segment_path",
]

PLAYLIST_NAME: Final = "index.m3u8"
INIT_NAME: Final = "init.mp4"
PLAYLIST: Final = -2
"""The number of the playlist, beside the segments from 0 on."""
INIT: Final = -1
"""The number of the init segment."""

_VARIANT: Final = re.compile(r"(?!none\.none)(copy|h264|none)\.(copy|aac|opus|none)")
_SEGMENT: Final = re.compile(r"(0|[1-9][0-9]{0,7})\.m4s")
_URI: Final = re.compile(r'^(?=[^#\n])|(?<=^#EXT-X-MAP:URI=")', re.MULTILINE)


class SegmentStream(Protocol):
    """The playlist, the init segment and the segments of one source in one variant."""

    def playlist(self) -> str:
        """Return the playlist; may block, so never on the server's loop."""

    def read(self, name: str) -> bytes | None:
        """Return "index.m3u8", "init.mp4" or a segment ("3.m4s"); block until it is made.

        None if there is no such part; a `VidnbError` with a sentence if it cannot be made.
        """

    def close(self) -> None:
        """Release everything; on the server's loop, too."""


@runtime_checkable
class WithdrawableStream(SegmentStream, Protocol):
    """A stream whose requests can be withdrawn: what nobody waits for any more is not made."""

    async def fetch(self, name: str) -> bytes | None:
        """Do what `read` does, on the server's loop; cancelling withdraws the request."""


class SegmentStreams(Protocol):
    """The streams of one source, by variant."""

    def stream(self, variant: str) -> SegmentStream | None:
        """Return the stream of a variant ("" for the default), None if there is none."""


class SegmentPath(NamedTuple):
    """What a path below a token names: a variant, "" for the default, and a part of it."""

    variant: str
    name: str


def parse_segment_path(path: str) -> SegmentPath | None:
    """Return what a path relative to a token names, None if it names no part of a stream."""
    folder, slash, name = path.rpartition("/")
    if number_of(name) is None or (slash and not _VARIANT.fullmatch(folder)):
        return None
    return SegmentPath(folder, name)


def number_of(name: str) -> int | None:
    """Return the number of a part: that of a segment, `INIT` or `PLAYLIST`; None for others."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else {PLAYLIST_NAME: PLAYLIST, INIT_NAME: INIT}.get(name)


def name_of(number: int) -> str:
    """Return the name of a part."""
    return {PLAYLIST: PLAYLIST_NAME, INIT: INIT_NAME}.get(number, f"{number}.m4s")


def name_parts_by_folder(playlist: str, folder: str) -> str:
    """Return a playlist for the folder above: every URI in it (RFC 8216) begins with `folder`."""
    return _URI.sub(f"{folder}/", playlist)
