"""A long body received by a thread of its own.

An event loop wakes up for every few packets; a thread that waits for the socket takes a megabyte
at a time, beside the loop and beside whoever writes and hashes.
"""

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from vidnb.io import buffer_pool
from vidnb.io.tls import take_tls

__all__ = ["Receiver", "take_socket"]

_LATEST_S = 0.005
"""What has come is handed over after this long at the latest."""
_LULL_MS = 2
_MOST_UNREAD = 3
"""So many pieces may wait to be read; then the socket is left alone."""


class Connected(Protocol):
    """What is received from: a socket that does not block, or what behaves like one."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Receive; 0 at the end, `BlockingIOError` where nothing has come."""

    def shutdown(self, how: int, /) -> None:
        """End the connection; whoever waits for it hears of it."""

    def close(self) -> None:
        """Let go of it."""


def take_socket(transport: asyncio.Transport) -> Connected | None:
    """Take the connection out of a transport, which is not read from; it ends with its caller.

    None where a thread could not wait for it: other loops keep what they have read, or close the
    socket their own way.
    """
    if not hasattr(select, "poll"):
        return None
    if transport.get_extra_info("sslcontext") is not None:
        return take_tls(transport)
    if type(transport).__module__ != "asyncio.selector_events":
        return None
    ours: socket.socket = transport.get_extra_info("socket").dup()
    return ours


class Receiver:
    """The `left` bytes of a body that are still to come from `connected`; `head` came before.

    `connected` is this object's own and is closed by it. `read` gives out views of `io.blocks`,
    each of them held once for the reader.
    """

    def __init__(self, connected: Connected, head: bytes, left: int) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._unread: list[bytes | memoryview] = [head] if head else []
        self._left_bytes = left
        self._room = threading.Semaphore(_MOST_UNREAD)
        self._may_go = threading.Event()
        self._may_go.set()
        self._arrival = asyncio.Event()
        self._lost: OSError | None = None
        self._is_over = False
        self._is_closed = False
        threading.Thread(target=self._run, name="vidnb receiver", daemon=True).start()

    async def read(self) -> bytes | memoryview:
        """Return what has arrived, empty at the end; `ConnectionError` where it ended early."""
        self._may_go.set()
        while not self._unread:
            if self._is_over:
                if self._lost is None:
                    return b""
                raise ConnectionResetError(str(self._lost)) from self._lost
            self._arrival.clear()
            await self._arrival.wait()
        data = self._unread.pop(0)
        self._room.release()
        return data

    def hold(self) -> None:
        """Leave the socket alone until the next `read`."""
        self._may_go.clear()

    def close(self) -> None:
        """End the connection, and with it the thread."""
        self._is_closed = True
        self._may_go.set()
        self._room.release()
        with contextlib.suppress(OSError):  # it may be over already
            self._socket.shutdown(socket.SHUT_RDWR)

    # On the loop.

    def _arrived(self, data: memoryview) -> None:
        self._unread.append(data)
        self._arrival.set()

    def _ended(self, lost: OSError | None) -> None:
        self._is_over, self._lost = True, lost
        self._arrival.set()

    # In the thread.

    def _run(self) -> None:
        lost: OSError | None = None
        try:
            self._receive()
        except OSError as error:
            lost = error
        self._socket.close()
        self._tell(self._ended, lost)

    def _tell(self, what: Callable[..., None], said: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and the reader with it
            self._loop.call_soon_threadsafe(what, said)

    def _receive(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        block, start = buffer_pool.acquire(), 0
        while self._left_bytes and not self._is_closed:
            if not self._may_go.is_set():
                self._may_go.wait()
                continue
            # What is behind the body on this connection is nobody's.
            stop = start + self._fill(poller, block[start : start + self._left_bytes])
            if stop == start:  # an empty piece would say that the body ends here
                poller.poll()
                continue
            self._left_bytes -= stop - start
            buffer_pool.retain(block)
            self._tell(self._arrived, block[start:stop])
            self._room.acquire()
            start = stop
            if len(block) - start < buffer_pool.LEAST_ROOM_BYTES:
                buffer_pool.release(block)
                block, start = buffer_pool.acquire(), 0
        buffer_pool.release(block)
        if self._left_bytes:
            raise ConnectionResetError("the connection was given up")

    def _fill(self, poller: select.poll, room: memoryview) -> int:
        """Receive until the room is full, nothing more comes, or it is late."""
        filled_bytes = 0
        latest_s = time.monotonic() + _LATEST_S
        while filled_bytes < len(room):
            try:
                size_bytes = self._socket.recv_into(room[filled_bytes:])
            except BlockingIOError:
                if time.monotonic() > latest_s or not poller.poll(_LULL_MS):
                    break
                continue
            except OSError:
                if not filled_bytes:
                    raise
                break  # what came before it counts; the next call meets the end
            if not size_bytes:
                if not filled_bytes:
                    raise ConnectionResetError("the connection was closed")
                break
            filled_bytes += size_bytes
        return filled_bytes
