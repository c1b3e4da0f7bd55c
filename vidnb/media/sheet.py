"""`vidnb.sheet`: a contact sheet, that is small pictures of a video's frames with their times."""

import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vidnb.download.options import check_count, check_seconds
from vidnb.download.planner.naming import file_name
from vidnb.download.stream import is_url
from vidnb.errors import MediaError, VidnbError
from vidnb.io.regular_file import StrPath, expand_user
from vidnb.media.container import MediaFile, MediaSource, require_av, require_pillow
from vidnb.media.frames import Frames, frames
from vidnb.media.media_info import one_line
from vidnb.media.probe import read_info

if TYPE_CHECKING:
    from PIL.Image import Image

    from vidnb.media.media_info import MediaInfo

__all__ = ["Sheet", "default_name", "sheet"]

_MAX_PICTURES: Final = 1000
_MAX_HEIGHT: Final = 65_000  # pixels; a JPEG has at most 65,535
_WIDTHS: Final = range(160, 16_385)
_MIN_CELL_WIDTH: Final = 100  # pixels, for a time code
_MAX_CELL_RATIO: Final = 2.0  # height to width; a picture that is taller is smaller
_SHEET_RATIO: Final = 4 / 3  # width to height, about, where `columns` is not given
_QUALITY: Final = 82

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Theme:
    ground: str
    text: str
    faint: str
    cell: str


