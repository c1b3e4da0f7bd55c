"""A folder in a browser tab: one page that lists its videos, each with a page of its own.

The folder is looked through anew whenever its page is loaded. A file keeps its address as long as
it is there; one that is new gets one, one that is gone loses it.
"""

import asyncio
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from secrets import token_urlsafe
from typing import Any, Final

from vidnb.errors import ServeError
from vidnb.http.allowed_hosts import LOOPBACK, AllowedHosts, parse_allowed_hosts
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason
from vidnb.server.listing import by_folder, may_be_video, natural_key
from vidnb.server.pages import page
from vidnb.server.registry import FileResource, Registry
from vidnb.server.server import Closable, Server, release, running_server
from vidnb.server.sources import FileSource

__all__ = ["MAX_DEPTH", "MAX_VIDEOS", "ServedFolder", "serve_folder"]

MAX_VIDEOS: Final = 1000
"""So many files are listed, in natural order; the page says that there are more."""

MAX_DEPTH: Final = 4
"""So many folders below the first are looked into."""

MAX_SEEN: Final = 50_000
"""So many names are read: somebody may give the root of a disk."""

_LEFT_OUT: Final = (
    "Not everything in this folder is listed: it holds very many files, or folders below folders. "
    "Serve a folder inside it to see the rest."
)
_STREAM_NAMES: Final = (".ts", ".mts")  # TypeScript's too
_PACKET_BYTES: Final = 188  # of an MPEG transport stream, each with 0x47 first (ISO 13818-1)


@dataclass(frozen=True, slots=True)
class _Found:
    """A video in the folder: its path relative to it, with "/", where it lies, its size (B)."""

    relative: str
    path: str
    size_bytes: int


@dataclass(eq=False)
class _Walk:
    """One look through a folder; `complete` is false where something was left out."""

    root: str
    seen: int = 0
    complete: bool = True

    def videos(self, folder: str = "", depth: int = 0) -> Iterator[_Found]:
        """Yield the videos of a folder, then those of the folders in it.

        Hidden names are left out. A link counts where it leads to a file inside the root; links to
        folders are not followed, so nothing is found twice, in a circle or outside.
        """
        below: list[str] = []
        for entry in self._entries(folder):
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append(relative)
            elif may_be_video(entry.name) and (found := self._video(entry, relative)):
                yield found
        for relative in below:
            if depth == MAX_DEPTH:
                self.complete = False
                return
            yield from self.videos(relative, depth + 1)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as listed:  # noqa: PTH118 - as scandir wants it
                for entry in listed:
                    self.seen += 1
                    if self.seen > MAX_SEEN:
                        self.complete = False
                        break
                    if not entry.name.startswith("."):
                        entries.append(entry)
        except OSError:
            if not folder:
                raise
            self.complete = False  # a folder that this user may not read
        return sorted(entries, key=lambda entry: natural_key(entry.name))

    def _video(self, entry: os.DirEntry[str], relative: str) -> _Found | None:
        try:
            status = entry.stat()  # what a link leads to
            if not stat.S_ISREG(status.st_mode) or not self.holds(os.path.realpath(entry.path)):
                return None
            if entry.name.lower().endswith(_STREAM_NAMES) and not _is_stream(entry.path):
                return None
        except (OSError, ValueError):  # gone meanwhile, or it leads nowhere
            return None
        return _Found(relative, entry.path, status.st_size)

    def holds(self, real_path: str) -> bool:
        """Tell whether a resolved path lies inside the folder."""
        return PurePath(real_path).is_relative_to(self.root)


def _is_stream(path: str) -> bool:
    descriptor, _ = open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        first = file.read(_PACKET_BYTES + 1)
    return first[:1] == first[_PACKET_BYTES:] == b"G"


