"""Take away what downloads that were killed left behind and nobody can use.

These are private part files and records that were half written; both carry names nobody else
gives, and a lock while somebody is at work on them. The part file that a next run resumes, its
journal and whole records are never touched.

A sweep lists the folder once. That is quick in most, but a folder may hold records by the ten
thousand, and downloads may come by the thousand: the next sweep of a folder waits a hundred times
as long as the last one took, so sweeping costs one part in a hundred of the time, at most.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from vidnb.download.part_file import remove_abandoned

__all__ = ["sweep"]

_REST_FACTOR = 100
_MOST_FOLDERS = 1000  # remembered; a process that uses more of them sweeps some too often

# What `engine.shelf` names its files by, and what `io.files` puts behind it.
_LEFT = re.compile(
    r"[\w.-]{0,40}-[0-9a-f]{16}(?:\.[0-9a-f]{16}\.part|\.record\.[0-9a-f]{16}\.new)", re.ASCII
)

_next_at_s: dict[Path, float] = {}


def sweep(folder: Path) -> None:
    """Remove from a folder what nobody holds and nobody can resume; no fault of it is an error."""
    started_s = time.monotonic()
    if started_s < _next_at_s.get(folder, 0.0):
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [
            e.path for e in entries if _LEFT.fullmatch(e.name) and e.is_file(follow_symlinks=False)
        ]
        for path in map(Path, left):
            with contextlib.suppress(OSError):  # gone already, or not ours to remove
                remove_abandoned(path, time.time())
    if len(_next_at_s) >= _MOST_FOLDERS:
        _next_at_s.clear()
    ended_s = time.monotonic()
    _next_at_s[folder] = ended_s + _REST_FACTOR * (ended_s - started_s)
