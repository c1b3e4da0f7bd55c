from itertools import product

import pytest

from vidnb.http.headers import ETag
from vidnb.http.validators import STRONG_DATE_MARGIN_S, Validators

NOW_S = 1_800_000_000.0
DATE_S = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:50:37 GMT"  # a minute
SOON = "Sun, 06 Nov 1994 08:50:36 GMT"  # a second less

A = ETag("a", weak=False)
B = ETag("b", weak=False)
WEAK = ETag("a", weak=True)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        pytest.param({}, Validators(total_bytes=5), id="nothing"),
        pytest.param({"etag": '"a"'}, Validators(A, total_bytes=5), id="etag"),
        pytest.param({"etag": 'W/"a"'}, Validators(WEAK, total_bytes=5), id="weak-etag"),
        pytest.param({"etag": "a"}, Validators(total_bytes=5), id="malformed-etag"),
        pytest.param(
            {"last-modified": DATE}, Validators(None, DATE_S, total_bytes=5), id="no-date"
        ),
        pytest.param(
            {"last-modified": DATE, "date": LATER},
            Validators(None, DATE_S, date_is_strong=True, total_bytes=5),
            id="a-minute-old",
        ),
        pytest.param(
            {"last-modified": DATE, "date": SOON},
            Validators(None, DATE_S, total_bytes=5),
            id="almost-a-minute-old",
        ),
        pytest.param({"date": LATER}, Validators(total_bytes=5), id="date-alone"),
        pytest.param(
            {"last-modified": "yesterday", "date": LATER},
            Validators(total_bytes=5),
            id="no-http-date",
        ),
        pytest.param(
            {"etag": '"a"', "last-modified": DATE, "date": LATER},
            Validators(A, DATE_S, date_is_strong=True, total_bytes=5),
            id="both",
        ),
    ],
)
def test_what_an_answer_says(headers: dict[str, str], version: Validators) -> None:
    assert Validators.of_answer(headers, 5, NOW_S) == version


def test_the_margin_is_a_minute() -> None:
    assert STRONG_DATE_MARGIN_S == 60


NOTHING = Validators()
OLD_DATE = Validators(None, DATE_S, date_is_strong=True)
FRESH_DATE = Validators(None, DATE_S)
WEAK_AND_DATE = Validators(WEAK, DATE_S, date_is_strong=True)
STRONG_AND_DATE = Validators(A, DATE_S, date_is_strong=True)


@pytest.mark.parametrize(
    ("version", "is_strong", "if_range", "if_changed"),
    [
        pytest.param(NOTHING, False, None, (), id="nothing"),
        pytest.param(Validators(A), True, '"a"', (("If-None-Match", '"a"'),), id="etag"),
        pytest.param(Validators(WEAK), False, None, (("If-None-Match", 'W/"a"'),), id="weak-etag"),
        pytest.param(OLD_DATE, True, DATE, (("If-Modified-Since", DATE),), id="old-date"),
        pytest.param(FRESH_DATE, False, None, (), id="fresh-date"),
        pytest.param(
            WEAK_AND_DATE, False, None, (("If-None-Match", 'W/"a"'),), id="weak-etag-and-date"
        ),
        pytest.param(STRONG_AND_DATE, True, '"a"', (("If-None-Match", '"a"'),), id="etag-and-date"),
    ],
)
def test_what_a_version_is_good_for(
    version: Validators,
    is_strong: bool,
    if_range: str | None,
    if_changed: tuple[tuple[str, str], ...],
) -> None:
    assert version.is_strong is is_strong
    assert version.if_range() == if_range
    assert version.if_changed() == if_changed


@pytest.mark.parametrize(
    ("ours", "other", "is_same"),
    [
        pytest.param(Validators(A), Validators(A), True, id="same-etag"),
        pytest.param(Validators(A), Validators(B), False, id="other-etag"),
        pytest.param(Validators(A), Validators(WEAK), False, id="weak-in-place-of-strong"),
        pytest.param(Validators(WEAK), Validators(WEAK), False, id="weak-is-never-certain"),
        pytest.param(Validators(A), NOTHING, False, id="etag-missing"),
        pytest.param(Validators(A), OLD_DATE, False, id="date-in-place-of-etag"),
        pytest.param(NOTHING, NOTHING, False, id="nothing"),
        pytest.param(OLD_DATE, OLD_DATE, True, id="same-old-date"),
        pytest.param(OLD_DATE, FRESH_DATE, True, id="ours-decides-that-a-date-is-old"),
        pytest.param(FRESH_DATE, OLD_DATE, False, id="a-fresh-date-is-never-certain"),
        pytest.param(OLD_DATE, Validators(None, DATE_S + 1, date_is_strong=True), False, id="date"),
        pytest.param(OLD_DATE, NOTHING, False, id="date-missing"),
        pytest.param(OLD_DATE, STRONG_AND_DATE, False, id="an-etag-that-was-not-there"),
        pytest.param(
            STRONG_AND_DATE, Validators(A, DATE_S + 1), True, id="the-etag-counts-not-the-date"
        ),
    ],
)
@pytest.mark.parametrize(
    ("our_total", "their_total"), [(None, None), (5, None), (None, 5), (5, 5), (5, 6), (0, 6)]
)
def test_when_two_are_one(
    ours: Validators,
    other: Validators,
    is_same: bool,
    our_total: int | None,
    their_total: int | None,
) -> None:
    """Equal validators with two lengths are two versions all the same."""
    fits = None in (our_total, their_total) or our_total == their_total
    ours = Validators(ours.etag, ours.last_modified_s, ours.date_is_strong, our_total)
    other = Validators(other.etag, other.last_modified_s, other.date_is_strong, their_total)
    assert ours.is_same_as(other) is (is_same and fits)


def test_only_a_strong_version_is_ever_the_same() -> None:
    versions = [
        Validators(etag, date_s, strong, total)
        for etag, date_s, strong, total in product(
            [None, A, B, WEAK], [None, DATE_S], [False, True], [None, 5]
        )
    ]
    for ours, other in product(versions, versions):
        assert not ours.is_same_as(other) or ours.is_strong


def test_a_tag_that_cannot_be_sent_back_still_tells_versions_apart() -> None:
    """Its bytes were no UTF-8 and came as lone surrogates, which no request can carry."""
    odd = Validators(ETag("a\udce9"), total_bytes=5)
    assert odd.is_strong
    assert odd.is_same_as(Validators(ETag("a\udce9"), total_bytes=5))
    assert not odd.is_same_as(Validators(ETag("a"), total_bytes=5))
    assert odd.if_range() is None
    assert odd.if_changed() == ()
    assert Validators(ETag("é")).if_range() == '"é"'
