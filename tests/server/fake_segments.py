"""`SegmentMaker` and `read_playback` without PyAV: boxes with numbers in them, on command."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

from tests.deadline import DEADLINE_S
from vidnb.http.ranges import ByteRange
from vidnb.io import loop
from vidnb.media.container import MediaFile, MediaSource
from vidnb.media.playlist import Playlist
from vidnb.server import segment_cache, segment_service

_T = TypeVar("_T")
COUNT = 40


def box(kind: bytes, payload: bytes = b"") -> bytes:
    return (8 + len(payload)).to_bytes(4) + kind + payload


def segment(number: int, variant: str = "copy.copy", of: bytes = b"") -> bytes:
    return box(b"moof", bytes(16)) + box(b"mdat", f"{variant} {number} ".encode() + of)


def init(variant: str = "copy.copy") -> bytes:
    return box(b"ftyp", b"iso6") + box(b"moov", variant.encode())


def playlist(count: int = COUNT) -> Playlist:
    start_s = Fraction(7, 5)
    return Playlist(start_s, tuple(start_s + 2 * n for n in range(count)), start_s + 2 * count)


@dataclass
class Film:
    """What the makers do, and what they have done.

    `made` are variant and number of all segments; `held` are numbers that wait until `let(number)`;
    `errors` are raised in place of a segment; for those in `reads` the bytes are read.
    """

    variant: str = "copy.copy"
    count: int = COUNT
    made: list[tuple[str, int]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    held: dict[int, threading.Event] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)
    on_open: Callable[[MediaSource], None] = lambda _: None
    reads: dict[int, ByteRange] = field(default_factory=dict)
    bytes_read: dict[int, bytes] = field(default_factory=dict)
    problem: str = ""
    playbacks: int = 0

    def hold(self, *numbers: int) -> None:
        self.held.update({number: threading.Event() for number in numbers})

    def let(self, *numbers: int) -> None:
        for number in numbers or tuple(self.held):
            self.held[number].set()

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.made]


@dataclass
class Delivery:
    kind: str
    variant: str


@dataclass
class Playback:
    deliveries: tuple[Delivery, ...]
    problem: str


@contextmanager
def faked(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[Film]:
    """Replace the maker, the decision and the cache folder."""
    film = Film()

    class SegmentMaker:
        def __init__(self, source: MediaSource, variant: str) -> None:
            film.on_open(source)
            self._file, self._variant = MediaFile(source), variant
            self._thread = threading.get_ident()
            self.playlist = playlist(film.count)
            film.opened += 1

        def init(self) -> bytes:
            return init(self._variant)

        def segment(self, number: int) -> bytes:
            assert threading.get_ident() == self._thread
            film.made.append((self._variant, number))
            if number in film.held:
                assert film.held[number].wait(DEADLINE_S)
            if number in film.reads:
                film.bytes_read[number] = self._file.read(film.reads[number])
            if number in film.errors:
                raise film.errors[number]
            return segment(number, self._variant, self._file.head[:8])

        def close(self) -> None:
            assert threading.get_ident() == self._thread
            self._file.close()
            film.closed += 1

    def read_playback(source: object, *, convert: str = "auto") -> Playback:
        film.playbacks += 1
        if film.problem:
            return Playback((Delivery("direct", ""),), film.problem)
        return Playback((Delivery("direct", ""), Delivery("remux", film.variant)), "")

    modules: dict[str, Any] = {
        "vidnb.media.segments": {"SegmentMaker": SegmentMaker},
        "vidnb.media.playback": {"read_playback": read_playback},
    }
    for name, values in modules.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(segment_cache, "segment_root", lambda: root)
    monkeypatch.setattr(segment_service, "_service", segment_service.SegmentService())
    yield film
    film.let()


def sessions() -> int:
    return len(segment_service.segment_service().sessions)


def waited_for() -> set[int]:
    """Return the numbers that somebody waits for; on the server's loop."""
    open_sessions = segment_service.segment_service().sessions.values()
    return {number for session in open_sessions for number in session.results}


def on_loop(fn: Callable[[], _T]) -> _T:
    async def call() -> _T:
        return fn()

    return loop.server.run(call())


def segment_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "vidnb-segments"]
