"""The card of a player or a comparison: what a saved notebook shows without a kernel."""

import base64
import html
import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from uuid import uuid4

import anywidget
import traitlets as t
from IPython.display import display, update_display

from vidnb.download.planner.progress import format_bytes, format_duration_s
from vidnb.http.media_types import media_type_of
from vidnb.io.regular_file import expand_user

if TYPE_CHECKING:
    from vidnb.widgets.player.channel import Outbox

__all__ = [
    "MAX_URL_CHARS",
    "CardMixin",
    "card_picture",
    "comparison_card",
    "is_image_url",
    "player_card",
]

# IPython's functions are not annotated.
_display: Final[Callable[..., object]] = display
_update_display: Final[Callable[..., object]] = update_display

# Inline, since a sanitiser removes style sheets; greys with alpha suit light and dark themes.
_FRAME: Final = (
    "display: flex; flex-wrap: wrap; align-items: center; gap: 4px 16px; "
    "max-width: 560px; padding: 12px 16px; border: 1px solid rgba(128, 128, 128, 0.4); "
    "border-left: 4px solid rgb(199, 138, 46); border-radius: 8px; "
    "font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.5; "
    "overflow-wrap: anywhere"
)
_PICTURE: Final = (
    "width: 160px; max-height: 120px; border-radius: 4px; object-fit: cover; margin: 0"
)

# In a trusted notebook without a kernel JupyterLab prints "model not found" beside the card, in an
# output without elements; a live widget has some.
_HIDE_NOT_FOUND: Final = (
    "<style>.jp-OutputArea-child:has(.{card_id}) + .jp-OutputArea-child > "
    ".jupyter-widgets:not(:has(*)) {{ display: none; }}</style>"
)

MAX_URL_CHARS: Final = 8192
"""The greatest length of a picture's URL that is stored in the notebook (characters)."""

_MAX_BYTES: Final = (MAX_URL_CHARS - 64) // 4 * 3  # as base64, behind the head of a data URL
_WIDTH_PX: Final = 320
_SCALES_AND_QUALITIES: Final = ((1.0, 70), (1.0, 45), (0.7, 45), (0.5, 40), (0.3, 35))


class CardMixin(anywidget.AnyWidget):
    """The display of a widget in two outputs: the card, which the live widget hides, and itself.

    In a trusted notebook without a kernel JupyterLab 4.6 prints a line of its own for a widget that
    it does not know, whatever else the bundle holds: only a separate output is readable.
    """

    card_id = t.Unicode(help="The class of the saved card, which a live view hides.").tag(sync=True)
    _vidnb_lock: RLock
    _vidnb_outbox: "Outbox"

    def __init__(self, **config: Any) -> None:
        self._vidnb_is_displayed = False
        self._vidnb_card_lengths: tuple[float | None, ...] = ()
        super().__init__(card_id=f"vidnb-card-{uuid4().hex[:12]}", **config)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget, and the card for a page without a kernel."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._vidnb_card()}, metadata

    def _ipython_display_(self, **_options: Any) -> None:
        """Display the card and the widget as two outputs."""
        self._vidnb_is_displayed = True
        _display(self._vidnb_card(), raw=True, display_id=self.card_id)
        if self.comm is None:  # closed
            return
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        # Without it a page that cannot show the widget would print the plain text again.
        data |= {"text/html": "<!-- the card above is shown instead -->"}
        data.pop("text/plain", None)
        _display(data, raw=True, metadata=metadata)

    def _vidnb_card(self) -> dict[str, str]:
        """Return the card as a mimebundle."""
        raise NotImplementedError

    def _vidnb_lengths_s(self) -> tuple[float | None, ...]:
        """Return the durations that the card shows (s), None for one that is not known."""
        raise NotImplementedError

    def _vidnb_queue_card(self) -> None:
        """Queue an update of the displayed card if all lengths are known and one has changed."""
        with self._vidnb_lock:
            lengths = self._vidnb_lengths_s()
            is_current = None in lengths or lengths == self._vidnb_card_lengths
            if self._vidnb_is_displayed and not is_current:
                self._vidnb_card_lengths = lengths
                self._vidnb_outbox.add(self._vidnb_update_card)

    def _vidnb_update_card(self) -> None:
        _update_display(self._vidnb_card(), raw=True, display_id=self.card_id)


