"""Standard output and standard error that are closed, full, gone, of a narrow encoding, or fine."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest

from vidnb.io.standard_streams import is_terminal, write_error_line, write_output

Make = Callable[[Path], TextIO | None]


def none(_: Path) -> None:
    """The descriptor was closed when Python started."""


def closed(path: Path) -> TextIO:
    stream = (path / "closed").open("w")
    stream.close()
    return stream


def full(_: Path) -> TextIO:
    return Path("/dev/full").open("w")


def gone(_: Path) -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


class NoDescriptor(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    @property
    def buffer(self) -> Any:
        raise OSError(28, "No space left on device")


BROKEN = [
    none,
    closed,
    pytest.param(
        full, marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    ),
    gone,
    lambda _: NoDescriptor(),
]


@pytest.mark.parametrize("make", BROKEN)
def test_an_error_line_that_cannot_be_written_is_dropped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(tmp_path)
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in range(3):
        write_error_line("vidnb: a sentence " * 2000)
    if stream is not None:
        stream.close()  # as at the interpreter's exit, with what it still holds


@pytest.mark.parametrize("data", ["text", b"bytes", b"x" * 2**20])
@pytest.mark.parametrize("make", BROKEN)
def test_output_that_cannot_be_written_is_an_error(
    make: Make, data: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(tmp_path)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OSError, match=r".+"):
        write_output(data)
    if stream is not None:
        stream.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_is_whole_and_in_order_in_any_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    for data in "a\n", b"\xff\x00", "\u6620\u753b.mp4\n", "b\n":
        write_output(data)
    assert raw.getvalue() == b"a\n\xff\x00\xe6\x98\xa0\xe7\x94\xbb.mp4\nb\n"


def test_a_stream_of_text_alone_takes_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    write_output("caf\u00e9\n")
    write_error_line("na\u00efve")
    assert (out.getvalue(), err.getvalue()) == ("caf\u00e9\n", "na\u00efve\n")


def test_only_a_terminal_is_one(tmp_path: Path) -> None:
    assert not is_terminal(None)
    assert not is_terminal(closed(tmp_path))
    assert not is_terminal(io.StringIO())
    main, other = os.openpty()
    with os.fdopen(other, "w") as terminal, os.fdopen(main, "rb"):
        assert is_terminal(terminal)
