"""Network helpers for tests: a free port, TLS contexts, and proxies that limit the rate."""

import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

import trustme

from tests.deadline import DEADLINE_S, wait_until


def localhost_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server on localhost and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def free_port() -> int:
    """Return a port that is free now."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Proxy(ABC):
    """Listens on loopback and forwards one request per connection, each in its own thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @abstractmethod
    def forward(self, client: socket.socket, head: bytes) -> None:
        """Forward a request and its response; `head` may include a part of its body."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve_client, args=(client,), daemon=True).start()

    def _serve_client(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            self.forward(client, head)


class SlowProxy(Proxy):
    """A forward proxy with a rate limit, for the option `proxy` of a download in a kernel."""

    def __init__(self, bytes_per_s: int) -> None:
        super().__init__()
        self._bytes_per_s = bytes_per_s
        self.url = f"http://127.0.0.1:{self.port}"

    def forward(self, client: socket.socket, head: bytes) -> None:
        """Forward a request to its origin, and the response at the limited rate."""
        method, target, rest = head.split(b" ", 2)
        authority, _, path = target.removeprefix(b"http://").partition(b"/")
        host, _, port = authority.decode().partition(":")
        with closing(socket.create_connection((host, int(port or 80)))) as origin:
            # One request per connection.
            rest = rest.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            origin.sendall(b" ".join([method, b"/" + path, rest]))
            while data := origin.recv(max(1, self._bytes_per_s // 10)):
                client.sendall(data)
                time.sleep(len(data) / self._bytes_per_s)


class Relay:
    """Relays TCP connections to a local port, and counts the bytes that the server sends.

    `rate` limits the responses of all connections together (B/s; None: no limit). `sent_bytes`
    include response heads and TLS.
    """

    def __init__(self, port: int, rate: float | None = None) -> None:
        self._server_port = port
        self.rate = rate
        self.sent_bytes = 0
        self._due_s = 0.0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for open_socket in (self._listener, *self._open.copy()):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._listener.close()

    @property
    def is_idle(self) -> bool:
        """Whether no connection is open."""
        return not self._open

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; fail the test if it does not."""
        wait_until(condition)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # A small buffer: `sent_bytes` stays close to what the client has received.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
                self._open.add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        address = ("127.0.0.1", self._server_port)
        with client, suppress(OSError), socket.create_connection(address) as server:
            self._open.add(server)
            upload = threading.Thread(target=_copy, args=(client, server), daemon=True)
            upload.start()
            with suppress(OSError):
                while data := server.recv(2**14):
                    client.sendall(data)
                    self._throttle(len(data))
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            upload.join()
            self._open.discard(server)
        self._open.discard(client)

    def _throttle(self, size_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += size_bytes
            if self.rate is None:
                return
            self._due_s = max(self._due_s, time.monotonic()) + size_bytes / self.rate
            due_s = self._due_s
        time.sleep(max(0.0, due_s - time.monotonic()))


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**14):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
