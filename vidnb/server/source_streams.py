"""The segments of what the server serves: one stream for each variant of a source.

A stream follows its source: each request is for the version that the source has at that moment.
"""

import asyncio
from pathlib import Path
from typing import Final

from vidnb.errors import MediaError, ServeError, VidnbError
from vidnb.io import loop
from vidnb.io.calls import DaemonThreads
from vidnb.server.segment_service import segment_service
from vidnb.server.segment_session import SessionKey, SourceBytes, SourceVersion, without_folder
from vidnb.server.segment_stream import (
    PLAYLIST,
    PLAYLIST_NAME,
    name_parts_by_folder,
    number_of,
)
from vidnb.server.sources import ChangedError, Source

__all__ = ["SourceStream", "SourceStreams"]

_KEPT_VERSIONS: Final = 4


class SourceStreams:
    """The streams of a source, by variant; "" is the one that a browser would get."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._default = _DefaultVariant()

    def stream(self, variant: str) -> "SourceStream":
        """Return the stream of a variant; the caller closes it."""
        return SourceStream(self._source, variant, self._default)


class SourceStream:
    """One variant of a source, as a `SegmentStream` whose requests can be withdrawn."""

    def __init__(self, source: Source, variant: str, default: "_DefaultVariant") -> None:
        self._source = source
        self._variant = variant
        self._default = default
        self._key: SessionKey | None = None
        self._is_closed = False

    def playlist(self) -> str:
        """Return the playlist; block until it is made."""
        found = self.read(PLAYLIST_NAME)
        if found is None:
            raise ServeError(f"{self._source.name} has no playlist.")
        return (found if isinstance(found, bytes) else found.read_bytes()).decode()

    def read(self, name: str) -> Path | bytes | None:
        """Return a part; block until it is made."""
        return loop.server.run(self.fetch(name))

    async def fetch(self, name: str) -> Path | bytes | None:
        """Return a part as soon as it is made, on the server's loop.

        `MediaError` or another `VidnbError` with a sentence if it cannot be made.
        """
        number = number_of(name)
        if number is None:
            return None
        version = await self._version()
        variant = self._variant or await self._default.of(version)
        key = SessionKey(version.identity, variant)
        service = segment_service()
        if key != self._key:  # the file has changed
            service.release(self, keep=key)
            self._key = key
        if self._is_closed:
            raise self._gone()
        part = await service.fetch(self, version, variant, number, name)
        if self._is_closed:  # while the cache was searched
            service.release(self)
        if number == PLAYLIST and part is not None and not self._variant:
            text = part if isinstance(part, bytes) else await asyncio.to_thread(part.read_bytes)
            return name_parts_by_folder(text.decode(), variant).encode()
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
        try:
            return SourceVersion.of(self._source, opened)
        finally:
            opened.close()

    def _gone(self) -> ServeError:
        return ServeError(f"{self._source.name} is gone, or is not served any more.")


class _DefaultVariant:
    """The default variant of each version of a source: its first delivery that is not direct."""

    def __init__(self) -> None:
        self._found: dict[str, asyncio.Task[str]] = {}

    async def of(self, version: SourceVersion) -> str:
        """Return the variant; `MediaError` if the file cannot be played. On the server's loop."""
        task = self._found.get(version.identity)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            while len(self._found) >= _KEPT_VERSIONS:
                self._found.pop(next(iter(self._found)))
            task = asyncio.get_running_loop().create_task(_read_variant(version))
            self._found[version.identity] = task
        await asyncio.wait([task])  # which does not cancel it: others wait, too
        return task.result()


async def _read_variant(version: SourceVersion) -> str:
    # In a thread of its own: it may wait for a download, and those of the loop read files.
    thread = DaemonThreads("vidnb-playback", max_threads=1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, _variant, version)
    finally:
        thread.shutdown()


def _variant(version: SourceVersion) -> str:
    from vidnb.media.playback import read_playback

    try:
        playback = read_playback(SourceBytes(version))
        for delivery in playback.deliveries:
            if delivery.kind != "direct":
                return delivery.variant
        problem = playback.problem or f"{version.source.name} has no pictures to play."
        raise MediaError(problem)
    except VidnbError as error:
        raise without_folder(error, version) from error