def player_card(
    name: str,
    *,
    length_s: float | None,
    size_bytes: int | None,
    card_id: str,
    picture: str | None = None,
) -> dict[str, str]:
    """Return the card of a player as a mimebundle of HTML and plain text.

    `length_s` (s) and `size_bytes` (B) are left out where they are None. `card_id` is a class of
    the card's element, by which a live view finds it: JupyterLab's sanitiser keeps classes and
    renames ids. `picture` is the URL of a poster, short or a data URL.
    """
    facts = ["video"]
    if length_s is not None:
        facts.append(format_duration_s(length_s))
    if size_bytes is not None:
        facts.append(format_bytes(size_bytes))
    about = " · ".join(facts)
    # Without an alternative text: the name is beside it.
    image = f'<img src="{html.escape(picture)}" alt="" style="{_PICTURE}">' if picture else ""
    return {
        "text/plain": f"{name} ({about}): run this cell again to watch it",
        "text/html": _card_html(
            card_id,
            f'{image}<div style="flex: 1 1 240px; min-width: 0">'
            f'<div style="font-weight: 600">{html.escape(name)}</div>'
            f'<div style="opacity: 0.75">{about}</div>'
            "<div>The video itself is not stored in this notebook. "
            "Run this cell again to watch it.</div></div>",
        ),
    }


def comparison_card(
    videos: Sequence[tuple[str, str, float | None]], *, card_id: str
) -> dict[str, str]:
    """Return the card of several videos: label, file name and duration (s) of each."""
    title = f"Comparison of {len(videos)} video" + "s" * (len(videos) != 1)
    rows = ""
    for label, name, length_s in videos:
        facts = [] if label == name else [name]
        if length_s is not None:
            facts.append(format_duration_s(length_s))
        about = f' <span style="opacity: 0.75">{html.escape(" · ".join(facts))}</span>'
        rows += (
            f'<div><span style="font-weight: 600">{html.escape(label)}</span>'
            f"{about if facts else ''}</div>"
        )
    names = ", ".join(label for label, _, _ in videos)
    return {
        "text/plain": f"{title} ({names}): run this cell again to watch it",
        "text/html": _card_html(
            card_id,
            f'<div style="opacity: 0.75">{title}</div>{rows}'
            "<div>The videos themselves are not stored in this notebook. "
            "Run this cell again to watch them.</div>",
        ),
    }


def _card_html(card_id: str, content: str) -> str:
    card_id = html.escape(card_id)
    return (
        f'<div class="vidnb-card {card_id}" style="{_FRAME}">{content}</div>'
        f"{_HIDE_NOT_FOUND.format(card_id=card_id)}"
    )


def is_image_url(poster: object) -> TypeGuard[str]:
    """Return whether a poster is the URL of an image instead of a file."""
    return isinstance(poster, str) and poster.startswith(("http://", "https://", "data:image/"))


def card_picture(poster: object) -> str | None:
    """Return the URL of a picture for the card of a player with this poster, else None.

    A saved notebook has no server to load a poster from. So a short URL is used itself, a small
    image file becomes a data URL, and a larger one a thumbnail where Pillow is installed. A poster
    that cannot be read or made small is left out.
    """
    if is_image_url(poster):
        return poster if len(poster) < MAX_URL_CHARS else None
    if not isinstance(poster, str | os.PathLike):
        return None
    path = Path(expand_user(poster))
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        media_type = media_type_of(path.name)
        if len(data) <= _MAX_BYTES and media_type.startswith("image/"):
            return _data_url(media_type, data)
        jpeg = _thumbnail(path)
    except (OSError, ValueError):
        return None
    return None if jpeg is None else _data_url("image/jpeg", jpeg)


def _thumbnail(path: Path) -> bytes | None:
    """Return a small JPEG of an image; None without Pillow, or where none is small enough."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (2 * _WIDTH_PX, 2 * _WIDTH_PX))
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, SyntaxError):
            return None
    for scale, quality in _SCALES_AND_QUALITIES:
        side = round(_WIDTH_PX * scale)
        small = picture.copy()
        small.thumbnail((side, side))
        jpeg = io.BytesIO()
        small.save(jpeg, "JPEG", quality=quality, optimize=True, progressive=True)
        if jpeg.tell() <= _MAX_BYTES:
            return jpeg.getvalue()
    return None


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
