"""The sound of a conversion: decoded, resampled and encoded in step with the pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vidnb.media.container import MediaFile, discard_others, require_av
from vidnb.media.convert_format import Format
from vidnb.media.export import (
    AUDIO_BIT_RATE,
    OutputFile,
    Work,
    kept_tags,
    mux_order,
    require_encoder,
    sound_rate,
)
from vidnb.media.filter_graph import add_filters, and_none
from vidnb.media.frame_table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

__all__ = ["Sound", "add_sound", "sound_packets"]


@dataclass(frozen=True, slots=True)
class Sound:
    """The encoded sound, and the stream of the source that it is made from."""

    index: int
    stream: "AudioStream"


def add_sound(
    container: "OutputContainer", settings: Format, streams: "tuple[AudioStream, ...]"
) -> Sound | None:
    """Add a stream for the first sound of the source that can be decoded."""
    source = next((one for one in streams if one.codec_context is not None), None)
    if settings.audio is None or source is None or not source.codec_context.sample_rate:
        return None
    require_encoder(settings.audio)
    rate = sound_rate(settings.audio, source.codec_context.sample_rate)
    stream = cast("AudioStream", container.add_stream(settings.audio, rate=rate))
    stream.codec_context.layout = "mono" if source.codec_context.channels == 1 else "stereo"
    stream.codec_context.bit_rate = AUDIO_BIT_RATE
    stream.metadata.update(kept_tags(source.metadata))
    return Sound(source.index, stream)


def sound_packets(
    file: MediaFile, sound: Sound, table: FrameTable, work: Work, output: OutputFile
) -> "Iterator[tuple[float, int, Packet[Any]]]":
    """Yield the encoded sound, in step with the first frame: gaps become silence."""
    context = sound.stream.codec_context
    layout, rate = context.layout.name, context.sample_rate
    start_s = table.pts[0] * table.time_base
    graph: Callable[[AudioFrame | None], Iterator[AudioFrame]] | None = None
    kind: object = None
    decoded = _decoded_sound(file, sound.index)
    for frame in and_none(decoded):
        work.advance(0)
        filtered: list[AudioFrame] = []
        if frame is not None:
            frame.pts -= round(start_s / frame.time_base)
        found = frame and (frame.sample_rate, frame.format.name, frame.layout.name)
        if graph is not None and found != kind:
            filtered.extend(graph(None))
        if frame is not None:
            if graph is None or found != kind:
                graph, kind = _sound_graph(frame, layout, rate, is_first=kind is None), found
            filtered.extend(graph(frame))
        with output.errors():
            for one in filtered if frame is not None else [*filtered, None]:
                for packet in sound.stream.encode(one):
                    yield mux_order(packet, 1)


def _decoded_sound(file: MediaFile, index: int) -> "Iterator[AudioFrame]":
    av = require_av()
    with file.open() as container, file.errors():
        stream = cast("AudioStream", container.streams[index])
        discard_others(container, stream)
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet is silent
            yield from (frame for frame in frames if frame.pts is not None and frame.samples)


def _sound_graph(
    frame: "AudioFrame", layout: str, rate: int, *, is_first: bool
) -> "Callable[[AudioFrame | None], Iterator[AudioFrame]]":
    """Return a function that resamples frames of one kind; silence and cuts keep them in step."""
    av = require_av()
    graph = av.filter.Graph()
    entry = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=frame.time_base,
    )
    end = graph.add("abuffersink")
    step = "async=1:min_hard_comp=0.05" + (":first_pts=0" if is_first else "")
    form = f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"
    add_filters(graph, entry, [("aresample", step), ("aformat", form)]).link_to(end)
    graph.configure()

    def run(one: "AudioFrame | None") -> "Iterator[AudioFrame]":
        graph.push(one)  # not `entry`: a filter does not keep its graph
        while True:
            try:
                yield cast("AudioFrame", graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    return run
