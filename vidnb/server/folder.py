"""A folder in a browser tab: one page that lists its videos, each with a page of its own.

The folder is scanned whenever its page is loaded. A file keeps its URL until it is removed.
"""

import asyncio
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from secrets import token_urlsafe
from typing import Any, Final, NamedTuple

from vidnb.errors import ServeError
from vidnb.http.allowed_hosts import LOOPBACK, AllowedHosts, parse_allowed_hosts
from vidnb.io.regular_file import StrPath, open_regular, os_error_reason
from vidnb.server.listing import by_folder, may_be_video, natural_key
from vidnb.server.pages import page
from vidnb.server.registry import FileResource, Registry
from vidnb.server.server import Closable, Server, running_server
from vidnb.server.sources import FileSource

__all__ = ["MAX_DEPTH", "MAX_VIDEOS", "ServedFolder", "serve_folder"]

MAX_VIDEOS: Final = 1000
"""The limit of listed files; the page says that there are more."""

MAX_DEPTH: Final = 4
"""The limit of levels of folders below the first."""

MAX_SEEN: Final = 50_000
"""The limit of names that are read, in case the folder is the root of a disk."""

_LEFT_OUT: Final = (
    "Not everything in this folder is listed: it holds very many files, or folders below folders. "
    "Serve a folder inside it to see the rest."
)
_STREAM_NAMES: Final = (".ts", ".mts")  # TypeScript's too
_PACKET_BYTES: Final = 188  # of an MPEG transport stream, each with 0x47 first (ISO 13818-1)


class _Found(NamedTuple):
    """A video in the folder: its path relative to it (with "/"), its path, its size (B)."""

    relative: str
    path: str
    size_bytes: int


@dataclass(eq=False)
class _Walk:
    """One scan of a folder; `complete` is false where something was left out."""

    root: str
    seen: int = 0
    complete: bool = True

    def videos(self, folder: str = "", depth: int = 0) -> Iterator[_Found]:
        """Yield the videos of a folder, then those of the folders in it, without hidden names.

        A link counts if its target is a file inside the root; links to folders are not followed.
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
            status = entry.stat()  # of a link's target
            if not stat.S_ISREG(status.st_mode) or not self.holds(os.path.realpath(entry.path)):
                return None
            if not entry.name.lower().endswith(_STREAM_NAMES) or _is_stream(entry.path):
                return _Found(relative, entry.path, status.st_size)
        except (OSError, ValueError):  # removed meanwhile, or a dangling link
            pass
        return None

    def holds(self, real_path: str) -> bool:
        """Return whether a resolved path is inside the folder."""
        return PurePath(real_path).is_relative_to(self.root)


def _is_stream(path: str) -> bool:
    descriptor, _ = open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        first = file.read(_PACKET_BYTES + 1)
    return first[:1] == first[_PACKET_BYTES:] == b"G"


@dataclass(eq=False, slots=True)
class FolderResource:
    """The page of a folder, and the resources of its files; on the server's loop."""

    root: str
    registry: Registry
    hosts: AllowedHosts
    page_token: str = field(default_factory=lambda: token_urlsafe(24))
    files: dict[str, FileResource] = field(default_factory=dict)
    closed: bool = False
    scanning: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The page's token, which opens nothing but the page."""
        return (self.page_token,)

    async def page(self) -> page.HtmlPage:
        """Return the list of the folder's present files; `OSError` where the folder is gone."""
        async with self.scanning:
            walk, found = await asyncio.to_thread(self._scan)
            for relative in self.files.keys() - {each.relative for each, _ in found}:
                file = self.files.pop(relative)
                self.registry.remove(file)
                file.end()
        if self.closed:  # while it was scanned
            self.end()
        items = []
        for each, file in found:
            name, own_page = PurePath(each.relative).name, f"../{file.page_token}/"
            item = page.FolderItem(name, f"../{file.path}", own_page, each.size_bytes)
            items.append((each.relative, item))
        title = PurePath(self.root).name or self.root
        return page.index(title, by_folder(items), "" if walk.complete else _LEFT_OUT)

    def _scan(self) -> tuple[_Walk, list[tuple[_Found, FileResource]]]:
        """Scan the folder and register the files that are new. In a thread; one at a time."""
        walk = _Walk(self.root)
        walked = walk.videos()
        found = list(islice(walked, MAX_VIDEOS))
        if next(walked, None) is not None:
            walk.complete = False
        return walk, [(each, file) for each in found if (file := self._file(each, walk))]

    def _file(self, found: _Found, walk: _Walk) -> FileResource | None:
        if found.relative in self.files:
            return self.files[found.relative]
        try:
            source = FileSource(found.path)
        except ServeError:  # unreadable, or removed meanwhile
            return None
        if not walk.holds(source.path):  # a link whose target was changed meanwhile
            return None
        file = FileResource(source, None, self.hosts, f"../{self.page_token}/")
        self.files[found.relative] = file
        self.registry.add(file)
        return file

    def end(self) -> set[asyncio.Task[Any]]:
        """Free every file's tokens too, and cancel the responses that run."""
        self.closed = True
        running: set[asyncio.Task[Any]] = set()
        for file in tuple(self.files.values()):
            self.registry.remove(file)
            running |= file.end()
        return running


@dataclass(frozen=True, slots=True, eq=False)
class ServedFolder(Closable):
    """A folder whose videos are being served.

    `page_url` is the URL of its list; it holds a secret of 192 bits, and so does each video's.
    """

    page_url: str
    port: int
    _resource: FolderResource
    _server: Server


def serve_folder(
    path: StrPath, *, host: str = LOOPBACK, allowed_hosts: Collection[str] = ()
) -> ServedFolder:
    """Serve the videos of a folder, and of folders in it, from one page.

    `host` and `allowed_hosts` are those of `serve`. `ServeError` where the folder is missing or
    unreadable or the server cannot start, `ValueError` for an invalid `host` or name.
    """
    names = parse_allowed_hosts(host, allowed_hosts)
    try:
        root = os.path.realpath(path, strict=True)
        os.scandir(root).close()  # an error if it cannot be read
    except (OSError, ValueError) as error:
        reason = os_error_reason(error)
        raise ServeError(f"{os.fspath(path)!r} cannot be served: {reason}.") from error
    server = running_server(host=host)
    folder = FolderResource(root, server.registry, names)
    server.registry.add(folder)
    page_url = f"{server.address(allowed_hosts)}/{folder.page_token}/"
    return ServedFolder(page_url, server.port, folder, server)
