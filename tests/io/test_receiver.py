"""A body received in a thread: whole, in order, bounded; every end told, every thread ended."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from vidnb.io import buffer_pool
from vidnb.io.receiver import Receiver, take_socket


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection: the origin's, and the non-blocking one that is received from."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.settimeout(0)
    with ours, theirs:
        yield theirs, ours


def run(coro: Any) -> None:
    asyncio.run(asyncio.wait_for(coro, DEADLINE_S))
    for thread in threading.enumerate():
        if thread.name == "vidnb receiver":
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


async def drain(body: Receiver) -> bytes:
    got = bytearray()
    while data := await body.read():
        got += data
        buffer_pool.release(data)
    return bytes(got)


def test_every_byte_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    """Pieces smaller and larger than a block; what lies behind the body is nobody's."""
    theirs, ours = pair
    data = bytes(range(256)) * 20_011

    async def main() -> None:
        body = Receiver(ours, data[:5], len(data) - 5)
        sending = asyncio.to_thread(theirs.sendall, data[5:] + b"junk")
        got, _ = await asyncio.gather(drain(body), sending)
        assert got == data
        assert await body.read() == b""
        body.close()
        body.close()

    run(main())


def test_small_pieces_share_a_block(pair: tuple[socket.socket, socket.socket]) -> None:
    """A slow origin costs no megabyte per packet; pieces stay what they were."""
    theirs, ours = pair

    async def main() -> None:
        body = Receiver(ours, b"", 10**7)
        pieces = []
        for sent in (b"one", b"two"):
            theirs.sendall(sent)
            pieces.append(await body.read())
        assert [bytes(piece) for piece in pieces] == [b"one", b"two"]
        first, second = pieces
        assert isinstance(first, memoryview)
        assert isinstance(second, memoryview)
        assert first.obj is second.obj
        body.close()

    run(main())


def test_what_is_held_leaves_the_socket_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    """Until it is read again, or closed; only what is under way at that moment is taken."""
    theirs, ours = pair

    async def main() -> None:
        body = Receiver(ours, b"", 10**7)
        theirs.sendall(b"one")
        assert bytes(await body.read()) == b"one"
        body.hold()
        await asyncio.sleep(0.02)  # a turn that had begun may still take what comes
        theirs.sendall(b"two")
        await asyncio.sleep(0.05)
        assert not body._unread
        assert bytes(await body.read()) == b"two"
        body.hold()
        body.close()

    run(main())


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("is_waited_for", [False, True], ids=["late", "waiting"])
def test_an_early_end(
    is_reset: bool, is_waited_for: bool, pair: tuple[socket.socket, socket.socket]
) -> None:
    """What came is given out first, then the end is told, again and again."""
    theirs, ours = pair

    def end() -> None:
        if is_reset:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()

    async def main() -> None:
        body = Receiver(ours, b"", 1000)
        theirs.sendall(b"some")
        if is_waited_for:
            assert await body.read() == b"some"
        end()
        with pytest.raises(ConnectionResetError):
            await drain(body)
        with pytest.raises(ConnectionResetError):
            await body.read()
        body.close()

    run(main())


def test_who_does_not_read_holds_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    """A few pieces wait for the reader at most, however much comes."""
    theirs, ours = pair
    theirs.settimeout(0)
    sent_bytes = 0

    async def main() -> None:
        nonlocal sent_bytes
        body = Receiver(ours, b"", 2**30)
        stuck = 0
        while stuck < 20:  # until the kernel's own buffers are full as well
            try:
                sent_bytes += theirs.send(bytes(2**20))
                stuck = 0
            except BlockingIOError:
                stuck += 1
                await asyncio.sleep(0.02)
        assert len(body._unread) <= 4
        assert sent_bytes < 100 * 2**20
        held = sum(map(len, body._unread))
        got = 0
        while got <= held:
            data = await body.read()
            got += len(data)
            buffer_pool.release(data)
        body.close()

    run(main())


def test_closed_before_anything_came(pair: tuple[socket.socket, socket.socket]) -> None:
    """The thread waits for an origin that says nothing, and ends all the same."""
    _, ours = pair

    async def main() -> None:
        body = Receiver(ours, b"", 1000)
        await asyncio.sleep(0.01)
        body.close()
        with pytest.raises(ConnectionResetError):
            await body.read()

    run(main())


def test_the_loop_ends_first(pair: tuple[socket.socket, socket.socket]) -> None:
    """A thread whose loop is gone ends quietly."""
    theirs, ours = pair

    async def main() -> None:
        Receiver(ours, b"", 1000)

    asyncio.run(main())
    theirs.sendall(b"late")
    theirs.close()
    run(asyncio.sleep(0))


def test_only_a_socket_of_asyncios_own_loop_is_taken(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other loops' transports are not touched, under TLS or not."""
    assert take_socket(asyncio.Transport()) is None
    assert take_socket(asyncio.Transport(extra={"sslcontext": "some"})) is None

    class Plain(asyncio.Transport):
        __module__ = "asyncio.selector_events"

    taken = take_socket(Plain(extra={"socket": pair[1]}))
    assert taken is not None
    assert taken.fileno() != pair[1].fileno()
    taken.close()
    monkeypatch.delattr("select.poll")
    assert take_socket(Plain(extra={"socket": pair[1]})) is None


def test_blocks_come_back_when_nobody_uses_them() -> None:
    """A block is used again once every view of it was let go, and not before."""
    block = buffer_pool.acquire()
    buffer_pool.retain(block[:10])
    buffer_pool.release(block)
    other = buffer_pool.acquire()
    assert other.obj is not block.obj
    buffer_pool.release(block[:10])
    again = buffer_pool.acquire()
    assert again.obj is block.obj
    for view in (other, again):
        buffer_pool.release(view)
    for data in (b"bytes", memoryview(b"bytes")):
        buffer_pool.retain(data)
        buffer_pool.release(data)


def test_few_spare_blocks_are_kept() -> None:
    """What a burst took is given back to the machine."""
    taken = [buffer_pool.acquire() for _ in range(40)]
    for view in taken:
        buffer_pool.release(view)
    assert len(buffer_pool._spare) <= 16
    assert {len(view) for view in taken} == {buffer_pool.BLOCK_BYTES}


def test_woken_for_nothing(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll may say that there is something where there is nothing: that is not the end."""
    theirs, ours = pair
    fills, fill = [0], Receiver._fill

    def nothing_first(body: Receiver, *how: Any) -> int:
        return fills.pop() if fills else fill(body, *how)

    monkeypatch.setattr(Receiver, "_fill", nothing_first)

    async def main() -> None:
        body = Receiver(ours, b"", 4)
        theirs.sendall(b"some")
        assert await drain(body) == b"some"
        assert not fills
        body.close()

    run(main())
