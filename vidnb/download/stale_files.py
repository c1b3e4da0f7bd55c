"""Remove stale files: what killed downloads left behind and no run can use.

These are private part files and half-written records; both have names of vidnb's own pattern, and
are locked while a process works on them. A part file that a next run resumes, its journal and
complete records are never touched.

A folder of an earlier version of vidnb, which others may read, gets the mode 0700.

A sweep lists the folder once. A folder may hold ten thousand records, and there may be thousands of
downloads: the next sweep of a folder happens after a hundred times the duration of the last one, so
sweeping takes at most a hundredth of the time.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from vidnb.download.part_file import remove_abandoned

__all__ = ["sweep"]

_INTERVAL_FACTOR = 100
_OTHERS = 0o077
_MAX_FOLDERS = 1000  # a process that uses more sweeps some of them too often

# The file names of `destination`, and the suffixes that `part_file` adds.
_LEFT = re.compile(
    r"[\w.-]{0,40}-[0-9a-f]{16}(?:\.[0-9a-f]{16}\.part|\.record\.[0-9a-f]{16}\.new)", re.ASCII
)

_next_at_s: dict[Path, float] = {}


def sweep(folder: Path) -> None:
    """Remove the stale files of a folder; an `OSError` of one is ignored."""
    started_s = time.monotonic()
    if started_s < _next_at_s.get(folder, 0.0):
        return
    with contextlib.suppress(OSError):
        if folder.stat().st_mode & _OTHERS:
            folder.chmod(0o700)  # not permitted for another user's
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [
            e.path for e in entries if _LEFT.fullmatch(e.name) and e.is_file(follow_symlinks=False)
        ]
        for path in map(Path, left):
            with contextlib.suppress(OSError):  # removed already, or not permitted
                remove_abandoned(path, time.time())
    if len(_next_at_s) >= _MAX_FOLDERS:
        _next_at_s.clear()
    ended_s = time.monotonic()
    _next_at_s[folder] = ended_s + _INTERVAL_FACTOR * (ended_s - started_s)
