"""The file format of journals and records: decoded as encoded, or rejected."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.blocked import RECORD, STRONG, URL
from vidnb.download.planner import journal as journal_format
from vidnb.download.planner.journal import (
    SLOT_BYTES,
    Journal,
    Record,
    hash_url,
    is_hash_of,
    newest_journal,
)
from vidnb.http.headers import ETag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

BOOT = "this boot"
BARE = Validators()


def journal(*byte_ranges: tuple[int, int], validators: Validators = STRONG) -> Journal:
    return Journal(
        hash_url(URL, "salt"),
        validators,
        ByteRangeSet(ByteRange(start, stop) for start, stop in byte_ranges),
    )


@pytest.mark.parametrize(
    "validators",
    [
        STRONG,
        BARE,
        Validators(ETag("ä!\xff", weak=False)),
        Validators(ETag("", weak=True), None, total_bytes=0),
    ],
    ids=["strong", "bare", "odd", "weak"],
)
@pytest.mark.parametrize("byte_ranges", [[], [(0, 5)], [(0, 5), (7, 10**15)]])
def test_a_journal_is_decoded_as_encoded(
    validators: Validators, byte_ranges: list[tuple[int, int]]
) -> None:
    written = journal(*byte_ranges, validators=validators)
    assert Journal.load(written.dump(7, BOOT), BOOT) == (7, written)


@pytest.mark.parametrize("media_type", ["video/mp4", None])
def test_a_record_is_decoded_as_encoded(media_type: str | None) -> None:
    record = replace(RECORD, media_type=media_type)
    assert Record.load(record.dump(BOOT), BOOT) == record


LOADERS: list[tuple[Callable[[bytes, str], object], bytes]] = [
    (Journal.load, journal((0, 5)).dump(1, BOOT)),
    (Record.load, RECORD.dump(BOOT)),
]


@pytest.mark.parametrize(("load", "data"), LOADERS, ids=["journal", "record"])
def test_damaged_data_is_rejected(load: Callable[[bytes, str], object], data: bytes) -> None:
    for cut in range(len(data) - 1):  # the last byte, a line feed, is optional
        assert load(data[:cut], BOOT) is None
    assert load(data[:-1], BOOT) is not None
    for index in range(0, len(data) - 1, 7):
        flipped = bytes([data[index] ^ 1])
        assert load(data[:index] + flipped + data[index + 1 :], BOOT) is None
    assert load(b"", BOOT) is None
    assert load(bytes(1000), BOOT) is None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"no json", id="no-json"),
        pytest.param(b'{"boot": "this boot"}', id="no-format"),
        pytest.param(b'{"format": 999, "boot": "this boot"}', id="another-format"),
        pytest.param(b'{"format": 2}', id="no-boot"),
        pytest.param(b'{"format": 2, "boot": "this boot"}', id="no-fields"),
        pytest.param(
            b'{"format": 2, "boot": "this boot", "number": 1, "url_hash": "", "stored": [[5, 0]],'
            b' "version": [null, null, false, null]}',
            id="a-reversed-range",
        ),
        pytest.param(
            b'{"format": 2, "boot": "this boot", "number": 1, "url_hash": "", "stored": [],'
            b' "version": [null, "x", false, null]}',
            id="a-date-that-is-text",
        ),
        pytest.param(
            b'{"format": 2, "boot": "this boot", "number": 1, "url_hash": "", "stored": [],'
            b' "version": []}',
            id="too-few-validators",
        ),
    ],
)
def test_invalid_fields_with_a_valid_checksum_are_rejected(fields: bytes) -> None:
    data = hashlib.sha256(fields).hexdigest().encode() + b" " + fields + b"\n"
    assert Journal.load(data, BOOT) is None
    assert Record.load(data, BOOT) is None


def test_only_a_record_is_valid_after_a_reboot() -> None:
    assert Journal.load(journal((0, 5)).dump(1, BOOT), "another") is None
    loaded = Record.load(RECORD.dump(BOOT), "another")
    assert loaded is not None
    assert not loaded.is_of_this_boot
    assert loaded.sha256 == RECORD.sha256


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (None, 1), (1, None), (None, None)])
def test_the_newer_valid_slot_is_decoded(first: int | None, second: int | None) -> None:
    slots = [
        b"damaged" if number is None else journal((0, number)).dump(number, BOOT)
        for number in (first, second)
    ]
    read = newest_journal(slots[0].ljust(SLOT_BYTES, b"\0") + slots[1], BOOT)
    number = max(first or 0, second or 0)
    assert read == ((number, journal((0, number))) if number else None)


@pytest.mark.parametrize("format_", [1, 3])
def test_data_of_another_format_is_absent(format_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part file then starts over, and a finished file is downloaded again."""
    with monkeypatch.context() as patch:
        patch.setattr(journal_format, "FORMAT", format_)
        data = journal((0, 5)).dump(1, BOOT), RECORD.dump(BOOT)
    assert Journal.load(data[0], BOOT) is None
    assert Record.load(data[1], BOOT) is None


SECRETS = ("s3cret", "token-of-the-user", "alice")
SECRET_URL = "https://alice:s3cret@example.org/film.mp4?key=token-of-the-user"


@pytest.mark.parametrize("salt", ["", "0123456789abcdef"])
def test_a_stored_url_is_a_salted_hash(salt: str) -> None:
    url_hash = hash_url(SECRET_URL, salt)
    assert is_hash_of(url_hash, SECRET_URL)
    assert not is_hash_of(url_hash, URL)
    assert not is_hash_of("", SECRET_URL)
    assert not is_hash_of(SECRET_URL, SECRET_URL)
    assert url_hash != hash_url(SECRET_URL, "another")
    journal = Journal(url_hash, STRONG, ByteRangeSet([ByteRange(0, 5)]))
    data = journal.dump(1, BOOT) + replace(RECORD, url_hash=url_hash).dump(BOOT)
    assert not any(secret.encode() in data for secret in (*SECRETS, "example.org"))
