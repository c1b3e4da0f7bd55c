"""Tests of the entries of a folder's page and of their natural order."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.server.listing import by_folder, may_be_video, natural_key

IN_ORDER = [
    "1.mp4",
    "2.mp4",
    "02.mp4",
    "10.mp4",
    "A.mp4",
    "a 9.mp4",
    "A 10.mp4",
    "b.mp4",
    "part 1 take 2.mp4",
    "part 1 take 10.mp4",
    "part 2 take 1.mp4",
    "é.mp4",
    "day 2/a.mp4",
    "day 2/z.mp4",
    "day 2/inner/a.mp4",
    "day 10/a.mp4",
]


def test_paths_are_sorted_in_natural_order() -> None:
    shuffled = list(IN_ORDER)
    Random(3).shuffle(shuffled)
    assert [
        path for path in sorted(shuffled, key=natural_key) if path not in {"02.mp4", "2.mp4"}
    ] == [path for path in IN_ORDER if path not in {"02.mp4", "2.mp4"}]


@given(st.lists(st.text(alphabet="aA0129/é٣ .", min_size=1, max_size=12), max_size=8))
def test_the_order_of_any_names_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_are_ordered_as_numbers(one: int, two: int) -> None:
    first, second = natural_key(f"clip{one:03d}.mp4"), natural_key(f"clip{two}.mp4")
    assert (first < second) is (one < two) or one == two


def test_a_number_may_exceed_the_digit_limit_of_int() -> None:
    assert natural_key("9" * 5000) < natural_key("1" + "0" * 5000)


@pytest.mark.parametrize(
    ("name", "is_video"),
    [
        ("film.mp4", True),
        ("FILM.MKV", True),
        ("film.webm", True),
        ("stream.ts", True),
        ("segment.m4s", False),
        ("list.m3u8", False),
        ("sound.mp3", False),
        ("picture.png", False),
        ("notes.txt", False),
        ("mp4", False),
        (".hidden.mp4", False),
        (".mp4", False),
    ],
)
def test_videos_are_recognised_by_their_extension(name: str, is_video: bool) -> None:
    assert may_be_video(name) is is_video


def test_files_are_grouped_by_folder() -> None:
    paths = ["b/2.mp4", "a.mp4", "b/10.mp4", "a/b/c.mp4", "b.mp4"]
    assert by_folder((path, path.upper()) for path in paths) == [
        ("", ["A.MP4", "B.MP4"]),
        ("a/b", ["A/B/C.MP4"]),
        ("b", ["B/2.MP4", "B/10.MP4"]),
    ]
    assert by_folder([]) == []