@dataclass(eq=False, slots=True)
class _Folder:
    """The page of a folder, and the entries that it made; on the server's loop."""

    root: str
    registry: Registry
    hosts: AllowedHosts
    page_token: str = field(default_factory=lambda: token_urlsafe(24))
    entries: dict[str, FileResource] = field(default_factory=dict)
    closed: bool = False
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The page's token, which opens nothing but the page."""
        return (self.page_token,)

    async def page(self) -> page.HtmlPage:
        """Return the list of what the folder holds now; `OSError` where the folder is gone."""
        async with self.looking:
            walk, found = await asyncio.to_thread(self._look)
            for relative in self.entries.keys() - {each.relative for each, _ in found}:
                entry = self.entries.pop(relative)
                self.registry.remove(entry)
                entry.end()
        if self.closed:  # while it was looked through
            self.end()
        items = [
            (
                each.relative,
                page.FolderItem(PurePath(each.relative).name, *_urls(entry), each.size_bytes),
            )
            for each, entry in found
        ]
        title = PurePath(self.root).name or self.root
        return page.index(title, by_folder(items), "" if walk.complete else _LEFT_OUT)

    def _look(self) -> tuple[_Walk, list[tuple[_Found, FileResource]]]:
        """Look the folder through, and register what is new. In a worker; one at a time."""
        walk = _Walk(self.root)
        walked = walk.videos()
        found = list(islice(walked, MAX_VIDEOS))
        if next(walked, None) is not None:
            walk.complete = False
        return walk, [(each, entry) for each in found if (entry := self._entry(each, walk))]

    def _entry(self, found: _Found, walk: _Walk) -> FileResource | None:
        known = self.entries.get(found.relative)
        if known is not None:
            return known
        try:
            source = FileSource(found.path)
        except ServeError:  # unreadable, or gone meanwhile
            return None
        if not walk.holds(source.path):  # a link that was turned elsewhere meanwhile
            return None
        entry = FileResource(source, source.size_bytes, None, self.hosts, f"../{self.page_token}/")
        self.entries[found.relative] = entry
        self.registry.add(entry)
        return entry

    def end(self) -> set[asyncio.Task[Any]]:
        """Free every file's tokens too, and cut off the answers that run."""
        self.closed = True
        running: set[asyncio.Task[Any]] = set()
        for entry in tuple(self.entries.values()):
            self.registry.remove(entry)
            running |= entry.end()
        return running


def _urls(entry: FileResource) -> tuple[str, str]:
    """Return where a file and its page are, seen from the folder's page."""
    return f"../{entry.path}", f"../{entry.page_token}/"


@dataclass(frozen=True, slots=True, eq=False)
class ServedFolder(Closable):
    """A folder whose videos are being served, until `close()` or the end of the process.

    `page_url` is the address of its list; it holds a secret of 192 bits, and so does each video's.
    """

    page_url: str
    port: int
    _folder: _Folder
    _server: Server

    def close(self) -> None:
        """Free the addresses of the list and of all its videos at once."""
        release(self._server, self._folder)


def serve_folder(
    path: StrPath, *, host: str = LOOPBACK, allowed_hosts: Collection[str] = ()
) -> ServedFolder:
    """Serve the videos of a folder, and of folders in it, from one page.

    `host` and `allowed_hosts` are those of `serve`. `ServeError` where the folder is missing or
    unreadable or the server cannot start, `ValueError` for a `host` or a name that is none.
    """
    names = parse_allowed_hosts(host, allowed_hosts)
    try:
        root = os.path.realpath(path, strict=True)
        with os.scandir(root):
            pass  # it opens
    except (OSError, ValueError) as error:
        raise ServeError(
            f"{os.fspath(path)!r} cannot be served: {os_error_reason(error)}."
        ) from error
    server = running_server(host=host)
    folder = _Folder(root, server.registry, names)
    server.registry.add(folder)
    page_url = f"{server.address(allowed_hosts)}/{folder.page_token}/"
    return ServedFolder(page_url, server.port, folder, server)
