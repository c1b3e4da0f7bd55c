"""What the server needs of a video in segments, and the paths of its parts in a URL."""

import re
from typing import Final, NamedTuple, Protocol, runtime_checkable

from vidnb.media.playlist import part_number

__all__ = [
    "SegmentPath",
    "SegmentStream",
    "SegmentStreams",
    "WithdrawableStream",
    "parse_segment_path",
]

_VARIANT: Final = re.compile(r"(?!none\.none)(copy|h264|none)\.(copy|aac|opus|none)")


class SegmentStream(Protocol):
    """The playlist, the init segment and the segments of one source in one variant."""

    def read(self, name: str) -> bytes | None:
        """Return a part by its name ("index.m3u8", "3.m4s"); block until it is made.

        Never on the server's loop. None if there is no such part; a `VidnbError` with a sentence if
        it cannot be made.
        """

    def close(self) -> None:
        """Release everything; on the server's loop, too."""


@runtime_checkable
class WithdrawableStream(SegmentStream, Protocol):
    """A stream whose requests can be withdrawn: a part without a request is not made."""

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
    if part_number(name) is None or (slash and not _VARIANT.fullmatch(folder)):
        return None
    return SegmentPath(folder, name)
