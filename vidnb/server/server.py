"""The range server of this process: `serve` serves a file or a download under an unguessable URL.

It starts at first use, on a thread and an event loop of its own, and listens on 127.0.0.1; another
address gets a second server with files of its own. A forked child has no server until it serves
something itself; at the end of the process everything is closed.
"""

import asyncio
import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Final, Self

from vidnb.download.planner.progress import format_bytes
from vidnb.download.stream import Stream, is_url
from vidnb.errors import ServeError
from vidnb.http.allowed_hosts import LOOPBACK, parse_allowed_hosts, url_host
from vidnb.io import loop
from vidnb.io.proxy import own_ports
from vidnb.io.regular_file import StrPath, expand_user
from vidnb.media.playlist import PLAYLIST_NAME
from vidnb.server.app import App
from vidnb.server.growing_source import GrowingSource
from vidnb.server.partial_source import PartialSource
from vidnb.server.protocol import HttpConnection
from vidnb.server.registry import FileResource, Registry, Resource
from vidnb.server.source_file import SourceFile
from vidnb.server.sources import FileSource, Source

__all__ = [
    "Closable",
    "Served",
    "Server",
    "register",
    "release",
    "running_server",
    "serve",
    "start_server",
]

CLOSE_S: Final = 2.0
"""How long `close` waits until the responses that it cancelled have ended."""


class Server:
    """One listening socket with its resources and connections."""

    def __init__(self, listener: socket.socket, host: str) -> None:
        self.registry = Registry()
        self.host = host
        self.port: int = listener.getsockname()[1]
        self.app = App(self.registry)
        self._listener = listener
        self._accepting: asyncio.Server | None = None

    def address(self, allowed_hosts: Collection[str]) -> str:
        """Return the start of its URLs, with a host that a browser can connect to."""
        return f"http://{url_host(self.host, allowed_hosts)}:{self.port}"

    async def start(self) -> None:
        """Accept connections, on the server's loop, until the process ends."""
        self._accepting = await asyncio.get_running_loop().create_server(
            partial(HttpConnection, self.app), sock=self._listener, backlog=256
        )
        loop.server.at_exit(self.stop)

    async def stop(self) -> None:
        """Close the socket, every connection and every file."""
        if self._accepting is not None:
            self._accepting.close()
        self.app.close()
        await asyncio.sleep(0)  # lost connections cancel their responses
        for resource in self.registry.resources():
            resource.end()

    def descriptors(self) -> list[int]:
        """Return the descriptors of all its sockets."""
        sockets = [one.transport.get_extra_info("socket") for one in self.app.connections]
        return [found for sock in (self._listener, *sockets) if (found := sock.fileno()) >= 0]


@dataclass
class _Process:
    """The servers of this process, by the host that they listen on."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    servers: dict[str, Server] = field(default_factory=dict)

    def forget(self) -> None:
        """In a forked child: release the parent's sockets; a new server starts at need."""
        self.lock = threading.Lock()
        servers, self.servers = self.servers, {}
        for server in servers.values():
            loop.detach(server.descriptors())


def _this_process() -> _Process:
    made = _Process()
    getattr(os, "register_at_fork", dict)(after_in_child=made.forget)
    return made


# Kept over importlib.reload and %autoreload, which would otherwise start a second server.
_process: _Process = globals().get("_process") or _this_process()


class Closable:
    """Something that is served, until `close()`, the end of its `with` block or of the process."""

    __slots__ = ()
    _resource: Resource
    _server: Server

    def close(self) -> None:
        """Stop serving it: its URLs are free at once, running responses are cancelled.

        Without effect if it was closed before, and in a forked child for what its parent serves.
        """
        release(self._server, self._resource)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Served(Closable):
    """A file that is being served, until `close()`, the end of its `with` block or of the process.

    `url` is the URL of the file and `page_url` that of a small page with a player, for a browser
    tab; each holds a secret of 192 bits. `playlist_url` is for other players. `size_bytes` is the
    size (B) when it was registered, `port` the server's. Nothing here raises an error; a file that
    was removed is a 404 (RFC 9110 section 15.5.5) until it exists again.
    """

    url: str
    page_url: str
    name: str
    size_bytes: int
    media_type: str
    port: int
    _resource: FileResource
    _server: Server

    @property
    def answered(self) -> Mapping[int, int]:
        """The number of responses so far, by HTTP status."""
        return dict(self._resource.answered)

    @property
    def playlist_url(self) -> str:
        """The URL of the video as an HLS playlist (RFC 8216), which VLC, mpv and ffmpeg open.

        The file is copied into segments that every browser can read, or its pictures and sound are
        encoded again where they must be: H.264 and AAC. A segment is made when it is requested.
        Needs the extra `media`.
        """
        return f"{self.url.rpartition('/')[0]}/{PLAYLIST_NAME}"

    @property
    def path(self) -> Path | None:
        """The local file, symbolic links resolved; None while it is being downloaded."""
        source = self._resource.source
        return Path(source.path) if isinstance(source, FileSource) else None

    @property
    def growing(self) -> str:
        """How far its encoding is while there is no file, as a clause; empty if there is one."""
        source = self._resource.source
        return source.state() if isinstance(source, GrowingSource) else ""

    def open_bytes(self, *, waits: bool = True) -> SourceFile:
        """Return a binary file object over the same bytes, also while they are downloaded.

        Without `waits` it reads only what is stored.
        """
        return SourceFile(self._resource.source, waits=waits)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"<Served {self.name!r} at {self.url}>"

    def _repr_html_(self) -> str:
        """Show a link in a notebook, not the file."""
        return (
            f'<a href="{escape(self.page_url)}" target="_blank" rel="noopener noreferrer">'
            f"{escape(self.name)}</a> ({format_bytes(self.size_bytes)})"
        )


