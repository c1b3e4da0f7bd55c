"""Read the packets of one stream from a time on, again and again, with few seeks."""

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

from vidnb.errors import MediaError
from vidnb.media.container import MediaFile, close_container, demux, require_av

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import AudioFrame, Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream

__all__ = ["PacketReader", "frame_time", "packet_time"]

_EARLIER_S: Final = (0, 2, 10, 60)
"""How much earlier (s) is tried where a seek finds only later packets."""
_SKIPPED_S: Final = 10
"""A read that begins less than this (s) after the last one goes on without a seek."""
_SKIPPED_REMOTE_S: Final = 1
"""The same where bytes are still to be fetched: those between would be waited for."""


def packet_time(packet: "Packet[Any]") -> Fraction | None:
    """Return when a packet is presented (s), else when it is decoded; None without timestamps."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None else ticks * packet.time_base


def frame_time(frame: "AudioFrame | VideoFrame") -> Fraction:
    """Return when a decoded frame with a timestamp is presented (s)."""
    return cast(int, frame.pts) * cast(Fraction, frame.time_base)


class PacketReader:
    """Reads the packets of stream `index` of a file; used by one thread at a time.

    A seek uses the stream `guide`, None for the same: in Matroska only the video has an index. The
    last `kept` packets are remembered, for a next read that begins a little earlier. With
    `from_key` a read begins at a key packet, where a seek may find any (MPEG-TS).
    """

    def __init__(
        self,
        file: MediaFile,
        index: int,
        guide: int | None = None,
        *,
        kept: int = 1,
        from_key: bool = False,
    ) -> None:
        self._from_key = from_key
        self._file = file
        self._index = index
        self._guide = index if guide is None else guide
        self._container: InputContainer | None = None
        self._packets: Iterator[Packet[Any]] = iter(())
        self._kept: deque[Packet[Any]] = deque(maxlen=kept)

    def close(self) -> None:
        """Close the container."""
        self._kept.clear()
        self._packets = iter(())
        if self._container is not None:
            close_container(self._container)
            self._container = None

    @property
    def stream(self) -> "Stream":
        """The stream, in a container of this reader's own."""
        if self._container is None:
            self._container = self._file.open_container()
            for stream in self._container.streams:
                if stream.index not in {self._index, self._guide}:
                    stream.discard = require_av().stream.Discard.all
        return self._container.streams[self._index]

    def read(self, since_s: Fraction | None) -> "Iterator[Packet[Any]]":
        """Yield the packets from one at or before `since_s` on; all of them without a time.

        The caller skips those that are too early. A reader that is not exhausted goes on where it
        ended, for the next read.
        """
        if since_s is None:
            self._restart()
        elif not self._holds(since_s):
            self._seek(since_s)
        yield from tuple(self._kept)
        while (packet := self._next()) is not None:
            yield packet

    def _next(self) -> "Packet[Any] | None":
        with self._file.errors():
            packet = next((one for one in self._packets if one.size), None)
        if packet is not None:
            self._kept.append(packet)
        return packet

    def _holds(self, since_s: Fraction) -> bool:
        """Whether the kept packets begin at or before a time, and end not long before it."""
        times = [time for one in self._kept if (time := packet_time(one)) is not None]
        skipped_s = _SKIPPED_REMOTE_S if self._file.is_remote else _SKIPPED_S
        return bool(times) and times[0] <= since_s <= times[-1] + skipped_s

    def _seek(self, since_s: Fraction) -> None:
        stream = self.stream
        container = self._container
        assert container is not None  # noqa: S101 - made by `stream`
        guide = container.streams[self._guide]
        for earlier_s in _EARLIER_S:
            self._kept.clear()
            ticks = int((since_s - earlier_s) / cast(Fraction, guide.time_base))
            try:
                with self._file.errors():
                    container.seek(ticks, stream=guide, backward=True)
            except MediaError:
                break
            self._packets = demux(container, stream)
            first = self._next()
            while self._from_key and first is not None and not first.is_keyframe:
                first = self._next()
            time_s = None if first is None else packet_time(first)
            if time_s is not None and time_s <= since_s:
                return
        self._restart()

    def _restart(self) -> None:
        self.close()
        stream = self.stream
        assert self._container is not None  # noqa: S101 - made by `stream`
        self._packets = demux(self._container, stream)
