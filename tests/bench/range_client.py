"""The client of the server bench: raw sockets, so that its own cost is small.

It checks each response's status and counts its bytes; before anything is timed, `Probe.learn`
compares every byte of one response of each kind with the file.
"""

import random
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 60.0
RECEIVE_BYTES = 2**20
"""The receive buffer (B). The usual first window is 64 KiB: a response of that size and a head then
waits 40 ms for a delayed acknowledgement, with some servers only.
"""


class Wrong(Exception):  # noqa: N818 - it says what happened
    """A server sent a wrong response; the text is one line."""


@dataclass(frozen=True)
class Probe:
    """One file at one server."""

    url: str
    path: Path

    @property
    def size_bytes(self) -> int:
        """The size of the file (B)."""
        return self.path.stat().st_size

    def connect(self, **options: int) -> socket.socket:
        """Return a fresh connection; `options` are of SOL_SOCKET, by name."""
        made = socket.socket()
        for name, value in options.items():
            made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        made.settimeout(TIMEOUT_S)
        made.connect((urlsplit(self.url).hostname, urlsplit(self.url).port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def request(self, start: int | None = None, count: int = 0) -> bytes:
        """Write a request for the whole file, or for `count` bytes from `start` on."""
        split = urlsplit(self.url)
        ranged = "" if start is None else f"Range: bytes={start}-{start + count - 1}\r\n"
        return f"GET {split.path} HTTP/1.1\r\nHost: {split.netloc}\r\n{ranged}\r\n".encode()

    def starts(self, count: int) -> list[int]:
        """Return offsets all over the file, all of one number of digits, so that answers are of
        one length.
        """
        first = 10 ** (len(str(self.size_bytes - count)) - 1)
        room = max(1, self.size_bytes - count - first)
        # A stride that is coprime to nearly everything visits the file in no order of its own.
        return [first + number * 7_368_787 % room // 4096 * 4096 for number in range(512)]

    def learn(self, start: int, count: int) -> int:
        """Compare one response with the file, byte by byte; return the length of its head (B)."""
        with self.connect() as made:
            made.sendall(self.request(start, count))
            head, body = read_head(made)
            if not head.startswith(b"HTTP/1.1 206 "):
                raise Wrong(f"responds to a range with {head[:40]!r}")
            while len(body) < count:
                data = made.recv(count - len(body))
                if not data:
                    raise Wrong(f"ends after {len(body)} of {count} bytes")
                body += data
        with self.path.open("rb") as file:
            file.seek(start)
            if body != file.read(count):
                raise Wrong("sends wrong bytes")
        return len(head)


def read_head(made: socket.socket) -> tuple[bytes, bytes]:
    """Return a response's head and the bytes that came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = made.recv(65536)
        if not more:
            raise Wrong("closes before its response")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def whole(probe: Probe) -> float:
    """Fetch the whole file over a fresh connection and return how long it took (s)."""
    buffer = bytearray(2**18)
    begun_s = time.perf_counter()
    with probe.connect() as made:
        made.sendall(probe.request())
        head, body = read_head(made)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Wrong(f"responds with {head[:40]!r}")
        left, receive = probe.size_bytes - len(body), made.recv_into
        while left > 0:
            got = receive(buffer)
            if not got:
                raise Wrong(f"ends {left} bytes early")
            left -= got
    return time.perf_counter() - begun_s


class _Reader:
    """One connection of many: requests, counts the bytes, requests again."""

    def __init__(self, probe: Probe) -> None:
        self.socket = probe.connect(SO_RCVBUF=RECEIVE_BYTES)
        self.socket.settimeout(0)
        self.left = 0
        self.begun_s = 0.0


def many(
    probe: Probe, count: int, *, connections: int, for_s: float
) -> tuple[float, Sequence[float]]:
    """Request ranges of `count` bytes over many connections, one after the other on each.

    Returns the responses a second and how long each took from the request to its last byte (s).
    """
    starts = probe.starts(count)
    length = probe.learn(starts[0], count) + count
    requests = _again([probe.request(start, count) for start in starts])
    buffer = bytearray(2**18)
    view = memoryview(buffer)
    took: list[float] = []
    clock = time.perf_counter
    with select.epoll() as ready:
        readers = {(made := _Reader(probe)).socket.fileno(): made for _ in range(connections)}
        try:
            for number, reader in readers.items():
                ready.register(number, select.EPOLLIN)
                reader.begun_s, reader.left = clock(), length
                reader.socket.send(next(requests))
            begun_s = last_s = clock()
            while last_s - begun_s < for_s:
                events = ready.poll(TIMEOUT_S)
                if not events:
                    raise Wrong("stops responding")
                for number, _ in events:
                    reader = readers[number]
                    is_first = reader.left == length
                    got = reader.socket.recv_into(buffer, min(reader.left, len(buffer)))
                    if not got or (is_first and bytes(view[9:12]) != b"206"):
                        raise Wrong(f"breaks off, or responds with {bytes(view[:40])!r}")
                    reader.left -= got
                    if not reader.left:
                        last_s = clock()
                        took.append(last_s - reader.begun_s)
                        reader.begun_s, reader.left = last_s, length
                        reader.socket.send(next(requests))
        finally:
            for reader in readers.values():
                reader.socket.close()
    return len(took) / (last_s - begun_s), took


def _again(requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


def seeks(
    probe: Probe, count: int, *, times: int, for_s: float, pause_s: float = 0.0
) -> list[float]:
    """Request ranges over one connection; return how long each body's first byte took (s)."""
    starts = probe.starts(count)
    head_bytes = probe.learn(starts[0], count)
    requests = _again([probe.request(start, count) for start in starts])
    buffer = bytearray(2**18)
    took: list[float] = []
    pauses = random.Random(count)
    clock = time.perf_counter
    deadline_s = clock() + for_s
    with probe.connect(SO_RCVBUF=RECEIVE_BYTES) as made:
        while len(took) < times and clock() < deadline_s:
            request = next(requests)
            left = head_bytes + count
            if pause_s:
                time.sleep(pauses.uniform(0, pause_s))
            begun_s = clock()
            made.send(request)
            while left >= count:
                got = made.recv_into(buffer, left)
                if not got:
                    raise Wrong("breaks off")
                left -= got
            took.append(clock() - begun_s)
            while left:
                got = made.recv_into(buffer, left)
                if not got:
                    raise Wrong("breaks off")
                left -= got
    return took


def stall(probe: Probe) -> socket.socket:
    """Request the whole file, read its head and no more."""
    made = probe.connect(SO_RCVBUF=16_384)
    made.sendall(probe.request())
    if made.recv(12) != b"HTTP/1.1 200":
        raise Wrong("does not respond to a client that will stall")
    return made
