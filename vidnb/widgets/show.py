"""`vidnb.show`: arrays, pictures and generators of frames as a video in a cell."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from vidnb.download.cache import cache_limit_bytes, open_folder
from vidnb.download.planner.naming import file_name
from vidnb.download.request import local_path
from vidnb.io.regular_file import StrPath
from vidnb.media.container import require_av
from vidnb.media.export import OutputFile, ProgressFunction, require_encoder
from vidnb.media.frame_input import FrameInput
from vidnb.media.frame_shapes import Timing
from vidnb.media.growing_video import GrowingVideo
from vidnb.server.growing_source import GrowingSource, GrowingStreams
from vidnb.server.server import Served, register
from vidnb.widgets.compare.comparison import Comparison, compare
from vidnb.widgets.encoding import Encoding, EncodingEvents
from vidnb.widgets.player.encoding_state import EncodingState
from vidnb.widgets.player.files import printable
from vidnb.widgets.player.widget import Player, play

__all__ = ["show"]

_CACHE: Final = "shown"
_CACHE_BYTES: Final = 2 * 2**30
_NAME: Final = "frames.mp4"
_OPTIONS: Final = (
    "start_s", "autoplay", "muted", "width", "subtitles", "poster", "route", "markers",
)  # fmt: skip
_INSTEAD: Final = {
    "save_to": "pass path=…",
    "convert": "frames are always encoded",
    "end_s": "pass the frames up to there",
}


def show(
    frames: Any,
    *,
    fps: float | Fraction = 30,
    loop: bool = True,
    titles: str | Sequence[str] | None = None,
    path: StrPath | None = None,
    progress: bool | ProgressFunction | None = None,
    **play_options: Any,
) -> Player | Comparison:
    """Show frames as a video: `vidnb.show(frames)`, `vidnb.show(render(t) for t in times)`.

    Parameters
        frames: an array (frames, height, width) or (frames, height, width, channels); any iterable
            of arrays (height, width) or (height, width, channels), Pillow pictures, tensors or
            other objects with `__array__`; or a dict of names and such frames, which are shown side
            by side under one clock. `vidnb.frames(…)` is such an iterable. Channels are grey, RGB
            or RGBA, in this order and last; transparency is shown on white. Values are uint8, bool,
            or floats from 0 to 1. All frames have one size. One picture is a video of one frame.
        fps: frames a second, also a `Fraction`; frame n is shown from n / fps.
        loop: play again from the start.
        titles: the name below the video; for a dict a list of labels in place of its names.
        path: where to keep the complete video, an .mp4; of a dict a folder, with a file for each
            name. None: in the user's cache, where the least recently used are removed beyond 2 GiB
            (or the bytes in `VIDNB_SHOWN_CACHE_BYTES`).
        progress: None or True: the toolbar shows how many frames are encoded. False: it does not. A
            function: called with a `vidnb.media.export.ExportProgress` at most five times a second,
            on another thread.
        play_options: `start_s`, `autoplay`, `muted`, `width`, `markers`, `route`, `poster` and
            `subtitles` of `vidnb.play`.

    The call returns at once. The frames are read one by one, **on a thread of their own**: a
    generator runs there, not in the cell, and is not advanced before its last frame is encoded; an
    array must not be changed before the encoding has ended. The player shows the first quarter of a
    second as soon as it is encoded (H.264, 8 bits, 4:2:0, BT.709; an odd width or height gets one
    more column or row, a copy of the last). Neither the memory nor the notebook grows with the
    number of frames. `player.encoding` has `frames`, `done`, `cancel()` and `result()`; frame
    numbers work when it is done. `player.close()` cancels it.

    A `ValueError` names what is wrong with the frames: at once for an array, a list or a picture;
    from an iterator it is what `player.encoding.result()` raises, as is any error of its own. The
    player then shows a sentence, and the frames before it. Raises `TypeError` for another option,
    `StorageError` where `path` cannot be written, and `MissingExtra` without the extra `media`.
    """
    require_av()
    require_encoder("libx264")
    timing = Timing.of(fps)
    _check_options(play_options)
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ValueError(f"progress={progress!r} must be None, True, False or a function")
    options = _Options(timing, loop, progress, play_options)
    if not isinstance(frames, Mapping):
        title = _titles(titles, 1)
        target = None if path is None else _target(Path(local_path(path)).absolute())
        return _show_one(frames, "" if title is None else title[0], target, options)
    if not frames:
        raise ValueError("there are no frames: the dict is empty")
    labels = _titles(titles, len(frames)) or [str(name) for name in frames]
    folder = None if path is None else Path(local_path(path)).absolute()
    return _show_several(list(frames.values()), labels, folder, options)


@dataclass(frozen=True, slots=True)
class _Options:
    """What the videos of one call have in common."""

    timing: Timing
    loop: bool
    progress: bool | ProgressFunction | None
    play: Mapping[str, Any]


def _check_options(play_options: Mapping[str, Any]) -> None:
    for name in play_options:
        if name in _INSTEAD:
            raise TypeError(f"{name!r} is not an option of show; {_INSTEAD[name]}.")
        if name not in _OPTIONS:
            raise TypeError(f"{name!r} is not an option of show; there are: {', '.join(_OPTIONS)}.")


def _titles(titles: str | Sequence[str] | None, count: int) -> list[str] | None:
    """Return one title for each of `count` videos; None if there are none."""
    if titles is None:
        return None
    texts = [titles] if isinstance(titles, str) else list(titles)
    if len(texts) != count:
        raise ValueError(f"titles needs one text for each of the {count} videos, not {len(texts)}")
    return [str(text) for text in texts]


def _target(path: Path) -> Path:
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"{path.name} must end with .mp4: show writes MP4")
    return path


def _show_several(
    videos: list[Any], labels: list[str], folder: Path | None, options: _Options
) -> Comparison:
    targets: list[Path | None] = [None] * len(videos)
    if folder is not None:
        flat = [label.replace("/", "_").replace("\\", "_") for label in labels]
        names = [file_name(None, f"{quote(label, safe='')}.mp4", None) for label in flat]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"two of the videos would be saved as {repeated}: rename one of them")
        targets = [folder / name for name in names]
    owned = ExitStack()
    try:
        players = []
        for frames, label, target in zip(videos, labels, targets, strict=True):
            players.append(_show_one(frames, label, target, options))
            owned.callback(players[-1].close)
        comparison = compare(*players, labels=labels)
    except BaseException:
        owned.close()
        raise
    comparison._vidnb_owned.push(owned.pop_all())  # noqa: SLF001 - of the same package
    return comparison


def _show_one(frames: Any, title: str, target: Path | None, options: _Options) -> Player:
    source = FrameInput(frames)
    with ExitStack() as files:
        folder = files.enter_context(closing(_Folder()))
        output = files.enter_context(OutputFile(target or folder.path / _NAME))
        with output.errors():
            video = files.enter_context(closing(GrowingVideo(folder.path / "segments.mp4")))
        encoding = Encoding(
            source,
            options.timing,
            video,
            output,
            progress=options.progress if callable(options.progress) else None,
            when_released=files.pop_all(),
        )
    with ExitStack() as owned:
        owned.callback(encoding.release)
        name = _NAME if target is None else target.name
        served = _serve(name, encoding, video)
        owned.callback(served.close)
        player = play(served, loop=options.loop, **options.play)
        player.name = printable(title or name)
        state = EncodingState(
            encoding, is_kept=target is not None, is_shown=options.progress in {None, True}
        )
        player._vidnb_follow(state, served)  # noqa: SLF001 - of the same package
        player._vidnb_owned.push(owned.pop_all())  # noqa: SLF001 - likewise

    def end(path: Path | None) -> None:
        player._vidnb_show_file(path)  # noqa: SLF001 - likewise
        if encoding.phase == "encoded":
            folder.is_kept = target is None
            with suppress(OSError):  # Windows removes no open file; the cache removes it later
                video.path.unlink()

    try:
        encoding.start(
            EncodingEvents(
                started=player._vidnb_show_segments,  # noqa: SLF001 - likewise
                advanced=player._vidnb_show_progress,  # noqa: SLF001 - likewise
                ended=end,
            )
        )
    except BaseException:
        player.close()
        raise
    return player


class _Folder:
    """A folder of its own in the user's cache, removed when it is closed unless it `is_kept`."""

    def __init__(self) -> None:
        limit_bytes = cache_limit_bytes("VIDNB_SHOWN_CACHE_BYTES", _CACHE_BYTES)
        self._folder = open_folder(f"shown {uuid4()}", _CACHE, limit_bytes)
        self.path = self._folder.folder
        self.is_kept = False

    def close(self) -> None:
        if self.is_kept:
            self._folder.close()
        else:
            self._folder.discard()


def _serve(name: str, encoding: Encoding, video: GrowingVideo) -> Served:
    served = register(lambda: (GrowingSource(name, lambda: encoding.state), 0))
    served._resource.streams = GrowingStreams(video)  # noqa: SLF001 - of the same package
    return served
