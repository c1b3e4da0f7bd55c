"""The card a saved notebook shows where a player stood: nothing runs, everything reads."""

import html
from collections.abc import Sequence

from vidnb.download.planner.progress import format_bytes, format_duration_s

__all__ = ["comparison_card", "player_card"]

# Inline, since a sanitiser strips style sheets; greys with alpha read on light and on dark.
_FRAME = (
    "display: flex; flex-wrap: wrap; align-items: center; gap: 4px 16px; "
    "max-width: 560px; padding: 12px 16px; border: 1px solid rgba(128, 128, 128, 0.4); "
    "border-left: 4px solid rgb(199, 138, 46); border-radius: 8px; "
    "font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.5; "
    "overflow-wrap: anywhere"
)
_PICTURE = "width: 160px; max-height: 120px; border-radius: 4px; object-fit: cover; margin: 0"

# Where a trusted notebook has no kernel, JupyterLab says "model not found" beside the card, in a
# line that holds no element; what it shows of a living widget does.
_HUSH = (
    "<style>.jp-OutputArea-child:has(.{mark}) + .jp-OutputArea-child > "
    ".jupyter-widgets:not(:has(*)) {{ display: none; }}</style>"
)


def player_card(
    name: str,
    *,
    length_s: float | None,
    size_bytes: int | None,
    mark: str,
    picture: str | None = None,
) -> dict[str, str]:
    """Return the card as a mimebundle of HTML and plain text.

    `length_s` (s) and `size_bytes` (B) are left out where they are not known. `mark` becomes a
    class of the card's element, by which a living player finds it: JupyterLab's sanitiser keeps
    classes and renames ids. `picture` is the URL of a poster, short or with its data in it.
    """
    facts = ["video"]
    if length_s is not None:
        facts.append(format_duration_s(length_s))
    if size_bytes is not None:
        facts.append(format_bytes(size_bytes))
    about = " · ".join(facts)
    image = (
        f'<img src="{html.escape(picture)}" alt="" style="{_PICTURE}">' if picture else ""
    )  # it is decoration: the name stands beside it
    hush = _HUSH.format(mark=html.escape(mark))
    return {
        "text/plain": f"{name} ({about}): run this cell again to watch it",
        "text/html": (
            f'<div class="vidnb-card {html.escape(mark)}" style="{_FRAME}">{image}'
            '<div style="flex: 1 1 240px; min-width: 0">'
            f'<div style="font-weight: 600">{html.escape(name)}</div>'
            f'<div style="opacity: 0.75">{about}</div>'
            "<div>The video itself is not stored in this notebook. "
            f"Run this cell again to watch it.</div></div></div>{hush}"
        ),
    }


def comparison_card(
    videos: Sequence[tuple[str, str, float | None]], *, mark: str
) -> dict[str, str]:
    """Return the card of several videos: label, file name and length (s) of each; else as above."""
    title = f"Comparison of {len(videos)} video" + "s" * (len(videos) != 1)
    rows = []
    for label, name, length_s in videos:
        facts = [] if label == name else [name]
        if length_s is not None:
            facts.append(format_duration_s(length_s))
        rows.append((label, " · ".join(facts)))
    listed = "".join(
        f'<div><span style="font-weight: 600">{html.escape(label)}</span>'
        + (f' <span style="opacity: 0.75">{html.escape(about)}</span>' if about else "")
        + "</div>"
        for label, about in rows
    )
    names = ", ".join(label for label, _ in rows)
    hush = _HUSH.format(mark=html.escape(mark))
    return {
        "text/plain": f"{title} ({names}): run this cell again to watch it",
        "text/html": (
            f'<div class="vidnb-card {html.escape(mark)}" style="{_FRAME}">'
            f'<div style="opacity: 0.75">{title}</div>{listed}'
            "<div>The videos themselves are not stored in this notebook. "
            f"Run this cell again to watch them.</div></div>{hush}"
        ),
    }
