"""Files in memory and files on a slow disk.

A mapping of the file is locked to keep it in memory, because a virtual machine may return its page
cache to the host at any time. A disk is slow for one server only: its processes join a blkio
control group with a limit of bytes per second for the device.
"""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/blkio")


class SlowDiskUnavailable(Exception):  # noqa: N818 - part of the report
    """The disk cannot be limited on this machine; the message says why."""


@contextlib.contextmanager
def in_memory(path: Path) -> Iterator[str]:
    """Keep a file in the page cache; yield a description of how."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        libc = ctypes.CDLL(None)
        failed = libc.mlock(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)))
        del first
        if failed:
            mapped[:]  # read it once at least
        yield (
            "read once, because locking it in memory is not permitted"
            if failed
            else "locked in memory"
        )


def evict(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def slow_disk(path: Path, pids: Sequence[int], rate: int) -> Iterator[None]:
    """Limit these processes to `rate` (B/s) from the disk of `path`; `SlowDiskUnavailable`."""
    device = path.stat().st_dev
    node = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    disk = node.parent if (node / "partition").exists() else node
    group = GROUPS / f"vidnb{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise SlowDiskUnavailable(f"no blkio control group: {error.strerror}") from None
    try:
        try:
            number = (disk / "dev").read_text().strip()
            (group / "blkio.throttle.read_bps_device").write_text(f"{number} {rate}")
        except OSError as error:
            raise SlowDiskUnavailable(f"the disk accepts no limit: {error.strerror}") from None
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        try:
            yield
        finally:
            for pid in pids:
                (GROUPS / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()
