"""Summaries of finished downloads."""

import pytest

from vidnb.download.planner.progress import (
    fetched_summary,
    known_summary,
    unchanged_summary,
    unverified_summary,
)

MB = 10**6


@pytest.mark.parametrize(
    ("size", "elapsed_s", "resumed", "connections", "attempts", "line"),
    [
        (412 * MB, 3.2, 0, 1, 1, "412.0 MB in 3.2 s"),
        (
            412 * MB,
            3.2,
            200 * MB,
            6,
            2,
            "412.0 MB in 3.2 s; resumed from 200.0 MB; 6 connections; 1 retry",
        ),
        (412 * MB, 3.2, 0, 6, 1, "412.0 MB in 3.2 s; 6 connections"),
        (412 * MB, 3.2, 1, 1, 1, "412.0 MB in 3.2 s; resumed from 1 B"),
        (999, 0.0, 0, 1, 3, "999 B in 0.1 s; 2 retries"),
        (999, 0.14, 0, 2, 1, "999 B in 0.1 s; 2 connections"),
        (10**9, 59.94, 0, 1, 1, "1.0 GB in 59.9 s"),
        (10**9, 59.96, 0, 1, 1, "1.0 GB in 1:00"),
        (10**9, 725.4, 0, 1, 1, "1.0 GB in 12:05"),
        (10**9, 3723, 0, 1, 1, "1.0 GB in 1:02:03"),
    ],
)
def test_the_summary_of_a_transfer(
    size: int, elapsed_s: float, resumed: int, connections: int, attempts: int, line: str
) -> None:
    summary = fetched_summary(
        size, elapsed_s, resumed_from_bytes=resumed, connections=connections, attempts=attempts
    )
    assert summary == line


@pytest.mark.parametrize(
    ("modified_s", "line"),
    [
        pytest.param(None, "already downloaded; the source has not changed", id="no-date"),
        pytest.param(
            1_794_441_600,
            "already downloaded; the source has not changed since 12 Nov 2026",
            id="date",
        ),
        pytest.param(
            1_794_527_999,
            "already downloaded; the source has not changed since 12 Nov 2026",
            id="end-of-the-day",
        ),
        pytest.param(
            0, "already downloaded; the source has not changed since 1 Jan 1970", id="epoch"
        ),
        pytest.param(
            -86_400, "already downloaded; the source has not changed since 31 Dec 1969", id="before"
        ),
        pytest.param(10**18, "already downloaded; the source has not changed", id="invalid-date"),
    ],
)
def test_the_summary_of_an_unchanged_file(modified_s: int | None, line: str) -> None:
    assert unchanged_summary(modified_s) == line


def test_the_summary_of_a_file_with_the_expected_digest() -> None:
    assert known_summary("sha256") == "already downloaded; the sha256 digest matches"


def test_the_summary_of_a_file_that_could_not_be_compared() -> None:
    assert unverified_summary("the origin answered 404") == (
        "already downloaded; its source could not be compared: the origin answered 404"
    )
