"""The page that shows one served file in a browser tab.

It holds a `<video controls>` element, whose keyboard the browser knows, and no script. The
Content-Security-Policy lets it fetch nothing but the file, from its own server.
"""

import base64
import hashlib
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from vidnb.core.progress import format_bytes

__all__ = ["POLICY", "render"]


_HERE = files("vidnb.engine")
_PAGE = Template(_HERE.joinpath("page.html").read_text(encoding="utf-8"))
_STYLE = _HERE.joinpath("page.css").read_text(encoding="utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; media-src 'self'; img-src data:; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy that the page is sent with."""


def render(name: str, source: str, size_bytes: int) -> bytes:
    """Return the page, as UTF-8, for the file `name` at the (relative) URL `source`."""
    text = _PAGE.substitute(
        name=escape(name), source=escape(source), size=format_bytes(size_bytes), style=_STYLE
    )
    return text.encode("utf-8", "replace")  # a file name may hold bytes that are no text
