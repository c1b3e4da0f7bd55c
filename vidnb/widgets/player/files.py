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
from typing import Any, ClassVar, Final, Protocol
from uuid import uuid4

from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadResult
from vidnb.errors import ServeError
from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.io.regular_file import StrPath
from vidnb.media.subtitles import decode_subtitles, is_subtitle_text, language_tag, to_webvtt
from vidnb.server.routes import ROUTE_NAMES, Route, check_template, find_routes
from vidnb.server.server import Served
from vidnb.server.serving import serve
from vidnb.server.sources import FileSource, Source
from vidnb.widgets.card_picture import MOST_CHARS
from vidnb.widgets.player.channel import MessageChannel
from vidnb.widgets.player.notebook_host import this_host

__all__ = ["Routes", "check_route", "readable", "serve_poster", "serve_tracks", "serve_video"]

_MOST_SUBTITLE_BYTES: Final = (
    16_000_000  # a film's subtitles are 0.1 MB; a film given by mistake stops
)


def check_route(route: str) -> None:
    """Raise `ValueError` unless `route` is "auto", a road's name or a template of an address."""
    if "{" in route:
        check_template("route", route)
    elif route not in {"auto", *ROUTE_NAMES}:
        known = ", ".join(f'"{name}"' for name in ("auto", *ROUTE_NAMES))
        raise ValueError(
            f"route is one of {known}, or the address of a proxy with {{port}} and {{path}} in it, "
            f'such as "https://host/proxy/{{port}}/{{path}}", not {route!r}'
        )


class _Door(Protocol):
    """A served file or a mailbox: `hosts` are the names under which it may be asked."""

    hosts: AllowedHosts


class Routes:
    """The roads of one player: to its video and what belongs to it.

    Each road is a dict for `player.js`, see `core.routes.Road`. `of` holds what the kernel's own
    channel may hand out, by the name that the page asks for. `ValueError` for a `route` that is
    none.

    Whoever named a proxy's address is believed that its host may ask for what belongs to this
    player, and so is a page that `trust` is told of, here and by the players that are made later.
    """

    _pages: ClassVar[AllowedHosts] = AllowedHosts()

    def __init__(self, route: str) -> None:
        check_route(route)
        self._route = route
        self._host = this_host()
        self.of: dict[str, Source] = {}
        self._doors: list[_Door] = []

    def trust(self, name: object) -> None:
        """Let a page ask for what belongs to this player under `name`; ignored if it is no host.

        Only for what came over the kernel's own channel, which foreign pages cannot reach.
        """
        Routes._pages = Routes._pages.with_names([name])
        for door in self._doors:
            door.hosts = door.hosts.with_names([name])

    def _open(self, door: "_Door", found: list[Route]) -> None:
        names = (*(road.host for road in found if road.host), *self._pages.names)
        door.hosts = door.hosts.with_names(names)
        self._doors.append(door)

    def to_video(self, served: Served, channel: MessageChannel) -> list[dict[str, Any]]:
        """Return the candidates for the video, best first; `channel` has the player's mailbox."""
        source = served._resource.source  # noqa: SLF001 - of the same package
        self.of["video"] = source
        path = source.path if isinstance(source, FileSource) else ""
        found = find_routes(
            self._host, served.url, endpoint=channel.url, path=path, route=self._route
        )
        self._open(served._resource, found)  # noqa: SLF001 - likewise
        self._open(channel.box, found)
        # Jupyter may have another file of this name; its size would tell.
        return [{**_candidate(road), "size_bytes": served.size_bytes} for road in found]

    def to_companion(self, served: Served, name: str) -> list[dict[str, Any]]:
        """Return the candidates for a poster or subtitles; the page takes the video's road."""
        self.of[name] = served._resource.source  # noqa: SLF001 - likewise
        # It lies in a folder of ours, below no root; but the kernel can hand it out.
        found = find_routes(self._host, served.url, path=served.url, route=self._route)
        self._open(served._resource, found)  # noqa: SLF001 - likewise
        return [{**_candidate(road), "of": name} for road in found if road.route != "files"]


def _candidate(route: Route) -> dict[str, Any]:
    """Return a route as player.js reads it; `box` is the URL of its message endpoint."""
    return {"route": route.route, "url": route.url, "box": route.endpoint, "needs": route.needs}


def readable(name: str) -> str:
    """Return a file name as text that can be sent; undecodable bytes in it become `?`."""
    return name.encode("utf-8", "replace").decode("utf-8")


def serve_video(source: StrPath | Served | DownloadResult, made: ExitStack) -> Served:
    """Return the served `source`; one that is served here ends with `made`."""
    if isinstance(source, Served):
        return source
    return _serve(source.path if isinstance(source, DownloadResult) else source, made)


def serve_poster(poster: StrPath | None, ways: Routes, made: ExitStack) -> list[dict[str, Any]]:
    """Return the roads to the poster, an image file or a short URL; none where there is none."""
    if poster is None:
        return []
    if isinstance(poster, str) and poster.startswith(("http://", "https://", "data:image/")):
        if len(poster) >= MOST_CHARS:
            raise ValueError(
                f"the poster's URL is {len(poster)} characters long and would be kept in the "
                f"notebook: pass an image file, or a URL under {MOST_CHARS} characters"
            )
        return [_candidate(Route("given", poster))]
    served = _serve(poster, made)
    if not served.media_type.startswith("image/"):
        raise ServeError(f"The poster {poster} is no image: give a JPEG, PNG, GIF, WebP or AVIF.")
    return ways.to_companion(served, "poster")


def serve_tracks(
    subtitles: StrPath | Mapping[str, StrPath] | None, ways: Routes, made: ExitStack
) -> list[dict[str, Any]]:
    """Return label, language tag and roads of each subtitle track, converted to WebVTT."""
    if subtitles is None:
        return []
    by_name = subtitles if isinstance(subtitles, Mapping) else {"Subtitles": subtitles}
    tracks: list[dict[str, Any]] = []
    for name, source in by_name.items():
        served = _serve(made.enter_context(_private_file(_webvtt(source))), made)
        lang = language_tag(name)
        # A language needs no label: the browser knows its name in the reader's own language.
        urls = ways.to_companion(served, f"track-{len(tracks)}")
        tracks.append({"label": "" if lang else name, "lang": lang or "", "urls": urls})
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
