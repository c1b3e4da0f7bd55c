"""A video that is still being encoded, as a source of the server: it has segments, but no file yet.

Its URL is a 404 (RFC 9110 section 15.5.5) until the complete file takes its place.
"""

from collections.abc import Callable
from pathlib import Path

from vidnb.media.growing_video import GrowingVideo
from vidnb.server.sources import FileSource, OpenVersion

__all__ = ["VARIANT", "GrowingSource", "GrowingStreams"]

VARIANT = "h264.none"
"""Encoded video without sound."""


class GrowingSource:
    """What is served before there is a file; `state` returns a clause about the encoding."""

    media_type = "video/mp4"

    def __init__(self, name: str, state: Callable[[], str]) -> None:
        self.name = name
        self.state = state

    async def version(self) -> OpenVersion:
        """Raise `FileNotFoundError`: there is no file yet."""
        raise FileNotFoundError(f"{self.name} is not complete yet: {self.state()}")

    def complete(self, path: Path) -> FileSource:
        """Return the source of the complete file, under the same name."""
        source = FileSource(path)
        source.name, source.media_type = self.name, self.media_type
        return source

    def close(self) -> None:
        """Do nothing: there is no file."""


class GrowingStreams:
    """The streams of a growing video (`SegmentStreams`): one."""

    def __init__(self, video: GrowingVideo) -> None:
        self._video = video

    def stream(self, variant: str) -> GrowingVideo | None:
        """Return the segments of a variant, "" for the default; None if there are none."""
        return self._video if variant in {"", VARIANT} else None
