"""Make the segments of one version of a source, in one variant, in a thread of their own.

The maker (PyAV) is opened for the first segment that is not in the cache, and lives in a local
variable of the thread: a forked child has no such thread, and must not free the decoders of its
parent, which would wait for threads that do not exist there.
"""

import asyncio
import hashlib
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, TypeAlias

from vidnb.errors import VidnbError
from vidnb.io.calls import start_thread
from vidnb.media.playlist import INIT, PLAYLIST, part_name
from vidnb.server.segment_cache import SegmentCache
from vidnb.server.source_version import SourceVersion

if TYPE_CHECKING:
    from vidnb.media.segments import SegmentMaker

__all__ = ["OvertakenError", "Result", "Session", "SessionKey"]

FORMAT: Final = 2
"""Changes whenever the same file gives other segments than before."""

Result: TypeAlias = bytes | VidnbError | None
"""A part, why it could not be made, or None if there is no such part."""


class OvertakenError(VidnbError):
    """A part was not made, because its bytes are not downloaded yet and another one is needed."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What two players must have in common to share segments: file version and variant."""

    tag: str
    variant: str

    @property
    def is_transcode(self) -> bool:
        """Whether pictures are encoded."""
        return self.variant.startswith("h264.")

    @property
    def folder(self) -> str:
        """The name of its folder in the cache; another encoder may give other segments.

        So may another machine with the same home: the size depends on the number of processors.
        """
        made_by = (str(FORMAT), _encoder(), str(os.cpu_count()))
        text = "\n".join((*made_by, self.variant, self.tag))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _encoder() -> str:
    try:
        return version("av")
    except PackageNotFoundError:
        return ""


@dataclass(eq=False, slots=True)
class Session:
    """The thread of one key, its users and what they wait for; on the server's loop.

    `on_end` gets each result; `on_wait` the function that ends the thread's waiting for bytes with
    an `OvertakenError` as the result, and None when it does not wait any more.
    """

    key: SessionKey
    source: SourceVersion
    cache: SegmentCache
    on_end: Callable[["Session", int, Result], None]
    on_wait: Callable[["Session", Callable[[], object] | None], None]
    users: set[object] = field(default_factory=set)
    results: dict[int, asyncio.Future[bytes | None]] = field(default_factory=dict)
    used_s: float = 0.0
    ended: asyncio.Future[None] | None = None
    _is_overtaken: bool = False
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _jobs: "queue.SimpleQueue[int | None]" = field(default_factory=queue.SimpleQueue)

    def make(self, number: int) -> None:
        """Make a part in the session's thread; `on_end` is called on the loop afterwards."""
        if self.ended is None:
            start_thread(self._work, "vidnb-segments")
            self.ended = self._loop.create_future()
        self._jobs.put(number)

    def close(self) -> None:
        """End the thread after its job."""
        self._jobs.put(None)

    def _work(self) -> None:
        source = replace(self.source, waiting=self._waiting)
        maker: SegmentMaker | None = None
        while (number := self._jobs.get()) is not None:
            result: Result
            self._is_overtaken = False
            try:
                result = self.cache.find(self.key.folder, part_name(number))
                if result is None:
                    maker = maker or _open_maker(source, self.key.variant)
                    result = _make(maker, number)
                    self._check_read()
                    source.check()
                    if result is not None:
                        self.cache.save(self.key.folder, part_name(number), result)
            except Exception as error:  # noqa: BLE001 - they wait for it
                is_overtaken = self._is_overtaken
                result = OvertakenError() if is_overtaken else source.sentence(error)
                if maker is not None:  # it may have stopped anywhere
                    maker.close()
                maker = None
            self._call(self.on_end, self, number, result)
            del result
        if maker is not None:
            maker.close()
        maker = None
        self._call(self._end)

    def _check_read(self) -> None:
        """Raise `OvertakenError` if the waiting was ended, though FFmpeg reported no error."""
        if self._is_overtaken:
            raise OvertakenError

    @contextmanager
    def _waiting(self, cancel: Callable[[], object]) -> Iterator[None]:
        self._call(self.on_wait, self, cancel)
        try:
            yield
        except CancelledError:
            self._is_overtaken = True  # whatever error FFmpeg makes of it
            raise
        finally:
            self._call(self.on_wait, self, None)

    def _end(self) -> None:
        if self.ended is not None:
            self.ended.set_result(None)

    def _call(self, fn: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the process ends, and the server with it
            self._loop.call_soon_threadsafe(fn, *args)


def _open_maker(source: SourceVersion, variant: str) -> "SegmentMaker":
    from vidnb.media.segments import SegmentMaker  # PyAV is loaded where it is needed

    return SegmentMaker(source, variant)


def _make(maker: "SegmentMaker", number: int) -> bytes | None:
    if number == PLAYLIST:
        return maker.playlist.text().encode()
    if number == INIT:
        return maker.init()
    return maker.segment(number) if number < len(maker.playlist) else None
