"""What a player shows: the video, the poster and the subtitles, each served over loopback.

What is opened here is put on the caller's `ExitStack` and closed with the player.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadResult
from vidnb.errors import ServeError
from vidnb.io.regular_file import StrPath, expand_user
from vidnb.media.sniff import BoxScanner
from vidnb.media.subtitles import decode_subtitles, is_subtitle_text, language_tag, to_webvtt
from vidnb.server.server import Served, serve
from vidnb.server.sources import FileSource
from vidnb.widgets.card import MAX_URL_CHARS, is_image_url
from vidnb.widgets.player.routes import Routes

__all__ = ["file_problem", "printable", "serve_poster", "serve_tracks", "serve_video"]

_MAX_SUBTITLE_BYTES: Final = 16_000_000
"""A film's subtitles are 0.1 MB; a video given by mistake is not read as a whole."""

_MAX_BOXES: Final = 5000  # of a few dozen bytes each; a film in more fragments is not checked


def printable(name: str) -> str:
    """Return a file name as text that can be sent; undecodable bytes in it become `?`."""
    return name.encode("utf-8", "replace").decode("utf-8")


def serve_video(source: StrPath | Served | DownloadResult, owned: ExitStack) -> Served:
    """Return the served `source`; one that is served here is closed with `owned`."""
    if isinstance(source, Served):
        return source
    return _serve(source.path if isinstance(source, DownloadResult) else source, owned)


def serve_poster(poster: StrPath | None, routes: Routes, owned: ExitStack) -> list[dict[str, Any]]:
    """Return the routes to the poster, an image file or a short URL; empty without a poster."""
    if poster is None:
        return []
    if is_image_url(poster):
        if len(poster) >= MAX_URL_CHARS:
            raise ValueError(
                f"the poster's URL has {len(poster)} characters, which would be stored in the "
                f"notebook: pass an image file, or a URL of less than {MAX_URL_CHARS} characters"
            )
        return [{"route": "given", "url": poster, "endpoint": "", "needs": ""}]
    served = _serve(poster, owned)
    if not served.media_type.startswith("image/"):
        raise ServeError(f"The poster {poster} is no image: pass a JPEG, PNG, GIF, WebP or AVIF.")
    return routes.to_resource(served, "poster")


def serve_tracks(
    subtitles: StrPath | Mapping[str, StrPath] | None, routes: Routes, owned: ExitStack
) -> list[dict[str, Any]]:
    """Return label, language tag and routes of each subtitle track, converted to WebVTT."""
    if subtitles is None:
        return []
    by_name = subtitles if isinstance(subtitles, Mapping) else {"Subtitles": subtitles}
    tracks: list[dict[str, Any]] = []
    for name, source in by_name.items():
        served = _serve(owned.enter_context(_temporary_file(_webvtt(source))), owned)
        lang = language_tag(name)
        # A language needs no label: the browser knows its name in the user's own language.
        urls = routes.to_resource(served, f"track-{len(tracks)}")
        tracks.append({"label": "" if lang else name, "lang": lang or "", "urls": urls})
    return tracks


def file_problem(served: Served) -> str:
    """Return a sentence where an MP4 or QuickTime file ends early, else an empty text.

    Such a file opens with its full duration, and Chromium shows a still picture past its end. A
    file that cannot be read is reported by the server.
    """
    source = served._resource.source  # noqa: SLF001 - of the same package
    if not isinstance(source, FileSource):
        return ""
    scanner = BoxScanner(served.size_bytes)
    try:
        with open(source.path, "rb") as file:  # noqa: PTH123 - the name may be undecodable
            for _ in range(_MAX_BOXES):
                byte_range = scanner.next_range()
                if byte_range is None:
                    break
                file.seek(byte_range.start)
                scanner.feed(file.read(byte_range.size_bytes))
    except (OSError, ValueError):
        return ""
    layout = scanner.layout()
    if not layout.truncated:
        return ""
    plays = "it plays up to there" if layout.moov_first else "it does not play"  # without an index
    return (
        f"{served.name} ends early ({layout.missing_part}), so {plays}: "
        "download or write the file again, then run the cell again."
    )


def _serve(path: StrPath, owned: ExitStack) -> Served:
    served = serve(path)
    owned.callback(served.close)
    return served


def _webvtt(source: StrPath) -> str:
    """Return the WebVTT of a file, or of text that is subtitles itself."""
    if isinstance(source, str) and ("\n" in source or is_subtitle_text(source)):
        return to_webvtt(source)
    try:
        with Path(expand_user(source)).open("rb") as file:
            data = file.read(_MAX_SUBTITLE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServeError(f"The subtitles {source} cannot be read: {reason}.") from error
    if len(data) > _MAX_SUBTITLE_BYTES:
        limit = format_bytes(_MAX_SUBTITLE_BYTES)
        raise ServeError(f"The subtitles {source} are larger than {limit}: is this the video?")
    try:
        return to_webvtt(decode_subtitles(data))
    except ValueError as error:
        raise ServeError(f"The subtitles {source} cannot be shown: {error}.") from error


@contextmanager
def _temporary_file(text: str) -> Iterator[Path]:
    """Write `text` to a file that only this user can read, until the context ends."""
    path = _temporary_folder() / f"{uuid4().hex}.vtt"
    path.write_text(text, encoding="utf-8", newline="\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vidnb-"))  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
