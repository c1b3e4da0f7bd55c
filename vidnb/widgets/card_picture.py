"""The poster as a card can keep it: an address, or a picture of a few kilobytes.

A saved notebook has no server to fetch a poster from. So a short URL is kept as it is, a small
image file goes in whole, and a larger one as a thumbnail where Pillow is installed; else the card
has no picture. Nothing here is longer than `MOST_CHARS`.
"""

import base64
import io
import os
import warnings
from pathlib import Path
from typing import Final

__all__ = ["MOST_CHARS", "card_picture"]

MOST_CHARS: Final = 8192
"""How long the address of a picture may be that the notebook keeps (characters)."""

_MOST_BYTES: Final = (MOST_CHARS - 64) // 4 * 3  # as base64, with the head of a data URL
_WIDE_PX: Final = 320
_SIZES: Final = (
    (1.0, 70),
    (1.0, 45),
    (0.7, 45),
    (0.5, 40),
    (0.3, 35),
)  # of the width, JPEG quality
_TYPES: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
}


def card_picture(poster: object) -> str | None:
    """Return the URL of a picture for a poster, a short URL or an image file; else None.

    What cannot be read or made small is left out: a card is worth having without a picture.
    """
    if isinstance(poster, str) and poster.startswith(("http://", "https://", "data:image/")):
        return poster if len(poster) < MOST_CHARS else None
    if not isinstance(poster, str | os.PathLike):
        return None
    path = Path(poster)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        kind = _TYPES.get(path.suffix.lower())
        if len(data) <= _MOST_BYTES and kind is not None:
            return _data_url(kind, data)
        small = _thumbnail(path)
    except (OSError, ValueError):
        return None
    return None if small is None else _data_url("image/jpeg", small)


def _thumbnail(path: Path) -> bytes | None:
    """Return a small JPEG of an image; None without Pillow, or where no size is small enough."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (2 * _WIDE_PX, 2 * _WIDE_PX))
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, SyntaxError):
            return None
    for share, quality in _SIZES:
        wide = round(_WIDE_PX * share)
        small = picture.copy()
        small.thumbnail((wide, wide))
        written = io.BytesIO()
        small.save(written, "JPEG", quality=quality, optimize=True, progressive=True)
        if written.tell() <= _MOST_BYTES:
            return written.getvalue()
    return None


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
