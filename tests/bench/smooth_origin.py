"""An origin with a rate limit per connection that sends every 10 ms, instead of every second.

    python smooth_origin.py HOST PORT FILE RATE

nginx sends the bytes of a whole second at once and then nothing for the rest of it, unlike a
link. This origin supports one file, an ETag, HEAD, one range and If-Range; it is one loop over all
connections, which wakes up a hundred times a second and uses `sendfile`.
"""

import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

TICK_S = 0.01
MAX_BURST_S = 0.1
"""A connection that could not send for a while catches up at most this much (s)."""
HEAD_END = b"\r\n\r\n"


@dataclass(eq=False)
class Connection:
    """One client: its request, and the progress of its response (bytes, s)."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    offset: int = 0
    stop: int = 0
    updated_s: float = 0.0
    allowed: float = 0.0

    @property
    def is_responding(self) -> bool:
        """Whether a response is being sent."""
        return bool(self.head) or self.offset < self.stop


class Origin:
    """The loop over all connections of one file."""

    def __init__(self, host: str, port: int, file: BinaryIO, rate: float) -> None:
        self._file = file
        self._rate = rate
        status = os.fstat(file.fileno())
        self._size = status.st_size
        self._etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        self._modified = formatdate(status.st_mtime, usegmt=True)
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((host, port), backlog=256)
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the process ends."""
        due_s = time.monotonic()
        while True:
            responding = [one for one in self._connections if one.is_responding]
            wait_s = max(0.0, due_s - time.monotonic()) if responding else None
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    self._accept()
                else:
                    self._guarded(key.data, self._read)
            now_s = time.monotonic()
            if now_s >= due_s:
                due_s = now_s + TICK_S
                for one in responding:
                    self._guarded(one, self._send)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = Connection(client)
        self._connections.add(one)
        self._selector.register(client, selectors.EVENT_READ, one)

    def _guarded(self, one: Connection, act: Callable[[Connection], None]) -> None:
        try:
            act(one)
        except BlockingIOError:
            pass  # its buffer is full; the next tick retries
        except OSError:
            self._close(one)

    def _close(self, one: Connection) -> None:
        if one in self._connections:
            self._connections.remove(one)
            self._selector.unregister(one.socket)
            one.socket.close()
            one.head, one.offset, one.stop = b"", 0, 0

    def _read(self, one: Connection) -> None:
        piece = one.socket.recv(2**16)
        if not piece:
            self._close(one)
            return
        one.received += piece
        if self._respond_next(one):
            self._send(one)

    def _respond_next(self, one: Connection) -> bool:
        """Begin the next response, if one was requested and none is being sent."""
        if one.is_responding or HEAD_END not in one.received:
            return False
        request, _, rest = bytes(one.received).partition(HEAD_END)
        one.received = bytearray(rest)
        self._respond(one, request.decode("latin-1").replace("\r\n", "\n"))
        return True

    def _respond(self, one: Connection, request: str) -> None:
        match = re.search(r"^range: *bytes=(\d+)-(\d*) *$", request, re.IGNORECASE | re.MULTILINE)
        condition = re.search(r"^if-range: *(.*?) *$", request, re.IGNORECASE | re.MULTILINE)
        byte_range, status = (0, self._size), "200 OK"
        if match and (condition is None or condition[1] in {self._etag, self._modified}):
            last = min(int(match[2] or self._size), self._size - 1)
            byte_range, status = (int(match[1]), last + 1), "206 Partial Content"
            if byte_range[0] > last:
                byte_range, status = (0, 0), "416 Range Not Satisfiable"
        lines = [
            f"HTTP/1.1 {status}",
            f"Date: {formatdate(usegmt=True)}",
            "Content-Type: application/octet-stream",
            f"Content-Length: {byte_range[1] - byte_range[0]}",
            f"ETag: {self._etag}",
            f"Last-Modified: {self._modified}",
            "Accept-Ranges: bytes",
        ]
        if status.startswith("206"):
            lines.append(f"Content-Range: bytes {byte_range[0]}-{byte_range[1] - 1}/{self._size}")
        elif status.startswith("416"):
            lines.append(f"Content-Range: bytes */{self._size}")
        one.head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        one.offset, one.stop = (0, 0) if request.startswith("HEAD ") else byte_range
        one.updated_s, one.allowed = time.monotonic(), self._rate * TICK_S

    def _send(self, one: Connection) -> None:
        now_s = time.monotonic()
        refill = (now_s - one.updated_s) * self._rate
        one.updated_s = now_s
        one.allowed = min(one.allowed + refill, self._rate * MAX_BURST_S)
        if one.head:
            one.head = one.head[one.socket.send(one.head) :]
        while one.offset < one.stop and one.allowed >= 1:
            count = min(one.stop - one.offset, int(one.allowed))
            sent = os.sendfile(one.socket.fileno(), self._file.fileno(), one.offset, count)
            one.offset += sent
            one.allowed -= sent
        self._respond_next(one)


def main() -> None:
    """Serve the file named on the command line."""
    host, port, path, rate = sys.argv[1:]
    with Path(path).open("rb") as file:
        Origin(host, int(port), file, float(rate)).run()


if __name__ == "__main__":
    main()
