"""The pages of the server: a player for one file, and the list of a folder's videos.

Each is one document without anything from outside. Its Content-Security-Policy names the style and
the script by their digests and lets it fetch nothing but media, from its own server.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final, NamedTuple

from vidnb.download.planner.progress import format_bytes
from vidnb.server.bundle import bundle

__all__ = ["FolderItem", "HtmlPage", "index", "player"]


class HtmlPage(NamedTuple):
    """A page as UTF-8, and the Content-Security-Policy it is sent with."""

    html: bytes
    policy: str


@dataclass(frozen=True, slots=True)
class FolderItem:
    """A video in a list: its name, the (relative) URLs of its file and its page, its size (B)."""

    name: str
    source: str
    page: str
    size_bytes: int


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Document:
    """A template with its style and its script."""

    def __init__(self, name: str) -> None:
        folder = Path(__file__).parent
        self._template = Template((folder / f"{name}.html").read_text(encoding="utf-8"))
        self._style = (folder / "common.css").read_text(encoding="utf-8")
        self._style += (folder / f"{name}.css").read_text(encoding="utf-8")
        self._script = bundle(folder / f"{name}.js")
        self._policy = (
            "default-src 'none'; media-src 'self' blob:; connect-src 'self'; img-src data:; "
            f"base-uri 'none'; form-action 'none'; style-src {_digest(self._style)}; "
            f"script-src {_digest(self._script)}"
        )

    def page(self, **values: str) -> HtmlPage:
        """Fill in values that are HTML already."""
        text = self._template.substitute(values, style=self._style, script=self._script)
        # A file name may hold bytes that are no text.
        return HtmlPage(text.encode("utf-8", "replace"), self._policy)


_PLAYER: Final = _Document("page")
_INDEX: Final = _Document("index")


def player(
    name: str,
    source: str,
    size_bytes: int,
    back: str = "",
    *,
    deliveries: Sequence[Mapping[str, str]],
    problem: str = "",
) -> HtmlPage:
    """Return the page for the file `name` at the (relative) URL `source`.

    `back` is the URL of the page that leads here, empty where there is none. `deliveries` are the
    ways to deliver the video, best first; `problem` is shown where the browser plays none of them.
    """
    link = f'<a class="back" href="{escape(back)}">All videos</a>' if back else ""
    return _PLAYER.page(
        name=escape(name),
        source=escape(source),
        size=format_bytes(size_bytes),
        back=link,
        deliveries=escape(json.dumps(list(deliveries))),
        problem=escape(problem),
    )


def index(
    title: str, groups: Iterable[tuple[str, Sequence[FolderItem]]], left_out: str = ""
) -> HtmlPage:
    """Return the list of a folder's videos, grouped by sub-folder ("" for the folder itself).

    `left_out` is a sentence about what the list does not hold, empty where it holds everything.
    """
    shown = list(groups)
    count = sum(len(items) for _, items in shown)
    total_bytes = sum(item.size_bytes for _, items in shown for item in items)
    summary = f"{count} video{'' if count == 1 else 's'} · {format_bytes(total_bytes)}"
    empty = "There is no video in this folder yet. Put one in, and load this page again."
    return _INDEX.page(
        title=escape(title),
        summary=summary if count else "",
        note=escape(left_out if count else f"{empty} {left_out}".rstrip()),
        groups="".join(_group(folder, items) for folder, items in shown),
    )


def _group(folder: str, items: Sequence[FolderItem]) -> str:
    heading = f"<h2>{escape(folder)}</h2>\n" if folder else ""
    cards = "".join(_card(item) for item in items)
    return f'<section>\n{heading}<ul class="grid">\n{cards}</ul>\n</section>\n'


def _card(item: FolderItem) -> str:
    kind = PurePosixPath(item.name).suffix[1:].upper()
    return (
        f'<li><a class="card" href="{escape(item.page)}" data-source="{escape(item.source)}"'
        f' title="{escape(item.name)}">'
        f'<span class="thumbnail" data-kind="{escape(kind)}"></span>'
        f'<span class="name">{escape(item.name)}</span>'
        f'<span class="size">{format_bytes(item.size_bytes)}</span></a></li>\n'
    )
