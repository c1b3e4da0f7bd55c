"""A reverse proxy as somebody might write it: it keeps the browser's Host and adds no field."""

import re
import socket
import threading
from contextlib import closing, suppress
from typing import Self

_TO_A_PORT = re.compile(rb"^([A-Z]+) /ports/([0-9]+)/")


class PlainProxy:
    """Leads `/ports/PORT/PATH` to `/PATH` of any port of this machine, and the rest to `port`."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

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
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Carry one request, and what follows it where it becomes a WebSocket."""
        with closing(client), suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
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
