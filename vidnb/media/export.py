"""What clips and conversions share: the file that is written, progress, cancelling, encoders.

The work runs in a thread of its own, so that an interrupt is handled at once and the caller's
thread shows the progress. The file is written under a temporary name in `.vidnb` beside its
destination and published only when it is complete.
"""

import concurrent.futures
import contextlib
import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, cast

from vidnb.download.destination import FOLDER, MAX_SAME_NAMES, part_key
from vidnb.download.part_file import PartFile
from vidnb.download.planner.naming import numbered
from vidnb.errors import MediaError, StorageError
from vidnb.io.calls import CLEANUP_S, DaemonThreads
from vidnb.io.regular_file import IrregularFileError, os_error_reason, resolve_target
from vidnb.media.container import MediaFile, require_av

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

__all__ = [
    "AUDIO_BIT_RATE",
    "ExportProgress",
    "OutputFile",
    "ProgressFunction",
    "Work",
    "check_not_source",
    "color_facts",
    "display_matrix",
    "kept_tags",
    "mux_order",
    "require_encoder",
    "run_export",
    "sound_rate",
]

AUDIO_BIT_RATE: Final = 160_000

_T = TypeVar("_T")
_TICK_S: Final = 0.1
_BAR_DELAY_S: Final = 1.0
_STALE: Final = (
    "bps",
    "compatible_brands",
    "creation_time",
    "duration",
    "encoder",
    "major_brand",
    "minor_version",
    "number_of_",
    "vendor_id",
    "_statistics",
)
_STORAGE_ERRORS: Final = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EFBIG: "the file became larger than this system allows",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "you have no permission to write there; choose another folder",
    errno.EPERM: "you have no permission to write there; choose another folder",
    errno.ENOTDIR: "a folder in its path is a file; choose another folder",
    errno.EISDIR: "it is a folder; name a file in it",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How many frames are done, of how many, and for how long (s) the work has run."""

    done_frames: int
    total_frames: int
    elapsed_s: float


ProgressFunction: TypeAlias = Callable[[ExportProgress], object]


class Work:
    """The progress of one export, and whether it was cancelled; used from any thread."""

    def __init__(self, cancel: threading.Event | None) -> None:
        self._cancel = threading.Event() if cancel is None else cancel
        self._is_stopped = False
        self._started_s = time.monotonic()
        self.done_frames = 0
        self.total_frames = 0

    def advance(self, frames: int = 1) -> None:
        """Count finished frames; `concurrent.futures.CancelledError` if the work was cancelled."""
        self.done_frames += frames
        if self._is_stopped or self._cancel.is_set():
            raise concurrent.futures.CancelledError

    def stop(self) -> None:
        """Cancel the work without setting the caller's event."""
        self._is_stopped = True

    def progress(self) -> ExportProgress:
        """Return the current numbers."""
        elapsed_s = time.monotonic() - self._started_s
        return ExportProgress(self.done_frames, self.total_frames, elapsed_s)


def run_export(
    function: Callable[[Work], _T],
    *,
    name: str,
    progress: bool | ProgressFunction | None,
    cancel: threading.Event | None,
) -> _T:
    """Run an export in a thread, wait for it and show its progress.

    `name` stands beside the bar. An interrupt, or an exception of the `progress` function, cancels
    the work and waits until its temporary file is removed.
    """
    work = Work(cancel)
    show = _display(progress, name)
    threads = DaemonThreads("vidnb-export", 1)
    future = threads.submit(function, work)
    try:
        while not concurrent.futures.wait([future], _TICK_S).done:
            show(work.progress())
    except BaseException as error:
        work.stop()
        concurrent.futures.wait([future], CLEANUP_S)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"{name} was interrupted: nothing was kept; run it again.")
        raise
    else:
        result = future.result()
        show(work.progress())
        return result
    finally:
        threads.shutdown()
        close = getattr(show, "close", None)
        if close is not None:
            close()


def _display(progress: bool | ProgressFunction | None, name: str) -> ProgressFunction:
    if callable(progress):
        return progress
    if progress is False or not _has_display():
        return lambda _: None
    return _Bar(name)


