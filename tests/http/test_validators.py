from itertools import product

import pytest

from vidnb.http.headers import ETag
from vidnb.http.validators import STRONG_DATE_MARGIN_S, Validators

NOW_S = 1_800_000_000.0
DATE_S = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:50:37 GMT"  # one minute
EARLIER = "Sun, 06 Nov 1994 08:50:36 GMT"  # one second less

A = ETag("a", weak=False)
B = ETag("b", weak=False)
WEAK = ETag("a", weak=True)


@pytest.mark.parametrize(
    ("headers", "validators"),
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
            {"last-modified": DATE, "date": EARLIER},
            Validators(None, DATE_S, total_bytes=5),
            id="almost-a-minute-old",
        ),
        pytest.param({"date": LATER}, Validators(total_bytes=5), id="date-only"),
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
def test_the_validators_of_a_response(headers: dict[str, str], validators: Validators) -> None:
    assert Validators.from_response(headers, 5, NOW_S) == validators


def test_the_margin_of_a_strong_date_is_a_minute() -> None:
    assert STRONG_DATE_MARGIN_S == 60


NOTHING = Validators()
OLD_DATE = Validators(None, DATE_S, date_is_strong=True)
NEW_DATE = Validators(None, DATE_S)
WEAK_AND_DATE = Validators(WEAK, DATE_S, date_is_strong=True)
STRONG_AND_DATE = Validators(A, DATE_S, date_is_strong=True)


@pytest.mark.parametrize(
    ("validators", "is_strong", "if_range", "conditional_headers"),
    [
        pytest.param(NOTHING, False, None, (), id="nothing"),
        pytest.param(Validators(A), True, '"a"', (("If-None-Match", '"a"'),), id="etag"),
        pytest.param(Validators(WEAK), False, None, (("If-None-Match", 'W/"a"'),), id="weak-etag"),
        pytest.param(OLD_DATE, True, DATE, (("If-Modified-Since", DATE),), id="old-date"),
        pytest.param(NEW_DATE, False, None, (), id="new-date"),
        pytest.param(
            WEAK_AND_DATE, False, None, (("If-None-Match", 'W/"a"'),), id="weak-etag-and-date"
        ),
        pytest.param(STRONG_AND_DATE, True, '"a"', (("If-None-Match", '"a"'),), id="etag-and-date"),
    ],
)
def test_the_request_headers_of_validators(
    validators: Validators,
    is_strong: bool,
    if_range: str | None,
    conditional_headers: tuple[tuple[str, str], ...],
) -> None:
    assert validators.is_strong is is_strong
    assert validators.if_range() == if_range
    assert validators.conditional_headers() == conditional_headers


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        pytest.param(Validators(A), Validators(A), True, id="same-etag"),
        pytest.param(Validators(A), Validators(B), False, id="other-etag"),
        pytest.param(Validators(A), Validators(WEAK), False, id="weak-in-place-of-strong"),
        pytest.param(Validators(WEAK), Validators(WEAK), False, id="weak-is-never-certain"),
        pytest.param(Validators(A), NOTHING, False, id="etag-missing"),
        pytest.param(Validators(A), OLD_DATE, False, id="date-in-place-of-etag"),
        pytest.param(NOTHING, NOTHING, False, id="nothing"),
        pytest.param(OLD_DATE, OLD_DATE, True, id="same-old-date"),
        pytest.param(OLD_DATE, NEW_DATE, True, id="only-the-first-date-must-be-strong"),
        pytest.param(NEW_DATE, OLD_DATE, False, id="a-new-date-is-never-certain"),
        pytest.param(OLD_DATE, Validators(None, DATE_S + 1, date_is_strong=True), False, id="date"),
        pytest.param(OLD_DATE, NOTHING, False, id="date-missing"),
        pytest.param(OLD_DATE, STRONG_AND_DATE, False, id="etag-added"),
        pytest.param(STRONG_AND_DATE, Validators(A, DATE_S + 1), True, id="etag-before-date"),
    ],
)
@pytest.mark.parametrize(
    ("first_total", "second_total"), [(None, None), (5, None), (None, 5), (5, 5), (5, 6), (0, 6)]
)
def test_whether_two_validators_identify_one_version(
    first: Validators,
    second: Validators,
    is_same: bool,
    first_total: int | None,
    second_total: int | None,
) -> None:
    """Equal validators with different lengths are two versions."""
    is_same_length = None in (first_total, second_total) or first_total == second_total
    first = Validators(first.etag, first.last_modified_s, first.date_is_strong, first_total)
    second = Validators(second.etag, second.last_modified_s, second.date_is_strong, second_total)
    assert first.is_same_as(second) is (is_same and is_same_length)


@pytest.mark.parametrize(
    ("first", "second", "may_be"),
    [
        pytest.param(Validators(A), Validators(B), False, id="other-etag"),
        pytest.param(Validators(A), Validators(WEAK), True, id="weak-in-place-of-strong"),
        pytest.param(Validators(A), NOTHING, True, id="etag-missing"),
        pytest.param(Validators(A), NEW_DATE, True, id="date-in-place-of-etag"),
        pytest.param(NEW_DATE, OLD_DATE, True, id="same-date"),
        pytest.param(NEW_DATE, Validators(None, DATE_S + 1), False, id="other-date"),
        pytest.param(Validators(A, DATE_S), Validators(A, DATE_S + 1), True, id="etag-before-date"),
        pytest.param(NOTHING, NEW_DATE, True, id="nothing"),
        pytest.param(
            Validators(A, total_bytes=5), Validators(A, total_bytes=6), False, id="length"
        ),
        pytest.param(Validators(total_bytes=5), NOTHING, True, id="length-missing"),
        pytest.param(Validators(total_bytes=0), Validators(total_bytes=6), False, id="length-0"),
    ],
)
def test_whether_two_validators_may_identify_one_version(
    first: Validators, second: Validators, may_be: bool
) -> None:
    assert first.may_be_same_as(second) is may_be
    assert second.may_be_same_as(first) is may_be


def test_only_strong_validators_identify_a_version() -> None:
    every = [
        Validators(etag, date_s, strong, total)
        for etag, date_s, strong, total in product(
            [None, A, B, WEAK], [None, DATE_S], [False, True], [None, 5]
        )
    ]
    for first, second in product(every, every):
        assert not first.is_same_as(second) or first.is_strong
        assert not first.is_same_as(second) or first.may_be_same_as(second)


def test_a_tag_that_cannot_be_encoded_still_identifies_a_version() -> None:
    """Its bytes were not UTF-8 and were decoded as lone surrogates."""
    undecoded = Validators(ETag("a\udce9"), total_bytes=5)
    assert undecoded.is_strong
    assert undecoded.is_same_as(Validators(ETag("a\udce9"), total_bytes=5))
    assert not undecoded.is_same_as(Validators(ETag("a"), total_bytes=5))
    assert undecoded.if_range() is None
    assert undecoded.conditional_headers() == ()
    assert Validators(ETag("é")).if_range() == '"é"'
