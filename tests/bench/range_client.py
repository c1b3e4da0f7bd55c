"""The client of the server bench: raw sockets, so that its own cost is small.

It checks the status of each response and counts its bytes; before a measurement, `Probe.verify`
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
"""The receive buffer (B). With the usual first window of 64 KiB, a response of that size plus its
head waits 40 ms for a delayed acknowledgement, with some servers only.
"""


class WrongResponse(Exception):  # noqa: N818 - part of the report
    """A server sent a wrong response; the message is one line."""


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
        """Return offsets all over the file with the same number of digits, so that all responses
        have the same length.
        """
        first = 10 ** (len(str(self.size_bytes - count)) - 1)
        span = max(1, self.size_bytes - count - first)
        # A large prime stride visits the file without a pattern.
        return [first + number * 7_368_787 % span // 4096 * 4096 for number in range(512)]

    def verify(self, start: int, count: int) -> int:
        """Compare one response with the file, byte by byte; return the length of its head (B)."""
        with self.connect() as made:
            made.sendall(self.request(start, count))
            head, body = read_head(made)
            if not head.startswith(b"HTTP/1.1 206 "):
                raise WrongResponse(f"responds to a range with {head[:40]!r}")
            while len(body) < count:
                data = made.recv(count - len(body))
                if not data:
                    raise WrongResponse(f"ends after {len(body)} of {count} bytes")
                body += data
        with self.path.open("rb") as file:
            file.seek(start)
            if body != file.read(count):
                raise WrongResponse("sends wrong bytes")
        return len(head)


def read_head(made: socket.socket) -> tuple[bytes, bytes]:
    """Return a response's head and the bytes that came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = made.recv(65536)
        if not more:
            raise WrongResponse("closes before its response")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def whole(probe: Probe) -> float:
    """Fetch the whole file over a fresh connection and return the elapsed time (s)."""
    buffer = bytearray(2**18)
    start_s = time.perf_counter()
    with probe.connect() as made:
        made.sendall(probe.request())
        head, body = read_head(made)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise WrongResponse(f"responds with {head[:40]!r}")
        remaining, receive = probe.size_bytes - len(body), made.recv_into
        while remaining > 0:
            received = receive(buffer)
            if not received:
                raise WrongResponse(f"ends {remaining} bytes early")
            remaining -= received
    return time.perf_counter() - start_s


class _Connection:
    """One connection of many: requests, counts the bytes, requests again."""

    def __init__(self, probe: Probe) -> None:
        self.socket = probe.connect(SO_RCVBUF=RECEIVE_BYTES)
        self.socket.settimeout(0)
        self.remaining = 0
        self.start_s = 0.0


def many(
    probe: Probe, count: int, *, connections: int, duration_s: float
) -> tuple[float, Sequence[float]]:
    """Request ranges of `count` bytes over many connections, one after the other on each.

    Returns the responses per second, and the time of each from the request to its last byte (s).
    """
    starts = probe.starts(count)
    length = probe.verify(starts[0], count) + count
    requests = _cycle([probe.request(start, count) for start in starts])
    buffer = bytearray(2**18)
    view = memoryview(buffer)
    latencies_s: list[float] = []
    clock = time.perf_counter
    with select.epoll() as ready:
        readers = {(made := _Connection(probe)).socket.fileno(): made for _ in range(connections)}
        try:
            for number, reader in readers.items():
                ready.register(number, select.EPOLLIN)
                reader.start_s, reader.remaining = clock(), length
                reader.socket.send(next(requests))
            start_s = last_s = clock()
            while last_s - start_s < duration_s:
                events = ready.poll(TIMEOUT_S)
                if not events:
                    raise WrongResponse("stops responding")
                for number, _ in events:
                    reader = readers[number]
                    is_first = reader.remaining == length
                    received = reader.socket.recv_into(buffer, min(reader.remaining, len(buffer)))
                    if not received or (is_first and bytes(view[9:12]) != b"206"):
                        raise WrongResponse(f"breaks off, or responds with {bytes(view[:40])!r}")
                    reader.remaining -= received
                    if not reader.remaining:
                        last_s = clock()
                        latencies_s.append(last_s - reader.start_s)
                        reader.start_s, reader.remaining = last_s, length
                        reader.socket.send(next(requests))
        finally:
            for reader in readers.values():
                reader.socket.close()
    return len(latencies_s) / (last_s - start_s), latencies_s


def _cycle(requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


def seeks(
    probe: Probe, count: int, *, times: int, duration_s: float, pause_s: float = 0.0
) -> list[float]:
    """Request ranges over one connection; return the times to the first byte of each body (s)."""
    starts = probe.starts(count)
    head_bytes = probe.verify(starts[0], count)
    requests = _cycle([probe.request(start, count) for start in starts])
    buffer = bytearray(2**18)
    latencies_s: list[float] = []
    pauses = random.Random(count)
    clock = time.perf_counter
    deadline_s = clock() + duration_s
    with probe.connect(SO_RCVBUF=RECEIVE_BYTES) as made:
        while len(latencies_s) < times and clock() < deadline_s:
            request = next(requests)
            remaining = head_bytes + count
            if pause_s:
                time.sleep(pauses.uniform(0, pause_s))
            start_s = clock()
            made.send(request)
            while remaining >= count:
                received = made.recv_into(buffer, remaining)
                if not received:
                    raise WrongResponse("breaks off")
                remaining -= received
            latencies_s.append(clock() - start_s)
            while remaining:
                received = made.recv_into(buffer, remaining)
                if not received:
                    raise WrongResponse("breaks off")
                remaining -= received
    return latencies_s


def stall(probe: Probe) -> socket.socket:
    """Request the whole file and read only the start of its head."""
    made = probe.connect(SO_RCVBUF=16_384)
    made.sendall(probe.request())
    if made.recv(12) != b"HTTP/1.1 200":
        raise WrongResponse("does not respond to a client that will stall")
    return made
