"""The card a saved notebook shows where a player stood: nothing runs, everything reads."""

import html

from vidnb.core.progress import format_bytes, format_duration_s

__all__ = ["player_card"]

# Inline, since a sanitiser strips style sheets; greys with alpha read on light and on dark.
_FRAME = (
    "max-width: 480px; padding: 10px 14px; border: 1px solid rgba(128, 128, 128, 0.4); "
    "border-left: 4px solid rgb(199, 138, 46); border-radius: 8px; "
    "font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.5; "
    "overflow-wrap: anywhere"
)


def player_card(
    name: str, *, length_s: float | None, size_bytes: int | None, mark: str
) -> dict[str, str]:
    """Return the card as a mimebundle of HTML and plain text.

    `length_s` (s) and `size_bytes` (B) are left out where they are not known. `mark` becomes a
    class of the card's element, by which a living player finds it: JupyterLab's sanitiser keeps
    classes and renames ids.
    """
    facts = ["video"]
    if length_s is not None:
        facts.append(format_duration_s(length_s))
    if size_bytes is not None:
        facts.append(format_bytes(size_bytes))
    about = " · ".join(facts)
    return {
        "text/plain": f"{name} ({about}): run this cell again to watch it",
        "text/html": (
            f'<div class="vidnb-card {html.escape(mark)}" style="{_FRAME}">'
            f'<div style="font-weight: 600">{html.escape(name)}</div>'
            f'<div style="opacity: 0.75">{about}</div>'
            "<div>The video itself is not stored in this notebook. "
            "Run this cell again to watch it.</div></div>"
        ),
    }
