"""The range server of this process: `register` puts one source behind an unguessable address.

It starts at first use, on a thread and a loop of its own, and listens on 127.0.0.1 alone; a caller
who asks for another address gets a listener beside it, with files of its own. A forked child has
none until it serves something itself; the process's end leaves nothing behind.
"""

import asyncio
import errno
import os
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from types import TracebackType
from typing import Final, Self

from vidnb.download.planner.progress import format_bytes
from vidnb.errors import ServeError
from vidnb.http.allowed_hosts import LOOPBACK, parse_allowed_hosts, url_host
from vidnb.io import loop
from vidnb.server.app import WebServer
from vidnb.server.registry import FileResource, Registry, Resource
from vidnb.server.sources import Source

__all__ = ["Closable", "Served", "Server", "register", "release", "running_server", "start_server"]

CLOSE_S: Final = 2.0
"""How long `close` waits for the answers it cut off to be gone."""


class Server:
    """One listening socket and what is behind it."""

    def __init__(self, listener: socket.socket, host: str) -> None:
        self.registry = Registry()
        self.host = host
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._web: WebServer | None = None
        self._accepting: asyncio.Server | None = None

    def address(self, allowed_hosts: Collection[str]) -> str:
        """Return the start of its URLs, under a name that a browser can ask for."""
        return f"http://{url_host(self.host, allowed_hosts)}:{self.port}"

    async def start(self) -> None:
        """Accept connections, on the server's loop, until the process ends."""
        self._web = WebServer(self.registry)
        running = asyncio.get_running_loop()
        self._accepting = await running.create_server(self._web, sock=self._listener, backlog=256)
        loop.server.at_exit(self.stop)

    async def stop(self) -> None:
        """Close the socket, every connection and every file."""
        if self._accepting is not None:
            self._accepting.close()
        if self._web is not None:
            for transport in tuple(self._web.transports.values()):
                transport.abort()
            await asyncio.sleep(0)
            await self._web.shutdown(timeout=0.5)
        for place in self.registry.places():
            place.end()

    def descriptors(self) -> list[int]:
        """Return the descriptors of all its sockets."""
        transports = self._web.transports.values() if self._web is not None else ()
        sockets = [transport.get_extra_info("socket") for transport in transports]
        return [found for sock in (self._listener, *sockets) if (found := sock.fileno()) >= 0]


@dataclass
class _Process:
    """The servers of this process, by the host they were asked to listen on."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    servers: dict[str, Server] = field(default_factory=dict)

    def forget(self) -> None:
        """In a forked child: the parent's servers are the parent's."""
        self.lock = threading.Lock()
        servers, self.servers = self.servers, {}
        for server in servers.values():
            loop.let_go(server.descriptors())


def _this_process() -> _Process:
    made = _Process()
    getattr(os, "register_at_fork", dict)(after_in_child=made.forget)
    return made


# Kept over importlib.reload and %autoreload, which would otherwise leave a second server behind.
_process: _Process = globals().get("_process") or _this_process()


class Closable(ABC):
    """Something that is being served: closes at the end of a `with` block."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Free its addresses."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Served(Closable):
    """A file that is being served, until `close()` or the end of the process.

    `url` is the file's address and `page_url` that of a small page with a player, for a browser
    tab; each holds a secret of 192 bits. `size_bytes` is the size (B) when it was registered,
    `port` the server's. As a context manager it closes at the end of the block.
    Nothing here raises an error; a file that is gone by the time it is asked for is a 404 to the
    browser (RFC 9110 section 15.5.5) until it is back.
    """

    url: str
    page_url: str
    name: str
    size_bytes: int
    media_type: str
    port: int
    _entry: FileResource
    _server: Server

    @property
    def answered(self) -> Mapping[int, int]:
        """How many answers were given so far, by HTTP status; for tests and curiosity."""
        return dict(self._entry.answered)

    def close(self) -> None:
        """Stop serving the file: the address is free at once, answers that run are cut off.

        A second time does nothing, and so does a forked child for its parent's file.
        """
        release(self._server, self._entry)

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


