"""The segments of what the server serves: one stream for each variant of a source.

A stream follows its source: each request is for the version that the source has at that moment.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from vidnb.errors import MediaError, ServeError
from vidnb.io import loop
from vidnb.io.calls import DaemonThreads
from vidnb.media.playlist import PLAYLIST, part_number, with_folder
from vidnb.server.segment_service import segment_service
from vidnb.server.segment_session import SessionKey
from vidnb.server.source_version import SourceVersion
from vidnb.server.sources import ChangedError, Source

if TYPE_CHECKING:
    from vidnb.media.delivery import Playback

__all__ = ["SourceStream", "SourceStreams", "playback_of"]


class SourceStreams:
    """The streams of a source, by variant; "" is the one that a browser would get."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def stream(self, variant: str) -> "SourceStream":
        """Return the stream of a variant; the caller closes it."""
        return SourceStream(self._source, variant)


class SourceStream:
    """One variant of a source, as a `SegmentStream` whose requests can be withdrawn."""

    def __init__(self, source: Source, variant: str) -> None:
        self._source = source
        self._variant = variant
        self._default: tuple[str, asyncio.Future[str]] | None = None
        self._is_closed = False

    def read(self, name: str) -> bytes | None:
        """Return a part; block until it is made."""
        return loop.server.run(self.fetch(name))

    async def fetch(self, name: str) -> bytes | None:
        """Return a part as soon as it is made, on the server's loop.

        `MediaError` or another `VidnbError` with a sentence if it cannot be made.
        """
        number = part_number(name)
        if number is None:
            return None
        source = await self._version()
        variant = self._variant or await self._default_of(source)
        service = segment_service()
        key = SessionKey(source.tag, variant)
        part = await asyncio.to_thread(lambda: service.cache.find(key.folder, name))
        if self._is_closed:
            raise self._gone()
        session = service.join(self, source, variant)
        if part is None:
            part = await service.wait(session, number)
        else:
            service.note(session, number, part)
        if number == PLAYLIST and part is not None and not self._variant:
            return with_folder(part.decode(), variant).encode()
        return part

    def close(self) -> None:
        """Close the sessions that nobody else uses."""
        self._is_closed = True
        if loop.server.is_current:
            segment_service().release(self)
        elif not loop.server.is_closed:
            loop.server.loop.call_soon_threadsafe(segment_service().release, self)

    async def _version(self) -> SourceVersion:
        try:
            opened = await self._source.version()
        except OSError as error:
            raise self._gone() from error
        except ChangedError as error:
            raise ServeError(
                f"{self._source.name} could not be downloaded; run the cell again to go on with it."
            ) from error
        opened.close()
        return SourceVersion(self._source, opened.validator.opaque)

    async def _default_of(self, source: SourceVersion) -> str:
        """Return the default variant of a version, which is read once for all who wait."""
        if self._default is None or self._default[0] != source.tag or _failed(self._default[1]):
            self._default = source.tag, asyncio.ensure_future(_default_variant(source))
            self._default[1].add_done_callback(_failed)  # so that the error counts as retrieved
        reading = self._default[1]
        await asyncio.wait([reading])  # which does not cancel it: others wait, too
        return reading.result()

    def _gone(self) -> ServeError:
        return ServeError(f"{self._source.name} is gone, or is not served any more.")


def _failed(task: "asyncio.Future[str]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def playback_of(source: SourceVersion) -> "Playback":
    """Return how a browser plays a source; the problem does not tell in which folder it is.

    It is read in a thread of its own: it may wait for a download, and those of the loop read files.
    """
    thread = DaemonThreads("vidnb-playback", max_threads=1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, _read_playback, source)
    finally:
        thread.shutdown()


def _read_playback(source: SourceVersion) -> "Playback":
    from vidnb.media.playback import read_playback

    playback = read_playback(source)
    return replace(playback, problem=source.without_folder(playback.problem))


async def _default_variant(source: SourceVersion) -> str:
    """Return the variant of the first delivery that is not direct."""
    try:
        playback = await playback_of(source)
    except Exception as error:
        raise source.sentence(error) from error
    for delivery in playback.deliveries:
        if delivery.kind != "direct":
            return delivery.variant
    problem = playback.problem or f"{source.source.name} has nothing that a browser plays."
    raise MediaError(problem)
