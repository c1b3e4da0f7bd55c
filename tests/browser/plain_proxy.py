"""A minimal reverse proxy: it keeps the browser's Host field and adds no field."""

import re
import socket
import threading
from contextlib import closing, suppress

from tests.network import Proxy

_PORT_PATH = re.compile(rb"^([A-Z]+) /ports/([0-9]+)/")


class PlainProxy(Proxy):
    """Forwards `/ports/PORT/PATH` to `/PATH` at any local port, all else to `default_port`."""

    def __init__(self, default_port: int) -> None:
        super().__init__()
        self._default_port = default_port

    def forward(self, client: socket.socket, head: bytes) -> None:
        """Forward one request, and the WebSocket frames after an upgrade."""
        port = self._default_port
        if match := _PORT_PATH.match(head):
            port = int(match[2])
            head = match[1] + b" /" + head[match.end() :]
        if b"\r\nupgrade: websocket\r\n" not in head.lower():
            # One request per connection: the next may be for another port.
            head = re.sub(rb"\r\nConnection: [^\r]*", b"", head, count=1, flags=re.IGNORECASE)
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        with closing(socket.create_connection(("127.0.0.1", port))) as server:
            server.sendall(head)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            _copy(server, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