def release(server: Server, *places: Resource) -> None:
    """Free the tokens of `places` at once, and cut off the answers that run. From any thread."""
    for place in places:
        server.registry.remove(place)
    if server not in _process.servers.values():  # a forked child's parent's
        return
    if loop.server.is_current:
        for place in places:
            place.end()
        return
    with suppress(RuntimeError, TimeoutError):  # at the end of the process all has ended
        loop.server.run(_end(places), timeout_s=CLOSE_S)


def start_server(port: int = 0, host: str = LOOPBACK) -> int:
    """Start this process's server on `host` if it does not run yet, and return its port.

    `port` 0 takes any that is free, and on 127.0.0.1 the one in the environment's `VIDNB_PORT`
    before that. `ServeError` where the asked port is taken, or the server already runs on another.
    """
    return running_server(port, host).port


def register(
    make: Callable[[], tuple[Source, int]],
    *,
    max_partial_bytes: int | None = None,
    host: str = LOOPBACK,
    allowed_hosts: Collection[str] = (),
) -> Served:
    """Serve a source of so many bytes, made once the rest is known to be right; see `serve`."""
    if max_partial_bytes is not None and max_partial_bytes < 1:
        raise ValueError(f"max_partial_bytes must be at least 1 B, not {max_partial_bytes}")
    names = parse_allowed_hosts(host, allowed_hosts)
    source, size_bytes = make()
    try:
        server = running_server(host=host)
    except BaseException:
        source.close()  # nobody has asked for it yet, so there is no loop of its own to be on
        raise
    entry = FileResource(source, size_bytes, max_partial_bytes, names)
    server.registry.add(entry)
    root = server.address(allowed_hosts)
    return Served(
        url=f"{root}/{entry.path}",
        page_url=f"{root}/{entry.page_token}/",
        name=source.name,
        size_bytes=size_bytes,
        media_type=source.media_type,
        port=server.port,
        _entry=entry,
        _server=server,
    )


def running_server(port: int = 0, host: str = LOOPBACK) -> Server:
    """Return this process's server on `host`, started if it does not run; see `start_server`."""
    with _process.lock:
        server = _process.servers.get(host)
        if server is None:
            wanted = port or (_port_of_environment() if host == LOOPBACK else 0)
            server = _process.servers[host] = _started(wanted, host)
        elif port not in {0, server.port}:
            raise ServeError(
                f"The server already runs on port {server.port} of {host}, so it "
                f"cannot run on {port}; ask for the port before anything is served."
            )
        return server


def _port_of_environment() -> int:
    value = os.environ.get("VIDNB_PORT", "0")
    if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 65535:
        return int(value)
    raise ServeError(
        f"VIDNB_PORT is {value!r}, which is no port, so no server was started; "
        "set it to a number from 1 to 65535, or unset it to get a free port."
    )


def _started(port: int, host: str = LOOPBACK) -> Server:
    try:
        listener = _listening(port, host)
    except (OSError, UnicodeError) as error:  # the latter: a label that no resolver takes
        wanted = f"port {port}" if port else "a free port"
        raise ServeError(
            f"The server could not listen on {wanted} of {host} ({_reason(error)}), so nothing "
            f"is served; {_remedy(error)}."
        ) from error
    server = Server(listener, host)
    try:
        loop.server.run(server.start())
    except BaseException:
        listener.close()
        raise
    return server


def _listening(port: int, host: str) -> socket.socket:
    name = host.removeprefix("[").removesuffix("]")
    family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address, family=family)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError):
        return "no such host is known"
    return os.strerror(error.errno or 0).lower()  # `strerror` itself would repeat the address


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in {errno.EADDRINUSE, errno.EACCES}:
        return "choose another port, or leave it out to get a free one"
    return "give an address of this machine, or leave the host out"


async def _end(places: Collection[Resource]) -> None:
    ending = [task for place in places for task in place.end()]
    await asyncio.gather(*ending, return_exceptions=True)