def release(server: Server, *resources: Resource) -> None:
    """Free the tokens of `resources` at once and cancel the responses that run. From any thread."""
    for resource in resources:
        server.registry.remove(resource)
    if server not in _process.servers.values():  # the parent's, and this is a forked child
        return
    if loop.server.is_current:
        for resource in resources:
            resource.end()
        return
    with suppress(RuntimeError, TimeoutError):  # at the end of the process all has ended
        loop.server.run(_end(resources), timeout_s=CLOSE_S)


async def _end(resources: Collection[Resource]) -> None:
    ending = [task for resource in resources for task in resource.end()]
    await asyncio.gather(*ending, return_exceptions=True)


def start_server(port: int = 0, host: str = LOOPBACK) -> int:
    """Start this process's server on `host` if it does not run yet, and return its port.

    `port` 0 is any free one, or on 127.0.0.1 the one in the environment variable `VIDNB_PORT`.
    `ServeError` where the port is in use, or the server already runs on another one.
    """
    return running_server(port, host).port


def register(
    make: Callable[[], tuple[Source, int]],
    *,
    max_partial_bytes: int | None = None,
    host: str = LOOPBACK,
    allowed_hosts: Collection[str] = (),
) -> Served:
    """Serve the source, of so many bytes, that `make` returns; see `serve`."""
    if max_partial_bytes is not None and max_partial_bytes < 1:
        raise ValueError(f"max_partial_bytes must be at least 1 B, not {max_partial_bytes}")
    names = parse_allowed_hosts(host, allowed_hosts)
    source, size_bytes = make()
    try:
        server = running_server(host=host)
    except BaseException:
        source.close()  # it was not requested yet, so this may be done on any thread
        raise
    resource = FileResource(source, max_partial_bytes, names)
    server.registry.add(resource)
    root = server.address(allowed_hosts)
    return Served(
        url=f"{root}/{resource.path}",
        page_url=f"{root}/{resource.page_token}/",
        name=source.name,
        size_bytes=size_bytes,
        media_type=source.media_type,
        port=server.port,
        _resource=resource,
        _server=server,
    )


def serve(
    path: StrPath,
    *,
    max_partial_bytes: int | None = None,
    host: str = LOOPBACK,
    allowed_hosts: Collection[str] = (),
) -> Served:
    """Serve one regular file on 127.0.0.1 under a URL that cannot be guessed.

    `path` may be an http(s) URL too: the file is downloaded into the user's cache while it is
    served; a response waits for bytes that are not stored yet. Raises what `vidnb.download` raises
    where that fails before the size is known; later the connections close. Closing stops the
    download.

    Ranges, conditions and validators follow RFC 9110. `max_partial_bytes` (B) limits each 206 for a
    single range, for proxies that buffer a response before they send it on; a 200 stays whole.
    Browsers request the rest, ffmpeg does not. A file that replaces this one is served from then
    on; serving it twice makes two URLs.

    `host` is an address or a name of this machine. The connection is not encrypted, and the secret
    URL is the only access control. Requests are accepted under `host`, any IP address, loopback's
    names and `allowed_hosts`, such as a reverse proxy's; with `host="0.0.0.0"` or `"::"` the first
    of these, or else loopback, is the host of the URL. Other names get the 404 of a wrong URL.

    `ServeError` where the path is missing, unreadable or no regular file, or the server cannot
    start; `ValueError` for a limit below 1 B and for an invalid `host` or name.
    """

    def make() -> tuple[Source, int]:
        if is_url(path):
            stream = Stream(path)
            return PartialSource(stream), stream.wait_for_size()
        source = FileSource(expand_user(path))
        return source, source.size_bytes

    return register(
        make, max_partial_bytes=max_partial_bytes, host=host, allowed_hosts=allowed_hosts
    )


def running_server(port: int = 0, host: str = LOOPBACK) -> Server:
    """Return this process's server on `host`, started if it is not running; see `start_server`."""
    with _process.lock:
        server = _process.servers.get(host)
        if server is None:
            wanted = port or (_port_of_environment() if host == LOOPBACK else 0)
            server = _process.servers[host] = _started(wanted, host)
        elif port not in {0, server.port}:
            raise ServeError(
                f"The server already runs on port {server.port} of {host}, so it "
                f"cannot run on {port}; set the port before anything is served."
            )
        return server


def _port_of_environment() -> int:
    value = os.environ.get("VIDNB_PORT", "0")
    if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 65535:
        return int(value)
    raise ServeError(
        f"VIDNB_PORT is {value!r}, which is no port number, so no server was started; "
        "set it to a number from 1 to 65535, or unset it to get a free port."
    )


def _started(port: int, host: str = LOOPBACK) -> Server:
    name = host.removeprefix("[").removesuffix("]")
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:  # the latter: a label that no resolver takes
        is_unknown = isinstance(error, (socket.gaierror, UnicodeError))
        number = 0 if is_unknown else getattr(error, "errno", 0) or 0
        # The text of the error itself would repeat the address.
        reason = "the host is unknown" if is_unknown else os.strerror(number).lower()
        remedy = "give an address of this machine, or leave the host out"
        if number in {errno.EADDRINUSE, errno.EACCES}:
            remedy = "choose another port, or leave it out to get a free one"
        wanted = f"port {port}" if port else "a free port"
        raise ServeError(
            f"The server could not listen on {wanted} of {host} ({reason}), so nothing is served; "
            f"{remedy}."
        ) from error
    server = Server(listener, host)
    try:
        loop.server.run(server.start())
    except BaseException:
        listener.close()
        raise
    own_ports.add(server.port)
    return server
