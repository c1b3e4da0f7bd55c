"""The position of a read-only file, whatever its bytes come from."""

import io
import os

import pytest

from vidnb.http.ranges import ByteRange
from vidnb.io.random_access import RandomAccessFile

DATA = bytes(range(100))


class _Memory(RandomAccessFile):
    """Reads at most seven bytes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.size_bytes = len(DATA)

    def _read_into(self, view: memoryview, byte_range: ByteRange) -> int:
        data = DATA[byte_range.start : byte_range.stop][:7]
        view[: len(data)] = data
        return len(data)


def test_it_reads_as_a_file_does() -> None:
    with io.BufferedReader(_Memory(), 16) as file:
        assert file.read(20) == DATA[:20]
        assert file.seek(-3, os.SEEK_END) == 97
        assert (file.read(), file.read(), file.tell()) == (DATA[97:], b"", 100)
        assert file.seek(30) == 30
        assert file.seek(-5, os.SEEK_CUR) == 25
        assert file.read(1) == b"\x19"
        assert file.seek(1000) == 1000
        assert file.read(1) == b""
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)


def test_a_read_may_be_shorter_and_moves_by_what_was_read() -> None:
    file = _Memory()
    buffer = bytearray(10)
    assert (file.readinto(buffer), file.tell()) == (7, 7)
    assert buffer[:7] == DATA[:7]
    assert file.readinto(bytearray()) == 0


def test_bad_positions_and_a_closed_file_are_refused() -> None:
    file = _Memory()
    with pytest.raises(ValueError, match="whence=3 must be 0, 1 or 2"):
        file.seek(0, 3)
    with pytest.raises(ValueError, match="byte -1 lies before the start"):
        file.seek(-1)
    assert file.tell() == 0
    file.close()
    for call in (file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            call()
