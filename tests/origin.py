"""A scripted HTTP origin on loopback: correct by default, with a handler for every fault.

It uses raw sockets and one thread per connection, because no HTTP library sends malformed chunks,
wrong lengths, resets, silence, or a byte at a time. Each request takes the next handler of the
script; after the script `otherwise` answers, by default as `vidnb.http.range_response` does. A
handler gets an `Exchange` and may send anything.

    with Origin(Film(data), [reset(after=1000), honest]) as origin:
        download(origin.url)

`requests` has the received requests and the number of body bytes sent for each.
"""

import contextlib
import fcntl
import os
import socket
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import vidnb
from tests.deadline import DEADLINE_S, wait_until
from vidnb.download.part_file import PartFile
from vidnb.download.planner.journal import Journal
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.status import DownloadHandle
from vidnb.http.headers import fold_headers, parse_etag
from vidnb.http.range_response import RangeResponse, build_response
from vidnb.http.ranges import ByteRange
from vidnb.io.loop import transfers

__all__ = [
    "Exchange",
    "Film",
    "Handler",
    "Origin",
    "ReceivedRequest",
    "chunk",
    "cut",
    "drip",
    "fetch",
    "honest",
    "noise",
    "on",
    "part_of",
    "plain",
    "raw",
    "redirect",
    "reset",
    "spawn",
    "stall",
    "status",
    "stored_journal",
    "visible_names",
]

_PIECE_BYTES = 2**14


