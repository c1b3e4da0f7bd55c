"""Write a clip: its video, and the sound, subtitles, chapters and tags beside it."""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vidnb.media.clip_source import ClipSource
from vidnb.media.clip_video import EDIT_LISTS, Track, VideoTrack, add_copied
from vidnb.media.cut_plan import Section
from vidnb.media.export import OutputFile, Work, kept_tags
from vidnb.media.table_reader import open_stream

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

__all__ = ["write_clip"]

_WINDOW_S: Final = {"audio": 1, "subtitle": 10}
"""How long (s) before the clip its sound and its subtitles are looked for."""


def write_clip(
    source: ClipSource, sections: Sequence[Section], output: OutputFile, muxer: str, work: Work
) -> tuple[str, ...]:
    """Write a clip of these sections; return the streams that are left out."""
    writer = _Writer(source, sections, output, muxer)
    writer.write(work)
    return tuple(writer.left_out)


class _Writer:
    """Writes the sections of a clip, and the sound and subtitles beside them."""

    def __init__(
        self, source: ClipSource, sections: Sequence[Section], output: OutputFile, muxer: str
    ) -> None:
        self._source = source
        self._sections = sections
        self._output = output
        self._muxer = muxer
        self._frames = range(sections[0].frames.start, sections[-1].frames.stop)
        self._start_s = source.time_s(self._frames.start)
        self._end_s = source.time_s(self._frames.stop)
        self.left_out: list[str] = []

    def write(self, work: Work) -> None:
        """Write all packets."""
        file = self._source.file
        options = {"movflags": "+faststart"} if self._muxer in EDIT_LISTS else {}
        container = self._output.open(self._muxer, options)
        with file.open() as template:
            video = open_stream(template, 0, file.name)
            track = VideoTrack(self._source, self._sections, video, self._output, self._muxer)
            tracks = [track.add_to(container, work)]
            for stream in template.streams:
                if stream is not video:
                    other = self._other_track(container, stream)
                    if other is not None:
                        tracks.append(other)
            container.metadata.update(kept_tags(template.metadata))
            container.set_chapters(self._chapters(template))
            with self._output.errors():
                container.start_encoding()
            for _, _, packet in heapq.merge(*tracks, key=lambda one: one[:2]):
                with self._output.errors():
                    container.mux(packet)

    def _chapters(self, template: "InputContainer") -> Any:
        """Return the chapters within the clip, in its own time."""
        found = []
        for chapter in template.chapters():
            time_base = chapter["time_base"] or Fraction(1)
            start_s = max(chapter["start"] * time_base, self._start_s) - self._start_s
            end_s = min(chapter["end"] * time_base, self._end_s) - self._start_s
            if start_s < end_s:
                millisecond = Fraction(1, 1000)
                found.append(
                    {
                        **chapter,
                        "time_base": millisecond,
                        "start": round(start_s / millisecond),
                        "end": round(end_s / millisecond),
                    }
                )
        return found

    def _other_track(self, container: "OutputContainer", stream: "Stream") -> "Track | None":
        added = add_copied(container, stream) if stream.type != "video" else None
        if added is None:
            codec = stream.codec_context.name if stream.codec_context else "no codec"
            self.left_out.append(f"stream {stream.index} ({stream.type}, {codec})")
            return None
        return self._other_packets(stream.index, stream.type, added)

    def _other_packets(self, index: int, kind: str, added: "Stream") -> "Track":
        hides_start = kind == "audio" and self._muxer in EDIT_LISTS
        with self._source.packets(index, self._start_s - _WINDOW_S[kind]) as packets:
            before = None
            for packet in packets:
                start_s = (packet.pts or 0) * packet.time_base
                end_s = start_s + (packet.duration or 0) * packet.time_base
                if start_s >= self._end_s:
                    return
                if end_s <= self._start_s or (
                    start_s < self._start_s and not hides_start and kind == "audio"
                ):
                    before = packet
                    continue
                # The decoder of the sound needs the packet before the first one that is heard.
                for one in (before, packet) if before is not None and hides_start else (packet,):
                    yield self._moved(one, kind, added)
                before = None

    def _moved(
        self, packet: "Packet[Any]", kind: str, added: "Stream"
    ) -> "tuple[float, int, Packet[Any]]":
        """Shift a packet to the time of the clip; a subtitle is shown only within it."""
        time_base = packet.time_base
        if kind == "subtitle":
            start = max(packet.pts or 0, round(self._start_s / time_base))
            end = min((packet.pts or 0) + (packet.duration or 0), round(self._end_s / time_base))
            packet.pts = packet.dts = start
            packet.duration = max(0, end - start)
        base = round(self._start_s / time_base)
        packet.pts = packet.dts = (packet.pts or 0) - base
        packet.stream = added
        return float(packet.pts * time_base), 1, packet