_LIGHT: Final = _Theme("#ffffff", "#1b1b1b", "#5c5c5c", "#ececec")
_DARK: Final = _Theme("#16181c", "#f0f0f0", "#a6abb3", "#25282e")


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A contact sheet.

    `image` is a Pillow image; `times_s` and `indices` are the times (s) and the numbers of its
    frames, in reading order. As the last line of a cell it shows itself; `save` raises `VidnbError`
    where it cannot write. Made by `vidnb.sheet`.
    """

    image: "Image"
    times_s: tuple[float, ...]
    indices: tuple[int, ...]

    def __repr__(self) -> str:
        width, height = self.image.size
        return f"<Sheet of {len(self.times_s)} frames, {width} x {height}>"

    def save(self, path: StrPath) -> Path:
        """Save the sheet and return its path; the suffix names the format (.jpg, .png, .webp).

        The file gets its name when it is complete. `ValueError` for an unknown suffix, `VidnbError`
        if it cannot be written.
        """
        from PIL import Image

        target = Path(expand_user(path))
        kind = Image.registered_extensions().get(target.suffix.lower())
        if kind not in Image.SAVE:
            raise ValueError(f"{target.name!r} must end in .jpg, .png or .webp.")
        data = _encoded(self.image, str(kind))
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            part.write_bytes(data)
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            reason = (error.strerror or str(error)).lower()
            raise VidnbError(
                f"The sheet could not be saved as {target}: {reason}; choose another place."
            ) from error
        return target

    def _repr_jpeg_(self) -> bytes:
        """Show the sheet in a cell (IPython's hook)."""
        return _encoded(self.image, "JPEG")


def sheet(
    source: MediaSource,
    n: int = 24,
    *,
    every_s: float | None = None,
    at_s: Sequence[float] | None = None,
    columns: int | None = None,
    width: int = 1200,
    stream: int = 0,
    keyframes: bool = False,
    dark: bool = False,
) -> Sheet:
    """Return a contact sheet of a video: frames with their time codes and numbers.

    Parameters
        source: a path, an http(s) URL (only what is needed is fetched), a `DownloadResult`, a
            `Served` or a seekable binary file object.
        n: the number of frames, evenly by time; a video with fewer shows each of them once.
        every_s: one frame every so many seconds, from the first one on, in place of `n`.
        at_s: the times (s) of the frames, as in `frames.at`, in place of `n`.
        columns: frames in a row; None: by the shape of the video.
        width: the width of the sheet in pixels, 160 to 16384.
        stream: which video stream, from 0.
        keyframes: take the key frame at or before each time, which decodes much less.
        dark: light text on a dark ground.

    A frame that is damaged is left empty and labelled. Raises `ValueError` for more than 1,000
    frames, `MediaError` for a file that is not a readable video, `MissingExtra` without the extra
    `media`, and what `vidnb.open` raises for a URL.
    """
    require_av()
    require_pillow()
    check_count("n", n)
    if every_s is not None:
        check_seconds("every_s", every_s)
        if at_s is not None:
            raise ValueError("every_s and at_s exclude each other; pass one of them.")
    if columns is not None:
        check_count("columns", columns)
    if check_count("width", width) not in _WIDTHS:
        raise ValueError(f"width={width!r} must be {_WIDTHS[0]} to {_WIDTHS[-1]} pixels.")
    with MediaFile(source) as file:
        info = read_info(file)
    with frames(source, stream=stream) as video:
        times_s = [float(time_s) for time_s in video.times_s]
        indices = _indices(video, times_s, n, every_s, at_s)
        if keyframes:
            keys = video.keyframes or (0,)
            indices = [max((key for key in keys if key <= i), default=keys[0]) for i in indices]
            indices = list(dict.fromkeys(indices))
        layout = _Layout.of(len(indices), _shape(info, stream), columns, width)
        canvas = _Canvas(layout, info, _DARK if dark else _LIGHT)
        for index, picture in _pictures(video, indices, layout.picture):
            for place, shown in enumerate(indices):
                if shown == index:
                    canvas.add(place, picture, times_s[index], index)
    return Sheet(canvas.image, tuple(times_s[i] for i in indices), tuple(indices))


def default_name(source: str) -> str:
    """Return the name of a sheet's file for a path or URL: `film-sheet.jpg`."""
    name = file_name(None, source, None) if is_url(source) else source
    return f"{Path(name).stem}-sheet.jpg"


def time_code(time_s: float) -> str:
    """Return a time (s) as `0:12.500` or `1:02:03.250`."""
    milliseconds = round(abs(time_s) * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minute = divmod(minutes, 60)
    text = f"{rest // 1000:02}.{rest % 1000:03}"
    text = f"{hours}:{minute:02}:{text}" if hours else f"{minute}:{text}"
    return f"-{text}" if time_s < 0 and milliseconds else text


def _indices(
    video: Frames,
    times_s: Sequence[float],
    n: int,
    every_s: float | None,
    at_s: Sequence[float] | None,
) -> list[int]:
    """Return the numbers of the frames to show, each once unless `at_s` repeats it."""
    lengths = [after - before for before, after in pairwise(times_s)]
    start_s, end_s = times_s[0], times_s[-1] + (median(lengths) if lengths else 0)
    if at_s is not None:
        wanted = [float(time_s) for time_s in at_s]
        for time_s in wanted:
            if not start_s <= time_s <= end_s:  # also for NaN
                raise ValueError(
                    f"at_s: {time_s:g} s is outside the video, which has frames from"
                    f" {start_s:.3f} s to {end_s:.3f} s."
                )
        if not wanted:
            raise ValueError("at_s is empty; name at least one time in seconds.")
    elif every_s is not None:
        count = min(max(1, math.ceil((end_s - start_s) / every_s)), _MAX_PICTURES + 1)
        wanted = [start_s + number * every_s for number in range(count)]
    elif n >= len(times_s):
        return _checked(list(range(len(times_s))))
    else:  # in the middle of n equal parts: the first and last frames are often black
        step_s = (end_s - start_s) / n
        wanted = [start_s + (number + 0.5) * step_s for number in range(min(n, _MAX_PICTURES + 1))]
    indices = [video.index_at(time_s) for time_s in _checked(wanted)]
    return indices if at_s is not None else list(dict.fromkeys(indices))


def _checked(wanted: list[_T]) -> list[_T]:
    if len(wanted) > _MAX_PICTURES:
        raise ValueError(f"A sheet shows at most {_MAX_PICTURES} frames; ask for fewer.")
    return wanted


def _shape(info: "MediaInfo", stream: int) -> tuple[int, int]:
    """Return width and height of the shown picture (pixels)."""
    if stream < len(info.video) and info.video[stream].display_width:
        return info.video[stream].display_width, info.video[stream].display_height
    return 16, 9


def _pictures(
    video: Frames, indices: Sequence[int], room: tuple[int, int]
) -> "Iterator[tuple[int, Image | None]]":
    """Yield the numbers and pictures of frames in increasing order, None for a damaged one.

    The pictures are scaled to fit into `room` (pixels); one frame is in memory at a time.
    `MediaError` if all are damaged.
    """
    error: MediaError | None = None
    has_picture = False
    for index in sorted(set(indices)):
        try:
            picture = _fit(video[index].to_pil(), room)
        except MediaError as caught:
            error = caught
            yield index, None
        else:
            has_picture = True
            yield index, picture
    if error is not None and not has_picture:
        raise error


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of a sheet are (pixels)."""

    width: int
    height: int
    columns: int
    picture: tuple[int, int]  # the space for one picture
    font_size: int
    gap: int
    top: int  # of the first row

    @classmethod
    def of(cls, count: int, shape: tuple[int, int], columns: int | None, width: int) -> "_Layout":
        font_size = min(48, max(11, width // 85))
        gap = max(4, font_size * 2 // 3)
        ratio = min(shape[1] / shape[0], _MAX_CELL_RATIO)
        if columns is None:
            columns = round(math.sqrt(count * ratio * _SHEET_RATIO))
        columns = max(1, min(columns, count, width // _MIN_CELL_WIDTH))
        cell_width = (width - gap * (columns + 1)) // columns
        picture = (cell_width, max(1, round(cell_width * ratio)))
        top = gap * 2 + round(font_size * 3.2)
        rows = -(-count // columns)
        height = top + rows * (picture[1] + font_size * 2 + gap)
        if height > _MAX_HEIGHT:
            raise ValueError(
                f"The sheet would be {height} pixels high; ask for more columns, fewer frames or a"
                " smaller width."
            )
        return cls(width, height, columns, picture, font_size, gap, top)

    def corner(self, place: int) -> tuple[int, int]:
        """Return the upper left corner of the picture at a place."""
        row, column = divmod(place, self.columns)
        step = self.picture[1] + self.font_size * 2 + self.gap
        return self.gap + column * (self.picture[0] + self.gap), self.top + row * step


class _Canvas:
    """A sheet that is being drawn."""

    def __init__(self, layout: _Layout, info: "MediaInfo", theme: _Theme) -> None:
        from PIL import Image, ImageDraw

        self._layout = layout
        self._theme = theme
        self._font = _font(layout.font_size)
        self.image = Image.new("RGB", (layout.width, layout.height), theme.ground)
        self._draw = ImageDraw.Draw(self.image)
        name = one_line(info.name if "://" in info.name else Path(info.name).name)
        # The spaces of the built-in font are narrow.
        facts = info.summary.replace(" ", "  ")
        self._write(layout.gap, name, _font(round(layout.font_size * 1.3)), theme.text)
        self._write(layout.gap + round(layout.font_size * 1.8), facts, self._font, theme.faint)

    def _write(self, top: int, text: str, font: Any, color: str) -> None:
        left = self._layout.gap
        self._draw.text(
            (left, top), _fitted(text, font, self._layout.width - 2 * left), color, font
        )

    def add(self, place: int, picture: "Image | None", time_s: float, index: int) -> None:
        """Draw a picture of the size of a cell at most, or that it is damaged, and its label."""
        left, top = self._layout.corner(place)
        width, height = self._layout.picture
        draw, theme, font = self._draw, self._theme, self._font
        draw.rectangle((left, top, left + width - 1, top + height - 1), theme.cell)
        if picture is None:
            middle = (left + width / 2, top + height / 2)
            draw.text(middle, "damaged", theme.faint, font, anchor="mm")
        else:
            corner = (left + (width - picture.width) // 2, top + (height - picture.height) // 2)
            self.image.paste(picture, corner)
        below = top + height + self._layout.font_size // 4
        time, number = time_code(time_s), f"#{index}"
        draw.text((left, below), time, theme.text, font)
        if font.getlength(f"{time}  {number}") <= width:
            draw.text((left + width, below), number, theme.faint, font, anchor="ra")


def _fit(picture: "Image", room: tuple[int, int]) -> "Image":
    """Return a picture scaled to fit into a space, with its aspect ratio."""
    from PIL import Image

    scale = min(room[0] / picture.width, room[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # a scalable font is built in since Pillow 10.1


def _fitted(text: str, font: Any, room: int) -> str:
    """Return text that is at most `room` pixels wide, shortened in the middle."""
    shown, keep = text, len(text)
    while font.getlength(shown) > room and keep > 1:
        keep -= 1
        shown = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return shown


def _encoded(image: "Image", kind: str) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **({"quality": _QUALITY} if kind in {"JPEG", "WEBP"} else {}))
    return data.getvalue()
