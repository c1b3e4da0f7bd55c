"""The segments of a video that is still encoded: a file that grows, and its playlist."""

import threading
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest

from vidnb.media.growing_video import GrowingVideo


@pytest.fixture
def video(tmp_path: Path) -> Iterator[GrowingVideo]:
    with closing(GrowingVideo(tmp_path / "segments.mp4")) as video:
        yield video


def test_segments_appear_as_they_are_added(video: GrowingVideo) -> None:
    assert video.read("init.mp4") is None
    assert "#EXTINF" not in (video.read("index.m3u8") or b"").decode()
    video.add_init(b"init")
    assert video.read("init.mp4") == b"init"
    assert video.read("0.m4s") is None
    video.add_segment(b"first", Fraction(0), Fraction(1, 4))
    video.add_segment(b"second!", Fraction(1, 4), Fraction(1))
    assert len(video) == 2
    assert video.read("0.m4s") == b"first"
    assert video.read("1.m4s") == b"second!"
    assert video.read("0.m4s") == b"first"
    assert video.read("2.m4s") is None
    assert video.path.read_bytes() == b"initfirstsecond!"
    video.add_segment(b"3", Fraction(1), Fraction(2))
    assert video.read("2.m4s") == b"3", "a reader does not move the place where it grows"
    assert video.path.read_bytes() == b"initfirstsecond!3"


def test_the_playlist_grows_until_it_is_complete(video: GrowingVideo) -> None:
    video.add_init(b"init")
    video.add_segment(b"first", Fraction(0), Fraction(1, 4))
    text = (video.read("index.m3u8") or b"").decode()
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in text
    assert "#EXT-X-ENDLIST" not in text
    assert text.endswith("#EXTINF:0.250000,\n0.m4s\n")
    video.add_segment(b"second", Fraction(1, 4), Fraction(1))
    video.complete()
    text = (video.read("index.m3u8") or b"").decode()
    assert text.endswith("#EXTINF:0.750000,\n1.m4s\n#EXT-X-ENDLIST\n")
    assert video.read("index.m3u8") == text.encode()


@pytest.mark.parametrize(
    "name", ["", "init", "a.m4s", "-1.m4s", "01.m4s", "0.m4s ", "../0.m4s", "0.mp4", "\u0663.m4s"]
)
def test_another_name_is_no_segment(video: GrowingVideo, name: str) -> None:
    video.add_init(b"init")
    video.add_segment(b"first", Fraction(0), Fraction(1))
    assert video.read(name) is None
    assert video.read("9999999999999.m4s") is None


def test_nothing_is_read_after_it_is_closed(video: GrowingVideo) -> None:
    video.add_init(b"init")
    video.close()
    video.close()
    assert video.read("init.mp4") is None
    assert video.path.read_bytes() == b"init"
    with pytest.raises(ValueError, match="closed"):
        video.add_segment(b"late", Fraction(0), Fraction(1))


def test_readers_see_whole_segments_while_it_grows(video: GrowingVideo) -> None:
    video.add_init(b"init")
    wrong: list[object] = []

    def read() -> None:
        for _ in range(300):
            number = len(video) - 1
            if number >= 0 and video.read(f"{number}.m4s") != b"%d," % number * 1000:
                wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(100):
        video.add_segment(b"%d," % number * 1000, Fraction(number), Fraction(number + 1))
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_write_that_takes_only_a_part_goes_on(
    video: GrowingVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """A file that takes at most three bytes at once, and sometimes none."""

        def __init__(self) -> None:
            self.data, self.at, self.calls = bytearray(), 0, 0

        def seek(self, at: int) -> None:
            self.at = at

        def tell(self) -> int:
            return self.at

        def write(self, view: memoryview) -> int | None:
            self.calls += 1
            if self.calls % 2:
                return None
            self.data[self.at : self.at + 3] = view[:3]
            self.at += len(view[:3])
            return len(view[:3])

    slow = Slow()
    video.close()
    with monkeypatch.context() as patched:
        patched.setattr(video, "_file", slow)
        video.add_init(b"0123456789")
    assert bytes(slow.data) == b"0123456789"
