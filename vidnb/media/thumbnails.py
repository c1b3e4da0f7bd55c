"""Thumbnails of a video: small pictures of its key frames.

A key frame is decoded alone, so a picture costs the bytes of one packet and the time of one frame,
and disturbs no other decoder of the file.
"""

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from vidnb.errors import MediaError
from vidnb.http.ranges import ByteRange
from vidnb.media.container import (
    MediaFile,
    MediaSource,
    close_container,
    demux,
    require_av,
    require_pillow,
)
from vidnb.media.frame_table import FrameTable
from vidnb.media.frames import to_pixels
from vidnb.media.table_reader import (
    open_stream,
    packet_of,
    pixel_aspect_ratio,
    seek_packets,
    skip_packets,
    tag_packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

__all__ = ["THUMBNAIL_SIZE", "Thumbnailer"]

THUMBNAIL_SIZE: Final = (160, 120)
"""The largest width and height of a thumbnail (pixels)."""
_QUALITY: Final = 72  # about 4 kB
_READ_BYTES: Final = 2**20
_SCANNED_PACKETS: Final = 500
"""So many packets are read from the start of a file where a seek fails."""


class Thumbnailer:
    """Makes thumbnails of one video stream by its frame table; used by one thread at a time.

    `source` is one of `vidnb.frames`, or a file that is open already and stays open.
    Raises `MissingExtra` without PyAV or Pillow, and what `vidnb.frames` raises for the source.
    """

    def __init__(
        self, source: MediaSource | MediaFile, table: FrameTable, *, stream: int = 0
    ) -> None:
        self._av = require_av()
        self._new_image = require_pillow().fromarray
        self._table = table
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._number = stream
        self._is_shared = isinstance(source, MediaFile)
        self._file = source if isinstance(source, MediaFile) else MediaFile(source)
        try:
            self._container = self._file.open_container()
            self._stream = self._open_stream()
        except BaseException:
            self._close_file()
            raise

    def _open_stream(self) -> "VideoStream":
        stream = open_stream(self._container, self._number, self._file.name, is_strict=False)
        stream.thread_type = "SLICE"  # threads that decode a frame each would wait for other frames
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder and close the file."""
        close_container(self._container)
        self._close_file()

    def _close_file(self) -> None:
        if not self._is_shared:
            self._file.close()

    def jpeg(self, index: int) -> bytes:
        """Return the picture of key frame `index`, upright, at most 160 x 120 pixels, as JPEG.

        `MediaError` if it cannot be decoded alone; what the source raises where its bytes cannot be
        read now.
        """
        self._check_readable(self._table.packets[index])
        with self._file.errors():
            frame = self._decode(index)
        if frame is None:
            raise MediaError(f"Key frame {index} of {self._file.name} cannot be decoded alone.")
        pixels = to_pixels(
            frame,
            self._reformatter,
            pixel_aspect_ratio(self._stream),
            size=(THUMBNAIL_SIZE[0], None),
        )
        picture = self._new_image(pixels)
        picture.thumbnail(THUMBNAIL_SIZE)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=_QUALITY)
        return data.getvalue()

    def _check_readable(self, number: int) -> None:
        """Read a packet of anything but a local file: an error inside FFmpeg is printed by PyAV."""
        start = self._table.position(number)
        if self._file.identity is not None or start < 0:
            return
        is_last = number + 1 >= self._table.packet_count
        stop = start + 1 if is_last else max(start + 1, self._table.position(number + 1))
        while start < stop:
            data = self._file.read(ByteRange(start, min(stop, start + _READ_BYTES)))
            start = start + len(data) if data else stop

    def _decode(self, index: int) -> "VideoFrame | None":
        number = self._table.packets[index]
        packets = seek_packets(self._container, self._stream, self._table, number)
        if packets is not None:
            return self._decode_alone(number, packets)
        if number > _SCANNED_PACKETS:
            return None
        # A seek to the first packet of a transport stream finds a later one.
        again = self._file.open_container()
        close_container(self._container)
        self._container = again
        self._stream = self._open_stream()
        packets = skip_packets(demux(again, self._stream), self._table, number)
        return None if packets is None else self._decode_alone(number, packets)

    def _decode_alone(
        self, number: int, packets: "Iterator[Packet[VideoStream]]"
    ) -> "VideoFrame | None":
        decoder = self._stream.codec_context
        frames: list[VideoFrame] = []
        with suppress(self._av.error.InvalidDataError, self._av.error.EOFError):
            first = next(packets)
            tag_packet(first, number)
            frames += decoder.decode(first)
            after = number + 1
            # A frame may consist of two packets, one for each field.
            is_field = after < self._table.packet_count and self._table.frame_of(after) is None
            second = next(packets, None) if is_field else None
            if second is not None and second.size:
                tag_packet(second, after)
                frames += decoder.decode(second)
            frames += decoder.decode(None)
        decoder.flush_buffers()
        return next((frame for frame in frames if packet_of(frame) == number), None)
