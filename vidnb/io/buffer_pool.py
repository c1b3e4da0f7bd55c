"""Blocks of memory that bytes arrive in, used again and again.

A fresh megabyte costs 256 page faults before its first byte is there, as much as receiving it
does. So a block goes back to a shelf once nobody uses it any more. Whoever keeps a view of one
says `retain`, and `release` when done; a view that is merely dropped is no harm, its block is then
freed like any other object. All of it may be called from any thread.
"""

import threading

__all__ = ["BLOCK_BYTES", "LEAST_ROOM_BYTES", "acquire", "release", "retain"]

BLOCK_BYTES = 2**20
"""Large enough that what is done per block costs little, small enough for the processor's cache."""

LEAST_ROOM_BYTES = 2**16
"""A block with less room than this is full: small reads cost more than the memory."""

_MOST_SPARE = 16

_lock = threading.Lock()
_spare: "list[_Block]" = []


class _Block(bytearray):
    """A block and how many use it."""

    __slots__ = ("users",)

    users: int


def acquire() -> memoryview:
    """Return a whole block, held once."""
    with _lock:
        block = _spare.pop() if _spare else None
    if block is None:
        block = _Block(BLOCK_BYTES)
    block.users = 1
    return memoryview(block)


def retain(data: bytes | memoryview) -> None:
    """Keep the block under `data` from being used again; nothing where `data` lies in none."""
    block = data.obj if isinstance(data, memoryview) else None
    if isinstance(block, _Block):
        with _lock:
            block.users += 1


def release(data: bytes | memoryview) -> None:
    """Take one `acquire` or `retain` back; with the last of them the block may be used again."""
    block = data.obj if isinstance(data, memoryview) else None
    if isinstance(block, _Block):
        with _lock:
            block.users -= 1
            if block.users == 0 and len(_spare) < _MOST_SPARE:
                _spare.append(block)
