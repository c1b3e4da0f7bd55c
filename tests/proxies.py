"""Proxies on loopback for tests: HTTP (with CONNECT) and SOCKS 4, 4a and 5, with or without login.

Each host name leads to the port that the constructor maps it to, so that no name is resolved.
"""

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Self

from tests.deadline import DEADLINE_S

Target = tuple[str, int]


class _Server:
    """Accepts connections on loopback, each in its own thread; closes them all on exit."""

    def __init__(self, targets: Mapping[str, int], tls: ssl.SSLContext | None = None) -> None:
        self._targets = targets
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open.copy()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._listener.close()

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.add(client)
                self._start(self._run, client)

    def _run(self, client: socket.socket) -> None:
        client.settimeout(DEADLINE_S)
        with closing(client), suppress(OSError):
            if self._tls is None:
                self.serve(client)
            else:
                with self._tls.wrap_socket(client, server_side=True) as wrapped:
                    self._open.add(wrapped)
                    self.serve(wrapped)
                    self._open.discard(wrapped)
        self._open.discard(client)

    def relay(self, client: socket.socket, target: Target, first: bytes = b"") -> None:
        """Copy both directions between the client and a target until either closes."""
        if target[0] not in self._targets:
            return
        with socket.create_connection(("127.0.0.1", self._targets[target[0]])) as origin:
            origin.settimeout(DEADLINE_S)
            self._open.add(origin)
            origin.sendall(first)
            upload = threading.Thread(target=_copy, args=(client, origin), daemon=True)
            upload.start()
            _copy(origin, client)
            upload.join(DEADLINE_S)
            self._open.discard(origin)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class HttpProxy(_Server):
    """An HTTP proxy. `heads` are those received; `login` is required if given.

    `answer`, if given, is sent in place of connecting.
    """

    def __init__(
        self,
        targets: Mapping[str, int],
        *,
        login: bytes | None = None,
        challenge: str = 'Basic realm="proxy"',
        answer: bytes | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(targets, tls)
        self.heads: list[str] = []
        self._login = login
        self._challenge = challenge
        self._answer = answer

    @property
    def url(self) -> str:
        """The URL of the proxy, without credentials."""
        name = "http://127.0.0.1" if self._tls is None else "https://localhost"
        return f"{name}:{self.port}"

    def serve(self, client: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            data = client.recv(2**16)
            if not data:
                return
            received += data
            if received[0] in {4, 5, 0x16}:  # SOCKS, or a ClientHello of TLS
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
        head = received.decode("latin-1")
        self.heads.append(head)
        if self._answer is not None:
            client.sendall(self._answer)
            return
        if self._login is not None:
            expected = f"Proxy-Authorization: Basic {base64.b64encode(self._login).decode()}\r\n"
            if expected not in head:
                client.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n"
                    b"Proxy-Authenticate: %s\r\n\r\ndenied" % self._challenge.encode()
                )
                return
        method, target, rest = head.split(" ", 2)
        authority, _, path = target.removeprefix("http://").partition("/")
        host = authority.rpartition(":")[0] or authority
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.relay(client, (host, 0))
        else:
            rest = rest.replace("\r\n", "\r\nConnection: close\r\n", 1)
            self.relay(client, (host, 0), f"{method} /{path} {rest}".encode("latin-1"))


class SocksProxy(_Server):
    """A SOCKS proxy (RFC 1928, 1929; SOCKS 4 and 4a). `asked` are the hosts, as they were written.

    `login` is required if given; `reply` is the code of its reply, 0 (or 90) to connect.
    """

    def __init__(
        self, targets: Mapping[str, int], *, login: tuple[str, str] | None = None, reply: int = 0
    ) -> None:
        super().__init__(targets)
        self.asked: list[str] = []
        self._login = login
        self._reply = reply

    def serve(self, client: socket.socket) -> None:
        version = _exactly(client, 1)[0]
        if version == 4:
            self._serve_4(client)
        elif version == 5:
            self._serve_5(client)

    def _serve_5(self, client: socket.socket) -> None:
        methods = _exactly(client, _exactly(client, 1)[0])
        method = 0 if self._login is None else 2
        client.sendall(bytes([5, method if method in methods else 0xFF]))
        if method not in methods:
            return
        if self._login is not None:
            _exactly(client, 1)
            pair = [_exactly(client, _exactly(client, 1)[0]).decode() for _ in range(2)]
            client.sendall(bytes([1, tuple(pair) != self._login]))
            if tuple(pair) != self._login:
                return
        kind = _exactly(client, 4)[3]
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, _exactly(client, size))
        _exactly(client, 2)
        self.asked.append(host)
        client.sendall(bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self._reply:
            self.relay(client, (host, 0))

    def _serve_4(self, client: socket.socket) -> None:
        _exactly(client, 3)
        address = _exactly(client, 4)
        _until_null(client)
        is_name = address[:3] == b"\0\0\0" and address[3]
        host = _until_null(client) if is_name else socket.inet_ntoa(address)
        self.asked.append(host)
        client.sendall(bytes([0, self._reply or 90, 0, 0, 0, 0, 0, 0]))
        if not self._reply:
            self.relay(client, (host, 0))


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def _until_null(client: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\0"):
        data += _exactly(client, 1)
    return data[:-1].decode()
