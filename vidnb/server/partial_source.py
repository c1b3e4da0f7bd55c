"""A source that is being downloaded: stored bytes are sent at once, others as soon as they arrive.

Every response reads from one attempt to download the file. If the origin's file has changed, those
responses end with their connections; the next one has another validator. The complete file is
served like any other, with the same validator, so that players continue.
"""

import asyncio
import os
import secrets
import time
from contextlib import suppress

from vidnb.download.feed import FeedEndedError, FeedFile, ReadFeed
from vidnb.download.stream import Stream
from vidnb.http.headers import ETag, parse_media_type
from vidnb.http.media_types import OCTET_STREAM, media_type_of
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import transfers
from vidnb.server.sources import ChangedError, FileSource, OpenFile

__all__ = ["PartialSource", "PartialVersion"]


class PartialVersion:
    """One attempt to download the file, for one response; on the server's loop."""

    def __init__(self, feed: ReadFeed, shown: FeedFile, validator: ETag, modified_s: float) -> None:
        self.size_bytes = shown.size_bytes
        self.validator = validator
        self.modified_s = modified_s
        self._feed = feed
        self._reader = feed.new_reader()
        self._generation = shown.generation
        self._has_waited = False
        self._file = OpenFile(shown.descriptor, os.fstat(shown.descriptor))
        self.inode = self._file.inode  # which stays the same under the final name

    def intact(self) -> bool:
        """Whether this is still the current attempt."""
        return self._feed.error is None and self._feed.generation == self._generation

    def stored(self, byte_range: ByteRange) -> ByteRange:
        """Return the first part of `byte_range` that is stored; empty if its first byte is not."""
        start = byte_range.start
        run = self._feed.stored.run_from(start)
        return ByteRange(start, max(start, min(byte_range.stop, run.stop)))

    async def read(self, byte_range: ByteRange) -> bytes | bytearray:
        """Return the bytes of `byte_range` as soon as they are stored; none if they never are."""
        if not self._feed.stored.covers(byte_range):
            self._has_waited = True
            try:
                await transfers.arun(self._feed.wait(self._reader, byte_range, self._generation))
            except FeedEndedError:
                return b""
        return await self._file.read(byte_range)

    def close(self) -> None:
        """Release the priority of the bytes that only this response waited for."""
        self._file.shut()
        if self._has_waited:
            with suppress(RuntimeError):  # the process ends, and all downloads with it
                transfers.loop.call_soon_threadsafe(self._feed.remove_reader, self._reader)


class PartialSource:
    """The file that `stream` downloads; closing the source closes the stream.

    `version` waits until the size is known. It and `close` belong to the server's loop.
    """

    def __init__(self, stream: Stream) -> None:
        self.name = stream.name
        self._on_close = stream.close
        self._handle = stream.handle
        self._key = secrets.token_hex(8)
        self._made_s = float(int(time.time()))
        self._last: PartialVersion | None = None
        self._finished: FileSource | None = None
        self._published_ns: int | None = None

    @property
    def media_type(self) -> str:
        """The media type by its name, else the origin's."""
        by_name = media_type_of(self.name)
        if by_name != OCTET_STREAM:
            return by_name
        return parse_media_type(self._handle.status.feed.media_type or "") or by_name

    async def version(self) -> PartialVersion | OpenFile:
        """Return the present version; the caller closes it.

        `OSError` where the complete file is gone, `ChangedError` where the download failed.
        """
        if self._finished is None:
            feed = self._handle.status.feed
            try:
                shown = await transfers.arun(feed.file())
            except FeedEndedError:
                raise ChangedError from None
            if shown.descriptor >= 0:
                tag = ETag(f"{self._key}-{shown.generation}", weak=False)
                self._last = PartialVersion(feed, shown, tag, self._made_s)
                return self._last
            self._finished = await asyncio.to_thread(FileSource, shown.path)
        file = await self._finished.version()
        last = self._last
        if last is not None and file.inode == last.inode:
            # The same bytes under their final name; a later change of the file is another version
            # with a tag of its own.
            if self._published_ns is None:
                self._published_ns = file.modified_ns
            if file.modified_ns == self._published_ns and file.size_bytes == last.size_bytes:
                file.validator = last.validator
        return file

    def close(self) -> None:
        """Close the file."""
        if self._finished is not None:
            self._finished.close()
        self._on_close()
