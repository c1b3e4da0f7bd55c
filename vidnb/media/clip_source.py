"""The video that a clip is cut from: times, packets of its video, and packets of other streams."""

from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vidnb.media.container import MediaFile, demux, discard_others, require_av
from vidnb.media.decoder import FrameDecoder
from vidnb.media.frame_table import FrameTable
from vidnb.media.table_reader import open_stream, seek_packets, skip_packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet
    from av.video.stream import VideoStream

__all__ = ["ClipSource"]


class ClipSource:
    """The file that is cut, with its table and decoder; `end_ticks` is when its last frame ends."""

    def __init__(
        self, file: MediaFile, table: FrameTable, decoder: FrameDecoder, end_ticks: int
    ) -> None:
        self.file = file
        self.table = table
        self.decoder = decoder
        self._end_ticks = end_ticks

    def ticks(self, index: int) -> int:
        """Return when a frame is shown first; for the number of frames, when the last one ends."""
        return self.table.pts[index] if index < len(self.table) else self._end_ticks

    def time_s(self, index: int) -> Fraction:
        """Return the same as a time (s)."""
        return self.ticks(index) * self.table.time_base

    def video_packets(self, key: int) -> "Iterator[tuple[int, Packet[VideoStream]]]":
        """Yield the packets from key packet `key` on, in decoding order, with their numbers."""
        for is_from_start in (False, True) if key else (True,):
            with self.file.open() as container, self.file.errors():
                stream = open_stream(container, 0, self.file.name)
                if is_from_start:
                    packets = skip_packets(demux(container, stream), self.table, key)
                else:
                    packets = seek_packets(container, stream, self.table, key)
                if packets is not None:
                    yield from _numbered(packets, self.table, key)
                    return

    @contextmanager
    def packets(self, index: int, start_s: Fraction) -> "Iterator[Iterator[Packet[Any]]]":
        """Yield the packets with a time of stream `index`, from about `start_s` on."""
        av, file = require_av(), self.file
        with file.open() as container, file.errors():
            stream = container.streams[index]
            discard_others(container, stream)
            ticks = round(max(Fraction(0), start_s) / (stream.time_base or 1))
            try:
                if start_s > 0:
                    container.seek(ticks, stream=stream, backward=True)
            except av.error.FFmpegError:
                with file.open() as fresh:  # it cannot seek: from the start
                    yield _with_times(fresh.demux(fresh.streams[index]))
                return
            yield _with_times(container.demux(stream))


def _with_times(packets: "Iterator[Packet[Any]]") -> "Iterator[Packet[Any]]":
    return (packet for packet in packets if packet.size and packet.pts is not None)


def _numbered(
    packets: "Iterator[Packet[VideoStream]]", table: FrameTable, number: int
) -> "Iterator[tuple[int, Packet[VideoStream]]]":
    """Yield packets that begin with number `number`, with their numbers."""
    for packet in packets:
        if packet.size:
            known = table.packet_at(packet.pos, packet.pts)
            number = number if known is None else known
            yield number, packet
            number += 1
