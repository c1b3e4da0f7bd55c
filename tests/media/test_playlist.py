"""How a video is cut into segments, and the text of the playlist."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.media import playlist
from vidnb.media.playlist import Playlist, at_frames, at_intervals, at_keys, with_folder

times_s = st.lists(
    st.fractions(min_value=0, max_value=500, max_denominator=90_000), min_size=1, unique=True
).map(sorted)


def _fractions(*values: float) -> tuple[Fraction, ...]:
    return tuple(Fraction(str(value)) for value in values)


@pytest.mark.parametrize(
    ("keys", "end_s", "starts"),
    [
        ((), 5, ()),
        ((0,), 100, (0,)),
        ((0, 1, 2, 3, 4, 5), 6, (0, 2, 4)),
        ((0, 10, 20), 30, (0, 10, 20)),  # a long group of pictures is one segment
        ((0, 1.9, 3.8), 5.7, (0, 1.9, 3.8)),  # a little early is better than twice as long
        ((0, 1.5, 2.2, 4), 6, (0, 2.2, 4)),
        ((0, 1.5, 2.8, 4), 6, (0, 1.5, 4)),
        ((3.5, 5.5, 9), 9.5, (3.5, 5.5, 9)),
        ((0, 1.99), 2.01, (0,)),  # neither is closer: one segment
    ],
)
def test_segments_start_at_key_frames(
    keys: tuple[float, ...], end_s: float, starts: tuple[float, ...]
) -> None:
    assert at_keys(_fractions(*keys), Fraction(str(end_s))) == _fractions(*starts)


@given(times_s)
def test_every_start_is_a_key_and_no_segment_could_be_split(keys: list[Fraction]) -> None:
    starts = at_keys(keys, keys[-1] + 1)
    assert starts[0] == keys[0]
    assert set(starts) <= set(keys)
    for start, stop in pairwise(starts):
        assert stop - start > playlist.SEGMENT_S / 2
        assert not [key for key in keys if start + playlist.SEGMENT_S <= key < stop]


@pytest.mark.parametrize(
    ("times", "starts"),
    [
        ((), ()),
        ((0, 0.5, 1, 1.5, 2, 2.5, 3.9, 4, 4.1), (0, 2, 4)),
        ((0, 1.99, 2.01, 3.99, 4.02), (0, 2.01, 4.02)),  # on a grid: rounding never adds up
        ((0, 7, 7.9, 8.5), (0, 7, 8.5)),  # a frame that is shown for long
        ((1.4, 3.39, 3.4, 5), (1.4, 3.4)),
    ],
)
def test_segments_start_at_the_first_frame_of_every_two_seconds(
    times: tuple[float, ...], starts: tuple[float, ...]
) -> None:
    assert at_frames(_fractions(*times), Fraction(10)) == _fractions(*starts)


@given(times_s)
def test_every_segment_has_a_frame_at_its_start(times: list[Fraction]) -> None:
    starts = at_frames(times, times[-1] + 1)
    assert starts[0] == times[0]
    assert set(starts) <= set(times)
    assert len({(time - times[0]) // 2 for time in starts}) == len(starts)


@pytest.mark.parametrize(
    ("start_s", "end_s", "starts"),
    [
        (0, 0, (0,)),
        (0, 0.5, (0,)),
        (0, 4, (0, 2)),
        (0, 5, (0, 2, 4)),
        (0, 4.1, (0, 2)),  # 0.1 s may hold no frame
        (1.4, 6, (1.4, 3.4, 5.4)),
    ],
)
def test_intervals(start_s: float, end_s: float, starts: tuple[float, ...]) -> None:
    assert at_intervals(*_fractions(start_s, end_s)) == _fractions(*starts)


def test_a_hostile_duration_has_a_bounded_number_of_segments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(at_intervals(Fraction(0), Fraction(10**15))) <= playlist.MAX_SEGMENTS
    monkeypatch.setattr(playlist, "MAX_SEGMENTS", 100)
    keys = [Fraction(n) * 10**9 for n in range(1000)]
    for cut in (at_keys, at_frames):
        assert 90 < len(cut(keys, keys[-1])) <= 101


def test_text() -> None:
    made = Playlist(Fraction(1), (Fraction("1.08"), Fraction(3)), Fraction("4.5"))
    assert made.durations == _fractions(2, 1.5)
    assert made.text().splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-VIDNB-START:1.000000",
        '#EXT-X-MAP:URI="init.mp4"',
        "#EXTINF:2.000000,",
        "0.m4s",
        "#EXTINF:1.500000,",
        "1.m4s",
        "#EXT-X-ENDLIST",
    ]


def test_a_growing_playlist_has_no_end() -> None:
    text = Playlist(Fraction(0), (), Fraction(0), is_complete=False).text()
    lines = with_folder(text, "a").splitlines()
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in lines
    assert '#EXT-X-MAP:URI="a/init.mp4"' in lines
    assert "#EXT-X-TARGETDURATION:1" in lines
    assert "#EXT-X-ENDLIST" not in lines


def test_rounded_durations_add_up() -> None:
    third = Fraction(1, 3)
    starts = tuple(third * number for number in range(300))
    text = Playlist(Fraction(0), starts, Fraction(100)).text()
    lines = [line for line in text.splitlines() if line.startswith("#EXTINF:")]
    assert sum(Fraction(line[8:-1]) for line in lines) == 100


@given(times_s)
def test_frames_belong_to_one_segment(times: list[Fraction]) -> None:
    made = Playlist(Fraction(0), at_frames(times, times[-1]), times[-1])
    assert len(made.durations) == len(made)
    for time in [*times, times[0] - 1, times[-1] + 1]:
        held = []
        for number in range(len(made)):
            since, until = made.interval(number)
            if (since is None or since <= time) and (until is None or time < until):
                held.append(number)
        started = [number for number, start in enumerate(made.starts) if start <= time]
        assert held == (started or [0])[-1:]


def test_an_end_before_the_start_of_a_damaged_file_is_no_negative_duration() -> None:
    made = Playlist(Fraction(5), (Fraction(5),), Fraction(4))
    assert made.durations == _fractions(0)
