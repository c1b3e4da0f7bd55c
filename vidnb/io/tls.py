"""What comes over a TLS connection, received and decrypted by a thread.

asyncio decrypts on the event loop, with Python code for every record of 16 KiB: under TLS that cost
more than the cipher and the digest together. Once the head of a long answer is read nothing is left
to say, so the state of the connection is taken out of asyncio's transport, and whoever receives the
body decrypts it there, straight to where it belongs.

The state lies in private attributes of asyncio's transport (as CPython 3.11 names them); where one
is missing, `take_tls` returns None and the transport goes on as it is.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Final

__all__ = ["TlsSocket", "take_tls"]

_RECORDS_BYTES: Final = 2**18
"""So much is received at once: some sixteen records."""


class TlsSocket:
    """The receiving half of a connection under TLS, with the manners of a non-blocking socket."""

    def __init__(
        self,
        plain: socket.socket,
        state: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        self._socket = plain
        self._state = state
        self._incoming = incoming
        self._outgoing = outgoing
        self._records = memoryview(bytearray(_RECORDS_BYTES))

    def fileno(self) -> int:
        """Return the descriptor to wait for; what lies behind `recv_into` may be here already."""
        return self._socket.fileno()

    def recv_into(self, room: memoryview) -> int:
        """Decrypt at least a byte into `room`; 0 at the end of the connection.

        `BlockingIOError` where nothing has come, `OSError` where the connection broke or what came
        is not what the origin sent.
        """
        decrypt: Any = self._state.read  # it also takes what the types of `ssl` do not name
        filled_bytes = 0
        while filled_bytes < len(room):
            try:
                size_bytes = decrypt(len(room) - filled_bytes, room[filled_bytes:])
            except ssl.SSLWantReadError:
                if filled_bytes:
                    break
                self._answer()
                size_bytes = self._socket.recv_into(self._records)
                self._incoming.write(self._records[:size_bytes])
            except OSError:
                if filled_bytes:
                    break  # what came before it counts; the next call meets it again
                raise
            else:
                filled_bytes += size_bytes  # a record at most
            if not size_bytes:
                break
        return filled_bytes

    def _answer(self) -> None:
        """Send what the protocol itself has to say, such as new keys (RFC 8446 section 4.6.3)."""
        if self._outgoing.pending:
            with contextlib.suppress(OSError):  # what comes next tells how the connection is
                self._socket.send(self._outgoing.read())

    def shutdown(self, how: int) -> None:
        """End the connection without a farewell: the body was given up."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Say farewell (RFC 8446 section 6.1), without waiting for an answer, and close."""
        with contextlib.suppress(OSError):
            self._state.unwrap()
        self._answer()
        self._socket.close()


def take_tls(transport: asyncio.Transport) -> TlsSocket | None:
    """Take a connection from its transport, which ends; None where that cannot be done."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    state = getattr(protocol, "_sslobj", None)
    incoming, outgoing = getattr(protocol, "_incoming", None), getattr(protocol, "_outgoing", None)
    below = getattr(protocol, "_transport", None)
    if (
        not isinstance(state, ssl.SSLObject)
        or not isinstance(incoming, ssl.MemoryBIO)
        or not isinstance(outgoing, ssl.MemoryBIO)
        or type(below).__module__ != "asyncio.selector_events"
    ):
        return None
    plain = transport.get_extra_info("socket").dup()
    transport.abort()  # from here on asyncio touches neither the state nor the bytes
    return TlsSocket(plain, state, incoming, outgoing)
