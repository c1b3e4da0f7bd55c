"""The counts of a batch, and its failures grouped by sentence."""

import pickle

import pytest

from vidnb.download.planner.batch_progress import BatchProgress, FailureGroups, general_sentence


@pytest.mark.parametrize(
    ("progress", "ended", "left", "fraction"),
    [
        (BatchProgress(10), 0, 10, 0.0),
        (BatchProgress(10, done=3, failed=1, skipped=1), 5, 5, 0.5),
        (BatchProgress(10, done=8, skipped=2), 10, 0, 1.0),
        (BatchProgress(None, done=3), 3, None, None),
        (BatchProgress(0), 0, 0, 1.0),
        (BatchProgress(2, done=3), 3, 0, 1.0),  # the table grew while it was read
    ],
)
def test_each_row_is_ended_or_left(
    progress: BatchProgress, ended: int, left: int | None, fraction: float | None
) -> None:
    assert (progress.ended, progress.left, progress.fraction) == (ended, left, fraction)
    assert pickle.loads(pickle.dumps(progress)) == progress  # noqa: S301 - its own


@pytest.mark.parametrize(
    ("sentence", "path", "general"),
    [
        (
            "https://h.org/a/1.mp4?x=1 answered 404 Not Found; nothing was kept; check it.",
            "",
            "URL answered 404 Not Found; nothing was kept; check it.",
        ),
        (
            "http://[::1]:80/1 answered 503 and asks to wait 7 s after 3 attempts.",
            "",
            "URL answered 503 and asks to wait N s after 3 attempts.",
        ),
        (
            f"https://h/1 has the sha256 digest {'ab' * 32}, not the expected {'0' * 64}; no.",
            "",
            "URL has the sha256 digest …, not the expected …; no.",
        ),
        (
            "/d/v/a b.mp4 cannot be written: the disk is full; 3.2 MB are kept in /d/v/.vidnb.",
            "/d/v/a b.mp4",
            "FILE cannot be written: the disk is full; N MB are kept in FOLDER/.vidnb.",
        ),
        ("see (https://h/a), or ftp://h/b.", "", "see (URL), or URL."),
        ("it has 1000 bytes and max_bytes is 12", "", "it has N bytes and max_bytes is 12"),
        ("the row has no URL", "/a", "the row has no URL"),
    ],
)
def test_a_general_sentence_leaves_out_what_differs_from_row_to_row(
    sentence: str, path: str, general: str
) -> None:
    assert general_sentence(sentence, path) == general


def test_failures_are_counted_by_sentence_the_most_frequent_first() -> None:
    groups = FailureGroups()
    for number in range(3):
        groups.add(f"https://h/{number} answered 404.")
    groups.add("f.mp4 cannot be written.", "f.mp4")
    for number in range(2):
        groups.add(f"https://h/{number} answered 410.")
    assert groups.most_frequent() == (
        ("URL answered 404.", 3),
        ("URL answered 410.", 2),
        ("FILE cannot be written.", 1),
    )
    assert groups.most_frequent(1) == (("URL answered 404.", 3),)


def test_a_million_different_sentences_take_bounded_memory() -> None:
    groups = FailureGroups()
    for number in range(2000):
        groups.add(f"kind {number}")
    groups.add("kind 7")
    found = groups.most_frequent()
    assert len(found) == 101
    assert found[0] == ("other errors", 1900)
    assert found[1] == ("kind 7", 2)
