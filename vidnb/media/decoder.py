"""Decode the frame with a given number, by the frame table.

Frames are identified by the packet that they were decoded from, never by their timestamps or by
counting: each packet carries its number through the decoder (FFmpeg's `AV_CODEC_FLAG_COPY_OPAQUE`).
"""

from collections import OrderedDict
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Self

from vidnb.errors import MediaError
from vidnb.media.container import MediaFile, close_container, demux, require_av
from vidnb.media.frame_table import FrameTable
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
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["FrameDecoder"]

CACHE_BYTES: Final = 256 * 2**20
"""The most memory (B) for decoded frames that were not asked for yet, or may be again."""
_KEPT_FRAMES: Final = 8
"""While frames are read in order, so many of those that were read are kept."""


class FrameDecoder:
    """One decoder of a video stream; used by one thread at a time.

    `read(index)` returns frame `index` of the table. Reading in increasing order never seeks and
    decodes every group of pictures at most once; the frames of the latest group are kept, up to
    `cache_bytes` (B). Without `is_strict` damaged frames are returned as FFmpeg conceals them.
    `seeks` and `decoded_frames` count what it did.
    """

    def __init__(
        self,
        file: MediaFile,
        number: int,
        table: FrameTable,
        *,
        cache_bytes: int = CACHE_BYTES,
        is_strict: bool = True,
    ) -> None:
        self._file = file
        self._number = number
        self._table = table
        self._cache_bytes = cache_bytes
        self._is_strict = is_strict
        self._cache: OrderedDict[int, VideoFrame] = OrderedDict()
        self._cached_bytes = 0
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._packets: Iterator[Packet[VideoStream]] | None = None  # None before the first frame
        self._next_packet = 0  # the number of the packet that is read next
        self._first_index = 0  # frames before it are not decoded correctly after the last seek
        self._last_index = -1  # of the latest frame that the decoder returned
        self._is_at_end = False
        self._run = 0  # how many frames were read in order
        self._previous = -1
        self._start = 0  # the key packet at which decoding started
        self._open_groups: set[int] = set()  # key packets that refer to frames before them
        self._is_threaded = True
        self._lost: set[int] = set()  # packets that cannot be decoded
        self.seeks = 0
        self.decoded_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pixel_aspect_ratio(self) -> Fraction:
        """Return width by height of a pixel, 1 if the file does not say."""
        _, stream = self._opened()
        return pixel_aspect_ratio(stream)

    def close(self) -> None:
        """Free the decoder and the cached frames."""
        self._cache.clear()
        self._cached_bytes = 0
        self._close_container()

    def read(self, index: int) -> "VideoFrame":
        """Return frame `index`; `MediaError` if it is damaged or missing."""
        self._run = self._run + 1 if index == self._previous + 1 else 0
        self._previous = index
        cached = self._cache.get(index)
        if cached is not None:
            self._cache.move_to_end(index)
            return cached
        if not self._is_ahead(index):
            self._seek(index)
        with self._file.errors():
            found = self._decode_until(index)
        if found is None:
            raise self._damage(index)
        return found

    def _is_ahead(self, index: int) -> bool:
        """Whether decoding on from here reaches the frame without passing a closer key packet."""
        if self._packets is None or self._is_at_end or index <= self._last_index:
            return False
        return self._table.key_packet(index) <= self._next_packet

    def _decode_until(self, index: int) -> "VideoFrame | None":
        """Decode until frame `index`, or a later one, is returned; None if it never is."""
        found = None
        while found is None and self._last_index < index and not self._is_at_end:
            for frame in self._decode_next(index):
                shown = self._table.frame_of(packet_of(frame))
                if shown is None or shown < self._first_index:
                    continue  # the decoder started within the group that this frame needs
                self._last_index = max(self._last_index, shown)
                self.decoded_frames += 1
                if self._is_strict and (frame.is_corrupt or self._needs_lost_packet(shown)):
                    continue
                self._remember(shown, frame)
                if shown == index:
                    found = frame
        return found

    def _needs_lost_packet(self, index: int) -> bool:
        """Whether a packet that could not be decoded lies between a frame and its key packet."""
        if not self._lost:
            return False
        key, number = self._table.key_packet(index), self._table.packets[index]
        return any(key <= lost < number for lost in self._lost)

    def _decode_next(self, index: int) -> "list[VideoFrame]":
        """Feed the next packet and return the frames that come out of the decoder."""
        av = require_av()
        packet = next(self._packets or iter(()), None)
        if packet is None:
            self._is_at_end = True
            return []
        if packet.size:  # the last packet is empty: it flushes the decoder
            number = self._table.packet_at(packet.pos, packet.pts)
            number = self._next_packet if number is None else number
            tag_packet(packet, number)
            self._next_packet = number + 1
        try:
            return list(packet.decode())
        except av.error.FFmpegError:
            self._handle_error(index)
            return []

    def _handle_error(self, index: int) -> None:
        """Find out what an error of the decoder means for frame `index`.

        After a seek it may be a reference to a frame before the key packet (an open group of
        pictures): decoding then has to start at the key packet before it. Otherwise a packet is
        damaged; several threads report that some packets later, one thread tells which it was.
        """
        key, number = self._table.key_packet(index), self._next_packet - 1
        if number < key:
            return  # decoding started before the group of this frame; only that must be whole
        if key == self._start > 0 and key not in self._open_groups:
            self._open_groups.add(key)
            self._seek(index)
        elif self._is_threaded:
            self._is_threaded = False
            self._close_container()
            self._seek(index)
        else:
            self._lost.add(number)

    def _remember(self, index: int, frame: "VideoFrame") -> None:
        if index in self._cache:
            return
        self._cache[index] = frame
        self._cached_bytes += _size_bytes(frame)
        # A reader in order needs no earlier frame, and FFmpeg fills memory again that is free.
        keeps_from = self._previous - _KEPT_FRAMES if self._run > _KEPT_FRAMES else 0
        while len(self._cache) > 1 and (
            self._cached_bytes > self._cache_bytes or next(iter(self._cache)) < keeps_from
        ):
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= _size_bytes(oldest)

    def _seek(self, index: int) -> None:
        """Place the decoder at the key packet for frame `index`."""
        key = target = self._table.key_packet(index)
        if key in self._open_groups:
            target = self._table.previous_key(key)
        container, stream = self._opened()
        packets = None
        if target or self._packets is not None:
            self.seeks += 1
            with self._file.errors():
                packets = seek_packets(container, stream, self._table, target)
            if packets is None:
                self._close_container()
                container, stream = self._opened()
        if packets is None:
            with self._file.errors():
                packets = skip_packets(demux(container, stream), self._table, target)
        if packets is None:
            raise self._damage(index)
        self._packets = packets
        self._start = self._next_packet = target
        self._first_index = self._table.first_index(key)  # those before are not decoded correctly
        self._last_index = self._first_index - 1
        self._is_at_end = False

    def _opened(self) -> "tuple[InputContainer, VideoStream]":
        if self._container is None or self._stream is None:
            self._container = self._file.open_container()
            self._stream = open_stream(
                self._container, self._number, self._file.name, is_strict=self._is_strict
            )
            if not self._is_threaded:
                self._stream.thread_type = "NONE"
        return self._container, self._stream

    def _close_container(self) -> None:
        if self._container is not None:
            self._packets = None
            close_container(self._container)
            self._container = self._stream = None

    def _damage(self, index: int) -> MediaError:
        position = self._table.position(self._table.packets[index])
        place = f" near byte {position}" if position >= 0 else ""
        return MediaError(
            f"Frame {index} of {self._file.name} cannot be decoded: the file is damaged{place};"
            " other frames can be read; download the file again for all of them."
        )


def _size_bytes(frame: "VideoFrame") -> int:
    """Return the memory of a decoded frame (B)."""
    return sum(plane.buffer_size for plane in frame.planes)
