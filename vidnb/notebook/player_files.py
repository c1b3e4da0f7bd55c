"""What a player shows: the video, the poster and the subtitles, each served over loopback.

Whatever is opened here goes onto the caller's `ExitStack`, so that it ends with the player.
A road is one address under which a browser may find a served file.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from vidnb.core.progress import format_bytes
from vidnb.core.subtitles import decode_subtitles, is_subtitle_text, language_tag, to_webvtt
from vidnb.engine.data import StrPath
from vidnb.engine.order import DownloadResult
from vidnb.engine.server import Served
from vidnb.engine.serving import serve
from vidnb.errors import ServeError

__all__ = ["check_route", "readable", "roads_to", "serve_poster", "serve_tracks", "serve_video"]

_MOST_SUBTITLE_BYTES: Final = (
    16_000_000  # a film's subtitles are 0.1 MB; a film given by mistake stops
)
_MOST_POSTER_URL_CHARS: Final = 8192  # the notebook keeps this URL, and it must stay small


def check_route(route: str) -> None:
    """Raise `ValueError` unless `route` is "auto", "direct" or a template of an address."""
    template = "{port}" in route and "{path}" in route
    if route in {"auto", "direct"} or (template and route.startswith(("/", "http://", "https://"))):
        return
    raise ValueError(
        'route is "auto", "direct" or the address of a proxy with {port} and {path} in it, '
        f'such as "https://host/proxy/{{port}}/{{path}}", not {route!r}'
    )


def roads_to(url: str, route: str) -> list[dict[str, Any]]:
    """Return the addresses a browser may try for a served `url`, best first.

    Each is a dict for `player.js`: `route` its name, `url`, and `loopback_only`: whether it is
    open only to a page that itself comes from this machine.
    """
    if route in {"auto", "direct"}:
        return [{"route": "direct", "url": url, "loopback_only": route == "auto"}]
    parts = urlsplit(url)
    # The path is percent-encoded, braces and all, so no file name can hold a placeholder.
    filled = route.replace("{port}", str(parts.port)).replace("{path}", parts.path.lstrip("/"))
    return [{"route": "template", "url": filled, "loopback_only": False}]


def readable(name: str) -> str:
    """Return a file name as text that can be sent; undecodable bytes in it become `?`."""
    return name.encode("utf-8", "replace").decode("utf-8")


def serve_video(source: StrPath | Served | DownloadResult, made: ExitStack) -> Served:
    """Return the served `source`; one that is served here ends with `made`."""
    if isinstance(source, Served):
        return source
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        raise ServeError(
            f"play() shows a file on this machine and {source} is a URL: "
            "fetch it first, as in vidnb.play(vidnb.download(url))."
        )
    return _serve(source.path if isinstance(source, DownloadResult) else source, made)


def serve_poster(poster: StrPath | None, route: str, made: ExitStack) -> list[dict[str, Any]]:
    """Return the roads to the poster, an image file or a short URL; none where there is none."""
    if poster is None:
        return []
    if isinstance(poster, str) and poster.startswith(("http://", "https://", "data:image/")):
        if len(poster) >= _MOST_POSTER_URL_CHARS:
            raise ValueError(
                f"the poster's URL is {len(poster)} characters long and would be kept in the "
                f"notebook: pass an image file, or a URL under {_MOST_POSTER_URL_CHARS} characters"
            )
        return [{"route": "given", "url": poster, "loopback_only": False}]
    served = _serve(poster, made)
    if not served.media_type.startswith("image/"):
        raise ServeError(f"The poster {poster} is no image: give a JPEG, PNG, GIF, WebP or AVIF.")
    return roads_to(served.url, route)


def serve_tracks(
    subtitles: StrPath | Mapping[str, StrPath] | None, route: str, made: ExitStack
) -> list[dict[str, Any]]:
    """Return label, language tag and roads of each subtitle track, converted to WebVTT."""
    if subtitles is None:
        return []
    by_name = subtitles if isinstance(subtitles, Mapping) else {"Subtitles": subtitles}
    tracks = []
    for name, source in by_name.items():
        served = _serve(made.enter_context(_private_file(_webvtt(source))), made)
        lang = language_tag(name)
        # A language needs no label: the browser knows its name in the reader's own language.
        tracks.append(
            {"label": "" if lang else name, "lang": lang or "", "urls": roads_to(served.url, route)}
        )
    return tracks


def _serve(path: StrPath, made: ExitStack) -> Served:
    served = serve(path)
    made.callback(served.close)
    return served


def _webvtt(source: StrPath) -> str:
    """Return the WebVTT of a file, or of text that is subtitles itself."""
    if isinstance(source, str) and ("\n" in source or is_subtitle_text(source)):
        return to_webvtt(source)
    try:
        with Path(source).open("rb") as file:
            data = file.read(_MOST_SUBTITLE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServeError(f"The subtitles {source} cannot be read: {reason}.") from error
    if len(data) > _MOST_SUBTITLE_BYTES:
        limit = format_bytes(_MOST_SUBTITLE_BYTES)
        raise ServeError(f"The subtitles {source} are larger than {limit}: is this the video?")
    try:
        return to_webvtt(decode_subtitles(data))
    except ValueError as error:
        raise ServeError(f"The subtitles {source} cannot be shown: {error}.") from error


@contextmanager
def _private_file(text: str) -> Iterator[Path]:
    """Hold `text` in a file that only this user can read, for as long as the context lasts."""
    path = _private_folder() / f"{uuid4().hex}.vtt"
    path.write_text(text, encoding="utf-8", newline="\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@cache
def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vidnb-"))  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
