"""A reverse proxy as somebody might write it: it keeps the browser's Host and adds no field."""

import re
import socket
import threading
from contextlib import closing, suppress

from tests.network import Proxy

_TO_A_PORT = re.compile(rb"^([A-Z]+) /ports/([0-9]+)/")


class PlainProxy(Proxy):
    """Leads `/ports/PORT/PATH` to `/PATH` of any port here, and the rest to `to_port`."""

    def __init__(self, to_port: int) -> None:
        super().__init__()
        self._to = to_port

    def forward(self, client: socket.socket, head: bytes) -> None:
        """Carry one request, and what follows it where it becomes a WebSocket."""
        port = self._to
        if asked := _TO_A_PORT.match(head):
            port = int(asked[2])
            head = asked[1] + b" /" + head[asked.end() :]
        if b"\r\nupgrade: websocket\r\n" not in head.lower():
            # One request a connection: the next may be for another port.
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
