"""A scripted origin on loopback: honest by default, and able to misbehave in every way that counts.

It speaks HTTP/1.1 over raw sockets, one thread per connection, because no HTTP library would send
what real origins send: malformed chunks, lengths that lie, resets, silence, a byte at a time. Each
request takes the next handler of the script; after its end `vidnb.http.range_response` judges. A handler
gets an `Exchange` and may send anything.

    with Origin(Film(data), [reset(after=1000), honest]) as origin:
        download(origin.url)

`requests` tells what was asked, and how many bytes of body went out for each.
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
from dataclasses import dataclass, field, replace
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
    "Asked",
    "Exchange",
    "Film",
    "Handler",
    "Origin",
    "chunk",
    "cut",
    "drip",
    "fetch",
    "held",
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
    "strangers",
]

_PIECE_BYTES = 2**14


def noise(size_bytes: int, seed: int = 1) -> bytes:
    """Return bytes that are no page, the same for the same seed."""
    return b"\x00\xff" * min(1, size_bytes // 2) + Random(seed).randbytes(max(0, size_bytes - 2))


@dataclass(frozen=True, slots=True)
class Film:
    """One version of the source: its bytes and what the origin says of them."""

    data: bytes
    etag: str | None = '"v1"'
    modified_s: float | None = None
    media_type: str = "video/mp4"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Asked:
    """One request, and how many bytes of body were sent for it."""

    target: str
    headers: dict[str, str]
    sent_bytes: int = 0
    is_answered: bool = False
    method: str = "GET"


Handler = Callable[["Exchange"], None]


@dataclass(slots=True)
class Exchange:
    """One request and the connection it came on."""

    origin: "Origin"
    asked: Asked
    connection: socket.socket
    is_last: bool = False

    @property
    def film(self) -> Film:
        return self.origin.film

    def judged(self, *, ignoring: Iterable[str] = (), film: Film | None = None) -> RangeResponse:
        """Return the right answer, to a request without the headers in `ignoring`."""
        film = film or self.film
        asked = {name: value for name, value in self.asked.headers.items() if name not in ignoring}
        return build_response(
            "GET",
            asked,
            len(film.data),
            None if film.etag is None else parse_etag(film.etag),
            film.modified_s,
            now_s=time.time(),
            media_type=film.media_type,
            boundary="boundary",
        )

    def head(self, code: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a head as it is, right or wrong."""
        lines = [f"HTTP/1.1 {code} Whatever", *(f"{name}: {value}" for name, value in headers)]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def say(
        self,
        said: RangeResponse,
        *,
        film: Film | None = None,
        changed: Mapping[str, str | None] | None = None,
        after: int | None = None,
    ) -> None:
        """Send an answer, some of its headers changed (None: left out), up to `after` bytes."""
        film = film or self.film
        changed = changed or {}
        headers = [(n, v) for n, v in (*said.headers, *film.headers) if n.lower() not in changed]
        headers += [(name, value) for name, value in changed.items() if value is not None]
        self.head(said.status, headers)
        body = b"".join(
            piece if isinstance(piece, bytes) else film.data[piece.start : piece.stop]
            for piece in said.body
        )
        self.send(body if after is None else body[:after])

    def send(self, body: bytes, *, piece_bytes: int = _PIECE_BYTES) -> None:
        """Send bytes of a body, at the origin's rate."""
        status = memoryview(body)
        while status:
            piece = status[:piece_bytes]
            self.connection.sendall(piece)
            self.asked.sent_bytes += len(piece)
            status = status[len(piece) :]
            self.origin.take_time(len(piece))

    def flush(self) -> None:
        """Wait until the other side's kernel has everything."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            waiting = fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0\0\0\0")
            if struct.unpack("i", waiting) == (0,):
                return
            time.sleep(0.001)

    def hang_up(self) -> None:
        """Close in order after what was sent."""
        self.is_last = True

    def reset(self) -> None:
        """Break the connection off (RST) after what was sent."""
        self.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_last = True

    def hold(self) -> None:
        """Say nothing until the other side hangs up or the origin closes."""
        self.is_last = True
        with contextlib.suppress(OSError):
            self.connection.recv(1)


def honest(exchange: Exchange) -> None:
    """Answer as RFC 9110 has it."""
    exchange.say(exchange.judged())


def plain(exchange: Exchange) -> None:
    """Answer 200 whatever was asked: an origin without ranges and conditions."""
    exchange.say(exchange.judged(ignoring=exchange.asked.headers), changed={"accept-ranges": None})


def cut(after: int) -> Handler:
    """Close the connection in order after `after` bytes of the body."""

    def handle(exchange: Exchange) -> None:
        exchange.say(exchange.judged(), after=after)
        exchange.hang_up()

    return handle


def reset(after: int) -> Handler:
    """Break the connection off after `after` bytes of the body."""

    def handle(exchange: Exchange) -> None:
        exchange.say(exchange.judged(), after=after)
        exchange.reset()

    return handle


def stall(after: int) -> Handler:
    """Fall silent after `after` bytes of the body, the connection open."""

    def handle(exchange: Exchange) -> None:
        exchange.say(exchange.judged(), after=after)
        exchange.hold()

    return handle


def drip(piece_bytes: int, pause_s: float = 0.0) -> Handler:
    """Answer right, `piece_bytes` at a time."""

    def handle(exchange: Exchange) -> None:
        said = exchange.judged()
        exchange.say(replace(said, body=()))
        exchange.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte_range in said.byte_ranges:
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
    """Send the client elsewhere."""
    return status(code, {"Location": location})


def raw(head: str, body: bytes = b"") -> Handler:
    """Send these lines as the head, then this body, then close."""

    def handle(exchange: Exchange) -> None:
        exchange.connection.sendall((head.replace("\n", "\r\n") + "\r\n\r\n").encode("latin-1"))
        exchange.send(body)
        exchange.hang_up()

    return handle


def chunk(data: bytes) -> bytes:
    """Return bytes as one chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def part_of(
    film: Film, byte_range: ByteRange, *, total: int | str | None = None, etag: str | None = None
) -> Handler:
    """Answer 206 with this span, whatever was asked, and call the whole `total` bytes long."""
    shown = len(film.data) if total is None else total
    body = film.data[byte_range.start : byte_range.stop]
    return status(
        206,
        {
            "Content-Range": f"bytes {byte_range.start}-{byte_range.stop - 1}/{shown}",
            "ETag": etag or film.etag or "",
            "Content-Type": film.media_type,
        },
        body,
    )