def _has_display() -> bool:
    """Whether this process has a Jupyter kernel, or a terminal as its standard error."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    if get_ipython is not None and getattr(get_ipython(), "kernel", None) is not None:
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


class _Bar:
    """tqdm's bar, in a cell or on a terminal; it appears after a second and is removed at the end.

    The result says what was done, so a saved notebook needs no bar.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __call__(self, progress: ExportProgress) -> None:
        if self._bar is None:
            if progress.elapsed_s < _BAR_DELAY_S or not progress.total_frames:
                return
            from tqdm.auto import tqdm

            self._bar = tqdm(
                desc=self._name, total=progress.total_frames, unit="frame", leave=False
            )
        self._bar.total = progress.total_frames
        self._bar.update(progress.done_frames - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class OutputFile:
    """A media file that gets its name only when it is complete; a context manager.

    `path` is its destination; an existing file is replaced, or with `is_new` another name is
    chosen: `name (1).mp4`. Leaving the context without `publish` removes the temporary file.
    Raises `StorageError` where the disk or the path fails.
    """

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self._path = path
        self._is_new = is_new
        self._container: OutputContainer | None = None
        with self.errors():
            # Of a symbolic link its target is replaced, by a rename within its own file system.
            self._file = path if is_new else resolve_target(path)
            key = part_key(path.name, f"export {path.name}")
            self._part = PartFile(self._file.parent / FOLDER, key)
            self._part.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            with contextlib.suppress(Exception):  # it is thrown away
                self._container.close()
        self._part.close(keep=False)
        with contextlib.suppress(OSError):  # an empty folder is of no use
            self._part.path.parent.rmdir()

    def open(self, muxer: str, options: dict[str, str] | None = None) -> "OutputContainer":
        """Open the file for FFmpeg's `muxer`."""
        av = require_av()
        with self.errors():
            self._container = cast(
                "OutputContainer",
                av.open(str(self._part.path), "w", format=muxer, container_options=options or {}),
            )
        return self._container

    def publish(self) -> tuple[Path, int]:
        """Complete the file and give it its name; return its path and its size (B)."""
        with self.errors():
            if self._container is not None:
                container, self._container = self._container, None
                container.close()
            if not self._is_new:
                return self._path, self._part.publish(self._file, may_replace=True).st_size
            for number in range(MAX_SAME_NAMES):
                path = self._path.with_name(numbered(self._path.name, number))
                with contextlib.suppress(FileExistsError):
                    return path, self._part.publish(path, may_replace=False).st_size
        raise StorageError(
            f"{self._path} and {MAX_SAME_NAMES - 1} more files of this name exist; the video was"
            " not saved; pass another path."
        )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the disk into `StorageError`, and others of FFmpeg into `MediaError`."""
        av = require_av()
        try:
            yield
        except StorageError:
            raise
        except IrregularFileError as error:
            raise StorageError(
                f"{self._path} could not be written: {os_error_reason(error)}; nothing was kept."
            ) from error
        except (OSError, av.error.FFmpegError) as error:
            code = error.errno or 0
            if code in _STORAGE_ERRORS or not isinstance(error, av.error.FFmpegError):
                reason = _STORAGE_ERRORS.get(code, f"the system says {error.strerror!r}")
                raise StorageError(
                    f"{self._path} could not be written: {reason}; nothing was kept."
                ) from error
            raise MediaError(
                f"FFmpeg cannot write this video as {self._path.suffix or 'such a'} file"
                f" ({error.strerror}); nothing was kept; choose another format, such as .mkv."
            ) from error


def check_not_source(path: Path, file: MediaFile) -> None:
    """Raise `ValueError` if a new file would replace the one that it is made from."""
    if file.identity is not None and path.exists():
        status = path.stat()
        if (status.st_dev, status.st_ino) == file.identity[:2]:
            raise ValueError(f"{path} is the source itself; choose another path.")


def require_encoder(name: str) -> None:
    """Raise `MediaError` if this FFmpeg lacks an encoder."""
    av = require_av()
    try:
        av.codec.Codec(name, "w")
    except (ValueError, av.error.FFmpegError) as error:
        raise MediaError(
            f"This FFmpeg has no encoder {name}; install the wheel of PyAV, which has it: pip"
            " install --force-reinstall av."
        ) from error


def kept_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags that are still true in a new file: not those of a container or an encoder."""
    return {name: text for name, text in metadata.items() if not name.lower().startswith(_STALE)}


def sound_rate(encoder: str, rate: int) -> int:
    """Return the sampling rate (Hz) for sound of a rate: for AAC one that every decoder knows."""
    is_known = rate in {22050, 24000, 32000, 44100, 48000}
    return rate if encoder == "aac" and is_known else 48000


def color_facts(target: "VideoCodecContext", frame: "VideoFrame") -> None:
    """Copy range, primaries, transfer and matrix (ITU-T H.273) of a frame to an encoder."""
    target.color_range = frame.color_range
    target.color_primaries = frame.color_primaries
    target.color_trc = frame.color_trc
    target.colorspace = frame.colorspace


def display_matrix(frame: "VideoFrame") -> list[int] | None:
    """Return the display matrix of a frame (ISO/IEC 14496-12 section 8.3.2), None without one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return [int(value) for value in memoryview(bytes(cast(Any, data))).cast("i")]


def mux_order(packet: "Packet[Any]", track: int) -> "tuple[float, int, Packet[Any]]":
    """Return a packet after the key by which the packets of several tracks are merged."""
    return float((packet.dts or 0) * packet.time_base), track, packet
