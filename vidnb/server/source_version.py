"""One version of a source, as its segments are made of it."""

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vidnb.errors import MediaError, ServeError, VidnbError
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import server
from vidnb.io.regular_file import open_regular
from vidnb.server.source_file import TIMEOUT_S, SourceFile
from vidnb.server.sources import FileSource, OpenFile, Source

__all__ = ["SourceVersion", "Waiting"]

logger = logging.getLogger(__name__)

Waiting: TypeAlias = Callable[[Callable[[], object]], AbstractContextManager[None]]
"""What surrounds a read that waits for bytes; it gets the function that ends the waiting.

That read then raises `concurrent.futures.CancelledError`.
"""


class _WaitingFile(SourceFile):
    """The bytes of a source; within `waiting` it waits for those that are still downloaded."""

    def __init__(self, source: Source, waiting: Waiting | None) -> None:
        super().__init__(source)
        self._waiting = waiting
        self._is_cancelled = False

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        # FFmpeg goes on after an error, and PyAV keeps one error only: the file seems to end here.
        return 0 if self._is_cancelled else super()._read_into(view, byte_range)

    def _read(self, byte_range: ByteRange) -> bytes | bytearray:
        if self._version.stored(byte_range) == byte_range:
            return super()._read(byte_range)
        reading = server.submit(self._version.read(byte_range))
        try:
            with nullcontext() if self._waiting is None else self._waiting(reading.cancel):
                return reading.result(TIMEOUT_S)
        except CancelledError:
            self._is_cancelled = True
            raise
        except TimeoutError as error:
            reading.cancel()
            raise ServeError(
                f"Bytes of {self.name} that this moment needs were not downloaded in time; wait for"
                " the download, then seek there again."
            ) from error


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A source in the version with an entity tag, as a `MediaSource`; not for the server's loop.

    Its file is opened by the path, or by its bytes while there is none; a read waits within
    `waiting` for bytes that are still downloaded.
    """

    source: Source
    tag: str
    waiting: Waiting | None = None

    @property
    def path(self) -> Path | None:
        """The local file, if it is one."""
        return Path(self.source.path) if isinstance(self.source, FileSource) else None

    def open_bytes(self) -> SourceFile:
        """Return a binary file object over the bytes."""
        return _WaitingFile(self.source, self.waiting)

    def check(self) -> None:
        """Raise `ServeError` if the source has another version: what was read may be of both."""
        if self.path is None:
            with SourceFile(self.source) as bytes_now:
                tag = bytes_now.tag
        else:
            try:  # not by the source, which another player may close
                file = OpenFile(*open_regular(self.path))
            except (OSError, ValueError) as error:
                raise ServeError(f"{self.source.name} is gone; play it again.") from error
            file.shut()
            tag = file.validator.opaque
        if tag != self.tag:
            raise ServeError(f"{self.source.name} changed while it was read; play it again.")

    def without_folder(self, text: str) -> str:
        """Return a text with the file's name in the place of its path."""
        return text if self.path is None else text.replace(str(self.path), self.source.name)

    def sentence(self, error: Exception) -> VidnbError:
        """Return an error for a page: a sentence, with the file's name in the place of its path."""
        if isinstance(error, VidnbError | ValueError):  # the latter: an environment variable
            logger.debug("A segment could not be made.", exc_info=error)
            text = self.without_folder(str(error))
            if isinstance(error, VidnbError) and text == str(error):
                return error
            return MediaError(text)
        logger.error("A segment of %s could not be made.", self.source.name, exc_info=error)
        return MediaError(
            f"A segment of {self.source.name} could not be made ({type(error).__name__}); check the"
            " file, or convert it with vidnb.convert."
        )
