"""The range server of this process: `serve(path)` puts one file behind an unguessable address.

It starts at first use, on a thread and a loop of its own, and listens on 127.0.0.1 alone. A forked
child has none until it serves something itself; the process's end leaves nothing behind.
"""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from types import TracebackType
from typing import Final, Self

from vidnb.core.progress import format_bytes
from vidnb.engine.answering import Entry, Registry, WebServer
from vidnb.engine.data import StrPath
from vidnb.engine.sources import FileSource
from vidnb.errors import ServeError
from vidnb.io import loop

__all__ = ["Served", "serve", "start_server"]

CLOSE_S: Final = 2.0
"""How long `close` waits for the answers it cut off to be gone."""


class _Server:
    """The listening socket and what is behind it."""

    def __init__(self, listener: socket.socket) -> None:
        self.registry = Registry()
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._web: WebServer | None = None
        self._accepting: asyncio.Server | None = None

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
        for entry in self.registry.entries():
            entry.end()

    def descriptors(self) -> list[int]:
        """Return the descriptors of all its sockets."""
        transports = self._web.transports.values() if self._web is not None else ()
        sockets = [transport.get_extra_info("socket") for transport in transports]
        return [found for sock in (self._listener, *sockets) if (found := sock.fileno()) >= 0]


@dataclass
class _Process:
    """What this process serves."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    server: _Server | None = None

    def forget(self) -> None:
        """In a forked child: the parent's server is the parent's."""
        self.lock = threading.Lock()
        server, self.server = self.server, None
        if server is not None:
            loop.let_go(server.descriptors())


def _this_process() -> _Process:
    made = _Process()
    getattr(os, "register_at_fork", dict)(after_in_child=made.forget)
    return made


# Kept over importlib.reload and %autoreload, which would otherwise leave a second server behind.
_process: _Process = globals().get("_process") or _this_process()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Served:
    """A file that is being served, until `close()` or the end of the process.

    `url` is the file's address and `page_url` that of a small page with a player, for a browser
    tab; each holds a secret of 192 bits. `size_bytes` is the size (B) when it was registered,
    `port` the server's on 127.0.0.1. As a context manager it closes at the end of the block.
    Nothing here raises an error; a file that is gone by the time it is asked for is a 404 to the
    browser (RFC 9110 section 15.5.5) until it is back.
    """

    url: str
    page_url: str
    name: str
    size_bytes: int
    media_type: str
    port: int
    _entry: Entry
    _server: _Server

    @property
    def answered(self) -> Mapping[int, int]:
        """How many answers were given so far, by HTTP status; for tests and curiosity."""
        return dict(self._entry.answered)

    def close(self) -> None:
        """Stop serving the file: the address is free at once, answers that run are cut off.

        A second time does nothing, and so does a forked child for its parent's file.
        """
        self._server.registry.remove(self._entry)
        if _process.server is not self._server:
            return
        if loop.server.is_current:
            self._entry.end()
            return
        with suppress(RuntimeError, TimeoutError):  # at the end of the process all has ended
            loop.server.run(_end(self._entry), timeout_s=CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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


def start_server(port: int = 0) -> int:
    """Start this process's server if it does not run yet, and return its port on 127.0.0.1.

    `port` 0 takes the one in the environment's `VIDNB_PORT`, else any that is free. `ServeError`
    where the asked port is taken, or the server already runs on another.
    """
    return _running(port).port


def serve(path: StrPath, *, max_partial_bytes: int | None = None) -> Served:
    """Serve one regular file on 127.0.0.1 under an address that nobody can guess.

    Ranges, conditions and validators are answered as RFC 9110 says. `max_partial_bytes` (B) cuts
    each answer to a single range (206), for readers in between that collect an answer before they
    pass it on; a plain 200 stays whole. The file is found anew at each request, so one that is
    replaced is served anew; serving it twice makes two addresses. `ServeError` where the path is
    missing, unreadable or no regular file, or the server cannot start; `ValueError` for a cap
    below 1 B.
    """
    if max_partial_bytes is not None and max_partial_bytes < 1:
        raise ValueError(f"max_partial_bytes must be at least 1 B, not {max_partial_bytes}")
    source = FileSource(path)
    server = _running()
    entry = Entry(source, source.size_bytes, max_partial_bytes)
    server.registry.add(entry)
    root = f"http://127.0.0.1:{server.port}"
    return Served(
        url=f"{root}/{entry.path}",
        page_url=f"{root}/{entry.page_token}/",
        name=source.name,
        size_bytes=source.size_bytes,
        media_type=source.media_type,
        port=server.port,
        _entry=entry,
        _server=server,
    )


def _running(port: int = 0) -> _Server:
    with _process.lock:
        if _process.server is None:
            _process.server = _started(port or _port_of_environment())
        elif port not in {0, _process.server.port}:
            raise ServeError(
                f"The server already runs on port {_process.server.port} of 127.0.0.1, so it "
                f"cannot run on {port}; ask for the port before anything is served."
            )
        return _process.server


def _port_of_environment() -> int:
    value = os.environ.get("VIDNB_PORT", "0")
    if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 65535:
        return int(value)
    raise ServeError(
        f"VIDNB_PORT is {value!r}, which is no port, so no server was started; "
        "set it to a number from 1 to 65535, or unset it to get a free port."
    )


def _started(port: int) -> _Server:
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        wanted = f"port {port}" if port else "a free port"
        reason = os.strerror(error.errno or 0).lower()  # `strerror` itself would repeat the address
        raise ServeError(
            f"The server could not listen on {wanted} of 127.0.0.1 ({reason}), so nothing "
            "is served; choose another port, or leave it out to get a free one."
        ) from error
    server = _Server(listener)
    try:
        loop.server.run(server.start())
    except BaseException:
        listener.close()
        raise
    return server


async def _end(entry: Entry) -> None:
    await asyncio.gather(*entry.end(), return_exceptions=True)
