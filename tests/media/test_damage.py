"""Damaged files, and files that are no video: one clear error, or the readable frames."""

import io
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import vidnb
from tests.clips import clip as numbered
from tests.clips import shown_number
from tests.deadline import DEADLINE_S
from tests.media.clips import CLIPS, FRAMES, clip, made
from tests.media.read_damaged import SECONDS

ROOT = Path(__file__).parent.parent.parent


def zeroed(data: bytes) -> bytes:
    start, stop = len(data) * 45 // 100, len(data) * 55 // 100
    return data[:start] + bytes(stop - start) + data[stop:]


def noisy(data: bytes) -> bytes:
    start, stop = len(data) * 45 // 100, len(data) * 47 // 100
    return data[:start] + random.Random(1).randbytes(stop - start) + data[stop:]


def shortened(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


def without_a_part(data: bytes) -> bytes:
    return data[: len(data) * 45 // 100] + data[len(data) * 47 // 100 :]


DAMAGES = (zeroed, noisy, shortened, without_a_part)
# AVI has no timestamps: after lost bytes FFmpeg numbers the frames that follow as if there were
# none lost. Only the index tells, and `probe` says so.
NUMBERED = [name for name in CLIPS if not name.endswith(".avi")]

# The changed bytes lie within packets that decode to some picture without an error.
UNNOTICED = {("vp8.webm", noisy), ("h264.flv", without_a_part)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NUMBERED)
def test_a_damaged_file_has_no_wrong_frame(name: str, damage: object) -> None:
    data = damage(clip(name).read_bytes())  # type: ignore[operator]
    try:
        frames = vidnb.frames(io.BytesIO(data))
    except vidnb.MediaError as error:
        assert "tail" in name or name in {"h264.mov", "hevc.mp4"}  # the index is lost
        assert "is truncated: " in str(error)  # noqa: PT017 - the others are readable
        return
    readable = 0
    with frames:
        first_s = frames.times_s[0]
        for index, time_s in enumerate(frames.times_s):
            try:
                number = shown_number(frames[index].image)
            except vidnb.MediaError as error:
                assert f"Frame {index} of " in str(error)  # noqa: PT017 - some frames are damaged
                continue
            # Arithmetic coding turns noise into some picture, which no decoder can tell from
            # another one. It shows no number; another number would be another frame.
            assert number in {round((time_s - first_s) * 25), None}
            readable += number is not None
    assert readable >= FRAMES // 4


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CLIPS)
def test_a_deep_probe_tells_that_a_file_is_damaged(name: str, damage: object) -> None:
    data = damage(clip(name).read_bytes())  # type: ignore[operator]
    try:
        info = vidnb.probe(io.BytesIO(data), deep=True)
    except vidnb.MediaError as error:
        assert "is truncated: " in str(error)  # noqa: PT017 - the index is lost
        return
    is_found = any("faststart" not in text for text in info.problems)
    assert is_found or (name, damage) in UNNOTICED
    assert info.damage is not None
    for place in info.damage:
        assert place.stream >= 0
        assert place.packets >= 1
        assert place.start_byte is None or 0 <= place.start_byte < len(data)
        if place.end_s is not None and place.start_s is not None:
            assert place.start_s < place.end_s


def test_the_damaged_place_is_where_the_zeros_are() -> None:
    data = clip("h264.mp4").read_bytes()
    info = vidnb.probe(io.BytesIO(zeroed(data)), deep=True)
    place = next(one for one in info.damage or () if one.stream == 0)
    assert place.start_byte is not None
    assert place.end_byte is not None
    assert place.start_byte <= len(data) * 45 // 100 + 10_000
    assert place.end_byte >= len(data) * 55 // 100
    with vidnb.frames(io.BytesIO(zeroed(data))) as frames:
        assert frames.index_at(place.end_s or 0) in frames.keyframes
        before = frames.index_at(place.start_s or 0)
        for index in (0, before - 8, 50, 59):
            assert shown_number(frames[index].image) == index
        with pytest.raises(vidnb.MediaError, match="the file is damaged near byte"):
            frames[before + 3]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi"])
def test_a_truncated_file_is_readable_and_its_loss_is_told(name: str) -> None:
    data = shortened(clip(name).read_bytes())
    info = vidnb.probe(io.BytesIO(data))
    (text,) = [one for one in info.problems if "truncated" in one]
    assert text.startswith("The file is truncated: ")
    assert text.endswith("; download it again.")
    assert "kB are missing" in text
    if name == "h264.mp4":
        assert f" of {FRAMES} packets of stream #0 are left" in text


def test_a_truncated_file_without_its_index_is_one_error() -> None:
    for call in (vidnb.probe, vidnb.frames, vidnb.sheet):
        with pytest.raises(vidnb.MediaError, match=r"is truncated: mdat runs \d+ bytes past"):
            call(io.BytesIO(shortened(clip("h264-tail.mp4").read_bytes())))
        with pytest.raises(vidnb.MediaError, match="is truncated: moov is missing"):
            call(io.BytesIO(clip("h264-tail.mp4").read_bytes().split(b"moov")[0][:-4]))


@pytest.mark.parametrize("shift", [-1000, 5, 4096, 2**31])
def test_a_wrong_index_gives_no_wrong_frame(shift: int) -> None:
    data = bytearray(clip("h264.mp4").read_bytes())
    at = data.index(b"stco") + 8  # of the video track
    count = int.from_bytes(data[at : at + 4])
    for entry in range(at + 4, at + 4 + 4 * count, 4):
        moved = (int.from_bytes(data[entry : entry + 4]) + shift) % 2**32
        data[entry : entry + 4] = moved.to_bytes(4)
    info = vidnb.probe(io.BytesIO(data))
    assert info.problems
    try:
        frames = vidnb.frames(io.BytesIO(data))
    except vidnb.MediaError:
        return
    with frames:
        for index in range(0, len(frames), 7):
            try:
                number = shown_number(frames[index].image)
            except vidnb.MediaError:
                continue
            assert number == index


def test_avi_says_that_numbers_after_lost_bytes_may_be_wrong() -> None:
    info = vidnb.probe(io.BytesIO(noisy(clip("mjpeg.avi").read_bytes())))
    assert any("later frame numbers and times may be wrong" in text for text in info.problems)


def test_a_gap_and_the_lost_rest_of_a_file_are_told_without_decoding() -> None:
    gap = vidnb.probe(io.BytesIO(zeroed(clip("vp9.webm").read_bytes())))
    assert any("has no frame between" in text for text in gap.problems)
    data = clip("h264-fragmented.mp4").read_bytes()
    start = data.rindex(b"moof", 0, len(data) * 2 // 3) - 50
    rest = vidnb.probe(io.BytesIO(data[:start] + bytes(100) + data[start + 100 :]))
    assert any("the file has no boxes of an MP4" in text for text in rest.problems)


CALLS = pytest.mark.parametrize("call", [vidnb.probe, vidnb.frames, vidnb.sheet])


@CALLS
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.mp4", b"", "is empty; download or record it again"),
        ("text.mp4", b"This is not a video, but a letter.\n" * 50, "is text (“This is not a"),
        ("page.mp4", b"<!doctype html><title>Log in</title>", "is a web page (“Log in”)"),
        ("error.mp4", b'{"error": "no such film"}', "is json text (“no such film”)"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:3,\nfilm.ts\n", "is a playlist (M3U)"),
        ("list.mpd", b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "is a playlist (DASH)"),
        ("words.srt", b"1\n00:00:00,000 --> 00:00:02,000\nHello\n", "holds subtitles"),
        ("zeros.mp4", bytes(100_000), "is not a video that FFmpeg can read"),
        ("noise.mp4", random.Random(2).randbytes(100_000), "is not a video that FFmpeg can read"),
        ("one.mp4", b"\0", "is not a video that FFmpeg can read"),
        ("head.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "is truncated: moov is missing"),
    ],
)
def test_what_is_no_video_is_one_sentence(
    call: object, name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(vidnb.MediaError) as caught:
        call(tmp_path / name)  # type: ignore[operator]
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / name} {message}")
    assert text.endswith(".")
    assert "\n" not in text


@CALLS
@pytest.mark.parametrize("mark", [b"", b"\0", b"\x01\x02"])
def test_a_playlist_opens_no_other_file_and_no_address(
    call: object, mark: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg would: a control character hides that it is text, the suffix selects its demuxer."""
    (tmp_path / "film.mp4").write_bytes(numbered("h264.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003 - the method has no keyword
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.ts"
        for name, text in {
            "local.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfilm.mp4\n",
            "remote.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{url}\n",
            "local.ffconcat": "ffconcat version 1.0\nfile film.mp4\n",
            "remote.ffconcat": f"ffconcat version 1.0\nfile {url}\n",
            "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            "m=video 49152 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        }.items():
            (tmp_path / name).write_bytes(text.encode() + mark)
            with pytest.raises(vidnb.MediaError):
                call(tmp_path / name)  # type: ignore[operator]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_audio_only_has_facts_and_no_frames() -> None:
    path = made("tone.m4a", "-f lavfi -i sine=d=1 -map 1 -c:a aac", seconds=1)
    info = vidnb.probe(path, deep=True)
    assert (info.video, len(info.audio), info.damage) == ((), 1, ())
    assert info.problems[0] == "It has no video stream: it can be heard, but it has no frames."
    with pytest.raises(vidnb.MediaError, match="has no video stream 0: it has none"):
        vidnb.frames(path)


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.bmp"])
def test_a_picture_is_one_frame_and_a_problem(name: str) -> None:
    path = made(name, "-frames:v 1")
    info = vidnb.probe(path)
    assert info.video[0].frame_count == 1
    assert info.problems == ("It is a picture, not a video; open it with Pillow.",)
    with vidnb.frames(path) as frames:
        assert [shown_number(frame.image) for frame in frames] == [0]


def read_in_a_child(first: int, count: int) -> None:
    """Read mutated files in a process with limited memory; a crash or a hang fails the test."""
    files = [str(clip(name)) for name in CLIPS]
    command = [sys.executable, "-W", "error", "-m", "tests.media.read_damaged"]
    ran = subprocess.run(
        [*command, str(first), str(count), *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=max(DEADLINE_S, count * 0.6 + SECONDS),
        check=False,
    )
    last = ran.stdout.split()[-1:]
    assert (ran.returncode, last) == (0, ["done"]), f"seed {last}: {ran.stderr}"


def test_a_hundred_changed_headers() -> None:
    read_in_a_child(0, 100)


@pytest.mark.slow
def test_a_thousand_changed_headers() -> None:
    read_in_a_child(1000, 1000)


def test_a_stream_that_begins_late_does_not_end_the_reading() -> None:
    """PyAV 18 raises `IndexError` behind the last packet where FFmpeg found another stream."""
    data = made("silent-30.flv", "-c copy -an", seconds=30).read_bytes()
    sound = b"\xaf\x00\x12\x10"  # an AAC header
    tag = b"\x08" + len(sound).to_bytes(3) + bytes(7) + sound
    file = io.BytesIO(data + tag + len(tag).to_bytes(4))
    count = vidnb.probe(file, deep=True).video[0].frame_count
    with vidnb.frames(file) as frames:
        assert len(frames) == count == 752
        assert shown_number(frames[500].image) == 500 % FRAMES
