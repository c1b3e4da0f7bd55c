"""Journals and records as bytes: read as they were written, or not at all."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.blocked import RECORD, STRONG, URL
from vidnb.download.planner.journal import SLOT_BYTES, Journal, Record, newest_journal
from vidnb.http.headers import ETag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

BOOT = "this boot"
BARE = Validators()


def journal(*byte_ranges: tuple[int, int], version: Validators = STRONG) -> Journal:
    return Journal(
        URL, version, ByteRangeSet(ByteRange(start, stop) for start, stop in byte_ranges)
    )


@pytest.mark.parametrize(
    "version",
    [
        STRONG,
        BARE,
        Validators(ETag("ä!\xff", weak=False)),
        Validators(ETag("", weak=True), None, total_bytes=0),
    ],
    ids=["strong", "bare", "odd", "weak"],
)
@pytest.mark.parametrize("byte_ranges", [[], [(0, 5)], [(0, 5), (7, 10**15)]])
def test_a_journal_is_read_as_it_was_written(
    version: Validators, byte_ranges: list[tuple[int, int]]
) -> None:
    written = journal(*byte_ranges, version=version)
    assert Journal.load(written.dump(7, BOOT), BOOT) == (7, written)


@pytest.mark.parametrize("media_type", ["video/mp4", None])
def test_a_record_is_read_as_it_was_written(media_type: str | None) -> None:
    record = replace(RECORD, media_type=media_type)
    assert Record.load(record.dump(BOOT), BOOT) == record


LOADERS: list[tuple[Callable[[bytes, str], object], bytes]] = [
    (Journal.load, journal((0, 5)).dump(1, BOOT)),
    (Record.load, RECORD.dump(BOOT)),
]


@pytest.mark.parametrize(("load", "data"), LOADERS, ids=["journal", "record"])
def test_what_is_torn_anywhere_is_nothing(
    load: Callable[[bytes, str], object], data: bytes
) -> None:
    for cut in range(len(data) - 1):  # without its last byte, the line's end, it is whole
        assert load(data[:cut], BOOT) is None
    assert load(data[:-1], BOOT) is not None
    for at in range(0, len(data) - 1, 7):
        assert load(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], BOOT) is None
    assert load(b"", BOOT) is None
    assert load(bytes(1000), BOOT) is None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"no json", id="no-json"),
        pytest.param(b'{"boot": "this boot"}', id="no-format"),
        pytest.param(b'{"format": 999, "boot": "this boot"}', id="another-format"),
        pytest.param(b'{"format": 1}', id="no-boot"),
        pytest.param(b'{"format": 1, "boot": "this boot"}', id="no-fields"),
        pytest.param(
            b'{"format": 1, "boot": "this boot", "number": 1, "url": "", "stored": [[5, 0]],'
            b' "version": [null, null, false, null]}',
            id="a-span-backwards",
        ),
        pytest.param(
            b'{"format": 1, "boot": "this boot", "number": 1, "url": "", "stored": [],'
            b' "version": [null, "x", false, null]}',
            id="a-date-of-letters",
        ),
        pytest.param(
            b'{"format": 1, "boot": "this boot", "number": 1, "url": "", "stored": [],'
            b' "version": []}',
            id="a-version-too-short",
        ),
    ],
)
def test_what_is_sealed_but_strange_is_nothing(fields: bytes) -> None:
    data = hashlib.sha256(fields).hexdigest().encode() + b" " + fields + b"\n"
    assert Journal.load(data, BOOT) is None
    assert Record.load(data, BOOT) is None


def test_another_boot() -> None:
    """A journal is not believed any more; a record is, but says so."""
    assert Journal.load(journal((0, 5)).dump(1, BOOT), "another") is None
    loaded = Record.load(RECORD.dump(BOOT), "another")
    assert loaded is not None
    assert not loaded.is_of_this_boot
    assert loaded.sha256 == RECORD.sha256


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (None, 1), (1, None), (None, None)])
def test_the_newer_of_two_slots_is_read(first: int | None, second: int | None) -> None:
    slots = [
        b"torn" if number is None else journal((0, number)).dump(number, BOOT)
        for number in (first, second)
    ]
    read = newest_journal(slots[0].ljust(SLOT_BYTES, b"\0") + slots[1], BOOT)
    number = max(first or 0, second or 0)
    assert read == ((number, journal((0, number))) if number else None)