def on(header: str, handler: Handler, otherwise: Handler = honest) -> Handler:
    """Use `handler` where the request has this header."""

    def handle(exchange: Exchange) -> None:
        (handler if header in exchange.asked.headers else otherwise)(exchange)

    return handle


@dataclass
class Origin:
    """Serve one `film` under every path. `rate` is in bytes per second over all connections.

    It is `far_s` (s) away: so long takes each turn to it and back. `otherwise` answers after the
    script's end; with `tls` everything is said over TLS. As a context
    manager: what it started has ended, and every socket is closed, when the block is left.
    """

    film: Film
    script: list[Handler] = field(default_factory=list)
    otherwise: Handler = honest
    rate: float | None = None
    far_s: float = 0.0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    requests: list[Asked] = field(default_factory=list)

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
        self.die()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def break_off(self) -> None:
        """Break off every connection that is open now."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    # The socket's own: TLS would forget its keys under the thread that sends.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def die(self) -> None:
        """Break all connections off and refuse others, until `rise`."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.break_off()
        self._listener.close()

    def rise(self) -> None:
        """Listen again, on the port of before."""
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
        """The film's address."""
        return f"{self.base}/film.mp4"

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request, in order."""
        return [asked.headers.get("range") for asked in self.requests]

    @property
    def sent_bytes(self) -> int:
        """How many bytes of bodies went out."""
        return sum(asked.sent_bytes for asked in self.requests)

    @property
    def is_idle(self) -> bool:
        """Whether no connection is open."""
        return not self._connections

    def take_time(self, size_bytes: int) -> None:
        """Sleep as long as the rate has it for this many bytes."""
        if self.rate is None:
            return
        with self._lock:
            self._due_s = max(self._due_s, time.monotonic()) + size_bytes / self.rate
            due_s = self._due_s
        time.sleep(max(0.0, due_s - time.monotonic()))

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait until something has happened; fail the test if it does not."""
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
            # What was sent and what was received shall not lie far apart.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            if self.tls is not None:
                # The handshake is made in the connection's own thread, at its first read.
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
            time.sleep(self.far_s)  # the handshake
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
                time.sleep(self.far_s)
                exchange = self._taken(head.decode("latin-1"), connection)
                exchange.origin._next()(exchange)
                exchange.asked.is_answered = True
                if exchange.is_last:
                    break
        with self._lock:
            self._connections.discard(connection)

    def _taken(self, head: str, connection: socket.socket) -> Exchange:
        line, *lines = head.split("\r\n")
        pairs = (text.partition(":")[::2] for text in lines)
        method, target, _ = line.split(" ")
        fields = fold_headers((n, v.strip()) for n, v in pairs)
        asked = Asked(target, fields, method=method)
        with self._lock:
            self.requests.append(asked)
        return Exchange(self, asked, connection)

    def _next(self) -> Handler:
        with self._lock:
            return self.script.pop(0) if self.script else self.otherwise


def fetch(order: DownloadRequest, handle: DownloadHandle | None = None) -> DownloadResult:
    """Carry an order out on vidnb's own loop, as the blocking helper does."""
    return transfers.run(download(order, handle or DownloadHandle()), timeout_s=DEADLINE_S)


def spawn(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run a program in a process of its own; warnings are errors there as well."""
    root = Path(vidnb.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def strangers(folder: Path) -> set[str]:
    """Return what lies in a folder beside `.vidnb`."""
    return {path.name for path in folder.iterdir()} - {".vidnb"} if folder.exists() else set()


def held(folder: Path) -> Journal | None:
    """Return the journal of the one part file in `folder/.vidnb`, None where there is none."""
    parts = list((folder / ".vidnb").glob("*.part"))
    if not parts:
        return None
    (part,) = parts
    opened = PartFile(part.parent, part.name.removesuffix(".part"))
    try:
        assert not opened.is_private, "somebody still holds the part file"
        return opened.load()
    finally:
        opened.close(keep=True)