def noise(size_bytes: int, seed: int = 1) -> bytes:
    """Return bytes that are not a web page; equal seeds give equal bytes."""
    return b"\x00\xff" * min(1, size_bytes // 2) + Random(seed).randbytes(max(0, size_bytes - 2))


@dataclass(frozen=True, slots=True)
class Film:
    """One version of the source file: its bytes and the headers that describe it."""

    data: bytes
    etag: str | None = '"v1"'
    modified_s: float | None = None
    media_type: str = "video/mp4"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ReceivedRequest:
    """One request, and how many bytes of body were sent for it."""

    target: str
    headers: dict[str, str]
    sent_bytes: int = 0
    is_complete: bool = False
    method: str = "GET"


Handler = Callable[["Exchange"], None]

_OPEN_STATES = frozenset({1, 8})  # TCP_ESTABLISHED, TCP_CLOSE_WAIT (linux/tcp.h)


@dataclass(slots=True)
class Exchange:
    """One request and the connection it came on."""

    origin: "Origin"
    request: ReceivedRequest
    connection: socket.socket
    is_last: bool = False

    @property
    def film(self) -> Film:
        return self.origin.film

    def response(self, *, ignoring: Iterable[str] = (), film: Film | None = None) -> RangeResponse:
        """Return the correct response to the request without the headers in `ignoring`."""
        film = film or self.film
        request = {
            name: value for name, value in self.request.headers.items() if name not in ignoring
        }
        return build_response(
            "GET",
            request,
            len(film.data),
            None if film.etag is None else parse_etag(film.etag),
            film.modified_s,
            now_s=time.time(),
            media_type=film.media_type,
            boundary="boundary",
        )

    def head(self, code: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a response head, valid or not."""
        lines = [f"HTTP/1.1 {code} Whatever", *(f"{name}: {value}" for name, value in headers)]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def respond(
        self,
        response: RangeResponse,
        *,
        film: Film | None = None,
        changed: Mapping[str, str | None] | None = None,
        after: int | None = None,
    ) -> None:
        """Send a response with `changed` headers (None: omitted), up to `after` body bytes."""
        film = film or self.film
        changed = changed or {}
        headers = [
            (n, v) for n, v in (*response.headers, *film.headers) if n.lower() not in changed
        ]
        headers += [(name, value) for name, value in changed.items() if value is not None]
        self.head(response.status, headers)
        body = b"".join(
            piece if isinstance(piece, bytes) else film.data[piece.start : piece.stop]
            for piece in response.body
        )
        self.send(body if after is None else body[:after])

    def send(self, body: bytes, *, piece_bytes: int = _PIECE_BYTES) -> None:
        """Send body bytes at the origin's rate."""
        rest = memoryview(body)
        while rest:
            piece = rest[:piece_bytes]
            # Counted first: the client may have the piece, and the test its result, before this
            # thread runs again.
            self.request.sent_bytes += len(piece)
            self.connection.sendall(piece)
            rest = rest[len(piece) :]
            self.origin.throttle(len(piece))

    def flush(self) -> None:
        """Wait until the client's kernel has received everything, or has closed the connection."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            (state,) = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            if state not in _OPEN_STATES:
                return
            waiting = fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0\0\0\0")
            if struct.unpack("i", waiting) == (0,):
                return
            time.sleep(0.001)

    def close_connection(self) -> None:
        """Close the connection (FIN) after the sent bytes."""
        self.is_last = True

    def reset(self) -> None:
        """Reset the connection (RST) after the sent bytes."""
        self.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_last = True

    def wait_for_close(self) -> None:
        """Send nothing until the client or the origin closes the connection."""
        self.is_last = True
        with contextlib.suppress(OSError):
            self.connection.recv(1)


def honest(exchange: Exchange) -> None:
    """Answer as RFC 9110 requires."""
    exchange.respond(exchange.response())


def plain(exchange: Exchange) -> None:
    """Always answer 200: an origin without ranges and conditional requests."""
    exchange.respond(
        exchange.response(ignoring=exchange.request.headers), changed={"accept-ranges": None}
    )


def cut(after: int) -> Handler:
    """Close the connection (FIN) after `after` bytes of the body."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=after)
        exchange.close_connection()

    return handle


def reset(after: int) -> Handler:
    """Reset the connection (RST) after `after` bytes of the body."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=after)
        exchange.reset()

    return handle


def stall(after: int) -> Handler:
    """Send nothing more after `after` bytes of the body; the connection stays open."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(exchange.response(), after=after)
        exchange.wait_for_close()

    return handle


def drip(piece_bytes: int, pause_s: float = 0.0) -> Handler:
    """Answer correctly, `piece_bytes` at a time."""

    def handle(exchange: Exchange) -> None:
        response = exchange.response()
        exchange.respond(response._replace(body=()))
        exchange.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte_range in response.byte_ranges:
            data = exchange.film.data[byte_range.start : byte_range.stop]
            for at in range(0, len(data), piece_bytes):
                exchange.send(data[at : at + piece_bytes])
                if pause_s:
                    time.sleep(pause_s)

    return handle


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Handler:
    """Answer with this status and body."""

    def handle(exchange: Exchange) -> None:
        exchange.head(code, [("Content-Length", str(len(body))), *(headers or {}).items()])
        exchange.send(body)

    return handle


def redirect(location: str, code: int = 302) -> Handler:
    """Redirect the client to `location`."""
    return status(code, {"Location": location})


def raw(head: str, body: bytes = b"") -> Handler:
    """Send these lines as the head, then this body, then close."""

    def handle(exchange: Exchange) -> None:
        exchange.connection.sendall((head.replace("\n", "\r\n") + "\r\n\r\n").encode("latin-1"))
        exchange.send(body)
        exchange.close_connection()

    return handle


def chunk(data: bytes) -> bytes:
    """Return bytes as one chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def part_of(
    film: Film, byte_range: ByteRange, *, total: int | str | None = None, etag: str | None = None
) -> Handler:
    """Answer 206 with this range, whatever was requested, and the length `total`."""
    total_text = len(film.data) if total is None else total
    body = film.data[byte_range.start : byte_range.stop]
    return status(
        206,
        {
            "Content-Range": f"bytes {byte_range.start}-{byte_range.stop - 1}/{total_text}",
            "ETag": etag or film.etag or "",
            "Content-Type": film.media_type,
        },
        body,
    )


def on(header: str, handler: Handler, otherwise: Handler = honest) -> Handler:
    """Use `handler` where the request has this header."""

    def handle(exchange: Exchange) -> None:
        (handler if header in exchange.request.headers else otherwise)(exchange)

    return handle


@dataclass
class Origin:
    """Serve one `film` under every path.

    `rate`: bytes per second over all connections. `latency_s`: the round-trip time. `otherwise`
    answers after the script; `tls` enables TLS. On exit all its threads and sockets are closed.
    """

    film: Film
    script: list[Handler] = field(default_factory=list)
    otherwise: Handler = honest
    rate: float | None = None
    latency_s: float = 0.0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    requests: list[ReceivedRequest] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._due_s = 0.0
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._listen(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def close_connections(self) -> None:
        """Shut down every open connection."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    # Not the TLS shutdown: it would drop the keys while a thread sends.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def stop(self) -> None:
        """Shut down all connections and refuse new ones until `restart`."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.close_connections()
        self._listener.close()

    def restart(self) -> None:
        """Listen again on the same port."""
        self._listen(self._port)

    def _listen(self, port: int) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, port), family=family, backlog=64)
        self._port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    @property
    def port(self) -> int:
        return self._port

    @property
    def base(self) -> str:
        """The origin itself: `http://host:port`, or https."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address of the file."""
        return f"{self.base}/film.mp4"

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request, in order."""
        return [request.headers.get("range") for request in self.requests]

    @property
    def sent_bytes(self) -> int:
        """The total number of body bytes sent."""
        return sum(request.sent_bytes for request in self.requests)

    @property
    def is_idle(self) -> bool:
        """Whether no connection is open."""
        return not self._connections

    def throttle(self, size_bytes: int) -> None:
        """Sleep as long as the rate requires for this many bytes."""
        if self.rate is None:
            return
        with self._lock:
            self._due_s = max(self._due_s, time.monotonic()) + size_bytes / self.rate
            due_s = self._due_s
        time.sleep(max(0.0, due_s - time.monotonic()))

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait until `is_so()`; fail the test if it takes too long."""
        wait_until(is_so)

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name="origin", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(DEADLINE_S)
            # A small buffer keeps the sent bytes close to the received ones.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            if self.tls is not None:
                # The handshake happens at the first read, in the thread of the connection.
                try:
                    connection = self.tls.wrap_socket(
                        connection, server_side=True, do_handshake_on_connect=False
                    )
                except OSError:  # the client is gone already
                    continue
            with self._lock:
                self._connections.add(connection)
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]  # bound argument

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            time.sleep(self.latency_s)  # the handshake
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    more = connection.recv(2**16)
                    if not more:
                        break
                    received += more
                if b"\r\n\r\n" not in received:
                    break
                head, _, received = received.partition(b"\r\n\r\n")
                time.sleep(self.latency_s)
                exchange = self._parse(head.decode("latin-1"), connection)
                exchange.origin._next()(exchange)
                exchange.request.is_complete = True
                if exchange.is_last:
                    break
        with self._lock:
            self._connections.discard(connection)

    def _parse(self, head: str, connection: socket.socket) -> Exchange:
        line, *lines = head.split("\r\n")
        pairs = (text.partition(":")[::2] for text in lines)
        method, target, _ = line.split(" ")
        fields = fold_headers((n, v.strip()) for n, v in pairs)
        request = ReceivedRequest(target, fields, method=method)
        with self._lock:
            self.requests.append(request)
        return Exchange(self, request, connection)

    def _next(self) -> Handler:
        with self._lock:
            return self.script.pop(0) if self.script else self.otherwise


def fetch(request: DownloadRequest, handle: DownloadHandle | None = None) -> DownloadResult:
    """Run a download on vidnb's own loop, as `vidnb.download` does."""
    return transfers.run(download(request, handle or DownloadHandle()), timeout_s=DEADLINE_S)


def spawn(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run a program in a new process, with warnings as errors."""
    root = Path(vidnb.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def visible_names(folder: Path) -> set[str]:
    """Return the names in a folder except `.vidnb`."""
    return {path.name for path in folder.iterdir()} - {".vidnb"} if folder.exists() else set()


def stored_journal(folder: Path) -> Journal | None:
    """Return the journal of the only part file in `folder/.vidnb`, or None."""
    parts = list((folder / ".vidnb").glob("*.part"))
    if not parts:
        return None
    (part,) = parts
    opened = PartFile(part.parent, part.name.removesuffix(".part"))
    try:
        assert not opened.is_private, "the part file is still locked"
        return opened.load()
    finally:
        opened.close(keep=True)
