"""Make the segments of one version of a source, in one variant, in a thread of their own.

The maker (PyAV) is opened for the first segment that is not in the cache, and lives in a local
variable of the thread: a forked child has no such thread, and must not free the decoders of its
parent, which would wait for threads that do not exist there.
"""

import asyncio
import hashlib
import logging
import queue
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeAlias

from vidnb.errors import MediaError, ServeError, VidnbError
from vidnb.http.ranges import ByteRange
from vidnb.io.calls import start_thread
from vidnb.media.container import MediaFile
from vidnb.server.segment_cache import SegmentCache
from vidnb.server.segment_stream import INIT, PLAYLIST, PLAYLIST_NAME, name_of
from vidnb.server.source_file import SourceFile
from vidnb.server.sources import FileSource, OpenFile, OpenVersion, Source

__all__ = [
    "Found",
    "Session",
    "SessionKey",
    "SourceBytes",
    "SourceVersion",
    "find",
    "without_folder",
]

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Changes whenever the same file gives other segments than before."""


_Waiting: TypeAlias = Callable[[], AbstractContextManager[None]]


class _WaitingFile(SourceFile):
    """A version of a source; within `waiting()` it waits for bytes that are still downloaded."""

    def __init__(self, source: Source, waiting: _Waiting) -> None:
        super().__init__(source)
        self._waiting = waiting

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        if self._version.stored(byte_range) == byte_range:
            return super()._read_into(view, byte_range)
        try:
            with self._waiting():
                return super()._read_into(view, byte_range)
        except TimeoutError as error:
            raise ServeError(
                f"Bytes of {self.name} that this moment needs were not downloaded in time; wait for"
                " the download, then seek there again."
            ) from error


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """One version of a source: the same `identity` means the same bytes.

    `state` has device, inode, size (B) and modification time (ns) of a local file, else it is None.
    """

    source: Source
    identity: str
    state: tuple[int, int, int, int] | None

    @classmethod
    def of(cls, source: Source, opened: OpenVersion) -> "SourceVersion":
        """Describe what `source` has opened."""
        tag = opened.validator.opaque
        if isinstance(source, FileSource) and isinstance(opened, OpenFile):
            seen = opened.seen
            state = (seen.device, seen.inode, seen.size_bytes, seen.modified_ns)
            return cls(source, f"{seen.device:x}-{tag}", state)
        return cls(source, tag, None)

    def open(self, waiting: _Waiting) -> MediaFile:
        """Open it for PyAV; `ServeError` if the source has another version meanwhile.

        A read waits within `waiting()` for bytes that are still downloaded.
        """
        file = MediaFile(SourceBytes(self, waiting))
        if self.state is not None and file.identity != self.state:
            file.close()
            raise self._changed()
        return file

    def open_bytes(self, waiting: _Waiting) -> SourceFile:
        """Return a file object over the bytes of the version."""
        file = _WaitingFile(self.source, waiting)
        if file.tag != self.identity:
            file.close()
            raise self._changed()
        return file

    def check(self) -> None:
        """Raise `ServeError` if the local file was written to: what was read may be of both."""
        if self.state is None:
            return
        with suppress(OSError):  # removed: the maker has it open
            status = Path(self.path or "").stat()
            now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if now[:2] == self.state[:2] and now != self.state:
                raise self._changed()

    @property
    def path(self) -> str | None:
        """The path of a local file."""
        return self.source.path if isinstance(self.source, FileSource) else None

    def _changed(self) -> ServeError:
        return ServeError(f"{self.source.name} changed while it was read; play it again.")


@dataclass(frozen=True, slots=True)
class SourceBytes:
    """A version as a `MediaSource`: a local file by its path, another one by its bytes."""

    version: SourceVersion
    waiting: _Waiting = nullcontext

    @property
    def path(self) -> Path | None:
        """The local file, if it is one."""
        path = self.version.path
        return None if path is None else Path(path)

    def open_bytes(self) -> SourceFile:
        """Return a binary file object over the bytes."""
        return self.version.open_bytes(self.waiting)


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What two players must have in common to share segments."""

    identity: str
    variant: str

    @property
    def is_transcode(self) -> bool:
        """Whether pictures are encoded."""
        return self.variant.startswith("h264.")

    @property
    def folder(self) -> str:
        """The name of its folder in the cache; another encoder may give other segments."""
        text = "\n".join((str(FORMAT), _encoder(), self.variant, self.identity))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@cache
