"""Shared by the tests of part files, journals and records: a record, and locks of a process."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S
from vidnb.download.planner.journal import Record, hash_url
from vidnb.http.headers import ETag
from vidnb.http.validators import Validators

URL = "https://example.org/film.mp4"
STRONG = Validators(ETag("v1", weak=False), 1_700_000_000, date_is_strong=True, total_bytes=100)
RECORD = Record(
    url_hash=hash_url(URL, "salt"),
    name="映画 (1).mp4",
    validators=STRONG,
    size_bytes=100,
    modified_ns=1_700_000_000_123_456_789,
    sha256="ab" * 32,
    media_type="video/mp4",
)
WITHOUT_LOCKS = ("no-fcntl", "no-locks")


def take_locks_away(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a system without `fcntl`, or a file system without locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if why == "no-fcntl":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", refuse)


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    """Lock a part file in another process, as the download of another kernel does."""
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(1); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate("\n", timeout=DEADLINE_S)
