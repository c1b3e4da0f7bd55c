"""What a browser finds out too late, or never says: a video file that is a part of itself."""

from typing import Final

from vidnb.media.sniff import BoxScanner
from vidnb.server.server import Served
from vidnb.server.sources import FileSource

__all__ = ["file_problem"]

_MOST_STEPS: Final = (
    5000  # of a few dozen bytes each; a film in more fragments is not looked through
)


def file_problem(served: Served) -> str:
    """Return a sentence where an MP4 or QuickTime file ends early, else an empty text.

    Such a file opens with its full length, and Chromium shows a still picture past its end. What
    cannot be read here is the server's to tell.
    """
    source = served._resource.source  # noqa: SLF001 - of the same package
    if not isinstance(source, FileSource):
        return ""
    scan = BoxScanner(served.size_bytes)
    try:
        with open(source.path, "rb") as file:  # noqa: PTH123 - the name may be no text
            for _ in range(_MOST_STEPS):
                byte_range = scan.next_range()
                if byte_range is None:
                    break
                file.seek(byte_range.start)
                scan.feed(file.read(byte_range.size_bytes))
    except (OSError, ValueError):
        return ""
    layout = scan.layout()
    if not layout.truncated:
        return ""
    plays = "it plays up to there" if layout.moov_first else "it does not play"  # without an index
    return (
        f"{served.name} ends early ({layout.missing_part}), so {plays}: "
        "fetch or write the file again, then run the cell again."
    )