def _encoder() -> str:
    try:
        return version("av")
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a stream: on disk, in memory, or None if there is no such part.

    `count` is the number of segments, None where it is not known.
    """

    part: Path | bytes | None
    count: int | None = None


@dataclass(eq=False, slots=True)
class Session:
    """The thread of one key, its users and what they wait for; on the server's loop."""

    key: SessionKey
    version: SourceVersion
    segments: SegmentCache
    loop: asyncio.AbstractEventLoop
    on_wait: Callable[..., None]
    on_end: Callable[["Session", int, "Found | Exception"], None]
    users: set[object] = field(default_factory=set)
    results: dict[int, asyncio.Future[Found]] = field(default_factory=dict)
    used_s: float = 0.0
    ended: asyncio.Future[None] | None = None
    _jobs: "queue.SimpleQueue[int | None]" = field(default_factory=queue.SimpleQueue)

    def make(self, number: int) -> None:
        """Make a part in the session's thread; `on_end` is called on the loop afterwards."""
        if self.ended is None:
            start_thread(self._work, "vidnb-segments")
            self.ended = self.loop.create_future()
        self._jobs.put(number)

    def close(self) -> None:
        """End the thread after its job."""
        self._jobs.put(None)

    def find(self, name: str) -> Found | None:
        """Return a part from the cache. In a thread."""
        return find(self.segments, self.key, name)

    def _work(self) -> None:
        maker: _OpenMaker | None = None
        while (number := self._jobs.get()) is not None:
            result: Found | Exception
            try:
                found = self.find(name_of(number))
                if found is None:
                    maker = maker or _OpenMaker(self.version, self.key.variant, self._waiting)
                    found = self._made(maker, number)
                result = found
            except Exception as error:  # noqa: BLE001 - they wait for it
                result = self._sentence(error)
                if maker is not None:  # it may have stopped anywhere
                    maker.close()
                maker = None
            self._call(self.on_end, self, number, result)
            del result
        if maker is not None:
            maker.close()
        maker = None
        self._call(self._end)

    def _made(self, maker: "_OpenMaker", number: int) -> Found:
        count = maker.count
        if number >= count:
            return Found(None, count)
        data = maker.make(number)
        self.version.check()
        return Found(self.segments.save(self.key.folder, name_of(number), data), count)

    def _sentence(self, error: Exception) -> Exception:
        """Return the error for a page: a sentence without the folder of the file."""
        if isinstance(error, VidnbError | ValueError):  # the latter: an environment variable
            logger.debug("A segment could not be made.", exc_info=error)
            return without_folder(error, self.version)
        logger.error("A segment of %s could not be made.", self.version.source.name, exc_info=error)
        return MediaError(
            f"A segment of {self.version.source.name} could not be made"
            f" ({type(error).__name__}); check the file, or convert it with vidnb.convert."
        )

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._call(partial(self.on_wait, self, is_blocked=True))
        try:
            yield
        finally:
            self._call(partial(self.on_wait, self, is_blocked=False))

    def _end(self) -> None:
        if self.ended is not None:
            self.ended.set_result(None)

    def _call(self, fn: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the process ends, and the server with it
            self.loop.call_soon_threadsafe(fn, *args)


class _OpenMaker:
    """A `SegmentMaker` and its file, in one thread."""

    def __init__(self, version: SourceVersion, variant: str, waiting: _Waiting) -> None:
        from vidnb.media.segments import SegmentMaker

        with ExitStack() as stack:
            file = version.open(waiting)
            stack.callback(file.close)
            self._maker = SegmentMaker(file, variant)
            stack.callback(self._maker.close)
            self.count = len(self._maker.playlist)
            self._owned = stack.pop_all()

    def make(self, number: int) -> bytes:
        if number == PLAYLIST:
            return self._maker.playlist.text().encode()
        return self._maker.init() if number == INIT else self._maker.segment(number)

    def close(self) -> None:
        self._owned.close()


def find(segments: SegmentCache, key: SessionKey, name: str) -> Found | None:
    """Return a part from the cache, of a playlist also the number of segments. In a thread."""
    part = segments.find(key.folder, name)
    if part is None:
        return None
    if name != PLAYLIST_NAME:
        return Found(part)
    try:
        text = part if isinstance(part, bytes) else part.read_bytes()
    except OSError:  # removed meanwhile
        return None
    return Found(text, text.count(b"#EXTINF:"))


def without_folder(error: VidnbError | ValueError, version: SourceVersion) -> VidnbError:
    """Return an error with the file's name in the place of its path, which a page must not show."""
    text, path = str(error), version.path
    if path and path in text:
        return MediaError(text.replace(path, version.source.name))
    return error if isinstance(error, VidnbError) else MediaError(text)
